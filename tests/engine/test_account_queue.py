"""One account: what it does next, and why it waits."""

import asyncio
from datetime import date

from anyio import current_time

from harvester.engine.account_queue import AccountQueue, WorkItem
from harvester.engine.limiter import Limiter, Rate
from harvester.engine.quota import NEVER
from harvester.engine.window_queue import InterfaceQueue
from harvester.ledger.coverage import OpenWindow
from harvester.model import Tally
from harvester.tokens.shared import SharedToken
from tests.builders import Lasting, no_sending
from tests.engine.test_window_queue import FIRST, NOW, attempt, queue, windows
from tests.support import days as all_days
from tests.support import virtual

FAST = Rate(1000, 1.0)


def account(*queues: InterfaceQueue, rate: Rate = FAST, burst: int = 1000) -> AccountQueue:
    token = SharedToken("wx1", Lasting(1000.0), no_sending)
    return AccountQueue(token, Limiter(rate, burst), [*queues])


async def with_token(made: AccountQueue) -> AccountQueue:
    await made.token.get()
    return made


def taken(job: WorkItem | None) -> int | None:
    """The day of the window that was given out, as a number."""
    return None if job is None or job.attempt is None else (job.attempt.window.begin - FIRST).days


@virtual()
async def test_an_account_gets_a_token_before_its_first_window() -> None:
    made = account(queue(0))
    assert [made.take(0.0, NOW), made.take(0.0, NOW)] == [WorkItem(made, None, None), None]
    assert made.next_at(0.0, NOW) == NEVER
    await made.token.get()
    made.renewed()
    assert taken(made.take(0.0, NOW)) == 0


@virtual()
async def test_an_account_without_work_gets_no_token() -> None:
    idle = account(queue())
    assert [idle.take(0.0, NOW), idle.next_at(0.0, NOW), idle.finished] == [None, NEVER, True]


@virtual()
async def test_an_account_whose_windows_must_wait_gets_no_token_yet() -> None:
    waiting = queue()
    waiting.again(attempt(0), 50.0)
    made = account(waiting)
    assert made.take(50.0, NOW) == WorkItem(made, None, None)
    assert [made.take(49.0, NOW), made.next_at(49.0, NOW)] == [None, NEVER]


@virtual()
async def test_a_token_that_failed_is_tried_again_at_its_time() -> None:
    made = account(queue(0))
    made.renewed(5.0)
    assert [made.next_at(1.0, NOW), made.take(1.0, NOW)] == [5.0, None]
    assert made.take(5.0, NOW) == WorkItem(made, None, None)


@virtual()
async def test_windows_go_on_with_the_old_token_while_a_new_one_is_fetched() -> None:
    made = await with_token(account(queue(0, 1)))
    await asyncio.sleep(800.0 - current_time())
    assert made.take(current_time(), NOW) == WorkItem(made, None, None)
    assert taken(made.take(current_time(), NOW)) == 0


@virtual()
async def test_the_interfaces_of_an_account_take_turns() -> None:
    made = await with_token(account(queue(0, 1, 2), queue(10, 11), queue()))
    assert [taken(made.take(0.0, NOW)) for _ in range(6)] == [10, 0, 11, 1, 2, None]


@virtual()
async def test_an_account_gives_nothing_that_could_not_leave_at_once() -> None:
    made = await with_token(account(queue(0, 1), rate=Rate(1, 1.0), burst=1))
    assert taken(made.take(current_time(), NOW)) == 0
    now = current_time()
    assert made.take(now, NOW) is None
    assert 1.0 < made.next_at(now, NOW) - now < 1.02
    await asyncio.sleep(1.02 - now)
    assert taken(made.take(current_time(), NOW)) == 1


@virtual()
async def test_a_window_counts_as_gone_when_it_is_given_and_a_token_when_it_leaves() -> None:
    made, shown = account(queue(0)), list[str]()
    for _ in range(3):  # a token, and nothing before it has come
        made.take(current_time(), NOW)
        shown.append(repr(made.limiter))
    await made.token.get()
    made.renewed()
    for _ in range(2):  # a window, and there is no other
        made.take(current_time(), NOW)
        shown.append(repr(made.limiter))
    assert shown == [f"<Limiter 1000/s, departures known: {n}>" for n in (0, 0, 0, 1, 1)]


@virtual()
async def test_a_paused_account_gives_neither_a_window_nor_a_token() -> None:
    made = account(queue(0))
    made.limiter.pause(20.0)
    assert made.take(current_time(), NOW) is None
    assert round(made.next_at(current_time(), NOW), 3) == 20.0


@virtual()
async def test_an_account_is_finished_when_all_its_queues_are_and_no_token_is_fetched() -> None:
    one, other = queue(0), queue()
    made = await with_token(account(one, other))
    assert not made.finished
    made.take(current_time(), NOW)
    assert not made.finished
    one.settled()
    assert not made.finished
    made.settled()
    made._renewing = True
    assert not made.finished
    made.renewed()
    assert made.finished


@virtual()
async def test_an_account_says_what_it_waits_for() -> None:
    made = account(queue(0))
    made._renewing = True
    assert made.reason(0.0, NOW) == "wx1 waits for its access token"
    made.renewed()
    await made.token.get()
    made.take(current_time(), NOW)
    assert made.reason(0.0, NOW) == "wx1 waits for 1 answers"
    made.queues[0].settled()
    made.queues[0].again(attempt(0), 12.0)
    made.why = "WeChat is busy"
    assert made.reason(0.0, NOW) == "wx1 waits, next try in 12 s: WeChat is busy"


@virtual()
async def test_an_account_shows_its_state() -> None:
    made = await with_token(account(queue(0)))
    made.take(current_time(), NOW)
    assert repr(made) == (
        "<AccountQueue wx1: open, 1 in flight, <SharedToken of wx1: fresh, 1 fetched>>"
    )


def test_a_window_that_is_too_long_comes_in_days_and_so_does_every_other() -> None:
    weeks = [(date(2024, 1, 8), date(2024, 1, 14)), (date(2024, 1, 1), date(2024, 1, 7))]
    made = windows(iter(weeks))
    whole = made.take(0.0, 9)
    assert whole is not None
    stored = OpenWindow(*whole.days, "open", Tally(1, 1))
    made.single_days(whole._replace(replaces=True, again=stored, failures=2), 0.0)
    assert made.take_split() == 6
    given = [*iter(lambda: made.take(0.0, 9), None)]
    assert [each.days for each in given] == [(d, d) for week in weeks for d in all_days(*week)]
    assert [each.replaces for each in given] == [True] * 7 + [False] * 7
    assert {each.again for each in given} == {None}
    assert (made.take_split(), made.take_split()) == (6, 0)


def test_what_is_known_of_days_without_a_record_is_known_of_each_of_them() -> None:
    week = (date(2024, 1, 8), date(2024, 1, 14))
    made = windows(iter([week]))
    whole = made.take(0.0, 9)
    assert whole is not None
    hole = OpenWindow(*week, "late", tries=2)
    made.single_days(whole._replace(again=hole), 0.0)
    given = [*iter(lambda: made.take(0.0, 9), None)]
    assert [each.again for each in given] == [
        hole._replace(begin=day, end=day) for day in all_days(*week)
    ]
