"""What the tests of line files share: batches, and a ledger in memory."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from harvester.base import files as durable
from harvester.model import Batch, Endpoint, Field, Window
from harvester.sinks.base import Checkpoint, Written
from harvester.wechat.endpoint import JsonEndpoint
from tests.sinks import feed
from tests.sinks.feed import STAMP

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENDPOINT = "getarticlesummary"
FIELDS = (Field("n", "int"), Field("title", "str"), Field("ref_date", "date"))


def interface(fields: Sequence[Field] = FIELDS, name: str = ENDPOINT) -> JsonEndpoint:
    return JsonEndpoint(name, "/x", date(2014, 12, 1), fields=tuple(fields))


THING = interface()


window = partial(feed.window, endpoint=ENDPOINT)


def batch(
    day: int,
    *records: int | dict[str, Any],
    days: int = 1,
    appid: str = "wx1",
    replaces: bool = False,
    name: str = ENDPOINT,
    endpoint: Endpoint | None = None,
    stamp: str = STAMP,
) -> Batch:
    """The records of a window; a number stands for a record that holds it."""
    found = [each if isinstance(each, dict) else {"n": each} for each in records]
    place = feed.window(day, days, appid, endpoint.name if endpoint else name)
    return Batch(place, found, stamp, replaces=replaces, endpoint=endpoint)


def days_of(place: Window) -> list[tuple[str, str, date]]:
    """Each day of a window, with its account and interface."""
    count = (place.end - place.begin).days + 1
    return [(*place[:2], place.begin + timedelta(days=n)) for n in range(count)]


class SmallLedger:
    """Keeps a sink's checkpoint, and what is committed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.checkpoint: dict[str, str] = {}
        self.committed: dict[Window, Batch] = {}
        self.sink: Any = None
        self._full = False
        self._by_day: dict[tuple[str, str, date], Window] = {}

    async def open(self) -> Any:
        self.sink = self.make()
        entries = await self.sink.open(dict(self.checkpoint))
        with durable.step("commit ledger"):
            self.store(entries)
        self._full = False
        return self.sink

    def put_back(self, checkpoint: Checkpoint, committed: Mapping[Window, Batch]) -> None:
        """Be as it was once."""
        self.checkpoint, self.committed = dict(checkpoint), dict(committed)
        self._by_day = {day: window for window in committed for day in days_of(window)}

    def store(self, checkpoint: Checkpoint) -> None:
        self.checkpoint.update(checkpoint)
        self.checkpoint = {key: text for key, text in self.checkpoint.items() if text}

    async def close(self) -> None:
        """As a run ends."""
        entries = await self.sink.finish()
        with durable.step("commit ledger"):
            self.store(entries)
        await self.sink.close()

    async def commit(self, *batches: Batch) -> Written:
        if self._full:
            entries = await self.sink.finish()
            with durable.step("commit ledger"):
                self.store(entries)
        written: Written = await self.sink.write(batches, {})
        self._full = written.full
        with durable.step("commit ledger"):
            self.store(written.checkpoint)
            for one in batches:
                for day in days_of(one.window):
                    self.committed.pop(self._by_day.pop(day, one.window), None)
                self.committed[one.window] = one
                self._by_day.update(dict.fromkeys(days_of(one.window), one.window))
        return written

    async def run(self, *batches: Batch) -> Written:
        """A whole run of one commit."""
        await self.open()
        written = await self.commit(*batches) if batches else Written()
        await self.close()
        return written

    async def take_over(self) -> None:
        """Begin with what stands there."""
        sink = self.make()
        self.checkpoint = {}
        self.store(await sink.open(None))
        await sink.close()

    def numbers(self) -> list[int]:
        """The numbers in the records that are committed."""
        return sorted(each["n"] for one in self.committed.values() for each in one.records)

    def scanned(self) -> list[int]:
        """The numbers that a scan gives of what is committed; each window is checked."""
        sink = self.make()
        known = self.checkpoint
        names = sink.endpoints(known)
        stored = [each for name in names for each in sink.scan(name, None, known)]
        assert len({each.window for each in stored}) == len(stored), "a window stands there twice"
        for each in stored:
            assert each.tally == self.committed[each.window].tally
            assert each.fetched_at == self.committed[each.window].fetched_at
            assert each.records() == self.committed[each.window].records
        return sorted(record["n"] for each in stored for record in each.records())


def unpacked(path: Path) -> bytes:
    """What the standard reader of its kind makes of a file; of a new one nothing."""
    if not path.stat().st_size:
        return b""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        with zstd.open(path) as file:
            return bytes(file.read())
    return path.read_bytes()


def query(sql: str) -> list[Any]:
    """What DuckDB makes of it."""
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()


def segments(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("[!.]*/*.jsonl*") if path.suffix != ".tmp")


def documents(directory: Path) -> Iterator[dict[str, Any]]:
    """The records that a reader of segments sees, with their metadata."""
    for path in segments(directory):
        for line in unpacked(path).splitlines():
            yield json.loads(line)


def seen(directory: Path) -> list[int]:
    """The numbers in the records that a reader sees."""
    return sorted(record["n"] for record in documents(directory))


def doubled(directory: Path) -> list[Any]:
    """The windows that a reader of the segments sees from two writes."""
    fetched = {
        (record["_appid"], record["_endpoint"], record["_begin_date"], record["_end_date"],
         record["_fetched_at"])
        for record in documents(directory)
    }  # fmt: skip
    days = Counter(each[:3] for each in fetched)
    return [each for each, times in days.items() if times > 1]


def forget(sink: Any) -> None:
    """What the end of a process does: locks go, files are closed, nothing is written."""
    sink._home.unlock()
    if sink._thread is not None:
        sink._thread.close()


async def three_runs(ledger: SmallLedger) -> None:
    """Days, some of them again, and longer windows over them; each write has a stamp of its own."""
    stamps = (f"2024-06-15T04:{number:02}:00Z" for number in range(60))

    def day(stamp: str, first: int, *numbers: int, days: int = 1) -> Batch:
        replaces = any(
            one.begin <= window(first, days).end and window(first, days).begin <= one.end
            for one in ledger.committed
        )
        return batch(first, *numbers, days=days, stamp=stamp, replaces=replaces, endpoint=THING)

    runs: Sequence[Sequence[Sequence[tuple[int, Sequence[int], int]]]] = [
        [[(first + n, [first + n], 1) for n in range(4)] + [(first - 20, [first], 1)]
         for first in (1, 5, 9)],
        [[(6, [66], 1), (7, [], 1)], [(13, [13], 1), (6, [67, 68], 1)]],
        [[(-18, [100], 22)], [(14, [14], 1), (3, [33], 3)]],
    ]  # fmt: skip
    for commits in runs:
        await ledger.open()
        for commit in commits:
            stamp = next(stamps)
            await ledger.commit(
                *[day(stamp, first, *numbers, days=days) for first, numbers, days in commit]
            )
        await ledger.close()
