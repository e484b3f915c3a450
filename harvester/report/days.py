"""What a ledger has of each interface of each account: its days by state.

Rule: reads the ledger alone; no list of ranges is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from harvester.base.dates import (
    ONE_DAY,
    SETTLED_HOUR,
    Days,
    WindowKind,
    last_legal_day,
    last_settled_day,
    last_whole_day,
    period_of,
    rfc3339,
    settles_at,
    without,
)
from harvester.config import plugins
from harvester.ledger import Ledger
from harvester.ledger.base import Key, Ranges, check_known
from harvester.ledger.coverage import FAILED, OPEN, WAITING, Calendar, OpenWindow
from harvester.ledger.reach import LATE, Counts, Found, Reach, reaches
from harvester.model import Endpoint

STATES = ("failed", "stale", "missing", "late", "waiting", "provisional", "complete")
"""The states of an interface of an account, the most severe first."""

GRACE = 26 * 3600.0
"""Seconds after which figures that are due are stale: more than the interval of daily runs."""
RECENT = timedelta(days=31)
"""An interface of an account without any request this recent is not expected to be fresh."""


_LETTERS = {"open": OPEN, "late": LATE, "waiting": WAITING, "failed": FAILED}


class StatusFilter(NamedTuple):
    """What of the ledger is to be shown.

    appids, endpoints, states: only these, all if there are none.  listed: the accounts of a file,
    and whether they are enabled; None if there is no file: then all that the ledger knows.
    """

    appids: Collection[str] = ()
    endpoints: Collection[str] = ()
    states: Collection[str] = ()
    listed: Mapping[str, bool] | None = None

    @property
    def narrowed(self) -> bool:
        return bool(self.appids or self.endpoints or self.states)


class Stream(NamedTuple):
    """One interface of one account.

    asked: the ranges.  days: from the first to the last that was asked for or is known.  counts:
    its days by state.  records: None if they are not known.  overdue: since when it is stale, a
    Unix time; 0 if it is not.  unasked: if that is because the range has not moved on, the days
    that were not requested.
    """

    key: Key
    asked: Ranges
    days: Days
    reach: Reach
    counts: Counts
    records: int | None
    overdue: float
    unasked: Days | None = None

    @property
    def states(self) -> list[str]:
        lacking = ("failed", "missing", "late", "waiting")
        found = [name for name in lacking if getattr(self.counts, name)]
        found += ["stale"] if self.overdue else []
        return [*(found or ["complete"]), *(["provisional"] if self.counts.provisional else [])]

    def windows(
        self, calendar: Calendar, states: Collection[str] = tuple(_LETTERS)
    ) -> Iterator[tuple[OpenWindow, list[Days]]]:
        """The windows that are ``open``, ``late``, ``waiting`` or ``failed``; the days that are so.

        Other days of a window cannot be asked for any more; a window of such days alone is left
        out.
        """
        for window in calendar.windows.values():
            if window.state in states and (found := _days_of(window, self.reach)):
                yield window, found

    def holes(self, calendar: Calendar) -> list[Days]:
        """Its days that are late and were stored as final before that was known."""
        late = [each.days for each in calendar.windows.values() if each.state == "late"]
        return without(list(self.reach.runs(LATE)), sorted(late))

    def to_dict(self) -> dict[str, Any]:
        return {
            "appid": self.key[0],
            "endpoint": self.key[1],
            "begin_date": str(self.days[0]),
            "end_date": str(self.days[1]),
            "states": self.states,
            **self.counts.to_dict(),
            "records": self.records,
            "stale_since": rfc3339(self.overdue) if self.overdue else None,
            "not_asked_since": str(self.unasked[0]) if self.unasked else None,
        }


class Reader:
    """The streams of a ledger that are to be shown, in order, some accounts in memory at a time.

    now: a Unix time.  own: interfaces that are not installed.  newest: the newest day that was
    asked for, None if none was; a clock that was ahead counts no more.
    """

    def __init__(
        self,
        ledger: Ledger,
        now: float,
        own: Iterable[Endpoint] = (),
        wanted: StatusFilter = StatusFilter(),  # noqa: B008
    ) -> None:
        self.ledger, self.now, self.wanted = ledger, now, wanted
        self.asked: dict[Key, Ranges] = {}
        self._known: dict[str, Endpoint | None] = {endpoint.name: endpoint for endpoint in own}
        self._own = frozenset(self._known)
        self._called: dict[date, Mapping[Key, int]] = {}
        self._appids: list[str] = []
        self.newest: date | None = None

    async def prepare(self) -> None:
        """Read the selection; raises `UsageError` for an unknown account."""
        self.asked = dict(await self.ledger.asked())
        ends = [min(ranges[-1][1], last_legal_day(self.now)) for ranges in self.asked.values()]
        self.newest = max(ends, default=None)
        known = await self.ledger.accounts()
        wanted = self.wanted
        check_known(wanted.appids, known, wanted.listed or ())
        asked = {name for _, name in self.asked}
        for name in sorted({*wanted.endpoints} - asked - self._own):
            plugins.endpoint(name)  # raises an error that names the nearest
        chosen = {*wanted.appids} or {*(known if wanted.listed is None else self._enabled())}
        self._appids = [appid for appid in known if appid in chosen]

    def _enabled(self) -> list[str]:
        return [appid for appid, enabled in (self.wanted.listed or {}).items() if enabled]

    def never_harvested(self) -> list[str]:
        """The accounts of the file that the ledger does not know."""
        left = {*self.wanted.appids} or {*self._enabled()}
        known = {*self._appids}
        return [appid for appid in self._enabled() if appid in left and appid not in known]

    async def accounts(self) -> AsyncIterator[list[tuple[Stream, Calendar]]]:
        """The selection of each account; also days that were only requested."""
        endpoints, states = {*self.wanted.endpoints}, {*self.wanted.states}

        def wanted(key: Key) -> bool:
            return not endpoints or key[1] in endpoints

        async for account in reaches(
            self.ledger, self.asked, self._appids, self.endpoint, self.now, wanted
        ):
            found = []
            for each in account:
                stream = await self._stream(each)
                if not (states and states.isdisjoint(stream.states)):
                    found.append((stream, each.calendar))
            if found:
                yield found

    async def streams(self) -> AsyncIterator[tuple[Stream, Calendar]]:
        async for found in self.accounts():
            for each in found:
                yield each

    async def _stream(self, found: Found) -> Stream:
        key, asked, calendar, reach = found
        endpoint, unasked = self.endpoint(key[1]), await self._unasked(key, asked)
        overdue = stale_since(reach, endpoint, self.now) or self._due(calendar, reach)
        if unasked is not None and not overdue:
            overdue = settles_at(unasked[0], hour_of(endpoint))
        days = (reach.first, reach.last) if reach.letters else (asked[0][0], asked[-1][1])
        return Stream(key, asked, days, reach, reach.counts, _records(calendar), overdue, unasked)

    def _due(self, calendar: Calendar, reach: Reach) -> float:
        """Since when windows that are stored or wait are to be requested again; 0 if none is."""
        due = [
            window.due
            for window in calendar.windows.values()
            if 0 < window.due < self.now - GRACE and _days_of(window, reach)
        ]
        return min(due, default=0.0)

    def endpoint(self, name: str) -> Endpoint | None:
        """An interface; None if it is not installed."""
        if name not in self._known:
            self._known[name] = plugins.known_endpoint(name)
        return self._known[name]

    async def _unasked(self, key: Key, asked: Ranges) -> Days | None:
        """The days that were not requested: the range ended, and others continue, or it did before.

        It continued before if it ended at the last available day, which the calls of the next day
        show.  Whether others continue is derived from their ranges, and only for a range that ended
        recently: an older one may be an archive on purpose.
        """
        endpoint = self.endpoint(key[1])
        if not asked or self.newest is None or endpoint is None or endpoint.retired:
            return None
        last, hour, cut = asked[-1][1], endpoint.settled_hour, endpoint.cut
        if last_whole_day(last_settled_day(self.now - GRACE, hour), cut) <= last:
            return None
        settled = last_settled_day(self.now, hour)
        newest = last_whole_day(min(self.newest, settled), cut)
        go_on = self.newest >= settled - ONE_DAY and settled - RECENT <= last < newest
        if not go_on and not await self._was_called(key, last):
            return None
        return last + ONE_DAY, last_whole_day(settled, cut)

    async def _was_called(self, key: Key, last: date) -> bool:
        for day in (last + ONE_DAY, last + 2 * ONE_DAY):
            if day not in self._called:
                self._called[day] = await self.ledger.spent(day)
            if key in self._called[day]:
                return True
        return False


def hour_of(endpoint: Endpoint | None) -> int:
    """The hour in China from which yesterday can be requested, also if it is not known."""
    return endpoint.settled_hour if endpoint else SETTLED_HOUR


def cut_of(endpoint: Endpoint | None) -> WindowKind:
    """How an interface is cut; one that is not installed is cut into days."""
    return endpoint.cut if endpoint else WindowKind.DAYS


def stale_since(
    reach: Reach,
    endpoint: Endpoint | None,
    now: float,
    *,
    newest: float = GRACE,
    late: float = GRACE,
    at: Callable[[date], float] = lambda day: 0.0,
) -> float:
    """Since when figures should have been there, a Unix time; 0 if none are stale.

    Figures are stale if they were asked for, can still be, are not there, and have been due for too
    long: of days that are late, and of those behind the newest answered one.  What lies before that
    is the past, which a run fetches as the quota allows; so is a range that ended long ago.

    newest, late: the seconds that are too long, for either kind.  at: when a run requests the
    figures of a window that ends on this day, if that is later than WeChat has them.
    """
    if reach.last < last_legal_day(now) - RECENT:
        return 0.0
    cut, hour = cut_of(endpoint), hour_of(endpoint)
    found = []
    for day, patience in ((next(reach.runs(LATE), (None,))[0], late), (reach.edge, newest)):
        if day is not None:
            end = period_of(day, cut)[1]
            since = max(settles_at(end, hour), at(end))
            found += [since] if now > since + patience else []
    return min(found, default=0.0)


def _days_of(window: OpenWindow, reach: Reach) -> list[Days]:
    return list(reach.within(window.days).runs(_LETTERS[window.state]))


def _records(calendar: Calendar) -> int | None:
    final = 0
    for tally in calendar.sums.values():
        if tally is None:
            return None
        final += tally.records
    return final + sum([each.tally.records for each in calendar.windows.values() if each.stored])


def covering(calendar: Calendar, day: date) -> OpenWindow | None:
    """The open window that has a day; None if there is none."""
    windows = calendar.windows.values()
    return next((window for window in windows if window.begin <= day <= window.end), None)
