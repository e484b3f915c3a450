"""Kill a process at its durable steps, or a job at random moments, for every sink.

``python -m tests.crash --points all`` and ``python -m tests.crash --kills 100``; for one of them
with ``--sink NAME``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random

from tests.crash.kills import kill_often
from tests.crash.points import Drivers, Stage, clean_life, try_points
from tests.crash.sinks import SERVERS, SINKS

Tried = tuple[str, list[str]]
"""What was done, in words, and what was not as promised."""


def points(stage: Stage, most: int | None) -> Tried:
    """Die at durable steps."""
    with Drivers() as drivers:
        steps = clean_life(drivers, stage)
        tried = try_points(drivers, stage, steps, most)
    return f"{tried.steps} steps, {tried.points} points", tried.broken


def kills(stage: Stage, number: int, seed: int) -> Tried:
    """Die at random moments."""
    with Drivers() as drivers, drivers.one() as one:
        tried = kill_often(one, stage, number, Random(f"{seed} {stage.sink}"))
    return f"{tried.kills} kills, {tried.windows} windows", tried.broken


def all_of(names: Sequence[str], call: Callable[[Stage], Tried]) -> int:
    """One line a sink; gives whether something was not as promised."""
    failed = 0
    for name in names:
        with ExitStack() as stack:
            told = {}
            if kind := SINKS[name].server:
                server = SERVERS[kind]
                told = dict(server.environment(stack.enter_context(server.start())))
            started = time.monotonic()
            said, broken = call(Stage(name, told))
        verdict = "BROKEN" if broken else "every record once"
        print(f"{name:10} {said}, {time.monotonic() - started:.0f} s: {verdict}", flush=True)
        for sentence in broken:
            print(f"  {sentence}")
        failed += bool(broken)
    return bool(failed)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kills", type=int, metavar="N", help="kill one job so often")
    what.add_argument(
        "--points", nargs="?", const="20", metavar="N", help="die at so many steps, or at all"
    )
    parser.add_argument("--sink", action="append", choices=list(SINKS), help="only this one")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    given = parser.parse_args()
    names = given.sink or list(SINKS)
    if given.kills is not None:
        return all_of(names, lambda stage: kills(stage, given.kills, given.seed))
    most = None if given.points == "all" else int(given.points)
    return all_of(names, lambda stage: points(stage, most))


if __name__ == "__main__":
    sys.exit(main())
