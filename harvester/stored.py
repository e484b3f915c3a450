"""What stands in the sinks: one is filled from another, and stored windows are opened again.

Rule: sends nothing to WeChat; reads sinks by ``scan``, on a thread of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice

from harvester.coverage import DONE, Calendar, OpenWindow, Outcome
from harvester.endpoint import Endpoint
from harvester.errors import SinkError, UsageError
from harvester.ledger.base import EPOCH, Key, Ledger
from harvester.model import Batch, Tally, listed
from harvester.plan import Cut, Days, last_legal_day
from harvester.scope import Scope
from harvester.sinks.base import Checkpoint, Sink, StoredWindow, Written, scan_of
from harvester.thread import Thread

AT_ONCE = 500
"""Stored windows that are in memory together."""

Endpoints = Callable[[str], Endpoint | None]
"""Finds an interface by its name."""


async def scanned(
    sink: Sink,
    endpoint: str,
    appids: Collection[str] | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    records: bool = False,
) -> AsyncIterator[list[tuple[StoredWindow, list[dict[str, object]]]]]:
    """The stored windows of an interface in groups, with their records if they are wanted."""
    scan = scan_of(sink)
    assert scan is not None, f"{sink.identity} cannot be scanned"
    thread = Thread("harvester-scan")
    try:
        found = await thread.call(scan, endpoint, appids, checkpoint)

        def some() -> list[tuple[StoredWindow, list[dict[str, object]]]]:
            return [
                (each, list(each.records()) if records else []) for each in islice(found, AT_ONCE)
            ]

        while group := await thread.call(some):
            yield group
    finally:
        thread.close()


async def endpoints_in(sink: Sink, checkpoint: Checkpoint | None = None) -> list[str]:
    """The interfaces of which records stand in a sink."""
    thread = Thread("harvester-scan")
    try:
        return sorted(await thread.call(lambda: list(sink.endpoints(checkpoint))))  # type: ignore[attr-defined]
    finally:
        thread.close()


async def calendars_in(sinks: Sequence[Sink], scope: Scope) -> dict[Key, Calendar]:
    """What stands in the sinks of a run without a ledger: windows that are asked for again."""
    found: defaultdict[Key, Calendar] = defaultdict(Calendar)
    for sink in sinks:
        if scan_of(sink) is None:
            continue
        there = await endpoints_in(sink)
        for endpoint in scope.endpoints:
            if endpoint.name not in there:
                continue
            async for group in scanned(sink, endpoint.name, scope.accounts.keys()):
                for each, _ in group:
                    window = each.window
                    calendar = found[window.appid, window.endpoint]
                    calendar.apply(Outcome(window, "open", each.tally))
    return dict(found)


# a run that harvests again what is done


async def reopen(ledger: Ledger, sinks: Sequence[Sink], scope: Scope, wall: float) -> None:
    """Make what is final in the range of a run open, window by window as it was stored.

    Which windows it came in is read from the first sink that can be scanned; from line files that
    takes as long as reading them.  Where no sink can be, the days are asked for by the grid, and
    the sums of their years are not known any more.
    """
    source = next((sink for sink in sinks if scan_of(sink) is not None), None)
    there = await endpoints_in(source) if source is not None else []
    done = await ledger.calendars(list(scope.accounts))
    for endpoint in scope.endpoints:
        days = scope.range_of(endpoint)
        keys = [key for key in done if key[1] == endpoint.name]
        final = [key for key in keys if days and any(done[key].runs(*days, DONE))]
        if days is None or not final:
            continue
        if source is None:
            for key in final:
                await ledger.forget(key, days)
            continue
        windows: defaultdict[str, list[StoredWindow]] = defaultdict(list)
        if endpoint.name in there:
            async for group in scanned(source, endpoint.name, [appid for appid, _ in final]):
                for each, _ in group:
                    windows[each.window.appid].append(each)
        for key in final:
            await _reopen(ledger, key, endpoint, days, windows[key[0]], done[key], wall)


async def _reopen(
    ledger: Ledger,
    key: Key,
    endpoint: Endpoint,
    days: Days,
    stored: Iterable[StoredWindow],
    calendar: Calendar,
    wall: float,
) -> None:
    recent = endpoint.cut is Cut.RECENT  # no other windows can be asked for than those of now
    last = last_legal_day(wall)
    opened: list[OpenWindow] = []
    sums: dict[int, Tally | None] = dict.fromkeys(calendar.years, Tally())
    for window, tally, fetched_at, _ in stored:
        whole = window.begin, window.end
        if list(calendar.runs(*whole, DONE)) != [whole]:
            continue  # it is open already, or no commit has stored it
        within = window.begin <= days[1] and days[0] <= window.end
        if within and (not recent or window.end == last):
            opened.append(
                OpenWindow(*window[2:], "open", tally, detail="--refresh", fetched_at=fetched_at)
            )
        else:
            known = sums.get(window.begin.year) or Tally()
            sums[window.begin.year] = known.plus(tally)
    await ledger.reopen(key, None if recent else days, opened, sums)


# a sink that is new to a ledger, or was left out for a while


async def catch_up(
    ledger: Ledger,
    name: str,
    sink: Sink,
    sources: Iterable[Sink],
    find: Endpoints,
) -> int:
    """Fill an open sink with all that is stored elsewhere; gives how many windows that were.

    sources: sinks that have everything, which may be scanned or not.  Raises `UsageError` if none
    of them can be, though something is stored.
    """
    if not await _holds_anything(ledger):
        await ledger.caught_up(name)
        return 0
    source = next((each for each in sources if scan_of(each) is not None), None)
    if source is None:
        raise UsageError(
            f"{sink.identity} does not have what was harvested before, and no destination that has"
            " it can be read back; use the destinations of the former runs, or another ledger"
        )
    windows, refilled = 0, ""
    for endpoint in await endpoints_in(source):
        async for group in scanned(source, endpoint, records=True):
            batches = [_batch(each, records, find(endpoint)) for each, records in group]
            fence = {batch.window.appid: EPOCH for batch in batches}
            written = accepted(name, await sink.write(batches, fence))
            await ledger.commit([], {name: written.checkpoint})
            windows += len(batches)
            for batch, (stored, _) in zip(batches, group, strict=True):
                if batch.tally != stored.tally:  # a database gives its fields in its own order
                    refilled = max(refilled, stored.fetched_at)
    await ledger.caught_up(name, refilled)
    return windows


async def _holds_anything(ledger: Ledger) -> bool:
    for appid in await ledger.accounts():
        for calendar in (await ledger.calendars([appid])).values():
            tally = calendar.stored_tally()
            if tally is None or tally.records:
                return True
    return False


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


def accepted(name: str, written: Written) -> Written:
    """What a write has done; raises `SinkError` if it has refused accounts."""
    if written.refused:
        raise SinkError(
            f"{name} has refused {listed(sorted(written.refused), 'account')}: another harvest has"
            " taken over what is written there; end one of the two"
        )
    return written


def version_of(fetched_at: str) -> int:
    """The version of a window that was fetched then: milliseconds of the Unix time."""
    try:
        return int(datetime.fromisoformat(fetched_at).timestamp() * 1000)
    except ValueError:
        return 0
