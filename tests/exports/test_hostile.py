"""What an export must not fail at, lose or overwrite: a table of cases for each kind of target."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harvester.base.codec import parse
from harvester.errors import ExportError, HarvestError, UsageError
from harvester.exports.base import Exported
from harvester.exports.equal import export, is_equal
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.model import Batch, Field, Window
from harvester.sinks.memory import MemorySink
from harvester.wechat.interfaces import INTERFACES
from tests.exports.support import (
    ARTICLES,
    FIRST,
    STAMP,
    TARGETS,
    USERS,
    articles,
    do,
    few,
    harvest,
    tables,
    users,
)
from tests.support import days

pytestmark = pytest.mark.thorough
each_target = pytest.mark.parametrize("target", TARGETS)
each_shape = pytest.mark.parametrize("shape", ["nested", "flat"])
NAME = "getpractice"
NESTED = Field("inner", "object", fields=(Field("a", "int"), Field("b", "str")))
FIELDS = (
    Field("day", "date"), Field("figure", "int"), Field("share", "float"), Field("text", "str"),
    Field("yes", "bool"), NESTED, Field("items", "list", fields=(Field("n", "int"),)),
    Field("words", "list", item="str"),
)  # fmt: skip


def window(*records: Any, name: str = NAME, begin: date = FIRST, end: date | None = None) -> Batch:
    """A window with these records."""
    return Batch(
        Window("wx" + "0" * 16, name, begin, end or begin), [*records], STAMP, replaces=True
    )


def once(sink: MemorySink, spec: str, catalogue: dict[str, Any], *names: str) -> Exported:
    """Export with a catalogue of its own."""
    source = Source(sink, lambda: None)
    find: Callable[[str], Any] = catalogue.get
    done = export(source, open_target(spec), names, find)
    assert is_equal(source, open_target(spec), names, find)
    return done


def interface(*fields: Field, key: tuple[str, ...] = ()) -> Any:
    """As much of an interface as exports use."""
    return SimpleNamespace(fields=fields, key=key)


PRACTICE = {NAME: interface(*FIELDS, key=("day",))}

RECORDS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "nulls": {field.name: None for field in FIELDS},
    "empty lists": {"items": [], "words": []},
    "null in lists": {"items": [None, {"n": None}], "words": [None, ""]},
    "wrong types": {"figure": "many", "share": True, "text": 7, "yes": 1, "inner": [], "items": {}},
    "wrong types within": {"inner": {"a": "x", "c": 1}, "items": [{"n": "x"}, 5]},
    "unknown fields": {"new": {"deep": [1, {"x": None}]}, "_appid": "mine", "": 1},
    "beyond 2**53": {"figure": 2**53 + 1, "share": float(2**53)},
    "beyond 2**63": {"figure": 2**63, "share": 2**63},
    "least": {"figure": -(2**63)},
    "floats": {"share": 1e308},
    "emoji": {"text": "👩‍👩‍👧‍👦 早安\u202e", "words": ["𝄞"]},
    "control characters": {"text": "a\x00\x07\x1b\x0b\uffff\x85b", "words": ["\x01"]},
    "line ends": {"text": 'a\r\nb\n"c",\td', "words": ["\r"]},
    "formulas": {"text": "=1+1", "words": ["@x", "-1"]},
    "Excel's escapes": {"text": "_x0041_ <&>"},
    "days before Excel": {"day": "1899-12-31"},
    "first of days": {"day": "0001-01-01"},
    "wrong day": {"day": "2026-02-30"},
}


@each_target
@each_shape
def test_any_record_is_exported(tmp_path: Path, target: str, shape: str) -> None:
    spec = f"{target.format(tmp_path)}?shape={shape}"
    cases = dict(zip(days(FIRST, FIRST + timedelta(days=60)), RECORDS, strict=False))
    records = {
        day: {"day": "2026-01-30", "figure": 5, **RECORDS[case]} for day, case in cases.items()
    }
    assert len(cases) == len(RECORDS)
    sink = harvest(
        *[window({"figure": 1}, each, {"figure": 3}, begin=day) for day, each in records.items()]
    )
    assert once(sink, spec, PRACTICE).rows == 3 * len(cases)
    rows = {(str(row["_begin_date"])[:10], int(row["_row"])): row for row in tables(spec)[NAME]}
    assert len(rows) == 3 * len(cases)
    for day, case in cases.items():
        found, record = rows[str(day), 1], records[day]
        extra = parse((found["_extra"] or "{}").encode())
        if "figure" in extra:
            assert extra["figure"] == record["figure"], case
        elif record["figure"] is not None:
            assert int(found["figure"]) == record["figure"], case
        else:
            assert found["figure"] in (None, ""), case
        if case == "unknown fields":
            assert extra["new"] == record["new"]
        if isinstance(record.get("text"), str) and target[:3] in ("par", "duc"):
            assert found["text"] == record["text"], case


def test_numbers_beyond_what_excel_holds_are_text(tmp_path: Path) -> None:
    once(harvest(window({"figure": 2**53 + 1})), f"xlsx:{tmp_path}/x.xlsx", PRACTICE)
    assert tables(f"xlsx:{tmp_path}/x.xlsx")[NAME][0]["figure"] == str(2**53 + 1)


@each_target
@each_shape
def test_an_interface_that_the_catalogue_does_not_know_is_exported(
    tmp_path: Path, target: str, shape: str
) -> None:
    spec = f"{target.format(tmp_path)}?shape={shape}"
    once(harvest(window({"a": 1}, {"b": [2]})), spec, {})
    assert [parse(row["_extra"].encode()) for row in tables(spec)[NAME]] == [{"a": 1}, {"b": [2]}]


@each_target
def test_a_window_over_the_end_of_a_month_is_in_the_month_of_its_first_day(
    tmp_path: Path, target: str
) -> None:
    spec = target.format(tmp_path)
    sink = harvest(
        window({"figure": 1}, begin=date(2026, 1, 30), end=date(2026, 3, 2)),
        window({"figure": 2}, begin=date(2026, 3, 3), end=date(2026, 3, 3)),
    )
    assert once(sink, spec, PRACTICE).written == 2
    harvest(window({"figure": 3}, begin=date(2026, 2, 1), end=date(2026, 2, 1)), sink=sink)
    once(sink, spec, PRACTICE)
    assert sorted(int(row["figure"]) for row in tables(spec)[NAME]) == [2, 3]


COLLIDING = {
    "an object's field and a field": (
        Field("a", "object", fields=(Field("b", "int"),)), Field("a_b", "int"),
    ),
    "two lists of one table": (
        Field("a", "object", fields=(Field("b", "list", fields=(Field("n", "int"),)),)),
        Field("a_b", "list", fields=(Field("n", "int"),)),
    ),
    "a list within a list": (
        Field("a", "list", fields=(Field("b_c", "list", item="int"),)),
        Field("a_b", "list", fields=(Field("c", "list", item="int"),)),
    ),
    "names of our own": (
        Field("x", "list", fields=(
            Field("_item", "int"), Field("_row", "int"), Field("day", "int"),
        )), Field("_row", "int"), Field("day", "date"),
    ),
    "letters' case": (Field("a", "list", item="int"), Field("A", "list", item="int")),
    "quotation marks": (Field('a"b', "int"), Field("c'd", "list", item="int"), Field("e f", "int")),
}  # fmt: skip


@each_target
@each_shape
@pytest.mark.parametrize("case", COLLIDING)
def test_fields_that_collide_lose_nothing(
    tmp_path: Path, target: str, shape: str, case: str
) -> None:
    spec = f"{target.format(tmp_path)}?shape={shape}"
    record: dict[str, Any] = {}
    for number, field in enumerate(COLLIDING[case]):
        value: Any = 100 + number
        if field.type == "date":
            value = "2026-01-30"
        elif field.type in ("list", "object"):
            value = value if field.type == "list" and not field.fields else {}
            for inner in field.fields:
                value[inner.name] = 100 + number
                if inner.type == "list":
                    value[inner.name] = [{"n": 100 + number} if inner.fields else 100 + number]
            value = [value] if field.type == "list" else value
        record[field.name] = value
    sink = harvest(window(record))
    once(sink, spec, {NAME: interface(*COLLIDING[case], key=("day",))})
    text = str(tables(spec))
    for number, field in enumerate(COLLIDING[case]):
        assert str(100 + number) in text or field.type == "date", text


@each_target
def test_two_interfaces_that_need_one_table_are_refused(tmp_path: Path, target: str) -> None:
    spec = f"{target.format(tmp_path)}?shape=flat"
    catalogue = {
        "get": interface(Field("users", "list", item="int")),
        "get_users": interface(Field("n", "int")),
    }
    sink = harvest(window({"users": [1]}, name="get"), window({"n": 2}, name="get_users"))
    with pytest.raises(UsageError, match="both need a table get_users; export each of them"):
        once(sink, spec, catalogue)
    assert once(sink, spec, catalogue, "get").written == 1


@pytest.mark.parametrize("target", [each for each in TARGETS if not each.startswith("xlsx")])
def test_the_tables_of_an_interface_that_is_not_named_stay(tmp_path: Path, target: str) -> None:
    """A workbook has what was named last."""
    spec = target.format(tmp_path)
    sink = harvest(window({"n": 1}, name="get"), window({"n": 2}, name="get_users"))
    catalogue = {name: interface(Field("n", "int")) for name in ("get", "get_users")}
    once(sink, spec, catalogue)
    harvest(window({"n": 3}, name="get"), sink=sink)
    assert once(sink, spec, catalogue, "get") == Exported(written=1, rows=1)
    assert [int(row["n"]) for row in tables(spec)["get_users"]] == [2]


@each_target
@each_shape
def test_an_interface_that_cannot_be_exported_is_named_and_the_others_are_exported(
    tmp_path: Path, target: str, shape: str
) -> None:
    spec = f"{target.format(tmp_path)}?shape={shape}"
    catalogue = {
        "getgood": interface(Field("n", "int")),
        "getbad": interface(Field("deep", "list", item="list")),  # as none is made any more
        "getworse": interface(Field("n", "strange")),
    }
    batches = [window({"n": number, "deep": [[1]]}, name=name) for number, name in
               enumerate(("getbad", "getgood", "getlater", "getworse"))]  # fmt: skip
    sink = harvest(*batches)
    source = Source(sink, lambda: None)
    for _ in range(2):
        with pytest.raises(ExportError, match=r"could not export .*getworse.* all others are"):
            export(source, open_target(spec), (), catalogue.get)
        assert {"getgood", "getlater"} <= {*tables(spec)}
    for name in ("getbad", "getworse"):
        catalogue[name] = interface(Field("n", "int"))
    once(sink, spec, catalogue)
    assert int(tables(spec)["getworse"][0]["n"]) == 3


SCHEMAS: dict[str, tuple[Field, ...]] = {
    "a field more": (*FIELDS, Field("more", "int")),
    "a field less": FIELDS[:4],
    "another type": (FIELDS[0], Field("figure", "str"), *FIELDS[2:]),
    "an int that is a float": (FIELDS[0], Field("figure", "float"), *FIELDS[2:]),
    "another order": FIELDS[::-1],
    "an object that is a list": (*FIELDS[:5], Field("inner", "list", fields=NESTED.fields)),
    "none": (),
}


@pytest.mark.sampled
@each_target
@each_shape
@pytest.mark.parametrize("case", SCHEMAS)
def test_another_schema_makes_the_target_as_one_made_anew(
    tmp_path: Path, target: str, shape: str, case: str
) -> None:
    record = {"day": "2026-01-30", "figure": 5, "more": 6, "items": [{"n": 1}], "words": ["a"],
              "inner": {"a": 1, "b": "x"}}  # fmt: skip
    sink = harvest(window(record), window(record, begin=date(2026, 2, 1)))
    spec = f"{target.format(tmp_path)}?shape={shape}"
    once(sink, spec, PRACTICE)
    other = {NAME: interface(*SCHEMAS[case], key=("day",))}
    assert once(sink, spec, other).written == 2
    (tmp_path / "anew").mkdir()
    once(sink, anew := f"{target.format(tmp_path / 'anew')}?shape={shape}", other)
    assert _filled(spec) == _filled(anew)
    assert once(sink, spec, other) == Exported(kept=2)


def _filled(spec: str) -> dict[str, list[dict[str, Any]]]:
    """The rows without columns that are null."""
    return {
        name: [{key: value for key, value in row.items() if value not in (None, "", [])}
               for row in rows]
        for name, rows in tables(spec).items() if rows
    }  # fmt: skip


@each_target
def test_a_target_of_an_older_form_is_written_anew(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, sink = target.format(tmp_path), few()
    monkeypatch.setattr("harvester.exports.equal.FORM", 0)
    do(sink, spec)
    monkeypatch.undo()
    assert do(sink, spec).written == 4
    assert do(sink, spec).kept == 4


@each_target
def test_a_sink_that_became_empty_empties_the_target(tmp_path: Path, target: str) -> None:
    spec = target.format(tmp_path)
    do(few(), spec)
    do(MemorySink(), spec)
    assert not any(tables(spec).values())
    assert do(MemorySink(), spec) == Exported()


@each_target
def test_nothing_is_made_of_an_empty_sink(tmp_path: Path, target: str) -> None:
    spec = target.format(tmp_path)
    assert do(MemorySink(), spec) == Exported()
    assert do(few(), spec).written == 4


PLACES = ["with space", "quo'te", 'quo"te', "早安", "a;b", "percent%20", "hash#", "ta\tb"]


@pytest.mark.sampled
@each_target
@pytest.mark.parametrize("name", PLACES)
def test_any_path_can_be_a_target_or_is_refused(tmp_path: Path, target: str, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    spec, sink = target.format(folder), few()
    do(sink, spec)
    assert do(sink, spec).kept == 4
    assert len(tables(spec)[USERS]) == 16
    assert [path.name for path in tmp_path.iterdir()] == [name]


@each_target
def test_a_relative_path_is_a_target(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    do(few(), target.format("."))
    assert do(few(), target.format(tmp_path)).kept == 4


@each_target
def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path, target: str) -> None:
    kind, _, place = target.format(tmp_path / "real").partition(":")
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / Path(place).name
    if kind not in ("duckdb", "xlsx"):
        Path(place).mkdir()
    link.symlink_to(place)
    do(sink := few(), f"{kind}:{link}")
    harvest(users(FIRST, 0, 9), sink=sink)
    do(sink, f"{kind}:{link}")
    assert link.is_symlink()
    assert tables(f"{kind}:{place}") == tables(f"{kind}:{link}")
    assert do(sink, f"{kind}:{place}").kept == 4


@each_target
def test_a_target_below_a_file_or_in_place_of_one_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HarvestError, match=r"there is no directory|could not be|File exists"):
        do(few(), target.format(tmp_path / "file"))
    kind, _, place = target.format(tmp_path).partition(":")
    if kind not in ("duckdb", "xlsx"):
        Path(place).write_text("mine")
        with pytest.raises(HarvestError, match="File exists"):
            do(few(), f"{kind}:{place}")
        assert Path(place).read_text() == "mine"


@each_target
def test_a_directory_that_is_removed_meanwhile_is_reported_and_then_made_anew(
    tmp_path: Path, target: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    spec, sink, calls = target.format(home), few(), 0

    def removed() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            shutil.rmtree(home)

    with pytest.raises(ExportError, match="could not be"):
        do(sink, spec, stopped=removed)
    home.mkdir(exist_ok=True)
    do(sink, spec)
    assert len(tables(spec)[USERS]) == 16


def test_a_comparison_leaves_the_draft_of_a_running_export_alone(tmp_path: Path) -> None:
    for kind in ("duckdb", "xlsx"):
        spec, sink = f"{kind}:{tmp_path}/x.{kind}", few()
        do(sink, spec)
        harvest(users(FIRST, 0, 9), sink=sink)

        def disturbed(spec: str = spec, sink: MemorySink = sink) -> None:
            assert not is_equal(Source(sink, lambda: None), open_target(spec), (), INTERFACES.get)
            with pytest.raises(UsageError, match="in use by another"):
                do(sink, spec)

        do(sink, spec, stopped=disturbed)
        assert 9 in [row["new_user"] for row in tables(spec)[USERS]]


@pytest.mark.parametrize("target", ["parquet:{}/pq", "csv:{}/csv"])
def test_a_file_of_somebody_else_in_the_place_of_ours_is_refused(
    tmp_path: Path, target: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = target.format(tmp_path)
    path = tmp_path / "csv" / f"{USERS}.csv"
    if target.startswith("parquet"):
        path = tmp_path / "pq" / USERS / "2026-01.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"mine": [1]}), path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is not an export of harvester"):
        do(few(), spec)
    assert path.read_bytes() == before


def test_a_title_of_control_characters_is_a_title_in_each_target(tmp_path: Path) -> None:
    sink = harvest(articles(FIRST, 0, "\x00\x1f"), articles(FIRST, 1, "👍" * 20_000))
    for target in ("parquet:{}/pq", "csv:{}/csv", "duckdb:{}/d.duckdb"):
        spec = target.format(tmp_path)
        do(sink, spec)
        assert {row["title"] for row in tables(spec)[ARTICLES]} == {"\x00\x1f", "👍" * 20_000}
    do(sink, f"xlsx:{tmp_path}/x.xlsx?tables={ARTICLES}")
    found = tables(f"xlsx:{tmp_path}/x.xlsx")[ARTICLES]
    assert {row["title"] for row in found} == {"", "👍" * 16_383}
