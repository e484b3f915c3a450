"""Records as Arrow columns, and back.

Rule: the columns are those of `harvester.sinks.columns`; only how they are built is told here.

Records that fit the catalogue are turned into columns field by field, which is several times faster
than row by row; a group with one that does not fit goes row by row, where its drift is noted.

Importing this room without pyarrow raises `UsageError` with the line to type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any

from harvester.codec import MalformedError, parse, parse_lines
from harvester.endpoint import Field
from harvester.errors import UsageError
from harvester.model import Batch, Window
from harvester.sinks.columns import EXTRA, METADATA, Row, Table, exactly, record_of
from harvester.sinks.groups import (
    Document,
    Lines,
    Misfit,
    distinct,
    kinds_of,
    moment,
    values_of,
    without_metadata,
)

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as exc:
    raise UsageError(
        "Parquet and Arrow need a package that is not here; install it with"
        " pip install 'wechat-harvester[parquet]'"
    ) from exc

__all__ = [
    "Lines",
    "batch_of",
    "batch_of_lines",
    "only",
    "pa",
    "pq",
    "reader",
    "refitted",
    "schema_of",
    "table_of",
    "table_of_rows",
    "windows_of",
]
_SCALARS: dict[str, Any] = {
    "int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_(),
    "date": pa.date32(), "timestamp": pa.timestamp("us", tz="UTC"), "json": pa.string(),
}  # fmt: skip
_EPOCH = date(1970, 1, 1).toordinal()


_MISFITS = (Misfit, MalformedError, pa.ArrowInvalid, OverflowError)


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
        columns = [*_by_column(table.columns[:-1], documents), [None] * len(documents)]
    except _MISFITS:
        columns = _by_row(table, documents)
    return _batch(schema, columns)


def batch_of_lines(table: Table, schema: Any, groups: Sequence[Lines]) -> Any:
    """The same from lines, of which those of a group share their metadata."""
    try:
        documents = without_metadata(groups).records
        columns = _by_column(table.fields, documents)
    except _MISFITS:
        return batch_of(table, schema, parse_lines(b"".join([group.lines for group in groups])))
    return _batch(schema, [*columns, *_metadata(groups), [None] * len(documents)])


def table_of_rows(fields: Sequence[Field], rows: Sequence[Row]) -> Any:
    """A `pyarrow.Table` of rows whose nested values are JSON text."""
    kinds = [_SCALARS.get(field.type, pa.string()) for field in fields]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, [field.name for field in fields])


def _batch(schema: Any, columns: Sequence[Any]) -> Any:
    arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _metadata(groups: Sequence[Lines]) -> list[Any]:
    """The columns of metadata: few values, each many times."""
    places = pa.array([n for n, group in enumerate(groups) for _ in range(group.records)])
    fetched = [moment(group.fetched_at) for group in groups]
    listed = [*zip(*[group.window for group in groups], strict=True), fetched]
    return [
        pa.array(values, _SCALARS[field.type]).take(places)
        for field, values in zip(METADATA, listed, strict=True)
    ]


def _by_column(fields: Sequence[Field], documents: Sequence[Document]) -> list[Any]:
    return [
        _MADE[field.type](field, values)
        for field, values in zip(fields, values_of(fields, documents).columns, strict=True)
    ]


def _scalars(field: Field, values: Sequence[Any]) -> Any:
    kinds_of(field, values)
    return pa.array(values, _SCALARS[field.type])


def _days(field: Field, values: Sequence[Any]) -> list[Any]:
    return distinct(values, lambda value: exactly(value, field))


def _instants(_: Field, values: Sequence[Any]) -> list[Any]:
    return distinct(values, moment)


def _nested(field: Field, values: Sequence[Any]) -> list[Any]:
    return [exactly(value, field) for value in values]


_MADE: dict[str, Callable[[Field, Sequence[Any]], Any]] = {
    "int": _scalars, "float": _scalars, "str": _scalars, "bool": _scalars, "date": _days,
    "timestamp": _instants, "object": _nested, "list": _nested,
}  # fmt: skip


def _by_row(table: Table, documents: Sequence[Document]) -> list[Any]:
    rows = []
    for (window, fetched_at), group in groupby(documents, _origin):
        records = list(group)
        rows += table.rows(Batch(window, fetched_at, len(records), b"", 0, parsed=records))
    return list(zip(*rows, strict=True))


def _origin(document: Document) -> tuple[Window, str]:
    window = Window(
        document["_appid"],
        document["_endpoint"],
        date.fromisoformat(document["_begin_date"]),
        date.fromisoformat(document["_end_date"]),
    )
    return window, document["_fetched_at"]


def refitted(table: Table, schema: Any, batch: Any) -> Any:
    """A batch that was written with other columns as one with the table's; nothing is lost."""
    if batch.schema.equals(schema):
        return batch
    columns = [Field(name, "") for name in batch.schema.names]
    documents = [_document(columns, [*row.values()]) for row in batch.to_pylist()]
    return batch_of(table, schema, documents)


def _document(columns: Sequence[Field], row: Sequence[Any]) -> Document:
    values = dict(zip([column.name for column in columns], row, strict=True))
    extra = parse(values[EXTRA.name].encode()) if values.get(EXTRA.name) else {}
    return record_of(columns, [_plain(value) for value in row], extra)


def _plain(value: Any) -> Any:
    """A value as WeChat writes it: days as text, and no null within an object."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def windows_of(batch: Any) -> list[Window]:
    """The window of each row."""
    columns = [batch.column(batch.schema.get_field_index(field.name)) for field in METADATA[:4]]
    appids, endpoints = (column.to_pylist() for column in columns[:2])
    begins, ends = (column.cast(pa.int32()).to_pylist() for column in columns[2:])
    made: dict[tuple[str, str, int, int], Window] = {}
    found = []
    for key in zip(appids, endpoints, begins, ends, strict=True):
        window = made.get(key)
        if window is None:
            window = made[key] = Window(
                key[0],
                key[1],
                date.fromordinal(_EPOCH + key[2]),
                date.fromordinal(_EPOCH + key[3]),
            )
        found.append(window)
    return found


def only(batch: Any, stays: Sequence[bool]) -> Any:
    """The rows of a batch that stay."""
    return batch if all(stays) else batch.filter(pa.array(stays, pa.bool_()))


def reader(schema: Any, batches: Iterator[Any]) -> Any:
    """A `pyarrow.RecordBatchReader`, which gives its batches as they are asked for."""
    return pa.RecordBatchReader.from_batches(schema, batches)
