"""How records become tables: nested, one table an interface; or flat, with a table for each list.

Rule: what rows look like; on Arrow's columns.

A column of codes has a column with their labels beside it, ``user_source_label``.

Flat: the tables of `harvester.tables`.  An object within a record becomes columns
(``detail_read_user``), and each list a table ``<interface>_<list>`` with a row an item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harvester.base.dates import WindowKind
from harvester.exports import arrow
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Chunk, TableShape
from harvester.exports.source import Source, day_field, rows_of
from harvester.model import Endpoint, Field
from harvester.sinks.base import Stamp
from harvester.sinks.rows import EXTRA, METADATA
from harvester.sinks.rows import ROW as PLACE
from harvester.tables import (
    ACCOUNT,
    FETCHED,
    KEY,
    Column,
    Path,
    Table,
    columns_of,
    of_label,
    tables_of,
)
from harvester.wechat.titles import Title

ROW = PLACE.name
NESTED, FLAT = "nested", "flat"
LABEL = "_label"
_BEHIND = ("_begin_date", "_end_date", ROW, FETCHED.name, "_extra")
_ALWAYS = {field.name: Column(field.name, field) for field in (*METADATA, PLACE, EXTRA)}
_ALWAYS[ACCOUNT.name] = ACCOUNT

Values = tuple[str, Any]
"""A column: its name and its values."""


class Shape:
    """The tables of an interface.

    name: of the interface.  endpoint: None if it is not known here; then ``_extra`` has all fields.
    language: of labels, ``zh`` or ``en``.  day_fields: with a record's own day, by interface.
    most: the records that are in memory together.
    """

    def __init__(
        self, name: str, endpoint: Endpoint | None, shape: str, language: str = "en"
    ) -> None:
        self.name = name
        self._language = language
        fields = endpoint.fields if endpoint is not None else ()
        self.table = arrow.table_of(name, [each for each in fields if each.name.lower() != ROW])
        self.day_field = day_field(self.table, endpoint)
        self.interfaces = [name]
        self.day_fields = {name: self.day_field}
        self.most = rows_of(self.table)
        self.is_flat = shape == FLAT
        self._schema = arrow.schema_of(self.table).append(pa.field(ROW, pa.int32()))
        key, cut = getattr(endpoint, "key", ()), getattr(endpoint, "cut", WindowKind.DAYS)
        self._tables = tables_of(name, self.table.fields, key, cut)
        self._nested = columns_of(name, self.table.fields, cut)
        self._codes = {field.name: field for field in self.table.fields}
        self._texts = [each.name for each in self.table.fields if each.name in key]
        self._texts = [name for name in self._texts if self._codes[name].type == "str"]
        empty = self.split([], [])
        self.tables = [
            table_shape(each, rows.schema, self._columns_of(each)) for each, rows in empty.items()
        ]

    def _columns_of(self, table: str) -> Mapping[str, Column]:
        if not self.is_flat:
            return self._nested
        [found] = [each for each in self._tables if each.name == table]
        return {column.name: column for column in found.columns}

    @property
    def is_a_row_a_record(self) -> bool:
        """Whether it has as many rows as the interface has records."""
        return all(table.name == self.name for table in self.tables)

    def stamps(self, stored: Mapping[str, Mapping[str, Stamp]]) -> dict[str, str]:
        """The stamp of each month; stored: those of the sink, by interface."""
        return {month: str(stamp) for month, stamp in stored[self.name].items()}

    def chunks(self, source: Source, month: str) -> Iterator[Chunk]:
        """The rows of a month (empty: of all), in the order of account, first day and position."""
        documents: list[dict[str, Any]] = []
        numbers: list[int] = []
        for found in source.read(self.name, self.day_field, month):
            documents += found.documents
            numbers += found.numbers
            if len(documents) >= self.most:
                yield self.split(documents, numbers)
                documents, numbers = [], []
        if documents:
            yield self.split(documents, numbers)

    def split(
        self, documents: Sequence[dict[str, Any]], numbers: Sequence[int], *, keyed: bool = False
    ) -> Chunk:
        """The rows of records with their metadata; numbers: of each within its window.

        keyed: a whole number given for a key that is text is read as its text, as it always is in
        the tables of lists.
        """
        batch = arrow.batch_of(self.table, arrow.schema_of(self.table), documents)
        columns = [*batch.columns, pa.array(numbers, pa.int32())]
        named = dict(zip(self._schema.names, columns, strict=True))
        if not self.is_flat:
            return {self.name: self._batch(named.items(), self._codes)}
        with_texts = {**named, **dict(self._keys(named, documents))}
        found: dict[str, Any] = {}
        for table in self._tables:
            known = {column.name: column.field for column in table.columns}
            rows = Rows(table, with_texts if table.lists or keyed else named)
            beside = KEY if table.lists else KEY[:1]
            placed = [(name, rows.placed(named[name])) for name in beside]
            placed += rows.columns
            behind = (FETCHED.name,) if table.lists else _BEHIND
            placed += [(name, rows.placed(named[name])) for name in behind]
            found[table.name] = self._batch(placed, known)
        return found

    def _keys(
        self, named: Mapping[str, Any], documents: Sequence[dict[str, Any]]
    ) -> Iterator[Values]:
        """The columns of keys that are text, with the texts of numbers."""
        for name in self._texts:
            if named[name].null_count:
                texts = [_text_of(document.get(name)) for document in documents]
                yield name, pc.coalesce(named[name], pa.array(texts, pa.string()))

    def _batch(self, columns: Iterable[Values], fields: Mapping[str, Field]) -> Any:
        given = [*columns]
        labelled = [
            each
            for name, column in given
            for each in with_label(name, column, fields.get(name), self._language, given)
        ]
        names = _distinct([name for name, _ in labelled])
        return pa.record_batch([column for _, column in labelled], names=names)


class Rows:
    """The rows of a table of the interface, from the columns of its records."""

    def __init__(self, table: Table, record: Mapping[str, Any]) -> None:
        self._record = record
        self._items: list[Any] = []
        self._numbers: list[Any] = []
        parents: list[Any] = []
        for level, path in enumerate(table.lists):
            lists = self._reached(level, path)
            parents.append(pc.list_parent_indices(lists))
            self._items.append(pc.list_flatten(lists))
            self._numbers.append(_numbers_of(lists, parents[-1]))
        self._places: list[Any] = []  # by level, of each row: None if that is its own
        place = None
        for indices in reversed(parents):
            place = indices if place is None else indices.take(place)
            self._places.insert(0, place)
        self._places.append(None)
        self.columns = [(each.name, self._values(each)) for each in table.columns]

    def placed(self, column: Any) -> Any:
        """What a column of the records has for each row."""
        return column if self._places[0] is None else column.take(self._places[0])

    def _values(self, column: Column) -> Any:
        level, place = column.level, self._places[column.level]
        found = self._numbers[level - 1] if column.is_number else self._reached(level, column.path)
        return found if place is None else found.take(place)

    def _reached(self, level: int, path: Path) -> Any:
        found = self._items[level - 1] if level else self._record[path[0]]
        for name in path if level else path[1:]:
            found = pc.struct_field(found, found.type.get_field_index(name))
        return found


def _text_of(value: object) -> str | None:
    is_whole = type(value) is int and -(2**63) <= value < 2**63
    return str(value) if is_whole else None


def _numbers_of(lists: Any, parents: Any) -> Any:
    """The number of each item in its list, from 0."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    begins = pc.subtract(pc.cumulative_sum(lengths), lengths)
    places = pa.array(range(len(parents)), pa.int64())
    return pc.subtract(places, begins.take(parents)).cast(pa.int32())


