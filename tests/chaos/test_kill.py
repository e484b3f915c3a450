"""The guarantee: however a run ends, the next ones store every record exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from harvester.cli.commands import invoke
from harvester.testing import Faults
from tests.support import (
    KILLS,
    A,
    B,
    Wechat,
    assert_exactly_the_truth,
    command,
    environment,
    harvest,
)
from tests.support import stored as stored_records

pytestmark = pytest.mark.thorough

BEGIN, END = date(2022, 1, 1), date(2023, 12, 31)
RATE = f"{min(60, max(2, 3600 // KILLS))}/s"  # so that the job lasts longer than all kills


def _job(wechat: Wechat, home: Path, rate: str) -> list[str]:
    accounts = home.parent / "accounts.toml"
    tables = [f'[[account]]\nappid = "{a}"\nsecret = "env:HARVESTER_SECRET"\n' for a in (A, B)]
    accounts.write_text("".join(tables))
    return [
        "run", "getarticlesummary", "--accounts", str(accounts), "--start", str(BEGIN),
        "--end", str(END), "--base-url", wechat.url, "--rate", rate, "--out", str(home), "--json",
    ]  # fmt: skip


def _the_ledger_is_right(home: Path) -> None:
    """What the ledger speaks of is there, to the letter."""
    assert invoke(["verify", "--out", str(home)]) == 0


@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_and_double_nothing(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.005, faults=Faults(busy=0.02, reset=0.01, cut=0.01))
    home = tmp_path / "harvest"
    job = _job(server, home, RATE)
    draw = random.Random(20260101)
    sizes = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(*job), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = len(server.simulator.served)
        while len(server.simulator.served) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0.0, 0.4))
        assert process.poll() is None, "the job ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        if (home / "ledger.sqlite").exists():
            _the_ledger_is_right(home)
        sizes.append(len(server.simulator.served))
    assert sizes == sorted(set(sizes)), "each run must have come further"
    result = harvest(*_job(server, home, "5000/s"))
    assert result.returncode == 0, result.stderr
    assert_exactly_the_truth(stored_records(home), server.simulator, (A, B), BEGIN, END)
    _the_ledger_is_right(home)
    assert len(list((home / "getarticlesummary").iterdir())) == 1


@pytest.mark.thorough
def test_a_kill_in_the_midst_of_a_refresh_leaves_each_record_once(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    home = tmp_path / "harvest"
    assert harvest(*_job(server, home, "5000/s")).returncode == 0
    for seconds in (0.0, 0.1, 0.25):
        process = subprocess.Popen(
            command(*_job(server, home, "500/s"), "--refresh"),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = server.simulator.counts["data"]
        while server.simulator.counts["data"] == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        process.kill()
        process.wait(10)
        result = harvest(*_job(server, home, "5000/s"))
        assert result.returncode == 0, result.stderr
        assert_exactly_the_truth(stored_records(home), server.simulator, (A, B), BEGIN, END)
        _the_ledger_is_right(home)
