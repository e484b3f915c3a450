"""Only type-checked: what a user writes must be understood by his type checker."""

import asyncio
import datetime
from typing import Any, assert_type

import aiohttp

import harvester
from harvester import events
from harvester.testing import FakeTransport, Simulator
from harvester.wechat.types import GetArticleTotalDetail, GetUserSummary


async def fetch() -> str:
    return "token"


async def main(session: aiohttp.ClientSession) -> None:
    account = harvester.Account("wx0123456789abcdef", secret="secret")
    other = harvester.Account("wx0123456789abcdef", token=fetch)
    async with harvester.stream(
        account,
        "getarticlesummary",
        datetime.date(2024, 1, 1),
        "yesterday",
        session=session,
        rate="600/min",
        burst=2,
        ledger=None,
    ) as records:
        async for record in records:
            assert_type(record, dict[str, Any])
        assert_type(records.report, harvester.Report | None)

    report = await harvester.run(
        [account, other],
        ["getarticlesummary"],
        "2014-12-01",
        "yesterday",
        sink="jsonl:articles",
        on_event=observe,
        stop=asyncio.Event(),
    )
    assert_type(report, harvester.Report)
    assert_type(report.windows.done, int)
    assert report.state == "complete"
    events.Notice("info", events.Code.QUOTA, "", "", "")  # type: ignore[arg-type]
    events.Notice(events.Level.INFO, "Qota", "", "", "")  # type: ignore[arg-type]
    _ = events.Code.QOTA  # type: ignore[attr-defined]
    await harvester.run(account, "x", "a", "b", sink="s", rte=1)  # type: ignore[call-arg]
    await harvester.run(account, "x", "a", "b", sink="s", burst="1")  # type: ignore[arg-type]


async def watched(account: harvester.Account, transport: harvester.Transport) -> None:
    await harvester.run(account, "x", "a", "b", sink="s", on_event=tell, transport=transport)
    seen: list[harvester.Event] = []
    await harvester.run(account, "x", "a", "b", sink="s", on_event=seen.append)
    fake: harvester.Transport = FakeTransport(Simulator())
    await harvester.run(account, "x", "a", "b", sink="s", transport=fake)
    await harvester.run(account, "x", "a", "b", sink="s", transport=1)  # type: ignore[arg-type]


async def tell(event: harvester.Event) -> None: ...


def script(account: harvester.Account) -> None:
    report = harvester.run_sync(account, "users", "2014-12-01", "yesterday", sink="jsonl:users")
    assert_type(report, harvester.Report)
    harvester.run_sync(account, "x", "a", "b", sink="s", burst="1")  # type: ignore[arg-type]


def observe(event: events.Event) -> None:
    if isinstance(event, events.Committed):
        assert_type(event.records, int)


def sinks(sink: harvester.JsonLines) -> harvester.Sink:
    return sink


def growth(record: GetUserSummary) -> None:
    assert_type(record["new_user"] - record["cancel_user"], int)


def last_entry(record: GetArticleTotalDetail) -> None:
    entry = record["detail_list"][-1]
    assert_type(entry["read_finish_rate"], float)
    assert_type(entry["read_user_source"][0]["scene_desc"], str)
