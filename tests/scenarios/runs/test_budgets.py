"""Quotas and rates through the real engine: what is spent, who is parked, in which order."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import events
from harvester.base.dates import (
    QUOTA_MARGIN,
    Days,
    Load,
    china,
    days_in,
    last_settled_day,
    quota_days,
)
from harvester.cli.commands import invoke
from harvester.cli.progress import Lines
from harvester.engine.limiter import SLOWER
from harvester.engine.window_queue import QUOTA_AGAIN
from harvester.events import Report
from harvester.ledger import FILE_NAME, SqliteLedger
from harvester.ledger.coverage import DONE, WAITING
from harvester.model import Endpoint, Request, Response, Window
from harvester.sinks.jsonl.sink import JsonLines
from harvester.testing import FakeTransport, MemorySink, Simulator, VirtualTimeLoop, run_virtual
from harvester.wechat.interfaces import INTERFACES
from tests.support import A, B, at, calendars, noon, run, scope

DAY = "2026-03-11"
YESTERDAY = date(2026, 3, 10)
MARCH = (date(2026, 2, 9), YESTERDAY)  # 30 days
READ, SHARE = INTERFACES["getarticleread"], INTERFACES["getarticleshare"]
GROWING = INTERFACES["getarticletotaldetail"]


class Noted(FakeTransport):
    """A transport that notes the first day of each data request, by interface."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator, latency=0.01)
        self.asked: list[tuple[str, str]] = []
        self.at: list[float] = []

    async def send(self, request: Request, leave: Any = None) -> Response:
        if request.path.startswith("/datacube/"):
            day = json.loads(request.body or b"{}")["begin_date"]
            self.asked.append((request.path.rsplit("/", 1)[1], day))
            self.at.append(self.simulator.wall())
        return await super().send(request)

    @property
    def days(self) -> list[str]:
        """Of all of them, in order."""
        return [day for _, day in self.asked]


def run_at(
    moment: float,
    wechat: Simulator | Noted,
    folder: Path,
    *endpoints: Endpoint,
    days: Days = MARCH,
    appids: tuple[str, ...] = (A,),
    **options: Any,
) -> Report:
    """One run with a ledger at a Unix time."""
    asked = scope(*days, appids, endpoints or (READ,))
    return run(wechat, asked, JsonLines(folder), folder / FILE_NAME, now=moment, **options)


def spent(folder: Path, day: date) -> dict[tuple[str, str], int]:
    async def main(loop: VirtualTimeLoop) -> dict[tuple[str, str], int]:
        async with SqliteLedger(folder / FILE_NAME, readonly=True) as ledger:
            return await ledger.spent(day)

    return run_virtual(main)


# what is spent


def test_what_was_spent_outlives_the_run_by_account_interface_and_day_in_china(
    tmp_path: Path,
) -> None:
    wechat = Simulator()
    today = date(2026, 3, 11)
    more = {"appids": (A, B), "daily_quota": 7}
    report = run_at(at(DAY, 23), wechat, tmp_path, READ, SHARE, **more)
    assert (report.state, report.requests, report.windows.waiting) == ("waiting", 28, 92)
    each = {(appid, name.name): 7 for appid in (A, B) for name in (READ, SHARE)}
    assert spent(tmp_path, today) == each
    report = run_at(at(DAY, 23.5), wechat, tmp_path, READ, SHARE, **more)
    assert (report.state, report.requests) == ("waiting", 0)
    report = run_at(at("2026-03-12", 0.1), wechat, tmp_path, READ, SHARE, **more)
    assert (report.state, report.requests) == ("waiting", 28)
    assert spent(tmp_path, today) == spent(tmp_path, today + timedelta(days=1)) == each
    assert report.until == at("2026-03-13", 0) + QUOTA_MARGIN


def test_attempts_that_failed_are_spent_too(tmp_path: Path) -> None:
    wechat = Simulator(refuse={READ.name: -1})
    report = run_at(at(DAY, 9), wechat, tmp_path, daily_quota=10, attempts=100)
    assert (report.state, report.requests, report.windows.done) == ("waiting", 10, 0)
    assert spent(tmp_path, date(2026, 3, 11)) == {(A, READ.name): 10}


