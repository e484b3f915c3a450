"""What a thousand accounts take, and what the bad ones among them cost the others.

Three questions:

- over sockets, 1,000 accounts × 30 days: `harvester.run`, a token each, ledger and JSON lines on,
  beside a bare loop that fetches the same tokens, posts, reads, decodes and writes the same lines;
- the scheduling alone, 1,000 accounts × 365 days in memory, in virtual time: a wall clock would
  show the machine's noise, and here an effect of a thousandth is seen.  Once all are well; once one
  is in a −1 storm, one at its quota, one has a dead secret and one a server that takes 10 s an
  answer.  Held against each other is when the last window of the other 996 is safe;
- memory: what an idle lane holds, parked at its quota with its token in hand.

    python -m benchmarks accounts     # with 60 days in place of 365, and 10 in place of 30
    python -m benchmarks.accounts     # all of it, some minutes
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
import orjson

import harvester
from benchmarks.figures import Figure, show
from benchmarks.inside import NOW, Nowhere, appids, scope
from benchmarks.server import RECORDS, serving
from benchmarks.throughput import FIRST, HEADERS, IN_FLIGHT, NAME, SECRET, Stamp
from harvester import events
from harvester.datacube import INTERFACES
from harvester.endpoint import Endpoint
from harvester.engine import Engine
from harvester.ledger import Ledger
from harvester.model import Account, Request, Response
from harvester.plugins import endpoints_of
from harvester.settings import Options
from harvester.testing import VirtualTimeLoop, run_virtual

ACCOUNTS = 1000
DAYS, SOCKET_DAYS = 365, 30
FEWER, FEWER_OVER_SOCKETS = 60, 10
ROUNDS = 3
LATENCY, SLOW = 0.05, 10.0
GOAL_BARE, GATE_BARE = 0.75, 0.67
GOAL_OTHERS, GATE_OTHERS = 1.02, 1.05
GOAL_LANE, GATE_LANE = 20.0, 20.0

APPIDS = appids(ACCOUNTS)
STORM, FULL, DEAD, LATE = BAD = APPIDS[100], APPIDS[300], APPIDS[500], APPIDS[700]


# over sockets


async def _harvester(base_url: str, days: int, folder: Path) -> None:
    report = await harvester.run(
        [Account(appid, SECRET) for appid in APPIDS],
        NAME,
        FIRST,
        FIRST + timedelta(days=days - 1),
        sink=f"jsonl:{folder}",
        base_url=base_url,
        rate=1e6,
        concurrency=IN_FLIGHT,
    )
    assert report.state == "complete", report


async def _bare(base_url: str, number: int, folder: Path) -> None:
    """64 workers over one iterator, an account's token first; aiohttp as it comes."""
    tokens: dict[str, str] = {}
    days = [(FIRST + timedelta(days=n)).isoformat() for n in range(number)]
    grants = iter(APPIDS)
    shared = ((appid, day) for day in days for appid in APPIDS)
    url, stamp = f"{base_url}/datacube/{NAME}", Stamp()

    async def fetch(session: aiohttp.ClientSession) -> None:
        for appid in grants:
            asked = {"grant_type": "client_credential", "appid": appid, "secret": SECRET}
            async with session.post(f"{base_url}/cgi-bin/stable_token", json=asked) as response:
                tokens[appid] = json.loads(await response.read())["access_token"]

    async def work(file: Any, session: aiohttp.ClientSession) -> None:
        for appid, day in shared:
            body = orjson.dumps({"begin_date": day, "end_date": day})
            target = f"{url}?access_token={tokens[appid]}"
            async with session.post(target, data=body, headers=HEADERS) as response:
                records = orjson.loads(await response.read())["list"]
            beside = {
                "_appid": appid,
                "_endpoint": NAME,
                "_begin_date": day,
                "_end_date": day,
                "_fetched_at": stamp(),
            }
            file.write(b"".join([orjson.dumps(record | beside) + b"\n" for record in records]))

    with (folder / "lines.jsonl").open("wb") as file:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*[fetch(session) for _ in range(IN_FLIGHT)])
            await asyncio.gather(*[work(file, session) for _ in range(IN_FLIGHT)])


def _lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("*.jsonl"))


