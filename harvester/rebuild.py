"""A new ledger, made from what stands in the sinks, in the place of one that is damaged or gone.

Rule: sends nothing, takes no record away, and keeps the former ledger under another name.

What no record tells is not known any more: days that hold none, what failed or waits, and the calls
of today.  The next run asks for such days.  It asks again, too, for what may not be whole or not
final: the window that was written last, and those whose figures grew when they were fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from harvester import durable
from harvester.committer import name_in
from harvester.coverage import harvested
from harvester.endpoint import Endpoint, final_at, grid
from harvester.errors import UsageError
from harvester.ledger import Cutting, Entry, Key, Ledger, Settled, Young
from harvester.lock import Claim
from harvester.model import Window
from harvester.pipeline import late_until
from harvester.plan import UNKNOWN_CUT, china, settles_at
from harvester.sinks.base import Adoptable, Found, Readable, Receipt, Sink, Typed, Verifiable
from harvester.sinks.segments import found_in

A_DAY = 86_400.0
_BESIDE = ("-wal", "-shm", "")
"""What SQLite keeps beside a file goes first: a log without its file does no harm."""


class Rebuilt(NamedTuple):
    """What was found in one sink.

    again: windows that the next run asks for again, since they may not be whole or not final.
    """

    sink: Sink
    accounts: int
    windows: int
    records: int
    again: int


async def rebuild(
    path: Path, sinks: Sequence[Sink], endpoints: Mapping[str, Endpoint], now: float
) -> tuple[list[Rebuilt], Path | None]:
    """Make the ledger at that path anew; gives what was found, and where the former one is now.

    endpoints: those that are known, by name; now: the Unix time.
    Raises `UsageError` if a run is under way or a sink cannot be read back, `SinkError` if what
    stands in one cannot be read; the ledger is then as it was.
    """
    for sink in sinks:
        if not isinstance(sink, Adoptable | Readable | Verifiable):
            raise UsageError(f"{sink.identity} cannot be read back; its days are asked for anew")
    claim = Claim(path.with_name(f"{path.name}.lock"), f"the directory {path.parent}")
    try:
        new = path.with_name(f"{path.name}.new")
        _remove(new)
        async with Ledger(new) as ledger:
            found = [
                await _take_in(ledger, name_in(sink, Ledger(path)), sink, endpoints)
                for sink in sinks
            ]
        former = _move_aside(path, now)
        durable.rename(new, path, "rebuilt ledger")
        _remove(new)
    finally:
        claim.release()
    return found, former


def _remove(new: Path) -> None:
    """What a rebuilding that was killed has left, and the lock of one that was not."""
    for beside in (*_BESIDE, ".lock"):
        left = new.with_name(new.name + beside)
        if left.exists():
            durable.remove(left, "draft of a ledger")


def _move_aside(path: Path, now: float) -> Path | None:
    stamp = f"{datetime.fromtimestamp(now).astimezone():%Y%m%d-%H%M%S}"
    place = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    there = path.exists()
    for beside in _BESIDE:
        former = path.with_name(path.name + beside)
        if former.exists():
            durable.rename(former, place.with_name(place.name + beside), "damaged ledger")
    return place if there else None


async def _take_in(
    ledger: Ledger, name: str, sink: Sink, endpoints: Mapping[str, Endpoint]
) -> Rebuilt:
    """Write into a ledger what stands in a sink."""
    receipt, found = await _adopted(sink)
    young = {window: Young(why) for window, why in _young(found, endpoints)}
    settled = [
        Settled(
            one.window, harvested((one.window.begin, one.window.end), one.records, one.checksum)
        )
        for one in found
    ]
    await ledger.commit([Entry(name, settled, receipt, provisional=young)])
    cuttings = [Cutting(name, *each) for each in _cut(found, endpoints)]
    await ledger.ask(_asked(one.window for one in found), cuttings)
    accounts = {one.window.appid for one in found}
    return Rebuilt(sink, len(accounts), len(found), sum(one.records for one in found), len(young))


async def _adopted(sink: Sink) -> tuple[Receipt, Sequence[Found]]:
    """What a sink wants to be told from now on, and what stands in it."""
    if isinstance(sink, Typed):
        sink.describe(())
    try:
        receipt = await sink.open({})
        if isinstance(sink, Adoptable):
            more, found = await sink.adopt()
            return {**receipt, **more}, found
    finally:
        await sink.close()
    if isinstance(sink, Readable):
        return receipt, found_in(sink.read_lines(receipt))
    assert isinstance(sink, Verifiable)
    windows: dict[Window, Found] = {}
    for window, records, intact in sink.stored(receipt):
        former = windows.get(window, Found(window, 0))
        windows[window] = Found(window, former.records + records, whole=former.whole and intact)
    return receipt, list(windows.values())


def _asked(windows: Iterable[Window]) -> list[tuple[str, str, date, date]]:
    """From the first to the last day of each interface of each account."""
    widest: dict[Key, tuple[date, date]] = {}
    for appid, endpoint, begin, end in windows:
        first, last = widest.get((appid, endpoint), (begin, end))
        widest[appid, endpoint] = (min(first, begin), max(last, end))
    return [(*key, *days) for key, days in widest.items()]


def _cut(found: Sequence[Found], endpoints: Mapping[str, Endpoint]) -> Iterator[tuple[str, str]]:
    """How the windows of each interface were cut, if they fit into what is known of it."""
    by_name: dict[str, list[Window]] = {}
    for one in found:
        by_name.setdefault(one.window.endpoint, []).append(one.window)
    for name, windows in by_name.items():
        kept = UNKNOWN_CUT
        if name in endpoints:
            cut = grid(endpoints[name], max(window.end for window in windows))
            if all(cut.holds((window.begin, window.end)) for window in windows):
                kept = cut.kept
        yield name, kept


# what is asked for again


def _young(
    found: Sequence[Found], endpoints: Mapping[str, Endpoint]
) -> Iterator[tuple[Window, str]]:
    """The windows that may not be whole, or not final, and why."""
    newest: dict[Key, float] = {}
    for one in found:
        key = _key(one.window)
        moment = _moment(one) or settles_at(one.window.end, 0)
        newest[key] = max(newest.get(key, 0.0), moment)
    for one in found:
        if why := _why_again(one, endpoints.get(one.window.endpoint), newest[_key(one.window)]):
            yield one.window, why


def _why_again(one: Found, endpoint: Endpoint | None, newest: float) -> str:
    """Why a window is asked for again; newest: when its interface was last asked.

    That is when it was fetched, if nobody says so: what can still change is asked for by each run.
    """
    end, moment = one.window.end, _moment(one) or newest
    if not one.whole:
        return "it may not have been written to its end"
    if endpoint is not None and endpoint.late_days and moment < (until := final_at(endpoint, end)):
        return f"its figures grow until {china(until).date()}"
    several = one.window.begin < end  # that its last day has records is not known
    young = endpoint is not None and several and moment < late_until(endpoint, end)
    if young and moment > newest - A_DAY:
        return "it was fetched within three days of its end, and its last day may have been late"
    return ""


def _moment(one: Found) -> float:
    """The Unix time when a window was fetched; 0 if that is not known."""
    with suppress(ValueError):
        return datetime.fromisoformat(one.fetched_at).timestamp()
    return 0.0


def _key(window: Window) -> Key:
    return window.appid, window.endpoint
