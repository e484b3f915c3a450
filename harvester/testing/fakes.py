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
    """A `harvester.Transport` that passes requests directly to a simulator.

    It is for the option ``transport`` of `harvester.run` and `harvester.stream` in tests, and uses
    no socket and no thread.  It waits for ``latency`` and the delay of a reply on the clock of the
    event loop.
    in_flight, most_in_flight: the number of requests in flight now, and its maximum so far.
    """

    def __init__(self, simulator: Simulator, latency: float = 0.0) -> None:
        self.simulator = simulator
        self.latency = latency
        self.in_flight = 0
        self.most_in_flight = 0

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
        """The response of the simulator; for a reset or cut answer it raises `AttemptError`."""
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
    """An account of a simulated WeChat, as arguments for `run`, `run_sync` and `stream`.

    account, start, end: the first, third and fourth argument; both days are included.
    transport: the option ``transport``.
    """

    account: Account
    start: date
    end: date
    transport: FakeTransport

    def records(self, interface: str) -> list[dict[str, Any]]:
        """The records of the account for these days in the simulated WeChat, without metadata.

        A run over these days stores the same records if the interface has daily figures and is not
        retired.  For an interface by week or month, the run stores only complete weeks or months.
        """
        simulator = self.transport.simulator
        return simulator.truth_of(interface, self.account.appid, self.start, self.end)


def account_with_figures() -> FakeAccount:
    """A fake account with final figures for January 2026; they are the same in each process."""
    account = Account("wx0123456789abcdef", secret="practice")
    return FakeAccount(account, date(2026, 1, 1), date(2026, 1, 31), FakeTransport(Simulator()))
