"""Views of the tables of a database: the lists within records, and the tables that join interfaces.

Rule: pure; which views there are and what their columns are: those of `harvester.tables`.
The SQL of lists is a dialect's.

A list has one row per item.  Its columns are the key of the record, the fields that identify it (of
which a whole number given for a text is read as its text), the days and codes of the items that it
is within, ``_item``, and the fields of the item.  A value that is not of its field's type is null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from harvester.model import Field
from harvester.tables import ACCOUNT, FETCHED, ITEM, KEY, Column, JoinedTable, Part, Path, Table

_PLAIN = re.compile(r"[\w-]+")  # what needs no escape in a path
_BEGIN = (Field("_appid", "str"), Field("_begin_date", "date"))
_ALIKE = (*_BEGIN, FETCHED.field)
DAY = (  # of a year from 1 to 9999, without hyphens
    "^(?!0000)("
    "[0-9]{4}((0[1-9]|1[0-2])(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])(29|30)|(0[13578]|1[02])31)"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)0229)$"
)
"""A regular expression of PostgreSQL, MySQL and MariaDB."""
EXACT = 2**53
"""A whole number up to this is the same as a float."""


class JoinDialect(Protocol):
    """What the SQL of views needs of a dialect.

    casts: the type that a null is cast to, by a field's type.  position: the place of a ``_`` in a
    text, from 1, or 0.  reached: the value of a type in a column of JSON.  note: a comment behind a
    column, if the database keeps it.
    """

    @property
    def casts(self) -> Mapping[str, str]: ...
    @property
    def position(self) -> str: ...
    @property
    def reached(self) -> Callable[[str, str, Sequence[str]], str]: ...

    def quoted(self, name: str) -> str: ...
    def note(self, *texts: str) -> str: ...


class ListView(NamedTuple):
    """The view of a list; table: that of its interface, whose key its rows begin with."""

    name: str
    table: str
    lists: Sequence[Path]
    columns: Sequence[Column]

    def selected(
        self, dialect: JoinDialect, number: str, value: Callable[[Column], str]
    ) -> Iterator[str]:
        """Its columns in a SELECT from ``parent``.

        number: the place of an item, from 0, ``{}`` being the number of its list.  value: gives
        what a column within an item has.
        """
        for name in KEY:
            yield f"parent.{name}"
        for column in self.columns:
            if column.is_number:
                shown = number.format(column.level)
            elif column.level:
                shown = value(column)
            else:
                shown = _key(column.path[0], column.field.type, dialect, "parent.")
            yield f"{shown} AS {dialect.quoted(column.name)}{dialect.note(*column.meaning)}"
        yield f"parent.{FETCHED.name}"


def list_view(table: Table) -> ListView | None:
    """The view of a table of an interface; None if it is no list, or a path of it cannot be SQL."""
    columns = [each for each in table.columns if all(map(_PLAIN.fullmatch, each.path))]
    paths = [name for path in table.lists for name in path]
    if not table.lists or not all(map(_PLAIN.fullmatch, paths)):
        return None
    has_values = any(each.level == len(table.lists) and not each.is_number for each in columns)
    return ListView(table.name, table.interface, table.lists, columns) if has_values else None


def meanings(columns: Iterable[Column]) -> dict[str, Sequence[str]]:
    """What columns are, in Chinese and English."""
    return {column.name: column.meaning for column in columns}


def _key(name: str, kind: str, dialect: JoinDialect, within: str = "") -> str:
    """A field of a key: the text of a whole number, where a text is expected."""
    column = f"{within}{dialect.quoted(name)}"
    if kind != "str" or not _PLAIN.fullmatch(name):
        return column
    number = dialect.reached(f"{within}_extra", "int", [name])
    return f"COALESCE({column}, CAST({number} AS {dialect.casts['str']}))"


def joined_query(
    table: JoinedTable, existing: Mapping[str, Collection[str]], dialect: JoinDialect
) -> str:
    """The query of a table that joins interfaces, from what is there; empty if no part is."""
    quoted = dialect.quoted
    parts = [part for part in table.parts if part.table in existing]
    rows = [_part(part, table, existing[part.table], dialect) for part in parts]
    if not rows:
        return ""
    if len(table.parts) == 1:
        found = f"({rows[0]}) AS parts"
    else:
        found = f"({_grouped(table, rows, quoted)}) AS parts"
    known = meanings((*table.columns, FETCHED))
    nobody = f"CAST(NULL AS {dialect.casts['str']}) AS {quoted(ACCOUNT.name)}"
    shown = [
        shown
        for field in (_BEGIN[0], *table.fields, _BEGIN[1], FETCHED.field)
        for shown in _shown(field, table, dialect, dialect.note(*known.get(field.name, ())))
    ]
    shown.insert(1, f"{nobody}{dialect.note(*ACCOUNT.meaning)}")  # names are in no database
    return f"SELECT {', '.join(shown)} FROM {found}"


def _grouped(table: JoinedTable, parts: Sequence[str], quoted: Callable[[str], str]) -> str:
    """One row per key of these parts; a row that lacks a part of its key is not joined.

    own: of such a row the number of its part.  nth: the number of a row among those of its part
    that have its key.
    """
    keys = [*map(quoted, ("_appid", "_begin_date", *table.key))]
    lacks = " OR ".join(f"{key} IS NULL" for key in keys[2:])
    union = " UNION ALL ".join(
        f"SELECT {n} AS number, part.* FROM ({each}) AS part" for n, each in enumerate(parts)
    )
    numbered = (  # outside of the union, so that SQLite looks for an account in each of the parts
        f"SELECT rows_of_all.*, CASE WHEN {lacks} THEN number ELSE -1 END AS own, ROW_NUMBER()"
        f" OVER (PARTITION BY {', '.join(keys)}, number ORDER BY place, item) AS nth"
        f" FROM ({union}) AS rows_of_all"
    )
    values = []
    for name in map(quoted, ("_appid", "_begin_date", *[each.name for each in table.columns])):
        tries = [f"MAX(CASE number WHEN {n} THEN {name} END)" for n in range(len(parts))]
        first = tries[0] if len(tries) == 1 else f"COALESCE({', '.join(tries)})"
        values.append(name if name in keys else f"{first} AS {name}")
    values.append(f"MAX({FETCHED.name}) AS {FETCHED.name}")
    where = " WHERE nth = 1 OR own >= 0" if table.once else ""
    return (
        f"SELECT {', '.join(values)} FROM ({numbered}) AS numbered{where}"
        f" GROUP BY {', '.join(keys)}, own, nth"
    )


def _part(part: Part, table: JoinedTable, existing: Collection[str], dialect: JoinDialect) -> str:
    quoted = dialect.quoted
    found = []
    for field in (*_ALIKE, *table.fields):
        is_key = field.name in table.key and not part.lists
        values = []
        for own in part.columns.get(field.name, field.name if field in _ALIKE else "").split():
            name, *steps = own.split(".")
            if name in existing and steps:
                values.append(dialect.reached(quoted(name), field.type, steps))
            elif name in existing:
                values.append(_key(name, field.type, dialect) if is_key else quoted(name))
        value = values[0] if values else f"CAST(NULL AS {dialect.casts[field.type]})"
        value = f"COALESCE({', '.join(values)})" if len(values) > 1 else value
        found.append(f"{value} AS {quoted(field.name)}")
    if len(table.parts) > 1:
        found += ["_row AS place", f"{ITEM if part.lists else 0} AS item"]
    query = f"SELECT {', '.join(found)} FROM {quoted(part.table)}"
    name, left_out = part.without
    if name:
        column = quoted(part.columns[name])
        query += f" WHERE {column} IS NULL OR {column} <> {_literal(left_out)}"
    return query


def _shown(field: Field, table: JoinedTable, dialect: JoinDialect, note: str) -> Iterator[str]:
    name = dialect.quoted(field.name)
    yield f"{name}{note}"
    for language in ("zh", "en") if field.codes else ():
        labels = " ".join(
            f"WHEN {_literal(code.value)} THEN {_literal(getattr(code, language))}"
            for code in field.codes
        )
        yield f"CASE {name} {labels} END AS {dialect.quoted(f'{field.name}_{language}')}"
    if field.name == "msgid" and table.parsed:
        at = dialect.position.format(name)
        ends = {"mid": f"1, {at} - 1", "idx": f"{at} + 1"}
        for part in table.parsed:
            value = f"CASE WHEN {at} > 0 THEN substr({name}, {ends[part]}) END"
            yield f"{value} AS {dialect.quoted(part)}"


def _literal(value: int | str) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
