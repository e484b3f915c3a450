"""One overview of a ledger: its sums, and what the page shows of each account and interface.

Rule: reads only the ledger, and takes the time as an argument.

Fresh and complete are judged apart: an account is fresh if each of its interfaces has its newest
day; it is complete if all requested days are stored.  A ledger without requests within `RECENT`, or
whose runs of today or yesterday ended at an older day, is an archive, and judged by the last day
that was asked for.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from harvester.base.dates import (
    ONE_DAY,
    Days,
    WindowKind,
    china,
    last_settled_day,
    last_whole_day,
    period_of,
    quota_day,
    quota_days,
)
from harvester.ledger import Ledger, shared
from harvester.ledger.base import WorkerState
from harvester.ledger.coverage import EMPTY, FINAL, NEVER, OPEN, Calendar
from harvester.ledger.reach import GONE, LATE, LETTERS, NOTHING, Counts, Reach, counts_of, sum_of
from harvester.model import Endpoint
from harvester.report.causes import KINDS, MOST_MESSAGES, Cause, add_to, causes_of, grouped, kind_of
from harvester.report.days import RECENT, STATES, Reader, Stream, covering
from harvester.report.quotas import InterfaceQuota, Quotas
from harvester.wechat.endpoint import grid, load_of
from harvester.wechat.interfaces import INTERFACES

SEEN_QUOTA = 1000
"""Calls a day and interface that most accounts have: assumed where no other number is known."""
WEEKS = 12
KEPT = 20
"""Streams that need attention, and appids of a cause, that are shown one by one."""

_HERE = (FINAL, EMPTY, OPEN, NEVER, GONE)

ACCOUNT_STATES = {"todo": "failed", "late": "waiting", "here": "final", "old": "missing"}
"""The states of an account, trouble first, each as the state of a day."""


class Row(NamedTuple):
    """An interface of an account.

    reach: its days; equal ones are one object.  late: whether its newest day is not there; None if
    that is not expected.  empty: whether its newest day has no record so far, and can still get
    some.
    """

    endpoint: str
    reach: Reach
    late: bool | None = None
    empty: bool = False


@dataclass
class AccountView:
    """An account.

    state: one of `ACCOUNT_STATES`; ``old``: nothing recent was asked for.  kind: the cause of what
    is late, empty if nothing is.  late, expected: interfaces.  behind: days of the interface that
    is latest; None if nothing ever came.  weeks: the last `WEEKS`, oldest first.
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
    reasons: list[Cause] = field(default_factory=list)


@dataclass
class InterfaceView:
    """An interface over all accounts; months: by the number of the month since the year 0."""

    name: str
    endpoint: Endpoint | None = None
    counts: Counts = NOTHING
    months: dict[int, Counts] = field(default_factory=dict)


@dataclass
class Totals:
    """The sums of what was asked for.

    stale: streams.  records: of those streams whose records are known; uncounted: the others.
    """

    accounts: int = 0
    streams: int = 0
    endpoints: set[str] = field(default_factory=set)
    days: Days | None = None
    counts: Counts = NOTHING
    stale: int = 0
    records: int = 0
    uncounted: int = 0

    def add(self, stream: Stream) -> None:
        self.streams += 1
        self.endpoints.add(stream.key[1])
        begin, end = self.days or stream.days
        self.days = min(begin, stream.days[0]), max(end, stream.days[1])
        self.stale += bool(stream.overdue)
        self.records += stream.records or 0
        self.uncounted += stream.records is None


