"""The suite for ledgers finds what is wrong: faults planted one by one in a sound ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import date, timedelta
from typing import Any, Self

import pytest

from harvester.coverage import Calendar, OpenWindow, Outcome
from harvester.ledger import Exhausted, Key, Spent
from harvester.ledger.base import KnownSink
from harvester.model import Tally
from harvester.plan import Days
from harvester.testing import LEDGER_CHECKS, BrokenPromiseError, check_ledger
from harvester.testing.check_shared import SHARED_CHECKS
from harvester.testing.ledger_bench import Model

DISKS: dict[str, Model] = {}
"""What outlives a process, by name."""


class Reference:
    """A ledger that keeps every promise, on a disk that is a dict."""

    path = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def disk(self) -> Model:
        return DISKS.setdefault(self.name, Model())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def register(
        self, ranges: Iterable[tuple[str, str, date, date]], sinks: Sequence[str]
    ) -> None:
        self.disk.register(ranges, sinks)

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        self.disk.commit(outcomes, checkpoints, list(spent))

    async def reopen(
        self,
        key: Key,
        days: Days | None,
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        self.disk.calendar(key).reopen(days, windows, sums)

    async def forget(self, key: Key, days: Days) -> None:
        self.disk.calendar(key).forget(*days)

    async def rebook(self, today: date) -> bool:
        return self.disk.rebook(today)

    async def learn_span(self, endpoint: str, days: int) -> None:
        self.disk.spans[endpoint] = min(self.disk.spans.get(endpoint, days), days)

    async def note_exhausted(self, said: Exhausted) -> None:
        self.disk.exhausted[said.appid, said.endpoint] = said

    async def checkpoint(self, sink: str) -> dict[str, str]:
        return dict(self.disk.checkpoints[sink])

    async def caught_up(self, sink: str, refilled: str = "") -> None:
        before = self.disk.sinks.get(sink, KnownSink(True)).refilled
        self.disk.sinks[sink] = KnownSink(True, max(before, refilled))

    async def sinks(self) -> dict[str, KnownSink]:
        return dict(self.disk.sinks)

    async def accounts(self) -> list[str]:
        return self.disk.accounts

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        return {
            key: deepcopy(calendar)
            for key, calendar in self.disk.calendars.items()
            if key[0] in {*appids}
        }

    async def asked(self) -> dict[Key, Days]:
        return dict(self.disk.asked)

    async def spent(self, day: date) -> dict[Key, int]:
        return self.disk.spent(day)

    async def spans(self) -> dict[str, int]:
        return dict(self.disk.spans)

    async def exhausted(self, now: float) -> dict[Key, Exhausted]:
        return {key: said for key, said in self.disk.exhausted.items() if said.until > now}


class KnowsAnAccount(Reference):
    async def accounts(self) -> list[str]:
        return sorted({*await super().accounts(), "wx0"})


class KnowsASink(Reference):
    async def sinks(self) -> dict[str, KnownSink]:
        return {"memory:": KnownSink(True), **await super().sinks()}


class Changes(Reference):
    """It stores outcomes otherwise than they came."""

    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        raise NotImplementedError

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        await super().commit(self.changed(outcomes), checkpoints, spent)


class DropsReasons(Changes):
    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [each._replace(detail="") for each in outcomes]


class DropsRequestIds(Changes):
    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [each._replace(rid="") for each in outcomes]


class ForgetsEmptyDays(Changes):
    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [each._replace(empty=0) for each in outcomes]


class CallsLateOpen(Changes):
    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [each._replace(state=each.state.replace("late", "open")) for each in outcomes]


class KeepsOnlyTheFirstInterface(Changes):
    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [each for each in outcomes if each.window.endpoint == "checked"]


class CutsLongWindows(Changes):
    """It keeps no more than a week of bits."""

    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [
            each._replace(window=each.window._replace(end=each.window.begin + timedelta(days=9)))
            if (each.window.end - each.window.begin).days > 9
            else each
            for each in outcomes
        ]


class FinalOnesFirst(Changes):
    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return sorted(outcomes, key=lambda each: each.state != "final")


class KeepsTheFirstTally(Changes):
    """The tally of an open window stays that of the run that fetched it first."""

    def changed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        found = []
        for each in outcomes:
            known = self.disk.calendars.get(each.window[:2], Calendar())
            former = known.windows.get(each.window.begin)
            if former is not None and former.stored and each.state == "open":
                each = each._replace(tally=former.tally)
            found.append(each)
        return found


class CountsOpenWindows(Reference):
    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        found = await super().calendars(appids)
        for calendar in found.values():
            for window in calendar.windows.values():
                known = calendar.sums.get(window.begin.year, Tally())
                if known is not None:
                    calendar.sums[window.begin.year] = known.plus(window.tally)
        return found


class MergesTwice(Reference):
    """What came with every fiftieth commit is laid into the calendars once more."""

    commits = 0

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        await super().commit(outcomes, checkpoints, spent)
        self.commits += 1
        if self.commits % 50 == 0:
            self.disk.commit(outcomes, {}, ())


class ForgetsCallsWhenItMerges(Reference):
    commits = 0

    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        self.commits += 1
        await super().commit(outcomes, checkpoints, spent if self.commits % 50 else ())


class GivesAllAccounts(Reference):
    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        return await super().calendars(self.disk.accounts)


class GivesFourHundred(Reference):
    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        return await super().calendars(appids[:400])


class DoesNotKnowWhatWasOnlyAsked(Reference):
    async def accounts(self) -> list[str]:
        return sorted({appid for appid, _ in self.disk.calendars})


class StoresBeforeItReads(Reference):
    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        self.disk.commit(outcomes, checkpoints, ())
        self.disk.commit((), {}, list(spent))


class GivesItsOwnCalendars(Reference):
    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        return {key: one for key, one in self.disk.calendars.items() if key[0] in {*appids}}


class GivesItsOwnRanges(Reference):
    async def asked(self) -> dict[Key, Days]:
        return self.disk.asked


class KeepsEmptyValues(Reference):
    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        await super().commit(outcomes, checkpoints, spent)
        for sink, entries in checkpoints.items():
            self.disk.checkpoints[sink].update(entries)


class StoresWithoutRemoving(Reference):
    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        full = {
            sink: {key: value for key, value in entries.items() if value}
            for sink, entries in checkpoints.items()
        }
        await super().commit(outcomes, full, spent)


class KeepsOnlyTheLatestEntries(Reference):
    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        for sink in checkpoints:
            self.disk.checkpoints[sink].clear()
        await super().commit(outcomes, checkpoints, spent)


class IsNeverBehind(Reference):
    async def register(
        self, ranges: Iterable[tuple[str, str, date, date]], sinks: Sequence[str]
    ) -> None:
        await super().register(ranges, list(self.disk.sinks))


class IsReadyOnceItIsRegistered(Reference):
    async def register(
        self, ranges: Iterable[tuple[str, str, date, date]], sinks: Sequence[str]
    ) -> None:
        await super().register(ranges, sinks)
        self.disk.sinks.update(dict.fromkeys(sinks, KnownSink(True)))


class ForgetsWhatIsBehind(Reference):
    async def sinks(self) -> dict[str, KnownSink]:
        return {name: known for name, known in self.disk.sinks.items() if known.whole}


class ForgetsWhatWasTakenOver(Reference):
    async def caught_up(self, sink: str, refilled: str = "") -> None:
        self.disk.sinks[sink] = KnownSink(True, refilled)


class KeepsTheLatestRange(Reference):
    async def register(
        self, ranges: Iterable[tuple[str, str, date, date]], sinks: Sequence[str]
    ) -> None:
        ranges = list(ranges)
        for appid, endpoint, *_ in ranges:
            self.disk.asked.pop((appid, endpoint), None)
        await super().register(ranges, sinks)


class KeepsTheFirstDay(Reference):
    async def asked(self) -> dict[Key, Days]:
        return {key: (first, first) for key, (first, _) in self.disk.asked.items()}


class SetsCalls(Reference):
    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        spent = list(spent)
        for appid, endpoint, on, _ in spent:
            del self.disk.budget[(appid, endpoint), on]
        await super().commit(outcomes, checkpoints, spent)


class GivesNoCallBack(Reference):
    async def commit(
        self,
        outcomes: Sequence[Outcome],
        checkpoints: Mapping[str, Mapping[str, str]],
        spent: Iterable[Spent] = (),
    ) -> None:
        given = [each for each in spent if each.calls > 0]
        await super().commit(outcomes, checkpoints, given)


class IsNeverBelowZero(Reference):
    async def spent(self, day: date) -> dict[Key, int]:
        return {key: max(calls, 0) for key, calls in (await super().spent(day)).items()}


class CountsByAccount(Reference):
    async def spent(self, day: date) -> dict[Key, int]:
        found = await super().spent(day)
        return {key: sum(n for other, n in found.items() if other[0] == key[0]) for key in found}


class DropsLaterDays(Reference):
    async def rebook(self, today: date) -> bool:
        later = [place for place in self.disk.budget if place[1] > today]
        for place in later:
            del self.disk.budget[place]
        return bool(later)


class CountsLaterDaysTwice(Reference):
    async def rebook(self, today: date) -> bool:
        before = {place: n for place, n in self.disk.budget.items() if place[1] > today}
        found = self.disk.rebook(today)
        self.disk.budget.update(before)
        return found


class RebooksOneDay(Reference):
    async def rebook(self, today: date) -> bool:
        tomorrow = today + timedelta(days=1)
        others = {place: n for place, n in self.disk.budget.items() if place[1] > tomorrow}
        for place in others:
            del self.disk.budget[place]
        found = self.disk.rebook(today)
        self.disk.budget.update(others)
        return found


class RebooksEveryDay(Reference):
    async def rebook(self, today: date) -> bool:
        before = [place for place in self.disk.budget if place[1] < today]
        found = self.disk.rebook(today)
        for key, on in before:
            self.disk.budget[key, today] += self.disk.budget.pop((key, on))
        return found


class DoesNotSayThatItRebooked(Reference):
    async def rebook(self, today: date) -> bool:
        self.disk.rebook(today)
        return False


class KeepsTheLatestSpan(Reference):
    async def learn_span(self, endpoint: str, days: int) -> None:
        self.disk.spans[endpoint] = days


class KeepsTheLongestWait(Reference):
    async def note_exhausted(self, said: Exhausted) -> None:
        former = self.disk.exhausted.get((said.appid, said.endpoint), said)
        await super().note_exhausted(max(former, said, key=lambda each: each.until))


class IsSpentForASecondMore(Reference):
    async def exhausted(self, now: float) -> dict[Key, Exhausted]:
        return await super().exhausted(now - 1)


class ReopensNoDays(Reference):
    async def reopen(
        self,
        key: Key,
        days: Days | None,
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        await super().reopen(key, None, windows, sums)


class ReopensWithoutSums(Reference):
    async def reopen(
        self,
        key: Key,
        days: Days | None,
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        await super().reopen(key, days, windows, {})


class TakesNoSumForNone(Reference):
    async def reopen(
        self,
        key: Key,
        days: Days | None,
        windows: Sequence[OpenWindow],
        sums: Mapping[int, Tally | None],
    ) -> None:
        known = {year: tally or Tally() for year, tally in sums.items()}
        await super().reopen(key, days, windows, known)


class ForgetsNothing(Reference):
    async def forget(self, key: Key, days: Days) -> None: ...


class ForgetsAndKnowsTheSum(Reference):
    async def forget(self, key: Key, days: Days) -> None:
        before = dict(self.disk.calendar(key).sums)
        await super().forget(key, days)
        self.disk.calendar(key).sums.update(before)


class LosesCallsWhereItForgets(Reference):
    """Two promises that are each kept alone."""

    async def forget(self, key: Key, days: Days) -> None:
        await super().forget(key, days)
        for place in [place for place in self.disk.budget if place[0] == key]:
            del self.disk.budget[place]


class StoresWhenItIsClosed(Reference):
    """Until then it is in memory alone."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.mine: Model | None = None

    @property
    def disk(self) -> Model:
        if self.mine is None:
            self.mine = deepcopy(DISKS.setdefault(self.name, Model()))
        return self.mine

    async def __aexit__(self, *exc_info: object) -> None:
        DISKS[self.name] = self.disk


