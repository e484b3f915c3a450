"""DuckDB: ``duckdb:FILE``, a table for each table of the export.

Rule: a copy of the file is changed and replaces it, so that readers may have the file open.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

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


class DuckDB(SingleFile):
    """A database file."""

    scheme = "duckdb"
    whole = False

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._database: Any = None

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
            held = self._held()
            return held if fits or create else Held(held.harvest)

    def _log_fits(self, *, create: bool) -> bool:
        """Whether the log of somebody who has changed the file, if there is one, belongs to it.

        If the file was replaced meanwhile it does not, and nobody can open the file any more.
        create: remove it then.
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

    def _held(self) -> Held:
        """Read the stamps from the copy: the file itself may be open in another process."""
        shutil.copyfile(self.path, self.draft)
        try:
            self._database = duckdb.connect(str(self.draft))
            rows = self._database.sql(f"SELECT * FROM {_STAMPS}").fetchall()
        except duckdb.Error:
            raise UsageError(
                "{} is not an export of harvester; choose another file, or remove it", self.path
            ) from None
        harvest = next((str(harvest) for *_, harvest in rows), "")
        return Held(harvest, {(table, month): stamp for table, month, stamp, _ in rows})

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with self._failing():
            database = self._opened()
            units = list(units)
            for table in tables:
                gone = {month for name, month in removed if name == table.name}
                self._make(table, {*gone, *(unit.month for unit in units)})
            database.execute("BEGIN")
            for name, month in removed:
                self._remove(name, month)
            for unit in units:
                for table in tables:
                    self._remove(table.name, unit.month)
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        database.register("rows", _as_table(rows))
                        database.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM rows')
                        database.unregister("rows")
                database.executemany(
                    f"INSERT INTO {_STAMPS} VALUES (?, ?, ?, ?)",
                    [(table.name, unit.month, unit.stamp, self.harvest) for table in tables],
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
                ' ("table" VARCHAR, month VARCHAR, stamp VARCHAR, harvest VARCHAR)'
            )
        return self._database

    def _make(self, table: TableShape, months: Collection[str]) -> None:
        """Make a table, anew if it has other columns; then all its months are written."""
        database = self._database
        held = database.execute(f'SELECT month FROM {_STAMPS} WHERE "table" = ?', [table.name])
        left = {month for (month,) in held.fetchall()} - {*months}
        try:
            database.register("columns", table.schema.empty_table())
        except duckdb.Error as exc:  # a column of a type that it does not have
            raise TypeError(" ".join(str(exc).split())) from exc
        wanted = database.sql("SELECT column_name, column_type FROM (DESCRIBE columns)").fetchall()
        found = database.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
            " ORDER BY column_index",
            [table.name],
        ).fetchall()
        if found != wanted and left:
            raise UsageError(
                "{}: the columns of {} were changed; remove the file, and the same command "
                "creates it again",
                self.path,
                table.name,
            )
        if found != wanted:
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
        else:
            self._database.execute(f"{rows} WHERE strftime(_begin_date, '%Y-%m') = ?", [month])
        self._database.execute(
            f'DELETE FROM {_STAMPS} WHERE "table" = ? AND month = ?', [table, month]
        )

    def _drop_empty(self, names: Iterable[str]) -> None:
        """Drop tables that have no month any more."""
        for name in {*names}:
            left = self._database.execute(
                f'SELECT count(*) FROM {_STAMPS} WHERE "table" = ?', [name]
            ).fetchone()
            if left == (0,):
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


def _log_of(path: Path) -> Path:
    """Where DuckDB writes changes before they are in the file."""
    return path.with_name(f"{path.name}.wal")


def _as_table(rows: Any) -> Any:
    return pa.Table.from_batches([rows])


def loaded(tables: Mapping[str, Any]) -> Any:
    """A connection, in memory, with these tables; each has a ``reader`` of batches."""
    database = duckdb.connect()
    for name, table in tables.items():
        database.register("_harvester_read", table.reader())
        quoted = name.replace('"', '""')
        database.execute(f'CREATE TABLE "{quoted}" AS FROM _harvester_read')
        database.unregister("_harvester_read")
    return database
