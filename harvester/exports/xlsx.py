"""XLSX: ``xlsx:FILE``, a workbook with a sheet a table; the first sheet says what is in it.

Rule: the workbook is written anew as a whole if anything differs; its stamps are in its properties.

Excel takes 31 characters for the name of a sheet, 1,048,576 rows, whole numbers of 15 digits, no
time zones, and no control characters.
"""

from __future__ import annotations

import gc
import re
import sys
import traceback
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from harvester.errors import ExportError, UsageError, needs
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Content, Held, Part, Size, TableShape, Unit
from harvester.exports.charts import SHEET, Charts
from harvester.exports.files import as_json, titles_of
from harvester.exports.noted import failing
from harvester.exports.single import SingleFile
from harvester.sinks.spec import Spec
from harvester.tables import ACCOUNTS, TABLES
from harvester.texts import joined, say
from harvester.wechat.titles import INTERFACES

try:
    import xlsxwriter
    from xlsxwriter.exceptions import FileCreateError
except ImportError as exc:
    raise UsageError(needs("xlsx: needs a library", "xlsx")) from exc

_ROWS = 1_048_576
_CELLS = 4_000_000
"""Cells that Excel and LibreOffice open in a reasonable time."""
_NAME = 31
_EXACT = 10**15
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LONGEST = 32_767
_FIRST_YEAR = 1900
"""Excel has no days before it, and takes it for a leap year."""
_PROPERTIES = "docProps/custom.xml"
_SHOWN_GAPS = 200
_WIDEST = 60
_MEASURED = 1000
"""Rows of a sheet whose texts decide how wide the columns are."""

_TEXTS = {
    "en": (
        ("Sheet", "Table", "Rows", "Accounts", "First day", "Last day", "Complete until",
         "Final until", "Days missing", "Accounts that lack days", "Last fetched (UTC)"),
        ("Complete until: up to this day every account has all days that were asked for.",
         "Final until: up to this day no figure will change any more.",
         "Days missing: asked for and not there, summed over the accounts."),
        ("Missing account", "Interface", "From", "To", "State"),
        {"missing": "not fetched yet", "waiting": "must wait", "failed": "failed",
         "late": "late, asked for again"},
        "and {:,} more ranges of days",
        "No ledger is known for these records, so it is not known what is missing.",
        "Sheet {}: texts cut after 32,767 characters, the most that a cell takes: {:,}.",
    ),
    "zh": (
        ("工作表", "表", "行数", "公众号数", "首日", "末日", "完整截至", "最终截至", "缺失天数",
         "有缺失的公众号数", "最近采集时间 (UTC)"),
        ("完整截至：到这一天为止，每个公众号所要求的每一天都已采集。",
         "最终截至：到这一天为止，数据不会再变动。",
         "缺失天数：要求采集但还没有的天数，各公众号相加。"),
        ("缺失的公众号", "接口", "从", "到", "状态"),
        {"missing": "尚未采集", "waiting": "等待重试", "failed": "失败",
         "late": "迟到，会再次请求"},
        "另有 {:,} 段日期",
        "没有找到这些数据的台账，因此不知道缺少什么。",
        "工作表 {}：{:,} 个文本在 32,767 个字符处截断，这是单元格的上限。",
    ),
}  # fmt: skip
"""Of the first sheet, by language: its columns, notes on them, the columns of what is missing, the
states of days, and three sentences."""


