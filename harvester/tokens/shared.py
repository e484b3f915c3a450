"""The token of one account, shared by all its tasks.

Rule: one lock; a task that needs a token while it is being fetched waits for that fetch.

A token is renewed before it expires, while the previous one is still valid.  A refused token is
dropped only if it is still the current one, so late refusals of an old token cost nothing.  A new
token that is refused before it was ever accepted stops the account: another fetch would not help.

With a store the same holds for all programs that share it: `StoredToken` uses a token that another
program has fetched, and replaces only the token that it knows to be expired or refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeGuard, cast

from harvester.base.outside import guard_cancellation
from harvester.base.secrets import Secret
from harvester.errors import AccountError, AttemptError, UsageError
from harvester.model import (
    ACCESS_TOKEN,
    Action,
    Send,
    Stored,
    Token,
    TokenProvider,
    TokenSource,
    Verdict,
    without_rid,
)
from harvester.texts import say

if TYPE_CHECKING:
    from harvester.tokens.stores.base import TokenStore

RENEW_BEFORE = 300.0
"""Seconds before its end at which a token is renewed.  For these last five minutes WeChat keeps
the former token alive beside the new one (stable_token and token interface alike)."""

REFUSALS_SHARED = 3
"""Tokens fetched here that may be refused in a row where other programs fetch tokens, too: another
program may end one before it is used."""


class TokenRefusedError(AttemptError):
    """No token could be fetched; ``verdict`` has the reason, and what it affects."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict

    def __reduce__(self) -> tuple[type[TokenRefusedError], tuple[Verdict]]:
        return type(self), (self.verdict,)


class TokenVoidedError(AccountError):
    """A token was refused that had just been fetched: another one would not help."""


def provides(source: object) -> TypeGuard[TokenProvider]:
    """Whether it is a provider; `isinstance` gives the same, but takes longer for each account."""
    return callable(getattr(source, "fetch", None))


