"""The interface of a transport: one request, one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from harvester.model import Request, Response

Leave = Callable[[], Awaitable[None]]
"""Returns when a request may leave that could not leave when it was granted."""


class Transport(Protocol):
    """Sends requests: those of tokens, and those of data, which carry a token in their query.

    The option ``transport`` of `run` takes one, as `harvester.testing.FakeTransport`.
    """

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
        """The response with its body; raises `harvester.AttemptError` if there is none.

        leave: awaited before the request is sent, if a connection had to be opened for it.  A
        transport without connections ignores it.
        """
        ...
