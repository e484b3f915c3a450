"""Helpers of the tests."""

from __future__ import annotations

import asyncio
import csv
import functools
import inspect
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from harvester.config.settings import engine_options
from harvester.engine.run import Engine
from harvester.engine.scope import Scope
from harvester.events import Event, Report
from harvester.ledger import SqliteLedger
from harvester.ledger.coverage import Calendar
from harvester.model import Account, Endpoint, Request, Response
from harvester.sinks.base import Sink
from harvester.testing import FakeTransport, Simulator, VirtualTimeLoop, run_virtual, serve
from harvester.tokens.official import provider_for
from harvester.transport import Transport
from harvester.wechat.interfaces import INTERFACES
from tests import forks

ROOT = Path(__file__).parents[1]
"""The directory of the project."""
A, B, C = "wx00000000000000aa", "wx00000000000000bb", "wx00000000000000cc"
JANUARY = (date(2024, 1, 1), date(2024, 1, 31))
KILLS = int(os.environ.get("HARVESTER_KILLS", "3"))
"""How often a test that kills a job at random moments does so."""
META = ("_appid", "_endpoint", "_begin_date", "_end_date", "_fetched_at")


class Wechat:
    """A simulator on a socket, in a thread with a loop of its own."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        async with serve(self.simulator) as server:
            self.url = server.url
            self._ready.set()
            await self._ended.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._loop.close()


def command(*arguments: str | Path) -> list[str]:
    """The command line as a process gets it."""
    return [sys.executable, "-m", "harvester", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: the secret, and nothing that steers a terminal."""
    of_tests = ("HARVESTER_KILLS", "HARVESTER_FIGURES")
    ours = {name: text for name, text in os.environ.items() if name not in of_tests}
    return {**ours, "HARVESTER_SECRET": "practice", "COLUMNS": "100", **more}


def harvest(
    *arguments: str | Path, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    given = environment(**env)
    if forks.can_fork(given):
        return forks.run([*map(str, arguments)], cwd, given)
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=90, cwd=cwd, env=given,
        check=False,
    )  # fmt: skip


def sentences(said: str) -> list[str]:
    """What a command said on standard error, less that its server is not WeChat's."""
    return [
        line
        for line in said.splitlines()
        if line.startswith("harvester: ") and "which is not WeChat" not in line
    ]


def days(begin: date, end: date) -> list[date]:
    """Every day of a range."""
    return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]


