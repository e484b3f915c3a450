"""A check for each guarantee of a ledger; both ledgers must pass all of them.

Rule: a check's first line is the guarantee that it tests; only documented guarantees are tested.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from random import Random

from harvester.errors import LedgerError
from harvester.ledger import Ledger
from harvester.ledger.base import Exhausted, Key, Spent
from harvester.ledger.coverage import DONE, OpenWindow, Outcome
from harvester.model import Tally
from harvester.testing.sink_bench import ONE, OTHER, BrokenPromiseError
from tests.ledger.bench import (
    INTERFACE,
    NOW,
    TODAY,
    Crash,
    LedgerBench,
    MakeLedger,
    day,
    outcome,
)
from tests.ledger.shared_checks import SHARED_CHECKS

COMMITS = 130
ACCOUNTS = 1_000

LedgerCheck = Callable[[LedgerBench], Awaitable[None]]
LEDGER_CHECKS: dict[str, LedgerCheck] = {}
_KEY: Key = (ONE, INTERFACE)


async def check_ledger(
    only: str,
    make: MakeLedger,
    *,
    reader: MakeLedger | None = None,
    crash: Crash | None = None,
) -> None:
    """Run a check, of `LEDGER_CHECKS` or `SHARED_CHECKS`; raises `BrokenPromiseError`.

    make: returns a ledger on what is stored under that name, not yet entered, as a new process
        would make it; each check has a name of its own (``commit``, ``sinks``), under which
        nothing is stored before.
    reader: the same of one that only reads, while another is open; the check ``reader`` needs it.
    crash: ends a ledger that is open as the end of its process would, without whatever closing it
        stores; the check ``crash`` needs it.
    """
    check = {**LEDGER_CHECKS, **SHARED_CHECKS}[only]
    promise = (inspect.getdoc(check) or "").rstrip(".")
    bench = LedgerBench(only, promise, make, reader, crash)
    try:
        await check(bench)
    except BrokenPromiseError:
        raise
    except Exception as exc:
        raise bench.broken(f"{type(exc).__name__}: {exc}") from exc


def _check(run: LedgerCheck) -> LedgerCheck:
    """Add a check under the name of its function."""
    LEDGER_CHECKS[getattr(run, "__name__", "")] = run
    return run


# what is committed


@_check
async def new(bench: LedgerBench) -> None:
    """A ledger that is new knows nothing."""
    await bench.expect()
    async with bench.make() as ledger:
        if await ledger.checkpoint("one") or await ledger.sinks():
            raise bench.broken("it knows a sink")
        await bench.fold_future_calls(ledger, TODAY)
        await bench.expect(ledger)


@_check
async def commit(bench: LedgerBench) -> None:
    """What was committed is known at once, and in the next process."""
    async with bench.make() as ledger:
        await bench.commit(
            ledger,
            outcome(0, records=3),
            outcome(1, "waiting", days=3),
            outcome(9, days=6, empty=0b101),
            outcome(1, "open", 5, appid=OTHER, days=7),
            outcome(0, "failed", endpoint="checked_too"),
            outcome(20, "late", 2, detail='it\'s "late"\n\\ 题'),
            outcome(30, "late", 0),
        )
        await bench.expect(ledger)
    await bench.expect()


@_check
async def again(bench: LedgerBench) -> None:
    """Each outcome replaces what was stored, as in a `Calendar`."""
    for group in (
        [outcome(0, "open", 4, days=7), outcome(10, "waiting", days=9), outcome(40, "open", 0)],
        [outcome(0, "open", 5, days=7), outcome(12), outcome(14, "failed", days=2)],
        [outcome(0, "failed", days=7), outcome(12, "waiting"), outcome(40, records=2)],
        [outcome(0, "late", 6, days=4), outcome(15, "open", 1, days=8)],
        [outcome(0, days=4), outcome(15, days=8, empty=0b11), outcome(10, days=2)],
    ):
        async with bench.make() as ledger:
            await bench.commit(ledger, *group)
            await bench.expect(ledger)
        await bench.expect()


@_check
async def late_and_final(bench: LedgerBench) -> None:
    """A window that was open or waited is final, where one commit holds both."""
    async with bench.make() as ledger:
        await bench.commit(ledger, outcome(3, "late", 2), outcome(4, "waiting"), outcome(1, "open"))
        await bench.commit(
            ledger,
            outcome(3, "late", 3),
            outcome(5, "waiting", days=2),
            outcome(3, records=4),
            outcome(5, records=1),
        )
        await bench.expect(ledger)
    await bench.expect()


@_check
async def one_by_one(bench: LedgerBench) -> None:
    """Many small commits leave what was committed, whenever one looks."""
    async with bench.make() as ledger:
        for number in range(COMMITS):
            await bench.commit(ledger, *_small(number), spent=[Spent(*_KEY, TODAY, 1)])
            if number % 7 == 0 or number > COMMITS - 8:
                await bench.expect(ledger)
    await bench.expect()


def _small(number: int) -> Sequence[Outcome]:
    state = ("final", "open", "final", "late", "waiting")[number % 5]
    found = [outcome(number, state, number % 3)]
    if number % 10 == 9:  # one that was open is final
        found.append(outcome(number - 8, records=number % 4))
    return found


@_check
async def accounts(bench: LedgerBench) -> None:
    """Each of many accounts has its own, and only those are given that are asked for."""
    names = [f"wx{number:016x}" for number in range(ACCOUNTS)]
    async with bench.make() as ledger:
        for state in ("open", "final"):
            await bench.commit(
                ledger,
                *[outcome(n % 30, state, n, appid=appid) for n, appid in enumerate(names)],
                outcome(0, appid=names[7], endpoint="checked_too"),
            )
        await bench.register(ledger, ("wx-asked-only", INTERFACE, day(0), day(3)))
        for some in (names[:1], names[5:9], names[::-1], [], [OTHER + "0"]):
            await bench.expect_calendars(ledger, some)
        await bench.expect(ledger)
    await bench.expect()


@_check
async def nothing_of_it(bench: LedgerBench) -> None:
    """A commit that fails stores nothing."""

    def broken() -> Iterator[Spent]:
        yield Spent(*_KEY, TODAY, 5)
        raise ZeroDivisionError

    async with bench.make() as ledger:
        await bench.commit(ledger, outcome(0), checkpoints={"one": {"a": "1"}})
        try:
            await ledger.commit([outcome(1), outcome(0, "open", 9)], {"one": {"a": "2"}}, broken())
        except ZeroDivisionError:
            await bench.expect(ledger)
        else:
            raise bench.broken("calls that could not be read are no error")
        await bench.commit(ledger, outcome(2))
    await bench.expect()


@_check
async def copies(bench: LedgerBench) -> None:
    """The caller may change returned values: that changes nothing that is stored."""
    async with bench.make() as ledger:
        given = {"a": "1"}
        await bench.register(ledger, (*_KEY, day(0), day(3)))
        await bench.commit(ledger, outcome(0), outcome(1, "open"), checkpoints={"one": given})
        found = (await ledger.calendars([ONE]))[_KEY]
        found.apply(outcome(1))
        found.apply(outcome(2))
        found.sums.clear()
        given["a"] = (await ledger.checkpoint("one"))["a"] = "2"
        bench.model.checkpoints["one"] = {"a": "1"}
        (await ledger.asked()).clear()
        await bench.expect(ledger)
    await bench.expect()


# sinks


@_check
async def checkpoint(bench: LedgerBench) -> None:
    """A checkpoint has the latest value of each key, and an empty value removes its key."""
    for entries in (
        {"one": {"a": "1", "b": "2"}, "two": {"a": "x"}},
        {"one": {"b": "3", "c": "4"}},
        {"one": {"a": ""}, "two": {"never": ""}},
        {"one": {"a": "5", "b": "", "c": ""}, "two": {"a": ""}},
        {"one": {"ä 题/'\"\n": "x" * 5_000, "b": "0"}},
    ):
        async with bench.make() as ledger:
            await bench.commit(ledger, checkpoints=entries)
            await bench.expect(ledger)
            await bench.commit(ledger, outcome(0, "open"), checkpoints={"three": {"a": "1"}})
            await bench.expect(ledger)
        await bench.expect()


@_check
async def sinks(bench: LedgerBench) -> None:
    """Sinks are listed until they are removed, with the latest moment of what was copied."""
    async with bench.make() as ledger:
        await bench.list_sinks(ledger, {"one": "", "two": "", "three": ""})
        await bench.commit(ledger, outcome(0), checkpoints={"two": {"a": "1"}, "one": {"b": "2"}})
        await bench.expect(ledger)
        await bench.unlist_sink(ledger, "two")
        await bench.expect(ledger)
    await bench.expect()
    async with bench.make() as ledger:
        for moment in ("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", ""):
            await bench.list_sinks(ledger, {"one": moment})
        await bench.expect(ledger)
    await bench.expect()


@_check
async def asked(bench: LedgerBench) -> None:
    """Of an interface of an account all days that were ever asked for are known, as ranges."""
    async with bench.make() as ledger:
        await bench.register(ledger, (*_KEY, day(10), day(20)), (OTHER, INTERFACE, day(0), day(1)))
        for first, last in (
            (12, 15), (5, 12), (18, 30), (40, 50), (45, 46), (31, 33), (36, 36), (34, 39)
        ):  # fmt: skip
            await bench.register(ledger, (*_KEY, day(first), day(last)))
            await bench.expect(ledger)
    await bench.expect()


# calls and quotas


@_check
async def spent(bench: LedgerBench) -> None:
    """Calls add up by account, interface and day; negative ones are given back."""
    yesterday = TODAY - timedelta(days=1)
    async with bench.make() as ledger:
        for calls in (3, 20, -7, 1):
            await bench.commit(
                ledger,
                spent=[
                    Spent(*_KEY, TODAY, calls),
                    Spent(*_KEY, yesterday, 2),
                    Spent(OTHER, INTERFACE, TODAY, 1),
                    Spent(ONE, "checked_too", TODAY, 5),
                    Spent(*_KEY, TODAY, 2),
                ],
            )
            await bench.expect(ledger)
        await bench.commit(ledger, outcome(0), spent=[Spent(*_KEY, TODAY, -30)])
    await bench.expect()


@_check
async def fold_future_calls(bench: LedgerBench) -> None:
    """Calls of future days are counted as today's, and the method returns whether there are any."""
    for here in (True, False):
        async with bench.make() as ledger:
            calls = [Spent(*_KEY, TODAY + timedelta(days=n), 10**n) for n in range(4)]
            others = [Spent(OTHER, INTERFACE, TODAY + timedelta(days=n), 7) for n in (-1, 2)]
            await bench.commit(ledger, spent=[*calls, *others])
            if here:
                await bench.fold_future_calls(ledger, TODAY)
                await bench.expect(ledger)
        async with bench.make() as ledger:
            await bench.fold_future_calls(ledger, TODAY)
            await bench.fold_future_calls(ledger, TODAY)
            await bench.fold_future_calls(ledger, TODAY - timedelta(days=1))
            await bench.expect(ledger)
        await bench.expect()


