"""What an account earns as a traffic owner: one address, an action each, answers in pages.

Rule: only the format of ``/publisher/stat``; the catalogue lists its actions.

From WeChat's page on ad statistics and the clients that follow it: a GET whose query holds
``action``, ``page`` (from 1), ``page_size`` (90 at the most), ``start_date`` and ``end_date``, and
may hold ``ad_slot``: since 2024-08-16 the rows name their slot only if one is asked for.  An answer
holds ``base_resp`` {``ret``, ``err_msg``}, ``list``, ``summary`` and ``total_num``.  A
refusal comes with ``base_resp``, or with ``ret`` and ``err_msg`` at the top, or, from the gateway
before it, with ``errcode`` and ``errmsg`` as everywhere.  As an errcode 45009 is the day's quota.
As a ``ret`` it reads "too frequent, try later": the account slows down as after 45011, and only if
that does not help the interface waits for the next day.

``summary`` is left out: it is the sum of the listed rows.  The sums beside ``settlement_list``
(``revenue_all``, ``penalty_all`` and so on) do not follow from its entries, so each entry includes
them; an answer without any entry is one record of these sums: WeChat has been seen to leave
the list out while the income of the month is not settled.  Of the other actions an answer is empty
if its list is there, or ``total_num`` is 0; otherwise it is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from harvester.base.dates import WindowKind
from harvester.errors import UsageError
from harvester.model import ACCESS_TOKEN, Action, Request, Response, Token, Verdict, Window
from harvester.texts import say
from harvester.wechat.codes import ERRORS
from harvester.wechat.endpoint import JsonEndpoint, too_long
from harvester.wechat.response import Rule, code_of, read, refusal

PAGE_SIZE = 90

_OURS = {ACCESS_TOKEN, "page", "page_size", "start_date", "end_date"}

PUBLISHER_ERRORS: Mapping[int, Rule] = {
    **ERRORS,
    1701: Rule(Action.FAIL_WINDOW, "the publisher interface refused a parameter of the request"),
    2009: Rule(
        Action.STOP_ENDPOINT,
        "the account is not, or no longer, a traffic owner; only traffic owners have these figures",
    ),
    45009: Rule(
        Action.SLOW_DOWN, "too many requests to the publisher interface; try later", Action.QUOTA
    ),
    45010: Rule(
        Action.STOP_ENDPOINT,
        "this account does not have this interface; only accounts with the traffic-owner function"
        " have these figures, and only mini-programs have figures by ad unit",
    ),
}
"""What to do after a ``ret`` of the publisher interface, or an errcode that `ERRORS` lacks."""


@dataclass(frozen=True)
class PublisherEndpoint(JsonEndpoint):
    """One action of ``/publisher/stat``; its name is the action, unless ``body`` has another.

    dated: whether it takes days; a list of what there is now does not.
    body: joins the query, texts and whole numbers, as ``ad_slot``; with ``action`` the interface
        may have a name of its own.

    Whether there is another page: a page that is not full is the last one.  An answer does not
    contain the number of its page, so after a last page that is full an empty one is asked for.
    """

    method: ClassVar[str] = "GET"

    errors: Mapping[int, Rule] = field(default_factory=lambda: PUBLISHER_ERRORS, repr=False)
    dated: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not {*map(type, self.body.values())} <= {str, int} or not _OURS.isdisjoint(self.body):
            raise UsageError(
                "interface {}: body is added to the query of a publisher interface; its values"
                " must be texts or whole numbers, and its keys must not be any of {}",
                self.name,
                ", ".join(sorted(_OURS)),
            )

    def request(self, window: Window, token: Token, page: int = 1) -> Request:
        given = {"action": self.name, **self.body}
        query = (
            ("action", str(given.pop("action"))),
            *token.query,
            ("page", str(page)),
            ("page_size", str(PAGE_SIZE)),
            *[(name, str(value)) for name, value in given.items()],
        )
        days = (
            ("start_date", window.begin.isoformat()),
            ("end_date", window.end.isoformat()),
        )
        return Request("GET", self.path, query + days if self.dated else query)

    def verdict(self, response: Response, window: Window) -> Verdict:
        answer = read(response)
        if isinstance(answer, Verdict):
            return answer
        usual = _in_usual_words(answer)
        code = code_of(usual)
        if code is None:
            return Verdict(Action.RETRY, say("the answer's ret or errcode is not a number"))
        if code:
            rules = ERRORS if usual is answer and code in ERRORS else self.errors
            verdict = refusal(usual, rules)
            return too_long(verdict, usual, window) if self.cut is WindowKind.DAYS else verdict
        if self.rows not in answer and "base_resp" not in answer:
            return Verdict(Action.RETRY, say("the answer has neither base_resp nor {}", self.rows))
        return self._page(answer, window)

    def _page(self, answer: dict[str, Any], window: Window) -> Verdict:
        verdict = self._unlisted(answer, window) or self._done(answer, window)
        if verdict.action is not Action.DONE:
            return verdict
        full = len(answer.get(self.rows) or ()) >= PAGE_SIZE
        return verdict._replace(more=full and _number(answer.get("total_num")) != PAGE_SIZE)

    def _unlisted(self, answer: dict[str, Any], window: Window) -> Verdict | None:
        total = answer.get("total_num")
        sums = {name: answer[name] for name in self.lifts if name in answer}
        nothing = total in (0, "0") or (total is None and sums)
        if answer.get(self.rows) or not nothing:
            return None
        return self._asked([sums] if sums else [], answer, window)


def _in_usual_words(answer: dict[str, Any]) -> dict[str, Any]:
    if code_of(answer) != 0:
        return answer
    base = answer.get("base_resp")
    where = base if isinstance(base, dict) and "ret" in base else answer
    return {"errcode": where.get("ret"), "errmsg": where.get("err_msg")}


def _number(value: object) -> int:
    """A number that may be written as text; 0 for anything else."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 18 else 0
