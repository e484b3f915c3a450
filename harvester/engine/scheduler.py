"""Which account is served next, and where workers wait until one can be.

Rule: one timer for all accounts; a waiting worker costs nothing, and a waiting account holds no
worker.

Accounts that have an item now are in a queue and are served in turn; those that wait for a time are
in a heap; those that wait for an answer are in neither, and return when their item has ended.

Served in turn means: each account gets an equal share of the time for which requests occupy the
slots. An account whose answers take longer than usual skips turns in proportion, while others need
them; so a server that takes 10 s for an answer costs the other accounts no slot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush

from harvester.engine.account_queue import AccountQueue, Share, WorkItem
from harvester.engine.quota import NEVER

LONG = 2.0
"""An item that took longer than usual by this factor costs turns."""

MOST_TURNS = 1000.0
FEW = 4
"""Concurrent items for a reader of unknown speed, or one that is slower than the answers."""
_WEIGHT = 0.05  # weight of the newest item in the average


class _Timed:
    """The accounts that wait for a time, and the one timer for all of them.

    The event loop is kept: asking for it is a system call in 3.11.
    """

    __slots__ = ("_call", "_handle", "_heap", "_loop", "_order", "at")

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._heap: list[tuple[float, int, AccountQueue]] = []
        self._order = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self.at = NEVER

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def first(self) -> float:
        return self._heap[0][0] if self._heap else NEVER

    def add(self, account: AccountQueue, at: float) -> None:
        """Let an account wait; the timer is not set."""
        self._order += 1
        heappush(self._heap, (at, self._order, account))

    def due(self, now: float) -> Iterator[AccountQueue]:
        """Remove and return the accounts that are due, except those that were rescheduled."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, account = heappop(heap)
            if account.turn.at == at:
                yield account

    def set(self, at: float) -> None:
        """Fire at a time of the loop, instead of the previous one; NEVER: not at all."""
        self.cancel()
        self.at = at
        if at < NEVER:
            self._handle = self.loop.call_at(at, self._ring)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self.at = NEVER
        self._call()


