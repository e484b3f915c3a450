"""Third-party platforms: the platform's own token, and those of the accounts that authorised it.

Rule: a new refresh token is stored durably before the access token beside it is used; if it is
lost, the account must authorise again.

Source: WeChat's open platform, component_verify_ticket, api_component_token, api_authorizer_token.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from harvester.base.codec import encode
from harvester.base.secrets import Secret, read_private, write_private
from harvester.errors import AccountError, UsageError
from harvester.model import Account, Action, Request, Send, Stored, Token, TokenProvider, Verdict
from harvester.texts import say
from harvester.tokens.external import called
from harvester.tokens.official import asked, check_appid, token_in, token_or_error
from harvester.tokens.shared import SharedToken, shared_token
from harvester.wechat.codes import AUTHORIZER_ERRORS, COMPONENT_ERRORS

if TYPE_CHECKING:
    from harvester.tokens.stores.base import TokenStore

PLATFORM_RENEW_BEFORE = 600.0
"""Seconds before its end at which the platform's token is renewed, as WeChat's page asks for."""

REFRESH_REFUSED = (40030, 42002, 61023)
"""The refresh token is not valid, perhaps because another program has received the next one."""

REFRESH_KEPT = 10 * 365 * 86_400.0
"""Seconds for which a store keeps a refresh token, which does not expire by itself."""

TICKET_PATIENCE = 600.0
"""Seconds to wait for another ticket: WeChat pushes one every ten minutes."""

Source = str | os.PathLike[str] | Callable[[], Awaitable[str] | str]
"""A text, a file that holds it, or a callable, plain or async, that returns it."""

RefreshTokenSource = Secret | os.PathLike[str] | Callable[[], Awaitable[str] | str]
"""The same, the text hidden."""

Save = Callable[[str], Awaitable[None] | None]


class Platform:
    """A third-party platform; `account` makes the accounts that have authorised it.

    ticket: where to get the newest component_verify_ticket: the path of a file that is written by
    the program that receives WeChat's pushes, or a plain or async callable that returns the ticket.

    All accounts of the platform share its token; with a token store, all programs share it.
    """

    def __init__(self, appid: str, secret: str | Secret, ticket: Source) -> None:
        secret = Secret(secret)
        self.appid = appid
        check_appid(appid)
        self._secret = secret
        self.secrets = (secret,)
        if not secret.is_text:
            raise UsageError("platform {}: its secret is not UTF-8 text", appid)
        self._ticket = Path(ticket) if isinstance(ticket, str | os.PathLike) else ticket
        self._shared: WeakValueDictionary[Any, SharedToken] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<Platform {self.appid}>"

    def account(
        self, appid: str, refresh_token: Source | Secret, save: Save | None = None
    ) -> Account:
        """An account that has authorised the platform.

        refresh_token: the path (`pathlib.Path`) of a file with mode 0600, which is rewritten when
        WeChat sends a new token; or the token itself, or a callable that returns it.  In these two
        cases ``save`` is called (and awaited) with each new token.  Raises `UsageError`.
        """
        if isinstance(refresh_token, str):
            refresh_token = Secret(refresh_token)
        return Account(appid, token=AuthorizerToken(self, appid, refresh_token, save))

    def token(
        self, send: Send, store: TokenStore | None, clock: Callable[[], float]
    ) -> SharedToken:
        """The token of the platform in one run; all its accounts get the same object."""
        by = send.func if isinstance(send, partial) else send  # it may be bound to each account
        key = (by, id(store))
        found = self._shared.get(key)
        if found is None:
            provider = _ComponentToken(self.appid, self._secret, self._ticket, clock)
            found = shared_token(self.appid, provider, send, store, clock, PLATFORM_RENEW_BEFORE)
            self._shared[key] = found
        return found


class _ComponentToken:
    """The platform's own tokens, each for a ticket that WeChat has pushed."""

    def __init__(
        self,
        appid: str,
        secret: Secret,
        ticket: Path | Callable[[], Any],
        clock: Callable[[], float],
    ) -> None:
        self._appid = appid
        self._secret = secret
        self._ticket = ticket
        self._clock = clock
        self._refused: Secret | None = None
        self._since: float | None = None

    def __repr__(self) -> str:
        return f"<ComponentToken of {self._appid}>"

    async def fetch(self, send: Send) -> Token:
        """A token; waits for the next ticket if the current one was refused."""
        return token_or_error(await self._fetch(send))

    async def _fetch(self, send: Send) -> Token | Verdict:
        ticket = await _read(self._ticket, say("the ticket"))
        if isinstance(ticket, str):
            return self._unready(ticket)
        if ticket == self._refused:
            return self._unready(
                say("WeChat refused the ticket, and no new ticket has arrived yet")
            )
        body = {
            "component_appid": self._appid,
            "component_appsecret": self._secret.value,
            "component_verify_ticket": ticket.value,
        }
        request = Request("POST", "/cgi-bin/component/api_component_token", body=encode(body))
        del body  # it holds the secret, and tracebacks can be shown with locals
        answer = await asked(send, request, self._secret, ticket)
        found = token_in(answer, "component_access_token", COMPONENT_ERRORS)
        if isinstance(found, Token):
            self._since = None
            return found
        if found.action is Action.NOT_READY:
            self._refused = ticket
            return self._unready(found.message)
        return found._replace(message=say("platform {}: {}", self._appid, found.message))

    def _unready(self, why: str) -> Verdict:
        now = self._clock()
        self._since = now if self._since is None else self._since
        why = say("platform {}: {}", self._appid, why)
        if now - self._since < TICKET_PATIENCE:
            return Verdict(Action.NOT_READY, why)
        return Verdict(
            Action.STOP_ACCOUNT,
            say(
                "{}; no new ticket came for {:.0f} minutes: check whether WeChat's pushes arrive"
                " and are stored",
                why,
                TICKET_PATIENCE / 60,
            ),
        )


