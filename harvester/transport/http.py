"""Sends requests over an aiohttp session, the caller's own or one of harvester's."""

from __future__ import annotations

import asyncio
import math
import os
import ssl
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any, Self

import aiohttp
import anyio
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError
from aiohttp.payload import BytesPayload, Payload
from multidict import CIMultiDict

from harvester.errors import AttemptError, HarvestError, NetworkError, UsageError
from harvester.model import Request, Response
from harvester.texts import say
from harvester.transport.address import (
    BASE_URL,
    TARGETS,
    check_base_url,
    proxy_for,
    tls_context,
    url_of,
)
from harvester.transport.base import Leave
from harvester.transport.exchange import Answer, Exchange
from harvester.wechat.response import PROXY_LOGIN

TIMEOUT = 60.0
"""Seconds for one answer, from the first byte sent to the last one read."""
CONNECT_TIMEOUT = 15.0
MAX_BODY = 8 * 1024 * 1024
"""Bytes of an answer, decompressed; a longer one is refused.  A real one has some kilobytes.  With
the limit of values (`harvester.wechat.response`) one answer takes less than 256 MiB of memory."""

Session = aiohttp.ClientSession
"""The type of an aiohttp session, for callers that pass their own."""

OPENED = 0.004
"""Seconds of waiting for a connection after which a request is late."""

_HEADERS = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json"})
_MALLOC_THRESHOLD = 8 * 1024 * 1024


class _Watchdog:
    """Cancels requests that exceed their time: one timer for all of them.

    Every request gets the same time, so the order of insertion is the order of the deadlines.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines: dict[asyncio.Task[object], float] = {}
        self._cut: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(
        self, task: asyncio.Task[object], loop: asyncio.AbstractEventLoop, now: float
    ) -> None:
        deadline = self._deadlines[task] = now + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._sweep, loop)

    def leave(self, task: asyncio.Task[object]) -> bool:
        self._deadlines.pop(task, None)
        if task not in self._cut:
            return False
        self._cut.discard(task)
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._deadlines:
            task, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                self._timer = loop.call_at(deadline, self._sweep, loop)
                return
            del self._deadlines[task]
            self._cut.add(task)
            task.cancel()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Sent:
    """The progress of one request; began: the loop's time."""

    __slots__ = ("answered", "began", "connected", "ended", "leave", "loop", "task")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object], leave: Leave | None
    ) -> None:
        self.loop = loop
        self.task = task
        self.leave = leave
        self.began = loop.time()
        self.connected = self.answered = self.ended = False


class _Body(BytesPayload):
    """A body before which a request waits, on its open connection, until it may leave.

    aiohttp writes the head together with the beginning of the body.
    """

    def __init__(self, body: bytes, opened: Callable[[], Awaitable[None]]) -> None:
        super().__init__(body, content_type="application/json")
        self._opened = opened

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        await self._opened()
        await super().write_with_length(writer, content_length)


