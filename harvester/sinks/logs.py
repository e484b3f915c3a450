"""What is committed, but not yet in Parquet files: a log of lines for each interface.

Rule: a log only grows; what it says last counts.

Lines are records, as JSON lines hold them.  A line that begins with ``-`` names a window whose
records, wherever they stand, have given way to what follows: those within it in the log before,
and those in the files.  In memory is kept where each window's lines lie, and no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from harvester.codec import add_checksums, checksum, encode
from harvester.errors import SinkError
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks import arrow
from harvester.sinks.compression import Plain
from harvester.sinks.segments import Whole, window_of

_GONE = b"-"
_FETCHED_AT = slice(-len('2024-01-01T00:00:00Z"}\n'), -len('"}\n'))  # last in a line


class Entry(NamedTuple):
    """The lines of one window in a log."""

    offset: int
    size: int
    records: int
    checksum: int
    fetched_at: str

    @property
    def tally(self) -> Tally:
        """How many they are, and their checksum."""
        return Tally(self.records, self.checksum)


class Log:
    """What a log holds.

    entries: of the windows that count.  replacing: the windows that were named as given way.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.entries: dict[Window, Entry] = {}
        self.replacing: set[Window] = set()

    def __repr__(self) -> str:
        return f"<Log {self.name}, {len(self.entries)} windows, {self.size} bytes>"

    def add(self, batches: Sequence[Batch], standing: set[Window]) -> bytes:
        """Take batches in; gives the bytes to append.  standing: the windows that are replaced."""
        pieces = []
        for window in sorted(standing):  # all of them first: they are not meant for one another
            pieces.append(_GONE + encode(metadata(window, "")) + b"\n")
            self.size += len(pieces[-1])
            self.replacing.add(window)
        for batch in batches:
            if batch.body:
                pieces.append(batch.body)
                self._note(
                    batch.window,
                    Entry(0, len(batch.body), batch.records, batch.checksum, batch.fetched_at),
                )
        return b"".join(pieces)

    def take_out(self, windows: set[Window]) -> Iterator[tuple[Window, Tally]]:
        """Forget what lies within these windows; gives each that held something, and what."""
        single = {window for window in windows if window.begin == window.end}
        for window in single & self.entries.keys():
            yield window, self.entries.pop(window).tally
        if len(single) < len(windows):
            whole = Whole(windows - single)
            for stored in [*self.entries]:
                window_around = whole.around(stored)
                if window_around is not None:
                    yield window_around, self.entries.pop(stored).tally

    def replay(self, path: Path, size: int) -> None:
        """Take in what a log on the disk says."""
        lines = ((_window_in(line), line) for line in Plain().lines(path, size))
        for (window, gone), group in groupby(lines, lambda each: each[0]):
            held = [line for _, line in group]
            length = sum(map(len, held))
            if gone:
                for _ in self.take_out({window}):
                    pass
                self.replacing.add(window)
                self.size += length
            else:
                fetched_at = held[0][_FETCHED_AT].decode()
                self._note(window, Entry(0, length, len(held), checksum(held), fetched_at))

    def _note(self, window: Window, entry: Entry) -> None:
        self.entries[window] = entry._replace(offset=self.size)
        self.size += entry.size


def _window_in(line: bytes) -> tuple[Window, bool]:
    """The window of a line, and whether it is named as given way."""
    gone = line.startswith(_GONE)
    return window_of(line[1:] if gone else line), gone


def is_log(path: Path) -> bool:
    """Whether a file begins as a log of ours does, of the interface that its folder names."""
    lines = Plain().lines(path, path.stat().st_size)
    try:
        return _window_in(next(lines, b""))[0].endpoint == path.parent.name
    except SinkError:
        return False
    finally:
        lines.close()


def lines_of(path: Path, entries: Iterable[tuple[Window, Entry]]) -> list[arrow.Lines]:
    """The lines of each entry."""
    found = []
    with path.open("rb") as file:
        for window, entry in entries:
            file.seek(entry.offset)
            lines = file.read(entry.size)
            found.append(arrow.Lines(window, entry.fetched_at, entry.records, lines))
    return found


def added(replaced: dict[Window, Tally], found: Iterable[tuple[Window, Tally]]) -> None:
    """Add up what was replaced, window by window."""
    for window, tally in found:
        former = replaced.get(window, Tally())
        total = add_checksums(former.checksum, tally.checksum)
        replaced[window] = Tally(former.records + tally.records, total)
