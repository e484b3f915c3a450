"""Makes a new ledger from the records in a sink, to replace one that is damaged or lost.

Rule: sends nothing, and keeps the old ledger under another name.  Until the new
ledger is complete, and takes the old one's name by one rename, nothing has changed.

The records do not show everything: days without records, failed and waiting windows, and the calls
of today are lost.  The next run requests such days.  It also requests windows again that may be
incomplete or not final: those that may have been cut off, and those whose figures could change
when fetched.

A window is taken if all sinks have the same records of it.  If the old ledger can still be read,
the windows of a year whose sum differs are requested again, too: a record may be gone.  What WeChat
does not answer any more (`Former.askable`) is kept: sinks that differ get it from the one that
agrees with the old ledger, else from the first, before the new ledger takes its place.
"""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from harvester.base import files as durable
from harvester.base.dates import settles_at
from harvester.base.lock import FileLock
from harvester.engine.parts import CAN_CHANGE
from harvester.engine.sink_list import finish
from harvester.errors import (
    LedgerError,
    NoLedgerError,
    UsageError,
)
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger
from harvester.ledger.coverage import Calendar, Outcome
from harvester.model import Batch, Endpoint, Find, Window
from harvester.sinks.base import VERIFY, Sink, StoredWindow, name_in
from harvester.sinks.scan import (
    AT_ONCE,
    call,
    endpoints_in,
    is_bare,
    no_records,
    scanned,
)
from harvester.texts import say
from harvester.upkeep.agreement import Comparison, Former, Seen, overlapping, together
from harvester.upkeep.copy import batch_of, store
from harvester.wechat.late import (
    Delivery,
    delivery,
    final_at,
    had,
    has_last_entry,
    waits_until,
)

A_DAY = 86_400.0
_BESIDE = ("-wal", "-shm")
"""SQLite's files beside the database, if it was not closed."""


@dataclass(slots=True)
class Rebuilt:
    """The result.

    again: windows that the next run requests again, since they may be incomplete or not final, or
    (differing) since the old ledger has others in that year; apart: groups of windows that the
    listed sinks do not have alike, which it requests, too.

    compared: whether the old ledger could be read.  Of what cannot be requested any more: kept: the
    windows that differed between sinks, and the sink whose version was kept; doubtful: windows of a
    year that differs from the old ledger; lost: days with records that no sink has any more.
    strange: accounts that the old ledger does not know.

    unlisted: sinks that cannot be read back.  former: where the old ledger is now.
    """

    sink: Sink
    accounts: int = 0
    windows: int = 0
    records: int = 0
    again: int = 0
    differing: int = 0
    apart: int = 0
    compared: bool = False
    kept: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    strange: Sequence[str] = ()
    unlisted: Sequence[Sink] = ()
    former: str = ""


async def rebuild(path: Path, sinks: Sequence[Sink], find: Find, now: float) -> Rebuilt:
    """Make a new ledger at that path from the first sink that can be scanned.

    now: the Unix time.  Raises `UsageError` if a run is under way, no sink can be scanned, or one
    is not there or has lost its records; `SinkError` if the content of one cannot be read.  The
    ledger is then as it was.
    """
    _check(sinks)
    await _close(path)
    claim = FileLock(path.with_name(f"{path.name}.lock"), say("the directory {}", path.parent))
    try:
        new = path.with_name(f"{path.name}.new")
        _remove(new)
        async with AsyncExitStack() as stack:
            former = Former()
            with suppress(LedgerError, UsageError):
                old = await stack.enter_async_context(SqliteLedger(path, readonly=True))
                former = await Former.of(old)
            ledger = await stack.enter_async_context(SqliteLedger(new))
            found = await _fill(ledger, path, sinks, former, _How(find, now))
        kept = _keep(path)
        durable.rename(new, path, "rebuilt ledger")
        _remove(new)
    finally:
        claim.release()
    return replace(found, former="" if kept is None else str(kept))


async def rebuild_shared(
    ledger: PostgresLedger, sinks: Sequence[Sink], find: Find, now: float
) -> Rebuilt:
    """The same for a shared ledger: it is made in a new schema, which then replaces the old one.

    Raises `UsageError` if workers are running.
    """
    _check(sinks)
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%d_%H%M%S_%f}"
    async with ledger, ledger.alone():
        if any(worker.alive for worker in await ledger.workers()):
            raise UsageError("workers of {} are running; wait until they have ended", ledger.where)
        holds = bool(await ledger.accounts())
        known = await Former.of(ledger) if holds else Former()
        draft = await ledger.draft()
        async with draft:
            found = await _fill(draft, None, sinks, known, _How(find, now))
            latest = [await draft.checkpoint(name_in(sink, None)) for sink in sinks]
            epochs = [int(each.get("epoch", 0)) for each in latest]
            await draft.begin_after(max(*epochs, await ledger.highest_epoch()) + 1)
        former = await ledger.replace_with(draft, stamp)
    return replace(found, former=say("the schema {}", former) if holds else "")


