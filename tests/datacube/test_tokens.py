"""WeChat's token interfaces, and which provider an account gets."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from harvester.auth import CallableProvider, Send, TokenRefusedError
from harvester.datacube import SECRET_KINDS, TOKEN_KINDS, StableToken, provider_for
from harvester.datacube.errors import TOKEN_ERRORS
from harvester.datacube.tokens import ClassicToken
from harvester.errors import AttemptError, UsageError
from harvester.model import Account, Action, Request, Response, Token, Verdict

PROVIDERS = [StableToken("wx1", "s3cret"), ClassicToken("wx1", "s3cret")]

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


# error codes


@pytest.mark.parametrize(("code", "action"), TOKEN_CODES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_code_of_a_token_request_reaches_this_far(
    provider: StableToken | ClassicToken, code: int, action: Action
) -> None:
    verdict = refused(provider, {"errcode": code, "errmsg": "said rid: 1-2"})
    assert (verdict.action, verdict.code, verdict.rid) == (action, code, "1-2")


def test_a_wrong_secret_renews_no_token() -> None:
    assert Action.RENEW_TOKEN not in {rule.action for rule in TOKEN_ERRORS.values()}


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
        {"access_token": "two words"},
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


def test_two_kinds_of_tokens_need_a_secret_and_others_come_from_elsewhere() -> None:
    assert SECRET_KINDS == ("stable", "classic")
    elsewhere = ("cloud", "cloudbase", "command:…", "https://…", "static:…")
    assert (*SECRET_KINDS, *elsewhere) == TOKEN_KINDS


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (Account("wx1"), r"^account wx1 has no secret$"),
        (Account("wx1", ""), r"^account wx1 has no secret$"),
        (Account("wx1", "s3cret", token="forced"), r"^token: 'forced' is not one of stable, cla"),
        (Account("", "s3cret"), r"^appid: '' is not one; it is letters and digits"),
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
