"""The pages of the daily service: ``/healthz``, ``/readyz``, ``/status.json``, ``/``, ``/metrics``.

Rule: reads the ledger and the sinks, changes nothing, and never delays the harvest: what takes long
is made in a thread, by one request for all that wait, and kept for some seconds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from aiohttp import web

import harvester
from harvester.base.codec import encode
from harvester.base.dates import rfc3339
from harvester.base.outside import guard_call
from harvester.base.secrets import Secret
from harvester.base.threads import aside
from harvester.config.service import Address
from harvester.errors import HarvestError, UsageError, without_passwords
from harvester.report import Overview, page
from harvester.report.charts import Figures, days_for, figures
from harvester.service.metrics import Metrics
from harvester.service.sender import describe
from harvester.service.serve import Service, Setup
from harvester.service.state import texts_of
from harvester.sinks.base import name_in
from harvester.sinks.scan import error_of
from harvester.texts import of_system, say

KEPT = 5.0
"""Seconds for which a rendered value is served again."""
OLDEST = 600.0
"""Seconds for which it is served while a new one is rendered; a page states when it was made."""
ANSWER = 10.0
"""Seconds within which ledger and sinks must answer to be ready."""
CONNECTIONS = 100
"""The most connections at a time: the run needs descriptors, too."""
HEAD = 10.0
"""Seconds for the head of a request, from when it is connected."""
WHOLE = 120.0
"""Seconds for the answer, until its last byte was taken."""

OPEN = ("/healthz", "/readyz")
"""The paths that need no token: probes have none."""

_METHODS = ("GET", "HEAD")
_LOCAL = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

T = TypeVar("T")


class Cached(Generic[T]):
    """A value that one task for all renders again if it is older than `KEPT`.

    Up to `OLDEST` the former one is served in the meantime.
    """

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._value: T | None = None
        self._made = self._asked = float("-inf")
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        self._asked = now = time.monotonic()
        if self._value is not None and now < self._made + KEPT:
            return self._value
        task = self._renewed()
        if self._value is not None and now < self._made + OLDEST:
            return self._value
        return await asyncio.shield(task)

    async def latest(self) -> T:
        """The value that is being made, or one that is not older than `KEPT`."""
        making = self._task is not None and not self._task.done()
        if self._value is not None and not making and time.monotonic() < self._made + KEPT:
            return self._value
        return await asyncio.shield(self._renewed())

    def renew(self) -> None:
        """Render it again if it was requested recently: its content changed."""
        if time.monotonic() < self._asked + OLDEST:
            self._renewed()

    def _renewed(self) -> asyncio.Task[T]:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._renew())
            self._task.add_done_callback(_retrieved)
        return self._task

    async def _renew(self) -> T:
        begun = time.monotonic()
        self._value = await self._make()
        self._made = begun
        return self._value


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Retrieve the error: all waiting tasks get it, and there may be none."""
    if not task.cancelled():
        task.exception()


_SILENT = logging.getLogger("harvester.service.http")
_SILENT.disabled = True  # aiohttp writes malformed headers into its log, and with them the token


