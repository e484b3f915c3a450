"""Several workers in virtual time: one is cut off, one dies, the figures change meanwhile.

The ledger and the sink are in memory and follow the rules of `harvester.fencing`; each call of them
takes a moment before it has an effect and a moment after it, and may be lost at either.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest

from harvester import fencing
from harvester.away import Away
from harvester.coverage import DONE, Calendar, Outcome
from harvester.engine import Engine
from harvester.errors import SinkError
from harvester.events import Report
from harvester.ledger.base import Exhausted, Job, Key, KnownSink, Lease, Spent, WorkerState
from harvester.model import Batch, Tally
from harvester.plan import Days
from harvester.settings import Options
from harvester.sinks.base import Checkpoint, Fence, Written
from harvester.testing import FakeTransport, MemorySink, Simulator, VirtualTimeLoop, run_virtual
from harvester.testing.ledger_bench import Model
from tests.support import noon, scope

NOW = noon("2024-06-10")
LEASE = 3.0
BEGIN, END = date(2024, 1, 1), date(2024, 2, 29)
APPIDS = [f"wx{number:016x}" for number in range(6)]
NAME = "getarticlesummary"


class Account:
    """An account in the ledger."""

    def __init__(self) -> None:
        self.holder: int | None = None
        self.epoch = 1
        self.freed: float | None = None


class Store:
    """What the workers share: the ledger's content, and the accounts."""

    def __init__(self) -> None:
        self.model = Model()
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        self.workers: dict[int, tuple[Job, float]] = {}
        self.wanted: defaultdict[int, set[str]] = defaultdict(set)
        self.number = 0
        self.lock = asyncio.Lock()
        self.finals: Counter[tuple[str, date]] = Counter()


