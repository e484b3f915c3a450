"""What a sink is: a destination for the records of windows.

Rule: a class with defaults, and its values; no implementation.

There is one commit rule for all sinks.  `Sink.write` replaces every stored window that overlaps a
new one, and is durable when it returns; then the ledger commits.  After a crash between the two,
windows are repeated, and a repeated window replaces itself.  So the sink has each record of each
window exactly once, whatever happened before.

A sink whose files only grow has a checkpoint: the ledger stores it with the windows, and bytes
beyond it are cut off when the sink is opened.  A feed, which cannot revoke what it has sent, sends
a whole window again, with a later version.

The engine calls `open`, `write` from one task, `finish` when all is stored, and `close`; a worker
of a shared ledger that joins again calls `close`, `reach` and `open` again.  `scan` is optional: a
sink that has it can be verified, read and exported, a new ledger can be made from it, and another
sink can be filled from it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from harvester.base.dates import Days
from harvester.base.secrets import Secret
from harvester.model import Batch, Tally, Window
from harvester.texts import say

Checkpoint = Mapping[str, str]
"""The entries that a sink gets at its next `open`; it chooses the keys."""

OWNER = "owner"
"""The key of a checkpoint for the id of the harvest, which a new ledger creates."""

VERIFY = say("`harvester verify` with the same --out or --ledger shows what to type")
"""What to do about records that are not as the ledger has them."""

Fence = Mapping[str, int]
"""The epoch of each account that is written: a writer with a lower one has lost that account."""

Records = Callable[[], Sequence[dict[str, Any]]]


class Written(NamedTuple):
    """What a write has done.

    checkpoint: the entries that changed; the ledger stores them with the windows of the write.  An
        empty value removes its key.
    refused: accounts that a later epoch has written since; nothing of theirs was stored.
    drift: sentences about fields that differ from the catalogue, each once in a sink's life.
    full: call `Sink.finish` before the next write, once the ledger has stored this one.
    """

    checkpoint: Checkpoint = {}  # noqa: RUF012  (shared on purpose: never written to)
    refused: Collection[str] = ()
    drift: Sequence[str] = ()
    full: bool = False


class StoredWindow(NamedTuple):
    """A window that is stored in a sink.

    tally: of its records, as it was when they were written, if they are as they were written.
    fetched_at: when they were fetched, RFC 3339 in UTC.
    records: gives them, without the metadata; they are read when it is called, and only as long as
        the next window of the scan has not been asked for.
    whole: False if it may have been cut off (the last one of a file that grows, without a
        checkpoint), or a record is not as it was written.
    """

    window: Window
    tally: Tally
    fetched_at: str
    records: Records
    whole: bool = True


class Stamp(NamedTuple):
    """What is stored of an interface in a month: a write that changes it changes the stamp.

    rows: the number of records.  sums: of checksums; each sink has its own.  latest: the latest
    fetch time, RFC 3339 in UTC.
    """

    rows: int = 0
    sums: tuple[int, int] = (0, 0)
    latest: str = ""

    def __str__(self) -> str:
        return f"{self.rows}-{self.sums[0]:x}-{self.sums[1]:x}-{self.latest}"


class Sink(ABC):
    """A destination for batches: the base of every sink.

    One of its own has an ``identity``, `open`, `write` and `close`; the rest has defaults here. Its
    methods are called through `harvester.sinks.scan.call`.
    """

    listed: bool = True
    """Whether a ledger lists the sink.  Each run may have another one or none; it gets what that
    run fetches."""

    fenced: bool = False
    """Whether several workers may write at the same time: then `write` refuses accounts that a
    later epoch has written, however late it comes.  A shared ledger takes no other sinks."""

    takes_lines: bool = False
    """Whether `write` uses `Batch.lines` and `Batch.count` alone: then the lines of a window are
    kept until they are written, and not its records."""

    path: Any = None  # so that a sink may declare it as a Path: a variable allows no narrower type
    """The local directory or file of the sink, a `Path`; None if it is elsewhere."""

    is_file: ClassVar[bool] = False
    """Whether ``path`` is a file: its ledger is beside it then."""

    ledger_url: Secret | None = None
    """The URL of a database that can have the ledger, too."""

    unnamed: Callable[[Collection[str]], None] | None = None
    """Called if a ledger alone names the sink, with the hosts that the user named: to no other one
    it may then show a password of the environment."""

    scan: Callable[..., Iterator[StoredWindow]] | None = None
    """``scan(endpoint, appids=None, checkpoint=None, days=None)``: each stored window of an
    interface that has records, in the order of account and first day, of these accounts or of all,
    and of windows that have days in the range ``(first, last)``.

    It is called between two writes, or on a sink that is not open: then with the checkpoint that a
    ledger has stored, beyond which nothing counts, or without one, when all that is stored does.
    Raises `SinkError` if what was stored is gone or damaged, and `UsageError` if it cannot be
    opened here."""

    endpoints: Callable[..., Collection[str]] | None = None
    """``endpoints(checkpoint=None)``: the names of the interfaces of which records are stored; a
    sink has it if it has ``scan``."""

    if TYPE_CHECKING:  # at run time it may be an attribute of the object as well

        @property
        def identity(self) -> str:
            """The destination's spec, without a secret, the same in every run."""
            ...

    async def reach(self) -> None:  # noqa: B027  (most connect in `open`)
        """Connect, and wait until the destination answers; changes nothing there.

        It is called before `open` where several workers share the ledger: only one of them at a
        time opens its sinks, and `open` has some seconds then.  Raises as `open`.
        """

    @abstractmethod
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Prepare for writing, and truncate what is beyond the checkpoint.

        checkpoint: what the ledger has stored for this sink, empty if it knows nothing of it; None
            if no ledger is kept, or a new one is made: then existing content is accepted unchanged
            before the first write.
        Returns entries that the ledger stores at once.  Raises `UsageError` if the destination
        cannot be used, or holds a harvest that this ledger knows nothing of, and `SinkError` if
        what the checkpoint refers to is gone.
        """

    @abstractmethod
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window and replace all that overlap it; durable on return.

        Of two overlapping batches the later one is kept.  Afterwards no lower epoch of these
        accounts is written any more.  Raises `SinkError`.
        """

    async def forget(self, appid: str) -> None:  # noqa: B027  (most keep nothing else)
        """Remove what is kept of an account beside its records, and free their space.

        It is called on an open sink once all records of the account have been removed; no other
        process writes.  May be called again.  Raises `SinkError`.
        """

    async def finish(self) -> Checkpoint:
        """Complete what the writes have left for the end of a run.

        Called before `close`, also after a failure, and when a write asks for it (`Written.full`);
        but only while the ledger has stored every write.  What it returns, entries of the
        checkpoint that changed, the ledger stores at once.  Raises `SinkError`: then the sink is
        not written any more, and the next `open` completes it.
        """
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Release everything; may be called twice, and after a failure."""

    def renewed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Entries for the ledger to store before records are removed, and the sink is opened.

        From then on the sink refuses an older checkpoint: the ledger was put back to a state that
        still has what was removed.
        """
        return {}

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None = None) -> dict[str, Stamp]:
        """The stamp of each month (``2026-01``, of the first day of windows) with records."""
        return {} if self.scan is None else stamps_of(self.scan(endpoint, None, checkpoint))


