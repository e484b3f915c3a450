"""What an interface must deliver, and when missing figures are requested again."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from zlib import crc32

import pytest

from harvester.base.dates import DAY, settles_at
from harvester.model import Field
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import (
    AGAIN,
    EMPTY_AGAIN,
    Delivery,
    again_at,
    completed,
    delivery,
    due_at,
    final_at,
    had,
    has_last_entry,
    lacks,
    waits_until,
)

JAN = [date(2020, 1, number) for number in range(1, 32)]
STAT = Field("stat_date", "date")
PLAIN = JsonEndpoint("plain", "/x", date(2014, 12, 1))
DAILY = replace(PLAIN, daily=True, span=7)
GROWS = replace(
    PLAIN, late_days=7, key=("id",), fields=(
        Field("ref_date", "date"),
        Field("detail", "object", fields=(STAT,)),
        Field("names", "list", fields=(Field("name", "str"),)),
        Field("parts", "list", fields=(Field("count", "int"), STAT)),
    ),
)  # fmt: skip


def test_every_interface_delivers_one_of_three_things() -> None:
    found: dict[Delivery, list[str]] = {kind: [] for kind in Delivery}
    for name, endpoint in INTERFACES.items():
        found[delivery(endpoint)].append(name)
    assert found[Delivery.DAILY] == ["getusercumulate"]
    growing = {name: INTERFACES[name].late_days for name in found[Delivery.ENTRIES]}
    assert growing == {
        "getarticletotal": 7, "getarticletotaldetail": 30, "publisher_settlement": 62,
    }  # fmt: skip
    assert len(found[Delivery.UNCERTAIN]) == len(INTERFACES) - 4


def test_an_interface_of_a_user_s_own_may_not_say_what_it_delivers() -> None:
    class Silent:
        late_days = 0

    assert delivery(Silent()) is Delivery.UNCERTAIN  # type: ignore[arg-type]

    class Later(Silent):
        late_days = 7
        fields = ()

    assert delivery(Later()) is Delivery.UNCERTAIN  # type: ignore[arg-type]
    assert delivery(replace(GROWS, late_days=0)) is Delivery.UNCERTAIN
    assert delivery(replace(GROWS, fields=())) is Delivery.UNCERTAIN
    assert delivery(replace(GROWS, fields=(), grows=True)) is Delivery.ENTRIES


def test_what_is_missing_is_waited_for_until_three_days_after_it_was_due() -> None:
    assert due_at(DAILY, JAN[0]) == settles_at(JAN[0])
    assert waits_until(DAILY, JAN[0]) == settles_at(JAN[3])
    assert waits_until(replace(DAILY, settled_hour=13), JAN[0]) == settles_at(JAN[3], 13)
    assert final_at(GROWS, JAN[0]) == settles_at(JAN[6])
    assert waits_until(GROWS, JAN[0]) == settles_at(JAN[9])
    assert waits_until(replace(GROWS, late_days=1), JAN[0]) == settles_at(JAN[3])
    assert waits_until(replace(PLAIN, late_days=7), JAN[0]) == settles_at(JAN[3])


@pytest.mark.parametrize(("late_days", "last"), [(0, 1), (1, 1), (7, 7)])
def test_figures_are_final_once_the_last_day_on_which_they_grow_is_settled(
    late_days: int, last: int
) -> None:
    growing = replace(PLAIN, late_days=late_days, settled_hour=9)
    assert final_at(growing, date(2024, 1, 1)) == settles_at(date(2024, 1, last), 9)


@pytest.mark.parametrize("schedule", [AGAIN, EMPTY_AGAIN])
def test_the_next_request_is_on_the_next_day_of_the_schedule(schedule: tuple[int, ...]) -> None:
    due, begin = settles_at(JAN[0]), 0
    for day in schedule:
        for wall in (due + begin * DAY, due + day * DAY - 1):
            assert again_at(schedule, due, wall, 8) == due + day * DAY
        begin = day
    assert again_at(schedule, due, due + begin * DAY, 8) is None


def test_what_was_first_missed_later_is_asked_for_on_three_more_days() -> None:
    due, noon = settles_at(JAN[0]), settles_at(date(2021, 5, 4)) + 4 * 3600
    for tries in range(3):
        assert again_at(AGAIN, due, noon, 8, tries) == settles_at(date(2021, 5, 5))
    assert again_at(AGAIN, due, noon, 13, 0) == settles_at(date(2021, 5, 5), 13)
    assert again_at(AGAIN, due, noon, 8, 3) is None
    assert again_at(AGAIN, due, due + 20 * DAY, 8, 9) == due + 21 * DAY


def row(*days: int, publ: int | None = None, **more: Any) -> dict[str, Any]:
    beside = {} if publ is None else {"ref_date": f"2020-01-{publ:02}"}
    return {**beside, "parts": [{"stat_date": f"2020-01-{day:02}"} for day in days], **more}


@pytest.mark.parametrize(
    ("records", "whole"),
    [
        ([], True),
        ([row(*range(1, 8))], True),
        ([row(7)], True),
        ([row(8)], True),  # more than was said
        ([row(*range(1, 7))], False),
        ([row(7), row(6)], False),
        ([row(6), row(7)], False),
        ([row()], False),
        ([row(7, publ=1)], True),
        ([row(7, publ=2)], False),
        ([row(8, publ=2)], True),
        ([{}], False),
        ([{"parts": None}], False),
        ([{"parts": [1, {}, {"stat_date": "soon"}]}], False),
        ([{"parts": [{}, {"stat_date": "2020-01-07"}]}], True),
    ],
)
def test_a_list_is_whole_with_the_entry_of_the_last_day_for_which_it_grows(
    records: list[dict[str, Any]], whole: bool
) -> None:
    assert has_last_entry(GROWS, records, JAN[0]) is whole
    assert has_last_entry(PLAIN, records, JAN[0])


@pytest.mark.parametrize(
    ("now", "lacking"),
    [
        ([row(1, 2, id=1), row(1, id=2)], False),
        ([row(1, id=2), row(2, 1, 3, id=1)], False),
        ([row(1, 2, id=1)], True),
        ([row(2, 3, id=1), row(1, id=2)], True),  # as many entries as before
        ([row(1, 2, id=1), row(1, id=3)], True),
        ([row(1, 2, id=1), {"id": 2, "parts": None}], True),
        ([row(1, 2, id=1), {"id": 2, "parts": [{"stat_date": 20200101}]}], False),
        ([], True),
    ],
)
def test_a_record_or_an_entry_that_an_earlier_answer_had_is_missed(
    now: list[dict[str, Any]], lacking: bool
) -> None:
    before = had(GROWS, [row(1, 2, id=1), row(1, id=2)])
    assert lacks(GROWS, before, now) is lacking


def test_only_what_must_stay_is_noted() -> None:
    assert had(PLAIN, [{"id": 1}]) == had(DAILY, [{"id": 1}]) == had(GROWS, []) == ""
    assert not lacks(GROWS, "", [])
    settlement = INTERFACES["publisher_settlement"]
    first, second = {"month": "202001", "order": 1}, {"month": "202001", "order": 2}
    assert lacks(settlement, had(settlement, [first, second]), [second])
    assert not lacks(settlement, had(settlement, [first]), [{**first, "sett_status": 3}, second])


def test_what_must_stay_is_a_checksum_of_each_key_and_a_bit_for_each_day() -> None:
    records = [row(1, id=1), row(2, id=1), row(3, 3, id=2), row(4), row(5, id=None)]
    first, second, third = (1 << JAN[day].toordinal() % 63 for day in range(3))
    assert json.loads(had(GROWS, records)) == {
        str(crc32(b"[1]")): first, str(crc32(b"[1] 1")): second,
        str(crc32(b"[2]")): third, str(crc32(b"[2] 0 1")): third,
    }  # fmt: skip


def test_an_interface_of_a_user_s_own_may_have_no_key_and_no_list() -> None:
    class Own:
        late_days, fields, grows = 7, (), True

    own: Any = Own()
    before = had(own, [{"a": 1}])
    assert lacks(own, before, [])
    assert not lacks(own, before, [{"a": 2}])
    assert completed(own, [{"a": 1}], [{"a": 2}]) == ([{"a": 1}], 0)


def test_what_an_answer_lacks_is_kept_and_what_it_has_is_newer() -> None:
    stored = [row(1, 2, id=1, title="a"), row(1, id=2)]
    now = [row(2, 3, id=1, title="b"), row(5, id=3)]
    both, kept = completed(GROWS, now, stored)
    assert both == [row(1, 2, 3, id=1, title="b"), row(5, id=3), row(1, id=2)]
    assert kept == 2
    assert completed(GROWS, stored, stored) == (stored, 0)
    bare: list[dict[str, Any]] = [{"id": 1, "parts": None}]
    assert completed(GROWS, bare, stored[:1]) == ([row(1, 2, id=1, parts=stored[0]["parts"])], 2)


def union(
    newer: Sequence[dict[str, Any]], older: Sequence[dict[str, Any]], field: str
) -> list[dict[str, Any]]:
    """The items of both: of equal ones as many as the answer with more of them has."""
    found, left = list(newer), [each.get(field) for each in newer]
    for each in older:
        if each.get(field) in left:
            left.remove(each.get(field))
        else:
            found.append(each)
    return found


def drawn(draw: random.Random, title: str) -> list[dict[str, Any]]:
    """Records with doubled, null, empty and missing keys; in their lists doubled days, and none."""
    made = []
    for number in range(draw.randrange(5)):
        days = [draw.choice([None, 1, 2, 2, 3]) for _ in range(draw.randrange(4))]
        parts = [
            {"n": f"{title}{number}", **({"stat_date": f"2020-01-0{day}"} if day else {})}
            for day in days
        ]
        record: dict[str, Any] = {"title": title, "parts": parts}
        if (key := draw.choice([1, 1, 2, 3, None, "", "no"])) != "no":
            record["id"] = key
        made.append(record)
    return made


@pytest.mark.thorough
def test_what_is_kept_is_a_union_of_both_answers_by_key_and_day() -> None:
    draw, differing = random.Random(7), 0
    for _ in range(3_000):
        older, newer = drawn(draw, "old"), drawn(draw, "new")
        keyed = [each for each in older if each.get("id")]
        rest = list(keyed)
        wanted = []
        for record in newer:
            same = next((one for one in rest if one["id"] == record.get("id")), None)
            if same is not None:
                rest.remove(same)
                dated = [one for one in same["parts"] if "stat_date" in one]
                parts = union(record["parts"], dated, "stat_date")
                if len(parts) > len(record["parts"]):
                    parts.sort(key=lambda one: one.get("stat_date", ""))
                record = {**record, "parts": parts}
            wanted.append(record)
        wanted = [*wanted, *rest] if newer else older
        both, kept = completed(GROWS, newer, older)
        assert both == wanted
        entries = sum(len(each["parts"]) for each in both if each["title"] == "new")
        more = entries - sum(len(each["parts"]) for each in newer)
        assert kept == sum(each["title"] == "old" for each in both) + more
        if older:
            assert lacks(GROWS, had(GROWS, older), newer) is bool(kept)
        differing += bool(kept)
    assert 500 < differing < 2_900


def test_the_rows_of_days_that_an_answer_lacks_are_kept_in_the_order_of_days() -> None:
    stored = [{"ref_date": f"2020-01-0{day}", "n": 1} for day in (1, 2, 3)]
    both, kept = completed(DAILY, [{"ref_date": "2020-01-02", "n": 2}], stored)
    assert both == [stored[0], {"ref_date": "2020-01-02", "n": 2}, stored[2]]
    assert kept == 2
