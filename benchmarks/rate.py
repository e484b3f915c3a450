"""How much of the allowed rate is used, and whether it is ever exceeded.

1, 10 and 100 requests a second and account; answers take anything from nothing to 100 ms.  The
server counts the calls of every period, the strictest reading of a limit, and refuses those above
it with errcode 45011.

- one account: real time, real sockets;
- a thousand accounts: virtual time, since 100,000 requests a second are more than a machine sends.
  There the way to the server takes up to 6 ms, drawn anew for each request.

The period is one second, the hardest case: the library keeps 8 ms of it as a margin, as a server
counts arrivals and not departures.  WeChat's own period is a minute, of which it keeps 0.4 %.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson

import harvester
from benchmarks.figures import Figure, show
from benchmarks.inside import NOW, Nowhere, scope
from benchmarks.server import serving
from harvester.datacube import INTERFACES
from harvester.engine import Engine
from harvester.model import Request, Response
from harvester.settings import Options
from harvester.testing import VirtualTimeLoop, run_virtual

RATES = (1, 10, 100)
PERIOD = 1.0
SECONDS = 9
TRIES = 3
LATENCY = 0.05
FIRST = date(2015, 1, 1)
GOAL, GATE = 0.99, 0.95

ACCOUNTS = 1000
ON_THE_WAY = 0.006
VIRTUAL_SECONDS = {1: 12, 10: 4, 100: 2}
SLOTS = 20  # an account, at 100 a second and 100 ms an answer, with some to spare


async def _harvest(base_url: str, rate: int, folder: Path) -> None:
    report = await harvester.run(
        harvester.Account("wx0000000000000001", "practice"),
        "getarticlesummary",
        FIRST,
        FIRST + timedelta(days=rate * SECONDS),
        sink=f"jsonl:{folder}",
        base_url=base_url,
        rate=harvester.Rate(round(rate * PERIOD), PERIOD),
    )
    assert report.state == "complete", report


def _share(arrivals: Sequence[float], rate: int) -> float:
    """The share of the rate that was used, in whole periods after the first one."""
    periods = (len(arrivals) - 1) // rate - 1
    return periods * PERIOD / (arrivals[(periods + 1) * rate] - arrivals[rate])


def over_sockets(rate: int) -> tuple[float, int]:
    """The share that one account uses of so many requests a second, and its refusals.

    A machine that stalls for longer than the margin cannot be told from a limiter that fails, but
    for one thing: it does not do so three times in a row.
    """
    for _ in range(TRIES):
        share, refused = _once(rate)
        if not refused:
            break
    return share, refused


def _once(rate: int) -> tuple[float, int]:
    limit = (round(rate * PERIOD), PERIOD)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(latency=LATENCY, jitter=True, limit=limit, note_arrivals=True) as server,
    ):
        asyncio.run(_harvest(server.url, rate, Path(folder)))
    return _share(server.arrivals, rate), server.counts["errcode 45011"]


class Counting:
    """A WeChat without figures that counts the calls of each account in every period.

    arrivals: when they came, by account; refused: those above the rate.
    """

    def __init__(self, rate: int, loop: VirtualTimeLoop) -> None:
        self.arrivals: defaultdict[str, list[float]] = defaultdict(list)
        self.refused = 0
        self._rate = rate
        self._loop = loop
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._draw = Random(rate)

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer, after a drawn time."""
        there = self._draw.uniform(0.0, ON_THE_WAY)
        await asyncio.sleep(there)
        if request.path.startswith("/cgi-bin/"):
            appid = orjson.loads(request.body or b"{}")["appid"]
            return Response(200, orjson.dumps({"access_token": appid, "expires_in": 7200}))
        body = self._count(request.query[0][1])
        await asyncio.sleep(self._draw.uniform(0.0, 2 * LATENCY - there))
        return Response(200, body)

    def _count(self, appid: str) -> bytes:
        now, recent = self._loop.time(), self._recent[appid]
        self.arrivals[appid].append(now)
        while recent and recent[0] <= now - PERIOD:
            recent.popleft()
        if len(recent) >= self._rate:
            self.refused += 1
            return b'{"errcode":45011,"errmsg":"api minute-quota reach limit rid: 1-2-3"}'
        recent.append(now)
        return b'{"list":[]}'


def in_memory(rate: int, accounts: int = ACCOUNTS) -> tuple[float, int]:
    """The share that so many accounts use of so many requests a second each, and refusals."""
    seconds = VIRTUAL_SECONDS[rate]

    async def main(loop: VirtualTimeLoop) -> tuple[float, int]:
        outside = Counting(rate, loop)
        engine = Engine(
            scope(accounts, rate * seconds + 1, [INTERFACES["getarticlesummary"]], FIRST),
            Options(rate=harvester.Rate(rate, PERIOD), concurrency=accounts * SLOTS),
            outside,
            [Nowhere()],
            None,
            wall=loop.wall,
        )
        async with engine:
            report = await engine.run()
        assert report.state == "complete", report
        shares = [_share(arrivals, rate) for arrivals in outside.arrivals.values()]
        assert len(shares) == accounts, len(shares)
        return statistics.fmean(shares), outside.refused

    gc.collect()
    gc.disable()  # it looks at twenty thousand idle workers again and again
    try:
        return run_virtual(main, NOW)
    finally:
        gc.enable()


def _figures(whose: str, rate: int, share: float, refused: int) -> list[Figure]:
    return [
        Figure(f"rate: {whose}, share used of {rate}/s", share, goal=GOAL, gate=GATE),
        Figure(f"rate: {whose}, refusals at {rate}/s", refused,
               goal=0, gate=0, more_is_better=False),
    ]  # fmt: skip


def measure() -> list[Figure]:
    """The figures."""
    figures = []
    for rate in RATES:
        figures += _figures("one account", rate, *over_sockets(rate))
    for rate in RATES:
        figures += _figures(f"{ACCOUNTS:,} accounts", rate, *in_memory(rate))
    return figures


if __name__ == "__main__":
    show(measure())
