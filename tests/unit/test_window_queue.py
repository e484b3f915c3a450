"""One account: what it does next, and why it waits."""

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from anyio import current_time

from harvester.base.dates import QUOTA_MARGIN, Days, next_quota_day
from harvester.engine.account_queue import AccountQueue, Job
from harvester.engine.limiter import Limiter, Rate
from harvester.engine.quota import NEVER, Budget
from harvester.engine.window_queue import (
    OUTSTANDING,
    QUOTA_AGAIN,
    RECHECK,
    Attempt,
    InterfaceQueue,
    StopReason,
    WindowQueue,
)
from harvester.model import Request, Response, Send, Tally, Token, Window
from harvester.tokens.shared import SharedToken
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.response import Quota
from tests.support import days as all_days
from tests.support import virtual

NOW = 1_700_000_000.0
FIRST = date(2020, 1, 1)
FAST = Rate(1000, 1.0)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def days(*numbers: int) -> Iterator[Days]:
    return iter([(day(number), day(number)) for number in numbers])


def attempt(number: int, failures: int = 0) -> Attempt:
    return Attempt(Window("wx1", "getarticlesummary", day(number), day(number)), failures)


ENDPOINT = INTERFACES["getarticlesummary"]


def windows(new: Iterator[Days]) -> WindowQueue:
    return WindowQueue("wx1", ENDPOINT.name, new)


def queue(*numbers: int, quota: int | None = None, spent: int = 0) -> InterfaceQueue:
    made = InterfaceQueue(ENDPOINT, windows(days(*numbers)), Budget(quota, spent, NOW))
    made.proven = True
    return made


class Provider:
    async def fetch(self, send: Send) -> Token:
        return Token("t", 1000.0)


async def no_sending(request: Request) -> Response:
    raise AssertionError("nothing is sent here")


def account(*queues: InterfaceQueue, rate: Rate = FAST, burst: int = 1000) -> AccountQueue:
    token = SharedToken("wx1", Provider(), no_sending)
    return AccountQueue(token, Limiter(rate, burst), [*queues])


async def with_token(made: AccountQueue) -> AccountQueue:
    await made.token.get()
    return made


def taken(job: Job | None) -> int | None:
    """The day of the window that was given out, as a number."""
    return None if job is None or job.attempt is None else (job.attempt.window.begin - FIRST).days


# budgets


def test_without_a_quota_a_budget_never_ends() -> None:
    budget = Budget(None, 10**9, NOW)
    budget.spend()
    assert budget.left(NOW) == NEVER


def test_a_budget_is_what_is_left_of_the_day() -> None:
    budget = Budget(10, 7, NOW)
    budget.spend()
    assert budget.left(NOW) == 2


def test_a_budget_begins_anew_at_midnight_in_china() -> None:
    budget = Budget(10, 10, NOW)
    begins = next_quota_day(NOW)
    closes = begins + 86_400 - QUOTA_MARGIN - 1
    assert [budget.left(at) for at in (begins - 1, begins, closes)] == [0, 10, 10]
    budget.spend()
    # Nothing is left in the first minute of a day, whose calls may count as either day's.
    moments = (closes, closes + 1, begins + 86_399, begins + 86_400)
    assert [budget.left(at) for at in moments] == [9, 0, 0, 10]


@pytest.mark.parametrize(("quota", "limited"), [(None, False), (10**9, True), (1, True)])
def test_only_a_quota_limits_a_budget(quota: int | None, limited: bool) -> None:
    assert Budget(quota, 0, NOW).limited is limited


# one interface


def test_a_queue_gives_out_its_windows_in_order() -> None:
    made = queue(0, 1, 2)
    assert [made.take(0.0, NOW) for _ in range(4)] == [attempt(0), attempt(1), attempt(2), None]


def test_a_queue_counts_what_it_gives_out() -> None:
    made = queue(0, 1, quota=5)
    made.take(0.0, NOW)
    budget = made.budget
    assert (made.in_flight, budget.sent, budget.unbooked, budget.left(NOW)) == (1, 1, 1, 4)


def test_a_window_that_was_put_back_is_not_counted_and_comes_again() -> None:
    made = queue(0, quota=5)
    taken_ = made.take(0.0, NOW)
    assert taken_ is not None
    made.put_back(taken_, 3.0)
    budget = made.budget
    assert (made.in_flight, budget.sent, budget.unbooked, budget.left(NOW)) == (0, 0, 0, 5)
    assert made.take(3.0, NOW) == taken_


