from __future__ import annotations

import asyncio
from collections import Counter
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.base.dates import days_in
from harvester.engine.scheduler import Scheduler
from harvester.engine.writer import CHANNEL_ITEMS
from harvester.errors import AttemptError, NetworkError, SinkError, UsageError
from harvester.ledger.coverage import FAILED
from harvester.model import Batch, Response
from harvester.sinks.base import Written
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import (
    FakeTransport,
    Faults,
    MemorySink,
    Simulator,
    VirtualTimeLoop,
    run_virtual,
)
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from tests import support
from tests.support import (
    JANUARY,
    A,
    B,
    Script,
    assert_exactly_the_truth,
    at,
    calendars,
    days,
    engine_run,
    noon,
    scope,
    stored,
    virtual,
)

NOW = noon("2024-06-15")
FIRST = date(2024, 1, 1)
YEAR = (date(2023, 1, 1), date(2023, 12, 31))
USERS = INTERFACES["getusersummary"]
run = partial(support.run, now=NOW)
_refused = Response(200, b'{"errcode":40001,"errmsg":"invalid credential"}')


def test_a_range_of_two_accounts_is_harvested_exactly(tmp_path: Path) -> None:
    simulator = Simulator()
    report = run(simulator, scope(*JANUARY, (A, B)), JsonLines(tmp_path), tmp_path / "l")
    assert report.state == "complete"
    assert (report.windows.planned, report.windows.done) == (62, 62)
    assert (report.requests, report.token_fetches) == (62, 2)
    assert_exactly_the_truth(stored(tmp_path), simulator, (A, B), *JANUARY)


def test_a_finished_job_sends_nothing_when_it_is_run_again(tmp_path: Path) -> None:
    simulator, asked = Simulator(), scope(*JANUARY, (A, B))
    run(simulator, asked, JsonLines(tmp_path), tmp_path / "l")
    sent = simulator.counts.total()
    report = run(simulator, asked, JsonLines(tmp_path), tmp_path / "l")
    assert simulator.counts.total() == sent
    assert (report.state, report.windows.skipped, report.requests) == ("complete", 62, 0)
    assert report.token_fetches == 0
    assert_exactly_the_truth(stored(tmp_path), simulator, (A, B), *JANUARY)


def test_only_the_gaps_are_asked_for(tmp_path: Path) -> None:
    simulator = Simulator()
    middle = scope(date(2024, 1, 10), date(2024, 1, 12))
    run(simulator, middle, JsonLines(tmp_path), tmp_path / "l")
    report = run(simulator, scope(*JANUARY), JsonLines(tmp_path), tmp_path / "l")
    assert (report.windows.skipped, report.windows.done, report.requests) == (3, 28, 28)
    assert set(simulator.served.values()) == {1}
    assert_exactly_the_truth(stored(tmp_path), simulator, (A,), *JANUARY)


def test_refresh_replaces_what_is_stored(tmp_path: Path) -> None:
    asked, changed = scope(*JANUARY, (A, B)), Simulator(seed=2)
    run(Simulator(seed=1), asked, JsonLines(tmp_path), tmp_path / "l")
    report = run(changed, asked, JsonLines(tmp_path), tmp_path / "l", refresh=True)
    assert (report.windows.skipped, report.windows.done) == (0, 62)
    assert_exactly_the_truth(stored(tmp_path), changed, (A, B), *JANUARY)


def test_every_kind_of_broken_answer_is_tried_again() -> None:
    faults = Faults(busy=0.1, http_500=0.1, html=0.1, empty=0.1, cut=0.1, reset=0.1, control=0.3)
    report = run(Simulator(faults=faults), scope(*JANUARY), MemorySink(), attempts=60)
    assert report.state == "complete"
    assert report.retries == report.requests - 31 > 10


def test_a_window_fails_for_good_after_the_last_attempt() -> None:
    def answer(body: dict[str, str]) -> Any:
        bad = body["begin_date"] == "2024-01-05"
        return {"errcode": -1, "errmsg": "system error rid: 1-2-3"} if bad else {"list": []}

    transport = Script(answer)
    report = run(transport, scope(*JANUARY), MemorySink(), attempts=3)
    assert (report.state, report.windows.failed, report.windows.done) == ("partial", 1, 30)
    assert transport.asked.count("2024-01-05") == 3
    (failure,) = report.failures
    assert failure.begin == failure.end == date(2024, 1, 5)
    assert failure.error == (
        "errcode -1 (system error): WeChat is busy [rid: 1-2-3], after 3 attempts"
    )


