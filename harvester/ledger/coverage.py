"""The days of one interface of one account: one letter per day, and the open windows.

Rule: pure; a ledger stores what is decided here.

- A day is missing, final, empty (final without a record), open, waiting, failed or never: final,
  and what it must have was asked for again until the end of its schedule, and never came.
- A window that is stored and can still change is open: it has a row with its own tally.
- Sums count final windows only, by the year of their first day.  Nothing is ever subtracted.
- A window that is stored removes every open window that it overlaps; their other days become
  missing.  A final window is not written again: `reopen` makes it open first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from harvester.base.dates import ONE_DAY, Days, Grid
from harvester.model import Tally, Window

MISSING, FINAL, EMPTY, OPEN, WAITING, FAILED, NEVER = b".feowxn"
"""The letters, as numbers."""

STORED = bytes([FINAL, EMPTY, OPEN, NEVER])
KNOWN = bytes([FINAL, EMPTY, OPEN, WAITING, FAILED, NEVER])
DONE = bytes([FINAL, EMPTY, NEVER])
_MISSING_ONLY, _EMPTY = bytes([MISSING]), bytes([EMPTY])


class Outcome(NamedTuple):
    """The outcome of a window.

    state: ``final``, ``never`` (final, but days of ``empty`` lack what they must have), ``open``,
    ``late`` (open, and it lacks what it must have), ``waiting`` or ``failed``.
    tally: of its records, if it is stored.  empty: bit n is set if the n-th day has no record.
    due: the Unix time from which it is requested again.  detail, code, rid: why it is open, waits
    or failed; WeChat's errcode and request id if it gave them.  fetched_at: RFC 3339 in UTC; of one
    that failed: since when its interface of its account fails for this errcode, in milliseconds.
    tries: how often what a late one lacks was requested again; had: what a later answer must have,
    too (`harvester.wechat.late.had`).
    kind: of the cause for which it waits or failed (`harvester.report.causes.KINDS`); empty if that
    is not known: the first released version stored none.
    """

    window: Window
    state: str
    tally: Tally = Tally()
    empty: int = 0
    due: float = 0.0
    detail: str = ""
    code: int | None = None
    rid: str = ""
    fetched_at: str = ""
    tries: int = 0
    had: str = ""
    kind: str = ""


class OpenWindow(NamedTuple):
    """Days that are open, wait or failed, and why; fields as of `Outcome`."""

    begin: date
    end: date
    state: str
    tally: Tally = Tally()
    due: float = 0.0
    detail: str = ""
    code: int | None = None
    rid: str = ""
    fetched_at: str = ""
    tries: int = 0
    had: str = ""
    kind: str = ""

    @property
    def days(self) -> Days:
        return self.begin, self.end

    @property
    def stored(self) -> bool:
        return self.state in ("open", "late")

    @property
    def fails(self) -> bool:
        """Whether the last request for it failed for good, or WeChat refused it."""
        return self.state == "failed" or (self.stored and self.code is not None)


def stored_as(outcome: Outcome) -> OpenWindow:
    """A window as a calendar has it after this outcome, if that is open."""
    window = outcome.window
    return OpenWindow(window.begin, window.end, outcome.state, outcome.tally, *outcome[4:])


_LETTERS = {"open": OPEN, "late": OPEN, "waiting": WAITING, "failed": FAILED}


class Calendar:
    """The days of one interface of one account.

    years: one letter per day, by year; a year that is not there is missing.
    windows: open, waiting and failed ones by their first day; they do not overlap.
    sums: the tally of the final windows that begin in a year; None if it is not known.
    """

    __slots__ = ("sums", "windows", "years")

    def __init__(
        self,
        years: dict[int, bytearray] | None = None,
        windows: dict[date, OpenWindow] | None = None,
        sums: dict[int, Tally | None] | None = None,
    ) -> None:
        self.years = {} if years is None else years
        self.windows = {} if windows is None else windows
        self.sums = {} if sums is None else sums

    def __repr__(self) -> str:
        return f"<Calendar of {len(self.years)} years, {len(self.windows)} windows>"

    def apply(self, outcome: Outcome) -> None:
        _, _, begin, end = outcome.window
        if outcome.state in ("final", "never"):
            self._clear(begin, end)
            self._put_final(begin, end, outcome.empty, EMPTY if outcome.state == "final" else NEVER)
            known = self.sums.get(begin.year, Tally())
            self.sums[begin.year] = None if known is None else known.plus(outcome.tally)
        elif outcome.state in ("open", "late"):
            self._clear(begin, end)
            self._fill(begin, end, OPEN)
            self.windows[begin] = stored_as(outcome)
        else:
            self._put_unstored(outcome)

    def reopen(
        self,
        ranges: Iterable[Days],
        windows: Iterable[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        """Reopen final windows, and mark other final days of some ranges as missing.

        sums: of what stays final, of the years concerned.
        """
        for days in ranges:
            for first, last in list(self.runs(*days, DONE)):
                self._fill(first, last, MISSING)
        for window in windows:
            self._fill(window.begin, window.end, OPEN)
            self.windows[window.begin] = window
        self.sums.update(sums)

    def forget(self, ranges: Iterable[Days]) -> None:
        """Make stored days missing, where it is not known which windows they came in."""
        for days in ranges:
            self._forget(*days)

    def _forget(self, begin: date, end: date) -> None:
        around = date(begin.year - 1, 12, 31), begin
        reaches_back = list(self.runs(*around, DONE)) == [around]  # and was counted in that year
        self._clear(begin, end)
        for year in range(begin.year - reaches_back, end.year + 1):
            if year in self.years:
                self.sums[year] = None
        self._fill(begin, end, MISSING, only_where_known=True)

    def _put_final(self, begin: date, end: date, empty: int, letter: int) -> None:
        """letter: of the days whose bit is set."""
        if not empty:
            self._fill(begin, end, FINAL)
            return
        for number in range((end - begin).days + 1):
            day = begin + timedelta(days=number)
            self._year(day.year)[_place(day)] = letter if empty >> number & 1 else FINAL

    def _put_unstored(self, outcome: Outcome) -> None:
        """A window that waits or failed does not affect what is stored."""
        begin, end = outcome.window.begin, outcome.window.end
        detail, code, rid, kind = outcome.detail, outcome.code, outcome.rid, outcome.kind
        for first, old in self.windows.items():
            if old.stored and begin <= first and old.end <= end:
                self.windows[first] = old._replace(detail=detail, code=code, rid=rid, kind=kind)
        for first, last in self.runs(begin, end, bytes([MISSING, WAITING, FAILED])):
            self._clear(first, last)
            self._fill(first, last, _LETTERS[outcome.state])
            self.windows[first] = OpenWindow(first, last, outcome.state, Tally(), *outcome[4:])

    def _clear(self, begin: date, end: date) -> None:
        if not self.windows or not self._any_window(begin, end):
            return
        for old in [
            each for each in self.windows.values() if each.begin <= end and begin <= each.end
        ]:
            del self.windows[old.begin]
            if old.stored:
                self._fill(old.begin, old.end, MISSING)
                continue
            if old.begin < begin:
                self.windows[old.begin] = old._replace(end=begin - ONE_DAY)
            if end < old.end:
                self.windows[end + ONE_DAY] = old._replace(begin=end + ONE_DAY)

    def _any_window(self, begin: date, end: date) -> bool:
        return any(True for _ in self.runs(begin, end, bytes([OPEN, WAITING, FAILED])))

    def _year(self, year: int) -> bytearray:
        found = self.years.get(year)
        if found is None:
            found = self.years[year] = bytearray([MISSING]) * days_of(year)
        return found

    def _fill(self, begin: date, end: date, letter: int, *, only_where_known: bool = False) -> None:
        if begin == end and not only_where_known:
            self._year(begin.year)[_place(begin)] = letter
            return
        for year, low, high in _parts(begin, end):
            if not only_where_known or year in self.years:
                self._year(year)[low:high] = bytes([letter]) * (high - low)

    def holes(self, cut: Grid) -> list[Days]:
        """The empty days that must have a row, of an interface that has one for every day.

        Those that lie between two rows, and of the empty days before the first row those of the
        window next to it, all as windows of the grid: before it the account may not have existed.
        """
        if (rows := self.rows()) is None:
            return []
        first, last = rows
        yesterday = first - ONE_DAY
        before = list(self.runs(cut.whole(yesterday, yesterday)[0], yesterday, _EMPTY))[-1:]
        next_to_it = [days for days in before if days[1] == yesterday]
        between = [*next_to_it, *self.runs(first, last, _EMPTY)]
        return [window for days in between for window in cut.windows(*days)]

    def rows(self) -> Days | None:
        """From the first to the last day that has a record, as far as its letter shows that."""
        years = [year for year in sorted(self.years) if FINAL in self.years[year]]
        if not years:
            return None
        first, last = self.years[years[0]].find(FINAL), self.years[years[-1]].rfind(FINAL)
        return (
            date(years[0], 1, 1) + timedelta(first),
            date(years[-1], 1, 1) + timedelta(last),
        )

    @property
    def silent(self) -> bool:
        """Whether a day was never delivered, and no later day has a record."""
        for year in sorted(self.years, reverse=True):
            never, record = map(self.years[year].rfind, (NEVER, FINAL))
            if never != record:
                return never > record
        return False

    def runs(self, begin: date, end: date, letters: bytes) -> Iterator[Days]:
        """The runs of days that have one of these letters, in order."""
        first: date | None = None
        last = date.min
        for year, low, high in _parts(begin, end):
            row = self.years.get(year)
            if row is None:
                found: Iterable[tuple[int, int]] = [(low, high)] if MISSING in letters else []
            elif high - low == 1:
                found = [(low, high)] if row[low] in letters else []
            else:
                found = (match.span() for match in _pattern(letters).finditer(row, low, high))
            start = date(year, 1, 1).toordinal()
            for here, there in found:
                day = date.fromordinal(start + here)
                if first is not None and day != last + ONE_DAY:
                    yield first, last
                    first = None
                first = first or day
                last = date.fromordinal(start + there - 1)
        if first is not None:
            yield first, last

    def count(self, letters: bytes) -> int:
        return sum([sum(map(row.count, letters)) for row in self.years.values()])

    def count_in(self, begin: date, end: date, letters: bytes) -> int:
        found = 0
        for year, low, high in _parts(begin, end):
            row = self.years.get(year)
            if row is not None:
                found += sum([row.count(letter, low, high) for letter in letters])
            elif MISSING in letters:
                found += high - low
        return found

    def span(self) -> Days | None:
        """From the first to the last day with a known state."""
        years = sorted(self.years)
        known = (year for year in years if self.years[year].strip(_MISSING_ONLY))
        first = next(known, None)
        if first is None:
            return None
        last = next(year for year in reversed(years) if self.years[year].strip(_MISSING_ONLY))
        before = days_of(first) - len(self.years[first].lstrip(_MISSING_ONLY))
        number = len(self.years[last].rstrip(_MISSING_ONLY))
        return date(first, 1, 1) + timedelta(before), date(last, 1, 1) + timedelta(number - 1)

    def sum(self) -> Tally | None:
        """Of all final windows; None if it is not known."""
        total = Tally()
        for tally in self.sums.values():
            if tally is None:
                return None
            total = total.plus(tally)
        return total

    def stored_tally(self) -> Tally | None:
        total = self.sum()
        if total is None:
            return None
        for window in self.windows.values():
            if window.stored:
                total = total.plus(window.tally)
        return total


_PATTERNS: dict[bytes, re.Pattern[bytes]] = {}


def _pattern(letters: bytes) -> re.Pattern[bytes]:
    found = _PATTERNS.get(letters)
    if found is None:
        found = _PATTERNS[letters] = re.compile(b"[" + re.escape(letters) + b"]+")
    return found


def days_of(year: int) -> int:
    """How many days a year has."""
    return 366 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 365


def _place(day: date) -> int:
    return day.toordinal() - date(day.year, 1, 1).toordinal()


def _parts(begin: date, end: date) -> Iterator[tuple[int, int, int]]:
    """A range by year: the year, and from where to where in it."""
    for year in range(begin.year, end.year + 1):
        low = _place(begin) if year == begin.year else 0
        high = _place(end) + 1 if year == end.year else days_of(year)
        yield year, low, high


def packed(row: bytes | bytearray) -> str:
    """A year's letters in the ledger: one letter if all are the same."""
    text = row.decode("ascii")
    return text[0] if text == text[0] * len(text) else text


def unpacked(text: str, year: int) -> bytearray:
    """A year's letters from what was stored; raises `ValueError` for anything else."""
    row = bytearray(text.encode("ascii"))
    if len(row) == 1:
        row *= days_of(year)
    if len(row) != days_of(year) or row.translate(None, b".feowxn"):
        raise ValueError("a year's letters are damaged")
    return row
