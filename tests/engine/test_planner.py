"""What is still to be asked for, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.base.dates import Days, Grid, WindowKind
from harvester.base.fencing import EPOCH
from harvester.config.settings import engine_options
from harvester.engine import planner
from harvester.engine.limiter import Rate
from harvester.engine.planner import Need, Plan, build_plan, demands, needed, used_quota
from harvester.engine.policy import NOT_READY_AGAIN
from harvester.engine.quota import NEVER
from harvester.engine.window_queue import InterfaceQueue
from harvester.events import Deferred, Failed, late
from harvester.ledger import Exhausted, Key, Spent, SqliteLedger
from harvester.ledger.base import Lease
from harvester.ledger.coverage import STORED, Calendar, OpenWindow, Outcome
from harvester.model import RECHECK_INTERVAL, Endpoint, Response, Tally, Window
from harvester.tokens.stores import MemoryStore
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import LONGEST
from tests.support import A, B, at, noon, scope
from tests.support import days as all_days

SUMMARY = INTERFACES["getarticlesummary"]  # windows of one day
USERS = INTERFACES["getusersummary"]  # of seven
CUMULATED = INTERFACES["getusercumulate"]  # of seven, with one row per day
WALL = noon("2024-02-10")


def day(text: str) -> date:
    return date.fromisoformat(text)


def days(first: str, last: str = "") -> Days:
    return day(first), day(last or first)


def outcome(
    first: str, last: str = "", state: str = "final", due: float = 0.0, **more: Any
) -> Outcome:
    place = Window(more.pop("appid", A), more.pop("name", SUMMARY.name), *days(first, last))
    tally, empty = more.pop("tally", None), more.pop("empty", 0)
    if tally is None:
        tally = Tally() if empty or state == "late" else Tally(1, 7)
    return Outcome(place, state, tally, empty, due, **more)


def calendar_of(*outcomes: Outcome) -> Calendar:
    calendar = Calendar()
    for each in outcomes:
        calendar.apply(each)
    return calendar


def cut(span: int = 1, kind: WindowKind = WindowKind.DAYS, last: str = "2024-02-09") -> Grid:
    return Grid(kind, span, day("2024-01-01"), day(last))


TEN_DAYS = days("2024-01-01", "2024-01-10")


def need(
    calendar: Calendar,
    asked: Days = TEN_DAYS,
    by: Grid | None = None,
    wall: float = WALL,
    endpoint: Endpoint = SUMMARY,
) -> Need:
    return needed(endpoint, by or cut(), asked, calendar, wall)


def need_of(stored: list[Days], again: list[OpenWindow], planned: int, left: int) -> Need:
    return Need(TEN_DAYS, stored, again, planned, left, [], 0)


# what is needed


def test_of_a_range_that_nothing_is_known_of_all_is_needed() -> None:
    assert need(Calendar()) == need_of([], [], 10, 10)
    assert need(Calendar(), by=cut(7)) == need_of([], [], 2, 2)


def test_what_is_final_is_not_needed_and_counts_as_planned() -> None:
    stored = days("2024-01-03", "2024-01-05")
    assert need(calendar_of(outcome("2024-01-03", "2024-01-05"))) == need_of([stored], [], 10, 7)


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_what_waited_or_failed_is_needed_as_if_nothing_was_known(state: str) -> None:
    found = need(calendar_of(outcome("2024-01-03", "2024-01-05", state, WALL + 60)))
    assert (found.stored, found.again, found.planned, found.left) == ([], [], 10, 10)


@pytest.mark.parametrize("state", ["open", "late"])
def test_what_is_open_is_asked_for_again_as_it_was_stored(state: str) -> None:
    calendar = calendar_of(outcome("2024-01-03", "2024-01-05", state))
    again, stored = calendar.windows[day("2024-01-03")], days("2024-01-03", "2024-01-05")
    assert need(calendar) == need_of([stored], [again], 10, 8)


def test_windows_that_are_asked_for_again_come_newest_first() -> None:
    calendar = calendar_of(*[outcome(f"2024-01-0{n}", state="open") for n in (5, 3, 9, 4)])
    assert [each.begin.day for each in need(calendar).again] == [9, 5, 4, 3]


@pytest.mark.parametrize(
    ("first", "last", "is_asked"),
    [
        ("2023-12-28", "2024-01-01", True),
        ("2023-12-28", "2023-12-31", False),
        ("2024-01-10", "2024-01-15", True),
        ("2024-01-11", "2024-01-15", False),
        ("2023-12-01", "2024-02-01", True),
    ],
)
def test_an_open_window_at_the_edge_is_asked_for_as_a_whole(
    first: str, last: str, is_asked: bool
) -> None:
    found = need(calendar_of(outcome(first, last, "open")))
    assert [each.days for each in found.again] == ([days(first, last)] if is_asked else [])


@pytest.mark.parametrize(
    ("due", "is_asked"),
    [
        (0.0, True),
        (WALL - 1, True),
        (WALL, True),
        (WALL + 1, False),
        (WALL + RECHECK_INTERVAL, False),
        (WALL + RECHECK_INTERVAL + 1, True),  # written by a clock that was ahead
    ],
)
def test_an_open_window_is_held_back_until_it_is_due(due: float, is_asked: bool) -> None:
    found = need(calendar_of(outcome("2024-01-03", state="open", due=due, tally=Tally(1, 1))))
    assert bool(found.again) is is_asked
    assert found.stored == [days("2024-01-03")]
    assert found.left == 9 + is_asked


@pytest.mark.parametrize(
    ("due", "is_asked"),
    [(WALL, True), (WALL + 1, False), (WALL + LONGEST, False), (WALL + LONGEST + 1, True)],
)
@pytest.mark.parametrize("state", ["open", "late"])
def test_what_is_not_there_is_held_back_by_its_schedule(
    due: float, is_asked: bool, state: str
) -> None:
    late = outcome("2024-01-03", state=state, due=due, tally=Tally())
    found = need(calendar_of(late))
    assert bool(found.again) is is_asked
    assert bool(found.held) is (state == "late" and not is_asked)


@pytest.mark.parametrize(("wall", "waiting"), [("2024-01-06", 1), ("2024-01-07", 0)])
def test_a_run_waits_for_what_is_late_for_three_days(wall: str, waiting: int) -> None:
    moment = noon(wall)
    late = outcome("2024-01-03", state="late", due=moment + 60)
    found = need(calendar_of(late), wall=moment, endpoint=CUMULATED, by=cut(last="2024-01-08"))
    assert (len(found.held), found.waiting, found.left) == (1, waiting, 9)
    assert found.planned == 10


@pytest.mark.parametrize(
    ("empty", "holes"),
    [
        ((4, 5), [(4, 5)]),
        ((1, 2), [(1, 2)]),
        ((10,), []),  # no row is behind it
        ((1, 2, 4, 10), [(1, 2), (4, 4)]),
    ],
)
def test_an_empty_day_that_must_have_a_row_is_asked_for_again(
    empty: tuple[int, ...], holes: list[tuple[int, int]]
) -> None:
    came = [
        outcome(f"2024-01-{n:02}", empty=1) if n in empty else outcome(f"2024-01-{n:02}")
        for n in range(1, 11)
    ]
    for endpoint, found in ((CUMULATED, holes), (SUMMARY, [])):
        asked = need(calendar_of(*came), endpoint=endpoint, by=cut(7))
        assert sorted((each.begin.day, each.end.day) for each in asked.again) == found
        assert asked.left == len(found)


def test_of_the_empty_days_before_the_first_row_only_one_window_is_asked_for() -> None:
    early = outcome("2024-01-01", "2024-01-17", empty=(1 << 17) - 1)
    calendar = calendar_of(early, outcome("2024-01-18", "2024-01-31"))
    asked = days("2024-01-01", "2024-01-31")
    found = need(calendar, asked, cut(7), endpoint=CUMULATED)
    assert [each.days for each in found.again] == [days("2024-01-15", "2024-01-17")]
    never = outcome("2024-01-15", "2024-01-17", "never", empty=0b111)
    calendar.apply(never)
    assert need(calendar, asked, cut(7), endpoint=CUMULATED).again == []
    calendar.apply(outcome("2024-01-15", "2024-01-17"))
    found = need(calendar, asked, cut(7), endpoint=CUMULATED)
    assert [each.days for each in found.again] == [days("2024-01-08", "2024-01-14")]


def test_more_windows_can_be_left_than_the_grid_has() -> None:
    """What is missing is cut by what is stored."""
    found = need(calendar_of(outcome("2024-01-04")), days("2024-01-01", "2024-01-07"), cut(7))
    assert (found.planned, found.left) == (2, 2)


def test_of_recent_days_only_a_window_that_ends_yesterday_is_asked_for_again() -> None:
    calendar = calendar_of(
        outcome("2024-01-10", "2024-02-08", "open"), outcome("2024-02-09", state="open")
    )
    asked = days("2024-01-01", "2024-02-09")
    found = need(calendar, asked, cut(30, WindowKind.RECENT))
    assert [each.days for each in found.again] == [days("2024-02-09")]
    found = need(calendar, asked, cut(30))
    assert len(found.again) == 2


NEAR = st.integers(-20, 60).map(lambda n: day("2024-01-01") + timedelta(days=n))
STRETCHES = st.tuples(NEAR, st.integers(1, 12)).map(
    lambda drawn: (drawn[0], drawn[0] + timedelta(days=drawn[1] - 1))
)


@pytest.mark.thorough
@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(STRETCHES, st.sampled_from(["final", "open", "waiting", "failed"])), max_size=9
    ),
    STRETCHES,
    st.integers(1, 8),
    st.booleans(),
)
def test_a_new_window_never_overlaps_a_stored_one_and_no_missing_day_is_left(
    came: list[tuple[Days, str]], asked: Days, span: int, newest: bool
) -> None:
    calendar = calendar_of(
        *[Outcome(Window(A, "x", *place), state, Tally(1, 1)) for place, state in came]
    )
    by = cut(span)
    found = need(calendar, asked, by)
    new = list(by.windows(*asked, found.stored, newest=newest))
    covered = set[date]()
    for begin, end in new:
        these = {begin + timedelta(days=n) for n in range((end - begin).days + 1)}
        assert len(these) <= span
        assert not these & covered
        assert not list(calendar.runs(begin, end, STORED))
        covered |= these
    stored = {each for first, last in found.stored for each in all_days(first, last)}
    assert covered | stored == set(all_days(*asked))
    assert found.left == len(new) + len(found.again)
    again = {each for one in found.again for each in all_days(*one.days)}
    assert stored >= again & set(all_days(*asked))
    assert found.planned >= found.left


# the plan


async def no_send(*_: object) -> Response:
    raise AssertionError("a plan sends nothing")


Filling = Callable[[SqliteLedger], Awaitable[None]]


def plan_of(
    tmp_path: Path | None,
    *outcomes: Outcome,
    begin: str = "2024-02-05",
    end: str = "2024-02-09",
    appids: Sequence[str] = (A,),
    endpoints: Sequence[Endpoint] = (SUMMARY,),
    wall: float = WALL,
    fill: Filling | None = None,
    stored: Mapping[Key, Calendar] | None = None,
    caps: Mapping[str, int] | None = None,
    **options: Any,
) -> Plan:
    async def run() -> Plan:
        asked = replace(scope(day(begin), day(end), appids, endpoints), caps=caps or {})
        if tmp_path is None:
            return await build_plan(
                asked, engine_options(**options), None, no_send, wall, stored=stored
            )
        async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            await ledger.commit(outcomes, {})
            if fill is not None:
                await fill(ledger)
            return await build_plan(asked, engine_options(**options), ledger, no_send, wall)

    return asyncio.run(run())


def queues_of(plan: Plan) -> list[InterfaceQueue]:
    return [queue for account in plan.accounts for queue in account.queues]


def order_of(queue: InterfaceQueue, wall: float = WALL) -> list[str]:
    """The windows of a queue in the order in which it gives them; ``!`` is asked for again."""
    found = []
    queue.proven = True
    while (given_ := queue.take(0.0, wall)) is not None:
        begin, end = given_.window.begin, given_.window.end
        text = f"{begin:%d}" if begin == end else f"{begin:%d}-{end:%d}"
        found.append(text + ("!" if given_.former is not None else ""))
        queue.settled()
    return found


@pytest.mark.parametrize(
    ("came", "order", "given_"),
    [
        ({7: "final"}, "newest", ["09", "08", "06", "05"]),
        ({7: "final"}, "oldest", ["05", "06", "08", "09"]),
        # yesterday, then what is open, then the backfill
        ({6: "open", 7: "open"}, "newest", ["09", "08", "07!", "06!", "05"]),
        # a missing day goes before open windows that are all older
        ({5: "open", 7: "open"}, "newest", ["09", "08", "07!", "06", "05!"]),
        # by the days alone
        ({5: "open", 7: "open"}, "oldest", ["05!", "06", "07!", "08", "09"]),
    ],
)
def test_windows_come_in_the_order_that_is_asked_for(
    tmp_path: Path, came: dict[int, str], order: str, given_: list[str]
) -> None:
    outcomes = [outcome(f"2024-02-0{number}", state=state) for number, state in came.items()]
    plan = plan_of(tmp_path, *outcomes, order=order)
    [queue] = queues_of(plan)
    assert (plan.planned, plan.skipped) == (5, [*came.values()].count("final"))
    assert order_of(queue) == given_


def test_an_open_window_is_asked_for_exactly_as_it_was_with_its_tally(tmp_path: Path) -> None:
    came = outcome("2024-02-06", "2024-02-08", "open", name=USERS.name)
    [queue] = queues_of(plan_of(tmp_path, came, begin="2024-02-07", endpoints=[USERS]))
    queue.proven = True
    first, second = queue.take(0.0, WALL), queue.take(0.0, WALL)
    assert first is not None
    assert first.window.begin == day("2024-02-09")
    assert second is not None
    assert (second.window, second.replaces, second.former) == (came.window, True, Tally(1, 7))
    assert order_of(queue) == []


@pytest.mark.parametrize(
    ("first_day", "stored", "end", "given_"),
    [
        (
            "2024-02-01",
            [("2024-02-03", ""), ("2024-02-10", "")],
            "2024-02-12",
            ["01-02", "04-07", "08-09", "11-12"],
        ),
        (
            "2024-01-01",
            [("2024-01-10", "2024-01-16")],
            "2024-01-20",
            ["01-07", "08-09", "17-20"],
        ),
    ],
    ids=["between", "extended backwards"],
)
def test_a_missing_range_ends_where_something_is_stored(
    tmp_path: Path, first_day: str, stored: list[tuple[str, str]], end: str, given_: list[str]
) -> None:
    users = replace(USERS, first_day=day(first_day))  # a grid of seven days from there
    came = [outcome(*each, name=USERS.name) for each in stored]
    plan = plan_of(
        tmp_path, *came, begin=first_day, end=end, endpoints=[users], wall=noon("2024-03-01"),
        order="oldest",
    )  # fmt: skip
    assert order_of(queues_of(plan)[0]) == given_


def test_a_window_that_is_stored_with_all_its_days_is_held_back(tmp_path: Path) -> None:
    came = outcome("2024-02-06", state="open", due=WALL + 60)
    plan = plan_of(tmp_path, came)
    assert order_of(queues_of(plan)[0]) == ["09", "08", "07", "05"]
    assert (plan.planned, plan.skipped) == (5, 1)
    later = plan_of(tmp_path, wall=WALL + 61)
    assert "06!" in order_of(queues_of(later)[0])


def test_each_account_and_interface_has_a_queue_of_what_is_its_own(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        outcome("2024-02-05", "2024-02-09"),
        outcome("2024-02-06", "2024-02-09", appid=B, name=USERS.name),
        appids=[A, B],
        endpoints=[SUMMARY, replace(USERS, span=1)],
    )
    assert [account.appid for account in plan.accounts] == [A, B]
    found = {(t.appid, t.endpoint.name): len(order_of(t)) for t in queues_of(plan)}
    assert found == {
        (A, SUMMARY.name): 0, (A, USERS.name): 5, (B, SUMMARY.name): 5, (B, USERS.name): 1
    }  # fmt: skip
    assert (plan.planned, plan.skipped) == (20, 9)


def test_an_interface_that_has_no_days_in_the_range_has_no_queue(tmp_path: Path) -> None:
    later = replace(USERS, first_day=day("2024-02-10"))
    plan = plan_of(tmp_path, endpoints=[later, SUMMARY])
    assert [queue.endpoint.name for queue in queues_of(plan)] == [SUMMARY.name]


def test_each_interface_has_its_own_hour(tmp_path: Path) -> None:
    later = replace(USERS, settled_hour=14, span=1)
    plan = plan_of(tmp_path, endpoints=[SUMMARY, later])
    assert [order_of(queue)[0] for queue in queues_of(plan)] == ["09", "08"]


async def test_accounts_are_read_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.ledger.base.ACCOUNTS_AT_ONCE", 2)
    appids = [f"wx{n:016x}" for n in range(5)]
    asked: list[list[str]] = []

    class Noted(SqliteLedger):
        async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
            asked.append([*appids])
            return await super().calendars(appids)

    async with Noted(tmp_path / "ledger.sqlite") as ledger:
        of = scope(date(2024, 1, 1), date(2024, 1, 2), appids)
        listed = [each async for each in demands(of, ledger, WALL)]
    assert [appid for appid, _ in listed] == appids
    assert asked == [appids[:2], appids[2:4], appids[4:]]


async def test_what_remains_is_what_failed_what_waits_and_what_nobody_has_asked_for(
    tmp_path: Path,
) -> None:
    began = "2024-01-09T01:00:00.500Z"

    def left(first: str, last: str, state: str, due: float = 0.0, since: str = "") -> Outcome:
        window = Window(A, SUMMARY.name, *days(first, last))
        why = {"detail": "why", "code": 61500, "rid": "r-1", "fetched_at": since}
        return Outcome(window, state, due=due, **why)

    came = [
        outcome("2024-01-01"),
        left("2024-01-02", "2024-01-03", "failed", since=began),
        left("2024-01-07", "", "failed", since="2024-01-09T01:00:00.499Z"),
        left("2024-01-04", "", "waiting", WALL + 60),
        left("2024-01-05", "", "late"),
        left("2023-12-30", "2023-12-31", "failed"),
    ]
    came.insert(0, left("2024-01-06", "", "open", since=began)._replace(code=None))
    asked = scope(*days("2024-01-01", "2024-01-08"), endpoints=(SUMMARY,))
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.commit(came, {})
        found = await planner.remains(asked, ledger, WALL, 0.0, began, marks=False, apart={})
    assert found.missing == 1
    of, late = (A, SUMMARY.name), WALL + NOT_READY_AGAIN
    assert sorted(found.events, key=lambda each: each.begin) == [
        Failed(*of, *days("2024-01-02", "2024-01-03"), 2, "why", 61500, "r-1", new=True),
        Deferred(*of, *days("2024-01-04"), 1, WALL + 60, "why"),
        Deferred(*of, *days("2024-01-05"), 1, late, "why"),
        Failed(*of, *days("2024-01-07"), 1, "why", 61500, "r-1", new=False),
    ]


@pytest.mark.parametrize(
    ("code", "due", "fetched_at", "left"),
    [
        (None, 0.0, "2024-02-10T02:59:59Z", Deferred),  # a quota was used up before
        (None, WALL - 3599.5, "2024-02-10T02:59:59Z", Deferred),  # it was due when the run began
        (None, 0.0, "2024-02-10T03:00:00Z", None),  # it came in this run
        (None, WALL - 60, "2024-01-08T09:00:00Z", None),  # it became due since the run began
        (40125, 0.0, "2024-01-08T09:00:00Z", Failed),
        (40125, 0.0, "2024-02-10T03:00:01Z", Failed),  # it came, and was marked to come again
    ],
)
async def test_a_stored_window_remains_if_the_run_had_to_request_it_again_and_did_not(
    code: int | None, due: float, fetched_at: str, left: type | None, tmp_path: Path
) -> None:
    joined = datetime(2024, 2, 10, 3, 0, 0, 500_000, UTC).timestamp()
    window = Window(A, SUMMARY.name, *days("2024-01-02"))
    why = {"detail": "why", "code": code, "rid": "r-1", "fetched_at": fetched_at}
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.commit([Outcome(window, "open", due=due, **why)], {})
        asked = scope(*days("2024-01-02", "2024-01-02"), endpoints=(SUMMARY,))
        found = await planner.remains(asked, ledger, WALL, joined, "", marks=False, apart={})
    where = (A, SUMMARY.name, *days("2024-01-02"), 1)
    assert (
        found.events
        == {
            None: [],
            Failed: [Failed(*where, "why", 40125, "r-1")],
            Deferred: [Deferred(*where, due or WALL + NOT_READY_AGAIN, "why")],
        }[left]
    )


async def test_what_is_marked_remains_for_the_job_that_has_marked_it(tmp_path: Path) -> None:
    asked = scope(*days("2024-01-02", "2024-01-03"), endpoints=(SUMMARY,))
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.commit([outcome("2024-01-02"), outcome("2024-01-03")], {})
        await ledger.mark_refresh([(A, SUMMARY.name, *days("2024-01-03"))])
        found = [
            (await planner.remains(asked, ledger, WALL, WALL, "", marks=marks, apart={})).missing
            for marks in (False, True)
        ]
    assert found == [0, 1]


# figures that are not settled


@pytest.mark.parametrize(
    ("order", "left"), [("newest", ["08", "07", "06", "05"]), ("oldest", ["05", "06", "07", "08"])]
)
def test_what_cannot_be_asked_for_yet_is_in_no_queue(
    tmp_path: Path, order: str, left: list[str]
) -> None:
    early = at("2024-02-10", 7)
    plan = plan_of(tmp_path, wall=early, order=order)
    [queue] = queues_of(plan)
    assert order_of(queue, early) == left
    [(of, late)] = plan.unsettled
    assert of is queue
    assert (late.window, late.former) == (Window(A, SUMMARY.name, *days("2024-02-09")), None)
    assert (plan.planned, plan.skipped) == (5, 0)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_an_open_window_that_ends_yesterday_waits_for_the_hour_too(
    tmp_path: Path, order: str
) -> None:
    early = at("2024-02-10", 7)
    came = [outcome("2024-02-09", state="open"), outcome("2024-02-08", state="open")]
    plan = plan_of(tmp_path, *came, wall=early, order=order)
    [queue] = queues_of(plan)
    assert sorted(order_of(queue, early)) == ["05", "06", "07", "08!"]
    [(_, late)] = plan.unsettled
    assert (late.window.begin, late.former, late.replaces) == (day("2024-02-09"), (1, 7), True)


def test_of_an_interface_of_recent_days_only_those_up_to_yesterday_are_asked_for_again(
    tmp_path: Path,
) -> None:
    recent = replace(SUMMARY, cut=WindowKind.RECENT, span=1)
    came = [outcome("2024-02-08", state="open"), outcome("2024-02-09", state="open")]
    plan = plan_of(tmp_path, *came, begin="2024-02-08", endpoints=[recent])
    assert order_of(queues_of(plan)[0]) == ["09!"]


def test_after_the_hour_everything_is_in_the_queues(tmp_path: Path) -> None:
    assert plan_of(tmp_path, wall=at("2024-02-10", 8)).unsettled == []


def test_a_range_that_ends_before_yesterday_is_settled(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, end="2024-02-08", wall=at("2024-02-10", 7))
    assert plan.unsettled == []
    assert order_of(queues_of(plan)[0]) == ["08", "07", "06", "05"]


# what the ledger knows beside


async def spend(ledger: SqliteLedger) -> None:
    today, yesterday = day("2024-02-10"), day("2024-02-09")
    await ledger.commit(
        [], {}, [Spent(A, SUMMARY.name, today, 3), Spent(A, SUMMARY.name, yesterday, 4)]
    )


def test_a_budget_has_what_former_runs_of_this_day_have_left_of_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, appids=[A, B], fill=spend, daily_quota=8)
    one, other = [queue.budget for queue in queues_of(plan)]
    assert (one.left(WALL), other.left(WALL)) == (5, 8)
    assert one.limited


@pytest.mark.parametrize(("fill", "left"), [(spend, 10 - 3 - 4), (None, 10)])
def test_the_calls_of_the_day_before_count_if_the_clock_is_set_back_over_midnight(
    tmp_path: Path, fill: Filling | None, left: int
) -> None:
    [queue] = queues_of(plan_of(tmp_path, fill=fill, daily_quota=10))
    assert queue.budget.left(noon("2024-02-09")) == left


def test_without_a_ledger_what_is_new_replaces() -> None:
    [queue] = queues_of(plan_of(None))
    assert queue.windows.replaces


def test_with_a_ledger_what_is_new_replaces_nothing(tmp_path: Path) -> None:
    [queue] = queues_of(plan_of(tmp_path))
    assert not queue.windows.replaces
    assert not queue.budget.limited
    assert not queue.unasked


def test_without_a_ledger_what_stands_in_the_sinks_is_asked_for_again() -> None:
    stored = {(A, SUMMARY.name): calendar_of(outcome("2024-02-07", state="open"))}
    plan = plan_of(None, stored=stored)
    assert order_of(queues_of(plan)[0]) == ["09", "08", "07!", "06", "05"]
    assert (plan.planned, plan.skipped) == (5, 0)


def test_a_quota_that_was_spent_before_is_told_with_its_queue(tmp_path: Path) -> None:
    said = Exhausted(A, SUMMARY.name, WALL + 900, WALL - 60)

    async def note(ledger: SqliteLedger) -> None:
        await ledger.note_exhausted(said)
        await ledger.note_exhausted(Exhausted(B, SUMMARY.name, WALL - 1, WALL - 60))
        await ledger.note_exhausted(Exhausted("wx3", SUMMARY.name, WALL + 900, WALL - 60))

    plan = plan_of(tmp_path, appids=[A, B], fill=note)
    assert plan.exhausted == [(queues_of(plan)[0], said)]


def test_an_account_has_its_limiter_and_its_part_of_what_may_be_in_flight(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, appids=[A, B], caps={B: 3}, rate="7/s", burst=2, concurrency=9,
        account_concurrency=5, ask_quota=True,
    )  # fmt: skip
    one, other = plan.accounts
    assert one.limiter is not other.limiter
    assert (one.limiter.rate.requests, one.limiter.rate.period) == (7, 1.0)
    assert plan.share.slots == 5
    assert one.share is other.share is plan.share
    assert [account.token.appid for account in plan.accounts] == [A, B]
    assert (one.cap, other.cap) == (NEVER, 3)
    assert all(queue.unasked for queue in queues_of(plan))


def test_what_may_be_in_flight_is_divided_among_the_accounts() -> None:
    share = plan_of(None, concurrency=9, account_concurrency=5).share
    share.among(3)
    assert share.slots == 3


def test_without_a_cap_of_accounts_one_account_may_have_all() -> None:
    assert plan_of(None, concurrency=9).share.slots == 9


async def test_the_limiter_and_the_token_of_an_account_get_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_: list[Any] = []
    limiter, shared = planner.Limiter, planner.shared_token
    monkeypatch.setattr(planner, "Limiter", lambda *how: given_.append(how) or limiter(*how))
    monkeypatch.setattr(planner, "shared_token", lambda *how: given_.append(how) or shared(*how))
    store = MemoryStore()
    asked = replace(scope(*days("2024-02-05", "2024-02-09")), store=store)
    await build_plan(asked, engine_options(rate="7/s", burst=3), None, no_send, WALL, noon)
    how, token = sorted(given_, key=len)
    assert how == (Rate(7, 1.0), 3)
    assert (*token[:2], token[2].func, *token[3:]) == (A, asked.accounts[A], no_send, store, noon)


async def test_an_account_that_another_worker_held_just_now_waits_for_a_period_of_its_rate() -> (
    None
):
    asked, options = scope(*days("2024-02-05", "2024-02-09")), engine_options(rate="6/m")
    leases = {A: Lease(A, 7, idle=20.0)}
    plan = await build_plan(asked, options, None, no_send, WALL, leases=leases)
    assert plan.accounts[0].limiter.delay() == pytest.approx(40.0, abs=1.0)


@pytest.mark.parametrize(("refresh", "first"), [(False, "07"), (True, "08!")])
def test_an_open_window_that_is_not_due_is_asked_for_by_a_refresh(
    tmp_path: Path, refresh: bool, first: str
) -> None:
    held = outcome("2024-02-08", state="open", due=WALL + 0.5)
    plan = plan_of(tmp_path, held, end="2024-02-08", refresh=refresh)
    assert order_of(queues_of(plan)[0])[0] == first


def test_a_window_is_one_of_its_account_and_interface() -> None:
    [queue] = queues_of(plan_of(None))
    asked = queue.windows.take(0.0, 1)
    assert asked is not None
    assert asked.window == Window(A, SUMMARY.name, *days("2024-02-09"))
    assert queue.epoch == EPOCH


async def test_the_windows_of_a_claimed_account_have_the_epoch_of_its_lease() -> None:
    asked, leases = scope(*days("2024-02-05", "2024-02-09")), {A: Lease(A, 7)}
    plan = await build_plan(asked, engine_options(), None, no_send, WALL, leases=leases)
    assert [queue.epoch for queue in queues_of(plan)] == [7]


async def test_what_is_known_without_a_ledger_is_nothing() -> None:
    assert await used_quota(None, WALL, [A]) == ({}, {}, {})


async def test_the_calls_of_today_and_of_yesterday_are_known(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await spend(ledger)
        found = await used_quota(ledger, WALL, [A])
    key = A, SUMMARY.name
    assert (found.spent, found.before) == ({key: 3}, {key: 4})


def test_a_whole_range_that_is_done_leaves_no_window(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, outcome("2024-02-05", "2024-02-09"))
    assert (plan.planned, plan.skipped) == (5, 5)
    assert queues_of(plan)[0].finished


@pytest.mark.parametrize(
    "by",
    [cut(), cut(2), cut(7), cut(kind=WindowKind.WEEK)],
    ids=["day", "2 days", "7 days", "week"],
)
def test_numbers_without_lists_are_the_same_numbers(by: Grid) -> None:
    calendar = calendar_of(
        outcome("2024-01-02"),
        outcome("2024-01-04", "2024-01-05"),
        outcome("2024-01-07", state="open"),
        outcome("2024-01-08", state="failed"),
    )
    for days_ in (TEN_DAYS, days("2023-12-30", "2024-01-20"), days("2024-01-04", "2024-01-05")):
        listed = needed(SUMMARY, by, days_, calendar, WALL)
        counted = needed(SUMMARY, by, days_, calendar, WALL, counts_only=True)
        assert (counted.planned, counted.left) == (listed.planned, listed.left)
        assert counted.again == listed.again


# what failed before


def test_an_interface_fails_for_a_code_since_the_first_of_its_windows_that_do() -> None:
    since = "2024-02-0{}T00:00:00.000Z".format
    calendar = calendar_of(
        outcome("2024-01-01", state="failed", code=None, fetched_at=since(1)),
        outcome("2024-01-02", state="failed", code=40125, fetched_at=since(3)),
        outcome("2024-01-03", state="failed", code=40125, fetched_at=since(2)),
        outcome("2024-01-04", state="open", code=45009, fetched_at=since(1)),
        outcome("2024-01-05", state="waiting", code=61503, fetched_at=since(1)),
        outcome("2024-01-06", state="open", fetched_at=since(1)),
    )
    assert planner._failing(calendar) == {40125: since(2), None: since(1), 45009: ""}
    assert planner._failing(Calendar()) == {}


# days that lack something, and days that cannot be asked for any more

PORTRAIT = INTERFACES["getweanalysisappiduserportrait"]  # of 30, 7 or 1 days that end yesterday


async def test_days_of_recent_figures_that_no_run_asked_for_are_named_once(tmp_path: Path) -> None:
    asked = replace(
        scope(*days("2024-02-05", "2024-02-09"), endpoints=(PORTRAIT, SUMMARY)),
        last=day("2024-02-09"),
    )
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        (said,) = await planner.gone(asked, ledger, WALL)
        assert said == (
            f"{PORTRAIT.name}: 4 days from 2024-02-05 to 2024-02-08 can no longer be"
            " requested: the interface answers only for periods that end yesterday"
        )
        await ledger.register([(A, PORTRAIT.name, *days("2024-02-05", "2024-02-06"))])
        (said,) = await planner.gone(asked, ledger, WALL)
        assert said.startswith(f"{PORTRAIT.name}: 2 days from 2024-02-07 to 2024-02-08 can no")
        await ledger.register([(A, PORTRAIT.name, *days("2024-02-05", "2024-02-08"))])
        assert await planner.gone(asked, ledger, WALL) == []
        await ledger.register([(A, PORTRAIT.name, *days("2024-02-05", "2024-02-09"))])
        assert await planner.gone(asked, ledger, WALL) == []
        only = replace(asked, endpoints=(SUMMARY,))
        assert await planner.gone(only, ledger, WALL) == []


async def test_days_that_were_stored_without_their_row_are_late_at_the_end_of_a_run(
    tmp_path: Path,
) -> None:
    name = CUMULATED.name
    came = [
        outcome("2024-01-01", "2024-01-03", name=name),
        outcome("2024-01-04", "2024-01-05", name=name, empty=0b11),
        outcome("2024-01-06", "2024-01-09", name=name),
        outcome("2024-01-10", name=name, state="late", due=WALL + 60),
    ]
    asked = scope(*days("2024-01-01", "2024-01-10"), endpoints=(CUMULATED,))
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.commit(came, {})
        hole = Window(A, name, *days("2024-01-04", "2024-01-05"))
        assert await planner.late_in(asked, ledger, WALL) == [late(hole)]
        found = await planner.remains(asked, ledger, WALL, WALL, "", marks=False, apart={})
    assert found.events == [late(Window(A, name, *days("2024-01-10"))), late(hole)]
    assert found.missing == 0


async def test_what_is_not_due_is_asked_for_early_only_if_that_is_wanted(tmp_path: Path) -> None:
    asked = scope(*days("2024-01-10", "2024-01-10"))
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.commit([outcome("2024-01-10", state="open", due=WALL + 60)], {})
        for options, number in (({}, 0), ({"early": True}, 1)):
            async for _, (demand,) in demands(asked, ledger, WALL, **options):
                assert len(demand.need.again) == number


async def test_a_late_window_that_was_due_and_was_not_got_waits(tmp_path: Path) -> None:
    missed = outcome("2024-01-10", name=CUMULATED.name, state="late", due=WALL - 60, detail="why")
    asked = scope(*days("2024-01-10", "2024-01-10"), endpoints=(CUMULATED,))
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.commit([missed], {})
        found = await planner.remains(asked, ledger, WALL, WALL, "", marks=False, apart={})
    where = (A, CUMULATED.name, *days("2024-01-10"), 1)
    assert found.events == [Deferred(*where, WALL - 60, "why")]


@pytest.mark.parametrize(
    ("fetched_at", "tries", "before", "expected"),
    [("", 0, False, True), ("x", 0, False, False), ("x", 1, False, True), ("x", 0, True, True)],
)
def test_a_row_is_expected_behind_another_one_and_of_what_was_asked_for_again(
    fetched_at: str, tries: int, before: bool, expected: bool, tmp_path: Path
) -> None:
    name = CUMULATED.name
    came = [outcome("2024-02-07", name=name, state="late", fetched_at=fetched_at, tries=tries)]
    if before:
        came.append(outcome("2024-02-06", name=name))
    plan = plan_of(tmp_path, *came, begin="2024-02-06", endpoints=(CUMULATED,))
    attempts = list(iter(lambda: plan.accounts[0].queues[0].windows.take(0.0, 9), None))
    (again,) = [each for each in attempts if each.again is not None]
    assert (again.again.begin, again.expected) == (day("2024-02-07"), expected)


@pytest.mark.parametrize(("begin", "found"), [(1, True), (2, False), (3, False)])
def test_a_row_of_an_earlier_day_is_one_of_a_window_that_begins_before(
    begin: int, found: bool
) -> None:
    day = date(2024, 1, begin)
    window = OpenWindow(day, date(2024, 1, 9), "late", Tally(1, 1), fetched_at="2024-01-10")
    order = SimpleNamespace(calendar=Calendar(windows={day: window}))
    assert planner._Order._has_row_before(order, date(2024, 1, 2)) is found  # type: ignore[arg-type]
