"""What sinks that write files have in common: errors in words.

Rule: nothing is written here.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

from harvester import durable
from harvester.errors import SinkError

NOTES = {".jsonl.lock": "JSON lines", ".parquet.lock": "Parquet files"}
"""What tells whose a directory is, and what lies in it then."""
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
            full = durable.is_full(exc)
            what = "the disk is full" if full else f"{exc.strerror or exc}"
            raise SinkError(
                f"{self._directory} could not be written: {what}; nothing that was committed is"
                f" lost: {'make room' if full else 'mend it'} and run the same command again"
            ) from exc


def tail_of(path: Path, size: int) -> int:
    """A checksum of the bytes that stand right before that place."""
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        return crc32(file.read(min(TAIL, size)))
