"""What a window takes in counted work, the same on every machine and however busy it is.

A run of the real engine, transport, sink and ledger in virtual time, with a WeChat of eight records
a day behind a session that is none.  Counted are the requests, the fetches of tokens, what is
read and written as JSON, and by room of the package the calls of functions, Python's and C's, that
it makes or is.

A room's gate is a quarter more than it takes today, so that a room that does its work twice trips
it, by name; `tests/benchmarks/test_work.py` has each of them do that.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, cast

import orjson
from yarl import URL

import harvester
from benchmarks.figures import Figure, show
from benchmarks.inside import NOW, scope
from harvester import datacube
from harvester.engine import Engine
from harvester.events import Report
from harvester.ledger import Ledger
from harvester.scope import Options
from harvester.sinks.jsonl import JsonLines
from harvester.testing import VirtualTimeLoop, articles, run_virtual
from harvester.transport import HttpTransport, Session

ACCOUNTS, DAYS = 4, 250
WINDOWS = ACCOUNTS * DAYS
RECORDS = 8
LATENCY = 0.01
PACKAGE = str(Path(harvester.__file__).parent)

PARSED, WRITTEN = "orjson.loads", "orjson.dumps"
CALLS = {
    "lane": 11.56,
    "codec": 21.16,
    "board": 9.92,
    "endpoint": 14.01,
    "pipeline": 11.01,
    "transport": 11.07,
    "limiter": 4.21,
    "committer": 6.1,
    "engine": 5.37,
    "answer": 5.02,
    "auth": 2.18,
    "model": 3.05,
    "channel": 4.01,
    "plan": 2.18,
    "sinks/jsonl": 1.05,
    "seal": 0.22,
    "ledger": 0.24,
    "roster": 0.13,
    "coverage": 0.07,
    "durable": 0.09,
    "thread": 0.1,
    "sinks/store": 0.08,
}
"""Calls a window by room, as counted with Python 3.11; newer ones make fewer."""
LOOSE, TOGETHER = 1.25, 1.15
JSON = {orjson.loads: PARSED, orjson.dumps: WRITTEN}
OTHERS = 0.5
"""Calls a window that any other room may make: once a run, or once an account."""


class _Content:
    total_bytes = 1

    def is_eof(self) -> bool:
        """All of it is there."""
        return True


class _Answer:
    status = 200
    content = _Content()

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        """The body."""
        return self._body


class _Session:
    """As much of an aiohttp session as the transport asks for."""

    closed = False
    connector = None

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()

    async def request(self, method: str, url: URL, data: bytes, **how: Any) -> _Answer:
        """The answer, after a while."""
        await asyncio.sleep(LATENCY)
        self.requests[url.path] += 1
        if url.path.startswith("/cgi-bin/"):
            appid = orjson.loads(data)["appid"]
            return _Answer(orjson.dumps({"access_token": f"{appid:0<80}", "expires_in": 7200}))
        return _Answer(_body(orjson.loads(data)["begin_date"]))


@cache
def _rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    day = date(2024, 1, 1)
    while len(found) < RECORDS:
        found += articles(1, "wx0000000000000001", day)
        day += timedelta(days=1)
    return found[:RECORDS]


@cache
def _body(day: str) -> bytes:
    return orjson.dumps({"list": [{**row, "ref_date": day} for row in _rows()]})


async def _run(loop: VirtualTimeLoop, session: _Session, folder: Path) -> Report:
    transport = HttpTransport(session=cast("Session", session))
    async with transport:
        engine = Engine(
            scope(ACCOUNTS, DAYS, [datacube.GETARTICLESUMMARY]),
            Options(rate=1e6),
            transport,
            [JsonLines(folder)],
            Ledger(folder / "ledger.sqlite"),
            wall=loop.wall,
        )
        async with engine:
            return await engine.run()


@contextmanager
def _counting(calls: Counter[str]) -> Iterator[None]:
    """Count the calls that code of the package makes or is, by file."""
    known: dict[str, str] = {}

    def note(frame: FrameType, event: str, called: object) -> None:
        if event in ("call", "c_call"):
            file = frame.f_code.co_filename
            if (room := known.get(file)) is None:
                inside = file.startswith(PACKAGE)
                room = known[file] = file[len(PACKAGE) + 1 : -3] if inside else ""
            calls[room] += 1
            if room == "codec" and called in JSON:
                calls[JSON[called]] += 1

    gc.collect()
    gc.disable()  # finalizers would run when they please
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        gc.enable()


def count() -> tuple[dict[str, float], Report, Mapping[str, int]]:
    """Calls a window by room, the report, and the requests by path."""
    calls: Counter[str] = Counter()
    session = _Session()

    async def main(loop: VirtualTimeLoop) -> Report:
        with tempfile.TemporaryDirectory() as folder, _counting(calls):
            return await _run(loop, session, Path(folder))

    for day in range(DAYS):  # made once, and not the library's work
        _body((date(2024, 1, 1) + timedelta(days=day)).isoformat())
    report = run_virtual(main, NOW)
    return {room: n / WINDOWS for room, n in calls.items() if room}, report, session.requests


def _at_most(name: str, value: float, goal: float, gate: float) -> Figure:
    return Figure(f"work: {name}", value, goal=goal, gate=gate, more_is_better=False)


def measure() -> list[Figure]:
    """The figures."""
    calls, report, requests = count()
    assert report.state == "complete", report
    data = sum(n for path, n in requests.items() if path.startswith("/datacube/"))
    tokens = sum(n for path, n in requests.items() if path.startswith("/cgi-bin/"))
    figures = [
        _at_most("requests a window", data / WINDOWS, 1, 1),
        _at_most("fetches of a token an account", tokens / ACCOUNTS, 1, 1),
    ]
    parsed, written = calls.pop(PARSED), calls.pop(WRITTEN)
    figures += [
        _at_most("answers parsed a window", parsed, 1.01, 1.1),
        _at_most("values written as JSON a record", written / RECORDS, 1.13, 1.3),
    ]
    calls.pop("testing/loop")
    for room, found in sorted(calls.items(), key=lambda each: -each[1]):
        today = CALLS.get(room, OTHERS)
        if room in CALLS or found > OTHERS:
            figures.append(
                _at_most(f"calls a window in {room}", found, today, round(today * LOOSE, 2))
            )
    everywhere, today = sum(calls.values()), round(sum(CALLS.values()) + OTHERS + 0.5)
    figures.append(
        _at_most("calls a window in all rooms", everywhere, today, round(today * TOGETHER))
    )
    return figures


if __name__ == "__main__":
    show(measure())
