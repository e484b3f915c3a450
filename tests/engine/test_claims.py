"""The clock of a shared ledger, as a worker follows it, and what a worker without accounts does."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harvester.engine.claims import LedgerClock, Sharing, boot_time
from harvester.ledger.base import Lease, Unfinished
from tests.support import virtual


@virtual()
async def test_the_ledgers_clock_goes_on_with_the_loop_whatever_the_machines_clock_does() -> None:
    wall = [1000.0]
    clock = LedgerClock(lambda: wall[0])
    assert clock() == 1000.0
    clock.set(5000.0)
    wall[0] = 0.0
    await asyncio.sleep(30)
    assert clock() == pytest.approx(5030.0)
    clock.set(4000.0)
    assert clock() == pytest.approx(4000.0)


def test_the_time_since_the_machine_started_never_goes_back() -> None:
    first = boot_time()
    assert 0 < first <= boot_time()


class Slow:
    """A ledger with one account for this worker, and another one that is held; each call of it, and
    each step of the worker, takes ten seconds.  It is the scheduler as well."""

    idle = 4

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.left = [Lease("wx1", 1)]

    async def claim(self, limit: int) -> list[Lease]:
        await asyncio.sleep(10)
        found, self.left = self.left, []
        return found

    async def plan(self, leases: Any) -> Any:
        await asyncio.sleep(10)
        return [
            SimpleNamespace(appid=appid, turn=SimpleNamespace(open=0), leaves=False)
            for appid in leases
        ]

    async def finish(self, accounts: Any) -> None:
        await asyncio.sleep(10)

    async def release(self, appids: Any, later: Any) -> None:
        assert not later

    async def unfinished(self) -> Unfinished:
        return Unfinished(1, 0)

    def add(self, accounts: Any) -> None:
        self.wanted.set()

    def remove(self, account: Any) -> None:
        return None

    async def rejoin(self) -> None:
        await asyncio.sleep(10)


@virtual()
async def test_a_worker_without_accounts_says_what_it_does() -> None:
    slow = cast("Any", Slow())
    sharing = Sharing(slow, 60.0, 4, print, slow.rejoin, LedgerClock(time.time))
    task = asyncio.create_task(sharing.run(slow, slow.plan, slow.finish))
    said = []
    for second in range(5, 70, 10):
        if second == 55:
            sharing.cut_off("its lease has expired")
        await asyncio.sleep(5)
        said.append(sharing.reason.partition(" ")[0] + " … " + sharing.reason.rpartition(" ")[2])
        await asyncio.sleep(5)
    task.cancel()
    assert said == [
        "accounts … planned",  # claimed
        "accounts … planned",
        "the … stored",
        "accounts … planned",  # asked for again
        "the … ended",
        "joining … expired",
        "accounts … planned",
    ]
