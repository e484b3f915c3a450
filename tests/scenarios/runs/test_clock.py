"""The wall clock is set back and forth, by minutes and by days, during runs and between them.

WeChat's clock is another one and goes on; so does the event loop's, which rates and tokens go by.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harvester import events
from harvester.base.dates import QUOTA_MARGIN, Days, china, next_quota_day
from harvester.engine.quota import Budget
from harvester.engine.run import SET_BACK
from harvester.events import Event, Report
from harvester.ledger import FILE_NAME, Spent, SqliteLedger
from harvester.model import Endpoint, Request, Response, Token
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import FakeTransport, Simulator, VirtualTimeLoop, run_virtual
from harvester.tokens.shared import RENEW_BEFORE, StoredToken
from harvester.tokens.stores import FileStore
from harvester.wechat.interfaces import INTERFACES
from tests.support import (
    A,
    as_multiset,
    assert_exactly_the_truth,
    at,
    bare,
    days,
    engine_run,
    noon,
    scope,
    stored,
    virtual,
)

SUMMARY, GROWING = INTERFACES["getarticlesummary"], INTERFACES["getarticletotaldetail"]
WEEK = (date(2026, 3, 1), date(2026, 3, 7))
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
NOW = at("2026-03-11", 23.9)
BEGIN, END = date(2026, 1, 1), date(2026, 2, 19)  # 50 days, all of them final long since
STEPS = (-3 * DAY, -DAY, -HOUR, -10 * MINUTE, 10 * MINUTE, HOUR, DAY, 3 * DAY)


class World:
    """A WeChat with the right time, and what was sent to it by a machine with another one."""

    def __init__(self, **how: Any) -> None:
        self.simulator = Simulator(**how)
        self.passed = 0.0
        self.off = 0.0
        self.departures: list[float] = []
        self.booked: list[date] = []
        self.most = 0
        self.steps: dict[int, float] = {}
        self.notes: list[str] = []
        self._loop: VirtualTimeLoop | None = None

    def right(self) -> float:
        """The right Unix time."""
        return NOW + self.passed + (self._loop.time() if self._loop else 0.0)

    async def send(self, request: Request, leave: Any = None) -> Response:
        """The answer; the clock may be set before it comes."""
        assert self._loop is not None
        if request.path.startswith("/datacube/"):
            self._count(china(self._loop.wall()).date())
            step = self.steps.pop(len(self.departures), 0.0)
            self.off += step
            self._loop.set_wall(self._loop.wall() + step)
            self._look(china(self._loop.wall()).date())
        return await FakeTransport(self.simulator, latency=0.01).send(request)

    def _look(self, today: date) -> None:
        """The clock is believed as it is: on a day that has not come nobody has called."""
        self.booked = [min(day, today) for day in self.booked]

    def _count(self, today: date) -> None:
        self._look(today)
        self.departures.append(self.right())
        self.booked.append(today)
        self.most = max(self.most, self.booked.count(today))

    def observe(self, event: Event) -> None:
        if isinstance(event, events.RunStarted):
            self.notes += event.notes

    def run(
        self, folder: Path, *endpoints: Endpoint, days: Days = (BEGIN, END), **how: Any
    ) -> Report:
        """One run, by the machine's clock."""
        self._look(china(self.right() + self.off).date())

        async def main(loop: VirtualTimeLoop) -> Report:
            self._loop = loop
            self.simulator.wall = self.right
            asked = scope(*days, (A,), endpoints or (SUMMARY,))
            report = await engine_run(
                loop, self, asked, JsonLines(folder), folder / FILE_NAME, on_event=self.observe,
                **{"rate": "1000/s", "concurrency": 1, **how},
            )  # fmt: skip
            self.passed += loop.time()
            self._loop = None
            return report

        return run_virtual(main, self.right() + self.off)


