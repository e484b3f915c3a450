"""Makes a new ledger from the records in a sink, to replace one that is damaged or lost.

Rule: sends nothing, removes no record, and keeps the old ledger under another name.  Until the new
ledger is complete, and takes the old one's name by one rename, nothing has changed.

The records do not show everything: days without records, failed and waiting windows, and the calls
of today are lost.  The next run requests such days.  It also requests windows again that may be
incomplete or not final: those that may have been cut off, and those whose figures could change
when fetched.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from harvester.base import files as durable
from harvester.base.dates import china, settles_at
from harvester.base.lock import FileLock
from harvester.errors import LedgerError, NoLedgerError, UsageError
from harvester.ledger import Ledger, PostgresLedger, SqliteLedger
from harvester.ledger.coverage import DONE, Calendar, Outcome
from harvester.model import Endpoint, Window
from harvester.sinks.base import Sink, StoredWindow, name_in
from harvester.upkeep.scan import Endpoints, endpoints_in, scanned
from harvester.wechat.late import Delivery, delivery, final_at, waits_until

A_DAY = 86_400.0
_BESIDE = ("-wal", "-shm")
"""SQLite's files beside the database, if it was not closed."""


class Rebuilt(NamedTuple):
    """The result.

    sink: the one that was read.  again: windows that the next run requests again, since they may be
    incomplete or not final; apart: those that not every listed sink has, which it requests, too.
    unlisted: sinks that cannot be read back.  former: where the old ledger is now, empty if there
    was none.
    """

    sink: Sink
    accounts: int
    windows: int
    records: int
    again: int
    apart: int = 0
    unlisted: Sequence[Sink] = ()
    former: str = ""


async def rebuild(path: Path, sinks: Sequence[Sink], find: Endpoints, now: float) -> Rebuilt:
    """Make a new ledger at that path from the first sink that can be scanned.

    find: returns an interface by its name; now: the Unix time.
    Raises `UsageError` if a run is under way or no sink can be scanned, `SinkError` if the content
    of one cannot be read; the ledger is then as it was.
    """
    source = _source(sinks)
    await _close(path)
    claim = FileLock(path.with_name(f"{path.name}.lock"), f"the directory {path.parent}")
    try:
        new = path.with_name(f"{path.name}.new")
        _remove(new)
        async with SqliteLedger(new) as ledger:
            found = await _fill(ledger, path, sinks, source, find)
        former = _keep(path, now)
        durable.rename(new, path, "rebuilt ledger")
        _remove(new)
    finally:
        claim.release()
    return found._replace(former="" if former is None else str(former))


async def rebuild_shared(
    ledger: PostgresLedger, sinks: Sequence[Sink], find: Endpoints, now: float
) -> Rebuilt:
    """The same for a shared ledger: it is made in a new schema, which then replaces the old one.

    Raises `UsageError` if workers are running.
    """
    source = _source(sinks)
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%d_%H%M%S_%f}"
    async with ledger, ledger.alone():
        if any(worker.alive for worker in await ledger.workers()):
            raise UsageError(f"workers of {ledger.where} are running; wait until they have ended")
        holds = bool(await ledger.accounts())
        draft = await ledger.draft()
        async with draft:
            found = await _fill(draft, None, sinks, source, find)
            latest = [await draft.checkpoint(name_in(sink, None)) for sink in sinks]
            epochs = [int(each.get("epoch", 0)) for each in latest]
            await draft.begin_after(max(*epochs, await ledger.highest_epoch()) + 1)
        former = await ledger.replace_with(draft, stamp)
    return found._replace(former=f"the schema {former}" if holds else "")


def _source(sinks: Sequence[Sink]) -> Sink:
    source = next((sink for sink in sinks if sink.scan is not None), None)
    if source is None:
        names = ", ".join(sink.identity for sink in sinks)
        raise UsageError(f"{names} cannot be read back; its days are asked for anew")
    return source


async def _fill(
    ledger: Ledger, path: Path | None, sinks: Sequence[Sink], source: Sink, find: Endpoints
) -> Rebuilt:
    """Write the source's windows into a new ledger, which will be at that path.

    It lists the sinks that can be read back.  What one of them lacks is left out: the next run
    requests it, and nothing is removed from the others.
    """
    listed = [source, *[each for each in sinks if each is not source and each.scan]]
    for sink in listed:
        try:
            entries = await sink.open(None)
        finally:
            await sink.close()
        await ledger.commit([], {name_in(sink, path): entries})
    found = await _take_in(ledger, source, listed[1:], find)
    await ledger.list_sinks({name_in(sink, path): "" for sink in listed})
    return found._replace(unlisted=[each for each in sinks if each not in listed])


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


