"""The suite for sinks finds what is wrong: faults planted one by one in a sink that has none."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest

from harvester.model import Batch, Tally, Window
from harvester.sinks.base import Checkpoint, Fence, StoredWindow, Written
from harvester.testing import SINK_CHECKS, BrokenPromiseError, check_sink
from tests.sinks.reference import DISKS, Disk, Reference


class NeverReplaces(Reference):
    def take_away(self, batch: Batch) -> None: ...

    def put(self, batch: Batch) -> None:
        old = self.disk.windows.get(batch.window)
        super().put(batch)
        if old and batch.records:
            both = [*old.records(), *batch.records]
            self.disk.windows[batch.window] = old._replace(records=lambda: both)


class ReplacesWhatTheLedgerKnows(NeverReplaces):
    """It trusts that nothing stands where the ledger knows of nothing."""

    def take_away(self, batch: Batch) -> None:
        if batch.replaces:
            Reference.take_away(self, batch)


class ReplacesTheSameWindow(Reference):
    def replaces(self, new: Window, old: Window) -> bool:
        return new == old


class ReplacesWhatLiesInIt(Reference):
    def replaces(self, new: Window, old: Window) -> bool:
        return new[:2] == old[:2] and new.begin <= old.begin and old.end <= new.end


class ReplacesWhatBeginsInIt(Reference):
    def replaces(self, new: Window, old: Window) -> bool:
        return new[:2] == old[:2] and new.begin <= old.begin <= new.end


class KeepsWhatEndsOnItsFirstDay(Reference):
    def replaces(self, new: Window, old: Window) -> bool:
        return super().replaces(new, old) and (old.end > new.begin or old.begin == new.begin)


class ReplacesOtherAccounts(Reference):
    def replaces(self, new: Window, old: Window) -> bool:
        return super().replaces(new._replace(appid=old.appid), old)


class ReplacesOtherInterfaces(Reference):
    def replaces(self, new: Window, old: Window) -> bool:
        return super().replaces(new._replace(endpoint=old.endpoint), old)


class LooksAYearBack(Reference):
    """It takes the longest window for one of a year."""

    def replaces(self, new: Window, old: Window) -> bool:
        return super().replaces(new, old) and (new.begin - old.begin).days < 366


class DeletesBeforeItInserts(Reference):
    """It removes what a whole write overlaps, and then puts all of it."""

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        for batch in batches:
            self.take_away(batch)
        for batch in batches:
            self.put(batch)
        return Written()


class FirstOfAWriteStays(Reference):
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        return await super().write(list(reversed(batches)), fence)


class IgnoresEmptyOnes(Reference):
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        return await super().write([batch for batch in batches if batch.records], fence)


class Loses(Reference):
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        return await super().write(batches[:500], fence)


class WritesWhenItIsClosed(Reference):
    pending: Sequence[Batch] = ()

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        await super().write(self.pending, fence)
        self.pending = batches
        return Written()

    async def close(self) -> None:
        await super().write(self.pending, {})


class KeepsWhatWasCommitted(Reference):
    """It appends, and takes nothing away of what stood there when it was opened."""

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        found = await super().open(checkpoint)
        self.known = set(self.disk.windows)
        return found

    def replaces(self, new: Window, old: Window) -> bool:
        return old not in self.known and super().replaces(new, old)


class CutsWhatItReplaced(Reference):
    """What a write has replaced is gone although the write is cut off."""

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        found = await super().open(checkpoint)
        committed = (checkpoint or {}).get("windows", "").splitlines()
        for window in [one for one in self.disk.windows if str(one) not in committed]:
            del self.disk.windows[window]
        return found

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        await super().write(batches, fence)
        return Written({"windows": "\n".join(map(str, self.disk.windows))})


class DropsUnknownFields(Reference):
    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return [{k: v for k, v in one.items() if k[:3] != "new"} for one in batch.records]


class FoldsNames(Reference):
    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return [{name.lower(): value for name, value in one.items()} for one in batch.records]


class CutsAtNul(Reference):
    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return [
            {k: v.split("\0")[0] if isinstance(v, str) else v for k, v in one.items()}
            for one in batch.records
        ]


class RoundsLongNumbers(Reference):
    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return [
            {k: float(v) if type(v) is int and v >= 2**63 else v for k, v in one.items()}
            for one in batch.records
        ]


class DropsRecordsWithoutFields(Reference):
    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return [one for one in batch.records if one]


class DropsEqualRecords(Reference):
    def records(self, batch: Batch) -> list[dict[str, Any]]:
        return [one for n, one in enumerate(batch.records) if one not in batch.records[:n]]


class NeedsADescription(Reference):
    def put(self, batch: Batch) -> None:
        assert batch.endpoint is not None, "no columns"
        super().put(batch)


class BeginsAnew(Reference):
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        if not checkpoint:
            DISKS[self.name] = Disk()
        return await super().open(checkpoint)


class TakesUnknownHarvests(Reference):
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        return await super().open(checkpoint or None)


class LeavesANewLedgerAlone(Reference):
    """Without a ledger it does not say what a new one would need."""

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        found = await super().open(checkpoint)
        return {} if checkpoint is None else found


class SaysNothing(Reference):
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        DISKS.setdefault(self.name, Disk())
        return await super().open(checkpoint)


class ClosesOnce(Reference):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class IsAnother(Reference):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.identity = f"disk:{id(self)}"


class Overwrites(Reference):
    """It keeps in memory what it read when it was opened, and writes all of it."""

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        found = await super().open(checkpoint)
        self.mine = dict(self.disk.windows)
        return found

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        self.disk.windows = self.mine
        return await super().write(batches, fence)


class ScansAllAccounts(Reference):
    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        return super().scan(endpoint)


class MiscountsTheStored(Reference):
    def scan(
        self,
        endpoint: str,
        appids: Collection[str] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[StoredWindow]:
        for stored in super().scan(endpoint, appids):
            yield stored._replace(tally=Tally(stored.tally.records, 7))


class HidesInterfaces(Reference):
    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        return super().endpoints()[:1]


class HasNoFence(Reference):
    def is_refused(self, appid: str, epoch: int) -> bool:
        return False


class RefusesTheWholeWrite(Reference):
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        if any(self.is_refused(*one) for one in fence.items()):
            return Written(refused=set(fence))
        return await super().write(batches, fence)


class RaisesTheFenceWithRecords(Reference):
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        return await super().write(batches, fence if batches else {})


class RefusesButWrites(Reference):
    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        refused = [appid for appid, epoch in fence.items() if self.is_refused(appid, epoch)]
        await super().write(batches, {})
        return (await super().write([], fence))._replace(refused=refused)


class ForgetsItsFence(Reference):
    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        found = await super().open(checkpoint)
        self.disk.epochs.clear()
        return found


FAULTS = {
    NeverReplaces: "repeat",
    ReplacesWhatTheLedgerKnows: "crash_then_others",
    ReplacesTheSameWindow: "longer",
    ReplacesWhatLiesInIt: "shorter",
    ReplacesWhatBeginsInIt: "shifted",
    KeepsWhatEndsOnItsFirstDay: "shifted",
    ReplacesOtherAccounts: "write",
    ReplacesOtherInterfaces: "write",
    LooksAYearBack: "shifted",
    DeletesBeforeItInserts: "in_one_write",
    FirstOfAWriteStays: "in_one_write",
    IgnoresEmptyOnes: "empty",
    Loses: "many",
    WritesWhenItIsClosed: "write",
    KeepsWhatWasCommitted: "longer",
    CutsWhatItReplaced: "crash",
    DropsUnknownFields: "odd_values",
    FoldsNames: "odd_values",
    CutsAtNul: "texts",
    RoundsLongNumbers: "odd_values",
    DropsRecordsWithoutFields: "odd_values",
    DropsEqualRecords: "equal_records",
    NeedsADescription: "unknown_interface",
    BeginsAnew: "without_ledger",
    TakesUnknownHarvests: "unknown_harvest",
    LeavesANewLedgerAlone: "new_ledger",
    SaysNothing: "gone",
    ClosesOnce: "closing",
    IsAnother: "identity",
    Overwrites: "two_writers",
    ScansAllAccounts: "scan",
    MiscountsTheStored: "write",
    HidesInterfaces: "write",
    HasNoFence: "fence",
    RefusesTheWholeWrite: "fence",
    RaisesTheFenceWithRecords: "fence_alone",
    RefusesButWrites: "fence",
    ForgetsItsFence: "fence",
}
"""A sink with one fault, and the check that is there for it."""


async def check(kind: type[Reference], only: str | None = None) -> None:
    DISKS.clear()
    await check_sink(kind, fenced=True, only=only)


def test_a_sound_sink_passes_all_of_it() -> None:
    asyncio.run(check(Reference))


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found_by_the_check_that_is_there_for_it(kind: type[Reference]) -> None:
    with pytest.raises(BrokenPromiseError, match=rf"^{FAULTS[kind]}: "):
        asyncio.run(check(kind, FAULTS[kind]))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_does_not_pass_the_suite(kind: type[Reference]) -> None:
    with pytest.raises(BrokenPromiseError):
        asyncio.run(check(kind))


def test_what_is_broken_is_said_in_one_sentence() -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        asyncio.run(check(NeverReplaces, "repeat"))
    said = str(caught.value)
    assert said.startswith(
        "repeat: A repeated window replaces its own records, and no others:"
        " scan of wx0000000000000001 checked 2024-01-03:"
    )
    assert "\n" not in said


def test_a_sink_that_breaks_down_is_told_by_what_it_raised() -> None:
    with pytest.raises(BrokenPromiseError, match=r"^closing: A sink may be closed twice, .*: Ru"):
        asyncio.run(check(ClosesOnce, "closing"))


def test_a_check_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no check 'wrte'; there are write, "):
        asyncio.run(check(Reference, "wrte"))
    assert "crash" in SINK_CHECKS
