"""A WeChat whose answers a test decides, in a thread of its own; it can go away and come back."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Self

from aiohttp import web

from tests.scenarios.loops import LoopThread

APPID = "wx00000000000000aa"
Answer = Callable[["Call"], Any]


class Call:
    """One request: path, query and body, and when it came."""

    def __init__(self, path: str, query: dict[str, str], body: dict[str, Any]) -> None:
        self.path = path
        self.query = query
        self.body = body
        self.at = time.monotonic()

    @property
    def days(self) -> list[str]:
        """The days that it asks for."""
        begin, end = map(date.fromisoformat, (self.body["begin_date"], self.body["end_date"]))
        return [str(begin + timedelta(days=n)) for n in range((end - begin).days + 1)]


def rows(call: Call) -> dict[str, Any]:
    """An answer with one row for each day."""
    return {"list": [{"ref_date": day, "user_source": 0, "new_user": 1} for day in call.days]}


class Server:
    """Answers data requests by a function of the test's and gives out tokens by itself.

    data: the data requests that came, in their order; quota: those of quota/get.
    """

    def __init__(
        self,
        answer: Answer = rows,
        *,
        quota: Answer | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.data: list[Call] = []
        self.quota: list[Call] = []
        self._tell_quota = quota
        self._tls = tls
        self._loop = LoopThread()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop.__enter__()
        self.come()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.go()
        self._loop.__exit__()

    def come(self) -> None:
        """Listen, on the same port as before."""
        self._loop.call(self._come())

    def go(self) -> None:
        """Close every connection and listen no more."""
        self._loop.call(self._go())

    async def _come(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True
        )
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _go(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = Call(request.path, dict(request.query), json.loads(body or b"{}"))
        if request.path == "/cgi-bin/stable_token":
            return web.json_response({"access_token": "t0ken", "expires_in": 7200})
        if request.path == "/cgi-bin/openapi/quota/get":
            self.quota.append(call)
            told = self._tell_quota(call) if self._tell_quota else {"errcode": 76022}
        else:
            self.data.append(call)
            told = self.answer(call)
        return told if isinstance(told, web.StreamResponse) else web.json_response(told)
