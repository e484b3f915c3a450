"""Tokens in Redis, for programs on several machines.

Rule: the only module for tokens that imports redis, when a store is made; its errors are translated
here, and messages show only host and port of the URL.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import anyio

from harvester.base.codec import MalformedError, encode, parse
from harvester.base.secrets import Secret, advice, place_of
from harvester.base.threads import ended
from harvester.errors import AttemptError, UsageError, needs
from harvester.model import Stored
from harvester.texts import say
from harvester.tokens.stores.base import POLL, from_object, same, to_object

T = TypeVar("T")

PASSWORD_VARIABLE = "HARVESTER_REDIS_PASSWORD"  # the name, not the password
TIMEOUT = 5.0
"""Seconds for a connection, and for an answer."""
LEASE = 10.0
"""Seconds after which the lease of a killed holder ends; a live holder renews it."""

_FORM = "redis://HOST:PORT/DB"
_OPTIONS: dict[str, tuple[str, ...]] = {"redis": (), "rediss": ("ssl_ca_certs",)}
"""The query parameters that a URL may have."""

_RENEW = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end
return 0
"""
_GIVE_BACK = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


class RedisStore:
    """Tokens under ``harvester:token:<appid>``; each is removed when it expires.

    url: ``redis://[user[:password]@]host[:port][/database]``, ``rediss://…`` with TLS.  The
    password may be in the environment variable ``HARVESTER_REDIS_PASSWORD`` instead, where a
    process's arguments do not show it; ``?ssl_ca_certs=FILE`` names the authorities that TLS
    trusts.  The clocks of the machines should agree.
    Raises `UsageError` for an invalid URL, and if the library is missing.
    """

    def __init__(self, url: str | Secret, *, lease: float = LEASE) -> None:
        url = Secret(url)
        self._where, problem = _place(url)
        self._lease, self._milliseconds = lease, max(1, int(lease * 1000))
        self._errors: tuple[type[Exception], ...] = (OSError, TimeoutError)
        if not problem:
            self._client, problem = self._connected(url)
        if problem:
            raise UsageError(problem)

    def __repr__(self) -> str:
        return f"<RedisStore {self._where}>"

    def _connected(self, url: Secret) -> tuple[Any, str]:
        """The client, or why there is none; nothing is sent yet."""
        try:
            import redis.asyncio
            import redis.exceptions
        except ImportError:
            return None, needs("the token store in Redis needs a library", "redis")
        self._errors = (redis.exceptions.RedisError, *self._errors)
        self._lost: type[Exception] = redis.exceptions.WatchError
        more: dict[str, Any] = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT}
        if not urlsplit(url.value).password and (password := os.environ.get(PASSWORD_VARIABLE)):
            more["password"] = password
        try:
            return redis.asyncio.Redis.from_url(url.value, **more), ""
        except Exception:  # noqa: BLE001  (whatever it is, its text may hold the URL)
            return None, say("token store: the URL of {} cannot be used", self._where)

    async def load(self, key: str) -> Stored | None:
        found = _found(await self._asked(self._client.get(f"harvester:token:{key}")))
        return self._checked(key, found)

    def _checked(self, key: str, found: Stored | str | None) -> Stored | None:
        if isinstance(found, str):
            raise UsageError(
                "the token store {} contains {} under harvester:token:{}; remove that key, or use"
                " another database",
                self._where,
                found,
                key,
            )
        return found

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        return await self._asked(self._replace(key, former, new))

    async def _replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        name = f"harvester:token:{key}"
        async with self._client.pipeline(transaction=True) as pipe:
            try:
                await pipe.watch(name)
                found = _found(await pipe.get(name))
                if not same(self._checked(key, found), former):
                    return False
                pipe.multi()
                pipe.set(name, encode(to_object(new)), pxat=max(1, int(new.ends * 1000)))
                await pipe.execute()
            except self._lost:
                return False
        return True

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncIterator[None]:
        name, holder = f"harvester:lease:{key}", secrets.token_hex(16)
        renewal: asyncio.Task[None] | None = None
        try:
            while True:
                taken = self._client.set(name, holder, nx=True, px=self._milliseconds)
                if await self._asked(taken):
                    break
                await anyio.sleep(POLL)
            renewal = asyncio.create_task(self._renew(name, holder))
            yield
        finally:
            try:
                if renewal is not None:
                    await ended(renewal)
            finally:
                await self._give_back(name, holder)

    async def _renew(self, name: str, holder: str) -> None:
        while True:
            await anyio.sleep(self._lease / 3)
            try:
                if not await self._client.eval(_RENEW, 1, name, holder, self._milliseconds):
                    return
            except self._errors:  # the next renewal may be early enough
                continue

    async def _give_back(self, name: str, holder: str) -> None:
        """Release a lease that this process still holds; if that fails, it ends by itself."""
        with anyio.move_on_after(TIMEOUT, shield=True):
            try:
                await self._client.eval(_GIVE_BACK, 1, name, holder)
            except self._errors:
                return

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except self._errors as exc:
            problem = say(
                "the token store {} does not answer ({})", self._where, type(exc).__name__
            )
        raise AttemptError(problem)

    async def close(self) -> None:
        try:
            await self._client.aclose()
        except self._errors:
            return


def _found(raw: bytes | None) -> Stored | str | None:
    """The token in an answer; a string describes anything else."""
    if raw is None:
        return None
    with suppress(MalformedError):
        if stored := from_object(parse(raw)):
            return stored
    return say("something else")


def _place(url: Secret) -> tuple[str, str]:
    """A URL without secrets, and what is wrong with it."""
    place = place_of(url)
    if place is None:
        return "redis", say("token store: a URL of Redis is written {}{}", _FORM, advice(url))
    shown = f"{place.scheme}://{place.host}:{place.port or 6379}"
    if not (place.name or "0").isdecimal():
        return shown, say("token store: {} has no such database; write it as {}", shown, _FORM)
    known = _OPTIONS.get(place.scheme, ())
    query = urlsplit(url.value).query
    if any(name not in known for name, _ in parse_qsl(query, keep_blank_values=True)):
        these = say("its options are {}", ", ".join(known)) if known else say("it has no options")
        return shown, say("token store: the URL of {} has an unknown option; {}", shown, these)
    return shown, ""
