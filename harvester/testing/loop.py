"""An event loop whose time jumps to the next timer.

Rule: for fakes only; a socket takes real time, which does not pass here.

Calls that would go to a thread run at once, in the loop, so that time cannot run away while a disk
is waited for.  Each turn of the loop takes a microsecond: on a frozen clock a rate limiter spins.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
TICK = 1e-6


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing can ever happen any more: every task waits for another")
            self._jump(max(timeout, TICK))
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs everything that waits at once; ``time()`` counts from 0, ``wall()`` from ``start``."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._now = 0.0
        super().__init__(_JumpingSelector(self._advance))

    def time(self) -> float:
        """Seconds that have passed here."""
        return self._now

    def wall(self) -> float:
        """The Unix time here."""
        return self._start + self._now

    def _advance(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run the function now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:  # noqa: BLE001  (it belongs to the caller)
            future.set_exception(exc)
        return future


def run_virtual(
    main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]], start: float = 1_700_000_000.0
) -> T:
    """Run ``main(loop)`` on a `VirtualTimeLoop` and give what it gives."""
    loop = VirtualTimeLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
