"""The gate of counted work: it holds, counts the same each time, and trips on doubled work."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import harvester.answer
import harvester.endpoint
import harvester.pipeline
from benchmarks import work
from harvester.auth import SharedToken
from harvester.board import Board
from harvester.channel import Channel
from harvester.committer import Committer
from harvester.endpoint import JsonEndpoint
from harvester.lane import Lane
from harvester.ledger import Ledger
from harvester.limiter import Limiter
from harvester.pipeline import Pipeline
from harvester.sinks.jsonl import JsonLines
from harvester.transport import HttpTransport
from harvester.transport.exchange import Exchange


def missed() -> list[str]:
    """What misses its gate."""
    return [figure.name.removeprefix("work: ") for figure in work.measure() if not figure.holds]


def test_the_gate_holds_and_what_is_counted_is_the_same_each_time() -> None:
    assert missed() == []
    assert work.count()[0] == work.count()[0]


def repeated(function: Any, times: int) -> Any:
    """The same, done so often each time."""
    if isinstance(function, property):
        return property(repeated(function.fget, times))

    def sync(*args: Any, **kwargs: Any) -> Any:
        for _ in range(times - 1):
            function(*args, **kwargs)
        return function(*args, **kwargs)

    async def later(*args: Any, **kwargs: Any) -> Any:
        for _ in range(times - 1):
            await function(*args, **kwargs)
        return await function(*args, **kwargs)

    return later if inspect.iscoroutinefunction(function) else sync


@pytest.mark.parametrize(
    ("owner", "name", "times", "figure"),
    [
        (HttpTransport, "send", 2, "requests a window"),
        (Exchange, "post", 2, "calls a window in transport"),
        (SharedToken, "_fetch", 2, "fetches of a token an account"),
        (harvester.pipeline, "body_of", 2, "calls a window in codec"),
        (harvester.pipeline, "body_of", 2, "values written as JSON a record"),
        (harvester.answer, "parse", 2, "answers parsed a window"),
        (harvester.endpoint, "read", 2, "calls a window in answer"),
        (JsonEndpoint, "verdict", 2, "calls a window in endpoint"),
        (JsonEndpoint, "request", 2, "calls a window in endpoint"),
        (Pipeline, "_batch", 3, "calls a window in pipeline"),
        (Board, "_running", 5, "calls a window in board"),
        (Lane, "finished", 5, "calls a window in lane"),
        (Limiter, "ready", 2, "calls a window in limiter"),
        (SharedToken, "accept", 2, "calls a window in auth"),
        (SharedToken, "due", 2, "calls a window in auth"),
        (Channel, "offer", 2, "calls a window in channel"),
        (Committer, "_commit", 2, "calls a window in committer"),
        (JsonLines, "_write", 2, "calls a window in sinks/jsonl"),
        (Ledger, "commit", 2, "calls a window in ledger"),
    ],
)
@pytest.mark.thorough
def test_a_stage_that_does_more_than_its_work_trips_its_own_gate(
    owner: Any, name: str, times: int, figure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, repeated(getattr(owner, name), times))
    assert figure in missed()
