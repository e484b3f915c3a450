"""From a ledger to what the page shows: `Overview`.

Rule: reads the ledger alone, asks nobody else, and takes the time as an argument.

Fresh and complete are judged apart: an account is fresh if each of its interfaces has its newest
day; it is complete if all days asked for are there.  A ledger of which nothing was asked for within
`RECENT`, or whose runs of today or yesterday ended at an older day, is an archive, and judged by
the last day that was asked for.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import chain
from typing import NamedTuple

from harvester.coverage import (
    EMPTY,
    FAILED,
    FINAL,
    MISSING,
    OPEN,
    WAITING,
    Calendar,
    OpenWindow,
    days_of,
)
from harvester.datacube import INTERFACES
from harvester.endpoint import Endpoint, grid, load_of
from harvester.ledger.base import Key, Ledger, WorkerState, shared
from harvester.plan import (
    ONE_DAY,
    Cut,
    Days,
    china,
    days_in,
    last_settled_day,
    period_of,
    quota_day,
    quota_days,
)
from harvester.report.causes import KINDS, ip_in, kind_of, said_of

SEEN_QUOTA = 1000
"""Calls a day and interface that most accounts have, where neither an option nor use tells."""
RECENT = timedelta(days=31)
"""An interface of an account that was asked for nothing so young is not expected to be fresh."""
WEEKS = 12
AT_ONCE = 200
"""Accounts whose calendars are in memory together."""
MOST_SAID = 5
"""Different sentences that are kept of a cause, and of an account."""

LETTERS = bytes([FINAL, OPEN, EMPTY, WAITING, FAILED, MISSING])
"""The states of a day, in the order of `Counts`."""
_FULL = re.compile(rb"[feo ]+")
_RUN = re.compile(rb"f+|e+|o+|w+|x+|\.+| +")

Counts = tuple[int, int, int, int, int, int]
"""Days that are final, provisional, empty, waiting, failed, missing."""
NOTHING: Counts = (0, 0, 0, 0, 0, 0)


def counts_of(letters: bytes) -> Counts:
    """How many days of each state there are."""
    return counts_from(list(map(letters.count, LETTERS)))


def plus(one: Counts, other: Counts, times: int = 1) -> Counts:
    """Both together."""
    a, b, c, d, e, f = one
    u, v, w, x, y, z = other
    return a + times * u, b + times * v, c + times * w, d + times * x, e + times * y, f + times * z


def stored_in(counts: Counts) -> int:
    """Days that are stored, final or not."""
    return counts[0] + counts[1] + counts[2]


class Said(NamedTuple):
    """What was said of a failure: a sentence, WeChat's errcode and one of its request ids."""

    text: str
    code: int | None = None
    rid: str = ""


@dataclass
class Cause:
    """Why days are not there, of all accounts together.

    kind: a name of `KINDS`.  days: by interface.  until: the latest Unix time that is waited for,
    0 if none.  said: different sentences, a few.
    """

    kind: str
    ip: str = ""
    appids: dict[str, None] = field(default_factory=dict)
    days: Counter[str] = field(default_factory=Counter)
    until: float = 0.0
    said: dict[str, Said] = field(default_factory=dict)

    @property
    def mine(self) -> bool:
        """Whether a person must act."""
        return KINDS[self.kind].mine


class Reason(NamedTuple):
    """Why days of one account are not there."""

    kind: str
    ip: str
    interfaces: tuple[str, ...]
    days: int
    said: Said


class Row(NamedTuple):
    """An interface of an account: its days from the first one on, as an index of `shapes`."""

    endpoint: str
    first: date
    shape: int


@dataclass
class AccountView:
    """An account.

    state: ``todo``, ``late``, ``here`` or ``old`` (nothing recent was asked for).  kind: the cause
    of what is late, empty if nothing is.  late, expected: interfaces.  behind: days of the
    interface that is latest; None if nothing ever came.  weeks: the last `WEEKS`, oldest first.
    """

    appid: str
    name: str = ""
    state: str = "old"
    kind: str = ""
    late: int = 0
    expected: int = 0
    behind: int | None = 0
    counts: Counts = NOTHING
    weeks: list[Counts] = field(default_factory=lambda: [NOTHING] * WEEKS)
    rows: list[Row] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)


@dataclass
class InterfaceView:
    """An interface over all accounts; months: by the number of the month since the year 0."""

    name: str
    counts: Counts = NOTHING
    months: dict[int, Counts] = field(default_factory=dict)


