"""Quotas told."""

import pytest

from harvester.plan import next_midnight
from tests.testing.support import DAY, START, Wechat, code

QUOTA = "/cgi-bin/openapi/quota/get"
PATH = "/datacube/getusersummary"


def used(wechat: Wechat, path: str = PATH, appid: str = "wx1") -> int:
    answer = wechat.call(QUOTA, wechat.token(appid), cgi_path=path)
    return int(answer["quota"]["used"])


def test_the_quota_of_a_path_is_told() -> None:
    wechat = Wechat(daily_quota=100, minute_limit=(30, 60.0))
    for _ in range(3):
        wechat.data("getusersummary", DAY)
    rate = {"call_count": 60, "refresh_second": 60}
    assert wechat.call(QUOTA, cgi_path=PATH) == {
        "errcode": 0,
        "errmsg": "ok",
        "quota": {"daily_limit": 100, "used": 3, "remain": 97},
        "rate_limit": rate,
        "component_rate_limit": rate,
    }


def test_the_path_of_the_publisher_tells_of_its_busiest_action() -> None:
    wechat = Wechat(daily_quota=100)
    for name in ("publisher_cps_general", "publisher_settlement", "publisher_settlement"):
        wechat.data(name, DAY)
    assert used(wechat, "/publisher/stat") == 2


def test_quotas_are_told_of_one_interface_account_and_day() -> None:
    wechat = Wechat(daily_quota={"getusersummary": 100, "getusercumulate": 7})
    wechat.data("getusersummary", DAY)
    assert (used(wechat), used(wechat, "/datacube/getusercumulate")) == (1, 0)
    assert used(wechat, appid="wx2") == 0
    limit = wechat.call(QUOTA, cgi_path="/datacube/getusercumulate")["quota"]["daily_limit"]
    assert limit == 7
    wechat.clock.now = next_midnight(START)
    assert used(wechat) == 0


def test_calls_are_counted_where_no_quota_is_set() -> None:
    wechat = Wechat()
    for _ in range(3):
        wechat.data("getusersummary", DAY)
    assert used(wechat) == 3
    wechat.clock.now = next_midnight(START)
    assert used(wechat) == 0


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
    assert code(wechat.call(QUOTA, cgi_path=path)) == expected


def test_a_platforms_own_token_tells_of_the_platforms_interfaces_alone() -> None:
    wechat = Wechat(component=("wxplatform", "practice"))
    given = {
        "component_appid": "wxplatform", "component_appsecret": "practice",
        "component_verify_ticket": wechat.ticket(),
    }  # fmt: skip
    token = wechat.call("/cgi-bin/component/api_component_token", "", **given)
    own = token["component_access_token"]
    path = "/cgi-bin/component/api_authorizer_token"
    assert code(wechat.call(QUOTA, own, cgi_path=path)) == 0
    assert code(wechat.call(QUOTA, own, cgi_path=PATH)) == 76022
    assert code(wechat.call(QUOTA, own, cgi_path="/cgi-bin/component//")) == 76003
    wechat.revoke("wxplatform")
    assert code(wechat.call(QUOTA, own, cgi_path=path)) == 40001


def test_asking_for_the_quota_costs_none() -> None:
    wechat = Wechat(daily_quota=1, minute_limit=(1, 60.0))
    for _ in range(3):
        assert used(wechat) == 0
    assert code(wechat.data("getusersummary", DAY)) is None


def test_the_quota_of_any_path_is_told_and_the_question_is_counted() -> None:
    wechat = Wechat(daily_quota=100)
    quota = wechat.call(QUOTA, cgi_path="/cgi-bin/user/get")["quota"]
    assert quota == {"daily_limit": 100, "used": 0, "remain": 100}
    assert wechat.counts["quota/get"] == 1
