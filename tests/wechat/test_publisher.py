"""The publisher interface: pages, the envelope, refusals of three shapes."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import UsageError
from harvester.model import Action, Request, Response, Token, Verdict, Window
from harvester.testing import MemorySink, Simulator
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.publisher import PublisherEndpoint
from tests.support import at, run, scope

WINDOW = Window("wx1", "publisher_adpos_general", date(2026, 3, 1), date(2026, 3, 31))
DAY = WINDOW._replace(end=date(2026, 3, 1))
FINE = {"err_msg": "ok", "ret": 0}
SUMS = {"penalty_all": 0, "revenue_all": 108844, "settled_revenue_all": 0}


def said(answer: object, window: Window = WINDOW, name: str = "publisher_adpos_general") -> Verdict:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return INTERFACES[name].verdict(Response(200, body), window)


def page(rows: int, total: object) -> dict[str, Any]:
    row = {"date": "2026-03-01", "income": 1}
    summary = {"income": rows}
    return {"base_resp": FINE, "list": [row] * rows, "summary": summary, "total_num": total}


def test_a_page_is_asked_for_by_get() -> None:
    assert INTERFACES["publisher_adpos_general"].request(WINDOW, Token("t0ken"), 3) == Request(
        "GET",
        "/publisher/stat",
        (
            ("action", "publisher_adpos_general"), ("access_token", "t0ken"), ("page", "3"),
            ("page_size", "90"), ("start_date", "2026-03-01"), ("end_date", "2026-03-31"),
        ),
        None,
    )  # fmt: skip


def test_a_body_joins_the_query_and_may_name_the_action() -> None:
    body = {"action": "publisher_adpos_general", "ad_slot": "SLOT_ID_BIZ_BOTTOM", "n": 1}
    mine = PublisherEndpoint("mine", "/publisher/stat", date(2016, 1, 1), span=90, body=body)
    assert mine.request(WINDOW, Token("t0ken"), 3).query == (
        ("action", "publisher_adpos_general"), ("access_token", "t0ken"), ("page", "3"),
        ("page_size", "90"), ("ad_slot", "SLOT_ID_BIZ_BOTTOM"), ("n", "1"),
        ("start_date", "2026-03-01"), ("end_date", "2026-03-31"),
    )  # fmt: skip


@pytest.mark.parametrize("body", [{"a": [1]}, {"a": None}, {"a": 1.5}, {"page": 1}])
def test_a_body_that_is_no_query_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="body is added to the query of a publisher interface"):
        PublisherEndpoint("mine", "/publisher/stat", date(2016, 1, 1), body=body)


def test_a_slot_that_is_asked_for_is_named_in_the_rows() -> None:
    days = date(2026, 3, 1), date(2026, 3, 10)
    known = INTERFACES["publisher_adpos_general"]
    slots = ("SLOT_ID_BIZ_BOTTOM", "SLOT_ID_BIZ_CPS")
    mine = [
        replace(known, name=f"mine_{n}", body={"action": known.name, "ad_slot": slot})
        for n, slot in enumerate(slots)
    ]
    sink = MemorySink()
    asked = scope(*days, endpoints=[known, *mine])
    report = run(Simulator(), asked, sink, now=at("2026-03-11", 13))
    assert (report.state, report.records) == ("complete", 30)
    for endpoint, slot in zip((known, *mine), (None, *slots), strict=True):
        rows = [row for row in sink.records if row["_endpoint"] == endpoint.name]
        assert {row.get("ad_slot") for row in rows} == {slot}
        assert {"slot_id" in row for row in rows} == {slot is not None}


def test_the_quota_of_a_publisher_interface_is_asked_for_with_its_path() -> None:
    request = INTERFACES["publisher_adpos_general"].quota_request(Token("t0ken"))
    assert request is not None
    assert json.loads(request.body or b"") == {"cgi_path": "/publisher/stat"}


@pytest.mark.parametrize(
    ("rows", "total", "more"),
    [
        (0, 0, False),
        (31, 31, False),
        (90, 90, False),
        (90, 91, True),
        (90, "91", True),
        (1, 91, False),
        (90, 180, True),  # whether it is the first or the last page cannot be told
        (0, 180, False),
        (90, None, True),
        (90, "many", True),
    ],
)
def test_a_full_page_is_followed_by_another(rows: int, total: object, more: bool) -> None:
    verdict = said(page(rows, total))
    assert (verdict.action, len(verdict.records), verdict.more) == (Action.DONE, rows, more)


def test_rows_of_other_days_are_left_out_and_do_not_shorten_a_page() -> None:
    answer = page(90, 91)
    answer["list"][0] = {"date": "2026-02-28"}
    verdict = said(answer)
    assert (len(verdict.records), verdict.foreign, verdict.more) == (89, 1, True)


@pytest.mark.parametrize("total", [0, "0"])
def test_an_envelope_without_a_list_is_empty_if_it_counts_no_rows(total: object) -> None:
    assert said({"base_resp": FINE, "total_num": total}) == Verdict(Action.DONE, records=[])


@pytest.mark.parametrize("more", [{}, {"total_num": 3}, {"total_num": None}, {"total_num": "x"}])
def test_an_envelope_that_shows_no_empty_list_is_tried_again(more: dict[str, Any]) -> None:
    assert said({"base_resp": FINE, **more}) == Verdict(Action.RETRY, "the answer has no list")


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"total_num": 3}, {"ret": 0}, b"<html>",
        *[{"base_resp": FINE, "list": rows} for rows in ({}, "x", [1], [None])],
    ],
)  # fmt: skip
def test_what_is_no_list_in_an_envelope_is_tried_again(answer: object) -> None:
    assert said(answer).action is Action.RETRY


@pytest.mark.parametrize(
    "refused",
    [
        {"ret": 45010, "err_msg": "not supported action for your appid"},
        {"base_resp": {"ret": 45010, "err_msg": "not supported action for your appid"}},
        {"base_resp": {"ret": "45010", "err_msg": "not supported action for your appid"}},
        {"errcode": 45010, "errmsg": "not supported action for your appid"},
    ],
)
def test_an_account_without_ads_loses_the_interface_and_no_more(refused: dict[str, Any]) -> None:
    verdict = said(refused)
    assert (verdict.action, verdict.code) == (Action.STOP_ENDPOINT, 45010)
    assert "(not supported action for your appid)" in verdict.message
    assert "traffic-owner" in verdict.message


@pytest.mark.parametrize(
    ("refused", "action"),
    [
        ({"ret": 1701, "err_msg": "invalid param"}, Action.FAIL_WINDOW),
        ({"ret": 2009, "err_msg": "ERROR"}, Action.STOP_ENDPOINT),
        ({"ret": -1, "err_msg": "system error"}, Action.RETRY),
        ({"errcode": 40001, "errmsg": "invalid credential rid: 1-2"}, Action.RENEW_TOKEN),
        ({"errcode": 45009, "errmsg": "reach max api daily quota limit"}, Action.QUOTA),
        ({"errcode": 48001, "errmsg": "api unauthorized"}, Action.NO_PERMISSION),
        ({"ret": 61501, "err_msg": "date range error"}, Action.SPLIT),
        ({"ret": 61500, "err_msg": "date range error"}, Action.SPLIT),
        ({"ret": 61500, "err_msg": "date format error"}, Action.FAIL_WINDOW),
        ({"base_resp": {}, "ret": 2009}, Action.STOP_ENDPOINT),
        ({"ret": "soon"}, Action.RETRY),
        ({"errcode": "soon"}, Action.RETRY),
        ({"base_resp": {"ret": [1]}}, Action.RETRY),
    ],
)
def test_a_refusal_reaches_as_far_as_its_code(refused: dict[str, Any], action: Action) -> None:
    assert said({**refused, "list": [{"date": "2026-03-01"}]}).action is action


@pytest.mark.parametrize("code", [61501, 61500])
def test_a_day_is_not_split(code: int) -> None:
    answer = {"ret": code, "err_msg": "date range error"}
    assert said(answer, DAY).action is Action.FAIL_WINDOW


ENTRY = {"month": "202602", "order": 2, "date": "2026-03-10"}


@pytest.mark.parametrize(
    ("more", "total", "records"),
    [
        ({"body": "who", "settlement_list": [ENTRY]}, 1, [{**SUMS, **ENTRY, "body": "who"}]),
        ({}, 0, [SUMS]),
        ({"settlement_list": []}, 0, [SUMS]),
        ({"settlement_list": None, "body": "who"}, 0, [{**SUMS, "body": "who"}]),
        ({"settlement_list": []}, 90, []),  # its rows are on another page
    ],
)
def test_a_settlement_carries_what_its_answer_says_once(
    more: dict[str, Any], total: int, records: list[dict[str, Any]]
) -> None:
    answer = {"base_resp": FINE, **SUMS, **more, "total_num": total}
    assert said(answer, name="publisher_settlement") == Verdict(Action.DONE, records=records)


def test_the_day_of_an_ad_units_row_stands_within_its_figures() -> None:
    units, name = "publisher_adunit_general", "adunit-1"
    rows: list[dict[str, Any]] = [
        {"ad_unit_id": name, "stat_item": {"date": day}}
        for day in ("2026-02-28", "2026-03-01", "2026-03-31", "2026-04-01")
    ]
    odd = [{"ad_unit_id": name}, {"ad_unit_id": name, "stat_item": [rows[0]]}]
    answer = {"base_resp": FINE, "list": [*rows, *odd], "total_num": 6}
    verdict = said(answer, name=units)
    assert (verdict.records, verdict.foreign) == ([*rows[1:3], *odd], 2)
    one = said(answer, DAY, units)
    assert (one.records, one.foreign) == ([rows[1], *odd], 3)


def test_ad_units_are_listed_without_days() -> None:
    query = dict(INTERFACES["get_adunit_list"].request(DAY, Token("t0ken")).query)
    assert query == {
        "action": "get_adunit_list", "access_token": "t0ken", "page": "1", "page_size": "90",
    }  # fmt: skip
    unit = {"ad_unit_id": "adunit-1"}
    answer = {"base_resp": FINE, "ad_unit": [unit], "total_num": 1}
    assert said(answer, DAY, "get_adunit_list") == Verdict(Action.DONE, records=[unit])
    assert said({}, DAY, "get_adunit_list").action is Action.RETRY


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = ["base_resp", "ret", "err_msg", "errcode", "errmsg", "list", "total_num"]


@pytest.mark.thorough
@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_object_gives_a_verdict(answer: dict[str, Any]) -> None:
    verdict = said(answer)
    assert verdict.action is Action.DONE or (verdict.records, verdict.more) == ([], False)
