"""One connection to a database, as `harvester.sinks.database` uses it.

Rule: an interface, which each database's own room keeps, and what is alike in those of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.sinks.columns import Row
from harvester.sinks.layout import Dialect

DISK_FULL = "the disk is full"
"""What `Driver.says` of an error that says so."""


ADVICE = "put it back, or move the ledger away to harvest everything anew"
"""What to do if a database is not there, or not the one that it was."""


class Away(Exception):  # noqa: N818  (no error yet: it is tried again)
    """The database does not answer now; what was under way may or may not be committed."""


class Driver(Protocol):
    """One connection, used from one thread.

    where: as a message names the database, without a secret.  errors: what its library raises.
    """

    dialect: Dialect
    where: str
    errors: tuple[type[Exception], ...]

    def connect(self, *, create: bool) -> None:
        """Connect, if that is not done; raises `UsageError`, `Away`, or one of `errors`."""
        ...

    def close(self) -> None: ...

    def transaction(self, what: str) -> AbstractContextManager[None]:
        """All or nothing, and nobody else's at the same time; its commit is a durable step."""
        ...

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The same without having all of it in memory."""
        ...

    def delete(self, table: str, key: Sequence[Field], rows: Sequence[Row]) -> None:
        """Delete what has one of these values in its key."""
        ...

    def insert(self, table: str, columns: Sequence[Field], rows: Sequence[Row]) -> None: ...

    def reading(self) -> AbstractContextManager[Driver]:
        """Another connection to the same database, whose queries all see one moment."""
        ...

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table and their types; none if it is not there."""
        ...

    def says(self, exc: Exception) -> str:
        """What went wrong, without a secret."""
        ...

    def is_away(self, exc: Exception) -> bool:
        """Whether it can be another thing in a moment."""
        ...


def make_ready(path: Path, where: str, *, create: bool) -> None:
    """See to it that a file can be opened as a database; raises `UsageError` or `SinkError`.

    where: as a message names it.  create: it may be new, and its directory too.
    """
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(
                f"the directory {path.parent} cannot be made ({exc.strerror})"
            ) from exc
    elif not path.exists():
        raise SinkError(f"{where} is gone, though the ledger speaks of it; {ADVICE}")
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file for the database")
