"""The sink that exports are derived from: which months it has, and their records.

Rule: reads only.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, NamedTuple

from harvester.base.dates import Days
from harvester.base.outside import guard_call
from harvester.errors import SinkError, UsageError
from harvester.exports.coverage import Coverage
from harvester.model import Account, Endpoint, Field, Window, metadata
from harvester.sinks.base import OWNER, Checkpoint, Sink, Stamp, StoredWindow, stamps_of
from harvester.sinks.rows import Table
from harvester.sinks.scan import error_of
from harvester.wechat.endpoint import in_record

ROWS = 1 << 14
"""Records of a chunk that have no lists."""
_TURNS = 20
NO_NAMES: Mapping[str, str] = {}


class Limits(NamedTuple):
    """What is read of a sink: records of these days, and of these accounts; None: of all.

    A record belongs to its own day where its interface names one (``ref_date``), else to all days
    of its window.
    """

    days: Days | None = None
    appids: frozenset[str] | None = None

    def __str__(self) -> str:
        """The same text for the same limits; empty for none."""
        days = "..".join(map(str, self.days)) if self.days is not None else ""
        appids = f" of {' '.join(sorted(self.appids))}" if self.appids is not None else ""
        return f"{days}{appids}"

    def take(self, record: Mapping[str, Any], day_field: str) -> bool:
        """Whether a record is read, of a window that has such days."""
        if self.days is None or not day_field:
            return True
        try:
            return self.days[0] <= date.fromisoformat(in_record(record, day_field)) <= self.days[1]
        except (TypeError, ValueError):  # it names none
            return True


class Records(NamedTuple):
    """Records of a window, with their metadata, and the place of each in it."""

    window: Window
    documents: Sequence[dict[str, Any]]
    numbers: Sequence[int]

    @property
    def place(self) -> tuple[str, date]:
        """Its account and first day: the order of what is read, and what joined rows have alike."""
        return self.window.appid, self.window.begin


NO_LIMITS = Limits()


class Source:
    """A sink, as its ledger knows it.

    checkpoint: gives the newest one that the ledger has stored, None without a ledger.  coverage:
    what the ledger knew before the sink is read.  accounts: those whose names are known from
    elsewhere, all of them; names: by appid, of some accounts, if all are not known, or of others.
    limits: what is read of it.
    """

    def __init__(
        self,
        sink: Sink,
        checkpoint: Callable[[], Checkpoint | None],
        coverage: Coverage | None = None,
        accounts: Collection[Account] = (),
        *,
        names: Mapping[str, str] = NO_NAMES,
        limits: Limits = NO_LIMITS,
    ) -> None:
        if sink.scan is None or sink.endpoints is None:
            raise UsageError("{} cannot be read back", sink.identity)
        self.sink = sink
        self.coverage = coverage
        appids = limits.appids
        self.accounts = [each for each in accounts if appids is None or each.appid in appids]
        self.names = names
        self.limits = limits
        self._scan, self._endpoints = sink.scan, sink.endpoints
        self.checkpoint = checkpoint
        self._guarded: Callable[..., Any] = partial(guard_call, error_of(sink))

    def harvest(self) -> str:
        """The id of the harvest in its ledger; empty without one."""
        return (self.checkpoint() or {}).get(OWNER, "")

    def check_accounts(self) -> None:
        """Raise `UsageError` if no ledger tells which accounts there are, and none of these is."""
        appids = self.limits.appids
        if appids is None or self.checkpoint() is not None:
            return
        for name in self.interfaces():
            if next(iter(self._guarded(self._scan, name, appids, None, None)), None) is not None:
                return
        listed = ", ".join(sorted(appids))
        raise UsageError("{} has no record of the accounts {}", self.sink.identity, listed)

    def interfaces(self) -> list[str]:
        return sorted(self._again_if_changed(self._endpoints))

    def stamps(self, name: str, day_field: str) -> dict[str, Stamp]:
        """The stamp of each month of an interface, whose rows are those within the limits."""
        if str(self.limits):
            return stamps_of(self._limited(each, day_field) for each in self.windows(name))
        found: dict[str, Stamp] = self._again_if_changed(partial(self.sink.stamps, name))
        return found

    def read(self, name: str, day_field: str, month: str = "") -> Generator[Records]:
        """The records of an interface within the limits, in the order of account and first day.

        month: only of windows that begin in it.
        """
        begins = days_of(month) if month else None
        for stored in self.windows(name, begins):
            if begins is None or begins[0] <= stored.window.begin <= begins[1]:
                beside = metadata(stored.window, stored.fetched_at)
                taken = [
                    (number, {**record, **beside})
                    for number, record in enumerate(self.records(stored))
                    if self.limits.take(record, day_field)
                ]
                documents = [document for _, document in taken]
                yield Records(stored.window, documents, [number for number, _ in taken])

    def windows(self, name: str, days: Days | None = None) -> Iterator[StoredWindow]:
        """The stored windows of an interface that have such days, within the limits, in order."""
        appids, limit = self.limits.appids, self.limits.days
        if days is None or limit is None:
            days = days or limit
        else:  # a window that begins before the limit's first day has that one
            first = max(days[0], limit[0])
            days = first, max(first, min(days[1], limit[1]))

        def begun(checkpoint: Checkpoint | None) -> tuple[StoredWindow | None, Any]:
            found = iter(self._scan(name, appids, checkpoint, days))
            return next(found, None), found

        stored, found = self._again_if_changed(begun)
        while stored is not None:
            yield stored
            stored = self._guarded(next, found, None)

    def _limited(self, stored: StoredWindow, day_field: str) -> StoredWindow:
        """The same window; its tally counts the records that are read of it."""
        limit, window = self.limits.days, stored.window
        if limit is None or not day_field or limit[0] <= window.begin <= window.end <= limit[1]:
            return stored
        count = sum([self.limits.take(record, day_field) for record in self.records(stored)])
        return stored._replace(tally=stored.tally._replace(records=count))

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
    return max([(each.type == "list") + _depth(each.fields) for each in fields], default=0)


def day_field(table: Table, endpoint: Endpoint | None) -> str:
    """The field with a record's own day; empty if there is none, or it is not a day."""
    name = getattr(endpoint, "day_field", "")
    column, _, within = name.partition(".")
    kind = "object" if within else "date"
    return name if any(field[:2] == (column, kind) for field in table.fields) else ""


def days_of(month: str) -> Days:
    """The first and the last day of a month."""
    year, number = map(int, month.split("-"))
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])
