"""What other programs read from Iceberg tables, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.endpoint import Field, JsonEndpoint
from tests.sinks.test_iceberg import FIRST, Harvest, batch

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(900)]

DUCKDB = """
import glob, json, os, sys
import duckdb, duckdb_extension_avro, duckdb_extension_iceberg
for module in (duckdb_extension_avro, duckdb_extension_iceberg):
    folder = os.path.dirname(module.__file__)
    [path] = glob.glob(os.path.join(folder, "extensions/*/*.duckdb_extension"))
    duckdb.execute(f"LOAD '{path}'")
where = "WHERE _begin_date BETWEEN '2024-02-01' AND '2024-02-10'" if sys.argv[2:] else ""
rows = duckdb.sql(
    f"SELECT number, CAST(_begin_date AS VARCHAR), added, detail.a, detail.c"
    f" FROM iceberg_scan('{sys.argv[1]}') {where} ORDER BY number"
).fetchall()
print(json.dumps(rows))
"""
POLARS = """
import json, os, sys, warnings
from datetime import date
os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"
import polars
hint = open(f"{sys.argv[1]}/metadata/version-hint.text").read()
found = polars.scan_iceberg(f"{sys.argv[1]}/metadata/{hint}.metadata.json")
if sys.argv[2:]:
    found = found.filter(polars.col("_begin_date").is_between(date(2024, 2, 1), date(2024, 2, 10)))
found = found.sort("number").collect()
print(json.dumps([
    [row["number"], str(row["_begin_date"]), row["added"], row["detail"] and row["detail"]["a"],
     row["detail"] and row["detail"]["c"]] for row in found.to_dicts()
]))
"""
READERS = {
    "duckdb": (
        DUCKDB,
        ("duckdb==1.5.5", "duckdb-extension-iceberg==1.5.5", "duckdb-extension-avro==1.5.5"),
    ),
    "polars": (POLARS, ("polars==2.1.0", "pyarrow==26.0.1", "pyiceberg==0.12.0")),
}
Reader = Callable[..., list[list[Any]]]


@pytest.fixture(scope="module", params=READERS)
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A program that gives the rows of a table, in an environment made for it."""
    program, packages = READERS[request.param]
    home = tmp_path_factory.mktemp(request.param)
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin/python", "-m", "pip", "install", "-q", *packages], check=True)

    def reader(table: Path, *more: str) -> list[list[Any]]:
        command = [home / "bin/python", "-c", program, table, *more]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found: list[list[Any]] = json.loads(done.stdout)
        return found

    return reader


INNER = Field("detail", "object", "", (Field("a", "int"),))
OLD = JsonEndpoint("checked", "/x", FIRST, fields=(Field("number", "int"), INNER))
MORE = INNER._replace(fields=(*INNER.fields, Field("c", "str")))
NEW = JsonEndpoint(
    "checked", "/x", FIRST, fields=(Field("number", "int"), MORE, Field("added", "str"))
)


def row(number: int, day: str, added: str | None, a: int | None, c: str | None) -> list[Any]:
    return [number, day, added, a, c]


def test_each_record_is_read_once_after_each_publication(read: Reader, tmp_path: Path) -> None:
    harvest = Harvest(tmp_path / "lake")
    table = harvest.home / "checked"
    days = [batch(n, {"number": n, "detail": {"a": n}}, endpoint=OLD) for n in range(70)]
    harvest.run(days).run([batch(99, endpoint=NEW)])  # it widens the table
    plain = [row(n, str(days[n].window.begin), None, n, None) for n in range(70)]
    assert read(table) == plain
    assert read(table, "february") == plain[31:41]

    again = batch(40, {"number": 1000, "added": "x", "detail": {"a": 1, "c": "y"}}, endpoint=NEW)
    week = batch(28, {"number": 1001}, endpoint=NEW, days=7)
    harvest.run([again], [week, batch(50, endpoint=NEW)])
    left = [*plain[:28], *plain[35:40], *plain[41:50], *plain[51:]]
    new = [row(1000, "2024-02-10", "x", 1, "y"), row(1001, "2024-01-29", None, None, None)]
    assert read(table) == [*left, *new]
    assert read(table, "february") == [*plain[35:40], new[0]]