@_check
async def exhausted(bench: LedgerBench) -> None:
    """A quota is spent until the time that was noted last; 0: it is not."""
    async with bench.make() as ledger:
        for quota in (
            Exhausted(*_KEY, NOW + 100, NOW - 1),
            Exhausted(OTHER, INTERFACE, NOW + 10, NOW - 2.5),
            Exhausted(ONE, "checked_too", NOW + 50, NOW),
            Exhausted(*_KEY, NOW + 60, NOW + 1),
            Exhausted(ONE, "checked_too", 0.0, NOW + 2),
        ):
            await bench.note_exhausted(ledger, quota)
            for later in (0, 10, 11, 60, 99):
                await bench.expect(ledger, NOW + later)
    await bench.expect()


# what is harvested again


@_check
async def reopen(bench: LedgerBench) -> None:
    """To reopen makes windows open and the rest of a range missing, as in a `Calendar`."""
    window = OpenWindow(day(10), day(13), "open", Tally(4, 4), 0.0, "--refresh")
    async with bench.make() as ledger:
        await bench.commit(
            ledger,
            outcome(0, days=9),
            outcome(10, days=4),
            outcome(14, "open"),
            outcome(16, days=9),
        )
        await bench.reopen(ledger, _KEY, [(day(8), day(18))], [window], {2023: Tally(9, 9)})
        await bench.expect(ledger)
        await bench.commit(ledger, outcome(10, records=6, days=4), outcome(0, appid=OTHER))
        await bench.expect(ledger)
        again = window._replace(tally=Tally(5, 5))
        await bench.reopen(ledger, _KEY, (), [again], {2023: None, 2024: Tally(1, 1)})
        await bench.expect(ledger)
    await bench.expect()


