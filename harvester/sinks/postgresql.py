r"""PostgreSQL: ``postgresql://…``, a table for each interface.

Rule: only what is specific to PostgreSQL; `harvester.postgres` has the connection.

PostgreSQL refuses the character NUL in text: a text that has one is put into ``_extra``, which as
JSON writes it ``\u0000``, and its column is null.  JSON columns are ``json``, not ``jsonb``, which
would refuse it too, and would not keep the order of an object's fields.

Rows are first copied to a temporary table, while nothing is locked: a writer that is frozen in the
middle of COPY is never ended by the server.

Writers of different accounts write at the same time.  A transaction that was cut off from its
writer in the middle of its commit still holds the locks of its accounts, so the repeated write
waits for its end, and replaces its rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from hashlib import sha256
from typing import Any

from harvester.away import PATIENCE
from harvester.endpoint import Field
from harvester.postgres import SETTINGS, Server, begin, limits, server_of
from harvester.secrets import Secret
from harvester.sinks.layout import Dialect, as_text
from harvester.sinks.sql import Days, MakeRows, Rows, SqlSink

_LOCK = 0x68617276  # "harv"
_SETTINGS = (  # the days to delete are few beside a table: they are looked up in its index
    f"{SETTINGS}, set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)

_IS_LEDGER = (  # whether the tables would be made in the schema of a shared ledger
    "SELECT to_regclass(quote_ident(current_schema()) || '.open_window') IS NOT NULL"
    " AND to_regclass(quote_ident(current_schema()) || '.wanted') IS NOT NULL"
)

_TYPES = {
    "int": "bigint", "float": "double precision", "str": "text", "bool": "boolean", "date": "date",
    "object": "json", "list": "json", "json": "json", "timestamp": "timestamp with time zone",
    "key": "text",
}  # fmt: skip

_AS_THEY_ARE = {"int": "int8", "float": "float8", "bool": "bool"}
"""What values are in Python when they are copied; all others are text.  Told beforehand, the driver
does not look at each, which is half of its work."""


DIALECT = Dialect(
    "PostgreSQL",
    _TYPES,
    forms={  # text is what COPY takes fastest
        "date": lambda day: day.isoformat(),
        "timestamp": lambda moment: moment.isoformat(),
        "object": as_text,
        "list": as_text,
    },
    reads={"object": "{}::text", "list": "{}::text", "json": "{}::text"},
    mark="%s",
    folds=False,
    longest=63,
    refused="str",
    refuses=lambda value: type(value) is str and "\0" in value,
    sign=b"\\u0000",
    locks=" FOR UPDATE",
)


class PostgreSQL(SqlSink):
    """The sink in a PostgreSQL database.

    url: as libpq takes it; the password may stand in ``PGPASSWORD`` or ``~/.pgpass`` in its place,
    where a process's arguments do not show it.
    Raises `UsageError` for a URL that is none, and if the library is missing.
    """

    def __init__(self, url: str | Secret, *, patience: float = PATIENCE) -> None:
        self.ledger_url = Secret(url)
        """Where a ledger is kept by default: in the same database."""
        driver = PostgresDriver(server_of(self.ledger_url, "sink"))
        super().__init__(driver.identity, driver, patience=patience)

    fenced = True

    @classmethod
    def from_spec(cls, rest: str | Secret) -> PostgreSQL:
        """The sink that ``postgresql://…`` names."""
        rest = Secret(rest)
        return cls(Secret(f"postgresql:{rest.value}"))


class PostgresDriver:
    """One connection to the server, made anew when it was lost."""

    dialect = DIALECT

    def __init__(self, server: Server) -> None:
        self.errors: tuple[type[Exception], ...] = (server.library.Error,)
        self.identity = server.identity
        self.where = server.where
        self.says = server.says
        self.outage = server.outage
        self.is_barred = server.is_barred
        self._server = server
        self._settings = _SETTINGS
        self._connection: Any = None
        self._ever = False

    def connect(self, *, create: bool) -> None:
        if self._connection is None:
            self._connection = self._server.connect(again=self._ever)
            self._ever = True
            [(is_ledger,)] = self.query(_IS_LEDGER)
            if is_ledger:  # the user has its name, and it comes first in the search path
                self._settings = f"{_SETTINGS}, set_config('search_path', 'public', true)"

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def transaction(self, what: str, *, alone: bool = False) -> Iterator[None]:
        settings = f"{self._settings}, {limits(self._connection)}"
        with self._server.transaction(self._connection, settings, what):
            if alone:
                self.query("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                self.query("CREATE TEMP TABLE harvester_may (may int) ON COMMIT DROP")  # may we?
            yield

    @contextmanager
    def reading(self) -> Iterator[PostgresDriver]:
        reader = copy(self)
        reader._connection = None
        try:
            reader.connect(create=False)
            connection = reader._connection
            settings = f"{reader._settings}, {limits(connection, lifted=True)}"
            begin(connection, settings, "REPEATABLE READ, READ ONLY")
            yield reader
        finally:
            reader.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql, values or None)
        return list(cursor.fetchall()) if cursor.description else []

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("; ".join([cursor.mogrify(sql, row) for row in rows]))

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        with self._connection.cursor(name="harvester") as cursor:
            cursor.itersize = 2000
            yield from cursor.execute(sql, values or None)

    def stage(self, table: str, columns: Sequence[Field], rows: MakeRows) -> None:
        """Copy rows to a temporary table, which is emptied by the end of the transaction."""
        staged, names = _staged(table, columns), _names(columns)
        types = ", ".join(f"{_quoted(each.name)} {_TYPES[each.type]}" for each in columns)
        self.query(f"CREATE TEMP TABLE IF NOT EXISTS {staged} ({types}) ON COMMIT DELETE ROWS")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY pg_temp.{staged} ({names}) FROM STDIN") as copy,
        ):
            copy.set_types([_AS_THEY_ARE.get(field.type, "text") for field in columns])
            write = copy.write_row
            for row in rows():
                write(row)

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        names = _names(columns)  # they may have a %: so no values are passed with them
        with self._connection.cursor() as cursor:
            where = cursor.mogrify("WHERE NOT _appid = ANY(%s)", [list(without)])
            cursor.execute(
                f"INSERT INTO {_quoted(table)} ({names})"
                f" SELECT {names} FROM pg_temp.{_staged(table, columns)} {where}"
            )

    def delete(self, table: str, days: Sequence[Days], longest: int) -> None:
        appids, begins, ends = (list(values) for values in zip(*days, strict=True))
        self.query(
            f"DELETE FROM {DIALECT.quoted(table)} USING"
            " unnest(%s::text[], %s::date[], %s::date[]) AS gone (appid, first, last)"
            " WHERE _appid = gone.appid AND _begin_date <= gone.last"
            " AND _end_date >= gone.first AND _begin_date > gone.first - %s::integer",
            [appids, begins, ends, longest],
        )

    def columns(self, table: str) -> dict[str, str]:
        found = self.query(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [DIALECT.quoted(table)],
        )
        return {str(name): str(kind) for name, kind in found}


_quoted = DIALECT.quoted


def _names(columns: Sequence[Field]) -> str:
    return ", ".join(_quoted(field.name) for field in columns)


def _staged(table: str, columns: Sequence[Field]) -> str:
    """The name of a temporary table for these columns, which a pooler may have kept."""
    kinds = [(field.name, field.type) for field in columns]
    return f"harvester_{sha256(repr((table, kinds)).encode()).hexdigest()[:32]}"
