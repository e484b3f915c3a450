"""One account: its limiter, its token, its budgets; what it does next, and why it waits.

Rule: decides, never waits and never sends; the engine asks, does, and tells.

A lane has a track for each interface.  A track hands out new windows one by one, and keeps those
that are to be tried again; a window that waits for that lies here and holds no slot.  How many may
lie here is bounded, so that a storm of refusals holds up this lane's new windows and no other lane,
and memory does not grow with the days that are planned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from harvester.auth import SharedToken
from harvester.endpoint import Endpoint
from harvester.limiter import Limiter
from harvester.model import Window
from harvester.plan import Days, next_midnight

OUTSTANDING = 256
"""Windows of one track that may be in flight or waiting to be tried again."""

RECHECK = 30.0
"""Seconds after which a wait for a time of day is looked at again: the wall clock may have been
set, or the machine may have slept, and the event loop's clock knows of neither."""

NEVER = math.inf


class Try(NamedTuple):
    """One window on its way.

    failures: attempts that failed; deferrals: answers that it is not ready yet; since: the loop's
    time of the first failure.
    """

    window: Window
    failures: int = 0
    deferrals: int = 0
    since: float = NEVER


class Fate(NamedTuple):
    """What becomes of all that is left of a track that is over.

    until: the Unix time from which it can be asked for again, None if it failed.
    """

    until: float | None
    reason: str


class Budget:
    """Calls that may still be sent today (in China); without end if no quota is given.

    until: the Unix time at which it begins anew.
    """

    __slots__ = ("_daily", "_left", "until")

    def __init__(self, daily: int | None, spent: int, wall: float) -> None:
        self._daily = NEVER if daily is None else daily
        self._left = self._daily - spent
        self.until = next_midnight(wall)

    @property
    def limited(self) -> bool:
        """Whether there is an end to it."""
        return self._daily < NEVER

    def left(self, wall: float) -> float:
        """How many calls are left now."""
        if wall >= self.until:
            self._left = self._daily
            self.until = next_midnight(wall)
        return self._left

    def spend(self) -> None:
        """One call less."""
        self._left -= 1


class Track:
    """The windows of one interface of one account.

    new: the windows to ask for, lazily; replaces: they may stand in the sink already.
    refusals: tokens that it refused since it last accepted one.
    calls: requests sent; unbooked: those of them that the ledger does not know yet.
    """

    __slots__ = (
        "_again",
        "_limited",
        "_new",
        "_order",
        "_upcoming",
        "appid",
        "budget",
        "calls",
        "endpoint",
        "fate",
        "in_flight",
        "parked_until",
        "refusals",
        "replaces",
        "unbooked",
    )

    def __init__(
        self,
        appid: str,
        endpoint: Endpoint,
        new: Iterator[Days],
        budget: Budget,
        *,
        replaces: bool = False,
    ) -> None:
        self.appid = appid
        self.endpoint = endpoint
        self.replaces = replaces
        self.budget = budget
        self._limited = budget.limited
        self.calls = self.unbooked = 0
        self.in_flight = self.refusals = 0
        self.parked_until = 0.0
        self.fate: Fate | None = None
        self._new = new
        self._upcoming = next(new, None)
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
        return self._upcoming is not None or bool(self._again)

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
        if self.parked_until > wall and self.has_work:
            return now + min(self.parked_until - wall, RECHECK)
        if self.at_its_budget(wall):  # until midnight, which can pass while an answer is waited for
            return now + min(self.budget.until - wall, RECHECK) if self.has_work else NEVER
        if self._upcoming is not None and self.in_flight + len(self._again) < OUTSTANDING:
            return now
        return self._again[0][0] if self._again else NEVER

    def at_its_budget(self, wall: float) -> bool:
        """Whether no call is left today."""
        return self._limited and self.budget.left(wall) <= 0

    def take(self, now: float, wall: float) -> Try | None:
        """The window to try now: one that is due again goes before a new one."""
        again, upcoming = self._again, self._upcoming
        if self.parked_until > wall or (self._limited and self.budget.left(wall) <= 0):
            return None
        if again and again[0][0] <= now:
            attempt = heappop(again)[2]
        elif upcoming is not None and self.in_flight + len(again) < OUTSTANDING:
            self._upcoming = next(self._new, None)
            attempt = Try(Window(self.appid, self.endpoint.name, *upcoming))
        else:
            return None
        self.in_flight += 1
        self.calls += 1
        self.unbooked += 1
        if self._limited:
            self.budget.spend()
        return attempt

    def park(self, until: float) -> bool:
        """Give nothing more until a Unix time; gives whether that is news."""
        news = until > self.parked_until
        self.parked_until = max(self.parked_until, until)
        return news

    def end(self, fate: Fate) -> Iterator[Days]:
        """Give nothing more at all; yields what is left, those to be tried again first."""
        self.fate = fate
        again, self._again = sorted(self._again), []  # at once: another one may come to its end
        for _, _, attempt in again:
            yield attempt.window.begin, attempt.window.end
        while (upcoming := self._upcoming) is not None:
            self._upcoming = next(self._new, None)
            yield upcoming


