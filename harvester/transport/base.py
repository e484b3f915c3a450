"""The interface of a transport: one request, one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from harvester.model import Request, Response

Leave = Callable[[], Awaitable[None]]
"""Returns when a request may leave that could not leave when it was granted."""


class Transport(Protocol):
    """Sends requests: for tokens, and for data (these have a token in the query).

    It is the type of the option ``transport`` of `run`; see `harvester.testing.FakeTransport`.
    """

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
        """The response with its body; raises `harvester.AttemptError` if there is none.

        leave: awaited before the request is sent, if a connection had to be opened first.  A
        transport without connections ignores this argument.
        """
        ...
