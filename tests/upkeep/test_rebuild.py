"""A new ledger from what stands in a sink: what is taken as final, and what is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harvester.base.dates import WindowKind, rfc3339
from harvester.base.lock import FileLock
from harvester.config.plugins import sink as sink_of
from harvester.errors import SinkError, UsageError
from harvester.ledger import PostgresLedger, SqliteLedger
from harvester.ledger.coverage import DONE, STORED, Calendar, Outcome
from harvester.model import Batch, Tally, Window
from harvester.sinks import scan as stored
from harvester.sinks.base import StoredWindow
from harvester.testing import MemorySink
from harvester.upkeep.rebuild import Rebuilt, _Reading, rebuild, rebuild_shared
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import had
from tests.builders import Feed, counted
from tests.postgres_server import PostgresServer
from tests.support import A, B, at, noon

SUMMARY = INTERFACES["getarticlesummary"]
USERS = INTERFACES["getusersummary"]
GROWING = next(each for each in INTERFACES.values() if each.late_days > 3)
NOW = noon("2024-03-01")
LATER = rfc3339(noon("2024-02-20"))
"""Long after the days that the tests are about."""
batch = partial(counted, fetched=LATER)


END = batch("2024-02-19")
"""It is written last, and may not be whole."""


class Growing(MemorySink):
    """As a file that grows: the last window that was written may have been cut off."""

    def scan(self, *args: Any, **options: Any) -> Any:
        found = [*super().scan(*args, **options)]
        last = [each for each in self._batches if each.endpoint == args[0]][-1]
        return [each._replace(whole=each.window != last) for each in found]


async def made(
    tmp_path: Path, *batches: Batch, find: Any = INTERFACES.get, sinks: list[Any] | None = None
) -> Rebuilt:
    sink = Growing()
    await sink.write([each for each in batches if each.records], {})
    return await rebuild(tmp_path / "ledger.sqlite", sinks or [sink], find, NOW)


def calendars(tmp_path: Path) -> dict[tuple[str, str], Calendar]:
    async def read() -> dict[tuple[str, str], Calendar]:
        async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
            return await ledger.calendars(await ledger.accounts())

    return asyncio.run(read())


def states(tmp_path: Path, name: str = SUMMARY.name, appid: str = A) -> dict[str, str]:
    """Of each window that is asked for again why."""
    found = calendars(tmp_path)[appid, name]
    return {f"{each.begin}": each.detail for each in found.windows.values()}


# what is found


def test_what_stands_there_is_final_with_its_sums_and_the_rest_is_not_known(tmp_path: Path) -> None:
    one, other = batch("2024-01-01", records=3), batch("2023-12-30", records=2)
    found = asyncio.run(made(tmp_path, one, batch("2024-01-02", records=0), other, END))
    assert (found.accounts, found.windows, found.records, found.again) == (1, 3, 6, 1)
    calendar = calendars(tmp_path)[A, SUMMARY.name]
    row = calendar.years[2024]
    assert row[:3] == b"f.."
    assert calendar.sums == {2024: one.tally, 2023: other.tally}


def test_each_account_and_interface_is_found(tmp_path: Path) -> None:
    found = asyncio.run(made(
        tmp_path, batch("2024-01-01"), batch("2024-01-05", appid=B),
        batch("2024-01-09", name=USERS.name), batch("2024-01-03"),
    ))  # fmt: skip
    assert (found.accounts, found.windows, found.again) == (2, 4, 2)
    assert calendars(tmp_path).keys() == {(A, SUMMARY.name), (B, SUMMARY.name), (A, USERS.name)}

    async def asked() -> object:
        async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
            return await ledger.asked()

    assert asyncio.run(asked()) == {
        (A, SUMMARY.name): ((date(2024, 1, 1), date(2024, 1, 3)),),
        (B, SUMMARY.name): ((date(2024, 1, 5), date(2024, 1, 5)),),
        (A, USERS.name): ((date(2024, 1, 9), date(2024, 1, 9)),),
    }


def test_what_was_written_last_may_not_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "AT_ONCE", 2)  # a group's last is decided upon with the next one
    batches = [batch(f"2024-01-0{n}") for n in (5, 3, 1, 4)]
    found = asyncio.run(made(tmp_path, *batches))
    assert (found.again, found.windows, found.records) == (1, 4, 4)
    assert states(tmp_path) == {
        "2024-01-04": "it is incomplete, or it is uncertain whether all of it was written"
    }
    [window] = calendars(tmp_path)[A, SUMMARY.name].windows.values()
    assert (window.tally, window.due, window.stored) == (batches[-1].tally, 0.0, True)


SOON = rfc3339(at("2024-01-08", 9))
YOUNG = rfc3339(at("2024-01-02", 9))


def week(fetched: str, appid: str = A) -> Batch:
    return batch("2024-01-01", "2024-01-07", fetched=fetched, appid=appid)


def fetched_together(at: str) -> list[Batch]:
    return [week(at), batch("2024-01-08", fetched=at)]


@pytest.mark.parametrize(
    ("batches", "again"),
    [
        ([batch("2024-01-01", name="gone", fetched=YOUNG), batch("2024-01-02", name="gone")], "02"),
        ([week(""), batch("2024-01-08")], "08"),
        ([week("soon"), batch("2024-01-08")], "08"),
        ([week(SOON), batch("2024-01-20"), batch("2024-01-08", fetched=SOON)], "08"),
        ([batch("2024-01-07", fetched=SOON), batch("2024-01-08", fetched=SOON)], "08"),
        (fetched_together(rfc3339(at("2024-01-11", 7.9))), "01 08"),
        (fetched_together(rfc3339(at("2024-01-11", 8))), "08"),
    ],
    ids=[
        "an interface that is not known any more",
        "the time is not known",
        "the time is none",
        "the newest fetch is not the one that stands last",
        "a day that has records has its last one",
        "within three days of its end",
        "three days of its end",
    ],
)
def test_what_can_have_changed_since_it_was_fetched_is_asked_for_again(
    tmp_path: Path, batches: list[Batch], again: str
) -> None:
    asyncio.run(made(tmp_path, *batches))
    found = states(tmp_path, batches[0].window.endpoint)
    assert list(found) == [f"2024-01-{day}" for day in again.split()]


def test_each_account_has_its_own_newest_fetch(tmp_path: Path) -> None:
    batches = [week(SOON), week(SOON, appid=B), batch("2024-01-08", appid=B)]
    asyncio.run(made(tmp_path, *batches))
    assert list(states(tmp_path)) == ["2024-01-01"]
    assert list(states(tmp_path, appid=B)) == ["2024-01-08"]


def grown(first: str, days: int, fetched: str = LATER) -> Batch:
    """An article with the entries of so many days."""
    day = date.fromisoformat(first)
    entries = [{"stat_date": str(day + timedelta(n))} for n in range(days)]
    record = {"ref_date": first, "msgid": "1_1", "details": entries}
    return Batch(Window(A, GROWING.name, day, day), [record], fetched)


def test_a_window_whose_figures_grew_when_it_was_fetched_is_asked_for_again(tmp_path: Path) -> None:
    later = [grown(f"2024-01-0{day}", 7) for day in (2, 3)]
    asyncio.run(made(tmp_path, grown("2024-01-01", 1, YOUNG), *later))
    found = states(tmp_path, GROWING.name)
    assert list(found) == ["2024-01-01", "2024-01-03"]
    assert found["2024-01-01"] == "its figures can change"


def test_a_list_that_lacks_its_last_entry_is_asked_for_again_and_none_is_lost(
    tmp_path: Path,
) -> None:
    asyncio.run(made(tmp_path, *[grown(f"2024-01-0{day}", 9 - day) for day in (1, 2, 3, 4)]))
    (calendar,) = asyncio.run(read_all(tmp_path)).values()
    late = {str(first): window for first, window in calendar.windows.items()}
    assert [*late] == ["2024-01-03", "2024-01-04"]
    assert (late["2024-01-03"].state, late["2024-01-03"].tries) == ("late", 0)
    assert late["2024-01-03"].detail == "the entry of its last day is missing"
    assert late["2024-01-03"].had == had(GROWING, grown("2024-01-03", 6).records)


def test_a_description_of_ones_own_decides(tmp_path: Path) -> None:
    growing = {SUMMARY.name: replace(SUMMARY, late_days=400)}
    asyncio.run(made(tmp_path, batch("2024-01-01"), END, find=growing.get))
    assert list(states(tmp_path)) == ["2024-01-01", "2024-02-19"]


@pytest.mark.parametrize(
    ("last_fetched", "again"),
    [
        (SOON, True),
        (rfc3339(at("2024-01-09", 8.9)), True),
        (rfc3339(at("2024-01-09", 9)), False),
        (rfc3339(at("2024-01-09", 9.1)), False),
    ],
)
def test_a_window_of_several_days_that_was_fetched_soon_may_lack_its_last_one(
    tmp_path: Path, last_fetched: str, again: bool
) -> None:
    """Unless a run came a day later, which asked for it again if it could still change."""
    batches = [
        batch("2024-01-01", "2024-01-07", 7, fetched=SOON),
        batch("2024-01-08", fetched=last_fetched),
    ]
    found = asyncio.run(made(tmp_path, *batches))
    assert found.again == 1 + again
    why = states(tmp_path).get("2024-01-01")
    late = (
        "it was fetched less than three days after its last figures were due, and these might"
        " be late"
    )
    assert why == (late if again else None)
    calendar = calendars(tmp_path)[A, SUMMARY.name]
    assert calendar.sum() == (Tally() if again else batches[0].tally)
    assert calendar.stored_tally() == batches[0].tally.plus(batches[1].tally)


# the ledgers


def test_the_former_ledger_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"damaged")
    path.with_name("ledger.sqlite-wal").write_bytes(b"log")
    first = Path(asyncio.run(made(tmp_path, END)).former)
    assert first.name == "ledger.sqlite.former"
    assert first.read_bytes() == b"damaged"
    assert first.with_name(first.name + "-wal").read_bytes() == b"log"
    second = asyncio.run(made(tmp_path, END)).former
    assert second == str(first.with_name(first.name + "-2"))
    assert list(states(tmp_path)) == ["2024-02-19"]
    assert not list(tmp_path.glob("*.new*"))


def test_where_there_was_no_ledger_none_is_kept(tmp_path: Path) -> None:
    assert not asyncio.run(made(tmp_path, END)).former
    assert not list(tmp_path.glob("*former*"))


def test_what_a_rebuilding_that_was_killed_has_left_does_no_harm(tmp_path: Path) -> None:
    for beside in ("", "-wal", "-shm", ".lock"):
        (tmp_path / f"ledger.sqlite.new{beside}").write_bytes(b"half")
    asyncio.run(made(tmp_path, END))
    assert list(states(tmp_path)) == ["2024-02-19"]


def test_where_no_sink_can_be_scanned_it_is_refused(tmp_path: Path) -> None:
    sinks = [Feed("feed:one"), Feed("feed:two")]
    with pytest.raises(UsageError, match=r"^feed:one, feed:two cannot be read back; its days"):
        asyncio.run(made(tmp_path, sinks=sinks))
    assert list(tmp_path.iterdir()) == []


def test_while_a_run_is_under_way_nothing_is_made(tmp_path: Path) -> None:
    claim = FileLock(tmp_path / "ledger.sqlite.lock", "the directory")
    try:
        with pytest.raises(UsageError):
            asyncio.run(made(tmp_path, END))
    finally:
        claim.release()
    assert not (tmp_path / "ledger.sqlite").exists()


class Opened(MemorySink):
    async def open(self, checkpoint: Any) -> Any:
        assert checkpoint is None
        await super().open(checkpoint)
        return {"of": self.identity}


class Damaged(Opened):
    def scan(self, *_: object) -> Iterator[StoredWindow]:  # type: ignore[override]
        raise SinkError("a segment is gone")


async def test_the_sinks_that_can_be_read_back_are_listed_with_their_checkpoints(
    tmp_path: Path,
) -> None:
    feed, source, other = (
        Feed("feed:"),
        Opened(f"files:{tmp_path / 'one'}"),
        Opened("memory:two"),
    )
    source.path = tmp_path / "one"  # type: ignore[attr-defined]
    for sink in (source, other):
        await sink.write([END], {})
    found = await made(tmp_path, sinks=[feed, source, other])
    assert (found.sink, found.apart, found.unlisted) == (source, 0, [feed])
    async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert await ledger.sinks() == {"files:one": "", "memory:two": ""}  # by its place there
        assert await ledger.checkpoint("files:one") == {"of": f"files:{tmp_path / 'one'}"}
        assert await ledger.checkpoint("memory:two") == {"of": "memory:two"}
    assert [(one.opened, one.closed) for one in (feed, source, other)] == [(0, 0), (1, 1), (1, 1)]


async def test_windows_that_another_sink_lacks_are_left_out(tmp_path: Path) -> None:
    first, second = batch("2024-01-01", "2024-01-03"), batch("2024-01-04", records=2)
    source, part, more = Opened("memory:one"), Opened("memory:two"), Opened("memory:three")
    await source.write([first, second, END], {})
    await part.write([batch("2024-01-01", "2024-01-02"), second, END], {})
    await more.write([*map(batch, ("2024-01-01", "2024-01-02", "2024-01-03")), second, END], {})
    found = await made(tmp_path, sinks=[source, part, more])
    assert (found.windows, found.apart, found.again) == (2, 1, 0)
    async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        calendar = (await ledger.calendars([A]))[A, SUMMARY.name]
        assert (calendar.count(DONE), calendar.count(STORED)) == (2, 2)
        assert (await ledger.asked())[A, SUMMARY.name][0][0] == date(2024, 1, 1)


async def test_where_a_sink_cannot_be_read_the_ledger_is_as_it_was(tmp_path: Path) -> None:
    path, sink = tmp_path / "ledger.sqlite", Damaged("memory:one")
    path.write_bytes(b"former")
    await sink.write([END], {})
    with pytest.raises(SinkError, match="a segment is gone"):
        await made(tmp_path, sinks=[sink])
    assert path.read_bytes() == b"former"
    assert sink.closed == 1
    FileLock(tmp_path / "ledger.sqlite.lock", "the directory").release()


async def test_a_shared_ledger_is_made_anew_twice_within_a_second(
    postgres: PostgresServer,
) -> None:
    url, sink = postgres.url(postgres.new_database()), Opened("memory:one")
    await sink.write([END], {})
    found = [
        await rebuild_shared(PostgresLedger(url), [sink], INTERFACES.get, NOW + later)
        for later in (0.0, 0.1, 0.2)
    ]
    assert found[0].former == ""
    assert found[1].former != found[2].former


def test_records_are_not_kept_of_what_was_read() -> None:
    reading = _Reading(INTERFACES[SUMMARY.name])
    soon = week(SOON)
    held = StoredWindow(soon.window, soon.tally, SOON, lambda: pytest.fail("they are not read"))
    assert reading.outcomes(held) == []
    [kept] = reading._undecided
    assert kept.records() == []
    [found] = reading.last()
    assert (found.tally, found.state) == (soon.tally, "open")


# several sinks


class Ordered(Opened):
    """As a database: it returns the fields in its own order, and days as it writes them."""

    async def open(self, checkpoint: Any) -> Any:
        return {}

    def scan(self, *args: Any, **options: Any) -> Iterator[StoredWindow]:
        for each in MemorySink.scan(self, *args, **options):
            records = [*map(self.reordered, each.records())]
            batch = Batch(each.window, records, each.fetched_at)
            yield each._replace(tally=batch.tally, records=lambda records=records: records)

    @staticmethod
    def reordered(record: dict[str, Any]) -> dict[str, Any]:
        text = record.get("ref_date", "")
        day = {"ref_date": f"{text[:4]}-{text[4:6]}-{text[6:]}"} if len(text) == 8 else {}
        held = {key: value for key, value in sorted(record.items()) if value is not None}
        return {**held, **day}


class Plain(MemorySink):
    async def open(self, checkpoint: Any) -> Any:
        return {}


def users(day: str, *figures: int, fetched: str = LATER) -> Batch:
    window = Window(A, USERS.name, date.fromisoformat(day), date.fromisoformat(day))
    records = [
        {"user_source": n, "ref_date": day.replace("-", ""), "new_user": each, "cancel_user": None}
        for n, each in enumerate(figures)
    ]
    return Batch(window, records, fetched)


async def rebuilt(tmp_path: Path, *sinks: Any, find: Any = INTERFACES.get) -> Rebuilt:
    return await rebuild(tmp_path / "ledger.sqlite", [*sinks], find, NOW)


async def letters(tmp_path: Path, name: str = USERS.name) -> str:
    """The first days of January."""
    async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        return (await ledger.calendars([A]))[A, name].years[2024][:6].decode()


async def test_a_window_is_taken_if_its_records_are_the_same_in_every_sink(tmp_path: Path) -> None:
    one, other = Plain("memory:one"), Ordered("memory:two")
    await one.write([users("2024-01-01", 7, 8), users("2024-01-02", 5), users("2024-01-03", 1)], {})
    early = rfc3339(noon("2024-02-19"))
    await other.write([users("2024-01-01", 7, 8), users("2024-01-02", 6)], {})
    await other.write([users("2024-01-03", 1, fetched=early), users("2024-01-04", 1)], {})
    found = await rebuilt(tmp_path, one, other)
    assert (found.windows, found.records, found.apart, found.compared) == (1, 2, 3, False)
    assert await letters(tmp_path) == "f....."
    async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert await ledger.sinks() == {"memory:one": "", "memory:two": LATER}
        [tally] = (await ledger.calendars([A]))[A, USERS.name].sums.values()
    assert tally == users("2024-01-01", 7, 8).tally
    assert [len(sink.windows) for sink in (one, other)] == [3, 4]  # nothing was removed


async def test_a_window_that_is_stored_twice_is_requested_again(tmp_path: Path) -> None:
    class Twice(Plain):
        def scan(self, *args: Any, **options: Any) -> Iterator[StoredWindow]:
            for each in super().scan(*args, **options):
                yield from [each, each]

    sink = Twice("memory:one")
    await sink.write([users("2024-01-01", 7, 8)], {})
    found = await rebuilt(tmp_path, sink)
    assert (found.windows, found.apart) == (0, 1)


RECENT = replace(USERS, name="recent", cut=WindowKind.RECENT, span=30)


def recent(*figures: int, end: str = "2024-01-30", fetched: str = LATER) -> Batch:
    last = date.fromisoformat(end)
    window = Window(A, "recent", last - timedelta(days=6), last)
    return Batch(window, [{"n": n} for n in figures], fetched)


def in_ledger(tmp_path: Path, *batches: Batch, state: str = "final") -> Any:
    async def commit() -> None:
        async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            outcomes = [Outcome(each.window, state, each.tally) for each in batches]
            await ledger.commit(outcomes, {})
            await ledger.register([
                (each.window.appid, each.window.endpoint, *each.window[2:]) for each in batches
            ])  # fmt: skip

    return commit()


@pytest.mark.parametrize("known", [True, False])
async def test_what_cannot_be_asked_for_any_more_is_kept_from_one_sink(
    tmp_path: Path, known: bool
) -> None:
    """From the one that agrees with the former ledger, else from the first."""
    first, second, third = Plain("memory:one"), Ordered("memory:two"), Plain("memory:three")
    wrong, right, alone = recent(1), recent(1, 2), recent(3, end="2024-01-10")
    await first.write([wrong, alone], {})
    await second.write([right, alone], {})
    await third.write([right], {})
    if known:
        await in_ledger(tmp_path, right, alone)
    found = await rebuilt(tmp_path, first, second, third, find={"recent": RECENT}.get)
    kept = right if known else wrong
    assert (found.windows, found.apart, found.records) == (2, 0, 1 + kept.count)
    of = "memory:two" if known else "memory:one"
    assert f"{kept.window} ({of})" in found.kept
    for sink in (first, second, third):
        wanted = {each.window: each.documents() for each in (alone, kept)}
        assert sink.windows == wanted
    [calendar] = (await read_all(tmp_path)).values()
    assert calendar.count(DONE) == 14
    assert (await rebuilt(tmp_path, first, second, third, find={"recent": RECENT}.get)).kept == []


async def test_an_interface_that_answered_that_it_is_offline_is_not_asked_again(
    tmp_path: Path,
) -> None:
    first, second = Plain("memory:one"), Plain("memory:two")
    await first.write([users("2024-01-01", 1)], {})
    await second.write([users("2024-01-01", 1, 2)], {})
    await in_ledger(tmp_path, users("2024-01-01", 1, 2))
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        refused = Window(A, USERS.name, date(2024, 1, 2), date(2024, 1, 2))
        await ledger.commit([Outcome(refused, "failed", detail="offline", code=47009)], {})
    found = await rebuilt(tmp_path, first, second)
    assert (found.apart, len(found.kept)) == (0, 1)
    assert first.windows == second.windows
    assert len(first.records) == 2


# the former ledger


async def test_a_year_that_differs_from_the_former_ledger_is_requested_again(
    tmp_path: Path,
) -> None:
    days = [users("2023-12-31", 4), users("2024-01-01", 1), users("2024-01-02", 5, 6)]
    await in_ledger(tmp_path, *days)
    sink = Plain("memory:one")
    await sink.write([*days[:2], users("2024-01-02", 5), users("2024-01-03", 1)], {})
    found = await rebuilt(tmp_path, sink)
    assert (found.windows, found.again, found.differing, found.compared) == (4, 3, 3, True)
    assert await letters(tmp_path) == "ooo..."
    found = await rebuilt(tmp_path, sink)  # what is open stays so
    assert (found.differing, found.again) == (0, 3)
    assert await letters(tmp_path) == "ooo..."
    [calendar] = (await read_all(tmp_path)).values()
    assert calendar.years[2023][-1:] == b"f"


async def test_what_the_former_ledger_does_not_know_is_no_difference(tmp_path: Path) -> None:
    await in_ledger(tmp_path, users("2024-01-01", 1))
    sink, other = Plain("memory:one"), users("2024-01-02", 7)
    await sink.write([users("2024-01-01", 1), other, users("2023-05-01", 3)], {})
    stranger = Batch(other.window._replace(appid=B), other.records, LATER)
    await sink.write([stranger], {})
    found = await rebuilt(tmp_path, sink)
    assert (found.windows, found.again, found.strange) == (4, 0, [B])
    assert await letters(tmp_path) == "ff...."


async def test_a_sink_that_agrees_speaks_for_the_others(tmp_path: Path) -> None:
    """Only what differs between the two is requested again, not the whole year."""
    days = [users("2024-01-01", 1), users("2024-01-02", 5, 6), users("2024-01-03", 5)]
    await in_ledger(tmp_path, *days)
    one, other = Plain("memory:one"), Plain("memory:two")
    await one.write([days[0], users("2024-01-02", 5), days[2]], {})
    await other.write(days, {})
    found = await rebuilt(tmp_path, one, other)
    assert (found.windows, found.differing, found.apart) == (2, 0, 1)
    assert await letters(tmp_path) == "f.f..."


async def test_of_a_copy_in_another_form_the_records_are_counted(tmp_path: Path) -> None:
    days = [users("2024-01-01", 1, 2), users("2024-01-02", 5, 6)]
    await in_ledger(tmp_path, *days)
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.list_sinks({"memory:one": LATER})
    sink = Ordered("memory:one")
    await sink.write(days, {})
    assert (await rebuilt(tmp_path, sink)).differing == 0
    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        await ledger.list_sinks({"memory:one": LATER})
    await sink.write([users("2024-01-02", 5)], {})
    assert (await rebuilt(tmp_path, sink)).differing == 2


async def test_what_is_lost_for_good_is_named(tmp_path: Path) -> None:
    lost, doubtful = recent(1, 2), recent(3, 4, end="2024-01-10")
    await in_ledger(tmp_path, lost, doubtful, users("2024-01-03", 1))
    sink = Plain("memory:one")
    await sink.write([recent(3, end="2024-01-10")], {})
    find = {"recent": RECENT, USERS.name: USERS}.get
    found = await rebuilt(tmp_path, sink, find=find)
    assert found.lost == [str(lost.window)]
    assert found.doubtful == [str(doubtful.window)]
    async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert (await ledger.asked()).keys() == {(A, "recent"), (A, USERS.name)}


async def test_a_former_ledger_that_is_damaged_is_compared_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"damaged" * 1000)
    sink = Plain("memory:one")
    await sink.write([users("2024-01-02", 5)], {})
    assert not (await rebuilt(tmp_path, sink)).compared


async def test_a_shared_ledger_is_compared_as_well(postgres: PostgresServer) -> None:
    url, sink = postgres.url(postgres.new_database()), Plain("memory:one")
    await sink.write([users("2024-01-01", 1), users("2024-01-02", 5, 6)], {})
    args = [sink], INTERFACES.get, NOW
    assert (await rebuild_shared(PostgresLedger(url), *args)).windows == 2
    await sink.write([users("2024-01-02", 5)], {})
    found = await rebuild_shared(PostgresLedger(url), *args[:2], NOW + 1)
    assert (found.compared, found.differing, found.windows) == (True, 2, 2)


async def read_all(tmp_path: Path) -> dict[tuple[str, str], Calendar]:
    async with SqliteLedger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        return await ledger.calendars(await ledger.accounts())


# a sink that is not there, or has no records


def files() -> dict[Path, bytes | bool]:
    """The files and folders, without a reader's of SQLite, and locks."""
    return {
        each: each.is_file() and each.read_bytes()
        for each in Path().rglob("*")
        if not each.name.endswith(("-shm", "-wal", ".lock"))
    }


