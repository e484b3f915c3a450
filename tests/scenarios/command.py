"""The command as scenarios type it, other programs, and waiting for what they do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests import forks
from tests.forks import Clock
from tests.support import A, Wechat, at, command, environment, harvest

Start = Callable[..., Wechat]
"""What the fixture `wechat` is: it starts a simulated WeChat with options of the simulator."""
Done = subprocess.CompletedProcess[str]


def asked(
    url: str, endpoint: str, begin: str | date, end: str | date, *more: str | Path
) -> list[str]:
    """The arguments of a run of one account."""
    return [
        "run", endpoint, "--appid", A, "--start", str(begin), "--end", str(end),
        "--base-url", url, "--rate", "1000/s", *map(str, more),
    ]  # fmt: skip


def succeeded(*arguments: str | Path, cwd: Path | None = None, **env: str) -> Done:
    """The command, run to a good end."""
    done = harvest(*arguments, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done


def begun(
    *arguments: str | Path, cwd: Path | None = None, out: Any = subprocess.PIPE,
    err: Any = subprocess.PIPE, **env: str,
) -> subprocess.Popen[str]:  # fmt: skip
    """The command, under way."""
    return subprocess.Popen(
        command(*arguments), stdout=out, stderr=err, text=True, cwd=cwd, env=environment(**env)
    )


def program(text: str, *arguments: str | Path, cwd: Path | None = None, **env: str) -> Done:
    """A program in Python, run to its end."""
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True, text=True, timeout=90, cwd=cwd, env=environment(**env), check=False,
    )  # fmt: skip


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it is true; it is an error if it is not in time."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.005)


def killed_within(process: subprocess.Popen[Any], server: Wechat, seconds: float) -> None:
    """Kill a run so many seconds after its first answer."""
    before = len(server.simulator.served)
    until(lambda: len(server.simulator.served) > before or process.poll() is not None)
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=10)


# The command on a clock that begins at any moment and runs many times as fast as ours.  Both clocks
# of the process are set before the package is imported: the wall clock, and the one that the event
# loop's timers use.  Sockets work as always.

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
    day: str | date,
    hour: float,
    *arguments: str | Path,
    factor: float = 1.0,
    err: Any = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """The command, started at an hour in China on a day."""
    return subprocess.Popen(
        [sys.executable, "-c", _SHIM, str(at(str(day), hour)), str(factor), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=err, text=True, env=environment(),
    )  # fmt: skip


def harvest_at(day: str | date, hour: float, *arguments: str | Path, factor: float = 1.0) -> Ended:
    """Run the command to its end, from an hour in China on a day."""
    done = forks.run([*map(str, arguments)], None, environment(), Clock(at(str(day), hour), factor))
    return Ended(done.returncode, done.stdout, done.stderr)
