"""Compressed lines and Parquet after random kills: each record is stored once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.testing import Faults
from tests.support import KILLS, A, B, Wechat, command, days, environment, harvest

pytestmark = pytest.mark.thorough

BEGIN, END = date(2022, 7, 1), date(2023, 6, 30)
RATE = f"{min(30, max(2, 1800 // KILLS))}/s"  # so that the job lasts longer than all kills
SPECS = ("jsonl:{}?compress=gzip", "jsonl:{}?compress=zstd", "parquet:{}")
each_sink = pytest.mark.parametrize("spec", SPECS)


def _job(wechat: Wechat, home: Path, spec: str, rate: str, *more: str) -> list[str]:
    accounts = home.parent / "accounts.toml"
    tables = [f'[[account]]\nappid = "{a}"\nsecret = "env:HARVESTER_SECRET"\n' for a in (A, B)]
    accounts.write_text("".join(tables))
    return [
        "run", "getarticlesummary", "--accounts", str(accounts), "--start", str(BEGIN),
        "--end", str(END), "--base-url", wechat.url, "--rate", rate, "--out", str(home),
        "--sink", spec.format(home), "--json", *more,
    ]  # fmt: skip


def _killed(server: Wechat, job: Sequence[str], seconds: float) -> None:
    """Run the command, and kill it some time after its first answer."""
    process = subprocess.Popen(
        command(*job), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    before = server.simulator.counts["data"]
    while server.simulator.counts["data"] == before and process.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def _assert_the_truth(home: Path, server: Wechat, *, ended: bool) -> None:
    """What is read is what WeChat gave, once; all of it, if the run has ended."""
    assert invoke(["verify", "--out", str(home)]) == 0
    table = harvester.read(home, "getarticlesummary").read_all()
    found = Counter(map(_key, table.to_pylist()))
    truth = Counter(
        (appid, day, record["msgid"], record["title"], record["int_page_read_user"])
        for appid in (A, B)
        for day in days(BEGIN, END)
        for record in server.simulator.truth(appid, day)
    )
    assert found - truth == Counter(), "doubled or foreign records"
    if ended:
        assert truth - found == Counter(), "lost records"


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["_appid"], row["_begin_date"], row["msgid"], row["title"], row["int_page_read_user"],
    )  # fmt: skip


@each_sink
@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_and_double_nothing(
    wechat: Callable[..., Wechat], tmp_path: Path, spec: str
) -> None:
    server = wechat(latency=0.002, faults=Faults(busy=0.02, reset=0.01))
    home = tmp_path / "harvest"
    draw = random.Random(20260102)
    for _ in range(KILLS):
        _killed(server, _job(server, home, spec, RATE), draw.uniform(0.0, 0.4))
        if (home / "ledger.sqlite").exists() and any(home.rglob("*.jsonl*")):
            _assert_the_truth(home, server, ended=False)
    result = harvest(*_job(server, home, spec, "5000/s"))
    assert result.returncode == 0, result.stderr
    _assert_the_truth(home, server, ended=True)
    if spec.startswith("parquet"):
        files = sorted(home.rglob("*.parquet"))
        assert [path.stem for path in files] == ["2022", "2023"]
        stored = harvester.read(home, "getarticlesummary").read_all().num_rows
        assert sum(pq.read_metadata(path).num_rows for path in files) == stored
    else:
        assert len(list((home / "getarticlesummary").iterdir())) == 1


@each_sink
@pytest.mark.timeout(900)
def test_a_kill_in_the_midst_of_a_refresh_or_of_its_end_leaves_each_record_once(
    wechat: Callable[..., Wechat], tmp_path: Path, spec: str
) -> None:
    server = wechat()
    home = tmp_path / "harvest"
    assert harvest(*_job(server, home, spec, "5000/s")).returncode == 0
    for seconds in (0.3, 1.2, 0.05, 0.8, 1.6)[: max(1, KILLS - 1)]:
        _killed(server, _job(server, home, spec, "1000/s", "--refresh"), seconds)
        _assert_the_truth(home, server, ended=True)
        result = harvest(*_job(server, home, spec, "5000/s"))
        assert result.returncode == 0, result.stderr
        _assert_the_truth(home, server, ended=True)
