"""The commands as a user types them, against a simulated WeChat."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from harvester.testing import Faults
from tests.scenarios.fast import harvest_at
from tests.support import A, B, Wechat, assert_exactly_the_truth, harvest, stored

TWO_DAYS = ["--start", "2024-01-01", "--end", "2024-01-02"]
REPORT = {
    "state", "windows", "records", "requests", "retries", "token_fetches", "seconds", "until",
    "failures", "changed", "provisional", "foreign", "waits", "stopped", "notes",
}  # fmt: skip


def test_run_json_is_alone_on_the_last_line(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    server = wechat(faults=Faults(first_busy=2))
    result = harvest(
        "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url", server.url,
        "--rate", "100/s", "--out", tmp_path / "o", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report.keys() == REPORT
    assert report["state"] == "complete"
    assert report["windows"] == {
        "planned": 2, "skipped": 0, "done": 2, "empty": 0, "waiting": 0, "failed": 0,
    }  # fmt: skip
    assert (report["requests"], report["retries"], report["token_fetches"]) == (4, 2, 1)
    assert report["until"] is None
    assert report["failures"] == []
    records = stored(tmp_path / "o")
    assert_exactly_the_truth(records, server.simulator, (A,), date(2024, 1, 1), date(2024, 1, 2))
    assert {r["_endpoint"] for r in records} == {"getarticlesummary"}
    assert all(r["_begin_date"] == r["_end_date"] == r["ref_date"] for r in records)
    assert all(datetime.fromisoformat(r["_fetched_at"]).tzinfo for r in records)


def test_the_config_file_holds_options_and_the_command_line_wins(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = "getarticlesummary"\nstart = 2024-01-01\nend = "2024-01-31"\n'
        f'appid = "{A}"\nbase-url = "{server.url}"\nrate = 100\nout = "there"\njson = true\n'
    )
    result = harvest("run", "--end", "2024-01-03", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["windows"]["planned"] == 3
    assert len(stored(tmp_path / "there")) > 0


def test_a_retired_interface_ends_with_1_and_names_its_successors(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(retired=True)
    result = harvest(
        "run", "getarticlesummary", "--appid", A, "--start", "2020-01-01", "--end", "2023-12-31",
        "--base-url", server.url, "--out", tmp_path, "--concurrency", "1", "--json",
    )  # fmt: skip
    assert result.returncode == 1
    assert "getarticletotaldetail" in result.stderr
    report = json.loads(result.stdout)
    assert report["windows"]["failed"] == report["windows"]["planned"] == 1461
    assert server.simulator.counts["data"] == 1


def test_a_quota_ends_with_3_and_says_until_when(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(daily_quota=1)
    result = harvest_at(
        "2024-03-10", 12, "run", "getarticlesummary", "--appid", A, *TWO_DAYS,
        "--base-url", server.url, "--out", tmp_path, "--concurrency", "1", "--json",
    )  # fmt: skip
    assert result.status == 3
    assert "2024-03-11 00:01 China time" in result.err
    report = result.report
    assert (report["state"], report["windows"]["waiting"]) == ("waiting", 1)
    assert report["until"].endswith("T16:01:00Z")
    assert "waiting until" in harvest("status", "--out", tmp_path).stdout


def test_with_waiting_ok_what_must_wait_ends_with_0_and_failures_with_1(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    for how, status, state in (
        ({"daily_quota": 1}, 0, "waiting"),
        ({"retired": True}, 1, "partial"),
    ):
        server = wechat(**how)
        result = harvest_at(
            "2024-03-10", 12, "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url",
            server.url, "--out", tmp_path / state, "--concurrency", "1", "--waiting-ok", "--json",
        )  # fmt: skip
        assert (result.status, result.report["state"]) == (status, state), result.err


def test_a_wrong_secret_ends_with_4_and_says_what_to_do(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(secret="right")
    result = harvest(
        "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url", server.url,
        "--out", tmp_path, HARVESTER_SECRET="sesame-sesame",
    )  # fmt: skip
    assert result.returncode == 4
    assert "40125" in result.stderr
    assert "the secret is wrong; correct it" in result.stderr
    assert "once that is corrected, run the same command again" in result.stderr
    assert "sesame" not in result.stderr + result.stdout
    assert server.simulator.counts["data"] == 0


def test_one_bad_account_of_two_ends_with_1(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    server = wechat()
    accounts = tmp_path / "accounts.toml"
    (tmp_path / "secret").write_text("practice\n")
    (tmp_path / "secret").chmod(0o600)
    accounts.write_text(
        f'[[account]]\nappid = "{A}"\nsecret = "file:secret"\n'
        f'[[account]]\nappid = "{B}"\nsecret = "env:WRONG"\ntoken = "classic"\n'
    )
    result = harvest(
        "run", "getarticlesummary", "--accounts", accounts, *TWO_DAYS, "--base-url", server.url,
        "--out", tmp_path / "o", "--json", WRONG="wrong",
    )  # fmt: skip
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["windows"]["done"] == report["windows"]["failed"] == 2
    (failure,) = report["failures"]
    assert failure["appid"] == B
    assert (failure["begin_date"], failure["end_date"]) == ("2024-01-01", "2024-01-02")


def test_a_lost_network_ends_with_4(tmp_path: Path) -> None:
    result = harvest(
        "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url", "http://127.0.0.1:9",
        "--out", tmp_path, "--attempts", "2",
    )  # fmt: skip
    assert result.returncode == 4
    assert "127.0.0.1:9 (Connection refused)" in result.stderr
    assert "check the network" in result.stderr


def test_plan_sends_nothing_and_counts_what_is_done(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    year = ["getarticlesummary", "--appid", A, "--start", "2023-01-01", "--end", "2023-12-31"]
    result = harvest("plan", *year, "--out", tmp_path, "--rate", "10/min", "--daily-quota", "100")
    assert result.returncode == 0, result.stderr
    assert "365" in result.stdout
    assert "36 min" in result.stdout
    assert "4 days" in result.stdout
    assert not any(tmp_path.iterdir())
    harvest(
        "run", "getarticlesummary", "--appid", A, "--start", "2023-01-01", "--end", "2023-01-31",
        "--base-url", server.url, "--rate", "1000/s", "--out", tmp_path,
    )  # fmt: skip
    result = harvest("plan", *year, "--out", tmp_path, HARVESTER_SECRET="")
    assert "334 (31 are done already)" in result.stdout
    assert server.simulator.counts["data"] == 31


def test_what_is_typed_wins_over_the_accounts_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        "".join(f'[[account]]\nappid = "{a}"\nsecret = "env:X"\n' for a in (A, B))
    )
    (tmp_path / "harvester.toml").write_text('accounts = "a.toml"\n')
    two = harvest("plan", "getarticlesummary", *TWO_DAYS, cwd=tmp_path)
    one = harvest("plan", "getarticlesummary", *TWO_DAYS, "--appid", A, cwd=tmp_path)
    assert "2 accounts" in two.stdout
    assert "1 account\n" in one.stdout


@pytest.mark.thorough
def test_a_harvest_after_the_ledger_was_moved_away_verifies(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    arguments = [
        "run", "getarticlesummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-10",
        "--base-url", server.url, "--rate", "1000/s", "--out", str(tmp_path),
    ]  # fmt: skip
    assert harvest(*arguments).returncode == 0
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    refused = harvest(*arguments)
    assert refused.returncode == 2
    command = f"harvester rebuild --out {tmp_path}"
    assert "holds a harvest that this ledger does not know; use the ledger" in refused.stderr
    assert f"if that ledger is lost, {command} makes one" in refused.stderr
    assert harvest(*command.split()[1:]).returncode == 0
    for _ in range(2):
        assert harvest(*arguments).returncode == 0
        assert harvest("verify", "--out", tmp_path).returncode == 0
    assert harvest(*arguments, "--refresh").returncode == 0
    assert harvest("verify", "--out", tmp_path).returncode == 0
    assert_exactly_the_truth(
        stored(tmp_path), server.simulator, (A,), date(2024, 1, 1), date(2024, 1, 10)
    )


def test_a_proxy_of_the_environment_is_not_used_on_loopback(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    result = harvest(
        "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url", server.url,
        "--out", tmp_path, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_an_output_that_cannot_be_written_is_no_traceback() -> None:

    from tests.support import command, environment

    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            command("endpoints"), stdout=full, stderr=subprocess.PIPE, env=environment(),
            text=True, timeout=30, check=False,
        )  # fmt: skip
    assert "Traceback" not in result.stderr
    assert result.returncode != 0


@pytest.mark.thorough
def test_status_shows_gaps_and_verify_finds_every_kind_of_damage(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    for begin, end in (("2023-01-01", "2023-02-28"), ("2023-04-01", "2023-04-10")):
        result = harvest(
            "run", "getarticlesummary", "--appid", A, "--start", begin, "--end", end,
            "--base-url", server.url, "--rate", "1000/s", "--out", tmp_path,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    status = harvest("status", "--out", tmp_path).stdout
    assert "69 of 100 days harvested" in status
    assert "2023-03-01 to 2023-03-31 (31 days) missing" in status

    assert harvest("verify", "--out", tmp_path).returncode == 0
    (segment,) = (tmp_path / "getarticlesummary").iterdir()
    whole = segment.read_bytes()
    lines = whole.splitlines(keepends=True)
    damage = {
        "lost": b"".join(lines[1:]) + b" " * 0 + lines[1],
        "changed": whole.replace(b'"share_user":', b'"share_usex":', 1),
        "doubled": b"".join([lines[1], *lines[1:]]),
        "cut": whole[:-100],
        "gone": b"",
        "garbage": b"x" * len(lines[0][:-1]) + whole[len(lines[0]) - 1 :],
    }
    for kind, content in damage.items():
        segment.write_bytes(content)
        result = harvest("verify", "--out", tmp_path)
        assert result.returncode == 1, kind
        assert "different from what was fetched" in result.stdout, kind
    segment.write_bytes(whole)
    assert harvest("verify", "--out", tmp_path).returncode == 0
    segment.unlink()
    assert harvest("verify", "--out", tmp_path).returncode == 1
    result = harvest(
        "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url", server.url,
        "--out", tmp_path,
    )  # fmt: skip
    assert result.returncode == 4
    assert "is gone, though the ledger says that it was stored" in result.stderr


def test_endpoints_lists_and_describes() -> None:
    assert "getarticlesummary" in harvest("endpoints").stdout
    one = harvest("endpoints", "getarticlesummary").stdout
    assert "/datacube/getarticlesummary" in one
    assert "2014-12-01" in one


@pytest.mark.thorough
@pytest.mark.timeout(60)
def test_the_demo_does_the_main_job_and_resumes(tmp_path: Path) -> None:
    result = harvest("demo", "--out", tmp_path / "d")
    assert result.returncode == 0, result.stderr
    for said in ("complete: 944 windows", "retries", "Followers by month", "Messages from fol",
                 "Next:", str(tmp_path / "d")):  # fmt: skip
        assert said in result.stdout
    rows = stored(tmp_path / "d", "getusersummary")
    gained = sum(
        row["new_user"] - row["cancel_user"] for row in rows if row["ref_date"][:7] == "2024-12"
    )
    at_its_end = sum(
        row["cumulate_user"]
        for row in stored(tmp_path / "d", "getusercumulate")
        if row["ref_date"] == "2024-12-31"
    )
    (december,) = [line for line in result.stdout.splitlines() if line.startswith("  2024-12")]
    assert f" {gained:,} " in december
    assert december.endswith(f" {at_its_end:,}")
    assert harvest("verify", "--out", tmp_path / "d").returncode == 0
    again = harvest("demo", "--out", tmp_path / "d")
    assert "nothing was asked for" in again.stdout


def test_titles_cannot_steer_the_terminal(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    server = wechat(faults=Faults(control=1.0))
    result = harvest(
        "run", "getarticlesummary", "--appid", A, *TWO_DAYS, "--base-url", server.url,
        "--out", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0
    assert any(record["title"].startswith("\x07") for record in stored(tmp_path))
    assert "\x07" not in result.stdout + result.stderr
