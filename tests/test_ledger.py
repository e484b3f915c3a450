"""What is safe, against a model that knows one day at a time; and what may happen to the file."""

import asyncio
import errno
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.codec import add_checksums
from harvester.coverage import DONE, FAILED, WAITING, Stretch, harvested, overlay
from harvester.errors import LedgerError, UsageError
from harvester.ledger import FILE_NAME, VERSION, Entry, Ledger, Settled, Spent
from harvester.model import Batch, Tally, Window
from harvester.plan import Days
from harvester.testing import VirtualTimeLoop, run_virtual
from tests.support import connections

PROPERTY = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=40
)

T = TypeVar("T")
KEY = ("wx1", "e")
FIRST = date(2020, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def done(begin: int, end: int, records: int = 1, checksum: int = 1, key: Any = KEY) -> Settled:
    days = day(begin), day(end)
    return Settled(Window(*key, *days), harvested(days, records, checksum))


def other(begin: int, end: int, state: str = FAILED, detail: str = "x", key: Any = KEY) -> Settled:
    days = day(begin), day(end)
    return Settled(Window(*key, *days), Stretch(*days, state, detail=detail))


def now(main: Coroutine[Any, Any, T]) -> T:
    async def run(loop: VirtualTimeLoop) -> T:
        return await main

    return run_virtual(run)


class Everything(NamedTuple):
    """All that a ledger tells of one sink."""

    stretches: dict[tuple[str, str], list[Stretch]]
    receipt: dict[str, str]
    asked: dict[tuple[str, str], Days]
    spent: dict[tuple[str, str], int]
    sinks: list[str]
    provisional: dict[tuple[str, str], dict[Days, str]]
    spans: dict[str, int]


async def everything(ledger: Ledger, sink: str = "s", spent_on: date = FIRST) -> Everything:
    return Everything(
        dict(await ledger.stretches(sink)),
        await ledger.receipt(sink),
        await ledger.asked(),
        await ledger.spent(spent_on),
        await ledger.sinks(),
        await ledger.provisional(sink),
        await ledger.spans(),
    )


async def stored(path: Path, *entries: Entry) -> Everything:
    """What is told after each entry was committed by itself."""
    async with Ledger(path) as ledger:
        for entry in entries:
            await ledger.commit([entry])
        return await everything(ledger)


# what is stored


def test_a_new_ledger_knows_nothing(tmp_path: Path) -> None:
    assert now(stored(tmp_path / FILE_NAME)) == Everything({}, {}, {}, {}, [], {}, {})


def test_a_ledger_makes_the_directory_that_it_lies_in(tmp_path: Path) -> None:
    now(stored(tmp_path / "a" / "b" / FILE_NAME))
    assert (tmp_path / "a" / "b" / FILE_NAME).exists()


def test_neighbouring_windows_are_one_row(tmp_path: Path) -> None:
    found = now(stored(tmp_path / "l", *[Entry("s", [done(n, n, 2, 5)]) for n in range(20)]))
    assert found.stretches == {KEY: [Stretch(day(0), day(19), DONE, 40, 100)]}


def test_harvested_days_are_one_row_with_what_still_waits_beside_them(tmp_path: Path) -> None:
    entries = [Entry("s", [done(n, n, 2, 5)]) for n in range(4)]
    found = now(stored(tmp_path / "l", Entry("s", [other(0, 9, WAITING)]), *entries))
    assert found.stretches == {
        KEY: [
            Stretch(day(0), day(3), DONE, 8, 20),
            Stretch(day(4), day(9), WAITING, detail="x"),
        ]
    }


def test_windows_of_one_commit_are_one_row_whatever_their_order(tmp_path: Path) -> None:
    found = now(stored(tmp_path / "l", Entry("s", [done(n, n) for n in (3, 1, 2, 0)])))
    assert found.stretches == {KEY: [Stretch(day(0), day(3), DONE, 4, 4)]}


def test_accounts_interfaces_and_sinks_are_kept_apart(tmp_path: Path) -> None:
    async def main() -> tuple[object, object]:
        async with Ledger(tmp_path / "l") as ledger:
            settled = [done(0, 0), done(1, 1, key=("wx2", "e")), done(1, 1, key=("wx1", "f"))]
            await ledger.commit([Entry("s", settled), Entry("t", [done(5, 5)])])
            return await ledger.done("s"), await ledger.done("t")

    assert now(main()) == (
        {
            ("wx1", "e"): [(day(0), day(0))],
            ("wx1", "f"): [(day(1), day(1))],
            ("wx2", "e"): [(day(1), day(1))],
        },
        {("wx1", "e"): [(day(5), day(5))]},
    )


def test_what_failed_or_waits_is_not_done(tmp_path: Path) -> None:
    async def main() -> object:
        async with Ledger(tmp_path / "l") as ledger:
            settled = [done(0, 1), other(2, 3), other(4, 5, WAITING), done(6, 6)]
            await ledger.commit([Entry("s", settled)])
            return await ledger.done("s")

    assert now(main()) == {KEY: [(day(0), day(1)), (day(6), day(6))]}


def test_the_empty_days_of_years_come_back(tmp_path: Path) -> None:
    settled = [done(n, n, n % 3, n % 3) for n in range(1000)]
    found = now(stored(tmp_path / "l", Entry("s", settled)))
    [stretch] = found.stretches[KEY]
    assert stretch.empty == sum(1 << n for n in range(1000) if n % 3 == 0)


def test_figures_of_what_was_replaced_are_taken_away(tmp_path: Path) -> None:
    again = done(1, 1, 2, 20)
    found = now(
        stored(
            tmp_path / "l",
            Entry("s", [done(n, n, 5, 50) for n in range(3)]),
            Entry("s", [again], replaced={again.window: Tally(5, 50)}),
        )
    )
    assert found.stretches == {KEY: [Stretch(day(0), day(2), DONE, 12, 120)]}


def test_a_receipt_is_kept_key_by_key(tmp_path: Path) -> None:
    found = now(
        stored(
            tmp_path / "l",
            Entry("s", (), {"a": "1", "b": "2"}),
            Entry("s", (), {"b": "3", "c": "早"}),
            Entry("t", (), {"a": "other"}),
        )
    )
    assert (found.receipt, found.sinks) == ({"a": "1", "b": "3", "c": "早"}, ["s", "t"])


def test_an_empty_value_removes_its_key_from_a_receipt(tmp_path: Path) -> None:
    found = now(stored(tmp_path / "l", Entry("s", (), {"a": "1"}), Entry("s", (), {"a": ""})))
    assert found.receipt == {}


def test_calls_add_up_by_day(tmp_path: Path) -> None:
    async def main() -> list[object]:
        async with Ledger(tmp_path / "l") as ledger:
            await ledger.commit([], [Spent("wx1", "e", day(0), 3), Spent("wx1", "e", day(1), 9)])
            await ledger.commit([], [Spent("wx1", "e", day(0), 4), Spent("wx2", "e", day(0), 1)])
            return [await ledger.spent(day(n)) for n in range(3)]

    assert now(main()) == [
        {("wx1", "e"): 7, ("wx2", "e"): 1},
        {("wx1", "e"): 9},
        {},
    ]


def test_the_widest_range_that_was_asked_for_is_remembered(tmp_path: Path) -> None:
    async def main() -> object:
        async with Ledger(tmp_path / "l") as ledger:
            await ledger.ask([("wx1", "e", day(5), day(9)), ("wx1", "f", day(0), day(0))])
            await ledger.ask([("wx1", "e", day(7), day(12))])
            await ledger.ask([("wx1", "e", day(3), day(4))])
            return await ledger.asked()

    assert now(main()) == {("wx1", "e"): (day(3), day(12)), ("wx1", "f"): (day(0), day(0))}


def test_a_commit_stores_all_or_nothing(tmp_path: Path) -> None:
    async def main() -> Everything:
        async with Ledger(tmp_path / "l") as ledger:
            await ledger.commit([Entry("s", [done(0, 0)])])
            before = await everything(ledger)
            with pytest.raises(LedgerError):
                await ledger.commit(
                    [Entry("s", [done(1, 1)], {"a": "1"})],
                    [Spent("wx1", "e", day(0), None)],  # type: ignore[arg-type]
                )
            assert await everything(ledger) == before
            await ledger.commit([Entry("s", [done(1, 1)])])
            return await everything(ledger)

    assert now(main()).stretches == {KEY: [Stretch(day(0), day(1), DONE, 2, 2)]}


# against a model


class Model:
    """Every day by itself."""

    def __init__(self) -> None:
        self.days: defaultdict[str, dict[tuple[Any, date], tuple[str, str, bool]]] = defaultdict(
            dict
        )
        self.laid: list[tuple[str, Settled]] = []
        self.receipts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.spent: Counter[tuple[str, str]] = Counter()

    def commit(self, entries: list[Entry], spent: list[Spent]) -> None:
        for sink, settled, receipt, *_ in entries:
            for each in settled:
                self._lay(sink, each)
            kept = {**self.receipts[sink], **receipt}
            self.receipts[sink] = {key: value for key, value in kept.items() if value}
        for appid, endpoint, _, calls in spent:
            self.spent[appid, endpoint] += calls

    def _lay(self, sink: str, settled: Settled) -> None:
        window, new = settled
        key = window.appid, window.endpoint
        if new.state == DONE:
            self.laid.append((sink, settled))
        for number in range(new.days):
            place = key, new.begin + timedelta(days=number)
            if new.state == DONE or self.days[sink].get(place, ("",))[0] != DONE:
                self.days[sink][place] = new.state, new.detail, bool(new.empty)

    def figures(self, sink: str, key: tuple[str, str], stretch: Stretch) -> tuple[int, int]:
        records = checksum = 0
        for name, (window, new) in self.laid:
            within = stretch.begin <= new.begin <= stretch.end
            if name == sink and (window.appid, window.endpoint) == key and within:
                records += new.records
                checksum = add_checksums(checksum, new.checksum)
        return records, checksum


@st.composite
def commits(draw: st.DrawFn) -> tuple[list[Entry], list[Spent]]:
    entries = []
    for sink in draw(st.sampled_from([["s"], ["s", "t"], ["t"]])):
        settled = []
        for key in draw(st.sampled_from([[KEY], [KEY, ("wx2", "e")]])):
            at = draw(st.integers(0, 25))
            for _ in range(draw(st.integers(0, 4))):
                end = at + draw(st.integers(0, 3))
                state = draw(st.sampled_from([DONE, DONE, FAILED, WAITING]))
                if state == DONE:
                    records = draw(st.integers(0, 2))
                    checksum = draw(st.integers(0, 2**63 - 1)) if records else 0
                    settled.append(done(at, end, records, checksum, key))
                else:
                    settled.append(other(at, end, state, draw(st.sampled_from("xy")), key))
                at = end + draw(st.integers(1, 3))
        receipt = draw(st.dictionaries(st.sampled_from("abc"), st.text(max_size=2), max_size=2))
        entries.append(Entry(sink, draw(st.permutations(settled)), receipt))
    spent = [Spent(*KEY, FIRST, draw(st.integers(0, 9)))] if draw(st.booleans()) else []
    return entries, spent


async def killed(ledger: Ledger) -> None:
    """End a ledger as a death would, for the next one: nothing is put in order."""
    with patch("harvester.ledger.commits.settle"):
        await ledger.__aexit__()


COMMITS = st.tuples(commits(), st.sampled_from(["go on", "go on", "close", "kill"]))


@PROPERTY
@given(st.lists(COMMITS, max_size=8), st.sampled_from([1, 2, 3, 40]))
def test_a_ledger_knows_what_a_naive_model_knows_closed_killed_or_read_beside_it(
    sequence: list[tuple[tuple[list[Entry], list[Spent]], str]], latest: int
) -> None:
    async def main(path: Path) -> None:
        model = Model()
        ledger = await Ledger(path).__aenter__()
        for (entries, spent), then in sequence:
            await ledger.commit(entries, spent)
            model.commit(entries, spent)
            if then != "go on":
                await (ledger.__aexit__() if then == "close" else killed(ledger))
                ledger = await Ledger(path).__aenter__()
        async with Ledger(path, readonly=True) as reader:
            for each in (ledger, reader):
                for sink in ("s", "t"):
                    await compare(each, model, sink)
                assert await each.spent(FIRST) == dict(model.spent)
        await ledger.__aexit__()

    async def compare(ledger: Ledger, model: Model, sink: str) -> None:
        assert await ledger.receipt(sink) == model.receipts[sink]
        days = {}
        found = await ledger.stretches(sink)
        assert await ledger.done(sink) == {
            key: harvested
            for key, known in found.items()
            if (harvested := [(each.begin, each.end) for each in known if each.state == DONE])
        }
        for key, stretches in found.items():
            assert stretches == sorted(stretches)
            for stretch in stretches:
                figures = model.figures(sink, key, stretch) if stretch.state == DONE else (0, 0)
                assert (stretch.records, stretch.checksum) == figures
                for number in range(stretch.days):
                    place = key, stretch.begin + timedelta(days=number)
                    assert place not in days
                    empty = bool(stretch.empty >> number & 1)
                    days[place] = stretch.state, stretch.detail, empty
        assert days == model.days[sink]

    together = patch("harvester.ledger.commits.LATEST", latest)
    with together, tempfile.TemporaryDirectory() as directory:
        now(main(Path(directory) / "l"))


def kept_apart(path: Path) -> int:
    """Commits that were not laid into the other tables."""
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM latest").fetchone()[0])


async def three_commits_and_a_death(path: Path) -> Everything:
    ledger = await Ledger(path).__aenter__()
    for number in range(3):
        await ledger.commit([Entry("s", [done(number, number)])], [Spent(*KEY, FIRST, 1)])
    found = await everything(ledger)
    await killed(ledger)
    return found


def test_what_a_death_left_apart_is_laid_in_when_it_is_opened_and_closed(tmp_path: Path) -> None:
    found = now(three_commits_and_a_death(tmp_path / "l"))
    assert kept_apart(tmp_path / "l") == 3
    assert now(stored(tmp_path / "l")) == found
    assert kept_apart(tmp_path / "l") == 0
    assert now(stored(tmp_path / "l")) == found


def test_what_cannot_be_laid_in_stays_apart_and_is_told_all_the_same(tmp_path: Path) -> None:
    found = now(three_commits_and_a_death(tmp_path / "l"))
    full = sqlite3.OperationalError("database or disk is full")
    with patch("harvester.ledger.commits.settle", side_effect=full):
        assert now(stored(tmp_path / "l")) == found
    assert kept_apart(tmp_path / "l") == 3
    assert now(stored(tmp_path / "l")) == found


def test_a_damaged_ledger_is_not_written_into_when_it_is_refused(tmp_path: Path) -> None:
    now(three_commits_and_a_death(tmp_path / "l"))
    with closing(sqlite3.connect(tmp_path / "l")) as database, database:
        database.execute("UPDATE latest SET sink = 't' WHERE number = 2")
    assert "is damaged" in damaged(tmp_path / "l")
    assert kept_apart(tmp_path / "l") == 3


@pytest.mark.parametrize("replaced", [False, True])
def test_more_windows_than_a_row_should_hold_are_laid_in_at_once(
    replaced: bool, tmp_path: Path
) -> None:
    async def main() -> Everything:
        async with Ledger(tmp_path / "l") as ledger:
            await ledger.commit([Entry("s", [done(0, 0)])])
            settled = [done(2 * n, 2 * n) for n in range(1, 40)]
            former = {settled[5].window: Tally(1, 1)} if replaced else {}
            with patch("harvester.ledger.commits.MOST_AT_ONCE", 40 if replaced else 38):
                await ledger.commit([Entry("s", settled, replaced=former)])
            assert kept_apart(tmp_path / "l") == 0
            return await everything(ledger)

    assert len(now(main()).stretches[KEY]) == 40


@pytest.mark.parametrize("replaced", [False, True])
def test_windows_that_overlap_are_laid_in_one_order_however_they_are_laid(
    replaced: bool, tmp_path: Path
) -> None:
    def batch(begin: int, end: int, gaps: int) -> Batch:
        return Batch(Window(*KEY, day(begin), day(end)), "", 1, b"", 1, gaps=gaps)

    former = {Window(*KEY, day(50), day(50)): Tally(0, 0)} if replaced else {}
    entry = Entry("s", (), harvested=[batch(3, 3, 0), batch(1, 5, 0b100)], replaced=former)
    assert now(stored(tmp_path / "l", entry)).stretches == {
        KEY: [Stretch(day(1), day(5), DONE, 2, 2, 0)]
    }


def test_a_disk_that_cannot_be_read_is_told_by_its_own_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with Ledger(tmp_path / "l") as ledger:

            def fail(database: sqlite3.Connection, _: str) -> None:
                database.execute("ROLLBACK")  # as SQLite does when a read fails
                raise sqlite3.OperationalError("disk I/O error")

            with patch("harvester.ledger.stretches.stretches", fail):
                await ledger.stretches("s")

    with pytest.raises(LedgerError, match="disk I/O error"):
        now(main())


def test_a_row_of_many_pieces_is_laid_in_without_looking_at_all_of_them() -> None:
    known: list[Stretch] = []
    for number in range(20_000):
        overlay(known, other(2 * number, 2 * number, detail=str(number)).stretch)
    began = time.process_time()
    for number in range(2_000):
        overlay(known, other(2 * number, 2 * number, detail="again").stretch)
    assert time.process_time() - began < 1.0  # some 20 s if each looked at all
    assert len(known) == 20_000


def test_harvested_windows_are_told_as_settled_ones_are(tmp_path: Path) -> None:
    draw = Random(5)
    batches = []
    for number in draw.sample(range(60), 40):
        for key in (KEY, ("wx2", "e")):
            records = draw.randrange(3)
            gaps = draw.randrange(3) if records else 0
            window = Window(*key, day(3 * number), day(3 * number + draw.randrange(3)))
            batches.append(Batch(window, "", records, b"", records * 7, gaps=gaps))
    settled = [
        Settled(
            each.window, Stretch(*each.window[2:], DONE, each.records, each.checksum, each.empty)
        )
        for each in batches
    ]
    one = now(stored(tmp_path / "one", Entry("s", (), harvested=batches)))
    assert one == now(stored(tmp_path / "other", *[Entry("s", [each]) for each in settled]))
    former = {batches[0].window: Tally(0, 0)}
    assert one == now(stored(tmp_path / "more", Entry("s", (), harvested=batches, replaced=former)))


# reopening


@pytest.mark.parametrize("newest_first", [False, True])
def test_days_that_are_harvested_in_turn_are_one_stretch(
    newest_first: bool, tmp_path: Path
) -> None:
    days = sorted(range(10), reverse=newest_first)

    async def main() -> dict[tuple[str, str], list[Stretch]]:
        async with Ledger(tmp_path / "l") as ledger:
            for day in days:
                await ledger.commit([Entry("s", [done(day, day, day % 3, day % 3)])])
            return await ledger.stretches("s")

    (stretch,) = now(main())[KEY]
    assert (stretch.days, stretch.records, stretch.checksum) == (10, 9, 9)
    assert stretch.empty == 0b1001001001


def test_days_that_waited_merge_when_they_are_harvested_one_by_one(tmp_path: Path) -> None:
    commits = [Entry("s", [other(0, 9, WAITING)]), *[Entry("s", [done(n, n)]) for n in range(10)]]

    async def main() -> Everything:
        async with Ledger(tmp_path / "l") as ledger:
            for entry in commits:
                await ledger.commit([entry])
            return await everything(ledger)

    assert now(main()).stretches == {KEY: [Stretch(day(0), day(9), DONE, 10, 10)]}


@pytest.mark.parametrize("value", ["2020-04/15", "x", ""])
def test_a_date_that_is_none_is_damage(tmp_path: Path, value: str) -> None:
    now(stored(tmp_path / "l", Entry("s", [done(0, 3)])))
    with closing(sqlite3.connect(tmp_path / "l")) as database, database:
        database.execute("UPDATE stretch SET first_day = ?", (value,))

    async def main() -> None:
        async with Ledger(tmp_path / "l") as ledger:
            await ledger.done("s")

    with pytest.raises(LedgerError, match="is damaged"):
        now(main())


def test_what_was_committed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    before = now(stored(tmp_path / "l", Entry("s", [done(0, 3, 7, 9), other(5, 6)], {"a": "1"})))
    assert now(stored(tmp_path / "l")) == before


def test_what_a_killed_process_committed_is_there(tmp_path: Path) -> None:
    async def main() -> Everything:
        async with Ledger(tmp_path / "l") as ledger:
            await ledger.commit([Entry("s", [done(0, 3, 7, 9)], {"a": "1"})])
            killed = tmp_path / "as it was on the disk"
            killed.mkdir()
            for name in ("l", "l-wal"):
                (killed / name).write_bytes((tmp_path / name).read_bytes())
        return await stored(killed / "l")

    assert now(main()).stretches == {KEY: [Stretch(day(0), day(3), DONE, 7, 9)]}


def test_one_ledger_can_be_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    async def main() -> list[str]:
        ledger = Ledger(tmp_path / "l")
        shown = [repr(ledger).replace(str(tmp_path), "")]
        for _ in range(2):
            async with ledger:
                shown.append(repr(ledger).replace(str(tmp_path), ""))
        return shown

    assert now(main()) == ["<Ledger /l closed>", "<Ledger /l open>", "<Ledger /l open>"]


def test_a_ledger_that_is_open_cannot_be_opened_by_a_second_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with Ledger(tmp_path / "l"):
            for _ in range(2):
                with pytest.raises(UsageError, match="is in use by another harvester"):
                    await stored(tmp_path / "l")
        await stored(tmp_path / "l")

    now(main())


def test_a_reader_is_never_kept_out_and_sees_what_is_committed(tmp_path: Path) -> None:
    async def main() -> list[object]:
        async with Ledger(tmp_path / "l") as ledger, Ledger(tmp_path / "l", readonly=True) as one:
            before = await one.done("s")
            await ledger.commit([Entry("s", [done(0, 0)])])
            async with Ledger(tmp_path / "l", readonly=True) as two:
                return [before, await one.done("s"), await two.done("s")]

    done_now = {KEY: [(day(0), day(0))]}
    assert now(main()) == [{}, done_now, done_now]


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        await stored(tmp_path / "l", Entry("s", [done(0, 0)]))
        async with Ledger(tmp_path / "l", readonly=True) as ledger:
            with pytest.raises(LedgerError, match="cannot be written"):
                await ledger.commit([Entry("s", [done(1, 1)])])
            assert await ledger.done("s") == {KEY: [(day(0), day(0))]}

    now(main())


def test_a_reader_makes_no_ledger(tmp_path: Path) -> None:
    async def main() -> None:
        async with Ledger(tmp_path / "l", readonly=True):
            pass

    with pytest.raises(UsageError, match=r"^there is no ledger at "):
        now(main())
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_means_something_in_a_url_is_a_name(tmp_path: Path) -> None:
    async def main() -> object:
        path = tmp_path / "50% off? #1.sqlite"
        await stored(path, Entry("s", [done(0, 0)]))
        async with Ledger(path, readonly=True) as ledger:
            return await ledger.done("s")

    assert now(main()) == {KEY: [(day(0), day(0))]}


def test_on_a_real_loop_every_call_runs_on_the_ledgers_own_thread(tmp_path: Path) -> None:
    assert asyncio.run(stored(tmp_path / "l", Entry("s", [done(0, 0)]))).stretches == {
        KEY: [Stretch(day(0), day(0), DONE, 1, 1)]
    }


def test_many_calls_at_once_are_stored_one_after_the_other(tmp_path: Path) -> None:
    async def main() -> Everything:
        async with Ledger(tmp_path / "l") as ledger:
            await asyncio.gather(*[ledger.commit([Entry("s", [done(n, n)])]) for n in range(20)])
            return await everything(ledger)

    assert asyncio.run(main()).stretches == {KEY: [Stretch(day(0), day(19), DONE, 20, 20)]}


# a file that is not what it should be


def damaged(path: Path) -> str:
    """The error of a ledger that is opened and read from end to end."""

    async def main() -> None:
        async with Ledger(path) as ledger:
            await everything(ledger)

    with pytest.raises(LedgerError) as caught:
        now(main())
    return str(caught.value)


def filled(path: Path) -> bytes:
    entries = [Entry("s", [done(2 * n, 2 * n)], {f"key {n}": "x" * 50}) for n in range(100)]

    async def main() -> None:
        async with Ledger(path) as ledger:
            await ledger.commit(entries, [Spent(f"wx{n}", "e", FIRST, n) for n in range(100)])
            await ledger.ask([(f"wx{n}", "e", FIRST, FIRST) for n in range(100)])

    now(main())
    return path.read_bytes()


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    now(stored(tmp_path / "l", Entry("s", [done(0, 0)])))
    with closing(sqlite3.connect(tmp_path / "l")) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    assert f"is of version {VERSION + 1}, this harvester knows {VERSION}" in damaged(tmp_path / "l")


def test_after_a_refused_opening_the_ledger_is_free(tmp_path: Path) -> None:
    now(stored(tmp_path / "l"))
    with closing(sqlite3.connect(tmp_path / "l")) as database:
        database.execute("PRAGMA user_version = 99")
    damaged(tmp_path / "l")
    with closing(sqlite3.connect(tmp_path / "l")) as database:
        database.execute(f"PRAGMA user_version = {VERSION}")
    assert now(stored(tmp_path / "l", Entry("s", [done(0, 0)]))).stretches != {}


@pytest.mark.parametrize("at", range(16))
def test_a_flipped_bit_in_the_head_of_the_file_is_damage(tmp_path: Path, at: int) -> None:
    content = bytearray(filled(tmp_path / "l"))
    content[at] ^= 0x10
    (tmp_path / "l").write_bytes(content)
    assert "is damaged" in damaged(tmp_path / "l")


def told(path: Path) -> Everything | None:
    """What a ledger tells, before and after something is written; None if it is refused."""

    async def main() -> Everything:
        async with Ledger(path) as ledger:
            before = await everything(ledger)
            await ledger.commit(
                [Entry("t", [done(n, n) for n in range(0, 60, 2)], {"b": "c" * 90})]
            )
            await ledger.commit([Entry("s", [], {f"key {n}": "" for n in range(20)})])
        async with Ledger(path) as ledger:
            after = await everything(ledger)
        assert after.stretches == before.stretches
        assert len(after.receipt) == len(before.receipt) - 20
        return before

    try:
        return now(main())
    except LedgerError as exc:
        assert "harvester rebuild --out " in str(exc)  # noqa: PT017
    except UsageError as exc:
        assert "cannot be written" in str(exc)  # noqa: PT017
    return None


def test_a_bit_that_turned_over_is_found_or_harmless_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    content = filled(path)
    draw = Random(20260101)
    whole = told(path)
    assert whole is not None
    refused = 0
    for at in [*range(100), *(draw.randrange(len(content)) for _ in range(300))]:
        broken = bytearray(content)
        broken[at] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        found = told(path)
        assert found in (None, whole), at
        refused += found is None
    assert refused > 100


def test_a_page_that_is_overwritten_is_damage_unless_nothing_lies_there(tmp_path: Path) -> None:
    content = filled(tmp_path / FILE_NAME)
    size = int.from_bytes(content[16:18], "big")
    free = int.from_bytes(content[36:40], "big")  # its list is checked, too, but not what is free
    whole = told(tmp_path / FILE_NAME)
    refused = 0
    for page in range(1, len(content) // size):
        broken = content[: page * size] + b"\xff" * size + content[(page + 1) * size :]
        (tmp_path / FILE_NAME).write_bytes(broken)
        found = told(tmp_path / FILE_NAME)
        assert found in (None, whole), page
        refused += found is None
    assert refused >= len(content) // size - 1 - free > 5


def test_a_file_that_was_cut_off_is_damage(tmp_path: Path) -> None:
    content = filled(tmp_path / "l")
    (tmp_path / "l").write_bytes(content[: len(content) // 2])
    assert "is damaged" in damaged(tmp_path / "l")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE stretch SET last_day = '2020-02-30'",
        "UPDATE stretch SET records = 'many'",
        "UPDATE stretch SET detail = CAST(x'ff' AS TEXT)",
        "UPDATE asked SET last_day = ''",
        "UPDATE spent SET calls = 'many'",
        "UPDATE receipt SET value = CAST(x'ff' AS TEXT)",
        "DROP TABLE receipt",
        "ALTER TABLE stretch RENAME COLUMN detail TO other",
    ],
)
def test_rows_that_cannot_be_are_damage(tmp_path: Path, change: str) -> None:
    filled(tmp_path / "l")
    with closing(sqlite3.connect(tmp_path / "l")) as database, database:
        database.execute(change)
    assert "is damaged" in damaged(tmp_path / "l")


def test_a_damaged_row_is_told_when_something_is_laid_beside_it(tmp_path: Path) -> None:
    now(stored(tmp_path / "l", Entry("s", [done(0, 0)])))
    with closing(sqlite3.connect(tmp_path / "l")) as database, database:
        database.execute("UPDATE stretch SET last_day = 'x'")
    with pytest.raises(
        LedgerError, match=r"^the ledger .* is damaged \(.*\); what was harvested is"
    ):
        now(stored(tmp_path / "l", Entry("s", [done(1, 1)])))


def test_a_file_that_is_no_ledger_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = connections(monkeypatch)
    (tmp_path / "l").write_bytes(bytes(range(256)) * 40)
    assert "is damaged" in damaged(tmp_path / "l")
    [connection] = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")


def test_a_damaged_ledger_can_be_read_no_more_than_written(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(bytes(range(256)) * 40)

    async def main() -> None:
        async with Ledger(tmp_path / "l", readonly=True):
            pass

    with pytest.raises(LedgerError, match="what was harvested is not lost: move it away"):
        now(main())


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "l").touch()
    assert now(stored(tmp_path / "l", Entry("s", (), {"a": "1"}))).receipt == {"a": "1"}


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_ledger_whose_making_was_cut_off_knows_nothing(tmp_path: Path, journal: str) -> None:
    with closing(sqlite3.connect(tmp_path / "l")) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
    before = (tmp_path / "l").read_bytes()

    async def main() -> Everything:
        async with Ledger(tmp_path / "l", readonly=True) as ledger:
            return await everything(ledger)

    assert now(main()) == Everything({}, {}, {}, {}, [], {}, {})
    assert (tmp_path / "l").read_bytes() == before
    assert now(stored(tmp_path / "l", Entry("s", [done(0, 0)]))).stretches != {}


def test_a_file_of_tables_that_are_no_ledgers_is_refused_by_readers_too(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "l")) as database:
        database.execute("CREATE TABLE mine (one)")

    async def main() -> None:
        async with Ledger(tmp_path / "l", readonly=True):
            pass

    with pytest.raises(LedgerError, match="is of version 0"):
        now(main())


@pytest.mark.parametrize(
    ("error", "room", "said"),
    [
        ("database or disk is full", True, "the disk is full: the ledger"),
        ("disk I/O error", False, "the disk is full: the ledger"),
        ("disk I/O error", True, r"failed \(disk I/O error\); nothing that it holds is lost"),
    ],
)
def test_a_disk_that_fails_is_told_by_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, room: bool, said: str
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError(error)

    monkeypatch.setattr("harvester.ledger.file.has_room", lambda _: room)
    monkeypatch.setattr("harvester.ledger.commits.commit", fail)
    with pytest.raises(LedgerError, match=said):
        now(stored(tmp_path / "l", Entry("s", [done(0, 0)])))


def test_no_room_for_the_directory_of_a_ledger_is_no_fault_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harvester.ledger.file.make_directory", fail)
    with pytest.raises(LedgerError, match=r"^the disk is full: the ledger"):
        now(stored(tmp_path / "d" / "l"))


def test_a_directory_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        now(stored(tmp_path / "l"))


def test_a_file_in_place_of_the_directory_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "d").touch()
    with pytest.raises(UsageError, match=r"^the directory .* cannot be written \("):
        now(stored(tmp_path / "d" / "l"))
