"""A transport without sockets and a sink without a disk.

Rule: nothing is faked but the outside; both keep the promises of their protocols.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio

from harvester.codec import add_checksums
from harvester.errors import AttemptError
from harvester.model import Batch, Request, Response, Tally, Window
from harvester.sinks.base import Receipt, Written
from harvester.testing.simulator import Simulator


class FakeTransport:
    """Sends requests straight to a simulator.

    ``latency`` and a reply's own delay pass on the event loop's clock.  in_flight, most_in_flight:
    requests under way now, and the most there ever were.
    """

    def __init__(self, simulator: Simulator, latency: float = 0.0) -> None:
        self.simulator = simulator
        self.latency = latency
        self.in_flight = 0
        self.most_in_flight = 0

    async def send(self, request: Request) -> Response:
        """The simulator's response; a reset or cut answer is an `AttemptError`."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.simulator.handle(
                request.method, request.path, dict(request.query), request.body or b""
            )
            await anyio.sleep(self.latency + reply.delay)
        finally:
            self.in_flight -= 1
        if reply.fault:
            raise AttemptError("the connection was closed before an answer came")
        return Response(reply.status, reply.body)


class MemorySink:
    """Keeps the records of each window; a batch replaces its window.

    windows: the documents, metadata included, by window; writes: how many windows came at once.
    """

    def __init__(self, identity: str = "memory") -> None:
        self._identity = identity
        self.windows: dict[Window, list[dict[str, Any]]] = {}
        self._tallies: dict[Window, Tally] = {}
        self.writes: list[int] = []
        self.opened = self.closed = 0

    @property
    def identity(self) -> str:
        """A name, since there is no place."""
        return self._identity

    @property
    def records(self) -> list[dict[str, Any]]:
        """All documents."""
        return [record for window in self.windows.values() for record in window]

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Nothing to get ready."""
        self.opened += 1
        return {}

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Keep the batches."""
        replaced = {}
        for batch in batches:
            former = self._take_away(batch.window)
            if former.records:
                replaced[batch.window] = former
            self._tallies[batch.window] = Tally(batch.records, batch.checksum)
            self.windows[batch.window] = batch.documents()
        self.writes.append(len(batches))
        return Written({}, replaced)

    def _take_away(self, window: Window) -> Tally:
        """What stood there of a window, and of windows that lie in it."""
        within = [window]
        if window.begin < window.end:
            within = [
                one
                for one in self._tallies
                if (one.appid, one.endpoint) == (window.appid, window.endpoint)
                and window.begin <= one.begin
                and one.end <= window.end
            ]
        records = checksum = 0
        for one in within:
            former = self._tallies.pop(one, Tally())
            records += former.records
            checksum = add_checksums(checksum, former.checksum)
            self.windows.pop(one, None)
        return Tally(records, checksum)

    async def settle(self) -> None:
        """Nothing to put in place."""

    async def close(self) -> None:
        """Nothing to let go."""
        self.closed += 1