class Ledger:
    """One worker's way to the store.  cut: nothing of it arrives, or no answer comes back."""

    path: Path | None = None

    def __init__(self, store: Store, loop: VirtualTimeLoop, draw: Random) -> None:
        self.store = store
        self.cut = False
        self._loop = loop
        self._draw = draw
        self._worker = 0
        self._lease = 0.0
        self.epochs: dict[str, int] = {}

    async def _moment(self) -> None:
        await asyncio.sleep(self._draw.uniform(0.001, 0.05))
        if self.cut:
            raise Away("the server does not answer")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self.store.lock:
            yield

    # workers

    def _until(self, number: int | None) -> float | None:
        if number is None:
            return None
        return self.store.workers[number][1] if number in self.store.workers else 0.0

    async def join(self, job: Job) -> None:
        self.store.number += 1
        self._worker, self._lease = self.store.number, job.lease
        for account in self.store.accounts.values():
            until = self._until(account.holder)
            if account.holder is not None and fencing.claimable(until, self._loop.time()):
                account.holder, account.freed = None, until
                account.epoch += 1
        self.store.workers[self._worker] = (job, self._loop.time() + job.lease)

    async def want(self, appids: Sequence[str]) -> None:
        self.store.wanted[self._worker].update(appids)

    async def claim(self, limit: int) -> list[Lease]:
        await self._moment()
        now, (job, until) = self._loop.time(), self.store.workers[self._worker]
        if fencing.claimable(until, now):
            return []
        self.store.workers[self._worker] = (job, now + self._lease)
        found = []
        for appid in sorted(self.store.wanted[self._worker]):
            account = self.store.accounts[appid]
            held_until = self._until(account.holder)
            if len(found) < limit and fencing.claimable(held_until, now):
                since = account.freed if account.holder is None else held_until
                account.holder, account.freed = self._worker, None
                account.epoch += 1
                self.store.wanted[self._worker].discard(appid)
                idle = float("inf") if since is None else now - since
                found.append(Lease(appid, account.epoch, idle))
        await self._moment()
        self.epochs.update({lease.appid: lease.epoch for lease in found})
        return found

    async def renew(self, windows: int) -> Mapping[str, int]:
        held = dict(self.epochs)
        await self._moment()
        job, _ = self.store.workers[self._worker]
        self.store.workers[self._worker] = (job, self._loop.time() + self._lease)
        lost = {appid: held[appid] for appid in fencing.lost(held, self._known())}
        await self._moment()
        for appid, epoch in lost.items():
            if self.epochs.get(appid) == epoch:
                del self.epochs[appid]
        return lost

    def _known(self) -> dict[str, int]:
        return {appid: account.epoch for appid, account in self.store.accounts.items()}

    async def release(self, appids: Collection[str]) -> None:
        await self._moment()
        job, _ = self.store.workers[self._worker]
        for appid in appids:
            account = self.store.accounts[appid]
            if account.holder == self._worker:
                account.holder, account.freed = None, self._loop.time()
            for number, (other, _) in self.store.workers.items():
                if other.name == job.name:
                    self.store.wanted[number].discard(appid)
            self.epochs.pop(appid, None)

    async def abandon(self) -> None:
        self.epochs.clear()
        while self.cut:
            await asyncio.sleep(0.5)
        for appid, account in self.store.accounts.items():
            if account.holder == self._worker:
                account.holder, account.freed = None, self._loop.time()
                account.epoch += 1
                self.store.wanted[self._worker].add(appid)

    async def unfinished(self) -> int:
        return len(self.store.wanted[self._worker])

    async def leave(self) -> None:
        if self.cut:
            raise Away("the server does not answer")
        for account in self.store.accounts.values():
            if account.holder == self._worker:
                account.holder, account.freed = None, self._loop.time()
        del self.store.workers[self._worker]

    async def workers(self) -> list[WorkerState]:
        return []

    # of a run

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        outcomes, spent = list(outcomes), list(spent)
        if not (outcomes or spent or epochs):
            self.store.model.commit([], checkpoints, [])
            return ()
        held = {**{each.appid: self.epochs.get(each.appid, 0) for each in spent}, **(epochs or {})}
        await self._moment()
        gone = fencing.lost(held, self._known())
        kept = [each for each in outcomes if each.window.appid not in gone]
        for each in kept:
            if each.state == "final":
                self.store.finals[each.window.appid, each.window.begin] += 1
        self.store.model.commit(kept, checkpoints, [s for s in spent if s.appid not in gone])
        await self._moment()
        for appid in gone:
            if self.epochs.get(appid) == held[appid]:
                del self.epochs[appid]
        return gone

    async def register(self, ranges: Iterable[Any], sinks: Sequence[str]) -> None:
        self.store.model.register(ranges, sinks)

    async def checkpoint(self, sink: str) -> dict[str, str]:
        return dict(self.store.model.checkpoints[sink])

    async def caught_up(self, sink: str, refilled: str = "") -> None:
        self.store.model.sinks[sink] = KnownSink(True, refilled)

    async def sinks(self) -> dict[str, KnownSink]:
        return dict(self.store.model.sinks)

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        while self.cut:
            await asyncio.sleep(0.5)
        found = {}
        for key, calendar in self.store.model.calendars.items():
            if key[0] in appids:
                years = {year: bytearray(row) for year, row in calendar.years.items()}
                found[key] = Calendar(years, dict(calendar.windows), dict(calendar.sums))
        return found

    async def accounts(self) -> list[str]:
        return self.store.model.accounts

    async def learn_span(self, endpoint: str, days: int) -> None:
        self.store.model.spans[endpoint] = days

    async def note_exhausted(self, said: Exhausted) -> None:
        self.store.model.exhausted[said.appid, said.endpoint] = said

    async def asked(self) -> dict[Key, Days]:
        return dict(self.store.model.asked)

    async def spent(self, day: date) -> dict[Key, int]:
        return self.store.model.spent(day)

    async def spans(self) -> dict[str, int]:
        return {}

    async def exhausted(self, now: float) -> dict[Key, Exhausted]:
        return {}


class FencedSink(MemorySink):
    """A sink in memory whose writes come late, and are refused where a later epoch has written."""

    fenced = True

    def __init__(self, draw: Random) -> None:
        super().__init__("memory:shared")
        self.epochs: dict[str, int] = {}
        self._draw = draw

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        await asyncio.sleep(self._draw.choice((0.01, 0.5, 9.0)))
        refused = fencing.refused(fence, self.epochs)
        self.epochs.update(fencing.raised(fence, self.epochs))
        await super().write([each for each in batches if each.window.appid not in refused], {})
        await asyncio.sleep(self._draw.choice((0.01, 0.5, 9.0)))
        return Written({}, refused)


