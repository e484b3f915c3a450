"""One account: its limiter, its token and its queues; what it does next, and why it waits.

Rule: decides; never waits, never sends.  Workers do what it returns.
"""

from __future__ import annotations

from typing import NamedTuple

from harvester.base.dates import china
from harvester.engine.limiter import Limiter
from harvester.engine.quota import NEVER
from harvester.engine.window_queue import Attempt, InterfaceQueue
from harvester.events import OF_ACCOUNTS
from harvester.texts import say
from harvester.tokens.shared import SharedToken
from harvester.wechat.codes import KIND_OF


class Share:
    """How many requests one account may have in flight, so that a slow one leaves slots to others.

    ``slots`` is an equal share of all requests in flight, among the accounts that are not finished;
    each account may have a few, and none more than ``most``.
    """

    __slots__ = ("_all", "_most", "slots")

    FEWEST = 2

    def __init__(self, slots: float = NEVER, most: float = NEVER) -> None:
        self._all = slots
        self._most = most
        self.slots = min(slots, most)

    def among(self, accounts: int) -> bool:
        """Set the number of unfinished accounts; returns whether each one's share grew."""
        former = self.slots
        part = self._all if accounts <= 1 else max(self.FEWEST, self._all // accounts)
        self.slots = min(part, self._most)
        return self.slots > former


class WorkItem(NamedTuple):
    """What a worker is to do for an account.

    Try a window; ask for the quota of an interface (no attempt); or get a token (neither).
    """

    account: AccountQueue
    queue: InterfaceQueue | None
    attempt: Attempt | None


class ScheduleState:
    """The scheduler's note on an account.

    open: it is not finished; at: the time of its next turn, 0 if it is in the ready queue.
    owed: turns that it gives to others, because its answers took long.
    """

    __slots__ = ("at", "open", "owed")

    def __init__(self) -> None:
        self.open = True
        self.at = NEVER
        self.owed = 0.0


class AccountQueue:
    """One account.  `next_at` is when it has an item, `take` returns that item.

    stopped: an operator must act first.  why: the last reason to wait.
    busy: items that were taken and have not ended; share: their limit; cap: the account's own
    limit, 1 until an answer shows that it is not ``refused`` any more: the codes that stopped it in
    a former run, which are not tried again.
    """

    __slots__ = (
        "_next", "_renew_at", "_renewing", "_token_failures", "appid", "busy", "cap", "limiter",
        "most", "queues", "refused", "share", "stopped", "token", "turn", "why",
    )  # fmt: skip

    def __init__(
        self,
        token: SharedToken,
        limiter: Limiter,
        queues: list[InterfaceQueue],
        share: Share | None = None,
        cap: float = NEVER,
    ) -> None:
        self.appid = token.appid
        self.token = token
        self.limiter = limiter
        self.queues = queues
        self.share = share or Share()
        codes = [code for queue in queues for code in queue.failing]
        self.refused = frozenset([code for code in codes if KIND_OF.get(code) in OF_ACCOUNTS])
        self.most = cap
        self.cap = 1 if self.refused else cap
        self.busy = 0
        self._renewing = False  # a worker fetches a token
        self._renew_at = 0.0
        self._token_failures = 0
        self.turn = ScheduleState()
        self.stopped = False
        self.why = ""
        self._next = 0

    def __repr__(self) -> str:
        state = "finished" if self.finished else "open"
        return f"<AccountQueue {self.appid}: {state}, {self.in_flight} in flight, {self.token!r}>"

    @property
    def in_flight(self) -> int:
        """Windows of this account that were sent and not answered."""
        return sum([queue.in_flight for queue in self.queues])

    @property
    def finished(self) -> bool:
        if self._renewing or self.busy:
            return False
        for queue in self.queues:  # noqa: SIM110  (asked once a window: no generator)
            if queue.in_flight or queue.windows:
                return False
        return True

    @property
    def full(self) -> bool:
        return self.busy >= self.share.slots or self.busy >= self.cap

    @property
    def retries(self) -> bool:
        """Whether nothing is left but what was tried before."""
        return bool(self._token_failures) or not any(each.windows.untried for each in self.queues)

    @property
    def leaves(self) -> bool:
        return any(each.leaves for each in self.queues)

    def waits(self, now: float, wall: float) -> bool:
        """Whether something is left, and nothing can be requested before a later time."""
        return (
            not self.finished
            and not self.busy
            and all([queue.waits(now, wall) for queue in self.queues])
        )

    def next_at(self, now: float, wall: float) -> float:
        """The loop's time from which `take` has an item; NEVER if only an event can change that."""
        if self.full:
            return NEVER
        at = min([queue.next_at(now, wall) for queue in self.queues], default=NEVER)
        if at == NEVER:
            return NEVER
        if self.token.peek(now) is None:
            if self._renewing:
                return NEVER
            at = max(at, self._renew_at)
        return max(at, now + self.limiter.delay(now))

    def take(self, now: float, wall: float) -> WorkItem | None:
        """The next item; its request is counted as sent and must leave at once."""
        if self.full or not self.limiter.ready(now):
            return None
        if self.token.due(now):
            item = self._renewal(now, wall)
            if item is None and self.token.peek(now) is not None:
                item = self._window(now, wall)
        else:
            item = self._window(now, wall)
        if item is not None:
            if item.queue is not None:  # a token source counts its requests as they leave
                self.limiter.depart(now)
            self.busy += 1
        return item

    def settled(self) -> None:
        self.busy -= 1

    def answered(self) -> None:
        self.cap, self.refused = self.most, frozenset()

    def token_fetched(self) -> None:
        """The account has a token, or is to wait for one as if none had failed."""
        self._token_failures = 0

    def token_failed(self) -> int:
        """No token was fetched; returns how often in a row."""
        self._token_failures += 1
        return self._token_failures

    def renewed(self, again_at: float | None = None) -> None:
        """The fetch of a token has ended; again_at: the loop's time of the next one."""
        self._renewing = False
        if again_at is not None:
            self._renew_at = again_at

    def put_back(self, item: WorkItem, now: float) -> None:
        if item.queue is None:
            self._renewing = False
        elif item.attempt is None:
            item.queue.unask()
        else:
            item.queue.put_back(item.attempt, now)

    def pause(self, seconds: float, now: float) -> bool:
        """Send nothing for some seconds, and more slowly then; returns whether that is new."""
        first = self.limiter.pause(seconds)
        if first:  # the other requests in flight got the same refusal
            self.limiter.slow_down(now + seconds)
        return first

    def drop(self) -> None:
        """Another worker has claimed it: request and store nothing of it any more."""
        self.stopped = True
        for queue in self.queues:
            queue.drop()

    def _renewal(self, now: float, wall: float) -> WorkItem | None:
        if self._renewing or self._renew_at > now:
            return None
        if min([queue.next_at(now, wall) for queue in self.queues], default=NEVER) > now:
            return None
        self._renewing = True
        return WorkItem(self, None, None)

    def _window(self, now: float, wall: float) -> WorkItem | None:
        for _ in self.queues:
            self._next = (self._next + 1) % len(self.queues)
            queue = self.queues[self._next]
            if queue.unasked:
                if queue.next_at(now, wall) <= now:
                    queue.ask()
                    return WorkItem(self, queue, None)
                continue
            attempt = queue.take(now, wall)
            if attempt is not None:
                return WorkItem(self, queue, attempt)
        return None

    def reason(self, now: float, wall: float) -> str:
        if self._renewing:
            return say("{} waits for its access token", self.appid)
        if self.in_flight:
            return say("{} waits for {} answers", self.appid, self.in_flight)
        parked = [queue.parked_until for queue in self.queues if queue.windows]
        at = max(self.next_at(now, wall), now)
        if parked and min(parked) > wall:
            when = say(" until {:%Y-%m-%d %H:%M} in China", china(min(parked)))
        else:
            when = say(", next try in {:.0f} s", at - now) if at < NEVER else ""
        waits = say("{} waits{}", self.appid, when)
        return say("{}: {}", waits, self.why) if self.why else waits
