"""What follows an answer, and when."""

from collections.abc import Mapping

import pytest

from harvester.base.dates import next_quota_day
from harvester.engine.policy import (
    AFTER_THE_MINUTE,
    NOT_READY_AGAIN,
    TOKEN,
    TOKEN_AGAIN_AT_MOST,
    WINDOW,
    Rule,
    Tried,
    decide,
    kind_of,
)
from harvester.model import Action, Verdict

WALL = 1_700_000_001.0
MINUTE = 39.0 + AFTER_THE_MINUTE
DAY = next_quota_day(WALL) - WALL
FAIL, STOP = (Action.FAIL_WINDOW, 0.0), (Action.STOP_ACCOUNT, 0.0)


@pytest.mark.parametrize(
    ("action", "rules", "first", "last"),
    [
        (Action.SLOW_DOWN, WINDOW, (Action.SLOW_DOWN, MINUTE), FAIL),
        (Action.SLOW_DOWN, TOKEN, (Action.SLOW_DOWN, MINUTE), STOP),
        (Action.QUOTA, WINDOW, (Action.QUOTA, DAY), (Action.QUOTA, DAY)),
        (Action.QUOTA, TOKEN, (Action.QUOTA, DAY), (Action.QUOTA, DAY)),
        (Action.NOT_READY, WINDOW, *[(Action.NOT_READY, NOT_READY_AGAIN)] * 2),
        (Action.NOT_READY, TOKEN, (Action.NOT_READY, 5.0), (Action.NOT_READY, 40.0)),
        (Action.RENEW_TOKEN, WINDOW, *[(Action.RENEW_TOKEN, 0.0)] * 2),
        (Action.RENEW_TOKEN, TOKEN, STOP, STOP),
        (Action.NO_PERMISSION, TOKEN, STOP, STOP),
        *[(each, WINDOW, (each, 0.0), (each, 0.0)) for each in
          (Action.SPLIT, Action.FAIL_WINDOW, Action.NO_PERMISSION, Action.STOP_ENDPOINT,
           Action.STOP_ACCOUNT)],
    ],
)  # fmt: skip
def test_an_action_of_the_first_and_of_the_last_of_eight_attempts(
    action: Action, rules: Mapping[Action, Rule], first: object, last: object
) -> None:
    found = [decide(rules, Verdict(action), Tried(failures, 8, WALL)) for failures in (1, 8)]
    assert found == [first, last]


@pytest.mark.parametrize(("rules", "last"), [(WINDOW, FAIL), (TOKEN, STOP)])
def test_what_is_tried_again_is_so_while_attempts_are_left(
    rules: Mapping[Action, Rule], last: object
) -> None:
    verdict = Verdict(Action.RETRY)
    action, delay = decide(rules, verdict, Tried(7, 8, WALL))
    assert action is Action.RETRY
    assert 0.0 <= delay <= 60.0
    assert decide(rules, verdict, Tried(8, 8, WALL)) == last
    assert decide(rules, verdict, Tried(1, 1, WALL)) == last


def test_once_no_attempt_is_left_an_action_can_become_another() -> None:
    verdict = Verdict(Action.SLOW_DOWN, then=Action.QUOTA)
    assert decide(WINDOW, verdict, Tried(7, 8, WALL))[0] is Action.SLOW_DOWN
    assert decide(WINDOW, verdict, Tried(8, 8, WALL)) == (Action.QUOTA, DAY)


def test_a_token_that_is_not_ready_is_requested_less_and_less_often() -> None:
    verdict = Verdict(Action.NOT_READY)
    found = decide(TOKEN, verdict, Tried(10**6, 8, WALL))
    assert found == (Action.NOT_READY, TOKEN_AGAIN_AT_MOST)


def test_a_window_has_a_rule_for_each_action_but_done() -> None:
    assert WINDOW.keys() == {*Action} - {Action.DONE}


@pytest.mark.parametrize(
    ("after", "verdict", "kind"),
    [
        (Action.FAIL_WINDOW, Verdict(Action.FAIL_WINDOW, "strange refusal", 40199), "refused"),
        (Action.FAIL_WINDOW, Verdict(Action.RETRY, "WeChat is busy", -1), "retry"),
        (Action.FAIL_WINDOW, Verdict(Action.SLOW_DOWN, "too many", 45011), "retry"),
        (Action.FAIL_WINDOW, Verdict(Action.RETRY, "HTTP 502"), "retry"),
        (Action.FAIL_WINDOW, Verdict(Action.FAIL_WINDOW, "HTTP 404"), "refused"),
        (Action.STOP_ACCOUNT, Verdict(Action.RETRY, "limited", 50002), "frozen"),
        (Action.STOP_ENDPOINT, Verdict(Action.STOP_ENDPOINT, "gone", 47009), "retired"),
        (Action.NO_PERMISSION, Verdict(Action.NO_PERMISSION, "no", 48001), "permission"),
        (Action.QUOTA, Verdict(Action.QUOTA, "used up", 45009), "quota"),
        (Action.QUOTA, Verdict(Action.SLOW_DOWN, "blocked", 45102, then=Action.QUOTA), "blocked"),
        (Action.NOT_READY, Verdict(Action.NOT_READY, "the quota of attempts", 61006), "late"),
    ],
)
def test_the_kind_of_a_cause_follows_from_the_code_and_the_action(
    after: Action, verdict: Verdict, kind: str
) -> None:
    for more in ("", ", after too many attempts", ": no access token", ": quota"):
        assert kind_of(after, verdict._replace(message=verdict.message + more)) == kind


def test_a_token_that_is_not_given_for_an_unknown_reason_is_the_accounts() -> None:
    for code, kind in ((None, "token"), (40199, "token"), (40001, "secret")):
        verdict = Verdict(Action.STOP_ACCOUNT, "x", code)
        assert kind_of(Action.STOP_ACCOUNT, verdict, "token") == kind
