"""JSON lines on disk: ``DIR/<endpoint>/2026-01.jsonl``, plain or compressed.

Rule: a file only grows at its end, or is replaced as a whole; the checkpoint records which bytes
count.

A window is in the file of the month of its first day, or, if it was fetched in April of the next
year or later, in that of the year (``2019.jsonl``): a backfill has few files, and a daily run
rewrites small ones.  The checkpoint has an entry for each file: its length and its generation.
Bytes beyond the length were never committed and are cut off when the sink is opened.

A window that overlaps stored ones goes into the journal, a hidden file.  The journal is merged into
the files of the months when the sink is closed or opened, and when it has become large: each file
that holds such a window is rewritten beside the former one, and takes its name.  So a reader of the
directory sees each window once, and until then in its former state.  A merge that was interrupted
is repeated: the journal is emptied last.

No ledger learns of a merge before the next opening.  So the state of the rewritten files is noted
in ``.merged`` before they get their names, and accepted if the ledger has an earlier generation.

Each opening and each write has a number, which the ledger stores with it, and which the directory
notes before it begins (`harvester.sinks.jsonl.directory`).  The next one begins when the ledger has
stored the former one; so a ledger that lacks more than the latest is older than the directory, and
refused before anything is cut off.

A ledger that is made anew from the directory gets the checkpoint of what is there, and nothing is
changed for it: the former ledger goes on until the first run with the new one.

Files in folders that were not made here are never touched.

The metadata ends each line, in the same bytes for all lines of a window: so windows are found
without parsing a record.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from struct import Struct
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple
from zlib import crc32

from harvester.base import files as durable
from harvester.base.codec import encode, line_end, parse
from harvester.base.dates import ONE_DAY
from harvester.base.dates import Days as Range
from harvester.base.threads import Thread
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Window, metadata
from harvester.sinks.base import (
    OWNER,
    Checkpoint,
    Fence,
    Sink,
    Stamp,
    StoredWindow,
    Written,
    within,
)
from harvester.sinks.groups import by_endpoint, last_of_overlapping, single_days
from harvester.sinks.jsonl.compression import CHUNK, COMPRESSIONS, compression_of
from harvester.sinks.jsonl.directory import Directory
from harvester.sinks.jsonl.segments import (
    ANY_DAY,
    JOURNAL,
    NAME,
    TAIL,
    Days,
    SegmentState,
    SegmentStates,
    WindowLines,
    first_day_of,
    folder_of,
    opened,
    tail_of,
    windows_in,
)
from harvester.sinks.spec import read_spec

JOURNAL_BYTES = 32 * 1024 * 1024
"""A journal that has reached this size is merged: its windows are in memory meanwhile."""
MERGED = ".merged"
_LARGE_MEMBER = 32 * 1024  # bytes of lines: compressed nearly as well as a whole file
_SMALL_BYTES = 1024  # a file is packed again when its small members take more than this
_SMALL_SHARE = 4  # and more than this part of it
_COMMITS, _TAKEN = "commits", "taken"
"""Keys of a checkpoint.  It is taken as long as the ledger has only read what another one had
written: its first run makes it the owner."""
_LOOKS = "looks"  # there are windows of which the ledger knows nothing: each write looks for them


_Known = dict[tuple[str, SegmentState], list[WindowLines]]
_REMEMBERED = 2
"""Files whose windows are remembered between two scans."""


class _Source:
    """A file that is read, and how much of it counts."""

    def __init__(
        self, name: str, file: FileIO | None, mark: SegmentState, known: _Known | None = None
    ) -> None:
        self._name = name
        self._packing = compression_of(name)
        self._file = file
        self._mark = mark
        self._known = known
        self._spool: IO[bytes] | None = None
        self.last = 0
        """The place of its last window, once it was read to its end."""

    def may_have(self, first: date, last: date) -> bool:
        """Whether there may be windows with a day between these, both included."""
        return self._name == JOURNAL or _may_have(self._name, self._mark, first, last)

    def windows(self, stack: ExitStack | None = None) -> Iterator[WindowLines]:
        """Its windows; stack: for a copy of what is compressed, so that `read` can be used."""
        if self._file is None:
            return iter(())
        pieces = self._packing.pieces(self._file, self._mark.size)
        if stack is not None and not self._packing.suffix and self._known is not None:
            return self._remembered(self._known, pieces)
        if stack is not None and self._packing.suffix:
            self._spool = TemporaryFile(buffering=0)  # noqa: SIM115  (the stack closes it)
            stack.enter_context(self._spool)
            pieces = self._copied(pieces, self._spool)
        return windows_in(pieces, self._file.name)

    def _remembered(self, known: _Known, pieces: Iterable[bytes]) -> Iterator[WindowLines]:
        """Its windows, with the length of their lines alone if they were found before.

        An export scans the file of a year once for each month.
        """
        key = self._name, self._mark
        if key in known:
            yield from known[key]
            return
        assert self._file is not None
        places: list[WindowLines] = []
        for found in windows_in(pieces, self._file.name):
            size = sum(map(len, found.lines))
            places.append(found._replace(lines=[range(size)] if size else []))  # type: ignore[list-item]
            yield found
        while len(known) >= _REMEMBERED:
            del known[next(iter(known))]
        known[key] = places

    @staticmethod
    def _copied(pieces: Iterable[bytes], spool: IO[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            spool.write(piece)
            yield piece

    def read(self, start: int, size: int) -> bytes:
        """A part of the unpacked file."""
        file = self._spool or self._file
        assert file is not None, "there are no windows to be read"
        return os.pread(file.fileno(), size, start)


class _Place(NamedTuple):
    """Where the lines of a window of the journal are."""

    window: Window
    start: int
    size: int
    file: str


class _Merged(NamedTuple):
    """What is noted of merges of which the ledger may not know.

    commits: the number of the latest write of which they have windows.  files: the marks that a
    rewritten file may have, the earlier one first.
    """

    commits: int = 0
    files: Mapping[str, list[SegmentState]] = {}


class JsonLines(Sink):
    """The JSON lines sink; one process a directory.

    directory: made if it is not there.
    compress: ``gzip`` or ``zstd``, or an empty string; raises `UsageError` for others, and for
        ``zstd`` if its package is not here.  It holds for new files: a directory may have all
        kinds.
    journal_bytes: a journal of this size is merged by the next write.
    """

    takes_lines = True
    path: Path

    def __init__(
        self,
        directory: str | os.PathLike[str],
        compress: str = "",
        journal_bytes: int = JOURNAL_BYTES,
    ) -> None:
        self.path = Path(directory)
        self._marks: SegmentStates = {}
        if compress not in COMPRESSIONS:
            raise UsageError(f"invalid compress={compress!r}: expected gzip or zstd")
        self._suffix = COMPRESSIONS[compress]().suffix
        self._journal_bytes = journal_bytes
        self._thread: Thread | None = None
        self._home = Directory(self.path)
        self._commits = 0  # the number of the latest one that the ledger has, or is about to store
        self._settled = False  # nothing is here that the ledger does not know, or will not
        self._looks = False  # for stored windows that overlap, also where none is known of
        self._unknown: dict[
            str, list[SegmentState]
        ] = {}  # of merged files; the ledger may not have them
        self._merged_commits = 0  # the latest write of which they have windows
        self._note: tuple[tuple[int, int], _Merged] = (0, 0), _Merged()  # as last read
        self._appended: list[str] = []  # files to which this write has added lines
        self._unsynced: set[Path] = set()  # folders in which this write has made files
        self._changed: set[str] = set()  # files whose marks were not returned by a write
        self._days: dict[str, Days] = {}  # by interface, of the files that were looked at
        self._looked: set[str] = set()
        self._known: _Known = {}

    def __repr__(self) -> str:
        return f"<JsonLines {self.path}, {len(self._marks)} files>"

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
        """Lock the directory, and bring it to the state of the checkpoint."""
        self._thread = Thread("harvester-jsonl")
        stored: Checkpoint = await self._call(self._open, checkpoint)
        return stored

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window in the place of all that overlap it; durable on return."""
        try:
            return Written(await self._call(self._write, batches))
        except asyncio.CancelledError:
            self._settled = False  # the next opening cuts off what was not reported
            raise

    async def close(self) -> None:
        """Merge the journal, and unlock the directory."""
        if self._thread is None:
            return
        try:
            await self._call(self._close)
        finally:
            self._thread.close()
            self._thread = None

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run it on the sink's thread; an `OSError` becomes one sentence with what to do."""
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
        self._looks = checkpoint is None
        self._commits = self._home.commits
        if checkpoint is None:
            self._take_all()
            entries = {OWNER: self._home.owner, _COMMITS: str(self._commits), _TAKEN: "1"}
            # A ledger that is made from what is stored need not know all of it.
            return {**self._report(), **entries, _LOOKS: "1"}
        if self._records():
            raise self._unknown_harvest()
        return self._own()

    def _own(self, owner: str = "") -> Checkpoint:
        """Begin with the state of the marks: the next commit, and nothing else is here."""
        for name, mark in self._marks.items():
            self._cut(self.path / name, mark.size)
        for path in self._strays({*self._home.folders, *map(folder_of, self._marks)}):
            durable.remove(path, "file without a checkpoint")
        self._home.owner = owner or secrets.token_hex(16)
        self._merge()
        self._commits += 1
        self._home.commits, self._settled = self._commits, True
        self._home.write()
        return {OWNER: self._home.owner, _COMMITS: str(self._commits)}

    def _recover(self, checkpoint: Checkpoint) -> Checkpoint:
        """Bring the directory to the state of a checkpoint."""
        owner, taken = checkpoint.get(OWNER, ""), bool(checkpoint.get(_TAKEN))
        strange = self._home.owner not in ("", owner) and not taken  # a copy may lack the lock file
        if strange and self._records():
            raise self._unknown_harvest()
        self._commits = int(checkpoint.get(_COMMITS, 0))
        if self._home.commits > self._commits + 1 and self._records():
            raise self._older()
        known = _marks_in(checkpoint)
        for name, file, mark in self._standing(known):
            file.close()
            self._marks[name] = mark
            if mark != known.get(name):
                self._unknown[name] = [mark]
                self._changed.add(name)
        self._merged_commits = self._noted().commits if self._unknown else 0
        # What a write has stored whose commit failed may have been merged.
        self._looks = bool(checkpoint.get(_LOOKS)) or self._merged_commits > self._commits
        looks = {_LOOKS: "1"} if self._looks else {}
        entries = self._own("" if taken else owner)
        return {**entries, _TAKEN: "", **looks, **self._report()}

    def _standing(
        self, known: SegmentStates, folder: str = "", *, noted: bool = True
    ) -> Iterator[tuple[str, FileIO, SegmentState]]:
        """Each file of an interface, or of all, as a ledger knows it, open, and its present mark.

        The journal is opened before the files.  A run that merges it now empties it last: so it has
        all that they may lack.  noted: also those of a merge of which the ledger knows nothing.
        """
        for name in sorted(known):
            if folder in ("", folder_of(name)) or name == JOURNAL:
                yield name, *self._current(name, known[name])
        merged = self._noted().files if noted else {}
        for name in merged.keys() - known.keys():
            if folder not in ("", folder_of(name)):
                continue
            if (found := self._fitting(name, merged[name])) is not None:
                yield name, *found

    def _current(self, name: str, mark: SegmentState) -> tuple[FileIO, SegmentState]:
        """The open file with that mark, or with a later one, if it was merged since.

        It stays what it is while it is open, whatever becomes of its name.
        """
        if (found := self._fitting(name, [mark])) is not None:
            return found
        path = self.path / name
        size = path.stat().st_size if path.exists() else -1
        state = "differs from the ledger: one of the two is older, or it was changed"
        if size < mark.size:
            state = "is gone" if size < 0 else f"is cut to {size} of its {mark.size} bytes"
            state += ", though the ledger records it as stored"
        raise SinkError(
            f"{path} {state}; put the right one back, or make a new ledger from what is stored"
            f" ({self._command})"
        )

    def _fitting(self, name: str, marks: list[SegmentState]) -> tuple[FileIO, SegmentState] | None:
        """The open file, and which of these marks it has, or a later one that was noted."""
        with suppress(FileNotFoundError):
            file = opened(self.path / name)
            noted = self._noted().files.get(name, ())  # after it was opened
            marks = [*marks, *[mark for mark in noted if mark.generation > marks[0].generation]]
            size = os.fstat(file.fileno()).st_size
            for mark in sorted(marks, key=lambda mark: -mark.size):  # one may begin as the other
                if size >= mark.size and mark.tail == tail_of(file, mark.size):
                    return file, mark
            file.close()
        return None

    def _noted(self) -> _Merged:
        """What was noted of the last merges."""
        path = self.path / MERGED
        try:
            found = path.stat()
            if self._note[0] != (found.st_ino, found.st_mtime_ns):
                note = parse(path.read_bytes())
                files = {
                    name: [*map(SegmentState.parse, marks)] for name, marks in note["files"].items()
                }
                self._note = (found.st_ino, found.st_mtime_ns), _Merged(note["commits"], files)
        except FileNotFoundError:
            return _Merged()
        return self._note[1]

    @property
    def _command(self) -> str:
        return f"harvester rebuild --out {self.path}"

    def _older(self) -> SinkError:
        return SinkError(
            f"the ledger is older than the directory {self.path}, and would remove what was stored"
            " since; put the newest ledger back, or make a new one from what is stored"
            f" ({self._command})"
        )

    def _unknown_harvest(self) -> UsageError:
        return UsageError(
            f"the directory {self.path} holds a harvest that this ledger does not know; use the"
            " ledger that filled it (--ledger), or choose another directory; if that ledger is"
            f" lost, {self._command} makes one from what is stored"
        )

    def _records(self) -> bool:
        """Whether records are stored here, whoever wrote them."""
        return any(path.stat().st_size for _, path in self._on_disk())

    def _take_all(self) -> None:
        """Accept whatever whole lines are here; nothing is changed."""
        noted = self._noted().files
        for name, path in self._on_disk():
            generation = max((mark.generation for mark in noted.get(name, ())), default=0)
            with opened(path) as file:
                if (size := compression_of(name).whole(file)) or name == JOURNAL:
                    mark = SegmentState(size, generation, 0, tail_of(file, size), ANY_DAY)
                    self._mark(name, mark)
            if name != JOURNAL and folder_of(name) not in self._home.folders:
                self._home.folders.append(folder_of(name))

    @staticmethod
    def _cut(path: Path, size: int) -> None:
        if path.stat().st_size > size:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                durable.truncate(descriptor, size, "lines")
            finally:
                os.close(descriptor)

    def _on_disk(self, folder: str = "*") -> Iterator[tuple[str, Path]]:
        """The journal, and the files in folders that we made, or with a record of ours."""
        if (self.path / JOURNAL).is_file():
            yield JOURNAL, self.path / JOURNAL
        for path in sorted(self.path.glob(f"{folder}/*.jsonl*")):
            name = f"{path.parent.name}/{path.name}"
            ours = path.parent.name in self._home.folders or _is_ours(path)
            if NAME.fullmatch(name) and path.is_file() and ours:
                yield name, path

    def _strays(self, folders: Iterable[str]) -> list[Path]:
        """Files that are named as ours are, in folders of ours, and have no mark."""
        found = [*self.path.glob(f"{JOURNAL}*"), *self.path.glob(f".{JOURNAL}.tmp"),
                 *self.path.glob(f".{MERGED}.*.new")]  # fmt: skip
        for folder in folders:
            for path in (self.path / folder).glob("*.jsonl*"):
                name = path.name
                name = name[1:-4] if name.startswith(".") and name.endswith(".tmp") else name
                found += [path] if NAME.fullmatch(f"{folder}/{name}") else []
        kept = {self.path / name for name in self._marks}
        return sorted(path for path in found if path not in kept)

    # writing

    def _write(self, batches: Sequence[Batch]) -> Checkpoint:
        if not batches:  # no ledger learns of it
            return {}
        if not self._settled:  # nothing but this run knows of what is here
            self._own()
        self._unknown.clear()  # the ledger has stored the former write, and what it returned
        self._merged_commits = 0
        if self._marks.get(JOURNAL, SegmentState()).size >= self._journal_bytes:
            self._merge()
        before = dict(self._marks)
        self._appended.clear()
        self._home.begin(self._commits + 1)
        try:
            for endpoint, group in by_endpoint(batches).items():
                self._store(endpoint, group)
            while self._unsynced:
                durable.sync_directory(self._unsynced.pop())
        except Exception:
            self._undo(before)
            raise
        self._commits += 1
        return {**self._report(), _COMMITS: str(self._commits)}

    def _store(self, endpoint: str, group: Sequence[Batch]) -> None:
        """Write the windows of one interface; those that overlap stored ones into the journal."""
        days = single_days(group)
        replacing = self._replacing(endpoint, group, overlap=days is None)
        if replacing:
            self._append(JOURNAL, replacing, _last_day(replacing))
        if len(replacing) < len(group):
            skipped = {*map(id, replacing)}
            new = [batch for batch in group if id(batch) not in skipped] if skipped else group
            for some, last_day in _by_period(new, days if new is group else None):
                name = self._file_of(some[0].window, new[0].fetched_at)
                self._append(name, some, last_day)
        if endpoint in self._days:
            self._days[endpoint].add(batch.window for batch in group)

    def _replacing(
        self, endpoint: str, group: Sequence[Batch], *, overlap: bool
    ) -> Sequence[Batch]:
        """Those that overlap stored ones; all, if they overlap each other, which they may."""
        if overlap and len(last_of_overlapping(group)) < len(group):
            return group
        if wanted := [batch for batch in group if self._looks or batch.replaces]:
            self._look(endpoint, [batch.window for batch in wanted])
        days = self._days.get(endpoint)
        return [batch for batch in group if days.overlaps(batch.window)] if days else []

    def _look(self, endpoint: str, windows: Sequence[Window]) -> None:
        """Find the days of the files that may have windows which overlap these."""
        days = self._days.setdefault(endpoint, Days())
        first = min(window.begin for window in windows)
        last = max(window.end for window in windows)
        for name in self._files_of(endpoint):
            mark = self._marks[name]
            if name not in self._looked and _may_have(name, mark, first, last):
                self._looked.add(name)
                with opened(self.path / name) as file:
                    days.add(found.window for found in _Source(name, file, mark).windows())

    def _files_of(self, endpoint: str) -> list[str]:
        return sorted(name for name in self._marks if name.startswith(f"{endpoint}/"))

    def _file_of(self, window: Window, fetched_at: str) -> str:
        """The file of a window: the one that is there, however it is packed."""
        year, month = _period_of(window.begin, fetched_at)
        stem = f"{window.endpoint}/{year}" + (f"-{month:02}.jsonl" if month else ".jsonl")
        names = [stem + made.suffix for made in COMPRESSIONS.values()]
        return next((name for name in names if name in self._marks), stem + self._suffix)

    def _append(self, name: str, batches: Sequence[Batch], last_day: date) -> None:
        """Add the lines of windows, until that day, to the end of a file."""
        pieces = [lines for batch in batches if (lines := batch.packed or batch.lines())]
        if name == JOURNAL:
            pieces = [
                piece
                for batch in batches
                for piece in (line_end(metadata(batch.window, batch.fetched_at)), batch.lines())
                if piece
            ]
        if not pieces:
            return
        packing = compression_of(name)
        mark = self._marks.get(name, SegmentState())
        small = mark.small
        if packing.suffix:
            plain, pieces = pieces, [packing.pack(pieces)]
            small += len(pieces[0]) if sum(map(len, plain)) < _LARGE_MEMBER else 0
        descriptor = self._descriptor(name)
        try:
            if os.fstat(descriptor).st_size != mark.size:  # of a write that failed
                durable.truncate(descriptor, mark.size, "lines")
            size = mark.size + durable.write_pieces(descriptor, pieces, "lines")
            durable.sync(descriptor, "lines")
        finally:
            os.close(descriptor)
        last = last_day.toordinal()
        end = _end_of(pieces)
        tail = crc32(end) if len(end) == TAIL else self._tail_of(self.path / name, size)
        self._mark(name, SegmentState(size, mark.generation, small, tail, max(last, mark.last)))

    def _mark(self, name: str, mark: SegmentState) -> None:
        self._marks[name] = mark
        self._changed.add(name)

    def _report(self) -> Checkpoint:
        """The entries that changed since the last call."""
        changed = {name: str(self._marks[name]) for name in self._changed if name in self._marks}
        self._changed.clear()
        return changed

    @staticmethod
    def _tail_of(path: Path, size: int) -> int:
        with opened(path) as file:
            return tail_of(file, size)

    def _descriptor(self, name: str) -> int:
        """The open file, to be added to; it is made if it has no mark."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
        path = self.path / name
        if name in self._marks:
            self._appended.append(name)
            return os.open(path, flags)
        if name != JOURNAL:
            self._make_folder(folder_of(name))
        with durable.step("make file of lines"):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            self._appended.append(name)
        self._unsynced.add(path.parent)
        return descriptor

    def _make_folder(self, folder: str) -> None:
        """Before a file is made: its folder is ours, and nothing of somebody else's is there."""
        if folder not in self._home.folders:
            if strange := self._strays([folder]):
                raise SinkError(
                    f"{strange[0]} is there, and this harvest did not write it; move it away, or"
                    " choose another directory"
                )
            self._home.folders.append(folder)
            self._home.write()
        durable.make_directory(self.path / folder, "folder of lines")

    def _undo(self, before: SegmentStates) -> None:
        """A write has failed: go back to what was stored, as far as the disk lets us."""
        for name in self._appended:
            with suppress(OSError):
                if name in before:
                    self._cut(self.path / name, before[name].size)
                else:
                    (self.path / name).unlink()
        self._days.clear()
        self._looked.clear()
        self._marks = before

    def _close(self) -> None:
        try:
            if self._settled:
                self._merge()
                self._home.sync()
        finally:
            self._settled = False
            self._unsynced.clear()
            for kept in (self._marks, self._unknown, self._changed, self._days, self._looked):
                kept.clear()
            self._home.unlock()

    # merging

    def _merge(self) -> None:
        """Bring the windows of the journal into the files of their months."""
        places: dict[str, list[_Place]] = defaultdict(list)
        mark = self._marks.get(JOURNAL, SegmentState())
        for name in filter(self._is_scattered, self._marks):
            places[folder_of(name)]  # without a window
        with ExitStack() as stack:
            journal = None
            if mark.size:
                file = stack.enter_context(opened(self.path / JOURNAL))
                journal = _Source(JOURNAL, file, mark)
                for found in journal.windows():
                    file_name = self._file_of(found.window, found.fetched_at)
                    size = sum(map(len, found.lines))
                    place = _Place(found.window, found.start, size, file_name)
                    places[found.window.endpoint].append(place)
            for endpoint, replacing in places.items():
                self._merge_into(endpoint, replacing, journal)
        if mark.size:
            with self._draft(JOURNAL):
                pass
            self._place({JOURNAL: SegmentState(0, mark.generation + 1)})

    def _is_scattered(self, name: str) -> bool:
        """Whether the small members of a file take much of it."""
        mark = self._marks.get(name, SegmentState())
        return mark.small > _SMALL_BYTES and mark.small * _SMALL_SHARE > mark.size

    def _merge_into(
        self, endpoint: str, replacing: Sequence[_Place], journal: _Source | None
    ) -> None:
        """Bring windows into the files of an interface, in the place of all that overlap them."""
        days: dict[str, Days] = defaultdict(Days)  # of the windows that belong into a file
        added: dict[str, list[_Place]] = defaultdict(list)
        for place in replacing:
            days[place.file].add([place.window])
        for place in last_of_overlapping(replacing):
            added[place.file].append(place)
        names = sorted({*self._files_of(endpoint), *added})
        for others in (True, False):  # first what a window of another month replaces: so a reader
            drafts: SegmentStates = {}  # never sees both
            for name in names:
                first, last = first_day_of(name), self._marks.get(name, SegmentState()).last
                gone = [
                    each
                    for month, each in days.items()
                    if not (others and month == name) and each.reach(first, last)
                ]
                new = [] if others else [place for place in added[name] if place.size]
                packs = not others and self._is_scattered(name)
                if gone or new or packs:
                    mark = self._rewritten(name, gone, new, journal, unchanged=packs)
                    drafts.update({name: mark} if mark else {})
            self._place(drafts)

    def _rewritten(
        self,
        name: str,
        gone: Sequence[Days],
        new: Sequence[_Place],
        journal: _Source | None,
        *,
        unchanged: bool,
    ) -> SegmentState | None:
        """Write a draft of a file without what overlaps these days, and with these windows.

        unchanged: also if the windows of the file stay as they are; else None is returned then.
        """
        mark, last = self._marks.get(name, SegmentState()), 0
        packer = compression_of(name).packer()

        def stays(found: WindowLines) -> bool:
            return not any(days.overlaps(found.window) for days in gone)

        with ExitStack() as stack:
            file = stack.enter_context(opened(self.path / name)) if name in self._marks else None
            source = _Source(name, file, mark)
            if not new and not unchanged and all(map(stays, source.windows())):
                return None
            if file is None:
                self._make_folder(folder_of(name))
            draft = stack.enter_context(self._draft(name))
            for found in filter(stays, source.windows()):
                draft.write(packer.compress(b"".join(found.lines)))
                last = max(last, found.window.end.toordinal())
            for place in new:
                assert journal is not None
                draft.write(packer.compress(journal.read(place.start, place.size)))
                last = max(last, place.window.end.toordinal())
            draft.write(packer.flush())
        with opened(_draft_of(self.path / name)) as file:
            size = file.seek(0, os.SEEK_END)
            return SegmentState(size, mark.generation + 1, 0, tail_of(file, size), last)

    @contextmanager
    def _draft(self, name: str) -> Iterator[IO[bytes]]:
        """A file that is to take the place of another one; durable after the block."""
        draft = _draft_of(self.path / name)
        draft.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with open(os.open(draft, flags, 0o666), "r+b", buffering=CHUNK) as file:
                with durable.step("write merged file"):
                    yield file
                    file.flush()
                durable.sync(file.fileno(), "merged file")
        except Exception:
            draft.unlink(missing_ok=True)
            raise

    def _place(self, drafts: SegmentStates) -> None:
        """Note the state of drafts, then let them take the place of their files."""
        if not drafts:
            return
        for name, mark in drafts.items():  # until it is renamed, the former one counts
            self._unknown[name] = [*self._unknown.get(name, [])[-1:], mark]
        self._merged_commits = max(self._merged_commits, self._commits)
        files = {name: [*map(str, marks)] for name, marks in self._unknown.items()}
        note = encode({"commits": self._merged_commits, "files": files})
        durable.replace_file(self.path / MERGED, note, "state of merged files")
        for name, mark in drafts.items():
            durable.rename(_draft_of(self.path / name), self.path / name, "merged file")
            self._mark(name, mark)

    # reading

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        """The names of the interfaces of which records are stored here."""
        with ExitStack() as stack:
            journal = self._sources(JOURNAL, checkpoint, stack)[0]
            names = {found.window.endpoint for found in journal.windows()}
        if self._home.is_locked or checkpoint is not None:
            files = {*self._marks, *_marks_in(checkpoint or {}), *self._noted().files}
        else:
            files = {name for name, _ in self._on_disk()}
        names.update(folder_of(name) for name in files if name != JOURNAL)
        return sorted(name for name in names if any(True for _ in self._windows(name, checkpoint)))

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
        days: Range | None = None,
    ) -> Iterator[StoredWindow]:
        """Each stored window of an interface that has such days, by account and first day.

        The windows are found first; then each is read from its place.  Until then a window takes
        one number of the memory.
        """
        with ExitStack() as stack:
            sources: dict[_Source, int] = {}
            index: defaultdict[str, list[int]] = defaultdict(list)
            for source, found in self._windows(endpoint, checkpoint, days, stack):
                appid, _, begin, _ = found.window
                if appids is None or appid in appids:
                    place = sources.setdefault(source, len(sources)), found.start
                    index[appid].append(_packed(begin, *place, sum(map(len, found.lines))))
            numbered = [*sources]
            # Without a checkpoint nobody knows whether the end of a file has been cut off.
            checked = checkpoint is not None or self._thread is not None
            for appid in sorted(index):
                for packed in sorted(index.pop(appid)):
                    number, start, size = _unpacked(packed)
                    source = numbered[number]
                    [found] = windows_in([source.read(start, size)], source)
                    whole = checked or start != source.last
                    yield StoredWindow(
                        found.window, found.tally(), found.fetched_at, found.records, whole
                    )

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None = None) -> dict[str, Stamp]:
        """A stamp of each month, from the bytes of its windows; no record is parsed."""
        stamps: dict[str, Stamp] = {}
        for _, found in self._windows(endpoint, checkpoint):
            month = found.window.begin.isoformat()[:7]
            rows, sums, latest = stamps.get(month, Stamp(0, (0, 0), ""))
            digest = blake2b(b"".join(found.lines), digest_size=16).digest()
            one, other = _TWO_NUMBERS.unpack(digest)
            sums = (sums[0] + one) % _MODULUS, (sums[1] + other) % _MODULUS
            stamps[month] = Stamp(rows + len(found.lines), sums, max(latest, found.fetched_at))
        return stamps

    def _windows(
        self,
        endpoint: str,
        checkpoint: Checkpoint | None,
        days: Range | None = None,
        stack: ExitStack | None = None,
    ) -> Iterator[tuple[_Source, WindowLines]]:
        """The stored windows of an interface without the replaced ones, in the order of the files.

        stack: keeps the files open, so that the windows can be read from their places.
        """
        first, last = days or (date.min, date.max)
        with ExitStack() as files:
            # What reads a part of the days often reads the next part later.
            known = None if days is None else self._known
            journal, *sources = self._sources(endpoint, checkpoint, stack or files, known)
            places = [
                _Place(found.window, found.start, 0, "")
                for found in journal.windows()
                if found.window.endpoint == endpoint
            ]
            gone = Days(place.window for place in places)
            kept = {place.start for place in last_of_overlapping(places)}
            for source in (journal, *sources):
                for found in source.windows(stack) if source.may_have(first, last) else ():
                    window, source.last = found.window, found.start
                    if source is not journal:
                        stays = not places or not gone.overlaps(window)
                    else:
                        stays = window.endpoint == endpoint and found.start in kept
                    if stays and found.lines and within(window, days):
                        yield source, found

    def _sources(
        self,
        endpoint: str,
        checkpoint: Checkpoint | None,
        stack: ExitStack,
        known: _Known | None = None,
    ) -> list[_Source]:
        """The journal and the files of an interface; all are open: a run may replace them."""
        sources = [_Source(JOURNAL, None, SegmentState())]
        try:
            for name, file, mark in self._open_files(endpoint, checkpoint):
                source = _Source(name, stack.enter_context(file), mark, known)
                sources[0 if name == JOURNAL else len(sources) :] = [source]
        except OSError as exc:
            raise SinkError(f"{self.path} cannot be read ({exc.strerror})") from exc
        return sources

    def _open_files(
        self, endpoint: str, checkpoint: Checkpoint | None
    ) -> Iterator[tuple[str, FileIO, SegmentState]]:
        if self._home.is_locked:
            yield from self._standing(self._marks, endpoint, noted=False)
            return
        self._home.read()
        if checkpoint is not None:
            yield from self._standing(_marks_in(checkpoint), endpoint)
            return
        for name, path in self._on_disk(endpoint):
            with suppress(FileNotFoundError):  # removed by a run
                file = opened(path)
                yield name, file, SegmentState(compression_of(name).whole(file), last=ANY_DAY)


