"""Sends the messages in the ledger's outbox: through Apprise, and pings as an HTTP GET.

Rule: nothing waits for it.  A message that cannot be sent is tried again, less and less often, and
given up after `GIVEN_UP`.  A URL, which may hold a token, is in no message of this module.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio

from harvester.base.retry import Backoff
from harvester.base.secrets import Secret
from harvester.base.threads import aside
from harvester.errors import HarvestError, NoLedgerError, UsageError, needs
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.ledger.outbox import Message

SPACING = 5.0
"""Seconds between two messages to one target: robots take 20 a minute."""
LEASE = 120.0
"""Seconds until another process may send what this one has claimed."""
LATEST = 20.0
"""Seconds from the claim within which sending must begin: a process may have been frozen."""
AGAIN = Backoff(base=60.0, cap=900.0)
GIVEN_UP = 3 * 86_400.0
"""Seconds after which a message that could not be sent is given up."""
LOOKED_AFTER = 600.0
"""The most seconds between two looks into the outbox: another process may have ended."""
ANSWER = 30.0
"""Seconds for the answer to a ping."""

Deliver = Callable[[Message, Secret], Awaitable[None]]
"""Sends a message to a URL; raises `DeliveryError`."""

PING = "ping"
"""How the key of a ping begins."""


class DeliveryError(HarvestError):
    """A message was not taken."""


class Sender:
    """Sends what is due, until it is cancelled.

    opened: gives the ledger, not entered.  targets: gives the URLs by their references.
    """

    def __init__(
        self,
        opened: Callable[[], SqliteLedger | PostgresLedger],
        targets: Callable[[], Mapping[str, Secret]],
        deliver: Deliver,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._opened, self._targets = opened, targets
        self._deliver, self._log, self._clock = deliver, log, clock
        self._posted = asyncio.Event()
        self._trouble = ""

    def wake(self) -> None:
        """Something was posted."""
        self._posted.set()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._posted.clear()
            try:
                due = await self.send_one()
            except NoLedgerError:  # then there is no message either
                due = math.inf
            except HarvestError as exc:  # the ledger: it holds the messages until it is back
                self._note(f"no messages are sent: {exc}")
                due = self._clock() + LOOKED_AFTER
            else:
                self._trouble = ""
            seconds = min(max(due - self._clock(), 0.0), LOOKED_AFTER)
            with anyio.move_on_after(seconds):
                await self._posted.wait()

    async def send_one(self) -> float:
        """Send the first message that is due; returns the Unix time of the next one."""
        targets = dict(self._targets())
        now = self._clock()
        if not targets:
            return now + LOOKED_AFTER
        async with self._opened() as box:
            turn = await box.claim_message([*targets], now, LEASE, SPACING)
        if turn.message is None:
            return turn.due
        if self._clock() > now + LATEST:
            return self._clock()  # the claim may have ended
        again = await self._send(turn.message, targets[turn.message.target])
        async with self._opened() as box:
            await box.settle_message(turn.message, self._clock(), again)
        return self._clock()

    async def _send(self, message: Message, url: Secret) -> float | None:
        """Send it; returns the Unix time from which it is tried again, None if it is done with."""
        try:
            await self._deliver(message, url)
        except DeliveryError as exc:
            now = self._clock()
            if now >= message.posted + GIVEN_UP:
                self._log(f"the message {message.key!r} to {message.target} is given up: {exc}")
                return None
            self._note(f"{message.target} did not take the message {message.key!r}: {exc}")
            return now + AGAIN.ceiling(message.attempts)
        self._trouble = ""
        return None

    def _note(self, text: str) -> None:
        """Say it once."""
        if text != self._trouble:
            self._log(text)
        self._trouble = text


async def deliver(message: Message, url: Secret) -> None:
    """Send a message to an Apprise URL, or get the URL of a ping; raises `DeliveryError`."""
    work = _ping if message.key.startswith(PING) else _notify
    await aside(partial(work, message, url))


def check_url(reference: str, url: Secret) -> None:
    """Raise `UsageError` unless Apprise knows this kind of URL, or if it is not installed."""
    if not _made(url):
        raise UsageError(f"alerts: what {reference} holds is no URL that Apprise knows")


def check_ping(reference: str, url: Secret) -> None:
    """Raise `UsageError` unless this is an HTTP URL."""
    if not url.value.startswith(("http://", "https://")):
        raise UsageError(f"ping: what {reference} holds is no http or https URL")


def _made(url: Secret) -> object:
    """Apprise with this URL, None if it does not know such URLs."""
    try:
        import apprise
    except ImportError:
        raise UsageError(needs("alerts need their library", "serve")) from None
    logging.getLogger("apprise").disabled = True  # it logs parts of URLs
    made = apprise.Apprise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports now
        return made if made.add(url.value) else None


def _notify(message: Message, url: Secret) -> None:
    made = _made(url)
    try:
        taken = made is not None and made.notify(  # type: ignore[attr-defined]
            title=message.title, body=message.body
        )
    except Exception as exc:  # noqa: BLE001  (a service that it calls; its text may hold the URL)
        raise DeliveryError(type(exc).__name__) from None
    if not taken:
        raise DeliveryError("it did not answer, or refused it")


def _ping(message: Message, url: Secret) -> None:
    try:
        with urllib.request.urlopen(url.value, timeout=ANSWER):
            pass
    except urllib.error.HTTPError as exc:
        exc.close()
        raise DeliveryError(f"it answered {exc.code}") from None
    except (OSError, ValueError) as exc:
        raise DeliveryError(type(exc).__name__) from None
