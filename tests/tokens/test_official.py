"""WeChat's token interfaces, and which provider an account gets."""

import asyncio
import json
from typing import Any

import pytest

import harvester
from harvester.errors import AttemptError, UsageError
from harvester.model import Account, Action, Request, Response, Send, Token, Verdict
from harvester.tokens.official import ClassicToken, StableToken, provider_for
from harvester.tokens.shared import CallableProvider, TokenRefusedError
from tests.builders import answering
from tests.support import A

Provider = StableToken | ClassicToken
STABLE, CLASSIC = StableToken("wx1", "s3cret"), ClassicToken("wx1", "s3cret")
BOTH = pytest.mark.parametrize("provider", [STABLE, CLASSIC])

STOPPING = (40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 45035, 48004, 50002)
TOKEN_CODES = [
    (-1, Action.RETRY),
    (45009, Action.QUOTA),
    (45011, Action.SLOW_DOWN),
    *[(code, Action.STOP_ACCOUNT) for code in (*STOPPING, *range(89501, 89508), 12345, 61500)],
]


def refused(provider: Provider, answer: object) -> Verdict:
    with pytest.raises(TokenRefusedError) as caught:
        asyncio.run(provider.fetch(answering(answer)))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value.verdict


# error codes


@pytest.mark.parametrize(("code", "action"), TOKEN_CODES)
@BOTH
def test_a_code_of_a_token_request_reaches_this_far(
    provider: Provider, code: int, action: Action
) -> None:
    verdict = refused(provider, {"errcode": code, "errmsg": "said rid: 1-2"})
    assert (verdict.action, verdict.code, verdict.rid) == (action, code, "1-2")


# tokens

CREDENTIALS = {"grant_type": "client_credential", "appid": "wx1", "secret": "s3cret"}


@pytest.mark.parametrize(
    ("provider", "asked"),
    [
        (STABLE, ("POST", "/cgi-bin/stable_token", (), {**CREDENTIALS, "force_refresh": False})),
        (CLASSIC, ("GET", "/cgi-bin/token", tuple(CREDENTIALS.items()), None)),
    ],
)
async def test_a_token_is_asked_for_unforced(provider: Provider, asked: tuple[Any, ...]) -> None:
    sent: list[Request] = []
    answer = {"access_token": "t0ken", "expires_in": 345}
    token = await provider.fetch(answering(answer, sent))
    [request] = sent
    assert (token.value, token.lifetime) == ("t0ken", 345.0)
    assert (*request[:3], request.body and json.loads(request.body)) == asked
    assert not request.headers


@BOTH
@pytest.mark.parametrize(
    ("more", "lifetime"),
    [
        ({}, 7200.0),
        ({"expires_in": "7200"}, 7200.0),
        ({"expires_in": 59.5}, 59.5),
        ({"expires_in": "59.5"}, 59.5),
        ({"expires_in": 7200, "errcode": 0, "errmsg": "ok"}, 7200.0),
    ],
)
async def test_a_lifetime_may_be_left_out_or_written_as_text(
    provider: Provider, more: dict[str, object], lifetime: float
) -> None:
    token = await provider.fetch(answering({"access_token": "t0ken", **more}))
    assert (token.value, token.lifetime) == ("t0ken", lifetime)


@BOTH
@pytest.mark.parametrize(
    "given", [0, -1, "0", "-7200", "", "soon", "nan", "inf", "-inf", 10**400, "9" * 400, [], {}]
)
def test_a_token_of_an_absurd_lifetime_is_asked_for_again(
    provider: Provider, given: object
) -> None:
    assert refused(provider, {"access_token": "t0ken", "expires_in": given}) == Verdict(
        Action.RETRY, "the answer held no usable access token"
    )


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        {}, {"access_token": "t", "expires_in": None},
        *[{"access_token": token} for token in ("", None, 5, "two words")],
        *[Response(200, body) for body in (b"", b"<html>", b"[]")], Response(502, b""),
    ],
)  # fmt: skip
def test_an_answer_without_a_token_is_asked_for_again(provider: Provider, answer: object) -> None:
    verdict = refused(provider, answer)
    assert (verdict.action, verdict.answered) == (Action.RETRY, True)


@BOTH
def test_no_answer_to_a_token_request_is_told_as_such(provider: Provider) -> None:
    verdict = refused(provider, AttemptError("the answer was cut off"))
    assert verdict == Verdict(Action.RETRY, "the answer was cut off", answered=False)


@BOTH
@pytest.mark.parametrize(
    ("status", "action"),
    [*[(status, Action.STOP_ACCOUNT) for status in (302, 400, 404)], (429, Action.SLOW_DOWN)],
)
def test_an_http_refusal_of_a_token_stops_or_slows_the_account(
    provider: Provider, status: int, action: Action
) -> None:
    assert refused(provider, Response(status, b"")).action is action


@BOTH
def test_a_provider_shows_no_secret(provider: Provider) -> None:
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


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (Account("wx1"), r"^account wx1 has no secret$"),
        (Account("wx1", ""), r"^account wx1 has no secret$"),
        (Account("wx1", "s3cret", token="forced"), r"^token: 'forced' is not one of stable, cla"),
        (
            Account("", "s3cret"),
            r"^appid: '' is not an AppID; an AppID has letters and digits",
        ),
        (Account("wx/../1", "s3cret"), r"^appid: 'wx/../1' is not an AppID"),
        (Account("wx一", "s3cret"), r"^appid: 'wx一' is not an AppID"),
        (Account("", token=give), r"^appid: '' is not an AppID"),
    ],
)
def test_an_account_that_cannot_be_is_refused(account: Account, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        provider_for(account)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["stable", "classic"])
def test_a_secret_that_no_request_can_hold_is_refused_without_being_shown(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        provider_for(Account(A, "s3cret\udc80", kind))
    assert str(caught.value) == f"account {A}: its secret is not UTF-8 text"


@pytest.mark.parametrize("appid", ["", "../x", "wx 1", "wx1\n", "wx" + "0" * 63, "早", "wx-1"])
def test_an_appid_that_is_none_is_refused(appid: str) -> None:
    with pytest.raises(harvester.UsageError, match="appid") as caught:
        provider_for(harvester.Account(appid, secret="s"))
    assert len(str(caught.value)) < 150