class AuthorizerToken:
    """The tokens of one account from its platform; see `Platform.account`."""

    def __init__(
        self, platform: Platform, appid: str, refresh_token: RefreshTokenSource, save: Save | None
    ) -> None:
        self._platform = platform
        self._appid = appid
        if save is None and not isinstance(refresh_token, os.PathLike):
            raise UsageError(
                "account {}: a refresh token changes over time; give the path of the file that"
                " contains it, or save= to store the next one",
                appid,
            )
        self._save = save
        self.secrets = platform.secrets
        self._source = refresh_token
        self._unsaved: Secret | None = None
        self._void: Secret | None = None  # the last one that WeChat refused

    def __repr__(self) -> str:
        return f"<AuthorizerToken of {self._appid}, {self._platform!r}>"

    def joined(
        self, send: Send, store: TokenStore | None, clock: Callable[[], float]
    ) -> TokenProvider:
        """A copy for one run, in which the platform's token is shared, and the refresh token."""
        shared = None if store is None else _SharedRefresh(self._appid, store, clock)
        return _Joined(self, self._platform.token(send, store, clock), shared)

    async def fetch(self, send: Send) -> Token:
        """A token, with a token of the platform for it alone; raises `TokenRefusedError`."""
        return await self.fetch_by(send, self._platform.token(send, None, time.time))

    async def fetch_by(
        self, send: Send, component: SharedToken, shared: _SharedRefresh | None = None
    ) -> Token:
        """A token; the refresh token beside it is stored.

        shared: where the refresh token is shared.  Raises `TokenRefusedError`, and `AttemptError`
        if that place cannot be reached.
        """
        found = await self._fetch(send, component, shared)
        if isinstance(found, Verdict) and found.action is Action.RENEW_TOKEN:
            found = await self._fetch(send, component, shared)
        if isinstance(found, Verdict) and found.action is Action.RENEW_TOKEN:
            found = found._replace(action=Action.RETRY)
        return token_or_error(found)

    async def _fetch(
        self, send: Send, component: SharedToken, shared: _SharedRefresh | None
    ) -> Token | Verdict:
        refresh = await self._refresh_token(shared)
        if isinstance(refresh, str):
            return Verdict(Action.STOP_ACCOUNT, refresh)
        mine = Secret(await component.get())
        generation = component.fetched
        body = {
            "component_appid": self._platform.appid,
            "authorizer_appid": self._appid,
            "authorizer_refresh_token": refresh.value,
        }
        query = (("component_access_token", mine.value),)
        path = "/cgi-bin/component/api_authorizer_token"
        request = Request("POST", path, query, encode(body))
        del body, query
        answer = await asked(send, request, mine, refresh)
        found = token_in(answer, "authorizer_access_token", AUTHORIZER_ERRORS)
        if isinstance(found, Token):
            component.accept(mine.value)
            assert isinstance(answer, dict)
            given = Secret(str(answer.get("authorizer_refresh_token") or refresh.value))
            del answer
            return await self._kept(refresh, given, shared) or found
        found = self._component_refused(found, component, (mine, generation))
        if found.code in REFRESH_REFUSED:
            self._void = refresh  # another program may have received the next one
            now = await self._refresh_token(shared)
            if isinstance(now, Secret) and now != refresh:
                return found._replace(action=Action.RETRY)
        return found

    def _component_refused(
        self, verdict: Verdict, component: SharedToken, sent: tuple[Secret, int]
    ) -> Verdict:
        if verdict.action is Action.RENEW_TOKEN:
            try:
                component.reject(sent[0].value, verdict.message, sent[1])
            except AccountError as exc:
                return verdict._replace(action=Action.STOP_ACCOUNT, message=str(exc))
        return verdict

    async def _refresh_token(self, shared: _SharedRefresh | None) -> Secret | str:
        """The refresh token, or why there is none.

        The shared one is the newest, unless WeChat has refused it: after a new authorisation the
        account's own is.
        """
        if self._unsaved is not None:
            return self._unsaved
        found = None if shared is None else await shared.load()
        if found is not None and found != self._void:
            return found
        if isinstance(self._source, Secret):
            return self._source
        return await _read(self._source, say("the refresh token of {}", self._appid))

    async def _kept(
        self, former: Secret, given: Secret, shared: _SharedRefresh | None
    ) -> Verdict | None:
        """Store a refresh token if it has changed; a verdict if that fails."""
        if given == former and self._unsaved is None:
            if shared is not None and self._void is not None:
                await shared.replace(given)  # the one that is shared is refused
            self._void = None
            return None
        self._unsaved = given
        problem = await self._saved(given)
        if shared is not None and not problem:
            await shared.replace(given)
        if problem:
            why = say("the new refresh token of {} cannot be stored: {}", self._appid, problem)
            return Verdict(Action.RETRY, why)
        if isinstance(self._source, Secret):
            self._source = given
        self._unsaved = None
        return None

    async def _saved(self, given: Secret) -> str:
        if self._save is None:
            assert isinstance(self._source, os.PathLike)
            try:
                write_private(Path(self._source), given.value.encode() + b"\n")
            except OSError as exc:
                return say(exc.strerror or type(exc).__name__)
            return ""
        try:
            done = self._save(given.value)
            if inspect.isawaitable(done):
                await done
        except Exception as exc:  # noqa: BLE001  (user code may raise anything)
            return say("save raised {}", type(exc).__name__)
        return ""


