"""The library inside an asyncio application, on real sockets."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import harvester
from harvester.testing import FakeTransport, Faults, MemorySink, Simulator
from tests.builders import Feed
from tests.scenarios.command import Start
from tests.support import (
    A,
    B,
    Wechat,
    as_multiset,
    assert_exactly_the_truth,
    bare,
    stored,
)

BEGIN, END = date(2024, 1, 1), date(2024, 2, 29)
ACCOUNT = harvester.Account(A, secret="practice")
OTHER = harvester.Account(B, secret="practice")


def streamed(server: Wechat, end: date | str = END, **options: Any) -> Any:
    """The records of an account from the beginning of 2024 on."""
    account = options.pop("account", ACCOUNT)
    how = {"base_url": server.url, "rate": "5000/s", **options}
    return harvester.stream(account, "getarticlesummary", "2024-01-01", end, **how)


@pytest.mark.thorough
async def test_a_stream_gives_every_record_once(wechat: Start) -> None:
    server = wechat(faults=Faults(busy=0.05, reset=0.02))
    async with streamed(server, account=[ACCOUNT, OTHER], rate="500/s") as records:
        found = [record async for record in records]
    assert records.report.state == "complete"
    assert_exactly_the_truth(found, server.simulator, (A, B), BEGIN, END)


def test_a_stream_that_is_left_early_stops_asking(wechat: Start) -> None:
    server = wechat()

    async def main() -> None:
        async with streamed(server, "2026-10-31") as records:
            async for record in records:
                assert record["title"]
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    threads = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == threads
    assert server.simulator.counts["data"] < 300


async def test_a_reader_that_fails_gets_his_own_error_back(wechat: Start) -> None:
    server = wechat()
    with pytest.raises(ZeroDivisionError):
        async with streamed(server) as records:
            async for record in records:
                record["x"] = 1 / 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_goes_on_where_its_reader_left(wechat: Start, tmp_path: Path) -> None:
    server = wechat()

    async def read(limit: int) -> list[dict[str, object]]:
        found = []
        async with streamed(server, ledger=tmp_path / "l", concurrency=1) as records:
            async for record in records:
                found.append(record)
                if len(found) == limit:
                    break
        return found

    first, second = await read(30), await read(100_000)
    # The window that the reader was in when he left comes again; all before it do not.
    days = {record["_begin_date"] for record in first} & {r["_begin_date"] for r in second}
    assert days == {first[-1]["_begin_date"]}
    whole = [record for record in first if record["_begin_date"] not in days]
    assert_exactly_the_truth([*whole, *second], server.simulator, (A,), BEGIN, END)


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_cancelled_at_any_moment_nothing_leaks_or_is_lost(wechat: Start, tmp_path: Path) -> None:
    server = wechat(latency=0.002, faults=Faults(busy=0.02, reset=0.02))
    draw = random.Random(7)

    async def job(session: aiohttp.ClientSession) -> harvester.Report:
        return await harvester.run(
            [ACCOUNT, OTHER], "getarticlesummary", BEGIN, END, sink=f"jsonl:{tmp_path}",
            base_url=server.url, session=session, rate="2000/s",
        )  # fmt: skip

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(25):
                task = asyncio.ensure_future(job(session))
                await asyncio.wait([task], timeout=draw.uniform(0.0, 0.06))
                task.cancel()
                await asyncio.wait([task])
                await asyncio.sleep(0)
                assert asyncio.all_tasks() == {asyncio.current_task()}
            await job(session)

    threads = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == threads
    assert_exactly_the_truth(stored(tmp_path), server.simulator, (A, B), BEGIN, END)


@pytest.mark.parametrize("source", ["sync", "async", "token", "classic"])
async def test_a_token_can_come_from_elsewhere(wechat: Start, source: str) -> None:
    server = wechat()
    value = server.simulator.issue_token(A)

    async def asynchronous() -> str:
        return value

    account = {
        "sync": harvester.Account(A, token=lambda: value),
        "async": harvester.Account(A, token=asynchronous),
        "token": harvester.Account(A, token=lambda: harvester.Token(value, 600)),
        "classic": harvester.Account(A, secret="practice", token="classic"),
    }[source]
    report = await harvester.run(
        account, "getarticlesummary", BEGIN, BEGIN, sink=MemorySink(), base_url=server.url
    )
    assert (report.state, report.token_fetches) == ("complete", 1)
    assert server.simulator.counts["token"] == (source == "classic")


async def test_a_closed_session_is_refused_before_anything_is_sent() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(harvester.UsageError, match="the session is closed"):
        await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), session=session
        )


@pytest.mark.thorough
async def test_no_more_is_in_flight_than_the_callers_session_lets_through(wechat: Start) -> None:
    server = wechat(latency=0.03)
    queued, sent = [], []

    async def note_queued(*_: object) -> None:
        queued.append(True)

    async def note_sent(*_: object) -> None:
        sent.append(True)

    watched = aiohttp.TraceConfig()
    watched.on_connection_queued_start.append(note_queued)
    watched.on_request_start.append(note_sent)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=4), trace_configs=[watched], raise_for_status=True
    ) as session:
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), rate="5000/s",
            base_url=server.url, session=session,
        )  # fmt: skip
        assert not session.closed
    assert report.state == "complete"
    assert len(sent) == (END - BEGIN).days + 2, "each day, and a token"
    assert not queued, "it left later than its limiter knows"


@pytest.mark.thorough
def test_a_cancellation_while_a_sink_closes_leaves_no_thread(wechat: Start, tmp_path: Path) -> None:
    server = wechat()

    async def main() -> None:
        for number in range(8):
            sink = harvester.JsonLines(tmp_path / str(number))
            task = asyncio.ensure_future(
                harvester.run(
                    ACCOUNT, "getarticlesummary", BEGIN, BEGIN, sink=sink, base_url=server.url
                )
            )
            while not (tmp_path / str(number) / "getarticlesummary").exists():
                await asyncio.sleep(0.001)
            await asyncio.sleep(number * 0.0005)
            task.cancel()
            await asyncio.wait([task])

    threads = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == threads


async def test_options_that_nobody_knows_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="rat"):
        await harvester.run(ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), rat=3)


async def test_bad_arguments_are_a_usage_error_before_anything_is_sent() -> None:
    for arguments, said in (
        ((ACCOUNT, "getarticlesumary", BEGIN, END), "getarticlesummary"),
        ((ACCOUNT, [], BEGIN, END), "no interface"),
        (([], "getarticlesummary", BEGIN, END), "no account"),
        (([ACCOUNT, ACCOUNT], "getarticlesummary", BEGIN, END), "twice"),
        ((harvester.Account(A), "getarticlesummary", BEGIN, END), "has no secret"),
        ((ACCOUNT, "getarticlesummary", END, BEGIN), "is after the end"),
        ((ACCOUNT, "getarticlesummary", "2014-01-01", "2014-11-30"), "2014-12-01"),
    ):
        with pytest.raises(harvester.UsageError, match=said):
            await harvester.run(*arguments, sink=MemorySink())
        with pytest.raises(harvester.UsageError, match=said):
            async with harvester.stream(*arguments):
                pass


def test_run_sync_harvests_in_a_script_and_where_a_loop_runs(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    seen: list[harvester.Event] = []

    def harvest(end: date) -> harvester.Report:
        return harvester.run_sync(
            ACCOUNT, "getarticlesummary", BEGIN, end, sink=f"jsonl:{tmp_path}",
            base_url=server.url, rate="5000/s", on_event=seen.append,
        )  # fmt: skip

    async def notebook() -> harvester.Report:
        return harvest(END)

    threads = threading.active_count()
    first = harvest(date(2024, 1, 31))
    second = asyncio.run(notebook())
    assert threading.active_count() == threads
    assert (first.windows.done, second.windows.skipped, second.windows.done) == (31, 31, 29)
    assert isinstance(seen[-1], harvester.events.Ended)
    assert_exactly_the_truth(stored(tmp_path), server.simulator, (A,), BEGIN, END)


async def test_run_sync_refuses_what_belongs_to_another_loop(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(harvester.UsageError, match=r"^session: it belongs to"):
            harvester.run_sync(
                ACCOUNT, "users", BEGIN, END, sink=f"jsonl:{tmp_path}", session=session
            )


@pytest.mark.thorough
@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("loop", [False, True], ids=["script", "within a loop"])
def test_an_interrupt_keeps_what_was_stored(wechat: Start, tmp_path: Path, *, loop: bool) -> None:
    server = wechat(latency=0.02)
    end = date(2024, 12, 31)

    def harvest(on_event: Callable[[harvester.Event], None] | None = None) -> harvester.Report:
        return harvester.run_sync(
            ACCOUNT, "getarticlesummary", BEGIN, end, sink=f"jsonl:{tmp_path}",
            base_url=server.url, rate="5000/s", concurrency=4, on_event=on_event,
        )  # fmt: skip

    interrupts: list[harvester.Event] = []

    def interrupt(event: harvester.Event) -> None:
        if isinstance(event, harvester.events.Committed) and not interrupts:
            interrupts.append(event)
            signal.raise_signal(signal.SIGINT)

    async def within() -> None:
        harvest(interrupt)

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(within()) if loop else harvest(interrupt)
    assert threading.active_count() == threads
    again = harvest()
    assert again.state == "complete"
    assert again.windows.skipped > 0
    assert_exactly_the_truth(stored(tmp_path), server.simulator, (A,), BEGIN, end)


async def test_a_session_that_is_closed_during_a_run_ends_it_at_once(wechat: Start) -> None:
    server = wechat()
    async with aiohttp.ClientSession() as session:
        run = asyncio.ensure_future(
            harvester.run(
                ACCOUNT, "getusersummary", "2020-01-01", "2024-01-31", sink="memory:",
                session=session, base_url=server.url, rate="50/s", wait=True,
            )
        )  # fmt: skip
        while server.simulator.counts["data"] < 5:
            await asyncio.sleep(0.01)
        await session.close()
        with pytest.raises(harvester.NetworkError, match="session was closed during the run"):
            await asyncio.wait_for(run, 10)


async def test_who_iterates_a_stream_after_its_block_gets_its_end(wechat: Start) -> None:
    async with streamed(wechat()) as records:
        await anext(records)
    left = [record async for record in records]
    assert len(left) < 1000


async def test_a_stop_that_would_block_the_loop_is_refused() -> None:
    with pytest.raises(harvester.UsageError, match="expected an anyio"):
        await harvester.run(
            ACCOUNT, "getusersummary", "2024-01-01", "2024-01-31", sink="memory:",
            stop=threading.Event(),
        )  # fmt: skip


async def test_a_refresh_of_a_part_of_a_window_loses_nothing_of_a_sink_that_cannot_be_read(
    wechat: Start, tmp_path: Path
) -> None:
    sink, server = Feed(), wechat()

    async def harvest(begin: str, end: str, **more: Any) -> harvester.Report:
        return await harvester.run(
            ACCOUNT, "getusersummary", begin, end, sink=sink, base_url=server.url, rate="1000/s",
            ledger=tmp_path / "l", **more,
        )  # fmt: skip

    await harvest("2024-01-01", "2024-01-31")
    before = as_multiset(("", "", bare(each)) for each in sink.records)
    await harvest("2024-01-10", "2024-01-11", refresh=True)
    report = await harvest("2024-01-01", "2024-01-31")
    assert report.state == "complete"
    assert as_multiset(("", "", bare(each)) for each in sink.records) == before


def test_a_loop_that_is_not_of_asyncio_is_refused_with_what_to_call() -> None:
    """As trio would step it: no event loop of asyncio runs."""
    days = ("2024-01-01", "2024-01-02")
    for begun in (
        harvester.run(ACCOUNT, "users", *days, sink="memory:"),
        harvester.stream(ACCOUNT, "users", *days).__aenter__(),
    ):
        with pytest.raises(harvester.UsageError, match="with trio, call run_sync in a thread"):
            begun.send(None)


def test_a_run_has_no_more_tasks_than_work() -> None:
    """A high concurrency is a limit; nothing is started for it beforehand."""
    counts = []
    report = harvester.run_sync(
        ACCOUNT, "getusersummary", "2024-01-01", "2024-01-28", sink=MemorySink(),
        concurrency=100_000, rate="1000/s", transport=FakeTransport(Simulator()),
        on_event=lambda _: counts.append(len(asyncio.all_tasks())),
    )  # fmt: skip
    report.raise_for_state()
    assert report.to_dict()["windows"]["done"] == 4
    assert max(counts) < 30


@pytest.mark.thorough
async def test_all_that_may_be_in_flight_is_in_flight(wechat: Start) -> None:
    """As many workers are started as there are requests that may leave."""
    server, most = wechat(latency=0.3), 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    report = await harvester.run(
        ACCOUNT, "getusersummary", "2023-01-01", "2023-10-07", sink=MemorySink(), concurrency=20,
        burst=40, rate="1000/s", base_url=server.url,
    )  # fmt: skip
    looking.cancel()
    report.raise_for_state()
    assert report.to_dict()["windows"]["done"] > 30
    assert most >= 20
    assert report.seconds < 40 * 0.3 / 4
