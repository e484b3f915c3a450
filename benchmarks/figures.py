"""One measured figure, and what it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    goal: what it is meant to be; gate: what it must be, looser, so that noise alone never trips
    it.  Both None: for information only.  more_is_better: on which side of them it should lie.
    """

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    gate: float | None = None
    more_is_better: bool = True

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

    def _mark(self, mark: float | None) -> str:
        return "" if mark is None else f"{'>=' if self.more_is_better else '<='} {mark:g}"

    def __str__(self) -> str:
        value = f"{self.value:.0f}" if abs(self.value) >= 1000 else f"{self.value:.3f}"
        value = value.rstrip("0").rstrip(".") if "." in value else value
        return (
            f"{self.name:<58} {value:>8} {self.unit:<6}"
            f" {self._mark(self.goal):>9} {self._mark(self.gate):>9}  {self.verdict}"
        )


HEADER = f"{'figure':<58} {'value':>8} {'':<6} {'goal':>9} {'gate':>9}  verdict"


def show(figures: Sequence[Figure]) -> None:
    """Print the figures, one a line."""
    for figure in figures:
        print(figure, flush=True)


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle
