"""Redis streams as a sink, through the command."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import redis as driver

from tests.redis_server import PASSWORD, RedisServer
from tests.support import KILLS, A, Wechat, assert_exactly_the_truth, command, environment, harvest

BEGIN, END = date(2024, 1, 1), date(2024, 3, 31)
KEY = "harvester:getarticlesummary"
RATE = f"{min(40, max(2, 800 // KILLS))}/s"  # so that the job lasts longer than most kills


def job(wechat: Wechat, home: Path, server: RedisServer, *more: str) -> tuple[Any, ...]:
    return (
        "run", "getarticlesummary", "--appid", A, "--start", str(BEGIN), "--end", str(END),
        "--base-url", wechat.url, "--rate", "5000/s", "--out", home, "--sink", server.url, *more,
    )  # fmt: skip


def entries(server: RedisServer) -> list[dict[str, str]]:
    with driver.Redis.from_url(server.url, decode_responses=True) as client:
        return [fields for _, fields in client.xrange(KEY)]


def figures(server: RedisServer) -> list[dict[str, Any]]:
    """The records of the latest whole version of each day."""
    whole: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    latest: dict[str, int] = {}
    for entry in entries(server):
        day, version = entry["id"].rpartition("/")[0], int(entry["version"])
        found = whole.setdefault((day, version), {})
        if "record" in entry:
            found[entry["id"]] = json.loads(entry["record"])
        if len(found) == int(entry["records"]):
            latest[day] = max(latest.get(day, 0), version)
    return [record for place in latest.items() for record in whole[place].values()]


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    """A server that holds nothing."""
    redis.empty()
    return redis


def test_the_command_harvests_and_refreshes(
    server: RedisServer, tmp_path: Path, wechat: Callable[..., Wechat]
) -> None:
    simulated = wechat()
    lengths = []
    for more in ((), (), ("--refresh",)):
        result = harvest(*job(simulated, tmp_path, server, *more))
        assert result.returncode == 0, result.stderr
        assert PASSWORD not in result.stdout + result.stderr
        assert_exactly_the_truth(figures(server), simulated.simulator, (A,), BEGIN, END)
        lengths.append(len(entries(server)))
    assert lengths[0] == lengths[1]  # what was committed is not sent again
    for path in tmp_path.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()


def test_a_stream_that_was_deleted_stops_the_next_run(
    server: RedisServer, tmp_path: Path, wechat: Callable[..., Wechat]
) -> None:
    simulated = wechat()
    assert harvest(*job(simulated, tmp_path, server)).returncode == 0
    with driver.Redis.from_url(server.url) as client:
        client.delete(KEY)
    again = harvest(*job(simulated, tmp_path, server, "--refresh"))
    assert again.returncode == 4
    assert "though the ledger says that its records were sent" in again.stderr
    assert "Traceback" not in again.stderr
    assert PASSWORD not in again.stderr


@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_kills_at_random_moments_lose_nothing(
    server: RedisServer, tmp_path: Path, wechat: Callable[..., Wechat]
) -> None:
    simulated, draw = wechat(latency=0.002), random.Random(20261125)
    arguments = command(*job(simulated, tmp_path, server, "--concurrency", "1", "--rate", RATE))
    for _ in range(KILLS):
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        )
        before = len(simulated.simulator.served)
        while len(simulated.simulator.served) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert harvest(*job(simulated, tmp_path, server)).returncode == 0
    assert_exactly_the_truth(figures(server), simulated.simulator, (A,), BEGIN, END)
