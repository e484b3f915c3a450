"""Calls of sinks, and reading what they hold.

Rule: any exception of a sink becomes a `SinkError`; sinks are read by ``scan``, on its own thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from harvester.base.dates import Days
from harvester.base.outage import PATIENCE, Away, until_it_answers
from harvester.base.outside import guard_cancellation
from harvester.base.threads import READING, Thread
from harvester.errors import NoRecordsError, SinkAwayError, SinkError
from harvester.model import Batch, Window, listed
from harvester.sinks.base import Checkpoint, Fence, Sink, StoredWindow, Written

AT_ONCE = 500
"""Stored windows that are in memory together."""

T = TypeVar("T")


async def call(sink: Sink, method: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What a method of a sink returns; raises `SinkError` for any exception of it."""
    return await guard_cancellation(error_of(sink), method, *args)


async def write(sink: Sink, batches: Sequence[Batch], fence: Fence) -> Written:
    """Write to a sink; raises `SinkError`."""
    error = error_of(sink)
    return await guard_cancellation(error, sink.write, batches, fence, returns=Written)


async def scanned(
    sink: Sink,
    endpoint: str,
    appids: Collection[str] | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    records: bool = False,
    days: Days | None = None,
) -> AsyncGenerator[list[tuple[StoredWindow, list[dict[str, Any]]]], None]:
    """The stored windows of an interface in groups, with their records if they are wanted.

    days: only windows that have one of these days.
    """
    scan = sink.scan
    assert scan is not None, f"{sink.identity} cannot be scanned"
    only = () if days is None else (days,)
    thread = Thread("harvester-scan", READING)
    try:
        error = error_of(sink)
        found = await guard_cancellation(
            error, thread.call, lambda: iter(scan(endpoint, appids, checkpoint, *only))
        )

        def some() -> list[tuple[StoredWindow, list[dict[str, Any]]]]:
            return [
                (each, list(each.records()) if records else []) for each in islice(found, AT_ONCE)
            ]

        while group := await guard_cancellation(error, thread.call, some):
            yield group
    finally:
        thread.close()


async def records_of(
    sink: Sink, window: Window, checkpoint: Checkpoint | None
) -> list[dict[str, Any]]:
    """The records of a window that is stored in a sink; none if it is not there."""
    days = window.begin, window.end
    found = scanned(
        sink, window.endpoint, [window.appid], checkpoint=checkpoint, records=True, days=days
    )
    async with aclosing(found) as groups:
        async for group in groups:
            for each, records in group:
                if each.window == window:
                    return records
    return []


async def endpoints_in(sink: Sink, checkpoint: Checkpoint | None = None) -> list[str]:
    """The interfaces that have records in a sink."""
    thread = Thread("harvester-scan", READING)
    try:
        return await guard_cancellation(
            error_of(sink),
            thread.call,
            lambda: sorted(sink.endpoints(checkpoint)) if sink.endpoints else [],
        )
    finally:
        thread.close()


async def is_bare(sink: Sink, *, may_be_empty: bool = False) -> bool:
    """Whether a sink is not there, or has no records although it should; not if it is damaged."""
    try:
        return not (await endpoints_in(sink) or may_be_empty)
    except SinkAwayError:
        raise
    except SinkError as exc:  # its opening says what to do
        return isinstance(exc, NoRecordsError)


async def persistently(sink: Sink, read: Callable[[], Awaitable[T]]) -> T:
    """What reading a sink returns; while its server is away, it is read again, as writes are.

    Raises `SinkAwayError` if it does not come back within `PATIENCE` seconds.
    """

    async def attempt() -> T:
        try:
            return await read()
        except SinkAwayError as exc:
            raise Away(str(exc)) from None

    return await until_it_answers(attempt, sink.identity, PATIENCE, SinkAwayError)


async def stored_in(
    sink: Sink,
    endpoint: str,
    appids: Collection[str] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[StoredWindow]:
    """All stored windows of an interface, without their records; waits for the sink's server."""

    async def read() -> list[StoredWindow]:
        found = scanned(sink, endpoint, appids, checkpoint=checkpoint)
        return [each._replace(records=no_records) async for group in found for each, _ in group]

    return await persistently(sink, read)


def no_records() -> list[dict[str, object]]:
    """In place of those of a window whose scan is over."""
    return []


def accepted(name: str, written: Written) -> Written:
    """The result of a write; raises `SinkError` if it has refused accounts."""
    if written.refused:
        raise SinkError(
            "{} refused {}: another harvest has taken over the data there; end one of the two"
            " harvests",
            name,
            listed(sorted(written.refused), "account"),
        )
    return written


def version_of(fetched_at: str) -> int:
    """The version of a window that was fetched then: milliseconds of the Unix time."""
    try:
        return int(datetime.fromisoformat(fetched_at).timestamp() * 1000)
    except ValueError:
        return 0


def error_of(sink: Sink) -> Callable[[str], SinkError]:
    """Makes the error of a sink from its cause."""
    return lambda why: SinkError("{} failed: {}", sink.identity, why)
