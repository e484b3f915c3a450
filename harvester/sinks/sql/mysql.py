"""MySQL and MariaDB: ``mysql://…``, a table for each interface.

Rule: what is particular to MySQL; the connection is `harvester.sinks.sql.mysql_server`'s business.

JSON is stored as text; the JSON functions of both databases take text.  MySQL's JSON type sorts
the fields of an object and cuts whole numbers of more than 64 bits.  MariaDB's is text with a
check, which refuses more than 31 levels.

A statement that creates or changes a table commits the transaction.  So each leaves a state from
which the next opening continues, and the lock for such statements is one of the session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from copy import copy
from itertools import chain
from typing import Any

from harvester.base import files as durable
from harvester.base.outage import PATIENCE, Away, Undone
from harvester.base.secrets import Secret
from harvester.errors import SinkError, UsageError
from harvester.model import Field
from harvester.sinks.sql.base import SqlSink
from harvester.sinks.sql.driver import AccountDays, Driver, MakeRows, Rows, before, overlaps
from harvester.sinks.sql.mysql_server import LOCK, Server, server_of
from harvester.sinks.sql.schema import FORMS, Dialect, is_negative_zero
from harvester.sinks.views import DAY, EXACT, ListView
from harvester.tables import Column
from harvester.texts import say

_TYPES = {
    "int": "bigint", "float": "double", "str": "longtext", "bool": "tinyint(1)", "date": "date",
    "object": "longtext", "list": "longtext", "json": "longtext", "timestamp": "datetime",
    "key": "varchar(190)",  # short enough for an index in any row format
}  # fmt: skip


_CASTS = {
    "int": "signed", "float": "double", "str": "char", "date": "date",
    "timestamp": "datetime",
}  # fmt: skip
_NUMBERS = "JSON_TYPE({json}) IN ('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL')"
_READS = {  # MariaDB takes 1e300 for an integer, so the digits of a number decide
    "int": f"CASE WHEN {_NUMBERS} AND {{json}} REGEXP '^-?[0-9]{{{{1,19}}}}$' THEN"
    f" CASE WHEN CAST({{text}} AS decimal(20)) BETWEEN -{2**63} AND {2**63 - 1}"
    " THEN CAST({text} AS signed) END END",
    "float": f"CASE WHEN {_NUMBERS} THEN CASE WHEN {{json}} REGEXP '[.eE]'"
    f" OR {{json}} REGEXP '^-?[0-9]{{{{1,16}}}}$' AND CAST({{text}} AS signed)"
    f" BETWEEN -{EXACT} AND {EXACT} THEN CAST({{text}} AS double) END END",
    "str": "CASE JSON_TYPE({json}) WHEN 'STRING' THEN {text} END",
    "bool": "CASE JSON_TYPE({json}) WHEN 'BOOLEAN' THEN {text} = 'true' END",
    "date": "CASE WHEN JSON_TYPE({json}) = 'STRING' AND CHAR_LENGTH({text}) IN (8, 10)"
    " AND {text} REGEXP '^([0-9]{{8}}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})$'"
    " AND REPLACE({text}, '-', '') REGEXP '{day}' THEN CAST({text} AS date) END",
}


def _unnested(view: ListView) -> str:
    quoted = DIALECT.quoted
    first = f"parent.{quoted(view.lists[0][0])}"
    columns = ""
    for n in range(len(view.lists), 0, -1):
        path = view.lists[n - 1][1:] if n == 1 else view.lists[n - 1]
        inner = f"number_{n} FOR ORDINALITY, item_{n} JSON PATH '$'"
        columns = (
            f"{'NESTED PATH ' if n > 1 else ''}'{_path(path)}[*]' COLUMNS"
            f" ({', '.join(filter(None, (inner, columns)))})"
        )
    found = view.selected(DIALECT, "list.number_{} - 1", _value)
    return (  # a list within a list may be empty: then there is a row without a number
        f"SELECT {', '.join(found)} FROM {quoted(view.table)} AS parent,"
        f" JSON_TABLE(IF(JSON_VALID({first}), {first}, '[]'), {columns}) AS list"
        f" WHERE list.number_{len(view.lists)} IS NOT NULL"
    )


def _value(column: Column) -> str:
    return _reached(f"list.item_{column.level}", column.field.type, column.path)


def _reached(column: str, kind: str, steps: Sequence[str]) -> str:
    found = f"JSON_EXTRACT({column}, '{_path(steps)}')"
    return _READS[kind].format(json=found, text=f"JSON_UNQUOTE({found})", day=DAY)


def _path(steps: Sequence[str]) -> str:
    return "$" + "".join([f'."{each}"' for each in steps])


DIALECT = Dialect(
    "MySQL",
    _TYPES,
    forms=FORMS | {"timestamp": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S")},
    revives={"bool": bool},
    mark="%s",
    quote="`",
    percent="%%",
    longest=64,
    most=150,  # of longtext InnoDB takes some 170: a row has a part of each in its page
    refused="float",
    refuses=is_negative_zero,
    sign=b"-0.0",
    indexed=", INDEX by_day ({2})",
    comment=" COMMENT '{}'",
    notes=("", " COMMENT '{}'"),
    views="SELECT table_name, MAX(column_name = '_fetched_at') FROM information_schema.tables"
    " JOIN information_schema.columns USING (table_schema, table_name)"
    " WHERE table_schema = DATABASE() AND table_type = 'VIEW' GROUP BY table_name"
    " HAVING MAX(column_name = '_appid') = 1",
    unnested=_unnested,
    casts=_CASTS,
    reached=_reached,
    locks=" FOR UPDATE",
    insert_new="INSERT INTO {0} ({1}) VALUES ({2}) ON DUPLICATE KEY UPDATE {3} = {3}",
)

_COLLATIONS = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin")
"""Of MariaDB and MySQL: all others equate ``A`` and ``a``, or ignore a trailing blank."""
_LENGTH = 1 << 20
"""Bytes of one INSERT; longer ones are no faster."""
_AT_ONCE = 100
"""The most ranges of days in one DELETE: with many more, MySQL uses no index."""


class MySQL(SqlSink):
    """The sink in a database of MySQL or MariaDB.

    url: ``mysql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?ssl_ca=FILE]``; the password may be in
    ``MYSQL_PWD`` instead, where a process's arguments do not show it.
    Raises `UsageError` for a URL that is none, and if the library is missing.
    """

    def __init__(self, url: str | Secret, *, patience: float = PATIENCE) -> None:
        url = Secret(url)
        server = server_of(url, "sink")
        self.unnamed = server.unnamed
        driver = MySQLDriver(server)
        super().__init__(driver, patience=patience)

    fenced = True

    @classmethod
    def from_spec(cls, rest: str | Secret) -> MySQL:
        rest = Secret(rest)
        return cls(Secret(f"mysql:{rest.value}"))


class MySQLDriver(Driver):
    """One connection to the server, made again after it was lost."""

    def __init__(self, server: Server) -> None:
        self.dialect = DIALECT
        self.errors: tuple[type[Exception], ...] = (server.library.MySQLError,)
        self.identity = server.identity
        self.where = server.where
        self.describe = server.describe
        self.outage = server.outage
        self.is_barred = server.is_barred
        self._server = server
        self._connection: Any = None
        self._ever = False
        self._packet = 0

    def connect(self, *, create: bool) -> None:
        if self._connection is not None:
            try:
                self._connection.ping(reconnect=False)
            except self.errors:  # idle for long, and nothing was under way
                self.close()
            else:
                return
        self._connection = self._server.connect(again=self._ever)
        self._ever = True
        [(self._packet,)] = self.query("SELECT @@max_allowed_packet")
        known = self.query(
            "SELECT collation_name FROM information_schema.collations"
            " WHERE collation_name IN (%s, %s)",
            _COLLATIONS,
        )
        collations = [name for name in _COLLATIONS if (name,) in known]
        if not collations:
            raise UsageError(
                "the server of {} has no collation {}; MariaDB 10.2 or newer and MySQL 8.0.17 or"
                " newer have one",
                self.where,
                " or ".join(_COLLATIONS),
            )
        self.dialect = DIALECT._replace(
            ends=f" ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={collations[0]}"
        )

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self.errors):
                connection.close()

    @contextmanager
    def transaction(self, what: str, *, alone: bool = False) -> Iterator[None]:
        if alone and self.query(f"SELECT GET_LOCK({LOCK}, 30)") != [(1,)]:
            raise Undone(say("another program is creating tables there"))
        self.query("START TRANSACTION")
        try:
            yield
            with durable.step(f"commit mysql {what}"):
                self.query("COMMIT")
        except BaseException:
            with suppress(*self.errors):
                self.query("ROLLBACK")
            raise
        finally:
            if alone:
                with suppress(*self.errors):
                    self.query(f"DO RELEASE_LOCK({LOCK})")

    @contextmanager
    def reading(self) -> Iterator[MySQLDriver]:
        reader = copy(self)
        reader._connection = None
        try:
            reader.connect(create=False)
            self._server.lift_limits(reader._connection)
            reader.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.query("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            yield reader
        finally:
            reader.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        commits = sql.startswith(("CREATE", "ALTER", "DROP"))
        step = durable.step("make mysql table") if commits else nullcontext()
        with self._connection.cursor() as cursor, step:
            cursor.execute(sql, tuple(values))
            return list(cursor.fetchall())

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        cursor = self._connection.cursor(self._server.library.cursors.SSCursor)
        cursor.execute(sql, tuple(values))
        try:
            yield from cursor.fetchall_unbuffered()  # of the cursor itself it would call `close`
        except GeneratorExit:  # the server sends a result to its end unless the query is killed
            with suppress(*self.errors, Away, UsageError), closing(self._server.connect()) as other:
                other.query(f"KILL QUERY {self._connection.thread_id()}")
            with suppress(*self.errors):
                cursor.close()
            raise
        cursor.close()

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        dialect = self.dialect
        names = ", ".join(dialect.quoted(field.name) for field in columns)
        values = f"({dialect.marks(len(columns))})"
        into = f"INSERT INTO {dialect.quoted(table)} ({names}) VALUES "
        with self._connection.cursor() as cursor:
            cursor.max_stmt_length = min(self._packet, _LENGTH)  # it splits the rows by bytes
            try:
                cursor.executemany(into + values, rows())
            except self.errors:  # the server may have hung up on a record that is too long
                longest = max(len(cursor.mogrify(into + values, row).encode()) for row in rows())
                if longest >= self._packet:
                    raise SinkError(
                        "a record of {} takes {:,} bytes, but {} accepts only {:,} at once"
                        " (max_allowed_packet); raise this limit, and run the same command again",
                        table,
                        longest,
                        self.where,
                        self._packet,
                    ) from None
                raise

    def delete(self, table: str, days: Sequence[AccountDays], longest: int) -> None:
        name = self.dialect.quoted(table)
        one = f"_appid = %s AND {overlaps('%s')}"
        for at in range(0, len(days), _AT_ONCE):
            some = days[at : at + _AT_ONCE]
            self.query(  # whatever the index finds is locked, and nothing of another account
                f"DELETE {name} FROM {name} FORCE INDEX (PRIMARY)"
                f" WHERE {' OR '.join([one] * len(some))}",
                [
                    *chain.from_iterable(
                        (appid, end, begin, before(begin, longest)) for appid, begin, end in some
                    )
                ],
            )

    def columns(self, table: str) -> dict[str, str]:
        found = self.query(
            "SELECT column_name, column_type, engine FROM information_schema.columns"
            " JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema = DATABASE() AND table_name = %s",
            [table],
        )
        if found and str(found[0][2]).lower() != "innodb":
            raise UsageError(
                "the table {} of {} uses the engine {}, which has no transactions; run: ALTER"
                " TABLE {} ENGINE=InnoDB",
                table,
                self.where,
                found[0][2],
                table,
            )
        return {  # MariaDB, and MySQL before 8.0.19, report the width of a number
            str(name): "bigint" if kind.startswith("bigint(") else str(kind)
            for name, kind, _ in found
        }
