"""The promise: one request out, one response in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from harvester.model import Request, Response

Leave = Callable[[], Awaitable[None]]
"""Returns once a request may leave that could not leave when it was given out."""


class Transport(Protocol):
    """Sends requests."""

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
        """The response, its body read; raises `AttemptError` if none came.

        leave: awaited before the request is sent, if a connection had to be opened for it.
        """
        ...
