r"""PostgreSQL: ``postgresql://…``, a table for each interface.

Rule: the only room that knows psycopg, which is imported when a sink is made and not before; no
message, and no frame that an error passes through, holds the password.

PostgreSQL refuses the character NUL in text: a text that has one stands in ``_extra``, which as
JSON writes it ``\u0000``, and its column is null.  JSON columns are ``json``, not ``jsonb``, which
would refuse it too, and would not keep the order of an object's fields.

Writers of different accounts write at the same time.  A transaction that was cut off from its
writer in the middle of its commit still holds the locks of its accounts, so that the repeated write
waits until it is over, and replaces what it brought.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from typing import Any
from urllib.parse import quote, urlencode

from harvester import durable
from harvester.away import PATIENCE, Away
from harvester.endpoint import Field
from harvester.errors import UsageError
from harvester.secrets import Secret, advice
from harvester.sinks.columns import Row
from harvester.sinks.layout import Dialect, as_text, quoted
from harvester.sinks.sql import Days, Rows, SqlSink

_LOCK = 0x68617276  # "harv"
_FORM = "postgresql://[USER@]HOST[:PORT]/DATABASE"
_SECRETS = ("password", "sslpassword")
_OURS: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "harvester",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_BEGIN = (  # the days to delete are few beside a table: they are looked up in its index
    "SELECT set_config('timezone', 'UTC', true), set_config('lock_timeout', '30s', true),"
    " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)
_TRANSIENT = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01", "55P03")
"""Beginnings of error codes: connections, shutdowns, too many clients, deadlocks, a lock's end."""
_NOT_ALLOWED = "42501"  # insufficient privilege
_NOT_NOW = (
    "refused", "timeout", "timed out", "starting up", "shutting down", "recovery", "too many",
    "slots", "unexpectedly", "reset", "unreachable", "no such file",
)  # fmt: skip

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
        url = Secret(url)
        driver, problem = _driver(url)
        if driver is None:
            raise UsageError(problem)
        super().__init__(driver.identity, driver, patience=patience)

    @classmethod
    def from_spec(cls, rest: str | Secret) -> PostgreSQL:
        """The sink that ``postgresql://…`` names."""
        rest = Secret(rest)
        return cls(Secret(f"postgresql:{rest.value}"))


def _driver(url: Secret) -> tuple[PostgresDriver | None, str]:
    """The driver, or why there is none; nothing is sent yet."""
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        return None, (
            "the sink in PostgreSQL needs its library: pip install 'wechat-harvester[postgres]'"
        )
    if not url.value.startswith("postgresql://"):
        return None, f"sink: write PostgreSQL as {_FORM}"
    if not _is_plain(url):
        return None, f"sink: the URL of PostgreSQL cannot be read; write it as {_FORM}{advice(url)}"
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url.value).items()}
    except psycopg.Error as exc:
        said = str(exc).strip()
        option = said.split('"')[1] if "query parameter" in said and said.count('"') > 1 else ""
        known = f"it has no option {option!r}" if option else "it cannot be read"
        return None, f"sink: the URL of PostgreSQL is not one ({known}); write it as {_FORM}"
    if not given.get("dbname"):
        return None, f"sink: the URL of PostgreSQL names no database; write it as {_FORM}"
    return PostgresDriver(psycopg, given), ""


def _is_plain(url: Secret) -> bool:
    """Whether it is certain where user and password end: libpq reads on to the first @ or /."""
    before, at, after = url.value.partition("://")[2].partition("@")
    return not at or ("/" not in before and "@" not in after)


