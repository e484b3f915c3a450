"""What `harvester.stream` fetches ahead of its reader, and what it gives of late windows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import pytest

import harvester
from harvester.engine.scheduler import FEW
from harvester.testing import FakeTransport, Simulator
from tests.support import A, Script
from tests.testing.support import virtual

ACCOUNT = harvester.Account(A, secret="practice")
FAST = {"rate": "100000/s", "burst": 1000}
AHEAD = FEW + 2
"""Requests of a few jobs, a window in the channel, and one that is being read."""

Read = Callable[[int], Coroutine[Any, Any, None]]


async def _streamed(transport: FakeTransport, windows: int, each: Read, **options: Any) -> int:
    """Read windows of a day each; returns how many there were, with those without a record."""
    last, number = date(2024, 12, 31), 0
    async with harvester.stream(
        ACCOUNT, "getarticlesummary", "2024-01-01", last, transport=transport,
        **{**FAST, **options},
    ) as records:  # fmt: skip
        async for record in records:
            if (found := (last - date.fromisoformat(record["ref_date"])).days + 1) > number:
                number = found
                await each(number)
            if number >= windows:
                break
    return number


def _fetched(transport: FakeTransport) -> int:
    return transport.simulator.counts["data"]


@virtual
async def test_few_windows_are_fetched_ahead_of_a_reader_that_stops(loop: object) -> None:
    transport = FakeTransport(Simulator(), 0.05)

    async def stop(number: int) -> None:
        if number == 3:
            await asyncio.sleep(3600)

    await _streamed(transport, 3, stop)
    assert _fetched(transport) <= 3 + AHEAD


@virtual
async def test_few_windows_are_fetched_ahead_of_a_reader_that_is_slow(loop: object) -> None:
    transport = FakeTransport(Simulator(), 0.05)
    most = 0

    async def slowly(number: int) -> None:
        nonlocal most
        await asyncio.sleep(1.0)
        most = max(most, _fetched(transport) - number)

    await _streamed(transport, 100, slowly)
    assert most <= AHEAD


@virtual
async def test_a_reader_that_becomes_slow_is_soon_no_longer_run_ahead_of(loop: object) -> None:
    transport = FakeTransport(Simulator(), 0.05)
    ahead: list[int] = []

    async def later(number: int) -> None:
        if number > 100:
            await asyncio.sleep(1.0)
            ahead.append(_fetched(transport) - number)

    await _streamed(transport, 360, later)
    assert max(ahead) > 30
    assert max(ahead[-20:]) <= AHEAD


@virtual
async def test_a_reader_that_keeps_up_has_all_requests_that_may_be_in_flight(loop: Any) -> None:
    transport = FakeTransport(Simulator(), 0.05)

    async def at_once(number: int) -> None:
        pass

    windows = await _streamed(transport, 366, at_once, concurrency=32)
    assert transport.most_in_flight == 32
    assert loop.time() < windows * 0.05 / 32 + 20 * 0.05  # all at once, and a beginning


@virtual
async def test_more_jobs_are_given_out_only_where_more_requests_can_leave(loop: object) -> None:
    """At ten requests a second one is in flight; nothing is gained by more windows ahead."""
    transport = FakeTransport(Simulator(), 0.05)

    async def stop(number: int) -> None:
        if number == 50:
            await asyncio.sleep(3600)

    await _streamed(transport, 50, stop, rate="10/s", burst=1)
    assert _fetched(transport) <= 50 + AHEAD


def _late_until(number: int) -> Script:
    """Answers that are late, each with another figure, until so many were given."""
    given = 0

    def answer(body: dict[str, str]) -> dict[str, Any]:
        nonlocal given
        given += 1
        row = {"ref_date": body["begin_date"], "user_source": given, "new_user": 1}
        return {"list": [row], "is_delay": given < number}

    return Script(answer)


async def _late(script: Script, **options: Any) -> tuple[list[tuple[int, bool]], str]:
    """The figures that a stream of a day gave, whether they were marked, and its end."""
    found, end = [], "complete"
    try:
        async with harvester.stream(
            ACCOUNT, "getusersummary", "yesterday", "yesterday", transport=script, **FAST, **options
        ) as records:
            async for record in records:
                found.append((record["user_source"], record.get("_late", False)))
    except harvester.IncompleteError as exc:
        end = "incomplete" if exc.report is None else exc.report.state
    return found, end


@virtual
async def test_a_late_window_is_given_marked_and_the_end_says_that_it_waits(loop: object) -> None:
    assert await _late(_late_until(2)) == ([(1, True)], "waiting")
    assert await _late(_late_until(1)) == ([(1, False)], "complete")


@pytest.mark.parametrize(
    ("late", "found", "end"), [(4, [(4, False)], "complete"), (99, [(13, True)], "waiting")]
)
def test_under_wait_a_late_window_is_given_once(
    late: int, found: list[tuple[int, bool]], end: str
) -> None:
    @virtual
    async def streamed(loop: object) -> None:
        assert await _late(_late_until(late), wait=True) == (found, end)

    streamed()


class Odd(BaseException):
    """What test runners raise at a time limit."""


async def test_whatever_an_observer_raises_ends_the_reader_too() -> None:
    def observer(event: harvester.events.Event) -> None:
        if isinstance(event, harvester.events.RunStarted):
            raise Odd

    with pytest.raises(Odd):
        await _streamed(FakeTransport(Simulator()), 3, _nothing, on_event=observer)


async def _nothing(number: int) -> None:
    return None
