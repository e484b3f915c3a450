"""A transport without sockets keeps the promise of its protocol."""

import asyncio
from collections import defaultdict
from datetime import date, timedelta
from typing import Any

import pytest

import harvester
from harvester.base.dates import WindowKind
from harvester.errors import AttemptError
from harvester.model import Action, Request, Response, Window
from harvester.testing import (
    FakeTransport,
    Faults,
    MemorySink,
    Simulator,
    VirtualTimeLoop,
    account_with_figures,
    articles,
)
from harvester.tokens.official import StableToken
from harvester.wechat.interfaces import INTERFACES
from tests.builders import BESIDE
from tests.support import A, as_multiset, bare
from tests.testing.support import virtual

DAY = date(2023, 6, 1)
WINDOW = Window("wx1", "getarticlesummary", DAY, DAY)


async def asked(transport: FakeTransport) -> Response:
    token = await StableToken("wx1", "practice").fetch(transport.send)
    return await transport.send(INTERFACES["getarticlesummary"].request(WINDOW, token))


@virtual
async def test_a_request_goes_straight_to_the_simulator(loop: VirtualTimeLoop) -> None:
    response = await asked(FakeTransport(Simulator(wall=loop.wall)))
    verdict = INTERFACES["getarticlesummary"].verdict(response, WINDOW)
    assert (verdict.action, verdict.records) == (Action.DONE, articles(1, "wx1", DAY))


@virtual
async def test_latency_and_a_replys_delay_pass_on_the_loops_clock(loop: VirtualTimeLoop) -> None:
    simulator = Simulator(wall=loop.wall, latency=1.0, faults=Faults(slow=1.0))
    await asked(FakeTransport(simulator, latency=10.0))
    assert loop.time() == pytest.approx(2 * 11.0 + 5.0, abs=0.001)


@virtual
async def test_requests_in_flight_are_counted(loop: VirtualTimeLoop) -> None:
    transport = FakeTransport(Simulator(wall=loop.wall), latency=1.0)
    sending = [asyncio.create_task(transport.send(Request("GET", "/"))) for _ in range(7)]
    await asyncio.sleep(0.5)
    assert transport.in_flight == 7
    sending[0].cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    assert (transport.in_flight, transport.most_in_flight) == (0, 7)


@virtual
async def test_a_reset_and_a_cut_answer_are_failed_attempts(loop: VirtualTimeLoop) -> None:
    for faults in (Faults(reset=1.0), Faults(cut=1.0)):
        transport = FakeTransport(Simulator(wall=loop.wall, faults=faults))
        with pytest.raises(AttemptError, match="closed before an answer came"):
            await asked(transport)
        assert transport.in_flight == 0


NONE_IN_JANUARY = {
    "getarticlesummary", "getarticletotal", "getuserread", "getuserreadhour", "getusershare",
    "getusersharehour",  # retired
    "getweanalysisappiduserportrait", "get_adunit_list",  # of the last days alone
}  # fmt: skip


@pytest.mark.thorough
def test_what_is_stored_of_a_fake_account_is_what_it_says_it_has_record_by_record() -> None:
    fake, sink = account_with_figures(), MemorySink("memory:")
    report = harvester.run_sync(
        fake.account,
        "all",
        fake.start,
        fake.end,
        sink=sink,
        transport=fake.transport,
        rate="10000/s",
    )
    assert report.state == "complete", report
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in sorted(sink.records, key=lambda each: each["_begin_date"]):
        beside = BESIDE.get(record["_endpoint"], set())
        kept = {name: value for name, value in bare(record).items() if name not in beside}
        found[record["_endpoint"]].append(kept)
    assert found.keys() == INTERFACES.keys() - NONE_IN_JANUARY
    for name, rows in found.items():
        said = fake.records(name)
        if name.endswith("visitdistribution"):  # a record a day has the day's rows
            rows = [row for day in rows for row in day["list"]]
        if INTERFACES[name].cut is WindowKind.WEEK:  # two of them are not whole in January
            weeks = [date.fromisoformat(row["ref_date"].replace("-", "")[:8]) for row in said]
            whole = [fake.start <= week <= fake.end - timedelta(days=6) for week in weeks]
            said = [row for row, is_whole in zip(said, whole, strict=True) if is_whole]
        assert said
        assert as_multiset((A, "", row) for row in rows) == as_multiset(
            (A, "", row) for row in said
        ), name
    assert report.records == len(sink.records)


def test_each_fake_account_has_the_same_figures() -> None:
    fake = account_with_figures()
    assert fake.records("getusersummary") == account_with_figures().records("getusersummary")
    assert len({row["ref_date"] for row in fake.records("getusersummary")}) == 31
