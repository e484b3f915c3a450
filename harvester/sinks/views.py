"""Views of the tables of a database: the lists within records, and the tables that join interfaces.

Rule: pure; which views there are and what their columns are.  The SQL of lists is a dialect's.

A list has a row an item.  Its view is named ``<interface>_<list>``, a list within an object or
another list with the names of these between.  Its columns are the key of the record, the fields
that identify it, ``_item`` (the number of the item in its list, from 0; of a list within lists
``_item`` is that of the outermost one, ``_item_2`` that of the next), and the fields of the item.
A value that is not of its field's type is null there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from harvester.model import Field
from harvester.wechat.tables import JoinedTable, Part

SCALARS = ("int", "float", "str", "bool", "date")
ITEM = "_item"
_PLAIN = re.compile(r"[\w-]+")  # what needs no escape in a path

_BEGIN = (Field("_appid", "str"), Field("_begin_date", "date"))

Path = tuple[str, ...]


class JoinDialect(Protocol):
    """What the SQL of joined tables needs of a dialect.

    casts: the type that a null is cast to, by a field's type.  position: the place of a ``_`` in a
    text, from 1, or 0.  reached: the value of a type in a column of JSON.
    """

    @property
    def casts(self) -> Mapping[str, str]: ...
    @property
    def position(self) -> str: ...
    @property
    def reached(self) -> Callable[[str, str, Sequence[str]], str]: ...

    def quoted(self, name: str) -> str: ...


class Value(NamedTuple):
    """A column of a view, and where its value is in an item; an empty path: it is the item."""

    name: str
    type: str
    path: Path


class ListView(NamedTuple):
    """One list.

    columns: those of the table that the view has, too.  lists: where the list is; of a list within
    lists there is a path for each of them, from the item of the one before.  The first name of all
    is a column of the table.
    """

    name: str
    table: str
    columns: Sequence[str]
    lists: Sequence[Path]
    values: Sequence[Value]

    @property
    def numbers(self) -> list[str]:
        """The columns with the number of an item, one for each of the lists."""
        return [ITEM, *[f"{ITEM}_{n}" for n in range(2, len(self.lists) + 1)]]


def lists_of(
    table: str, fields: Sequence[Field], columns: Sequence[str], same: Callable[[str], str]
) -> Iterator[ListView]:
    """All lists within the records of a table whose fields are these.

    columns: those that identify a record.  same: what two names have in common that mean the same
    column.
    """
    for lists, field in _lists(fields, ()):
        names = [name for path in lists for name in path]
        view = ListView("_".join([table, *names]), table, columns, lists, ())
        taken = {same(name) for name in (*columns, *view.numbers)}
        values = []
        for value in _values(field):
            name = value.name if same(value.name) not in taken else f"{names[-1]}_{value.name}"
            if same(name) not in taken:
                taken.add(same(name))
                values.append(value._replace(name=name))
        if values:
            yield view._replace(values=values)


def _lists(
    fields: Sequence[Field], outer: tuple[Path, ...], within: Path = ()
) -> Iterator[tuple[tuple[Path, ...], Field]]:
    """Each list with its `ListView.lists`; outer: the lists that these fields' items are in."""
    for field in fields:
        path = (*within, field.name)
        if not _PLAIN.fullmatch(field.name):
            continue
        if field.type == "object":
            yield from _lists(field.fields, outer, path)
        elif field.type == "list":
            yield (*outer, path), field
            yield from _lists(field.fields, (*outer, path))


def _values(field: Field) -> Iterator[Value]:
    """The values of a list's items."""
    if field.item in SCALARS:
        yield Value("value", field.item, ())
    elif field.item == "object":
        yield from _within(field.fields, ())


def _within(fields: Sequence[Field], path: Path) -> Iterator[Value]:
    for field in fields:
        if _PLAIN.fullmatch(field.name):
            inner = (*path, field.name)
            if field.type == "object":
                yield from _within(field.fields, inner)
            elif field.type in SCALARS:
                yield Value("_".join(inner), field.type, inner)


def joined_query(
    table: JoinedTable, existing: Mapping[str, Collection[str]], dialect: JoinDialect
) -> str:
    """The query of a table that joins interfaces; empty if none of its parts is there.

    existing: the columns of each table and view that is there, by name.
    """
    quoted = dialect.quoted
    parts = [part for part in table.parts if part.table in existing]
    columns = (*_BEGIN, *table.columns)
    rows = [_part(part, columns, existing[part.table], dialect) for part in parts]
    if not rows:
        return ""
    if len(table.parts) == 1:
        found = f"({rows[0]}) AS parts"
    else:
        numbered = [
            f"SELECT {n} AS number, part.* FROM ({each}) AS part" for n, each in enumerate(rows)
        ]
        key = {"_appid", "_begin_date", *table.key}
        values = []
        for field in columns:
            name = quoted(field.name)
            tries = [f"MAX(CASE number WHEN {n} THEN {name} END)" for n in range(len(rows))]
            first = tries[0] if len(tries) == 1 else f"COALESCE({', '.join(tries)})"
            values.append(name if field.name in key else f"{first} AS {name}")
        keys = ", ".join([quoted(field.name) for field in columns if field.name in key])
        union = " UNION ALL ".join(numbered)
        found = f"(SELECT {', '.join(values)} FROM ({union}) AS numbered GROUP BY {keys}) AS parts"
    shown = [shown for field in columns for shown in _shown(field, table, dialect)]
    return f"SELECT {', '.join(shown)} FROM {found}"


def _part(
    part: Part, columns: Sequence[Field], existing: Collection[str], dialect: JoinDialect
) -> str:
    """The query of a part, with all columns of the table."""
    quoted = dialect.quoted
    found = []
    for field in columns:
        own = field.name if field in _BEGIN else part.columns.get(field.name, "")
        name, *steps = own.split(".")
        value = f"CAST(NULL AS {dialect.casts[field.type]})"
        if name in existing:
            value = quoted(name) if not steps else dialect.reached(quoted(name), field.type, steps)
        found.append(f"{value} AS {quoted(field.name)}")
    return f"SELECT {', '.join(found)} FROM {quoted(part.table)}"


def _shown(field: Field, table: JoinedTable, dialect: JoinDialect) -> Iterator[str]:
    """A column, and what is derived from it: labels of codes, and the parts of a msgid."""
    name = dialect.quoted(field.name)
    yield name
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
