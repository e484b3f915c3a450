"""A directory as the place of an export's files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.exports.folder import Folder


def test_a_file_is_put_found_and_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "x", "csv:x")
    folder.open(create=True)
    assert folder.existing(["a/b"]) == []
    assert folder.read("a/b") == b""
    folder.drafts.path("a/b").write_bytes(b"rows")
    folder.put("a/b")
    checksum = hashlib.blake2b(b"rows", digest_size=16).hexdigest()
    assert folder.existing(["a/b", "c"]) == ["a/b"]
    assert folder.read("a/b") == b"rows"
    assert folder.has("a/b", 4, checksum, thorough=False)
    assert not folder.has("a/b", 5, checksum, thorough=False)
    assert not folder.has("a/b", 4, checksum[::-1], thorough=False)
    folder.remove("a/b")
    folder.remove("a/b")
    folder.save("note", b"1")
    folder.close()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["note"]


def test_a_directory_that_holds_files_of_others_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("mine")
    folder = Folder(tmp_path, "csv:x")
    folder.remove("a/b")
    assert (tmp_path / "a" / "mine").exists()


@pytest.mark.parametrize("create", [False, True])
def test_the_directory_of_a_run_is_refused(tmp_path: Path, create: bool) -> None:
    (tmp_path / ".jsonl.lock").touch()
    with pytest.raises(UsageError, match=r"holds the records of a run; .* for parquet:"):
        Folder(tmp_path, "parquet:x").open(create=create)
