"""References in an accounts file that lead nowhere stop their own accounts and no other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import Wechat, harvest, stored

pytestmark = pytest.mark.thorough

ENDPOINT = "getinterfacesummaryhour"
DAYS = ["--start", "2024-01-01", "--end", "2024-01-03"]


def appid(number: int) -> str:
    return f"wx{number:016x}"


def account(number: int, *lines: str) -> str:
    return "\n".join(["[[account]]", f'appid = "{appid(number)}"', *lines, ""])


GOOD = 'secret = "env:GOOD"'
PLATFORM = """
[[platform]]
name = "ours"
appid = "wx00000000000000aa"
secret = "env:NO_PLATFORM_SECRET"
ticket = "file:ticket"
"""


def run(
    server: Wechat, folder: Path, text: str, *arguments: str, name: str = "accounts.toml"
) -> subprocess.CompletedProcess[str]:
    (folder / name).write_text(text)
    return harvest(
        "run", ENDPOINT, *DAYS, "--accounts", folder / name, "--out", folder / "out",
        "--base-url", server.url, "--rate", "1000/s", *arguments, GOOD="practice",
    )  # fmt: skip


def by_account(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {failure["appid"]: failure for failure in json.loads(result.stdout)["failures"]}


def test_the_others_go_on_and_each_broken_account_is_reported(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    (tmp_path / "open").write_text("practice")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bytes").chmod(0o600)
    broken = {
        2: ('secret = "env:NOT_SET"', "the environment variable NOT_SET is not set"),
        3: ('secret = "file:nowhere"', "nowhere cannot be read (No such file or directory)"),
        4: ('secret = "file:open"', "open is open to others; run: chmod 600"),
        5: ('secret = "file:empty"', "empty is empty"),
        6: ('secret = "file:bytes"', "bytes is not text"),
        7: ('token = "static:env:NO_TOKEN"', "the environment variable NO_TOKEN is not set"),
        8: ('token = "https://127.0.0.1:9/"\ntoken_header = "env:NO_HEADER"', "NO_HEADER is not"),
    }
    text = account(1, GOOD) + "".join(account(n, line) for n, (line, _) in broken.items())
    result = run(server, tmp_path, text + account(9, GOOD), "--json")
    assert result.returncode == 1, result.stderr
    report = json.loads(result.stdout)
    assert report["state"] == "partial"
    assert report["windows"] == {
        "planned": 27, "skipped": 0, "done": 6, "empty": 0, "waiting": 0, "failed": 21,
    }  # fmt: skip
    failures = by_account(result)
    assert failures.keys() == {appid(number) for number in broken}
    for number, (_, problem) in broken.items():
        failure = failures[appid(number)]
        assert f"accounts.toml, account {number}: " in failure["error"]
        assert problem in failure["error"]
        assert (failure["begin_date"], failure["end_date"]) == ("2024-01-01", "2024-01-03")
        assert failure["windows"] == 3
        assert result.stderr.count(f"account {number}: ") == 1, result.stderr
    assert {record["_appid"] for record in stored(tmp_path / "out", ENDPOINT)} == {
        appid(1), appid(9),
    }  # fmt: skip
    assert report["requests"] == server.simulator.counts["data"] == 6
    assert "practice" not in result.stderr + result.stdout


def test_a_reference_that_is_mended_is_harvested_by_the_next_run(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    text = account(1, GOOD) + account(2, 'secret = "file:later"')
    assert run(server, tmp_path, text).returncode == 1
    (tmp_path / "later").write_text("practice")
    (tmp_path / "later").chmod(0o600)
    result = run(server, tmp_path, text, "--json")
    assert result.returncode == 0, result.stderr
    windows = json.loads(result.stdout)["windows"]
    assert (windows["skipped"], windows["done"]) == (3, 3)


def test_if_no_account_is_left_nothing_is_sent(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    text = "".join(account(n, f'secret = "env:NOT_SET_{n}"') for n in range(1, 26))
    result = run(server, tmp_path, text)
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 21
    for number, line in enumerate(lines[:20], 1):
        assert f"account {number}: the environment variable NOT_SET_{number} is not set" in line
    assert "and 5 more; no account of " in lines[20]
    assert not server.simulator.counts
    assert not (tmp_path / "out").exists()


def test_a_platform_without_its_secret_stops_its_accounts_alone(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    (tmp_path / "ticket").write_text("t")
    (tmp_path / "ticket").chmod(0o600)
    refresh = 'platform = "ours"\nrefresh_token = "file:ticket"'
    text = PLATFORM + account(1, GOOD) + "".join(account(n, refresh) for n in range(2, 7))
    result = run(server, tmp_path, text)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "NO_PLATFORM_SECRET" in line]
    assert (
        "and 2 more accounts, getinterfacesummaryhour: 15 windows 2024-01-01 to 2024-01-03" in line
    )


def test_csv_says_the_same(wechat: Callable[..., Wechat], tmp_path: Path) -> None:
    server = wechat()
    text = f"appid,secret\n{appid(1)},env:GOOD\n{appid(2)},env:NOT_SET\n"
    result = run(server, tmp_path, text, "--json", name="accounts.csv")
    assert result.returncode == 1
    (failure,) = by_account(result).values()
    assert "accounts.csv, line 3: the environment variable NOT_SET is not set" in failure["error"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (account(1, GOOD) + account(2, 'secrt = "env:X"'), "unknown key 'secrt'"),
        (account(1, GOOD) * 2, "was given twice"),
        (account(1, GOOD) + "[[account", "accounts.toml"),
        (account(1, GOOD) + account(2), "has no secret"),
        (account(1, GOOD) + account(2, 'secret = "abc"'), "a secret is a reference"),
        (account(1, GOOD) + account(2, 'token = "static:x"'), "a token is a reference"),
    ],
)
def test_a_file_that_is_not_well_formed_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "accounts.toml").write_text(text)
    result = harvest(
        "run", ENDPOINT, *DAYS, "--accounts", tmp_path / "accounts.toml", "--out",
        tmp_path / "out", "--base-url", "http://127.0.0.1:9", GOOD="practice",
    )  # fmt: skip
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
