"""A transport without sockets.

Rule: only the network is faked; the fake keeps the guarantees of the protocol.
"""

from __future__ import annotations

import anyio

from harvester.errors import AttemptError
from harvester.model import Request, Response
from harvester.testing.simulator import Simulator
from harvester.transport import Leave


class FakeTransport:
    """A `harvester.Transport` that sends requests straight to a simulator.

    For the option ``transport`` of `harvester.run` and `harvester.stream` in tests: no socket and
    no thread is used.  ``latency`` and a reply's own delay pass on the event loop's clock.
    in_flight, most_in_flight: requests under way now, and the most there ever were.
    """

    def __init__(self, simulator: Simulator, latency: float = 0.0) -> None:
        self.simulator = simulator
        self.latency = latency
        self.in_flight = 0
        self.most_in_flight = 0

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
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
            error = AttemptError("the connection was closed before an answer came")
            error.connected = True
            raise error
        return Response(reply.status, reply.body)
