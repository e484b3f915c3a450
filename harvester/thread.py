"""Runs blocking calls from an event loop, and coroutines from blocking code; ends a task.

Rule: a blocking resource owns one thread; the thread ends with its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")


class Thread:
    """One thread on which blocking calls run one after the other.

    The shared pools of anyio and asyncio keep their threads after a call; a library that leaves no
    thread behind needs its own.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function there; a cancellation is delivered when it has returned.

        Otherwise a write could still be under way when the file is closed; so the wait is shielded,
        and lasts no longer than the disk needs.
        """
        loop = asyncio.get_running_loop()
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):  # holds off anyio's cancellation ...
            future = loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError as exc:  # ... but not asyncio's own
                    cancelled = exc
        if cancelled is not None:
            future.exception()  # retrieved, so that the loop does not log it
            raise cancelled
        return future.result()

    def close(self) -> None:
        """End the thread; nothing may be under way."""
        self._executor.shutdown(wait=True)


async def ended(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait for its end, even if the caller is cancelled meanwhile."""
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


LOOK = 0.1
"""Seconds between two checks for cancellation of a call that waits for another thread."""


def wait_for(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in an event loop of its own, and return what it returns.

    If the calling thread runs an event loop already, the new one has a thread of its own, which
    ends with it.  A KeyboardInterrupt, and in that case a cancellation of the calling task, cancels
    the coroutine, and is raised once that has ended.  The calling thread's current event loop stays
    as it is.
    """
    try:
        caller = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return _run(main())
    return _Aside(main).result(caller)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


class _Aside(Generic[T]):
    """A coroutine that runs in an event loop and a thread of its own."""

    def __init__(self, main: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._main = main
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._begun, self._ended = threading.Event(), threading.Event()
        self._outcome: Future[T] = Future()
        self._thread = threading.Thread(target=self._work, name="harvester-run")
        self._thread.start()

    def _work(self) -> None:
        try:
            self._outcome.set_result(_run(self._whole()))
        except BaseException as exc:  # noqa: BLE001  (whatever it is, the caller gets it)
            self._outcome.set_exception(exc)
        finally:
            self._begun.set()
            self._ended.set()

    async def _whole(self) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        return await self._main()

    def _cancel(self) -> None:
        self._begun.wait()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)

    def result(self, caller: asyncio.Task[Any] | None) -> T:
        """Wait for the end; each interrupt, and each cancellation of the caller, is passed on."""
        interrupts, passed_on = list[KeyboardInterrupt](), 0
        while not self._ended.is_set():  # an interrupted join would report the thread as ended
            try:
                wanted = len(interrupts) + (caller.cancelling() if caller is not None else 0)
                if wanted > passed_on:
                    passed_on += 1
                    self._cancel()
                self._ended.wait(LOOK)
            except KeyboardInterrupt as exc:
                interrupts.append(exc)
        self._thread.join()
        if interrupts:
            raise interrupts[0]
        return self._outcome.result()
