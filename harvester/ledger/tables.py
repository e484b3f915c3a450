"""The ledger's tables, and what is simply written into them and read.

Rule: functions of a connection; whoever opened it sees to its file, its thread and its errors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from sqlite3 import Connection
from typing import NamedTuple

from harvester import seal
from harvester.coverage import Stretch
from harvester.durable import step
from harvester.model import Batch, Tally, Window
from harvester.plan import Days

VERSION = 6

_SCHEMA = """
CREATE TABLE stretch (
    sink TEXT NOT NULL, appid TEXT NOT NULL, endpoint TEXT NOT NULL,
    first_day TEXT NOT NULL, last_day TEXT NOT NULL,
    state TEXT NOT NULL, records INTEGER NOT NULL, checksum INTEGER NOT NULL,
    empty BLOB NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (sink, appid, endpoint, first_day)
) WITHOUT ROWID;
CREATE TABLE latest (
    number INTEGER PRIMARY KEY, sink TEXT NOT NULL, settled TEXT NOT NULL
);
CREATE TABLE latest_spent (
    number INTEGER PRIMARY KEY, spent TEXT NOT NULL
);
CREATE TABLE receipt (
    sink TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (sink, key)
) WITHOUT ROWID;
CREATE TABLE provisional (
    sink TEXT NOT NULL, appid TEXT NOT NULL, endpoint TEXT NOT NULL,
    first_day TEXT NOT NULL, last_day TEXT NOT NULL, reason TEXT NOT NULL, due REAL NOT NULL,
    PRIMARY KEY (sink, appid, endpoint, first_day, last_day)
) WITHOUT ROWID;
CREATE TABLE exhausted (
    appid TEXT NOT NULL, endpoint TEXT NOT NULL, until REAL NOT NULL, asked REAL NOT NULL,
    PRIMARY KEY (appid, endpoint)
) WITHOUT ROWID;
CREATE TABLE span (
    endpoint TEXT NOT NULL PRIMARY KEY, days INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE grid (
    sink TEXT NOT NULL, endpoint TEXT NOT NULL, kept TEXT NOT NULL,
    PRIMARY KEY (sink, endpoint, kept)
) WITHOUT ROWID;
CREATE TABLE asked (
    appid TEXT NOT NULL, endpoint TEXT NOT NULL, first_day TEXT NOT NULL, last_day TEXT NOT NULL,
    PRIMARY KEY (appid, endpoint)
) WITHOUT ROWID;
CREATE TABLE spent (
    appid TEXT NOT NULL, endpoint TEXT NOT NULL, day TEXT NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (appid, endpoint, day)
) WITHOUT ROWID;
"""

Key = tuple[str, str]
"""An appid and an interface."""


class Settled(NamedTuple):
    """What became of one window: a stretch of one window's days, and whose they are."""

    window: Window
    stretch: Stretch


class Entry(NamedTuple):
    """What one sink did with one group of windows; stored in one transaction with all others.

    settled: what became of windows; harvested: windows that the sink has stored, as they came.
    replaced: the former figures of those that stood there.
    provisional: stored windows whose figures can still change; final: windows of which that is not
    said any more.
    """

    sink: str
    settled: Sequence[Settled]
    receipt: Mapping[str, str] = {}
    replaced: Mapping[Window, Tally] = {}
    provisional: Mapping[Window, Young] = {}
    final: Sequence[Window] = ()
    harvested: Sequence[Batch] = ()


class Young(NamedTuple):
    """Why a stored window can still change, and the Unix time from which it is asked for again."""

    reason: str
    due: float = 0.0


class Exhausted(NamedTuple):
    """The quota of an interface of an account is spent.

    until: the Unix time at which it begins anew, 0 if it is spent no more; asked: when WeChat said
    so last.
    """

    appid: str
    endpoint: str
    until: float
    asked: float


class Cutting(NamedTuple):
    """How windows of an interface are cut from now on in one sink.

    kept: as `Grid.kept`, or `UNKNOWN_CUT`.  alone: no window stands there that was cut otherwise.
    """

    sink: str
    endpoint: str
    kept: str
    alone: bool = False


class Spent(NamedTuple):
    """Calls of one interface of one account on one day in China."""

    appid: str
    endpoint: str
    day: date
    calls: int


def rows_of(database: Connection, sql: str, *values: object) -> list[tuple[str, ...]]:
    """What a query finds."""
    return database.execute(sql, values).fetchall()


def receipt(database: Connection, sink: str) -> dict[str, str]:
    """All that was stored for a sink."""
    rows = rows_of(database, "SELECT key, value FROM receipt WHERE sink = ?", sink)
    return {str(key): str(value) for key, value in rows}


def provisional(database: Connection, sink: str) -> dict[Key, dict[Days, Young]]:
    """For each account and interface the stored windows that can still change, and why."""
    found: dict[Key, dict[Days, Young]] = defaultdict(dict)
    for appid, endpoint, first, last, reason, due in rows_of(
        database,
        "SELECT appid, endpoint, first_day, last_day, reason, due FROM provisional WHERE sink = ?",
        sink,
    ):
        days = (date.fromisoformat(first), date.fromisoformat(last))
        found[appid, endpoint][days] = Young(reason, float(due))
    return found


def exhausted(database: Connection, now: float) -> dict[Key, Exhausted]:
    """The interfaces whose quota is spent now, a Unix time."""
    found = rows_of(database, "SELECT * FROM exhausted WHERE until > ?", now)
    return {
        (appid, endpoint): Exhausted(appid, endpoint, float(until), float(asked))
        for appid, endpoint, until, asked in found
    }


def note_exhausted(database: Connection, said: Exhausted) -> None:
    """Remember what WeChat said of a quota."""
    with transaction(database, "quota"):
        database.execute(
            "DELETE FROM exhausted WHERE appid = ? AND endpoint = ?", (said.appid, said.endpoint)
        )
        if said.until:
            database.execute("INSERT INTO exhausted VALUES (?, ?, ?, ?)", said)


def spans(database: Connection) -> dict[str, int]:
    """The longest windows, in days, that WeChat took, of interfaces that refused some."""
    return {name: int(days) for name, days in rows_of(database, "SELECT endpoint, days FROM span")}


def learn_span(database: Connection, endpoint: str, days: int) -> None:
    """Remember that an interface takes windows of so many days at the most."""
    with transaction(database, "span"):
        database.execute(
            "INSERT INTO span VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET"
            " days = min(days, excluded.days)",
            (endpoint, days),
        )


def asked(database: Connection) -> dict[Key, Days]:
    """The widest range ever asked for, by account and interface."""
    return {
        (appid, endpoint): (date.fromisoformat(first), date.fromisoformat(last))
        for appid, endpoint, first, last in rows_of(database, "SELECT * FROM asked")
    }


def grids(database: Connection, sink: str) -> dict[str, set[str]]:
    """In which ways windows of each interface were ever cut that may stand in a sink."""
    found: dict[str, set[str]] = defaultdict(set)
    rows = rows_of(database, "SELECT endpoint, kept FROM grid WHERE sink = ?", sink)
    for endpoint, kept in rows:
        found[endpoint].add(kept)
    return found


def ask(
    database: Connection,
    ranges: Sequence[tuple[str, str, date, date]],
    cuttings: Sequence[Cutting],
) -> None:
    """Remember the ranges that are asked for, and how their windows are cut."""
    with transaction(database, "range"):
        database.executemany(
            "DELETE FROM grid WHERE sink = ? AND endpoint = ?",
            [(sink, endpoint) for sink, endpoint, _, alone in cuttings if alone],
        )
        database.executemany(
            "INSERT OR IGNORE INTO grid VALUES (?, ?, ?)",
            [(sink, endpoint, kept) for sink, endpoint, kept, _ in cuttings],
        )
        database.executemany(
            "INSERT INTO asked VALUES (?, ?, ?, ?) ON CONFLICT (appid, endpoint) DO UPDATE SET"
            " first_day = min(first_day, excluded.first_day),"
            " last_day = max(last_day, excluded.last_day)",
            [(appid, name, str(begin), str(end)) for appid, name, begin, end in ranges],
        )


def made(database: Connection) -> Connection:
    """With the tables of a ledger that knows nothing, all or none of them."""
    database.executescript(f"BEGIN;{_SCHEMA}{seal.SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    return database


class transaction:  # noqa: N801  (reads as the verb it is)
    """BEGIN to COMMIT, or ROLLBACK; ``what`` names the durable step."""

    def __init__(self, database: Connection, what: str) -> None:
        self._database = database
        self._what = what

    def __enter__(self) -> Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(self, kind: object, *exc_info: object) -> None:
        try:
            if kind is None:
                with step(f"commit {self._what}"):
                    self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")


def store_provisional(database: Connection, entry: Entry) -> None:
    """What an entry says of figures that can still change."""
    database.executemany(
        "DELETE FROM provisional WHERE sink = ? AND appid = ? AND endpoint = ?"
        " AND first_day >= ? AND last_day <= ?",
        [
            (entry.sink, appid, name, str(begin), str(end))
            for appid, name, begin, end in (*entry.final, *entry.provisional)  # it replaces those
        ],
    )
    database.executemany(
        "INSERT OR REPLACE INTO provisional VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (entry.sink, appid, name, str(begin), str(end), *young)
            for (appid, name, begin, end), young in entry.provisional.items()
        ],
    )


def store_receipt(database: Connection, entry: Entry) -> None:
    """What a sink wants to have kept."""
    kept = [(entry.sink, key, value) for key, value in entry.receipt.items() if value]
    gone = [(entry.sink, key) for key, value in entry.receipt.items() if not value]
    database.executemany("INSERT OR REPLACE INTO receipt VALUES (?, ?, ?)", kept)
    database.executemany("DELETE FROM receipt WHERE sink = ? AND key = ?", gone)
