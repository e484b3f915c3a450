"""An interface's table in a database: names, types, and the rows as that database holds them.

Rule: SQL text and values, and no connection; what differs from database to database is a `Dialect`.

There is no primary key: WeChat may send two records that a key would call the same, or leave a
field of the key out, and true data must never be refused.  What makes a record stand there once is
that its window is replaced as a whole, in one transaction; the index is what finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import copysign
from typing import Any, NamedTuple
from zlib import crc32

from harvester.codec import encode, parse
from harvester.endpoint import Field
from harvester.errors import UsageError
from harvester.model import Batch
from harvester.sinks.columns import EXTRA, METADATA, NO_FORMS, Form, Row, Table

_ALWAYS = tuple(field.name for field in (*METADATA, EXTRA))
_SUM = (1 << 63) - 1


class Dialect(NamedTuple):
    """What one database does in its own way.

    name: as its makers write it.  types: of columns, by a field's type.
    forms: what a value becomes when it is written, by type; reads: how one is selected, by type,
        ``{}`` being the column; revives: what a value that was read becomes, by type.
    mark: stands for a value in a statement.  folds: ``A`` and ``a`` name the same column.
    longest: bytes of a name, 0 if it does not matter.
    signs: bytes of a record's line without which all its values can be held as they are;
        refuses: whether a value cannot be: it stands in ``_extra`` then.
    indexed: whether a table has an index by window.
    """

    name: str
    types: Mapping[str, str]
    forms: Mapping[str, Form] = NO_FORMS
    reads: Mapping[str, str] = {}
    revives: Mapping[str, Form] = NO_FORMS
    mark: str = "?"
    folds: bool = True
    longest: int = 0
    signs: bytes = b""
    refuses: Callable[[Any], bool] = lambda value: False
    indexed: bool = True

    def same(self, name: str) -> str:
        """What two names have in common that mean the same."""
        return name.lower() if self.folds else name

    def takes(self, name: str) -> bool:
        """Whether a name is not too long."""
        return not self.longest or len(name.encode()) <= self.longest

    def marks(self, number: int) -> str:
        """So many values in a statement."""
        return ", ".join([self.mark] * number)


def is_negative_zero(value: Any) -> bool:
    """Whether a value is -0.0, of which some databases keep the zero only."""
    return type(value) is float and value == 0 and copysign(1, value) < 0


def quoted(name: str) -> str:
    """A name in a statement, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'


class Layout:
    """One interface's table; its rows carry values as the database gives them back."""

    def __init__(self, name: str, fields: Sequence[Field], dialect: Dialect) -> None:
        if not dialect.takes(name):
            raise UsageError(
                f"interface: {name} cannot be a table of {dialect.name}, whose names have"
                f" {dialect.longest} bytes at the most"
            )
        fitting = [field for field in fields if dialect.takes(field.name)]
        self.name = name
        self.table = Table(name, fitting, forms=dialect.forms)
        self.columns = self.table.columns
        self.dialect = dialect
        self.kept = encode([[field.name, field.type] for field in self.columns]).decode()
        self.number = crc32(self.kept.encode())

    def __repr__(self) -> str:
        return f"<Layout {self.name}, {len(self.columns)} columns>"

    def rows(self, batches: Sequence[Batch]) -> list[list[Row]]:
        """The records of each batch, ready to be inserted."""
        found = self.table.rows_of(batches)
        if signs := self.dialect.signs:
            for place, batch in enumerate(batches):
                if batch.parsed is not None or signs in batch.body:
                    found[place] = [self._moved(row) for row in found[place]]
        return found

    def _moved(self, row: Row) -> Row:
        """The row with what its columns cannot hold in ``_extra``."""
        refused = {
            field.name: value
            for field, value in zip(self.table.fields, row, strict=False)
            if value is not None and self.dialect.refuses(value)
        }
        if not refused:
            return row
        held = [
            None if field.name in refused else value
            for field, value in zip(self.columns, row, strict=True)
        ]
        return (*held[:-1], encode({**refused, **parse((row[-1] or "{}").encode())}).decode())

    def create(self) -> list[str]:
        """The statements that make it."""
        columns = ", ".join(f"{quoted(field.name)} {self.type_of(field)}" for field in self.columns)
        made = [f"CREATE TABLE {quoted(self.name)} ({columns})"]
        if self.dialect.indexed:
            by = ", ".join(map(quoted, ("_appid", "_begin_date", "_end_date")))
            index = f"{self.name}_by_window"
            named = quoted(index) if self.dialect.takes(index) else ""
            made.append(f"CREATE INDEX {named} ON {quoted(self.name)} ({by})")
        return made

    def grow(self, found: Mapping[str, str], where: str) -> list[str]:
        """The statements that add the columns which a table that stands there has not.

        found: its columns, and their types as the database names them.  Raises `UsageError` if it
        is another table.
        """
        same = self.dialect.same
        has = {same(name): kind for name, kind in found.items()}
        missing = [field for field in self.columns if same(field.name) not in has]
        wrong = [
            f"{field.name} is {has[same(field.name)]}, not {self.type_of(field)}"
            for field in self.columns
            if field not in missing and has[same(field.name)].lower() != self.type_of(field).lower()
        ]
        wrong += [f"{field.name} is missing" for field in missing if field.name in _ALWAYS]
        if wrong:
            raise UsageError(
                f"the table {self.name} of {where} has other columns than a harvest"
                f" ({', '.join(wrong[:3])}{', …' if wrong[3:] else ''}); rename it, or choose"
                " another database"
            )
        table = quoted(self.name)
        return [
            f"ALTER TABLE {table} ADD COLUMN {quoted(field.name)} {self.type_of(field)}"
            for field in missing
        ]

    def type_of(self, field: Field) -> str:
        return self.dialect.types[field.type]


def row_checksum(rows: Sequence[Row]) -> int:
    """A sum over rows that does not depend on their order."""
    # Encoded together, which is twice as fast as row by row.  A text that holds the joint is cut
    # there, too, wherever its row stands: what is summed is the same in every order.
    return sum(map(crc32, encode(rows)[2:-2].split(b"],["))) & _SUM


def kept_fields(kept: str) -> list[Field]:
    """The columns that a window was written with, as a `Layout` keeps them: names and types."""
    return [Field(str(name), str(kind)) for name, kind in parse(kept.encode())]


class Columns:
    """Columns of a table, to read it back."""

    def __init__(self, fields: Sequence[Field], dialect: Dialect) -> None:
        self.fields = fields
        self._revives = [dialect.revives.get(field.type) for field in self.fields]
        self.selected = ", ".join(
            dialect.reads.get(field.type, "{}").format(quoted(field.name)) for field in self.fields
        )

    def revived(self, row: Sequence[Any]) -> Row:
        """A row that was read, as it was written."""
        return tuple(
            [
                value if revive is None or value is None else revive(value)
                for revive, value in zip(self._revives, row, strict=True)
            ]
        )
