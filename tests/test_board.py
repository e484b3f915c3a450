"""Which lane is served next, and where workers wait until one can be."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta

from harvester.auth import Send, SharedToken
from harvester.board import Board
from harvester.datacube import INTERFACES
from harvester.lane import Budget, Fate, Job, Lane, Track, Try
from harvester.limiter import Limiter, Rate
from harvester.model import Request, Response, Token, Window
from harvester.testing import VirtualTimeLoop, run_virtual

FIRST = date(2020, 1, 1)
FAST = Rate(1000, 1.0)


class Provider:
    async def fetch(self, send: Send) -> Token:
        return Token("t", 1e9)


async def no_sending(request: Request) -> Response:
    raise AssertionError("nothing is sent here")


def attempt(appid: str, number: int) -> Try:
    day = FIRST + timedelta(days=number)
    return Try(Window(appid, "getarticlesummary", day, day))


async def lane(appid: str, windows: int, wall: float, rate: Rate = FAST) -> Lane:
    """A lane that has its token."""
    days = iter([(FIRST + timedelta(days=n),) * 2 for n in range(windows)])
    track = Track(appid, INTERFACES["getarticlesummary"], days, Budget(None, 0, wall))
    track.proven = True
    token = SharedToken(appid, Provider(), no_sending)
    await token.get()
    return Lane(appid, token, Limiter(rate, rate.requests), [track])


def settle(board: Board, job: Job) -> None:
    """What a worker does once an answer is settled; it comes to take the next job then."""
    assert job.track is not None
    job.track.in_flight -= 1
    board.settled(job.lane, 0.0)


async def take(board: Board) -> Job:
    job = await board.take()
    assert job is not None
    return job


async def all_of(board: Board, workers: int = 1) -> list[str]:
    """The accounts in the order in which they were served until there was nothing more."""
    served: list[str] = []

    async def work() -> None:
        while (job := await board.take()) is not None:
            served.append(job.lane.appid)
            settle(board, job)

    await asyncio.gather(*[work() for _ in range(workers)])
    return served


def test_a_board_without_lanes_has_no_job() -> None:
    async def main(loop: VirtualTimeLoop) -> Job | None:
        return await Board([], loop.wall).take()

    assert run_virtual(main) is None


def test_a_board_whose_lanes_have_no_work_has_no_job() -> None:
    async def main(loop: VirtualTimeLoop) -> Job | None:
        lanes = [await lane("wx1", 0, loop.wall())]
        return await Board(lanes, loop.wall).take()

    assert run_virtual(main) is None


def test_lanes_are_served_in_turn() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        lanes = [await lane(f"wx{n}", 3, loop.wall()) for n in (1, 2, 3)]
        return await all_of(Board(lanes, loop.wall))

    assert run_virtual(main) == ["wx1", "wx2", "wx3"] * 3


def test_a_lane_with_less_to_do_leaves_the_turn_to_the_others() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        lanes = [await lane("wx1", 1, loop.wall()), await lane("wx2", 3, loop.wall())]
        return await all_of(Board(lanes, loop.wall))

    assert run_virtual(main) == ["wx1", "wx2", "wx2", "wx2"]


def test_a_lane_whose_answers_take_long_lets_as_many_turns_pass() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        lanes = [await lane(f"wx{n}", 20, loop.wall()) for n in (1, 2, 3)]
        board, served = Board(lanes, loop.wall), list[str]()
        while (job := await board.take()) is not None:
            served.append(job.lane.appid)
            assert job.track is not None
            job.track.in_flight -= 1
            board.settled(job.lane, 0.5 if job.lane.appid == "wx2" else 0.1)
        return served

    served = run_virtual(main)
    together = served[: served.index("wx1", 0) + 45]
    assert together.count("wx1") == together.count("wx3")
    assert 3 * together.count("wx2") <= together.count("wx1") <= 6 * together.count("wx2")
    assert served.count("wx2") == 20


def test_a_lane_that_is_alone_pays_no_turns() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        only = await lane("wx1", 3, loop.wall())
        board = Board([only], loop.wall)
        for seconds in (0.1, 60.0, 60.0):
            job = await take(board)
            assert job.track is not None
            job.track.in_flight -= 1
            board.settled(job.lane, seconds)
        return loop.time()

    assert run_virtual(main) < 0.1


def test_any_number_of_workers_serve_every_window_once() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        lanes = [await lane(f"wx{n}", 40, loop.wall(), Rate(10, 1.0)) for n in range(5)]
        return await all_of(Board(lanes, loop.wall), workers=64)

    assert sorted(run_virtual(main)) == sorted(f"wx{n}" for n in range(5) for _ in range(40))


def test_workers_wait_for_a_limiter_without_holding_up_the_other_lanes() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, float]:
        slow = await lane("wx1", 3, loop.wall(), Rate(1, 60.0))
        fast = await lane("wx2", 50, loop.wall(), Rate(10, 1.0))
        board, last = Board([slow, fast], loop.wall), {"wx1": 0.0, "wx2": 0.0}
        while (job := await board.take()) is not None:
            last[job.lane.appid] = loop.time()
            settle(board, job)
        return last["wx1"], last["wx2"]

    slow, fast = run_virtual(main)
    assert 120.0 < slow < 122.0
    assert 4.0 < fast < 5.5


def test_a_worker_waits_until_a_window_is_due_again() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[float, bool]:
        made = await lane("wx1", 1, loop.wall())
        board = Board([made], loop.wall)
        job = await take(board)
        assert job.track is not None
        job.track.again(attempt("wx1", 0), loop.time() + 42.0)
        settle(board, job)
        again = await take(board)
        return loop.time(), again.attempt == attempt("wx1", 0)

    at, same = run_virtual(main)
    assert 42.0 <= at < 42.1
    assert same


def test_a_window_that_is_due_sooner_than_the_others_is_not_overslept() -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[str, int]]:
        lanes = [await lane(f"wx{n}", 1, loop.wall()) for n in (1, 2, 3)]
        board, found = Board(lanes, loop.wall), []
        jobs = [await take(board) for _ in lanes]

        async def next_one() -> None:
            job = await take(board)
            found.append((job.lane.appid, int(loop.time())))

        workers = [asyncio.create_task(next_one())]
        await asyncio.sleep(1.0)
        for job, at in zip(jobs, (90.0, 30.0, 60.0), strict=True):
            assert job.track is not None
            job.track.again(attempt(job.lane.appid, 0), at)
            settle(board, job)
            workers.append(asyncio.create_task(next_one()))
            await asyncio.sleep(1.0)
        await asyncio.sleep(90.0)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return found

    assert run_virtual(main) == [("wx2", 30), ("wx3", 60), ("wx1", 90)]


def test_one_timer_serves_lanes_that_become_due_while_all_workers_wait() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        lanes = [await lane(f"wx{n}", 1, loop.wall()) for n in range(10)]
        board, times = Board(lanes, loop.wall), []
        for job in [await take(board) for _ in lanes]:
            assert job.track is not None
            number = int(job.lane.appid[2:])
            job.track.again(attempt(job.lane.appid, 0), 10.0 + 10.0 * (number % 4))
            settle(board, job)

        async def work() -> None:
            while (job := await board.take()) is not None:
                times.append(int(loop.time()))
                settle(board, job)

        await asyncio.gather(*[work() for _ in range(4)])
        return times

    assert run_virtual(main) == [10] * 3 + [20] * 3 + [30] * 2 + [40] * 2


def test_who_settles_a_job_takes_what_the_lane_can_do_next_and_wakes_others_for_the_rest() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[bool, float]:
        made = await lane("wx1", 1, loop.wall())
        board = Board([made], loop.wall)
        job = await take(board)
        waiting = asyncio.create_task(take(board))
        await asyncio.sleep(5.0)
        assert job.track is not None
        before = waiting.done()
        job.track.again(attempt("wx1", 0), 0.0)
        job.track.again(attempt("wx1", 1), 0.0)
        settle(board, job)
        await take(board)
        await waiting
        return before, loop.time()

    before, at = run_virtual(main)
    assert not before
    assert 5.0 <= at < 5.01


def test_a_paused_lane_is_not_served_before_its_time() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        made = await lane("wx1", 2, loop.wall())
        board = Board([made], loop.wall)
        job = await take(board)
        made.limiter.pause(20.0)
        settle(board, job)
        await take(board)
        return loop.time()

    assert 20.0 <= run_virtual(main) < 20.1


def test_a_parked_lane_is_served_when_the_wall_clock_says_so() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        made = await lane("wx1", 1, loop.wall())
        made.tracks[0].park(loop.wall() + 3600.0)
        await take(Board([made], loop.wall))
        return loop.time()

    assert 3600.0 <= run_virtual(main) < 3601.0


def test_a_wall_clock_that_was_set_forward_is_seen_within_half_a_minute() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        set_forward = 0.0
        made = await lane("wx1", 1, loop.wall())
        made.tracks[0].park(loop.wall() + 3600.0)
        waiting = asyncio.create_task(take(Board([made], lambda: loop.wall() + set_forward)))
        await asyncio.sleep(100.0)
        set_forward = 7200.0
        await waiting
        return loop.time()

    assert 100.0 <= run_virtual(main) < 130.1


def test_when_the_last_lane_is_finished_all_workers_are_sent_home() -> None:
    async def main(loop: VirtualTimeLoop) -> Sequence[Job | None]:
        made = await lane("wx1", 1, loop.wall())
        board = Board([made], loop.wall)
        job = await take(board)
        waiting = [asyncio.create_task(board.take()) for _ in range(8)]
        await asyncio.sleep(1.0)
        settle(board, job)
        return await asyncio.gather(*waiting)

    assert run_virtual(main) == [None] * 8


def test_a_lane_that_was_stopped_is_finished() -> None:
    async def main(loop: VirtualTimeLoop) -> Job | None:
        made = await lane("wx1", 100, loop.wall())
        board = Board([made], loop.wall)
        job = await take(board)
        list(made.tracks[0].end(Fate(None, "stopped")))
        settle(board, job)
        return await board.take()

    assert run_virtual(main) is None


def test_a_stopped_board_gives_out_no_job_more() -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        made = await lane("wx1", 100, loop.wall(), Rate(1, 60.0))
        board = Board([made], loop.wall)
        await take(board)
        waiting = [asyncio.create_task(board.take()) for _ in range(3)]
        await asyncio.sleep(1.0)
        board.stop()
        return [*await asyncio.gather(*waiting), await board.take(), loop.time() < 1.1]

    assert run_virtual(main) == [None, None, None, None, True]


def test_a_board_shows_who_is_ready_who_waits_and_who_is_idle() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        lanes = [await lane(f"wx{n}", 2, loop.wall(), Rate(1, 60.0)) for n in (1, 2)]
        board = Board(lanes, loop.wall)
        shown = [repr(board)]
        for _ in lanes:
            await take(board)
        waiting = asyncio.create_task(board.take())
        await asyncio.sleep(1.0)
        shown.append(repr(board))
        board.stop()
        await waiting
        return shown

    assert run_virtual(main) == [
        "<Board 2 lanes ready, 0 timed, 0 workers idle>",
        "<Board 0 lanes ready, 2 timed, 1 workers idle>",
    ]
