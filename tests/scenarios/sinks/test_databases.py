"""Databases that are slow, silent, frozen, locked or failed over, as users meet them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest

import harvester
from harvester import SinkError
from harvester.base import postgresql as postgres
from harvester.sinks.sql.mysql import MySQL
from harvester.sinks.sql.postgresql import PostgreSQL
from tests.postgres_server import PASSWORD, PostgresServer
from tests.proxy import Proxy
from tests.scenarios.command import Start, asked, begun, until
from tests.scenarios.conftest import Jobs
from tests.scenarios.shared import ENDPOINT, KNOWN, RECORD, Job, ended
from tests.support import KILLS, harvest

pytestmark = pytest.mark.thorough


def interrupted(process: subprocess.Popen[str], signals: int) -> tuple[float, str]:
    """Seconds until a process ends after Ctrl-C, and what it has said."""
    began = time.monotonic()
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, err = process.communicate(timeout=60)
    return time.monotonic() - began, err


@pytest.mark.parametrize("which", ["ledger", "sink"])
def test_ctrl_c_ends_a_run_whose_database_is_silent(which: str, job: Jobs, proxy: Proxy) -> None:
    one = job(latency=0.05)
    setattr(one, which, proxy.through(getattr(one, which)))
    worker = one.start()
    one.called(10)
    proxy.silent = True
    time.sleep(1)
    seconds, err = interrupted(worker, 2)
    assert worker.returncode == 130, err
    assert seconds < 20, err  # also a connection that is being made: 10 s


def test_who_holds_the_ledger_is_said_and_ctrl_c_ends_the_wait(job: Jobs) -> None:
    one = job(latency=0.2)
    assert one.run().returncode == 0
    holder = begun("rebuild", "--ledger", one.ledger, "--sink", one.sink, **one.env)
    alone = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    until(lambda: one.rows(alone) != [(0,)])
    holder.send_signal(signal.SIGSTOP)
    assert one.rows(alone) != [(0,)]
    worker = one.start()
    assert worker.stderr is not None
    waits = f"it waits for a lock that harvester {socket.gethostname()}:{holder.pid}"
    said = next((line for line in worker.stderr if waits in line), "")
    seconds, err = interrupted(worker, 1)
    holder.send_signal(signal.SIGCONT)
    holder.communicate()
    assert said, err
    assert seconds < 3
    assert worker.returncode == 130, err


def gone_back(job: Job, postgres: PostgresServer) -> None:
    """The sink's database is a replica from now on that lacks the last commits."""
    name = job.sink.rpartition("/")[2]
    with psycopg.connect(postgres.url(name)) as connection:
        connection.execute("UPDATE _harvester_state SET commits = commits - 2")
        connection.execute(
            f"DELETE FROM {ENDPOINT} WHERE _fetched_at > (SELECT max(_fetched_at) FROM {ENDPOINT})"
            " - interval '2 seconds'"
        )
    postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        " AND application_name LIKE 'harvester%'"
    )


def test_a_failover_to_a_replica_that_lags_ends_every_run_until_it_is_mended(
    job: Jobs, postgres: PostgresServer
) -> None:
    one = job(postgres.url(postgres.new_database()).replace(f":{PASSWORD}", ""), latency=0.1)
    worker = one.start()
    one.called(60)
    gone_back(one, postgres)
    out, err = worker.communicate(timeout=90)
    assert worker.returncode == 4, err
    said = json.loads(out.splitlines()[-1])["notes"][-1]
    assert "is older than the ledger: its last " in said
    assert f"`harvester rebuild --sink {one.sink}` and the same --out or --ledger" in said
    again = one.run()
    assert again.returncode == 4
    assert "is older than the ledger" in again.stderr
    mended = one.harvester("rebuild", "--ledger", one.ledger, "--sink", one.sink)
    assert mended.returncode == 0, mended.stderr
    ended(one.start())
    one.assert_each_once(postgres.execute(RECORD, one.sink.rpartition("/")[2]))


