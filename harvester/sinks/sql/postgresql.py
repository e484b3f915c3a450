r"""PostgreSQL: ``postgresql://…``, a table for each interface.

Rule: only what is specific to PostgreSQL; `harvester.base.postgresql` has the connection.

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

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from hashlib import sha256
from typing import Any

from harvester.base.outage import PATIENCE
from harvester.base.postgresql import (
    SETTINGS,
    Server,
    begin,
    limits,
    server_of,
    with_schema,
    without_schema,
)
from harvester.base.secrets import Secret
from harvester.errors import UsageError
from harvester.model import Field
from harvester.sinks.sql.base import SqlSink
from harvester.sinks.sql.driver import AccountDays, Driver, MakeRows, Rows
from harvester.sinks.sql.schema import FORMS, Dialect
from harvester.sinks.views import DAY, EXACT, ListView
from harvester.texts import say

_LOCK = 0x68617276  # "harv"
_SETTINGS = (  # the days to delete are few beside a table: they are looked up in its index
    f"{SETTINGS}, set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)

_IS_LEDGER = (  # whether the tables would be made in the schema of a shared ledger
    "SELECT to_regclass({0} || '.open_window') IS NOT NULL"
    " AND to_regclass({0} || '.wanted') IS NOT NULL"
)
_SCHEMA = re.compile(r"[\w-]+")

_TYPES = {
    "int": "bigint", "float": "double precision", "str": "text", "bool": "boolean", "date": "date",
    "object": "json", "list": "json", "json": "json", "timestamp": "timestamp with time zone",
    "key": "text",
}  # fmt: skip

_AS_THEY_ARE = {"int": "int8", "float": "float8", "bool": "bool"}
"""What values are in Python when they are copied; all others are text.  Told beforehand, the driver
does not look at each, which is half of its work."""


_NUL = "chr(92) || 'u0000'"  # as JSON writes it: PostgreSQL refuses to read it
_READS = {
    "int": "CASE WHEN json_typeof({json}) = 'number' AND {text} ~ '^-?[0-9]{{1,19}}$' THEN"
    f" CASE WHEN ({{text}})::numeric BETWEEN -{2**63} AND {2**63 - 1} THEN ({{text}})::bigint END"
    " END",
    "float": "CASE WHEN json_typeof({json}) = 'number' AND length({text}) < 99 THEN"
    f" CASE WHEN {{text}} ~ '[.eE]' OR ({{text}})::numeric BETWEEN -{EXACT} AND {EXACT}"
    " THEN ({text})::double precision END END",
    "str": "CASE json_typeof({json}) WHEN 'string' THEN {text} END",
    "bool": "CASE json_typeof({json}) WHEN 'boolean' THEN ({text})::boolean END",
    "date": "CASE WHEN json_typeof({json}) = 'string'"
    " AND {text} ~ '^([0-9]{{8}}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})$'"
    " AND replace({text}, '-', '') ~ '{day}' THEN replace({text}, '-', '')::date END",
}
"""The value of an item by its field's type; no value makes the query fail."""


def _unnested(view: ListView) -> str:
    quoted = DIALECT.quoted
    first = f"parent.{quoted(view.lists[0][0])}"
    whole = _readable(first)
    tables = f"{quoted(view.table)} AS parent"
    for n, path in enumerate(view.lists, 1):
        found = _within(f"({whole})", path[1:]) if n == 1 else _within(f"list_{n - 1}.value", path)
        tables += (
            f" CROSS JOIN LATERAL json_array_elements(CASE json_typeof({found}) WHEN 'array'"
            f" THEN {found} END) WITH ORDINALITY AS list_{n} (value, number)"
        )
    columns = view.selected(
        DIALECT,
        "list_{}.number - 1",
        lambda each: _value(_within(f"list_{each.level}.value", each.path), each.field.type),
    )
    return f"SELECT {', '.join(columns)} FROM {tables}"


def _reached(column: str, kind: str, steps: Sequence[str]) -> str:
    return _value(_within(f"({_readable(column)})", steps), kind)


def _readable(column: str) -> str:
    """A column of JSON without what PostgreSQL refuses to read."""
    return (
        f"CASE WHEN position({_NUL} IN {column}::text) > 0"
        f" THEN replace({column}::text, {_NUL}, chr(92) || 'ufffd')::json ELSE {column} END"
    )


def _value(found: str, kind: str) -> str:
    return _READS[kind].format(json=found, text=f"({found} #>> '{{}}')", day=DAY)


def _within(json: str, steps: Sequence[str]) -> str:
    return "".join([json, *[f" -> '{each}'" for each in steps]])


