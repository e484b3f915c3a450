"""A cancellation that begins in the caller's code is an error, and never the end of a run."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import harvester
from tests.scenarios.server import APPID, Server

DAYS = ("2026-02-01", "2026-02-13")


async def cancelled() -> Any:
    """What awaiting a task gives that somebody has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(10))
    await asyncio.sleep(0)
    task.cancel()
    return await task


class Store(harvester.MemoryStore):
    """A token store whose look-up is cancelled."""

    async def load(self, key: str) -> Any:
        return await cancelled()


class Leaseless(harvester.MemoryStore):
    """A token store whose lease is cancelled."""

    def lease(self, key: str) -> AbstractAsyncContextManager[None]:
        class Lease:
            async def __aenter__(self) -> None:
                await cancelled()

            async def __aexit__(self, *exc_info: object) -> None:
                pass

        return Lease()


class Stop:
    """A stop signal that is cancelled."""

    async def wait(self) -> object:
        return await cancelled()


async def run(url: str, out: Path, **options: Any) -> harvester.Report:
    account = options.pop("account", harvester.Account(APPID, secret="practice"))
    return await harvester.run(
        account, "getupstreammsghour", *DAYS, sink=f"jsonl:{out}", base_url=url, rate=500,
        **{"attempts": 2, **options},
    )  # fmt: skip


def test_a_token_callable_that_is_cancelled_stops_its_account(tmp_path: Path) -> None:
    account = harvester.Account(APPID, token=cancelled)
    with Server() as server:
        report = asyncio.run(run(server.url, tmp_path, account=account))
    assert (report.state, report.windows.failed) == ("failed", 13)
    assert "cancelled" in report.stopped[APPID]


@pytest.mark.parametrize("store", [Store, Leaseless])
def test_a_token_store_that_is_cancelled_stops_its_account(store: Any, tmp_path: Path) -> None:
    with Server() as server:
        report = asyncio.run(run(server.url, tmp_path, token_store=store()))
    assert (report.state, report.windows.failed) == ("failed", 13)


def test_a_stop_signal_that_is_cancelled_is_an_error(tmp_path: Path) -> None:
    with Server(lambda call: {"errcode": -1}) as server, pytest.raises(harvester.RunError):
        asyncio.run(run(server.url, tmp_path, stop=Stop()))


def test_an_observer_that_raises_a_cancellation_is_an_error(tmp_path: Path) -> None:
    def observe(event: object) -> None:
        raise asyncio.CancelledError

    with Server() as server, pytest.raises(harvester.RunError):
        asyncio.run(run(server.url, tmp_path, on_event=observe))


def test_a_stream_whose_token_callable_is_cancelled_does_not_end_normally() -> None:
    async def main(url: str) -> list[Any]:
        account = harvester.Account(APPID, token=cancelled)
        async with harvester.stream(
            account, "getupstreammsghour", *DAYS, base_url=url, rate=500, attempts=2
        ) as records:
            return [record async for record in records]

    with Server() as server, pytest.raises(harvester.IncompleteError):
        asyncio.run(main(server.url))


class Cancelled(harvester.MemorySink):
    """A sink whose write is cancelled by its own code."""

    async def write(self, batches: Any, fence: Any) -> Any:
        return await cancelled()


def test_a_sink_that_is_cancelled_by_its_own_code_is_an_error(tmp_path: Path) -> None:
    async def main(url: str) -> harvester.Report:
        return await harvester.run(
            harvester.Account(APPID, secret="practice"), "getupstreammsghour", *DAYS,
            sink=Cancelled(), base_url=url, rate=500,
        )  # fmt: skip

    with Server() as server, pytest.raises(harvester.SinkError, match="cancelled"):
        asyncio.run(main(server.url))


def test_a_cancellation_from_outside_still_cancels(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with asyncio.timeout(1.0):
            await run(url, tmp_path, attempts=50)

    with Server(lambda call: {"errcode": -1}) as server, pytest.raises(TimeoutError):
        asyncio.run(main(server.url))
