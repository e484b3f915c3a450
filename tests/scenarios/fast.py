"""The command on a clock that begins at any moment and runs many times as fast as ours.

Both clocks of the process are set before the package is imported: the wall clock, and the one that
the event loop's timers use.  Sockets work as always.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests.support import at, environment

_SHIM = """
import asyncio, selectors, sys, time

start, factor = float(sys.argv[1]), float(sys.argv[2])
real, began = time.time, time.time()
time.time = lambda: start + (real() - began) * factor

class Selector(selectors.DefaultSelector):
    def select(self, timeout=None):
        return super().select(timeout / factor if timeout else timeout)

class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__(Selector())
    def time(self):
        return super().time() * factor

asyncio.DefaultEventLoopPolicy._loop_factory = Loop
sys.argv = ["harvester", *sys.argv[3:]]
from harvester.cli import main
main()
"""


@dataclass
class Ended:
    """How a command ended; report: its JSON, if it was asked for."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


def started(
    day: str | date, hour: float, *arguments: str | Path, factor: float = 1.0
) -> subprocess.Popen[str]:
    """The command, started at an hour in China on a day."""
    return subprocess.Popen(
        [sys.executable, "-c", _SHIM, str(at(str(day), hour)), str(factor), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def harvest_at(day: str | date, hour: float, *arguments: str | Path, factor: float = 1.0) -> Ended:
    """Run the command to its end, from an hour in China on a day."""
    with started(day, hour, *arguments, factor=factor) as process:
        out, err = process.communicate(timeout=100)
    return Ended(process.returncode, out, err)
