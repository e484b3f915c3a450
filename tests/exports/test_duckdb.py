"""A database of DuckDB that somebody changed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from harvester.errors import UsageError
from tests.exports.support import (
    ARTICLES,
    FIRST,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)

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


CHANGES = [
    "DELETE FROM getusersummary",
    "DELETE FROM getusersummary WHERE _row = 0 AND _begin_date = DATE '2026-01-30'",
    "UPDATE getusersummary SET new_user = 5 WHERE _row = 0",
    "INSERT INTO getusersummary (_begin_date) VALUES (DATE '1999-01-01')",
    "INSERT INTO getusersummary (_begin_date) VALUES (NULL)",
    "DROP TABLE getusersummary",
    "DROP TABLE articles",
    "DELETE FROM article_totals",
    "ALTER TABLE getusersummary ADD COLUMN mine INTEGER",
    "ALTER TABLE getusersummary RENAME new_user TO more_user",
    "ALTER TABLE getusersummary ALTER _begin_date TYPE VARCHAR",
    "DELETE FROM _harvester_export",
    "ALTER TABLE _harvester_export DROP content",
]


@pytest.mark.sampled
@pytest.mark.parametrize("shape", ["nested", "flat"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_has_changed_is_found_and_replaced(
    tmp_path: Path, change: str, shape: str
) -> None:
    spec, sink = f"duckdb:{tmp_path}/d.duckdb?shape={shape}", few()
    do(sink, spec)
    right = tables(spec)
    with duckdb.connect(f"{tmp_path}/d.duckdb") as database:
        if shape == "nested" and "article" in change:
            change = f"DELETE FROM {ARTICLES}"
        database.execute(change)
    assert not equal(sink, spec)
    do(sink, spec, replace=True)
    assert equal(sink, spec)
    assert tables(spec) == right
    assert do(sink, spec).written == 0


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_an_export_is_equal_in_another_time_zone(
    tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, sink = f"duckdb:{tmp_path}/d.duckdb", few()
    do(sink, spec)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert equal(sink, spec)
    monkeypatch.undo()
    time.tzset()


def test_a_table_that_somebody_dropped_and_nobody_needs_holds_up_nothing(tmp_path: Path) -> None:
    spec, sink = f"duckdb:{tmp_path}/d.duckdb", few()
    do(sink, spec)
    with duckdb.connect(f"{tmp_path}/d.duckdb") as database:
        database.execute(f"DROP TABLE {USERS}")
    left = harvest(articles(FIRST))
    do(left, spec)
    assert equal(left, spec)
