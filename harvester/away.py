"""The wait for a server of the user's that does not answer now: a database, Redis.

Rule: waits and calls again; what an error of a server means is told by whoever calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.errors import RunError, SinkError
from harvester.retry import AWAY

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for which a server that is away is called again, unless somebody says otherwise."""

AGAIN = "nothing that was committed is lost: mend it and run the same command again"
"""What to do about a destination that could not be written."""


class Away(Exception):  # noqa: N818  (no error yet: it is tried again)
    """A server does not answer now, and why; what was under way may or may not be done."""


async def until_it_answers(
    call: Callable[[], Awaitable[T]],
    where: str,
    patience: float,
    error: type[RunError] = SinkError,
) -> T:
    """What a call gives; while it raises `Away`, it is called again.

    where: as a message names the server, without a secret.  patience: seconds from the first time
    that it was away; the last call is made at their end.  Raises ``error`` after that, and what
    else the call raises at once.
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
