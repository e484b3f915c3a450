"""Standard output as a sink, through the command."""

from __future__ import annotations

import json
import random
import subprocess
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.command import Start, asked, killed_within
from tests.support import KILLS, A, Wechat, assert_exactly_the_truth, command, environment

pytestmark = pytest.mark.thorough

BEGIN, END = date(2024, 1, 1), date(2024, 3, 31)
RATE = f"{min(40, max(2, 800 // KILLS))}/s"  # so that the job lasts longer than most kills


def job(wechat: Wechat, home: Path, *more: str) -> list[str]:
    where = ("--out", home, "--sink", "-")
    return command(*asked(wechat.url, "getarticlesummary", BEGIN, END, *where, *more))


def run(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        arguments, capture_output=True, env=environment(), timeout=60, check=False
    )


def records(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def figures(out: bytes) -> list[dict[str, Any]]:
    """The records of the latest version of each day, as in any other sink."""
    latest: dict[str, tuple[int, list[dict[str, Any]]]] = {}
    for record in records(out):
        day, version = record["_begin_date"], record.pop("_version")
        assert record.pop("_id").startswith(f"{A}/getarticlesummary/{day}/{day}/")
        if latest.get(day, (0,))[0] < version:
            latest[day] = (version, [])
        if latest[day][0] == version:
            latest[day][1].append(record)
    return [record for _, group in latest.values() for record in group]


def test_standard_output_that_is_closed_is_unusable(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *job(server, tmp_path / "h")]
    done = run(shell)
    assert (done.returncode, server.simulator.counts.total()) == (2, 0)
    assert b"standard output is closed" in done.stderr


def test_standard_output_holds_records_alone(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    done = run(job(server, tmp_path / "h", "--json"))
    assert done.returncode == 0, done.stderr
    assert_exactly_the_truth(figures(done.stdout), server.simulator, (A,), BEGIN, END)
    report = json.loads(done.stderr.splitlines()[-1])
    assert (report["state"], report["windows"]["done"]) == ("complete", 91)
    again = run(job(server, tmp_path / "h"))
    assert (again.returncode, again.stdout) == (0, b"")
    assert b"91 done before" in again.stderr


def test_beside_another_sink_both_get_everything(wechat: Start, tmp_path: Path) -> None:
    done = run(job(wechat(), tmp_path / "h", "--sink", f"jsonl:{tmp_path / 'j'}"))
    assert done.returncode == 0, done.stderr
    files = b"".join(path.read_bytes() for path in (tmp_path / "j").glob("*/*.jsonl"))
    found = records(done.stdout)
    for record in found:
        assert record.pop("_id").startswith(f"{A}/getarticlesummary/{record['_begin_date']}/")
        assert record.pop("_version") > 0
    assert sorted(map(json.dumps, records(files))) == sorted(map(json.dumps, found))
    assert b"stored in jsonl:" in done.stderr


def test_a_closed_pipe_ends_the_run_and_the_next_goes_on(wechat: Start, tmp_path: Path) -> None:
    arguments = job(wechat(), tmp_path / "h", "--rate", "40/s")  # a group is less than a pipe holds
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
def test_kills_lose_nothing_and_no_line_is_torn(wechat: Start, tmp_path: Path) -> None:
    server = wechat(latency=0.002)
    arguments = job(server, tmp_path / "h", "--concurrency", "1", "--rate", RATE)
    out, draw = tmp_path / "out", random.Random(20261125)
    for _ in range(KILLS):
        with out.open("ab") as file:
            process = subprocess.Popen(
                arguments, stdout=file, stderr=subprocess.DEVNULL, env=environment()
            )
            killed_within(process, server, draw.uniform(0.0, 0.15))
    with out.open("ab") as file:
        subprocess.run(job(server, tmp_path / "h"), stdout=file, env=environment(), check=True,
                       timeout=60, stderr=subprocess.DEVNULL)  # fmt: skip
    assert_exactly_the_truth(figures(out.read_bytes()), server.simulator, (A,), BEGIN, END)
