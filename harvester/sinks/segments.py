"""What a segment of JSON lines is: how far it counts, whose lines it holds.

Rule: reads lines and receipts; writes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from harvester.codec import add_checksums, checksum, parse, parse_lines
from harvester.errors import SinkError
from harvester.model import Batch, Window
from harvester.plan import Days
from harvester.sinks.base import Found, Receipt
from harvester.sinks.compression import compression_of
from harvester.sinks.files import CHUNK

Lines = Iterable[tuple[bytes, Window]]


def by_endpoint(batches: Sequence[Batch]) -> dict[str, Sequence[Batch]]:
    """The batches of each interface, in their order; mostly all are of one."""
    names = dict.fromkeys([batch.window.endpoint for batch in batches])
    if len(names) == 1:
        return dict.fromkeys(names, batches)
    return {name: [batch for batch in batches if batch.window.endpoint == name] for name in names}


class Mark(NamedTuple):
    """Up to where a segment counts, and how often it was written anew.

    tag: a number that the sink keeps with it.  tail: a checksum of what stands right before the
    place, or 0: a receipt that is older than the segment (a ledger that was restored from a copy)
    tells of a place in the midst of other lines.
    """

    size: int
    generation: int = 0
    tag: int = 0
    tail: int = 0

    @classmethod
    def parse(cls, text: str) -> Mark:
        return cls(*map(int, text.split()))

    def __str__(self) -> str:
        return " ".join(map(str, self if self.tag or self.tail else self[:2]))


class Whole:
    """Windows that are replaced: what lies within one of them gives way to it."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._windows = set(windows)
        self._ordered = sorted(self._windows)
        self._reach: list[Window] = []  # for each, whichever reaches furthest of those up to it
        for window in self._ordered:
            before = self._reach[-1] if self._reach else window
            further = before[:2] == window[:2] and before.end >= window.end
            self._reach.append(before if further else window)

    def __bool__(self) -> bool:
        return bool(self._windows)

    def around(self, stored: Window) -> Window | None:
        """The window that a stored one lies in."""
        if stored in self._windows:
            return stored
        place = bisect_right(self._ordered, stored._replace(end=date.max)) - 1
        if place < 0:
            return None
        window = self._reach[place]
        return window if window[:2] == stored[:2] and window.end >= stored.end else None


def is_ours(path: Path) -> bool:
    """Whether a segment begins with a record of ours, of the interface that its folder names."""
    lines = compression_of(path.name).lines(path, path.stat().st_size)
    try:
        return window_of(next(lines, b"")).endpoint == path.parent.name
    except SinkError:
        return False
    finally:
        lines.close()


def marks_of(receipt: Receipt) -> dict[str, Mark]:
    """The segments that a receipt speaks of, by folder and name."""
    return {name: Mark.parse(text) for name, text in receipt.items() if "/" in name}


def rewritten_path(path: Path, generation: int) -> Path:
    """Where a segment of that generation lies until it takes its place."""
    return path.with_name(f"{path.name}.{generation}.tmp")


def with_windows(lines: Iterable[bytes]) -> Lines:
    """Each line with the window that its metadata names."""
    for line in lines:
        yield line, window_of(line)


def window_of(line: bytes) -> Window:
    """The window that a stored line's metadata names; raises `SinkError` for a foreign line."""
    return stamped(line)[0]


def stamped(line: bytes) -> tuple[Window, str]:
    """The same, and when it was fetched."""
    try:
        record = parse(line)
        window = Window(
            record["_appid"],
            record["_endpoint"],
            date.fromisoformat(record["_begin_date"]),
            date.fromisoformat(record["_end_date"]),
        )
        return window, str(record.get("_fetched_at", ""))
    except (ValueError, KeyError, TypeError):
        raise SinkError(
            f"a line is not a record of harvester ({line[:60]!r}); remove the file, or choose"
            " another directory"
        ) from None


def parsed(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The records of stored lines; some thousands are parsed at once."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= CHUNK:
            yield from parse_lines(b"".join(held))
            held, size = [], 0
    if held:
        yield from parse_lines(b"".join(held))


def found_in(lines: Iterable[bytes]) -> list[Found]:
    """The windows that stand in the segments of one interface, in their order.

    Lines are written in order, so only what stands last may be the half of a window.
    """
    found: dict[Window, Found] = {}
    last: Window | None = None
    for line in lines:
        last, fetched_at = stamped(line)
        former = found.get(last) or Found(last, 0, 0, fetched_at)
        total = add_checksums(former.checksum, checksum([line]))
        found[last] = former._replace(records=former.records + 1, checksum=total)
    if last is not None:
        found[last] = found[last]._replace(whole=False)
    return list(found.values())


def holds(spans: Mapping[str, Days], window: Window) -> bool:
    """Whether a segment with these spans can hold days of a window."""
    days = spans.get(window.appid)
    return days is not None and days[0] <= window.end and window.begin <= days[1]


def widen(spans: dict[str, Days], windows: Iterable[Window]) -> dict[str, Days]:
    """The spans of a segment that holds these windows too."""
    for appid, _, begin, end in windows:
        first, last = spans.get(appid, (begin, end))
        spans[appid] = (min(first, begin), max(last, end))
    return spans
