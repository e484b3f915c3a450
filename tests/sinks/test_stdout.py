from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest

from harvester.config import plugins
from harvester.errors import ReaderGoneError, SinkError
from harvester.model import Batch
from harvester.sinks.stdout import CHUNK, StandardOutput, pieces
from tests.sinks.feed import JOB, ODD, WRITES, Died, Ledger, batch, dying, job, latest, window


async def handed_out(*batches: Batch) -> list[bytes]:
    """The lines that a reader gets."""
    reading, writing = os.pipe()
    sink = StandardOutput(writing)
    assert await sink.open({}) == {}
    written = await sink.write(batches, {})
    assert (written.checkpoint, written.refused) == ({}, ())
    await sink.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        return file.read().splitlines()


def test_a_sign_is_a_spec_by_itself() -> None:
    assert isinstance(plugins.sink("-"), StandardOutput)
    assert plugins.sink("-").identity == "-"


async def test_a_line_is_the_record_and_its_id_and_version() -> None:
    one, other = batch(1, ODD, {}, {"n": 1}, version=7), batch(window(3, 5), 3, version=8)
    lines = await handed_out(one, batch(2), other)
    ids = [f"wx1/e/2024-01-01/2024-01-01/{number}" for number in (1, 2, 3)]
    assert [json.loads(line) for line in lines] == [
        *[
            {**document, "_id": name, "_version": 7}
            for document, name in zip(one.documents(), ids, strict=True)
        ],
        {**other.documents()[0], "_id": "wx1/e/2024-01-03/2024-01-07/1", "_version": 8},
    ]
    for line, plain in zip(lines, (one.lines() + other.lines()).split(b"\n"), strict=False):
        assert line.startswith(plain[:-1])  # what stands in any sink comes first, as it is there


async def test_fields_of_an_answer_that_are_named_as_the_added_ones_are_kept_beside() -> None:
    own = {"_id": "theirs", "n": {"_id": 1}, "_version": 10**30, "_extra": None}
    lines = await handed_out(batch(1, own, {"n": {"_id": 1}}, {"_extra": 1}, version=7))
    found = [json.loads(line) for line in lines]
    assert [each["_id"][-2:] for each in found] == ["/1", "/2", "/3"]
    assert [each["_version"] for each in found] == [7, 7, 7]
    assert [each.get("n") for each in found] == [{"_id": 1}, {"_id": 1}, None]
    assert [each.get("_extra") for each in found] == [
        {"_id": "theirs", "_version": 10**30, "_extra": None},
        None,
        {"_extra": 1},
    ]
    assert all(line.count(b'"_version":7') == 1 for line in lines)


async def test_a_window_that_is_handed_out_again_has_the_same_ids_and_a_later_version() -> None:
    found = await handed_out(batch(1, 1, version=1), batch(1, 2, version=2))
    one, other = map(json.loads, found)
    assert one["_id"] == other["_id"]
    assert (one["_version"], other["_version"]) == (1, 2)


@pytest.mark.parametrize("moment", range(1, 2 * WRITES + 1))
def test_a_job_that_dies_at_any_moment_ends_with_the_truth_at_the_reader(moment: int) -> None:
    reading, writing = os.pipe()
    ledger = Ledger()
    with dying(moment), pytest.raises(Died):
        asyncio.run(job(lambda: StandardOutput(writing), ledger))
    asyncio.run(job(lambda: StandardOutput(writing), ledger))
    os.close(writing)
    assert len(ledger.committed) == len(JOB)
    with os.fdopen(reading, "rb") as file:
        found = {
            window: sorted(record["n"] for record in records)
            for window, records in latest(file).items()
        }
    found.pop(("wx1", "e", "2024-01-02", "2024-01-02"))  # it has become empty, which no line says
    assert found == {place: numbers for place, numbers in ledger.truth().items() if numbers}


@pytest.mark.parametrize("sizes", [(10,) * 3000, (4000,) * 50, (9000, 10, 9000), (4096,) * 9, ()])
def test_a_piece_is_whole_lines_and_fits_into_a_pipe_at_once(sizes: tuple[int, ...]) -> None:
    lines = [b"x" * (size - 1) + b"\n" for size in sizes]
    found = [bytes(piece) for piece in pieces(b"".join(lines))]
    assert b"".join(found) == b"".join(lines)
    assert all(len(piece) <= CHUNK for piece in found)
    if all(size <= CHUNK for size in sizes):
        assert all(piece.endswith(b"\n") for piece in found)
        assert len(found) <= 2 * sum(sizes) // CHUNK + 1


@pytest.mark.thorough
async def test_a_write_that_nobody_takes_can_be_cancelled_and_holds_up_nothing_else() -> None:
    reading, writing = os.pipe()
    sink = StandardOutput(writing)
    await sink.open({})
    task = asyncio.ensure_future(sink.write([batch(day, day) for day in range(1, 10_000)], {}))
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sink.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read().endswith(b"}\n")  # what went out is whole lines


async def test_a_slow_reader_gets_everything() -> None:
    reading, writing = os.pipe()
    sink = StandardOutput(writing)
    await sink.open({})
    batches = [batch(day, day, {**ODD, "n": day}) for day in range(1, 2_000)]
    reader = asyncio.ensure_future(asyncio.to_thread(_read_slowly, reading))
    await sink.write(batches, {})
    os.close(writing)
    lines = (await reader).split(b"\n")[:-1]
    assert [json.loads(line)["_begin_date"] for line in lines] == [
        str(one.window.begin) for one in batches for _ in one.records
    ]


def _read_slowly(descriptor: int) -> bytes:
    out = b""
    while piece := os.read(descriptor, 30_000):
        out += piece
        time.sleep(0.001)
    os.close(descriptor)
    return out


async def test_a_reader_that_has_gone_is_told_from_other_troubles() -> None:
    reading, writing = os.pipe()
    sink = StandardOutput(writing)
    await sink.open(None)
    os.close(reading)
    with pytest.raises(ReaderGoneError):
        await sink.write([batch(1, 1)], {})
    os.close(writing)
    full = os.open("/dev/full", os.O_WRONLY)
    sink = StandardOutput(full)
    await sink.open(None)
    with pytest.raises(SinkError, match="the disk is full; fix the cause and run") as caught:
        await sink.write([batch(1, 1)], {})
    assert not isinstance(caught.value, ReaderGoneError)
    os.close(full)


def test_nothing_is_imported_that_another_sink_needs() -> None:
    program = (
        "import sys, harvester.config.plugins as p; p.sink('-'); p.sink('memory:');"
        "print([n for n in ('redis', 'duckdb', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
