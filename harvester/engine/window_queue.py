"""The windows of one interface of one account: which one is requested next, and when.

Rule: decides; never waits, never sends.

New windows are created one by one, when they are taken.  A window that waits for a retry is kept
here and occupies no slot.  Their number is bounded, so that many refusals delay the new windows of
this queue and of no other, and memory does not grow with the days that are planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from heapq import heappop, heappush
from typing import Any, NamedTuple

from harvester.base.dates import (
    DAY,
    ONE_DAY,
    Days,
    days_in,
    next_quota_day,
)
from harvester.base.fencing import EPOCH
from harvester.engine.quota import NEVER, Budget
from harvester.ledger.coverage import OpenWindow, Outcome
from harvester.model import Batch, Endpoint, Tally, Window
from harvester.texts import say
from harvester.wechat.late import Delivery, delivery
from harvester.wechat.response import Quota

OUTSTANDING = 256
"""The most windows of one interface that are in flight or wait for a retry."""

QUOTA_AGAIN = 3600.0
"""Seconds between two calls of an interface whose quota is used up: WeChat does not document when
it is reset."""

WAITS = 120.0
"""An interface whose next request is more seconds away waits: retries come earlier."""

RECHECK = 30.0
"""Seconds after which a wait for a time of day is checked again: the wall clock may have been set,
or the machine may have slept, and the event loop's clock shows neither."""


class Page(NamedTuple):
    """The pages so far of a window that needs several requests."""

    number: int
    records: tuple[dict[str, Any], ...] = ()
    out_of_range: int = 0
    late: bool = False
    size: int = 0


class Attempt(NamedTuple):
    """The attempts at one window.

    failures: attempts that failed; deferrals: answers that it is not ready yet.
    replaces: records of its days may be in the sinks; again: exactly this window as the ledger has
    it, if it is stored or must have a row; fresh: this run was the first to store it.  expected: of
    an interface with one row per day: a row must come.  page: of it, if one request is not enough.
    """

    window: Window
    failures: int = 0
    deferrals: int = 0
    replaces: bool = False
    again: OpenWindow | None = None
    fresh: bool = False
    expected: bool = True
    page: Page | None = None

    @property
    def former(self) -> Tally | None:
        """The tally of exactly this window, if it was stored before this run."""
        return None if self.again is None or self.fresh else self.again.tally

    @property
    def days(self) -> Days:
        return self.window.begin, self.window.end


class Harvested(NamedTuple):
    """A window was answered completely.

    outcome: for the ledger; former: the tally of exactly this window before this run, None if it
    was not stored.  out_of_range: rows of other days, which are not among the records.
    size: bytes of its answers.  epoch: of the account when it was requested.
    more: its other parts, if it was cut; kept: records and entries that an earlier answer had, and
    this one lacks.
    """

    batch: Batch
    outcome: Outcome
    former: Tally | None = None
    out_of_range: int = 0
    size: int = 0
    epoch: int = EPOCH
    more: tuple[Harvested, ...] = ()
    kept: int = 0

    @property
    def parts(self) -> tuple[Harvested, ...]:
        return (self, *self.more)

    @property
    def days(self) -> Days:
        return self.batch.window.begin, self.batch.window.end

    @property
    def window(self) -> Window:
        """The window that was requested."""
        window = self.batch.window
        return window._replace(end=self.more[-1].batch.window.end) if self.more else window

    @property
    def waits(self) -> bool:
        """Whether the run is not done with it."""
        return self.batch.late or bool(self.more and any([part.batch.late for part in self.more]))

    @property
    def tally(self) -> Tally:
        if not self.more:
            return self.outcome.tally
        return reduce(Tally.plus, [part.outcome.tally for part in self.parts])

    def lacking(self, state: str) -> list[tuple[Window, int]]:
        """The parts of a state for which the run does not wait, and how many days they have."""
        return [
            (part.batch.window, days_in(part.days))
            for part in self.parts
            if part.outcome.state == state and not part.batch.late
        ]

    @property
    def is_emptied(self) -> bool:
        """Whether days of it are final without a row that each day has."""
        return any(
            [
                part.outcome.empty
                and part.outcome.state == "final"
                and part.batch.endpoint is not None
                and delivery(part.batch.endpoint) is Delivery.DAILY
                for part in self.parts
            ]
        )

    @property
    def is_provisional(self) -> bool:
        return any([part.outcome.state in ("open", "late") for part in self.parts])


