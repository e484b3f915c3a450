"""Exports are killed and read meanwhile; see `tests.chaos.exports`."""

from __future__ import annotations

import pytest

from tests.chaos.exports.__main__ import CASES, trial
from tests.support import KILLS


@pytest.mark.thorough
def test_a_killed_export_is_finished_by_the_next_one() -> None:
    done, wrong = trial(2, 7, CASES[1:2])
    assert not wrong
    assert done["kills"] == 2


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].replace("{}/", ""))
def test_however_exports_are_killed_the_next_one_makes_an_equal_target(
    case: tuple[str, str],
) -> None:
    done, wrong = trial(max(4, KILLS), 11, [case])
    assert not wrong
    assert done["kills"] >= 4
    assert done["reads"]
