"""The SQLite library: the oldest that will do, and one that is too old."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import A, Wechat, harvest

OLD = """
import sqlite3
sqlite3.sqlite_version_info, sqlite3.sqlite_version = (3, 25, 3), "3.25.3"
"""
SAID = "harvester: SQLite 3.26 or newer is needed, and Python has loaded 3.25.3"


@pytest.mark.skipif("HARVESTER_SQLITE" not in os.environ, reason="any SQLite will do")
def test_the_library_that_is_loaded_is_the_one_to_be_tested() -> None:
    assert sqlite3.sqlite_version == os.environ["HARVESTER_SQLITE"]


@pytest.mark.parametrize("sink", [[], ["--sink", "sqlite:records.db"]])
def test_a_run_is_refused_on_an_older_library_and_sends_nothing(
    wechat: Callable[..., Wechat], tmp_path: Path, sink: list[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(OLD)
    server = wechat()
    done = harvest(
        "run", "getusersummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-02",
        "--base-url", server.url, *sink, cwd=tmp_path, PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip().splitlines()[0]) == (2, SAID)
    assert not server.simulator.counts


def test_a_database_is_written_twice_and_verified(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    days = ("--start", "2024-01-01", "--end", "2024-01-20")
    args = ("run", "getusersummary", "--appid", A, *days, "--base-url", server.url)
    for more in ((), ("--refresh",)):
        done = harvest(
            *args, "--sink", "sqlite:records.db", "--rate", "1000/s", *more, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "exactly what was fetched")
