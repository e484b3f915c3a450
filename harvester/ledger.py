"""What is safe, what waits, what failed, and what was spent.

Rule: the only room that knows SQLite; every call of it runs on the ledger's own thread.

One row is a stretch of days in one state (`harvester.coverage`), kept by sink, account and
interface: what one destination has says nothing about another.  Beside them stand each sink's
receipt, the range that was ever asked for, and the calls spent by day.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from harvester import coverage, seal
from harvester.coverage import Stretch
from harvester.durable import has_room, is_full, make_directory, step
from harvester.errors import HarvestError, LedgerError, UsageError
from harvester.lock import Claim
from harvester.model import Tally, Window
from harvester.plan import ONE_DAY, Days
from harvester.thread import Thread

FILE_NAME = "ledger.sqlite"
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

_DAMAGE = ("malformed", "not a database", "decode", "no such column", "no such table", "corrupt",
           "user-defined", "already exists", "unsupported file format")  # fmt: skip

_NO_VALUES = (ValueError, TypeError, OverflowError)  # a date that is none, text that is not UTF-8
_UNUSABLE = ("readonly", "unable to open")

T = TypeVar("T")
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


class Ledger:
    """The ledger in one SQLite file.

    An async context manager.  While it is open for writing no other process can open it so; a
    reader (``readonly=True``) is never kept out.  Raises `UsageError` if it is in use or cannot be
    created, `LedgerError` if it is damaged or of a newer version.
    """

    def __init__(self, path: str | os.PathLike[str], *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._readonly = readonly
        self._thread: Thread | None = None
        self._claim: Claim | None = None
        self._database: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<Ledger {self.path} {'open' if self._database else 'closed'}>"

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise UsageError(f"the ledger {self.path} is open already; hand it in closed")
        self._thread = Thread("harvester-ledger")
        try:
            await self._thread.call(self._open)
        except HarvestError:
            await self.__aexit__()
            raise
        except (sqlite3.Error, *_NO_VALUES) as exc:
            await self.__aexit__()
            raise self._not_opened(exc) from exc
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._thread is not None:
            try:
                await self._thread.call(self._close)
            finally:
                self._thread.close()
                self._thread = None

    # what the engine asks

    async def receipt(self, sink: str) -> dict[str, str]:
        """All that was stored for a sink."""
        return await self._call(self._receipt, sink)

    async def done(self, sink: str) -> dict[Key, list[Days]]:
        """For each account and interface the harvested stretches, in order."""
        return await self._call(self._done, sink)

    async def provisional(self, sink: str) -> dict[Key, dict[Days, str]]:
        """For each account and interface the stored windows that can still change, and why."""
        return await self._call(self._provisional, sink)

    async def spans(self) -> dict[str, int]:
        """The longest windows, in days, that WeChat took, of those interfaces that refused some."""
        return await self._call(self._spans)

    async def learn_span(self, endpoint: str, days: int) -> None:
        """Remember that an interface takes windows of so many days at the most."""
        await self._call(self._learn_span, endpoint, days)

    async def spent(self, day: date) -> dict[Key, int]:
        """The calls of a day in China."""
        return await self._call(self._spent, day)

    async def rebook(self, today: date) -> bool:
        """Book the calls of days that have not come on today, as they were made by now.

        Gives whether there were any: the clock was ahead when they were made.
        """
        return await self._call(self._rebook, today)

    async def commit(self, entries: Sequence[Entry], spent: Iterable[Spent] = ()) -> None:
        """Store all of it, or nothing, durably."""
        await self._call(self._commit, entries, list(spent))

    async def ask(self, ranges: Iterable[tuple[str, str, date, date]]) -> None:
        """Remember the range that is asked for, so that gaps in it can be told later."""
        await self._call(self._ask, list(ranges))

    # what its readers ask

    async def sinks(self) -> list[str]:
        """The sinks that were ever used with this ledger."""
        return await self._call(self._sinks)

    async def stretches(self, sink: str) -> dict[Key, list[Stretch]]:
        """Everything that is known of a sink, by account and interface, in order."""
        return await self._call(self._stretches, sink)

    async def asked(self) -> dict[Key, Days]:
        """The widest range ever asked for, by account and interface."""
        return await self._call(self._asked)

    # on the ledger's thread

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        assert self._thread is not None, "the ledger is not entered"
        try:
            return await self._thread.call(function, *args)
        except sqlite3.Error as exc:
            raise LedgerError(self._describe(exc)) from exc
        except _NO_VALUES as exc:
            raise LedgerError(self._damaged(type(exc).__name__)) from exc

    def _not_opened(self, exc: Exception) -> UsageError | LedgerError:
        """What cannot be used is the user's to choose; what is damaged or full stops the run."""
        if not isinstance(exc, sqlite3.Error):  # even the driver's own message can be no text
            return LedgerError(self._damaged(type(exc).__name__))
        said = self._describe(exc)
        unusable = (
            isinstance(exc, sqlite3.OperationalError)
            and any(sign in str(exc) for sign in _UNUSABLE)
            and not self._readonly_by_itself(str(exc))
        )
        return UsageError(said) if unusable else LedgerError(said)

    def _describe(self, exc: sqlite3.Error) -> str:
        text = str(exc)
        if "full" in text or ("disk I/O" in text and not has_room(self.path.parent)):
            return self._no_room()
        if any(sign in text for sign in _DAMAGE):
            return self._damaged(text)
        if self._readonly_by_itself(text):
            return self._damaged("its head says that it is read-only")
        if any(sign in text for sign in _UNUSABLE):
            return f"the ledger {self.path} cannot be written ({text})"
        return (
            f"the ledger {self.path} failed ({text}); nothing that it holds is lost: see to its"
            " disk, and run the same command again"
        )

    def _readonly_by_itself(self, text: str) -> bool:
        """Whether SQLite will not write though the disk lets us: by what stands in the file."""
        places = (self.path, self.path.parent)
        return (
            "readonly" in text
            and not self._readonly
            and all(os.access(place, os.W_OK) for place in places)
        )

    def _no_room(self) -> str:
        return (
            f"the disk is full: the ledger {self.path} could not be written; nothing that it"
            " holds is lost: make room and run the same command again"
        )

    def _damaged(self, how: str) -> str:
        return (
            f"the ledger {self.path} is damaged ({how}); what was harvested is not lost:"
            f" {self._way_out()}"
        )

    def _way_out(self) -> str:
        if self.path.name != FILE_NAME:
            return "move it away: what lies in the sinks is then kept, and asked for anew"
        directory = shlex.quote(str(self.path.parent))
        return f"harvester rebuild --out {directory} makes a new ledger from what is stored"

    def _open(self) -> None:
        if self._readonly:
            if not self.path.exists():
                raise UsageError(f"there is no ledger at {self.path}")
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
            if self._is_void(self._database):
                self._database.close()
                self._database = _made(sqlite3.connect(":memory:", check_same_thread=False))
        else:
            self._open_for_writing()
        self._check_version()
        self._check_seal()
        if self._database is not None and not self._readonly:
            seal.keep(self._database)

    def _open_for_writing(self) -> None:
        try:
            make_directory(self.path.parent, "directory of the ledger")
            self._claim = Claim(
                self.path.with_name(self.path.name + ".lock"), f"the directory {self.path.parent}"
            )
        except OSError as exc:
            if is_full(exc):
                raise LedgerError(self._no_room()) from exc
            raise UsageError(
                f"the directory {self.path.parent} cannot be written ({exc.strerror})"
            ) from exc
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._database = database  # before it can fail, so that it is closed whatever happens
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if not self._version(database):
            with step("make ledger"):
                _made(database)

    def _check_version(self) -> None:
        assert self._database is not None
        found = self._version(self._database)
        if found != VERSION:
            raise LedgerError(
                f"the ledger {self.path} is of version {found}, this harvester knows {VERSION};"
                " use the harvester that wrote it, or a newer one; if there is none,"
                f" {self._way_out()}"
            )

    def _check_seal(self) -> None:
        assert self._database is not None
        self._database.execute("BEGIN")  # at one moment, whoever else writes
        try:
            if not seal.whole(self._database):
                raise LedgerError(self._damaged("it does not hold what was written into it"))
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    @staticmethod
    def _version(database: sqlite3.Connection) -> int:
        return int(database.execute("PRAGMA user_version").fetchone()[0])

    def _is_void(self, database: sqlite3.Connection) -> bool:
        """Whether nothing stands in it yet: whoever made it was ended, or had no room."""
        if self._version(database):
            return False
        return not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]

    def _close(self) -> None:
        if self._database is not None:
            with step("close ledger"):  # what stands in its log goes into the file
                self._database.close()
            self._database = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _rows(self, sql: str, *values: object) -> list[tuple[str, ...]]:
        assert self._database is not None
        return self._database.execute(sql, values).fetchall()

    def _receipt(self, sink: str) -> dict[str, str]:
        rows = self._rows("SELECT key, value FROM receipt WHERE sink = ?", sink)
        return {str(key): str(value) for key, value in rows}

    def _sinks(self) -> list[str]:
        rows = self._rows("SELECT sink FROM receipt UNION SELECT sink FROM stretch ORDER BY sink")
        return [name for (name,) in rows]

    def _done(self, sink: str) -> dict[Key, list[Days]]:
        found: dict[Key, list[Days]] = defaultdict(list)
        for appid, endpoint, first, last in self._rows(
            "SELECT appid, endpoint, first_day, last_day FROM stretch"
            " WHERE sink = ? AND state = 'done' ORDER BY appid, endpoint, first_day",
            sink,
        ):
            found[appid, endpoint].append((date.fromisoformat(first), date.fromisoformat(last)))
        return found

    def _stretches(self, sink: str) -> dict[Key, list[Stretch]]:
        found: dict[Key, list[Stretch]] = defaultdict(list)
        for appid, endpoint, *row in self._rows(
            "SELECT appid, endpoint, first_day, last_day, state, records, checksum, empty, detail"
            " FROM stretch WHERE sink = ? ORDER BY appid, endpoint, first_day",
            sink,
        ):
            found[appid, endpoint].append(_stretch(row))
        return found

    def _provisional(self, sink: str) -> dict[Key, dict[Days, str]]:
        found: dict[Key, dict[Days, str]] = defaultdict(dict)
        for appid, endpoint, first, last, reason in self._rows(
            "SELECT appid, endpoint, first_day, last_day, reason FROM provisional WHERE sink = ?",
            sink,
        ):
            days = (date.fromisoformat(first), date.fromisoformat(last))
            found[appid, endpoint][days] = reason
        return found

    def _spans(self) -> dict[str, int]:
        return {name: int(days) for name, days in self._rows("SELECT endpoint, days FROM span")}

    def _learn_span(self, endpoint: str, days: int) -> None:
        assert self._database is not None
        with _transaction(self._database, "span") as database:
            database.execute(
                "INSERT INTO span VALUES (?, ?) ON CONFLICT DO UPDATE SET"
                " days = min(days, excluded.days)",
                (endpoint, days),
            )

    def _asked(self) -> dict[Key, Days]:
        return {
            (appid, endpoint): (date.fromisoformat(first), date.fromisoformat(last))
            for appid, endpoint, first, last in self._rows("SELECT * FROM asked")
        }

    def _spent(self, day: date) -> dict[Key, int]:
        rows = self._rows("SELECT appid, endpoint, calls FROM spent WHERE day = ?", day.isoformat())
        return {(appid, endpoint): int(calls) for appid, endpoint, calls in rows}

    def _rebook(self, today: date) -> bool:
        assert self._database is not None
        if not self._rows("SELECT 1 FROM spent WHERE day > ? LIMIT 1", str(today)):
            return False
        with _transaction(self._database, "calls") as database:
            database.execute(
                "INSERT INTO spent SELECT appid, endpoint, :today, sum(calls) FROM spent"
                " WHERE day > :today GROUP BY appid, endpoint"
                " ON CONFLICT DO UPDATE SET calls = excluded.calls + calls",
                {"today": str(today)},
            )
            database.execute("DELETE FROM spent WHERE day > :today", {"today": str(today)})
        return True

    def _ask(self, ranges: Sequence[tuple[str, str, date, date]]) -> None:
        assert self._database is not None
        with _transaction(self._database, "range"):
            self._database.executemany(
                "INSERT INTO asked VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " first_day = min(first_day, excluded.first_day),"
                " last_day = max(last_day, excluded.last_day)",
                [(appid, name, str(begin), str(end)) for appid, name, begin, end in ranges],
            )

    def _commit(self, entries: Sequence[Entry], spent: Sequence[Spent]) -> None:
        assert self._database is not None
        with _transaction(self._database, "ledger") as database:
            for entry in entries:
                for key, stretches in _by_key(database, entry).items():
                    for stretch in coverage.fold(stretches):
                        self._lay(database, entry.sink, key, stretch)
                _store_provisional(database, entry)
                _store_receipt(database, entry)
            database.executemany(
                "INSERT INTO spent VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
                [(appid, name, str(day), calls) for appid, name, day, calls in spent],
            )

    @staticmethod
    def _lay(database: sqlite3.Connection, sink: str, key: Key, new: Stretch) -> None:
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