class PostgresDriver:
    """One connection to the server, made anew when it was lost."""

    dialect = DIALECT

    def __init__(self, library: Any, given: dict[str, str]) -> None:
        self.errors: tuple[type[Exception], ...] = (library.Error,)
        self.identity = _url(given)
        host = given.get("host", "this machine")
        self.where = f"the database {given['dbname']} on {host}" + (
            f":{given['port']}" if "port" in given else ""
        )
        self._secrets = {name: Secret(given.pop(name)) for name in _SECRETS if name in given}
        self._library = library
        self._given = {**_OURS, **given}
        self._connection: Any = None
        self._ever = False

    def connect(self, *, create: bool) -> None:
        if self._connection is not None:
            return
        problem = self._connected()
        if problem and (self._ever or any(sign in problem.lower() for sign in _NOT_NOW)):
            raise Away(problem)
        if problem:
            raise UsageError(f"{self.where} cannot be used: {problem}")
        encoding = self.query("SHOW server_encoding")[0][0]
        if encoding != "UTF8":
            self.close()
            raise UsageError(
                f"{self.where} has the encoding {encoding}, which cannot hold every title; make one"
                " with UTF8"
            )
        self._ever = True

    def _connected(self) -> str:
        """Connect; gives what went wrong."""
        try:
            self._connection = self._library.connect(
                **self._given,
                **{name: secret.value for name, secret in self._secrets.items()},
                autocommit=True,
                prepare_threshold=None,
                client_encoding="utf8",
            )
        except self._library.Error as exc:
            return self.says(exc)
        return ""

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def transaction(self, what: str, *, alone: bool = False) -> Iterator[None]:
        self._connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        try:
            self._connection.execute(_BEGIN)
            if alone:
                self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            yield
            with durable.step(f"commit postgresql {what}"):
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection is not None:
                with suppress(self._library.Error):
                    self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[PostgresDriver]:
        reader = copy(self)
        reader._connection = None
        try:
            reader.connect(create=False)
            reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            reader.query("SELECT set_config('timezone', 'UTC', true)")
            yield reader
        finally:
            reader.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql, values or None)
        return list(cursor.fetchall()) if cursor.description else []

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        with self._connection.cursor(name="harvester") as cursor:
            cursor.itersize = 2000
            yield from cursor.execute(sql, values or None)

    def insert(self, table: str, columns: Sequence[Field], rows: Sequence[Row]) -> None:
        names = ", ".join(quoted(field.name) for field in columns)
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {quoted(table)} ({names}) FROM STDIN") as copy,
        ):
            copy.set_types([_AS_THEY_ARE.get(field.type, "text") for field in columns])
            write = copy.write_row
            for row in rows:
                write(row)

    def delete(self, table: str, days: Sequence[Days], longest: int) -> None:
        appids, begins, ends = (list(values) for values in zip(*days, strict=True))
        self.query(
            f"DELETE FROM {quoted(table)} USING"
            " unnest(%s::text[], %s::date[], %s::date[]) AS gone (appid, first, last)"
            " WHERE _appid = gone.appid AND _begin_date <= gone.last"
            " AND _end_date >= gone.first AND _begin_date > gone.first - %s::integer",
            [appids, begins, ends, longest],
        )

    def columns(self, table: str) -> dict[str, str]:
        found = self.query(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [quoted(table)],
        )
        return {str(name): str(kind) for name, kind in found}

    def says(self, exc: Exception) -> str:
        """The server's own words, on one line."""
        said = str(exc).strip().splitlines() or [type(exc).__name__]
        line = ([one for one in said if "failed: " in one][-1:] or said)[0]
        line = line.rpartition("failed: ")[2].removeprefix("FATAL:").removeprefix("ERROR:").strip()
        if getattr(exc, "sqlstate", None) == "53100":
            return "its disk is full"
        if "no password supplied" in line:
            return "no password was given; it may stand in PGPASSWORD or ~/.pgpass"
        for secret in self._secrets.values():
            line = secret.cut_from(line)
        return line

    def is_away(self, exc: Exception) -> bool:
        state = getattr(exc, "sqlstate", None)
        if state is None:
            kinds = (self._library.OperationalError, self._library.InterfaceError)
            return isinstance(exc, kinds)
        return str(state).startswith(_TRANSIENT)

    def is_barred(self, exc: Exception) -> bool:
        return getattr(exc, "sqlstate", None) == _NOT_ALLOWED


def _url(given: dict[str, str]) -> str:
    """The URL without what is secret: the same whether or not the password stands in it."""
    rest = {name: value for name, value in given.items()
            if name not in (*_SECRETS, "user", "host", "port", "dbname")}  # fmt: skip
    user = f"{quote(given['user'], safe='')}@" if "user" in given else ""
    hosts = given.get("host", "").split(",")
    ports = given.get("port", "").split(",")
    ports += ports[-1:] * (len(hosts) - len(ports))
    places = ",".join(
        (f"[{host}]" if ":" in host else quote(host, safe="")) + (f":{port}" if port else "")
        for host, port in zip(hosts, ports, strict=False)
    )
    query = f"?{urlencode(sorted(rest.items()), quote_via=quote)}" if rest else ""
    return f"postgresql://{user}{places}/{quote(given['dbname'], safe='')}{query}"
