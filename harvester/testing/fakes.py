"""A transport without sockets, and an account that is reached by it.

Rule: only the network is faked; the fake keeps the guarantees of the protocol.
"""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

import anyio

from harvester.errors import AttemptError
from harvester.model import Account, Request, Response
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


class FakeAccount(NamedTuple):
    """An account of a simulated WeChat; its arguments of `run`, `run_sync` and `stream`.

    account, start, end: the first, third and fourth argument; both days are included.  transport:
    the option of this name.
    """

    account: Account
    start: date
    end: date
    transport: FakeTransport

    def records(self, interface: str) -> list[dict[str, Any]]:
        """What WeChat has of the account in these days, without the metadata.

        A run over these days stores the same of each interface by day that is not retired.  Of
        weeks and months it stores whole ones alone.
        """
        simulator = self.transport.simulator
        return simulator.truth_of(interface, self.account.appid, self.start, self.end)


def account_with_figures() -> FakeAccount:
    """A fake account with the figures of January 2026, the same in each process; all are final."""
    account = Account("wx0123456789abcdef", secret="practice")
    return FakeAccount(account, date(2026, 1, 1), date(2026, 1, 31), FakeTransport(Simulator()))
