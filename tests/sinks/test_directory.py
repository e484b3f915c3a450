"""The directory of JSON lines: locked by one process, with a note that outlives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.sinks.jsonl.directory import NOTE, Directory


def test_a_note_is_read_by_the_next_one_and_the_lock_is_given_back(tmp_path: Path) -> None:
    one = Directory(tmp_path / "made")
    one.lock()
    assert (one.is_locked, one.owner, one.commits, one.folders) == (True, "", 0, [])
    one.owner, one.folders = "harvest", ["getusersummary"]
    one.write()
    one.begin(7)
    one.sync()
    with pytest.raises(UsageError):
        Directory(one.path).lock()
    one.unlock()
    other = Directory(one.path)
    other.lock()
    assert (other.owner, other.commits, other.folders) == ("harvest", 7, ["getusersummary"])
    other.commits = 8
    other.write()
    other.unlock()
    one.read()
    assert (one.is_locked, one.commits) == (False, 8)


@pytest.mark.parametrize(
    ("note", "refused"),
    [(b"", False), (b'{"commits":', False), (b"[1]", False), (b'{"commits":1,"format":1}', True)],
)
def test_a_torn_note_is_none_and_one_of_another_version_is_refused(
    note: bytes, refused: bool, tmp_path: Path
) -> None:
    (tmp_path / NOTE).write_bytes(note)
    directory = Directory(tmp_path)
    if refused:
        with pytest.raises(UsageError, match="of another version of harvester"):
            directory.read()
    else:
        directory.read()
        assert (directory.owner, directory.commits) == ("", 0)
