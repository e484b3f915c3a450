"""How fast one account may ask, to the request and to the second."""

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from anyio import current_time
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.engine.limiter import CATCH_UP, Limiter, Rate
from harvester.errors import UsageError
from harvester.testing import VirtualTimeLoop, run_virtual
from tests.support import virtual

TEN = Rate(10, 1.0)
PROPERTY = settings(max_examples=60)


def departures_of(
    rate: Rate, burst: int, arrivals: Sequence[float], pauses: Sequence[tuple[float, float]] = ()
) -> list[float]:
    """When requests left that arrived so many seconds after one another."""

    async def main(loop: VirtualTimeLoop) -> list[float]:
        limiter = Limiter(rate, burst)
        left: list[float] = []

        async def send() -> None:
            await limiter.acquire()
            left.append(current_time())

        async def arrive() -> None:
            async with asyncio.TaskGroup() as group:
                for gap in arrivals:
                    if gap:
                        await asyncio.sleep(gap)
                    group.create_task(send())

        for at, seconds in pauses:
            loop.call_at(at, limiter.pause, seconds)
        await arrive()
        return left

    return run_virtual(main)


def most_in_any_period(left: Sequence[float], period: float) -> int:
    """The most departures in any period, its first and its last moment included."""
    most = start = 0
    for end, at in enumerate(left):
        while at - left[start] > period:
            start += 1
        most = max(most, end - start + 1)
    return most


# rates


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("10/s", (10, 1.0)),
        ("600/min", (600, 60.0)),
        (" 600 / MINUTE ", (600, 60.0)),
        ("5/m", (5, 60.0)),
        ("1/h", (1, 3600.0)),
        ("100/hour", (100, 3600.0)),
        ("10/sec", (10, 1.0)),
        ("2.5/s", (5, 2.0)),
        ("1.5/s", (3, 2.0)),
        ("0.5/s", (1, 2.0)),
        ("0.5/min", (1, 120.0)),
        (Rate(7, 30.0), (7, 30.0)),
        (Rate(0.5, 30.0), (1, 60.0)),  # type: ignore[arg-type]
        (Rate(2.5, 30.0), (5, 60.0)),  # type: ignore[arg-type]
        ("0.25/h", (1, 14400.0)),
    ],
)
def test_a_rate_is_read_from_what_people_write(given: object, rate: tuple[int, float]) -> None:
    assert Rate.parse(given) == rate


@pytest.mark.parametrize(
    "given",
    [
        "", "fast", "10/", "/s", "10/day", "-5/s", "1e3/s", "10/s/s", None, True, [10], b"1",
        # a number without a unit: 300 may be meant a minute or a second
        "300", 300, 2.5, "/min", "300 min", 0, -1, float("nan"), 10**400,
        # a rate lies above zero and below infinity
        "0/s", "9" * 400 + "/s", "1000000000000/s", Rate(0, 1.0),
        Rate(1, 0.0), Rate(1, float("inf")), Rate(1, float("nan")), Rate(-1, -1.0),
        Rate(float("inf"), 1.0),
    ],
)  # fmt: skip
def test_anything_else_is_not_a_rate(given: object) -> None:
    with pytest.raises(UsageError, match=r"^invalid rate .*: expected a number above 0 with"):
        Rate.parse(given)


@pytest.mark.parametrize("given", [0.0001, 0.0005, 0.0007, 0.3])
def test_a_slow_rate_is_never_faster_than_asked(given: float) -> None:
    assert Rate.parse(f"{given:.4f}/s") == (1, 1 / given)


@pytest.mark.parametrize(
    ("given", "written"),
    [("10/s", "10/s"), ("600/min", "600/min"), ("1/h", "1/h"), ("0.5/s", "1/2 s")],
)
def test_a_rate_is_written_as_it_is_read_and_an_odd_period_in_seconds(
    given: object, written: str
) -> None:
    assert str(Rate.parse(given)) == written


def test_a_rate_tells_how_many_a_second() -> None:
    assert Rate.parse("300/min").per_second == 5.0


@pytest.mark.parametrize("burst", [0, -1, 1.5, True])
def test_a_burst_is_a_whole_number_of_at_least_1(burst: int) -> None:
    with pytest.raises(UsageError, match=r"^burst: "):
        Limiter(TEN, burst)


@virtual()
async def test_a_limiter_shows_its_rate_and_what_left() -> None:
    limiter = Limiter(TEN)
    await limiter.acquire()
    assert repr(limiter) == "<Limiter 10/s, departures known: 1>"


@virtual()
async def test_what_left_a_period_ago_counts_no_more() -> None:
    limiter = Limiter(Rate(2, 1.0), 2)
    limiter.depart(0.0)
    limiter.depart(0.0)
    await asyncio.sleep(2.0)  # the bucket has room again
    assert [limiter.ready(at) for at in (1.007, 1.0081)] == [False, True]


