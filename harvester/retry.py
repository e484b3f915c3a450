"""Whether a window is tried again, and when: a table over what happened and how often.

Rule: decides, never sleeps.

"Full jitter": the delay is drawn evenly between nothing and a ceiling that doubles, so that
windows which failed together do not come back together.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from harvester.errors import UsageError


class Backoff(NamedTuple):
    """Ceilings of the delay in seconds: the first one, and the one it never passes."""

    base: float
    cap: float

    def ceiling(self, failures: int) -> float:
        """The longest delay after so many failures (1 is the first)."""
        return min(self.cap, self.base * 2.0 ** min(failures - 1, 60))

    def delay(self, failures: int) -> float:
        """A delay in seconds after so many failures."""
        return random.uniform(0.0, self.ceiling(failures))


BUSY = Backoff(base=1.0, cap=60.0)
"""The server answered that it is busy: WeChat asks to come again "in a few minutes"."""

UNREACHED = Backoff(base=0.25, cap=10.0)
"""No answer came, or half of one: mostly over in a moment."""

AWAY = Backoff(base=0.25, cap=5.0)
"""A server that stores what was harvested does not answer: it is being started again."""


def delay(failures: int, attempts: int, *, answered: bool) -> float | None:
    """Seconds until the next attempt, or None if that was the last one.

    failures: attempts that failed so far; answered: whether the last one got an HTTP answer.
    """
    if failures >= attempts:
        return None
    return (BUSY if answered else UNREACHED).delay(failures)


def check_count(what: str, given: object) -> int:
    """A whole number of at least 1, or `UsageError`."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UsageError(f"{what}: {given!r} is not a whole number of at least 1")
    return given
