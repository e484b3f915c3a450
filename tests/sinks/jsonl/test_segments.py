"""Files of JSON lines: how much of a file counts, and which windows have days in common."""

from __future__ import annotations

from datetime import date

import pytest

from harvester.model import Window
from harvester.sinks.jsonl.segments import ANY_DAY, Days, Extent, first_day_of, may_have


def window(begin: int, end: int, appid: str = "wx1") -> Window:
    return Window(appid, "x", date(2024, 1, begin), date(2024, 1, end))


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        (window(1, 2), False),
        (window(1, 3), True),
        (window(4, 4), True),
        (window(5, 9), True),
        (window(6, 9), False),
        (window(1, 31, "wx2"), False),
    ],
)
def test_windows_overlap_if_they_have_a_day_of_an_account_in_common(
    other: Window, overlaps: bool
) -> None:
    days = Days([window(3, 5)])
    assert days.overlaps(other) is overlaps
    days.add([other])
    assert days.overlaps(other)


def test_days_of_any_account_are_reached() -> None:
    days = Days([window(3, 5), window(20, 20, "wx2")])
    ordinal = date(2024, 1, 1).toordinal() - 1
    assert [days.reach(ordinal + first, ordinal + last) for first, last in (
        (1, 2), (1, 3), (6, 19), (20, 31), (5, 4),
    )] == [False, True, False, True, False]  # fmt: skip


def test_a_file_may_have_windows_from_the_first_day_of_its_period_to_its_last_one() -> None:
    last = date(2024, 3, 20).toordinal()
    for name, first in (
        ("a/2024-03.jsonl.gz", date(2024, 3, 1)),
        ("a/2024.jsonl", date(2024, 1, 1)),
    ):
        day = first.toordinal()
        assert first_day_of(name) == day
        assert may_have(name, Extent(9, last), day, day)
        assert may_have(name, Extent(9, last), last, ANY_DAY)
        assert not may_have(name, Extent(9, last), day - 9, day - 1)
        assert not may_have(name, Extent(9, last), last + 1, ANY_DAY)
        assert may_have(name, Extent(9, ANY_DAY), last + 1, ANY_DAY)