@_check
async def forget(bench: LedgerBench) -> None:
    """To forget makes days missing, and the sums of their years unknown, as in a `Calendar`."""
    async with bench.make() as ledger:
        await bench.commit(ledger, outcome(0, days=9), outcome(10, "open", days=4), outcome(20))
        await bench.forget(ledger, _KEY, [(day(4), day(10))])
        await bench.expect(ledger)
        await bench.commit(ledger, outcome(4, days=3), outcome(21))
        await bench.expect(ledger)
    await bench.expect()


@_check
async def remove(bench: LedgerBench) -> None:
    """What is removed is not known any more; everything else is, and the calls that were sent."""
    async with bench.make() as ledger:
        await bench.register(
            ledger,
            (ONE, INTERFACE, day(0), day(30)),
            (ONE, "checked_too", day(0), day(30)),
            (OTHER, INTERFACE, day(0), day(30)),
        )
        await bench.commit(
            ledger,
            outcome(0, days=9),
            outcome(10, "open", days=4),
            outcome(20, "failed"),
            outcome(0, endpoint="checked_too", days=3),
            outcome(0, "waiting", appid=OTHER, days=5),
            spent=[Spent(ONE, INTERFACE, TODAY, 5)],
        )
        await bench.remove(ledger, ONE, [INTERFACE])
        await bench.expect(ledger)
    await bench.expect()
    async with bench.make() as ledger:
        await bench.commit(ledger, outcome(40))
        await bench.remove(ledger, ONE, [INTERFACE, "checked_too", "never_seen"])
        await bench.remove(ledger, ONE, [INTERFACE])
        await bench.expect(ledger)
        await bench.commit(ledger, outcome(2, records=3, days=2))
        await bench.expect(ledger)
    await bench.expect()


