"""Every error code through the real engine: how far it reaches, what is done, what is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.base.dates import QUOTA_MARGIN
from harvester.engine.attempt import EQUAL_REFUSALS
from harvester.engine.scope import Scope
from harvester.events import Report
from harvester.ledger import SqliteLedger
from harvester.model import Action
from harvester.testing import TEXTS, MemorySink, Simulator
from harvester.testing.virtual_time import VirtualTimeLoop, run_virtual
from harvester.tokens.official import provider_for
from harvester.tokens.platform import Platform
from harvester.wechat.codes import AUTHORIZER_ERRORS, COMPONENT_ERRORS, ERRORS, TOKEN_ERRORS
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.publisher import PUBLISHER_ERRORS
from harvester.wechat.response import Rule
from tests.support import A, B, at, run, scope

NOW = at("2026-03-11", 13)
DAYS = (date(2026, 3, 2), date(2026, 3, 10))
ONE, OTHER = INTERFACES["getarticleread"], INTERFACES["getarticleshare"]
NUMBER = 9
BOTH = ((A, ONE.name), (A, OTHER.name))
PASSING = {Action.RETRY, Action.SLOW_DOWN, Action.QUOTA}


def codes(table: Mapping[int, Rule], *actions: Action) -> list[Any]:
    """Those that end at last with no other action; by default each fourth is tried."""
    found = [c for c, rule in table.items() if rule.action in actions and rule.then is None]
    return [
        each if number % 4 == 0 else pytest.param(each, marks=pytest.mark.thorough)
        for number, each in enumerate(found)
    ]


class Told:
    """A run of two accounts and two interfaces, and what was told of it."""

    def __init__(self, clear_after: float | None = None, **how: Any) -> None:
        options = {"attempts": 3, **how.pop("options", {})}
        self.simulator = Simulator(**how)
        self.events: list[Any] = []
        self.sink = MemorySink()

        def clear() -> None:
            self.simulator.refuse.clear()
            self.simulator.refuse_token.clear()

        self.report = run(
            self.simulator, scope(*DAYS, (A, B), (ONE, OTHER)), self.sink, now=NOW,
            later={} if clear_after is None else {clear_after: clear},
            on_event=self.events.append, **options,
        )  # fmt: skip

    def done(self) -> Counter[tuple[str, str]]:
        """Windows that were harvested, by account and interface."""
        return Counter((window.appid, window.endpoint) for window in self.sink.windows)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def all_but(*missing: tuple[str, str]) -> dict[tuple[str, str], int]:
    return {
        key: NUMBER
        for key in ((appid, each.name) for appid in (A, B) for each in (ONE, OTHER))
        if key not in missing
    }


def sentence(table: Mapping[int, Rule], code: int, rid: str) -> str:
    text = TEXTS[code]
    return f"errcode {code} ({text}): {table[code].advice} [rid: {rid}]"


# data requests


def test_the_table_has_every_code_of_the_facts() -> None:
    assert set(ERRORS) | {0, 1701, 2009, 45010} == set(TEXTS)


@pytest.mark.parametrize(
    ("table", "actions"),
    [
        (ERRORS, set(Action) - {Action.DONE, Action.SPLIT}),
        (TOKEN_ERRORS, {Action.STOP_ACCOUNT, *PASSING}),
        (COMPONENT_ERRORS, {Action.STOP_ACCOUNT, Action.NOT_READY, *PASSING}),
        (AUTHORIZER_ERRORS, {Action.STOP_ACCOUNT, Action.RENEW_TOKEN, *PASSING}),
    ],
    ids=["data", "token", "platform", "account of a platform"],
)
def test_every_action_of_a_table_is_walked(table: Mapping[int, Rule], actions: set[Action]) -> None:
    assert {rule.action for rule in table.values()} == actions


@pytest.mark.parametrize("code", codes(ERRORS, Action.FAIL_WINDOW))
def test_a_code_of_the_window_fails_it_at_once_and_after_a_handful_the_interface(code: int) -> None:
    told = Told(refuse={(A, ONE.name): code})
    report = told.report
    assert (report.state, report.stopped) == ("partial", {})
    assert told.done() == all_but((A, ONE.name))
    assert report.requests == 3 * NUMBER + EQUAL_REFUSALS  # each once
    (failure,) = report.failures
    assert (failure.begin, failure.end, failure.code) == (*DAYS, code)
    assert (failure.appid, failure.endpoint) == (A, ONE.name)
    assert failure.rid.count("-") == 2
    said, _, given_up = failure.error.partition("; 5 windows in a row were refused")
    assert (said, bool(given_up)) == (sentence(ERRORS, code, failure.rid), True)
    assert failure.to_dict()["code"] == code


@pytest.mark.parametrize("code", codes(ERRORS, Action.RETRY))
def test_a_code_of_the_attempt_is_tried_again_and_then_fails_its_window(code: int) -> None:
    told = Told(refuse={(A, ONE.name): code})
    assert told.report.state == "partial"
    assert told.done() == all_but((A, ONE.name))
    assert told.report.retries == 2 * NUMBER
    for failure in told.report.failures:
        assert failure.error == sentence(ERRORS, code, failure.rid) + ", after 3 attempts"
        assert failure.code == code
    passed = Told(refuse={(A, ONE.name): code}, clear_after=0.5, options={"attempts": 60})
    assert (passed.report.state, passed.done()) == ("complete", all_but())


@pytest.mark.parametrize("code", codes(ERRORS, Action.SLOW_DOWN))
def test_a_code_of_the_minute_pauses_and_slows_the_account(code: int) -> None:
    told = Told(refuse={A: code}, clear_after=30.0)
    assert (told.report.state, told.done()) == ("complete", all_but())
    assert {event.appid for event in told.of(events.Paused)} == {A}
    slowed = [event.text for event in told.of(events.Notice) if event.code == "Slowed"]
    assert slowed == [f"{A}: the rate is now 50% of the configured rate, and recovers slowly"]
    (wait,) = told.report.waits
    assert wait.reason == sentence(ERRORS, code, "").partition(" [rid")[0]


@pytest.mark.parametrize("code", codes(ERRORS, Action.RENEW_TOKEN))
def test_a_code_of_the_token_costs_one_fetch_and_at_the_second_refusal_the_account(
    code: int,
) -> None:
    passed = Told(refuse={A: code}, clear_after=0.015, options={"concurrency": 2})
    assert (passed.report.state, passed.done()) == ("complete", all_but())
    assert passed.report.token_fetches == 3
    told = Told(refuse={A: code})
    assert told.report.state == "partial"
    assert told.done() == all_but(*BOTH)
    assert told.report.token_fetches == 3
    (stopped,) = told.of(events.AccountStopped)
    assert (stopped.appid, stopped.code) == (A, code)
    assert f"errcode {code} ({TEXTS[code]}): {ERRORS[code].advice}" in stopped.error


@pytest.mark.parametrize("code", codes(ERRORS, Action.QUOTA))
def test_a_code_of_the_day_parks_the_interface_until_midnight_in_china(code: int) -> None:
    told = Told(refuse={(A, ONE.name): code})
    assert (told.report.state, told.report.windows.waiting) == ("waiting", NUMBER)
    assert told.done() == all_but((A, ONE.name))
    assert told.report.until == at("2026-03-12", 0) + QUOTA_MARGIN
    (wait,) = told.report.waits
    assert (wait.appid, wait.endpoint, wait.windows) == (A, ONE.name, NUMBER)
    assert f"errcode {code} ({TEXTS[code]}): {ERRORS[code].advice}" == wait.reason


@pytest.mark.parametrize("code", codes(ERRORS, Action.NOT_READY))
def test_a_code_of_data_that_is_not_ready_sends_the_window_away_for_half_an_hour(code: int) -> None:
    told = Told(refuse={(A, ONE.name): code})
    assert (told.report.state, told.report.windows.waiting) == ("waiting", NUMBER)
    assert told.done() == all_but((A, ONE.name))
    assert told.report.until == pytest.approx(NOW + 1800, abs=2)
    waits = Told(refuse={(A, ONE.name): code}, clear_after=600.0, options={"wait": True})
    assert (waits.report.state, waits.done()) == ("complete", all_but())
    assert waits.report.seconds == pytest.approx(1800, abs=5)


@pytest.mark.parametrize("code", codes(ERRORS, Action.STOP_ENDPOINT, Action.NO_PERMISSION))
def test_a_code_of_the_interface_stops_it_and_the_others_go_on(code: int) -> None:
    told = Told(refuse={(A, ONE.name): code}, options={"concurrency": 1})
    assert (told.report.state, told.report.stopped) == ("partial", {})
    assert told.done() == all_but((A, ONE.name))
    assert told.report.requests == 3 * NUMBER + 1
    (failure,) = told.report.failures
    assert (failure.begin, failure.end, failure.code) == (*DAYS, code)
    assert failure.error == sentence(ERRORS, code, failure.rid)


@pytest.mark.thorough
@pytest.mark.parametrize("code", codes(ERRORS, Action.NO_PERMISSION))
def test_a_permission_that_is_missing_everywhere_stops_the_account(code: int) -> None:
    told = Told(refuse={A: code})
    assert (told.report.state, told.report.windows.failed) == ("partial", 2 * NUMBER)
    assert told.done() == all_but(*BOTH)
    assert told.report.stopped[A].startswith(f"{A}: errcode {code}")


@pytest.mark.parametrize("code", codes(ERRORS, Action.STOP_ACCOUNT))
def test_a_code_of_the_account_stops_it_and_the_others_go_on(code: int) -> None:
    told = Told(refuse={(A, ONE.name): code}, options={"concurrency": 1})
    assert told.report.state == "partial"
    assert told.done()[B, ONE.name] == told.done()[B, OTHER.name] == NUMBER
    assert told.done()[A, ONE.name] == 0
    (stopped,) = told.of(events.AccountStopped)
    assert (stopped.appid, stopped.code) == (A, code)
    assert stopped.error == f"{A}: {sentence(ERRORS, code, stopped.rid)}"
    assert told.report.stopped == {A: stopped.error}
    assert told.simulator.counts[f"errcode {code}"] == 1
    assert {failure.code for failure in told.report.failures} == {code}
    assert {failure.appid for failure in told.report.failures} == {A}


def test_an_account_that_is_limited_is_tried_again_and_stops_when_no_attempt_is_left() -> None:
    passed = Told(refuse={(A, ONE.name): 50002}, clear_after=0.5, options={"attempts": 60})
    assert (passed.report.state, passed.done()) == ("complete", all_but())
    told = Told(refuse={(A, ONE.name): 50002}, options={"concurrency": 1})
    assert told.done()[B, ONE.name] == told.done()[B, OTHER.name] == NUMBER
    (stopped,) = told.of(events.AccountStopped)
    assert (stopped.appid, stopped.code) == (A, 50002)
    assert stopped.error == f"{A}: {sentence(ERRORS, 50002, stopped.rid)}"
    assert 3 <= told.simulator.counts["errcode 50002"] < 3 * NUMBER
    assert {failure.code for failure in told.report.failures} == {50002}


def test_a_limited_account_with_years_to_harvest_is_asked_a_few_times() -> None:
    simulator = Simulator(refuse={(A, each.name): 50002 for each in (ONE, OTHER)})
    asked = scope(date(2025, 12, 1), DAYS[1], (A,), (ONE, OTHER))
    report = run(simulator, asked, MemorySink(), now=NOW, attempts=8, rate="1000/s")
    assert report.state == "failed"
    assert 8 <= simulator.counts["errcode 50002"] <= 4 * 8


def test_an_interface_that_is_blocked_for_a_time_pauses_and_then_waits_for_the_next_day() -> None:
    passed = Told(refuse={A: 45102}, clear_after=30.0)
    assert (passed.report.state, passed.done()) == ("complete", all_but())
    told = Told(refuse={(A, ONE.name): 45102})
    assert (told.report.state, told.report.windows.waiting) == ("waiting", NUMBER)
    assert told.done() == all_but((A, ONE.name))
    assert told.report.until == at("2026-03-12", 0) + QUOTA_MARGIN
    assert 2 * 60 <= told.report.seconds < 4 * 60


def test_a_blocked_interface_is_not_noted_as_one_without_quota(tmp_path: Path) -> None:
    asked = scope(*DAYS, (A, B), (ONE, OTHER))
    for code, noted in ((45102, set()), (45009, {(A, ONE.name)})):
        path = tmp_path / f"{code}.sqlite"
        simulator = Simulator(refuse={(A, ONE.name): code})
        report = run(simulator, asked, MemorySink(), path, now=NOW, attempts=3)
        assert (report.state, report.windows.waiting) == ("waiting", NUMBER)
        assert run_virtual(partial(_exhausted, path), NOW) == noted


async def _exhausted(path: Path, loop: VirtualTimeLoop) -> set[tuple[str, str]]:
    async with SqliteLedger(path, readonly=True) as ledger:
        return {*await ledger.exhausted(loop.wall())}


def test_what_is_said_of_a_blocked_interface_speaks_of_no_quota() -> None:
    simulator = Simulator(refuse={(A, ONE.name): 45102})
    told: list[Any] = []
    report = run(
        simulator, scope(*DAYS, (A, B), (ONE, OTHER)), MemorySink(), now=NOW,
        later={
            3000.0: lambda: simulator.refuse.update({(A, ONE.name): -1}),
            7000.0: simulator.refuse.clear,
        },
        on_event=told.append, attempts=8, wait=True,
    )  # fmt: skip
    assert report.windows.failed == 1  # the one that was tried after an hour
    paused = [each.reason for each in told if isinstance(each, events.Paused) and each.endpoint]
    blocked, unknown = paused
    assert "WeChat has temporarily blocked this interface" in blocked
    assert unknown.startswith("it was blocked, and might still be blocked: errcode -1")
    assert "quota" not in blocked + unknown


def test_a_code_that_nobody_knows_fails_its_window_with_what_wechat_said() -> None:
    told = Told(refuse={(A, ONE.name): 12345}, texts={12345: "strange"})
    (failure,) = told.report.failures
    assert (failure.code, told.done()) == (12345, all_but((A, ONE.name)))
    assert failure.error.startswith(f"errcode 12345 (strange) [rid: {failure.rid}]; 5 windows")


@pytest.mark.thorough
@pytest.mark.parametrize("code", [1701, 2009, 45010])
def test_the_publishers_own_codes_reach_the_window_or_the_interface(code: int) -> None:
    endpoint, days = INTERFACES["publisher_cps_general"], (date(2025, 11, 1), DAYS[1])
    asked = scope(*days, (A,), (endpoint, ONE))
    simulator = Simulator(refuse={endpoint.name: code})
    report = run(simulator, asked, MemorySink(), now=NOW, concurrency=1)
    assert (report.state, report.stopped) == ("partial", {})
    (failure,) = report.failures
    assert (failure.endpoint, failure.code) == (endpoint.name, code)
    assert (failure.begin, failure.end) == days
    assert PUBLISHER_ERRORS[code].advice in failure.error


# requests for tokens


@pytest.mark.parametrize("code", codes(TOKEN_ERRORS, Action.STOP_ACCOUNT))
def test_a_code_of_a_token_request_stops_the_account_before_any_data(code: int) -> None:
    told = Told(refuse_token={A: code})
    assert told.report.state == "partial"
    assert told.done() == all_but(*BOTH)
    assert told.report.requests == 2 * NUMBER
    assert told.simulator.counts[f"errcode {code}"] == 1
    (stopped,) = told.of(events.AccountStopped)
    assert (stopped.appid, stopped.code) == (A, code)
    assert stopped.error == f"{A}: no access token: {sentence(TOKEN_ERRORS, code, stopped.rid)}"
    assert len(told.report.failures) == 2


@pytest.mark.parametrize("code", codes(TOKEN_ERRORS, Action.RETRY, Action.SLOW_DOWN))
def test_a_token_request_that_may_pass_is_tried_again(code: int) -> None:
    told = Told(refuse_token={A: code}, clear_after=0.5, options={"attempts": 60})
    assert (told.report.state, told.done()) == ("complete", all_but())
    never = Told(refuse_token={A: code})
    assert never.done() == all_but(*BOTH)
    assert TOKEN_ERRORS[code].advice in never.report.stopped[A]


@pytest.mark.parametrize("code", codes(TOKEN_ERRORS, Action.QUOTA))
def test_a_used_up_quota_of_tokens_waits_for_midnight(code: int) -> None:
    told = Told(refuse_token={A: code})
    assert (told.report.state, told.report.until) == ("waiting", at("2026-03-12", 0) + QUOTA_MARGIN)
    assert told.done() == all_but(*BOTH)


# a platform's requests for tokens

PLATFORM = "wxplatform"


def of_a_platform(code: int, refused: str) -> Report:
    """A run of two accounts of a platform, of which one (or the platform) is refused its tokens."""
    simulator = Simulator(
        wall=lambda: NOW, component=(PLATFORM, "practice"), refuse_token={refused: code}
    )
    platform = Platform(PLATFORM, "practice", simulator.ticket)
    accounts = [
        platform.account(appid, simulator.refresh_token(appid), lambda _: None) for appid in (A, B)
    ]
    providers = {each.appid: provider_for(each) for each in accounts}
    asked = Scope(providers, (ONE,), *DAYS)
    return run(simulator, asked, MemorySink(), now=NOW, attempts=3)


@pytest.mark.parametrize("code", codes(AUTHORIZER_ERRORS, Action.STOP_ACCOUNT))
def test_a_code_of_an_accounts_token_stops_the_account_and_not_its_neighbour(code: int) -> None:
    report = of_a_platform(code, A)
    assert (report.state, report.windows.done, report.windows.failed) == ("partial", 9, 9)
    (failure,) = report.failures
    assert (failure.appid, failure.code) == (A, code)
    said = sentence(AUTHORIZER_ERRORS, code, failure.rid)
    assert report.stopped == {A: f"{A}: no access token: {said}"}


@pytest.mark.parametrize("code", [40030, 61023])
def test_a_refused_refresh_token_names_the_account_that_must_authorise_again(code: int) -> None:
    said = of_a_platform(code, A).stopped[A]
    assert said.startswith(f"{A}: ")
    assert "ask the account's administrator to authorise the platform again" in said


@pytest.mark.parametrize("code", codes(COMPONENT_ERRORS, Action.STOP_ACCOUNT))
def test_a_code_of_the_platforms_own_token_stops_its_accounts_and_names_it(code: int) -> None:
    report = of_a_platform(code, PLATFORM)
    assert (report.state, report.requests) == ("failed", 0)
    assert report.stopped.keys() == {A, B}
    for said in report.stopped.values():
        assert f"platform {PLATFORM}: errcode {code} ({TEXTS[code]})" in said
        assert COMPONENT_ERRORS[code].advice in said


def test_a_limited_account_of_a_platform_is_asked_for_its_token_again_before_it_stops() -> None:
    report = of_a_platform(50002, A)
    assert (report.state, report.windows.done, report.windows.failed) == ("partial", 9, 9)
    assert report.stopped[A].startswith(f"{A}: no access token after 3 attempts: errcode 50002 (")


@pytest.mark.parametrize("code", codes(COMPONENT_ERRORS, Action.NOT_READY))
def test_a_refused_ticket_is_waited_for_ten_minutes(code: int) -> None:
    report = of_a_platform(code, PLATFORM)
    assert (report.state, report.requests) == ("failed", 0)
    assert 600 <= report.seconds < 700
    assert all("no new ticket came for 10 minutes" in said for said in report.stopped.values())
