"""Calls of code that is not ours: sinks, ledgers, stores, token sources, observers, stop signals.

Rule: every such call goes through `guard_cancellation`, or `guard_call` if it is not awaited.

A task that ends with a `CancelledError` of foreign code would end silently, and its work would be
missing.  So such an error becomes the error of what was called, unless the task itself was
cancelled; and so does any other exception that is not of this package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from harvester.base.outage import Away
from harvester.errors import HarvestError
from harvester.texts import say

T = TypeVar("T")

ErrorOf = Callable[[str], HarvestError]


async def guard_cancellation(
    error: ErrorOf,
    function: Callable[..., Awaitable[T]],
    *args: Any,
    others: bool = True,
    secret: bool = False,
    returns: Any = object,
) -> T:
    """The awaited result of foreign code; raises ``error`` for what that code raises.

    A cancellation of the task, and errors of this package, pass through.
    others: turn exceptions that are no cancellation, too.
    secret: what it raises may hold a token, so it is named by its class only, and is not chained.
    """
    try:
        value = await function(*args)
    except BaseException as exc:
        failure = _failure(exc, error, others=others, secret=secret)
        if failure is None:
            raise
    else:
        return _checked(value, error, function, returns)
    raise failure  # here, where it gets no context


def guard_call(
    error: ErrorOf,
    function: Callable[..., T],
    *args: Any,
    others: bool = True,
    secret: bool = False,
    returns: Any = object,
) -> T:
    """The result of foreign code that is not awaited; see `guard_cancellation`."""
    try:
        value = function(*args)
    except BaseException as exc:
        failure = _failure(exc, error, others=others, secret=secret)
        if failure is None:
            raise
    else:
        return _checked(value, error, function, returns)
    raise failure


def _checked(value: T, error: ErrorOf, function: Callable[..., object], returns: Any) -> T:
    if not isinstance(value, returns):
        name = getattr(function, "__name__", "call")
        raise error(say("its {} returned {}", name, type(value).__name__))
    return value


def _failure(
    exc: BaseException, error: ErrorOf, *, others: bool, secret: bool
) -> HarvestError | None:
    """The error to raise in place of an exception, None if that passes through."""
    if isinstance(exc, asyncio.CancelledError):
        if is_cancelled():
            return None
        failure = error("it was cancelled by its own code")
    elif not others or not isinstance(exc, Exception) or isinstance(exc, HarvestError | Away):
        return None
    else:
        text = "" if secret else str(exc)
        name = type(exc).__name__
        failure = error(say("{}: {}", name, text) if text else name)
    if not secret:
        failure.__cause__ = exc
    return failure


def is_cancelled() -> bool:
    """Whether the current task was cancelled; a thread without an event loop has no task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is None or task.cancelling() > 0
