"""One thread for calls that block, and how it is left."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import anyio
import anyio.lowlevel
import pytest

from harvester.base.outage import Away
from harvester.base.threads import Thread, can_be_cut, wait_for
from harvester.testing import VirtualTimeLoop
from tests.support import virtual


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


async def test_a_call_runs_on_a_thread_of_its_own(thread: Thread) -> None:
    assert await thread.call(lambda: threading.current_thread().name) == "harvester-test_0"


async def test_arguments_and_result_are_passed_on(thread: Thread) -> None:
    assert await thread.call(sorted, [2, 1, 3], reverse=True) == [3, 2, 1]


async def test_an_exception_comes_back_to_the_caller(thread: Thread) -> None:
    with pytest.raises(ZeroDivisionError):
        await thread.call(lambda: 1 // 0)


async def test_calls_run_one_after_the_other_on_one_thread(thread: Thread) -> None:
    def call(number: int) -> tuple[int, str]:
        done.append(number)
        return number, threading.current_thread().name

    done: list[int] = []
    found = await asyncio.gather(*[thread.call(call, number) for number in range(20)])
    assert done == list(range(20))
    assert found == [(number, "harvester-test_0") for number in range(20)]


async def cancelled(thread: Thread, blocked: Blocked, times: int = 1) -> None:
    """The call's task is cancelled so often while it runs; the call ends before the task does."""
    task = asyncio.create_task(thread.call(blocked))
    await asyncio.to_thread(blocked.started.wait)
    for _ in range(times):
        task.cancel()
        await turns()
    assert not task.done()
    blocked.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert blocked.ended


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancellation_is_delivered_once_the_call_has_come_back(
    thread: Thread, times: int
) -> None:
    await cancelled(thread, Blocked(), times)


async def test_a_cancelled_scope_waits_for_the_call(thread: Thread) -> None:
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


async def test_in_a_cancelled_scope_the_result_is_returned_and_the_next_wait_is_cut_off(
    thread: Thread,
) -> None:
    """What was written is known, and can be told to the ledger."""
    blocked, said = Blocked(), list[str]()
    with anyio.CancelScope() as scope:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, scope.cancel)
        loop.call_later(0.05, blocked.go.set)
        said.append(await thread.call(blocked))
        await anyio.lowlevel.checkpoint()
        said.append("went on")
    assert said == ["done"]


async def test_the_error_of_a_cancelled_call_is_swallowed_in_silence(thread: Thread) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    await cancelled(thread, Blocked(OSError("the disk is gone")))
    assert complaints == []


async def test_the_thread_ends_when_it_is_closed() -> None:
    thread = Thread("harvester-closing")
    running = await thread.call(threading.current_thread)
    assert running.is_alive()
    thread.close()
    assert not running.is_alive()


async def test_a_closed_thread_takes_no_call() -> None:
    thread = Thread("harvester-closed")
    thread.close()
    with pytest.raises(RuntimeError):
        await thread.call(len, "")


@virtual()
async def test_on_virtual_time_a_call_takes_no_time(loop: VirtualTimeLoop, thread: Thread) -> None:
    assert (await thread.call(len, "four"), loop.time() < 0.001) == (4, True)


class Sleeper:
    """A coroutine function that sleeps until it is cancelled, and cleans up for a while."""

    def __init__(self, *, then: Callable[[], None] = lambda: None) -> None:
        self.then = then
        self.cleaned = False
        self.thread = ""

    async def __call__(self) -> str:
        self.thread = threading.current_thread().name
        self.then()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.05)
            self.cleaned = True
        return "slept"


async def answer() -> tuple[int, str]:
    await asyncio.sleep(0)
    return 42, threading.current_thread().name


async def failing() -> None:
    raise LookupError("as it was raised")


def interrupt_soon() -> None:
    """Send this process the signal of Ctrl-C, a moment from now."""
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_a_coroutine_is_waited_for_in_the_thread_that_has_no_loop() -> None:
    assert wait_for(answer) == (42, threading.current_thread().name)
    with pytest.raises(LookupError, match="as it was raised"):
        wait_for(failing)


def test_the_current_event_loop_of_a_thread_stays_as_it_is() -> None:
    mine = asyncio.new_event_loop()
    asyncio.set_event_loop(mine)
    try:
        wait_for(answer)
        assert asyncio.get_event_loop_policy().get_event_loop() is mine
    finally:
        asyncio.set_event_loop(None)
        mine.close()


async def test_where_a_loop_runs_a_coroutine_has_a_thread_of_its_own() -> None:
    before = threading.active_count()
    with pytest.raises(LookupError, match="as it was raised"):
        wait_for(failing)
    assert wait_for(answer) == (42, "harvester-run")
    assert threading.active_count() == before


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_is_raised_once_the_coroutine_has_cleaned_up() -> None:
    sleeper = Sleeper(then=interrupt_soon)
    with pytest.raises(KeyboardInterrupt):
        wait_for(sleeper)
    assert sleeper.cleaned


