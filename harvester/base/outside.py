"""Calls of code that is not ours: sinks, ledgers, stores, token sources, observers, stop signals.

Rule: every such call goes through `guard_cancellation`, or `guard_call` if it is not awaited.

A task that ends with a `CancelledError` of foreign code would end silently, and its work would be
missing.  So such an error becomes the error of what was called, unless the task itself was
cancelled; and so does any other exception that is not of this package.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from types import NoneType, TracebackType, UnionType
from typing import Any, Protocol, Self, TypeVar, cast, get_args, get_type_hints

from harvester.base.outage import Away
from harvester.errors import HarvestError
from harvester.texts import say

T = TypeVar("T")

ErrorOf = Callable[[str], HarvestError]
"""Makes the error of a call from its cause."""


async def guard_cancellation(
    error: ErrorOf,
    function: Callable[..., Awaitable[T]],
    *args: Any,
    others: bool = True,
    secret: bool = False,
) -> T:
    """The awaited result of foreign code; raises ``error`` for what that code raises.

    A cancellation of the task, and errors of this package, pass through.
    others: turn exceptions that are no cancellation, too.
    secret: what it raises may hold a token, so it is named by its class only, and is not chained.
    """
    try:
        return await function(*args)
    except BaseException as exc:
        failure = _failure(exc, error, others=others, secret=secret)
        if failure is None:
            raise
    raise failure  # here, where it gets no context


def guard_call(
    error: ErrorOf,
    function: Callable[..., T],
    *args: Any,
    others: bool = True,
    secret: bool = False,
) -> T:
    """The result of foreign code that is not awaited; see `guard_cancellation`."""
    try:
        return function(*args)
    except BaseException as exc:
        failure = _failure(exc, error, others=others, secret=secret)
        if failure is None:
            raise
    raise failure


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


def guarded(given: T, protocol: object, error: ErrorOf, *, secret: bool = False) -> T:
    """An object whose methods are called through the guard; one of ours, or None, as it is.

    protocol: the class that declares its methods.  Those that are coroutine functions there are
    awaited, and a result must be of the class that is declared, if that is one of this package.
    What the object lacks is as it is there, unless that is a `Protocol`, which only declares.
    """
    if given is None or _is_ours(type(given)):
        return given
    return cast("T", _Guarded(given, protocol, error, secret=secret))


_MISSING = object()


class _Guarded:
    """See `guarded`."""

    def __init__(self, inner: Any, protocol: object, error: ErrorOf, *, secret: bool) -> None:
        self._inner = inner
        self._protocol = protocol
        self._error = error
        self._secret = secret

    def __repr__(self) -> str:
        return repr(self._inner)

    def __getattr__(self, name: str) -> Any:
        declared = getattr(self._protocol, name, None)
        found = getattr(self._inner, name, _MISSING)
        if found is _MISSING:
            return self._default(name, declared)
        if not callable(found):
            return found
        result = _declared_result(declared)

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            call = partial(found, *args, **kwargs)
            value = await guard_cancellation(self._error, call, secret=self._secret)
            return self._checked(name, value, result)

        def called(*args: Any, **kwargs: Any) -> Any:
            value = guard_call(self._error, partial(found, *args, **kwargs), secret=self._secret)
            if hasattr(value, "__aenter__"):
                return _Guarded(value, None, self._error, secret=self._secret)
            return self._checked(name, value, result)

        method = awaited if inspect.iscoroutinefunction(declared) else called
        self.__dict__[name] = method
        return method

    def _default(self, name: str, declared: Any) -> Any:
        """What the protocol's class has for a member that the object lacks."""
        has_defaults = Protocol not in getattr(self._protocol, "__mro__", ())
        if not has_defaults or not hasattr(self._protocol, name):
            raise AttributeError(name)
        return partial(declared, self) if inspect.isfunction(declared) else declared

    def _checked(self, name: str, value: Any, expected: Any) -> Any:
        if expected is not None and not isinstance(value, expected):
            raise self._error(say("its {} returned {}", name, type(value).__name__))
        return value

    async def __aenter__(self) -> Self:
        await guard_cancellation(self._error, self._inner.__aenter__, secret=self._secret)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        leave = self._inner.__aexit__
        return cast(
            "bool | None",
            await guard_cancellation(self._error, leave, kind, exc, trace, secret=self._secret),
        )


def _declared_result(method: object) -> Any:
    """What a method is declared to return, if that is a class of this package; else None."""
    if not inspect.isfunction(method):
        return None
    declared = get_type_hints(method).get("return")
    parts = get_args(declared) if isinstance(declared, UnionType) else (declared,)
    ours = [_is_ours(part) for part in parts if part is not NoneType]
    return declared if ours and all(ours) else None


def _is_ours(given: object) -> bool:
    return isinstance(given, type) and given.__module__.partition(".")[0] == "harvester"
