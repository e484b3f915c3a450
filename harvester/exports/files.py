"""Parquet and CSV: ``parquet:DIR``, ``csv:DIR``.

Rule: a file is replaced as a whole; a reader sees it as it was before, or as it is after.

Parquet has one file per table and month, ``DIR/<table>/2026-01.parquet``; in a bucket a large month
has several, ``2026-01.2.parquet``.  CSV has one file per table, ``DIR/<table>.csv``: the rows of
months that did not change are copied from the former file.  ``DIR/<table>.columns.csv`` beside it
says what its columns are; it is written with the table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from harvester.base.codec import encode
from harvester.base.spreadsheet import BOM, FORMULA
from harvester.errors import ExportError
from harvester.exports.arrow import pa, pc
from harvester.exports.base import WHOLE, Part, TableShape, Unit
from harvester.exports.noted import ABOUT, Months, Noted
from harvester.exports.shapes import LABEL
from harvester.sinks.spec import Spec
from harvester.tables import NO_FIGURE
from harvester.wechat.titles import Title, field_title

if TYPE_CHECKING:
    from harvester.exports.bucket import Bucket
    from harvester.exports.folder import Folder

_PARQUET = re.compile(rf"([^/.][^/]*)/(?:\d{{4}}-\d{{2}}|{WHOLE})(?:\.\d+)?\.parquet")
_CSV = re.compile(rf"([^/.][^/]*?)(?:{re.escape(ABOUT)}|\.csv)")
_ROW_GROUP = 1 << 16
TOLD = {
    "name": Title("列名", "Name"),
    "title": Title("标题", "Title"),
    "type": Title("类型", "Type"),
    "unit": Title("单位", "Unit"),
    "figure": Title("覆盖的时段", "Time it covers"),
    "console": Title("公众平台名称", "Name in WeChat's console"),
    "denominator": Title("分母", "Denominator"),
    "not_comparable_with": Title("不可比较", "Not to be compared with"),
    "meaning": Title("含义", "Meaning"),
}
"""What is said of a column, and the titles of that."""
_TYPES = {
    "date32[day]": "date",
    "int64": "int",
    "int32": "int",
    "double": "float",
    "string": "text",
    "bool": "bool",
    "timestamp[us, tz=UTC]": "time (UTC)",
}


class Parquet(Noted):
    """One file per table and month, in a directory or a bucket."""

    scheme = "parquet"

    def place_of(self, spec: Spec) -> Folder | Bucket:
        if not spec.place.startswith("s3://"):
            return super().place_of(spec)
        from harvester.exports.bucket import OPTIONS, Bucket

        options = {name: spec.options[name] for name in OPTIONS if name in spec.options}
        return Bucket(spec.place, options, lambda: self.stopped())

    def table_of(self, name: str) -> str:
        found = _PARQUET.fullmatch(name)
        return found[1] if found else ""

    def rows_in(self, data: bytes, number: int) -> Iterable[Sequence[Any]]:
        try:
            rows = pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, OSError):  # it was damaged
            return []
        return zip(*[column.to_pylist() for column in rows.columns[:number]], strict=True)

    def write_drafts(
        self, tables: Sequence[TableShape], units: Sequence[Unit], removed: Sequence[Part]
    ) -> dict[str, Months]:
        made: dict[str, Months] = {}
        for unit in units:
            with ExitStack() as stack:
                months = {
                    table.name: stack.enter_context(closing(_Month(table, unit.month, self._place)))
                    for table in tables
                }
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        months[name].write(rows)
            names = [name for month in months.values() for name in month.names]
            made.update({name: {unit.month: (unit.stamp, 0, 0)} for name in names})
        return made


class _Month:
    """The drafts of a month of a table: one file, or several where a file has a limited size."""

    def __init__(self, table: TableShape, month: str, place: Folder | Bucket) -> None:
        self.names: list[str] = []
        self._table, self._month, self._place = table, month, place
        self._file: BinaryIO | None = None
        self._writer: Any = None
        self._begin()

    def _begin(self) -> None:
        number = len(self.names) + 1
        mark = f".{number}" if number > 1 else ""
        self.names.append(f"{self._table.name}/{self._month}{mark}.parquet")
        self._file = self._place.new_draft(self.names[-1])
        try:
            self._writer = pq.ParquetWriter(self._file, self._table.schema, compression="zstd")
        except BaseException:
            self._file.close()
            raise

    def write(self, rows: Any) -> None:
        """Write rows; they need no more space than they have in memory."""
        most = self._place.most
        if most is None:
            self._writer.write_batch(rows, row_group_size=_ROW_GROUP)
            return
        step = max(1, len(rows) * (most // 4) // max(rows.nbytes, 1))
        for begin in range(0, len(rows), step):
            assert self._file is not None, "closed"
            if self._file.tell() > most // 2:
                self.close()
                self._begin()
            self._writer.write_batch(rows.slice(begin, step), row_group_size=_ROW_GROUP)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        file, self._file = self._file, None
        if file is not None:
            with file:
                writer.close()


class Csv(Noted):
    """One file per table, with a byte order mark, by which Excel recognises UTF-8."""

    scheme = "csv"

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        self._header = spec.options.get("header", "")
        self._raw = spec.options.get("raw") == "1"
        self._path = Path(spec.place)
        self.form = f"csv {self._header} {self._raw} with columns and retired ones"

    def table_of(self, name: str) -> str:
        found = _CSV.fullmatch(name)
        return found[1] if found else ""

    def rows_in(self, data: bytes, number: int) -> Iterable[Sequence[Any]]:
        for row in [*csv.reader(io.StringIO(data.decode(errors="replace"), newline=""))][1:]:
            yield [
                each[1:] if each[:1] == "'" and re.match(FORMULA, each[1:]) else each
                for each in [*row, *[""] * number][:number]
            ]

    def write_drafts(
        self, tables: Sequence[TableShape], units: Sequence[Unit], removed: Sequence[Part]
    ) -> dict[str, Months]:
        stamps = {unit.month: unit.stamp for unit in units}
        written = self._write_parts(tables, units)
        made: dict[str, Months] = {}
        for table in tables:
            months = {month for name, month in removed if name == table.name}
            name = f"{table.name}.csv"
            made[name] = self._join(table, name, written[table.name], stamps, months)
            about = f"{table.name}{ABOUT}"
            with self._place.new_draft(about) as file:
                file.write(self._about(table))
            made[about] = {month: (stamp, 0, 0) for month, (stamp, _, _) in made[name].items()}
        return made

    def _about(self, table: TableShape) -> bytes:
        head = [
            getattr(each, self._header) if self._header else name for name, each in TOLD.items()
        ]
        rows = [head, *[[*each.values()] for each in told_of(table, self._header, self.language)]]
        if not self._raw:
            rows = [[re.sub(FORMULA, r"'\g<0>", text) for text in row] for row in rows]
        return BOM.encode() + _rows(rows)

    def _write_parts(
        self, tables: Sequence[TableShape], units: Sequence[Unit]
    ) -> dict[str, dict[str, tuple[int, int]]]:
        """Write the rows of the units; returns the bytes of each month, by table."""
        found: dict[str, dict[str, tuple[int, int]]] = {table.name: {} for table in tables}
        with ExitStack() as stack:
            files = {
                table.name: stack.enter_context(self._place.new_draft(_part(table)))
                for table in tables
            }
            for unit in units:
                begins = {name: file.tell() for name, file in files.items()}
                for chunk in unit.chunks():
                    for name, rows in chunk.items():
                        files[name].write(_lines(rows, escape=not self._raw))
                for name, file in files.items():
                    found[name][unit.month] = begins[name], file.tell()
        return found

    def _join(
        self,
        table: TableShape,
        name: str,
        written: Mapping[str, tuple[int, int]],
        stamps: Mapping[str, str],
        removed: Collection[str],
    ) -> Months:
        """Make the file of a table from new rows, and from those of the former file that stay."""
        former: Months = self._files[name].months if name in self._files else {}
        kept = {month: former[month] for month in {*former} - {*written} - {*removed}}
        months: dict[str, tuple[str, int, int]] = {}
        with ExitStack() as stack:
            out = stack.enter_context(self._place.new_draft(name))
            new = stack.enter_context(self._place.draft(_part(table)))
            old = stack.enter_context((self._path / name).open("rb")) if kept else new
            out.write(BOM.encode() + _rows([heads_of(table, self._header)]))
            for month in sorted({*kept, *written}):
                begin = out.tell()
                if month in written:
                    _copy(new, written[month], out)
                    stamp = stamps[month]
                else:
                    stamp, first, last = kept[month]
                    _copy(old, (first, last), out)
                months[month] = stamp, begin, out.tell()
        return months


def _part(table: TableShape) -> str:
    return f"{table.name}.part"


def _copy(source: BinaryIO | BufferedIOBase, between: tuple[int, int], out: BinaryIO) -> None:
    begin, end = between
    source.seek(begin)
    while begin < end:
        some = source.read(min(end - begin, 1 << 20))
        if not some:
            raise ExportError("a file of the export was truncated in the meantime")
        out.write(some)
        begin += len(some)


def _rows(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def told_of(table: TableShape, header: str, language: str) -> Iterator[dict[str, str]]:
    """The texts of `TOLD` for each column of a table; header: the language of the titles."""
    titles = heads_of(table, header or language)
    for field, column, title in zip(table.schema, table.columns, titles, strict=True):
        figure = column.figure or NO_FIGURE
        kind = _TYPES.get(str(field.type), "JSON")
        texts = (figure.unit, figure.covers, figure.console, figure.of, column.apart, column.about)
        told = [field.name, title, kind, *[getattr(text, language) for text in texts]]
        yield dict(zip(TOLD, told, strict=True))


def heads_of(table: TableShape, language: str) -> list[str]:
    """The heads of a table's columns: their titles, or their names without a language."""
    titles = titles_of(table.schema.names, language)
    if not language:
        return titles
    mark = getattr(_RETIRED, language)
    return [
        f"{title} {mark}" if column.retired else title
        for title, column in zip(titles, table.columns, strict=True)
    ]


