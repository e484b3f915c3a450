"""Access tokens from WeChat's own interfaces.

Rule: a provider fetches; `harvester.tokens.shared` decides which task may fetch, and when.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from harvester.base.codec import encode
from harvester.base.secrets import Secret
from harvester.errors import AttemptError, UsageError
from harvester.model import (
    Account,
    Action,
    Request,
    Send,
    Token,
    TokenProvider,
    TokenSource,
    Verdict,
)
from harvester.texts import say
from harvester.tokens.external import EXTERNAL_KINDS, external, token_of
from harvester.tokens.shared import (
    CallableProvider,
    TokenRefusedError,
    check_token_source,
    provides,
)
from harvester.wechat.codes import TOKEN_ERRORS
from harvester.wechat.response import Rule, code_of, read, refusal


class _SecretToken:
    def __init__(self, appid: str, secret: str | Secret) -> None:
        self._appid = appid
        self._secret = Secret(secret)
        self.secrets = (self._secret,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._appid}>"

    async def fetch(self, send: Send) -> Token:
        """A valid token; raises `TokenRefusedError`."""
        return token_or_error(token_in(await asked(send, self._request(), self._secret)))

    def _request(self) -> Request:
        raise NotImplementedError


class StableToken(_SecretToken):
    """Tokens from ``/cgi-bin/stable_token``, never forced.

    It returns the same token to every caller until five minutes before its expiry, so several
    programs can use it side by side.  A forced refresh, of which there are 20 a day, would end the
    token of all others, and does not help against 40001: the unforced call returns the valid one.
    """

    def _request(self) -> Request:
        body = {
            "grant_type": "client_credential",
            "appid": self._appid,
            "secret": self._secret.value,
            "force_refresh": False,
        }
        return Request("POST", "/cgi-bin/stable_token", body=encode(body))


class ClassicToken(_SecretToken):
    """Tokens from ``/cgi-bin/token``: each fetch ends the previous token five minutes later."""

    def _request(self) -> Request:
        query = (
            ("grant_type", "client_credential"),
            ("appid", self._appid),
            ("secret", self._secret.value),
        )
        return Request("GET", "/cgi-bin/token", query)


def token_or_error(found: Token | Verdict) -> Token:
    """Raised here, where no frame holds the secret or the answer."""
    if isinstance(found, Verdict):
        raise TokenRefusedError(found)
    return found


async def asked(send: Send, request: Request, *secrets: Secret) -> dict[str, Any] | Verdict:
    """The answer to a request, without secrets that its errmsg may echo; or the verdict."""
    try:
        response = await send(request)
    except AttemptError as exc:
        return Verdict(Action.RETRY, str(exc), answered=exc.answered)
    answer = read(response)
    if isinstance(answer, dict) and isinstance(text := answer.get("errmsg"), str):
        for secret in secrets:
            text = secret.cut_from(text)
        return {**answer, "errmsg": text}
    return answer


def token_in(
    answer: dict[str, Any] | Verdict,
    field: str = "access_token",
    errors: Mapping[int, Rule] = TOKEN_ERRORS,
) -> Token | Verdict:
    """The token in an answer of a token interface, or a verdict."""
    if isinstance(answer, Verdict):
        if answer.action in (Action.FAIL_WINDOW, Action.STOP_ENDPOINT):
            return answer._replace(action=Action.STOP_ACCOUNT)
        return answer
    code = code_of(answer)
    if code is None:
        return Verdict(Action.RETRY, say("the answer's errcode is not a number"))
    if code:
        verdict = refusal(answer, errors)
        if verdict.action is Action.FAIL_WINDOW:
            return verdict._replace(action=Action.STOP_ACCOUNT)
        return verdict
    token = token_of(answer, field)
    return token or Verdict(Action.RETRY, say("the answer held no usable access token"))


_APPID = re.compile(r"[0-9A-Za-z]{1,64}")
_USUAL = re.compile(r"wx[0-9a-f]{16}", re.IGNORECASE)
_ORIGINAL_ID = re.compile(r"gh_[0-9A-Za-z]{1,61}")
_KINDS: dict[str, Callable[[str, Secret], TokenProvider]] = {
    "stable": StableToken,
    "classic": ClassicToken,
}
SECRET_KINDS = tuple(_KINDS)
"""A provider that needs the account's secret."""
TOKEN_KINDS = (*SECRET_KINDS, *EXTERNAL_KINDS)


def check_appid(appid: str) -> str:
    """An appid, or `UsageError`."""
    if isinstance(appid, str) and _ORIGINAL_ID.fullmatch(appid):
        raise UsageError(
            "appid: {} is the original id of an account (gh_…); give its AppID instead: wx and"
            " sixteen letters and digits; both ids are in the account's settings at"
            " mp.weixin.qq.com",
            appid,
        )
    if not isinstance(appid, str) or not _APPID.fullmatch(appid):
        raise UsageError(
            "appid: {!r} is not an AppID; an AppID has letters and digits, e.g. wx0123456789abcdef",
            str(appid)[:80],
        )
    return appid


def is_usual(appid: str) -> bool:
    """Whether an appid is of the shape that all known ones have, though no page promises it."""
    return _USUAL.fullmatch(appid) is not None


def provider_for(account: Account, folder: Path | None = None) -> TokenProvider:
    """The provider of an account's tokens; raises `UsageError`, also if the secret is missing.

    folder: what a relative path in ``account.token`` starts from.
    """
    kind = Secret(account.token) if isinstance(account.token, str) else None
    found = external(kind, folder or Path()) if kind is not None else None
    if found is None:
        check_token_source(account.token, TOKEN_KINDS)
    check_appid(account.appid)
    if found is not None:
        return found
    if kind is not None:
        secret = Secret(account.secret or "")
        if not secret.value:
            raise UsageError("account {} has no secret", account.appid)
        if not secret.is_text:
            raise UsageError("account {}: its secret is not UTF-8 text", account.appid)
        return _KINDS[kind.value](account.appid, secret)
    if provides(account.token):
        return account.token
    return CallableProvider(cast("TokenSource", account.token))