def _check(sinks: Sequence[Sink]) -> None:
    if all(sink.scan is None for sink in sinks):
        names = ", ".join(sink.identity for sink in sinks)
        raise UsageError("{} cannot be read back; its days are requested again", names)


async def _fill(
    ledger: Ledger, path: Path | None, sinks: Sequence[Sink], former: Former, how: _How
) -> Rebuilt:
    """Write the windows of the sinks into a new ledger, which will be at that path.

    Windows that differ between sinks are left out: the next run requests them, and until then
    nothing is removed from any of them.
    """
    listed = [each for each in sinks if each.scan]
    listed.sort(key=lambda sink: former.copied.get(name_in(sink, path), "") != "")
    await _check_records(listed, path, lost=await former.holds_records())
    for sink in listed:
        try:
            entries = await call(sink, sink.open, None)
        finally:
            await call(sink, sink.close)
        await ledger.commit([], {name_in(sink, path): entries})
    taking = _TakingIn(ledger, path, listed, former, how)
    names = {name for sink in listed for name in await endpoints_in(sink)}
    for name in sorted(names | {name for _, name in former.asked}):
        await taking.interface(name)
    await ledger.register([(*key, *days) for key, each in former.asked.items() for days in each])
    await ledger.list_sinks(taking.copied)
    return taking.result([each for each in sinks if each not in listed])


async def _check_records(sinks: Sequence[Sink], former: Path | None, *, lost: bool) -> None:
    """Raise `UsageError` if a sink is not there, or lacks records; lost: it should have some."""
    bare = [each for each in sinks if await is_bare(each, may_be_empty=not lost)]
    if not bare:
        return
    commands, way = [f"`{each}`" for each in (away(former) if former else ())], VERIFY
    if len(bare) == len(sinks):
        way = say(
            "if its records are lost, run {}, and then the same run again: it requests them again",
            ", ".join(commands),
        )
    raise UsageError(
        "{} does not exist, or has no records; name the sinks that have the records (--sink"
        " SPEC){}",
        bare[0].identity,
        say("; {}", way) if commands else "",
    )


def away(former: Path) -> list[str]:
    """The commands that put a ledger away whose records are lost; its log as well."""
    place = _free(former)
    return [
        shlex.join(["mv", f"{former}{beside}", f"{place}{beside}"])
        for beside in ("", _BESIDE[0])
        if (each := Path(f"{former}{beside}")).exists() and each.stat().st_size
    ]


def _free(path: Path) -> Path:
    number, place = 1, path.with_name(f"{path.name}.former")
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.former-{number}")
    return place


def _remove(new: Path) -> None:
    """Remove the files of a rebuild that was killed, or the lock of this one."""
    for beside in ("", *_BESIDE, ".lock"):
        left = new.with_name(new.name + beside)
        if left.exists():
            durable.remove(left, "draft of a ledger")


async def _close(path: Path) -> None:
    """Move the log that a killed run has left into its ledger, unless that is damaged."""
    if path.with_name(f"{path.name}-wal").exists():
        with suppress(LedgerError, NoLedgerError):
            for readonly in (True, False):  # of a damaged one the log is to be kept
                async with SqliteLedger(path, readonly=readonly):
                    pass


def _keep(path: Path) -> Path | None:
    """Give the old ledger a second name; the log of a damaged one is moved there."""
    if not path.exists():
        for beside in _BESIDE:  # a log without its ledger would be read into the new one
            path.with_name(path.name + beside).unlink(missing_ok=True)
        return None
    place = _free(path)
    try:
        with durable.step("link former ledger"):
            os.link(path, place)
    except OSError:  # a file system without links
        durable.rename(path, place, "former ledger")
    for beside in _BESIDE:
        former = path.with_name(path.name + beside)
        if former.exists():
            durable.rename(former, place.with_name(place.name + beside), "former ledger")
    return place


class _How(NamedTuple):
    """find: returns an interface by its name; now: the Unix time."""

    find: Find
    now: float


