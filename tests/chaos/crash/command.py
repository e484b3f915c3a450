"""Kill a process at its durable steps, or a job at random moments, for every sink.

``python -m tests.chaos.crash --points all``, ``python -m tests.chaos.crash --kills 100``; for one
of them with ``--sink NAME``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

from tests.chaos.crash.kills import kill_often
from tests.chaos.crash.points import CORES, Drivers, Stage, clean_life, try_points
from tests.chaos.crash.sinks import SERVERS, SINKS

Tried = tuple[str, list[str]]
"""What was done, in words, and what was not as promised."""


def points(drivers: Drivers, stage: Stage, most: int | None) -> Tried:
    """Die at durable steps."""
    tried = try_points(drivers, stage, clean_life(drivers, stage), most)
    return f"{tried.steps} steps, {tried.points} points", tried.broken


def kills(drivers: Drivers, stage: Stage, number: int, seed: int) -> Tried:
    """Die at random moments."""
    with drivers.one() as one:
        tried = kill_often(one, stage, number, Random(f"{seed} {stage.sink}"))
    return f"{tried.kills} kills, {tried.windows} windows", tried.broken


def one_of(name: str, call: Callable[[Stage], Tried]) -> tuple[str, bool]:
    """What is to be said of a sink, and whether all was as promised."""
    with ExitStack() as stack:
        told = {}
        if kind := SINKS[name].server:
            server = SERVERS[kind]
            told = dict(server.environment(stack.enter_context(server.start())))
        started = time.monotonic()
        said, broken = call(Stage(name, told))
    verdict = "BROKEN" if broken else "every record once"
    line = f"{name:10} {said}, {time.monotonic() - started:.0f} s: {verdict}"
    return "\n  ".join([line, *broken]), not broken


def all_of(names: Sequence[str], call: Callable[[Stage], Tried]) -> int:
    """One line a sink, some of them side by side; gives whether something was not as promised."""
    failed = 0
    with ThreadPoolExecutor(CORES) as pool:
        for said, held in pool.map(lambda name: one_of(name, call), names):
            print(said, flush=True)
            failed += not held
    return bool(failed)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crash", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kills", type=int, metavar="N", help="kill one job so often")
    what.add_argument(
        "--points", nargs="?", const="20", metavar="N", help="die at so many steps, or at all"
    )
    parser.add_argument("--sink", action="append", choices=list(SINKS), help="only this one")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    given = parser.parse_args()
    names = given.sink or list(SINKS)
    with Drivers() as drivers:
        if given.kills is not None:
            return all_of(names, lambda stage: kills(drivers, stage, given.kills, given.seed))
        most = None if given.points == "all" else int(given.points)
        return all_of(names, lambda stage: points(drivers, stage, most))


if __name__ == "__main__":
    sys.exit(main())
