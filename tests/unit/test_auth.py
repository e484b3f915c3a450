"""The token of one account, shared by all its tasks."""

import asyncio
import pickle
from collections.abc import Callable

import pytest

from harvester.auth import (
    CallableProvider,
    Send,
    SharedToken,
    TokenProvider,
    TokenRefusedError,
    check_token_source,
)
from harvester.errors import AccountError, UsageError
from harvester.model import Action, Request, Response, Token, Verdict
from harvester.secrets import Secret
from harvester.testing import VirtualTimeLoop, run_virtual

BUSY = TokenRefusedError(Verdict(Action.RETRY, "WeChat is busy"))


async def no_sending(request: Request) -> Response:
    raise AssertionError("nothing is sent here")


class Given:
    """A provider that gives what it was given, in turn; each fetch takes a second."""

    def __init__(self, *tokens: Token | Exception) -> None:
        self.tokens = list(tokens)
        self.fetches = 0

    async def fetch(self, send: Send) -> Token:
        self.fetches += 1
        given = self.tokens.pop(0)
        await asyncio.sleep(1.0)
        if isinstance(given, Exception):
            raise given
        return given


def shared(*tokens: Token | Exception) -> SharedToken:
    return SharedToken("wx1", Given(*tokens), no_sending)


# getting one


def test_before_the_first_fetch_there_is_none_and_one_is_due() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str | None, bool, str]:
        token = shared()
        return token.peek(), token.due(), repr(token)

    assert run_virtual(main) == (None, True, "<SharedToken of wx1: none, 0 fetched>")


def test_before_the_first_fetch_nothing_is_known_of_a_token() -> None:
    token = shared()
    assert (token.lifetime, token.current, token.fetched) == (0.0, None, 0)


def test_where_no_loop_runs_a_token_is_held_or_not() -> None:
    async def main(loop: VirtualTimeLoop) -> list[SharedToken]:
        held = shared(Token("a"))
        await held.get()
        return [held, shared()]

    assert [repr(token) for token in run_virtual(main)] == [
        "<SharedToken of wx1: held, 1 fetched>",
        "<SharedToken of wx1: none, 0 fetched>",
    ]


def test_a_fetched_token_serves_without_waiting() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str, str | None, bool, str]:
        token = shared(Token("a"))
        return await token.get(), token.peek(), token.due(), repr(token)

    assert run_virtual(main) == ("a", "a", False, "<SharedToken of wx1: fresh, 1 fetched>")


def test_any_number_of_tasks_share_one_fetch() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[set[str], int]:
        token = shared(Token("a"))
        found = await asyncio.gather(*[token.get() for _ in range(64)])
        return set(found), token.fetches

    assert run_virtual(main) == ({"a"}, 1)


def test_a_token_is_renewed_five_minutes_before_its_end() -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        token = shared(Token("a", 7200.0), Token("b", 7200.0))
        await token.get()
        await asyncio.sleep(6890.0)
        early = token.due(), await token.get()
        await asyncio.sleep(20.0)
        return [early, (token.due(), token.peek(), repr(token)), await token.get()]

    assert run_virtual(main) == [
        (False, "a"),
        (True, "a", "<SharedToken of wx1: due, 1 fetched>"),
        "b",
    ]


def test_a_token_with_a_short_life_is_renewed_at_half_of_it() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        token = shared(Token("a", 300.0))
        await token.get()
        await asyncio.sleep(148.0)
        before = token.due()
        await asyncio.sleep(2.0)
        return [before, token.due()]

    assert run_virtual(main) == [False, True]


def test_a_token_can_be_looked_at_for_another_time_of_the_loop() -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        token = shared(Token("a", 1000.0))
        await token.get()
        return [(token.peek(at), token.due(at)) for at in (0.0, 699.0, 700.5, 999.5, 1000.5)]

    assert run_virtual(main) == [
        ("a", False),
        ("a", False),
        ("a", True),
        ("a", True),
        (None, True),
    ]


def test_at_its_very_end_a_token_has_ended() -> None:
    async def main(loop: VirtualTimeLoop) -> list[object]:
        token = shared(Token("a", 1000.0))
        asked = loop.time()
        await token.get()
        return [token.due(asked + 700.0), token.peek(asked + 1000.0)]

    assert run_virtual(main) == [True, None]


def test_a_refresh_tells_whether_another_token_came() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        token = shared(Token("a", 1000.0), Token("a", 1000.0), Token("b", 1000.0))
        found = [await token.refresh(), await token.refresh()]
        for _ in range(2):
            await asyncio.sleep(800.0)
            found.append(await token.refresh())
        return [*found, token.fetched == 3]

    assert run_virtual(main) == [True, False, False, True, True]


def test_the_life_of_a_token_counts_from_before_it_was_asked_for() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str | None]:
        token = shared(Token("a", 100.0))
        await token.get()
        await asyncio.sleep(98.9)
        before = token.peek()
        await asyncio.sleep(0.2)
        return [before, token.peek()]

    assert run_virtual(main) == ["a", None]