@virtual()
async def test_a_limiter_forgets_the_departures_of_a_period_that_is_over() -> None:
    limiter = Limiter(Rate(2, 1.0), 2)
    for known in (1, 2):
        await limiter.acquire()
        assert repr(limiter) == f"<Limiter 2/s, departures known: {known}>"
    await asyncio.sleep(2.0)
    await limiter.acquire()
    assert repr(limiter) == "<Limiter 2/s, departures known: 1>"


# the promise

RATES = st.tuples(st.integers(1, 12), st.sampled_from([1.0, 2.0, 60.0])).map(lambda r: Rate(*r))
GAPS = st.sampled_from([0.0, 0.0, 0.0, 1e-7, 0.003, 0.05, 0.5, 1.0, 1.9, 61.0])
PAUSES = st.lists(st.tuples(st.floats(0, 70), st.sampled_from([0.0, 0.01, 1.0, 40.0])), max_size=3)


@PROPERTY
@given(RATES, st.integers(1, 15), st.lists(GAPS, max_size=50), PAUSES)
def test_in_no_period_do_more_than_the_rate_leave(
    rate: Rate, burst: int, arrivals: list[float], pauses: list[tuple[float, float]]
) -> None:
    left = departures_of(rate, burst, arrivals, pauses)
    assert len(left) == len(arrivals)
    assert left == sorted(left)
    assert most_in_any_period(left, rate.period) <= rate.requests


@PROPERTY
@given(RATES, st.integers(1, 15), st.lists(GAPS, max_size=40), PAUSES)
def test_nothing_leaves_during_a_pause(
    rate: Rate, burst: int, arrivals: list[float], pauses: list[tuple[float, float]]
) -> None:
    left = departures_of(rate, burst, arrivals, pauses)
    for begin, seconds in pauses:
        assert [at for at in left if begin + 1e-5 < at < begin + seconds] == []


@pytest.mark.parametrize("text", ["10/s", "100/s", "600/min", "1/s"])
@pytest.mark.parametrize("burst", [1, 5])
@virtual()
async def test_in_steady_state_99_percent_of_the_rate_are_used(text: str, burst: int) -> None:
    rate = Rate.parse(text)
    periods = 3 if rate.requests > 50 else 20
    limiter = Limiter(rate, burst)
    left: list[float] = []

    async def work() -> None:
        while current_time() < rate.period * (periods + 1):
            await limiter.acquire()
            left.append(current_time())

    await asyncio.gather(*[work() for _ in range(4)])
    begin, end = left[rate.requests], left[rate.requests * periods]
    assert 0.99 <= (periods - 1) * rate.period / (end - begin) <= 1.0
    assert most_in_any_period(left, rate.period) <= rate.requests


@pytest.mark.parametrize("text", ["10/s", "100/s"])
@virtual()
async def test_timers_that_fire_late_do_not_cost_the_rate(text: str) -> None:
    rate = Rate.parse(text)
    limiter = Limiter(rate)
    left = 0
    while current_time() < 10.0:
        await limiter.acquire()
        left += 1
        await asyncio.sleep(0.8 / rate.requests)
        await asyncio.sleep(limiter.delay() + 0.002)
    assert left >= 0.98 * 10 * rate.requests


def test_with_a_burst_of_1_they_leave_one_after_the_other() -> None:
    left = departures_of(TEN, 1, [0.0] * 20)
    assert all(0.08 < after - before < 0.13 for before, after in pairwise(left))


def test_the_second_one_may_leave_as_early_as_lateness_is_made_good() -> None:
    left = departures_of(TEN, 1, [0.0] * 2)
    assert left[1] - left[0] == pytest.approx((1 - 10 * CATCH_UP) * 1.008 / 10, abs=1e-4)


@virtual()
async def test_unless_told_otherwise_one_leaves_at_once() -> None:
    limiter = Limiter(TEN)
    first = limiter.ready(0.0)
    limiter.depart(0.0)
    assert [first, limiter.ready(0.0)] == [True, False]


def test_the_gate_of_a_long_period_is_wider_by_a_share_of_it() -> None:
    left = departures_of(Rate(1, 60.0), 1, [0.0] * 2)
    assert 60.24 <= left[1] - left[0] < 60.25


def test_one_an_hour_leaves_once_an_hour() -> None:
    left = departures_of(Rate.parse("1/h"), 1, [0.0] * 3)
    assert [3600 < at - 3600 * n < 3700 for n, at in enumerate(left[1:])] == [True, True]


