"""Where access tokens come from: WeChat's own interfaces.

Rule: a provider fetches; who may fetch, and when, is decided in `harvester.auth`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from harvester.answer import code_of, read, refusal
from harvester.auth import (
    CallableProvider,
    Send,
    TokenProvider,
    TokenRefusedError,
    check_token_source,
)
from harvester.codec import encode
from harvester.datacube.errors import TOKEN_ERRORS
from harvester.errors import AttemptError, UsageError
from harvester.model import Account, Action, Hidden, Request, Token, Verdict

LONGEST_TOKEN = 4096
"""Characters.  WeChat says that 512 are to be reserved for one; it goes into every URL."""


class StableToken:
    """Tokens from ``/cgi-bin/stable_token``, never forced.

    It hands out the same token until five minutes before its end, to whoever asks, so several
    programs can use it side by side.  A forced refresh, of which there are 20 a day, would kill the
    token of all others, and is no help against 40001: the unforced call returns the valid one.
    """

    def __init__(self, appid: str, secret: str) -> None:
        self._appid = appid
        self._secret = secret

    def __repr__(self) -> str:
        return f"<StableToken of {self._appid}>"

    async def fetch(self, send: Send) -> Token:
        """A valid token; raises `TokenRefusedError`."""
        body = {
            "grant_type": "client_credential",
            "appid": self._appid,
            "secret": self._secret,
            "force_refresh": False,
        }
        request = Request("POST", "/cgi-bin/stable_token", body=encode(body))
        del body  # it holds the secret, and tracebacks can be shown with locals
        return _token_or_error(await _fetch(send, request, Hidden(self._secret)))


class ClassicToken:
    """Tokens from ``/cgi-bin/token``: each fetch ends everybody else's token five minutes later."""

    def __init__(self, appid: str, secret: str) -> None:
        self._appid = appid
        self._secret = secret

    def __repr__(self) -> str:
        return f"<ClassicToken of {self._appid}>"

    async def fetch(self, send: Send) -> Token:
        """A new token; raises `TokenRefusedError`."""
        query = (
            ("grant_type", "client_credential"),
            ("appid", self._appid),
            ("secret", self._secret),
        )
        request = Request("GET", "/cgi-bin/token", query)
        del query
        return _token_or_error(await _fetch(send, request, Hidden(self._secret)))


def _token_or_error(found: Token | Verdict) -> Token:
    """Raised here, where no frame holds the secret or the answer."""
    if isinstance(found, Verdict):
        raise TokenRefusedError(found)
    return found


async def _fetch(send: Send, request: Request, secret: Hidden) -> Token | Verdict:
    try:
        response = await send(request)
    except AttemptError as exc:
        return Verdict(Action.RETRY, str(exc), answered=exc.answered)
    return _token(_scrubbed(read(response), secret))


def _scrubbed(answer: dict[str, Any] | Verdict, secret: Hidden) -> dict[str, Any] | Verdict:
    """An answer whose errmsg does not carry the secret on, should it echo it."""
    if isinstance(answer, dict) and isinstance(text := answer.get("errmsg"), str):
        return {**answer, "errmsg": secret.cut_from(text)}
    return answer


def _token(answer: dict[str, Any] | Verdict) -> Token | Verdict:
    """The token in an answer of either token interface; any answer gives it or a verdict."""
    if isinstance(answer, Verdict):
        if answer.action in (Action.FAIL_WINDOW, Action.STOP_ENDPOINT):
            return answer._replace(action=Action.STOP_ACCOUNT)
        return answer
    code = code_of(answer)
    if code is None:
        return Verdict(Action.RETRY, "the answer's errcode is not a number")
    if code:
        verdict = refusal(answer, TOKEN_ERRORS)
        if verdict.action is Action.FAIL_WINDOW:
            return verdict._replace(action=Action.STOP_ACCOUNT)
        return verdict
    value = answer.get("access_token")
    try:
        lifetime = float(answer.get("expires_in", 7200))
    except (TypeError, ValueError, OverflowError):
        lifetime = 0.0
    usable = 0 < lifetime < math.inf
    if usable and isinstance(value, str) and 0 < len(value) <= LONGEST_TOKEN:
        return Token(value, lifetime)
    return Verdict(Action.RETRY, "the answer held no usable access token")


_APPID = re.compile(r"[0-9A-Za-z]{1,64}")
_KINDS: dict[str, Callable[[str, str], TokenProvider]] = {
    "stable": StableToken,
    "classic": ClassicToken,
}
TOKEN_KINDS = tuple(_KINDS)


def provider_for(account: Account) -> TokenProvider:
    """What an account's tokens come from; raises `UsageError` if it lacks a secret."""
    source = account.token
    check_token_source(source, TOKEN_KINDS)
    if not _APPID.fullmatch(account.appid):
        raise UsageError(f"appid: {account.appid[:80]!r} is not one; it begins with wx")
    if isinstance(source, str):
        if not account.secret:
            raise UsageError(f"account {account.appid} has no secret")
        return _KINDS[source](account.appid, account.secret)
    return source if isinstance(source, TokenProvider) else CallableProvider(source)
