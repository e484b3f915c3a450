"""What an export is: tables for readers, derived from a sink, and their stamps.

Rule: a base class and its values; what is particular to a kind is in its own module.

A unit is a month of an interface.  Each of its tables has a stamp in the target, made from the
stamp of the sink (`harvester.sinks.base.Stamp`) and from the form of the table.  A unit with
another stamp is replaced as a whole, and one that the sink no longer has is removed.  The target
holds all that an export needs to know: it can be deleted at any time, and a killed export is
finished by the next one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from harvester.ledger.reach import Run, Together
from harvester.sinks.spec import Spec
from harvester.tables import Column

EVERY_MONTH = ""
"""In the place of a month: all of them together, of a target that is written as a whole."""

WHOLE = "all"
"""In the place of a month, of a table that is one part."""

Part = tuple[str, str]
"""A table and a month (``2026-01``)."""

Chunk = Mapping[str, Any]
"""Rows of some records: by table, a `pyarrow.RecordBatch`."""


class TableShape(NamedTuple):
    """A table of a target; schema: a `pyarrow.Schema`, each column with a meaning: ``comment``."""

    name: str
    schema: Any
    columns: Sequence[Column]


class Unit(NamedTuple):
    """A month of an interface that is to be written.

    chunks: gives its rows, in the order of account, first day and position.
    """

    month: str
    stamp: str
    chunks: Callable[[], Iterator[Chunk]]


class Held(NamedTuple):
    """What a target holds: the id of its harvest (empty if it holds nothing), and the stamps.

    digest: of all stamps, in their place, of a target that is written as a whole; tables: what
    that one has.
    """

    harvest: str = ""
    stamps: Mapping[Part, str] = {}
    digest: str = ""
    tables: Collection[str] = ()


class Content(NamedTuple):
    """What a target is to hold of an interface.

    rows: its records.  coverage: of all its accounts; None if no ledger knows it.  runs: its days.
    """

    rows: int
    coverage: Together | None
    runs: Sequence[Run] = ()


class Exported(NamedTuple):
    """What an export has done.

    written, removed, kept: months of interfaces.  rows: the records that were written.
    """

    written: int = 0
    removed: int = 0
    kept: int = 0
    rows: int = 0


class Target(ABC):
    """A destination of exports; used from one thread.

    identity: its spec, without a secret.  shape: ``nested`` or ``flat``.  language: of the labels
    of codes, ``zh`` or ``en``; tables: those that it has, none: all; both set before `open`.
    form: what else decides how rows are written.
    whole: whether it can only be written anew as a whole; then it is given all units.  harvest,
    digest: the id, and the digest of all stamps, to be stored with what is written; set between
    `open` and `write`.  contents: by interface, what it is to hold; set at the same time, of a
    target that is written as a whole.  stopped: is called while it waits, and raises to end that;
    set before `open`.
    """

    scheme: ClassVar[str] = ""
    whole = False
    language = "en"
    tables: frozenset[str] = frozenset()

    def __init__(self, spec: Spec, shape: str) -> None:
        self.identity = f"{self.scheme}:{spec.place}"
        self.shape = spec.options.get("shape", shape)
        self.form = ""
        self.harvest = self.digest = ""
        self.contents: Mapping[str, Content] = {}
        self.stopped: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity}>"

    @abstractmethod
    def check(self) -> None:
        """Raise `UsageError` if it cannot be used here, as far as that is known before `open`."""

    @abstractmethod
    def open(self, *, create: bool, thorough: bool = False) -> Held:
        """Lock it, and return what it holds; create: it is made if it does not exist.

        A part that is not as it was written has an empty stamp, and a whole that is not has another
        digest.  thorough: also of files that are far away each byte is read for that.

        Raises `UsageError` if it cannot be used, or another export uses it.
        """

    def names(self) -> Mapping[str, str]:
        """The names of accounts that it holds, by appid; after `open`."""
        return {}

    def stored(self, table: TableShape) -> list[tuple[Any, ...]]:
        """The rows of a table of one part that readers see; after `open`."""
        return []

    @abstractmethod
    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        """Replace months of the tables of an interface, and remove others."""

    @abstractmethod
    def finish(self) -> None:
        """Show readers what was written, if that is done as a whole."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; may be called twice, and after a failure."""
