"""CSV and Parquet files: what spreadsheets read, and what somebody changed."""

from __future__ import annotations

from pathlib import Path

from tests.exports.support import ARTICLES, FIRST, USERS, articles, do, few, harvest, tables


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
