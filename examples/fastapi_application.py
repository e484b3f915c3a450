"""A FastAPI application that harvests in the background and streams records to its clients.

    pip install wechat-harvester fastapi uvicorn
    WX_APPID=wx… HARVESTER_SECRET=… python examples/fastapi_application.py

``POST /harvest?start=2026-01-01&end=yesterday`` starts a harvest into files, ``GET /harvest`` tells
how it stands, ``GET /records?start=2026-01-01&end=2026-01-31`` sends records as JSON lines while
they come from WeChat; a client that goes away ends its requests.  On SIGTERM the requests of the
harvest that are in flight are finished and stored; the next harvest goes on from there.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

import harvester
from harvester import events

INTERFACE = "getarticleread"
BASE_URL = os.environ.get("WX_BASE_URL", "https://api.weixin.qq.com")


def account() -> harvester.Account:
    return harvester.Account(os.environ["WX_APPID"], secret=os.environ["HARVESTER_SECRET"])


class Harvest:
    """One harvest at a time."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._task: asyncio.Task[harvester.Report] | None = None
        self._records = 0

    def start(self, begin: str, end: str) -> bool:
        if self._task is not None and not self._task.done():
            return False
        self._records = 0
        self._task = asyncio.create_task(
            harvester.run(
                account(),
                INTERFACE,
                begin,
                end,
                sink=f"jsonl:{os.environ.get('WX_OUT', 'articles')}",
                base_url=BASE_URL,
                on_event=self._observe,
                stop=self._stop,
            )
        )
        return True

    def _observe(self, event: events.Event) -> None:
        if isinstance(event, events.Committed):
            self._records += event.records

    def status(self) -> dict[str, Any]:
        if self._task is None:
            return {"state": "idle"}
        if not self._task.done():
            return {"state": "running", "records": self._records}
        if error := self._task.exception():
            return {"state": "failed", "error": str(error)}
        return self._task.result().to_dict()

    async def finish(self) -> None:
        """Let what is in flight be stored."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    app.state.harvest = Harvest()
    yield
    await app.state.harvest.finish()


app = FastAPI(lifespan=lifespan)


@app.post("/harvest", status_code=202)
async def start(start: str, end: str) -> dict[str, bool]:
    if not app.state.harvest.start(start, end):
        raise HTTPException(409, "a harvest is running")
    return {"started": True}


@app.get("/harvest")
async def status() -> dict[str, Any]:
    found: dict[str, Any] = app.state.harvest.status()
    return found


@app.get("/records")
async def records(start: str, end: str) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        async with harvester.stream(
            account(), INTERFACE, start, end, base_url=BASE_URL, order="oldest"
        ) as stream:
            async for record in stream:
                yield json.dumps(record, ensure_ascii=False) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