# calls


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_clock_does_no_day_has_more_calls_than_its_budget_and_nothing_is_lost(
    tmp_path: Path, seed: int
) -> None:
    draw = Random(seed)
    world = World()
    quota = draw.choice((7, 12, 20))
    ends = 0
    for _ in range(60):
        sent = len(world.departures)
        if draw.random() < 0.7:
            world.steps = {sent + draw.randint(1, quota): draw.choice(STEPS)}
        report = world.run(tmp_path, daily_quota=quota, wait=draw.random() < 0.3)
        assert report.state in ("complete", "waiting")
        if report.state == "complete":
            ends += 1
            if ends > 1 or draw.random() < 0.5:
                break
        world.off += draw.choice((*STEPS, 0.0, 0.0))
        world.passed += draw.choice((10 * MINUTE, HOUR, DAY))
    assert ends
    assert world.most <= quota
    records = stored(tmp_path, "getarticlesummary")
    assert_exactly_the_truth(records, world.simulator, (A,), BEGIN, END)


def test_a_clock_that_jumps_ahead_and_back_within_a_run_gives_no_second_budget(
    tmp_path: Path,
) -> None:
    world = World()
    world.steps = {5: DAY, 9: -DAY}
    report = world.run(tmp_path, daily_quota=12)
    assert (report.state, len(world.departures)) == ("waiting", 12)


def test_calls_of_days_that_have_not_come_count_as_todays_and_for_no_other(tmp_path: Path) -> None:
    world = World()
    world.off = 3 * DAY
    assert world.run(tmp_path, daily_quota=12).requests == 12
    assert not any(SET_BACK in note for note in world.notes)
    world.off = 0.0
    report = world.run(tmp_path, daily_quota=15)
    assert (report.state, report.requests) == ("waiting", 3)
    assert SET_BACK in world.notes
    for number in range(1, 4):  # on the days that it was ahead by, all of them are to be had
        world.passed = number * DAY
        world.notes.clear()
        assert world.run(tmp_path, daily_quota=10).requests == 10
        assert SET_BACK not in world.notes


@pytest.mark.thorough
def test_who_sleeps_until_midnight_does_not_sleep_for_years_if_the_clock_is_set_back(
    tmp_path: Path,
) -> None:
    world = World()
    world.off = 3000 * DAY
    world.steps = {7: -3000 * DAY}  # with the last call: at its budget it is parked until then
    report = world.run(tmp_path, daily_quota=7, wait=True)
    assert report.state == "complete"
    assert report.seconds < 8 * DAY
    assert world.most == 7


@virtual()
async def test_rebooking_adds_to_what_today_has(tmp_path: Path) -> None:
    day = date(2026, 3, 11)
    near = [day + timedelta(days=n) for n in (-1, 0, 1, 2, 9)]
    async with SqliteLedger(tmp_path / "l") as ledger:
        for number, each in enumerate(near[:4]):
            await ledger.commit([], {}, [Spent("a", "e", each, (0, 1, 10, 100)[number])])
        await ledger.commit([], {}, [Spent("b", "e", near[4], 5)])
        assert [await ledger.fold_future_calls(day), await ledger.fold_future_calls(day)] == [
            True,
            False,
        ]
        found = [await ledger.spent(near[n]) for n in (0, 1, 2, 4)]
    assert found == [{("a", "e"): 0}, {("a", "e"): 111, ("b", "e"): 5}, {}, {}]


def test_a_budget_knows_what_was_spent_on_either_side_of_a_midnight() -> None:
    budget = Budget(10, 4, NOW)
    midnight = next_quota_day(NOW)
    for _ in range(2):
        budget.spend()
    assert budget.left(midnight) == 10
    for _ in range(3):
        budget.spend()
    before = midnight - QUOTA_MARGIN - 1
    assert budget.left(before) == 1  # 6 and 3 were spent by now
    assert budget.left(before) == 1
    budget.spend()
    assert [budget.left(moment) for moment in (before - 2 * DAY, midnight)] == [0, 10]
    budget.learn(10, 8, midnight)
    assert budget.left(before) <= 8


