"""Records as rows of a table: from the fields that the catalogue knows to typed columns.

Rule: pure, and no value is lost: a value that its column cannot hold exactly goes to ``_extra``.

A table has a column for each known field, then the metadata, then ``_extra``: a JSON object of the
fields that the catalogue does not know, and of the raw values that are not of their column's type
(their columns are null then).  A record is its columns, overwritten by ``_extra``.

Records that match the catalogue become rows column by column, which is several times faster than
record by record.  A chunk with a record that does not match raises `TypeMismatch`, and is converted
record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from harvester.base.codec import encode
from harvester.model import Batch, Field, listed
from harvester.texts import say

Row = tuple[Any, ...]
Form = Callable[[Any], Any]
NO_FORMS: Mapping[str, Form] = {}

METADATA = (
    Field("_appid", "str", "AppID of the account", label="公众号 AppID"),
    Field("_endpoint", "str", "name of the interface", label="接口"),
    Field("_begin_date", "date", "the first day of the request's window", label="起始日期"),
    Field("_end_date", "date", "the last day of the request's window", label="结束日期"),
    Field("_fetched_at", "timestamp", "when the record was fetched", label="采集时间 (UTC)"),
)
EXTRA = Field("_extra", "json", "unknown fields, and values of another type", label="其他字段")
ROW = Field("_row", "int", "the position of the record in its window, from 0", label="行号")
CHECKSUM = Field(
    "_checksum", "int", "checksum of the window's records and of the row", label="校验值"
)
_NAMES = {field.name for field in (*METADATA, EXTRA, ROW, CHECKSUM)}
_LEAST, _MOST = -(2**63), 2**63 - 1
_EXACT = 2**53  # a whole number up to this is the same as a float
_NONE = object()
_NOTHING = type(None)
_KINDS: dict[str, set[type]] = {
    "int": {int, _NOTHING}, "float": {float, int, _NOTHING}, "str": {str, _NOTHING},
    "bool": {bool, _NOTHING},
}  # fmt: skip
CHUNK = 250
"""Records that become columns at once: as many as fit into the processor's cache."""


class TypeMismatch(Exception):  # noqa: N818  (no error: the chunk goes record by record)
    """A value does not have the type of its field."""


class Fitted(NamedTuple):
    """A value as a column takes it; exact: whether that is all of it."""

    value: Any
    exact: bool = True


_NOT_HELD = Fitted(None, exact=False)


