"""Parses the bytes of an answer into an object, an errcode, or a refusal.

Rule: pure; any bytes result in a value or a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from harvester.base.codec import MalformedError, parse_answer
from harvester.model import Action, Response, Verdict
from harvester.texts import say

_BEYOND_CODES = 10**18
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_RID = re.compile(r"rid:\s*([0-9A-Za-z-]+)|hint:\s*\[([^\]]*)\]")
_LONGEST_TEXT, _LONGEST_RID = 500, 100
"""The most characters of an errmsg and of a request id that are kept."""

MAX_VALUES = 500_000
"""The most values of an answer; a real one has some thousand.  A value takes up to 300 bytes of
memory however short it is in JSON, so an answer of 8 MiB could take a gigabyte otherwise."""
_SMALL = 64 * 1024
PROXY_LOGIN = say(
    "the proxy requires a login; write user and password before the host in the URL of the proxy"
)
_ON_THE_WAY = say(
    "WeChat reports errors with HTTP 200, so another server sent this answer; check the base URL"
    " and the proxy"
)
_HTTP_ADVICE: Mapping[int, str] = {
    403: say(
        "an intermediate server, for example a firewall, forbids the request; ask its operator to"
        " allow WeChat's host, or check the base URL"
    ),
    404: say("the server has no such path; check the base URL"),
    407: PROXY_LOGIN,
}


class Rule(NamedTuple):
    """What to do after an errcode; then: what to do once no attempt is left."""

    action: Action
    advice: str
    then: Action | None = None


class Quota(NamedTuple):
    """What quota/get answers of one path: calls of a day, those left today, and a rate or 0.

    The rate is not trusted: real limits of a minute are lower, and it was answered while 45009 was.
    """

    daily: int
    left: int
    calls: int = 0
    seconds: int = 0


def quota_in(answer: Mapping[str, Any]) -> Quota | None:
    """The quota in an answer of quota/get, None if it holds none.

    The shape, from WeChat's page: ``{"quota": {"daily_limit", "used", "remain"}, "rate_limit":
    {"call_count", "refresh_second"}, "component_rate_limit": {…}}``.
    """
    daily, left = _numbers(answer.get("quota"), "daily_limit", "remain")
    calls, seconds = _numbers(answer.get("rate_limit"), "call_count", "refresh_second")
    if daily is None or left is None:
        return None
    return Quota(daily, left, calls, seconds) if calls and seconds else Quota(daily, left)


def _numbers(given: object, *names: str) -> list[int | None]:
    found = [given.get(name) if isinstance(given, dict) else None for name in names]
    return [each if type(each) is int else None for each in found]


def read(response: Response) -> dict[str, Any] | Verdict:
    """The JSON object of a response, or the verdict; WeChat also sends JSON as text/plain."""
    status, body = response
    if status != 200:
        return _http_verdict(status)
    if not body.strip():
        return Verdict(Action.RETRY, say("the answer was empty"))
    if len(body) > _SMALL and _most_values(body) > MAX_VALUES:
        return Verdict(Action.RETRY, say("the answer held more than {:,} values", MAX_VALUES))
    try:
        answer = parse_answer(body)
    except MalformedError:
        kind = "HTML" if body.lstrip()[:1] == b"<" else say("not JSON, or cut off")
        return Verdict(Action.RETRY, say("the answer was {}", kind))
    if not isinstance(answer, dict):
        return Verdict(Action.RETRY, say("the answer was JSON, but not an object"))
    return answer


def _most_values(body: bytes) -> int:
    """The most values a body can hold: each follows a bracket, a brace or a comma."""
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def _http_verdict(status: int) -> Verdict:
    if status >= 500 or status in (408, 425):
        return Verdict(Action.RETRY, f"HTTP {status}")
    if status == 429:
        return Verdict(Action.SLOW_DOWN, "HTTP 429")
    if 300 <= status < 400:
        return Verdict(
            Action.STOP_ENDPOINT,
            say(
                "HTTP {}: redirects are not followed, because they would send the token to another"
                " address; check the base URL",
                status,
            ),
        )
    advice = _HTTP_ADVICE.get(status, _ON_THE_WAY)
    action = Action.STOP_ENDPOINT if status == 404 else Action.FAIL_WINDOW
    return Verdict(action, say("HTTP {}: {}", status, advice))


def code_of(answer: Mapping[str, Any]) -> int | None:
    """The errcode of an answer, 0 if it has none, None if it is no whole number.

    A string of digits counts as a number: some client libraries convert it.
    """
    code = answer.get("errcode")
    if code is None:
        return 0
    if isinstance(code, str) and _INTEGER.fullmatch(code):
        return int(code)
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    return code if type(code) is int and abs(code) < _BEYOND_CODES else None


def refusal(answer: Mapping[str, Any], rules: Mapping[int, Rule]) -> Verdict:
    """The verdict on an answer that has an errcode."""
    code = code_of(answer) or 0
    given = answer.get("errmsg")
    text = _line(given) if isinstance(given, str) else ""
    found = _RID.search(text)
    rid = next(filter(None, found.groups()), "")[:_LONGEST_RID] if found else ""
    rule = rules.get(code, Rule(Action.FAIL_WINDOW, ""))
    errmsg = _RID.sub("", text)[:_LONGEST_TEXT].strip(" ,;") or say("no errmsg")
    message = say("errcode {} ({})", code, errmsg)
    if rule.advice:
        message = say("{}: {}", message, say(rule.advice))
    return Verdict(rule.action, message, code, rid, then=rule.then)


def _line(text: str) -> str:
    if not text.isprintable():
        text = "".join([char if char.isprintable() else " " for char in text])
    return text.strip()
