"""The token of one account, shared by all its tasks."""

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from anyio import current_time

from harvester.base.secrets import Secret
from harvester.errors import AccountError, UsageError
from harvester.model import Action, Send, Token, TokenProvider, Verdict
from harvester.tokens.shared import (
    CallableProvider,
    SharedToken,
    TokenRefusedError,
    check_token_source,
    provides,
)
from tests.builders import Given, no_sending
from tests.support import virtual

BUSY = TokenRefusedError(Verdict(Action.RETRY, "WeChat is busy"))


def test_a_provider_is_what_fetches() -> None:
    assert provides(Given())
    assert not provides(object())


def shared(*tokens: Token | Exception) -> SharedToken:
    return SharedToken("wx1", Given(*tokens), no_sending)


# getting one


@virtual()
async def test_before_the_first_fetch_there_is_none_and_one_is_due() -> None:
    token = shared()
    assert (token.peek(), token.due()) == (None, True)
    assert (token.lifetime, token.current, token.fetched) == (0.0, None, 0)
    assert repr(token) == "<SharedToken of wx1: none, 0 fetched>"


@virtual()
async def test_a_fetched_token_serves_without_waiting() -> None:
    token = shared(Token("a"))
    assert (await token.get(), token.peek(), token.due()) == ("a", "a", False)
    assert repr(token) == "<SharedToken of wx1: fresh, 1 fetched>"


@pytest.mark.thorough
def test_where_no_loop_runs_a_token_is_held_or_not() -> None:
    held, none = shared(Token("a")), shared()
    asyncio.run(held.get())
    assert repr(held) == "<SharedToken of wx1: held, 1 fetched>"
    assert repr(none) == "<SharedToken of wx1: none, 0 fetched>"


@virtual()
async def test_any_number_of_tasks_share_one_fetch() -> None:
    token = shared(Token("a"))
    found = await asyncio.gather(*[token.get() for _ in range(64)])
    assert (set(found), token.fetches) == ({"a"}, 1)


@virtual()
async def test_a_token_is_renewed_five_minutes_before_its_end() -> None:
    token = shared(Token("a", 7200.0), Token("b", 7200.0))
    await token.get()
    await asyncio.sleep(6890.0)
    assert (token.due(), await token.get()) == (False, "a")
    await asyncio.sleep(20.0)
    assert (token.due(), token.peek()) == (True, "a")
    assert repr(token) == "<SharedToken of wx1: due, 1 fetched>"
    assert await token.get() == "b"


@virtual()
async def test_a_token_with_a_short_life_is_renewed_at_half_of_it() -> None:
    token = shared(Token("a", 300.0))
    await token.get()
    for seconds, due in ((148.0, False), (2.0, True)):
        await asyncio.sleep(seconds)
        assert token.due() is due


@virtual()
async def test_a_token_can_be_looked_at_for_another_time_of_the_loop() -> None:
    token = shared(Token("a", 1000.0))
    await token.get()
    seen = [(token.peek(at), token.due(at)) for at in (0.0, 699.0, 700.5, 999.5, 1000.5)]
    assert seen == [("a", False), ("a", False), ("a", True), ("a", True), (None, True)]


@virtual()
async def test_at_its_very_end_a_token_has_ended() -> None:
    token = shared(Token("a", 1000.0))
    asked = current_time()
    await token.get()
    assert token.due(asked + 700.0)
    assert token.peek(asked + 1000.0) is None


@virtual()
async def test_a_refresh_tells_whether_another_token_came() -> None:
    token = shared(Token("a", 1000.0), Token("a", 1000.0), Token("b", 1000.0))
    found = [await token.refresh(), await token.refresh()]
    for _ in range(2):
        await asyncio.sleep(800.0)
        found.append(await token.refresh())
    assert [*found, token.fetched == 3] == [True, False, False, True, True]


@virtual()
async def test_the_life_of_a_token_counts_from_before_it_was_asked_for() -> None:
    token = shared(Token("a", 100.0))
    await token.get()
    await asyncio.sleep(98.9)
    assert token.peek() == "a"
    await asyncio.sleep(0.2)
    assert token.peek() is None


@virtual()
async def test_an_old_token_serves_while_no_new_one_can_be_had() -> None:
    token = shared(Token("a", 1001.0), BUSY)
    await token.get()
    await asyncio.sleep(800.0)
    assert (await token.get(), token.due(), token.fetches) == ("a", False, 2)


@virtual()
async def test_after_a_failed_renewal_another_is_tried_in_a_quarter_of_what_is_left() -> None:
    token = shared(Token("a", 1001.0), BUSY, Token("b"))
    await token.get()
    await asyncio.sleep(800.0)  # 200 s are left
    await token.get()
    await asyncio.sleep(45.0)
    assert not token.due()
    await asyncio.sleep(5.0)
    assert (token.due(), await token.get()) == (True, "b")


