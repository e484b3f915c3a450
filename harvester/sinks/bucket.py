"""An object store: put, get, list, remove; each with patience, and errors in words.

Rule: the only room that knows obstore, which is imported when a bucket is opened and not before;
no message holds what an answer or an environment variable says beside its code.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from random import uniform
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import anyio

from harvester.durable import step
from harvester.errors import SinkError, UsageError

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds for which a store that is down is tried again."""
CONNECT, ANSWER = timedelta(seconds=5), timedelta(seconds=120)
LONGEST = 5.0
AT_ONCE = 8

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3}) ?([A-Za-z ]*)")
_OF_THE_MACHINE = ("/latest/api/token", "/latest/meta-data", "169.254.", "metadata.google.internal")
"""Where a machine in a cloud asks for credentials, when none are given."""
_OF_THE_DISK = ("Permission denied", "Read-only file system", "Not a directory")
_FULL = ("No space left", "quota exceeded", "File too large")
_AGAIN = {"408", "409", "425", "429"}
"""Statuses below 500 that pass."""


class Found(NamedTuple):
    """One object of a listing."""

    size: int
    modified: datetime


class Trouble(NamedTuple):
    """What an error means: a sentence's middle, and whether it passes.

    gone: there is no such bucket; absent: there is no such object; full: there is no room.
    """

    what: str
    passes: bool = False
    gone: bool = False
    absent: bool = False
    full: bool = False


class BucketError(SinkError):
    """A request that failed for good, or for too long."""

    def __init__(self, message: str, trouble: Trouble) -> None:
        super().__init__(message)
        self.trouble = trouble


