"""The daily quota of one interface of one account: calls left and sent.

Rule: counts; never waits, never sends.
"""

from __future__ import annotations

import math

from harvester.base.dates import DAY, QUOTA_MARGIN, next_quota_day

NEVER = math.inf


class Budget:
    """Calls that may still be sent today (in China); infinite if no quota is given.

    spent: today; before: on the day before.
    limited: whether there is a quota; until: the Unix time at which the next one begins.
    sent: calls of this run; unbooked: those of them that the ledger does not know yet.

    The clock is trusted.  If it was set back over one midnight, the calls of the later day count as
    today's; if over more than one, nothing is left.
    """

    __slots__ = (
        "_before", "_daily", "_left", "_spent", "limited", "sent", "unbooked", "until",
    )  # fmt: skip

    def __init__(self, daily: int | None, spent: int, wall: float, before: int = 0) -> None:
        self._daily = NEVER if daily is None else daily
        self.limited = daily is not None
        self._left = self._daily - spent
        self._spent, self._before = spent, before
        self.until = next_quota_day(wall)
        self.sent = self.unbooked = 0

    def __repr__(self) -> str:
        return f"<Budget {self._left} left, {self.sent} sent>"

    def left(self, wall: float) -> float:
        if wall >= self.until:
            self._left = self._daily
            self._spent, self._before = 0, self._spent
            self.until = next_quota_day(wall)
        elif wall < self.until - DAY:
            known = wall >= self.until - 2 * DAY
            self._left = self._left - self._before if known else 0
            self._spent, self._before = self._spent + self._before, 0
            self.until = next_quota_day(wall)
        # Just after midnight a call may count as either day's: none is sent then.
        return self._left if wall < self.until - QUOTA_MARGIN else 0

    def is_used_up(self, wall: float) -> bool:
        return self.limited and self.left(wall) <= 0

    def spend(self, calls: int = 1) -> None:
        """Count calls that are sent; negative: they were not sent after all."""
        self.sent += calls
        self.unbooked += calls
        if self.limited:
            self._left -= calls
            self._spent += calls

    def take_unbooked(self) -> int:
        unbooked, self.unbooked = self.unbooked, 0
        return unbooked

    def learn(self, daily: int, left: int, wall: float) -> None:
        """Adopt WeChat's numbers for a day and for the rest of today; this never raises the quota.

        WeChat counts to about one percent, and other programs may spend calls, too.
        """
        self._left = min(self.left(wall), max(left, 0))
        self._daily = min(self._daily, max(daily, 0))
        self.limited = True
