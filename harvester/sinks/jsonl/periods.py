"""Which file a window is in: that of the month of its first day, or of its year.

Rule: pure.

A window that was fetched in April of the next year or later is in the file of the year: so a
backfill has few files, and a daily run rewrites small ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from datetime import date

from harvester.model import Batch, Window
from harvester.sinks.jsonl.compression import COMPRESSIONS


def file_of(window: Window, fetched_at: str, known: Container[str], suffix: str) -> str:
    """The file of a window: the known one, however it is packed; else one with that suffix."""
    year = window.begin.year
    month = "" if year < _open_year(fetched_at) else f"-{window.begin.month:02}"
    stem = f"{window.endpoint}/{year}{month}.jsonl"
    names = [stem + made.suffix for made in COMPRESSIONS.values()]
    return next((name for name in names if name in known), stem + suffix)


def by_period(
    group: Sequence[Batch], days: Sequence[date] | None
) -> Iterable[tuple[Sequence[Batch], date]]:
    """The batches of each file, as of when the first one was fetched, and their last day."""
    begins = days or [batch.window[2] for batch in group]
    open_year = _open_year(group[0].fetched_at)
    first, last = min(begins), max(begins)
    same = first.year == last.year and (first.year < open_year or first.month == last.month)
    if same:  # mostly
        return [(group, last if days else last_day(group))]
    files: dict[tuple[int, int], list[Batch]] = defaultdict(list)
    for batch, begin in zip(group, begins, strict=True):
        year = begin.year
        files[year, 0 if year < open_year else begin.month].append(batch)
    return [(some, last_day(some)) for some in files.values()]


def last_day(batches: Iterable[Batch]) -> date:
    """The last day of windows."""
    return max([batch.window[3] for batch in batches])


def _open_year(fetched_at: str) -> int:
    """The first year that has a file for each month."""
    return int(fetched_at[:4]) - (fetched_at[5:7] < "04")
