"""The commands as a user types them, with interfaces and groups, against a simulated WeChat."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import pytest

import harvester
from harvester.config.plugins import endpoint_groups
from harvester.testing import Faults
from tests.scenarios import command
from tests.scenarios.command import Start, harvest_at, succeeded
from tests.support import A, B, Wechat, assert_exactly_the_truth, harvest, stored

TWO_DAYS = ["--start", "2024-01-01", "--end", "2024-01-02"]
REPORT = {
    "state", "windows", "records", "requests", "retries", "token_fetches", "seconds", "until",
    "failures", "changed", "provisional", "late", "kept", "foreign", "waits", "stopped", "notes",
}  # fmt: skip


def asked(server: Wechat, *more: str | Path) -> list[str]:
    """Two days, one request in flight."""
    days = ("2024-01-01", "2024-01-02", "--concurrency", "1")
    return command.asked(server.url, "getarticlesummary", *days, *more)


@pytest.mark.thorough
def test_run_json_is_alone_on_the_last_line(wechat: Start, tmp_path: Path) -> None:
    server = wechat(faults=Faults(first_busy=2))
    result = succeeded(*asked(server, "--out", tmp_path / "o", "--json"))
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


@pytest.mark.thorough
def test_with_waiting_ok_what_must_wait_ends_with_0(wechat: Start, tmp_path: Path) -> None:
    for how, status, state in (
        ({"daily_quota": 1}, 0, "waiting"),
        ({"retired": True}, 1, "partial"),
    ):
        given = asked(wechat(**how), "--out", tmp_path / state, "--waiting-ok", "--json")
        result = harvest_at("2024-03-10", 12, *given)
        assert (result.status, result.report["state"]) == (status, state), result.err


@pytest.mark.thorough
def test_a_retired_interface_ends_with_1_and_names_its_successors(
    wechat: Start, tmp_path: Path
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


@pytest.mark.thorough
def test_a_wrong_secret_ends_with_4_and_says_what_to_do(wechat: Start, tmp_path: Path) -> None:
    server = wechat(secret="right")
    result = harvest(*asked(server, "--out", tmp_path), HARVESTER_SECRET="sesame-sesame")
    assert result.returncode == 4
    assert "40125" in result.stderr
    assert "the secret is wrong; correct it" in result.stderr
    assert "once that is corrected, run the same command again" in result.stderr
    assert "sesame" not in result.stderr + result.stdout
    assert server.simulator.counts["data"] == 0


@pytest.mark.thorough
def test_plan_sends_nothing_and_counts_what_is_done(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    year = ["getarticlesummary", "--appid", A, "--start", "2023-01-01", "--end", "2023-12-31"]
    result = succeeded("plan", *year, "--out", tmp_path, "--rate", "10/min", "--daily-quota", "100")
    assert "365" in result.stdout
    assert "36 min" in result.stdout
    assert "4 days" in result.stdout
    assert not any(tmp_path.iterdir())
    harvest(*asked(server, "--start", "2023-01-01", "--end", "2023-01-31", "--out", tmp_path))
    result = harvest("plan", *year, "--out", tmp_path, HARVESTER_SECRET="")
    assert "334 (31 are done already)" in result.stdout
    assert server.simulator.counts["data"] == 31


@pytest.mark.thorough
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
def test_a_harvest_after_the_ledger_was_moved_away_verifies(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    arguments = asked(server, "--end", "2024-01-10", "--out", tmp_path)
    succeeded(*arguments)
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    refused = harvest(*arguments)
    assert refused.returncode == 2
    rebuild = f"harvester rebuild --out {tmp_path}"
    assert "contains a harvest that is not in this ledger; use the ledger" in refused.stderr
    assert f"if that ledger is lost, {rebuild} makes a new one" in refused.stderr
    succeeded(*rebuild.split()[1:])
    for _ in range(2):
        succeeded(*arguments)
        succeeded("verify", "--out", tmp_path)
    succeeded(*arguments, "--refresh")
    succeeded("verify", "--out", tmp_path)
    assert_exactly_the_truth(
        stored(tmp_path), server.simulator, (A,), date(2024, 1, 1), date(2024, 1, 10)
    )


@pytest.mark.thorough
def test_a_proxy_of_the_environment_is_not_used_on_loopback(wechat: Start, tmp_path: Path) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    succeeded(*asked(wechat(), "--out", tmp_path), **proxies)


@pytest.mark.thorough
def test_an_output_that_cannot_be_written_is_no_traceback() -> None:
    with open("/dev/full", "wb") as full, command.begun("endpoints", out=full) as process:
        _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert process.returncode != 0


@pytest.mark.thorough
def test_status_shows_gaps_and_verify_finds_any_damage(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    for begin, end in (("2023-01-01", "2023-02-28"), ("2023-04-01", "2023-04-10")):
        succeeded(*asked(server, "--start", begin, "--end", end, "--out", tmp_path))
    status = harvest("status", "--out", tmp_path).stdout
    assert "69 of 69 days harvested" in status
    assert "2023-03-01 to 2023-03-31 (31 days) not asked for" in status

    succeeded("verify", "--out", tmp_path)
    (segment,) = (tmp_path / "getarticlesummary").iterdir()
    whole = segment.read_bytes()
    lines = whole.splitlines(keepends=True)
    damage = {
        "lost": b"".join(lines[1:]) + lines[1],
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
    succeeded("verify", "--out", tmp_path)
    segment.unlink()
    assert harvest("verify", "--out", tmp_path).returncode == 1
    result = harvest(*asked(server, "--out", tmp_path))
    assert result.returncode == 4
    assert "is gone, but the ledger lists it as stored" in result.stderr


@pytest.mark.thorough
@pytest.mark.timeout(60)
def test_the_demo_does_the_main_job_and_resumes(tmp_path: Path) -> None:
    result = succeeded("demo", "--out", tmp_path / "d")
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
    succeeded("verify", "--out", tmp_path / "d")
    again = harvest("demo", "--out", tmp_path / "d")
    assert "complete: 0 windows harvested, 944 done before, 0 records, 0 requests" in again.stdout


@pytest.mark.thorough
def test_titles_cannot_steer_the_terminal(wechat: Start, tmp_path: Path) -> None:
    result = harvest(*asked(wechat(faults=Faults(control=1.0)), "--out", tmp_path))
    assert result.returncode == 0
    assert any(record["title"].startswith("\x07") for record in stored(tmp_path))
    assert "\x07" not in result.stdout + result.stderr


# Groups wherever a name is taken; what is left out or cut is said in the plan and the report.


RANGE = ("--start", "2024-01-01", "--end", "2024-01-14")
RETIRED = (
    "of articles, getarticlesummary, getarticletotal, getuserread, getuserreadhour, getusershare,"
    " getusersharehour are retired and left out"
)
NOT_YET = "has no data before 2025-11-01"


async def test_groups_are_harvested_and_streamed(wechat: Start, tmp_path: Path) -> None:
    names, days = ["users", "getinterfacesummary"], ("2024-01-01", "2024-01-14")
    account, how = harvester.Account(A, "practice"), {"base_url": wechat().url, "rate": "500/s"}
    report = await harvester.run(account, names, *days, sink=f"jsonl:{tmp_path}", **how)
    assert (report.state, report.notes) == ("complete", [])
    found = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert found == {"getinterfacesummary", *endpoint_groups()["users"]}
    assert len(stored(tmp_path, "getusercumulate")) == 14
    async with harvester.stream(account, names, *days, **how) as records:
        assert {record["_endpoint"] async for record in records} == found


@pytest.mark.thorough
def test_groups_of_a_file_are_taken_and_notes_reported(wechat: Start, tmp_path: Path) -> None:
    here = wechat()
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = ["users", "articles"]\nappid = "{A}"\nbase-url = "{here.url}"\n'
        'rate = "500/s"\n'
    )
    result = succeeded("run", *RANGE, "--json", cwd=tmp_path)
    report = json.loads(result.stdout)
    assert report["windows"]["done"] == report["requests"] == 2 * len(endpoint_groups()["users"])
    assert report["notes"][0] == RETIRED
    assert [note.partition(" ")[2] for note in report["notes"][1:]] == [NOT_YET] * 4
    assert RETIRED in result.stderr
    plan = harvest("plan", *RANGE, cwd=tmp_path).stdout.splitlines()
    assert f"note    {RETIRED}" in plan
    assert f"note    getbizsummary {NOT_YET}" in plan
    assert plan[-1] == "nothing was sent"


@pytest.mark.thorough
def test_a_retired_interface_that_is_named_is_asked_for_beside_any_group(tmp_path: Path) -> None:
    plan = harvest("plan", "users", "getuserread", *RANGE, "--appid", A, cwd=tmp_path).stdout
    assert "getuserread" in plan.splitlines()[0]
    offline = "note    WeChat has taken getuserread offline; its successors are getarticleread,"
    assert offline in plan
    plan = harvest("plan", "articles", "getuserread", *RANGE, cwd=tmp_path).stdout
    assert f"note    {RETIRED.replace(' getuserread,', '')}" in plan.splitlines()
    assert offline in plan


@pytest.mark.thorough
def test_the_range_is_cut_to_each_interfaces_first_day(wechat: Start, tmp_path: Path) -> None:
    names = ("getusercumulate", "getweanalysisappiddailysummarytrend")
    days = ("--start", "2017-01-02", "--end", "2017-01-15")
    given = (*names, *days, "--base-url", wechat().url, "--rate", "500/s", "--json")
    result = harvest("run", "--appid", A, *given, cwd=tmp_path)
    report = json.loads(result.stdout)
    assert (result.returncode, report["state"]) == (0, "complete")
    note = (
        "getweanalysisappiddailysummarytrend: starts on 2017-01-09, because there is no older data"
    )
    assert report["notes"] == [note]
    assert note in result.stderr
    found = {row["_begin_date"] for row in stored(tmp_path / "harvest", names[1])}
    assert (min(found), len(found)) == ("2017-01-09", 7)
    plan = harvest("plan", *names, *days, cwd=tmp_path / "harvest").stdout
    assert f"note    {note}" in plan
