"""What was asked for, and how.

Rule: values, checked when they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from harvester.auth import TokenProvider
from harvester.endpoint import Endpoint
from harvester.limiter import DEFAULT_RATE, Rate
from harvester.plan import Days
from harvester.retry import DEFAULT_ATTEMPTS, check_attempts, check_count

if TYPE_CHECKING:
    from harvester.stores.base import TokenStore

DEFAULT_CONCURRENCY = 64


@dataclass(frozen=True)
class Options:
    """How a run behaves.

    rate: requests leaving for one account; burst: so many may leave together.
    concurrency: requests in flight over all accounts.
    attempts: how often a window is tried before it has failed.
    daily_quota: calls a day (in China) of one interface of one account; None: until WeChat says so.
    wait: sleep through quota resets and unready figures instead of ending.
    refresh: harvest again what is already done.
    """

    rate: Rate | str | float = DEFAULT_RATE
    burst: int = 1
    concurrency: int = DEFAULT_CONCURRENCY
    attempts: int = DEFAULT_ATTEMPTS
    daily_quota: int | None = None
    wait: bool = False
    refresh: bool = False

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value that cannot be."""
        Rate.parse(self.rate)
        check_count("burst", self.burst)
        check_count("concurrency", self.concurrency)
        check_attempts(self.attempts)
        if self.daily_quota is not None:
            check_count("daily quota", self.daily_quota)


@dataclass(frozen=True)
class Scope:
    """What is asked for: accounts (by appid, each with its token provider), interfaces, days.

    store: where the accounts' tokens are shared, None if they are not.
    """

    accounts: dict[str, TokenProvider]
    endpoints: tuple[Endpoint, ...]
    begin: date
    end: date
    store: TokenStore | None = None

    def range_of(self, endpoint: Endpoint) -> Days:
        """The days that an interface has of the range."""
        return max(self.begin, endpoint.first_day), self.end
