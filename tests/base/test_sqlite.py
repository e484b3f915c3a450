"""Files of SQLite, before a driver opens them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harvester.base import sqlite as sqlitefile
from harvester.base.sqlite import OLDEST, as_it_lies, check_place, check_version, make, uri
from harvester.errors import UsageError
from harvester.ledger import SqliteLedger
from harvester.sinks.sql.sqlite import SQLite


def test_an_old_library_is_refused() -> None:
    check_version(OLDEST)
    check_version((*OLDEST, 1))
    with pytest.raises(UsageError, match=r"SQLite 3\.26 or newer is needed, .* loaded 3\.25\.9"):
        check_version((3, 25, 9))


def test_a_file_can_be_made_only_in_a_directory_that_exists(tmp_path: Path) -> None:
    check_place(tmp_path / "x.db", "the ledger")
    with pytest.raises(
        UsageError, match=f"^the ledger cannot be created: .* {tmp_path}/no; create the directory"
    ):
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


def test_a_commit_is_on_the_disk_itself(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        sqlitefile.make_durable(connection)
        found = [
            connection.execute(f"PRAGMA {each}").fetchone()
            for each in ("synchronous", "fullfsync", "checkpoint_fullfsync")
        ]
    assert found == [(2,), (1,), (1,)]


async def test_each_connection_that_writes_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(sqlitefile, "make_durable", made.append)
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        assert len(made) == 1
    async with ledger:
        assert await ledger.swap_state("", "x")
        assert len(made) == 3
    sink = SQLite(tmp_path / "rows.db")
    await sink.open({})
    await sink.close()
    assert len(made) == 4
