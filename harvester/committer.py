"""What is harvested becomes safe here: sinks first, then the ledger, then the sinks are told.

Rule: one task commits; a group of windows shares one fsync and one transaction.

A crash between sinks and ledger repeats windows, and a repeated window replaces itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import NamedTuple, TypeVar

from harvester.channel import Channel
from harvester.errors import LedgerError, SinkError
from harvester.events import Committed, Drifted, Observer
from harvester.ledger import Entry, Ledger, Settled, Spent, Young
from harvester.model import Batch, Tally, Window
from harvester.outside import ForeignCancellationError, outside
from harvester.sinks.base import Finishing, Located, Sink, Written

T = TypeVar("T")

GROUP = 768
"""Windows of a commit at the most: more of them make each cheaper, and hold more memory."""
LINGER = 0.2
CHANNEL_ITEMS = 2 * GROUP
CHANNEL_BYTES = 8 * 1024 * 1024


class Done(NamedTuple):
    """What became of one window; no batch if it brought no answer."""

    settled: Settled
    batch: Batch | None


class Committer:
    """The sinks and the ledger of a run, and the channel that leads to them.

    group: so many windows are committed without waiting for more; with 1 none is fetched ahead.
    spent: gives the calls since it was last asked; unused: once nothing is sent any more, gives
    back the calls that were booked and not sent.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        ledger: Ledger | None,
        emit: Observer,
        spent: Callable[[], Iterable[Spent]],
        unused: Callable[[], Iterable[Spent]] = tuple,
        *,
        group: int = GROUP,
    ) -> None:
        self.sinks = [(name_in(sink, ledger), sink) for sink in sinks]
        self.ledger = ledger
        self.writing = ""
        """The sink whose write has not returned; empty if there is none."""
        self.channel: Channel[Done | Batch] = Channel(
            group=group,
            linger=LINGER if group > 1 else 0.0,
            items=CHANNEL_ITEMS if group > 1 else 1,
            size=CHANNEL_BYTES,
        )
        self._drift: set[str] = set()
        self._late = _Late()
        self._emit = emit
        self._spent = spent
        self._unused = unused
        self._wanted: list[_Booking] = []
        self._booking = asyncio.Lock()

    def put(self, settled: Settled, batch: Batch | None = None) -> Coroutine[None, None, None]:
        """Hand over what became of a window; waits while too much lies here."""
        return self.channel.put(Done(settled, batch), len(batch.body) if batch is not None else 0)

    def offer(self, batch: Batch) -> bool:
        """Hand over a harvested window if there is room; gives whether there was.

        What it means for the ledger is worked out a group.
        """
        return self.channel.offer(batch, len(batch.body))

    def harvested(self, batch: Batch) -> Coroutine[None, None, None]:
        """Hand over a harvested window; waits while too much lies here."""
        return self.channel.put(batch, len(batch.body))

    async def open(self, sink: Sink, name: str) -> None:
        """Open a sink, and keep what it wants to have kept."""
        if self.ledger is None:
            await _of(name, sink.open(None))
            return
        receipt = await _of(name, sink.open(await self.ledger.receipt(name)))
        if receipt:
            await self.ledger.commit([Entry(name, (), receipt)])

    async def run(self) -> None:
        """Commit until the channel is closed and empty."""
        while (group := await self.channel.collect()) is not None:
            await self._commit(group)
        await self._book()

    async def book(self) -> None:
        """Store the calls that no commit has stored; not worth an error if that fails."""
        with contextlib.suppress(LedgerError):
            await self._book()

    async def _book(self) -> None:
        if self.ledger is not None and (spent := [*self._spent(), *self._unused()]):
            await self.ledger.commit([], spent)

    async def reserve(self, calls: Spent) -> None:
        """Book calls durably before they are sent; those that come together share a commit."""
        mine = _Booking(calls)
        self._wanted.append(mine)
        async with self._booking:
            if mine.done or self.ledger is None:
                return
            wanted, self._wanted = self._wanted, []
            await self.ledger.commit([], [each.calls for each in wanted])
            for each in wanted:
                each.done = True

    async def _commit(self, group: Sequence[Done | Batch]) -> None:
        bare = [item for item in group if isinstance(item, Batch)]
        dones = [item for item in group if isinstance(item, Done)]
        batches = bare + [done.batch for done in dones if done.batch is not None]
        others = [done.settled for done in dones]
        entries = []
        changed: set[Window] = set()
        former: set[Window] = set()
        for name, sink in self.sinks:
            self.writing = name if batches else ""
            written = await _of(name, sink.write(batches)) if batches else Written({})
            entries.append(_entry(name, others, bare, written, batches))
            changed.update(_changed(batches, written.replaced))
            former.update(written.replaced)
            self._tell_drift(written.drift)
        self.writing = ""
        if self.ledger is not None:
            await self.ledger.commit(entries, self._spent())
        for name, sink in self.sinks:
            await _of(name, sink.settle())
        if batches:
            self._emit(_committed(batches, *self._late.count(batches, changed, former)))

    def _tell_drift(self, drift: Iterable[str]) -> None:
        for sentence in drift:
            if sentence not in self._drift:
                self._drift.add(sentence)
                self._emit(Drifted(sentence))

    async def finish(self) -> None:
        """Let the sinks put their houses in order, and keep what they want to have kept."""
        for name, sink in self.sinks:
            if isinstance(sink, Finishing):
                written = await _of(name, sink.finish())
                self._tell_drift(written.drift)
                if self.ledger is not None and written.receipt:
                    await self.ledger.commit([Entry(name, (), written.receipt)])
                await _of(name, sink.settle())