def test_an_old_token_serves_while_no_new_one_can_be_had() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str, bool, int]:
        token = shared(Token("a", 1000.0), BUSY)
        await token.get()
        await asyncio.sleep(800.0)
        return await token.get(), token.due(), token.fetches

    assert run_virtual(main) == ("a", False, 2)


def test_after_a_failed_renewal_another_is_tried_in_a_quarter_of_what_is_left() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[bool, bool, str]:
        token = shared(Token("a", 1001.0), BUSY, Token("b"))
        await token.get()
        await asyncio.sleep(800.0)  # 200 s are left
        await token.get()
        await asyncio.sleep(45.0)
        before = token.due()
        await asyncio.sleep(5.0)
        return before, token.due(), await token.get()

    assert run_virtual(main) == (False, True, "b")


def test_without_an_old_token_the_refusal_comes_through() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        with pytest.raises(TokenRefusedError, match=r"^WeChat is busy$") as caught:
            await shared(BUSY).get()
        assert caught.value.verdict.action is Action.RETRY

    run_virtual(main)


def test_a_failed_fetch_is_counted_and_can_be_tried_again() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str, int]:
        token = shared(BUSY, Token("a"))
        with pytest.raises(TokenRefusedError):
            await token.get()
        return await token.get(), token.fetches

    assert run_virtual(main) == ("a", 2)


@pytest.mark.parametrize("lifetime", [0.0, -5.0, 0.5])
def test_a_token_that_ends_before_it_arrives_is_refused(lifetime: float) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        with pytest.raises(TokenRefusedError, match=r"^the new token had already ended$") as caught:
            await shared(Token("a", lifetime)).get()
        assert caught.value.verdict.action is Action.RETRY

    run_virtual(main)


@pytest.mark.parametrize("value", ["t0ken\udc80", "\ud800"])
def test_a_token_that_no_request_can_hold_is_refused_without_being_shown(value: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        with pytest.raises(TokenRefusedError, match=r"^the new token is not UTF-8 text$") as caught:
            await shared(Token(value)).get()
        assert caught.value.verdict.action is Action.RETRY
        assert caught.value.__context__ is None

    run_virtual(main)


def test_where_no_token_is_sent_it_may_be_empty() -> None:
    async def main(loop: VirtualTimeLoop) -> str:
        return await shared(Token("", parameter="")).get()

    assert run_virtual(main) == ""


def test_a_fetch_that_is_cancelled_lets_the_next_one_in() -> None:
    async def main(loop: VirtualTimeLoop) -> str:
        token = shared(Token("a"), Token("b"))
        fetching = asyncio.create_task(token.get())
        await asyncio.sleep(0.5)
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        return await token.get()

    assert run_virtual(main) == "b"


# refusals


def test_a_refusal_tells_whether_it_was_of_the_current_token() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bool]:
        token = shared(Token("a"), Token("b"))
        await token.get()
        found = [token.reject("a", "40001"), token.reject("a", "40001")]
        await token.get()
        return [*found, token.reject("a", "40001"), token.reject("x", "40001")]

    assert run_virtual(main) == [True, False, False, False]


def test_a_refused_token_is_dropped() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str | None, bool, str]:
        token = shared(Token("a"), Token("b"))
        token.reject(await token.get(), "40001")
        return token.peek(), token.due(), await token.get()

    assert run_virtual(main) == (None, True, "b")


def test_a_refused_token_that_is_no_longer_current_costs_nothing() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[str, int]:
        token = shared(Token("a"), Token("b"))
        old = await token.get()
        token.reject(old, "40001")
        await token.get()
        for _ in range(10):
            token.reject(old, "40001")
        return await token.get(), token.fetches

    assert run_virtual(main) == ("b", 2)


def test_many_refusals_of_one_token_cost_one_fetch() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[set[str], int]:
        token = shared(Token("a"), Token("b"))
        old = await token.get()
        for _ in range(64):
            token.reject(old, "40001")
        return set(await asyncio.gather(*[token.get() for _ in range(64)])), token.fetches

    assert run_virtual(main) == ({"b"}, 2)


def test_a_second_refusal_in_a_row_stops_the_account() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        token = shared(Token("a"), Token("b"))
        token.reject(await token.get(), "errcode 40001")
        with pytest.raises(AccountError) as caught:
            token.reject(await token.get(), "errcode 40001")
        assert str(caught.value) == (
            "wx1: WeChat refused a token that was just fetched (errcode 40001); another program may"
            " be fetching tokens for this account and ending ours: let all of them use stable_token"
            " or one token server, then run the same command again"
        )

    run_virtual(main)


def test_the_same_token_given_again_and_refused_again_stops_the_account() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        token = shared(Token("a"), Token("a"))
        token.reject(await token.get(), "40001")
        with pytest.raises(AccountError):
            token.reject(await token.get(), "40001")

    run_virtual(main)


