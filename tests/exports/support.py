"""A sink with known records, and each kind of target as its readers read it."""

from __future__ import annotations

import asyncio
import csv
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow.parquet as pq

from harvester.base.fencing import EPOCH
from harvester.exports.base import Exported
from harvester.exports.charts import SHEET
from harvester.exports.equal import export, is_equal
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.exports.xlsx import COLUMNS
from harvester.model import Batch, Window
from harvester.sinks.memory import MemorySink
from harvester.wechat.interfaces import INTERFACES

ARTICLES, USERS = "getarticletotaldetail", "getusersummary"
FIRST = date(2026, 1, 30)
TARGETS = ("parquet:{}/pq", "csv:{}/csv", "duckdb:{}/d.duckdb", "xlsx:{}/x.xlsx")
STAMP = "2026-03-01T04:00:00Z"


def users(day: date, account: int = 0, figure: int = 1) -> Batch:
    """The two records of a day of getusersummary."""
    window = Window(f"wx{account:016x}", USERS, day, day)
    records = [
        {"ref_date": str(day), "user_source": source, "new_user": figure + source, "cancel_user": 2}
        for source in (0, 30)
    ]
    return Batch(window, records, STAMP, endpoint=INTERFACES[USERS], replaces=True)


def articles(day: date, account: int = 0, title: str = "早安") -> Batch:
    """The record of a day of getarticletotaldetail, with lists within a list."""
    window = Window(f"wx{account:016x}", ARTICLES, day, day)
    days = [
        {
            "stat_date": str(day + timedelta(days=n)),
            "read_user": 10 + n,
            "read_user_source": [
                {"scene_desc": "全部", "user_count": 10 + n},
                {"scene_desc": "朋友圈", "user_count": n},
            ],
        }
        for n in range(2)
    ]
    record = {"ref_date": str(day), "msgid": "7_1", "title": title, "detail_list": days}
    return Batch(window, [record], STAMP, endpoint=INTERFACES[ARTICLES], replaces=True)


def harvest(*batches: Batch, sink: MemorySink | None = None) -> MemorySink:
    """A sink with these windows."""
    sink = MemorySink() if sink is None else sink
    asyncio.run(sink.write(batches, {batch.window.appid: EPOCH for batch in batches}))
    return sink


def few() -> MemorySink:
    """Two accounts, four days over the end of a month, two interfaces."""
    days = [FIRST + timedelta(days=n) for n in range(4)]
    return harvest(
        *[made(day, account) for account in (1, 0) for day in days for made in (users, articles)]
    )


def do(sink: Any, spec: str, *names: str, **options: Any) -> Exported:
    """Export once."""
    source = Source(sink, lambda: options.pop("checkpoint", None))
    return export(source, open_target(spec), names, INTERFACES.get, **options)


def equal(sink: Any, spec: str, *names: str) -> bool:
    """Whether the target is equal, by its stamps."""
    return is_equal(Source(sink, lambda: None), open_target(spec), names, INTERFACES.get)


def tables(spec: str) -> dict[str, list[dict[str, Any]]]:
    """What a reader finds: the rows of each table, in the order of the file."""
    kind, _, place = spec.partition("?")[0].partition(":")
    path = Path(place)
    found: dict[str, list[dict[str, Any]]] = {}
    if kind == "parquet":
        for file in sorted(path.glob("*/*.parquet")):
            found.setdefault(file.parent.name, []).extend(pq.read_table(file).to_pylist())
    elif kind == "csv":
        for file in sorted({*path.glob("*.csv")} - {*path.glob("*.columns.csv")}):
            with file.open(encoding="utf-8-sig", newline="") as lines:
                found[file.stem] = list(csv.DictReader(lines))
    elif kind == "duckdb":
        with duckdb.connect(place, read_only=True) as database:
            for (name,) in database.sql("SELECT table_name FROM duckdb_tables()").fetchall():
                if not name.startswith("_"):
                    rows = database.execute(f'SELECT * FROM "{name}" ORDER BY ALL')
                    names = [column[0] for column in rows.description]
                    found[name] = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
    elif kind == "xlsx":
        book = openpyxl.load_workbook(place)
        others = {*SHEET.values(), *COLUMNS.values()}
        for sheet in [each for each in book.worksheets[1:] if each.title not in others]:
            head, *rows = sheet.iter_rows(values_only=True)
            name = next(
                row[1] for row in book.worksheets[0].iter_rows(values_only=True)
                if row[0] == sheet.title
            )  # fmt: skip
            found[name] = [dict(zip(head, row, strict=True)) for row in rows]
    return found
