"""The only door from the event loop to calls that block, and the end of a task.

Rule: a blocking resource owns one thread; the thread ends with its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")


class Thread:
    """One thread on which blocking calls run one after the other.

    anyio's and asyncio's shared pools keep their threads after our call has returned to the
    application; a library that promises to leave none behind needs its own.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function there; a cancellation is delivered once it has come back.

        A write that is cut off from its caller could still be under way when the file is closed;
        so the wait is shielded, and lasts no longer than the disk takes.
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
            future.exception()  # looked at, so that the loop does not complain about it
            raise cancelled
        return future.result()

    def close(self) -> None:
        """End the thread; nothing may be under way."""
        self._executor.shutdown(wait=True)


async def ended(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait until it has ended, however often we are cancelled meanwhile."""
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
