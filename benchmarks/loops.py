"""What a run of the command gains over the library in its host's process.

The command looks for garbage less often and leaves what stands there alone (`harvester.cli.loop`),
and runs on uvloop where it is asked to.  The library changes neither, since both belong to its
host, who can have the same: `gc.freeze()` and `gc.set_threshold(20_000)` before the loop runs.

The same windows as in `throughput.py`, by each in turn, in one process; the ratio is of CPU time.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from random import Random

from benchmarks.figures import Figure, show
from benchmarks.server import serving
from benchmarks.throughput import MALLOC_THRESHOLD, Contenders, fetch_tokens, one_round
from harvester.cli.loop import run, uvloop_factory

IN_FLIGHT = (64, 256, 1_024)
ROUNDS = 7

PLAIN, COLLECTOR, UVLOOP = "the library", "the command", "the command, --uvloop"


def _ways(contenders: Contenders) -> dict[str, Callable[[], float]]:
    """The CPU seconds of one run, by how it is run."""

    async def seconds() -> float:
        return (await one_round(contenders.harvester))[1]

    factory = uvloop_factory()
    return {
        PLAIN: lambda: asyncio.run(seconds()),
        COLLECTOR: lambda: run(seconds()),
        UVLOOP: lambda: run(seconds(), factory),
    }


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """The figures."""
    figures: list[Figure] = []
    with serving() as server:
        tokens = asyncio.run(fetch_tokens(server.url))
        bytes(MALLOC_THRESHOLD)
        draw = Random(1)
        for in_flight in IN_FLIGHT:
            ways = _ways(Contenders(server.url, tokens, in_flight=in_flight))
            taken: dict[str, list[float]] = {name: [way()] for name, way in ways.items()}
            for _ in range(rounds):
                for name in draw.sample(sorted(ways), len(ways)):
                    taken[name].append(ways[name]())
            median = {name: statistics.median(each[1:]) for name, each in taken.items()}
            for name in (COLLECTOR, UVLOOP):
                what = f"loops: {name} ÷ {PLAIN}, {in_flight:,} in flight, CPU"
                figures.append(Figure(what, median[name] / median[PLAIN], more_is_better=False))
    return figures


if __name__ == "__main__":
    show(measure())
