"""Waits for a server of the user, a database, that does not answer now.

Rule: waits and calls again; the caller decides which errors mean that the server is away.

A wait of more than `SILENT` seconds is reported to the logger ``harvester``, and so is its end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from harvester.base.retry import AWAY
from harvester.errors import RunError, SinkError
from harvester.texts import say

T = TypeVar("T")

DISK_FULL = say("the disk is full")

PATIENCE = 60.0
"""Seconds for which a server that is away is called again, by default."""

SILENT = 1.0
"""Seconds of a wait that are not reported."""

SLOW = 5.0
"""Seconds after which a call that has not returned is announced."""

AGAIN = say("nothing that was committed is lost: fix the cause and run the same command again")

_log = logging.getLogger("harvester")
_log.addHandler(logging.NullHandler())  # a library must not print


class Away(Exception):  # noqa: N818  (no error yet: it is tried again)
    """A server does not answer now, and why; the call may or may not have taken effect."""


class Undone(Away):
    """The server refuses, and the transaction is rolled back: the call may be repeated."""


def announce(where: str, holder: str = "") -> None:
    """Say that a call has not returned; holder: who holds what it waits for, if that is known."""
    for_what = say("it waits for {}", holder) if holder else say("no answer yet")
    _log.warning(say("{}: a call takes more than {:.0f} s; {}", where, SLOW, for_what))


async def until_it_answers(
    call: Callable[[], Awaitable[T]],
    where: str,
    patience: float,
    error: type[RunError] = SinkError,
    repeats: type[Away] = Away,
) -> T:
    """Return the result of a call; while it raises `Away`, call it again.

    where: the server as messages name it, without a secret.  patience: seconds from the first
    failure to the last call.  repeats: `Undone` for a call that may not be repeated if it is
    unknown whether it took effect.  Raises ``error`` after that, and any other exception at once.
    """
    failures, begun, ends, reported = 0, anyio.current_time(), 0.0, False
    while True:
        try:
            found = await call()
        except repeats as exc:
            why = str(exc)
            did = say("refused every call") if isinstance(exc, Undone) else say("did not answer")
        else:
            if reported:
                _log.warning(say("{} answers again", where))
            return found
        now = anyio.current_time()
        failures += 1
        ends = ends or now + patience
        if now >= ends:
            raise error("{} {} for {:g} s ({}); {}", where, did, patience, why, AGAIN)
        if not reported and now >= begun + SILENT:
            reported = True
            text = "{} does not answer ({}); it will be called again for up to {:.0f} s"
            _log.warning(say(text, where, why, ends - now))
        await anyio.sleep(min(AWAY.delay(failures), ends - now))
