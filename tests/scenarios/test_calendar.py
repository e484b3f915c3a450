"""What a run does by the calendar: quotas of a day, late figures, and figures that still grow."""

from __future__ import annotations

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


def first_refused(number: int) -> Any:
    """The first so many data requests are refused for their quota."""
    refusals = iter([SPENT] * number)
    return lambda call: next(refusals, None) or rows(call)


def test_a_refusal_just_after_midnight_is_tried_again_with_one_call(tmp_path: Path) -> None:
    with Server(first_refused(1)) as server:
        ended = run(server, tmp_path, DAY, 3 / 3600, factor=200)
    assert (ended.status, ended.report["windows"]["done"]) == (0, 13), ended.err
    assert len(server.data) == 14
    assert ended.report["seconds"] > 300


def test_a_second_refusal_in_the_first_hour_ends_the_day(tmp_path: Path) -> None:
    with Server(lambda call: SPENT) as server:
        ended = run(server, tmp_path, DAY, 3 / 3600, factor=200)
    assert (ended.status, len(server.data)) == (3, 2), ended.err
    assert ended.report["until"] == "2026-03-11T16:01:00Z"


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
    assert calls == [1, 0, 0, 1, 0, 2]


def test_a_quota_that_is_there_again_goes_on_with_the_rest(tmp_path: Path) -> None:
    with Server(first_refused(1)) as server:
        assert run(server, tmp_path, DAY, 10).status == 3
        ended = run(server, tmp_path, DAY, 11.1)
        assert (ended.status, len(server.data)) == (0, 14), ended.err
        assert run(server, tmp_path, DAY, 11.2).report["requests"] == 0


def test_a_budget_holds_whatever_is_killed(tmp_path: Path) -> None:
    with Server(lambda call: {"errcode": -1, "errmsg": "system error"}) as server:
        arguments = asked(server, tmp_path, "--daily-quota", "60", "--attempts", "1000", days=28)
        for _ in range(3):
            before = len(server.data)
            with started(DAY, 10, *arguments, factor=20) as process:
                until(lambda n=before + 12: len(server.data) >= n or process.poll() is not None)
                process.kill()
        harvest_at(DAY, 11, *arguments, factor=200)
        assert 40 < len(server.data) <= 60


def told(left: int, *, failures: int = 0) -> Any:
    """What quota/get answers, after so many failures."""
    answers = iter([{"errcode": -1, "errmsg": "system error"}] * failures)
    quota = {"daily_limit": 100, "used": 100 - left, "remain": left}
    return lambda _: next(answers, {"quota": quota})


RESERVED = ("--ask-quota", "--reserve", "5")


def test_a_reserve_is_kept_though_the_quota_could_not_be_asked_at_first(tmp_path: Path) -> None:
    with Server(quota=told(12, failures=2)) as server:
        ended = run(server, tmp_path, DAY, 10, *RESERVED, factor=20)
    assert (ended.status, len(server.data)) == (3, 7), ended.err
    assert len(server.quotas) == 3


def test_without_knowing_the_quota_a_reserve_holds_the_interface_back(tmp_path: Path) -> None:
    with Server(quota=told(12, failures=99)) as server:
        ended = run(server, tmp_path, DAY, 10, *RESERVED, "--attempts", "3", factor=20)
    assert (ended.status, len(server.data), len(server.quotas)) == (3, 0, 3), ended.err
    assert "the reserve of 5 calls is kept" in ended.err
    (wait,) = ended.report["waits"]
    assert "quota could not be asked for" in wait["reason"]


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


def test_what_answered_late_may_be_asked_for_by_any_run(tmp_path: Path) -> None:
    with Server(lambda call: {**rows(call), "is_delay": True}) as server:
        for hour in (9.0, 9.01):
            ended = run_late(server, tmp_path, "getarticleread", hour)
            assert (ended.status, ended.report["requests"]) == (3, 1), ended.err
