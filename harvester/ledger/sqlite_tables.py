"""The tables of the embedded ledger that the shared one does not have.

Rule: functions of `Tables`; `harvester.ledger.sqlite` has the file, the thread and the errors.

A commit is one row of ``journal`` at first: a commit of a thousand accounts would change a thousand
calendars, and the next one the same.  When there are `LATEST` of them they are merged into the
calendars together; closing does the same, and readers apply them to the calendars.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import cache, partial
from pathlib import Path
from sqlite3 import Connection

from harvester.base.codec import encode
from harvester.base.dates import Days
from harvester.ledger import statements
from harvester.ledger.base import Key, Spent
from harvester.ledger.coverage import Calendar, OpenWindow, Outcome
from harvester.ledger.encoding import Journal, Row, journal_entry
from harvester.ledger.statements import LATEST, RANGES, TABLES, WITH_KIND, Table
from harvester.model import Tally

VERSION = 11
RELEASED = 10
"""The first released version: it is read, and brought up to date before it is written."""

_SCHEMA = "".join(
    [
        "CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);",
        "CREATE TABLE interface (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);",
        "CREATE TABLE journal (number INTEGER PRIMARY KEY, entries TEXT NOT NULL);",
        *[f"{table.created} WITHOUT ROWID;" for table in TABLES],
    ]
)


_NAMES = (("sink", "name", "copied"), ("checkpoint", "sink", "key, value"))
"""The tables with the names of sinks."""


def made(database: Connection) -> Connection:
    """Create the tables of an empty ledger, all or none of them."""
    database.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    return database


def renamed(name: str, folder: Path) -> str:
    """The name of a sink; the first released version had a place outside of the folder absolute."""
    scheme, _, rest = name.partition(":")
    place, mark, options = rest.partition("?")
    if not place.startswith("/") or place.startswith("//"):
        return name
    return f"{scheme}:{os.path.relpath(place, folder.resolve())}{mark}{options}"


def read_released(database: Connection, folder: Path) -> None:
    """Let a reader of the first released version see the names of sinks as ours."""
    database.create_function("renamed", 1, partial(renamed, folder=folder))
    for table, name, others in _NAMES:
        columns = f"renamed({name}) AS {name}, {others} FROM main.{table}"
        database.execute(f"CREATE TEMP VIEW {table} AS SELECT {columns}")


def upgrade(database: Connection, folder: Path) -> None:
    """Bring the tables of the first released version up to date, all or none of them."""
    database.create_function("renamed", 1, partial(renamed, folder=folder))
    renewed = [
        f"ALTER TABLE {table.name} RENAME TO former;{table.created} WITHOUT ROWID;"
        f"INSERT INTO {table.name} SELECT appid, endpoint, first_day || '/' || last_day"
        " FROM former;DROP TABLE former;"
        for table in RANGES
    ]
    renewed += [f"UPDATE {table} SET {name} = renamed({name});" for table, name, _ in _NAMES]
    script = f"BEGIN;{''.join(renewed)}{WITH_KIND};PRAGMA user_version = {VERSION};COMMIT;"
    database.executescript(script)


class Tables:
    """A connection in a transaction (`statements.Tables`)."""

    __slots__ = ("_database",)

    def __init__(self, database: Connection) -> None:
        self._database = database

    def rows(self, sql: str, *values: object) -> list[Row]:
        return self._database.execute(_translated(sql), _bound(values)).fetchall()

    def run(self, sql: str, *values: object) -> int:
        return self._database.execute(_translated(sql), _bound(values)).rowcount

    def lock(self, table: Table) -> None:
        """Every transaction that writes locks the whole file."""

    def insert(self, table: Table, rows: Sequence[Row], conflict: str) -> None:
        sql = (
            f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.types))})"
            f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {conflict}"
        )
        self._database.executemany(_translated(sql), rows)

    def delete(self, table: Table, keys: Sequence[Row]) -> None:
        same = " AND ".join([f"{name} = ?" for name in table.key])
        self._database.executemany(f"DELETE FROM {table.name} WHERE {same}", keys)


@cache
def _translated(sql: str) -> str:
    """A statement for PostgreSQL as SQLite takes it."""
    for theirs, ours in (
        ("= ANY(%s)", "IN (SELECT value FROM json_each(?))"),
        ("SELECT unnest(%s::text[])", "SELECT value FROM json_each(?)"),
        ("%s", "?"),
        ("least(", "min("),
        ("greatest(", "max("),
    ):
        sql = sql.replace(theirs, ours)
    return sql


def _bound(values: Sequence[object]) -> list[object]:
    return [encode(value).decode() if isinstance(value, list) else value for value in values]


def commit(
    tables: Tables,
    outcomes: Sequence[Outcome],
    checkpoints: Mapping[str, Mapping[str, str]],
    spent: Iterable[Spent] = (),
    epochs: Mapping[str, int] | None = None,
) -> Collection[str]:
    """Store all of it; its one worker holds every account."""
    spent = list(spent)
    statements.store_checkpoints(tables, checkpoints)
    if outcomes or spent:
        tables.run("INSERT INTO journal (entries) VALUES (%s)", journal_entry(outcomes, spent))
        if tables.rows("SELECT max(number) FROM journal")[0][0] >= LATEST:
            _merge(tables)
    return ()


def settle(tables: Tables) -> None:
    """Merge the latest commits into the calendars, if there are any."""
    if tables.rows("SELECT 1 FROM journal LIMIT 1"):
        _merge(tables)


def _merge(tables: Tables) -> None:
    journal = _journal(tables)
    statements.merge_journal(tables, journal)
    statements.book(tables, journal.spent)
    tables.run("DELETE FROM journal")


def _journal(tables: Tables) -> Journal:
    rows = tables.rows("SELECT entries FROM journal ORDER BY number")
    return Journal.of_entries(text for (text,) in rows)


def reopen(
    tables: Tables,
    key: Key,
    ranges: Sequence[Days],
    windows: Sequence[OpenWindow],
    sums: Mapping[int, Tally | None],
) -> None:
    """Make final windows open."""
    settle(tables)
    statements.change(tables, key, Calendar.reopen, ranges, windows, sums)


def forget(tables: Tables, key: Key, ranges: Sequence[Days]) -> None:
    """Make stored days missing."""
    settle(tables)
    statements.change(tables, key, Calendar.forget, ranges)


def remove(tables: Tables, appid: str, endpoints: Collection[str]) -> None:
    """Remove what is known of interfaces of an account, and its number with the last of them."""
    settle(tables)
    statements.remove(tables, appid, endpoints)
    tables.run(
        "DELETE FROM account WHERE name = %s"
        " AND NOT EXISTS (SELECT 1 FROM calendar WHERE account = account.id)"
        " AND NOT EXISTS (SELECT 1 FROM open_window WHERE account = account.id)",
        appid,
    )


def fold_future_calls(tables: Tables, today: date) -> bool:
    """Count calls of future days as today's (after a clock change); returns whether any were."""
    settle(tables)
    return statements.fold_future_calls(tables, today)


def is_empty(tables: Tables) -> bool:
    """Whether nothing was ever stored."""
    names = ["journal", *[table.name for table in TABLES]]
    return not any(tables.rows(f"SELECT 1 FROM {name} LIMIT 1") for name in names)


def accounts(tables: Tables) -> list[str]:
    """The accounts that the ledger knows."""
    found = {str(name) for (name,) in tables.rows("SELECT name FROM account")}
    found.update(name for (name,) in tables.rows("SELECT DISTINCT appid FROM asked"))
    found.update(_journal(tables).rows)
    return sorted(found)


def calendars(tables: Tables, appids: Sequence[str]) -> dict[Key, Calendar]:
    """The calendars of these accounts."""
    found = statements.stored_calendars(tables, appids)
    _journal(tables).apply(found, appids)
    return found


def spent(tables: Tables, day: date, appids: Sequence[str] | None = None) -> dict[Key, int]:
    """The calls of a day in China."""
    found = Counter(statements.booked(tables, day, appids))
    for (appid, endpoint, booked), calls in _journal(tables).spent.items():
        if booked == str(day) and (appids is None or appid in appids):
            found[appid, endpoint] += calls
    return dict(found)
