"""The batches of a write: by interface, and without those that a later one overlaps.

Rule: pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Protocol, TypeVar

from harvester.model import Batch, Window


class HasWindow(Protocol):
    """A batch, or what else has a window."""

    @property
    def window(self) -> Window: ...


T = TypeVar("T", bound=HasWindow)


def by_endpoint(batches: Sequence[Batch]) -> dict[str, Sequence[Batch]]:
    """The batches of each interface in their order; interfaces by name."""
    found = {batch.window[1] for batch in batches}
    if len(found) == 1:  # mostly
        return dict.fromkeys(found, batches)
    groups: dict[str, list[Batch]] = {name: [] for name in sorted(found)}
    for batch in batches:
        groups[batch.window.endpoint].append(batch)
    return {**groups}


def last_of_overlapping(batches: Sequence[T]) -> Sequence[T]:
    """The batches of an interface that no later one overlaps, in their order."""
    if single_days(batches) is not None:
        return batches
    later: dict[str, set[int]] = defaultdict(set)
    kept: list[T] = []
    for batch in reversed(batches):
        appid, _, begin, end = batch.window
        days, taken = range(begin.toordinal(), end.toordinal() + 1), later[appid]
        if taken.isdisjoint(days):
            kept.append(batch)
        taken.update(days)
    return kept[::-1]


def single_days(batches: Sequence[HasWindow]) -> list[date] | None:
    """The days of windows of one day each, which do not overlap; None for other windows."""
    windows = [batch.window for batch in batches]
    days = [window[2] for window in windows]
    if days != [window[3] for window in windows] or len({*windows}) < len(windows):
        return None
    return days
