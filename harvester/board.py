"""Which lane is served next, and where workers wait until one can be.

Rule: one timer for all lanes; a worker that waits costs nothing, and a lane that waits holds none.

While nobody answers, one job is given out every few seconds (`probe`), until somebody does.

Lanes that can do something now stand in a queue and are served in turn; those that wait for a time
stand in a heap; those that wait for an answer stand nowhere and come back when it is settled.

In turn means: each an equal part of the time for which requests occupy the slots.  A lane whose
answers take long lets as many turns pass as they took longer than usual, while others want them;
so a server that takes 10 s an answer costs the other accounts no slot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from harvester.lane import NEVER, Job, Lane, Share

LONG = 2.0
"""A job that took so many times as long as usual is paid for with turns."""

MOST_TURNS = 1000.0
_WEIGHT = 0.05  # of the newest job in what is usual


class Board:
    """The lanes of a run."""

    def __init__(
        self, lanes: Sequence[Lane], wall: Callable[[], float], share: Share | None = None
    ) -> None:
        self._wall = wall
        self._share = share or Share()
        self._lanes = lanes
        self._ready: deque[Lane] = deque(lanes)
        self._timed: list[tuple[float, int, Lane]] = []
        self._order = 0
        self._idle: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._usual = 0.0
        self._probe_every = self._probe_at = 0.0
        self._unfinished = sum(not lane.finished for lane in lanes)
        self._share.among(self._unfinished)
        self._stopped = False
        for lane in lanes:
            lane.scheduled = 0.0

    def __repr__(self) -> str:
        return (
            f"<Board {len(self._ready)} lanes ready, {len(self._timed)} timed,"
            f" {len(self._idle)} workers idle>"
        )

    async def take(self) -> Job | None:
        """The next job; waits for it; None once there will be none any more."""
        # Kept, since asking for the running loop is a system call in Python 3.11.
        loop = self._running()
        while not self._stopped and self._unfinished:
            now = loop.time()
            if self._timed:
                self._wake_timed(now)
            if not self._probe_every or now >= self._probe_at:
                job = self._next_job(now)
                if job is not None:
                    if self._probe_every:
                        self._probe_at = now + self._probe_every
                        self._arm(loop)  # another worker sends the next one
                    elif self._ready:
                        self._wake_worker()
                    return job
            idle = loop.create_future()
            self._idle.append(idle)
            self._arm(loop)
            await idle
        return None

    def _next_job(self, now: float) -> Job | None:
        ready, wall = self._ready, self._wall()
        passed = 0
        while ready:
            lane = ready[0]
            if lane.debt >= 1.0 and passed < len(ready) - 1:  # somebody else may want the turn
                lane.debt -= 1.0
                passed += 1
                ready.rotate(-1)
                continue
            job = lane.take(now, wall)
            if job is not None:
                ready.rotate(-1)
                return job
            ready.popleft()
            lane.scheduled = NEVER
            self._schedule(lane, now, wall)
        return None

    def settled(self, lane: Lane, seconds: float) -> None:
        """A job of a lane was settled after so many seconds, by who comes to `take` right now.

        So nobody else is woken, and what the lane can do next is found out there.
        """
        lane.settled()
        usual = self._usual
        if seconds > LONG * usual:
            if usual:
                lane.debt = min(lane.debt + seconds / usual - 1.0, MOST_TURNS)
                seconds = LONG * usual  # one of them does not make the others look quick
            else:
                self._usual = usual = seconds
        self._usual = usual + _WEIGHT * (seconds - usual)
        if not lane.open:
            return
        if lane.finished:
            self._finished(lane)
        elif lane.scheduled > 0.0:
            lane.scheduled = 0.0
            self._ready.append(lane)

    def _finished(self, lane: Lane) -> None:
        lane.open = False
        self._unfinished -= 1
        if not self._unfinished:
            self.stop()
        elif self._share.among(self._unfinished):
            for other in self._lanes:
                if other.open and other.scheduled > 0.0:
                    self._look_again(other)

    def _look_again(self, lane: Lane) -> None:
        self._schedule(lane, self._running().time(), self._wall())
        if self._ready:
            self._wake_worker()

    def probe(self, every: float) -> None:
        """Give out one job in so many seconds from now on, the first one at once."""
        if not self._probe_every:
            self._probe_every = every
            self._probe_at = self._running().time()

    def resume(self) -> None:
        """Give out jobs as before."""
        if self._probe_every:
            self._probe_every = 0.0
            self._wake_worker()

    def stop(self) -> None:
        """Give out no more jobs."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._wake_worker()

    def _schedule(self, lane: Lane, now: float, wall: float) -> None:
        """Note when to look at a lane that is not in the queue."""
        at = lane.next_at(now, wall)
        if at <= now:
            lane.scheduled = 0.0
            self._ready.append(lane)
        elif at < lane.scheduled:
            lane.scheduled = at
            self._order += 1
            heappush(self._timed, (at, self._order, lane))
            if at < self._timer_at:
                self._arm(self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop

    def _wake_timed(self, now: float) -> None:
        timed = self._timed
        while timed and timed[0][0] <= now:
            at, _, lane = heappop(timed)
            if lane.scheduled == at:  # else it was scheduled anew in the meantime
                lane.scheduled = 0.0
                self._ready.append(lane)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = self._timed[0][0] if self._timed else NEVER
        if self._probe_every and self._ready and self._idle:
            self._timer_at = min(self._timer_at, self._probe_at)
        if self._timer_at < NEVER:
            self._timer = loop.call_at(self._timer_at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._timer_at = NEVER
        self._wake_timed(self._running().time())
        if self._ready and self._idle:
            self._wake_worker()
        else:
            self._arm(self._running())

    def _wake_worker(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
