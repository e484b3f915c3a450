"""The labels of codes are those of WeChat's pages."""

from __future__ import annotations

from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.labels import (
    DEPTHS,
    DISTRIBUTIONS,
    PARTS,
    STAYS,
    VISIT_SOURCES,
    listed,
    within,
)


def test_the_parts_of_distributions_have_the_codes_of_their_page() -> None:
    assert [code.value for code in VISIT_SOURCES] == [*range(1, 58)]
    assert [code.value for code in STAYS] == [*range(1, 9)]
    assert [code.value for code in DEPTHS] == [*range(1, 8)]
    assert {*PARTS} == {code.value for code in DISTRIBUTIONS}
    for codes in PARTS.values():
        assert len({code.zh for code in codes}) == len({code.en for code in codes}) == len(codes)


def test_codes_within_lists_are_told_as_these_lists() -> None:
    assert [(names, len(codes)) for codes, names in listed(within(PARTS)).items()] == [
        (["access_source_session_cnt", "access_source_visit_uv"], 57),
        (["access_staytime_info"], 8),
        (["access_depth_info"], 7),
    ]


def test_a_field_that_decides_is_one_of_the_item_around_the_list() -> None:
    found = 0
    for endpoint in INTERFACES.values():
        for outer in endpoint.fields:
            names = {each.name for each in outer.fields}
            inner = [field for each in outer.fields for field in each.fields if field.codes_by]
            assert {field.codes_by for field in inner} <= names
            found += len(inner)
    assert found == 1