class HttpTransport:
    """Sends requests over an aiohttp session: the caller's own, or one of harvester's.

    The caller's session is never closed.  harvester's session takes proxies from the environment,
    and has as many connections as requests are in flight.
    """

    _base_url = ""  # of an object whose arguments were refused: a traceback may show its repr
    answers = 0

    def __init__(
        self,
        base_url: str = BASE_URL,
        session: Session | None = None,
        *,
        timeout: float = TIMEOUT,
        max_body: int = MAX_BODY,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._given = session
        self._base_url = check_base_url(base_url)
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._max_body = max_body
        self._watchdog = _Watchdog(timeout)
        self._timeout_seconds = timeout
        self._how: dict[str, Any] = {
            "headers": _HEADERS,
            "allow_redirects": False,
            "raise_for_status": False,
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        }
        if session is not None and ca_file is not None:
            raise UsageError(
                "CA file: your session has its own TLS settings; give either the session or the CA"
                " file"
            )
        if (tls := tls_context(ca_file)) is not None:
            self._how["ssl"] = tls
        if session is None and (proxy := proxy_for(self._base_url)):
            self._how["proxy"] = proxy
        self._url = lru_cache(TARGETS)(partial(url_of, self._base_url))  # changes with the token
        self._exchange: Exchange | None = None

    def __repr__(self) -> str:
        whose = "ours" if self._given is None else "the caller's"
        return f"<HttpTransport to {self._base_url}, session {whose}, {self.answers} answers>"

    @property
    def slots(self) -> float:
        """The most requests in flight that the caller's session allows; more would leave late."""
        connector = self._given.connector if self._given is not None else None
        if connector is None:
            return math.inf
        return min(connector.limit or math.inf, connector.limit_per_host or math.inf)

    async def __aenter__(self) -> Self:
        if self._given is not None and self._given.closed:
            raise UsageError("the session is closed; pass an open one, or none")
        if self._given is None:
            # asyncio reads into a fresh buffer of 256 KiB; glibc maps and unmaps each of them,
            # until a larger block was freed once: then its threshold is above that.
            bytes(_MALLOC_THRESHOLD)
            connector = aiohttp.TCPConnector(limit=0)  # the run bounds what is under way
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
            if "proxy" not in self._how:
                self._exchange = Exchange.over(
                    self._session, self._base_url, self._how, self._max_body
                )
        assert self._session is not None
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._watchdog.close()
        if self._exchange is not None:
            self._exchange.close()
        self._exchange = None  # requests in flight get the session's error that it is closed
        if self._given is None and self._session is not None:
            with anyio.CancelScope(shield=True):
                await self._session.close()
                await asyncio.sleep(0)  # one turn of the loop, in which its sockets are closed

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
        """The response to one request; raises `AttemptError` with the reason."""
        assert self._session is not None, "the transport is not entered"
        try:
            outcome = await self._outcome(self._session, request, leave)
        except asyncio.CancelledError as exc:
            raise exc.with_traceback(None) from None  # the same one: the canceller expects it
        if isinstance(outcome, AttemptError):
            if self._session.closed and self._given is not None:
                raise NetworkError("the session was closed during the run; close it after the run")
            raise outcome
        return outcome

    async def _outcome(
        self, session: Session, request: Request, leave: Leave | None
    ) -> Response | AttemptError:
        """The result of a request; an error is returned and not raised, to leave no frame."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        cancelling = task.cancelling()
        sent = _Sent(loop, task, leave)
        self._watchdog.enter(task, loop, sent.began)
        try:
            answer = await self._ask(session, request, sent)
            sent.answered = True
            response = answer if isinstance(answer, Response) else await self._whole(answer)
            self.answers += 1
            if response is not None:
                return response
            problem = say("the answer was longer than {} bytes", self._max_body)
        except asyncio.CancelledError:
            if self._watchdog.leave(task):
                if task.uncancel() > cancelling:
                    raise
                problem = say("no answer within {:g} s", self._timeout_seconds)
            elif task.cancelling() > cancelling:
                raise
            else:  # the session's owner cancelled it, not the caller
                problem = say("the request was cancelled by the session")
        except (TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as exc:
            problem = _describe(exc)
        except Exception as exc:
            problem = _of_the_session(exc, session, ours=self._given is None)
            if not problem:
                raise
        finally:
            sent.ended = True
            if self._watchdog.leave(task):  # cancelled at the moment in which it ended
                task.uncancel()
        error = AttemptError(problem)
        error.answered, error.connected = sent.answered, sent.connected
        return error

    def _ask(
        self, session: Session, request: Request, sent: _Sent
    ) -> Awaitable[Response | Answer | aiohttp.ClientResponse]:
        """The answer, its head read; a connection is open before the request leaves."""
        exchange = self._exchange
        if exchange is None or request.path[:1] != "/" or request.method != "POST":
            return self._ask_session(session, request, sent)
        connection = exchange.kept(sent.began)
        if connection is None:
            return self._ask_connected(exchange, request, sent)
        sent.connected = True
        return exchange.post(request, connection)

    async def _ask_connected(
        self, exchange: Exchange, request: Request, sent: _Sent
    ) -> Response | Answer:
        connection = await exchange.connect()
        try:
            await self._opened(sent)
        except BaseException:
            connection.close()
            raise
        return await exchange.post(request, connection)

    async def _ask_session(
        self, session: Session, request: Request, sent: _Sent
    ) -> aiohttp.ClientResponse:
        body: bytes | Payload | None = request.body
        if sent.leave is not None:
            body = _Body(request.body or b"", partial(self._opened, sent))
        return await session.request(
            request.method,
            self._url(request.path, request.query),
            data=body,
            **(self._how if request.path[:1] == "/" else self._elsewhere(request)),
        )

    async def _opened(self, sent: _Sent) -> None:
        """Wait until a request may leave, if its connection took a while."""
        sent.connected = True
        if sent.leave is None or sent.loop.time() - sent.began <= OPENED:
            return
        if self._watchdog.leave(sent.task):  # the wait is not part of the time for the answer
            sent.task.uncancel()
        await sent.leave()
        if not sent.ended:
            self._watchdog.enter(sent.task, sent.loop, sent.loop.time())

    async def _whole(self, answer: Answer | aiohttp.ClientResponse) -> Response | None:
        try:
            if answer.content.is_eof() and answer.content.total_bytes <= self._max_body:
                return Response(answer.status, await answer.read())  # it arrived with its head
            chunks, size = [], 0
            async for chunk in answer.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._max_body:
                    answer.close()
                    return None
            await answer.read()  # nothing is left of it; the connection is free
            return Response(answer.status, b"".join(chunks))
        except BaseException:
            answer.close()
            raise

    def _elsewhere(self, request: Request) -> dict[str, Any]:
        how = {**self._how, "headers": CIMultiDict([*_HEADERS.items(), *request.headers])}
        how.pop("proxy", None)
        if self._given is None and (proxy := proxy_for(request.path)):
            how["proxy"] = proxy
        return how


def _of_the_session(exc: Exception, session: Session, *, ours: bool) -> str:
    """A message for an exception of a session, empty if it is one of ours."""
    if session.closed and isinstance(exc, RuntimeError):
        return say("the session was closed")
    ours = ours or isinstance(exc, HarvestError)
    return "" if ours else say("the session failed ({})", type(exc).__name__)


def _describe(exc: BaseException) -> str:
    """A message for an aiohttp error, without the URL that aiohttp's own may contain."""
    if isinstance(exc, UsageError):  # about the proxy: it would be the same again
        raise exc.with_traceback(None)
    if isinstance(exc, aiohttp.ClientConnectorError):
        return _no_connection(exc)
    if isinstance(exc, asyncio.TimeoutError):
        return say("no connection in time")
    if isinstance(exc, aiohttp.ClientPayloadError):
        return say("the answer was cut off")
    if isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError):
        return say("the connection was closed before an answer came")
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        advice = (
            PROXY_LOGIN
            if exc.status == 407
            else say("ask the operator of the proxy to allow the host")
        )
        return say("the proxy refused (HTTP {}): {}", exc.status, advice)
    if isinstance(exc, aiohttp.ClientResponseError | HttpProcessingError):
        return say("the answer was not HTTP")
    return say("the request failed ({})", type(exc).__name__)


def _no_connection(exc: aiohttp.ClientConnectorError) -> str:
    refused = isinstance(exc, aiohttp.ClientConnectorCertificateError)
    cause: Any = exc.certificate_error if refused else exc.os_error  # type: ignore[attr-defined]
    if isinstance(cause, ssl.SSLCertVerificationError):
        return say(
            "the server's TLS certificate was refused ({})", cause.verify_message.rstrip(".")
        )
    if isinstance(cause, ssl.SSLError):
        return say("the server's TLS handshake failed ({})", cause.reason or type(cause).__name__)
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return say(
            "the host name {} was not found (if you are behind a proxy, set HTTPS_PROXY)", exc.host
        )
    reason = say(os.strerror(cause.errno)) if cause.errno else type(cause).__name__
    whose = say("the proxy ") if isinstance(exc, aiohttp.ClientProxyConnectionError) else ""
    return say("no connection to {}{}:{} ({})", whose, exc.host, exc.port, reason)
