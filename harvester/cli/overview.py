"""What of a ledger `status` is to show, and the sums of it.

Rule: prints nothing.  Days are counted a year at a time, and no list of ranges is made.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from harvester import plugins
from harvester.cli import STATES
from harvester.cli.screen import china_time, many
from harvester.config.accounts import ListedAccount
from harvester.coverage import (
    EMPTY,
    FAILED,
    FINAL,
    MISSING,
    OPEN,
    WAITING,
    Calendar,
)
from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.events import reason_of
from harvester.ledger import Key, Ledger
from harvester.model import listed
from harvester.plan import (
    ONE_DAY,
    Cut,
    Days,
    Grid,
    days_in,
    last_settled_day,
    nearest,
    rfc3339,
    settles_at,
)

AT_ONCE = 100
"""Accounts whose calendars are in memory together."""

GRACE = 26 * 3600.0
"""Seconds after which what could have been asked for is stale: a daily run's, and some."""

KEPT = 20
"""So many streams and accounts that need attention are kept one by one."""


class Wanted(NamedTuple):
    """What of the ledger is to be shown.

    appids, endpoints, states: only these, all if there are none.  listed: the accounts of a file,
    None if there is no file: then all that the ledger knows.
    """

    appids: Collection[str] = ()
    endpoints: Collection[str] = ()
    states: Collection[str] = ()
    listed: Collection[ListedAccount] | None = None

    @property
    def narrowed(self) -> bool:
        """Whether some of it was asked for."""
        return bool(self.appids or self.endpoints or self.states)


class Stream(NamedTuple):
    """One interface of one account, counted in days.

    missing: that can be asked for and were not harvested; not_asked: that no window can have.
    records: None if they are not known.  overdue: since when its figures could have been asked for
    again, a Unix time; 0 if they are not stale.
    """

    key: Key
    days: Days
    final: int
    empty: int
    provisional: int
    waiting: int
    failed: int
    missing: int
    not_asked: int
    records: int | None
    overdue: float

    @property
    def states(self) -> list[str]:
        """What can be said of it."""
        found = [name for name in ("failed", "missing", "waiting") if getattr(self, name)]
        found += ["stale"] if self.overdue else []
        return [*(found or ["complete"]), *(["provisional"] if self.provisional else [])]

    @property
    def needs_attention(self) -> bool:
        """Whether it lacks something."""
        return "complete" not in self.states

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, less the account's name."""
        return {
            "appid": self.key[0],
            "endpoint": self.key[1],
            "begin_date": str(self.days[0]),
            "end_date": str(self.days[1]),
            "states": self.states,
            **{name: getattr(self, name) for name in COUNTS},
            "records": self.records,
            "stale_since": rfc3339(self.overdue) if self.overdue else None,
        }


COUNTS = ("final", "empty", "provisional", "waiting", "failed", "missing", "not_asked")


