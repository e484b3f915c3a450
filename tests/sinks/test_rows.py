from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.model import Batch, Field, Window
from harvester.sinks.rows import Table, record_of

STAMP = "2024-06-15T04:00:00Z"
WINDOW = Window("wx1", "figures", date(2024, 1, 31), date(2024, 1, 31))
FIELDS = (
    Field("ref_date", "date"),
    Field("n", "int"),
    Field("rate", "float"),
    Field("title", "str"),
    Field("open", "bool"),
    Field("detail", "object", fields=(Field("a", "int"), Field("b", "str"))),
    Field("parts", "list", fields=(Field("day", "date"), Field("n", "int"))),
    Field("ids", "list", item="int"),
)
WHOLE = {
    "ref_date": "2024-01-31",
    "n": 1,
    "rate": 0.5,
    "title": "题 🎉\0" + "x" * 300,
    "open": True,
    "detail": {"a": 1, "b": "x"},
    "parts": [{"day": "20240131", "n": 2}],
    "ids": [1, 2],
}


def batch(*records: dict[str, Any]) -> Batch:
    return Batch(WINDOW, list(records), STAMP)


def row(record: dict[str, Any], **how: Any) -> dict[str, Any]:
    table = Table("figures", FIELDS, **how)
    (values,) = table.rows(batch(record))
    found = dict(zip([field.name for field in table.columns], values, strict=True))
    found["_extra"] = json.loads(found["_extra"] or "{}")
    return {**found, "drift": table.drift()}


def test_a_record_as_the_catalogue_knows_it_is_all_in_its_columns() -> None:
    found = row(WHOLE)
    assert found == {
        **WHOLE,
        "ref_date": date(2024, 1, 31),
        "_appid": "wx1",
        "_endpoint": "figures",
        "_begin_date": date(2024, 1, 31),
        "_end_date": date(2024, 1, 31),
        "_fetched_at": datetime(2024, 6, 15, 4, tzinfo=UTC),
        "_extra": {},
        "drift": [],
    }


def test_nested_values_are_typed_where_a_format_has_types_for_them() -> None:
    found = row(WHOLE, typed_nesting=True)
    assert found["parts"] == [{"day": date(2024, 1, 31), "n": 2}]
    assert found["detail"] == {"a": 1, "b": "x"}
    assert found["ids"] == [1, 2]
    assert not found["_extra"]


def test_an_unknown_field_is_kept_and_told_once() -> None:
    table = Table("figures", FIELDS)
    for _ in range(2):
        (values,) = table.rows(batch({**WHOLE, "new": {"x": [1]}, "_extra": 1}))
        assert json.loads(values[-1]) == {"new": {"x": [1]}, "_extra": 1}
    assert table.drift() == [
        "figures: the field 'new' is not known; its value is in _extra",
        "figures: the field '_extra' is not known; its value is in _extra",
    ]
    table.rows(batch({**WHOLE, "new": 1}))
    assert table.drift() == []


OF_ANOTHER_TYPE: dict[str, list[Any]] = {
    "n": ["1", 1.0, True, 2**63, -(2**63) - 1],
    "rate": ["0.5", 2**53 + 1, False],
    "title": [5],
    "open": [1],
    "ref_date": ["2024-02-30", "202401", "2024-W05-1", "2024-W05", "20240101-20240107", 20240131,
                 "２０２４０１３１"],
    "detail": [[1]],
    "parts": [{"day": 1}],
    "ids": [3],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in OF_ANOTHER_TYPE.items() for value in values],
)
@pytest.mark.parametrize("typed", [False, True])
def test_a_value_of_another_type_stands_in_extra_as_it_came(
    name: str, value: object, typed: bool
) -> None:
    found = row({**WHOLE, name: value}, typed_nesting=typed)
    assert found[name] is None
    assert found["_extra"] == {name: value}
    (sentence,) = found["drift"]
    assert sentence.startswith(f"figures: {name} ")


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("detail", {"a": 1, "b": "x", "c": 2}, {"a": 1, "b": "x"}),
        ("detail", {"a": "1"}, {"a": None, "b": None}),
        ("parts", [{"day": "20240131", "n": 2, "more": 1}], [{"day": date(2024, 1, 31), "n": 2}]),
        ("ids", [1, "2"], [1, None]),
    ],
)
def test_a_nested_value_that_holds_more_is_kept_whole(name: str, value: Any, held: Any) -> None:
    typed = row({**WHOLE, name: value}, typed_nesting=True)
    assert typed[name] == held
    assert typed["_extra"] == {name: value}
    plain = row({**WHOLE, name: value})
    assert plain[name] == value
    assert plain["_extra"] == {}
    assert typed["drift"] == plain["drift"] != []


def test_missing_and_null_fields_are_null_and_no_drift() -> None:
    found = row({"n": None})
    assert found["n"] is None
    assert found["title"] is None
    assert not found["_extra"]
    assert not found["drift"]


def test_a_whole_number_is_a_float_where_it_is_the_same() -> None:
    assert row({**WHOLE, "rate": 3})["rate"] == 3.0


def test_a_table_without_known_fields_keeps_all_in_extra_and_calls_nothing_drift() -> None:
    table = Table("own")
    (values,) = table.rows(batch(WHOLE))
    assert json.loads(values[-1]) == WHOLE
    assert table.drift() == []


def test_columns_that_a_database_could_not_tell_apart_are_one() -> None:
    table = Table("own", (Field("A", "int"), Field("a", "int"), Field("_APPID", "int")))
    assert [field.name for field in table.columns][:2] == ["A", "_appid"]


def test_a_record_is_its_columns_with_extra_laid_over_them() -> None:
    table = Table("figures", FIELDS)
    for record in (WHOLE, {**WHOLE, "n": "1", "new": 2}):
        (values,) = table.rows(batch(record))
        again = record_of(table.columns, values, json.loads(values[-1] or "{}"))
        assert {name: again[name] for name in record} == {
            **record,
            "ref_date": date(2024, 1, 31),
        }


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3), st.just("2024-01-31"), st.just("20240131"), st.lists(st.integers(-1, 9)),
    st.fixed_dictionaries({}, optional={"a": st.integers(0, 9), "b": st.text(max_size=2)}),
    st.just([{"day": "2024-01-31", "n": 1}]), st.just([{"day": 1, "more": 2}]),
)  # fmt: skip
RECORDS = st.one_of(
    st.just(WHOLE),
    st.builds(lambda name, value: {**WHOLE, name: value},
              st.sampled_from([*WHOLE, "new", "_extra"]), VALUES),
    st.dictionaries(st.sampled_from([*WHOLE, "new", "Rate", "_appid"]), VALUES),
)  # fmt: skip


@pytest.mark.thorough
@given(st.lists(st.lists(RECORDS, max_size=3), max_size=4), st.booleans())
def test_many_windows_at_once_give_the_same_rows_as_one_by_one(
    records: list[list[dict[str, Any]]], typed: bool
) -> None:
    forms = {"date": str, "object": repr, "list": repr}
    batches = [batch(*each) for each in records]
    one, other = (Table("figures", FIELDS, typed_nesting=typed, forms=forms) for _ in range(2))
    slowly = [row for each in batches for row in one.rows(each)]
    assert repr(other.rows_of(batches)) == repr(slowly)
    assert sorted(other.drift()) == sorted(one.drift())
