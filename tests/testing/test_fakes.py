"""A transport without sockets keeps the promise of its protocol."""

import asyncio
from datetime import date

import pytest

from harvester.datacube import INTERFACES, StableToken
from harvester.errors import AttemptError
from harvester.model import Action, Request, Response, Window
from harvester.testing import (
    FakeTransport,
    Faults,
    Simulator,
    VirtualTimeLoop,
    articles,
    run_virtual,
)

DAY = date(2023, 6, 1)
WINDOW = Window("wx1", "getarticlesummary", DAY, DAY)


async def asked(transport: FakeTransport) -> Response:
    token = await StableToken("wx1", "practice").fetch(transport.send)
    return await transport.send(INTERFACES["getarticlesummary"].request(WINDOW, token))


def test_a_request_goes_straight_to_the_simulator() -> None:
    async def main(loop: VirtualTimeLoop) -> Response:
        return await asked(FakeTransport(Simulator(wall=loop.wall)))

    verdict = INTERFACES["getarticlesummary"].verdict(run_virtual(main), WINDOW)
    assert (verdict.action, verdict.records) == (Action.DONE, articles(1, "wx1", DAY))


def test_latency_and_a_replys_own_delay_pass_on_the_loops_clock() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        simulator = Simulator(wall=loop.wall, latency=1.0, faults=Faults(slow=1.0))
        await asked(FakeTransport(simulator, latency=10.0))
        return loop.time()

    assert run_virtual(main) == pytest.approx(2 * 11.0 + 5.0, abs=0.001)


def test_requests_in_flight_are_counted() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[int, int, int]:
        transport = FakeTransport(Simulator(wall=loop.wall), latency=1.0)
        sending = [asyncio.create_task(transport.send(Request("GET", "/"))) for _ in range(7)]
        await asyncio.sleep(0.5)
        during = transport.in_flight
        sending[0].cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        return during, transport.in_flight, transport.most_in_flight

    assert run_virtual(main) == (7, 0, 7)


@pytest.mark.parametrize("faults", [Faults(reset=1.0), Faults(cut=1.0)])
def test_a_reset_and_a_cut_answer_are_failed_attempts(faults: Faults) -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        transport = FakeTransport(Simulator(wall=loop.wall, faults=faults))
        with pytest.raises(AttemptError, match="closed before an answer came"):
            await asked(transport)
        return transport.in_flight

    assert run_virtual(main) == 0
