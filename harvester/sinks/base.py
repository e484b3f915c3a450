"""What a sink is: a destination for the records of windows.

Rule: an interface and its values; no implementation.

There is one commit rule for all sinks.  `Sink.write` replaces every stored window that overlaps a
new one, and is durable when it returns; then the ledger commits.  After a crash between the two,
windows are repeated, and a repeated window replaces itself.  So the sink has each record of each
window exactly once, whatever happened before.

A sink whose files only grow has a checkpoint: the ledger stores it with the windows, and bytes
beyond it are cut off when the sink is opened.  A feed, which cannot revoke what it has sent, sends
a whole window again, with a later version.

The engine calls `open` once, `write` from one task, and `close` once.  `scan` is optional: a sink
that has it can be verified and read, a new ledger can be made from it, and another sink can be
filled from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harvester.model import Batch, Tally, Window
from harvester.secrets import Secret

Checkpoint = Mapping[str, str]
"""What a sink wants to be told at its next `open`, by keys of its own."""

Fence = Mapping[str, int]
"""The epoch of each account that is written: a writer with a lower one has lost that account."""

Records = Callable[[], Sequence[dict[str, Any]]]


class Written(NamedTuple):
    """What a write has done.

    checkpoint: the entries that changed; the ledger stores them with the windows of the write.  An
        empty value removes its key.
    refused: accounts that a later epoch has written since; nothing of theirs was stored.
    drift: sentences about fields that are not as the catalogue says, each once in a sink's life.
    """

    checkpoint: Checkpoint = {}  # noqa: RUF012  (shared on purpose: never written to)
    refused: Collection[str] = ()
    drift: Sequence[str] = ()


class Stamp(NamedTuple):
    """What is stored of a month of an interface; another one if any of it is another.

    rows: how many records.  sums: of checksums.  latest: when a window was fetched last.
    """

    rows: int
    sums: tuple[int, int]
    latest: str


class StoredWindow(NamedTuple):
    """A window that stands in a sink.

    tally: of its records, as it was when they were written, if they are as they were written.
    fetched_at: when they were fetched, RFC 3339 in UTC.
    records: gives them, without the metadata; they are read when it is called, and only as long as
        the next window of the scan has not been asked for.
    """

    window: Window
    tally: Tally
    fetched_at: str
    records: Records


class Sink(Protocol):
    """A destination for batches.

    ``scan(endpoint, appids=None, checkpoint=None)`` is optional: it gives each stored window of an
    interface that has records, in any order, of these accounts or of all.  It is called between two
    writes, or on a sink that is not open: then with the checkpoint that a ledger has stored, beyond
    which nothing counts, or without one, when all that stands there does.  It raises `SinkError` if
    what was stored is gone or damaged, and `UsageError` if it cannot be opened here.  A sink with
    ``scan`` has ``endpoints(checkpoint=None)``, too: the names of the interfaces of which records
    stand there.

    ``takes_lines = True`` is optional: `write` uses `Batch.lines` and `Batch.count` alone.  Then
    the lines of a window are kept until they are written, and not its records.

    ``keep_with(ledger)`` is optional: it is called before the sink is opened or scanned if a ledger
    is kept, with its file or the URL of its database, for a sink that keeps something of its own
    there.

    ``maintain()`` is optional: it makes what an open sink holds as small as can be, now; until then
    a sink keeps itself small.  Returns a sentence about what it did; raises `SinkError`.

    ``listed = False`` is optional: a ledger does not list the sink, so that it may come and go with
    each run; it gets what is fetched while it is there.

    ``fenced = True`` is optional: several workers may write at the same time, and `write` refuses
    accounts that a later epoch has written, however late it comes.  A shared ledger takes no other
    sinks.
    """

    @property
    def identity(self) -> str:
        """The destination's spec, without a secret, the same in every run."""
        ...

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        """Get ready, and cut off what lies beyond the checkpoint.

        checkpoint: what the ledger has stored for this sink, empty if it knows nothing of it; None
            if no ledger is kept, or a new one is made: then what stands there is taken as it is,
            and nothing is changed before the first write.
        Returns entries that the ledger stores at once.  Raises `UsageError` if the destination
        cannot be used, or holds a harvest that this ledger knows nothing of, and `SinkError` if
        what the checkpoint refers to is gone.
        """
        ...

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Store each window in the place of all that overlap it; durable on return.

        Of two batches that overlap the later one stays.  Afterwards no lower epoch of these
        accounts is written any more.  Raises `SinkError`.
        """
        ...

    async def close(self) -> None:
        """Release everything; may be called twice, and after a failure."""
        ...


Scan = Callable[..., Iterator[StoredWindow]]
Maintain = Callable[[], Awaitable[str]]


def scan_of(sink: object) -> Scan | None:
    """A sink's ``scan``, None if it has none."""
    return getattr(sink, "scan", None)


def maintain_of(sink: object) -> Maintain | None:
    """A sink's ``maintain``, None if it has none."""
    return getattr(sink, "maintain", None)


def keep_with(sink: object, ledger: Path | Secret | None) -> None:
    """Tell a sink where its ledger is: its file, or the URL of its database."""
    if ledger is not None and (told := getattr(sink, "keep_with", None)) is not None:
        told(ledger)


def path_of(sink: object) -> Path | None:
    """The local directory or file in which a sink lives, None if it lives elsewhere."""
    path = getattr(sink, "path", None)
    return path if isinstance(path, Path) else None


def is_file_sink(sink: object) -> bool:
    """Whether a sink's path is a file, not a directory: its ledger lies beside it then."""
    return bool(getattr(sink, "is_file", False))


def takes_lines(sink: object) -> bool:
    """Whether a sink wants the lines of a batch, not its records."""
    return bool(getattr(sink, "takes_lines", False))


def is_listed(sink: object) -> bool:
    """Whether a ledger lists a sink."""
    return bool(getattr(sink, "listed", True))


def is_fenced(sink: object) -> bool:
    """Whether several workers may write to a sink."""
    return bool(getattr(sink, "fenced", False))


def name_in(sink: Sink, ledger: Path | None) -> str:
    """A sink's name in a ledger: relative to the ledger's folder where it lies within that.

    So both can be moved together.
    """
    path = path_of(sink)
    if ledger is None or path is None:
        return sink.identity
    folder, place = ledger.parent.resolve(), path.resolve()
    if folder != place and folder not in place.parents:
        return sink.identity
    scheme, _, rest = sink.identity.partition(":")
    options = rest.partition("?")[2]
    relative = place.relative_to(folder).as_posix()
    return f"{scheme}:{relative}" + (f"?{options}" if options else "")


def spec_of(name: str, ledger: Path | None) -> str:
    """A sink's spec from its name in a ledger: the other direction of `name_in`."""
    scheme, colon, rest = name.partition(":")
    place, mark, options = rest.partition("?")
    if not colon or ledger is None or place.startswith("/") or scheme == "memory":
        return name
    if "://" in place:
        return name
    return f"{scheme}:{ledger.parent / place}{mark}{options}"
