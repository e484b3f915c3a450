"""What is harvested becomes safe: sinks first, then the ledger, then the sinks are told."""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.codec import checksum, lines
from harvester.committer import Committer, name_in
from harvester.coverage import DONE, FAILED, Stretch, harvested
from harvester.errors import LedgerError, SinkError
from harvester.events import Committed, Event
from harvester.ledger import Ledger, Settled, Spent
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Receipt, Sink, Written
from harvester.testing import MemorySink, VirtualTimeLoop, run_virtual

FIRST = date(2020, 1, 1)
KEY = ("wx1", "e")
NOTHING = Written({})


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def window(number: int) -> Window:
    return Window(*KEY, day(number), day(number))


def batch(number: int, records: int = 1) -> Batch:
    made = [{"a": n} for n in range(records)]
    encoded = lines(made, metadata(window(number), "now"))
    return Batch(window(number), "now", records, b"".join(encoded), checksum(encoded))


def settled(made: Batch) -> Settled:
    days = made.window.begin, made.window.end
    return Settled(made.window, harvested(days, made.records, made.checksum))


def failed(number: int) -> Settled:
    return Settled(window(number), Stretch(day(number), day(number), FAILED, detail="bad"))


class Telling:
    """A sink that tells what is asked of it, and what the ledger knew just then."""

    def __init__(
        self,
        told: list[object],
        ledger: Ledger | None = None,
        name: str = "s",
        written: Written = NOTHING,
        error: Exception | None = None,
        opening: Receipt | None = None,
    ) -> None:
        self.told = told
        self.ledger = ledger
        self.identity = name
        self.written = written
        self.error = error
        self.opening = opening

    async def _tell(self, what: str) -> None:
        known = await self.ledger.done(self.identity) if self.ledger else {}
        days = sum((end - begin).days + 1 for begin, end in known.get(KEY, []))
        self.told.append((self.identity, what, days))

    async def open(self, receipt: Receipt | None) -> Receipt:
        self.told.append((self.identity, "open", receipt))
        return self.opening or {}

    async def write(self, batches: Sequence[Batch]) -> Written:
        await self._tell(f"write {len(batches)}")
        if self.error is not None:
            raise self.error
        return self.written

    async def settle(self) -> None:
        await self._tell("settle")

    async def close(self) -> None:
        await self._tell("close")


