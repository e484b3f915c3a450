from __future__ import annotations

import asyncio
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.coverage import DONE, FAILED, WAITING
from harvester.datacube import INTERFACES
from harvester.endpoint import JsonEndpoint
from harvester.errors import AttemptError, NetworkError, SinkError
from harvester.ledger import SqliteLedger
from harvester.model import Batch, Response
from harvester.plan import QUOTA_MARGIN, days_in
from harvester.sinks.base import Written
from harvester.sinks.lines import JsonLines
from harvester.testing import (
    FakeTransport,
    Faults,
    MemorySink,
    Simulator,
    VirtualTimeLoop,
    run_virtual,
)
from harvester.writer import CHANNEL_ITEMS
from tests.support import (
    JANUARY,
    A,
    B,
    Script,
    assert_exactly_the_truth,
    at,
    days,
    engine_run,
    noon,
    scope,
    stored,
)

NOW = noon("2024-06-15")
_refused = Response(200, b'{"errcode":40001,"errmsg":"invalid credential"}')


def test_a_range_of_two_accounts_is_harvested_exactly(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        report = await engine_run(
            loop, simulator, scope(*JANUARY, (A, B)), JsonLines(tmp_path), tmp_path / "l"
        )
        assert report.state == "complete"
        assert (report.windows.planned, report.windows.done) == (62, 62)
        assert report.requests == 62
        assert report.token_fetches == 2
        assert_exactly_the_truth(stored(tmp_path), simulator, (A, B), *JANUARY)

    run_virtual(main, NOW)


def test_a_finished_job_sends_nothing_when_it_is_run_again(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        asked = scope(*JANUARY)
        await engine_run(loop, simulator, asked, JsonLines(tmp_path), tmp_path / "l")
        sent = simulator.counts.total()
        report = await engine_run(loop, simulator, asked, JsonLines(tmp_path), tmp_path / "l")
        assert simulator.counts.total() == sent
        assert (report.state, report.windows.skipped, report.requests) == ("complete", 31, 0)
        assert report.token_fetches == 0

    run_virtual(main, NOW)


def test_only_the_gaps_are_asked_for(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        middle = scope(date(2024, 1, 10), date(2024, 1, 12))
        await engine_run(loop, simulator, middle, JsonLines(tmp_path), tmp_path / "l")
        report = await engine_run(
            loop, simulator, scope(*JANUARY), JsonLines(tmp_path), tmp_path / "l"
        )
        assert (report.windows.skipped, report.windows.done, report.requests) == (3, 28, 28)
        assert set(simulator.served.values()) == {1}
        assert_exactly_the_truth(stored(tmp_path), simulator, (A,), *JANUARY)

    run_virtual(main, NOW)


def test_refresh_replaces_what_is_stored(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        asked = scope(*JANUARY, (A, B))
        await engine_run(
            loop, Simulator(seed=1, wall=loop.wall), asked, JsonLines(tmp_path), tmp_path / "l"
        )
        changed = Simulator(seed=2, wall=loop.wall)
        report = await engine_run(
            loop, changed, asked, JsonLines(tmp_path), tmp_path / "l", refresh=True
        )
        assert (report.windows.skipped, report.windows.done) == (0, 62)
        assert_exactly_the_truth(stored(tmp_path), changed, (A, B), *JANUARY)

    run_virtual(main, NOW)


def test_every_kind_of_broken_answer_is_tried_again(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        faults = Faults(
            busy=0.1, http_500=0.1, html=0.1, empty=0.1, cut=0.1, reset=0.1, control=0.3
        )
        simulator = Simulator(wall=loop.wall, faults=faults)
        report = await engine_run(loop, simulator, scope(*JANUARY), MemorySink(), attempts=60)
        assert report.state == "complete"
        assert report.retries == report.requests - 31 > 10

    run_virtual(main, NOW)


def test_a_window_fails_for_good_after_the_last_attempt(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        def answer(body: dict[str, str]) -> Any:
            bad = body["begin_date"] == "2024-01-05"
            return {"errcode": -1, "errmsg": "system error rid: 1-2-3"} if bad else {"list": []}

        transport = Script(answer)
        report = await engine_run(
            loop, transport, scope(*JANUARY), MemorySink(), tmp_path / "l", attempts=3
        )
        assert (report.state, report.windows.failed, report.windows.done) == ("partial", 1, 30)
        assert transport.asked.count("2024-01-05") == 3
        (failure,) = report.failures
        assert failure.begin == failure.end == date(2024, 1, 5)
        assert failure.error == (
            "errcode -1 (system error): WeChat is busy [rid: 1-2-3], after 3 attempts"
        )

    run_virtual(main, NOW)


@pytest.mark.parametrize("code", [61500, 61501, 12345])
def test_a_refused_window_fails_at_once_with_code_message_and_rid(
    tmp_path: Path, code: int
) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        transport = Script(lambda body: {"errcode": code, "errmsg": "so it is rid: ab-cd-ef"})
        report = await engine_run(
            loop, transport, scope(date(2024, 1, 1), date(2024, 1, 1)), MemorySink(), tmp_path / "l"
        )
        assert report.state == "partial"
        assert len(transport.asked) == 1
        assert f"errcode {code} (so it is)" in report.failures[0].error
        assert report.failures[0].error.endswith("[rid: ab-cd-ef]")

    run_virtual(main, NOW)


def test_a_retired_interface_is_stopped_at_once_and_its_successors_are_named() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, retired=True)
        asked = scope(date(2015, 1, 1), date(2023, 12, 31))
        report = await engine_run(loop, simulator, asked, MemorySink(), concurrency=4)
        assert report.state == "partial"
        assert report.requests <= 4
        assert report.windows.failed == report.windows.planned == 3287
        (failure,) = {failure.error.split(" [rid")[0] for failure in report.failures}
        assert "47009" in failure
        assert "getarticleread, getarticleshare, getbizsummary, getarticletotaldetail" in failure

    run_virtual(main, NOW)


@pytest.mark.parametrize("code", [48001, 40013, 40125, 40164, 50002])
def test_an_account_that_somebody_must_see_to_stops_and_the_others_go_on(code: int) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        good = FakeTransport(Simulator(wall=loop.wall), latency=0.01)
        bad = Script(lambda body: {"errcode": code, "errmsg": "no"})

        class Both:
            async def send(self, request: Any, leave: Any = None) -> Any:
                first = B in str(request.body) or "B" in str(request.query)
                return await (bad if first else good).send(request)

        bad._token = lambda: {"access_token": "B", "expires_in": 7200}
        sink = MemorySink()
        report = await engine_run(loop, Both(), scope(*JANUARY, (A, B)), sink, concurrency=2)
        assert report.state == "partial"
        assert (report.windows.done, report.windows.failed) == (31, 31)
        assert {window.appid for window in sink.windows} == {A}
        assert len(bad.asked) <= 2

    run_virtual(main, NOW)


def test_a_run_whose_only_account_stops_has_failed() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, secret="another")
        report = await engine_run(loop, simulator, scope(*JANUARY), MemorySink())
        assert (report.state, report.requests, report.token_fetches) == ("failed", 0, 1)
        (failure,) = report.failures
        assert (failure.begin, failure.end) == JANUARY
        assert "40125" in failure.error
        assert "the secret is wrong" in failure.error

    run_virtual(main, NOW)


def test_a_storm_on_one_account_does_not_hold_up_the_other() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        stormy = Faults(busy=1.0)
        simulator = Simulator(wall=loop.wall, faults_of={B: stormy})
        done: list[float] = []

        def observe(event: events.Event) -> None:
            if isinstance(event, events.Committed):
                done.extend(loop.time() for window in event.windows if window.appid == A)

        asked = scope(date(2023, 1, 1), date(2023, 12, 31), (A, B))
        report = await engine_run(
            loop, simulator, asked, MemorySink(), rate="20/s", concurrency=4, on_event=observe
        )
        assert len(done) == 365
        assert max(done) < 365 / 20 * 1.03 + 0.2  # A's own rate is all that held it up
        assert report.windows.failed == 365

    run_virtual(main, NOW)


def test_a_token_that_expires_under_64_tasks_costs_one_fetch() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        transport = FakeTransport(simulator, latency=0.5)
        revoked: list[float] = []

        def revoke() -> None:
            assert transport.in_flight == 64
            revoked.append(loop.time())
            simulator.revoke(A)

        loop.call_later(2.25, revoke)
        report = await engine_run(
            loop, transport, scope(date(2023, 1, 1), date(2023, 12, 31)), MemorySink(),
            concurrency=64,
        )  # fmt: skip
        assert revoked
        assert report.state == "complete"
        assert simulator.counts["token"] == report.token_fetches == 2
        assert 0 < simulator.counts["errcode 40001"] <= 64

    run_virtual(main, NOW)


def test_a_short_lived_token_is_renewed_before_it_ends() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, token_lifetime=20.0)
        report = await engine_run(
            loop, simulator, scope(date(2023, 1, 1), date(2023, 12, 31)), MemorySink(), rate="5/s"
        )
        assert report.state == "complete"
        assert simulator.counts["errcode 42001"] == 0
        assert 3 < simulator.counts["token"] < 12

    run_virtual(main, NOW)


def test_a_second_refusal_of_a_fresh_token_stops_the_account_and_says_why() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        serial = iter(range(1000))
        transport = Script(
            lambda body: {"errcode": 40001, "errmsg": "invalid credential rid: 1-1-1"},
            token=lambda: {"access_token": f"T{next(serial)}", "expires_in": 7200},
        )
        report = await engine_run(loop, transport, scope(*JANUARY), MemorySink())
        assert report.state == "failed"
        assert transport.tokens == 2
        assert "another program may be fetching tokens" in report.failures[0].error
        assert "40001" in report.failures[0].error

    run_virtual(main, NOW)


def test_stragglers_of_an_old_refusal_do_not_condemn_the_same_token_handed_out_again() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        good = False

        class Slow(Script):
            async def send(self, request: Any, leave: Any = None) -> Any:
                nonlocal good
                if request.path.startswith("/cgi-bin/"):
                    await asyncio.sleep(0.05)
                    good = self.tokens > 0
                    return await super().send(request)
                verdict = good
                await asyncio.sleep(0.02 * (len(self.asked) % 8))
                answer = await super().send(request)
                return answer if verdict else _refused

        transport = Slow(lambda body: {"list": []})
        report = await engine_run(loop, transport, scope(*JANUARY), MemorySink(), concurrency=8)
        assert report.state == "complete"
        assert report.token_fetches == 2

    run_virtual(main, NOW)


def test_failures_that_differ_in_their_rid_alone_are_one_entry(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        serial = iter(range(10_000))
        transport = Script(
            lambda body: {"errcode": 61500, "errmsg": f"date format error rid: {next(serial)}-a-b"}
        )
        asked = scope(date(2015, 1, 1), date(2016, 12, 31))
        report = await engine_run(loop, transport, asked, MemorySink(), tmp_path / "l")
        (failure,) = report.failures
        assert (failure.begin, failure.end) == (date(2015, 1, 1), date(2016, 12, 31))
        assert "61500" in failure.error
        assert "5 windows were refused in a row" in failure.error
        assert "[rid: " in failure.error
        async with SqliteLedger(tmp_path / "l", readonly=True) as ledger:
            (calendar,) = (await ledger.calendars([A])).values()
        assert calendar.count(bytes([FAILED])) == days_in((date(2015, 1, 1), date(2016, 12, 31)))

    run_virtual(main, NOW)


def test_longer_windows_are_replaced_as_a_whole(tmp_path: Path) -> None:
    week = JsonEndpoint("week", "/datacube/week", date(2024, 1, 1), span=7)

    def answer(body: dict[str, str]) -> Any:
        begin, end = map(date.fromisoformat, (body["begin_date"], body["end_date"]))
        assert (end - begin).days < 7
        return {"list": [{"ref_date": str(day)} for day in days(begin, end)]}

    async def main(loop: VirtualTimeLoop) -> None:
        for begin, end, refresh in (
            (date(2024, 1, 1), date(2024, 1, 10), False),
            (date(2024, 1, 1), date(2024, 1, 17), False),
            (date(2024, 1, 4), date(2024, 1, 12), True),
            (date(2024, 1, 16), date(2024, 1, 20), True),
        ):
            asked = scope(begin, end, endpoints=[week])
            report = await engine_run(
                loop, Script(answer), asked, JsonLines(tmp_path), tmp_path / "l", refresh=refresh
            )
            windows = report.windows
            assert windows.planned == windows.skipped + windows.done
            found = [record["ref_date"] for record in stored(tmp_path, "week")]
            assert len(found) == len(set(found))
        assert set(found) >= {str(day) for day in days(date(2024, 1, 1), date(2024, 1, 20))}

    run_virtual(main, NOW)


def test_the_daily_quota_of_wechat_ends_the_run_as_waiting_until_midnight_in_china(
    tmp_path: Path,
) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, daily_quota=10)
        report = await engine_run(
            loop, simulator, scope(*JANUARY), MemorySink(), tmp_path / "l", concurrency=2
        )
        assert report.state == "waiting"
        assert (report.windows.done, report.windows.waiting) == (10, 21)
        assert report.until == at("2024-06-16", 0) + QUOTA_MARGIN
        assert report.requests <= 12
        async with SqliteLedger(tmp_path / "l", readonly=True) as ledger:
            (calendar,) = (await ledger.calendars([A])).values()
        assert (calendar.count(DONE), calendar.count(bytes([WAITING]))) == (10, 21)

    run_virtual(main, NOW)


def test_a_run_that_waits_sleeps_through_quota_resets() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, daily_quota=10)
        report = await engine_run(loop, simulator, scope(*JANUARY), MemorySink(), wait=True)
        assert report.state == "complete"
        assert at("2024-06-18", 0) <= loop.wall() < at("2024-06-18", 0.1)

    run_virtual(main, NOW)


def test_a_daily_quota_of_our_own_is_never_passed_even_over_two_runs(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, daily_quota=10)
        sink = MemorySink()
        for done in (10, 0):
            report = await engine_run(
                loop, simulator, scope(*JANUARY), sink, tmp_path / "l", daily_quota=10
            )
            assert (report.state, report.windows.done) == ("waiting", done)
        assert simulator.counts["errcode 45009"] == 0
        assert simulator.counts["data"] == 10

    run_virtual(main, NOW)


def test_the_minute_limit_pauses_all_tasks_of_the_account_to_the_next_minute() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, minute_limit=(50, 60.0))
        report = await engine_run(
            loop, simulator, scope(date(2024, 1, 1), date(2024, 4, 9)), MemorySink(),
            rate="20/s", concurrency=8,
        )  # fmt: skip
        assert report.state == "complete"
        # Each minute lets 50 through; what was in flight when the first was refused is refused too.
        assert simulator.counts["errcode 45011"] <= 2 * 8
        assert report.seconds > 60

    run_virtual(main, NOW)


def test_yesterday_before_eight_ends_as_waiting_not_as_failed() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        report = await engine_run(
            loop, simulator, scope(date(2024, 6, 10), date(2024, 6, 14)), MemorySink()
        )
        assert report.state == "waiting"
        assert (report.windows.done, report.windows.waiting, report.windows.failed) == (4, 1, 0)
        assert report.until == at("2024-06-15", 8)
        assert simulator.counts["errcode 61503"] == 0

    run_virtual(main, at("2024-06-15", 7.5))


def test_a_run_that_waits_asks_for_yesterday_after_eight() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        report = await engine_run(
            loop, simulator, scope(date(2024, 6, 10), date(2024, 6, 14)), MemorySink(), wait=True
        )
        assert report.state == "complete"
        assert simulator.counts["errcode 61503"] == 0
        assert loop.wall() == pytest.approx(at("2024-06-15", 8), abs=5)

    run_virtual(main, at("2024-06-15", 7.5))


def test_figures_that_are_not_ready_wait() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        transport = Script(lambda body: {"errcode": 61503, "errmsg": "data not ready"})
        report = await engine_run(
            loop, transport, scope(date(2024, 6, 14), date(2024, 6, 14)), MemorySink()
        )
        assert (report.state, report.windows.waiting) == ("waiting", 1)
        assert report.until == pytest.approx(loop.wall() + 1800, abs=1)

    run_virtual(main, NOW)


def test_a_lost_network_stops_the_run_and_nothing_fails_for_good() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        lost = False

        def answer(body: dict[str, str]) -> Any:
            return AttemptError("no connection") if lost else {"list": [{"msgid": "1_1"}]}

        def lose() -> None:
            nonlocal lost
            lost = True

        loop.call_later(0.2, lose)
        sink = MemorySink()
        with pytest.raises(NetworkError, match="check the network") as caught:
            await engine_run(
                loop, Script(answer), scope(date(2020, 1, 1), date(2023, 12, 31)), sink, rate=100
            )
        assert caught.value.report is not None
        assert caught.value.report.state == "failed"
        assert caught.value.report.windows.failed == 0
        assert caught.value.report.windows.done == len(sink.windows) > 0

    run_virtual(main, NOW)


class _FailingSink(MemorySink):
    """Takes so many writes, then its disk is full."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self._good = good

    async def write(self, batches: Any, fence: Any) -> Written:
        if not self._good:
            raise SinkError("memory could not be written: the disk is full")
        self._good -= 1
        return await super().write(batches, fence)


def test_a_sink_that_fails_stops_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        asked = scope(*JANUARY)
        failing = _FailingSink(3)
        with pytest.raises(SinkError) as caught:
            await engine_run(loop, simulator, asked, failing, tmp_path / "l", rate=20)
        done = len(failing.windows)
        assert 0 < done < 31
        assert caught.value.report is not None
        assert caught.value.report.windows.done == done
        failing._good = 1000
        report = await engine_run(loop, simulator, asked, failing, tmp_path / "l")
        assert report.windows.skipped == done
        assert_exactly_the_truth(failing.records, simulator, (A,), *JANUARY)

    run_virtual(main, NOW)


def test_a_second_sink_is_filled_from_the_first_by_the_next_run(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        one, two = MemorySink("one"), MemorySink("two")
        half = scope(date(2024, 1, 1), date(2024, 1, 15))
        await engine_run(loop, simulator, half, one, tmp_path / "l")
        report = await engine_run(loop, simulator, scope(*JANUARY), [one, two], tmp_path / "l")
        assert (report.windows.skipped, report.requests) == (15, 16)  # no day is asked for twice
        for sink in (one, two):
            assert_exactly_the_truth(sink.records, simulator, (A,), *JANUARY)

    run_virtual(main, NOW)


def test_a_slow_sink_slows_the_requests() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        class Slow(MemorySink):
            async def write(self, batches: Any, fence: Any) -> Written:
                await asyncio.sleep(10 * len(batches))
                return await super().write(batches, fence)

        simulator = Simulator(wall=loop.wall)
        sink = Slow()
        ahead = 0

        def observe(event: events.Event) -> None:
            nonlocal ahead
            if isinstance(event, events.Committed):
                ahead = max(ahead, simulator.counts["data"] - len(sink.windows))

        await engine_run(
            loop, simulator, scope(date(2014, 12, 1), date(2024, 5, 31)), sink, on_event=observe
        )
        assert 0 < ahead <= CHANNEL_ITEMS + 16 < 1700  # what lies there, and who waits to put

    run_virtual(main, NOW)


def test_a_stop_finishes_what_is_in_flight_and_commits_it(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall)
        stop = asyncio.Event()
        loop.call_later(1.0, stop.set)
        sink = MemorySink()
        transport = FakeTransport(simulator, latency=0.3)
        report = await engine_run(
            loop, transport, scope(*JANUARY), sink, tmp_path / "l", rate="10/s", stop=stop
        )
        assert report.state == "interrupted"
        assert report.requests == len(sink.windows) == report.windows.done
        assert 0 < report.windows.done < 31
        report = await engine_run(loop, simulator, scope(*JANUARY), sink, tmp_path / "l")
        assert report.windows.skipped + report.windows.done == 31
        assert set(simulator.served.values()) == {1}

    run_virtual(main, NOW)


def test_a_stop_does_not_wait_for_windows_that_wait() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, daily_quota=3)
        stop = asyncio.Event()
        loop.call_later(100.0, stop.set)
        report = await engine_run(
            loop, simulator, scope(*JANUARY), MemorySink(), wait=True, stop=stop
        )
        assert report.state == "interrupted"
        assert loop.time() == pytest.approx(100, abs=1)

    run_virtual(main, NOW)


def test_a_stalled_run_says_what_it_waits_for() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        told: list[events.Stalled] = []

        def observe(event: events.Event) -> None:
            if isinstance(event, events.Stalled):
                told.append(event)

        simulator = Simulator(wall=loop.wall, faults=Faults(busy=1.0))
        await engine_run(
            loop, simulator, scope(date(2024, 1, 1), date(2024, 1, 1)), MemorySink(),
            on_event=observe, attempts=12,
        )  # fmt: skip
        assert told
        assert A in told[0].reasons[0]
        assert "-1" in told[0].reasons[0]

    run_virtual(main, NOW)


def test_a_run_that_waits_for_a_sink_names_it() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        class Slow(MemorySink):
            async def write(self, batches: Any, fence: Any) -> Written:
                await asyncio.sleep(25)
                return await super().write(batches, fence)

        told: list[events.Stalled] = []

        def observe(event: events.Event) -> None:
            if isinstance(event, events.Stalled):
                told.append(event)

        day = scope(date(2024, 1, 1), date(2024, 1, 1))
        sinks = [MemorySink("quick"), Slow("slow")]
        await engine_run(loop, Simulator(wall=loop.wall), day, sinks, on_event=observe)
        assert {each.reasons for each in told} == {("slow has not stored what it was given",)}

    run_virtual(main, NOW)


def test_what_an_observer_raises_ends_the_run_as_it_is() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        def observe(event: events.Event) -> None:
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await engine_run(
                loop, Simulator(wall=loop.wall), scope(*JANUARY), MemorySink(), on_event=observe
            )
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main, NOW)


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.thorough) for part in range(1, 8))]
)
def test_cancelled_at_any_point_nothing_is_lost_doubled_or_left(tmp_path: Path, part: int) -> None:
    """Cancel after every so many turns of the loop, run again to the end, compare."""

    async def job(loop: VirtualTimeLoop, simulator: Simulator, home: Path) -> None:
        await engine_run(
            loop, simulator, scope(date(2024, 1, 1), date(2024, 1, 12), (A, B)), JsonLines(home),
            home / "ledger.sqlite", rate="50/s", concurrency=4, attempts=20,
        )  # fmt: skip

    async def cancelled(loop: VirtualTimeLoop, turns: int, home: Path) -> bool:
        simulator = Simulator(wall=loop.wall, faults=Faults(busy=0.1, reset=0.05))
        task = asyncio.ensure_future(job(loop, simulator, home))
        for _ in range(turns):
            await asyncio.sleep(0)
            if task.done():
                break
        task.cancel()
        await asyncio.wait([task])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await job(loop, simulator, home)
        assert_exactly_the_truth(
            stored(home), simulator, (A, B), date(2024, 1, 1), date(2024, 1, 12)
        )
        return task.cancelled()

    for number, turns in enumerate(range(3 * part, 480, 24)):
        home = tmp_path / str(number)

        async def main(loop: VirtualTimeLoop, turns: int = turns, home: Path = home) -> bool:
            return await cancelled(loop, turns, home)

        if not run_virtual(main, NOW):
            break
    assert number > 5


def test_a_batch_says_that_it_replaces_only_when_it_may(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        seen: list[Batch] = []

        class Watching(MemorySink):
            async def write(self, batches: Any, fence: Any) -> Written:
                seen.extend(batches)
                return await super().write(batches, fence)

        sink = Watching()
        for refresh in (False, True):
            await engine_run(
                loop, Simulator(wall=loop.wall), scope(*JANUARY), sink, tmp_path / "l",
                refresh=refresh,
            )  # fmt: skip
        assert [batch.replaces for batch in seen] == [False] * 31 + [True] * 31

    run_virtual(main, NOW)


@pytest.mark.parametrize("last", [7, 8, 10, 12])
def test_a_window_that_nobody_knows_of_any_more_is_not_cut_in_two(
    tmp_path: Path, last: int
) -> None:
    """The ledger is lost, and the days that are asked for end within a window that is stored."""

    async def main(loop: VirtualTimeLoop) -> None:
        simulator = Simulator(wall=loop.wall, spans={"getusersummary": 3})
        for end in (10, last):
            asked = scope(
                date(2024, 1, 1), date(2024, 1, end), endpoints=(INTERFACES["getusersummary"],)
            )
            report = await engine_run(loop, simulator, asked, JsonLines(tmp_path))
            assert report.state == "complete"
        found = Counter(
            (record["ref_date"], record["user_source"])
            for record in stored(tmp_path, "getusersummary")
        )
        truth = simulator.truth_of(
            "getusersummary", A, date(2024, 1, 1), date(2024, 1, max(10, last))
        )
        assert found == {(record["ref_date"], record["user_source"]): 1 for record in truth}

    run_virtual(main, NOW)
