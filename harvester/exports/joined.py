"""The tables that join interfaces (`harvester.wechat.tables`), made of their flat tables.

Rule: pure, on Arrow's columns.  The windows of accounts come in order; only those of a few accounts
are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import groupby
from typing import Any

from harvester.base.dates import Days
from harvester.exports import arrow
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Chunk, TableShape
from harvester.exports.shapes import Shape, commented, with_label
from harvester.exports.source import Source, days_of
from harvester.model import Field, metadata
from harvester.sinks.base import Stamp, StoredWindow
from harvester.sinks.rows import METADATA
from harvester.wechat.tables import JoinedTable, Part

_BEGIN = tuple(field for field in METADATA if field.name in ("_appid", "_begin_date"))
_KEY = tuple(field.name for field in _BEGIN)
_MSGID = r"^(?P<mid>[^_]+)_(?P<idx>[0-9]+)$"


class JoinedShape:
    """A table that joins interfaces.

    shapes: those of the interfaces that have records; at least one of the table's.
    """

    def __init__(self, table: JoinedTable, shapes: Mapping[str, Shape], language: str) -> None:
        self.name = table.name
        self.title = table.title
        self.shapes = {name: shapes[name] for name in table.interfaces if name in shapes}
        self._table = table
        self._language = language
        self._parts = [part for part in table.parts if part.interface in self.shapes]
        columns = (*_BEGIN, *table.columns)
        self._schema = arrow.schema_of(arrow.table_of(table.name, table.columns))
        self._schema = pa.schema([self._schema.field(field.name) for field in columns])
        fields = {field.name: field for field in columns}
        self._fields = {**fields, **{name: _parsed(name) for name in table.parsed}}
        empty = self._finished(self._schema.empty_table()).schema
        self.tables = [TableShape(self.name, commented(empty, self._fields))]

    def __repr__(self) -> str:
        return f"<JoinedShape {self.name} of {', '.join(self.shapes)}>"

    @property
    def interfaces(self) -> list[str]:
        """The interfaces that its rows are from."""
        return [*self.shapes]

    def stamps(self, stored: Mapping[str, Mapping[str, Stamp]]) -> dict[str, str]:
        """The stamp of each month that one of the interfaces has; stored: those of the sink."""
        found: dict[str, str] = {}
        for name in self.shapes:
            for month, stamp in stored[name].items():
                found[month] = f"{found.get(month, '')} {name} {stamp}"
        return found

    def chunks(self, source: Source, month: str) -> Iterator[Chunk]:
        """The rows of a month."""
        days = days_of(month)
        documents: dict[str, list[dict[str, Any]]] = {name: [] for name in self.shapes}
        numbers: dict[str, list[int]] = {name: [] for name in self.shapes}
        most = min(shape.most for shape in self.shapes.values())
        streams = [self._windows(source, name, days) for name in self.shapes]
        for _, group in groupby(merge(*streams, key=_account), key=_account):
            for name, stored in group:
                records = source.records(stored)
                beside = metadata(stored.window, stored.fetched_at)
                documents[name] += [{**record, **beside} for record in records]
                numbers[name] += range(len(records))
            if sum(map(len, documents.values())) >= most:
                yield from self._rows(documents, numbers)
        yield from self._rows(documents, numbers)

    @staticmethod
    def _windows(source: Source, name: str, days: Days) -> Iterator[tuple[str, StoredWindow]]:
        for stored in source.windows(name, days):
            if days[0] <= stored.window.begin <= days[1]:
                yield name, stored

    def _rows(
        self, documents: dict[str, list[dict[str, Any]]], numbers: dict[str, list[int]]
    ) -> Iterator[Chunk]:
        """The rows of whole accounts; the lists are empty afterwards."""
        split = {
            name: self.shapes[name].split(listed, numbers[name])
            for name, listed in documents.items()
            if listed
        }
        for name in documents:
            documents[name], numbers[name] = [], []
        parts = [
            self._part(part, split[part.interface][part.table])
            for part in self._parts
            if part.interface in split
        ]
        if parts:
            table = pa.Table.from_batches(parts)
            if len(self._table.parts) > 1:
                table = self._joined(table)
            for batch in self._finished(table).combine_chunks().to_batches():
                yield {self.name: batch}

    def _part(self, part: Part, rows: Any) -> Any:
        """The rows of a part, with all columns of the table."""
        columns = []
        for field in self._schema:
            own = field.name if field.name in _KEY else part.columns.get(field.name, "")
            name = own.replace(".", "_")
            has = name in rows.schema.names
            columns.append(
                rows.column(name).cast(field.type) if has else pa.nulls(len(rows), field.type)
            )
        return pa.record_batch(columns, schema=self._schema)

    def _joined(self, table: Any) -> Any:
        """One row a key, with the first value that there is of each column."""
        key = [*_KEY, *self._table.key]
        values = [name for name in self._schema.names if name not in key]
        groups = table.group_by(key, use_threads=False)
        found = groups.aggregate([(name, "first") for name in values])
        found = found.rename_columns([name.removesuffix("_first") for name in found.column_names])
        return found.select(self._schema.names).sort_by([(name, "ascending") for name in key])

    def _finished(self, table: Any) -> Any:
        """The rows with labels beside codes, and with the parts of the msgid."""
        named: list[tuple[str, Any]] = []
        for name in table.column_names:
            named += with_label(name, table[name], self._fields[name], self._language)
            if name == "msgid" and self._table.parsed:
                parsed = pc.extract_regex(table[name], _MSGID)
                named += [(part, pc.struct_field(parsed, part)) for part in self._table.parsed]
        return pa.table([column for _, column in named], names=[name for name, _ in named])


def _account(each: tuple[str, StoredWindow]) -> str:
    return each[1].window.appid


def _parsed(name: str) -> Field:
    return Field(name, "str", "a part of the msgid, as in the article's link")
