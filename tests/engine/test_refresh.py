"""What is stored is made open again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester.base.dates import Days, WindowKind
from harvester.engine.refresh import calendars_in, reopen
from harvester.errors import SinkAwayError, SinkError
from harvester.ledger import SqliteLedger
from harvester.ledger.coverage import DONE, STORED, Calendar, Outcome
from harvester.model import Batch, Tally, all_days
from harvester.sinks import scan as stored
from harvester.sinks.base import Checkpoint, StoredWindow
from harvester.testing import MemorySink
from tests.builders import Feed, filled
from tests.builders import counted as batch
from tests.sinks.test_scan import SUMMARY, USERS, T
from tests.support import A, B, days, noon, scope


def final(made: Batch) -> Outcome:
    return Outcome(made.window, "final", made.tally, 0 if made.records else all_days(made.window))


def opened(made: Batch) -> Outcome:
    return Outcome(made.window, "open", made.tally, 0, 77.0, "it grows")


def in_ledger(
    tmp_path: Path, test: Callable[[SqliteLedger], Awaitable[T]], *outcomes: Outcome
) -> T:
    async def run() -> T:
        async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            await ledger.commit(outcomes, {})
            return await test(ledger)

    return asyncio.run(run())


def text(calendar: Calendar, first: str, last: str) -> str:
    """The letters of a range, one a day."""
    letters = {
        each: chr(one)
        for one in b".feowx"
        for run in calendar.runs(date.fromisoformat(first), date.fromisoformat(last), bytes([one]))
        for each in days(*run)
    }
    return "".join(letters[each] for each in sorted(letters))


async def test_without_a_ledger_what_stands_in_the_sinks_is_asked_for_again() -> None:
    one, other = batch("2024-01-01", "2024-01-03"), batch("2024-01-05", name=USERS.name, records=2)
    sinks = [
        Feed("feed:"),
        await filled(one, batch("2024-01-09", appid="wx9"), batch("2024-01-01", name="third")),
        await filled(other),
    ]
    asked = scope(date(2024, 1, 1), date(2024, 1, 31), [A, B], [SUMMARY, USERS])
    found = await calendars_in(sinks, asked.endpoints, asked.accounts)
    assert found.keys() == {(A, SUMMARY.name), (A, USERS.name)}
    assert text(found[A, SUMMARY.name], "2024-01-01", "2024-01-05") == "ooo.."
    [window] = found[A, USERS.name].windows.values()
    assert (window.days, window.tally, window.state) == (other.window[2:], other.tally, "open")


JANUARY_10_TO_20 = date(2024, 1, 10), date(2024, 1, 20)


def reopened(
    tmp_path: Path,
    stands: list[Batch],
    outcomes: list[Outcome],
    *,
    asked: Days = JANUARY_10_TO_20,
    endpoints: tuple[Any, ...] = (SUMMARY,),
    before: tuple[MemorySink, ...] = (),
    behind: tuple[MemorySink, ...] = (),
) -> dict[tuple[str, str], Calendar]:
    """The calendars after a range was opened whose windows stand in a sink between others."""

    async def test(ledger: SqliteLedger) -> dict[tuple[str, str], Calendar]:
        sinks = [*before, await filled(*stands), *behind]
        part = scope(*asked, [A, B], endpoints)
        ranges = [(each.name, part.range_of(each)) for each in endpoints]
        await ledger.mark_refresh(
            [(appid, name, *days) for appid in (A, B) for name, days in ranges if days]
        )
        await reopen(ledger, sinks, part.endpoints, part.accounts, noon("2024-02-10"))
        assert await ledger.refreshes([A, B]) == {}
        return await ledger.calendars([A, B, "wx3"])

    return in_ledger(tmp_path, test, *outcomes)


def all_final(tmp_path: Path, stands: list[Batch], **how: Any) -> dict[tuple[str, str], Calendar]:
    """As `reopened`, where all that stands in the sink was final."""
    return reopened(tmp_path, stands, [final(one) for one in stands], **how)


def test_final_windows_are_opened_as_they_were_stored_and_the_range_is_missing_else(
    tmp_path: Path,
) -> None:
    before, week = batch("2024-01-08", records=3), batch("2024-01-09", "2024-01-15", records=4)
    empty, after = batch("2024-01-16", "2024-01-22", records=0), batch("2024-01-23", records=5)
    found = all_final(tmp_path, [before, week, empty, after])[A, SUMMARY.name]
    assert text(found, "2024-01-07", "2024-01-24") == ".fooooooo.....eef."
    [window] = found.windows.values()
    assert (window.days, window.tally) == (week.window[2:], week.tally)
    assert (window.state, window.due, window.detail) == ("open", 0.0, "--refresh")
    assert found.sums == {2024: before.tally.plus(after.tally)}


def test_each_year_has_its_own_sum_again(tmp_path: Path) -> None:
    stands = [batch("2023-12-31", "2024-01-02"), batch("2024-01-03"), batch("2024-01-12")]
    found = all_final(tmp_path, stands)[A, SUMMARY.name]
    assert found.sums == {2023: stands[0].tally, 2024: stands[1].tally}


def test_a_window_that_is_open_already_stays_as_it_is(tmp_path: Path) -> None:
    one, other = batch("2024-01-10"), batch("2024-01-11", "2024-01-12", records=2)
    found = reopened(tmp_path, [other, one], [final(one), opened(other)])[A, SUMMARY.name]
    assert found.windows[other.window.begin].detail == "it grows"
    assert found.windows[other.window.begin].due == 77.0
    assert found.windows[one.window.begin].detail == "--refresh"
    assert (found.sum(), found.stored_tally()) == (Tally(), one.tally.plus(other.tally))


def test_only_what_was_asked_for_is_opened(tmp_path: Path) -> None:
    stands = [batch("2024-01-12", appid=appid) for appid in (A, B, "wx3")]
    stands += [batch("2024-01-12", name=USERS.name), batch("2024-01-09")]
    found = all_final(tmp_path, stands)
    letters = {key: text(each, "2024-01-09", "2024-01-12") for key, each in found.items()}
    assert letters == {
        (A, SUMMARY.name): "f..o",
        (B, SUMMARY.name): "...o",
        ("wx3", SUMMARY.name): "...f",
        (A, USERS.name): "...f",
    }


def test_of_an_interface_of_recent_days_only_what_ends_yesterday_is_opened(tmp_path: Path) -> None:
    recent = replace(SUMMARY, name="recent", cut=WindowKind.RECENT, span=30)
    month = batch("2024-01-10", "2024-02-08", name="recent")
    yesterday = batch("2024-02-09", name="recent")
    range_ = date(2024, 1, 1), date(2024, 2, 9)
    found = all_final(tmp_path, [month, yesterday], asked=range_, endpoints=(recent,))[A, "recent"]
    assert found.count(DONE) == 30
    assert [each.days for each in found.windows.values()] == [yesterday.window[2:]]
    assert found.sums == {2024: month.tally}


def test_where_no_sink_can_be_scanned_the_days_are_forgotten(tmp_path: Path) -> None:
    other, users = batch("2024-01-01", appid=B), batch("2024-01-12", name=USERS.name)
    outcomes = [final(batch("2024-01-09", "2024-01-11")), opened(batch("2024-01-12"))]
    outcomes += [final(other), final(users)]

    async def test(ledger: SqliteLedger) -> dict[tuple[str, str], Calendar]:
        asked = scope(*JANUARY_10_TO_20, [A, B], (SUMMARY, USERS))
        names = (SUMMARY.name, USERS.name)
        await ledger.mark_refresh([(A, name, *JANUARY_10_TO_20) for name in names])
        await reopen(ledger, [Feed("feed:")], asked.endpoints, asked.accounts, noon("2024-02-10"))
        return await ledger.calendars([A, B])

    found = in_ledger(tmp_path, test, *outcomes)
    assert text(found[A, USERS.name], "2024-01-12", "2024-01-12") == "."
    assert text(found[A, SUMMARY.name], "2024-01-09", "2024-01-12") == "f..."
    assert found[A, SUMMARY.name].sums == {2024: None}
    assert found[B, SUMMARY.name].sums == {2024: other.tally}


def test_the_first_sink_that_can_be_scanned_is_read(tmp_path: Path) -> None:
    one, others = batch("2024-01-12"), {"before": (Feed("feed:"),), "behind": (MemorySink(),)}
    found = all_final(tmp_path, [one], **others)[A, SUMMARY.name]
    assert [each.tally for each in found.windows.values()] == [one.tally]


def test_an_interface_that_has_no_days_in_the_range_is_left_out(tmp_path: Path) -> None:
    later = replace(SUMMARY, first_day=date(2030, 1, 1))
    one, users = batch("2024-01-12"), batch("2024-01-12", name=USERS.name)
    found = reopened(tmp_path, [one], [final(one), final(users)], endpoints=(later, USERS))
    assert text(found[A, SUMMARY.name], "2024-01-12", "2024-01-12") == "f"
    assert text(found[A, USERS.name], "2024-01-12", "2024-01-12") == "."  # nothing stands there


@pytest.mark.parametrize("first", ["2024-01-05", "2024-01-15"])
def test_a_window_that_no_commit_has_stored_is_not_counted(tmp_path: Path, first: str) -> None:
    """A run was killed after the sink had written it."""
    known, unknown = batch("2024-01-12"), batch(first, records=9)
    found = reopened(tmp_path, [known, unknown], [final(known)])[A, SUMMARY.name]
    assert found.stored_tally() == known.tally
    assert text(found, first, first) == "."


def test_a_piece_of_an_open_window_that_no_commit_has_stored_takes_no_day_away(
    tmp_path: Path,
) -> None:
    """A run that asked for the window in pieces was killed after the sink had written the first."""
    known, week = batch("2024-01-10"), batch("2024-01-12", "2024-01-18", records=7)
    piece = batch("2024-01-12", "2024-01-15", records=4)
    outcomes = [final(known), opened(week)]
    found = reopened(tmp_path, [known, piece], outcomes)[A, SUMMARY.name]
    asked_again = [each.days for _, each in sorted(found.windows.items())]
    assert asked_again == [known.window[2:], week.window[2:]]
    assert found.count(STORED) == sum(len(days(*each)) for each in asked_again)


@pytest.mark.parametrize("stands", [True, False])
def test_a_window_of_the_range_that_is_open_already_is_due_at_once(
    tmp_path: Path, stands: bool
) -> None:
    """Also where nothing of the interface is final, and none outside of the range."""
    wall = noon("2024-02-10")
    one, other, final_one = batch("2024-01-10"), batch("2024-01-21"), batch("2024-01-11")
    later = [opened(each)._replace(due=wall + 3600, detail="it grows") for each in (one, other)]
    outcomes = [*later, *([final(final_one)] if stands else [])]
    found = reopened(tmp_path, [one, other, *([final_one] if stands else [])], outcomes)
    windows = found[A, SUMMARY.name].windows
    due = {str(each.begin): (each.due, each.detail) for each in windows.values()}
    wanted = {"2024-01-10": (0.0, "it grows"), "2024-01-21": (wall + 3600, "it grows")}
    assert due == {**wanted, **({"2024-01-11": (0.0, "--refresh")} if stands else {})}


def test_a_year_that_is_opened_in_part_must_be_stored_as_it_was_fetched(tmp_path: Path) -> None:
    stands = [batch(f"2024-01-0{n}") for n in (1, 2, 3)]

    async def test(ledger: SqliteLedger) -> Calendar:
        sink = await filled(*stands[1:])  # somebody has removed the first one
        last, wall = date(2024, 1, 3), noon("2024-02-10")
        part, whole = (scope(date(2024, 1, n), last, [A], [SUMMARY]) for n in (3, 1))
        await ledger.mark_refresh([(A, SUMMARY.name, last, last)])
        with pytest.raises(SinkError, match=r"2 records are stored, 3 were fetched\); refresh the"):
            await reopen(ledger, [sink], part.endpoints, part.accounts, wall)
        await ledger.mark_refresh([(A, SUMMARY.name, date(2024, 1, 1), last)])
        await reopen(ledger, [sink], whole.endpoints, whole.accounts, wall)
        return (await ledger.calendars([A]))[A, SUMMARY.name]

    calendar = in_ledger(tmp_path, test, *map(final, stands))
    assert text(calendar, "2024-01-01", "2024-01-03") == ".oo"
    assert calendar.sum() == Tally()


class Away(MemorySink):
    """Its server does not answer the first readings."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkAwayError("the database could not be read: connection refused")

    def endpoints(self, checkpoint: Checkpoint | None = None) -> list[str]:
        self._fail()
        return super().endpoints(checkpoint)

    def scan(self, *args: Any, **options: Any) -> Iterator[StoredWindow]:
        found = [*super().scan(*args, **options)]
        yield found[0]
        self._fail()
        yield from found[1:]