# any of it, and windows that end in the middle of it


@_check
async def any_order(bench: LedgerBench) -> None:
    """After any calls, in any order, all values are kept, in this process and in the next."""
    draw = Random(7)
    for _ in range(6):
        async with bench.make() as ledger:
            for _ in range(draw.choice((3, 12, 40))):
                await any_call(bench, ledger, draw)
            await bench.expect(ledger)
        await bench.expect()


async def any_call(bench: LedgerBench, ledger: Ledger, draw: Random) -> None:
    key = draw.choice((ONE, OTHER)), draw.choice((INTERFACE, "checked_too"))
    first = draw.randint(0, 60)
    days = day(first), day(first + draw.choice((0, 3, 20)))
    call = draw.choice(
        ("commit",) * 12 + ("reopen", "forget", "fold_future_calls", "register", "others")
    )
    if call == "commit":
        on = TODAY + timedelta(days=draw.choice((-1, 0, 0, 0, 1)))
        await bench.commit(
            ledger,
            *_any_outcomes(draw, key),
            checkpoints={"one": {draw.choice("abc"): draw.choice(("", "1", "2"))}},
            spent=[Spent(*key, on, draw.randint(-2, 9))] if draw.random() < 0.5 else (),
        )
    elif call == "reopen" and key in bench.model.calendars:
        done = list(bench.model.calendar(key).runs(*days, DONE))
        opened = [OpenWindow(*run, "open", Tally(first, first)) for run in done if first % 3]
        await bench.reopen(ledger, key, [days], opened, {2024: Tally(first, first)})
    elif call == "forget" and key in bench.model.calendars:
        await bench.forget(ledger, key, [days])
    elif call == "fold_future_calls":
        await bench.fold_future_calls(ledger, TODAY)
    elif call == "register":
        await bench.list_sinks(ledger, {draw.choice(("one", "two")): ""})
        await bench.register(ledger, (*key, *days))
    elif call == "others":
        await bench.note_exhausted(ledger, Exhausted(*key, draw.choice((0.0, NOW + 9)), NOW))