@virtual()
async def test_without_an_old_token_the_refusal_comes_through() -> None:
    with pytest.raises(TokenRefusedError, match=r"^WeChat is busy$") as caught:
        await shared(BUSY).get()
    assert caught.value.verdict.action is Action.RETRY


@virtual()
async def test_a_failed_fetch_is_counted_and_can_be_tried_again() -> None:
    token = shared(BUSY, Token("a"))
    with pytest.raises(TokenRefusedError):
        await token.get()
    assert (await token.get(), token.fetches) == ("a", 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Token("a", 0.0), "the new token had already expired"),
        (Token("a", -5.0), "the new token had already expired"),
        (Token("a", 0.5), "the new token had already expired"),
        (Token("t0ken\udc80"), "the new token is not UTF-8 text"),
        (Token("\ud800"), "the new token is not UTF-8 text"),
    ],
    ids=["at once", "long since", "before it arrives", "half a letter", "no letter"],
)
@virtual()
async def test_a_token_that_cannot_serve_is_refused_without_being_shown(
    given: Token, said: str
) -> None:
    with pytest.raises(TokenRefusedError, match=rf"^{said}$") as caught:
        await shared(given).get()
    assert caught.value.verdict.action is Action.RETRY
    assert caught.value.__context__ is None


@virtual()
async def test_where_no_token_is_sent_it_may_be_empty() -> None:
    assert await shared(Token("", parameter="")).get() == ""


@virtual()
async def test_a_fetch_that_is_cancelled_lets_the_next_one_in() -> None:
    token = shared(Token("a"), Token("b"))
    fetching = asyncio.create_task(token.get())
    await asyncio.sleep(0.5)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert await token.get() == "b"


# refusals


@virtual()
async def test_a_refusal_tells_whether_it_was_of_the_current_token() -> None:
    token = shared(Token("a"), Token("b"))
    await token.get()
    assert [token.reject("a", "40001"), token.reject("a", "40001")] == [True, False]
    await token.get()
    assert [token.reject("a", "40001"), token.reject("x", "40001")] == [False, False]


@virtual()
async def test_a_refusal_of_an_earlier_fetch_of_the_same_value_is_late() -> None:
    token = shared(Token("a"), Token("a"))
    assert token.reject(await token.get(), "40001", 1)
    await token.get()
    assert not token.reject("a", "40001", 1)
    assert token.peek() == "a"


@virtual()
async def test_a_provider_that_returns_no_token_stops_the_account() -> None:
    wrong: Any = 5
    with pytest.raises(TokenRefusedError, match="source returned int, not a token") as caught:
        await shared(wrong).get()
    assert caught.value.verdict.action is Action.STOP_ACCOUNT


@virtual()
async def test_a_refused_token_is_dropped() -> None:
    token = shared(Token("a"), Token("b"))
    token.reject(await token.get(), "40001")
    assert (token.peek(), token.due()) == (None, True)
    assert await token.get() == "b"


@virtual()
async def test_many_refusals_of_one_token_cost_one_fetch() -> None:
    token = shared(Token("a"), Token("b"))
    old = await token.get()
    for _ in range(64):
        token.reject(old, "40001")
    found = await asyncio.gather(*[token.get() for _ in range(64)])
    assert (set(found), token.fetches) == ({"b"}, 2)


@virtual()
async def test_a_refused_token_that_is_no_longer_current_costs_nothing() -> None:
    token = shared(Token("a"), Token("b"))
    old = await token.get()
    token.reject(old, "40001")
    await token.get()
    for _ in range(10):
        token.reject(old, "40001")
    assert (await token.get(), token.fetches) == ("b", 2)


@pytest.mark.parametrize("rid", ["", " [rid: 65-43]"])
@pytest.mark.parametrize("second", ["b", "a"], ids=["another", "the same again"])
@virtual()
async def test_a_second_refusal_in_a_row_stops_the_account(second: str, rid: str) -> None:
    token = shared(Token("a"), Token(second))
    token.reject(await token.get(), "errcode 40001")
    with pytest.raises(AccountError) as caught:
        token.reject(await token.get(), f"errcode 40001{rid}")
    assert str(caught.value) == (
        "wx1: WeChat refused a token that was just fetched (errcode 40001); another program"
        " might be fetching tokens for this account, which ends ours: let all programs use"
        f" stable_token or one token server, then run the same command again{rid}"
    )


@virtual()
async def test_no_message_and_no_repr_holds_the_token() -> None:
    token = shared(Token("s3cret1"), Token("s3cret2"))
    token.reject(await token.get(), "40001")
    with pytest.raises(AccountError) as caught:
        token.reject(await token.get(), "40001")
    assert "s3cret" not in f"{token!r}{caught.value}"


