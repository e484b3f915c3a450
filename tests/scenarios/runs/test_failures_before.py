"""Failures that are new, those of the run before, and accounts that may fail."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.cli.session import Ending, OutputOptions, conclude
from harvester.config.settings import check
from harvester.events import Failure, Report, Windows
from harvester.testing import FakeTransport, Simulator
from tests.scenarios.command import Start
from tests.scenarios.conftest import Jobs
from tests.scenarios.shared import ended
from tests.support import A, B, harvest

E, OTHER = "getusersummary", "getusercumulate"
BEGIN = date(2024, 1, 1)
Capture = pytest.CaptureFixture[str]


async def failures(
    folder: Path | None, simulator: Simulator, end: str = "2024-01-10", *endpoints: str
) -> dict[tuple[str, str, int | None], bool | None]:
    """What fails in one more run: account, interface, errcode, and whether that is new."""
    report = await harvester.run(
        [harvester.Account(appid, secret="practice") for appid in (A, B)],
        endpoints or E,
        "2024-01-01",
        end,
        sink=f"jsonl:{folder}" if folder else "memory:",
        ledger=None if folder is None else folder / "ledger.sqlite",
        rate="1000/s",
        transport=FakeTransport(simulator),
    )
    listed = [(each.appid, each.endpoint, each.code, each.new) for each in report.failures]
    assert [each["new"] for each in report.to_dict()["failures"]] == [each[3] for each in listed]
    return {each[:3]: each[3] for each in listed}


async def test_what_failed_in_the_run_before_is_not_new_whatever_the_day(tmp_path: Path) -> None:
    broken = Simulator(refuse_token={B: 40164})
    assert await failures(tmp_path, broken, "2024-01-10") == {(B, E, 40164): True}
    assert await failures(tmp_path, broken, "2024-01-11") == {(B, E, 40164): False}
    assert await failures(tmp_path, broken, "2024-01-12") == {(B, E, 40164): False}


async def test_another_errcode_interface_or_account_is_new(tmp_path: Path) -> None:
    await failures(tmp_path, Simulator(refuse={(B, E): 48001}))
    assert await failures(
        tmp_path,
        Simulator(refuse={(B, E): 40066, (A, E): 48001, (B, OTHER): 48001}),
        "2024-01-20",
        E,
        OTHER,
    ) == {(A, E, 48001): True, (B, E, 40066): True, (B, OTHER, 48001): True}


async def test_what_had_recovered_is_new_again(tmp_path: Path) -> None:
    broken = Simulator(refuse_token={B: 40125})
    assert await failures(tmp_path, broken) == {(B, E, 40125): True}
    assert await failures(tmp_path, Simulator()) == {}
    assert await failures(tmp_path, broken, "2024-01-11") == {(B, E, 40125): True}


async def test_without_a_ledger_nobody_knows() -> None:
    assert await failures(None, Simulator(refuse_token={B: 40125})) == {(B, E, 40125): None}


SOME = "wx0000000000000003"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A file of three accounts, of which one has another secret."""
    path = tmp_path / "accounts.csv"
    path.write_text(f"appid,secret\n{A},env:GOOD\n{B},env:BAD\n{SOME},env:GOOD\n")
    return path


@pytest.mark.thorough
def test_so_many_accounts_may_fail(wechat: Start, listed: Path, tmp_path: Path) -> None:
    url = wechat(refuse={(A, E): 48001}).url
    given = [
        "run", E, OTHER, "--accounts", listed, "--out", tmp_path / "out", "--base-url", url,
        "--start", "2024-01-01", "--end", "2024-01-05", "--rate", "1000/s", "--json",
    ]  # fmt: skip
    secrets = {"GOOD": "practice", "BAD": "practice"}
    first = harvest(*given, "--allow-failed", "0", **secrets)
    assert (first.returncode, harvest(*given, **secrets).returncode) == (1, 1)
    assert (
        f"1 account failed; --allow-failed allows 0; these did not fail in the previous run: {A}"
        in first.stderr
    )

    secrets["BAD"] = "wrong"
    more = harvest(*given, "--end", "2024-01-20", "--allow-failed", "2", **secrets)
    assert more.returncode == 0
    assert (
        f"2 accounts failed; --allow-failed allows 2; these did not fail in the previous run: {B}"
        in more.stderr
    )
    lines = [line for line in more.stderr.splitlines() if " failed" in line and "errcode" in line]
    assert [line.partition(":")[2].split()[0].rstrip(",") for line in lines] == [B, A]
    assert " failed, also in the previous run: errcode 48001" in lines[1]
    report = json.loads(more.stdout.splitlines()[-1])
    assert report["state"] == "partial"
    assert {(each["appid"], each["new"]) for each in report["failures"]} == {(A, False), (B, True)}
    given += ["--end", "2024-01-20"]
    for share, status in (("66%", 1), ("66.7%", 0)):
        assert harvest(*given, "--allow-failed", share, **secrets).returncode == status

    quiet = harvest(*given, "--allow-failed", "2", "--quiet", HARVESTER_JSON="no", **secrets)
    assert "--allow-failed" not in quiet.stderr


