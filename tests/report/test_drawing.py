"""The paths of the page's pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from harvester.report.days import Counts
from harvester.report.drawing import HEIGHT, STACK, WALL, columns, line, stack, wall, years


def test_empty_days_count_as_final() -> None:
    assert stack(Counts(1, 2, 3, 4, 5, 6, 7, 8)) == (4, 2, 11, 5, 14)


@pytest.mark.parametrize(
    "counts",
    [
        Counts(1),
        Counts(9999, 1, 0, 1, 1, 1),
        Counts(1, 1, 1, 1, 1, 1, 1, 1),
        Counts(missing=7),
        Counts(late=1, never=1),
    ],
)
def test_a_column_is_full_and_each_part_can_be_seen(counts: Counts) -> None:
    paths = columns([None, Counts(), counts])
    heights = {state: int(re.fullmatch(r"M20 \d+h9v(\d+)h-9z", path)[1])  # type: ignore[index]
               for state, path in paths.items()}  # fmt: skip
    parts = dict(zip(STACK, stack(counts), strict=True))
    assert heights.keys() == {state for state, part in parts.items() if part}
    assert sum(heights.values()) == HEIGHT
    assert min(heights.values()) >= 2


def test_years_are_at_their_januaries_and_at_most_about_six() -> None:
    assert years(range(2020 * 12, 2022 * 12)) == [("0.00", "2020"), ("50.00", "2021")]
    assert years(range(2020 * 12 + 3, 2020 * 12 + 6)) == [("0", "2020-04")]
    assert len(years(range(2000 * 12, 2030 * 12))) <= 6


@dataclass
class Account:
    state: str


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 1000, 5000])
def test_the_squares_of_all_accounts_have_room(count: int) -> None:
    accounts: list[Any] = [Account("well"), Account("needed")] * (count // 2 + count % 2)
    found = wall(accounts[:count])
    assert found.wide * found.high >= max(count, 1) > found.wide * (found.high - 1)
    assert found.width <= WALL[0]
    assert sum(found.states.values()) == count


def test_a_line_is_broken_where_there_are_no_figures() -> None:
    assert line([0, 2, None, 1], [False] * 4) == ("M0 19L4 1M12 10", "")
    assert line([None, None], [False] * 2) == ("", "")


def test_a_line_is_broken_at_partial_weeks_which_do_not_scale_it() -> None:
    part = [False, True, False, True]
    assert line([1, 9, 2, None], part) == ("M0 10M8 1", "M2 0h4v20h-4zM10 0h4v20h-4z")
