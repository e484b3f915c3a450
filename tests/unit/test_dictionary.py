"""The data dictionary is that of the catalogue, and has a title and a unit for each column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.exports.shapes import FLAT, Shape
from harvester.model import Field
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.tables import TABLES
from harvester.wechat.titles import FIELDS, UNITS
from tests.dictionary import dictionary

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
    page = Path(__file__).parents[2] / "docs" / "tables.md"
    assert page.read_text() == dictionary(), "python -m tests.dictionary > docs/tables.md"


@pytest.mark.parametrize("name", [*INTERFACES, *TABLES])
def test_every_column_has_titles_and_every_figure_a_unit(name: str) -> None:
    given = INTERFACES[name].fields if name in INTERFACES else TABLES[name].fields
    for field in fields(given):
        assert FIELDS[field.name].zh == field.label
        assert field.meaning
        if field.type in ("int", "float") and not field.codes:
            assert (field.name in UNITS) != (field.name in WITHOUT_UNIT), field.name


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
