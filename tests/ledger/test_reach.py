"""How far an interface is complete and final, from its days, and from its calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from harvester.base.dates import Days, WindowKind
from harvester.ledger.coverage import Calendar, Outcome
from harvester.ledger.reach import LATE, Counts, Reach, Together, reach_of
from harvester.model import Endpoint, Tally, Window
from harvester.wechat.interfaces import INTERFACES
from tests.support import at

FIRST = date(2024, 1, 1)
NOW = at("2024-02-01", 16)
USERS = INTERFACES["getusersummary"]


def day(number: int | None) -> date | None:
    return None if number is None else FIRST + timedelta(days=number - 1)


def reach(letters: str) -> Reach:
    return Reach(FIRST, letters.encode())


@pytest.mark.parametrize(
    ("letters", "complete", "final", "newest", "gap", "lacking"),
    [
        ("fffff", 5, 5, 5, None, 0),
        ("feffe", 5, 5, 5, None, 0),
        ("fffoo", 5, 3, 5, None, 0),
        ("ffo.f", 3, 2, 5, 4, 1),
        (".ffff", None, None, 5, 1, 1),
        ("offff", 5, None, 5, None, 0),
        ("f....", 1, 1, 1, 2, 4),
        ("ffxwf", 2, 2, 5, 3, 2),
        ("--ffo", 5, 4, 5, None, 0),
        ("fnffo", 5, 4, 5, None, 0),
        ("fflfo", 2, 2, 5, 3, 1),
        ("ff_fo", 5, 4, 5, None, 0),  # it begins anew behind what was not asked for
        ("ff_.o", None, None, 5, 4, 1),
        ("ffo__", 3, 2, 3, None, 0),
        ("__fff", 5, 5, 5, None, 0),
        ("fff,,", 3, 3, 3, None, 0),
        ("___,,", None, None, None, None, 0),
        (".....", None, None, None, 1, 5),
        ("", None, None, None, None, 0),
    ],
)
def test_the_first_day_that_lacks_something_ends_what_is_complete_and_final(
    letters: str, complete: int | None, final: int | None, newest: int | None, gap: int | None,
    lacking: int,
) -> None:  # fmt: skip
    found = reach(letters)
    assert (found.complete, found.final) == (day(complete), day(final))
    assert (found.newest, found.gap, found.lacking) == (day(newest), day(gap), lacking)


@pytest.mark.parametrize(
    ("letters", "answered"),
    [("ff.x", 2), ("ffl", 3), ("fnw", 2), (".w-.", 3), ("..", None), ("f.f_", 3)],
)
def test_behind_the_last_answered_day_none_has_come(letters: str, answered: int | None) -> None:
    assert reach(letters).answered == day(answered)


@pytest.mark.parametrize(
    ("begin", "end", "complete"),
    [(1, 2, 2), (4, 9, 5), (-5, 9, 2), (3, 3, None), (6, 9, None), (-9, -5, None)],
)
def test_a_range_is_judged_by_its_own_days(begin: int, end: int, complete: int | None) -> None:
    days = FIRST + timedelta(days=begin - 1), FIRST + timedelta(days=end - 1)
    assert reach("ff.ff").within(days).complete == day(complete)


def test_days_of_a_state_are_found_as_ranges_and_since_when() -> None:
    found = reach("fll.llf")
    assert [*found.runs(LATE)] == [(day(2), day(3)), (day(5), day(6))]
    assert found.since(FIRST + timedelta(days=5)) == day(5)
    assert (found.at(FIRST), found.at(FIRST - timedelta(days=1))) == (ord("f"), None)
    assert found.counts == Counts(final=2, missing=1, late=4)


def test_several_accounts_reach_as_far_as_the_one_that_is_worst_off() -> None:
    found = Together()
    for appid, letters in (("wx1", "fffff"), ("wx2", "ffoof"), ("wx3", "fff.f")):
        found.add(appid, reach(letters))
    assert (found.complete, found.final, found.newest) == (day(3), day(2), day(5))
    assert (len(found.accounts), found.behind, found.lacking) == (3, ["wx3"], 1)


def test_what_is_not_there_of_one_is_not_there_of_all() -> None:
    found = Together()
    found.add("wx1", reach("ff"))
    found.add("wx2", reach(""))
    found.add("wx3", reach("ff"))
    assert (found.complete, found.behind) == (None, ["wx2"])
    assert Together().complete is None


def days(first: int, last: int) -> Days:
    return FIRST + timedelta(days=first - 1), FIRST + timedelta(days=last - 1)


def calendar(*outcomes: tuple[str, int, int]) -> Calendar:
    made = Calendar()
    for state, first, last in outcomes:
        days = FIRST + timedelta(days=first - 1), FIRST + timedelta(days=last - 1)
        made.apply(Outcome(Window("wx1", "one", *days), state, Tally()))
    return made


def letters(
    known: Calendar, first: int, last: int, endpoint: Endpoint | None = USERS
) -> tuple[int, str]:
    asked = FIRST + timedelta(days=first - 1), FIRST + timedelta(days=last - 1)
    return read(known, [asked], endpoint)


def read(
    known: Calendar, asked: Sequence[Days], endpoint: Endpoint | None = USERS, now: float = NOW
) -> tuple[int, str]:
    found = reach_of(known, asked, endpoint, now)
    assert found is not None
    return (found.first - FIRST).days + 1, found.letters.decode()


def test_a_stored_window_that_is_late_has_late_days() -> None:
    known = calendar(("final", 1, 2), ("late", 3, 4), ("open", 5, 5), ("failed", 6, 6))
    assert letters(known, 1, 7) == (1, "ffllox.")


def test_between_what_was_asked_for_and_what_is_known_nobody_has_asked() -> None:
    known = calendar(("final", 1, 2), ("final", 9, 9))
    assert letters(known, 5, 7) == (1, "ff__..._f")
    found = reach_of(known, [days(5, 7)], USERS, NOW)
    assert found is not None
    assert found.counts == Counts(final=3, missing=3, not_asked=3)


def test_between_two_ranges_nobody_has_asked_and_an_account_begins_with_the_last() -> None:
    known = calendar(("final", 2, 3), ("final", 9, 9), ("failed", 11, 11))
    assert read(known, [days(1, 4), days(8, 11)]) == (1, ".ff.___.f.x")
    found = reach_of(known, [days(1, 3), days(9, 10)], USERS, NOW)
    assert found is not None
    assert (found.begins, found.complete) == (day(9), day(9))
    assert found.within(days(1, 3)).begins == day(1)
    assert found.within(days(4, 7)).begins is None


def test_no_day_from_today_on_is_in_any_reading() -> None:
    known = calendar(("final", 30, 31), ("waiting", 40, 45))
    assert read(known, [days(30, 60)]) == (30, "ff")  # a clock was ahead
    assert read(Calendar(), [days(40, 60)]) == (40, "")


def test_yesterday_before_its_hour_and_a_period_that_is_not_over_are_not_due() -> None:
    early = at("2024-02-01", 7.9)
    assert read(calendar(("final", 29, 30)), [days(29, 31)], now=early) == (29, "ff,")
    assert read(calendar(("final", 29, 30)), [days(29, 31)]) == (29, "ff.")
    assert read(calendar(("final", 29, 31)), [days(29, 31)], now=early) == (29, "fff")
    weeks, months = INTERFACES["getupstreammsgweek"], INTERFACES["getupstreammsgmonth"]
    assert read(Calendar(), [days(15, 31)], weeks) == (15, "." * 14 + ",,,")  # Monday on
    assert read(Calendar(), [days(15, 31)], months) == (15, "_" * 17)
    assert read(Calendar(), [days(15, 31)], months, early) == (15, "," * 17)
    assert read(Calendar(), [days(1, 31)], months) == (1, "." * 31)


def test_parts_of_weeks_are_not_asked_for() -> None:
    weeks = INTERFACES["getupstreammsgweek"]
    assert weeks.cut is WindowKind.WEEK
    assert letters(Calendar(), 3, 16, weeks) == (3, "_____.......__")
    assert letters(Calendar(), 3, 9, weeks) == (3, "_______")
    assert letters(Calendar(), 3, 9, weeks) == (3, "_______")
    assert read(Calendar(), [days(1, 4), days(6, 7)], weeks) == (1, "_______")
    assert read(Calendar(), [days(1, 7)], weeks) == (1, ".......")
    assert reach_of(Calendar(), (), weeks, NOW) is None


def test_recent_days_that_are_over_cannot_be_asked_for_whatever_became_of_them() -> None:
    recent = INTERFACES["getweanalysisappiduserportrait"]
    known = calendar(("failed", 1, 7), ("final", 20, 20))
    first, found = letters(known, 1, 31, recent)
    assert (first, found[:20], found[-7:]) == (1, "-" * 19 + "f", ".......")


def test_what_was_answered_of_recent_days_that_are_over_is_final() -> None:
    recent = INTERFACES["getweanalysisappiduserportrait"]
    known = calendar(
        ("open", 1, 1), ("late", 2, 2), ("waiting", 3, 3), ("open", 30, 30), ("open", 31, 31)
    )
    known.windows[FIRST] = known.windows[FIRST]._replace(tally=Tally(3, 3))
    late = FIRST + timedelta(days=1)
    assert read(known, [days(1, 3), days(30, 31)], recent)[1][:3] == "f--"
    known.windows[late] = known.windows[late]._replace(tally=Tally(1, 1))
    assert read(known, [days(1, 3), days(30, 31)], recent)[1] == f"ff-{'_' * 26}eo"
