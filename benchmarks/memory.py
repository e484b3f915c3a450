"""Whether memory grows with the number of days.

The peak of a fresh process that harvests 400 windows, and of one that harvests 40,000: the whole
library over real sockets, ten accounts, ledger and JSON lines, as fast as it goes, which is when
most lies between the requests and the disk.  A few in between make the curve that is drawn.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import harvester
from benchmarks.figures import Figure, show
from benchmarks.server import serving

ACCOUNTS = 10
FEW, MANY = 400, 40_000
BETWEEN = (100, 1_000, 4_000)
"""Only drawn: so once each, and not so many that the gate takes notably longer."""
FIRST = date(2015, 1, 1)
GOAL, GATE = 10.0, 15.0


def peak() -> float:
    """The most memory this process ever had, in MB.

    Linux hands the parent's peak down in `ru_maxrss`, so the kernel's own figure comes first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


async def _harvest(base_url: str, windows: int, folder: str) -> None:
    report = await harvester.run(
        [harvester.Account(f"wx{number:016x}", "practice") for number in range(ACCOUNTS)],
        "getarticlesummary",
        FIRST,
        FIRST + timedelta(days=windows // ACCOUNTS - 1),
        sink=f"jsonl:{folder}",
        base_url=base_url,
        rate=1e6,
    )
    assert report.state == "complete", report
    assert report.windows.done == windows, report


def _peak_of(base_url: str, windows: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.memory", base_url, str(windows), folder]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(told)


def measure() -> list[Figure]:
    """The figures."""
    with serving() as server:
        few = statistics.median(_peak_of(server.url, FEW) for _ in range(3))
        many = statistics.median(_peak_of(server.url, MANY) for _ in range(2))
        curve = {FEW: few, MANY: many, **{n: _peak_of(server.url, n) for n in BETWEEN}}
    return [
        Figure(
            f"memory: growth of the peak from {FEW} to {MANY} windows",
            many - few,
            "MB",
            goal=GOAL,
            gate=GATE,
            more_is_better=False,
        ),
        Figure(f"memory: peak at {MANY} windows", many, "MB", points=tuple(sorted(curve.items()))),
    ]


def main() -> None:
    """Print the figures, or, asked with arguments, be the process that is measured."""
    if len(sys.argv) == 4:
        asyncio.run(_harvest(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
        print(peak())
    else:
        show(measure())


if __name__ == "__main__":
    main()