def test_a_spent_quota_gets_one_window_an_hour_until_one_is_answered() -> None:
    made = queue(*range(9))
    for number in (0, 1):
        assert made.take(0.0, NOW) == attempt(number)
    assert made.refused(1.0)
    assert not made.refused(1.1)  # the other one, that was in flight
    made.settled()
    made.settled()
    for hour in (1, 2):
        due = NOW + hour * QUOTA_AGAIN
        made.park(due)
        assert [made.take(5.0, due + more) for more in (-1, 0)] == [None, attempt(hour + 1)]
        assert made.take(5.0, due) is None  # before that one is answered
        assert made.trying
        assert made.refused(5.0)
        made.settled()
        assert not made.tried()
    made.prove(4.9)  # it was sent before the refusal
    assert not made.tried()
    made.prove(5.0)
    assert made.tried()
    assert [made.take(5.0, due) for _ in range(2)] == [attempt(4), attempt(5)]


def test_while_wechat_is_asked_for_the_quota_no_window_is_requested() -> None:
    made = queue(0, 1, 2)
    made.ask()
    assert (made.unasked, made.take(0.0, NOW), made.next_at(0.0, NOW)) == (False, None, NEVER)
    made.unask()
    assert (made.unasked, made.take(0.0, NOW)) == (True, attempt(0))
    made.ask()
    made.asked(None, NOW)
    assert (made.unasked, made.take(0.0, NOW)) == (False, attempt(1))
    made.asked(Quota(9, 0), NOW)
    assert made.take(0.0, NOW) is None


def test_equal_refusals_are_counted_until_another_one_or_an_answer() -> None:
    made = queue()
    assert [made.window_refused(what) for what in (1, 1, 2, 2, 2)] == [1, 2, 1, 2, 3]
    made.accepted()
    assert made.window_refused(2) == 1


def test_a_queue_is_finished_once_nothing_is_left_and_nothing_under_way() -> None:
    made = queue(0)
    assert (bool(made.windows), made.finished) == (True, False)
    made.take(0.0, NOW)
    assert (bool(made.windows), made.finished) == (False, False)
    made.settled()
    assert (bool(made.windows), made.finished) == (False, True)


def test_a_window_that_is_due_again_goes_before_a_new_one() -> None:
    made = queue(0, 1)
    made.again(attempt(9, 1), 5.0)
    assert [made.take(at, NOW) for at in (4.9, 5.0, 5.0)] == [attempt(0), attempt(9, 1), attempt(1)]


def test_windows_to_be_tried_again_come_by_their_time_and_then_their_turn() -> None:
    made = queue()
    for number, at in ((3, 9.0), (1, 5.0), (2, 5.0)):
        made.again(attempt(number), at)
    assert [made.take(10.0, NOW) for _ in range(4)] == [attempt(1), attempt(2), attempt(3), None]


def test_a_queue_tells_when_it_has_something_to_give() -> None:
    made = queue(0)
    assert made.next_at(3.0, NOW) == 3.0
    made.take(3.0, NOW)
    assert made.next_at(3.0, NOW) == NEVER
    made.again(attempt(0, 1), 7.5)
    assert made.next_at(3.0, NOW) == 7.5


def test_without_budget_a_queue_gives_nothing_until_midnight() -> None:
    made = queue(0, quota=5, spent=5)
    assert (made.take(0.0, NOW), made.next_at(0.0, NOW)) == (None, RECHECK)
    midnight = next_quota_day(NOW)
    assert made.next_at(0.0, midnight - 1) == 1.0
    used_up = [made.budget.is_used_up(at) for at in (NOW, midnight - 1, midnight)]
    assert used_up == [True, True, False]
    assert made.take(0.0, midnight) == attempt(0)


def test_without_a_quota_a_queue_is_never_at_its_budget() -> None:
    made = queue(0, spent=10**9)
    assert not made.budget.is_used_up(NOW)
    assert made.take(0.0, NOW) == attempt(0)