class Scheduler:
    """The accounts of a run.

    more: accounts can be added (`add`) until `close`; `wanted` is set when a worker finds no item,
    and when an account is finished.
    paced: a reader takes the windows one by one: only as many items are handed out as it keeps up
    with (`read`).
    """

    def __init__(
        self,
        accounts: Sequence[AccountQueue],
        wall: Callable[[], float],
        share: Share | None = None,
        *,
        more: bool = False,
        paced: bool = False,
    ) -> None:
        self._wall = wall
        self._share = share or Share()
        self._accounts = dict.fromkeys(accounts)
        self._more = more
        self.wanted = asyncio.Event()
        self._ready: deque[AccountQueue] = deque(accounts)
        self._timed = _Timed(self._on_time)
        self._idle: deque[asyncio.Future[None]] = deque()
        self._spare = 0  # workers that may be started
        self._start: Callable[[], object]
        self._usual = 0.0
        self._unfinished = sum(not account.finished for account in accounts)
        self._share.among(self._unfinished)
        self._stopped = False
        self._active = self._unwaited = 0  # items; windows since the reader had to wait for one
        self._most = FEW if paced else NEVER
        for account in accounts:
            account.turn.at = 0.0

    def __repr__(self) -> str:
        return (
            f"<Scheduler {len(self._ready)} accounts ready, {len(self._timed)} timed,"
            f" {len(self._idle)} workers idle>"
        )

    def employ(self, workers: int, start: Callable[[], object] = lambda: None) -> None:
        """Let so many workers be started, each when there is work for it."""
        self._spare, self._start = workers, start
        self._wake_worker()

    async def take(self) -> WorkItem | None:
        """The next item; waits for it; None when there will be no more items."""
        loop = self._timed.loop
        while not self._stopped and (self._unfinished or self._more):
            now = loop.time()
            if self._timed.first <= now:
                self._wake_timed(now)
            item = self._next_item(now) if self._active < self._most else None
            if item is not None:
                self._active += 1
                if self._ready:
                    self._wake_worker()
                elif self._timed.first < self._timed.at:
                    self._arm()
                return item
            idle = loop.create_future()
            self._idle.append(idle)
            self.wanted.set()
            self._arm()
            await idle
        return None

    def _next_item(self, now: float) -> WorkItem | None:
        ready, wall = self._ready, self._wall()
        passed = 0
        while ready:
            account = ready[0]
            turn = account.turn
            if not turn.open:  # it has finished since its last turn
                ready.popleft()
                continue
            if turn.owed >= 1.0 and passed < len(ready) - 1:  # another account may need the turn
                turn.owed -= 1.0
                passed += 1
                ready.rotate(-1)
                continue
            item = account.take(now, wall)
            if item is not None and not account.full:
                ready.rotate(-1)
                return item
            ready.popleft()
            turn.at = NEVER
            if item is not None:  # it has its next turn when one of its items has ended
                return item
            self._schedule(account, now, wall)
        return None

    def settled(self, account: AccountQueue, seconds: float) -> None:
        """An item of an account has ended after some seconds; the caller calls `take` next.

        So no other worker is woken, and `take` finds the account's next item.
        """
        account.settled()
        self._active -= 1
        turn, usual = account.turn, self._usual
        if seconds > LONG * usual:
            if usual:
                turn.owed = min(turn.owed + seconds / usual - 1.0, MOST_TURNS)
                seconds = LONG * usual  # a slow item does not make the others look fast
            else:
                self._usual = usual = seconds
        self._usual = usual + _WEIGHT * (seconds - usual)
        if not turn.open:
            return
        if account.finished:
            self._finished(account)
        elif turn.at > 0.0:
            turn.at = 0.0
            self._ready.append(account)

    def read(self, *, waits: bool) -> None:
        """The reader has taken a window; waits: no other one is there for it.

        While it waits and all items are requests, there may be a quarter more; if it has found as
        many windows waiting as there may be items, half of them.
        """
        self._unwaited = 0 if waits else self._unwaited + 1
        if waits and self._active >= self._most:
            self._most += max(self._most // 4, 1)
            self._wake_worker()
        elif self._unwaited >= self._most:
            self._most, self._unwaited = max(self._most // 2, FEW), 0

    def _finished(self, account: AccountQueue) -> None:
        account.turn.open = False
        self._unfinished -= 1
        self.wanted.set()
        if not self._unfinished and not self._more:
            self.stop()
        elif self._share.among(self._unfinished):
            for other in self._accounts:
                if other.turn.open and other.turn.at > 0.0:
                    self._look_again(other)

    def _look_again(self, account: AccountQueue) -> None:
        self._schedule(account, self._timed.loop.time(), self._wall())
        if self._ready:
            self._wake_worker()

    @property
    def idle(self) -> int:
        return self._spare + sum(not idle.done() for idle in self._idle)

    def add(self, accounts: Sequence[AccountQueue]) -> None:
        for account in accounts:
            self._accounts[account] = None
            account.turn.at = 0.0
            if account.finished:
                account.turn.open = False
                self.wanted.set()
            else:
                self._unfinished += 1
                self._ready.append(account)
        self._share.among(self._unfinished)
        for _ in accounts:
            self._wake_worker()

    def remove(self, account: AccountQueue) -> None:
        self._accounts.pop(account, None)

    def drop(self, account: AccountQueue) -> None:
        """Remove an account whose remaining items must not start; items in flight end normally."""
        account.drop()
        if account.turn.open and account.finished:
            self._finished(account)

    def close(self) -> None:
        self._more = False
        if not self._unfinished:
            self.stop()

    def stop(self) -> None:
        self._stopped = True
        self._timed.cancel()
        while self._idle:
            self._wake_worker()

    def _schedule(self, account: AccountQueue, now: float, wall: float) -> None:
        at, turn = account.next_at(now, wall), account.turn
        if at <= now:
            turn.at = 0.0
            self._ready.append(account)
        elif at < turn.at:
            turn.at = at
            self._timed.add(account, at)
            if at < self._timed.at:
                self._arm()

    def _wake_timed(self, now: float) -> None:
        for account in self._timed.due(now):
            account.turn.at = 0.0
            self._ready.append(account)

    def _arm(self) -> None:
        self._timed.set(self._timed.first)

    def _on_time(self) -> None:
        self._wake_timed(self._timed.loop.time())
        if self._ready and (self._idle or self._spare):
            self._wake_worker()
        else:
            self._arm()

    def _wake_worker(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
        if self._spare:
            self._spare -= 1
            self._start()
