"""Calendars and commits as rows of tables, the same in every ledger.

Rule: pure; a ledger has the statements.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, Self

from harvester.codec import encode, parse_small
from harvester.coverage import Calendar, OpenWindow, Outcome, joined, packed, unpacked
from harvester.ledger.base import Key, Spent
from harvester.model import Tally, Window

Row = tuple[Any, ...]
Calls = Counter[tuple[str, str, str]]
"""Calls by account, interface and day."""


def journal_entry(outcomes: Sequence[Outcome], spent: Iterable[Spent] = ()) -> str:
    """A commit as text."""
    entry = {
        "outcomes": [_encoded(each) for each in joined(outcomes)],
        "spent": [(appid, name, day.isoformat(), calls) for appid, name, day, calls in spent],
    }
    return encode(entry).decode()


def journal_rows(outcomes: Sequence[Outcome]) -> Iterator[Row]:
    """The same as rows.

    A row: account, interface, first and last day as ordinals, state, records, checksum, empty days
    as hexadecimal digits, and the rest of an outcome as JSON.
    """
    for each in joined(outcomes):
        row = _encoded(each)
        rest = encode(row[8:]).decode() if len(row) > 8 else ""
        yield (*row[:8], rest)


def _encoded(outcome: Outcome) -> list[Any]:
    (appid, name, begin, end), state, (records, checksum), empty, *why = outcome
    first, last = begin.toordinal(), end.toordinal()
    found: list[Any] = [appid, name, first, last, state, records, checksum, f"{empty:x}"]
    return found if state == "final" else [*found, *why]


def _decoded(row: Sequence[Any]) -> Outcome:
    appid, name, first, last, state, records, checksum, empty, *why = row
    window = Window(appid, name, date.fromordinal(first), date.fromordinal(last))
    return Outcome(window, state, Tally(records, checksum), int(empty, 16), *why)


class Journal:
    """Commits that are not merged into the calendars yet.

    outcomes: by account and interface, in order.  spent: calls by account, interface and day.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
        self.spent: Calls = Counter()

    @classmethod
    def of_entries(cls, entries: Iterable[str]) -> Self:
        """From what `journal_entry` has made."""
        journal = cls()
        for text in entries:
            entry = parse_small(text.encode())
            for row in entry["outcomes"]:
                journal._add(row)
            for appid, name, day, calls in entry["spent"]:
                journal.spent[appid, name, day] += calls
        return journal

    @classmethod
    def of_rows(cls, rows: Iterable[Row]) -> Self:
        """From what `journal_rows` has made."""
        journal = cls()
        for *row, rest in rows:
            journal._add([*row, *(parse_small(rest.encode()) if rest else ())])
        return journal

    def _add(self, row: Sequence[Any]) -> None:
        outcome = _decoded(row)
        self.outcomes[outcome.window.appid][outcome.window.endpoint].append(outcome)

    def apply(self, calendars: dict[Key, Calendar], appids: Iterable[str]) -> None:
        """Bring what is known of these accounts up to date."""
        for appid in appids:
            for name, came in self.outcomes.get(appid, {}).items():
                calendar = calendars.setdefault((appid, name), Calendar())
                for outcome in came:
                    calendar.apply(outcome)


def calendars_of(years: Iterable[Row], windows: Iterable[Row]) -> dict[Key, Calendar]:
    """Calendars from their rows.

    years: account, interface, year, letters, records and checksum (or None).
    windows: account, interface, first and last day as text, state, records, checksum, and the rest
    of an `OpenWindow`.  Raises `ValueError` for what no ledger has written.
    """
    found: defaultdict[Key, Calendar] = defaultdict(Calendar)
    for appid, name, year, days, records, checksum in years:
        calendar = found[appid, name]
        calendar.years[year] = unpacked(days, year)
        calendar.sums[year] = None if records is None else Tally(records, checksum)
    for appid, name, first, last, state, records, checksum, *why in windows:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
        window = OpenWindow(begin, end, state, Tally(records, checksum), *why)
        found[appid, name].windows[begin] = window
    return dict(found)


class Before(NamedTuple):
    """What a calendar was before it changed."""

    years: Mapping[int, bytes]
    sums: Mapping[int, Tally | None]
    windows: Mapping[date, OpenWindow]

    @classmethod
    def of(cls, calendar: Calendar) -> Before:
        """A copy of what a calendar is now."""
        years = {year: bytes(row) for year, row in calendar.years.items()}
        return cls(years, dict(calendar.sums), dict(calendar.windows))

    def years_of(self, calendar: Calendar) -> list[Row]:
        """The years that changed: the year, its letters, records and checksum."""
        changed: list[Row] = []
        for year, row in calendar.years.items():
            tally = calendar.sums.get(year, Tally())
            if self.years.get(year) != bytes(row) or self.sums.get(year, Tally()) != tally:
                changed.append((year, packed(row), *(tally or (None, None))))
        return changed

    def gone_of(self, calendar: Calendar) -> list[str]:
        """The first days of windows that are not open any more."""
        return [str(first) for first in self.windows.keys() - calendar.windows.keys()]

    def windows_of(self, calendar: Calendar) -> list[Row]:
        """The windows that are new or changed."""
        return [
            (str(w.begin), str(w.end), w.state, *w.tally, *w[4:])
            for first, w in calendar.windows.items()
            if self.windows.get(first) != w
        ]
