"""The parts of the answer to a window: final, provisional or late."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from harvester.base.dates import DAY, WindowKind, settles_at
from harvester.engine.parts import (
    DELAYED,
    NO_ENTRY,
    NO_RECORD,
    NO_ROW,
    Part,
    empty_days,
    parts_of,
)
from harvester.ledger.coverage import OpenWindow
from harvester.model import RECHECK_INTERVAL, Endpoint, Field, Tally, Window
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.late import AGAIN, EMPTY_AGAIN

DAYS = JsonEndpoint("days", "/x", date(2014, 12, 1), span=7)
DAILY = replace(DAYS, name="daily", daily=True)
GROWS = JsonEndpoint(
    "grows", "/x", date(2014, 12, 1), late_days=7, key=("id",),
    fields=(Field("parts", "list", fields=(Field("stat_date", "date"),)),),
)  # fmt: skip
FIRST = date(2020, 1, 6)
WEEK = Window("wx1", "days", FIRST, FIRST + timedelta(6))
ONE = WEEK._replace(end=FIRST)


def rows(*numbers: int) -> list[dict[str, Any]]:
    """A record for the n-th day of the week."""
    return [{"ref_date": str(FIRST + timedelta(number - 1))} for number in numbers]


def days(first: int, last: int | None = None) -> tuple[date, date]:
    return FIRST + timedelta(first - 1), FIRST + timedelta((last or first) - 1)


def after(number: int, later: float = 0.0) -> float:
    """The Unix time when the n-th day was due, and some days later."""
    return settles_at(FIRST + timedelta(number - 1)) + later * DAY


def shown(found: list[Part]) -> list[tuple[tuple[date, date], str, int]]:
    return [(part.days, part.state, len(part.records)) for part in found]


def late(window: Window, tries: int = 0, records: int = 0, state: str = "late") -> OpenWindow:
    return OpenWindow(
        window.begin, window.end, state, Tally(records, 5 * records), fetched_at="x", tries=tries
    )


def part(endpoint: Endpoint, wall: float, records: list[dict[str, Any]], **more: Any) -> Part:
    (found,) = parts_of(endpoint, ONE, records, wall, **more)
    return found


# which days are empty


@pytest.mark.parametrize(
    ("named", "gaps"),
    [
        ((1, 2, 3, 4, 5, 6, 7), 0),
        ((7, 6, 5, 4, 3, 2, 1, 1), 0),
        ((1, 4, 5, 6, 7), 0b0000110),
        ((2, 3), 0b1111001),
        ((), 0b1111111),
    ],
)
def test_the_days_that_no_record_names_are_empty(named: tuple[int, ...], gaps: int) -> None:
    assert empty_days(DAYS, rows(*named), WEEK) == gaps


def test_where_a_record_names_no_day_none_is_known_to_be_empty() -> None:
    assert empty_days(DAYS, [*rows(1), {}], WEEK) == 0
    assert empty_days(replace(DAYS, day_field=""), rows(1), WEEK) == 0
    assert empty_days(replace(DAYS, cut=WindowKind.WEEK), rows(1), WEEK) == 0
    assert empty_days(DAYS, [{}], ONE) == 0


# nothing certain


def test_of_old_days_whatever_the_answer_has_is_final() -> None:
    (found,) = parts_of(DAYS, WEEK, rows(1, 4), after(7, 8))
    assert (found.days, found.state, found.empty) == (days(1, 7), "final", 0b1110110)


def test_empty_young_days_are_apart_and_the_others_are_final() -> None:
    found = parts_of(DAYS, WEEK, rows(1, 2, 4, 5, 7), after(7))
    assert shown(found) == [
        (days(1, 2), "final", 2),
        (days(3), "open", 0),
        (days(4, 5), "final", 2),
        (days(6), "open", 0),
        (days(7), "final", 1),
    ]
    assert [each.why for each in found] == ["", NO_RECORD, "", NO_RECORD, ""]
    assert not any(each.waits for each in found)
    assert [row for each in found for row in each.records] == rows(1, 2, 4, 5, 7)


def test_an_old_empty_day_is_final_beside_a_young_one() -> None:
    found = parts_of(DAYS, WEEK, rows(1, 3, 4, 5, 6), after(2, 8))
    assert shown(found) == [(days(1, 6), "final", 5), (days(7), "open", 0)]
    assert found[0].empty == 0b10


def test_an_empty_day_is_asked_for_again_on_its_first_day_and_five_others() -> None:
    assert part(DAYS, after(1), []).due == part(DAYS, after(1, 0.99), []).due == 0.0
    begin = 1
    for day in EMPTY_AGAIN[1:]:
        found = part(DAYS, after(1, begin), [])
        assert (found.state, found.due, found.waits) == ("open", after(1, day), False)
        begin = day
    assert part(DAYS, after(1, begin), []) == Part(days(1), [], empty=1)
    assert part(DAYS, after(1, 2), rows(1)).state == "final"


@pytest.mark.parametrize("cut", [WindowKind.WEEK, WindowKind.MONTH])
def test_an_empty_period_is_one_part(cut: WindowKind) -> None:
    (found,) = parts_of(replace(DAYS, cut=cut), WEEK, [], after(7))
    assert (found.days, found.state) == (days(1, 7), "open")
    (found,) = parts_of(replace(DAYS, cut=cut), WEEK, rows(1), after(7))
    assert (found.state, found.empty) == ("final", 0)


# one row per day


def test_days_without_a_row_are_late_and_the_others_are_final_meanwhile() -> None:
    found = parts_of(DAILY, WEEK, rows(1, 2, 5, 6, 7), after(7))
    assert shown(found) == [
        (days(1, 2), "final", 2), (days(3, 4), "late", 0), (days(5, 7), "final", 3),
    ]  # fmt: skip
    assert (found[1].why, found[1].waits, found[1].tries) == (NO_ROW, False, 0)
    assert found[1].due == after(4, 5)
    found = parts_of(DAILY, WEEK, rows(1, 2, 3, 4, 5, 6), after(7))
    assert (found[1].days, found[1].due) == (days(7), 0.0)


def test_a_row_is_asked_for_again_until_day_thirty_and_is_then_never_delivered() -> None:
    assert part(DAILY, after(1, 0.99), [], again=late(ONE)).due == 0.0
    stored, begin = late(ONE), 1
    for day in AGAIN[1:]:
        found = part(DAILY, after(1, begin), [], again=stored)
        assert (found.state, found.due, found.waits) == ("late", after(1, day), begin < 3)
        stored, begin = stored._replace(tries=found.tries), day
    found = part(DAILY, after(1, begin), [], again=stored)
    assert (found.state, found.empty, found.due, found.waits) == ("never", 1, 0.0, False)
    assert part(DAILY, after(1, 20), rows(1), again=stored) == Part(days(1), rows(1))


def test_what_is_first_missed_later_is_asked_for_on_three_days_more() -> None:
    stored, wall = late(ONE), after(1, 400)
    for tries in (1, 2):
        found = part(DAILY, wall, [], again=stored)
        assert (found.state, found.tries, found.waits) == ("late", tries, False)
        assert wall < found.due <= wall + DAY
        stored, wall = stored._replace(tries=found.tries), found.due
    assert part(DAILY, wall, [], again=stored).state == "never"


def test_an_old_day_without_a_row_is_final_until_it_is_known_that_one_must_be_there() -> None:
    (found,) = parts_of(DAILY, WEEK, [], after(7, 3))
    assert (found.state, found.empty) == ("final", 0b1111111)
    found_ = parts_of(DAILY, WEEK, rows(5, 6, 7), after(7, 3))
    assert shown(found_) == [(days(1, 4), "final", 0), (days(5, 7), "final", 3)]
    found_ = parts_of(DAILY, WEEK, rows(1, 7), after(7, 400))
    assert shown(found_)[1] == (days(2, 6), "late", 0)
    assert part(DAILY, after(1, 2.9), [], again=late(ONE), expected=False).state == "late"
    assert part(DAILY, after(1, 3), [], again=late(ONE), expected=False).state == "final"


# entries


def grown(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": 1, "parts": [{"stat_date": str(days(number)[0])} for number in numbers]}]


def test_what_grows_is_provisional_and_due_hours_later() -> None:
    wall = after(7) - 1
    for records in (grown(1, 2), grown(*range(1, 8)), []):
        found = part(GROWS, wall, records)
        assert (found.state, found.due, found.waits) == ("open", wall + RECHECK_INTERVAL, False)
        assert found.why == "its figures can change"
        assert bool(found.had) is bool(records)


def test_a_last_entry_that_is_not_there_is_late_from_the_day_on_which_it_was_due() -> None:
    assert part(GROWS, after(7), grown(*range(1, 8))) == Part(days(1), grown(*range(1, 8)))
    for later, due, waits in ((1.5, 2, True), (2.9, 3, True), (3, 5, False), (21, 30, False)):
        found = part(GROWS, after(7, later), grown(1, 2), again=late(ONE, 9))
        assert (found.state, found.why, found.waits) == ("late", NO_ENTRY, waits)
        assert found.due == after(7, due)
        assert found.had
    found = part(GROWS, after(7, 30), grown(1, 2), again=late(ONE, 9))
    assert (found.state, found.empty, found.records) == ("never", 1, grown(1, 2))


def test_a_provisional_window_of_before_has_not_been_tried_for_its_last_entry() -> None:
    found = part(GROWS, after(7, 400), grown(1), again=late(ONE, 0, 1, "open"))
    assert (found.state, found.tries) == ("late", 0)
    assert part(GROWS, after(7, 401), grown(1), again=late(ONE, 0, 1)).tries == 1


def test_figures_that_change_without_entries_are_final_after_their_days() -> None:
    changing = replace(DAYS, span=1, late_days=3)
    assert part(changing, after(3) - 1, rows(1)).state == "open"
    assert part(changing, after(3), rows(1)).state == "final"
    assert part(changing, after(3), []).due == after(1, 3)


def test_days_whose_figures_change_are_not_cut() -> None:
    changing = replace(DAYS, late_days=3)
    (found,) = parts_of(changing, WEEK, rows(1, 3), after(7))
    assert (found.days, found.state, found.records) == (days(1, 7), "open", rows(1, 3))


# what WeChat calls late


def test_what_wechat_calls_late_is_late_as_a_whole_and_waits_for_three_days() -> None:
    for endpoint, records in ((DAYS, rows(1, 3)), (DAILY, rows(1, 3)), (DAYS, [])):
        for day, due in ((0, None), (1, 2), (2, 3), (3, 5), (21, 30)):
            again = called_late(day) if day else None
            (found,) = parts_of(endpoint, WEEK, records, after(7, day), delayed=True, again=again)
            assert (found.days, found.state, found.waits) == (days(1, 7), "late", day < 3)
            assert (found.due, found.why) == (after(7, due) if due else 0.0, DELAYED)


def test_what_wechat_calls_late_for_ever_is_final_or_was_never_delivered() -> None:
    for endpoint in (DAYS, DAILY):
        (found,) = parts_of(
            endpoint, WEEK, rows(1), after(7, 30), delayed=True, again=called_late(30)
        )
        assert (found.state, found.empty, found.had) == ("final", 0b1111110, "")
        (found,) = parts_of(endpoint, WEEK, [], after(7, 30), delayed=True, again=called_late(30))
        assert (found.state, found.empty) == ("never", 0b1111111)


def test_what_wechat_calls_late_and_can_change_is_requested_as_often_as_without_it() -> None:
    changes = replace(DAYS, late_days=62)
    for day in (0, 1, 4, 30):
        wall = after(7, day)
        (found,) = parts_of(changes, WEEK, rows(1), wall, delayed=True, again=called_late(9))
        assert (found.state, found.why, found.waits) == ("late", DELAYED, day < 3)
        assert (found.due, found.tries) == (wall + RECHECK_INTERVAL if day else 0.0, 0)
    since = 61  # after it was due
    for day, due in ((0, None), (1, 2), (21, 30)):
        wall = after(7, since + day)
        (found,) = parts_of(changes, WEEK, rows(1), wall, delayed=True, again=called_late(day))
        assert (found.state, found.due) == ("late", after(7, since + due) if due else 0.0)
    wall = after(7, since + 30)
    (found,) = parts_of(changes, WEEK, rows(1), wall, delayed=True, again=called_late(30))
    assert (found.state, found.had) == ("final", "")


def called_late(tries: int) -> OpenWindow:
    return OpenWindow(WEEK.begin, WEEK.end, "late", Tally(1, 1), tries=tries)
