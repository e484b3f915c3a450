"""One account: its limiter, its token, its budgets; what it does next, and why it waits.

Rule: decides, never waits and never sends; the engine asks, does, and tells.

A lane has a track for each interface.  A track hands out new windows one by one, and keeps those
that are to be tried again; a window that waits for that lies here and holds no slot.  How many may
lie here is bounded, so that a storm of refusals holds up this lane's new windows and no other lane,
and memory does not grow with the days that are planned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from harvester.auth import SharedToken
from harvester.endpoint import Endpoint
from harvester.limiter import Limiter
from harvester.model import Tally, Window
from harvester.plan import (
    QUOTA_MARGIN,
    Days,
    china,
    days_in,
    halves,
    next_quota_day,
    number_of_pieces,
    pieces,
)

OUTSTANDING = 256
"""Windows of one track that may be in flight or waiting to be tried again."""

RECHECK = 30.0
"""Seconds after which a wait for a time of day is looked at again: the wall clock may have been
set, or the machine may have slept, and the event loop's clock knows of neither."""

DAY = 86_400.0
"""Seconds; China's clocks know no other days."""

NEVER = math.inf


class Page(NamedTuple):
    """What has come of a window that takes several requests: the pages before this one."""

    number: int
    records: tuple[dict[str, Any], ...] = ()
    out_of_range: int = 0
    late: bool = False
    size: int = 0


class Try(NamedTuple):
    """One window on its way.

    failures: attempts that failed; deferrals: answers that it is not ready yet.
    replaces: records of its days may stand in the sinks; former: the tally of this very window, if
    it is stored.  page: of it, if one request is not enough.
    """

    window: Window
    failures: int = 0
    deferrals: int = 0
    replaces: bool = False
    former: Tally | None = None
    page: Page | None = None


class Fate(NamedTuple):
    """What becomes of all that is left of a track that is over.

    until: the Unix time from which it can be asked for again, None if it failed.
    code, rid: WeChat's errcode and its request id, if WeChat told it.
    """

    until: float | None
    reason: str
    code: int | None = None
    rid: str = ""


class Span:
    """How many days a window of one interface may have: as WeChat's page says, until it refuses."""

    __slots__ = ("longest",)

    def __init__(self, longest: float = NEVER) -> None:
        self.longest = longest


