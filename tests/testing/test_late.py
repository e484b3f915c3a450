"""Yesterday's figures that are late: is_delay."""

from datetime import date
from typing import Any

import pytest

from tests.support import at, noon
from tests.testing.support import Wechat, code

NAMES = ("getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail")
YESTERDAY = date(2026, 3, 10)
EVERY = pytest.mark.parametrize("name", NAMES)


def early(hour: float = 9.0, **how: Any) -> Wechat:
    return Wechat(at("2026-03-11", hour), delay_until_hour=9.5, **how)


def test_figures_that_are_there_say_so_with_a_boolean_or_a_string() -> None:
    wechat = Wechat(noon("2026-03-11"))
    for name in NAMES:
        found = [wechat.data(name, date(2026, 3, day))["is_delay"] for day in range(1, 10)]
        assert {repr(each) for each in found} == {"False", "'false'"}
        assert found == [wechat.data(name, date(2026, 3, day))["is_delay"] for day in range(1, 10)]


@EVERY
def test_until_the_hour_yesterday_is_late_and_then_it_is_whole(name: str) -> None:
    wechat = early()
    truth = wechat.truth_of(name, "wx1", YESTERDAY, YESTERDAY)
    for _ in range(2):
        answer = wechat.data(name, YESTERDAY)
        assert answer["is_delay"] in (True, "true")
        assert answer["list"] != truth
    assert not wechat.served_of
    wechat.clock.now = at("2026-03-11", 9.5)
    answer = wechat.data(name, YESTERDAY)
    assert answer["is_delay"] in (False, "false")
    assert answer["list"] == truth == wechat.truth_of(name, "wx1", YESTERDAY, YESTERDAY) != []


def test_late_is_a_boolean_with_fewer_rows_or_a_string_with_smaller_figures() -> None:
    wechat = early()
    truth = wechat.truth_of("getarticleread", "wx1", YESTERDAY, YESTERDAY)
    found = [wechat.data("getarticleread", YESTERDAY) for _ in range(4)]
    assert [answer["is_delay"] for answer in found] == ["true", True, "true", True]
    assert found[1]["list"] == truth[: len(truth) // 2]
    smaller = [row["detail"]["read_user"] for row in found[0]["list"]]
    assert smaller == [row["detail"]["read_user"] // 2 for row in truth]


@pytest.mark.parametrize("name", ["getarticleread", "getarticleshare", "getbizsummary"])
def test_the_days_before_yesterday_are_not_late(name: str) -> None:
    answer = early().data(name, date(2026, 3, 9))
    assert answer["is_delay"] in (False, "false")


def test_articles_that_still_grow_are_late_too_with_yesterdays_entry() -> None:
    wechat, day = early(), date(2026, 3, 4)
    truth = wechat.truth_of("getarticletotaldetail", "wx1", day, day)
    answer = wechat.data("getarticletotaldetail", day)
    assert answer["is_delay"] == "true"
    for row, whole in zip(answer["list"], truth, strict=True):
        assert row["detail_list"][:-1] == whole["detail_list"][:-1]
        assert row["detail_list"][-1]["read_user"] == whole["detail_list"][-1]["read_user"] // 2
    still = wechat.data("getarticletotaldetail", date(2026, 2, 1))
    assert still["is_delay"] in (False, "false")


def test_before_eight_the_figures_are_not_ready_rather_than_late() -> None:
    assert code(early(7.5).data("getarticleread", YESTERDAY)) == 61503


def test_other_interfaces_know_no_delay() -> None:
    assert set(early().data("getusersummary", YESTERDAY)) == {"list"}
