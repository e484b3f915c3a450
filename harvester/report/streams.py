"""What a ledger has of each interface of each account: its days by state.

Rule: reads the ledger alone; no list of ranges is made.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from harvester.base.dates import (
    ONE_DAY,
    Days,
    WindowKind,
    days_in,
    last_legal_day,
    last_settled_day,
    nearest,
    rfc3339,
    settles_at,
    whole_periods,
    without,
)
from harvester.config import plugins
from harvester.errors import UsageError
from harvester.ledger.base import Key, Ledger, account_groups
from harvester.ledger.coverage import (
    EMPTY,
    FAILED,
    FINAL,
    MISSING,
    NEVER,
    OPEN,
    STORED,
    WAITING,
    Calendar,
    OpenWindow,
    days_of,
)
from harvester.model import Endpoint
from harvester.wechat.endpoint import grid
from harvester.wechat.late import Delivery, delivery

STATES = ("failed", "stale", "missing", "late", "waiting", "provisional", "complete")
"""The states of an interface of an account, the gravest first."""


GRACE = 26 * 3600.0
"""Seconds after which what could have been asked for is stale: a daily run's, and some."""

LATE, GONE = b"l-"
"""Letters of a day that a calendar does not have: it lacks what it must have, which is asked for
again; and it was not asked for when it could be, of an interface of recent days alone."""
LETTERS = bytes([FINAL, OPEN, EMPTY, WAITING, FAILED, MISSING, LATE, NEVER])
"""The states of a day, in the order of `Counts`."""

RUN = re.compile(rb"f+|e+|o+|w+|x+|\.+|l+|n+|-+")
"""Days of one letter."""


class Counts(NamedTuple):
    """Days by state; an empty day is not counted as final.

    late: it lacks what it must have, which is asked for again; never: until the end of the
    schedule it did not come.
    """

    final: int = 0
    provisional: int = 0
    empty: int = 0
    waiting: int = 0
    failed: int = 0
    missing: int = 0
    late: int = 0
    never: int = 0

    @property
    def stored(self) -> int:
        """Days that are stored, final or not, and those of which nothing comes any more."""
        return self[0] + self[1] + self[2] + self[7]

    def plus(self, other: Counts, times: int = 1) -> Counts:
        """Both together."""
        a, b, c, d, e, f, g, h = self
        s, t, u, v, w, x, y, z = other
        return Counts(a + times * s, b + times * t, c + times * u, d + times * v,
                      e + times * w, f + times * x, g + times * y, h + times * z)  # fmt: skip


NOTHING = Counts()


def counts_of(letters: bytes) -> Counts:
    """How many days of each state there are."""
    rest = letters.translate(None, b"f")  # what is frequent is faster removed than counted
    final = len(letters) - len(rest)
    return Counts(final, *map(rest.count, LETTERS[1:])) if rest else Counts(final)


def sum_of(counts: Iterable[Counts]) -> Counts:
    """All together."""
    return Counts(*map(sum, zip(*counts, strict=True)))


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
        """Whether some of it was asked for."""
        return bool(self.appids or self.endpoints or self.states)


class Stream(NamedTuple):
    """One interface of one account.

    days: from the first to the last that was asked for or is known.  first, letters: a letter a
    day, less the days at both ends that belong to no whole week or month.  counts: missing are
    those that can be asked for.  records: None if they are not known.  overdue: since when its
    figures could have been asked for again, a Unix time; 0 if they are not stale.
    """

    key: Key
    days: Days
    first: date
    letters: bytes
    counts: Counts
    records: int | None
    overdue: float

    @property
    def last(self) -> date:
        """The last day that has a letter."""
        return self.first + timedelta(days=len(self.letters) - 1)

    @property
    def not_asked(self) -> int:
        """Days that no window can have: parts of weeks or months."""
        return days_in(self.days) - sum(self.counts) - self.gone

    @property
    def gone(self) -> int:
        """Days that were not asked for when they could be, and cannot be asked for any more."""
        return self.letters.count(GONE)

    @property
    def states(self) -> list[str]:
        """Which of `STATES` it has."""
        lacking = ("failed", "missing", "late", "waiting")
        found = [name for name in lacking if getattr(self.counts, name)]
        found += ["stale"] if self.overdue else []
        return [*(found or ["complete"]), *(["provisional"] if self.counts.provisional else [])]

    @property
    def needs_attention(self) -> bool:
        """Whether it lacks something."""
        return "complete" not in self.states

    def bounds(self, letter: int) -> Days:
        """The first and the last day that have a letter; some day has it."""
        first, last = self.letters.find(letter), self.letters.rfind(letter)
        return self.first + timedelta(days=first), self.first + timedelta(days=last)

    def runs(self, letter: int) -> Iterable[Days]:
        """The runs of days that have a letter."""
        for run in RUN.finditer(self.letters):
            if self.letters[run.start()] == letter:
                begin, end = self.first + timedelta(run.start()), self.first + timedelta(run.end())
                yield begin, end - ONE_DAY

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, less the account's name."""
        return {
            "appid": self.key[0],
            "endpoint": self.key[1],
            "begin_date": str(self.days[0]),
            "end_date": str(self.days[1]),
            "states": self.states,
            **counts_to_dict(self.counts, self.not_asked, self.gone),
            "records": self.records,
            "stale_since": rfc3339(self.overdue) if self.overdue else None,
        }


