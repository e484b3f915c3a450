"""How far an interface of an account is complete: its days, one letter each, derived in one place.

Rule: pure; all code that shows, counts or judges days gets them from here, as values.

A calendar has what was stored, and why something was not.  What follows for a day from the range
that was asked for, and from what its interface delivers, is decided by `reach_of`: that it lacks
what it must have, that it was not requested, that it cannot be requested any more.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from harvester.base.dates import (
    ONE_DAY,
    Days,
    WindowKind,
    days_in,
    last_legal_day,
    whole_periods,
    without,
)
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
    days_of,
)
from harvester.model import Endpoint, Find
from harvester.wechat.endpoint import grid
from harvester.wechat.late import Delivery, delivery

LATE, GONE, UNASKED = b"l-_"
"""Letters of a day that a calendar does not have: it lacks what it must have, which is requested
again; it was not asked for when it could be, of an interface of recent days alone; it lies between
what was asked for and what is known."""
LETTERS = bytes([FINAL, OPEN, EMPTY, WAITING, FAILED, MISSING, LATE, NEVER])
"""The states of a day that was asked for and can be, in the order of `Counts`."""
_HELD = bytes([FINAL, OPEN, EMPTY])
_ENOUGH = _HELD + bytes([NEVER, GONE])
"""Days that delay nothing: no request can add to them."""
_NO_CHANGE = bytes([FINAL, EMPTY, NEVER, GONE])
_LACKING = bytes([MISSING, WAITING, FAILED, LATE])
_UNANSWERED = bytes([MISSING, WAITING, FAILED, UNASKED])
_NOBODY_ASKED = bytes.maketrans(bytes([MISSING, GONE]), bytes([UNASKED, UNASKED]))
_RUN = re.compile(b"|".join(re.escape(bytes([each])) + b"+" for each in LETTERS + b"-_"))
_ENOUGH_RUN = re.compile(b"[" + re.escape(_ENOUGH + bytes([UNASKED])) + b"]+")
_GAP = re.compile(b"[" + re.escape(_LACKING) + b"]")


class Counts(NamedTuple):
    """Days by state; an empty day is not counted as final.

    late: it lacks what it must have, which is requested again; never: until the end of the schedule
    it did not come.
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
        """Days that are stored, final or not, and those for which no figures will arrive."""
        return self[0] + self[1] + self[2] + self[7]

    @property
    def lacking(self) -> int:
        """The other days: they are missing, late, wait or failed."""
        return self[3] + self[4] + self[5] + self[6]

    def plus(self, other: Counts, times: int = 1) -> Counts:
        """Both together."""
        a, b, c, d, e, f, g, h = self
        s, t, u, v, w, x, y, z = other
        return Counts(a + times * s, b + times * t, c + times * u, d + times * v,
                      e + times * w, f + times * x, g + times * y, h + times * z)  # fmt: skip


NOTHING = Counts()


def counts_of(letters: bytes) -> Counts:
    """How many days of each state there are."""
    rest = letters.translate(None, b"f")  # removing a frequent letter is faster than counting it
    final = len(letters) - len(rest)
    return Counts(final, *map(rest.count, LETTERS[1:])) if rest else Counts(final)


def sum_of(counts: Iterable[Counts]) -> Counts:
    """All together."""
    return Counts(*map(sum, zip(*counts, strict=True)))


