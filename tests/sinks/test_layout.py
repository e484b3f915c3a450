"""What a window's rows are known by, so that `verify` can tell whether they are as they were."""

from __future__ import annotations

from datetime import date
from itertools import chain
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harvester.model import Batch, Window
from harvester.sinks.layout import row_checksum, row_checksums

VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.text(alphabet='a],["\\{}\n题', max_size=8)
)
ROWS = st.lists(st.tuples(VALUES, VALUES, st.one_of(st.none(), st.just('{"a":[[1],[2]]}'))))


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[Any, ...]], random: Any) -> None:
    mixed = list(rows)
    random.shuffle(mixed)
    assert row_checksum(mixed) == row_checksum(rows)


@given(st.lists(ROWS, max_size=5))
def test_many_windows_at_once_have_the_sums_of_each(windows: list[list[tuple[Any, ...]]]) -> None:
    window = Window("wx1", "figures", date(2024, 1, 1), date(2024, 1, 1))
    batches = [Batch(window, "", len(rows), b"", 0) for rows in windows]
    sums = row_checksums([*chain.from_iterable(windows)], batches)
    assert sums == [row_checksum(rows) for rows in windows]


@given(ROWS, st.tuples(VALUES, VALUES, st.none()))
def test_a_row_more_is_another_sum(rows: list[tuple[Any, ...]], more: tuple[Any, ...]) -> None:
    assert row_checksum([*rows, more]) != row_checksum(rows)


@given(ROWS.filter(bool), st.data())
def test_a_value_that_changed_is_another_sum(rows: list[tuple[Any, ...]], data: Any) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    value = data.draw(VALUES)
    assume(value != rows[place][0])
    changed = [*rows[:place], (value, *rows[place][1:]), *rows[place + 1 :]]
    assert row_checksum(changed) != row_checksum(rows)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("a],[b", 1)], [("a", 1), ("b", 1)]),
        ([("a", "b")], [("a",), ("b",)]),
    ],
)
def test_what_is_cut_within_a_text_is_no_row(one: list[Any], other: list[Any]) -> None:
    assert row_checksum(one) != row_checksum(other)
