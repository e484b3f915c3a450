"""Drafts: files that are written beside their place, and take it when they are whole and durable.

Rule: a file of an export is replaced by `Drafts.show` alone; readers find the former or the new.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harvester.base import files as durable
from harvester.base.lock import FileLock


class Drafts:
    """A hidden directory of drafts; what a killed export left in it is removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_made = False
        shutil.rmtree(path, ignore_errors=True)

    def path(self, name: str) -> Path:
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
        shutil.rmtree(self._path, ignore_errors=True)


class Claim:
    """What one export at a time has; raises `UsageError` if another export has it."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._lock = FileLock(path, what)
        while not self._lock.is_at(path):  # another export has just removed it
            self._lock.release()
            self._lock = FileLock(path, what)

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        self._lock.release()
