"""Observers of a run: a plain or a coroutine function as ``on_event``, and the log."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import events
from harvester.testing import FakeTransport, Simulator
from tests.scenarios.command import Start, asked
from tests.support import A, B, harvest

ASKED = ("getarticlesummary", "2024-01-01", "2024-01-31")


def options(simulator: Simulator | None = None, **more: Any) -> dict[str, Any]:
    """A run without a socket."""
    transport = FakeTransport(simulator or Simulator())
    return {"sink": "memory:", "rate": "1000/s", "transport": transport, **more}


ACCOUNTS = [harvester.Account(appid, secret="practice") for appid in (A, B)]


class Slow:
    """A coroutine function that takes its time; active: calls that have not returned."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.events: list[events.Event] = []
        self.active = self.most = 0
        self._seconds = seconds

    async def __call__(self, event: events.Event) -> None:
        self.active += 1
        self.most = max(self.most, self.active)
        await asyncio.sleep(self._seconds)
        self.events.append(event)
        self.active -= 1


async def test_a_coroutine_function_receives_each_event_in_order_and_one_at_a_time() -> None:
    plain: list[events.Event] = []
    slow = Slow()

    def observe(event: events.Event) -> Any:
        plain.append(event)
        return slow(event)

    report = await harvester.run(ACCOUNTS, *ASKED, **options(on_event=observe))
    assert report.state == "complete"
    assert slow.events == plain
    assert slow.most == 1
    assert isinstance(plain[0], events.RunStarted)
    assert plain[-1] == events.Ended(report)
    assert sum(len(each.windows) for each in plain if isinstance(each, events.Committed)) == 62


def test_it_is_awaited_by_a_run_of_a_script_and_in_a_stream() -> None:
    in_script, in_stream = Slow(0), Slow(0)
    harvester.run_sync(ACCOUNTS, *ASKED, **options(on_event=in_script))

    async def main() -> None:
        how = options(on_event=in_stream)
        del how["sink"]
        async with harvester.stream(ACCOUNTS, *ASKED, **how) as records:
            assert [record async for record in records]

    asyncio.run(main())
    for seen in (in_script, in_stream):
        assert isinstance(seen.events[-1], events.Ended)


@pytest.mark.thorough
async def test_a_run_that_is_ahead_of_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.engine.run.MOST_PENDING", 1)
    slow, most = Slow(0.005), 0

    def observe(event: events.Event) -> Any:
        nonlocal most
        given.append(event)
        most = max(most, len(given) - len(slow.events))
        return slow(event)

    given: list[events.Event] = []
    account = harvester.Account(A, secret="practice")
    how = options(on_event=observe, concurrency=1)
    del how["sink"]
    async with harvester.stream(account, *ASKED, **how) as records:  # a commit for each window
        assert [record async for record in records]
    assert len(given) > 31
    assert most < 8


@pytest.mark.parametrize("name", ["Ended", "Committed", "RunStarted"])
async def test_what_it_raises_ends_the_run_and_it_is_called_no_more(name: str) -> None:
    seen = []

    async def observe(event: events.Event) -> None:
        seen.append(type(event).__name__)
        if seen[-1] == name:
            raise KeyError(name)

    with pytest.raises(KeyError, match=name):
        await harvester.run(ACCOUNTS, *ASKED, **options(on_event=observe))
    assert seen[-1] == name
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_it_receives_the_end_of_a_run_that_fails_or_is_cancelled() -> None:
    class Away(FakeTransport):
        async def send(self, *_: object) -> Any:
            raise harvester.AttemptError("nobody there")

    failed, cancelled = Slow(), Slow()
    how = options(on_event=failed, attempts=1, transport=Away(Simulator()))
    with pytest.raises(harvester.NetworkError, match="nobody there"):
        await harvester.run(ACCOUNTS, *ASKED, **how)
    simulator = Simulator(latency=0.5)
    run = asyncio.ensure_future(
        harvester.run(ACCOUNTS, *ASKED, **options(simulator, on_event=cancelled))
    )
    await asyncio.sleep(0.2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    for seen, state in ((failed, "failed"), (cancelled, "interrupted")):
        last = seen.events[-1]
        assert isinstance(last, events.Ended)
        assert last.report.state == state


# an account that stops


async def test_an_account_that_stops_is_logged_as_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="harvester")
    report = await harvester.run(ACCOUNTS, *ASKED, **options(Simulator(secret="another")))
    records = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert {each.name for each in records} == {"harvester"}
    said = sorted(each.getMessage() for each in records)
    assert said == [f"account stopped: {report.stopped[appid]}" for appid in (A, B)]
    assert "40125" in said[0]


@pytest.mark.thorough
def test_a_command_that_logs_as_json_has_it_once_as_an_error(wechat: Start, tmp_path: Path) -> None:
    given = asked(wechat(secret="another").url, *ASKED, "--out", tmp_path, "--log-format", "json")
    lines = [json.loads(line) for line in harvest(*given).stderr.splitlines()]
    stopped = [each for each in lines if each["message"].startswith("account stopped: ")]
    assert [each["level"] for each in stopped] == ["error"]
    text = harvest(*given[:-2]).stderr
    assert text.count("account stopped") <= 1
    assert "40125" in text
