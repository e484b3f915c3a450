"""WeChat's error codes: what to do after each, and the sentence for the operator.

Sources.  The pages of the interfaces name -1, 40001, 61500, 61501, 61503; the rest is in WeChat's
general list of return codes, as client libraries carry it.  47009 is in no list; several clients
report it from the six old article interfaces since 2026 ("this api is offline, please use the new
api").

Where the sources contradict each other:

- 61500 and 61501: the general list and most pages call the first a wrong format of dates and the
  second a wrong range; getarticlesummary's own page calls 61500 the range and has no 61501.  So the
  text decides whether a window is split (`harvester.wechat.endpoint.too_long`).
- 61004: most lists call it an IP address that is not on the platform's allow list, by its text
  ("access clientip is not registered"); one calls it an interface that was not granted.  The text
  is trusted.
- 48001: an unverified or personal account, a permission that is not held, or the wrong kind of
  token.  The first concerns every interface, the second one: so it stops the interface, and the
  account once all of its interfaces answer it.
- 40125: a wrong secret; one list repeats the text of a wrong appid.
- 40001: on a data request the token, on a token request the secret.
- 45029: one list relates it to QR codes, another one says that an interface was called too often.
- 76002, 76004: of the interface that looks up request ids; no page explains the second one.
- 50002: an account that is limited; on platforms it is sometimes temporary (a report of 2020).  So
  a data request, or a platform's request for a token, is tried again before the account stops.
- 45102: an interface that is blocked for a time that is not documented: as 45011 first, and if
  that does not help the interface waits for the next day.
- 61014, 61015, 45063: the wrong kind of token, which concerns one interface or all of them, as
  48001 does.  41003: a token is missing; one list: the refresh token.
- 46101, 48009: interfaces that were retired; no list names their successors.

61552 to 61559 and -10094011 are on the page of getgameanalysisdata.  All but 61554 and the last one
concern fields of the request other than the dates, which are the same in each request.
"""

from __future__ import annotations

from collections.abc import Mapping

from harvester.model import Action
from harvester.wechat.response import Rule

RETRY = Action.RETRY
RENEW_TOKEN = Action.RENEW_TOKEN
SLOW_DOWN = Action.SLOW_DOWN
QUOTA = Action.QUOTA
NOT_READY = Action.NOT_READY
FAIL_WINDOW = Action.FAIL_WINDOW
NO_PERMISSION = Action.NO_PERMISSION
STOP_ENDPOINT = Action.STOP_ENDPOINT
STOP_ACCOUNT = Action.STOP_ACCOUNT

BLOCKED = 45102
"""The code of an interface that is blocked for a time, regardless of its quota."""

_NOT_HERE = "a code of another kind of interface; a statistics interface should not return it"
_ADMIN = "ask the account's administrator to"
_PLATFORM = "correct it in the platform's console"

