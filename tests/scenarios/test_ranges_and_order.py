"""What a range begins with: before an interface's first day, and under ``order``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import events
from harvester.testing import Simulator, serve
from tests.support import A, Wechat, harvest

CHINA = timezone(timedelta(hours=8))
ACCOUNT = harvester.Account(A, secret="practice")


def asked(folder: Path, *days: str, **options: Any) -> tuple[list[str], harvester.Report]:
    """The first days of the windows in the order in which they became safe, and the report."""
    seen: list[str] = []

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.Committed):
            seen.extend(str(window.begin) for window in event.windows)

    async def run() -> harvester.Report:
        async with serve(Simulator()) as server:
            return await harvester.run(
                ACCOUNT, "getinterfacesummaryhour", *days, sink=f"jsonl:{folder}",
                base_url=server.url, rate="1000/s", concurrency=1, on_event=on_event, **options,
            )  # fmt: skip

    report = asyncio.run(run())
    return seen, report


def january(*numbers: int) -> list[str]:
    return [f"2024-01-{number:02}" for number in numbers]


def test_oldest_begins_with_the_first_missing_day_and_goes_on_by_date(tmp_path: Path) -> None:
    asked(tmp_path, "2024-01-03", "2024-01-05")
    seen, _ = asked(tmp_path, "2024-01-01", "2024-01-10", order="oldest")
    assert seen == january(1, 2, 6, 7, 8, 9, 10)


def test_oldest_with_yesterday_in_the_range_ends_with_yesterday(tmp_path: Path) -> None:
    start = str(datetime.now(CHINA).date() - timedelta(days=10))
    seen, _ = asked(tmp_path, start, "yesterday", order="oldest")
    assert seen == sorted(seen)
    assert seen[0] == start
    assert len(seen) in (9, 10)  # before 08:00 in China yesterday is the day before


def test_a_small_quota_with_oldest_harvests_the_oldest_days(tmp_path: Path) -> None:
    seen, report = asked(tmp_path, "2024-01-01", "2024-01-10", order="oldest", daily_quota=3)
    assert seen == january(1, 2, 3)
    assert (report.state, report.windows.waiting) == ("waiting", 7)


def test_newest_begins_with_the_last_day(tmp_path: Path) -> None:
    seen, _ = asked(tmp_path, "2024-01-01", "2024-01-05")
    assert seen == january(5, 4, 3, 2, 1)


@pytest.mark.parametrize("names", [["getusersummary"], ["getusersummary", "getarticleread"]])
def test_a_start_before_the_first_day_is_a_note(
    names: list[str], wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    result = harvest(
        "run", *names, "--appid", A, "--start", "2014-11-01", "--end", "2014-12-10",
        "--base-url", server.url, "--out", tmp_path, "--rate", "1000/s", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert "getusersummary: from 2014-12-01 on, there is nothing before" in report["notes"]
    assert report["windows"]["planned"] == report["windows"]["done"] == 2


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_range_that_ends_before_the_first_day_is_an_error(command: str, tmp_path: Path) -> None:
    result = harvest(
        command, "getusersummary", "--appid", A, "--start", "2014-11-01", "--end", "2014-11-30",
        "--out", tmp_path,
    )  # fmt: skip
    assert result.returncode == 2
    assert "getusersummary has no data before 2014-12-01" in result.stderr
    assert not any(tmp_path.iterdir())
