"""A workbook opens in spreadsheets; its first sheet says what is in it, and what is missing."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas
import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.errors import ExportError
from harvester.exports.equal import export
from harvester.exports.run import described
from harvester.exports.source import Source
from harvester.exports.targets import open_target
from harvester.ledger.coverage import Calendar, Outcome
from harvester.ledger.reach import STATES, Reach, Run, Together, reach_of, states_in
from harvester.model import Batch, Field, Window
from harvester.testing import Simulator
from harvester.wechat.interfaces import INTERFACES
from tests.builders import harvested
from tests.exports.support import (
    ARTICLES,
    FIRST,
    STAMP,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)
from tests.exports.test_hostile import NAME, interface, once, window
from tests.office import ALL_SHEETS, converted
from tests.support import A, B, at

DAYS = ("2024-01-01", "2024-01-31")
FIRST_DAY, LAST_DAY = map(datetime.fromisoformat, DAYS)


def database(folder: Path, *names: str, **options: Any) -> str:
    """Two accounts in a database; the second may not use getusercumulate."""
    wechat = Simulator(refuse={(B, "getusercumulate"): 48001})
    names, spec = names or ("users", "getupstreammsgmonth"), f"sqlite:{folder}/users.db"
    harvested(spec, A, B, endpoints=names, days=DAYS, simulator=wechat, **options)
    return spec


def first_sheet(path: Path) -> list[list[Any]]:
    """Its rows, without empty cells at their ends."""
    found = []
    for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True):
        values = [*row]
        while values and values[-1] is None:
            values.pop()
        found.append(values)
    return found


@pytest.mark.thorough
def test_the_first_sheet_says_what_is_there_until_when_and_what_is_missing(tmp_path: Path) -> None:
    book = tmp_path / "users.xlsx"
    source = database(tmp_path, export=f"xlsx:{book}")
    head, *rows = first_sheet(book)
    found = {row[1]: dict(zip(head, row, strict=False)) for row in rows[:4]}
    whole, part = found["getusersummary"], found["getusercumulate"]
    assert (whole["Accounts"], whole["Days missing"], whole["Complete until"]) == (2, 0, LAST_DAY)
    assert (whole["First day"], whole["Last day"]) == (FIRST_DAY, LAST_DAY)
    assert whole["Rows"] == harvester.read(source, "getusersummary").read_all().num_rows
    assert datetime.now().year - whole["Last fetched (UTC)"].year < 2
    assert (part["Rows"], part["Accounts"], part["Complete until"]) == (31, 1, None)
    assert (part["Days missing"], part["Accounts that lack days"]) == (31, 1)
    assert openpyxl.load_workbook(book).sheetnames[:3] == ["harvester", "coverage", "columns"]
    covered = found["coverage"]
    assert (covered["First day"], covered["Last day"]) == (FIRST_DAY, LAST_DAY)
    assert rows[-2:] == [
        ["Missing account", "Interface", "From", "To", "State"],
        [B, "getusercumulate", FIRST_DAY, LAST_DAY, "failed"],
    ]
    same = ["export", f"xlsx:{book}", "--out", source, "--check"]
    assert invoke(same) == 0  # the command, the library and a run give the same
    assert harvester.export(source, f"xlsx:{book}").written == 0


@pytest.mark.thorough
def test_the_first_sheet_names_accounts_that_begin_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, book = f"sqlite:{tmp_path}/users.db", tmp_path / "x.xlsx"
    harvested(source, A, endpoints="getusersummary", days=("2024-01-01", "2024-01-10"))
    harvested(source, B, endpoints="getusersummary", days=("2024-01-05", "2024-01-10"))
    harvester.export(source, f"xlsx:{book}")
    said = [row[0] for row in first_sheet(book) if row and row[0]]
    assert (
        "getusersummary: 1 of 2 accounts begin later than 2024-01-01, the last on 2024-01-05;"
        " sums before lack them."
    ) in said
    monkeypatch.setattr("harvester.exports.equal.MOST_RUNS", 1)
    harvester.export(source, f"xlsx:{tmp_path}/y.xlsx")
    rows = first_sheet(tmp_path / "y.xlsx")
    assert rows[1][:4] == ["coverage", "coverage", 1, None]
    assert rows[1][4:6] == [datetime(2024, 1, 1), datetime(2024, 1, 10)]
    assert any(str(row[0]).startswith("Sheet coverage: all accounts") for row in rows if row)


@pytest.mark.thorough
def test_it_is_written_anew_if_more_is_known_to_be_there_or_missing(tmp_path: Path) -> None:
    target = f"xlsx:{tmp_path}/users.xlsx"
    source = database(tmp_path, "getupstreammsgmonth")  # of 2024-01
    harvester.export(source, target)
    assert harvester.export(source, target).written == 0
    database(tmp_path, "getupstreammsgmonth", "getusercumulate")
    assert harvester.export(source, target, "getupstreammsgmonth").written == 0
    assert harvester.export(source, target).written == 2


@pytest.mark.thorough
def test_the_first_sheet_is_in_the_language_of_the_titles(tmp_path: Path) -> None:
    source = database(tmp_path)
    harvester.export(source, f"xlsx:{tmp_path}/zh.xlsx?header=zh")
    head, *rows = first_sheet(tmp_path / "zh.xlsx")
    assert head[:7] == ["工作表", "表", "行数", "公众号数", "首日", "末日", "完整截至"]
    assert rows[0][:2] == ["覆盖情况", "coverage"]
    assert rows[1][:2] == ["消息发送月数据", "getupstreammsgmonth"]
    assert rows[-1] == [B, "getusercumulate", FIRST_DAY, LAST_DAY, "失败"]


def test_without_a_ledger_it_says_that_nothing_is_known_of_what_is_missing(tmp_path: Path) -> None:
    do(few(), f"xlsx:{tmp_path}/x.xlsx?tables={ARTICLES}")
    rows = first_sheet(tmp_path / "x.xlsx")
    sheet = rows[1]
    assert sheet[1:4] == [ARTICLES, 8, 2]
    assert sheet[4:6] == [datetime(2026, 1, 30), datetime(2026, 2, 2)]
    assert sheet[6:10] == [None] * 4
    assert "No ledger is known" in rows[-1][0]


def test_sheets_have_a_filter_a_frozen_head_and_columns_as_wide_as_their_values(
    tmp_path: Path,
) -> None:
    long = articles(FIRST, title="一" * 20)
    long.records[0]["publish_type"] = 123456789012
    do(harvest(long, users(FIRST)), f"xlsx:{tmp_path}/x.xlsx")
    sheets = openpyxl.load_workbook(tmp_path / "x.xlsx").worksheets
    assert sheets[-1].title == "charts"
    for sheet in sheets[2:-1]:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == sheet.dimensions
        for column in sheet.iter_cols():
            width = sheet.column_dimensions[column[0].column_letter].width
            for cell in column:
                shown = _shown(cell)
                wide = sum(2 if ord(letter) > 255 else 1 for letter in shown)
                assert width >= min(wide, 60), (sheet.title, shown)


def test_too_many_rows_are_refused_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.exports.xlsx._CELLS", 200)
    with pytest.raises(ExportError) as raised:
        do(few(), f"xlsx:{tmp_path}/x.xlsx")
    said = str(raised.value)
    assert (
        "too much data for a workbook: 264 cells so far (getusersummary 16 rows of 11 columns, "
        in said
    )
    assert "articles 8 rows of 11 columns; " in said
    assert "choose tables (xlsx:FILE?tables=A,B), days (--start, --end) or accounts" in said
    assert said.endswith("or export csv:DIR or duckdb:FILE")


LACKING = {state.name for state in STATES if state.lacking}


def _reach(name: str, *outcomes: tuple[str, str, str]) -> Reach:
    """Of what was asked for in January."""
    calendar = Calendar()
    for state, begin, end in outcomes:
        days = date.fromisoformat(begin), date.fromisoformat(end)
        empty = 1 if state == "never" else 0
        calendar.apply(Outcome(Window(A, name, *days), state, empty=empty))
    asked = date(2024, 1, 1), date(2024, 1, 31)
    found = reach_of(calendar, [asked], INTERFACES[name], at("2024-02-20", 12))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "outcomes", "wanted"),
    [
        (USERS, [("final", "2024-01-01", "2024-01-31")], ("2024-01-31", "2024-01-31", 0, 0)),
        (USERS, [("final", "2024-01-01", "2024-01-09")], ("2024-01-09", "2024-01-09", 22, 1)),
        (
            USERS,
            [("final", "2024-01-01", "2024-01-03"), ("open", "2024-01-04", "2024-01-31")],
            ("2024-01-31", "2024-01-03", 0, 0),
        ),
        (
            USERS,
            [("waiting", "2024-01-01", "2024-01-01"), ("failed", "2024-01-02", "2024-01-02")],
            (None, None, 31, 3),
        ),
        (
            USERS,
            [("final", "2024-01-01", "2024-01-29"), ("late", "2024-01-30", "2024-01-31")],
            ("2024-01-29", "2024-01-29", 2, 1),
        ),
        (
            USERS,
            [("final", "2024-01-01", "2024-01-30"), ("never", "2024-01-31", "2024-01-31")],
            ("2024-01-31", "2024-01-31", 0, 0),
        ),
        # 2024-01-01 is a Monday; the last days of the month are in no whole week of the range
        (
            "getupstreammsgweek",
            [("final", "2024-01-01", "2024-01-28")],
            ("2024-01-28", "2024-01-28", 0, 0),
        ),
        (
            "getweanalysisappiduserportrait",
            [("final", "2024-01-05", "2024-01-05")],
            ("2024-01-31", "2024-01-31", 0, 0),
        ),
    ],
)
def test_the_coverage_of_an_account(
    name: str, outcomes: list[tuple[str, str, str]], wanted: tuple[str | None, str | None, int, int]
) -> None:
    together, reach = Together(), _reach(name, *outcomes)
    together.add(A, reach)
    complete, final = (day and str(day) for day in (together.complete, together.final))
    gaps = [run for run in states_in((A, name), reach) if run.state in LACKING]
    assert (complete, final, together.lacking, len(gaps)) == wanted
    assert len(together.behind) == bool(wanted[2])


def test_the_coverage_of_several_accounts_is_that_of_the_worst() -> None:
    together, runs = Together(), list[Run]()
    for appid, end in ((A, "2024-01-31"), (B, "2024-01-20"), ("wx3", "2024-01-25")):
        reach = _reach(USERS, ("final", "2024-01-01", end))
        together.add(appid, reach)
        runs += states_in((appid, USERS), reach)
    assert str(together.complete) == "2024-01-20"
    assert (len(together.accounts), len(together.behind)) == (3, 2)
    assert runs[1] == Run(B, USERS, date(2024, 1, 1), date(2024, 1, 20), 20, "final")
    assert runs[2] == Run(B, USERS, date(2024, 1, 21), date(2024, 1, 31), 11, "missing")


@pytest.mark.thorough
def test_charts_show_followers_readers_and_the_best_articles(tmp_path: Path) -> None:
    source, book = f"sqlite:{tmp_path}/a.db", tmp_path / "x.xlsx"
    names = ("users", "getbizsummary", "getarticletotaldetail")
    harvested(source, A, B, endpoints=names, days=("2025-12-20", "2026-01-10"))
    harvester.export(source, f"xlsx:{book}")
    sheet = openpyxl.load_workbook(book)["charts"]
    heads = [cell.value for cell in sheet[1]]
    assert len(sheet._charts) == 4

    def points(head: str) -> list[tuple[Any, Any]]:
        column = heads.index(head) + 1
        cells = sheet.iter_rows(2, min_col=column, max_col=column + 1, values_only=True)
        return [(what, number) for what, number in cells if what is not None]

    with harvester.read(source, names, shape="flat").to_duckdb() as stored:
        assert (
            points("Month")
            == stored.sql(
                "SELECT strftime(ref_date, '%Y-%m') AS month, sum(cumulate_user)"
                " FROM getusercumulate"
                " WHERE ref_date IN ('2025-12-31', '2026-01-10') GROUP BY month ORDER BY month"
            ).fetchall()
        )
        days = stored.sql(
            "SELECT ref_date::TIMESTAMP, sum(detail_read_user) FROM getbizsummary"
            " GROUP BY ref_date ORDER BY ref_date"
        )
        assert points("Day") == days.fetchall()
        sources = stored.sql(
            "SELECT scene_desc_label, sum(user_count) FROM getbizsummary_detail_read_user_source"
            " WHERE scene_desc <> '全部' GROUP BY ALL"
        )
        assert dict(points("Source")) == dict(sources.fetchall())
        best = stored.sql(
            "SELECT max(read_user) AS most FROM article_totals GROUP BY _appid, msgid"
            " ORDER BY most DESC LIMIT 20"
        )
        assert [number for _, number in points("Article")] == [most for (most,) in best.fetchall()]


# what columns are


def _heights(path: Path) -> Iterator[float]:
    """The heights of the notes, in pixels, in the order of sheets and columns."""
    with zipfile.ZipFile(path) as book:
        names = [name for name in book.namelist() if name.endswith(".vml")]
        for name in sorted(names, key=lambda name: int(re.sub(r"\D", "", name))):
            for points in re.findall(r"[^-]height:([\d.]+)pt", book.read(name).decode()):
                yield float(points) * 4 / 3


def total_and_day(day: date = FIRST) -> Any:
    """Articles whose readers are a figure of the day in one table, and a total in another one."""
    return harvest(articles(day), read(day, "getarticleread"))


def read(day: date, name: str, **fields: Any) -> Batch:
    """A record of an interface with figures of the articles of a day."""
    record = {"ref_date": str(day), "msgid": "7_1", **fields}
    return Batch(Window(A, name, day, day), [record], STAMP, endpoint=INTERFACES[name])


@pytest.mark.parametrize("header", ["", "?header=en", "?header=zh", "?lang=zh"])
def test_each_head_has_a_note_and_a_row_of_the_sheet_of_columns(
    tmp_path: Path, header: str
) -> None:
    do(total_and_day(), f"xlsx:{tmp_path}/x.xlsx{header}")
    book = openpyxl.load_workbook(tmp_path / "x.xlsx")
    is_chinese, is_titled = "zh" in header, "header" in header
    _, told, *sheets, charts = book.worksheets
    assert (told.title, charts.title) == (
        ("列说明", "图表") if is_chinese else ("columns", "charts")
    )
    head, *rows = told.iter_rows(values_only=True)
    named = [(row[0], row[2 if is_titled else 1]) for row in rows]
    assert named == [(sheet.title, cell.value) for sheet in sheets for cell in sheet[1]]
    cells = [cell for sheet in sheets for cell in sheet[1]]
    for row, cell in zip(rows, cells, strict=True):
        assert cell.comment is not None
        lines = cell.comment.text.split("\n")
        colon = "：" if is_chinese else ": "
        texts = zip(head[1:], row[1:], strict=True)
        assert lines == [
            f"{title}{colon}{text}" for title, text in texts if text and text != cell.value
        ]
    for high, cell in zip(_heights(tmp_path / "x.xlsx"), cells, strict=True):
        assert high >= 15 * len(cell.comment.text.split("\n"))


@pytest.mark.parametrize(
    ("header", "sheets", "column", "one", "other"),
    [
        (
            "zh",
            ("文章每日数据", "文章累计数据"),
            "read_user",
            "单位：人\n覆盖的时段：当天\n含义：阅读人数；人数按日去重，跨日、跨渠道相加会重复计人",
            "累计：发布起至当日 (最多 30 天)\n含义：阅读人数；累计值，取最后一行，不能相加",
        ),
        (
            "en",
            ("article_days", "article_totals"),
            "read_user",
            "Unit: people\nTime it covers: that day\nMeaning: readers; each person is counted",
            "up to 30 days\nMeaning: readers; running total: take the last row, do not sum",
        ),
    ],
)
def test_a_day_and_a_running_total_with_the_same_head_differ_in_their_notes(
    tmp_path: Path, header: str, sheets: tuple[str, str], column: str, one: str, other: str
) -> None:
    do(total_and_day(), f"xlsx:{tmp_path}/x.xlsx?header={header}")
    book = openpyxl.load_workbook(tmp_path / "x.xlsx")
    notes, heads = [], set()
    for name in sheets:
        [cell] = [cell for cell in book[name][1] if f"{column}\n" in cell.comment.text]
        heads.add(cell.value)
        notes.append(cell.comment.text)
    assert len(heads) == 1
    assert one in notes[0]
    assert other in notes[1]


def test_a_field_of_which_nothing_is_said_has_no_note_and_a_control_character_none_of_it(
    tmp_path: Path,
) -> None:
    fields = Field("alone", "int"), Field("said", "int", "with a \x07bell", label="铃")
    once(harvest(window({"alone": 1, "said": 2})), f"xlsx:{tmp_path}/x.xlsx",
         {NAME: interface(*fields)})  # fmt: skip
    heads = {
        cell.value: cell.comment for cell in openpyxl.load_workbook(tmp_path / "x.xlsx")[NAME][1]
    }
    assert heads["alone"] is None
    assert heads["said"].text == "Meaning: with a bell"


def test_amounts_have_separators_and_codes_hours_and_numbers_of_rows_have_none(
    tmp_path: Path,
) -> None:
    hours = read(
        FIRST, "getupstreammsghour", ref_hour=2300, msg_type=1, msg_user=12345, msg_count=7
    )
    pages = read(FIRST, "getgameanalysisdata", group_dimension_list=[], metric_value=1234.5)
    stays = read(FIRST, "getweanalysisappiddailyvisittrend", stay_time_uv=12.25, visit_pv=1234567)
    do(harvest(hours, pages, stays), f"xlsx:{tmp_path}/x.xlsx")
    found = {}
    for sheet in openpyxl.load_workbook(tmp_path / "x.xlsx").worksheets[2:]:
        for head, cell in zip(sheet[1], sheet[2] if sheet.max_row > 1 else [], strict=False):
            found[head.value] = cell.number_format
    assert {name: found[name] for name in ("msg_user", "msg_count", "visit_pv")} == {
        "msg_user": "#,##0", "msg_count": "#,##0", "visit_pv": "#,##0"
    }  # fmt: skip
    assert found["metric_value"] == "#,##0.00"
    plain = ("ref_hour", "msg_type", "_row", "stay_time_uv")
    assert {found[name] for name in plain} == {"General"}


def test_each_sheet_is_printed_in_landscape_a_page_wide_with_its_heads(tmp_path: Path) -> None:
    do(total_and_day(), f"xlsx:{tmp_path}/x.xlsx")
    sheets = openpyxl.load_workbook(tmp_path / "x.xlsx").worksheets
    assert len(sheets) == 7
    for sheet in sheets:
        assert (sheet.page_setup.orientation, sheet.page_setup.paperSize) == ("landscape", 9)
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert sheet.page_setup.fitToWidth in (None, 1)  # what a sheet does not say is 1
        assert sheet.page_setup.fitToHeight == 0
        assert sheet.print_title_rows == "$1:$1"


# which tables, which columns


@pytest.mark.thorough
def test_what_tables_leaves_out_is_not_on_the_first_sheet(tmp_path: Path) -> None:
    source = database(tmp_path)
    every = {"getupstreammsgmonth", "getusersummary", "getusercumulate"}
    for tables_, shown in (
        ("getusersummary", {"getusersummary"}),
        ("followers_by_source", {"followers_by_source", "getusersummary"}),
        ("", every),
    ):
        chosen = f"?tables={tables_}" if tables_ else ""
        harvester.export(source, f"xlsx:{tmp_path}/x.xlsx{chosen}")
        rows = first_sheet(tmp_path / "x.xlsx")
        assert {row[1] for row in rows[1:] if len(row) > 2 and row[1] in {*every, *shown}} == shown
        assert [row for row in rows if row[:1] == [B]] == (
            [[B, "getusercumulate", FIRST_DAY, LAST_DAY, "failed"]] if not tables_ else []
        )


@pytest.mark.thorough
def test_joined_tables_and_lists_alone_have_their_days_on_the_first_sheet(tmp_path: Path) -> None:
    lists = f"{ARTICLES}_detail_list"
    for chosen, names in (("", ["articles", "article_totals"]), (f"?tables={lists}", [lists])):
        do(few(), f"xlsx:{tmp_path}/x.xlsx{chosen}")
        rows = {row[1]: row for row in first_sheet(tmp_path / "x.xlsx") if len(row) > 5}
        for name in names:
            assert rows[name][4:6] == [datetime(2026, 1, 30), datetime(2026, 2, 2)]


@pytest.mark.thorough
def test_a_table_that_would_repeat_the_one_of_its_interface_is_left_out(tmp_path: Path) -> None:
    hours = read(FIRST, "getupstreammsghour", ref_hour=900, msg_type=1, msg_user=1, msg_count=7)
    shares = read(FIRST, "getarticleshare", detail={"share_user": 3})
    sink, spec = harvest(users(FIRST), hours, shares), f"xlsx:{tmp_path}/x.xlsx"
    do(sink, spec)
    own = {USERS, "getupstreammsghour", "getarticleshare"}
    assert {*tables(spec)} == {*own, "article_days"}  # its columns have other names
    do(sink, f"{spec}?tables=followers_by_source,messages_by_hour")
    assert {*tables(spec)} == {"followers_by_source", "messages_by_hour"}
    do(sink, f"duckdb:{tmp_path}/d.duckdb")
    assert {*tables(f"duckdb:{tmp_path}/d.duckdb")} == {
        *own, "article_days", "followers_by_source", "messages_by_hour"
    }  # fmt: skip


@pytest.mark.thorough
def test_columns_of_retired_interfaces_are_there_if_one_of_these_is_stored(tmp_path: Path) -> None:
    sink, target = total_and_day(), f"xlsx:{tmp_path}/x.xlsx?header=en"
    of_retired = [f"{title} (retired interfaces only)" for title in
                  ("Title", "Reads", "Shares", "People who favourited")]  # fmt: skip
    csv_ = f"csv:{tmp_path}/c?header=en"

    def heads(name: str) -> list[Any]:
        return [cell.value for cell in openpyxl.load_workbook(tmp_path / "x.xlsx")[name][1]]

    do(sink, target)
    before, totals = heads("article_days"), heads("article_totals")
    assert not [each for each in (*before, *totals) if "retired" in each]
    assert {"Readers", "Sharers"} < {*before}
    do(sink, csv_)
    assert {*of_retired} < {*tables(csv_.partition("?")[0])["article_days"][0]}
    old = read(FIRST, "getarticlesummary", title="旧", int_page_read_user=5, int_page_read_count=6)
    harvest(old, sink=sink)
    assert not equal(sink, target)
    do(sink, target)
    assert [each for each in heads("article_days") if each not in before] == of_retired
    assert heads("article_totals") == totals
    [row] = tables(target)["article_days"]
    assert row["Reads (retired interfaces only)"] == 6
    assert do(sink, target).written == 0


@pytest.mark.thorough
def test_a_workbook_of_the_former_layout_is_written_anew_once(tmp_path: Path) -> None:
    sink, spec = few(), f"xlsx:{tmp_path}/x.xlsx"
    former = open_target(spec)
    former.form = "xlsx "
    export(Source(sink, lambda: None), former, (), INTERFACES.get)
    assert not equal(sink, spec)
    assert do(sink, spec).written == 4
    assert equal(sink, spec)
    before = (tmp_path / "x.xlsx").read_bytes()
    assert do(sink, spec).written == 0
    assert (tmp_path / "x.xlsx").read_bytes() == before


# in a spreadsheet


@pytest.fixture
def office(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Opens a file in LibreOffice, and saves it in another form."""
    return lambda path, form: converted(path, form, tmp_path)


