"""Sinks: both contenders leave the same behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import sinks
from benchmarks.sinks import ENDPOINT, KINDS, sink_writer

COLUMNS = [*[field.name for field in ENDPOINT.fields], "_appid", "_begin_date", "_fetched_at"]
SELECT = f"SELECT {', '.join(COLUMNS)} FROM {ENDPOINT.name} ORDER BY msgid"
GROUPS = sinks.groups_of(2)


@pytest.mark.thorough
def test_the_cheapest_way_writes_the_lines_of_the_sink(tmp_path: Path) -> None:
    written = []
    for name, write in (
        ("sink", lambda place: sink_writer(GROUPS, lines=True)(f"jsonl:{place}")),
        ("cheapest", lambda place: KINDS["jsonl"].cheapest(place, GROUPS)),
    ):
        (folder := tmp_path / name).mkdir()
        write(str(folder))
        files = [
            path
            for path in folder.rglob("*")
            if path.name.startswith("lines") or path.suffix == ".jsonl"
        ]
        written.append(sorted(b"".join([path.read_bytes() for path in files]).splitlines()))
    assert written[0] == written[1]
    assert len(written[0]) == sum(group.lines.count(b"\n") for group in GROUPS)


@pytest.mark.thorough
def test_the_cheapest_way_writes_the_rows_of_the_sink_into_a_database(tmp_path: Path) -> None:
    found = []
    for name in ("sink", "cheapest"):
        place = str(tmp_path / f"{name}.db")
        sink_writer(GROUPS)(f"sqlite:{place}")
        if name == "cheapest":  # it empties the table that the sink has made
            KINDS["sqlite"].cheapest(place, GROUPS)
        with closing(sqlite3.connect(place)) as database:
            found.append(database.execute(SELECT).fetchall())
    assert found[0] == found[1]
    assert len(found[0]) == sum(group.lines.count(b"\n") for group in GROUPS)
