"""What a ledger is: where it is remembered what is stored, what waits, what failed, what was spent.

Rule: an interface and its values.  The embedded ledger is `harvester.ledger.sqlite`.

A ledger knows nothing of sinks but their names and checkpoints: what it calls stored stands in all
sinks that are not behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from harvester.coverage import Calendar, OpenWindow, Outcome
from harvester.model import Tally
from harvester.plan import Days

Key = tuple[str, str]
"""An account and an interface."""

EPOCH = 1
"""The epoch of every account in a ledger with one worker."""


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
    ) -> None:
        """Store all of it, or nothing, durably."""
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