@dataclass
class Overview:
    """All that the page shows.

    made: the Unix time.  day: the newest day that can be there.  archive: nothing recent was asked
    for.  last: the newest day that is stored.  behind: days that the newest figures are behind.
    silent: days from the newest that was asked for to ``day``, 0 of an archive.  calls: still to
    be made; blocked: calls that a person must unblock first.  finished: the day on which all is
    there, None if it cannot be told.  shapes: letters a day, as of `runs_of`, each once.
    """

    made: float
    day: date
    archive: bool = False
    last: date | None = None
    behind: int = 0
    silent: int = 0
    accounts: list[AccountView] = field(default_factory=list)
    interfaces: list[InterfaceView] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    counts: Counts = NOTHING
    calls: int = 0
    blocked: int = 0
    finished: date | None = None
    shapes: list[str] = field(default_factory=list)
    workers: list[WorkerState] = field(default_factory=list)
    where: str = ""

    @property
    def expected(self) -> list[AccountView]:
        """The accounts that are expected to be fresh."""
        return [account for account in self.accounts if account.expected]

    @property
    def fresh(self) -> int:
        """How many of them are."""
        return sum(not account.late for account in self.expected)


async def overview(
    ledger: Ledger,
    now: float,
    *,
    endpoints: Mapping[str, Endpoint] = INTERFACES,
    names: Mapping[str, str] | None = None,
    disabled: Collection[str] = (),
    where: str = "",
    daily_quota: int | None = None,
) -> Overview:
    """What a ledger, which is entered, knows now (a Unix time); raises `LedgerError`.

    endpoints: the interfaces that are known.  names: of accounts.  disabled: accounts that are not
    harvested now, and so not expected to be fresh.  where: what the page calls the ledger.
    daily_quota: calls a day of one interface of one account, None if it is not known.
    """
    asked = await ledger.asked()
    today = quota_day(now)
    spent = [await ledger.spent(day) for day in (today - ONE_DAY, today)]
    maker = _Maker(asked, now, endpoints, names or {}, disabled, spent)
    maker.daily_quota = daily_quota
    appids = await ledger.accounts()
    for begin in range(0, len(appids), AT_ONCE):
        some = appids[begin : begin + AT_ONCE]
        maker.add(some, await ledger.calendars(some))
    made = maker.finish()
    made.where = where
    if (with_workers := shared(ledger)) is not None:
        made.workers = await with_workers.workers()
    return made


class _Shape:
    """What follows from the letters of an interface of an account; the same for many of them.

    runs: a letter, and from where to where it stands.
    """

    __slots__ = ("calls", "counts", "first", "index", "runs", "weeks")

    def __init__(self, index: int, first: date, letters: bytes, day: date) -> None:
        self.index, self.first = index, first
        self.runs = [(letters[run.start()], *run.span()) for run in _RUN.finditer(letters)]
        self.counts = counts_of(letters)
        end = (day - first).days + 1
        self.weeks = [
            counts_of(letters[max(end - 7 * n, 0) : max(end - 7 * (n - 1), 0)])
            for n in range(WEEKS, 0, -1)
        ]
        self.calls: dict[str, int] = {}


class _Shapes:
    """The letters of all interfaces of all accounts, each once.

    times: how many accounts have a shape, by interface.
    """

    def __init__(self, day: date) -> None:
        self._day = day
        self._known: dict[tuple[date, bytes], _Shape] = {}
        self._letters: dict[bytes, int] = {}
        self.times: Counter[tuple[str, _Shape]] = Counter()

    def add(self, name: str, first: date, letters: bytes) -> _Shape:
        """One more account has these letters of an interface; gives their shape."""
        shape = self._known.get((first, letters))
        if shape is None:
            index = self._letters.setdefault(letters, len(self._letters))
            shape = self._known[first, letters] = _Shape(index, first, letters, self._day)
        self.times[name, shape] += 1
        return shape

    def runs(self) -> list[str]:
        """The letters as runs, by index."""
        return list(map(runs_of, self._letters))


class _Sum:
    """Letters of many accounts together: where a run begins one more, behind its end one less."""

    def __init__(self) -> None:
        self._steps: dict[int, defaultdict[int, int]] = {
            letter: defaultdict(int) for letter in LETTERS
        }

    def add(self, shape: _Shape, times: int) -> None:
        """So many accounts have these letters."""
        first = shape.first.toordinal()
        for letter, begin, end in shape.runs:
            if (steps := self._steps.get(letter)) is not None:
                steps[first + begin] += times
                steps[first + end] -= times

    def months(self) -> dict[int, Counts]:
        """Days by month and state."""
        found: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(LETTERS))
        for place, steps in enumerate(self._steps.values()):
            level, before = 0, 0
            for day in sorted(steps):
                if level:
                    for month, days in _months_in(before, day):
                        found[month][place] += level * days
                level += steps[day]
                before = day
        return {month: counts_from(found[month]) for month in sorted(found)}


