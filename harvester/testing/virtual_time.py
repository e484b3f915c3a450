"""An event loop whose time jumps to the next timer, and whose order can be drawn from a seed.

Rule: for fakes only; a socket takes real time, which does not pass here.

Calls that would go to a thread run in the loop, so that virtual time does not pass while a disk
works.  Each turn of the loop takes a microsecond: on a frozen clock a rate limiter spins.

asyncio runs callbacks that are ready in the order in which they became so.  Code that is right only
in that order is wrong as soon as a socket or a thread is quicker than usual; so a loop that was
given an ``order`` draws another one each turn, and lets what would go to a thread take its time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")
TICK = 1e-6

THREAD_SECONDS = 0.02
"""The longest that a call in a thread takes on a loop with a drawn order."""


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
    """An event loop that skips all waits; ``time()`` begins at 0, ``wall()`` at ``start``.

    order: a random generator that shuffles ready callbacks; without it they run in order.
    on_turn: called with the number of the turn at the beginning of each turn of the loop; an
        exception from it ends the loop at once, like a crash.
    turns: the number of turns so far.
    """

    def __init__(
        self,
        start: float = 1_700_000_000.0,
        *,
        order: Random | None = None,
        on_turn: Callable[[int], None] | None = None,
    ) -> None:
        self._start = start
        self._now = 0.0
        self._order = order
        self._on_turn = on_turn
        self.turns = 0
        super().__init__(_JumpingSelector(self._advance))

    def time(self) -> float:
        """The virtual seconds that have passed."""
        return self._now

    def wall(self) -> float:
        """The virtual Unix time."""
        return self._start + self._now

    def set_wall(self, wall: float) -> None:
        """Set the virtual wall clock, as an administrator or a time server can do."""
        self._start = wall - self._now

    def _advance(self, seconds: float) -> None:
        self._now += seconds

    def _run_once(self) -> None:
        self.turns += 1
        if self._on_turn is not None:
            self._on_turn(self.turns)
        ready: Any = self._ready  # type: ignore[attr-defined]
        if self._order is not None and len(ready) > 1:
            drawn = list(ready)
            self._order.shuffle(drawn)
            ready.clear()
            ready.extend(drawn)
        super()._run_once()  # type: ignore[misc]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run the function now, and return a future of its result.

        With ``order``, chance decides whether it runs now or later, within ``THREAD_SECONDS``; the
        result then always arrives later.
        """
        future: asyncio.Future[T] = self.create_future()
        if self._order is None:
            self._run(future, func, args)
            return future
        seconds = self._order.uniform(0.0, THREAD_SECONDS)
        if self._order.random() < 0.5:
            done: asyncio.Future[T] = self.create_future()
            self._run(done, func, args)
            self.call_later(seconds, _hand_on, done, future)
        else:
            self.call_later(seconds, self._run, future, func, args)
        return future

    @staticmethod
    def _run(future: asyncio.Future[T], func: Callable[..., T], args: tuple[Any, ...]) -> None:
        try:
            result = func(*args)
        except Exception as exc:  # noqa: BLE001  (it belongs to the caller)
            if not future.done():
                future.set_exception(exc)
        else:
            if not future.done():
                future.set_result(result)


def _hand_on(done: asyncio.Future[T], future: asyncio.Future[T]) -> None:
    """Give the future what the other one holds; looked at in any case."""
    error = done.exception()
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())


def run_virtual(
    main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]], start: float = 1_700_000_000.0
) -> T:
    """Run ``main(loop)`` on a `VirtualTimeLoop` and return its result."""
    loop = VirtualTimeLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
