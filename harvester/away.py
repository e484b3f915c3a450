"""Waits for a server of the user that does not answer now: a database, Redis.

Rule: waits and calls again; the caller decides which errors mean that the server is away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.errors import RunError, SinkError
from harvester.retry import AWAY

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for which a server that is away is called again, by default."""

AGAIN = "nothing that was committed is lost: mend it and run the same command again"
"""What to do about a destination that could not be written."""


class Away(Exception):  # noqa: N818  (no error yet: it is tried again)
    """A server does not answer now, and why; the call may or may not have taken effect."""


async def until_it_answers(
    call: Callable[[], Awaitable[T]],
    where: str,
    patience: float,
    error: type[RunError] = SinkError,
) -> T:
    """Return the result of a call; while it raises `Away`, call it again.

    where: the server as messages name it, without a secret.  patience: seconds from the first
    failure to the last call.  Raises ``error`` after that, and any other exception at once.
    """
    failures, ends = 0, 0.0
    while True:
        try:
            return await call()
        except Away as exc:
            why = str(exc)
        now = anyio.current_time()
        failures += 1
        ends = ends or now + patience
        if now >= ends:
            raise error(f"{where} was away for {patience:g} s ({why}); {AGAIN}")
        await anyio.sleep(min(AWAY.delay(failures), ends - now))
