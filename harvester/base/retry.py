"""When a window is retried, by the kind and the number of failures.

Rule: decides, never sleeps.

"Full jitter": the delay is random between zero and a ceiling that doubles, so that windows which
failed together are not retried together.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from harvester.errors import UsageError


class Backoff(NamedTuple):
    """Ceilings of the delay in seconds: the first and the largest one."""

    base: float
    cap: float

    def ceiling(self, failures: int) -> float:
        """The longest delay after this number of failures (1 is the first)."""
        return min(self.cap, self.base * 2.0 ** min(failures - 1, 60))

    def delay(self, failures: int) -> float:
        return random.uniform(0.0, self.ceiling(failures))


BUSY = Backoff(base=1.0, cap=60.0)
"""The server answered that it is busy: WeChat asks to retry "in a few minutes"."""

UNREACHED = Backoff(base=0.25, cap=10.0)
"""No answer arrived, or half of one: this is usually over in a moment."""

AWAY = Backoff(base=0.25, cap=5.0)
"""A server that stores records does not answer: it may be restarting."""


def delay(failures: int, *, answered: bool) -> float:
    """Seconds until the next attempt; answered: whether the last one got an HTTP answer."""
    return (BUSY if answered else UNREACHED).delay(failures)


def check_count(what: str, given: object) -> int:
    """A whole number of at least 1, or `UsageError`."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UsageError("{}: {!r} is not a whole number of at least 1", what, given)
    return given
