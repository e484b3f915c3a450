"""What a commit brings: a row of its own at first, and laid into the other tables later.

A commit of a thousand accounts is the neighbour of a thousand stretches, and the next one of the
same.  So each is one row here, and when there are `LATEST` of them they are laid in together, when
most of what they bring has become one stretch an account.  Closing does the same; a process that is
killed leaves them here.  Whoever reads lays them over what he finds, so nothing of this is seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from operator import attrgetter
from sqlite3 import Connection
from typing import Any

from harvester import coverage
from harvester.codec import add_checksums, encode, parse_small
from harvester.coverage import DONE, Stretch
from harvester.ledger import stretches as rows
from harvester.ledger.tables import (
    Entry,
    Key,
    Settled,
    Spent,
    rows_of,
    store_provisional,
    store_receipt,
    transaction,
)
from harvester.model import Batch
from harvester.plan import Days

LATEST = 30
"""Rows that are laid in together, one a commit and sink: some 20,000 windows, or 2 MB."""
MOST_AT_ONCE = 4096
"""Windows of an entry; one of more is laid in at once."""

Row = tuple[str, str, int, int, str, int, int, str, str]
"""A stretch in the row of a commit: whose it is, its days counted from the year 1, the others."""

_WINDOW = attrgetter("window")


def commit(database: Connection, entries: Sequence[Entry], spent: Sequence[Spent]) -> None:
    """Store all of it, or nothing, durably."""
    with transaction(database, "ledger"):
        number = 0
        for entry in entries:
            if entry.replaced or len(entry.settled) + len(entry.harvested) > MOST_AT_ONCE:
                _lay_latest(database)
                rows.lay(database, entry.sink, _less_what_was_replaced(database, entry))
            elif entry.settled or entry.harvested:
                number = max(number, _note(database, entry))
            store_provisional(database, entry)
            store_receipt(database, entry)
        if spent:
            number = max(number, _note_spent(database, spent))
        if number >= LATEST:
            _lay_latest(database)


def settle(database: Connection) -> None:
    """Lay in what the latest commits brought, if they brought anything."""
    if rows_of(database, "SELECT 1 FROM latest UNION ALL SELECT 1 FROM latest_spent LIMIT 1"):
        with transaction(database, "latest"):
            _lay_latest(database)


# what is known


def sinks(database: Connection) -> list[str]:
    """The sinks that were ever used with this ledger."""
    found = rows_of(
        database,
        "SELECT sink FROM receipt UNION SELECT sink FROM stretch UNION SELECT sink FROM latest"
        " ORDER BY sink",
    )
    return [name for (name,) in found]


def stretches(database: Connection, sink: str) -> dict[Key, list[Stretch]]:
    """Everything that is known of a sink, by account and interface, in order."""
    with _snapshot(database):
        found = rows.stretches(database, sink)
        for key, brought in _latest(database, sink).get(sink, {}).items():
            known = found[key]
            for stretch in coverage.together(brought):
                coverage.overlay(known, stretch)
    return dict(sorted(found.items()))


def done(database: Connection, sink: str) -> dict[Key, list[Days]]:
    """For each account and interface the harvested stretches, in order."""
    if not rows_of(database, "SELECT 1 FROM latest WHERE sink = ? LIMIT 1", sink):
        return rows.done(database, sink)
    found: dict[Key, list[Days]] = defaultdict(list)
    for key, known in stretches(database, sink).items():
        if days := [(each.begin, each.end) for each in known if each.state == DONE]:
            found[key] = days
    return found


def spent(database: Connection, day: date) -> dict[Key, int]:
    """The calls of a day in China."""
    with _snapshot(database):
        found = Counter({
            (appid, endpoint): int(calls)
            for appid, endpoint, calls in rows_of(
                database, "SELECT appid, endpoint, calls FROM spent WHERE day = ?", str(day)
            )
        })  # fmt: skip
        for (appid, endpoint, booked), calls in _latest_spent(database).items():
            if booked == str(day):
                found[appid, endpoint] += calls
    return dict(found)


def rebook(database: Connection, today: date) -> bool:
    """Book the calls of days that have not come on today; gives whether there were any."""
    settle(database)
    if not rows_of(database, "SELECT 1 FROM spent WHERE day > ? LIMIT 1", str(today)):
        return False
    with transaction(database, "calls"):
        database.execute(
            "INSERT INTO spent SELECT appid, endpoint, :today, sum(calls) FROM spent"
            " WHERE day > :today GROUP BY appid, endpoint"
            " ON CONFLICT (appid, endpoint, day) DO UPDATE SET calls = excluded.calls + calls",
            {"today": str(today)},
        )
        database.execute("DELETE FROM spent WHERE day > :today", {"today": str(today)})
    return True


@contextmanager
def _snapshot(database: Connection) -> Iterator[None]:
    """All that is read within stands there at one moment, whoever else writes."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        if database.in_transaction:  # an error of the disk has ended it already
            database.execute("ROLLBACK")


# the latest commits


