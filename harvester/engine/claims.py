"""The accounts of a worker that shares its ledger: claimed, served, renewed, released, lost.

Rule: claims and plans; the engine starts its tasks, the worker and the writer call its checks.

Windows that were fetched for a lost account have an old epoch and are not stored.

A worker whose lease has expired, or that does not know whether a write was stored, joins again,
with all checks of the first time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from harvester.base import fencing
from harvester.base.outage import Away
from harvester.engine.account_queue import AccountQueue, Share
from harvester.engine.scheduler import Scheduler
from harvester.engine.window_queue import StopReason
from harvester.errors import SinkError
from harvester.events import Claimed, Lost, Observer
from harvester.ledger import PostgresLedger
from harvester.ledger.base import LEASE_ENDED, Lease
from harvester.texts import say

CLAIM_EVERY = 0.25
"""Seconds between two claims: enough for the accounts of the first one to fill slots."""
ASK_EVERY = 1.0
"""Seconds between two claims while nothing is free."""
FIRST_PART = 8
"""While slots are idle, the first claim is for this part of them; each further one doubles."""
_PLANS = say("accounts are being claimed, and their windows are being planned")
_STORES = say("the last windows of finished accounts are being stored")
_OTHERS = say(
    "the remaining accounts are held by other workers, or still leased to workers that have ended"
)
RENEWALS = 3
"""How often a lease is renewed before it ends."""


class LedgerClock:
    """The ledger's Unix time, which decides whose day it is; before a joining, this machine's.

    Between two renewals it follows the loop's clock, so that a clock that is set changes nothing.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._ahead: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> float:
        if self._ahead is None or self._loop is None:
            return self._wall()
        return self._ahead + self._loop.time()

    def set(self, now: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead = now - self._loop.time()


def boot_time() -> float:
    """Seconds on a clock that runs on while the machine sleeps, if there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Lease:
    """How long what a worker holds may be used, by its own clock."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self.now = clock
        self._ends = 0.0
        self._renewed = asyncio.Event()

    def may_send(self) -> bool:
        return fencing.may_send(self._ends, self.now())

    def prolong(self, asked: float) -> None:
        """The ledger has renewed the lease; asked: when the renewal was requested."""
        self._ends = asked + self.seconds
        self._renewed.set()
        self._renewed = asyncio.Event()

    async def renewal(self) -> None:
        await self._renewed.wait()


class _Claims:
    def __init__(self, concurrency: int) -> None:
        self.next = 0.0
        self._concurrency = concurrency
        self._lot = max(concurrency // FIRST_PART, 1)

    def room(self, accounts: int, idle: int) -> int:
        """How many to claim; accounts: those that are served; idle: slots that nothing uses."""
        return max(self._concurrency // Share.FEWEST - accounts, min(idle, self._lot))

    def found(self, number: int, limit: int, lease: float) -> None:
        wait = CLAIM_EVERY if number == limit else min(ASK_EVERY, lease)
        self.next = anyio.current_time() + wait
        if number:
            self._lot = min(2 * self._lot, self._concurrency)


class Sharing:
    """The accounts that one worker of a shared ledger holds.

    lease: seconds.  rejoin: leaves and joins again.  wall: the ledger's clock.
    refused: accounts that were given back, and why.
    """

    def __init__(
        self,
        ledger: PostgresLedger,
        lease: float,
        concurrency: int,
        emit: Observer,
        rejoin: Callable[[], Awaitable[None]],
        wall: LedgerClock,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._ledger = ledger
        self._lease = _Lease(lease, clock or boot_time)
        self._claims = _Claims(concurrency)
        self._emit = emit
        self._rejoin = rejoin
        self._wall = wall
        self._scheduler = Scheduler([], time.time)
        self._epochs: dict[str, int] = {}  # of held accounts, and of accounts being planned
        self._held: dict[str, AccountQueue] = {}
        self._lost: set[str] = set()
        self._giving: set[str] = set()
        self.refused: dict[str, StopReason] = {}
        self._cut_off = ""
        self._doing = _PLANS
        self._joining = asyncio.Lock()  # a lease is not renewed while the worker joins again
        self.windows = 0
        """How many windows this worker has stored."""

    def __repr__(self) -> str:
        return f"<Sharing {len(self._held)} accounts held>"

    def may_send(self) -> bool:
        return not self._cut_off and self._lease.may_send()

    @property
    def is_cut_off(self) -> bool:
        return bool(self._cut_off)

    @property
    def reason(self) -> str:
        return say("joining the ledger again: {}", self._cut_off) if self._cut_off else self._doing

    async def renewal(self) -> None:
        await self._lease.renewal()

    @property
    def marks(self) -> Mapping[str, str]:
        return self._ledger.marks

    def is_current(self, appid: str, epoch: int) -> bool:
        """Whether what was fetched under an epoch may be stored."""
        return not self._cut_off and fencing.is_current(epoch, self._epochs, appid)

    def lose(self, epochs: Mapping[str, int]) -> None:
        """Drop accounts that others have claimed since these epochs."""
        ours = self._epochs
        lost = [appid for appid, epoch in sorted(epochs.items()) if ours.get(appid) == epoch]
        for appid in lost:
            self._drop(appid)
        if lost:
            self._lost.update(lost)
            self._scheduler.wanted.set()
            self._emit(Lost(tuple(lost), say("another worker has claimed them")))

    def give_back(self, account: AccountQueue, reason: StopReason) -> bool:
        """Leave an account that fails on this machine to others.

        Returns whether that is possible: not if it was given back before, since then no other
        worker is left.
        """
        if account.appid in self.refused:
            return False
        self.refused[account.appid] = reason
        self._drop(account.appid)
        self._giving.add(account.appid)
        self._scheduler.wanted.set()
        self._emit(Lost((account.appid,), say("{}; other workers can claim it", reason.reason)))
        return True

    def cut_off(self, reason: str) -> None:
        """The lease has expired, or the result of a write is unknown: join again."""
        self._cut_off = self._cut_off or reason
        self._scheduler.wanted.set()

    async def renew(self) -> None:
        """Renew the lease, again and again; one that has ended is never renewed."""
        while True:
            await anyio.sleep(self._lease.seconds / RENEWALS)
            async with self._joining:
                if self._cut_off:
                    continue
                asked = self._lease.now()
                try:
                    renewed = await self._ledger.renew(self.windows, self._waiting())
                except Away:  # the accounts are held until the lease ends
                    continue
            if renewed is None:
                self.cut_off(LEASE_ENDED)
                continue
            self.lose(renewed.lost)
            self._lease.prolong(asked)
            self._wall.set(renewed.now)

    async def run(
        self,
        scheduler: Scheduler,
        plan: Callable[[Mapping[str, Lease]], Awaitable[Sequence[AccountQueue]]],
        finish: Callable[[Sequence[AccountQueue]], Awaitable[None]],
    ) -> None:
        """Claim accounts, and release those that are finished, until the job has none left.

        finish: returns when all windows of finished accounts are committed.
        """
        self._scheduler = scheduler
        while True:
            scheduler.wanted.clear()
            try:
                if self._cut_off:
                    await self._start_anew()
                await self._want_lost()
                await self._release(scheduler, finish)
                wait = await self._claim_if_idle(scheduler, plan)
                busy = self._held or self._lost or self._giving or self._cut_off
                if not busy and not (await self._ledger.unfinished()).left:
                    break
            except Away as exc:
                self.cut_off(str(exc))
                continue
            with anyio.move_on_after(wait):
                await scheduler.wanted.wait()
        scheduler.close()

    async def _claim_if_idle(
        self,
        scheduler: Scheduler,
        plan: Callable[[Mapping[str, Lease]], Awaitable[Sequence[AccountQueue]]],
    ) -> float:
        """Claim accounts if slots are idle; returns the seconds until the next claim, at most.

        The scheduler wakes the caller before that when a slot is idle or an account is finished.
        """
        now = anyio.current_time()
        if now >= self._claims.next:
            accounts = sum(account.turn.open for account in self._held.values())
            limit = self._claims.room(accounts, scheduler.idle)
            if not limit:
                return self._lease.seconds
            await self._claim(scheduler, plan, limit)
        return max(self._claims.next - anyio.current_time(), 0.0)

    async def _claim(
        self,
        scheduler: Scheduler,
        plan: Callable[[Mapping[str, Lease]], Awaitable[Sequence[AccountQueue]]],
        limit: int,
    ) -> None:
        asked = self._lease.now()
        leases = await self._ledger.claim(limit)
        self._claims.found(len(leases), limit, self._lease.seconds)
        self._doing = _PLANS if leases else _OTHERS
        if not leases:
            return
        for lease in leases:
            if lease.appid in self._held:  # it was lost, and this worker does not know yet
                self._drop(lease.appid)
        self._lease.prolong(asked)
        self._epochs.update({lease.appid: lease.epoch for lease in leases})
        accounts = await plan({lease.appid: lease for lease in leases})
        kept = [
            account
            for account, lease in zip(accounts, leases, strict=True)
            if self._epochs.get(lease.appid) == lease.epoch  # it may be lost again by now
        ]
        self._held.update({account.appid: account for account in kept})
        self._emit(Claimed(tuple(account.appid for account in kept)))
        scheduler.add(kept)

    async def _release(
        self,
        scheduler: Scheduler,
        finish: Callable[[Sequence[AccountQueue]], Awaitable[None]],
    ) -> None:
        finished = [account for account in self._held.values() if not account.turn.open]
        if not finished:
            return
        self._doing = _STORES
        await finish(finished)
        self._doing = _PLANS
        if self._cut_off:  # the last windows may not be stored
            return
        # Some of these may have been lost in the meantime, and claimed again: then others finish
        # them.
        ours = [account for account in finished if self._held.get(account.appid) is account]
        left = [account.appid for account in ours if account.leaves]
        await self._ledger.release([account.appid for account in ours], left)
        for account in ours:
            if self._held.get(account.appid) is account:
                del self._held[account.appid], self._epochs[account.appid]
            scheduler.remove(account)

    def _waiting(self) -> list[str]:
        now, wall = anyio.current_time(), self._wall()
        return [appid for appid, account in self._held.items() if account.waits(now, wall)]

    async def _want_lost(self) -> None:
        """Claim lost accounts once they are free; leave returned accounts to others."""
        if self._giving:
            given, self._giving = sorted(self._giving), set()
            await self._ledger.give_back(given)
        if self._lost:
            lost, self._lost = sorted(self._lost), set()
            await self._ledger.want(lost)

    def _drop(self, appid: str) -> None:
        self._epochs.pop(appid, None)
        account = self._held.pop(appid, None)
        if account is not None:
            self._scheduler.drop(account)
            self._scheduler.remove(account)

    async def _start_anew(self) -> None:
        """Leave and join; new claims get epochs that no earlier window has."""
        async with self._joining:
            reason, held = self._cut_off, sorted(self._held)
            for appid in [*self._epochs]:
                self._drop(appid)
            self._lost.clear()
            self._giving.clear()
            asked = self._lease.now()
            try:
                await self._rejoin()
            except SinkError:  # the ledger has answered: the worker can leave it
                self._cut_off = ""
                raise
            self._lease.prolong(asked)
            self._cut_off, self._doing = "", _PLANS
        self._emit(Lost(tuple(held), reason))
