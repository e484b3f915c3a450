"""What a run does by the calendar: quotas of a day, late figures, and figures that still grow."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import command
from tests.scenarios.command import Ended, harvest_at, started, until
from tests.scenarios.server import Call, Server, rows
from tests.support import stored

pytestmark = pytest.mark.thorough

DAY, NEXT = "2026-03-11", "2026-03-12"
SPENT = {"errcode": 45009, "errmsg": "reach max api daily quota limit"}
BUSY = {"errcode": -1, "errmsg": "system error"}
ODD = {"errcode": 40035, "errmsg": "invalid parameter"}
FAST = 500.0
"""How many times as fast as ours the clock of a run is that waits for hours."""


def run(
    server: Server,
    out: Path,
    day: str,
    hour: float,
    *more: str,
    days: int = 13,
    factor: float = 1.0,
) -> Ended:
    return harvest_at(day, hour, *asked(server, out, *more, days=days), factor=factor)


def asked(server: Server, out: Path, *more: str, days: int = 13) -> list[str]:
    first = f"2026-02-{28 - days + 1:02}"
    more = ("--rate", "200/s", "--out", str(out), "--json", *more)
    return command.asked(server.url, "getupstreammsghour", first, "2026-02-28", *more)


def first(*answers: dict[str, Any]) -> Any:
    """The first data requests get these answers, the others rows."""
    given = iter(answers)
    return lambda call: next(given, None) or rows(call)


def test_under_wait_a_spent_quota_gets_one_call_an_hour_until_one_is_answered(
    tmp_path: Path,
) -> None:
    with Server(first(SPENT, BUSY)) as server:
        ended = run(server, tmp_path, DAY, 23, "--wait", factor=FAST)
    assert (ended.status, ended.report["windows"]["done"]) == (0, 13), ended.err
    assert len(server.data) == 2 + 13
    at = [call.at * FAST for call in server.data]
    assert [3590 < after - before < 3900 for before, after in pairwise(at[:3])] == [True] * 2
    assert 7200 < ended.report["seconds"] < 8000


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [(SPENT, [3, 3, 3, 3, 0]), (BUSY, [3, 3, 3, 3, 0]), (ODD, [3, 1, 3, 1, 0])],
    ids=["refused", "busy", "another refusal"],
)
def test_without_wait_each_hours_first_run_sends_one_call_until_one_is_answered(
    answer: dict[str, Any], statuses: list[int], tmp_path: Path
) -> None:
    calls, ended = list[int](), list[int]()
    with Server(first(SPENT, answer, answer)) as server:
        for hour in (10.0, 11.1, 11.9, 12.2, 13.3):
            before = len(server.data)
            ended.append(run(server, tmp_path, DAY, hour).status)
            calls.append(len(server.data) - before)
    assert calls == [1, 1, 0, 1, 13]
    assert ended == statuses


def test_a_daily_job_at_midnight_has_its_whole_quota_each_day(tmp_path: Path) -> None:
    done = []
    with Server() as server:
        for day in (DAY, NEXT, "2026-03-13"):
            seven = ("--daily-quota", "7")
            ended = run(server, tmp_path, day, 1 / 3600, *seven, days=21, factor=50)
            done.append(ended.report["windows"]["done"])
    assert done == [7, 7, 7]
    assert ended.status == 0


def test_a_spent_quota_is_remembered_until_the_next_day(tmp_path: Path) -> None:
    calls = []
    with Server(lambda call: SPENT) as server:
        refresh = ("--refresh",)
        for day, hour, more in (
            (DAY, 10.0, ()), (DAY, 10.2, ()), (DAY, 10.5, refresh),
            (DAY, 11.1, ()), (DAY, 11.2, refresh), (NEXT, 0.1, ()),
        ):  # fmt: skip
            before = len(server.data)
            ended = run(server, tmp_path, day, hour, *more, factor=100)
            calls.append(len(server.data) - before)
            assert ended.status == 3, ended.err
    assert calls == [1, 0, 0, 1, 0, 1]


def test_a_budget_holds_whatever_is_killed(tmp_path: Path) -> None:
    """A kill costs the count of the calls of a second, also where nothing is stored."""
    kills, rate = 3, 5
    with Server(lambda call: BUSY) as server:
        more = ("--daily-quota", "60", "--attempts", "1000", "--rate", f"{rate}/s")
        arguments = asked(server, tmp_path, *more, days=28)
        for _ in range(kills):
            before = len(server.data)
            with started(DAY, 10, *arguments, factor=20) as process:
                until(lambda n=before + 30: len(server.data) >= n or process.poll() is not None)
                process.kill()
        harvest_at(DAY, 11, *arguments, factor=200)
        assert 60 <= len(server.data) <= 60 + kills * 2 * rate


def test_a_call_whose_connection_was_never_opened_is_not_counted(tmp_path: Path) -> None:
    with Server() as server:
        server.go()
        assert run(server, tmp_path, DAY, 10, "--daily-quota", "5", "--attempts", "4").status == 4
        server.come()
        ended = run(server, tmp_path, DAY, 10, "--daily-quota", "5")
    assert (ended.status, ended.report["windows"]["done"]) == (3, 5), ended.err


def test_the_quota_is_asked_for_once_and_kept(tmp_path: Path) -> None:
    quota = {"daily_limit": 100, "used": 88, "remain": 12}
    with Server(quota=lambda _: {"quota": quota}) as server:
        ended = run(server, tmp_path, DAY, 10, "--ask-quota")
    assert (ended.status, len(server.data), len(server.quotas)) == (3, 12, 1), ended.err


def test_a_quota_that_is_not_told_is_a_note_in_the_report(tmp_path: Path) -> None:
    with Server(quota=lambda _: BUSY) as server:
        ended = run(server, tmp_path, DAY, 10, "--ask-quota")
    assert (ended.status, len(server.data), len(server.quotas)) == (0, 13, 1), ended.err
    said = "WeChat did not report how many calls of getupstreammsghour are left: errcode -1"
    assert [note[: len(said)] for note in ended.report["notes"]] == [said]
    assert said in ended.err


# Figures that are late, and figures that still grow.


YESTERDAY = "2026-03-10"


class Late(Server):
    """A WeChat that has no row for yesterday until it is told."""

    def __init__(self) -> None:
        super().__init__(self._late)
        self.there = False

    def _late(self, call: Call) -> dict[str, Any]:
        found = rows(call)["list"]
        return {"list": [row for row in found if self.there or row["ref_date"] != YESTERDAY]}


def run_late(
    server: Server, out: Path, name: str, hour: float, *more: str, day: str = DAY,
    start: str = YESTERDAY,
) -> Ended:  # fmt: skip
    arguments = command.asked(server.url, name, start, YESTERDAY, "--out", out, "--json", *more)
    return harvest_at(day, hour, *arguments)


@pytest.mark.parametrize("start", [YESTERDAY, "2026-02-20"])
@pytest.mark.parametrize(("day", "hour"), [(DAY, 15.0), ("2026-03-12", 9.0), ("2026-03-13", 9.0)])
def test_a_row_that_appears_after_noon_or_days_later_is_stored(
    day: str, hour: float, start: str, tmp_path: Path
) -> None:
    with Late() as server:
        ended = run_late(server, tmp_path, "getusersummary", 12.1, start=start)
        assert (ended.status, ended.report["provisional"]) == (0, 1), ended.err
        server.there = True
        ended = run_late(server, tmp_path, "getusersummary", hour, day=day, start=start)
    assert (ended.status, ended.report["requests"]) == (0, 1), ended.err
    found = [row["ref_date"] for row in stored(tmp_path, "getusersummary")]
    assert len(found) == len(set(found))
    assert YESTERDAY in found


def test_a_day_that_stays_empty_is_final_after_three_days(tmp_path: Path) -> None:
    with Late() as server:
        requests = [
            run_late(server, tmp_path, "getusersummary", 9, day=f"2026-03-{day}").report["requests"]
            for day in range(11, 16)
        ]
    assert requests == [1, 1, 1, 1, 0]


def test_an_interface_with_a_row_for_every_day_waits_for_the_last_one(tmp_path: Path) -> None:
    with Late() as server:
        ended = run_late(server, tmp_path, "getusercumulate", 12.1, start="2026-03-05")
        assert (ended.status, ended.report["state"]) == (3, "waiting"), ended.err
        server.there = True
        ended = run_late(server, tmp_path, "getusercumulate", 12.2, start="2026-03-05")
    assert ended.status == 0, ended.err
    found = [row["ref_date"] for row in stored(tmp_path, "getusercumulate")]
    assert (len(found), len(set(found))) == (6, 6)


def test_figures_that_grow_are_not_asked_for_again_within_hours(tmp_path: Path) -> None:
    requests = []
    with Server() as server:
        for hour, more in ((9.0, ()), (9.1, ()), (14.9, ()), (15.1, ()), (15.2, ("--refresh",))):
            grows = "getarticletotaldetail"
            ended = run_late(server, tmp_path, grows, hour, *more, start="2026-03-01")
            assert ended.status == 0, ended.err
            requests.append(ended.report["requests"])
    assert requests == [10, 0, 0, 10, 10]


PORTRAIT = "getweanalysisappiduserportrait"


@pytest.mark.parametrize("name", [PORTRAIT, "miniprogram"])
def test_interfaces_of_recent_days_wait_before_eight_and_are_requested_then(
    name: str, tmp_path: Path
) -> None:
    def asked(server: Server) -> list[str]:
        more = ("--out", str(tmp_path), "--json", "--rate", "200/s", "--attempts", "1")
        return command.asked(server.url, name, "yesterday-6d", "yesterday", *more)

    def answer(call: Call) -> dict[str, Any]:
        return {"list": [], "ref_date": "20260304-20260310", "visit_uv": {"province": []}}

    def portraits(server: Server) -> list[tuple[str, str]]:
        return [
            (call.body["begin_date"], call.body["end_date"])
            for call in server.data
            if call.path.endswith(PORTRAIT)
        ]

    with Server(answer) as server:
        early = harvest_at(DAY, 7, *asked(server))
        assert f"{PORTRAIT}: 1 window 2026-03-04 to 2026-03-10 must wait until" in early.err
        assert portraits(server) == []
        ended = harvest_at(DAY, 9, *asked(server))
        assert portraits(server) == [("20260304", "20260310")]
    if name == PORTRAIT:  # the others of the group would need other answers
        assert early.status == 3
        assert (ended.status, ended.report["state"]) == (0, "complete"), ended.err
        assert ended.report["windows"]["done"] == 1


def test_what_answered_late_may_be_asked_for_by_any_run(tmp_path: Path) -> None:
    with Server(lambda call: {**rows(call), "is_delay": True}) as server:
        for hour in (9.0, 9.01):
            ended = run_late(server, tmp_path, "getarticleread", hour)
            assert (ended.status, ended.report["requests"]) == (3, 1), ended.err