@dataclass(slots=True)
class Group:
    """Days that need attention for one reason, of any accounts and interfaces."""

    state: str
    reason: str
    accounts: int = 0
    appids: dict[str, None] = field(default_factory=dict)  # the first of them
    endpoints: dict[str, None] = field(default_factory=dict)
    days: int = 0
    begin: date = date.max
    end: date = date.min
    until: float = 0.0
    last: str = ""

    def add(self, key: Key, number: int, days: Days, until: float = 0.0) -> None:
        """Days of one interface of one account; accounts come one after the other."""
        if key[0] != self.last:
            self.last, self.accounts = key[0], self.accounts + 1
            if self.accounts <= KEPT:
                self.appids[key[0]] = None
        self.endpoints[key[1]] = None
        self.days += number
        self.begin, self.end = min(self.begin, days[0]), max(self.end, days[1])
        if until:
            self.until = min(self.until, until) if self.until else until

    def __str__(self) -> str:
        first = [*self.appids][:3]
        accounts = ", ".join(first)
        if self.accounts > len(first):
            accounts += f" and {many(self.accounts - len(first), 'more account')}"
        what = f"{accounts}, {listed(self.endpoints, 'interface')}"
        span = f"{self.begin}" if self.begin == self.end else f"{self.begin} to {self.end}"
        until = f" until {china_time(self.until)}" if self.state == "waiting" else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.state}{until}: {what}: {many(self.days, 'day')}, {span}{reason}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; of many accounts the first."""
        return {
            "state": self.state,
            "reason": self.reason,
            "accounts": self.accounts,
            "appids": [*self.appids],
            "endpoints": [*self.endpoints],
            "days": self.days,
            "begin_date": str(self.begin),
            "end_date": str(self.end),
            "until": rfc3339(self.until) if self.until else None,
        }


class Overview:
    """The sums of what was asked for."""

    def __init__(self) -> None:
        self.streams = self.accounts = self.to_attend = self.uncounted = 0
        self.endpoints: dict[str, None] = {}
        self.days: Days | None = None
        self.counts = dict.fromkeys(COUNTS, 0)
        self.records = 0
        self.stale = 0
        self.groups: dict[tuple[str, str], Group] = {}
        self.attention: list[Stream] = []  # the first of them
        self.never: list[str] = []
        self._last = ""

    def add(self, stream: Stream, calendar: Calendar) -> None:
        """One interface of one account; accounts come one after the other."""
        self.streams += 1
        self.accounts += stream.key[0] != self._last
        self._last = stream.key[0]
        self.endpoints[stream.key[1]] = None
        begin, end = self.days or stream.days
        self.days = min(begin, stream.days[0]), max(end, stream.days[1])
        for name in COUNTS:
            self.counts[name] += getattr(stream, name)
        self.records += stream.records or 0
        self.uncounted += stream.records is None
        self.stale += bool(stream.overdue)
        if stream.needs_attention:
            self.to_attend += 1
            if len(self.attention) < KEPT:
                self.attention.append(stream)
            self._add_causes(stream, calendar)

    def _add_causes(self, stream: Stream, calendar: Calendar) -> None:
        appid, _ = stream.key
        for window in calendar.windows.values():
            if window.state in ("failed", "waiting"):
                group = self._group(window.state, reason_of(appid, window.detail))
                group.add(stream.key, days_in(window.days), window.days, window.due)
        if stream.missing:
            found = calendar.bounds(*stream.days, MISSING) or stream.days
            self._group("missing", "").add(stream.key, stream.missing, found)
        if stream.overdue:
            reason = "due for more than a day, and no run has asked for it"
            self._group("stale", reason).add(stream.key, days_in(stream.days), stream.days)

    def _group(self, state: str, reason: str) -> Group:
        return self.groups.setdefault((state, reason), Group(state, reason))

    @property
    def causes(self) -> list[Group]:
        """What needs attention, the gravest first, and of these the most days first."""
        return sorted(self.groups.values(), key=lambda each: (STATES.index(each.state), -each.days))

    @property
    def is_fine(self) -> bool:
        """Whether nothing is missing, failed or stale."""
        found = self.counts["failed"] or self.counts["missing"] or self.stale or self.never
        return not found

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        begin, end = (str(day) for day in self.days) if self.days else (None, None)
        return {
            "state": "fine" if self.is_fine else "incomplete",
            "accounts": self.accounts,
            "endpoints": sorted(self.endpoints),
            "begin_date": begin,
            "end_date": end,
            **self.counts,
            "stale": self.stale,
            "records": None if self.uncounted else self.records,
            "never_harvested": self.never,
        }


class Reader:
    """The streams of a ledger that are to be shown, in order, some accounts in memory at a time."""

    def __init__(self, ledger: Ledger, own: Iterable[Endpoint], wanted: Wanted) -> None:
        self.ledger, self.wanted = ledger, wanted
        self._own = {endpoint.name: endpoint for endpoint in own}
        self._known: dict[str, Endpoint | None] = {}
        self._asked: dict[Key, Days] = {}
        self._of_account: defaultdict[str, list[Key]] = defaultdict(list)
        self._called: dict[date, dict[Key, int]] = {}
        self._appids: list[str] = []
        self._now = time.time()

    async def prepare(self) -> None:
        """Read what is asked for; raises `UsageError` for an account that nobody knows."""
        self._asked = await self.ledger.asked()
        for key in self._asked:
            self._of_account[key[0]].append(key)
        known = await self.ledger.accounts()
        wanted = self.wanted
        names = {*known, *[each.appid for each in wanted.listed or ()]}
        for appid in wanted.appids:
            if appid not in names:
                raise UsageError(f"the ledger knows no account {appid}{nearest(appid, known)}")
        asked = {name for _, name in self._asked}
        for name in sorted({*wanted.endpoints} - asked - self._own.keys()):
            plugins.endpoint(name)  # else it is none: said with the nearest name
        chosen = {*wanted.appids} or self.enabled(*known)
        self._appids = [appid for appid in known if appid in chosen]

    def enabled(self, *appids: str) -> set[str]:
        """Those that a file of accounts names and does not disable; all, if there is no file."""
        if self.wanted.listed is None:
            return {*appids}
        return {each.appid for each in self.wanted.listed if each.enabled}

    def never_harvested(self) -> list[str]:
        """The accounts of the file of which the ledger knows nothing."""
        listed = self.wanted.listed or ()
        known = {*self._appids}
        return [
            each.appid
            for each in listed
            if each.enabled
            and each.appid not in known
            and (not self.wanted.appids or each.appid in self.wanted.appids)
        ]

    async def streams(self) -> AsyncIterator[tuple[Stream, Calendar]]:
        """What is to be shown; also what was only asked for."""
        for begin in range(0, len(self._appids), AT_ONCE):
            some = self._appids[begin : begin + AT_ONCE]
            found = await self.ledger.calendars(some)
            for appid in some:
                for key in self._of_account[appid]:
                    found.setdefault(key, Calendar())
            for key in sorted(found):
                if self.wanted.endpoints and key[1] not in self.wanted.endpoints:
                    continue
                stream = await self._stream(key, found[key])
                if stream is None:
                    continue
                states = self.wanted.states
                if not states or not {*states}.isdisjoint(stream.states):
                    yield stream, found[key]

    async def _stream(self, key: Key, calendar: Calendar) -> Stream | None:
        asked = self._asked.get(key)
        spans = [span for span in (asked, calendar.span()) if span is not None]
        if not spans:
            return None
        days = min(span[0] for span in spans), max(span[1] for span in spans)
        counts = calendar.letters()
        missing = days_in(days) - sum(counts.values())
        not_asked = self._not_asked(key[1], days, calendar) if missing else 0
        return Stream(
            key,
            days,
            counts[FINAL] + counts[EMPTY],
            counts[EMPTY],
            counts[OPEN],
            counts[WAITING],
            counts[FAILED],
            missing - not_asked,
            not_asked,
            _records(calendar),
            await self._overdue(key, asked, calendar),
        )

    def _not_asked(self, name: str, days: Days, calendar: Calendar) -> int:
        """Missing days that no window can have."""
        cut = self.cut_of(name)
        if cut is Cut.DAYS:
            return 0
        missing = calendar.runs(*days, bytes([MISSING]))
        return sum(days_in(each) for each in missing if not can_be_asked(each, cut))

    def cut_of(self, name: str) -> Cut:
        """How an interface is cut; of one that is not installed it is not known: as days."""
        endpoint = self._endpoint(name)
        return endpoint.cut if endpoint else Cut.DAYS

    def _endpoint(self, name: str) -> Endpoint | None:
        if name not in self._known:
            self._known[name] = self._own.get(name) or plugins.known_endpoint(name)
        return self._known[name]

    async def _overdue(self, key: Key, asked: Days | None, calendar: Calendar) -> float:
        """Since when its figures could have been asked for again; 0 if they are not stale.

        They are if something that was due to be asked for again was not, or if the range once
        ended at the last day there was, and has not moved on.
        """
        before = self._now - GRACE
        due = [each.due for each in calendar.windows.values() if 0 < each.due < before]
        if due:
            return min(due)
        endpoint = self._endpoint(key[1])
        if asked is None or endpoint is None or endpoint.retired:
            return 0.0
        last, hour = asked[1], endpoint.settled_hour
        if last_settled_day(before, hour) <= last:
            return 0.0
        for day in (last + ONE_DAY, last + 2 * ONE_DAY):
            if day not in self._called:
                self._called[day] = await self.ledger.spent(day)
            if key in self._called[day]:
                return settles_at(last + ONE_DAY, hour)
        return 0.0


def _records(calendar: Calendar) -> int | None:
    """The records of all that is stored; None if they are not known."""
    final = 0
    for tally in calendar.sums.values():
        if tally is None:
            return None
        final += tally.records
    return final + sum([each.tally.records for each in calendar.windows.values() if each.stored])


def can_be_asked(days: Days, cut: Cut) -> bool:
    """Whether a window lies in missing days."""
    if cut is Cut.RECENT:
        return False
    return cut is Cut.DAYS or bool(Grid(cut, 1, days[0], days[1]).count(*days))
