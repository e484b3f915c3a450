"""Quotas told and set back."""

from datetime import date

import pytest

from harvester.plan import next_midnight
from tests.support import noon
from tests.testing.support import START, Wechat, code, read

DAY = date(2023, 6, 1)
GET, CLEAR_PATH = "/cgi-bin/openapi/quota/get", "/cgi-bin/openapi/quota/clear"
CLEAR = "/cgi-bin/clear_quota"
PATH = "/datacube/getusersummary"


def by_secret(wechat: Wechat, **query: str) -> int | None:
    query = {"appid": "wx1", "appsecret": "practice", **query}
    return code(read(wechat.handle("POST", f"{CLEAR}/v2", query, b"")))


def used(wechat: Wechat, path: str = PATH, appid: str = "wx1") -> int:
    answer = wechat.call(GET, wechat.token(appid), cgi_path=path)
    return int(answer["quota"]["used"])


def test_the_quota_of_a_path_is_told() -> None:
    wechat = Wechat(daily_quota=100, minute_limit=(30, 60.0))
    for _ in range(3):
        wechat.data("getusersummary", DAY)
    rate = {"call_count": 60, "refresh_second": 60}
    assert wechat.call(GET, cgi_path=PATH) == {
        "errcode": 0,
        "errmsg": "ok",
        "quota": {"daily_limit": 100, "used": 3, "remain": 97},
        "rate_limit": rate,
        "component_rate_limit": rate,
    }


def test_quotas_are_told_of_one_interface_account_and_day() -> None:
    wechat = Wechat(daily_quota={"getusersummary": 100, "getusercumulate": 7})
    wechat.data("getusersummary", DAY)
    assert (used(wechat), used(wechat, "/datacube/getusercumulate")) == (1, 0)
    assert used(wechat, appid="wx2") == 0
    limit = wechat.call(GET, cgi_path="/datacube/getusercumulate")["quota"]["daily_limit"]
    assert limit == 7
    wechat.clock.now = next_midnight(START)
    assert used(wechat) == 0


def test_the_path_of_the_publisher_tells_of_its_busiest_action() -> None:
    wechat = Wechat(daily_quota=100)
    for name in ("publisher_cps_general", "publisher_settlement", "publisher_settlement"):
        wechat.data(name, DAY)
    assert used(wechat, "/publisher/stat") == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PATH, 0),
        ("datacube/getusersummary", 76003),
        ("https://api.weixin.qq.com/datacube/getusersummary", 76003),
        (f"{PATH}?access_token=1", 76003),
        ("", 76003),
        (None, 76003),
    ],
)
def test_a_path_begins_with_a_slash(path: object, expected: int) -> None:
    wechat = Wechat()
    assert code(wechat.call(GET, cgi_path=path)) == expected
    assert code(wechat.call(CLEAR_PATH, cgi_path=path)) == expected


def test_the_quota_of_any_path_is_told_and_the_question_is_counted() -> None:
    wechat = Wechat(daily_quota=100)
    quota = wechat.call(GET, cgi_path="/cgi-bin/user/get")["quota"]
    assert quota == {"daily_limit": 100, "used": 0, "remain": 100}
    assert wechat.counts["quota/get"] == 1
    assert code(wechat.call(CLEAR_PATH, cgi_path="/cgi-bin/user/get")) == 76021


def test_calls_are_counted_where_no_quota_is_set() -> None:
    wechat = Wechat()
    for _ in range(3):
        wechat.data("getusersummary", DAY)
    assert used(wechat) == 3
    wechat.clock.now = next_midnight(START)
    assert used(wechat) == 0


def test_a_platforms_own_token_tells_of_the_platforms_interfaces_alone() -> None:
    wechat = Wechat(component=("wxplatform", "practice"))
    given = {
        "component_appid": "wxplatform", "component_appsecret": "practice",
        "component_verify_ticket": wechat.ticket(),
    }  # fmt: skip
    token = wechat.call("/cgi-bin/component/api_component_token", "", **given)
    own = token["component_access_token"]
    path = "/cgi-bin/component/api_authorizer_token"
    assert code(wechat.call(GET, own, cgi_path=path)) == 0
    assert code(wechat.call(GET, own, cgi_path=PATH)) == 76022
    wechat.revoke("wxplatform")
    assert code(wechat.call(GET, own, cgi_path=path)) == 40001


def test_asking_for_the_quota_costs_none() -> None:
    wechat = Wechat(daily_quota=1, minute_limit=(1, 60.0))
    for _ in range(3):
        assert used(wechat) == 0
    assert code(wechat.data("getusersummary", DAY)) is None


def test_all_counters_of_an_account_can_be_set_back() -> None:
    wechat = Wechat(daily_quota=1)
    for appid in ("wx1", "wx2"):
        wechat.data("getusersummary", DAY, appid=appid)
        wechat.data("getusercumulate", DAY, appid=appid)
    assert wechat.call(CLEAR, appid="wx1") == {"errcode": 0, "errmsg": "ok"}
    names = ("getusersummary", "getusercumulate")
    assert [code(wechat.data(name, DAY)) for name in names] == [None, None]
    assert code(wechat.data("getusersummary", DAY, appid="wx2")) == 45009


def test_one_interface_can_be_set_back_alone() -> None:
    wechat = Wechat(daily_quota=1)
    names = ("getusersummary", "getusercumulate")
    for name in names:
        wechat.data(name, DAY)
    assert code(wechat.call(CLEAR_PATH, cgi_path=PATH)) == 0
    assert [code(wechat.data(name, DAY)) for name in names] == [None, 45009]


def test_ten_clears_a_month_are_shared_by_both_ways() -> None:
    wechat = Wechat(noon("2026-03-31"))
    codes = [code(wechat.call(CLEAR, appid="wx1")) for _ in range(6)]
    codes += [by_secret(wechat) for _ in range(4)]
    assert codes == [0] * 10
    assert (by_secret(wechat), code(wechat.call(CLEAR, appid="wx1"))) == (48006, 48006)
    assert by_secret(wechat, appid="wx2") == 0
    wechat.clock.now = noon("2026-04-01")
    assert by_secret(wechat) == 0


def test_clears_of_one_interface_are_counted_apart() -> None:
    wechat = Wechat()
    codes = [code(wechat.call(CLEAR_PATH, cgi_path=PATH)) for _ in range(51)]
    assert codes == [0] * 50 + [48006]
    assert by_secret(wechat) == 0


def test_a_clear_is_for_the_account_of_the_token_or_the_secret() -> None:
    wechat = Wechat()
    assert code(wechat.call(CLEAR, appid="wx2")) == 40013
    assert code(wechat.call(CLEAR, "wrong", appid="wx1")) == 40014
    assert by_secret(wechat, appsecret="wrong") == 40125
    assert by_secret(wechat, appid="") == 41002
    assert code(read(wechat.handle("GET", f"{CLEAR}/v2", {}, b""))) == 43002


@pytest.mark.parametrize("path", [GET, CLEAR_PATH, CLEAR, "/cgi-bin/openapi/rid/get"])
def test_the_interfaces_about_interfaces_want_a_token_and_a_post_with_an_object(path: str) -> None:
    wechat = Wechat()
    query = {"access_token": wechat.token()}
    assert code(read(wechat.handle("POST", path, {}, b"{}"))) == 41001
    assert code(read(wechat.handle("GET", path, query, b"{}"))) == 43002
    assert code(read(wechat.handle("POST", path, query, b"[]"))) == 47001
