"""A WeChat whose answers a test decides, in a thread of its own; it can go away and come back."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web
from anyio.from_thread import start_blocking_portal

import harvester
from tests.support import A, days


class Call(NamedTuple):
    """One request: path, query and body, and when it came."""

    path: str
    query: Mapping[str, str]
    body: dict[str, Any]
    at: float

    @property
    def days(self) -> list[str]:
        """The days that it asks for."""
        begin, end = map(date.fromisoformat, (self.body["begin_date"], self.body["end_date"]))
        return [*map(str, days(begin, end))]


Answer = Callable[[Call], Any]


def rows(call: Call) -> dict[str, Any]:
    """An answer with one row for each day."""
    return {"list": [{"ref_date": day, "user_source": 0, "new_user": 1} for day in call.days]}


class Server:
    """Answers data requests by a function of the test's and gives out tokens by itself.

    A `ConnectionAbortedError` of that function closes the connection in place of an answer.

    token: what stands in for a token's answer; quota: for those of quota/get.  requests: how many
    came, of any kind; data: the data requests in their order; quotas: those of quota/get; tokens:
    those of a token; probes: how many asked for ``/``.
    """

    def __init__(
        self, answer: Answer = rows, *, token: Any = None, quota: Answer | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.answer = answer
        self.requests = self.port = self.probes = 0
        self.tokens: list[Call] = []
        self.data: list[Call] = []
        self.quotas: list[Call] = []
        self._token = token or {"access_token": "t0ken", "expires_in": 7200}
        self._quota = quota or (lambda _: {"errcode": 76022})
        self._tls = tls
        self._stack = ExitStack()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self.come()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.go()
        self._stack.close()

    def come(self) -> None:
        """Listen, on the same port as before."""
        self._portal.call(self._come)

    def go(self) -> None:
        """Close every connection and listen no more."""
        self._portal.call(self._go)

    async def _come(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        how = {"ssl_context": self._tls, "reuse_address": True}
        await web.TCPSite(self._runner, "127.0.0.1", self.port, **how).start()
        self.port = self._runner.addresses[0][1]

    async def _go(self) -> None:
        if self._runner is not None:
            assert self._runner.server is not None
            left = [each.transport for each in self._runner.server.connections]
            await self._runner.cleanup()
            for transport in left:
                if transport is not None:  # TLS would wait for the other side
                    transport.abort()
            await asyncio.sleep(0)  # the abort is carried out by the loop's next turn
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = json.loads(await request.read() or b"{}")
        call = Call(request.path, dict(request.query), body, time.monotonic())
        if request.path == "/":
            self.probes += 1
            told = {}
        elif request.path == "/cgi-bin/stable_token":
            self.tokens.append(call)
            told = self._token
        elif request.path == "/cgi-bin/openapi/quota/get":
            self.quotas.append(call)
            told = self._quota(call)
        else:
            self.data.append(call)
            try:
                told = self.answer(call)
            except ConnectionAbortedError:  # the connection is reset
                assert request.transport is not None
                request.transport.abort()
                told = {}
        return told if isinstance(told, web.StreamResponse) else web.json_response(told)


def harvested(
    answer: Answer, endpoint: Any, begin: str, end: str, folder: Path, **options: Any
) -> harvester.Report:
    """The report of a run of one account into JSON lines; each window is tried twice."""
    account = options.pop("account", harvester.Account(A, secret="practice"))
    with Server(answer) as server:
        return asyncio.run(
            harvester.run(
                account, endpoint, begin, end, sink=f"jsonl:{folder}", base_url=server.url,
                **{"rate": "1000/s", "attempts": 2, **options},
            )
        )  # fmt: skip
