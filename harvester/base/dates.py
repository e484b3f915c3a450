"""All arithmetic with dates: from a range to windows, and what a day in China allows.

Rule: pure and lazy; takes the time as an argument, never reads a clock, never waits.

Facts of the wire used here, from WeChat's page of getarticlesummary: data was first stored for
2014-12-01; ``end_date`` is yesterday at the latest; the day before should be asked for after 8 in
the morning.  Days are China's (UTC+8, no summer time).  That a day's quota is reset at midnight in
China is not documented; WeChat's staff answer "the next day".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from harvester.errors import UsageError
from harvester.texts import say

CHINA = timezone(timedelta(hours=8), "China")
ONE_DAY = timedelta(days=1)
DAY, _AHEAD = 86_400.0, 28_800.0
"""Seconds of a day in China, which has no summer time; and by how many it is ahead of UTC."""
SETTLED_HOUR = 8
"""From this hour, China time, yesterday's figures can be requested."""

Days = tuple[date, date]
"""A first and a last day, both included."""


def china(now: float) -> datetime:
    """A Unix time as a date and time in China."""
    return datetime.fromtimestamp(now, CHINA)


@lru_cache(256)
def last_legal_day(now: float) -> date:
    """The last day that WeChat answers: yesterday in China."""
    return china(now).date() - ONE_DAY


@lru_cache(4096)
def settles_at(day: date, hour: int = SETTLED_HOUR) -> float:
    """The Unix time from which a day's figures can be requested."""
    return datetime.combine(day + ONE_DAY, time(hour), CHINA).timestamp()


def last_settled_day(now: float, hour: int = SETTLED_HOUR) -> date:
    """The last day whose figures can be requested now."""
    last = last_legal_day(now)
    return last if now >= settles_at(last, hour) else last - ONE_DAY


def next_midnight(now: float) -> float:
    """The Unix time of the next midnight in China."""
    return (now + _AHEAD) // DAY * DAY + DAY - _AHEAD


QUOTA_MARGIN = 60.0
"""Seconds after midnight in China at which the next quota is used: clocks differ by seconds, and
WeChat counts a call that arrives before its midnight for the day before."""


def quota_day(now: float) -> date:
    """The day in China whose quota a call at this time counts against."""
    return china(now - QUOTA_MARGIN).date()


def next_quota_day(now: float) -> float:
    """The Unix time from which the next day's quota is used."""
    return next_midnight(now - QUOTA_MARGIN) + QUOTA_MARGIN