@pytest.mark.parametrize(
    ("rate", "burst", "arrivals", "first", "last", "gap"),
    [
        (TEN, 5, [0.0] * 20, 0, 4, 0.05),
        (Rate(3, 1.0), 100, [0.0] * 4, 0, 2, 1.0),
        (TEN, 2, [0.0, 100.0, 0.0, 0.0], 1, 2, 0.05),
    ],
    ids=["so many", "never more than the rate", "after a rest"],
)
def test_a_burst_leaves_at_once_and_no_more(
    rate: Rate, burst: int, arrivals: list[float], first: int, last: int, gap: float
) -> None:
    left = departures_of(rate, burst, arrivals)
    assert left[last] - left[first] < 0.01
    assert left[last + 1] - left[last] > gap


# the pause


def test_a_pause_holds_those_who_already_wait() -> None:
    left = departures_of(TEN, 1, [0.0] * 5, [(0.15, 30.0)])
    assert len([at for at in left if at < 0.16]) == 2
    assert [at for at in left if 0.16 <= at < 30.15] == []


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    left = departures_of(TEN, 1, [0.5], [(0.0, 30.0), (0.1, 1.0)])
    assert left[0] >= 30.0


@virtual()
async def test_a_pause_says_whether_it_is_the_first_one() -> None:
    limiter = Limiter(TEN)
    assert [limiter.pause(each) for each in (5.0, 1.0, 9.0)] == [True, False, False]
    await asyncio.sleep(9.5)
    assert limiter.pause(1.0)


@virtual()
async def test_a_pause_that_is_over_is_over() -> None:
    limiter, end = Limiter(TEN), current_time() + 5.0
    assert [limiter.pause(each) for each in (0.0, 0.0, 5.0)] == [True, True, True]
    assert [limiter.ready(at) for at in (end - 0.001, end)] == [False, True]
    await asyncio.sleep(5.5)
    assert limiter.pause(1.0)


# slower, and faster again


def test_who_is_told_to_slow_down_asks_half_as_often_each_time_down_to_a_sixty_fourth() -> None:
    limiter = Limiter(TEN)
    assert limiter.speed == 1
    told = [limiter.slow_down(0.0) for _ in range(7)]
    assert told == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 64]
    assert limiter.speed == 1 / 64


@virtual()
async def test_after_each_minute_it_asks_a_quarter_more_often_until_it_has_its_rate_again() -> None:
    limiter = Limiter(TEN)
    limiter.slow_down(100.0)
    speeds = []
    for now in (100.0, 159.9, 160.0, 219.9, 220.0, 280.0, 340.0, 1e6):
        limiter.ready(now)
        speeds.append(limiter.speed)
    assert speeds == [0.5, 0.5, 0.625, 0.625, 0.78125, 0.9765625, 1.0, 1.0]


@virtual()
async def test_after_a_long_rest_it_has_its_rate_again_at_once() -> None:
    limiter = Limiter(TEN)
    limiter.slow_down(0.0)
    await asyncio.sleep(3600.0)
    assert [limiter.delay(), limiter.speed] == [0.0, 1.0]


@virtual()
async def test_who_was_slowed_waits_between_two_as_its_share_of_the_rate_says() -> None:
    limiter = Limiter(TEN, 9)
    limiter.slow_down(0.0)
    first = limiter.ready(0.0)
    limiter.depart(0.0)
    apart = 1.008 / 10 / 0.5
    told = limiter.delay() + current_time()
    assert told == pytest.approx(apart)
    assert [first, limiter.ready(apart - 1e-6), limiter.ready(apart)] == [True, False, True]


