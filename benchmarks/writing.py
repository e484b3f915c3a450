"""What the JSON lines sink takes beside joining the same bytes and writing them.

Groups of 768 windows of eight records, as the committer hands them over, in CPU time of all
threads: through the sink, and beside it `bytes.join`, one write and one fsync a group into a file.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from benchmarks.figures import Figure, show
from benchmarks.server import RECORDS
from harvester.codec import body_of
from harvester.committer import GROUP
from harvester.model import Batch, Window, metadata
from harvester.sinks.jsonl import JsonLines
from harvester.testing import articles

GROUPS = 24
ROUNDS = 9
NAME = "getarticlesummary"
APPID = "wx0000000000000001"
GOAL, GATE = 1.5, 2.5


def _groups() -> list[list[Batch]]:
    """Windows one after the other, as one lane brings them."""
    day = date(2015, 1, 1)
    pool: list[dict[str, object]] = []
    while len(pool) < RECORDS:
        pool += articles(1, APPID, day)
        day += timedelta(days=64)
    records, stamp = pool[:RECORDS], "2026-01-01T00:00:00Z"
    groups = []
    for number in range(GROUPS):
        group = []
        for n in range(GROUP):
            on = date(2000, 1, 1) + timedelta(days=number * GROUP + n)
            window = Window(APPID, NAME, on, on)
            body, total = body_of(records, metadata(window, stamp))
            group.append(Batch(window, stamp, RECORDS, body, total))
        groups.append(group)
    return groups


def _bare(groups: Sequence[Sequence[Batch]], folder: Path) -> float:
    """Seconds of CPU that joining and writing takes."""
    started = time.process_time()
    descriptor = os.open(folder / "bare.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for group in groups:
        os.write(descriptor, b"".join([batch.body for batch in group]))
        os.fsync(descriptor)
    os.close(descriptor)
    return time.process_time() - started


async def _sink(groups: Sequence[Sequence[Batch]], folder: Path) -> float:
    """Seconds of CPU that the sink takes, its opening left out."""
    sink = JsonLines(folder)
    await sink.open(None)
    started = time.process_time()
    for group in groups:
        await sink.write(group)
        await sink.settle()
    taken = time.process_time() - started
    await sink.close()
    return taken


def measure() -> list[Figure]:
    """The figures."""
    groups = _groups()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            theirs.append(_bare(groups, Path(name)))
            ours.append(asyncio.run(_sink(groups, Path(name))))
    cpu, bare = statistics.median(ours), statistics.median(theirs)
    records = GROUPS * GROUP * RECORDS
    return [
        Figure("writing: JSON lines sink, of joining and writing, CPU", cpu / bare,
               goal=GOAL, gate=GATE, more_is_better=False),
        Figure("writing: JSON lines sink, CPU a record", cpu / records * 1e6, "µs"),
        Figure("writing: joining and writing, CPU a record", bare / records * 1e6, "µs"),
    ]  # fmt: skip


if __name__ == "__main__":
    show(measure())
