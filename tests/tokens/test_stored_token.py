"""The token of one account, shared by programs through a token store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from harvester.errors import AccountError, AttemptError, UsageError
from harvester.model import Action, Request, Response, Send, Stored, Token, Verdict
from harvester.tokens.external import NoToken
from harvester.tokens.shared import SharedToken, StoredToken, TokenRefusedError, shared_token
from harvester.tokens.stores import MemoryStore
from tests.builders import Given, no_sending, refusal_of, wall
from tests.support import virtual

BUSY = TokenRefusedError(Verdict(Action.RETRY, "WeChat is busy"))


class Broken(MemoryStore):
    """A store that is out of reach while ``broken``."""

    broken = False

    async def load(self, key: str) -> Stored | None:
        if self.broken:
            raise AttemptError("the token store does not answer")
        return await super().load(key)

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        if self.broken:
            raise AttemptError("the token store does not answer")
        return await super().replace(key, former, new)


class Watched(MemoryStore):
    """A store that keeps in mind what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[object, ...]] = []

    async def load(self, key: str) -> Stored | None:
        self.asked.append(("load", key))
        return await super().load(key)

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        self.asked.append(("replace", key, former and former.value, new.value))
        return await super().replace(key, former, new)

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncIterator[None]:
        self.asked.append(("lease", key))
        async with super().lease(key):
            yield


@pytest.fixture
def store() -> Broken:
    return Broken()


def stored(store: MemoryStore, *tokens: Token | Exception) -> StoredToken:
    """The account as one program sees it."""
    return StoredToken("wx1", Given(*tokens), no_sending, store, wall)


def lasting(value: str, left: float = 7200.0) -> Stored:
    """What stands in the store of a token that has so many seconds left."""
    return Stored(value, wall() + left, abs(left))


@pytest.mark.parametrize("life", [7200.0, 1800.0])
@virtual()
async def test_what_another_program_fetched_is_adopted_and_is_no_fetch(
    store: Broken, life: float
) -> None:
    one, two = stored(store, Token("a", life)), stored(store)
    assert (await one.get(), await two.get()) == ("a", "a")
    assert [(each.fetches, each.fetched) for each in (one, two)] == [(1, 1), (0, 1)]
    assert two.lifetime == life


@virtual()
async def test_a_store_is_asked_for_no_more_than_is_needed() -> None:
    store = Watched()
    one, two = stored(store, Token("a"), Token("b")), stored(store)
    await one.get()
    fetched = store.asked[:]
    await two.get()
    adopted = store.asked[len(fetched) :]
    one.reject("a", "40001")
    del store.asked[:]
    await one.get()
    assert (fetched, adopted, store.asked) == (
        [("load", "wx1"), ("lease", "wx1"), ("load", "wx1"), ("replace", "wx1", None, "a")],
        [("load", "wx1")],
        [("load", "wx1"), ("lease", "wx1"), ("load", "wx1"), ("replace", "wx1", "a", "b")],
    )


@virtual()
async def test_a_token_that_its_fetcher_renews_just_now_is_not_adopted(store: Broken) -> None:
    await store.replace("wx1", None, Stored("old", wall() + 300.0, 7200.0))
    assert await stored(store, Token("new")).get() == "new"


@virtual()
async def test_what_ends_first_ends_a_stored_token_the_loop_or_the_wall(store: Broken) -> None:
    now = 1_700_000_000.0
    one = StoredToken("wx1", Given(Token("a", 1000.0)), no_sending, store, lambda: now)
    await one.get()
    found = [(one.peek(at), one.due(at)) for at in (0.0, 699.0, 705.0, 1005.0)]
    assert found == [("a", False), ("a", False), ("a", True), (None, True)]
    now += 999.0
    assert (one.peek(0.0), one.due(0.0)) == ("a", False)
    now += 1.0
    assert (one.peek(0.0), one.due(0.0)) == (None, True)


@virtual()
async def test_of_many_programs_one_fetches(store: Broken) -> None:
    programs = [stored(store, Token(f"t{n}")) for n in range(8)]
    found = await asyncio.gather(*[each.get() for each in programs])
    assert (set(found), sum(each.fetches for each in programs)) == ({"t0"}, 1)