def test_a_new_token_that_was_accepted_once_may_be_refused_later() -> None:
    async def main(loop: VirtualTimeLoop) -> str:
        token = shared(Token("a"), Token("b"), Token("c"))
        token.reject(await token.get(), "40001")
        token.accept(await token.get())
        token.reject("b", "40001")
        return await token.get()

    assert run_virtual(main) == "c"


def test_an_old_token_that_is_accepted_late_proves_nothing_about_the_new_one() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        token = shared(Token("a"), Token("b"))
        token.reject(await token.get(), "40001")
        await token.get()
        token.accept("a")
        with pytest.raises(AccountError):
            token.reject("b", "40001")

    run_virtual(main)


def test_a_token_refused_after_a_renewal_in_time_is_only_the_first_refusal() -> None:
    async def main(loop: VirtualTimeLoop) -> str:
        token = shared(Token("a", 100.0), Token("b", 100.0), Token("c", 100.0))
        await token.get()
        await asyncio.sleep(60.0)
        token.reject(await token.get(), "40001")
        return await token.get()

    assert run_virtual(main) == "c"


def test_no_message_and_no_repr_holds_the_token() -> None:
    async def main(loop: VirtualTimeLoop) -> str:
        token = shared(Token("s3cret1"), Token("s3cret2"))
        token.reject(await token.get(), "40001")
        with pytest.raises(AccountError) as caught:
            token.reject(await token.get(), "40001")
        return f"{token!r}{caught.value}"

    assert "s3cret" not in run_virtual(main)


# callables


def fetched(source: Callable[[], object]) -> Token:
    provider = CallableProvider(source)  # type: ignore[arg-type]
    return asyncio.run(provider.fetch(no_sending))


def test_a_callable_may_return_a_token() -> None:
    assert fetched(lambda: Token("a", 60.0)).lifetime == 60.0


def test_a_callable_may_return_a_string() -> None:
    token = fetched(lambda: "a")
    assert (token.value, token.lifetime) == ("a", 7200.0)


def test_a_callable_may_be_async() -> None:
    async def source() -> str:
        return "a"

    assert fetched(source).value == "a"


@pytest.mark.parametrize(
    ("returned", "named"), [("", "str"), (None, "NoneType"), (5, "int"), (b"a", "bytes")]
)
def test_what_is_no_token_is_refused(returned: object, named: str) -> None:
    with pytest.raises(
        TokenRefusedError, match=rf"^the account's token callable returned {named}, not a token$"
    ) as caught:
        fetched(lambda: returned)
    assert caught.value.verdict.action is Action.RETRY


def test_a_refusal_can_be_sent_to_another_process() -> None:
    again = pickle.loads(pickle.dumps(BUSY))
    assert (type(again), again.verdict) == (TokenRefusedError, BUSY.verdict)


def test_what_a_callable_raises_is_named_by_its_class_only() -> None:
    def source() -> str:
        raise ConnectionError("https://tokens/?key=s3cret")

    with pytest.raises(TokenRefusedError) as caught:
        fetched(source)
    assert str(caught.value) == "the account's token callable raised ConnectionError"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_callable_is_not_shown() -> None:
    assert repr(CallableProvider(lambda: "a")) == "<CallableProvider>"


def test_what_has_a_fetch_is_a_provider() -> None:
    assert isinstance(Given(), TokenProvider)
    assert not isinstance(no_sending, TokenProvider)


@pytest.mark.parametrize("given", ["stable", "classic", lambda: "a", Given()])
def test_a_kind_a_provider_or_a_callable_is_a_token_source(given: object) -> None:
    check_token_source(given, ("stable", "classic"))


def test_an_unknown_kind_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UsageError, match=r"^token: 'forced' is not one of stable, classic$"):
        check_token_source("forced", ("stable", "classic"))


def test_what_may_be_a_token_itself_is_not_shown() -> None:
    with pytest.raises(UsageError, match=r"^token: 'fifteen-letters' is not one of"):
        check_token_source("fifteen-letters", ("stable", "classic"))
    with pytest.raises(UsageError, match=r"^token: what was given is not one of stable, classic$"):
        check_token_source("sixteen-letters!", ("stable", "classic"))


@pytest.mark.parametrize(
    ("given", "named"), [(None, "NoneType"), (5, "int"), (Token("s3cret"), "Token")]
)
def test_anything_else_is_refused_without_being_shown(given: object, named: str) -> None:
    with pytest.raises(UsageError, match=rf"^token: {named} is neither a kind nor a callable$"):
        check_token_source(given, ("stable", "classic"))


def test_what_a_token_is_fetched_with_is_known_unless_it_is_too_short() -> None:
    class Knows:
        secrets = (Secret("f" * 32), Secret("short"))

        async def fetch(self, send: Send) -> Token:
            raise NotImplementedError

    async def main(loop: VirtualTimeLoop) -> list[str]:
        return [one.value for one in SharedToken("wx1", Knows(), no_sending).secrets]

    assert run_virtual(main) == ["f" * 32]
