"""What every token store promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.model import Stored
from harvester.tokens.stores import FileStore, MemoryStore, TokenStore, open_store
from harvester.tokens.stores.redis import RedisStore

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


@asynccontextmanager
async def opened(make: Make) -> AsyncIterator[TokenStore]:
    store = make()
    async with asyncio.timeout(60):
        yield store
    await store.close()


async def test_what_was_stored_is_there_with_its_end(make: Make) -> None:
    async with opened(make) as store:
        assert await store.replace("wx1", None, ONE)
        assert await store.load("wx1") == ONE
        assert await store.load("wx2") is None


async def test_another_program_sees_what_was_stored(make: Make) -> None:
    async with opened(make) as store, opened(make) as other:
        await store.replace("wx1", None, ONE)
        assert await other.load("wx1") == ONE


async def test_a_token_gives_way_to_who_knows_it(make: Make) -> None:
    async with opened(make) as store:
        await store.replace("wx1", None, ONE)
        assert await store.replace("wx1", ONE, TWO)
        assert await store.load("wx1") == TWO


@pytest.mark.parametrize("former", [None, ONE])
async def test_a_token_stays_for_who_does_not_know_it(make: Make, former: Stored | None) -> None:
    async with opened(make) as store:
        await store.replace("wx1", None, ONE)
        await store.replace("wx1", ONE, TWO)
        assert not await store.replace("wx1", former, THREE)
        assert await store.load("wx1") == TWO


async def test_where_nothing_stands_nothing_is_replaced(make: Make) -> None:
    async with opened(make) as store:
        assert not await store.replace("wx1", ONE, TWO)
        assert await store.load("wx1") is None


async def test_a_token_is_known_by_its_value_and_not_by_its_end(make: Make) -> None:
    async with opened(make) as store:
        await store.replace("wx1", None, ONE)
        assert await store.replace("wx1", Stored(ONE, 1.0, 2.0), TWO)


async def test_accounts_do_not_see_each_other(make: Make) -> None:
    async with opened(make) as store:
        await store.replace("wx1", None, ONE)
        await store.replace("wx2", None, TWO)
        await store.replace("wx1", ONE, THREE)
        assert await store.load("wx1") == THREE
        assert await store.load("wx2") == TWO


async def test_of_many_who_replace_one_token_one_does(make: Make) -> None:
    stores = [make() for _ in range(4)]
    await stores[0].replace("wx1", None, ONE)
    new = [Stored(f"new-{n}", ENDS, 7200.0) for n in range(16)]
    done = await asyncio.gather(*[stores[n % 4].replace("wx1", ONE, new[n]) for n in range(16)])
    [winner] = [one for one, won in zip(new, done, strict=True) if won]
    assert await stores[0].load("wx1") == winner
    for store in stores:
        await store.close()


async def test_a_lease_is_one_at_a_time(make: Make) -> None:
    inside = most = 0

    async def fetch() -> None:
        nonlocal inside, most
        async with opened(make) as mine, mine.lease("wx1"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.02)
            inside -= 1

    await asyncio.gather(*[fetch() for _ in range(6)])
    assert most == 1


async def test_leases_of_two_accounts_are_held_side_by_side(make: Make) -> None:
    async with opened(make) as store, store.lease("wx1"), asyncio.timeout(5), store.lease("wx2"):
        pass


async def test_a_store_is_read_and_written_while_a_lease_is_held(make: Make) -> None:
    async with opened(make) as store, store.lease("wx1"), asyncio.timeout(5):
        assert await store.replace("wx1", None, ONE)
        assert await store.load("wx1") == ONE


async def test_a_lease_ends_with_an_error_in_its_block(make: Make) -> None:
    async with opened(make) as store:
        with pytest.raises(ZeroDivisionError):
            async with store.lease("wx1"):
                raise ZeroDivisionError
        async with asyncio.timeout(5), store.lease("wx1"):
            pass


@pytest.mark.thorough
async def test_who_is_cancelled_holds_no_lease_and_keeps_none_from_others(make: Make) -> None:
    async with opened(make) as store:

        async def hold() -> None:
            async with store.lease("wx1"):
                await asyncio.sleep(60)

        holder = asyncio.create_task(hold())
        await asyncio.sleep(0.2)
        waiter = asyncio.create_task(hold())
        await asyncio.sleep(0.2)
        for task in (waiter, holder):
            task.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        async with asyncio.timeout(5), store.lease("wx1"):
            pass


async def test_no_repr_shows_a_token(make: Make) -> None:
    async with opened(make) as store:
        await store.replace("wx1", None, ONE)
        shown = f"{store!r} {await store.load('wx1')!r}"
    assert "s3cret" not in shown
    assert "p4ssw0rd" not in shown
    assert shown.startswith("<")


# from a spec to a store


def test_the_kinds_are_told_by_what_stands_before_the_colon(tmp_path: Path) -> None:
    assert open_store("memory") is None  # no store at all
    assert isinstance(open_store(f"file:{tmp_path}/t"), FileStore)
    assert isinstance(open_store("redis://h:1/0"), RedisStore)
    assert isinstance(open_store("rediss://h:1/0"), RedisStore)


@pytest.mark.parametrize("spec", ["", "file", "file:", "nowhere", "etcd://h", "redis", "memory:x"])
def test_what_is_unknown_is_told_what_is_known(spec: str) -> None:
    with pytest.raises(
        UsageError, match=r"is unknown; write memory, file:PATH, redis://HOST"
    ) as at:
        open_store(spec)
    assert repr(spec) in str(at.value)


def test_a_password_is_not_shown_even_of_an_unknown_kind() -> None:
    with pytest.raises(UsageError) as caught:
        open_store("redi://u:p4ssw0rd@h")
    assert "p4ssw0rd" not in str(caught.value)
