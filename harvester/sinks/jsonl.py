"""JSON lines on disk: ``DIR/<endpoint>/000001.jsonl`` and so on, plain or compressed.

Rule: no line is changed in place; a segment grows at its end, or is replaced as a whole.

Segments are bounded in size, not in days, so their number stays small.  How they survive a crash,
and whose they are, is told in `harvester.sinks.store`.  If a ledger finds segments that it did not
write, whole lines are kept, and a window that is written again takes the place of its former self.

``?compress=gzip`` or ``zstd`` holds for what is written from then on; each name says how its
segment is packed, so a directory may hold all kinds.  Each commit is a member of its own, and small
members compress badly: a segment that consists of them is packed anew when it is full, and when a
run comes to its end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harvester import durable
from harvester.codec import add_checksums, checksum
from harvester.model import Batch, Tally, Window
from harvester.plan import Days
from harvester.sinks.base import Found, Receipt, Wanted, Written
from harvester.sinks.compression import COMPRESSIONS, compression_of
from harvester.sinks.directory import DirectorySink
from harvester.sinks.files import CHUNK
from harvester.sinks.segments import (
    Mark,
    Whole,
    by_endpoint,
    found_in,
    holds,
    is_ours,
    marks_of,
    parsed,
    widen,
    with_windows,
)
from harvester.sinks.spec import read_spec

SEGMENT_BYTES = 64 * 1024 * 1024
_COMPRESSED = 8  # lines take so many times less room: a segment is rewritten in about the same time
_LARGE_MEMBER = 128 * 1024  # of lines: nearly as dense as a whole segment
_WORTHWHILE = 4  # a segment is packed anew if one byte in so many lies in small members
_NAMES = re.compile(r"[^/]+/\d{6}\.jsonl(\.gz|\.zst)?")
_FOUND = "found"  # it held records then, of which the ledger knows nothing


class JsonLines(DirectorySink):
    """The JSON lines sink; one process a directory.

    directory: made if it is not there.
    compress: ``gzip`` or ``zstd``, or an empty string; raises `UsageError` for ``zstd`` if its
        package is not here.
    segment_bytes: a segment that has reached this size (an eighth of it, if compressed) grows no
        more.
    """

    scheme = "jsonl"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        compress: str = "",
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        super().__init__(directory, _NAMES)
        self._compression = COMPRESSIONS[compress]()
        self._segment_bytes = segment_bytes // _COMPRESSED if compress else segment_bytes
        self._spans: dict[str, dict[str, Days]] = {}  # by segment, once a replacement asked for it
        self._found: set[Window] = set()
        self._grown: set[str] = set()

    @classmethod
    def from_spec(cls, rest: str) -> JsonLines:
        """The sink that ``jsonl:DIR?compress=gzip`` names."""
        spec = read_spec("jsonl", rest, {"compress": ("gzip", "zstd")}, "jsonl:DIR")
        return cls(spec.place, compress=spec.options.get("compress", ""))

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """Each line that the receipt speaks of; raises `SinkError` if a segment is gone."""
        for name, mark in sorted(marks_of(receipt).items()):
            yield from compression_of(name).lines(self._store.current(name, mark), mark.size)

    def standing(self) -> Iterable[Window]:
        """The windows that stood here when it was opened, and no receipt spoke of."""
        return self._found

    async def adopt(self) -> tuple[Receipt, Sequence[Found]]:
        """Everything that stands here; the ledger will know of it from now on."""
        return {_FOUND: ""}, await self._own_thread.call(self._all_found)

    def documents(
        self, endpoint: str, receipt: Receipt | None, wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        """The records of an interface; without a receipt all whole lines that stand there."""
        for name, path, whole in self._store.standing(receipt, endpoint):
            yield from parsed(compression_of(name).lines(path, whole))

    # on the sink's thread: opening

    def _open(self, receipt: Receipt) -> Receipt:
        with self._translated():
            self._store.claim()
            if self._store.recover(receipt):
                if _FOUND in receipt:
                    self._found = self._windows_found()
                return {}
            return self._adopt(receipt)

    def _adopt(self, former: Receipt) -> Receipt:
        """Keep what stands here, whoever wrote it."""
        firsts = self.directory.glob("*/000001.jsonl*")
        recognised = {path.parent.name for path in firsts if is_ours(path)}
        for name in self._store.adopt(former, recognised):
            size = compression_of(name).cut_torn_end(self.directory / name)
            self._store.mark(name, Mark(size))
        self._found = self._windows_found()
        return {**self._store.adopted(former), **({_FOUND: "1"} if self._found else {})}

    def _all_found(self) -> list[Found]:
        with self._translated():
            endpoints = sorted({name.partition("/")[0] for name in self._store.marks})
            return [
                found
                for endpoint in endpoints
                for found in found_in(
                    line for name in self._segments(endpoint) for line in self._lines(name)
                )
            ]

    def _windows_found(self) -> set[Window]:
        """The windows that stand here, whatever a ledger knows of them."""
        return {window for name in self._store.marks for window in self._windows(name)}

    def _lines(self, name: str) -> Iterator[bytes]:
        path, size = self._store.path(name), self._store.marks[name].size
        return compression_of(name).lines(path, size)

    def _windows(self, name: str) -> Iterator[Window]:
        return (window for _, window in with_windows(self._lines(name)))

    # on the sink's thread: writing

    def _write(self, batches: Sequence[Batch]) -> Written:
        replaced: dict[Window, Tally] = {}
        with self._translated():
            for endpoint, group in by_endpoint(batches).items():
                if old := self._old(group):
                    self._replace(endpoint, old, replaced)
                self._append(endpoint, group)
            return Written(self._store.receipt(), replaced)

    def _old(self, group: Sequence[Batch]) -> list[Window]:
        """The windows of which records may stand here already."""
        if not self._found:
            return [batch.window for batch in group if batch.replaces]
        return [batch.window for batch in group if batch.replaces or self._may_be_found(batch)]

    def _may_be_found(self, batch: Batch) -> bool:
        window = batch.window
        return window in self._found or window.begin < window.end

    def _append(self, endpoint: str, group: Sequence[Batch]) -> None:
        """Add the lines to the segment that grows."""
        data = b"".join([batch.body for batch in group])
        if not data:
            return
        name = self._growing(endpoint)
        packed = self._compression.pack(data)
        loose = self._store.marks.get(name, Mark(0)).tag
        if self._compression.suffix and len(data) < _LARGE_MEMBER:
            loose += len(packed)
        self._store.append(name, packed, loose)
        if name in self._spans:
            widen(self._spans[name], (batch.window for batch in group if batch.records))
        self._grown.add(name)
        if self._is_full(name):
            self._pack_anew(name)

    def _segments(self, endpoint: str) -> list[str]:
        return sorted(name for name in self._store.marks if name.startswith(f"{endpoint}/"))

    def _growing(self, endpoint: str) -> str:
        """The segment that grows; a new one if the last is full, or packed another way."""
        last = max(self._segments(endpoint), default="")
        packed_so = last and compression_of(last).suffix == self._compression.suffix
        if packed_so and not self._is_full(last):
            return last
        number = int(Path(last).name[:6]) + 1 if last else 1
        name = f"{endpoint}/{number:06}.jsonl{self._compression.suffix}"
        self._store.refuse_foreign(name)
        if self._spans:
            self._spans[name] = {}
        return name

    def _is_full(self, name: str) -> bool:
        """Whether a segment has its size; half of it, where all is packed densely."""
        size, _, loose, _ = self._store.marks[name]
        dense = self._compression.suffix and size - loose >= self._segment_bytes // 2
        return size >= self._segment_bytes or bool(dense and loose)

    def _replace(
        self, endpoint: str, windows: Sequence[Window], replaced: dict[Window, Tally]
    ) -> None:
        """Write anew each segment that holds records of these windows."""
        for name in self._segments(endpoint):
            if name not in self._spans:
                self._spans[name] = widen({}, self._windows(name))
            here = {window for window in windows if holds(self._spans[name], window)}
            if here:
                self._take_out(name, here, replaced)

    def _take_out(self, name: str, windows: set[Window], replaced: dict[Window, Tally]) -> None:
        dropped = 0
        whole = Whole(windows)

        def staying() -> Iterator[bytes]:
            nonlocal dropped
            for line, stored in with_windows(self._lines(name)):
                window = whole.around(stored)
                if window is not None:
                    dropped += 1
                    self._found.discard(stored)
                    former = replaced.get(window, Tally())
                    total = add_checksums(former.checksum, checksum([line]))
                    replaced[window] = Tally(former.records + 1, total)
                else:
                    yield line

        size = self._copy(name, staying())
        if dropped:
            self._store.replace(name, size)
        else:
            durable.remove(self._store.draft(name), "rewritten segment that is as it was")

    def _copy(self, name: str, lines: Iterable[bytes]) -> int:
        """Write a segment anew beside it, as one member; gives its size."""
        packer = compression_of(name).packer()
        size = 0
        draft = self._store.draft(name)
        step = durable.step("write rewritten segment")
        with step, draft.open("wb", buffering=CHUNK) as file:
            for line in lines:
                size += file.write(packer.compress(line))
            return size + file.write(packer.flush())

    def _pack_anew(self, name: str) -> None:
        """Make one member of many, if that is worthwhile."""
        size, _, loose, _ = self._store.marks[name]
        if loose * _WORTHWHILE > size:
            self._store.replace(name, self._copy(name, self._lines(name)))

    def _finish(self) -> Written:
        with self._translated():
            for name in self._grown:
                self._pack_anew(name)
            return Written(self._store.receipt())

    def _forget(self) -> None:
        self._spans.clear()
        self._grown.clear()
