"""Calendars and commits as rows of tables, the same in every ledger.

Rule: pure; a ledger has the statements.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, Self

from harvester.base.codec import TALLY_BITS, encode, parse_small
from harvester.ledger.base import Key, Spent
from harvester.ledger.coverage import Calendar, OpenWindow, Outcome, packed, unpacked
from harvester.model import Tally, Window
from harvester.texts import pack, unpack

Row = tuple[Any, ...]
Calls = Counter[tuple[str, str, str]]
"""Calls by account, interface and day."""


def journal_entry(outcomes: Sequence[Outcome], spent: Iterable[Spent] = ()) -> str:
    """A commit as text."""
    # one object for all accounts: an array for each would be longer, and more objects to free
    calls: defaultdict[tuple[str, date], Counter[str]] = defaultdict(Counter)
    for appid, name, day, number in spent:
        calls[name, day][appid] += number
    of_days = [(name, day.isoformat(), each) for (name, day), each in calls.items()]
    return _entry(as_rows(outcomes), of_days)


def journal_entries(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The same for each account, without calls."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in as_rows(outcomes):
        found[row[0]].append(row)
    return {appid: _entry(rows, ()) for appid, rows in found.items()}


def _entry(rows: Sequence[Row], spent: Sequence[Row]) -> str:
    return encode({"outcomes": rows, "spent": spent}).decode()


_FINAL = 8
"""Values in the row of a final window."""


def as_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """The outcomes of a commit as rows, adjacent final windows merged.

    A row: account, interface, first and last day as ordinals, state, records, checksum, empty days
    as hexadecimal digits; then, if it is not final, the rest of an `Outcome`.  Rows that are not
    final come first: a final window replaces one that was late or waiting before.
    """
    finals = [
        (appid, name, begin.toordinal(), end.toordinal(), "final", records, checksum,
         f"{empty:x}" if (empty := each[3]) else "0")
        for each in outcomes
        if each[1] == "final"
        # both in one plain tuple: to unpack two named ones takes twice as long
        for appid, name, begin, end, records, checksum in (each[0] + each[2],)
    ]  # fmt: skip
    if len(finals) == len(outcomes):
        return joined(finals)
    others = [
        (*_days(each.window), each.state, *each.tally, f"{each.empty:x}", *_kept(each[4:]))
        for each in outcomes
        if each.state != "final"
    ]
    return [*others, *joined(finals)]


def _kept(why: Sequence[Any]) -> Row:
    """What an `Outcome` has from ``due`` on, its ``detail`` as a ledger keeps it."""
    due, detail, *rest = why
    return due, pack(detail), *rest


def _read(why: Sequence[Any]) -> Row:
    due, detail, *rest = why or (0.0, "")
    return due, unpack(detail), *rest


def _days(window: Window) -> tuple[str, str, int, int]:
    return window.appid, window.endpoint, window.begin.toordinal(), window.end.toordinal()


def as_outcome(row: Sequence[Any]) -> Outcome:
    """The outcome of a row."""
    appid, name, first, last, state, records, checksum, empty, *why = row
    window = Window(appid, name, date.fromordinal(first), date.fromordinal(last))
    return Outcome(window, state, Tally(records, checksum), int(empty, 16), *_read(why))


def joined(finals: Iterable[Row]) -> list[Row]:
    """Merge adjacent final windows within a year: each year has its own sum."""
    found: list[Row] = []
    whose = what = ""
    begin = after = year_ends = bits = records = checksum = 0
    several = False  # the last row of the result is to be made of several
    for row in sorted(finals):
        appid, name, first, last, _, more, others_checksum, empty = row
        if first == after and appid == whose and name == what:
            if not several:
                year_ends = date(date.fromordinal(begin).year, 12, 31).toordinal()
            if first <= year_ends:
                if not several:
                    bits, several = int(found[-1][7], 16), True
                if empty != "0":
                    bits |= int(empty, 16) << (first - begin)
                records += more
                checksum += others_checksum
                after = last + 1
                continue
        if several:
            found[-1] = _merged(found[-1], after - 1, records, checksum, bits)
        found.append(row)
        whose, what, begin, after, several = appid, name, first, last + 1, False
        records, checksum = more, others_checksum
    if several:
        found[-1] = _merged(found[-1], after - 1, records, checksum, bits)
    return found


def _merged(first: Row, end: int, records: int, checksum: int, bits: int) -> Row:
    return (*first[:3], end, first[4], records, checksum & TALLY_BITS, f"{bits:x}")


class Journal:
    """Commits that are not merged into the calendars yet.

    rows: as of `as_rows`, by account and interface, in order.  spent: calls by account, interface
    and day.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        self.spent: Calls = Counter()

    @classmethod
    def of_entries(cls, entries: Iterable[str]) -> Self:
        """Parse results of `journal_entry` and `journal_entries`."""
        journal = cls()
        for text in entries:
            entry = parse_small(text.encode())
            for row in entry["outcomes"]:
                journal.rows[row[0]][row[1]].append(row)
            for name, day, calls in entry["spent"]:
                for appid, number in calls.items():
                    journal.spent[appid, name, day] += number
        return journal

    def keys(self, appids: Iterable[str]) -> list[Key]:
        return [(appid, name) for appid in appids for name in self.rows.get(appid, ())]

    def apply(self, calendars: dict[Key, Calendar], appids: Iterable[str]) -> None:
        for key in self.keys(appids):
            self.apply_to(key, calendars.setdefault(key, Calendar()))

    def apply_to(self, key: Key, calendar: Calendar) -> None:
        appid, name = key
        rows = self.rows[appid][name]
        if all([len(row) == _FINAL for row in rows]):
            rows = joined(rows)
        for row in rows:
            calendar.apply(as_outcome(row))


