"""What sinks that write files have in common: whole lines, and errors in words.

Rule: a function here does one thing to one file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from harvester import durable
from harvester.errors import SinkError

CHUNK = 1 << 20
TAIL = 512


class Translated:
    """Turns an OSError into one sentence that says what to do."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, exc: BaseException | None, *trace: object) -> None:
        if isinstance(exc, OSError):
            full = exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            what = "the disk is full" if full else f"{exc.strerror or exc}"
            raise SinkError(
                f"{self._directory} could not be written: {what}; nothing that was committed is"
                f" lost: {'make room' if full else 'mend it'} and run the same command again"
            ) from exc


def read_lines(path: Path, size: int) -> Iterator[bytes]:
    """The lines of a segment up to where it counts."""
    with path.open("rb", buffering=CHUNK) as file:
        for line in file:
            size -= len(line)
            if size < 0:
                return
            yield line


def tail_of(path: Path, size: int) -> int:
    """A checksum of the bytes that stand right before that place."""
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        return crc32(file.read(min(TAIL, size)))


def cut_torn_line(path: Path) -> int:
    """Cut off what follows the last line end; gives the size."""
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            durable.truncate(file.fileno(), end, "torn segment")
        return end
