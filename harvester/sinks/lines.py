"""JSON lines on disk: ``DIR/<endpoint>/000001.jsonl`` and so on, plain or compressed.

Rule: a segment only grows at its end, or is replaced as a whole; the checkpoint says which bytes
count.

The checkpoint has an entry for each segment: its length and its generation.  Bytes beyond
the length were never committed and are cut off when the sink is opened.  To remove windows from a
segment, it is rewritten beside the old file, as ``000001.jsonl.<generation>.tmp``.  The checkpoint
with the new generation makes that file the segment; it gets the segment's name at the next `write`,
at `close`, or at the next `open`.  Until then the old file stays, so that a reader of the directory
sees each window once.  A committed segment is never removed: no number is used twice.

Each opening and each write has a number, which the ledger stores with it, and which the directory
notes before it begins (`harvester.sinks.directory`).  The next one begins when the ledger has
stored the former one; so a ledger that lacks more than the latest is older than the directory, and
refused before anything is cut off.

A ledger that is made anew from the directory gets the checkpoint of what is there, and nothing is
changed for it: the former ledger goes on until the first run with the new one.

Files in folders that were not made here are never touched.

The metadata ends each line, in the same bytes for all lines of a window: so windows are found
without parsing a record.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from io import FileIO
from pathlib import Path
from typing import Any
from zlib import crc32

from harvester import durable
from harvester.errors import SinkError, UsageError
from harvester.model import Batch
from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written, within
from harvester.sinks.compression import CHUNK, COMPRESSIONS, compression_of
from harvester.sinks.directory import Directory
from harvester.sinks.groups import by_endpoint, last_of_overlapping
from harvester.sinks.segments import (
    DRAFT,
    NAME,
    TAIL,
    Days,
    Mark,
    Marks,
    WindowLines,
    draft_of,
    folder_of,
    is_ours,
    marks_of,
    opened,
    tail_of,
    windows_in,
)
from harvester.sinks.spec import read_spec
from harvester.thread import Thread

SEGMENT_BYTES = 64 * 1024 * 1024
_COMPRESSED = 8  # so many times smaller: a segment is rewritten in about the same time
_LARGE_MEMBER = 128 * 1024  # bytes of lines: compressed nearly as well as a whole segment
_SMALL_BYTES = 64 * 1024  # a segment is packed again when its small members take more than this
_SMALL_SHARE = 4  # and more than this part of it
_OWNER, _COMMITS, _TAKEN = "owner", "commits", "taken"
"""Keys of a checkpoint.  It is taken as long as the ledger has only read what another one had
written: its first run makes it the owner."""
_LOOKS = "looks"  # a segment holds windows of which the ledger knows nothing: each write looks


class JsonLines(Sink):
    """The JSON lines sink; one process a directory.

    directory: made if it is not there.
    compress: ``gzip`` or ``zstd``, or an empty string; raises `UsageError` for others, and for
        ``zstd`` if its package is not here.  It holds for new segments: a directory may have all
        kinds.
    segment_bytes: a segment that has reached this size (an eighth of it, if compressed) grows no
        more.
    """

    rebuild = "harvester rebuild --out {}"
    """The command that makes a ledger from the directory."""

    takes_lines = True
    path: Path

    def __init__(
        self,
        directory: str | os.PathLike[str],
        compress: str = "",
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.path = Path(directory)
        self._marks: Marks = {}
        if compress not in COMPRESSIONS:
            raise UsageError(f"compress={compress!r}: expected gzip, zstd or an empty string")
        self._compression = COMPRESSIONS[compress]()
        self._segment_bytes = segment_bytes // _COMPRESSED if compress else segment_bytes
        self._thread: Thread | None = None
        self._home = Directory(self.path)
        self._commits = 0  # the number of the latest one that the ledger has, or is about to store
        self._settled = True  # False: what is not needed is still there
        self._looks = False  # for stored windows that overlap, also where none is known of
        self._commits_itself = False  # there is no ledger
        self._pending: dict[str, Path] = {}  # segments written again that have not their names yet
        self._days: dict[str, Days] = {}  # by segment, once a replacement asked for it
        self._appended: list[str] = []  # segments to which this write has added lines
        self._files: dict[str, int] = {}  # the open file of each folder's growing segment

    def __repr__(self) -> str:
        return f"<JsonLines {self.path}, {len(self._marks)} segments>"

    @classmethod
    def from_spec(cls, rest: str) -> JsonLines:
        """The sink that ``jsonl:DIR?compress=gzip`` names."""
        spec = read_spec("jsonl", rest, {"compress": ("gzip", "zstd")}, "jsonl:DIR")
        return cls(spec.place, compress=spec.options.get("compress", ""))

    @property
    def identity(self) -> str:
        """The scheme and the directory."""
        return f"jsonl:{self.path.resolve()}"

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Lock the directory, and bring it to where the checkpoint says."""
        self._thread = Thread("harvester-jsonl")
        stored: Checkpoint = await self.call(self._open, checkpoint)
        return stored

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window in the place of all that overlap it; durable on return."""
        try:
            return Written(await self.call(self._write, batches))
        except BaseException:
            self._pending.clear()  # nobody commits what was not reported; the next open cleans up
            raise

    async def close(self) -> None:
        """Give segments that were written again their names, and unlock the directory."""
        if self._thread is None:
            return
        try:
            await self.call(self._close)
        finally:
            self._thread.close()
            self._thread = None

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run it on the sink's thread; an `OSError` becomes one sentence that says what to do."""
        assert self._thread is not None, "the sink is not open"
        try:
            return await self._thread.call(function, *args)
        except OSError as exc:
            raise not_written(self.path, exc) from exc

    # opening

    def _open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        self._home.lock()
        if checkpoint:
            return self._recover(checkpoint)
        self._looks = self._commits_itself = checkpoint is None
        self._commits, self._settled = self._home.commits, checkpoint is not None
        if checkpoint is None:
            self._take_all()
            entries = {_OWNER: self._home.owner, _COMMITS: str(self._commits), _TAKEN: "1"}
            # A ledger that is made from what is stored need not know all of it.
            return {**self._said({}), **entries, _LOOKS: "1"}
        if self._records():
            raise self._unknown()
        return self._own()

    def _own(self, owner: str = "") -> Checkpoint:
        """Begin with what the marks say: the next commit, and nothing else is here."""
        for name, mark in self._marks.items():
            self._cut(self.path / name, mark.size)
        for name in self._strays({*self._home.folders, *map(folder_of, self._marks)}):
            durable.remove(self.path / name, "segment without a checkpoint")
        self._commits += 1
        self._home.owner = owner or secrets.token_hex(16)
        self._home.commits, self._settled = self._commits, True
        self._home.write()
        return {_OWNER: self._home.owner, _COMMITS: str(self._commits)}

    def _recover(self, checkpoint: Checkpoint) -> Checkpoint:
        """Bring the directory to where a checkpoint says."""
        said, taken = checkpoint.get(_OWNER, ""), bool(checkpoint.get(_TAKEN))
        strange = self._home.owner not in ("", said) and not taken  # a copy may lack the lock file
        if strange and self._records():
            raise self._unknown()
        self._commits = int(checkpoint.get(_COMMITS, 0))
        if self._home.commits > self._commits + 1 and self._records():
            raise self._older()
        self._looks = bool(checkpoint.get(_LOOKS))
        before = marks_of(checkpoint)
        places: dict[str, Path] = {}
        for name, mark in before.items():
            file, self._marks[name] = self._current(name, mark)
            with file:
                places[name] = Path(file.name)
        for name, place in places.items():
            if place != self.path / name:
                durable.rename(place, self.path / name, "rewritten segment")
        entries = {**self._own("" if taken else said), _TAKEN: ""}
        accepted = self._said(before)
        self._looks = self._looks or bool(accepted)
        return {**entries, **accepted, **({_LOOKS: "1"} if accepted else {})}

    def _current(self, name: str, mark: Mark) -> tuple[FileIO, Mark]:
        """The open file of a segment of this generation, and how much of it counts.

        It stays what it is while it is open, whatever becomes of its name.  The mark is another one
        if the segment was renamed by `close`, and no ledger learned of it.
        """
        size, path = -1, self.path / name
        for place in (draft_of(path, mark.generation), path):
            with suppress(FileNotFoundError):
                file = opened(place)
                size = os.fstat(file.fileno()).st_size
                for found in self._accepted(name, mark):
                    if size >= found.size and found.tail == tail_of(file, found.size):
                        return file, found
                file.close()
        state = "is not as the ledger says: one of the two is older, or it was changed"
        if size < mark.size:
            state = "is gone" if size < 0 else f"is cut to {size} of its {mark.size} bytes"
            state += ", though the ledger says that it was stored"
        raise SinkError(
            f"{path} {state}; put the right one back, or make a new ledger from what is stored"
            f" ({self._command})"
        )

    def _accepted(self, name: str, mark: Mark) -> Iterator[Mark]:
        yield mark
        placed = Mark.parse(self._home.placed().get(name, str(mark)))
        if placed.generation > mark.generation:
            yield placed

    @property
    def _command(self) -> str:
        return self.rebuild.format(self.path)

    def _older(self) -> SinkError:
        return SinkError(
            f"the ledger is older than the directory {self.path}, and would remove what was stored"
            " since; put the newest ledger back, or make a new one from what is stored"
            f" ({self._command})"
        )

    def _unknown(self) -> UsageError:
        return UsageError(
            f"the directory {self.path} holds a harvest that this ledger does not know; use the"
            " ledger that filled it (--ledger), or choose another directory; if that ledger is"
            f" lost, {self._command} makes one from what is stored"
        )

    def _records(self) -> bool:
        """Whether records stand here, whoever wrote them."""
        return any(path.stat().st_size for _, path in self._segments_of_ours())

    def _take_all(self) -> None:
        """Accept whatever whole lines are here; nothing is changed."""
        for name, path in self._segments_of_ours():
            with opened(path) as file:
                if size := compression_of(name).whole(file):
                    self._marks[name] = Mark(size, tail=tail_of(file, size))
            if folder_of(name) not in self._home.folders:
                self._home.folders.append(folder_of(name))

    @staticmethod
    def _cut(path: Path, size: int) -> None:
        if path.stat().st_size > size:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                durable.truncate(descriptor, size, "segment")
            finally:
                os.close(descriptor)

    def _segments_of_ours(self, folder: str = "*") -> Iterator[tuple[str, Path]]:
        """The segments that stand here, of folders that we made, or with a record of ours."""
        for path in sorted(self.path.glob(f"{folder}/*.jsonl*")):
            name = f"{path.parent.name}/{path.name}"
            ours = path.parent.name in self._home.folders or is_ours(path)
            if NAME.fullmatch(name) and path.is_file() and ours:
                yield name, path

    def _strays(self, folders: Collection[str]) -> list[str]:
        """Files that are named as ours are, in folders of ours, and have no mark."""
        return [
            name
            for folder in sorted(folders)
            for path in sorted((self.path / folder).glob("*.jsonl*"))
            if (name := f"{folder}/{path.name}") not in self._marks
            and NAME.fullmatch(DRAFT.sub("", name))
        ]

    # writing

    def _write(self, batches: Sequence[Batch]) -> Checkpoint:
        if not batches:  # no ledger learns of it
            return {}
        self._place_pending()
        if not self._settled:  # nothing but this run knows of what is here
            self._own()
        before = dict(self._marks)
        self._appended.clear()
        self._home.begin(self._commits + 1)
        try:
            for endpoint, group in by_endpoint(batches).items():
                self._store(endpoint, group)
            if self._commits_itself:
                self._place_pending()
            self._commits += 1
            return {**self._said(before), _COMMITS: str(self._commits)}
        except Exception:
            self._undo(before)
            raise

    def _store(self, endpoint: str, group: Sequence[Batch]) -> None:
        """Write the windows of one interface; those that overlap stored ones into their segment."""
        wanted = [batch for batch in group if self._looks or batch.replaces]
        stored = {name: self._days_of(name) for name in self._segments(endpoint)} if wanted else {}
        gone = Days(batch.window for batch in wanted)
        rewritten = [name for name, days in stored.items() if days.overlap(gone)]
        kept = last_of_overlapping(group)
        growing = self._growing(endpoint)
        added: dict[str, Sequence[Batch]] = {growing: kept}
        if rewritten:
            places: dict[str, list[Batch]] = {name: [] for name in rewritten}
            for batch in kept:
                here = [name for name in rewritten if stored[name].overlaps(batch.window)]
                places.setdefault(here[-1] if here else growing, []).append(batch)
            added = {**places}
        for name, some in added.items():
            pieces = [lines for batch in some if (lines := batch.lines())]
            if name in rewritten:
                self._rewrite(name, gone, pieces)
            elif pieces:
                self._append(name, pieces)
            if name in self._days or stored:
                self._days.setdefault(name, Days()).add(
                    batch.window for batch in some if batch.count
                )

    def _segments(self, endpoint: str) -> list[str]:
        return sorted(name for name in self._marks if name.startswith(f"{endpoint}/"))

    def _growing(self, endpoint: str) -> str:
        """The segment that grows; the name of a new one if the last is full, or of another kind."""
        last = max(self._segments(endpoint), default="")
        suffix = self._compression.suffix
        same = bool(last) and compression_of(last).suffix == suffix
        if same and self._marks[last].size < self._segment_bytes:
            return last
        number = int(Path(last).name[:6]) + 1 if last else 1
        return f"{endpoint}/{number:06}.jsonl{suffix}"

    def _append(self, name: str, pieces: Sequence[bytes]) -> None:
        """Add lines to the end of a segment."""
        if name not in self._marks:
            self._begin(name)
        self._appended.append(name)
        mark = self._marks.get(name, Mark())
        small = mark.small
        if self._compression.suffix:
            packed = self._compression.pack(pieces)
            if sum(map(len, pieces)) < _LARGE_MEMBER:
                small += len(packed)
            if mark.small and small > _SMALL_BYTES and small * _SMALL_SHARE > mark.size:
                self._rewrite(name, Days(), pieces)
                return
            pieces = [packed]
        descriptor = self._descriptor(name)
        if os.fstat(descriptor).st_size != mark.size:  # of a write that failed
            durable.truncate(descriptor, mark.size, "segment")
        size = mark.size + durable.write_pieces(descriptor, pieces, "segment")
        durable.sync(descriptor, "segment")
        end = _end_of(pieces)
        tail = crc32(end) if len(end) == TAIL else self._tail_of(self.path / name, size)
        self._marks[name] = Mark(size, mark.generation, small, tail)

    @staticmethod
    def _tail_of(path: Path, size: int) -> int:
        with opened(path) as file:
            return tail_of(file, size)

    def _begin(self, name: str) -> None:
        """Before a segment is made: its folder is ours, and nothing of somebody else's is there."""
        folder = folder_of(name)
        if folder not in self._home.folders:
            strange = self._strays([folder])
            if strange:
                raise SinkError(
                    f"{self.path / strange[0]} is there, and this harvest did not write it; move it"
                    " away, or choose another directory"
                )
            self._home.folders.append(folder)
            self._home.write()
        durable.make_directory(self.path / folder, "folder of segments")
        self._let_go(name)
        with durable.step("make segment"):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._files[folder] = os.open(self.path / name, flags, 0o666)
            durable.sync_directory(self.path / folder)

    def _let_go(self, name: str) -> None:
        """Close the file of the segment that grows in this one's folder."""
        descriptor = self._files.pop(folder_of(name), None)
        if descriptor is not None:
            os.close(descriptor)

    def _descriptor(self, name: str) -> int:
        folder = folder_of(name)
        if folder not in self._files:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
            self._files[folder] = os.open(self.path / name, flags)
        return self._files[folder]

    def _rewrite(self, name: str, gone: Days, pieces: Iterable[bytes]) -> None:
        """Write a segment again without what overlaps these days, and with these lines."""
        mark = self._marks.get(name, Mark())
        draft = draft_of(self.path / name, mark.generation + 1)
        draft.unlink(missing_ok=True)
        packer = compression_of(name).packer()
        kept = Days()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(draft, flags, 0o666), "r+b", buffering=CHUNK) as file:
            self._pending[name] = draft
            with durable.step("write rewritten segment"), opened(self.path / name) as former:
                for found in windows_in(former, mark.size):
                    if not gone.overlaps(found.window):
                        file.write(packer.compress(b"".join(found.lines)))
                        kept.add([found.window])
                file.writelines(map(packer.compress, pieces))
                file.write(packer.flush())
                file.flush()
            durable.sync(file.fileno(), "rewritten segment")
            size = file.tell()
        durable.sync_directory(draft.parent)
        self._marks[name] = Mark(size, mark.generation + 1, 0, self._tail_of(draft, size))
        if name in self._days:
            self._days[name] = kept

    def _said(self, before: Marks) -> Checkpoint:
        """The entries that changed."""
        return {name: str(mark) for name, mark in self._marks.items() if before.get(name) != mark}

    def _place_pending(self) -> None:
        """The former write is committed: rewritten segments get their names."""
        for name, draft in self._pending.items():
            self._let_go(name)
            durable.rename(draft, self.path / name, "rewritten segment")
        self._pending.clear()

    def _undo(self, before: Marks) -> None:
        """A write has failed: go back to what stood there, as far as the disk lets us."""
        for draft in self._pending.values():
            with suppress(OSError):
                draft.unlink()
        for name in self._appended:
            with suppress(OSError):
                if name in before:
                    self._cut(self.path / name, before[name].size)
                else:
                    self._let_go(name)
                    (self.path / name).unlink()
        self._pending.clear()
        self._days.clear()
        self._marks = before

    def _close(self) -> None:
        try:
            if self._pending:
                # Whether the last write was committed is not known here.
                self._home.write({name: str(self._marks[name]) for name in self._pending})
                self._place_pending()
            if self._home.is_locked and self._settled:
                self._home.sync()
        finally:
            for descriptor in self._files.values():
                os.close(descriptor)
            for kept in (self._files, self._marks, self._pending, self._days):
                kept.clear()
            self._home.unlock()

    # reading

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        """The names of the interfaces of which records stand here."""
        with self._standing("*", checkpoint) as standing:  # one may hold nothing
            return sorted(
                {
                    Path(file.name).parent.name
                    for file, size in standing
                    if any(True for _ in windows_in(file, size))
                }
            )

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
        days: tuple[date, date] | None = None,
    ) -> Iterator[StoredWindow]:
        """Each stored window of an interface, in the order in which they were written."""
        for found in self.windows(endpoint, checkpoint):
            if (appids is None or found.window.appid in appids) and within(found.window, days):
                yield StoredWindow(found.window, found.tally(), found.fetched_at, found.records)

    def windows(self, endpoint: str, checkpoint: Checkpoint | None = None) -> Iterator[WindowLines]:
        """The same as lines."""
        with self._standing(endpoint, checkpoint) as standing:
            for file, size in standing:
                yield from windows_in(file, size)

    def lengths(self, endpoint: str) -> dict[str, str]:
        """The mark of each segment of an interface."""
        return {name: str(self._marks[name]) for name in self._segments(endpoint)}

    @contextmanager
    def _standing(
        self, folder: str, checkpoint: Checkpoint | None
    ) -> Iterator[list[tuple[FileIO, int]]]:
        """Each segment, and how much of it counts; all are open: a run may replace them."""
        with ExitStack() as stack:
            try:
                found = [*self._files_of(folder, checkpoint, stack)]
            except OSError as exc:
                raise SinkError(f"{self.path} cannot be read ({exc.strerror})") from exc
            yield found

    def _files_of(
        self, folder: str, checkpoint: Checkpoint | None, stack: ExitStack
    ) -> Iterator[tuple[FileIO, int]]:
        if not self._home.is_locked and checkpoint is None:
            self._home.read()
            for name, path in self._segments_of_ours(folder):
                with suppress(FileNotFoundError):  # removed by a run
                    file = stack.enter_context(opened(path))
                    yield file, compression_of(name).whole(file)
            return
        marks = self._marks if self._home.is_locked else marks_of(checkpoint or {})
        for name, mark in sorted(marks.items()):
            if folder in ("*", folder_of(name)):
                file, found = self._current(name, mark)
                yield stack.enter_context(file), found.size

    def _days_of(self, name: str) -> Days:
        """The days of which a segment holds windows."""
        if name not in self._days:
            with opened(self.path / name) as file:
                found = windows_in(file, self._marks[name].size)
                self._days[name] = Days(each.window for each in found)
        return self._days[name]


def not_written(directory: Path, exc: OSError) -> SinkError:
    """One sentence that says what to do."""
    full = durable.is_full(exc)
    what = "the disk is full" if full else f"{exc.strerror or exc}"
    return SinkError(
        f"{directory} could not be written: {what}; nothing that was committed is lost:"
        f" {'make room' if full else 'mend it'} and run the same command again"
    )


def _end_of(pieces: Sequence[bytes]) -> bytes:
    """The last bytes of what was written, up to `TAIL`."""
    end = b""
    for piece in reversed(pieces):
        end = piece[-TAIL:] + end
        if len(end) >= TAIL:
            break
    return end[-TAIL:]
