"""XLSX: ``xlsx:FILE``, a workbook with a sheet a table; the first sheet says what is in it.

The sheet *columns* says what each column is, and so does a note at its head: readers of a day and
of all days so far have the same name, and only the former may be summed.

Rule: the workbook is written anew as a whole if anything differs; its stamps are in its properties.
The comment of its archive has a checksum of all its bytes, by which a change of somebody else is
found, and the names of its tables.

Excel takes 31 characters for the name of a sheet, 1,048,576 rows, whole numbers of 15 digits, no
time zones, and no control characters.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import traceback
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from harvester.errors import ExportError, UsageError
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Content, Held, Part, TableShape, Unit
from harvester.exports.charts import SHEET, Charts, print_wide
from harvester.exports.files import TOLD, as_json, heads_of, titles_of, told_of
from harvester.exports.listed import COVERAGE
from harvester.exports.noted import failing
from harvester.exports.single import SingleFile
from harvester.ledger.reach import STATES
from harvester.sinks.spec import Spec
from harvester.tables import ACCOUNTS, TABLES
from harvester.texts import joined, say
from harvester.wechat.titles import INTERFACES

_ROWS = 1_048_576
_CELLS = 4_000_000
"""Cells that Excel and LibreOffice open in a reasonable time."""
_NAME = 31
_EXACT = 10**15
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LONGEST = 32_767
_FIRST_YEAR = 1900
"""Excel has no days before it, and takes it for a leap year."""
_1970 = (date(1970, 1, 1) - date(1899, 12, 30)).days
"""The first day of 1970, as Excel counts days."""
_MICROSECONDS = 86_400 * 10**6
_PROPERTIES = "docProps/custom.xml"
_CHANGED = "changed"
"""In the place of a digest, of a workbook that is not as it was written."""
_DIGITS = 32
_SHOWN_GAPS = 200
_WIDEST = 60
_TOLD = {
    "name": 26,
    "title": 24,
    "unit": 12,
    "figure": 30,
    "meaning": 60,
    "denominator": 20,
    "console": 24,
    "not_comparable_with": 60,
}
"""What the sheet *columns* has of `TOLD`, and how wide it is there; notes have the same."""
COLUMNS = {"en": "columns", "zh": "列说明"}
_NOTE_WIDTH, _NOTE_LETTERS, _NOTE_LINE = 360, 46, 20
"""Of a note: pixels, the Latin letters of a line, and the pixels from line to line."""
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
        "and {:,} more ranges of days",
        "No ledger is known for these records, so it is not known what is missing.",
        "Sheet {}: texts cut after 32,767 characters, the most that a cell takes: {:,}.",
        "What a column is, and whether it may be summed: sheet columns, and the note at its head.",
        "{}: {:,} of {:,} accounts begin later than {}, the last on {}; sums before lack them.",
        "Sheet {}: all accounts together, since their days one by one would be too many rows.",
    ),
    "zh": (
        ("工作表", "表", "行数", "公众号数", "首日", "末日", "完整截至", "最终截至", "缺失天数",
         "有缺失的公众号数", "最近采集时间 (UTC)"),
        ("完整截至：到这一天为止，每个公众号所要求的每一天都已采集。",
         "最终截至：到这一天为止，数据不会再变动。",
         "缺失天数：要求采集但还没有的天数，各公众号相加。"),
        ("缺失的公众号", "接口", "从", "到", "状态"),
        "另有 {:,} 段日期",
        "没有找到这些数据的台账，因此无从得知缺少什么。",
        "工作表 {}：{:,} 个文本在 32,767 个字符处截断，这是单元格的上限。",
        "每一列的含义、能否相加：见工作表“列说明”和表头的批注。",
        "{}：{:,} 个公众号（共 {:,} 个）晚于 {} 开始，最晚 {}；此前各天的合计不含它们。",
        "工作表 {}：逐个公众号列出会超过行数上限，因此合并了全部公众号。",
    ),
}  # fmt: skip
"""Of the first sheet, by language: its columns, notes on them, the columns of what is missing, and
six sentences."""


class Xlsx(SingleFile):
    """A workbook."""

    scheme = "xlsx"
    whole = True

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._header = spec.options.get("header", "")
        self.form = f"xlsx {self._header} with notes"
        self._book: Any = None
        self._told: Any = None
        self._rows_told = 0
        self._sheets: list[_Sheet] = []
        self._edited = False  # by somebody, who may have sheets and formulas there

    def open(self, *, create: bool, thorough: bool = False) -> Held:
        with failing(self.identity):
            self.take(create=create)
            if not self.path.exists():
                return Held()
            harvest, _, digest = _noted(self.path).partition(" ")
            tables = _signed(self.path)
            self._edited = create and tables is None
            return Held(harvest, digest=_CHANGED if tables is None else digest, tables=tables or ())

    def write(
        self, tables: Sequence[TableShape], units: Iterable[Unit], removed: Sequence[Part]
    ) -> None:
        with failing(self.identity):
            if self._book is None:
                self._begin()
            sheets = {table.name: self._sheet(table, tables[0].name) for table in tables}
            for unit in units:
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        sheets[name].write(rows)
                        self._charts.note(name, rows)
                    self._check_size()

    def _begin(self) -> None:
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
            "amount": self._book.add_format({"num_format": "#,##0.00"}),
            "moment": self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            "text": self._book.add_format({"text_wrap": True, "valign": "top"}),
        }
        note = f"{self.harvest} {self.digest}"
        self._book.set_custom_property("harvester", note, "text")

    def _sheet(self, table: TableShape, interface: str) -> _Sheet:
        if self._told is None and table.name != COVERAGE.name:
            self._begin_told()
        taken = {"harvester", *SHEET.values(), *COLUMNS.values()}
        taken.update(sheet.name.lower() for sheet in self._sheets)
        made = _Sheet(
            self._book.add_worksheet(_sheet_name(_title(table.name, self._header), taken)),
            table,
            interface,
            heads_of(table, self._header),
            self._heading,
            self._formats,
        )
        self._sheets.append(made)
        if self._told is None:  # it is behind the coverage
            self._begin_told()
        self._tell(made, table)
        return made

    def _begin_told(self) -> None:
        language = self._header or self.language
        self._told = sheet = self._book.add_worksheet(COLUMNS[language])
        print_wide(sheet)
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, 0, 28)
        sheet.write_string(0, 0, _TEXTS[language][0][0], self._heading)
        for place, (name, width) in enumerate(_TOLD.items(), 1):
            sheet.set_column(place, place, width)
            sheet.write_string(0, place, getattr(TOLD[name], language), self._heading)

    def _tell(self, sheet: _Sheet, table: TableShape) -> None:
        language = self._header or self.language
        for column, told in enumerate(told_of(table, "", language)):
            self._rows_told += 1
            texts = {name: _fitting(_CONTROL.sub("", told[name])) for name in _TOLD}
            for place, text in enumerate([sheet.name, *texts.values()]):
                if text:
                    self._told.write_string(self._rows_told, place, text, self._formats["text"])
            colon = "：" if language == "zh" else ": "
            head = told["title" if self._header else "name"]
            lines = [
                f"{getattr(TOLD[name], language)}{colon}{text}"
                for name, text in texts.items()
                if text and text != head
            ]
            sheet.note(column, lines)

    def _check_size(self) -> None:
        cells = sum(sheet.rows * sheet.width for sheet in self._sheets)
        if cells <= _CELLS and all(sheet.rows < _ROWS for sheet in self._sheets):
            return
        listed = [
            say("{} {:,} rows of {} columns", sheet.table, sheet.rows, sheet.width)
            for sheet in sorted(self._sheets, key=lambda sheet: -sheet.rows * sheet.width)
            if sheet.rows
        ]
        raise ExportError(
            "{}: too much data for a workbook: {:,} cells so far ({}; at most {:,} rows per sheet"
            " and {:,} cells); choose tables (xlsx:FILE?tables=A,B), days (--start, --end) or"
            " accounts (--appid), or export csv:DIR or duckdb:FILE",
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
            if self._told is not None:
                self._told.autofilter(0, 0, self._rows_told, len(_TOLD))
            name = SHEET[self._header or self.language]
            self._charts.write(self._book, name, self._formats, self._heading)
            try:
                self._book.close()
            except FileCreateError as exc:
                raise exc.args[0] from exc  # the error of the system
            self._book = None
            _sign(self.draft, [sheet.table for sheet in self._sheets])
            if self._edited:
                kept = (self.path.with_suffix(f".edited-{n}.xlsx") for n in count(1))
                aside = next(path for path in kept if not os.path.lexists(path))
                self.keep(aside)
            self.show()

    def _write_contents(self) -> None:
        heads, notes, _, _, unknown, cut, told, later, all_of = _TEXTS[
            self._header or self.language
        ]
        sheet = self._contents
        self._put_row(0, heads, self._heading)
        row = 0
        days = {each.table: each.days for each in self._sheets}
        for row, each in enumerate(self._sheets, 1):
            content = self.contents.get(each.table)  # of an interface, not of a list in it
            first_and_last = days.get(each.interface, each.days)
            accounts = None if None in each.appids else len(each.appids)
            own = [each.name, each.table, each.rows, accounts, *first_and_last]
            self._put_row(row, [*own, *_covered(content), each.latest])
        without = [
            (name, content)
            for name, content in sorted(self.contents.items())
            if name not in days and (content.rows or content.coverage is not None)
        ]
        for row, (name, content) in enumerate(without, row + 1):  # noqa: B020  (behind the last)
            accounts = None if content.rows else 0
            self._put_row(row, [None, name, content.rows, accounts, None, None, *_covered(content)])
        print_wide(sheet)
        sheet.autofilter(0, 0, row, len(heads) - 1)
        sheet.freeze_panes(1, 2)
        for column, head in enumerate(heads):
            wide = 34 if column < 2 else max(_width(head) + 4, 13)
            sheet.set_column(column, column, 20 if column == len(heads) - 1 else wide)
        known = not self.contents or any(
            each.coverage is not None for each in self.contents.values()
        )
        above = [cut.format(each.name, each.cut) for each in self._sheets if each.cut]
        above += [all_of.format(each.name) for each in self._sheets if None in each.appids]
        for name, content in sorted(self.contents.items()):
            if (covered := content.coverage) and (begins := covered.later()):
                number = len(begins), len(covered.begins)
                above.append(later.format(name, *number, covered.first, max(begins.values())))
        below = [*above, *([told] if days else []), *(notes if known else [unknown])]
        for row, note in enumerate(below, row + 2):  # noqa: B020
            self._put_row(row, [note])
        self._write_gaps(row + 2)

    def _write_gaps(self, row: int) -> None:
        language = self._header or self.language
        _, _, heads, more, *_ = _TEXTS[language]
        states = {state.name: getattr(state, language) for state in STATES if state.lacking}
        runs = [run for _, each in sorted(self.contents.items()) for run in each.runs]
        gaps = [run for run in runs if run.state in states]
        if gaps:
            self._put_row(row, heads, self._heading)
        for row, gap in enumerate(gaps[:_SHOWN_GAPS], row + 1):  # noqa: B020
            self._put_row(row, [*gap[:4], states[gap.state]])
        left = len(gaps[_SHOWN_GAPS:])
        if left:
            self._put_row(row + 1, [more.format(left)])

    def _put_row(self, row: int, values: Iterable[Any], form: Any = None) -> None:
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
        self._book = self._contents = self._told = None
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
        self.appids: set[str | None] = set()
        self._sheet = sheet
        self._formats = formats
        self._days = _days_of(table)
        kinds = [str(each) for each in table.schema.types]
        self._forms = [
            formats.get("count" if column.is_amount and kind == "int64" else _FORMS.get(kind, ""))
            for kind, column in zip(kinds, table.columns, strict=True)
        ]
        print_wide(sheet)
        sheet.freeze_panes(1, 0)
        self._widths = []
        for column, (title, kind) in enumerate(zip(titles, kinds, strict=True)):
            sheet.write_string(0, column, title, heading)
            least = _LEAST.get(_FORMS.get(kind, ""), 9)
            self._widths.append(max(_width(title) + 4, least))  # beside the filter's button

    def note(self, column: int, lines: Sequence[str]) -> None:
        if not lines:
            return
        high = 1 + sum(1 + _width(line) // _NOTE_LETTERS for line in lines)
        size = {"width": _NOTE_WIDTH, "height": _NOTE_LINE * high, "font_size": 9}
        self._sheet.write_comment(0, column, _fitting("\n".join(lines)), size)

    def write(self, rows: Any) -> None:
        self._measure(rows)
        columns = [_numbered(column).to_pylist() for column in rows.columns]
        for values in zip(*columns, strict=True):
            self.rows += 1
            if self.rows < _ROWS:
                for column, value in enumerate(values):
                    if value is not None:
                        self._put(column, value)

    def _measure(self, rows: Any) -> None:
        self.appids.update(rows["_appid"].unique().to_pylist())
        if self._days is not None:
            found = [pc.min(rows[self._days[0]]).as_py(), pc.max(rows[self._days[1]]).as_py()]
            days = [day for day in (*self.days, *found) if day is not None]
            self.days = min(days, default=None), max(days, default=None)
        if "_fetched_at" in rows.schema.names:
            latest = pc.max(rows["_fetched_at"]).as_py()
            if latest is not None:
                latest = latest.replace(tzinfo=None)
                self.latest = max(self.latest or latest, latest)
        for column in range(self.width if self.rows < _MEASURED else 0):
            values = rows.column(column)[:_MEASURED]
            shown = _AS_SHOWN.get(str(values.type))
            if shown:
                texts = [shown.format(value) for value in values.to_pylist() if value is not None]
                widest = max([_width(text) + 2 for text in texts], default=0)
                self._widths[column] = max(self._widths[column], min(widest, _WIDEST))

    def forget(self) -> None:
        self._sheet = None

    def finish(self) -> None:
        for column, width in enumerate(self._widths):
            self._sheet.set_column(column, column, width)
        self._sheet.autofilter(0, 0, min(self.rows, _ROWS - 1), self.width - 1)

    def _put(self, column: int, value: Any) -> None:
        sheet, row, kind = self._sheet, self.rows, type(value)
        if kind is int or kind is float:
            form = self._forms[column]
            if kind is float and form is None and abs(value) >= _LARGE:
                form = self._formats["amount"]
            if abs(value) < _EXACT:
                sheet.write_number(row, column, value, form)
            else:
                sheet.write_string(row, column, str(value))
        elif kind is date and value.year > _FIRST_YEAR:
            sheet.write_datetime(row, column, value, self._forms[column])
        elif kind is bool:
            sheet.write_boolean(row, column, value)
        else:
            text = value if kind is str else str(value) if kind is date else as_json(value)
            text = text if text.isprintable() else _CONTROL.sub("", text)
            shown = _fitting(text)
            self.cut += len(shown) < len(text)
            sheet.write_string(row, column, shown)


_LARGE = 1000
"""A number with a fraction has a separator, and two digits behind the point, from it on."""
_AS_SHOWN = {"string": "{}", "int64": "{:,}", "int32": "{:,}", "double": "{:,.2f}"}
_FORMS = {"date32[day]": "date", "timestamp[us, tz=UTC]": "moment"}
_LEAST = {"moment": 20, "date": 12}
"""How wide a column of such values is at least; a number is wider than that only if it is large."""


def _numbered(column: Any) -> Any:
    """Days and moments as numbers, which Excel has for them: objects would take longer."""
    if pa.types.is_date(column.type):
        first = pc.min(column).as_py()
        if first is not None and first.year > _FIRST_YEAR:
            return pc.add(column.cast(pa.int32()), _1970)
    elif pa.types.is_timestamp(column.type):
        moments = column.cast(pa.int64())
        days = pc.divide(moments, _MICROSECONDS)
        rest = pc.subtract(moments, pc.multiply(days, _MICROSECONDS)).cast(pa.float64())
        return pc.add(pc.add(days, _1970), pc.divide(rest, float(_MICROSECONDS)))
    return column


def _days_of(table: TableShape) -> tuple[str, str] | None:
    """The columns with the first and the last day of a row; a request may be of more days."""
    names = table.schema.names
    if "ref_date" in names and str(table.schema.field("ref_date").type) == "date32[day]":
        return "ref_date", "ref_date"
    if "_end_date" in names:
        return "_begin_date", "_end_date"
    if table.name == COVERAGE.name:
        return "first_day", "last_day"
    days = [field.name for field in table.schema if str(field.type) == "date32[day]"]
    return (days[0], days[0]) if days else None


def _fitting(text: str) -> str:
    """As much of a text as a cell takes, which counts in UTF-16."""
    if 2 * len(text) <= _LONGEST:
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return (
        units[: 2 * _LONGEST].decode("utf-16-le", "ignore") if len(units) > 2 * _LONGEST else text
    )


def _covered(content: Content | None) -> list[Any]:
    if content is None or content.coverage is None:
        return [None] * 4
    coverage = content.coverage
    return [coverage.complete, coverage.final, coverage.lacking, len(coverage.behind)]


_TITLES = {**TABLES, ACCOUNTS.name: ACCOUNTS, COVERAGE.name: COVERAGE}


def _title(table: str, language: str) -> str:
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


def _sign(path: Path, tables: Sequence[str]) -> None:
    """Note the tables of a workbook in its comment, and behind them a checksum of all before."""
    with zipfile.ZipFile(path, "a") as book:
        book.comment = " ".join(tables).encode() + bytes(_DIGITS)
    with path.open("r+b") as file:
        checksum = _checksum_of(file)
        file.seek(-_DIGITS, os.SEEK_END)
        file.write(checksum)


def _signed(path: Path) -> list[str] | None:
    """The tables of a workbook that is as it was written, else None."""
    with zipfile.ZipFile(path) as book, path.open("rb") as file:
        is_whole = book.comment[-_DIGITS:] == _checksum_of(file)
        return book.comment[:-_DIGITS].decode().split() if is_whole else None


def _checksum_of(file: BinaryIO) -> bytes:
    """Of all that is in an open file but a checksum at its end."""
    made, left = blake2b(digest_size=_DIGITS // 2), file.seek(0, os.SEEK_END) - _DIGITS
    file.seek(0)
    while left > 0 and (some := file.read(min(left, 1 << 20))):
        made.update(some)
        left -= len(some)
    return made.hexdigest().encode()
