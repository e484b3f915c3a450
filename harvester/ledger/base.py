"""What a ledger is: where it is remembered what is stored, what waits, what failed, what was spent.

Rule: interfaces and their values.  The embedded ledger is `harvester.ledger.sqlite`; the one that
several processes share is `harvester.ledger.postgresql`.

A ledger knows nothing of sinks but their names and checkpoints: what it calls stored stands in all
sinks that are not behind.
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
    """Calls of one interface of one account on one day in China; may be negative: given back."""

    appid: str
    endpoint: str
    day: date
    calls: int


class Exhausted(NamedTuple):
    """The quota of an interface of an account is spent.

    until: the Unix time at which it begins anew, 0 if it is spent no more; asked: when WeChat said
    so last.
    """

    appid: str
    endpoint: str
    until: float
    asked: float


class KnownSink(NamedTuple):
    """A sink that the ledger knows.

    whole: whether it has everything that is stored.  refilled: the latest moment at which a window
    was fetched that was taken over from another sink in another form, RFC 3339 in UTC; the records
    of windows up to then can be counted, but their checksums are others.
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
    """What a worker is asked for, as a shared ledger has to know it.

    name: the same for all workers that are asked for the same.  sinks: their names.  lease:
    seconds.  wall: this machine's Unix time.
    """

    name: str
    sinks: Sequence[str]
    lease: float
    wall: float


class WorkerState(NamedTuple):
    """A worker of a shared ledger.

    name: its host and process.  started, until: Unix times by the ledger's clock, of its begin and
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

    path: of its file, None if it is no local file.
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
        """Remember what is asked for, so that gaps can be told later, and where it is stored.

        Sinks that the ledger knows, and that are not among these, are behind from then on.
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

        epochs: of a shared ledger, under which the outcomes were fetched, and perhaps of other
            accounts; without it those under which this worker holds the accounts now.
        Returns the accounts that are not held under these epochs any more: nothing of theirs was
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
        """Count the calls of days that have not come as today's; gives whether there were any."""
        ...

    async def learn_span(self, endpoint: str, days: int) -> None:
        """Remember that an interface takes windows of so many days at the most."""
        ...

    async def note_exhausted(self, said: Exhausted) -> None:
        """Remember what WeChat said of a quota."""
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
        """The accounts of which anything is known, in order."""
        ...

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        """What is known of these accounts."""
        ...

    async def asked(self) -> dict[Key, Days]:
        """The widest range ever asked for, by account and interface."""
        ...

    async def spent(self, day: date) -> dict[Key, int]:
        """The calls of a day in China."""
        ...

    async def spans(self) -> dict[str, int]:
        """The longest windows, in days, that WeChat took, of those interfaces that refused some."""
        ...

    async def exhausted(self, now: float) -> dict[Key, Exhausted]:
        """The interfaces whose quota is spent now, a Unix time."""
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
        """While it is entered no other worker enters it; for what is done before a run."""
        ...

    async def join(self, job: Job) -> None:
        """Begin as a worker.

        Raises `UsageError` if workers with other sinks are running, or if this machine's clock is
        wrong.
        """
        ...

    async def want(self, appids: Sequence[str]) -> None:
        """These accounts are to be claimed, also those that were lost."""
        ...

    async def claim(self, limit: int) -> list[Lease]:
        """Hold at most so many more of the wanted accounts that nobody else holds.

        Renews the lease, too, unless it has ended: then nothing is claimed, and `renew` is due.
        """
        ...

    async def renew(self, windows: int) -> Mapping[str, int]:
        """Hold the accounts for another lease; returns those that were lost, and their epochs.

        windows: how many this worker has stored.
        """
        ...

    async def release(self, appids: Collection[str]) -> None:
        """These accounts are finished, for all workers that want them for this job now."""
        ...

    async def abandon(self) -> None:
        """Hold nothing any more; what is under way under the present epochs is refused."""
        ...

    async def unfinished(self) -> int:
        """How many of the wanted accounts are neither finished nor held by this worker."""
        ...

    async def leave(self) -> None:
        """End as a worker, and free what it holds."""
        ...

    async def workers(self) -> list[WorkerState]:
        """The workers, those that were started first."""
        ...


def place_of(ledger: Ledger | None) -> Path | Secret | None:
    """The file of a ledger, or the URL of its database."""
    return None if ledger is None else ledger.path or getattr(ledger, "url", None)


def shared(ledger: Ledger | None) -> SharedLedger | None:
    """A ledger that several workers share; None for another one."""
    return cast("SharedLedger", ledger) if hasattr(ledger, "claim") else None
