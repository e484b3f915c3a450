"""XLSX: ``xlsx:FILE``, a workbook with a sheet a table.

Rule: the workbook is written anew as a whole if anything differs; its stamps are in its properties.

Excel takes 31 characters for the name of a sheet, 1,048,576 rows, whole numbers of 15 digits, no
time zones, and no control characters.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from harvester.base.lock import FileLock
from harvester.errors import ExportError, UsageError, needs
from harvester.exports.base import Held, Part, TableShape, Unit
from harvester.exports.files import as_json, failing, show, titles_of
from harvester.sinks.spec import Spec
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


class Xlsx:
    """A workbook."""

    whole = True
    language = "en"

    def __init__(self, spec: Spec, shape: str) -> None:
        path = Path(spec.place)
        self.path = path.resolve() if path.is_symlink() else path  # the link itself stays
        self.identity = f"xlsx:{spec.place}"
        self.shape = spec.options.get("shape", shape)
        self._header = spec.options.get("header", "")
        self.form = f"xlsx {self._header}"
        self.harvest = self.digest = ""
        self._draft = self.path.with_name(f".{self.path.name}.new")
        self._claim: FileLock | None = None
        self._book: Any = None
        self._sheets: list[_Sheet] = []

    def __repr__(self) -> str:
        return f"<Xlsx {self.path}>"

    def open(self, *, create: bool) -> Held:
        with failing(self.identity):
            if self.path.is_dir():
                raise UsageError(f"{self.path} is a directory; name a file: xlsx:FILE.xlsx")
            if create:
                if not self.path.parent.is_dir():
                    raise UsageError(f"there is no directory {self.path.parent}")
                lock = self.path.with_name(f".{self.path.name}.lock")
                self._claim = FileLock(lock, self.identity)
                shutil.rmtree(self._draft, ignore_errors=True)  # left by a killed export
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
        sheets = {table.name: self._sheet(table) for table in tables}
        for unit in units:
            for chunk in unit.chunks():
                for name, rows in chunk.items():
                    sheets[name].write(rows)
                self._check_size()

    def _begin(self) -> None:
        self._draft.mkdir()
        options = {
            "constant_memory": True,
            "strings_to_urls": False,
            "strings_to_formulas": False,
            "tmpdir": str(self._draft),
        }
        self._book = xlsxwriter.Workbook(str(self._draft / self.path.name), options)
        self._contents = self._book.add_worksheet("harvester")
        self._heading = self._book.add_format({"bold": True, "bottom": 1})
        self._formats = {
            "date": self._book.add_format({"num_format": "yyyy-mm-dd"}),
            "moment": self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        }
        note = f"{self.harvest} {self.digest}"
        self._book.set_custom_property("harvester", note, "text")

    def _sheet(self, table: TableShape) -> _Sheet:
        taken = {"harvester", *(sheet.name.lower() for sheet in self._sheets)}
        made = _Sheet(
            self._book.add_worksheet(_sheet_name(_title(table.name, self._header), taken)),
            table,
            titles_of(table.schema.names, self._header),
            self._heading,
            self._formats,
        )
        self._sheets.append(made)
        return made

    def _check_size(self) -> None:
        cells = sum(sheet.rows * sheet.width for sheet in self._sheets)
        longest = max(self._sheets, key=lambda sheet: sheet.rows)
        if longest.rows >= _ROWS or cells > _CELLS:
            raise ExportError(
                f"{self.identity}: too much for a workbook ({longest.table}: {longest.rows:,} rows,"
                f" {cells:,} cells altogether; at most {_ROWS - 1:,} rows a sheet and {_CELLS:,}"
                " cells); export csv:DIR, or name fewer interfaces (--endpoint)"
            )

    def finish(self) -> None:
        with failing(self.identity):
            if self._book is None:
                self._begin()
            self._write_contents()
            try:
                self._book.close()
            except FileCreateError as exc:
                raise exc.args[0] from exc  # the error of the system
            self._book = None
            show(self._draft / self.path.name, self.path)

    def _write_contents(self) -> None:
        """The first sheet: what is in the workbook."""
        chinese = self._header == "zh"
        heads = ("工作表", "表", "行数", "首日", "末日") if chinese else (
            "Sheet", "Table", "Rows", "First day", "Last day"
        )  # fmt: skip
        for column, head in enumerate(heads):
            self._contents.write_string(0, column, head, self._heading)
        for row, sheet in enumerate(self._sheets, 1):
            self._contents.write_string(row, 0, sheet.name)
            self._contents.write_string(row, 1, sheet.table)
            self._contents.write_number(row, 2, sheet.rows)
            for column, day in enumerate(sheet.days, 3):
                self._contents.write_datetime(row, column, day, self._formats["date"])
        self._contents.set_column(0, 1, 34)
        self._contents.set_column(2, 4, 12)
        self._contents.freeze_panes(1, 0)

    def close(self) -> None:
        book, self._book = self._book, None
        if book is not None:  # it failed
            book.fileclosed = True
            for sheet in book.worksheets():
                sheet.row_data_fh.close()
        claim, self._claim = self._claim, None
        if claim is not None:  # else the draft is another one's
            shutil.rmtree(self._draft, ignore_errors=True)
            claim.release()


class _Sheet:
    """A sheet that grows at its end."""

    def __init__(
        self, sheet: Any, table: TableShape, titles: Sequence[str], heading: Any, formats: Any
    ) -> None:
        self.name: str = sheet.get_name()
        self.table = table.name
        self.width = len(titles)
        self.rows = 0
        self.days: list[date] = []
        self._sheet = sheet
        self._formats = formats
        self._day = table.schema.names.index("_begin_date")
        sheet.freeze_panes(1, 0)
        for column, (title, field) in enumerate(zip(titles, table.schema, strict=True)):
            sheet.write_string(0, column, title, heading)
            is_text = str(field.type) == "string"
            sheet.set_column(column, column, max(_width(title) + 2, 24 if is_text else 11))

    def write(self, rows: Any) -> None:
        days = [day for day in rows.column(self._day).to_pylist() if day is not None]
        if days:
            self.days = [min([*self.days, *days]), max([*self.days, *days])]
        for values in zip(*[column.to_pylist() for column in rows.columns], strict=True):
            self.rows += 1
            if self.rows < _ROWS:
                for column, value in enumerate(values):
                    if value is not None:
                        self._put(column, value)

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
            if 2 * len(text) > _LONGEST and len(text.encode("utf-16-le")) // 2 > _LONGEST:
                raise ExportError(
                    f"{self.table}: a text of {len(text):,} characters is too long for a cell"
                    f" (at most {_LONGEST:,}); export csv:DIR, or choose ?shape=flat"
                )
            sheet.write_string(row, column, text)


def _title(table: str, language: str) -> str:
    """What a sheet is called."""
    if language != "zh":
        return table
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
    raise UsageError(f"{path} is no workbook of harvester; choose another file, or remove it")
