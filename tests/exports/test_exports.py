"""An export makes a target equal to the sink, whatever was there before."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import ExportError, UsageError
from harvester.exports.base import Exported
from harvester.sinks.memory import MemorySink
from tests.exports.support import (
    ARTICLES,
    FIRST,
    STAMP,
    TARGETS,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)

LIST = f"{ARTICLES}_detail_list"
SOURCES = f"{LIST}_read_user_source"
JOINED = {"articles", "article_totals", "followers_by_source"}
FLAT = {USERS, ARTICLES, LIST, SOURCES, f"{LIST}_read_jump_position", *JOINED}

each_target = pytest.mark.parametrize("target", TARGETS)


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return str(row["_begin_date"])[:10], row["_appid"], int(row["_row"])


def _figures(spec: str) -> list[tuple[Any, ...]]:
    return [(*_key(row), int(row["new_user"])) for row in tables(spec).get(USERS, [])]


@each_target
def test_every_record_is_in_the_target_once_and_in_order(tmp_path: Path, target: str) -> None:
    spec = target.format(tmp_path)
    assert do(few(), spec) == Exported(written=4, rows=24)
    found = _figures(spec)
    days = [FIRST + timedelta(days=n) for n in range(4)]
    wanted = [
        (str(day), f"wx{account:016x}", row, 1 + row * 30)
        for day in days
        for account in (0, 1)
        for row in (0, 1)
    ]
    assert sorted(found) == sorted(wanted)
    if target[:3] in ("par", "csv", "xls"):  # these have an order
        month = 0 if target.startswith("xls") else 7  # a workbook: by account, then day
        assert found == sorted(found, key=lambda row: (row[0][:month], row[1], row[0], row[2]))


@each_target
def test_a_second_export_writes_nothing(tmp_path: Path, target: str) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec)
    before = {path: path.stat().st_mtime_ns for path in _files(tmp_path)}
    assert equal(sink, spec)
    assert do(sink, spec) == Exported(kept=4)
    assert {path: path.stat().st_mtime_ns for path in _files(tmp_path)} == before


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "catalog" not in path.name and not path.name.endswith(".lock")
    ]


CHANGES = {
    "other figures, as many rows": lambda sink: harvest(users(FIRST, 0, 99), sink=sink),
    "a window less": lambda sink: sink._remove(next(iter(sink._batches))),
    "a window more": lambda sink: harvest(users(date(2026, 2, 3)), sink=sink),
    "the last day of a month": lambda sink: harvest(users(date(2026, 1, 31), 1, 5), sink=sink),
    "another title": lambda sink: harvest(articles(FIRST, 0, "晚安"), sink=sink),
    "a new month": lambda sink: harvest(users(date(2026, 5, 1)), sink=sink),
}


@pytest.mark.sampled
@each_target
@pytest.mark.thorough
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_exported(tmp_path: Path, target: str, change: str) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec)
    CHANGES[change](sink)
    assert not equal(sink, spec)
    done = do(sink, spec)
    whole = target.startswith("xlsx")
    assert done.written == (5 if change == "a new month" else 4) if whole else done.written == 1
    assert equal(sink, spec)
    anew = target.format(tmp_path / "anew")
    (tmp_path / "anew").mkdir()
    do(sink, anew)
    assert tables(spec) == tables(anew)


@pytest.mark.thorough
@each_target
def test_months_that_the_sink_no_longer_has_are_removed(tmp_path: Path, target: str) -> None:
    spec = target.format(tmp_path)
    do(few(), spec)
    less = harvest(users(date(2026, 2, 1)))
    done = do(less, spec, replace=True)
    assert done.kept + done.written == 1
    assert [row[0] for row in _figures(spec)] == ["2026-02-01"] * 2
    assert not any(tables(spec).get(ARTICLES, []))


@pytest.mark.thorough
def test_flat_tables_have_the_key_of_their_record(tmp_path: Path) -> None:
    do(few(), f"duckdb:{tmp_path}/d.duckdb")
    found = tables(f"duckdb:{tmp_path}/d.duckdb")
    assert {*found} == FLAT
    [row, *_] = [row for row in found[SOURCES] if row["user_count"] == 11]
    assert row == {
        "_appid": "wx0000000000000000",
        "_begin_date": FIRST,
        "_row": 0,
        "ref_date": FIRST,
        "msgid": "7_1",
        "stat_date": FIRST + timedelta(days=1),  # the day of the item that it is within
        "_item": 1,
        "_item_2": 0,
        "user_count": 11,
        "scene_desc": "全部",
        "scene_desc_label": "all",
        "_fetched_at": datetime.fromisoformat(STAMP),
    }


@each_target
def test_only_the_named_interfaces_are_exported(tmp_path: Path, target: str) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec, USERS)
    joined = {"followers_by_source"} if target.startswith(("csv", "duck")) else set()
    assert {*tables(spec)} == {USERS, *joined}
    if not target.startswith("xlsx"):  # a workbook has what was named last
        do(sink, spec, ARTICLES)
        assert {USERS, ARTICLES} <= {*tables(spec)}


class Owned(MemorySink):
    """Of another harvest each."""


@pytest.mark.thorough
@each_target
def test_a_target_of_another_harvest_is_refused_unless_it_is_replaced(
    tmp_path: Path, target: str
) -> None:
    spec, sink = target.format(tmp_path), few()
    from harvester.exports.equal import export
    from harvester.exports.source import Source
    from harvester.exports.targets import open_target
    from harvester.wechat.interfaces import INTERFACES

    def once(owner: str, **options: Any) -> Exported:
        source = Source(sink, lambda: {"owner": owner})
        return export(source, open_target(spec), (), INTERFACES.get, **options)

    once("a")
    with pytest.raises(UsageError, match="was made from another harvest"):
        once("b")
    assert once("b", replace=True).written == 4
    assert once("b").kept == 4
    with pytest.raises(UsageError, match="another harvest"):
        once("a")


@each_target
@pytest.mark.thorough
@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_another_shape_is_written_anew(tmp_path: Path, target: str, shape: str) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec)
    shaped = f"{spec}?shape={shape}"
    do(sink, shaped)
    assert equal(sink, shaped)
    named = {name for name, rows in tables(spec).items() if rows}
    of_flat = "article_totals" if spec.startswith("xlsx") else SOURCES
    assert (of_flat in named) is (shape == "flat")


@each_target
def test_what_is_not_ours_is_not_overwritten(tmp_path: Path, target: str) -> None:
    spec = target.format(tmp_path)
    kind, _, place = spec.partition(":")
    path = Path(place)
    if kind in ("duckdb", "xlsx"):
        path.write_text("mine")
        with pytest.raises(UsageError, match="choose another file"):
            do(few(), spec)
        assert path.read_text() == "mine"
    else:
        (path / "getuserread").mkdir(parents=True)
        (path / "getuserread" / "2026-01.txt").write_text("mine")
        (path / "mine.csv").write_text("mine")
        do(few(), spec)
        assert (path / "mine.csv").read_text() == "mine"


@each_target
def test_two_exports_to_one_target_the_second_is_refused(tmp_path: Path, target: str) -> None:
    from harvester.exports.targets import open_target

    spec = target.format(tmp_path)
    first = open_target(spec)
    first.open(create=True)
    with pytest.raises(UsageError, match="in use by another"):
        do(few(), spec)
    first.close()
    assert do(few(), spec).written == 4


@each_target
@pytest.mark.thorough
def test_a_disk_that_fails_leaves_what_was_there(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harvester.base import files as durable

    spec, sink = target.format(tmp_path), few()
    do(sink, spec)
    right = tables(spec)
    harvest(users(FIRST, 0, 77), sink=sink)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "rename", full)
        patched.setattr(durable, "sync", full)
        with pytest.raises(ExportError, match="No space left"):
            do(sink, spec)
    assert tables(spec) == right
    do(sink, spec)
    assert equal(sink, spec)
    assert (str(FIRST), "wx" + "0" * 16, 0, 77) in _figures(spec)


@pytest.mark.parametrize("target", [each for each in TARGETS if not each.startswith("xlsx")])
def test_a_joined_table_of_a_named_interface_loses_what_the_sink_lost(
    tmp_path: Path, target: str
) -> None:
    spec = f"{target.format(tmp_path)}?shape=flat"
    do(few(), spec, USERS)
    assert tables(spec)["followers_by_source"]
    left = harvest(articles(FIRST))
    assert not equal(left, spec, USERS)
    do(left, spec, USERS, replace=True)
    assert not tables(spec).get("followers_by_source")
    assert equal(left, spec, USERS)
