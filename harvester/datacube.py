"""WeChat as data: its interfaces, its error codes, its token interfaces.

Rule: tables, and the few lines that read them; enters by the same door as a plug-in would.

Sources.  getarticlesummary's own page: path, dates, fields, permission set 7, codes -1, 40001,
61500.  WeChat's general list of return codes, as client libraries carry it: the rest.  47009 stands
in no list; it is what the six old article interfaces have answered since 2026 ("this api is
offline, please use the new api"), as several clients report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from harvester.auth import (
    CallableProvider,
    Send,
    TokenProvider,
    TokenRefusedError,
    check_token_source,
)
from harvester.codec import encode
from harvester.endpoint import JsonEndpoint, Rule, code_of, read, refusal
from harvester.errors import AttemptError, UsageError
from harvester.model import Account, Action, Hidden, Request, Token, Verdict

_FETCH_AGAIN = "the access token is not valid (any more)"
_OUR_REQUEST = "WeChat did not understand the request"

ERRORS: Mapping[int, Rule] = {
    -1: Rule(Action.RETRY, "WeChat is busy"),
    40001: Rule(Action.RENEW_TOKEN, _FETCH_AGAIN),
    40014: Rule(Action.RENEW_TOKEN, _FETCH_AGAIN),
    41001: Rule(Action.RENEW_TOKEN, _FETCH_AGAIN),
    42001: Rule(Action.RENEW_TOKEN, _FETCH_AGAIN),
    42007: Rule(Action.RENEW_TOKEN, "the owner changed his password, the token is void"),
    45009: Rule(Action.QUOTA, "the daily quota of this interface is used up"),
    45011: Rule(Action.SLOW_DOWN, "too many requests in this minute"),
    61503: Rule(Action.NOT_READY, "the figures are not ready yet"),
    47009: Rule(Action.STOP_ENDPOINT, "WeChat has taken this interface offline"),
    50001: Rule(Action.STOP_ENDPOINT, "the account has not granted this interface"),
    61007: Rule(
        Action.STOP_ENDPOINT, "the account has not granted the platform this permission set"
    ),
    61502: Rule(Action.STOP_ENDPOINT, "this kind of mini-program has no such data"),
    40013: Rule(Action.STOP_ACCOUNT, "the appid is wrong; correct it"),
    40125: Rule(Action.STOP_ACCOUNT, "the secret is wrong; correct it"),
    40164: Rule(
        Action.STOP_ACCOUNT,
        "this machine's IP address is not on the account's white list; add it in the account's"
        " console, or run where it is",
    ),
    40243: Rule(Action.STOP_ACCOUNT, "the owner has frozen the secret; unfreeze it"),
    45035: Rule(
        Action.STOP_ACCOUNT, "this machine's IP address is not registered; add it in the console"
    ),
    48001: Rule(
        Action.STOP_ACCOUNT,
        "the account may not use this interface: only verified accounts may, and a platform needs"
        " permission set 7; have it verified, or granted",
    ),
    48004: Rule(Action.STOP_ACCOUNT, "the interface is banned for this account; ask WeChat"),
    50002: Rule(Action.STOP_ACCOUNT, "the account is limited or frozen; see its console"),
    61003: Rule(Action.STOP_ACCOUNT, "the account has not authorised the platform; let it do so"),
    61004: Rule(
        Action.STOP_ACCOUNT,
        "this machine's IP address is not on the platform's white list; add it in its console",
    ),
    61011: Rule(Action.STOP_ACCOUNT, "the platform is not valid; see its console"),
    61023: Rule(Action.STOP_ACCOUNT, "the refresh token is not valid; let it authorise again"),
    # What is wrong with one request says nothing about the next.
    61500: Rule(Action.FAIL_WINDOW, "WeChat refused the date, or the range"),
    61501: Rule(Action.FAIL_WINDOW, "WeChat refused the range of dates"),
    40035: Rule(Action.FAIL_WINDOW, _OUR_REQUEST),
    40097: Rule(Action.FAIL_WINDOW, _OUR_REQUEST),
    43002: Rule(Action.FAIL_WINDOW, _OUR_REQUEST),
    43003: Rule(Action.FAIL_WINDOW, "WeChat wants HTTPS; check the base URL"),
    44002: Rule(Action.FAIL_WINDOW, _OUR_REQUEST),
    47001: Rule(Action.FAIL_WINDOW, _OUR_REQUEST),
}
"""What an errcode on a data request asks of us; a code that is not here fails its window."""

LONGEST_TOKEN = 4096
"""Characters.  WeChat says that 512 are to be reserved for one; it goes into every URL."""

_CONSENT = "WeChat asks the account's administrator about this machine's IP address"

TOKEN_ERRORS: Mapping[int, Rule] = {
    **{code: rule for code, rule in ERRORS.items() if rule.action is Action.STOP_ACCOUNT},
    -1: ERRORS[-1],
    45009: Rule(Action.QUOTA, "the day's quota of token fetches is used up"),
    45011: ERRORS[45011],
    40001: Rule(
        Action.STOP_ACCOUNT, "the secret is wrong, or not the latest; correct it, or reset it"
    ),
    40002: Rule(Action.STOP_ACCOUNT, "the token interface refused the kind of grant"),
    41002: Rule(Action.STOP_ACCOUNT, "the appid is missing; give it"),
    41004: Rule(Action.STOP_ACCOUNT, "the secret is missing; give it"),
    89501: Rule(Action.STOP_ACCOUNT, f"{_CONSENT}; run again once he has agreed"),
    89502: Rule(Action.STOP_ACCOUNT, f"{_CONSENT}; run again once he has agreed"),
    89503: Rule(Action.STOP_ACCOUNT, f"{_CONSENT}; run again once he has agreed"),
    89504: Rule(Action.STOP_ACCOUNT, f"{_CONSENT}; run again once he has agreed"),
    89505: Rule(Action.STOP_ACCOUNT, f"{_CONSENT}; run again once he has agreed"),
    89506: Rule(Action.STOP_ACCOUNT, "the administrator refused this IP; try again in 24 hours"),
    89507: Rule(Action.STOP_ACCOUNT, "the administrator refused this IP; try again in an hour"),
}
"""What an errcode on a token request asks of us; a code that is not here stops the account."""

GETARTICLESUMMARY = JsonEndpoint(
    name="getarticlesummary",
    path="/datacube/getarticlesummary",
    first_day=date(2014, 12, 1),
    span=1,
    settled_hour=8,
    errors=ERRORS,
    successors=("getarticleread", "getarticleshare", "getbizsummary", "getarticletotaldetail"),
    title="reads and shares of each article on one day (retired by WeChat in 2026)",
)
"""One record an article that was read on the day: ``ref_date``, ``msgid`` (message id and place in
the message, as ``12003_3``), ``title``, and how many people (``_user``) and times (``_count``):
``int_page_read``, ``ori_page_read``, ``share``, ``add_to_fav``.  Articles with fewer than three
readers are left out, and fields may be missing."""


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
