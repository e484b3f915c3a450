"""The daily quota of each interface over the accounts that are shown: calls sent and calls left.

Rule: counts what a ledger and an option state; a quota that is not stated stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harvester.base.dates import rfc3339
from harvester.ledger.base import Exhausted, Key


@dataclass(slots=True)
class InterfaceQuota:
    """The calls of one interface today (in China), over all accounts that are shown.

    daily: calls per day that one account may send, as ``--daily-quota`` states; None without it.
    used: calls sent, refused ones included.  used_up: accounts for which
    WeChat has refused calls since the quota began (45009), and until: the Unix time at which the
    last of these quotas is reset; 0 if there is none.
    """

    endpoint: str
    daily: int | None = None
    accounts: int = 0
    used: int = 0
    used_up: int = 0
    until: float = 0.0
    _known_left: int = 0

    @property
    def left(self) -> int | None:
        """Calls that all accounts together may still send today; None if it is not known.

        Without a stated quota it is known only if WeChat has refused each account.
        """
        known = self.daily is not None or self.used_up == self.accounts
        return self._known_left if known else None

    def add(self, calls: int, exhausted: Exhausted | None) -> None:
        self.accounts += 1
        self.used += calls
        if exhausted is not None:
            self.used_up += 1
            self.until = max(self.until, exhausted.until)
        elif self.daily is not None:
            self._known_left += max(self.daily - calls, 0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "accounts": self.accounts,
            "used": self.used,
            "daily_quota": self.daily,
            "left": self.left,
            "used_up": self.used_up,
            "until": rfc3339(self.until) if self.until else None,
        }


@dataclass
class Quotas:
    """What is known of all quotas; before, today: the calls of yesterday and today (in China)."""

    daily: int | None
    before: Mapping[Key, int]
    today: Mapping[Key, int]
    exhausted: Mapping[Key, Exhausted]

    def spent(self, key: Key) -> int:
        """Calls of today that count against the stated quota: all of it once WeChat refuses."""
        calls = self.today.get(key, 0)
        return max(calls, self.daily or 0) if key in self.exhausted else calls

    def pace(self, key: Key) -> int:
        return max(self.before.get(key, 0), self.today.get(key, 0))

    def count(self, key: Key, into: dict[str, InterfaceQuota]) -> None:
        name = key[1]
        if name not in into:
            into[name] = InterfaceQuota(name, self.daily)
        into[name].add(self.today.get(key, 0), self.exhausted.get(key))