def _any_outcomes(draw: Random, key: Key) -> list[Outcome]:
    """Outcomes of a commit.  Final ones are last, one a day: a final day is not written again."""
    others, finals = [], dict[int, Outcome]()
    for _ in range(draw.randint(0, 5)):
        state = draw.choice(("final", "final", "open", "late", "waiting", "failed"))
        first, records = draw.randint(0, 60), draw.randint(0, 9)
        days = draw.choice((1, 1, 1, 2, 7, 30))
        made = outcome(
            first, state, records, days=days, appid=key[0], endpoint=key[1],
            empty=draw.choice((0, 0, 1)),
        )  # fmt: skip
        these = range(first, first + days)
        if state != "final":
            others.append(made)
        elif not finals.keys() & these:
            finals.update(dict.fromkeys(these, made))
    return [*others, *dict.fromkeys(finals.values())]


@_check
async def crash(bench: LedgerBench) -> None:
    """What was committed is there although its process has died."""
    for number in range(70):
        ledger = bench.make()
        await ledger.__aenter__()
        for one in range(number % 4):
            await bench.commit(
                ledger,
                *_small(4 * number + one),
                checkpoints={"one": {"a": str(number)}},
                spent=[Spent(*_KEY, TODAY, 1)],
            )
        bench.crash(ledger)
        if number % 9 == 0:
            await bench.expect()
    await bench.expect()


@_check
async def histories(bench: LedgerBench) -> None:
    """A commit of a sink keeps its mark; one under another mark is refused as a whole."""
    known = (
        {"commit 1": "a", "other": "1"},
        {"commit 3": "c", "commit 2": "b", "other": "2"},
        {"commit 2": "b", "commit 1": "a"},
    )
    async with bench.make() as ledger:
        for entries in known:
            await bench.commit(ledger, checkpoints={"one": entries})
        for wrong in ({"commit 3": "x"}, {"commit 4": "d", "commit 3": "x"}, {"commit 2": "x"}):
            try:
                await ledger.commit([outcome(1)], {"one": {**wrong, "other": "3"}})
            except LedgerError:
                continue
            raise bench.broken("a commit of a sink was stored under two marks")
        await bench.expect(ledger)
        await bench.commit(ledger, checkpoints={"one": {"commit 1": ""}, "two": {"commit 3": "x"}})
    await bench.expect()


@_check
async def reader(bench: LedgerBench) -> None:
    """A reader sees what was committed, each time that it asks, while another commits."""
    async with bench.make() as ledger:
        await bench.commit(ledger, outcome(200))
        async with bench.reader() as other:
            for number in range(COMMITS):
                await bench.commit(ledger, *_small(number), spent=[Spent(*_KEY, TODAY, 1)])
                if number % 9 == 0 or number > COMMITS - 4:
                    await bench.expect(other)
            await bench.forget(ledger, _KEY, [(day(3), day(5))])
            await bench.expect(other)
    async with bench.reader() as other:
        await bench.expect(other)
