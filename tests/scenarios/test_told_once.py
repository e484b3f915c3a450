"""What failed and what must wait is told once, summed, with how many windows and which days."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harvester.testing import Faults
from tests.scenarios.fast import Ended, harvest_at
from tests.support import A, Wechat, harvest

pytestmark = pytest.mark.thorough

ENDPOINT = "getinterfacesummaryhour"
DAYS = ["--start", "2024-01-01", "--end", "2024-01-31"]


def run(
    server: Wechat, folder: Path, *arguments: str | Path, **env: str
) -> subprocess.CompletedProcess[str]:
    return harvest(
        "run", *DAYS, "--base-url", server.url, "--rate", "1000/s", "--out", folder / "out",
        *arguments, **env,
    )  # fmt: skip


def told(result: subprocess.CompletedProcess[str] | Ended, text: str) -> list[str]:
    """The lines of either output that hold a text."""
    both = (result.out, result.err) if isinstance(result, Ended) else (result.stdout, result.stderr)
    return [line for line in "".join(both).splitlines() if text in line]


def accounts(folder: Path, number: int) -> Path:
    path = folder / "accounts.csv"
    rows = [f"wx{each:016x},env:WX_SECRET" for each in range(number)]
    path.write_text("\n".join(["appid,secret", *rows, ""]))
    return path


def test_a_spent_quota_is_one_line_an_interface(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(daily_quota=5)
    result = harvest_at(
        "2024-03-10", 12, "run", ENDPOINT, "--appid", A, *DAYS, "--base-url", server.url,
        "--rate", "1000/s", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.status == 3, result.err
    (line,) = told(result, "must wait")
    # which of the last days came first is chance
    assert line.startswith(f"harvester: {A} {ENDPOINT}: 26 windows 2024-01-01 to 2024-01-")
    assert " must wait until 2024-03-11 00:01" in line
    assert "45009" in line
    assert len(told(result, "45009")) == 1
    assert len(told(result, "run the same command again from ")) == 1


def test_windows_that_failed_alike_are_one_line(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(refuse={ENDPOINT: 61500})
    result = run(server, tmp_path, ENDPOINT, "--appid", A)
    assert result.returncode == 1
    (line,) = told(result, "61500")
    assert f"{A} {ENDPOINT}: 31 windows 2024-01-01 to 2024-01-31 failed: errcode 61500" in line


def test_a_wrong_secret_of_one_account_is_one_line_however_many_interfaces_it_has(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(secret="right")
    result = run(server, tmp_path, "users", "interface", "--appid", A)
    assert result.returncode == 4
    (line,) = told(result, "40125")
    assert line.startswith(
        f"harvester: {A}, getinterfacesummary, getinterfacesummaryhour, getusercumulate and 1 more"
        " interface: 43 windows 2024-01-01 to 2024-01-31 failed: "
    )


def test_a_wrong_secret_of_a_hundred_accounts_is_one_line(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    file = accounts(tmp_path, 100)
    result = run(server, tmp_path, ENDPOINT, "--accounts", file, WX_SECRET="wrong")
    assert result.returncode == 4
    (line,) = told(result, "40125")
    assert (
        f"and 97 more accounts, {ENDPOINT}: 3,100 windows 2024-01-01 to 2024-01-31 failed: " in line
    )


def test_twenty_reasons_are_told_and_the_others_counted(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    path = tmp_path / "accounts.csv"
    rows = [f"wx{each:016x},env:NOT_SET_{each}" for each in range(25)]
    path.write_text("\n".join(["appid,secret", *rows, f"{A},env:WX_SECRET", ""]))
    result = run(server, tmp_path, ENDPOINT, "--accounts", path, WX_SECRET="practice")
    assert result.returncode == 1
    assert len(told(result, "NOT_SET_")) == 20
    assert told(result, "and 5 more; ") == ["harvester: and 5 more; harvester status lists them"]
    status = harvest("status", "--out", tmp_path / "out").stdout
    assert all(f"NOT_SET_{each} is not set" in status for each in range(25))


def test_a_storm_that_ends_well_tells_no_failure(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(faults=Faults(first_busy=3))
    result = run(server, tmp_path, ENDPOINT, "--appid", A)
    assert result.returncode == 0, result.stderr
    assert not told(result, "failed")