TITLES = [
    "早安，北京", '=HYPERLINK("http://x")', "+1", "-1", "@x", "＝1+1", "a,b;c\td", 'a "quoted" one',
    "two\nlines", "1-2", "007", "1E5", "😀 emoji", "TRUE", "\u3000 spaces ",
]  # fmt: skip


def titled() -> Any:
    """A sink with an article a day, with these titles."""
    days = [date(2026, 1, 1 + number) for number in range(len(TITLES))]
    return harvest(*[articles(day, 0, title) for day, title in zip(days, TITLES, strict=True)])


@pytest.mark.thorough
@pytest.mark.parametrize("header", ["", "?header=zh"])
def test_libreoffice_opens_a_workbook_and_shows_what_was_exported(
    tmp_path: Path, office: Any, header: str
) -> None:
    source = database(tmp_path)
    for number, sink in enumerate([source, titled()]):
        path = tmp_path / f"{number}.xlsx"
        if isinstance(sink, str):
            harvester.export(sink, f"xlsx:{path}{header}")
        else:
            do(sink, f"xlsx:{path}{header}")
        folder = office(path, ALL_SHEETS)
        for sheet in openpyxl.load_workbook(path).worksheets:
            with (folder / f"{number}-{sheet.title}.csv").open(
                encoding="utf-8", newline=""
            ) as file:
                shown = [*csv.reader(file)]
            wanted = [[*map(_shown, row)] for row in sheet.iter_rows()]
            assert shown == wanted
            assert not any("###" in value for row in shown for value in row)


