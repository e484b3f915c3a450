"""Until when an interface is complete and final."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from harvester.ledger.coverage import Calendar
from harvester.report.reach import earliest, reach_of, together
from harvester.report.streams import Stream, counts_of

FIRST = date(2024, 1, 1)


def day(number: int | None) -> date | None:
    return None if number is None else FIRST + timedelta(days=number - 1)


def stream(letters: str, appid: str = "wx1") -> Stream:
    text = letters.encode()
    span = FIRST, FIRST + timedelta(days=max(len(text) - 1, 0))
    return Stream((appid, "one"), span, FIRST, text, counts_of(text), 0, 0.0)


@pytest.mark.parametrize(
    ("letters", "complete", "final", "newest", "lacking"),
    [
        ("fffff", 5, 5, 5, 0),
        ("feffe", 5, 5, 5, 0),
        ("fffoo", 5, 3, 5, 0),
        ("ffo.f", 3, 2, 5, 1),
        (".ffff", None, None, 5, 1),
        ("offff", 5, None, 5, 0),
        ("f....", 1, 1, 1, 4),
        ("ffxwf", 2, 2, 5, 2),
        ("--ffo", 5, 4, 5, 0),
        ("fnffo", 5, 4, 5, 0),
        ("fflfo", 2, 2, 5, 1),
        (".....", None, None, None, 5),
    ],
)
def test_the_first_day_that_lacks_something_ends_what_is_complete_and_final(
    letters: str, complete: int | None, final: int | None, newest: int | None, lacking: int
) -> None:
    found = reach_of(stream(letters), Calendar())
    assert found is not None
    assert (found.complete, found.final) == (day(complete), day(final))
    assert (found.newest, found.lacking) == (day(newest), lacking)
    assert found.behind == (["wx1"] if lacking else [])


@pytest.mark.parametrize(
    ("begin", "end", "complete"),
    [(1, 2, 2), (4, 9, 5), (-5, 9, 2), (3, 3, None), (6, 9, None), (-9, -5, None)],
)
def test_a_range_is_judged_by_its_own_days(begin: int, end: int, complete: int | None) -> None:
    days = FIRST + timedelta(days=begin - 1), FIRST + timedelta(days=end - 1)
    found = reach_of(stream("ff.ff"), Calendar(), days)
    assert found is not None
    assert found.complete == day(complete)


def test_several_accounts_reach_as_far_as_the_one_that_is_worst_off() -> None:
    streams = [stream("fffff", "wx1"), stream("ffoof", "wx2"), stream("fff.f", "wx3")]
    found = together([each for each in (reach_of(one, Calendar()) for one in streams) if each])
    assert (found.complete, found.final, found.newest) == (day(3), day(2), day(5))
    assert (found.accounts, found.behind) == (3, ["wx3"])
    assert found.to_dict()["accounts_lacking_days"] == 1


def test_what_is_not_known_of_one_is_not_known_of_all() -> None:
    assert earliest([FIRST, None]) is None
    assert earliest([]) is None
    assert reach_of(stream(""), Calendar()) is None
