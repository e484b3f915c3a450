"""Every interface: what WeChat's pages say of it, and a walk through its simulated figures."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from runpy import run_path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from harvester.base.dates import Days, WindowKind, last_legal_day
from harvester.config import plugins
from harvester.model import Action, Endpoint, Field, Request, Response, Token, Window
from harvester.wechat import types
from harvester.wechat.endpoint import JsonEndpoint, day_of, grid, in_record
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import final_at
from tests.support import noon
from tests.testing.support import Wechat

NOW = noon("2026-06-01")
OLD, NEW, MINI, ADS = date(2014, 12, 1), date(2025, 11, 1), date(2017, 1, 9), date(2016, 1, 1)
D, W, M, R = WindowKind.DAYS, WindowKind.WEEK, WindowKind.MONTH, WindowKind.RECENT
MINI_NAME = "getweanalysisappid"
FACTS = [
    ("users", D, 7, OLD, 0, "2", "getusersummary getusercumulate"),
    ("articles", D, 1, OLD, 0, "7", "getarticlesummary getuserreadhour getusersharehour"),
    ("articles", D, 1, OLD, 7, "7", "getarticletotal"),
    ("articles", D, 3, OLD, 0, "7", "getuserread"),
    ("articles", D, 7, OLD, 0, "7", "getusershare"),
    ("articles", D, 1, NEW, 0, "7", "getarticleread getarticleshare"),
    ("articles", D, 30, NEW, 0, "7", "getbizsummary"),
    ("articles", D, 1, NEW, 30, "7", "getarticletotaldetail"),
    ("messages", D, 7, OLD, 0, "1", "getupstreammsg"),
    ("messages", D, 1, OLD, 0, "1", "getupstreammsghour"),
    ("messages", W, 1, OLD, 0, "1", "getupstreammsgweek getupstreammsgdistweek"),
    ("messages", M, 1, OLD, 0, "1", "getupstreammsgmonth getupstreammsgdistmonth"),
    ("messages", D, 15, OLD, 0, "1", "getupstreammsgdist"),
    ("interface", D, 30, OLD, 0, "3", "getinterfacesummary"),
    ("interface", D, 1, OLD, 0, "3", "getinterfacesummaryhour"),
    ("miniprogram", D, 1, MINI, 0, "18", "dailysummarytrend dailyvisittrend"),
    ("miniprogram", D, 1, MINI, 0, "18", "visitpage visitdistribution"),
    ("miniprogram", W, 1, MINI, 0, "18", "weeklyvisittrend"),
    ("miniprogram", M, 1, MINI, 0, "18", "monthlyvisittrend"),
    ("miniprogram", D, 1, MINI, 31, "18", "dailyretaininfo"),
    ("miniprogram", W, 1, MINI, 29, "18", "weeklyretaininfo"),
    ("miniprogram", M, 1, MINI, 32, "18", "monthlyretaininfo"),
    ("miniprogram", R, 30, MINI, 0, "18", "userportrait"),
    ("minigame", D, 1, MINI, 2, "", "getgameanalysisdata"),
    ("publisher", D, 90, ADS, 0, "", "publisher_adpos_general publisher_adunit_general"),
    ("publisher", D, 60, ADS, 0, "", "publisher_cps_general"),
    ("publisher", M, 1, ADS, 62, "", "publisher_settlement"),
    ("publisher", R, 1, ADS, 0, "", "get_adunit_list"),
]
"""Group, cut, span, first day, days of growing, number of the permission; and who has them."""

RETIRED = {
    "getarticlesummary", "getarticletotal", "getuserread", "getuserreadhour", "getusershare",
    "getusersharehour",
}  # fmt: skip
SUCCESSORS = ("getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail")
BESIDE = {
    f"{MINI_NAME}visitpage": {"ref_date"},
    "publisher_settlement": {"body", "penalty_all", "revenue_all", "settled_revenue_all"},
}
"""What an answer says once and each record carries."""

SEEN_WITH_A_SOURCE = (
    "getusershare", "getusersharehour", "getupstreammsg", "getupstreammsghour",
    "getupstreammsgweek", "getupstreammsgmonth", "getupstreammsgdist", "getupstreammsgdistweek",
    "getupstreammsgdistmonth",
)  # fmt: skip
NOWHERE = {
    "getarticletotal": {"content_url"},  # some answers spell url so; the simulated ones do not
    "getinterfacesummary": {"max_time_count"},  # the spelling of older answers
    "getinterfacesummaryhour": {"max_time_count"},
    "publisher_adpos_general": {"slot_id", "ad_slot"},  # if one is asked for, or before 2024-08-16
    "getgameanalysisdata": {"label", "value"},  # only if the request groups the players
    **{name: {"user_source"} for name in SEEN_WITH_A_SOURCE},
}
"""Fields that no simulated answer has, and why."""

CATALOGUE = list(INTERFACES.values())
EVERY = pytest.mark.parametrize("endpoint", CATALOGUE, ids=lambda endpoint: endpoint.name)
PYTHON = {"date": str, "int": int, "float": float, "str": str, "bool": bool}


# what the pages say


def test_the_catalogue_is_as_wechats_pages_have_it() -> None:
    expected = {
        (MINI_NAME if facts[0] == "miniprogram" else "") + name: tuple(facts)
        for *facts, names in FACTS
        for name in names.split()
    }
    assert expected == {
        each.name: (
            each.group, each.cut, each.span, each.first_day, each.late_days, each.permission_set
        )
        for each in CATALOGUE
    }  # fmt: skip


def test_the_six_old_article_interfaces_are_retired_and_name_all_four_successors() -> None:
    retired = {each.name: each.successors for each in CATALOGUE if each.retired}
    assert retired == dict.fromkeys(RETIRED, SUCCESSORS)
    assert [each.name for each in CATALOGUE if each.successors and not each.retired] == []


def test_days_are_written_without_hyphens_for_mini_programs_alone() -> None:
    compact = {each.group for each in CATALOGUE if each.dates == "%Y%m%d"}
    hyphens = {each.group for each in CATALOGUE if each.dates == "%Y-%m-%d"}
    assert (compact, "miniprogram" in hyphens) == ({"miniprogram"}, False)


def test_getusercumulate_alone_has_a_row_for_every_day() -> None:
    assert [each.name for each in CATALOGUE if each.daily] == ["getusercumulate"]


@EVERY
def test_an_interface_is_found_by_its_name(endpoint: JsonEndpoint) -> None:
    assert plugins.endpoint(endpoint.name) is endpoint


@EVERY
def test_an_interface_tells_where_it_stands_and_what_it_gives(endpoint: JsonEndpoint) -> None:
    assert endpoint.page.startswith("https://developers.weixin.qq.com/")
    assert endpoint.page.endswith(".html")
    assert "/doc/subscription/" not in endpoint.page  # gone since October 2026
    assert endpoint.settled_hour == 8
    assert 5 < len(endpoint.title) < 75
    for label in (endpoint.label, *_labels(endpoint.fields)):
        assert label.encode() != label.encode("ascii", "ignore"), label  # it is Chinese
    assert endpoint.key
    assert bool(endpoint.cloud_call) == (endpoint.group not in ("publisher", "minigame"))


def _labels(fields: Iterable[Field]) -> Iterator[str]:
    for each in fields:
        yield each.label
        yield from _labels(each.fields)


def test_cloud_calls_are_named_as_the_pages_name_them() -> None:
    calls = {each.name: each.cloud_call for each in CATALOGUE}
    assert calls["getupstreammsgdistweek"] == "officialAccount.datacube.getUpstreamMsgDistWeek"
    assert calls["getbizsummary"] == "datacube.getbizsummary"
    assert {name: call for name, call in calls.items() if name.startswith(MINI_NAME)} == {
        f"{MINI_NAME}dailysummarytrend": "analysis.getDailySummary",
        f"{MINI_NAME}dailyvisittrend": "analysis.getDailyVisitTrend",
        f"{MINI_NAME}weeklyvisittrend": "analysis.getWeeklyVisitTrend",
        f"{MINI_NAME}monthlyvisittrend": "analysis.getMonthlyVisitTrend",
        f"{MINI_NAME}dailyretaininfo": "analysis.getDailyRetain",
        f"{MINI_NAME}weeklyretaininfo": "analysis.getWeeklyRetain",
        f"{MINI_NAME}monthlyretaininfo": "analysis.getMonthlyRetain",
        f"{MINI_NAME}visitpage": "analysis.getVisitPage",
        f"{MINI_NAME}visitdistribution": "analysis.getVisitDistribution",
        f"{MINI_NAME}userportrait": "analysis.getUserPortrait",
    }
    for each in CATALOGUE:
        if each.cloud_call.startswith("officialAccount."):
            assert each.cloud_call.rpartition(".")[2].lower() == each.name


def test_a_week_of_messages_is_asked_for_by_its_first_day() -> None:
    window = Window("wx1", "getupstreammsgweek", date(2026, 3, 2), date(2026, 3, 8))
    assert INTERFACES["getupstreammsgweek"].request(window, Token("t0ken")) == Request(
        "POST",
        "/datacube/getupstreammsgweek",
        (("access_token", "t0ken"),),
        b'{"begin_date":"2026-03-02","end_date":"2026-03-02"}',
    )


def test_a_day_of_a_mini_game_is_asked_for_by_the_midnights_that_bound_it() -> None:
    window = Window("wx1", "getgameanalysisdata", date(2020, 10, 2), date(2020, 10, 2))
    assert INTERFACES["getgameanalysisdata"].request(window, Token("t0ken")).body == (
        b'{"start_time":1601568000,"end_time":1601654400,"metric":"1000001:5","granularity":24}'
    )
    row = {"timestamp": 1601568000, "time_label": "2020-10-02", "group_dimension_list": []}
    body = repr({"data_list": [row]}).replace("'", '"').encode()
    assert INTERFACES["getgameanalysisdata"].verdict(Response(200, body), window).records == [row]


# a walk against the simulated WeChat, without an engine


def ask(wechat: Wechat, endpoint: Endpoint, days: Days) -> list[dict[str, Any]]:
    """The records of a window, all pages."""
    window = Window("wx1", endpoint.name, *days)
    token, records = wechat.token(), []
    for page in range(1, 20):
        request = endpoint.request(window, Token(token), page)
        reply = wechat.handle(
            request.method, request.path, dict(request.query), request.body or b""
        )
        verdict = endpoint.verdict(Response(reply.status, reply.body), window)
        assert (verdict.action, verdict.foreign) == (Action.DONE, 0), verdict.message
        records += verdict.records
        if not verdict.more:
            return records
    raise AssertionError("there is no end to the pages")


def windows(endpoint: Endpoint) -> Iterator[tuple[Wechat, list[Days]]]:
    """The last windows of an interface, more than two and at least sixty days of them."""
    wechat = Wechat(NOW)
    last = last_legal_day(NOW)
    if endpoint.cut is WindowKind.RECENT:  # it has but windows that end yesterday
        for number in (0, 1):
            wechat = Wechat(NOW - 86400 * number)
            last = last_legal_day(wechat.clock.now)
            for begin in (last, last - timedelta(days=6), last - timedelta(days=40)):
                yield wechat, list(grid(endpoint, last).windows(begin, last))
    else:
        begin = last - timedelta(days=max(95, 2 * endpoint.span))
        yield wechat, list(grid(endpoint, last).windows(begin, last))


def without(records: list[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in names} for row in records]


@EVERY
def test_the_records_of_a_window_are_all_that_there_is(endpoint: JsonEndpoint) -> None:
    asked = 0
    beside = BESIDE.get(endpoint.name, set())
    names = {field.name for field in endpoint.fields} - NOWHERE.get(endpoint.name, set())
    for wechat, found in windows(endpoint):
        for days in found[-8:]:
            records = ask(wechat, endpoint, days)
            truth = wechat.truth_of(endpoint.name, "wx1", *days)
            if endpoint.name == f"{MINI_NAME}visitdistribution":
                truth = [{"ref_date": f"{days[0]:%Y%m%d}", "list": truth}]
            assert without(records, beside) == truth != []
            for record in records:
                assert set(record) == names
                if endpoint.day_field:
                    day = day_of(in_record(record, endpoint.day_field))
                    assert day is not None
                    assert days[0] <= day <= days[1]
            asked += 1
    assert asked >= 2


@pytest.mark.thorough
@EVERY
def test_no_two_records_of_an_account_have_the_same_key(endpoint: JsonEndpoint) -> None:
    asked = {days: wechat for wechat, found in windows(endpoint) for days in found}
    keys = [
        tuple(in_record({**record, "_end_date": days[1]}, name) for name in endpoint.key)
        for days, wechat in asked.items()
        for record in ask(wechat, endpoint, days)
    ]
    assert len(keys) == len(set(keys)) > 1


def walk(record: dict[str, Any], fields: tuple[Field, ...], seen: dict[str, set[str]]) -> None:
    """Check a record's names and types, and note which fields are seen."""
    known = {field.name: field for field in fields}
    assert set(record) <= set(known), set(record) - set(known)
    for name, value in record.items():
        field = known[name]
        seen.setdefault(name, set()).add(type(value).__name__)
        if field.type == "object":
            walk(value, field.fields, seen)
        elif field.type == "list":
            assert isinstance(value, list)
            for each in value:
                walk(each, field.fields, seen)
        elif field.type == "float":
            assert type(value) in (float, int), name
        else:
            assert type(value) is PYTHON[field.type], name
            assert field.type != "date" or day_of(value) is not None


