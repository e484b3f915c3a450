"""A job on a real local cluster of Dask: processes that are killed and frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import Job, distributed
from tests.machine import library
from tests.postgres_server import PASSWORD, USER, PostgresServer
from tests.scenarios.command import Start, until
from tests.scenarios.shared import APPIDS, ENDPOINT, accounts_file, assert_truth
from tests.support import Wechat

dask = library("distributed")
set_config = library("dask.config").set

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(240)]

BEGIN, END = date(2024, 1, 1), date(2024, 6, 30)
LEASE = 2.0
STARTED = 50
"""Calls after which the workers are disturbed, of some three hundred."""


SECRETS = {"PGPASSWORD": PASSWORD, "WX_SECRET": "practice"}


@contextmanager
def cluster(folder: Path) -> Iterator[Any]:
    """A client of three workers, each a process with one thread; they alone have the secrets."""
    with (
        dask.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=":0",
            local_directory=str(folder / "dask"), silence_logs=50, env=SECRETS,
        ) as cluster,
        dask.Client(cluster) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with cluster(tmp_path) as client:
        yield client


def job(folder: Path, wechat: Wechat, server: PostgresServer, **more: Any) -> Job:
    url = f"postgresql://{USER}@127.0.0.1:{server.port}/{server.new_database()}"
    asked = {
        "endpoints": ENDPOINT, "start": BEGIN, "end": END, "accounts": accounts_file(folder),
        "base_url": wechat.url, "sink": url, "ledger": url, "lease": f"{LEASE:g}s",
        "rate": "10/s", "concurrency": 8,
    }  # fmt: skip
    return Job(**{**asked, **more})


def assert_each_record_is_there_once(server: PostgresServer, of: Job, wechat: Wechat) -> None:
    assert_truth(server, of.sink[0].rpartition("/")[2], wechat, BEGIN, END)


def test_a_killed_and_a_frozen_worker_lose_and_double_nothing(
    client: Any, wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat(latency=0.02)
    simulator = here.simulator
    shared = job(tmp_path, here, postgres)
    killed, frozen, third = client.run(os.getpid).values()
    running = ThreadPoolExecutor(1).submit(distributed.run, client, shared, workers=3)
    until(lambda: simulator.counts["data"] > STARTED)
    os.kill(killed, signal.SIGKILL)
    os.kill(frozen, signal.SIGSTOP)
    time.sleep(2 * LEASE)
    os.kill(frozen, signal.SIGCONT)
    report = running.result(timeout=180)
    assert report.state == "complete", report
    windows = report.windows
    assert windows.planned == windows.skipped + windows.done
    assert 0 < windows.done <= windows.planned
    assert (windows.waiting, windows.failed, report.failures, report.notes) == (0, 0, [], [])
    assert_each_record_is_there_once(postgres, shared, here)
    assert third in client.run(os.getpid).values()

    asked = simulator.counts["data"]
    again = distributed.run(client, shared, workers=2)
    assert (again.state, again.windows.skipped) == ("complete", windows.planned)
    assert simulator.counts["data"] == asked


def test_more_tasks_than_workers_share_the_accounts(
    client: Any, wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat()
    shared = job(tmp_path, here, postgres, rate="500/s")
    report = distributed.run(client, shared, workers=5)
    assert report.state == "complete"
    assert report.windows.done == report.windows.planned
    assert report.token_fetches == len(APPIDS)
    assert_each_record_is_there_once(postgres, shared, here)


def test_a_job_that_every_worker_refuses_is_a_usage_error(
    client: Any, wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat()
    lines = job(tmp_path, here, postgres, sink=f"jsonl:{tmp_path / 'lines'}")
    with pytest.raises(harvester.UsageError, match="cannot be written by several processes"):
        distributed.run(client, lines, workers=2)
    nowhere = job(tmp_path, here, postgres, accounts=tmp_path / "nowhere.csv")
    with pytest.raises(harvester.UsageError, match=r"nowhere\.csv cannot be read"):
        distributed.run(client, nowhere, workers=2)
    assert here.simulator.counts["data"] == 0


class Deadly(Job):
    """A job that kills each process that runs it."""

    def run_sync(self, **how: Any) -> harvester.Report:
        with Path(self.out).open("a") as file:
            file.write("killed\n")
        time.sleep(1)  # a worker that dies as it starts is not always started again
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def test_a_task_whose_workers_are_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    deadly = Deadly(
        endpoints=ENDPOINT, start=BEGIN, end=END, appid=APPIDS[0], ledger="postgresql://h/d",
        out=killed,
    )  # fmt: skip
    with (
        set_config({"distributed.scheduler.allowed-failures": 0}),
        cluster(tmp_path) as client,
        pytest.raises(harvester.RunError, match="Dask gave up a task"),
    ):
        distributed.run(client, deadly, workers=1)
    assert len(killed.read_text().splitlines()) == 1 + distributed.RESUBMISSIONS


START = """
import sys, distributed, harvester
if __name__ == "__main__":
    client = distributed.Client(sys.argv[1])
    harvester.distributed.run(client, harvester.Job.load(sys.argv[2]), workers=3)
