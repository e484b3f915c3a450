"""What the checks of a sink are made with: records, batches, and a ledger in memory.

Rule: a sink is used as the engine uses it, and a check is told by its first broken promise.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from harvester.codec import checksum, lines
from harvester.endpoint import Field, JsonEndpoint
from harvester.model import Batch, Tally, Window, metadata
from harvester.sinks.base import Readable, Receipt, Sink, Typed, Verifiable, Written

Make = Callable[[str], Sink]
Read = Callable[[str], "Iterable[Mapping[str, Any]] | Awaitable[Iterable[Mapping[str, Any]]]"]
Remove = Callable[[str], object]

_FIRST = date(2024, 1, 1)
_STAMP = "2024-06-15T04:00:00Z"
_FIELDS = (
    Field("ref_date", "date", "the day"),
    Field("number", "int", "tells a record from all others"),
    Field("share", "float", "a part of one"),
    Field("title", "str", "any text"),
    Field("open", "bool", "yes or no"),
    Field("detail", "object", "an object", (Field("a", "int"), Field("b", "str"))),
    Field("parts", "list", "a list", (Field("day", "date"), Field("n", "int"))),
    Field("ids", "list", "a list of numbers", item="int"),
)
ENDPOINTS = (
    JsonEndpoint("checked", "/datacube/checked", _FIRST, fields=_FIELDS),
    JsonEndpoint("checked_too", "/datacube/checked_too", _FIRST, fields=_FIELDS),
)


class BrokenPromiseError(AssertionError):
    """A sink does not do what `harvester.sinks.base` promises; one sentence says what."""


def record(number: int, **more: Any) -> dict[str, Any]:
    """A record as the interface that is checked gives it."""
    return {
        "ref_date": "2024-01-01", "number": number, "share": number / 7, "title": f"title {number}",
        "open": number % 2 == 0, "detail": {"a": number, "b": "x"},
        "parts": [{"day": "2024-01-01", "n": number}], "ids": [number, 1], **more,
    }  # fmt: skip


def batch(
    first: int,
    *records: int | dict[str, Any],
    days: int = 1,
    appid: str = "wx0000000000000001",
    endpoint: str = "checked",
    replaces: bool = False,
) -> Batch:
    """The records of a window that begins ``first`` days after the first one."""
    begin = _FIRST + timedelta(days=first)
    window = Window(appid, endpoint, begin, begin + timedelta(days=days - 1))
    made = [record(one) if isinstance(one, int) else one for one in records]
    encoded = lines(made, metadata(window, _STAMP))
    return Batch(window, _STAMP, len(made), b"".join(encoded), checksum(encoded), replaces)


class Bench:
    """One target, and the receipts that its ledger has stored."""

    def __init__(
        self, name: str, promise: str, make: Make, read: Read, remove: Remove | None = None
    ) -> None:
        self.name = name
        self.receipt: Receipt = {}
        self._promise = promise
        self._make = make
        self._read = read
        self._remove = remove

    def __repr__(self) -> str:
        return f"<Bench {self.name}, {len(self.receipt)} keys>"

    def make(self) -> Sink:
        """A sink on this target as a new process has it, told what will come."""
        sink = self._make(self.name)
        if isinstance(sink, Typed):
            sink.describe(ENDPOINTS)
        return sink

    async def open(self, *, ledger: bool = True) -> Sink:
        """The same, open: with all that its ledger has stored, or without a ledger."""
        sink = self.make()
        try:
            found = await sink.open(dict(self.receipt) if ledger else None)
        except BaseException:
            await sink.close()
            raise
        if ledger:
            self.store(found)
        return sink

    def store(self, receipt: Receipt) -> None:
        """As the ledger stores it."""
        self.receipt.update(receipt)
        for key in [key for key, value in self.receipt.items() if not value]:
            del self.receipt[key]

    async def commit(self, sink: Sink, *batches: Batch) -> Written:
        """Write, store, settle."""
        written = await sink.write(batches)
        self.store(written.receipt)
        await sink.settle()
        return written

    async def all(self, *batches: Batch) -> None:
        """Open, commit, close."""
        sink = await self.open()
        await self.commit(sink, *batches)
        await sink.close()

    async def remove(self) -> None:
        """Delete the target, as somebody else would."""
        assert self._remove is not None
        done = self._remove(self.name)
        if inspect.isawaitable(done):
            await done

    async def standing(self) -> Counter[str]:
        """The records that stand in the target, in one form each."""
        found = self._read(self.name)
        if inspect.isawaitable(found):
            found = await found
        return Counter(_form(one) for one in found)

    async def expect(self, *batches: Batch) -> None:
        """That exactly these records stand there."""
        await self.expect_one_of(batches)

    async def expect_one_of(self, *choices: Sequence[Batch]) -> None:
        """That exactly the records of one of these choices stand there."""
        found = await self.standing()
        wanted = [Counter(_form(r) for b in batches for r in b.documents()) for batches in choices]
        if found not in wanted:
            raise self.broken(_difference(found, wanted[0]))

    def expect_replaced(self, sink: Sink, written: Written, *batches: Batch) -> None:
        """That a write has told the figures of what it took the place of, if they are looked at."""
        if not isinstance(sink, Readable | Verifiable):
            return
        total = Tally(sum(b.records for b in batches), sum(b.checksum for b in batches))
        told = list(written.replaced.values())
        if told != [total]:
            raise self.broken(f"Written.replaced says {told}, and it was {total}")

    def broken(self, how: str) -> BrokenPromiseError:
        """The error of this check."""
        return BrokenPromiseError(f"{self.name}: {self._promise}: {how}")


def _form(given: Mapping[str, Any]) -> str:
    """A record as text, the same whatever types its values have come back with."""
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
        return int(value)  # a column of floats holds 3 as 3.0
    if isinstance(value, Mapping):
        return {key: _plain("", one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain("", one) for one in value]
    return value


def _difference(found: Counter[str], wanted: Counter[str]) -> str:
    said = []
    if lost := wanted - found:
        said.append(f"{lost.total()} of {wanted.total()} records are lost ({_one(lost)})")
    more = found - wanted
    if doubled := Counter({form: n for form, n in more.items() if form in wanted}):
        said.append(f"{doubled.total()} records are there more than once ({_one(doubled)})")
    if foreign := Counter({form: n for form, n in more.items() if form not in wanted}):
        said.append(f"{foreign.total()} records are there that should not be ({_one(foreign)})")
    return ", and ".join(said)


def _one(forms: Counter[str]) -> str:
    form = min(forms)
    return form if len(form) <= 600 else f"{form[:600]}…"