class Bucket:
    """Objects below one prefix of a store.

    url: ``s3://bucket/prefix`` and its like.  endpoint: of a store that speaks S3 elsewhere.
    credentials: what to say where there are none.
    Raises `UsageError` for a URL that is none, and if the library is missing.
    """

    def __init__(
        self, url: str, *, endpoint: str = "", credentials: str = "", patience: float = PATIENCE
    ) -> None:
        try:
            import obstore
            import obstore.exceptions
        except ImportError:
            raise UsageError(
                "an object store needs its library: pip install 'wechat-harvester[s3]'"
            ) from None
        self.where = url
        self._credentials = credentials
        self._patience = patience
        self._obstore: Any = obstore
        self._exists = (
            obstore.exceptions.AlreadyExistsError,
            obstore.exceptions.PreconditionError,
        )
        self._errors = (obstore.exceptions.BaseError, OSError, ValueError)
        self._local = url.startswith("file:")
        self._store = self._made(url, endpoint)

    def _made(self, url: str, endpoint: str) -> Any:
        from obstore.store import from_url

        if self._local:
            more: dict[str, Any] = {"mkdir": True}
        else:
            more = {
                "client_options": {"connect_timeout": CONNECT, "timeout": ANSWER},
                "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=10)},
            }
            if endpoint:
                more["endpoint"] = endpoint
            if _in_use(endpoint).startswith("http://"):
                more["client_options"]["allow_http"] = True
        problem = ""
        try:
            return from_url(url, **more)
        except self._errors as exc:
            problem = _first_line(exc) if self._local else type(exc).__name__
        raise UsageError(f"sink: {self.where} cannot be used ({problem})")

    async def everything(self) -> dict[str, Found]:
        """Every object below the prefix, by name."""

        async def ask() -> list[Any]:
            found: list[Any] = await self._obstore.list(self._store).collect_async()
            return found

        return {
            one["path"]: Found(one["size"], one["last_modified"])
            for one in await self._persist("listed", ask)
        }

    async def get(self, name: str) -> bytes:
        """The content of an object."""

        async def ask() -> bytes:
            answer = await self._obstore.get_async(self._store, name)
            return bytes(await answer.bytes_async())

        return await self._persist("read", ask)

    async def put(self, name: str, data: bytes, what: str) -> None:
        """Put an object, whatever is there."""
        with step(f"put {what}"):
            await self._persist("written", lambda: self._put(name, data, "overwrite"))

    async def create(self, name: str, data: bytes, what: str) -> bool:
        """Put an object where there is none; False if there is another one."""
        with step(f"put {what}"):
            try:
                await self._persist("written", lambda: self._put(name, data, "create"))
            except self._exists:  # an answer that was lost, perhaps: then it is ours
                return await self.get(name) == data
        return True

    async def _put(self, name: str, data: bytes, mode: str) -> None:
        # One request: a kill in the midst of several parts would leave parts that nobody sees.
        await self._obstore.put_async(self._store, name, data, mode=mode, use_multipart=False)

    async def remove(self, names: Iterable[str], what: str) -> None:
        """Remove objects; those that are not there are removed already."""
        listed = sorted(names)
        if not listed:
            return

        async def ask(some: list[str]) -> None:
            try:
                await self._obstore.delete_async(self._store, some)
            except FileNotFoundError:
                if len(some) > 1:
                    for one in some:
                        await ask([one])

        with step(f"remove {what}"):
            await self._persist("removed", lambda: ask(listed))

    async def each(self, calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Make several calls, a few at once."""
        limit = anyio.Semaphore(AT_ONCE)

        async def one(call: Callable[[], Awaitable[None]]) -> None:
            async with limit:
                await call()

        listed: Sequence[Callable[[], Awaitable[None]]] = list(calls)
        if len(listed) == 1:
            await listed[0]()
            return
        try:
            async with anyio.create_task_group() as group:
                for call in listed:
                    group.start_soon(one, call)
        except BaseExceptionGroup as exc:
            raise exc.exceptions[0] from None

    async def _persist(self, verb: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, and again for as long as its trouble may pass."""
        ends, delay = time.monotonic() + self._patience, 0.2
        while True:
            try:
                return await call()
            except self._exists:
                raise
            except self._errors as exc:
                trouble = self._trouble(exc)
            if not trouble.passes or time.monotonic() + delay > ends:
                break
            await anyio.sleep(delay * uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST)
        raise self._error(verb, trouble)

    # for readers, who wait

    def names_now(self) -> list[str]:
        """The names of all objects, without waiting for a store that is down."""
        found = self._now("listed", lambda: self._obstore.list(self._store).collect())
        return [one["path"] for one in found]

    def get_now(self, name: str) -> bytes:
        """The content of an object, without waiting for a store that is down."""
        return self._now("read", lambda: bytes(self._obstore.get(self._store, name).bytes()))

    def _now(self, verb: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except self._errors as exc:
            trouble = self._trouble(exc)
        raise self._error(verb, trouble)

    # errors

    def _error(self, verb: str, trouble: Trouble) -> BucketError:
        after = f" for {self._patience:g} s" if trouble.passes else ""
        return BucketError(
            f"{self.where} could not be {verb}: {trouble.what}{after}; nothing that was committed"
            " is lost: mend it and run the same command again",
            trouble,
        )

    def _trouble(self, exc: Exception) -> Trouble:
        text = str(exc)
        code = found[1] if (found := _CODE.search(text)) else ""
        if code == "NoSuchBucket" or "ContainerNotFound" in text:
            return Trouble("there is no such bucket", gone=True)
        if isinstance(exc, FileNotFoundError):
            return Trouble("an object is gone", absent=True)
        if any(address in text for address in _OF_THE_MACHINE):
            return Trouble(f"there are no credentials; {self._credentials}")
        if self._local and any(each in text for each in _FULL):
            return Trouble("the disk is full", full=True)
        if self._local:
            what = next((each for each in _OF_THE_DISK if each in text), "")
            return Trouble(what or _first_line(exc))
        status = found[1] if (found := _STATUS.search(text)) else ""
        kind = code or (found[2].strip() if found else "") or type(exc).__name__
        if status in ("401", "403") or "credential" in text.lower()[:200]:
            return Trouble(f"it refuses these credentials ({kind})")
        if status[:1] in ("3", "4") and status not in _AGAIN:
            return Trouble(f"it answers {status} ({kind})")
        if status:
            return Trouble(f"it answers {status} ({kind})", passes=True)
        if type(exc).__name__ == "GenericError":
            return Trouble("it does not answer", passes=True)
        return Trouble(kind)


def _in_use(endpoint: str) -> str:
    """The endpoint that is given, or that of the environment; raises `UsageError`.

    One that is no URL makes the library panic, and one with a user in it would be shown.
    """
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
    given = endpoint or next((os.environ[name] for name in names if os.environ.get(name)), "")
    if not given or _is_endpoint(given):
        return given
    del endpoint, given  # a password may stand in it
    raise UsageError("sink: the endpoint is none; write it as https://HOST:PORT, without a user")


def _is_endpoint(given: str) -> bool:
    try:
        parts = urlsplit(given)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        return False
    return bool(good) and "@" not in parts.netloc


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0]
