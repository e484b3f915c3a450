"""Each flat table can be loaded by increments: by the documented key, and by ``_fetched_at``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

import harvester
from harvester.config import plugins
from harvester.tables import TABLES
from harvester.testing import Simulator
from harvester.wechat.interfaces import INTERFACES
from tests.exports.support import tables
from tests.support import ROOT, A, noon, run, scope

FIRST, LAST, RUNS = date(2026, 4, 1), date(2026, 5, 3), 2
Row = dict[str, Any]


def documented() -> Iterator[tuple[str, list[str]]]:
    """Each table of docs/tables.md that is made of records, and its key."""
    name = ""
    for line in (ROOT / "docs" / "tables.md").read_text().splitlines():
        if line.startswith("##"):
            name = line.strip("# ")
        elif "主键 / key: " in line and name not in ("accounts", "coverage"):
            key = line.partition("主键 / key: ")[2].partition(".")[0]
            yield name, re.findall(r"`([^`]*)`", key)


KEYS = dict(documented())


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Row]]]:
    """The tables of all interfaces after a long run, and after one on each day that follows."""
    place = tmp_path_factory.mktemp("increments")
    simulator, sink = Simulator(seed=5), plugins.sink(f"jsonl:{place / 'lines'}")
    spec, found = f"duckdb:{place / 'x.duckdb'}", []
    for last in [LAST + timedelta(days=n) for n in range(RUNS)]:
        asked = scope(FIRST, last, (A,), tuple(INTERFACES.values()))
        now = noon(str(last + timedelta(days=1)))
        assert run(simulator, asked, sink, place / "ledger.sqlite", now=now).state == "complete"
        harvester.export(sink, spec)
        found.append(tables(spec))
    return found


def keyed(rows: list[Row], key: list[str]) -> dict[tuple[Any, ...], Row]:
    return {tuple([row[name] for name in key]): row for row in rows}


@pytest.mark.thorough
def test_a_documented_key_is_unique_and_never_null_and_rows_have_a_time(
    states: list[dict[str, list[Row]]],
) -> None:
    assert {*KEYS} == {*states[-1]} >= {*INTERFACES, *TABLES}
    for table, key in KEYS.items():
        rows = states[-1][table]
        assert len(keyed(rows, key)) == len(rows), table
        assert rows or table == "getgameanalysisdata_group_dimension_list"
        lacking = {name for row in rows for name in [*key, "_fetched_at"] if row[name] is None}
        assert not lacking, table


@pytest.mark.thorough
def test_rows_that_are_merged_by_key_and_time_are_the_table(
    states: list[dict[str, list[Row]]],
) -> None:
    copies = {table: keyed(states[0][table], key) for table, key in KEYS.items()}
    for former, state in pairwise(states):
        newest = max(row["_fetched_at"] for rows in former.values() for row in rows)
        for table, key in KEYS.items():
            copies[table] |= keyed(
                [row for row in state[table] if row["_fetched_at"] > newest], key
            )
            assert copies[table] == keyed(state[table], key), table
