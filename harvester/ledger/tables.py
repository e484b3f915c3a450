"""The tables of the embedded ledger, and the statements that read and write them.

Rule: functions of a connection; the caller handles its file, its thread and its errors.

A commit is one row of ``journal`` at first: a commit of a thousand accounts would change a thousand
calendars, and the next one the same.  When there are `LATEST` of them they are merged into the
calendars together; closing does the same, and readers apply them to the calendars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from sqlite3 import Connection
from typing import Any

from harvester import seal
from harvester.coverage import Calendar, OpenWindow, Outcome
from harvester.durable import step
from harvester.ledger.base import Exhausted, Key, KnownSink, Spent
from harvester.ledger.rows import Before, Journal, calendars_of, changes, journal_entry
from harvester.model import Tally
from harvester.plan import Days

VERSION = 7
LATEST = 30
_AT_ONCE = 400

_SCHEMA = """
CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE interface (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE calendar (
    account INTEGER NOT NULL, interface INTEGER NOT NULL, year INTEGER NOT NULL,
    days TEXT NOT NULL, records INTEGER, checksum INTEGER,
    PRIMARY KEY (account, interface, year)
) WITHOUT ROWID;
CREATE TABLE open_window (
    account INTEGER NOT NULL, interface INTEGER NOT NULL,
    first_day TEXT NOT NULL, last_day TEXT NOT NULL, state TEXT NOT NULL,
    records INTEGER NOT NULL, checksum INTEGER NOT NULL, due REAL NOT NULL,
    detail TEXT NOT NULL, code INTEGER, rid TEXT NOT NULL, fetched_at TEXT NOT NULL,
    PRIMARY KEY (account, interface, first_day)
) WITHOUT ROWID;
CREATE TABLE journal (number INTEGER PRIMARY KEY, entries TEXT NOT NULL);
CREATE TABLE asked (
    appid TEXT NOT NULL, endpoint TEXT NOT NULL, first_day TEXT NOT NULL, last_day TEXT NOT NULL,
    PRIMARY KEY (appid, endpoint)
) WITHOUT ROWID;
CREATE TABLE budget (
    appid TEXT NOT NULL, endpoint TEXT NOT NULL, day TEXT NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (appid, endpoint, day)
) WITHOUT ROWID;
CREATE TABLE exhausted (
    appid TEXT NOT NULL, endpoint TEXT NOT NULL, until REAL NOT NULL, asked REAL NOT NULL,
    PRIMARY KEY (appid, endpoint)
) WITHOUT ROWID;
CREATE TABLE span (endpoint TEXT NOT NULL PRIMARY KEY, days INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sink (
    name TEXT NOT NULL PRIMARY KEY, behind INTEGER NOT NULL, refilled TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE checkpoint (
    sink TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (sink, key)
) WITHOUT ROWID;
"""


def made(database: Connection) -> Connection:
    """Create the tables of an empty ledger, all or none of them."""
    database.executescript(f"BEGIN;{_SCHEMA}{seal.SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    return database


def rows_of(database: Connection, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return database.execute(sql, values).fetchall()


@contextmanager
def transaction(database: Connection, what: str) -> Iterator[None]:
    """BEGIN to COMMIT, or ROLLBACK; ``what`` names the durable step."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        with step(f"commit {what}"):
            database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


@contextmanager
def _snapshot(database: Connection) -> Iterator[None]:
    """A read transaction: all reads within see the same snapshot."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        if database.in_transaction:  # a disk error has already ended it
            database.execute("ROLLBACK")


# what a run writes


def register(
    database: Connection, ranges: Sequence[tuple[str, str, date, date]], sinks: Sequence[str]
) -> None:
    """Remember the requested ranges and the sinks."""
    with transaction(database, "range"):
        database.executemany(
            "INSERT INTO asked VALUES (?, ?, ?, ?) ON CONFLICT (appid, endpoint) DO UPDATE SET"
            " first_day = min(first_day, excluded.first_day),"
            " last_day = max(last_day, excluded.last_day)",
            [(appid, name, str(begin), str(end)) for appid, name, begin, end in ranges],
        )
        known = {name for (name,) in rows_of(database, "SELECT name FROM sink")}
        database.executemany(
            "UPDATE sink SET behind = 1 WHERE name = ?",
            [(name,) for name in sorted(known - {*sinks})],
        )


def commit(
    database: Connection,
    outcomes: Sequence[Outcome],
    checkpoints: Mapping[str, Mapping[str, str]],
    spent: Sequence[Spent],
) -> None:
    """Store all of it, or nothing, durably."""
    with transaction(database, "ledger"):
        for sink, entries in checkpoints.items():
            _store_checkpoint(database, sink, entries)
        if not outcomes and not spent:
            return
        number = database.execute(
            "INSERT INTO journal (entries) VALUES (?)", (journal_entry(outcomes, spent),)
        ).lastrowid
        if (number or 0) >= LATEST:
            _merge(database)


def _store_checkpoint(database: Connection, sink: str, entries: Mapping[str, str]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)",
        [(sink, key, value) for key, value in entries.items() if value],
    )
    if gone := [(sink, key) for key, value in entries.items() if not value]:
        database.executemany("DELETE FROM checkpoint WHERE sink = ? AND key = ?", gone)


def settle(database: Connection) -> None:
    """Merge the latest commits into the calendars, if there are any."""
    if rows_of(database, "SELECT 1 FROM journal LIMIT 1"):
        with transaction(database, "journal"):
            _merge(database)


def _merge(database: Connection) -> None:
    journal = _journal(database)
    for appids in _some(journal.rows):
        known = _calendars(database, appids)
        keys = [(appid, name) for appid in appids for name in journal.rows[appid]]
        before = {key: Before.of(known.get(key, Calendar())) for key in keys}
        journal.apply(known, appids)
        _store(database, {key: (known[key], before[key]) for key in keys})
    database.executemany(
        "INSERT INTO budget VALUES (?, ?, ?, ?)"
        " ON CONFLICT (appid, endpoint, day) DO UPDATE SET calls = calls + excluded.calls",
        [(*place, calls) for place, calls in journal.spent.items()],
    )
    database.execute("DELETE FROM journal")


def _journal(database: Connection) -> Journal:
    """The latest commits, not merged yet."""
    rows = rows_of(database, "SELECT entries FROM journal ORDER BY number")
    return Journal.of_entries(text for (text,) in rows)


def _store(database: Connection, changed: Mapping[Key, tuple[Calendar, Before]]) -> None:
    """Write what changed of calendars."""
    years, gone, came = changes(changed, _ids(database, changed))
    database.executemany("INSERT OR REPLACE INTO calendar VALUES (?, ?, ?, ?, ?, ?)", years)
    database.executemany(
        "DELETE FROM open_window WHERE account = ? AND interface = ? AND first_day = ?", gone
    )
    database.executemany(
        "INSERT OR REPLACE INTO open_window VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", came
    )


def _ids(database: Connection, keys: Iterable[Key]) -> dict[Key, tuple[int, int]]:
    """The numbers of accounts and interfaces; those of new ones are made."""
    keys = [*keys]
    accounts = _numbers(database, "account", {appid for appid, _ in keys})
    interfaces = _numbers(database, "interface", {name for _, name in keys})
    return {(appid, name): (accounts[appid], interfaces[name]) for appid, name in keys}


def _numbers(database: Connection, table: str, names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in _some(sorted(names)):
        database.executemany(
            f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", [(name,) for name in some]
        )
        marks = ", ".join("?" * len(some))
        found.update(
            rows_of(database, f"SELECT name, id FROM {table} WHERE name IN ({marks})", *some)
        )
    return found


def _change(database: Connection, key: Key, change: Any, *arguments: Any) -> None:
    """Change a calendar in a transaction of its own."""
    settle(database)
    with transaction(database, "calendar"):
        calendar = _calendars(database, [key[0]]).get(key) or Calendar()
        before = Before.of(calendar)
        change(calendar, *arguments)
        _store(database, {key: (calendar, before)})


def reopen(
    database: Connection,
    key: Key,
    days: Days | None,
    windows: Sequence[OpenWindow],
    sums: Mapping[int, Tally | None],
) -> None:
    """Make final windows open."""
    _change(database, key, Calendar.reopen, days, windows, sums)


def forget(database: Connection, key: Key, days: Days) -> None:
    """Make stored days missing."""
    _change(database, key, Calendar.forget, *days)


def rebook(database: Connection, today: date) -> bool:
    """Count calls of future days as today's (after a clock change); returns whether any were."""
    settle(database)
    if not rows_of(database, "SELECT 1 FROM budget WHERE day > ? LIMIT 1", str(today)):
        return False
    with transaction(database, "calls"):
        database.execute(
            "INSERT INTO budget SELECT appid, endpoint, :today, sum(calls) FROM budget"
            " WHERE day > :today GROUP BY appid, endpoint"
            " ON CONFLICT (appid, endpoint, day) DO UPDATE SET calls = excluded.calls + calls",
            {"today": str(today)},
        )
        database.execute("DELETE FROM budget WHERE day > :today", {"today": str(today)})
    return True


def learn_span(database: Connection, endpoint: str, days: int) -> None:
    """Remember the most days of a window that an interface accepts."""
    with transaction(database, "span"):
        database.execute(
            "INSERT INTO span VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET"
            " days = min(days, excluded.days)",
            (endpoint, days),
        )


def note_exhausted(database: Connection, said: Exhausted) -> None:
    """Remember WeChat's answer about a quota."""
    with transaction(database, "quota"):
        database.execute(
            "DELETE FROM exhausted WHERE appid = ? AND endpoint = ?", (said.appid, said.endpoint)
        )
        if said.until:
            database.execute("INSERT INTO exhausted VALUES (?, ?, ?, ?)", said)


def caught_up(database: Connection, sink: str, refilled: str = "") -> None:
    """A sink has everything that is stored."""
    with transaction(database, "sink"):
        known = sinks(database).get(sink, KnownSink(True))
        latest = max(known.refilled, refilled)
        database.execute("INSERT OR REPLACE INTO sink VALUES (?, 0, ?)", (sink, latest))


# what is known


def checkpoint(database: Connection, sink: str) -> dict[str, str]:
    """All that was stored for a sink."""
    rows = rows_of(database, "SELECT key, value FROM checkpoint WHERE sink = ?", sink)
    return {str(key): str(value) for key, value in rows}


def sinks(database: Connection) -> dict[str, KnownSink]:
    """The sinks that the ledger knows, by name."""
    rows = rows_of(database, "SELECT name, behind, refilled FROM sink ORDER BY name")
    return {str(name): KnownSink(not behind, str(refilled)) for name, behind, refilled in rows}


def accounts(database: Connection) -> list[str]:
    """The accounts that the ledger knows."""
    with _snapshot(database):
        found = {str(name) for (name,) in rows_of(database, "SELECT name FROM account")}
        found.update(name for (name,) in rows_of(database, "SELECT DISTINCT appid FROM asked"))
        found.update(_journal(database).rows)
    return sorted(found)


def calendars(database: Connection, appids: Sequence[str]) -> dict[Key, Calendar]:
    """The calendars of these accounts."""
    with _snapshot(database):
        found = _calendars(database, appids)
        _journal(database).apply(found, appids)
    return found


def _calendars(database: Connection, appids: Sequence[str]) -> dict[Key, Calendar]:
    found: dict[Key, Calendar] = {}
    for some in _some(appids):
        names = (
            " JOIN interface ON interface = interface.id"
            f" WHERE account.name IN ({', '.join('?' * len(some))})"
        )
        years = rows_of(
            database,
            "SELECT account.name, interface.name, year, days, records, checksum FROM account"
            f" JOIN calendar ON account = account.id{names}",
            *some,
        )
        windows = rows_of(
            database,
            "SELECT account.name, interface.name, first_day, last_day, state, records, checksum,"
            " due, detail, code, rid, fetched_at FROM account"
            f" JOIN open_window ON account = account.id{names}",
            *some,
        )
        found.update(calendars_of(years, windows))
    return found


def _some(names: Iterable[str]) -> Iterator[list[str]]:
    listed = list(names)
    for begin in range(0, len(listed), _AT_ONCE):
        yield listed[begin : begin + _AT_ONCE]


def asked(database: Connection) -> dict[Key, Days]:
    """The widest range ever requested, by account and interface."""
    return {
        (appid, endpoint): (date.fromisoformat(first), date.fromisoformat(last))
        for appid, endpoint, first, last in rows_of(database, "SELECT * FROM asked")
    }


def spent(database: Connection, day: date) -> dict[Key, int]:
    """The calls of a day in China."""
    with _snapshot(database):
        found = Counter({
            (appid, endpoint): int(calls)
            for appid, endpoint, calls in rows_of(
                database, "SELECT appid, endpoint, calls FROM budget WHERE day = ?", str(day)
            )
        })  # fmt: skip
        for (appid, endpoint, booked), calls in _journal(database).spent.items():
            if booked == str(day):
                found[appid, endpoint] += calls
    return dict(found)


def spans(database: Connection) -> dict[str, int]:
    """The longest windows, in days, that WeChat accepted, of interfaces that refused some."""
    return {name: int(days) for name, days in rows_of(database, "SELECT endpoint, days FROM span")}


def exhausted(database: Connection, now: float) -> dict[Key, Exhausted]:
    """The interfaces whose quota is used up at ``now``, a Unix time."""
    found = rows_of(database, "SELECT * FROM exhausted WHERE until > ?", now)
    return {
        (appid, endpoint): Exhausted(appid, endpoint, float(until), float(said))
        for appid, endpoint, until, said in found
    }