def test_no_more_is_spent_than_the_user_allows_whatever_wechat_tells(tmp_path: Path) -> None:
    report = run_at(at(DAY, 9), Simulator(), tmp_path, daily_quota=4, ask_quota=True)
    assert (report.state, report.requests) == ("waiting", 4)


def test_wechat_is_asked_what_is_left(tmp_path: Path) -> None:
    wechat = Simulator(daily_quota={READ.name: 20, SHARE.name: 10})
    run_at(at(DAY, 9), wechat, tmp_path / "other", days=(YESTERDAY, YESTERDAY))
    told: list[Any] = []
    report = run_at(
        at(DAY, 10), wechat, tmp_path, READ, SHARE, ask_quota=True, on_event=told.append
    )
    notices = [event for event in told if isinstance(event, events.Notice)]
    assert {each.text for each in notices if each.code == "Quota"} == {
        f"{A} {name}: {left} calls are left today; WeChat allows 10,000,000 calls in 60 s"
        for name, left in ((READ.name, "19 of 20"), (SHARE.name, "10 of 10"))
    }
    assert (report.state, report.windows.done, report.requests) == ("waiting", 29, 29)
    assert wechat.counts["errcode 45009"] == 0


def test_without_an_answer_about_the_quota_it_is_learned(tmp_path: Path) -> None:
    wechat = Simulator(daily_quota=4)
    wechat._routes.pop("/cgi-bin/openapi/quota/get")
    report = run_at(at(DAY, 9), wechat, tmp_path, appids=(A, B), ask_quota=True)
    assert (report.state, report.windows.done) == ("waiting", 8)
    (note,) = report.notes  # of both accounts
    said = f"WeChat did not report how many calls of {READ.name} are left: HTTP 404"
    assert note.startswith(said)


# who is parked


def test_at_its_budget_an_interface_is_parked_and_the_rest_goes_on(tmp_path: Path) -> None:
    wechat = Simulator(daily_quota={READ.name: 5})
    report = run_at(at(DAY, 9), wechat, tmp_path, READ, SHARE, concurrency=1)
    assert (report.state, report.windows.done, report.windows.waiting) == ("waiting", 35, 25)
    assert report.until == at("2026-03-12", 0) + QUOTA_MARGIN
    (wait,) = report.waits
    assert (wait.appid, wait.endpoint, wait.windows) == (A, READ.name, 25)
    assert wait.until == report.until
    calendar = calendars(tmp_path / FILE_NAME)[A, READ.name]
    assert (calendar.count(DONE), calendar.count(bytes([WAITING]))) == (5, 25)
    assert "daily quota of this interface is used up" in wait.reason


