"""Refusals on request, their texts, and calls in cloud hosting, which carry no token."""

import json
import re
from datetime import date
from typing import Any

import pytest

from harvester.testing import TEXTS
from tests.support import noon
from tests.testing.support import PUBLISHER, START, Wechat, code, read

DAY = date(2023, 6, 1)
CODES = sorted(set(TEXTS) - {0, 1701, 2009, 45010})


@pytest.mark.parametrize("errcode", CODES)
def test_any_code_can_be_had_on_a_data_call_with_its_text(errcode: int) -> None:
    wechat = Wechat(refuse={"getusersummary": errcode})
    answer = wechat.data("getusersummary", DAY)
    assert answer["errcode"] == errcode
    assert re.fullmatch(
        re.escape(TEXTS[errcode]) + " rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}", answer["errmsg"]
    )
    assert wechat.counts[f"errcode {errcode}"] == 1


def test_the_codes_of_the_facts_all_have_a_text() -> None:
    known = {
        -1, 0, 40001, 40002, 40013, 40014, 40030, 40035, 40097, 40091, 40094, 40125, 40164, 40243,
        41001, 41002, 41004, 42001, 42007, 43002, 43003, 44002, 45009, 45011, 45035, 47001, 47009,
        48001, 48004, 48006, 50001, 50002, 50005, 61003, 61004, 61005, 61006, 61007, 61009, 61010,
        61011, 61023, 61500, 61501, 61502, 61503, 76001, 76003, 76021, 76022, 89501, 89502, 89503,
        89504, 89505, 89506, 89507, 9001001, 9001031, 9001036,
    }  # fmt: skip
    assert known <= set(TEXTS)
    assert all(TEXTS.values())


@pytest.mark.parametrize(
    ("refuse", "expected"),
    [
        ({("wx1", "getusersummary"): 48001}, [48001, None, None, None]),
        ({"getusersummary": 48001}, [48001, None, 48001, None]),
        ({"wx1": 50002}, [50002, 50002, None, None]),
        (
            {("wx1", "getusersummary"): 61007, "getusersummary": 48001, "wx1": 50002},
            [61007, 50002, 48001, None],
        ),
    ],
)
def test_an_account_an_interface_or_both_can_be_refused(
    refuse: dict[Any, int], expected: list[int | None]
) -> None:
    wechat = Wechat(refuse=refuse)
    found = [
        code(wechat.data(name, DAY, appid=appid))
        for appid in ("wx1", "wx2")
        for name in ("getusersummary", "getusercumulate")
    ]
    assert found == expected


def test_a_wrong_method_is_refused_with_the_right_one() -> None:
    wechat = Wechat()
    assert code(read(wechat.handle("POST", "/cgi-bin/token", {}, b""))) == 43001
    assert code(read(wechat.handle("GET", "/cgi-bin/stable_token", {}, b""))) == 43002
    query = {"access_token": wechat.token(), "action": PUBLISHER[0].name}
    assert code(read(wechat.handle("POST", "/publisher/stat", query, b""))) == 43001


def test_the_publishers_own_codes_come_as_ret_and_others_as_errcode() -> None:
    name = PUBLISHER[0].name
    answer = Wechat(refuse={name: 45010}).data(name, DAY)
    assert answer == {"ret": 45010, "err_msg": "not supported action for your appid"}
    assert code(Wechat(refuse={name: 48001}).data(name, DAY)) == 48001


@pytest.mark.parametrize("errcode", [40164, 40243, 89503, -1])
def test_an_account_can_be_refused_a_token(errcode: int) -> None:
    wechat = Wechat(refuse_token={"wx1": errcode})
    assert (code(wechat.stable()), code(wechat.classic())) == (errcode, errcode)
    assert wechat.token("wx2")


def test_a_token_of_a_refused_account_is_not_asked_for_before_its_credentials() -> None:
    wechat = Wechat(refuse_token={"wx1": 40164})
    assert code(wechat.stable(secret="wrong")) == 40125


# request ids


def rid(answer: dict[str, Any]) -> str:
    return str(answer["errmsg"].partition("rid: ")[2])


def test_a_request_id_begins_with_its_time_in_hexadecimal_seconds() -> None:
    wechat = Wechat(refuse={"getusersummary": 48001})
    ids = [rid(wechat.data("getusersummary", DAY)) for _ in range(3)]
    assert {int(each.partition("-")[0], 16) for each in ids} == {int(START)}
    assert len(set(ids)) == 3


# cloud hosting


def ask(wechat: Wechat, **query: str) -> dict[str, Any]:
    body = json.dumps({"begin_date": str(DAY), "end_date": str(DAY)}).encode()
    return read(wechat.handle("POST", "/datacube/getusersummary", query, body))


def test_in_cloud_hosting_a_call_without_a_token_is_the_accounts_own() -> None:
    wechat = Wechat(cloud_appid="wx1")
    assert ask(wechat)["list"] == wechat.truth_of("getusersummary", "wx1", DAY, DAY)
    assert wechat.served_of["getusersummary", "wx1", DAY, DAY] == 1
    assert code(ask(Wechat())) == 41001


def test_a_token_of_the_container_is_taken_if_it_is_the_right_one() -> None:
    wechat = Wechat(cloud_appid="wx1", cloud_token="container")
    assert "list" in ask(wechat, cloudbase_access_token="container")
    assert code(ask(wechat, cloudbase_access_token="other")) == 40014
    assert code(ask(Wechat(cloud_appid="wx1"), cloudbase_access_token="container")) == 40014


def test_in_cloud_hosting_an_access_token_still_says_whose_call_it_is() -> None:
    wechat = Wechat(noon("2026-06-01"), cloud_appid="wx1")
    assert ask(wechat, access_token=wechat.token("wx2"))["list"] == wechat.truth_of(
        "getusersummary", "wx2", DAY, DAY
    )
    assert code(ask(wechat, access_token="wrong")) == 40014


def test_a_token_of_a_container_without_an_account_is_an_error() -> None:
    with pytest.raises(ValueError, match="cloud_appid"):
        Wechat(cloud_token="container")