class _TakingIn:
    """The windows of sinks on their way into a new ledger, with the checksums of the first one."""

    def __init__(
        self, ledger: Ledger, path: Path | None, sinks: Sequence[Sink], former: Former, how: _How
    ) -> None:
        self._ledger, self._path, self._sinks = ledger, path, sinks
        self._former, self._how = former, how
        self._names = [name_in(sink, path) for sink in sinks]
        self.copied = dict.fromkeys(self._names, "")
        self._accounts = set[str]()
        self._found = Rebuilt(sinks[0], compared=bool(former))

    def result(self, unlisted: Sequence[Sink]) -> Rebuilt:
        known = {*self._former.accounts}
        strange = sorted(self._accounts - known) if known else []
        return replace(
            self._found, accounts=len(self._accounts), strange=strange, unlisted=unlisted
        )

    async def interface(self, name: str) -> None:
        endpoint = self._how.find(name)
        reading, same = _Reading(endpoint), Comparison(name, endpoint)
        differing = await self._former.differing(self._sinks, self._path, name)
        stored: defaultdict[str, Calendar] = defaultdict(Calendar)
        kept: list[tuple[int, StoredWindow]] = []
        outcomes: list[Outcome] = []
        async with aclosing(together(self._sinks, name)) as windows:
            async for group in overlapping(windows):
                for seen in group:
                    reading.widen(seen.window)
                    stored[seen.window.appid].apply(Outcome(seen.window, "final"))
                if len(group) == 1 and same.same(group[0]):
                    outcomes += await self._taken(reading, group[0], differing)
                elif all([await self._askable(seen.window) for seen in group]):
                    self._found.apart += 1
                else:
                    kept += self._chosen(group, differing)
                if len(outcomes) >= AT_ONCE:
                    await self._ledger.commit(outcomes, {})
                    outcomes = []
        await self._ledger.commit([*outcomes, *reading.last()], {})
        await self._ledger.register(
            [
                (appid, name, *days)
                for appid, days in reading.asked.items()
                if (appid, name) not in self._former.asked
            ]
        )
        self._accounts |= reading.asked.keys()
        self._found.again += reading.again
        if kept:
            await self._keep(name, kept)
        await self._report_gone(name, stored)

    async def _askable(self, window: Window) -> bool:
        endpoint = self._how.find(window.endpoint)
        return await self._former.askable(endpoint, window, self._how.now)

    async def _taken(
        self, reading: _Reading, seen: Seen, differing: Sequence[set[tuple[str, int]]]
    ) -> list[Outcome]:
        window, each = seen.window, seen.first
        self._found.windows += 1
        self._found.records += each.tally.records
        for name, held in zip(self._names, seen.held, strict=True):
            if held is not None and held[0].tally != each.tally:  # a database has its own order
                self.copied[name] = max(self.copied[name], each.fetched_at)
        if all((window.appid, window.begin.year) in places for places in differing):
            if await self._askable(window):
                self._found.differing += 1
                return [reading.open(each, say("its year differs from the former ledger"))]
            self._found.doubtful.append(str(window))
        if (why := await self._former.why_open(window)) is not None:
            return [reading.open(each, why)]
        return reading.outcomes(each)

    def _chosen(
        self, group: Sequence[Seen], differing: Sequence[set[tuple[str, int]]]
    ) -> list[tuple[int, StoredWindow]]:
        """The windows that are kept of those that cannot be asked for again, each with its sink.

        They are those of the sink that agrees with the former ledger, else of the first.
        """
        appid, begin = group[0].window.appid, group[0].window.begin
        having = [
            number
            for number in range(len(self._sinks))
            if any(seen.held[number] is not None for seen in group)
        ]
        agreeing = [each for each in having if (appid, begin.year) not in differing[each]]
        chosen = (agreeing or having)[0]
        found: dict[Window, StoredWindow] = {}
        for seen in group:
            if (held := seen.held[chosen]) is not None:
                found[seen.window] = held[0]._replace(records=no_records)
        return [(chosen, each) for each in found.values()]

    async def _keep(self, name: str, kept: Sequence[tuple[int, StoredWindow]]) -> None:
        """Write windows that cannot be asked for again into all sinks, as one of them has them."""
        endpoint = self._how.find(name)
        for source in sorted({number for number, _ in kept}):
            mine = {each.window for number, each in kept if number == source}
            appids = {window.appid for window in mine}
            batches, latest = [], ""
            async for group in scanned(self._sinks[source], name, appids, records=True):
                for each, records in group:
                    if each.window in mine:
                        batch = batch_of(each, records, endpoint)
                        batches.append(batch)
                        if batch.tally != each.tally:  # a database has its own order
                            latest = max(latest, each.fetched_at)
            for number, sink in enumerate(self._sinks):
                if number != source:
                    other = self._names[number]
                    await self._write(other, sink, batches)
                    self.copied[other] = max(self.copied[other], latest)
        outcomes = [Outcome(each.window, "final", each.tally) for _, each in kept]
        await self._ledger.commit(outcomes, {})
        self._found.windows += len(kept)
        self._found.records += sum(each.tally.records for _, each in kept)
        self._found.kept.extend(
            f"{each.window} ({self._sinks[number].identity})" for number, each in kept
        )

    async def _write(self, name: str, sink: Sink, batches: Sequence[Batch]) -> None:
        try:
            entries = await call(sink, sink.open, await self._ledger.checkpoint(name))
            await self._ledger.commit([], {name: entries})
            for begin in range(0, len(batches), AT_ONCE):
                await store(self._ledger, name, sink, batches[begin : begin + AT_ONCE])
            await finish(self._ledger, name, sink)
        finally:
            await call(sink, sink.close)

    async def _report_gone(self, name: str, stored: Mapping[str, Calendar]) -> None:
        """Note days that the former ledger knows, that are lost, and cannot be asked for again."""
        async with aclosing(self._former.gone(name, stored)) as gone:
            async for appid, days in gone:
                window = Window(appid, name, *days)
                if not await self._askable(window):
                    self._found.lost.append(str(window))


