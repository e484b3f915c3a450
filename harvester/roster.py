"""From what was asked for, less what is done, to the lanes of a run.

Rule: reads the ledger and counts; sends nothing and starts nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import dropwhile, takewhile
from typing import NamedTuple

from harvester.auth import Send, shared_token
from harvester.endpoint import Endpoint, grid
from harvester.errors import UsageError
from harvester.lane import NEVER, Budget, Lane, Share, Span, Track, Try
from harvester.ledger import Cutting, Exhausted, Key, Ledger
from harvester.limiter import Limiter, Rate
from harvester.model import HELD, Window
from harvester.plan import (
    ONE_DAY,
    Cut,
    Days,
    Grid,
    both,
    days_in,
    gaps,
    last_legal_day,
    last_settled_day,
    number_of_pieces,
    quota_day,
    without,
)
from harvester.scope import Scope
from harvester.settings import Options


class Roster(NamedTuple):
    """The lanes of a run.

    planned, skipped: windows that are asked for, and those of them that are done already.
    unsettled: windows whose figures cannot be asked for yet; no track has them.
    share: of what may be in flight, one account's.
    exhausted: tracks whose quota was spent before this run, and since when.
    cuttings: how windows are cut from now on, to be remembered before the first one is asked for.
    """

    lanes: list[Lane]
    planned: int
    skipped: int
    unsettled: list[tuple[Track, Try]]
    share: Share
    exhausted: list[tuple[Track, Exhausted]]
    cuttings: list[Cutting]


class Known(NamedTuple):
    """What the ledger knows that a plan needs.

    done: days that every sink has, final or not; stored: days that any of them has.
    provisional: windows whose figures can still change, and that are due.
    spent, before: calls of today and of yesterday; exhausted: quotas that are spent; spans: the
    longest windows that WeChat took.
    grids: how what is stored was cut (`Grid.kept`), by interface.
    """

    done: Mapping[Key, list[Days]] = {}
    stored: Mapping[Key, list[Days]] = {}
    provisional: Mapping[Key, set[Days]] = {}
    spent: Mapping[Key, int] = {}
    before: Mapping[Key, int] = {}
    spans: Mapping[str, int] = {}
    exhausted: Mapping[Key, Exhausted] = {}
    grids: Mapping[str, set[str]] = {}

    def knows(self, key: Key) -> bool:
        """Whether anything of this interface of this account was ever stored."""
        return key in self.done or key in self.stored or key in self.provisional


class Need(NamedTuple):
    """What one interface of one account needs.

    days: the range; done: what of it need not be asked for; again: its windows that are stored and
    provisional, newest first; planned, left: windows in all, and those to be asked for; calls:
    requests that these take.
    """

    days: Days
    done: list[Days]
    again: list[Days]
    planned: int
    left: int
    calls: int


async def known(
    ledger: Ledger | None,
    sinks: Sequence[str],
    wall: float,
    standing: Mapping[Key, list[Days]] | None = None,
) -> Known:
    """What a plan needs of the ledger (wall: the Unix time).

    standing: what stands in the sinks, and the ledger knows nothing of.
    """
    if ledger is None:
        return Known(stored=standing or {})
    today = quota_day(wall)
    by_sink = [await ledger.done(name) for name in sinks]
    return Known(
        _in_all(by_sink),
        _in_any([*by_sink, standing] if standing else by_sink),
        await _provisional(ledger, sinks, wall),
        await ledger.spent(today),
        await ledger.spent(today - ONE_DAY),
        await ledger.spans(),
        await ledger.exhausted(wall),
        await _grids(ledger, sinks, by_sink),
    )


async def _grids(
    ledger: Ledger, sinks: Sequence[str], by_sink: Sequence[Mapping[Key, list[Days]]]
) -> dict[str, set[str]]:
    """How the windows were ever cut of which something is stored."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, done in zip(sinks, by_sink, strict=True):
        stored = {endpoint for _, endpoint in done}
        for endpoint, kept in (await ledger.grids(name)).items():
            if endpoint in stored:
                found[endpoint] |= kept
    return found


def _in_all(by_sink: Sequence[Mapping[Key, list[Days]]]) -> Mapping[Key, list[Days]]:
    common = by_sink[0] if by_sink else {}
    for other in by_sink[1:]:
        common = {key: both(days, other.get(key, [])) for key, days in common.items()}
    return common


