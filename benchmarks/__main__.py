"""All questions, one table, and a picture of it.

python -m benchmarks [QUESTION...] [--gate] [--json FILE] [--svg FILE] [--compare REV]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import (
    accounts,
    draw,
    lanes,
    latency,
    load,
    memory,
    rate,
    resume,
    stages,
    start,
    throughput,
    waste,
    work,
    writing,
)
from benchmarks.compare import checked_out, compared, measured
from benchmarks.figures import HEADER, Figure, as_json, show
from harvester.errors import UsageError

QUESTIONS = {
    "work": work.measure,
    "throughput": throughput.measure,
    "stages": stages.measure,
    "latency": latency.measure,
    "rate": rate.measure,
    "waste": waste.measure,
    "writing": writing.measure,
    "memory": memory.measure,
    "resume": resume.measure,
    "start": start.measure,
    "accounts": accounts.measure,
    "lanes": lanes.measure,
    "load": load.measure,
}
FURTHER = ("files", "databases", "streams", "processes", "loops")
"""Questions that need drivers, servers or other libraries; the gate does not ask them."""
LIBRARIES = ("wechat-harvester", "aiohttp", "aiolimiter", "anyio", "orjson")


def _further(name: str) -> list[Figure]:
    """The figures of a further question, as far as what it needs is installed."""
    try:
        found: list[Figure] = import_module(f"benchmarks.{name}").measure()
    except (ImportError, UsageError) as exc:
        print(f"not measured: {name}: {exc}")
        return []
    return found


def _where() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{name: version(name) for name in LIBRARIES},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    known = (*QUESTIONS, *FURTHER)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(known))
    parser.add_argument("--gate", action="store_true", help="exit with 1 if a gate is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them there, too")
    parser.add_argument("--compare", metavar="REV", help="measure that commit's package, too")
    given = parser.parse_args()
    unknown = set(given.questions).difference(known)
    if unknown:
        parser.error(f"there is no question {min(unknown)!r}; these are: {', '.join(known)}")
    try:
        _check(given)
    except UsageError as exc:
        parser.exit(2, f"{parser.prog}: {exc}\n")
    return given


def _check(given: argparse.Namespace) -> None:
    """Raise UsageError if what is to be written cannot be: before minutes of measuring."""
    if given.svg:
        draw.check(given.svg)
    if given.json and not given.json.parent.is_dir():
        raise UsageError(f"there is no directory {given.json.parent} to write {given.json.name} in")


def _compare(revision: str, found: dict[str, list[Figure]]) -> None:
    """Print the figures beside those of another commit."""
    print(f"\nnow, and with the package of {revision}")
    with checked_out(revision) as folder:
        for question, figures in found.items():
            former = measured(question, folder)
            told = compared(figures, former) if former else [f"{question}: cannot be asked there"]
            print("\n".join(told), flush=True)


def _ask(questions: Sequence[str]) -> dict[str, list[Figure]]:
    """The figures by question; printed as they come."""
    found: dict[str, list[Figure]] = {}
    for name in questions:
        found[name] = QUESTIONS[name]() if name in QUESTIONS else _further(name)
        show(found[name])
    return found


def main() -> int:
    """Measure and print; 1 if a gate is missed and that is asked for."""
    given = _arguments()
    started = time.monotonic()
    print(", ".join(f"{name} {value}" for name, value in _where().items()))
    print(HEADER)
    found = _ask(given.questions or (list(QUESTIONS) if given.gate else [*QUESTIONS, *FURTHER]))
    figures = [figure for each in found.values() for figure in each]
    print(f"{time.monotonic() - started:.0f} s")
    if given.json:
        given.json.write_text(as_json(_where(), figures), encoding="utf-8")
    if given.svg:
        draw.draw(_where(), figures, given.svg)
    if given.compare:
        _compare(given.compare, found)
    return int(given.gate and not all(figure.holds for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