def test_a_parked_queue_gives_nothing_and_is_looked_at_now_and_then() -> None:
    made = queue(0)
    made.park(NOW + 100)
    assert made.take(0.0, NOW) is None
    assert [made.next_at(0.0, NOW + at) for at in (0, 90, 100)] == [RECHECK, 10.0, 0.0]
    assert made.take(0.0, NOW + 100) == attempt(0)


def test_a_parked_queue_without_work_is_not_waited_for() -> None:
    made = queue()
    made.park(NOW + 100)
    assert made.next_at(0.0, NOW) == NEVER


def test_parking_again_never_shortens_it() -> None:
    made = queue(0)
    news = [made.park(NOW + at) for at in (100, 50, 100, 101)]
    assert (news, made.parked_until) == ([True, False, False, True], NOW + 101)


def test_windows_that_are_under_way_or_wait_are_bounded() -> None:
    made = queue(*range(OUTSTANDING + 10))
    for number in range(OUTSTANDING):
        assert made.take(0.0, NOW) == attempt(number)
    assert (made.take(0.0, NOW), made.next_at(0.0, NOW)) == (None, NEVER)
    made.settled()
    made.again(attempt(0, 1), 60.0)
    assert (made.take(0.0, NOW), made.next_at(0.0, NOW)) == (None, 60.0)
    made.settled()
    assert made.take(0.0, NOW) == attempt(OUTSTANDING)


def test_windows_are_planned_no_further_than_the_next_one() -> None:
    made: list[int] = []

    def planned() -> Iterator[Days]:
        for number in range(100):
            made.append(number)
            yield day(number), day(number)

    windows(planned()).take(0.0, OUTSTANDING)
    assert made == [0, 1]


def test_ending_a_queue_yields_all_that_is_left() -> None:
    made = queue(0, 1, 2, 3)
    made.take(0.0, NOW)
    made.again(attempt(8), 9.0)
    made.again(attempt(7), 5.0)
    reason = StopReason(None, "offline")
    assert list(made.stop(reason)) == list(days(7, 8, 1, 2, 3))
    assert (made.stopped, bool(made.windows), made.finished) == (reason, False, False)


def test_a_queue_that_has_ended_yields_nothing_more() -> None:
    made = queue(0, 1)
    assert list(made.stop(StopReason(None, "a"))) == list(days(0, 1))
    assert list(made.stop(StopReason(None, "b"))) == []


def test_a_queue_shows_its_state() -> None:
    made, shown = queue(0, 1), "<InterfaceQueue wx1 getarticlesummary: "
    made.take(0.0, NOW)
    assert repr(made) == f"{shown}open, 1 in flight, 0 to be tried again>"
    made.park(NOW + 100)
    made.again(attempt(0), 1.0)
    assert repr(made) == f"{shown}parked, 1 in flight, 1 to be tried again>"
    list(made.stop(StopReason(None, "x")))
    assert repr(made) == f"{shown}stopped, 1 in flight, 0 to be tried again>"


# accounts


@virtual()
async def test_an_account_gets_a_token_before_its_first_window() -> None:
    made = account(queue(0))
    assert [made.take(0.0, NOW), made.take(0.0, NOW)] == [Job(made, None, None), None]
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
    assert made.take(50.0, NOW) == Job(made, None, None)
    assert [made.take(49.0, NOW), made.next_at(49.0, NOW)] == [None, NEVER]


@virtual()
async def test_a_token_that_failed_is_tried_again_at_its_time() -> None:
    made = account(queue(0))
    made.renewed(5.0)
    assert [made.next_at(1.0, NOW), made.take(1.0, NOW)] == [5.0, None]
    assert made.take(5.0, NOW) == Job(made, None, None)


@virtual()
async def test_windows_go_on_with_the_old_token_while_a_new_one_is_fetched() -> None:
    made = await with_token(account(queue(0, 1)))
    await asyncio.sleep(800.0 - current_time())
    assert made.take(current_time(), NOW) == Job(made, None, None)
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
    made.single_days(whole._replace(replaces=True, former=Tally(1, 1), failures=2), 0.0)
    assert made.take_split() == 6
    given = [*iter(lambda: made.take(0.0, 9), None)]
    assert [each.days for each in given] == [(d, d) for week in weeks for d in all_days(*week)]
    assert [each.replaces for each in given] == [True] * 7 + [False] * 7
    assert {each.former for each in given} == {None}
    assert (made.take_split(), made.take_split()) == (6, 0)
