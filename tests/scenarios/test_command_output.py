"""What the command writes where: results, messages, JSON, dates, names of accounts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import A, B, Wechat, harvest, stored

pytestmark = pytest.mark.thorough

ENDPOINT = "getinterfacesummaryhour"
DAYS = ("--start", "2024-01-01", "--end", "2024-01-05")
MOMENT = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"


def run(
    server: Wechat, folder: Path, *arguments: str | Path, **env: str
) -> subprocess.CompletedProcess[str]:
    given = () if "--accounts" in arguments else ("--appid", A)
    return harvest(
        "run", ENDPOINT, *DAYS, *given, "--base-url", server.url, "--rate", "1000/s",
        "--out", folder / "out", *arguments, **env,
    )  # fmt: skip


def test_lines_of_the_log_and_the_last_line_have_dates(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    result = run(wechat(), tmp_path)
    assert result.returncode == 0
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(re.match(MOMENT + " ", line) for line in lines)
    (last,) = result.stdout.splitlines()
    assert re.fullmatch(
        r"complete: 5 windows harvested, 120 records, 5 requests in .* s, stored in .*/out;"
        rf" 2024-01-01 to 2024-01-05, ended {MOMENT}",
        last,
    )


def test_quietly_a_run_that_goes_well_says_nothing_and_another_what_is_wrong(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    result = run(wechat(), tmp_path, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    result = run(wechat(daily_quota=2), tmp_path / "2", "--quiet", "--json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["state"] == "waiting"
    assert "must wait until" in result.stderr.splitlines()[0]


def test_messages_as_json_are_an_object_a_line(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    result = run(wechat(), tmp_path, "--log-format", "json")
    assert (result.returncode, result.stdout) == (0, "")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["RunStarted", "TokenFetched", "Summary"]
    refused = run(wechat(), tmp_path / "2", "--log-format", "json", HARVESTER_SECRET="wrong")
    (error, *_) = [json.loads(line) for line in refused.stderr.splitlines()]
    assert error.keys() >= {"time", "level", "message"}
    assert refused.returncode == 4
    assert harvest("run", "--log-format", "xml").stderr == (
        "harvester: invalid --log-format 'xml': expected text or json\n"
    )


def test_a_disabled_account_is_not_asked_for_and_names_stand_beside_appids(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    file = tmp_path / "accounts.csv"
    file.write_text(
        "appid,name,group,enabled,secret\n"
        f"{A},Teahouse,north,true,env:WX_SECRET\n"
        f"{B},Book shop,north,false,env:WX_SECRET\n"
        "wx00000000000000cc,Gone,south,,env:NOT_SET\n"
    )
    server = wechat()
    result = run(server, tmp_path, "--accounts", file, WX_SECRET="practice")
    assert result.returncode == 1
    assert "wx00000000000000cc (Gone) " in result.stderr
    assert {appid for _, appid, *_ in server.simulator.served_of} == {A}
    result = run(server, tmp_path, "--accounts", file, "--only", "north", WX_SECRET="practice")
    assert result.returncode == 0
    assert "5 done before" in result.stdout
    status = harvest("status", "--out", tmp_path / "out", "--accounts", file)
    assert f"{A} (Teahouse) {ENDPOINT}, 2024-01-01" in status.stdout
    assert len(stored(tmp_path / "out", ENDPOINT)) == 120


def test_verify_is_json_too(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    assert run(wechat(), tmp_path).returncode == 0
    verify = ("verify", "--json", "--out", tmp_path / "out")
    result = harvest(*verify)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "sinks": [{
            "sink": f"jsonl:{tmp_path / 'out'}", "state": "exact", "records": 120,
            "unknown_windows": 0, "counted_windows": 0, "read_to_its_end": True,
            "differences": [], "unread": "",
        }]
    }  # fmt: skip
    (segment,) = (tmp_path / "out" / ENDPOINT).iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"callback_count":', b'"callback_cxunt":', 1))
    result = harvest(*verify)
    assert result.returncode == 1
    (sink,) = json.loads(result.stdout)["sinks"]
    assert sink["state"] == "different"
    assert sink["differences"][0].keys() == {"where", "what"}


def test_a_file_that_is_used_unasked_is_mentioned_by_a_run(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    (tmp_path / "harvester.toml").write_text(f'base-url = "{wechat().url}"\nrate = "1000/s"\n')
    given = ("run", ENDPOINT, "--appid", A, *DAYS)
    result = harvest(*given, cwd=tmp_path)
    assert result.returncode == 0
    said = "harvester: ./harvester.toml is used, since it is there"
    assert result.stderr.splitlines()[0] == said
    result = harvest(*given, "--config", "harvester.toml", cwd=tmp_path)
    assert said not in result.stderr
