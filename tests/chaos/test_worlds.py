"""A few worlds in every test run; more: `python -m tests.chaos.worlds`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harvester
from tests.chaos.worlds.planted import FAULTS, ROOT, Planted, faulty
from tests.chaos.worlds.world import live


@pytest.mark.thorough
def test_a_world_is_the_same_each_time() -> None:
    once: list[str] = []
    again: list[str] = []
    live(11, once.append)
    live(11, again.append)
    assert len(once) > 50
    assert [_without_paths(line) for line in once] == [_without_paths(line) for line in again]


def _without_paths(line: str) -> str:
    return re.sub(r"world-\w+", "", line)


@pytest.mark.thorough
def test_a_seed_can_be_replayed_with_all_that_happens() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.worlds", "--seed", "11"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "world 11: all promises held"
    assert "run 1: " in done.stdout


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_fits_the_code(fault: Planted) -> None:
    path, text = faulty(fault, Path(harvester.__file__).parent)
    assert path.read_text(encoding="utf-8") != text
