"""The command: try the rooms, hold what lives on against the table, say what is new or stale."""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path

from tests.chaos.mutants.rooms import ROOMS, Found, Mutant, try_room

GOAL = 0.90
"""The share of each room's mutants that must be killed."""

SURVIVORS = Path(__file__).with_name("survivors.toml")


def explained(room: str) -> dict[Mutant, str]:
    """The mutants that may live on, and why."""
    table = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))
    return {
        Mutant(one["function"], tuple(one["change"])): one["reason"] for one in table.get(room, [])
    }


def judge(found: Found, reasons: dict[Mutant, str], *, whole: bool) -> list[str]:
    """What is wrong with a room; nothing if all is as the table says.

    whole: all mutants were tried, so that one of the table which is not there any more is stale.
    """
    wrong = []
    for mutant in found.survived:
        if mutant not in reasons:
            change = "\n".join(mutant.change)
            wrong.append(f"{found.room}.{mutant.function}: no test notices\n{change}")
    alive = found.slow.union(found.survived)
    for mutant in reasons:
        if mutant not in alive and (whole or mutant in found.killed):
            change = "\n".join(mutant.change)
            wrong.append(
                f"{found.room}.{mutant.function}: take it out of the table, it does not live on\n"
                f"{change}"
            )
    if whole and found.share < GOAL:
        wrong.append(f"{found.room}: {found.share:.1%} killed, less than {GOAL:.0%}")
    return wrong


def main() -> int:
    """Try them; 1 if a room is not as the table says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--sample", type=int, metavar="N", help="of each room only the first"
                        " mutant of every function and N more")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="draws the sample")
    given = parser.parse_args()
    unknown = set(given.rooms) - ROOMS.keys()
    if unknown:
        parser.error(f"{min(unknown)} is not one of {', '.join(ROOMS)}")
    tried = killed = 0
    wrong: list[str] = []
    for room in given.rooms or ROOMS:
        started = time.monotonic()
        found = try_room(room, given.sample, given.seed)
        wrong += judge(found, explained(room), whole=given.sample is None)
        tried, killed = tried + found.tried, killed + found.tried - len(found.survived)
        print(
            f"{room:<9} {found.tried:>4} mutants, {len(found.survived):>3} live on,"
            f" {found.share:6.1%} killed ({time.monotonic() - started:.0f} s)",
            flush=True,
        )
    print(f"{'together':<9} {tried:>4} mutants, {tried - killed:>3} live on,"
          f" {killed / tried:6.1%} killed")  # fmt: skip
    for sentence in wrong:
        print(f"\n{sentence}")
    return bool(wrong)
