"""All questions, one table: ``python -m benchmarks [QUESTION...] [--gate] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import (
    accounts,
    latency,
    load,
    memory,
    rate,
    resume,
    start,
    throughput,
    waste,
    writing,
)
from benchmarks.figures import HEADER, Figure, show

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
    "load": load.measure,
}
LIBRARIES = ("wechat-harvester", "aiohttp", "aiolimiter", "anyio", "orjson")


def _where() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **{name: version(name) for name in LIBRARIES},
    }


def _as_json(figures: list[Figure]) -> str:
    listed = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    return json.dumps({"where": _where(), "figures": listed}, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Measure and print; 1 if a gate is missed and that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--gate", action="store_true", help="exit with 1 if a gate is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    given = parser.parse_args()
    unknown = set(given.questions) - QUESTIONS.keys()
    if unknown:
        parser.error(f"there is no question {min(unknown)!r}; these are: {', '.join(QUESTIONS)}")
    started = time.monotonic()
    print(", ".join(f"{name} {value}" for name, value in _where().items()))
    print(HEADER)
    figures: list[Figure] = []
    for name in given.questions or QUESTIONS:
        found = QUESTIONS[name]()
        show(found)
        figures += found
    print(f"{time.monotonic() - started:.0f} s")
    if given.json:
        given.json.write_text(_as_json(figures), encoding="utf-8")
    return int(given.gate and not all(figure.holds for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
