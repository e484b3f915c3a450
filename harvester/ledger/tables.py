"""The ledger's tables: what stands in them, and how it gets there.

Rule: functions of a connection; whoever opened it sees to its file, its thread and its errors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from sqlite3 import Connection
from typing import NamedTuple

from harvester import coverage, seal
from harvester.coverage import Stretch
from harvester.durable import step
from harvester.model import Tally, Window
from harvester.plan import ONE_DAY, Days

VERSION = 4

_SCHEMA = """
CREATE TABLE stretch (
    sink TEXT NOT NULL, appid TEXT NOT NULL, endpoint TEXT NOT NULL,
    first_day TEXT NOT NULL, last_day TEXT NOT NULL,
    state TEXT NOT NULL, records INTEGER NOT NULL, checksum INTEGER NOT NULL,
    empty BLOB NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (sink, appid, endpoint, first_day)
) WITHOUT ROWID;
CREATE TABLE receipt (
    sink TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (sink, key)
) WITHOUT ROWID;
CREATE TABLE provisional (
    sink TEXT NOT NULL, appid TEXT NOT NULL, endpoint TEXT NOT NULL,
    first_day TEXT NOT NULL, last_day TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (sink, appid, endpoint, first_day, last_day)
) WITHOUT ROWID;
CREATE TABLE span (
    endpoint TEXT NOT NULL PRIMARY KEY, days INTEGER NOT NULL
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

_NEIGHBOURS = """
SELECT first_day, last_day, state, records, checksum, empty, detail FROM stretch
WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint
  AND first_day <= :after
  AND first_day >= coalesce((
      SELECT max(first_day) FROM stretch
      WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint AND first_day <= :before
  ), '')
ORDER BY first_day
"""

_LENGTHEN = """
UPDATE stretch SET
    first_day = min(first_day, :begin), last_day = max(last_day, :end),
    records = records + :records, checksum = checksum + :checksum
WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint
  AND state = 'done' AND typeof(checksum + :checksum) = 'integer'
  AND first_day = (
      SELECT max(first_day) FROM stretch
      WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint AND first_day <= :after
  )
  AND (last_day = :before OR first_day = :after AND empty = x'' AND :before > coalesce((
      SELECT last_day FROM stretch
      WHERE sink = :sink AND appid = :appid AND endpoint = :endpoint AND first_day < :after
      ORDER BY first_day DESC LIMIT 1
  ), ''))
"""
"""Days that are harvested one after the other, or newest first, make the stretch beside them longer
and touch no other.  In one step, since with a thousand accounts at once each window of a commit is
the neighbour of another stretch."""

Key = tuple[str, str]
"""An appid and an interface."""


class Settled(NamedTuple):
    """What became of one window: a stretch of one window's days, and whose they are."""

    window: Window
    stretch: Stretch


class Entry(NamedTuple):
    """What one sink did with one group of windows; stored in one transaction with all others.

    provisional: stored windows whose figures can still change, and why; final: windows of which
    that is not said any more.
    """

    sink: str
    settled: Sequence[Settled]
    receipt: Mapping[str, str] = {}
    replaced: Mapping[Window, Tally] = {}
    provisional: Mapping[Window, str] = {}
    final: Sequence[Window] = ()


class Spent(NamedTuple):
    """Calls of one interface of one account on one day in China."""

    appid: str
    endpoint: str
    day: date
    calls: int


def _rows(database: Connection, sql: str, *values: object) -> list[tuple[str, ...]]:
    return database.execute(sql, values).fetchall()


def receipt(database: Connection, sink: str) -> dict[str, str]:
    """All that was stored for a sink."""
    rows = _rows(database, "SELECT key, value FROM receipt WHERE sink = ?", sink)
    return {str(key): str(value) for key, value in rows}


def sinks(database: Connection) -> list[str]:
    """The sinks that were ever used with this ledger."""
    rows = _rows(database, "SELECT sink FROM receipt UNION SELECT sink FROM stretch ORDER BY sink")
    return [name for (name,) in rows]


def done(database: Connection, sink: str) -> dict[Key, list[Days]]:
    """For each account and interface the harvested stretches, in order."""
    found: dict[Key, list[Days]] = defaultdict(list)
    for appid, endpoint, first, last in _rows(
        database,
        "SELECT appid, endpoint, first_day, last_day FROM stretch"
        " WHERE sink = ? AND state = 'done' ORDER BY appid, endpoint, first_day",
        sink,
    ):
        found[appid, endpoint].append((date.fromisoformat(first), date.fromisoformat(last)))
    return found


def stretches(database: Connection, sink: str) -> dict[Key, list[Stretch]]:
    """Everything that is known of a sink, by account and interface, in order."""
    found: dict[Key, list[Stretch]] = defaultdict(list)
    for appid, endpoint, *row in _rows(
        database,
        "SELECT appid, endpoint, first_day, last_day, state, records, checksum, empty, detail"
        " FROM stretch WHERE sink = ? ORDER BY appid, endpoint, first_day",
        sink,
    ):
        found[appid, endpoint].append(_stretch(row))
    return found


def provisional(database: Connection, sink: str) -> dict[Key, dict[Days, str]]:
    """For each account and interface the stored windows that can still change, and why."""
    found: dict[Key, dict[Days, str]] = defaultdict(dict)
    for appid, endpoint, first, last, reason in _rows(
        database,
        "SELECT appid, endpoint, first_day, last_day, reason FROM provisional WHERE sink = ?",
        sink,
    ):
        days = (date.fromisoformat(first), date.fromisoformat(last))
        found[appid, endpoint][days] = reason
    return found


def spans(database: Connection) -> dict[str, int]:
    """The longest windows, in days, that WeChat took, of interfaces that refused some."""
    return {name: int(days) for name, days in _rows(database, "SELECT endpoint, days FROM span")}


def learn_span(database: Connection, endpoint: str, days: int) -> None:
    """Remember that an interface takes windows of so many days at the most."""
    with transaction(database, "span"):
        database.execute(
            "INSERT INTO span VALUES (?, ?) ON CONFLICT DO UPDATE SET"
            " days = min(days, excluded.days)",
            (endpoint, days),
        )


def asked(database: Connection) -> dict[Key, Days]:
    """The widest range ever asked for, by account and interface."""
    return {
        (appid, endpoint): (date.fromisoformat(first), date.fromisoformat(last))
        for appid, endpoint, first, last in _rows(database, "SELECT * FROM asked")
    }


def spent(database: Connection, day: date) -> dict[Key, int]:
    """The calls of a day in China."""
    rows = _rows(
        database, "SELECT appid, endpoint, calls FROM spent WHERE day = ?", day.isoformat()
    )
    return {(appid, endpoint): int(calls) for appid, endpoint, calls in rows}


def rebook(database: Connection, today: date) -> bool:
    """Book the calls of days that have not come on today; gives whether there were any."""
    if not _rows(database, "SELECT 1 FROM spent WHERE day > ? LIMIT 1", str(today)):
        return False
    with transaction(database, "calls"):
        database.execute(
            "INSERT INTO spent SELECT appid, endpoint, :today, sum(calls) FROM spent"
            " WHERE day > :today GROUP BY appid, endpoint"
            " ON CONFLICT DO UPDATE SET calls = excluded.calls + calls",
            {"today": str(today)},
        )
        database.execute("DELETE FROM spent WHERE day > :today", {"today": str(today)})
    return True


def ask(database: Connection, ranges: Sequence[tuple[str, str, date, date]]) -> None:
    """Remember the ranges that are asked for."""
    with transaction(database, "range"):
        database.executemany(
            "INSERT INTO asked VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " first_day = min(first_day, excluded.first_day),"
            " last_day = max(last_day, excluded.last_day)",
            [(appid, name, str(begin), str(end)) for appid, name, begin, end in ranges],
        )


def commit(database: Connection, entries: Sequence[Entry], spent: Sequence[Spent]) -> None:
    """Store all of it, or nothing, durably."""
    with transaction(database, "ledger"):
        for entry in entries:
            for key, stretches in _by_key(database, entry).items():
                for stretch in coverage.fold(stretches):
                    _lay(database, entry.sink, key, stretch)
            _store_provisional(database, entry)
            _store_receipt(database, entry)
        database.executemany(
            "INSERT INTO spent VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
            [(appid, name, str(day), calls) for appid, name, day, calls in spent],
        )


def _lay(database: Connection, sink: str, key: Key, new: Stretch) -> None:
    place: dict[str, object] = {
        "sink": sink,
        "appid": key[0],
        "endpoint": key[1],
        "before": str(new.begin - ONE_DAY),
        "after": str(new.end + ONE_DAY),
    }
    if new.state == coverage.DONE and not new.empty and _lengthened(database, place, new):
        return
    rows = database.execute(_NEIGHBOURS, place).fetchall()
    before = [_stretch(row) for row in rows]
    before = [old for old in before if old.end + ONE_DAY >= new.begin]
    after = coverage.lay(before, new)
    database.executemany(
        "DELETE FROM stretch WHERE sink = ? AND appid = ? AND endpoint = ? AND first_day = ?",
        [(sink, *key, str(old.begin)) for old in before],
    )
    database.executemany(
        "INSERT INTO stretch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(sink, *key, *_row(stretch)) for stretch in after],
    )


def _lengthened(database: Connection, place: dict[str, object], new: Stretch) -> bool:
    """Whether harvested days could be added to the one stretch that they touch."""
    figures = {
        "begin": str(new.begin),
        "end": str(new.end),
        "records": new.records,
        "checksum": new.checksum,
    }
    return database.execute(_LENGTHEN, {**place, **figures}).rowcount == 1


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


def _by_key(database: Connection, entry: Entry) -> dict[Key, list[Stretch]]:
    found: dict[Key, list[Stretch]] = defaultdict(list)
    replaced = entry.replaced
    for window, stretch in entry.settled:
        former = replaced.get(window) if replaced else None
        if former is not None and _counted(database, entry.sink, window):
            stretch = coverage.replaced(stretch, *former)
        found[window.appid, window.endpoint].append(stretch)
    return found


def _counted(database: Connection, sink: str, window: Window) -> bool:
    """Whether this ledger's figures hold the window: a sink may have had it from elsewhere."""
    return bool(
        database.execute(
            "SELECT 1 FROM stretch WHERE sink = ? AND appid = ? AND endpoint = ?"
            " AND state = 'done' AND first_day <= ? AND last_day >= ?",
            (sink, window.appid, window.endpoint, str(window.end), str(window.begin)),
        ).fetchone()
    )


def _store_provisional(database: Connection, entry: Entry) -> None:
    database.executemany(
        "DELETE FROM provisional WHERE sink = ? AND appid = ? AND endpoint = ?"
        " AND first_day >= ? AND last_day <= ?",
        [
            (entry.sink, appid, name, str(begin), str(end))
            for appid, name, begin, end in (*entry.final, *entry.provisional)  # it replaces those
        ],
    )
    database.executemany(
        "INSERT OR REPLACE INTO provisional VALUES (?, ?, ?, ?, ?, ?)",
        [
            (entry.sink, appid, name, str(begin), str(end), reason)
            for (appid, name, begin, end), reason in entry.provisional.items()
        ],
    )


def _store_receipt(database: Connection, entry: Entry) -> None:
    kept = [(entry.sink, key, value) for key, value in entry.receipt.items() if value]
    gone = [(entry.sink, key) for key, value in entry.receipt.items() if not value]
    database.executemany("INSERT OR REPLACE INTO receipt VALUES (?, ?, ?)", kept)
    database.executemany("DELETE FROM receipt WHERE sink = ? AND key = ?", gone)


def _stretch(row: Sequence[object]) -> Stretch:
    first, last, state, records, checksum, empty, detail = row
    return Stretch(
        date.fromisoformat(str(first)),
        date.fromisoformat(str(last)),
        str(state),
        int(str(records)),
        int(str(checksum)),
        int.from_bytes(empty if isinstance(empty, bytes) else b"", "little"),
        str(detail),
    )


def _row(stretch: Stretch) -> tuple[object, ...]:
    empty = stretch.empty.to_bytes((stretch.empty.bit_length() + 7) // 8, "little")
    return (
        str(stretch.begin),
        str(stretch.end),
        stretch.state,
        stretch.records,
        stretch.checksum,
        empty,
        stretch.detail,
    )