def titles_of(names: Sequence[str], language: str) -> list[str]:
    """The titles of columns, each another one; the names themselves without a language."""
    found: list[str] = []
    for name in names:
        title = _title(name, language) if language else name
        found.append(f"{title} ({name})" if title in found else title)
    return found


_RETIRED = Title("(仅已下线接口)", "(retired interfaces only)")
_OF_LABELS = {"zh": "{}名称", "en": "{}: label"}


def _title(name: str, language: str) -> str:
    if name.endswith(LABEL) and field_title(name, language) == name:
        return _OF_LABELS[language].format(_title(name.removesuffix(LABEL), language))
    inner = name
    while True:
        title = field_title(inner, language)
        if title != inner:
            return title
        _, mark, inner = inner.partition("_")
        if not mark:
            return name


def _lines(rows: Any, *, escape: bool) -> bytes:
    columns = [_as_text(column, escape=escape) for column in rows.columns]
    out = pa.BufferOutputStream()
    options = pacsv.WriteOptions(include_header=False, quoting_style="needed")
    pacsv.write_csv(pa.record_batch(columns, names=rows.schema.names), out, options)
    return bytes(out.getvalue())


def _as_text(column: Any, *, escape: bool) -> Any:
    if pa.types.is_timestamp(column.type):
        coded = column.dictionary_encode()  # rows of a window have the same time
        whole = coded.dictionary.cast(pa.timestamp("s", tz="UTC"))  # as it was fetched
        return pc.strftime(whole, "%Y-%m-%d %H:%M:%S").take(coded.indices)
    if pa.types.is_nested(column.type):
        return pa.array([None if each is None else as_json(each) for each in column.to_pylist()])
    if escape and pa.types.is_string(column.type):
        risky = pc.match_substring_regex(column, FORMULA)
        if pc.any(risky).as_py():
            return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
    return column


def as_json(value: Any) -> str:
    """A nested value as text."""
    return encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
