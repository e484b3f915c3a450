"""The memory of `read` and of exports does not grow with the number of days."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.base.fencing import EPOCH
from harvester.config import plugins
from harvester.model import Batch, Window
from harvester.wechat.interfaces import INTERFACES
from tests.exports.support import ARTICLES, STAMP, USERS, articles

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(500)]

MANY, ACCOUNTS = 300_000, 300
FIRST = date(2023, 1, 2)

PROGRAM = """
import resource, sys
import duckdb, pandas, harvester, harvester.reading
from harvester.exports import arrow
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
where, name, target = sys.argv[1:]
if target == "read":
    rows = sum(batch.num_rows for batch in harvester.read(where, name))
elif target == "query":
    stored = harvester.read(where, name)
    [(rows,)] = duckdb.sql("SELECT count(ref_date) FROM stored").fetchall()
else:
    rows = harvester.export(where, target, name).rows
print(rows, peak() - before)
"""
"""Prints the rows, and the MB that were needed beside the libraries."""


def peak(where: str, name: str, target: str) -> tuple[int, int]:
    """The rows, and the memory in MB, of reading or exporting in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, where, name, target],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    rows, megabytes = map(int, done.stdout.split()[-2:])  # before it is DuckDB's progress
    return rows, megabytes


def filled(spec: str, batches: Iterator[Batch]) -> str:
    """A sink with these windows."""

    async def fill() -> None:
        sink: Any = plugins.sink(spec)
        await sink.open(None)
        while some := [batch for _, batch in zip(range(1000), batches, strict=False)]:
            await sink.write(some, {batch.window.appid: EPOCH for batch in some})
        await sink.close()

    asyncio.run(fill())
    return spec


def by_day(accounts: int, days: int) -> Iterator[Batch]:
    """A record a day and account, each in a window of its own."""
    for account in range(accounts):
        for number in range(days):
            day = FIRST + timedelta(days=number)
            record = {"ref_date": str(day), "user_source": 0, "new_user": number, "cancel_user": 1}
            window = Window(f"wx{account:016x}", USERS, day, day)
            yield Batch(window, [record], STAMP, endpoint=INTERFACES[USERS], replaces=False)


BOUNDS = {
    ("jsonl", "parquet:{}/pq"): 250, ("sqlite", "xlsx:{}/x.xlsx?tables=getusersummary"): 150,
    ("sqlite", "duckdb:{}/d.duckdb"): 400, ("sqlite", "csv:{}/csv"): 120,
    ("sqlite", "parquet:{}/pq"): 120,
    ("sqlite", "query"): 170, ("jsonl", "read"): 140, ("sqlite", "read"): 120,
}  # fmt: skip
"""MB beside the libraries, as docs/exports.md has them."""


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_300_000_records_are_read_and_exported_within_a_bound(tmp_path: Path) -> None:
    specs = {"jsonl": f"jsonl:{tmp_path}/lines", "sqlite": f"sqlite:{tmp_path}/many.db"}
    for kind, spec in specs.items():
        (tmp_path / kind).mkdir()
        filled(spec, by_day(ACCOUNTS, MANY // ACCOUNTS))
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each is a process of its own
        found = threads.map(
            lambda each: peak(specs[each[0]], USERS, each[1].format(tmp_path / each[0])), BOUNDS
        )
        rows, megabytes = zip(*found, strict=True)
    assert {*rows} == {MANY}
    used = dict(zip(BOUNDS, megabytes, strict=True))
    assert {each: used[each] for each in BOUNDS if used[each] > BOUNDS[each]} == {}
    # With a tenth of the days it is not less.
    few = filled(f"sqlite:{tmp_path}/few.db", by_day(ACCOUNTS, MANY // ACCOUNTS // 10))
    assert used["sqlite", "read"] <= peak(few, USERS, "read")[1] + 20


def test_records_with_lists_in_lists_are_read_within_the_same_bound(tmp_path: Path) -> None:
    def large() -> Iterator[Batch]:
        for number in range(2000):
            batch = articles(date(2025, 11, 3) + timedelta(days=number % 200), number // 200)
            batch.records[0]["detail_list"] *= 15
            yield batch

    where = filled(f"sqlite:{tmp_path}/articles.db", large())
    rows, megabytes = peak(where, ARTICLES, "read")
    assert rows == 2000
    assert megabytes <= 150
