"""How fast one account may ask: a bucket with an explicit burst, a gate, and the pause.

Rule: three things must agree before a request leaves, and they are asked in one step with its
departure, so that nothing slips through between them:

- the bucket (aiolimiter) paces: ``burst`` at once, then one every period / count;
- the gate makes the promise exact.  A leaky bucket lets up to rate + burst - 1 requests into one
  period; the gate knows when the last ``count`` requests left and holds the next one until the
  oldest of them is a period ago;
- the pause, when WeChat said to slow down, holds everybody, those who queued before it included.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from fractions import Fraction
from typing import NamedTuple

import anyio
from aiolimiter import AsyncLimiter

from harvester.errors import UsageError
from harvester.retry import check_count

DEFAULT_RATE = "300/min"
"""WeChat publishes no minute limit, and the real ones are lower than quota/get says; 5 a second
finishes ten years of one account in a quarter of an hour."""

_PERIODS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "m": 60.0, "minute": 60.0,
            "h": 3600.0, "hour": 3600.0}  # fmt: skip
_SPEC = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*([a-z]+))?")

CATCH_UP = 0.02
"""Seconds of lateness that are made good: timers fire late by a millisecond or more, and a pace
that forgave each of them would lose a tenth of the rate at 100 a second."""

MARGIN = 0.004
"""The gate's period is longer by this share, since a server counts arrivals, not departures."""


_GRAIN = 1e-6
"""The shortest wait: a shorter one may vanish when it is added to the loop's time."""


class Rate(NamedTuple):
    """At most ``requests`` of them in any ``period`` seconds."""

    requests: int
    period: float

    @property
    def per_second(self) -> float:
        """Requests a second in the long run."""
        return self.requests / self.period

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "min", 3600.0: "h"}.get(self.period, f"{self.period:g} s")
        return f"{self.requests}/{unit}"

    @classmethod
    def parse(cls, given: object) -> Rate:
        """A rate from ``10/s``, ``600/min``, or a number of requests a second.

        A fractional number is counted over the shortest period that makes it whole: 0.5 is one in
        two seconds.  Raises `UsageError`.
        """
        if isinstance(given, Rate):
            return given
        count, period = _read_rate(given)
        if not (count > 0 and math.isfinite(count)):
            raise UsageError(f"rate: {given!r} is not above zero; write it as 10/s or 600/min")
        whole = Fraction(count).limit_denominator(1000)
        if not whole:
            raise UsageError(f"rate: {given!r} is too slow; write it as 1/h at the least")
        return cls(whole.numerator, period * whole.denominator)


def _read_rate(given: object) -> tuple[float, float]:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given), 1.0
    if isinstance(given, str):
        found = _SPEC.fullmatch(given.strip().lower())
        if found and (found[2] or "s") in _PERIODS:
            return float(found[1]), _PERIODS[found[2] or "s"]
    raise UsageError(f"rate: {given!r} is not a rate; write it as 10/s or 600/min")


class Limiter:
    """When the next request of one account may leave.

    It belongs to one event loop; its time is the loop's.
    """

    __slots__ = ("_bucket", "_departures", "_gap", "_paused_until", "rate")

    def __init__(self, rate: Rate, burst: int = 1) -> None:
        self.rate = rate
        burst = min(check_count("burst", burst), rate.requests)
        self._gap = rate.period * (1 + MARGIN)
        capacity = burst + CATCH_UP * rate.per_second
        self._bucket = AsyncLimiter(capacity, capacity * self._gap / rate.requests)
        self._departures: deque[float] = deque()
        self._paused_until = -math.inf

    def __repr__(self) -> str:
        return f"<Limiter {self.rate}, {len(self._departures)} in the last period>"

    def pause(self, seconds: float) -> bool:
        """Let nothing leave for so many seconds; never shortens an earlier pause.

        Gives whether nothing was paused before.
        """
        now = asyncio.get_running_loop().time()
        first = self._paused_until <= now
        self._paused_until = max(self._paused_until, now + seconds)
        return first

    def delay(self) -> float:
        """Seconds until the next request may leave; 0 if it may now."""
        now = asyncio.get_running_loop().time()
        wait = max(self._paused_until - now, self._gate_delay(now))
        if not self._bucket.has_capacity():
            wait = max(wait, self._bucket_delay())
        return max(wait, _GRAIN) if wait > 0 else 0.0

    async def acquire(self) -> None:
        """Wait until a request may leave and count it as gone.

        It does not give way to other tasks if `delay` is 0.
        """
        while (wait := self.delay()) > 0:  # noqa: ASYNC110  (a pause may have come meanwhile)
            await anyio.sleep(wait)
        await self._bucket.acquire()
        self._departures.append(asyncio.get_running_loop().time())

    def _gate_delay(self, now: float) -> float:
        departures, horizon = self._departures, now - self._gap
        while departures and departures[0] <= horizon:
            departures.popleft()
        if len(departures) < self.rate.requests:
            return 0.0
        return departures[0] - horizon

    def _bucket_delay(self) -> float:
        """How long the bucket takes to have room, found by asking it: its level is its own."""
        has_capacity = self._bucket.has_capacity
        low, high = 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if has_capacity(middle) else (low, middle)
        return (1.0 - low) * self._gap / self.rate.requests + 1e-9
