"""The SQLite library: the oldest that will do, and one that is too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.command import Start, asked, succeeded
from tests.support import harvest

OLD = """
import sqlite3
sqlite3.sqlite_version_info, sqlite3.sqlite_version = (3, 25, 3), "3.25.3"
"""
SAID = "harvester: SQLite 3.26 or newer is needed, and Python has loaded 3.25.3"


@pytest.mark.thorough
@pytest.mark.parametrize("sink", [[], ["--sink", "sqlite:records.db"]])
def test_an_older_library_is_refused(wechat: Start, tmp_path: Path, sink: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(OLD)
    server = wechat()
    run = asked(server.url, "getusersummary", "2024-01-01", "2024-01-02", *sink)
    done = harvest(*run, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (2, SAID)
    assert not server.simulator.counts


@pytest.mark.thorough
def test_a_database_is_written_twice_and_verified(wechat: Start, tmp_path: Path) -> None:
    run = asked(wechat().url, "getusersummary", "2024-01-01", "2024-01-20")
    for more in ((), ("--refresh",)):
        succeeded(*run, "--sink", "sqlite:records.db", *more, cwd=tmp_path)
    done = harvest("verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "exactly what was fetched")
