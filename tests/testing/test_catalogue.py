"""Every interface: its path, its dates, the shape of its answer, and what it has now."""

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest

from harvester.base.dates import WindowKind, last_legal_day
from harvester.testing import Faults
from harvester.testing.catalogue import INTERFACES, Interface
from harvester.wechat.interfaces import INTERFACES as ENDPOINTS
from tests.support import at, noon
from tests.testing.support import LIST, PUBLISHER, Wechat, code, legal, read, written

NOW = noon("2026-06-01")
YESTERDAY = date(2026, 5, 31)
MONDAY = date(2026, 3, 2)
SPANS = {each.name: ENDPOINTS[each.name].span for each in LIST if each.rule == "days"}
RETIRED = {endpoint.name for endpoint in ENDPOINTS.values() if endpoint.retired}
NEW = {"getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail"}
EVERY = pytest.mark.parametrize("interface", LIST, ids=lambda interface: interface.name)


def days(number: int) -> timedelta:
    return timedelta(days=number)


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.get("list", [answer])
    return found


@EVERY
def test_an_interface_answers_at_its_path_with_what_it_has(interface: Interface) -> None:
    wechat = Wechat(NOW)
    begin, end = legal(interface, NOW)
    answer = wechat.data(interface.name, begin, end)
    assert interface.path == f"/datacube/{interface.name}"
    assert code(answer) is None
    assert rows_of(answer) == wechat.truth_of(interface.name, "wx1", begin, end) != []
    assert wechat.served_of == {(interface.name, "wx1", begin, end): 1}


@EVERY
def test_an_answer_has_the_shape_of_its_interface(interface: Interface) -> None:
    answer = Wechat(NOW).data(interface.name, *legal(interface, NOW))
    if interface.name in NEW:
        assert set(answer) == {"list", "is_delay"}
    elif interface.name in {
        "getweanalysisappidvisitpage", "getweanalysisappidvisitdistribution"
    }:  # fmt: skip
        assert set(answer) == {"ref_date", "list"}
    elif "retaininfo" in interface.name or "portrait" in interface.name:
        assert set(answer) == {"ref_date", "visit_uv_new", "visit_uv"}
    else:
        assert set(answer) == {"list"}


@EVERY
def test_an_interface_wants_a_post(interface: Interface) -> None:
    wechat = Wechat(NOW)
    reply = wechat.handle("GET", interface.path, {"access_token": wechat.token()}, b"")
    assert code(read(reply)) == 43002


@EVERY
def test_dates_are_written_in_the_one_way_of_an_interface(interface: Interface) -> None:
    wechat = Wechat(NOW)
    begin, end = legal(interface, NOW)
    other = interface._replace(compact=not interface.compact)
    dates = {"begin_date": written(other, begin), "end_date": written(other, end)}
    answer = wechat.call(interface.path, **dates)
    assert (code(answer), answer["errmsg"][:17]) == (61500, "date format error")


@pytest.mark.parametrize(("name", "span"), SPANS.items(), ids=list(SPANS))
def test_a_call_may_ask_for_so_many_days_and_no_more(name: str, span: int) -> None:
    wechat = Wechat(NOW)
    assert code(wechat.data(name, MONDAY, MONDAY + days(span - 1))) is None
    answer = wechat.data(name, MONDAY, MONDAY + days(span))
    assert (code(answer), answer["errmsg"][:16]) == (61501, "date range error")


def test_the_days_of_an_interface_are_those_that_wechats_pages_tell() -> None:
    rules = {
        WindowKind.DAYS: "days",
        WindowKind.WEEK: "week",
        WindowKind.MONTH: "month",
        WindowKind.RECENT: "portrait",
    }
    for interface in LIST:
        endpoint = ENDPOINTS[interface.name]
        assert interface.first_day == endpoint.first_day
        assert interface.rule in (rules[endpoint.cut], "days")
    assert {each.first_day for each in PUBLISHER} == {date(2016, 1, 1)}


@pytest.mark.parametrize("name", ["weeklyvisittrend", "weeklyretaininfo"])
@pytest.mark.parametrize(("first", "last"), [(0, 6), (1, 7), (0, 5), (0, 13), (0, 0)])
def test_a_week_is_asked_for_from_monday_to_sunday(name: str, first: int, last: int) -> None:
    answer = Wechat(NOW).data(
        f"getweanalysisappid{name}", MONDAY + days(first), MONDAY + days(last)
    )
    assert code(answer) == (None if (first, last) == (0, 6) else 61501)