@virtual()
async def test_an_adopted_token_is_renewed_when_its_fetcher_renews_it(store: Broken) -> None:
    one, two = stored(store, Token("a"), Token("b")), stored(store)
    await one.get()
    await asyncio.sleep(3000.0)
    await two.get()
    await asyncio.sleep(3890.0)
    assert [one.due(), two.due()] == [False, False]
    await asyncio.sleep(20.0)
    assert [one.due(), two.due()] == [True, True]
    assert [await one.get(), await two.get(), two.fetches] == ["b", "b", 0]


@virtual()
async def test_a_refused_token_is_replaced_and_not_adopted_again(store: Broken) -> None:
    one, two = stored(store, Token("a"), Token("b")), stored(store)
    await one.get(), await two.get()
    two.reject("a", "40001")
    one.reject("a", "40001")
    found = await one.get(), await two.get()
    assert (found, one.fetches, two.fetches) == (("b", "b"), 2, 0)


@virtual()
async def test_a_late_refusal_throws_nothing_away(store: Broken) -> None:
    one, two = stored(store, Token("a"), Token("b")), stored(store)
    await one.get(), await two.get()
    one.reject("a", "40001")
    await one.get()
    assert two.reject("a", "40001")
    held = await store.load("wx1")
    assert held is not None
    assert (held.value, await two.get(), two.fetches) == ("b", "b", 0)
    assert not two.reject("a", "40001")


@pytest.mark.parametrize(("left", "serves"), [(7200.0, "first"), (-1.0, "slow")])
@virtual()
async def test_who_loses_the_race_adopts_the_winner_unless_that_has_ended(
    store: Broken, left: float, serves: str
) -> None:
    slow = stored(store, Token("slow"))
    getting = asyncio.create_task(slow.get())
    await asyncio.sleep(0.5)
    assert await store.replace("wx1", None, lasting("first", left))
    assert (await getting, slow.fetches) == (serves, 1)
    held = await store.load("wx1")
    assert held is not None
    assert held.value == serves


@virtual()
async def test_winners_that_are_refused_in_a_row_stop_nothing(store: Broken) -> None:
    slow = stored(store, *[Token(f"slow{n}") for n in range(9)])
    former = None
    for number in range(9):
        getting = asyncio.create_task(slow.get())
        await asyncio.sleep(0.5)
        winner = lasting(f"winner{number}", 1800.0)
        assert await store.replace("wx1", former, winner)
        former = winner
        value = await getting
        assert slow.lifetime == 1800.0
        slow.reject(value, "40001")
    assert (slow.fetches, slow.lifetime) == (9, 0.0)


@virtual()
async def test_adopted_tokens_that_are_refused_in_a_row_stop_nothing(store: Broken) -> None:
    two, former = stored(store), None
    for number in range(20):
        new = lasting(f"t{number}")
        assert await store.replace("wx1", former, new)
        former = new
        two.reject(await two.get(), "40001")
    assert two.fetches == 0


@virtual()
async def test_own_tokens_that_are_refused_in_a_row_stop_the_account_in_the_end(
    store: Broken,
) -> None:
    one = stored(store, *[Token(f"t{n}") for n in range(9)])
    for _ in range(3):
        one.reject(await one.get(), "40001")
    with pytest.raises(AccountError, match="refused a token that was just fetched"):
        one.reject(await one.get(), "40001")
    assert one.fetches == 4


@virtual()
async def test_a_token_that_was_accepted_makes_the_refusals_before_it_forgotten(
    store: Broken,
) -> None:
    one = stored(store, *[Token(f"t{n}") for n in range(30)])
    for number in range(20):
        token = await one.get()
        if number % 2:
            one.accept(token)
        one.reject(token, "40001")
    assert one.fetches == 20


@virtual()
async def test_a_store_that_is_out_of_reach_is_a_failed_attempt_and_no_fetch(store: Broken) -> None:
    one = stored(store, Token("a"))
    store.broken = True
    verdict = await refusal_of(one)
    assert verdict[:2] == (Action.RETRY, "the token store does not answer")
    store.broken = False
    assert (one.fetches, await one.get()) == (0, "a")


