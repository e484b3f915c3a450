"""What it costs to run a finished job again.

The command harvests 4,000 days, then the same command runs again: it must ask for nothing, not even
a token, and be back at once.  Its time is held against what the interpreter alone takes to start.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from benchmarks.figures import Figure, show
from benchmarks.server import serving

DAYS = 4_000
REPEATS = 7
FIRST = date(2014, 12, 1)
GOAL, GATE = 1.0, 1.5


def _command(base_url: str, folder: str) -> list[str]:
    return [
        *(sys.executable, "-m", "harvester", "run", "getarticlesummary"),
        *("--start", str(FIRST), "--end", str(FIRST + timedelta(days=DAYS - 1))),
        *("--appid", "wx0000000000000001", "--base-url", base_url, "--out", folder),
        *("--rate", "100000/s", "--json"),
    ]


def _run(command: Sequence[str]) -> tuple[float, str]:
    """Seconds that a process takes, and what it said."""
    environment = {**os.environ, "HARVESTER_SECRET": "practice"}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr}")
    return seconds, done.stdout


def _report(told: str) -> dict[str, Any]:
    """The report, which ends standard output."""
    report: dict[str, Any] = json.loads(told[told.index("{") :])
    return report


def measure() -> list[Figure]:
    """The figures."""
    alone, again = [], []
    requests = 0
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        command = _command(server.url, folder)
        first = _report(_run(command)[1])
        assert first["windows"]["done"] == DAYS, first
        for _ in range(REPEATS):
            alone.append(_run([sys.executable, "-c", "pass"])[0])
            seconds, told = _run(command)
            again.append(seconds)
            report = _report(told)
            assert report["windows"]["skipped"] == DAYS, report
            requests += report["requests"] + report["token_fetches"]
    served = server.counts["data"] + server.counts["token"]
    requests = max(requests, served - first["requests"] - first["token_fetches"])
    return [
        Figure(
            f"resume: requests of a finished job of {DAYS} days",
            requests,
            goal=0,
            gate=0,
            more_is_better=False,
        ),
        Figure(
            "resume: seconds above the interpreter's own start",
            statistics.median(again) - statistics.median(alone),
            "s",
            goal=GOAL,
            gate=GATE,
            more_is_better=False,
        ),
    ]


if __name__ == "__main__":
    show(measure())
