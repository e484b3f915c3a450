"""The checks of ledgers find what is wrong: faults planted one by one in a sound ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import date, timedelta
from inspect import isawaitable
from typing import Any, Self, TypeVar, cast

import pytest

from harvester.base.dates import Days
from harvester.base.fencing import contradicted
from harvester.errors import LedgerError
from harvester.ledger import Exhausted, Key, Spent
from harvester.ledger.coverage import Calendar, Outcome
from harvester.model import Tally
from harvester.testing import BrokenPromiseError
from tests.ledger.bench import Model
from tests.ledger.checks import LEDGER_CHECKS, check_ledger

T = TypeVar("T")
DISKS: dict[str, Model] = {}
"""What outlives a process, by name."""


class Reference:
    """A ledger that keeps every promise, on a disk that is a dict."""

    path = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.commits = 0

    @property
    def disk(self) -> Model:
        return DISKS.setdefault(self.name, Model())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def register(self, ranges: Iterable[Any]) -> None:
        self.disk.register(ranges)

    async def commit(
        self, outcomes: Sequence[Outcome], checkpoints: Any, spent: Iterable[Spent] = ()
    ) -> None:
        self.commits += 1
        for sink, entries in checkpoints.items():
            if contradicted(entries, self.disk.checkpoints[sink]):
                raise LedgerError("two histories")
        self.disk.commit(outcomes, checkpoints, list(spent))

    async def reopen(self, key: Key, *change: Any) -> None:
        self.disk.calendar(key).reopen(*change)

    async def forget(self, key: Key, ranges: Sequence[Days]) -> None:
        self.disk.calendar(key).forget(ranges)

    async def remove(self, appid: str, endpoints: Collection[str]) -> None:
        for key in [(appid, endpoint) for endpoint in endpoints]:
            self.disk.calendars.pop(key, None)
            self.disk.asked.pop(key, None)

    async def fold_future_calls(self, today: date) -> bool:
        return self.disk.fold_future_calls(today)

    async def note_exhausted(self, said: Exhausted) -> None:
        self.disk.exhausted[said.appid, said.endpoint] = said

    async def checkpoint(self, sink: str) -> dict[str, str]:
        return dict(self.disk.checkpoints[sink])

    async def list_sinks(self, sinks: Mapping[str, str]) -> None:
        for name, copied in sinks.items():
            self.disk.sinks[name] = max(self.disk.sinks.get(name, ""), copied)

    async def unlist_sink(self, sink: str) -> None:
        del self.disk.sinks[sink]
        self.disk.checkpoints.pop(sink, None)

    async def sinks(self) -> dict[str, str]:
        return dict(self.disk.sinks)

    async def accounts(self) -> list[str]:
        return self.disk.accounts

    async def calendars(self, appids: Sequence[str]) -> dict[Key, Calendar]:
        known = self.disk.calendars
        return {key: deepcopy(known[key]) for key in known if key[0] in {*appids}}

    async def asked(self) -> dict[Key, Days]:
        return dict(self.disk.asked)

    async def spent(self, day: date, appids: Sequence[str] | None = None) -> dict[Key, int]:
        return of_accounts(self.disk.spent(day), appids)

    async def exhausted(
        self, now: float, appids: Sequence[str] | None = None
    ) -> dict[Key, Exhausted]:
        known = self.disk.exhausted.items()
        return of_accounts({key: said for key, said in known if said.until > now}, appids)


def of_accounts(found: dict[Key, T], appids: Sequence[str] | None) -> dict[Key, T]:
    return {key: each for key, each in found.items() if appids is None or key[0] in appids}


# how a fault is planted


def does(method: str, wrong: Callable[..., Any]) -> type[Reference]:
    """A ledger whose method is another one."""

    async def instead(ledger: Reference, *given: Any) -> Any:
        found = wrong(ledger, *given)
        return await found if isawaitable(found) else found

    return type("Faulty", (Reference,), {method: instead})


def takes(method: str, change: Callable[..., tuple[Any, ...]]) -> type[Reference]:
    """A ledger whose method does the right thing with something else than it was given."""
    right = getattr(Reference, method)
    return does(method, lambda ledger, *given: right(ledger, *change(ledger.disk, *given)))


def gives(method: str, change: Callable[[Model, Any], Any]) -> type[Reference]:
    """A ledger whose method gives something else than it has found."""

    async def wrong(ledger: Reference, *given: Any) -> Any:
        return change(ledger.disk, await getattr(Reference, method)(ledger, *given))

    return does(method, wrong)


def stores(change: Callable[[Outcome], Outcome]) -> type[Reference]:
    """A ledger that stores outcomes otherwise than they came."""
    return takes("commit", lambda _, outcomes, *more: ([*map(change, outcomes)], *more))


def cut(each: Outcome) -> Outcome:
    begin, end = each.window[2:]
    return each._replace(window=each.window._replace(end=min(end, begin + timedelta(days=9))))


def call_late_open(each: Outcome) -> Outcome:
    return each._replace(state=each.state.replace("late", "open"))


def only_the_first_interface(_: Model, outcomes: Sequence[Outcome], *more: Any) -> tuple[Any, ...]:
    return [each for each in outcomes if each.window.endpoint == "checked"], *more


def final_ones_first(_: Model, outcomes: Sequence[Outcome], *more: Any) -> tuple[Any, ...]:
    return sorted(outcomes, key=lambda each: each.state != "final"), *more


def without_what_was_asked(disk: Model, _: object) -> list[str]:
    return sorted({appid for appid, _ in disk.calendars})


def its_own_calendars(disk: Model, found: dict[Key, Calendar]) -> dict[Key, Calendar]:
    return {key: disk.calendars[key] for key in found}


def only_with_a_checkpoint(disk: Model, found: dict[str, str]) -> dict[str, str]:
    return {name: copied for name, copied in found.items() if disk.checkpoints[name]}


def forget_what_was_copied(ledger: Reference, sinks: Mapping[str, str]) -> None:
    ledger.disk.sinks.update(sinks)


def keep_the_checkpoint(ledger: Reference, sink: str) -> None:
    del ledger.disk.sinks[sink]


def only_the_first_day(_: Model, found: dict[Key, Days]) -> dict[Key, Days]:
    return {key: (first, first) for key, (first, _) in found.items()}


def without_returned_calls(
    _: Model, outcomes: Any, checkpoints: Any, spent: Iterable[Spent] = ()
) -> tuple[Any, ...]:
    return outcomes, checkpoints, [each for each in spent if each.calls > 0]


def never_below_zero(_: Model, found: dict[Key, int]) -> dict[Key, int]:
    return {key: max(calls, 0) for key, calls in found.items()}


def by_account(_: Model, found: dict[Key, int]) -> dict[Key, int]:
    return {key: sum(n for other, n in found.items() if other[0] == key[0]) for key in found}


def the_longest_wait(disk: Model, said: Exhausted) -> tuple[Exhausted]:
    former = disk.exhausted.get((said.appid, said.endpoint), said)
    return (max(former, said, key=lambda each: each.until),)


def no_sum_for_none(_: Model, key: Key, days: Any, windows: Any, sums: Any) -> tuple[Any, ...]:
    return key, days, windows, {year: tally or Tally() for year, tally in sums.items()}


def with_open_windows(_: Model, found: dict[Key, Calendar]) -> dict[Key, Calendar]:
    for calendar in found.values():
        for window in calendar.windows.values():
            known = calendar.sums.get(window.begin.year, Tally())
            if known is not None:
                calendar.sums[window.begin.year] = known.plus(window.tally)
    return found


def with_the_first_tally(disk: Model, outcomes: Sequence[Outcome], *more: Any) -> tuple[Any, ...]:
    found = []
    for each in outcomes:
        former = disk.calendars.get(each.window[:2], Calendar()).windows.get(each.window.begin)
        if former is not None and former.stored and each.state == "open":
            each = each._replace(tally=former.tally)
        found.append(each)
    return found, *more


async def merge_twice(ledger: Reference, outcomes: Sequence[Outcome], *more: Any) -> None:
    await Reference.commit(ledger, outcomes, *more)
    if ledger.commits % 50 == 0:
        ledger.disk.commit(outcomes, {}, ())


async def forget_calls(ledger: Reference, *given: Any) -> None:
    await Reference.commit(ledger, *(given if (ledger.commits + 1) % 50 else given[:2]))


def store_before_it_reads(
    ledger: Reference, outcomes: Any, checkpoints: Any, spent: Iterable[Spent] = ()
) -> None:
    ledger.disk.commit(outcomes, checkpoints, ())
    ledger.disk.commit((), {}, list(spent))


async def keep_empty(ledger: Reference, outcomes: Any, checkpoints: Any, *spent: Any) -> None:
    await Reference.commit(ledger, outcomes, checkpoints, *spent)
    for sink, entries in checkpoints.items():
        ledger.disk.checkpoints[sink].update(entries)


def without_empty_values(_: Model, outcomes: Any, checkpoints: Any, *spent: Any) -> tuple[Any, ...]:
    full = {
        sink: {key: value for key, value in entries.items() if value}
        for sink, entries in checkpoints.items()
    }
    return outcomes, full, *spent


async def keep_the_latest_entries(
    ledger: Reference, outcomes: Any, checkpoints: Any, *spent: Any
) -> None:
    for sink in checkpoints:
        ledger.disk.checkpoints[sink].clear()
    await Reference.commit(ledger, outcomes, checkpoints, *spent)


def keep_the_latest_range(ledger: Reference, ranges: Any) -> None:
    ranges = list(ranges)
    for appid, endpoint, *_ in ranges:
        ledger.disk.asked.pop((appid, endpoint), None)
    ledger.disk.register(ranges)


async def set_calls(
    ledger: Reference, outcomes: Any, checkpoints: Any, spent: Iterable[Spent] = ()
) -> None:
    spent = list(spent)
    for appid, endpoint, on, _ in spent:
        del ledger.disk.budget[(appid, endpoint), on]
    await Reference.commit(ledger, outcomes, checkpoints, spent)


def drop_later_days(ledger: Reference, today: date) -> bool:
    later = [place for place in ledger.disk.budget if place[1] > today]
    for place in later:
        del ledger.disk.budget[place]
    return bool(later)


def count_later_days_twice(ledger: Reference, today: date) -> bool:
    before = {place: n for place, n in ledger.disk.budget.items() if place[1] > today}
    found = ledger.disk.fold_future_calls(today)
    ledger.disk.budget.update(before)
    return found


def rebook_one_day(ledger: Reference, today: date) -> bool:
    tomorrow = today + timedelta(days=1)
    others = {place: n for place, n in ledger.disk.budget.items() if place[1] > tomorrow}
    for place in others:
        del ledger.disk.budget[place]
    found = ledger.disk.fold_future_calls(today)
    ledger.disk.budget.update(others)
    return found


def rebook_every_day(ledger: Reference, today: date) -> bool:
    before = [place for place in ledger.disk.budget if place[1] < today]
    found = ledger.disk.fold_future_calls(today)
    for key, on in before:
        ledger.disk.budget[key, today] += ledger.disk.budget.pop((key, on))
    return found


def forget_and_know_the_sum(ledger: Reference, key: Key, ranges: Sequence[Days]) -> None:
    calendar = ledger.disk.calendar(key)
    before = dict(calendar.sums)
    calendar.forget(ranges)
    calendar.sums.update(before)


def lose_calls(ledger: Reference, key: Key, ranges: Sequence[Days]) -> None:
    """Two promises that are each kept alone."""
    ledger.disk.calendar(key).forget(ranges)
    for place in [place for place in ledger.disk.budget if place[0] == key]:
        del ledger.disk.budget[place]


def remove_the_days_alone(ledger: Reference, appid: str, endpoints: Collection[str]) -> None:
    for endpoint in endpoints:
        ledger.disk.calendars.pop((appid, endpoint), None)


async def remove_the_account(ledger: Reference, appid: str, _: Collection[str]) -> None:
    keys = {*ledger.disk.calendars, *ledger.disk.asked}
    await Reference.remove(ledger, appid, [name for of, name in keys if of == appid])


async def remove_the_calls(ledger: Reference, appid: str, endpoints: Collection[str]) -> None:
    await Reference.remove(ledger, appid, endpoints)
    for place in [place for place in ledger.disk.budget if place[0][0] == appid]:
        del ledger.disk.budget[place]


class StoresWhenItIsClosed(Reference):
    """Until then it is in memory alone."""

    mine: Model | None = None

    @property
    def disk(self) -> Model:
        if self.mine is None:
            self.mine = deepcopy(super().disk)
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


DROPS_LATER_DAYS = does("fold_future_calls", drop_later_days)


class TakesEveryMark(Reference):
    async def commit(
        self, outcomes: Sequence[Outcome], checkpoints: Any, spent: Iterable[Spent] = ()
    ) -> None:
        self.disk.commit(outcomes, checkpoints, list(spent))


FAULTS: dict[str, tuple[str, type[Reference]]] = {
    "knows an account": ("new", gives("accounts", lambda _, found: sorted({*found, "wx0"}))),
    "knows a sink": ("new", gives("sinks", lambda _, found: {"memory:": "", **found})),
    "drops reasons": ("commit", stores(lambda each: each._replace(detail=""))),
    "drops request ids": ("commit", stores(lambda each: each._replace(rid=""))),
    "forgets empty days": ("commit", stores(lambda each: each._replace(empty=0))),
    "calls late open": ("commit", stores(call_late_open)),
    "keeps only the first interface": ("commit", takes("commit", only_the_first_interface)),
    "counts open windows": ("commit", gives("calendars", with_open_windows)),
    "keeps the first tally": ("again", takes("commit", with_the_first_tally)),
    "takes final ones first": ("late_and_final", takes("commit", final_ones_first)),
    "merges twice": ("one_by_one", does("commit", merge_twice)),
    "forgets calls when it merges": ("one_by_one", does("commit", forget_calls)),
    "gives all accounts": ("accounts", takes("calendars", lambda disk, _: (disk.accounts,))),
    "gives four hundred": ("accounts", takes("calendars", lambda _, appids: (appids[:400],))),
    "does not know what was only asked": ("accounts", gives("accounts", without_what_was_asked)),
    "stores before it reads": ("nothing_of_it", does("commit", store_before_it_reads)),
    "gives its own calendars": ("copies", gives("calendars", its_own_calendars)),
    "gives its own ranges": ("copies", gives("asked", lambda disk, _: disk.asked)),
    "takes every mark": ("histories", TakesEveryMark),
    "keeps empty values": ("checkpoint", does("commit", keep_empty)),
    "stores without removing": ("checkpoint", takes("commit", without_empty_values)),
    "keeps only the latest entries": ("checkpoint", does("commit", keep_the_latest_entries)),
    "lists no sink without a checkpoint": ("sinks", gives("sinks", only_with_a_checkpoint)),
    "removes no sink": ("sinks", does("unlist_sink", lambda *_: None)),
    "keeps the checkpoint of a removed sink": ("sinks", does("unlist_sink", keep_the_checkpoint)),
    "forgets what was copied": ("sinks", does("list_sinks", forget_what_was_copied)),
    "keeps the latest range": ("asked", does("register", keep_the_latest_range)),
    "keeps the first day": ("asked", gives("asked", only_the_first_day)),
    "sets calls": ("spent", does("commit", set_calls)),
    "gives no call back": ("spent", takes("commit", without_returned_calls)),
    "is never below zero": ("spent", gives("spent", never_below_zero)),
    "counts by account": ("spent", gives("spent", by_account)),
    "gives the calls of all": ("spent", takes("spent", lambda _, day, *appids: (day,))),
    "drops later days": ("fold_future_calls", DROPS_LATER_DAYS),
    "counts later days twice": (
        "fold_future_calls",
        does("fold_future_calls", count_later_days_twice),
    ),
    "rebooks one day": ("fold_future_calls", does("fold_future_calls", rebook_one_day)),
    "rebooks every day": ("fold_future_calls", does("fold_future_calls", rebook_every_day)),
    "does not say that it rebooked": (
        "fold_future_calls",
        gives("fold_future_calls", lambda _, found: False),
    ),
    "keeps the longest wait": ("exhausted", takes("note_exhausted", the_longest_wait)),
    "is spent for a second more": (
        "exhausted",
        takes("exhausted", lambda _, now, *appids: (now - 1, *appids)),
    ),
    "reopens no days": ("reopen", takes("reopen", lambda _, key, days, *more: (key, (), *more))),
    "reopens without sums": ("reopen", takes("reopen", lambda _, *given: (*given[:3], {}))),
    "takes no sum for none": ("reopen", takes("reopen", no_sum_for_none)),
    "forgets nothing": ("forget", does("forget", lambda *_: None)),
    "forgets and knows the sum": ("forget", does("forget", forget_and_know_the_sum)),
    "removes nothing": ("remove", does("remove", lambda *_: None)),
    "removes the days alone": ("remove", does("remove", remove_the_days_alone)),
    "removes the whole account": ("remove", does("remove", remove_the_account)),
    "removes the calls, too": ("remove", does("remove", remove_the_calls)),
    "cuts long windows": ("any_order", stores(cut)),
    "loses calls where it forgets": ("any_order", does("forget", lose_calls)),
    "stores when it is closed": ("crash", StoresWhenItIsClosed),
    "reads when it is opened": ("reader", ReadsWhenItIsOpened),
}
"""What is wrong with a ledger, the check that is there for it, and the ledger."""


async def check(kind: type[Reference], only: str) -> None:
    DISKS.clear()
    reader = kind if kind is ReadsWhenItIsOpened else Reference
    await check_ledger(only, cast("Any", kind), reader=cast("Any", reader), crash=lambda _: None)


@pytest.mark.parametrize("name", LEDGER_CHECKS)
async def test_a_sound_ledger_passes_all_of_it(name: str) -> None:
    await check(Reference, name)


@pytest.mark.parametrize(("only", "kind"), FAULTS.values(), ids=FAULTS)
async def test_a_planted_fault_is_found_by_the_check_that_is_there_for_it(
    only: str, kind: type[Reference]
) -> None:
    with pytest.raises(BrokenPromiseError, match=rf"^{only}: "):
        await check(kind, only)


def test_for_each_check_there_is_a_fault_that_it_finds() -> None:
    assert {only for only, _ in FAULTS.values()} == set(LEDGER_CHECKS)


async def test_what_is_broken_is_said_in_one_sentence() -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        await check(DROPS_LATER_DAYS, "fold_future_calls")
    said = str(caught.value)
    assert said.startswith(
        "fold_future_calls: Calls of future days are counted as today's, and the method returns"
        " whether there are any: spent of 2024-02-10: {('wx0000000000000001', 'checked'): 1} is"
        " given, not {"
    )
    assert "\n" not in said


async def test_a_ledger_that_breaks_down_is_told_by_what_it_raised() -> None:
    def breaks_down(_: Reference) -> None:
        raise RuntimeError("no table asked")

    with pytest.raises(BrokenPromiseError, match=r"^asked: .*: RuntimeError: no table asked$"):
        await check(does("asked", breaks_down), "asked")