class Xlsx(SingleFile):
    """A workbook."""

    scheme = "xlsx"
    whole = True

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._header = spec.options.get("header", "")
        self.form = f"xlsx {self._header}"
        self._book: Any = None
        self._sheets: list[_Sheet] = []

    def open(self, *, create: bool, thorough: bool = False) -> Held:
        with failing(self.identity):
            self.take(create=create)
            if not self.path.exists():
                return Held()
            harvest, _, digest = _noted(self.path).partition(" ")
            return Held(harvest, digest=digest)

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with failing(self.identity):
            self._write(tables, units)

    def _write(self, tables: Sequence[TableShape], units: Iterable[Unit]) -> None:
        if self._book is None:
            self._begin()
        sheets = {table.name: self._sheet(table, tables[0].name) for table in tables}
        for unit in units:
            for chunk in unit.chunks():
                for name, rows in chunk.items():
                    sheets[name].write(rows)
                    self._charts.note(name, rows)
                self._check_size(
                    {sheet.table: Size(sheet.rows, sheet.width) for sheet in self._sheets}
                )

    def _begin(self) -> None:
        self._check_size(self.sizes)
        options = {
            "constant_memory": True,
            "strings_to_urls": False,
            "strings_to_formulas": False,
            "tmpdir": str(self.draft.parent),
        }
        self._book = xlsxwriter.Workbook(str(self.draft), options)
        self._contents = self._book.add_worksheet("harvester")
        self._charts = Charts(self._header or self.language)
        self._heading = self._book.add_format({"bold": True, "bottom": 1})
        self._formats = {
            "date": self._book.add_format({"num_format": "yyyy-mm-dd"}),
            "count": self._book.add_format({"num_format": "#,##0"}),
            "moment": self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        }
        note = f"{self.harvest} {self.digest}"
        self._book.set_custom_property("harvester", note, "text")

    def _sheet(self, table: TableShape, interface: str) -> _Sheet:
        taken = {"harvester", *SHEET.values(), *(sheet.name.lower() for sheet in self._sheets)}
        made = _Sheet(
            self._book.add_worksheet(_sheet_name(_title(table.name, self._header), taken)),
            table,
            interface,
            titles_of(table.schema.names, self._header),
            self._heading,
            self._formats,
        )
        self._sheets.append(made)
        return made

    def _check_size(self, sizes: Mapping[str, Size]) -> None:
        cells = sum(map(_cells, sizes.values()))
        if cells <= _CELLS and all(each.rows < _ROWS for each in sizes.values()):
            return
        largest = sorted(sizes.items(), key=lambda each: -_cells(each[1]))
        listed = [
            say("{} {:,} rows of {} columns", name, each.rows, each.columns)
            if each.is_exact
            else say("{} about {:,} rows of {} columns", name, each.rows, each.columns)
            for name, each in largest
            if each.rows
        ]
        raise ExportError(
            "{}: too much for a workbook, {:,} cells ({}; at most {:,} rows a sheet and {:,}"
            " cells); choose tables (xlsx:FILE?tables=A,B), days (--start, --end) or accounts"
            " (--appid), or export csv:DIR or duckdb:FILE",
            self.identity,
            cells,
            joined(", ", listed),
            _ROWS - 1,
            _CELLS,
        )

    def finish(self) -> None:
        with failing(self.identity):
            if self._book is None:
                self._begin()
            self._write_contents()
            for sheet in self._sheets:
                sheet.finish()
            name = SHEET[self._header or self.language]
            self._charts.write(self._book, name, self._formats, self._heading)
            try:
                self._book.close()
            except FileCreateError as exc:
                raise exc.args[0] from exc  # the error of the system
            self._book = None
            self.show()

    def _write_contents(self) -> None:
        """The first sheet: what is in the workbook, until when, and what is missing."""
        heads, notes, _, _, _, unknown, cut = _TEXTS[self._header or self.language]
        sheet = self._contents
        self._put_row(0, heads, self._heading)
        row = 0
        days = {each.table: each.days for each in self._sheets}
        for row, each in enumerate(self._sheets, 1):
            content = self.contents.get(each.table)  # of an interface, not of a list in it
            first_and_last = days.get(each.interface, (None, None))
            own = [each.name, each.table, each.rows, len(each.appids), *first_and_last]
            self._put_row(row, [*own, *_covered(content), each.latest])
        without = [
            (name, content)
            for name, content in sorted(self.contents.items())
            if name not in days and (content.rows or content.coverage is not None)
        ]
        for row, (name, content) in enumerate(without, row + 1):  # noqa: B020  (behind the last)
            accounts = None if content.rows else 0
            self._put_row(row, [None, name, content.rows, accounts, None, None, *_covered(content)])
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.autofilter(0, 0, row, len(heads) - 1)
        sheet.freeze_panes(1, 2)
        for column, head in enumerate(heads):
            wide = 34 if column < 2 else max(_width(head) + 4, 13)
            sheet.set_column(column, column, 20 if column == len(heads) - 1 else wide)
        known = any(each.coverage is not None for each in self.contents.values())
        shortened = [cut.format(each.name, each.cut) for each in self._sheets if each.cut]
        below = [*shortened, *(notes if known else [unknown])]
        for row, note in enumerate(below, row + 2):  # noqa: B020
            self._put_row(row, [note])
        self._write_gaps(row + 2)

    def _write_gaps(self, row: int) -> None:
        """What is missing, a range of days a row."""
        _, _, heads, states, more, *_ = _TEXTS[self._header or self.language]
        covered = [(name, each.coverage) for name, each in sorted(self.contents.items())]
        gaps = [(gap, name) for name, each in covered if each is not None for gap in each.gaps]
        if gaps:
            self._put_row(row, heads, self._heading)
        for row, (gap, name) in enumerate(gaps[:_SHOWN_GAPS], row + 1):  # noqa: B020
            self._put_row(row, [gap.appid, name, *gap.days, states[gap.state]])
        left = sum(each.ranges for _, each in covered if each is not None) - len(gaps[:_SHOWN_GAPS])
        if left:
            self._put_row(row + 1, [more.format(left)])

    def _put_row(self, row: int, values: Iterable[Any], form: Any = None) -> None:
        """Values of the first sheet."""
        for column, value in enumerate(values):
            if isinstance(value, int):
                self._contents.write_number(row, column, value, self._formats["count"])
            elif isinstance(value, date):
                kind = "moment" if isinstance(value, datetime) else "date"
                self._contents.write_datetime(row, column, value, self._formats[kind])
            elif value is not None:
                self._contents.write_string(row, column, value, form)

    def close(self) -> None:
        for sheet in self._sheets:
            sheet.forget()
        failed = self._book is not None
        self._book = self._contents = None
        self._sheets.clear()
        if failed:  # its files of rows are open, and it has no call that closes them
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                _let_go(sys.exc_info()[1])
                gc.collect()
        self.release()


