"""Sums that come out, and stretches of the calendar."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.testing.data.draw import chance, month, spread, week


@pytest.mark.thorough
@given(
    st.integers(min_value=0, max_value=10**7),
    st.lists(st.floats(min_value=0.001, max_value=1000.0), min_size=1, max_size=40),
)
def test_parts_are_never_negative_and_together_the_total(total: int, weights: list[float]) -> None:
    parts = spread(total, weights)
    assert len(parts) == len(weights)
    assert min(parts) >= 0
    assert sum(parts) == total


@pytest.mark.thorough
@given(st.dates(min_value=date(2014, 12, 1), max_value=date(2100, 1, 1)))
def test_a_day_lies_in_its_week_and_month(day: date) -> None:
    monday, sunday = week(day)
    first, last = month(day)
    assert (monday.weekday(), sunday - monday) == (0, timedelta(days=6))
    assert (first.day, (last + timedelta(days=1)).day) == (1, 1)
    assert monday <= day <= sunday
    assert first <= day <= last


def test_chance_depends_on_the_whole_question() -> None:
    found = {chance(*question).random() for question in ((1, "a"), (2, "a"), (1, "b"), (1, "a", 1))}
    assert len(found) == 4
    assert chance(1, "a").random() in found
