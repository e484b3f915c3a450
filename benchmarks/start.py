"""What it costs a program to import the library.

CPU time of fresh interpreters, in turns: one that imports aiohttp, which whoever embeds the library
mostly has already; one that imports harvester beside it; and one that has all at hand that a run
into JSON lines needs, which is imported when a program first asks for it.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from benchmarks.figures import Figure, show

ROUNDS = 15
GOAL, GATE = 25.0, 40.0
PROGRAMS = {
    "aiohttp": "import aiohttp",
    "harvester": "import aiohttp, harvester",
    "run": "import aiohttp, harvester; harvester.run, harvester.JsonLines, harvester.Ledger",
}


def _cpu(program: str) -> float:
    """Milliseconds of CPU time of an interpreter that runs this."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def measure() -> list[Figure]:
    """The figures."""
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS + 1):
        for name, program in PROGRAMS.items():
            taken[name].append(_cpu(program))
    cost = {name: statistics.median(each[1:]) for name, each in taken.items()}
    return [
        Figure("start: import of harvester over aiohttp's", cost["harvester"] - cost["aiohttp"],
               "ms", goal=GOAL, gate=GATE, more_is_better=False),
        Figure("start: import of all that a run needs over aiohttp's",
               cost["run"] - cost["aiohttp"], "ms"),
        Figure("start: import of aiohttp", cost["aiohttp"], "ms"),
    ]  # fmt: skip


if __name__ == "__main__":
    show(measure())