def counts_to_dict(counts: Counts, not_asked: int, gone: int) -> dict[str, int]:
    """As JSON has them: empty days are final, too; gone: days that cannot be asked for."""
    return {
        "final": counts.final + counts.empty,
        "empty": counts.empty,
        "provisional": counts.provisional,
        "waiting": counts.waiting,
        "failed": counts.failed,
        "missing": counts.missing,
        "late": counts.late,
        "never_delivered": counts.never,
        "cannot_be_asked": gone,
        "not_asked": not_asked,
    }


class Reader:
    """The streams of a ledger that are to be shown, in order, some accounts in memory at a time.

    now: a Unix time.  own: interfaces that are not installed.
    """

    def __init__(
        self,
        ledger: Ledger,
        now: float,
        own: Iterable[Endpoint] = (),
        wanted: StatusFilter = StatusFilter(),  # noqa: B008
    ) -> None:
        self.ledger, self.now, self.wanted = ledger, now, wanted
        self.asked: dict[Key, Days] = {}
        self._known: dict[str, Endpoint | None] = {endpoint.name: endpoint for endpoint in own}
        self._own = frozenset(self._known)
        self._called: dict[date, Mapping[Key, int]] = {}
        self._appids: list[str] = []

    async def prepare(self) -> None:
        """Read what is asked for; raises `UsageError` for an account that nobody knows."""
        self.asked = dict(await self.ledger.asked())
        known = await self.ledger.accounts()
        wanted = self.wanted
        names = {*known, *(wanted.listed or ())}
        for appid in wanted.appids:
            if appid not in names:
                raise UsageError(f"the ledger knows no account {appid}{nearest(appid, known)}")
        asked = {name for _, name in self.asked}
        for name in sorted({*wanted.endpoints} - asked - self._own):
            plugins.endpoint(name)  # raises an error that names the nearest
        chosen = {*wanted.appids} or {*(known if wanted.listed is None else self._enabled())}
        self._appids = [appid for appid in known if appid in chosen]

    def _enabled(self) -> list[str]:
        """Those that a file of accounts names and does not disable."""
        return [appid for appid, enabled in (self.wanted.listed or {}).items() if enabled]

    def never_harvested(self) -> list[str]:
        """The accounts of the file of which the ledger knows nothing."""
        left = {*self.wanted.appids} or {*self._enabled()}
        known = {*self._appids}
        return [appid for appid in self._enabled() if appid in left and appid not in known]

    async def accounts(self) -> AsyncIterator[list[tuple[Stream, Calendar]]]:
        """What is to be shown of each account; also what was only asked for."""
        endpoints, states = {*self.wanted.endpoints}, {*self.wanted.states}
        of_account: dict[str, list[Key]] = {}
        for key in self.asked:
            of_account.setdefault(key[0], []).append(key)
        for some in account_groups(self._appids):
            known = await self.ledger.calendars(some)
            for key in known:
                if key not in self.asked:
                    of_account.setdefault(key[0], []).append(key)
            for appid in some:
                found = []
                for key in sorted(of_account.get(appid, ())):
                    if endpoints and key[1] not in endpoints:
                        continue
                    calendar = known.get(key) or Calendar()
                    stream = await self._stream(key, calendar)
                    if stream is not None and not (states and states.isdisjoint(stream.states)):
                        found.append((stream, calendar))
                if found:
                    yield found

    async def streams(self) -> AsyncIterator[tuple[Stream, Calendar]]:
        """The same, one by one."""
        async for found in self.accounts():
            for each in found:
                yield each

    async def _stream(self, key: Key, calendar: Calendar) -> Stream | None:
        asked, known = self.asked.get(key), calendar.span()
        spans = [span for span in (asked, known) if span is not None]
        if not spans:
            return None
        days = min(first for first, _ in spans), max(last for _, last in spans)
        first, letters = letters_of(calendar, asked, known, self.endpoint(key[1]), self.now)
        counts, records = counts_of(letters), _records(calendar)
        overdue = await self._overdue(key, asked, calendar)
        return Stream(key, days, first, letters, counts, records, overdue)

    def cut_of(self, name: str) -> WindowKind:
        """How an interface is cut; of one that is not installed it is not known: as days."""
        endpoint = self.endpoint(name)
        return endpoint.cut if endpoint else WindowKind.DAYS

    def endpoint(self, name: str) -> Endpoint | None:
        """An interface; None if it is not installed."""
        if name not in self._known:
            self._known[name] = plugins.known_endpoint(name)
        return self._known[name]

    async def _overdue(self, key: Key, asked: Days | None, calendar: Calendar) -> float:
        """Since when its figures could have been asked for again; 0 if they are not stale.

        They are if something that was due to be asked for again was not, or if the range once
        ended at the last day there was, and has not moved on.
        """
        before = self.now - GRACE
        due = [each.due for each in calendar.windows.values() if 0 < each.due < before]
        if due:
            return min(due)
        endpoint = self.endpoint(key[1])
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


