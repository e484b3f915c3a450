"""A ledger of foreign code: its exceptions become a `LedgerError`.

Rule: the one proxy for foreign code.  The engine calls a ledger in some fifty places, and a guard
around each of these calls would leave one out.
"""

from __future__ import annotations

import inspect
import math
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from harvester.base.outside import guard_call, guard_cancellation
from harvester.errors import LedgerError
from harvester.ledger.base import Ledger, SharedLedger


def guarded(ledger: Ledger | None) -> Ledger | None:
    """A ledger whose methods are called through the guard; our own, and None, are unchanged."""
    if ledger is None or type(ledger).__module__.partition(".")[0] == "harvester":
        return ledger
    return cast("Ledger", _Guarded(ledger))


def _failed(why: str) -> LedgerError:
    return LedgerError("the ledger: {}", why)


class _Context:
    """An async context manager of foreign code; its block is not guarded."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> Self:
        await guard_cancellation(_failed, self._inner.__aenter__)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        leave = self._inner.__aexit__
        return cast("bool | None", await guard_cancellation(_failed, leave, kind, exc, trace))


class _Guarded(_Context):
    """See `guarded`."""

    def __repr__(self) -> str:
        return repr(self._inner)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(getattr(SharedLedger, name, None)):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await guard_cancellation(_failed, partial(found, *args, **kwargs))

        return call

    def alone(self, limit: float = math.inf) -> _Context:
        return _Context(guard_call(_failed, self._inner.alone, limit))
