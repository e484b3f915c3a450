"""A request that fails, and a network that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from anyio import current_time

from harvester.engine.network import PROBE_EVERY, Network
from harvester.errors import AttemptError, NetworkError
from harvester.model import Request, Response
from tests.support import virtual


class Door:
    """A server that is away from one time of the loop to another."""

    def __init__(self, away: float = 0.0, back: float = 0.0, *, half: bool = False) -> None:
        self.away, self.back, self.half = away, back, half
        self.at: list[float] = []

    async def send(self, request: Request) -> Response:
        assert (request.method, request.path, request.query) == ("GET", "/", ())
        self.at.append(current_time())
        await asyncio.sleep(0.1)
        if self.away <= self.at[-1] < self.back:
            error = AttemptError("nobody is there")
            error.answered = self.half
            raise error
        return Response(500, b"")


def known(door: Door, patience: float = 60.0, **how: Callable[..., None]) -> Network:
    """The network of a run in which a server has answered at the beginning."""
    network = Network(door.send, patience, **how)
    network.answer(-1.0)
    return network


@virtual()
async def test_before_anything_was_answered_every_failure_counts() -> None:
    door = Door()
    assert await Network(door.send).counts(0.0, "why")
    assert door.at == []


@virtual()
async def test_a_failure_counts_if_something_was_answered_since() -> None:
    door = Door()
    network = known(door)
    network.answer(2.0)
    assert await network.counts(1.0, "why")
    assert door.at == []


@pytest.mark.parametrize("half", [True, False])
@virtual()
async def test_else_the_server_itself_is_asked_and_any_answer_is_one(half: bool) -> None:
    door = Door(back=9.0 if half else 0.0, half=half)
    network = known(door)
    found = await asyncio.gather(*[network.counts(current_time(), "why") for _ in range(9)])
    assert found == [True] * 9
    assert len(door.at) == 1  # for all that failed


@virtual()
async def test_while_nothing_is_answered_nothing_counts_and_all_wait() -> None:
    lost, back = list[tuple[float, float, str]](), list[float]()
    door = Door(back=20.0)
    network = known(door, on_lost=lambda *told: lost.append(told), on_back=back.append)
    waiting = [asyncio.create_task(network.counts(0.0, "why")) for _ in range(9)]
    await asyncio.sleep(10.0)
    assert network.lost_since == pytest.approx(0.1, abs=1e-3)
    assert await asyncio.gather(*waiting) == [False] * 9
    gaps = [after - before for before, after in zip(door.at[1:], door.at[2:], strict=False)]
    assert all(gap == pytest.approx(PROBE_EVERY + 0.1) for gap in gaps)
    assert 20.0 <= door.at[-1] <= 20.0 + PROBE_EVERY + 0.1
    assert {told[1:] for told in lost} == {(60.0, "why")}
    assert back == [pytest.approx(door.at[-1])]
    assert network.lost_since is None
    assert not await network.counts(door.at[-1] - 1.0, "late")  # it was sent in the outage
    assert await network.counts(current_time(), "of its own")


@virtual()
async def test_the_wait_ends_with_the_patience() -> None:
    network = known(Door(back=1e9), 30.0)
    with pytest.raises(NetworkError, match=r"^no server answered for 3\d s: why; check the net"):
        await network.counts(0.0, "why")
    assert 30.0 <= current_time() <= 30.0 + 2 * PROBE_EVERY


@virtual()
async def test_the_wait_ends_when_the_run_is_to_end() -> None:
    network = known(Door(back=1e9), float("inf"))
    waiting = [asyncio.create_task(network.counts(0.0, "why")) for _ in range(3)]
    await asyncio.sleep(100.0)
    network.stop()
    assert await asyncio.gather(*waiting) == [False] * 3
    assert current_time() == pytest.approx(100.0, abs=0.2)
