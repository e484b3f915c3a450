"""Which account is served next, and where workers wait until one can be."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta

from harvester.account import AccountQueue, Job
from harvester.auth import Send, SharedToken
from harvester.budget import Budget
from harvester.datacube import INTERFACES
from harvester.limiter import Limiter, Rate
from harvester.model import Request, Response, Token, Window
from harvester.queues import Attempt, InterfaceQueue, StopReason, WindowQueue
from harvester.scheduler import Scheduler
from harvester.testing import VirtualTimeLoop, run_virtual

FIRST = date(2020, 1, 1)
FAST = Rate(1000, 1.0)


class Provider:
    async def fetch(self, send: Send) -> Token:
        return Token("t", 1e9)


async def no_sending(request: Request) -> Response:
    raise AssertionError("nothing is sent here")


def attempt(appid: str, number: int) -> Attempt:
    day = FIRST + timedelta(days=number)
    return Attempt(Window(appid, "getarticlesummary", day, day))


async def account(appid: str, windows: int, wall: float, rate: Rate = FAST) -> AccountQueue:
    """An account that has its token."""
    days = iter([(FIRST + timedelta(days=n),) * 2 for n in range(windows)])
    endpoint = INTERFACES["getarticlesummary"]
    queue = InterfaceQueue(endpoint, WindowQueue(appid, endpoint.name, days), Budget(None, 0, wall))
    queue.proven = True
    token = SharedToken(appid, Provider(), no_sending)
    await token.get()
    return AccountQueue(token, Limiter(rate, rate.requests), [queue])


def settle(scheduler: Scheduler, job: Job) -> None:
    """What a worker does once an answer is settled; it comes to take the next job then."""
    assert job.queue is not None
    job.queue.settled()
    scheduler.settled(job.account, 0.0)


async def take(scheduler: Scheduler) -> Job:
    job = await scheduler.take()
    assert job is not None
    return job


async def all_of(scheduler: Scheduler, workers: int = 1) -> list[str]:
    """The accounts in the order in which they were served until there was nothing more."""
    served: list[str] = []

    async def work() -> None:
        while (job := await scheduler.take()) is not None:
            served.append(job.account.appid)
            settle(scheduler, job)

    await asyncio.gather(*[work() for _ in range(workers)])
    return served


def test_a_scheduler_without_accounts_has_no_job() -> None:
    async def main(loop: VirtualTimeLoop) -> Job | None:
        return await Scheduler([], loop.wall).take()

    assert run_virtual(main) is None


def test_a_scheduler_whose_accounts_have_no_work_has_no_job() -> None:
    async def main(loop: VirtualTimeLoop) -> Job | None:
        accounts = [await account("wx1", 0, loop.wall())]
        return await Scheduler(accounts, loop.wall).take()

    assert run_virtual(main) is None


def test_accounts_are_served_in_turn() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        accounts = [await account(f"wx{n}", 3, loop.wall()) for n in (1, 2, 3)]
        return await all_of(Scheduler(accounts, loop.wall))

    assert run_virtual(main) == ["wx1", "wx2", "wx3"] * 3


def test_an_account_with_less_to_do_leaves_the_turn_to_the_others() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        accounts = [await account("wx1", 1, loop.wall()), await account("wx2", 3, loop.wall())]
        return await all_of(Scheduler(accounts, loop.wall))

    assert run_virtual(main) == ["wx1", "wx2", "wx2", "wx2"]


def test_an_account_whose_answers_take_long_lets_as_many_turns_pass() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        accounts = [await account(f"wx{n}", 20, loop.wall()) for n in (1, 2, 3)]
        scheduler, served = Scheduler(accounts, loop.wall), list[str]()
        while (job := await scheduler.take()) is not None:
            served.append(job.account.appid)
            assert job.queue is not None
            job.queue.settled()
            scheduler.settled(job.account, 0.5 if job.account.appid == "wx2" else 0.1)
        return served

    served = run_virtual(main)
    together = served[: served.index("wx1", 0) + 45]
    assert together.count("wx1") == together.count("wx3")
    assert 3 * together.count("wx2") <= together.count("wx1") <= 6 * together.count("wx2")
    assert served.count("wx2") == 20


def test_an_account_that_is_alone_pays_no_turns() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        only = await account("wx1", 3, loop.wall())
        scheduler = Scheduler([only], loop.wall)
        for seconds in (0.1, 60.0, 60.0):
            job = await take(scheduler)
            assert job.queue is not None
            job.queue.settled()
            scheduler.settled(job.account, seconds)
        return loop.time()

    assert run_virtual(main) < 0.1


def test_any_number_of_workers_serve_every_window_once() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        accounts = [await account(f"wx{n}", 40, loop.wall(), Rate(10, 1.0)) for n in range(5)]
        return await all_of(Scheduler(accounts, loop.wall), workers=64)

    assert sorted(run_virtual(main)) == sorted(f"wx{n}" for n in range(5) for _ in range(40))


def test_workers_wait_for_a_limiter_without_holding_up_the_other_lanes() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, float]:
        slow = await account("wx1", 3, loop.wall(), Rate(1, 60.0))
        fast = await account("wx2", 50, loop.wall(), Rate(10, 1.0))
        scheduler, last = Scheduler([slow, fast], loop.wall), {"wx1": 0.0, "wx2": 0.0}
        while (job := await scheduler.take()) is not None:
            last[job.account.appid] = loop.time()
            settle(scheduler, job)
        return last["wx1"], last["wx2"]

    slow, fast = run_virtual(main)
    assert 120.0 < slow < 122.0
    assert 4.0 < fast < 5.5


def test_a_worker_waits_until_a_window_is_due_again() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, bool]:
        made = await account("wx1", 1, loop.wall())
        scheduler = Scheduler([made], loop.wall)
        job = await take(scheduler)
        assert job.queue is not None
        job.queue.again(attempt("wx1", 0), loop.time() + 42.0)
        settle(scheduler, job)
        again = await take(scheduler)
        return loop.time(), again.attempt == attempt("wx1", 0)

    at, same = run_virtual(main)
    assert 42.0 <= at < 42.1
    assert same


def test_a_window_that_is_due_sooner_than_the_others_is_not_overslept() -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[str, int]]:
        accounts = [await account(f"wx{n}", 1, loop.wall()) for n in (1, 2, 3)]
        scheduler, found = Scheduler(accounts, loop.wall), []
        jobs = [await take(scheduler) for _ in accounts]

        async def next_one() -> None:
            job = await take(scheduler)
            found.append((job.account.appid, int(loop.time())))

        workers = [asyncio.create_task(next_one())]
        await asyncio.sleep(1.0)
        for job, at in zip(jobs, (90.0, 30.0, 60.0), strict=True):
            assert job.queue is not None
            job.queue.again(attempt(job.account.appid, 0), at)
            settle(scheduler, job)
            workers.append(asyncio.create_task(next_one()))
            await asyncio.sleep(1.0)
        await asyncio.sleep(90.0)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return found

    assert run_virtual(main) == [("wx2", 30), ("wx3", 60), ("wx1", 90)]


def test_one_timer_serves_accounts_that_become_due_while_all_workers_wait() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        accounts = [await account(f"wx{n}", 1, loop.wall()) for n in range(10)]
        scheduler, times = Scheduler(accounts, loop.wall), []
        for job in [await take(scheduler) for _ in accounts]:
            assert job.queue is not None
            number = int(job.account.appid[2:])
            job.queue.again(attempt(job.account.appid, 0), 10.0 + 10.0 * (number % 4))
            settle(scheduler, job)

        async def work() -> None:
            while (job := await scheduler.take()) is not None:
                times.append(int(loop.time()))
                settle(scheduler, job)

        await asyncio.gather(*[work() for _ in range(4)])
        return times

    assert run_virtual(main) == [10] * 3 + [20] * 3 + [30] * 2 + [40] * 2


def test_who_settles_a_job_takes_what_the_account_can_do_next_and_wakes_others_for_the_rest() -> (
    None
):
    async def main(loop: VirtualTimeLoop) -> tuple[bool, float]:
        made = await account("wx1", 1, loop.wall())
        scheduler = Scheduler([made], loop.wall)
        job = await take(scheduler)
        waiting = asyncio.create_task(take(scheduler))
        await asyncio.sleep(5.0)
        assert job.queue is not None
        before = waiting.done()
        job.queue.again(attempt("wx1", 0), 0.0)
        job.queue.again(attempt("wx1", 1), 0.0)
        settle(scheduler, job)
        await take(scheduler)
        await waiting
        return before, loop.time()

    before, at = run_virtual(main)
    assert not before
    assert 5.0 <= at < 5.01


def test_a_paused_account_is_not_served_before_its_time() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        made = await account("wx1", 2, loop.wall())
        scheduler = Scheduler([made], loop.wall)
        job = await take(scheduler)
        made.limiter.pause(20.0)
        settle(scheduler, job)
        await take(scheduler)
        return loop.time()

    assert 20.0 <= run_virtual(main) < 20.1


def test_a_parked_account_is_served_when_the_wall_clock_says_so() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        made = await account("wx1", 1, loop.wall())
        made.queues[0].park(loop.wall() + 3600.0)
        await take(Scheduler([made], loop.wall))
        return loop.time()

    assert 3600.0 <= run_virtual(main) < 3601.0


def test_a_wall_clock_that_was_set_forward_is_seen_within_half_a_minute() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        set_forward = 0.0
        made = await account("wx1", 1, loop.wall())
        made.queues[0].park(loop.wall() + 3600.0)
        waiting = asyncio.create_task(take(Scheduler([made], lambda: loop.wall() + set_forward)))
        await asyncio.sleep(100.0)
        set_forward = 7200.0
        await waiting
        return loop.time()

    assert 100.0 <= run_virtual(main) < 130.1


def test_when_the_last_account_is_finished_all_workers_are_sent_home() -> None:
    async def main(loop: VirtualTimeLoop) -> Sequence[Job | None]:
        made = await account("wx1", 1, loop.wall())
        scheduler = Scheduler([made], loop.wall)
        job = await take(scheduler)
        waiting = [asyncio.create_task(scheduler.take()) for _ in range(8)]
        await asyncio.sleep(1.0)
        settle(scheduler, job)
        return await asyncio.gather(*waiting)

    assert run_virtual(main) == [None] * 8


def test_an_account_that_was_stopped_is_finished() -> None:
    async def main(loop: VirtualTimeLoop) -> Job | None:
        made = await account("wx1", 100, loop.wall())
        scheduler = Scheduler([made], loop.wall)
        job = await take(scheduler)
        list(made.queues[0].stop(StopReason(None, "stopped")))
        settle(scheduler, job)
        return await scheduler.take()

    assert run_virtual(main) is None


def test_a_stopped_scheduler_gives_out_no_job_more() -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        made = await account("wx1", 100, loop.wall(), Rate(1, 60.0))
        scheduler = Scheduler([made], loop.wall)
        await take(scheduler)
        waiting = [asyncio.create_task(scheduler.take()) for _ in range(3)]
        await asyncio.sleep(1.0)
        scheduler.stop()
        return [*await asyncio.gather(*waiting), await scheduler.take(), loop.time() < 1.1]

    assert run_virtual(main) == [None, None, None, None, True]


def test_a_scheduler_shows_who_is_ready_who_waits_and_who_is_idle() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        accounts = [await account(f"wx{n}", 2, loop.wall(), Rate(1, 60.0)) for n in (1, 2)]
        scheduler = Scheduler(accounts, loop.wall)
        shown = [repr(scheduler)]
        for _ in accounts:
            await take(scheduler)
        waiting = asyncio.create_task(scheduler.take())
        await asyncio.sleep(1.0)
        shown.append(repr(scheduler))
        scheduler.stop()
        await waiting
        return shown

    assert run_virtual(main) == [
        "<Scheduler 2 accounts ready, 0 timed, 0 workers idle>",
        "<Scheduler 0 accounts ready, 2 timed, 1 workers idle>",
    ]
