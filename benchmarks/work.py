"""What a window takes in counted work, the same on every machine and however busy it is.

A run of the real engine, transport, sink and ledger in virtual time, with a WeChat of eight records
a day behind connections that are none.  Counted are the requests, the fetches of tokens, what is
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
from typing import Any
from unittest.mock import patch

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler

import harvester
from benchmarks.figures import Figure, show
from benchmarks.inside import NOW, scope
from harvester.datacube import INTERFACES
from harvester.engine import Engine
from harvester.events import Report
from harvester.ledger import Ledger
from harvester.settings import Options
from harvester.sinks.jsonl import JsonLines
from harvester.testing import VirtualTimeLoop, articles, run_virtual
from harvester.transport import HttpTransport

ACCOUNTS, DAYS = 4, 250
WINDOWS = ACCOUNTS * DAYS
RECORDS = 8
LATENCY = 0.01
PACKAGE = str(Path(harvester.__file__).parent)

PARSED, WRITTEN = "orjson.loads", "orjson.dumps"
CALLS = {
    "lane": 11.51,
    "codec": 21.18,
    "board": 9.85,
    "endpoint": 14.01,
    "pipeline": 11.01,
    "transport": 15.11,
    "limiter": 4.19,
    "committer": 5.08,
    "engine": 5.37,
    "answer": 5.02,
    "auth": 2.2,
    "model": 3.05,
    "channel": 4.01,
    "plan": 2.1,
    "sinks/jsonl": 0.05,
    "seal": 0.29,
    "ledger": 2.35,
    "roster": 0.08,
    "coverage": 0.05,
    "durable": 0.09,
    "thread": 0.1,
    "sinks/store": 0.08,
}
"""Calls a window by room, as counted with Python 3.11; newer ones make fewer."""
LOOSE, TOGETHER = 1.25, 1.15
JSON = {orjson.loads: PARSED, orjson.dumps: WRITTEN}
OTHERS = 0.5
"""Calls a window that any other room may make: once a run, or once an account."""


class _Wire(asyncio.Transport):
    """The other end of a connection: it answers each request after a while.

    requests: how many came, by path.
    """

    def __init__(self, protocol: ResponseHandler, requests: Counter[str]) -> None:
        super().__init__()
        self._protocol = protocol
        self._requests = requests

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """A whole request."""
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
        self._requests[path] += 1
        asyncio.get_running_loop().call_later(
            LATENCY, self._protocol.data_received, self._answer(path, orjson.loads(body))
        )

    def _answer(self, path: str, asked: Any) -> bytes:
        if not path.startswith("/cgi-bin/"):
            return _http(_body(asked["begin_date"]))
        token = f"{asked['appid']:0<80}"
        return _http(orjson.dumps({"access_token": token, "expires_in": 7200}))

    def is_closing(self) -> bool:
        """Not before it is closed."""
        return False

    def close(self) -> None:
        """At the end."""
        self._protocol.connection_lost(None)


class _Pool(aiohttp.BaseConnector):
    """Connections of a session that lead nowhere."""

    def __init__(self, requests: Counter[str]) -> None:
        super().__init__(limit=0)
        self._requests = requests

    async def _create_connection(self, *_: Any) -> ResponseHandler:
        protocol = ResponseHandler(asyncio.get_running_loop())
        protocol.connection_made(_Wire(protocol, self._requests))
        return protocol


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


def _http(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _run(loop: VirtualTimeLoop, folder: Path) -> Report:
    transport = HttpTransport("http://localhost")
    async with transport:
        engine = Engine(
            scope(ACCOUNTS, DAYS, [INTERFACES["getarticlesummary"]]),
            Options(rate=1e6),
            transport,
            [JsonLines(folder)],
            Ledger(folder / "ledger.sqlite"),
            wall=loop.wall,
        )
        async with engine:
            return await engine.run()


def _room(module: str) -> str:
    """A package of files that serve one end is one room; of sinks and testing each file is."""
    package = module.partition("/")[0]
    return package if package in ("ledger", "transport") else module


@contextmanager
def _counting(calls: Counter[str]) -> Iterator[None]:
    """Count the calls that code of the package makes or is, by room."""
    known: dict[str, str] = {}

    def note(frame: FrameType, event: str, called: object) -> None:
        if event in ("call", "c_call"):
            file = frame.f_code.co_filename
            if (room := known.get(file)) is None:
                inside = file.startswith(PACKAGE)
                room = known[file] = _room(file[len(PACKAGE) + 1 : -3]) if inside else ""
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
    requests: Counter[str] = Counter()

    async def main(loop: VirtualTimeLoop) -> Report:
        pool = patch.object(aiohttp, "TCPConnector", lambda **_: _Pool(requests))
        with pool, tempfile.TemporaryDirectory() as folder, _counting(calls):
            return await _run(loop, Path(folder))

    for day in range(DAYS):  # made once, and not the library's work
        _body((date(2024, 1, 1) + timedelta(days=day)).isoformat())
    report = run_virtual(main, NOW)
    return {room: n / WINDOWS for room, n in calls.items() if room}, report, requests


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