class ReadsWhenItIsOpened(Reference):
    """It looks once, and sees nothing of what others do later."""

    mine: Model | None = None

    @property
    def disk(self) -> Model:
        return super().disk if self.mine is None else self.mine

    async def __aenter__(self) -> Self:
        self.mine = deepcopy(super().disk)
        return self


FAULTS: dict[type[Reference], str] = {
    KnowsAnAccount: "new",
    KnowsASink: "new",
    DropsReasons: "commit",
    DropsRequestIds: "commit",
    ForgetsEmptyDays: "commit",
    CallsLateOpen: "commit",
    KeepsOnlyTheFirstInterface: "commit",
    CountsOpenWindows: "commit",
    KeepsTheFirstTally: "again",
    FinalOnesFirst: "late_and_final",
    MergesTwice: "one_by_one",
    ForgetsCallsWhenItMerges: "one_by_one",
    GivesAllAccounts: "accounts",
    GivesFourHundred: "accounts",
    DoesNotKnowWhatWasOnlyAsked: "accounts",
    StoresBeforeItReads: "nothing_of_it",
    GivesItsOwnCalendars: "copies",
    GivesItsOwnRanges: "copies",
    KeepsEmptyValues: "checkpoint",
    StoresWithoutRemoving: "checkpoint",
    KeepsOnlyTheLatestEntries: "checkpoint",
    IsNeverBehind: "sinks",
    IsReadyOnceItIsRegistered: "sinks",
    ForgetsWhatIsBehind: "sinks",
    ForgetsWhatWasTakenOver: "sinks",
    KeepsTheLatestRange: "asked",
    KeepsTheFirstDay: "asked",
    SetsCalls: "spent",
    GivesNoCallBack: "spent",
    IsNeverBelowZero: "spent",
    CountsByAccount: "spent",
    DropsLaterDays: "rebook",
    CountsLaterDaysTwice: "rebook",
    RebooksOneDay: "rebook",
    RebooksEveryDay: "rebook",
    DoesNotSayThatItRebooked: "rebook",
    KeepsTheLatestSpan: "spans",
    KeepsTheLongestWait: "exhausted",
    IsSpentForASecondMore: "exhausted",
    ReopensNoDays: "reopen",
    ReopensWithoutSums: "reopen",
    TakesNoSumForNone: "reopen",
    ForgetsNothing: "forget",
    ForgetsAndKnowsTheSum: "forget",
    CutsLongWindows: "any_order",
    LosesCallsWhereItForgets: "any_order",
    StoresWhenItIsClosed: "crash",
    ReadsWhenItIsOpened: "reader",
}
"""A ledger with one fault, and the check that is there for it."""


