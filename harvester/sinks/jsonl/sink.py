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
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import date
from hashlib import blake2b
from pathlib import Path
from struct import Struct
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
    within,
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
    ANY_DAY,
    Days,
    Extent,
    Extents,
    Source,
    WindowLines,
    may_have,
    windows_in,
)
from harvester.sinks.spec import read_spec
from harvester.texts import of_system, say

_log = logging.getLogger("harvester")

JOURNAL_BYTES = 32 * 1024 * 1024
"""Journals of this size are to be merged: the positions of their windows are in memory until
then."""
_NUMBER, _REBUILT = "number", "rebuilt"
_NEW, _USED = "new", "used"
_TURNS = 20


class _Known(NamedTuple):
    """What a ledger has stored for the sink.

    rebuilt: ``new`` if it was made from what is stored and no run has used it, ``used`` if one has:
        it may lack windows that are stored.
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
    """The JSON lines sink; one process per directory.

    directory: made if it is not there.
    compress: ``gzip`` or ``zstd``, or an empty string; raises `UsageError` for others, and for
        ``zstd`` if its package is not here.  It holds for new files: a directory may have all
        kinds.
    journal_bytes: the size of the journals at which a write asks for `finish`.
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
        """Store each window and replace all that overlap it; durable on return."""
        if self._unsure:
            raise SinkError(
                "{} is not written any more, since a step before was interrupted or has failed;"
                " run the same command again",
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
        """Merge the journals, if anything was written since."""
        if self._unsure or not self._ready or self._state.whole is not None:
            return {}
        self._unsure = True
        stored: Checkpoint = await self._call(self._settle, self._state.owner)
        self._unsure = False
        return stored

    async def close(self) -> None:
        """Unlock the directory."""
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
        """Whether files count as a whole, else as the ledger has them.

        Raises an error if the ledger and the directory do not fit: see above.
        """
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
                "the ledger is older than the directory {}, and would remove what was stored"
                " since; restore the newest ledger, or make a new one from what is stored ({})",
                self.path,
                self._home.command,
            )
        if state is not None and known.number > state.number:
            raise SinkError(
                "the directory {} is older than the ledger; restore the newest one, or make a"
                " new ledger from what is stored ({})",
                self.path,
                self._home.command,
            )
        exactly = state is None and known.number > 0  # one that was rebuilt may have had none
        for name, extent in known.extents.items():
            self._check(name, extent, exactly=exactly)
        return False

    def _check(self, name: str, extent: Extent, *, exactly: bool = False) -> None:
        """Raise `SinkError` if a file has not the bytes that the ledger has.

        Of one that is longer the last of these bytes are read; of others nothing.
        """
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
        how = say("differs from the ledger: one of the two is older, or it was changed")
        if size < extent.size:
            how = (
                say("is gone")
                if size < 0
                else say("is truncated to {} of its {} bytes", size, extent.size)
            )
            how += say(", though the ledger records it as stored")
        raise SinkError(
            "{} {}; restore the right one, or make a new ledger from what is stored ({})",
            path,
            how,
            self._home.command,
        )

    def _unknown_harvest(self) -> UsageError:
        return UsageError(
            "the directory {} holds a harvest that this ledger does not know; use the ledger"
            " that filled it (--ledger), or choose another directory; if that ledger is lost, {}"
            " makes one from what is stored",
            self.path,
            self._home.command,
        )

    def _holds_records(self) -> bool:
        """Whether any records are stored here."""
        return any(map(self._home.is_ours, self._home.names()))

    def _all_extents(self) -> Extents:
        """The whole lines of all files that are ours."""
        with ExitStack() as stack:
            sources = self._opened(self._home.ours(), stack)
            return {each.name: each.extent for each in sources if each.extent.size}

    # settling

    def _settle(self, owner: str) -> Checkpoint:
        """Bring the directory to what the ledger has, and merge the journals.

        owner: empty for a new one.
        """
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
        """Remove what does not count: drafts, ends of files, files of ours.

        made: by a write that has just failed; all others are named.
        """
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
                            "{} is removed: the ledger does not know it; a killed run has left it,"
                            " or another program",
                            self.path / name,
                        )
                    )
                self._home.remove(name)

    def _report(self) -> Checkpoint:
        """The entries that changed since the last call."""
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

    # writing

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
        """Write the windows of an interface; those that may overlap others into its journal."""
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
        """Find the days of the files that may have windows which overlap these."""
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
        """Add the lines of windows, until that day, to the end of a file."""
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

    # reading

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        """The names of the interfaces of which records are stored here."""
        names = {*self._extents}
        if not self._home.is_locked:
            names = {*self._home.names()}
            if checkpoint is None and not names and not self._home.note():
                raise NoRecordsError("{} holds no harvest", self.path)
            if checkpoint is not None:
                names |= _Known.of(checkpoint).extents.keys()
        found = sorted({endpoint_of(name) for name in names})
        return [name for name in found if any(True for _ in self._windows(name, checkpoint))]

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
            sources: dict[Source, int] = {}
            index: defaultdict[str, list[int]] = defaultdict(list)
            for source, found in self._windows(endpoint, checkpoint, days, stack):
                appid, _, begin, _ = found.window
                if appids is None or appid in appids:
                    place = sources.setdefault(source, len(sources)), found.start
                    index[appid].append(_packed(begin, *place, found.size))
            numbered = [*sources]
            # Without a checkpoint it is unknown whether the end of a file has been cut off.
            checked = checkpoint is not None or self._thread is not None
            for appid in sorted(index):
                for packed in sorted(index.pop(appid)):
                    number, start, size = _unpacked(packed)
                    source = numbered[number]
                    [found] = windows_in([source.read(start, size)], source.name)
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
    ) -> Iterator[tuple[Source, WindowLines]]:
        """The stored windows of an interface without the replaced ones, in the order of the files.

        stack: keeps the files open, so that the windows can be read from their places.
        """
        first, last = (day.toordinal() for day in days or (date.min, date.max))
        with ExitStack() as files:
            sources = self._sources(endpoint, checkpoint, stack or files)
            journal = next((each for each in sources if is_journal(each.name)), None)
            replacing = [each._replace(lines=[]) for each in journal.windows()] if journal else []
            gone = Days(each.window for each in replacing)
            kept = {each.start for each in last_of_overlapping(replacing)}
            for source in sources:
                if source is not journal and not may_have(source.name, source.extent, first, last):
                    continue
                for found in source.windows(stack):
                    source.last = found.start
                    if source is journal:
                        stays = found.start in kept
                    else:
                        stays = not replacing or not gone.overlaps(found.window)
                    if stays and found.lines and within(found.window, days):
                        yield source, found

    def _sources(
        self, endpoint: str, checkpoint: Checkpoint | None, stack: ExitStack
    ) -> list[Source]:
        """The journal and the files of an interface; all are open: a run may replace them."""
        for _ in range(_TURNS):
            note = self._home.note()
            try:
                with ExitStack() as files:
                    found = self._opened(self._counting(endpoint, checkpoint), files)
                    if self._home.note() == note:
                        stack.enter_context(files.pop_all())
                        return found
            except FileNotFoundError:
                continue  # a merge has removed it
            except SinkError:
                if self._home.note() == note:
                    raise
            except OSError as exc:
                raise SinkError("{} cannot be read ({})", self.path, of_system(exc)) from exc
        raise SinkError("{} was changed each time that it was opened; try again", self.path)

    def _counting(
        self, endpoint: str, checkpoint: Checkpoint | None
    ) -> Mapping[str, Extent | None]:
        """What counts of an interface; None: all of it."""
        if self._home.is_locked:
            return _of(endpoint, self._extents)
        if checkpoint is None:
            self._home.state(lenient=True)  # of another format it is refused
        elif not self._is_whole(known := _Known.of(checkpoint)):
            return _of(endpoint, known.extents)
        return self._home.ours(endpoint)

    def _opened(self, extents: Mapping[str, Extent | None], stack: ExitStack) -> list[Source]:
        """The journals, then the files: so a merge in another process hides no window."""
        sources = []
        for name in sorted(extents, key=lambda name: (not is_journal(name), name)):
            file = stack.enter_context(self._home.opened(name))
            extent = extents[name]
            if extent is None:
                last = 0 if is_journal(name) else ANY_DAY
                extent = Extent(compression_of(name).whole(file), last)
            sources.append(Source(name, file, extent))
        return sources


def _of(endpoint: str, extents: Extents) -> Extents:
    """Those of an interface."""
    return {name: each for name, each in extents.items() if endpoint_of(name) == endpoint}


_TWO_NUMBERS, _MODULUS = Struct("<QQ"), 1 << 64


_BITS = (20, 48, 40)
"""Of the number of a file, of a place in it, and of a size."""


def _packed(begin: date, *place: int) -> int:
    """The first day and the position of a window, as one number; ordered by day."""
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


def _journal_lines(batches: Iterable[Batch]) -> list[bytes]:
    """The metadata alone before each window, so that one without records replaces, too."""
    return [
        piece
        for batch in batches
        for piece in (line_end(metadata(batch.window, batch.fetched_at)), batch.lines())
        if piece
    ]


def not_written(directory: Path, exc: OSError) -> SinkError:
    """A message that says what to do."""
    full = durable.is_full(exc)
    what = say("the disk is full") if full else of_system(exc)
    return SinkError(
        "{} could not be written: {}; nothing that was committed is lost: {} and run the same"
        " command again",
        directory,
        what,
        say("make room") if full else say("fix the cause"),
    )
