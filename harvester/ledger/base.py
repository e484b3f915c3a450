"""The interfaces of a ledger, which records stored, waiting and failed windows, and the calls sent.

Rule: interfaces and their values.  The embedded ledger is `harvester.ledger.sqlite`; the one that
several processes share is `harvester.ledger.postgresql`.

A ledger has a fixed list of sinks, their names and checkpoints: each of them has all windows that
the ledger calls stored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, cast

from harvester.base.dates import Days, nearest, rfc3339
from harvester.base.secrets import Secret
from harvester.errors import LedgerError, UsageError
from harvester.ledger.coverage import Calendar, OpenWindow, Outcome
from harvester.model import Tally
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


class Ledger(Protocol):
    """A ledger; an async context manager.  Its methods raise `LedgerError`.

    path: of its file, None if it is not a local file.
    """

    @property
    def path(self) -> Path | None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    # of a run

    async def register(self, ranges: Iterable[Range]) -> None:
        """Remember the requested ranges, so that gaps can be reported later."""
        ...

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        """Store all of it, or nothing, durably.

        epochs: of a shared ledger: the epochs under which the outcomes were fetched, perhaps also
            of other accounts; by default the current epochs of this worker.  Those of a write to
            sinks have its marks (`harvester.base.fencing.Epochs`).
        Returns the accounts that are no longer held under these epochs: none of their windows was
        stored.  A ledger with one worker returns none.  Raises `LedgerError`, and stores nothing,
        if it knows a commit of a sink by another mark (`harvester.base.fencing.COMMIT`).
        """
        ...

    async def reopen(
        self,
        key: Key,
        ranges: Sequence[Days],
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        """Make final windows open (`Calendar.reopen`), and remove the mark of `mark_refresh`."""
        ...

    async def forget(self, key: Key, ranges: Sequence[Days]) -> None:
        """Make stored days missing (`Calendar.forget`), and remove the mark of `mark_refresh`."""
        ...

    async def remove(self, appid: str, endpoints: Collection[str]) -> None:
        """Remove what is known of interfaces of an account: days, requested ranges, and marks.

        The calls of the last days, and used-up quotas, stay: WeChat counts them anyway. Interfaces
        of which nothing is known are allowed.
        """
        ...

    async def mark_refresh(self, ranges: Iterable[Range]) -> None:
        """Remember days that are to be harvested again, besides those that are marked."""
        ...

    async def refreshes(self, appids: Sequence[str]) -> dict[Key, Ranges]:
        """The marked days of these accounts."""
        ...

    async def fold_future_calls(self, today: date) -> bool:
        """Count calls of future days as today's, after a clock change; returns if any were."""
        ...

    async def note_exhausted(self, quota: Exhausted) -> None:
        """Remember WeChat's answer about a quota."""
        ...

    async def checkpoint(self, sink: str) -> dict[str, str]:
        """All that was stored for a sink."""
        ...

    async def list_sinks(self, sinks: Mapping[str, str]) -> None:
        """Add sinks that have everything that is stored, all or none; values as of `sinks`."""
        ...

    async def unlist_sink(self, sink: str) -> None:
        """Remove a sink and its checkpoint."""
        ...

    # what is known

    async def sinks(self) -> dict[str, str]:
        """The listed sinks, by name.

        The value is the latest fetch time (RFC 3339, UTC) of a window that was copied from a sink
        of another form: the records of windows up to then can be counted, but their checksums
        differ.  It is empty if there are none.
        """
        ...

    async def accounts(self) -> list[str]:
        """The accounts that the ledger knows, in order."""
        ...

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        """The calendars of these accounts."""
        ...

    async def asked(self) -> dict[Key, Ranges]:
        """The ranges that were ever requested, by account and interface."""
        ...

    async def spent(self, day: date, appids: Sequence[str] | None = None) -> dict[Key, int]:
        """The calls of a day in China, of these accounts or of all; former days may be gone."""
        ...

    async def exhausted(
        self, now: float, appids: Sequence[str] | None = None
    ) -> dict[Key, Exhausted]:
        """The interfaces whose quota is used up at ``now``, a Unix time."""
        ...


