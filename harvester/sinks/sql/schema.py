"""An interface's table in a SQL database: its columns, and records as its rows, and back.

Rule: pure; SQL text and values.  What differs from database to database is a `Dialect`.

The primary key is the account, the first day of the window, and the place of the record in it:
WeChat may send two equal records, and the database refuses a row that is inserted twice.
``_checksum`` of a row has two parts: the upper 32 bits are the checksum of the records of its
window as they were fetched, so that a scan can compute the tally of the window; the lower 31 bits
are the checksum of the row as it was inserted, so that a scan detects a row that was changed later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import chain, repeat
from math import copysign
from operator import itemgetter
from time import sleep
from typing import Any, NamedTuple
from zlib import crc32

from harvester.base.codec import encode, parse, row_checksum, row_checksums
from harvester.base.dates import WindowKind
from harvester.errors import UsageError
from harvester.model import Batch, Endpoint, Field
from harvester.sinks.rows import (
    CHECKSUM,
    EXTRA,
    METADATA,
    NO_FORMS,
    ROW,
    Form,
    Row,
    Table,
    chunks,
    record_of,
)
from harvester.sinks.views import ListView, list_view, meanings
from harvester.tables import KEY, columns_of, tables_of
from harvester.texts import say

_WINDOW = ("_appid", "_begin_date", "_end_date")
_FETCHED_AT = "_fetched_at"
_ALWAYS = tuple(field.name for field in (*METADATA, EXTRA, ROW, CHECKSUM))
_JSON_TYPES = ("object", "list", "json")
_SCALAR_TYPES = ("int", "float", "str", "bool", "date")
_RECORDS = (1 << 32) - 1
ROW_BITS = (1 << 31) - 1
"""The part of ``_checksum`` that is the checksum of the row."""
_MOST = 900
"""Characters of a comment: MySQL takes 1,024."""


class Dialect(NamedTuple):
    """The peculiarities of one database.

    types: of columns, by a field's type; ``key`` is that of a text in a key.
    forms: what a value becomes when it is written, by type; reads: how a column is selected, by
        type, ``{}`` being the column; revives: what a value that was read becomes, by type.
    mark: the placeholder of a value.  percent: how a ``%`` of a name is written.
    folds: ``A`` and ``a`` name the same column.  longest: bytes of a name, 0 if it does not matter.
    most: columns of a table, 0 if it does not matter.
    refuses: whether a value of ``refused`` type cannot be held as it is; it is stored in
        ``_extra`` then.  sign: what the JSON of a record has if it holds such a value.
    keyed: what follows the type of a text in the key, so that accounts have the same order in all
        databases.
    indexed: what makes the index by account and day, a statement or a part of that which makes the
        table (where it begins with a comma); of index, table, columns.
    ends: what a CREATE TABLE ends with.
    comment: what gives a column its comment, after its type; notes: what gives a table its comment,
        before the columns and at the end; noted: what gives a column of a view its comment, if the
        database keeps that; remarks: comments are statements of their own.
    views: a query of the names of all views with a column ``_appid``, each with whether it has
        ``_fetched_at``; unnested: the query of a list's, and casts, position and reached: what
        that of a joined table needs (`harvester.sinks.views`).
    locks: the end of a SELECT that locks its rows until the commit.
    insert_new: a statement that inserts a row unless its key is there; of table, columns, marks,
        and a column of the key.
    """

    name: str
    types: Mapping[str, str]
    forms: Mapping[str, Form] = NO_FORMS
    reads: Mapping[str, str] = {}
    revives: Mapping[str, Form] = NO_FORMS
    mark: str = "?"
    quote: str = '"'
    percent: str = "%"
    folds: bool = True
    longest: int = 0
    most: int = 0
    refused: str = ""
    refuses: Callable[[Any], bool] = lambda value: False
    sign: bytes = b""
    keyed: str = ""
    indexed: str = "CREATE INDEX {0} ON {1} ({2})"
    ends: str = ""
    comment: str = ""
    notes: tuple[str, str] = ("", "")
    noted: str = ""
    remarks: bool = False
    views: str = ""
    unnested: Callable[[ListView], str] = str
    casts: Mapping[str, str] = {}
    position: str = "instr({}, '_')"
    reached: Callable[[str, str, Sequence[str]], str] = lambda column, kind, steps: column
    locks: str = ""
    insert_new: str = "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING"

    def same(self, name: str) -> str:
        """The common form of two names that mean the same."""
        return name.lower() if self.folds else name

    def quoted(self, name: str) -> str:
        doubled = name.replace(self.quote, self.quote * 2).replace("%", self.percent)
        return f"{self.quote}{doubled}{self.quote}"

    def held_type(self, field: Field, kind: str, former: str) -> str:
        """The type of the values that an existing column holds, empty if there is none.

        field: as the catalogue has it now; kind: the column's type as the database names it;
        former: the type with which its rows were written, empty if there are none.
        """
        if former in _JSON_TYPES and field.type in _JSON_TYPES:
            former = field.type
        known = (former, field.type, *_SCALAR_TYPES, "object")
        return next((each for each in known if self._names(each, kind)), "")

    def _names(self, each: str, kind: str) -> bool:
        return self.types.get(each, "").lower() == kind.lower()

    def text(self, *texts: str) -> str:
        """A comment, without what would end it, in any database."""
        text = " · ".join(filter(None, texts))[:_MOST]
        plain = "".join([each if each.isprintable() else " " for each in text])
        plain = plain.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace("\\", "/")
        return plain.replace("*/", "* /").replace("%", self.percent)

    def note(self, *texts: str) -> str:
        text = self.text(*texts) if self.noted else ""
        return self.noted.format(text) if text else ""

    def remarked(
        self, name: str, columns: Mapping[str, Sequence[str]], comment: str = ""
    ) -> list[str]:
        if not self.remarks:
            return []
        table = self.quoted(name)
        found = [(f"TABLE {table}", comment)]
        for column, texts in columns.items():
            found.append((f"COLUMN {table}.{self.quoted(column)}", self.text(*texts)))
        return [f"COMMENT ON {what} IS '{text}'" for what, text in found if text]

    def takes(self, name: str) -> bool:
        """Whether a name is not too long."""
        return not self.longest or len(name.encode()) <= self.longest

    def marks(self, number: int) -> str:
        return ", ".join([self.mark] * number)

    def selected(self, fields: Iterable[Field]) -> str:
        return ", ".join(
            self.reads.get(field.type, "{}").format(self.quoted(field.name)) for field in fields
        )


def as_text(value: Any) -> str:
    """A nested value as JSON text."""
    return encode(value).decode()


FORMS: dict[str, Form] = {"date": date.isoformat, "object": as_text, "list": as_text}
"""What values become in every database."""


def is_negative_zero(value: Any) -> bool:
    """Whether a value is -0.0, of which some databases keep the zero only."""
    return type(value) is float and value == 0 and copysign(1, value) < 0


class Layout:
    """One interface's table, and its records as rows of it.

    An existing column keeps its type, even if the catalogue has changed.  existing: the columns of
    the table, and their types as the database names them; former: the types with which its rows
    were written.  Fields without a column are in ``_extra``: those whose names are too long, those
    that are too many, and those whose column is of a type that no field has.

    described: the columns that the checksum of a row covers, in order, and what is nested in them,
    as JSON; number: its checksum, by which the database knows it.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint | None,
        dialect: Dialect,
        existing: Mapping[str, str] = {},
        former: Mapping[str, str] = {},
    ) -> None:
        if not dialect.takes(name):
            raise UsageError(
                "interface: {} cannot be the name of a table in {}, which allows at most {} bytes",
                name,
                dialect.name,
                dialect.longest,
            )
        self.name = name
        self.given = fields = endpoint.fields if endpoint is not None else ()
        self._dialect = dialect
        self._comment = dialect.text(getattr(endpoint, "label", ""), getattr(endpoint, "title", ""))
        self._day = getattr(endpoint, "day_field", "")
        self._identifies = getattr(endpoint, "key", ())
        self._cut = getattr(endpoint, "cut", WindowKind.DAYS)
        self._meanings = meanings(columns_of(name, fields, self._cut).values())
        self._has = {dialect.same(column): kind for column, kind in existing.items()}
        held = [*self._held(fields, dialect, former)]
        names = {field.name for field in held}
        beyond = [field.name for field in fields if field.name not in names]
        self.table = Table(name, held, forms=dialect.forms, beyond=beyond)
        self.columns = (*self.table.columns, ROW, CHECKSUM)
        self.described = as_text([*map(_described, self.columns[:-1])])
        self.number = crc32(self.described.encode())
        self._may_refuse = any(field.type == dialect.refused for field in self.table.fields)

    def _held(
        self, fields: Iterable[Field], dialect: Dialect, former: Mapping[str, str]
    ) -> Iterator[Field]:
        room = dialect.most - max(len(self._has), len(_ALWAYS))
        for field in fields:
            name = dialect.same(field.name)
            if name not in self._has:
                if dialect.takes(field.name) and (room > 0 or not dialect.most):
                    room -= 1
                    yield field
            elif held := dialect.held_type(field, self._has[name], former.get(name, "")):
                yield field._replace(type=held)

    def rows(self, batches: Sequence[Batch]) -> Iterator[Row]:
        """The records of the batches, ready to be inserted.

        Between chunks it releases the interpreter's lock: the application's loop runs on another
        thread, and each of its calls for a socket waits for that lock again.
        """
        for chunk in chunks(batches):  # what has just been made is still in the processor's cache
            sleep(0)
            rows = self.table.rows_of(chunk)
            if self._may_refuse and self._refuses_some(chunk):
                rows = [*map(self._moved, rows)]
            places = chain.from_iterable([range(each.count) for each in chunk])
            placed = [(*row, place) for row, place in zip(rows, places, strict=True)]
            sums = chain.from_iterable([repeat(each.checksum, each.count) for each in chunk])
            yield from [
                (*row, whole << 31 | own & ROW_BITS)
                for row, whole, own in zip(placed, sums, row_checksums(placed), strict=True)
            ]

    def _refuses_some(self, batches: Iterable[Batch]) -> bool:
        first, sign = self._dialect.sign[:1], self._dialect.sign
        return any(
            [first in piece and sign in piece for batch in batches for piece in batch.pieces]
        )

    def _moved(self, row: Row) -> Row:
        refuses = self._dialect.refuses
        refused = {
            field.name: value
            for field, value in zip(self.table.fields, row, strict=False)
            if value is not None and refuses(value)
        }
        if not refused:
            return row
        held = [
            None if field.name in refused else value
            for field, value in zip(self.table.columns, row, strict=True)
        ]
        return (*held[:-1], as_text({**refused, **parse((row[-1] or "{}").encode())}))

    def create(self) -> list[str]:
        dialect, quoted = self._dialect, self._dialect.quoted
        before, after = (each.format(self._comment) for each in dialect.notes)
        columns = ", ".join(map(self._defined, self.columns))
        index = self._index()
        within, then = (index, []) if index.startswith(",") else ("", [index] if index else [])
        parts = f"{before}{columns}, PRIMARY KEY ({', '.join(KEY)}){within}"
        return [
            f"CREATE TABLE {quoted(self.name)} ({parts}){dialect.ends}{after}",
            *then,
            *dialect.remarked(self.name, self._texts(self.columns), self._comment),
        ]

    def _index(self) -> str:
        dialect, quoted = self._dialect, self._dialect.quoted
        for field in self.table.fields:
            if field.name == self._day and field.type == "date":
                name = f"{self.name}_by_day"
                named = quoted(name) if dialect.takes(name) else ""
                columns = f"{KEY[0]}, {quoted(self._day)}"
                return dialect.indexed.format(named, quoted(self.name), columns)
        return ""

    def views(self) -> dict[str, list[str]]:
        dialect = self._dialect
        tables = tables_of(self.name, self.table.fields, self._identifies, self._cut)
        return {
            each.name: [
                f"CREATE VIEW {dialect.quoted(each.name)} AS {dialect.unnested(each)}",
                *dialect.remarked(each.name, meanings(each.columns)),
            ]
            for each in filter(None, map(list_view, tables))
            if dialect.takes(each.name)
        }

    def grow(self, where: str) -> list[str]:
        """Statements that add the columns which a table lacks; raises `UsageError` for another."""
        same, has = self._dialect.same, self._has
        missing = [field for field in self.columns if same(field.name) not in has]
        wrong = [
            f"{field.name} is {has[same(field.name)]}, not {self._type(field)}"
            for field in self.columns
            if field not in missing and has[same(field.name)].lower() != self._type(field).lower()
        ]
        wrong += [say("{} is missing", field.name) for field in missing if field.name in _ALWAYS]
        if wrong:
            raise UsageError(
                "the table {} of {} does not have the columns of a harvest ({}{}); rename the"
                " table, or choose another database",
                self.name,
                where,
                ", ".join(wrong[:3]),
                ", …" if wrong[3:] else "",
            )
        table = self._dialect.quoted(self.name)
        added = [f"ALTER TABLE {table} ADD COLUMN {self._defined(field)}" for field in missing]
        return [*added, *self._dialect.remarked(self.name, self._texts(missing))]

    def _type(self, field: Field) -> str:
        return self._dialect.types["key" if field.name == KEY[0] else field.type]

    def _defined(self, field: Field) -> str:
        dialect = self._dialect
        keyed = dialect.keyed if field.name == KEY[0] else ""
        needed = " NOT NULL" if field.name in (*KEY, *_WINDOW) else ""
        text = dialect.text(*self._texts([field])[field.name])
        comment = dialect.comment.format(text) if text else ""
        return f"{dialect.quoted(field.name)} {self._type(field)}{keyed}{needed}{comment}"

    def _texts(self, fields: Iterable[Field]) -> dict[str, Sequence[str]]:
        return {
            each.name: self._meanings.get(each.name, (each.label, each.meaning)) for each in fields
        }


