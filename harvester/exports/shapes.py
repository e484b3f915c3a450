"""How records become tables: nested, one table an interface; or flat, with a table for each list.

Rule: pure, on Arrow's columns.

Flat: an object within a record becomes columns (``detail_read_user``), and each list a table
``<interface>_<list>`` with a row an item.  Such a row begins with the key of its record
(``_appid``, ``_begin_date``, ``_row``), with what identifies the record in the interface, and with
the number of the item, from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harvester.exports import arrow
from harvester.exports.arrow import pa, pc
from harvester.exports.base import Chunk, TableShape
from harvester.model import Endpoint
from harvester.sinks.rows import METADATA

ROW = "_row"
NESTED, FLAT = "nested", "flat"
SHAPES = (NESTED, FLAT)
_KEY = ("_appid", "_begin_date", ROW)
_BESIDE = [field.name for field in METADATA]

Column = tuple[str, Any]


class Shape:
    """The tables of an interface.

    name: of the interface.  endpoint: None if it is not known here; then ``_extra`` has all fields.
    """

    def __init__(self, name: str, endpoint: Endpoint | None, shape: str) -> None:
        self.name = name
        fields = endpoint.fields if endpoint is not None else ()
        self.table = arrow.table_of(name, [each for each in fields if each.name.lower() != ROW])
        self._is_flat = shape == FLAT
        self._schema = arrow.schema_of(self.table).append(pa.field(ROW, pa.int32()))
        key = getattr(endpoint, "key", ())
        self._identifying = [
            each.name
            for each in self.table.fields
            if each.name in key and each.type not in ("object", "list")
        ]
        empty = self.split([], [])
        self.tables = [TableShape(each, rows.schema) for each, rows in empty.items()]

    def __repr__(self) -> str:
        return f"<Shape of {self.name}, {len(self.tables)} tables>"

    def split(self, documents: Sequence[dict[str, Any]], numbers: Sequence[int]) -> Chunk:
        """The rows of records with their metadata; numbers: of each within its window."""
        batch = arrow.batch_of(self.table, arrow.schema_of(self.table), documents)
        columns = [*batch.columns, pa.array(numbers, pa.int32())]
        if not self._is_flat:
            return {self.name: pa.record_batch(columns, schema=self._schema)}
        named = dict(zip(self._schema.names, columns, strict=True))
        beside = [*_BESIDE, ROW, "_extra"]
        fields = [(name, column) for name, column in named.items() if name not in beside]
        identifying = [(name, named[name]) for name in self._identifying]
        key = [(name, named[name]) for name in _KEY]
        found: dict[str, Any] = {}
        behind = [(name, named[name]) for name in ("_begin_date", "_end_date", ROW, "_fetched_at")]
        _flatten(
            found,
            self.name,
            [key[0], *fields, *behind, ("_extra", named["_extra"])],
            [*key, *identifying],
        )
        return found


def _flatten(
    found: dict[str, Any], name: str, columns: Sequence[Column], key: Sequence[Column]
) -> None:
    """Add a table, and one for each list in it; key: what its rows have in tables of lists."""
    plain: list[Column] = []
    lists: list[Column] = []
    for each, column in _without_objects(columns):
        (lists if pa.types.is_list(column.type) else plain).append((each, column))
    names = _distinct([each for each, _ in plain])
    found[name] = pa.record_batch([column for _, column in plain], names=names)
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
