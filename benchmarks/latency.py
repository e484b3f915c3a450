"""Whether what waits for answers costs anything: 50 ms an answer, hundreds of requests in flight.

`harvester.run` beside the tuned loop of `throughput.py`, in turns, by the clock: with 256 in flight
the answers decide, with 1,024 the machine does.  What misses its gate is measured again, up to
three times, and the best counts: a machine that is slow for a while has no time to wait in.  Then
the peak of the memory of a fresh process that has 1,024 in flight, and that of one in which the
tuned loop has.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, show
from benchmarks.memory import peak
from benchmarks.server import serving
from benchmarks.throughput import (
    ACCOUNTS,
    MALLOC_THRESHOLD,
    Contender,
    Contenders,
    check_lines,
    fetch_tokens,
    one_round,
)

LATENCY = 0.05
MOST = 1_024
IN_FLIGHT = {256: 1_200, MOST: 2_000}
"""Requests in flight, and the days of each of the four accounts that are then asked for."""
ROUNDS, PEAKS, TRIES = 5, 3, 3
GOAL = 0.95
GATES = {256: 0.85, MOST: 0.85}
GOAL_MEMORY, GATE_MEMORY = 30.0, 45.0


async def _contenders(base_url: str, in_flight: int) -> dict[str, Contender]:
    contenders = Contenders(
        base_url,
        await fetch_tokens(base_url),
        in_flight=in_flight,
        number_of_days=IN_FLIGHT[in_flight],
    )
    bytes(MALLOC_THRESHOLD)  # cures asyncio's reads on glibc, for both
    return {"harvester": contenders.harvester, "tuned": contenders.tuned}


async def _seconds(base_url: str, in_flight: int) -> dict[str, float]:
    """The median of the seconds that each took."""
    requests = ACCOUNTS * IN_FLIGHT[in_flight]
    entered = await _contenders(base_url, in_flight)
    taken: dict[str, list[float]] = {name: [] for name in entered}
    for number in range(ROUNDS + 1):
        for name in sorted(entered, reverse=number % 2 == 1):
            taken[name].append((await one_round(entered[name], requests))[0])
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def _best_seconds(base_url: str, in_flight: int) -> dict[str, float]:
    """Those of the first measurement that holds the gate, or else of the best one."""
    found: list[dict[str, float]] = []
    while len(found) < TRIES and not any(_ratio(each) >= GATES[in_flight] for each in found):
        found.append(asyncio.run(_seconds(base_url, in_flight)))
    return max(found, key=_ratio)


def _ratio(seconds: dict[str, float]) -> float:
    return seconds["tuned"] / seconds["harvester"]


def _peak_of(name: str, base_url: str) -> float:
    command = [sys.executable, "-m", "benchmarks.latency", name, base_url]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _once(name: str, base_url: str) -> None:
    contender = (await _contenders(base_url, MOST))[name]
    with tempfile.TemporaryDirectory() as folder:
        await contender(Path(folder))
        check_lines(Path(folder), ACCOUNTS * IN_FLIGHT[MOST])


def measure() -> list[Figure]:
    """The figures."""
    figures = []
    with serving(latency=LATENCY) as server:
        for in_flight, days in IN_FLIGHT.items():
            seconds = _best_seconds(server.url, in_flight)
            what = f"latency: 50 ms an answer, {in_flight:,} in flight"
            gate = GATES[in_flight]
            figures.append(
                Figure(f"{what}, of the tuned loop's", _ratio(seconds), goal=GOAL, gate=gate)
            )
            rate = ACCOUNTS * days / seconds["harvester"]
            bound = in_flight / LATENCY
            figures.append(Figure(f"{what}, of what is possible", rate / bound))
        peaks = {
            name: statistics.median(_peak_of(name, server.url) for _ in range(PEAKS))
            for name in ("harvester", "tuned")
        }
    return [
        *figures,
        Figure(f"latency: {MOST:,} in flight, peak of memory over the tuned loop's",
               peaks["harvester"] - peaks["tuned"], "MB",
               goal=GOAL_MEMORY, gate=GATE_MEMORY, more_is_better=False),
        Figure(f"latency: {MOST:,} in flight, peak of memory", peaks["harvester"], "MB"),
    ]  # fmt: skip


def main() -> None:
    """Print the figures, or, asked with arguments, be the process whose memory is measured."""
    if len(sys.argv) == 3:
        asyncio.run(_once(sys.argv[1], sys.argv[2]))
        print(peak())
    else:
        show(measure())


if __name__ == "__main__":
    main()
