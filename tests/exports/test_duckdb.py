"""A database of DuckDB that somebody changed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from harvester.errors import UsageError
from tests.exports.support import FIRST, USERS, do, few, harvest, users

pytestmark = pytest.mark.thorough


def test_columns_that_somebody_changed_in_duckdb_are_refused(tmp_path: Path) -> None:
    spec, sink = f"duckdb:{tmp_path}/d.duckdb", few()
    do(sink, spec)
    with duckdb.connect(f"{tmp_path}/d.duckdb") as database:
        database.execute(f"ALTER TABLE {USERS} ADD COLUMN mine INTEGER")
    harvest(users(FIRST, 0, 9), sink=sink)
    with pytest.raises(UsageError, match="somebody has changed the columns of getusersummary"):
        do(sink, spec)
