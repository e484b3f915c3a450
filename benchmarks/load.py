"""Whether anything grows, or becomes slower, with what was done and with the accounts.

Three runs, each in a process of its own, which looks at itself fifty times on the way: how much
memory it has, how many tasks and files are open, what CPU time was spent.

- a million windows through the engine in memory: ledger and JSON lines are real, WeChat is a
  function; 250 accounts, one record a window;
- 100,000 windows over sockets;
- ten thousand accounts at once: first all of them idle, parked at their quota with a token in hand,
  then all of them at work.

Whether it becomes slower is told by two stretches of a run of the same length: the one that begins
with window number 1,000 and the last one.  Their CPU time is counted in units of a small piece of
work that is timed with each look, since what a busy machine gives for a second of it changes.

    python -m benchmarks load         # with a fifth and a tenth of the windows, under a minute
    python -m benchmarks.load         # all of it, some minutes
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson

import harvester
from benchmarks.figures import Figure, show
from benchmarks.server import serving
from harvester import datacube, events
from harvester.datacube import INTERFACES
from harvester.engine import Engine
from harvester.ledger import Ledger
from harvester.model import Account, Request, Response
from harvester.plugins import sink
from harvester.scope import Scope
from harvester.settings import Options

WINDOWS, SOCKET_WINDOWS, LANES = 1_000_000, 100_000, 10_000
FEWER, FEWER_OVER_SOCKETS = 200_000, 20_000
DAYS = 4_000
FIRST = date(2015, 1, 1)
SECRET = "practice"
WARM = 1_000
LOOKS = 50

COST = 1.05, 1.25
MEMORY = 5.0, 15.0
TASKS = 8, 64  # aiohttp starts one for a request whose body does not leave at once
FILES = 0, 4
LANE = 20.0, 25.0
MANY = 3.0, 5.0  # a window of each is no neighbour of another: each takes a row of the ledger
"""Goals and gates."""


class Look(NamedTuple):
    """The process at one moment.

    done: windows; cpu: seconds of it, those of the unit left out; unit: seconds that a small piece
    of work takes; memory: megabytes; tasks, files: so many are there, and open.
    """

    done: int
    cpu: float
    unit: float
    memory: float
    tasks: int
    files: int


def memory() -> float:
    """What the process holds now, in megabytes; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def files() -> int:
    """The files and sockets that are open; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/fd"))
    return 0


def unit() -> float:
    """CPU seconds of a small piece of work of the kind that a window makes."""
    body = orjson.dumps([{"ref_date": "2024-01-01", "title": "a title", "n": n} for n in range(50)])
    started = time.process_time()
    for _ in range(100):
        records = orjson.loads(body)
        sum([len(record["title"]) for record in records])
    return time.process_time() - started


class Watch:
    """An observer that looks at the process so often in a run of so many windows."""

    def __init__(self, windows: int) -> None:
        self.looks: list[Look] = []
        self._every = windows // LOOKS
        self._done = 0
        self._units = 0.0

    def __call__(self, event: events.Event) -> None:
        """Look, if enough was done since the last time."""
        if isinstance(event, events.Committed):
            self._done += len(event.windows)
            due = self.looks[-1].done + self._every if self.looks else WARM
            if self._done >= due:
                cpu, one = time.process_time() - self._units, unit()
                self._units += one
                tasks = len(asyncio.all_tasks())
                self.looks.append(Look(self._done, cpu, one, memory(), tasks, files()))


class Outside:
    """A WeChat of one small record a day; ``full``: whose quotas are used up."""

    def __init__(self, *, full: bool = False) -> None:
        self.answered = 0
        self._full = full

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer, in the next turn of the loop."""
        await asyncio.sleep(0)
        if request.path.startswith("/cgi-bin/"):
            return Response(
                200, b'{"access_token":"t0ken of a believable length","expires_in":7200}'
            )
        self.answered += 1
        if self._full:
            return Response(200, b'{"errcode":45009,"errmsg":"reach max api daily quota limit"}')
        day = orjson.loads(request.body or b"")["begin_date"]
        return Response(
            200,
            b'{"list":[{"ref_date":"%s","title":"a title","int_page_read_user":7}]}' % day.encode(),
        )


def accounts(number: int) -> list[Account]:
    """So many accounts."""
    return [Account(f"wx{n:016x}", SECRET) for n in range(number)]


def engine(number: int, days: int, outside: Outside, folder: Path, **how: Any) -> Engine:
    """The real engine with a real sink and a real ledger."""
    providers = {each.appid: datacube.provider_for(each) for each in accounts(number)}
    end = FIRST + timedelta(days=days - 1)
    return Engine(
        Scope(providers, (INTERFACES["getarticlesummary"],), FIRST, end),
        Options(rate=1e6, wait=True),
        outside,
        [sink(f"jsonl:{folder}")],
        Ledger(folder / "ledger.sqlite"),
        **how,
    )


# each of these is a process of its own


async def in_memory(number: int, days: int, folder: Path) -> dict[str, Any]:
    """Look at a run in memory."""
    watch, started = Watch(number * days), time.perf_counter()
    async with engine(number, days, Outside(), folder, on_event=watch) as run:
        report = await run.run()
    assert report.state == "complete", report
    assert report.windows.done == number * days, report.windows
    return _told(watch, folder, started)


