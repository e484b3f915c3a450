"""The request of a run: what to harvest.

Rule: values, checked when they are made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

from harvester.base.dates import Days, WindowKind, either, recent_days
from harvester.errors import UsageError
from harvester.model import NAMES, Endpoint, TokenProvider, listed
from harvester.texts import joined, say
from harvester.wechat.endpoint import grid

if TYPE_CHECKING:
    from harvester.tokens.stores.base import TokenStore

KINDS = {
    WindowKind.DAYS: say("any days"),
    WindowKind.WEEK: say("whole weeks, Monday to Sunday,"),
    WindowKind.MONTH: say("whole calendar months"),
}


def _kind(endpoint: Endpoint) -> str:
    if endpoint.cut is not WindowKind.RECENT:
        return KINDS[endpoint.cut]
    numbers = [str(number) for number in sorted(recent_days(endpoint.span))]
    return say("{} days that end yesterday", either(numbers)) if len(numbers) > 1 else "yesterday"


@dataclass(frozen=True)
class Scope:
    """The request of a run: accounts (by appid, each with its token provider), interfaces, days.

    notes: a sentence for each part that is left out.
    last: the last day that can be requested; follows: the end was given as yesterday, so that
    interfaces of recent days end on that day as of the planning of the run.
    caps: the most requests in flight of accounts that have a limit of their own.
    """

    accounts: dict[str, TokenProvider]
    endpoints: tuple[Endpoint, ...]
    begin: date
    end: date
    notes: tuple[str, ...] = ()
    store: TokenStore | None = None
    caps: Mapping[str, int] = field(default_factory=dict)
    last: date | None = None
    follows: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def only(self, appids: Collection[str]) -> Scope:
        return replace(self, accounts={appid: self.accounts[appid] for appid in appids})

    @property
    def fingerprint(self) -> str:
        """A name that is the same for all runs with the same request."""
        names = sorted(endpoint.name for endpoint in self.endpoints)
        text = "\n".join([*sorted(self.accounts), *names, str(self.begin), str(self.end)])
        return sha256(text.encode(errors="replace")).hexdigest()[:32]

    def range_of(self, endpoint: Endpoint) -> Days | None:
        begin, end = self.begin, self.end
        if self.follows and self.last is not None and endpoint.cut is WindowKind.RECENT:
            begin, end = begin + (self.last - end), self.last
        begin = max(begin, endpoint.first_day)
        return (begin, end) if begin <= end else None

    def on(self, last: date) -> Scope:
        """The same, planned when another day is the last that can be requested.

        Raises `UsageError` if no window of any interface fits any more.
        """
        if self.last is None or last == self.last:
            return replace(self, last=last)
        return replace(self, last=last)._checked(last, [])

    def checked(self, last: date, *, from_first: bool = False) -> Scope:
        """The same with notes; last: the last day that can be requested.

        from_first: whether each interface was asked for from its first day on.

        Raises `UsageError` if no window of any interface fits into the range.
        """
        later: defaultdict[date, list[str]] = defaultdict(list)
        for endpoint in self.endpoints:
            if self.end >= endpoint.first_day > self.begin and not from_first:
                later[endpoint.first_day].append(endpoint.name)
        begins = [
            say(
                "{}: starts on {}, because there is no older data",
                listed(names, "interface"),
                first,
            )
            for first, names in sorted(later.items())
        ]
        return replace(self, last=last)._checked(last, begins)

    def _checked(self, last: date, notes: Sequence[str]) -> Scope:
        """The same with more notes, and one for each interface of which no window fits."""
        by_first_day = sorted(self.endpoints, key=lambda each: each.first_day)
        without = [note for each in by_first_day if (note := self._why_none(each, last))]
        if len(without) == len(self.endpoints):
            early = any(self.range_of(each) is None for each in self.endpoints)
            hint = say("; with --start first, each interface begins at its first day")
            more = len(without) - NAMES
            shown = [*without[:NAMES], *([say("and {:,} more", more)] if more > 0 else [])]
            raise UsageError(joined("; ", shown) + (hint if early else ""))
        return replace(self, notes=tuple(dict.fromkeys([*self.notes, *notes, *without])))

    def _why_none(self, endpoint: Endpoint, last: date) -> str:
        days = self.range_of(endpoint)
        if days is None:
            return say("{} has no data before {}", endpoint.name, endpoint.first_day)
        cut = grid(endpoint, last)
        if not cut.count(*days):
            return say(
                "{} accepts only {}; {} to {} contains none; an example is {}",
                endpoint.name,
                _kind(endpoint),
                days[0],
                days[1],
                cut.nearest(days[0]),
            )
        return ""
