"""Quotas told and cleared, and requests that are found by their id."""

from datetime import date
from typing import Any

import pytest

from harvester.base.dates import next_midnight
from harvester.testing.management import RIDS
from tests.testing.support import DAY, START, Wechat, code, read

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


# clearing

CLEAR = "/cgi-bin/clear_quota"


def clear(wechat: Wechat, appid: str = "wx1", token: str = "wx1") -> int | None:
    return code(wechat.call(CLEAR, wechat.token(token), appid=appid))


def clear_by_secret(wechat: Wechat, method: str = "POST", **changed: str) -> int | None:
    query = {"appid": "wx1", "appsecret": "practice", **changed}
    return code(read(wechat.handle(method, f"{CLEAR}/v2", query, b"")))


@pytest.mark.parametrize("way", [clear, clear_by_secret])
def test_the_calls_of_an_account_are_cleared(way: Any) -> None:
    wechat = Wechat(daily_quota=2)
    for appid in ("wx1", "wx2"):
        for name in ("getusersummary", "getusersummary", "getusercumulate"):
            wechat.data(name, DAY, appid=appid)
    assert code(wechat.data("getusersummary", DAY)) == 45009
    assert way(wechat) == 0
    assert (used(wechat), used(wechat, "/datacube/getusercumulate")) == (0, 0)
    assert used(wechat, appid="wx2") == 2
    assert "list" in wechat.data("getusersummary", DAY)


def test_both_ways_share_ten_clears_a_month_of_an_account() -> None:
    wechat = Wechat()
    for _ in range(5):
        assert (clear(wechat), clear_by_secret(wechat)) == (0, 0)
    assert (clear(wechat), clear_by_secret(wechat)) == (48006, 48006)
    assert clear(wechat, "wx2", "wx2") == 0
    wechat.clock.now += 31 * 86_400.0
    assert clear(wechat) == 0


def test_quotas_are_not_cleared_for_another_account_or_without_its_secret() -> None:
    wechat = Wechat()
    assert clear(wechat, "wx2") == 40013
    assert code(read(wechat.handle("POST", CLEAR, {"access_token": wechat.token()}, b""))) == 44002
    assert clear_by_secret(wechat, "GET") == 43002
    for changed, expected in (
        ({"appid": ""}, 41002), ({"appid": "x"}, 40013), ({"appsecret": ""}, 41004),
        ({"appsecret": "wrong"}, 40125),
    ):  # fmt: skip
        assert clear_by_secret(wechat, **changed) == expected


# request ids

RID = "/cgi-bin/openapi/rid/get"


def refused(wechat: Wechat) -> str:
    """The request id of a request that is refused for its dates."""
    answer = wechat.ask(wechat.token(), date(2030, 1, 1))
    return str(answer["errmsg"]).partition("rid: ")[2]


def test_a_refused_request_is_found_by_its_id() -> None:
    wechat = Wechat(latency=0.25)
    token = wechat.token()
    rid = refused(wechat)
    answer = wechat.call(RID, rid=rid)
    request = answer["request"]
    assert (answer["errcode"], request["invoke_time"]) == (0, int(START))
    assert (request["cost_in_ms"], request["client_ip"]) == (250, "203.0.113.7")
    assert request["request_url"] == f"/datacube/getarticlesummary?access_token={token}"
    assert request["request_body"] == '{"begin_date": "2030-01-01", "end_date": "2030-01-01"}'
    assert rid in request["response_body"]


def test_a_request_id_is_told_to_its_account_alone_and_for_seven_days() -> None:
    wechat = Wechat()
    rid = refused(wechat)
    assert code(wechat.call(RID, wechat.token("wx2"), rid=rid)) == 76001
    wechat.clock.now += 7 * 86_400.0
    assert code(wechat.call(RID, rid=rid)) == 0
    wechat.clock.now += 1.0
    assert code(wechat.call(RID, rid=rid)) == 76001


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, 76002), ({"rid": 5}, 76002), ({"rid": "x"}, 76002), ({"rid": "0-0-0"}, 76002),
     ({"rid": "00000000-00000000-00000000"}, 76001)],
)  # fmt: skip
def test_a_request_id_that_cannot_be_found_is_refused(given: dict[str, Any], expected: int) -> None:
    assert code(Wechat().call(RID, **given)) == expected


@pytest.mark.thorough
def test_no_more_requests_than_a_bound_are_remembered() -> None:
    wechat = Wechat()
    first = refused(wechat)
    token = wechat.token()
    for _ in range(RIDS):
        wechat.reply(token, date(2030, 1, 1))
    assert code(wechat.call(RID, rid=first)) == 76001