@pytest.mark.thorough
def test_all_accounts_may_fail_but_not_the_run(wechat: Start, listed: Path, tmp_path: Path) -> None:
    given: list[Any] = [
        "run", E, "--accounts", listed, "--out", tmp_path / "out", "--start", "2024-01-01",
        "--end", "2024-01-05", "--rate", "1000/s", "--allow-failed", "100%",
    ]  # fmt: skip
    url = wechat(secret="another").url
    secrets = {"GOOD": "x", "BAD": "y"}
    assert harvest(*given, "--base-url", url, **secrets).returncode == 0
    lost = harvest(*given, "--base-url", "http://127.0.0.1:9", "--attempts", "1", **secrets)
    assert lost.returncode == 4


@pytest.mark.parametrize("given", ["-1", "101%", "some", "1.5", ""])
def test_what_is_no_number_of_accounts_is_refused(given: str, capsys: Capture) -> None:
    assert invoke(["run", E, f"--allow-failed={given}"]) == 2
    expected = "expected a number of accounts or a share of them, e.g. 20 or 5%"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "accounts", "allowed"),
    [("0", 1500, 0), ("20", 1500, 20), (20, 3, 20), ("1%", 1500, 15), ("0.5 %", 1500, 7),
     ("100%", 3, 3), ("0%", 3, 0)],
)  # fmt: skip
def test_a_number_or_a_share_of_the_accounts(given: object, accounts: int, allowed: int) -> None:
    assert check("allow_failed", given).of(accounts) == allowed


def failed(appid: str, new: bool | None) -> Failure:
    return Failure(appid, E, BEGIN, BEGIN, "bad", 48001, new=new)


@pytest.mark.parametrize(
    ("report", "allowed", "problem", "status"),
    [
        (Report("partial", failures=[failed(A, True)]), None, "", 1),
        (Report("partial", failures=[failed(A, True), failed(A, True)]), 1, "", 0),
        (Report("partial", failures=[failed(A, True), failed(B, False)]), 1, "", 1),
        (Report("partial", failures=[failed(A, True), failed(B, None)]), 2, "", 0),
        (Report("partial", Windows(waiting=1), failures=[failed(A, False)]), 1, "", 3),
        (Report("failed", failures=[failed(A, True)]), 1, "", 0),
        (Report("failed", failures=[failed(A, True)]), 1, "the disk is full", 4),
        (Report("failed"), 1, "no server answers", 4),
        (Report("interrupted", failures=[failed(A, True)]), 1, "", 130),
        (Report("waiting", Windows(waiting=1)), 1, "", 3),
        (Report("complete"), 1, "", 0),
    ],
)
def test_the_status_of_a_run_in_which_accounts_may_fail(
    report: Report, allowed: int | None, problem: str, status: int
) -> None:
    manner = OutputOptions()
    assert conclude(Ending(report, problem), "", manner, (BEGIN, BEGIN), allowed) == status


def test_what_failed_before_is_said_beside_it_and_what_is_new_comes_first(
    capsys: Capture,
) -> None:
    report = Report("partial", failures=[failed(A, False), failed(B, True)])
    conclude(Ending(report), "", OutputOptions(), (BEGIN, BEGIN), 2)
    said = capsys.readouterr().err
    assert f"{A} {E}: 1 window {BEGIN} failed, also in the previous run: bad\n" in said
    assert f"{B} {E}: 1 window {BEGIN} failed: bad\n" in said
    assert said.index(B) < said.index(A)
    assert (
        f"2 accounts failed; --allow-failed allows 2; these did not fail in the previous run: {B}\n"
        in said
    )


@pytest.mark.thorough
def test_a_shared_ledger_knows_what_failed_before(job: Jobs) -> None:
    bad = "wx0000000000000003"
    here = job(refuse={bad: 48001})
    states = []
    for end in ("2024-01-10", "2024-01-11"):
        report = ended(here.start("--end", end), 1, "partial")
        states.append([(each["appid"], each["new"]) for each in report["failures"]])
    assert states == [[(bad, True)], [(bad, False)]]


@pytest.mark.thorough
def test_the_processes_of_one_run_agree_on_what_is_new(job: Jobs) -> None:
    bad = "wx0000000000000000"
    here = job(refuse={bad: 48001}, latency=0.4)
    first = here.start()
    here.called(6)  # the bad account, which comes first, has failed by now
    second = here.start()
    for process in (first, second):
        report = ended(process, 1, "partial")
        assert [(each["appid"], each["new"]) for each in report["failures"]] == [(bad, True)]
