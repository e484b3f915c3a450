"""Kill a process at its durable steps, or a job at random moments, for every sink.

``python -m tests.chaos.crash --points all``, ``python -m tests.chaos.crash --kills 100``; for one
of them with ``--sink NAME``.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.chaos.crash.points import CORES, Drivers, Stage, clean_life, kill_often, try_points
from tests.chaos.crash.sinks import SERVERS, SINKS


def main() -> int:
    """Read the command line, and give a line for each sink, some of them side by side."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crash", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kills", type=int, metavar="N", help="kill one job so often")
    what.add_argument(
        "--points", nargs="?", const="20", metavar="N", help="die at so many steps, or at all"
    )
    parser.add_argument("--sink", action="append", choices=list(SINKS), help="only this one")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    given = parser.parse_args()

    def one_of(name: str) -> bool:
        with ExitStack() as stack:
            told = {}
            if kind := SINKS[name].server:
                server = SERVERS[kind]
                told = dict(server.environment(stack.enter_context(server.start())))
            stage, started = Stage(name, told), time.monotonic()
            if given.kills is not None:
                tried = kill_often(drivers, stage, given.kills, f"{given.seed} {name}")
            else:
                most = None if given.points == "all" else int(given.points)
                tried = try_points(drivers, stage, clean_life(drivers, stage), most)
        verdict = "BROKEN" if tried.broken else "every record once"
        line = f"{name:10} {tried.said}, {time.monotonic() - started:.0f} s: {verdict}"
        print("\n  ".join([line, *tried.broken]), flush=True)
        return not tried.broken

    with Drivers() as drivers, ThreadPoolExecutor(CORES) as pool:
        return not all([*pool.map(one_of, given.sink or SINKS)])


if __name__ == "__main__":
    sys.exit(main())