class Table:
    """The columns of one interface, and its records as rows of them.

    columns: in order, metadata and ``_extra`` included.
    typed_nesting: objects and lists become what their fields describe, for a format with nested
        types; else they are unchanged, for a column of JSON.
    forms: by type, what a value becomes last, as a text of a date where there is no such type.
    beyond: fields that the catalogue knows, and that have no column.
    """

    def __init__(
        self,
        name: str,
        fields: Sequence[Field] = (),
        *,
        typed_nesting: bool = False,
        forms: Mapping[str, Form] = NO_FORMS,
        beyond: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.fields = _distinct(fields)
        self.columns = (*self.fields, *METADATA, EXTRA)
        self._forms = forms
        self._fits = [
            (field.name, field, _TYPED[field.type], forms.get(field.type)) for field in self.fields
        ]
        self._as_they_came = () if typed_nesting else (dict, list)
        self._known = {field.name for field in self.fields} | {field.name for field in METADATA}
        self._beyond = beyond
        self._drift: dict[str, None] = {}
        self._reported: set[str] = set()

    def rows(self, batch: Batch) -> list[Row]:
        """The records of a batch, each with its values in the order of `columns`.

        Dates are `date`, ``_fetched_at`` is an aware `datetime`, ``_extra`` is JSON text or None,
        unless `forms` changes that.
        """
        beside = next(self._metadata([batch]))[:-1]
        return [self._row(record, beside) for record in batch.records]

    def rows_of(self, batches: Sequence[Batch]) -> list[Row]:
        rows: list[Row] = []
        for chunk in chunks(batches):
            try:
                rows += self._by_column(chunk)
            except TypeMismatch:
                rows += chain.from_iterable(map(self.rows, chunk))
        return rows

    def _by_column(self, batches: Sequence[Batch]) -> list[Row]:
        """The rows of all these batches; raises `TypeMismatch`."""
        records = [*chain.from_iterable([batch.records for batch in batches])]
        came, rows = values_of(self.fields, records)
        columns = [
            self._column(field, values) for field, values in zip(self.fields, came, strict=True)
        ]
        if any(column is not values for column, values in zip(columns, came, strict=True)):
            rows = [*zip(*columns, strict=True)]
        found: list[Row] = []
        begin = 0
        for batch, beside in zip(batches, self._metadata(batches), strict=True):
            end = begin + batch.count
            found += [row + beside for row in rows[begin:end]]
            begin = end
        return found

    def _metadata(self, batches: Sequence[Batch]) -> Iterator[Row]:
        windows = zip(*[batch.window for batch in batches], strict=True)
        given = [*windows, [batch.fetched_at for batch in batches]]
        found: list[Sequence[Any]] = []
        for field, values in zip(METADATA, given, strict=True):
            form = self._forms.get(field.type)
            if field.type == "timestamp":
                values = distinct(values, moment)
            if form is not None:
                values = distinct(values, form)
            found.append(values)
        return zip(*found, [None] * len(batches), strict=True)

    def _column(self, field: Field, values: Sequence[Any]) -> Sequence[Any]:
        """The values of a field as the column takes them; raises `TypeMismatch` if one is not so.

        The same object if none of them changes.
        """
        form = self._forms.get(field.type)
        if field.type in _SCALAR:
            values = _SCALAR[field.type](field, values)
            return values if form is None else [form(each) for each in values]
        if field.type == "date":
            return distinct(values, lambda value: _formed(exactly(value, field), form))
        held = [exactly(value, field) for value in values]
        came = values if self._as_they_came else held
        return came if form is None else [_formed(each, form) for each in came]

    def drift(self) -> list[str]:
        """What differed from the catalogue, since this was last asked; nothing twice."""
        new = [sentence for sentence in self._drift if sentence not in self._reported]
        self._reported.update(new)
        self._drift.clear()
        return new

    def _row(self, record: Mapping[str, Any], beside: Row) -> Row:
        values: list[Any] = []
        extra: dict[str, Any] = {}
        for name, field, fit, form in self._fits:
            value = record.get(name)
            if value is not None:
                held, exact = fit(value, field)
                if not exact:
                    self._note_type(field, value)
                if held is not None and type(value) in self._as_they_came:
                    held = value
                elif not exact:
                    extra[name] = value
                value = held if form is None or held is None else form(held)
            values.append(value)
        if not self._known.issuperset(record):
            for name in record:
                if name not in self._known:
                    extra[name] = record[name]
                    self._note_unknown(name)
        return (*values, *beside, encode(extra).decode() if extra else None)

    def _note_unknown(self, name: str) -> None:
        if name in self._beyond:
            few = listed(self._beyond, "field")
            text = say("{}: the table has no column for {}; see _extra", self.name, few)
            self._drift[text] = None
        elif self.fields:  # of an interface without any, nothing can drift
            text = say("{}: the field {!r} is not known; its value is in _extra", self.name, name)
            self._drift[text] = None

    def _note_type(self, field: Field, value: object) -> None:
        kind = _JSON_TYPES.get(type(value), "null")
        if kind == field.type:
            what = say("contains more than the catalogue describes; everything is kept")
        else:
            what = say("arrived as {}, not as {}; its value is in _extra", kind, field.type)
        self._drift[say("{}: {} {}", self.name, field.name, what)] = None


_JSON_TYPES: dict[type, str] = {
    int: "int",
    float: "float",
    str: "str",
    bool: "bool",
    dict: "object",
    list: "list",
}


def record_of(
    columns: Sequence[Field], row: Sequence[Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """A record again from a row: its columns that are not null, with ``_extra`` laid over them."""
    held = {
        field.name: value
        for field, value in zip(columns, row, strict=True)
        if value is not None and field.name != EXTRA.name
    }
    return {**held, **extra}


def chunks(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """The batches in groups of about `CHUNK` records."""
    chunk: list[Batch] = []
    records = 0
    for batch in batches:
        chunk.append(batch)
        records += batch.count
        if records >= CHUNK:
            yield chunk
            chunk, records = [], 0
    if chunk:
        yield chunk


def _distinct(fields: Iterable[Field]) -> tuple[Field, ...]:
    """The fields that can be columns: most databases do not distinguish ``A`` from ``a``."""
    found: dict[str, Field] = {}
    for field in fields:
        if field.name.lower() not in _NAMES:
            found.setdefault(field.name.lower(), field)
    return tuple(found.values())


def _int(value: object, _: Field) -> Fitted:
    if type(value) is int and _LEAST <= value <= _MOST:
        return Fitted(value)
    return _NOT_HELD


def _float(value: object, _: Field) -> Fitted:
    if type(value) is float:
        return Fitted(value)
    if type(value) is int and -_EXACT <= value <= _EXACT:
        return Fitted(float(value))
    return _NOT_HELD


def _str(value: object, _: Field) -> Fitted:
    return Fitted(value) if type(value) is str else _NOT_HELD


def _bool(value: object, _: Field) -> Fitted:
    return Fitted(value) if type(value) is bool else _NOT_HELD


def _date(value: object, _: Field) -> Fitted:
    """A day as ``2024-01-31`` or ``20240131``; WeChat's interfaces write it one way each."""
    return _day(value) if type(value) is str and len(value) in (8, 10) else _NOT_HELD


@lru_cache(4096)  # each day is in many records
def _day(text: str) -> Fitted:
    if not text.isascii():
        return _NOT_HELD
    if len(text) == 8 and not text.isdigit():  # 2024-W05 and the like
        return _NOT_HELD
    if len(text) == 10 and not (text[4] == text[7] == "-"):
        return _NOT_HELD
    try:
        return Fitted(date.fromisoformat(text))
    except ValueError:
        return _NOT_HELD


def _object(value: object, field: Field) -> Fitted:
    """An object with exactly the fields that are known; those that are missing are None."""
    if type(value) is not dict:
        return _NOT_HELD
    held: dict[str, Any] = {}
    exact = True
    for inner in field.fields:
        given = value.get(inner.name, _NONE)
        if given is None or given is _NONE:
            held[inner.name] = None
            continue
        held[inner.name], fits = _TYPED[inner.type](given, inner)
        exact = exact and fits
    return Fitted(held, exact and held.keys() >= value.keys())


def _list(value: object, field: Field) -> Fitted:
    if type(value) is not list:
        return _NOT_HELD
    item = Field(field.name, field.item, fields=field.fields)
    fitted = [_TYPED[field.item](each, item) for each in value]
    return Fitted([each.value for each in fitted], all(each.exact for each in fitted))


_TYPED: dict[str, Callable[[Any, Field], Fitted]] = {
    "int": _int,
    "float": _float,
    "str": _str,
    "bool": _bool,
    "date": _date,
    "object": _object,
    "list": _list,
}


def exactly(value: Any, field: Field) -> Any:
    """A value as a column of that field takes it; raises `TypeMismatch` if something is lost."""
    if value is None:
        return None
    held, exact = _TYPED[field.type](value, field)
    if not exact:
        raise TypeMismatch
    return held


class Values(NamedTuple):
    """The values of each field, and those of each record; in the order of the fields."""

    columns: Sequence[Sequence[Any]]
    rows: Sequence[Row]


def values_of(fields: Sequence[Field], records: Sequence[dict[str, Any]]) -> Values:
    """The values of records; most have all fields and no other.  Raises `TypeMismatch`."""
    names = [field.name for field in fields]
    if len(names) > 1 and {*map(len, records)} == {len(names)}:
        with suppress(KeyError):
            rows = [*map(itemgetter(*names), records)]
            return Values([*zip(*rows, strict=True)], rows)
    if not {*names}.issuperset(set().union(*records)):
        raise TypeMismatch
    columns = [[record.get(name) for record in records] for name in names]
    return Values(columns, [*zip(*columns, strict=True)] if names else [()] * len(records))


def kinds_of(field: Field, values: Sequence[Any]) -> set[type]:
    """The types of a scalar field's values, which are its own and that of None."""
    kinds = {*map(type, values)}
    if not kinds <= _KINDS[field.type]:
        raise TypeMismatch
    return kinds


def distinct(values: Sequence[Any], made: Callable[[Any], Any]) -> Sequence[Any]:
    """What is made of each value, once; the same object if none of them changes."""
    try:
        forms = {value: made(value) for value in {*values}}
    except TypeError:  # a list, an object
        raise TypeMismatch from None
    if all([value is form or value == form for value, form in forms.items()]):
        return values
    return [forms[value] for value in values]


def _formed(value: Any, form: Form | None) -> Any:
    return value if form is None or value is None else form(value)


def moment(text: str) -> datetime:
    """When something was fetched."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _ints(field: Field, values: Sequence[Any]) -> Sequence[Any]:
    kinds = kinds_of(field, values)
    present = values if _NOTHING not in kinds else [each for each in values if each is not None]
    if present and (min(present) < _LEAST or max(present) > _MOST):
        raise TypeMismatch
    return values


def _floats(field: Field, values: Sequence[Any]) -> Sequence[Any]:
    if int in kinds_of(field, values):
        return [exactly(value, field) for value in values]
    return values


def _any(field: Field, values: Sequence[Any]) -> Sequence[Any]:
    kinds_of(field, values)
    return values


_SCALAR: dict[str, Callable[[Field, Sequence[Any]], Sequence[Any]]] = {
    "int": _ints,
    "float": _floats,
    "str": _any,
    "bool": _any,
}
