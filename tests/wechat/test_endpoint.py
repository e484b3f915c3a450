"""From a window to a request, from a response to a verdict."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harvester
from harvester.base.dates import CHINA, Grid, Load, WindowKind, last_settled_day
from harvester.errors import UsageError
from harvester.model import Action, Field, Request, Response, Token, Verdict, Window
from harvester.wechat.endpoint import (
    EARLIEST,
    JsonEndpoint,
    check_endpoint,
    check_name,
    day_of,
    figures_of,
    first_not_due,
    grid,
    in_record,
    list_by_day,
    load_of,
    within,
)
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.response import MAX_VALUES, Quota, Rule, code_of, quota_in, read, refusal

PROPERTY = settings(max_examples=150)

RULES = {
    -1: Rule(Action.RETRY, "WeChat is busy"),
    40001: Rule(Action.RENEW_TOKEN, ""),
    47009: Rule(Action.STOP_ENDPOINT, "offline"),
    61500: Rule(Action.FAIL_WINDOW, ""),
    61501: Rule(Action.FAIL_WINDOW, ""),
}
DAY = Window("wx1", "summary", date(2020, 1, 1), date(2020, 1, 1))
WEEK = Window("wx1", "summary", date(2020, 1, 6), date(2020, 1, 12))
ENDPOINT = JsonEndpoint("summary", "/datacube/summary", date(2014, 12, 1), errors=RULES)


def said(answer: object, status: int = 200, window: Window = DAY, **how: Any) -> Verdict:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return replace(ENDPOINT, **how).verdict(Response(status, body), window)


def test_a_window_becomes_a_post_with_its_two_days() -> None:
    window = Window("wx1", "summary", date(2020, 1, 1), date(2020, 1, 7))
    assert ENDPOINT.request(window, Token("t0ken")) == Request(
        "POST",
        "/datacube/summary",
        (("access_token", "t0ken"),),
        b'{"begin_date":"2020-01-01","end_date":"2020-01-07"}',
    )


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ({"dates": "%Y%m%d"}, b'{"begin_date":"20200106","end_date":"20200112"}'),
        ({"asks_first_day": True}, b'{"begin_date":"2020-01-06","end_date":"2020-01-06"}'),
        (
            {"begin_key": "start", "end_key": "end", "body": {"metric": "a", "kinds": [1]}},
            b'{"start":"2020-01-06","end":"2020-01-12","metric":"a","kinds":[1]}',
        ),
        ({"dates": "unix"}, b'{"begin_date":1578240000,"end_date":1578844800}'),
    ],
)
def test_days_are_written_as_the_interface_wants_them(how: dict[str, Any], body: bytes) -> None:
    assert replace(ENDPOINT, **how).request(WEEK, Token("t0ken")).body == body


NUMBERS = "span must be at least 1, settled_hour 0 to 23, late_days at least 0"
DATES = "dates must be %Y-%m-%d or %Y%m%d or unix"
KEYS = "begin_key and end_key must be names that are not keys of body"
BODY = "body has a value that JSON cannot represent"
ONE_DAY = (
    "begin_key and end_key are the same key, so a request names one day; this requires"
    ' span = 1 and cut = "days", or asks_first_day'
)
EARLY = "first_day is {}, but must be 2000-01-01 or later; no interface of WeChat has older figures"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"span": 0}, NUMBERS),
        ({"settled_hour": 24}, NUMBERS),
        ({"settled_hour": -1}, NUMBERS),
        ({"late_days": -1}, NUMBERS),
        ({"dates": "%d"}, DATES),
        ({"dates": "%d.%m.%Y"}, DATES),
        ({"begin_key": ""}, KEYS),
        ({"end_key": "begin_date", "span": 7}, ONE_DAY),
        ({"first_day": date(1999, 12, 31)}, EARLY.format("1999-12-31")),
        ({"first_day": datetime(2020, 1, 1)}, EARLY.format("2020-01-01 00:00:00")),
        ({"body": {"end_date": 1}}, KEYS),
        ({"body": {"since": date(2020, 1, 1)}}, BODY),
        ({"body": {"kinds": {1, 2}}}, BODY),
        ({"body": {"share": float("inf")}}, BODY),
    ],
)
def test_of_an_interface_that_makes_no_sense_it_is_said_what_would(
    how: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        replace(ENDPOINT, **how)
    assert str(caught.value) == f"interface summary: {said}"


@pytest.mark.parametrize("hour", [0, 23])
def test_an_interface_may_settle_at_any_hour_of_a_day(hour: int) -> None:
    assert replace(ENDPOINT, settled_hour=hour).settled_hour == hour


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../up", "'../up'"),
        ("a/b", "'a/b'"),
        (5, "5"),
        ("x" * 101, "'" + "x" * 79),
        ("é" * 79, "'" + "é" * 79),
    ],
)
def test_a_name_that_cannot_be_a_folders_is_shown_in_part(name: Any, shown: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(ENDPOINT, name=name)
    assert str(caught.value) == (
        f"interface: {shown} cannot be the name of a folder or table; use up to 100 letters,"
        " digits, _ and -, beginning with a letter"
    )


def test_its_quota_is_asked_for_by_its_path() -> None:
    assert ENDPOINT.quota_request(Token("t0ken")) == Request(
        "POST",
        "/cgi-bin/openapi/quota/get",
        (("access_token", "t0ken"),),
        b'{"cgi_path":"/datacube/summary"}',
    )


# until when rows may be late

# quotas

FIVE_LEFT: dict[str, Any] = {"quota": {"daily_limit": 9, "used": 4, "remain": 5}}


@pytest.mark.parametrize(
    ("answer", "quota"),
    [
        (FIVE_LEFT, Quota(9, 5)),
        ({"quota": {"daily_limit": 0, "remain": 0}}, Quota(0, 0)),
        ({"quota": {"daily_limit": 9}}, None),
        ({"quota": {"remain": 9}}, None),
        ({"quota": {"daily_limit": "9", "remain": 5}}, None),
        ({"quota": {"daily_limit": 9, "remain": True}}, None),
        ({"quota": [9, 5]}, None),
        ({}, None),
        ({**FIVE_LEFT, "rate_limit": {"call_count": 7, "refresh_second": 60}}, Quota(9, 5, 7, 60)),
        ({**FIVE_LEFT, "rate_limit": {"call_count": 7}}, Quota(9, 5)),
        ({**FIVE_LEFT, "rate_limit": {"refresh_second": 60}}, Quota(9, 5)),
        ({**FIVE_LEFT, "rate_limit": {"call_count": 7, "refresh_second": 0}}, Quota(9, 5)),
        ({**FIVE_LEFT, "rate_limit": {"call_count": 0, "refresh_second": 60}}, Quota(9, 5)),
    ],
)
def test_a_quota_is_two_numbers_and_the_rate_beside_it(
    answer: dict[str, Any], quota: Quota | None
) -> None:
    assert quota_in(answer) == quota


def test_what_follows_once_no_attempt_is_left_comes_from_the_rule() -> None:
    rules = {7: Rule(Action.RETRY, "later", Action.QUOTA), 8: Rule(Action.RETRY, "later")}
    assert [refusal({"errcode": code}, rules).then for code in (7, 8, 9)] == [
        Action.QUOTA, None, None,
    ]  # fmt: skip


def test_a_grid_is_made_of_what_an_interface_says() -> None:
    last = date(2020, 1, 31)
    days = grid(replace(ENDPOINT, cut=WindowKind.DAYS, span=7), last)
    assert days == Grid(WindowKind.DAYS, 7, date(2014, 12, 1), last)


def test_its_days_are_cut_as_it_says() -> None:
    weekly = grid(replace(ENDPOINT, cut=WindowKind.WEEK), date(2020, 1, 31))
    assert list(weekly.windows(date(2020, 1, 1), date(2020, 1, 15))) == [WEEK[2:]]


def test_an_endpoint_does_not_show_its_table_of_errors() -> None:
    assert "RENEW_TOKEN" not in repr(ENDPOINT)


@pytest.mark.parametrize("records", [[{"a": 1}, {}], []])
@pytest.mark.parametrize("beside", [{}, {"errcode": 0, "errmsg": "ok"}])
def test_a_list_is_done_with_its_records(records: list[Any], beside: dict[str, Any]) -> None:
    assert said({**beside, "list": records}) == Verdict(Action.DONE, records=records)


NO_OBJECTS = "the answer's list is not a list of objects"
OTHER_DAYS = "the answer has only rows of days that were not requested"


@pytest.mark.parametrize("records", [{}, "x", 1, [1], [{}, None], [[]], True])
def test_a_list_of_anything_but_objects_is_tried_again(records: object) -> None:
    assert said({"list": records}) == Verdict(Action.RETRY, NO_OBJECTS)


@pytest.mark.parametrize(
    "answer", [{}, {"ret": -1}, {"error": "unauthorized"}, {"code": 500}, {"errcode": 0}]
)
def test_an_answer_without_its_list_is_no_empty_day(answer: dict[str, Any]) -> None:
    assert said(answer) == Verdict(Action.RETRY, "the answer has no list")


def test_rows_of_days_that_were_not_asked_for_are_left_out_and_counted() -> None:
    rows = [{"ref_date": f"2020-01-{day:02}"} for day in (5, 6, 12, 13)]
    assert said({"list": rows}, window=WEEK) == Verdict(Action.DONE, records=rows[1:3], foreign=2)


def test_an_answer_that_has_only_other_days_is_no_empty_day() -> None:
    assert said({"list": [{"ref_date": "2020-01-05"}]}) == Verdict(Action.RETRY, OTHER_DAYS)


def test_a_row_that_names_no_day_is_kept() -> None:
    rows = [{"a": 1}, {"ref_date": "soon"}, {"ref_date": None}]
    assert said({"list": rows}, window=WEEK) == Verdict(Action.DONE, records=rows)


@pytest.mark.parametrize("late", [True, False])
def test_where_no_field_names_a_day_every_row_is_kept(late: bool) -> None:
    rows = [{"ref_date": "2019-12-31"}, {"a": 1}]
    verdict = said({"list": rows, "is_delay": late}, day_field="")
    assert verdict == Verdict(Action.DONE, records=rows, delayed=late)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2024-01-31", date(2024, 1, 31)),
        ("20240131", date(2024, 1, 31)),
        (20240131, date(2024, 1, 31)),
        ("20240129-20240204", date(2024, 1, 29)),
        ("202401", date(2024, 1, 1)),
        ("2024-13-01", None),
        ("20240131 or later", None),
        ("２０２４０１３１", None),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
        (1.5, None),
    ],
)
def test_a_day_is_read_as_wechat_writes_it(written: object, day: date | None) -> None:
    assert day_of(written) == day


@pytest.mark.parametrize(
    ("given", "delayed"),
    [
        (True, True), ("true", True), (" True ", True), ("True", True), (1, True), ("1", True),
        (False, False), ("false", False), (0, False), (None, False), ([], False),
        ("no", False),
    ],
)  # fmt: skip
def test_late_figures_are_told(given: object, delayed: bool) -> None:
    rows = [{"a": 1}, {"a": 2, "is_delay": given}]
    assert said({"list": rows}) == Verdict(Action.DONE, records=rows, delayed=delayed)
    assert said({"list": [{"a": 1}], "is_delay": given}) == Verdict(
        Action.DONE, records=[{"a": 1}], delayed=delayed
    )


def test_an_answer_with_numbers_that_no_float_holds_says_so() -> None:
    assert said(b'{"list": [{"a": 1e400}]}') == Verdict(
        Action.DONE, records=[{"a": "1e400"}], as_text=True
    )
    assert not said(b'{"list": [{"a": 1e40}]}').as_text


def test_what_stands_beside_the_rows_can_be_lifted_into_each() -> None:
    answer = {"ref_date": "20200101", "list": [{"a": 1}, {"a": 2}]}
    found = said(answer, lifts=("ref_date", "missing")).records
    assert found == [{"ref_date": "20200101", "a": n} for n in (1, 2)]


def test_a_whole_answer_can_be_the_record() -> None:
    answer = {"ref_date": "20200101", "list": [1], "visit_uv": {"key": 0}}
    assert said(answer, rows="").records == [answer]
    assert said({"errcode": 0, "errmsg": "ok", **answer}, rows="").records == [answer]
    late = said({"is_delay": "true", **answer}, rows="")
    assert (late.records, late.delayed) == ([answer], True)


def test_a_whole_answer_of_another_day_is_no_empty_day() -> None:
    answer = {"ref_date": "20200102", "visit_uv": {"key": 0}}
    assert said(answer, rows="") == Verdict(Action.RETRY, OTHER_DAYS)
    assert said(answer, rows="", day_field="").records == [answer]


@pytest.mark.parametrize(
    "answer", [{}, {"errcode": 0, "errmsg": "ok"}, {"ret": -1}, {"error": "x"}, {"code": 500}]
)
def test_a_whole_answer_without_any_known_field_is_no_record(answer: dict[str, Any]) -> None:
    assert said(answer, rows="") == Verdict(Action.RETRY, "the answer has none of ref_date")
    fields = (Field("ref_date", "date"), Field("visits", "list"))
    assert said(answer, rows="", fields=fields) == Verdict(
        Action.RETRY, "the answer has none of ref_date, visits"
    )


def test_a_whole_answer_may_name_its_day_in_an_object() -> None:
    answer = {"stat_item": {"date": "2020-01-01"}}
    assert said(answer, rows="", day_field="stat_item.date").records == [answer]
    verdict = said({"ret": -1}, rows="", day_field="stat_item.date")
    assert verdict == Verdict(Action.RETRY, "the answer has none of stat_item")


def test_where_no_field_is_known_a_whole_answer_holds_something() -> None:
    nothing = said({"errcode": 0}, rows="", day_field="")
    assert nothing == Verdict(Action.RETRY, "the answer has no figures")
    assert said({"visits": 0}, rows="", day_field="").records == [{"visits": 0}]


@pytest.mark.parametrize(
    ("code", "text", "window", "cut", "action"),
    [
        (61501, "date range error", WEEK, WindowKind.DAYS, Action.SPLIT),
        (61500, "date range error", WEEK, WindowKind.DAYS, Action.SPLIT),
        (61500, "date format error", WEEK, WindowKind.DAYS, Action.FAIL_WINDOW),
        (61501, "date range error", DAY, WindowKind.DAYS, Action.FAIL_WINDOW),
        (61501, "date range error", WEEK, WindowKind.WEEK, Action.FAIL_WINDOW),
        (-1, "out of range", WEEK, WindowKind.DAYS, Action.RETRY),
    ],
)
def test_a_window_of_days_that_is_too_long_is_split(
    code: int, text: str, window: Window, cut: WindowKind, action: Action
) -> None:
    verdict = said({"errcode": code, "errmsg": text}, window=window, cut=cut)
    assert (verdict.action, verdict.code) == (action, code)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (
            {"errcode": -1, "errmsg": "system error"},
            Verdict(Action.RETRY, "errcode -1 (system error): WeChat is busy", -1),
        ),
        (  # an errcode wins over a list
            {"errcode": -1, "list": [{}]},
            Verdict(Action.RETRY, "errcode -1 (no errmsg): WeChat is busy", -1),
        ),
        (
            {"errcode": 12345, "errmsg": "new"},
            Verdict(Action.FAIL_WINDOW, "errcode 12345 (new)", 12345),
        ),
        ({"errcode": 40001}, Verdict(Action.RENEW_TOKEN, "errcode 40001 (no errmsg)", 40001)),
    ],
)
def test_an_errcode_asks_what_its_rule_says(answer: dict[str, Any], verdict: Verdict) -> None:
    assert said(answer) == verdict


@pytest.mark.parametrize(
    ("text", "rid"),
    [
        ("invalid credential rid: 5f0a-1b2c-3d4e", "5f0a-1b2c-3d4e"),
        ("invalid credential, rid:5f0a-1b2c-3d4e", "5f0a-1b2c-3d4e"),
        ("invalid credential hint: [a1b2!c3]", "a1b2!c3"),
        ("invalid credential hint: []", ""),  # a hint that is empty is no request id
        ("invalid credential hint: [] rid: 1-2", ""),
    ],
)
def test_the_request_id_is_taken_out_of_the_text(text: str, rid: str) -> None:
    verdict = said({"errcode": 40001, "errmsg": text})
    assert (verdict.message, verdict.rid) == ("errcode 40001 (invalid credential)", rid)


def test_a_text_is_one_line_that_steers_no_terminal() -> None:
    verdict = said({"errcode": 5, "errmsg": "\x1b[31mred\r\nX 微信 X\x00"})
    assert verdict.message == "errcode 5 ([31mred  X 微信 X)"


def test_a_text_is_carried_on_in_part() -> None:
    verdict = said({"errcode": 5, "errmsg": f"{'x' * 501} rid: {'1' * 101}"})
    assert verdict.message == f"errcode 5 ({'x' * 500})"
    assert verdict.rid == "1" * 100


@pytest.mark.parametrize("text", [None, 5, ["x"], {"a": 1}])
def test_a_text_of_any_type_gives_a_verdict(text: object) -> None:
    assert refusal({"errcode": -1, "errmsg": text}, RULES).action is Action.RETRY


@pytest.mark.parametrize(
    ("code", "read"),
    [
        (40001, 40001),
        ("40001", 40001),
        ("-1", -1),
        ("0", 0),
        (40001.0, 40001),
        (None, 0),
        (10**18 - 1, 10**18 - 1),
    ],
)
def test_an_errcode_of_digits_in_a_string_counts(code: object, read: int) -> None:
    assert code_of({"errcode": code}) == read


@pytest.mark.parametrize(
    "code", ["ok", "", "4_0001", True, -1.5, [1], {"a": 1}, "9" * 400, 10**18, -(10**18)]
)
def test_an_errcode_that_is_no_number_is_no_empty_day(code: object) -> None:
    assert code_of({"errcode": code}) is None
    verdict = said({"errcode": code})
    assert verdict == Verdict(Action.RETRY, "the answer's errcode is not a number")


def test_an_answer_without_an_errcode_has_the_code_0() -> None:
    assert code_of({"list": []}) == 0


def test_a_refusal_whose_errcode_is_no_number_has_the_code_0() -> None:
    verdict = refusal({"errcode": "busy"}, RULES)
    assert verdict == Verdict(Action.FAIL_WINDOW, "errcode 0 (no errmsg)", 0)


def test_an_errmsg_of_any_depth_gives_a_verdict() -> None:
    body = b'{"errcode":5,"errmsg":' + b"[" * 1000 + b"]" * 1000 + b"}"
    assert said(body) == Verdict(Action.FAIL_WINDOW, "errcode 5 (no errmsg)", 5)


def test_a_retired_interface_names_its_successors() -> None:
    message = "errcode 47009 (offline now): offline; its successors are y, z"
    verdict = said({"errcode": 47009, "errmsg": "offline now"}, successors=("y", "z"))
    assert verdict == Verdict(Action.STOP_ENDPOINT, message, 47009)


def test_another_refusal_names_no_successor() -> None:
    assert "successors" not in said({"errcode": -1}, successors=("y",)).message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the answer was empty"),
        (b" \r\n", "the answer was empty"),
        (b"<!DOCTYPE html>", "the answer was HTML"),
        (b"\n <html>", "the answer was HTML"),
        (b'{"list":[{"a"', "the answer was not JSON, or cut off"),
        (b"[]", "the answer was JSON, but not an object"),
        (b'"ok"', "the answer was JSON, but not an object"),
    ],
)
def test_a_body_that_is_no_object_is_tried_again(body: bytes, message: str) -> None:
    assert said(body) == Verdict(Action.RETRY, message)


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (500, Action.RETRY),
        (502, Action.RETRY),
        (599, Action.RETRY),
        (408, Action.RETRY),
        (425, Action.RETRY),
        (429, Action.SLOW_DOWN),
        (404, Action.STOP_ENDPOINT),
        (299, Action.FAIL_WINDOW),
        (300, Action.STOP_ENDPOINT),
        (301, Action.STOP_ENDPOINT),
        (399, Action.STOP_ENDPOINT),
        (302, Action.STOP_ENDPOINT),
        (400, Action.FAIL_WINDOW),
        (403, Action.FAIL_WINDOW),
        (204, Action.FAIL_WINDOW),
    ],
)
def test_an_http_status_decides_before_the_body_is_read(status: int, action: Action) -> None:
    verdict = said({"list": [{"a": 1}]}, status)
    assert (verdict.action, verdict.records, verdict.code) == (action, [], None)
    assert verdict.message.startswith(f"HTTP {status}")


def test_a_status_that_stops_an_interface_says_what_to_look_at() -> None:
    assert said(b"", 404).message == "HTTP 404: the server has no such path; check the base URL"
    assert said(b"", 302).message == (
        "HTTP 302: redirects are not followed, because they would send the token to"
        " another address; check the base URL"
    )


@PROPERTY
@given(st.integers(100, 599), st.binary())
def test_any_bytes_give_a_verdict(status: int, body: bytes) -> None:
    assert isinstance(ENDPOINT.verdict(Response(status, body), DAY), Verdict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = ["errcode", "errmsg", "list", "rid", "is_delay", "ref_date"]
ANSWERS = st.dictionaries(st.sampled_from(NAMES), JSON)


@pytest.mark.thorough
@PROPERTY
@given(ANSWERS)
def test_any_object_gives_a_verdict(answer: dict[str, Any]) -> None:
    verdict = said(answer)
    assert all(isinstance(record, dict) for record in verdict.records)
    assert verdict.action is Action.DONE or verdict.records == []


def test_a_field_may_lie_in_an_object_of_the_record() -> None:
    record = {"stat_item": {"date": "2024-01-02"}, "ref_date": "2024-01-01"}
    assert in_record(record, "ref_date") == "2024-01-01"
    assert in_record(record, "stat_item.date") == "2024-01-02"
    assert in_record(record, "ref_date.date") is None
    assert in_record(record, "stat_item.day") is None


def test_records_that_all_name_the_one_day_of_a_window_are_not_looked_at_one_by_one() -> None:
    rows = [{"ref_date": "2020-01-01", "n": n} for n in range(3)]
    assert within(rows, "ref_date", DAY) is rows
    assert within(rows, "ref_date", WEEK) == []
    mixed = [*rows, {"ref_date": "2020-01-02"}, {"n": 1}, {"ref_date": [1]}]
    assert within(mixed, "ref_date", DAY) == [*rows, {"n": 1}, {"ref_date": [1]}]


def test_days_in_an_object_of_each_record_pick_the_records() -> None:
    rows = [{"stat_item": {"date": f"2020-01-{day:02}"}} for day in (1, 2)] + [{"stat_item": 1}]
    assert within(rows, "stat_item.date", DAY) == [rows[0], rows[2]]


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1,1"])
def test_an_answer_of_too_many_values_is_not_parsed(value: bytes) -> None:
    few, many = (
        read(Response(200, b'{"list":[' + b",".join([value] * number) + b"]}"))
        for number in (MAX_VALUES // 2 - 5, MAX_VALUES // 2 + 5)
    )
    assert isinstance(few, dict)
    assert many == Verdict(Action.RETRY, "the answer held more than 500,000 values")


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_of_just_so_many_values_is_read(more: int) -> None:
    body = b'{"list":[' + b"0," * (MAX_VALUES - 2 + more) + b"0]}"  # a brace and a bracket count
    assert isinstance(read(Response(200, body)), Verdict) == bool(more)


NOON = datetime(2026, 3, 11, 4, tzinfo=UTC).timestamp()  # at noon in China
LOADS = [
    (WindowKind.DAYS, 7, date(2026, 3, 10), True, 7),
    (WindowKind.DAYS, 7, date(2026, 3, 9), False, 7),
    (WindowKind.WEEK, 7, date(2026, 3, 10), False, 7),
    (WindowKind.MONTH, 31, date(2026, 3, 10), False, 30),
    (WindowKind.RECENT, 30, date(2026, 3, 10), True, 1),
    (WindowKind.RECENT, 30, date(2026, 3, 9), False, 1),
]


@pytest.mark.parametrize(("by", "span", "end", "moves_on", "period"), LOADS)
def test_what_is_left_of_an_interface_needs_calls_of_its_quota(
    by: WindowKind, span: int, end: date, moves_on: bool, period: int
) -> None:
    one = replace(ENDPOINT, cut=by, span=span, late_days=4, settled_hour=8)
    wanted = Load(5, 3, end, moves_on, 4, period)
    assert load_of(one, end, 5, 3, NOON) == wanted
    assert last_settled_day(NOON, 8) == date(2026, 3, 10)


def test_the_hour_of_an_interface_decides_whether_its_end_moves_on() -> None:
    one = replace(ENDPOINT, span=1, settled_hour=13)
    assert [load_of(one, date(2026, 3, day), 0, 0, NOON).moves_on for day in (9, 10)] == [
        True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "a\\b", ".hidden", "..", "CON", "nul", "com1", "", "x" * 101, "x" * 300, "a b",
     "早", "1st", "-x", "a\n", "a.b", None, 3],
)  # fmt: skip
def test_an_interface_whose_name_is_no_folders_is_refused(name: object) -> None:
    with pytest.raises(harvester.UsageError, match="cannot be the name of a folder") as caught:
        replace(INTERFACES["getarticlesummary"], name=name)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


NO_COLUMN = (
    "cannot be the name of a column; use up to 100 letters, digits, _ and -, beginning"
    " with a letter, or omit the field: its value is then in _extra"
)
NO_LISTS = "an item of a list cannot be a list; omit the field: its value is then in _extra"
KINDS = "date, int, float, str, bool, object, list"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([Field("/../../outside", "int")], f"field '/../../outside' {NO_COLUMN}"),
        ([Field('a"b', "int")], f"field 'a\"b' {NO_COLUMN}"),
        ([Field("", "int")], f"field '' {NO_COLUMN}"),
        ([Field("_row", "int")], f"field '_row' {NO_COLUMN}"),
        ([Field("x" * 101, "int")], f"field '{'x' * 79} {NO_COLUMN}"),
        ([Field("a", "object", fields=(Field("b/c", "int"),))], f"field 'b/c' {NO_COLUMN}"),
        ([Field("a", "list", fields=(Field("b", "list", item="list"),))], f"field b: {NO_LISTS}"),
        ([Field("a", "list", item="list")], f"field a: {NO_LISTS}"),
        ([Field("a", "text")], f"field a: type 'text' is not one of {KINDS}"),
        ([Field("a", "list", item="text")], f"field a: item 'text' is not one of {KINDS}"),
    ],
)
def test_a_field_that_could_not_be_a_column_is_refused(fields: list[Field], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(ENDPOINT, fields=tuple(fields))
    assert str(caught.value) == f"interface summary: {said}"
    with pytest.raises(UsageError) as caught:
        check_endpoint("own", EARLIEST, fields)
    assert str(caught.value) == f"interface own: {said}"


def test_fields_of_all_types_are_taken() -> None:
    kinds = ("date", "int", "float", "str", "bool", "object")
    fields = [*[Field(f"a-{kind}", kind) for kind in kinds], Field("b", "list")]
    check_endpoint("own", EARLIEST, [*fields, *[Field(f"c_{i}", "list", item=i) for i in kinds]])


def test_names_as_wechat_gives_them_are_taken() -> None:
    for name in ("getarticlesummary", "get_user-2", "x" * 100, "Console", "com10"):
        assert check_name(name) == name


@pytest.mark.parametrize("how", [{}, {"cut": WindowKind.WEEK, "span": 7, "asks_first_day": True}])
@pytest.mark.parametrize("dates", ["%Y-%m-%d", "%Y%m%d", "unix"])
def test_an_interface_that_takes_one_day_is_sent_the_begin(dates: str, how: dict[str, Any]) -> None:
    one = replace(ENDPOINT, begin_key="day", end_key="day", dates=dates, **how)
    two = replace(ENDPOINT, begin_key="day", end_key="until", dates=dates, **how)
    window = WEEK if how else DAY
    sent = [json.loads(each.request(window, Token("t")).body or b"") for each in (one, two)]
    assert sent[0] == {"day": sent[1]["day"]}


@pytest.mark.parametrize("how", [{"span": 2}, {"cut": WindowKind.WEEK, "span": 1}])
def test_an_interface_of_longer_windows_takes_two_days(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="are the same key, so a request names one day"):
        replace(ENDPOINT, begin_key="day", end_key="day", **how)


def test_the_first_day_of_an_interface_may_be_the_earliest_one() -> None:
    check_endpoint("own", EARLIEST)
    with pytest.raises(UsageError, match="must be 2000-01-01 or later"):
        check_endpoint("own", date(1999, 12, 31))


NESTED = JsonEndpoint(
    "nested", "/x", date(2020, 1, 1), day_field="item.date", key=("item.date", "id"), fields=(
        Field("id", "str"),
        Field("item", "object", fields=(Field("date", "date"), Field("n", "int"))),
        Field("list", "list", fields=(Field("n", "int"),)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("record", "figures"),
    [
        ({}, False),
        ({"id": "a", "item": {"date": "2020-01-01"}}, False),
        ({"id": "a", "item": {"date": "2020-01-01", "n": None}, "list": []}, False),
        ({"item": None, "list": [{}, {"n": None, "more": {"x": [[], None]}}]}, False),
        ({"item": {"date": "2020-01-01", "n": 0}}, True),
        ({"list": [{"n": None}, {"n": 0}]}, True),
        ({"unknown": [[None], [[1], None]]}, True),
        ({"unknown": [{"x": 1}, []]}, True),
        ({"list": [{"m": {"x": 1}, "n": None}, None]}, True),
        ({"item": {"a": [0], "date": "2020-01-01", "n": {}}}, True),
        ({"list": [{"date": "2020-01-01"}]}, True),  # not the day of the record
        ({"id": "a", "unknown": False}, True),
        ({"id": "a", "unknown": {"date": []}}, False),
        ({"id": "a", "unknown": ""}, True),
    ],
)
def test_a_record_has_figures_if_it_has_a_value_beside_its_key_and_day(
    record: dict[str, Any], figures: bool
) -> None:
    assert figures_of(NESTED)([record]) == [record] * figures
    beside = {"item": {"n": 1}}
    assert figures_of(NESTED)([beside, record]) == [beside, *[record] * figures]


@pytest.mark.parametrize("value", [0.5, 10**400, "1e400", True, -1, "", math.nan])
def test_a_number_of_any_size_is_a_figure(value: Any) -> None:
    of_numbers = replace(NESTED, fields=(Field("id", "str"), Field("n", "float")))
    records = [{"id": "a", "n": 0.5}, {"id": "b", "n": value}, {"id": "c", "n": -(10**400)}]
    assert figures_of(of_numbers)([*records, {"id": "d", "n": None}]) == records
    assert figures_of(of_numbers)(records) == records


def test_records_that_all_have_a_number_are_not_examined_one_by_one() -> None:
    usual = replace(NESTED, fields=(*NESTED.fields, Field("n", "int"), Field("m", "float")))
    records = [{"id": "a", "n": 0}, {"id": "b", "n": 2, "m": None}]
    assert figures_of(usual)(records) is records


def test_a_record_of_an_interface_of_keys_alone_has_figures() -> None:
    bare = replace(NESTED, fields=(Field("id", "str"),))
    assert figures_of(bare)([{"id": None}]) == [{"id": None}]
    days = [{"item": {"date": "2020-01-01"}}]
    assert figures_of(replace(NESTED, fields=()))(days) == days


def test_an_interface_of_a_users_own_class_may_have_no_key() -> None:
    own: Any = SimpleNamespace(fields=(Field("n", "int"),), day_field="day")
    assert figures_of(own)([{"day": "2020-01-01"}, {"n": 1}]) == [{"n": 1}]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("getusercumulate", {"ref_date": "2026-01-01", "user_source": 0, "cumulate_user": None}),
        ("getweanalysisappidvisitdistribution", {"ref_date": "20260101", "list": []}),
        ("getarticleread", {"ref_date": "2026-01-01", "msgid": "1_1", "detail": {}}),
        ("publisher_adpos_general", {"date": "2026-01-01", "income": None}),
    ],
)
def test_a_record_of_wechat_that_holds_nothing_but_its_day_has_no_figures(
    name: str, record: dict[str, Any]
) -> None:
    with_figures = figures_of(INTERFACES[name])
    later = {**record, "a field that came later": 0}
    assert with_figures([record, later, record]) == [later]


@pytest.mark.parametrize("more", [{"grows": True}, {"fields": (
    Field("list", "list", fields=(Field("day", "date"),)),
)}])  # fmt: skip
def test_records_that_grow_need_a_key(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        JsonEndpoint("own", "/x", date(2020, 1, 1), late_days=7, **more)
    assert str(caught.value) == (
        "interface own: its records grow, so a later answer must be compared with them; "
        'name the fields that identify a record: key = ["ref_date", …]'
    )
    JsonEndpoint("own", "/x", date(2020, 1, 1), late_days=7, key=("id",), **more)
    JsonEndpoint("own", "/x", date(2020, 1, 1), **more)


def test_a_day_is_due_from_its_hour_on_and_a_week_or_month_once_it_is_over() -> None:
    def at(hour: int) -> float:  # Wednesday 2026-03-11, in China
        return datetime(2026, 3, 11, hour, tzinfo=CHINA).timestamp()

    made = JsonEndpoint("x", "/x", date(2020, 1, 1), settled_hour=9)
    for hour, day in ((8, 10), (9, 11)):
        assert first_not_due(made, at(hour)) == date(2026, 3, day)
    assert first_not_due(replace(made, cut=WindowKind.WEEK), at(12)) == date(2026, 3, 9)
    assert first_not_due(replace(made, cut=WindowKind.MONTH), at(12)) == date(2026, 3, 1)


def test_only_a_list_has_entries_with_a_day() -> None:
    day = Field("day", "date")
    plain = Field("of_day", "object", fields=(day,))
    without = Field("names", "list", fields=(Field("name", "str"),))
    entries = Field("days", "list", fields=(day,))
    assert list_by_day(JsonEndpoint("x", "/x", date(2020, 1, 1), fields=(plain, without))) is None
    assert list_by_day(
        JsonEndpoint("x", "/x", date(2020, 1, 1), fields=(plain, without, entries))
    ) == ("days", "day")
