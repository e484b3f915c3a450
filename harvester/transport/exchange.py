"""A POST over a connection of an aiohttp session, without the session's work for each request.

For each request a session creates headers, cookies, timers, a task that writes the body, and an
answer with its history.  Here the head is created once for each token, and the parser once for each
connection.

The pool is as aiohttp documents it (`BaseConnector.connect`, `Connection`); the protocol of a
connection is public, but not documented, and its parser is private.  So they are tested in memory
first; if a later aiohttp differs, each request uses the session, which only takes longer.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from harvester.model import Request, Response
from harvester.transport.address import TARGETS, url_of

_TRIAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")
_PLAIN = re.compile(r"[!$-~]+")
"""aiohttp leaves a target of visible ASCII without a fragment unchanged."""
KEPT = 15.0
"""Seconds after which an idle connection is not used again, as in aiohttp."""
TLS_RECORD = 16 * 1024
"""Bytes of the longest TLS record (RFC 8446, 5.1)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Answer:
    """The head of an answer; it holds its connection until the body is read, or it is closed."""

    __slots__ = ("_connection", "content", "status")

    def __init__(self, status: int, content: aiohttp.StreamReader, connection: Connection) -> None:
        self.status = status
        self.content = content
        self._connection = connection

    async def read(self) -> bytes:
        body = await self.content.read()
        self._connection.release()
        return body

    def close(self) -> None:
        self._connection.close()


def _like_all(
    session: aiohttp.ClientSession, base_url: str, how: Mapping[str, Any]
) -> aiohttp.ClientRequest:
    """A request whose connection is that of all requests below the base URL."""
    proxy = how.get("proxy")
    return aiohttp.ClientRequest(
        "POST",
        URL(base_url),
        headers=how["headers"],
        data=b"{}",
        loop=asyncio.get_running_loop(),
        session=session,
        ssl=how.get("ssl", True),
        proxy=URL(proxy) if proxy else None,
    )


