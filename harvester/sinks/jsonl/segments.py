"""Reads files of JSON lines: which windows they hold, and where.

Rule: reads; writes nothing but the temporary copy of what is compressed.

The metadata ends each line, in the same bytes for all lines of a window: so windows are found
without parsing a record.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from functools import lru_cache
from io import FileIO
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from harvester.base.codec import METADATA_BEGINS, parse_lines, parse_small, records_checksum
from harvester.errors import SinkError
from harvester.model import Tally, Window
from harvester.sinks.jsonl.compression import compression_of
from harvester.texts import of_system

ANY_DAY = date.max.toordinal()


class Extent(NamedTuple):
    """How much of a file counts.

    size: in bytes.  last: no window has a day after this one, an ordinal; 0 of a journal, which
    may have windows of any day.  check: of the bytes before its end (`Directory.check`), -1 if it
    is not known: the first released version did not note it.
    """

    size: int = 0
    last: int = 0
    check: int = -1

    def __str__(self) -> str:
        return " ".join(map(str, self if self.check >= 0 else self[:2]))


Extents = dict[str, Extent]


class Days:
    """Days by account, one bit each: two windows overlap if they have a day in common."""

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        self._bits: dict[str, int] = {}
        self.add(windows)

    def add(self, windows: Iterable[Window]) -> None:
        for window in windows:
            bits = _bits_of(window.begin, window.end)
            self._bits[window.appid] = self._bits.get(window.appid, 0) | bits

    def overlaps(self, window: Window) -> bool:
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

    tail: the length of their common end.  start: the place of the first one in the unpacked file.
    lines: none if the window replaces others and has no records.
    """

    window: Window
    fetched_at: str
    tail: int
    start: int
    lines: list[bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.lines))

    def tally(self) -> Tally:
        checksum = records_checksum(self._pieces())
        return Tally.of(len(self.lines), checksum, self.lines[0][-self.tail :])

    def records(self) -> list[dict[str, Any]]:
        """The records, without the metadata."""
        found: list[dict[str, Any]] = parse_lines(b"}\n".join([*self._pieces(), b""]))
        return found

    def _pieces(self) -> list[bytes]:
        """The lines without their ends; a byte there that is no comma is noticed by `tally`."""
        end, comma = -self.tail, -self.tail - 1
        return [line[:comma] if line[comma:end] == b"," else line[:end] for line in self.lines]


_NO_TAIL = b"\n\n"
_QUOTE = 0x22


def windows_in(pieces: Iterable[bytes], path: object) -> Iterator[WindowLines]:
    """The windows of an unpacked file, in the order in which they were written.

    In the journal the metadata alone is a line before each window.  Raises `SinkError`.
    """
    tail, held, start, place = _NO_TAIL, list[bytes](), 0, 0
    try:
        for line in _lines_of(pieces):
            if line.endswith(tail) and line[0] != _QUOTE:
                held.append(line)
            else:
                if held:
                    yield _window_lines(tail, start, held)
                if (tail_at := line.rfind(METADATA_BEGINS)) < 0:
                    raise _ForeignLineError(line)
                tail, held, start = line[tail_at:], [line], place
            place += len(line)
        if held:
            yield _window_lines(tail, start, held)
    except OSError as exc:
        raise SinkError("{} cannot be read ({})", path, of_system(exc)) from exc
    except _ForeignLineError as exc:
        raise SinkError(
            "{}: a line that ends with {!r} is not a record of harvester; restore the file from "
            "a backup, or move it and the ledger away to harvest everything again",
            path,
            exc.args[0][-60:].decode(errors="replace"),
        ) from None


def _lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        block = rest + piece
        end = block.rfind(b"\n") + 1
        yield from io.BytesIO(block[:end])
        rest = block[end:]


class _ForeignLineError(Exception):
    """A line, the argument, is not a harvester record."""


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


def first_day_of(name: str) -> int:
    """The first day of the period of a file, an ordinal."""
    period = name.partition("/")[2].partition(".")[0]
    return date.fromisoformat(f"{period}-01-01"[:10]).toordinal()


def may_have(name: str, extent: Extent, first: int, last: int) -> bool:
    """Whether a file may have windows with a day between these ordinals, both included."""
    return first_day_of(name) <= last and first <= extent.last


class Source:
    """The part of a file that counts, for reading; it does not change while it is open."""

    def __init__(self, name: str, file: FileIO, extent: Extent) -> None:
        self.name = name
        self.extent = extent
        self._file = file
        self._spool: IO[bytes] | None = None
        self.last = 0
        """The place of its last window, once it was read to its end."""

    def windows(self, stack: ExitStack | None = None) -> Iterator[WindowLines]:
        """Its windows; stack: for a copy of what is compressed, so that `read` can be used."""
        packing = compression_of(self.name)
        pieces = packing.pieces(self._file, self.extent.size)
        if stack is not None and packing.suffix:
            self._spool = TemporaryFile(buffering=0)  # noqa: SIM115  (the stack closes it)
            stack.enter_context(self._spool)
            pieces = self._copied(pieces, self._spool)
        return windows_in(pieces, self._file.name)

    @staticmethod
    def _copied(pieces: Iterable[bytes], spool: IO[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            spool.write(piece)
            yield piece

    def read(self, start: int, size: int) -> bytes:
        return os.pread((self._spool or self._file).fileno(), size, start)