class StopReason(NamedTuple):
    """Why no more windows are requested in this run.

    until: the Unix time from which they can be requested again, None if they failed.
    code, rid: WeChat's errcode and its request id, if WeChat sent it.  kind: as of `Outcome`.
    """

    until: float | None
    reason: str
    code: int | None = None
    rid: str = ""
    kind: str = ""


LOST = StopReason(None, say("another worker has the account"))
"""The reason of a queue whose windows must no longer be stored."""


class WindowQueue:
    """The windows that are left: new ones, those before them, and those that wait for a retry.

    new: the windows to request, lazily; first: those to request before them.
    replaces: records of new windows may already be in the sink.
    oldest: in the order of their days, oldest first; else newest first.
    split: windows more than were planned, since WeChat refused one of several days.
    """

    __slots__ = (
        "_again", "_days_only", "_first", "_name", "_new", "_oldest", "_order",
        "_upcoming", "appid", "replaces", "split",
    )  # fmt: skip

    def __init__(
        self,
        appid: str,
        name: str,
        new: Iterator[Days],
        *,
        first: Iterable[Attempt] = (),
        replaces: bool = False,
        oldest: bool = False,
    ) -> None:
        self.appid = appid
        self._name = name
        self.replaces = replaces
        self._oldest = oldest
        self._days_only = False
        self.split = 0
        self._new = new
        self._upcoming = next(new, None)
        self._first = list(first)[::-1]  # the next one at its end; a deque is larger, empty too
        self._again: list[tuple[float, int, Attempt]] = []
        self._order = 0

    def __bool__(self) -> bool:
        return self._upcoming is not None or bool(self._again) or bool(self._first)

    @property
    def waiting(self) -> int:
        return len(self._again)

    @property
    def untried(self) -> bool:
        """Whether a window is left that this run has not requested."""
        return self._upcoming is not None or bool(self._first)

    def again(self, attempt: Attempt, at: float) -> None:
        """Try this window (again) at a time of the loop."""
        self._order += 1
        heappush(self._again, (at, self._order, attempt))

    def next_at(self, now: float, room: int) -> float:
        """The loop's time from which `take` returns a window; NEVER if none is known.

        room: the most windows that may wait here.
        """
        if len(self._again) < room and (self._upcoming is not None or self._first):
            return now
        return self._again[0][0] if self._again else NEVER

    def take(self, now: float, room: int) -> Attempt | None:
        """The window to request now: a retry that is due goes before a new window."""
        again = self._again
        if again and again[0][0] <= now:
            return self._fitting(heappop(again)[2])
        if len(again) >= room:
            return None
        if self._first and not self._before_first():
            return self._fitting(self._first.pop())
        if (upcoming := self._upcoming) is None:
            return None
        self._upcoming = next(self._new, None)
        attempt = Attempt(Window(self.appid, self._name, *upcoming), replaces=self.replaces)
        return attempt if upcoming[0] == upcoming[1] else self._fitting(attempt)

    def _before_first(self) -> bool:
        """Whether the next new window goes before the first ones: it is yesterday's, or older."""
        upcoming = self._upcoming
        if upcoming is not None and self._oldest:
            return upcoming[1] < self._first[-1].window.begin
        return upcoming is not None and all(
            upcoming[1] > attempt.window.end for attempt in reversed(self._first)
        )

    def _fitting(self, attempt: Attempt) -> Attempt:
        """The window, or its first day if only single days are requested."""
        begin, end = attempt.days
        if not self._days_only or begin == end or attempt.page is not None:
            return attempt
        again = attempt.again
        if again is not None and again.tally.records:  # they are of all days together
            again = None
        one, *others = [
            attempt._replace(
                window=attempt.window._replace(begin=day, end=day),
                again=None if again is None else again._replace(begin=day, end=day),
            )
            for day in (begin + n * ONE_DAY for n in range(days_in(attempt.days)))
        ]
        self._first += reversed(others)
        self.split += len(others)
        return one

    def single_days(self, attempt: Attempt, now: float) -> None:
        """WeChat refused this window as too long: request single days from now on."""
        self._days_only = True
        self.again(self._fitting(attempt._replace(page=None)), now)

    def take_split(self) -> int:
        """The windows more than were planned since the last call, caused by splitting."""
        split, self.split = self.split, 0
        return split

    def rest(self) -> Iterator[Days]:
        """Yield all windows that are left, retries first; none of them is requested any more."""
        again, self._again = sorted(self._again), []  # at once: the generator may be read later
        first, self._first = self._first[::-1], []
        for attempt in [*(attempt for _, _, attempt in again), *first]:
            yield attempt.days
        while (upcoming := self._upcoming) is not None:
            self._upcoming = next(self._new, None)
            yield upcoming

    def clear(self) -> None:
        self._again.clear()
        self._first.clear()
        self._upcoming = None


