"""A PostgreSQL server: its URL, its connections, and what its errors mean.

Rule: the only module that knows psycopg, which is imported only when it is needed.  No
message, and no frame that an error passes through, holds the password.

A connection keeps no state in its session: it works behind a pooler that lends a server connection
for one transaction.

A client that is frozen while it sends COPY, or a statement's values in parts, keeps its locks
forever: the server waits for the rest.  So values are sent as literals, in messages of one piece,
and no COPY begins while a transaction holds a lock that others need.  Then `limits` frees the
locks.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from harvester.base import files as durable
from harvester.base.outage import DISK_FULL, Away, Undone
from harvester.base.secrets import UNNAMED, Secret, advice
from harvester.base.threads import can_be_cut
from harvester.errors import UsageError, needs
from harvester.texts import say

_OPTION = "schema="
FORM = "postgresql://[USER@]HOST[:PORT]/DATABASE"

_SECRETS = ("password", "sslpassword")
_SAFE = (
    ("channel_binding", "require"),
    ("require_auth", "scram-sha-256,gss,sspi,none"),
)
"""What libpq needs before 16, and from it on, to log in only in ways that show no password."""
_NOT_SAFE = ("server requested a", "channel binding required")
_OURS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04", "25006")
"""Prefixes of error codes: connections, shutdowns, too many clients, ends of idle or long
transactions and sessions, a standby that is read-only until it is promoted."""
_UNDONE = ("40001", "40P01", "55P03", "57014")
"""Deadlocks, lock timeouts, statement timeouts: the transaction is rolled back."""
_NOT_ALLOWED = "42501"  # insufficient privilege
_NOT_NOW = (
    "refused", "timeout", "timed out", "starting up", "shutting down", "recovery", "too many",
    "slots", "unexpectedly", "reset", "unreachable", "no such file", "not yet accepting", "eof",
    "syscall", "broken pipe", "aborted", "read-only", "standby", "could not receive",
    "could not send", "no route to host",
)  # fmt: skip

_SET = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
}
SETTINGS = (
    "".join([f"set_config('{name}', '{value}', true), " for name, value in _SET.items()])
    + "set_config('lock_timeout', '30s', true),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"
)
"""The settings of each transaction: a commit is durable when it returns."""
LIMITS = [
    (0, "lock_timeout", "30s"),
    (0, "idle_in_transaction_session_timeout", "20s"),
    (0, "statement_timeout", "120s"),
    (120000, "tcp_user_timeout", "30s"),
    (140000, "client_connection_check_interval", "1s"),
    (170000, "transaction_timeout", "600s"),
]
"""By the version that knows them: what ends a transaction whose client waits, is gone or frozen.

What a frozen client holds is free before another one gives up opening the same sink."""

_KNOWS_IDLE_SESSIONS = 140000

_HOLDER = (
    "SELECT application_name, client_addr, pid FROM pg_stat_activity WHERE pid = ANY({}) LIMIT 1"
)


def limits(connection: Any, *, lifted: bool = False) -> str:
    """Settings after which the server ends a transaction; lifted: it may take any time."""
    version = connection.info.server_version
    found = [
        f"set_config('{name}', '{'0' if lifted and name != 'lock_timeout' else value}', true)"
        for since, name, value in LIMITS
        if version >= since
    ]
    return ", ".join(found)


class Server(NamedTuple):
    """A database of a server.

    library: psycopg.  given: the parameters of a connection; secrets: those that are never shown.
    where: the database as messages name it; identity: its URL without secrets.
    """

    library: Any
    given: dict[str, str]
    secrets: dict[str, Secret]
    where: str
    identity: str

    @property
    def hosts(self) -> set[str]:
        """Where it is; an empty text is what libpq takes without a host."""
        host = self.given.get("host", "")
        return {*f"{host},{self.given.get('hostaddr') or host}".split(",")}

    def unnamed(self, hosts: Collection[str]) -> None:
        """Show no password unless each of its hosts is one of these."""
        if not self.hosts <= {*hosts}:
            self.given.update([_SAFE[self.library.pq.version() >= 160000]])

    def connect(self, *, again: bool = False) -> Any:
        """A new connection; again: it is not the first one.  Raises `Away` and `UsageError`."""
        connection, problem = self._connected()
        if problem and (again or any(sign in problem.lower() for sign in _NOT_NOW)):
            raise Away(problem)
        if problem:
            raise UsageError("{} cannot be used: {}", self.where, problem)
        can_be_cut(connection, connection.fileno(), self.where)
        if connection.info.server_version >= _KNOWS_IDLE_SESSIONS:
            connection.execute("SET idle_session_timeout = 0")  # behind a pooler it has no effect
        encoding = connection.execute("SHOW server_encoding").fetchone()[0]
        if encoding != "UTF8":
            connection.close()
            raise UsageError(
                "{} has the encoding {}, which cannot store every title; create a database with"
                " UTF8",
                self.where,
                encoding,
            )
        return connection

    def _connected(self) -> tuple[Any, str]:
        try:
            connection = self.library.connect(
                **_OURS | {"application_name": _our_name()} | self.given,
                **{name: secret.value for name, secret in self.secrets.items()},
                autocommit=True,
                prepare_threshold=None,
                client_encoding="utf8",
                cursor_factory=self.library.ClientCursor,
            )
        except self.library.Error as exc:
            return None, self.describe(exc)
        return connection, ""

    def describe(self, exc: BaseException) -> str:
        """The server's message, on one line, without secrets."""
        lines = str(exc).strip().splitlines() or [type(exc).__name__]
        line = ([one for one in lines if "failed: " in one][-1:] or lines)[0]
        line = line.rpartition("failed: ")[2].removeprefix("FATAL:").removeprefix("ERROR:").strip()
        if getattr(exc, "sqlstate", None) == "53100":
            return DISK_FULL
        if {*_SAFE} & {*self.given.items()} and any(sign in line for sign in _NOT_SAFE):
            return UNNAMED
        if "no password supplied" in line:
            return say("no password was given; set it in PGPASSWORD or ~/.pgpass")
        for secret in self.secrets.values():
            line = secret.cut_from(line)
        return line

    def outage(self, exc: BaseException) -> type[Away] | None:
        """The kind of outage, None if the error will stay."""
        state = getattr(exc, "sqlstate", None)
        if state in _UNDONE:
            return Undone
        kinds = (self.library.OperationalError, self.library.InterfaceError)
        lost = isinstance(exc, kinds) if state is None else str(state).startswith(_LOST)
        return Away if lost else None

    def is_barred(self, exc: BaseException) -> bool:
        return getattr(exc, "sqlstate", None) == _NOT_ALLOWED

    @contextmanager
    def transaction(self, connection: Any, settings: str, what: str) -> Iterator[None]:
        """All or nothing; its commit is a durable step named ``what``."""
        try:
            begin(connection, settings)
            yield
            with durable.step(f"commit postgresql {what}"):
                connection.execute("COMMIT")
        except BaseException:
            with suppress(self.library.Error):
                connection.execute("ROLLBACK")
            raise


