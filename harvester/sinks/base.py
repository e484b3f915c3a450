"""The promise that every sink makes.

Rule: an interface; no sink lives here.

The engine calls `Sink.open` once, then `Sink.write` and `Sink.settle` in turn, then `Sink.close`,
from one task.  Between `write` and `settle` it stores the receipt in the ledger:

- what `write` has returned from is durable, but counts only once its receipt is stored;
- a process that dies in between leaves records that no stored receipt speaks of; the next `open`,
  which is given the stored receipt, takes them away again, so their windows can be written anew;
- a batch that says ``replaces`` takes the place of the records of its window, and of windows that
  lie in it.

So each record of each window stands in the sink exactly once, whatever happened on the way.  A
sink that cannot look at a receipt must let a batch replace its window by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from harvester.endpoint import Endpoint
from harvester.model import Batch, Tally, Window

Receipt = dict[str, str]
"""What a sink wants to be told at its next `open`, by a key of its own; only what changed."""


class Written(NamedTuple):
    """What a write has done.

    receipt: to be stored with the windows of the write; an empty value removes the key.
    replaced: for each window of the write that took the place of records, how many they were and
        their checksum, so that the ledger's figures stay true.
    drift: sentences about fields that are not as the catalogue says, each once in a sink's life.
    """

    receipt: Receipt
    replaced: Mapping[Window, Tally] = {}
    drift: Sequence[str] = ()


class Sink(Protocol):
    """A destination for batches."""

    @property
    def identity(self) -> str:
        """Names the destination, the same in every run: what is done is kept by this name."""
        ...

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Get ready, and take away what no receipt speaks of.

        receipt: all that was stored; empty if the sink was never used with this ledger; None if
            no ledger is kept.  Returns what is to be stored now.
        Raises `SinkError` if what the receipt speaks of is gone, `UsageError` if it can never be
        written to.
        """
        ...

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Make the batches durable.  Raises `SinkError`."""
        ...

    async def settle(self) -> None:
        """The receipt of the last write is stored: what it replaced may go."""
        ...

    async def close(self) -> None:
        """Let go of everything; may be called twice, and after a failure."""
        ...


@runtime_checkable
class Readable(Protocol):
    """A sink whose records can be read back, as `verify` does."""

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """Each stored record as the line it was written as, without what no receipt speaks of.

        Raises `SinkError` if what was stored is gone, and `UsageError` if it cannot be read.
        """
        ...


class Wanted(NamedTuple):
    """Which stored records are asked for.

    appids: of these accounts; None: of all.  begin, end: of windows that have days of this range.
    """

    appids: frozenset[str] | None = None
    begin: date = date.min
    end: date = date.max

    def window(self, window: Window) -> bool:
        """Whether a window can hold some."""
        mine = self.appids is None or window.appid in self.appids
        return mine and window.begin <= self.end and self.begin <= window.end

    def document(self, document: Mapping[str, Any]) -> bool:
        """The same of the window of a record."""
        mine = self.appids is None or document["_appid"] in self.appids
        return bool(
            mine
            and document["_begin_date"] <= self.end.isoformat()
            and self.begin.isoformat() <= document["_end_date"]
        )

    @property
    def by_day(self) -> bool:
        """Whether not all days are asked for."""
        return (self.begin, self.end) != (date.min, date.max)

    @property
    def narrow(self) -> bool:
        """Whether not all records are asked for."""
        return self.by_day or self.appids is not None


@runtime_checkable
class Documented(Protocol):
    """A sink whose records can be read back as dicts, as `harvester.read` does."""

    def documents(
        self, endpoint: str, receipt: Receipt | None, wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        """Each stored record of an interface, metadata included (``_begin_date`` as text).

        receipt: what it does not speak of is left out; None: all that stands there.  wanted: others
        may come, too; they are left out where that saves reading them.  Called on a sink that is
        not open, and again while a former call is still read.  Raises `SinkError` if what was
        stored is gone or cannot be read.
        """
        ...


class Stored(NamedTuple):
    """What stands in a sink of one window.

    intact: whether it is what was written, as far as the sink can tell by itself.
    """

    window: Window
    records: int
    intact: bool = True


@runtime_checkable
class Verifiable(Protocol):
    """A sink that keeps no lines, but can say what stands in it, as `verify` asks."""

    def stored(self, receipt: Receipt) -> Iterator[Stored]:
        """Each window that has records, in any order; called on a sink that is not open.

        A window may come in several parts.  Raises `SinkError` if what was stored is gone, and
        `UsageError` if it cannot be opened or read.
        """
        ...


@runtime_checkable
class Standing(Protocol):
    """A sink in which windows can stand that its receipt says nothing of, and that it keeps.

    Another ledger wrote them, or none.  They are replaced when they come again, so what is asked
    for must not cut one of them in two.
    """

    def standing(self) -> Iterable[Window]:
        """These windows, once it is open."""
        ...


class Found(NamedTuple):
    """A window that stands in a sink, whoever wrote it.

    records, checksum: as a ledger keeps them; the checksum is 0 where no lines are kept.
    fetched_at: when, RFC 3339; empty if that is not known.
    whole: False if a process may have died while it was written.
    """

    window: Window
    records: int
    checksum: int = 0
    fetched_at: str = ""
    whole: bool = True


@runtime_checkable
class Adoptable(Protocol):
    """A sink that can tell a new ledger all that stands in it, as `rebuild` asks."""

    async def adopt(self) -> tuple[Receipt, Sequence[Found]]:
        """What is to be stored, besides what `open` gave, and each window that has records.

        Called once, after `open` with an empty receipt, and before anything is written.
        """
        ...


@runtime_checkable
class Typed(Protocol):
    """A sink that wants to know the fields of what will come, for its columns' types."""

    def describe(self, endpoints: Sequence[Endpoint]) -> None:
        """The interfaces of this run; called once, before `Sink.open`."""
        ...


@runtime_checkable
class Finishing(Protocol):
    """A sink that puts its house in order when a run has come to its end."""

    async def finish(self) -> Written:
        """All was written and settled; what this returns is stored and settled as a write's is.

        Called at most once, before `Sink.close`, and not at all if the run was cancelled or failed.
        """
        ...


@runtime_checkable
class Located(Protocol):
    """A sink that lives in a directory, in which its ledger can stand too."""

    @property
    def directory(self) -> Path: ...


def file_of(sink: object) -> Path | None:
    """The local file that a sink is, as its ``path``: its ledger can stand beside it."""
    path = getattr(sink, "path", None)
    return path if isinstance(path, Path) else None