class CallableProvider:
    """Tokens from a user's callable, plain or async."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __repr__(self) -> str:
        return "<CallableProvider>"

    async def fetch(self, send: Send) -> Token:
        given = self._source()
        if inspect.isawaitable(given):
            given = await given
        if isinstance(given, str) and given:
            return Token(given)
        return cast("Token", given)  # else `SharedToken` refuses it


class SharedToken:
    """The current token of one account.

    `get` may be called by any number of tasks; `peek`, `due` and `reject` never wait.
    fetches: tokens asked for; fetched: tokens that came.
    current: the last one, None if there was none or it was refused; `peek` returns it if it is
    valid.
    secrets: what it is fetched with; an answer may echo these, too.
    renew_before: seconds before its expiry at which it is renewed.
    """

    __slots__ = (
        "__weakref__",
        "_doubts",
        "_ends",
        "_lock",
        "_ours",
        "_provider",
        "_refused",
        "_renew_at",
        "_renew_before",
        "_send",
        "appid",
        "current",
        "fetched",
        "fetches",
        "secrets",
    )

    _doubts_allowed = 1

    def __init__(
        self, appid: str, provider: TokenProvider, send: Send, renew_before: float = RENEW_BEFORE
    ) -> None:
        self.appid = appid
        self.fetches = self.fetched = 0
        known: Iterable[Secret] = getattr(provider, "secrets", ())
        self.secrets = tuple([one for one in known if one.is_long])
        self._provider = provider
        self._send = send
        self._renew_before = renew_before
        self._lock = asyncio.Lock()
        self.current: Token | None = None
        self._ours = True  # the current token was fetched here
        self._doubts = 0  # tokens fetched here that were refused since one was accepted
        self._refused: str | None = None
        self._ends = self._renew_at = 0.0

    def __repr__(self) -> str:
        state = "none" if self.current is None else "held"
        with contextlib.suppress(RuntimeError):  # no loop: its time is unknown
            state = "none" if self.peek() is None else "due" if self.due() else "fresh"
        return f"<SharedToken of {self.appid}: {state}, {self.fetches} fetched>"

    @property
    def lifetime(self) -> float:
        """The lifetime of the current token when it was fetched, in seconds."""
        return 0.0 if self.current is None else self.current.lifetime

    @property
    def _value(self) -> str | None:
        return None if self.current is None else self.current.value

    def peek(self, now: float | None = None) -> str | None:
        """The current token, or None if there is no valid one (now: the loop's time)."""
        now = asyncio.get_running_loop().time() if now is None else now
        return self._value if now < self._ends else None

    def due(self, now: float | None = None) -> bool:
        """Whether a token should be fetched: there is none, or it expires soon."""
        now = asyncio.get_running_loop().time() if now is None else now
        return self.current is None or now >= self._renew_at

    async def get(self) -> str:
        """The current token; fetched if there is none, or if it expires soon.

        Raises `TokenRefusedError` if none can be fetched, unless the previous one is still valid.
        """
        if self.due():
            async with self._lock:
                if self.due():
                    await self._renew()
        token = self.peek()
        if token is None:
            raise TokenRefusedError(Verdict(Action.RETRY, say("the new token had already expired")))
        return token

    async def refresh(self) -> bool:
        """Fetch a token if one is due, as `get`; returns whether it differs from the previous."""
        former = self.current
        await self.get()
        return former is None or former.value != self._value

    async def _renew(self) -> None:
        started = asyncio.get_running_loop().time()
        try:
            token = await self._fetch()
        except TokenRefusedError:
            if not self._go_on(started):
                raise
        else:
            self._take(token, started + token.lifetime, ours=True)

    async def _fetch(self) -> Token:
        self.fetches += 1
        token = await guard_cancellation(
            _source_failed, self._provider.fetch, self._send, secret=True
        )
        if not isinstance(token, Token):
            kind = type(token).__name__
            del token  # it may be one nevertheless, and tracebacks can be shown with locals
            raise _no_token(kind)
        if token.value and not token.is_text:
            raise TokenRefusedError(Verdict(Action.RETRY, say("the new token is not UTF-8 text")))
        if token.value == self._refused and getattr(self._provider, "fixed", False):
            raise TokenRefusedError(
                Verdict(Action.STOP_ACCOUNT, say("WeChat refused the static token; give a new one"))
            )
        return token

    def _go_on(self, now: float) -> bool:
        """Whether the current token is valid though the fetch failed; delays the next one."""
        if self.peek() is None:
            return False
        self._renew_at = now + (self._ends - now) / 4
        return True

    def _take(self, token: Token, ends: float, *, ours: bool) -> None:
        """Make it the current one (ends: the loop's time of its expiry)."""
        self.fetched += 1
        self.current = token
        self._ours, self._ends = ours, ends
        self._renew_at = ends - self._early(token.lifetime)

    def _early(self, lifetime: float) -> float:
        """How long before its expiry a token is renewed.

        At half of a short lifetime: stable_token may return a token with only 5 minutes left.
        """
        return min(self._renew_before, lifetime / 2)

    def accept(self, token: str) -> None:
        if self._doubts and token == self._value:
            self._doubts = 0

    def reject(self, token: str, reason: str, fetched: int | None = None) -> bool:
        """The server refused this token: drop it, if it is still the current one.

        fetched: the value of `fetched` when the request left.  stable_token returns the same value
        to every caller, so this number identifies a late refusal, not the value alone.  Returns
        whether the token was dropped.
        Raises `TokenVoidedError` at a second refusal in a row.
        """
        late = token != self._value or (fetched is not None and fetched != self.fetched)
        del token  # a traceback may be shown with the local variables of its frames
        if late:
            return False
        if self._ours and self._doubts >= self._doubts_allowed:
            problem = say(
                "{}: WeChat refused a token that was just fetched ({}); another program might be"
                " fetching tokens for this account, which ends ours: let all programs use"
                " stable_token or one token server, then run the same command again",
                self.appid,
                without_rid(reason),
            )
            raise TokenVoidedError(problem + reason[len(without_rid(reason)) :])
        self._doubts += self._ours
        self._refused, self.current = self._value, None
        return True


class StoredToken(SharedToken):
    """The current token of one account, shared with other programs through a store.

    A token that another program has fetched is used, and costs no fetch.  A refusal drops a token
    only in this process: in the store a new token replaces the refused one, if that is still there.
    clock: the wall clock, since the loop's may not run while the machine or the process sleeps.
    """

    __slots__ = ("_clock", "_store", "_wall_ends")

    _doubts_allowed = REFUSALS_SHARED

    def __init__(
        self,
        appid: str,
        provider: TokenProvider,
        send: Send,
        store: TokenStore,
        clock: Callable[[], float] = time.time,
        renew_before: float = RENEW_BEFORE,
    ) -> None:
        super().__init__(appid, provider, send, renew_before)
        self._store = store
        self._clock = clock
        self._wall_ends = 0.0

    def peek(self, now: float | None = None) -> str | None:
        return super().peek(now) if self._clock() < self._wall_ends else None

    def due(self, now: float | None = None) -> bool:
        return super().due(now) or self._clock() >= self._wall_ends

    async def _renew(self) -> None:
        started = asyncio.get_running_loop().time()
        try:
            found = await guard_cancellation(_store_failed, self._found, secret=True)
        except TokenRefusedError as exc:
            problem = exc.verdict
        except AttemptError as exc:
            problem = Verdict(Action.RETRY, str(exc))
        except UsageError as exc:
            problem = Verdict(Action.STOP_ACCOUNT, str(exc))
        else:
            self._adopt(*found)
            return
        if not self._go_on(started):
            raise TokenRefusedError(problem)

    async def _found(self) -> tuple[Token, float, bool]:
        """A token, the Unix time of its expiry, and whether it was fetched here."""
        stored = await self._store.load(self.appid)
        if stored is None or not self._serves(stored):
            async with self._store.lease(self.appid):
                stored = await self._store.load(self.appid)
                if stored is None or not self._serves(stored):
                    return await self._fetched(stored)
        return stored, stored.ends, False

    def _serves(self, stored: Stored) -> bool:
        """Whether to use it: it was not refused, and needs no renewal yet."""
        left = stored.ends - self._clock()
        return stored.value != self._refused and left > self._early(stored.lifetime)

    async def _fetched(self, former: Stored | None) -> tuple[Token, float, bool]:
        started = self._clock()
        token = await self._fetch()
        new = Stored(token, started + token.lifetime, token.lifetime)
        if token.parameter == ACCESS_TOKEN:
            try:
                winner = await guard_cancellation(_store_failed, self._put, former, new)
            except AttemptError:
                winner = None  # the store is away: the token is valid nevertheless
            if winner is not None:
                return winner, winner.ends, False
        return token, new.ends, True

    async def _put(self, former: Stored | None, new: Stored) -> Stored | None:
        """Store a token; returns it, or a better one that another program has stored."""
        while not await self._store.replace(self.appid, former, new):
            former = await self._store.load(self.appid)
            if former is not None and former.value != new.value and self._serves(former):
                return former
        return None

    def _adopt(self, token: Token, ends: float, ours: bool) -> None:
        self._wall_ends = ends
        left = min(ends - self._clock(), token.lifetime)  # the clock may have been set back
        self._take(token, asyncio.get_running_loop().time() + left, ours=ours)


def _no_token(kind: str) -> TokenRefusedError:
    """The error of a token source that returned something else: it would do so again."""
    why = say("the account's token source returned {}, not a token", kind)
    return TokenRefusedError(Verdict(Action.STOP_ACCOUNT, why))


def _source_failed(why: str) -> TokenRefusedError:
    return TokenRefusedError(
        Verdict(Action.RETRY, say("the account's token source failed: {}", why))
    )


def _store_failed(why: str) -> AttemptError:
    return AttemptError("the token store failed: {}", why)


def shared_token(
    appid: str,
    provider: TokenProvider,
    send: Send,
    store: TokenStore | None = None,
    clock: Callable[[], float] = time.time,
    renew_before: float = RENEW_BEFORE,
) -> SharedToken:
    """The token of an account for one run, in the store if there is one that applies."""
    if join := getattr(provider, "joined", None):  # it needs a token of its own
        provider = join(send, store, clock)
    if store is None or not getattr(provider, "shareable", True):
        return SharedToken(appid, provider, send, renew_before)
    return StoredToken(appid, provider, send, store, clock, renew_before)


def check_token_source(given: object, kinds: tuple[str, ...]) -> None:
    """Raise `UsageError` unless an account's ``token`` is a kind, a provider or a callable."""
    if isinstance(given, str):
        given = Secret(given)
        if given.value in kinds:
            return
        shown = say("what was given") if given.is_long else repr(given.value)  # a token?
        raise UsageError("token: {} is not one of {}", shown, ", ".join(kinds))
    if not (callable(given) or hasattr(given, "fetch")):
        raise UsageError(
            "token: {} is neither a kind of token nor a callable", type(given).__name__
        )