def _shown(cell: Any) -> str:
    """A cell as a spreadsheet shows it."""
    value = cell.value
    if isinstance(value, datetime):
        return (
            f"{value:%Y-%m-%d %H:%M:%S}"
            if cell.number_format.endswith("ss")
            else f"{value:%Y-%m-%d}"
        )
    if isinstance(value, int) and cell.number_format == "#,##0":
        return f"{value:,}"
    if cell.number_format == "#,##0.00":
        return f"{value:,.2f}"
    return "" if value is None else str(value)


@pytest.mark.thorough
def test_libreoffice_and_pandas_read_a_csv_file_and_no_title_becomes_a_formula(
    tmp_path: Path, office: Any
) -> None:
    do(titled(), f"csv:{tmp_path}/c?header=zh")
    path = tmp_path / "c" / f"{ARTICLES}.csv"
    escaped = [f"'{text}" if text[0] in "=+-@＝" else text for text in TITLES]
    assert pandas.read_csv(path, encoding="utf-8-sig", dtype=str)["标题"].tolist() == escaped
    folder = office(path, "xlsx")
    sheet = openpyxl.load_workbook(folder / f"{ARTICLES}.xlsx").worksheets[0]
    head, *rows = sheet.iter_rows()
    title = [cell.value for cell in head].index("标题")
    assert not [cell for row in rows for cell in row if cell.data_type == "f"]
    texts = [row[title].value for row in rows if isinstance(row[title].value, str)]
    assert {*texts} >= {text for text in escaped if not re.match(r"[\d\sT]", text)}
    assert rows[0][[cell.value for cell in head].index("日期")].value == datetime(2026, 1, 1)


