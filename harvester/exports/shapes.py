"""How records become tables: nested, one table an interface; or flat, with a table for each list.

Rule: what rows look like; on Arrow's columns.

A column of codes has a column with their labels beside it, ``user_source_label``.

Flat: an object within a record becomes columns (``detail_read_user``), and each list a table
``<interface>_<list>`` with a row an item.  Such a row begins with the key of its record
(``_appid``, ``_begin_date``, ``_row``), with what identifies the record in the interface, and with
the number of the item, from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harvester.exports import arrow
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Chunk, TableShape
from harvester.exports.source import Source, days_of, rows_of
from harvester.model import Endpoint, Field, metadata
from harvester.sinks.base import Stamp
from harvester.sinks.rows import EXTRA, METADATA
from harvester.sinks.rows import ROW as PLACE

ROW = PLACE.name
NESTED, FLAT = "nested", "flat"
SHAPES = (NESTED, FLAT)
LABEL = "_label"
_KEY = ("_appid", "_begin_date", ROW)
_BESIDE = [field.name for field in METADATA]
_ALWAYS = {field.name: field for field in (*METADATA, PLACE, EXTRA)}

Column = tuple[str, Any]


class Shape:
    """The tables of an interface.

    name: of the interface.  endpoint: None if it is not known here; then ``_extra`` has all fields.
    language: of labels, ``zh`` or ``en``.
    """

    def __init__(
        self, name: str, endpoint: Endpoint | None, shape: str, language: str = "en"
    ) -> None:
        self.name = name
        self._language = language
        fields = endpoint.fields if endpoint is not None else ()
        self.table = arrow.table_of(name, [each for each in fields if each.name.lower() != ROW])
        self.is_flat = shape == FLAT
        self._schema = arrow.schema_of(self.table).append(pa.field(ROW, pa.int32()))
        key = getattr(endpoint, "key", ())
        self._identifying = [
            each.name
            for each in self.table.fields
            if each.name in key and each.type not in ("object", "list")
        ]
        self._fields = {
            (table, column): field
            for table, column, field in columns_of(name, self.table.fields, flat=self.is_flat)
        }
        empty = self.split([], [])
        self.tables = [
            TableShape(each, commented(rows.schema, self.fields_of(each)))
            for each, rows in empty.items()
        ]

    def __repr__(self) -> str:
        return f"<Shape of {self.name}, {len(self.tables)} tables>"

    def fields_of(self, table: str) -> dict[str, Field]:
        """The fields of the interface that are columns of a table, by column."""
        own = {column: field for (name, column), field in self._fields.items() if name == table}
        key = {name: self._fields[self.name, name] for name in self._identifying}
        return {**key, **own}

    @property
    def interfaces(self) -> list[str]:
        """The interfaces that its rows are from."""
        return [self.name]

    @property
    def most(self) -> int:
        """The records that are in memory together: fewer, the deeper their lists are."""
        return rows_of(self.table)

    def stamps(self, stored: Mapping[str, Mapping[str, Stamp]]) -> dict[str, str]:
        """The stamp of each month; stored: those of the sink, by interface."""
        return {month: str(stamp) for month, stamp in stored[self.name].items()}

    def chunks(self, source: Source, month: str) -> Iterator[Chunk]:
        """The rows of a month, in the order of account, first day and position."""
        documents: list[dict[str, Any]] = []
        numbers: list[int] = []
        days = days_of(month)
        for stored in source.windows(self.name, days):
            if not days[0] <= stored.window.begin <= days[1]:
                continue  # it begins in another month
            beside = metadata(stored.window, stored.fetched_at)
            records = source.records(stored)
            documents += [{**record, **beside} for record in records]
            numbers += range(len(records))
            if len(documents) >= self.most:
                yield self.split(documents, numbers)
                documents, numbers = [], []
        if documents:
            yield self.split(documents, numbers)

    def split(self, documents: Sequence[dict[str, Any]], numbers: Sequence[int]) -> Chunk:
        """The rows of records with their metadata; numbers: of each within its window."""
        batch = arrow.batch_of(self.table, arrow.schema_of(self.table), documents)
        columns = [*batch.columns, pa.array(numbers, pa.int32())]
        named = dict(zip(self._schema.names, columns, strict=True))
        if not self.is_flat:
            return {self.name: self._batch(self.name, named.items())}
        beside = [*_BESIDE, ROW, "_extra"]
        fields = [(name, column) for name, column in named.items() if name not in beside]
        identifying = [(name, named[name]) for name in self._identifying]
        key = [(name, named[name]) for name in _KEY]
        found: dict[str, list[Column]] = {}
        behind = [(name, named[name]) for name in ("_begin_date", "_end_date", ROW, "_fetched_at")]
        _flatten(
            found,
            self.name,
            [key[0], *fields, *behind, ("_extra", named["_extra"])],
            [*key, *identifying],
        )
        return {name: self._batch(name, each) for name, each in found.items()}

    def _batch(self, table: str, columns: Iterable[Column]) -> Any:
        """The rows of a table, with labels beside its codes."""
        fields = self._fields
        labelled = [
            each
            for name, column in columns
            for each in with_label(name, column, fields.get((table, name)), self._language)
        ]
        names = _distinct([name for name, _ in labelled])
        return pa.record_batch([column for _, column in labelled], names=names)


def columns_of(
    table: str, fields: Iterable[Field], within: str = "", *, flat: bool = True
) -> Iterator[tuple[str, str, Field]]:
    """The fields of an interface: of each its table, and its column there."""
    for field in fields:
        column = f"{within}{field.name}"
        if flat and field.type == "object":
            yield from columns_of(table, field.fields, f"{column}_")
        elif flat and field.type == "list":
            inner = field.fields or (field,)
            yield from columns_of(f"{table}_{column}", [each for each in inner if each != field])
            if not field.fields:
                yield f"{table}_{column}", column, field
        else:
            yield table, column, field


def with_label(name: str, column: Any, field: Field | None, language: str) -> Iterator[Column]:
    """A column, and that of its labels if its field has codes; an unknown code has no label."""
    yield name, column
    if field is not None and field.codes:
        values = pa.array([code.value for code in field.codes], column.type)
        labels = pa.array([getattr(code, language) for code in field.codes])
        yield f"{name}{LABEL}", labels.take(pc.index_in(column, value_set=values))


def commented(schema: Any, fields: Mapping[str, Field]) -> Any:
    """A schema whose columns have their titles in Chinese and English as metadata: ``comment``."""
    known = {**_ALWAYS, **fields}
    found = []
    for column in schema:
        coded = known.get(column.name.removesuffix(LABEL))
        text = comment_of(known.get(column.name))
        if not text and coded is not None and column.name.endswith(LABEL):
            text = f"{coded.label or coded.name} · the label of {coded.name}"
        found.append(column.with_metadata({"comment": text}) if text else column)
    return pa.schema(found)


def comment_of(field: Field | None) -> str:
    """What a column is, in Chinese and English; empty if nothing is known of it."""
    return "" if field is None else " · ".join(filter(None, (field.label, field.meaning)))


def _flatten(
    found: dict[str, list[Column]], name: str, columns: Sequence[Column], key: Sequence[Column]
) -> None:
    """Add a table, and one for each list in it; key: what its rows have in tables of lists."""
    plain: list[Column] = []
    lists: list[Column] = []
    for each, column in _without_objects(columns):
        (lists if pa.types.is_list(column.type) else plain).append((each, column))
    found[name] = plain
    for each, column in lists:
        parents = pc.list_parent_indices(column)
        items = pc.list_flatten(column)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
        numbers = pa.array([n for length in lengths for n in range(length)], pa.int32())
        depth = sum(known.startswith("_item") for known, _ in key)
        number = ("_item" if not depth else f"_item_{depth + 1}", numbers)
        mine = [(known, values.take(parents)) for known, values in key]
        inner = list(_fields_of(items)) if pa.types.is_struct(items.type) else [(each, items)]
        taken = {known for known, _ in inner}
        beside = [each for each in [*mine, number] if each[0] not in taken or each[0][0] == "_"]
        [*_, table] = _distinct([*found, f"{name}_{each}"])
        _flatten(found, table, [*beside, *inner], [*mine, number])


def _without_objects(columns: Sequence[Column]) -> Iterator[Column]:
    """The columns; in the place of an object those of its fields."""
    for name, column in columns:
        if pa.types.is_struct(column.type):
            inner = [(f"{name}_{each}", values) for each, values in _fields_of(column)]
            yield from _without_objects(inner)
        else:
            yield name, column


def _fields_of(column: Any) -> Iterator[Column]:
    for number, field in enumerate(column.type):
        yield field.name, pc.struct_field(column, number)


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