_TWO_NUMBERS, _MODULUS = Struct("<QQ"), 1 << 64


_BITS = (20, 48, 40)
"""Of the number of a file, of a place in it, and of a size."""


def _packed(begin: date, *place: int) -> int:
    """The first day of a window, and its place, as a number; they are ordered by the day."""
    number = begin.toordinal()
    for bits, part in zip(_BITS, place, strict=True):
        number = number << bits | part
    return number


def _unpacked(number: int) -> tuple[int, int, int]:
    """The place of a window."""
    _, start, size = _BITS
    return (
        number >> start + size & (1 << _BITS[0]) - 1,
        number >> size & (1 << start) - 1,
        number & (1 << size) - 1,
    )


def _period_of(begin: date, fetched_at: str) -> tuple[int, int]:
    """The year and the month of a window's file; 0 for a file of the whole year."""
    return begin.year, 0 if begin.year < _open_year(fetched_at) else begin.month


def _open_year(fetched_at: str) -> int:
    """The first year that has a file for each month."""
    return int(fetched_at[:4]) - (fetched_at[5:7] < "04")


def _by_period(
    group: Sequence[Batch], days: Sequence[date] | None
) -> Iterable[tuple[Sequence[Batch], date]]:
    """The batches of each file, as of when the first one was fetched, and their last day.

    days: of windows of one day each.
    """
    begins = days or [batch.window[2] for batch in group]
    open_year = _open_year(group[0].fetched_at)
    first, last = min(begins), max(begins)
    same = first.year == last.year and (first.year < open_year or first.month == last.month)
    if same:  # mostly
        return [(group, last if days else _last_day(group))]
    if days and first.year + 1 == last.year < open_year:
        turn = date(last.year, 1, 1)
        former = [batch for batch, day in zip(group, days, strict=True) if day < turn]
        latter = [batch for batch, day in zip(group, days, strict=True) if day >= turn]
        return [(former, turn - ONE_DAY), (latter, last)]
    files: dict[tuple[int, int], list[Batch]] = defaultdict(list)
    for batch, begin in zip(group, begins, strict=True):
        year = begin.year
        files[year, 0 if year < open_year else begin.month].append(batch)
    return [(some, _last_day(some)) for some in files.values()]


def _last_day(batches: Iterable[Batch]) -> date:
    return max([batch.window[3] for batch in batches])


def _marks_in(checkpoint: Checkpoint) -> SegmentStates:
    """The files of a checkpoint."""
    return {
        name: SegmentState.parse(text)
        for name, text in checkpoint.items()
        if text and (name == JOURNAL or NAME.fullmatch(name))
    }


def _may_have(name: str, mark: SegmentState, first: date, last: date) -> bool:
    """Whether a file may have windows with a day between these, both included."""
    return first_day_of(name) <= last.toordinal() and first.toordinal() <= mark.last


def _draft_of(path: Path) -> Path:
    """What is to become a file, until it has its name."""
    return path.with_name(f".{path.name}.tmp")


def not_written(directory: Path, exc: OSError) -> SinkError:
    """One sentence with what to do."""
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


def _is_ours(path: Path) -> bool:
    """Whether a file begins with a record of ours, of the interface that its folder names."""
    try:
        with opened(path) as file:
            pieces = compression_of(path.name).pieces(file, path.stat().st_size)
            found = next(windows_in(pieces, path), None)
    except (SinkError, OSError):
        return False
    return found is not None and found.window.endpoint == path.parent.name
