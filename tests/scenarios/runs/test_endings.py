"""How a run of the library ends: what its report raises, and what a cancellation within it does."""

from __future__ import annotations

import asyncio
import pickle
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import events
from harvester.testing import Simulator, serve
from tests.support import A

ENDPOINT = "getinterfacesummaryhour"
DAYS = ("2024-01-01", "2024-01-12")


def reported(folder: Path, simulator: Simulator, *appids: str, **options: Any) -> harvester.Report:
    """The report of a run against a simulated WeChat."""

    async def run() -> harvester.Report:
        async with serve(simulator) as server:
            accounts = [harvester.Account(appid, secret="practice") for appid in appids or (A,)]
            return await harvester.run(
                accounts, ENDPOINT, *DAYS, sink=f"jsonl:{folder}", base_url=server.url,
                **{"rate": "1000/s", **options},
            )  # fmt: skip

    return asyncio.run(run())


def incomplete(report: harvester.Report) -> harvester.IncompleteError:
    """What it raises; it arrives whole in another process."""
    with pytest.raises(harvester.IncompleteError) as caught:
        report.raise_for_state()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.report) == (str(caught.value), report)
    assert caught.value.report is report
    return caught.value


def test_a_complete_report_raises_nothing(tmp_path: Path) -> None:
    report = reported(tmp_path, Simulator())
    assert report.windows.done == 12
    report.raise_for_state()


def test_a_wrong_secret_is_named_with_its_code_and_request_id(tmp_path: Path) -> None:
    report = reported(tmp_path, Simulator(secret="right"))
    text = str(incomplete(report))
    assert text.startswith("the harvest is incomplete: 12 windows failed; the first: ")
    assert f"{A} {ENDPOINT}: 12 windows 2024-01-01 to 2024-01-12: " in text
    assert "errcode 40125" in text
    assert "the secret is wrong" in text
    assert f"[rid: {report.failures[0].rid}]" in text
    assert "practice" not in text


def test_one_reason_of_many_accounts_is_named_once(tmp_path: Path) -> None:
    appids = [f"wx{number:016x}" for number in range(50)]
    text = str(incomplete(reported(tmp_path, Simulator(secret="right"), *appids)))
    assert text.startswith("the harvest is incomplete: 600 windows failed; the first: ")
    assert text.count("40125") == 1
    assert "and 47 more accounts, " in text


def test_no_more_than_three_causes_are_named() -> None:
    report = harvester.Report(state="partial")
    report.windows.failed = 5_000
    day = date(2024, 1, 1)
    report.failures = [
        events.Failure(A, ENDPOINT, day, day, f"errcode {code} (x)", code, windows=1_000)
        for code in range(1, 6)
    ]
    text = str(incomplete(report))
    assert "5,000 windows failed" in text
    assert [f"errcode {code} " in text for code in range(1, 6)] == [True] * 3 + [False] * 2
    assert text.endswith("; and 2 other causes")


def test_what_waits_is_named_with_its_time(tmp_path: Path) -> None:
    report = reported(tmp_path, Simulator(), daily_quota=2)
    text = str(incomplete(report))
    assert report.state == "waiting"
    assert text.startswith("the harvest is incomplete: 10 windows must wait until 2")
    assert f"; the first: {A} {ENDPOINT}: 10 windows " in text
    assert "quota" in text


@pytest.mark.thorough
def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    stop = asyncio.Event()

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.Committed):
            stop.set()

    simulator = Simulator(latency=0.05)
    report = reported(tmp_path, simulator, rate="10/s", on_event=on_event, stop=stop)
    left = 12 - report.windows.done
    assert 0 < left < 12
    text = str(incomplete(report))
    assert text == f"the harvest is incomplete: the run was interrupted, {left} windows left"


async def test_a_run_that_stopped_has_a_report_that_raises(tmp_path: Path) -> None:
    account = harvester.Account(A, secret="practice")
    nowhere = {"base_url": "http://127.0.0.1:9", "attempts": 1}
    with pytest.raises(harvester.RunError) as caught:
        await harvester.run(account, ENDPOINT, *DAYS, sink=f"jsonl:{tmp_path}", **nowhere)
    assert caught.value.report is not None
    assert str(incomplete(caught.value.report)) == "the harvest is incomplete: the run stopped"


async def test_a_stream_says_the_same_at_its_end() -> None:
    account = harvester.Account(A, secret="practice")
    async with serve(Simulator(secret="right")) as server:
        with pytest.raises(harvester.IncompleteError) as caught:
            async with harvester.stream(account, ENDPOINT, *DAYS, base_url=server.url) as records:
                assert not [record async for record in records]
    assert str(caught.value) == str(incomplete(caught.value.report))
    assert "errcode 40125" in str(caught.value)
