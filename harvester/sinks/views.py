"""The lists within an interface's records, as views of its table: a row an item.

Rule: pure; which views there are and what their columns are.  The SQL is a dialect's.

A view is named ``<interface>_<list>``, a list within an object or another list with the names of
these between.  Its columns are the key of the record, the fields that identify it, ``_item`` (the
number of the item in its list, from 0; of a list within lists ``_item`` is that of the outermost
one, ``_item_2`` that of the next), and the fields of the item.  A value that is not of its field's
type is null there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from harvester.model import Field

SCALARS = ("int", "float", "str", "bool", "date")
ITEM = "_item"
_PLAIN = re.compile(r"[\w-]+")  # what needs no escape in a path

Path = tuple[str, ...]


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
