"""Tables of Iceberg in a directory that was moved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from harvester.errors import UsageError
from tests.exports.support import FIRST, USERS, do, equal, few, harvest, users

pytestmark = pytest.mark.thorough


def test_a_moved_directory_of_iceberg_is_refused(tmp_path: Path) -> None:
    do(few(), f"iceberg:{tmp_path}/ice")
    (tmp_path / "ice").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"was moved from .* move it back, or remove it"):
        do(few(), f"iceberg:{tmp_path}/moved")


def test_files_of_others_in_its_directory_stay(tmp_path: Path) -> None:
    sink, spec = few(), f"iceberg:{tmp_path}/ice"
    do(sink, f"parquet:{tmp_path}/ice")
    do(sink, spec)
    (tmp_path / "ice" / USERS / "README.md").write_text("mine")
    there = {path for path in (tmp_path / "ice").rglob("*") if path.is_file()}
    for path in there:
        os.utime(path, (1.0, 1.0))
    harvest(users(FIRST, 7), sink=sink)
    do(sink, spec)
    gone = {path for path in there if not path.exists()}
    assert all(path.parent.name in ("data", "metadata") for path in gone)
    assert equal(sink, spec)


def test_the_directory_of_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "harvest").mkdir()
    (tmp_path / "harvest" / ".jsonl.lock").touch()
    with pytest.raises(UsageError, match="holds the records of a run"):
        do(few(), f"iceberg:{tmp_path}/harvest")


def test_a_table_of_another_program_is_refused(tmp_path: Path) -> None:
    warehouse = tmp_path / "ice"
    warehouse.mkdir()
    options = {"uri": "sqlite:///:memory:", "warehouse": str(warehouse)}
    catalog = SqlCatalog("theirs", **options)
    catalog.create_namespace("n")
    schema = Schema(NestedField(1, "a", LongType()))
    catalog.create_table("n.articles", schema, f"file://{warehouse}/articles")
    catalog.close()
    with pytest.raises(UsageError, match="the table articles was not made by harvester"):
        do(few(), f"iceberg:{warehouse}")