_DATA: Mapping[int, Rule] = {
    # the attempt
    -1: Rule(RETRY, "WeChat is busy"),
    **dict.fromkeys(
        (40001, 40014, 41001, 41003, 42001, 48012),
        Rule(RENEW_TOKEN, "the access token is not valid, or no longer valid"),
    ),
    42007: Rule(RENEW_TOKEN, "the owner changed the password, so the token is invalid"),
    42006: Rule(RENEW_TOKEN, "the platform's token has expired"),
    41021: Rule(RENEW_TOKEN, "the platform's token is missing"),
    45011: Rule(SLOW_DOWN, "too many requests in this minute"),
    BLOCKED: Rule(SLOW_DOWN, "WeChat has temporarily blocked this interface", QUOTA),
    -10094011: Rule(SLOW_DOWN, "too many requests to this interface"),
    # the window; what is wrong with one request means nothing for the next
    61503: Rule(NOT_READY, "the figures are not ready yet"),
    61500: Rule(FAIL_WINDOW, "WeChat refused the date, or the range"),
    61501: Rule(FAIL_WINDOW, "WeChat refused the range of dates"),
    61554: Rule(FAIL_WINDOW, "WeChat refused the range of time"),
    **dict.fromkeys(
        (40035, 40097, 44002, 47001), Rule(FAIL_WINDOW, "WeChat did not understand the request")
    ),
    43001: Rule(FAIL_WINDOW, "WeChat requires GET for this interface"),
    43002: Rule(FAIL_WINDOW, "WeChat requires POST for this interface"),
    43003: Rule(FAIL_WINDOW, "WeChat requires HTTPS; check the base URL"),
    45029: Rule(FAIL_WINDOW, f"a limit was reached: {_NOT_HERE}"),
    48006: Rule(
        FAIL_WINDOW, "the quota can be reset ten times a month, and all ten resets are used up"
    ),
    50005: Rule(FAIL_WINDOW, f"the user does not follow the account: {_NOT_HERE}"),
    76001: Rule(
        FAIL_WINDOW, "WeChat does not know this request id, or the id is older than seven days"
    ),
    76002: Rule(FAIL_WINDOW, "the request id to be looked up is not valid"),
    76004: Rule(FAIL_WINDOW, f"about the look-up of request ids: {_NOT_HERE}"),
    76003: Rule(FAIL_WINDOW, "the interface's path is not a valid path; correct it"),
    76021: Rule(FAIL_WINDOW, "WeChat does not know the interface's path; correct it"),
    76022: Rule(FAIL_WINDOW, "the account's token is not allowed for the interface's path"),
    # the interface
    45009: Rule(QUOTA, "the daily quota of this interface is used up"),
    47009: Rule(STOP_ENDPOINT, "WeChat has taken this interface offline"),
    **dict.fromkeys(
        (46101, 48009),
        Rule(STOP_ENDPOINT, "WeChat has retired this interface; use its successor"),
    ),
    48001: Rule(
        NO_PERMISSION,
        "the account is not allowed to use this interface: only verified accounts are, and a"
        " platform needs the permission set of the interface; verify the account, or let it grant"
        " the permission set",
    ),
    45063: Rule(
        NO_PERMISSION,
        "the token does not belong to a mini-program; only mini-programs are allowed to use this"
        " interface",
    ),
    61014: Rule(
        NO_PERMISSION,
        "this interface accepts only the platform's own token; an account cannot use it",
    ),
    61015: Rule(
        NO_PERMISSION, "this is the platform's own token; give the token of the account instead"
    ),
    43104: Rule(
        NO_PERMISSION, "the account has no permission for this interface; see the account's console"
    ),
    40066: Rule(STOP_ENDPOINT, "WeChat does not know this address; check the interface's path"),
    42005: Rule(STOP_ENDPOINT, "the account's permission for this interface has expired; renew it"),
    **dict.fromkeys(
        (43007, 50001),
        Rule(STOP_ENDPOINT, f"the account has not granted this interface; {_ADMIN} grant it"),
    ),
    45040: Rule(
        STOP_ENDPOINT, "this month's quota of this interface is used up; run again next month"
    ),
    61007: Rule(
        STOP_ENDPOINT,
        "the account has not granted the platform the permission set of this interface;"
        f" {_ADMIN} authorise again",
    ),
    61016: Rule(
        STOP_ENDPOINT,
        f"the account has not confirmed the permission set of this interface; {_ADMIN} confirm it",
    ),
    61502: Rule(STOP_ENDPOINT, "this kind of mini-program (a game) has no such data"),
    61552: Rule(STOP_ENDPOINT, "WeChat does not know the metric; correct the request's body"),
    61553: Rule(STOP_ENDPOINT, "WeChat does not know the granularity; correct the request's body"),
    61555: Rule(
        STOP_ENDPOINT, "WeChat does not know one of the dimensions; correct the request's body"
    ),
    61556: Rule(STOP_ENDPOINT, "a dimension was requested twice; correct the request's body"),
    61557: Rule(STOP_ENDPOINT, "the metric has no such granularity; correct the request's body"),
    61558: Rule(STOP_ENDPOINT, "WeChat has withdrawn the metric; use another one"),
    61559: Rule(STOP_ENDPOINT, "the metric cannot be grouped; correct the request's body"),
    # the account
    40090: Rule(
        STOP_ACCOUNT, "WeChat refuses this machine's IP address; see the account's console"
    ),
    45032: Rule(
        STOP_ACCOUNT,
        "this machine's IP address is not on the allow list of a special account; ask WeChat",
    ),
    45035: Rule(
        STOP_ACCOUNT, "this machine's IP address is not registered; add it in the account's console"
    ),
    48004: Rule(STOP_ACCOUNT, "the interface is banned for this account; ask WeChat"),
    50002: Rule(RETRY, "the account is limited or frozen; see the account's console", STOP_ACCOUNT),
    50004: Rule(STOP_ACCOUNT, "WeChat has penalised the account; see the account's console"),
    61024: Rule(
        STOP_ACCOUNT,
        "WeChat gives the token of this account only to its platform; configure the account as one"
        " of that platform",
    ),
    **{code: Rule(FAIL_WINDOW, f"about beacons: {_NOT_HERE}") for code in range(9001001, 9001037)},
}

