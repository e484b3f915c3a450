"""The library inside an asyncio application, on real sockets."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import aiohttp
import pytest

import harvester
from harvester.testing import Faults, MemorySink
from tests.support import A, B, Wechat, assert_exactly_the_truth, bare, stored

BEGIN, END = date(2024, 1, 1), date(2024, 2, 29)
ACCOUNT = harvester.Account(A, secret="practice")
OTHER = harvester.Account(B, secret="practice")


def test_a_stream_gives_every_record_once(wechat: Callable[..., Wechat]) -> None:
    server = wechat(faults=Faults(busy=0.05, reset=0.02))

    async def main() -> list[dict[str, object]]:
        async with harvester.stream(
            [ACCOUNT, OTHER], "getarticlesummary", "2024-01-01", END, base_url=server.url, rate=500
        ) as records:
            found = [record async for record in records]
            assert records.report is not None
            assert records.report.state == "complete"
            return found

    assert_exactly_the_truth(asyncio.run(main()), server.simulator, (A, B), BEGIN, END)


def test_a_stream_that_is_left_early_stops_asking(wechat: Callable[..., Wechat]) -> None:
    server = wechat()

    async def main() -> None:
        async with harvester.stream(
            ACCOUNT, "getarticlesummary", "2015-01-01", "2023-12-31", base_url=server.url, rate=5000
        ) as records:
            async for record in records:
                assert record["title"]
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    threads = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == threads
    assert server.simulator.counts["data"] < 300


async def test_a_reader_that_fails_gets_his_own_error_back(wechat: Callable[..., Wechat]) -> None:
    server = wechat()
    with pytest.raises(ZeroDivisionError):
        async with harvester.stream(
            ACCOUNT, "getarticlesummary", BEGIN, END, base_url=server.url, rate=5000
        ) as records:
            async for record in records:
                record["x"] = 1 / 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("_not_the_first_hour")
async def test_a_stream_that_cannot_give_all_says_so_at_its_end(
    wechat: Callable[..., Wechat],
) -> None:
    server = wechat(daily_quota=5)
    found = []
    with pytest.raises(harvester.IncompleteError, match="windows must wait until") as caught:
        async with harvester.stream(
            ACCOUNT, "getarticlesummary", BEGIN, END, base_url=server.url, rate=500
        ) as records:
            async for record in records:
                found.append(record)
    assert found
    assert caught.value.report.windows.waiting == 55


def test_a_stream_with_a_ledger_goes_on_where_the_reader_left(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()

    async def read(limit: int) -> list[dict[str, object]]:
        found = []
        async with harvester.stream(
            ACCOUNT, "getarticlesummary", BEGIN, END, base_url=server.url, rate=5000,
            ledger=tmp_path / "l", concurrency=1,
        ) as records:  # fmt: skip
            async for record in records:
                found.append(record)
                if len(found) == limit:
                    break
        return found

    first = asyncio.run(read(30))
    second = asyncio.run(read(100_000))
    # The window that the reader was in when he left comes again; all before it do not.
    days = {record["_begin_date"] for record in first} & {r["_begin_date"] for r in second}
    assert days == {first[-1]["_begin_date"]}
    whole = [record for record in first if record["_begin_date"] not in days]
    assert_exactly_the_truth([*whole, *second], server.simulator, (A,), BEGIN, END)


async def test_a_session_of_the_callers_is_used_and_never_closed(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for _ in range(2):
            report = await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(),
                base_url=server.url, session=session, rate=5000,
            )  # fmt: skip
            assert report.state == "complete"
        assert not session.closed


async def test_run_keeps_a_ledger_beside_the_data_unless_told_otherwise(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    first, second = [
        await harvester.run(
            ACCOUNT,
            "getarticlesummary",
            BEGIN,
            END,
            sink=f"jsonl:{tmp_path / 'articles'}",
            base_url=server.url,
            rate="5000/s",
        )
        for _ in range(2)
    ]
    assert (first.windows.done, second.windows.skipped, second.requests) == (60, 60, 0)
    assert (tmp_path / "articles" / "ledger.sqlite").exists()
    assert_exactly_the_truth(stored(tmp_path / "articles"), server.simulator, (A,), BEGIN, END)


async def test_without_a_ledger_a_second_run_replaces_and_doubles_nothing(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    for _ in range(2):
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=f"jsonl:{tmp_path}",
            base_url=server.url, rate=5000, ledger=None,
        )  # fmt: skip
        assert report.windows.done == 60
    assert_exactly_the_truth(stored(tmp_path), server.simulator, (A,), BEGIN, END)
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_cancelled_at_random_moments_nothing_leaks_and_nothing_is_lost(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.002, faults=Faults(busy=0.02, reset=0.02))
    draw = random.Random(7)

    async def job(session: aiohttp.ClientSession) -> harvester.Report:
        return await harvester.run(
            [ACCOUNT, OTHER], "getarticlesummary", BEGIN, END, sink=f"jsonl:{tmp_path}",
            base_url=server.url, session=session, rate=2000,
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


@pytest.mark.parametrize("kind", ["sync", "async", "token", "classic"])
def test_a_token_can_come_from_elsewhere(wechat: Callable[..., Wechat], kind: str) -> None:
    server = wechat()
    value = server.simulator.issue_token(A)

    async def asynchronous() -> str:
        return value

    sources = {
        "sync": lambda: value,
        "async": asynchronous,
        "token": lambda: harvester.Token(value, 600),
        "classic": "classic",
    }
    account = harvester.Account(
        A, secret="practice" if kind == "classic" else None, token=sources[kind]
    )

    async def main() -> None:
        report = await harvester.run(
            account, "getarticlesummary", BEGIN, BEGIN, sink=MemorySink(), base_url=server.url
        )
        assert report.state == "complete"
        assert report.token_fetches == 1

    asyncio.run(main())
    assert server.simulator.counts["token"] == (kind == "classic")


async def test_an_answer_that_never_comes_is_cut_off(wechat: Callable[..., Wechat]) -> None:
    from harvester.errors import AttemptError
    from harvester.model import Request
    from harvester.transport import HttpTransport

    server = wechat(latency=30.0)
    async with HttpTransport(server.url, timeout=0.3) as transport:
        requests = [
            asyncio.ensure_future(transport.send(Request("GET", f"/{n}"))) for n in range(5)
        ]
        done, _ = await asyncio.wait(requests, timeout=5)
        for task in done:
            assert isinstance(task.exception(), AttemptError)
            assert str(task.exception()) == "no answer within 0.3 s"
        assert len(done) == 5
        assert asyncio.current_task().cancelling() == 0


async def test_a_closed_session_is_refused_before_anything_is_sent() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(harvester.UsageError, match="the session is closed"):
        await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), session=session
        )


def test_no_more_is_in_flight_than_the_callers_session_lets_through(
    wechat: Callable[..., Wechat],
) -> None:
    server = wechat(latency=0.03)
    queued, sent = [], []

    async def note_queued(*_: object) -> None:
        queued.append(True)

    async def note_sent(*_: object) -> None:
        sent.append(True)

    async def main() -> None:
        watched = aiohttp.TraceConfig()
        watched.on_connection_queued_start.append(note_queued)
        watched.on_request_start.append(note_sent)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=4), trace_configs=[watched]
        ) as session:
            report = await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), rate="5000/s",
                base_url=server.url, session=session,
            )  # fmt: skip
            assert report.state == "complete"

    asyncio.run(main())
    assert len(sent) == (END - BEGIN).days + 2, "each day, and a token"
    assert not queued, "it left later than its limiter knows"


async def test_a_ledger_that_is_open_already_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with harvester.SqliteLedger(tmp_path / "l") as ledger:
        with pytest.raises(harvester.UsageError, match="is already open"):
            await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), ledger=ledger
            )
        assert await ledger.sinks() == {}


def test_a_cancellation_while_a_sink_closes_leaves_no_thread(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
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


def test_secrets_and_tokens_are_in_no_repr() -> None:
    account = harvester.Account(A, secret="sesame", token=lambda: "sesame")
    token = harvester.Token("sesame")
    assert "sesame" not in f"{account!r} {account} {token!r} {token}"


async def test_records_hold_what_wechat_sent_and_the_metadata(
    wechat: Callable[..., Wechat],
) -> None:
    server = wechat()
    async with harvester.stream(
        ACCOUNT, "getarticlesummary", BEGIN, BEGIN, base_url=server.url
    ) as records:
        found = [record async for record in records]
    assert [bare(record) for record in found] == server.simulator.truth(A, BEGIN)
    assert found[0]["_begin_date"] == found[0]["_end_date"] == "2024-01-01"
    assert found[0]["_appid"] == A


def test_run_sync_harvests_in_a_script_and_where_a_loop_runs(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    seen: list[harvester.Event] = []

    def harvest(end: date) -> harvester.Report:
        return harvester.run_sync(
            ACCOUNT, "getarticlesummary", BEGIN, end, sink=f"jsonl:{tmp_path}",
            base_url=server.url, rate=5000, on_event=seen.append,
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


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("loop", [False, True], ids=["script", "within a loop"])
def test_an_interrupt_of_run_sync_keeps_what_was_stored(
    wechat: Callable[..., Wechat], tmp_path: Path, *, loop: bool
) -> None:
    server = wechat(latency=0.02)
    end = date(2024, 12, 31)

    def harvest(on_event: Callable[[harvester.Event], None] | None = None) -> harvester.Report:
        return harvester.run_sync(
            ACCOUNT, "getarticlesummary", BEGIN, end, sink=f"jsonl:{tmp_path}",
            base_url=server.url, rate=5000, concurrency=4, on_event=on_event,
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
