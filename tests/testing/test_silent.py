"""Rows that are missing in silence: no row, and no is_delay that says so."""

from datetime import date

import pytest

from tests.support import at
from tests.testing.support import Wechat

BEFORE, YESTERDAY = date(2026, 3, 9), date(2026, 3, 10)


@pytest.mark.parametrize("name", ["getusersummary", "getarticleread", "getusercumulate"])
def test_a_day_is_silent_for_so_many_hours_and_then_it_is_whole(name: str) -> None:
    wechat = Wechat(at("2026-03-11", 14.9), silent_hours=15)
    answer = wechat.data(name, YESTERDAY)
    assert answer["list"] == []
    assert answer.get("is_delay") in (None, False, "false")
    assert (wechat.counts["silent"], wechat.served_of) == (1, {})
    wechat.clock.now = at("2026-03-11", 15)
    truth = wechat.truth_of(name, "wx1", YESTERDAY, YESTERDAY)
    assert wechat.data(name, YESTERDAY)["list"] == truth != []


def test_the_days_before_it_are_there() -> None:
    wechat = Wechat(at("2026-03-11", 12), silent_hours=15)
    rows = wechat.data("getusersummary", BEFORE, YESTERDAY)["list"]
    assert rows == wechat.truth_of("getusersummary", "wx1", BEFORE, BEFORE) != []


def test_a_day_can_be_silent_beyond_the_next_midnight() -> None:
    wechat = Wechat(at("2026-03-12", 8.9), silent_hours=33)
    assert wechat.data("getusersummary", YESTERDAY)["list"] == []
    wechat.clock.now = at("2026-03-12", 9)
    assert wechat.data("getusersummary", YESTERDAY)["list"] != []


def test_some_interfaces_can_be_silent_and_others_not() -> None:
    wechat = Wechat(at("2026-03-11", 12), silent_hours={"getusersummary": 15})
    assert wechat.data("getusersummary", YESTERDAY)["list"] == []
    assert wechat.data("getusercumulate", YESTERDAY)["list"] != []