def with_label(
    name: str, column: Any, field: Field | None, language: str, beside: Sequence[Values] = ()
) -> Iterator[Values]:
    """A column, and that of its labels if its field has codes; an unknown code has no label."""
    yield name, column
    if field is not None and field.codes:
        if field.codes_by:
            column = pc.binary_join_element_wise(
                dict(beside)[field.codes_by], column.cast(pa.string()), " "
            )
        values = pa.array([code.value for code in field.codes], column.type)
        labels = pa.array([getattr(code, language) for code in field.codes])
        yield f"{name}{LABEL}", labels.take(pc.index_in(column, value_set=values))


def table_shape(name: str, schema: Any, known: Mapping[str, Column]) -> TableShape:
    """A table with comments; known: what its columns are, without those that each table has."""
    known = {**_ALWAYS, **known}
    columns = [known.get(each.name) or _of_labels(each.name, known) for each in schema]
    fields = []
    for field, column in zip(schema, columns, strict=True):
        text = comment_of(column.meaning)
        fields.append(field.with_metadata({"comment": text}) if text else field)
    return TableShape(name, pa.schema(fields), columns)


def _of_labels(name: str, known: Mapping[str, Column]) -> Column:
    """A column of the labels of another one; of one that is not known, only its name."""
    coded = name.removesuffix(LABEL)
    title = of_label(coded, known[coded].meaning) if coded in known else Title("", "")
    return Column(name, Field(name, "str", title.en, label=title.zh))


def comment_of(meaning: Title) -> str:
    """A comment in Chinese and English."""
    return " · ".join(filter(None, meaning))


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each another one, also where a reader does not distinguish ``A`` from ``a``."""
    taken: set[str] = set()
    found = []
    for name in names:
        made, number = name, 2
        while made.lower() in taken:
            made, number = f"{name}_{number}", number + 1
        taken.add(made.lower())
        found.append(made)
    return found
