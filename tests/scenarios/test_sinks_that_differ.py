"""Sinks that came apart: a run or the command `rebuild` brings them together again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.model import Batch
from harvester.sinks.base import Fence, Written
from harvester.testing import FakeTransport, MemorySink, Simulator
from tests.support import A

GROWING = "getarticletotaldetail"


class Killed(MemorySink):
    """Its process is killed before a write of it, if it is told so."""

    dies = False

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        if self.dies:
            raise harvester.SinkError("killed")
        return await super().write(batches, fence)


def versions(sink: MemorySink) -> dict[Any, int]:
    return {window: batch.version for window, batch in sink._batches.items()}


def test_a_refresh_that_was_killed_between_two_sinks_goes_on_with_the_next_run(
    tmp_path: Path,
) -> None:
    """Also with the windows that can still change, which a run asks for every six hours."""
    first, second = MemorySink("memory:first"), Killed("memory:second")
    simulator = Simulator()

    def run(**options: Any) -> harvester.Report:
        return harvester.run_sync(
            harvester.Account(A, secret="practice"), [GROWING, "getusersummary"], "yesterday-40d",
            "yesterday", sink=[first, second], ledger=tmp_path / "ledger.sqlite", rate="100000/s",
            burst=1000, transport=FakeTransport(simulator), **options,
        )  # fmt: skip

    assert run().state in ("complete", "waiting")
    assert run().requests == 0
    second.dies = True
    with pytest.raises(harvester.SinkError, match="killed"):
        run(refresh=True)
    assert versions(first) != versions(second)
    second.dies = False
    assert run().requests > 0
    assert versions(first) == versions(second)