def _in_any(by_sink: Sequence[Mapping[Key, list[Days]]]) -> Mapping[Key, list[Days]]:
    """Not merged: it is only asked what of some days is there."""
    if len(by_sink) == 1:
        return by_sink[0]
    found: defaultdict[Key, list[Days]] = defaultdict(list)
    for one in by_sink:
        for key, days in one.items():
            found[key] += days
    return {key: sorted(days) for key, days in found.items()}


async def _provisional(ledger: Ledger, sinks: Sequence[str], wall: float) -> dict[Key, set[Days]]:
    """The windows that any of the sinks has with figures that can still change, and that are due.

    One that is due later than a whole wait from now was stored by a clock that was ahead.
    """
    found: defaultdict[Key, set[Days]] = defaultdict(set)
    for name in sinks:
        for key, windows in (await ledger.provisional(name)).items():
            due = [days for days, young in windows.items() if not wall < young.due <= wall + HELD]
            if due:
                found[key].update(due)
    return found


def needed(cut: Grid, days: Days, key: Key, has: Known, *, replaces: bool, refresh: bool) -> Need:
    """What is to be asked for of a range."""
    done = [] if refresh else has.done.get(key, [])
    if replaces:  # whole windows only: one that is stored is replaced as a whole
        days = cut.widened(days, has.stored.get(key, []))
        done = cut.whole_only(days, done)
    begin, end = days
    again: list[Days] = []
    if not refresh and not replaces:
        again = [
            window
            for window in sorted(has.provisional.get(key, ()), reverse=True)
            if window[0] <= end and begin <= window[1] and _can_be_asked(cut, window)
        ]
    elif not refresh:
        done = cut.whole_only(days, without(done, sorted(has.provisional.get(key, ()))))
    longest = has.spans.get(key[1], NEVER)
    calls = cut.calls(begin, end, done, longest)
    again_calls = sum(number_of_pieces(days_in(window), longest) for window in again)
    whole = NEVER if replaces else longest  # one that is replaced stays one, whatever it takes
    left = cut.calls(begin, end, done, whole) + len(again)
    planned = max(left, cut.calls(begin, end, (), whole))
    return Need(days, done, again, planned, left, calls + again_calls)


def _can_be_asked(cut: Grid, window: Days) -> bool:
    return cut.cut is not Cut.RECENT or window[1] == cut.last


async def muster(
    scope: Scope,
    options: Options,
    ledger: Ledger | None,
    sinks: Sequence[str],
    send: Send,
    wall: float,
    clock: Callable[[], float] = time.time,
    standing: Mapping[Key, list[Days]] | None = None,
) -> Roster:
    """The lanes: one an account, in it a track an interface (wall: the Unix time by clock)."""
    has = await known(ledger, sinks, wall, standing)
    replaces = options.refresh or len(sinks) > 1 or bool(standing)
    spans = {each.name: Span(has.spans.get(each.name, NEVER)) for each in scope.endpoints}
    share = Share(options.concurrency, options.account_concurrency or options.concurrency)
    cuttings = _cuttings(scope, sinks, has, last_legal_day(wall))
    roster = Roster([], 0, 0, [], share, [], cuttings)
    last = last_legal_day(wall)
    settled = {
        endpoint.name: last_settled_day(wall, endpoint.settled_hour) for endpoint in scope.endpoints
    }
    rate = Rate.parse(options.rate)
    untouched: dict[str, Need] = {}  # accounts of which nothing is stored all need the same
    for appid, provider in scope.accounts.items():
        tracks: list[Track] = []
        for endpoint in scope.endpoints:
            days = scope.range_of(endpoint)
            if days is None:
                continue
            key, cut = (appid, endpoint.name), grid(endpoint, last)
            need = None if has.knows(key) else untouched.get(endpoint.name)
            if need is None:
                need = needed(cut, days, key, has, replaces=replaces, refresh=options.refresh)
                _check_cut(cut, key, need, has, (standing or {}).get(key, ()), replaces=replaces)
                if not has.knows(key):
                    untouched[endpoint.name] = need
            spent, before = has.spent.get(key, 0), has.before.get(key, 0)
            booked = NEVER if ledger is None else 0.0
            budget = Budget(options.daily_budget, spent, wall, before, booked)
            until = min(need.days[1], settled[endpoint.name])
            planner = _Planner(appid, endpoint, cut, need, options.order, until)
            track = planner.track(budget, spans[endpoint.name], replaces, options.ask_quota)
            tracks.append(track)
            if key in has.exhausted:
                roster.exhausted.append((track, has.exhausted[key]))
            if need.again or need.days[1] > until:
                roster.unsettled.extend((track, late) for late in planner.unsettled(replaces))
            roster = roster._replace(
                planned=roster.planned + need.planned,
                skipped=roster.skipped + need.planned - need.left,
            )
        token = shared_token(appid, provider, send, scope.store, clock)
        cap = scope.caps.get(appid, NEVER)
        limiter = Limiter(rate, options.burst)
        roster.lanes.append(Lane(token.appid, token, limiter, tracks, share, cap))
    return roster


