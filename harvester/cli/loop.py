"""The event loop of a run, and the garbage collector beside it.

Rule: the command owns its process, so it may change settings of the whole process; the library runs
in another program's process and never does.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

from harvester.errors import UsageError, needs

THRESHOLD = 20_000
"""The number of new objects before the collector runs.  Python's 700 come and go within a few
requests, so it would examine the same living objects over and over."""

Factory = Callable[[], asyncio.AbstractEventLoop]
T = TypeVar("T")


def uvloop_factory() -> Factory:
    """The factory of uvloop's event loop; raises `UsageError` if that is not installed."""
    try:
        import uvloop
    except ImportError:
        raise UsageError(needs("--uvloop needs a library", "uvloop")) from None
    return uvloop.new_event_loop


def run(main: Coroutine[object, object, T], factory: Factory | None = None) -> T:
    """Run a coroutine to its end, on asyncio's own loop if no other is given."""
    with _collecting_less(), asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


@contextmanager
def _collecting_less() -> Iterator[None]:
    """Exclude the objects that exist from the collector, and collect the others less often."""
    former = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, *former[1:])
    try:
        yield
    finally:
        gc.set_threshold(*former)
        gc.unfreeze()
