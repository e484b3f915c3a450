"""Crash points: the durable steps, and the result of a process that is killed at each.

Rule: a case is a list of kills, one for each process; after the last one a process runs to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any, NamedTuple, Self

from harvester.ledger import FILE_NAME
from tests.chaos.crash.power import Disk
from tests.chaos.crash.sinks import SINKS

_MEMORY = Path("/dev/shm")  # SIGKILL leaves what is in memory; only `power` needs a disk
ROOT = Path(__file__).parents[3]
CORES = 2
KILLED = -9


class Death(NamedTuple):
    """At which step, the how manieth of its name, before it or once it has been taken."""

    step: str
    number: int
    done: bool

    def __str__(self) -> str:
        return f"{'after' if self.done else 'before'} {self.step} #{self.number}"


class Case(NamedTuple):
    """Deaths in turn; torn: what was written last is left in its midst.

    ledger: whether one is kept.  loses, damages: after the first death it is gone, or is damaged,
    and made anew from what is stored.  power: each death is a power cut; what becomes of what was
    not synced is drawn from this seed, with 0 all of it is lost.  careless: functions of `durable`
    that do nothing, to see that it is found.
    """

    deaths: tuple[Death, ...]
    torn: bool = False
    ledger: bool = True
    loses: bool = False
    damages: bool = False
    power: int | None = None
    careless: tuple[str, ...] = ()

    def __str__(self) -> str:
        beside = {"torn": self.torn, "no ledger": not self.ledger, "ledger lost": self.loses}
        words = [word for word, so in {**beside, "ledger damaged": self.damages}.items() if so]
        words += [] if self.power is None else [f"power {self.power}"]
        return ", then ".join(map(str, self.deaths)) + "".join(f" ({word})" for word in words)


class Outcome(NamedTuple):
    """steps: of the life that came to its end, how often each; broken: what was not as promised."""

    steps: dict[str, int]
    broken: list[str]


Lived = list[tuple[Case, Outcome]]


class Stage(NamedTuple):
    """Where a case is played: the sink's name, and what the processes are told of its server."""

    sink: str
    environment: Mapping[str, str] = {}


