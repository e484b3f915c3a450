"""What is harvested becomes safe: sinks first, then the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harvester.coverage import Calendar, Outcome
from harvester.datacube import INTERFACES
from harvester.errors import LedgerError, SinkError
from harvester.events import Committed, Drifted, Event, Filled
from harvester.fencing import EPOCH
from harvester.ledger import Spent, SqliteLedger
from harvester.ledger.base import KnownSink
from harvester.model import Batch, Tally, Window
from harvester.queues import Harvested
from harvester.sinks.base import Written
from harvester.stored import accepted
from harvester.testing import MemorySink
from harvester.writer import Writer
from tests.support import A, B

NAME = INTERFACES["getarticlesummary"].name
TODAY = date(2024, 2, 10)
T = TypeVar("T")


STAMP = "2024-02-10T04:00:00Z"


def batch(
    day: int, records: int = 1, days: int = 1, appid: str = A, *, late: bool = False
) -> Batch:
    window = Window(appid, NAME, date(2024, 1, day), date(2024, 1, day + days - 1))
    found = [{"n": n, "of": str(window)} for n in range(records)]
    return Batch(window, found, STAMP, late=late)


def harvested(
    day: int,
    records: int = 1,
    *,
    state: str = "final",
    former: Tally | None = None,
    size: int = 0,
    **more: Any,
) -> Harvested:
    made = batch(day, records, late=state == "late", **more)
    outcome = Outcome(made.window, state, made.tally, fetched_at=STAMP)
    return Harvested(made, outcome, former, size=size)


def waiting(day: int, state: str = "waiting") -> Outcome:
    window = Window(A, NAME, date(2024, 1, day), date(2024, 1, day))
    return Outcome(window, state, due=9.0, detail="not ready", code=61503, rid="r")


class Watched(SqliteLedger):
    """It writes down what it is asked to commit, in the list that the sinks share."""

    def __init__(self, path: Path, log: list[str]) -> None:
        super().__init__(path)
        self.log = log
        self.commits: list[tuple[list[Outcome], dict[str, dict[str, str]], list[Spent]]] = []

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        self.log.append("ledger")
        spent = list(spent)
        self.commits.append((list(outcomes), {k: dict(v) for k, v in checkpoints.items()}, spent))
        return await super().commit(outcomes, checkpoints, spent)


class Place(MemorySink):
    """It writes down what is written, tells a checkpoint, and does what it is told to."""

    def __init__(self, name: str, log: list[str], writes: Callable[[], Any] = Written) -> None:
        super().__init__(f"memory:{name}")
        self.name = name
        self.log = log
        self.fences: list[dict[str, int]] = []
        self._writes = writes

    async def write(self, batches: Any, fence: Any) -> Written:
        self.log.append(self.name)
        self.fences.append(dict(fence))
        told: Written = self._writes()
        await super().write(batches, fence)
        return told._replace(checkpoint={"windows": str(sum(self.writes))})


class Desk:
    """A writer with its sinks and its ledger, and what came of it."""

    def __init__(self, path: Path, *writes: Callable[[], Any], **how: Any) -> None:
        self.log: list[str] = []
        self.events: list[Event] = []
        self.due: list[Spent] = []
        self.unused: list[Spent] = []
        self.ledger = Watched(path / "ledger.sqlite", self.log)
        told = writes or (Written,)
        self.sinks = [Place(f"s{n}", self.log, each) for n, each in enumerate(told)]
        self.writer = Writer(
            self.sinks,
            how.pop("ledger", self.ledger),
            self.events.append,
            self._spent,
            lambda: list(self.unused),
            **how,
        )

    def _spent(self) -> list[Spent]:
        found, self.due = self.due, []
        return found

    def do(
        self, *items: Outcome | Harvested, then: Callable[[], Awaitable[Any]] | None = None
    ) -> Any:
        """Commit these in one group."""

        async def run() -> Any:
            async with self.ledger:
                await self.put(items)
                self.writer.channel.close()
                await self.writer.run()
                return await then() if then is not None else await self.calendar()

        return asyncio.run(run())

    async def put(self, items: Iterable[Outcome | Harvested]) -> None:
        for item in items:
            if isinstance(item, Harvested):
                await self.writer.harvested(item)
            else:
                await self.writer.put(item, EPOCH)

    async def calendar(self, appid: str = A) -> Calendar:
        return (await self.ledger.calendars([appid])).get((appid, NAME), Calendar())

    @property
    def committed(self) -> list[Committed]:
        return [each for each in self.events if isinstance(each, Committed)]


def text(calendar: Calendar, until: int) -> str:
    row = calendar.years.get(2024, bytearray(b"." * 366))
    return row[:until].decode()


# the order


def test_all_sinks_write_before_the_ledger_commits(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written)
    calendar = desk.do(harvested(1), harvested(2))
    assert desk.log == ["s0", "s1", "ledger"]
    assert text(calendar, 3) == "ff."
    assert [len(sink.windows) for sink in desk.sinks] == [2, 2]


def test_the_windows_of_a_group_share_a_commit_with_checkpoints_and_calls(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written)
    desk.due = [Spent(A, NAME, TODAY, 3)]
    desk.do(harvested(1, 2), waiting(3), harvested(2))
    [(outcomes, checkpoints, spent)] = desk.ledger.commits
    assert [each.state for each in outcomes] == ["waiting", "final", "final"]
    assert checkpoints == {"memory:s0": {"windows": "2"}, "memory:s1": {"windows": "2"}}
    assert spent == [Spent(A, NAME, TODAY, 3)]


def test_each_account_of_a_group_is_written_with_its_epoch(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.do(harvested(1), harvested(1, appid=B), harvested(2))
    assert desk.sinks[0].fences == [{A: 1, B: 1}]


def test_what_was_not_stored_goes_to_the_ledger_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calendar = desk.do(waiting(1), waiting(2, "failed"))
    assert desk.log == ["ledger"]
    assert text(calendar, 3) == "wx."
    assert desk.events == []
    [first, _] = calendar.windows.values()
    assert (first.due, first.detail, first.code, first.rid) == (9.0, "not ready", 61503, "r")


async def test_without_a_ledger_the_sinks_write_and_it_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written, ledger=None)
    await desk.put([harvested(1), waiting(2)])
    desk.writer.channel.close()
    await desk.writer.run()
    await desk.writer.reserve(Spent(A, NAME, TODAY, 5))
    await desk.writer.book()
    await desk.writer.catch_up(lambda name: None, INTERFACES.get)
    assert desk.log == ["s0", "s1"]
    assert len(desk.committed) == 1


# what fails


def fails() -> Written:
    raise SinkError("the disk is full")


@pytest.mark.parametrize("place", [0, 1])
def test_where_a_sink_fails_nothing_is_in_the_ledger(tmp_path: Path, place: int) -> None:
    desk = Desk(tmp_path, *[fails if n == place else Written for n in range(2)])
    desk.due = [Spent(A, NAME, TODAY, 3)]
    with pytest.raises(SinkError, match="the disk is full"):
        desk.do(harvested(1), waiting(2))
    assert "ledger" not in desk.log
    assert desk.events == []
    assert desk.writer.writing == f"memory:s{place}"
    assert asyncio.run(read(desk)).years == {}


async def read(desk: Desk) -> Calendar:
    async with desk.ledger:
        return await desk.calendar()


def test_where_a_sink_refuses_an_account_nothing_is_in_the_ledger(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lambda: Written(refused={A}))
    with pytest.raises(SinkError, match=f"^memory:s0 has refused {A}: another harvest"):
        desk.do(harvested(1), harvested(1, appid=B))
    assert desk.log == ["s0"]
    assert desk.events == []


def test_accounts_that_were_refused_are_named() -> None:
    assert accepted("x", Written({"a": "b"})) == Written({"a": "b"})
    with pytest.raises(SinkError, match=r"^x has refused a, b, c and 1 more account: another"):
        accepted("x", Written(refused=["d", "c", "b", "a"]))


def test_where_the_ledger_fails_nothing_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def broken(*_: object) -> None:
        raise LedgerError("the disk went away")

    desk.ledger.commit = broken  # type: ignore[method-assign]
    with pytest.raises(LedgerError, match="the disk went away"):
        desk.do(harvested(1))
    assert desk.log == ["s0"]
    assert desk.events == []


def cancels() -> Written:
    raise asyncio.CancelledError


def test_a_cancellation_that_a_sink_makes_up_is_its_failure(tmp_path: Path) -> None:
    desk = Desk(tmp_path, cancels)
    with pytest.raises(SinkError, match=r"^memory:s0 failed: "):
        desk.do(harvested(1))
    assert desk.log == ["s0"]


def test_while_a_sink_writes_its_name_is_known(tmp_path: Path) -> None:
    seen: list[str] = []
    desk = Desk(tmp_path, lambda: seen.append(desk.writer.writing) or Written())
    assert desk.writer.writing == ""
    desk.do(harvested(1))
    assert (seen, desk.writer.writing) == (["memory:s0"], "")


# what is told


def test_it_is_told_what_is_safe(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = [harvested(1, 3), harvested(2, 0), harvested(3, 1, state="open")]
    desk.do(*made)
    assert desk.events == [Committed(tuple(one.batch.window for one in made), 1, 4, 0, 1)]


def test_a_window_that_is_late_is_stored_and_not_called_done(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calendar = desk.do(harvested(1), harvested(2, 2, state="late"))
    assert desk.events == [Committed((batch(1).window,), 0, 3, 0, 1)]
    assert text(calendar, 2) == "fo"


def in_turn(desk: Desk, *groups: list[Harvested]) -> list[Committed]:
    """Commit one group after the other."""

    async def run() -> None:
        async with desk.ledger:
            for group in groups:
                await desk.writer._commit(group)

    asyncio.run(run())
    return desk.committed


def test_a_window_that_was_late_is_counted_as_open_once(tmp_path: Path) -> None:
    late = harvested(1, state="late")
    told = in_turn(Desk(tmp_path), [late], [late], [harvested(1, state="open")])
    assert [(len(each.windows), each.provisional) for each in told] == [(0, 1), (0, 0), (1, 0)]


def test_each_window_that_can_still_change_is_counted(tmp_path: Path) -> None:
    late = [harvested(n, state="late") for n in range(1, 6)]
    told = in_turn(Desk(tmp_path), late[:2], late[1:4], [harvested(1), harvested(2), *late[2:]])
    assert [each.provisional for each in told] == [2, 2, -1]


def test_a_window_that_was_late_and_is_final_is_not_open_any_more(tmp_path: Path) -> None:
    late = harvested(1, state="late")
    told = in_turn(Desk(tmp_path), [late], [harvested(1)], [harvested(1, state="open")])
    assert [each.provisional for each in told] == [1, -1, 1]


def test_a_window_whose_figures_are_others_than_before_has_changed(tmp_path: Path) -> None:
    same = batch(1, 2)
    told = in_turn(
        Desk(tmp_path),
        [
            harvested(1, 2, former=same.tally),
            harvested(2, 2, former=Tally(2, 5)),
            harvested(3),
        ],
        [harvested(n, 2, former=Tally(2, 5)) for n in (4, 5, 6)],
    )
    assert [each.changed for each in told] == [1, 3]


def test_a_window_that_comes_late_twice_has_changed_once(tmp_path: Path) -> None:
    changed = {"former": Tally(7, 7), "state": "late"}
    told = in_turn(Desk(tmp_path), [harvested(1, **changed)], [harvested(1, **changed)], [
        harvested(1, former=Tally(7, 7))
    ])  # fmt: skip
    assert [each.changed for each in told] == [1, 0, 0]


def test_drift_is_told_once(tmp_path: Path) -> None:
    def drifts() -> Written:
        return Written(drift=["title is a number", "new is unknown"])

    desk = Desk(tmp_path, drifts, lambda: Written(drift=["title is a number", "other"]))
    in_turn(desk, [harvested(1)], [harvested(2)])
    told = [each.sentence for each in desk.events if isinstance(each, Drifted)]
    assert told == ["title is a number", "new is unknown", "other"]


# calls


def spent_in(desk: Desk) -> dict[tuple[str, str], int]:
    async def run() -> dict[tuple[str, str], int]:
        async with desk.ledger:
            return await desk.ledger.spent(TODAY)

    return asyncio.run(run())


def test_at_the_end_the_calls_are_booked_that_no_commit_had(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def then() -> None:
        desk.due = [Spent(A, NAME, TODAY, 7)]
        desk.unused = [Spent(A, NAME, TODAY, -2)]
        await desk.writer.book()

    desk.due = [Spent(A, NAME, TODAY, 3)]
    desk.do(then=then)
    assert spent_in(desk) == {(A, NAME): 8}


def test_calls_that_cannot_be_booked_at_the_end_are_no_error(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def broken(*_: object) -> None:
        raise LedgerError("the disk is full")

    async def then() -> str:
        desk.ledger.commit = broken  # type: ignore[method-assign]
        desk.due = [Spent(A, NAME, TODAY, 7)]
        await desk.writer.book()
        return "done"

    assert desk.do(then=then) == "done"


def test_where_no_call_is_left_to_book_nothing_is_committed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.do(then=desk.writer.book)
    assert desk.ledger.commits == []


def test_calls_that_are_reserved_together_share_a_commit(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def then() -> None:
        await asyncio.gather(*[
            desk.writer.reserve(Spent(f"wx{n}", NAME, TODAY, n)) for n in range(1, 9)
        ])  # fmt: skip

    desk.do(then=then)
    assert spent_in(desk) == {(f"wx{n}", NAME): n for n in range(1, 9)}
    assert [len(spent) for _, _, spent in desk.ledger.commits] == [1, 7]


def test_calls_are_booked_when_reserve_returns(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def then() -> dict[tuple[str, str], int]:
        await desk.writer.reserve(Spent(A, NAME, TODAY, 4))
        return await desk.ledger.spent(TODAY)

    assert desk.do(then=then) == {(A, NAME): 4}


def test_calls_that_cannot_be_reserved_are_an_error_for_all_who_wait(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def broken(*_: object) -> None:
        await asyncio.sleep(0)
        raise LedgerError("the disk is full")

    async def then() -> list[object]:
        desk.ledger.commit = broken  # type: ignore[method-assign]
        calls = [desk.writer.reserve(Spent(f"wx{n}", NAME, TODAY, 1)) for n in range(3)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    assert [type(each) for each in desk.do(then=then)] == [LedgerError] * 3


def test_who_waited_beside_a_booking_that_failed_is_booked_all_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    commit, failed = desk.ledger.commit, list[bool]()
    later: list[asyncio.Task[bool]] = []

    async def fails_at_second(
        outcomes: Any, checkpoints: Any, spent: Any = (), epochs: Any = None
    ) -> Collection[str]:
        await asyncio.sleep(0)
        failed.append(len(failed) == 1)
        if failed[-1]:
            later.append(asyncio.create_task(desk.writer.reserve(Spent("wx9", NAME, TODAY, 1))))
            await asyncio.sleep(0)
            raise LedgerError("the disk is full")
        return await commit(outcomes, checkpoints, spent)

    async def then() -> list[object]:
        desk.ledger.commit = fails_at_second  # type: ignore[method-assign]
        calls = [desk.writer.reserve(Spent(f"wx{n}", NAME, TODAY, 1)) for n in range(4)]
        found = list(await asyncio.gather(*calls, return_exceptions=True))
        await asyncio.gather(*later)
        return found

    found = desk.do(then=then)
    assert [type(each) for each in found] == [bool, LedgerError, bool, bool]
    assert spent_in(desk) == {(f"wx{n}", NAME): 1 for n in (0, 2, 3, 9)}


# before the first window


def test_an_opened_sink_gets_its_checkpoint_and_what_it_returns_is_stored(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    given: list[object] = []

    class Opened(MemorySink):
        async def open(self, checkpoint: Any) -> Any:
            given.append(checkpoint)
            return {"begun": "1"} if not checkpoint else {}

    async def then() -> dict[str, str]:
        await desk.writer.open(Opened(), "one")
        commits = len(desk.ledger.commits)
        await desk.writer.open(Opened(), "one")
        assert len(desk.ledger.commits) == commits
        return await desk.ledger.checkpoint("one")

    assert desk.do(then=then) == {"begun": "1"}
    assert given == [{}, {"begun": "1"}]


def test_without_a_ledger_a_sink_is_opened_without_a_checkpoint(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ledger=None)
    given: list[object] = []

    class Opened(MemorySink):
        async def open(self, checkpoint: Any) -> Any:
            given.append(checkpoint)
            return {"begun": "1"}

    asyncio.run(desk.writer.open(Opened(), "one"))
    assert given == [None]


def test_a_sink_that_lacks_something_is_filled_from_one_that_has_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written)
    first, second = desk.sinks

    async def then() -> dict[str, KnownSink]:
        await first.write([batch(1), batch(2)], {})
        await desk.ledger.commit([harvested(1).outcome, harvested(2).outcome], {})
        await desk.ledger.caught_up("memory:s0")
        await desk.writer.catch_up(lambda name: pytest.fail("it is among them"), INTERFACES.get)
        return await desk.ledger.sinks()

    assert desk.do(then=then) == {"memory:s0": KnownSink(True), "memory:s1": KnownSink(True)}
    assert second.windows == first.windows
    assert desk.events == [Filled("memory:s1", 2)]


def test_a_sink_of_former_runs_fills_it_if_none_of_these_can(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written)
    scans: list[str] = []

    class Former(MemorySink):
        def scan(self, endpoint: str, *how: Any) -> Any:
            scans.append(endpoint)
            return super().scan(endpoint, *how)

    former = Former("memory:former")
    asked: list[str] = []

    def make(name: str) -> MemorySink | None:
        asked.append(name)
        return former if name == "memory:former" else None

    async def then() -> dict[str, KnownSink]:
        await former.write([batch(1)], {})
        await desk.ledger.commit([harvested(1).outcome], {})
        await desk.ledger.caught_up("memory:former")
        await desk.ledger.caught_up("redis:gone")
        await desk.writer.catch_up(make, INTERFACES.get)
        return await desk.ledger.sinks()

    found = desk.do(then=then)
    assert set(found) == {"memory:s0", "memory:s1", "memory:former", "redis:gone"}
    assert [list(sink.windows) for sink in desk.sinks] == [[harvested(1).batch.window]] * 2
    assert [each for each in desk.events if isinstance(each, Filled)] == [
        Filled("memory:s0", 1),
        Filled("memory:s1", 1),
    ]
    assert asked[:2] == ["memory:former", "redis:gone"]
    assert scans == [NAME]  # the second is filled from the first


def test_of_a_new_ledger_all_sinks_have_everything(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def then() -> dict[str, KnownSink]:
        await desk.writer.catch_up(lambda name: None, INTERFACES.get)
        return await desk.ledger.sinks()

    assert desk.do(then=then) == {"memory:s0": KnownSink(True)}
    assert desk.events == []


def test_a_sink_beside_the_ledger_is_named_by_its_place_there(tmp_path: Path) -> None:
    sink = MemorySink(f"files:{tmp_path / 'out'}")
    sink.path = tmp_path / "out"  # type: ignore[attr-defined]
    writers = [
        Writer([sink], ledger, print, list) for ledger in (SqliteLedger(tmp_path / "l"), None)
    ]
    assert [writer.sinks for writer in writers] == [
        [("files:out", sink)],
        [(sink.identity, sink)],
    ]


# how much lies here


def test_with_a_group_of_one_none_is_fetched_ahead(tmp_path: Path) -> None:
    writer = Desk(tmp_path, group=1).writer
    assert [writer.offer(harvested(1)), writer.offer(harvested(2))] == [True, False]


def test_a_window_is_as_large_as_the_answers_that_it_came_in(tmp_path: Path) -> None:
    writer = Desk(tmp_path).writer
    assert writer.offer(harvested(1, size=9 * 1024 * 1024))
    assert not writer.offer(harvested(2, size=1))
