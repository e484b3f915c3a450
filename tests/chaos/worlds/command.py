"""Run worlds: ``python -m tests.chaos.worlds --worlds 2000``.

``--seed N`` replays one of them and prints all that happens.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from typing import NamedTuple

from tests.chaos.worlds.planted import PLANTED, hunt
from tests.chaos.worlds.world import World


class Life(NamedTuple):
    """What became of a world."""

    seed: int
    runs: int
    crashes: int
    broken: list[str]


def _begin() -> None:
    """Leave what stands there before the first world alone when one is forgotten."""
    gc.collect()
    gc.freeze()


def live(seed: int) -> Life:
    """Live one world."""
    world = World(seed)
    broken = world.live()
    return Life(seed, world.runs, world.crashes, broken)


def replay(seed: int) -> int:
    """Live one world and print what happens in it."""
    broken = World(seed, print).live()
    for sentence in broken:
        print(f"BROKEN: {sentence}")
    print(f"world {seed}: {'broken' if broken else 'all promises held'}")
    return bool(broken)


def live_all(first: int, count: int, jobs: int, most: int) -> int:
    """Live so many worlds; the first line about a broken one says how to see it again."""
    started = time.monotonic()
    lived = runs = crashes = failed = 0
    with multiprocessing.get_context("spawn").Pool(jobs, _begin) as pool:
        for life in pool.imap_unordered(live, range(first, first + count), chunksize=8):
            lived, runs, crashes = lived + 1, runs + life.runs, crashes + life.crashes
            if life.broken:
                failed += 1
                print(f"python -m tests.chaos.worlds --seed {life.seed}  # {life.broken[0]}")
                sys.stdout.flush()
                if failed >= most:
                    break
    seconds = time.monotonic() - started
    print(
        f"{lived:,} worlds, {runs:,} runs, {crashes:,} crashes: {failed} worlds with a broken"
        f" promise ({seconds:.0f} s)"
    )
    return bool(failed)


def hunt_all(jobs: int, word: str) -> int:
    """Plant each fault and hunt it; gives whether one was not found."""
    missed = 0
    faults = [fault for fault in PLANTED if word in fault.name]
    for fault in faults:
        started = time.monotonic()
        line = hunt(fault, jobs)
        missed += not line
        found = line.partition("--seed ")[2].partition(" ")[0]
        where = f"found by world {found}" if line else "NOT FOUND"
        print(f"{where:22} {time.monotonic() - started:4.0f} s  {fault.name}", flush=True)
    print(f"{len(faults) - missed} of {len(faults)} planted faults found")
    return bool(missed)


def main() -> int:
    """Parse the arguments and do it."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set is drawn, too: not here
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.chaos.worlds", *sys.argv[1:]], fixed
        )
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.worlds", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one world, with all that happens")
    parser.add_argument("--worlds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--most", type=int, default=10, help="stop after so many broken worlds")
    parser.add_argument(
        "--planted", nargs="?", const="", metavar="WORD", help="hunt the planted faults (with WORD)"
    )
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed)
    if given.planted is not None:
        return hunt_all(given.jobs, given.planted)
    return live_all(given.first, given.worlds, given.jobs, given.most)
