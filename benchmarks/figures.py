"""A measured figure with its goal and gate; paired rounds; a process of its own.

Rule: nothing here knows harvester.
"""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    goal: what it should be; None: the figure is for information only.
    reached: what it is today, where that misses the goal.
    tolerance: how much worse than the goal, or than what is reached, the gate lets it be.
    """

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    reached: float | None = None
    more_is_better: bool = True
    tolerance: float = 0.10

    @property
    def gate(self) -> float | None:
        """What it must be."""
        base = self.goal if self.reached is None else self.reached
        if base is None:
            return None
        return base * (1 - self.tolerance if self.more_is_better else 1 + self.tolerance)

    @property
    def holds(self) -> bool:
        """Whether it passes its gate."""
        return self._passes(self.gate)

    @property
    def verdict(self) -> str:
        """The result in a few words."""
        if not self.holds:
            return "MISSES THE GATE"
        if self.goal is None:
            return "for information"
        return "meets the goal" if self._passes(self.goal) else "within the gate"

    def _passes(self, bound: float | None) -> bool:
        if bound is None:
            return True
        return self.value >= bound if self.more_is_better else self.value <= bound

    def _bound(self, bound: float | None) -> str:
        return "" if bound is None else f"{'>=' if self.more_is_better else '<='} {bound:.3g}"

    def __str__(self) -> str:
        value = f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.3g}"
        return (
            f"{self.name:<66} {value:>8} {self.unit:<4}"
            f" {self._bound(self.goal):>9} {self._bound(self.gate):>9}  {self.verdict}"
        )


HEADER = f"{'figure':<66} {'value':>8} {'':<4} {'goal':>9} {'gate':>9}  verdict"


def as_json(environment: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The figures, and the machine and versions that they hold for."""
    rows = [{**asdict(each), "gate": each.gate, "verdict": each.verdict} for each in figures]
    report = {"environment": environment, "figures": rows}
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


class Spent(NamedTuple):
    """Seconds by the clock, and of CPU of all threads of this process."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Spent:
    """Do the work and return the time that it took."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


PACE = 0.0137
"""CPU seconds of `_yardstick` on the machine on which the goals in µs were set."""


def pace() -> float:
    """How many times longer this machine takes now than the one of the goals in µs.

    A cost in µs is divided by it: machines differ by half, and by their other guests, too.
    """
    taken = []
    for _ in range(3):
        began = time.process_time()
        _yardstick()
        taken.append(time.process_time() - began)
    return statistics.median(taken) / PACE


def _yardstick() -> int:
    """Some of what an interpreter does all day: tuples, a dict, numbers, text."""
    counts, letters = dict.fromkeys(range(400), 0), 0
    for number in range(60_000):
        row = (number, number % 400, "wx", number * 7)
        counts[row[1]] += row[3] & 255
        letters += len(f"{row[2]}{row[0]}")
    return letters


def best_of(measurements: Sequence[Sequence[Figure]]) -> list[Figure]:
    """The best value of each figure: what disturbs a measurement makes it worse."""
    return [
        (max if same[0].more_is_better else min)(same, key=lambda figure: figure.value)
        for same in zip(*measurements, strict=True)
    ]


def take_turns(contenders: Mapping[K, Callable[[], Spent]], rounds: int) -> dict[K, Spent]:
    """Let all contenders take a turn a round, in random order, and return their medians.

    The first round warms up and is not counted.
    """
    taken: dict[K, list[Spent]] = {name: [] for name in contenders}
    random = Random(1)
    for number in range(rounds + 1):
        for name in random.sample([*contenders], len(contenders)):
            spent = contenders[name]()
            if number:
                taken[name].append(spent)
    return {
        name: Spent(*map(statistics.median, zip(*turns, strict=True)))
        for name, turns in taken.items()
    }


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function in a process of its own, and return what it returns."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as executor:
        return executor.submit(function, *args, **kwargs).result()


def peak_memory() -> float:
    """The most memory that this process ever had, in MB."""
    with contextlib.suppress(OSError):  # Linux hands the parent's peak down in ru_maxrss
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
