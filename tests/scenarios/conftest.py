"""Fixtures of the scenarios: a server of days, and what several processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machine import library, program
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Start
from tests.scenarios.days import DaysOnly
from tests.scenarios.places import spec_of
from tests.scenarios.shared import Job


@pytest.fixture
def server() -> Iterator[DaysOnly]:
    """A WeChat that gives each account two records a day."""
    with DaysOnly() as one:
        yield one


@pytest.fixture
def spec(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The spec of a new sink of the kind that a test names."""
    return spec_of(kind, tmp_path / "there", request)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; until its module ends no other event loop can run in this thread."""
    sync_api, found = library("playwright.sync_api"), program("chromium", "chromium-browser")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The URL of a new database, without its password."""
    return postgres.url(postgres.new_database()).replace(f":{PASSWORD}", "")


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    """A file of twelve accounts."""
    path = tmp_path / "accounts.csv"
    rows = [f"wx{each:016x},env:HARVESTER_SECRET" for each in range(12)]
    path.write_text("\n".join(["appid,secret", *rows, ""]))
    return path


Jobs = Callable[..., Job]
"""What the fixture `job` is: a job into its ledger's database or another sink."""


@pytest.fixture
def job(wechat: Start, postgres: PostgresServer, database: str, accounts: Path) -> Jobs:
    """Make a job against a simulated WeChat: ``job(latency=0.1)``, ``job(sink, latency=0.1)``."""

    def make(sink: str = database, **how: Any) -> Job:
        made = Job(wechat(**how), postgres, database, accounts)
        made.sink = sink
        return made

    return make