@pytest.mark.thorough
def test_under_wait_a_parked_interface_sleeps_and_says_so(tmp_path: Path) -> None:
    wechat, told = Noted(Simulator(daily_quota={READ.name: 12})), list[Any]()
    report = run_at(
        at(DAY, 9), wechat, tmp_path, READ, SHARE, wait=True, concurrency=1, on_event=told.append
    )
    assert (report.state, report.windows.done) == ("complete", 60)
    paused = [event for event in told if isinstance(event, events.Paused)]
    assert {(event.endpoint, event.seconds) for event in paused} == {(READ.name, QUOTA_AGAIN)}
    (wait,) = report.waits
    assert (wait.endpoint, wait.windows) == (READ.name, 0)
    assert wait.seconds == QUOTA_AGAIN * len(paused) == pytest.approx(39 * 3600, abs=3600)
    shares = [when for (name, _), when in zip(wechat.asked, wechat.at, strict=True)
              if name == SHARE.name]  # fmt: skip
    assert max(shares) < at(DAY, 9.1)


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["own", "wechats"])
def test_under_wait_a_spent_quota_gets_one_call_an_hour(how: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"daily_quota": 7} if how == "own" else {}
    wechat = Noted(Simulator(daily_quota=7))
    report = run_at(at(DAY, 22), wechat, tmp_path, wait=True, concurrency=4, **options)
    assert (report.state, report.windows.done) == ("complete", 30)
    by_day = Counter(china(when).date() for when in wechat.at)
    assert len(by_day) == 5
    if how == "own":
        assert max(by_day.values()) == 7
        return
    # One call an hour beside those of the quota, and what was in flight at the refusal.
    assert max(by_day.values()) <= 7 + 3 + 24
    hours = Counter(int(when // 3600) for when in wechat.at)
    assert sorted(hours.values())[: -5 * 2] == [1] * (len(hours) - 10)
    (wait,) = report.waits  # as long as it took, however many were in flight
    assert wait.seconds <= wechat.at[-1] - wechat.at[0] + QUOTA_AGAIN


# in which order


def asked_next_day(folder: Path, **options: Any) -> list[str]:
    """What a run asks for that finds the 40 newest of 100 days stored, and 29 of them not final."""
    wechat, days = Simulator(), (date(2025, 12, 1), YESTERDAY)
    run_at(at(DAY, 9), wechat, folder, GROWING, days=days, daily_quota=40)
    noted, later = Noted(wechat), (days[0], date(2026, 3, 11))
    run_at(at("2026-03-12", 9), noted, folder, GROWING, days=later, concurrency=1, **options)
    return noted.days


YOUNG = [str(YESTERDAY - timedelta(days=number)) for number in range(29)]


@pytest.mark.thorough
def test_newest_first_asks_for_what_can_still_change_before_the_backfill(tmp_path: Path) -> None:
    first, *days = asked_next_day(tmp_path, daily_quota=40)
    assert (first, days[:29]) == ("2026-03-11", YOUNG)
    rest = days[29:]
    assert len(rest) == 10
    assert rest == sorted(rest, reverse=True)
    assert not set(rest) & {*YOUNG, first}


@pytest.mark.thorough
def test_oldest_first_asks_for_what_can_still_change_in_its_place(tmp_path: Path) -> None:
    days = asked_next_day(tmp_path, daily_quota=80, order="oldest")
    assert days == sorted(set(days))
    assert days[0] == "2025-12-01"
    missing = 100 - 40  # of the days before the second run's last one
    assert days[missing:] == [*reversed(YOUNG), "2026-03-11"][: 80 - missing]


@pytest.mark.thorough
def test_a_run_each_morning_keeps_the_present_fresh_and_eats_into_the_past(tmp_path: Path) -> None:
    wechat = Simulator()
    for number in range(6):
        today = date(2026, 3, 11) + timedelta(days=number)
        days = (date(2026, 1, 1), today - timedelta(days=1))
        noted = Noted(wechat)
        run_at(at(str(today), 9), noted, tmp_path, days=days, daily_quota=9, concurrency=1)
        assert noted.days[0] == str(days[1])
        assert len(noted.days) == 9
    assert noted.days[1:] == sorted(noted.days[1:], reverse=True)


# the plan


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("endpoint", "begin", "quota"),
    [(READ, date(2026, 1, 5), 20), (GROWING, date(2026, 1, 5), 45),
     (INTERFACES["getusersummary"], date(2024, 1, 1), 9)],
    ids=lambda each: getattr(each, "name", str(each)),
)  # fmt: skip
def test_the_plan_tells_the_day_on_which_a_daily_run_is_through(
    endpoint: Any, begin: date, quota: int, tmp_path: Path
) -> None:
    wechat, today = Simulator(), date(2026, 3, 11)
    calls = -(-days_in((begin, YESTERDAY)) // endpoint.span) + (endpoint.span > 1)
    load = Load(calls, 0, YESTERDAY, True, endpoint.late_days, endpoint.span)
    for number in range(40):
        moment = at(str(today + timedelta(days=number)), 9)
        days = (begin, last_settled_day(moment))
        report = run_at(moment, wechat, tmp_path, endpoint, days=days, daily_quota=quota)
        if report.state == "complete":
            break
    assert number + 1 == quota_days(load, quota, today)


def test_the_command_plans_days_of_quota_and_the_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = ["plan", "getusersummary", "--start", "2014-12-01", "--end", "2024-11-30"]
    assert invoke([*plan, "--daily-quota", "100"]) == 0
    said = capsys.readouterr().out
    assert "calls   522\n" in said
    assert (
        "quota   6 days at 100 calls per day for each interface of each account; with a run each "
        "day" in said
    )


# too many requests in a minute


@pytest.mark.thorough
def test_45011_slows_that_account_alone_and_it_recovers_slowly() -> None:
    wechat, told = Simulator(minute_limit=(60, 60.0)), list[Any]()
    asked = scope(date(2025, 11, 1), YESTERDAY, (A,), (READ, SHARE))
    report = run(wechat, asked, MemorySink(), now=noon(DAY), rate="120/min", on_event=told.append)
    assert report.state == "complete"
    slowed = [event.text for event in told if getattr(event, "code", "") == "Slowed"]
    assert (
        slowed[0]
        == f"{A}: the rate is now {SLOWER:.0%} of the configured rate, and recovers slowly"
    )
    assert len(slowed) < 6
    assert wechat.counts["errcode 45011"] <= 2 * len(slowed)
    (wait,) = report.waits
    assert (wait.appid, wait.endpoint) == (A, "")
    assert "45011" in wait.reason
    assert wait.seconds > 10
    assert wait.to_dict() in report.to_dict()["waits"]


def test_the_progress_says_who_waits_for_what_and_for_how_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines()
    lines(events.RunStarted(10, 0, 2))
    lines(events.Paused("wx1", 42.0, "errcode 45011 (slower)"))
    lines(events.Paused("wx2", 7200.0, "the quota is used up", "getarticleread"))
    told = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert told[1:] == [
        "wx1 pauses for 42 s: errcode 45011 (slower)",
        "wx2 getarticleread pauses for 2 h 00 min: the quota is used up",
    ]


def test_what_comes_in_heaps_is_told_twenty_times_and_what_waits_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines, day = Lines(), YESTERDAY
    for number in range(50):
        lines(events.Deferred("wx1", "e", day, day, 1, 0.0, "late"))
        lines(events.Committed((), 0, 0, foreign=((Window("wx1", "e", day, day), 2),)))
        lines(events.Split(f"wx{number}", "e", 1))
        lines(events.Notice("warning", "QuotaUnknown", f"wx{number}", "e", "something"))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 20 + 2
    assert told[0].endswith("wx1 e 2026-03-10: ignored 2 rows of days that were not requested")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A monotonic clock that says what stands here."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_progress_line_says_who_waits_and_for_how_long_it_has(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    lines = Lines()
    lines(events.RunStarted(10, 0, 2))
    lines(events.Paused("wx1", 42.0, "errcode 45011 (slower) [rid: 1-2-3]"))
    lines(events.Paused("wx2", 30.0, "errcode 45011 (slower) [rid: 1-2-4]"))
    now[0] = 12.0
    lines(events.Committed((), 0, 0))
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("; wx1 waits, 12 s of 42 s (and 1 more): errcode 45011 (slower)")
    now[0] = 43.0
    lines(events.Committed((), 0, 0))
    assert "waits" not in capsys.readouterr().err.splitlines()[-1]


def test_a_wait_is_told_once_however_long_nothing_comes(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    lines = Lines()
    lines(events.RunStarted(10, 0, 1))
    lines(events.Paused("wx1", 60.0, "errcode 45011 (slower)"))
    lines(events.Stalled(10.0, ("wx1 waits, next try in 50 s: errcode 45011 (slower)",)))
    now[0] = 20.0
    lines(events.Committed((), 0, 0))
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("; wx1 waits, 20 s of 60 s: errcode 45011 (slower)")
    assert "next try in" not in told


@pytest.mark.thorough
def test_a_slowed_account_costs_the_other_nothing() -> None:
    wechat = Simulator(refuse={A: 45011})
    finished: dict[str, float] = {}

    def note(event: Any) -> None:
        if isinstance(event, events.Committed):
            finished.update({each.appid: wechat.wall() - noon(DAY) for each in event.windows})

    report = run(
        wechat, scope(*MARCH, (A, B), (READ, SHARE)), MemorySink(), now=noon(DAY), rate="5/s",
        on_event=note, attempts=20, later={100.0: wechat.refuse.clear},
    )  # fmt: skip
    assert report.state == "complete"
    assert finished[B] < 14
    assert finished[A] > 100
