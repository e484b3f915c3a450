"""A database of DuckDB that somebody changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from harvester.errors import UsageError
from tests.exports.support import FIRST, USERS, articles, do, equal, few, harvest, users

pytestmark = pytest.mark.thorough


def test_columns_that_somebody_changed_in_duckdb_are_refused(tmp_path: Path) -> None:
    spec, sink = f"duckdb:{tmp_path}/d.duckdb", few()
    do(sink, spec)
    with duckdb.connect(f"{tmp_path}/d.duckdb") as database:
        database.execute(f"ALTER TABLE {USERS} ADD COLUMN mine INTEGER")
    harvest(users(FIRST, 0, 9), sink=sink)
    with pytest.raises(UsageError, match="the columns of getusersummary were changed"):
        do(sink, spec)


def _figures(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as database:
        [(count,)] = database.execute(f"SELECT count(*) FROM {USERS}").fetchall()
    return int(count)


def _is_readable(path: Path) -> bool:
    try:
        return _figures(path) > 0
    except duckdb.Error:
        return False


OPENED = """
import duckdb, sys, time
database = duckdb.connect(sys.argv[1])
database.execute("CREATE TABLE notes AS SELECT 1 AS a")
print("open", flush=True)
time.sleep(600)
"""


def test_whoever_has_it_open_to_write_and_is_killed_leaves_it_readable(tmp_path: Path) -> None:
    path, sink = tmp_path / "d.duckdb", few()
    spec = f"duckdb:{path}"
    do(sink, spec)
    before, log = _figures(path), tmp_path / "d.duckdb.wal"
    with subprocess.Popen(
        [sys.executable, "-c", OPENED, path], stdout=subprocess.PIPE, text=True
    ) as notebook:
        assert notebook.stdout is not None
        assert notebook.stdout.readline() == "open\n"
        kept = log.read_bytes()
        harvest(users(FIRST, 7), sink=sink)
        do(sink, spec)
        assert _figures(path) == before + 2
        notebook.kill()
    log.write_bytes(kept)  # as if it had written once more
    assert equal(sink, spec) == _is_readable(path)  # DuckDB 1.4 takes any log, 2.0 none
    do(sink, spec)
    assert _figures(path) == before + 2
    assert equal(sink, spec)


def test_another_shape_after_a_month_is_gone(tmp_path: Path) -> None:
    spec, sink = f"duckdb:{tmp_path}/d.duckdb", few()
    do(sink, f"{spec}?shape=nested")
    left = harvest(articles(FIRST), users(FIRST))
    do(left, f"{spec}?shape=flat", replace=True)
    assert equal(left, f"{spec}?shape=flat")
