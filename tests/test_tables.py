"""The data dictionary is that of the catalogue, and has a title and a unit for each column."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harvester.exports.shapes import FLAT, Shape
from harvester.model import Field
from harvester.sinks.sql.schema import _MOST
from harvester.tables import DAY, PAIRS, TABLES, TOTAL, Column, columns_of, tables_of
from harvester.wechat.figures import FIGURES
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.titles import FIELDS
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
            assert (field.name in FIGURES) != (field.name in WITHOUT_UNIT), field.name


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


def test_each_number_is_a_figure_with_a_unit_and_a_time_or_is_said_to_be_none() -> None:
    for (table, name), column in columns().items():
        field = column.field
        if field.type not in ("int", "float") or field.codes or column.is_number:
            assert column.figure is None, (table, name)
        elif field.name in WITHOUT_UNIT and column.figure is None:
            assert field.name == "value" or field.name not in FIGURES
        else:
            assert column.figure is not None, (table, name)
            assert all([*column.figure.unit, *column.figure.window, *column.figure.covers])


def test_a_ratio_names_its_denominator_and_says_that_it_is_not_summed() -> None:
    figures = [each.figure for each in columns().values() if each.figure is not None]
    ratios = [each for each in figures if each.unit.en == "0 to 1"]
    assert len(ratios) > 5
    assert all(each.of.en and each.of.zh and each.never.en and each.never.zh for each in ratios)
    assert all(each.never.en for each in figures if each.kind != DAY)


def test_people_are_summed_only_where_they_are_said_to_be_others_each_day() -> None:
    """Who follows or comes for the first time does so on one day."""
    once = {"new_user", "cancel_user", "visit_uv_new"}
    for (table, name), column in columns().items():
        if column.figure is not None and column.figure.unit.en == "people":
            is_free = not column.figure.never.en
            assert is_free == (column.field.name in once), (table, name)


def test_a_figure_that_each_row_of_an_answer_repeats_says_that_it_is_not_summed() -> None:
    known = columns()
    repeated = [(name, field) for name, each in INTERFACES.items() for field in each.lifts]
    figures = [known[each].figure for each in repeated if known[each].figure is not None]
    assert len(figures) >= 3
    assert all(each.never.en and each.never.zh for each in figures)


def test_a_mean_names_its_denominator_where_a_source_does() -> None:
    silent = {"read_avg_activetime"}
    for (table, name), column in columns().items():
        if column.figure is not None and column.figure.never.en.startswith("a mean"):
            assert (not column.figure.of.en) == (column.field.name in silent), (table, name)
            assert column.figure.of.en in column.meaning.en


def test_figures_that_are_not_to_be_compared_are_figures_and_name_each_other() -> None:
    known = columns()
    for pair in PAIRS:
        assert all(pair.why)
        for one, other in ((pair.one, pair.other), (pair.other, pair.one)):
            assert known[one].figure
            for about in (known[one].apart, known[one].meaning):
                for text, why in zip(about, pair.why, strict=True):
                    assert ".".join(other) in text
                    assert why in text


def test_an_object_and_a_list_name_what_the_figures_within_must_not_be_compared_with() -> None:
    def meaning(interface: str, name: str) -> str:
        endpoint = INTERFACES[interface]
        return columns_of(interface, endpoint.fields, endpoint.cut)[name].meaning.en

    assert "read_user: article_days.read_user (" in meaning("getbizsummary", "detail")
    listed = meaning("getarticletotaldetail", "detail_list")
    assert "share_user: getarticletotal_details.share_user (" in listed
    assert "compare" not in meaning("getarticletotaldetail", "title")


def test_a_total_of_30_days_says_that_the_console_has_7() -> None:
    known = columns()
    for table in ("article_totals", "getarticletotaldetail_detail_list"):
        console = known[table, "read_user"].figure.console  # type: ignore[union-attr]
        assert console == ("总阅读人数 (只计发布后 7 天)", "总阅读人数 (only the first 7 days)")
    of_7_days = known["getarticletotal_details", "int_page_read_user"].figure
    assert of_7_days is not None
    assert of_7_days.kind == TOTAL
    assert of_7_days.console == ("总阅读人数", "总阅读人数")


def test_a_column_that_only_retired_interfaces_fill_says_so() -> None:
    found = {key: each for key, each in columns().items() if each.retired}
    of_days, of_totals = ("getarticlesummary",), ("getarticletotal",)
    assert {key: each.retired for key, each in found.items()} == {
        **{("article_days", name): of_days for name in
           ("title", "read_count", "share_count", "collection_user")},
        **{("article_totals", name): of_totals for name in
           ("read_count", "share_count", "target_user")},
    }  # fmt: skip
    for column in found.values():
        for about in (column.about, column.meaning):
            assert f"only retired interfaces provide it: {column.retired[0]}" in about.en
            assert f"仅由已下线的接口提供：{column.retired[0]}" in about.zh


def test_no_comment_is_longer_than_a_database_takes() -> None:
    found = [column.meaning for column in columns().values()]
    for name, each in INTERFACES.items():
        found += [column.meaning for column in columns_of(name, each.fields, each.cut).values()]
    assert max(len(" · ".join(each)) for each in found) < _MOST


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
