"""Distinguishes a failed request from a lost network.

Rule: the first failure that no answer has followed asks the server itself; starts no task.

A request that fails although the server answers others counts as an attempt.  While nothing at all
is answered nothing counts, and the workers whose requests failed wait here until a server answers.
This holds only after a server has answered in this run; before that, attempts count, so that a
mistyped base URL fails at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import anyio

from harvester.errors import AttemptError, NetworkError
from harvester.model import Request, Response
from harvester.texts import say

PROBE_EVERY = 3.0
"""Seconds between two probes while no server answers."""

_PROBE = Request("GET", "/")
"""Any HTTP answer to it shows that a server is there; it has no token and costs no quota."""


class Network:
    """The state of the network as the requests of a run show it.  All times are the loop's.

    send: sends a request.  patience: seconds to wait while no server answers, may be infinite.
    on_lost: called with the seconds since the loss, the patience and the reason, after each probe
    without an answer; on_back: called with the seconds that it lasted.
    answered: whether the base URL has answered in this run; last_answer: when it last did.
    lost_since: since when no server answers, None while one does.
    """

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Response]],
        patience: float = math.inf,
        on_lost: Callable[[float, float, str], None] = lambda seconds, patience, reason: None,
        on_back: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.patience = patience
        self._send = send
        self._on_lost = on_lost
        self._on_back = on_back
        self._turn = asyncio.Lock()
        self._stopped = asyncio.Event()
        self.answered = False
        self.last_answer = -math.inf
        self.lost_since: float | None = None
        self._back_at = -math.inf  # when the last outage ended

    def __repr__(self) -> str:
        state = "answers" if self.lost_since is None else f"lost since {self.lost_since:g}"
        return f"<Network {state}>"

    def answer(self, now: float) -> None:
        self.answered = True
        self.last_answer = now
        if self.lost_since is not None:
            lost_since, self.lost_since = self.lost_since, None
            self._back_at = now
            self._on_back(now - lost_since)

    def stop(self) -> None:
        self._stopped.set()

    async def counts(self, sent_at: float, why: str) -> bool:
        """Whether an unanswered request counts as an attempt.

        sent_at: when it was sent; why: it was not answered.  Returns at once if the server has
        answered since then; else waits until it answers.  Raises `NetworkError` if that takes
        longer than the patience.
        """
        if not self.answered:
            return True
        if self.last_answer <= sent_at:
            async with self._turn:  # one probe for all that wait
                if self._is_unknown(sent_at) and not await self._probe():
                    await self._until_answered(why)
        return self.last_answer >= sent_at >= self._back_at

    def _is_unknown(self, sent_at: float) -> bool:
        return self.last_answer <= sent_at and not self._stopped.is_set()

    async def _probe(self) -> bool:
        try:
            await self._send(_PROBE)
        except AttemptError as exc:
            if not exc.answered:
                return False
        self.answer(anyio.current_time())
        return True

    async def _until_answered(self, why: str) -> None:
        self.lost_since = begun = anyio.current_time()
        while self.lost_since is not None and not self._stopped.is_set():
            seconds = anyio.current_time() - begun
            if seconds >= self.patience:
                raise NetworkError(
                    unreachable(say("no server answered for {:.0f} s", seconds), why)
                )
            self._on_lost(seconds, self.patience, why)
            with anyio.move_on_after(PROBE_EVERY):
                await self._stopped.wait()
            if self.lost_since is not None and not self._stopped.is_set():
                await self._probe()


def unreachable(tried: str, why: str) -> str:
    """The message of a run in which no server answers."""
    return say(
        "{}: {}; check the network, the proxy and the base URL; nothing that was"
        " committed is lost: run the same command again",
        tried,
        why,
    )