@virtual()
async def test_a_slowed_account_leaves_so_often_for_a_minute_and_more_often_then() -> None:
    limiter = Limiter(TEN, 5)
    limiter.slow_down(0.0)
    counts = [0] * 6
    while current_time() < 360.0:
        await limiter.acquire()
        counts[min(int(current_time() // 60), 5)] += 1
    assert counts == pytest.approx([297, 371, 463, 579, 593, 593], abs=4)


@virtual()
async def test_a_wait_that_is_longer_than_the_recovery_ends_with_it() -> None:
    limiter = Limiter(Rate(1, 3600.0), 1)
    limiter.slow_down(0.0)
    limiter.depart(0.0)
    first = limiter.delay()
    await asyncio.sleep(59.0)
    assert [first, limiter.delay()] == pytest.approx([60.0, 1.0], abs=1e-3)


@virtual()
async def test_a_pause_of_a_slowed_account_is_kept() -> None:
    limiter = Limiter(TEN)
    limiter.pause(30.0)
    limiter.slow_down(30.0)
    assert limiter.delay() == 30.0


@virtual()
async def test_the_delay_is_told_without_waiting() -> None:
    limiter = Limiter(Rate(1, 1.0))
    assert limiter.delay() == 0.0
    await limiter.acquire()
    assert 1.0 < limiter.delay() < 1.02
    limiter.pause(10.0)
    assert limiter.delay() == pytest.approx(10.0, abs=1e-3)


@virtual()
async def test_asking_whether_one_is_ready_takes_nothing_and_departing_does() -> None:
    limiter = Limiter(TEN, 2)
    assert [limiter.ready(current_time()) for _ in range(3)] == [True, True, True]
    for ready in (True, False):
        limiter.depart(current_time())
        assert limiter.ready(current_time()) is ready
    await asyncio.sleep(limiter.delay())
    assert limiter.ready(current_time())
    limiter.pause(5.0)
    assert not limiter.ready(current_time())
    await asyncio.sleep(5.0)
    assert limiter.ready(current_time())


@pytest.mark.thorough
@pytest.mark.parametrize(
    "rate", [Rate(1, 1.0), TEN, Rate(600, 60.0), Rate(3000, 1.0), Rate(100_000, 1.0)]
)
@virtual()
async def test_who_departs_as_soon_as_it_is_ready_never_passes_the_rate(rate: Rate) -> None:
    limiter = Limiter(rate, 1)
    left: list[float] = []
    while len(left) < 2.5 * rate.requests:
        while limiter.ready(current_time()):
            limiter.depart(current_time())
            left.append(current_time())
        await asyncio.sleep(0)  # they leave
        await asyncio.sleep(limiter.delay())
        assert limiter.ready(current_time())
    assert most_in_any_period(left, rate.period) <= rate.requests
    assert left[-1] < 2.6 * rate.period


@virtual()
async def test_who_may_leave_does_not_give_way_to_others() -> None:
    limiter, order = Limiter(TEN), list[str]()
    asyncio.get_running_loop().call_soon(order.append, "another task")
    await limiter.acquire()
    order.append("left")
    await asyncio.sleep(0)
    assert order == ["left", "another task"]


@virtual()
async def test_who_is_cancelled_while_it_waits_did_not_leave() -> None:
    limiter = Limiter(Rate(1, 1.0))
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0.5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert repr(limiter) == "<Limiter 1/s, departures known: 1>"


# a request that leaves later than it was counted


@pytest.mark.parametrize("late_by", [5.0, 30.0])  # within a period, and after it
@virtual()
async def test_a_request_that_leaves_late_is_counted_when_it_leaves(late_by: float) -> None:
    limiter = Limiter(Rate(1, 10.0))
    limiter.depart(current_time())
    late = limiter.taken()
    await asyncio.sleep(late_by)
    assert limiter.ready(current_time()) is (late_by > 10.0)
    await late()
    left = current_time()
    await limiter.acquire()
    assert [left, current_time()] == pytest.approx([late_by, late_by + 10.04], abs=0.01)


@pytest.mark.thorough
async def test_a_request_counts_from_the_turn_in_which_it_leaves() -> None:
    limiter = Limiter(Rate(2, 0.2), burst=2)
    loop = asyncio.get_running_loop()
    left: list[float] = []
    for _ in range(2):
        limiter.depart(loop.time())
        loop.call_soon(lambda: left.append(loop.time()))  # as a transport writes
    time.sleep(0.15)  # noqa: ASYNC251  (what else is done in this turn)
    await asyncio.sleep(0)
    await limiter.acquire()
    assert loop.time() >= left[0] + 0.2


@virtual()
async def test_a_request_may_leave_when_its_count_is_forgotten() -> None:
    limiter = Limiter(Rate(1, 10.0))
    await limiter.acquire()
    late = limiter.taken()
    await asyncio.sleep(15.0)
    await limiter.acquire()
    await late()
    assert current_time() == pytest.approx(25.04, abs=0.01)


@virtual()
async def test_a_grant_that_is_taken_back_is_there_again() -> None:
    limiter = Limiter(Rate(5000, 1.0), burst=5000)
    limiter.depart(current_time())
    before = limiter._in_hand
    await limiter.taken()()
    assert [before, limiter._in_hand] == [4, 4]


@virtual()
async def test_those_that_leave_late_go_before_new_ones() -> None:
    limiter = Limiter(Rate(10, 100.0), burst=10)
    late = []
    for _ in range(2):
        limiter.depart(current_time())
        late.append(limiter.taken())
        await asyncio.sleep(0.1)
    limiter.pause(1.0)
    waiting = [asyncio.ensure_future(each()) for each in late]
    await asyncio.sleep(0.5)
    assert not limiter.ready(current_time())
    assert limiter.delay() == pytest.approx(2 * 10.04, abs=0.01)
    await asyncio.gather(*waiting)
    assert current_time() < 2.0
    await asyncio.sleep(100)
    assert limiter.ready(current_time())
    assert limiter.delay() == 0
