"""What WeChat's answers mean: late entries and days, codes that pass; and other requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.scenarios import command
from tests.scenarios.command import Ended, harvest_at
from tests.scenarios.server import Call, Server, harvested, rows
from tests.support import A, harvest, stored

PUBLISHED = date(2026, 2, 1)
DAY = ("2026-03-02", "2026-03-02")


def run(
    server: Server, out: Path, name: str, days: tuple[str, str], day: str, hour: float,
    *more: str, factor: float = 1.0,
) -> Ended:  # fmt: skip
    arguments = command.asked(server.url, name, *days, "--out", out, "--json", *more)
    return harvest_at(day, hour, *arguments, factor=factor)


# figures that grow


class Growing(Server):
    """A WeChat whose one article has so many entries, one for each day from its publishing on."""

    def __init__(self, name: str, entries: int) -> None:
        super().__init__(self._article)
        self.entries = entries
        self._list = {"getarticletotal": "details", "getarticletotaldetail": "detail_list"}[name]

    def _article(self, call: Call) -> dict[str, Any]:
        days = [str(PUBLISHED + timedelta(days=number)) for number in range(self.entries)]
        entries = [{"stat_date": day} for day in days]
        return {"list": [{"ref_date": call.days[0], "msgid": "1_1", self._list: entries}]}


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "most"), [("getarticletotaldetail", 30), ("getarticletotal", 7)])
def test_a_last_entry_that_is_late_in_silence_is_not_lost(
    name: str, most: int, tmp_path: Path
) -> None:
    day = PUBLISHED + timedelta(days=most)
    days = (str(PUBLISHED), str(PUBLISHED))
    with Growing(name, most - 1) as server:
        ended = run(server, tmp_path, name, days, str(day), 9)
        assert (ended.status, ended.report["provisional"]) == (3, 1), ended.err
        server.entries = most
        ended = run(server, tmp_path, name, days, str(day), 16)
        assert (ended.status, ended.report["requests"]) == (0, 1), ended.err
        assert run(server, tmp_path, name, days, str(day), 17).report["requests"] == 0
    (row,) = stored(tmp_path, name)
    entries = row["details" if name == "getarticletotal" else "detail_list"]
    assert len(entries) == most


@pytest.mark.thorough
def test_a_last_entry_that_does_not_come_is_asked_for_by_its_schedule(tmp_path: Path) -> None:
    name, requests = "getarticletotaldetail", []
    days = (str(PUBLISHED), str(PUBLISHED))
    with Growing(name, 29) as server:
        for number, hour in ((30, 9.0), (31, 9.0), (33, 7.0), (33, 9.0), (34, 9.0)):
            day = str(PUBLISHED + timedelta(days=number))
            requests.append(run(server, tmp_path, name, days, day, hour).report["requests"])
    assert requests == [1, 1, 1, 1, 0]


# an interface with a row for every day

WEEK = ("2026-03-02", "2026-03-08")  # one window
LACKING = "2026-03-06"


class Gappy(Server):
    """A WeChat that has no row of some days."""

    def __init__(self, *days: str) -> None:
        super().__init__(self._rows)
        self.missing = set(days)

    def _rows(self, call: Call) -> dict[str, Any]:
        found = rows(call)["list"]
        return {"list": [row for row in found if row["ref_date"] not in self.missing]}


@pytest.mark.thorough
def test_a_day_within_a_window_that_has_no_row_is_late(tmp_path: Path) -> None:
    with Gappy(LACKING) as server:
        ended = run(server, tmp_path, "getusercumulate", WEEK, "2026-03-09", 12)
        assert (ended.status, ended.report["state"]) == (3, "waiting"), ended.err
        (wait,) = ended.report["waits"]
        assert wait["reason"] == "a day has no row yet, but each day must have one"
        server.missing.clear()
        ended = run(server, tmp_path, "getusercumulate", WEEK, "2026-03-10", 9)
        assert (ended.status, ended.report["notes"]) == (0, []), ended.err
    found = [row["ref_date"] for row in stored(tmp_path, "getusercumulate")]
    assert len(found) == len(set(found)) == 7


@pytest.mark.thorough
def test_a_day_that_stays_without_a_row_is_reported_as_late_from_day_three_on(
    tmp_path: Path,
) -> None:
    ends = []
    with Gappy(LACKING) as server:
        for day in (9, 11, 12, 13):
            ends.append(run(server, tmp_path, "getusercumulate", WEEK, f"2026-03-{day:02}", 9))
    assert [(ended.status, ended.report["requests"]) for ended in ends] == [
        (3, 1), (0, 1), (0, 1), (0, 0),
    ]  # fmt: skip
    for ended in ends[1:]:
        (note,) = ended.report["notes"]
        assert note.startswith("getusercumulate: 1 day of 1 account late: ")
        assert ended.report["late"] == 1
    assert "1 day late: the figures are due, and will be requested again" in ends[1].err
    assert len(stored(tmp_path, "getusercumulate")) == 6


def test_days_without_a_row_of_years_ago_are_reported_at_once_in_one_note(tmp_path: Path) -> None:
    lacking = ("2020-02-03", "2020-02-04", "2020-05-05")
    with Gappy(*lacking) as server:
        report = harvested(server._rows, "getusercumulate", "2020-01-01", "2020-06-30", tmp_path)
    assert (report.state, report.windows.done) == ("complete", report.windows.planned)
    (note,) = report.notes
    assert note.startswith("getusercumulate: 3 days of 1 account late: ")
    assert A in note


# codes that pass

OFTEN = {"base_resp": {"ret": 45009, "err_msg": "请求过于频繁，请稍后尝试"}}
FINE = {"base_resp": {"ret": 0, "err_msg": "ok"}, "list": [], "total_num": 0}


def answers(*first: Any, then: Any) -> Callable[[Call], Any]:
    left = chain(first, repeat(then))
    return lambda _: next(left)


@pytest.mark.thorough
def test_the_publishers_too_frequent_is_a_pause_to_the_next_minute(tmp_path: Path) -> None:
    with Server(answers(OFTEN, then=FINE)) as server:
        ended = run(server, tmp_path, "publisher_cps_general", DAY, "2026-03-11", 9, factor=40)
    assert (ended.status, ended.report["requests"]) == (0, 2), ended.err
    assert "pauses for" in ended.err
    assert ended.report["seconds"] < 70


@pytest.mark.thorough
def test_the_publishers_too_frequent_is_a_used_up_quota_if_it_stays(tmp_path: Path) -> None:
    with Server(answers(then={"ret": 45009, "err_msg": "too frequent"})) as server:
        ended = run(
            server, tmp_path, "publisher_cps_general", DAY, "2026-03-11", 9, "--attempts", "3",
            factor=60,
        )  # fmt: skip
    assert (ended.status, ended.report["requests"]) == (3, 3), ended.err
    assert ended.report["until"] == "2026-03-11T16:01:00Z"


@pytest.mark.thorough
def test_an_errcode_45009_of_the_publisher_is_the_days_quota_at_once(tmp_path: Path) -> None:
    with Server(answers(then={"errcode": 45009, "errmsg": "reach max api daily"})) as server:
        ended = run(server, tmp_path, "publisher_cps_general", DAY, "2026-03-11", 9)
    assert (ended.status, ended.report["requests"]) == (3, 1), ended.err


LIMITED = {"errcode": 50002, "errmsg": "user limited"}


@pytest.mark.thorough
def test_an_account_that_is_limited_for_a_moment_goes_on(tmp_path: Path) -> None:
    with Server(lambda call: LIMITED if len(server.data) == 1 else rows(call)) as server:
        done = harvest(*command.asked(server.url, "getusersummary", *DAY, "--out", tmp_path))
    assert done.returncode == 0, done.stderr


def test_an_account_that_stays_limited_stops(tmp_path: Path) -> None:
    report = harvested(lambda _: LIMITED, "getusersummary", *DAY, tmp_path, attempts=2)
    assert report.requests == 2
    assert "errcode 50002" in report.stopped[A]


# requests

OWN = """
[[interface]]
name = "compass"
path = "/channels/ec/compass/shop/overall/get"
first_day = "{first_day}"
dates = "YYYYMMDD"
begin_key = "ds"
end_key = "ds"
rows = ""
day_field = ""
"""


@pytest.mark.thorough
def test_an_interface_with_one_date_key_gets_one_day_a_request(tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_text(OWN.format(first_day="2026-01-01"))
    with Server(lambda call: {"errcode": 0, "data": {"pay_gmv": call.body["ds"]}}) as server:
        run = command.asked(server.url, "compass", "2026-03-01", "2026-03-03")
        done = harvest(*run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    bodies = sorted(call.body["ds"] for call in server.data)
    assert bodies == ["20260301", "20260302", "20260303"]
    assert all(call.body.keys() == {"ds"} for call in server.data)
    found = stored(tmp_path / "harvest", "compass")
    assert sorted(row["data"]["pay_gmv"] for row in found) == bodies
    told = harvest("endpoints", "compass", cwd=tmp_path).stdout
    assert '{"ds":' in told


def test_an_interface_of_days_before_2000_is_refused_when_it_is_declared(tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_text(OWN.format(first_day="1999-12-31"))
    done = harvest("run", "compass", "--appid", A, "--start", "first", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "harvester.toml, interface 1: interface compass: first_day is 1999-12-31, but must be"
        in (done.stderr)
    )


class Old:
    """An interface of a user's own, as an object."""

    name, first_day, retired, successors = "old", date(1999, 12, 31), False, ()


def test_an_object_of_days_before_2000_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(harvester.UsageError, match="first_day is 1999-12-31, but must be 2000"):
        harvester.run_sync(
            harvester.Account(A, secret="practice"), Old(), "1999-12-31", "2000-01-02",
            sink=f"jsonl:{tmp_path}",
        )  # fmt: skip


@pytest.mark.thorough
def test_ask_quota_shows_the_rate_that_wechat_allows(tmp_path: Path) -> None:
    told = {
        "quota": {"daily_limit": 500000, "used": 0, "remain": 500000},
        "rate_limit": {"call_count": 10000, "refresh_second": 60},
    }
    with Server(quota=lambda _: told) as server:
        arguments = command.asked(server.url, "getusersummary", *DAY, "--ask-quota")
        done = harvest(*arguments, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "500,000 of 500,000 calls are left today; WeChat allows 10,000 calls in 60 s" in (
        done.stderr
    )
