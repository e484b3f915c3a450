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
    """What goes wrong with the data requests.

    Shares of the answers, 0 to 1, that are: busy: -1; http_500: a 502; html: HTML; empty: without a
    body; cut: cut in the middle; slow: late by slow_seconds; control: with a raw control character;
    neighbours: with rows of the day before and after, of answers to a single day.
    reset: the share of connections that are reset.  first_busy: the first N answers of each account
    are -1.  revoke_every: tokens become invalid after N requests.
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
        """Whether anything can go wrong at all."""
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