async def _timed(contender: Any, base_url: str, days: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as name:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await contender(base_url, days, Path(name))
        taken = time.perf_counter() - wall, time.process_time() - cpu
        lines = _lines(Path(name))
        assert lines == ACCOUNTS * days * RECORDS, "lines are missing"
    return taken


async def _over_sockets(days: int) -> list[Figure]:
    with serving() as server:
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(await _timed(_harvester, server.url, days))
            theirs.append(await _timed(_bare, server.url, days))
    wall, cpu = (statistics.median(column) for column in zip(*ours, strict=True))
    bare_wall, bare_cpu = (statistics.median(column) for column in zip(*theirs, strict=True))
    size = f"{ACCOUNTS:,} accounts x {days} days"
    return [
        Figure(f"accounts: {size}, of the bare loop's, CPU time", bare_cpu / cpu,
               goal=GOAL_BARE, gate=GATE_BARE),
        Figure(f"accounts: {size}, of the bare loop's, by the clock", bare_wall / wall,
               goal=GOAL_BARE, gate=GATE_BARE),
        Figure("accounts: harvester", wall, "s"),
        Figure("accounts: bare loop", bare_wall, "s"),
    ]  # fmt: skip


# in memory, in virtual time


class Outside:
    """A WeChat without figures: each account's token is its appid; the bad ones are bad."""

    def __init__(self, bad: Sequence[str] = (), *, full: bool = False) -> None:
        self._bad = frozenset(bad)
        self._full = full

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer, after its latency."""
        if request.path.startswith("/cgi-bin/"):
            appid = json.loads(request.body or b"{}")["appid"]
            await anyio.sleep(LATENCY)
            return Response(200, self._token(appid))
        appid = request.query[0][1]
        await anyio.sleep(SLOW if appid in self._bad and appid == LATE else LATENCY)
        return Response(200, self._answer(appid))

    def _token(self, appid: str) -> bytes:
        if appid in self._bad and appid == DEAD:
            return b'{"errcode":40125,"errmsg":"invalid appsecret rid: 1-2-3"}'
        return orjson.dumps({"access_token": appid, "expires_in": 7200})

    def _answer(self, appid: str) -> bytes:
        if self._full or (appid in self._bad and appid == FULL):
            return b'{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 1-2-3"}'
        if appid in self._bad and appid == STORM:
            return b'{"errcode":-1,"errmsg":"system error rid: 1-2-3"}'
        return b'{"list":[]}'


class Lived(NamedTuple):
    """One run: when the others were through (virtual seconds), windows, seconds of CPU."""

    others: float
    windows: int
    cpu: float


def _live(days: int, bad: Sequence[str]) -> Lived:
    """A run of all accounts; the engine, its limiters and its ledger are real."""
    finished: dict[str, float] = {}

    async def main(loop: VirtualTimeLoop) -> int:
        def note(event: events.Event) -> None:
            if isinstance(event, events.Committed):
                finished.update({window.appid: loop.time() for window in event.windows})

        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(
                scope(ACCOUNTS, days, [INTERFACES["getarticlesummary"]]),
                Options(),
                Outside(bad),
                [Nowhere()],
                Ledger(Path(folder) / "ledger.sqlite"),
                on_event=note,
                wall=loop.wall,
            )
            async with engine:
                report = await engine.run()
        assert report.stopped.keys() == ({DEAD} if bad else set()), report.stopped
        assert report.windows.done == (ACCOUNTS - (3 if bad else 0)) * days, report.windows
        return report.windows.planned

    gc.collect()
    cpu = time.process_time()
    windows = run_virtual(main, NOW)
    others = max(at for appid, at in finished.items() if appid not in BAD)
    return Lived(others, windows, time.process_time() - cpu)


def _in_memory(days: int) -> list[Figure]:
    well, ill = _live(days, ()), _live(days, BAD)
    size = f"{ACCOUNTS:,} accounts x {days} days"
    ratio = ill.others / well.others
    return [
        Figure("accounts: the other 996 with four bad lanes, of their time", ratio,
               goal=GOAL_OTHERS, gate=GATE_OTHERS, more_is_better=False),
        Figure(f"accounts: {size} in memory, CPU a window", well.cpu / well.windows * 1e6, "µs"),
        Figure(f"accounts: {size} in memory, CPU", well.cpu, "s"),
    ]  # fmt: skip


# memory


def _idle(number: int, endpoints: Sequence[Endpoint]) -> int:
    """Bytes that so many accounts hold while all of them are parked."""
    held = 0

    async def main(loop: VirtualTimeLoop) -> None:
        nonlocal held
        stop = asyncio.Event()

        def look() -> None:
            nonlocal held
            gc.collect()
            held = tracemalloc.get_traced_memory()[0]
            stop.set()

        tracemalloc.start()
        engine = Engine(
            scope(number, 30, endpoints),
            Options(wait=True),
            Outside(full=True),
            [Nowhere()],
            None,
            stop=stop,
            wall=loop.wall,
        )
        async with engine:
            loop.call_at(600.0, look)
            await engine.run()
        tracemalloc.stop()

    run_virtual(main, NOW)
    return held


def _memory() -> list[Figure]:
    def each(endpoints: Sequence[Endpoint]) -> float:
        _idle(1, endpoints)  # what is imported and kept once
        few, many = _idle(100, endpoints), _idle(500, endpoints)
        return (many - few) / 400 / 1000

    every = endpoints_of("all")
    return [
        Figure("accounts: memory of an idle lane", each([INTERFACES["getarticlesummary"]]), "kB",
               goal=GOAL_LANE, gate=GATE_LANE, more_is_better=False),
        Figure(f"accounts: memory of an idle lane of {len(every)} interfaces", each(every), "kB"),
    ]  # fmt: skip


def measure(days: int = FEWER, over_sockets: int = FEWER_OVER_SOCKETS) -> list[Figure]:
    """The figures."""
    return [*_in_memory(days), *_memory(), *asyncio.run(_over_sockets(over_sockets))]


if __name__ == "__main__":
    show(measure(DAYS, SOCKET_DAYS))
