"""Stores harvested windows durably: sinks first, then the ledger.

Rule: one task commits; a group of windows shares one fsync and one transaction.

After a crash between sinks and ledger windows are repeated, and a repeated window replaces itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio

from harvester.base.fencing import EPOCH, Epochs, fits, new_mark
from harvester.base.outage import Away
from harvester.engine.channel import Channel
from harvester.engine.claims import Sharing
from harvester.engine.sink_list import check_list, finish, holds_records
from harvester.engine.window_queue import Harvested
from harvester.errors import SinkError
from harvester.events import Code, Committed, Level, Notice, Observer
from harvester.ledger import Ledger, shared
from harvester.ledger.base import Spent
from harvester.ledger.coverage import Outcome
from harvester.model import Batch, Window, listed
from harvester.sinks.base import Checkpoint, Fence, Sink, name_in
from harvester.sinks.scan import accepted, call, persistently, records_of, write
from harvester.texts import say

T = TypeVar("T")

GROUP = 1024
"""A commit waits for no more windows than these: more make each cheaper, and need more memory."""
LINGER = 0.2
BOOK_EVERY = 1.0
"""Seconds after which sent calls are in the ledger, also when nothing is stored: a process that is
killed loses count of no more than these."""
CHANNEL_ITEMS = 3 * GROUP // 2
CHANNEL_BYTES = 8 * 1024 * 1024


class Left(NamedTuple):
    """The outcome of a window that was not stored; epoch: of its account."""

    outcome: Outcome
    epoch: int


def _parts(windows: Sequence[Harvested]) -> Sequence[Harvested]:
    if not any([each.more for each in windows]):
        return windows
    return [part for each in windows for part in each.parts]


Item = Left | Harvested | asyncio.Event
"""An item of the channel; an event is set when all items before it are committed."""


class Writer:
    """The sinks and the ledger of a run, and the channel to them.

    group: the number of windows that are committed without waiting for more; with 1 the channel has
    room for one.  spent: returns the calls since its last call.
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
        self.sinks = [(name_in(sink, ledger.path if ledger else None), sink) for sink in sinks]
        self._listed = {name for name, sink in self.sinks if sink.listed}
        # Beside listed sinks the others may come and go; alone they hold what the ledger knows.
        self._kept = self._listed or {name for name, _ in self.sinks}
        self.ledger = ledger
        self.writing = ""
        """The sink whose write has not returned; empty if there is none."""
        self.opening = ""
        self._finishing: set[str] = set()
        self._begun: set[int] = set()  # of the sinks that the stack closes
        self.channel: Channel[Item] = Channel(
            group=group,
            linger=LINGER if group > 1 else 0.0,
            items=CHANNEL_ITEMS if group > 1 else 1,
            size=CHANNEL_BYTES,
        )
        self._drift: set[str] = set()
        self._late: set[Window] = set()
        self._changed: set[Window] = set()
        self.apart: dict[str, str] = {}
        """Accounts that are not requested, since the ledger does not know what a sink has; why."""
        self.emptied: set[str] = set()
        """Accounts of which days are final without a row, of an interface with one row per day."""
        self.sharing: Sharing | None = None
        self._emit = emit
        self._spent = spent
        self.sent = asyncio.Event()
        self._unsure: list[Spent] = []
        self._turn = asyncio.Lock()  # the sinks are written, or opened again
        self._stored: list[Item] = []  # the last group, until `_free_one` has freed it
        self._unsettled = False  # a sink has a write that the ledger may lack
        self._full: list[tuple[str, Sink]] = []  # sinks that ask for `finish`

    def put(self, outcome: Outcome, epoch: int) -> Coroutine[None, None, None]:
        """Add the outcome of a window that was not stored; waits while the channel is full."""
        return self.channel.put(Left(outcome, epoch), 0)

    async def flush(self) -> None:
        """Return when everything added so far is committed."""
        committed = asyncio.Event()
        await self.channel.put(committed, 0)
        await committed.wait()

    def offer(self, window: Harvested) -> bool:
        self._free_one()
        return self.channel.offer(window, window.size)

    def harvested(self, window: Harvested) -> Coroutine[None, None, None]:
        self._free_one()
        return self.channel.put(window, window.size)

    def _free_one(self) -> None:
        """Free a stored window: to free a group at once would hold the loop for milliseconds."""
        if self._stored:
            self._stored.pop()

    @asynccontextmanager
    async def reached(self, stack: AsyncExitStack) -> AsyncIterator[None]:
        """Connect to the sinks, again to those that are open; no write is in progress.

        Slow connections, and servers that never answer, come before others have to wait.
        """
        async with self._turn:
            self.opening = ""
            for _, sink in self.sinks:
                if id(sink) in self._begun:
                    await call(sink, sink.close)
                self._begin(stack, sink)
                await call(sink, sink.reach)
            yield

    def _begin(self, stack: AsyncExitStack, sink: Sink) -> None:
        if id(sink) not in self._begun:
            self._begun.add(id(sink))
            stack.push_async_callback(call, sink, sink.close)

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the sinks, which the stack closes; a new ledger lists them."""
        new = await self.check()
        for name, sink in self.sinks:
            self._begin(stack, sink)
            self.opening = name
            await self._open(name, sink)
            if name not in self._finishing:  # above its closing, and once for each
                self._finishing.add(name)
                stack.push_async_callback(self._finish, name, sink)
        self.apart = await self._not_in_step()
        self.opening, self._unsettled, self._full = "", False, []
        if self.ledger is not None and new:
            await self.ledger.list_sinks(dict.fromkeys(new, ""))

    async def _not_in_step(self) -> dict[str, str]:
        """The accounts of which the shared ledger does not know what a sink has; and why.

        Other workers may be writing: only what has not changed while the ledger was read counts.
        """
        found: dict[str, str] = {}
        ledger = shared(self.ledger)
        for name, sink in self.sinks if ledger is not None else ():
            if (read := getattr(sink, "marks", None)) is None:
                continue
            there: dict[str, tuple[str, str]] = await call(sink, read)
            while there and ledger is not None:
                known = await ledger.all_marks()
                strange = {
                    appid: marks
                    for appid, marks in there.items()
                    if not fits(known.get(appid, ()), *marks)
                }
                now = await call(sink, read) if strange else {}
                still = {appid for appid, marks in strange.items() if now.get(appid) == marks}
                why = say(
                    "the ledger does not know the state of this account in {}: a failover or a"
                    " restored copy has lost commits; when no worker is running, make a new"
                    " ledger: `harvester rebuild` with this --ledger and --sink",
                    name,
                )
                found.update(dict.fromkeys(still, why))
                there = {appid: now[appid] for appid in strange.keys() - still if appid in now}
        return found

    async def check(self) -> list[str]:
        """Raise `UsageError` if the ledger has other sinks; returns those that it is to list."""
        if self.ledger is None:
            return []
        known = await self.ledger.sinks()
        if known or await holds_records(self.ledger):
            check_list(self.ledger, known.keys(), self._listed)
        return sorted(self._listed - known.keys())

    async def _open(self, name: str, sink: Sink) -> None:
        if self.ledger is None or name not in self._kept:
            await call(sink, sink.open, None)
            return
        entries = await call(sink, sink.open, await self.ledger.checkpoint(name))
        if entries:
            await self.ledger.commit([], {name: entries})

    async def stored(self, window: Window) -> list[dict[str, Any]] | None:
        """The records of a stored window; None if no sink can be read back."""
        for name, sink in self.sinks:
            if sink.scan is not None:
                checkpoint = None if self.ledger is None else await self.ledger.checkpoint(name)
                return await persistently(sink, partial(records_of, sink, window, checkpoint))
        return None

    async def _finish(self, name: str, sink: Sink) -> None:
        """Let a sink complete its writes, unless the ledger may lack one of them."""
        if not self._unsettled:
            await finish(self.ledger if name in self._kept else None, name, sink)

    async def run(self, after: Callable[[], Awaitable[None]] | None = None) -> None:
        """Commit until the channel is closed and empty; after: awaited after each commit."""
        while (group := await self.channel.collect()) is not None:
            await self._commit(group)
            self._stored = group
            if after is not None:
                await after()
        await self.book()

    async def book_regularly(self) -> None:
        """Store the calls that no commit has stored, a second after each was sent at the latest."""
        while True:
            await self.sent.wait()
            await anyio.sleep(BOOK_EVERY)
            self.sent.clear()
            await self.book()

    async def book(self) -> None:
        if self.ledger is None or not (spent := self._calls()):
            return
        try:
            await self.ledger.commit([], {}, spent)
        except Away as exc:
            self._unsure += spent
            if self.sharing is None:
                raise
            self.sharing.cut_off(say("the ledger does not answer: {}", exc))

    def _calls(self) -> list[Spent]:
        """The calls to be stored: those since the last commit, and those whose commit is unsure.

        A call that is counted twice costs a call; one that is not counted may break a quota.
        """
        unsure, self._unsure = self._unsure, []
        return [*unsure, *self._spent()]

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
        fence = {window.batch.window.appid: EPOCH for window in windows}
        parts = _parts(windows)
        checkpoints, refused = await self._write([part.batch for part in parts], fence)
        assert not refused, "a sink has refused the one worker that there is"
        if self.ledger is not None:
            outcomes = [*left, *[part.outcome for part in parts]]
            await self.ledger.commit(outcomes, checkpoints, self._calls())
        self._unsettled = False
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
        held = {each.batch.window.appid: each.epoch for each in windows}
        known = sharing.marks
        fence = Epochs(held, {appid: (new_mark(), known.get(appid, "")) for appid in held})
        epochs = {**fence, **{each.outcome.window.appid: each.epoch for each in left}}
        spent: list[Spent] = []
        parts = _parts(windows)
        try:
            checkpoints, refused = await self._write([each.batch for each in parts], fence)
            outcomes = [each.outcome for each in left]
            outcomes += [each.outcome for each in parts if each.batch.window.appid not in refused]
            spent = self._calls()
            wrote = {appid: mark for appid, mark in fence.marks.items() if appid not in refused}
            committed = Epochs(epochs, wrote)
            lost = {*await self.ledger.commit(outcomes, checkpoints, spent, committed)}
            self._unsettled = False
        except Away as exc:
            self._unsure += spent
            sharing.cut_off(say("{} does not answer: {}", self.writing or say("the ledger"), exc))
            return
        finally:
            self.writing = ""
        if strange := sorted(refused - lost):
            raise SinkError(
                "the sink has a later epoch of {} than the ledger, so the ledger was restored to"
                " an older state; `harvester rebuild --ledger` makes a new ledger",
                listed(strange, "account"),
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
            while self._full:
                await self._finish(*self._full.pop())
            self._unsettled |= bool(batches)
            for name, sink in self.sinks if batches else ():
                self.writing = name
                written = await write(sink, batches, fence)
                if self.sharing is None:
                    accepted(name, written)
                refused.update(written.refused)
                self._full += [(name, sink)] if written.full else []
                if name in self._kept:
                    checkpoints[name] = written.checkpoint
                self.report_drift(written.drift)
        self.writing = ""
        return checkpoints, refused

    def _committed(self, windows: Sequence[Harvested]) -> Committed:
        """A window of which a part waits is stored, but not reported as done."""
        done: list[Window] = []
        empty = records = changed = provisional = kept = 0
        foreign: list[tuple[Window, int]] = []
        gaps: list[tuple[Window, int]] = []
        never: list[tuple[Window, int]] = []
        for each in windows:
            window, tally, waits = each.window, each.tally, each.waits
            if each.out_of_range:
                foreign.append((window, each.out_of_range))
            if each.more or each.outcome.state != "final" or each.outcome.empty:
                gaps += each.lacking("late")
                never += each.lacking("never")
                self.emptied.update([window.appid] if each.is_emptied else ())
                provisional += each.is_provisional
            provisional -= window in self._late
            if each.former is not None and not each.former.same_records(tally):
                changed += window not in self._changed
                if waits:
                    self._changed.add(window)
            (self._late.add if waits else self._late.discard)(window)
            records += tally.records
            kept += each.kept
            if not waits:
                done.append(window)
                empty += not tally.records
        return Committed(
            tuple(done),
            empty,
            records,
            changed,
            provisional,
            tuple(foreign),
            tuple(gaps),
            tuple(never),
            kept,
        )

    def report_drift(self, drift: Iterable[str]) -> None:
        """Report what differs from the catalogue, each sentence once in a run."""
        for sentence in drift:
            if sentence not in self._drift:
                self._drift.add(sentence)
                self._emit(Notice(Level.WARNING, Code.DRIFTED, "", "", sentence))
