"""A third-party platform: ticket, token, and the tokens of its accounts."""

import json
from datetime import date
from typing import Any

import pytest

from tests.testing.support import START, Wechat, code, read

APPID, SECRET = "wxcomponent1", "platform secret"
DAY = date(2023, 6, 1)
ROOT = "/cgi-bin/component/"


class Platform(Wechat):
    """A simulator with a platform, and the requests that a platform sends."""

    def __init__(self, **how: Any) -> None:
        super().__init__(component=(APPID, SECRET), **how)

    def open(self, **changed: object) -> dict[str, Any]:
        given = {
            "component_appid": APPID, "component_appsecret": SECRET,
            "component_verify_ticket": self.ticket(), **changed,
        }  # fmt: skip
        return self.call(f"{ROOT}api_component_token", "", **given)

    def ask_platform(
        self, name: str, *, token: str | None = None, parameter: str = "component_access_token",
        **given: object,
    ) -> dict[str, Any]:  # fmt: skip
        token = self.open()["component_access_token"] if token is None else token
        body = json.dumps({"component_appid": APPID, **given}).encode()
        return read(self.handle("POST", ROOT + name, {parameter: str(token)}, body))

    def refresh(self, appid: str = "wx1", refresh: str | None = None, **how: Any) -> dict[str, Any]:
        refresh = self.refresh_token(appid) if refresh is None else refresh
        return self.ask_platform(
            "api_authorizer_token",
            authorizer_appid=appid, authorizer_refresh_token=refresh, **how,
        )  # fmt: skip

    def with_token(self, token: str) -> dict[str, Any]:
        dates = {"begin_date": str(DAY), "end_date": str(DAY)}
        return self.call("/datacube/getusersummary", token, **dates)


def test_a_ticket_opens_the_platform_for_two_hours() -> None:
    answer = Platform().open()
    assert set(answer) == {"component_access_token", "expires_in"}
    assert answer["expires_in"] == 7200


def test_tokens_of_a_platform_end_like_others() -> None:
    wechat = Platform()
    platform = wechat.open()["component_access_token"]
    account = wechat.refresh()["authorizer_access_token"]
    wechat.clock.now += 7200.0
    assert code(wechat.with_token(account)) == 42001
    assert code(wechat.refresh(token=platform)) == 42001
    wechat.revoke("wx1")
    assert code(wechat.with_token(account)) == 40001


def test_another_ticket_comes_every_ten_minutes_and_lives_twelve_hours() -> None:
    wechat = Platform()
    wechat.clock.now = START // 600 * 600
    ticket = wechat.ticket()
    found = []
    for at in (0.0, 599.0, 600.0, 12 * 3600 - 1, 12 * 3600):
        wechat.clock.now = START // 600 * 600 + at
        found.append((wechat.ticket() == ticket, code(wechat.open(component_verify_ticket=ticket))))
    assert found == [(True, None), (True, None), (False, None), (False, None), (False, 61005)]


def test_a_ticket_that_was_never_pushed_is_invalid() -> None:
    wechat = Platform()
    wechat.clock.now += 600.0
    future = wechat.ticket()
    wechat.clock.now -= 600.0
    assert code(wechat.open(component_verify_ticket=future)) == 61006


def test_tickets_and_refresh_tokens_are_the_same_for_the_same_seed() -> None:
    one, other, third = Platform(), Platform(), Platform(seed=2)
    assert one.ticket() == other.ticket() != third.ticket()
    assert one.refresh_token("wx1") == other.refresh_token("wx1") != third.refresh_token("wx1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"component_appid": "wx9"}, 61011),
        ({"component_appsecret": "wrong"}, 40125),
        *[
            ({"component_verify_ticket": ticket}, 61006)
            for ticket in ("ticket@@@1_abc", "nonsense", "", None)
        ],
    ],
)
def test_without_the_right_credentials_and_ticket_there_is_no_platforms_token(
    given: dict[str, Any], expected: int
) -> None:
    assert code(Platform().open(**given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"token": ""}, 41001),
        ({"token": "wrong"}, 40014),
        ({"refresh": "wrong"}, 61023),
        ({"refresh": ""}, 61023),
        ({"refresh": Platform().refresh_token("wx2")}, 61023),
    ],
)
def test_without_the_right_tokens_there_is_no_other(given: dict[str, str], expected: int) -> None:
    assert code(Platform().refresh(**given)) == expected


@pytest.mark.parametrize("parameter", ["component_access_token", "access_token"])
def test_an_accounts_token_opens_its_data(parameter: str) -> None:
    wechat = Platform()
    answer = wechat.refresh(parameter=parameter)
    assert set(answer) == {"authorizer_access_token", "expires_in", "authorizer_refresh_token"}
    assert (answer["expires_in"], answer["authorizer_refresh_token"]) == (
        7200,
        wechat.refresh_token("wx1"),
    )
    rows = wechat.with_token(answer["authorizer_access_token"])["list"]
    assert rows == wechat.truth_of("getusersummary", "wx1", DAY, DAY)


def test_a_platforms_token_is_the_wrong_kind_for_data_and_an_accounts_for_the_platform() -> None:
    wechat = Platform()
    assert code(wechat.with_token(wechat.open()["component_access_token"])) == 48001
    assert code(wechat.refresh(token=wechat.token())) == 48001


