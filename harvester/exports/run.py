"""Exports beside an event loop: those of a run, and those that a command asks for.

Rule: the work is done on a thread of its own, and ends soon when the caller is cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from harvester.base.threads import READING, Thread, ended
from harvester.errors import ExportError, HarvestError
from harvester.exports.base import Exported, Target
from harvester.exports.equal import export, is_equal
from harvester.exports.source import Source
from harvester.model import Find, many
from harvester.texts import say

T = TypeVar("T")


async def export_all(
    source: Source,
    targets: Sequence[Target],
    names: Collection[str],
    find: Find,
    *,
    replace: bool = False,
    done: Callable[[Target, Exported], None] = lambda *_: None,
) -> list[Exported]:
    """Make targets equal to a sink, one after the other; arguments and errors as of `export`.

    done: is called after each that has succeeded.
    If one fails the others are made all the same, and the first error is raised at the end.
    """
    found: list[Exported] = []
    failed: HarvestError | None = None
    for target in targets:
        work = partial(export, source, target, names, find, replace=replace)
        try:
            found.append(await _aside(work))
            done(target, found[-1])
        except HarvestError as exc:
            failed = failed or exc
        except Exception as exc:  # noqa: BLE001  (a disk or a library may raise anything)
            failed = failed or ExportError("{}: {}: {}", target.identity, type(exc).__name__, exc)
    if failed is not None:
        raise failed
    return found


async def differing(
    source: Source, targets: Sequence[Target], names: Collection[str], find: Find
) -> list[str]:
    """The targets that are not equal to a sink; changes nothing."""
    return [
        target.identity
        for target in targets
        if not await _aside(partial(is_equal, source, target, names, find))
    ]


async def _aside(work: Callable[..., T]) -> T:
    """What a function returns, on a thread of its own; ``stopped`` tells it that nobody waits."""
    stop = threading.Event()

    def stopped() -> None:
        if stop.is_set():
            raise ExportError("interrupted; run the same command again to resume")

    thread = Thread("harvester-export", READING)
    task = asyncio.ensure_future(thread.call(partial(work, stopped=stopped)))
    try:
        return await asyncio.shield(task)
    finally:
        stop.set()
        if not task.done():
            await ended(task)  # type: ignore[arg-type]
        thread.close()


def described(target: Target, done: Exported) -> str:
    """A sentence about what was done."""
    if not any(done):
        return say("{}: no stored record matches the options", target.identity)
    if not done.written and not done.removed:
        return say("{}: nothing has changed ({})", target.identity, many(done.kept, "month"))
    removed = say(", {:,} removed", done.removed) if done.removed else ""
    months = many(done.written, "month")
    said = say(
        "{}: {} of interface data written ({}){}, {:,} unchanged",
        target.identity,
        months,
        many(done.rows, "record"),
        removed,
        done.kept,
    )
    aside = getattr(target, "aside", "")
    return (
        say("{}; the former file might contain changes of yours, and is kept in {}", said, aside)
        if aside
        else said
    )
