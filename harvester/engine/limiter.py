"""How fast one account may send: a leaky bucket with an explicit burst, a gate, and a pause.

Rule: three conditions must hold before a request leaves; they are checked in the same step in which
it leaves, so that nothing can change in between:

- the bucket (aiolimiter) paces: ``burst`` at once, then one every period / count;
- the gate makes the promise exact.  A leaky bucket lets up to rate + burst - 1 requests into one
  period; the gate knows when the last ``count`` requests left and holds the next one until the
  oldest of them is a period ago;
- the pause, after WeChat asked to slow down, holds every request of the account, also those that
  queued before it; then the account sends more slowly, and recovers step by step.

A request is counted when it is granted.  It leaves in the next turn of the event loop, and counts
from then on: a turn can take long on a busy machine.  If a connection must be opened first, it
leaves later: then the count is reverted, and it is counted again when it leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import anyio
from aiolimiter import AsyncLimiter

from harvester.base.retry import check_count
from harvester.errors import UsageError
from harvester.texts import say

_PERIODS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "m": 60.0, "minute": 60.0,
            "h": 3600.0, "hour": 3600.0}  # fmt: skip
_SPEC = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([a-z]+)")
EXPECTED = say("a number above 0 with its unit, e.g. 10/s, 300/min or 2/h")

_ABSURD = 1e12

CATCH_UP = 0.02
"""Seconds of delay that are compensated: timers fire late by a millisecond or more, which without
compensation would lose a tenth of the rate at 100 a second."""

LOT = 0.001
"""Grants of this many seconds are taken from the bucket at once: no timer is finer than that."""

MARGIN = 0.004
MARGIN_SECONDS = 0.008
"""The gate's period is longer by this share, and by these seconds at the least, since a server
counts arrivals: on a busy machine one request takes some milliseconds more than the next.  At one
request a second that costs 0.8 percent of the rate; late timers may cost the rest of the one
percent that may remain unused."""


SLOWER = 0.5
SLOWEST = 1 / 64
FASTER = 1.25
RECOVERY = 60.0
"""After a refusal an account sends at half its rate, and a quarter faster after each minute without
another refusal: the real limits are not published, and are lower than those of quota/get."""

_GRAIN = 1e-6
"""The shortest wait: adding a shorter one to the loop's time may not change it."""


class Rate(NamedTuple):
    """A rate limit: at most ``requests`` requests in any period of ``period`` seconds."""

    requests: int
    period: float

    @property
    def per_second(self) -> float:
        """The average number of requests per second."""
        return self.requests / self.period

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "min", 3600.0: "h"}.get(self.period, say("{:g} s", self.period))
        return f"{self.requests}/{unit}"

    @classmethod
    def parse(cls, given: object) -> Rate:
        """Parse a rate with its unit: ``10/s``, ``600/min``, ``2/h``.

        If the number is not whole, the period is extended until the number is whole: 0.5/s becomes
        one request in two seconds, 2.5/s becomes five.  Raises `UsageError`, also if the unit is
        missing.
        """
        number, period = (given[0], given[1]) if isinstance(given, Rate) else _read_rate(given)
        if not (0 < number < math.inf and 0 < period < math.inf):
            raise UsageError("invalid rate {!r}: expected {}", given, say(EXPECTED))
        if number < 1:
            return cls(1, min(period / number, _ABSURD))
        whole = Fraction(number).limit_denominator(1000)
        return cls(whole.numerator, period * whole.numerator / number)


def _read_rate(given: object) -> tuple[float, float]:
    if isinstance(given, str):
        found = _SPEC.fullmatch(given.strip().lower())
        if found and found[2] in _PERIODS and float(found[1]) < _ABSURD:
            return float(found[1]), _PERIODS[found[2]]
    return math.nan, math.nan


