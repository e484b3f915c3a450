"""Measure what Iceberg tables take: a backfill, and daily runs over the same provisional days.

The backfill is beside one plain Parquet file of the same records, which pyarrow writes at once.  A
daily run replaces the last days of all accounts and interfaces; a day passes between two runs as
far as the retention of snapshots is concerned.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure, Spent, in_new_process, peak_memory, timed
from harvester import plugins
from harvester.errors import UsageError
from harvester.model import Batch, Window
from harvester.writer import GROUP

ENDPOINT = plugins.endpoint("getusersummary")
STAMP = "2024-06-15T04:00:00Z"
FIRST = date(2023, 1, 1)
WINDOWS, RECORDS = 50_000, 8
DAYS_OF_AN_ACCOUNT = 500
PROVISIONAL = 30
INTERFACES = (
    "getusersummary", "getusercumulate", "getarticleread", "getarticleshare", "getbizsummary",
    "getupstreammsg", "getupstreammsghour", "getinterfacesummary", "getinterfacesummaryhour",
    "getupstreammsgdist",
)  # fmt: skip
RATIO, FLAT, EXITS = 4.0, 1.25, 20
_PROGRAM = """
import asyncio, sys
from benchmarks.iceberg import backfill
backfill(sys.argv[1], 2000)
"""


class Day(NamedTuple):
    """What a daily run took and left."""

    cpu: float
    files: int
    size: int


def _batch(appid: str, name: str, day: date, figure: int) -> Batch:
    records = [
        {"ref_date": str(day), "user_source": n, "new_user": figure % 997 + n, "cancel_user": n}
        for n in range(RECORDS)
    ]
    return Batch(Window(appid, name, day, day), records, STAMP, endpoint=plugins.endpoint(name))


def _backfilled(windows: int) -> list[Batch]:
    made = []
    for number in range(windows):
        account, day = divmod(number, DAYS_OF_AN_ACCOUNT)
        made.append(
            _batch(f"wx{account:016}", ENDPOINT.name, FIRST + timedelta(days=day), number * 7)
        )
    for batch in made:
        batch.lines()
    return made


async def _write(spec: str, batches: list[Batch], checkpoint: dict[str, str]) -> dict[str, str]:
    sink = plugins.sink(spec)
    changed = dict(checkpoint)
    try:
        changed |= await sink.open(checkpoint)
        for first in range(0, len(batches), GROUP):
            changed |= (await sink.write(batches[first : first + GROUP], {})).checkpoint
    finally:
        await sink.close()
    return {key: value for key, value in changed.items() if value}


def backfill(place: str, windows: int = WINDOWS) -> tuple[Spent, float]:
    """What a backfill into that directory takes, and by how many MB memory grows."""
    batches = _backfilled(windows)
    plugins.sink(f"iceberg:{place}")  # the library is imported
    before = peak_memory()
    spent = timed(lambda: asyncio.run(_write(f"iceberg:{place}", batches, {})))
    return spent, peak_memory() - before


def plain(place: str, windows: int = WINDOWS) -> Spent:
    """What one Parquet file takes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = _backfilled(windows)

    def write() -> None:
        rows = [record for batch in batches for record in batch.documents()]
        pq.write_table(pa.Table.from_pylist(rows), f"{place}/all.parquet", compression="zstd")

    return timed(write)


def daily(place: str, accounts: int, runs: int) -> list[Day]:
    """What daily runs take and leave."""
    return [*_daily(place, accounts, runs)]


def _daily(place: str, accounts: int, runs: int) -> Iterator[Day]:
    from harvester.sinks.iceberg import table

    checkpoint: dict[str, str] = {}
    began = time.time()
    for run in range(runs):
        days = [FIRST + timedelta(days=run + n) for n in range(PROVISIONAL)]
        batches = [
            _batch(f"wx{account:016}", name, day, run * 31 + account)
            for account in range(accounts)
            for name in INTERFACES
            for day in days
        ]
        table.KEPT, began = time.time() - began, time.time()  # since the former run began
        spent = timed(lambda given=batches: _keep(place, given, checkpoint))  # type: ignore[misc]
        found = [path.stat().st_size for path in Path(place).rglob("*") if path.is_file()]
        yield Day(spent.cpu, len(found), sum(found))


def _keep(place: str, batches: list[Batch], checkpoint: dict[str, str]) -> None:
    after = asyncio.run(_write(f"iceberg:{place}", batches, dict(checkpoint)))
    checkpoint.clear()
    checkpoint.update(after)


def exits(number: int) -> int:
    """How many of so many processes that write end with status 0 and say nothing."""
    clean = 0
    for _ in range(number):
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-c", _PROGRAM, place]
            done = subprocess.run(command, capture_output=True, check=False)
            clean += (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    return clean


def measure(*, full: bool = False) -> list[Figure]:
    """The figures."""
    try:
        plugins.sink("iceberg:somewhere")
    except UsageError as exc:
        print(f"iceberg is left out: {exc}")
        return []
    accounts, runs, number = (200, 30, 100) if full else (20, 12, EXITS)
    with tempfile.TemporaryDirectory() as home:
        spent, memory = in_new_process(backfill, f"{home}/lake")
        cheapest = in_new_process(plain, home)
        days = in_new_process(daily, f"{home}/daily", accounts, runs)
    early, late = days[4], days[-1]
    what = f"iceberg: a day of {accounts} accounts × {len(INTERFACES)} × {PROVISIONAL} days"
    return [
        Figure(
            f"iceberg: backfill of {WINDOWS:,} windows × {RECORDS}, CPU ÷ one Parquet file",
            spent.cpu / cheapest.cpu, goal=RATIO, more_is_better=False, tolerance=0.25,
        ),
        Figure("iceberg: backfill, CPU", spent.cpu, "s"),
        Figure("iceberg: backfill, memory beside the records", memory, "MB"),
        Figure(f"{what}, CPU", late.cpu, "s"),
        Figure(f"iceberg: CPU of day {runs} ÷ day 5", late.cpu / early.cpu, goal=FLAT,
               more_is_better=False, tolerance=0.2),
        Figure(f"iceberg: files after day {runs} ÷ day 5", late.files / early.files, goal=FLAT,
               more_is_better=False),
        Figure(f"iceberg: bytes of a stored day after day {runs} ÷ day 5",
               late.size / (PROVISIONAL + runs) / (early.size / (PROVISIONAL + 5)), goal=FLAT,
               more_is_better=False),
        Figure(f"iceberg: files after day {runs}", late.files),
        Figure("iceberg: bytes then", late.size / 1e6, "MB"),
        Figure(f"iceberg: clean exits of {number}", exits(number), goal=number, tolerance=0.0),
    ]  # fmt: skip
