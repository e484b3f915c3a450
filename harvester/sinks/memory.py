"""Records in memory, for tests and notebooks.

Rule: the same guarantees as other sinks, except that records do not outlive the process.

A ledger outlives the records.  So the checkpoint names the object that holds them: an object of
another process refuses it, so that lost records do not count as harvested.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from operator import itemgetter
from typing import Any

from harvester.base.dates import Days
from harvester.base.files import step
from harvester.errors import SinkError
from harvester.model import Batch, Window
from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written, within

_HOLDER = "holder"


class MemorySink(Sink):
    """Keeps records in memory; a batch replaces all windows that overlap its own window.

    windows: the records with metadata, by window; an empty window has none.
    records: all stored records, each with its metadata.
    writes: the number of windows of each write.
    opened, closed: how often the sink was opened and closed.
    """

    identity: str
    listed = False

    def __init__(self, identity: str = "memory:") -> None:
        self.identity = identity
        self._holder = secrets.token_hex(16)
        self._batches: dict[Window, Batch] = {}
        self._by_day: dict[tuple[str, str, date], Window] = {}
        self.writes: list[int] = []
        self.opened = self.closed = 0

    @classmethod
    def from_spec(cls, rest: str) -> MemorySink:
        """The sink for the spec ``memory:NAME``; the name identifies the sink."""
        return cls(f"memory:{rest}")

    def __repr__(self) -> str:
        return f"<MemorySink {self.identity}, {len(self._batches)} windows>"

    @property
    def windows(self) -> dict[Window, list[dict[str, Any]]]:
        return {window: batch.documents() for window, batch in self._batches.items()}

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for batch in self._batches.values() for record in batch.documents()]

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        self.opened += 1
        if checkpoint and checkpoint.get(_HOLDER, self._holder) != self._holder:
            raise SinkError(
                "the records in {} were lost when their process ended, but the ledger lists them"
                " as stored; use a new ledger, or none",
                self.identity,
            )
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        with step("keep windows"):
            for batch in batches:
                self._keep(batch)
        if batches:
            self.writes.append(len(batches))
        return Written({_HOLDER: self._holder} if batches else {})

    def _keep(self, batch: Batch) -> None:
        for day in _days(batch.window):
            if day in self._by_day:
                self._remove(self._by_day[day])
        self._batches[batch.window] = batch
        for day in _days(batch.window):
            self._by_day[day] = batch.window

    def _remove(self, window: Window) -> None:
        del self._batches[window]
        for day in _days(window):
            del self._by_day[day]

    async def close(self) -> None:
        self.closed += 1

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
        days: Days | None = None,
    ) -> Iterator[StoredWindow]:
        for window, batch in sorted(self._batches.items(), key=itemgetter(0)):
            wanted = window.endpoint == endpoint and (appids is None or window.appid in appids)
            if wanted and batch.count and within(window, days):
                yield _stored(batch)

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        return sorted({w.endpoint for w, batch in self._batches.items() if batch.count})


def _stored(batch: Batch) -> StoredWindow:
    return StoredWindow(batch.window, batch.tally, batch.fetched_at, lambda: batch.records)


def _days(window: Window) -> Iterator[tuple[str, str, date]]:
    for number in range((window.end - window.begin).days + 1):
        yield window.appid, window.endpoint, window.begin + timedelta(days=number)