@pytest.mark.thorough
@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_is_raised_once_the_other_thread_has_ended() -> None:
    """As in a notebook, whose loop runs while Ctrl-C raises in its main thread."""
    sleeper = Sleeper(then=interrupt_soon)
    loop = asyncio.new_event_loop()

    async def main() -> None:
        wait_for(sleeper)

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    loop.close()
    assert (sleeper.thread, sleeper.cleaned) == ("harvester-run", True)


@pytest.mark.usefixtures("_interruptible")
def test_a_cancellation_of_the_task_that_waits_is_passed_on() -> None:
    """asyncio.run takes the first Ctrl-C for itself: it cancels the task that it runs."""
    sleeper = Sleeper(then=interrupt_soon)

    async def main() -> None:
        wait_for(sleeper)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert sleeper.cleaned
    assert time.monotonic() - began < 10


EXITS = """
import asyncio, threading, time
from harvester.base.threads import wait_for

async def main():
    wait_for(lambda: asyncio.sleep(60))

threading.Thread(target=asyncio.run, args=[main()], daemon=True).start()
time.sleep(0.5)
"""


@pytest.mark.thorough
def test_the_exit_of_the_interpreter_does_not_wait_for_what_a_daemon_waits_for() -> None:
    """As in a program that runs notebooks' cells in daemon threads."""
    subprocess.run([sys.executable, "-c", EXITS], check=True, timeout=30)


class Connection:
    """A connection to a server that never answers, made on a thread."""

    def __init__(self) -> None:
        self.mine, self.server = socket.socketpair()
        can_be_cut(self, self.mine.fileno(), "the server x")

    def ask(self) -> bytes:
        """Wait for an answer, as a driver does."""
        if answer := self.mine.recv(1):
            return answer
        raise Away("the connection was lost")

    def close(self) -> None:
        self.mine.close()
        self.server.close()


async def test_a_call_of_a_server_that_never_answers_is_cut_when_the_limit_is_over(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.base.threads.LIMIT", 0.3)
    connection = await thread.call(Connection)
    with pytest.raises(Away, match=r"it has not answered for 0\.3 s"):
        await thread.call(connection.ask)
    connection.close()


async def test_a_cancelled_call_of_a_server_is_cut_and_one_behind_it_is_not_begun(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.base.threads.GRACE", 0.2)
    connection, begun = await thread.call(Connection), list[str]()
    first = asyncio.create_task(thread.call(connection.ask))
    second = asyncio.create_task(thread.call(begun.append, "begun"))
    await asyncio.sleep(0.1)
    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 2)
    assert begun == []
    connection.close()


async def test_a_scope_that_is_cancelled_cuts_a_call_too(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.base.threads.GRACE", 0.2)
    connection = await thread.call(Connection)
    with anyio.move_on_after(0.1):
        with pytest.raises(Away):
            await thread.call(connection.ask)
    connection.close()


@pytest.mark.thorough
async def test_in_a_cancelled_scope_a_call_that_has_not_begun_is_left_as_the_scope_is(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.base.threads.GRACE", 0.2)
    connection, begun = await thread.call(Connection), list[str]()
    first = asyncio.create_task(thread.call(connection.ask))
    await asyncio.sleep(0.05)
    with anyio.move_on_after(0.05) as scope:
        await thread.call(begun.append, "begun")
    assert scope.cancelled_caught
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert begun == []
    connection.close()


async def test_a_call_that_returns_within_the_grace_keeps_its_connection(thread: Thread) -> None:
    connection = await thread.call(Connection)
    task = asyncio.create_task(thread.call(connection.ask))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.15)
    connection.server.send(b"1")
    with pytest.raises(asyncio.CancelledError):
        await task
    connection.server.send(b"2")
    assert await thread.call(connection.ask) == b"2"
    connection.close()


@pytest.mark.thorough
async def test_a_call_that_waits_is_announced(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("harvester.base.threads.SLOW", 0.1)
    monkeypatch.setattr("harvester.base.threads.LIMIT", 0.6)
    connection = await thread.call(Connection)
    with pytest.raises(Away):
        await thread.call(connection.ask)
    assert "the server x: a call takes more than 5 s; no answer yet" in caplog.text
    connection.close()


async def test_the_duplicate_of_a_connection_ends_with_it(thread: Thread) -> None:
    connection = await thread.call(Connection)
    server = connection.server
    connection.mine.close()
    del connection
    server.settimeout(2)
    assert server.recv(1) == b""
    server.close()