def counts_from(values: list[int]) -> Counts:
    """Six numbers as `Counts`."""
    final, provisional, empty, waiting, failed, missing = values
    return final, provisional, empty, waiting, failed, missing


def _months_in(begin: int, end: int) -> Iterable[tuple[int, int]]:
    """The months from one day up to another one (ordinals), and how many days of each."""
    while begin < end:
        day = date.fromordinal(begin)
        following = min(period_of(day, Cut.MONTH)[1].toordinal() + 1, end)
        yield day.year * 12 + day.month - 1, following - begin
        begin = following


class _Maker:
    """Makes an `Overview`, some accounts at a time."""

    def __init__(
        self,
        asked: Mapping[Key, Days],
        now: float,
        endpoints: Mapping[str, Endpoint],
        names: Mapping[str, str],
        disabled: Collection[str],
        spent: Sequence[Mapping[Key, int]],
    ) -> None:
        self._now = now
        self._today = spent[-1]
        self._spent = {key: max(day.get(key, 0) for day in spent) for key in {*chain(*spent)}}
        self._disabled = frozenset(disabled)
        self._endpoints = endpoints
        self._names = names
        self._asked: defaultdict[str, dict[str, Days]] = defaultdict(dict)
        for (appid, name), days in asked.items():
            self._asked[appid][name] = days
        settled = last_settled_day(now)
        newest = max((end for _, end in asked.values()), default=settled)
        ran = any(self._spent.values()) and newest < settled - ONE_DAY
        archive = ran or newest < settled - RECENT
        self._newest = newest
        self._made = Overview(now, newest if archive else settled, archive)
        self._shapes = _Shapes(self._made.day)
        self._causes: dict[tuple[str, str], Cause] = {}
        self.daily_quota: int | None = None
        self._days_left = 0.0
        self._behind: int | None = None

    def add(self, appids: Iterable[str], calendars: Mapping[Key, Calendar]) -> None:
        """Take in what is known of some accounts."""
        names: defaultdict[str, set[str]] = defaultdict(set)
        for appid, name in calendars:
            names[appid].add(name)
        for appid in appids:
            account = AccountView(appid, self._names.get(appid, ""))
            reasons: dict[tuple[str, str, str], Reason] = {}
            asked = self._asked[appid]
            last = max((end for _, end in asked.values()), default=self._made.day)
            young = last >= self._made.day - RECENT and appid not in self._disabled
            for name in sorted(names[appid] | asked.keys(), key=_place):
                calendar = calendars.get((appid, name)) or Calendar()
                self._interface(account, name, calendar, reasons if young else None)
            if not stored_in(account.counts):
                account.behind = None
            account.reasons = sorted(reasons.values(), key=_urgency)[: 2 * MOST_SAID]
            if any(KINDS[reason.kind].mine for reason in account.reasons):
                account.state = "todo"
            elif account.expected:
                account.state = "late" if account.late else "here"
            if account.rows:
                self._made.accounts.append(account)

    def _interface(
        self,
        account: AccountView,
        name: str,
        calendar: Calendar,
        reasons: dict[tuple[str, str, str], Reason] | None,
    ) -> None:
        """Take in an interface of an account; without reasons, one that is asked for no more."""
        cut = self._endpoints[name].cut if name in self._endpoints else Cut.DAYS
        found = _letters(calendar, self._asked[account.appid].get(name), cut)
        if found is None:
            return
        first, letters = found
        shape = self._shapes.add(name, first, letters)
        account.rows.append(Row(name, first, shape.index))
        account.counts = plus(account.counts, shape.counts)
        account.weeks = list(map(plus, account.weeks, shape.weeks))
        self._note_last(name, first, letters)
        if reasons is None:
            return
        kinds = self._reasons(account, name, calendar, shape, reasons)
        self._freshness(account, name, first, letters, calendar)
        self._calls((account.appid, name), shape, letters, kinds)

    def _note_last(self, name: str, first: date, letters: bytes) -> None:
        """Note the newest stored day, and how far it lies behind the newest that there can be."""
        at = max(map(letters.rfind, (b"f", b"e", b"o")))
        if at >= 0:
            last = first + timedelta(days=at)
            self._made.last = max(self._made.last or last, last)
            behind = max((self._expected_day(name) - last).days, 0)
            self._behind = behind if self._behind is None else min(self._behind, behind)

    def _reasons(
        self,
        account: AccountView,
        name: str,
        calendar: Calendar,
        shape: _Shape,
        reasons: dict[tuple[str, str, str], Reason],
    ) -> set[str]:
        """Note why days are not there; gives the kinds of causes."""
        kinds: set[str] = set()
        for window in calendar.windows.values():
            if window.state == "open":
                continue
            kind = kind_of(window)
            kinds.add(kind)
            said = Said(said_of(account.appid, window), window.code, window.rid)
            ip = ip_in(window.detail) if kind == "ip" else ""
            self._note(account, name, Reason(kind, ip, (name,), days_in(window.days), said),
                       reasons, window.due)  # fmt: skip
        if missing := shape.counts[-1]:
            why = Reason("missing", "", (name,), missing, Said(""))
            self._note(account, name, why, reasons)
        return kinds

    def _note(
        self,
        account: AccountView,
        name: str,
        why: Reason,
        reasons: dict[tuple[str, str, str], Reason],
        due: float = 0.0,
    ) -> None:
        cause = self._causes.setdefault((why.kind, why.ip), Cause(why.kind, why.ip))
        cause.appids[account.appid] = None
        cause.days[name] += why.days
        cause.until = max(cause.until, due)
        if why.said.text and len(cause.said) < MOST_SAID:
            cause.said.setdefault(why.said.text, why.said)
        key = why.kind, why.ip, why.said.text
        if (before := reasons.get(key)) is not None:
            interfaces = tuple(dict.fromkeys((*before.interfaces, name)))
            why = before._replace(interfaces=interfaces, days=before.days + why.days)
        reasons[key] = why

    def _freshness(
        self, account: AccountView, name: str, first: date, letters: bytes, calendar: Calendar
    ) -> None:
        day = self._expected_day(name)
        end = first + timedelta(days=len(letters) - 1)
        if day < first or end < day - RECENT:
            return
        account.expected += 1
        at = (day - first).days
        over = _covering(calendar, day)
        has = letters[at : at + 1] in (b"f", b"e", b"o", b" ")
        if has and not (over is not None and over.state == "late"):
            return
        account.late += 1
        before = max(letters.rfind(one, 0, at) for one in (b"f", b"e", b"o"))
        account.behind = max(account.behind or 0, at - before)
        kind = kind_of(over) if over is not None else "missing"
        account.kind = min((one for one in (account.kind, kind) if one), key=_weight)

    def _expected_day(self, name: str) -> date:
        """The newest day that an interface can have."""
        endpoint = self._endpoints.get(name)
        day = self._made.day
        if endpoint is None:
            return day
        if not self._made.archive:
            day = last_settled_day(self._now, endpoint.settled_hour)
        if endpoint.cut in (Cut.WEEK, Cut.MONTH):
            period = period_of(day, endpoint.cut)
            return day if period[1] == day else period[0] - ONE_DAY
        return day

    def _calls(self, key: Key, shape: _Shape, letters: bytes, kinds: set[str]) -> None:
        """Count the calls that are still to be made, and the days of quota that they take."""
        if stored_in(shape.counts) == sum(shape.counts):
            return
        calls = shape.calls.get(key[1])
        if calls is None:
            calls = shape.calls[key[1]] = self._calls_left(key[1], shape.first, letters)
        if any(KINDS[kind].mine for kind in kinds):
            self._made.blocked += calls
            return
        self._made.calls += calls
        end = shape.first + timedelta(days=len(letters) - 1)
        left = self._days_of(key, end, calls, waits="quota" in kinds)
        self._days_left = max(self._days_left, left)

    def _days_of(self, key: Key, end: date, calls: int, *, waits: bool) -> float:
        """Days after today until the calls of an interface are made; infinite if not known."""
        endpoint = self._endpoints.get(key[1])
        if self.daily_quota is not None and endpoint is not None:
            load = load_of(endpoint, end, calls, self._today.get(key, 0), self._now)
            days = quota_days(load, self.daily_quota, china(self._now).date())
            return math.inf if days is None else max(days - 1, 0)
        if not waits:
            return (calls - 1) // SEEN_QUOTA
        pace = self._spent.get(key, 0)
        return math.ceil(calls / pace) if pace else math.inf

    def _calls_left(self, name: str, first: date, letters: bytes) -> int:
        end = first + timedelta(days=len(letters) - 1)
        covered = [
            (first + timedelta(days=run.start()), first + timedelta(days=run.end() - 1))
            for run in _FULL.finditer(letters)
        ]
        if (endpoint := self._endpoints.get(name)) is None:
            return sum(map(letters.count, (b"w", b"x", b".")))
        return grid(endpoint, end).count(first, end, covered)

    def finish(self) -> Overview:
        """The totals."""
        made = self._made
        views: dict[str, InterfaceView] = {}
        sums: defaultdict[str, _Sum] = defaultdict(_Sum)
        for (name, shape), times in self._shapes.times.items():
            view = views.setdefault(name, InterfaceView(name))
            view.counts = plus(view.counts, shape.counts, times)
            sums[name].add(shape, times)
        for name, view in views.items():
            view.months = sums[name].months()
        made.interfaces = sorted(views.values(), key=lambda view: _place(view.name))
        for view in made.interfaces:
            made.counts = plus(made.counts, view.counts)
        made.shapes = self._shapes.runs()
        made.accounts.sort(key=_trouble)
        made.behind = self._behind or 0
        if not made.archive:
            made.silent = max((made.day - self._newest).days, 0)
        if made.accounts and made.silent > 1:
            appids = {account.appid: None for account in made.accounts}
            self._causes["stale", ""] = Cause("stale", appids=appids)
        made.causes = sorted(self._causes.values(), key=lambda cause: _weight(cause.kind))
        if not math.isinf(self._days_left):
            blocked = not made.calls and made.blocked
            today = china(self._now).date()
            made.finished = None if blocked else today + timedelta(days=int(self._days_left))
        return made


