"""Outcomes as rows of a ledger, and what a journal of them does to calendars."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.base.dates import Days
from harvester.ledger.coverage import Calendar, Outcome
from harvester.ledger.encoding import Journal, as_outcome, as_rows, journal_entries, journal_entry
from harvester.model import Tally, Window
from tests.ledger.test_coverage import (
    RANGES,
    calendar_of,
    final,
    opened,
    outcomes,
    text,
    unstored,
    window,
)


def through_rows(came: Sequence[Outcome]) -> list[Outcome]:
    return [*map(as_outcome, as_rows(came))]


def test_final_windows_that_are_neighbours_are_joined() -> None:
    found = through_rows([final("2024-01-02", records=2), final("2024-01-01"), final("2024-01-03")])
    assert found == [Outcome(window("2024-01-01", "2024-01-03"), "final", Tally(4, 28))]


def test_the_bits_of_empty_days_move_with_their_window() -> None:
    [found] = through_rows(
        [
            final("2024-01-01", "2024-01-03", empty=0b100),
            final("2024-01-04", "2024-01-05", empty=0b10),
        ]
    )
    assert found.empty == 0b10100


@pytest.mark.parametrize(
    "other",
    [
        final("2024-01-03"),  # a day lies between
        final("2024-01-01"),  # the same day
        final("2024-01-02")._replace(window=window("2024-01-02", appid="wx2")),
        final("2024-01-02")._replace(window=window("2024-01-02", endpoint="two")),
    ],
)
def test_windows_that_are_no_neighbours_are_not_joined(other: Outcome) -> None:
    assert through_rows([final("2024-01-01"), other]) == [final("2024-01-01"), other]


def test_windows_are_joined_within_a_year_only() -> None:
    came = [final("2023-12-30"), final("2023-12-31"), final("2024-01-01"), final("2024-01-02")]
    assert [each.window for each in through_rows(came)] == [
        window("2023-12-30", "2023-12-31"),
        window("2024-01-01", "2024-01-02"),
    ]


def test_others_stay_as_they_are_in_their_order_and_come_first() -> None:
    others = [opened("2024-01-03"), unstored("2024-01-02"), opened("2024-01-04", state="late")]
    found = through_rows([others[0], final("2024-01-01"), *others[1:]])
    assert found == [*others, final("2024-01-01")]


def test_of_nothing_nothing_is_joined() -> None:
    assert as_rows([]) == []


def test_a_window_that_was_late_and_is_final_in_one_commit_is_final_and_counted_once() -> None:
    calendar = calendar_of(
        *through_rows([opened("2024-01-01", records=3, state="late"), final("2024-01-01")])
    )
    assert (text(calendar, "2024-01-01", "2024-01-01"), calendar.windows) == ("f", {})
    assert calendar.stored_tally() == Tally(1, 7)


@pytest.mark.thorough
@settings(max_examples=100)
@given(st.lists(RANGES, max_size=12), st.integers(0, 12), st.integers(0, 12), st.data())
def test_a_journal_makes_of_a_calendar_what_the_windows_would(
    ranges: list[Days], one: int, other: int, data: st.DataObject
) -> None:
    """Joined in a commit, and over commits, in both forms of a journal."""
    apart: list[Days] = []
    for begin, end in ranges:
        if all(last < begin or end < first for first, last in apart):
            apart.append((begin, end))
    came = [
        data.draw(outcomes())._replace(window=Window("wx1", "one", *each), empty=0)
        for each in apart
    ]
    wanted = calendar_of(*came)
    commits = [came[: min(one, other)], came[min(one, other) : max(one, other)]]
    commits.append(came[max(one, other) :])
    for journal in (
        Journal.of_entries([journal_entry(each) for each in commits]),
        Journal.of_entries([one for each in commits for one in journal_entries(each).values()]),
    ):
        known: dict[tuple[str, str], Calendar] = {}
        journal.apply(known, ["wx1"])
        found = known.get(("wx1", "one"), Calendar())
        assert (found.years, found.windows, found.sums) == (
            wanted.years, wanted.windows, wanted.sums,
        )  # fmt: skip


def test_a_row_of_the_first_released_version_has_no_kind() -> None:
    came = unstored("2024-01-02")._replace(kind="quota")
    [row] = as_rows([came])
    assert as_outcome(row) == came
    assert as_outcome(row[:-1]) == came._replace(kind="")