async def check(kind: type[Reference], only: str | None = None) -> None:
    DISKS.clear()
    reader = kind if kind is ReadsWhenItIsOpened else Reference
    await check_ledger(kind, reader=reader, crash=lambda ledger: None, only=only)


@pytest.mark.parametrize("name", LEDGER_CHECKS)
def test_a_sound_ledger_passes_all_of_it(name: str) -> None:
    asyncio.run(check(Reference, name))


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found_by_the_check_that_is_there_for_it(kind: type[Reference]) -> None:
    with pytest.raises(BrokenPromiseError, match=rf"^{FAULTS[kind]}: "):
        asyncio.run(check(kind, FAULTS[kind]))


def test_for_each_check_there_is_a_fault_that_it_finds() -> None:
    assert set(FAULTS.values()) == set(LEDGER_CHECKS) - set(SHARED_CHECKS)


def test_what_is_broken_is_said_in_one_sentence() -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        asyncio.run(check(DropsLaterDays, "rebook"))
    said = str(caught.value)
    assert said.startswith(
        "rebook: Calls of future days are counted as today's, and the method returns whether there"
        " are any: spent of 2024-02-10: {('wx0000000000000001', 'checked'): 1} is given, not {"
    )
    assert "\n" not in said


class BreaksDown(Reference):
    async def spans(self) -> dict[str, int]:
        raise RuntimeError("no table span")


def test_a_ledger_that_breaks_down_is_told_by_what_it_raised() -> None:
    with pytest.raises(BrokenPromiseError, match=r"^spans: .*: RuntimeError: no table span$"):
        asyncio.run(check(BreaksDown, "spans"))


def test_a_check_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no check 'cmmit'; there are new, commit, "):
        asyncio.run(check(Reference, "cmmit"))


@pytest.mark.parametrize(
    ("kind", "given"), [(StoresWhenItIsClosed, "reader"), (ReadsWhenItIsOpened, "crash")]
)
def test_what_needs_a_reader_or_a_crash_is_not_tried_without(
    kind: type[Reference], given: str
) -> None:
    DISKS.clear()
    how: dict[str, Any] = {"reader": Reference} if given == "reader" else {"crash": lambda _: None}
    name = FAULTS[kind]
    asyncio.run(check_ledger(kind if kind is StoresWhenItIsClosed else Reference, only=name, **how))


def test_a_crash_may_be_a_coroutine() -> None:
    ended = []

    async def crash(ledger: Reference) -> None:
        await asyncio.sleep(0)
        ended.append(ledger)

    DISKS.clear()
    asyncio.run(check_ledger(Reference, crash=crash, only="crash"))
    assert len(ended) == 70
