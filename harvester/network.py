"""Tells a single request that fails from a network that is lost.

Rule: decides from past events; never waits, never sends.

While no server answers, failed requests do not count as attempts, and one request every few seconds
finds out whether a server answers again.  This holds only after a server has answered in this run;
before that, attempts count, so that a mistyped base URL fails at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

PROBE_EVERY = 3.0
"""Seconds between two requests that are sent while no server answers."""


class Silence(Enum):
    """What an unanswered request means."""

    COUNTS = "counts"  # this request failed; others are answered
    WAIT = "wait"  # no server answers: it is sent again, and does not count
    LOST = "lost"  # no server has answered for as long as the run waits


class Network:
    """The state of the network as the requests of a run show it.  All times are the loop's.

    patience: seconds to wait while no server answers, may be infinite.
    on_back: called with the seconds that this lasted, once a server answers again.
    answered: whether a server has answered in this run; last_answer: when it last did.
    lost_since: since when no server answers, None while one does.
    """

    __slots__ = ("_on_back", "_silent", "answered", "last_answer", "lost_since", "patience")

    def __init__(
        self,
        patience: float = math.inf,
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
        """A server answered."""
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

        asker: the window, or the account whose token was requested.  connected: the connection was
        open, so the failure may concern this request only.
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
