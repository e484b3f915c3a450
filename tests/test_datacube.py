"""WeChat as data: its interface, its error codes, its token interfaces."""

import asyncio
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from harvester.auth import CallableProvider, Send, TokenRefusedError
from harvester.datacube import (
    ERRORS,
    GETARTICLESUMMARY,
    TOKEN_ERRORS,
    TOKEN_KINDS,
    ClassicToken,
    StableToken,
    provider_for,
)
from harvester.errors import AttemptError, UsageError
from harvester.model import Account, Action, Request, Response, Token, Verdict, Window

PROVIDERS = [StableToken("wx1", "s3cret"), ClassicToken("wx1", "s3cret")]

DATA_ACTIONS = {
    Action.RETRY: [-1],
    Action.RENEW_TOKEN: [40001, 40014, 41001, 42001, 42007],
    Action.QUOTA: [45009],
    Action.SLOW_DOWN: [45011],
    Action.NOT_READY: [61503],
    Action.STOP_ENDPOINT: [47009, 50001, 61007, 61502],
    Action.STOP_ACCOUNT: [40013, 40125, 40164, 40243, 45035, 48001, 48004, 50002, 61003, 61004,
                          61011, 61023],
    Action.FAIL_WINDOW: [61500, 61501, 40035, 40097, 43002, 43003, 44002, 47001],
}  # fmt: skip
DATA_CODES = [(code, action) for action, codes in DATA_ACTIONS.items() for code in codes]
TOKEN_CODES = [
    (-1, Action.RETRY),
    (45009, Action.QUOTA),
    (45011, Action.SLOW_DOWN),
    *[
        (code, Action.STOP_ACCOUNT)
        for code in (40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 45035, 48004, 50002)
    ],
    *[(code, Action.STOP_ACCOUNT) for code in range(89501, 89508)],
    (12345, Action.STOP_ACCOUNT),
    (61500, Action.STOP_ACCOUNT),
]


def answering(answer: object, sent: list[Request] | None = None) -> Send:
    """What a provider sends through; it always gets this answer."""

    async def send(request: Request) -> Response:
        if sent is not None:
            sent.append(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        return Response(200, json.dumps(answer).encode())

    return send


def refused(provider: StableToken | ClassicToken, answer: object) -> Verdict:
    with pytest.raises(TokenRefusedError) as caught:
        asyncio.run(provider.fetch(answering(answer)))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value.verdict


# the interface


def test_getarticlesummary_is_asked_for_day_by_day_since_december_2014() -> None:
    made = GETARTICLESUMMARY
    assert (made.name, made.path) == ("getarticlesummary", "/datacube/getarticlesummary")
    assert (made.first_day, made.span, made.settled_hour) == (date(2014, 12, 1), 1, 8)


def test_its_request_is_a_post_with_the_token_in_the_query() -> None:
    window = Window("wx1", "getarticlesummary", date(2020, 1, 1), date(2020, 1, 1))
    assert GETARTICLESUMMARY.request(window, "t0ken") == Request(
        "POST",
        "/datacube/getarticlesummary",
        (("access_token", "t0ken"),),
        b'{"begin_date":"2020-01-01","end_date":"2020-01-01"}',
    )


def test_the_answer_of_wechats_own_page_is_read() -> None:
    record = {
        "ref_date": "2014-12-08",
        "msgid": "10000050_1",
        "title": "12月27日 DiLi日报",
        "int_page_read_user": 23676,
        "int_page_read_count": 25615,
        "ori_page_read_user": 29,
        "ori_page_read_count": 34,
        "share_user": 122,
        "share_count": 994,
        "add_to_fav_user": 1,
        "add_to_fav_count": 3,
    }
    body = json.dumps({"list": [record]}, ensure_ascii=False).encode()
    assert GETARTICLESUMMARY.verdict(Response(200, body)) == Verdict(Action.DONE, records=[record])


def test_taken_offline_it_names_its_successors() -> None:
    body = b'{"errcode":47009,"errmsg":"this api is offline, please use the new api"}'
    verdict = GETARTICLESUMMARY.verdict(Response(200, body))
    assert verdict.action is Action.STOP_ENDPOINT
    assert verdict.message.endswith(
        "its successors are getarticleread, getarticleshare, getbizsummary, getarticletotaldetail"
    )


# error codes


@pytest.mark.parametrize(("code", "action"), DATA_CODES)
def test_a_code_of_a_data_request_reaches_this_far(code: int, action: Action) -> None:
    body = json.dumps({"errcode": code, "errmsg": "said"}).encode()
    verdict = GETARTICLESUMMARY.verdict(Response(200, body))
    assert (verdict.action, verdict.code) == (action, code)
    assert verdict.message.startswith(f"errcode {code} (said): ")


def test_no_code_of_a_data_request_is_left_out_above() -> None:
    assert {code: rule.action for code, rule in ERRORS.items()} == dict(DATA_CODES)


@pytest.mark.parametrize(("code", "action"), TOKEN_CODES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_code_of_a_token_request_reaches_this_far(
    provider: StableToken | ClassicToken, code: int, action: Action
) -> None:
    verdict = refused(provider, {"errcode": code, "errmsg": "said rid: 1-2"})
    assert (verdict.action, verdict.code, verdict.rid) == (action, code, "1-2")


def test_a_wrong_secret_renews_no_token() -> None:
    assert Action.RENEW_TOKEN not in {rule.action for rule in TOKEN_ERRORS.values()}


@pytest.mark.parametrize("table", [ERRORS, TOKEN_ERRORS])
def test_every_code_says_what_happened(table: dict[int, Any]) -> None:
    assert [code for code, rule in table.items() if not rule.advice] == []


# tokens


def test_stable_token_is_asked_by_post_and_never_forced() -> None:
    sent: list[Request] = []
    answer = {"access_token": "t0ken", "expires_in": 345}
    token = asyncio.run(StableToken("wx1", "s3cret").fetch(answering(answer, sent)))
    [request] = sent
    assert (token.value, token.lifetime) == ("t0ken", 345.0)
    assert request[:3] == ("POST", "/cgi-bin/stable_token", ())
    assert json.loads(request.body or b"") == {
        "grant_type": "client_credential",
        "appid": "wx1",
        "secret": "s3cret",
        "force_refresh": False,
    }


def test_the_classic_token_is_asked_by_get() -> None:
    sent: list[Request] = []
    answer = {"access_token": "t0ken", "expires_in": 7200}
    token = asyncio.run(ClassicToken("wx1", "s3cret").fetch(answering(answer, sent)))
    query = (("grant_type", "client_credential"), ("appid", "wx1"), ("secret", "s3cret"))
    assert (token.value, token.lifetime) == ("t0ken", 7200.0)
    assert sent == [Request("GET", "/cgi-bin/token", query, None)]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_token_without_a_lifetime_lives_two_hours(provider: StableToken | ClassicToken) -> None:
    token = asyncio.run(provider.fetch(answering({"access_token": "t0ken"})))
    assert token.lifetime == 7200.0


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("given", "lifetime"), [(7200, 7200.0), ("7200", 7200.0), (59.5, 59.5), ("59.5", 59.5)]
)
def test_a_lifetime_may_be_written_as_text(
    provider: StableToken | ClassicToken, given: object, lifetime: float
) -> None:
    token = asyncio.run(provider.fetch(answering({"access_token": "t0ken", "expires_in": given})))
    assert (token.value, token.lifetime) == ("t0ken", lifetime)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "given", [0, -1, "0", "-7200", "", "soon", "nan", "inf", "-inf", 10**400, "9" * 400, [], {}]
)
def test_a_token_with_an_absurd_lifetime_is_asked_for_again(
    provider: StableToken | ClassicToken, given: object
) -> None:
    assert refused(provider, {"access_token": "t0ken", "expires_in": given}) == Verdict(
        Action.RETRY, "the answer held no usable access token"
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_errcode_0_beside_a_token_is_no_error(provider: StableToken | ClassicToken) -> None:
    answer = {"errcode": 0, "errmsg": "ok", "access_token": "t0ken", "expires_in": 7200}
    assert asyncio.run(provider.fetch(answering(answer))).value == "t0ken"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 5},
        {"access_token": "t", "expires_in": None},
        Response(200, b""),
        Response(200, b"<html>"),
        Response(200, b"[]"),
        Response(502, b""),
    ],
)
def test_an_answer_without_a_token_is_asked_for_again(
    provider: StableToken | ClassicToken, answer: object
) -> None:
    verdict = refused(provider, answer)
    assert (verdict.action, verdict.answered) == (Action.RETRY, True)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_answer_to_a_token_request_is_told_as_such(
    provider: StableToken | ClassicToken,
) -> None:
    verdict = refused(provider, AttemptError("the answer was cut off"))
    assert verdict == Verdict(Action.RETRY, "the answer was cut off", answered=False)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [302, 400, 404])