class Reach(NamedTuple):
    """The days of one interface of one account, from the first one on.

    letters: one per day, of `LETTERS`, `GONE` and `UNASKED`; none if no whole week or month was
    asked for.
    """

    first: date
    letters: bytes

    @property
    def last(self) -> date:
        """The last day; the one before the first if there is none."""
        return self.first + timedelta(days=len(self.letters) - 1)

    @property
    def counts(self) -> Counts:
        """Its days by state."""
        return counts_of(self.letters)

    @property
    def lacking(self) -> int:
        """Days that are missing, late, wait or failed."""
        return self.counts.lacking

    @property
    def gone(self) -> int:
        """Days that were not asked for when they could be, and cannot be asked for any more."""
        return self.letters.count(GONE)

    @property
    def complete(self) -> date | None:
        """The last day up to which no day is missing, late, waits or failed; None if the first is.

        A day that was never delivered, or that cannot be asked for any more, does not limit this;
        one that was not asked for does.
        """
        return self._until(_ENOUGH)

    @property
    def final(self) -> date | None:
        """The same of figures that no longer change."""
        return self._until(_NO_CHANGE)

    @property
    def newest(self) -> date | None:
        """The newest day that is stored; None if none is."""
        return self._day(max(map(self.letters.rfind, (b"f", b"e", b"o"))))

    @property
    def gap(self) -> date | None:
        """The oldest day that is missing, late, waits or failed; None if none is."""
        found = _GAP.search(self.letters)
        return self._day(found.start()) if found else None

    @property
    def answered(self) -> date | None:
        """The newest day that is stored, late, was never delivered or cannot be asked for."""
        return self._day(len(self.letters.rstrip(_UNANSWERED)) - 1)

    @property
    def enough(self) -> list[Days]:
        """The ranges of days for which no request is left to make."""
        return [
            (self.first + timedelta(found.start()), self.first + timedelta(found.end() - 1))
            for found in _ENOUGH_RUN.finditer(self.letters)
        ]

    @property
    def spans(self) -> Sequence[tuple[int, int, int]]:
        """The runs of days that have the same letter: it, where they begin, and behind their end.

        Places are days from the first one on.
        """
        return [(run[0][0], *run.span()) for run in _RUN.finditer(self.letters)]

    def runs(self, letter: int) -> Iterator[Days]:
        """The runs of days that have a letter."""
        for found, begin, end in self.spans:
            if found == letter:
                yield self.first + timedelta(begin), self.first + timedelta(end - 1)

    def at(self, day: date) -> int | None:
        """The letter of a day; None of one that is not among these."""
        place = (day - self.first).days
        return self.letters[place] if 0 <= place < len(self.letters) else None

    def since(self, day: date) -> date:
        """The first of the days up to one of these that all have its letter."""
        before = self.letters[: (day - self.first).days + 1]
        return self.first + timedelta(days=len(before.rstrip(before[-1:])))

    def within(self, days: Days) -> Reach:
        """Only the days of a range."""
        begin = min(max((days[0] - self.first).days, 0), len(self.letters))
        end = max((days[1] - self.first).days + 1, begin)
        return Reach(self.first + timedelta(days=begin), self.letters[begin:end])

    def _until(self, good: bytes) -> date | None:
        return self._day(len(self.letters) - len(self.letters.lstrip(good)) - 1)

    def _day(self, place: int) -> date | None:
        return self.first + timedelta(days=place) if place >= 0 else None


@dataclass
class Together:
    """Several interfaces or accounts together: as complete as the least complete one.

    first: the first day of any.  lacking: days of all that are missing, late, wait or failed.
    accounts: each, and whether it lacks days.  Fields as of `Reach`.
    """

    first: date = date.max
    complete: date | None = None
    final: date | None = None
    newest: date | None = None
    lacking: int = 0
    accounts: dict[str, bool] = field(default_factory=dict)

    def add(self, appid: str, reach: Reach) -> None:
        """One more interface of an account; of one without any day nothing is there."""
        if self.accounts:
            self.complete = _earlier(self.complete, reach.complete)
            self.final = _earlier(self.final, reach.final)
        else:
            self.complete, self.final = reach.complete, reach.final
        self.first = min(self.first, reach.first)
        if reach.newest is not None:
            self.newest = max(self.newest or reach.newest, reach.newest)
        self.lacking += reach.lacking
        lacks = reach.lacking > 0 or not reach.letters
        self.accounts[appid] = self.accounts.get(appid, False) or lacks

    @property
    def behind(self) -> list[str]:
        """The accounts that lack days."""
        return [appid for appid, lacks in self.accounts.items() if lacks]


