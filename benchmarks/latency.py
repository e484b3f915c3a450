"""Measure how late a timer of an application is while a run goes on in its event loop.

Fifty accounts are harvested at full speed into each sink, with a ledger.  Beside the run a task
sleeps for 10 ms again and again; it is late by what it slept longer.  On a machine that others use,
too, the system itself makes it late.  So the gates are on CPU time: the run makes a timer late by
no more than what the process, all threads, has computed meanwhile; and a turn of the loop holds it
for what the loop's thread has computed.  Both are divided by the pace of the machine, as other
costs without a contender are.

A small run comes first: what the first run of a process imports belongs to no other.  The objects
that are there then are frozen (`gc.freeze`), as docs/performance.md advises an application.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import tempfile
import time
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import harvester
from benchmarks.figures import Figure, pace
from benchmarks.server import RECORDS, serving
from benchmarks.servers import MissingError
from benchmarks.sinks import KINDS

ACCOUNTS, DAYS, MANY_DAYS = 50, 600, 2_000
TICK = 0.01
FIRST = date(2015, 1, 1)
SINKS = ("jsonl", "sqlite", "postgresql")
GOAL, GOAL_OF_ALL = 20.0, 50.0
"""Milliseconds by which a timer may be late: of 99.9 % of the timers, and of all."""


class Turns(NamedTuple):
    """What happened to the loop, in seconds.

    late: of each timer by the clock.  computed: of it at most what the process computed meanwhile.
    held: CPU of the thread in each turn.
    """

    late: list[float]
    computed: list[float]
    held: list[float]


class _Selector(selectors.DefaultSelector):
    """Notes the CPU time of the thread between two waits for events."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[float] = []
        self._since = time.thread_time()

    def select(self, timeout: float | None = None) -> Any:
        self.held.append(time.thread_time() - self._since)
        try:
            return super().select(timeout)
        finally:
            self._since = time.thread_time()


async def _tick(late: list[float], computed: list[float]) -> None:
    while True:
        cpu, due = time.process_time(), time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - due)
        computed.append(min(late[-1], time.process_time() - cpu))


async def _run(url: str, sink: str, ledger: str | None, days: int, found: Turns) -> None:
    ticking = asyncio.create_task(_tick(found.late, found.computed))
    try:
        report = await harvester.run(
            [harvester.Account(f"wx{n:016x}", secret="practice") for n in range(1, ACCOUNTS + 1)],
            "getarticlesummary",
            FIRST,
            FIRST + timedelta(days=days - 1),
            sink=sink,
            ledger=ledger,
            base_url=url,
            rate="1000000/s",
        )
    finally:
        ticking.cancel()
    report.raise_for_state()
    assert report.records == RECORDS * ACCOUNTS * days, "missing records"


def turns(url: str, sink: str, ledger: str | None, days: int) -> Turns:
    """What a run does to the loop that it shares."""
    selector = _Selector()
    found = Turns([], [], selector.held)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(_run(url, sink, ledger, days, found))
    return found


def _of(values: list[float], share: float) -> float:
    """The value, in milliseconds, that this share of them does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1e3


def _measure(name: str, days: int) -> list[Figure]:
    kind = KINDS[name]
    with ExitStack() as stack:
        server = stack.enter_context(kind.server()) if kind.server else ""
        made = stack.enter_context(serving(apart=True))

        def measured(days: int) -> Turns:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            ledger = None if server else str(folder / "ledger.sqlite")
            return turns(made.url, kind.spec.format(kind.place(server, folder)), ledger, days)

        first = measured(1)
        gc.collect()
        gc.freeze()
        before = pace()
        found = measured(days)
        paced = 2 / (before + pace())
        gc.unfreeze()
    what = f"latency, {name}:"
    return [
        Figure(f"{what} the run makes 99.9 % of timers late by", paced * _of(found.computed, 0.999),
               "ms of CPU", GOAL, more_is_better=False),
        Figure(f"{what} the run makes the latest timer late by", paced * max(found.computed) * 1e3,
               "ms of CPU", GOAL_OF_ALL, more_is_better=False),
        Figure(f"{what} the longest turn of the loop", paced * max(found.held) * 1e3, "ms of CPU",
               GOAL_OF_ALL, more_is_better=False),
        Figure(f"{what} 99.9 % of timers are late by", _of(found.late, 0.999), "ms"),
        Figure(f"{what} the latest timer is late by", max(found.late) * 1e3, "ms"),
        Figure(f"{what} the longest turn of a first run", max(first.held) * 1e3, "ms of CPU"),
    ]  # fmt: skip


def measure(*, full: bool = False) -> list[Figure]:
    """Measure the sinks whose driver and server are here."""
    figures: list[Figure] = []
    for name in SINKS:
        try:
            figures += _measure(name, MANY_DAYS if full else DAYS)
        except (ImportError, MissingError) as exc:
            print(f"not measured: {name}: {exc}", flush=True)
    return figures