def test_a_run_whose_only_account_stops_has_failed() -> None:
    report = run(Simulator(secret="another"), scope(*JANUARY), MemorySink())
    assert (report.state, report.requests, report.token_fetches) == ("failed", 0, 1)
    (failure,) = report.failures
    assert (failure.begin, failure.end) == JANUARY
    assert "40125" in failure.error
    assert "the secret is wrong" in failure.error


@pytest.mark.thorough
def test_a_storm_on_one_account_does_not_hold_up_the_other() -> None:
    simulator = Simulator(faults_of={B: Faults(busy=1.0)})
    done: list[float] = []

    def observe(event: events.Event) -> None:
        if isinstance(event, events.Committed):
            done.extend(simulator.wall() - NOW for each in event.windows if each.appid == A)

    report = run(
        simulator, scope(*YEAR, (A, B)), MemorySink(), rate="20/s", concurrency=4, on_event=observe
    )
    assert len(done) == 365
    assert max(done) < 365 / 20 * 1.03 + 0.2  # A's own rate is all that held it up
    assert report.windows.failed == 365


def test_a_token_that_expires_under_64_tasks_costs_one_fetch() -> None:
    simulator = Simulator()
    transport = FakeTransport(simulator, latency=0.5)
    revoked: list[int] = []

    def revoke() -> None:
        revoked.append(transport.in_flight)
        simulator.revoke(A)

    report = run(transport, scope(*YEAR), MemorySink(), concurrency=64, later={2.25: revoke})
    assert revoked == [64]
    assert report.state == "complete"
    assert simulator.counts["token"] == report.token_fetches == 2
    assert 0 < simulator.counts["errcode 40001"] <= 64


@pytest.mark.thorough
def test_a_short_lived_token_is_renewed_before_it_ends() -> None:
    simulator = Simulator(token_lifetime=20.0)
    report = run(simulator, scope(*YEAR), MemorySink(), rate="5/s")
    assert report.state == "complete"
    assert simulator.counts["errcode 42001"] == 0
    assert 3 < simulator.counts["token"] < 12


def test_a_second_refusal_of_a_fresh_token_stops_the_account_and_says_why() -> None:
    serial = iter(range(1000))
    transport = Script(
        lambda body: {"errcode": 40001, "errmsg": "invalid credential rid: 1-1-1"},
        token=lambda: {"access_token": f"T{next(serial)}", "expires_in": 7200},
    )
    report = run(transport, scope(*JANUARY), MemorySink())
    assert (report.state, transport.tokens) == ("failed", 2)
    assert "another program might be fetching tokens" in report.failures[0].error
    assert "40001" in report.failures[0].error


def test_stragglers_of_an_old_refusal_do_not_condemn_the_same_token_handed_out_again() -> None:
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

    report = run(Slow(lambda body: {"list": []}), scope(*JANUARY), MemorySink(), concurrency=8)
    assert (report.state, report.token_fetches) == ("complete", 2)


def test_failures_that_differ_in_their_rid_alone_are_one_entry(tmp_path: Path) -> None:
    serial = iter(range(10_000))
    transport = Script(
        lambda body: {"errcode": 61500, "errmsg": f"date format error rid: {next(serial)}-a-b"}
    )
    range_ = (date(2015, 1, 1), date(2016, 12, 31))
    report = run(transport, scope(*range_), MemorySink(), tmp_path / "l")
    (failure,) = report.failures
    assert (failure.begin, failure.end) == range_
    for part in ("61500", "5 windows in a row were refused", "[rid: "):
        assert part in failure.error
    (calendar,) = calendars(tmp_path / "l").values()
    assert calendar.count(bytes([FAILED])) == days_in(range_)


def test_longer_windows_are_replaced_as_a_whole(tmp_path: Path) -> None:
    week = JsonEndpoint("week", "/datacube/week", FIRST, span=7)

    def answer(body: dict[str, str]) -> Any:
        begin, end = map(date.fromisoformat, (body["begin_date"], body["end_date"]))
        assert (end - begin).days < 7
        return {"list": [{"ref_date": str(day)} for day in days(begin, end)]}

    for begin, end, refresh in ((1, 10, False), (1, 17, False), (4, 12, True), (16, 20, True)):
        asked = scope(date(2024, 1, begin), date(2024, 1, end), endpoints=[week])
        report = run(Script(answer), asked, JsonLines(tmp_path), tmp_path / "l", refresh=refresh)
        windows = report.windows
        assert windows.planned == windows.skipped + windows.done
        found = [record["ref_date"] for record in stored(tmp_path, "week")]
        assert len(found) == len(set(found))
    assert set(found) >= {str(day) for day in days(FIRST, date(2024, 1, 20))}


