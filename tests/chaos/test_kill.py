"""The guarantee: however a run ends, the next ones store every record exactly once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from harvester.testing import Faults
from tests.chaos.harvests import NAME, assert_the_truth, job, started
from tests.support import KILLS, A, B, Wechat, harvest

pytestmark = pytest.mark.thorough

RANGE = {"appids": (A, B), "begin": date(2022, 7, 1), "end": date(2023, 6, 30)}
RATE = f"{min(30, max(2, 1800 // KILLS))}/s"  # so that the job lasts longer than all kills
each_sink = pytest.mark.parametrize("sink", ["jsonl", "gzip", "zstd"])


def _killed(todo: Sequence[str], come: Callable[[], int], seconds: float) -> bool:
    """Run the command, and kill it some time after it has come further; whether it lived then."""
    before = come()
    process = started(todo, lambda: come() > before)
    time.sleep(seconds)
    lived = process.poll() is None
    process.kill()
    process.communicate(timeout=10)
    return lived


@each_sink
@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_and_double_nothing(
    wechat: Callable[..., Wechat], tmp_path: Path, sink: str
) -> None:
    server = wechat(latency=0.005, faults=Faults(busy=0.02, reset=0.01, cut=0.01))
    home = tmp_path / "harvest"
    draw = random.Random(20260101)
    for _ in range(KILLS):
        todo = job(server, home, sink, RATE, **RANGE)
        assert _killed(todo, lambda: len(server.simulator.served), draw.uniform(0.0, 0.4))
        if (home / "ledger.sqlite").exists() and any(home.rglob("*.jsonl*")):
            assert_the_truth(server, home, sink, **RANGE, whole=False, killed=True)
    result = harvest(*job(server, home, sink, "5000/s", **RANGE))
    assert result.returncode == 0, result.stderr
    assert_the_truth(server, home, sink, **RANGE)
    assert sorted(path.name[:6] for path in (home / NAME).iterdir()) == ["2022.j", "2023.j"]


@each_sink
@pytest.mark.timeout(900)
def test_a_kill_in_the_midst_of_a_refresh_or_of_its_end_leaves_each_record_once(
    wechat: Callable[..., Wechat], tmp_path: Path, sink: str
) -> None:
    server = wechat()
    home = tmp_path / "harvest"
    whole = job(server, home, sink, "5000/s", **RANGE)
    assert harvest(*whole).returncode == 0
    refresh = [*job(server, home, sink, "500/s", **RANGE), "--refresh"]
    for seconds in (0.0, 0.3, 1.2, 0.05, 0.8, 1.6)[: max(2, KILLS)]:
        _killed(refresh, lambda: server.simulator.counts["data"], seconds)
        assert_the_truth(server, home, sink, **RANGE, killed=True)
        result = harvest(*whole)
        assert result.returncode == 0, result.stderr
        assert_the_truth(server, home, sink, **RANGE)
