"""The tools of the checks of a sink: records, batches, and a ledger in memory.

Rule: a sink is used as the engine uses it, and the first broken guarantee ends a check.

Records are compared as JSON values, in any order within a window, with the leniency that typed
columns need and no other: a field that is None counts as missing, also within an object; a whole
float is the integer (3.0 and 3); a `date` is its ISO text; ``_fetched_at`` is compared as a moment.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, NamedTuple

from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Field, Tally, Window
from harvester.sinks.base import Checkpoint, Sink, Written
from harvester.wechat.endpoint import JsonEndpoint

Make = Callable[[str], Sink]
Read = Callable[[str], "Iterable[Mapping[str, Any]] | Awaitable[Iterable[Mapping[str, Any]]]"]

ONE, OTHER = "wx0000000000000001", "wx0000000000000002"
UNKNOWN = "unknown_interface"
_FIRST = date(2024, 1, 1)
_STAMP = "2024-06-15T04:00:00Z"
_FIELDS = (
    Field("ref_date", "date", "the day"),
    Field("number", "int", "distinguishes a record from all others"),
    Field("share", "float", "a part of one"),
    Field("title", "str", "any text"),
    Field("open", "bool", "yes or no"),
    Field("detail", "object", "an object", (Field("a", "int"), Field("b", "str"))),
    Field("parts", "list", "a list", (Field("day", "date"), Field("n", "int"))),
    Field("ids", "list", "a list of numbers", item="int"),
)
ENDPOINTS = {
    name: JsonEndpoint(name, f"/datacube/{name}", _FIRST, fields=_FIELDS)
    for name in ("checked", "checked_too")
}


class BrokenPromiseError(AssertionError):
    """A sink breaks a guarantee of `harvester.sinks.base`; the message says which one."""


def record(number: int, **more: Any) -> dict[str, Any]:
    """A record of the interface that the checks use."""
    return {
        "ref_date": "2024-01-01", "number": number, "share": number / 7, "title": f"title {number}",
        "open": number % 2 == 0, "detail": {"a": number, "b": "x"},
        "parts": [{"day": "2024-01-01", "n": number}], "ids": [number, 1], **more,
    }  # fmt: skip


def batch(
    first: int,
    *records: int | dict[str, Any],
    days: int = 1,
    appid: str = ONE,
    endpoint: str = "checked",
) -> Batch:
    """The records of a window that begins ``first`` days after the first one."""
    begin = _FIRST + timedelta(days=first)
    window = Window(appid, endpoint, begin, begin + timedelta(days=days - 1))
    made = [record(one) if isinstance(one, int) else one for one in records]
    return Batch(window, made, _STAMP, endpoint=ENDPOINTS.get(endpoint))


def overlap(one: Window, other: Window) -> bool:
    """Whether two windows of one account and interface have a day in common."""
    return one[:2] == other[:2] and one.begin <= other.end and other.begin <= one.end


Held = dict[Window, Batch]


def after(held: Held, batches: Iterable[Batch]) -> Held:
    """What is stored in a sink once these have been written, one after the other."""
    held = dict(held)
    for new in batches:
        for window in [window for window in held if overlap(window, new.window)]:
            del held[window]
        held[new.window] = new
    return held


class Bench:
    """One destination and its ledger: a checkpoint, and the windows that were committed."""

    def __init__(self, name: str, promise: str, make: Make, read: Read | None = None) -> None:
        self.name = name
        self.checkpoint: Checkpoint = {}
        self.held: Held = {}
        self.epoch = 1
        self._promise = promise
        self._make = make
        self._read = read
        self._versions = count(1)
        self._crashed: list[Sink] = []

    def __repr__(self) -> str:
        return f"<Bench {self.name}, {len(self.held)} windows>"

    def make(self, name: str = "") -> Sink:
        """A sink on this destination, or on another one, as a new process has it."""
        return self._make(name or self.name)

    async def open(self) -> Sink:
        """The same, open, with what the ledger has stored for it."""
        sink = self.make()
        try:
            found = await sink.open(dict(self.checkpoint))
        except (SinkError, UsageError):
            await sink.close()
            if not self._crashed:
                raise
            await self.close_crashed()  # only the end of its process releases its lock
            sink = self.make()
            found = await sink.open(dict(self.checkpoint))
        self._crashed = [other for other in self._crashed if other is not sink]
        self.store(found)
        return sink

    def store(self, changed: Checkpoint) -> None:
        """As the ledger stores it: an empty value removes its key."""
        merged = {**self.checkpoint, **changed}
        self.checkpoint = {key: value for key, value in merged.items() if value}

    async def write(self, sink: Sink, *batches: Batch) -> Written:
        """Write, as the engine does before it commits."""
        for each in batches:
            each.version = next(self._versions)
            each.replaces = any(overlap(each.window, window) for window in self.held)
        return await sink.write(batches, {each.window.appid: self.epoch for each in batches})

    async def commit(self, sink: Sink, *batches: Batch, ledger: bool = True) -> None:
        """Write, then commit in the ledger, if one is kept."""
        written = await self.write(sink, *batches)
        if written.refused:
            raise self.broken(f"no account had a higher epoch, but {written.refused} were refused")
        if ledger:
            self.store(written.checkpoint)
        self.held = after(self.held, batches)

    async def run(self, *batches: Batch) -> None:
        """Open, commit, close."""
        sink = await self.open()
        await self.commit(sink, *batches)
        await self.end(sink)

    async def end(self, sink: Sink, *, ledger: bool = True) -> None:
        """Finish, store the result in the ledger, if one is kept, and close."""
        entries = await sink.finish()
        if ledger:
            self.store(entries)
        await sink.close()

    def crash(self, sink: Sink) -> None:
        """The process of this sink has ended without closing anything."""
        self._crashed.append(sink)

    async def close_crashed(self) -> None:
        """Release what a process releases when it ends."""
        while self._crashed:
            await self._crashed.pop().close()

    async def expect(self, sink: Sink | None = None, *, held: Held | None = None) -> None:
        """Check that the sink has what the ledger has committed, and nothing else.

        sink: an open one; else a fresh one is scanned, and what the caller reads is looked at too.
        """
        if how := await self.difference(sink, self.held if held is None else held):
            raise self.broken(how)

    async def expect_between(self, sink: Sink, before: Held, after: Held) -> None:
        """Check that each interface is in the state before or after the write."""
        if sink.scan is None:
            return
        found = self._scanned(sink)
        for name in {window.endpoint for window in (*found, *before, *after)}:
            here = {window: each for window, each in found.items() if window.endpoint == name}
            kept, written = (
                {w: each for w, each in held.items() if w.endpoint == name and each.records}
                for held in (before, after)
            )
            how = _difference_of_windows(here, written)
            if how and _difference_of_windows(here, kept):
                raise self.broken(f"{name} is neither as it was nor as it was written: {how}")

    async def difference(self, sink: Sink | None, held: Held) -> str:
        """What differs from the expected state, empty if nothing does."""
        wanted = {window: each for window, each in held.items() if each.records}
        scanned = self._scanned(sink) if (sink or self.make()).scan else None
        if scanned is not None and (how := _difference_of_windows(scanned, wanted)):
            return how
        if self._read is None or sink is not None:
            return ""
        found = self._read(self.name)
        if inspect.isawaitable(found):
            found = await found
        return _difference(
            Counter(map(_form, found)),
            Counter(_form(one) for each in wanted.values() for one in each.documents()),
        )

    def _scanned(self, sink: Any) -> dict[Window, Stored]:
        """The scan of all interfaces; without an open sink, up to the checkpoint."""
        found: dict[Window, Stored] = {}
        known = () if sink else (dict(self.checkpoint) or None,)
        sink = sink or self.make()
        for name in sink.endpoints(*known):
            windows = 0
            for window, tally, fetched_at, records, _ in sink.scan(name, None, *known):
                if window in found:
                    raise self.broken(f"scan returns {window} twice")
                found[window] = Stored(tally, fetched_at, Counter(map(_form, records())))
                windows += 1
            if not windows:
                raise self.broken(f"endpoints() returns {name}, which has no record")
        return found

    def broken(self, how: str) -> BrokenPromiseError:
        """The error of this check."""
        return BrokenPromiseError(f"{self.name}: {self._promise}: {how}")


class Stored(NamedTuple):
    """What is stored in a sink of a window."""

    tally: Tally
    fetched_at: str
    records: Counter[str]


def _as_written(batch: Batch) -> Stored:
    return Stored(batch.tally, batch.fetched_at, Counter(map(_form, batch.records)))


def _differ(found: Stored, wanted: Stored) -> str:
    """How what was found differs from what was written, empty if it does not."""
    if found.tally != wanted.tally:
        return f"its tally is {tuple(found.tally)}, and {tuple(wanted.tally)} was written"
    if _moment(found.fetched_at) != _moment(wanted.fetched_at):
        return f"it was fetched at {wanted.fetched_at}, not at {found.fetched_at}"
    return _difference(found.records, wanted.records)


def _difference_of_windows(found: Mapping[Window, Stored], wanted: Held) -> str:
    for window, stored in found.items():
        if window not in wanted:
            return f"scan returns {window}, which should not be there"
        if how := _differ(stored, _as_written(wanted[window])):
            return f"scan of {window}: {how}"
    if missing := [window for window in wanted if window not in found]:
        return f"scan lacks {len(missing)} of {len(wanted)} windows ({missing[0]})"
    return ""


def _form(given: Mapping[str, Any]) -> str:
    """A record as text, independent of the types with which its values are read back."""
    plain = {name: _plain(name, value) for name, value in given.items() if value is not None}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


_AS_THEY_ARE = frozenset({str, int, bool})  # most values; the other questions take long


@cache
def _moment(value: datetime | str) -> str:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(UTC).isoformat() if moment.tzinfo else moment.isoformat()


def _plain(name: str, value: Any) -> Any:
    if name == "_fetched_at":
        return _moment(value if isinstance(value, datetime) else str(value))
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain("", one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain("", one) for one in value]
    return value


def _difference(found: Counter[str], wanted: Counter[str]) -> str:
    parts = []
    if lost := wanted - found:
        parts.append(f"{lost.total()} of {wanted.total()} records are lost ({_one(lost)})")
    more = found - wanted
    if doubled := Counter({form: n for form, n in more.items() if form in wanted}):
        parts.append(f"{doubled.total()} records are there more than once ({_one(doubled)})")
    if foreign := Counter({form: n for form, n in more.items() if form not in wanted}):
        parts.append(f"{foreign.total()} records are there that should not be ({_one(foreign)})")
    return ", and ".join(parts)


def _one(forms: Counter[str]) -> str:
    form = min(forms)
    return form if len(form) <= 600 else f"{form[:600]}…"