@virtual()
async def test_a_store_that_cancels_is_a_failed_attempt_that_names_the_store() -> None:
    class Cancels(MemoryStore):
        async def load(self, key: str) -> Stored | None:
            raise asyncio.CancelledError

    verdict = await refusal_of(stored(Cancels(), Token("a")))
    assert verdict.action is Action.RETRY
    assert verdict.message.startswith("the token store failed: ")


@virtual()
async def test_while_the_store_is_out_of_reach_the_current_token_serves(store: Broken) -> None:
    one = stored(store, Token("a", 1000.0))
    await one.get()
    await asyncio.sleep(800.0)
    store.broken = True
    assert (await one.get(), one.due(), one.fetches) == ("a", False, 1)


@virtual()
async def test_a_token_that_cannot_be_stored_serves_all_the_same(store: Broken) -> None:
    one = stored(store, Token("a"))
    getting = asyncio.create_task(one.get())
    await asyncio.sleep(0.5)
    store.broken = True
    assert (await getting, one.fetches) == ("a", 1)


@virtual()
async def test_a_store_that_is_none_stops_the_account() -> None:
    class Foreign(MemoryStore):
        async def load(self, key: str) -> Stored | None:
            raise UsageError("x is not a token store")

    verdict = await refusal_of(stored(Foreign()))
    assert verdict.action is Action.STOP_ACCOUNT
    assert "not a token store" in verdict.message


@virtual()
async def test_a_failed_fetch_lets_the_next_program_try(store: Broken) -> None:
    one, two = stored(store, BUSY), stored(store, Token("b"))
    found = await asyncio.gather(one.get(), two.get(), return_exceptions=True)
    assert (type(found[0]).__name__, found[1]) == ("TokenRefusedError", "b")


@virtual()
async def test_a_sleep_that_the_loop_does_not_know_of_ends_a_token(store: Broken) -> None:
    slept, given = 0.0, Given(Token("a", 100.0), Token("b", 100.0))
    one = StoredToken("wx1", given, no_sending, store, lambda: wall() + slept)
    await one.get()
    slept = 3600.0
    assert (one.peek(), one.due(), await one.get(), one.peek()) == (None, True, "b", "b")


def test_without_a_store_or_use_for_one_a_token_is_not_stored() -> None:
    store = MemoryStore()
    plain = shared_token("wx1", Given(), no_sending)
    free = shared_token("wx1", NoToken(), no_sending, store)
    assert {type(plain), type(free)} == {SharedToken}
    assert type(shared_token("wx1", Given(), no_sending, store)) is StoredToken


@virtual()
async def test_the_token_of_a_run_sends_and_tells_the_time_as_the_run_does() -> None:
    class Sending:
        async def fetch(self, send: Send) -> Token:
            return Token((await send(Request("POST", "/token"))).body.decode(), 1000.0)

    async def send(request: Request) -> Response:
        return Response(200, b"sent for")

    store, wall = MemoryStore(), 1_700_000_000.0
    for token in (
        shared_token("wx1", Sending(), send, None, lambda: wall, 100.0),
        shared_token("wx1", Sending(), send, store, lambda: wall, 100.0),
    ):
        assert await token.get() == "sent for"
        assert [token.due(at) for at in (899.0, 900.1)] == [False, True]
        assert repr(token) == "<SharedToken of wx1: fresh, 1 fetched>"
    assert await store.load("wx1") == Stored("sent for", 1_700_001_000.0, 1000.0)


def test_a_token_of_a_platform_is_joined_to_what_its_accounts_share() -> None:
    class Joined(Given):
        def joined(self, *given: object) -> Joined:
            self.given = given
            return self

    store, provider = MemoryStore(), Joined()
    shared_token("wx1", provider, no_sending, store, sum)
    assert provider.given == (no_sending, store, sum)


class Raising(MemoryStore):
    """A user's store with a defect; its error holds a token."""

    def __init__(self, method: str) -> None:
        super().__init__()

        async def fail(*_: object) -> Any:
            raise KeyError("t0ken")

        setattr(self, method, fail)


@virtual()
async def test_what_a_store_raises_is_named_by_its_class_only() -> None:
    message = (await refusal_of(stored(Raising("load"), Token("a")))).message
    assert message == "the token store failed: KeyError"


@virtual()
async def test_a_token_that_a_store_with_a_defect_does_not_take_serves() -> None:
    assert await stored(Raising("replace"), Token("a")).get() == "a"
