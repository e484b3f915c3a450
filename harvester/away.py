"""Waits for a server of the user that does not answer now: a database, Redis.

Rule: waits and calls again; the caller decides which errors mean that the server is away.

A wait of more than `SILENT` seconds is told to the logger ``harvester``, and so is its end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.errors import RunError, SinkError
from harvester.retry import AWAY

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for which a server that is away is called again, by default."""

SILENT = 1.0
"""Seconds of a wait that are not told."""

AGAIN = "nothing that was committed is lost: mend it and run the same command again"
"""What to do about a destination that could not be written."""

_log = logging.getLogger("harvester")
_log.addHandler(logging.NullHandler())  # a library prints nothing by itself


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
    failures, begun, ends, told = 0, anyio.current_time(), 0.0, False
    while True:
        try:
            found = await call()
        except Away as exc:
            why = str(exc)
        else:
            if told:
                _log.warning("%s answers again", where)
            return found
        now = anyio.current_time()
        failures += 1
        ends = ends or now + patience
        if now >= ends:
            raise error(f"{where} was away for {patience:g} s ({why}); {AGAIN}")
        if not told and now >= begun + SILENT:
            told = True
            text = "%s does not answer (%s); it is called again for up to %.0f s"
            _log.warning(text, where, why, ends - now)
        await anyio.sleep(min(AWAY.delay(failures), ends - now))