class InterfaceQueue:
    """One interface of one account: its windows, its budget, and whether one can be requested now.

    stopped: why no window is requested any more, else None; forbidden: because the account may not
    use the interface.
    proven: an answer has shown that the account may use it; before that, one request at a time.
    unasked: WeChat must be asked for its quota before the first window.
    trying: the quota is used up, and the one call of this hour is under way.
    blocked: WeChat has refused it for a time, which says nothing about its quota.
    as_text: an answer had a number that is kept as its text.
    failing: the errcodes for which it failed before, and since when (`Outcome.fetched_at`).
    silent: it delivers no rows any more, so no run waits for one.
    leaves: this run leaves something of it for later.
    """

    __slots__ = (
        "_asking", "_equal_refusals", "_exhausted", "_refused_at", "_refused_for",
        "_refused_tokens", "appid", "as_text", "blocked", "budget", "endpoint", "epoch", "failing",
        "forbidden", "in_flight", "leaves", "parked_until", "proven", "silent", "stopped",
        "trying", "unasked", "windows",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        windows: WindowQueue,
        budget: Budget,
        *,
        ask_quota: bool = False,
        epoch: int = EPOCH,
        failing: Mapping[int | None, str] | None = None,
        silent: bool = False,
    ) -> None:
        self.appid = windows.appid
        self.silent = silent
        self.failing = failing or {}
        self.epoch = epoch
        self.endpoint = endpoint
        self.windows = windows
        self.budget = budget
        self.unasked = ask_quota
        self._asking = False
        self._exhausted = False  # WeChat has reported it, and answered nothing since
        self._refused_at = -NEVER  # the loop's time at which it did
        self.trying = False
        self.blocked = self.as_text = self.leaves = False
        self._refused_for: object = None
        self._equal_refusals = 0  # windows, in a row
        self._refused_tokens = 0  # since it last accepted one
        self.in_flight = 0
        self.parked_until = 0.0
        self.proven = False
        self.stopped: StopReason | None = None
        self.forbidden = False

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else "parked" if self.parked_until else "open"
        return (
            f"<InterfaceQueue {self.appid} {self.endpoint.name}: {state}, {self.in_flight} in"
            f" flight, {self.windows.waiting} to be tried again>"
        )

    @property
    def finished(self) -> bool:
        return self.in_flight == 0 and not self.windows

    def again(self, attempt: Attempt, at: float) -> None:
        self.windows.again(attempt, at)

    def next_at(self, now: float, wall: float) -> float:
        if self._asking or (self.in_flight and not self.proven):
            return NEVER
        if until := self._closed_until(wall):
            return now + min(until - wall, RECHECK) if self.windows else NEVER
        return self.windows.next_at(now, OUTSTANDING - self.in_flight)

    def waits(self, now: float, wall: float) -> bool:
        """Whether no window of it can be requested before a later time."""
        until = self._closed_until(wall)
        ahead = until - wall if until else self.windows.next_at(now, OUTSTANDING) - now
        return ahead > WAITS or not self.windows

    def _closed_until(self, wall: float) -> float:
        """The Unix time before which nothing is requested; 0 if that may be now."""
        if self.parked_until > wall and self._is_parked(wall):
            return self.parked_until
        # the day's end can pass while a request is in flight
        return self.budget.until if self.budget.is_used_up(wall) else 0.0

    def _is_parked(self, wall: float) -> bool:
        """Whether it is paused now; a pause never goes beyond a midnight."""
        if self.parked_until - wall > DAY:  # the clock was set back
            self.parked_until = next_quota_day(wall)
        return self.parked_until > wall

    def take(self, now: float, wall: float) -> Attempt | None:
        budget = self.budget
        if (
            self._asking
            or (self.in_flight and not self.proven)
            or (self.parked_until > wall and self._is_parked(wall))
            or (budget.limited and budget.left(wall) <= 0)
        ):
            return None
        attempt = self.windows.take(now, OUTSTANDING - self.in_flight)
        if attempt is not None:
            self.in_flight += 1
            budget.spend()
            self.trying = self._exhausted
        return attempt

    def put_back(self, attempt: Attempt, now: float) -> None:
        """A window that was taken was not sent after all."""
        self.unsent()
        self.again(attempt, now)
        self.settled()

    def unsent(self) -> None:
        self.budget.spend(-1)

    def settled(self) -> None:
        self.in_flight -= 1

    def ask(self) -> None:
        """The quota is being requested from WeChat: no window is requested until the answer."""
        self.unasked, self._asking = False, True

    def unask(self) -> None:
        """WeChat was not asked, or refused the token: it must be asked again."""
        self.unasked, self._asking = True, False

    def asked(self, quota: Quota | None, wall: float) -> None:
        """WeChat was asked for the quota; None: it is not known."""
        self._asking = False
        if quota is not None:
            self.budget.learn(quota.daily, quota.left, wall)

    def prove(self, sent_at: float) -> None:
        """A request that was sent at a time of the loop was answered as only a usable one is."""
        if sent_at >= self._refused_at:
            self.proven = True

    def refused(self, now: float, *, blocked: bool = False) -> bool:
        """WeChat reports a used-up quota, or has blocked the interface (now: the loop's time).

        Returns whether that is new: not of requests that were in flight with the first one.
        """
        news = self.trying or not self._exhausted
        self._exhausted, self.trying, self._refused_at = True, False, now
        self.proven, self.blocked = False, blocked
        return news

    def tried(self) -> bool:
        """The one call of this hour was not refused; returns whether it was answered."""
        self.trying = False
        self._exhausted = self._exhausted and not self.proven
        return self.proven

    def accepted(self, *, as_text: bool = False) -> None:
        """A window was answered with its records; as_text: see `Verdict`."""
        self.as_text = self.as_text or as_text
        self._refused_tokens = 0
        self._refused_for = None

    def window_refused(self, reason: object) -> int:
        """A window was refused for good; returns the number in a row for the same reason."""
        same = reason == self._refused_for
        self._refused_for, self._equal_refusals = reason, self._equal_refusals + 1 if same else 1
        return self._equal_refusals

    def token_refused(self, dropped: bool) -> int:
        """A token was refused; returns how many were dropped since one was accepted."""
        self._refused_tokens += dropped
        return self._refused_tokens

    def park(self, until: float) -> bool:
        """Pause until a Unix time; returns whether that is new."""
        news = until > self.parked_until
        self.parked_until = max(self.parked_until, until)
        return news

    def stop(self, reason: StopReason, *, forbidden: bool = False) -> Iterator[Days]:
        """Stop for this run; yields the windows that are left."""
        if self.stopped is LOST:
            return iter(())
        self.stopped, self.forbidden = reason, forbidden
        return self.windows.rest()

    def drop(self) -> None:
        """Stop for this run; another worker has the windows that are left."""
        self.stopped = LOST
        self.windows.clear()