def _cuttings(scope: Scope, sinks: Sequence[str], has: Known, last: date) -> list[Cutting]:
    stored = {name for _, name in has.stored}
    return [
        Cutting(sink, endpoint.name, grid(endpoint, last).kept, endpoint.name not in stored)
        for sink in sinks
        for endpoint in scope.endpoints
        if scope.range_of(endpoint) is not None
    ]


def _check_cut(
    cut: Grid, key: Key, need: Need, has: Known, standing: Sequence[Days], *, replaces: bool
) -> None:
    """Raise `UsageError` if windows would be asked for that cut stored ones in two.

    standing: windows that a sink has and the ledger does not know.
    """
    asked = list(gaps(*need.days, need.done))
    kept = has.grids.get(key[1], set())
    kinds = all(map(cut.is_of_its_kind, kept))
    if not kinds or (replaces and not all(map(cut.takes_in, kept))):
        stored: Sequence[Days] = has.stored.get(key, [])
    else:
        stored = [days for days in standing if not cut.holds(days)]
    if common := both(asked, stored):
        appid, name = key
        raise UsageError(
            f"{name}: what is stored of {appid} from {common[0][0]} on was asked for in other"
            " windows (by another span or first_day), and what is asked for now would cut them in"
            " two, so that records would be doubled; run without --refresh into the one sink that"
            " has them, describe the interface as it was, or choose another sink and ledger"
            if kinds
            else f"{name}: what is stored of {appid} from {common[0][0]} on is of another kind of"
            " windows (by another cut); describe the interface as it was, or choose another sink"
            " and ledger"
        )


class _Planner(NamedTuple):
    """In which order the windows of one interface of one account are asked for.

    Newest first: yesterday's, then those whose figures can still change, then the backfill; so a
    run that is started each morning keeps the present fresh, whatever its budget.  Oldest first:
    all of them by their days, since a window that is asked again later is as good then.

    settled: the last day of the range whose figures can be asked for.
    """

    appid: str
    endpoint: Endpoint
    cut: Grid
    need: Need
    order: str
    settled: date

    def track(self, budget: Budget, span: Span, replaces: bool, ask_quota: bool) -> Track:
        again = [self._again(days) for days in self.need.again if days[1] <= self.settled]
        oldest = self.order == "oldest"
        return Track(
            self.appid,
            self.endpoint,
            self._new(),
            budget,
            first=reversed(again) if oldest else again,
            replaces=replaces,
            span=span,
            unasked=ask_quota,
            oldest=oldest,
        )

    def _again(self, days: Days) -> Try:
        window = Window(self.appid, self.endpoint.name, *days)
        return Try(window, replaces=True, again=True)

    def unsettled(self, replaces: bool) -> list[Try]:
        """Windows that cannot be asked for before a certain hour."""
        late = [self._again(days) for days in self.need.again if days[1] > self.settled]
        newest = self.cut.windows(*self.need.days, self.need.done, newest=True)
        new = takewhile(lambda days: days[1] > self.settled, newest)
        late += [Try(Window(self.appid, self.endpoint.name, *days), replaces=replaces)
                 for days in new]  # fmt: skip
        return late

    def _new(self) -> Iterator[Days]:
        if self.order == "oldest":
            oldest = self.cut.windows(*self.need.days, self.need.done)
            return takewhile(lambda days: days[1] <= self.settled, oldest)
        newest = self.cut.windows(*self.need.days, self.need.done, newest=True)
        return dropwhile(lambda days: days[1] > self.settled, newest)