def test_a_failover_is_noticed_with_a_ledger_of_one_process_too(
    wechat: Start, postgres: PostgresServer, tmp_path: object
) -> None:
    server, name = wechat(latency=0.3), postgres.new_database()
    arguments = asked(
        server.url, ENDPOINT, "2024-01-01", "2024-03-31", "--out", f"{tmp_path}/out", "--sink",
        postgres.url(name).replace(f":{PASSWORD}", ""), "--concurrency", "1",
    )  # fmt: skip
    worker = begun(*arguments, **KNOWN)
    commits = "SELECT commits FROM _harvester_state"
    until(
        lambda: (
            postgres.execute("SELECT to_regclass('_harvester_state')", name) != [(None,)]
            and postgres.execute(commits, name) > [(4,)]
        )
    )
    postgres.execute("UPDATE _harvester_state SET commits = commits - 3", name)
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 4, err
    assert "is older than the ledger" in err
    assert harvest(*arguments, **KNOWN).returncode == 4


@contextmanager
def table_locked(postgres: PostgresServer, name: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url(name), application_name="nightly report") as held:
        held.execute(f"LOCK TABLE {ENDPOINT}")
        yield held


async def run_on(
    server: object, url: str, ledger: str, end: str, patience: float
) -> harvester.Report:
    return await harvester.run(
        [harvester.Account(f"wx{n:016x}", secret="practice") for n in range(4)], ENDPOINT,
        "2024-01-01", end, sink=PostgreSQL(url, patience=patience), ledger=ledger,
        base_url=server.url, rate="100/s",
    )  # fmt: skip