def stored(directory: Path, endpoint: str = "getarticlesummary") -> list[dict[str, Any]]:
    """What a reader of the JSON lines sees; every line must be whole."""
    return [
        json.loads(line)
        for path in sorted((directory / endpoint).glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV for Excel, which begins with a byte order mark."""
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def bare(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its metadata."""
    return {key: value for key, value in record.items() if key not in META}


def as_multiset(records: Iterable[tuple[str, str, dict[str, Any]]]) -> Counter[str]:
    """Account, day and fields, however often each."""
    return Counter(json.dumps(record, sort_keys=True) for record in records)


def assert_exactly_the_truth(
    records: Iterable[dict[str, Any]],
    simulator: Simulator,
    appids: Sequence[str],
    begin: date,
    end: date,
) -> None:
    """Each record of each day of each account is there, once, as WeChat gave it."""
    found = as_multiset((r["_appid"], r["_begin_date"], bare(r)) for r in records)
    truth = as_multiset(
        (appid, str(day), record)
        for appid in appids
        for day in days(begin, end)
        for record in simulator.truth(appid, day)
    )
    assert found - truth == Counter(), "doubled or foreign records"
    assert truth - found == Counter(), "lost records"


class Script:
    """A transport that answers data requests from a function, and token requests by itself."""

    def __init__(self, answer: Callable[[dict[str, str]], Any], token: Any = None) -> None:
        self._answer = answer
        self._token = token or (lambda: {"access_token": "T", "expires_in": 7200})
        self.asked: list[str] = []
        self.tokens = 0

    async def send(self, request: Request, leave: Any = None) -> Response:
        await asyncio.sleep(0.01)
        if request.path.startswith("/cgi-bin/"):
            self.tokens += 1
            return _response(self._token())
        if request.path == "/":  # whether a server answers at all
            return _response(self._answer({"begin_date": ""}))
        body = json.loads(request.body or b"{}")
        self.asked.append(body["begin_date"])
        return _response(self._answer(body))


def _response(answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, Exception):
        raise answer
    return Response(200, json.dumps(answer).encode())


def scope(
    begin: date,
    end: date,
    appids: Sequence[str] = (A,),
    endpoints: Sequence[Endpoint] = (INTERFACES["getarticlesummary"],),
) -> Scope:
    """What is asked for, of simulated accounts."""
    providers = {appid: provider_for(Account(appid, secret="practice")) for appid in appids}
    return Scope(providers, tuple(endpoints), begin, end)


def virtual(start: float = 1_700_000_000.0) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """A test that is a coroutine function runs in virtual time; it gets its ``loop`` if it asks."""

    def decorate(test: Callable[..., Any]) -> Callable[..., None]:
        signature = inspect.signature(test)
        parameters = [each for name, each in signature.parameters.items() if name != "loop"]

        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            async def main(loop: VirtualTimeLoop) -> None:
                more = {"loop": loop} if "loop" in signature.parameters else {}
                await test(**more, **fixtures)

            run_virtual(main, start)

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


async def engine_run(
    loop: VirtualTimeLoop,
    transport: Transport | Simulator,
    asked: Scope,
    sinks: Sequence[Sink] | Sink,
    ledger: Path | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    stop: asyncio.Event | None = None,
    **options: Any,
) -> Report:
    """Run the real engine in virtual time; rate and concurrency are out of the way unless given."""
    if isinstance(transport, Simulator):
        transport = FakeTransport(transport, latency=0.01)
    options = {"rate": "100000/s", "concurrency": 16, **options}
    engine = Engine(
        asked,
        engine_options(**options),
        transport,
        list(sinks) if isinstance(sinks, list | tuple) else [sinks],
        SqliteLedger(ledger) if ledger else None,
        on_event=on_event,
        stop=stop,
        wall=loop.wall,
    )
    async with engine:
        return await engine.run()


def run(
    transport: Any,
    asked: Scope,
    sinks: Sequence[Sink] | Sink,
    ledger: Path | None = None,
    *,
    now: float,
    later: Mapping[float, Callable[[], object]] | None = None,
    **how: Any,
) -> Report:
    """One run from a Unix time on, by which its simulator goes too.

    later: what happens after so many seconds of it.
    """

    async def main(loop: VirtualTimeLoop) -> Report:
        simulator = getattr(transport, "simulator", transport)
        if isinstance(simulator, Simulator):
            simulator.wall = loop.wall
        for seconds, happens in (later or {}).items():
            loop.call_later(seconds, happens)
        return await engine_run(loop, transport, asked, sinks, ledger, **how)

    return run_virtual(main, now)


def calendars(path: Path, appid: str = A) -> dict[tuple[str, str], Calendar]:
    """What the ledger of a file knows of an account, by interface."""

    async def main(loop: VirtualTimeLoop) -> dict[tuple[str, str], Calendar]:
        async with SqliteLedger(path, readonly=True) as ledger:
            return await ledger.calendars([appid])

    return run_virtual(main)


def noon(day: str) -> float:
    """The Unix time of noon in China on a day."""
    return at(day, 12)


def at(day: str, hour: float) -> float:
    """The Unix time of an hour in China on a day."""
    begin = date.fromisoformat(day)
    return (begin - date(1970, 1, 1)).days * 86400.0 - 8 * 3600.0 + hour * 3600.0


def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections of SQLite that are opened from now on, as they come."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def watched(*args: Any, **how: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **how))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", watched)
    return opened
