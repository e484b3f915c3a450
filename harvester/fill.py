"""Fills a sink that is new, or was left out for a while, with what the ledger calls stored.

Rule: sends nothing to WeChat; reads a sink that is complete, and writes one that is not.

Windows that the ledger does not know are not copied: a killed run may have left them.  Stored days
without records, and windows that are no longer stored, are removed from the sink.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from harvester.coverage import DONE, STORED, Calendar
from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.fencing import EPOCH
from harvester.ledger.base import Key, KnownSink, Ledger, shared
from harvester.model import Batch, Window
from harvester.plan import Days, rfc3339, without
from harvester.sinks.base import Checkpoint, Sink, StoredWindow, scan_of
from harvester.stored import (
    AT_ONCE,
    Endpoints,
    accepted,
    endpoints_in,
    scanned,
    version_of,
)

ACCOUNTS_AT_ONCE = 200
"""Accounts whose calendars are in memory together."""


class Source(NamedTuple):
    """A sink that is complete.

    checkpoint: of one that is not open; known: the ledger's entry for it.
    """

    sink: Sink
    checkpoint: Checkpoint | None = None
    known: KnownSink = KnownSink(True)


async def catch_up(
    ledger: Ledger,
    name: str,
    sink: Sink,
    sources: Iterable[Source],
    find: Endpoints,
    now: float | None = None,
) -> int:
    """Fill an open sink; returns the number of windows with records that were copied.

    sources: complete sinks, which may have a scan or not.  now: the Unix time.  Raises
    `UsageError` if none of them can be scanned, though records are stored.
    """
    source = next((each for each in sources if scan_of(each.sink) is not None), None)
    if source is None and await _holds_records(ledger):
        raise UsageError(
            f"{sink.identity} does not have what was harvested before, and no destination that has"
            " it can be read back; use the destinations of the former runs, or another ledger"
        )
    stamp = rfc3339(time.time() if now is None else now)
    filling = _Filling(ledger, name, sink, source, find, stamp)
    appids = await ledger.accounts()
    for begin in range(0, len(appids), ACCOUNTS_AT_ONCE):
        await filling.accounts(appids[begin : begin + ACCOUNTS_AT_ONCE])
    await ledger.caught_up(name, filling.refilled)
    return filling.windows


async def _holds_records(ledger: Ledger) -> bool:
    for appid in await ledger.accounts():
        for calendar in (await ledger.calendars([appid])).values():
            tally = calendar.stored_tally()
            if tally is None or tally.records:
                return True
    return False


class _Filling:
    """One sink that is being filled.

    windows: copied; refilled: as of `KnownSink`.
    """

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        sink: Sink,
        source: Source | None,
        find: Endpoints,
        stamp: str,
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._sink = sink
        self._source = source
        self._find = find
        self._stamp = stamp
        self.windows = 0
        self.refilled = "" if source is None else source.known.refilled

    async def accounts(self, appids: Sequence[str]) -> None:
        """Copy what is stored of these accounts."""
        calendars = await self._ledger.calendars(appids)
        names = {endpoint for _, endpoint in calendars}
        has, there = set[str](), set[str]()
        if self._source is not None:
            has = {*await endpoints_in(self._source.sink, self._source.checkpoint)}
        if scan_of(self._sink) is not None:
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
        """Write the windows of the source that the ledger calls stored."""
        assert self._source is not None
        sink, checkpoint = self._source.sink, self._source.checkpoint
        async for group in scanned(sink, endpoint, appids, checkpoint=checkpoint, records=True):
            known = [
                (stored, records)
                for stored, records in group
                if is_stored(calendars.get(stored.window[:2]), stored.window)
            ]
            batches = [_batch(each, records, self._find(endpoint)) for each, records in known]
            await self._write(batches)
            self.windows += len(batches)
            for batch, (stored, _) in zip(batches, known, strict=True):
                covered[stored.window.appid].append((stored.window.begin, stored.window.end))
                if batch.tally != stored.tally:  # a database returns fields in its own order
                    self.refilled = max(self.refilled, stored.fetched_at)

    async def _remove(
        self, endpoint: str, appids: Collection[str], calendars: Mapping[Key, Calendar]
    ) -> None:
        """Remove windows from the sink that the ledger does not call stored."""
        others: list[Window] = []
        async for group in scanned(self._sink, endpoint, appids):
            others += [
                each.window
                for each, _ in group
                if not is_stored(calendars.get(each.window[:2]), each.window)
            ]
        await self._empty(endpoint, others)

    async def _empty(self, endpoint: str, windows: Sequence[Window]) -> None:
        known, version = self._find(endpoint), version_of(self._stamp)
        for begin in range(0, len(windows), AT_ONCE):
            await self._write(
                [
                    Batch(window, [], self._stamp, endpoint=known, version=version, replaces=True)
                    for window in windows[begin : begin + AT_ONCE]
                ]
            )

    async def _write(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        fence = {}  # where several share the ledger, no other worker is running now
        if shared(self._ledger) is None:
            fence = {batch.window.appid: EPOCH for batch in batches}
        written = accepted(self._name, await self._sink.write(batches, fence))
        await self._ledger.commit([], {self._name: written.checkpoint})


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


def _batch(
    stored: StoredWindow, records: list[dict[str, object]], endpoint: Endpoint | None
) -> Batch:
    return Batch(
        stored.window,
        records,
        stored.fetched_at,
        endpoint=endpoint,
        version=version_of(stored.fetched_at),
        replaces=True,
    )
