"""The windows of one interface: in which order they are given out, and when none is."""

from collections.abc import Iterator
from datetime import date, timedelta

from harvester.base.dates import Days, next_quota_day
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
from harvester.model import Window
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.response import Quota

NOW = 1_700_000_000.0
FIRST = date(2020, 1, 1)


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
