"""Groups wherever a name is taken; what is left out or cut is said in the plan and the report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import harvester
from harvester import plugins
from tests.support import A, Wechat, harvest, stored

RANGE = ("--start", "2024-01-01", "--end", "2024-01-14")
RETIRED = (
    "of articles, getarticlesummary, getarticletotal, getuserread, getuserreadhour, getusershare,"
    " getusersharehour are retired and left out"
)
NOT_YET = "has no data before 2025-11-01"


def test_every_interface_stands_in_one_group_and_all_has_what_is_not_retired() -> None:
    groups = plugins.endpoint_groups()
    assert set(groups) >= {
        "all", "users", "articles", "messages", "interface", "miniprogram", "minigame",
        "publisher",
    }  # fmt: skip
    assert {name: len(groups[name]) for name in groups} == {
        "all": 31, "users": 2, "articles": 4, "messages": 7, "interface": 2, "miniprogram": 10,
        "minigame": 1, "publisher": 5,
    }  # fmt: skip


async def test_a_group_is_harvested_by_the_library(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    here = wechat()
    report = await harvester.run(
        harvester.Account(A, "practice"),
        ["users", "getinterfacesummary"],
        "2024-01-01",
        "2024-01-14",
        sink=f"jsonl:{tmp_path}",
        base_url=here.url,
        rate=500,
    )
    assert (report.state, report.notes) == ("complete", [])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "getinterfacesummary", "getusercumulate", "getusersummary",
    ]  # fmt: skip
    assert len(stored(tmp_path, "getusercumulate")) == 14


def test_a_group_is_streamed(wechat: Callable[..., Wechat]) -> None:
    here = wechat()

    async def main() -> set[str]:
        account = harvester.Account(A, "practice")
        async with harvester.stream(
            account, "users", "2024-01-01", "2024-01-07", base_url=here.url, rate=500
        ) as records:
            return {record["_endpoint"] async for record in records}

    assert asyncio.run(main()) == {"getusersummary", "getusercumulate"}


def test_groups_of_the_configuration_are_taken_and_notes_stand_in_the_report(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    here = wechat()
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = ["users", "articles"]\nappid = "{A}"\nbase-url = "{here.url}"\nrate = 500\n'
    )
    result = harvest("run", *RANGE, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["windows"]["done"] == report["requests"] == 2 * 2
    assert report["notes"][0] == RETIRED
    assert [note.partition(" ")[2] for note in report["notes"][1:]] == [NOT_YET] * 4
    assert RETIRED in result.stderr
    plan = harvest("plan", *RANGE, cwd=tmp_path).stdout.splitlines()
    assert f"note    {RETIRED}" in plan
    assert f"note    getbizsummary {NOT_YET}" in plan
    assert plan[-1] == "nothing was sent"


def test_a_retired_interface_that_is_named_is_asked_for_beside_its_group(tmp_path: Path) -> None:
    plan = harvest("plan", "users", "getuserread", *RANGE, "--appid", A, cwd=tmp_path).stdout
    assert "getuserread" in plan.splitlines()[0]
    assert "note    WeChat has taken getuserread offline; its successors are getbizsummary" in (
        plan
    )


def test_a_retired_interface_that_is_named_is_not_said_to_be_left_out(tmp_path: Path) -> None:
    said = harvest("plan", "articles", "getuserread", *RANGE, cwd=tmp_path).stdout
    assert f"note    {RETIRED.replace(' getuserread,', '')}" in said.splitlines()
    assert "WeChat has taken getuserread offline" in said


def test_the_range_is_cut_to_each_interfaces_first_day(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    here = wechat()
    names = ("getusercumulate", "getweanalysisappiddailysummarytrend")
    result = harvest(
        "run", *names, "--appid", A, "--start", "2017-01-02", "--end", "2017-01-15",
        "--base-url", here.url, "--rate", "500/s", "--json", cwd=tmp_path,
    )  # fmt: skip
    report = json.loads(result.stdout)
    assert (result.returncode, report["state"]) == (0, "complete")
    note = "getweanalysisappiddailysummarytrend: from 2017-01-09 on, there is nothing before"
    assert report["notes"] == [note]
    assert note in result.stderr
    days = {row["_begin_date"] for row in stored(tmp_path / "harvest", names[1])}
    assert (min(days), len(days)) == ("2017-01-09", 7)
    plan = harvest(
        "plan", *names, "--start", "2017-01-02", "--end", "2017-01-15", cwd=tmp_path / "harvest"
    ).stdout
    assert f"note    {note}" in plan
