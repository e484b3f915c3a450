"""What an interface is to the engine, and the usual JSON shape of one.

Rule: pure; from a window to a request, from a response to a verdict.  Which interfaces exist,
and what their error codes mean, is data of a higher room.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, Protocol

from harvester.codec import MalformedError, parse
from harvester.errors import UsageError
from harvester.model import Action, Request, Response, Verdict, Window

_OBJECTS = {dict}
_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_-]{0,99}")
_DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)  # to Windows
_BEYOND_CODES = 10**18
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_RID = re.compile(r"rid:\s*([0-9A-Za-z-]+)|hint:\s*\[([^\]]*)\]")
_LONGEST_TEXT, _LONGEST_RID = 500, 100
"""Characters of an errmsg and of a request id that are carried on."""


def check_name(name: object) -> str:
    """An interface's name, if it can name a folder and a table anywhere; else `UsageError`."""
    if isinstance(name, str) and _NAME.fullmatch(name) and not _DEVICE.fullmatch(name):
        return name
    shown = f"{name!r}"[:80]
    raise UsageError(
        f"interface: {shown} cannot be the name of its folder or table; take up to 100 letters,"
        " digits, _ and -, a letter first"
    )


class Endpoint(Protocol):
    """One interface.

    name: as users type it, and the name of its folder or table.
    first_day: the first day that has data.
    span: how many days one request may ask for, at the most.
    settled_hour: the hour in China from which yesterday can be asked for.
    """

    @property
    def name(self) -> str: ...
    @property
    def first_day(self) -> date: ...
    @property
    def span(self) -> int: ...
    @property
    def settled_hour(self) -> int: ...

    def request(self, window: Window, token: str) -> Request:
        """The request for a window."""
        ...

    def verdict(self, response: Response) -> Verdict:
        """What a response means, its records if it is DONE.  Any bytes give a verdict."""
        ...


class Rule(NamedTuple):
    """What one errcode asks of us, and the sentence an operator reads."""

    action: Action
    advice: str


@dataclass(frozen=True)
class JsonEndpoint:
    """An interface that takes ``begin_date`` and ``end_date`` as JSON and answers a ``list``.

    path: below the base URL.
    errors: errcode to rule; a code that is not there fails its window.
    successors: the interfaces that WeChat names in place of this one, if it is retired.
    """

    name: str
    path: str
    first_day: date
    span: int = 1
    settled_hour: int = 8
    errors: Mapping[int, Rule] = field(default_factory=dict, repr=False)
    successors: tuple[str, ...] = ()
    title: str = ""

    def request(self, window: Window, token: str) -> Request:
        """A POST with the window's two days as its body and the token in the query."""
        begin, end = window.begin.isoformat(), window.end.isoformat()
        body = f'{{"begin_date":"{begin}","end_date":"{end}"}}'
        return Request("POST", self.path, (("access_token", token),), body.encode())

    def verdict(self, response: Response) -> Verdict:
        """DONE with the records of ``list``, or what the errcode's rule says."""
        answer = read(response)
        if isinstance(answer, Verdict):
            return answer
        code = code_of(answer)
        if code is None:
            return Verdict(Action.RETRY, "the answer's errcode is not a number")
        if code:
            return self._refused(answer)
        records = answer.get("list")
        if records is None:  # an empty day, by the safe reading: no code says otherwise
            return Verdict(Action.DONE)
        if not isinstance(records, list) or not {*map(type, records)} <= _OBJECTS:
            return Verdict(Action.RETRY, "the answer's list is not a list of objects")
        return Verdict(Action.DONE, records=records)

    def _refused(self, answer: dict[str, Any]) -> Verdict:
        verdict = refusal(answer, self.errors)
        if verdict.action is Action.STOP_ENDPOINT and self.successors:
            names = ", ".join(self.successors)
            return verdict._replace(message=f"{verdict.message}; its successors are {names}")
        return verdict


def read(response: Response) -> dict[str, Any] | Verdict:
    """The JSON object of a response, or the verdict if there is none.

    The content type is not looked at: WeChat is known to send JSON as text/plain.
    """
    status, body = response
    if status != 200:
        return _http_verdict(status)
    if not body.strip():
        return Verdict(Action.RETRY, "the answer was empty")
    try:
        answer = parse(body)
    except MalformedError:
        kind = "HTML" if body.lstrip()[:1] == b"<" else "not JSON, or cut off"
        return Verdict(Action.RETRY, f"the answer was {kind}")
    if not isinstance(answer, dict):
        return Verdict(Action.RETRY, "the answer was JSON, but not an object")
    return answer


def _http_verdict(status: int) -> Verdict:
    if status >= 500 or status in (408, 425):
        return Verdict(Action.RETRY, f"HTTP {status}")
    if status == 429:
        return Verdict(Action.SLOW_DOWN, "HTTP 429")
    if status == 404:
        return Verdict(
            Action.STOP_ENDPOINT, "HTTP 404: there is no such path there; check the base URL"
        )
    if 300 <= status < 400:
        return Verdict(
            Action.STOP_ENDPOINT,
            f"HTTP {status}: redirects are not followed, since the token would go along;"
            " check the base URL",
        )
    return Verdict(Action.FAIL_WINDOW, f"HTTP {status}")


def code_of(answer: Mapping[str, Any]) -> int | None:
    """The errcode of an answer, 0 if it has none, None if it is no whole number.

    A string of digits counts: clients that convert it suggest that it has been seen.
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
    said = _RID.sub("", text)[:_LONGEST_TEXT].strip(" ,;") or "no errmsg"
    message = f"errcode {code} ({said})"
    if rule.advice:
        message += f": {rule.advice}"
    return Verdict(rule.action, message, code, rid)


def _line(text: str) -> str:
    """A server's text on one line: it goes into messages, and must not steer who reads them."""
    if not text.isprintable():
        text = "".join([char if char.isprintable() else " " for char in text])
    return text.strip()