def test_a_new_refresh_token_ends_the_old_one_when_it_is_used() -> None:
    wechat = Platform()
    old = wechat.refresh_token("wx1")
    wechat.rotate_refresh("wx1")
    new = wechat.refresh(refresh=old)["authorizer_refresh_token"]
    assert old != new == wechat.refresh_token("wx1")
    assert wechat.refresh(refresh=old)["authorizer_refresh_token"] == new
    assert wechat.refresh(refresh=new)["authorizer_refresh_token"] == new
    assert code(wechat.refresh(refresh=old)) == 61023


def test_leave_taken_back_ends_everything_of_the_account() -> None:
    wechat = Platform()
    token = wechat.refresh()["authorizer_access_token"]
    wechat.deauthorize("wx1")
    assert (code(wechat.refresh()), code(wechat.with_token(token))) == (61003, 61003)
    assert code(wechat.refresh("wx2")) is None


def test_a_token_of_the_accounts_own_outlives_the_leave() -> None:
    wechat = Platform()
    wechat.deauthorize("wx1")
    assert "list" in wechat.with_token(wechat.token())


def test_leave_given_again_comes_with_a_new_refresh_token() -> None:
    wechat = Platform()
    old = wechat.refresh_token("wx1")
    wechat.deauthorize("wx1")
    wechat.authorize("wx1")
    new = wechat.refresh_token("wx1")
    assert new != old
    assert "list" in wechat.with_token(wechat.refresh(refresh=new)["authorizer_access_token"])
    assert code(wechat.refresh(refresh=old)) == 61023


def test_token_calls_of_a_platform_can_be_refused() -> None:
    wechat = Platform(refuse_token={"wx1": 61004})
    assert (code(wechat.refresh()), code(wechat.refresh("wx2"))) == (61004, None)
    assert code(Platform(refuse_token={APPID: 61004}).open()) == 61004


LIST, INFO, OPTION = (f"api_get_authorizer_{name}" for name in ("list", "info", "option"))


def test_the_accounts_that_authorised_the_platform_are_listed_in_pages() -> None:
    wechat = Platform()
    refresh = {appid: wechat.refresh_token(appid) for appid in ("wx1", "wx2", "wx3")}
    wechat.deauthorize("wx2")
    every = [
        {"authorizer_appid": appid, "refresh_token": refresh[appid], "auth_time": int(START)}
        for appid in ("wx1", "wx3")
    ]
    for (offset, count), listed in {(0, 500): every, (0, 1): every[:1], (1, 5): every[1:],
                                    (2, 5): []}.items():  # fmt: skip
        answer = wechat.ask_platform(LIST, offset=offset, count=count)
        assert answer == {"total_count": 2, "list": listed}


@pytest.mark.parametrize(
    "given",
    [
        {}, {"offset": 0}, {"offset": 0, "count": 501}, {"offset": 0, "count": 0},
        {"offset": "0", "count": 1},
    ],
)  # fmt: skip
def test_a_page_of_the_list_that_cannot_be_is_refused(given: dict[str, Any]) -> None:
    assert code(Platform().ask_platform(LIST, **given)) == 40097


def test_a_lost_refresh_token_is_found_in_the_accounts_info() -> None:
    wechat = Platform()
    answer = wechat.ask_platform(INFO, authorizer_appid="wx1")
    assert answer["authorizer_info"]["user_name"] == "gh_1"
    granted = answer["authorization_info"]
    assert granted["authorizer_appid"] == "wx1"
    assert {"funcscope_category": {"id": 7}} in granted["func_info"]
    found = wechat.refresh("wx1", granted["authorizer_refresh_token"])
    assert "list" in wechat.with_token(found["authorizer_access_token"])


def test_an_option_of_an_account_is_told() -> None:
    wechat = Platform()
    answer = wechat.ask_platform(OPTION, authorizer_appid="wx1", option_name="voice_recognize")
    assert answer == {
        "authorizer_appid": "wx1", "option_name": "voice_recognize", "option_value": "0",
    }  # fmt: skip
    answer = wechat.ask_platform(OPTION, authorizer_appid="wx1", option_name="colour")
    assert (code(answer), answer["errmsg"].partition(" rid")[0]) == (61012, "invalid option name")


@pytest.mark.parametrize("name", [INFO, OPTION])
def test_what_a_platform_asks_of_an_account_needs_both(name: str) -> None:
    wechat = Platform()
    wechat.deauthorize("wx2")
    for appid, expected in (("wx2", 61003), ("", 40013)):
        assert code(wechat.ask_platform(name, authorizer_appid=appid)) == expected
    assert code(wechat.ask_platform(name, token=wechat.token(), authorizer_appid="wx1")) == 48001
    assert code(wechat.ask_platform(LIST, token="")) == 41001


def test_without_a_platform_there_is_nothing_of_it() -> None:
    wechat = Wechat()
    assert wechat.handle("POST", f"{ROOT}api_component_token", {}, b"{}").status == 404
    with pytest.raises(ValueError, match="component"):
        wechat.ticket()
