"""obstore, whose calls are made at once: an object store's life in virtual time.

Rule: each call does what it does in use; only nobody waits for it.

In virtual time nothing may happen outside the loop.  And whoever counts a process's steps wants
them in the same order each time, which calls that are under way at once do not keep.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

_AT_ONCE = {"get_async", "put_async", "delete_async"}


class Inline:
    """Takes the place of the module in a `harvester.sinks.bucket.Bucket`."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name not in _AT_ONCE:
            return getattr(self._library, name)  # type: ignore[no-any-return]
        call = getattr(self._library, name.removesuffix("_async"))

        async def made(*args: Any, **how: Any) -> Any:
            return _Answer(call(*args, **how))

        return made

    def list(self, *args: Any) -> _Answer:
        """What is there."""
        return _Answer(self._library.list(*args))


class _Answer:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def bytes_async(self) -> Any:
        return self.bytes()

    def bytes(self) -> Any:
        return self._answer.bytes()

    async def collect_async(self) -> Any:
        return self.collect()

    def collect(self) -> Any:
        return self._answer.collect()
