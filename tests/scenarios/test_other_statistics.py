"""Statistics that are asked for in other words: mini-games, and interfaces of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.scenarios.wire import A, harvested
from tests.support import Wechat, bare, harvest, stored

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


def test_a_mini_game_is_harvested_by_name(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    here = wechat()
    result = harvest(
        "run", "minigame", "--appid", A, "--start", "2026-03-01", "--end", "2026-03-05",
        "--base-url", here.url, "--rate", "100/s", "--out", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = stored(tmp_path, "getgameanalysisdata")
    days = date(2026, 3, 1), date(2026, 3, 5)
    truth = here.simulator.truth_of("getgameanalysisdata", A, *days)
    assert sorted(map(bare, rows), key=lambda row: row["timestamp"]) == truth
    assert len(truth) == 5


def test_an_interface_of_ones_own_sends_its_body_and_its_names_of_dates(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    here = wechat()
    (tmp_path / "harvester.toml").write_text(OWN)
    result = harvest(
        "run", "sessions", "--appid", A, "--start", "2026-03-01", "--end", "2026-03-05",
        "--base-url", here.url, "--rate", "100/s", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = stored(tmp_path / "harvest", "sessions")
    assert {row["time_label"] for row in rows} == {f"2026-03-0{day}" for day in range(1, 6)}
    told = harvest("endpoints", "sessions", cwd=tmp_path).stdout
    assert 'the days as start_time and end_time, {"metric":"1000001:5","granularity":24}' in told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('body = "metric"', "body takes a table"),
        ("body = { start_time = 1 }", "the keys of body are names that differ"),
        ("body = { since = 2026-01-01 }", "body holds what JSON cannot hold"),
    ],
)
def test_a_body_that_cannot_be_sent_is_refused_before_anything_is(
    line: str, said: str, tmp_path: Path
) -> None:
    lines = [line if each.startswith("body") else each for each in OWN.splitlines()]
    (tmp_path / "harvester.toml").write_text("\n".join(lines))
    result = harvest("plan", "sessions", "--start", "2026-03-01", "--end", "2026-03-05",
                     cwd=tmp_path)  # fmt: skip
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_metric_that_wechat_does_not_know_costs_one_request(tmp_path: Path) -> None:
    refused = {"errcode": 61552, "errmsg": "invalid metric"}
    report = harvested(
        lambda *_: refused, "getgameanalysisdata", "2026-03-02", "2026-03-02", tmp_path
    )
    assert (report.state, report.requests) == ("partial", 1)
    assert "correct the request's body" in report.failures[0].error


# a platform's token


def test_a_platforms_token_that_has_expired_is_renewed_and_its_account_is_fine(
    tmp_path: Path,
) -> None:
    fetched: list[str] = []

    def answer(path: str, query: Mapping[str, str], _body: dict[str, Any]) -> Any:
        if path.endswith("api_component_token"):
            fetched.append(f"component{len(fetched)}")
            return {"component_access_token": fetched[-1], "expires_in": 7200}
        if path.endswith("api_authorizer_token"):
            if query["component_access_token"] == "component0":
                return {"errcode": 42006, "errmsg": "component_access_token expired rid: 1-2-3"}
            return {
                "authorizer_access_token": "mine", "expires_in": 7200,
                "authorizer_refresh_token": "refresh",
            }  # fmt: skip
        assert query["access_token"] == "mine"
        return {"list": []}

    platform = harvester.Platform("wxplatform", "practice", lambda: "ticket")
    account = platform.account(A, "refresh", lambda _: None)
    report = harvested(answer, "getusersummary", "2026-03-02", "2026-03-08", tmp_path, account)
    assert (report.state, report.stopped) == ("complete", {})
    assert fetched == ["component0", "component1"]