def test_an_http_refusal_of_a_token_stops_the_account(
    provider: StableToken | ClassicToken, status: int
) -> None:
    assert refused(provider, Response(status, b"")).action is Action.STOP_ACCOUNT


@pytest.mark.parametrize("provider", PROVIDERS)
def test_told_to_slow_down_a_token_waits_too(provider: StableToken | ClassicToken) -> None:
    assert refused(provider, Response(429, b"")).action is Action.SLOW_DOWN


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_shows_no_secret(provider: StableToken | ClassicToken) -> None:
    assert repr(provider) == f"<{type(provider).__name__} of wx1>"


# from an account to its tokens


class Mine:
    async def fetch(self, send: Send) -> Token:
        return Token("t0ken")


def give() -> str:
    return "t0ken"


MINE = Mine()


@pytest.mark.parametrize(
    ("account", "kind"),
    [
        (Account("wx1", "s3cret"), StableToken),
        (Account("wx1", "s3cret", token="stable"), StableToken),
        (Account("wx1", "s3cret", token="classic"), ClassicToken),
        (Account("wx1", token=give), CallableProvider),
        (Account("wx1", token=MINE), Mine),
    ],
)
def test_an_account_gets_the_provider_that_it_names(account: Account, kind: type) -> None:
    assert type(provider_for(account)) is kind


def test_a_provider_of_ones_own_is_taken_as_it_is() -> None:
    assert provider_for(Account("wx1", token=MINE)) is MINE


def test_the_kinds_of_tokens_are_two() -> None:
    assert TOKEN_KINDS == ("stable", "classic")


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (Account("wx1"), r"^account wx1 has no secret$"),
        (Account("wx1", ""), r"^account wx1 has no secret$"),
        (Account("wx1", "s3cret", token="forced"), r"^token: 'forced' is not one of stable, cla"),
        (Account("", "s3cret"), r"^appid: '' is not one; it begins with wx$"),
        (Account("wx/../1", "s3cret"), r"^appid: 'wx/../1' is not one"),
        (Account("wx一", "s3cret"), r"^appid: 'wx一' is not one"),
        (Account("", token=give), r"^appid: '' is not one"),
    ],
)
def test_an_account_that_cannot_be_is_refused(account: Account, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        provider_for(account)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("source", [give, Mine().fetch])
def test_a_callable_is_asked_for_nothing_before_it_is_needed(source: Callable[..., Any]) -> None:
    assert repr(provider_for(Account("wx1", token=source))) == "<CallableProvider>"
