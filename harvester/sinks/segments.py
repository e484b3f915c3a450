"""Reads segments of JSON lines: which bytes count, and which windows they hold.

Rule: reads; writes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from datetime import date
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from harvester.codec import METADATA_BEGINS, parse_lines, parse_small, records_checksum
from harvester.errors import SinkError
from harvester.model import Tally, Window
from harvester.sinks.base import Checkpoint
from harvester.sinks.compression import compression_of

NAME = re.compile(r"[^/]+/\d{6}\.jsonl(\.gz|\.zst)?")
DRAFT = re.compile(r"\.\d+\.tmp")
TAIL = 512
"""Bytes of which a mark has the checksum."""


class Mark(NamedTuple):
    """How much of a segment counts.

    size: in bytes.  generation: how often it was written again.  small: bytes in small members.
    tail: a checksum of the bytes that end there: another file of the same length has another one.
    """

    size: int = 0
    generation: int = 0
    small: int = 0
    tail: int = 0

    @classmethod
    def parse(cls, text: str) -> Mark:
        return cls(*map(int, text.split()))

    def __str__(self) -> str:
        return " ".join(map(str, self))


Marks = dict[str, Mark]


class Days:
    """Days by account, a bit each: two windows overlap if they have a day in common."""

    _FIRST = date(2000, 1, 1).toordinal()

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self._bits: dict[str, int] = {}
        self.add(windows)

    def add(self, windows: Iterable[Window]) -> None:
        """The days of these, too."""
        for window in windows:
            self._bits[window.appid] = self._bits.get(window.appid, 0) | self._of(window)

    def overlaps(self, window: Window) -> bool:
        """Whether a window has one of these days."""
        bits = self._bits.get(window.appid, 0)
        return bool(bits and bits & self._of(window))

    def overlap(self, other: Days) -> bool:
        """Whether there is a day in common."""
        return any(bits & self._bits.get(appid, 0) for appid, bits in other._bits.items())

    def has_some(self, first: str, last: str, begin: date, end: date) -> bool:
        """Whether there is a day in that range of an account between these two, both included."""
        days = self._of(Window("", "", begin, end))
        return any(bits & days and first <= appid <= last for appid, bits in self._bits.items())

    def _of(self, window: Window) -> int:
        first = max(window.begin.toordinal() - self._FIRST, 0)
        last = max(window.end.toordinal() - self._FIRST, 0)
        return ((1 << (last - first + 1)) - 1) << first


class WindowLines(NamedTuple):
    """The lines of a stored window, which follow each other; tail: what they all end with."""

    window: Window
    fetched_at: str
    tail: int
    lines: list[bytes]

    def tally(self) -> Tally:
        """How many they are, and the checksum of the window."""
        return Tally.of(len(self.lines), self.checksum(), self.lines[0][-self.tail :])

    def checksum(self) -> int:
        """The checksum of the records."""
        return records_checksum(self._pieces())

    def records(self) -> list[dict[str, Any]]:
        """The records, without the metadata."""
        found: list[dict[str, Any]] = parse_lines(b"}\n".join([*self._pieces(), b""]))
        return found

    def _pieces(self) -> list[bytes]:
        """The lines without their ends; a byte there that is no comma is noticed by `checksum`."""
        end, comma = -self.tail, -self.tail - 1
        return [line[:comma] if line[comma:end] == b"," else line[:end] for line in self.lines]


_NO_TAIL = b"\n\n"
"""No line ends with it."""


def windows_in(file: FileIO, size: int) -> Iterator[WindowLines]:
    """The windows of a segment, in the order in which they were written; raises `SinkError`."""
    path = os.fspath(file.name)
    tail, held = _NO_TAIL, list[bytes]()
    try:
        for line in compression_of(DRAFT.sub("", path)).lines(file, size):
            if line.endswith(tail):
                held.append(line)
                continue
            if held:
                yield _window_lines(tail, held)
            tail, held = line[_tail_at(line) :], [line]
        if held:
            yield _window_lines(tail, held)
    except OSError as exc:
        raise SinkError(f"{path} cannot be read ({exc.strerror})") from exc
    except _ForeignLineError as exc:
        raise SinkError(
            f"{path}: a line that ends with {exc.args[0][-60:].decode(errors='replace')!r} is not a"
            " record of harvester; put the file back from a copy, or move it and the ledger away to"
            " harvest everything again"
        ) from None


class _ForeignLineError(Exception):
    """A line, the argument, is not a record of ours."""


def _tail_at(line: bytes) -> int:
    place = line.rfind(METADATA_BEGINS)
    if place < 0:
        raise _ForeignLineError(line)
    return place


def _window_lines(tail: bytes, lines: list[bytes]) -> WindowLines:
    try:
        told = parse_small(b"{" + tail)
        days = date.fromisoformat(told["_begin_date"]), date.fromisoformat(told["_end_date"])
        window = Window(told["_appid"], told["_endpoint"], *days)
        return WindowLines(window, told["_fetched_at"], len(tail), lines)
    except (ValueError, KeyError, TypeError):
        raise _ForeignLineError(lines[0]) from None


def is_ours(path: Path) -> bool:
    """Whether a segment begins with a record of ours, of the interface that its folder names."""
    try:
        with opened(path) as file:
            first = next(compression_of(path.name).lines(file, path.stat().st_size), b"")
        found = _window_lines(first[_tail_at(first) :], [first])
    except (SinkError, _ForeignLineError, OSError):
        return False
    return found.window.endpoint == path.parent.name


def marks_of(checkpoint: Checkpoint) -> Marks:
    """The segments of a checkpoint."""
    return {
        name: Mark.parse(text) for name, text in checkpoint.items() if text and NAME.fullmatch(name)
    }


def draft_of(path: Path, generation: int) -> Path:
    """Where a segment of that generation lies until it has its name."""
    return path.with_name(f"{path.name}.{generation}.tmp")


def opened(path: Path) -> FileIO:
    """A segment, to be read."""
    return path.open("rb", buffering=0)


def tail_of(file: FileIO, size: int) -> int:
    """A checksum of the bytes right before that place."""
    file.seek(max(0, size - TAIL))
    return crc32(file.read(min(TAIL, size)) or b"")


def folder_of(name: str) -> str:
    """The interface of a segment."""
    return name.partition("/")[0]
