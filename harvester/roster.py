"""From what was asked for, less what is done, to the lanes of a run.

Rule: reads the ledger and counts; sends nothing and starts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from harvester.auth import Send, SharedToken, shared_token
from harvester.endpoint import Endpoint, grid
from harvester.lane import Budget, Lane, Track
from harvester.ledger import Key, Ledger
from harvester.limiter import Limiter, Rate
from harvester.plan import (
    ONE_DAY,
    Days,
    both,
    china,
    last_legal_day,
    last_settled_day,
)
from harvester.scope import Options, Scope


class Roster(NamedTuple):
    """The lanes of a run.

    planned, skipped: windows that are asked for, and those of them that are done already.
    unsettled: windows whose figures cannot be asked for yet; no track has them.
    """

    lanes: list[Lane]
    planned: int
    skipped: int
    unsettled: list[tuple[Track, Days]]


class _Share(NamedTuple):
    """What one interface of one account has to do."""

    track: Track
    planned: int
    skipped: int
    unsettled: list[Days]


async def muster(
    scope: Scope,
    options: Options,
    ledger: Ledger | None,
    sinks: Sequence[str],
    send: Send,
    wall: float,
    clock: Callable[[], float] = time.time,
) -> Roster:
    """The lanes: one an account, in it a track an interface (wall: the Unix time by clock)."""
    replaces = options.refresh or len(sinks) > 1
    done = {} if ledger is None or options.refresh else await covered(ledger, sinks)
    spent = await ledger.spent(china(wall).date()) if ledger is not None else {}
    roster = Roster([], 0, 0, [])
    for appid, provider in scope.accounts.items():
        shares = []
        for endpoint in scope.endpoints:
            key = (appid, endpoint.name)
            budget = Budget(options.daily_quota, spent.get(key, 0), wall)
            days = scope.range_of(endpoint)
            shares.append(_share(key, endpoint, days, done.get(key, []), budget, wall, replaces))
        roster = roster._replace(
            planned=roster.planned + sum(share.planned for share in shares),
            skipped=roster.skipped + sum(share.skipped for share in shares),
        )
        token = shared_token(appid, provider, send, scope.store, clock)
        roster.lanes.append(_lane(token, options, [s.track for s in shares]))
        roster.unsettled.extend((s.track, days) for s in shares for days in s.unsettled)
    return roster


async def covered(ledger: Ledger, sinks: Sequence[str]) -> dict[Key, list[Days]]:
    """What every one of the sinks has, so that it need not be asked for."""
    found = [await ledger.done(name) for name in sinks]
    common = found[0] if found else {}
    for other in found[1:]:
        common = {key: both(days, other.get(key, [])) for key, days in common.items()}
    return common


def _share(
    key: Key,
    endpoint: Endpoint,
    days: Days,
    done: list[Days],
    budget: Budget,
    wall: float,
    replaces: bool,
) -> _Share:
    cut = grid(endpoint, last_legal_day(wall))
    if replaces:  # whole windows only: one that is stored is replaced as a whole
        days = cut.whole(days)
        done = cut.whole_only(done)
    begin, end = days
    left = cut.count(begin, end, done)
    planned = max(left, cut.count(begin, end))
    settled = min(end, last_settled_day(wall, endpoint.settled_hour))
    new = cut.windows(begin, settled, done)
    track = Track(key[0], endpoint, new, budget, replaces=replaces)
    unsettled = cut.windows(max(begin, settled + ONE_DAY), end, done)
    return _Share(track, planned, planned - left, list(unsettled))


def _lane(token: SharedToken, options: Options, tracks: list[Track]) -> Lane:
    return Lane(token.appid, token, Limiter(Rate.parse(options.rate), options.burst), tracks)
