"""An object that is not ours is called through the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from harvester.base.outside import guard_call, guarded
from harvester.errors import LedgerError
from harvester.ledger.base import Lease, SharedLedger
from harvester.sinks.memory import MemorySink


class Own:
    """A part of a shared ledger; what it is told to raise or return comes from each method."""

    path = "p"

    def __init__(self, gives: Any = None) -> None:
        self._gives = gives

    def _give(self) -> Any:
        if isinstance(self._gives, BaseException):
            raise self._gives
        return self._gives

    async def claim(self, limit: int) -> Any:
        return self._give()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        yield
        self._give()


def own(gives: Any = None, protocol: object = SharedLedger) -> Any:
    return guarded(Own(gives), protocol, LedgerError)


async def test_results_arguments_and_attributes_pass() -> None:
    leases = [Lease("wx1", 1)]
    ledger = own(leases)
    assert await ledger.claim(limit=3) is leases
    assert ledger.claim is ledger.claim
    assert ledger.path == "p"
    assert repr(ledger).startswith("<tests.base.test_outside.Own")
    assert not hasattr(ledger, "renew")


async def test_an_exception_is_an_error_with_its_cause() -> None:
    mine = KeyError("mine")
    with pytest.raises(LedgerError, match=r"^KeyError: 'mine'$") as caught:
        await own(mine).claim(3)
    assert caught.value.__cause__ is mine
    theirs = LedgerError("the disk is full")
    with pytest.raises(LedgerError) as caught:
        await own(theirs).claim(3)
    assert caught.value is theirs


async def test_a_context_of_it_is_guarded_and_its_block_is_not() -> None:
    with pytest.raises(LedgerError, match="cancelled by its own code"):
        async with own(asyncio.CancelledError()).alone():
            pass
    with pytest.raises(ZeroDivisionError):
        async with own().alone():
            raise ZeroDivisionError


async def test_a_result_is_of_the_class_that_is_declared_if_that_is_ours() -> None:
    class Declares(Protocol):
        async def claim(self, limit: int) -> Lease | None: ...

    for right in (None, Lease("wx1", 1)):
        assert await own(right, Declares).claim(3) is right
    with pytest.raises(LedgerError, match=r"^its claim returned list$"):
        await own([], Declares).claim(3)


def test_what_is_ours_stays_as_it_is() -> None:
    sink = MemorySink()
    assert guarded(sink, None, LedgerError) is sink
    assert guarded(None, None, LedgerError) is None


def test_on_a_thread_without_a_loop_a_cancellation_is_foreign() -> None:
    def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(LedgerError, match="cancelled by its own code"):
        guard_call(LedgerError, cancelled)


def test_an_interrupt_passes() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard_call(LedgerError, interrupted)
