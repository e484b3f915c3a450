"""A job on a real local cluster of Dask: processes that are killed and frozen."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import Job, distributed
from harvester.testing import Simulator
from tests.postgres_server import PASSWORD, USER, PostgresServer
from tests.support import Wechat, days

dask = pytest.importorskip("distributed")

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(240)]

ENDPOINT = "getusersummary"
APPIDS = [f"wx{number:016x}" for number in range(12)]
BEGIN, END = date(2024, 1, 1), date(2024, 6, 30)
LEASE = 2.0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """Three workers, each a process with one thread; they alone have the secrets."""
    with (
        dask.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None,
            local_directory=str(tmp_path / "dask"), silence_logs=50,
            env={"PGPASSWORD": PASSWORD, "WX_SECRET": "practice"},
        ) as cluster,
        dask.Client(cluster) as client,
    ):  # fmt: skip
        yield client


def job(folder: Path, wechat: Wechat, server: PostgresServer, **more: Any) -> Job:
    accounts = folder / "accounts.csv"
    accounts.write_text("appid,secret\n" + "".join(f"{each},env:WX_SECRET\n" for each in APPIDS))
    url = f"postgresql://{USER}@127.0.0.1:{server.port}/{server.new_database()}"
    asked = {
        "endpoints": ENDPOINT, "start": BEGIN, "end": END, "accounts": accounts,
        "base_url": wechat.url, "sink": url, "ledger": url, "lease": f"{LEASE:g}s",
        "rate": "10/s", "concurrency": 8,
    }  # fmt: skip
    return Job(**{**asked, **more})


def database(of: Job) -> str:
    return of.sink[0].rpartition("/")[2]


def rows(server: PostgresServer, of: Job) -> list[tuple[Any, ...]]:
    return server.execute(
        f"SELECT _appid, ref_date::text, user_source, new_user, cancel_user FROM {ENDPOINT}",
        database(of),
    )


def assert_each_record_is_there_once(server: PostgresServer, of: Job, simulator: Simulator) -> None:
    truth = [
        (appid, row["ref_date"], row["user_source"], row["new_user"], row["cancel_user"])
        for appid in APPIDS
        for day in days(BEGIN, END)
        for row in simulator.truth_of(ENDPOINT, appid, day, day)
    ]
    found = Counter(rows(server, of))
    assert found - Counter(truth) == Counter(), "doubled or other records"
    assert Counter(truth) - found == Counter(), "lost records"


def wait_until(happens: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_killed_and_a_frozen_worker_lose_and_double_nothing(
    client: Any, wechat: Callable[..., Wechat], postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat(latency=0.02)
    simulator = here.simulator
    shared = job(tmp_path, here, postgres)
    killed, frozen, third = client.run(os.getpid).values()
    running = ThreadPoolExecutor(1).submit(distributed.run, client, shared, workers=3)
    wait_until(lambda: simulator.counts["data"] > 50)
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
    assert_each_record_is_there_once(postgres, shared, simulator)
    assert third in client.run(os.getpid).values()

    asked = simulator.counts["data"]
    again = distributed.run(client, shared, workers=2)
    assert (again.state, again.windows.skipped) == ("complete", windows.planned)
    assert simulator.counts["data"] == asked


def test_more_tasks_than_workers_share_the_accounts(
    client: Any, wechat: Callable[..., Wechat], postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat()
    shared = job(tmp_path, here, postgres, rate="500/s")
    report = distributed.run(client, shared, workers=5)
    assert report.state == "complete"
    assert report.windows.done == report.windows.planned
    assert report.token_fetches == len(APPIDS)
    assert report.records == len(rows(postgres, shared))
    assert_each_record_is_there_once(postgres, shared, here.simulator)


def test_a_job_that_every_worker_refuses_is_a_usage_error(
    client: Any, wechat: Callable[..., Wechat], postgres: PostgresServer, tmp_path: Path
) -> None:
    here = wechat()
    lines = job(tmp_path, here, postgres, sink=f"jsonl:{tmp_path / 'lines'}")
    with pytest.raises(harvester.UsageError, match="cannot be written by several processes"):
        distributed.run(client, lines, workers=2)
    nowhere = job(tmp_path, here, postgres, accounts=tmp_path / "nowhere.csv")
    with pytest.raises(harvester.UsageError, match=r"nowhere\.csv cannot be read"):
        distributed.run(client, nowhere, workers=2)
    assert here.simulator.counts["data"] == 0