class _Booking:
    """Calls that are to be booked."""

    __slots__ = ("calls", "done")

    def __init__(self, calls: Spent) -> None:
        self.calls = calls
        self.done = False


async def _of(name: str, call: Awaitable[T]) -> T:
    """What a call of a sink gives."""
    try:
        return await outside(call)
    except ForeignCancellationError as exc:
        raise SinkError(f"{name} failed: {exc}") from None


def _entry(
    name: str,
    settled: Sequence[Settled],
    harvested: Sequence[Batch],
    written: Written,
    batches: Sequence[Batch],
) -> Entry:
    provisional = {
        batch.window: Young(batch.provisional, batch.due) for batch in batches if batch.provisional
    }
    final = [batch.window for batch in batches if batch.replaces and not batch.provisional]
    return Entry(name, settled, written.receipt, written.replaced, provisional, final, harvested)


def _changed(batches: Sequence[Batch], replaced: Mapping[Window, Tally]) -> Iterator[Window]:
    """Windows that stood there with other figures."""
    for batch in batches:
        former = replaced.get(batch.window)
        if former is not None:
            if former != (batch.records, batch.checksum):
                yield batch.window
        elif batch.again and batch.records:  # it was empty
            yield batch.window


class _Late:
    """Windows that come again within this run, since their figures are late; each counts once."""

    def __init__(self) -> None:
        self._stored: set[Window] = set()
        self._counted: set[Window] = set()

    def count(
        self, batches: Sequence[Batch], changed: Collection[Window], former: Collection[Window]
    ) -> tuple[int, int]:
        """How many more windows have changed in this run, and how many more are provisional."""
        if not self._stored and not any([batch.delayed for batch in batches]):
            return len(changed), sum([batch.provisional != "" for batch in batches])
        news = provisional = 0
        for batch in batches:
            window = batch.window
            provisional += (batch.provisional != "") - (window in self._stored)
            news += window in changed and window not in self._counted
            if not batch.delayed:
                self._stored.discard(window)
                self._counted.discard(window)
                continue
            self._stored.add(window)
            if window in changed or not (batch.again or window in former):
                self._counted.add(window)
        return news, provisional


def _committed(batches: Sequence[Batch], changed: int, provisional: int) -> Committed:
    """What is told: a window whose figures are late is stored, but not called done."""
    done = [batch for batch in batches if not batch.delayed]
    return Committed(
        tuple([batch.window for batch in done]),
        sum([not batch.records for batch in done]),
        sum([batch.records for batch in batches]),
        changed,
        provisional,
    )


def name_in(sink: Sink, ledger: Ledger | None) -> str:
    """A sink's name in the ledger; relative if the two lie together, so that they can be moved."""
    if ledger is None or not isinstance(sink, Located):
        return sink.identity
    together = sink.directory.resolve() == ledger.path.parent.resolve()
    return f"{sink.identity.partition(':')[0]}:." if together else sink.identity