class Exchange:
    """POSTs below one base URL, with the same headers and TLS for all.

    It keeps idle connections: returning one to the pool and taking it again costs a tenth of the
    CPU of a window.  The one used last is used first.

    The requests of one turn of the event loop are written together: a request that is written
    between two others wakes the server for itself, which costs both sides more than the request.
    """

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, how: Mapping[str, Any], max_body: int
    ) -> None:
        assert session.connector is not None
        self._pool = session.connector
        self._base_url = base_url
        self._prefix = URL(base_url, encoded=True).raw_path.rstrip("/")
        self._timeout: aiohttp.ClientTimeout = how["timeout"]
        self._max_body = max_body
        self._loop = asyncio.get_running_loop()
        self._kept: list[tuple[Connection, float]] = []
        self._leaving: list[tuple[asyncio.Transport, bytes]] = []
        self._asked = _like_all(session, base_url, how)
        self._headers = "".join(
            [
                f"{name}: {value}\r\n"
                for name, value in self._asked.headers.items()
                if name != "Content-Length"
            ]
        )
        self._head = lru_cache(TARGETS)(self._make_head)

    @classmethod
    def over(
        cls, session: aiohttp.ClientSession, base_url: str, how: Mapping[str, Any], max_body: int
    ) -> Self | None:
        """Create one over this session; None if this version of aiohttp does not support it."""
        try:
            exchange = cls(session, base_url, how, max_body)
            exchange._try()
        except Exception:  # noqa: BLE001  (whatever it is: aiohttp is another one)
            return None
        return exchange

    def _try(self) -> None:
        inspect.signature(self._pool.connect).bind(self._asked, [], self._timeout)
        whole = not {"Transfer-Encoding", "Connection"} & set(self._asked.headers)
        if not (whole and self._asked.connection_key):
            raise TypeError("another request")
        for begun in range(1, len(_TRIAL)):
            protocol = ResponseHandler(asyncio.get_running_loop())
            protocol.set_response_params(read_until_eof=True)
            for _ in range(2):  # the second one by the same parser
                protocol.data_received(_TRIAL)
                if _read(protocol) != (200, True, 2, b"{}") or not _is_idle(protocol):
                    raise TypeError("another parser, or a connection that would not be kept")
            protocol.data_received(_TRIAL[:begun])
            if _is_idle(protocol):
                raise TypeError("a begun answer is not noticed")

    def kept(self, now: float) -> Connection | None:
        """An open connection that is idle, None if there is none; `post` takes it back."""
        while self._kept:
            connection, since = self._kept.pop()
            if now - since <= KEPT and not connection.closed:
                return connection
            connection.close()
        return None

    async def connect(self) -> Connection:
        """An open connection; `post` takes it back.  Raises what aiohttp raises."""
        connection = await self._pool.connect(self._asked, [], self._timeout)
        if connection.protocol is not None:
            connection.protocol.set_response_params(read_until_eof=True)
        with suppress(AttributeError):  # without TLS, or another loop than asyncio's
            # asyncio allocates 256 KiB for each read, and OpenSSL returns one record at most
            connection.transport._ssl_protocol.max_size = TLS_RECORD  # type: ignore[union-attr]
        return connection

    def close(self) -> None:
        for connection, _ in self._kept:
            connection.release()
        self._kept.clear()

    async def post(self, request: Request, connection: Connection) -> Response | Answer:
        """The answer to a request below the base URL: a response if its body arrived with its head.

        Raises what aiohttp raises; then the connection is closed.
        """
        body = request.body or b""
        try:
            head = self._head(request.path, request.query)
            protocol = connection.protocol
            transport = connection.transport
            if protocol is None or transport is None or not _is_idle(protocol):
                raise aiohttp.ServerDisconnectedError
            self._write(transport, b"%b%d\r\n\r\n%b" % (head, len(body), body))
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:  # before the answer
                message, content = await protocol.read()
            if not content.is_eof() or content.total_bytes > self._max_body:
                return Answer(message.code, content, connection)
            response = Response(message.code, content.read_nowait())
        except BaseException:
            connection.close()
            raise
        if protocol.should_close:
            connection.close()
        else:
            self._kept.append((connection, self._loop.time()))
        return response

    def _write(self, transport: asyncio.Transport, request: bytes) -> None:
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append((transport, request))

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        for transport, request in leaving:
            if not transport.is_closing():  # else its reader has the error already
                transport.write(request)

    def _make_head(self, path: str, query: tuple[tuple[str, str], ...]) -> bytes:
        target = f"{self._prefix}{path}?{_encoded(query)}" if query else f"{self._prefix}{path}"
        if not _PLAIN.fullmatch(target):
            target = url_of(self._base_url, path, query).raw_path_qs
            if _CONTROL.search(target):
                raise ValueError("control character in a target")
        return f"POST {target} HTTP/1.1\r\n{self._headers}Content-Length: ".encode()


def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """A query as `urlencode` writes it, which takes several times as long for a plain token."""
    if all([_UNRESERVED.fullmatch(text) for pair in query for text in pair]):
        return "&".join([f"{name}={value}" for name, value in query])
    return urlencode(query)


def _is_idle(protocol: ResponseHandler) -> bool:
    """Whether the server has sent nothing since the last answer.

    The parser is told that nothing more comes: it does nothing then, or ends a begun answer.
    """
    if protocol.should_close:  # a whole answer, or an error
        return False
    try:
        return protocol._parser is not None and protocol._parser.feed_eof() is None
    except Exception:  # noqa: BLE001  (what a begun answer raises is aiohttp's)
        return False


def _read(protocol: ResponseHandler) -> tuple[int, bool, int, bytes]:
    """The status of an answer in memory, whether it is whole, its bytes, and its body."""
    reading = protocol.read()
    try:
        reading.send(None)
    except StopIteration as read:
        message, content = read.value
    finally:
        reading.close()
    return message.code, content.is_eof(), content.total_bytes, content.read_nowait()
