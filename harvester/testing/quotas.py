"""How many calls an account may make, each minute and each day.

Rule: counts, and returns the errcode that refuses a call; a day is one in China.

As chosen here, since it is not documented, the minute limit counts any sixty seconds, the strictest
reading.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from harvester.base.dates import china

UNLIMITED = 10_000_000
CHINA_AHEAD = 8 * 3600
CLEARS_A_MONTH = 10
"""How often an account's calls can be cleared in a month, in whichever way."""
MINUTE_TOLD = 2
"""The factor by which the calls a minute of quota/get exceed what WeChat accepts."""


class Quotas:
    """The counters of all accounts.

    daily: calls of one account, interface and day; by the interface's name, or one for all.
    minute: (calls, seconds) of one account, all interfaces together.
    """

    def __init__(
        self, daily: int | Mapping[str, int] | None, minute: tuple[int, float] | None
    ) -> None:
        self.daily = daily
        self._minute = minute
        self.departures: defaultdict[str, deque[float]] = defaultdict(deque)
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self._clears: Counter[tuple[str, int, int]] = Counter()

    def refusal(self, appid: str, name: str, now: float) -> int:
        """Count a call; returns the errcode that refuses it, or 0."""
        if self._minute is not None:
            calls, period = self._minute
            recent = self.departures[appid]
            while recent and recent[0] <= now - period:
                recent.popleft()
            if len(recent) >= calls:
                return 45011
            recent.append(now)
        key = appid, name, _day(now)
        if self._calls[key] >= self.limit(name):
            return 45009
        self._calls[key] += 1
        return 0

    def clear(self, appid: str, now: float) -> bool:
        """Forget the calls of an account today; False if this month's clears are used up."""
        moment, today = china(now), _day(now)
        month = appid, moment.year, moment.month
        if self._clears[month] >= CLEARS_A_MONTH:
            return False
        self._clears[month] += 1
        for key in [key for key in self._calls if key[0] == appid and key[2] == today]:
            del self._calls[key]
        return True

    def limit(self, name: str) -> int:
        """How many calls of an interface, or of any other path, a day has."""
        if isinstance(self.daily, int):
            return self.daily
        return (self.daily or {}).get(name, UNLIMITED)

    def answer(self, appid: str, names: list[str], now: float) -> dict[str, Any]:
        """The answer of quota/get for a path; if interfaces share it, for the busiest."""
        today = _day(now)
        left = {name: self.limit(name) - self._calls[appid, name, today] for name in names}
        name = min(left, key=left.__getitem__)
        calls, period = self._minute or (UNLIMITED // MINUTE_TOLD, 60.0)
        rate = {"call_count": calls * MINUTE_TOLD, "refresh_second": int(period) or 1}
        return {
            "quota": {
                "daily_limit": self.limit(name),
                "used": self.limit(name) - left[name],
                "remain": left[name],
            },
            "rate_limit": rate,
            "component_rate_limit": dict(rate),
        }


def _day(now: float) -> int:
    """The day in China, as a number that is computed fast: each call is counted."""
    return int((now + CHINA_AHEAD) // 86400)
