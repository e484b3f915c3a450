"""The data dictionary is that of the catalogue, and has a title and a unit for each column."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harvester.exports.shapes import FLAT, Shape
from harvester.model import Field
from harvester.tables import DAY, PAIRS, TABLES, Column, tables_of
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.titles import FIELDS, UNITS
from tests.dictionary import dictionary
from tests.support import ROOT

WITHOUT_UNIT = {
    "user_source": "a code that is always 0",
    "ref_hour": "a time of the day",
    "key": "the place of a part in its distribution",
    "value": "of more than one kind",
    "id": "a number of WeChat's",
    "timestamp": "a moment",
    "metric_value": "of the metric that was asked for",
    "slot_id": "a number of WeChat's",
}


def fields(given: tuple[Field, ...]) -> Iterator[Field]:
    for field in given:
        yield field
        yield from fields(field.fields)


def test_the_page_is_that_of_the_catalogue() -> None:
    page = ROOT / "docs" / "tables.md"
    assert page.read_text() == dictionary(), "python -m tests.dictionary > docs/tables.md"


@pytest.mark.parametrize("name", [*INTERFACES, *TABLES])
def test_every_column_has_titles_and_every_figure_a_unit(name: str) -> None:
    given = INTERFACES[name].fields if name in INTERFACES else TABLES[name].fields
    for field in fields(given):
        assert FIELDS[field.name].zh == field.label
        assert field.meaning
        if field.type in ("int", "float") and not field.codes:
            assert (field.name in UNITS) != (field.name in WITHOUT_UNIT), field.name


def columns() -> dict[tuple[str, str], Column]:
    """All columns, by table and name."""
    own = [
        (table.name, column)
        for name, each in INTERFACES.items()
        for table in tables_of(name, each.fields, each.key, each.cut)
        for column in table.columns
    ]
    joined = [(name, column) for name, table in TABLES.items() for column in table.columns]
    return {(name, column.name): column for name, column in [*own, *joined]}


def test_a_ratio_names_its_denominator_and_says_that_it_is_not_summed() -> None:
    figures = [each.figure for each in columns().values() if each.figure is not None]
    ratios = [each for each in figures if each.unit.en == "0 to 1"]
    assert len(ratios) > 5
    assert all(each.of.en and each.of.zh and each.never.en and each.never.zh for each in ratios)
    assert all(each.never.en for each in figures if each.kind != DAY)


def test_figures_that_are_not_to_be_compared_are_figures() -> None:
    known = columns()
    for pair in PAIRS:
        assert known[pair.one].figure
        assert known[pair.other].figure
        assert all(pair.why)


@pytest.mark.parametrize("name", TABLES)
def test_the_parts_of_a_table_are_columns_of_its_interfaces(name: str) -> None:
    table = TABLES[name]
    for part in table.parts:
        shape = Shape(part.interface, INTERFACES[part.interface], FLAT)
        columns = {each.name: {*each.schema.names} for each in shape.tables}
        paths = " ".join(part.columns.values()).replace(".", "_")
        assert {*paths.split()} <= columns[part.table]
        assert {*part.columns} <= {field.name for field in table.columns}
        assert {*table.key} <= {*part.columns}
