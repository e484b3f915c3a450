"""DuckDB: ``duckdb:FILE``, a table for each table of the export.

Rule: a copy of the file is changed and replaces it, so that readers may have the file open.

Beside the stamp of each part is a checksum of its rows, by which a table that somebody has changed
is found; it is written anew as a whole, since it may have rows of other months, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from harvester.errors import ExportError, UsageError, needs
from harvester.exports.arrow import pa
from harvester.exports.base import WHOLE, Held, Part, TableShape, Unit
from harvester.exports.noted import failing
from harvester.exports.single import SingleFile
from harvester.sinks.spec import Spec
from harvester.tables import ACCOUNTS

try:
    import duckdb
except ImportError as exc:
    raise UsageError(needs("duckdb: needs a library", "export")) from exc

_STAMPS = "_harvester_export"
_MOMENT = "TIMESTAMP WITH TIME ZONE"


class DuckDB(SingleFile):
    """A database file."""

    scheme = "duckdb"

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._database: Any = None
        self._damaged: set[str] = set()
        self._altered: set[str] = set()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        with failing(self.identity):
            try:
                yield
            except duckdb.Error as exc:
                text = " ".join(str(exc).split())
                raise ExportError("{} could not be written: {}", self.identity, text) from exc

    def open(self, *, create: bool, thorough: bool = False) -> Held:
        with self._failing():
            self.take(create=create)
            if not self.path.exists():
                return Held()
            fits = self._log_fits(create=create)
            held = self._held(thorough=thorough)
            return held if fits or create else Held(held.harvest)

    def _log_fits(self, *, create: bool) -> bool:
        """Whether the log of somebody who has changed the file, if there is one, belongs to it.

        If the file was replaced meanwhile it does not, and nobody can open the file any more.
        """
        if not _log_of(self.path).exists():
            return True
        shutil.copyfile(self.path, self.draft)
        shutil.copyfile(_log_of(self.path), _log_of(self.draft))
        try:
            duckdb.connect(str(self.draft)).close()
        except duckdb.Error:
            if create:
                _log_of(self.path).unlink(missing_ok=True)
            return False
        finally:
            self._remove_draft()
        return True

    def _held(self, *, thorough: bool) -> Held:
        """Read the stamps from the copy: the file itself may be open in another process."""
        shutil.copyfile(self.path, self.draft)
        try:
            self._database = duckdb.connect(str(self.draft))
            self._database.execute(
                f"ALTER TABLE {_STAMPS} ADD COLUMN IF NOT EXISTS content VARCHAR"
            )
            rows = self._database.sql(f"SELECT * FROM {_STAMPS}").fetchall()
        except duckdb.Error as error:
            if "newer" in str(error):  # the format of DuckDB's files
                raise UsageError(
                    "{} was written with a newer DuckDB than {}: update it, or choose another file",
                    self.path,
                    duckdb.__version__,
                ) from None
            raise UsageError(
                "{} is not an export of harvester; choose another file, or remove it", self.path
            ) from None
        self._damaged, self._altered = set(), set()
        for table in {table for table, *_ in rows}:
            noted = {month: each for name, month, *_, each in rows if name == table and each != ""}
            columns, found = self._columns(table), None
            if thorough:
                with suppress(duckdb.Error):  # it has other columns
                    found = self._contents(table)
                if found != noted:
                    self._damaged.add(table)
            elif not all(not each or each.startswith(_mark(columns)) for each in noted.values()):
                self._damaged.add(table)
                self._altered.update([table] if columns else [])
        harvest = next((str(harvest) for *_, harvest, _ in rows), "")
        stamps = {
            (table, month): "" if table in self._damaged else stamp
            for table, month, stamp, *_ in rows
        }
        return Held(harvest, stamps)

    def _columns(self, table: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = self._database.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
            " ORDER BY column_index",
            [table],
        ).fetchall()
        return found

    def _contents(self, table: str, only: Sequence[str] | None = None) -> dict[str, str]:
        """A checksum of each month of a table that has rows; only: of these months.

        It is made of texts: DuckDB's hash depends on its version, and the text of a moment on the
        time zone.
        """
        columns = self._columns(table)
        if not columns:
            return {}
        moments = [f'epoch_us("{name}") AS "{name}"' for name, kind in columns if kind == _MOMENT]
        values = f"* REPLACE ({', '.join(moments)})" if moments else "*"
        is_dated = any(name == "_begin_date" for name, _ in columns)
        month = "strftime(_begin_date, '%Y-%m')" if is_dated else f"'{WHOLE}'"
        where = "" if only is None else f"WHERE list_contains(?, {month})"
        rows = self._database.execute(
            f"SELECT {month}, count(*), sum(md5_number_lower(to_json(_all_of_it)))"
            f' FROM (SELECT {values} FROM "{table}") _all_of_it'
            f" {where} GROUP BY 1",
            [only] if where else [],
        )
        return {name: f"{_mark(columns)}-{count}-{total}" for name, count, total in rows.fetchall()}

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with self._failing():
            database = self._opened()
            units = list(units)
            for table in tables:
                self._make(table)
            database.execute("BEGIN")
            for name, month in removed:
                self._remove(name, month)
            for unit in units:
                for table in tables:
                    self._remove(table.name, unit.month)
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        database.register("rows", pa.Table.from_batches([rows]))
                        database.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM rows')
                        database.unregister("rows")
            for table in tables if units else ():
                contents = self._contents(table.name, [unit.month for unit in units])
                database.executemany(
                    f"INSERT INTO {_STAMPS} VALUES (?, ?, ?, ?, ?)",
                    [
                        (table.name, month, stamp, self.harvest, contents.get(month, ""))
                        for month, stamp, _ in units
                    ],
                )
            database.execute("COMMIT")  # DuckDB 1.4 drops no table that the transaction has changed
            self._drop_empty([name for name, _ in removed])

    def names(self) -> Mapping[str, str]:
        with suppress(duckdb.Error):  # it has no such table, or another one
            if self._database is not None:
                rows = self._database.sql(f"SELECT _appid, name FROM {ACCOUNTS.name}").fetchall()
                return {appid: name for appid, name in rows if name}
        return {}

    def _opened(self) -> Any:
        if self._database is None:
            self._remove_draft()
            self._database = duckdb.connect(str(self.draft))
            self._database.execute(
                f"CREATE TABLE {_STAMPS}"
                ' ("table" VARCHAR, month VARCHAR, stamp VARCHAR, harvest VARCHAR, content VARCHAR)'
            )
        return self._database

    def _make(self, table: TableShape) -> None:
        """Make a table, anew if it was changed or has other columns; all its months are written."""
        database = self._database
        try:
            database.register("columns", table.schema.empty_table())
        except duckdb.Error as exc:  # a column of a type that it does not have
            raise TypeError(" ".join(str(exc).split())) from exc
        wanted = database.sql("SELECT column_name, column_type FROM (DESCRIBE columns)").fetchall()
        if table.name in self._altered:
            raise UsageError(
                "{}: the columns of {} were changed; replace its contents (--replace)",
                self.path,
                table.name,
            )
        if table.name in self._damaged or self._columns(table.name) != wanted:
            self._damaged.discard(table.name)
            database.execute(f'DROP TABLE IF EXISTS "{table.name}"')
            database.execute(f'CREATE TABLE "{table.name}" AS SELECT * FROM columns')
            for column in table.schema:
                text = (column.metadata or {}).get(b"comment", b"").decode().replace("'", "''")
                if text:
                    name = f'"{table.name}"."{column.name}"'
                    database.execute(f"COMMENT ON COLUMN {name} IS '{text}'")
        database.unregister("columns")

    def _remove(self, table: str, month: str) -> None:
        rows = f'DELETE FROM "{table}"'
        if month == WHOLE:
            self._database.execute(rows)
        elif self._columns(table):  # somebody may have dropped it
            self._database.execute(f"{rows} WHERE strftime(_begin_date, '%Y-%m') = ?", [month])
        self._database.execute(
            f'DELETE FROM {_STAMPS} WHERE "table" = ? AND month = ?', [table, month]
        )

    def _drop_empty(self, names: Iterable[str]) -> None:
        for name in {*names}:
            left = self._database.execute(
                f'SELECT count(*) FROM {_STAMPS} WHERE "table" = ?', [name]
            ).fetchall()
            if left == [(0,)]:
                self._database.execute(f'DROP TABLE IF EXISTS "{name}"')

    def finish(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with self._failing():
                database.close()
                _log_of(self.path).unlink(missing_ok=True)  # of the file that is replaced
                self.show()

    def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()
        self.release()

    def _remove_draft(self) -> None:
        for path in (self.draft, _log_of(self.draft)):
            path.unlink(missing_ok=True)


def _mark(columns: Sequence[tuple[str, str]]) -> str:
    return f"{crc32(repr(columns).encode()):08x}"


def _log_of(path: Path) -> Path:
    """Where DuckDB writes changes before they are in the file."""
    return path.with_name(f"{path.name}.wal")


def loaded(tables: Mapping[str, Any]) -> Any:
    """A connection, in memory, with these tables; each has a ``reader`` of batches."""
    database = duckdb.connect()
    for name, table in tables.items():
        database.register("_harvester_read", table.reader())
        quoted = name.replace('"', '""')
        database.execute(f'CREATE TABLE "{quoted}" AS FROM _harvester_read')
        database.unregister("_harvester_read")
    return database
