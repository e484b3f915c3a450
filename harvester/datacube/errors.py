"""WeChat's error codes: what each asks of us, and the sentence an operator reads.

Rule: a table; the code that walks it is `harvester.answer` and `harvester.pipeline`.

Sources.  The pages of the interfaces name -1, 40001, 61500, 61501, 61503.  WeChat's general list of
return codes, as client libraries carry it: the rest.  47009 stands in no list; it is what the six
old article interfaces have answered since 2026 ("this api is offline, please use the new api"), as
several clients report.
"""

from __future__ import annotations

from collections.abc import Mapping

from harvester.answer import Rule
from harvester.model import Action

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
