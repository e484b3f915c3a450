"""JSON lines on disk: ``DIR/<endpoint>/000001.jsonl`` and so on.

Rule: no line is changed in place; a segment grows at its end, or is replaced as a whole.

Segments are bounded in size, not in days, so their number stays small.  A receipt holds the length
of each segment up to which it counts, and its generation:

- what lies beyond that length was never committed, and is cut off at the next start;
- to replace a window, each segment that holds records of it is written anew beside the old one,
  as ``000001.jsonl.<generation>.tmp``.  Once the receipt with the new generation is stored, the new
  one takes the old one's name.  A crash before that leaves a file that nobody speaks of, which the
  next start removes; a crash after it leaves a file that the receipt names, which the next start
  puts in its place.

That holds only for what this ledger wrote.  ``.jsonl.lock`` names the owner, the ledger or the run
without one that wrote here last, and the folders that were made here.  If that is not the
receipt's (no ledger, a new one over old data, two in turn), nothing is cut but a torn last line:
whole lines are kept, and a window that is written again takes the place of its former self.
Folders and files that no harvester made are never touched.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harvester import durable
from harvester.codec import add_checksums, checksum, encode, parse
from harvester.errors import SinkError, UsageError
from harvester.lock import Claim
from harvester.model import Batch, Tally, Window
from harvester.plan import Days
from harvester.sinks.base import Receipt, Written
from harvester.sinks.files import (
    CHUNK,
    Translated,
    cut_torn_line,
    read_lines,
)
from harvester.sinks.segments import (
    Lines,
    Mark,
    Whole,
    holds,
    is_ours,
    marks_of,
    rewritten_path,
    widen,
    with_windows,
)
from harvester.thread import Thread

_NOTE = ".jsonl.lock"
SEGMENT_BYTES = 64 * 1024 * 1024
_SEGMENT = re.compile(r"\d{6}\.jsonl")
_REWRITTEN = re.compile(r"(\d{6}\.jsonl)\.(\d+)\.tmp")
_OWNER = "owner"  # what the directory's note must say for the receipt to hold
_FOUND = "found"  # it held records then, of which the ledger knows nothing


@dataclass
class _Endpoint:
    """The segments of one interface; ``marks`` by file name, in order of their names.

    spans: for each segment the first and last day it holds of each account; None until the first
        replacement asks for it.
    """

    folder: Path
    marks: dict[str, Mark] = field(default_factory=dict)
    spans: dict[str, dict[str, Days]] | None = None


class JsonLines:
    """The JSON lines sink; one process a directory.

    directory: made if it is not there.
    segment_bytes: a segment that has reached this size grows no more.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.directory = Path(directory)
        self._segment_bytes = segment_bytes
        self._thread: Thread | None = None
        self._claim: Claim | None = None
        self._endpoints: dict[str, _Endpoint] = {}
        self._found: set[Window] = set()
        self._owner = ""
        self._folders: list[str] = []
        self._open_files: dict[Path, int] = {}
        self._pending: list[tuple[Path, Path]] = []

    @classmethod
    def from_spec(cls, rest: str) -> JsonLines:
        """The sink that ``jsonl:DIR`` names."""
        if not rest or "?" in rest:
            raise UsageError(f"sink: jsonl:{rest} is not one; write it as jsonl:DIR")
        return cls(rest)

    def __repr__(self) -> str:
        segments = sum(len(endpoint.marks) for endpoint in self._endpoints.values())
        return f"<JsonLines {self.directory}, {segments} segments>"

    @property
    def identity(self) -> str:
        """``jsonl:`` and the directory."""
        return f"jsonl:{self.directory.resolve()}"

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Claim the directory and bring it to where the receipt says."""
        self._thread = Thread("harvester-jsonl")
        return await self._thread.call(self._open, receipt)

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Append the batches to their segments, one fsync a segment."""
        assert self._thread is not None, "the sink is not open"
        return await self._thread.call(self._write, batches)

    async def settle(self) -> None:
        """Put rewritten segments in the place of those they replace."""
        if self._pending:
            assert self._thread is not None
            await self._thread.call(self._settle)

    async def close(self) -> None:
        """Close the files and give up the directory."""
        if self._thread is not None:
            try:
                await self._thread.call(self._close)
            finally:
                self._thread.close()
                self._thread = None

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """Each line that the receipt speaks of; raises `SinkError` if a segment is gone."""
        for name, mark in sorted(marks_of(receipt).items()):
            yield from read_lines(self._current(name, mark), mark.size)

    def standing(self) -> Iterable[Window]:
        """The windows that stood here when it was opened, and no receipt spoke of."""
        return self._found

    # on the sink's thread: opening

    def _open(self, receipt: Receipt | None) -> Receipt:
        try:
            durable.make_directory(self.directory, "directory of segments")
            self._claim = Claim(self.directory / _NOTE, f"the directory {self.directory}")
        except OSError as exc:
            raise UsageError(
                f"the directory {self.directory} cannot be written ({exc.strerror})"
            ) from exc
        with self._translated():
            owner, self._folders = self._read_note()
            self._owner = owner
            if receipt and receipt.get(_OWNER) == owner:
                self._recover(marks_of(receipt))
                if _FOUND in receipt:
                    self._found = self._windows_found()
                return {}
            return self._adopt(receipt or {})

    def _read_note(self) -> tuple[str, list[str]]:
        """Who wrote here last, and the folders that were made here."""
        try:
            note = parse(self._claim.noted() if self._claim is not None else b"")
            return str(note["owner"]), [str(name) for name in note["folders"]]
        except (ValueError, KeyError, TypeError):  # a new directory, or a note that was torn
            return "", []

    def _write_note(self) -> None:
        assert self._claim is not None
        self._claim.note(encode({"owner": self._owner, "folders": self._folders}), "segments' note")
        durable.sync_directory(self.directory)

    def _recover(self, marks: Mapping[str, Mark]) -> None:
        for name, mark in marks.items():
            path = self.directory / name
            current = self._current(name, mark)
            if current != path:
                durable.rename(current, path, "segment")
            if path.stat().st_size > mark.size:
                with path.open("r+b") as file:
                    durable.truncate(file.fileno(), mark.size, "segment")
            self._endpoint(path.parent.name).marks[path.name] = mark
        for path in self._stray({*self._folders, *self._endpoints}, set(marks)):
            durable.remove(path, "segment that no receipt speaks of")

    def _current(self, name: str, mark: Mark) -> Path:
        """Where a segment of this generation lies: under its name, or still beside it."""
        path = self.directory / name
        rewritten = rewritten_path(path, mark.generation)
        if rewritten.exists():
            path = rewritten
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size < mark.size:
            state = "gone" if size < 0 else f"cut to {size} of its {mark.size} bytes"
            raise SinkError(
                f"{path} is {state}, though the ledger says that it was stored; put it back, or"
                " move the ledger away to harvest everything anew into what is left"
            )
        return path

    def _stray(self, folders: Iterable[str], known: set[str]) -> list[Path]:
        """Segments and rewritten segments of ours that no receipt speaks of."""
        return [
            path
            for name in sorted(folders)
            for path in sorted((self.directory / name).glob("*"))
            if f"{name}/{path.name}" not in known
            and (_SEGMENT.fullmatch(path.name) or _REWRITTEN.fullmatch(path.name))
        ]

    def _adopt(self, former: Receipt) -> Receipt:
        """Keep what stands here, whoever wrote it."""
        for name in marks_of(former):
            if not (self.directory / name).exists():
                self._current(name, Mark(1))  # says that it is gone
        looks_ours = {path.parent.name for path in self.directory.glob("*/000001.jsonl")
                      if is_ours(path)}  # fmt: skip
        self._folders = sorted({*self._folders, *looks_ours})
        self._owner = secrets.token_hex(16)
        self._write_note()
        receipt = dict.fromkeys(former, "")
        for path in self._stray(self._folders, set()):
            if _REWRITTEN.fullmatch(path.name):
                durable.remove(path, "rewritten segment that no receipt speaks of")
                continue
            mark = Mark(cut_torn_line(path))
            self._endpoint(path.parent.name).marks[path.name] = mark
            receipt[f"{path.parent.name}/{path.name}"] = str(mark)
        self._found = self._windows_found()
        if self._found:
            receipt[_FOUND] = "1"
        return {**receipt, _OWNER: self._owner}

    def _windows_found(self) -> set[Window]:
        """The windows that stand here, whatever a ledger knows of them."""
        return {
            window
            for endpoint in self._endpoints.values()
            for segment in endpoint.marks
            for _, window in self._lines(endpoint, segment)
        }

    def _endpoint(self, name: str) -> _Endpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            endpoint = self._endpoints[name] = _Endpoint(self.directory / name)
        return endpoint

    # on the sink's thread: writing

    def _write(self, batches: Sequence[Batch]) -> Written:
        by_endpoint: dict[str, list[Batch]] = defaultdict(list)
        for batch in batches:
            by_endpoint[batch.window.endpoint].append(batch)
        receipt: Receipt = {}
        replaced: dict[Window, Tally] = {}
        with self._translated():
            for name, group in by_endpoint.items():
                endpoint = self._endpoint(name)
                old = [batch.window for batch in group if self._stands(batch)]
                rewritten = self._rewrite(endpoint, old, replaced) if old else {}
                grown = self._append(endpoint, group, rewritten)
                self._finish(endpoint, rewritten)
                for segment in {*rewritten, *grown}:
                    receipt[f"{name}/{segment}"] = str(endpoint.marks[segment])
        return Written(receipt, replaced)

    def _stands(self, batch: Batch) -> bool:
        """Whether records of the window may stand here already."""
        if batch.replaces or not self._found:
            return batch.replaces
        window = batch.window
        return window in self._found or window.begin < window.end

    def _append(
        self, endpoint: _Endpoint, group: Sequence[Batch], rewritten: Mapping[str, Path]
    ) -> list[str]:
        """Add the lines to the segment that grows; gives its name, if there were any."""
        data = b"".join([batch.body for batch in group])
        if not data:
            return []
        segment = self._last_segment(endpoint)
        mark = endpoint.marks.get(segment, Mark(0))
        self._put(rewritten.get(segment, endpoint.folder / segment), mark.size, data)
        endpoint.marks[segment] = mark._replace(size=mark.size + len(data))
        if endpoint.spans is not None:
            widen(endpoint.spans[segment], (batch.window for batch in group if batch.records))
        return [segment]

    def _last_segment(self, endpoint: _Endpoint) -> str:
        """The segment that grows; a new one if the last is full."""
        last = max(endpoint.marks, default="")
        if last and endpoint.marks[last].size < self._segment_bytes:
            return last
        segment = f"{int(last[:6] or 0) + 1:06}.jsonl"
        if (endpoint.folder / segment).exists():
            raise SinkError(
                f"{endpoint.folder / segment} is there, and this harvest did not write it; move it"
                " away, or choose another directory"
            )
        if endpoint.folder.name not in self._folders:
            self._folders.append(endpoint.folder.name)
            self._write_note()
        if endpoint.spans is not None:
            endpoint.spans[segment] = {}
        return segment

    def _put(self, path: Path, size: int, data: bytes) -> None:
        descriptor = self._open_files.get(path)
        if descriptor is None:
            descriptor = self._open_file(path)
        try:
            durable.write(descriptor, data, "segment")
            durable.sync(descriptor, "segment")
        except OSError:
            os.ftruncate(descriptor, size)
            raise

    def _open_file(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if path.exists():
            descriptor = os.open(path, flags)
        else:
            durable.make_directory(path.parent, "folder of segments")
            with durable.step("make segment"):
                descriptor = os.open(path, flags, 0o644)
                durable.sync_directory(path.parent)
        for former in [key for key in self._open_files if key.parent == path.parent]:
            os.close(self._open_files.pop(former))
        self._open_files[path] = descriptor
        return descriptor

    def _rewrite(
        self, endpoint: _Endpoint, windows: Sequence[Window], replaced: dict[Window, Tally]
    ) -> dict[str, Path]:
        """Write anew, beside it, each segment that holds records of these windows."""
        if endpoint.spans is None:
            endpoint.spans = {
                segment: widen({}, (window for _, window in self._lines(endpoint, segment)))
                for segment in endpoint.marks
            }
        rewritten: dict[str, Path] = {}
        for segment, spans in endpoint.spans.items():
            here = {window for window in windows if holds(spans, window)}
            if here:
                path = self._rewrite_segment(endpoint, segment, here, replaced)
                if path is not None:
                    rewritten[segment] = path
        return rewritten

    def _rewrite_segment(
        self,
        endpoint: _Endpoint,
        segment: str,
        windows: set[Window],
        replaced: dict[Window, Tally],
    ) -> Path | None:
        mark = endpoint.marks[segment]
        path = rewritten_path(endpoint.folder / segment, mark.generation + 1)
        size = dropped = 0
        whole = Whole(windows)
        step = durable.step("write rewritten segment")
        with step, path.open("wb", buffering=CHUNK) as file:
            for line, stored in self._lines(endpoint, segment):
                window = whole.around(stored)
                if window is not None:
                    dropped += 1
                    self._found.discard(stored)
                    former = replaced.get(window, Tally())
                    total = add_checksums(former.checksum, checksum([line]))
                    replaced[window] = Tally(former.records + 1, total)
                else:
                    size += file.write(line)
        if not dropped:
            durable.remove(path, "rewritten segment that is as it was")
            return None
        endpoint.marks[segment] = Mark(size, mark.generation + 1)
        return path

    def _lines(self, endpoint: _Endpoint, segment: str) -> Lines:
        return with_windows(read_lines(endpoint.folder / segment, endpoint.marks[segment].size))

    def _finish(self, endpoint: _Endpoint, rewritten: Mapping[str, Path]) -> None:
        """Make rewritten segments durable; they take their place once the receipt is stored."""
        for segment, path in rewritten.items():
            with path.open("rb") as file:
                durable.sync(file.fileno(), "rewritten segment")
            self._pending.append((path, endpoint.folder / segment))
        if rewritten:
            durable.sync_directory(endpoint.folder)

    def _settle(self) -> None:
        with self._translated():
            for path, place in self._pending:
                for key in (path, place):
                    if key in self._open_files:
                        os.close(self._open_files.pop(key))
                durable.rename(path, place, "rewritten segment")
            self._pending.clear()

    def _close(self) -> None:
        while self._open_files:
            os.close(self._open_files.popitem()[1])
        self._endpoints.clear()
        self._pending.clear()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _translated(self) -> Translated:
        return Translated(self.directory)