@pytest.mark.parametrize("failures", [
    1, *[pytest.param(each, marks=pytest.mark.thorough) for each in (3, 4)],
])  # fmt: skip
def test_a_sink_whose_server_is_away_is_read_again(tmp_path: Path, failures: int) -> None:
    stands = [batch("2024-01-12"), batch("2024-01-13")]

    async def test(ledger: SqliteLedger) -> Calendar:
        sink = Away(0)
        await sink.write(stands, {})
        sink.failures = failures
        asked = scope(*JANUARY_10_TO_20, [A])
        await ledger.mark_refresh([(A, SUMMARY.name, *JANUARY_10_TO_20)])
        await reopen(ledger, [sink], asked.endpoints, asked.accounts, noon("2024-02-10"))
        assert sink.failures == 0
        sink.failures = failures
        found = await calendars_in([sink], asked.endpoints, asked.accounts)
        assert len(found[A, SUMMARY.name].windows) == len(stands)
        return (await ledger.calendars([A]))[A, SUMMARY.name]

    assert len(in_ledger(tmp_path, test, *map(final, stands)).windows) == len(stands)


def test_a_sink_whose_server_stays_away_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 0.1)
    with pytest.raises(
        SinkAwayError, match=r"did not answer for 0.1 s \(the database could not be read"
    ):
        asyncio.run(calendars_in([Away(1000)], [SUMMARY], [A]))
