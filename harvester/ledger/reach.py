"""How far an interface of an account is complete: its days, one letter each, derived in one place.

Rule: pure; all code that shows, counts or judges days gets them from here, as values.
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
    gaps,
    last_legal_day,
    union,
    whole_periods,
    without,
)
from harvester.ledger import Ledger
from harvester.ledger.base import Key, Ranges, account_groups
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
from harvester.wechat.endpoint import first_not_due, grid
from harvester.wechat.late import Delivery, delivery

LATE, GONE, UNASKED, NOT_DUE = b"l-_,"
"""Letters of a day that a calendar does not have: it lacks what it must have, which is requested
again; it was not asked for when it could be, of an interface of recent days alone; it lies outside
of what was asked for; WeChat does not have it yet."""


class State(NamedTuple):
    """A state of a day of an interface of an account.

    name: in data; zh, en: in texts.  held: its figures are stored.  lacking: they are not, and are
    requested.  done: no request can change it.
    """

    letter: int
    name: str
    zh: str
    en: str
    held: bool = False
    lacking: bool = False
    done: bool = False


STATES = (
    State(FINAL, "final", "最终", "final", held=True, done=True),
    State(OPEN, "provisional", "暂定", "provisional", held=True),
    State(EMPTY, "empty", "空", "empty", held=True, done=True),
    State(WAITING, "waiting", "等待", "waiting", lacking=True),
    State(FAILED, "failed", "失败", "failed", lacking=True),
    State(MISSING, "missing", "缺失", "missing", lacking=True),
    State(LATE, "late", "迟到", "late", lacking=True),
    State(NEVER, "never_delivered", "始终没有给出", "never delivered", done=True),
    State(GONE, "cannot_be_asked", "无法再请求", "cannot be asked", done=True),
    State(UNASKED, "not_asked", "未请求", "not asked"),
    State(NOT_DUE, "not_due", "未到时间", "not due"),
)
"""Every state that a day can have, in the order of `Counts`; the last three count in no share."""
STATE_OF = {state.letter: state for state in STATES}
LETTERS = bytes([state.letter for state in STATES])
_LACKING = bytes([state.letter for state in STATES if state.lacking])
_NO_CHANGE = bytes([state.letter for state in STATES if state.done])
_ENOUGH = _NO_CHANGE + bytes([OPEN])
"""Days that delay nothing: no request is left to make for them, or their figures are there."""
_NOT_JUDGED = bytes([UNASKED, NOT_DUE])
_UNANSWERED = bytes([MISSING, WAITING, FAILED]) + _NOT_JUDGED
_NOBODY_ASKED = bytes.maketrans(bytes([MISSING, GONE]), bytes([UNASKED, UNASKED]))
_DUE_LATER = bytes.maketrans(bytes([MISSING, WAITING, UNASKED]), bytes([NOT_DUE] * 3))
_RUN = re.compile(b"|".join(re.escape(bytes([state.letter])) + b"+" for state in STATES))
_ENOUGH_RUN = re.compile(b"[" + re.escape(_ENOUGH + _NOT_JUDGED) + b"]+")
_GAP = re.compile(b"[" + re.escape(_LACKING) + b"]")


class Counts(NamedTuple):
    """Days by state, in the order of `STATES`; an empty day is not counted as final."""

    final: int = 0
    provisional: int = 0
    empty: int = 0
    waiting: int = 0
    failed: int = 0
    missing: int = 0
    late: int = 0
    never: int = 0
    gone: int = 0
    not_asked: int = 0
    not_due: int = 0

    @property
    def asked(self) -> int:
        """Days that were asked for and could be."""
        return sum(self[:8])

    @property
    def stored(self) -> int:
        """Days that are stored, final or not, and those for which no figures will arrive."""
        return self[0] + self[1] + self[2] + self[7]

    @property
    def lacking(self) -> int:
        """The other days of those that were asked for: they are missing, late, wait or failed."""
        return self[3] + self[4] + self[5] + self[6]

    def plus(self, other: Counts, times: int = 1) -> Counts:
        return Counts(*[mine + times * more for mine, more in zip(self, other, strict=True)])

    def to_dict(self) -> dict[str, int]:
        """As JSON has them: empty days are final, too."""
        found = dict(zip(_NAMES, self, strict=True))
        return {**found, "final": self.final + self.empty}


_NAMES = [state.name for state in STATES]
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
    """The days of one interface of one account, from the first that was asked for or is known.

    letters: one per day, of `STATES`.  The last day is yesterday at the latest.
    """

    first: date
    letters: bytes

    @property
    def last(self) -> date:
        """The last day; the one before the first if there is none."""
        return self.first + timedelta(days=len(self.letters) - 1)

    @property
    def counts(self) -> Counts:
        return counts_of(self.letters)

    @property
    def lacking(self) -> int:
        return self.counts.lacking

    @property
    def begins(self) -> date | None:
        """The first day of the last range that was asked for; None if there is no day to judge.

        What lies before a gap between two ranges says nothing of the days behind it.
        """
        return self._day(self._begin) if self._judged else None

    @property
    def complete(self) -> date | None:
        """The last day up to which no day is missing, late, waits or failed; None if the first is.

        Counted from `begins` on.  A day that was never delivered, or that cannot be asked for any
        more, does not limit this; one that was not asked for does.
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
    def edge(self) -> date | None:
        """The first day behind the newest answered one that lacks figures; None if none does.

        If none was answered yet, it is the newest day, which is requested first.
        """
        if self.answered is None:
            return self._day(len(self._judged) - 1)
        found = _GAP.search(self.letters, (self.answered - self.first).days + 1)
        return self._day(found.start()) if found else None

    @property
    def enough(self) -> list[Days]:
        """The ranges of days for which no request is left to make."""
        return [
            (self.first + timedelta(found.start()), self.first + timedelta(found.end() - 1))
            for found in _ENOUGH_RUN.finditer(self.letters)
        ]

    @property
    def spans(self) -> Sequence[tuple[int, int, int]]:
        """The runs of days of one letter: it, their begin, and the place behind their end.

        Places are days from the first one on.
        """
        return [(run[0][0], *run.span()) for run in _RUN.finditer(self.letters)]

    def runs(self, letter: int) -> Iterator[Days]:
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
        begin = min(max((days[0] - self.first).days, 0), len(self.letters))
        end = max((days[1] - self.first).days + 1, begin)
        return Reach(self.first + timedelta(days=begin), self.letters[begin:end])

    @property
    def _judged(self) -> bytes:
        """The days up to the last one of which something is known or was asked for."""
        return self.letters.rstrip(_NOT_JUDGED)

    @property
    def _begin(self) -> int:
        return max(map(self._judged.rfind, (b"_", b","))) + 1

    def _until(self, good: bytes) -> date | None:
        behind = self.letters[self._begin :]
        number = len(behind) - len(behind.lstrip(good))
        return self._day(self._begin + number - 1) if number else None

    def _day(self, place: int) -> date | None:
        return self.first + timedelta(days=place) if place >= 0 else None


