"""CSV and Parquet files: what spreadsheets read, and what somebody changed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.base import files as durable
from harvester.errors import ExportError, UsageError
from harvester.exports.base import Exported
from harvester.exports.equal import export, is_equal
from harvester.exports.shapes import FLAT, NESTED
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.model import Account
from harvester.tables import ACCOUNT, ACCOUNTS, TABLES, Column, columns_of, tables_of
from harvester.wechat.interfaces import INTERFACES
from tests.exports.support import (
    ARTICLES,
    FIRST,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)


def test_csv_is_read_by_excel_and_holds_no_formula(tmp_path: Path) -> None:
    sink = harvest(articles(FIRST, 0, '=HYPERLINK("x")'), articles(FIRST, 1, 'a,"b"\n早'))
    do(sink, f"csv:{tmp_path}/c?header=zh")
    path = tmp_path / "c" / f"{ARTICLES}.csv"
    assert path.read_bytes().startswith("\ufeff公众号 AppID,日期,".encode())
    titles = [row["标题"] for row in tables(f"csv:{tmp_path}/c")[ARTICLES]]
    assert titles == ['\'=HYPERLINK("x")', 'a,"b"\n早']
    do(sink, f"csv:{tmp_path}/c?header=en&raw=1")
    titles = [row["Title"] for row in tables(f"csv:{tmp_path}/c")[ARTICLES]]
    assert titles == ['=HYPERLINK("x")', 'a,"b"\n早']


def test_a_csv_file_that_somebody_changed_is_written_anew(tmp_path: Path) -> None:
    spec, sink = f"csv:{tmp_path}/c", few()
    do(sink, spec)
    right = tables(spec)
    with (tmp_path / "c" / f"{USERS}.csv").open("a") as file:
        file.write("more\n")
    assert do(sink, spec).written == 2
    assert tables(spec) == right


# what the columns of a table are


def about(folder: Path) -> dict[str, list[dict[str, str]]]:
    """What the files beside the tables say of their columns, by table."""
    found = {}
    for path in folder.glob("*.columns.csv"):
        with path.open(encoding="utf-8-sig", newline="") as lines:
            found[path.name.removesuffix(".columns.csv")] = [*csv.DictReader(lines)]
    return found


def declared(shape: str) -> dict[str, dict[str, Column]]:
    """The columns of the table list, by table and name."""
    if shape == NESTED:
        return {name: columns_of(name, each.fields, each.cut) for name, each in INTERFACES.items()}
    own = [
        table
        for name, each in INTERFACES.items()
        for table in tables_of(name, each.fields, each.key, each.cut)
    ]
    listed = {table.name: table.columns for table in [*own, *TABLES.values(), ACCOUNTS]}
    return {name: {each.name: each for each in columns} for name, columns in listed.items()}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("shape", [NESTED, FLAT])
def test_beside_each_table_a_file_has_what_the_table_list_says_of_its_columns(
    tmp_path: Path, shape: str, language: str
) -> None:
    do(few(), f"csv:{tmp_path}/c?shape={shape}&lang={language}")
    rows, found, known = tables(f"csv:{tmp_path}/c"), about(tmp_path / "c"), declared(shape)
    assert {*found} == {*rows}
    figures = 0
    for table, told in found.items():
        assert [each["name"] for each in told] == [*rows[table][0]] if rows[table] else told
        for each in told:
            column = known[table].get(each["name"])
            assert each["title"]
            if column is None:
                assert each["meaning"], (table, each)
                assert not each["unit"]
                continue
            assert each["meaning"] == getattr(column.about, language)
            assert each["not_comparable_with"] == getattr(column.apart, language)
            figure = column.figure
            if figure is not None:
                figures += 1
                assert each["unit"] == getattr(figure.unit, language)
                assert each["figure"] == getattr(figure.covers, language)
                assert each["console"] == getattr(figure.console, language)
                assert each["denominator"] == getattr(figure.of, language)
    assert figures > 2


def test_a_figure_of_a_table_says_all_that_is_known_of_it(tmp_path: Path) -> None:
    do(few(), f"csv:{tmp_path}/c")
    told = {each["name"]: each for each in about(tmp_path / "c")["article_totals"]}
    assert told["read_finish_rate"] == {
        "name": "read_finish_rate",
        "title": "Share of readers who finished",
        "type": "float",
        "unit": "0 to 1",
        "figure": "total: from publication, up to 30 days",
        "console": "阅读完成率 (only the first 7 days)",
        "denominator": "readers",
        "not_comparable_with": "",
        "meaning": "share of the readers who read to the end, 0 to 1;"
        " running total: take the last row, do not sum",
    }
    assert told["read_user"]["not_comparable_with"].startswith("article_days.read_user (")
    assert told["account"]["meaning"] == ACCOUNT.field.meaning


def test_titles_are_those_of_the_table_and_the_file_is_read_by_excel(tmp_path: Path) -> None:
    do(few(), f"csv:{tmp_path}/c?header=zh")
    data = (tmp_path / "c" / f"{USERS}.columns.csv").read_bytes()
    assert data.startswith("\ufeff列名,标题,类型,单位,覆盖的时段,公众平台名称,分母,".encode())
    told = about(tmp_path / "c")[USERS]
    assert [each["标题"] for each in told] == [*tables(f"csv:{tmp_path}/c")[USERS][0]]
    assert ("new_user", "新关注人数") in [(each["列名"], each["公众平台名称"]) for each in told]


def test_no_text_of_a_column_is_a_formula(tmp_path: Path) -> None:
    fields = tuple(each._replace(meaning="=1+1") for each in INTERFACES[USERS].fields)
    endpoint = replace(INTERFACES[USERS], fields=fields)
    for raw, expected in (("", "'=1+1"), ("?raw=1", "=1+1")):
        spec = f"csv:{tmp_path}/c{raw}"
        source = Source(few(), lambda: None)
        export(source, open_target(spec), (USERS,), {USERS: endpoint}.get)
        assert about(tmp_path / "c")[USERS][1]["meaning"] == expected


@pytest.mark.thorough
def test_a_file_about_columns_that_is_changed_or_gone_is_written_anew(tmp_path: Path) -> None:
    spec, sink = f"csv:{tmp_path}/c", few()
    do(sink, spec)
    right, path = about(tmp_path / "c"), tmp_path / "c" / f"{USERS}.columns.csv"
    for damage in (lambda: path.write_text("name\n"), path.unlink):
        damage()
        assert not equal(sink, spec)
        assert do(sink, spec).written == 2
        assert about(tmp_path / "c") == right
        assert equal(sink, spec)
        assert do(sink, spec) == Exported(kept=4)


def test_it_goes_with_its_table(tmp_path: Path) -> None:
    spec = f"csv:{tmp_path}/c"
    do(few(), spec)
    left = harvest(articles(FIRST))
    do(left, spec)
    assert not [*(tmp_path / "c").glob(f"{USERS}*")]
    assert {*about(tmp_path / "c")} == {*tables(spec)}
    assert equal(left, spec)


def test_it_is_no_table_of_accounts(tmp_path: Path) -> None:
    spec, account = f"csv:{tmp_path}/c", Account("wx" + "0" * 16, name="北方")
    for accounts in ([account], []):
        source = Source(few(), lambda: None, accounts=accounts)
        export(source, open_target(spec), (), INTERFACES.get)
    target = open_target(spec)
    target.open(create=False)
    assert target.names() == {account.appid: "北方"}
    target.close()
    assert is_equal(Source(few(), lambda: None), open_target(spec), (), INTERFACES.get)


@pytest.mark.thorough
def test_an_export_that_ends_at_any_step_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, spec = few(), f"csv:{tmp_path}/right"
    harvest(users(FIRST, 0, 77), sink=sink)
    do(sink, spec)
    right, described = tables(spec), about(tmp_path / "right")
    rename, steps = durable.rename, 0
    while True:
        folder = tmp_path / str(steps)
        spec = f"csv:{folder}"
        do(few(), spec)
        (folder / f"{USERS}.columns.csv").unlink()
        left = steps

        def limited(*arguments: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")
            rename(*arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(durable, "rename", limited)
            try:
                do(sink, spec)
            except ExportError:
                assert not equal(sink, spec)
        do(sink, spec)
        assert tables(spec) == right
        assert about(folder) == described
        assert equal(sink, spec)
        if left >= 0:
            break
        steps += 1
    assert steps > 4


def test_a_file_of_others_that_has_its_name_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    mine = folder / f"{USERS}.columns.csv"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is not an export of harvester"):
        do(few(), f"csv:{folder}", USERS)
    assert mine.read_text() == "mine"
