"""Drafts: files that are written beside their place, and take it when they are whole and durable.

Rule: a file of an export is replaced by `Drafts.show` alone; readers find the former one or the new
one.  What an export began, its end removes: drafts, and the lock.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harvester.base import files as durable
from harvester.base.lock import FileLock


class Drafts:
    """A hidden directory of drafts; it is made when it is first needed.

    path: of the directory, which belongs to the export: what is in it was left by a killed one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_made = False
        shutil.rmtree(path, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Where the draft of a file is written."""
        if not self._is_made:
            self._path.mkdir()
            self._is_made = True
        return self._path / name.replace("/", " ")

    def show(self, name: str, place: Path) -> None:
        """Put a draft in its place, durably."""
        path = self.path(name)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            durable.sync(descriptor, "draft of an export")
        finally:
            os.close(descriptor)
        durable.rename(path, place, "export")

    def drop(self) -> None:
        """Remove all drafts, and the directory."""
        shutil.rmtree(self._path, ignore_errors=True)


class Claim:
    """What one export at a time has; its lock file is gone afterwards.

    Raises `UsageError` if another export has it.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._lock = FileLock(path, what)
        while not self._lock.is_at(path):  # another export has just removed it
            self._lock.release()
            self._lock = FileLock(path, what)

    def release(self) -> None:
        """Release it."""
        self._path.unlink(missing_ok=True)
        self._lock.release()