class _Joined:
    """An account's tokens in one run, in which it shares the platform's token."""

    def __init__(
        self, token: AuthorizerToken, component: SharedToken, shared: _SharedRefresh | None
    ) -> None:
        self._token = token
        self._component = component
        self._shared = shared
        self.secrets = token.secrets

    def __repr__(self) -> str:
        return repr(self._token)

    async def fetch(self, send: Send) -> Token:
        return await self._token.fetch_by(send, self._component, self._shared)


class _SharedRefresh:
    """The newest refresh token of an account, in the store of its programs and machines.

    It is there once WeChat has given out another one than the account's own.
    """

    def __init__(self, appid: str, store: TokenStore, clock: Callable[[], float]) -> None:
        self._key = f"{appid}.refresh"
        self._store = store
        self._clock = clock

    async def load(self) -> Secret | None:
        """It, None if there is none; raises `AttemptError`."""
        found = await self._store.load(self._key)
        return None if found is None else Secret(found.value)

    async def replace(self, given: Secret) -> None:
        """Store it in place of the former one; raises `AttemptError`."""
        new = Stored(given.value, self._clock() + REFRESH_KEPT, REFRESH_KEPT)
        former = await self._store.load(self._key)
        while former is None or former.value != new.value:
            if await self._store.replace(self._key, former, new):
                return
            former = await self._store.load(self._key)


async def _read(source: os.PathLike[str] | Callable[[], Any], what: str) -> Secret | str:
    """A text from a private file or a callable; a plain string states why there is none."""
    if callable(source):
        return await called(source, say("{}: its callable", what))
    try:
        return read_private(Path(source), say("{}: the file {}", what, source))
    except UsageError as exc:
        return str(exc)
