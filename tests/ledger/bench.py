"""The tools of the checks of a ledger: a ledger in memory, with which the other is compared.

Rule: a ledger is used as the engine uses it, and the first broken guarantee ends a check.

Empty entries may differ: a year of missing days, a sum of no records, an account without calls.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from harvester.base.dates import ONE_DAY, Days
from harvester.ledger import Ledger
from harvester.ledger.base import Exhausted, Key, Range, Ranges, Spent
from harvester.ledger.coverage import MISSING, Calendar, OpenWindow, Outcome
from harvester.model import Tally, Window
from harvester.testing.sink_bench import ONE, BrokenPromiseError

MakeLedger = Callable[[str], Ledger]
Crash = Callable[[Any], None]

FIRST = date(2023, 12, 20)
TODAY = date(2024, 2, 10)
NOW = 1_707_537_600.0
INTERFACE = "checked"


def day(number: int) -> date:
    """A day, by its distance from the first; from the twelfth on they are in another year."""
    return FIRST + timedelta(days=number)


def outcome(
    first: int,
    state: str = "final",
    records: int = 1,
    *,
    days: int = 1,
    appid: str = ONE,
    endpoint: str = INTERFACE,
    empty: int = 0,
    detail: str = "it grows",
) -> Outcome:
    """The outcome of a window that begins this number of days after the first one."""
    window = Window(appid, endpoint, day(first), day(first + days - 1))
    tally = Tally(records, 1_000_003 * (records + first)) if records else Tally()
    if state in ("final", "never"):
        return Outcome(window, state, tally, empty)
    if state in ("open", "late"):
        return Outcome(window, state, tally, 0, NOW + first, detail)
    return Outcome(window, state, Tally(), 0, NOW + first, detail, 45009, f"rid-{first}")


def _days_of(days: Days) -> Iterator[date]:
    for number in range((days[1] - days[0]).days + 1):
        yield days[0] + number * ONE_DAY


class Model:
    """What a ledger knows, in memory."""

    def __init__(self) -> None:
        self.calendars: dict[Key, Calendar] = {}
        self.asked: dict[Key, Ranges] = {}
        self.budget: Counter[tuple[Key, date]] = Counter()
        self.exhausted: dict[Key, Exhausted] = {}
        self.sinks: dict[str, str] = {}
        self.checkpoints: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def register(self, ranges: Iterable[Range]) -> None:
        """As `Ledger.register`."""
        for appid, endpoint, begin, end in ranges:
            known = self.asked.get((appid, endpoint), ())
            days = {day for each in (*known, (begin, end)) for day in _days_of(each)}
            firsts = sorted(day for day in days if day - ONE_DAY not in days)
            lasts = sorted(day for day in days if day + ONE_DAY not in days)
            self.asked[appid, endpoint] = tuple(zip(firsts, lasts, strict=True))

    def commit(
        self,
        outcomes: Iterable[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent],
    ) -> None:
        """As `Ledger.commit`."""
        for each in outcomes:
            self.calendar((each.window.appid, each.window.endpoint)).apply(each)
        for sink, entries in checkpoints.items():
            merged = {**self.checkpoints[sink], **entries}
            self.checkpoints[sink] = {key: value for key, value in merged.items() if value}
        for appid, endpoint, on, calls in spent:
            self.budget[(appid, endpoint), on] += calls

    def calendar(self, key: Key) -> Calendar:
        """The calendar of an interface of an account, a new one if there is none."""
        return self.calendars.setdefault(key, Calendar())

    def fold_future_calls(self, today: date) -> bool:
        """As `Ledger.fold_future_calls`."""
        later = {place: calls for place, calls in self.budget.items() if place[1] > today}
        for (key, on), calls in later.items():
            del self.budget[key, on]
            self.budget[key, today] += calls
        return bool(later)

    def spent(self, on: date) -> dict[Key, int]:
        """As `Ledger.spent`."""
        return {key: calls for (key, when), calls in self.budget.items() if when == on}

    @property
    def accounts(self) -> list[str]:
        """As `Ledger.accounts`."""
        return sorted({appid for appid, _ in (*self.calendars, *self.asked)})


class LedgerBench:
    """What is stored under one name, and what should be."""

    def __init__(
        self,
        name: str,
        promise: str,
        make: MakeLedger,
        reader: MakeLedger | None = None,
        crash: Crash | None = None,
    ) -> None:
        self.name = name
        self.model = Model()
        self._promise = promise
        self._make = make
        self._reader = reader
        self._crash = crash

    def __repr__(self) -> str:
        return f"<LedgerBench {self.name}, {len(self.model.calendars)} calendars>"

    def make(self) -> Ledger:
        """A ledger on what is stored, as a new process has it."""
        return self._make(self.name)

    def reader(self) -> Ledger:
        """One that only reads."""
        assert self._reader is not None
        return self._reader(self.name)

    def crash(self, ledger: Ledger) -> None:
        """The process that had it open is gone."""
        assert self._crash is not None
        self._crash(ledger)

    async def commit(
        self,
        ledger: Ledger,
        *outcomes: Outcome,
        checkpoints: Mapping[str, Mapping[str, str]] | None = None,
        spent: Sequence[Spent] = (),
    ) -> None:
        """Commit here and in memory."""
        await ledger.commit(outcomes, checkpoints or {}, iter(spent))
        self.model.commit(outcomes, checkpoints or {}, spent)

    async def register(self, ledger: Ledger, *ranges: Range) -> None:
        """Register here and in memory."""
        await ledger.register(iter(ranges))
        self.model.register(ranges)

    async def reopen(
        self,
        ledger: Ledger,
        key: Key,
        ranges: Sequence[Days],
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        """Make final windows open, here and in memory."""
        await ledger.reopen(key, ranges, windows, sums)
        self.model.calendar(key).reopen(ranges, windows, sums)

    async def forget(self, ledger: Ledger, key: Key, ranges: Sequence[Days]) -> None:
        """Make days missing, here and in memory."""
        await ledger.forget(key, ranges)
        self.model.calendar(key).forget(ranges)

    async def remove(self, ledger: Ledger, appid: str, endpoints: Sequence[str]) -> None:
        """Remove interfaces of an account, here and in memory."""
        await ledger.remove(appid, endpoints)
        for key in [(appid, endpoint) for endpoint in endpoints]:
            self.model.calendars.pop(key, None)
            self.model.asked.pop(key, None)

    async def fold_future_calls(self, ledger: Ledger, today: date) -> None:
        """Count calls as today's, here and in memory."""
        found, wanted = await ledger.fold_future_calls(today), self.model.fold_future_calls(today)
        if found != wanted:
            raise self.broken(f"fold_future_calls returns {found}, not {wanted}")

    async def list_sinks(self, ledger: Ledger, sinks: Mapping[str, str]) -> None:
        """List sinks, here and in memory."""
        await ledger.list_sinks(sinks)
        for name, copied in sinks.items():
            self.model.sinks[name] = max(self.model.sinks.get(name, ""), copied)

    async def unlist_sink(self, ledger: Ledger, sink: str) -> None:
        """Remove a sink from the list, here and in memory."""
        await ledger.unlist_sink(sink)
        self.model.sinks.pop(sink, None)
        self.model.checkpoints[sink] = {}

    async def note_exhausted(self, ledger: Ledger, quota: Exhausted) -> None:
        """WeChat's answer about a quota, here and in memory."""
        await ledger.note_exhausted(quota)
        self.model.exhausted[quota.appid, quota.endpoint] = quota

    # what it knows

    async def expect(self, ledger: Ledger | None = None, now: float = NOW) -> None:
        """Check that it knows every value, and nothing else; without a ledger, in a new process."""
        if ledger is None:
            async with self.make() as fresh:
                await self.expect(fresh, now)
            return
        model = self.model
        self._same("accounts", await ledger.accounts(), model.accounts)
        await self.expect_calendars(ledger, [*model.accounts, "wx-never-seen"])
        self._same("asked", await ledger.asked(), model.asked)
        for on in sorted({when for _, when in model.budget} | {TODAY}):
            spent = _without_zeros(await ledger.spent(on))
            self._same(f"spent of {on}", spent, _without_zeros(model.spent(on)))
            some = {key: calls for key, calls in spent.items() if key[0] in model.accounts[:1]}
            found = _without_zeros(await ledger.spent(on, model.accounts[:1]))
            self._same(f"spent of {on}, of one account", found, some)
        exhausted = {key: quota for key, quota in model.exhausted.items() if quota.until > now}
        self._same("exhausted", await ledger.exhausted(now), exhausted)
        sinks = await ledger.sinks()
        for name in sinks.keys() | model.sinks.keys():
            self._same(f"sinks, of {name}", sinks.get(name), model.sinks.get(name))
        for name, entries in model.checkpoints.items():
            self._same(f"the checkpoint of {name}", await ledger.checkpoint(name), entries)

    async def expect_calendars(self, ledger: Ledger, appids: Sequence[str]) -> None:
        """Check that it returns the calendars of these accounts, and no others."""
        found = await ledger.calendars(appids)
        for key in sorted(found.keys() | self.model.calendars.keys()):
            known = found.get(key, Calendar())
            wanted = self.model.calendars.get(key) if key[0] in appids else None
            if how := _differ(known, wanted or Calendar()):
                raise self.broken(f"{' '.join(key)}: {how}")

    def _same(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise self.broken(f"{what}: {_short(found)} is given, not {_short(wanted)}")

    def broken(self, how: str) -> BrokenPromiseError:
        """The error of this check."""
        return BrokenPromiseError(f"{self.name}: {self._promise}: {how}")


def _without_zeros(spent: Mapping[Key, int]) -> dict[Key, int]:
    return {key: calls for key, calls in spent.items() if calls}


def _differ(found: Calendar, wanted: Calendar) -> str:
    """How a calendar differs from the expected one, empty if it does not."""
    for year in sorted(found.years.keys() | wanted.years.keys()):
        row, right = (bytes(each.years.get(year, b"")) for each in (found, wanted))
        missing = bytes([MISSING]) * max(len(row), len(right))
        for number, (one, other) in enumerate(zip(row or missing, right or missing, strict=True)):
            if one != other:
                on = date(year, 1, 1) + timedelta(days=number)
                return f"{on} has the letter {chr(one)}, not {chr(other)}"
    for first in sorted(found.windows.keys() | wanted.windows.keys()):
        windows = found.windows.get(first), wanted.windows.get(first)
        if windows[0] != windows[1]:
            return f"the open window of {first} is {_short(windows[0])}, not {_short(windows[1])}"
    for year in sorted(found.sums.keys() | wanted.sums.keys()):
        sums = [each.sums.get(year, Tally()) for each in (found, wanted)]
        if sums[0] != sums[1]:
            return f"the sum of {year} is {_short(sums[0])}, not {_short(sums[1])}"
    return ""


def _short(value: object) -> str:
    text = repr(tuple(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 300 else f"{text[:300]}…"
