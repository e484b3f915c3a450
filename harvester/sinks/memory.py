"""Records in memory, for tests and notebooks.

Rule: it keeps the whole promise, except that nothing outlives the process.

A ledger that has been told of records outlives them.  So the receipt names the object that holds
them: handed to another one, as in the next process, it is refused, and nothing is called harvested
that is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from harvester.codec import add_checksums, lines
from harvester.durable import step
from harvester.errors import SinkError
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Receipt, Wanted, Written
from harvester.sinks.windows import Standing

_HOLDER, _OWNER, _COMMIT = "holder", "owner", "commit"


class MemorySink:
    """Keeps the records of each window; a batch replaces its window, and those that lie in it.

    windows: the documents, metadata included, by window; an empty window has none.
    writes: how many windows came at once; opened, closed: how often that was done.
    """

    def __init__(self, identity: str = "memory:") -> None:
        self._identity = identity
        self._holder = secrets.token_hex(16)
        self._owner = ""
        self._commit = 0
        self._batches: dict[Window, Batch] = {}
        self._standing = Standing()
        self._undo: dict[Window, Batch | None] = {}
        self.writes: list[int] = []
        self.opened = self.closed = 0

    @classmethod
    def from_spec(cls, rest: str) -> MemorySink:
        """The sink that ``memory:`` names; what follows the colon is a name to tell it by."""
        return cls(f"memory:{rest}")

    def __repr__(self) -> str:
        return f"<MemorySink {self._identity}, {len(self._batches)} windows>"

    @property
    def identity(self) -> str:
        """A name, since there is no place."""
        return self._identity

    @property
    def windows(self) -> dict[Window, list[dict[str, Any]]]:
        """The documents of each window."""
        return {window: batch.documents() for window, batch in self._batches.items()}

    @property
    def records(self) -> list[dict[str, Any]]:
        """All documents."""
        return [record for batch in self._batches.values() for record in batch.documents()]

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Take back what no receipt speaks of."""
        self.opened += 1
        if receipt and _HOLDER in receipt:
            self._check(receipt)
        if receipt and receipt.get(_OWNER) == self._owner:
            if int(receipt[_COMMIT]) < self._commit:
                self._take_back()
            return {}
        self._owner, self._undo = secrets.token_hex(16), {}
        return {**self._place(), _OWNER: self._owner}

    def _check(self, receipt: Receipt) -> None:
        if receipt[_HOLDER] != self._holder and receipt.get(_COMMIT, "0") != "0":
            raise SinkError(
                f"what was harvested into {self._identity} is gone with the process that held it,"
                " though the ledger says that it was stored; use a new ledger, or none"
            )

    def _place(self) -> Receipt:
        return {_HOLDER: self._holder, _COMMIT: str(self._commit)}

    def _take_back(self) -> None:
        for window, former in self._undo.items():
            self._batches.pop(window, None)
            self._standing.discard(window)
            if former is not None:
                self._put(window, former)
        self._undo = {}
        self._commit -= 1

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Keep the batches."""
        replaced: dict[Window, Tally] = {}
        with step("keep windows"):
            self._undo = {}
            for batch in batches:
                self._keep(batch, replaced)
            self._commit += 1
        self.writes.append(len(batches))
        return Written(self._place(), replaced)

    def _keep(self, batch: Batch, replaced: dict[Window, Tally]) -> None:
        for window in self._standing.within(batch.window):
            former = self._batches.pop(window)
            self._standing.discard(window)
            self._undo.setdefault(window, former)
            if former.records:
                tally = replaced.get(batch.window, Tally())
                replaced[batch.window] = Tally(
                    tally.records + former.records, add_checksums(tally.checksum, former.checksum)
                )
        self._undo.setdefault(batch.window, None)
        self._put(batch.window, batch)

    def _put(self, window: Window, batch: Batch) -> None:
        self._batches[window] = batch
        self._standing.add(window)

    async def settle(self) -> None:
        """What was replaced may go."""
        self._undo = {}

    async def close(self) -> None:
        """Nothing to let go: what is kept can still be read."""
        self.closed += 1

    def documents(
        self, endpoint: str, receipt: Receipt | None, wanted: Wanted
    ) -> Iterator[dict[str, Any]]:
        """The records of an interface."""
        for batch in self._spoken_of(receipt or {}):
            if batch.window.endpoint == endpoint and wanted.window(batch.window):
                yield from batch.documents()

    def read_lines(self, receipt: Receipt) -> Iterator[bytes]:
        """Each record as the line it was written as; raises `SinkError` if they are gone."""
        for batch in self._spoken_of(receipt):
            body = batch.body
            if batch.parsed is not None and not body:
                body = b"".join(lines(batch.parsed, metadata(batch.window, batch.fetched_at)))
            yield from body.splitlines(keepends=True)

    def _spoken_of(self, receipt: Receipt) -> list[Batch]:
        if _HOLDER in receipt:
            self._check(receipt)
        batches = dict(self._batches)
        if int(receipt.get(_COMMIT, self._commit)) < self._commit:
            batches.update({window: batch for window, batch in self._undo.items() if batch})
            for window, former in self._undo.items():
                if former is None:
                    batches.pop(window, None)
        return list(batches.values())
