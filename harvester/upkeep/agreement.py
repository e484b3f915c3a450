"""What several sinks hold, window by window, compared with each other and with a former ledger.

Rule: reads sinks and a ledger, and changes nothing.

Sinks of one ledger get the same windows with the same records.  A sink that was filled from another
one may have them in another form: a database returns fields in its own order, and days as it writes
them.  So windows whose checksums differ are compared by their records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import date
from typing import Any, NamedTuple

from harvester.base.codec import parse
from harvester.base.dates import Days, last_legal_day, without
from harvester.engine.sink_list import holds_records
from harvester.errors import HarvestError
from harvester.ledger import Ledger
from harvester.ledger.base import Key, Ranges, account_groups
from harvester.ledger.coverage import DONE, FINAL, Calendar
from harvester.model import Batch, Endpoint, Tally, Window
from harvester.sinks.base import Sink, StoredWindow, name_in
from harvester.sinks.rows import Table
from harvester.sinks.scan import endpoints_in, scanned
from harvester.texts import say
from harvester.wechat.endpoint import grid

Held = tuple[StoredWindow, list[dict[str, object]]]

_ANY_TIME = "1970-01-01T00:00:00Z"


class Seen(NamedTuple):
    """A window as each of several sinks has it, None where it is not stored."""

    window: Window
    held: Sequence[Held | None]

    @property
    def first(self) -> StoredWindow:
        return next(each[0] for each in self.held if each is not None)


async def together(sinks: Sequence[Sink], endpoint: str) -> AsyncGenerator[Seen]:
    """Each window of an interface that any sink has, in the order of account and days."""
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(aclosing(_each(sink, endpoint, records=len(sinks) > 1)))
            for sink in sinks
        ]
        heads = [await anext(stream, None) for stream in streams]
        while present := [head[0].window for head in heads if head is not None]:
            window = min(present)
            found = [each if each and each[0].window == window else None for each in heads]
            yield Seen(window, found)
            for number, each in enumerate(found):
                if each is not None:
                    heads[number] = await anext(streams[number], None)


async def _each(sink: Sink, endpoint: str, *, records: bool) -> AsyncGenerator[Held]:
    if endpoint not in await endpoints_in(sink):
        return
    async with aclosing(scanned(sink, endpoint, records=records)) as groups:
        async for group in groups:
            for each in group:
                yield each


async def overlapping(windows: AsyncIterator[Seen]) -> AsyncGenerator[list[Seen]]:
    """Groups of windows with common days of an account: sinks may have cut days differently."""
    group: list[Seen] = []
    until = date.min
    async for seen in windows:
        appid, _, begin, end = seen.window
        if group and (appid != group[0].window.appid or begin > until):
            yield group
            group, until = [], date.min
        group.append(seen)
        until = max(until, end)
    if group:
        yield group


class Comparison:
    """Compares windows of one interface; endpoint: its description, None if it is not known."""

    def __init__(self, name: str, endpoint: Endpoint | None) -> None:
        self._table = Table(name, endpoint.fields if endpoint is not None else ())

    def same(self, seen: Seen) -> bool:
        """Whether every sink has the window, fetched at the same time, with the same records."""
        one, *others = seen.held
        return one is not None and all(
            other is not None and self._same(one, other) for other in others
        )

    def _same(self, one: Held, other: Held) -> bool:
        if one[0].fetched_at != other[0].fetched_at:
            return False
        return one[0].tally == other[0].tally or self._rows(one) == self._rows(other)

    def _rows(self, held: Held) -> list[list[Any]]:
        """The records in the form that all sinks have in common: typed columns."""
        rows = self._table.rows(Batch(held[0].window, held[1], _ANY_TIME))
        return [[*values, parse(extra.encode()) if extra else {}] for *values, extra in rows]


OFFLINE = 47009
"""The errcode of an interface that WeChat has taken offline."""


class Former:
    """A ledger that is replaced by a new one; none if it cannot be read."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._ledger = ledger
        self._here: dict[Key, Calendar] = {}
        self._loaded: Collection[str] = ()
        self._places: dict[str, int] = {}
        self.accounts: list[str] = []
        self.asked: Mapping[Key, Ranges] = {}
        self.copied: Mapping[str, str] = {}
        """The listed sinks, as of `statements.sinks`."""

    def __bool__(self) -> bool:
        return self._ledger is not None

    @classmethod
    async def of(cls, ledger: Ledger) -> Former:
        found = cls(ledger)
        try:
            found.accounts = await ledger.accounts()
            found._places = {appid: number for number, appid in enumerate(found.accounts)}
            found.asked, found.copied = await ledger.asked(), await ledger.sinks()
            for some in account_groups(found.accounts):  # may all of the file be read?
                await ledger.calendars(some)
        except HarvestError:
            return cls()
        return found

    async def holds_records(self) -> bool:
        return self._ledger is not None and await holds_records(self._ledger)

    async def calendar(self, appid: str, endpoint: str) -> Calendar | None:
        """The calendar of an interface of an account; accounts are best requested in order."""
        if self._ledger is None:
            return None
        if appid not in self._loaded:
            if (place := self._places.get(appid)) is None:
                return None
            some = next(account_groups(self.accounts[place:]))
            self._loaded, self._here = {*some}, await self._ledger.calendars(some)
        return self._here.get((appid, endpoint))

    async def askable(self, endpoint: Endpoint | None, window: Window, now: float) -> bool:
        """Whether WeChat can still be asked for a window, as far as is known (now: the Unix time).

        It cannot if the interface has only recent days, or has answered that it is offline.
        """
        if endpoint is None:
            return False
        if not grid(endpoint, last_legal_day(now)).gives((window.begin, window.end)):
            return False
        calendar = await self.calendar(window.appid, window.endpoint)
        known = () if calendar is None else calendar.windows.values()
        return all(each.code != OFFLINE for each in known)

    async def differing(
        self, sinks: Sequence[Sink], path: Any, endpoint: str
    ) -> list[set[tuple[str, int]]]:
        """Of each sink the accounts and years whose final windows are not as the ledger has them.

        What the ledger does not know is no difference.
        """
        return [
            await self._differing(sink, self.copied.get(name_in(sink, path), ""), endpoint)
            for sink in sinks
        ]

    async def _differing(self, sink: Sink, copied: str, endpoint: str) -> set[tuple[str, int]]:
        if not self:
            return set()
        sums: defaultdict[tuple[str, int], Tally] = defaultdict(Tally)
        known: dict[tuple[str, int], Tally | None] = {}
        counted: set[tuple[str, int]] = set()
        async with aclosing(_each(sink, endpoint, records=False)) as windows:
            async for each, _ in windows:
                appid, _, begin, end = each.window
                calendar = await self.calendar(appid, endpoint)
                if calendar is None or [*calendar.runs(begin, end, DONE)] != [(begin, end)]:
                    continue
                place = appid, begin.year
                sums[place] = sums[place].plus(each.tally)
                known[place] = calendar.sums.get(begin.year)
                if each.fetched_at <= copied:  # in another form
                    counted.add(place)
        return {
            place
            for place, tally in known.items()
            if tally is not None
            and tally != sums[place]
            and (place not in counted or tally.records != sums[place].records)
        }

    async def why_open(self, window: Window) -> str | None:
        """Why the ledger would ask for a stored window again; None if it would not."""
        calendar = await self.calendar(window.appid, window.endpoint)
        known = calendar.windows.get(window.begin) if calendar is not None else None
        if known is None or not known.stored or known.end != window.end:
            return None
        return known.detail or say("the former ledger lists it as a window to request again")

    async def gone(
        self, endpoint: str, stored: Mapping[str, Calendar]
    ) -> AsyncGenerator[tuple[str, Days]]:
        """The days with records that the ledger knows and no sink has, by account."""
        for appid in self.accounts:
            calendar = await self.calendar(appid, endpoint)
            if calendar is None or (span := calendar.span()) is None:
                continue
            had = [*calendar.runs(*span, bytes([FINAL]))]
            had += [each.days for each in calendar.windows.values()
                    if each.stored and each.tally.records]  # fmt: skip
            here = stored.get(appid) or Calendar()
            for days in without(sorted(had), [*here.runs(*span, DONE)]):
                yield appid, days