def names_of(fields: tuple[Field, ...]) -> set[str]:
    return {name for field in fields for name in (field.name, *names_of(field.fields))}


@pytest.mark.thorough
@EVERY
def test_the_described_fields_are_those_of_the_answers(endpoint: JsonEndpoint) -> None:
    seen: dict[str, set[str]] = {}
    for wechat, found in windows(endpoint):
        for days in found:
            for record in ask(wechat, endpoint, days):
                walk(record, endpoint.fields, seen)
    assert names_of(endpoint.fields) - set(seen) == NOWHERE.get(endpoint.name, set())


def test_slots_that_are_asked_for_have_the_fields_that_are_described() -> None:
    answer = Wechat(NOW).stat(
        "publisher_adpos_general", date(2026, 3, 1), date(2026, 3, 2), ad_slot="SLOT_ID_BIZ_BOTTOM"
    )
    seen: dict[str, set[str]] = {}
    for row in answer["list"]:
        walk(row, INTERFACES["publisher_adpos_general"].fields, seen)
    assert seen.keys() == names_of(INTERFACES["publisher_adpos_general"].fields)


@EVERY
def test_what_is_called_final_grows_no_more(endpoint: JsonEndpoint) -> None:
    last, seen = date(2026, 3, 31), 0
    cut = grid(endpoint, last)
    for days in list(cut.windows(last - timedelta(days=70), last))[-5:]:
        then, later = Wechat(final_at(endpoint, days[1])), Wechat(NOW)
        truth = later.truth_of(endpoint.name, "wx1", *days)
        assert then.truth_of(endpoint.name, "wx1", *days) == truth, days
        if truth and endpoint.late_days in (7, 29, 30, 31):
            then.clock.now -= 86400.0  # nor is it called so a day too late
            assert then.truth_of(endpoint.name, "wx1", *days) != truth, days
        seen += bool(truth)
    assert seen


# types


def described(fields: tuple[Field, ...], hints: dict[str, Any], where: str) -> None:
    """The names and types of fields are those of a TypedDict."""
    assert list(hints) == [field.name for field in fields], where
    for field in fields:
        hint, at = hints[field.name], f"{where}.{field.name}"
        if field.type == "list":
            assert get_origin(hint) is list, at
            [hint] = get_args(hint)
        if field.type in PYTHON:
            assert hint is PYTHON[field.type], at
        else:
            assert hint.__total__ is False, at
            described(field.fields, get_type_hints(hint), at)


@EVERY
def test_the_type_of_a_record_has_the_fields_of_its_interface(endpoint: JsonEndpoint) -> None:
    of = getattr(types, endpoint.record_type)
    assert of.__name__.lower() == endpoint.name.replace("_", "")
    described(endpoint.fields, get_type_hints(of), of.__name__)


def test_the_types_for_editors_are_written_from_the_interfaces() -> None:
    written = run_path(str(Path(__file__).parents[1] / "typing" / "write_types.py"))
    assert written["STUB"].read_text() == written["stub"]()
