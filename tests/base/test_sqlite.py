"""Files of SQLite, before a driver opens them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harvester.base.sqlite import OLDEST, as_it_lies, check_place, check_version, make, uri
from harvester.errors import UsageError


def test_an_old_library_is_refused() -> None:
    check_version(OLDEST)
    check_version((*OLDEST, 1))
    with pytest.raises(UsageError, match=r"SQLite 3\.26 or newer is needed, .* loaded 3\.25\.9"):
        check_version((3, 25, 9))


def test_a_file_can_be_made_only_in_a_directory_that_exists(tmp_path: Path) -> None:
    check_place(tmp_path / "x.db", "the ledger")
    with pytest.raises(UsageError, match=f"^the ledger cannot be made: .* {tmp_path}/no; make it"):
        check_place(tmp_path / "no" / "x.db", "the ledger")


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    assert path.read_bytes() == b""
    path.write_bytes(b"x")
    make(path)
    assert path.read_bytes() == b"x"
    make(tmp_path / "no" / "x.db")  # SQLite reports it


def test_a_path_with_signs_of_a_uri_names_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#b%20.db"
    with sqlite3.connect(uri(path, "rwc"), uri=True) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    assert path.exists()


def test_a_file_whose_log_holds_changes_is_not_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert as_it_lies(path) == f"{uri(path, 'ro')}&immutable=1"
    (tmp_path / "x.db-wal").touch()
    as_it_lies(path)
    (tmp_path / "x.db-wal").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"x\.db-wal holds changes that are not yet in x\.db"):
        as_it_lies(path)
