"""The bounded queue from the workers to the writer.

Rule: `put` waits while the channel is full, so a slow sink slows the requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Channel(Generic[T]):
    """Items in, groups out.

    group: items that are taken at once if available; linger: seconds to wait for more if there are
    fewer, since an fsync costs the same for one item as for a hundred.
    items, size: the limits of the channel, in items and in the unit of `put`'s ``size``.
    """

    def __init__(self, *, group: int, linger: float, items: int, size: int) -> None:
        self._group = group
        self._linger = linger
        self._max_items = items
        self._max_size = size
        self._items: list[T] = []
        self._size = 0
        self._closed = False
        self._putting = 0
        self._putters: deque[asyncio.Future[None]] = deque()
        self._some = asyncio.Event()
        self._enough = asyncio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Channel {state}, {len(self._items)} items of {self._size}>"

    @property
    def is_empty(self) -> bool:
        return not self._items and not self._putting

    async def put(self, item: T, size: int) -> None:
        self._putting += 1
        try:
            while not self.offer(item, size):
                room = asyncio.get_running_loop().create_future()
                self._putters.append(room)
                await room
        finally:
            self._putting -= 1

    def offer(self, item: T, size: int) -> bool:
        """Add an item if the channel is not full; returns whether it was added."""
        if len(self._items) >= self._max_items or self._size >= self._max_size:
            return False
        self._items.append(item)
        self._size += size
        self._some.set()
        if len(self._items) >= self._group or self._size >= self._max_size:
            self._enough.set()
        return True

    def close(self) -> None:
        self._closed = True
        self._some.set()
        self._enough.set()

    async def collect(self) -> list[T] | None:
        """The next group; None once the channel is closed and empty."""
        await self._some.wait()
        if self._linger and not self._enough.is_set():
            with anyio.move_on_after(self._linger):
                await self._enough.wait()
        group, self._items = self._items, []
        self._size = 0
        if not self._closed:
            self._some.clear()
            self._enough.clear()
        while self._putters:
            room = self._putters.popleft()
            if not room.done():
                room.set_result(None)
        return group or None
