"""A MySQL server: its URL, its connections, and what its errors mean.

Rule: the only module that knows PyMySQL, which is imported when it is needed and not before.  No
message, and no frame that an error passes through, holds the password.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from harvester.base.outage import DISK_FULL, Away, Undone
from harvester.base.secrets import UNNAMED, Secret, advice, place_of
from harvester.base.threads import can_be_cut
from harvester.errors import UsageError, needs
from harvester.texts import say

FORM = "mysql://[USER@]HOST[:PORT]/DATABASE"
PASSWORD_VARIABLE = "MYSQL_PWD"  # the name, not the password

LOCK = "CONCAT('harvester ', MD5(DATABASE()))"

CONNECT, _ANSWER = 10, 120
"""Seconds for each part of making a connection, and for an answer."""
_OURS: dict[str, Any] = {
    "charset": "utf8mb4",
    "connect_timeout": CONNECT,
    "read_timeout": CONNECT,
    "write_timeout": _ANSWER,
    "autocommit": False,
    "program_name": "harvester",
}
LIMITS = (
    # what a frozen writer holds is free before another one gives up opening the same sink
    " wait_timeout = 20, net_read_timeout = 20, net_write_timeout = 20,"
    " innodb_lock_wait_timeout = 30, lock_wait_timeout = 30"
)
_NO_LIMITS = "wait_timeout = 28800, net_write_timeout = 28800"
_SETTINGS = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00',"
    " sql_safe_updates = 0, sql_select_limit = 18446744073709551615,"
)
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

_LOST = frozenset({
    1040, 1047, 1053, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1290, 1792, 1836, 1927,
    2003, 2006, 2013, 4031,
})  # fmt: skip
"""Error numbers: connections, shutdowns, too many clients, a server that is read-only until it is
promoted."""
_UNDONE = frozenset({1020, 1205, 1213, 1317, 1412, 1969, 3024})
"""A deadlock (1213), a lock's end (1205), statements that were interrupted or took too long, a
table that changed under a snapshot: the transaction is rolled back then."""
_WRONG = ("certificate", "not known", "no address", "name resolution", "no such file",
          "support ssl", "permission denied")  # fmt: skip
"""Parts of messages about connections that can never be made."""
_NOT_ALLOWED = frozenset({1044, 1142, 1143, 1227, 1370})
_FULL = frozenset({1021, 1114})
_WRONG_PASSWORD = 1045
_DATE_AND_DATETIME = (10, 12)  # in the protocol


class _NotShownError(RuntimeError):
    """A server asks for a password that it must not see."""


class _Signing(bytes):
    """A password with which PyMySQL signs, and which it cannot send.

    A signature is a hash of the bytes.  Each form that a server can read, in clear or encrypted
    with the key that it sent, is made of the bytes and a NUL.
    """

    def __add__(self, other: object) -> bytes:
        raise _NotShownError(UNNAMED)


@dataclass(eq=False)
class Server:
    """A database of a server.

    password: that of the URL, if any; identity: the URL without it.  signs: it is shown no
    password of the environment.
    """

    library: Any
    given: dict[str, Any]
    password: Secret
    where: str
    identity: str
    signs: bool = False

    def unnamed(self, hosts: Collection[str]) -> None:
        self.signs = self.given["host"] not in hosts and not self.password.value

    def connect(self, *, again: bool = False) -> Any:
        """A new connection; raises `Away` if the server does not answer now, else `UsageError`."""
        connection, problem, not_now = self._connected()
        if problem and (again or not_now):
            raise Away(problem)
        if problem:
            raise UsageError("{} cannot be used: {}", self.where, problem)
        return connection

    def _connected(self) -> tuple[Any, str, bool]:
        """A connection; or the error, and whether a retry may succeed."""
        try:
            connection = self.library.connect(
                **_OURS | {"password": self._encoded()} | self.given,
                conv=self._conversions(),
                defer_connect=True,
            )
            line = socket.create_connection((connection.host, connection.port), CONNECT)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            can_be_cut(connection, line.fileno(), self.where)
            connection.connect(line)
            with connection.cursor() as cursor:
                cursor.execute(_SETTINGS + LIMITS)
                cursor.execute(_ISOLATION)
            connection._read_timeout = _ANSWER  # PyMySQL has one for the greeting and all answers
        except (self.library.MySQLError, OSError, RuntimeError, ValueError) as exc:
            problem = self.describe(exc)
            return None, problem, self._is_not_now(exc, problem)
        return connection, "", False

    def _is_not_now(self, exc: BaseException, problem: str) -> bool:
        if isinstance(exc, self.library.MySQLError) and number(exc) not in (None, 2003, 2013):
            return self.outage(exc) is not None
        if isinstance(exc, _NotShownError):
            return False
        return not any(sign in problem.lower() for sign in _WRONG)

    def lift_limits(self, connection: Any) -> None:
        """Let a connection that only reads pause, and take its time."""
        longest = "statement" if "MariaDB" in connection.get_server_info() else "execution"
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {_NO_LIMITS}, max_{longest}_time = 0")

    def _conversions(self) -> dict[Any, Any]:
        """What values become: days and moments stay text, which is several times as fast."""
        known: dict[Any, Any] = self.library.converters.conversions
        return {kind: made for kind, made in known.items() if kind not in _DATE_AND_DATETIME}

    def _password(self) -> Secret:
        return (
            self.password if self.password.value else Secret(os.environ.get(PASSWORD_VARIABLE, ""))
        )

    def _encoded(self) -> bytes:
        encoded = self._password().value.encode(errors="surrogateescape")
        return _Signing(encoded) if self.signs else encoded

    def describe(self, exc: BaseException) -> str:
        text = str(exc.args[-1]) if exc.args and number(exc) is not None else str(exc)
        if number(exc) in _FULL or "Errcode: 28" in text:
            return DISK_FULL
        if number(exc) == _WRONG_PASSWORD and "using password: NO" in text:
            return say("no password was given; set it in {}", PASSWORD_VARIABLE)
        line = " ".join(text.split()) or type(exc).__name__
        return self._password().cut_from(line)

    def outage(self, exc: BaseException) -> type[Away] | None:
        code = number(exc)
        if code in _UNDONE:
            return Undone
        if not code:  # not an error of the server, but of the connection
            kinds = (self.library.OperationalError, self.library.InterfaceError)
            return Away if isinstance(exc, (*kinds, self.library.InternalError)) else None
        return Away if code in _LOST else None

    def is_barred(self, exc: BaseException) -> bool:
        """Whether the user lacks a privilege."""
        return number(exc) in _NOT_ALLOWED


def number(exc: BaseException) -> int | None:
    """The number of an error, None if it has none."""
    return exc.args[0] if exc.args and type(exc.args[0]) is int else None


def server_of(url: Secret, what: str) -> Server:
    """The server and database of a URL; raises `UsageError`, also if the library is missing."""
    found, problem = _parsed(url, what)
    if found is None:  # here, where no frame holds the URL as text
        raise UsageError(problem)
    return found


def _parsed(url: Secret, what: str) -> tuple[Server | None, str]:
    try:
        import pymysql
    except ImportError:
        return None, needs(say("the {} in MySQL needs a library", what), "mysql")
    place = place_of(url)
    if place is None or place.scheme != "mysql":
        return None, say(
            "{}: the URL of MySQL cannot be read; write it as {}{}", what, FORM, advice(url)
        )
    database = unquote(place.name)
    if not database or "/" in place.name:
        return None, say("{}: the URL of MySQL names no database; write it as {}", what, FORM)
    options = parse_qs(url.value.partition("?")[2], keep_blank_values=True)
    if unknown := [name for name in options if name != "ssl_ca"]:
        return None, say(
            "{}: the URL of MySQL has no option {!r}; its only option is ssl_ca", what, unknown[0]
        )
    before_host = url.value.partition("://")[2].partition("?")[0].rpartition("@")[0]
    user, _, password = before_host.partition(":")
    given: dict[str, Any] = {
        "host": place.host.strip("[]"), "port": int(place.port or 3306), "database": database
    }  # fmt: skip
    if user:
        given["user"] = unquote(user)
    query = ""
    if authorities := options.get("ssl_ca", [""])[-1]:
        given |= {"ssl_ca": authorities, "ssl_verify_cert": True, "ssl_verify_identity": True}
        query = f"?ssl_ca={quote(authorities)}"
    port = f":{place.port}" if place.port else ""
    shown = f"{quote(unquote(user), safe='')}@" if user else ""
    return Server(
        pymysql,
        given,
        Secret(unquote(password)),
        say("the database {} on {}{}", database, place.host, port),
        f"mysql://{shown}{place.host}{port}/{quote(database, safe='')}{query}",
    ), ""