@dataclass
class Overview:
    """All that is shown of a ledger.

    made: the Unix time.  day: the newest day that can be there.  archive: nothing recent was asked
    for.  last: the newest day that is stored.  behind: days that the newest figures are behind.
    silent: days from the newest that was asked for to ``day``, 0 of an archive.  causes: by kind,
    of accounts that are harvested; reasons: by state and message, of all.  calls: still to be made,
    one a window; blocked: calls that a person must unblock first.  finished: the day (in China) on
    which these calls are made by one run per day; None if there are none, or if it is not known.
    assumed: the calls per day on which ``finished`` is based if they were not stated, else None.
    quotas: today's, by interface.  attention: the first streams that lack something, of
    ``to_attend``.  never: accounts of the file that the ledger does not know.
    """

    made: float
    day: date
    archive: bool = False
    last: date | None = None
    behind: int = 0
    silent: int = 0
    totals: Totals = field(default_factory=Totals)
    accounts: list[AccountView] = field(default_factory=list)
    interfaces: list[InterfaceView] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    reasons: list[Cause] = field(default_factory=list)
    calls: int = 0
    blocked: int = 0
    finished: date | None = None
    assumed: int | None = None
    quotas: list[InterfaceQuota] = field(default_factory=list)
    attention: list[Stream] = field(default_factory=list)
    to_attend: int = 0
    never: list[str] = field(default_factory=list)
    workers: list[WorkerState] = field(default_factory=list)
    where: str = ""

    @property
    def counts(self) -> Counts:
        return self.totals.counts

    @property
    def expected(self) -> list[AccountView]:
        """The accounts that are expected to be fresh."""
        return [account for account in self.accounts if account.expected]

    @property
    def fresh(self) -> int:
        return sum(not account.late for account in self.expected)

    @property
    def days_left(self) -> int | None:
        """Days from today (in China) until ``finished``, 0 if the next run makes all calls."""
        return None if self.finished is None else (self.finished - china(self.made).date()).days

    @property
    def is_fine(self) -> bool:
        counts, stale = self.counts, self.totals.stale
        return not (counts.failed or counts.missing or stale or self.never)

    def to_dict(self) -> dict[str, Any]:
        totals = self.totals
        begin, end = (str(day) for day in totals.days) if totals.days else (None, None)
        return {
            "state": "fine" if self.is_fine else "incomplete",
            "accounts": totals.accounts,
            "endpoints": sorted(totals.endpoints),
            "begin_date": begin,
            "end_date": end,
            **totals.counts.to_dict(),
            "stale": totals.stale,
            "records": None if totals.uncounted else totals.records,
            "never_harvested": self.never,
            "completion": {
                "calls": self.calls,
                "blocked": self.blocked,
                "days": self.days_left,
                "date": str(self.finished) if self.finished else None,
                "assumed_daily_quota": self.assumed,
            },
            "quotas": [quota.to_dict() for quota in self.quotas],
            "causes": [cause.to_dict(KEPT) for cause in self.reasons],
            "workers": [each.to_dict() for each in self.workers],
        }


async def overview(
    ledger: Ledger,
    now: float,
    *,
    own: Iterable[Endpoint] = (),
    names: Mapping[str, str] | None = None,
    disabled: Collection[str] = (),
    where: str = "",
    daily_quota: int | None = None,
) -> Overview:
    """What a ledger, which is entered, knows now (a Unix time); raises `LedgerError`.

    own: interfaces that are not installed.  names: of accounts.  disabled: accounts that are not
    harvested now, and so not expected to be fresh.  where: what the page calls the ledger.
    daily_quota: calls per day of one interface of one account, None if it is not known.
    """
    reader = Reader(ledger, now, own)
    made = await overview_of(reader, names=names or {}, disabled=disabled, daily_quota=daily_quota)
    made.where = where
    return made


async def overview_of(
    reader: Reader,
    *,
    names: Mapping[str, str] | None = None,
    disabled: Collection[str] = (),
    daily_quota: int | None = None,
) -> Overview:
    """The same of what a reader, which is not prepared yet, is to show."""
    await reader.prepare()
    ledger, today = reader.ledger, quota_day(reader.now)
    before, spent = [await ledger.spent(day) for day in (today - ONE_DAY, today)]
    quotas = Quotas(daily_quota, before, spent, await ledger.exhausted(reader.now))
    maker = _Maker(reader, names or {}, disabled, quotas)
    async for found in reader.accounts():
        maker.add(found)
    made = maker.finish()
    made.never = reader.never_harvested()
    if (with_workers := shared(ledger)) is not None:
        made.workers = await with_workers.workers()
    return made