class _Server(web.Server):
    """At most `CONNECTIONS`, a request on each; one that takes too long is ended.

    A new one replaces the oldest that has not sent the head of its request, else the oldest.  One
    that has its answer is closed, whatever it still owes.
    """

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            self._answered,
            handler_cancellation=True,
            lingering_time=0.0,
            logger=_SILENT,
            access_log=None,
        )
        self._answer = answer
        self._ends: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._headless: dict[web.RequestHandler, None] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._ends) >= CONNECTIONS:
            oldest = next(iter(self._headless or self._ends))
            if oldest.transport is not None:
                oldest.transport.abort()
            self._forget(oldest)
        self._headless[handler] = None
        self._end_after(HEAD, handler, transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self._forget(handler)

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        handler, transport = request.protocol, request.transport
        self._headless.pop(handler, None)
        if transport is not None:
            self._end_after(WHOLE, handler, transport)
        response = await self._answer(request)
        response.force_close()
        return response

    def _end_after(
        self, seconds: float, handler: web.RequestHandler, transport: asyncio.Transport
    ) -> None:
        if handler in self._ends:
            self._ends[handler].cancel()
        self._ends[handler] = self._loop.call_later(seconds, transport.abort)

    def _forget(self, handler: web.RequestHandler) -> None:
        self._headless.pop(handler, None)
        if (end := self._ends.pop(handler, None)) is not None:
            end.cancel()


class Pages:
    """The pages of a service."""

    def __init__(
        self, service: Service, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._service, self._metrics, self._clock = service, metrics, clock
        self._overview = Cached(self._look)
        self._ready = Cached(self._check)
        self._page = Cached(self._make_page)
        self._figures: tuple[object, Figures | None, str] = (None, None, "")

    @asynccontextmanager
    async def served(self, address: Address) -> AsyncIterator[int]:
        """Serve them during the block; yields the port.  Raises `UsageError` if it is in use."""
        runner = web.ServerRunner(_Server(self._answer), shutdown_timeout=1.0)
        await runner.setup()
        self._service.changed = self._renew
        try:
            site = web.TCPSite(runner, address.host, address.port)
            try:
                await site.start()
            except OSError as exc:
                raise UsageError(
                    "listen = {!r} cannot be used ({})", str(address), of_system(exc)
                ) from None
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    def _renew(self) -> None:
        for kept in (self._overview, self._page):
            kept.renew()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            refusal = self._refusal(request)
            if refusal is None or request.path in OPEN:
                response = await self._page_of(request, told=refusal is None)
            else:
                response = refusal
        except HarvestError as exc:  # the ledger cannot be read
            response = _text(without_passwords(str(exc)), 503)
        except Exception as exc:  # noqa: BLE001  (a disk may raise anything)
            self._service.warn(say("{} cannot be shown: {}", request.path, describe(exc)))
            response = _text(say("it cannot be shown now; the log says why"), 503)
        response.headers.update(_HEADERS)
        return response

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        token = self._service.setup.token
        if token is not None and not _allows(token, request.headers.get("Authorization", "")):
            return _text(
                say("a token is required, as Bearer token or as Basic password"),
                401,
                {"WWW-Authenticate": 'Basic realm="harvester"'},
            )
        if token is None and not _LOCAL.fullmatch(request.headers.get("Host", "")):
            return _text(
                say("without a token only requests from this machine are answered"), 403
            )  # a name leads to us
        return None

    async def _page_of(self, request: web.BaseRequest, *, told: bool) -> web.Response:
        pages: dict[str, Callable[[], Awaitable[web.Response]]] = {
            "/healthz": self._healthz,
            "/readyz": partial(self._readyz, told=told),
            "/status.json": self._status_json,
            "/metrics": self._metrics_text,
            "/": self._root,
        }
        if request.path not in pages:
            return _text(HTTPStatus.NOT_FOUND.phrase, HTTPStatus.NOT_FOUND)
        if request.method not in _METHODS:
            refused = HTTPStatus.METHOD_NOT_ALLOWED
            return _text(refused.phrase, refused, {"Allow": ", ".join(_METHODS)})
        return await pages[request.path]()

    async def _healthz(self) -> web.Response:
        return _text("ok")

    async def _readyz(self, *, told: bool) -> web.Response:
        problems = await self._ready.get()
        if problems and not told:  # a sink's name may be that of a host
            problems = [
                say(
                    "the ledger or a sink cannot be reached; the reason is shown only to"
                    " authorised clients"
                )
            ]
        return _text("\n".join(problems) or "ready", 503 if problems else 200)

    async def _metrics_text(self) -> web.Response:
        service = self._service
        with suppress(HarvestError, OSError):  # what the service does is known without a ledger
            self._metrics.update(await self._overview.get())
        self._metrics.update_service(
            last_run=service.state.ended,
            failed=bool(service.stopped),
            next_run=0.0 if service.running else service.next_run(self._clock()),
            undelivered=len(service.sender.undelivered),
            waiting=service.sender.waiting,
            given_up=service.sender.given_up,
        )
        return web.Response(
            body=self._metrics.render(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _root(self) -> web.Response:
        return web.Response(body=await self._page.get(), content_type="text/html", charset="utf-8")

    async def _look(self) -> Overview:
        setup, now = self._service.setup, self._clock()
        seen = self._service.seen
        if seen is not None and now - KEPT <= seen.made <= now:  # a run has just ended
            return seen
        return await aside(lambda: asyncio.run(setup.look(now)))

    async def _status_json(self) -> web.Response:
        try:
            seen = await self._overview.get()
        except HarvestError as exc:  # the service names it once it has tried
            return _json({"service": self._doing(str(exc))}, 503)
        document = {"service": self._doing(), "made": rfc3339(seen.made), **seen.to_dict()}
        return _json(document)

    def _doing(self, unread: str = "") -> dict[str, Any]:
        """What the service does; unread: why its ledger cannot be read."""
        service, state = self._service, self._service.state
        return {
            "version": harvester.__version__,
            "running": service.running,
            "accounts": len(service.setup.accounts),
            "day": None if state.day is None else state.day.isoformat(),
            "ended": _moment(state.ended),
            "until": _moment(state.until),
            "next_run": None if service.running else _moment(service.next_run(self._clock())),
            "alerted": texts_of(state.alerts),
            "trouble": without_passwords("; ".join(service.troubles) or unread) or None,
        }

    async def _make_page(self) -> bytes:
        setup = self._service.setup
        seen = await self._overview.latest()
        ended = self._service.state.ended
        return await aside(lambda: self._rendered(setup, seen, ended))

    def _rendered(self, setup: Setup, seen: Overview, ended: float) -> bytes:
        """The page; in a thread.  ended: of the last run, after which figures are read again."""
        if seen.accounts and (not ended or self._figures[0] != ended):
            try:
                self._figures = ended, _figures_of(setup, seen), ""
            except (HarvestError, OSError) as exc:  # a run may have replaced a file
                self._figures = None, None, without_passwords(str(exc))
        _, drawn, why = self._figures
        text = page(seen, setup.lang, figures=drawn, no_figures=why, version=harvester.__version__)
        return text.encode()

    async def _check(self) -> list[str]:
        """Why the service is not ready: what does not answer; empty if it is."""
        setup = self._service.setup
        try:
            async with asyncio.timeout(ANSWER):
                return await aside(lambda: asyncio.run(_unreached(setup)))
        except TimeoutError:
            return [say("the ledger or a sink has not answered for {:g} s", ANSWER)]


def _text(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text + "\n", status=status, headers={**_HEADERS, **(headers or {})})


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=encode(document), status=status, content_type="application/json")


def _moment(unix: float) -> str | None:
    return rfc3339(unix) if unix else None


def _allows(token: Secret, header: str) -> bool:
    """Whether a header has the token; takes the same time for each that is as long."""
    kind, _, text = header.partition(" ")
    given = text.encode(errors="replace")  # aiohttp has what is not UTF-8 as surrogates
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given, token.value.encode())


async def _unreached(setup: Setup) -> list[str]:
    found: list[str] = []
    try:
        async with setup.job.open_ledger(readonly=True) as ledger:
            known = await ledger.sinks()
            for sink in setup.job.open_sinks():
                name = name_in(sink, ledger.path)
                if sink.endpoints is None or name not in known:  # it is made by the first run
                    continue
                checkpoint = await ledger.checkpoint(name)
                try:
                    guard_call(error_of(sink), sink.endpoints, checkpoint)
                except (HarvestError, OSError) as exc:
                    found.append(without_passwords(str(exc)))
    except HarvestError as exc:
        found.append(without_passwords(str(exc)))
    return found


def _figures_of(setup: Setup, seen: Overview) -> Figures | None:
    firsts = [row.reach.first for account in seen.accounts for row in account.rows]
    days = days_for(len(seen.accounts), min(firsts, default=seen.day), seen.day)
    endpoints = [view.name for view in seen.interfaces]
    appids = [account.appid for account in seen.accounts]
    for sink in setup.job.open_sinks():
        if sink.scan is not None:
            checkpoint = asyncio.run(_checkpoint(setup, sink))
            return figures(sink, checkpoint, seen.day, endpoints, appids, days)
    return None


async def _checkpoint(setup: Setup, sink: Any) -> dict[str, str]:
    async with setup.job.open_ledger(readonly=True) as ledger:
        return await ledger.checkpoint(name_in(sink, ledger.path))
