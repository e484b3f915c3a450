"""The clock of a shared ledger, as a worker follows it."""

from __future__ import annotations

import asyncio

import pytest

from harvester.engine.claims import LedgerClock, boot_time
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
