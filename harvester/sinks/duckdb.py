"""DuckDB: ``duckdb:FILE``, a table for each interface.

Rule: the only module that imports duckdb, and only when a sink is made.

DuckDB lets one program at a time have a file, readers included.  Rows go in a column at a time, as
Arrow has them where pyarrow is installed, else as JSON, which takes twice as long; a statement a
row would take a hundred times as long.  There is no index: DuckDB finds a
window by the least and greatest values that it keeps of each block.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from harvester import durable
from harvester.away import PATIENCE
from harvester.codec import encode
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError, needs
from harvester.sinks.columns import Row
from harvester.sinks.layout import Dialect, as_text, is_negative_zero
from harvester.sinks.spec import read_spec
from harvester.sinks.sql import DISK_FULL, Days, MakeRows, Rows, SqlSink, before, make_ready

_TYPES = {
    "int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR", "bool": "BOOLEAN", "date": "DATE",
    "object": "JSON", "list": "JSON", "json": "JSON", "timestamp": "TIMESTAMP WITH TIME ZONE",
    "key": "VARCHAR",
}  # fmt: skip
_IN_JSON = {**_TYPES, "object": "VARCHAR", "list": "VARCHAR", "json": "VARCHAR"}
_ROWS = "_harvester_rows"
_OTHER_KIND = "it is a file of another kind"
_MAGIC, _MAGIC_AT = b"DUCK", 8
_HEADERS = 3 * 4096
"""Bytes with which each database begins; one that is shorter holds nothing."""
_MEMORY, _LARGE = "256MB", ("GiB", "TiB")
"""Enough for a group with the longest answer that is taken."""
_MANY = 100
"""Rows for which Arrow is worth its while."""
_BARRED = (
    "lock on file",
    "Permission denied",
    "Cannot open file",
    "newer version",
    "storage version",
)
"""Parts of messages about files that may be whole."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_open_here: set[Path] = set()
"""The files that this process has open: DuckDB itself keeps out other processes only."""


DIALECT = Dialect(
    "DuckDB",
    _TYPES,
    forms={  # DuckDB itself makes a day of a text, which is faster
        "date": lambda day: day.isoformat(),
        "timestamp": lambda moment: moment.isoformat(),
        "object": as_text,
        "list": as_text,
    },
    reads={
        "object": "{}::VARCHAR",
        "list": "{}::VARCHAR",
        "json": "{}::VARCHAR",
        "timestamp": "epoch_us({})",
    },
    revives={"timestamp": lambda microseconds: _EPOCH + timedelta(microseconds=microseconds)},
    refused="float",
    refuses=is_negative_zero,  # DuckDB before 2.0 read it from JSON as 0.0
    sign=b"-0.0",
    indexed="",
)


class DuckDB(SqlSink):
    """The sink in a DuckDB file; it is made if it is not there.

    Raises `UsageError` if the library is missing.
    """

    is_file: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], *, patience: float = PATIENCE) -> None:
        self.path = Path(path)
        try:
            import duckdb
        except ImportError:
            raise UsageError(needs("the sink in DuckDB needs its library", "duckdb")) from None
        driver = DuckDBDriver(duckdb, self.path)
        super().__init__(f"duckdb:{self.path.resolve()}", driver, patience=patience)

    @classmethod
    def from_spec(cls, rest: str) -> DuckDB:
        """The sink that ``duckdb:FILE`` names."""
        return cls(read_spec("duckdb", rest, {}, "duckdb:FILE").place)


