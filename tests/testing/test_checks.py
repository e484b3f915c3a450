"""The suite for sinks finds what is wrong: faults planted one by one in a sink that has none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pytest

from harvester.model import Batch, Tally, Window
from harvester.sinks.base import Checkpoint, Fence, StoredWindow, Written
from harvester.testing import SINK_CHECKS, BrokenPromiseError, check_sink
from harvester.testing.sink_bench import overlap
from tests.sinks.reference import DISKS, Disk, Reference

Record = dict[str, Any]


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
    def scan(self, endpoint: str, *_: Any) -> Iterator[StoredWindow]:
        return super().scan(endpoint)


class MiscountsTheStored(Reference):
    def scan(
        self, endpoint: str, appids: Collection[str] | None = None, *_: Any
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


def replaces(rule: Callable[[Window, Window], bool]) -> type[Reference]:
    """It replaces the old windows for which the rule holds."""
    return type("Replaces", (Reference,), {"replaces": lambda self, new, old: rule(new, old)})


def stores(change: Callable[[Sequence[Record]], list[Record]]) -> type[Reference]:
    """It stores what the function makes of records."""
    return type("Stores", (Reference,), {"records": lambda self, batch: change(batch.records)})


def until_nul(value: Any) -> Any:
    return value.split("\0")[0] if isinstance(value, str) else value


def rounded(value: Any) -> Any:
    return float(value) if type(value) is int and value >= 2**63 else value


def with_values(change: Callable[[Any], Any]) -> type[Reference]:
    return stores(lambda found: [{k: change(v) for k, v in one.items()} for one in found])


FAULTS: dict[str, tuple[str, type[Reference]]] = {
    "it never replaces": ("repeat", NeverReplaces),
    "it replaces what the ledger knows": ("crash_then_others", ReplacesWhatTheLedgerKnows),
    "it replaces the same window": ("longer", replaces(lambda new, old: new == old)),
    "it replaces what lies in it": (
        "shorter",
        replaces(
            lambda new, old: overlap(new, old) and new.begin <= old.begin and old.end <= new.end
        ),
    ),
    "it replaces what begins in it": (
        "shifted", replaces(lambda new, old: overlap(new, old) and new.begin <= old.begin)
    ),
    "it keeps what ends on its first day": (
        "shifted",
        replaces(
            lambda new, old: (
                overlap(new, old) and (old.end > new.begin or old.begin == new.begin)
            )
        ),
    ),
    "it keeps what a very long empty window overlaps": (
        "removed", replaces(lambda new, old: overlap(new, old) and (new.end - new.begin).days < 450)
    ),
    "it replaces other accounts": (
        "write", replaces(lambda new, old: overlap(new._replace(appid=old.appid), old))
    ),
    "it replaces other interfaces": (
        "write", replaces(lambda new, old: overlap(new._replace(endpoint=old.endpoint), old))
    ),
    "it takes the longest window for one of a year": (
        "shifted",
        replaces(lambda new, old: overlap(new, old) and (new.begin - old.begin).days < 366),
    ),
    "it deletes before it inserts": ("in_one_write", DeletesBeforeItInserts),
    "the first of a write stays": ("in_one_write", FirstOfAWriteStays),
    "it ignores empty windows": ("empty", IgnoresEmptyOnes),
    "it loses": ("many", Loses),
    "it writes when it is closed": ("write", WritesWhenItIsClosed),
    "it keeps what was committed": ("longer", KeepsWhatWasCommitted),
    "it cuts what it replaced": ("crash", CutsWhatItReplaced),
    "it drops unknown fields": (
        "odd_values",
        stores(lambda found: [{k: one[k] for k in one if k[:3] != "new"} for one in found]),
    ),
    "it folds names": (
        "odd_values",
        stores(lambda found: [{k.lower(): v for k, v in one.items()} for one in found]),
    ),
    "it cuts at NUL": ("texts", with_values(until_nul)),
    "it rounds long numbers": ("odd_values", with_values(rounded)),
    "it drops records without fields": (
        "odd_values", stores(lambda found: [one for one in found if one])
    ),
    "it drops equal records": (
        "equal_records",
        stores(lambda found: [one for n, one in enumerate(found) if one not in found[:n]]),
    ),
    "it needs a description": ("unknown_interface", NeedsADescription),
    "it begins anew": ("without_ledger", BeginsAnew),
    "it takes unknown harvests": ("unknown_harvest", TakesUnknownHarvests),
    "it leaves a new ledger alone": ("new_ledger", LeavesANewLedgerAlone),
    "it reports nothing": ("gone", SaysNothing),
    "it closes once": ("closing", ClosesOnce),
    "it is another": ("identity", IsAnother),
    "it overwrites": ("two_writers", Overwrites),
    "it scans all accounts": ("scan", ScansAllAccounts),
    "it miscounts the stored": ("write", MiscountsTheStored),
    "it hides interfaces": ("write", HidesInterfaces),
    "it has no fence": ("fence", HasNoFence),
    "it refuses the whole write": ("fence", RefusesTheWholeWrite),
    "it raises the fence with records": ("fence_alone", RaisesTheFenceWithRecords),
    "it refuses but writes": ("fence", RefusesButWrites),
    "it forgets its fence": ("fence", ForgetsItsFence),
}  # fmt: skip
"""The check that is there for it, and a sink with this one fault."""


async def check(kind: type[Reference], only: str | None = None) -> None:
    DISKS.clear()
    await check_sink(kind, fenced=True, only=only)


@pytest.mark.thorough
async def test_a_sound_sink_passes_all_of_it() -> None:
    await check(Reference)


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found_by_the_check_that_is_there_for_it(fault: str) -> None:
    name, kind = FAULTS[fault]
    with pytest.raises(BrokenPromiseError, match=rf"^{name}: "):
        await check(kind, name)


async def test_what_is_broken_is_said_in_one_sentence() -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        await check(NeverReplaces, "repeat")
    said = str(caught.value)
    assert said.startswith(
        "repeat: A repeated window replaces its own records, and no others:"
        " scan of wx0000000000000001 checked 2024-01-03:"
    )
    assert "\n" not in said


async def test_a_sink_that_breaks_down_is_told_by_what_it_raised() -> None:
    with pytest.raises(BrokenPromiseError, match=r"^closing: A sink can be closed twice, .*: Ru"):
        await check(ClosesOnce, "closing")


async def test_a_check_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no check 'wrte'; there are write, "):
        await check(Reference, "wrte")
    assert "crash" in SINK_CHECKS