class _Reading:
    """The windows of one interface as they are read; asked: their first and last day."""

    def __init__(self, endpoint: Endpoint | None) -> None:
        self._endpoint = endpoint
        self.asked: dict[str, tuple[date, date]] = {}
        self.again = 0
        self._newest: dict[str, float] = {}
        self._undecided: list[StoredWindow] = []
        self._had: dict[Window, str] = {}

    def widen(self, window: Window) -> None:
        appid, _, begin, end = window
        first, last = self.asked.get(appid, (begin, end))
        self.asked[appid] = (min(first, begin), max(last, end))

    def outcomes(self, each: StoredWindow) -> list[Outcome]:
        self._note(each)
        return self._clear(each)

    def _note(self, each: StoredWindow) -> None:
        appid, _, _, end = each.window
        moment = _moment(each) or settles_at(end, 0)
        self._newest[appid] = max(self._newest.get(appid, 0.0), moment)

    def last(self) -> list[Outcome]:
        found = []
        for each in self._undecided:
            moment = _moment(each)
            if moment > self._newest[each.window.appid] - A_DAY:
                why = say(
                    "it was fetched less than three days after its last figures were due, and"
                    " these might be late"
                )
                found.append(self._open(each, why))
            else:  # it was requested again since, if it could still change
                found.append(Outcome(each.window, "final", each.tally))
        return found

    def _clear(self, each: StoredWindow) -> list[Outcome]:
        if not each.whole:
            why = say("it is incomplete, or it is uncertain whether all of it was written")
            return [self._open(each, why)]
        endpoint, window, moment = self._endpoint, each.window, _moment(each)
        if endpoint is not None and moment:
            until, entries = final_at(endpoint, window.end), delivery(endpoint) is Delivery.ENTRIES
            records = each.records() if entries else []
            self._had |= {window: had(endpoint, records)} if records else {}
            if endpoint.late_days and moment < until:
                return [self._open(each, CAN_CHANGE)]
            if not has_last_entry(endpoint, records, window.end):
                late = self._open(each, say("the entry of its last day is missing"))
                return [late._replace(state="late", due=until)]
            if window.begin < window.end and moment < waits_until(endpoint, window.end):
                self._undecided.append(each._replace(records=no_records))
                return []
        return [Outcome(window, "final", each.tally)]

    def open(self, each: StoredWindow, why: str) -> Outcome:
        self._note(each)
        return self._open(each, why)

    def _open(self, each: StoredWindow, why: str) -> Outcome:
        self.again += 1
        return Outcome(
            each.window,
            "open",
            each.tally,
            detail=why,
            fetched_at=each.fetched_at,
            had=self._had.get(each.window, ""),
        )


def _moment(stored: StoredWindow) -> float:
    """The Unix time when a window was fetched; 0 if that is not known."""
    with suppress(ValueError):
        return datetime.fromisoformat(stored.fetched_at).timestamp()
    return 0.0
