"""Only one process may use a directory.

Rule: a lock ends with its process, however that ends; a stale file needs no removal.

A forked process inherits its parent's descriptors, and with them the parent's lock, which it would
hold until it ends.  So it closes them first, which does not release the parent's lock; and no fork
happens while a lock is taken or released.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from threading import RLock
from weakref import WeakSet

from harvester.base import files as durable
from harvester.errors import UsageError

_CLOSED = -1

_open: WeakSet[FileLock] = WeakSet()
_guard = RLock()
"""Held while a claim is taken or released, and during a fork."""


class FileLock:
    """The exclusive use of something, by an advisory lock on a file beside it."""

    def __init__(self, path: Path, what: str) -> None:
        """Take it, or raise `UsageError` with one sentence about ``what`` is in use."""
        if not self._take(path, 0o666):
            raise UsageError(
                "{} is in use by another harvester; wait until it has ended, or choose another"
                " directory",
                what,
            )

    @classmethod
    def attempt(cls, path: Path, mode: int) -> FileLock | None:
        """The claim, or None if another process has it; mode: of the file, if it is made."""
        claim = cls.__new__(cls)
        return claim if claim._take(path, mode) else None

    def _take(self, path: Path, mode: int) -> bool:
        with _guard:
            descriptor = _locked(path, mode)
            if descriptor is None:
                return False
            self._descriptor = descriptor
            _open.add(self)
        return True

    def note(self, text: bytes, what: str = "note") -> None:
        """Write bytes durably into the file, truncated last: a kill leaves no empty file."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        durable.write(self._descriptor, text, what)
        durable.truncate(self._descriptor, len(text), what)

    def is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.lstat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        with _guard:
            descriptor, self._descriptor = self._descriptor, _CLOSED
            if descriptor != _CLOSED:  # as in a process that was forked
                os.close(descriptor)


def _locked(path: Path, mode: int) -> int | None:
    """The descriptor of the file, locked; None if another process has locked it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode)
    except OSError as exc:
        if exc.errno != errno.ELOOP:
            raise
        raise UsageError("{} is a symbolic link instead of a lock file; remove it", path) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            raise
        return None
    return descriptor


def _let_go_in_child() -> None:
    for claim in list(_open):
        claim.release()
    _guard.release()


os.register_at_fork(
    before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_let_go_in_child
)
