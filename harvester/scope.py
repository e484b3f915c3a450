"""What was asked for, and how.

Rule: values, checked when they are made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from harvester.auth import TokenProvider
from harvester.endpoint import Endpoint, grid
from harvester.errors import UsageError
from harvester.limiter import DEFAULT_RATE, Rate
from harvester.network import DEFAULT_PATIENCE, seconds_of
from harvester.plan import Cut, Days, either, recent_days
from harvester.retry import DEFAULT_ATTEMPTS, check_attempts, check_count

if TYPE_CHECKING:
    from harvester.stores.base import TokenStore

DEFAULT_CONCURRENCY = 64
ORDERS = ("newest", "oldest")
KINDS = {
    Cut.DAYS: "any days",
    Cut.WEEK: "whole weeks, Monday to Sunday,",
    Cut.MONTH: "whole calendar months",
}


def _kind(endpoint: Endpoint) -> str:
    """What windows an interface takes."""
    if endpoint.cut is not Cut.RECENT:
        return KINDS[endpoint.cut]
    numbers = [str(number) for number in sorted(recent_days(endpoint.span))]
    return f"{either(numbers)} days that end yesterday" if len(numbers) > 1 else "yesterday"


@dataclass(frozen=True)
class Options:
    """How a run behaves.

    rate: requests leaving for one account; burst: so many may leave together.
    concurrency: requests in flight over all accounts.
    attempts: how often a window is tried before it has failed.
    patience: how long a run waits while nobody answers, once something has; for ever under wait.
    account_concurrency: requests in flight of one account; None: an equal part of all.
    daily_quota: calls a day (in China) of one interface of one account; None: until WeChat says so.
    ask_quota: ask WeChat what is left of a day, once for each interface of each account.
    reserve: calls of a day that are left to the account's other programs.
    order: ``newest``: yesterday first, then what can still change, then the past, newest first;
        ``oldest``: from the first day to the last.
    wait: sleep through quota resets and unready figures instead of ending.
    refresh: harvest again what is already done.
    """

    rate: Rate | str | float = DEFAULT_RATE
    burst: int = 1
    concurrency: int = DEFAULT_CONCURRENCY
    attempts: int = DEFAULT_ATTEMPTS
    patience: str | float = DEFAULT_PATIENCE
    account_concurrency: int | None = None
    daily_quota: int | None = None
    ask_quota: bool = False
    reserve: int = 0
    order: str = "newest"
    wait: bool = False
    refresh: bool = False

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value that cannot be."""
        Rate.parse(self.rate)
        check_count("burst", self.burst)
        check_count("concurrency", self.concurrency)
        check_attempts(self.attempts)
        seconds_of("patience", self.patience)
        if self.account_concurrency is not None:
            check_count("account concurrency", self.account_concurrency)
        if self.daily_quota is not None:
            check_count("daily quota", self.daily_quota)
        if self.order not in ORDERS:
            raise UsageError(f"order: {self.order!r} is not one of {', '.join(ORDERS)}")
        self._check_reserve()

    def _check_reserve(self) -> None:
        if self.reserve == 0 and not isinstance(self.reserve, bool):
            return
        check_count("reserve", self.reserve)
        if self.daily_quota is None and not self.ask_quota:
            raise UsageError("reserve: of how many calls? give a daily quota, or ask for it")
        if self.daily_quota is not None and self.reserve >= self.daily_quota:
            raise UsageError(
                f"reserve: {self.reserve:,} leaves nothing of a daily quota of {self.daily_quota:,}"
            )

    @property
    def daily_budget(self) -> int | None:
        """Calls a day that may be spent, if that is known before WeChat is asked."""
        return None if self.daily_quota is None else self.daily_quota - self.reserve


@dataclass(frozen=True)
class Scope:
    """What is asked for: accounts (by appid, each with its token provider), interfaces, days.

    notes: what of it is left out or cut, a sentence each.
    store: where the accounts' tokens are shared, None if they are not.
    caps: requests in flight of an account, of those that have a cap of their own.
    """

    accounts: dict[str, TokenProvider]
    endpoints: tuple[Endpoint, ...]
    begin: date
    end: date
    notes: tuple[str, ...] = ()
    store: TokenStore | None = None
    caps: Mapping[str, int] = field(default_factory=dict)

    def range_of(self, endpoint: Endpoint) -> Days | None:
        """The days that an interface has of the range, or None if it has none."""
        begin = max(self.begin, endpoint.first_day)
        return (begin, self.end) if begin <= self.end else None

    def checked(self, last: date) -> Scope:
        """The same with its notes; last: the last day that can be asked for.

        Raises `UsageError` if no window of any interface fits into the range.
        """
        later: defaultdict[date, list[str]] = defaultdict(list)
        without = []
        for endpoint in self.endpoints:
            if note := self._why_none(endpoint, last):
                without.append(note)
            elif endpoint.first_day > self.begin:
                later[endpoint.first_day].append(endpoint.name)
        if len(without) == len(self.endpoints):
            raise UsageError("; ".join(without))
        begins = [
            f"{', '.join(names)}: from {first} on, there is nothing before"
            for first, names in sorted(later.items())
        ]
        return replace(self, notes=(*self.notes, *begins, *without))

    def _why_none(self, endpoint: Endpoint, last: date) -> str:
        """Why an interface has nothing in the range; empty if it has."""
        days = self.range_of(endpoint)
        if days is None:
            return f"{endpoint.name} has no data before {endpoint.first_day}"
        cut = grid(endpoint, last)
        if not cut.count(*days):
            return (
                f"{endpoint.name} takes {_kind(endpoint)} only, and none lies in"
                f" {days[0]} to {days[1]}; {cut.nearest(days[0])} would do"
            )
        return ""
