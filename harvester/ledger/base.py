"""The interfaces of a ledger, which records stored, waiting and failed windows, and the calls sent.

Rule: interfaces and their values.  The embedded ledger is `harvester.ledger.sqlite`; the one that
several processes share is `harvester.ledger.postgresql`.

A ledger knows only the names and checkpoints of sinks: every sink that is not behind has all
windows that the ledger calls stored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self, cast

from harvester.coverage import Calendar, OpenWindow, Outcome
from harvester.model import Tally
from harvester.plan import Days
from harvester.secrets import Secret

Key = tuple[str, str]
"""An account and an interface."""


class Spent(NamedTuple):
    """Calls of one interface of one account on one day in China."""

    appid: str
    endpoint: str
    day: date
    calls: int


class Exhausted(NamedTuple):
    """The quota of an interface of an account is used up.

    until: the Unix time of its reset, 0 if it is not used up any more; asked: when WeChat last said
    so.
    """

    appid: str
    endpoint: str
    until: float
    asked: float


class KnownSink(NamedTuple):
    """A sink that the ledger knows.

    whole: whether it has everything that is stored.  refilled: the latest fetch time (RFC 3339,
    UTC) of a window that was copied from another sink in another form; the records of windows up to
    then can be counted, but their checksums differ.
    """

    whole: bool
    refilled: str = ""


class Lease(NamedTuple):
    """An account that a worker has claimed.

    idle: seconds since another worker held it, by the ledger's clock; infinite if none did.
    """

    appid: str
    epoch: int
    idle: float = math.inf


class Job(NamedTuple):
    """The job of a worker, for a shared ledger.

    name: the same for all workers with the same job.  sinks: their names.  lease:
    seconds.  wall: this machine's Unix time.
    """

    name: str
    sinks: Sequence[str]
    lease: float
    wall: float


class WorkerState(NamedTuple):
    """A worker of a shared ledger.

    name: its host and process.  started, until: Unix times by the ledger's clock, of its start and
    of the end of its lease.  accounts: how many it holds; windows: how many it has stored.
    alive: whether its lease has not ended.
    """

    name: str
    started: float
    until: float
    accounts: int
    windows: int
    alive: bool


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

    async def register(
        self, ranges: Iterable[tuple[str, str, date, date]], sinks: Sequence[str]
    ) -> None:
        """Remember the requested ranges, so that gaps can be reported later, and the sinks.

        Known sinks that are not among these are behind from then on.
        """
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
            of other accounts; by default the current epochs of this worker.
        Returns the accounts that are no longer held under these epochs: nothing of them was
        stored.  A ledger with one worker returns none.
        """
        ...

    async def reopen(
        self,
        key: Key,
        days: Days | None,
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        """Make final windows open (`Calendar.reopen`)."""
        ...

    async def forget(self, key: Key, days: Days) -> None:
        """Make stored days missing (`Calendar.forget`)."""
        ...

    async def rebook(self, today: date) -> bool:
        """Count calls of future days as today's, after a clock change; returns if any were."""
        ...

    async def note_exhausted(self, said: Exhausted) -> None:
        """Remember WeChat's answer about a quota."""
        ...

    async def checkpoint(self, sink: str) -> dict[str, str]:
        """All that was stored for a sink."""
        ...

    async def caught_up(self, sink: str, refilled: str = "") -> None:
        """A sink has everything that is stored; refilled: as of `KnownSink`."""
        ...

    # what is known

    async def sinks(self) -> dict[str, KnownSink]:
        """The sinks that the ledger knows, by name."""
        ...

    async def accounts(self) -> list[str]:
        """The accounts that the ledger knows, in order."""
        ...

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        """The calendars of these accounts."""
        ...

    async def asked(self) -> dict[Key, Days]:
        """The widest range ever requested, by account and interface."""
        ...

    async def spent(self, day: date) -> dict[Key, int]:
        """The calls of a day in China."""
        ...

    async def exhausted(self, now: float) -> dict[Key, Exhausted]:
        """The interfaces whose quota is used up at ``now``, a Unix time."""
        ...


class SharedLedger(Ledger, Protocol):
    """A ledger for several workers at the same time, on any machines.

    A worker joins it with a `Job`, claims accounts, and renews its lease.  Other workers claim the
    accounts of one whose lease has ended.  All times are the ledger's.  `commit`, `claim` and
    `reopen` raise `harvester.away.Away` if the server does not answer: then nothing is repeated,
    and the worker starts anew with `abandon`.
    """

    @property
    def epochs(self) -> Mapping[str, int]:
        """The epochs of the accounts that this worker holds, as far as it knows."""
        ...

    def alone(self) -> AbstractAsyncContextManager[None]:
        """A context in which no other worker runs, for changes before a run."""
        ...

    async def join(self, job: Job) -> None:
        """Join as a worker.

        Raises `UsageError` if workers with other sinks are running, or if this machine's clock is
        wrong.
        """
        ...

    async def want(self, appids: Sequence[str]) -> None:
        """Add accounts that this worker should claim, also lost ones."""
        ...

    async def claim(self, limit: int) -> list[Lease]:
        """Claim up to ``count`` more of the wanted accounts that no other worker holds.

        Renews the lease, too, unless it has ended: then nothing is claimed, and `renew` is due.
        """
        ...

    async def renew(self, windows: int) -> Mapping[str, int]:
        """Renew the lease; returns the accounts that were lost, and their epochs.

        windows: the number that this worker has stored.
        """
        ...

    async def release(self, appids: Collection[str]) -> None:
        """These accounts are finished, for all workers that want them for this job now."""
        ...

    async def abandon(self) -> None:
        """Release all accounts; writes under the current epochs are refused from now on."""
        ...

    async def unfinished(self) -> int:
        """How many of the wanted accounts are neither finished nor held by this worker."""
        ...

    async def leave(self) -> None:
        """Leave as a worker, and release its accounts."""
        ...

    async def workers(self) -> list[WorkerState]:
        """The workers, those that were started first."""
        ...


def place_of(ledger: Ledger | None) -> Path | Secret | None:
    """The file of a ledger, or the URL of its database."""
    return None if ledger is None else ledger.path or getattr(ledger, "url", None)


def shared(ledger: Ledger | None) -> SharedLedger | None:
    """The ledger if several workers can share it, else None."""
    return cast("SharedLedger", ledger) if hasattr(ledger, "claim") else None