class _Shape:
    """Account–interface pairs whose days are the same; calls: of theirs, by interface."""

    __slots__ = ("calls", "counts", "reach", "weeks")

    def __init__(self, stream: Stream, day: date) -> None:
        reach = stream.reach
        self.reach, self.counts, letters = reach, stream.counts, reach.letters
        end = (day - reach.first).days + 1
        self.weeks = [
            _week(letters[max(end - 7 * n, 0) : max(end - 7 * (n - 1), 0)])
            for n in range(WEEKS, 0, -1)
        ]
        self.calls: dict[str, int] = {}


_week = lru_cache(4096)(counts_of)  # most weeks are alike


class _Sum:
    """Letters of many accounts together: where a run begins one more, behind its end one less."""

    def __init__(self) -> None:
        self._steps: dict[int, defaultdict[int, int]] = {
            letter: defaultdict(int) for letter in LETTERS
        }

    def add(self, reach: Reach, times: int) -> None:
        first = reach.first.toordinal()
        for letter, begin, end in reach.spans:
            if (steps := self._steps.get(letter)) is not None:
                steps[first + begin] += times
                steps[first + end] -= times

    def months(self) -> dict[int, Counts]:
        found: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(LETTERS))
        for place, steps in enumerate(self._steps.values()):
            level, before = 0, 0
            for day in sorted(steps):
                if level:
                    for month, days in _months_in(before, day):
                        found[month][place] += level * days
                level += steps[day]
                before = day
        return {month: Counts(*found[month]) for month in sorted(found)}


def _months_in(begin: int, end: int) -> Iterable[tuple[int, int]]:
    """The months from one day up to another one (ordinals), and how many days of each."""
    while begin < end:
        day = date.fromordinal(begin)
        following = min(period_of(day, WindowKind.MONTH)[1].toordinal() + 1, end)
        yield day.year * 12 + day.month - 1, following - begin
        begin = following


