"""Messages leave through Apprise, pings as a GET: at once, or once the other side is back."""

from __future__ import annotations

import asyncio
import logging
import re
import smtplib
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from email import message_from_string
from html import unescape
from pathlib import Path
from typing import Any

import anyio
import pytest

from harvester.base.secrets import Secret
from harvester.errors import LedgerError, UsageError
from harvester.ledger import SqliteLedger
from harvester.service import sender
from harvester.service.mail import LEASE, SPACING, Message
from harvester.service.sender import (
    AGAIN,
    DeliveryError,
    Sender,
    check_ping,
    check_url,
    deliver,
)
from harvester.service.state import State, StateRow
from tests.webhook import TOKEN, Webhook

NOW, HOUR = 1_772_323_500.0, 3600.0


@pytest.mark.thorough
def test_a_message_goes_through_apprise_and_a_ping_is_a_get(hook: Webhook) -> None:
    message = Message("alert 1", "env:A", "the title", "one\ntwo", level="failure")
    asyncio.run(deliver(message, Secret(f"json://{hook.url}")))
    asyncio.run(deliver(Message("ping 2026-03-01", "env:P", "", ""), Secret(f"http://{hook.url}")))
    (posted, path, body), ping = hook.got
    assert (posted, path.rstrip("/")) == ("POST", f"/{TOKEN}")
    assert (body["title"], body["message"]) == ("the title", "one\ntwo")
    assert body["type"] == "failure"
    assert ping == ("GET", f"/{TOKEN}", None)


@pytest.mark.thorough
def test_a_mail_shows_a_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail of Apprise is HTML, and the name of an account may look like that."""
    mails: list[str] = []

    class Server:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: None

        def sendmail(self, _: str, __: Any, content: str) -> None:
            mails.append(content)

    monkeypatch.setattr(smtplib, "SMTP", Server)
    name = "<img src=x onerror=alert(1)>"
    message = Message("alert 1", "env:A", "the title", f"● stale: {name}\nand another")
    asyncio.run(deliver(message, Secret("mailto://me:p4ss@mail.example:25?to=you@mail.example")))
    parts = [part for each in mails for part in message_from_string(each).walk()]
    texts = [part for part in parts if part.get_content_maintype() == "text"]
    assert texts
    for text in texts:
        content = text.get_payload(decode=True)
        assert isinstance(content, bytes)
        shown = content.decode()
        if text.get_content_subtype() == "html":
            assert "<img" not in shown
            shown = unescape(re.sub(r"<[^>]*>", "\n", shown))
        assert f"● stale: {name}" in shown.splitlines()


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


@contextmanager
def answering(*parts: bytes, every: float = 0.0) -> Iterator[str]:
    """A host that answers a request with these bytes, one part after the other; gives HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.recv(1 << 16)
                        for part in parts:
                            connection.sendall(part)
                            time.sleep(every)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("path", ["", " with a space", "\udcff"])
