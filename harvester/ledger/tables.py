"""The tables of the embedded ledger, and what is written into them and read.

Rule: functions of a connection; whoever opened it sees to its file, its thread and its errors.

A commit is one row of ``journal`` at first: a commit of a thousand accounts would change a thousand
calendars, and the next one the same.  When there are `LATEST` of them they are merged into the
calendars together; closing does the same, and who reads applies them to what is found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from sqlite3 import Connection
from typing import Any

from harvester import seal
from harvester.codec import encode, parse_small
from harvester.coverage import Calendar, OpenWindow, Outcome, joined, packed, unpacked
from harvester.durable import step
from harvester.ledger.base import Exhausted, Key, KnownSink, Spent
from harvester.model import Tally, Window
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
    """With the tables of a ledger that knows nothing, all or none of them."""
    database.executescript(f"BEGIN;{_SCHEMA}{seal.SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    return database


def rows_of(database: Connection, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query finds."""
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
    """All that is read within stands there at one moment, whoever else writes."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        if database.in_transaction:  # an error of the disk has ended it already
            database.execute("ROLLBACK")


# what a run writes


def register(
    database: Connection, ranges: Sequence[tuple[str, str, date, date]], sinks: Sequence[str]
) -> None:
    """Remember the ranges that are asked for, and where it is stored."""
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
        entries_ = {
            "outcomes": [_encoded(each) for each in joined(outcomes)],
            "spent": [(appid, name, day.isoformat(), calls) for appid, name, day, calls in spent],
        }
        number = database.execute(
            "INSERT INTO journal (entries) VALUES (?)", (encode(entries_).decode(),)
        ).lastrowid
        if (number or 0) >= LATEST:
            _merge(database)


def _store_checkpoint(database: Connection, sink: str, entries: Mapping[str, str]) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)",
        [(sink, key, value) for key, value in entries.items() if value],
    )
    database.executemany(
        "DELETE FROM checkpoint WHERE sink = ? AND key = ?",
        [(sink, key) for key, value in entries.items() if not value],
    )


def _encoded(outcome: Outcome) -> list[Any]:
    (appid, name, begin, end), state, (records, checksum), empty, *why = outcome
    first, last = begin.toordinal(), end.toordinal()
    found: list[Any] = [appid, name, first, last, state, records, checksum, f"{empty:x}"]
    return found if state == "final" else [*found, *why]


def _decoded(row: Sequence[Any]) -> Outcome:
    appid, name, first, last, state, records, checksum, empty, *why = row
    window = Window(appid, name, date.fromordinal(first), date.fromordinal(last))
    return Outcome(window, state, Tally(records, checksum), int(empty, 16), *why)


def settle(database: Connection) -> None:
    """Merge what the latest commits brought, if they brought anything."""
    if rows_of(database, "SELECT 1 FROM journal LIMIT 1"):
        with transaction(database, "journal"):
            _merge(database)


def _merge(database: Connection) -> None:
    outcomes, spent = _journal(database)
    for appid, by_name in outcomes.items():
        known = _calendars(database, [appid])
        for name, came in by_name.items():
            calendar = known.get((appid, name)) or Calendar()
            before = {year: bytes(row) for year, row in calendar.years.items()}
            sums, windows = dict(calendar.sums), dict(calendar.windows)
            for outcome in came:
                calendar.apply(outcome)
            _store(database, (appid, name), calendar, (before, sums, windows))
    _book(database, spent)
    database.execute("DELETE FROM journal")


def _journal(database: Connection) -> tuple[dict[str, dict[str, list[Outcome]]], Counter[Any]]:
    """What the latest commits brought: outcomes by account and interface, and calls."""
    outcomes: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    spent: Counter[Any] = Counter()
    for (text,) in rows_of(database, "SELECT entries FROM journal ORDER BY number"):
        entries = parse_small(text.encode())
        for row in entries["outcomes"]:
            outcome = _decoded(row)
            outcomes[outcome.window.appid][outcome.window.endpoint].append(outcome)
        for appid, name, day, calls in entries["spent"]:
            spent[appid, name, day] += calls
    return outcomes, spent


def _book(database: Connection, spent: Mapping[tuple[str, str, str], int]) -> None:
    database.executemany(
        "INSERT INTO budget VALUES (?, ?, ?, ?)"
        " ON CONFLICT (appid, endpoint, day) DO UPDATE SET calls = calls + excluded.calls",
        [(*place, calls) for place, calls in spent.items()],
    )


Before = tuple[Mapping[int, bytes], Mapping[int, Tally | None], Mapping[date, OpenWindow]]


def _store(database: Connection, key: Key, calendar: Calendar, before: Before) -> None:
    """Write what changed of a calendar."""
    place = _ids(database, key)
    years, sums, windows = before
    changed = []
    for year, row in calendar.years.items():
        tally = calendar.sums.get(year, Tally())
        if years.get(year) != bytes(row) or sums.get(year, Tally()) != tally:
            changed.append((*place, year, packed(row), *(tally or (None, None))))
    database.executemany("INSERT OR REPLACE INTO calendar VALUES (?, ?, ?, ?, ?, ?)", changed)
    gone = [(*place, str(first)) for first in windows.keys() - calendar.windows.keys()]
    database.executemany(
        "DELETE FROM open_window WHERE account = ? AND interface = ? AND first_day = ?", gone
    )
    came = [
        (*place, str(w.begin), str(w.end), w.state, *w.tally, *w[4:])
        for first, w in calendar.windows.items()
        if windows.get(first) != w
    ]
    database.executemany(
        "INSERT OR REPLACE INTO open_window VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", came
    )


def _ids(database: Connection, key: Key) -> tuple[int, int]:
    found = []
    for table, name in zip(("account", "interface"), key, strict=True):
        rows = rows_of(database, f"SELECT id FROM {table} WHERE name = ?", name)
        if not rows:
            database.execute(f"INSERT INTO {table} (name) VALUES (?)", (name,))
            rows = rows_of(database, f"SELECT id FROM {table} WHERE name = ?", name)
        found.append(int(rows[0][0]))
    return found[0], found[1]


def _change(database: Connection, key: Key, change: Any, *arguments: Any) -> None:
    """Change a calendar in a transaction of its own."""
    settle(database)
    with transaction(database, "calendar"):
        calendar = _calendars(database, [key[0]]).get(key) or Calendar()
        before = {year: bytes(row) for year, row in calendar.years.items()}
        former = (before, dict(calendar.sums), dict(calendar.windows))
        change(calendar, *arguments)
        _store(database, key, calendar, former)


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
    """Count the calls of days that have not come as today's; gives whether there were any."""
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
    """Remember that an interface takes windows of so many days at the most."""
    with transaction(database, "span"):
        database.execute(
            "INSERT INTO span VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET"
            " days = min(days, excluded.days)",
            (endpoint, days),
        )


