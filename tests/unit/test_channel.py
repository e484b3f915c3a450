"""The bounded hand-over from many workers to the one who commits."""

import asyncio

from harvester.channel import Channel
from harvester.testing import VirtualTimeLoop, run_virtual


def channel(
    *, group: int = 4, linger: float = 0.1, items: int = 8, size: int = 100
) -> Channel[int]:
    return Channel(group=group, linger=linger, items=items, size=size)


async def drained(made: Channel[int]) -> list[list[int]]:
    groups = []
    while (group := await made.collect()) is not None:
        groups.append(group)
    return groups


def test_what_is_put_is_collected_in_order() -> None:
    async def main(loop: VirtualTimeLoop) -> list[list[int]]:
        made = channel()
        for item in range(4):
            await made.put(item, 1)
        made.close()
        return await drained(made)

    assert run_virtual(main) == [[0, 1, 2, 3]]


def test_a_closed_and_empty_channel_gives_no_group() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[object, object, float]:
        made = channel()
        made.close()
        return await made.collect(), await made.collect(), round(loop.time(), 3)

    assert run_virtual(main) == (None, None, 0.0)


def test_the_taker_waits_for_a_first_item() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int] | None, bool]:
        made = channel(group=1)
        taking = asyncio.create_task(made.collect())
        await asyncio.sleep(5.0)
        early = taking.done()
        await made.put(7, 1)
        return await taking, early

    assert run_virtual(main) == ([7], False)


def test_a_full_group_is_taken_at_once() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int] | None, bool]:
        made = channel(group=3, linger=60.0)
        taking = asyncio.create_task(made.collect())
        await asyncio.sleep(0)
        for item in range(3):
            await made.put(item, 1)
        return await taking, loop.time() < 1.0

    assert run_virtual(main) == ([0, 1, 2], True)


def test_for_less_than_a_group_the_taker_lingers() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int] | None, float]:
        made = channel(group=3, linger=0.5)
        await made.put(0, 1)
        taking = asyncio.create_task(made.collect())
        await asyncio.sleep(0.3)
        await made.put(1, 1)
        return await taking, round(loop.time(), 3)

    assert run_virtual(main) == ([0, 1], 0.5)


def test_without_lingering_one_item_is_a_group() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int] | None, bool]:
        made = channel(linger=0.0)
        await made.put(0, 1)
        return await made.collect(), loop.time() < 0.01

    assert run_virtual(main) == ([0], True)


def test_closing_ends_the_lingering() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[list[int]], bool]:
        made = channel(linger=60.0)
        await made.put(0, 1)
        loop.call_later(1.0, made.close)
        return await drained(made), loop.time() < 1.1

    assert run_virtual(main) == ([[0]], True)


def test_whoever_puts_into_a_full_channel_waits_for_the_taker() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[bool, list[int] | None, bool]:
        made = channel(items=2)
        await made.put(0, 1)
        await made.put(1, 1)
        putting = asyncio.create_task(made.put(2, 1))
        await asyncio.sleep(60.0)
        early = putting.done()
        group = await made.collect()
        await putting
        return early, group, repr(made) == "<Channel open, 1 items of 1>"

    assert run_virtual(main) == (False, [0, 1], True)


def test_a_channel_is_full_by_size_too() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[bool, list[int] | None]:
        made = channel(size=100)
        await made.put(0, 99)
        await made.put(1, 500)
        putting = asyncio.create_task(made.put(2, 1))
        await asyncio.sleep(60.0)
        early = putting.done()
        group = await made.collect()
        await putting
        return early, group

    assert run_virtual(main) == (False, [0, 1])


def test_a_channel_that_is_full_by_size_is_taken_at_once() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[list[int] | None], list[float]]:
        made, groups, times = (
            channel(linger=60.0, size=100),
            list[list[int] | None](),
            list[float](),
        )

        async def take() -> None:
            for _ in range(2):
                groups.append(await made.collect())
                times.append(round(loop.time(), 2))

        taking = asyncio.create_task(take())
        await made.put(0, 50)
        await asyncio.sleep(1.0)
        await made.put(1, 50)
        await asyncio.sleep(1.0)
        await made.put(2, 99)
        await taking
        return groups, times

    assert run_virtual(main) == ([[0, 1], [2]], [1.0, 62.0])


def test_an_item_of_any_size_goes_into_an_empty_channel() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int] | None:
        made = channel(size=1)
        await made.put(0, 10**9)
        return await made.collect()

    assert run_virtual(main) == [0]


def test_who_gives_up_waiting_to_put_leaves_its_place_to_the_next() -> None:
    async def main(loop: VirtualTimeLoop) -> list[list[int] | None]:
        made = channel(group=1, items=1)
        await made.put(0, 1)
        putting = [asyncio.create_task(made.put(item, 1)) for item in (1, 2)]
        await asyncio.sleep(1.0)
        putting[0].cancel()
        await asyncio.sleep(1.0)
        return [await made.collect(), await made.collect()]

    assert run_virtual(main) == [[0], [2]]


def test_many_put_and_nothing_is_lost_doubled_or_more_than_fits() -> None:
    async def main(loop: VirtualTimeLoop) -> list[list[int]]:
        made = channel(group=4, items=8)

        async def put(first: int) -> None:
            for item in range(first, first + 50):
                await made.put(item, 1)

        async def put_all() -> None:
            await asyncio.gather(*[put(1000 * n) for n in range(20)])
            made.close()

        putting = asyncio.create_task(put_all())
        groups = await drained(made)
        await putting
        return groups

    groups = run_virtual(main)
    assert sorted(item for group in groups for item in group) == [
        1000 * n + item for n in range(20) for item in range(50)
    ]
    assert max(map(len, groups)) <= 8


def test_a_channel_shows_its_state() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        made = channel()
        await made.put(0, 5)
        shown = [repr(made)]
        made.close()
        return [*shown, repr(made)]

    assert run_virtual(main) == ["<Channel open, 1 items of 5>", "<Channel closed, 1 items of 5>"]
