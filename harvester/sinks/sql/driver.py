"""What a sink needs of a database: a connection, its `Driver`, and the days that a write replaces.

Rule: an interface and its values; each database has the implementation in its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harvester.base import sqlite as sqlitefile
from harvester.base.outage import Away
from harvester.errors import NoRecordsError, UsageError
from harvester.model import Field, Window
from harvester.sinks.base import VERIFY
from harvester.sinks.rows import Row
from harvester.sinks.sql.schema import Dialect
from harvester.texts import say

GONE = say("restore it, or {}", VERIFY)
_AT_ONCE = 500
"""Accounts that one statement names."""

Rows = Generator[tuple[Any, ...], None, None]
MakeRows = Callable[[], Iterable[Row]]


class AccountDays(NamedTuple):
    """Days of an account, both ends included, of which nothing stays."""

    appid: str
    begin: date
    end: date


class Driver(Protocol):
    """One connection, used from one thread.

    identity: the spec.  where: as a message names the database; both are without a secret.
    errors: what its library raises.
    describe: the error without a secret.  outage: None if the error will stay.  is_barred:
    whether it cannot be read here, though nothing is wrong with what is stored.
    """

    dialect: Dialect
    identity: str
    where: str
    errors: tuple[type[Exception], ...]
    describe: Callable[[Exception], str]
    outage: Callable[[Exception], type[Away] | None]
    is_barred: Callable[[Exception], bool]

    def connect(self, *, create: bool) -> None:
        """Connect if necessary; raises `UsageError`, `SinkError`, `Away`, or an error."""
        ...

    def close(self) -> None: ...

    def transaction(self, what: str, *, alone: bool = False) -> AbstractContextManager[None]:
        """All or nothing; its commit is a durable step.

        Each statement sees what was committed before it.  alone: no other such transaction runs at
        the same time, for the creation of tables.
        """
        ...

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...

    def scan(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """The rows of a query without having all of them in memory."""
        ...

    def stage(self, table: str, columns: Sequence[Field], rows: MakeRows) -> None:
        """Send rows for `insert`, if that should be done before anything is locked."""
        return

    def insert(
        self, table: str, columns: Sequence[Field], rows: MakeRows, without: Collection[str]
    ) -> None:
        """Insert rows, or those that were staged, but those of some accounts."""
        ...

    def shrink(self) -> None:
        """Free the space of removed rows, if the database does not do so by itself."""
        return

    def delete(self, table: str, days: Sequence[AccountDays], longest: int) -> None:
        """Delete the rows whose windows overlap these days; longest: days of the longest window."""
        ...

    def reading(self) -> AbstractContextManager[Driver]:
        """Another connection, which only reads; all of its queries see one snapshot."""
        ...

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table and their types; none if it is not there."""
        ...

    def is_damaged(self, exc: Exception) -> bool:
        return False


def overlaps(mark: str) -> str:
    """A condition for the rows that overlap days: of the last, the first, and `before` that."""
    return f"_begin_date <= {mark} AND _end_date >= {mark} AND _begin_date > {mark}"


def before(day: date, days: int) -> date:
    """The day that is a number of days earlier, or the first possible day."""
    return date.fromordinal(max(day.toordinal() - days, 1))


def make_ready(path: Path, where: str, *, create: bool) -> None:
    """Ensure that a file can be opened as a database; raises `UsageError` or `SinkError`."""
    if create:
        sqlitefile.check_place(path, where)
    elif not path.exists():
        raise NoRecordsError("{} is gone; {}", where, GONE)
    if path.is_dir():
        raise UsageError("{} is a directory; name a file for the database", path)


def days_of(windows: Iterable[Window]) -> list[AccountDays]:
    """The days of ordered windows; those that overlap or follow one another are one entry."""
    found: list[AccountDays] = []
    for appid, _, begin, end in windows:
        last = found[-1] if found else None
        if last and last.appid == appid and begin.toordinal() <= last.end.toordinal() + 1:
            found[-1] = AccountDays(appid, last.begin, max(last.end, end))
        else:
            found.append(AccountDays(appid, begin, end))
    return found


def portions(accounts: Sequence[str]) -> list[Sequence[str]]:
    """The accounts, in groups that one statement names."""
    return [accounts[at : at + _AT_ONCE] for at in range(0, len(accounts), _AT_ONCE)]