def test_a_workbook_has_dates_numbers_and_text(tmp_path: Path) -> None:
    batch = articles(FIRST, 0, "=1+1\x07")
    batch.records[0]["publish_type"] = 1234567890123456789
    do(harvest(batch), f"xlsx:{tmp_path}/x.xlsx?header=en&tables={ARTICLES}")
    book = openpyxl.load_workbook(tmp_path / "x.xlsx")
    sheet = book[ARTICLES]
    assert sheet.freeze_panes == "A2"
    row = dict(zip(*[[cell.value for cell in row] for row in sheet["1:2"]], strict=True))
    assert row["Date"] == datetime(2026, 1, 30)
    assert row["Title"] == "=1+1"
    assert row["Kind of publication"] == "1234567890123456789"
    assert row["Fetched at (UTC)"] == datetime(2026, 3, 1, 4)
    assert all(len(each.title) <= 31 for each in book.worksheets)


def test_a_text_like_a_formula_is_a_text_with_raw_and_without(tmp_path: Path) -> None:
    sink = harvest(articles(FIRST, 0, '=HYPERLINK("x")'))
    for query in ("", "&raw=1"):
        do(sink, f"xlsx:{tmp_path}/x.xlsx?tables={ARTICLES}{query}")
        [row] = tables(f"xlsx:{tmp_path}/x.xlsx")[ARTICLES]
        assert row["title"] == '=HYPERLINK("x")'


