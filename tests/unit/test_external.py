"""Tokens in a store, of platforms, and from elsewhere; see test_official for WeChat's own two."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harvester.engine.scope import Scope
from harvester.errors import AccountError, AttemptError, UsageError
from harvester.model import Account, Action, Request, Response, Send, Stored, Token, Verdict
from harvester.testing import FakeTransport, MemorySink, Simulator, VirtualTimeLoop
from harvester.tokens.external import CloudbaseToken, CommandToken, HttpToken, NoToken, StaticToken
from harvester.tokens.official import provider_for
from harvester.tokens.platform import Platform
from harvester.tokens.shared import SharedToken, StoredToken, TokenRefusedError, shared_token
from harvester.tokens.stores import MemoryStore
from harvester.transport import HttpTransport
from harvester.wechat.interfaces import INTERFACES
from tests.support import JANUARY, A, B, engine_run, noon, virtual

BUSY = TokenRefusedError(Verdict(Action.RETRY, "WeChat is busy"))


async def no_sending(request: Request) -> Response:
    raise AssertionError("nothing is sent here")


class Given:
    """A provider that gives what it was given, in turn; each fetch takes a second."""

    def __init__(self, *tokens: Token | Exception) -> None:
        self.tokens = list(tokens)

    async def fetch(self, send: Send) -> Token:
        given = self.tokens.pop(0)
        await asyncio.sleep(1.0)
        if isinstance(given, Exception):
            raise given
        return given


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


def wall() -> float:
    loop: Any = asyncio.get_running_loop()
    return loop.wall()  # type: ignore[no-any-return]


def stored(store: MemoryStore, *tokens: Token | Exception) -> StoredToken:
    """The account as one program sees it."""
    return StoredToken("wx1", Given(*tokens), no_sending, store, wall)


def lasting(value: str, left: float = 7200.0) -> Stored:
    """What stands in the store of a token that has so many seconds left."""
    return Stored(value, wall() + left, abs(left))


async def refusal_of(token: SharedToken) -> Verdict:
    """Why no token can be had."""
    with pytest.raises(TokenRefusedError) as caught:
        await token.get()
    assert str(caught.value) == caught.value.verdict.message
    return caught.value.verdict


# with a store


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
            raise UsageError("x is no token store")

    verdict = await refusal_of(stored(Foreign()))
    assert verdict.action is Action.STOP_ACCOUNT
    assert "no token store" in verdict.message


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


@pytest.mark.parametrize("kind", ["stable", "classic"])
def test_a_secret_that_no_request_can_hold_is_refused_without_being_shown(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        provider_for(Account(A, "s3cret\udc80", kind))
    assert str(caught.value) == f"account {A}: its secret is not UTF-8 text"


def test_a_platforms_secret_is_text_too() -> None:
    with pytest.raises(UsageError) as caught:
        Platform(PLATFORM[0], "s3cret\udc80", "ticket.txt")
    assert str(caught.value) == f"platform {PLATFORM[0]}: its secret is not UTF-8 text"


# platforms

PLATFORM = ("wx00000000000000cc", "c0mponent-s3cret")


class Scene:
    """A platform and its accounts against a simulated WeChat, in virtual time."""

    def __init__(self, ticket: Callable[[], str] | None = None) -> None:
        self.simulator = Simulator(component=PLATFORM, wall=wall)
        self.platform = Platform(*PLATFORM, ticket or self.simulator.ticket)
        self.send = FakeTransport(self.simulator).send
        self.saved: list[str] = []

    def token(self, appid: str = A, **how: Any) -> SharedToken:
        how = {"refresh_token": self.simulator.refresh_token(appid), "save": self.keep, **how}
        provider = provider_for(self.platform.account(appid, **how))
        return shared_token(appid, provider, self.send, None, wall)

    async def keep(self, refresh: str) -> None:
        await asyncio.sleep(0)
        self.saved.append(refresh)


@virtual()
async def test_the_accounts_of_a_platform_share_one_token_of_it() -> None:
    scene = Scene()
    tokens = [scene.token(A), scene.token(B)]
    await asyncio.gather(*[token.get() for token in tokens])
    assert (scene.simulator.counts["token"], scene.saved) == (3, [])


@virtual()
async def test_a_platforms_token_is_renewed_ten_minutes_before_its_end() -> None:
    scene = Scene()
    component = scene.platform.token(scene.send, None, wall)
    await component.get()
    await asyncio.sleep(6590.0)
    assert not component.due()
    await asyncio.sleep(20.0)
    assert component.due()


@virtual()
async def test_a_new_refresh_token_is_saved_before_the_token_is_given_out() -> None:
    scene = Scene()
    token = scene.token()
    scene.simulator.rotate_refresh(A)
    await token.get()
    assert scene.saved == [scene.simulator.refresh_token(A)]


@virtual()
async def test_a_token_whose_refresh_token_cannot_be_saved_is_not_used_and_tried_again() -> None:
    scene, broken = Scene(), True

    def save(refresh: str) -> None:
        if broken:
            raise ConnectionError(refresh)
        scene.saved.append(refresh)

    token = scene.token(save=save)
    scene.simulator.rotate_refresh(A)
    why = f"the new refresh token of {A} cannot be stored: save raised ConnectionError"
    assert (await refusal_of(token))[:2] == (Action.RETRY, why)
    broken = False
    await token.get()
    assert token.peek() is not None
    assert scene.saved == [scene.simulator.refresh_token(A)]


@virtual()
async def test_a_component_token_that_was_ended_is_fetched_anew() -> None:
    scene = Scene()
    one, two = scene.token(A), scene.token(B)
    await one.get()
    scene.simulator.revoke(PLATFORM[0])
    await two.get()
    assert (scene.simulator.counts["token"], two.fetches) == (5, 1)


@virtual()
async def test_a_refresh_token_that_is_not_valid_stops_the_account_and_says_what_to_do() -> None:
    verdict = await refusal_of(Scene().token(refresh_token="refreshtoken@@@0ld"))
    assert (verdict.action, verdict.code) == (Action.STOP_ACCOUNT, 61023)
    assert verdict.message.endswith("let the account authorise the platform again")


@virtual()
async def test_a_refresh_token_that_another_program_has_changed_meanwhile_is_read_again() -> None:
    scene = Scene()
    last = scene.simulator.refresh_token(A)
    given = iter(["refreshtoken@@@0ld"])
    token = scene.token(refresh_token=lambda: next(given, last))
    assert (await refusal_of(token)).action is Action.RETRY
    assert await token.get()


@pytest.mark.parametrize("first", ["ticket@@@0_0", ""])
@virtual()
async def test_a_ticket_that_is_refused_or_missing_is_waited_for(first: str) -> None:
    ticket = first
    scene = Scene(lambda: ticket)
    token = scene.token()
    for _ in range(3):
        assert (await refusal_of(token)).action is Action.NOT_READY
        await asyncio.sleep(60.0)
    assert scene.simulator.counts["token"] == (1 if first else 0)
    ticket = scene.simulator.ticket()
    await token.get()


@virtual()
async def test_without_a_ticket_for_ten_minutes_the_account_stops() -> None:
    token = Scene(lambda: "ticket@@@0_0").token()
    await refusal_of(token)
    await asyncio.sleep(601.0)
    verdict = await refusal_of(token)
    assert verdict.action is Action.STOP_ACCOUNT
    assert verdict.message.startswith(f"platform {PLATFORM[0]}: ")
    assert "none came for 10 minutes" in verdict.message


@pytest.mark.parametrize(("minutes", "state"), [(8, "complete"), (12, "failed")])
@virtual(noon("2024-03-01"))
async def test_a_run_waits_ten_minutes_for_a_ticket_and_then_stops_the_account(
    loop: VirtualTimeLoop, minutes: int, state: str
) -> None:
    begin = loop.time()
    valid = begin + 60.0 * minutes
    scene = Scene(lambda: scene.simulator.ticket() if loop.time() > valid else "0ld")
    refresh = scene.simulator.refresh_token(A)
    providers = {A: provider_for(scene.platform.account(A, refresh, scene.keep))}
    asked = Scope(providers, (INTERFACES["getarticlesummary"],), *JANUARY)
    report = await engine_run(loop, scene.simulator, asked, MemorySink())
    assert (report.state, loop.time() - begin < 60.0 * 11.5) == (state, True)


def test_a_refresh_token_that_nobody_keeps_is_refused() -> None:
    with pytest.raises(UsageError, match="give the path of the file") as caught:
        Platform(*PLATFORM, "ticket").account(A, "refreshtoken@@@s3cret")
    assert "s3cret" not in str(caught.value)


@virtual()
async def test_nothing_of_a_platform_is_shown() -> None:
    scene = Scene()
    scene.simulator.refuse_token[A] = 61003
    token = scene.token()
    with pytest.raises(TokenRefusedError) as caught:
        await token.get()
    exc = caught.value
    frames = traceback.TracebackException(type(exc), exc, exc.__traceback__, capture_locals=True)
    frames.stack = traceback.StackSummary.from_list(
        [frame for frame in frames.stack if frame.filename != __file__]
    )
    hidden = [
        PLATFORM[1], scene.simulator.ticket(), scene.simulator.refresh_token(A),
        *scene.simulator.tokens,
    ]  # fmt: skip
    text = "".join(frames.format()) + repr(scene.platform) + repr(token)
    assert "fetch_by" in text
    assert " ".join(each for each in hidden if each in text) == ""


# from elsewhere


def given(spec: str, folder: Path | None = None, send: Send = no_sending) -> Token:
    provider = provider_for(Account("wx1", token=spec), folder)
    return asyncio.run(provider.fetch(send))


def refused(spec: str, folder: Path | None = None, send: Send = no_sending) -> Verdict:
    with pytest.raises(TokenRefusedError) as caught:
        given(spec, folder, send)
    assert caught.value.__context__ is None
    return caught.value.verdict


def python(script: str) -> str:
    return f'command:{sys.executable} -c "{script}"'


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("t0ken", ("t0ken", 7200.0)),
        ('{"access_token": "t"}', ("t", 7200.0)),
        ('{"access_token": "t0ken", "expires_in": 60}', ("t0ken", 60.0)),
    ],
    ids=["text", "JSON", "with a lifetime"],
)
def test_a_command_prints_a_token(
    printed: str, expected: tuple[str, float], tmp_path: Path
) -> None:
    (tmp_path / "t").write_text(printed)
    token = given(f"command:cat {tmp_path}/t")
    assert (token.value, token.lifetime) == expected


def test_no_shell_reads_a_command() -> None:
    assert given("command:echo $HOME|t").value == "$HOME|t"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command:false", "the token command ended with status 1"),
        ("command:true", "the token command gave no usable access token"),
        ("command:echo two words", "the token command gave no usable access token"),
        ("command:/no/such/program", "cannot be run (No such file or directory)"),
        (python("print('x' * 70000)"), "the token command printed more than 65536 bytes"),
        (python("import sys; sys.exit('s3cret')"), "the token command ended with status 1"),
    ],
)
def test_a_command_that_gives_none_is_a_failed_attempt(
    spec: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    verdict = refused(spec)
    assert verdict.action is Action.RETRY
    assert verdict.message.endswith(said)
    assert capfd.readouterr() == ("", "")


async def test_a_command_that_does_not_end_is_killed() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(TokenRefusedError, match=r"^the token command took longer than 0\.2 s$"):
            await CommandToken(["sleep", "60"], timeout=0.2).fetch(no_sending)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command:", "the command is missing"),
        ("command:'x", "quotation mark"),
        ("static:", "a token is a reference: env:NAME or file:PATH"),
        ("static:env:HARVESTER_NOT_SET", "HARVESTER_NOT_SET is not set"),
        ("static:file:no", "cannot be read"),
        ("cloudbase:x", "write cloudbase, or cloudbase:file:PATH"),
        ("golden", "'golden' is not one of stable, classic, cloud"),
        ("29_a-token-by-itself-s3cret", "what was given is not one of"),
    ],
)
def test_a_source_that_cannot_be_is_one_sentence(spec: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        provider_for(Account("wx1", token=spec), tmp_path)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def answering(status: int, body: bytes, sent: list[Request] | None = None) -> Send:
    async def send(request: Request) -> Response:
        if sent is not None:
            sent.append(request)
        return Response(status, body)

    return send


@pytest.mark.parametrize("body", [b" t0ken\n", b'{"access_token":"t0ken","expires_in":7200}'])
def test_a_token_server_is_asked_for_nothing_but_its_url(body: bytes) -> None:
    sent: list[Request] = []
    token = given("https://tokens/wx1?key=s3cret", send=answering(200, body, sent))
    assert (token.value, token.lifetime) == ("t0ken", 7200.0)
    assert sent == [Request("GET", "https://tokens/wx1?key=s3cret")]
    assert "s3cret" not in repr(sent)


@pytest.mark.parametrize(
    ("status", "body", "action", "said"),
    [
        (503, b"s3cret", Action.RETRY, "the token server answered HTTP 503"),
        (403, b"s3cret", Action.STOP_ACCOUNT, "the token server answered HTTP 403"),
        (200, b"<html> s3cret", Action.RETRY, "the token server gave no usable access token"),
        (200, b'{"access_token":5}', Action.RETRY, "the token server gave no usable access token"),
        (200, b'{"access_token":"t","expires_in":-1}', Action.RETRY, "no usable access token"),
        (200, b"", Action.RETRY, "the token server gave no usable access token"),
    ],
)
def test_a_token_server_that_gives_none(
    status: int, body: bytes, action: Action, said: str
) -> None:
    verdict = refused("http://tokens/", send=answering(status, body))
    assert verdict.action is action
    assert verdict.message.endswith(said)


async def test_a_token_server_gets_its_header_and_nothing_of_ours() -> None:
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nt0ken")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with HttpTransport("http://127.0.0.1:1") as transport:
            url = f"http://127.0.0.1:{port}/token?for=wx1"
            token = await HttpToken(url, "Bearer b").fetch(transport.send)
    assert token.value == "t0ken"
    (head,) = heads
    assert head.startswith("GET /token?for=wx1 HTTP/1.1\r\n")
    assert "Authorization: Bearer b\r\n" in head


def test_a_static_token_is_read_from_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("t0ken\n")
    (tmp_path / "t").chmod(0o600)
    assert given("static:file:t", tmp_path).value == "t0ken"
    (tmp_path / "t").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        given("static:file:t", tmp_path)


@virtual()
async def test_a_static_token_that_is_refused_stops_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STATIC", "s3cret-token")
    token = shared_token("wx1", StaticToken("env:STATIC"), no_sending, MemoryStore())
    token.reject(await token.get(), "40001")
    why = "WeChat refused the static token; give a new one"
    assert (await refusal_of(token))[:2] == (Action.STOP_ACCOUNT, why)
    monkeypatch.setenv("STATIC", "an0ther-token")
    assert await token.get() == "an0ther-token"


def test_the_token_of_cloud_hosting_lives_half_an_hour_from_its_writing(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("cl0ud\n")
    written = path.stat().st_mtime

    def at(seconds: float) -> Token:
        return asyncio.run(CloudbaseToken(path, lambda: written + seconds).fetch(no_sending))

    token = at(600.0)
    assert (token.value, token.lifetime, token.parameter) == (
        "cl0ud", 1200.0, "cloudbase_access_token",
    )  # fmt: skip
    with pytest.raises(TokenRefusedError, match="older than half an hour"):
        at(1801.0)
    path.unlink()
    with pytest.raises(TokenRefusedError, match="cannot be read"):
        at(0.0)


def test_the_token_of_cloud_hosting_may_come_from_a_callable() -> None:
    async def source() -> str:
        return "cl0ud"

    token = asyncio.run(CloudbaseToken(source).fetch(no_sending))
    assert (token.value, token.lifetime) == ("cl0ud", 1800.0)


@pytest.mark.parametrize(
    "provider",
    [NoToken(), CloudbaseToken("s3cret"), CommandToken(["/bin/x", "s3cret"]),
     HttpToken("s3cret", "s3cret"),
     Platform("wx1", "s3cret", "s3cret"), Platform("wx1", "s", "t").account("wx2", Path("s3cret"))],
)  # fmt: skip
def test_no_repr_of_a_source_shows_what_it_is_given(provider: object) -> None:
    assert "s3cret" not in repr(provider)
