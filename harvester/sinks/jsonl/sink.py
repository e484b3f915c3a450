"""JSON lines on disk: ``DIR/<endpoint>/2026-01.jsonl``, plain or compressed.

Rule: a file only grows at its end, or is replaced as a whole; the ledger has the sizes that count.

A window that may overlap stored ones goes into the journal of its interface, a hidden file.  To
*settle* is to bring the directory to what the ledger has: bytes and files of which it does not know
are removed, and the journals are merged into the files (`harvester.sinks.jsonl.merge`).  That is
done when the sink is opened, and by `finish`.  So a reader of the files sees each window once, and
until then in its former state.

The invariant, with N for the number of a settling (`harvester.sinks.jsonl.directory.State`):

- State ``N, whole: null``: the ledger has N, and the sizes that it has count.
- State ``N, whole: T``: the ledger has N, as before; or it has N - 1, and its sizes are T bytes
  together: then the merge has begun, and each file counts as a whole, renamed already or not.
- Anything else: a ledger below N is older than the directory, one above it has an older directory.
  Both are refused before anything is changed.

T tells two ledgers with one number apart, since between two settlings files only grow.  Without a
state, as in a copy without hidden files, each file must have the size that the ledger has.

A ledger that is rebuilt from the directory gets what is stored, and nothing is changed for it: the
former ledger stays valid until the first run with the new one, which makes itself the owner.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from harvester.base import files as durable
from harvester.base.codec import line_end
from harvester.base.dates import Days as Range
from harvester.base.threads import Thread
from harvester.errors import NoRecordsError, SinkError, UsageError
from harvester.model import Batch, Window, metadata
from harvester.sinks.base import (
    OWNER,
    Checkpoint,
    Fence,
    Sink,
    Stamp,
    StoredWindow,
    Written,
)
from harvester.sinks.groups import by_endpoint, last_of_overlapping, single_days
from harvester.sinks.jsonl.compression import COMPRESSIONS, compression_of
from harvester.sinks.jsonl.directory import (
    NAME,
    Directory,
    State,
    endpoint_of,
    is_journal,
    journal_of,
)
from harvester.sinks.jsonl.merge import files_of, merge
from harvester.sinks.jsonl.periods import by_period, file_of
from harvester.sinks.jsonl.segments import (
    Days,
    Extent,
    Extents,
    Source,
    may_have,
)
from harvester.sinks.jsonl.stored import StoredLines, opened
from harvester.sinks.spec import read_spec
from harvester.texts import of_system, say

_log = logging.getLogger("harvester")

JOURNAL_BYTES = 32 * 1024 * 1024
"""Journals of this size are to be merged: the positions of their windows are in memory until
then."""
_NUMBER, _REBUILT = "number", "rebuilt"
_NEW, _USED = "new", "used"


class _Known(NamedTuple):
    """What a ledger has stored for the sink.

    rebuilt: ``new`` if it was made from what is stored; ``used`` after its first run: it may lack
        windows that are stored.
    """

    owner: str
    number: int
    rebuilt: str
    extents: Extents

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> _Known:
        extents = {
            name: Extent(*map(int, text.split()))
            for name, text in checkpoint.items()
            if text and (is_journal(name) or NAME.fullmatch(name))
        }
        number, rebuilt = int(checkpoint.get(_NUMBER, 0)), checkpoint.get(_REBUILT, "")
        return cls(checkpoint.get(OWNER, ""), number, rebuilt, extents)


class JsonLines(Sink):
    """The JSON lines sink; only one process can use a directory at a time.

    directory: the directory of the files; it is created if it does not exist.
    compress: ``gzip``, ``zstd`` or an empty string.  The option applies to new files; a directory
        can have files of all kinds.  Raises `UsageError` for other values, and for ``zstd`` if its
        package is missing.
    journal_bytes: if the journals reach this size, the write asks for `finish`.
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
        self._extents: Extents = {}  # what counts
        if compress not in COMPRESSIONS:
            raise UsageError("invalid compress={!r}: expected gzip or zstd", compress)
        self._suffix = COMPRESSIONS[compress]().suffix
        self._journal_bytes = journal_bytes
        self._thread: Thread | None = None
        self._home = Directory(self.path)
        self._lines = StoredLines(self._home, self._counting)
        self._state = State()  # of the directory
        self._ready = False  # what is here is what the ledger has, or will have
        self._unsure = False  # whether the ledger has it: only the next opening knows
        self._stored: Extents = {}  # what the ledger has, or is about to store
        self._looks = False  # for windows of which the ledger does not know
        self._days: dict[str, Days] = {}  # by interface: of windows that may be stored
        self._looked: set[str] = set()  # files whose windows are among these

    def __repr__(self) -> str:
        return f"<JsonLines {self.path}, {len(self._extents)} files>"

    @classmethod
    def from_spec(cls, rest: str) -> JsonLines:
        spec = read_spec("jsonl", rest, {"compress": ("gzip", "zstd")}, "jsonl:DIR")
        return cls(spec.place, compress=spec.options.get("compress", ""))

    @property
    def identity(self) -> str:
        return f"jsonl:{self.path.resolve()}"

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        self._thread = Thread("harvester-jsonl")
        stored: Checkpoint = await self._call(self._open, checkpoint)
        return stored

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        if self._unsure:
            raise SinkError(
                "{} is no longer written, because an earlier step was interrupted or failed; run"
                " the same command again",
                self.path,
            )
        if not batches:
            return Written()
        self._unsure = True
        try:
            written: Written = await self._call(self._write, batches)
        except Exception:  # nothing of it is stored; of a cancelled one everything may be
            self._unsure = False
            raise
        self._unsure = False
        return written

    async def finish(self) -> Checkpoint:
        if self._unsure or not self._ready or self._state.whole is not None:
            return {}
        self._unsure = True
        stored: Checkpoint = await self._call(self._settle, self._state.owner)
        self._unsure = False
        return stored

    async def close(self) -> None:
        if self._thread is None:
            return
        try:
            await self._call(self._close)
        finally:
            self._thread.close()
            self._thread = None

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        assert self._thread is not None, "the sink is not open"
        try:
            return await self._thread.call(function, *args)
        except OSError as exc:
            full = durable.is_full(exc)
            raise SinkError(
                "{} could not be written: {}; nothing that was committed is lost: {} and run the"
                " same command again",
                self.path,
                say("the disk is full") if full else of_system(exc),
                say("free some space") if full else say("fix the cause"),
            ) from exc

    def _open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        self._home.lock()
        if checkpoint is None:
            return self._take_all()
        known = _Known.of(checkpoint)
        if not checkpoint:
            self._home.state(lenient=True)  # of another format it is refused
            if self._holds_records():
                raise self._unknown_harvest()
        elif self._is_whole(known):
            self._extents = self._all_extents()
        else:
            self._extents = dict(known.extents)
        self._stored = known.extents
        self._state = State(known.owner, known.number)
        self._looks = bool(known.rebuilt)
        entries = self._settle("" if known.rebuilt == _NEW else known.owner)
        return {**entries, _REBUILT: _USED} if known.rebuilt else entries

    def _take_all(self) -> Checkpoint:
        """Accept all whole lines; nothing is changed before the first write."""
        self._state = self._home.state(lenient=True) or State()
        self._extents = self._all_extents()
        self._stored = dict(self._extents)
        self._looks = True
        entries = {name: str(extent) for name, extent in self._extents.items()}
        entries |= {OWNER: self._state.owner, _NUMBER: str(self._state.number), _REBUILT: _NEW}
        return entries

    def _is_whole(self, known: _Known) -> bool:
        """Whether files count as a whole; raises an error if ledger and directory do not fit."""
        rebuilt = known.rebuilt == _NEW
        state = self._home.state(lenient=rebuilt and not known.number)
        if state is not None and state.owner != known.owner:
            merging = rebuilt and state.number == known.number + 1
            if not merging and self._holds_records():
                raise self._unknown_harvest()
            state = state if merging else None
        total = sum(extent.size for extent in known.extents.values())
        if state is not None and (state.number, state.whole) == (known.number + 1, total):
            return True
        if state is not None and known.number < state.number:
            raise SinkError(
                "the ledger is older than the directory {}: a run with it would remove what was"
                " stored since; restore the latest copy of the ledger, or make a new one from the"
                " stored records ({})",
                self.path,
                self._home.command,
            )
        if state is not None and known.number > state.number:
            raise SinkError(
                "the directory {} is older than the ledger; restore the latest copy of the"
                " directory, or make a new ledger from the stored records ({})",
                self.path,
                self._home.command,
            )
        exactly = state is None and known.number > 0  # one that was rebuilt may have had none
        for name, extent in known.extents.items():
            self._check(name, extent, exactly=exactly)
        return False

    def _check(self, name: str, extent: Extent, *, exactly: bool = False) -> None:
        """Raise `SinkError` if a file does not have the bytes that the ledger has."""
        path = self.path / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = -1
        if size == extent.size:
            return
        is_killed = size > extent.size and not exactly  # a run that was killed has written more
        if is_killed and extent.check in (-1, self._home.check(name, extent.size)):
            return
        how = say("differs from the ledger: one of the two is older or was changed")
        if size < extent.size:
            how = (
                say("is gone")
                if size < 0
                else say("is truncated to {} of its {} bytes", size, extent.size)
            )
            how += say(", but the ledger lists it as stored")
        raise SinkError(
            "{} {}; restore the right file, or make a new ledger from the stored records ({})",
            path,
            how,
            self._home.command,
        )

    def _unknown_harvest(self) -> UsageError:
        return UsageError(
            "the directory {} contains a harvest that is not in this ledger; use the ledger of"
            " that harvest (--ledger), or choose another directory; if that ledger is lost, {}"
            " makes a new one from the stored records",
            self.path,
            self._home.command,
        )

    def _holds_records(self) -> bool:
        return any(map(self._home.is_ours, self._home.names()))

    def _all_extents(self) -> Extents:
        with ExitStack() as stack:
            sources = opened(self._home, self._home.ours(), stack)
            return {each.name: each.extent for each in sources if each.extent.size}

    def _settle(self, owner: str) -> Checkpoint:
        """Settle the directory; owner: empty for a new one."""
        self._ready = False
        self._clean()
        whole = sum(extent.size for extent in self._stored.values())
        state = State(owner or secrets.token_hex(16), self._state.number + 1, whole)
        self._home.store(state)
        for journal in [name for name in self._extents if is_journal(name)]:
            merge(self._home, self._extents, journal, self._suffix)
        if not self._looks:
            self._days.clear()
        self._state, self._ready = state, True
        return {OWNER: state.owner, _NUMBER: str(state.number), **self._report()}

    def _clean(self, made: Collection[str] = ()) -> None:
        """Remove what does not count; files that no failed write has made are named."""
        for path in self._home.drafts():
            durable.remove(path, "draft of lines")
        for name, extent in self._extents.items():
            self._check(name, extent)
            self._home.cut(name, extent.size)
        for name in self._home.names():
            if name not in self._extents and self._home.is_ours(name):
                if not (is_journal(name) or name in made):
                    _log.warning(
                        say(
                            "removing {}, which is not in the ledger: a killed run or another"
                            " program left it there",
                            self.path / name,
                        )
                    )
                self._home.remove(name)

    def _report(self) -> Checkpoint:
        former = self._stored
        for name, extent in self._extents.items():
            if former.get(name) != extent:
                check = self._home.check(name, extent.size)
                self._extents[name] = extent._replace(check=check)
        self._stored = dict(self._extents)
        changed = {
            name: str(extent)
            for name, extent in self._extents.items()
            if former.get(name) != extent
        }
        return {**dict.fromkeys(former.keys() - self._extents.keys(), ""), **changed}

    def _close(self) -> None:
        self._ready = self._unsure = False
        for kept in (self._stored, self._extents, self._days, self._looked):
            kept.clear()
        self._home.unlock()

    def _write(self, batches: Sequence[Batch]) -> Written:
        if not self._ready:  # only this run knows what is stored here
            self._settle("")
        if self._state.whole is not None:
            state = self._state._replace(whole=None)
            self._home.store(state)
            self._state = state
        before = dict(self._extents)
        try:
            for endpoint, group in by_endpoint(batches).items():
                self._store(endpoint, group)
        except Exception:
            made, self._extents = self._extents.keys(), before
            with suppress(OSError, SinkError):  # as far as the disk, and who changes it, allows
                self._clean(made)
            raise
        journals = (self._extents.get(journal_of(endpoint)) for endpoint in self._days)
        size = sum(extent.size for extent in journals if extent)
        return Written(self._report(), full=size >= self._journal_bytes)

    def _store(self, endpoint: str, group: Sequence[Batch]) -> None:
        days = single_days(group)
        replacing = self._replacing(endpoint, group, overlap=days is None)
        if replacing:
            self._days.setdefault(endpoint, Days()).add(batch.window for batch in replacing)
            self._append(journal_of(endpoint), _journal_lines(replacing), 0)
            chosen = {*map(id, replacing)}
            group, days = [batch for batch in group if id(batch) not in chosen], None
        for some, last in by_period(group, days) if group else ():
            name = file_of(some[0].window, group[0].fetched_at, self._extents, self._suffix)
            pieces = [lines for batch in some if (lines := batch.packed or batch.lines())]
            self._append(name, pieces, last.toordinal())
        if self._looks:
            self._days[endpoint].add(batch.window for batch in group)

    def _replacing(
        self, endpoint: str, group: Sequence[Batch], *, overlap: bool
    ) -> Sequence[Batch]:
        """Those that may overlap stored ones; all, if they overlap each other, which they may."""
        if self._looks:
            self._look(endpoint, [batch.window for batch in group])
        elif endpoint not in self._days and not overlap:
            return [batch for batch in group if batch.replaces]
        if overlap and len(last_of_overlapping(group)) < len(group):
            return group
        days = self._days.get(endpoint) or Days()
        return [
            batch
            for batch in group
            if (batch.replaces and not self._looks) or days.overlaps(batch.window)
        ]

    def _look(self, endpoint: str, windows: Sequence[Window]) -> None:
        days = self._days.setdefault(endpoint, Days())
        first = min(window.begin for window in windows).toordinal()
        last = max(window.end for window in windows).toordinal()
        for name in files_of(self._extents, endpoint):
            extent = self._extents[name]
            if name not in self._looked and may_have(name, extent, first, last):
                self._looked.add(name)
                with self._home.opened(name) as file:
                    days.add(found.window for found in Source(name, file, extent).windows())

    def _append(self, name: str, pieces: Sequence[bytes], last: int) -> None:
        if not pieces:
            return
        packing = compression_of(name)
        if packing.suffix:
            pieces = [packing.pack(pieces)]
        extent = self._extents.get(name)
        if extent is not None:
            self._check(name, extent)
            size = self._home.append(name, extent.size, pieces)
            last = max(last, extent.last)
        else:
            self._home.refuse_strangers(name, self._extents)
            with self._home.draft(name) as draft:
                size = durable.write_pieces(draft.fileno(), pieces, "lines")
        self._extents[name] = Extent(size, last)

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        names = {*self._extents}
        if not self._home.is_locked:
            names = {*self._home.names()}
            if checkpoint is None and not names and not self._home.note():
                raise NoRecordsError("{} contains no harvest", self.path)
            if checkpoint is not None:
                names |= _Known.of(checkpoint).extents.keys()
        found = sorted({endpoint_of(name) for name in names})
        return [name for name in found if any(True for _ in self._lines.windows(name, checkpoint))]

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
        days: Range | None = None,
    ) -> Iterator[StoredWindow]:
        # Without a checkpoint it is unknown whether the end of a file has been cut off.
        checked = checkpoint is not None or self._thread is not None
        return self._lines.scan(endpoint, appids, checkpoint, days, checked=checked)

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None = None) -> dict[str, Stamp]:
        return self._lines.stamps(endpoint, checkpoint)

    def _counting(
        self, endpoint: str, checkpoint: Checkpoint | None
    ) -> Mapping[str, Extent | None]:
        if self._home.is_locked:
            extents = self._extents
        elif checkpoint is None:
            self._home.state(lenient=True)  # of another format it is refused
            return self._home.ours(endpoint)
        elif self._is_whole(known := _Known.of(checkpoint)):
            return self._home.ours(endpoint)
        else:
            extents = known.extents
        return {name: each for name, each in extents.items() if endpoint_of(name) == endpoint}


def _journal_lines(batches: Iterable[Batch]) -> list[bytes]:
    """The metadata alone before each window, so that one without records replaces, too."""
    return [
        piece
        for batch in batches
        for piece in (line_end(metadata(batch.window, batch.fetched_at)), batch.lines())
        if piece
    ]