def test_too_much_for_a_workbook_is_refused_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"xlsx:{tmp_path}/x.xlsx"
    do(few(), spec)
    before = (tmp_path / "x.xlsx").read_bytes()
    monkeypatch.setattr("harvester.exports.xlsx._CELLS", 20)
    with pytest.raises(ExportError, match=r"export csv:DIR"):
        do(harvest(users(FIRST), users(FIRST, 1)), spec, replace=True)
    assert (tmp_path / "x.xlsx").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]


@pytest.mark.thorough
def test_a_sheet_has_a_name_that_excel_takes(tmp_path: Path) -> None:
    long = "get" + "x" * 40
    catalogue = {f"{long}{n}": interface(Field("list", "list", item="int")) for n in range(3)}
    sink = harvest(*[window({"list": [1]}, name=name) for name in [*catalogue, "History"]])
    once(sink, f"xlsx:{tmp_path}/x.xlsx", catalogue)
    assert {*tables(f"xlsx:{tmp_path}/x.xlsx")} == {
        *catalogue, *[f"{name}_list" for name in catalogue], "History",
    }  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "shown", "cut"),
    [
        ("x" * 32_767, "x" * 32_767, 0),
        ("x" * 32_768, "x" * 32_767, 1),
        ("x" + "👍" * 16_383, "x" + "👍" * 16_383, 0),
        ("xx" + "👍" * 16_383, "xx" + "👍" * 16_382, 1),
        ("早" * 40_000, "早" * 32_767, 1),
        ("x" * 32_767 + "\x07", "x" * 32_767, 0),
    ],
)
def test_a_text_that_is_too_long_for_a_cell_is_cut_and_counted_on_the_first_sheet(
    tmp_path: Path, text: str, shown: str, cut: int
) -> None:
    sink = harvest(articles(FIRST, 0, text), articles(FIRST, 1))
    for header, sentence in (
        (
            "en",
            f"Sheet {ARTICLES}: texts cut after 32,767 characters, the most that a cell takes: 1.",
        ),
        ("zh", "工作表 文章累计明细：1 个文本在 32,767 个字符处截断"),
    ):
        path = tmp_path / f"{header}.xlsx"
        do(sink, f"xlsx:{path}?header={header}&tables={ARTICLES}")
        said = [f"{row[0]}" for row in first_sheet(path) if row and sentence in f"{row[0]}"]
        assert len(said) == cut
        book = openpyxl.load_workbook(path)
        cells = {cell for sheet in book.worksheets for row in sheet.values for cell in row}
        assert {shown, "早安"} < cells
        assert do(sink, f"xlsx:{path}?header={header}&tables={ARTICLES}").written == 0


