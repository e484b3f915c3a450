"""A ledger that is lost: what stands in each sink is told to a new one, and nothing is doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from harvester import plugins
from harvester.cli.inspect import show_verification
from harvester.coverage import Stretch
from harvester.datacube import INTERFACES
from harvester.errors import UsageError
from harvester.events import Report
from harvester.ledger import FILE_NAME, Key, Ledger
from harvester.rebuild import Rebuilt, rebuild
from harvester.sinks.base import Sink
from harvester.testing import Simulator, VirtualTimeLoop, run_virtual
from tests.crash.sinks import SERVERS, SINKS, Row
from tests.support import A, B, engine_run, noon, scope

BEGIN, END = date(2026, 3, 2), date(2026, 3, 14)
LATE = noon("2026-07-01")  # all figures are final
ENDPOINTS = {
    each.name: each
    for each in (
        INTERFACES["getusersummary"],
        INTERFACES["getarticletotaldetail"],
        INTERFACES["getarticleread"],
    )
}


class Place(NamedTuple):
    """A sink, and the directory of its ledger."""

    row: Row
    directory: Path

    @property
    def ledger(self) -> Path:
        return self.directory / FILE_NAME

    def sink(self) -> Sink:
        return self.row.make(self.directory)

    def harvest(self, days: tuple[date, date] = (BEGIN, END), now: float = LATE) -> Report:
        async def main(loop: VirtualTimeLoop) -> Report:
            asked = scope(*days, (A, B), list(ENDPOINTS.values()))
            simulator = Simulator(wall=loop.wall)
            return await engine_run(loop, simulator, asked, self.sink(), self.ledger)

        return run_virtual(main, now)

    def rebuild(self, sinks: Sequence[Sink] = ()) -> Rebuilt:
        async def main(loop: VirtualTimeLoop) -> Rebuilt:
            [found], _ = await rebuild(
                self.ledger, sinks or [self.sink()], dict(ENDPOINTS), loop.wall()
            )
            return found

        return run_virtual(main, LATE)

    def lose_the_ledger(self) -> None:
        for path in self.directory.glob(f"{FILE_NAME}*"):
            path.unlink()

    def told(self) -> dict[Key, list[Stretch]]:
        """What the ledger says: coverage, records, checksums, days without a record."""

        async def main(_: VirtualTimeLoop) -> dict[Key, list[Stretch]]:
            async with Ledger(self.ledger, readonly=True) as ledger:
                [name] = await ledger.sinks()
                return await ledger.stretches(name)

        return run_virtual(main)

    def records(self) -> Counter[str]:
        """What a stranger reads."""
        return Counter(
            f"{one['_appid']} {one['_endpoint']} {self.row.shape(one)}"
            for one in self.row.read(self.directory)
        )

    def is_as_the_ledger_says(self) -> bool:
        return asyncio.run(show_verification(self.ledger)) == 0


@pytest.fixture(params=SINKS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    row = SINKS[request.param]
    if row.server:
        told = SERVERS[row.server].environment(request.getfixturevalue(row.server))
        for name, value in told.items():
            monkeypatch.setenv(name, value)
    return Place(row, tmp_path / "harvest")


def figures(told: dict[Key, list[Stretch]]) -> dict[Key, tuple[int, int]]:
    return {
        key: (sum(one.records for one in each), sum(one.checksum for one in each) % 2**64)
        for key, each in told.items()
    }


def test_a_new_ledger_is_told_all_that_stands_there(place: Place) -> None:
    place.harvest()
    before, stored = place.told(), place.records()
    place.lose_the_ledger()
    found = place.rebuild()
    assert found.records == stored.total()
    assert found.accounts == 2
    assert figures(place.told()) == figures(before)
    assert place.is_as_the_ledger_says()
    report = place.harvest()
    assert report.requests == found.again + report.windows.empty
    assert found.again <= len(ENDPOINTS)  # a log's end may be the half of a window
    assert place.told() == before
    assert place.records() == stored
    assert place.is_as_the_ledger_says()
    assert place.harvest().requests == 0


@pytest.mark.thorough
def test_a_range_that_cuts_what_stands_there_in_two_doubles_nothing(place: Place) -> None:
    place.harvest((BEGIN, date(2026, 3, 8)))
    before = place.records()
    place.lose_the_ledger()
    place.harvest((date(2026, 3, 5), END))
    after = place.records()
    assert before - after == Counter()
    assert max(after.values()) == max(before.values())
    place.harvest((BEGIN, END))
    assert place.records() == after
    assert place.is_as_the_ledger_says()


def test_standard_output_is_refused(tmp_path: Path) -> None:
    place = Place(SINKS["jsonl"], tmp_path)
    with pytest.raises(UsageError, match=r"^- cannot be read back; its days are asked for anew$"):
        place.rebuild([plugins.sink("-")])
    assert list(tmp_path.iterdir()) == []


def test_of_what_was_in_memory_nothing_is_left(tmp_path: Path) -> None:
    found = Place(SINKS["jsonl"], tmp_path).rebuild([plugins.sink("memory:")])
    assert (found.windows, found.records) == (0, 0)