@pytest.mark.parametrize("held", [2.5, 30.0])
async def test_while_a_table_is_locked_nothing_is_asked_for_twice(
    held: float, wechat: Start, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.base.postgresql.LIMITS", [(0, "lock_timeout", "1s")])
    server, name, own = wechat(latency=0.1), postgres.new_database(), postgres.new_database()
    url, ledger = postgres.url(name), postgres.url(own)
    await run_on(server, url, ledger, "2024-01-10", 60)
    patience = 10 if held < 10 else 3
    task = asyncio.create_task(run_on(server, url, ledger, "2024-06-30", patience))
    while server.simulator.counts["data"] < 20:
        await asyncio.sleep(0.01)
    with table_locked(postgres, name) as other:
        asyncio.get_running_loop().call_later(held, other.rollback)
        if held < 10:
            assert (await task).state == "complete"
        else:
            with pytest.raises(SinkError, match="refused every call for 3 s") as caught:
                await task
            assert caught.value.report is not None
            assert caught.value.report.state == "failed"
    assert max(server.simulator.served_of.values()) == 1


@pytest.mark.timeout(400)
def test_workers_frozen_at_random_moments_hold_nothing_up(
    job: Jobs, postgres: PostgresServer
) -> None:
    """Their accounts and their locks are free after the lease, and after 15 s and 20 s."""
    one = job(postgres.url(postgres.new_database()).replace(f":{PASSWORD}", ""), latency=0.01)
    frozen = []
    for number in range(KILLS):
        worker = one.start()
        # A frozen worker's transaction ends after 15 s in the ledger, after 20 in the sink.
        one.called(20 * (number + 1), 2 + 15 + 20 + 20)
        time.sleep(0.13 * number)
        worker.send_signal(signal.SIGSTOP)
        frozen.append(worker)
    began = time.monotonic()
    other = one.start("--concurrency", "60")
    try:
        other.wait(2 + 15 + 20 + 30)
        assert time.monotonic() - began < 2 + 15 + 20 + 20
    finally:
        for each in frozen:
            each.send_signal(signal.SIGCONT)
    ended(other)
    for each in frozen:
        ended(each)
    one.assert_each_once(postgres.execute(RECORD, one.sink.rpartition("/")[2]))


class Hanging:
    """A server that begins TLS and hangs up in the middle of it."""

    def __init__(self, greeting: bytes, size: int, answer: bytes) -> None:
        self._greeting, self._size, self._answer = greeting, size, answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.sendall(self._greeting)
                client.recv(self._size)
                client.sendall(self._answer)
                client.recv(1)
                client.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


async def test_a_server_that_hangs_up_during_tls_is_an_outage() -> None:
    server = Hanging(b"", 8, b"S")
    url = f"postgresql://u:s3cr3t@127.0.0.1:{server.port}/db?sslmode=require"
    with pytest.raises(SinkError, match=r"did not answer for 0\.3 s \("):
        await PostgreSQL(url, patience=0.3).open({})
    server.close()


@pytest.mark.parametrize("kind", [PostgreSQL, MySQL])
async def test_a_server_that_never_greets_is_given_up(
    kind: type[PostgreSQL | MySQL], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._OURS, "connect_timeout", 2)
    monkeypatch.setitem(harvester.sinks.sql.mysql_server._OURS, "read_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheme = "postgresql" if kind is PostgreSQL else "mysql"
        url = f"{scheme}://u:p@127.0.0.1:{silent.getsockname()[1]}/db"
        began = time.monotonic()
        with pytest.raises(SinkError, match=r"did not answer for 0\.3 s \("):
            await kind(url, patience=0.3).open({})
        assert time.monotonic() - began < 7


@contextmanager
def restarting(job: Job, seconds: float = 1.5) -> Iterator[list[int]]:
    """A database server that ends all connections again and again; the numbers that it ended."""
    name, ended_, over = job.sink.rpartition("/")[2], list[int](), threading.Event()

    def end() -> None:
        until_ = time.monotonic() + seconds
        while time.monotonic() < until_ and not over.is_set():
            sql = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                f" WHERE datname = '{name}' AND application_name LIKE 'harvester%'"
            )
            if number := job.postgres.execute(sql)[0][0]:
                ended_.append(number)
            over.wait(0.05)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield ended_
    finally:
        over.set()
        thread.join()


def test_a_worker_with_refresh_waits_for_a_sink_that_is_away(job: Jobs) -> None:
    one = job()
    assert one.run().returncode == 0
    calls = one.calls
    worker = one.start("--refresh")
    assert worker.stdout is not None
    until(lambda: one.rows("SELECT 1 FROM harvester.refresh LIMIT 1"))
    with restarting(one) as gone:
        out, err = worker.communicate(timeout=90)
    assert gone
    assert worker.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["state"] == "complete"
    assert one.calls >= 2 * calls
    one.assert_each_once()


def found(job: Job, sql: str) -> list[Any]:
    """The rows, none while the server starts."""
    with suppress(psycopg.Error):
        return job.rows(sql)
    return []


def done(job: Job, sql: str) -> bool:
    """Whether a statement was executed; not while the server starts."""
    with suppress(psycopg.OperationalError):
        job.rows(sql)
        return True
    return False


def test_an_account_is_forgotten_though_the_database_was_away(job: Jobs) -> None:
    one = job()
    assert one.run().returncode == 0
    account = f"wx{3:016x}"
    one.rows(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END$$"
    )
    rows = {ENDPOINT: "OLD.ref_date = '2024-01-03'", "harvester.calendar": "OLD.year = 2024"}
    for table, row in rows.items():
        one.rows(  # in the commit, of which nobody knows then whether it took effect
            f"CREATE CONSTRAINT TRIGGER slow AFTER DELETE OR UPDATE ON {table} DEFERRABLE"
            f" INITIALLY DEFERRED FOR EACH ROW WHEN ({row}) EXECUTE FUNCTION slow()"
        )
    forgetting = begun("forget", "--ledger", one.ledger, "--appid", account, "--yes", **one.env)
    sleeping = "SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
    for table in reversed(rows):  # first the ledger; the server starts anew without an answer
        until(lambda: found(one, sleeping))
        os.kill(found(one, sleeping)[0][0], signal.SIGKILL)
        until(partial(done, one, f"ALTER TABLE {table} DISABLE TRIGGER slow"))
    _, err = forgetting.communicate(timeout=90)
    assert forgetting.returncode == 0, err
    assert "Traceback" not in err
    assert account not in {appid for appid, *_ in one.rows(RECORD)}
    assert one.harvester("verify", "--ledger", one.ledger).returncode == 0
