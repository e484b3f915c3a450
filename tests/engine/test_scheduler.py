"""Which account is served next, and where workers wait until one can be."""

import asyncio
from datetime import date, timedelta

from harvester.engine.account_queue import AccountQueue, WorkItem
from harvester.engine.limiter import Limiter, Rate
from harvester.engine.quota import Budget
from harvester.engine.scheduler import Scheduler
from harvester.engine.window_queue import Attempt, InterfaceQueue, StopReason, WindowQueue
from harvester.model import Window
from harvester.testing import VirtualTimeLoop as Loop
from harvester.tokens.shared import SharedToken
from harvester.wechat.interfaces import INTERFACES
from tests.builders import Lasting, no_sending
from tests.testing.support import virtual

FIRST = date(2020, 1, 1)
FAST = Rate(1000, 1.0)


def attempt(appid: str, number: int) -> Attempt:
    day = FIRST + timedelta(days=number)
    return Attempt(Window(appid, "getarticlesummary", day, day))


async def account(appid: str, windows: int, wall: float, rate: Rate = FAST) -> AccountQueue:
    """An account that has its token."""
    days = iter([(FIRST + timedelta(days=n),) * 2 for n in range(windows)])
    endpoint = INTERFACES["getarticlesummary"]
    queue = InterfaceQueue(endpoint, WindowQueue(appid, endpoint.name, days), Budget(None, 0, wall))
    queue.proven = True
    token = SharedToken(appid, Lasting(1e9), no_sending)
    await token.get()
    return AccountQueue(token, Limiter(rate, rate.requests), [queue])


def settle(scheduler: Scheduler, job: WorkItem, seconds: float = 0.0) -> None:
    """What a worker does once an answer is settled; it comes to take the next job then."""
    assert job.queue is not None
    job.queue.settled()
    scheduler.settled(job.account, seconds)


def again(job: WorkItem, number: int, at: float) -> None:
    """The window of a job, or another of its account, has to be asked for again."""
    assert job.queue is not None
    job.queue.again(attempt(job.account.appid, number), at)


async def take(scheduler: Scheduler) -> WorkItem:
    job = await scheduler.take()
    assert job is not None
    return job


async def all_of(scheduler: Scheduler, workers: int = 1) -> list[tuple[str, float]]:
    """The accounts as they were served, and when, until there was nothing more."""
    served: list[tuple[str, float]] = []

    async def work() -> None:
        while (job := await scheduler.take()) is not None:
            served.append((job.account.appid, asyncio.get_running_loop().time()))
            settle(scheduler, job)

    await asyncio.gather(*[work() for _ in range(workers)])
    return served


@virtual
async def test_a_scheduler_without_accounts_or_without_work_has_no_job(loop: Loop) -> None:
    assert await Scheduler([], loop.wall).take() is None
    idle = await account("wx1", 0, loop.wall())
    assert await Scheduler([idle], loop.wall).take() is None


@virtual
async def test_accounts_are_served_in_turn_as_long_as_they_have_work(loop: Loop) -> None:
    windows = {"wx1": 3, "wx2": 1, "wx3": 3}
    accounts = [await account(appid, number, loop.wall()) for appid, number in windows.items()]
    served = [appid for appid, _ in await all_of(Scheduler(accounts, loop.wall))]
    assert served == ["wx1", "wx2", "wx3", "wx1", "wx3", "wx1", "wx3"]


@virtual
async def test_an_account_whose_answers_take_long_lets_as_many_turns_pass(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 20, loop.wall()) for n in (1, 2, 3)]
    scheduler = Scheduler(accounts, loop.wall)
    served: list[str] = []
    while (job := await scheduler.take()) is not None:
        served.append(job.account.appid)
        settle(scheduler, job, 0.5 if job.account.appid == "wx2" else 0.1)
    together = served[: served.index("wx1", 0) + 45]
    assert together.count("wx1") == together.count("wx3")
    assert 3 * together.count("wx2") <= together.count("wx1") <= 6 * together.count("wx2")
    assert served.count("wx2") == 20