_TOKEN: Mapping[int, Rule] = {
    40002: Rule(FAIL_WINDOW, "the token interface refused the grant type"),
    40013: Rule(
        STOP_ACCOUNT,
        "the appid is wrong; correct it, and remove the wrong one from the ledger with `harvester"
        " forget --appid ID`",
    ),
    40125: Rule(STOP_ACCOUNT, "the secret is wrong; correct it"),
    40164: Rule(
        STOP_ACCOUNT,
        "this machine's IP address is not on the account's allow list; add it in the account's"
        " console, or run on a machine whose address is on the list",
    ),
    40243: Rule(STOP_ACCOUNT, "the owner has frozen the secret; unfreeze it, then wait 10 minutes"),
    41002: Rule(STOP_ACCOUNT, "the appid is missing; give it"),
    41004: Rule(STOP_ACCOUNT, "the secret is missing; give it"),
    50007: Rule(STOP_ACCOUNT, "the account is frozen; see the account's console"),
    **dict.fromkeys(
        (89501, 89502, 89504, 89505),
        Rule(
            STOP_ACCOUNT,
            "WeChat waits for the account's administrator to allow this machine's IP address; run"
            " again once it is allowed",
        ),
    ),
    89503: Rule(
        STOP_ACCOUNT,
        "WeChat has asked the account's administrator to allow this machine's IP address; run"
        " again once it is allowed",
    ),
    89506: Rule(
        STOP_ACCOUNT, "the administrator refused this machine's IP address; run again in 24 hours"
    ),
    89507: Rule(
        STOP_ACCOUNT, "the administrator refused this machine's IP address; run again in an hour"
    ),
}

_COMPONENT: Mapping[int, Rule] = {
    40030: Rule(STOP_ACCOUNT, f"the refresh token is not valid; {_ADMIN} authorise again"),
    41018: Rule(STOP_ACCOUNT, "the platform's appid is missing; give it"),
    42002: Rule(STOP_ACCOUNT, f"the refresh token has expired; {_ADMIN} authorise again"),
    40091: Rule(STOP_ACCOUNT, f"the platform's ticket is not valid; {_PLATFORM}"),
    40094: Rule(STOP_ACCOUNT, f"the platform's credential is not valid; {_PLATFORM}"),
    61003: Rule(
        STOP_ACCOUNT, f"the account has not authorised the platform; {_ADMIN} authorise it"
    ),
    61004: Rule(
        STOP_ACCOUNT,
        "this machine's IP address is not on the platform's allow list; add it in the platform's"
        " console",
    ),
    61005: Rule(
        NOT_READY,
        "the platform's ticket has expired; WeChat pushes the next one within 10 minutes",
    ),
    61006: Rule(
        NOT_READY,
        "the platform's ticket is not valid; WeChat pushes the next one within 10 minutes; if that"
        " one is refused too, see the platform's console",
    ),
    61009: Rule(STOP_ACCOUNT, f"the authorisation code is not valid; {_ADMIN} authorise again"),
    61010: Rule(STOP_ACCOUNT, f"the authorisation code has expired; {_ADMIN} authorise again"),
    61011: Rule(STOP_ACCOUNT, f"the platform is not valid; {_PLATFORM}"),
    61023: Rule(
        STOP_ACCOUNT,
        "the refresh token is not valid; read it again from the list of authorised accounts, or"
        f" {_ADMIN} authorise again",
    ),
}