def calendars_of(years: Iterable[Row], windows: Iterable[Row]) -> dict[Key, Calendar]:
    """Calendars from their rows.

    years: account, interface, year, letters, records and checksum (or None).
    windows: account, interface, both as numbers, first and last day as text, state, records,
    checksum, and the rest of an `OpenWindow`; the first released version has no kind.  Raises
    `ValueError` for values that a ledger does not write.
    """
    found: defaultdict[Key, Calendar] = defaultdict(Calendar)
    for appid, name, year, days, records, checksum in years:
        calendar = found[appid, name]
        calendar.years[year] = unpacked(days, year)
        calendar.sums[year] = None if records is None else Tally(records, checksum)
    for appid, name, _, _, first, last, state, records, checksum, *why in windows:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
        window = OpenWindow(begin, end, state, Tally(records, checksum), *_read(why))
        found[appid, name].windows[begin] = window
    return dict(found)


class Before(NamedTuple):
    """The state of a calendar before it changed."""

    years: Mapping[int, bytes]
    sums: Mapping[int, Tally | None]
    windows: Mapping[date, OpenWindow]

    @classmethod
    def of(cls, calendar: Calendar) -> Before:
        years = {year: bytes(row) for year, row in calendar.years.items()}
        return cls(years, dict(calendar.sums), dict(calendar.windows))

    def years_of(self, calendar: Calendar) -> list[Row]:
        """The changed years: the year, its letters, records and checksum."""
        changed: list[Row] = []
        for year, row in calendar.years.items():
            tally = calendar.sums.get(year, Tally())
            if self.years.get(year) != bytes(row) or self.sums.get(year, Tally()) != tally:
                changed.append((year, packed(row), *(tally or (None, None))))
        return changed

    def gone_of(self, calendar: Calendar) -> list[str]:
        """The first days of windows that are no longer open."""
        return [str(first) for first in self.windows.keys() - calendar.windows.keys()]

    def windows_of(self, calendar: Calendar) -> list[Row]:
        return [
            (str(w.begin), str(w.end), w.state, *w.tally, *_kept(w[4:]))
            for first, w in calendar.windows.items()
            if self.windows.get(first) != w
        ]


NOTHING = Before({}, {}, {})
"""Of a calendar that was not stored."""


def changes(
    changed: Iterable[tuple[Key, Calendar, Before]],
    accounts: Mapping[str, int],
    interfaces: Mapping[str, int],
) -> tuple[list[Row], list[Row], list[Row]]:
    """The changes of calendars to write: years, removed windows, added windows.

    Each row begins with the numbers of its account and interface.
    """
    years: list[Row] = []
    gone: list[Row] = []
    came: list[Row] = []
    for (appid, name), calendar, before in changed:
        ids = accounts[appid], interfaces[name]
        years += [(*ids, *row) for row in before.years_of(calendar)]
        gone += [(*ids, first) for first in before.gone_of(calendar)]
        came += [(*ids, *row) for row in before.windows_of(calendar)]
    return years, gone, came
