"""What the tests of sinks share: batches, a ledger that is a dict, and death at any step."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from harvester import durable
from harvester.codec import checksum, lines
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Finishing, Receipt, Sink
from tests.support import KILLS

STAMP = "2024-06-15T04:00:00Z"
ODD = {
    "title": "😀\u0000" + "长" * 300,
    "nested": [{"a": [1, None]}, {}],
    "long": 2**70,
    "unknown": {"=cmd": "\u2028"},
}


def window(day: int, length: int = 1, appid: str = "wx1", endpoint: str = "e") -> Window:
    """A window of so many days; day 1 is the first of January 2024."""
    begin = date(2023, 12, 31) + timedelta(days=day)
    return Window(appid, endpoint, begin, begin + timedelta(days=length - 1))


def batch(where: int | Window, *records: Any, replaces: bool = False, stamp: str = STAMP) -> Batch:
    """The records of a window; a number stands for a record that holds it."""
    place = window(where) if isinstance(where, int) else where
    found = [record if isinstance(record, dict) else {"n": record} for record in records]
    encoded = lines(found, metadata(place, stamp))
    return Batch(place, stamp, len(found), b"".join(encoded), checksum(encoded), replaces)


class Kept:
    """A ledger: a receipt, and what it says of the sink."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.receipt: Receipt = {}

    async def open(self) -> Any:
        sink = self.make()
        self.store(await sink.open(dict(self.receipt)))
        return sink

    def store(self, receipt: Receipt) -> None:
        self.receipt.update(receipt)
        self.receipt = {key: value for key, value in self.receipt.items() if value}

    async def commit(self, sink: Sink, *batches: Batch) -> dict[Window, Tally]:
        written = await sink.write(batches)
        self.store(written.receipt)
        await sink.settle()
        return dict(written.replaced)

    async def finish(self, sink: Sink) -> None:
        if isinstance(sink, Finishing):
            self.store((await sink.finish()).receipt)
            await sink.settle()

    def records(self) -> list[dict[str, Any]]:
        """What the receipt speaks of, as a reader finds it."""
        return [json.loads(line) for line in self.make().read_lines(self.receipt)]

    def numbers(self) -> list[int]:
        return sorted(record["n"] for record in self.records())


class Died(BaseException):
    """The process that wrote is no more."""


@contextmanager
def dying(at: int) -> Iterator[list[str]]:
    """Die at the moment of that number: before or after a durable step; gives the moments."""
    moments: list[str] = []

    def watch(name: str, taken: bool) -> None:
        moments.append(f"{'after' if taken else 'before'} {name}")
        if len(moments) == at:
            raise Died(moments[-1])

    durable.watch(watch)
    try:
        yield moments
    finally:
        durable.watch(None)


# a job of many writes, some of which replace, and its truth

OPERATIONS = 240
GROUP = 4


def operation(number: int) -> Batch:
    """The job's writes, one window each: every third one replaces a window that was written."""
    stamp = f"2024-06-15T04:{number // 60:02}:{number % 60:02}Z"
    turn, place = divmod(number, 24)
    first = 16 * turn
    if place == 23:  # a week takes the place of its days
        return batch(window(first + 1, 7), number, replaces=True, stamp=stamp)
    if place % 3 == 2:  # a day of the turn before, by nothing now and then
        found = [] if place == 11 else [number, {**ODD, "n": number}]
        return batch(first - 8 + place // 3, *found, replaces=True, stamp=stamp)
    day = first + place // 3 * 2 + place % 3 + 1
    return batch(day, *[number] * (number % 4), stamp=stamp)


def truth(upto: int = OPERATIONS) -> Counter[str]:
    """The lines that stand after so many operations, each with how often."""
    standing: dict[Window, Batch] = {}
    for one in map(operation, range(upto)):
        for other in list(standing):
            if one.window.begin <= other.begin and other.end <= one.window.end:
                del standing[other]
        standing[one.window] = one
    return Counter(
        line.decode() for one in standing.values() for line in one.body.splitlines(keepends=True)
    )


def done(path: Path) -> int:
    """How many operations a ledger in a file knows of."""
    return int(json.loads(path.read_text())["done"]) if path.exists() else 0


async def job(
    sink: Sink,
    path: Path,
    told: Callable[[], None] = lambda: None,
    operations: int = OPERATIONS,
) -> None:
    """Do what is left of the job, with a ledger in a file."""
    ledger = json.loads(path.read_text()) if path.exists() else {"receipt": {}, "done": 0}

    def store(receipt: Receipt, done: int) -> None:
        ledger["receipt"].update(receipt)
        ledger["done"] = done
        path.with_suffix(".tmp").write_text(json.dumps(ledger))
        path.with_suffix(".tmp").replace(path)

    store(await sink.open(ledger["receipt"]), ledger["done"])
    told()
    for first in range(ledger["done"], operations, GROUP):
        written = await sink.write([operation(n) for n in range(first, first + GROUP)])
        store(written.receipt, first + GROUP)
        await sink.settle()
    if isinstance(sink, Finishing):
        store((await sink.finish()).receipt, operations)
        await sink.settle()
    await sink.close()


def standing(sink: Any, path: Path) -> Counter[str]:
    """The lines that a reader finds, by the ledger in a file."""
    receipt = json.loads(path.read_text())["receipt"] if path.exists() else {}
    return Counter(line.decode() for line in sink.read_lines(receipt))


PROGRAM = """
import asyncio, sys
from pathlib import Path
from harvester import plugins
from tests.sinks.kept import job
asyncio.run(job(plugins.sink(sys.argv[1]), Path(sys.argv[2]), lambda: print("open", flush=True)))
"""


def killed_again_and_again(
    spec: str,
    path: Path,
    each: Callable[[], None],
    most: float,
    kills: int = KILLS,
    program: str = PROGRAM,
) -> None:
    """Run the job in a process that is killed at random moments, then once to its end."""
    draw = random.Random(20261125)
    command = [sys.executable, "-c", program, spec, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for number in range(kills):
        before = done(path)
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            while number % 4 and done(path) == before and process.poll() is None:
                time.sleep(0.001)  # three of four come further, however slow the machine is
            time.sleep(draw.uniform(0.0, most))
            process.kill()
        each()
    subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, timeout=60)


def run(arguments: Sequence[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
    """A command, to its end, in bytes."""
    return subprocess.run(arguments, capture_output=True, timeout=60, check=False, **more)
