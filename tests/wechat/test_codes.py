"""Every error code that is known, and how far it reaches."""

import json
from collections.abc import Mapping
from datetime import date

import pytest

from harvester.model import Action, Response, Window
from harvester.wechat.codes import AUTHORIZER_ERRORS, COMPONENT_ERRORS, ERRORS, TOKEN_ERRORS
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.publisher import PUBLISHER_ERRORS
from harvester.wechat.response import Rule

LETTERS = {
    "R": Action.RETRY,  # again after a backoff
    "T": Action.RENEW_TOKEN,
    "M": Action.SLOW_DOWN,  # to the next minute
    "D": Action.QUOTA,  # to the next day
    "W": Action.NOT_READY,
    "F": Action.FAIL_WINDOW,
    "P": Action.NO_PERMISSION,
    "E": Action.STOP_ENDPOINT,
    "A": Action.STOP_ACCOUNT,
}
CODES = {
    "R": [-1, 50002],
    "T": [40001, 40014, 41001, 41003, 41021, 42001, 42006, 42007, 48012],
    "M": [45011, 45102, -10_094_011],
    "D": [45009],
    "W": [61005, 61006, 61503],
    "F": [40002, 40035, 40097, 43001, 43002, 43003, 44002, 45029, 47001, 48006, 50005, 61500, 61501,
          61554, 76001, 76002, 76003, 76004, 76021, 76022, *range(9_001_001, 9_001_037)],
    "P": [43104, 45063, 48001, 61014, 61015],
    "E": [40066, 42005, 43007, 45040, 46101, 47009, 48009, 50001, 61007, 61016, 61502, 61552, 61553,
          61555, 61556, 61557, 61558, 61559],
    "A": [40013, 40030, 40090, 40091, 40094, 40125, 40164, 40243, 41002, 41004, 41018, 42002, 45032,
          45035, 48004, 50004, 50007, 61003, 61004, 61009, 61010, 61011, 61023, 61024, 89501, 89502,
          89503, 89504, 89505, 89506, 89507],
}  # fmt: skip
KNOWN = {code: LETTERS[letter] for letter, codes in CODES.items() for code in codes}
DAY = Window("wx1", "getusersummary", date(2020, 1, 1), date(2020, 1, 1))
TABLES = pytest.mark.parametrize(
    "table",
    [ERRORS, TOKEN_ERRORS, COMPONENT_ERRORS, AUTHORIZER_ERRORS],
    ids=["data", "token", "component", "authorizer"],
)


def test_every_code_reaches_as_far_as_is_known_of_it() -> None:
    assert {code: rule.action for code, rule in ERRORS.items()} == KNOWN


def test_what_follows_once_no_attempt_is_left_is_part_of_the_table() -> None:
    assert {code: rule.then for code, rule in ERRORS.items() if rule.then is not None} == {
        45102: Action.QUOTA,
        50002: Action.STOP_ACCOUNT,
    }
    assert PUBLISHER_ERRORS[45009].then is Action.QUOTA


def test_an_account_that_is_limited_is_tried_again_by_a_platform_alone() -> None:
    assert TOKEN_ERRORS[50002].action is Action.STOP_ACCOUNT
    for table in (COMPONENT_ERRORS, AUTHORIZER_ERRORS):
        assert (table[50002].action, table[50002].then) == (Action.RETRY, Action.STOP_ACCOUNT)


def test_what_stops_an_account_on_a_data_request_stops_it_on_a_token_request_too() -> None:
    stopping = {code for code, rule in ERRORS.items() if rule.action is Action.STOP_ACCOUNT}
    for table in (TOKEN_ERRORS, COMPONENT_ERRORS, AUTHORIZER_ERRORS):
        assert stopping <= {c for c, rule in table.items() if rule.action is Action.STOP_ACCOUNT}


def test_a_refused_token_is_the_platforms_own_where_the_platform_asks() -> None:
    for code in (40001, 41021, 42006, 48012):
        assert AUTHORIZER_ERRORS[code].action is Action.RENEW_TOKEN
    assert TOKEN_ERRORS[40001].action is Action.STOP_ACCOUNT
    assert COMPONENT_ERRORS[40001].action is Action.STOP_ACCOUNT
    assert AUTHORIZER_ERRORS[42007].action is Action.STOP_ACCOUNT


@pytest.mark.parametrize("code", KNOWN)
def test_a_code_in_an_answer_is_said_with_its_sentence(code: int) -> None:
    body = json.dumps({"errcode": code, "errmsg": "said"}).encode()
    verdict = INTERFACES["getusersummary"].verdict(Response(200, body), DAY)
    assert (verdict.action, verdict.code) == (KNOWN[code], code)
    assert verdict.message == f"errcode {code} (said): {ERRORS[code].advice}"


@TABLES
def test_every_code_has_a_sentence_that_fits_behind_a_colon(table: Mapping[int, Rule]) -> None:
    for code, rule in table.items():
        assert len(rule.advice) > 10, code
        assert rule.advice[-1] not in ".;,: ", code


@TABLES
def test_no_code_of_a_token_request_fails_a_window(table: Mapping[int, Rule]) -> None:
    if table is not ERRORS:
        assert Action.FAIL_WINDOW not in {rule.action for rule in table.values()}


@pytest.mark.parametrize(
    ("code", "wait"),
    [(89506, "24 hours"), (89507, "an hour"), (61005, "10 minutes"), (61006, "10 minutes"),
     (40243, "10 minutes")],
)  # fmt: skip
def test_a_code_that_passes_says_after_how_long(code: int, wait: str) -> None:
    assert wait in ERRORS[code].advice