class Driver:
    """A process of `tests.chaos.crash.driver`, and a place for its cases."""

    def __init__(self, place: Path, process: subprocess.Popen[str]) -> None:
        self._place = place
        self._process = process
        self._cases = 0

    def live(self, stage: Stage, case: Case) -> Outcome:
        """Let the processes of a case live and die, and look at what they leave."""
        with self.scene(stage, case) as scene:
            scene.begin()
            for number, death in enumerate(case.deaths):
                status = self.one(scene.told_to_a_process(death))
                if status != KILLED:
                    return Outcome({}, [f"it should have been killed {death}, and ended {status}"])
                scene.after(number)
            status = self.one(scene.told_to_a_process(None))
            if status:
                return Outcome({}, [f"the last process ended {status}"])
            return Outcome(scene.end["steps"], scene.end["broken"])

    @contextmanager
    def scene(self, stage: Stage, case: Case) -> Iterator[Scene]:
        """A place for a case, until the block ends."""
        self._cases += 1
        scene = Scene(self._place / str(self._cases), stage, case)
        try:
            yield scene
        finally:
            scene.clear()

    def one(self, asked: dict[str, Any]) -> int:
        """A process lives, until it dies or to its end; gives how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Scene:
    """Where a case is lived, and what happens there between a death and the next life."""

    def __init__(self, place: Path, stage: Stage, case: Case) -> None:
        self._place = place
        self._stage = stage
        self._case = case
        self._directory = place / "world" / "harvest"
        self._disk = Disk(place / "world", place / "kept") if case.power is not None else None
        self._draw = Random(case.power) if case.power else None

    def begin(self) -> None:
        """Nobody has lived here yet."""
        self._directory.parent.mkdir(parents=True)
        if self._case.careless:  # else it is lost with all that is in it, which is no harm
            self._directory.mkdir()
        if self._disk is not None:
            self._disk.begin()

    def told_to_a_process(self, death: Death | None) -> dict[str, Any]:
        """What it must know; death: which one it dies."""
        powered = self._disk is not None and death is not None
        return {
            "directory": str(self._directory),
            "told": str(self._place / "told"),
            "sink": self._stage.sink,
            "kill": death,
            "environment": {
                **self._stage.environment,
                **(self._disk.environment() if self._disk and powered else {}),
            },
            "first": self.end["day"],
            "ledger": self._case.ledger,
            "careless": self._case.careless,
        }

    def after(self, number: int) -> None:
        """The process has died its how manieth death."""
        if self._disk is not None:
            self._disk.cut(self._draw)
            self._disk.begin()
        tear = SINKS[self._stage.sink].tear
        if self._case.torn and tear is not None:
            tear(self._directory)
        if self._case.loses and not number:
            for path in self._directory.glob(f"{FILE_NAME}*"):
                path.unlink()
        if self._case.damages and not number:
            damage(self._directory / FILE_NAME)

    @property
    def end(self) -> dict[str, Any]:
        """How far the last process came: the day that it lived, and at its end what it saw."""
        told = self._place / "told"
        found: dict[str, Any] = json.loads(told.read_text()) if told.exists() else {"day": 0}
        return found

    def clear(self) -> None:
        """Nothing is left."""
        shutil.rmtree(self._place)


def damage(ledger: Path) -> None:
    """A bit in its first bytes has turned over."""
    if not ledger.exists():
        return
    with closing(sqlite3.connect(ledger)) as database:  # else its log may hold the same bytes
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(ledger.read_bytes())
    if content:
        content[3] ^= 0x10
        ledger.write_bytes(content)


@contextmanager
def driver(preload: Path | None) -> Iterator[Driver]:
    """One, until the block ends; preload: a library that it is started with."""
    environment = {**os.environ, "LD_PRELOAD": str(preload)} if preload else None
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as place,
        subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.crash.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        ) as process,
    ):
        assert process.stdin is not None
        try:
            yield Driver(Path(place), process)
        finally:
            process.stdin.close()


class Drivers:
    """As many as there are cores, so that cases run side by side."""

    def __init__(self, preload: Path | None = None) -> None:
        self._preload = preload
        self._free: SimpleQueue[Driver] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for _ in range(CORES):
            self._free.put(self._stack.enter_context(driver(self._preload)))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def live(self, stage: Stage, cases: Sequence[Case]) -> Lived:
        """All of them."""
        with ThreadPoolExecutor(CORES) as pool:
            lived = pool.map(lambda case: self._one(stage, case), cases)
            return list(zip(cases, lived, strict=True))

    @contextmanager
    def one(self) -> Iterator[Driver]:
        """One of them, until the block ends."""
        taken = self._free.get()
        try:
            yield taken
        finally:
            self._free.put(taken)

    def _one(self, stage: Stage, case: Case) -> Outcome:
        with self.one() as one:
            return one.live(stage, case)


def deaths(steps: Mapping[str, int], most: int | None, seed: str) -> list[Death]:
    """Before and after each step, each time that it is taken; or ``most`` of all that, drawn.

    A step that is taken once is drawn as often as one that is taken a hundred times.
    """
    if most is None:
        return [
            Death(step, number, done)
            for step, times in sorted(steps.items())
            for number in range(1, times + 1)
            for done in (False, True)
        ]
    draw = Random(seed)
    kinds = [(step, done) for step in sorted(steps) for done in (False, True)]
    draw.shuffle(kinds)
    turns = islice(cycle(kinds), most) if kinds else ()
    return sorted({Death(step, draw.randint(1, steps[step]), done) for step, done in turns})


def broken(lived: Lived) -> list[str]:
    """What was not as promised, and in which case."""
    return [f"{case}: {sentence}" for case, outcome in lived for sentence in outcome.broken[:3]]


def clean_life(drivers: Drivers, stage: Stage, *, ledger: bool = True) -> dict[str, int]:
    """The steps of a life that nothing ends."""
    [(case, outcome)] = drivers.live(stage, [Case((), ledger=ledger)])
    assert not outcome.broken, broken([(case, outcome)])
    return outcome.steps


def live_again(
    drivers: Drivers, stage: Stage, first: Lived, steps: Collection[str], most: int | None
) -> tuple[Lived, set[str]]:
    """Die once more, at steps that only a process takes that finds what a dead one has left.

    steps: those that are known.  Gives these lives, and the names of the new steps.
    """
    new: dict[str, Case] = {}
    for case, outcome in first:
        for step in outcome.steps.keys() - steps:
            new.setdefault(step, case)
    chosen = deaths(dict.fromkeys(new, 1), most, stage.sink)
    cases = [new[death.step]._replace(deaths=(*new[death.step].deaths, death)) for death in chosen]
    return drivers.live(stage, cases), set(new)


class Tried(NamedTuple):
    """steps: how many kinds there are; points: at how many points a process died."""

    steps: int
    points: int
    broken: list[str]


def try_points(drivers: Drivers, stage: Stage, steps: Mapping[str, int], most: int | None) -> Tried:
    """Kill a process at each point, or at so many that are drawn; then one that finds that."""
    chosen = deaths(steps, most, stage.sink)
    first = drivers.live(stage, [Case((death,)) for death in chosen])
    second, new = live_again(drivers, stage, first, steps, most)
    lived = first + second
    return Tried(len(steps.keys() | new), len(lived), broken(lived))
