"""Databases that are frozen, silent or locked, and writers that are: what each sink does then."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import anyio
import psycopg
import pymysql
import pytest

from harvester.base import postgresql as postgres
from harvester.base import threads as thread
from harvester.base.outage import Away
from harvester.errors import SinkError
from harvester.model import Batch
from harvester.sinks.sql import mysql_server as mysql
from tests.proxy import Proxy
from tests.sinks.sql.test_base import PASSWORDS, SINKS, Target, part, server

__all__ = ["server"]
FREED = 2.0
"""Seconds after which the servers of these tests free what a frozen client holds."""
MANY = 400
"""Records of a write: it is sent in many pieces."""


@pytest.fixture(autouse=True)
def _sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers lose patience with a client sooner than they do for users."""
    sooner = {"idle_in_transaction_session_timeout": f"{FREED:.0f}s", "lock_timeout": "1s"}
    limits = [(since, name, sooner.get(name, value)) for since, name, value in postgres.LIMITS]
    monkeypatch.setattr(postgres, "LIMITS", limits)
    changed = mysql.LIMITS.replace("_timeout = 20", f"_timeout = {FREED:.0f}")
    monkeypatch.setattr(mysql, "LIMITS", changed.replace("_timeout = 30", "_timeout = 1"))


@pytest.fixture
def proxy(server: Target) -> Iterator[Proxy]:
    with Proxy(server.server.port) as one:
        yield one


def through(proxy: Proxy, target: Target) -> Any:
    """A sink behind the proxy."""
    return SINKS[target.kind](proxy.through(target.server.url(target.database)), patience=2)


def long_part(first: int, value: int, appid: str = "wx1") -> Batch:
    records = [{"n": value, "Title": f"{n} {'x' * 300}"} for n in range(MANY)]
    return Batch(part(first, 1, appid=appid).window, records, "2024-06-15T04:00:00Z",
                 endpoint=part(1, 1).endpoint)  # fmt: skip


async def cancelled(task: asyncio.Task[Any]) -> float:
    """Seconds from a task's cancellation to its end; the server may have ended it before."""
    began = time.monotonic()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, Away)):
        await task
    return time.monotonic() - began


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(3))
async def test_what_a_writer_holds_that_is_frozen_at_any_moment_is_free_after_a_stated_time(
    seed: int, server: Target, proxy: Proxy
) -> None:
    await server.write(first := await server.open(), part(1, 0), part(9, 0, appid="wx2"))
    await first.close()
    frozen = through(proxy, server)
    await frozen.open(dict(server.checkpoint))
    await frozen.write([long_part(2, 1)], {"wx1": 2})
    before = proxy.sent
    await frozen.write([long_part(3, 1)], {"wx1": 2})
    proxy.freeze_after(Random(seed).randrange(proxy.sent - before))
    task = asyncio.create_task(frozen.write([long_part(1, 1)], {"wx1": 2}))
    await asyncio.sleep(0.3)
    assert not task.done()
    other = await server.open(dict(server.checkpoint))
    began = time.monotonic()
    await other.write([part(1, 7), part(2, 7), part(3, 7)], {"wx1": 3})
    assert time.monotonic() - began < FREED + 2
    assert await cancelled(task) < thread.GRACE + 1
    await other.close()
    await frozen.close()
    assert server.numbers() == [0, 7, 7, 7]


@pytest.mark.thorough
async def test_a_server_that_accepts_bytes_and_never_answers_is_given_up(
    server: Target, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "LIMIT", 1.0)
    sink = through(proxy, server)
    await sink.open({})
    await sink.write([part(1, 1)], {})
    began, proxy.silent = time.monotonic(), True
    monkeypatch.setitem(postgres._OURS, "connect_timeout", 2)
    monkeypatch.setattr(mysql, "CONNECT", 2)
    with pytest.raises(SinkError) as caught:
        await sink.write([part(2, 2)], {})
    assert str(caught.value).startswith(f"the database {server.database} on 127.0.0.1:")
    assert " did not answer for 2 s (" in str(caught.value)
    assert time.monotonic() - began < 10
    await sink.close()


