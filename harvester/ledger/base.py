"""The values that a ledger is asked with, and answers with.

Rule: values, and what reads them; no table and no connection.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from harvester.base.dates import Days, nearest, rfc3339
from harvester.errors import LedgerError, UsageError
from harvester.texts import say

Key = tuple[str, str]
"""An account and an interface."""

Range = tuple[str, str, date, date]
"""An account, an interface, its first and its last day."""

Ranges = tuple[Days, ...]
"""Ranges of days in order, which neither overlap nor touch."""


OPENING = 40.0
"""Seconds for which one worker may open a shared ledger and its sinks: fewer than others wait."""


ACCOUNTS_AT_ONCE = 200
"""Accounts whose calendars are in memory together."""


def account_groups(appids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The accounts in groups, whose calendars are read together."""
    for begin in range(0, len(appids), ACCOUNTS_AT_ONCE):
        yield appids[begin : begin + ACCOUNTS_AT_ONCE]


class LockLostError(LedgerError):
    """The exclusive lock of a shared ledger was lost, and what needed it has not been done."""


def check_known(
    appids: Iterable[str], known: Collection[str], listed: Collection[str] = ()
) -> None:
    """Raise `UsageError` for an account that neither a ledger nor a file of accounts has."""
    for appid in appids:
        if appid not in known and appid not in listed:
            raise UsageError("the ledger knows no account {}{}", appid, nearest(appid, known))


class Spent(NamedTuple):
    """Calls of one interface of one account on one day in China."""

    appid: str
    endpoint: str
    day: date
    calls: int


class Exhausted(NamedTuple):
    """The quota of an interface of an account is used up.

    until: the Unix time of its reset, 0 if it is not used up any more; asked: when WeChat last
    reported that.
    """

    appid: str
    endpoint: str
    until: float
    asked: float


class Lease(NamedTuple):
    """An account that a worker has claimed.

    idle: seconds since another worker held it, by the ledger's clock; infinite if none did.
    """

    appid: str
    epoch: int
    idle: float = math.inf


class WorkerJob(NamedTuple):
    """The job of a worker, for a shared ledger.

    name: the same for all workers with the same job.  lease: seconds.  wall: this machine's Unix
    time.  rank: what a worker leaves for later is taken by one of a higher rank.
    refresh: whether stored days are to be harvested again; marks: the ranges to mark for that,
    unless a running worker of this job has marked them.
    """

    name: str
    lease: float
    wall: float
    rank: float = 0.0
    refresh: bool = False
    marks: Sequence[Range] = ()


class Renewal(NamedTuple):
    """A lease was renewed.

    lost: the accounts that other workers have claimed, and the epochs under which they were held.
    now: the ledger's Unix time.
    """

    lost: Mapping[str, int]
    now: float


class Unfinished(NamedTuple):
    """How many accounts a worker still wants.

    left: those that it may claim when their holder releases them.  waiting: those whose holder, of
    a higher rank, can request nothing before a later time.
    """

    left: int
    waiting: int


class WorkerState(NamedTuple):
    """A worker of a shared ledger.

    name: its host and process.  started, until: Unix times by the ledger's clock, of its start and
    of the end of its lease.  accounts: how many it holds; windows: how many it has stored.
    alive: whether its lease has not ended.  job: the same for all workers with the same job.
    """

    name: str
    started: float
    until: float
    accounts: int
    windows: int
    alive: bool
    job: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As `status --json` has it."""
        times = {"started": rfc3339(self.started), "until": rfc3339(self.until)}
        return {**self._asdict(), **times}


LEASE_ENDED = say("its lease has expired")
