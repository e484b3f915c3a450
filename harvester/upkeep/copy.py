"""Changes the list of sinks of a ledger, for `harvester sink`; a new one gets what is stored.

Rule: sends nothing to WeChat; a sink is listed once it has everything that is stored.

Windows that the ledger does not know are not copied: a killed run may have left them.  Stored days
without records, and windows that are no longer stored, are removed from the new sink, where an
addition that was killed may have left them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import NamedTuple

from harvester.base.dates import Days, rfc3339, without
from harvester.base.fencing import EPOCH
from harvester.engine.sink_list import finish, holds_records
from harvester.errors import UsageError
from harvester.ledger import Ledger, shared
from harvester.ledger.base import Key, account_groups
from harvester.ledger.coverage import DONE, STORED, Calendar
from harvester.model import Batch, Endpoint, Find, Window
from harvester.sinks.base import (
    Checkpoint,
    Sink,
    StoredWindow,
    name_in,
    spec_of,
)
from harvester.sinks.scan import (
    AT_ONCE,
    accepted,
    call,
    endpoints_in,
    scanned,
    version_of,
    write,
)
from harvester.texts import say


@asynccontextmanager
async def exclusively(ledger: Ledger) -> AsyncIterator[None]:
    """A context in which no run uses an entered ledger; raises `UsageError` if one does."""
    if (common := shared(ledger)) is None:  # its lock file is held
        yield
        return
    async with common.alone():
        if not await common.dismiss():  # a frozen one would store what a new sink lacks
            raise UsageError("workers of this ledger are running; wait until they have ended")
        yield


async def add_sink(
    ledger: Ledger,
    sink: Sink,
    make: Callable[[str], Sink | None],
    find: Find,
    now: float | None = None,
) -> int:
    """Copy what is stored into a sink and list it; returns the number of windows with records.

    make: creates a listed sink from its name, None if it cannot.  now: the Unix time.  Raises
    `UsageError`, `SinkError`.
    """
    name, known = name_in(sink, ledger.path), await ledger.sinks()
    if name in known:
        raise UsageError("{} is listed already", sink.identity)
    if not sink.listed:
        raise UsageError("{} is never listed: any run can use it", sink.identity)
    if shared(ledger) is not None and not sink.fenced:
        raise UsageError("{} cannot be written by several processes", sink.identity)
    sources = [
        Source(made, await ledger.checkpoint(each), copied)
        for each, copied in known.items()
        if (made := make(each)) is not None
    ]
    try:
        entries = await call(sink, sink.open, await ledger.checkpoint(name))
        await ledger.commit([], {name: entries})
        windows, copied = await copy(ledger, name, sink, sources, find, now)
        await finish(ledger, name, sink)
    finally:
        await call(sink, sink.close)
    await ledger.list_sinks({name: copied})
    return windows


async def remove_sink(ledger: Ledger, name: str) -> None:
    """Remove a sink from the list, by its name; what is stored in it stays."""
    known = await ledger.sinks()
    if name not in known:
        listed = ", ".join(spec_of(each, ledger.path) for each in known) or say("none")
        raise UsageError("{} is not listed; the sinks are: {}", spec_of(name, ledger.path), listed)
    if len(known) == 1:
        raise UsageError(
            "{} is the only sink of this ledger; add another one first", spec_of(name, ledger.path)
        )
    await ledger.unlist_sink(name)


class Source(NamedTuple):
    """A listed sink; checkpoint: of one that is not open; copied: as of `statements.sinks`."""

    sink: Sink
    checkpoint: Checkpoint | None = None
    copied: str = ""


async def copy(
    ledger: Ledger,
    name: str,
    sink: Sink,
    sources: Iterable[Source],
    find: Find,
    now: float | None = None,
) -> tuple[int, str]:
    """Copy into an open sink; returns the windows with records, and the value for `list_sinks`.

    Raises `UsageError` if no source can be scanned, though records are stored.
    """
    readable = [each for each in sources if each.sink.scan is not None]
    readable.sort(key=lambda each: each.copied != "")  # first those with records as fetched
    source = readable[0] if readable else None
    if source is None and await holds_records(ledger):
        raise UsageError(
            "{} does not have the records of earlier runs, and no sink that has them can be read"
            " back; use the sinks of those runs, or another ledger",
            sink.identity,
        )
    stamp = rfc3339(time.time() if now is None else now)
    filling = _Filling(ledger, name, sink, source, find, stamp)
    appids = await ledger.accounts()
    for some in account_groups(appids):
        await filling.accounts(some)
    return filling.windows, filling.copied


class _Filling:
    """One sink that is being filled; copied: as of `statements.sinks`."""

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        sink: Sink,
        source: Source | None,
        find: Find,
        stamp: str,
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._sink = sink
        self._source = source
        self._find = find
        self._stamp = stamp
        self.windows = 0
        self.copied = "" if source is None else source.copied

    async def accounts(self, appids: Sequence[str]) -> None:
        calendars = await self._ledger.calendars(appids)
        names = {endpoint for _, endpoint in calendars}
        has, there = set[str](), set[str]()
        if self._source is not None:
            has = {*await endpoints_in(self._source.sink, self._source.checkpoint)}
        if self._sink.scan is not None:
            there = {*await endpoints_in(self._sink)}
        for endpoint in sorted(names):
            covered: defaultdict[str, list[Days]] = defaultdict(list)
            if endpoint in has:
                await self._copy(endpoint, appids, calendars, covered)
            gaps = [
                Window(appid, endpoint, *days)
                for (appid, name), calendar in calendars.items()
                if name == endpoint
                for days in without(_stored(calendar), sorted(covered[appid]))
            ]
            await self._empty(endpoint, gaps)
            if endpoint in there:
                await self._remove(endpoint, appids, calendars)

    async def _copy(
        self,
        endpoint: str,
        appids: Collection[str],
        calendars: Mapping[Key, Calendar],
        covered: Mapping[str, list[Days]],
    ) -> None:
        assert self._source is not None
        sink, checkpoint = self._source.sink, self._source.checkpoint
        async for group in scanned(sink, endpoint, appids, checkpoint=checkpoint, records=True):
            known = [
                (stored, records)
                for stored, records in group
                if is_stored(calendars.get(stored.window[:2]), stored.window)
            ]
            batches = [batch_of(each, records, self._find(endpoint)) for each, records in known]
            await self._write(batches)
            self.windows += len(batches)
            for batch, (stored, _) in zip(batches, known, strict=True):
                covered[stored.window.appid].append((stored.window.begin, stored.window.end))
                if batch.tally != stored.tally:  # a database returns fields in its own order
                    self.copied = max(self.copied, stored.fetched_at)

    async def _remove(
        self, endpoint: str, appids: Collection[str], calendars: Mapping[Key, Calendar]
    ) -> None:
        others: list[Window] = []
        async for group in scanned(self._sink, endpoint, appids):
            others += [
                each.window
                for each, _ in group
                if not is_stored(calendars.get(each.window[:2]), each.window)
            ]
        await self._empty(endpoint, others)

    async def _empty(self, endpoint: str, windows: Sequence[Window]) -> None:
        for batches in emptied(windows, self._find(endpoint), self._stamp):
            await self._write(batches)

    async def _write(self, batches: Sequence[Batch]) -> None:
        if batches:
            await store(self._ledger, self._name, self._sink, batches)


async def store(ledger: Ledger, name: str, sink: Sink, batches: Sequence[Batch]) -> None:
    """Write into an open sink, as a run does; raises `SinkError`."""
    fence = {}  # where several share the ledger, no other worker is running now
    if shared(ledger) is None:
        fence = {batch.window.appid: EPOCH for batch in batches}
    written = accepted(name, await write(sink, batches, fence))
    await ledger.commit([], {name: written.checkpoint})
    if written.full:
        await finish(ledger, name, sink)


def emptied(
    windows: Sequence[Window], endpoint: Endpoint | None, stamp: str
) -> Iterator[list[Batch]]:
    """Windows of an interface without records, in groups: a sink removes what they overlap."""
    version = version_of(stamp)
    for begin in range(0, len(windows), AT_ONCE):
        yield [
            Batch(window, [], stamp, endpoint=endpoint, version=version, replaces=True)
            for window in windows[begin : begin + AT_ONCE]
        ]


def is_stored(calendar: Calendar | None, window: Window) -> bool:
    """Whether the ledger calls exactly this window stored: final, or open with these days."""
    if calendar is None:
        return False
    known = calendar.windows.get(window.begin)
    if known is not None and known.stored and known.end == window.end:
        return True
    return list(calendar.runs(window.begin, window.end, DONE)) == [(window.begin, window.end)]


def _stored(calendar: Calendar) -> list[Days]:
    span = calendar.span()
    return [] if span is None else list(calendar.runs(*span, STORED))


def batch_of(
    stored: StoredWindow, records: list[dict[str, object]], endpoint: Endpoint | None
) -> Batch:
    """A stored window, to be written into another sink."""
    return Batch(
        stored.window,
        records,
        stored.fetched_at,
        endpoint=endpoint,
        version=version_of(stored.fetched_at),
        replaces=True,
    )
