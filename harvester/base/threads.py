"""Runs blocking calls from an event loop, and coroutines from blocking code; ends a task.

Rule: a blocking resource owns one thread; the thread ends with its owner.

A call that uses a connection to a server may never return.  So a connection that is made on a
`Thread` is registered (`can_be_cut`), and a call that takes longer than `LIMIT`, or whose caller is
cancelled, is ended by shutting down a duplicate of the connection's socket: then the blocked
function of the driver returns with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import anyio
import anyio.lowlevel

from harvester.base.outage import SLOW, Away, announce
from harvester.texts import say

P = ParamSpec("P")
T = TypeVar("T")

LIMIT = 150.0
"""Seconds for a call that uses a connection: more than a server gives one statement (120 s)."""
READING = 3600.0
"""The same for one that reads what is stored: the server may have to sort all of it first."""
GRACE = 1.0
"""Seconds in which a call may still return after its caller was cancelled."""
LOOK = 0.1
"""Seconds between two checks of a call that waits for another thread."""

_here = threading.local()  # .thread: the `Thread` that this thread belongs to


class _Line(NamedTuple):
    """A connection; socket: a duplicate of its socket. where: the server in messages."""

    socket: socket.socket
    where: str


def can_be_cut(connection: object, descriptor: int, where: str) -> None:
    """Register a new connection with the `Thread` that this code runs on, if it is one."""
    thread: Thread | None = getattr(_here, "thread", None)
    if thread is not None:
        thread.register(connection, _Line(socket.socket(fileno=os.dup(descriptor)), where))


class Thread:
    """One thread on which blocking calls run one after the other.

    The shared pools of anyio and asyncio keep their threads after a call; a library that leaves no
    thread behind needs its own.

    limit: seconds for a call that uses a connection, `LIMIT` by default.
    """

    def __init__(self, name: str, limit: float = 0.0) -> None:
        def begin() -> None:
            _here.thread = self

        self._limit = limit
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=begin)
        self._lines: list[_Line] = []

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function there; a cancellation is delivered when it has returned.

        Otherwise a write could still be under way when the file is closed; so the wait is shielded,
        and lasts no longer than the disk needs.  With a connection it lasts `LIMIT` at the most,
        and `GRACE` once the caller is cancelled: then the connection is cut.
        """
        call = _Call(lambda: function(*args, **kwargs))
        future = asyncio.get_running_loop().run_in_executor(self._executor, call.run)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            with anyio.CancelScope(shield=True):  # holds off anyio's cancellation ...
                try:
                    await asyncio.wait([future], timeout=LOOK)
                except asyncio.CancelledError as exc:  # ... but not asyncio's own
                    cancelled = exc
            if self._lines and not future.done():
                in_scope = anyio.current_effective_deadline() == -math.inf
                if self._is_over(call, left=cancelled is not None or in_scope):
                    future.cancel()  # it has not begun
        if future.cancelled() and cancelled is None:
            await anyio.lowlevel.checkpoint()  # raises anyio's own cancellation
        if cancelled is not None:
            if not future.cancelled():
                future.exception()  # retrieved, so that the loop does not log it
            raise cancelled
        return call.result(future)

    def _is_over(self, call: _Call[T], *, left: bool) -> bool:
        """Cut a call that takes too long; returns whether it must not begin any more."""
        now = time.monotonic()
        if left:
            call.ends = min(call.ends, now + GRACE)
        if call.begun is None:
            return left
        if now >= (call.ends if left else call.begun + (self._limit or LIMIT)):
            call.cut = True
            self._cut()
        elif now >= call.begun + SLOW and not call.announced:
            call.announced = True
            announce(self._lines[-1].where)
        return False

    def register(self, connection: object, line: _Line) -> None:
        self._lines.append(line)
        weakref.finalize(connection, self._forget, line).atexit = False

    def _forget(self, line: _Line) -> None:
        self._lines.remove(line)
        line.socket.close()

    def _cut(self) -> None:
        for line in list(self._lines):
            with contextlib.suppress(OSError):  # it is not connected any more
                line.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the thread; nothing may be under way."""
        self._executor.shutdown(wait=True)


async def in_thread(name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads for long, on a thread of its own."""
    thread = Thread(name, READING)
    try:
        return await thread.call(function, *args, **kwargs)
    finally:
        thread.close()


class _Call(Generic[T]):
    """One call; ends: when it is cut, since its caller has left."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self.begun: float | None = None
        self.ends = math.inf
        self.cut = self.announced = False

    def run(self) -> T:
        self.begun = time.monotonic()
        return self._function()

    def result(self, future: asyncio.Future[T]) -> T:
        """What the function returned or raised; an outage has what is known of it here."""
        exc = None if future.cancelled() else future.exception()
        if isinstance(exc, Away) and self.cut:
            raise Away(say("it has not answered for {:g} s", LIMIT)) from None
        return future.result()


async def aside(function: Callable[[], T]) -> T:
    """Run a function in its own thread, which neither a cancellation nor the exit waits for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(give: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
            loop.call_soon_threadsafe(lambda: None if future.done() else give(value))

    def work() -> None:
        try:
            result = function()
        except BaseException as exc:  # noqa: BLE001  (whatever it is, the caller gets it)
            deliver(future.set_exception, exc)
        else:
            deliver(future.set_result, result)

    threading.Thread(target=work, name="harvester-aside", daemon=True).start()
    return await future


async def ended(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait for its end, even if the caller is cancelled in the meantime."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as exc:
                cancelled = exc
    if cancelled is not None:
        raise cancelled


def wait_for(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a new event loop, and return its result.

    If the calling thread runs an event loop already, the new one has its own thread, which ends
    with it.  A KeyboardInterrupt, and in that case a cancellation of the calling task, cancels the
    coroutine, and is raised once that has ended.  The calling thread's current event loop is
    unchanged.
    """
    try:
        caller = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return _run(main())
    return _run_aside(main, caller)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


def _run_aside(main: Callable[[], Coroutine[Any, Any, T]], caller: asyncio.Task[Any] | None) -> T:
    begun: Future[asyncio.Task[Any] | None] = Future()
    outcome: Future[T] = Future()

    async def whole() -> T:
        begun.set_result(asyncio.current_task())
        return await main()

    def work() -> None:
        try:
            outcome.set_result(_run(whole()))
        except BaseException as exc:  # noqa: BLE001  (whatever it is, the caller gets it)
            outcome.set_exception(exc)

    # No executor's: the exit of the interpreter would wait for the end of a daemon's run.
    thread = threading.Thread(target=work, name="harvester-run")
    thread.start()
    interrupts, passed_on = list[KeyboardInterrupt](), 0
    while not outcome.done():  # an interrupted join would report the thread as ended
        try:
            wait([outcome], LOOK)
            wanted = len(interrupts) + (caller.cancelling() if caller is not None else 0)
            if wanted > passed_on and begun.done() and (task := begun.result()) is not None:
                passed_on += 1
                with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
                    task.get_loop().call_soon_threadsafe(task.cancel)
        except KeyboardInterrupt as exc:
            interrupts.append(exc)
    thread.join()
    if interrupts:
        raise interrupts[0]
    return outcome.result()
