"""SIGINT and SIGTERM: the first ends a command in order, the second at once.

Rule: a command that does not end within `LONGEST_END` is left as if it was killed, which loses no
data: a driver's call may not return.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from harvester.cli.exit_status import INTERRUPTED
from harvester.cli.terminal import notify

_SIGNALS = signal.SIGINT, signal.SIGTERM
LONGEST_END = 30.0
"""Seconds within which a command must end that is told to end at once."""


def heed(task: asyncio.Future[Any], in_order: Callable[[], bool]) -> Callable[[], None]:
    """Handle signals from now on, in the running event loop; returns the function that ends this.

    in_order: ends the task in order; returns false if nothing in progress could be finished.  Then,
    and with the second signal, the task is cancelled.  Once a signal has come, further ones are
    ignored after the end: the summary is shown.

    The loop's own handlers are not used: after their removal an interrupt would be raised at once.
    """
    loop = asyncio.get_running_loop()
    has_come = False

    def on_signal() -> None:
        nonlocal has_come
        if has_come or not in_order():
            task.cancel()
            loop.call_later(LONGEST_END, _give_up)
        has_come = True

    def wake(*_: object) -> None:
        loop.call_soon_threadsafe(on_signal)

    former = {number: signal.signal(number, wake) for number in _SIGNALS}

    def end() -> None:
        if has_come:
            _heed_no_more()
            return
        for number, handler in former.items():
            signal.signal(number, handler or signal.SIG_DFL)

    return end


def heeding(main: Coroutine[object, object, int]) -> int:
    """The exit status of a coroutine, which a signal of either kind cancels."""

    async def whole() -> int:
        task = asyncio.ensure_future(main)
        heed_no_more = heed(task, lambda: False)
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED
        finally:
            heed_no_more()

    return asyncio.run(whole())


def _give_up() -> None:
    notify(
        "a call did not return within {:g} s; the process ends without waiting for it",
        LONGEST_END,
        level="error",
    )
    os._exit(INTERRUPTED)


def _heed_no_more() -> None:
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)  # for one that has come and was not handled yet
        signal.signal(number, signal.SIG_IGN)