class Changing(Simulator):
    """Figures that change with every few answers, and take a while."""

    changes = 0

    def truth(self, appid: str, day: date) -> list[dict[str, Any]]:
        self.changes += 1
        rows = super().truth(appid, day)
        return [{**row, "int_page_read_user": row["int_page_read_user"] + self.changes // 5}
                for row in rows]  # fmt: skip


class World:
    """Some workers of one job, and what happens to them."""

    def __init__(self, loop: VirtualTimeLoop, seed: int) -> None:
        self.loop = loop
        self.draw = Random(seed)
        self.store = Store()
        self.sink = FencedSink(self.draw)
        self.simulator = Changing(wall=loop.wall)
        self.ledgers: dict[asyncio.Task[Report], Ledger] = {}

    def start(self) -> asyncio.Task[Report]:
        ledger = Ledger(self.store, self.loop, self.draw)
        task = asyncio.ensure_future(self._run(ledger))
        self.ledgers[task] = ledger
        return task

    async def _run(self, ledger: Ledger) -> Report:
        engine = Engine(
            scope(BEGIN, END, APPIDS),
            Options(rate=10, concurrency=12, lease=LEASE),
            FakeTransport(self.simulator, latency=0.2),
            [self.sink],
            ledger,
            wall=self.loop.wall,
        )
        async with engine:
            return await engine.run()

    async def disturb(self) -> None:
        """Cut workers off for a while, and kill some, until they are done."""
        running = [self.start() for _ in range(3)]
        ends = self.loop.time() + 400
        while running and self.loop.time() < ends:
            await asyncio.sleep(self.draw.uniform(0.5, 4.0))
            running = [task for task in running if not task.done()]
            if not running:
                break
            task, what = self.draw.choice(running), self.draw.random()
            if what < 0.3:
                await self._kill(task)
                running.append(self.start())
            elif what < 0.7:
                self.ledgers[task].cut = True
                self.loop.call_later(self.draw.uniform(1.0, 5 * LEASE), self._heal, task)
        for task in running:
            self.ledgers[task].cut = False
        await asyncio.gather(*running, return_exceptions=True)

    def _heal(self, task: asyncio.Task[Report]) -> None:
        self.ledgers[task].cut = False

    async def _kill(self, task: asyncio.Task[Report]) -> None:
        self.ledgers[task].cut = True  # a process that is killed says nothing more
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


def compared(world: World) -> list[str]:
    """What in the sink is not as the ledger says."""
    wrong = []
    for (appid, name), calendar in world.store.model.calendars.items():
        sums: defaultdict[int, Tally] = defaultdict(Tally)
        for window, batch in world.sink._batches.items():
            if window[:2] == (appid, name) and window.begin.year in calendar.years:
                days = (window.begin, window.end)
                if list(calendar.runs(*days, DONE)) == [days]:
                    sums[window.begin.year] = sums[window.begin.year].plus(batch.tally)
        wrong += [f"{appid} {year}: {sums[year]} is stored, {tally} was fetched"
                  for year, tally in calendar.sums.items() if tally != sums[year]]  # fmt: skip
    return wrong + [f"{key} became final {n} times" for key, n in world.store.finals.items()
                    if n > 1]  # fmt: skip


async def lived(loop: VirtualTimeLoop, seed: int) -> tuple[World, Report]:
    world = World(loop, seed)
    await world.disturb()
    return world, await world.start()


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_doubled_or_stale(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        monkeypatch.setattr("harvester.sharing.boot_time", loop.time)
        world, report = await lived(loop, seed)
        assert report.state == "complete"
        assert compared(world) == []
        assert len(world.sink.windows) == len(APPIDS) * ((END - BEGIN).days + 1)

    run_virtual(main, NOW)


def test_a_ledger_that_compares_no_epochs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "lost", lambda *_: set())
    monkeypatch.setattr(fencing, "is_current", lambda *_: True)
    found: list[str] = []

    async def main(loop: VirtualTimeLoop) -> None:
        monkeypatch.setattr("harvester.sharing.boot_time", loop.time)
        world = World(loop, next(seeds))
        await world.disturb()
        found.extend(compared(world))
        found.extend(
            str(task.exception())
            for task in world.ledgers
            if not task.cancelled() and isinstance(task.exception(), SinkError)
        )

    seeds = iter(range(40))
    while not found:
        run_virtual(main, NOW)
