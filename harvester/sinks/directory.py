"""What the sinks that keep files in a directory of their own have in common: their life.

Rule: each blocking call is made on the sink's one thread; the files are `harvester.sinks.store`'s.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from re import Pattern
from typing import ClassVar

from harvester.model import Batch
from harvester.sinks.base import Receipt, Written
from harvester.sinks.files import Translated
from harvester.sinks.store import Store
from harvester.thread import Thread


class DirectorySink(ABC):
    """A sink of which one process at a time has its directory, which is made if it is not there.

    names: what the files are called that it keeps; merges: as of `Store`.
    """

    scheme: ClassVar[str]

    def __init__(
        self, directory: str | os.PathLike[str], names: Pattern[str], *, merges: bool = False
    ) -> None:
        self.directory = Path(directory)
        self._thread: Thread | None = None
        self._store = Store(self.directory, f".{self.scheme}.lock", names, merges=merges)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.directory}, {len(self._store.marks)} files>"

    @property
    def identity(self) -> str:
        """The scheme and the directory."""
        return f"{self.scheme}:{self.directory.resolve()}"

    async def open(self, receipt: Receipt | None) -> Receipt:
        """Claim the directory and bring it to where the receipt says."""
        self._thread = Thread(f"harvester-{self.scheme}")
        return await self._thread.call(self._open, receipt or {})

    async def write(self, batches: Sequence[Batch]) -> Written:
        """Make the batches durable."""
        return await self._own_thread.call(self._write, batches)

    async def settle(self) -> None:
        """Put new files in the place of those they replace."""
        if self._store.unsettled:
            await self._own_thread.call(self._settle)

    async def finish(self) -> Written:
        """Make few large files of what this run has written in small pieces."""
        return await self._own_thread.call(self._finish)

    async def close(self) -> None:
        """Close the files and give up the directory."""
        if self._thread is not None:
            try:
                await self._thread.call(self._close)
            finally:
                self._thread.close()
                self._thread = None

    @property
    def _own_thread(self) -> Thread:
        assert self._thread is not None, "the sink is not open"
        return self._thread

    # on the sink's thread

    @abstractmethod
    def _open(self, receipt: Receipt) -> Receipt: ...

    @abstractmethod
    def _write(self, batches: Sequence[Batch]) -> Written: ...

    @abstractmethod
    def _finish(self) -> Written: ...

    @abstractmethod
    def _forget(self) -> None:
        """Let go of what is known of the files."""

    def _settle(self) -> None:
        with self._translated():
            self._store.settle()

    def _close(self) -> None:
        self._forget()
        self._store.close()

    def _translated(self) -> Translated:
        return Translated(self.directory)
