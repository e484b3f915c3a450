"""Workbooks: the types of their cells, the names of their sheets, and how much they hold."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from harvester.errors import ExportError
from harvester.model import Field
from tests.exports.support import FIRST, articles, do, few, harvest, tables, users
from tests.exports.test_hostile import interface, once, window


def test_a_workbook_has_dates_numbers_and_text(tmp_path: Path) -> None:
    batch = articles(FIRST, 0, "=1+1\x07")
    batch.records[0]["publish_type"] = 1234567890123456789
    do(harvest(batch), f"xlsx:{tmp_path}/x.xlsx?header=en")
    book = openpyxl.load_workbook(tmp_path / "x.xlsx")
    sheet = book.worksheets[1]
    assert sheet.freeze_panes == "A2"
    row = dict(zip(*[[cell.value for cell in row] for row in sheet["1:2"]], strict=True))
    assert row["Date"] == datetime(2026, 1, 30)
    assert row["Title"] == "=1+1"
    assert row["Kind of publishing"] == "1234567890123456789"
    assert row["Fetched at (UTC)"] == datetime(2026, 3, 1, 4)
    assert all(len(each.title) <= 31 for each in book.worksheets)


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
