"""What was asked for."""

from dataclasses import replace
from datetime import date

import pytest

from harvester.engine.scope import Scope
from harvester.errors import UsageError
from harvester.wechat.interfaces import INTERFACES


def test_an_interface_has_the_days_of_the_range_that_it_has_data_for() -> None:
    scope = Scope({}, (INTERFACES["getarticlesummary"],), date(2014, 1, 1), date(2020, 1, 1))
    assert scope.range_of(INTERFACES["getarticlesummary"]) == (date(2014, 12, 1), date(2020, 1, 1))


def test_a_range_within_an_interfaces_days_is_left_as_it_is() -> None:
    scope = Scope({}, (INTERFACES["getarticlesummary"],), date(2019, 1, 1), date(2020, 1, 1))
    assert scope.range_of(INTERFACES["getarticlesummary"]) == (date(2019, 1, 1), date(2020, 1, 1))


PORTRAIT = INTERFACES["getweanalysisappiduserportrait"]
SUMMARY = INTERFACES["getarticlesummary"]
WEEK = date(2026, 3, 4), date(2026, 3, 10)


def test_recent_days_end_yesterday_when_they_are_planned_after_midnight() -> None:
    made = Scope({}, (PORTRAIT, SUMMARY), *WEEK, follows=True).checked(WEEK[1])
    later = made.on(date(2026, 3, 11))
    assert made.range_of(PORTRAIT) == WEEK
    assert later.range_of(PORTRAIT) == (date(2026, 3, 5), date(2026, 3, 11))
    assert later.range_of(SUMMARY) == WEEK  # any day can be requested: those that were asked for
    assert (later.begin, later.end) == WEEK


def test_recent_days_that_were_given_as_dates_cannot_be_requested_after_midnight() -> None:
    made = replace(Scope({}, (PORTRAIT, SUMMARY), *WEEK), follows=False).checked(WEEK[1])
    [note] = made.on(date(2026, 3, 11)).notes
    assert note.startswith(f"{PORTRAIT.name} accepts only 1, 7 or 30 days that end yesterday")
    with pytest.raises(UsageError, match="only 1, 7 or 30 days that end yesterday"):
        replace(made, endpoints=(PORTRAIT,)).on(date(2026, 3, 11))
