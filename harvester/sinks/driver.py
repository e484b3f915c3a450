"""One connection to a database, as `harvester.sinks.database` uses it.

Rule: an interface; each database's own room keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from harvester.endpoint import Field
from harvester.sinks.columns import Row
from harvester.sinks.layout import Dialect

DISK_FULL = "the disk is full"
"""What `Driver.says` of an error that says so."""


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