def note_exhausted(database: Connection, said: Exhausted) -> None:
    """Remember what WeChat said of a quota."""
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
    """The accounts of which anything is known."""
    with _snapshot(database):
        found = {str(name) for (name,) in rows_of(database, "SELECT name FROM account")}
        found.update(name for (name,) in rows_of(database, "SELECT DISTINCT appid FROM asked"))
        found.update(_journal(database)[0])
    return sorted(found)


def calendars(database: Connection, appids: Sequence[str]) -> dict[Key, Calendar]:
    """What is known of these accounts."""
    with _snapshot(database):
        found = _calendars(database, appids)
        outcomes, _ = _journal(database)
        for appid in appids:
            for name, came in outcomes.get(appid, {}).items():
                calendar = found.setdefault((appid, name), Calendar())
                for outcome in came:
                    calendar.apply(outcome)
    return found


def _calendars(database: Connection, appids: Sequence[str]) -> dict[Key, Calendar]:
    found: dict[Key, Calendar] = {}
    for some in _some(appids):
        marks = ", ".join("?" * len(some))
        for appid, name, year, days, records, checksum in rows_of(
            database,
            "SELECT account.name, interface.name, year, days, records, checksum FROM account"
            " JOIN calendar ON account = account.id JOIN interface ON interface = interface.id"
            f" WHERE account.name IN ({marks})",
            *some,
        ):
            calendar = found.get((appid, name))
            if calendar is None:
                calendar = found[appid, name] = Calendar()
            calendar.years[year] = unpacked(days, year)
            calendar.sums[year] = None if records is None else Tally(records, checksum)
        for appid, name, first, last, state, records, checksum, *why in rows_of(
            database,
            "SELECT account.name, interface.name, first_day, last_day, state, records, checksum,"
            " due, detail, code, rid, fetched_at FROM account"
            " JOIN open_window ON account = account.id"
            f" JOIN interface ON interface = interface.id WHERE account.name IN ({marks})",
            *some,
        ):
            begin, end = date.fromisoformat(first), date.fromisoformat(last)
            window = OpenWindow(begin, end, state, Tally(records, checksum), *why)
            found.setdefault((appid, name), Calendar()).windows[begin] = window
    return found


def _some(names: Iterable[str]) -> Iterator[list[str]]:
    listed = list(names)
    for begin in range(0, len(listed), _AT_ONCE):
        yield listed[begin : begin + _AT_ONCE]


def asked(database: Connection) -> dict[Key, Days]:
    """The widest range ever asked for, by account and interface."""
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
        for (appid, endpoint, booked), calls in _journal(database)[1].items():
            if booked == str(day):
                found[appid, endpoint] += calls
    return dict(found)


def spans(database: Connection) -> dict[str, int]:
    """The longest windows, in days, that WeChat took, of interfaces that refused some."""
    return {name: int(days) for name, days in rows_of(database, "SELECT endpoint, days FROM span")}


def exhausted(database: Connection, now: float) -> dict[Key, Exhausted]:
    """The interfaces whose quota is spent now, a Unix time."""
    found = rows_of(database, "SELECT * FROM exhausted WHERE until > ?", now)
    return {
        (appid, endpoint): Exhausted(appid, endpoint, float(until), float(said))
        for appid, endpoint, until, said in found
    }
