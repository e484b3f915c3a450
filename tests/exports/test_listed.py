"""The table ``coverage``: what is there of each interface of each account, in each flat export."""

from __future__ import annotations

import time as clock
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.errors import ExportError
from harvester.exports import equal
from harvester.exports.listed import CoverageShape
from tests.builders import harvested
from tests.exports.support import TARGETS, tables
from tests.support import A, B, Script, at

NOW = at("2026-04-01", 12)
USERS, READ = "getusersummary", "getarticleread"
COLUMNS = ("_appid", "interface", "first_day", "last_day", "days", "state")
FILES = [each for each in TARGETS if each.startswith(("parquet", "csv"))]
WANTED = [
    (A, READ, "2026-01-09", "2026-01-10", "2", "final"),
    (A, USERS, "2026-01-01", "2026-01-10", "10", "final"),
    (A, USERS, "2026-01-11", "2026-01-31", "21", "not_asked"),
    (A, USERS, "2026-02-01", "2026-02-02", "2", "final"),
    (B, USERS, "2026-02-02", "2026-02-03", "2", "final"),
]


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "time", lambda: NOW)


@pytest.fixture
def sink(tmp_path: Path) -> str:
    sink = f"sqlite:{tmp_path}/a.db"
    harvested(sink, A, endpoints=USERS, days=("2026-01-01", "2026-01-10"))
    harvested(sink, A, endpoints=USERS, days=("2026-02-01", "2026-02-02"))
    harvested(sink, A, endpoints=READ, days=("2026-01-09", "2026-01-10"))
    harvested(sink, B, endpoints=USERS, days=("2026-02-02", "2026-02-03"))
    return sink


def days_of(month: str, first: int, last: int) -> tuple[date, date]:
    return date.fromisoformat(f"{month}-{first:02}"), date.fromisoformat(f"{month}-{last:02}")


def covered(spec: str) -> list[tuple[str, ...]]:
    return [
        tuple(str(row[name])[:19].removesuffix(" 00:00:00") for name in COLUMNS)
        for row in tables(spec).get("coverage", [])
    ]


def flat(target: str, folder: Path) -> str:
    return f"{target.format(folder)}?shape=flat"


@pytest.mark.thorough
@pytest.mark.parametrize("target", TARGETS)
def test_each_run_of_days_of_one_state_is_a_row(target: str, sink: str, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    spec = flat(target, tmp_path / "to")
    harvester.export(sink, spec)
    assert covered(spec) == WANTED
    files = [path for path in (tmp_path / "to").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert not harvester.export(sink, spec).written
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.thorough
@pytest.mark.parametrize("target", TARGETS)
def test_it_follows_the_ledger_and_a_check_does_not_judge_it(
    target: str, sink: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = flat(target, tmp_path)
    harvester.export(sink, spec)
    monkeypatch.setattr(clock, "time", lambda: NOW + 60 * 86_400)
    fails = Script(lambda _: {"errcode": 61501, "errmsg": "date range error"})
    harvested(sink, B, endpoints=READ, days=("2026-01-09", "2026-01-09"), transport=fails)
    command = "export", spec, "--out", sink, "--check"
    assert invoke([*command]) == 0
    assert covered(spec) == WANTED
    harvester.export(sink, spec)
    assert (B, READ, "2026-01-09", "2026-01-09", "1", "failed") in covered(spec)


@pytest.mark.thorough
@pytest.mark.parametrize("target", FILES)
def test_an_export_of_one_interface_keeps_the_rows_of_those_that_are_there(
    target: str, sink: str, tmp_path: Path
) -> None:
    spec = flat(target, tmp_path)
    harvester.export(sink, spec, READ)
    assert covered(spec) == WANTED[:1]
    harvester.export(sink, spec)
    harvester.export(sink, spec, READ)
    assert covered(spec) == WANTED


@pytest.mark.thorough
@pytest.mark.parametrize("target", TARGETS)
def test_of_a_sink_without_a_ledger_there_is_none(target: str, sink: str, tmp_path: Path) -> None:
    spec = flat(target, tmp_path)
    harvester.export(sink, spec)
    for left in tmp_path.glob("a.db.ledger*"):
        left.unlink()
    harvester.export(sink, spec)
    assert covered(spec) == []


@pytest.mark.thorough
@pytest.mark.parametrize("target", FILES)
def test_days_whose_records_go_are_no_longer_stored_before_the_records_go(
    target: str, sink: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = flat(target, tmp_path)
    harvester.export(sink, spec)
    forget = "forget", "--appid", A, "--endpoint", USERS, "--out", sink, "--yes"
    assert invoke([*forget]) == 0
    seen = []
    withdraw = equal._withdraw

    def dies(*given: Any) -> None:
        withdraw(*given)
        seen.append(covered(spec))
        raise ExportError("killed")

    monkeypatch.setattr(equal, "_withdraw", dies)
    with pytest.raises(ExportError, match="killed"):
        harvester.export(sink, spec, replace=True)
    left = [row for row in WANTED if row[:2] != (A, USERS) or row[-1] == "not_asked"]
    assert seen == [left]
    monkeypatch.setattr(equal, "_withdraw", withdraw)
    harvester.export(sink, spec, replace=True)
    assert covered(spec) == [row for row in WANTED if row[:2] != (A, USERS)]


def test_stored_days_that_are_stored_no_more_are_cut_out() -> None:
    def row(first: int, last: int, state: str) -> tuple[Any, ...]:
        begin, end = days_of("2026-01", first, last)
        return (A, "", USERS, begin, end, last - first + 1, state)

    now = CoverageShape([row(1, 3, "empty"), row(4, 6, "missing"), row(7, 9, "provisional")], "en")
    assert now.without_lost([row(1, 8, "final"), row(9, 9, "late")]) == [
        row(1, 3, "final"), row(7, 8, "final"), row(9, 9, "late"),
    ]  # fmt: skip
    same = [row(1, 2, "final"), row(3, 3, "provisional")]
    assert now.without_lost(same) == same


def test_beyond_the_rows_of_a_sheet_accounts_are_together() -> None:
    rows = [
        (appid, "", USERS, *days_of("2026-01", first, last), last - first + 1, state)
        for appid, first, last, state in (
            (A, 1, 3, "final"), (A, 4, 4, "missing"), (B, 2, 9, "final"),
        )
    ]  # fmt: skip
    shape = CoverageShape(rows, "en", 2)
    assert shape.rows == [
        ("", "", USERS, *days_of("2026-01", 1, 9), 11, "final"),
        ("", "", USERS, *days_of("2026-01", 4, 4), 1, "missing"),
    ]
    assert CoverageShape(rows, "en", 3).rows == rows
    assert shape.batch().column("_appid").null_count == 2


@pytest.mark.thorough
@pytest.mark.parametrize("target", TARGETS[:3])
def test_what_was_forgotten_is_counted_once_for_each_month_of_an_interface(
    target: str, sink: str, tmp_path: Path
) -> None:
    spec = flat(target, tmp_path)
    harvester.export(sink, spec)
    for appid in (A, B):
        assert invoke(["forget", "--appid", appid, "--out", sink, "--yes"]) == 0
    done = harvester.export(sink, spec, replace=True)
    assert (done.removed, done.written) == (3, 0)  # two months, and one of getarticleread
    assert harvester.export(sink, spec, replace=True).removed == 0