def _letters(calendar: Calendar, asked: Days | None, cut: Cut) -> tuple[date, bytes] | None:
    """The first day that was asked for or is known, and a letter a day; whole weeks or months.

    A blank stands where there is nothing to ask for.
    """
    years = sorted({*calendar.years, *(day.year for day in asked or ())})
    if not years:
        return None
    rows = [
        bytes(calendar.years.get(year) or bytes([MISSING]) * days_of(year))
        for year in range(years[0], years[-1] + 1)
    ]
    letters, origin = b"".join(rows), date(years[0], 1, 1).toordinal()
    low, high = len(letters) - len(letters.lstrip(b".")), len(letters.rstrip(b"."))
    if asked is not None:
        first, last = asked[0].toordinal() - origin, asked[1].toordinal() - origin + 1
        low, high = (min(low, first), max(high, last)) if low < high else (first, last)
    if low >= high:
        return None
    begin, end = date.fromordinal(origin + low), date.fromordinal(origin + high - 1)
    if cut in (Cut.WEEK, Cut.MONTH):
        begin, end = _whole(begin, end, cut)
        low, high = begin.toordinal() - origin, end.toordinal() - origin + 1
    letters = letters[low:high] if low < high else b""
    if cut is Cut.RECENT:
        letters = letters.replace(bytes([MISSING]), b" ")
    return (begin, letters) if letters else None


