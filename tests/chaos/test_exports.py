"""Exports are killed and read meanwhile; see `tests.chaos.exports`."""

from __future__ import annotations

import pytest

from tests.chaos.exports.__main__ import CASES, trial


@pytest.mark.thorough
def test_a_killed_export_is_finished_by_the_next_one() -> None:
    done, wrong = trial(2, 7, CASES[1:2])
    assert not wrong
    assert done["kills"] == 2
