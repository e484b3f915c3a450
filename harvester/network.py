"""Whether anybody answers: a request that is not answered, or a network that is lost.

Rule: decides from what happened and when; never waits, never sends.

While nobody answers, failed requests do not count as attempts, and one request every few seconds
finds out whether somebody answers again.  This holds only after something has answered in this run:
before that the attempts decide, so that a mistyped base URL fails at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from enum import Enum

from harvester.errors import UsageError

DEFAULT_PATIENCE = 600.0
"""Seconds for which a run waits while nobody answers."""

PROBE_EVERY = 3.0
"""Seconds between two requests that are sent while nobody answers."""

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


class Silence(Enum):
    """What an unanswered request means."""

    COUNTS = "counts"  # this request failed; others are answered
    WAIT = "wait"  # nobody answers: it is sent again, and does not count
    LOST = "lost"  # nobody has answered for as long as the run waits


class Network:
    """What the requests of a run tell about the network.  All times are the loop's.

    patience: seconds to wait while nobody answers, infinite for ever.
    on_back: called with the seconds that this lasted, once somebody answers again.
    answered: whether anything has answered in this run; last_answer: when it last did.
    lost_since: since when nobody answers, None while somebody does.
    """

    __slots__ = ("_on_back", "_silent", "answered", "last_answer", "lost_since", "patience")

    def __init__(
        self,
        patience: float = DEFAULT_PATIENCE,
        on_back: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.patience = patience
        self._on_back = on_back
        self.answered = False
        self.last_answer = -math.inf
        self.lost_since: float | None = None
        self._silent: set[object] = set()

    def __repr__(self) -> str:
        state = "answers" if self.lost_since is None else f"lost since {self.lost_since:g}"
        return f"<Network {state}>"

    def answer(self, now: float) -> None:
        """Somebody answered."""
        self.answered = True
        self.last_answer = now
        if not self._silent:
            return
        self._silent.clear()
        lost_since, self.lost_since = self.lost_since, None
        if lost_since is not None:
            self._on_back(now - lost_since)

    def silence(self, asker: object, sent_at: float, now: float, *, connected: bool) -> Silence:
        """A request was not answered.

        asker: the window, or the account whose token it was to bring.  connected: the connection
        was open, so one asker alone may have met an error of its own.
        """
        if not self.answered or self.last_answer > sent_at:
            return Silence.COUNTS
        self._silent.add(asker)
        if connected and len(self._silent) == 1:
            return Silence.COUNTS
        if self.lost_since is None:
            self.lost_since = now
        if now - self.lost_since >= self.patience:
            return Silence.LOST
        return Silence.WAIT


def seconds_of(what: str, given: object) -> float:
    """A duration in seconds from a number of seconds or ``90s``, ``10m``, ``2h``, ``1d``.

    Raises `UsageError`.
    """
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < math.inf:
        return float(given)
    if isinstance(given, str):
        found = _DURATION.fullmatch(given.strip().lower())
        if found and found[2] in _UNITS and float(found[1]) > 0:
            return float(found[1]) * _UNITS[found[2]]
    raise UsageError(f"{what}: {given!r} is not a duration; write it as 90s, 10m or 2h")