@pytest.mark.parametrize("name", ["monthlyvisittrend", "monthlyretaininfo"])
@pytest.mark.parametrize(("first", "last"), [(1, 28), (1, 27), (2, 28)])
def test_a_month_is_asked_for_from_first_to_last_day(name: str, first: int, last: int) -> None:
    dates = date(2026, 2, first), date(2026, 2, last)
    answer = Wechat(NOW).data(f"getweanalysisappid{name}", *dates)
    assert code(answer) == (None if (first, last) == (1, 28) else 61501)


@pytest.mark.parametrize("length", [1, 2, 6, 7, 8, 29, 30, 31])
def test_a_portrait_is_of_one_seven_or_thirty_days_up_to_yesterday(length: int) -> None:
    wechat, name = Wechat(NOW), "getweanalysisappiduserportrait"
    begin = YESTERDAY - days(length - 1)
    assert code(wechat.data(name, begin, YESTERDAY)) == (None if length in (1, 7, 30) else 61501)
    assert code(wechat.data(name, begin - days(1), YESTERDAY - days(1))) == 61501


@EVERY
def test_yesterday_is_there_from_eight_and_today_never(interface: Interface) -> None:
    begin, end = legal(interface, NOW)
    morning = at(str(end + days(1)), 8.0) - 1
    wechat = Wechat(morning)
    assert last_legal_day(morning) == end
    codes = [code(wechat.data(interface.name, begin, end))]
    wechat.clock.now = morning + 1
    codes.append(code(wechat.data(interface.name, begin, end)))
    codes.append(code(wechat.data(interface.name, begin + days(1), end + days(1))))
    assert codes == [61503, None, 61501]


@pytest.mark.parametrize("name", [*SPANS, "getweanalysisappidweeklyvisittrend"])
def test_before_its_first_day_an_interface_has_nothing(name: str) -> None:
    first = INTERFACES[name].first_day
    begin = first - days(7 if "weekly" in name else 1)
    answer = Wechat(NOW).data(name, begin, first - days(1))
    if INTERFACES[name].shape == "whole":
        assert (answer["visit_uv_new"], answer["visit_uv"]) == ([], [])
    else:
        assert answer["list"] == []


def test_the_six_old_article_interfaces_can_be_retired_and_no_others() -> None:
    wechat = Wechat(NOW, retired=True)
    answers = {each.name: wechat.data(each.name, *legal(each, NOW)) for each in LIST}
    offline = {name: each for name, each in answers.items() if code(each) == 47009}
    assert offline.keys() == RETIRED
    for answer in offline.values():
        assert answer["errmsg"].startswith("this api is offline, please use the new api")


def test_a_range_over_the_first_day_has_the_days_from_it_on() -> None:
    wechat = Wechat(NOW)
    rows = wechat.data("getusercumulate", date(2014, 11, 29), date(2014, 12, 2))["list"]
    assert [row["ref_date"] for row in rows] == ["2014-12-01", "2014-12-02"]


def test_a_wider_span_gives_all_weeks_that_it_touches() -> None:
    wechat = Wechat(NOW, spans={"getupstreammsgweek": 30})
    rows = wechat.data("getupstreammsgweek", MONDAY + days(6), MONDAY + days(14))["list"]
    assert {row["ref_date"] for row in rows} == {"2026-03-02", "2026-03-09", "2026-03-16"}


# weeks and months


@pytest.mark.parametrize("name", ["getupstreammsgweek", "getupstreammsgdistweek"])
def test_any_day_of_a_week_gives_the_week_dated_its_monday(name: str) -> None:
    wechat = Wechat(NOW)
    found = [wechat.data(name, MONDAY + days(number))["list"] for number in range(7)]
    assert {row["ref_date"] for row in found[0]} == {"2026-03-02"}
    assert all(rows == found[0] for rows in found)


@pytest.mark.parametrize("name", ["getupstreammsgmonth", "getupstreammsgdistmonth"])
def test_any_day_of_a_month_gives_the_month_dated_its_first(name: str) -> None:
    wechat = Wechat(NOW)
    found = [wechat.data(name, date(2026, 3, number))["list"] for number in (1, 15, 31)]
    assert {row["ref_date"] for row in found[0]} == {"2026-03-01"}
    assert all(rows == found[0] for rows in found)


@pytest.mark.parametrize(
    ("name", "day", "last"),
    [
        ("getupstreammsgweek", MONDAY, MONDAY + days(6)),
        ("getupstreammsgdistmonth", date(2026, 3, 1), date(2026, 3, 31)),
    ],
)
def test_a_week_or_month_is_there_only_when_it_has_ended(name: str, day: date, last: date) -> None:
    wechat = Wechat(at(str(last + days(1)), 7.9))
    assert wechat.data(name, day) == {"list": []}
    wechat.clock.now = at(str(last + days(1)), 8.0)
    assert wechat.data(name, day)["list"] != []


# what can be set