@virtual
async def test_an_account_that_is_alone_pays_no_turns(loop: Loop) -> None:
    scheduler = Scheduler([await account("wx1", 3, loop.wall())], loop.wall)
    for seconds in (0.1, 60.0, 60.0):
        settle(scheduler, await take(scheduler), seconds)
    assert loop.time() < 0.1


@virtual
async def test_any_number_of_workers_serve_every_window_once(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 40, loop.wall(), Rate(10, 1.0)) for n in range(5)]
    served = [appid for appid, _ in await all_of(Scheduler(accounts, loop.wall), workers=64)]
    assert sorted(served) == sorted(f"wx{n}" for n in range(5) for _ in range(40))


@virtual
async def test_workers_wait_for_a_limiter_without_holding_up_the_other_lanes(loop: Loop) -> None:
    slow = await account("wx1", 3, loop.wall(), Rate(1, 60.0))
    fast = await account("wx2", 50, loop.wall(), Rate(10, 1.0))
    last = dict(await all_of(Scheduler([slow, fast], loop.wall)))
    assert 120.0 < last["wx1"] < 122.0
    assert 4.0 < last["wx2"] < 5.5


@virtual
async def test_a_worker_waits_until_a_window_is_due_again(loop: Loop) -> None:
    scheduler = Scheduler([await account("wx1", 1, loop.wall())], loop.wall)
    job = await take(scheduler)
    again(job, 0, loop.time() + 42.0)
    settle(scheduler, job)
    assert (await take(scheduler)).attempt == attempt("wx1", 0)
    assert 42.0 <= loop.time() < 42.1


@virtual
async def test_a_window_that_is_due_sooner_than_the_others_is_not_overslept(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 1, loop.wall()) for n in (1, 2, 3)]
    scheduler, found = Scheduler(accounts, loop.wall), []
    jobs = [await take(scheduler) for _ in accounts]

    async def next_one() -> None:
        job = await take(scheduler)
        found.append((job.account.appid, int(loop.time())))

    workers = [asyncio.create_task(next_one())]
    await asyncio.sleep(1.0)
    for job, at in zip(jobs, (90.0, 30.0, 60.0), strict=True):
        again(job, 0, at)
        settle(scheduler, job)
        workers.append(asyncio.create_task(next_one()))
        await asyncio.sleep(1.0)
    await asyncio.sleep(90.0)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert found == [("wx2", 30), ("wx3", 60), ("wx1", 90)]


@virtual
async def test_one_timer_serves_accounts_that_become_due_while_all_wait(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 1, loop.wall()) for n in range(10)]
    scheduler = Scheduler(accounts, loop.wall)
    for job in [await take(scheduler) for _ in accounts]:
        again(job, 0, 10.0 + 10.0 * (int(job.account.appid[2:]) % 4))
        settle(scheduler, job)
    times = [int(at) for _, at in await all_of(scheduler, workers=4)]
    assert times == [10] * 3 + [20] * 3 + [30] * 2 + [40] * 2


@virtual
async def test_an_account_that_is_full_does_not_hold_up_one_that_becomes_due(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 1, loop.wall()) for n in (1, 2)]
    scheduler = Scheduler(accounts, loop.wall)
    for job, at in zip([await take(scheduler) for _ in accounts], (10.0, 20.0), strict=True):
        job.account.cap = 1
        again(job, 0, at)
        settle(scheduler, job)
    workers = [asyncio.create_task(take(scheduler)) for _ in accounts]
    found = [(job.account.appid, int(loop.time())) for job in [await each for each in workers]]
    assert found == [("wx1", 20), ("wx2", 20)]  # the first one is still under way


