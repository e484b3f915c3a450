"""A directory that was harvested from the simulator, and who answers about it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import harvester
from harvester.config.accounts import ListedAccount
from harvester.config.place import Place
from harvester.mcp.flat_copy import Copy
from harvester.mcp.tools import Answers
from harvester.sinks.base import Sink
from harvester.testing import FakeTransport, Simulator
from tests.support import A, B


def harvested(
    directory: Path,
    endpoints: str | Sequence[str] = "users",
    begin: str = "2025-12-01",
    end: str = "2025-12-31",
    *,
    appids: Sequence[str] = (A, B),
    simulator: Simulator | None = None,
    sink: str = "",
    **options: Any,
) -> harvester.Report:
    """What a run of two accounts leaves in a directory."""
    accounts = [harvester.Account(appid, secret="practice") for appid in appids]
    return harvester.run_sync(
        accounts, endpoints, begin, end, sink=sink or f"jsonl:{directory}",
        ledger=directory / "ledger.sqlite", rate="1000/s",
        **{"transport": FakeTransport(simulator or Simulator()), **options},
    )  # fmt: skip


class Desk:
    """Answers about a directory, one call after the other, on one loop."""

    def __init__(
        self,
        directory: Path,
        given: Sequence[Sink] = (),
        names: Mapping[str, str] | None = None,
        disabled: Iterable[str] = (),
    ) -> None:
        listed = [ListedAccount(appid, name, "", True) for appid, name in (names or {}).items()]
        listed += [ListedAccount(appid, "", "", False) for appid in disabled]
        place = Place(directory, sinks=given, listed=listed)
        self._stack = ExitStack()
        self.directory = Path(self._stack.enter_context(TemporaryDirectory()))
        self._runner = self._stack.enter_context(asyncio.Runner())
        self.copy = Copy(self.directory, place)
        self.answers = Answers(place, self.copy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self.copy.__aexit__())
        self._stack.close()

    def __call__(self, tool: str, **given: Any) -> dict[str, Any]:
        """The answer to a call of a tool."""
        found: dict[str, Any] = self.run(getattr(self.answers, tool)(**given))
        return found

    def run(self, calls: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine returns, on the loop of the calls."""
        return self._runner.run(calls)
