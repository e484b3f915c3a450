"""Tokens in Redis, for programs on several machines.

Rule: the only room that knows redis, which is imported when a store is made and not before; its
errors are translated here, and no message holds what stands in the URL beside host and port.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio

from harvester.errors import AttemptError, UsageError
from harvester.model import Hidden, Stored
from harvester.stores.base import LEASE, POLL, from_bytes, same, to_bytes

T = TypeVar("T")

PASSWORD_VARIABLE = "HARVESTER_REDIS_PASSWORD"  # the name, not the password
TIMEOUT = 5.0
"""Seconds for a connection, and for an answer."""

_GIVE_BACK = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


class RedisStore:
    """Tokens under ``harvester:token:<appid>``; each vanishes at its end.

    url: ``redis://[user[:password]@]host[:port][/database]``, ``rediss://…`` with TLS.  The
    password may stand in the environment variable ``HARVESTER_REDIS_PASSWORD`` in its place, where
    a process's arguments do not show it.  The clocks of the machines should agree.
    Raises `UsageError` for a URL that is none, and if the library is missing.
    """

    def __init__(self, url: str, *, lease: float = LEASE) -> None:
        hidden = Hidden(url)
        del url  # a traceback may be shown with the locals of its frames
        self._where, problem = _place(hidden)
        self._lease = lease
        self._errors: tuple[type[Exception], ...] = (OSError, TimeoutError)
        if not problem:
            self._client, problem = self._connected(hidden)
        if problem:
            raise UsageError(problem)

    def __repr__(self) -> str:
        return f"<RedisStore {self._where}>"

    def _connected(self, url: Hidden) -> tuple[Any, str]:
        """The client, or why there is none; nothing is sent yet."""
        try:
            import redis.asyncio
            import redis.exceptions
        except ImportError:
            return None, (
                "the token store in Redis needs its library: pip install 'wechat-harvester[redis]'"
            )
        self._errors = (redis.exceptions.RedisError, *self._errors)
        self._lost: type[Exception] = redis.exceptions.WatchError
        more: dict[str, Any] = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT}
        if not urlsplit(url.value).password and (password := os.environ.get(PASSWORD_VARIABLE)):
            more["password"] = password
        try:
            return redis.asyncio.Redis.from_url(url.value, **more), ""
        except Exception:  # noqa: BLE001  (whatever it is, its text may hold the URL)
            return None, f"token store: the URL of {self._where} cannot be used"

    async def load(self, key: str) -> Stored | None:
        found = _found(await self._asked(self._client.get(f"harvester:token:{key}")))
        return self._checked(key, found)

    def _checked(self, key: str, found: Stored | str | None) -> Stored | None:
        if isinstance(found, str):
            raise UsageError(
                f"the token store {self._where} holds {found} under harvester:token:{key};"
                " remove it, or take another database"
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
                pipe.set(name, to_bytes(new), pxat=max(1, int(new.ends * 1000)))
                await pipe.execute()
            except self._lost:
                return False
        return True

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncIterator[None]:
        name, holder = f"harvester:lease:{key}", secrets.token_hex(16)
        milliseconds = max(1, int(self._lease * 1000))
        try:
            while True:
                taken = self._client.set(name, holder, nx=True, px=milliseconds)
                if await self._asked(taken):
                    break
                await anyio.sleep(POLL)
            yield
        finally:
            await self._give_back(name, holder)

    async def _give_back(self, name: str, holder: str) -> None:
        """End a lease that is still ours; what cannot be ended now ends by itself."""
        with anyio.move_on_after(TIMEOUT, shield=True):
            try:
                await self._client.eval(_GIVE_BACK, 1, name, holder)
            except self._errors:
                return

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except self._errors as exc:
            problem = f"the token store {self._where} does not answer ({type(exc).__name__})"
        raise AttemptError(problem)

    async def close(self) -> None:
        try:
            await self._client.aclose()
        except self._errors:
            return


def _found(raw: bytes | None) -> Stored | str | None:
    """What an answer holds; a string says what it is if it is nothing of ours."""
    if raw is None:
        return None
    return from_bytes(raw) or "something else"


def _place(url: Hidden) -> tuple[str, str]:
    """Scheme, host and port of a URL, as they may be shown; and what is wrong with it."""
    try:
        parts = urlsplit(url.value)
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        host, port = None, 0
    if not host:
        return "redis", "token store: a URL of Redis is written redis://HOST:PORT/DB"
    return f"{parts.scheme}://{host}:{port}", ""