DIALECT = Dialect(
    "PostgreSQL",
    _TYPES,
    forms=FORMS | {"timestamp": datetime.isoformat},  # text is what COPY takes fastest
    reads={"object": "{}::text", "list": "{}::text", "json": "{}::text"},
    mark="%s",
    percent="%%",
    folds=False,
    longest=63,
    refused="str",
    refuses=lambda value: type(value) is str and "\0" in value,
    sign=b"\\u0000",
    locks=" FOR UPDATE",
    keyed=' COLLATE "C"',
    remarks=True,
    views="SELECT relname, bool_or(attname = '_fetched_at') FROM pg_class"
    " JOIN pg_attribute ON attrelid = pg_class.oid WHERE relkind = 'v'"
    " AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
    " GROUP BY relname HAVING bool_or(attname = '_appid')",
    unnested=_unnested,
    casts=_TYPES,
    position="strpos({}, '_')",
    reached=_reached,
)


class PostgreSQL(SqlSink):
    """The sink in a PostgreSQL database.

    url: as libpq takes it; the password may be in ``PGPASSWORD`` or ``~/.pgpass`` instead,
    where a process's arguments do not show it.  ``schema=NAME`` among its options names the schema
    of all tables, which is made if it is not there; two schemas of a database are two sinks.
    Raises `UsageError` for a URL that is none, and if the library is missing.
    """

    def __init__(self, url: str | Secret, *, patience: float = PATIENCE) -> None:
        url = Secret(url)
        self.ledger_url, schema = without_schema(url)
        if schema is not None and not (_SCHEMA.fullmatch(schema) and DIALECT.takes(schema)):
            raise UsageError(
                "sink: {!r} cannot be the name of a schema; use up to {} letters, digits, _ and -",
                schema,
                DIALECT.longest,
            )
        server = server_of(self.ledger_url, "sink")
        self.unnamed = server.unnamed
        driver = PostgresDriver(server, schema or "")
        super().__init__(driver, patience=patience)

    fenced = True

    @classmethod
    def from_spec(cls, rest: str | Secret) -> PostgreSQL:
        rest = Secret(rest)
        return cls(Secret(f"postgresql:{rest.value}"))


class PostgresDriver(Driver):
    """One connection to the server, made again after it was lost."""

    dialect = DIALECT

    def __init__(self, server: Server, schema: str = "") -> None:
        self.errors: tuple[type[Exception], ...] = (server.library.Error,)
        self.identity = server.identity
        self.where = server.where
        if schema:
            self.identity = with_schema(self.identity, schema)
            self.where = say("the schema {} of {}", schema, self.where)
        self.describe = server.describe
        self.outage = server.outage
        self.is_barred = server.is_barred
        self._server = server
        self._schema = schema
        self._settings = _SETTINGS
        self._connection: Any = None
        self._ever = False

    def connect(self, *, create: bool) -> None:
        if self._connection is None:
            self._connection = self._server.connect(again=self._ever)
            self._ever = True
            name = f"'{_quoted(self._schema)}'" if self._schema else "quote_ident(current_schema())"
            [(is_ledger,)] = self.query(_IS_LEDGER.format(name))
            if is_ledger and self._schema:
                raise UsageError("{} belongs to a ledger; choose another schema", self.where)
            if is_ledger:  # the user has its name, and it comes first in the search path
                name = "'public'"
            if is_ledger or self._schema:
                self._settings = f"{_SETTINGS}, set_config('search_path', {name}, true)"
        if create and self._schema:
            self._make_schema()

    def _make_schema(self) -> None:
        """Create the schema if it is missing; a user of it may lack the right to create one."""
        if self.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", [self._schema]) == []:
            with self.transaction("schema", alone=True):
                self.query(f"CREATE SCHEMA IF NOT EXISTS {_quoted(self._schema)}")

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
        cursor = self._connection.execute(sql, tuple(values))
        return list(cursor.fetchall()) if cursor.description else []

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("; ".join([cursor.mogrify(sql, row) for row in rows]))

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        with self._connection.cursor(name="harvester") as cursor:
            cursor.itersize = 2000
            yield from cursor.execute(sql, tuple(values))

    def stage(self, table: str, columns: Sequence[Field], rows: MakeRows) -> None:
        staged, names = _staged(table, columns), _names(columns)
        types = ", ".join(f"{_quoted(each.name)} {_TYPES[each.type]}" for each in columns)
        self.query(f"CREATE TEMP TABLE IF NOT EXISTS {staged} ({types}) ON COMMIT DELETE ROWS")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(cursor.mogrify(f"COPY pg_temp.{staged} ({names}) FROM STDIN", ())) as copy,
        ):
            copy.set_types([_AS_THEY_ARE.get(field.type, "text") for field in columns])
            write = copy.write_row
            for row in rows():
                write(row)

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        names = _names(columns)
        self.query(
            f"INSERT INTO {_quoted(table)} ({names})"
            f" SELECT {names} FROM pg_temp.{_staged(table, columns)} WHERE NOT _appid = ANY(%s)",
            [list(without)],
        )

    def delete(self, table: str, days: Sequence[AccountDays], longest: int) -> None:
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
