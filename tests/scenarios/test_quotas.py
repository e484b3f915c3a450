"""A day's quota: what is spent is remembered, and never more is sent than it allows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.fast import harvest_at, started
from tests.scenarios.server import APPID, Call, Server, rows

pytestmark = pytest.mark.thorough

DAY, NEXT = "2026-03-11", "2026-03-12"
SPENT = {"errcode": 45009, "errmsg": "reach max api daily quota limit"}


def asked(server: Server, out: Path, *more: str, days: int = 13) -> list[str | Path]:
    return [
        "run", "getupstreammsghour", "--appid", APPID, "--start", f"2026-02-{28 - days + 1:02}",
        "--end", "2026-02-28", "--base-url", server.url, "--rate", "200/s", "--out", out, "--json",
        *more,
    ]  # fmt: skip


def first_refused(number: int) -> Any:
    """The first so many data requests are refused for their quota."""
    left = number

    def answer(call: Call) -> Any:
        nonlocal left
        left -= 1
        return SPENT if left >= 0 else rows(call)

    return answer


def test_a_refusal_just_after_midnight_is_tried_again_with_one_call(tmp_path: Path) -> None:
    with Server(first_refused(1)) as server:
        ended = harvest_at(DAY, 3 / 3600, *asked(server, tmp_path), factor=200)
    assert (ended.status, ended.report["windows"]["done"]) == (0, 13), ended.err
    assert len(server.data) == 14
    assert ended.report["seconds"] > 300


def test_a_second_refusal_in_the_first_hour_ends_the_day(tmp_path: Path) -> None:
    with Server(lambda call: SPENT) as server:
        ended = harvest_at(DAY, 3 / 3600, *asked(server, tmp_path), factor=200)
    assert (ended.status, len(server.data)) == (3, 2), ended.err
    assert ended.report["until"] == "2026-03-11T16:01:00Z"


def test_a_daily_job_at_midnight_has_its_whole_quota_each_day(tmp_path: Path) -> None:
    done = []
    with Server() as server:
        for day in (DAY, NEXT, "2026-03-13"):
            ended = harvest_at(
                day, 1 / 3600, *asked(server, tmp_path, "--daily-quota", "7", days=21), factor=50
            )
            done.append(ended.report["windows"]["done"])
    assert done == [7, 7, 7]
    assert ended.status == 0


@pytest.mark.thorough
def test_a_spent_quota_is_remembered_until_the_next_day(tmp_path: Path) -> None:
    calls = []
    with Server(lambda call: SPENT) as server:
        for day, hour, more in (
            (DAY, 10.0, ()),
            (DAY, 10.2, ()),
            (DAY, 10.5, ("--refresh",)),
            (DAY, 11.1, ()),
            (DAY, 11.2, ("--refresh",)),
            (NEXT, 0.1, ()),
        ):
            before = len(server.data)
            ended = harvest_at(day, hour, *asked(server, tmp_path, *more), factor=100)
            calls.append(len(server.data) - before)
            assert ended.status == 3, ended.err
    assert calls == [1, 0, 0, 1, 0, 2]


def test_a_quota_that_is_there_again_goes_on_with_the_rest(tmp_path: Path) -> None:
    with Server(first_refused(1)) as server:
        assert harvest_at(DAY, 10, *asked(server, tmp_path)).status == 3
        ended = harvest_at(DAY, 11.1, *asked(server, tmp_path))
        assert (ended.status, len(server.data)) == (0, 14), ended.err
        assert harvest_at(DAY, 11.2, *asked(server, tmp_path)).report["requests"] == 0


def test_a_budget_holds_whatever_is_killed(tmp_path: Path) -> None:
    with Server(lambda call: {"errcode": -1, "errmsg": "system error"}) as server:
        arguments = asked(server, tmp_path, "--daily-quota", "60", "--attempts", "1000", days=28)
        for _ in range(3):
            before = len(server.data)
            with started(DAY, 10, *arguments, factor=20) as process:
                while len(server.data) < before + 12 and process.poll() is None:
                    time.sleep(0.01)
                process.kill()
        harvest_at(DAY, 11, *arguments, factor=200)
        assert 40 < len(server.data) <= 60


def told(left: int, *, failures: int = 0) -> Any:
    """What quota/get answers, after so many failures."""
    to_fail = failures

    def answer(call: Call) -> Any:
        nonlocal to_fail
        to_fail -= 1
        if to_fail >= 0:
            return {"errcode": -1, "errmsg": "system error"}
        return {"quota": {"daily_limit": 100, "used": 100 - left, "remain": left}}

    return answer


RESERVED = ("--ask-quota", "--reserve", "5")


def test_a_reserve_is_kept_though_the_quota_could_not_be_asked_at_first(tmp_path: Path) -> None:
    with Server(quota=told(12, failures=2)) as server:
        ended = harvest_at(DAY, 10, *asked(server, tmp_path, *RESERVED), factor=20)
    assert (ended.status, len(server.data)) == (3, 7), ended.err
    assert len(server.quota) == 3


def test_without_knowing_the_quota_a_reserve_holds_the_interface_back(tmp_path: Path) -> None:
    with Server(quota=told(12, failures=99)) as server:
        arguments = asked(server, tmp_path, *RESERVED, "--attempts", "3")
        ended = harvest_at(DAY, 10, *arguments, factor=20)
    assert (ended.status, len(server.data), len(server.quota)) == (3, 0, 3), ended.err
    assert "the reserve of 5 calls is kept" in ended.err
    (wait,) = ended.report["waits"]
    assert "quota could not be asked for" in wait["reason"]
