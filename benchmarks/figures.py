"""One measured figure, and what it is held against."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    goal: what it is meant to be; gate: what it must be, looser, so that noise alone never trips
    it.  Both None: for information only.  more_is_better: on which side of them it should lie.
    points: the curve that ends in the value, as windows and the value there; drawn, not printed.
    """

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    gate: float | None = None
    more_is_better: bool = True
    points: tuple[tuple[float, float], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the gate holds."""
        return self.gate is None or self._reaches(self.gate)

    @property
    def verdict(self) -> str:
        """In a few words."""
        if not self.holds:
            return "MISSES THE GATE"
        if self.goal is None:
            return "for information"
        return "meets the goal" if self._reaches(self.goal) else "within the gate"

    def _reaches(self, mark: float) -> bool:
        return self.value >= mark if self.more_is_better else self.value <= mark

    def bound(self, mark: float | None) -> str:
        """The goal or the gate as it is printed."""
        return "" if mark is None else f"{'>=' if self.more_is_better else '<='} {mark:g}"

    @property
    def shown(self) -> str:
        """The value as it is printed."""
        value = f"{self.value:.0f}" if abs(self.value) >= 1000 else f"{self.value:.3f}"
        return value.rstrip("0").rstrip(".") if "." in value else value

    def __str__(self) -> str:
        return (
            f"{self.name:<58} {self.shown:>8} {self.unit:<6}"
            f" {self.bound(self.goal):>9} {self.bound(self.gate):>9}  {self.verdict}"
        )


HEADER = f"{'figure':<58} {'value':>8} {'':<6} {'goal':>9} {'gate':>9}  verdict"


def show(figures: Sequence[Figure]) -> None:
    """Print the figures, one a line."""
    for figure in figures:
        print(figure, flush=True)


def as_json(where: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """All that is known of them, and what they hold for; a figure a line."""
    listed = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    lines = ",\n".join([json.dumps(each, ensure_ascii=False) for each in listed])
    return f'{{"where": {json.dumps(where, ensure_ascii=False)},\n"figures": [\n{lines}\n]}}\n'


def from_json(text: str) -> tuple[dict[str, Any], list[Figure]]:
    """What `as_json` wrote, also before there were points."""
    told = json.loads(text)
    names = [field.name for field in fields(Figure)]
    return told["where"], [
        Figure(
            **{name: each[name] for name in names if name in each and name != "points"},
            points=tuple((at, value) for at, value in each.get("points", ())),
        )
        for each in told["figures"]
    ]


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle
