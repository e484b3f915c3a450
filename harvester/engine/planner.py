"""Makes the queues of a run: the requested days minus the stored ones.

Rule: reads the ledger and counts; sends nothing and starts nothing.

Missing days end where something is stored, so a new window never overlaps a stored one.  A stored
window that is provisional ("open") is requested again exactly as it was.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import dropwhile, takewhile
from typing import NamedTuple

from harvester.base.dates import (
    ONE_DAY,
    Days,
    Grid,
    WindowKind,
    days_in,
    gaps,
    last_legal_day,
    last_settled_day,
    quota_day,
    rfc3339,
    without,
)
from harvester.base.fencing import EPOCH, wait_after
from harvester.engine.account_queue import AccountQueue, Share
from harvester.engine.limiter import Limiter
from harvester.engine.options import Options
from harvester.engine.parts import NO_ROW
from harvester.engine.policy import NOT_READY_AGAIN
from harvester.engine.quota import NEVER, Budget
from harvester.engine.scope import Scope
from harvester.engine.window_queue import Attempt, InterfaceQueue, WindowQueue
from harvester.events import Committed, Deferred, Failed, late
from harvester.ledger import Ledger
from harvester.ledger.base import Exhausted, Key, Lease, account_groups
from harvester.ledger.coverage import KNOWN, STORED, Calendar, OpenWindow
from harvester.model import RECHECK_INTERVAL, Endpoint, Request, Response, Window, many
from harvester.texts import say
from harvester.tokens.shared import shared_token
from harvester.wechat.endpoint import grid
from harvester.wechat.late import LONGEST, Delivery, delivery, waits_until


class Plan(NamedTuple):
    """The queues of a run.

    planned, skipped: windows that are requested, and those of them that are already done.
    unsettled: windows whose figures cannot be requested yet; no queue has them.
    held: stored windows that lack what they must have, and are not due to be requested again.
    exhausted: queues whose quota was spent before this run, and since when.
    """

    accounts: list[AccountQueue]
    share: Share
    planned: int = 0
    skipped: int = 0
    unsettled: Sequence[tuple[InterfaceQueue, Attempt]] = ()
    exhausted: Sequence[tuple[InterfaceQueue, Exhausted]] = ()
    held: Sequence[tuple[InterfaceQueue, OpenWindow]] = ()


class UsedQuota(NamedTuple):
    """The calls of today (spent) and of yesterday (before), and the quotas that are used up."""

    spent: Mapping[Key, int] = {}
    before: Mapping[Key, int] = {}
    exhausted: Mapping[Key, Exhausted] = {}


class Need(NamedTuple):
    """What one interface of one account needs.

    days: the range; stored: what of it need not be asked for, or is asked for as ``again``; again:
    its stored windows that can still change, newest first; planned, left: windows in all, and those
    to be asked for.  held: stored windows that lack what they must have, and are not asked for now;
    waiting: how many of them the run is to wait for.
    """

    days: Days
    stored: list[Days]
    again: list[OpenWindow]
    planned: int
    left: int
    held: list[OpenWindow]
    waiting: int


NOTHING = Calendar()


async def used_quota(ledger: Ledger | None, wall: float, appids: Sequence[str]) -> UsedQuota:
    """What a plan needs of the ledger beside the calendars (wall: the Unix time)."""
    if ledger is None:
        return UsedQuota()
    today = quota_day(wall)
    return UsedQuota(
        await ledger.spent(today, appids),
        await ledger.spent(today - ONE_DAY, appids),
        await ledger.exhausted(wall, appids),
    )


def needed(
    endpoint: Endpoint,
    cut: Grid,
    days: Days,
    calendar: Calendar,
    wall: float,
    *,
    early: bool = False,
    counts_only: bool = False,
) -> Need:
    """The windows of a range to request.

    early: also provisional windows that are not due yet.
    counts_only: leaves out ``stored`` where the numbers need no list of it.
    """
    begin, end = days
    by_day = counts_only and cut.cut is WindowKind.DAYS and cut.span == 1
    stored = list(calendar.runs(begin, end, STORED)) if calendar.years and not by_day else []
    again: list[OpenWindow] = []
    held: list[OpenWindow] = []
    for window in [*calendar.windows.values(), *_holes(endpoint, cut, days, calendar)]:
        if not window.stored or window.begin > end or begin > window.end:
            continue
        if not cut.gives(window.days):
            continue
        if early or not wall < window.due <= wall + _longest_hold(window):
            again.append(window)
        elif window.state == "late":
            held.append(window)
    again.sort(reverse=True)
    whole = cut.count(begin, end)
    if by_day:
        left = whole - calendar.count_in(begin, end, STORED)
    else:
        left = cut.count(begin, end, stored) if stored else whole
    left += len(again)
    waiting = sum([_waits(endpoint, calendar, window, wall) for window in held])
    planned = max(left + waiting, whole)
    return Need(days, stored, again, planned, left, held, waiting)


def _longest_hold(window: OpenWindow) -> float:
    """The most seconds until a window is due: what is due later was stored by a clock ahead."""
    return RECHECK_INTERVAL if window.tally.records and window.state == "open" else LONGEST


def _waits(endpoint: Endpoint, calendar: Calendar, window: OpenWindow, wall: float) -> bool:
    """Whether a run is not done as long as it lacks what a late window lacks."""
    is_young = not window.due or wall < waits_until(endpoint, window.end)
    return is_young and not is_silent(endpoint, calendar)


def is_silent(endpoint: Endpoint, calendar: Calendar) -> bool:
    """Whether an interface that has a row a day delivers none any more."""
    return delivery(endpoint) is Delivery.DAILY and calendar.silent


def _holes(endpoint: Endpoint, cut: Grid, days: Days, calendar: Calendar) -> list[OpenWindow]:
    """The windows that were stored as final without a row that they must have."""
    if delivery(endpoint) is not Delivery.DAILY or not calendar.years:
        return []
    return [
        OpenWindow(begin, end, "late", detail=NO_ROW)
        for begin, end in calendar.holes(cut)
        if begin <= days[1] and days[0] <= end
    ]


class Demand(NamedTuple):
    """What one interface of one account needs, and the inputs of that result."""

    endpoint: Endpoint
    grid: Grid
    calendar: Calendar
    need: Need


async def demands(
    scope: Scope,
    ledger: Ledger | None,
    wall: float,
    *,
    early: bool = False,
    stored: Mapping[Key, Calendar] | None = None,
    anew: bool = False,
    marks: bool = True,
    counts_only: bool = False,
) -> AsyncIterator[tuple[str, list[Demand]]]:
    """Each account and what it needs, an entry for each interface that has days in the range.

    stored: what the sinks hold, where no ledger is kept.  anew: as if nothing was stored.
    marks: whether days that are marked to be harvested again count as missing.
    """
    last = scope.last or last_legal_day(wall)
    grids = {each.name: grid(each, last) for each in scope.endpoints}
    ranges = [(each, days) for each in scope.endpoints if (days := scope.range_of(each))]
    untouched: dict[str, Demand] = {}  # all accounts without a calendar need the same
    for some in account_groups([*scope.accounts]):
        found: Mapping[Key, Calendar] = stored or {}
        if ledger is not None and not anew:
            found = await ledger.calendars(some)
            for key, marked in (await ledger.refreshes(some)).items() if marks else ():
                if key in found:
                    found[key].forget(marked)
        for appid in some:
            listed = []
            for endpoint, days in ranges:
                name = endpoint.name
                calendar = found.get((appid, name))
                demand = untouched.get(name) if calendar is None else None
                if demand is None:
                    cut, known = grids[name], calendar or NOTHING
                    need = needed(
                        endpoint, cut, days, known, wall, early=early, counts_only=counts_only
                    )
                    demand = Demand(endpoint, cut, known, need)
                    if calendar is None:
                        untouched[name] = demand
                listed.append(demand)
            yield appid, listed


class Remains(NamedTuple):
    """The requested windows that are not harvested, according to a ledger.

    events: failed, waiting and late ones.  missing: windows that it does not know.
    """

    events: list[Failed | Deferred | Committed]
    missing: int


def _failing(calendar: Calendar) -> dict[int | None, str]:
    """The errcodes for which an interface of an account fails, and since when; "": not known."""
    found: dict[int | None, str] = {}
    for window in calendar.windows.values():
        if window.fails:
            since = "" if window.stored else window.fetched_at
            found[window.code] = min(since, found.get(window.code, since))
    return found


async def remains(
    scope: Scope,
    ledger: Ledger,
    wall: float,
    joined: float,
    began: str,
    *,
    marks: bool,
    apart: Mapping[str, str],
) -> Remains:
    """The requested windows that a ledger lacks (wall: the Unix time).

    joined: the Unix time when this worker joined: what was due then and was not got since is left,
    regardless of what other workers did before.  began: when the first worker of this job began, as
    of `Outcome.fetched_at`: what failed since then did not fail in the run before.  marks: whether
    what is marked to be harvested again is missing; what another job has marked is there.  apart:
    accounts of which the ledger does not know what is stored, and why: all of their windows failed.
    """
    found: list[Failed | Deferred | Committed] = []
    missing = 0
    async for appid, listed in demands(scope, ledger, wall, marks=marks):
        for demand in listed:
            days, calendar = demand.need.days, demand.calendar
            if appid in apart:
                where = appid, demand.endpoint.name, *days, demand.need.planned
                found.append(Failed(*where, apart[appid], kind="refused"))
                continue
            known = list(calendar.runs(*days, KNOWN)) if calendar.years else []
            missing += demand.grid.count(*days, known)
            again = _not_got_again(demand.need, joined)
            for window in calendar.windows.values():
                if window.state != "open" or window.begin in again:
                    found += _left(appid, demand, window, wall, began, again)
            found += _late(appid, demand)
    return Remains(found, missing)


def _left(
    appid: str, demand: Demand, window: OpenWindow, wall: float, began: str, again: set[date]
) -> list[Failed | Deferred | Committed]:
    """What is left of a window; again: those that had to be requested again, and were not got."""
    (first, last), name = demand.need.days, demand.endpoint.name
    begin, end = max(window.begin, first), min(window.end, last)
    if not (number := demand.grid.count(begin, end)):
        return []
    if (
        window.state == "late"
        and window.begin not in again
        and not _waits(demand.endpoint, demand.calendar, window, wall)
    ):
        return [late(Window(appid, name, begin, end))]
    where, why = (appid, name, begin, end, number), (window.detail, window.code, window.rid)
    if window.state == "open" and window.code is not None:
        return [Failed(*where, *why, kind=window.kind)]
    if window.state == "failed":
        return [Failed(*where, *why, window.fetched_at >= began, window.kind)]
    return [Deferred(*where, window.due or wall + NOT_READY_AGAIN, window.detail)]


def _late(appid: str, demand: Demand) -> list[Committed]:
    holes = _holes(demand.endpoint, demand.grid, demand.need.days, demand.calendar)
    return [late(Window(appid, demand.endpoint.name, *hole.days)) for hole in holes]


async def late_in(scope: Scope, ledger: Ledger, wall: float) -> list[Committed]:
    """The days of all accounts and interfaces that were stored without a row they must have."""
    return [
        event
        async for appid, listed in demands(scope, ledger, wall)
        for demand in listed
        for event in _late(appid, demand)
    ]


def _not_got_again(need: Need, joined: float) -> set[date]:
    """The stored windows that a worker which joined then had to request again, but did not."""
    second = rfc3339(joined)
    return {
        window.begin
        for window in need.again
        if window.due <= joined
        and (window.code is not None or window.fetched_at[: len(second) - 1] < second[:-1])
    }


async def gone(scope: Scope, ledger: Ledger, wall: float) -> list[str]:
    """A sentence for each interface of which days were not asked for when they could be.

    Of interfaces of recent days alone; a day that an earlier run asked for is not named again.
    """
    recent = [each for each in scope.endpoints if each.cut is WindowKind.RECENT]
    asked = await ledger.asked() if recent else {}
    notes = []
    for endpoint in recent:
        if (days := scope.range_of(endpoint)) is None:
            continue
        cut = grid(endpoint, scope.last or last_legal_day(wall))
        lost = [
            without(list(gaps(*days, ranges)), list(cut.windows(*days, ranges)))
            for ranges in {asked.get((appid, endpoint.name), ()) for appid in scope.accounts}
        ]
        spans = [span for spans in lost for span in spans]
        if spans:
            first, last = min(spans)[0], max(end for _, end in spans)
            most = max(sum(map(days_in, each)) for each in lost)
            notes.append(
                say(
                    "{}: {} from {} to {} can no longer be requested: the interface answers only"
                    " for periods that end yesterday",
                    endpoint.name,
                    many(most, "day"),
                    first,
                    last,
                )
            )
    return notes


async def build_plan(
    scope: Scope,
    options: Options,
    ledger: Ledger | None,
    send: Callable[[Limiter, Request], Awaitable[Response]],
    wall: float,
    clock: Callable[[], float] = time.time,
    stored: Mapping[Key, Calendar] | None = None,
    *,
    share: Share | None = None,
    leases: Mapping[str, Lease] | None = None,
) -> Plan:
    """The queues: one for each account, in it one for each interface (wall: the Unix time).

    send: sends a request of an account's token source, with the account's limiter.
    stored: what is stored in the sinks, where no ledger is kept; it is requested again.
    """
    has = await used_quota(ledger, wall, list(scope.accounts))
    share = share or share_of(options)
    accounts: list[AccountQueue] = []
    unsettled: list[tuple[InterfaceQueue, Attempt]] = []
    exhausted: list[tuple[InterfaceQueue, Exhausted]] = []
    settled = {each.name: last_settled_day(wall, each.settled_hour) for each in scope.endpoints}
    planned = skipped = 0
    held: list[tuple[InterfaceQueue, OpenWindow]] = []
    async for appid, listed in demands(scope, ledger, wall, early=options.refresh, stored=stored):
        lease = leases[appid] if leases else Lease(appid, EPOCH)
        queues: list[InterfaceQueue] = []
        for endpoint, cut, calendar, need in listed:
            key = (appid, endpoint.name)
            budget = Budget(
                options.daily_quota,
                has.spent.get(key, 0),
                wall,
                has.before.get(key, 0),
            )
            until = settled[endpoint.name]
            order = _Order(appid, endpoint, cut, need, calendar, options.order, until)
            # where the ledger has lost count of days, sinks may still have their records
            unknown = ledger is None or calendar.sum() is None
            windows = order.windows(replaces=unknown)
            queue = InterfaceQueue(
                endpoint,
                windows,
                budget,
                ask_quota=options.ask_quota,
                epoch=lease.epoch,
                failing=_failing(calendar),
                silent=is_silent(endpoint, calendar),
            )
            queues.append(queue)
            if key in has.exhausted:
                exhausted.append((queue, has.exhausted[key]))
            if need.again or need.days[1] > until:
                unsettled.extend((queue, late) for late in order.unsettled())
            held.extend((queue, window) for window in need.held)
            planned += need.planned
            skipped += need.planned - need.left - need.waiting
        limiter = Limiter(options.rate, options.burst)
        provider = scope.accounts[appid]
        token = shared_token(appid, provider, partial(send, limiter), scope.store, clock)
        cap = scope.caps.get(appid, NEVER)
        if wait := wait_after(lease.idle, options.rate.period):
            limiter.pause(wait)
        accounts.append(AccountQueue(token, limiter, queues, share, cap))
    return Plan(accounts, share, planned, skipped, unsettled, exhausted, held)


def share_of(options: Options) -> Share:
    """How many requests one account may have in flight."""
    return Share(options.concurrency, options.account_concurrency or options.concurrency)


class _Order(NamedTuple):
    """The order in which the windows of one interface of one account are requested.

    Newest first: yesterday's, then provisional ones, then the backfill; so a run that is started
    each morning stays up to date with any quota.  Oldest first: all of them by their days.
    """

    appid: str
    endpoint: Endpoint
    cut: Grid
    need: Need
    calendar: Calendar
    order: str
    settled: date

    def windows(self, *, replaces: bool) -> WindowQueue:
        """The windows that can be requested; replaces: sinks may already hold new ones."""
        again = [self._again(each) for each in self.need.again if each.end <= self.settled]
        oldest = self.order == "oldest"
        return WindowQueue(
            self.appid,
            self.endpoint.name,
            self._new(),
            first=reversed(again) if oldest else again,
            replaces=replaces,
            oldest=oldest,
        )

    def _again(self, window: OpenWindow) -> Attempt:
        """A stored window; or a hole, in which a row is expected since it follows another row."""
        expected = not window.fetched_at or bool(window.tries)
        if not expected and delivery(self.endpoint) is Delivery.DAILY:
            expected = self._has_row_before(window.begin)
        return Attempt(
            Window(self.appid, self.endpoint.name, *window.days),
            replaces=True,
            again=window,
            expected=expected,
        )

    def _has_row_before(self, day: date) -> bool:
        """Whether an earlier day has a row; those of a window that was opened again are counted."""
        rows, windows = self.calendar.rows(), self.calendar.windows.values()
        if rows is not None and rows[0] < day:
            return True
        return any(each.begin < day for each in windows if each.stored and each.tally.records)

    def unsettled(self) -> list[Attempt]:
        late = [self._again(each) for each in self.need.again if each.end > self.settled]
        newest = self.cut.windows(*self.need.days, self.need.stored, newest=True)
        new = takewhile(lambda days: days[1] > self.settled, newest)
        return [*late, *[Attempt(Window(self.appid, self.endpoint.name, *days)) for days in new]]

    def _new(self) -> Iterator[Days]:
        newest = self.order == "newest"
        windows = self.cut.windows(*self.need.days, self.need.stored, newest=newest)
        if self.need.days[1] <= self.settled:
            return windows
        if newest:
            return dropwhile(lambda days: days[1] > self.settled, windows)
        return takewhile(lambda days: days[1] <= self.settled, windows)