def test_yesterday_before_eight_ends_as_waiting_not_as_failed() -> None:
    simulator, eight = Simulator(), at("2024-06-15", 8)
    asked = scope(date(2024, 6, 10), date(2024, 6, 14))
    report = run(simulator, asked, MemorySink(), now=eight - 1800)
    assert (report.state, report.until) == ("waiting", eight)
    assert (report.windows.done, report.windows.waiting, report.windows.failed) == (4, 1, 0)
    assert simulator.counts["errcode 61503"] == 0


def test_a_run_that_waits_asks_for_yesterday_after_eight() -> None:
    simulator, eight = Simulator(), at("2024-06-15", 8)
    asked = scope(date(2024, 6, 10), date(2024, 6, 14))
    report = run(simulator, asked, MemorySink(), now=eight - 1800, wait=True)
    assert report.state == "complete"
    assert simulator.counts["errcode 61503"] == 0
    assert simulator.wall() == pytest.approx(eight, abs=5)


def test_a_lost_network_stops_the_run_and_nothing_fails_for_good() -> None:
    lost: list[bool] = []

    def answer(body: dict[str, str]) -> Any:
        return AttemptError("no connection") if lost else {"list": [{"msgid": "1_1"}]}

    sink, asked = MemorySink(), scope(date(2020, 1, 1), date(2023, 12, 31))
    with pytest.raises(NetworkError, match="check the network") as caught:
        run(Script(answer), asked, sink, rate="100/s", later={0.2: lambda: lost.append(True)})
    report = caught.value.report
    assert report is not None
    assert (report.state, report.windows.failed) == ("failed", 0)
    assert report.windows.done == len(sink.windows) > 0