def state_on(reach: Reach, day: date, endpoint: Endpoint | None, now: float) -> State:
    """The state of a day, also outside of all that was asked for; arguments as of `reach_of`."""
    letter = reach.at(day)
    if letter is None:
        is_due = endpoint is None or day < first_not_due(endpoint, now)
        letter = UNASKED if is_due else NOT_DUE
    return STATE_OF[letter]


@dataclass
class Together:
    """Several interfaces or accounts together: as complete as the least complete one.

    complete, final, newest: as of `Reach`.  lacking: days of all that are missing, late, wait or
    failed.  accounts: each, and whether it lacks days.  begins: the first day of each account that
    has any.
    """

    complete: date | None = None
    final: date | None = None
    newest: date | None = None
    lacking: int = 0
    accounts: dict[str, bool] = field(default_factory=dict)
    begins: dict[str, date] = field(default_factory=dict)

    def add(self, appid: str, reach: Reach) -> None:
        """One more interface of an account; of one without any day nothing is there."""
        if self.accounts:
            self.complete = _earlier(self.complete, reach.complete)
            self.final = _earlier(self.final, reach.final)
        else:
            self.complete, self.final = reach.complete, reach.final
        if reach.newest is not None:
            self.newest = max(self.newest or reach.newest, reach.newest)
        self.lacking += reach.lacking
        lacks = reach.lacking > 0 or reach.begins is None
        self.accounts[appid] = self.accounts.get(appid, False) or lacks
        if reach.begins is not None:
            self.note(appid, reach.begins)

    def note(self, appid: str, begins: date) -> None:
        """An account that begins then; only its earliest interface counts."""
        self.begins[appid] = min(begins, self.begins.get(appid, begins))

    @property
    def first(self) -> date | None:
        return min(self.begins.values(), default=None)

    @property
    def behind(self) -> list[str]:
        return [appid for appid, lacks in self.accounts.items() if lacks]

    def later(self, day: date = date.min) -> dict[str, date]:
        """The accounts that begin after a day, and after the first account, and when they do."""
        day = max(day, self.first or date.max)
        return {appid: begins for appid, begins in self.begins.items() if begins > day}


