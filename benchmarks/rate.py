"""Measure how much of the allowed rate is used, and whether it is ever exceeded.

1, 10 and 100 requests a second and account; an answer takes up to 100 ms.  The server counts the
calls of every period of a second, the strictest reading of a limit, and refuses those above it.

- one account: real time and sockets;
- a thousand accounts: virtual time, since no machine sends 100,000 requests a second.  There the
  way to the server takes up to 6 ms, drawn anew for each request.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import tempfile
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

import harvester
from benchmarks.figures import Figure
from benchmarks.pipeline import ENDPOINT, FIRST, SECRET
from benchmarks.server import serving
from harvester.config.settings import engine_options
from harvester.engine.run import Engine
from harvester.engine.scope import Scope
from harvester.model import Request, Response
from harvester.testing import MemorySink, VirtualTimeLoop, run_virtual
from harvester.tokens.official import provider_for
from harvester.wechat.interfaces import INTERFACES

RATES = (1, 10, 100)
SECONDS = 6
LATENCY = 0.05
ATTEMPTS = 3
GOAL, TOLERANCE = 0.99, 0.04

ACCOUNTS = 1_000
ON_THE_WAY = 0.006
VIRTUAL_SECONDS = {1: 12, 10: 4, 100: 2}
SLOTS = 20  # an account: 100 a second and 100 ms an answer, with some to spare


def _share(arrivals: Sequence[float], rate: int) -> float:
    """The share of the rate that was used, in whole periods after the first one."""
    periods = (len(arrivals) - 1) // rate - 1
    return periods / (arrivals[(periods + 1) * rate] - arrivals[rate])


def over_sockets(rate: int) -> tuple[float, int]:
    """The share of the rate that one account uses, and how many calls were refused.

    A machine that stalls for longer than the limiter's margin causes refusals, too, but not three
    times in a row.
    """
    for _ in range(ATTEMPTS):
        share, refused = _over_sockets_once(rate)
        if not refused:
            break
    return share, refused


def _over_sockets_once(rate: int) -> tuple[float, int]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(latency=LATENCY, jitter=True, limit=(rate, 1.0), note_arrivals=True) as server,
    ):
        report = asyncio.run(
            harvester.run(
                harvester.Account("wx0000000000000001", SECRET),
                ENDPOINT,
                FIRST,
                FIRST + timedelta(days=rate * SECONDS),
                sink=f"jsonl:{folder}",
                base_url=server.url,
                rate=harvester.Rate(rate, 1.0),
            )
        )
        assert report.state == "complete", report
    return _share(server.arrivals, rate), server.counts["errcode 45011"]


class CountingTransport:
    """A WeChat without figures that counts the calls of each account in every second.

    arrivals: when they came, by account; refused: those above the rate.
    """

    def __init__(self, rate: int, loop: VirtualTimeLoop) -> None:
        self.arrivals: defaultdict[str, list[float]] = defaultdict(list)
        self.refused = 0
        self._rate = rate
        self._loop = loop
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._random = Random(rate)

    async def send(self, request: Request, leave: Any = None) -> Response:
        """Return the answer after a random time."""
        there = self._random.uniform(0.0, ON_THE_WAY)
        await asyncio.sleep(there)
        if request.path.startswith("/cgi-bin/"):
            appid = json.loads(request.body or b"{}")["appid"]
            token = {"access_token": appid, "expires_in": 7200}
            return Response(200, json.dumps(token).encode())
        body = self._count(request.query[0][1])
        await asyncio.sleep(self._random.uniform(0.0, 2 * LATENCY - there))
        return Response(200, body)

    def _count(self, appid: str) -> bytes:
        now, recent = self._loop.time(), self._recent[appid]
        self.arrivals[appid].append(now)
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if len(recent) >= self._rate:
            self.refused += 1
            return b'{"errcode":45011,"errmsg":"api minute-quota reach limit rid: 1-2-3"}'
        recent.append(now)
        return b'{"list":[]}'


async def _run(loop: VirtualTimeLoop, transport: CountingTransport, rate: int, days: int) -> str:
    """Harvest through the transport; all that this file knows of the engine."""
    accounts = [harvester.Account(f"wx{number:016x}", SECRET) for number in range(ACCOUNTS)]
    providers = {account.appid: provider_for(account) for account in accounts}
    last = FIRST + timedelta(days=days - 1)
    async with Engine(
        Scope(providers, (INTERFACES["getarticlesummary"],), FIRST, last),
        engine_options(rate=harvester.Rate(rate, 1.0), concurrency=ACCOUNTS * SLOTS),
        transport,
        [MemorySink()],
        None,
        wall=loop.wall,
    ) as engine:
        return (await engine.run()).state


def in_virtual_time(rate: int) -> tuple[float, int]:
    """The share of the rate that a thousand accounts use on average, and refused calls."""

    async def main(loop: VirtualTimeLoop) -> tuple[float, int]:
        transport = CountingTransport(rate, loop)
        state = await _run(loop, transport, rate, rate * VIRTUAL_SECONDS[rate] + 1)
        assert state == "complete", state
        assert len(transport.arrivals) == ACCOUNTS
        shares = [_share(arrivals, rate) for arrivals in transport.arrivals.values()]
        return statistics.fmean(shares), transport.refused

    gc.disable()  # it would scan twenty thousand waiting tasks again and again
    try:
        return run_virtual(main)
    finally:
        gc.enable()


def measure(*, full: bool = False) -> list[Figure]:
    """Measure the rate."""
    measured = {f"one account, {rate}/s": over_sockets(rate) for rate in RATES}
    for rate in RATES if full else RATES[:-1]:  # 200,000 calls at the highest one
        measured[f"{ACCOUNTS:,} accounts, {rate}/s"] = in_virtual_time(rate)
    figures = []
    for name, (share, refused) in measured.items():
        figures += [
            Figure(f"rate, {name}: share used", share, "", GOAL, tolerance=TOLERANCE),
            Figure(f"rate, {name}: refused calls", refused, "", 0, more_is_better=False),
        ]
    return figures