def stamps_of(windows: Iterable[StoredWindow]) -> dict[str, Stamp]:
    """The stamp of each month of these windows, from their tallies."""
    found: dict[str, Stamp] = {}
    for each in windows:
        month, checksum = f"{each.window.begin:%Y-%m}", each.tally.checksum
        rows, (plain, weighted), latest = found.get(month, Stamp())
        weight = each.window.begin.toordinal()
        found[month] = Stamp(
            rows + each.tally.records,
            (plain + checksum, weighted + checksum * weight),
            max(latest, each.fetched_at),
        )
    return found


def within(window: Window, days: Days | None) -> bool:
    """Whether a window has days of a range; of all days without one."""
    return days is None or (window.begin <= days[1] and days[0] <= window.end)


def name_in(sink: Sink, ledger: Path | None) -> str:
    """A sink's name in a ledger: a local one's place is relative to the ledger's folder.

    So both can be moved together.
    """
    if ledger is None or sink.path is None:
        return sink.identity
    scheme, _, rest = sink.identity.partition(":")
    _, mark, options = rest.partition("?")
    return (
        f"{scheme}:{os.path.relpath(sink.path.resolve(), ledger.parent.resolve())}{mark}{options}"
    )


def spec_of(name: str, ledger: Path | None) -> str:
    """A sink's spec from its name in a ledger: the other direction of `name_in`."""
    scheme, colon, rest = name.partition(":")
    place, mark, options = rest.partition("?")
    if not colon or ledger is None or place.startswith("/") or scheme == "memory":
        return name
    if "://" in place:
        return name
    folder = ledger.parent
    if is_outside(name):
        folder, place = Path(), os.path.normpath(folder.resolve() / place)
    return f"{scheme}:{folder / place}{mark}{options}"


def is_outside(name: str) -> bool:
    """Whether a sink, by its name in a ledger, is outside of the ledger's folder."""
    return name.partition(":")[2].startswith("../")
