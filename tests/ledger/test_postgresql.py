"""The shared ledger beside workers that are frozen, and on a server that is silent or read-only."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import date
from random import Random

import psycopg
import pytest

from harvester.base import outage
from harvester.base import postgresql as postgres
from harvester.base import threads as thread
from harvester.base.outage import Away
from harvester.errors import LedgerError, UsageError
from harvester.ledger import PostgresLedger, postgresql
from harvester.ledger.base import OPENING, Spent, WorkerJob
from harvester.ledger.coverage import Outcome
from harvester.model import Tally, Window
from tests.postgres_server import PostgresServer
from tests.proxy import Proxy
from tests.support import days

FREED = 2.0
APPIDS = [f"wx{n:016x}" for n in range(40)]


@pytest.fixture(autouse=True)
def _sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = f"set_config('idle_in_transaction_session_timeout', '{FREED:.0f}s', true)"
    monkeypatch.setattr(postgresql, "_FROZEN", frozen)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.url(postgres.new_database())


def outcomes() -> list[Outcome]:
    """A commit that is sent in many pieces."""
    return [
        Outcome(Window(appid, "x", day, day), "waiting", Tally(1, n), 0, 0.0, "why " * 40)
        for appid in APPIDS
        for n, day in enumerate(days(date(2024, 1, 1), date(2024, 1, 31)))
    ]


async def joined(ledger: PostgresLedger, lease: float) -> None:
    await ledger.join(WorkerJob("job", lease, time.time()))
    await ledger.want(APPIDS)


@pytest.mark.parametrize("seed", range(4))
async def test_what_a_worker_holds_that_is_frozen_in_a_commit_is_free_after_a_stated_time(
    seed: int, url: str, proxy: Proxy
) -> None:
    async with PostgresLedger(proxy.through(url)) as frozen:
        await joined(frozen, 1.0)
        assert len(await frozen.claim(100)) == len(APPIDS)
        before = proxy.sent
        await frozen.commit(outcomes(), {"s": {"commits": "1"}})
        proxy.freeze_after(Random(seed).randrange(proxy.sent - before))
        task = asyncio.create_task(frozen.commit(outcomes(), {"s": {"commits": "2"}}))
        await asyncio.sleep(0.3)
        assert not task.done()
        async with PostgresLedger(url) as other:
            await joined(other, 60.0)
            began, held = time.monotonic(), 0
            while held < len(APPIDS):
                assert time.monotonic() - began < 1 + FREED + 2
                held += len(await other.claim(100))
                await asyncio.sleep(0.05)
            assert not await other.commit(outcomes(), {})
        task.cancel()
        with pytest.raises((asyncio.CancelledError, Away)):
            await task


async def test_a_server_that_never_answers_is_given_up(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "LIMIT", 1.0)
    monkeypatch.setattr(postgresql, "PATIENCE", 2.0)
    monkeypatch.setitem(postgres._OURS, "connect_timeout", 2)
    async with PostgresLedger(proxy.through(url)) as ledger:
        await ledger.accounts()
        began, proxy.silent = time.monotonic(), True
        with pytest.raises(LedgerError, match=r"did not answer for 2 s \("):
            await ledger.accounts()
        assert time.monotonic() - began < 9


async def test_a_commit_whose_fate_is_unknown_is_not_repeated(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "LIMIT", 1.0)
    async with PostgresLedger(proxy.through(url)) as ledger:
        await joined(ledger, 60.0)
        await ledger.claim(100)
        proxy.silent = True
        with pytest.raises(Away, match="it has not answered for 1 s"):
            await ledger.commit(outcomes()[:1], {})


async def test_a_worker_that_joins_again_does_not_end_since_calls_are_not_booked_meanwhile(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "LIMIT", 1.0)
    spent = [Spent(APPIDS[0], "x", date(2024, 1, 1), 1)]
    async with PostgresLedger(proxy.through(url)) as ledger:
        await joined(ledger, 60.0)
        await ledger.leave()
        proxy.silent = True
        with pytest.raises(Away, match="it has not answered for 1 s"):
            await ledger.commit([], {}, spent)


async def test_a_commit_that_another_program_holds_up_is_repeated(
    url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.base.postgresql.LIMITS", [(0, "lock_timeout", "1s")])
    async with PostgresLedger(url) as ledger:
        await joined(ledger, 60.0)
        await ledger.claim(100)
        with psycopg.connect(url) as other:
            other.execute("SELECT * FROM harvester.account FOR UPDATE")
            asyncio.get_running_loop().call_later(2.5, other.rollback)
            assert not await ledger.commit(outcomes(), {})


async def test_who_is_alone_for_too_long_is_named(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE", 1.5)
    monkeypatch.setattr(postgresql, "SLOW", 0.5)
    async with PostgresLedger(url) as holder, holder.alone():
        with pytest.raises(LedgerError) as caught:
            async with PostgresLedger(url):
                pass
    said = str(caught.value)
    assert (
        "is being opened or rebuilt by another process, for more than 2 s now (a lock that" in said
    )
    assert "harvester " in said
    assert (
        "wait until that process has ended, or end it if it makes no progress, and run the same"
        in said
    )
    assert "it waits for a lock that harvester " in caplog.text


async def test_others_open_a_ledger_though_the_one_that_opens_it_is_frozen(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "SLOW", 0.5)
    async with PostgresLedger(url) as frozen:
        assert await frozen._leases.lock(0.5)  # and nothing more is heard of it
        began = time.monotonic()
        async with PostgresLedger(url):
            assert 0.5 < time.monotonic() - began < 5
    assert OPENING + 5 < outage.PATIENCE


@pytest.mark.parametrize(("limit", "error"), [(9.0, Away), (math.inf, LedgerError)])
async def test_whose_lock_is_lost_stores_nothing_and_is_told_so_whatever_goes_wrong_then(
    limit: float, error: type[Exception], url: str, postgres: PostgresServer
) -> None:
    ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks"  # returns once it has ended
    locks = f"locktype = 'advisory' AND classid = {postgresql._LOCK}"
    async with PostgresLedger(url) as ledger:
        for wrong in (False, True):
            with pytest.raises(error, match="the connection that locked it was"):
                async with ledger.alone(limit):
                    await ledger.list_sinks({"kept": ""})
                    postgres.execute(f"{ended} WHERE {locks}")
                    if wrong:
                        raise UsageError("what was read is not true any more")
                    await ledger.list_sinks({"lost": ""})
        assert await ledger.sinks() == {"kept": ""}
        with pytest.raises(TimeoutError):
            async with ledger.alone(0.2):
                await asyncio.sleep(5)


async def test_a_read_only_database_is_an_outage_and_no_wrong_clock(
    url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with PostgresLedger(url):
        pass
    monkeypatch.setattr(postgresql, "PATIENCE", 1.0)
    name = url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    ledger = PostgresLedger(url)
    with pytest.raises(LedgerError, match="read-only transaction"):
        async with ledger:
            await joined(ledger, 60.0)


async def test_the_clock_goes_on_while_the_ledger_is_away(
    url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.ledger.leases.CLOCKS", 2.0)
    name = url.rpartition("/")[2]
    async with PostgresLedger(url) as ledger:
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await ledger._work.on_thread(ledger._work._let_go)
        task = asyncio.create_task(joined(ledger, 60.0))
        await asyncio.sleep(4)
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await task


async def test_a_session_that_the_server_ends_while_it_is_idle_is_no_outage(
    url: str, postgres: PostgresServer
) -> None:
    postgres.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET idle_session_timeout = '500ms'")
    async with PostgresLedger(url) as ledger:
        await joined(ledger, 60.0)
        await asyncio.sleep(1.2)
        assert len(await ledger.claim(100)) == len(APPIDS)
        assert not await ledger.commit(outcomes(), {})


async def test_a_worker_that_was_removed_is_told_so(url: str, postgres: PostgresServer) -> None:
    async with PostgresLedger(url) as ledger:
        await joined(ledger, 60.0)
        postgres.execute("DELETE FROM harvester.worker", url.rpartition("/")[2])
        await ledger.want(["wx1"])
        with pytest.raises(Away, match="its lease has expired"):
            await ledger.claim(1)
        await joined(ledger, 60.0)
        assert len(await ledger.claim(100)) == len(APPIDS)