def _lengthened(database: sqlite3.Connection, place: dict[str, object], new: Stretch) -> bool:
    """Whether harvested days could be added to the one stretch that they touch."""
    figures = {
        "begin": str(new.begin),
        "end": str(new.end),
        "records": new.records,
        "checksum": new.checksum,
    }
    return database.execute(_LENGTHEN, {**place, **figures}).rowcount == 1


def _made(database: sqlite3.Connection) -> sqlite3.Connection:
    """With the tables of a ledger that knows nothing, all or none of them."""
    database.executescript(f"BEGIN;{_SCHEMA}{seal.SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    return database


def named_sinks(path: Path) -> list[str]:
    """The sinks that a ledger names, as far as it can still be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT sink FROM receipt UNION SELECT sink FROM stretch")
            return sorted(str(name) for (name,) in rows)
    except (sqlite3.Error, *_NO_VALUES):
        return []


class _transaction:  # noqa: N801  (reads as the verb it is)
    """BEGIN to COMMIT, or ROLLBACK; ``what`` names the durable step."""

    def __init__(self, database: sqlite3.Connection, what: str) -> None:
        self._database = database
        self._what = what

    def __enter__(self) -> sqlite3.Connection:
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


def _by_key(database: sqlite3.Connection, entry: Entry) -> dict[Key, list[Stretch]]:
    found: dict[Key, list[Stretch]] = defaultdict(list)
    replaced = entry.replaced
    for window, stretch in entry.settled:
        former = replaced.get(window) if replaced else None
        if former is not None and _counted(database, entry.sink, window):
            stretch = coverage.replaced(stretch, *former)
        found[window.appid, window.endpoint].append(stretch)
    return found


def _counted(database: sqlite3.Connection, sink: str, window: Window) -> bool:
    """Whether this ledger's figures hold the window: a sink may have had it from elsewhere."""
    return bool(
        database.execute(
            "SELECT 1 FROM stretch WHERE sink = ? AND appid = ? AND endpoint = ?"
            " AND state = 'done' AND first_day <= ? AND last_day >= ?",
            (sink, window.appid, window.endpoint, str(window.end), str(window.begin)),
        ).fetchone()
    )


def _store_provisional(database: sqlite3.Connection, entry: Entry) -> None:
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


def _store_receipt(database: sqlite3.Connection, entry: Entry) -> None:
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


def receipt_in(path: Path, sink: str) -> dict[str, str]:
    """All that a ledger keeps for a sink, for those who have no event loop; changes nothing."""
    ledger = Ledger(path, readonly=True)
    try:
        ledger._open()
        return ledger._receipt(sink)
    except sqlite3.OperationalError as exc:
        if any(sign in str(exc) for sign in _UNUSABLE):
            raise LedgerError(f"the ledger {path} cannot be read ({exc})") from exc
        raise LedgerError(ledger._describe(exc)) from exc
    except (sqlite3.Error, *_NO_VALUES) as exc:
        raise ledger._not_opened(exc) from exc
    finally:
        ledger._close()