ERRORS: Mapping[int, Rule] = {**_TOKEN, **_COMPONENT, **_DATA}
"""What to do after an errcode on a data request; a code that is not here fails its window."""

TOKEN_ERRORS: Mapping[int, Rule] = {
    **{code: rule for code, rule in ERRORS.items() if rule.action is STOP_ACCOUNT},
    **_TOKEN,
    -1: ERRORS[-1],
    45009: Rule(QUOTA, "the day's quota of token fetches is used up"),
    45011: ERRORS[45011],
    50002: Rule(STOP_ACCOUNT, ERRORS[50002].advice),
    40001: Rule(STOP_ACCOUNT, "the secret is wrong, or not the latest; correct it, or reset it"),
    40002: Rule(STOP_ACCOUNT, _TOKEN[40002].advice),
    48001: Rule(
        STOP_ACCOUNT,
        "the account may not fetch tokens from this interface; see the account's console",
    ),
}
"""What to do after an errcode on a token request; a code that is not here stops the account."""

COMPONENT_ERRORS: Mapping[int, Rule] = {
    **TOKEN_ERRORS,
    **_COMPONENT,
    50002: ERRORS[50002],
    40001: Rule(STOP_ACCOUNT, "the platform's secret is wrong, or not the latest; correct it"),
    40013: Rule(STOP_ACCOUNT, "the platform's appid is wrong; correct it"),
    40125: Rule(STOP_ACCOUNT, "the platform's secret is wrong; correct it"),
}
"""The same for a third-party platform's request for its own token, with a ticket."""

_SPENT = "the platform's token is not valid, or no longer valid"
_REFUSED = (40001, 40014, 41001, 41021, 42001, 42006, 48012)
_REFRESH = (
    "the account's refresh token is not valid; read it again from the list of authorised accounts,"
    f" or {_ADMIN} authorise the platform again"
)

AUTHORIZER_ERRORS: Mapping[int, Rule] = {
    **COMPONENT_ERRORS,
    **{code: Rule(RENEW_TOKEN, _SPENT) for code in _REFUSED},
    40030: Rule(STOP_ACCOUNT, _REFRESH),
    42002: Rule(STOP_ACCOUNT, _REFRESH),
    42007: Rule(
        STOP_ACCOUNT, f"the owner changed the password; {_ADMIN} authorise the platform again"
    ),
    61005: Rule(STOP_ACCOUNT, f"the platform's ticket has expired; {_PLATFORM}"),
    61006: Rule(STOP_ACCOUNT, f"the platform's ticket is not valid; {_PLATFORM}"),
    61007: Rule(STOP_ACCOUNT, ERRORS[61007].advice),
    61023: Rule(STOP_ACCOUNT, _REFRESH),
}
"""The same for a platform's request for an account's token; a refusal here concerns the platform's
own token."""

_OF_KIND: Mapping[str, tuple[int, ...]] = {
    "secret": (40001, 40002, 40125, 40243, 41004),
    "appid": (40013, 41002),
    "ip": (40164, 40090, 45032, 45035, 61004, *range(89501, 89508)),
    "permission": (43104, 45063, 48001, 42005, 43007, 50001, 61007, 61014, 61015, 61016),
    "authorisation": (
        40030, 40091, 40094, 41018, 42002, 42007, 61003, 61005, 61006, 61009, 61010, 61011, 61023,
        61024,
    ),
    "frozen": (48004, 50002, 50004, 50007),
    "retired": (46101, 47009, 48009),
    "month": (45040,),
    "late": (61503,),
}  # fmt: skip
KIND_OF: Mapping[int | None, str] = {
    code: kind for kind, codes in _OF_KIND.items() for code in codes
}
"""The kind of cause (`harvester.report.causes.KINDS`) of a request that failed with an errcode; a
code that is not here has none of its own.  40001 is that of a token request."""
