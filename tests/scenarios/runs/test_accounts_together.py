"""Many accounts in one run: nobody holds up the others, and the list may change."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester import events
from harvester.api import resolve
from harvester.engine.scope import Scope
from harvester.errors import UsageError
from harvester.ledger import FILE_NAME
from harvester.model import Account, Request, Response
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import FakeTransport, Faults, MemorySink, Simulator
from harvester.wechat.codes import ERRORS
from harvester.wechat.endpoint import JsonEndpoint
from tests.support import A, B, assert_exactly_the_truth, noon, run, scope, stored

NOW = noon("2024-06-15")
MANY = tuple(f"wx{number:016x}" for number in range(1, 81))
STORM, FULL, DEAD, SLOW = MANY[10], MANY[30], MANY[50], MANY[70]
BAD = (STORM, FULL, DEAD, SLOW)
DAYS = (date(2024, 1, 1), date(2024, 4, 30))
ONE_ROW = JsonEndpoint("mine", "/datacube/getusercumulate", date(2020, 1, 1), errors=ERRORS)


class Slow(FakeTransport):
    """A transport whose server takes 10 s an answer of one account; counts what is in flight."""

    def __init__(self, simulator: Simulator | None = None, slow: str | None = None) -> None:
        super().__init__(simulator or Simulator(), latency=0.05)
        self._slow = slow
        self._owner: dict[str, str] = {}
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def send(self, request: Request, leave: Any = None) -> Response:
        if not request.query:
            response = await super().send(request)
            answer = json.loads(response.body)
            if "access_token" in answer:
                self._owner[answer["access_token"]] = json.loads(request.body or b"")["appid"]
            return response
        appid = self._owner[dict(request.query)["access_token"]]
        self.now[appid] += 1
        self.most[appid] = max(self.most[appid], self.now[appid])
        if appid == self._slow:
            await anyio.sleep(10.0)
        response = await super().send(request)
        self.now[appid] -= 1
        return response


def others_finish(*, ill: bool) -> float:
    """When the last window of the 76 good accounts is safe, in seconds."""
    finished: dict[str, float] = {}
    simulator = Simulator()
    if ill:
        simulator = Simulator(
            faults_of={STORM: Faults(busy=1.0)}, refuse={FULL: 45009}, refuse_token={DEAD: 40125}
        )

    def note(event: Any) -> None:
        if isinstance(event, events.Committed):
            finished.update({each.appid: simulator.wall() - NOW for each in event.windows})

    report = run(
        Slow(simulator, SLOW if ill else None), scope(*DAYS, MANY, [ONE_ROW]), MemorySink(),
        now=NOW, rate="300/min", concurrency=8, on_event=note,
    )  # fmt: skip
    assert report.stopped.keys() == ({DEAD} if ill else set())
    return max(at for appid, at in finished.items() if appid not in BAD)


@pytest.mark.thorough
def test_a_storm_a_quota_a_dead_secret_and_a_slow_server_cost_the_others_nothing() -> None:
    """Of eight slots the slow one has at most two until it is known; then its turns are rare."""
    well = others_finish(ill=False)
    assert others_finish(ill=True) < 1.05 * well


def most_in_flight(asked: Scope, **how: Any) -> Counter[str]:
    """What each account had in flight at most, in a run with 16 slots."""
    transport = Slow()
    report = run(transport, asked, MemorySink(), now=NOW, concurrency=16, **how)
    assert report.state == "complete"
    return transport.most


@pytest.mark.parametrize("cap", [1, 3])
def test_an_account_has_no_more_in_flight_than_its_cap(cap: int) -> None:
    most = most_in_flight(scope(*DAYS, (A, B)), account_concurrency=cap)
    assert most == {A: cap, B: cap}


def test_an_accounts_own_cap_is_its_alone() -> None:
    most = most_in_flight(replace(scope(*DAYS, (A, B)), caps={A: 2}))
    assert most[A] == 2
    assert most[B] >= 8


@pytest.mark.thorough
def test_without_a_cap_each_account_has_an_equal_part() -> None:
    most = most_in_flight(scope(*DAYS, MANY[:4])).values()
    assert max(most) <= 16
    assert min(most) >= 4


def test_a_cap_that_is_no_number_is_refused_before_anything_is_sent() -> None:
    for cap in (0, -1, True, 1.5):
        one = Account(A, "s", concurrency=cap)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=f"account {A}: concurrency"):
            resolve(one, "getusersummary", "2024-01-01", "2024-01-02", {})


def test_a_list_that_changes_between_runs_is_no_problem(tmp_path: Path) -> None:
    simulator, (one, two, three) = Simulator(), MANY[:3]
    days = (date(2024, 1, 1), date(2024, 1, 10))
    for appids, requests in (((one, two), 20), ((two, three), 10), ((three, one), 0)):
        sink = JsonLines(tmp_path)
        report = run(simulator, scope(*days, appids), sink, tmp_path / FILE_NAME, now=NOW)
        assert (report.state, report.requests) == ("complete", requests)
    assert_exactly_the_truth(stored(tmp_path), simulator, (one, two, three), *days)


def test_the_report_names_each_account_that_stopped_and_why() -> None:
    one, two, three, four = MANY[:4]
    simulator = Simulator(refuse_token={one: 40164, two: 40125}, refuse={three: 48001})
    asked = scope(date(2024, 1, 1), date(2024, 1, 3), MANY[:4])
    report = run(simulator, asked, MemorySink(), now=NOW)
    assert (report.state, report.windows.done, report.windows.failed) == ("partial", 3, 9)
    assert report.stopped.keys() == {one, two, three}
    assert "allow list" in report.stopped[one]
    assert "secret is wrong" in report.stopped[two]
    assert "only verified accounts are" in report.stopped[three]
    assert {failure.appid for failure in report.failures} == {one, two, three}
    assert four not in report.stopped
