"""A check for each guarantee of `PostgresLedger`.

Rule: a check's first line is the guarantee that it tests; only documented guarantees are tested.

A worker is a ledger object of its own on the same store, as another process would make it.  Leases
are short, and a check waits for their end.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import anyio

from harvester.base.outage import Away
from harvester.errors import UsageError
from harvester.ledger import PostgresLedger
from harvester.ledger.base import Spent, WorkerJob
from harvester.ledger.coverage import STORED
from harvester.testing.sink_bench import ONE, OTHER
from tests.ledger.bench import INTERFACE, TODAY, LedgerBench, day, outcome

SharedCheck = Callable[[LedgerBench], Awaitable[None]]
SHARED_CHECKS: dict[str, SharedCheck] = {}

LONG, SHORT = 60.0, 0.4
"""Seconds of a lease: one that does not end within a check, and one whose end a check waits for."""


def _check(run: SharedCheck) -> SharedCheck:
    """Add a check under the name of its function."""
    SHARED_CHECKS[getattr(run, "__name__", "")] = run
    return run


def _job(lease: float = LONG, name: str = "a job", rank: float = 0.0) -> WorkerJob:
    return WorkerJob(name, lease, time.time(), rank)


@asynccontextmanager
async def _workers(bench: LedgerBench, *jobs: WorkerJob) -> AsyncIterator[list[PostgresLedger]]:
    """A worker for each of these jobs."""
    async with AsyncExitStack() as stack:
        found = []
        for job in jobs:
            ledger = cast("PostgresLedger", await stack.enter_async_context(bench.make()))
            await ledger.join(job)
            await ledger.want([ONE, OTHER])
            found.append(ledger)
        yield found


async def _ended() -> None:
    """Wait until a short lease has expired."""
    await anyio.sleep(SHORT + 0.2)


async def _claimed(ledger: PostgresLedger, limit: int = 2) -> dict[str, int]:
    return {lease.appid: lease.epoch for lease in await ledger.claim(limit)}


async def _unfinished(ledger: PostgresLedger) -> int:
    return (await ledger.unfinished()).left


async def _lost(ledger: PostgresLedger) -> dict[str, int]:
    """What a renewal reports as lost."""
    renewed = await ledger.renew(0)
    return {} if renewed is None else dict(renewed.lost)


async def _days(ledger: PostgresLedger, appid: str) -> int:
    """How many days of an account are stored."""
    calendar = (await ledger.calendars([appid])).get((appid, INTERFACE))
    return calendar.count(STORED) if calendar is not None else 0


def _expect(bench: LedgerBench, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise bench.broken(f"{what}: {found}, not {wanted}")


@_check
async def claim(bench: LedgerBench) -> None:
    """An account is held by one worker, which claims as many as it asks for."""
    async with _workers(bench, _job(), _job()) as [one, other]:
        first = await _claimed(one, 1)
        _expect(bench, "accounts of a claim of one", len(first), 1)
        second = await _claimed(other, 2)
        _expect(bench, "both together", sorted([*first, *second]), sorted([ONE, OTHER]))
        _expect(bench, "a further claim", await _claimed(one), {})
        _expect(bench, "its epochs", dict(one.epochs), first)
        _expect(bench, "still to be claimed by the first", await _unfinished(one), 1)


@_check
async def epochs(bench: LedgerBench) -> None:
    """Each claim of an account has a later epoch."""
    async with _workers(bench, _job(), _job(name="another")) as [one, other]:
        former = 0
        for ledger in (one, other, one):
            await ledger.want([ONE])
            epoch = (await _claimed(ledger))[ONE]
            if epoch <= max(former, 1):
                raise bench.broken(f"epoch {epoch} comes after {former}")
            former = epoch
            await ledger.release([ONE, OTHER])


@_check
async def takeover(bench: LedgerBench) -> None:
    """Accounts are claimed after the lease of their holder has ended, not before."""
    async with _workers(bench, _job(SHORT), _job()) as [silent, other]:
        held = await _claimed(silent)
        _expect(bench, "a claim before the end", await _claimed(other), {})
        await _ended()
        taken = {lease.appid: lease for lease in await other.claim(2)}
        _expect(bench, "accounts after it", sorted(taken), sorted(held))
        idle = max(lease.idle for lease in taken.values())
        if not 0.0 <= idle < SHORT + 10:
            raise bench.broken(f"another worker held it {idle} s ago")
        _expect(bench, "renewed", await silent.renew(0), None)
        refused = {*await silent.commit([outcome(0)], {}, (), held)}
        _expect(bench, "refused", refused & {ONE}, {ONE})


@_check
async def renewal(bench: LedgerBench) -> None:
    """A lease that is renewed does not end; one that has ended is never renewed."""
    async with _workers(bench, _job(SHORT), _job()) as [one, other]:
        await _claimed(one, 1)
        for _ in range(4):
            await anyio.sleep(SHORT / 2)
            renewed = await one.renew(0)
            _expect(bench, "lost", renewed and dict(renewed.lost), {})
        await _claimed(other, 1)
        _expect(bench, "claimed by the other", len(other.epochs), 1)
        await _ended()
        await other.leave()
        for asked in (_claimed, _unfinished):
            try:
                found = await asked(one)
            except Away:
                continue
            raise bench.broken(f"after the end it gives {found}")
        _expect(bench, "renewed after the end", await one.renew(2), None)
        await one.leave()
        await one.join(_job())
        await one.want([ONE, OTHER])
        _expect(bench, "claimed after joining anew", len(await _claimed(one)), 2)


@_check
async def lost(bench: LedgerBench) -> None:
    """A commit stores no window of an account that was lost, names it, and stores the rest."""
    async with _workers(bench, _job(SHORT), _job()) as [slow, other]:
        fetched = await _claimed(slow)
        await _ended()
        await other.claim(1)
        (taken,) = other.epochs
        (kept,) = {ONE, OTHER} - {taken}
        both = [outcome(0, appid=ONE), outcome(0, appid=OTHER)]
        calls = [Spent(taken, INTERFACE, TODAY, 3), Spent(kept, INTERFACE, TODAY, 3)]
        _expect(bench, "lost", {*await slow.commit(both, {}, calls, fetched)}, {taken})
        _expect(bench, "days of the lost account", await _days(other, taken), 0)
        _expect(bench, "days of the other one", await _days(other, kept), 1)
        counted = {(taken, INTERFACE): 3, (kept, INTERFACE): 3}  # they were sent
        _expect(bench, "calls", await other.spent(TODAY), counted)


@_check
async def former_claim(bench: LedgerBench) -> None:
    """What was fetched under a former claim is refused, though the account is held again."""
    async with _workers(bench, _job(SHORT), _job(name="another")) as [slow, other]:
        fetched = await _claimed(slow)
        await _ended()
        await other.claim(2)
        await other.commit([outcome(0, records=5)], {}, (), dict(other.epochs))
        await other.leave()
        await slow.leave()
        await slow.join(_job(SHORT))
        await slow.want([ONE, OTHER])
        again = await _claimed(slow)
        _expect(bench, "held again", sorted(again), sorted([ONE, OTHER]))
        refused = {*await slow.commit([outcome(0, records=1)], {}, (), fetched)}
        _expect(bench, "refused", refused & {ONE}, {ONE})
        tally = (await slow.calendars([ONE]))[ONE, INTERFACE].stored_tally()
        _expect(bench, "records", tally and tally.records, 5)
        _expect(bench, "held all the same", dict(slow.epochs), again)


@_check
async def finished(bench: LedgerBench) -> None:
    """A released account is finished for all workers with the same job, and for no other."""
    async with _workers(bench, _job(), _job(), _job(name="another")) as [one, same, another]:
        await one.claim(2)
        await one.commit([outcome(0)], {}, (), dict(one.epochs))
        await one.release([ONE, OTHER])
        _expect(bench, "left for the same job", await _unfinished(same), 0)
        _expect(bench, "claimed for the same job", await _claimed(same), {})
        _expect(bench, "days after a release", await _days(same, ONE), 1)
        _expect(bench, "claimed for another", sorted(await _claimed(another)), sorted([ONE, OTHER]))


@_check
async def later(bench: LedgerBench) -> None:
    """What is left for later is taken by a worker of a higher rank; no other one waits for it."""
    jobs = [_job(), _job(), _job(rank=1.0)]
    async with _workers(bench, *jobs) as [one, same, higher]:
        await _claimed(one)
        await one.release([ONE, OTHER], [ONE])
        _expect(bench, "left for the same rank", await same.unfinished(), (0, 0))
        _expect(bench, "left for a higher one", await higher.unfinished(), (1, 0))
        _expect(bench, "claimed by it", [*await _claimed(higher)], [ONE])
        await same.want([ONE])
        _expect(bench, "held by it", await same.unfinished(), (1, 0))
        await higher.renew(0, [ONE])
        _expect(bench, "while it waits", await same.unfinished(), (0, 1))
        await one.want([ONE])
        await higher.renew(0)
        _expect(bench, "while it does not", await one.unfinished(), (1, 0))
        await higher.release([ONE], [ONE])
        _expect(bench, "left for a lower one", await one.unfinished(), (0, 0))


@_check
async def anew(bench: LedgerBench) -> None:
    """A worker that leaves and joins again holds nothing; its pending writes are refused."""
    async with _workers(bench, _job(), _job()) as [one, other]:
        held = await _claimed(one, 1)
        (appid,) = held
        await one.leave()
        _expect(bench, "held", dict(one.epochs), {})
        await one.join(_job())
        await one.want([ONE, OTHER])
        refused = {*await one.commit([outcome(0, appid=appid)], {}, (), held)}
        _expect(bench, "refused", refused, {appid})
        _expect(bench, "days", await _days(one, appid), 0)
        _expect(bench, "still to be claimed", await _unfinished(one), 2)
        _expect(bench, "claimed by the other", sorted(await _claimed(other)), sorted([ONE, OTHER]))


@_check
async def given_back(bench: LedgerBench) -> None:
    """An account that is given back is claimed by others first; by the same one if all did so."""
    async with _workers(bench, _job(), _job()) as [one, other]:
        held = await _claimed(one)
        await one.give_back([ONE])
        _expect(bench, "held", sorted(one.epochs), [OTHER])
        refused = {*await one.commit([outcome(0)], {}, (), held)}
        _expect(bench, "refused", refused & {ONE}, {ONE})
        _expect(bench, "claimed again at once", await _claimed(one), {})
        _expect(bench, "still unfinished", await _unfinished(one), 1)
        _expect(bench, "claimed by the other", sorted(await _claimed(other)), [ONE])
        await other.give_back([ONE])
        _expect(bench, "claimed when none is left", sorted(await _claimed(one)), [ONE])
        await one.release([ONE])
        _expect(bench, "left for the other", await _unfinished(other), 1)  # what the first holds


@_check
async def refresh(bench: LedgerBench) -> None:
    """A worker marks days once a job; holders lose their accounts, and all workers want them."""
    key = (ONE, INTERFACE)
    marks = [(*key, day(0), day(5))]
    again = _job()._replace(refresh=True, marks=marks)
    async with _workers(bench, _job()) as [one]:
        held = await _claimed(one)
        await one.commit([outcome(0, days=3), outcome(0, appid=OTHER)], {}, (), held)
        await one.release([OTHER])
        async with _workers(bench, again) as [other]:
            _expect(bench, "lost", [*await _lost(one)], [ONE])
            _expect(bench, "wanted", await _unfinished(one), 1)
            _expect(bench, "marked", await one.refreshes([ONE, OTHER]), {key: ((day(0), day(5)),)})
            await _claimed(other)
            await other.forget(key, [(day(0), day(5))])
            _expect(bench, "days", await _days(other, ONE), 0)
            _expect(bench, "marked still", await other.refreshes([ONE]), {})
            async with _workers(bench, again) as [third]:
                _expect(bench, "marked again", await third.refreshes([ONE]), {})


@_check
async def departure(bench: LedgerBench) -> None:
    """A worker that leaves frees its accounts; workers are listed while they are there."""
    async with _workers(bench, _job(), _job()) as [one, other]:
        await one.claim(1)
        await one.renew(7)
        listed = [(each.accounts, each.windows, each.alive) for each in await other.workers()]
        _expect(bench, "workers", listed, [(1, 7, True), (0, 0, True)])
        await one.leave()
        _expect(bench, "workers after one has left", len(await other.workers()), 1)
        _expect(bench, "claimed", len(await _claimed(other)), 2)


@_check
async def dismissed(bench: LedgerBench) -> None:
    """Workers whose lease has expired are removed, and what they still write is refused."""
    async with _workers(bench, _job(SHORT), _job()) as [silent, other]:
        held = await _claimed(silent)
        _expect(bench, "none is left, of two", await other.dismiss(), False)
        await other.leave()
        await _ended()
        _expect(bench, "none is left", await other.dismiss(), True)
        refused = {*await silent.commit([outcome(0)], {}, (), held)}
        _expect(bench, "refused", refused & {ONE}, {ONE})
        _expect(bench, "renewed", await silent.renew(0), None)
        _expect(bench, "days", await _days(silent, ONE), 0)


@_check
async def alone(bench: LedgerBench) -> None:
    """Only one worker at a time is alone."""
    inside = most = 0

    async def enter(ledger: PostgresLedger) -> None:
        nonlocal inside, most
        async with ledger.alone():
            inside += 1
            most = max(most, inside)
            await anyio.sleep(0.2)
            inside -= 1

    async with _workers(bench, _job(), _job(), _job()) as found, anyio.create_task_group() as group:
        for ledger in found:
            group.start_soon(enter, ledger)
    _expect(bench, "at the same time", most, 1)


@_check
async def joining(bench: LedgerBench) -> None:
    """A worker whose clock is wrong is refused; others learn the ledger's time."""
    async with bench.make() as ledger:
        late = cast("PostgresLedger", ledger)
        job = _job()._replace(wall=time.time() + 3600)
        try:
            await late.join(job)
        except UsageError:
            pass
        else:
            raise bench.broken(f"{job} was not refused")
        now = await late.join(_job())
        renewed = await late.renew(0)
        for found in (now, renewed.now if renewed is not None else 0.0):
            if abs(found - time.time()) > LONG:
                raise bench.broken(f"its time is {found}")