def next_minute(now: float) -> float:
    """The Unix time of the next full minute."""
    return (now // 60 + 1) * 60


def rfc3339(moment: float) -> str:
    """A Unix time as RFC 3339, UTC, in whole seconds."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_exact(moment: float) -> str:
    """The same in milliseconds: a later moment is a later text."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


FIRST = "first"
"""As a start: the first day of each interface."""

YESTERDAY = "yesterday"
"""As an end: the last day whose figures are settled."""

_YESTERDAY = re.compile(r"yesterday(?:-(\d{1,5})d)?")


def parse_day(given: date | str, now: float, what: str = "date") -> date:
    """A day from a `datetime.date`, ``YYYY-MM-DD``, ``yesterday`` or ``yesterday-30d``.

    Before 08:00 in China ``yesterday`` is the day before, since the figures are not ready.
    Raises `UsageError` for anything else.
    """
    if isinstance(given, datetime):
        raise UsageError(
            "{}: {!r} is a time, not a day; give a date such as {:%Y-%m-%d}", what, given, given
        )
    if isinstance(given, date):
        return given
    if isinstance(given, str) and (found := _YESTERDAY.fullmatch(given)):
        return last_settled_day(now) - timedelta(days=int(found[1] or 0))
    try:
        day = date.fromisoformat(given)
    except (TypeError, ValueError):
        day = None
    if day is None or given != day.isoformat():
        words = say("yesterday, yesterday-30d or first") if what == "start" else "yesterday"
        raise UsageError("{}: {!r} is not a day; write YYYY-MM-DD, or {}", what, given, words)
    return day


def parse_past_day(given: date | str, now: float, what: str) -> date:
    """The same; raises `UsageError` for a day that is not over in China."""
    day = parse_day(given, now, what)
    if day > (last := last_legal_day(now)):
        raise UsageError(
            "{}: WeChat has no figures of {} yet; the last day with data is yesterday (China"
            " time), {}",
            what,
            day,
            last,
        )
    return day


def check_range(begin: date, end: date, now: float) -> None:
    """Raise `UsageError` unless the range is one and ends by yesterday."""
    if begin > end:
        raise UsageError("the start {} is after the end {}; swap them", begin, end)
    last = last_legal_day(now)
    if end > last:
        raise UsageError(
            "the end {} cannot be requested yet; the last day with data is yesterday (China time),"
            " {}",
            end,
            last,
        )


def gaps(begin: date, end: date, covered: Sequence[Days]) -> Iterator[Days]:
    """The parts of a range without the covered date ranges (sorted, not overlapping)."""
    for first, last in covered:
        if last < begin:
            continue
        if first > end:
            break
        if first > begin:
            yield begin, first - ONE_DAY
        begin = last + ONE_DAY
    if begin <= end:
        yield begin, end


class WindowKind(Enum):
    """How the days of a range are cut into the windows of an interface."""

    DAYS = "days"  # any consecutive days, up to its span
    WEEK = "week"  # exactly Monday to Sunday
    MONTH = "month"  # exactly a calendar month
    RECENT = "recent"  # 30, 7 or 1 days that end yesterday


RECENT_DAYS = (30, 7, 1)


def recent_days(span: int) -> list[int]:
    """The numbers of days that end yesterday which a window can have, largest first, up to span."""
    return [number for number in RECENT_DAYS if number <= span]


def either(names: Sequence[str]) -> str:
    """Names as a choice: ``a``, ``a or b``, ``a, b or c``."""
    *others, last = names
    return say("{} or {}", ", ".join(others), last) if others else last


@dataclass(frozen=True, slots=True)
class Grid:
    """How the days of one interface are cut into windows.

    span: the most days of a window (`WindowKind.DAYS`, `WindowKind.RECENT`); with
        `WindowKind.DAYS` a window begins at every ``span``-th day from ``anchor`` on, so that
        windows of two runs overlap only if one contains the other.
    last: the last day that can be requested.
    """

    cut: WindowKind
    span: int
    anchor: date
    last: date

    def windows(
        self, begin: date, end: date, covered: Sequence[Days] = (), *, newest: bool = False
    ) -> Iterator[Days]:
        """The windows that are still to be requested, lazily; oldest first, or newest first.

        A week, a month or a range of recent days is returned only if it is in the range as a whole.
        """
        stretches: Iterable[Days] = gaps(begin, end, covered)
        if newest:
            stretches = reversed(list(stretches))
        for stretch in stretches:
            if self.cut is WindowKind.DAYS:
                cut = _newest_days if newest else _oldest_days
                yield from cut(stretch, self.span, self.anchor)
            elif self.cut is WindowKind.RECENT:
                yield from self._recent(stretch)
            else:
                periods = _periods(stretch, self.cut)
                yield from reversed(list(periods)) if newest else periods

    def count(self, begin: date, end: date, covered: Sequence[Days] = ()) -> int:
        if self.cut is not WindowKind.DAYS:
            return sum(1 for _ in self.windows(begin, end, covered))
        origin, span = self.anchor.toordinal(), self.span
        return sum(
            (last.toordinal() - origin) // span - (first.toordinal() - origin) // span + 1
            for first, last in gaps(begin, end, covered)
        )

    def whole(self, begin: date, end: date) -> Days:
        """The range with all days of windows of days that it cuts."""
        if self.cut is not WindowKind.DAYS:
            return begin, end
        before = (begin - self.anchor).days % self.span
        behind = self.span - 1 - (end - self.anchor).days % self.span
        return begin - before * ONE_DAY, end + behind * ONE_DAY

    def gives(self, days: Days) -> bool:
        """Whether WeChat still answers a window: of recent days only one that ends yesterday."""
        return self.cut is not WindowKind.RECENT or days[1] == self.last

    def nearest(self, begin: date) -> str:
        if self.cut is WindowKind.RECENT:
            numbers = recent_days(self.span)
            firsts = [f"{self.last - timedelta(days=number - 1)}" for number in numbers]
            return say("{} to {}", either(firsts), self.last)
        before = min(begin, self.last) - timedelta(days=70)
        ended = list(_periods((before, self.last), self.cut))
        first, last = min(ended, key=lambda days: abs((days[0] - begin).days))
        return say("{} to {}", first, last)

    def _recent(self, stretch: Days) -> Iterator[Days]:
        if stretch[1] == self.last:
            most = min(self.span, days_in(stretch))
            number = recent_days(most)[0]
            yield stretch[1] - timedelta(days=number - 1), stretch[1]


def _oldest_days(stretch: Days, span: int, anchor: date) -> Iterator[Days]:
    first, last = stretch
    origin = anchor.toordinal()
    while first <= last:
        left = span - (first.toordinal() - origin) % span if span > 1 else 1
        until = min(first + timedelta(days=left - 1), last) if left > 1 else first
        yield first, until
        first = until + ONE_DAY


def _newest_days(stretch: Days, span: int, anchor: date) -> Iterator[Days]:
    first, last = stretch
    origin = anchor.toordinal()
    while first <= last:
        before = (last.toordinal() - origin) % span if span > 1 else 0
        begin = max(last - timedelta(days=before), first) if before else last
        yield begin, last
        last = begin - ONE_DAY


def _periods(stretch: Days, cut: WindowKind) -> Iterator[Days]:
    """The weeks or months that a date range contains as a whole, oldest first."""
    first, last = period_of(stretch[0], cut)
    if first < stretch[0]:
        first, last = period_of(last + ONE_DAY, cut)
    while last <= stretch[1]:
        yield first, last
        first, last = period_of(last + ONE_DAY, cut)


def period_of(day: date, cut: WindowKind) -> Days:
    """The week (Monday to Sunday) or the month of a day; for other interfaces the day alone."""
    if cut not in (WindowKind.WEEK, WindowKind.MONTH):
        return day, day
    if cut is WindowKind.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=6)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - ONE_DAY


