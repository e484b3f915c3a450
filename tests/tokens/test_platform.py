"""The tokens of a third-party platform and of its accounts."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from harvester.engine.scope import Scope
from harvester.errors import AttemptError, UsageError
from harvester.model import Action, Request, Response, Stored
from harvester.testing import FakeTransport, MemorySink, Simulator, VirtualTimeLoop
from harvester.tokens.official import provider_for
from harvester.tokens.platform import Platform
from harvester.tokens.shared import SharedToken, TokenRefusedError, shared_token
from harvester.wechat.interfaces import INTERFACES
from tests.builders import refusal_of, wall
from tests.support import JANUARY, A, B, engine_run, noon, virtual

PLATFORM = ("wx00000000000000cc", "c0mponent-s3cret")


def test_a_platforms_secret_is_text_too() -> None:
    with pytest.raises(UsageError) as caught:
        Platform(PLATFORM[0], "s3cret\udc80", "ticket.txt")
    assert str(caught.value) == f"platform {PLATFORM[0]}: its secret is not UTF-8 text"


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
    assert verdict.message.endswith(
        "ask the account's administrator to authorise the platform again"
    )


@virtual()
async def test_a_refresh_token_that_another_program_has_changed_meanwhile_is_read_again() -> None:
    scene = Scene()
    last = scene.simulator.refresh_token(A)
    given = iter(["refreshtoken@@@0ld"])
    token = scene.token(refresh_token=lambda: next(given, last))
    assert (await refusal_of(token)).action is Action.RETRY
    assert await token.get()


class Store:
    """A store that several machines reach."""

    def __init__(self) -> None:
        self.kept: dict[str, Stored] = {}
        self.away = False

    async def load(self, key: str) -> Stored | None:
        await asyncio.sleep(0)
        if self.away:
            raise AttemptError("the store cannot be reached")
        return self.kept.get(key)

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        found = await self.load(key)
        if (found and found.value) != (former and former.value):
            return False
        self.kept[key] = new
        return True

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncIterator[None]:
        yield

    async def close(self) -> None:
        """Nothing to release."""


class Machine:
    """A machine with a file of its own for the refresh token."""

    def __init__(self, scene: Scene, store: Store) -> None:
        self.file = scene.simulator.refresh_token(A)
        self._scene, self._store = scene, store
        self._platform = Platform(*PLATFORM, scene.simulator.ticket)
        self._account = self._platform.account(A, lambda: self.file, self._save)

    def _save(self, refresh: str) -> None:
        self.file = refresh

    async def token(self) -> str:
        """An access token of a new run."""
        send, store = self._scene.send, self._store
        shared = shared_token(A, provider_for(self._account), send, store, wall)
        return await shared.get()


def expired(scene: Scene, store: Store) -> None:
    """The access token has ended everywhere."""
    scene.simulator.revoke(A)
    store.kept.pop(A, None)


@virtual()
async def test_machines_share_a_refresh_token_that_has_changed() -> None:
    scene, store = Scene(), Store()
    one, two = Machine(scene, store), Machine(scene, store)
    first = one.file
    await one.token()
    assert set(store.kept) == {PLATFORM[0], A}  # the refresh token is the one of the files
    for machine in (one, two, one, two):
        expired(scene, store)
        scene.simulator.rotate_refresh(A)
        assert await machine.token()
        expired(scene, store)
        assert await machine.token()  # with the new one: the former is not valid any more
    newest = scene.simulator.refresh_token(A)
    assert store.kept[f"{A}.refresh"].value == newest == two.file
    assert first != one.file != two.file


@virtual()
async def test_after_a_new_authorisation_the_machine_that_knows_it_shares_it() -> None:
    scene, store = Scene(), Store()
    one, two = Machine(scene, store), Machine(scene, store)
    scene.simulator.rotate_refresh(A)
    await one.token()
    expired(scene, store)
    scene.simulator.deauthorize(A)
    scene.simulator.authorize(A)
    two.file = scene.simulator.refresh_token(A)
    with pytest.raises(TokenRefusedError) as caught:
        await two.token()  # it tried the shared one first
    assert caught.value.verdict.action is Action.RETRY
    assert await two.token()
    expired(scene, store)
    assert await one.token()
    assert store.kept[f"{A}.refresh"].value == two.file != one.file


@virtual()
async def test_a_refresh_token_that_cannot_be_shared_is_not_lost() -> None:
    scene, store = Scene(), Store()
    one, two = Machine(scene, store), Machine(scene, store)
    await one.token()
    expired(scene, store)
    scene.simulator.rotate_refresh(A)
    send = scene.send

    async def cut_off(request: Request) -> Response:
        answer = await send(request)
        store.away = True
        return answer

    scene.send = cut_off
    with pytest.raises(TokenRefusedError):
        await one.token()
    assert one.file == scene.simulator.refresh_token(A)
    scene.send, store.away = send, False
    assert await one.token()
    expired(scene, store)
    assert await two.token()


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
    assert "no new ticket came for 10 minutes" in verdict.message


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