class Limiter:
    """Decides when the next request of one account may leave.

    It belongs to one event loop; all times are the loop's.
    """

    __slots__ = (
        "_bucket",
        "_departures",
        "_door",
        "_gap",
        "_grows_at",
        "_in_hand",
        "_last",
        "_leaving",
        "_loop",
        "_lot",
        "_paused_until",
        "_waiting",
        "rate",
        "speed",
    )

    def __init__(self, rate: Rate, burst: int = 1) -> None:
        self.rate = rate
        burst = min(check_count("burst", burst), rate.requests)
        self._gap = rate.period + max(MARGIN * rate.period, MARGIN_SECONDS)
        self._lot = max(1, int(LOT * rate.per_second))
        self._in_hand = 0
        capacity = burst + CATCH_UP * rate.per_second  # more than a lot
        self._bucket = AsyncLimiter(capacity, capacity * self._gap / rate.requests)
        self._departures: deque[list[float]] = deque()  # each is one time, which can be set later
        self._leaving: list[list[float]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0
        self._door: asyncio.Lock | None = None  # most accounts never need it
        self._paused_until = -math.inf
        self._last = [-math.inf]
        self.speed = 1.0
        self._grows_at = math.inf

    def __repr__(self) -> str:
        return f"<Limiter {self.rate}, departures known: {len(self._departures)}>"

    def pause(self, seconds: float) -> bool:
        """Let nothing leave for some seconds; never shortens an earlier pause.

        Returns whether there was no pause before.
        """
        now = asyncio.get_running_loop().time()
        first = self._paused_until <= now
        self._paused_until = max(self._paused_until, now + seconds)
        return first

    def slow_down(self, now: float) -> float:
        """Send at half the rate from now on; returns the share of the rate that is left."""
        self.speed = max(self.speed * SLOWER, SLOWEST)
        self._grows_at = now + RECOVERY
        return self.speed

    def _slowed_until(self, now: float) -> float:
        """The loop's time from which a slowed account may send again; its rate recovers here."""
        while self._grows_at <= now:
            self.speed = min(self.speed * FASTER, 1.0)
            self._grows_at = self._grows_at + RECOVERY if self.speed < 1.0 else math.inf
        if self.speed == 1.0:
            return now
        return self._last[0] + self._gap / self.rate.requests / self.speed

    def ready(self, now: float) -> bool:
        """Whether a request may be granted now (the loop's time); waiting ones go first."""
        return not self._waiting and self._free(now)

    def _free(self, now: float) -> bool:
        if self.speed < 1.0 and self._slowed_until(now) > now:
            return False
        departures = self._departures
        return (
            self._paused_until <= now
            and (len(departures) < self.rate.requests or departures[0][0] <= now - self._gap)
            and (self._in_hand > 0 or self._bucket.has_capacity(self._lot))
        )

    def depart(self, now: float) -> None:
        """Count a request as sent; it must be `ready`, in the same step."""
        if not self._in_hand:
            with contextlib.suppress(StopIteration):  # the bucket has capacity, so it does not wait
                self._bucket.acquire(self._lot).send(None)
            self._in_hand = self._lot
        self._in_hand -= 1
        departures, horizon = self._departures, now - self._gap
        while departures and departures[0][0] <= horizon:
            departures.popleft()
        self._last = [now]
        departures.append(self._last)
        if not self._leaving:
            self._loop = self._loop or asyncio.get_running_loop()
            self._loop.call_soon(self._left)
        self._leaving.append(self._last)

    def _left(self) -> None:
        """What was counted in the last turn of the event loop leaves now."""
        assert self._loop is not None, "something was counted"
        now = self._loop.time()
        for departure in self._leaving:
            departure[0] = now
        self._leaving.clear()

    def taken(self) -> Callable[[], Awaitable[None]]:
        """The function that the last counted request awaits if it does not leave at once."""
        return partial(self._depart_anew, self._last)

    async def _depart_anew(self, counted: list[float]) -> None:
        self._in_hand += 1
        with contextlib.suppress(ValueError):  # it was counted more than a period ago
            self._departures.remove(counted)
        self._waiting += 1
        self._door = self._door or asyncio.Lock()
        try:
            async with self._door:  # in the order in which they came
                await self.acquire()
        finally:
            self._waiting -= 1

    def delay(self, now: float | None = None) -> float:
        """Seconds until the next request may be granted; 0 if it may now (the loop's time)."""
        now = asyncio.get_running_loop().time() if now is None else now
        wait = self._delay(now)
        if self._waiting:
            wait = max(wait, self._waiting * self._gap / self.rate.requests)
        return wait

    def _delay(self, now: float) -> float:
        if self._free(now):
            return 0.0
        wait = max(self._paused_until, self._slowed_until(now)) - now
        if len(self._departures) >= self.rate.requests:
            wait = max(wait, self._departures[0][0] + self._gap - now)
        if not self._in_hand and not self._bucket.has_capacity(self._lot):
            wait = max(wait, self._bucket_delay())
        wait = min(wait, self._grows_at - now)  # a slowed account recovers in the meantime
        return max(wait, _GRAIN)

    async def acquire(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._delay(loop.time())) > 0:  # noqa: ASYNC110  (a pause may have come)
            await anyio.sleep(wait)
        self.depart(loop.time())

    def _bucket_delay(self) -> float:
        """Seconds until the bucket has capacity, found by asking it: its level is private."""
        has_capacity = self._bucket.has_capacity
        low, high = 0.0, float(self._lot)
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if has_capacity(middle) else (low, middle)
        return (self._lot - low) * self._gap / self.rate.requests + 1e-9
