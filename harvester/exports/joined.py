"""The tables that join interfaces (`harvester.tables`), made of their flat tables.

Rule: pure, on Arrow's columns.  Windows come by account and first day; only a few are in memory at
a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from heapq import merge
from itertools import groupby, repeat
from typing import Any
from zlib import crc32

from harvester.exports import arrow
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Chunk
from harvester.exports.shapes import Shape, table_shape, with_label
from harvester.exports.source import NO_NAMES, Records, Source
from harvester.model import Field
from harvester.sinks.base import Stamp
from harvester.sinks.rows import METADATA
from harvester.tables import ACCOUNT, FETCHED, Column, JoinedTable, Part

_BEGIN = tuple(field for field in METADATA if field.name in ("_appid", "_begin_date"))
_KEY = tuple(field.name for field in _BEGIN)
_ALIKE = (*_KEY, FETCHED.name)
"""Columns that each part has."""
_OWN, _NTH = "_own", "_nth"
_PART = Field(
    "",
    "str",
    "a part of the msgid; it is also in the link of the article",
    label="文章 ID 的一部分，与文章链接中相同",
)
_MSGID = r"(?s)^(?P<mid>[^_]*)_(?P<idx>.*)$"


class JoinedShape:
    """A table that joins interfaces.

    shapes: those of the interfaces that have records; at least one of the table's.  names: of
    accounts, by appid, where they are known.  day_fields: with a record's own day, by interface.
    """

    def __init__(
        self,
        table: JoinedTable,
        shapes: Mapping[str, Shape],
        language: str,
        names: Mapping[str, str] = NO_NAMES,
    ) -> None:
        self.name = table.name
        self._names = names
        self._mark = f"{crc32(repr(sorted(names.items())).encode()):08x} " if names else ""
        self.shapes = {name: shapes[name] for name in table.interfaces if name in shapes}
        self.interfaces = [*self.shapes]
        self.day_fields = {name: shape.day_field for name, shape in self.shapes.items()}
        self._table = table
        self._language = language
        self._parts = [part for part in table.parts if part.interface in self.shapes]
        columns = (*_BEGIN, *table.fields, FETCHED.field)
        self._schema = arrow.schema_of(arrow.table_of(table.name, table.fields))
        self._schema = pa.schema([self._schema.field(field.name) for field in columns])
        self._fields = {field.name: field for field in columns}
        known = {column.name: column for column in (*table.columns, FETCHED)}
        known |= {name: Column(name, _PART) for name in table.parsed}
        empty = self._finished(self._schema.empty_table()).schema
        self.tables = [table_shape(self.name, empty, known)]

    @property
    def is_a_row_a_record(self) -> bool:
        """Whether it has as many rows as its one interface has records."""
        [first, *others] = self._parts
        return not others and not first.lists and not first.without[0]

    def stamps(self, stored: Mapping[str, Mapping[str, Stamp]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in self.shapes:
            for month, stamp in stored[name].items():
                found[month] = f"{found.get(month, self._mark)} {name} {stamp}"
        return found

    def chunks(self, source: Source, month: str) -> Iterator[Chunk]:
        fields = self.day_fields
        return self.of({name: source.read(name, fields[name], month) for name in self.shapes})

    def of(self, windows: Mapping[str, Iterable[Records]]) -> Iterator[Chunk]:
        """The rows of the windows of each interface, which come by account and first day."""
        documents: dict[str, list[dict[str, Any]]] = {name: [] for name in self.shapes}
        numbers: dict[str, list[int]] = {name: [] for name in self.shapes}
        most = min(shape.most for shape in self.shapes.values())
        streams = [zip(repeat(name), found, strict=False) for name, found in windows.items()]
        for _, group in groupby(merge(*streams, key=_place), key=_place):
            for name, found in group:
                documents[name] += found.documents
                numbers[name] += found.numbers
            if sum(map(len, documents.values())) >= most:
                yield from self._rows(documents, numbers)
        yield from self._rows(documents, numbers)

    def _rows(
        self, documents: dict[str, list[dict[str, Any]]], numbers: dict[str, list[int]]
    ) -> Iterator[Chunk]:
        """The rows of whole windows; the lists are empty afterwards."""
        split = {
            name: self.shapes[name].split(listed, numbers[name], keyed=True)
            for name, listed in documents.items()
            if listed
        }
        for name in documents:
            documents[name], numbers[name] = [], []
        parts = [
            (number, self._part(part, split[part.interface][part.table]))
            for number, part in enumerate(self._parts)
            if part.interface in split
        ]
        if parts and len(self._table.parts) > 1:
            numbered = [self._numbered(number, rows) for number, rows in parts]
            tables = [self._joined(pa.concat_tables(numbered))]
        else:
            tables = [rows for _, rows in parts]
        for table in tables:
            for batch in self._finished(table).combine_chunks().to_batches():
                yield {self.name: batch}

    def _part(self, part: Part, rows: Any) -> Any:
        columns = []
        for field in self._schema:
            own = field.name if field.name in _ALIKE else part.columns.get(field.name, "")
            names = [name for name in own.replace(".", "_").split() if name in rows.schema.names]
            found = [rows.column(name).cast(field.type) for name in names]
            columns.append(pc.coalesce(*found) if found else pa.nulls(len(rows), field.type))
        table = pa.table(columns, schema=self._schema)
        name, value = part.without
        return table.filter(pc.fill_null(pc.not_equal(table[name], value), True)) if name else table

    def _numbered(self, number: int, rows: Any) -> Any:
        """The rows of a part with what tells rows of one key apart.

        A row that lacks a part of its key is of no other part: ``_own`` is the number of its own.
        ``_nth`` is its number among those of its part that have its key.
        """
        key = [*_KEY, *self._table.key]
        lacks = pc.is_null(rows[key[0]])
        for name in key[1:]:
            lacks = pc.or_(lacks, pc.is_null(rows[name]))
        own = pc.if_else(lacks, number, -1)
        nth = pa.array(_numbers_of(rows.select(key)), pa.int64())
        found = rows.append_column(_OWN, own.cast(pa.int64())).append_column(_NTH, nth)
        if not self._table.once:
            return found
        return found.filter(pc.or_(lacks, pc.equal(found[_NTH], 0)))

    def _joined(self, table: Any) -> Any:
        """One row a key and number: of each column the first value, of the times the last."""
        key = [*_KEY, *self._table.key, _OWN, _NTH]
        values = [name for name in self._schema.names if name not in key]
        groups = table.group_by(key, use_threads=False)
        found = groups.aggregate(
            [(name, "max" if name == FETCHED.name else "first") for name in values]
        ).rename_columns([*key, *values])
        return found.sort_by([(name, "ascending") for name in key]).select(self._schema.names)

    def _finished(self, table: Any) -> Any:
        appids = table["_appid"]
        known = pa.array([*self._names], pa.string())
        names = pa.array([*self._names.values()], pa.string())
        account = names.take(pc.index_in(appids, value_set=known))
        named: list[tuple[str, Any]] = [("_appid", appids), (ACCOUNT.name, account)]
        own = [name for name in table.column_names if name not in _ALIKE]
        for name in [*own, "_begin_date", FETCHED.name]:
            named += with_label(name, table[name], self._fields[name], self._language)
            if name == "msgid" and self._table.parsed:
                parsed = pc.extract_regex(table[name], _MSGID)
                named += [(part, pc.struct_field(parsed, part)) for part in self._table.parsed]
        return pa.table([column for _, column in named], names=[name for name, _ in named])


def _place(each: tuple[str, Records]) -> tuple[str, date]:
    return each[1].place


def _numbers_of(keys: Any) -> list[int]:
    """The number of each row among those that have its key, from 0."""
    if len(keys.group_by(keys.column_names).aggregate([])) == len(keys):
        return [0] * len(keys)
    seen: Counter[tuple[Any, ...]] = Counter()
    found = []
    for key in zip(*[column.to_pylist() for column in keys.columns], strict=True):
        found.append(seen[key])
        seen[key] += 1
    return found
