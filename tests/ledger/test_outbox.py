"""The outbox in both ledgers: posted once, claimed by one, sent once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import NoLedgerError
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.ledger.outbox import AHEAD, KEPT, Message
from tests.postgres_server import PostgresServer

HOOK, OTHER = "env:HOOK", "env:OTHER"
NOW = 1_772_323_500.0
LEASE, SPACING = 120.0, 5.0

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
        async with opened(beside=True) as box:
            await story(box)

    asyncio.run(main())


def message(key: str, target: str = HOOK) -> Message:
    return Message(key, target, f"title of {key}", "body")


def test_a_state_is_stored_by_the_one_who_has_seen_the_latest(opened: Open) -> None:
    async def story(box: Any) -> None:
        assert await box.service_state() == (0, "")
        assert await box.post(0, "first", [message("a")], NOW)
        assert not await box.post(0, "first too", [message("b")], NOW)
        assert await box.service_state() == (1, "first")
        assert await box.post(1, "second", [message("a"), message("c", OTHER)], NOW)
        assert not await box.post(1, "third", [message("d")], NOW)
        assert await box.service_state() == (2, "second")
        found = []
        for number in range(3):
            turn = await box.claim_message([HOOK, OTHER], NOW + 10 * number, LEASE, SPACING)
            found += [turn.message.key] if turn.message else []
        assert sorted(found) == ["a", "c"]

    tried(opened, story)


def test_of_two_who_store_at_the_same_time_one_does(opened: Open) -> None:
    async def store(word: str) -> bool:
        async with opened(beside=True) as box:
            number, _ = await box.service_state()
            await asyncio.sleep(0.05)
            return bool(await box.post(number, word, [message(word)], NOW))

    async def story(box: Any) -> None:
        for _ in range(3):
            assert sorted(await asyncio.gather(store("one"), store("two"))) == [False, True]

    tried(opened, story)


def test_a_message_is_claimed_by_one_until_it_is_sent_or_the_claim_ends(opened: Open) -> None:
    async def story(box: Any) -> None:
        await box.post(0, "", [message("a")], NOW)
        first = (await box.claim_message([HOOK], NOW, LEASE, SPACING)).message
        assert first == Message("a", HOOK, "title of a", "body", NOW, 1)
        assert await box.claim_message([HOOK], NOW + 1, LEASE, SPACING) == (None, NOW + LEASE)
        second = (await box.claim_message([HOOK], NOW + LEASE, LEASE, SPACING)).message
        assert second.attempts == 2
        assert not await box.settle_message(first, NOW + LEASE + 1)  # it was frozen
        assert await box.settle_message(second, NOW + LEASE + 2)
        assert await box.claim_message([HOOK], NOW + 999, LEASE, SPACING) == (None, math.inf)

    tried(opened, story)


def test_messages_of_a_target_are_spaced_and_wait_together_when_one_was_not_taken(
    opened: Open,
) -> None:
    async def story(box: Any) -> None:
        await box.post(0, "", [message("a"), message("b"), message("c", OTHER)], NOW)
        one = (await box.claim_message([HOOK], NOW, LEASE, SPACING)).message
        await box.settle_message(one, NOW)
        assert await box.claim_message([HOOK], NOW + 1, LEASE, SPACING) == (None, NOW + SPACING)
        other = (await box.claim_message([HOOK, OTHER], NOW + 1, LEASE, SPACING)).message
        assert other.target == OTHER
        await box.post(1, "", [message("d")], NOW + 2)
        two = (await box.claim_message([HOOK], NOW + SPACING, LEASE, SPACING)).message
        assert two.key == "b"
        await box.settle_message(two, NOW + 6, NOW + 66)
        assert await box.claim_message([HOOK], NOW + 20, LEASE, SPACING) == (None, NOW + 66)

    tried(opened, story)


def test_a_clock_that_was_ahead_holds_up_nothing(opened: Open) -> None:
    async def story(box: Any) -> None:
        ahead = NOW + AHEAD + 86_400
        await box.post(0, "", [message("a"), message("b")], ahead)
        one = (await box.claim_message([HOOK], ahead, LEASE, SPACING)).message
        await box.settle_message(one, ahead)
        assert (await box.claim_message([HOOK], NOW, LEASE, SPACING)).message.key == "b"

    tried(opened, story)


def test_messages_are_forgotten_after_a_month(opened: Open) -> None:
    async def story(box: Any) -> None:
        await box.post(0, "", [message("a")], NOW)
        await box.post(1, "", [message("b")], NOW + KEPT + 1)
        turn = await box.claim_message([HOOK], NOW + KEPT + 2, LEASE, SPACING)
        assert turn.message.key == "b"

    tried(opened, story)


def test_it_is_used_while_a_run_holds_the_ledger_and_keeps_a_ledger_that_is_older(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite"

    async def main() -> None:
        async with SqliteLedger(path) as held, SqliteLedger(path, beside=True) as box:
            await box.post(0, "x", [message("a")], NOW)
            await held.register([])
            assert await box.service_state() == (1, "x")
        async with SqliteLedger(path, beside=True) as box:
            assert await box.service_state() == (1, "x")

    asyncio.run(main())


@pytest.mark.parametrize("begun", [False, True])
def test_without_a_ledger_there_is_no_outbox(begun: bool, tmp_path: Path) -> None:
    """Nor in a file that the first run has only just made."""
    path = tmp_path / "none.sqlite"
    if begun:
        path.touch()

    async def main() -> None:
        async with SqliteLedger(path, beside=True):
            pass

    with pytest.raises(NoLedgerError):
        asyncio.run(main())
    assert path.exists() == begun