FULL = """
import resource, signal, sys
from pathlib import Path
from harvester.errors import ExportError
from tests.exports.support import FIRST, do, harvest, users
sink = harvest(*[users(FIRST, account) for account in range(9000)])
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for size in (100, 9_000, 300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        do(sink, f"xlsx:{folder}/x.xlsx")
        print("no error")
    except ExportError as exc:
        print(exc)
    print([path.name for path in folder.iterdir()])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(do(sink, f"xlsx:{folder}/x.xlsx").rows, [path.name for path in folder.iterdir()])
"""


@pytest.mark.thorough
def test_a_full_disk_is_an_error_of_ours_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert said[1::2][:3] == ["[]"] * 3
    assert [line.partition("could not be written: ")[2][:14] for line in said[:6:2]] == [
        "File too large"
    ] * 3
    assert said[6] == "18000 ['x.xlsx']"
    assert done.stderr == ""


def emptied(path: Path) -> None:
    """Remove rows, as somebody does who saves it again."""
    book = openpyxl.load_workbook(path)
    book[USERS].delete_rows(2, 4)
    book.save(path)


def one_byte(path: Path) -> None:
    """Change a byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def unsigned(path: Path) -> None:
    """As an earlier version wrote it."""
    with zipfile.ZipFile(path, "a") as book:
        book.comment = b""


@pytest.mark.thorough
@pytest.mark.parametrize("change", [emptied, one_byte, unsigned])
@pytest.mark.parametrize("replace", [False, True])
def test_a_workbook_that_somebody_has_changed_differs_and_is_written_anew(
    change: Callable[[Path], None], replace: bool, tmp_path: Path
) -> None:
    spec, sink = f"xlsx:{tmp_path}/x.xlsx", few()
    do(sink, spec)
    right = tables(spec)
    change(tmp_path / "x.xlsx")
    changed = (tmp_path / "x.xlsx").read_bytes()
    assert not equal(sink, spec)
    assert do(sink, spec, replace=replace).written > 0
    assert (tmp_path / "x.edited-1.xlsx").read_bytes() == changed  # it may have their formulas
    assert equal(sink, spec)
    assert tables(spec) == right
    assert do(sink, spec).written == 0
    assert not (tmp_path / "x.edited-2.xlsx").exists()


def test_who_exports_is_told_where_a_changed_workbook_is(tmp_path: Path) -> None:
    def told(spec: str) -> str:
        target = open_target(spec)
        return described(target, export(Source(few(), lambda: None), target, (), INTERFACES.get))

    spec, aside = f"xlsx:{tmp_path}/x.xlsx", tmp_path / "x.edited-1.xlsx"
    do(few(), spec)
    for place in (aside, tmp_path / "x.edited-2.xlsx"):
        emptied(tmp_path / "x.xlsx")
        assert told(spec).endswith(f", and is kept in {place}")
        assert openpyxl.load_workbook(place)[USERS].max_row == 1 + 16 - 4  # with its head
    assert ": nothing has changed (" in told(spec)


def test_a_changed_workbook_differs_from_a_sink_that_has_nothing_left(tmp_path: Path) -> None:
    spec = f"xlsx:{tmp_path}/x.xlsx"
    do(few(), spec)
    emptied(tmp_path / "x.xlsx")
    assert not equal(harvest(), spec)
