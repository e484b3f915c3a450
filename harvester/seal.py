"""An integrity check: whether the tables of a SQLite file still hold what was written into them.

Rule: reads names and columns of tables from the file; the driver's connection is an argument.

SQLite detects an invalid page.  It does not detect a flipped bit within a row, or in the number of
rows of a page: a day that was never harvested would count as done.  So a table named ``seal`` has,
for each other table, the number of its rows and the sum of their checksums.  Each write updates it
in the same transaction; each opening compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from zlib import crc32

SCHEMA = """
CREATE TABLE seal (
    name TEXT NOT NULL PRIMARY KEY, entries INTEGER NOT NULL, total INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO seal SELECT name, 0, 0 FROM sqlite_master WHERE type = 'table' AND name <> 'seal';
"""
"""Executed after the creation of the other tables, in the same transaction."""


class Database(Protocol):
    """The part of a connection that is needed here."""

    def execute(self, sql: str, /) -> Iterable[Any]: ...
    def create_function(
        self, name: str, narg: int, func: Any, /, *, deterministic: bool = ...
    ) -> None: ...


def whole(database: Database) -> bool:
    """Whether the tables are as they were written; raises the driver's errors."""
    _know_checksums(database)
    checked = [row for (row,) in database.execute("PRAGMA integrity_check(1)")]
    if checked != ["ok"]:
        return False
    names = list(_tables(database))
    kept = {name: (n, total) for name, n, total in database.execute("SELECT * FROM seal")}
    return kept == {name: _sum(database, name) for name in names}


def keep(database: Database) -> None:
    """Make every write of this connection update the seal."""
    _know_checksums(database)
    database.execute("PRAGMA recursive_triggers = ON")  # for rows that REPLACE removes
    for name in _tables(database):
        _watch(database, name)


def _know_checksums(database: Database) -> None:
    database.create_function("row_checksum", 1, crc32, deterministic=True)


def _row(database: Database, name: str, of: str = "") -> str:
    """A row's checksum, in SQL: its values become bytes there, without a call of Python."""
    values = [
        f"quote({of}{column})" if kind == "BLOB" else of + column  # JSON holds no bytes
        for column, kind in _columns(database, name)
    ]
    return f"row_checksum(CAST(json_array({', '.join(values)}) AS BLOB))"


def _columns(database: Database, name: str) -> list[tuple[str, str]]:
    found = database.execute(f"PRAGMA table_info('{name}')")
    return [(column, kind) for _, column, kind, *_ in found]


def _tables(database: Database) -> Iterator[str]:
    found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    for (name,) in list(found):
        if name != "seal" and not name.startswith("sqlite_"):
            yield name


def _sum(database: Database, name: str) -> tuple[int, int]:
    columns = _columns(database, name)
    became_bytes = [f"typeof({column}) = 'blob'" for column, kind in columns if kind != "BLOB"]
    row = f"CASE WHEN {' OR '.join(became_bytes)} THEN 0 ELSE {_row(database, name)} END"
    [found] = database.execute(f"SELECT count(*), coalesce(sum({row}), 0) FROM {name}")
    return tuple(found)


def _watch(database: Database, name: str) -> None:
    came, went = _row(database, name, "new."), _row(database, name, "old.")
    for event, number, total in (
        ("INSERT", "+ 1", f"+ {came}"),
        ("DELETE", "- 1", f"- {went}"),
        ("UPDATE", "", f"+ {came} - {went}"),
    ):
        database.execute(
            f"CREATE TEMP TRIGGER seal_{event}_{name} AFTER {event} ON main.{name} BEGIN"
            f" UPDATE seal SET entries = entries {number}, total = total {total}"
            f" WHERE name = '{name}'; END"
        )
