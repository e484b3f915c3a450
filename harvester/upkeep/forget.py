"""Removes an account, or interfaces of it, from a ledger and all of its sinks.

Rule: sends nothing to WeChat; a day is missing in the ledger before its records go from a sink.

First the ledger marks the days as missing, then each sink replaces the windows that it holds by
empty ones, then the ledger removes what it knows.  The ledger knows the account until the last
step, so the same call continues where one was killed.  A run in between requests the days again,
and looks for records that sinks still hold: the ledger has lost count of them (`Calendar.forget`).

A server that is away is waited for, as by a run.  Each step may be repeated, also if it is unknown
whether it took effect: no run is under way, and what is removed is removed again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from harvester.base.dates import Days, rfc3339
from harvester.base.fencing import EPOCH
from harvester.base.outage import PATIENCE, until_it_answers
from harvester.base.outside import guard_call
from harvester.engine.sink_list import finish
from harvester.errors import LedgerError, UsageError
from harvester.ledger import Ledger, PostgresLedger, shared
from harvester.ledger.base import Ranges, check_known
from harvester.ledger.coverage import STORED, Calendar
from harvester.model import Batch, Find, Tally, Window, listed
from harvester.sinks.base import Fence, Sink
from harvester.sinks.scan import (
    accepted,
    call,
    endpoints_in,
    error_of,
    persistently,
    stored_in,
    write,
)
from harvester.texts import say
from harvester.upkeep.copy import emptied


class Extent(NamedTuple):
    """What a ledger knows of an interface of an account.

    days: from the first to the last that was asked for or is known; stored: the number of stored
    days; records: of these, None if they are not known.
    """

    endpoint: str
    days: Days | None
    stored: int
    records: int | None


async def known_of(ledger: Ledger, appid: str, endpoints: Collection[str] = ()) -> list[Extent]:
    """What an entered ledger knows of an account; raises `UsageError` if that is nothing."""
    check_known([appid], await ledger.accounts())
    asked = {name: days for (of, name), days in (await ledger.asked()).items() if of == appid}
    calendars = {name: each for (_, name), each in (await ledger.calendars([appid])).items()}
    names = sorted(asked.keys() | calendars.keys())
    if endpoints and not {*endpoints} & {*names}:
        wanted = listed(sorted(endpoints), "interface")
        raise UsageError(
            "the ledger has nothing for {} of {}; it has {}", wanted, appid, ", ".join(names)
        )
    return [
        _known(name, asked.get(name, ()), calendars.get(name) or Calendar())
        for name in names
        if not endpoints or name in endpoints
    ]


async def strange_of(
    ledger: Ledger, appid: str, endpoints: Collection[str], sinks: Mapping[str, Sink]
) -> list[Extent]:
    """What sinks hold of an account, or of these interfaces of it; as of `known_of`.

    So records whose account was damaged can be removed, though the ledger knows nothing of it.
    """
    spans: dict[str, Days] = {}
    tallies: dict[str, Tally] = {}
    for name, sink in sinks.items():
        if sink.scan is None:
            continue
        checkpoint = await ledger.checkpoint(name)
        for endpoint in await persistently(sink, partial(endpoints_in, sink, checkpoint)):
            if endpoints and endpoint not in endpoints:
                continue
            windows = await stored_in(sink, endpoint, [appid], checkpoint)
            for _, _, begin, end in [each.window for each in windows]:
                first, last = spans.get(endpoint, (begin, end))
                spans[endpoint] = min(first, begin), max(last, end)
            here = Tally(sum(each.tally.records for each in windows))
            tallies[endpoint] = max(here, tallies.get(endpoint, Tally()))
    return [Extent(name, days, 0, tallies[name].records) for name, days in sorted(spans.items())]


def _known(name: str, asked: Ranges, calendar: Calendar) -> Extent:
    spans = [span for span in (*asked, calendar.span()) if span is not None]
    days = (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None
    tally = calendar.stored_tally()
    return Extent(name, days, calendar.count(STORED), None if tally is None else tally.records)


async def forget(
    ledger: Ledger,
    appid: str,
    known: Sequence[Extent],
    sinks: Mapping[str, Sink],
    find: Find,
    now: float,
    *,
    whole: bool,
) -> None:
    """Remove an account, or interfaces of it, from an entered ledger that no run uses.

    known: as of `known_of`.  sinks: all of the ledger, by name, not open.  whole: also what sinks
    hold of interfaces that the ledger does not know.  Raises `SinkError`, `LedgerError`,
    `UsageError`; nothing has changed if a sink cannot be opened.
    """
    async with AsyncExitStack() as stack:
        removals = []
        for name, sink in sinks.items():
            stack.push_async_callback(call, sink, sink.close)
            checkpoint = await ledger.checkpoint(name)
            renewed = guard_call(error_of(sink), sink.renewed, checkpoint)
            if renewed:  # a ledger from before is refused from now on
                await ledger.commit([], {name: renewed})
            entries = await call(sink, sink.open, {**checkpoint, **renewed})
            await ledger.commit([], {name: entries})
            removals.append(_Removal(ledger, name, sink, find, rfc3339(now)))
        fence = await _fence(ledger, appid)
        asked = await ledger.asked()
        for endpoint, days, *_ in known:
            if days is not None:
                if (appid, endpoint) not in asked:  # so that the account stays known
                    await ledger.register([(appid, endpoint, *days)])
                attempt = partial(ledger.forget, (appid, endpoint), [days])
                await until_it_answers(attempt, say("the ledger"), PATIENCE, LedgerError)
        for removal in removals:
            await removal.run(appid, known, fence, whole=whole)
    await ledger.remove(appid, [each.endpoint for each in known])


async def _fence(ledger: Ledger, appid: str) -> Fence:
    """The epoch of this removal: a worker that was frozen writes nothing of the account later."""
    if isinstance(ledger, PostgresLedger):
        epoch = await ledger.highest_epoch()
        await ledger.begin_after(epoch)
        return {appid: epoch}
    return {} if shared(ledger) is not None else {appid: EPOCH}


class _Removal:
    """The removal from one open sink."""

    def __init__(self, ledger: Ledger, name: str, sink: Sink, find: Find, stamp: str) -> None:
        self._ledger, self._name, self._sink = ledger, name, sink
        self._find, self._stamp = find, stamp

    async def run(self, appid: str, known: Sequence[Extent], fence: Fence, *, whole: bool) -> None:
        spans = {each.endpoint: each.days for each in known}
        if self._sink.scan is None:  # its windows are not known: one that has all of the days
            windows = {name: [Window(appid, name, *days)] for name, days in spans.items() if days}
        else:
            there = await persistently(self._sink, partial(endpoints_in, self._sink))
            names = there if whole else [name for name in there if name in spans]
            windows = {
                name: [each.window for each in await stored_in(self._sink, name, [appid])]
                for name in names
            }
        for name, some in windows.items():
            for batches in emptied(some, self._find(name), self._stamp):
                await self._write(batches, fence)
        await self._write([], fence)
        await finish(self._ledger, self._name, self._sink)
        if whole:
            await call(self._sink, self._sink.forget, appid)

    async def _write(self, batches: Sequence[Batch], fence: Fence) -> None:
        attempt = partial(write, self._sink, batches, fence)
        done = await until_it_answers(attempt, self._sink.identity, PATIENCE)
        written = accepted(self._name, done)
        await self._ledger.commit([], {self._name: written.checkpoint})
        if written.full:
            await finish(self._ledger, self._name, self._sink)
