"""One Parquet file: how it is written, and what it says of itself.

Rule: a file is written once, from beginning to end, and tells the windows that it holds.

The windows stand in the footer, under ``harvester.windows``, with the number of their records and
the checksum of their lines, so that a window can be found and replaced without reading a row.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from harvester import durable
from harvester.codec import encode, parse
from harvester.errors import SinkError
from harvester.model import Tally, Window
from harvester.plan import rfc3339
from harvester.sinks import arrow
from harvester.sinks.arrow import pa, pq
from harvester.sinks.base import Stored
from harvester.sinks.files import CHUNK

ROWS = 1 << 16
"""Rows of a row group."""

_WINDOWS = b"harvester.windows"
Windows = dict[Window, Tally]


class Writer:
    """A file that grows by batches; ``size`` is what it has on the disk so far."""

    def __init__(self, path: Path, schema: Any) -> None:
        self.windows: Windows = {}
        self._schema = schema
        self._file = path.open("wb", buffering=CHUNK)
        self._writer = pq.ParquetWriter(
            self._file, schema, compression="zstd", write_page_checksum=True
        )
        self._waiting: list[Any] = []
        self._rows = 0

    @property
    def size(self) -> int:
        return self._file.tell()

    def add(self, batch: Any) -> None:
        """Write it, as part of a row group."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= ROWS:
            self._write_group()

    def close(self) -> int:
        """Write the footer; gives the size."""
        try:
            with durable.step("write rewritten segment"):
                self._write_group()
                self._writer.add_key_value_metadata({_WINDOWS: _packed(self.windows)})
                self._writer.close()
                self._file.flush()
                return self._file.tell()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave it as it is; if it was not closed, nobody will speak of it."""
        with suppress(Exception), self._file:
            self._writer.close()

    def _write_group(self) -> None:
        if self._rows:
            group = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(group, row_group_size=max(ROWS, self._rows))
        self._waiting, self._rows = [], 0


def windows_in(path: Path) -> Windows:
    """The windows that a file says it holds; raises `SinkError` if no harvester wrote it."""
    try:
        kept = (pq.read_metadata(path).metadata or {})[_WINDOWS]
        return _unpacked(kept)
    except (pa.ArrowException, KeyError, ValueError, TypeError, zlib.error) as exc:
        raise damaged(path) from exc


def batches_in(path: Path) -> Iterator[Any]:
    """The rows of a file, their pages' checksums verified; raises `SinkError`."""
    try:
        # Read ahead, and by several threads, a year's files would take 60 MB more.
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            yield from file.iter_batches(ROWS, use_threads=False)
        pa.default_memory_pool().release_unused()  # Arrow would keep it for the next file
    except (pa.ArrowException, OSError) as exc:
        raise damaged(path) from exc


def fetched_in(path: Path) -> dict[Window, str]:
    """When each window of a file was fetched, RFC 3339."""
    found: dict[Window, str] = {}
    for batch in batches_in(path):
        column = batch.column(batch.schema.get_field_index("_fetched_at"))
        moments = column.cast(pa.int64()).to_pylist()  # microseconds
        for window, moment in zip(arrow.windows_of(batch), moments, strict=True):
            if window not in found:
                found[window] = rfc3339(moment / 1e6)
    return found


def schema_in(path: Path) -> Any:
    """The columns of a file."""
    try:
        return pq.read_schema(path).remove_metadata()
    except pa.ArrowException as exc:
        raise damaged(path) from exc


def damaged(path: Path) -> SinkError:
    """What is said of a file that is not as it was written."""
    return SinkError(
        f"{path} is damaged, or no harvester wrote it; put it back from a copy, or move it and the"
        " ledger away to harvest everything anew"
    )


def crc(path: Path) -> int:
    """The checksum of a whole file."""
    total = 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            total = zlib.crc32(data, total)
    return total


def counted(path: Path) -> Iterator[Stored]:
    """The windows of a file by its rows, held against what it says; every page is read."""
    counts: dict[Window, int] = defaultdict(int)
    for batch in batches_in(path):
        for window in arrow.windows_of(batch):
            counts[window] += 1
    said = windows_in(path)
    for window in counts.keys() | said.keys():
        intact = window in said and said[window].records == counts[window]
        yield Stored(window, counts[window], intact)


def _packed(windows: Mapping[Window, Tally]) -> bytes:
    by_series: dict[str, list[tuple[int, int, int, int]]] = {}
    for (appid, endpoint, begin, end), (records, total) in windows.items():
        key = f"{appid} {endpoint}"
        by_series.setdefault(key, []).append((begin.toordinal(), end.toordinal(), records, total))
    return b64encode(zlib.compress(encode(by_series)))


def _unpacked(kept: bytes) -> Windows:
    found: Windows = {}
    for key, listed in parse(zlib.decompress(b64decode(kept))).items():
        appid, _, endpoint = key.rpartition(" ")
        for begin, end, records, total in listed:
            window = Window(appid, endpoint, date.fromordinal(begin), date.fromordinal(end))
            found[window] = Tally(records, total)
    return found
