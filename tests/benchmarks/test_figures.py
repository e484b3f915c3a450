"""Figures: what passes a gate, and how contenders take turns."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks.figures import PACE, Figure, Spent, as_json, best_of, pace, take_turns


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("speed", 0.9, goal=0.9), "meets the goal"),
        (Figure("speed", 0.82, goal=0.9), "within the gate"),
        (Figure("speed", 0.8, goal=0.9), "MISSES THE GATE"),
        (Figure("speed", 0.73, goal=0.9, reached=0.8), "within the gate"),
        (Figure("speed", 0.71, goal=0.9, reached=0.8), "MISSES THE GATE"),
        (Figure("speed", 0.94, goal=0.99, tolerance=0.04), "MISSES THE GATE"),
        (Figure("cost", 1.0, goal=1.0, more_is_better=False), "meets the goal"),
        (Figure("cost", 1.05, goal=1.0, more_is_better=False), "within the gate"),
        (Figure("cost", 1.2, goal=1.0, more_is_better=False), "MISSES THE GATE"),
        (Figure("refused", 1, goal=0, more_is_better=False), "MISSES THE GATE"),
        (Figure("size", 2.1), "for information"),
    ],
)
def test_a_gate_is_a_tenth_worse_than_the_goal_or_what_is_reached(
    figure: Figure, verdict: str
) -> None:
    assert figure.verdict == verdict
    assert figure.holds == (verdict != "MISSES THE GATE")
    assert verdict in str(figure)


def test_the_json_report_holds_gate_and_verdict() -> None:
    report = json.loads(as_json({"cores": 2}, [Figure("speed", 0.7, goal=0.9, reached=0.8)]))
    assert report["environment"] == {"cores": 2}
    (row,) = report["figures"]
    assert row["gate"] == pytest.approx(0.72)
    assert row["verdict"] == "MISSES THE GATE"


def test_of_several_measurements_the_best_value_of_each_figure_counts() -> None:
    cost = [Figure("cost", value, more_is_better=False) for value in (3.0, 1.0, 2.0)]
    ratio = [Figure("ratio", value) for value in (0.7, 0.8, 0.9)]
    assert best_of([*zip(cost, ratio, strict=True)]) == [cost[1], ratio[2]]


def test_the_pace_is_of_the_process_now(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, PACE, 1.0, 1.0 + 2 * PACE, 5.0, 5.0 + 9 * PACE])
    monkeypatch.setattr("benchmarks.figures.time.process_time", lambda: next(clock))
    assert pace() == pytest.approx(2.0)


def test_each_contender_takes_one_turn_a_round_and_its_median_counts_without_the_first() -> None:
    seconds = iter([100.0, 1.0, 9.0, 2.0])
    turns: list[str] = []

    def one() -> Spent:
        turns.append("one")
        return Spent(next(seconds), 1.0)

    def other() -> Spent:
        turns.append("other")
        return Spent(5.0, 4.0)

    assert take_turns({"one": one, "other": other}, 3) == {
        "one": Spent(2.0, 1.0),
        "other": Spent(5.0, 4.0),
    }
    assert [Counter(turns[n : n + 2]) for n in range(0, 8, 2)] == [Counter(["one", "other"])] * 4