class Share:
    """How many requests one account may have in flight, so that a slow one leaves room for others.

    ``slots`` is an equal part of all that may be in flight, among the accounts that are not
    finished; a few are always granted, and no account ever more than ``most``.
    """

    __slots__ = ("_all", "_most", "slots")

    FEWEST = 2

    def __init__(self, slots: float = NEVER, most: float = NEVER) -> None:
        self._all = slots
        self._most = most
        self.slots = min(slots, most)

    def among(self, accounts: int) -> bool:
        """So many accounts are left; gives whether each may have more now."""
        former = self.slots
        part = self._all if accounts <= 1 else max(self.FEWEST, self._all // accounts)
        self.slots = min(part, self._most)
        return self.slots > former


LOT = 0.02
"""Share of a day's quota that is booked at once; a killed run loses what it had not used of it."""


class Budget:
    """Calls that may still be sent today (in China); without end if no quota is given.

    spent: today; before: on the day before.
    limited: there is an end to it; until: the Unix time at which it begins anew.
    booked: calls of it that the ledger has and that were not sent yet; only such are sent, so that
    a run that is killed has never sent more than the ledger knows.  Infinite without a ledger.

    The clock is believed as it is now.  If it was set back over a midnight, what was spent on the
    day that has not come was spent by now, and counts; over more of them, nothing is left.
    """

    __slots__ = ("_before", "_daily", "_left", "_spent", "booked", "limited", "until")

    def __init__(
        self, daily: int | None, spent: int, wall: float, before: int = 0, booked: float = NEVER
    ) -> None:
        self.booked = booked
        self._daily = NEVER if daily is None else daily
        self.limited = daily is not None
        self._left = self._daily - spent
        self._spent, self._before = spent, before
        self.until = next_quota_day(wall)

    def left(self, wall: float) -> float:
        """How many calls are left now."""
        if wall >= self.until:
            self._left = self._daily
            self._spent, self._before = 0, self._spent
            self._begin_anew(wall)
        elif wall < self.until - DAY:
            known = wall >= self.until - 2 * DAY
            self._left = self._left - self._before if known else 0
            self._spent, self._before = self._spent + self._before, 0
            self._begin_anew(wall)
        # Just after midnight a call may count as either day's: none is sent then.
        return self._left if wall < self.until - QUOTA_MARGIN else 0

    def _begin_anew(self, wall: float) -> None:
        self.until = next_quota_day(wall)
        if self.booked < NEVER:  # that was of another day
            self.booked = 0

    def spend(self) -> None:
        """One call less."""
        self._left -= 1
        self._spent += 1
        self.booked -= 1

    def lot(self, wall: float) -> int:
        """How many calls to book now."""
        return int(min(self.left(wall), max(self._daily * LOT, 1)))

    def told(self, daily: int, left: int, wall: float) -> None:
        """WeChat has told what a day has, and what is left of this one; never more than was given.

        Counts are kept to a percent or so on WeChat's side, and other programs may spend, too.
        """
        self._left = min(self.left(wall), max(left, 0))
        self._daily = min(self._daily, max(daily, 0))
        self.limited = True


class Track:
    """The windows of one interface of one account.

    new: the windows to ask for, lazily; first: those to ask for before them.
    replaces: what is new may stand in the sink already.
    oldest: all of them come in the order of their days, the oldest first; else newest first.
    span: how long a window may be, shared by all accounts; split: so many windows more than were
    planned became of it.
    unasked, asking: its budget is to be asked for before its first window; that is under way.
    untold: how often that failed.  booking: calls of its budget are being booked.
    proven: an answer has shown that it can be asked; before that, one request at a time is sent.
    exhausted: the ledger remembers that its quota was spent; early: it was refused for its quota in
    the first hour of this day already.
    refusals: tokens that it refused since it last accepted one; foreign: rows of other days.
    calls: requests sent; unbooked: those of them that the ledger does not know yet.
    forbidden: it came to its end because the account may not use it.
    """

    __slots__ = (
        "_again",
        "_first",
        "_new",
        "_order",
        "_planned_for",
        "_refused",
        "_refused_in_a_row",
        "_upcoming",
        "appid",
        "asking",
        "booking",
        "budget",
        "calls",
        "early",
        "endpoint",
        "exhausted",
        "fate",
        "forbidden",
        "foreign",
        "in_flight",
        "oldest",
        "parked_until",
        "proven",
        "refusals",
        "replaces",
        "span",
        "split",
        "unasked",
        "unbooked",
        "untold",
    )

    def __init__(
        self,
        appid: str,
        endpoint: Endpoint,
        new: Iterator[Days],
        budget: Budget,
        *,
        first: Iterable[Try] = (),
        replaces: bool = False,
        span: Span | None = None,
        unasked: bool = False,
        oldest: bool = False,
    ) -> None:
        self.appid = appid
        self.endpoint = endpoint
        self.replaces = replaces
        self.oldest = oldest
        self.budget = budget
        self.span = span or Span()
        self._planned_for = self.span.longest
        self.split = 0
        self.unasked = unasked
        self.asking = self.booking = False
        self.proven = self.exhausted = self.early = False
        self.untold = 0
        self._refused: object = None
        self._refused_in_a_row = 0
        self.calls = self.unbooked = 0
        self.in_flight = self.refusals = self.foreign = 0
        self.parked_until = 0.0
        self.fate: Fate | None = None
        self.forbidden = False
        self._new = new
        self._upcoming = next(new, None)
        self._first = list(first)[::-1]  # the next one at its end; a deque is larger, empty too
        self._again: list[tuple[float, int, Try]] = []
        self._order = 0

    def __repr__(self) -> str:
        state = "over" if self.fate else "parked" if self.parked_until else "open"
        return (
            f"<Track {self.appid} {self.endpoint.name}: {state}, {self.in_flight} in flight,"
            f" {len(self._again)} to be tried again>"
        )

    @property
    def has_work(self) -> bool:
        """Whether a window is left to be tried."""
        return self._upcoming is not None or bool(self._again) or bool(self._first)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do and nothing is under way."""
        return self.in_flight == 0 and not self.has_work

    def again(self, attempt: Try, at: float) -> None:
        """Try this window (again) at a time of the loop."""
        self._order += 1
        heappush(self._again, (at, self._order, attempt))

    def next_at(self, now: float, wall: float) -> float:
        """The loop's time from which `take` has a window to give; NEVER if none is known."""
        if self.asking or self.booking or (self.in_flight and not self.proven):
            return NEVER
        if self.parked_until > wall and self._parked(wall) and self.has_work:
            return now + min(self.parked_until - wall, RECHECK)
        if self.at_its_budget(wall):  # until midnight, which can pass while an answer is waited for
            return now + min(self.budget.until - wall, RECHECK) if self.has_work else NEVER
        room = self.in_flight + len(self._again) < OUTSTANDING
        if room and (self._upcoming is not None or self._first):
            return now
        return self._again[0][0] if self._again else NEVER

    def _parked(self, wall: float) -> bool:
        """Whether nothing is to be given now; it is never parked for longer than to a midnight."""
        if self.parked_until - wall > DAY:  # the clock was set back
            self.parked_until = next_quota_day(wall)
        return self.parked_until > wall

    def at_its_budget(self, wall: float) -> bool:
        """Whether no call is left today."""
        budget = self.budget
        return budget.limited and budget.left(wall) <= 0

    def take(self, now: float, wall: float) -> Try | None:
        """The window to try now: one that is due again goes before a new one."""
        again, budget = self._again, self.budget
        if (
            self.asking
            or (self.in_flight and not self.proven)
            or (self.parked_until > wall and self._parked(wall))
            or (budget.limited and (budget.left(wall) <= 0 or budget.booked < 1))
        ):
            return None
        if again and again[0][0] <= now:
            attempt = self._fitting(heappop(again)[2])
        elif self.in_flight + len(again) >= OUTSTANDING:
            return None
        elif self._first and not self._before_first():
            attempt = self._fitting(self._first.pop())
        elif (upcoming := self._upcoming) is not None:
            self._upcoming = next(self._new, None)
            attempt = Try(Window(self.appid, self.endpoint.name, *upcoming), replaces=self.replaces)
            if upcoming[0] != upcoming[1]:
                attempt = self._fitting(attempt)
        else:
            return None
        self.in_flight += 1
        self.calls += 1
        if budget.limited:
            budget.spend()
        if budget.booked >= NEVER or not budget.limited:
            self.unbooked += 1
        return attempt

    def wants_booking(self, now: float, wall: float) -> bool:
        """Whether it has a window to give as soon as calls are booked for it."""
        budget = self.budget
        return (
            budget.limited
            and budget.left(wall) > 0
            and budget.booked < 1
            and self.next_at(now, wall) <= now
        )

    def refused(self, what: object) -> int:
        """A window was refused for good; gives how many were in a row, each for the same."""
        same = what == self._refused
        self._refused, self._refused_in_a_row = what, self._refused_in_a_row + 1 if same else 1
        return self._refused_in_a_row

    def accepted(self) -> None:
        """A window was answered with its records."""
        self.refusals = 0
        self._refused = None

    def _before_first(self) -> bool:
        """Whether the upcoming window goes before the first ones: it is yesterday's, or older."""
        upcoming = self._upcoming
        if upcoming is not None and self.oldest:
            return upcoming[1] < self._first[-1].window.begin
        return upcoming is not None and all(
            upcoming[1] > attempt.window.end for attempt in reversed(self._first)
        )

    def _fitting(self, attempt: Try) -> Try:
        """A window no longer than it may be; of one that is too long the first piece."""
        window, page = attempt.window, attempt.page
        days = (window.begin, window.end)
        if days_in(days) <= self.span.longest or page is not None:
            return attempt
        cut = pieces(days, int(self.span.longest))
        one, *others = [
            attempt._replace(window=window._replace(begin=begin, end=end), former=None)
            for begin, end in cut
        ]
        self._first += reversed(others)
        self.split += len(cut) - number_of_pieces(days_in(days), self._planned_for)
        return one

    def halve(self, attempt: Try, now: float) -> int:
        """The window was too long; gives how many days one may have from now on."""
        half, _ = halves((attempt.window.begin, attempt.window.end))
        self.span.longest = min(self.span.longest, days_in(half))
        self.again(self._fitting(attempt._replace(page=None)), now)
        return int(self.span.longest)

    def park(self, until: float) -> bool:
        """Give nothing more until a Unix time; gives whether that is news."""
        news = until > self.parked_until
        self.parked_until = max(self.parked_until, until)
        return news

    def end(self, fate: Fate) -> Iterator[Days]:
        """Give nothing more at all; yields what is left, those to be tried again first."""
        self.fate = fate
        again, self._again = sorted(self._again), []  # at once: another one may come to its end
        first, self._first = self._first[::-1], []
        for attempt in [*(attempt for _, _, attempt in again), *first]:
            yield attempt.window.begin, attempt.window.end
        backwards = False
        while (upcoming := self._upcoming) is not None:
            self._upcoming = next(self._new, None)
            if self._upcoming is not None:
                backwards = self._upcoming < upcoming
            cut = self.as_planned(upcoming)
            yield from (reversed(cut) if backwards else cut)  # so that neighbours are told as one

    def as_planned(self, days: Days) -> Sequence[Days]:
        """A window that was never asked for as it was counted: in pieces, or as a whole."""
        if days_in(days) <= self._planned_for:
            return (days,)
        return pieces(days, int(self._planned_for))


class Job(NamedTuple):
    """What a worker is to do for a lane.

    Try a window of a track; ask for the budget of a track, or book calls of it (no attempt); or get
    a token (neither).
    """

    lane: Lane
    track: Track | None
    attempt: Try | None


class Lane:
    """One account.  `next_at` says when it has something to do, `take` gives it out.

    renewing: a worker is getting its token; token_failures, token_at: how often that failed in a
    row, and when it is tried again (the loop's time).
    open: it is not finished, as far as the board knows; stopped: somebody must act first.
    scheduled: the board's note of when it looks here next.  why: the last reason to wait.
    busy: jobs that were given out and not settled; share: how many of them there may be; cap: and
    the account's own limit.
    debt: turns that it lets pass for others, since its answers took long.
    """

    __slots__ = (
        "_turn",
        "appid",
        "busy",
        "cap",
        "debt",
        "limiter",
        "open",
        "renewing",
        "scheduled",
        "share",
        "stopped",
        "token",
        "token_at",
        "token_failures",
        "tracks",
        "why",
    )

    def __init__(
        self,
        appid: str,
        token: SharedToken,
        limiter: Limiter,
        tracks: list[Track],
        share: Share | None = None,
        cap: float = NEVER,
    ) -> None:
        self.appid = appid
        self.token = token
        self.limiter = limiter
        self.tracks = tracks
        self.share = share or Share()
        self.cap = cap
        self.busy = 0
        self.debt = 0.0
        self.open = True
        self.stopped = False
        self.renewing = False
        self.token_failures = 0
        self.token_at = 0.0
        self.scheduled = NEVER
        self.why = ""
        self._turn = 0

    def __repr__(self) -> str:
        state = "finished" if self.finished else "open"
        return f"<Lane {self.appid}: {state}, {self.in_flight} in flight, {self.token!r}>"

    @property
    def in_flight(self) -> int:
        """Windows of this account that were sent and not settled."""
        return sum([track.in_flight for track in self.tracks])

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do and nothing is under way."""
        if self.renewing or self.busy:
            return False
        for track in self.tracks:  # noqa: SIM110  (asked once a window: no generator)
            if track.in_flight or track.has_work:
                return False
        return True

    def next_at(self, now: float, wall: float) -> float:
        """The loop's time from which `take` has a job; NEVER if only an event can tell."""
        if self.busy >= self.share.slots or self.busy >= self.cap:
            return NEVER
        at = min([track.next_at(now, wall) for track in self.tracks], default=NEVER)
        if at == NEVER:
            return NEVER
        if self.token.peek(now) is None:
            if self.renewing:
                return NEVER
            at = max(at, self.token_at)
        return max(at, now + self.limiter.delay(now))

    def take(self, now: float, wall: float) -> Job | None:
        """What to do now; its request counts as gone and must leave at once."""
        busy = self.busy
        if busy >= self.share.slots or busy >= self.cap or not self.limiter.ready(now):
            return None
        if self.token.due(now):
            job = self._renewal(now, wall)
            if job is None and self.token.peek(now) is not None:
                job = self._window(now, wall)
        else:
            job = self._window(now, wall)
        if job is not None:
            if job.track is None or not job.track.booking:  # that sends nothing
                self.limiter.depart(now)
            self.busy += 1
        return job

    def settled(self) -> None:
        """A job of it was settled."""
        self.busy -= 1

    def _renewal(self, now: float, wall: float) -> Job | None:
        if self.renewing or self.token_at > now:
            return None
        if min([track.next_at(now, wall) for track in self.tracks], default=NEVER) > now:
            return None
        self.renewing = True
        return Job(self, None, None)

    def _window(self, now: float, wall: float) -> Job | None:
        for _ in self.tracks:
            self._turn = (self._turn + 1) % len(self.tracks)
            track = self.tracks[self._turn]
            if track.unasked:
                if track.next_at(now, wall) <= now:
                    track.unasked, track.asking = False, True
                    return Job(self, track, None)
                continue
            attempt = track.take(now, wall)
            if attempt is not None:
                return Job(self, track, attempt)
            if track.wants_booking(now, wall):
                track.booking = True
                return Job(self, track, None)
        return None

    def reason(self, now: float, wall: float) -> str:
        """What this account waits for, in a few words."""
        if self.renewing:
            return f"{self.appid} waits for its access token"
        if self.in_flight:
            return f"{self.appid} waits for {self.in_flight} answers"
        parked = [track.parked_until for track in self.tracks if track.has_work]
        at = max(self.next_at(now, wall), now)
        if parked and min(parked) > wall:
            when = f" until {china(min(parked)):%Y-%m-%d %H:%M} in China"
        else:
            when = f", next try in {at - now:.0f} s" if at < NEVER else ""
        return f"{self.appid} waits{when}{': ' if self.why else ''}{self.why}"
