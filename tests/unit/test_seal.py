"""What tells whether the tables of a file still hold what was written into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from harvester import seal

WRITES = [
    "INSERT INTO one VALUES ('a', 1), ('b', 2), ('c', NULL)",
    "INSERT OR REPLACE INTO one VALUES ('a', 9)",
    "INSERT INTO one VALUES ('b', 7) ON CONFLICT (name) DO UPDATE SET number = excluded.number + 1",
    "UPDATE one SET number = 5 WHERE name <> 'b'",
    "UPDATE one SET name = 'd' WHERE name = 'c'",
    "DELETE FROM one WHERE name = 'd'",
    "INSERT INTO two VALUES (x'00ff', '早')",
    "INSERT INTO two SELECT * FROM two",
    "DELETE FROM two",
]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(
            "CREATE TABLE one (name TEXT NOT NULL PRIMARY KEY, number) WITHOUT ROWID;"
            f"CREATE TABLE two (bytes BLOB, text TEXT);{seal.SCHEMA}"
        )
        yield database


def test_new_tables_are_whole(database: sqlite3.Connection) -> None:
    assert seal.whole(database)


def test_whatever_is_written_in_a_connection_of_ours_is_sealed(
    database: sqlite3.Connection,
) -> None:
    seal.keep(database)
    for write in WRITES:
        database.execute(write)
        assert seal.whole(database), write


def test_what_is_rolled_back_was_never_sealed(database: sqlite3.Connection) -> None:
    seal.keep(database)
    database.execute("BEGIN")
    database.execute(WRITES[0])
    database.execute("ROLLBACK")
    assert seal.whole(database)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO one VALUES ('z', 1)",
        "DELETE FROM one WHERE name = 'a'",
        "UPDATE one SET number = number + 1 WHERE name = 'a'",
        "UPDATE one SET number = '1' WHERE name = 'a'",
        "UPDATE one SET number = 1.0 WHERE name = 'a'",
        "UPDATE seal SET total = total + 1",
        "UPDATE seal SET entries = entries - 1",
        "DELETE FROM seal WHERE name = 'two'",
        "DROP TABLE two",
        "CREATE TABLE three (one)",
    ],
)
def test_whatever_is_written_by_others_is_found(database: sqlite3.Connection, change: str) -> None:
    seal.keep(database)
    database.execute(WRITES[0])
    for (trigger,) in database.execute("SELECT name FROM sqlite_temp_master").fetchall():
        database.execute(f"DROP TRIGGER {trigger}")
    assert seal.whole(database)
    database.execute(change)
    assert not seal.whole(database)


def test_the_order_of_rows_is_none_of_its_business(database: sqlite3.Connection) -> None:
    seal.keep(database)
    database.execute("INSERT INTO two VALUES (x'01', 'a'), (x'02', 'b')")
    first = database.execute("SELECT * FROM seal").fetchall()
    database.execute("DELETE FROM two")
    database.execute("INSERT INTO two VALUES (x'02', 'b'), (x'01', 'a')")
    assert database.execute("SELECT * FROM seal").fetchall() == first
