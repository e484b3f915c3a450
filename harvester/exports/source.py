"""The sink that exports are derived from: which months it has, and their records.

Rule: reads only.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from harvester.base.dates import Days
from harvester.base.outside import guard_call
from harvester.errors import SinkError, UsageError
from harvester.exports.coverage import Coverage
from harvester.model import Account, Field
from harvester.sinks.base import OWNER, Checkpoint, Sink, Stamp, StoredWindow
from harvester.sinks.rows import Table
from harvester.sinks.scan import error_of

ROWS = 1 << 14
"""Records of a chunk that have no lists."""
_TURNS = 20
NO_COVERAGE: Mapping[str, Coverage] = {}


class Source:
    """A sink, as its ledger knows it.

    checkpoint: gives the newest one that the ledger has stored, None without a ledger.  coverage:
    what the ledger knew, by interface, before the sink is read.  accounts: those whose names are
    known from elsewhere.
    """

    def __init__(
        self,
        sink: Sink,
        checkpoint: Callable[[], Checkpoint | None],
        coverage: Mapping[str, Coverage] = NO_COVERAGE,
        accounts: Collection[Account] = (),
    ) -> None:
        if sink.scan is None or sink.endpoints is None:
            raise UsageError("{} cannot be read back", sink.identity)
        self.sink = sink
        self.coverage = coverage
        self.accounts = accounts
        self._scan, self._endpoints = sink.scan, sink.endpoints
        self.checkpoint = checkpoint
        self._guarded: Callable[..., Any] = partial(guard_call, error_of(sink))

    def __repr__(self) -> str:
        return f"<Source {self.sink.identity}>"

    def harvest(self) -> str:
        """The id of the harvest in its ledger; empty without one."""
        return (self.checkpoint() or {}).get(OWNER, "")

    def interfaces(self) -> list[str]:
        """The interfaces that have records."""
        return sorted(self._again_if_changed(self._endpoints))

    def stamps(self, name: str) -> dict[str, Stamp]:
        """The stamp of each month of an interface."""
        found: dict[str, Stamp] = self._again_if_changed(partial(self.sink.stamps, name))
        return found

    def windows(
        self, name: str, days: Days | None = None, appids: Collection[str] | None = None
    ) -> Iterator[StoredWindow]:
        """The stored windows of an interface that have such days, in order."""

        def begun(checkpoint: Checkpoint | None) -> tuple[StoredWindow | None, Any]:
            found = iter(self._scan(name, appids, checkpoint, days))
            return next(found, None), found

        stored, found = self._again_if_changed(begun)
        while stored is not None:
            yield stored
            stored = self._guarded(next, found, None)

    def records(self, stored: StoredWindow) -> list[dict[str, Any]]:
        """The records of a window, as long as the next one has not been asked for."""
        found: list[dict[str, Any]] = self._guarded(stored.records)
        return found

    def _again_if_changed(self, call: Callable[[Checkpoint | None], Any]) -> Any:
        """What a call returns, given the newest checkpoint.

        A run may replace files after that was read, and before they are opened: then it has a newer
        one.
        """
        for _ in range(_TURNS):
            checkpoint = self.checkpoint()
            try:
                return self._guarded(call, checkpoint)
            except SinkError:
                if self.checkpoint() == checkpoint:
                    raise
        return self._guarded(call, self.checkpoint())


def rows_of(table: Table) -> int:
    """The records of an interface that are in memory together: fewer, the deeper its lists are."""
    return ROWS >> 3 * _depth(table.fields)


def _depth(fields: Sequence[Field]) -> int:
    """How many lists are within each other."""
    return max([(each.type == "list") + _depth(each.fields) for each in fields], default=0)


def days_of(month: str) -> Days:
    """The first and the last day of a month."""
    year, number = map(int, month.split("-"))
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])
