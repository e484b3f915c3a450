"""Tokens in a file of mode 0600, for all programs of one machine.

Rule: read without a lock, since a file is always replaced as a whole; written under a lock.

Beside the file (or in the directory) are empty files ending in ``.lock``.  A lock ends with its
process.  A stopped process keeps it, so a lease that its holder has not renewed in time is taken
over, by a new file of the same name.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio

from harvester.base import files as durable
from harvester.base.codec import MalformedError, encode, parse
from harvester.base.lock import FileLock
from harvester.base.secrets import DIRECTORY, check_private, write_private
from harvester.base.threads import Thread
from harvester.errors import AttemptError, UsageError
from harvester.model import Stored
from harvester.texts import of_system, say
from harvester.tokens.stores.base import LEASE, POLL, from_object, same, to_object

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for the lock of a write, which takes some milliseconds."""


class FileStore:
    """Tokens in one file for all accounts, or in a directory with one file per account.

    path: a directory if it exists as one or if the path ends with a slash, otherwise a file; it is
    created if it is missing.
    Raises `UsageError` if other users can read it, or if it is not a token store.
    """

    def __init__(self, path: str | os.PathLike[str], *, lease: float = LEASE) -> None:
        given = os.fspath(path)
        self._path = Path(given).expanduser()
        self._a_file_each = given.endswith(("/", os.sep)) or self._path.is_dir()
        self._lease = lease
        self._thread = Thread("harvester-tokens")
        try:
            self._get_ready()
        except OSError as exc:
            problem = say("the token store {} cannot be used ({})", self._path, of_system(exc))
        else:
            return
        raise UsageError(problem)

    def __repr__(self) -> str:
        return f"<FileStore {self._path}{os.sep if self._a_file_each else ''}>"

    def _get_ready(self) -> None:
        if self._a_file_each:
            durable.make_directory(self._path, "token store", 0o700)
            what = say("the directory of the token store {}", self._path)
            check_private(self._path.stat(), self._path, what, DIRECTORY)
        elif self._path.exists():
            self._read(self._path)
        elif not self._path.parent.is_dir():
            raise UsageError("token store: there is no directory {}", self._path.parent)

    def _file_of(self, key: str) -> Path:
        return self._path / f"{key}.json" if self._a_file_each else self._path

    def _lock_of(self, key: str) -> Path:
        if self._a_file_each:
            return self._path / f"{key}.lock"
        return self._path.with_name(f"{self._path.name}.{key}.lock")

    async def load(self, key: str) -> Stored | None:
        return (await self._guarded(self._read, self._file_of(key))).get(key)

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        ends = time.monotonic() + PATIENCE
        while (done := await self._guarded(self._replace, key, former, new)) is None:
            if time.monotonic() > ends:
                raise AttemptError("a suspended process has locked the token store {}", self._path)
            await anyio.sleep(POLL / 5)
        return done

    async def _guarded(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._thread.call(function, *args, **kwargs)
        except OSError as exc:
            problem = say("the token store {} cannot be used ({})", self._path, of_system(exc))
        raise AttemptError(problem)

    def _read(self, path: Path) -> dict[str, Stored]:
        try:
            with path.open("rb") as file:
                check_private(os.fstat(file.fileno()), path, say("the token store {}", path))
                found = _entries(file.read())
        except FileNotFoundError:
            return {}
        if found is None:
            raise UsageError("{} is not a token store; name another file, or remove it", path)
        return found

    def _replace(self, key: str, former: Stored | None, new: Stored) -> bool | None:
        """Whether it was stored; None if another program is writing."""
        path = self._file_of(key)
        claim = FileLock.attempt(path.with_name(f"{path.name}.lock"), 0o600)
        if claim is None:
            return None
        try:
            entries = self._read(path)
            if not same(entries.get(key), former):
                return False
            entries[key] = new
            write_private(path, encode({name: to_object(one) for name, one in entries.items()}))
            return True
        finally:
            claim.release()

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncIterator[None]:
        wait = _Wait(self._lock_of(key), self._lease)
        try:
            while not await self._guarded(wait.take):  # noqa: ASYNC110  (another process has it)
                await anyio.sleep(POLL)
            yield
        finally:
            await self._thread.call(wait.end)

    async def close(self) -> None:
        self._thread.close()


class _Wait:
    """The wait for a lease, and the lease; used on the store's thread.

    A lease that was taken for a task that was then cancelled is kept here, so that it is released.
    """

    def __init__(self, path: Path, lease: float) -> None:
        self._path = path
        self._lease = lease
        self._claim: FileLock | None = None
        self._holder, self._since = b"", time.monotonic()

    def take(self) -> bool:
        """Whether it could be taken now; removes the file of a holder that is stopped."""
        claim = FileLock.attempt(self._path, 0o600)
        if claim is None:
            self._watch_holder()
            return False
        self._claim = claim
        if claim.is_at(self._path):
            claim.note(secrets.token_hex(8).encode(), "lease")
            return True
        self.end()  # another waiter has replaced the file
        return False

    def _watch_holder(self) -> None:
        holder = _content(self._path)
        if holder != self._holder:
            self._holder, self._since = holder, time.monotonic()
        elif time.monotonic() - self._since > self._lease:
            with suppress(OSError):  # another waiter was faster
                _put_aside(self._path, holder)

    def end(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()


def _entries(content: bytes) -> dict[str, Stored] | None:
    """The content of a store's file; None if it is not one, or is truncated."""
    try:
        given = parse(content)
    except MalformedError:
        return None
    if not isinstance(given, dict):
        return None
    found = {key: from_object(one) for key, one in given.items()}
    whole = {key: stored for key, stored in found.items() if stored is not None}
    return whole if len(whole) == len(found) else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _put_aside(path: Path, holder: bytes) -> None:
    """Remove the file of a lease whose holder is stopped."""
    guard = FileLock.attempt(path.with_name(f"{path.name}.over"), 0o600)
    if guard is None:  # another waiter does it
        return
    try:
        if _content(path) == holder:
            durable.remove(path, "lease of a process that does not move")
    finally:
        guard.release()
