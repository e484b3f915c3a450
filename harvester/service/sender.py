"""Sends the messages of the service's state: through Apprise, and pings as an HTTP GET.

Rule: nothing waits for it.  A message that cannot be sent is tried again, less and less often, and
given up after `GIVEN_UP`.  A URL, which may hold a token, is in no message of this module.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
import traceback
import urllib.error
import urllib.request
import warnings
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from harvester.base.retry import Backoff
from harvester.base.secrets import Secret
from harvester.base.threads import aside
from harvester.errors import HarvestError, UsageError, needs
from harvester.ledger import Ledger
from harvester.service.mail import SPACING, Mail, Message, Turn, settled, turn
from harvester.service.state import State, StateRow
from harvester.texts import say

LATEST = 20.0
"""Seconds from the claim within which sending must begin: a process may have been frozen."""
AGAIN = Backoff(base=60.0, cap=900.0)
GIVEN_UP = 3 * 86_400.0
"""Seconds after which a message that could not be sent is given up."""
TICK = 60.0
"""The most seconds until a changed clock, or a new target, is noticed."""
LEDGER_AGAIN = 30.0
"""Seconds until a ledger that did not answer is tried again."""
ANSWER = 30.0
"""Seconds for each part of the answer to a ping."""
LIMIT = 60.0
"""Seconds for a message: a host that sends a byte now and then would hold up all others."""

Deliver = Callable[[Message, Secret], Awaitable[None]]
"""Sends a message to a URL; raises `DeliveryError`."""

PING = "ping"
"""How the key of a ping begins."""


class DeliveryError(HarvestError):
    """A message was not accepted."""


class Sender:
    """Sends what is due, until it is cancelled.

    targets: gives the URLs by their references.  undelivered: the targets that did not accept the
    last message, and the error.  own: messages that the ledger cannot keep: they end with this
    process.
    """

    def __init__(
        self,
        row: StateRow,
        targets: Callable[[], Mapping[str, Secret]],
        deliver: Deliver,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._row, self._targets = row, targets
        self._deliver, self._warn, self._clock = deliver, warn, clock
        self._ended: tuple[Message, float | None] | None = None  # what is not settled yet
        self._away = ""
        self.undelivered: dict[str, str] = {}
        self.given_up = 0
        self.own: Mail = ()
        self._own_sent: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            self._row.renewed.clear()
            try:
                own = await self._send_own()
                if (due := self.due()) <= self._clock():
                    due = await self.send()
                due = min(due, own)
                seconds = min(max(due - self._clock(), 0.0), TICK)
                self._away = ""
            except Exception as exc:  # noqa: BLE001  (whatever it is, the ledger has the messages)
                if (text := say("no messages are sent: {}", describe(exc))) != self._away:
                    self._warn(text)
                self._away = text
                seconds = LEDGER_AGAIN
            with anyio.move_on_after(seconds):
                await self._row.renewed.wait()

    @property
    def waiting(self) -> int:
        targets = self._targets()
        return sum([each.target in targets for each in (*self._row.state.mail, *self.own)])

    def tell(self, messages: Mail) -> None:
        self.own += messages
        self._row.renewed.set()

    async def _send_own(self) -> float:
        """Send what is due of its own messages; returns the Unix time of the next one."""
        while True:
            targets = dict(self._targets())
            message, due, self.own = turn(self.own, self._own_sent, targets, self._clock())
            if message is None:
                return due
            again = await self._send(message, targets[message.target])
            self.own = settled(self.own, message, again)
            self._own_sent[message.target] = self._clock()

    def due(self) -> float:
        """The Unix time of the next thing to do, as far as it is known."""
        if self._ended is not None:
            return self._clock()
        state = self._row.state
        return turn(state.mail, state.sent, self._targets(), self._clock()).due

    async def send(self) -> float:
        """Send what is due, one message after the other; returns the Unix time of the next one."""
        async with self._row.opened() as ledger:
            due = await self._send_one(ledger)
            while due <= self._clock() + SPACING:
                await anyio.sleep(max(due - self._clock(), 0.0))
                due = await self._send_one(ledger)
        return due

    async def _send_one(self, ledger: Ledger) -> float:
        """Send the first message that is due; returns the Unix time of the next one."""
        targets, now = dict(self._targets()), self._clock()
        found = Turn(None, math.inf, ())

        async def claim(state: State) -> State:
            nonlocal found
            found = turn(state.mail, state.sent, targets, now)
            return replace(state, mail=found.mail)

        await self._settle(ledger)
        await self._row.update(ledger, claim)
        if found.message is None:
            return found.due
        if self._clock() > now + LATEST:
            return self._clock()  # the claim may have ended
        with anyio.CancelScope(shield=True):  # who ends in order sends nothing twice
            again = await self._send(found.message, targets[found.message.target])
            self._ended = found.message, again
            await self._settle(ledger)
        return self._clock()

    async def _settle(self, ledger: Ledger) -> None:
        """Store the outcome of the last message; it is not sent again if that fails at first."""
        if self._ended is None:
            return
        message, again = self._ended

        async def settle(state: State) -> State:
            now = self._clock()
            sent = {target: moment for target, moment in state.sent.items()
                    if now - SPACING < moment <= now}  # fmt: skip
            if again is None:
                sent[message.target] = now
            return replace(state, mail=settled(state.mail, message, again), sent=sent)

        await self._row.update(ledger, settle)
        self._ended = None

    async def _send(self, message: Message, url: Secret) -> float | None:
        """Send it; returns the Unix time from which it is tried again, None if it is done with."""
        try:
            await self._deliver(message, url)
        except DeliveryError as exc:
            now = self._clock()
            if now >= message.posted + GIVEN_UP:
                self.given_up += 1
                self._warn(
                    say("the message {!r} to {} is dropped: {}", message.key, message.target, exc)
                )
                return None
            text = say("{} did not take the message {!r}: {}", message.target, message.key, exc)
            if self.undelivered.get(message.target) != text:
                self._warn(text)
            self.undelivered[message.target] = text
            return now + AGAIN.ceiling(message.attempts)
        self.undelivered.pop(message.target, None)
        return None


def describe(exc: Exception) -> str:
    """The text of an exception; for foreign ones none, since it may hold a secret."""
    if isinstance(exc, HarvestError):
        return str(exc)
    if isinstance(exc, OSError) and exc.strerror:
        return say("{} cannot be used ({})", exc.filename or type(exc).__name__, say(exc.strerror))
    place = traceback.extract_tb(exc.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return say("a bug in harvester ({} in {})", type(exc).__name__, where)


_under_way = set[str]()
"""The targets that a thread still sends to."""


async def deliver(message: Message, url: Secret) -> None:
    """Send a message to an Apprise URL, or get the URL of a ping; raises `DeliveryError`."""
    if message.target in _under_way:  # one thread is left behind, not one for each attempt
        raise DeliveryError("it has not completed its answer to the previous message")
    try:
        async with asyncio.timeout(LIMIT):
            await aside(partial(_work, message, url))
    except DeliveryError:
        raise
    except TimeoutError:
        raise DeliveryError("it did not answer in time") from None
    except Exception as exc:  # noqa: BLE001  (its text may hold the URL)
        raise DeliveryError(type(exc).__name__) from None


def _work(message: Message, url: Secret) -> None:
    _under_way.add(message.target)
    try:
        (_ping if message.key.startswith(PING) else _notify)(message, url)
    finally:
        _under_way.discard(message.target)


def check_url(reference: str, url: Secret) -> None:
    """Raise `UsageError` unless Apprise knows this kind of URL, or if it is not installed."""
    if not _made(url):
        raise UsageError("alerts: {} does not contain a URL that Apprise knows", reference)


def check_ping(reference: str, url: Secret) -> None:
    """Raise `UsageError` unless this is an HTTP URL."""
    if not re.fullmatch(r"https?://[!-~]+", url.value):
        raise UsageError("ping: {} does not contain an http or https URL", reference)


def _made(url: Secret) -> object:
    """Apprise with this URL, None if it does not know such URLs."""
    try:
        import apprise
    except ImportError:
        raise UsageError(needs("alerts need a library", "serve")) from None
    logging.getLogger("apprise").disabled = True  # it logs parts of URLs
    made = apprise.Apprise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports now
        return made if made.add(url.value) else None


def _notify(message: Message, url: Secret) -> None:
    made = _made(url)
    if made is None or not made.notify(  # type: ignore[attr-defined]
        title=message.title, body=message.body, body_format="text", notify_type=message.level
    ):
        raise DeliveryError("it did not answer, or refused it")


def _ping(message: Message, url: Secret) -> None:
    try:
        with urllib.request.urlopen(url.value, timeout=ANSWER):
            pass
    except urllib.error.HTTPError as exc:
        exc.close()
        raise DeliveryError("it answered {}", exc.code) from None