class DuckDBDriver:
    """One connection to the file."""

    dialect = DIALECT

    def __init__(self, library: Any, path: Path) -> None:
        self.where = f"the database {path}"
        self.errors: tuple[type[Exception], ...] = (library.Error,)
        self._library = library
        self._path = path
        self._arrow = _arrow_room()
        self._connection: Any = None
        self._former_limit = ""
        self._reads = False
        self._synced: list[int] = []  # the files whose names are durable

    def connect(self, *, create: bool) -> None:
        if self._connection is not None:
            return
        self._make_ready(create=create)
        path = self._path.resolve()
        if path in _open_here:
            raise UsageError(
                f"{self.where} is in use by another harvester; let it end, or choose another file"
            )
        self._connection = self._silent(reads=not create and self._is_protected())
        self._keep_little()
        _open_here.add(path)

    def _keep_little(self) -> None:
        """Do not let DuckDB keep of the file what it likes, which is most of the machine's memory.

        The limit is the file's, whoever else in this process has it open, and ends with `close`.
        """
        limit = self.query("SELECT current_setting('memory_limit')")[0][0]
        if limit.endswith(_LARGE):
            self._connection.execute(f"SET memory_limit = '{_MEMORY}'")
            self._former_limit = limit

    def _is_protected(self) -> bool:
        """Whether the file can only be read, as that of a copy."""
        return not os.access(self._path, os.W_OK)

    def _silent(self, *, reads: bool) -> Any:
        """A connection that draws no bar in a notebook."""
        connection = self._library.connect(str(self._path.resolve()), read_only=reads)
        connection.execute("SET enable_progress_bar = false")
        return connection

    def _make_ready(self, *, create: bool) -> None:
        make_ready(self._path, self.where, create=create)
        if self._is_of_another_kind():
            raise UsageError(f"{self.where} could not be opened: {_OTHER_KIND}")
        if create and 0 < self._size() < _HEADERS:  # its making was cut off; DuckDB refuses it
            durable.remove(self._path, "database that was not made to its end")

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _is_of_another_kind(self) -> bool:
        """DuckDB would fetch from the network what opens a file of SQLite, and open it."""
        try:
            with self._path.open("rb") as file:
                begin = file.read(len(_MAGIC) + _MAGIC_AT)
        except OSError:  # it is not there yet, or DuckDB says what is the matter
            return False
        return bool(begin) and begin[_MAGIC_AT:] != _MAGIC

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _open_here.discard(self._path.resolve())
            former, self._former_limit = self._former_limit, ""
            if former:
                with suppress(self._library.Error):  # it may not work any more
                    connection.execute(f"SET memory_limit = '{former}'")
            with durable.step("close duckdb"):  # what stands in its log goes into the file
                connection.close()

    @contextmanager
    def transaction(self, what: str, *, alone: bool = False) -> Iterator[None]:
        self._connection.execute("BEGIN TRANSACTION")
        try:
            yield
            with durable.step(f"commit duckdb {what}"):
                self._connection.execute("COMMIT")
                self._sync_names()
        except BaseException:
            with suppress(self._library.Error):  # it may have ended by itself
                self._connection.execute("ROLLBACK")
            raise

    def _sync_names(self) -> None:
        """DuckDB syncs its file and its log, and not the directory when one of them is new."""
        path = self._path.resolve()
        found = [os.stat(each).st_ino for each in (path, f"{path}.wal") if os.path.exists(each)]
        if found != self._synced:
            durable.sync_directory(path.parent)
            self._synced = found

    @contextmanager
    def reading(self) -> Iterator[DuckDBDriver]:
        make_ready(self._path, self.where, create=False)
        if self._is_of_another_kind():
            raise SinkError(f"{self.where} could not be read: {_OTHER_KIND}")
        reader = DuckDBDriver(self._library, self._path)
        reader._connection = reader._silent(reads=reader._is_protected())
        reader._reads = True
        try:
            reader.query("BEGIN TRANSACTION")
            yield reader
        finally:
            reader._connection.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(sql, list(values)).fetchall())

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(sql, [list(row) for row in rows])

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        own = nullcontext(self._connection) if self._reads else self._connection.cursor()
        with own as cursor:
            cursor.execute(sql, list(values))
            while rows := cursor.fetchmany(2000):
                yield from rows

    def stage(self, table: str, columns: Sequence[Field], rows: MakeRows) -> None:
        pass  # a statement locks nothing before it is whole

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        names = ", ".join(DIALECT.quoted(field.name) for field in columns)
        into = f"INSERT INTO {DIALECT.quoted(table)} ({names})"
        made = rows()
        if self._arrow is None or len(made) < _MANY:
            self._connection.execute(f"{into} {_selected(columns)}", _in_columns(made))
            return
        self._connection.register(_ROWS, self._arrow.table_of_rows(_as_written(columns), made))
        try:
            self._connection.execute(f"{into} SELECT * FROM {_ROWS}")
        finally:
            self._connection.unregister(_ROWS)

    def delete(self, table: str, days: Sequence[Days], longest: int) -> None:
        appids, begins, ends = (list(values) for values in zip(*days, strict=True))
        # the days of all of them let DuckDB pass over most blocks of the table
        self._connection.execute(
            f"DELETE FROM {DIALECT.quoted(table)} USING"  # numbered: DuckDB 1.4 counts WHERE first
            " (SELECT unnest($1) AS appid, unnest($2) AS first, unnest($3) AS last) AS gone"
            " WHERE _begin_date <= $4 AND _begin_date > $5 AND _appid = gone.appid"
            " AND _begin_date <= gone.last AND _end_date >= gone.first",
            [appids, begins, ends, max(ends), before(min(begins), longest)],
        )

    def columns(self, table: str) -> dict[str, str]:
        found = self.query(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND lower(table_name) = lower(?)"
            " ORDER BY ordinal_position",
            [table],
        )
        return {str(name): str(kind) for name, kind in found}

    def says(self, exc: Exception) -> str:
        text = str(exc).splitlines()[0]
        if "lock on file" in text:
            return "it is in use by another program; let that end, or choose another file"
        if "No space left" in text or "File too large" in text or "disk is full" in text.lower():
            return DISK_FULL
        if "not a valid DuckDB" in text:
            return _OTHER_KIND
        if "newer version" in text or "storage version" in text.lower():
            return "it was written by another version of DuckDB"
        if "Permission denied" in text or "Cannot open file" in text:
            return "it cannot be written"
        return text

    def outage(self, exc: Exception) -> None:
        return None

    def is_barred(self, exc: Exception) -> bool:
        return any(part in str(exc) for part in _BARRED)


def _arrow_room() -> Any:
    """What makes Arrow tables; None where pyarrow is not installed."""
    try:
        from harvester.sinks import arrow
    except UsageError:
        return None
    return arrow


def _as_written(columns: Sequence[Field]) -> list[Field]:
    """The columns by the types that their values have."""
    return [
        field._replace(type="str") if field.type in DIALECT.forms else field for field in columns
    ]


def _selected(columns: Sequence[Field]) -> str:
    """Rows from one JSON array a column."""
    arrays = [f"unnest(from_json(?, '[\"{_IN_JSON[field.type]}\"]'))" for field in columns]
    return f"SELECT {', '.join(arrays)}"


def _in_columns(rows: Sequence[Row]) -> list[str]:
    return [encode(column).decode() for column in zip(*rows, strict=True)]
