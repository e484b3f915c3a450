"""A WeChat that gives each account two records a day, for any interface of any path.

Whatever path is asked for, it answers with the days of the window.  It counts what it is asked, so
that a test can say that nothing was sent.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any, Self

from aiohttp import web

from tests.scenarios.loops import LoopThread

RECORDS = 2
"""Of each day."""


class DaysOnly:
    """The server, in a thread with a loop of its own.

    longest: of a window, in days; a longer one is refused (61501).  silent: days without records.
    requests: how many came, those for a token included; windows: what was asked for.
    """

    def __init__(self, longest: int = 400, silent: frozenset[date] = frozenset()) -> None:
        self.longest = longest
        self.silent = silent
        self.requests = 0
        self.windows: list[tuple[str, str]] = []
        self.url = ""
        self._loop = LoopThread()
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._loop.__enter__()
        self._loop.call(self._start())
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._runner is not None:
            self._loop.call(self._runner.cleanup())
        self._loop.__exit__()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if "token" in request.path:
            return web.json_response({"access_token": "practice", "expires_in": 7200})
        body: dict[str, Any] = await request.json()
        begin, end = map(date.fromisoformat, (body["begin_date"], body["end_date"]))
        if (end - begin).days >= self.longest:
            return web.json_response({"errcode": 61501, "errmsg": "date range error"})
        self.windows.append((str(begin), str(end)))
        days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
        records = [
            {"ref_date": str(day), "user_source": number, "new_user": day.day}
            for day in days
            if day not in self.silent
            for number in range(RECORDS)
        ]
        return web.json_response({"list": records})


def each_once(begin: date, end: date) -> Counter[str]:
    """The days of a range, each with the number of its records."""
    count = (end - begin).days + 1
    return Counter({str(begin + timedelta(days=number)): RECORDS for number in range(count)})
