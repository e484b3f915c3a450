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
    """The result of a write.

    checkpoint: the changed entries of the checkpoint; the ledger stores them with the windows of
        the write.  An empty value removes the key.
    refused: accounts that were written with a later epoch; nothing of them was stored.
    drift: sentences about fields that differ from the catalogue; each is given once per sink.
    full: `Sink.finish` must be called before the next write, after the ledger has stored this one.
    """

    checkpoint: Checkpoint = {}  # noqa: RUF012  (shared on purpose: never written to)
    refused: Collection[str] = ()
    drift: Sequence[str] = ()
    full: bool = False


class StoredWindow(NamedTuple):
    """A window that is stored in a sink.

    tally: the tally of the records; it differs from the tally of the write if they were changed.
    fetched_at: when the records were fetched, RFC 3339 in UTC.
    records: a function that reads and returns the records without metadata; call it before the
        scan gives the next window.
    whole: False if a record was changed, or if the window can be incomplete: without a checkpoint,
        the last window of a growing file.
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
    """A destination for batches: the base class of all sinks.

    A derived class defines ``identity``, `open`, `write` and `close`; everything else has defaults.
    The methods are called through `harvester.sinks.scan.call`.
    """

    listed: bool = True
    """Whether a ledger lists the sink.  Runs can leave out a sink that is not listed; it gets only
    the records of the runs that name it."""

    fenced: bool = False
    """Whether several workers can write at the same time.  `write` must then refuse each account
    that was already written with a later epoch.  A shared ledger accepts only such sinks."""

    takes_lines: bool = False
    """Whether `write` uses only `Batch.lines` and `Batch.count`.  Until the write, a run then keeps
    the lines of a window in memory instead of its records."""

    path: Any = None  # so that a sink may declare it as a Path: a variable allows no narrower type
    """The local directory or file of the sink, a `Path`; None if the sink is not local."""

    is_file: ClassVar[bool] = False
    """Whether ``path`` is a file; the default ledger is then beside this file."""

    ledger_url: Secret | None = None
    """The URL of the sink's database, if it can also hold the ledger; otherwise None."""

    unnamed: Callable[[Collection[str]], None] | None = None
    """Called with the hosts that the user named, if the sink is named only by a ledger.  The sink
    must then not send a password from the environment to any other host."""

    scan: Callable[..., Iterator[StoredWindow]] | None = None
    """``scan(endpoint, appids=None, checkpoint=None, days=None)`` gives each stored window of an
    interface that has records, ordered by account and first day.  With ``appids`` it gives only
    windows of these accounts, with ``days`` only windows with days in this range ``(first, last)``.

    It is called between two writes, or on a sink that is not open.  In the latter case it ignores
    everything that was written after the checkpoint of the ledger; without a checkpoint it gives
    everything.  Raises `SinkError` if stored data are gone or damaged, and `UsageError` if the sink
    cannot be opened here."""

    endpoints: Callable[..., Collection[str]] | None = None
    """``endpoints(checkpoint=None)`` returns the names of the interfaces with stored records.  A
    sink that has ``scan`` must have this method, too."""

    if TYPE_CHECKING:  # at run time it may be an attribute of the object as well

        @property
        def identity(self) -> str:
            """The spec of the destination, without secrets; it is the same in every run."""
            ...

    async def reach(self) -> None:  # noqa: B027  (most connect in `open`)
        """Connect, and wait until the destination answers; nothing is changed there.

        It is called before `open` if several workers share the ledger.  Only one worker at a time
        opens its sinks, so `open` must return within seconds.  Raises the exceptions of `open`.
        """

    @abstractmethod
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Prepare for writing, and remove everything that was written after the checkpoint.

        checkpoint: the entries that the ledger has stored for this sink, empty if the ledger does
            not know the sink; None if there is no ledger, or if a new one is made.  With None,
            existing content is accepted, and is not changed before the first write.
        Returns entries that the ledger stores at once.  Raises `UsageError` if the destination
        cannot be used, or holds a harvest that is not in this ledger, and `SinkError` if data that
        the checkpoint refers to are gone.
        """

    @abstractmethod
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window, and replace all stored windows that overlap it; durable on return.

        If two batches overlap, the later one is kept.  From then on, writes of these accounts with
        a lower epoch are refused.  Raises `SinkError`.
        """

    async def forget(self, appid: str) -> None:  # noqa: B027  (most keep nothing else)
        """Remove everything that the sink still has of an account, and free its space.

        It is called on an open sink after all records of the account were removed, while no other
        process writes.  It can be called again.  Raises `SinkError`.
        """

    async def finish(self) -> Checkpoint:
        """Do the work that was postponed to the end of the run.

        It is called before `close`, also after a failure, and when a write asks for it
        (`Written.full`), but only if the ledger has stored every write.  Returns the changed
        entries of the checkpoint; the ledger stores them at once.  Raises `SinkError`; the run then
        does not write to the sink again, and the next `open` completes the work.
        """
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Release everything; it can be called twice, and after a failure."""

    def renewed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Entries that the ledger stores before the sink is opened and records are removed.

        From then on the sink refuses older checkpoints: they belong to a restored copy of the
        ledger, which still has the removed records.
        """
        return {}

    def stamps(self, endpoint: str, checkpoint: Checkpoint | None = None) -> dict[str, Stamp]:
        """The stamp of each month with records; ``2026-01``: the month of a window's first day."""
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
    """A sink's name in a ledger; a local one is relative to it, so that both can be moved."""
    if ledger is None or sink.path is None:
        return sink.identity
    scheme, _, rest = sink.identity.partition(":")
    _, mark, options = rest.partition("?")
    return (
        f"{scheme}:{os.path.relpath(sink.path.resolve(), ledger.parent.resolve())}{mark}{options}"
    )


def spec_of(name: str, ledger: Path | None) -> str:
    """A sink's spec from its name in a ledger."""
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
