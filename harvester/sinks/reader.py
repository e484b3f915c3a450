"""What a sink has stored, as its ledger knows it: windows, and their records.

Rule: reads only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from harvester.base.dates import Days
from harvester.base.outside import guard_call
from harvester.errors import SinkError, UsageError
from harvester.model import Window
from harvester.sinks.base import OWNER, Checkpoint, Sink, Stamp, StoredWindow
from harvester.sinks.scan import error_of

_TURNS = 20


class Records(NamedTuple):
    """Records of a window, with their metadata, and the place of each."""

    window: Window
    documents: Sequence[dict[str, Any]]
    numbers: Sequence[int]


class Reader:
    """A sink, as its ledger knows it.

    checkpoint: gives the newest one that the ledger has stored, None without a ledger.  Raises
    `UsageError` if the sink cannot be read back.
    """

    def __init__(self, sink: Sink, checkpoint: Callable[[], Checkpoint | None]) -> None:
        if sink.scan is None or sink.endpoints is None:
            raise UsageError("{} cannot be read back", sink.identity)
        self.sink = sink
        self._scan, self._endpoints = sink.scan, sink.endpoints
        self._checkpoint = checkpoint
        self._guarded: Callable[..., Any] = partial(guard_call, error_of(sink))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.sink.identity}>"

    def harvest(self) -> str:
        """The id of the harvest in its ledger; empty without one."""
        return (self._checkpoint() or {}).get(OWNER, "")

    def interfaces(self) -> list[str]:
        """The interfaces that have records."""
        return sorted(self._again_if_changed(self._endpoints))

    def stamps(self, name: str) -> dict[str, Stamp]:
        """The stamp of each month of an interface."""
        found: dict[str, Stamp] = self._again_if_changed(partial(self.sink.stamps, name))
        return found

    def windows(
        self, name: str, days: Days | None = None, appids: Collection[str] | None = None
    ) -> Iterator[StoredWindow]:
        """The stored windows of an interface that have such days, in order."""

        def begun(checkpoint: Checkpoint | None) -> tuple[StoredWindow | None, Any]:
            found = iter(self._scan(name, appids, checkpoint, days))
            return next(found, None), found

        stored, found = self._again_if_changed(begun)
        while stored is not None:
            yield stored
            stored = self._guarded(next, found, None)

    def records(self, stored: StoredWindow) -> list[dict[str, Any]]:
        """The records of a window, as long as the next one has not been asked for."""
        found: list[dict[str, Any]] = self._guarded(stored.records)
        return found

    def _again_if_changed(self, call: Callable[[Checkpoint | None], Any]) -> Any:
        """What a call returns, given the newest checkpoint.

        A run may replace files after that was read, and before they are opened: then it has a newer
        one.
        """
        for _ in range(_TURNS):
            checkpoint = self._checkpoint()
            try:
                return self._guarded(call, checkpoint)
            except SinkError:
                if self._checkpoint() == checkpoint:
                    raise
        return self._guarded(call, self._checkpoint())