def _whole(begin: date, end: date, cut: Cut) -> Days:
    """The weeks or months that lie in a range as a whole; it may end before it begins."""
    first, last = period_of(begin, cut), period_of(end, cut)
    return (
        begin if first[0] == begin else first[1] + ONE_DAY,
        end if last[1] == end else last[0] - ONE_DAY,
    )


def _covering(calendar: Calendar, day: date) -> OpenWindow | None:
    for window in calendar.windows.values():
        if window.begin <= day <= window.end:
            return window
    return None


def runs_of(letters: bytes) -> str:
    """Letters as runs: ``f365.30`` is a year that is final and thirty days that are missing."""
    return "".join([f"{chr(run[0][0])}{len(run[0])}" for run in _RUN.finditer(letters)])


_PLACES = {name: number for number, name in enumerate(INTERFACES)}
_WEIGHTS = {name: number for number, name in enumerate(KINDS)}
_STATES = {"todo": 0, "late": 1, "here": 2, "old": 3}


def _place(name: str) -> tuple[int, str]:
    """The order of interfaces: as the catalogue has them, others after them."""
    return _PLACES.get(name, len(_PLACES)), name


def _weight(kind: str) -> int:
    return _WEIGHTS[kind]


def _urgency(reason: Reason) -> tuple[int, int]:
    return _weight(reason.kind), -reason.days


def _trouble(account: AccountView) -> tuple[int, int, int, str]:
    """The order of accounts: trouble first."""
    return _STATES[account.state], not account.late, _WEIGHTS.get(account.kind, 99), account.appid
