from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester import plugins
from harvester.errors import ReaderGoneError, SinkError, UsageError
from harvester.sinks.stdout import CHUNK, StandardOutput, pieces
from tests.sinks.kept import ODD, Kept, batch, window
from tests.support import KILLS, A, Wechat, assert_exactly_the_truth, command, environment

BEGIN, END = date(2024, 1, 1), date(2024, 3, 31)
RATE = f"{min(40, max(2, 800 // KILLS))}/s"  # so that the job lasts longer than most kills


def job(wechat: Wechat, home: Path, *more: str) -> list[str]:
    return command(
        "run", "getarticlesummary", "--appid", A, "--start", str(BEGIN), "--end", str(END),
        "--base-url", wechat.url, "--rate", "5000/s", "--out", home, "--sink", "-", *more,
    )  # fmt: skip


def run(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        arguments, capture_output=True, env=environment(), timeout=60, check=False
    )


def records(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_sign_is_a_spec_by_itself() -> None:
    assert isinstance(plugins.sink("-"), StandardOutput)
    assert plugins.sink("-").identity == "-"
    with pytest.raises(UsageError, match="these are known: -, "):
        plugins.sink("-:")


def test_lines_are_handed_out_as_they_are() -> None:
    async def main() -> bytes:
        reading, writing = os.pipe()
        sink = StandardOutput(writing)
        ledger = Kept(lambda: sink)
        await ledger.open()
        await ledger.commit(sink, batch(1, ODD, {"n": 1}), batch(2), batch(window(3, 5), 3))
        await sink.close()
        await sink.close()
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            return file.read()

    out = asyncio.run(main())
    assert out == batch(1, ODD, {"n": 1}).body + batch(window(3, 5), 3).body


@pytest.mark.parametrize("sizes", [(10,) * 3000, (4000,) * 50, (9000, 10, 9000), (4096,) * 9, ()])
def test_a_piece_is_whole_lines_and_fits_into_a_pipe_at_once(sizes: tuple[int, ...]) -> None:
    lines = [b"x" * (size - 1) + b"\n" for size in sizes]
    found = [bytes(piece) for piece in pieces(b"".join(lines))]
    assert b"".join(found) == b"".join(lines)
    assert all(len(piece) <= CHUNK for piece in found)
    if all(size <= CHUNK for size in sizes):
        assert all(piece.endswith(b"\n") for piece in found)
        assert len(found) <= 2 * sum(sizes) // CHUNK + 1


def test_a_write_that_nobody_takes_can_be_cancelled_and_holds_up_nothing_else() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        sink = StandardOutput(writing)
        await sink.open({})
        task = asyncio.ensure_future(sink.write([batch(day, day) for day in range(1, 10_000)]))
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sink.close()
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            assert file.read().endswith(b"}\n")  # what went out is whole lines

    asyncio.run(main())


def test_a_slow_reader_gets_everything() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        sink = StandardOutput(writing)
        await sink.open({})
        batches = [batch(day, day, {**ODD, "n": day}) for day in range(1, 2_000)]
        reader = asyncio.ensure_future(asyncio.to_thread(_read_slowly, reading))
        await sink.write(batches)
        os.close(writing)
        assert await reader == b"".join(one.body for one in batches)

    asyncio.run(main())


def _read_slowly(descriptor: int) -> bytes:
    out = b""
    while piece := os.read(descriptor, 30_000):
        out += piece
        time.sleep(0.001)
    os.close(descriptor)
    return out


def test_a_reader_that_has_gone_is_told_from_other_troubles() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        sink = StandardOutput(writing)
        await sink.open(None)
        os.close(reading)
        with pytest.raises(ReaderGoneError):
            await sink.write([batch(1, 1)])
        os.close(writing)
        full = os.open("/dev/full", os.O_WRONLY)
        sink = StandardOutput(full)
        await sink.open(None)
        with pytest.raises(SinkError, match="the disk is full; mend it and run") as caught:
            await sink.write([batch(1, 1)])
        assert not isinstance(caught.value, ReaderGoneError)
        os.close(full)

    asyncio.run(main())


def test_standard_output_that_is_closed_is_unusable(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *job(server, tmp_path / "h")]
    done = run(shell)
    assert (done.returncode, server.simulator.counts.total()) == (2, 0)
    assert b"standard output is closed" in done.stderr


def test_standard_output_holds_records_alone(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    server = wechat()
    done = run(job(server, tmp_path / "h", "--json"))
    assert done.returncode == 0, done.stderr
    assert_exactly_the_truth(records(done.stdout), server.simulator, (A,), BEGIN, END)
    report = json.loads(done.stderr.splitlines()[-1])
    assert (report["state"], report["windows"]["done"]) == ("complete", 91)
    again = run(job(server, tmp_path / "h"))
    assert (again.returncode, again.stdout) == (0, b"")
    assert b"91 done before" in again.stderr


def test_beside_another_sink_both_get_everything(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    done = run(job(server, tmp_path / "h", "--sink", f"jsonl:{tmp_path / 'j'}"))
    assert done.returncode == 0, done.stderr
    files = b"".join(path.read_bytes() for path in (tmp_path / "j").glob("*/*.jsonl"))
    assert sorted(files.splitlines()) == sorted(done.stdout.splitlines())
    assert b"stored in jsonl:" in done.stderr


def test_a_closed_pipe_ends_the_run_quietly_and_the_next_one_goes_on(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    arguments = job(server, tmp_path / "h", "--rate", "40/s")  # a group is less than a pipe holds
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        time.sleep(0.3)
        process.stdout.close()
        said = process.stderr.read()
        status = process.wait(30)
    assert status == 4
    assert b"Traceback" not in said
    assert b"failed" not in said
    assert b"Broken" not in said
    rest = run(arguments)
    assert rest.returncode == 0, rest.stderr
    days = {record["_begin_date"] for record in records(rest.stdout)}
    assert json.loads(first)["_begin_date"] not in days  # what went out is remembered
    assert str(BEGIN) in days


@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_kills_lose_nothing_and_no_line_is_torn(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.002)
    arguments = job(server, tmp_path / "h", "--concurrency", "1", "--rate", RATE)
    out, draw = tmp_path / "out", random.Random(20261125)
    for _ in range(KILLS):
        with out.open("ab") as file:
            process = subprocess.Popen(
                arguments, stdout=file, stderr=subprocess.DEVNULL, env=environment()
            )
            before = len(server.simulator.served)
            while len(server.simulator.served) == before and process.poll() is None:
                time.sleep(0.005)
            time.sleep(draw.uniform(0.0, 0.15))
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    with out.open("ab") as file:
        subprocess.run(job(server, tmp_path / "h"), stdout=file, env=environment(), check=True,
                       timeout=60, stderr=subprocess.DEVNULL)  # fmt: skip
    latest: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for record in records(out.read_bytes()):
        day, fetched = record["_begin_date"], record["_fetched_at"]
        if latest.get(day, ("",))[0] != fetched:
            latest[day] = (fetched, [])
        latest[day][1].append(record)
    found = [record for _, group in latest.values() for record in group]
    assert_exactly_the_truth(found, server.simulator, (A,), BEGIN, END)


def test_nothing_is_imported_that_another_sink_needs() -> None:
    program = (
        "import sys, harvester.plugins as p; p.sink('-'); p.sink('memory:');"
        "print([n for n in ('redis', 'duckdb', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