class _FailingSink(MemorySink):
    """Takes so many writes, then its disk is full."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    async def write(self, batches: Any, fence: Any) -> Written:
        if not self.good:
            raise SinkError("memory could not be written: the disk is full")
        self.good -= 1
        return await super().write(batches, fence)


def test_a_sink_that_fails_stops_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    simulator, asked, failing = Simulator(), scope(*JANUARY), _FailingSink(3)
    with pytest.raises(SinkError) as caught:
        run(simulator, asked, failing, tmp_path / "l", rate="20/s")
    done = len(failing.windows)
    assert 0 < done < 31
    assert caught.value.report is not None
    assert caught.value.report.windows.done == done
    failing.good = 1000
    assert run(simulator, asked, failing, tmp_path / "l").windows.skipped == done
    assert_exactly_the_truth(failing.records, simulator, (A,), *JANUARY)


def test_a_run_that_ends_since_a_sink_failed_sends_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the scheduler would start a worker at any turn of the loop in which tasks end."""
    schedulers: list[Scheduler] = []
    employ = Scheduler.employ

    def employed(self: Scheduler, *given: Any) -> None:
        schedulers.append(self)
        employ(self, *given)

    def wake(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(wake, turns - 1)
        else:
            schedulers[0]._wake_worker()  # as its timer does

    class Failing(MemorySink):
        async def write(self, batches: Any, fence: Any) -> Written:
            wake(turns)
            sent.append(simulator.counts.total())
            raise SinkError("memory could not be written: the disk is full")

    monkeypatch.setattr(Scheduler, "employ", employed)
    for turns in range(30):
        sent, simulator = [], Simulator()
        schedulers.clear()
        with pytest.raises(SinkError, match="the disk is full"):
            run(simulator, scope(*JANUARY), Failing(), concurrency=8, rate="4/s")
        assert simulator.counts.total() <= sent[0] + 1, turns  # one may leave beside the failure


class _ListedSink(MemorySink):
    listed = True


def test_a_ledger_has_the_sinks_of_its_first_run(tmp_path: Path) -> None:
    simulator, one, two = Simulator(), _ListedSink("one"), _ListedSink("two")
    run(simulator, scope(FIRST, date(2024, 1, 15)), one, tmp_path / "l")
    for others in ([one, two], [two], MemorySink("two")):
        with pytest.raises(
            UsageError, match=r"^the sinks of this ledger are one, but the sinks of"
        ):
            run(simulator, scope(*JANUARY), others, tmp_path / "l")
    beside = MemorySink("beside")  # no ledger lists it: it may come and go
    report = run(simulator, scope(*JANUARY), [one, beside], tmp_path / "l")
    assert (report.windows.skipped, report.requests) == (15, 16)
    assert_exactly_the_truth(one.records, simulator, (A,), *JANUARY)
    assert_exactly_the_truth(beside.records, simulator, (A,), date(2024, 1, 16), JANUARY[1])


class _SlowSink(MemorySink):
    """Takes so many seconds for each window."""

    seconds = 10

    async def write(self, batches: Any, fence: Any) -> Written:
        await asyncio.sleep(self.seconds * len(batches))
        return await super().write(batches, fence)


@pytest.mark.thorough
def test_a_slow_sink_slows_the_requests() -> None:
    simulator, sink = Simulator(), _SlowSink()
    ahead = 0

    def observe(event: events.Event) -> None:
        nonlocal ahead
        if isinstance(event, events.Committed):
            ahead = max(ahead, simulator.counts["data"] - len(sink.windows))

    run(simulator, scope(date(2014, 12, 1), date(2024, 5, 31)), sink, on_event=observe)
    assert 0 < ahead <= CHANNEL_ITEMS + 16 < 1700  # what lies there, and who waits to put


def test_a_stop_finishes_what_is_in_flight_and_commits_it(tmp_path: Path) -> None:
    simulator, sink, stop = Simulator(), MemorySink(), asyncio.Event()
    transport = FakeTransport(simulator, latency=0.3)
    report = run(
        transport, scope(*JANUARY), sink, tmp_path / "l", rate="10/s", stop=stop,
        later={1.0: stop.set},
    )  # fmt: skip
    assert report.state == "interrupted"
    assert report.requests == len(sink.windows) == report.windows.done
    assert 0 < report.windows.done < 31
    report = run(simulator, scope(*JANUARY), sink, tmp_path / "l")
    assert report.windows.skipped + report.windows.done == 31
    assert set(simulator.served.values()) == {1}


def test_a_stop_does_not_wait_for_windows_that_wait() -> None:
    simulator, stop = Simulator(daily_quota=3), asyncio.Event()
    report = run(
        simulator, scope(*JANUARY), MemorySink(), wait=True, stop=stop, later={100.0: stop.set}
    )
    assert report.state == "interrupted"
    assert simulator.wall() == pytest.approx(NOW + 100, abs=1)


def stalled(simulator: Simulator, *sinks: MemorySink, **how: Any) -> list[tuple[str, ...]]:
    """What a run of one day says it waits for."""
    told: list[events.Event] = []
    run(simulator, scope(FIRST, FIRST), sinks, on_event=told.append, **how)
    return [each.reasons for each in told if isinstance(each, events.Stalled)]


def test_a_stalled_run_says_what_it_waits_for() -> None:
    first, *_ = stalled(Simulator(faults=Faults(busy=1.0)), MemorySink(), attempts=12)
    assert A in first[0]
    assert "-1" in first[0]


def test_a_run_that_waits_for_a_sink_names_it() -> None:
    slow = _SlowSink("slow")
    slow.seconds = 25
    told = stalled(Simulator(), MemorySink("quick"), slow)
    assert {*told} == {("slow has not finished a write yet",)}


@virtual(NOW)
async def test_what_an_observer_raises_ends_the_run_as_it_is(loop: VirtualTimeLoop) -> None:
    def observe(event: events.Event) -> None:
        raise KeyError("mine")

    simulator = Simulator(wall=loop.wall)
    with pytest.raises(KeyError, match="mine"):
        await engine_run(loop, simulator, scope(*JANUARY), MemorySink(), on_event=observe)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.thorough) for part in range(1, 8))]
)
def test_cancelled_at_any_point_nothing_is_lost_doubled_or_left(tmp_path: Path, part: int) -> None:
    """Cancel after every so many turns of the loop, run again to the end, compare."""
    range_ = (FIRST, date(2024, 1, 12))

    async def job(loop: VirtualTimeLoop, simulator: Simulator, home: Path) -> None:
        await engine_run(
            loop, simulator, scope(*range_, (A, B)), JsonLines(home),
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
        assert_exactly_the_truth(stored(home), simulator, (A, B), *range_)
        return task.cancelled()

    for number, turns in enumerate(range(3 * part, 480, 24)):
        home = tmp_path / str(number)
        if not run_virtual(partial(cancelled, turns=turns, home=home), NOW):
            break
    assert number > 5


def test_a_batch_says_that_it_replaces_only_when_it_may(tmp_path: Path) -> None:
    seen: list[Batch] = []

    class Watching(MemorySink):
        async def write(self, batches: Any, fence: Any) -> Written:
            seen.extend(batches)
            return await super().write(batches, fence)

    sink = Watching()
    for refresh in (False, True):
        run(Simulator(), scope(*JANUARY), sink, tmp_path / "l", refresh=refresh)
    assert [batch.replaces for batch in seen] == [False] * 31 + [True] * 31


@pytest.mark.parametrize("last", [7, 8, 10, 12])
def test_a_window_that_nobody_knows_of_any_more_is_not_cut_in_two(
    tmp_path: Path, last: int
) -> None:
    """The ledger is lost, and the days that are asked for end within a window that is stored."""
    simulator = Simulator(spans={"getusersummary": 3})
    for end in (10, last):
        asked = scope(FIRST, date(2024, 1, end), endpoints=(USERS,))
        assert run(simulator, asked, JsonLines(tmp_path)).state == "complete"
    found = Counter(
        (record["ref_date"], record["user_source"]) for record in stored(tmp_path, USERS.name)
    )
    truth = simulator.truth_of(USERS.name, A, FIRST, date(2024, 1, max(10, last)))
    assert found == {(record["ref_date"], record["user_source"]): 1 for record in truth}


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ({"errcode": 40199, "errmsg": "strange refusal"}, {("failed", "refused")}),
        (
            {"errcode": 40199, "errmsg": "no access token, after too many attempts: quota"},
            {("failed", "refused")},
        ),
        ({"errcode": -1, "errmsg": "busy"}, {("failed", "retry")}),
        (Response(404, b"no"), {("failed", "refused")}),
        ({"errcode": 48001, "errmsg": "no"}, {("failed", "permission")}),
        (_refused, {("failed", "token")}),
        ({"errcode": 45009, "errmsg": "used up"}, {("waiting", "quota")}),
        ({"errcode": 45102, "errmsg": "used up, a quota"}, {("waiting", "blocked")}),
        ({"errcode": 61503, "errmsg": "the quota of attempts"}, {("waiting", "late")}),
    ],
)
def test_the_ledger_has_the_kind_of_each_failure_and_of_each_wait(
    answer: Any, kinds: set[tuple[str, str]], tmp_path: Path
) -> None:
    asked = scope(date(2024, 1, 1), date(2024, 1, 3))
    told: list[events.Event] = []
    run(Script(lambda _: answer), asked, MemorySink(), tmp_path / "l", attempts=2,
        on_event=told.append)  # fmt: skip
    [calendar] = calendars(tmp_path / "l").values()
    assert {(window.state, window.kind) for window in calendar.windows.values()} == kinds
    failed = {("failed", each.kind) for each in told if isinstance(each, events.Failed)}
    assert failed == {each for each in kinds if each[0] == "failed"}


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ({"errcode": 40125, "errmsg": "invalid appsecret"}, "secret"),
        ({"errcode": 40199, "errmsg": "strange refusal, after too many attempts"}, "token"),
        ({"errcode": -1, "errmsg": "busy"}, "retry"),
    ],
)
def test_the_ledger_has_the_kind_of_a_token_that_was_not_given(
    token: Any, kind: str, tmp_path: Path
) -> None:
    asked = scope(date(2024, 1, 1), date(2024, 1, 3))
    transport = Script(lambda _: {"list": []}, lambda: token)
    run(transport, asked, MemorySink(), tmp_path / "l", attempts=2)
    [calendar] = calendars(tmp_path / "l").values()
    assert {window.kind for window in calendar.windows.values()} == {kind}


def test_a_day_for_which_no_calls_are_left_waits_for_quota(tmp_path: Path) -> None:
    asked, transport = scope(date(2024, 1, 1), date(2024, 1, 5)), Script(lambda _: {"list": []})
    run(transport, asked, MemorySink(), tmp_path / "l", daily_quota=2)
    [calendar] = calendars(tmp_path / "l").values()
    assert {window.kind for window in calendar.windows.values()} == {"quota"}
