"""One process a directory.

Rule: a claim dies with its process, however that ends; nobody has to remove a stale file.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from harvester import durable
from harvester.errors import UsageError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_LONGEST = 1 << 20


class Claim:
    """The exclusive use of something, by an advisory lock on a file beside it."""

    def __init__(self, path: Path, what: str, mode: int = 0o644) -> None:
        """Take it, or raise `UsageError` with one sentence about ``what`` is in use.

        mode: of the file, if it is made.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)
        try:
            _try_lock(self._descriptor)
        except OSError as exc:
            os.close(self._descriptor)
            if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
                raise
            raise UsageError(
                f"{what} is in use by another harvester; let it end, or choose another directory"
            ) from None

    def note(self, text: bytes, what: str = "note") -> None:
        """Write something durable into the file: whoever holds it may.

        It is cut to its length last, so that a kill in between leaves no empty file.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        durable.write(self._descriptor, text, what)
        durable.truncate(self._descriptor, len(text), what)

    def noted(self) -> bytes:
        """What was written into the file last, by whoever held it then."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, _LONGEST)

    def stands(self, path: Path) -> bool:
        """Whether the file that is claimed is still the one at that path."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give it up."""
        os.close(self._descriptor)
