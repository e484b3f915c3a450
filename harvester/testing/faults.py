"""Faults on request.

Rule: shares and counts, and the reply that a fault returns instead of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random

from harvester.testing.replies import Desk, Reply


@dataclass
class Faults:
    """The faults of data requests.

    These are shares of all answers, 0 to 1.  busy: errcode -1; http_500: HTTP status 502; html: an
    HTML page; empty: an empty body; cut: cut in the middle; slow: late by slow_seconds; control: a
    raw control character; neighbours: an answer for a single day also has rows of the day before
    and the day after.
    reset: the share of connections that are reset.
    first_busy: the first N answers of each account have errcode -1.
    revoke_every: tokens become invalid after N requests.
    """

    busy: float = 0.0
    first_busy: int = 0
    http_500: float = 0.0
    html: float = 0.0
    empty: float = 0.0
    cut: float = 0.0
    reset: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 5.0
    revoke_every: int = 0
    control: float = 0.0
    neighbours: float = 0.0

    @property
    def any(self) -> bool:
        """Whether any fault can occur."""
        return any([getattr(self, name) for name in _NAMES])


_NAMES = tuple(each.name for each in fields(Faults) if each.name != "slow_seconds")


def drawn(faults: Faults, draw: Random, desk: Desk) -> Reply | None:
    """What goes wrong this time, if anything does: a reply, or its delay and fault alone."""
    number = draw.random()
    kinds: tuple[tuple[float, Callable[[], Reply]], ...] = (
        (faults.busy, lambda: desk.error(-1)),
        (faults.http_500, lambda: Reply(502, b"<html>bad gateway</html>")),
        (faults.html, lambda: Reply(200, b"<!DOCTYPE html><html><body>hello</body></html>")),
        (faults.empty, lambda: Reply(200, b"")),
        (faults.reset, lambda: Reply(200, b"", fault="reset")),
        (faults.cut, lambda: Reply(200, b"", fault="cut")),
        (faults.slow, lambda: Reply(200, b"", delay=faults.slow_seconds)),
    )
    for share, make in kinds:
        if number < share:
            desk.counts["faults"] += 1
            return make()
        number -= share
    return None
