"""The same questions, put to another commit of the package.

The benchmarks are the present ones; only the package is the other commit's, taken from git into a
temporary folder and put before the installed one.  What the present benchmarks ask of it and it
does not have yet makes a question unanswerable, which is said and is no failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure

ROOT = Path(__file__).resolve().parents[1]
NOTABLE = 0.1
"""A figure that is worse by this share is marked."""


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A folder with the package of that commit, and these benchmarks."""
    with tempfile.TemporaryDirectory() as name:
        archive = ["git", "-C", str(ROOT), "archive", revision, "harvester"]
        packed = subprocess.run(archive, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x", "-C", name], check=True, input=packed)
        shutil.copytree(ROOT / "benchmarks", Path(name) / "benchmarks")
        yield Path(name)


def measured(question: str, folder: Path) -> dict[str, float] | None:
    """The figures of a question by name, or None if it cannot be put there."""
    told = folder / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", question, "--json", str(told)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        return None
    figures = json.loads(told.read_text(encoding="utf-8"))["figures"]
    return {figure["name"]: figure["value"] for figure in figures}


def _worse(figure: Figure, former: float) -> bool:
    """Whether a figure with a goal is worse than it was by more than a little."""
    if figure.goal is None or not former:
        return False
    share = figure.value / former - 1
    return (-share if figure.more_is_better else share) > NOTABLE


def compared(figures: Sequence[Figure], former: dict[str, float]) -> list[str]:
    """A line for each figure that both have."""
    return [
        f"{figure.name:<66} {figure.value:>10.3f} {former[figure.name]:>10.3f} {figure.unit:<4}"
        f"{'  WORSE' if _worse(figure, former[figure.name]) else ''}"
        for figure in figures
        if figure.name in former
    ]
