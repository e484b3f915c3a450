"""Records as Arrow columns.

Rule: the columns are those of `harvester.sinks.rows`; only how they are built is here.

Records that fit the catalogue become columns field by field, which is several times faster than row
by row; a group with one that does not fit goes row by row, where its drift is noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from harvester.base.codec import MalformedError
from harvester.errors import UsageError, needs
from harvester.model import Batch, Field, Window
from harvester.sinks.rows import (
    METADATA,
    Table,
    TypeMismatch,
    distinct,
    exactly,
    kinds_of,
    moment,
    values_of,
)

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError as exc:
    raise UsageError(needs("tables need a library", "export")) from exc

__all__ = [
    "batch_of",
    "frame",
    "pa",
    "pc",
    "reader",
    "schema_of",
    "table_of",
]
Document = dict[str, Any]

_SCALARS: dict[str, Any] = {
    "int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_(),
    "date": pa.date32(), "timestamp": pa.timestamp("us", tz="UTC"), "json": pa.string(),
}  # fmt: skip
_NULLABLE = {pa.int64(): "Int64", pa.int32(): "Int32", pa.bool_(): "boolean"}
_MISFITS = (TypeMismatch, MalformedError, TypeError, ValueError, OverflowError, pa.ArrowException)


def table_of(name: str, fields: Sequence[Field] = ()) -> Table:
    """The columns of an interface; what no column can hold (an empty struct) goes to ``_extra``."""
    return Table(name, [field for field in fields if _holds(field)], typed_nesting=True)


def _holds(field: Field) -> bool:
    nested = field.type == "object" or (field.type == "list" and field.item == "object")
    return not nested or (bool(field.fields) and all(map(_holds, field.fields)))


def schema_of(table: Table) -> Any:
    """A `pyarrow.Schema`: every column can be null."""
    return pa.schema([(field.name, _type(field)) for field in table.columns])


def _type(field: Field) -> Any:
    if field.type == "object":
        return pa.struct([(inner.name, _type(inner)) for inner in field.fields])
    if field.type == "list":
        item = _type(Field(field.name, field.item, fields=field.fields))
        return pa.list_(pa.field("element", item))  # as Parquet calls it
    return _SCALARS[field.type]


def batch_of(table: Table, schema: Any, documents: Sequence[Document]) -> Any:
    """A `pyarrow.RecordBatch` of records with their metadata; drift is noted in the table."""
    try:
        return _batch(schema, [*_by_column(table.columns[:-1], documents), [None] * len(documents)])
    except _MISFITS:
        rows = [row for batch in _batches(documents) for row in table.rows(batch)]
        return _batch(schema, [*zip(*rows, strict=True)])


def _batch(schema: Any, columns: Sequence[Any]) -> Any:
    arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _by_column(fields: Sequence[Field], documents: Sequence[Document]) -> list[Sequence[Any]]:
    columns = values_of(fields, documents).columns
    return [_column(field, values) for field, values in zip(fields, columns, strict=True)]


def _column(field: Field, values: Sequence[Any]) -> Sequence[Any]:
    """The values of a field as its column takes them; raises `TypeMismatch` if one does not fit."""
    if field.type == "timestamp":
        return distinct(values, moment)
    if field.type == "date":
        return distinct(values, lambda value: exactly(value, field))
    if field.type in ("int", "str", "bool"):
        kinds_of(field, values)  # and Arrow refuses an int of more than 64 bits
        return values
    return [exactly(value, field) for value in values]


def _batches(documents: Sequence[Document]) -> Iterable[Batch]:
    beside = [field.name for field in METADATA]
    for origin, group in groupby(documents, lambda each: tuple(each[name] for name in beside)):
        appid, endpoint, begin, end, fetched_at = origin
        window = Window(appid, endpoint, date.fromisoformat(begin), date.fromisoformat(end))
        records = [{key: each[key] for key in each if key not in beside} for each in group]
        yield Batch(window, records, fetched_at)


def reader(schema: Any, batches: Iterable[Any]) -> Any:
    """A `pyarrow.RecordBatchReader`, which gives its batches as they are asked for."""
    return pa.RecordBatchReader.from_batches(schema, batches)


def frame(table: Any, options: Mapping[str, Any]) -> Any:
    """A `pandas.DataFrame`: days as ``datetime64``, and whole numbers as they are.

    options: of ``pyarrow.Table.to_pandas``; with a ``types_mapper`` it decides alone.
    """
    made = table.to_pandas(**{"date_as_object": False, **options})
    if "types_mapper" in options:
        return made
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = _NULLABLE.get(column.type)
        if kind and column.null_count:  # pandas would make floats of them, or objects
            made[name] = column.to_pandas(integer_object_nulls=True).astype(kind)
    return made