@virtual()
async def test_a_source_that_makes_up_a_cancellation_is_a_failed_attempt() -> None:
    class Cancels:
        async def fetch(self, send: Send) -> Token:
            raise asyncio.CancelledError

    with pytest.raises(TokenRefusedError, match=r"^the account's token source failed: ") as caught:
        await SharedToken("wx1", Cancels(), no_sending).get()
    assert caught.value.verdict.action is Action.RETRY


@virtual()
async def test_a_new_token_that_was_accepted_once_may_be_refused_later() -> None:
    token = shared(Token("a"), Token("b"), Token("c"))
    token.reject(await token.get(), "40001")
    token.accept(await token.get())
    token.reject("b", "40001")
    assert await token.get() == "c"


@virtual()
async def test_an_old_token_that_is_accepted_late_proves_nothing_about_the_new_one() -> None:
    token = shared(Token("a"), Token("b"))
    token.reject(await token.get(), "40001")
    await token.get()
    token.accept("a")
    with pytest.raises(AccountError):
        token.reject("b", "40001")


@virtual()
async def test_a_token_refused_after_a_renewal_in_time_is_only_the_first_refusal() -> None:
    token = shared(Token("a", 100.0), Token("b", 100.0), Token("c", 100.0))
    await token.get()
    await asyncio.sleep(60.0)
    token.reject(await token.get(), "40001")
    assert await token.get() == "c"


# callables


def fetched(source: Callable[[], object]) -> Token:
    shared = SharedToken("wx1", CallableProvider(source), no_sending)  # type: ignore[arg-type]
    asyncio.run(shared.get())
    assert shared.current is not None
    return shared.current


async def later() -> str:
    return "a"


@pytest.mark.parametrize(
    ("source", "lifetime"),
    [(lambda: Token("a", 60.0), 60.0), (lambda: "a", 7200.0), (later, 7200.0)],
    ids=["token", "string", "async"],
)
def test_a_callable_may_return_a_token_or_a_string_and_may_be_async(
    source: Callable[[], object], lifetime: float
) -> None:
    token = fetched(source)
    assert (token.value, token.lifetime) == ("a", lifetime)


def test_a_callable_is_not_shown() -> None:
    assert repr(CallableProvider(lambda: "a")) == "<CallableProvider>"


@pytest.mark.parametrize(
    ("returned", "named"), [("", "str"), (None, "NoneType"), (5, "int"), (b"a", "bytes")]
)
def test_what_is_no_token_is_refused(returned: object, named: str) -> None:
    with pytest.raises(
        TokenRefusedError, match=rf"^the account's token source returned {named}, not a token$"
    ) as caught:
        fetched(lambda: returned)
    assert caught.value.verdict.action is Action.STOP_ACCOUNT


def test_a_refusal_can_be_sent_to_another_process() -> None:
    again = pickle.loads(pickle.dumps(BUSY))
    assert (type(again), again.verdict) == (TokenRefusedError, BUSY.verdict)


def test_what_a_callable_raises_is_named_by_its_class_only() -> None:
    def source() -> str:
        raise ConnectionError("https://tokens/?key=s3cret")

    with pytest.raises(TokenRefusedError) as caught:
        asyncio.run(SharedToken("wx1", CallableProvider(source), no_sending).get())
    assert str(caught.value) == "the account's token source failed: ConnectionError"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_what_has_a_fetch_is_a_provider() -> None:
    assert isinstance(Given(), TokenProvider)
    assert not isinstance(no_sending, TokenProvider)


@pytest.mark.parametrize("given", ["stable", "classic", lambda: "a", Given()])
def test_a_kind_a_provider_or_a_callable_is_a_token_source(given: object) -> None:
    check_token_source(given, ("stable", "classic"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("forced", "'forced' is not one of stable, classic"),
        ("fifteen-letters", "'fifteen-letters' is not one of stable, classic"),
        ("sixteen-letters!", "what was given is not one of stable, classic"),  # may be a token
        (None, "NoneType is neither a kind of token nor a callable"),
        (5, "int is neither a kind of token nor a callable"),
        (Token("s3cret"), "Token is neither a kind of token nor a callable"),
    ],
    ids=["unknown", "short", "long", "none", "number", "token"],
)
def test_anything_else_is_refused_and_what_may_be_a_token_is_not_shown(
    given: object, said: str
) -> None:
    with pytest.raises(UsageError, match=rf"^token: {said}$"):
        check_token_source(given, ("stable", "classic"))


@virtual()
async def test_what_a_token_is_fetched_with_is_known_unless_it_is_too_short() -> None:
    class Knows:
        secrets = (Secret("f" * 32), Secret("short"))

        async def fetch(self, send: Send) -> Token:
            raise NotImplementedError

    assert [one.value for one in SharedToken("wx1", Knows(), no_sending).secrets] == ["f" * 32]
