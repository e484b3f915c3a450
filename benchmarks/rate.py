"""How much of the allowed rate is used, and whether it is ever exceeded.

One account, real time, real sockets, answers that take 50 ms.  The server counts the calls of every
period, the strictest reading of a limit, and refuses those above it with errcode 45011.

The period is one second, the hardest case: the library keeps 12 ms of it as a margin, as a server
counts arrivals and not departures.  WeChat's own period is a minute, of which that is nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import date, timedelta
from pathlib import Path

import harvester
from benchmarks.figures import Figure, show
from benchmarks.server import serving

RATES = (100, 20)
PERIOD = 1.0
SECONDS = 9
LATENCY = 0.05
FIRST = date(2015, 1, 1)
GOAL, GATE = 0.97, 0.95


async def _harvest(base_url: str, rate: int, folder: Path) -> None:
    report = await harvester.run(
        harvester.Account("wx0000000000000001", "practice"),
        "getarticlesummary",
        FIRST,
        FIRST + timedelta(days=rate * SECONDS - 1),
        sink=f"jsonl:{folder}",
        base_url=base_url,
        rate=harvester.Rate(round(rate * PERIOD), PERIOD),
    )
    assert report.state == "complete", report


def measure_one(rate: int) -> list[Figure]:
    """The figures for so many requests a second."""
    limit = (round(rate * PERIOD), PERIOD)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(latency=LATENCY, limit=limit, note_arrivals=True) as server,
    ):
        asyncio.run(_harvest(server.url, rate, Path(folder)))
    first = server.arrivals[0]
    steady = [moment for moment in server.arrivals if moment > first + 1.0]
    used = (len(steady) - 1) / (steady[-1] - steady[0])
    return [
        Figure(f"rate: share used of {rate}/s", used / rate, goal=GOAL, gate=GATE),
        Figure(
            f"rate: refusals at {rate}/s",
            server.counts["errcode 45011"],
            goal=0,
            gate=0,
            more_is_better=False,
        ),
    ]


def measure() -> list[Figure]:
    """The figures."""
    return [figure for rate in RATES for figure in measure_one(rate)]


if __name__ == "__main__":
    show(measure())