@pytest.mark.parametrize("spec", ["sqlite:typo.db", "jsonl:typo", "sqlite:empty.db", "jsonl:empty"])
async def test_a_mistyped_sink_is_not_made_and_replaces_no_ledger(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("empty.db").touch()
    for former in (False, True):
        if former:
            await in_ledger(tmp_path, users("2024-01-01", 1))
        before = files()
        with pytest.raises(UsageError, match="does not exist, or has no records; name the sinks"):
            await rebuilt(tmp_path, sink_of(spec))
        assert files() == before


async def test_a_sink_without_records_is_refused(tmp_path: Path) -> None:
    whole, bare = Plain("memory:one"), Plain("memory:two")
    assert (await rebuilt(tmp_path, bare)).windows == 0  # nothing is known to be lost
    await in_ledger(tmp_path, users("2024-01-01", 1))
    ledger = tmp_path / "ledger.sqlite"
    way = (
        f"if its records are lost, run `mv {ledger} {ledger}.former`, and then the same run"
        " again: it requests them"
    )
    with pytest.raises(UsageError, match=rf"^memory:two does not exist, .*; {way}"):
        await rebuilt(tmp_path, bare)
    await whole.write([users("2024-01-01", 1)], {})
    with pytest.raises(UsageError, match=r"^memory:two does not exist, .*`harvester verify`"):
        await rebuilt(tmp_path, whole, bare)
    assert (await rebuilt(tmp_path, whole)).windows == 1
