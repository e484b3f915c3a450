"""An event loop whose time jumps to the next timer."""

import asyncio
import threading

import anyio
import pytest

from harvester.testing import VirtualTimeLoop, run_virtual
from tests.testing.support import virtual


@virtual
async def test_a_year_of_sleep_takes_no_time(loop: VirtualTimeLoop) -> None:
    await asyncio.sleep(365 * 86400.0)
    assert loop.time() == pytest.approx(365 * 86400.0, abs=0.01)


def test_time_counts_from_0_and_the_wall_clock_from_its_start() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, float]:
        before = loop.time()
        await asyncio.sleep(10.0)
        return before, loop.wall() - loop.time()

    before, start = run_virtual(main, 1_600_000_000.0)
    assert before < 0.001
    assert start == pytest.approx(1_600_000_000.0)


@virtual
async def test_timers_fire_in_their_order(loop: VirtualTimeLoop) -> None:
    fired: list[tuple[int, int]] = []

    async def wait(seconds: int) -> None:
        await anyio.sleep(seconds)
        fired.append((seconds, int(loop.time())))

    await asyncio.gather(*[wait(seconds) for seconds in (30, 10, 20)])
    assert fired == [(10, 10), (20, 20), (30, 30)]


@virtual
async def test_a_timeout_comes_at_its_time(loop: VirtualTimeLoop) -> None:
    with anyio.move_on_after(42.0):
        await asyncio.Event().wait()
    assert loop.time() == pytest.approx(42.0, abs=0.001)


@virtual
async def test_the_clock_is_never_frozen(loop: VirtualTimeLoop) -> None:
    before = loop.time()
    for _ in range(10):
        await asyncio.sleep(0)
    assert loop.time() > before


def test_tasks_that_all_wait_for_one_another_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="every task waits for another"):
        run_virtual(lambda loop: asyncio.Event().wait())


@virtual
async def test_a_call_to_a_thread_runs_at_once_in_the_loop(loop: VirtualTimeLoop) -> None:
    called = await loop.run_in_executor(None, threading.current_thread)
    assert called is threading.current_thread()


@virtual
async def test_what_such_a_call_raises_is_raised_where_it_is_awaited(loop: VirtualTimeLoop) -> None:
    future = loop.run_in_executor(None, lambda: 1 // 0)
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await future


def test_what_main_gives_is_given_and_what_it_raises_is_raised() -> None:
    async def gives(loop: VirtualTimeLoop) -> int:
        return 7

    async def raises(loop: VirtualTimeLoop) -> int:
        raise KeyError("x")

    assert run_virtual(gives) == 7
    with pytest.raises(KeyError):
        run_virtual(raises)


def test_what_is_left_is_cancelled_at_the_end() -> None:
    async def main(loop: VirtualTimeLoop) -> asyncio.Task[bool]:
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(1.0)
        return task

    assert run_virtual(main).cancelled()