"""


def test_after_the_client_was_killed_the_same_call_is_harmless(
    client: Any, wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat(latency=0.02)
    shared = job(tmp_path, here, postgres)
    file = tmp_path / "harvester.toml"
    file.write_text(
        f"endpoint = '{ENDPOINT}'\nstart = {BEGIN}\nend = {END}\naccounts = 'accounts.csv'\n"
        f"base-url = '{here.url}'\nsink = '{shared.sink[0]}'\nledger = '{shared.sink[0]}'\n"
        "lease = '2s'\nrate = '10/s'\nconcurrency = 8\n"
    )
    address = client.scheduler.address
    first = subprocess.Popen([sys.executable, "-c", START, address, file])
    until(lambda: here.simulator.counts["data"] > STARTED)
    first.kill()
    first.wait(10)
    report = distributed.run(client, Job.load(file), workers=3)
    assert report.state == "complete", report
    assert_each_record_is_there_once(postgres, shared, here)


def test_a_lost_scheduler_is_an_error_and_a_run_elsewhere_goes_on(
    wechat: Start, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = wechat(latency=0.02)
    shared = job(tmp_path, here, postgres)
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", file, "--no-dashboard"]
    with ExitStack() as stack:
        scheduler, workers = (
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *common, *more],
                env={**os.environ, **SECRETS}, cwd=tmp_path, stderr=subprocess.DEVNULL,
            )
            for program, more in (
                ("dask_scheduler", ["--host", "127.0.0.1", "--port", "0"]),
                ("dask_worker", ["--nworkers", "2", "--nthreads", "1", "--death-timeout", "20"]),
            )
        )  # fmt: skip
        stack.callback(workers.wait, 60)
        stack.callback(workers.terminate)
        stack.callback(scheduler.wait, 10)
        stack.callback(scheduler.kill)
        until(file.exists)
        client = stack.enter_context(dask.Client(scheduler_file=str(file), timeout=30))
        client.wait_for_workers(2, timeout=60)
        running = ThreadPoolExecutor(1).submit(distributed.run, client, shared, workers=2)
        until(lambda: here.simulator.counts["data"] > STARTED)
        scheduler.kill()
        with pytest.raises(harvester.RunError, match="the scheduler of Dask was lost"):
            running.result(timeout=60)
        for name, text in SECRETS.items():
            monkeypatch.setenv(name, text)
        assert shared.run_sync().state == "complete"
    assert_each_record_is_there_once(postgres, shared, here)


def test_the_next_call_is_a_run_of_its_own(
    client: Any, wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    of = job(tmp_path, wechat(), postgres, rate="1000/s")
    first, *others = [distributed.run(client, of, workers=2) for _ in range(3)]
    assert first.windows.done == first.windows.planned
    assert [each.windows.skipped for each in others] == [first.windows.planned] * 2