def _let_go(failure: BaseException | None) -> None:
    """Clear the variables of the calls that have failed: they have the workbook."""
    while failure is not None:
        traceback.clear_frames(failure.__traceback__)
        failure = failure.__cause__ or failure.__context__


class _Sheet:
    """A sheet that grows at its end."""

    def __init__(
        self,
        sheet: Any,
        table: TableShape,
        interface: str,
        titles: Sequence[str],
        heading: Any,
        formats: Any,
    ) -> None:
        self.name: str = sheet.get_name()
        self.table, self.interface = table.name, interface
        self.width = len(titles)
        self.rows = self.cut = 0
        self.latest: datetime | None = None
        self.days: tuple[date | None, date | None] = (None, None)
        self.appids: set[str] = set()
        self._sheet = sheet
        self._formats = formats
        names = table.schema.names
        self._appid = names.index("_appid")
        self._has_days = "_end_date" in names  # a list has those of its interface
        sheet.freeze_panes(1, 0)
        self._widths = []
        for column, (title, field) in enumerate(zip(titles, table.schema, strict=True)):
            sheet.write_string(0, column, title, heading)
            least = next((width for kind, width in _LEAST.items() if kind in str(field.type)), 9)
            self._widths.append(max(_width(title) + 4, least))  # beside the filter's button

    def write(self, rows: Any) -> None:
        self._measure(rows)
        for values in zip(*[column.to_pylist() for column in rows.columns], strict=True):
            self.rows += 1
            if self.rows < _ROWS:
                for column, value in enumerate(values):
                    if value is not None:
                        self._put(column, value)

    def _measure(self, rows: Any) -> None:
        """Note what the first sheet says, and how wide the texts are."""
        self.appids.update(rows.column(self._appid).unique().to_pylist())
        if self._has_days and len(rows):
            first, last = pc.min(rows["_begin_date"]).as_py(), pc.max(rows["_end_date"]).as_py()
            self.days = min(self.days[0] or first, first), max(self.days[1] or last, last)
            latest = pc.max(rows["_fetched_at"]).as_py()
            if latest is not None:
                latest = latest.replace(tzinfo=None)
                self.latest = max(self.latest or latest, latest)
        for column in range(self.width if self.rows < _MEASURED else 0):
            values = rows.column(column)[:_MEASURED]
            if pa.types.is_string(values.type) or pa.types.is_integer(values.type):
                texts = [str(value) for value in values.to_pylist() if value is not None]
                widest = max([_width(text) + 2 for text in texts], default=0)
                self._widths[column] = max(self._widths[column], min(widest, _WIDEST))

    def forget(self) -> None:
        """Give up the sheet, of a workbook that is given up or done."""
        self._sheet = None

    def finish(self) -> None:
        """Set how wide its columns are, and the filter."""
        for column, width in enumerate(self._widths):
            self._sheet.set_column(column, column, width)
        self._sheet.autofilter(0, 0, min(self.rows, _ROWS - 1), self.width - 1)

    def _put(self, column: int, value: Any) -> None:
        sheet, row = self._sheet, self.rows
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value)
        elif isinstance(value, int | float):
            if abs(value) < _EXACT:
                sheet.write_number(row, column, value)
            else:
                sheet.write_string(row, column, str(value))
        elif isinstance(value, datetime):
            sheet.write_datetime(row, column, value.replace(tzinfo=None), self._formats["moment"])
        elif isinstance(value, date) and value.year > _FIRST_YEAR:
            sheet.write_datetime(row, column, value, self._formats["date"])
        else:
            is_day = isinstance(value, date)
            text = value if isinstance(value, str) else str(value) if is_day else as_json(value)
            text = _CONTROL.sub("", text)
            shown = _fitting(text)
            self.cut += len(shown) < len(text)
            sheet.write_string(row, column, shown)


