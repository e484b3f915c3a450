"""Where the microseconds of a window go, by stage.

A run over sockets as in `throughput.py`, with a clock around each stage, put there from outside:
the product does not know of it.  A stage that runs within another one is taken from that one; a
coroutine counts while it runs, not while it waits; what the clock itself takes is measured first
and taken off.

Stages are named after the rooms.  "plan" is all of what is asked next: board, lane, track, dates.
"transport" is the request over aiohttp's pool and parser, with the kernel's part in sending.  What
remains of the loop's thread when all of them are taken off is the loop itself, and the kernel's
part in receiving.  Sink and ledger work in threads of their own, which are counted with them.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp.client_proto import ResponseHandler

import harvester.answer
import harvester.pipeline
from benchmarks.figures import Figure, show
from benchmarks.server import serving
from benchmarks.throughput import REQUESTS, Contenders, fetch_tokens, one_round
from harvester.auth import SharedToken
from harvester.board import Board
from harvester.channel import Channel
from harvester.committer import Committer
from harvester.endpoint import JsonEndpoint
from harvester.engine import Engine
from harvester.ledger import Ledger
from harvester.limiter import Limiter
from harvester.pipeline import Pipeline
from harvester.sinks.jsonl import JsonLines
from harvester.thread import Thread
from harvester.transport import HttpTransport

ROUNDS = 5
LOOP = "loop"
STAGES = (
    "plan",
    "limiter",
    "token",
    "build",
    "transport",
    "classify",
    "decode",
    "encode",
    "hand-over",
    "sink",
    "ledger",
    "events",
    "engine",
    LOOP,
)

WATCHED: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("plan", Board, ("take", "settled")),
    ("limiter", Limiter, ("ready", "depart", "delay")),
    ("token", SharedToken, ("peek", "due", "accept")),
    ("build", JsonEndpoint, ("request",)),
    ("transport", HttpTransport, ("send",)),
    ("transport", ResponseHandler, ("data_received",)),
    ("classify", JsonEndpoint, ("verdict",)),
    ("decode", harvester.answer, ("parse",)),
    ("encode", harvester.pipeline, ("body_of", "metadata")),
    ("hand-over", Channel, ("put", "collect")),
    ("hand-over", Committer, ("run", "harvested")),
    ("sink", JsonLines, ("write", "settle")),
    ("ledger", Ledger, ("commit",)),
    ("events", Engine, ("_emit",)),
    ("engine", Engine, ("_work",)),
    ("engine", Pipeline, ("run",)),
)
IN_THREADS = (("sink", JsonLines), ("ledger", Ledger))

_now = time.thread_time_ns


class Clock:
    """Nanoseconds of the loop's thread by stage.

    calls, steps: of a stage, plain and as a coroutine; around: of those that run within it.
    """

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self.around: Counter[str] = Counter()
        self.around_steps: Counter[str] = Counter()
        self._within = [LOOP]
        self._since = _now()

    def enter(self, stage: str) -> None:
        """The stage begins to run; the one around it stands still."""
        now, outer = _now(), self._within[-1]
        self.spent[outer] += now - self._since
        self.around[outer] += 1
        self.calls[stage] += 1
        self._within.append(stage)
        self._since = _now()

    def enter_step(self, stage: str) -> None:
        """The same of a coroutine."""
        now, outer = _now(), self._within[-1]
        self.spent[outer] += now - self._since
        self.around_steps[outer] += 1
        self.steps[stage] += 1
        self._within.append(stage)
        self._since = _now()

    def leave(self) -> None:
        """It has ended, or waits; the one around it goes on."""
        now = _now()
        self.spent[self._within.pop()] += now - self._since
        self._since = _now()

    def stop(self) -> None:
        """Nothing more counts."""
        self.leave()

    def net(self, cost: Cost) -> dict[str, float]:
        """By stage, without what the clock takes."""
        return {
            stage: spent
            - self.calls[stage] * cost.call
            - self.steps[stage] * cost.step
            - self.around[stage] * cost.around_call
            - self.around_steps[stage] * cost.around_step
            for stage, spent in self.spent.items()
        }


class Cost(NamedTuple):
    """Nanoseconds that it adds to a stage, and to the one around it, at each call or step."""

    call: float
    step: float
    around_call: float
    around_step: float


class _Steps:
    """An awaitable whose steps are counted one by one."""

    def __init__(self, clock: Clock, stage: str, inner: Coroutine[Any, Any, Any]) -> None:
        self._clock = clock
        self._stage = stage
        self._inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        clock, stage = self._clock, self._stage
        step: Callable[[Any], Any] = self._inner.send
        value: Any = None
        while True:
            clock.enter_step(stage)
            try:
                waited = step(value)
            except StopIteration as done:
                return done.value
            finally:
                clock.leave()
            try:
                value = yield waited
                step = self._inner.send
            except BaseException as exc:  # noqa: BLE001  (it is thrown on)
                value, step = exc, self._inner.throw


def _timed(clock: Clock, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, under the clock."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        clock.enter(stage)
        try:
            made = function(*args, **kwargs)
        finally:
            clock.leave()
        return made

    @functools.wraps(function)
    async def steps(*args: Any, **kwargs: Any) -> Any:
        return await _Steps(clock, stage, function(*args, **kwargs))

    return steps if asyncio.iscoroutinefunction(function) else call


@contextmanager
def watching(clock: Clock) -> Iterator[Clock]:
    """All stages under this clock until the block ends."""
    with ExitStack() as stack:
        for stage, owner, names in WATCHED:
            for name in names:
                function = getattr(owner, name)
                setattr(owner, name, _timed(clock, stage, function))
                stack.callback(setattr, owner, name, function)
        yield clock


@contextmanager
def _threads() -> Iterator[Counter[str]]:
    """Nanoseconds of CPU of the threads, by the class whose function they run."""
    spent: Counter[str] = Counter()
    call = Thread.call

    async def counted(self: Thread, function: Callable[..., Any], *args: Any, **how: Any) -> Any:
        owner = type(getattr(function, "__self__", None)).__name__

        def run() -> Any:
            started = time.thread_time_ns()
            try:
                return function(*args, **how)
            finally:
                spent[owner] += time.thread_time_ns() - started

        return await call(self, run)

    Thread.call = counted  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Thread.call = call  # type: ignore[method-assign]


NUMBER = 10_000


def _nothing() -> None:
    """What a stage does that is watched for what the watching takes."""


async def _nothing_later() -> None:
    """The same as a coroutine."""


async def _calls(function: Callable[[], Any]) -> None:
    for _ in range(NUMBER):
        function()


async def _awaits(function: Callable[[], Any]) -> None:
    for _ in range(NUMBER):
        await function()


async def _cost() -> Cost:
    """What the clock takes, found on functions that do nothing."""
    clock = Clock()
    await _timed(clock, "calls", _calls)(_nothing)
    await _timed(clock, "awaits", _awaits)(_nothing_later)
    await _timed(clock, "watched calls", _calls)(_timed(clock, "call", _nothing))
    await _timed(clock, "watched awaits", _awaits)(_timed(clock, "step", _nothing_later))
    spent = {name: spent / NUMBER for name, spent in clock.spent.items()}
    return Cost(
        spent["call"],
        spent["step"],
        spent["watched calls"] - spent["calls"],
        spent["watched awaits"] - spent["awaits"],
    )


async def _round(contenders: Contenders) -> dict[str, float]:
    """Microseconds a window by stage, in one run."""
    spent: dict[str, float] = {}

    async def watched(folder: Path) -> None:
        with _threads() as threads, watching(Clock()) as clock:
            await contenders.harvester(folder)
            clock.stop()
        spent.update(clock.net(await _cost()))
        for stage, owner in IN_THREADS:
            spent[stage] += threads[owner.__name__]

    await one_round(watched)
    return {stage: spent[stage] / REQUESTS / 1e3 for stage in STAGES}


async def _rounds(base_url: str, rounds: int) -> tuple[dict[str, float], float]:
    contenders = Contenders(base_url, await fetch_tokens(base_url))
    await one_round(contenders.harvester)
    found, plain = [], []
    for _ in range(rounds):
        found.append(await _round(contenders))
        plain.append((await one_round(contenders.harvester))[1] / REQUESTS * 1e6)
    budget = {stage: statistics.median(each[stage] for each in found) for stage in STAGES}
    return budget, statistics.median(plain)


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """The figures."""
    with serving() as server:
        budget, plain = asyncio.run(_rounds(server.url, rounds))
    return [
        *(Figure(f"stages: {stage}, a window", budget[stage], "µs") for stage in STAGES),
        Figure("stages: all of them", sum(budget.values()), "µs"),
        Figure("stages: a window without the clocks, CPU", plain, "µs"),
    ]


if __name__ == "__main__":
    show(measure())
