"""What follows from an answer: one table for windows, tokens and questions about a quota.

Rule: decides; never waits, never sends.

An error code is a `Verdict` with an `Action` (`harvester.datacube.errors`).  `RULES` says what
follows from each action for what was asked; `decide` adds when.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from harvester import retry
from harvester.model import Action, Verdict
from harvester.plan import next_minute, next_quota_day

AFTER_THE_MINUTE = 0.5
"""Seconds that a pause lasts into the next minute, for a server whose clock is behind ours."""

NOT_READY_AGAIN = 1800.0
"""Seconds until figures that were not ready are asked for again.  WeChat names no time; they have
been seen to come as late as ten in the morning."""

TOKEN_AGAIN, TOKEN_AGAIN_AT_MOST = 5.0, 60.0
"""Seconds until a token that is not ready is asked for again: longer each time.  Where it comes
from says itself when it is enough."""


class Asked(Enum):
    """What an answer is about."""

    WINDOW = "window"
    TOKEN = "token"
    QUOTA = "quota"  # how many calls are left


class Step(Enum):
    """What follows."""

    RETRY = "retry"  # after a backoff, while attempts are left
    PAUSE = "pause"  # the account pauses to the next minute; while attempts are left
    RENEW = "renew"  # at once, with a new token
    LATER = "later"  # in some time, however often that happens
    NEXT_DAY = "next day"  # when the quota begins anew
    SPLIT = "split"  # in smaller windows
    FAIL = "fail"


class Reach(Enum):
    """How far that reaches."""

    WINDOW = "window"
    INTERFACE = "interface"  # of this account
    ACCOUNT = "account"


class Rule(NamedTuple):
    """What follows, and how far it reaches."""

    step: Step
    reach: Reach


class Decision(NamedTuple):
    """A rule, and in how many seconds it is asked again."""

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
_QUOTA: Mapping[Action, Rule] = {
    Action.RETRY: Rule(Step.RETRY, Reach.INTERFACE),
    Action.SLOW_DOWN: Rule(Step.PAUSE, Reach.INTERFACE),
    Action.RENEW_TOKEN: Rule(Step.RETRY, Reach.INTERFACE),
}
RULES: Mapping[Asked, Mapping[Action, Rule]] = {
    Asked.WINDOW: _WINDOW,
    Asked.TOKEN: _TOKEN,
    Asked.QUOTA: _QUOTA,
}
OTHERWISE: Mapping[Asked, Rule] = {
    Asked.WINDOW: Rule(Step.FAIL, Reach.WINDOW),
    Asked.TOKEN: Rule(Step.FAIL, Reach.ACCOUNT),
    Asked.QUOTA: Rule(Step.FAIL, Reach.INTERFACE),
}
"""What follows from an action that a table does not name."""


def decide(
    asked: Asked, verdict: Verdict, *, failures: int, attempts: int, wall: float
) -> Decision:
    """What follows from a verdict; failures: attempts that failed so far, with this one.

    attempts: how many there may be; wall: the Unix time.
    """
    step, reach = RULES[asked].get(verdict.action, OTHERWISE[asked])
    match step:
        case Step.RETRY | Step.PAUSE:
            delay = retry.delay(failures, attempts, answered=verdict.answered)
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
