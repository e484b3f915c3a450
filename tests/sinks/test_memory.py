from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

import harvester
import harvester.testing
from harvester import plugins
from harvester.errors import SinkError
from harvester.model import Tally
from harvester.sinks.memory import MemorySink
from harvester.testing import Simulator, run_virtual
from harvester.testing.loop import VirtualTimeLoop
from tests.sinks.kept import ODD, OPERATIONS, Died, Kept, batch, dying, job, standing, truth, window
from tests.support import JANUARY, A, assert_exactly_the_truth, engine_run, noon, scope


def kept() -> tuple[Kept, MemorySink]:
    """A ledger whose sink is one and the same object in every run."""
    sink = MemorySink()
    return Kept(lambda: sink), sink


def test_it_stands_where_it_is_looked_for() -> None:
    assert harvester.MemorySink is harvester.testing.MemorySink is MemorySink
    assert isinstance(plugins.sink("memory:"), MemorySink)
    assert plugins.sink("memory:a:b").identity == "memory:a:b"


def test_what_is_written_can_be_read_back() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        ledger, sink = kept()
        await ledger.open()
        await ledger.commit(sink, batch(1, ODD, {"n": 1}), batch(2), batch(3, 3))
        await sink.close()
        await sink.close()
        assert [record.get("n") for record in ledger.records()] == [None, 1, 3]
        assert {**sink.records[0], **ODD} == sink.records[0]
        assert sink.windows[window(2)] == []

    run_virtual(main)


def test_a_window_gives_way_to_itself_and_to_a_longer_one() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        ledger, sink = kept()
        await ledger.open()
        days = [batch(day, day, day) for day in range(1, 9)]
        await ledger.commit(sink, *days)
        assert await ledger.commit(sink, batch(3, 33, replaces=True)) == {
            window(3): Tally(2, days[2].checksum)
        }
        replaced = await ledger.commit(sink, batch(window(2, 6), 100, replaces=True))
        assert replaced[window(2, 6)].records == 11
        assert ledger.numbers() == [1, 1, 8, 8, 100]

    run_virtual(main)


def test_what_no_receipt_speaks_of_is_taken_back() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        ledger, sink = kept()
        await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        await sink.write([batch(window(1, 7), 100, replaces=True), batch(9, 9)])
        await ledger.open()
        assert ledger.numbers() == [1, 2]
        await ledger.commit(sink, batch(window(1, 7), 100, replaces=True))
        assert ledger.numbers() == [100]

    run_virtual(main)


def test_two_ledgers_in_turn_take_nothing_of_each_other() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        one, sink = kept()
        two = Kept(lambda: sink)
        for day, ledger in ((1, one), (2, two), (3, one), (4, two), (5, one)):
            await ledger.open()
            await ledger.commit(sink, batch(day, day))
        assert one.numbers() == [1, 2, 3, 4, 5]

    run_virtual(main)


def test_what_went_with_its_process_is_never_called_harvested() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        ledger, sink = kept()
        await ledger.open()
        await MemorySink().open(ledger.receipt)  # nothing was lost yet
        await ledger.commit(sink, batch(1, 1))
        with pytest.raises(SinkError, match="is gone with the process that held it"):
            await MemorySink().open(ledger.receipt)
        with pytest.raises(SinkError, match="is gone with the process that held it"):
            list(MemorySink().read_lines(ledger.receipt))

    run_virtual(main)


def test_ten_thousand_windows_of_one_account_are_kept_in_their_time() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        ledger, sink = kept()
        await ledger.open()
        await ledger.commit(sink, *[batch(day, day) for day in range(1, 10_001)])
        await ledger.commit(sink, *[batch(day, -day, replaces=True) for day in range(1, 10_001)])
        assert ledger.numbers() == list(range(-10_000, 0))

    run_virtual(main)


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_job_that_dies_at_any_moment_ends_with_the_truth(tmp_path: Path, moment: int) -> None:
    sink, path = MemorySink(), tmp_path / "ledger"
    with dying(moment), pytest.raises(Died):
        asyncio.run(job(sink, path))
    asyncio.run(job(sink, path))
    assert standing(sink, path) == truth()


def test_the_truth_is_that_each_window_stands_once() -> None:
    found: Counter[str] = truth()
    windows = {(r["_begin_date"], r["_end_date"]) for r in map(json.loads, found)}
    assert len(windows) > 90
    assert sum(found.values()) < OPERATIONS * 2


def test_a_run_and_its_refresh_put_each_record_there_once(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        sink, simulator = MemorySink(), Simulator(wall=loop.wall)
        for refresh in (False, True):
            ledger = tmp_path / "ledger.sqlite"
            await engine_run(loop, simulator, scope(*JANUARY), sink, ledger, refresh=refresh)
            assert_exactly_the_truth(sink.records, simulator, (A,), *JANUARY)

    run_virtual(main, noon("2024-06-15"))
