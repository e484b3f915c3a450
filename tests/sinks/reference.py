"""A sink that keeps every promise, on a disk that is a dict: the planted faults break it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Window
from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written


class Disk:
    """What outlives a process."""

    def __init__(self) -> None:
        self.windows: dict[Window, StoredWindow] = {}
        self.epochs: dict[str, int] = {}


DISKS: dict[str, Disk] = {}


class Reference(Sink):
    """A `harvester.Sink` with a scan and a fence."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = f"disk:{name}"

    @property
    def disk(self) -> Disk:
        return DISKS[self.name]

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        if checkpoint and self.name not in DISKS:
            raise SinkError("gone")
        disk = DISKS.setdefault(self.name, Disk())
        if checkpoint == {} and disk.windows:
            raise UsageError("it holds a harvest that this ledger does not know")
        return {"begun": "1"}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        refused = {appid for appid, epoch in fence.items() if self.is_refused(appid, epoch)}
        for appid in fence.keys() - refused:
            self.disk.epochs[appid] = fence[appid]
        for batch in batches:
            if batch.window.appid not in refused:
                self.take_away(batch)
                self.put(batch)
            await asyncio.sleep(0)
        return Written(refused=refused)

    def is_refused(self, appid: str, epoch: int) -> bool:
        return self.disk.epochs.get(appid, 0) > epoch

    def take_away(self, batch: Batch) -> None:
        for window in [each for each in self.disk.windows if self.replaces(batch.window, each)]:
            del self.disk.windows[window]

    def replaces(self, new: Window, old: Window) -> bool:
        return new[:2] == old[:2] and new.begin <= old.end and old.begin <= new.end

    def put(self, batch: Batch) -> None:
        if batch.records:
            records = self.records(batch)
            self.disk.windows[batch.window] = StoredWindow(
                batch.window, batch.tally, batch.fetched_at, lambda: records
            )

    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return list(batch.records)

    async def close(self) -> None: ...

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        return sorted({window.endpoint for window in self.disk.windows})

    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        for window, stored in self.disk.windows.items():
            if window.endpoint == endpoint and (appids is None or window.appid in appids):
                yield stored
