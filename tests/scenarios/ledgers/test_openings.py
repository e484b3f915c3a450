"""Workers of one ledger that start at the same time, also where a connection hangs or is lost."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import pytest

import harvester
from harvester import Report
from harvester.base import files as durable
from harvester.base import postgresql as postgres
from harvester.engine import run
from harvester.errors import SinkError
from harvester.ledger import base, postgresql
from harvester.sinks.sql.base import SqlSink
from harvester.sinks.sql.postgresql import PostgreSQL
from tests.postgres_server import PostgresServer
from tests.proxy import Proxy
from tests.scenarios.command import Start
from tests.scenarios.shared import ENDPOINT
from tests.support import Wechat

OPENING, WAIT = 1.5, 4.0
"""Seconds for which one worker may open its sinks here, and for which another waits for it."""
ACCOUNTS = [harvester.Account(f"wx{n:016x}", secret="practice") for n in range(4)]
LOCKS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    f" AND classid = {postgresql._LOCK}"
    " AND database = (SELECT oid FROM pg_database WHERE datname = '{}')"
)
"""Ends the connections that hold the lock of an opening."""


@pytest.fixture(autouse=True)
def _sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (run, postgresql):
        monkeypatch.setattr(module, "OPENING", OPENING)
    monkeypatch.setattr(postgresql, "PATIENCE", WAIT)


@pytest.fixture
def urls(postgres: PostgresServer) -> tuple[str, str]:
    """Of a new ledger and of a new sink."""
    return postgres.url(postgres.new_database()), postgres.url(postgres.new_database())


async def worker(
    server: Wechat, ledger: str, sink: Any, end: str = "2024-01-20", **options: Any
) -> Report:
    return await harvester.run(
        ACCOUNTS, ENDPOINT, "2024-01-01", end, sink=sink, ledger=ledger,
        base_url=server.url, rate="1000/s", lease=2, concurrency=4, **options,
    )  # fmt: skip


async def until(true: Any, seconds: float = 20) -> None:
    """Wait until it is true; it is an error if it is not in time."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def given_up(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Hanging(PostgreSQL):
    """A sink whose server answers no more from a step on; its spec is that of the server."""

    proxy: Proxy
    step = ""

    def __init__(self, url: str, proxy: Proxy, step: str) -> None:
        super().__init__(proxy.through(url))
        self.identity = PostgreSQL(url).identity
        self.proxy, self.step = proxy, step

    async def _persist(self, function: Any, *args: Any, **how: Any) -> Any:
        self.proxy.silent = self.proxy.silent or function.__name__ == self.step
        return await super()._persist(function, *args, **how)


async def test_a_sink_that_hangs_after_its_login_holds_up_nobody(
    urls: tuple[str, str], proxy: Proxy, wechat: Start
) -> None:
    server, (ledger, sink) = wechat(), urls
    hanging = asyncio.create_task(worker(server, ledger, Hanging(sink, proxy, "_reach")))
    await until(lambda: proxy.silent)
    assert (await worker(server, ledger, sink)).state == "complete"
    assert not hanging.done()
    await given_up(hanging)


async def test_a_sink_that_hangs_while_it_is_opened_is_named_and_others_go_on(
    urls: tuple[str, str], proxy: Proxy, wechat: Start
) -> None:
    server, (ledger, sink) = wechat(), urls
    hanging = asyncio.create_task(worker(server, ledger, Hanging(sink, proxy, "_open")))
    await until(lambda: proxy.silent)
    assert (await worker(server, ledger, sink)).state == "complete"
    with pytest.raises(SinkError, match=r"^postgresql://.* did not answer for 2 s while it was"):
        await hanging


async def test_what_a_frozen_writer_holds_is_free_before_an_opening_is_given_up(
    urls: tuple[str, str], proxy: Proxy, wechat: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is frozen while it creates the tables, with all its locks."""
    monkeypatch.setattr(run, "OPENING", 4.0)  # more than the second for which a call may still end
    scale, times = (
        run.OPENING / base.OPENING,
        ("idle_in_transaction_session_timeout", "lock_timeout"),
    )
    limits = [
        (since, name, f"{scale * float(value[:-1]):.3f}s" if name in times else value)
        for since, name, value in postgres.LIMITS
    ]
    monkeypatch.setattr(postgres, "LIMITS", limits)
    server, (ledger, sink) = wechat(), urls
    writes, opens = asyncio.Event(), asyncio.Event()

    class Writer(Hanging):
        async def write(self, *args: Any) -> Any:
            writes.set()
            await opens.wait()
            durable.watch(freeze)
            return await super().write(*args)

    class Opener(PostgreSQL):
        async def open(self, *args: Any) -> Any:
            opens.set()
            await until(lambda: proxy.silent)
            return await super().open(*args)

    def freeze(step: str, taken: bool) -> None:
        proxy.silent = proxy.silent or step == "commit postgresql table"

    frozen = asyncio.create_task(worker(server, ledger, Writer(sink, proxy, "")))
    try:
        await writes.wait()
        assert (await worker(server, ledger, Opener(sink))).state == "complete"
    finally:
        durable.watch(None)
    await given_up(frozen)


async def test_a_sink_that_hangs_as_a_worker_joins_anew_holds_up_nobody(
    urls: tuple[str, str], proxy: Proxy, postgres: PostgresServer, wechat: Start
) -> None:
    server, (ledger, sink) = wechat(latency=0.1), urls
    made = Hanging(sink, proxy, "_write")
    hanging = asyncio.create_task(worker(server, ledger, made, "2025-12-31"))
    await until(lambda: proxy.silent)
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
        f" '{ledger.rpartition('/')[2]}'"
    )
    await asyncio.sleep(1)  # it has begun to join anew
    began = time.monotonic()
    assert (await worker(server, ledger, sink)).state == "complete"
    assert time.monotonic() - began < 15
    assert not hanging.done()
    await given_up(hanging)


async def test_an_opening_whose_lock_is_lost_is_begun_anew(
    urls: tuple[str, str], postgres: PostgresServer, wechat: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, (ledger, sink) = wechat(), urls
    opened, inside, go = SqlSink.open, asyncio.Event(), asyncio.Event()

    async def paused(self: SqlSink, checkpoint: Any) -> Any:
        if not inside.is_set():  # the first one, which has read that the ledger is new
            inside.set()
            await go.wait()
        return await opened(self, checkpoint)

    monkeypatch.setattr(SqlSink, "open", paused)
    monkeypatch.setattr(run, "OPENING", 60.0)
    first = asyncio.create_task(worker(server, ledger, sink))
    await inside.wait()
    postgres.execute(LOCKS.format(ledger.rpartition("/")[2]))
    assert (await worker(server, ledger, sink)).state == "complete"
    go.set()
    assert (await first).state == "complete"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("ends", [False, True])
async def test_many_first_workers_at_once_are_all_complete(
    seed: int, urls: tuple[str, str], ends: bool, postgres: PostgresServer, wechat: Start
) -> None:
    """Also if the connections that keep others away end at any moment."""
    server, (ledger, sink) = wechat(), urls
    draw, name = Random(seed), ledger.rpartition("/")[2]
    workers = [asyncio.create_task(worker(server, ledger, sink)) for _ in range(4)]
    stops = time.monotonic() + 2
    while ends and time.monotonic() < stops:
        await asyncio.sleep(draw.uniform(0.0, 0.1))
        await asyncio.to_thread(postgres.execute, LOCKS.format(name))
    reports = await asyncio.gather(*workers, return_exceptions=True)
    assert [getattr(each, "state", each) for each in reports] == ["complete"] * 4
