"""Messages leave through Apprise, pings as a GET: at once, or once the other side is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.base.secrets import Secret
from harvester.errors import UsageError
from harvester.ledger import SqliteLedger
from harvester.ledger.outbox import Message
from harvester.service import sender
from harvester.service.sender import (
    AGAIN,
    LEASE,
    SPACING,
    DeliveryError,
    Sender,
    check_ping,
    check_url,
    deliver,
)
from tests.webhook import TOKEN, Webhook, webhook

NOW, HOUR = 1_772_323_500.0, 3600.0


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as server:
        yield server


def test_a_message_goes_through_apprise_and_a_ping_is_a_get(hook: Webhook) -> None:
    message = Message("alert 1", "env:A", "the title", "one\ntwo")
    asyncio.run(deliver(message, Secret(f"json://{hook.url}")))
    asyncio.run(deliver(Message("ping 2026-03-01", "env:P", "", ""), Secret(f"http://{hook.url}")))
    (posted, path, body), ping = hook.got
    assert (posted, path.rstrip("/")) == ("POST", f"/{TOKEN}")
    assert (body["title"], body["message"]) == ("the title", "one\ntwo")
    assert ping == ("GET", f"/{TOKEN}", None)


@pytest.mark.parametrize("key", ["alert 1", "ping 2026-03-01"])
@pytest.mark.parametrize("status", [404, 500, None])
def test_what_is_not_taken_is_an_error_without_the_url(
    key: str, status: int | None, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = Secret(f"{'http' if key.startswith('ping') else 'json'}://{hook.url}")
    if status is None:
        url = Secret(f"{url.value.partition(':')[0]}://127.0.0.1:1/{TOKEN}")
    hook.status = status or 200
    with pytest.raises(DeliveryError) as caught:
        asyncio.run(deliver(Message(key, "env:A", "title", "body"), url))
    assert TOKEN not in str(caught.value)
    assert not [each for each in caplog.records if TOKEN in each.getMessage()
                and not each.name.startswith(("urllib3", "asyncio"))]  # fmt: skip


def test_a_url_that_is_none_is_refused_at_the_start() -> None:
    for wrong in (f"nosuch://{TOKEN}", f"https//{TOKEN}", TOKEN):
        with pytest.raises(UsageError, match="what env:A holds is no URL") as caught:
            check_url("env:A", Secret(wrong))
        assert TOKEN not in str(caught.value)
    with pytest.raises(UsageError, match="what env:P holds is no http or https URL"):
        check_ping("env:P", Secret(f"json://{TOKEN}"))


class Story:
    """A sender with a clock of its own, whose webhook may be away."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.away = False
        self.sent: list[str] = []
        self.lines: list[str] = []
        self.path = folder / "ledger.sqlite"
        self.sender = Sender(
            lambda: SqliteLedger(self.path, beside=True),
            lambda: {"env:A": Secret("x"), "env:B": Secret("y")},
            self.deliver,
            self.lines.append,
            lambda: self.now,
        )

    async def deliver(self, message: Message, _: Secret) -> None:
        if self.away and message.target == "env:A":
            raise DeliveryError("it did not answer")
        self.sent.append(f"{message.key} {message.target}")

    async def post(self, *messages: Message) -> None:
        async with SqliteLedger(self.path):
            pass
        async with SqliteLedger(self.path, beside=True) as box:
            number, _ = await box.service_state()
            assert await box.post(number, "", messages, self.now)

    async def go_on(self, seconds: float) -> None:
        """Send whatever is due until then."""
        end = self.now + seconds
        while self.now < end:
            due = await self.sender.send_one()
            self.now = min(max(due, self.now), end) if due > self.now else self.now


def test_messages_wait_while_a_webhook_is_away_and_others_do_not(tmp_path: Path) -> None:
    story = Story(tmp_path)

    async def main() -> None:
        pairs = [(key, target) for key in "12" for target in ("env:A", "env:B")]
        await story.post(*[Message(*pair, "t", "b") for pair in pairs])
        story.away = True
        await story.go_on(HOUR)
        assert story.sent == ["1 env:B", "2 env:B"]
        assert story.lines
        assert all(line.startswith("env:A did not take the message") for line in story.lines)
        story.away = False
        await story.go_on(AGAIN.cap + 2 * SPACING)
        assert sorted(story.sent[2:]) == ["1 env:A", "2 env:A"]
        await story.go_on(86_400)
        assert len(story.sent) == 4

    asyncio.run(main())


def test_a_message_that_nobody_takes_is_given_up_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "GIVEN_UP", 2 * HOUR)
    story = Story(tmp_path)

    async def main() -> None:
        await story.post(Message("1", "env:A", "t", "b"))
        story.away = True
        await story.go_on(2 * HOUR + 2 * AGAIN.cap)
        story.away = False
        await story.go_on(HOUR)
        assert story.sent == []
        assert story.lines[-1] == "the message '1' to env:A is given up: it did not answer"

    asyncio.run(main())


def test_a_process_that_was_frozen_after_a_claim_sends_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path)
    claim = SqliteLedger.claim_message

    class Frozen(SqliteLedger):
        async def claim_message(self, *arguments: Any) -> Any:
            turn = await claim(self, *arguments)
            story.now += LEASE + 1
            return turn

    async def main() -> None:
        await story.post(Message("1", "env:A", "t", "b"))
        frozen = Sender(
            lambda: Frozen(story.path, beside=True),
            lambda: {"env:A": Secret("x")},
            story.deliver,
            story.lines.append,
            lambda: story.now,
        )
        await frozen.send_one()
        assert story.sent == []
        await story.go_on(60)
        assert story.sent == ["1 env:A"]

    asyncio.run(main())
