"""A WeChat that answers what a test says, and a run against it through the library's front door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

from aiohttp import web

import harvester

A = "wx00000000000000aa"
Answer = Callable[[str, Mapping[str, str], dict[str, Any]], Any]
"""From path, query and body of a request to the object of its answer."""


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """The base URL of a server; it gives out stable tokens by itself."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/cgi-bin/stable_token":
            return web.json_response({"access_token": "t0ken", "expires_in": 7200})
        return web.json_response(answer(request.path, request.query, json.loads(body or b"{}")))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def harvested(
    answer: Answer,
    endpoint: Any,
    begin: date | str,
    end: date | str,
    folder: Path,
    account: harvester.Account | None = None,
) -> harvester.Report:
    """The report of a run of one account into JSON lines; each window is tried twice."""

    async def main() -> harvester.Report:
        async with serving(answer) as url:
            return await harvester.run(
                account or harvester.Account(A, secret="practice"),
                endpoint,
                begin,
                end,
                sink=f"jsonl:{folder}",
                base_url=url,
                rate=1000,
                attempts=2,
            )

    return asyncio.run(main())
