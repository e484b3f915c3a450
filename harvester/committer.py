"""What is harvested becomes safe here: sinks first, then the ledger, then the sinks are told.

Rule: one task commits; a group of windows shares one fsync and one transaction.

A crash between sinks and ledger repeats windows, and a repeated window replaces itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import NamedTuple

from harvester.channel import Channel
from harvester.events import Committed, Observer
from harvester.ledger import Entry, Ledger, Settled, Spent
from harvester.model import Batch
from harvester.sinks.base import Located, Sink, Written

GROUP = 512
LINGER = 0.2
CHANNEL_ITEMS = 1024
CHANNEL_BYTES = 8 * 1024 * 1024


class Done(NamedTuple):
    """What became of one window; no batch if it brought no answer."""

    settled: Settled
    batch: Batch | None


class Committer:
    """The sinks and the ledger of a run, and the channel that leads to them.

    group: so many windows are committed without waiting for more; with 1 none is fetched ahead.
    spent: gives the calls since it was last asked.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        ledger: Ledger | None,
        emit: Observer,
        spent: Callable[[], Iterable[Spent]],
        *,
        group: int = GROUP,
    ) -> None:
        self.sinks = [(name_in(sink, ledger), sink) for sink in sinks]
        self.ledger = ledger
        self.channel: Channel[Done] = Channel(
            group=group,
            linger=LINGER if group > 1 else 0.0,
            items=CHANNEL_ITEMS if group > 1 else 1,
            size=CHANNEL_BYTES,
        )
        self._emit = emit
        self._spent = spent

    def put(self, settled: Settled, batch: Batch | None = None) -> Coroutine[None, None, None]:
        """Hand over what became of a window; waits while too much lies here."""
        return self.channel.put(Done(settled, batch), len(batch.body) if batch is not None else 0)

    async def open(self, sink: Sink, name: str) -> None:
        """Open a sink, and keep what it wants to have kept."""
        if self.ledger is None:
            await sink.open(None)
            return
        receipt = await sink.open(await self.ledger.receipt(name))
        if receipt:
            await self.ledger.commit([Entry(name, (), receipt)])

    async def run(self) -> None:
        """Commit until the channel is closed and empty."""
        while (group := await self.channel.collect()) is not None:
            await self._commit(group)
        if self.ledger is not None and (spent := list(self._spent())):
            await self.ledger.commit([], spent)

    async def _commit(self, group: Sequence[Done]) -> None:
        batches = [done.batch for done in group if done.batch is not None]
        settled = [done.settled for done in group]
        entries = []
        for name, sink in self.sinks:
            written = await sink.write(batches) if batches else Written({})
            entries.append(Entry(name, settled, written.receipt, written.replaced))
        if self.ledger is not None:
            await self.ledger.commit(entries, self._spent())
        for _, sink in self.sinks:
            await sink.settle()
        if batches:
            self._emit(
                Committed(
                    tuple([batch.window for batch in batches]),
                    sum([not batch.records for batch in batches]),
                    sum([batch.records for batch in batches]),
                )
            )


def name_in(sink: Sink, ledger: Ledger | None) -> str:
    """A sink's name in the ledger; relative if the two lie together, so that they can be moved."""
    if ledger is None or not isinstance(sink, Located):
        return sink.identity
    together = sink.directory.resolve() == ledger.path.parent.resolve()
    return f"{sink.identity.partition(':')[0]}:." if together else sink.identity