class _Maker:
    def __init__(
        self, reader: Reader, names: Mapping[str, str], disabled: Collection[str], quotas: Quotas
    ) -> None:
        self._reader, self._now = reader, reader.now
        self._names, self._disabled = names, frozenset(disabled)
        self._quotas = quotas
        self._quota_of: dict[str, InterfaceQuota] = {}
        settled = last_settled_day(self._now)
        self._newest = reader.newest or settled
        calls = any((*quotas.before.values(), *quotas.today.values()))
        ran = calls and self._newest < settled - ONE_DAY
        archive = ran or self._newest < settled - RECENT
        self._made = Overview(self._now, self._newest if archive else settled, archive)
        if not archive:
            self._made.silent = max((settled - self._newest).days, 0)
        self._moves_on = not archive and self._made.silent <= 1
        self._shapes: dict[Reach, _Shape] = {}
        self._times: Counter[tuple[str, _Shape]] = Counter()  # accounts of a shape, by interface
        self._causes: dict[Hashable, Cause] = {}
        self._days_left = 0.0
        self._assumed = -1.0  # the days of interfaces whose quota is not known, if there are any
        self._behind: int | None = None

    def add(self, found: list[tuple[Stream, Calendar]]) -> None:
        made, appid = self._made, found[0][0].key[0]
        made.totals.accounts += 1
        for stream, _ in found:
            made.totals.add(stream)
            self._quotas.count(stream.key, self._quota_of)
            if "complete" not in stream.states:
                made.to_attend += 1
                if len(made.attention) < KEPT:
                    made.attention.append(stream)
        account = AccountView(appid, self._names.get(appid, ""))
        found = sorted(found, key=lambda each: _place(each[0].key[1]))
        resting = appid in self._disabled or self._rests([stream for stream, _ in found])
        causes = grouped(
            chain.from_iterable(causes_of(*each, resting=resting) for each in found), _reason
        )
        add_to(self._causes, causes, _reason)
        shapes = [
            self._interface(account, stream, calendar, resting=resting)
            for stream, calendar in found
        ]
        account.counts = sum_of(shape.counts for shape in shapes)
        account.weeks = [sum_of(week) for week in zip(*[shape.weeks for shape in shapes],
                                                      strict=True)]  # fmt: skip
        made.accounts.append(account)
        self._judge(account, [] if resting else causes)

    def _rests(self, streams: list[Stream]) -> bool:
        asked = [ranges[-1][1] for each in streams if (ranges := self._reader.asked.get(each.key))]
        return max(asked, default=self._made.day) < self._made.day - RECENT

    def _judge(self, account: AccountView, causes: list[Cause]) -> None:
        if not account.counts.stored:
            account.behind = None
        shown = filter(self._is_shown, causes)
        reasons = grouped(shown, lambda one: (one.kind, one.ip, one.reason))
        reasons.sort(key=lambda one: (_WEIGHTS[one.kind], -sum(one.days.values())))
        account.reasons = reasons[: 2 * MOST_MESSAGES]
        if any(reason.mine for reason in account.reasons):
            account.state = "todo"
        elif account.expected:
            account.state = "late" if account.late else "here"

    def _interface(
        self, account: AccountView, stream: Stream, calendar: Calendar, *, resting: bool
    ) -> _Shape:
        shape = self._shapes.get(stream.reach)
        if shape is None:
            shape = self._shapes[stream.reach] = _Shape(stream, self._made.day)
        self._times[stream.key[1], shape] += 1
        if stream.reach.begins is None:  # it holds no whole week or month
            return shape
        self._note_last(stream)
        row = Row(stream.key[1], shape.reach)
        if not resting:
            row = self._freshness(account, stream, calendar, row)
            self._calls(stream, calendar, shape)
        account.rows.append(row)
        return shape

    def _note_last(self, stream: Stream) -> None:
        if (last := stream.reach.newest) is not None:
            self._made.last = max(self._made.last or last, last)
            behind = max((self._expected_day(stream.key[1]) - last).days, 0)
            self._behind = behind if self._behind is None else min(self._behind, behind)

    def _freshness(self, account: AccountView, stream: Stream, calendar: Calendar, row: Row) -> Row:
        day, reach = self._expected_day(stream.key[1]), stream.reach
        endpoint = self._reader.endpoint(stream.key[1])
        ended = endpoint is not None and endpoint.retired and reach.last < day
        nobody = stream.unasked is not None and self._moves_on
        if day < reach.first or reach.last < day - RECENT or nobody or ended:
            return row
        account.expected += 1
        over = covering(calendar, day)
        if reach.at(day) in _HERE:
            return row._replace(late=False, empty=over is not None and not over.tally.records)
        account.late += 1
        before = reach.within((reach.first, day)).newest or reach.first - ONE_DAY
        account.behind = max(account.behind or 0, (day - before).days)
        kind = kind_of(over) if over is not None else "late" if reach.at(day) == LATE else "missing"
        account.kind = min((one for one in (account.kind, kind) if one), key=_WEIGHTS.__getitem__)
        return row._replace(late=True)

    def _expected_day(self, name: str) -> date:
        endpoint = self._reader.endpoint(name)
        day = self._made.day
        if endpoint is None:
            return day
        if not self._made.archive:
            day = last_settled_day(self._now, endpoint.settled_hour)
        return last_whole_day(day, endpoint.cut)

    def _calls(self, stream: Stream, calendar: Calendar, shape: _Shape) -> None:
        if not shape.counts.lacking:
            return
        name = stream.key[1]
        calls = shape.calls.get(name)
        if calls is None:
            calls = shape.calls[name] = self._calls_left(stream)
        kinds = {kind_of(one) for one in calendar.windows.values() if one.state != "open"}
        if any(KINDS[kind].mine for kind in kinds):
            self._made.blocked += calls
            return
        self._made.calls += calls
        waits = "quota" in kinds or stream.key in self._quotas.exhausted
        if self._quotas.daily is None and not waits:
            self._assumed = max(self._assumed, (calls - 1) // SEEN_QUOTA)
        else:
            self._days_left = max(self._days_left, self._days_of(stream, calls))

    def _days_of(self, stream: Stream, calls: int) -> float:
        """Days after today until the calls of an interface are made; infinite if not known."""
        endpoint, quotas = self._reader.endpoint(stream.key[1]), self._quotas
        if quotas.daily is not None and endpoint is not None:
            load = load_of(endpoint, stream.reach.last, calls, quotas.spent(stream.key), self._now)
            days = quota_days(load, quotas.daily, china(self._now).date())
            return math.inf if days is None else max(days - 1, 0)
        pace = quotas.daily or quotas.pace(stream.key)
        return math.ceil(calls / pace) if pace else math.inf

    def _calls_left(self, stream: Stream) -> int:
        reach = stream.reach
        if (endpoint := self._reader.endpoint(stream.key[1])) is None:
            return reach.lacking
        return grid(endpoint, reach.last).count(reach.first, reach.last, reach.enough)

    def finish(self) -> Overview:
        made = self._made
        views: dict[str, InterfaceView] = {}
        sums: defaultdict[str, _Sum] = defaultdict(_Sum)
        for (name, shape), times in self._times.items():
            view = views.get(name) or InterfaceView(name, self._reader.endpoint(name))
            views[name] = view
            view.counts = view.counts.plus(shape.counts, times)
            sums[name].add(shape.reach, times)
        for name, view in views.items():
            view.months = sums[name].months()
        made.totals.counts = sum_of(view.counts for view in views.values()) if views else NOTHING
        made.interfaces = sorted(views.values(), key=lambda view: _place(view.name))
        made.accounts.sort(key=_trouble)
        made.behind = self._behind or 0
        self._group_causes()
        made.quotas = sorted(self._quota_of.values(), key=lambda quota: _place(quota.endpoint))
        days = max(self._days_left, self._assumed)
        if made.calls and not math.isinf(days):
            made.finished = china(self._now).date() + timedelta(days=int(days))
            made.assumed = SEEN_QUOTA if self._assumed >= self._days_left else None
        return made

    def _is_shown(self, cause: Cause) -> bool:
        """Whether the page shows it; if no range has moved on, that is one cause for all."""
        is_shown = self._moves_on if cause.since else bool(cause.kind)
        return is_shown and not cause.resting

    def _group_causes(self) -> None:
        made, causes = self._made, self._causes.values()
        late = [cause for cause in causes if cause.state in STATES]
        made.reasons = grouped(late, lambda one: (one.state, one.reason))
        made.reasons.sort(key=lambda one: (STATES.index(one.state), -sum(one.days.values())))
        shown = filter(self._is_shown, causes)
        made.causes = grouped(shown, lambda one: (one.kind, one.ip, one.since))
        if made.accounts and made.silent > 1:
            appids = {account.appid: None for account in made.accounts}
            made.causes.append(Cause("ended", appids=appids))
        made.causes.sort(key=lambda cause: _WEIGHTS[cause.kind])
        for cause in made.causes + made.reasons:
            cause.appids = dict.fromkeys(sorted(cause.appids))


def _reason(cause: Cause) -> Hashable:
    return cause.state, cause.kind, cause.reason, cause.resting


_PLACES = {name: number for number, name in enumerate(INTERFACES)}
_WEIGHTS = {name: number for number, name in enumerate(KINDS)}
_STATES = {name: number for number, name in enumerate(ACCOUNT_STATES)}


def _place(name: str) -> tuple[int, str]:
    return _PLACES.get(name, len(_PLACES)), name


def _trouble(account: AccountView) -> tuple[int, int, int, str]:
    return _STATES[account.state], not account.late, _WEIGHTS.get(account.kind, 99), account.appid
