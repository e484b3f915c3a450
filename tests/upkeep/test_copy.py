"""A sink is brought to what the ledger calls stored, whatever stands in it and elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from harvester.errors import SinkError, UsageError
from harvester.ledger import SqliteLedger
from harvester.ledger.coverage import Outcome
from harvester.model import Batch, Window
from harvester.sinks import scan as stored
from harvester.testing import MemorySink
from harvester.upkeep.copy import Source, add_sink, copy, remove_sink
from harvester.wechat.endpoint import JsonEndpoint
from tests.builders import Feed, filled
from tests.builders import counted as batch
from tests.engine.test_refresh import final, in_ledger, opened
from tests.sinks.test_scan import STAMP, SUMMARY
from tests.support import A, B

T = TypeVar("T")


def find(name: str) -> JsonEndpoint | None:
    return SUMMARY if name == SUMMARY.name else None  # type: ignore[return-value]


class Empty(MemorySink):
    """It notes what is written, and tells a checkpoint."""

    def __init__(self) -> None:
        super().__init__("memory:new")
        self.groups: list[list[Batch]] = []
        self.fences: list[dict[str, int]] = []

    async def write(self, batches: Any, fence: Any) -> Any:
        self.groups.append(list(batches))
        self.fences.append(dict(fence))
        written = await super().write(batches, fence)
        return written._replace(checkpoint={"writes": str(len(self.groups))})


def test_a_sink_is_filled_with_all_that_stands_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "AT_ONCE", 2)
    stands = [batch(f"2024-01-0{n}", records=n, appid=(A, B)[n % 2]) for n in range(1, 6)]
    stands.append(batch("2024-01-01", "2024-01-07", name="unknown"))

    async def test(ledger: SqliteLedger) -> tuple[Empty, tuple[int, str], dict[str, str]]:
        new = Empty()
        sources = [Source(Feed("feed:")), Source(await filled(*stands))]
        copied = await copy(ledger, "memory:new", new, sources, find)
        return new, copied, await ledger.checkpoint("memory:new")

    new, copied, checkpoint = in_ledger(tmp_path, test, *[final(one) for one in stands])
    assert copied == (6, "")
    assert [len(group) for group in new.groups] == [2, 2, 1, 1]
    assert checkpoint == {"writes": "4"}
    assert new.fences == [{A: 1}, {B: 1}, {B: 1}, {A: 1}]
    written = [each for group in new.groups for each in group]
    assert {each.window: each.tally for each in written} == {
        each.window: each.tally for each in stands
    }
    assert {each.fetched_at for each in written} == {STAMP}
    assert {each.version for each in written} == {1707537600000}
    assert all(each.replaces for each in written)
    assert [each.endpoint for each in written] == [*[SUMMARY] * 5, None]


def refused(tmp_path: Path, new: Empty, number: int, said: str) -> dict[str, str]:
    """The checkpoint of a sink that fails as so many windows are copied into it."""
    stands = [batch(f"2024-01-0{n}") for n in range(1, number + 1)]

    async def test(ledger: SqliteLedger) -> dict[str, str]:
        source = await filled(*stands)
        with pytest.raises(SinkError, match=said):
            await copy(ledger, "memory:new", new, [Source(source)], find)
        return await ledger.checkpoint("memory:new")

    return in_ledger(tmp_path, test, *map(final, stands))


def test_the_checkpoint_of_each_write_is_stored_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "AT_ONCE", 1)

    class Fails(Empty):
        async def write(self, batches: Any, fence: Any) -> Any:
            if len(self.groups) == 2:
                raise SinkError("the disk is full")
            return await super().write(batches, fence)

    assert refused(tmp_path, Fails(), 3, "the disk is full") == {"writes": "2"}


def test_a_sink_that_refuses_an_account_is_not_filled(tmp_path: Path) -> None:
    class Refuses(Empty):
        async def write(self, batches: Any, fence: Any) -> Any:
            return (await super().write(batches, fence))._replace(refused={A})

    said = f"^memory:new refused {A}: another harvest has"
    assert refused(tmp_path, Refuses(), 1, said) == {}


@pytest.mark.parametrize(
    "outcomes",
    [[], [final(batch("2024-01-01", records=0))], [Outcome(batch("2024-01-01").window, "failed")]],
)
def test_where_no_record_is_stored_a_sink_has_everything_at_once(
    tmp_path: Path, outcomes: list[Outcome]
) -> None:
    async def test(ledger: SqliteLedger) -> tuple[int, str]:
        return await copy(ledger, "memory:new", Empty(), [], find)

    assert in_ledger(tmp_path, test, *outcomes) == (0, "")


@pytest.mark.parametrize("outcome", [final(batch("2024-01-01")), opened(batch("2024-01-01"))])
def test_where_nothing_that_has_it_can_be_read_back_a_new_sink_is_refused(
    tmp_path: Path, outcome: Outcome
) -> None:
    async def test(ledger: SqliteLedger) -> None:
        with pytest.raises(UsageError, match=r"^memory:new does not have the records of ea"):
            await copy(ledger, "memory:new", Empty(), [Source(Feed("feed:"))], find)

    in_ledger(tmp_path, test, outcome)


def test_a_sum_that_is_not_known_may_be_of_records(tmp_path: Path) -> None:
    async def test(ledger: SqliteLedger) -> None:
        days = date(2024, 1, 1), date(2024, 1, 1)
        await ledger.forget((A, SUMMARY.name), [days])
        with pytest.raises(UsageError, match="does not have the records of earlier runs"):
            await copy(ledger, "memory:new", Empty(), [], find)

    in_ledger(tmp_path, test, final(batch("2024-01-01", "2024-01-02")))


def filled_from(
    tmp_path: Path, source: Sequence[Batch], target: Sequence[Batch], *outcomes: Outcome
) -> dict[Window, int]:
    """How many records of each window stand in a sink that was brought to what is stored."""

    async def test(ledger: SqliteLedger) -> dict[Window, int]:
        sink = await filled(*target)
        await copy(ledger, "memory:new", sink, [Source(await filled(*source))], find, 2e9)
        return {window: len(records) for window, records in sink.windows.items() if records}

    return in_ledger(tmp_path, test, *outcomes)


FIRST, SECOND = batch("2024-01-01", records=2), batch("2024-01-02", records=3)


WEEK, EMPTIED = batch("2024-01-02", "2024-01-08"), final(batch("2024-01-02", records=0))
OTHER = batch("2024-01-01", appid=B)
STANDS = {FIRST.window: 2}


@pytest.mark.parametrize(
    ("source", "target", "outcomes", "found"),
    [
        # what no commit has stored is not copied, and an open window is
        ([FIRST, SECOND], [], [final(FIRST)], STANDS),
        ([FIRST, WEEK], [], [final(FIRST), opened(SECOND)], STANDS),
        ([FIRST, SECOND], [], [final(FIRST), opened(SECOND)], {**STANDS, SECOND.window: 3}),
        # what a sink has and the ledger has not is removed
        ([FIRST], [SECOND], [final(FIRST)], STANDS),
        ([FIRST], [WEEK], [final(FIRST), final(SECOND)], STANDS),
        # days that have become empty are emptied
        ([FIRST], [SECOND], [final(FIRST), EMPTIED], STANDS),
        ([], [SECOND], [EMPTIED], {}),
        # other accounts of a sink are left alone
        ([FIRST], [OTHER], [final(FIRST)], {**STANDS, OTHER.window: 1}),
    ],
)
def test_a_sink_has_in_the_end_what_the_ledger_calls_stored(
    tmp_path: Path,
    source: list[Batch],
    target: list[Batch],
    outcomes: list[Outcome],
    found: dict[Window, int],
) -> None:
    assert filled_from(tmp_path, source, target, *outcomes) == found


def test_a_feed_is_sent_the_windows_and_the_days_that_are_empty(tmp_path: Path) -> None:
    class Sent(Feed):
        def __init__(self) -> None:
            super().__init__()
            self.sent: list[tuple[str, str, int]] = []

        async def write(self, batches: Any, fence: Any) -> Any:
            self.sent += [(str(b.window.begin), str(b.window.end), len(b.records)) for b in batches]
            return await super().write(batches, fence)

    async def test(ledger: SqliteLedger) -> list[tuple[str, str, int]]:
        sink = Sent()
        source = Source(await filled(FIRST, batch("2024-01-05")))
        await copy(ledger, "memory:new", sink, [source], find, 2e9)
        return sink.sent

    stands = [final(FIRST), *[final(batch(f"2024-01-0{n}", records=0)) for n in (2, 3, 4, 6)]]
    assert in_ledger(tmp_path, test, *stands, final(batch("2024-01-05"))) == [
        ("2024-01-01", "2024-01-01", 2), ("2024-01-05", "2024-01-05", 1),
        ("2024-01-02", "2024-01-04", 0), ("2024-01-06", "2024-01-06", 0),
    ]  # fmt: skip


def test_what_is_copied_from_a_copy_is_known_as_one(tmp_path: Path) -> None:
    async def test(ledger: SqliteLedger) -> tuple[int, str]:
        source = Source(await filled(FIRST), copied=STAMP)
        return await copy(ledger, "memory:new", MemorySink(), [source], find)

    assert in_ledger(tmp_path, test, final(FIRST)) == (1, STAMP)


def test_it_is_copied_from_a_sink_that_has_what_was_fetched(tmp_path: Path) -> None:
    async def test(ledger: SqliteLedger) -> tuple[int, str]:
        sources = [Source(await filled(FIRST), copied=STAMP), Source(await filled(FIRST))]
        return await copy(ledger, "memory:new", MemorySink(), sources, find)

    assert in_ledger(tmp_path, test, final(FIRST)) == (1, "")


# the list


class Listed(MemorySink):
    listed = True


def in_listed(tmp_path: Path, test: Callable[[SqliteLedger, MemorySink], Awaitable[T]]) -> T:
    """Run it with a ledger that lists one sink, which holds a window."""

    async def listed(ledger: SqliteLedger) -> T:
        await ledger.list_sinks({"memory:one": ""})
        sink = Listed("memory:one")
        await sink.write([FIRST], {})
        return await test(ledger, sink)

    return in_ledger(tmp_path, listed, final(FIRST))


def test_a_sink_is_listed_when_all_of_it_is_copied(tmp_path: Path) -> None:
    class Watched(Listed):
        known: ClassVar[list[dict[str, str]]] = []

        async def close(self) -> None:
            self.known.append(await ledgers[0].sinks())
            await super().close()

    ledgers: list[SqliteLedger] = []

    async def test(ledger: SqliteLedger, one: MemorySink) -> dict[str, str]:
        ledgers.append(ledger)
        new = Watched("memory:new")
        assert await add_sink(ledger, new, {"memory:one": one}.get, find, 2e9) == 1
        assert new.windows == one.windows
        return await ledger.sinks()

    assert in_listed(tmp_path, test) == {"memory:new": "", "memory:one": ""}
    assert Watched.known == [{"memory:one": ""}]


def test_what_cannot_be_added_is_refused_and_the_list_stays(tmp_path: Path) -> None:
    free = MemorySink("memory:free")

    async def test(ledger: SqliteLedger, one: MemorySink) -> dict[str, str]:
        for sink, said in (
            (one, "memory:one is listed already"),
            (free, "memory:free is never listed: any run can use it"),
            (Listed("memory:new"), "no sink that has them can be read back"),
        ):
            with pytest.raises(UsageError, match=said):
                await add_sink(ledger, sink, lambda name: None, find)
        return await ledger.sinks()

    assert in_listed(tmp_path, test) == {"memory:one": ""}


def test_a_sink_is_removed_unless_it_is_the_last(tmp_path: Path) -> None:
    async def test(ledger: SqliteLedger, one: MemorySink) -> dict[str, str]:
        with pytest.raises(UsageError, match=r"^memory:two is not listed; the sinks are: mem"):
            await remove_sink(ledger, "memory:two")
        with pytest.raises(UsageError, match=r"^memory:one is the only sink of this ledger; add"):
            await remove_sink(ledger, "memory:one")
        await ledger.commit([], {"memory:one": {"commits": "3"}})
        await ledger.list_sinks({"memory:two": ""})
        await remove_sink(ledger, "memory:one")
        assert await ledger.checkpoint("memory:one") == {}
        return await ledger.sinks()

    assert in_listed(tmp_path, test) == {"memory:two": ""}
