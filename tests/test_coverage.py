"""Stretches of days that merge as they meet, against a model that knows one day at a time."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.codec import add_checksums
from harvester.coverage import (
    DONE,
    FAILED,
    WAITING,
    Stretch,
    harvested,
    lay,
    overlay,
    replaced,
    together,
)

PROPERTY = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=150
)

FIRST = date(2020, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def done(begin: int, end: int, records: int = 1, checksum: int = 1) -> Stretch:
    return harvested((day(begin), day(end)), records, checksum)


def other(begin: int, end: int, state: str = FAILED, detail: str = "x") -> Stretch:
    return Stretch(day(begin), day(end), state, detail=detail)


def put(stored: Sequence[Stretch], new: Stretch) -> list[Stretch]:
    """What a ledger does: the stretches that overlap or touch give way to what is laid."""
    near = [
        old
        for old in stored
        if old.begin <= new.end + timedelta(days=1) and old.end + timedelta(days=1) >= new.begin
    ]
    return sorted([*(old for old in stored if old not in near), *lay(near, new)])


class Naive:
    """Every day by itself: its state, its reason, whether it is empty."""

    def __init__(self) -> None:
        self.days: dict[date, tuple[str, str, bool]] = {}
        self.laid: list[Stretch] = []

    def put(self, new: Stretch) -> None:
        if new.state == DONE:
            self.laid.append(new)
        for number in range(new.days):
            at = new.begin + timedelta(days=number)
            if new.state == DONE or self.days.get(at, ("",))[0] != DONE:
                self.days[at] = (new.state, new.detail, bool(new.empty >> number & 1))

    def figures(self, stretch: Stretch) -> tuple[int, int]:
        """Records and checksum of all that was laid within a stretch."""
        within = [new for new in self.laid if stretch.begin <= new.begin <= stretch.end]
        checksum = 0
        for new in within:
            checksum = add_checksums(checksum, new.checksum)
        return sum(new.records for new in within), checksum


def by_day(stored: Sequence[Stretch]) -> dict[date, tuple[str, str, bool]]:
    return {
        old.begin + timedelta(days=n): (old.state, old.detail, bool(old.empty >> n & 1))
        for old in stored
        for n in range(old.days)
    }


@st.composite
def new_stretches(draw: st.DrawFn) -> Stretch:
    begin = draw(st.integers(0, 30))
    end = begin + draw(st.integers(0, 6))
    state = draw(st.sampled_from([DONE, DONE, WAITING, FAILED]))
    if state != DONE:
        return other(begin, end, state, draw(st.sampled_from(["x", "y"])))
    records = draw(st.integers(0, 3))
    return done(begin, end, records, draw(st.integers(0, 2**63 - 1)) if records else 0)


SEQUENCES = st.lists(new_stretches(), max_size=25)


def stored_after(sequence: Sequence[Stretch]) -> list[Stretch]:
    stored: list[Stretch] = []
    for new in sequence:
        stored = put(stored, new)
    return stored


@given(SEQUENCES)
@PROPERTY
def test_every_day_is_in_the_state_that_a_naive_model_has(sequence: list[Stretch]) -> None:
    naive = Naive()
    for new in sequence:
        naive.put(new)
    assert by_day(stored_after(sequence)) == naive.days


@given(SEQUENCES)
@PROPERTY
def test_counts_and_checksums_are_those_of_all_that_was_laid(sequence: list[Stretch]) -> None:
    naive = Naive()
    for new in sequence:
        naive.put(new)
    for stretch in stored_after(sequence):
        expected = naive.figures(stretch) if stretch.state == DONE else (0, 0)
        assert (stretch.records, stretch.checksum) == expected


@given(SEQUENCES)
@PROPERTY
def test_stretches_are_ordered_apart_and_as_long_as_they_can_be(sequence: list[Stretch]) -> None:
    stored = stored_after(sequence)
    assert stored == sorted(stored)
    for one, following in pairwise(stored):
        assert one.end < following.begin
        alike = (one.state, one.detail) == (following.state, following.detail)
        assert not (alike and one.end + timedelta(days=1) == following.begin)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**63 - 1)), min_size=1, max_size=20))
@PROPERTY
def test_joining_neighbours_first_gives_the_same_as_laying_each(
    windows: list[tuple[int, int]],
) -> None:
    single = [done(n, n, records, checksum) for n, (records, checksum) in enumerate(windows)]
    assert together(single[::-1]) == stored_after(single)


@given(SEQUENCES)
@PROPERTY
def test_all_together_are_the_same_as_each_laid_over_those_before(
    sequence: list[Stretch],
) -> None:
    assert together(sequence) == stored_after(sequence)


@given(SEQUENCES, SEQUENCES)
@PROPERTY
def test_what_came_together_can_be_laid_over_what_was_stored(
    former: list[Stretch], later: list[Stretch]
) -> None:
    stored = stored_after(former)
    for stretch in together(later):
        overlay(stored, stretch)
    assert stored == stored_after(former + later)


def test_a_harvested_window_without_records_is_empty_on_all_its_days() -> None:
    stretch = done(0, 2, 0, 0)
    assert (stretch.days, stretch.empty, stretch.empty_days) == (3, 0b111, 3)


def test_a_harvested_window_with_records_is_empty_on_none_of_its_days() -> None:
    assert done(0, 2, 1, 5).empty_days == 0


def test_harvested_neighbours_become_one() -> None:
    assert lay([done(0, 0, 2, 10)], done(1, 1, 3, 20)) == [
        Stretch(day(0), day(1), DONE, 5, 30, 0b00)
    ]


def test_a_window_between_two_stretches_joins_them() -> None:
    assert lay([done(0, 1, 0, 0), done(3, 4, 1, 7)], done(2, 2, 0, 0)) == [
        Stretch(day(0), day(4), DONE, 1, 7, 0b00111)
    ]


def test_a_day_that_is_harvested_again_is_as_empty_as_it_was_found_now() -> None:
    stored = lay([done(0, 2, 0, 0)], done(1, 1, 1, 7))
    assert [stretch.empty for stretch in stored] == [0b101]
    stored = lay(stored, done(2, 2, 0, 0))
    assert [stretch.empty for stretch in stored] == [0b101]


def test_harvested_days_take_the_place_of_failed_ones() -> None:
    assert lay([other(0, 4)], done(2, 2, 1, 7)) == [other(0, 1), done(2, 2, 1, 7), other(3, 4)]


def test_a_failure_takes_nothing_from_what_is_harvested() -> None:
    assert lay([done(2, 2, 1, 7)], other(0, 4)) == [other(0, 1), done(2, 2, 1, 7), other(3, 4)]


def test_a_later_reason_takes_the_place_of_a_former_one() -> None:
    assert lay([other(0, 4, FAILED)], other(1, 2, WAITING)) == [
        other(0, 0, FAILED),
        other(1, 2, WAITING),
        other(3, 4, FAILED),
    ]


def test_the_same_reason_on_neighbouring_days_is_told_once() -> None:
    assert lay([other(0, 0), other(2, 2)], other(1, 1)) == [other(0, 2)]


def test_reasons_that_differ_in_their_request_ids_only_are_told_once() -> None:
    before, after = other(0, 0, FAILED, "busy [rid: 1-2]"), other(1, 1, FAILED, "busy [rid: 3-4]")
    assert lay([before], after) == [other(0, 1, FAILED, "busy [rid: 1-2]")]


def test_another_reason_on_neighbouring_days_is_told_apart() -> None:
    assert lay([other(0, 0, FAILED, "x")], other(1, 1, FAILED, "y")) == [
        other(0, 0, FAILED, "x"),
        other(1, 1, FAILED, "y"),
    ]


def test_what_was_replaced_is_taken_away_from_the_figures() -> None:
    stored = lay([done(0, 2, 6, 60)], replaced(done(1, 1, 3, 25), 2, 20))
    assert [(stretch.records, stretch.checksum) for stretch in stored] == [(7, 65)]


def test_replacing_by_less_wraps_the_checksum_and_not_the_count() -> None:
    new = replaced(done(0, 0, 1, 5), 3, 7)
    assert (new.records, new.checksum) == (-2, 2**63 - 2)
    assert lay([done(0, 0, 3, 7)], new) == [done(0, 0, 1, 5)]


def test_ten_years_of_days_are_one_stretch() -> None:
    [stretch] = together([done(n, n, n % 2, n % 2) for n in range(3650)])
    assert (stretch.days, stretch.records, stretch.empty_days) == (3650, 1825, 1825)


def test_nothing_together_is_nothing() -> None:
    assert together([]) == []
