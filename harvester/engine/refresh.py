"""Reopens stored windows, so that a run requests them again.

Rule: sends nothing to WeChat.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from functools import partial

from harvester.base.dates import WindowKind, gaps, last_legal_day, meets, union
from harvester.errors import SinkError
from harvester.ledger import Ledger
from harvester.ledger.base import Key, Ranges
from harvester.ledger.coverage import DONE, Calendar, OpenWindow, Outcome
from harvester.model import Endpoint, Tally, Window, many
from harvester.sinks.base import Sink, StoredWindow, name_in
from harvester.sinks.scan import endpoints_in, persistently, scanned, stored_in
from harvester.wechat.endpoint import grid
from harvester.wechat.late import Delivery, delivery, had


async def calendars_in(
    sinks: Sequence[Sink], endpoints: Sequence[Endpoint], appids: Collection[str]
) -> dict[Key, Calendar]:
    """The stored windows of a run without a ledger: they are requested again."""
    found: defaultdict[Key, Calendar] = defaultdict(Calendar)
    for sink in sinks:
        if sink.scan is None:
            continue
        there = await persistently(sink, partial(endpoints_in, sink))
        for endpoint in endpoints:
            if endpoint.name not in there:
                continue
            for each in await stored_in(sink, endpoint.name, appids):
                calendar = found[each.window.appid, each.window.endpoint]
                calendar.apply(Outcome(each.window, "open", each.tally))
    return dict(found)


async def reopen(
    ledger: Ledger,
    sinks: Sequence[Sink],
    endpoints: Sequence[Endpoint],
    appids: Collection[str],
    wall: float,
) -> None:
    """Reopen the final windows of marked ranges, with the days of their stored windows.

    Windows that are open already become due: a run that is killed between two sinks leaves them
    different, and only what is due is requested again.

    The first sink that can be scanned shows the days of final windows; with line files that takes
    as long as reading them.  If no sink can be scanned, the days are requested by the grid, the
    sums of their years are lost, and the other days of windows that the range cuts are missing.
    Raises `SinkError` if a year that is opened in part differs from the ledger: its sum would be
    unknown.
    """
    marks = await ledger.refreshes(list(appids))
    if not marks:
        return
    known = await ledger.sinks()
    exact = {sink.identity: not known.get(name_in(sink, ledger.path)) for sink in sinks}
    readable = [sink for sink in sinks if sink.scan is not None]
    readable.sort(key=lambda sink: not exact[sink.identity])
    source = readable[0] if readable else None
    there: Collection[str] = ()
    if source is not None:
        there = await persistently(source, partial(endpoints_in, source))
    done = await ledger.calendars(list(appids))
    for endpoint in endpoints:
        marked = {key: ranges for key, ranges in marks.items() if key[1] == endpoint.name}
        final = {
            key: done[key]
            for key, ranges in marked.items()
            if key in done and any(any(done[key].runs(*days, DONE)) for days in ranges)
        }
        for key in marked.keys() - final:
            due = _due(done.get(key), marked[key], wall)
            await ledger.reopen(key, (), due, {})  # nothing is final
        windows: defaultdict[str, list[tuple[StoredWindow, str]]] = defaultdict(list)
        if source is not None and final and endpoint.name in there:
            some = [appid for appid, _ in final]
            hads = await _hads(source, endpoint, some)
            for each in await stored_in(source, endpoint.name, some):
                windows[each.window.appid].append((each, hads.get(each.window, "")))
        for key, calendar in final.items():
            if source is None:  # a window that reaches out of the range is replaced as a whole
                cut = grid(endpoint, marked[key][-1][1])
                await ledger.forget(key, union([cut.whole(*days) for days in marked[key]]))
                continue
            part = _Reopened(key, calendar, marked[key])
            cut = grid(endpoint, last_legal_day(wall))
            for each, has in windows[key[0]]:
                part.add(each, has, opens=cut.gives((each.window.begin, each.window.end)))
            sums = part.sums(source.identity, exact=exact[source.identity])
            opened = [*part.opened, *_due(calendar, marked[key], wall)]
            recent = endpoint.cut is WindowKind.RECENT  # of these no single day can be requested
            await ledger.reopen(key, () if recent else marked[key], opened, sums)


async def _hads(source: Sink, endpoint: Endpoint, appids: Collection[str]) -> dict[Window, str]:
    """What a later answer must have, too, by window (`harvester.wechat.late.had`)."""
    if delivery(endpoint) is not Delivery.ENTRIES:
        return {}

    async def read() -> dict[Window, str]:
        found = scanned(source, endpoint.name, appids, records=True)
        return {
            each.window: had(endpoint, records) async for group in found for each, records in group
        }

    return await persistently(source, read)


def _due(calendar: Calendar | None, ranges: Ranges, wall: float) -> list[OpenWindow]:
    """The open windows of some ranges that are not due yet, marked as due."""
    return [
        window._replace(due=0.0)
        for window in ({} if calendar is None else calendar.windows).values()
        if window.stored and window.due > wall and meets(window.days, ranges)
    ]


class _Reopened:
    """The final windows of one interface of one account: those in the ranges are opened."""

    def __init__(self, key: Key, calendar: Calendar, ranges: Ranges) -> None:
        self._key = key
        self._calendar = calendar
        self._ranges = ranges
        self._stored: defaultdict[int, Tally] = defaultdict(Tally)  # all of a year
        self._kept: defaultdict[int, Tally] = defaultdict(Tally)  # the windows that stay final
        self.opened: list[OpenWindow] = []

    def add(self, stored: StoredWindow, has: str, *, opens: bool) -> None:
        """A window in the sink; has: as of `had`; opens: it is opened if it is in a range."""
        _, _, begin, end = stored.window
        if list(self._calendar.runs(begin, end, DONE)) != [(begin, end)]:
            return  # it is open already, or was not committed
        self._stored[begin.year] = self._stored[begin.year].plus(stored.tally)
        if opens and meets((begin, end), self._ranges):
            window = OpenWindow(begin, end, "open", stored.tally, detail="--refresh")
            self.opened.append(window._replace(fetched_at=stored.fetched_at, had=has))
        else:
            self._kept[begin.year] = self._kept[begin.year].plus(stored.tally)

    def sums(self, where: str, *, exact: bool) -> dict[int, Tally | None]:
        """The sums of the windows that stay final, for the years concerned.

        exact: the sink returns records in the form in which they were fetched.  Raises `SinkError`
        if a year that is opened in part differs from what was fetched: then the right sum of the
        other part is unknown.
        """
        found: dict[int, Tally | None] = {}
        opened = {window.begin.year for window in self.opened}
        for year, known in self._calendar.sums.items():
            whole = date(year, 1, 1), date(year, 12, 31)
            if not meets(whole, self._ranges) and year not in opened:
                continue
            stored, kept = self._stored[year], self._kept[year]
            apart = [any(self._calendar.runs(*days, DONE)) for days in gaps(*whole, self._ranges)]
            if any(apart) and known is not None:
                same = stored == known if exact else stored.records == known.records
                if not same:
                    raise SinkError(
                        "{}: {} {} differs from what was fetched ({} are stored, {:,} were "
                        "fetched);"
                        " refresh the whole year, or make a new ledger with rebuild",
                        where,
                        " ".join(self._key),
                        year,
                        many(stored.records, "record"),
                        known.records,
                    )
            found[year] = kept if exact or not kept.records else None
        return found
