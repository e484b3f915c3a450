"""Reads files of JSON lines: which bytes count, and which windows they hold.

Rule: reads; writes nothing.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from harvester.base.codec import METADATA_BEGINS, parse_lines, parse_small, records_checksum
from harvester.errors import SinkError
from harvester.model import Tally, Window

NAME = re.compile(r"[^/]+/\d{4}(-\d\d)?\.jsonl(\.gz|\.zst)?")
"""The file of an interface and of a month, or of a year."""
JOURNAL = ".replaced.jsonl"
"""The file of the windows that replace others, until they are merged into the files of months."""
TAIL = 512
"""Bytes of which a mark has the checksum."""
ANY_DAY = date.max.toordinal()


class SegmentState(NamedTuple):
    """How much of a file counts.

    size: in bytes.  generation: how often it was rewritten.  small: bytes in small members.
    tail: a checksum of the bytes that end there: another file of the same length has another one.
    last: no window has a day after this one, an ordinal.
    """

    size: int = 0
    generation: int = 0
    small: int = 0
    tail: int = 0
    last: int = 0

    @classmethod
    def parse(cls, text: str) -> SegmentState:
        return cls(*map(int, text.split()))

    def __str__(self) -> str:
        return " ".join(map(str, self))


SegmentStates = dict[str, SegmentState]


class Days:
    """Days by account, a bit each: two windows overlap if they have a day in common."""

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self._bits: dict[str, int] = {}
        self.add(windows)

    def add(self, windows: Iterable[Window]) -> None:
        """The days of these, too."""
        for window in windows:
            bits = _bits_of(window.begin, window.end)
            self._bits[window.appid] = self._bits.get(window.appid, 0) | bits

    def overlaps(self, window: Window) -> bool:
        """Whether a window has one of these days."""
        return bool(self._bits.get(window.appid, 0) & _bits_of(window.begin, window.end))

    def reach(self, first: int, last: int) -> bool:
        """Whether an account has a day between these ordinals, both included."""
        days = _bits(first, last) if first <= last else 0
        return any(bits & days for bits in self._bits.values())


_FIRST = date(2000, 1, 1).toordinal()


def _bits(first: int, last: int) -> int:
    first, last = max(first - _FIRST, 0), max(last - _FIRST, 0)
    return ((1 << (last - first + 1)) - 1) << first


@lru_cache(maxsize=1 << 10)  # the same days come with each account
def _bits_of(begin: date, end: date) -> int:
    return _bits(begin.toordinal(), end.toordinal())


class WindowLines(NamedTuple):
    """The lines of a stored window, which follow each other.

    tail: the length of what they all end with.  start: the place of the first one in the unpacked
    file.  lines: none if the window replaces others and has no records.
    """

    window: Window
    fetched_at: str
    tail: int
    start: int
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
_QUOTE = 0x22


def windows_in(pieces: Iterable[bytes], path: object) -> Iterator[WindowLines]:
    """The windows of an unpacked file, in the order in which they were written.

    In the journal the metadata alone is a line before each window.  path: for messages; raises
    `SinkError`.
    """
    tail, held, start, place = _NO_TAIL, list[bytes](), 0, 0
    try:
        for line in _lines_of(pieces):
            if line.endswith(tail) and line[0] != _QUOTE:
                held.append(line)
            else:
                if held:
                    yield _window_lines(tail, start, held)
                tail, held, start = line[_tail_at(line) :], [line], place
            place += len(line)
        if held:
            yield _window_lines(tail, start, held)
    except OSError as exc:
        raise SinkError(f"{path} cannot be read ({exc.strerror})") from exc
    except _ForeignLineError as exc:
        raise SinkError(
            f"{path}: a line that ends with {exc.args[0][-60:].decode(errors='replace')!r} is not a"
            " record of harvester; put the file back from a copy, or move it and the ledger away to"
            " harvest everything again"
        ) from None


def _lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines; what follows the last line end is left out."""
    rest = b""
    for piece in pieces:
        block = rest + piece
        end = block.rfind(b"\n") + 1
        yield from io.BytesIO(block[:end])
        rest = block[end:]


class _ForeignLineError(Exception):
    """A line, the argument, is not a record of ours."""


def _tail_at(line: bytes) -> int:
    place = line.rfind(METADATA_BEGINS)
    if place < 0:
        raise _ForeignLineError(line)
    return place


_METADATA = re.compile(
    rb'"_appid":"([^"\\]*)","_endpoint":"([^"\\]*)","_begin_date":"([^"\\]*)",'
    rb'"_end_date":"([^"\\]*)","_fetched_at":"([^"\\]*)"}\n'
)


def _window_lines(tail: bytes, start: int, lines: list[bytes]) -> WindowLines:
    try:
        if found := _METADATA.fullmatch(tail):  # several times faster than JSON
            appid, endpoint, begin, end, fetched_at = found.groups()
            window = Window(appid.decode(), endpoint.decode(), _day(begin), _day(end))
            stamp = fetched_at.decode()
        else:
            of = parse_small(b"{" + tail)
            days = date.fromisoformat(of["_begin_date"]), date.fromisoformat(of["_end_date"])
            window = Window(of["_appid"], of["_endpoint"], *days)
            stamp = of["_fetched_at"]
        if window.begin > window.end:
            raise _ForeignLineError(lines[0])
    except (ValueError, KeyError, TypeError):
        raise _ForeignLineError(lines[0]) from None
    if lines[0][0] == _QUOTE:
        start += len(lines.pop(0))
    return WindowLines(window, stamp, len(tail), start, lines)


@lru_cache(maxsize=1 << 14)
def _day(text: bytes) -> date:
    return date.fromisoformat(text.decode())


def opened(path: Path) -> FileIO:
    """A file, to be read."""
    return path.open("rb", buffering=0)


def tail_of(file: FileIO, size: int) -> int:
    """A checksum of the bytes right before that place."""
    begin = max(0, size - TAIL)
    return crc32(os.pread(file.fileno(), size - begin, begin))


def folder_of(name: str) -> str:
    """The interface of a file."""
    return name.partition("/")[0]


def first_day_of(name: str) -> int:
    """The first day of the period of a file, an ordinal."""
    period = name.partition("/")[2].partition(".")[0]
    return date.fromisoformat(f"{period}-01-01"[:10]).toordinal()
