"""What is harvested becomes safe here: sinks first, then the ledger.

Rule: one task commits; a group of windows shares one fsync and one transaction.

A crash between sinks and ledger repeats windows, and a repeated window replaces itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TypeVar

from harvester.channel import Channel
from harvester.coverage import Outcome
from harvester.errors import LedgerError
from harvester.events import Committed, Drifted, Filled, Observer
from harvester.fencing import EPOCH
from harvester.fill import Source, catch_up
from harvester.ledger.base import KnownSink, Ledger, Spent
from harvester.model import Window
from harvester.queues import Harvested
from harvester.sinks.base import Checkpoint, Sink, name_in
from harvester.stored import Endpoints, accepted, called

T = TypeVar("T")

GROUP = 768
"""Windows of a commit at the most: more of them make each cheaper, and hold more memory."""
LINGER = 0.2
CHANNEL_ITEMS = 2 * GROUP
CHANNEL_BYTES = 8 * 1024 * 1024


class Writer:
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
        self.sinks = [(name_in(sink, ledger.path if ledger else None), sink) for sink in sinks]
        self.ledger = ledger
        self.writing = ""
        """The sink whose write has not returned; empty if there is none."""
        self.channel: Channel[Outcome | Harvested] = Channel(
            group=group,
            linger=LINGER if group > 1 else 0.0,
            items=CHANNEL_ITEMS if group > 1 else 1,
            size=CHANNEL_BYTES,
        )
        self._drift: set[str] = set()
        self._late: set[Window] = set()
        self._changed: set[Window] = set()
        self._emit = emit
        self._spent = spent
        self._unused = unused
        self._wanted: list[_Booking] = []
        self._booking = asyncio.Lock()

    def put(self, outcome: Outcome) -> Coroutine[None, None, None]:
        """Hand over what became of a window that was not stored; waits while too much lies here."""
        return self.channel.put(outcome, 0)

    def offer(self, window: Harvested) -> bool:
        """Hand over a harvested window if there is room; gives whether there was."""
        return self.channel.offer(window, window.size)

    def harvested(self, window: Harvested) -> Coroutine[None, None, None]:
        """Hand over a harvested window; waits while too much lies here."""
        return self.channel.put(window, window.size)

    async def open(self, sink: Sink, name: str) -> None:
        """Open a sink, and store what it wants to have stored."""
        if self.ledger is None:
            await called(name, sink.open(None))
            return
        entries = await called(name, sink.open(await self.ledger.checkpoint(name)))
        if entries:
            await self.ledger.commit([], {name: entries})

    async def catch_up(
        self, make: Callable[[str], Sink | None], find: Endpoints, now: float | None = None
    ) -> None:
        """Fill each sink that does not have what others have.

        make: makes a sink of a name in the ledger, None if it cannot; find: an interface by name;
        now: the Unix time.
        """
        if self.ledger is None:
            return
        known = await self.ledger.sinks()
        ready = [name for name, state in known.items() if state.whole]
        for name, sink in self.sinks:
            if name in ready:
                continue
            windows = await catch_up(
                self.ledger, name, sink, await self._sources(ready, known, make), find, now
            )
            ready.append(name)
            if windows:
                self._emit(Filled(sink.identity, windows))

    async def _sources(
        self,
        ready: Iterable[str],
        known: Mapping[str, KnownSink],
        make: Callable[[str], Sink | None],
    ) -> list[Source]:
        """The sinks that have everything: those of this run, those as they were fetched first."""
        assert self.ledger is not None
        found, mine = [], dict(self.sinks)
        for name in ready:
            state = known.get(name, KnownSink(True))
            if name in mine:
                found.append(Source(mine[name], None, state))
            elif made := make(name):
                found.append(Source(made, await self.ledger.checkpoint(name), state))
        return sorted(
            found, key=lambda each: (each.known.refilled != "", each.checkpoint is not None)
        )

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
            await self.ledger.commit([], {}, spent)

    async def reserve(self, calls: Spent) -> None:
        """Book calls durably before they are sent; those that come together share a commit."""
        mine = _Booking(calls)
        self._wanted.append(mine)
        async with self._booking:
            if mine.done or self.ledger is None:
                return
            wanted, self._wanted = self._wanted, []
            try:
                await self.ledger.commit([], {}, [each.calls for each in wanted])
            except LedgerError:
                self._wanted[:0] = [each for each in wanted if each is not mine]
                raise
            for each in wanted:
                each.done = True

    async def _commit(self, group: Sequence[Outcome | Harvested]) -> None:
        windows = [item for item in group if isinstance(item, Harvested)]
        batches = [window.batch for window in windows]
        outcomes = [item for item in group if isinstance(item, Outcome)]
        fence = {batch.window.appid: EPOCH for batch in batches}
        checkpoints: dict[str, Checkpoint] = {}
        for name, sink in self.sinks:
            if batches:
                self.writing = name
                written = accepted(name, await called(name, sink.write(batches, fence)))
                checkpoints[name] = written.checkpoint
                self._tell_drift(written.drift)
        self.writing = ""
        if self.ledger is not None:
            outcomes += [window.outcome for window in windows]
            await self.ledger.commit(outcomes, checkpoints, self._spent())
        if windows:
            self._emit(self._committed(windows))

    def _committed(self, windows: Sequence[Harvested]) -> Committed:
        """A window whose figures are late is stored, but not called done."""
        changed = provisional = 0
        batches = [each.batch for each in windows]
        for batch, outcome, former, *_ in windows:
            window = batch.window
            provisional += (outcome.state != "final") - (window in self._late)
            if former is not None and former != outcome.tally:
                changed += window not in self._changed
                if batch.late:
                    self._changed.add(window)
            (self._late.add if batch.late else self._late.discard)(window)
        done = [batch for batch in batches if not batch.late]
        return Committed(
            tuple([batch.window for batch in done]),
            sum([not batch.count for batch in done]),
            sum([batch.count for batch in batches]),
            changed,
            provisional,
        )

    def _tell_drift(self, drift: Iterable[str]) -> None:
        for sentence in drift:
            if sentence not in self._drift:
                self._drift.add(sentence)
                self._emit(Drifted(sentence))


class _Booking:
    """Calls that are to be booked."""

    __slots__ = ("calls", "done")

    def __init__(self, calls: Spent) -> None:
        self.calls = calls
        self.done = False