@pytest.mark.thorough
async def test_a_wait_for_a_server_that_never_answers_ends_when_it_is_cancelled(
    server: Target, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    sink = through(proxy, server)
    await sink.open({})
    proxy.silent = True
    task = asyncio.create_task(sink.write([part(1, 1)], {}))
    await asyncio.sleep(6.5)
    assert f"{server.database} on 127.0.0.1:{proxy.port}: a call takes more than 5 s" in caplog.text
    assert await cancelled(task) < thread.GRACE + 1
    began = time.monotonic()
    await sink.close()
    assert time.monotonic() - began < 15


@pytest.mark.thorough
async def test_a_cancelled_scope_ends_a_write_too(server: Target, proxy: Proxy) -> None:
    sink = through(proxy, server)
    await sink.open({})
    proxy.silent = True
    began = time.monotonic()
    with anyio.move_on_after(0.3):
        await sink.write([part(1, 1)], {})
    assert time.monotonic() - began < thread.GRACE + 2
    await sink.close()


@contextmanager
def locked(target: Target, sql: str, seconds: float) -> Iterator[None]:
    """Another program's transaction, which ends after some seconds."""
    if target.kind == "mysql":
        held: Any = pymysql.connect(
            host="127.0.0.1", port=target.server.port, user="harvester",
            password=PASSWORDS["MYSQL_PWD"], database=target.database,
        )  # fmt: skip
    else:
        held = psycopg.connect(
            target.server.url(target.database), application_name="somebody's report"
        )
    cursor = held.cursor()
    cursor.execute(sql)
    timer = threading.Timer(seconds, held.rollback)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        with suppress(Exception):
            held.close()


ROWS = "SELECT * FROM _harvester_fence FOR UPDATE"


@pytest.mark.thorough
async def test_a_write_that_another_program_holds_up_is_repeated_and_that_is_said(
    server: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where several workers write: the database has said that nothing was stored."""
    sink = await server.open()
    await server.write(sink, part(1, 1), wx1=5)
    with locked(server, ROWS, 3):
        await server.write(sink, part(2, 2), wx1=5)
    assert "does not answer (" in caplog.text
    server.patience = 1.0
    await sink.close()
    sink = await server.open()
    with locked(server, ROWS, 60), pytest.raises(SinkError) as caught:
        await server.write(sink, part(3, 3), wx1=5)
    assert "refused every call for 1 s (" in str(caught.value)
    await sink.close()
    assert server.numbers() == [1, 2]


@pytest.mark.thorough
async def test_a_long_wait_for_a_lock_is_said(
    server: Target, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LIMITS", [(0, "lock_timeout", "30s")])
    monkeypatch.setattr(mysql, "LIMITS", "innodb_lock_wait_timeout = 30")
    sink = await server.open()
    await server.write(sink, part(1, 1))
    with locked(server, ROWS, 7):
        await server.write(sink, part(2, 2))
    await sink.close()
    assert "a call takes more than 5 s; no answer yet" in caplog.text


@pytest.mark.thorough
async def test_a_sink_that_went_back_in_the_middle_of_a_run_is_noticed(server: Target) -> None:
    sink = await server.open()
    for n in range(1, 4):
        await server.write(sink, part(n, n))
    server.execute("DELETE FROM checked WHERE n > 1")  # as a replica that was behind has it
    server.execute("UPDATE _harvester_state SET commits = 1")
    server.cut()
    with pytest.raises(SinkError) as caught:
        await server.write(sink, part(4, 4))
    identity = server.make().identity
    assert " is older than the ledger: its last 2 commits are missing; restore the newer one" in (
        str(caught.value)
    )
    assert f"`harvester rebuild --sink {identity}`" in str(caught.value)
    await sink.close()
    assert server.numbers() == [1]


ODD = {
    "postgresql": (
        "ALTER DATABASE {0} SET extra_float_digits = 0",
        "ALTER DATABASE {0} SET datestyle = German",
        "ALTER DATABASE {0} SET timezone = 'Asia/Kolkata'",
        "ALTER DATABASE {0} SET array_nulls = off",
        "ALTER DATABASE {0} SET standard_conforming_strings = off",
    ),
    "mysql": (
        "SET GLOBAL sql_select_limit = 1", "SET GLOBAL time_zone = '+05:30'",
        "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    ),
}  # fmt: skip
BACK = ("sql_select_limit", "time_zone", "sql_mode")


def test_what_a_role_or_a_database_sets_otherwise_changes_no_value(server: Target) -> None:
    values = [{"n": n, "Title": "a\\'b\n", "share": 0.1 + 0.2 * n, "day": "2024-01-31"}
              for n in range(3)]  # fmt: skip
    try:
        for sql in ODD[server.kind]:
            server.server.execute(sql.format(server.database))
        written = Batch(part(1, 1).window, values, "2024-06-15T04:00:00Z",
                        endpoint=part(1, 1).endpoint)  # fmt: skip
        server.harvest([written])
        server.harvest([part(2, 5)])
        (stored,) = [one for (_, day), one in server.scan().items() if day == "2024-01-01"]
        assert stored.tally == written.tally
        assert sorted(map(str, stored.records())) == sorted(map(str, values))
        assert stored.fetched_at == "2024-06-15T04:00:00Z"
    finally:
        if server.kind == "mysql":
            for name in BACK:
                server.server.execute(f"SET GLOBAL {name} = DEFAULT")


@pytest.mark.thorough
def test_a_reader_may_pause(server: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a writer may: nobody waits for it."""
    server.harvest([part(n, n) for n in range(1, 4)])
    windows = server.make().scan("checked")
    assert next(windows).records()
    time.sleep(FREED + 1.5)
    assert len([*windows]) == 2
