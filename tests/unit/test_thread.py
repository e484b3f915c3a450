"""One thread for calls that block, and how it is left."""

import asyncio
import threading
from collections.abc import Iterator

import anyio
import pytest

from harvester.testing import run_virtual
from harvester.thread import Thread


@pytest.fixture
def thread() -> Iterator[Thread]:
    thread = Thread("harvester-test")
    yield thread
    thread.close()


class Blocked:
    """A call that blocks until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = threading.Event()
        self.go = threading.Event()
        self.ended = False
        self.error = error

    def __call__(self) -> str:
        self.started.set()
        assert self.go.wait(60)
        self.ended = True
        if self.error is not None:
            raise self.error
        return "done"


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_call_runs_on_a_thread_of_its_own(thread: Thread) -> None:
    name = asyncio.run(thread.call(lambda: threading.current_thread().name))
    assert name == "harvester-test_0"


def test_arguments_and_result_are_passed_on(thread: Thread) -> None:
    assert asyncio.run(thread.call(sorted, [2, 1, 3], reverse=True)) == [3, 2, 1]


def test_an_exception_comes_back_to_the_caller(thread: Thread) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(thread.call(lambda: 1 // 0))


def test_calls_run_one_after_the_other_on_one_thread(thread: Thread) -> None:
    async def main() -> list[tuple[int, str]]:
        def call(number: int) -> tuple[int, str]:
            done.append(number)
            return number, threading.current_thread().name

        done: list[int] = []
        found = await asyncio.gather(*[thread.call(call, number) for number in range(20)])
        assert done == list(range(20))
        return found

    assert asyncio.run(main()) == [(number, "harvester-test_0") for number in range(20)]


def test_a_cancellation_is_delivered_once_the_call_has_come_back(thread: Thread) -> None:
    async def main() -> None:
        blocked = Blocked()
        task = asyncio.create_task(thread.call(blocked))
        await asyncio.to_thread(blocked.started.wait)
        task.cancel()
        await turns()
        assert not task.done()
        blocked.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert blocked.ended

    asyncio.run(main())


def test_a_second_cancellation_does_not_cut_the_call_off_either(thread: Thread) -> None:
    async def main() -> None:
        blocked = Blocked()
        task = asyncio.create_task(thread.call(blocked))
        await asyncio.to_thread(blocked.started.wait)
        for _ in range(3):
            task.cancel()
            await turns()
        assert not task.done()
        blocked.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert blocked.ended

    asyncio.run(main())


def test_a_cancelled_scope_waits_for_the_call(thread: Thread) -> None:
    async def main() -> None:
        blocked = Blocked()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def leave() -> None:
                    await asyncio.to_thread(blocked.started.wait)
                    scope.cancel()
                    asyncio.get_running_loop().call_soon(blocked.go.set)

                group.start_soon(thread.call, blocked)
                group.start_soon(leave)
        assert blocked.ended

    asyncio.run(main())


def test_the_error_of_a_cancelled_call_is_swallowed_in_silence(thread: Thread) -> None:
    async def main() -> list[object]:
        complaints: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        blocked = Blocked(OSError("the disk is gone"))
        task = asyncio.create_task(thread.call(blocked))
        await asyncio.to_thread(blocked.started.wait)
        task.cancel()
        await turns()
        blocked.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return complaints

    assert asyncio.run(main()) == []


def test_the_thread_ends_when_it_is_closed() -> None:
    thread = Thread("harvester-closing")
    running = asyncio.run(thread.call(threading.current_thread))
    assert running.is_alive()
    thread.close()
    assert not running.is_alive()


def test_a_closed_thread_takes_no_call() -> None:
    thread = Thread("harvester-closed")
    thread.close()
    with pytest.raises(RuntimeError):
        asyncio.run(thread.call(len, ""))


def test_on_virtual_time_a_call_takes_no_time(thread: Thread) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> tuple[int, bool]:
        return await thread.call(len, "four"), loop.time() < 0.001

    assert run_virtual(main) == (4, True)
