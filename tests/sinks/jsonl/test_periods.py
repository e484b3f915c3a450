"""The files of windows: a month's, or a year's once that is long over."""

from __future__ import annotations

from datetime import date

import pytest

from harvester.model import Batch, Window
from harvester.sinks.jsonl.periods import by_period, file_of, last_day


def window(begin: str, end: str = "") -> Window:
    return Window("wx1", "a", date.fromisoformat(begin), date.fromisoformat(end or begin))


@pytest.mark.parametrize(
    ("begin", "fetched_at", "name"),
    [
        ("2025-11-30", "2026-03-31T23:59:59Z", "a/2025-11.jsonl"),
        ("2025-11-30", "2026-04-01T00:00:00Z", "a/2025.jsonl"),
        ("2026-01-01", "2026-04-01T00:00:00Z", "a/2026-01.jsonl"),
        ("2024-12-31", "2026-01-01T00:00:00Z", "a/2024.jsonl"),
    ],
)
def test_the_year_has_a_file_from_april_of_the_next_one(
    begin: str, fetched_at: str, name: str
) -> None:
    assert file_of(window(begin), fetched_at, (), "") == name
    assert file_of(window(begin), fetched_at, (), ".gz") == f"{name}.gz"
    assert file_of(window(begin), fetched_at, (f"{name}.zst",), ".gz") == f"{name}.zst"


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize(
    "months",
    [
        ["2025-06"],
        ["2026-01", "2026-02"],
        ["2023-12", "2024-01"],
        ["2022-01", "2024-05", "2026-02"],
    ],
)
def test_each_batch_is_in_the_file_of_its_period(months: list[str], long: bool) -> None:
    stamp = "2026-05-01T00:00:00Z"
    made = [
        Batch(window(f"{month}-{day:02}", f"{month}-{day + long:02}"), [], stamp)
        for month in months for day in (3, 20, 7)
    ]  # fmt: skip
    days = None if long else [each.window.begin for each in made]
    found = list(by_period(made, days))
    assert sorted(each.window for some, _ in found for each in some) == sorted(
        each.window for each in made
    )
    names = [{file_of(each.window, stamp, (), "") for each in some} for some, _ in found]
    assert [len(each) for each in names] == [1] * len(found)
    assert len(set.union(*names)) == len(found)
    for some, last in found:
        assert last >= last_day(some)
        if long:
            assert last == last_day(some)
