"""Stores harvested windows durably: sinks first, then the ledger.

Rule: one task commits; a group of windows shares one fsync and one transaction.

After a crash between sinks and ledger windows are repeated, and a repeated window replaces itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from harvester.away import Away
from harvester.channel import Channel
from harvester.coverage import Outcome
from harvester.errors import LedgerError, SinkError, UsageError
from harvester.events import Committed, Drifted, Filled, Observer
from harvester.fencing import EPOCH
from harvester.fill import Source, catch_up
from harvester.ledger.base import KnownSink, Ledger, Spent, place_of
from harvester.model import Batch, Window, listed
from harvester.queues import Harvested
from harvester.sharing import Sharing
from harvester.sinks.base import Checkpoint, Fence, Sink, keep_with, name_in
from harvester.stored import Endpoints, accepted, called

T = TypeVar("T")

GROUP = 1024
"""A commit waits for no more windows than these: more make each cheaper, and need more memory."""
LINGER = 0.2
CHANNEL_ITEMS = 3 * GROUP // 2
CHANNEL_BYTES = 8 * 1024 * 1024


class Left(NamedTuple):
    """The outcome of a window that was not stored; epoch: of its account."""

    outcome: Outcome
    epoch: int


Item = Left | Harvested | asyncio.Event
"""An item of the channel; an event is set when all items before it are committed."""


class Writer:
    """The sinks and the ledger of a run, and the channel to them.

    group: the number of windows that are committed without waiting for more; with 1 none is fetched
    ahead.  spent: returns the calls since its last call; unused: returns, after the last request,
    the calls that were booked and not sent.
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
        for sink in sinks:
            keep_with(sink, place_of(ledger))
        self.sinks = [(name_in(sink, ledger.path if ledger else None), sink) for sink in sinks]
        self.ledger = ledger
        self.writing = ""
        """The sink whose write has not returned; empty if there is none."""
        self.channel: Channel[Item] = Channel(
            group=group,
            linger=LINGER if group > 1 else 0.0,
            items=CHANNEL_ITEMS if group > 1 else 1,
            size=CHANNEL_BYTES,
        )
        self._drift: set[str] = set()
        self._late: set[Window] = set()
        self._changed: set[Window] = set()
        self.sharing: Sharing | None = None
        self._emit = emit
        self._spent = spent
        self._unused = unused
        self._bookings = _Bookings(self.book_calls)
        self._turn = asyncio.Lock()  # the sinks are written, or opened anew

    def put(self, outcome: Outcome, epoch: int) -> Coroutine[None, None, None]:
        """Add the outcome of a window that was not stored; waits while the channel is full."""
        return self.channel.put(Left(outcome, epoch), 0)

    async def flush(self) -> None:
        """Return when everything added so far is committed."""
        committed = asyncio.Event()
        await self.channel.put(committed, 0)
        await committed.wait()

    def offer(self, window: Harvested) -> bool:
        """Add a harvested window if the channel is not full; returns whether it was added."""
        return self.channel.offer(window, window.size)

    def harvested(self, window: Harvested) -> Coroutine[None, None, None]:
        """Add a harvested window; waits while the channel is full."""
        return self.channel.put(window, window.size)

    async def open(self, sink: Sink, name: str) -> None:
        """Open a sink, and store its checkpoint."""
        if self.ledger is None:
            await called(name, sink.open(None))
            return
        entries = await called(name, sink.open(await self.ledger.checkpoint(name)))
        if entries:
            await self.ledger.commit([], {name: entries})

    async def catch_up(
        self, make: Callable[[str], Sink | None], find: Endpoints, now: float | None = None
    ) -> None:
        """Fill each sink that lacks what others have.

        make: creates a sink from a name in the ledger, None if it cannot; find: an interface by
        name;
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
        """The complete sinks of this run; first those that keep records as they were fetched."""
        assert self.ledger is not None
        found, mine = [], dict(self.sinks)
        for name in ready:
            state = known.get(name, KnownSink(True))
            if name in mine:
                found.append(Source(mine[name], None, state))
            elif made := make(name):
                keep_with(made, place_of(self.ledger))
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
        """Store the calls that no commit has stored; ignores a failure."""
        with contextlib.suppress(LedgerError):
            await self._book()

    async def _book(self) -> None:
        if spent := [*self._spent(), *self._unused()]:
            await self.book_calls(spent)

    async def book_calls(self, spent: Iterable[Spent]) -> Collection[str]:
        """Store calls; returns the accounts of which they were not stored, as they were lost."""
        if self.ledger is None:
            return ()
        spent = [*spent]
        try:
            lost = await self.ledger.commit([], {}, spent)
        except Away as exc:
            if self.sharing is None:
                raise
            self.sharing.cut_off(f"the ledger does not answer: {exc}")
            return {each.appid for each in spent}
        return lost

    async def reserve(self, calls: Spent) -> bool:
        """Book calls durably before they are sent; concurrent bookings share a commit.

        Returns whether they are booked: not those of an account that was lost.
        """
        return await self._bookings.granted(calls)

    async def _commit(self, group: Sequence[Item]) -> None:
        windows = [item for item in group if isinstance(item, Harvested)]
        left = [item for item in group if isinstance(item, Left)]
        if self.sharing is None:
            await self._store(windows, [item.outcome for item in left])
        else:
            await self._store_held(self.sharing, windows, left)
        for item in group:
            if isinstance(item, asyncio.Event):
                item.set()

    async def _store(self, windows: Sequence[Harvested], left: Sequence[Outcome]) -> None:
        """Store a group."""
        fence = {window.batch.window.appid: EPOCH for window in windows}
        checkpoints, refused = await self._write([window.batch for window in windows], fence)
        assert not refused, "a sink has refused the one worker that there is"
        if self.ledger is not None:
            outcomes = [*left, *[window.outcome for window in windows]]
            await self.ledger.commit(outcomes, checkpoints, self._spent())
        if windows:
            self._emit(self._committed(windows))

    async def _store_held(
        self, sharing: Sharing, windows: Sequence[Harvested], left: Sequence[Left]
    ) -> None:
        """Store the windows of accounts that this worker has held since they were fetched.

        If the result of a write is unknown, it is not repeated: it could replace newer figures that
        another worker, or this one, has fetched since.
        """
        assert self.ledger is not None
        windows = [
            each for each in windows if sharing.is_current(each.batch.window.appid, each.epoch)
        ]
        left = [each for each in left if sharing.is_current(each.outcome.window.appid, each.epoch)]
        fence = {each.batch.window.appid: each.epoch for each in windows}
        epochs = {**fence, **{each.outcome.window.appid: each.epoch for each in left}}
        try:
            checkpoints, refused = await self._write([each.batch for each in windows], fence)
            outcomes = [each.outcome for each in left]
            outcomes += [each.outcome for each in windows if each.batch.window.appid not in refused]
            spent = self._spent()
            lost = {*await self.ledger.commit(outcomes, checkpoints, spent, epochs)}
        except Away as exc:
            sharing.cut_off(f"{self.writing or 'the ledger'} does not answer: {exc}")
            return
        finally:
            self.writing = ""
        if strange := sorted(refused - lost):
            raise SinkError(
                f"the sink knows a later epoch of {listed(strange, 'account')} than the ledger,"
                " which was put back to an older state; `harvester rebuild --ledger` makes it anew"
            )
        sharing.lose({appid: epochs[appid] for appid in lost if appid in epochs})
        if stored := [each for each in windows if each.batch.window.appid not in lost]:
            sharing.windows += len(stored)
            self._emit(self._committed(stored))

    async def _write(
        self, batches: Sequence[Batch], fence: Fence
    ) -> tuple[dict[str, Checkpoint], set[str]]:
        """Write to all sinks; returns their checkpoints, and the accounts that one refused."""
        checkpoints: dict[str, Checkpoint] = {}
        refused: set[str] = set()
        async with self._turn:
            for name, sink in self.sinks if batches else ():
                self.writing = name
                written = await called(name, sink.write(batches, fence))
                if self.sharing is None:
                    accepted(name, written)
                refused.update(written.refused)
                checkpoints[name] = written.checkpoint
                self._tell_drift(written.drift)
        self.writing = ""
        return checkpoints, refused

    async def reach(self) -> None:
        """Open all sinks anew, with every check of a first opening: a server may have gone back."""
        async with self._turn:
            for name, sink in self.sinks:
                await called(name, sink.close())
                try:
                    await self.open(sink, name)
                except UsageError as exc:  # it could be opened when the run began
                    raise SinkError(str(exc)) from None

    def _committed(self, windows: Sequence[Harvested]) -> Committed:
        """A window whose figures are late is stored, but not reported as done."""
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
    """Calls to be booked; granted: whether they are booked, None while undecided."""

    __slots__ = ("calls", "granted")

    def __init__(self, calls: Spent) -> None:
        self.calls = calls
        self.granted: bool | None = None


class _Bookings:
    """Bookings of calls, those that come together by one call of ``book``.

    book: stores calls; returns the accounts of which they were not stored.
    """

    def __init__(self, book: Callable[[Iterable[Spent]], Awaitable[Collection[str]]]) -> None:
        self._book = book
        self._wanted: list[_Booking] = []
        self._turn = asyncio.Lock()

    async def granted(self, calls: Spent) -> bool:
        """Book calls; returns whether they are booked."""
        mine = _Booking(calls)
        self._wanted.append(mine)
        async with self._turn:
            if mine.granted is None:
                wanted, self._wanted = self._wanted, []
                try:
                    lost = await self._book([each.calls for each in wanted])
                except LedgerError:
                    self._wanted[:0] = [each for each in wanted if each is not mine]
                    raise
                for each in wanted:
                    each.granted = each.calls.appid not in lost
        return bool(mine.granted)
