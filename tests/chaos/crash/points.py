"""Crash points: the durable steps, and the result of a process that is killed at each.

Rule: a case is a list of kills, one for each process; after the last one a process runs to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any, NamedTuple, Self

from harvester.ledger import FILE_NAME
from tests.chaos.crash.job import DAYS, windows
from tests.chaos.crash.power import Disk
from tests.chaos.crash.sinks import SINKS
from tests.chaos.forks import KILLED, Forks

_MEMORY = Path("/dev/shm")  # SIGKILL leaves what is in memory; only `power` needs a disk
CORES = 2


class Death(NamedTuple):
    """At which step, the how manieth of its name, before it or once it has been taken."""

    step: str
    number: int
    done: bool


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
    """What makes the processes of cases, and a place for them."""

    def __init__(self, place: Path, forks: Forks) -> None:
        self._place = place
        self._forks = forks
        self._cases = 0

    def live(self, stage: Stage, case: Case) -> Outcome:
        """Let the processes of a case live and die, and look at what they leave."""
        with self.scene(stage, case) as scene:
            for number, death in enumerate(case.deaths):
                status = scene.run(death)
                if status != KILLED:
                    return Outcome({}, [f"it should have been killed {death}, and ended {status}"])
                scene.after(number)
            return scene.lived()

    @contextmanager
    def scene(self, stage: Stage, case: Case) -> Iterator[Scene]:
        """A place for a case, until the block ends."""
        self._cases += 1
        place = self._place / str(self._cases)
        try:
            yield Scene(place, self._forks, stage, case)
        finally:
            shutil.rmtree(place)


class Scene:
    """Where a case is lived, and what happens there between a death and the next life."""

    def __init__(self, place: Path, forks: Forks, stage: Stage, case: Case) -> None:
        self._place = place
        self._forks = forks
        self._stage = stage
        self._case = case
        self._directory = place / "world" / "harvest"
        self._disk = Disk(place / "world", place / "kept") if case.power is not None else None
        self._draw = Random(case.power) if case.power else None
        self._directory.parent.mkdir(parents=True)
        if case.careless:  # else it is lost with all that is in it, which is no harm
            self._directory.mkdir()
        if self._disk is not None:
            self._disk.begin()

    def run(
        self, death: Death | None = None, life: str = "live", kill_after: float | None = None
    ) -> int | None:
        """A process lives, until it dies or to its end; gives how it ended."""
        powered = self._disk.environment() if self._disk and death else {}
        job = {
            "life": life,
            "directory": str(self._directory),
            "told": str(self._place / "told"),
            "sink": self._stage.sink,
            "kill": death,
            "environment": {**self._stage.environment, **powered},
            "first": self._end["day"],
            "ledger": self._case.ledger,
            "careless": self._case.careless,
        }
        return self._forks.run(job, kill_after)

    def lived(self, life: str = "live") -> Outcome:
        """A process lives to its end; gives what it saw there."""
        status = self.run(life=life)
        if status:
            return Outcome({}, [f"the process that was to end by itself ended {status}"])
        return Outcome(self._end.get("steps", {}), self._end["broken"])

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
    def _end(self) -> dict[str, Any]:
        """How far the last process came: the day that it lived, and at its end what it saw."""
        told = self._place / "told"
        found: dict[str, Any] = json.loads(told.read_text()) if told.exists() else {"day": 0}
        return found


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


class Drivers:
    """As many as there are cores, so that cases run side by side.

    preload: a library that their processes are started with.
    """

    def __init__(self, preload: Path | None = None) -> None:
        self._environment = {**os.environ, "LD_PRELOAD": str(preload)} if preload else None
        self._free: SimpleQueue[Driver] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        for _ in range(CORES):
            memory = _MEMORY if _MEMORY.is_dir() else None
            place = Path(enter(tempfile.TemporaryDirectory(dir=memory)))
            forks = enter(Forks("tests.chaos.crash.driver", self._environment))
            self._free.put(Driver(place, forks))
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
    """What was done, in words, and what was not as promised."""

    said: str
    broken: list[str]


def try_points(drivers: Drivers, stage: Stage, steps: Mapping[str, int], most: int | None) -> Tried:
    """Kill a process at each point, or at so many that are drawn; then one that finds that."""
    chosen = deaths(steps, most, stage.sink)
    first = drivers.live(stage, [Case((death,)) for death in chosen])
    second, new = live_again(drivers, stage, first, steps, most)
    lived = first + second
    return Tried(f"{len(steps.keys() | new)} steps, {len(lived)} points", broken(lived))


LONGEST = 1.3
"""A process that is killed at a random moment lives so much longer than a day's run, at most."""


def kill_often(drivers: Drivers, stage: Stage, kills: int, seed: str) -> Tried:
    """Kill a job so often at random moments, let it come to its end, and compare with the truth.

    After each kill every record that the ledger calls stored must be there.
    """
    draw = Random(seed)
    with drivers.one() as driver:
        with driver.scene(stage, Case(())) as scene:
            started = time.monotonic()
            assert not (wrong := scene.lived().broken), wrong
            most = LONGEST * (time.monotonic() - started) / len(DAYS)
        with driver.scene(stage, Case(())) as scene:
            wrong = []
            for number in range(1, kills + 1):
                status = scene.run(life="toil", kill_after=draw.uniform(0.0, most))
                if status != KILLED:
                    wrong.append(f"kill {number}: the process ended {status} by itself")
                wrong += [f"kill {number}: {each}" for each in scene.lived("look").broken[:3]]
                if wrong:
                    break
            else:
                wrong += scene.lived().broken[:3]
    return Tried(f"{number} kills, {sum(1 for _ in windows())} windows", wrong)
