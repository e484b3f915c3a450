"""The state of the service in both ledgers: of several who decide one does, and each reads it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester.base.secrets import Secret
from harvester.errors import LedgerError, NoLedgerError, RunError
from harvester.ledger import PostgresLedger, SqliteLedger, named_sinks
from harvester.service import state as states
from harvester.service.mail import Message
from harvester.service.sender import DeliveryError, Sender
from harvester.service.state import State, StateRow, forget, parsed, update
from tests.postgres_server import PostgresServer
from tests.support import A, B

HOOK = "env:HOOK"
NOW = 1_772_323_500.0
DAY = date(2026, 3, 1)

Open = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens a new ledger."""
    if request.param == "sqlite":
        return lambda **how: SqliteLedger(tmp_path / "ledger.sqlite", **how)
    postgres: PostgresServer = request.getfixturevalue("postgres")
    url = postgres.url(postgres.new_database())
    return lambda **how: PostgresLedger(url, **how)


def tried(opened: Open, story: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with opened():
            pass
        async with opened(readonly=True) as ledger:
            await story(ledger)

    asyncio.run(main())


def test_a_state_is_replaced_by_the_one_who_has_read_the_latest(opened: Open) -> None:
    async def story(ledger: Any) -> None:
        assert await ledger.service_state() == ""
        assert not await ledger.swap_state("none", "first")
        assert await ledger.swap_state("", "first")
        assert not await ledger.swap_state("", "first too")
        assert await ledger.service_state() == "first"
        assert await ledger.swap_state("first", "second")
        assert not await ledger.swap_state("first", "third")
        assert await ledger.service_state() == "second"
        assert await ledger.sinks() == {}

    tried(opened, story)


@pytest.mark.parametrize("before", [0, 1])
def test_of_four_who_replace_it_at_the_same_time_one_does(opened: Open, before: int) -> None:
    async def store(word: str, had: str) -> bool:
        async with opened(readonly=True) as ledger:
            assert await ledger.service_state() == had
            await barrier.wait()
            return bool(await ledger.swap_state(had, word))

    barrier = asyncio.Barrier(4)

    async def story(ledger: Any) -> None:
        had = "had" * before
        if before:
            assert await ledger.swap_state("", had)
        for turn in range(3):
            words = [f"{turn} {number}" for number in range(4)]
            stored = await asyncio.gather(*[store(word, had) for word in words])
            assert sorted(stored) == [False, False, False, True]
            had = await ledger.service_state()
            assert had == words[stored.index(True)]

    tried(opened, story)


@pytest.mark.thorough
def test_of_four_services_one_decides_and_one_sends(opened: Open) -> None:
    """Each posts a day's message unless another has; each sends what is due."""
    sent: Counter[str] = Counter()
    tries: Counter[str] = Counter()

    async def deliver(message: Message, _: Secret) -> None:
        tries[message.key] += 1
        await asyncio.sleep(0.02)
        if tries[message.key] == 1 and message.key.startswith("3"):
            raise DeliveryError("once")
        sent[message.key] += 1

    async def serve(turn: int) -> None:
        row = StateRow(lambda: opened(readonly=True))
        targets = {f"env:{name}": Secret("x") for name in "ABC"}
        now = NOW + 1000 * turn
        sender = Sender(row, lambda: targets, deliver, print, lambda: now)

        async def decide(before: State) -> State:
            day = date(2026, 3, 1 + turn)
            if before.day == day or turn >= 6:
                return before
            mail = [Message(f"{turn} {each}", each, "t", "b", now) for each in targets]
            return replace(before, day=day, mail=(*before.mail, *mail))

        async with row.opened() as ledger:
            await row.update(ledger, decide)
            while await sender._send_one(ledger) <= now:
                pass

    async def story(ledger: Any) -> None:
        for turn in range(8):  # the last two send what had to wait
            await asyncio.gather(*[serve(turn) for _ in range(4)])
        left = State.read(await ledger.service_state())
        assert left.mail == ()
        assert left.day == date(2026, 3, 6)

    tried(opened, story)
    assert sent == Counter({f"{turn} env:{name}": 1 for turn in range(6) for name in "ABC"})


def test_who_is_never_first_says_so(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "TURNS", 3)

    async def story(ledger: Any) -> None:
        async def change(before: State) -> State:
            async with opened(readonly=True) as other:
                assert await other.swap_state(
                    await other.service_state(), replace(before, number=before.number + 1).write()
                )
            return replace(before, day=DAY)

        with pytest.raises(RunError, match="other processes change the state"):
            await update(ledger, change)
        assert State.read(await ledger.service_state()) == State(number=3)

    tried(opened, story)


def test_it_is_replaced_while_a_run_holds_the_ledger(opened: Open) -> None:
    async def story(reader: Any) -> None:
        async with opened() as held:
            assert await reader.swap_state("", "x")
            await held.register([])
            assert await held.service_state() == "x"
            assert await held.swap_state("x", "y")
        assert await reader.service_state() == "y"

    tried(opened, story)


def test_a_ledger_with_nothing_but_a_state_names_no_sink(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    tried(
        lambda **how: SqliteLedger(path, **how),
        lambda ledger: ledger.swap_state("", State(number=1).write()),
    )
    assert named_sinks(path) == []


@pytest.mark.parametrize("begun", [False, True])
def test_without_a_ledger_there_is_no_state(begun: bool, tmp_path: Path) -> None:
    """Nor in a file that the first run has only just made."""
    path = tmp_path / "none.sqlite"
    if begun:
        path.touch()

    async def main() -> None:
        async with SqliteLedger(path, readonly=True) as ledger:
            assert await ledger.service_state() == ""
            await ledger.swap_state("", "x")

    with pytest.raises(LedgerError if begun else NoLedgerError, match="there is no ledger"):
        asyncio.run(main())
    assert path.exists() == begun
    assert not begun or path.stat().st_size == 0


def test_an_account_is_forgotten_by_the_same_swap(opened: Open) -> None:
    mail = (Message("1", HOOK, "t", f"● stale: {A}\n● stale: {B}"), Message("2", HOOK, "t", A))
    causes = {"stale": (A, B), "never": (f"{A} getusersummary", f"{B} getusersummary"), "x": (A,)}

    async def story(ledger: Any) -> None:
        await forget(ledger, A, [], [])
        assert await ledger.service_state() == ""
        before = State(DAY, alerts=parsed(causes), mail=mail, number=1)
        assert await ledger.swap_state("", before.write())
        await forget(ledger, A, ["getusersummary"], ["getusersummary"])
        state = State.read(await ledger.service_state())
        assert state.alerts == parsed({**causes, "never": (f"{B} getusersummary",)})
        assert state.mail == mail
        await forget(ledger, A, [], [])
        assert State.read(await ledger.service_state()) == State(
            DAY,
            alerts=parsed({"stale": (B,), "never": (f"{B} getusersummary",)}),
            mail=(mail[0]._replace(body=f"● stale: {B}"),),
            number=3,
        )

    tried(opened, story)


def test_an_account_is_in_no_cause_after_it_was_forgotten(opened: Open) -> None:
    causes = {
        "secret": (A, B), "stale": (f"{A} getusersummary", f"{B} getusersummary"),
        "run host SinkError": (f"{A}: the disk is full",),
    }  # fmt: skip

    async def story(ledger: Any) -> None:
        async def change(before: State) -> State:
            return replace(before, alerts=parsed(causes))

        await update(ledger, change)
        await forget(ledger, A, [], [])
        assert State.read(await ledger.service_state()).alerts == parsed({
            "secret": (B,), "stale": (f"{B} getusersummary",),
            "run host SinkError": ("…: the disk is full",),
        })  # fmt: skip

    tried(opened, story)


def test_of_two_changes_of_a_process_the_later_one_is_what_it_knows(opened: Open) -> None:
    """Though the first call returns last: its state is older by then."""

    async def story(ledger: Any) -> None:
        row, swap = StateRow(lambda: opened(readonly=True)), type(ledger).swap_state

        async def slowly(self: Any, before: str, after: str) -> bool:
            done = await swap(self, before, after)
            await asyncio.sleep(0.2 if not before else 0.0)
            return bool(done)

        async def dated(number: int) -> None:
            async def change(before: State) -> State:
                return replace(before, day=date(2026, 3, number))

            async with opened(readonly=True) as mine:
                await asyncio.sleep(0.05 * number)
                await row.update(mine, change)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(ledger), "swap_state", slowly)
            await asyncio.gather(dated(1), dated(2))
        assert row.state == State.read(await ledger.service_state())
        assert row.state.day == date(2026, 3, 2)

    tried(opened, story)
