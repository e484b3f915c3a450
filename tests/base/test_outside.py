"""Foreign code is called through the guard."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.base.outside import guard_call, guard_cancellation
from harvester.errors import LedgerError


async def gives(value: Any) -> Any:
    if isinstance(value, BaseException):
        raise value
    return value


async def test_an_exception_is_an_error_with_its_cause() -> None:
    mine = KeyError("mine")
    with pytest.raises(LedgerError, match=r"^KeyError: 'mine'$") as caught:
        await guard_cancellation(LedgerError, gives, mine)
    assert caught.value.__cause__ is mine
    theirs = LedgerError("the disk is full")
    with pytest.raises(LedgerError) as caught:
        await guard_cancellation(LedgerError, gives, theirs)
    assert caught.value is theirs


async def test_what_may_hold_a_token_is_named_by_its_class_and_not_chained() -> None:
    with pytest.raises(LedgerError, match=r"^KeyError$") as caught:
        await guard_cancellation(LedgerError, gives, KeyError("a token"), secret=True)
    assert caught.value.__cause__ is caught.value.__context__ is None


async def test_a_result_is_of_the_class_that_is_expected() -> None:
    for right in (None, 3):
        assert await guard_cancellation(LedgerError, gives, right, returns=int | None) is right
    with pytest.raises(LedgerError, match=r"^its gives returned list$"):
        await guard_cancellation(LedgerError, gives, [], returns=int | None)
    with pytest.raises(LedgerError, match=r"^its str returned str$"):
        guard_call(LedgerError, str, 3, returns=int)


def test_on_a_thread_without_a_loop_a_cancellation_is_foreign() -> None:
    def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(LedgerError, match="cancelled by its own code"):
        guard_call(LedgerError, cancelled)


METHODS = ("reach", "open", "write", "finish", "forget", "renewed", "close")
CALLERS = ("api.py", "cli", "engine", "exports", "report", "service", "upkeep")


@pytest.mark.thorough
def test_no_method_of_a_sink_is_called_without_the_guard() -> None:
    package = Path(harvester.__file__).parent
    found = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] in CALLERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in METHODS
        and ast.unparse(node.func.value).endswith("sink")
    ]
    assert found == []


def test_an_interrupt_passes() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard_call(LedgerError, interrupted)
