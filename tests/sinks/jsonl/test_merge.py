"""A journal comes into the files of its interface, also if that is interrupted and repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.base.codec import line_end
from harvester.errors import SinkError
from harvester.model import Batch, metadata
from harvester.sinks.jsonl.compression import compression_of
from harvester.sinks.jsonl.directory import Directory, journal_of
from harvester.sinks.jsonl.merge import files_of, merge
from harvester.sinks.jsonl.segments import ANY_DAY, Extent, Extents
from tests.sinks.feed import Died, dying
from tests.sinks.small_ledger import ENDPOINT, batch, seen, window

JOURNAL = journal_of(ENDPOINT)
JANUARY, FEBRUARY = f"{ENDPOINT}/2024-01.jsonl", f"{ENDPOINT}/2024-02.jsonl"


def put(home: Directory, extents: Extents, name: str, *batches: Batch) -> None:
    """Write a file of these windows, or a journal."""
    lines = [
        (line_end(metadata(each.window, each.fetched_at)) if name == JOURNAL else b"")
        + each.lines()
        for each in batches
    ]
    with home.draft(name) as draft:
        draft.write(compression_of(name).pack(lines))
        extents[name] = Extent(draft.tell(), 0 if name == JOURNAL else ANY_DAY)


@pytest.fixture(params=["", ".gz", ".zst"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def begun(tmp_path: Path, suffix: str) -> tuple[Directory, Extents]:
    """Two months, and a journal whose windows move from one to the other, and empty a day."""
    home, extents = Directory(tmp_path), Extents()
    put(home, extents, JANUARY + suffix, batch(1, 1), batch(2, 2), batch(30, 30), batch(31, 31))
    put(home, extents, FEBRUARY + suffix, batch(32, 32), batch(33, 33, days=3), batch(50, 50))
    put(home, extents, JOURNAL, batch(2), batch(31, 311, days=2), batch(34, 34), batch(34, 344))
    return home, extents


def test_windows_replace_what_they_overlap_in_each_file(tmp_path: Path, suffix: str) -> None:
    home, extents = begun(tmp_path, suffix)
    merge(home, extents, JOURNAL, ".zst")
    assert seen(tmp_path) == [1, 30, 50, 311, 344]
    assert files_of(extents, ENDPOINT) == home.names() == [JANUARY + suffix, FEBRUARY + suffix]
    last = [window(32).begin.toordinal(), window(50).begin.toordinal()]
    for name, day in zip(files_of(extents, ENDPOINT), last, strict=True):
        assert extents[name][:2] == ((tmp_path / name).stat().st_size, day)


def test_a_file_without_windows_is_removed_and_a_new_one_is_packed_as_asked(
    tmp_path: Path, suffix: str
) -> None:
    home, extents = Directory(tmp_path), Extents()
    put(home, extents, JANUARY + suffix, batch(1, 1), batch(2, 2))
    put(home, extents, JOURNAL, batch(1, days=2), batch(60, 60))
    merge(home, extents, JOURNAL, ".gz")
    assert home.names() == [*extents] == [f"{FEBRUARY}.gz"]
    assert seen(tmp_path) == [60]


def test_it_is_repeated_wherever_it_was_interrupted(tmp_path: Path, suffix: str) -> None:
    for number in range(1, 100):
        place = tmp_path / str(number)
        home, extents = begun(place, suffix)
        with dying(number) as moments:
            try:
                merge(home, extents, JOURNAL, "")
                break
            except Died:
                pass
        extents = {
            name: Extent((place / name).stat().st_size, 0 if name == JOURNAL else ANY_DAY)
            for name in home.names()
        }
        if JOURNAL in extents:
            merge(home, extents, JOURNAL, "")
        assert seen(place) == [1, 30, 50, 311, 344], moments[-1]
    assert number > 15


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    home, extents = Directory(tmp_path), Extents()
    put(home, extents, JOURNAL, batch(1, 1))
    (tmp_path / ENDPOINT).mkdir()
    (tmp_path / JANUARY).write_bytes(b"theirs\n")
    with pytest.raises(SinkError, match="this harvest did not write it; move it away"):
        merge(home, extents, JOURNAL, "")
    assert (tmp_path / JANUARY).read_bytes() == b"theirs\n"
    assert JOURNAL in extents
