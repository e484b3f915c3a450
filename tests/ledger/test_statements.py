"""A method of a ledger is made of a function, which may be called again with the same arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from harvester.ledger.statements import reads, writes


def added(tables: list[str], words: Iterable[str], last: str = "!", more: int = 1) -> str:
    """Join words behind those that are there."""
    return " ".join([*tables, *words, last * more])


class Ledger:
    """It calls each function twice, as if the first answer was lost."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self._twice("write", function, args)

    async def _read(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self._twice("read", function, args)

    async def _twice(self, how: str, function: Callable[..., Any], args: Any) -> Any:
        self.calls.append(f"{how} {function.__name__}")
        return {function(["a"], *args) for _ in range(2)}

    write = writes(added)
    read = reads(added)


@pytest.mark.parametrize("name", ["write", "read"])
async def test_what_can_be_read_once_is_a_list_when_it_is_called_again(name: str) -> None:
    ledger: Any = Ledger()
    method = getattr(ledger, name)
    assert await method(iter("bc")) == {"a b c !"}
    assert await method(iter("bc"), "?") == {"a b c ?"}
    assert await method(last="?", words=(each for each in "b")) == {"a b ?"}
    assert await method(["b"], more=2) == {"a b !!"}
    assert ledger.calls == [f"{name} added"] * 4
