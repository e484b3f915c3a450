"""The command: test the modules, compare the survivors with the table, report differences."""

from __future__ import annotations

import argparse
import os
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.mutants.modules import MODULES, Found, Mutant, try_module

GOAL = 0.90
"""The share of each module's mutants that must be killed."""

SURVIVORS = Path(__file__).with_name("survivors.toml")


def explained(module: str) -> dict[Mutant, str]:
    """The mutants that may survive, and why."""
    table = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))
    return {
        Mutant(one["function"], tuple(one["change"])): one["reason"]
        for one in table.get(module, [])
    }


def judge(found: Found, reasons: dict[Mutant, str], *, whole: bool) -> list[str]:
    """How a module differs from the table; empty if it does not.

    whole: all mutants were tried, so an entry of the table that no longer exists is stale.
    """
    wrong = []
    for mutant in found.survived:
        if mutant not in reasons:
            change = "\n".join(mutant.change)
            wrong.append(f"{found.module}.{mutant.function}: no test notices\n{change}")
    alive = found.slow.union(found.survived)
    for mutant in reasons:
        if mutant not in alive and (whole or mutant in found.killed):
            change = "\n".join(mutant.change)
            wrong.append(
                f"{found.module}.{mutant.function}: remove it from the table, it does not survive\n"
                f"{change}"
            )
    if whole and found.share < GOAL:
        wrong.append(f"{found.module}: {found.share:.1%} killed, less than {GOAL:.0%}")
    return wrong


def main() -> int:
    """Test the modules; 1 if one differs from the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, metavar="N", help="of each module only the first"
                        " mutant of every function and N more")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="draws the sample")
    given = parser.parse_args()
    unknown = set(given.modules) - MODULES.keys()
    if unknown:
        parser.error(f"{min(unknown)} is not one of {', '.join(MODULES)}")

    def one_of(module: str) -> tuple[Found, float]:
        started = time.monotonic()
        return try_module(module, given.sample, given.seed), time.monotonic() - started

    tried = killed = 0
    wrong: list[str] = []
    modules = given.modules or [*MODULES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for module, (found, seconds) in zip(modules, pool.map(one_of, modules), strict=True):
            wrong += judge(found, explained(module), whole=given.sample is None)
            tried, killed = tried + found.tried, killed + found.tried - len(found.survived)
            print(
                f"{module:<9} {found.tried:>4} mutants, {len(found.survived):>3} survive,"
                f" {found.share:6.1%} killed ({seconds:.0f} s)",
                flush=True,
            )
    print(f"{'together':<9} {tried:>4} mutants, {tried - killed:>3} survive,"
          f" {killed / tried:6.1%} killed")  # fmt: skip
    for sentence in wrong:
        print(f"\n{sentence}")
    return bool(wrong)
