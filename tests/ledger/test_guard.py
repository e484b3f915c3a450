"""A ledger of foreign code is called through the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import LedgerError
from harvester.ledger import SqliteLedger
from harvester.ledger.base import Lease, shared
from harvester.ledger.guard import guarded


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
    async def alone(self, limit: float = 0.0) -> AsyncIterator[None]:
        yield
        self._give()


def own(gives: Any = None) -> Any:
    return guarded(Own(gives))  # type: ignore[arg-type]


async def test_results_arguments_and_attributes_pass() -> None:
    leases = [Lease("wx1", 1)]
    ledger = own(leases)
    assert await ledger.claim(limit=3) is leases
    assert ledger.path == "p"
    assert repr(ledger).startswith("<tests.ledger.test_guard.Own")
    assert not hasattr(ledger, "renew")
    assert shared(ledger) is ledger


@pytest.mark.parametrize("exc", [asyncio.CancelledError(), KeyError("mine")])
async def test_an_exception_is_an_error_of_the_ledger_with_its_cause(exc: BaseException) -> None:
    with pytest.raises(LedgerError, match=r"^the ledger: ") as caught:
        await own(exc).claim(limit=3)
    assert caught.value.__cause__ is exc


async def test_a_context_of_it_is_guarded_and_its_block_is_not() -> None:
    with pytest.raises(LedgerError, match="cancelled by its own code"):
        async with own(asyncio.CancelledError()).alone():
            pass
    with pytest.raises(ZeroDivisionError):
        async with own().alone(3.0):
            raise ZeroDivisionError


def test_what_is_ours_stays_as_it_is(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "l")
    assert guarded(ledger) is ledger
    assert guarded(None) is None