def last_of(begins: Mapping[str, date], most: int) -> list[tuple[str, date]]:
    """The accounts that begin last, the last one first, and when they do."""
    return sorted(begins.items(), key=lambda each: (each[1], each[0]), reverse=True)[:most]


def _earlier(one: date | None, other: date | None) -> date | None:
    return None if one is None or other is None else min(one, other)


class Run(NamedTuple):
    """A run of days of an interface of an account that have one state (`State.name`)."""

    appid: str
    interface: str
    first_day: date
    last_day: date
    days: int
    state: str


def states_in(key: Key, reach: Reach) -> Iterator[Run]:
    """The days of an interface of an account, a run a row, in order."""
    for letter, begin, end in reach.spans:
        first, last = reach.first + timedelta(begin), reach.first + timedelta(end - 1)
        yield Run(*key, first, last, end - begin, STATE_OF[letter].name)


def reach_of(
    calendar: Calendar, asked: Sequence[Days], endpoint: Endpoint | None, now: float
) -> Reach | None:
    """The days of an interface of an account; None if nothing is known, and nothing was asked for.

    asked: the ranges; of weeks or months only whole ones count.  endpoint: None if it is not
    installed.  now: a Unix time.
    """
    cut, known = endpoint.cut if endpoint else WindowKind.DAYS, calendar.span()
    spans = [*asked, known] if known else asked
    if not spans:
        return None
    last = last_legal_day(now)
    begin, end = min(first for first, _ in spans), min(max(until for _, until in spans), last)
    if begin > end:  # a clock was ahead
        return Reach(begin, b"")
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
        _read(letters, begin, calendar, endpoint, last)
    whole = union([days for each in asked if (days := whole_periods(each, cut))])
    for first, until in gaps(begin, end, whole):
        _replace(letters, begin, (first, until), _NOBODY_ASKED)
    if endpoint is not None and (first := first_not_due(endpoint, now)) <= end:
        _replace(letters, begin, (first, end), _DUE_LATER)
    return Reach(begin, bytes(letters))


def _read(
    letters: bytearray, begin: date, calendar: Calendar, endpoint: Endpoint, last: date
) -> None:
    """What follows for a day from its interface; last: the last day that can be requested."""
    cut, end = grid(endpoint, last), begin + (len(letters) - 1) * ONE_DAY
    if cut.cut is WindowKind.RECENT:
        for window in calendar.windows.values():
            if window.stored and not cut.gives(window.days):  # so it can change no more
                empty = GONE if window.state == "late" else EMPTY
                _fill(letters, begin, window.days, FINAL if window.tally.records else empty)
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


def _replace(letters: bytearray, first: date, days: Days, table: bytes) -> None:
    low, high = max((days[0] - first).days, 0), (days[1] - first).days + 1
    letters[low:high] = letters[low:high].translate(table)


def _fill(letters: bytearray, first: date, days: Days, letter: int) -> None:
    begin = max((days[0] - first).days, 0)
    end = min((days[1] - first).days + 1, len(letters))
    if begin < end:
        letters[begin:end] = bytes([letter]) * (end - begin)


class Found(NamedTuple):
    """One interface of one account; asked: the ranges, none if only its days are known."""

    key: Key
    asked: Ranges
    calendar: Calendar
    reach: Reach


async def reaches(
    ledger: Ledger,
    asked: Mapping[Key, Ranges],
    appids: Sequence[str],
    find: Find,
    now: float,
    only: Callable[[Key], bool] = lambda key: True,
) -> AsyncIterator[list[Found]]:
    """What was asked for or is known of each account, some of them in memory at a time.

    The interfaces of an account are in the order of their names.  asked: all that the ledger has.
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
                ranges = asked.get(key, ())
                reach = reach_of(calendar, ranges, find(key[1]), now)
                if reach is not None:
                    found.append(Found(key, ranges, calendar, reach))
            if found:
                yield found