async def over_sockets(number: int, days: int, folder: Path, url: str) -> dict[str, Any]:
    """Look at a run over sockets."""
    watch, started = Watch(number * days), time.perf_counter()
    report = await harvester.run(
        accounts(number),
        "getarticlesummary",
        FIRST,
        FIRST + timedelta(days=days - 1),
        sink=f"jsonl:{folder}",
        base_url=url,
        rate=1e6,
        on_event=watch,
    )
    assert report.windows.done == number * days, report
    return _told(watch, folder, started)


def _told(watch: Watch, folder: Path, started: float) -> dict[str, Any]:
    ledger = sum(path.stat().st_size for path in folder.glob("ledger.sqlite*"))
    return {"looks": watch.looks, "ledger": ledger, "seconds": time.perf_counter() - started}


async def idle(number: int, folder: Path) -> dict[str, Any]:
    """What so many accounts hold that wait for midnight with a token in hand."""
    gc.collect()
    before = memory()
    stop, outside = asyncio.Event(), Outside(full=True)
    async with engine(number, 30, outside, folder, stop=stop) as run:
        running = asyncio.create_task(run.run())
        while outside.answered < number and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        gc.collect()
        held = memory() - before
        tasks = len(asyncio.all_tasks())
        stop.set()
        await running
    return {"held": held, "tasks": tasks}


def look(what: str, *given: object) -> dict[str, Any]:
    """What a fresh process tells of such a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.load", what, folder, *map(str, given)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


def _be_looked_at(what: str, folder: str, *given: str) -> None:
    number, days = int(given[0]), int(given[1])
    if what == "in_memory":
        told = asyncio.run(in_memory(number, days, Path(folder)))
    elif what == "over_sockets":
        told = asyncio.run(over_sockets(number, days, Path(folder), given[2]))
    else:
        told = asyncio.run(idle(number, Path(folder)))
    print(json.dumps(told))


# what is made of it


def _cost(looks: Sequence[Look]) -> float:
    """Units a window, in a stretch of a run."""
    spent = [
        (after.cpu - before.cpu) / (after.done - before.done) / (before.unit + after.unit) * 2
        for before, after in pairwise(looks)
    ]
    return statistics.median(spent)


def _at_most(name: str, value: float, unit: str, goal: float, gate: float) -> Figure:
    return Figure(f"load: {name}", value, unit, goal, gate, more_is_better=False)


def _flat(name: str, told: dict[str, Any]) -> list[Figure]:
    """Whether a run stayed as it was in its first fifth, in which connections are opened."""
    looks = [Look(*each) for each in told["looks"]]
    fifth, done = len(looks) // 5, looks[-1].done
    early, late = _cost(looks[: fifth + 1]), _cost(looks[-1 - fifth :])
    first, most = (Look(*map(max, zip(*part, strict=True))) for part in (looks[:fifth], looks))
    cpu = (looks[-1].cpu - looks[0].cpu) / (done - looks[0].done)
    curve = tuple((look.done, look.memory) for look in looks)
    return [
        _at_most(f"{name}, last windows, of the first's CPU", late / early, "", *COST),
        _at_most(f"{name}, growth of memory", most.memory - first.memory, "MB", *MEMORY),
        _at_most(f"{name}, more tasks", most.tasks - first.tasks, "tasks", *TASKS),
        _at_most(f"{name}, more open files", most.files - first.files, "files", *FILES),
        Figure(f"load: {name}, memory at the end", looks[-1].memory, "MB", points=curve),
        Figure(f"load: {name}, ledger", told["ledger"] / 1000, "kB"),
        Figure(f"load: {name}, CPU a window", cpu * 1e6, "µs"),
        Figure(f"load: {name}, windows a second", done / told["seconds"]),
    ]


def _lanes(number: int) -> list[Figure]:
    held = look("idle", number, 30)
    costs = []
    for lanes in (number, number // 100):
        told = look("in_memory", lanes, 3 * number // lanes)
        looks = [Look(*each) for each in told["looks"]]
        costs.append(_cost(looks[len(looks) // 2 :]))
    name = f"{number:,} lanes at once"
    return [
        _at_most(f"{name}, memory of an idle one", held["held"] / number * 1e3, "kB", *LANE),
        Figure(f"load: {name}, tasks", held["tasks"]),
        _at_most(f"{name}, of the CPU with {number // 100}", costs[0] / costs[1], "", *MANY),
    ]


def measure(windows: int = FEWER, sockets: int = FEWER_OVER_SOCKETS) -> list[Figure]:
    """The figures."""
    days = min(DAYS, sockets // 5)
    figures = _flat(f"{windows:,} in memory", look("in_memory", windows // DAYS, DAYS))
    with serving() as server:
        told = look("over_sockets", sockets // days, days, server.url)
    figures += _flat(f"{sockets:,} over sockets", told)
    return [*figures, *_lanes(LANES)]


if __name__ == "__main__":
    if sys.argv[1:]:
        _be_looked_at(*sys.argv[1:])
    else:
        show(measure(WINDOWS, SOCKET_WINDOWS))
