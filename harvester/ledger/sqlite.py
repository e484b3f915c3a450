"""The embedded ledger: one SQLite file, opened, claimed and checked; its errors as messages.

Rule: `harvester.ledger.sqlite_tables` and `harvester.ledger.statements` read and write the tables;
every call of them is made from here, on the ledger's own thread.  This ledger has one worker, and
so one constant epoch.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

from harvester.base import sqlite as sqlitefile
from harvester.base.files import has_room, is_full, make_directory, remove, step
from harvester.base.lock import FileLock
from harvester.base.threads import Thread
from harvester.errors import HarvestError, LedgerError, NoLedgerError, UsageError, unreadable
from harvester.ledger import sqlite_tables as tables
from harvester.ledger import statements
from harvester.ledger.sqlite_tables import RELEASED, VERSION, Tables
from harvester.ledger.statements import SERVICE, Statements, reads, writes
from harvester.texts import of_system, say

FILE_NAME = "ledger.sqlite"

_DAMAGE = ("malformed", "not a database", "decode", "no such column", "no such table", "corrupt",
           "user-defined", "already exists", "unsupported file format")  # fmt: skip

SWAP_SECONDS = 20.0
"""The longest that a change of the service's state waits for a transaction of a run."""

_NO_VALUES = (ValueError, TypeError, OverflowError)  # an invalid date, text that is not UTF-8
_UNUSABLE = ("readonly", "unable to open")

T = TypeVar("T")


def ledger_of_file(file: Path) -> Path:
    """The default ledger of a file of records: beside it."""
    return file.with_name(f"{file.name}.{FILE_NAME}")


def ledger_of(place: Path) -> Path:
    """The default ledger of a directory (in it) or of an existing file (beside it)."""
    return ledger_of_file(place) if place.is_file() else place / FILE_NAME


