"""What the table says of a figure, and of the same one on another commit."""

from __future__ import annotations

import pytest

from benchmarks.compare import compared
from benchmarks.figures import Figure


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("speed", 1.0, goal=0.9, gate=0.7), "meets the goal"),
        (Figure("speed", 0.8, goal=0.9, gate=0.7), "within the gate"),
        (Figure("speed", 0.6, goal=0.9, gate=0.7), "MISSES THE GATE"),
        (Figure("cost", 1.0, goal=1.0, gate=2.0, more_is_better=False), "meets the goal"),
        (Figure("cost", 2.0, goal=1.0, gate=2.0, more_is_better=False), "within the gate"),
        (Figure("cost", 2.1, goal=1.0, gate=2.0, more_is_better=False), "MISSES THE GATE"),
        (Figure("size", 2.1), "for information"),
    ],
)
def test_a_figure_is_held_against_its_goal_and_its_gate(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict
    assert figure.holds == (verdict != "MISSES THE GATE")
    assert verdict in str(figure)


@pytest.mark.parametrize(
    ("now", "before", "more_is_better", "worse"),
    [
        (1.0, 1.0, True, False),
        (0.95, 1.0, True, False),
        (0.8, 1.0, True, True),
        (1.2, 1.0, True, False),
        (1.05, 1.0, False, False),
        (1.2, 1.0, False, True),
        (0.5, 1.0, False, False),
        (0.5, 0.0, False, False),
    ],
)
def test_what_is_worse_than_on_another_commit_by_a_tenth_is_marked(
    now: float, before: float, more_is_better: bool, worse: bool
) -> None:
    figure = Figure("it", now, goal=1.0, gate=9.0, more_is_better=more_is_better)
    (line,) = compared([figure], {"it": before, "gone": 1.0})
    assert line.endswith("WORSE") is worse


def test_a_figure_that_the_other_commit_has_not_is_left_out() -> None:
    assert compared([Figure("new", 1.0, goal=1.0)], {}) == []