def fields_of(described: str) -> list[Field]:
    """The columns of a layout that was described."""
    return [Field(str(name), str(kind)) for name, kind, *_ in parse(described.encode())]


def _described(field: Field) -> list[Any]:
    nested = field.type in ("object", "list")
    more = [field.item, [*map(_described, field.fields)]] if nested else []
    return [field.name, field.type, *more]


class Reader:
    """The rows of a table as inserted, by the layouts of their insertion."""

    def __init__(self, layouts: Iterable[str], existing: Iterable[str], dialect: Dialect) -> None:
        has = {dialect.same(name) for name in existing}
        listed = [*map(fields_of, layouts)]
        fields = {dialect.same(field.name): field for each in listed for field in each}
        self.columns = [
            *[field for name, field in fields.items() if name in has and name not in _ALWAYS],
            *METADATA, EXTRA, ROW, CHECKSUM,
        ]  # fmt: skip
        places = [
            self._places([dialect.same(field.name) for field in each], dialect) for each in listed
        ]
        self._layouts = [*dict.fromkeys(filter(None, places))]
        names = [field.name for field in self.columns]
        self.window = itemgetter(*map(names.index, _WINDOW))
        self.fetched_at = itemgetter(names.index(_FETCHED_AT))
        self._own = len(names) - len(_ALWAYS)
        self._revives = [dialect.revives.get(field.type) for field in self.columns]

    def _places(self, names: Sequence[str], dialect: Dialect) -> tuple[int, ...]:
        """The places of a layout's columns among all; none if one of them is gone."""
        places = {dialect.same(field.name): n for n, field in enumerate(self.columns)}
        return tuple([places[name] for name in names]) if places.keys() >= {*names} else ()

    def revived(self, row: Sequence[Any]) -> Row:
        return tuple(
            [
                value if revive is None or value is None else revive(value)
                for revive, value in zip(self._revives, row, strict=True)
            ]
        )

    def checksum(self, rows: Sequence[Row]) -> tuple[int, bool]:
        """The checksum of a window's records, and whether all rows are as they were inserted.

        If they are not, the checksum differs.
        """
        first = rows[0][-1]
        whole = first >> 31 & _RECORDS if type(first) is int else 0
        as_inserted = all([self._is_whole(row, whole) for row in rows])
        return whole if as_inserted else whole ^ _RECORDS, as_inserted

    def _is_whole(self, row: Row, whole: int) -> bool:
        *values, stored = row
        if type(stored) is not int or stored >> 31 != whole:
            return False
        present = len(values) - values.count(None)
        for places in self._layouts:
            held = tuple([values[place] for place in places])
            if len(held) - held.count(None) == present and (
                row_checksum(held) & ROW_BITS == stored & ROW_BITS
            ):
                return True
        return False

    def record(self, row: Row) -> dict[str, Any]:
        """The record of a row: days as text, JSON as values."""
        fields = self.columns[: self._own]
        values = [
            None if value is None else _as_it_came(field, value)
            for field, value in zip(fields, row, strict=False)
        ]
        extra = row[-3]
        return record_of(fields, values, _as_it_came(EXTRA, extra) if extra else {})


def _as_it_came(field: Field, value: Any) -> Any:
    if field.type in _JSON_TYPES:
        return parse(value.encode()) if isinstance(value, str) else value
    return value.isoformat() if isinstance(value, date) else value


def day_of(value: Any) -> date:
    """A day as the database gives it back."""
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def moment_of(value: Any) -> str:
    """A moment as the database gives it back, as RFC 3339."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = str(value or "")  # one of a type that knows no time zone is in UTC
    return f"{text[:10]}T{text[11:]}Z" if len(text) == 19 else text