def _earlier(one: date | None, other: date | None) -> date | None:
    return None if one is None or other is None else min(one, other)


def reach_of(
    calendar: Calendar, asked: Days | None, endpoint: Endpoint | None, now: float
) -> Reach | None:
    """The days of an interface of an account; None if nothing is known, and nothing was asked for.

    asked: the range; of weeks or months only whole ones count.  endpoint: None if it is not
    installed.  now: a Unix time.
    """
    cut, known = endpoint.cut if endpoint else WindowKind.DAYS, calendar.span()
    wanted = asked and whole_periods(asked, cut)
    spans = [span for span in (wanted, known) if span]
    if not spans:
        return Reach(asked[0], b"") if asked else None
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
    if wanted and wanted != (begin, end):
        _mark_unasked(letters, (wanted[0] - begin).days, (wanted[1] - begin).days + 1)
    return Reach(begin, bytes(letters))


def _read(
    letters: bytearray, begin: date, calendar: Calendar, endpoint: Endpoint, last: date
) -> None:
    """What follows for a day from its interface; last: the last day that can be requested."""
    cut, end = grid(endpoint, last), begin + (len(letters) - 1) * ONE_DAY
    if cut.cut is WindowKind.RECENT:
        left = list(cut.windows(begin, end, list(calendar.runs(begin, end, STORED))))
        for days in list(calendar.runs(begin, end, bytes([MISSING, WAITING, FAILED]))):
            for gone in without([days], left):
                _fill(letters, begin, gone, GONE)
    if delivery(endpoint) is Delivery.DAILY:
        for hole in calendar.holes(cut):
            _fill(letters, begin, hole, LATE)
        rows = calendar.rows()  # nothing was due before the first one
        first = len(letters) if rows is None else max((rows[0] - begin).days, 0)
        letters[:first] = letters[:first].replace(bytes([NEVER]), bytes([EMPTY]))


def _mark_unasked(letters: bytearray, begin: int, end: int) -> None:
    """Outside of the range that was asked for a day of which nothing is known lacks nothing."""
    for low, high in ((0, begin), (end, len(letters))):
        letters[low:high] = letters[low:high].translate(_NOBODY_ASKED)


def _fill(letters: bytearray, first: date, days: Days, letter: int) -> None:
    begin = max((days[0] - first).days, 0)
    end = min((days[1] - first).days + 1, len(letters))
    if begin < end:
        letters[begin:end] = bytes([letter]) * (end - begin)


class Found(NamedTuple):
    """One interface of one account; endpoint: None if it is not installed."""

    key: Key
    asked: Days | None
    calendar: Calendar
    reach: Reach


async def reaches(
    ledger: Ledger,
    asked: Mapping[Key, Days],
    appids: Sequence[str],
    find: Find,
    now: float,
    only: Callable[[Key], bool] = lambda key: True,
) -> AsyncIterator[list[Found]]:
    """What was asked for or is known of each account, some of them in memory at a time.

    The interfaces of an account are in the order of their names.  asked: all that the ledger has.
    only: whether an interface of an account is wanted.
    """
    of_account: dict[str, set[Key]] = {}
    for key in asked:
        of_account.setdefault(key[0], set()).add(key)
    for some in account_groups(appids):
        known = await ledger.calendars(some)
        for key in known:
            of_account.setdefault(key[0], set()).add(key)
        for appid in some:
            found = []
            for key in filter(only, sorted(of_account.get(appid, ()))):
                calendar = known.get(key) or Calendar()
                reach = reach_of(calendar, asked.get(key), find(key[1]), now)
                if reach is not None:
                    found.append(Found(key, asked.get(key), calendar, reach))
            if found:
                yield found