def letters_of(
    calendar: Calendar,
    asked: Days | None,
    known: Days | None,
    endpoint: Endpoint | None,
    now: float,
) -> tuple[date, bytes]:
    """The first day, and a letter a day; of what was asked for, whole weeks or months alone."""
    cut = endpoint.cut if endpoint else WindowKind.DAYS
    spans = [span for span in (asked and whole_periods(asked, cut), known) if span]
    if not spans:
        return (asked or (date.min, date.min))[0], b""
    begin, end = min(first for first, _ in spans), max(last for _, last in spans)
    rows = [
        bytes(calendar.years.get(year) or bytes([MISSING]) * days_of(year))
        for year in range(begin.year, end.year + 1)
    ]
    low = begin.toordinal() - date(begin.year, 1, 1).toordinal()
    letters = bytearray(b"".join(rows)[low : low + days_in((begin, end))])
    for window in calendar.windows.values():
        if window.state == "late":
            _fill(letters, begin, window.days, LATE)
    if endpoint is not None:
        _read(letters, begin, calendar, endpoint, last_legal_day(now))
    return begin, bytes(letters)


def _read(
    letters: bytearray, begin: date, calendar: Calendar, endpoint: Endpoint, last: date
) -> None:
    """What follows for a day from what its interface delivers; last: that can be asked for."""
    cut, end = grid(endpoint, last), begin + (len(letters) - 1) * ONE_DAY
    if cut.cut is WindowKind.RECENT:
        left = list(cut.windows(begin, end, list(calendar.runs(begin, end, STORED))))
        for days in list(calendar.runs(begin, end, bytes([MISSING, WAITING, FAILED]))):
            for gone in without([days], left):
                _fill(letters, begin, gone, GONE)
    if delivery(endpoint) is Delivery.DAILY:
        for hole in calendar.holes(cut):
            _fill(letters, begin, hole, LATE)
        rows = calendar.rows()  # before the first one nothing was to be delivered
        first = len(letters) if rows is None else max((rows[0] - begin).days, 0)
        letters[:first] = letters[:first].replace(bytes([NEVER]), bytes([EMPTY]))


def _fill(letters: bytearray, first: date, days: Days, letter: int) -> None:
    begin = max((days[0] - first).days, 0)
    end = min((days[1] - first).days + 1, len(letters))
    if begin < end:
        letters[begin:end] = bytes([letter]) * (end - begin)


def _records(calendar: Calendar) -> int | None:
    """The records of all that is stored; None if they are not known."""
    final = 0
    for tally in calendar.sums.values():
        if tally is None:
            return None
        final += tally.records
    return final + sum([each.tally.records for each in calendar.windows.values() if each.stored])


def covering(calendar: Calendar, day: date) -> OpenWindow | None:
    """The open window that has a day; None if there is none."""
    for window in calendar.windows.values():
        if window.begin <= day <= window.end:
            return window
    return None
