"""Calls user code: sinks, stores, token callables, stop signals.

Rule: a cancellation that such code raises by itself is an error of that code; a cancellation of the
task passes through.

A task that ends with a `CancelledError` of user code would end silently, and its work would be
missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class ForeignCancellationError(Exception):
    """User code raised a `CancelledError` although the task was not cancelled."""


def is_ours() -> bool:
    """Whether the current task was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def outside(call: Awaitable[T]) -> T:
    """The result of a call of user code; raises `ForeignCancellationError`."""
    try:
        return await call
    except asyncio.CancelledError:
        if is_ours():
            raise
    raise ForeignCancellationError("it was cancelled by its own code")
