"""What a run asks for, what WeChat answers, what is made of it; an interface that is added."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import events
from harvester.base.dates import CHINA
from harvester.testing import Simulator, serve
from tests.scenarios import command as scenario
from tests.scenarios.command import Start, asked, succeeded
from tests.scenarios.server import Call, Server, harvested, rows
from tests.support import A, bare, harvest, stored

DAY = ("2026-03-02", "2026-03-02")
FINE = {"err_msg": "ok", "ret": 0}
LISTS = ("getusersummary", "getarticleread")
WHOLE = "getweanalysisappiddailyretaininfo"
OWN = """
[[interface]]
name = "sessions"
path = "/datacube/getgameanalysisdata"
first_day = "2026-01-01"
dates = "unix"
begin_key = "start_time"
end_key = "end_time"
body = { metric = "1000001:5", granularity = 24 }
rows = "data_list"
day_field = "time_label"
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("endpoint", "answer", "missing"),
    [
        *[(name, answer, "list") for name in LISTS for answer in ({}, {"list": None}, {"ret": -1})],
        *[(WHOLE, answer, "visit_uv_new") for answer in ({}, {"errcode": 0, "errmsg": "ok"})],
    ],
)
def test_an_answer_without_figures_fails_its_window_after_the_attempts(
    endpoint: str, answer: dict[str, Any], missing: str, tmp_path: Path
) -> None:
    report = harvested(lambda _: answer, endpoint, *DAY, tmp_path)
    assert (report.state, report.windows.done, report.windows.failed) == ("partial", 0, 1)
    assert report.requests == 2
    assert missing in report.failures[0].error
    assert "2 attempts" in report.failures[0].error


@pytest.mark.parametrize("endpoint", LISTS)
def test_an_empty_list_is_an_empty_day(endpoint: str, tmp_path: Path) -> None:
    report = harvested(lambda _: {"list": []}, endpoint, *DAY, tmp_path)
    assert (report.state, report.windows.empty, report.requests) == ("complete", 1, 1)


@pytest.mark.thorough
@pytest.mark.parametrize("code", [61500, 48008, 89249])
def test_equal_refusals_end_the_interface_after_a_handful(code: int, tmp_path: Path) -> None:
    with Server(lambda _: {"errcode": code, "errmsg": "no"}) as server:
        year = asked(server.url, "getupstreammsghour", "2024-01-01", "2024-12-31", "--json")
        ended = harvest(*year, "--out", tmp_path)
    assert ended.returncode in (1, 4), ended.stderr
    assert len(server.data) <= 5
    assert '"failed":366' in ended.stdout
    assert ended.stderr.count(str(code)) <= 2


@pytest.mark.thorough
def test_refusals_with_answers_between_them_fail_their_windows_alone(tmp_path: Path) -> None:
    def answer(call: Call) -> object:
        return {"errcode": 61500, "errmsg": "no"} if call.days[0].endswith("5") else rows(call)

    report = harvested(answer, "getupstreammsghour", "2024-01-01", "2024-12-31", tmp_path)
    assert (report.state, report.requests, report.windows.failed) == ("partial", 366, 36)


def test_a_settlement_without_a_list_is_one_record_of_its_month(tmp_path: Path) -> None:
    sums = {"penalty_all": 0, "revenue_all": 108844, "settled_revenue_all": 0}
    answer = {"base_resp": FINE, **sums, "total_num": 0}  # as it was seen
    name = "publisher_settlement"
    report = harvested(lambda _: answer, name, "2026-03-01", "2026-04-30", tmp_path)
    assert (report.state, report.records, report.windows.empty) == ("complete", 2, 0)
    found = stored(tmp_path, name)
    assert [bare(row) for row in found] == [sums, sums]
    months = [("2026-03-01", "2026-03-31"), ("2026-04-01", "2026-04-30")]
    assert sorted((row["_begin_date"], row["_end_date"]) for row in found) == months


@pytest.mark.thorough
def test_ones_own_interface_sends_its_body_and_dates(wechat: Start, tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_text(OWN)
    run = asked(wechat().url, "sessions", "2026-03-01", "2026-03-05")
    succeeded(*run, cwd=tmp_path)
    found = stored(tmp_path / "harvest", "sessions")
    assert {row["time_label"] for row in found} == {f"2026-03-0{day}" for day in range(1, 6)}
    told = harvest("endpoints", "sessions", cwd=tmp_path).stdout
    assert re.search(
        r'{"start_time":\d+,"end_time":\d+,"metric":"1000001:5","granularity":24}\n', told
    )


def test_a_metric_that_wechat_does_not_know_costs_one_request(tmp_path: Path) -> None:
    refused = {"errcode": 61552, "errmsg": "invalid metric"}
    report = harvested(lambda _: refused, "getgameanalysisdata", *DAY, tmp_path)
    assert (report.state, report.requests) == ("partial", 1)
    assert "correct the request's body" in report.failures[0].error


def test_a_platforms_token_that_has_expired_is_renewed(tmp_path: Path) -> None:
    fetched: list[str] = []

    def answer(call: Call) -> Any:
        if call.path.endswith("api_component_token"):
            fetched.append(f"component{len(fetched)}")
            return {"component_access_token": fetched[-1], "expires_in": 7200}
        if call.path.endswith("api_authorizer_token"):
            if call.query["component_access_token"] == "component0":
                return {"errcode": 42006, "errmsg": "component_access_token expired rid: 1-2-3"}
            given = {"authorizer_access_token": "mine", "authorizer_refresh_token": "refresh"}
            return {**given, "expires_in": 7200}
        assert call.query["access_token"] == "mine"
        return {"list": []}

    platform = harvester.Platform("wxplatform", "practice", lambda: "ticket")
    account = platform.account(A, "refresh", lambda _: None)
    days = ("2026-03-02", "2026-03-08")
    report = harvested(answer, "getusersummary", *days, tmp_path, account=account)
    assert (report.state, report.stopped) == ("complete", {})
    assert fetched == ["component0", "component1"]


# With which days a run begins, and where a range that is too long ends.


def in_order(folder: Path, *days: str, **options: Any) -> tuple[list[str], harvester.Report]:
    """The first days of the windows in the order in which they became safe, and the report."""
    seen: list[str] = []

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.Committed):
            seen.extend(str(window.begin) for window in event.windows)

    async def run() -> harvester.Report:
        async with serve(Simulator()) as server:
            return await harvester.run(
                harvester.Account(A, secret="practice"), "getinterfacesummaryhour", *days,
                sink=f"jsonl:{folder}", base_url=server.url, rate="1000/s", concurrency=1,
                on_event=on_event, **options,
            )  # fmt: skip

    report = asyncio.run(run())
    return seen, report


