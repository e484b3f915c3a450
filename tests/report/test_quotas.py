"""Quota used and left by interface, and the date of completion, as the overview has them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from harvester.ledger.base import Exhausted
from harvester.report.overview import Overview
from tests.report_data import NOW, YESTERDAY, KnownLedger
from tests.support import A, B

USERS, HOURS = "getusersummary", "getupstreammsghour"
MIDNIGHT = NOW + 9 * 3600


def ledger_of(*appids: str, missing: int = 10) -> KnownLedger:
    """Accounts that lack some days of one interface."""
    ledger = KnownLedger()
    for appid in appids:
        ledger.asked_for(appid, USERS, YESTERDAY - timedelta(days=missing - 1), YESTERDAY)
    return ledger


def refused(ledger: KnownLedger, appid: str) -> None:
    ledger.used_up[appid, USERS] = Exhausted(appid, USERS, MIDNIGHT, NOW - 60)


@pytest.mark.parametrize(
    ("calls", "refusals", "daily", "used", "left", "used_up"),
    [
        ({A: 3, B: 4}, [], None, 7, None, 0),
        ({A: 3, B: 4}, [], 5, 7, 3, 0),
        ({A: 9}, [], 5, 9, 5, 0),  # what was sent before the option was given is never negative
        ({}, [], 5, 0, 10, 0),
        ({A: 3, B: 4}, [A], 5, 7, 1, 1),  # WeChat's word counts more than the option
        ({A: 3, B: 4}, [A], None, 7, None, 1),
        ({A: 3, B: 4}, [A, B], None, 7, 0, 2),
    ],
)
def test_calls_used_and_left_are_those_that_are_known(
    calls: dict[str, int], refusals: list[str], daily: int | None, used: int, left: int | None,
    used_up: int,
) -> None:  # fmt: skip
    ledger = ledger_of(A, B)
    ledger.calls = {(appid, USERS): number for appid, number in calls.items()}
    for appid in refusals:
        refused(ledger, appid)
    (found,) = ledger.seen(daily_quota=daily).quotas
    assert (found.endpoint, found.accounts, found.used) == (USERS, 2, used)
    assert (found.left, found.used_up, found.until) == (left, used_up, MIDNIGHT if used_up else 0)


def test_a_refusal_ends_with_its_day() -> None:
    ledger = ledger_of(A)
    refused(ledger, A)
    (found,) = ledger.seen(MIDNIGHT + 1).quotas
    assert (found.left, found.used_up) == (None, 0)


def completion(seen: Overview) -> tuple[int, date | None, int | None]:
    return seen.calls, seen.finished, seen.assumed


def test_nothing_is_left_of_what_is_complete() -> None:
    ledger = KnownLedger()
    ledger.harvested(A, USERS, YESTERDAY, YESTERDAY)
    assert completion(ledger.seen()) == (0, None, None)
    assert ledger.seen().days_left is None


def test_an_assumption_is_named_as_one() -> None:
    ledger = KnownLedger()
    ledger.asked_for(A, HOURS, YESTERDAY - timedelta(days=2_499), YESTERDAY)
    seen = ledger.seen()
    assert completion(seen) == (2_500, date(2026, 11, 28), 1_000)
    assert completion(ledger.seen(daily_quota=2_500)) == (2_500, date(2026, 11, 26), None)


def test_the_calls_before_a_refusal_are_the_pace() -> None:
    ledger = KnownLedger()
    ledger.asked_for(A, HOURS, YESTERDAY - timedelta(days=99), YESTERDAY)
    ledger.calls[A, HOURS] = 20
    assert completion(ledger.seen()) == (100, date(2026, 11, 26), 1_000)
    ledger.used_up[A, HOURS] = Exhausted(A, HOURS, MIDNIGHT, NOW)
    assert completion(ledger.seen()) == (100, date(2026, 12, 1), None)


def test_a_quota_that_wechat_has_refused_is_spent_whatever_the_option_states() -> None:
    ledger = KnownLedger()
    ledger.asked_for(A, HOURS, YESTERDAY - timedelta(days=9), YESTERDAY)
    ledger.calls[A, HOURS] = 3
    assert ledger.seen(daily_quota=50).days_left == 0
    ledger.used_up[A, HOURS] = Exhausted(A, HOURS, MIDNIGHT, NOW)
    assert ledger.seen(daily_quota=50).days_left == 1


def test_what_a_person_must_unblock_has_no_date() -> None:
    ledger = ledger_of(A)
    ledger.put(A, USERS, YESTERDAY, YESTERDAY, "failed", code=40125, detail="errcode 40125")
    seen = ledger.seen(daily_quota=1)
    assert (completion(seen), seen.blocked) == ((0, None, None), 2)


def test_json_has_both() -> None:
    ledger = ledger_of(A, B)
    ledger.calls[A, USERS] = 2
    refused(ledger, B)
    found = ledger.seen(daily_quota=10).to_dict()
    assert found["quotas"] == [{
        "endpoint": USERS, "accounts": 2, "used": 2, "daily_quota": 10, "left": 8, "used_up": 1,
        "until": "2026-11-26T17:30:00Z",
    }]  # fmt: skip
    assert found["completion"] == {
        "calls": 4, "blocked": 0, "days": 1, "date": "2026-11-27", "assumed_daily_quota": None,
    }  # fmt: skip
