"""The tables of a sink's own: whose it is, its commits, and the epochs and marks of accounts.

Rule: functions of a `Driver`, in a transaction of the caller.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from harvester.base.fencing import commit_entries, is_in_history, latest_commit, raised, refused
from harvester.errors import SinkError, UsageError, unreadable
from harvester.model import many
from harvester.sinks.base import OWNER, Checkpoint, Fence
from harvester.sinks.rows import Row
from harvester.sinks.sql.driver import GONE, Driver, portions
from harvester.texts import say

VERSION = 5
LATEST, TAKEN, FORMER = "epoch", "taken", "former"
"""Keys of a checkpoint beside the owner and the commits; the latest epoch is that of its beginning.
It is taken as long as the ledger has only read what another one had written: its first run makes it
the owner.  A former owner: the ledger has noted a new one, which the next opening writes here."""
_MARKS = 100
"""Commits whose marks the database keeps."""


def make(driver: Driver, *, fenced: bool) -> None:
    """Make the tables; fenced: whether the sink may be one of a shared ledger."""
    for table in ("state", "interface", "layout", "fence"):
        driver.query(_created(driver, table))
    if fenced:
        make_marks(driver)
    marks = driver.dialect.marks(4)
    driver.query(f"INSERT INTO _harvester_state VALUES ({marks})", [VERSION, new_owner(), 0, ""])


def make_marks(driver: Driver) -> None:
    """Make the table of marks, which a former version does not have."""
    driver.query(_created(driver, "mark"))


def _created(driver: Driver, table: str) -> str:
    dialect = driver.dialect
    key, text, number = (dialect.types[kind] for kind in ("key", "str", "int"))
    columns = {
        "state": f"version {number} PRIMARY KEY, owner {text}, commits {number}, marks {text}",
        # days of the longest window ever; whether there are records
        "interface": f"name {key} PRIMARY KEY, longest {number}, holding {number}",
        "layout": f"interface {key}, number {number}, columns {text},"
        " PRIMARY KEY (interface, number)",
        "fence": f"account {key} PRIMARY KEY, epoch {number}",
        # of the last write of an account, and of the ledger's commit that it followed
        "mark": f"account {key} PRIMARY KEY, mark {text}, followed {text}",
    }[table]
    return f"CREATE TABLE IF NOT EXISTS _harvester_{table} ({columns}){dialect.ends}"


def new_owner() -> str:
    """A text that no other ledger has."""
    return secrets.token_hex(8)


def is_made(driver: Driver) -> bool:
    """Whether the sink's own tables are there."""
    made = driver.columns("_harvester_state")  # its row is made last
    return bool(made and driver.query("SELECT 1 FROM _harvester_state"))


def insert_new(driver: Driver, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows into one of these tables; one whose key is there stays."""
    dialect = driver.dialect
    marks = dialect.marks(len(columns))
    sql = dialect.insert_new.format(f"_harvester_{table}", ", ".join(columns), marks, columns[0])
    driver.query_many(sql, rows)


class History(NamedTuple):
    """The commits that a database has made; marks: of the last of them, the latest first."""

    commits: int = 0
    marks: tuple[str, ...] = ()

    @classmethod
    def of(cls, commits: Any, marks: Any) -> History:
        return cls(int(commits), tuple(str(marks).split()))

    @property
    def latest(self) -> tuple[int, str]:
        return self.commits, self.marks[0] if self.marks else ""

    @property
    def entries(self) -> dict[str, str]:
        return commit_entries(self.commits, self.marks)

    def grown(self) -> History:
        return History(self.commits + 1, (secrets.token_hex(4), *self.marks[: _MARKS - 1]))

    def compare(self, number: int, mark: str, where: str, identity: str) -> None:
        if number > self.commits:
            raise SinkError(_is_older(where, number - self.commits, identity))
        if not is_in_history(number, mark, *self):
            raise SinkError(
                "the history of {} differs from the ledger: its commit {:,} is not the one that"
                " the ledger knows, for example after a failover to an older copy; make a ledger"
                " from it with {}",
                where,
                number,
                _rebuild(identity),
            )


def check(driver: Driver, checkpoint: Checkpoint, identity: str) -> History:
    """Check that the database is the one of the checkpoint; returns its history."""
    where = driver.where
    found = is_made(driver) and driver.query("SELECT * FROM _harvester_state")
    if not found:
        raise SinkError("{} has none of the records that the ledger refers to; {}", where, GONE)
    [(version, owner, *found)] = found
    if version != VERSION:
        raise UsageError(
            "{} was written by another version of harvester (its tables have version {}, this"
            " version supports {}); {}",
            where,
            version,
            VERSION,
            unreadable(version, VERSION),
        )
    history = History.of(*found)
    if not checkpoint:
        return history
    owners = checkpoint.get(OWNER), checkpoint.get(FORMER)
    if owner not in owners and not checkpoint.get(TAKEN):
        raise SinkError(
            "{} is not the sink that the ledger refers to: that sink was deleted or replaced, or"
            " now belongs to another ledger; restore it, or use a new ledger",
            where,
        )
    history.compare(*latest_commit(checkpoint), where, identity)
    return history


def _rebuild(identity: str) -> str:
    return say("`harvester rebuild --sink {}` and the same --out or --ledger", identity)


def _is_older(where: str, missing: int, identity: str) -> str:
    return say(
        "{} is older than the ledger: its last {} is missing; restore the newer one, or make a"
        " ledger from this one with {}"
        if missing == 1
        else "{} is older than the ledger: its last {} are missing; restore the newer one, or make"
        " a ledger from this one with {}",
        where,
        many(missing, "commit"),
        _rebuild(identity),
    )


def raise_fence(driver: Driver, fence: Fence, appids: Collection[str]) -> set[str]:
    """Lock the accounts until the commit; gives those that a later epoch has written."""
    accounts = sorted({*fence, *appids})
    epochs = _epochs(driver, accounts)
    if missing := [account for account in accounts if account not in epochs]:
        rows = [(account, fence.get(account, 0)) for account in missing]
        insert_new(driver, "fence", ("account", "epoch"), rows)
        epochs.update(_epochs(driver, missing))
    mark = driver.dialect.mark
    if higher := raised(fence, epochs):
        sql = f"UPDATE _harvester_fence SET epoch = {mark} WHERE account = {mark}"
        driver.query_many(sql, [(higher[each], each) for each in sorted(higher)])
    return refused(fence, epochs)


def note_marks(driver: Driver, marks: Mapping[str, tuple[str, str]]) -> None:
    """Note the marks of a write to accounts, which are locked."""
    dialect = driver.dialect
    for some in portions(sorted(marks)):
        sql = f"DELETE FROM _harvester_mark WHERE account IN ({dialect.marks(len(some))})"
        driver.query(sql, some)
    rows = [(account, *marks[account]) for account in sorted(marks)]
    insert_new(driver, "mark", ("account", "mark", "followed"), rows)


def _epochs(driver: Driver, accounts: Sequence[str]) -> dict[str, int]:
    dialect = driver.dialect
    found: dict[str, int] = {}
    for some in portions(accounts):
        rows = driver.query(
            "SELECT account, epoch FROM _harvester_fence WHERE account IN"
            f" ({dialect.marks(len(some))}) ORDER BY account{dialect.locks}",
            some,
        )
        found.update(rows)
    return found


def marks_of(driver: Driver) -> dict[str, tuple[str, str]]:
    """Of each account, the marks of its last write and of the ledger's commit before it."""
    rows = driver.query("SELECT account, mark, followed FROM _harvester_mark")
    return {account: (mark, followed) for account, mark, followed in rows}
