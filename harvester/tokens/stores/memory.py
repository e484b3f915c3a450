"""A store in the memory of this process.

Rule: the same interface as the others, with a dict and a lock; nothing outlives the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from harvester.model import Stored
from harvester.tokens.stores.base import same


class MemoryStore:
    """Tokens in memory, for runs in one event loop; pass the same object to all these runs."""

    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._leases: dict[str, anyio.Lock] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._stored)} tokens>"

    async def load(self, key: str) -> Stored | None:
        return self._stored.get(key)

    async def replace(self, key: str, former: Stored | None, new: Stored) -> bool:
        if not same(self._stored.get(key), former):
            return False
        self._stored[key] = new
        return True

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncIterator[None]:
        async with self._leases.setdefault(key, anyio.Lock()):
            yield

    async def close(self) -> None:
        """Nothing to close."""
