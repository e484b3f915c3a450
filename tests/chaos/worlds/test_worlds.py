"""A few worlds in every test run; thousands with ``python -m tests.chaos.worlds``."""

import re
import subprocess
import sys

import pytest

from tests.chaos.worlds.command import live
from tests.chaos.worlds.planted import PLANTED, ROOT, hunt, plant
from tests.chaos.worlds.world import World


@pytest.mark.thorough
def test_the_promises_hold_in_every_world() -> None:
    broken = {seed: life.broken for seed in range(20) if (life := live(seed)).broken}
    assert not broken


def test_a_world_is_the_same_each_time() -> None:
    once: list[str] = []
    again: list[str] = []
    World(11, once.append).live()
    World(11, again.append).live()
    assert len(once) > 50
    assert [_without_paths(line) for line in once] == [_without_paths(line) for line in again]


def _without_paths(line: str) -> str:
    return re.sub(r"world-\w+", "", line)


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


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_fits_the_code(fault, tmp_path) -> None:
    plant(fault, tmp_path)


@pytest.mark.parametrize("fault", PLANTED[:2], ids=lambda fault: fault.name)
@pytest.mark.thorough
def test_a_planted_fault_is_found(fault) -> None:
    assert re.match(r"python -m tests.chaos.worlds --seed \d+  # ", hunt(fault, 2))
