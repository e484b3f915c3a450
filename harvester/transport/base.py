"""The promise: one request out, one response in."""

from __future__ import annotations

from typing import Protocol

from harvester.model import Request, Response


class Transport(Protocol):
    """Sends requests."""

    async def send(self, request: Request) -> Response:
        """The response, its body read; raises `AttemptError` if none came."""
        ...
