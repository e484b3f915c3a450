"""The suite for sinks finds what is wrong: broken sinks, planted one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from harvester.errors import SinkError
from harvester.model import Batch, Tally, Window
from harvester.sinks.base import Receipt, Written
from harvester.testing import SINK_CHECKS, BrokenPromiseError, check_sink

Disk = dict[Window, list[dict[str, Any]]]
DISKS: dict[str, Disk] = {}


class Sound:
    """A sink that keeps every promise; each of those below breaks one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = f"disk:{name}"

    async def open(self, receipt: Receipt | None) -> Receipt:
        if receipt and self.name not in DISKS:
            raise SinkError("gone")
        DISKS.setdefault(self.name, {})
        return {"begun": "1"}

    @property
    def disk(self) -> Disk:
        return DISKS[self.name]

    async def write(self, batches: Sequence[Batch]) -> Written:
        for batch in batches:
            self.take_away(batch)
            self.put(batch)
            await asyncio.sleep(0)
        return Written({})

    def take_away(self, batch: Batch) -> None:
        window = batch.window
        for other in (
            [one for one in self.disk if one[:2] == window[:2]] if days(batch) > 1 else (window,)
        ):
            if window.begin <= other.begin and other.end <= window.end:
                self.disk.pop(other, None)

    def put(self, batch: Batch) -> None:
        self.disk[batch.window] = batch.documents()

    async def settle(self) -> None: ...

    async def close(self) -> None: ...


def days(batch: Batch) -> int:
    return (batch.window.end - batch.window.begin).days + 1


class DoublesAfterACrash(Sound):
    def take_away(self, batch: Batch) -> None:
        if batch.replaces:
            super().take_away(batch)

    def put(self, batch: Batch) -> None:
        self.disk.setdefault(batch.window, []).extend(batch.documents())


class Loses(Sound):
    async def write(self, batches: Sequence[Batch]) -> Written:
        return await super().write(batches[:500])


class LosesTheEnd(Sound):
    """It writes when it is told that all is well, and a process may die before that."""

    pending: Sequence[Batch] = ()

    async def write(self, batches: Sequence[Batch]) -> Written:
        self.pending = batches
        return Written({})

    async def settle(self) -> None:
        await super().write(self.pending)


class KeepsTheReplaced(Sound):
    def take_away(self, batch: Batch) -> None: ...

    def put(self, batch: Batch) -> None:
        self.disk.setdefault(batch.window, []).extend(batch.documents())


class KeepsShorterOnes(Sound):
    def take_away(self, batch: Batch) -> None:
        self.disk.pop(batch.window, None)


class TakesTooMuch(Sound):
    def take_away(self, batch: Batch) -> None:
        for other in list(self.disk):
            if other.begin <= batch.window.end and batch.window.begin <= other.end:
                del self.disk[other]


class IgnoresEmptyOnes(Sound):
    async def write(self, batches: Sequence[Batch]) -> Written:
        return await super().write([batch for batch in batches if batch.records])


class DropsUnknownFields(Sound):
    def put(self, batch: Batch) -> None:
        self.disk[batch.window] = [
            {name: value for name, value in record.items() if not name.startswith("new")}
            for record in batch.documents()
        ]


class CutsAtNul(Sound):
    def put(self, batch: Batch) -> None:
        self.disk[batch.window] = [
            {k: v.split("\0")[0] if isinstance(v, str) else v for k, v in record.items()}
            for record in batch.documents()
        ]


class BeginsAnew(Sound):
    async def open(self, receipt: Receipt | None) -> Receipt:
        if not receipt:
            DISKS[self.name] = {}
        return await super().open(receipt)


class SaysNothing(Sound):
    async def open(self, receipt: Receipt | None) -> Receipt:
        DISKS.setdefault(self.name, {})
        return {}


class ClosesOnce(Sound):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class IsAnother(Sound):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.identity = f"disk:{id(self)}"


class Overwrites(Sound):
    """It keeps in memory what it read when it was opened, and writes all of it."""

    async def open(self, receipt: Receipt | None) -> Receipt:
        found = await super().open(receipt)
        self.mine = dict(DISKS[self.name])
        return found

    @property
    def disk(self) -> Disk:
        DISKS[self.name] = self.mine
        return self.mine


class DropsAtTheEnd(Sound):
    async def finish(self) -> Written:
        del self.disk[min(self.disk)]
        return Written({})


class MiscountsTheReplaced(Sound):
    async def write(self, batches: Sequence[Batch]) -> Written:
        await super().write(batches)
        return Written({}, {batches[0].window: Tally(7, 7)})

    def stored(self, receipt: Receipt) -> Any:
        return iter(())


BROKEN = {
    DoublesAfterACrash: "crash_before_receipt",
    Loses: "many",
    LosesTheEnd: "crash_before_settle",
    KeepsTheReplaced: "replace",
    KeepsShorterOnes: "longer",
    TakesTooMuch: "write",
    IgnoresEmptyOnes: "replaced_by_empty",
    DropsUnknownFields: "unknown",
    CutsAtNul: "texts",
    BeginsAnew: "no_receipt",
    SaysNothing: "removed",
    ClosesOnce: "closing",
    IsAnother: "identity",
    Overwrites: "two_writers",
    DropsAtTheEnd: "finish",
    MiscountsTheReplaced: "replace",
}


async def check(kind: type[Sound], only: str | None = None) -> None:
    DISKS.clear()
    await check_sink(
        kind,
        lambda name: [record for window in DISKS[name].values() for record in window],
        remove=lambda name: DISKS.pop(name),
        only=only,
    )


def test_a_sound_sink_passes_all_of_it() -> None:
    asyncio.run(check(Sound))


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.thorough
def test_a_broken_sink_is_found_by_the_check_of_what_it_breaks(kind: type[Sound]) -> None:
    with pytest.raises(BrokenPromiseError):
        asyncio.run(check(kind, BROKEN[kind]))
    with pytest.raises(BrokenPromiseError):
        asyncio.run(check(kind))


def test_what_is_broken_is_said_in_one_sentence() -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        asyncio.run(check(KeepsTheReplaced, "replace"))
    said = str(caught.value)
    assert said.startswith(
        "replace: A batch that replaces takes the place of its window's records, and of no others:"
        " 2 records are there that should not be ({"
    )
    assert "\n" not in said


def test_a_sink_that_breaks_down_is_told_by_what_it_raised() -> None:
    with pytest.raises(BrokenPromiseError, match=r"^closing: A sink may be closed twice, .*: Ru"):
        asyncio.run(check(ClosesOnce, "closing"))


def test_a_check_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no check 'wrte'; there are write, "):
        asyncio.run(check(Sound, "wrte"))
    assert "crash_before_receipt" in SINK_CHECKS
