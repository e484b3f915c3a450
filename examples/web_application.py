"""An aiohttp web application that harvests in the background and shuts down cleanly.

    WX_APPID=wx… HARVESTER_SECRET=… python examples/web_application.py

``POST /harvest?start=2026-01-01&end=2026-01-31`` starts a harvest, ``GET /harvest`` returns its
state.  On SIGTERM the requests in flight are finished and stored before the application ends; the
next harvest goes on from there.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientSession, web

import harvester
from harvester import events


class Harvest:
    """One harvest at a time, over the application's own session."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._stop = asyncio.Event()
        self._task: asyncio.Task[harvester.Report] | None = None
        self.records = 0

    def start(self, begin: str, end: str) -> bool:
        if self._task is not None and not self._task.done():
            return False
        self.records = 0
        self._task = asyncio.create_task(self._run(begin, end))
        return True

    async def _run(self, begin: str, end: str) -> harvester.Report:
        account = harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])
        return await harvester.run(
            account,
            "getarticleread",
            begin,
            end,
            sink=f"jsonl:{os.environ.get('WX_OUT', 'articles')}",
            base_url=os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com"),
            session=self._session,
            on_event=self._observe,
            stop=self._stop,
        )

    def _observe(self, event: events.Event) -> None:
        if isinstance(event, events.Committed):
            self.records += event.records

    def status(self) -> dict[str, Any]:
        if self._task is None:
            return {"state": "idle"}
        if not self._task.done():
            return {"state": "running", "records": self.records}
        if error := self._task.exception():
            return {"state": "failed", "error": str(error)}
        return self._task.result().to_dict()

    async def finish(self) -> None:
        """Store the requests in flight, and end."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])


HARVEST = web.AppKey("harvest", Harvest)


async def start(request: web.Request) -> web.Response:
    started = request.app[HARVEST].start(request.query["start"], request.query["end"])
    return web.json_response({"started": started}, status=202 if started else 409)


async def status(request: web.Request) -> web.Response:
    return web.json_response(request.app[HARVEST].status())


async def resources(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession() as session:
        app[HARVEST] = Harvest(session)
        yield
        await app[HARVEST].finish()


def application() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(resources)
    app.router.add_post("/harvest", start)
    app.router.add_get("/harvest", status)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