# the rate


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.thorough
def test_the_rate_is_kept_by_a_clock_that_nobody_sets(tmp_path: Path, seed: int) -> None:
    draw = Random(seed)
    world = World()
    world.steps = {draw.randint(1, 50): draw.choice(STEPS) for _ in range(8)}
    report = world.run(tmp_path, rate="20/min", concurrency=8)
    assert report.state == "complete"
    times = world.departures
    assert all(behind - first >= 60.0 for first, behind in zip(times, times[20:], strict=False))
    assert report.seconds < 200


# tokens


@pytest.mark.parametrize("step", STEPS)
def test_a_token_of_this_process_is_none_of_the_clocks_business(
    tmp_path: Path, step: float
) -> None:
    world = World(token_lifetime=7200.0)
    world.steps = {10: step, 20: -step}
    report = world.run(tmp_path)
    assert (report.state, report.token_fetches, report.retries) == ("complete", 1, 0)


class Gives:
    """A provider that numbers its tokens."""

    def __init__(self) -> None:
        self.given = 0

    async def fetch(self, send: Any) -> Token:
        self.given += 1
        return Token(f"token-{self.given}", 7200.0)


@pytest.mark.parametrize("step", STEPS)
@virtual(NOW)
async def test_a_shared_token_is_never_believed_for_longer_than_it_lives(
    loop: VirtualTimeLoop, tmp_path: Path, step: float
) -> None:
    provider, store = Gives(), FileStore(tmp_path / "tokens")
    try:
        for _ in range(2):  # the second one adopts what the first has left there
            token = StoredToken("wx1", provider, None, store, loop.wall)  # type: ignore[arg-type]
            await token.get()
            loop.set_wall(loop.wall() + step)
            await token.get()
            await asyncio.sleep(7200.0 - RENEW_BEFORE + 1)
            assert token.due()
            await token.get()
    finally:
        await store.close()


# figures that can still change


@pytest.mark.thorough
@pytest.mark.parametrize("behind", [-3 * DAY, -DAY, -HOUR])
def test_a_clock_that_was_behind_asks_too_often_and_loses_nothing(
    tmp_path: Path, behind: float
) -> None:
    world = World()
    world.off = behind
    first = world.run(tmp_path, GROWING, days=WEEK)
    assert (first.state, first.provisional) == ("complete", 7)
    world.off = 0.0
    world.passed += 5 * DAY
    assert world.run(tmp_path, GROWING, days=WEEK).requests == 7
    world.off = behind  # what is provisional stays so
    assert world.run(tmp_path, GROWING, days=WEEK).requests == 7
    world.off = 0.0
    world.passed += 40 * DAY
    last = world.run(tmp_path, GROWING, days=WEEK)
    assert (last.state, last.provisional) == ("complete", 0)
    assert world.run(tmp_path, GROWING, days=WEEK).requests == 0
    world.simulator.wall = world.right
    truth = [
        row for day in days(*WEEK) for row in world.simulator.truth_of(GROWING.name, A, day, day)
    ]
    assert as_multiset((A, "", bare(row)) for row in stored(tmp_path, GROWING.name)) == as_multiset(
        (A, "", row) for row in truth
    )


def test_what_a_clock_that_was_ahead_took_for_final_is_told_and_refreshed(tmp_path: Path) -> None:
    world, retained = World(), INTERFACES["getweanalysisappiddailyretaininfo"]
    world.off = 60 * DAY
    assert world.run(tmp_path, retained, days=WEEK).provisional == 0
    world.off = 0.0
    world.run(tmp_path, retained, days=WEEK)
    assert SET_BACK in world.notes
    report = world.run(tmp_path, retained, days=WEEK, refresh=True)
    assert (report.requests, report.provisional) == (7, 7)


def test_a_moment_of_the_machine_before_anything_was_stored_is_no_error(tmp_path: Path) -> None:
    world = World()
    world.off = -(noon("2026-03-11") - noon("2026-02-21"))
    assert world.run(tmp_path).state == "complete"
