"""Calls of code that is not ours: sinks, stores, token callables, stop signals.

Rule: a cancellation that begins in such code is an error of that code; one that was asked for from
outside goes through.

A task that ends with a `CancelledError` which nobody asked for would end silently, and its work
would be missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class ForeignCancellationError(Exception):
    """Code of somebody else's raised a `CancelledError` that nobody had asked for."""


def is_ours() -> bool:
    """Whether the present task was asked to cancel."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def outside(call: Awaitable[T]) -> T:
    """What a call of somebody else's gives; raises `ForeignCancellationError`."""
    try:
        return await call
    except asyncio.CancelledError:
        if is_ours():
            raise
    raise ForeignCancellationError("it was cancelled by its own code")