class Job(NamedTuple):
    """What a worker is to do for a lane: try a window of a track, or (both None) get a token."""

    lane: Lane
    track: Track | None
    attempt: Try | None


class Lane:
    """One account.  `next_at` says when it has something to do, `take` gives it out.

    renewing: a worker is getting its token; token_failures, token_at, token_since: how often that
    failed in a row, when it is tried again, and when it began to fail (the loop's time).
    open: it is not finished, as far as the board knows; stopped: somebody must act first.
    scheduled: the board's note of when it looks here next.  why: the last reason to wait.
    """

    __slots__ = (
        "_turn",
        "appid",
        "limiter",
        "open",
        "renewing",
        "scheduled",
        "stopped",
        "token",
        "token_at",
        "token_failures",
        "token_since",
        "tracks",
        "why",
    )

    def __init__(
        self, appid: str, token: SharedToken, limiter: Limiter, tracks: list[Track]
    ) -> None:
        self.appid = appid
        self.token = token
        self.limiter = limiter
        self.tracks = tracks
        self.open = True
        self.stopped = False
        self.renewing = False
        self.token_failures = 0
        self.token_at = 0.0
        self.token_since = NEVER
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
        if self.renewing:
            return False
        for track in self.tracks:  # noqa: SIM110  (asked once a window: no generator)
            if track.in_flight or track.has_work:
                return False
        return True

    def next_at(self, now: float, wall: float) -> float:
        """The loop's time from which `take` has a job; NEVER if only an event can tell."""
        at = min([track.next_at(now, wall) for track in self.tracks], default=NEVER)
        if at == NEVER:
            return NEVER
        if self.token.peek(now) is None:
            if self.renewing:
                return NEVER
            at = max(at, self.token_at)
        return max(at, now + self.limiter.delay())

    def take(self, now: float, wall: float) -> Job | None:
        """What to do now; its request counts as gone and must leave at once."""
        if not self.limiter.ready(now):
            return None
        job = self._renewal(now, wall) or self._window(now, wall)
        if job is not None:
            self.limiter.depart(now)
        return job

    def _renewal(self, now: float, wall: float) -> Job | None:
        if self.renewing or self.token_at > now or not self.token.due(now):
            return None
        if min([track.next_at(now, wall) for track in self.tracks], default=NEVER) > now:
            return None
        self.renewing = True
        return Job(self, None, None)

    def _window(self, now: float, wall: float) -> Job | None:
        if self.token.peek(now) is None:
            return None
        for _ in self.tracks:
            self._turn = (self._turn + 1) % len(self.tracks)
            track = self.tracks[self._turn]
            attempt = track.take(now, wall)
            if attempt is not None:
                return Job(self, track, attempt)
        return None

    def reason(self, now: float, wall: float) -> str:
        """What this account waits for, in a few words."""
        if self.renewing:
            return f"{self.appid} waits for its access token"
        if self.in_flight:
            return f"{self.appid} waits for {self.in_flight} answers"
        at = max(self.next_at(now, wall), now)
        when = f", next try in {at - now:.0f} s" if at < NEVER else ""
        return f"{self.appid} waits{when}{': ' if self.why else ''}{self.why}"
