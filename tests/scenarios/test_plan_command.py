"""`harvester plan` promises no more than a run can keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import harvest

pytestmark = pytest.mark.thorough

YEARS = ["getinterfacesummaryhour", "--start", "2020-01-01", "--end", "2023-12-31"]


def accounts(folder: Path, number: int, *more: str) -> Path:
    path = folder / "accounts.csv"
    lines = [f"wx{each:016x},env:NOT_SET{''.join(more)}" for each in range(number)]
    header = "appid,secret" + (",concurrency" if more else "")
    path.write_text("\n".join([header, *lines, ""]))
    return path


def time_of(folder: Path, *arguments: str | Path) -> str:
    """The line of the plan that speaks of time."""
    result = harvest("plan", *YEARS, "--out", folder / "out", *arguments)
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("time ")]
    return line.removeprefix("time").strip()


def test_many_accounts_are_bounded_by_the_requests_in_flight(tmp_path: Path) -> None:
    # 500 accounts x 1,461 days at 64 in flight, 0.3 s an answer: 3,424 s; 2,500/s by the rate
    assert time_of(tmp_path, "--accounts", accounts(tmp_path, 500)) == (
        "57 min with 64 requests in flight (assumed: 0.3 s an answer);"
        " the rate of 300/min an account alone would allow 5 min"
    )


def test_few_accounts_are_bounded_by_the_rate(tmp_path: Path) -> None:
    assert time_of(tmp_path, "--accounts", accounts(tmp_path, 2), "--rate", "1/s") == (
        "24 min at 1/s an account, all accounts at once (assumed: 0.3 s an answer)"
    )


def test_a_cap_of_the_account_counts(tmp_path: Path) -> None:
    assert time_of(tmp_path, "--rate", "100/s", "--account-concurrency", "1") == (
        "7 min with 64 requests in flight, 1 an account (assumed: 0.3 s an answer);"
        " the rate of 100/s an account alone would allow 15 s"
    )


def test_a_cap_of_the_file_counts(tmp_path: Path) -> None:
    file = accounts(tmp_path, 1, ",1")
    assert time_of(tmp_path, "--rate", "100/s", "--accounts", file).startswith("7 min with ")


def test_a_plan_needs_no_secret_and_does_not_stop_for_references_that_are_broken(
    tmp_path: Path,
) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(
        '[[account]]\nappid = "wx00000000000000aa"\nsecret = "env:NOT_SET"\n'
        '[[account]]\nappid = "wx00000000000000bb"\nsecret = "file:nowhere"\n'
    )
    result = harvest("plan", *YEARS, "--accounts", file, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "2,922" in result.stdout
