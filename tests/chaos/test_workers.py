"""Some worlds of several workers; more: ``python -m tests.chaos.workers``."""

from __future__ import annotations

import pytest

from tests.chaos.workers import PLANTED, hunt, live


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_doubled_or_stale(seed: int) -> None:
    life = live(seed)
    assert life.wrong == []
    assert life.happened["start"] > 3  # something has happened


@pytest.mark.thorough
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str) -> None:
    assert hunt(name, 60) is not None
