"""Crash points: which steps there are, and what becomes of a process that dies there.

Rule: a case is a list of deaths, one a process; after the last one somebody lives to the end.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Self

from harvester.ledger import FILE_NAME
from tests.crash.sinks import SINKS

_MEMORY = Path("/dev/shm")  # SIGKILL leaves what is in memory; only `power` needs a disk
ROOT = Path(__file__).parents[2]
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

    ledger: whether one is kept; loses: after the first death it is moved away.
    """

    deaths: tuple[Death, ...]
    torn: bool = False
    ledger: bool = True
    loses: bool = False

    def __str__(self) -> str:
        beside = [word for word, so in (("torn", self.torn), ("no ledger", not self.ledger),
                                        ("ledger lost", self.loses)) if so]  # fmt: skip
        return ", then ".join(map(str, self.deaths)) + "".join(f" ({word})" for word in beside)


class Outcome(NamedTuple):
    """steps: of the life that came to its end, how often each; broken: what was not as promised."""

    steps: dict[str, int]
    broken: list[str]


class Driver:
    """A process of `tests.crash.driver`, and a place for its cases."""

    def __init__(self, sink: str, place: Path, process: subprocess.Popen[str]) -> None:
        self._sink = sink
        self._place = place
        self._process = process
        self._cases = 0

    def live(self, case: Case) -> Outcome:
        """Let the processes of a case live and die, and look at what they leave."""
        self._cases += 1
        directory = self._place / str(self._cases) / "harvest"
        directory.parent.mkdir()
        told = directory.with_suffix(".told")
        first = 0
        try:
            for number, death in enumerate(case.deaths):
                status = self._one(directory, first, case, death)
                if status != KILLED:
                    return Outcome({}, [f"it should have been killed {death}, and ended {status}"])
                first = json.loads(told.read_text())["day"]
                if case.torn and (tear := SINKS[self._sink].tear) is not None:
                    tear(directory)
                if case.loses and not number:
                    for path in directory.glob(f"{FILE_NAME}*"):
                        path.unlink()
            status = self._one(directory, first, case, None)
            if status:
                return Outcome({}, [f"the last process ended {status}"])
            end = json.loads(told.read_text())
            return Outcome(end["steps"], end["broken"])
        finally:
            shutil.rmtree(directory.parent)

    def _one(self, directory: Path, first: int, case: Case, death: Death | None) -> int:
        asked = {
            "sink": self._sink,
            "directory": str(directory),
            "first": first,
            "kill": death,
            "ledger": case.ledger,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def driver(sink: str) -> Iterator[Driver]:
    """One, until the block ends."""
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as place,
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process,
    ):
        assert process.stdin is not None
        try:
            yield Driver(sink, Path(place), process)
        finally:
            process.stdin.close()


class Drivers:
    """As many as there are cores, so that cases run side by side."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._free: SimpleQueue[Driver] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for _ in range(CORES):
            self._free.put(self._stack.enter_context(driver(self._sink)))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def live(self, cases: Sequence[Case]) -> list[tuple[Case, Outcome]]:
        """All of them."""
        with ThreadPoolExecutor(CORES) as pool:
            return list(zip(cases, pool.map(self._one, cases), strict=True))

    def _one(self, case: Case) -> Outcome:
        one = self._free.get()
        try:
            return one.live(case)
        finally:
            self._free.put(one)


def deaths(steps: dict[str, int], each: int | None, seed: str) -> list[Death]:
    """Before and after each step; of one that is taken often, ``each`` of its times (None: all)."""
    draw = random.Random(seed)
    found = []
    for step, number in sorted(steps.items()):
        for done in (False, True):
            times = range(1, number + 1)
            chosen = times if each is None else draw.sample(times, min(each, number))
            found += [Death(step, one, done) for one in sorted(chosen)]
    return found
