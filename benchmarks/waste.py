"""How many calls are wasted in a backfill over a weekend of quotas.

Four accounts and eight interfaces, 75 days of each, of which a day's quota allows twenty calls; and
an interface that WeChat has taken offline, asked for by its name.  Four runs with one ledger, in
virtual time, against the simulated WeChat:

- on Friday evening, until the quota is used up;
- on Saturday morning one that waits for midnight, and is stopped on Sunday morning;
- another one an hour later, which waits until all is done;
- on Monday evening one that must find nothing left.

A call is wasted if WeChat refuses it for the quota, if what it asks for was answered before, or if
the account was told already, in this run, that the interface is offline.  The first call of each
account and run, and those on their way with it, are told apart: a command that is given again tries
what failed again, and nothing says that an interface is taken from all accounts at once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import anyio

from benchmarks.figures import Figure, show
from benchmarks.inside import scope
from harvester.engine import Engine
from harvester.events import Report
from harvester.ledger import Ledger
from harvester.model import Request, Response
from harvester.plan import CHINA
from harvester.plugins import endpoint
from harvester.settings import Options
from harvester.sinks.jsonl import JsonLines
from harvester.testing import Reply, Simulator, VirtualTimeLoop, run_virtual

ACCOUNTS, DAYS, QUOTA = 4, 75, 20
FIRST = date(2025, 12, 1)
RETIRED = "getarticlesummary"
NAMES = (
    "getusersummary",
    "getusercumulate",
    "getupstreammsg",
    "getupstreammsghour",
    "getupstreammsgdist",
    "getinterfacesummary",
    "getinterfacesummaryhour",
    "getarticleread",
    RETIRED,
)
LATENCY = 0.2
FRIDAY = datetime(2026, 3, 13, 18, tzinfo=CHINA).timestamp()
HOUR = 3600.0


class Counting(Simulator):
    """The simulated WeChat; notes what was asked of it that it had told before."""

    def __init__(self) -> None:
        super().__init__(daily_quota=QUOTA, retired=True)
        self.calls = 0
        self.offline: dict[str, float] = {}
        self.late = 0

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        """The reply; counts the call."""
        reply = super().handle(method, path, query, body)
        if path.startswith("/datacube/"):
            self.calls += 1
            if path.endswith(f"/{RETIRED}"):
                known = self.offline.setdefault(query["access_token"], self.wall() + LATENCY)
                self.late += self.wall() > known
        return reply


class Way:
    """The way to it and back."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer, a while later."""
        reply = self._simulator.handle(
            request.method, request.path, dict(request.query), request.body or b""
        )
        await anyio.sleep(LATENCY)
        return Response(reply.status, reply.body)


async def _run(loop: VirtualTimeLoop, wechat: Counting, folder: Path, until: float) -> Report:
    """One run; asked to stop at a Unix time."""
    wechat.offline.clear()
    stop = asyncio.Event()
    loop.call_later(until - loop.wall(), stop.set)
    engine = Engine(
        scope(ACCOUNTS, DAYS, [endpoint(name) for name in NAMES], FIRST),
        Options(daily_quota=QUOTA, wait=until > loop.wall() + 12 * HOUR),
        Way(wechat),
        [JsonLines(folder)],
        Ledger(folder / "ledger.sqlite"),
        stop=stop,
        wall=loop.wall,
    )
    async with engine:
        return await engine.run()


async def _weekend(loop: VirtualTimeLoop) -> tuple[Counting, list[Report]]:
    wechat = Counting()
    wechat.wall = loop.wall
    reports = []
    with tempfile.TemporaryDirectory() as name:
        # hours after Friday 18:00, and for how long
        for begin, end in ((0, 3), (15, 38.5), (39.5, 90), (72, 74)):
            await asyncio.sleep(max(0.0, FRIDAY + begin * HOUR - loop.wall()))
            reports.append(await _run(loop, wechat, Path(name), FRIDAY + end * HOUR))
    return wechat, reports


def measure() -> list[Figure]:
    """The figures."""
    wechat, reports = run_virtual(_weekend, FRIDAY)
    last = reports[-1]
    twice = sum(wechat.served_of.values()) - len(wechat.served_of)
    windows: Counter[str] = Counter(name for name, *_ in wechat.served_of)
    assert set(windows) == {*NAMES} - {RETIRED}, windows
    assert last.windows.skipped == sum(windows.values()), last
    wasted = {
        "beyond the budget": wechat.counts["errcode 45009"],
        "what was answered before": twice,
        "an interface known to be offline": wechat.late,
    }
    useful = len(wechat.served_of)
    return [
        *(
            Figure(f"waste: calls for {what}", calls, goal=0, gate=0, more_is_better=False)
            for what, calls in wasted.items()
        ),
        Figure("waste: calls before it was known to be offline",
               wechat.calls - useful - sum(wasted.values())),
        Figure("waste: calls that brought figures", useful),
    ]  # fmt: skip


if __name__ == "__main__":
    show(measure())