def test_a_server_can_accept_fewer_days_than_its_page_says() -> None:
    wechat = Wechat(NOW, spans={"getusersummary": 3})
    codes = [
        code(wechat.data(name, MONDAY, MONDAY + days(3)))
        for name in ("getusersummary", "getusercumulate")
    ]
    assert codes == [61501, None]
    assert code(wechat.data("getusersummary", MONDAY, MONDAY + days(2))) is None


def test_a_wrong_range_can_be_told_with_the_number_of_a_wrong_format() -> None:
    wechat = Wechat(NOW, range_code=61500)
    answer = wechat.data("getusersummary", MONDAY, MONDAY + days(20))
    assert (code(answer), answer["errmsg"][:16]) == (61500, "date range error")
    answer = wechat.call("/datacube/getusersummary", begin_date="20260301", end_date="20260301")
    assert (code(answer), answer["errmsg"][:17]) == (61500, "date format error")


@pytest.mark.parametrize(
    "spans", [{"nothing": 1}, {"getusersummary": 0}, {"getweanalysisappidweeklyvisittrend": 7}]
)
def test_a_span_that_makes_no_sense_is_refused(spans: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(spans))):
        Wechat(spans=spans)


@pytest.mark.parametrize("name", ["getusersummary", "getarticletotal", "getarticleread"])
def test_neighbouring_days_can_stand_in_the_answer_to_one_day(name: str) -> None:
    wechat = Wechat(NOW, faults=Faults(neighbours=1.0))
    day = date(2026, 3, 7)
    rows = wechat.data(name, day)["list"]
    assert {row["ref_date"] for row in rows} == {"2026-03-06", "2026-03-07", "2026-03-08"}
    own = [row for row in rows if row["ref_date"] == str(day)]
    assert own == wechat.truth_of(name, "wx1", day, day)
    assert wechat.data("getusercumulate", day, day + days(1))["list"] == wechat.truth_of(
        "getusercumulate", "wx1", day, day + days(1)
    )


def test_neighbours_come_as_often_as_their_share_says_and_never_from_today() -> None:
    wechat = Wechat(NOW, faults=Faults(neighbours=0.3))
    sizes = Counter(len(wechat.data("getusercumulate", YESTERDAY)["list"]) for _ in range(500))
    assert set(sizes) == {1, 2}
    assert 110 < sizes[2] == wechat.counts["neighbours"] < 190


def test_periods_and_whole_answers_have_no_neighbours() -> None:
    wechat, plain = Wechat(NOW, faults=Faults(neighbours=1.0)), Wechat(NOW)
    for name in ("getupstreammsgweek", "getweanalysisappidvisitpage"):
        assert wechat.data(name, MONDAY) == plain.data(name, MONDAY)


# what there is


@pytest.mark.thorough
def test_the_truth_of_a_long_range_is_that_of_its_days() -> None:
    wechat = Wechat(NOW)
    for name in ("getusersummary", "getarticlesummary", "getarticleread", "getarticletotal"):
        every = [
            row
            for number in range(60)
            for row in wechat.truth_of(name, "wx1", MONDAY + days(number), MONDAY + days(number))
        ]
        assert wechat.truth_of(name, "wx1", MONDAY, MONDAY + days(59)) == every


def test_the_truth_ends_with_the_last_day_whose_figures_are_there() -> None:
    for hour, last in ((7.0, YESTERDAY - days(1)), (8.0, YESTERDAY)):
        wechat = Wechat(at("2026-06-01", hour))
        rows = wechat.truth_of("getusercumulate", "wx1", YESTERDAY - days(5), date(2027, 1, 1))
        assert max(row["ref_date"] for row in rows) == str(last)


def test_the_truth_of_getarticlesummary_is_truth() -> None:
    wechat = Wechat(NOW)
    assert wechat.truth_of("getarticlesummary", "wx1", MONDAY, MONDAY) == wechat.truth(
        "wx1", MONDAY
    )


def test_the_truth_of_an_unknown_interface_is_an_error() -> None:
    with pytest.raises(KeyError):
        Wechat().truth_of("getnothing", "wx1", MONDAY, MONDAY)


@EVERY
def test_there_is_no_truth_of_what_has_not_happened(interface: Interface) -> None:
    wechat = Wechat(noon("2026-02-28"))
    begin, end = legal(interface, NOW)
    assert wechat.truth_of(interface.name, "wx1", begin, end) == []


@EVERY
def test_seed_and_account_matter_to_every_interface(interface: Interface) -> None:
    begin, end = legal(interface, NOW)
    found = [
        json.dumps(Wechat(NOW, seed=seed).truth_of(interface.name, appid, begin, end))
        for seed, appid in ((1, "wx1"), (2, "wx1"), (1, "wx2"), (1, "wx1"))
    ]
    assert found[0] == found[3]
    assert len(set(found)) == 3