@pytest.mark.parametrize("answer", [b"", b"garbage\n", b"HTTP/1.1 200 " + b"x" * 70_000])
def test_a_host_that_answers_no_http_has_not_taken_a_ping(answer: bytes, path: str) -> None:
    with answering(answer) as host, pytest.raises(DeliveryError) as caught:
        url = Secret(f"http://{host}/{TOKEN}{path}")
        asyncio.run(deliver(Message("ping 2026-03-01", "env:P", "", ""), url))
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    assert TOKEN not in shown.replace("tests", "")
    assert "127.0.0.1" not in shown


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_host_that_sends_a_byte_now_and_then_holds_up_others_for_a_minute(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that is left behind is the only one for its target."""
    monkeypatch.setattr(sender, "LIMIT", 0.5)
    message = Message("ping 1" if scheme == "http" else "alert 1", "env:A", "", "body")
    drips = [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 40]
    said = []

    async def main(host: str) -> None:
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(DeliveryError) as caught:
                await deliver(message, Secret(f"{scheme}://{host}/{TOKEN}"))
            said.append(str(caught.value))
            assert time.monotonic() - begun < 10  # Apprise is imported, too

    with answering(*drips, every=0.1) as host:
        asyncio.run(main(host))
        assert said[0] == "it did not answer in time"
        assert set(said[1:]) == {"it has not completed its answer to the previous message"}
        while any(each.name == "harvester-aside" for each in threading.enumerate()):
            time.sleep(0.05)


def test_whatever_a_delivery_or_the_ledger_raises_the_sender_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LEDGER_AGAIN", 0.05)
    monkeypatch.setattr(sender, "TICK", 0.05)
    story, tried = Story(tmp_path), list[str]()

    async def deliver(message: Message, url: Secret) -> None:
        tried.append(message.key)
        story.now += LEASE
        if len(tried) == 1:
            raise ValueError(TOKEN)
        if len(tried) == 2:
            raise OSError(5, "Input/output error", "/a/disk")
        story.sent.append(message.key)

    async def main() -> None:
        await story.post(Message("1", "env:A", "t", "b"))
        story.sender._deliver = deliver
        task = asyncio.ensure_future(story.sender.run())
        while not story.sent:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert story.lines == [
        story.lines[0],
        "no messages are sent: /a/disk cannot be used (Input/output error)",
    ]
    assert re.fullmatch(
        r"no messages are sent: a bug in harvester \(ValueError in test_sender\.py:\d+\)",
        story.lines[0],
    )


def test_a_url_that_is_none_is_refused_at_the_start() -> None:
    for wrong in (f"nosuch://{TOKEN}", f"https//{TOKEN}", TOKEN):
        with pytest.raises(UsageError, match="env:A does not contain a URL") as caught:
            check_url("env:A", Secret(wrong))
        assert TOKEN not in str(caught.value)
    for wrong in (f"json://{TOKEN}", f"http://host/{TOKEN} x", f"http://host/{TOKEN}\n", "http://"):
        with pytest.raises(
            UsageError, match="env:P does not contain an http or https URL"
        ) as caught:
            check_ping("env:P", Secret(wrong))
        assert TOKEN not in str(caught.value)


class Story:
    """A sender with a clock of its own, whose webhook may be away."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.away = False
        self.sent: list[str] = []
        self.lines: list[str] = []
        self.path = folder / "ledger.sqlite"
        self.sender = self.another(lambda: SqliteLedger(self.path, readonly=True))

    def another(self, opened: Callable[[], SqliteLedger]) -> Sender:
        """Another sender of this ledger."""
        self.row = StateRow(opened)
        return Sender(
            self.row,
            lambda: {"env:A": Secret("x"), "env:B": Secret("y")},
            self.deliver,
            self.lines.append,
            self.clock,
        )

    def clock(self) -> float:
        """The time, which goes on while it is read."""
        self.now += 1e-6
        return self.now

    async def deliver(self, message: Message, _: Secret) -> None:
        if self.away and message.target == "env:A":
            raise DeliveryError("it did not answer")
        self.sent.append(f"{message.key} {message.target}")

    async def post(self, *messages: Message) -> None:
        async def add(state: State) -> State:
            mail = [each._replace(posted=self.now) for each in messages]
            return replace(state, mail=(*state.mail, *mail))

        async with SqliteLedger(self.path) as ledger:
            await self.row.update(ledger, add)

    async def go_on(self, seconds: float) -> None:
        """Send whatever is due until then."""
        end = self.now + seconds
        async with self.row.opened() as ledger:
            while self.now < end:
                self.now = min(max(await self.sender._send_one(ledger), self.now), end)


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
        assert len(story.lines) == 1
        assert story.sender.undelivered == {"env:A": story.lines[0]}
        story.away = False
        await story.go_on(AGAIN.cap + 2 * SPACING)
        assert sorted(story.sent[2:]) == ["1 env:A", "2 env:A"]
        assert story.sender.undelivered == {}
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
        assert story.lines[-1] == "the message '1' to env:A is dropped: it did not answer"
        assert story.sender.given_up == 1

    asyncio.run(main())


def test_a_process_that_was_frozen_after_a_claim_sends_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path)

    class Frozen(SqliteLedger):
        async def swap_state(self, before: str, after: str) -> bool:
            swapped = await super().swap_state(before, after)
            story.now += LEASE + 1
            return swapped

    async def main() -> None:
        await story.post(Message("1", "env:A", "t", "b"))
        async with Frozen(story.path, readonly=True) as ledger:
            await story.sender._send_one(ledger)
        assert story.sent == []
        await story.go_on(60)
        assert story.sent == ["1 env:A"]

    asyncio.run(main())


def test_a_ledger_that_is_away_after_the_answer_costs_no_second_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LEDGER_AGAIN", 0.05)
    story, swap = Story(tmp_path), SqliteLedger.swap_state
    away = 0

    async def swapped(self: SqliteLedger, before: str, after: str) -> bool:
        nonlocal away
        if story.sent and away < 3:
            away += 1
            raise LedgerError("it is away")
        return await swap(self, before, after)

    async def main() -> None:
        await story.post(Message("1", "env:A", "t", "b"))
        task = asyncio.ensure_future(story.sender.run())
        while story.row.state.mail:
            await asyncio.sleep(0.01)
        task.cancel()
        story.now += 10 * LEASE
        await story.go_on(60)

    monkeypatch.setattr(SqliteLedger, "swap_state", swapped)
    asyncio.run(asyncio.wait_for(main(), 20))
    assert away == 3
    assert story.sent == ["1 env:A"]
    assert story.lines == ["no messages are sent: it is away"]


def test_who_ends_in_order_while_a_webhook_answers_sends_nothing_twice(tmp_path: Path) -> None:
    story = Story(tmp_path)
    asked, answers = asyncio.Event(), asyncio.Event()

    async def deliver(message: Message, url: Secret) -> None:
        asked.set()
        await answers.wait()
        await story.deliver(message, url)

    async def main() -> None:
        await story.post(Message("1", "env:A", "t", "b"))
        story.sender._deliver = deliver
        async with anyio.create_task_group() as group:
            group.start_soon(story.sender.run)
            await asked.wait()
            group.cancel_scope.cancel()
            asyncio.get_running_loop().call_later(0.1, answers.set)
        assert story.sent == ["1 env:A"]
        story.now += 10 * LEASE
        await story.go_on(60)
        assert story.sent == ["1 env:A"]

    asyncio.run(asyncio.wait_for(main(), 20))