_LEAST = {"timestamp": 20, "date": 12}
"""How wide a column of such values is at least; a number is wider than that only if it is large."""


def _fitting(text: str) -> str:
    """As much of a text as a cell takes, which counts in UTF-16."""
    if 2 * len(text) <= _LONGEST:
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return (
        units[: 2 * _LONGEST].decode("utf-16-le", "ignore") if len(units) > 2 * _LONGEST else text
    )


def _covered(content: Content | None) -> list[Any]:
    """What the first sheet has of a coverage."""
    if content is None or content.coverage is None:
        return [None] * 4
    coverage = content.coverage
    return [coverage.complete, coverage.final, coverage.missing, coverage.lacking]


def _cells(size: Size) -> int:
    return size.rows * size.columns


_TITLES = {**TABLES, ACCOUNTS.name: ACCOUNTS}


def _title(table: str, language: str) -> str:
    """What a sheet is called."""
    if language != "zh":
        return table
    if table in _TITLES:
        return _TITLES[table].title.zh
    name = max((name for name in INTERFACES if f"{table}_".startswith(f"{name}_")), default="")
    if not name:
        return table
    [title] = titles_of([table[len(name) + 1 :]], language) if table != name else [""]
    return f"{INTERFACES[name]} {title}".strip()


def _sheet_name(title: str, taken: set[str]) -> str:
    """A name that Excel takes; none twice."""
    base = re.sub(r"[\[\]:*?/\\]", " ", title).strip("' ")[:_NAME]
    name, number = base, 2
    while name.lower() in taken:
        end = f"~{number}"
        name, number = base[: _NAME - len(end)] + end, number + 1
    return name


def _width(text: str) -> int:
    """How wide a text is, in Latin letters."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)


def _noted(path: Path) -> str:
    """What an export has noted in a workbook; raises `UsageError` for somebody else's."""
    try:
        with zipfile.ZipFile(path) as book:
            tree = ET.fromstring(book.read(_PROPERTIES))
        for each in tree:
            if each.get("name") == "harvester":
                return "".join(each.itertext())
    except (KeyError, zipfile.BadZipFile, ET.ParseError):
        pass
    raise UsageError("{} is not a workbook of harvester; choose another file, or remove it", path)
