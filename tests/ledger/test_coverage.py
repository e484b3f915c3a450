"""The calendar of an interface: against a naive model, and each rule of its module by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.base.dates import ONE_DAY, Days, Grid, WindowKind
from harvester.ledger import coverage
from harvester.ledger.coverage import (
    DONE,
    EMPTY,
    FAILED,
    FINAL,
    KNOWN,
    MISSING,
    NEVER,
    OPEN,
    STORED,
    WAITING,
    Calendar,
    OpenWindow,
    Outcome,
    days_of,
    packed,
    stored_as,
    unpacked,
)
from harvester.model import TALLY_BITS, Tally, Window
from tests.support import days

ALL = bytes([MISSING, FINAL, EMPTY, OPEN, WAITING, FAILED, NEVER])
LETTERS = {"open": OPEN, "late": OPEN, "waiting": WAITING, "failed": FAILED}
FIRST, LAST = date(2023, 1, 1), date(2026, 12, 31)


def day(text: str) -> date:
    return date.fromisoformat(text)


def window(first: str, last: str = "", appid: str = "wx1", endpoint: str = "one") -> Window:
    return Window(appid, endpoint, day(first), day(last or first))


def final(first: str, last: str = "", records: int = 1, empty: int = 0) -> Outcome:
    return Outcome(window(first, last), "final", Tally(records, 7 * records), empty)


def opened(first: str, last: str = "", records: int = 1, state: str = "open") -> Outcome:
    tally = Tally(records, 7 * records)
    return Outcome(window(first, last), state, tally, due=5.0, detail="it grows")


def unstored(first: str, last: str = "", state: str = "waiting") -> Outcome:
    return Outcome(window(first, last), state, due=9.0, detail="why", code=45009, rid="r")


def calendar_of(*outcomes: Outcome) -> Calendar:
    calendar = Calendar()
    for outcome in outcomes:
        calendar.apply(outcome)
    return calendar


def text(calendar: Calendar, first: str, last: str) -> str:
    """The letters of a range, one a day."""
    return "".join(letter_of(calendar, each) for each in days(day(first), day(last)))


def letter_of(calendar: Calendar, each: date) -> str:
    [found] = [one for one in ALL if list(calendar.runs(each, each, bytes([one])))]
    return chr(found)


# against a model


class Naive:
    """Each day by itself: its letter, and the window that it lies in.

    Pieces of a window that was cut are told apart by a day between them.
    """

    def __init__(self) -> None:
        self.of: dict[date, tuple[int, int]] = {}
        self.causes: dict[int, tuple[object, ...]] = {}
        self.sums: dict[int, Tally | None] = {}
        self.years: set[int] = set()

    def letter(self, each: date) -> int:
        return self.of.get(each, (MISSING, 0))[0]

    def put(self, these: list[date], letter: int, *cause: object) -> None:
        number = 0
        if cause:
            number = len(self.causes) + 1
            self.causes[number] = cause
        for each in these:
            self.of[each] = (letter, number)
            self.years.add(each.year)

    def clear(self, these: list[date]) -> None:
        """What was stored and could change is gone as a whole; of the rest these days are."""
        numbers = {self.of[each][1] for each in these if self.letter(each) == OPEN}
        gone = [each for each, (_, number) in self.of.items() if number and number in numbers]
        gone += [each for each in these if self.letter(each) in (WAITING, FAILED)]
        for each in gone:
            self.of[each] = (MISSING, 0)

    def apply(self, outcome: Outcome) -> None:
        begin, end = outcome.window.begin, outcome.window.end
        these = days(begin, end)
        why = (outcome.due, outcome.detail, outcome.code, outcome.rid, *outcome[8:])
        if outcome.state == "final":
            self.clear(these)
            for number, each in enumerate(these):
                self.put([each], EMPTY if outcome.empty >> number & 1 else FINAL)
            former = self.sums.get(begin.year, Tally())
            self.sums[begin.year] = None if former is None else former.plus(outcome.tally)
        elif outcome.state in ("open", "late"):
            self.clear(these)
            self.put(these, OPEN, outcome.state, outcome.tally, *why)
        else:
            for first, window in self.windows().items():
                if window.stored and begin <= first and window.end <= end:
                    number = self.of[first][1]
                    old = self.causes[number]
                    kept = (*old[6:], "", 0, "")[:3]
                    self.causes[number] = (*old[:3], *why[1:4], *kept, outcome.kind)
            free = [each for each in these if self.letter(each) in (MISSING, WAITING, FAILED)]
            for first, last in in_runs(free):
                self.put(days(first, last), LETTERS[outcome.state], outcome.state, Tally(), *why)

    def reopen(self, within: Days | None, opened: list[OpenWindow]) -> None:
        for each in days(*within) if within else ():
            if self.letter(each) in DONE:
                self.of[each] = (MISSING, 0)
        for one in opened:
            self.put(days(*one.days), OPEN, *one[2:])

    def forget(self, begin: date, end: date) -> None:
        these = days(begin, end)
        around = days(date(begin.year - 1, 12, 31), begin)
        may_reach_back = all(self.letter(each) in DONE for each in around)
        self.clear(these)
        for year in range(begin.year - may_reach_back, end.year + 1):
            if year in self.years:
                self.sums[year] = None
        for each in these:
            if each in self.of:
                self.of[each] = (MISSING, 0)

    def windows(self) -> dict[date, OpenWindow]:
        found: dict[date, OpenWindow] = {}
        before, number_before, first = date.min, 0, date.min
        for each in sorted(self.of):
            _, number = self.of[each]
            if number:
                if number != number_before or each != before + ONE_DAY:
                    first = each
                found[first] = OpenWindow(first, each, *self.causes[number])  # type: ignore[arg-type]
            before, number_before = each, number
        return found


def in_runs(these: list[date]) -> Iterator[Days]:
    """Sorted days as stretches."""
    first = last = None
    for each in these:
        if last is not None and each == last + ONE_DAY:
            last = each
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = each
    if first is not None and last is not None:
        yield first, last


BEGINS = st.sampled_from(["2023-12-24", "2024-02-22", "2024-12-22", "2025-02-22"]).flatmap(
    lambda near: st.integers(0, 14).map(lambda n: day(near) + timedelta(days=n))
)
LENGTHS = st.sampled_from([1, 1, 1, 2, 3, 7, 10, 40, 400])
RANGES = st.tuples(BEGINS, LENGTHS).map(
    lambda drawn: (drawn[0], drawn[0] + timedelta(drawn[1] - 1))
)
TALLIES = st.builds(Tally, st.integers(0, 50), st.integers(0, TALLY_BITS))


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    begin, end = draw(RANGES)
    state = draw(st.sampled_from(["final", "final", "open", "late", "waiting", "failed"]))
    place = Window("wx1", "one", begin, end)
    if state == "final":
        empty = draw(st.sampled_from([0, 0, 1, 2, 5, (1 << (end - begin).days + 1) - 1]))
        return Outcome(place, state, draw(TALLIES), empty)
    why = (
        draw(st.floats(0, 9)),
        draw(st.sampled_from(["a", "b"])),
        draw(st.sampled_from([None, 1])),
    )
    tally = draw(TALLIES) if state in ("open", "late") else Tally()
    kind = draw(st.sampled_from(["", "late", "quota"]))
    return Outcome(place, state, tally, 0, *why, draw(st.sampled_from(["", "r"])), kind=kind)


@pytest.mark.thorough
@settings(max_examples=150)
@given(st.data())
def test_a_calendar_is_what_a_list_of_days_would_be(data: st.DataObject) -> None:
    calendar, naive = Calendar(), Naive()
    for _ in range(data.draw(st.integers(1, 14), "steps")):
        step = data.draw(st.sampled_from(["apply"] * 8 + ["reopen", "forget"]), "step")
        if step == "apply":
            outcome = data.draw(outcomes(), "outcome")
            calendar.apply(outcome)
            naive.apply(outcome)
        elif step == "reopen":
            reopen(data, calendar, naive)
        else:
            begin, end = data.draw(RANGES, "range")
            calendar.forget([(begin, end)])
            naive.forget(begin, end)
        compare(calendar, naive)
    asked = data.draw(RANGES, "asked")
    letters = bytes(data.draw(st.sets(st.sampled_from(list(ALL)), min_size=1), "letters"))
    wanted = list(in_runs([each for each in days(*asked) if naive.letter(each) in letters]))
    assert list(calendar.runs(*asked, letters)) == wanted


def reopen(data: st.DataObject, calendar: Calendar, naive: Naive) -> None:
    """Windows of days that are final, some of them; the rest of the range becomes missing."""
    begin, end = data.draw(RANGES, "range")
    runs = list(in_runs([each for each in days(begin, end) if naive.letter(each) in DONE]))
    windows = [
        OpenWindow(first, last, "open", data.draw(TALLIES), 0.0, "--refresh")
        for first, last in runs
        if data.draw(st.booleans(), "opened")
    ]
    years = sorted(naive.years)
    sums = {year: data.draw(st.none() | TALLIES, "sum") for year in years[:2]}
    within = data.draw(st.sampled_from([None, (begin, end)]), "within")
    calendar.reopen([within] if within else (), windows, sums)
    naive.reopen(within, windows)
    naive.sums.update(sums)


def compare(calendar: Calendar, naive: Naive) -> None:
    assert calendar.years.keys() == naive.years
    for year, row in calendar.years.items():
        wanted = [naive.letter(each) for each in days(date(year, 1, 1), date(year, 12, 31))]
        assert list(row) == wanted
    assert calendar.windows == naive.windows()
    for year in calendar.sums.keys() | naive.sums.keys():
        assert calendar.sums.get(year, Tally()) == naive.sums.get(year, Tally())
    known = sorted(each for each in naive.of if naive.letter(each) != MISSING)
    assert calendar.span() == ((known[0], known[-1]) if known else None)
    for letters in (bytes([FINAL]), DONE, STORED, bytes([WAITING, FAILED])):
        assert calendar.count(letters) == sum(naive.letter(each) in letters for each in known)
    sums = naive.sums.values()
    total: Tally | None = Tally()
    for each in sums:
        total = None if total is None or each is None else total.plus(each)
    assert calendar.sum() == total
    if total is None:
        assert calendar.stored_tally() is None
        return
    for one in naive.windows().values():
        total = total.plus(one.tally)
    assert calendar.stored_tally() == total


# the days


def test_of_a_calendar_that_nothing_came_to_all_days_are_missing() -> None:
    calendar = Calendar()
    assert list(calendar.runs(FIRST, LAST, bytes([MISSING]))) == [(FIRST, LAST)]
    assert list(calendar.runs(FIRST, LAST, STORED)) == []
    assert (calendar.span(), calendar.sum(), calendar.count(ALL)) == (None, Tally(), 0)
    assert (calendar.years, calendar.windows, calendar.sums) == ({}, {}, {})


def test_a_calendar_shows_how_much_it_knows() -> None:
    calendar = calendar_of(opened("2023-12-31", "2024-01-01"), unstored("2024-02-01"))
    assert repr(calendar) == "<Calendar of 2 years, 2 windows>"


def test_letters_that_are_equal_are_counted_once() -> None:
    calendar = calendar_of(final("2024-01-01", "2024-01-03", empty=1), opened("2024-02-01"))
    assert (calendar.count(DONE), calendar.count(STORED)) == (3, 4)


@pytest.mark.parametrize(
    ("outcome", "letter"),
    [
        (final("2024-03-02"), "f"),
        (final("2024-03-02", records=0, empty=1), "e"),
        (opened("2024-03-02"), "o"),
        (opened("2024-03-02", state="late"), "o"),
        (unstored("2024-03-02"), "w"),
        (unstored("2024-03-02", state="failed"), "x"),
    ],
)
def test_a_day_has_the_letter_of_what_became_of_it(outcome: Outcome, letter: str) -> None:
    assert text(calendar_of(outcome), "2024-03-01", "2024-03-03") == f".{letter}."


def test_of_a_final_window_those_days_are_empty_whose_bit_is_set() -> None:
    calendar = calendar_of(final("2023-12-30", "2024-01-02", empty=0b0110))
    assert text(calendar, "2023-12-29", "2024-01-03") == ".feef."


def test_a_window_may_reach_over_a_year_and_over_a_leap_day() -> None:
    calendar = calendar_of(final("2022-12-31", "2024-03-01"))
    assert calendar.count(bytes([FINAL])) == 427
    assert calendar.span() == (day("2022-12-31"), day("2024-03-01"))


def test_a_calendar_is_made_of_what_was_stored() -> None:
    there = OpenWindow(day("2024-01-02"), day("2024-01-02"), "open", Tally(2, 2))
    row = bytearray(b"fo" + b"." * 364)
    calendar = Calendar({2024: row}, {there.begin: there}, {2024: Tally(1, 1)})
    assert text(calendar, "2024-01-01", "2024-01-03") == "fo."
    assert (calendar.sum(), calendar.stored_tally()) == (Tally(1, 1), Tally(3, 3))


@pytest.mark.parametrize("letters", [DONE, STORED, bytes([MISSING]), bytes([WAITING, FAILED])])
def test_letters_that_are_asked_for_first_are_found(
    letters: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "_PATTERNS", {})
    calendar = calendar_of(
        final("2024-01-01", "2024-01-02"), opened("2024-01-03"), unstored("2024-01-04")
    )
    asked = day("2024-01-01"), day("2024-01-05")
    wanted = [n for n, each in enumerate(b"ffow.") if each in letters]
    for _ in range(2):
        found = [each.day - 1 for run in calendar.runs(*asked, letters) for each in days(*run)]
        assert found == wanted
    assert letters in coverage._PATTERNS


def test_a_run_goes_on_over_the_turn_of_a_year() -> None:
    calendar = calendar_of(final("2023-12-31"), final("2024-01-01"), final("2024-01-03"))
    assert list(calendar.runs(FIRST, LAST, DONE)) == [
        (day("2023-12-31"), day("2024-01-01")),
        (day("2024-01-03"), day("2024-01-03")),
    ]


def test_a_run_ends_where_the_range_does() -> None:
    calendar = calendar_of(final("2024-01-01", "2024-12-31"))
    asked = day("2024-02-03"), day("2024-02-05")
    assert list(calendar.runs(*asked, DONE)) == [asked]
    assert list(calendar.runs(asked[0], asked[0], DONE)) == [(asked[0], asked[0])]
    assert list(calendar.runs(asked[0], asked[0], bytes([MISSING]))) == []


def test_a_year_of_which_nothing_is_known_lies_within_a_run_of_missing_days() -> None:
    calendar = calendar_of(final("2023-12-31"), final("2025-01-01"))
    asked = (day("2023-12-30"), day("2025-01-02"))
    assert list(calendar.runs(*asked, bytes([MISSING]))) == [
        (day("2023-12-30"), day("2023-12-30")),
        (day("2024-01-01"), day("2024-12-31")),
        (day("2025-01-02"), day("2025-01-02")),
    ]


@pytest.mark.parametrize(
    ("year", "number"), [(2023, 365), (2024, 366), (1900, 365), (2000, 366), (2100, 365)]
)
def test_a_year_has_as_many_days_as_in_the_calendar(year: int, number: int) -> None:
    assert days_of(year) == number == (date(year + 1, 1, 1) - date(year, 1, 1)).days


# what is open


def test_a_stored_window_that_can_change_is_kept_with_its_own_tally() -> None:
    days_ = day("2024-01-01"), day("2024-01-07")
    calendar = calendar_of(opened("2024-01-01", "2024-01-07", 3))
    [(first, found)] = calendar.windows.items()
    assert (first, found.days) == (days_[0], days_)
    assert found == OpenWindow(*days_, "open", Tally(3, 21), 5.0, "it grows")


@pytest.mark.parametrize(
    ("state", "stored"), [("open", True), ("late", True), ("waiting", False), ("failed", False)]
)
def test_only_what_is_open_or_late_is_stored(state: str, stored: bool) -> None:
    assert OpenWindow(FIRST, FIRST, state).stored is stored


def test_a_window_that_comes_again_takes_the_place_of_its_tally_and_of_its_reason() -> None:
    calendar = calendar_of(opened("2024-01-01", "2024-01-02", 3))
    calendar.apply(opened("2024-01-01", "2024-01-02", 4, "late")._replace(detail="late", due=0.0))
    [(_, found)] = calendar.windows.items()
    assert (found.state, found.tally, found.detail, found.due) == ("late", Tally(4, 28), "late", 0)


@pytest.mark.parametrize("state", ["open", "late", "final"])
@pytest.mark.parametrize(
    ("first", "last", "left"),
    [
        ("2024-01-08", "2024-01-12", ".....NNNNN......"),  # within
        ("2024-01-03", "2024-01-05", "NNN............."),  # its first day
        ("2024-01-15", "2024-01-18", "............NNNN"),  # its last day
        ("2024-01-03", "2024-01-18", "NNNNNNNNNNNNNNNN"),  # around it
        ("2024-01-05", "2024-01-15", "..NNNNNNNNNNN..."),  # itself
    ],
)
def test_what_is_stored_removes_the_open_windows_that_it_overlaps(
    state: str, first: str, last: str, left: str
) -> None:
    calendar = calendar_of(opened("2024-01-05", "2024-01-15"))
    calendar.apply(final(first, last) if state == "final" else opened(first, last, 2, state))
    new = "f" if state == "final" else "o"
    assert text(calendar, "2024-01-03", "2024-01-18") == left.replace("N", new)
    assert list(calendar.windows) == ([] if state == "final" else [day(first)])


def test_the_neighbours_of_a_window_stay_as_they_are() -> None:
    calendar = calendar_of(opened("2024-01-01", "2024-01-02"), opened("2024-01-04", "2024-01-05"))
    calendar.apply(final("2024-01-03"))
    assert text(calendar, "2024-01-01", "2024-01-05") == "oofoo"
    assert sorted(calendar.windows) == [day("2024-01-01"), day("2024-01-04")]


def test_several_windows_are_removed_at_once() -> None:
    calendar = calendar_of(
        opened("2023-12-30", "2024-01-01"),
        opened("2024-01-03"),
        unstored("2024-01-04", "2024-01-06"),
    )
    calendar.apply(opened("2024-01-01", "2024-01-05", 9))
    assert text(calendar, "2023-12-29", "2024-01-07") == "...ooooow."
    assert [each.days for _, each in sorted(calendar.windows.items())] == [
        (day("2024-01-01"), day("2024-01-05")),
        (day("2024-01-06"), day("2024-01-06")),
    ]


# what waits or failed


def test_what_waits_tells_why_and_until_when() -> None:
    calendar = calendar_of(unstored("2024-01-01", "2024-01-09"))
    days_ = day("2024-01-01"), day("2024-01-09")
    [found] = calendar.windows.values()
    assert found == OpenWindow(*days_, "waiting", Tally(), 9.0, "why", 45009, "r")


def test_what_waits_gives_way_to_what_is_stored_and_keeps_its_other_days() -> None:
    calendar = calendar_of(unstored("2024-01-01", "2024-01-09"), final("2024-01-04", "2024-01-05"))
    assert text(calendar, "2024-01-01", "2024-01-09") == "wwwffwwww"
    assert [each.days for each in calendar.windows.values()] == [
        (day("2024-01-01"), day("2024-01-03")),
        (day("2024-01-06"), day("2024-01-09")),
    ]
    assert {each.detail for each in calendar.windows.values()} == {"why"}


def test_what_failed_gives_way_to_what_waits() -> None:
    failed = unstored("2024-01-01", "2024-01-03", "failed")
    calendar = calendar_of(failed, unstored("2024-01-03", "2024-01-04"))
    assert text(calendar, "2024-01-01", "2024-01-04") == "xxww"
    assert [each.state for each in calendar.windows.values()] == ["failed", "waiting"]


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_what_waits_or_failed_takes_nothing_away_from_what_is_stored(state: str) -> None:
    calendar = calendar_of(final("2024-01-02"), opened("2024-01-04", "2024-01-05", 3))
    before = calendar.windows[day("2024-01-04")]
    calendar.apply(outcome := unstored("2024-01-01", "2024-01-06", state))
    new = {"waiting": "w", "failed": "x"}[state]
    assert text(calendar, "2024-01-01", "2024-01-06") == f"{new}f{new}oo{new}"
    why = {"detail": outcome.detail, "code": outcome.code, "rid": outcome.rid}
    assert calendar.windows[day("2024-01-04")] == before._replace(**why)
    assert calendar.stored_tally() == Tally(4, 28)


def test_of_an_open_window_that_was_not_got_again_only_the_reason_changes() -> None:
    days_ = "2024-01-01", "2024-01-02"
    calendar = calendar_of(opened(*days_, 3), unstored(*days_))
    [found] = calendar.windows.values()
    why = (5.0, "why", 45009, "r")
    assert found == OpenWindow(*map(day, days_), "open", Tally(3, 21), *why)
    assert text(calendar, *days_) == "oo"


def test_a_part_of_an_open_window_that_failed_changes_nothing() -> None:
    calendar = calendar_of(opened("2024-01-01", "2024-01-05", 3))
    before = dict(calendar.windows)
    calendar.apply(unstored("2024-01-01", "2024-01-03", "failed"))
    assert calendar.windows == before
    assert text(calendar, "2024-01-01", "2024-01-05") == "ooooo"


# sums


def test_sums_count_final_windows_by_the_year_of_their_first_day() -> None:
    calendar = calendar_of(
        final("2023-12-30", "2024-01-02", 3), final("2024-01-03", records=5), final("2024-01-04")
    )
    assert calendar.sums == {2023: Tally(3, 21), 2024: Tally(6, 42)}
    assert calendar.sum() == Tally(9, 63)


def test_sums_do_not_count_what_is_open() -> None:
    calendar = calendar_of(final("2024-01-01"), opened("2024-01-02", records=5))
    assert (calendar.sum(), calendar.stored_tally()) == (Tally(1, 7), Tally(6, 42))


def test_a_window_that_becomes_final_is_counted_once() -> None:
    calendar = calendar_of(final("2024-01-01"), opened("2024-01-02", records=5))
    calendar.apply(final("2024-01-02", records=6))
    assert calendar.sum() == calendar.stored_tally() == Tally(7, 49)


def test_what_waits_has_no_tally() -> None:
    calendar = calendar_of(unstored("2024-01-02")._replace(tally=Tally(5, 5)))
    assert calendar.stored_tally() == Tally()


def test_a_sum_that_is_not_known_stays_so() -> None:
    calendar = calendar_of(final("2024-01-01"))
    calendar.sums[2024] = None
    calendar.apply(final("2024-01-02"))
    calendar.apply(final("2023-01-02"))
    assert calendar.sums == {2024: None, 2023: Tally(1, 7)}
    assert (calendar.sum(), calendar.stored_tally()) == (None, None)


# opened again, forgotten


def test_to_reopen_makes_final_windows_open_and_the_rest_of_the_range_missing() -> None:
    calendar = calendar_of(final("2024-01-01", "2024-01-09", empty=1 << 7), opened("2024-01-11"))
    again = OpenWindow(day("2024-01-04"), day("2024-01-05"), "open", Tally(2, 2))
    calendar.reopen([(day("2024-01-03"), day("2024-01-20"))], [again], {2024: Tally(4, 4)})
    assert text(calendar, "2024-01-01", "2024-01-12") == "ff.oo.....o."
    assert calendar.windows[day("2024-01-04")] == again
    assert calendar.sums == {2024: Tally(4, 4)}


def test_to_reopen_without_a_range_leaves_what_is_final() -> None:
    calendar = calendar_of(final("2024-01-01", "2024-01-03"))
    calendar.reopen((), [OpenWindow(day("2024-01-02"), day("2024-01-02"), "open")], {})
    assert text(calendar, "2024-01-01", "2024-01-03") == "fof"
    assert calendar.sums == {2024: Tally(1, 7)}


def test_to_forget_makes_stored_days_missing_and_their_sums_unknown() -> None:
    calendar = calendar_of(
        final("2023-05-05"), final("2024-01-01", "2024-01-05"), opened("2024-01-06", "2024-01-08")
    )
    calendar.forget([(day("2024-01-04"), day("2024-01-06"))])
    assert text(calendar, "2024-01-01", "2024-01-08") == "fff....."
    assert calendar.sums == {2023: Tally(1, 7), 2024: None}
    assert calendar.windows == {}


def test_to_forget_what_was_never_known_leaves_no_trace() -> None:
    calendar = calendar_of(final("2024-01-01"))
    calendar.forget([(day("2021-01-01"), day("2023-12-31"))])
    assert (list(calendar.years), calendar.sums) == ([2024], {2024: Tally(1, 7)})


def test_to_forget_the_end_of_a_window_makes_the_sum_of_the_year_unknown_that_it_began_in() -> None:
    calendar = calendar_of(final("2023-12-30", "2024-01-02", 3))
    calendar.forget([(day("2024-01-01"), day("2024-01-31"))])
    assert text(calendar, "2023-12-30", "2024-01-02") == "ff.."
    assert calendar.sums == {2023: None, 2024: None}


# as it is stored


@pytest.mark.parametrize("letter", list(ALL))
def test_a_year_of_one_letter_is_stored_as_that_letter(letter: int) -> None:
    row = bytearray([letter]) * 366
    assert packed(row) == chr(letter)
    assert unpacked(packed(row), 2024) == row


@pytest.mark.thorough
@given(st.lists(st.sampled_from(list(ALL)), min_size=365, max_size=365).map(bytearray))
@settings(max_examples=20)
def test_a_year_comes_back_as_it_was_stored(row: bytearray) -> None:
    assert unpacked(packed(row), 2023) == row
    assert unpacked(packed(bytes(row)), 2023) == row


@pytest.mark.parametrize(
    ("stored", "year"),
    [
        ("", 2023),
        ("ff", 2023),
        ("f" * 365, 2024),
        ("f" * 366, 2023),
        ("z", 2023),
        ("F", 2023),
        ("f" * 364 + "-", 2023),
        ("f" * 364 + "\0", 2023),
        ("f" * 364 + "X", 2023),
        ("é", 2023),
    ],
)
def test_a_year_that_is_damaged_is_refused(stored: str, year: int) -> None:
    with pytest.raises(ValueError, match=r"^a year's letters are damaged$|codec can't encode"):
        unpacked(stored, year)


# counts


def test_counts_of_a_range_are_those_of_its_days() -> None:
    draw = random.Random(5)
    drawn = [date(2023, 12, 1) + ONE_DAY * n for n in range(430)]
    for _ in range(60):
        years: dict[int, bytearray] = {}
        for each in drawn:
            if each.year != 2024 or draw.random() < 0.9:
                row = years.setdefault(each.year, bytearray(b".") * days_of(each.year))
                row[(each - date(each.year, 1, 1)).days] = draw.choice(b"....feowx")
        if draw.random() < 0.3:
            years.pop(2024, None)
        calendar = Calendar(years)
        begin = draw.choice(drawn)
        end = begin + ONE_DAY * draw.randrange(200)
        for letters in (b".", b"fe", b"x", b".wx"):
            runs = list(calendar.runs(begin, end, letters))
            number = sum((last - one).days + 1 for one, last in runs)
            assert calendar.count_in(begin, end, letters) == number
        known = list(calendar.runs(date(2020, 1, 1), date(2027, 1, 1), KNOWN))
        assert calendar.span() == ((known[0][0], known[-1][1]) if known else None)
        assert (end - begin).days + 1 == calendar.count_in(begin, end, KNOWN + b".")


# what must have a row


SEVEN = Grid(WindowKind.DAYS, 7, date(2024, 1, 1), LAST)


def test_rows_reach_from_the_first_to_the_last_final_day_with_a_record() -> None:
    assert Calendar().rows() is None
    assert calendar_of(final("2024-01-02", empty=1), opened("2024-01-04")).rows() is None
    made = calendar_of(final("2023-12-30", "2024-01-02", empty=0b1001), final("2025-03-04"))
    assert made.rows() == (day("2023-12-31"), day("2025-03-04"))


def test_holes_are_empty_days_between_rows_as_windows_of_the_grid() -> None:
    empty = final("2024-01-05", "2024-01-16", 0, (1 << 12) - 1)
    made = calendar_of(final("2024-01-01", "2024-01-04"), empty, final("2024-01-17"))
    assert made.holes(SEVEN) == [
        (day("2024-01-05"), day("2024-01-07")),
        (day("2024-01-08"), day("2024-01-14")),
        (day("2024-01-15"), day("2024-01-16")),
    ]
    made.apply(final("2024-01-18", "2024-01-20", 0, 0b111))  # no row is behind them
    assert len(made.holes(SEVEN)) == 3
    assert calendar_of(empty).holes(SEVEN) == []


@pytest.mark.parametrize(
    ("first", "holes"),
    [
        ("2024-01-18", [("2024-01-15", "2024-01-17")]),
        ("2024-01-15", [("2024-01-08", "2024-01-14")]),
        ("2024-01-16", [("2024-01-15", "2024-01-15")]),
    ],
)
def test_before_the_first_row_only_the_window_next_to_it_is_a_hole(
    first: str, holes: list[tuple[str, str]]
) -> None:
    last = day(first) - ONE_DAY
    number = (last - day("2024-01-01")).days + 1
    empty = final("2024-01-01", str(last), 0, (1 << number) - 1)
    made = calendar_of(empty, final(first, "2024-01-31"))
    assert made.holes(SEVEN) == [(day(begin), day(end)) for begin, end in holes]
    made = calendar_of(final("2024-01-01", "2024-01-02", 0, 0b11), final(first, "2024-01-31"))
    assert made.holes(SEVEN) == []  # what is missing between them is asked for anyhow


def test_what_never_came_is_final_and_is_no_hole() -> None:
    never = Outcome(window("2024-01-02", "2024-01-03"), "never", Tally(), 0b11)
    made = calendar_of(final("2024-01-01"), never, final("2024-01-04"))
    assert made.years[2024][:4] == bytes([FINAL, NEVER, NEVER, FINAL])
    assert made.holes(SEVEN) == []
    assert made.windows == {}
    assert made.sums[2024] == Tally(2, 14)
    some = Outcome(window("2024-02-01"), "never", Tally(3, 9), 0b1)
    made.apply(some)
    assert (made.years[2024][31], made.sums[2024]) == (NEVER, Tally(5, 23))


def test_an_outcome_is_stored_with_all_that_is_known_of_it() -> None:
    outcome = Outcome(
        window("2024-01-02", "2024-01-03"), "late", Tally(1, 2), 3, 4.0, "why", 5, "r", "at", 6, "h"
    )
    assert stored_as(outcome) == OpenWindow(
        day("2024-01-02"), day("2024-01-03"), "late", Tally(1, 2), 4.0, "why", 5, "r", "at", 6, "h"
    )
    assert calendar_of(outcome).windows == {day("2024-01-02"): stored_as(outcome)}
