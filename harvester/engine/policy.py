"""What to do after an answer: one table for windows and one for tokens.

Rule: decides; never waits, never sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from harvester.base import retry
from harvester.base.dates import next_minute, next_quota_day
from harvester.engine.window_queue import Attempt, Harvested
from harvester.model import Action, Verdict
from harvester.wechat.codes import BLOCKED, KIND_OF

AFTER_THE_MINUTE = 0.5
"""Seconds after the next full minute until a pause ends, for servers whose clock is behind."""

NOT_READY_AGAIN = 1800.0
"""Seconds until figures that were not ready are requested again.  WeChat does not document the
time; figures have become available as late as 10:00."""

TOKEN_AGAIN, TOKEN_AGAIN_AT_MOST = 5.0, 60.0
"""Seconds until a token that is not ready is requested again: longer each time.  The token's source
decides when to stop."""


class Decision(NamedTuple):
    """What follows one attempt at a window.

    attempt: the next one, or the one that failed.  harvested: the window, of an attempt that is
    DONE.  delay: seconds.
    reason: empty if nothing is wrong: the next page of the window, or its next attempt after an
    outage.  kind: of the cause, if no further attempt is made in this run
    (`harvester.report.causes.KINDS`).
    first: other requests in flight have not had the same result before: the account was not paused
    yet, or the refused token was the current one.
    """

    action: Action
    attempt: Attempt
    harvested: Harvested | None = None
    delay: float = 0.0
    reason: str = ""
    code: int | None = None
    rid: str = ""
    first: bool = False
    kind: str = ""


class Tried(NamedTuple):
    """What limits the next attempt.

    failures: including this one; attempts: their limit; wall: the Unix time.
    """

    failures: int
    attempts: int
    wall: float


class Rule(NamedTuple):
    """When the next request leaves, and what is done instead once no attempt is left.

    delay: returns seconds.  last: None: attempts do not count.
    """

    delay: Callable[[Verdict, Tried], float]
    last: Action | None = None


def _at_once(verdict: Verdict, tried: Tried) -> float:
    return 0.0


def _backoff(verdict: Verdict, tried: Tried) -> float:
    return retry.delay(tried.failures, answered=verdict.answered)


def _next_minute(verdict: Verdict, tried: Tried) -> float:
    return next_minute(tried.wall) - tried.wall + AFTER_THE_MINUTE


def _next_day(verdict: Verdict, tried: Tried) -> float:
    return next_quota_day(tried.wall) - tried.wall


def _half_an_hour(verdict: Verdict, tried: Tried) -> float:
    return NOT_READY_AGAIN


def _longer_each_time(verdict: Verdict, tried: Tried) -> float:
    return min(TOKEN_AGAIN_AT_MOST, TOKEN_AGAIN * tried.failures)


WINDOW: Mapping[Action, Rule] = {
    Action.RETRY: Rule(_backoff, Action.FAIL_WINDOW),
    Action.SLOW_DOWN: Rule(_next_minute, Action.FAIL_WINDOW),
    Action.RENEW_TOKEN: Rule(_at_once),
    Action.QUOTA: Rule(_next_day),
    Action.NOT_READY: Rule(_half_an_hour),
    Action.SPLIT: Rule(_at_once),
    # No next request in this run: of the window, of the interface, of the account.
    Action.FAIL_WINDOW: Rule(_at_once),
    Action.NO_PERMISSION: Rule(_at_once),
    Action.STOP_ENDPOINT: Rule(_at_once),
    Action.STOP_ACCOUNT: Rule(_at_once),
}
TOKEN: Mapping[Action, Rule] = {
    Action.RETRY: Rule(_backoff, Action.STOP_ACCOUNT),
    Action.SLOW_DOWN: Rule(_next_minute, Action.STOP_ACCOUNT),
    Action.QUOTA: Rule(_next_day),
    Action.NOT_READY: Rule(_longer_each_time),
}
"""Any other action on a token stops the account."""


_TRIED = (Action.RETRY, Action.SLOW_DOWN)


def kind_of(action: Action, verdict: Verdict, other: str = "refused") -> str:
    """The kind of cause of a window for which this action follows a verdict.

    other: if it has none of its own, and attempts do not count.
    """
    if action is Action.QUOTA:
        return "blocked" if verdict.code == BLOCKED else "quota"
    if action is Action.NOT_READY:
        return "late"
    return KIND_OF.get(verdict.code) or ("retry" if verdict.action in _TRIED else other)


def decide(rules: Mapping[Action, Rule], verdict: Verdict, tried: Tried) -> tuple[Action, float]:
    """What to do after a verdict, and the seconds until the next request."""
    rule = rules.get(verdict.action)
    if rule is None:
        return Action.STOP_ACCOUNT, 0.0
    if rule.last is None or tried.failures < tried.attempts:
        return verdict.action, rule.delay(verdict, tried)
    if verdict.then is None:
        return rule.last, 0.0
    return decide(rules, verdict._replace(action=verdict.then, then=None), tried)
