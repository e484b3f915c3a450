"""What the engine gets of a run's options, as plain values.

Rule: values only; `harvester.config.settings` declares each option, checks it, and has its default.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from harvester.engine.limiter import Rate


@dataclass(frozen=True)
class Options:
    """The options that the engine takes."""

    rate: Rate
    burst: int
    concurrency: int
    account_concurrency: int | None
    attempts: int
    patience: float
    daily_quota: int | None
    ask_quota: bool
    order: str
    refresh: bool
    wait: bool
    lease: float


class StopSignal(Protocol):
    """The signal that asks a run to end in order: an `anyio.Event` or an `asyncio.Event`."""

    async def wait(self) -> object:
        """Return once the run is to stop."""
        ...


@dataclass(eq=False)
class Round(asyncio.Event):
    """A stop signal with limits: the run also ends at these, and what is left waits for the next.

    seconds: after it began.  quiet: seconds in which no window was stored, may be infinite.
    again: seconds after which the next run asks for what was tried in vain.
    """

    seconds: float
    quiet: float
    again: float

    def __post_init__(self) -> None:
        super().__init__()
