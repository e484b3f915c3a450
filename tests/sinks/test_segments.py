"""Files of JSON lines: how much of a file counts, and which windows have days in common."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from harvester.model import Window
from harvester.sinks.jsonl.segments import (
    NAME,
    TAIL,
    Days,
    SegmentState,
    first_day_of,
    folder_of,
    opened,
    tail_of,
)


def window(begin: int, end: int, appid: str = "wx1") -> Window:
    return Window(appid, "x", date(2024, 1, begin), date(2024, 1, end))


def test_a_state_comes_back_from_its_text() -> None:
    state = SegmentState(12, 3, 4, 5, 6)
    assert SegmentState.parse(str(state)) == state


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


def test_a_name_gives_the_interface_and_the_first_day_of_the_period() -> None:
    for name, first in (
        ("a/2024-03.jsonl.gz", date(2024, 3, 1)),
        ("a/2024.jsonl", date(2024, 1, 1)),
    ):
        assert NAME.fullmatch(name)
        assert (folder_of(name), first_day_of(name)) == ("a", first.toordinal())
    assert not NAME.fullmatch("a/../2024.jsonl")


def test_the_tail_tells_files_of_one_length_apart(tmp_path: Path) -> None:
    path, tails = tmp_path / "x", set()
    for text in (b"a" * (TAIL + 9), b"a" * (TAIL + 8) + b"b", b"b" + b"a" * (TAIL + 8)):
        path.write_bytes(text)
        with opened(path) as file:
            tails.add(tail_of(file, len(text)))
    assert len(tails) == 2  # only the last bytes count