def _note(database: Connection, entry: Entry) -> int:
    """Keep an entry as it is; gives how many there are."""
    brought = [*_harvested(entry.harvested), *_settled(entry.settled)]
    return _kept(database, "INSERT INTO latest (sink, settled) VALUES (?, ?)", entry.sink, brought)


def _settled(settled: Sequence[Settled]) -> list[Row]:
    return [
        (appid, name, begin.toordinal(), end.toordinal(), state, records, total, f"{empty:x}", why)
        for (appid, name, _, _), (begin, end, state, records, total, empty, why) in settled
    ]


def _harvested(batches: Sequence[Batch]) -> list[Row]:
    """Neighbouring windows of one interface of one account as one."""
    brought: list[Row] = []
    ordered = iter(sorted(batches, key=_WINDOW))
    batch = next(ordered, None)
    while batch is not None:
        appid, name, begin, end = batch.window
        first, last = begin.toordinal(), end.toordinal()
        records, total = batch.records, batch.checksum
        empty = 0 if records and not batch.gaps else batch.empty
        for batch in ordered:
            whose, what, begin, end = batch.window
            day = begin.toordinal()
            if day != last + 1 or whose != appid or what != name:
                break
            if batch.gaps or not batch.records:
                empty |= batch.empty << (day - first)
            records += batch.records
            total += batch.checksum
            last = end.toordinal()
        else:
            batch = None
        total = add_checksums(total, 0)
        brought.append((appid, name, first, last, DONE, records, total, f"{empty:x}", ""))
    return brought


def _note_spent(database: Connection, spent: Sequence[Spent]) -> int:
    brought = [(appid, endpoint, day, int(calls)) for appid, endpoint, day, calls in spent]
    return _kept(database, "INSERT INTO latest_spent (spent) VALUES (?)", brought)


def _kept(database: Connection, sql: str, *values: Any) -> int:
    *others, brought = values
    return database.execute(sql, (*others, encode(brought).decode())).lastrowid or 0


def _latest(database: Connection, sink: str | None = None) -> dict[str, dict[Key, list[Stretch]]]:
    """What the latest commits brought, by sink, account and interface, in their order."""
    found: dict[str, dict[Key, list[list[Any]]]] = defaultdict(dict)
    for whose, brought in rows_of(
        database,
        "SELECT sink, settled FROM latest WHERE sink = coalesce(?, sink) ORDER BY number",
        sink,
    ):
        by_key = found[whose]
        for row in parse_small(brought.encode()):
            key = row[0], row[1]
            known = by_key.get(key)
            if known is None:
                by_key[key] = [row]
            elif not _joined(known[-1], row):
                known.append(row)
    return {
        whose: {key: [_stretch(row) for row in known] for key, known in by_key.items()}
        for whose, by_key in found.items()
    }


def _joined(former: list[Any], row: list[Any]) -> bool:
    """Join harvested days without an empty one to their neighbours before: the usual case."""
    if not (former[4] == row[4] == DONE and former[7] == row[7] == "0"):
        return False
    if row[2] == former[3] + 1:
        former[3] = row[3]
    elif row[3] + 1 == former[2]:
        former[2] = row[2]
    else:
        return False
    former[5] += row[5]
    former[6] = add_checksums(former[6], row[6])
    return True


def _stretch(row: Sequence[Any]) -> Stretch:
    _, _, first, last, state, records, total, empty, why = row
    begin, end = date.fromordinal(first), date.fromordinal(last)
    return Stretch(begin, end, state, records, total, int(empty, 16), why)


def _latest_spent(database: Connection) -> dict[tuple[str, str, str], int]:
    """Their calls, by account, interface and day."""
    found: dict[tuple[str, str, str], int] = {}
    for (brought,) in rows_of(database, "SELECT spent FROM latest_spent"):
        for appid, endpoint, day, calls in parse_small(brought.encode()):
            place = appid, endpoint, day
            found[place] = found.get(place, 0) + calls
    return found


# into the other tables


def _lay_latest(database: Connection) -> None:
    for sink, by_key in _latest(database).items():
        rows.lay(database, sink, by_key)
    database.executemany(
        "INSERT INTO spent VALUES (?, ?, ?, ?)"
        " ON CONFLICT (appid, endpoint, day) DO UPDATE SET calls = calls + excluded.calls",
        [(*place, calls) for place, calls in _latest_spent(database).items()],
    )
    database.execute("DELETE FROM latest")
    database.execute("DELETE FROM latest_spent")


def _less_what_was_replaced(database: Connection, entry: Entry) -> dict[Key, list[Stretch]]:
    """What an entry brings, less the former figures of windows that stood there."""
    found: dict[Key, list[Stretch]] = defaultdict(list)
    harvested = [
        Settled(
            batch.window,
            Stretch(*batch.window[2:], DONE, batch.records, batch.checksum, batch.empty),
        )
        for batch in sorted(entry.harvested, key=_WINDOW)  # in the order of a row
    ]
    for window, stretch in (*harvested, *entry.settled):
        former = entry.replaced.get(window)
        if former is not None and rows.counted(database, entry.sink, window):
            stretch = coverage.replaced(stretch, *former)
        found[window.appid, window.endpoint].append(stretch)
    return found