def _our_name() -> str:
    """This process as others see it: who waits for it sees this name."""
    return f"harvester {socket.gethostname()}:{os.getpid()}"[:63]


def begin(connection: Any, settings: str, how: str = "READ COMMITTED") -> None:
    """Begin a transaction, in one message."""
    connection.execute(f"BEGIN ISOLATION LEVEL {how}; SELECT {settings}")


def holder(connection: Any, pids: str) -> str:
    """Who holds a lock; pids: an expression for the server's processes that hold it."""
    found = connection.execute(_HOLDER.format(pids)).fetchone()
    if found is None:
        return ""
    name, address, pid = found
    whose = name or say("another program")
    whose = say("{} ({}, process {} on the database server)", whose, address or "local", pid)
    return say("a lock that {} holds", whose)


def without_schema(url: Secret) -> tuple[Secret, str | None]:
    """The URL as libpq takes it, and the schema that it names: libpq has no such option."""
    place, _, query = url.value.partition("?")
    options = query.split("&") if query else []
    schemas = [each for each in options if each.startswith(_OPTION)]
    rest = "&".join([each for each in options if each not in schemas])
    schema = unquote(schemas[-1].removeprefix(_OPTION)) if schemas else None
    return Secret(f"{place}?{rest}" if rest else place), schema


def with_schema(identity: str, schema: str) -> str:
    """The URL of a database without secrets, and a schema of it."""
    return f"{identity}{'&' if '?' in identity else '?'}{_OPTION}{quote(schema)}"


def server_of(url: Secret, what: str) -> Server:
    """The server and database that a URL names; nothing is sent yet; raises `UsageError`."""
    found, problem = _parsed(url, what)
    if found is None:  # here, where no frame holds the URL as text
        raise UsageError(problem)
    return found


def _parsed(url: Secret, what: str) -> tuple[Server | None, str]:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        return None, needs(say("the {} in PostgreSQL needs a library", what), "postgres")
    if not url.value.startswith("postgresql://"):
        return None, say("{}: write PostgreSQL as {}", what, FORM)
    if not _is_plain(url):
        problem = say("the URL of PostgreSQL cannot be read")
        return None, say("{}: {}; write it as {}{}", what, problem, FORM, advice(url))
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url.value).items()}
    except psycopg.Error as exc:
        text = str(exc).strip()
        option = text.split('"')[1] if "query parameter" in text and text.count('"') > 1 else ""
        known = say("it has no option {!r}", option) if option else say("it cannot be read")
        return None, say(
            "{}: the URL of PostgreSQL is not valid ({}); write it as {}", what, known, FORM
        )
    if not given.get("dbname"):
        return None, say("{}: the URL of PostgreSQL names no database; write it as {}", what, FORM)
    identity = _url(given)
    port = f":{given['port']}" if "port" in given else ""
    where = say(
        "the database {} on {}{}", given["dbname"], given.get("host", say("this machine")), port
    )
    secrets = {name: Secret(given.pop(name)) for name in _SECRETS if name in given}
    return Server(psycopg, given, secrets, where, identity), ""


def _is_plain(url: Secret) -> bool:
    """Whether it is certain where user and password end: libpq reads to the first @ or /."""
    before, at, after = url.value.partition("://")[2].partition("@")
    return not at or ("/" not in before and "@" not in after)


def _url(given: dict[str, str]) -> str:
    """The URL without secrets: the same with and without the password."""
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
