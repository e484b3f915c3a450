"""Run the benchmarks: python -m benchmarks [QUESTION...] [--gate] [--full] [--json FILE]."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import HEADER, Figure, as_json, best_of, in_new_process

QUESTIONS = ("pipeline", "rate", "memory", "sinks", "replaced", "sharing", "latency", "peers")
GATED = QUESTIONS[:-1]
"""peers.py needs a package index."""
TIMES = 3
"""So often a question is measured at the most if a gate is missed."""
LIBRARIES = ("wechat-harvester", "aiohttp", "aiolimiter", "anyio", "orjson")


def _environment() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{name: version(name) for name in LIBRARIES},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--gate", action="store_true", help="exit with 1 if a gate is missed")
    parser.add_argument("--full", action="store_true", help="more rounds, a million windows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--home", type=Path, metavar="DIR", help="keep the peers' environments")
    given = parser.parse_args()
    for name in given.questions:
        if name not in QUESTIONS:
            parser.error(f"unknown question {name!r}: expected one of {', '.join(QUESTIONS)}")
    if given.json and not given.json.parent.is_dir():
        parser.error(f"cannot write {given.json}: the directory does not exist")
    return given


def _measure(name: str, given: argparse.Namespace) -> list[Figure]:
    measure: Callable[..., list[Figure]] = import_module(f"benchmarks.{name}").measure
    options = {"home": given.home} if name == "peers" else {}
    # In a process of its own: what other questions leave in memory would change its figures.
    figures = in_new_process(measure, full=given.full, **options)
    for figure in figures:
        print(figure, flush=True)
    return figures


def main() -> int:
    """Measure and print; return 1 if a gate is missed each time, and ``--gate`` is given."""
    given = _arguments()
    started = time.monotonic()
    environment = _environment()
    print(", ".join(f"{name} {value}" for name, value in environment.items()))
    print(HEADER)
    figures = []
    for name in given.questions or (GATED if given.gate else QUESTIONS):
        found = [_measure(name, given)]
        while given.gate and len(found) < TIMES and not _hold(best_of(found)):
            print(f"{name} is measured again: others may have disturbed it", flush=True)
            found.append(_measure(name, given))
        figures += best_of(found)
    print(f"{time.monotonic() - started:.0f} s")
    if given.json:
        given.json.write_text(as_json(environment, figures), encoding="utf-8")
    for figure in figures:
        if given.gate and not figure.holds:
            print(f"missed {TIMES} times: {figure}")
    return int(given.gate and not _hold(figures))


def _hold(figures: list[Figure]) -> bool:
    return all(figure.holds for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