def last_whole_day(day: date, cut: WindowKind) -> date:
    """The last day up to this one that ends a window: of weeks or months their last day."""
    begin, end = period_of(day, cut)
    return day if end == day else begin - ONE_DAY


def whole_periods(days: Days, cut: WindowKind) -> Days | None:
    """The weeks or months that are in a range as a whole; None if there is none."""
    first, last = period_of(days[0], cut), period_of(days[1], cut)
    begin = days[0] if first[0] == days[0] else first[1] + ONE_DAY
    end = days[1] if last[1] == days[1] else last[0] - ONE_DAY
    return (begin, end) if begin <= end else None


def days_in(days: Days) -> int:
    """How many days a date range has."""
    return (days[1] - days[0]).days + 1


def runs(days: Iterable[Days]) -> Iterator[tuple[date, date, int]]:
    """Merge adjacent windows, also in descending order: first day, last day, number of windows."""
    run: tuple[date, date, int] | None = None
    for begin, end in days:
        if run is not None and run[1] + ONE_DAY == begin:
            run = (run[0], end, run[2] + 1)
            continue
        if run is not None and end + ONE_DAY == run[0]:
            run = (begin, run[1], run[2] + 1)
            continue
        if run is not None:
            yield run
        run = (begin, end, 1)
    if run is not None:
        yield run


def union(ranges: Iterable[Days]) -> list[Days]:
    """The days of all ranges, in order, as ranges that neither overlap nor touch."""
    found: list[Days] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1] + ONE_DAY:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def meets(days: Days, ranges: Iterable[Days]) -> bool:
    """Whether a range has a day of any of the others."""
    return any([begin <= days[1] and days[0] <= end for begin, end in ranges])


def without(ranges: Sequence[Days], away: Sequence[Days]) -> list[Days]:
    """The days of sorted date ranges that are in none of the others (sorted too)."""
    left: list[Days] = []
    at = 0
    for begin, end in ranges:
        while at < len(away) and away[at][1] < begin:
            at += 1
        first, number = begin, at
        while number < len(away) and away[number][0] <= end:
            if first < away[number][0]:
                left.append((first, away[number][0] - ONE_DAY))
            first = max(first, away[number][1] + ONE_DAY)
            number += 1
        if first <= end:
            left.append((first, end))
    return left


LATENCY = 0.3
"""Seconds that an estimate assumes for an answer; WeChat does not document it."""


class Estimate(NamedTuple):
    """The cost of a harvest whose requests are each answered at the first attempt.

    calls: requests; seconds: their time; by_rate: their time if only the rate limits them.
    """

    calls: int
    seconds: float
    by_rate: float


def estimate(
    calls: Sequence[Sequence[int]], per_second: float, concurrency: int, caps: Sequence[float]
) -> Estimate:
    """The cost of these calls: a row for each account, in it a number for each interface.

    per_second: requests an account may send; caps: requests in flight of each account.
    """
    rows = [sum(row) for row in calls]
    slowest = max(
        (number / min(per_second, cap / LATENCY) for number, cap in zip(rows, caps, strict=True)),
        default=0.0,
    )
    together = sum(rows) * LATENCY / concurrency
    return Estimate(sum(rows), max(slowest, together), max(rows, default=0) / per_second)


class Load(NamedTuple):
    """What one interface of one account needs of its daily quota.

    calls: still to be sent; spent: already today.
    end: the last day of the range; if that is ``yesterday`` it moves, one call per day.
    late_days: of the interface: days for which its windows are requested again each day; period:
    days of such a window.
    """

    calls: int
    spent: int
    end: date
    moves_on: bool
    late_days: int = 0
    period: int = 1

    def due(self, today: date) -> int:
        young = today - 2 * ONE_DAY if self.moves_on else self.end
        late = (young - today).days + self.late_days + 1 if self.late_days else 0
        return int(self.moves_on) - (-max(late, 0) // self.period)


MOST_DAYS = 36_525


def quota_days(load: Load, daily: int, today: date) -> int | None:
    """Days, including today, until the backfill is complete; None if it never is.

    Assumes one run per day, which requests new days first.
    """
    left, budget = load.calls, daily - load.spent
    for day in range(MOST_DAYS):
        if day:
            left, budget = left + load.due(today + day * ONE_DAY), daily
        left -= min(left, max(budget, 0))
        if not left:
            return day + 1 if load.calls else 0
    return None


def nearest(name: str, known: Iterable[str], least: float = 0.5, most: int = 1) -> str:
    """A hint for an unknown name, or an empty string; most: how many names it gives."""
    names = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), names, n=most, cutoff=least)
    return say(" (did you mean {}?)", either([names[each] for each in close])) if close else ""
