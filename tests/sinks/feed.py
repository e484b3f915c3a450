"""What tests of sinks share: batches, death at any step, a job, a reader of standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from typing import Any

from harvester.base import files as durable
from harvester.model import Batch, Window

STAMP = "2024-06-15T04:00:00Z"
ODD = {
    "title": "😀\u0000" + "长" * 300,
    "nested": [{"a": [1, None]}, {}],
    "long": 2**70,
    "unknown": {"=cmd": "\u2028"},
    "lines": "a\nb\rc\u0085d",
}


def window(day: int, length: int = 1, appid: str = "wx1", endpoint: str = "e") -> Window:
    """A window of so many days; day 1 is the first of January 2024."""
    begin = date(2023, 12, 31) + timedelta(days=day)
    return Window(appid, endpoint, begin, begin + timedelta(days=length - 1))


def batch(where: int | Window, *records: Any, version: int = 1, **more: Any) -> Batch:
    """The records of a window; a number stands for a record that holds it."""
    place = window(where) if isinstance(where, int) else where
    found = [record if isinstance(record, dict) else {"n": record} for record in records]
    return Batch(place, found, STAMP, version=version, **more)


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


# a job in which windows overlap, and its truth

JOB = [
    *[(window(day), day % 3) for day in range(1, 9)],
    (window(3, appid="wx2"), 2),
    (window(3, endpoint="f"), 1),
    (window(2), 0),  # it has become empty
    (window(5), 3),
    (window(4, 7), 2),  # longer than the days in it
    (window(8, 7), 1),  # it overlaps the one before in part
    (window(9), 2),  # shorter than the one that it lies in
    (window(20, 3), 0),
    (window(21), 1),
]
GROUP = 3
WRITES = -(-len(JOB) // GROUP)


class Ledger:
    """How many windows of the job are committed, in which version, and the checkpoint."""

    def __init__(self) -> None:
        self.checkpoint: dict[str, str] = {}
        self.committed: list[Batch] = []

    def truth(self) -> dict[tuple[str, ...], list[int]]:
        """The numbers of each window that stands."""
        standing: dict[Window, Batch] = {}
        for one in self.committed:
            for other in list(standing):
                same = other[:2] == one.window[:2]
                if same and other.begin <= one.window.end and one.window.begin <= other.end:
                    del standing[other]
            standing[one.window] = one
        return {
            (w.appid, w.endpoint, str(w.begin), str(w.end)): [r["n"] for r in one.records]
            for w, one in standing.items()
        }


_versions = count(1)


async def job(make: Callable[[], Any], ledger: Ledger) -> None:
    """Write what is left of the job; what is fetched again has a later version, other figures."""
    sink = make()
    try:
        ledger.checkpoint.update(await sink.open(dict(ledger.checkpoint)))
        for first in range(len(ledger.committed), len(JOB), GROUP):
            group = []
            for place, records in JOB[first : first + GROUP]:
                version = next(_versions)
                figures = range(1000 * version, 1000 * version + records)
                group.append(batch(place, *figures, version=version))
            written = await sink.write(group, {})
            ledger.checkpoint.update(written.checkpoint)
            ledger.committed += group
    finally:
        await sink.close()


# a reader


def latest(lines: Iterable[bytes]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """By window, the records that a reader of standard output ends with.

    Of the windows that overlap it keeps the one with the latest version.
    """
    found: dict[tuple[str, ...], dict[int, dict[str, dict[str, Any]]]] = {}
    for line in lines:
        record = json.loads(line)
        *window, number = record.pop("_id").split("/")
        versions = found.setdefault(tuple(window), {})
        versions.setdefault(record.pop("_version"), {})[number] = record
    return {
        window: list(versions[max(versions)].values())
        for window, versions in found.items()
        if not any(_overlap(window, w) and max(v) > max(versions) for w, v in found.items())
    }


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two windows have an account, an interface and a day in common."""
    return one[:2] == other[:2] and one[2] <= other[3] and other[2] <= one[3]
