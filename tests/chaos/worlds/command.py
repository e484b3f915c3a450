"""The command: many worlds, one again, planted faults."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.chaos.worlds.planted import FAULTS, Planted, copied, hunt

MODULE = "tests.chaos.worlds"
_MEMORY = Path("/dev/shm")


class Life(NamedTuple):
    """What became of a seed: what happened how often, and what was not as promised."""

    seed: int
    happened: Counter[str]
    broken: list[str]


Live = Callable[..., Life]
"""Live what a seed draws; the second argument is called with each thing that happens."""


def _begin() -> None:
    """Leave what stands there before the first world alone when one is forgotten."""
    gc.collect()
    gc.freeze()


@contextmanager
def _in_memory() -> Iterator[None]:
    """Files of the worlds are in memory, and go even if the process of one is ended."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as made:
        os.environ["TMPDIR"] = made
        yield


def _live_all(live: Live, seeds: range, jobs: int, most: int) -> int:
    """Live all; the first line about a broken one says how to see it again."""
    started, happened, lived, broken = time.monotonic(), Counter[str](), 0, 0
    with _in_memory(), multiprocessing.get_context("spawn").Pool(jobs, _begin) as pool:
        for life in pool.imap_unordered(live, seeds):
            lived += 1
            happened += life.happened
            if life.broken:
                broken += 1
                again = f"python -m {MODULE} --seed {life.seed}"
                print(f"{again}  # {life.broken[0]}", flush=True)
                if broken >= most:
                    break
    events = ", ".join(f"{number:,} {what}" for what, number in sorted(happened.items()))
    seconds = time.monotonic() - started
    print(f"{lived:,} worlds ({events}): {broken} with a broken promise ({seconds:.0f} s)")
    return bool(broken)


def _hunt_all(worlds: int, jobs: int, word: str) -> int:
    """Plant each fault and hunt it, ``jobs`` at a time; gives whether one was not found."""
    faults = [fault for fault in FAULTS if word in fault.name]

    def try_one(fault: Planted) -> tuple[str, float]:
        started, copy = time.monotonic(), free.get()
        try:
            return hunt(fault, copy, worlds), time.monotonic() - started
        finally:
            free.put(copy)

    missed = 0
    with ExitStack() as stack:
        free = SimpleQueue[Path]()
        for _ in range(jobs):
            free.put(stack.enter_context(copied()))
        threads = stack.enter_context(ThreadPoolExecutor(jobs))
        for fault, (found, seconds) in zip(faults, threads.map(try_one, faults), strict=True):
            missed += not found
            where = f"found by world {found}" if found else "NOT FOUND"
            print(f"{where:22} {seconds:4.0f} s  {fault.name}", flush=True)
    print(f"{len(faults) - missed} of {len(faults)} planted faults found")
    return bool(missed)


def main(live: Live, worlds: int, within: int) -> int:
    """Read the arguments and do it; a fault must be found within so many worlds."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set is drawn, too: not here
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, "-m", MODULE, *sys.argv[1:]], fixed)
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one world, with all that happens")
    parser.add_argument("--worlds", type=int, help=f"how many (default {worlds})")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--most", type=int, default=10, help="stop after so many broken worlds")
    parser.add_argument(
        "--planted", nargs="?", const="", metavar="WORD", help="hunt the planted faults (with WORD)"
    )
    given = parser.parse_args()
    if given.seed is not None:
        broken = live(given.seed, print).broken
        for sentence in broken:
            print(f"BROKEN: {sentence}")
        print(f"world {given.seed}: {'broken' if broken else 'all promises held'}")
        return bool(broken)
    if given.planted is not None:
        return _hunt_all(given.worlds or within, given.jobs, given.planted)
    seeds = range(given.first, given.first + (given.worlds or worlds))
    return _live_all(live, seeds, given.jobs, given.most)
