"""What is harvested becomes safe: sinks first, then the ledger."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from harvester.base.fencing import EPOCH
from harvester.engine import writer
from harvester.engine.claims import Sharing
from harvester.engine.window_queue import Harvested
from harvester.engine.writer import Writer
from harvester.errors import LedgerError, SinkError, UsageError
from harvester.events import Committed, Event, Notice
from harvester.ledger import Spent, SqliteLedger
from harvester.ledger.coverage import Calendar, Outcome
from harvester.model import Batch, Tally, Window
from harvester.sinks.base import Written
from harvester.sinks.scan import accepted
from harvester.testing import MemorySink
from harvester.wechat.interfaces import INTERFACES
from tests.support import A, B

NAME = INTERFACES["getarticlesummary"].name
TODAY = date(2024, 2, 10)
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
        self.ledger = Watched(path / "ledger.sqlite", self.log)
        told = writes or (Written,)
        self.sinks = [Place(f"s{n}", self.log, each) for n, each in enumerate(told)]
        self.writer = Writer(
            self.sinks,
            how.pop("ledger", self.ledger),
            self.events.append,
            self._spent,
            **how,
        )

    def _spent(self) -> list[Spent]:
        found, self.due = self.due, []
        return found

    async def __aenter__(self) -> Self:
        await self.ledger.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.ledger.__aexit__(*exc_info)

    async def do(self, *items: Outcome | Harvested) -> Calendar:
        """Commit these in one group, with an open ledger."""
        async with self:
            await self.run(*items)
            return await self.calendar()

    async def run(self, *items: Outcome | Harvested) -> None:
        await self.put(items)
        self.writer.channel.close()
        await self.writer.run()

    async def in_turn(self, *groups: list[Harvested]) -> list[Committed]:
        """Commit one group after the other."""
        async with self:
            for group in groups:
                await self.writer._commit(group)
        return [each for each in self.events if isinstance(each, Committed)]

    async def put(self, items: Iterable[Outcome | Harvested]) -> None:
        for item in items:
            if isinstance(item, Harvested):
                await self.writer.harvested(item)
            else:
                await self.writer.put(item, EPOCH)

    async def calendar(self, appid: str = A) -> Calendar:
        return (await self.ledger.calendars([appid])).get((appid, NAME), Calendar())


def text(calendar: Calendar, until: int) -> str:
    row = calendar.years.get(2024, bytearray(b"." * 366))
    return row[:until].decode()


# the order


async def test_all_sinks_write_before_the_ledger_commits(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written)
    calendar = await desk.do(harvested(1), harvested(2))
    assert desk.log == ["s0", "s1", "ledger"]
    assert text(calendar, 3) == "ff."
    assert [len(sink.windows) for sink in desk.sinks] == [2, 2]


async def test_the_windows_of_a_group_share_a_commit_with_checkpoints_and_calls(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, Written, Written)
    desk.due = [Spent(A, NAME, TODAY, 3)]
    await desk.do(harvested(1, 2), waiting(3), harvested(2))
    [(outcomes, checkpoints, spent)] = desk.ledger.commits
    assert [each.state for each in outcomes] == ["waiting", "final", "final"]
    assert checkpoints == {"memory:s0": {"windows": "2"}, "memory:s1": {"windows": "2"}}
    assert spent == [Spent(A, NAME, TODAY, 3)]


async def test_each_account_of_a_group_is_written_with_its_epoch(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.do(harvested(1), harvested(1, appid=B), harvested(2))
    assert desk.sinks[0].fences == [{A: 1, B: 1}]


class Claimed(Sharing):
    """The accounts of a worker that holds A under its second epoch."""

    def __init__(self) -> None:
        self.windows = 0
        self._cut_off = ""
        self._epochs = {A: 2}

    marks: Mapping[str, str] = {}


async def test_what_was_fetched_under_a_former_epoch_is_not_stored(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.sharing = Claimed()
    former, present = harvested(1)._replace(epoch=1), harvested(2)._replace(epoch=2)
    calendar = await desk.do(former, present)
    assert desk.sinks[0].fences == [{A: 2}]
    assert text(calendar, 3) == ".f."


async def test_what_was_not_stored_goes_to_the_ledger_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calendar = await desk.do(waiting(1), waiting(2, "failed"))
    assert desk.log == ["ledger"]
    assert text(calendar, 3) == "wx."
    assert desk.events == []
    [first, _] = calendar.windows.values()
    assert (first.due, first.detail, first.code, first.rid) == (9.0, "not ready", 61503, "r")


async def test_without_a_ledger_the_sinks_write_and_it_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Written, Written, ledger=None)
    await desk.run(harvested(1), waiting(2))
    desk.due = [Spent(A, NAME, TODAY, 5)]
    await desk.writer.book()
    assert desk.log == ["s0", "s1"]
    assert [type(each) for each in desk.events] == [Committed]


# what fails


def fails() -> Written:
    raise SinkError("the disk is full")


@pytest.mark.parametrize("place", [0, 1])
async def test_where_a_sink_fails_nothing_is_in_the_ledger(tmp_path: Path, place: int) -> None:
    desk = Desk(tmp_path, *[fails if n == place else Written for n in range(2)])
    desk.due = [Spent(A, NAME, TODAY, 3)]
    with pytest.raises(SinkError, match="the disk is full"):
        await desk.do(harvested(1), waiting(2))
    assert "ledger" not in desk.log
    assert desk.events == []
    assert desk.writer.writing == f"memory:s{place}"
    async with desk:
        assert (await desk.calendar()).years == {}


# the end of the sinks' work


class Settling(Place):
    """It has work left for the end of a run."""

    async def finish(self) -> dict[str, str]:
        self.log.append(f"finish {self.name}")
        return {"settled": str(self.log.count(f"finish {self.name}"))}

    async def close(self) -> None:
        self.log.append(f"close {self.name}")
        await super().close()


class Failing(Watched):
    """Its commits of windows fail."""

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
        epochs: Mapping[str, int] | None = None,
    ) -> Collection[str]:
        if outcomes:
            raise LedgerError("the disk is full")
        return await super().commit(outcomes, checkpoints, spent)


async def settling(
    ledger: Watched | None, log: list[str], *groups: list[Harvested], full: bool = False
) -> Settling:
    """Open a writer, let it commit the groups, and leave it."""
    sink = Settling("s", log, lambda: Written(full=full))
    desk = Writer([sink], ledger, lambda _: None, list)
    async with AsyncExitStack() as stack:
        if ledger is not None:
            await stack.enter_async_context(ledger)
        await desk.open(stack)
        log.clear()
        for group in groups:
            await desk._commit(group)
    return sink


async def test_a_sink_is_finished_before_it_is_closed_and_the_ledger_stores_the_result(
    tmp_path: Path,
) -> None:
    log: list[str] = []
    ledger = Watched(tmp_path / "ledger.sqlite", log)
    await settling(ledger, log, [harvested(1)])
    assert log == ["s", "ledger", "finish s", "ledger", "close s"]
    assert ledger.commits[-1] == ([], {"memory:s": {"settled": "1"}}, [])


async def test_a_write_that_asks_for_it_is_followed_by_it_before_the_next_one(
    tmp_path: Path,
) -> None:
    log: list[str] = []
    ledger = Watched(tmp_path / "ledger.sqlite", log)
    await settling(ledger, log, [harvested(1)], [harvested(2)], full=True)
    finished = ["finish s", "ledger"]
    assert log == ["s", "ledger", *finished, "s", "ledger", *finished, "close s"]
    log.clear()
    await settling(None, log, [harvested(1)], [harvested(2)], full=True)
    assert log == ["s", "finish s", "s", "finish s", "close s"]


async def test_a_sink_is_not_finished_while_the_ledger_may_lack_a_write(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(LedgerError, match="the disk is full"):
        await settling(Failing(tmp_path / "ledger.sqlite", log), log, [harvested(1)])
    assert log == ["s", "close s"]


def test_accounts_that_were_refused_are_named() -> None:
    assert accepted("x", Written({"a": "b"})) == Written({"a": "b"})
    with pytest.raises(SinkError, match=r"^x refused a, b, c and 1 more account: another"):
        accepted("x", Written(refused=["d", "c", "b", "a"]))


async def test_where_the_ledger_fails_nothing_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ledger.commit = broken  # type: ignore[method-assign]
    with pytest.raises(LedgerError, match="the disk is full"):
        await desk.do(harvested(1))
    assert (desk.log, desk.events) == (["s0"], [])


def cancels() -> Written:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (cancels, r"^memory:s0 failed: "),
        (lambda: Written(refused={A}), f"^memory:s0 refused {A}: another harvest"),
    ],
    ids=["cancels", "refuses"],
)
async def test_where_a_sink_makes_up_a_cancellation_or_refuses_an_account_nothing_is_told(
    tmp_path: Path, write: Callable[[], Written], said: str
) -> None:
    desk = Desk(tmp_path, write)
    with pytest.raises(SinkError, match=said):
        await desk.do(harvested(1), harvested(1, appid=B))
    assert (desk.log, desk.events) == (["s0"], [])


async def test_while_a_sink_writes_its_name_is_known(tmp_path: Path) -> None:
    seen: list[str] = []
    desk = Desk(tmp_path, lambda: seen.append(desk.writer.writing) or Written())
    assert desk.writer.writing == ""
    await desk.do(harvested(1))
    assert (seen, desk.writer.writing) == (["memory:s0"], "")


# what is told


async def test_it_is_told_what_is_safe(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = [harvested(1, 3), harvested(2, 0), harvested(3, 1, state="open")]
    await desk.do(*made)
    assert desk.events == [Committed(tuple(one.batch.window for one in made), 1, 4, 0, 1)]


async def test_a_window_that_is_late_is_stored_and_not_called_done(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calendar = await desk.do(harvested(1), harvested(2, 2, state="late"))
    assert desk.events == [Committed((batch(1).window,), 0, 3, 0, 1)]
    assert text(calendar, 2) == "fo"


async def test_a_window_that_was_late_is_counted_as_open_once(tmp_path: Path) -> None:
    late = harvested(1, state="late")
    told = await Desk(tmp_path).in_turn([late], [late], [harvested(1, state="open")])
    assert [(len(each.windows), each.provisional) for each in told] == [(0, 1), (0, 0), (1, 0)]


async def test_each_window_that_can_still_change_is_counted(tmp_path: Path) -> None:
    late = [harvested(n, state="late") for n in range(1, 6)]
    told = await Desk(tmp_path).in_turn(
        late[:2], late[1:4], [harvested(1), harvested(2), *late[2:]]
    )
    assert [each.provisional for each in told] == [2, 2, -1]


async def test_a_window_that_was_late_and_is_final_is_not_open_any_more(tmp_path: Path) -> None:
    late = harvested(1, state="late")
    told = await Desk(tmp_path).in_turn([late], [harvested(1)], [harvested(1, state="open")])
    assert [each.provisional for each in told] == [1, -1, 1]


async def test_a_window_whose_figures_are_others_than_before_has_changed(tmp_path: Path) -> None:
    other = Tally(2, 5)
    told = await Desk(tmp_path).in_turn(
        [harvested(1, 2, former=batch(1, 2).tally), harvested(2, 2, former=other), harvested(3)],
        [harvested(n, 2, former=other) for n in (4, 5, 6)],
    )
    assert [each.changed for each in told] == [1, 3]


async def test_a_window_that_comes_late_twice_has_changed_once(tmp_path: Path) -> None:
    late = harvested(1, former=Tally(7, 7), state="late")
    told = await Desk(tmp_path).in_turn([late], [late], [harvested(1, former=Tally(7, 7))])
    assert [each.changed for each in told] == [1, 0, 0]


async def test_drift_is_told_once(tmp_path: Path) -> None:
    first, second = ["title is a number", "new is unknown"], ["title is a number", "other"]
    desk = Desk(tmp_path, lambda: Written(drift=first), lambda: Written(drift=second))
    await desk.in_turn([harvested(1)], [harvested(2)])
    told = [each.text for each in desk.events if isinstance(each, Notice)]
    assert told == ["title is a number", "new is unknown", "other"]


# calls


async def broken(*_: object) -> None:
    await asyncio.sleep(0)
    raise LedgerError("the disk is full")


def calls(number: int, appid: str = A) -> Spent:
    return Spent(appid, NAME, TODAY, number)


async def test_at_the_end_the_calls_are_booked_that_no_commit_had(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        desk.due = [calls(3)]
        await desk.run()
        desk.due = [calls(7)]
        await desk.writer.book()
        assert await desk.ledger.spent(TODAY) == {(A, NAME): 10}


async def test_where_no_call_is_left_to_book_nothing_is_committed(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        await desk.run()
        await desk.writer.book()
    assert desk.ledger.commits == []


async def test_calls_are_booked_every_second_also_when_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writer.BOOK_EVERY <= 1.0
    monkeypatch.setattr(writer, "BOOK_EVERY", 0.01)
    async with Desk(tmp_path) as desk:
        booking = asyncio.create_task(desk.writer.book_regularly())
        for number in (3, 4):
            desk.due = [calls(number)]
            desk.writer.sent.set()
            with anyio.fail_after(5):
                while len(desk.ledger.commits) < number - 2:
                    await asyncio.sleep(0.01)
        booking.cancel()
        assert await desk.ledger.spent(TODAY) == {(A, NAME): 7}


# before the first window


class Opened(MemorySink):
    """It notes the checkpoints that it is given, and returns one if it has none.

    own: a sink that the ledger lists, unless this is False.
    """

    def __init__(self, name: str = "memory:s0", *, own: bool = True) -> None:
        super().__init__(name)
        self.listed = own
        self.given: list[object] = []

    async def open(self, checkpoint: Any) -> Any:
        self.given.append(checkpoint)
        await super().open(checkpoint)
        return {} if checkpoint else {"begun": "1"}


async def opened(ledger: SqliteLedger | None, *sinks: MemorySink) -> Writer:
    """A writer whose sinks were opened and closed."""
    made = Writer(sinks, ledger, print, list)
    async with AsyncExitStack() as stack:
        await made.open(stack)
    return made


async def test_an_opened_sink_gets_its_checkpoint_and_what_it_returns_is_stored(
    tmp_path: Path,
) -> None:
    sink = Opened()
    async with Desk(tmp_path) as desk:
        for _ in range(2):
            await opened(desk.ledger, sink)
            assert len(desk.ledger.commits) == 1
            assert await desk.ledger.checkpoint("memory:s0") == {"begun": "1"}
    assert sink.given == [{}, {"begun": "1"}]
    assert (sink.opened, sink.closed) == (2, 2)


async def test_without_a_ledger_a_sink_is_opened_without_a_checkpoint() -> None:
    sink = Opened()
    await opened(None, sink)
    assert sink.given == [None]


async def test_a_new_ledger_lists_its_sinks(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        await opened(desk.ledger, Opened("memory:s1"), Opened("memory:s0"))
        assert await desk.ledger.sinks() == {"memory:s0": "", "memory:s1": ""}


async def test_a_run_has_the_sinks_that_are_listed_and_no_others(tmp_path: Path) -> None:
    one, two = Opened("memory:s0"), Opened("memory:s1")
    async with Desk(tmp_path) as desk:
        await opened(desk.ledger, one)
        for other in ([one, two], [two], []):
            with pytest.raises(UsageError, match=r"^the sinks of this ledger are memory:s0, but"):
                await opened(desk.ledger, *other)
        assert await desk.ledger.sinks() == {"memory:s0": ""}
    assert (one.opened, two.opened) == (1, 0)  # refused before a sink is opened


async def test_a_ledger_with_records_and_without_a_list_is_refused(tmp_path: Path) -> None:
    async with Desk(tmp_path) as desk:
        await desk.ledger.commit([harvested(1).outcome], {})
        with pytest.raises(
            UsageError, match=r"^the sinks of this ledger are none, but the sinks of"
        ):
            await opened(desk.ledger, Opened())
        assert await desk.ledger.sinks() == {}


async def test_a_sink_that_is_not_listed_comes_and_goes_and_has_no_checkpoint_beside_others(
    tmp_path: Path,
) -> None:
    one, free = Opened(), Opened("memory:free", own=False)
    async with Desk(tmp_path) as desk:
        for sinks in ([one], [one, free], [one]):
            await opened(desk.ledger, *sinks)
        assert await desk.ledger.sinks() == {"memory:s0": ""}
        assert await desk.ledger.checkpoint("memory:free") == {}
    assert free.given == [None]


async def test_a_sink_that_is_not_listed_has_a_checkpoint_if_it_is_alone(tmp_path: Path) -> None:
    free = Opened("memory:free", own=False)
    async with Desk(tmp_path) as desk:
        for _ in range(2):
            await opened(desk.ledger, free)
        assert await desk.ledger.sinks() == {}
    assert free.given == [{}, {"begun": "1"}]


async def test_sinks_are_opened_anew_with_every_check_of_a_first_opening(tmp_path: Path) -> None:
    class Back(Opened):
        reaches = 0

        async def reach(self) -> None:
            self.reaches += 1

        async def open(self, checkpoint: Any) -> Any:
            await super().open(checkpoint)
            if self.opened > 2:
                raise UsageError("it holds less than this ledger knows")
            return {}

    sink = Back()
    async with Desk(tmp_path) as desk:
        made = Writer([sink], desk.ledger, print, list)
        async with AsyncExitStack() as stack:
            for closed in range(2):
                async with made.reached(stack):
                    assert (sink.reaches, sink.closed) == (closed + 1, closed)
                    await made.open(stack)
            with pytest.raises(UsageError, match=r"^it holds less than this ledger knows$"):
                async with made.reached(stack):
                    await made.open(stack)
            assert made.opening == "memory:s0"
    assert (sink.opened, sink.closed) == (3, 3)


async def test_sinks_are_reached_when_a_write_has_ended(tmp_path: Path) -> None:
    class Slow(Opened):
        async def write(self, batches: Any, fence: Any) -> Written:
            await asyncio.sleep(0.2)
            return await super().write(batches, fence)

    sink = Slow()
    async with Desk(tmp_path) as desk:
        made = Writer([sink], desk.ledger, print, list)
        async with AsyncExitStack() as stack:
            await made.open(stack)
            write = asyncio.create_task(made._write([harvested(1).batch], {}))
            await asyncio.sleep(0)
            async with made.reached(stack):
                assert write.done()
                assert sink.closed == 1


def test_a_sink_beside_the_ledger_is_named_by_its_place_there(tmp_path: Path) -> None:
    sink = MemorySink(f"files:{tmp_path / 'out'}")
    sink.path = tmp_path / "out"  # type: ignore[attr-defined]
    writers = [
        Writer([sink], ledger, print, list) for ledger in (SqliteLedger(tmp_path / "l"), None)
    ]
    assert [writer.sinks for writer in writers] == [[("files:out", sink)], [(sink.identity, sink)]]


# how much lies here


class Record(dict[str, Any]):
    """A record whose end can be seen."""


async def test_stored_windows_are_freed_one_by_one_as_others_come() -> None:
    """To free a whole group, with its records, would hold the loop for milliseconds."""
    writer = Writer([], None, lambda _: None, lambda: ())
    seen: list[weakref.ref[Record]] = []

    def offer(day: int) -> None:
        made = harvested(day)
        made.batch.records[:] = [record := Record(n=day)]
        seen.append(weakref.ref(record))
        assert writer.offer(made)

    running = asyncio.create_task(writer.run())
    for day in (1, 2, 3):
        offer(day)
    await writer.flush()
    await asyncio.sleep(0)
    left = []
    for day in (4, 5, 6):
        offer(day)
        left.append(sum([each() is not None for each in seen[:3]]))
    writer.channel.close()
    await running
    assert left == [3, 2, 1]  # the mark of `flush` was the last of the group


def test_with_a_group_of_one_none_is_fetched_ahead(tmp_path: Path) -> None:
    writer = Desk(tmp_path, group=1).writer
    assert [writer.offer(harvested(1)), writer.offer(harvested(2))] == [True, False]


def test_a_window_is_as_large_as_the_answers_that_it_came_in(tmp_path: Path) -> None:
    writer = Desk(tmp_path).writer
    assert writer.offer(harvested(1, size=9 * 1024 * 1024))
    assert not writer.offer(harvested(2, size=1))


# what a shared ledger and a sink know of each other


class Marks:
    """What a sink or a ledger answers when it is asked for marks, one answer after the other."""

    identity = "postgresql://x"

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = [*answers]

    async def marks(self) -> dict[str, Any]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    all_marks = marks


async def apart(ledger: Marks, sink: Marks, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr("harvester.engine.writer.shared", lambda ledger: ledger)
    writer: Any = Writer([], None, lambda event: None, list)
    writer.ledger, writer.sinks = ledger, [("postgresql://x", sink)]
    found: dict[str, str] = await writer._not_in_step()
    return found


async def test_an_account_of_which_the_ledger_does_not_know_the_last_writes_is_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = Marks({"a": ("3", "2"), "b": ("7", "6"), "c": ("9", "8")})
    found = await apart(Marks({"a": ["1"], "b": ["6"], "d": ["5"]}), sink, monkeypatch)
    assert [*found] == ["a"]
    said = "the ledger does not know the state of this account in postgresql://x: a failover"
    assert said in found["a"]


async def test_an_account_that_another_worker_writes_meanwhile_is_not_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = Marks({"a": ("2", "1"), "b": ("2", "1")}, {"a": ("6", "5"), "b": ("2", "1")})
    ledger = Marks({"a": ["4"], "b": ["4"]}, {"a": ["5"]})
    assert [*await apart(ledger, sink, monkeypatch)] == ["b"]