class SharedLedger(Ledger, Protocol):
    """A ledger for several workers at the same time, on any machines.

    A worker joins it with a `WorkerJob`, claims accounts, and renews its lease.  Other workers
    claim the accounts of one whose lease has expired.  All times are the ledger's.  `commit`,
    `claim` and `reopen` raise `harvester.base.outage.Away` if the server does not answer: then
    nothing is repeated, and the worker leaves and joins again.
    """

    @property
    def epochs(self) -> Mapping[str, int]:
        """The epochs of the accounts that this worker holds, as far as it knows."""
        ...

    @property
    def marks(self) -> Mapping[str, str]:
        """The latest mark of each account that this worker holds; empty if it has none."""
        ...

    async def all_marks(self) -> dict[str, list[str]]:
        """The marks of each account that has any, as of `harvester.base.fencing.fits`."""
        ...

    def alone(self, limit: float = math.inf) -> AbstractAsyncContextManager[None]:
        """A context in which no other worker is alone, for changes before a run.

        limit: seconds after which it is cancelled, raises `TimeoutError`, and others may be alone,
            also if this process is frozen.
        If others may hold the lock, since the connection was lost, nothing is changed any more, and
        an error is raised: `Away` if there is a limit, else `LedgerError`.
        """
        ...

    async def join(self, job: WorkerJob) -> float:
        """Join as a worker; returns the ledger's Unix time.

        Marked ranges are taken from the workers that hold their accounts, and wanted by all that
        are running.  Raises `UsageError` if this machine's clock is wrong.
        """
        ...

    async def want(self, appids: Sequence[str], refused: Collection[str] = ()) -> None:
        """Add accounts that this worker should claim, also lost ones.

        refused: those of them that others try first (`give_back`).
        """
        ...

    async def claim(self, limit: int) -> list[Lease]:
        """Claim up to ``limit`` more of the wanted accounts that no other worker holds.

        Also renews the lease; raises `Away` if that has expired: the worker joins again.
        """
        ...

    async def renew(self, windows: int, waiting: Collection[str] = ()) -> Renewal | None:
        """Renew the lease; None if it has expired: it is never renewed then.

        windows: the number that this worker has stored.  waiting: the accounts that it holds and
        for which it can request nothing before a later time.
        """
        ...

    async def release(self, appids: Collection[str], later: Collection[str] = ()) -> None:
        """These accounts are finished, for all workers that request them for this job now.

        later: those of which something is left for later: workers of a higher rank take them.
        """
        ...

    async def give_back(self, appids: Collection[str]) -> None:
        """Release accounts that fail on this machine.

        This worker claims one again once no other running worker is left that requests it and has
        not given it back.
        """
        ...

    async def unfinished(self) -> Unfinished:
        """The wanted accounts that are neither finished nor held by this worker.

        Raises `Away` if its lease has expired: then others may have what it wanted.
        """
        ...

    async def leave(self) -> None:
        """Leave as a worker, and release its accounts; what it still writes is refused.

        A worker that has not joined may leave, too.
        """
        ...

    async def dismiss(self) -> bool:
        """Remove workers whose lease has expired: what they still write is refused.

        Returns whether no worker is left.
        """
        ...

    async def workers(self) -> list[WorkerState]:
        """The workers, those that were started first."""
        ...


LEASE_ENDED = say("its lease has expired")


def place_of(ledger: Ledger | None) -> Path | Secret | None:
    """The file of a ledger, or the URL of its database."""
    return None if ledger is None else ledger.path or getattr(ledger, "url", None)


def shared(ledger: Ledger | None) -> SharedLedger | None:
    """The ledger if several workers can share it, else None."""
    return cast("SharedLedger", ledger) if hasattr(ledger, "claim") else None
