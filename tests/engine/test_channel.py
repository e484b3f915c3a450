"""The bounded hand-over from many workers to the one who commits."""

import asyncio

import pytest
from anyio import current_time

from harvester.engine.channel import Channel
from tests.support import virtual


def channel(
    *, group: int = 4, linger: float = 0.1, items: int = 8, size: int = 100
) -> Channel[int]:
    return Channel(group=group, linger=linger, items=items, size=size)


async def drained(made: Channel[int]) -> list[list[int]]:
    groups = []
    while (group := await made.collect()) is not None:
        groups.append(group)
    return groups


@virtual()
async def test_what_is_put_is_collected_in_order() -> None:
    made = channel()
    for item in range(4):
        await made.put(item, 1)
    made.close()
    assert await drained(made) == [[0, 1, 2, 3]]


@virtual()
async def test_a_closed_and_empty_channel_gives_no_group() -> None:
    made = channel()
    made.close()
    assert [await made.collect(), await made.collect()] == [None, None]
    assert round(current_time(), 3) == 0.0


@virtual()
async def test_the_taker_waits_for_a_first_item() -> None:
    made = channel(group=1)
    taking = asyncio.create_task(made.collect())
    await asyncio.sleep(5.0)
    early = taking.done()
    await made.put(7, 1)
    assert (await taking, early) == ([7], False)


@virtual()
async def test_a_full_group_is_taken_at_once() -> None:
    made = channel(group=3, linger=60.0)
    taking = asyncio.create_task(made.collect())
    await asyncio.sleep(0)
    for item in range(3):
        await made.put(item, 1)
    assert (await taking, current_time() < 1.0) == ([0, 1, 2], True)


@virtual()
async def test_for_less_than_a_group_the_taker_lingers() -> None:
    made = channel(group=3, linger=0.5)
    await made.put(0, 1)
    taking = asyncio.create_task(made.collect())
    await asyncio.sleep(0.3)
    await made.put(1, 1)
    assert (await taking, round(current_time(), 3)) == ([0, 1], 0.5)


@virtual()
async def test_without_lingering_one_item_is_a_group() -> None:
    made = channel(linger=0.0)
    await made.put(0, 1)
    assert (await made.collect(), current_time() < 0.01) == ([0], True)


@virtual()
async def test_an_item_of_any_size_goes_into_an_empty_channel() -> None:
    made = channel(size=1)
    await made.put(0, 10**9)
    assert await made.collect() == [0]


@virtual()
async def test_closing_ends_the_lingering() -> None:
    made = channel(linger=60.0)
    await made.put(0, 1)
    asyncio.get_running_loop().call_later(1.0, made.close)
    assert (await drained(made), current_time() < 1.1) == ([[0]], True)


@pytest.mark.parametrize(
    ("how", "sizes"), [({"items": 2}, (1, 1)), ({"size": 100}, (99, 500))], ids=["items", "size"]
)
@virtual()
async def test_whoever_puts_into_a_full_channel_waits_for_the_taker(
    how: dict[str, int], sizes: tuple[int, int]
) -> None:
    made = channel(**how)
    for item, size in enumerate(sizes):
        await made.put(item, size)
    putting = asyncio.create_task(made.put(2, 1))
    await asyncio.sleep(60.0)
    assert not putting.done()
    assert await made.collect() == [0, 1]
    await putting
    assert repr(made) == "<Channel open, 1 items of 1>"


@virtual()
async def test_a_channel_that_is_full_by_size_is_taken_at_once() -> None:
    made, taken = channel(linger=60.0, size=100), list[tuple[list[int] | None, float]]()

    async def take() -> None:
        for _ in range(2):
            group = await made.collect()
            taken.append((group, round(current_time(), 2)))

    taking = asyncio.create_task(take())
    for item, size in enumerate((50, 50, 99)):
        await made.put(item, size)
        await asyncio.sleep(1.0)
    await taking
    assert taken == [([0, 1], 1.0), ([2], 62.0)]


@virtual()
async def test_who_gives_up_waiting_to_put_leaves_its_place_to_the_next() -> None:
    made = channel(group=1, items=1)
    await made.put(0, 1)
    putting = [asyncio.create_task(made.put(item, 1)) for item in (1, 2)]
    await asyncio.sleep(1.0)
    putting[0].cancel()
    await asyncio.sleep(1.0)
    assert [await made.collect(), await made.collect()] == [[0], [2]]


@virtual()
async def test_many_put_and_nothing_is_lost_doubled_or_more_than_fits() -> None:
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
    every = [1000 * n + item for n in range(20) for item in range(50)]
    assert sorted(item for group in groups for item in group) == every
    assert max(map(len, groups)) <= 8


@virtual()
async def test_a_channel_shows_its_state() -> None:
    made = channel()
    await made.put(0, 5)
    assert repr(made) == "<Channel open, 1 items of 5>"
    made.close()
    assert repr(made) == "<Channel closed, 1 items of 5>"


@virtual()
async def test_a_channel_is_empty_only_if_nobody_waits_to_put_something_in() -> None:
    made = channel(group=1, linger=0.0, items=1)
    assert made.is_empty
    await made.put(1, 1)
    waiting = asyncio.ensure_future(made.put(2, 1))
    await asyncio.sleep(0)
    assert await made.collect() == [1]
    assert not made.is_empty  # the second one comes at once
    await waiting
    assert await made.collect() == [2]
    assert made.is_empty
    await made.put(3, 1)
    waiting = asyncio.ensure_future(made.put(4, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await made.collect() == [3]
    assert made.is_empty