def january(*numbers: int) -> list[str]:
    return [f"2024-01-{number:02}" for number in numbers]


def test_oldest_begins_with_the_first_missing_day_and_goes_on_by_date(tmp_path: Path) -> None:
    assert in_order(tmp_path, "2024-01-03", "2024-01-05")[0] == january(5, 4, 3)
    six = {"daily_quota": 6}  # of which three are spent
    seen, report = in_order(tmp_path, "2024-01-01", "2024-01-10", order="oldest", **six)
    assert seen == january(1, 2, 6)
    assert (report.state, report.windows.waiting) == ("waiting", 4)
    seen, _ = in_order(tmp_path, "2024-01-01", "2024-01-10", order="oldest")
    assert seen == january(7, 8, 9, 10)


def test_oldest_with_yesterday_in_the_range_ends_with_yesterday(tmp_path: Path) -> None:
    start = str(datetime.now(CHINA).date() - timedelta(days=10))
    seen, _ = in_order(tmp_path, start, "yesterday", order="oldest")
    assert seen == sorted(seen)
    assert seen[0] == start
    assert len(seen) in (9, 10)  # before 08:00 in China yesterday is the day before


@pytest.mark.thorough
@pytest.mark.parametrize("more", [[], ["getarticleread"]])
def test_a_start_before_the_first_day_is_a_note(
    more: list[str], wechat: Start, tmp_path: Path
) -> None:
    run = asked(wechat().url, "getusersummary", "2014-11-01", "2014-12-10", "--json", *more)
    result = succeeded(*run, "--out", tmp_path)
    report = json.loads(result.stdout)
    assert "getusersummary: starts on 2014-12-01, because there is no older data" in report["notes"]
    assert report["windows"]["planned"] == report["windows"]["done"] == 2


# An interface that is added to the table is known everywhere, with no other edit.


ADDED = """
from datetime import date
from harvester.wechat.codes import ERRORS
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.endpoint import JsonEndpoint
from harvester.model import Field

INTERFACES["getfollowers"] = JsonEndpoint(
    "getfollowers",
    "/datacube/getusersummary",
    date(2024, 1, 1),
    span=7,
    errors=ERRORS,
    group="users",
    title="followers by channel",
    record_type="GetFollowers",
    fields=(
        Field("ref_date", "date", "the day"),
        Field("user_source", "int", "the channel"),
        Field("new_user", "int", "people who followed"),
        Field("parts", "list", "by part", (Field("share", "float", "of all, 0 to 1"),)),
        Field("tags", "list", "texts", item="str"),
    ),
)
"""
COMMAND = "import sys\nfrom harvester.cli import main\nsys.exit(main())"
TYPES = """
from typing import get_type_hints
from harvester.wechat.types import GetFollowers, GetFollowersParts
hints = get_type_hints(GetFollowers)
assert hints.pop("parts") == list[GetFollowersParts]
assert hints.pop("tags") == list[str]
print({name: hint.__name__ for name, hint in hints.items()}, GetFollowers.__total__)
print(get_type_hints(GetFollowersParts))
"""


def run_added(program: str, *arguments: str | Path, cwd: Path) -> str:
    """The output of a program that first adds the interface to the table."""
    ran = scenario.program(ADDED + program, *arguments, cwd=cwd)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.thorough
def test_an_added_interface_is_harvested_into_columns(wechat: Start, tmp_path: Path) -> None:
    here = wechat()
    sinks = ("--out", "out", "--sink", "sqlite:users.db", "--sink", "jsonl:out")
    given = scenario.asked(here.url, "users", "2024-03-01", "2024-03-05", *sinks, "--json")
    report = json.loads(run_added(COMMAND, *given, cwd=tmp_path))
    assert report["state"] == "complete"
    truth = here.simulator.truth_of("getusersummary", A, date(2024, 3, 1), date(2024, 3, 5))
    lines = map(bare, stored(tmp_path / "out", "getfollowers"))
    assert sorted(map(str, lines)) == sorted(map(str, truth))
    database = sqlite3.connect(tmp_path / "users.db")
    columns = {name for _, name, *_ in database.execute("PRAGMA table_info(getfollowers)")}
    assert {"ref_date", "user_source", "new_user", "parts", "tags"} < columns
    assert "cancel_user" not in columns  # the answers hold it, and the added interface does not
    [(followed,)] = database.execute("SELECT sum(new_user) FROM getfollowers")
    assert followed == sum(row["new_user"] for row in truth) > 0
    database.close()


def test_an_added_interface_has_a_type_for_its_records(tmp_path: Path) -> None:
    assert run_added(TYPES, cwd=tmp_path).splitlines() == [
        "{'ref_date': 'str', 'user_source': 'int', 'new_user': 'int'} False",
        "{'share': <class 'float'>}",
    ]