def _keep(path: Path, now: float) -> Path | None:
    """Give the old ledger a second name; the log of a damaged one is moved there."""
    if not path.exists():
        for beside in _BESIDE:  # a log without its ledger would be read into the new one
            path.with_name(path.name + beside).unlink(missing_ok=True)
        return None
    stamp = f"{datetime.fromtimestamp(now).astimezone():%Y%m%d-%H%M%S}"
    place = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    try:
        with durable.step("link damaged ledger"):
            os.link(path, place)
    except OSError:  # a file system without links
        durable.rename(path, place, "damaged ledger")
    for beside in _BESIDE:
        former = path.with_name(path.name + beside)
        if former.exists():
            durable.rename(former, place.with_name(place.name + beside), "damaged ledger")
    return place


async def _take_in(
    ledger: Ledger, source: Sink, others: Sequence[Sink], find: Endpoints
) -> Rebuilt:
    """Write the windows of a sink into a ledger, except days that another sink lacks."""
    accounts = set[str]()
    windows = records = again = apart = 0
    for name in await endpoints_in(source):
        reading = _Reading(find(name))
        days = [await _days_in(other, name) for other in others]
        async for group in scanned(source, name):
            stored = [
                each
                for each, _ in group
                if all(_has(calendars.get(each.window.appid), each.window) for calendars in days)
            ]
            for each, _ in group:
                reading.widen(each.window)
            windows += len(stored)
            apart += len(group) - len(stored)
            records += sum(each.tally.records for each in stored)
            await ledger.commit(reading.outcomes(stored), {})
        await ledger.commit(reading.last(), {})
        await ledger.register(reading.ranges(name))
        accounts |= reading.asked.keys()
        again += reading.again
    return Rebuilt(source, len(accounts), windows, records, again, apart)


async def _days_in(sink: Sink, endpoint: str) -> dict[str, Calendar]:
    """The days of an interface that have records in a sink, by account."""
    found: defaultdict[str, Calendar] = defaultdict(Calendar)
    if endpoint in await endpoints_in(sink):
        async for group in scanned(sink, endpoint):
            for each, _ in group:
                found[each.window.appid].apply(Outcome(each.window, "final"))
    return found


def _has(calendar: Calendar | None, window: Window) -> bool:
    """Whether a sink has records of a window's days."""
    days = window.begin, window.end
    return calendar is not None and list(calendar.runs(*days, DONE)) == [days]


class _Reading:
    """The windows of one interface as they are read, as outcomes for the ledger.

    endpoint: None if it is no longer known.  asked: the first and the last day, by account.
    """

    def __init__(self, endpoint: Endpoint | None) -> None:
        self._endpoint = endpoint
        self.asked: dict[str, tuple[date, date]] = {}
        self.again = 0
        self._newest: dict[str, float] = {}
        self._undecided: list[StoredWindow] = []

    def widen(self, window: Window) -> None:
        """A window that was requested once."""
        appid, _, begin, end = window
        first, last = self.asked.get(appid, (begin, end))
        self.asked[appid] = (min(first, begin), max(last, end))

    def outcomes(self, group: Iterable[StoredWindow]) -> list[Outcome]:
        """The outcomes that are certain."""
        found = []
        for each in group:
            appid, _, _, end = each.window
            moment = _moment(each) or settles_at(end, 0)
            self._newest[appid] = max(self._newest.get(appid, 0.0), moment)
            found += self._clear(each)
        return found

    def last(self) -> list[Outcome]:
        """The remaining outcomes, after all windows have been read."""
        found = []
        for each in self._undecided:
            moment = _moment(each)
            if moment > self._newest[each.window.appid] - A_DAY:
                why = "it was fetched within three days of its last figures, which may be late"
                found.append(self._open(each, why))
            else:  # it was requested again since, if it could still change
                found.append(Outcome(each.window, "final", each.tally))
        return found

    def ranges(self, name: str) -> list[tuple[str, str, date, date]]:
        """The first and the last day of each account."""
        return [(appid, name, *days) for appid, days in self.asked.items()]

    def _clear(self, each: StoredWindow) -> list[Outcome]:
        if not each.whole:
            return [self._open(each, "it may not have been written to its end")]
        endpoint, window, moment = self._endpoint, each.window, _moment(each)
        if endpoint is not None and moment:
            if endpoint.late_days and moment < (until := final_at(endpoint, window.end)):
                return [self._open(each, f"its figures can change until {china(until).date()}")]
            held = delivery(endpoint) is Delivery.ENTRIES or window.begin < window.end
            if held and moment < waits_until(endpoint, window.end):
                self._undecided.append(each._replace(records=_nothing))
                return []
        return [Outcome(window, "final", each.tally)]

    def _open(self, each: StoredWindow, why: str) -> Outcome:
        self.again += 1
        return Outcome(each.window, "open", each.tally, detail=why, fetched_at=each.fetched_at)


def _nothing() -> list[dict[str, object]]:
    return []


def _moment(stored: StoredWindow) -> float:
    """The Unix time when a window was fetched; 0 if that is not known."""
    with suppress(ValueError):
        return datetime.fromisoformat(stored.fetched_at).timestamp()
    return 0.0
