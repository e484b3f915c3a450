"""The programs in the pages of docs/ are run as they are there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import FakeTransport, Simulator
from tests.support import ROOT, A

DOCS = ROOT / "docs"


def blocks(page: str) -> list[str]:
    """The blocks of code of a page; each is a part of one program in Python."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language == "python"]


@pytest.mark.thorough
def test_the_tests_that_the_page_about_testing_shows_pass(tmp_path: Path) -> None:
    page = (DOCS / "testing.md").read_text(encoding="utf-8")
    parts = blocks("testing.md")
    assert page.count("```") == 2 * len(parts), "a block that is not run"
    program = tmp_path / "test_page.py"
    program.write_text("\n\n".join(parts), encoding="utf-8")
    ini = tmp_path / "pytest.ini"
    ini.write_text("[pytest]\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-c", ini, program],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    tests = len(re.findall(r"^def test_", "\n".join(parts), re.MULTILINE))
    assert tests > 5
    assert f"{tests} passed" in done.stdout


@pytest.mark.thorough
def test_the_page_about_testing_begins_with_a_test_that_passes(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks("testing.md")[0], "testing.md", "exec"), names)
    [test] = [name for name in names if name.startswith("test_")]
    names[test](tmp_path)
    assert [*harvester.rows(tmp_path / "users.db", "getusersummary")]


class Client:
    """A key-value server; it can be away."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.locks: dict[str, asyncio.Lock] = {}
        self.away = False

    async def get(self, key: str) -> Any:
        if self.away:
            raise ConnectionError
        return self.values.get(key)

    async def compare_and_set(self, key: str, former: Any, new: Any) -> bool:
        if self.values.get(key) != former:
            return False
        self.values[key] = new
        return True

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        return self.locks.setdefault(key, asyncio.Lock())


@pytest.mark.thorough
@pytest.mark.parametrize("away", [False, True])
def test_the_token_store_of_the_page_about_accounts_shares_a_token(away: bool) -> None:
    names: dict[str, Any] = {}
    [program] = blocks("accounts.md")
    exec(program, names)
    client = Client()
    client.away, simulator = away, Simulator()
    account = harvester.Account(A, secret="practice")
    reports = [
        harvester.run_sync(
            account, "getusersummary", "2024-01-01", "2024-01-31", sink="memory:", attempts=2,
            transport=FakeTransport(simulator), token_store=names["Store"](client),
        )
        for _ in range(2)
    ]  # fmt: skip
    if away:
        assert [report.state for report in reports] == ["failed"] * 2
        assert "the key-value server cannot be reached" in reports[0].stopped[A]
    else:
        assert [report.token_fetches for report in reports] == [1, 0]
