"""A refresh is killed; kills of any run at any moment: ``python -m tests.chaos.crash``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from tests.chaos.harvests import assert_the_truth, job, started
from tests.support import KILLS, A, B, Wechat, harvest

pytestmark = pytest.mark.thorough

RANGE = {"appids": (A, B), "begin": date(2022, 7, 1), "end": date(2023, 6, 30)}


def _kill(todo: Sequence[str], come: Callable[[], int], seconds: float) -> None:
    """Run the command, and kill it some time after it has come further."""
    before = come()
    process = started(todo, lambda: come() > before)
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=10)


@pytest.mark.parametrize("sink", ["jsonl", "gzip", "zstd"])
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
        _kill(refresh, lambda: server.simulator.counts["data"], seconds)
        assert_the_truth(server, home, sink, **RANGE, killed=True)
        result = harvest(*whole)
        assert result.returncode == 0, result.stderr
        assert_the_truth(server, home, sink, **RANGE)
