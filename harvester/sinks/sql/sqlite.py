"""SQLite: ``sqlite:FILE``, a table for each interface.

Rule: the file can be read by others at any time; a commit is on the disk when it has returned.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

from harvester.base import files as durable
from harvester.base import sqlite as sqlitefile
from harvester.base.outage import DISK_FULL
from harvester.errors import SinkError, UsageError
from harvester.model import Field
from harvester.sinks.spec import read_spec
from harvester.sinks.sql.base import SqlSink
from harvester.sinks.sql.driver import (
    AccountDays,
    Driver,
    MakeRows,
    Rows,
    before,
    make_ready,
    overlaps,
)
from harvester.sinks.sql.schema import FORMS, Dialect, is_negative_zero
from harvester.sinks.views import EXACT, ListView
from harvester.tables import Column
from harvester.texts import say

BUSY = 30.0
"""Seconds for which another program's transaction is waited for."""

_PARAMETERS = 999
"""The values that a statement may have in every version of SQLite; one statement of many rows
releases the interpreter's lock once."""
_BARRED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Codes of errors about files that may be intact."""

_OTHER = say("it is a file of another kind")
_MALFORMED = say("database disk image is malformed")  # as SQLite itself says
_DAMAGE = ("malformed", "corrupt", "decode", "unsupported file format")

_TYPES = {
    "int": "INTEGER", "float": "REAL", "str": "TEXT", "bool": "BOOLEAN", "date": "DATE",
    "object": "JSON", "list": "JSON", "timestamp": "DATETIME", "json": "JSON", "key": "TEXT",
}  # fmt: skip

_DATE = (
    "CASE WHEN {0} >= '0001' AND date({0}) = {0} THEN {0} END"  # it turns February 30 into March
)
_DASHED = "substr({value}, 1, 4) || '-' || substr({value}, 5, 2) || '-' || substr({value}, 7)"
_READS = {
    "int": "CASE WHEN {kind} = 'integer' AND typeof({value}) = 'integer' THEN {value} END",
    "float": "CASE WHEN {kind} = 'real' OR {kind} = 'integer' AND typeof({value}) = 'integer'"
    f" AND {{value}} BETWEEN -{EXACT} AND {EXACT} THEN CAST({{value}} AS REAL) END",
    "str": "CASE {kind} WHEN 'text' THEN {value} END",
    "bool": "CASE WHEN {kind} IN ('true', 'false') THEN {value} END",
    "date": f"CASE WHEN {{value}} GLOB '{{y}}-{{d}}-{{d}}' THEN {_DATE.format('{value}')}"
    f" WHEN {{kind}} = 'text' AND {{value}} GLOB '{{y}}{{d}}{{d}}' THEN {_DATE.format(_DASHED)}"
    " END",
}
_DIGITS = {"d": "[0-9]" * 2, "y": "[0-9]" * 4}


def _unnested(view: ListView) -> str:
    quoted = DIALECT.quoted
    tables = f"{quoted(view.table)} AS parent"
    for n, (first, *rest) in enumerate(view.lists, 1):
        whole = _object(n - 1) if n > 1 else f"parent.{quoted(first)}"
        path = _path([first, *rest] if n > 1 else rest)
        tables += (
            f", json_each(CASE json_type({whole}, {path}) WHEN 'array'"
            f" THEN json_extract({whole}, {path}) END) AS list_{n}"
        )
    columns = view.selected(DIALECT, "list_{}.key", _value)
    return f"SELECT {', '.join(columns)} FROM {tables}"


def _value(column: Column) -> str:
    level, kind = column.level, column.field.type
    if column.path:
        return _reached(_object(level), kind, column.path)
    parts = {"kind": f"list_{level}.type", "value": f"list_{level}.value"}
    return _READS[kind].format(**parts, **_DIGITS)


def _reached(column: str, kind: str, steps: Sequence[str]) -> str:
    at = f"{column}, {_path(steps)}"
    parts = {"kind": f"json_type({at})", "value": f"json_extract({at})"}
    return _READS[kind].format(**parts, **_DIGITS)


def _object(number: int) -> str:
    return f"CASE list_{number}.type WHEN 'object' THEN list_{number}.value END"


def _path(steps: Sequence[str]) -> str:
    return "'$" + "".join([f'."{each}"' for each in steps]) + "'"


DIALECT = Dialect(
    "SQLite",
    _TYPES,
    forms=FORMS | {"timestamp": lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")},
    revives={"bool": bool},
    refused="float",
    refuses=is_negative_zero,
    sign=b"-0.0",
    comment=" /* {} */",
    notes=("/* {} */ ", ""),
    noted=" /* {} */",
    views="SELECT name, instr(sql, '_fetched_at') > 0 FROM sqlite_master"
    " WHERE type = 'view' AND instr(sql, '_appid') > 0",
    unnested=_unnested,
    casts=_TYPES,
    reached=_reached,
)


class SQLite(SqlSink):
    """The sink in an SQLite file; it is made if it is not there."""

    is_file: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        sqlitefile.check_version(sqlite3.sqlite_version_info)
        self.path = Path(path)
        super().__init__(SQLiteDriver(self.path))

    @classmethod
    def from_spec(cls, rest: str) -> SQLite:
        return cls(read_spec("sqlite", rest, {}, "sqlite:FILE").place)


class SQLiteDriver(Driver):
    """One connection to the file."""

    dialect = DIALECT
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        self.identity = f"sqlite:{path.resolve()}"
        self.where = say("the database {}", path)
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def connect(self, *, create: bool) -> None:
        if self._connection is not None:
            return
        make_ready(self._path, self.where, create=create)
        existed = self._path.exists() and self._path.stat().st_size > 0
        if create:
            sqlitefile.make(self._path)
        try:
            connection = self._connected(sqlitefile.uri(self._path, "rwc" if create else "rw"))
            check = "PRAGMA integrity_check(1)"
            if create and existed and connection.execute(check).fetchone() != ("ok",):
                raise sqlite3.DatabaseError(_MALFORMED)
        except sqlite3.DatabaseError as exc:
            if create and (self.is_damaged(exc) or _is_another(exc)):
                raise self._damaged(exc) from None
            raise
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise UsageError(
                "{} is on a file system that SQLite cannot share (no WAL); choose a local one",
                self.where,
            )
        sqlitefile.make_durable(connection)

    def _damaged(self, exc: sqlite3.DatabaseError) -> SinkError | UsageError:
        """What a ledger says that is to take what is stored."""
        place = shlex.quote(str(self._path))
        if _is_another(exc) and not self._was_ours():
            return UsageError("{} could not be opened: {}", self.where, _OTHER)
        return SinkError(
            "{} could not be opened: it is damaged ({}); restore it from a backup, or run `mv {} "
            "{}.damaged` and the same command again: the next run requests what was stored only "
            "there",
            self.where,
            say(str(exc)),
            place,
            place,
        )

    def _was_ours(self) -> bool:
        """Whether a file without a database's beginning has a part of our tables."""
        with self._path.open("rb") as file:
            return any(b"_harvester_" in part for part in iter(lambda: file.read(1 << 20), b""))

    def _connected(self, uri: str) -> sqlite3.Connection:
        self._connection = connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY
        )
        found = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('calendar', 'open_window')"
        ).fetchone()
        if found == (2,):
            raise UsageError("{} is a ledger of harvester; choose another file", self._path)
        return connection

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None, "not connected"
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with durable.step("close sqlite"):  # the content of its log is moved into the file
                connection.close()

    @contextmanager
    def transaction(self, what: str, *, alone: bool = False) -> Iterator[None]:
        self._open.execute("BEGIN IMMEDIATE")
        try:
            yield
            with durable.step(f"commit sqlite {what}"):
                self._open.execute("COMMIT")
        except BaseException:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[SQLiteDriver]:
        make_ready(self._path, self.where, create=False)
        reader = SQLiteDriver(self._path)
        try:
            if sqlitefile.in_place(self._path):  # a log is then removed at the end
                reader._connected(sqlitefile.uri(self._path, "rw"))
            else:
                reader._connected_to_a_copy()
            reader.query("BEGIN")
            yield reader
        finally:
            reader.close()

    def _connected_to_a_copy(self) -> None:
        """Connect to a file in a directory that cannot be written."""
        try:
            self._connected(sqlitefile.uri(self._path, "ro"))
        except sqlite3.OperationalError:
            self.close()
            self._connected(sqlitefile.as_it_lies(self._path))

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._open.execute(sql, values).fetchall()

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._open.executemany(sql, rows)

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        yield from self._open.execute(sql, values)

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        names = ", ".join(DIALECT.quoted(field.name) for field in columns)
        into = f"INSERT INTO {DIALECT.quoted(table)} ({names}) VALUES "
        one = f"({DIALECT.marks(len(columns))})"
        most = max(_PARAMETERS // len(columns), 1)
        many = into + ", ".join([one] * most)
        values = chain.from_iterable(rows())
        while some := tuple(islice(values, most * len(columns))):
            found = len(some) // len(columns)
            self._open.execute(many if found == most else into + ", ".join([one] * found), some)

    def delete(self, table: str, days: Sequence[AccountDays], longest: int) -> None:
        self._open.executemany(
            f"DELETE FROM {DIALECT.quoted(table)} WHERE _appid = ? AND {overlaps('?')}",
            [
                (appid, str(end), str(begin), str(before(begin, longest)))
                for appid, begin, end in days
            ],
        )

    def shrink(self) -> None:
        # It needs as much room as the file, and that no other program reads it; else the file keeps
        # its size, and new rows take the place of the former ones.
        with suppress(sqlite3.OperationalError), durable.step("shrink sqlite"):
            self._open.execute("VACUUM")

    def columns(self, table: str) -> dict[str, str]:
        found = self.query(f"PRAGMA table_info({DIALECT.quoted(table)})")
        return {str(name): str(kind) for _, name, kind, *_ in found}

    def describe(self, exc: Exception) -> str:
        text = str(exc)
        if "full" in text or ("disk I/O" in text and not durable.has_room(self._path.parent)):
            return DISK_FULL
        if _is_another(exc):
            return _OTHER
        if self.is_damaged(exc):
            return say("{} ({})", say("it is damaged"), say(text))
        if "locked" in text:
            return say("another program has kept it locked for {:.0f} s", BUSY)
        if "unable to open" in text or "readonly" in text:
            return say("it cannot be written")
        return text

    def is_damaged(self, exc: Exception) -> bool:
        return any(sign in str(exc) for sign in _DAMAGE)

    def outage(self, exc: Exception) -> None:
        return None

    def is_barred(self, exc: Exception) -> bool:
        return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _BARRED


def _is_another(exc: Exception) -> bool:
    return "not a database" in str(exc)
