"""References in an accounts file that lead nowhere stop their own accounts and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.command import Done, Start
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


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def run(
    server: Wechat, folder: Path, text: str, *arguments: str, name: str = "accounts.toml"
) -> Done:
    (folder / name).write_text(text)
    return harvest(
        "run", ENDPOINT, *DAYS, "--accounts", folder / name, "--out", folder / "out",
        "--base-url", server.url, "--rate", "1000/s", *arguments, GOOD="practice",
    )  # fmt: skip


def by_account(result: Done) -> dict[str, dict[str, Any]]:
    return {failure["appid"]: failure for failure in json.loads(result.stdout)["failures"]}


def test_the_others_go_on_and_each_broken_one_is_reported(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    write(tmp_path / "open", b"practice", 0o644)
    write(tmp_path / "empty", b"")
    write(tmp_path / "bytes", b"\xff\xfe\x00")
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


def test_a_mended_reference_is_harvested_by_the_next_run(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    text = account(1, GOOD) + account(2, 'secret = "file:later"')
    assert run(server, tmp_path, text).returncode == 1
    write(tmp_path / "later", b"practice")
    result = run(server, tmp_path, text, "--json")
    assert result.returncode == 0, result.stderr
    windows = json.loads(result.stdout)["windows"]
    assert (windows["skipped"], windows["done"]) == (3, 3)


def test_if_no_account_is_left_nothing_is_sent(wechat: Start, tmp_path: Path) -> None:
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


def test_a_platform_without_secret_stops_its_accounts_alone(wechat: Start, tmp_path: Path) -> None:
    write(tmp_path / "ticket", b"t")
    refresh = 'platform = "ours"\nrefresh_token = "file:ticket"'
    text = PLATFORM + account(1, GOOD) + "".join(account(n, refresh) for n in range(2, 7))
    result = run(wechat(), tmp_path, text)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "NO_PLATFORM_SECRET" in line]
    assert (
        "and 2 more accounts, getinterfacesummaryhour: 15 windows 2024-01-01 to 2024-01-03" in line
    )
