"""What every token store promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harvester.model import Stored
from harvester.stores import FileStore, MemoryStore, TokenStore
from harvester.stores.redis import RedisStore

Make = Callable[[], TokenStore]
ENDS = time.time() + 7200.0
ONE, TWO, THREE = (Stored(f"{name}-s3cret-value", ENDS, 7200.0) for name in ("one", "two", "three"))


@pytest.fixture(params=["memory", "file", "directory", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A store; each call opens the same one again, as another program would."""
    match request.param:
        case "memory":
            store = MemoryStore()
            return lambda: store
        case "file":
            return lambda: FileStore(tmp_path / "tokens.json")
        case "directory":
            return lambda: FileStore(f"{tmp_path / 'tokens'}/")
        case _:
            server = request.getfixturevalue("redis")
            server.empty()
            return lambda: RedisStore(server.url)


def play(make: Make, scene: Callable[[TokenStore], Awaitable[object]]) -> object:
    async def main() -> object:
        store = make()
        try:
            return await asyncio.wait_for(scene(store), 60)
        finally:
            await store.close()

    return asyncio.run(main())


def test_what_was_stored_is_there_with_its_end(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        assert await store.replace("wx1", None, ONE)
        return await store.load("wx1"), await store.load("wx2")

    assert play(make, scene) == (ONE, None)


def test_another_program_sees_what_was_stored(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        other = make()
        found = await other.load("wx1")
        await other.close()
        return found

    assert play(make, scene) == ONE


def test_a_token_gives_way_to_who_knows_it(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        return await store.replace("wx1", ONE, TWO), await store.load("wx1")

    assert play(make, scene) == (True, TWO)


@pytest.mark.parametrize("former", [None, ONE])
def test_a_token_stays_for_who_does_not_know_it(make: Make, former: Stored | None) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        await store.replace("wx1", ONE, TWO)
        return await store.replace("wx1", former, THREE), await store.load("wx1")

    assert play(make, scene) == (False, TWO)


def test_where_nothing_stands_nothing_is_replaced(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        return await store.replace("wx1", ONE, TWO), await store.load("wx1")

    assert play(make, scene) == (False, None)


def test_a_token_is_known_by_its_value_and_not_by_its_end(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        return await store.replace("wx1", Stored(ONE, 1.0, 2.0), TWO)

    assert play(make, scene) is True


def test_accounts_do_not_see_each_other(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        await store.replace("wx2", None, TWO)
        await store.replace("wx1", ONE, THREE)
        return await store.load("wx1"), await store.load("wx2")

    assert play(make, scene) == (THREE, TWO)


def test_of_many_who_replace_one_token_one_does(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        stores = [make() for _ in range(4)]
        new = [Stored(f"new-{n}", ENDS, 7200.0) for n in range(16)]
        done = await asyncio.gather(*[stores[n % 4].replace("wx1", ONE, new[n]) for n in range(16)])
        for other in stores:
            await other.close()
        winners = [one for one, won in zip(new, done, strict=True) if won]
        return len(winners), await store.load("wx1") == winners[0]

    assert play(make, scene) == (1, True)


def test_a_lease_is_one_at_a_time(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        inside = most = 0

        async def fetch(mine: TokenStore) -> None:
            nonlocal inside, most
            async with mine.lease("wx1"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.02)
                inside -= 1
            await mine.close()

        await asyncio.gather(*[fetch(make()) for _ in range(6)])
        return most

    assert play(make, scene) == 1


def test_leases_of_two_accounts_are_held_side_by_side(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        async with store.lease("wx1"), asyncio.timeout(5), store.lease("wx2"):
            return True

    assert play(make, scene) is True


def test_a_store_is_read_and_written_while_a_lease_is_held(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        async with store.lease("wx1"), asyncio.timeout(5):
            return await store.replace("wx1", None, ONE), await store.load("wx1")

    assert play(make, scene) == (True, ONE)


def test_a_lease_ends_with_an_error_in_its_block(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        with pytest.raises(ZeroDivisionError):
            async with store.lease("wx1"):
                raise ZeroDivisionError
        async with asyncio.timeout(5), store.lease("wx1"):
            return True

    assert play(make, scene) is True


def test_who_is_cancelled_holds_no_lease_and_keeps_none_from_others(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        async def hold(mine: TokenStore) -> None:
            async with mine.lease("wx1"):
                await asyncio.sleep(60)

        holder = asyncio.create_task(hold(store))
        await asyncio.sleep(0.2)
        waiter = asyncio.create_task(hold(store))
        await asyncio.sleep(0.2)
        for task in (waiter, holder):
            task.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        async with asyncio.timeout(5), store.lease("wx1"):
            return True

    assert play(make, scene) is True


def test_no_repr_shows_a_token(make: Make) -> None:
    async def scene(store: TokenStore) -> object:
        await store.replace("wx1", None, ONE)
        return f"{store!r} {await store.load('wx1')!r}"

    shown = str(play(make, scene))
    assert "s3cret" not in shown
    assert "p4ssw0rd" not in shown
    assert shown.startswith("<")