@virtual
async def test_who_settles_takes_what_the_account_can_do_next_and_wakes_others_for_the_rest(
    loop: Loop,
) -> None:
    scheduler = Scheduler([await account("wx1", 1, loop.wall())], loop.wall)
    job = await take(scheduler)
    waiting = asyncio.create_task(take(scheduler))
    await asyncio.sleep(5.0)
    assert not waiting.done()
    again(job, 0, 0.0)
    again(job, 1, 0.0)
    settle(scheduler, job)
    await take(scheduler)
    await waiting
    assert 5.0 <= loop.time() < 5.01


@virtual
async def test_a_paused_account_is_not_served_before_its_time(loop: Loop) -> None:
    made = await account("wx1", 2, loop.wall())
    scheduler = Scheduler([made], loop.wall)
    job = await take(scheduler)
    made.limiter.pause(20.0)
    settle(scheduler, job)
    await take(scheduler)
    assert 20.0 <= loop.time() < 20.1


@virtual
async def test_a_parked_account_is_served_when_the_wall_clock_says_so(loop: Loop) -> None:
    made = await account("wx1", 1, loop.wall())
    made.queues[0].park(loop.wall() + 3600.0)
    await take(Scheduler([made], loop.wall))
    assert 3600.0 <= loop.time() < 3601.0


@virtual
async def test_a_wall_clock_that_was_set_forward_is_seen_within_half_a_minute(loop: Loop) -> None:
    set_forward = 0.0
    made = await account("wx1", 1, loop.wall())
    made.queues[0].park(loop.wall() + 3600.0)
    waiting = asyncio.create_task(take(Scheduler([made], lambda: loop.wall() + set_forward)))
    await asyncio.sleep(100.0)
    set_forward = 7200.0
    await waiting
    assert 100.0 <= loop.time() < 130.1


@virtual
async def test_when_the_last_account_is_finished_all_workers_are_sent_home(loop: Loop) -> None:
    scheduler = Scheduler([await account("wx1", 1, loop.wall())], loop.wall)
    job = await take(scheduler)
    waiting = [asyncio.create_task(scheduler.take()) for _ in range(8)]
    await asyncio.sleep(1.0)
    settle(scheduler, job)
    assert await asyncio.gather(*waiting) == [None] * 8


@virtual
async def test_an_account_that_was_stopped_is_finished(loop: Loop) -> None:
    made = await account("wx1", 100, loop.wall())
    scheduler = Scheduler([made], loop.wall)
    job = await take(scheduler)
    list(made.queues[0].stop(StopReason(None, "stopped")))
    settle(scheduler, job)
    assert await scheduler.take() is None


@virtual
async def test_a_stopped_scheduler_gives_out_no_job_more(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 2, loop.wall(), Rate(1, 60.0)) for n in (1, 2)]
    scheduler = Scheduler(accounts, loop.wall)
    for _ in accounts:
        await take(scheduler)
    waiting = [asyncio.create_task(scheduler.take()) for _ in range(3)]
    await asyncio.sleep(1.0)
    scheduler.stop()
    assert [*await asyncio.gather(*waiting), await scheduler.take()] == [None] * 4
    assert loop.time() < 1.1


@virtual
async def test_a_scheduler_shows_who_is_ready_who_waits_and_who_is_idle(loop: Loop) -> None:
    accounts = [await account(f"wx{n}", 2, loop.wall(), Rate(1, 60.0)) for n in (1, 2)]
    scheduler = Scheduler(accounts, loop.wall)
    assert repr(scheduler) == "<Scheduler 2 accounts ready, 0 timed, 0 workers idle>"
    for _ in accounts:
        await take(scheduler)
    waiting = [asyncio.create_task(scheduler.take()) for _ in range(3)]
    await asyncio.sleep(1.0)
    assert repr(scheduler) == "<Scheduler 0 accounts ready, 2 timed, 3 workers idle>"
    scheduler.stop()
    await asyncio.gather(*waiting)
