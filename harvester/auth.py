"""The token of one account, shared by all its tasks.

Rule: one lock; whoever comes while a token is fetched waits for that fetch and makes none.

A token is renewed before it ends, while the former one still serves.  A refused token is dropped
only if it is still the current one, so that late refusals of an old token cost nothing; and a new
token that is refused before it was ever accepted stops the account, since another fetch would
only bring the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from harvester.errors import AccountError, AttemptError, UsageError
from harvester.model import Action, Hidden, Request, Response, Token, TokenSource, Verdict

Send = Callable[[Request], Awaitable[Response]]
"""What a provider sends its request through: a transport's `send`."""

RENEW_BEFORE = 300.0
"""Seconds before its end at which a token is renewed.  For these last five minutes WeChat keeps
the former token alive beside the new one (stable_token and token interface alike)."""


class TokenRefusedError(AttemptError):
    """A token could not be had; ``verdict`` says why, and how far that reaches."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[TokenRefusedError], tuple[Verdict]]:
        """Pickle it whole."""
        return type(self), (self.verdict,)


@runtime_checkable
class TokenProvider(Protocol):
    """Where an account's tokens come from."""

    async def fetch(self, send: Send) -> Token:
        """A token that is valid now; raises `TokenRefusedError`."""
        ...


class CallableProvider:
    """Tokens from a callable of the user's, plain or async."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __repr__(self) -> str:
        return "<CallableProvider>"

    async def fetch(self, send: Send) -> Token:
        """Ask the callable; whatever it raises is a failed attempt.

        Its exception is named by its class only: its text may hold what must not be shown.
        """
        try:
            given = self._source()
            if inspect.isawaitable(given):
                given = await given
        except Exception as exc:  # noqa: BLE001  (somebody else's code may raise anything)
            problem = f"the account's token callable raised {type(exc).__name__}"
        else:
            if isinstance(given, Token):
                return given
            if isinstance(given, str) and given:
                return Token(given)
            problem = f"the account's token callable returned {type(given).__name__}, not a token"
            del given  # it may be one for all that, and tracebacks can be shown with locals
        raise TokenRefusedError(Verdict(Action.RETRY, problem))


class SharedToken:
    """The current token of one account.

    `get` may be called by any number of tasks; `peek`, `due` and `reject` never wait.
    fetches: tokens asked for; fetched: tokens that came; lifetime: of the last one, in seconds.
    """

    __slots__ = (
        "_doubtful",
        "_ends",
        "_lock",
        "_proven",
        "_provider",
        "_renew_at",
        "_send",
        "_value",
        "appid",
        "fetched",
        "fetches",
        "lifetime",
    )

    def __init__(self, appid: str, provider: TokenProvider, send: Send) -> None:
        self.appid = appid
        self.fetches = self.fetched = 0
        self.lifetime = 0.0
        self._provider = provider
        self._send = send
        self._lock = asyncio.Lock()
        self._value: str | None = None
        self._ends = self._renew_at = 0.0
        self._proven = False  # the current token was accepted at least once
        self._doubtful = False  # the current token took the place of a refused one

    def __repr__(self) -> str:
        state = "none" if self._value is None else "held"
        with contextlib.suppress(RuntimeError):  # no loop: nobody can tell the time
            state = "none" if self.peek() is None else "due" if self.due() else "fresh"
        return f"<SharedToken of {self.appid}: {state}, {self.fetches} fetched>"

    def peek(self, now: float | None = None) -> str | None:
        """The current token, or None if there is none that can be used (now: the loop's time)."""
        now = asyncio.get_running_loop().time() if now is None else now
        return self._value if now < self._ends else None

    def due(self, now: float | None = None) -> bool:
        """Whether a token should be fetched: there is none, or its end is near."""
        now = asyncio.get_running_loop().time() if now is None else now
        return self._value is None or now >= self._renew_at

    async def get(self) -> str:
        """The current token; fetched if there is none, or if its end is near.

        Raises `TokenRefusedError` if none can be had, unless the former one can still be used.
        """
        if self.due():
            async with self._lock:
                if self.due():
                    await self._renew()
        token = self.peek()
        if token is None:
            raise TokenRefusedError(Verdict(Action.RETRY, "the new token had already ended"))
        return token

    async def refresh(self) -> bool:
        """Fetch a token if one is due; gives whether it is another one than before.

        Raises as `get` does.
        """
        former = Hidden(self._value or "")
        await self.get()
        return self._value != former.value

    async def _renew(self) -> None:
        started = asyncio.get_running_loop().time()
        try:
            self.fetches += 1
            token = await self._provider.fetch(self._send)
        except TokenRefusedError:
            if self.peek() is None:
                raise
            self._renew_at = started + (self._ends - started) / 4
            return
        self.fetched += 1
        if token.value != self._value:
            self._proven = False
        self._value, self.lifetime = token.value, token.lifetime
        self._ends = started + token.lifetime
        # Half of a short life: stable_token hands out what is left of a token, down to 5 minutes.
        self._renew_at = started + max(token.lifetime - RENEW_BEFORE, token.lifetime / 2)

    def accept(self, token: str) -> None:
        """The server took this token."""
        if token == self._value:
            self._proven = True
            self._doubtful = False

    def reject(self, token: str, reason: str, fetched: int | None = None) -> bool:
        """The server refused this token: drop it, if it is still the current one.

        fetched: what `fetched` was when the request left.  stable_token hands out the same value
        to everybody, so a late refusal is told by that and not by the value alone.  Gives whether
        the token was dropped.
        Raises `AccountError` if it is itself the replacement of a refused token and was never
        accepted: a second refusal in a row.
        """
        late = token != self._value or (fetched is not None and fetched != self.fetched)
        del token  # a traceback may be shown with the locals of its frames
        if late:
            return False
        if self._doubtful and not self._proven:
            raise AccountError(
                f"{self.appid}: WeChat refused a token that was just fetched ({reason}); another"
                " program may be fetching tokens for this account and ending ours: let all of"
                " them use stable_token or one token server, then run the same command again"
            )
        self._value = None
        self._doubtful = True
        self._proven = False
        return True


def check_token_source(given: object, kinds: tuple[str, ...]) -> None:
    """Raise `UsageError` unless an account's ``token`` is a kind, a provider or a callable."""
    if isinstance(given, str) and given not in kinds:
        raise UsageError(f"token: {given!r} is not one of {', '.join(kinds)}")
    if not (isinstance(given, str) or callable(given) or hasattr(given, "fetch")):
        raise UsageError(f"token: {type(given).__name__} is neither a kind nor a callable")
