"""`harvester status --missing DAY`, and quota and completion, after runs that went as runs go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import harvested
from tests.postgres_server import PASSWORD
from tests.scenarios.command import Start, asked, harvest_at, succeeded
from tests.scenarios.conftest import Jobs
from tests.support import A, B, C, Wechat, csv_rows, harvest

pytestmark = pytest.mark.thorough

HOURS = "getinterfacesummaryhour"


def rows(*arguments: str | Path, **env: str) -> list[dict[str, str]]:
    """What `status --missing … --csv` writes, as a program reads it."""
    return csv_rows(succeeded("status", "--csv", *arguments, **env).stdout)


@pytest.fixture
def three(wechat: Start, tmp_path: Path) -> Path:
    """A directory: one account has its days, one has a wrong secret, one was never harvested."""
    server: Wechat = wechat()
    file = tmp_path / "accounts.csv"
    lines = [f"{A},Teahouse,env:GOOD", f"{B},书店,env:WRONG"]
    file.write_text("\n".join(["appid,name,secret", *lines, ""]))
    given = asked(server.url, "users", "2024-01-01", "2024-01-31", "--out", tmp_path / "out")
    at = given.index("--appid")
    done = harvest(
        *given[:at], *given[at + 2 :], "--accounts", file, GOOD="practice", WRONG="wrong"
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    file.write_text("\n".join(["appid,name,secret", *lines, f"{C},New,env:GOOD", ""]))
    return tmp_path


def test_each_account_has_its_reason(three: Path) -> None:
    given = ("--out", three / "out", "--accounts", three / "accounts.csv")
    found = rows("--missing", "2024-01-20", *given)
    assert [(each["appid"], each["name"], each["endpoint"], each["state"]) for each in found] == [
        (C, "New", "", "never_harvested"),
        (B, "书店", "getusercumulate", "failed"),
        (B, "书店", "getusersummary", "failed"),
    ]
    assert found[1]["reason"] == "AppSecret is wrong or frozen"
    assert (found[1]["code"], found[1]["since"]) == ("40125", "2024-01-01")
    assert "errcode 40125" in found[1]["detail"]
    assert found[1]["what_to_do"].startswith("Check or reset it in the account's console")
    text = harvest("status", "--missing", "2024-01-20", "--check", *given)
    assert text.returncode == 1
    assert f"  {B}  书店  2024-01-01  getusercumulate, getusersummary" in text.stdout
    fine = ("--missing", "2024-01-20", "--check", "--only", "Teahouse", *given)
    assert succeeded("status", *fine).stdout == (
        "2024-01-20: all 2 account–interface pairs have this day\n"
    )


def test_a_spent_quota_is_waited_for_and_gives_a_date(wechat: Start, tmp_path: Path) -> None:
    server = wechat(daily_quota=5)
    january = asked(
        server.url, HOURS, "2024-01-01", "2024-01-31", "--out", tmp_path, "--concurrency", "1"
    )
    assert harvest_at("2024-03-10", 12, *january).status == 3

    def status(*more: str) -> Any:
        given = ("status", "--out", str(tmp_path), "--json", *more)
        return json.loads(harvest_at("2024-03-10", 13, *given).out)

    found = status()
    (quota,) = found["quotas"]
    assert (quota["used"], quota["left"], quota["used_up"]) == (6, 0, 1)
    assert quota["until"] == "2024-03-10T16:01:00Z"
    assert found["completion"] == {
        "calls": 26, "blocked": 0, "days": 5, "date": "2024-03-15", "assumed_daily_quota": None,
    }  # fmt: skip
    assert status("--daily-quota", "13")["completion"]["date"] == "2024-03-12"
    lacking = status("--missing", "2024-01-03")
    (row,) = lacking["missing"]
    assert (row["state"], row["reason"]) == ("waiting", "Waiting for quota")
    assert (row["code"], "45009" in row["detail"]) == (45009, True)
    assert row["until"] == "2024-03-10T16:01:00Z"
    given = ("--lang", "zh", "status", "--out", str(tmp_path), "--missing", "2024-01-03")
    shown = harvest_at("2024-03-10", 13, *given).out
    assert "等待限额 (等待，至北京时间 2024-03-11 00:01)" in shown
    assert "until" not in shown


@pytest.mark.parametrize(
    ("how", "hour", "state", "reason"),
    [
        (
            {},
            5,
            "not_due",
            "WeChat does not have these figures before 2024-03-10 08:00 (China time)",
        ),
        ({"refuse": {HOURS: 61503}}, 12, "waiting", "WeChat does not have the figures yet"),
    ],
)
def test_figures_that_are_not_ready_are_not_a_quota(
    how: dict[str, Any], hour: float, state: str, reason: str, wechat: Start, tmp_path: Path
) -> None:
    day = "2024-03-09"
    yesterday = asked(wechat(**how).url, HOURS, day, day, "--out", tmp_path)
    assert harvest_at("2024-03-10", hour, *yesterday).status == 3
    given = ("status", "--out", str(tmp_path), "--json", "--missing", day)
    (row,) = json.loads(harvest_at("2024-03-10", hour, *given).out)["missing"]
    assert (row["state"], row["reason"]) == (state, reason)


def test_on_a_shared_ledger(job: Jobs) -> None:
    refused = f"wx{3:016x}"
    one = job(refuse={(refused, "getusersummary"): 48001})
    assert one.run().returncode == 1
    found = rows("--missing", "2024-01-31", "--ledger", one.ledger, PGPASSWORD=PASSWORD)
    assert [(each["appid"], each["reason"]) for each in found] == [
        (refused, "No permission for the interface: getusersummary")
    ]


def test_of_a_copy_that_cannot_be_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    harvested(f"jsonl:{out}", A).raise_for_state()
    places = [out, *out.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        text = succeeded("status", "--missing", "2024-03-01", "--out", out).stdout
    finally:
        for place in places:
            place.chmod(0o755 if place.is_dir() else 0o644)
    assert text.startswith("Never asked for: the range is 2024-01-20 to")
    assert f"  {A}  2024-02-11  " in text