class Folder(MemorySink):
    """A sink that says where it lies."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"folder:{directory}")
        self.directory = directory


def nothing_spent() -> list[Spent]:
    return []


def ignore(event: Event) -> None:
    pass


def committer(sinks: Sequence[Sink], ledger: Ledger | None, group: int = 128) -> Committer:
    return Committer(sinks, ledger, ignore, nothing_spent, group=group)


async def commit(made: Committer, *done: Batch | Settled) -> None:
    for each in done:
        if isinstance(each, Batch):
            await made.put(settled(each), each)
        else:
            await made.put(each)
    made.channel.close()
    await made.run()


def test_sinks_come_first_then_the_ledger_then_the_sinks_are_told(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        told: list[object] = []
        async with Ledger(tmp_path / "l") as ledger:
            sinks = [Telling(told, ledger, "s"), Telling(told, ledger, "t")]
            await commit(committer(sinks, ledger), batch(0), batch(1))
        return told

    assert run_virtual(main) == [
        ("s", "write 2", 0),
        ("t", "write 2", 0),
        ("s", "settle", 2),
        ("t", "settle", 2),
    ]


def test_a_group_is_written_at_once_and_told_as_one_event() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int], list[Event]]:
        sink, events = MemorySink(), list[Event]()
        made = Committer([sink], None, events.append, nothing_spent)
        await commit(made, batch(0, 3), batch(1, 0), failed(2), batch(3, 1))
        return sink.writes, events

    windows = (window(0), window(1), window(3))
    assert run_virtual(main) == ([3], [Committed(windows, 1, 4)])


def test_windows_without_an_answer_go_to_the_ledger_only(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[object], list[Event], object]:
        told, events = list[object](), list[Event]()
        async with Ledger(tmp_path / "l") as ledger:
            sink = Telling(told, ledger)
            await commit(Committer([sink], ledger, events.append, nothing_spent), failed(0))
            return told, events, (await ledger.stretches("s"))[KEY]

    stretch = Stretch(day(0), day(0), FAILED, detail="bad")
    assert run_virtual(main) == ([("s", "settle", 0)], [], [stretch])


def test_receipts_and_replaced_figures_of_each_sink_are_stored(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        async with Ledger(tmp_path / "l") as ledger:
            again = batch(0, 2)
            replaced = Written({"at": "7"}, {window(0): Tally(2, again.checksum)})
            sinks = [Telling([], name="s"), Telling([], name="t", written=replaced)]
            for _ in range(2):  # what a sink had from elsewhere was never counted here
                await commit(committer(sinks, ledger), again)
            return [
                (await ledger.receipt(name), (await ledger.stretches(name))[KEY][0].records)
                for name in ("s", "t")
            ]

    assert run_virtual(main) == [({}, 4), ({"at": "7"}, 2)]


def test_a_sink_that_refuses_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[object], object]:
        told: list[object] = []
        async with Ledger(tmp_path / "l") as ledger:
            broken = Telling(told, name="t", error=SinkError("the disk is full"))
            made = committer([Telling(told, name="s"), broken], ledger)
            with pytest.raises(SinkError, match="the disk is full"):
                await commit(made, batch(0))
            return told, (await ledger.done("s"), await ledger.done("t"))

    assert run_virtual(main) == ([("s", "write 1", 0), ("t", "write 1", 0)], ({}, {}))


def test_a_ledger_that_refuses_leaves_the_sinks_untold(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        told: list[object] = []
        async with Ledger(tmp_path / "l"):
            pass
        async with Ledger(tmp_path / "l", readonly=True) as ledger:
            with pytest.raises(LedgerError):
                await commit(committer([Telling(told)], ledger), batch(0))
        return told

    assert run_virtual(main) == [("s", "write 1", 0)]


def test_calls_are_booked_with_the_windows_and_the_last_ones_at_the_end(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> object:
        due = [[Spent(*KEY, day(0), 5)], [Spent(*KEY, day(0), 2)]]
        async with Ledger(tmp_path / "l") as ledger:
            await commit(Committer([MemorySink()], ledger, ignore, lambda: due.pop(0)), batch(0))
            return await ledger.spent(day(0)), due

    assert run_virtual(main) == ({KEY: 7}, [])


def test_without_a_ledger_a_sink_is_opened_without_a_receipt() -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        told: list[object] = []
        sink = Telling(told)
        await committer([sink], None).open(sink, "s")
        return told

    assert run_virtual(main) == [("s", "open", None)]


def test_what_a_sink_wants_to_have_kept_is_given_to_it_at_the_next_opening(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        told: list[object] = []
        async with Ledger(tmp_path / "l") as ledger:
            sink = Telling(told, opening={"id": "5"})
            made = committer([sink], ledger)
            await made.open(sink, "s")
            await made.open(sink, "s")
        return told

    assert run_virtual(main) == [("s", "open", {}), ("s", "open", {"id": "5"})]


def test_in_groups_of_one_none_is_taken_far_ahead() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[int, list[int]]:
        sink, handed_over = MemorySink(), list[int]()
        made = committer([sink], None, group=1)

        async def put() -> None:
            for number in range(3):
                await made.put(settled(batch(number)), batch(number))
                handed_over.append(number)
            made.channel.close()

        putting = asyncio.create_task(put())
        await asyncio.sleep(60.0)
        ahead = len(handed_over)
        await made.run()
        await putting
        return ahead, sink.writes

    assert run_virtual(main) == (1, [1, 1, 1])


def test_a_harvest_of_many_windows_is_one_row_of_the_ledger(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> list[Stretch]:
        async with Ledger(tmp_path / "l") as ledger:
            sink = MemorySink("s")
            made = committer([sink], ledger)
            running = asyncio.create_task(made.run())
            for number in range(300):
                await made.put(settled(batch(number, 2)), batch(number, 2))
                await asyncio.sleep(0.01)
            made.channel.close()
            await running
            return (await ledger.stretches("s"))[KEY]

    [stretch] = run_virtual(main)
    assert stretch[:4] == (day(0), day(299), DONE, 600)


def test_a_sink_has_its_identity_as_its_name() -> None:
    assert name_in(Folder(Path("d")), None) == "folder:d"
    assert name_in(MemorySink("m"), Ledger("d/l")) == "m"


def test_a_sink_that_lies_beside_its_ledger_can_be_moved_with_it(tmp_path: Path) -> None:
    assert name_in(Folder(tmp_path), Ledger(tmp_path / "l")) == "folder:."


def test_a_sink_that_lies_elsewhere_is_named_in_full(tmp_path: Path) -> None:
    assert name_in(Folder(tmp_path / "x"), Ledger(tmp_path / "l")) == f"folder:{tmp_path / 'x'}"


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), unique_by=lambda day: day[0]))
def test_runs_of_days_say_what_the_days_one_by_one_say(days: list[tuple[int, int]]) -> None:
    made = [batch(*each) for each in days]

    async def main(loop: VirtualTimeLoop) -> list[object]:
        found: list[object] = []
        for whole in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                async with Ledger(Path(folder) / "l") as ledger:
                    done = committer([MemorySink("s")], ledger)
                    for each in made:
                        put = done.harvested(each) if whole else done.put(settled(each), each)
                        await put
                    done.channel.close()
                    await done.run()
                    found.append(dict(await ledger.stretches("s")))
        return found

    one, other = run_virtual(main)
    assert one == other