class SqliteLedger(Statements):
    """The ledger in one SQLite file.

    An async context manager.  While it is open for writing no other process can open it so; a
    reader (``readonly=True``) can always open it, and replace the state of the daily service.
    Raises `UsageError` if it is in use or cannot be created, `LedgerError` if it is damaged or of a
    newer version.
    """

    def __init__(self, path: str | os.PathLike[str], *, readonly: bool = False) -> None:
        self.path: Path = Path(path).expanduser()
        self.place = str(self.path)
        self.where = say("the ledger {}", self.place)
        self._readonly = readonly
        self._thread: Thread | None = None
        self._claim: FileLock | None = None
        self._database: sqlite3.Connection | None = None
        self._sound = False
        self._is_new = False

    def __repr__(self) -> str:
        return f"<SqliteLedger {self.path} {'open' if self._database else 'closed'}>"

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise UsageError("the ledger {} is already open; pass one that is not open", self.path)
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
        """Close it; a file that was created for a refused run is removed again."""
        if self._thread is not None:
            try:
                refused = bool(exc_info and exc_info[0]) and self._is_new
                await self._thread.call(self._close, refused)
            finally:
                self._thread.close()
                self._thread = None

    commit = writes(tables.commit)
    reopen = writes(tables.reopen)
    forget = writes(tables.forget)
    remove = writes(tables.remove)
    fold_future_calls = writes(tables.fold_future_calls)
    accounts = reads(tables.accounts)
    calendars = reads(tables.calendars)
    spent = reads(tables.spent)

    async def swap_state(self, before: str, after: str) -> bool:
        """As `statements.swap_state`; also of a ledger that is read, while a run holds it."""
        return await self._on_thread(self._swap, before, after)

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        return await self._on_thread(self._transact, function, args)

    async def _read(self, function: Callable[..., T], *args: object) -> T:
        return await self._on_thread(self._look, function, args)

    async def _on_thread(self, function: Callable[..., T], *args: object) -> T:
        assert self._thread is not None, "the ledger is not entered"
        try:
            return await self._thread.call(function, *args)
        except sqlite3.Error as exc:
            raise LedgerError(self._describe(exc)) from exc
        except _NO_VALUES as exc:
            raise LedgerError(self._damaged(type(exc).__name__)) from exc

    def _swap(self, before: str, after: str) -> bool:
        uri = sqlitefile.uri(self.path, "rw")
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, isolation_level=None, timeout=SWAP_SECONDS)
        ) as database:
            sqlitefile.make_durable(database)
            if self._is_void(database):  # the first run is making it
                raise LedgerError("there is no ledger at {}", self.path)
            with _transaction(database, "BEGIN IMMEDIATE"):
                swapped = statements.swap_state(Tables(database), before, after)
                with step("swap_state ledger"):
                    database.execute("COMMIT")
        return swapped

    def _transact(self, function: Callable[..., T], args: Sequence[object]) -> T:
        with _transaction(self._database, "BEGIN IMMEDIATE") as database:
            result = function(Tables(database), *args)
            with step(f"{function.__name__} ledger"):
                database.execute("COMMIT")
        return result

    def _look(self, function: Callable[..., T], args: Sequence[object] = ()) -> T:
        with _transaction(self._database, "BEGIN") as database:
            return function(Tables(database), *args)

    def _not_opened(self, exc: Exception) -> UsageError | LedgerError:
        """`UsageError` if the file cannot be used, `LedgerError` if it is damaged or full."""
        if not isinstance(exc, sqlite3.Error):  # even the driver's own message may be invalid text
            return LedgerError(self._damaged(type(exc).__name__))
        problem = self._describe(exc)
        unusable = (
            isinstance(exc, sqlite3.OperationalError)
            and any(sign in str(exc) for sign in _UNUSABLE)
            and not self._readonly_by_itself(str(exc))
        )
        return UsageError(problem) if unusable else LedgerError(problem)

    def _describe(self, exc: sqlite3.Error) -> str:
        text = str(exc)
        if "full" in text or ("disk I/O" in text and not has_room(self.path.parent)):
            return self._no_room()
        if any(sign in text for sign in _DAMAGE):
            return self._damaged(text)
        if self._readonly_by_itself(text):
            return self._damaged(say("its header marks it as read-only"))
        if any(sign in text for sign in _UNUSABLE):
            return say("the ledger {} cannot be written ({})", self.path, text)
        if "locked" in text:
            return say(
                "another program has locked the ledger {} ({}); nothing in the ledger is lost: end"
                " that program and run the same command again",
                self.path,
                text,
            )
        return say(
            "the ledger {} failed ({}); nothing in it is lost: check its disk and run the same"
            " command again",
            self.path,
            text,
        )

    def _readonly_by_itself(self, text: str) -> bool:
        """Whether SQLite refuses to write because of the file's content, not the disk."""
        places = (self.path, self.path.parent)
        return (
            "readonly" in text
            and not self._readonly
            and all(os.access(place, os.W_OK) for place in places)
        )

    def _no_room(self) -> str:
        return say(
            "the disk is full: the ledger {} could not be written; nothing in it is lost: free"
            " some space and run the same command again",
            self.path,
        )

    def _damaged(self, how: str) -> str:
        return say(
            "the ledger {} is damaged ({}); the stored records are not lost: {}",
            self.path,
            how,
            self._way_out(),
        )

    def _way_out(self) -> str:
        place = self.path.parent
        if self.path.name != FILE_NAME:
            place /= self.path.name.removesuffix(f".{FILE_NAME}")
            if ledger_of(place) != self.path:
                return say(
                    "harvester rebuild --out DIR --sink SPEC makes a new ledger, DIR/ledger.sqlite"
                )
        out = shlex.quote(str(place))
        return say("harvester rebuild --out {} makes a new ledger from the stored records", out)

    def _open(self) -> None:
        sqlitefile.check_version(sqlite3.sqlite_version_info)
        if self.path.is_dir():
            raise UsageError("the ledger {} is a directory; name a file", self.path)
        if self._readonly:
            if not self.path.exists():
                raise NoLedgerError(
                    "there is no ledger at {}; harvest first (harvester run), or say where the"
                    " harvest is (--out DIR, or --ledger)",
                    self.path,
                )
            self._database = self._for_reading()
            if self._is_void(self._database):
                self._database.close()
                self._database = tables.made(sqlite3.connect(":memory:", check_same_thread=False))
        else:
            self._open_for_writing()
        self._check_version()
        self._check_integrity()
        self._sound = True

    def _for_reading(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            sqlitefile.uri(self.path, "ro"), uri=True, check_same_thread=False
        )
        try:
            self._version(database)
        except sqlite3.OperationalError:
            database.close()
            if sqlitefile.in_place(self.path):
                raise
            return sqlite3.connect(
                sqlitefile.as_it_lies(self.path), uri=True, check_same_thread=False
            )
        except BaseException:
            database.close()
            raise
        return database

    def _open_for_writing(self) -> None:
        try:
            make_directory(self.path.parent, "directory of the ledger")
            self._claim = FileLock(
                self.path.with_name(self.path.name + ".lock"),
                say("the directory {}", self.path.parent),
            )
        except OSError as exc:
            if is_full(exc):
                raise LedgerError(self._no_room()) from exc
            raise UsageError(
                "the directory {} cannot be written ({})", self.path.parent, of_system(exc)
            ) from exc
        self._is_new = not self.path.exists()
        sqlitefile.make(self.path)
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._database = database  # before it can fail, so that it is always closed
        database.execute("PRAGMA journal_mode = WAL")
        sqlitefile.make_durable(database)
        version = self._version(database)
        if not version:
            with step("make ledger"):
                tables.made(database)
        elif version == RELEASED:
            with step("upgrade ledger"):
                tables.upgrade(database, self.path.parent)

    def _check_version(self) -> None:
        assert self._database is not None
        found = self._version(self._database)
        if found != VERSION and not (self._readonly and found == RELEASED):
            way = say("; if there is none, {}", self._way_out()) if found > VERSION else ""
            raise LedgerError(
                "the ledger {} has format version {}, but this harvester needs {}; {}{}",
                self.path,
                found,
                VERSION,
                unreadable(found, VERSION),
                way,
            )

        if found == RELEASED:
            tables.read_released(self._database, self.path.parent)

    def _check_integrity(self) -> None:
        with _transaction(self._database, "BEGIN") as database:
            [(found,)] = database.execute("PRAGMA integrity_check(1)")
            if found != "ok":
                raise LedgerError(self._damaged(str(found)))

    @staticmethod
    def _version(database: sqlite3.Connection) -> int:
        return int(database.execute("PRAGMA user_version").fetchone()[0])

    def _is_void(self, database: sqlite3.Connection) -> bool:
        """Whether the file is empty: its creator was killed, or the disk was full."""
        if self._version(database):
            return False
        return not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def _close(self, refused: bool = False) -> None:
        unused = False
        if self._database is not None:
            unused = refused and self._sound and self._look(tables.is_empty)
            if self._sound and not self._readonly:
                with contextlib.suppress(sqlite3.Error, *_NO_VALUES):  # then the log stays
                    self._transact(tables.settle, ())
            with step("close ledger"):  # moves the log into the file
                self._database.close()
            self._database = None
            self._sound = False
        if self._claim is not None:
            for path in (
                (self.path, self.path.with_name(f"{self.path.name}.lock")) if unused else ()
            ):
                remove(path, "unused ledger")
            self._claim.release()
            self._claim = None


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection | None, begin: str) -> Iterator[sqlite3.Connection]:
    """A transaction, or one snapshot of what others write; what is not committed is undone."""
    assert database is not None
    database.execute(begin)
    try:
        yield database
    finally:
        if database.in_transaction:  # a disk error has already ended it
            database.execute("ROLLBACK")


def checkpoint_in(path: Path, sink: str) -> dict[str, str] | None:
    """A ledger's entry for a sink, None if there is none; raises the same errors as opening."""
    ledger = SqliteLedger(path, readonly=True)
    try:
        ledger._open()
        found = ledger._look(statements.checkpoint, [sink])
        return found if found or sink in ledger._look(statements.sinks) else None
    except (sqlite3.Error, *_NO_VALUES) as exc:
        raise ledger._not_opened(exc) from exc
    finally:
        ledger._close()


def named_sinks(path: Path) -> list[str]:
    """The sinks that a ledger names, as far as it can still be read."""
    found: set[str] = set()
    for column, table in (("name", "sink"), ("sink", "checkpoint")):
        with contextlib.suppress(sqlite3.Error, *_NO_VALUES):
            uri = sqlitefile.uri(path, "ro")
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
                rows = database.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()
                found.update([tables.renamed(str(name), path.parent) for (name,) in rows])
    return sorted(found - {SERVICE[0]})
