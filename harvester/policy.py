"""What to do after an answer: one table for windows and tokens.

Rule: decides; never waits, never sends.

An error code becomes a `Verdict` with an `Action` (`harvester.datacube.errors`).  `RULES` maps the
action and the kind of request to a rule; `decide` adds the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from harvester import retry
from harvester.model import Action, Verdict
from harvester.plan import next_minute, next_quota_day

AFTER_THE_MINUTE = 0.5
"""Seconds after the next full minute until a pause ends, for servers whose clock is behind."""

NOT_READY_AGAIN = 1800.0
"""Seconds until figures that were not ready are requested again.  WeChat documents no time; figures
have become available as late as 10:00."""

TOKEN_AGAIN, TOKEN_AGAIN_AT_MOST = 5.0, 60.0
"""Seconds until a token that is not ready is requested again: longer each time.  The token's source
decides when to stop."""


class Asked(Enum):
    """The kind of request that an answer belongs to."""

    WINDOW = "window"
    TOKEN = "token"


class Step(Enum):
    """What to do next."""

    RETRY = "retry"  # after a backoff, while attempts are left
    PAUSE = "pause"  # the account pauses to the next minute; while attempts are left
    RENEW = "renew"  # at once, with a new token
    LATER = "later"  # in some time, however often that happens
    NEXT_DAY = "next day"  # when the quota begins anew
    SPLIT = "split"  # in single days
    FAIL = "fail"


class Reach(Enum):
    """What that affects."""

    WINDOW = "window"
    INTERFACE = "interface"  # of this account
    ACCOUNT = "account"


class Rule(NamedTuple):
    """What to do next, and what that affects."""

    step: Step
    reach: Reach


class Decision(NamedTuple):
    """A rule, and the seconds until the next request."""

    step: Step
    reach: Reach
    delay: float = 0.0


_WINDOW: Mapping[Action, Rule] = {
    Action.RETRY: Rule(Step.RETRY, Reach.WINDOW),
    Action.SLOW_DOWN: Rule(Step.PAUSE, Reach.WINDOW),
    Action.RENEW_TOKEN: Rule(Step.RENEW, Reach.WINDOW),
    Action.QUOTA: Rule(Step.NEXT_DAY, Reach.INTERFACE),
    Action.NOT_READY: Rule(Step.LATER, Reach.WINDOW),
    Action.SPLIT: Rule(Step.SPLIT, Reach.WINDOW),
    Action.FAIL_WINDOW: Rule(Step.FAIL, Reach.WINDOW),
    Action.NO_PERMISSION: Rule(Step.FAIL, Reach.INTERFACE),
    Action.STOP_ENDPOINT: Rule(Step.FAIL, Reach.INTERFACE),
    Action.STOP_ACCOUNT: Rule(Step.FAIL, Reach.ACCOUNT),
}
_TOKEN: Mapping[Action, Rule] = {
    Action.RETRY: Rule(Step.RETRY, Reach.ACCOUNT),
    Action.SLOW_DOWN: Rule(Step.PAUSE, Reach.ACCOUNT),
    Action.QUOTA: Rule(Step.NEXT_DAY, Reach.ACCOUNT),
    Action.NOT_READY: Rule(Step.LATER, Reach.ACCOUNT),
}
RULES: Mapping[Asked, Mapping[Action, Rule]] = {
    Asked.WINDOW: _WINDOW,
    Asked.TOKEN: _TOKEN,
}
OTHERWISE: Mapping[Asked, Rule] = {
    Asked.WINDOW: Rule(Step.FAIL, Reach.WINDOW),
    Asked.TOKEN: Rule(Step.FAIL, Reach.ACCOUNT),
}
"""The rule for an action that a table does not name."""


def decide(
    asked: Asked, verdict: Verdict, *, failures: int, attempts: int, wall: float
) -> Decision:
    """What to do after a verdict; failures: failed attempts so far, including this one.

    attempts: their limit; wall: the Unix time.
    """
    step, reach = RULES[asked].get(verdict.action, OTHERWISE[asked])
    match step:
        case Step.RETRY | Step.PAUSE:
            delay = retry.delay(failures, attempts, answered=verdict.answered)
            if delay is None and verdict.then is not None:
                instead = verdict._replace(action=verdict.then, then=None)
                return decide(asked, instead, failures=failures, attempts=attempts, wall=wall)
            if delay is None:
                return Decision(Step.FAIL, reach)
            if step is Step.PAUSE:
                delay = next_minute(wall) - wall + AFTER_THE_MINUTE
            return Decision(step, reach, delay)
        case Step.LATER if asked is Asked.TOKEN:
            return Decision(step, reach, min(TOKEN_AGAIN_AT_MOST, TOKEN_AGAIN * failures))
        case Step.LATER:
            return Decision(step, reach, NOT_READY_AGAIN)
        case Step.NEXT_DAY:
            return Decision(step, reach, next_quota_day(wall) - wall)
        case _:
            return Decision(step, reach)
