"""The embedded ledger: the checks of ledgers, and what is its own (its journal, its file)."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from harvester.errors import LedgerError, UsageError
from harvester.ledger import Spent, SqliteLedger, checkpoint_in, named_sinks
from harvester.ledger.coverage import FINAL
from harvester.ledger.statements import LATEST
from harvester.testing.sink_bench import ONE
from tests.ledger.bench import INTERFACE, TODAY, LedgerBench, day, outcome
from tests.ledger.checks import LEDGER_CHECKS, any_call, check_ledger

KEY = (ONE, INTERFACE)


def at(path: Path, *, readonly: bool = False) -> Callable[[str], SqliteLedger]:
    """Makes ledgers, each in a folder of its name."""
    return lambda name: SqliteLedger(path / name / "ledger.sqlite", readonly=readonly)


def dies(ledger: SqliteLedger) -> None:
    """What it holds open is let go; what closing it merges is not merged."""
    assert ledger._thread is not None
    ledger._sound = False
    ledger._close()
    ledger._thread.close()
    ledger._thread = None


@pytest.mark.thorough
@pytest.mark.parametrize("name", LEDGER_CHECKS)
def test_it_keeps_what_a_ledger_promises(tmp_path: Path, name: str) -> None:
    asyncio.run(check_ledger(name, at(tmp_path), reader=at(tmp_path, readonly=True), crash=dies))


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(8))
async def test_it_knows_what_it_was_told_through_closings_deaths_and_readers(
    tmp_path: Path, seed: int
) -> None:
    """A death is a copy of the files that nobody has closed."""
    draw = Random(seed)
    bench = LedgerBench("random", "as it was told", at(tmp_path / "0"), at(tmp_path / "0"))
    for life in range(1, 6):
        here, next_ = tmp_path / str(life - 1), tmp_path / str(life)
        async with at(here)("random") as ledger, _beside(here) as reader:
            for number in range(draw.choice((1, LATEST - 1, LATEST, LATEST + 1, 50))):
                await any_call(bench, ledger, draw)
                if number % 11 == 0:
                    await bench.expect(reader)
            await bench.expect(ledger)
            shutil.copytree(here, next_)
        if draw.random() < 0.5:  # closed, not dead
            shutil.rmtree(next_)
            shutil.copytree(here, next_)
        async with at(next_)("random") as found:
            await bench.expect(found)


def _beside(path: Path) -> SqliteLedger:
    return at(path, readonly=True)("random")


# the journal


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(path)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


async def test_commits_lie_in_the_journal_until_there_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    found = []
    async with SqliteLedger(path) as ledger:
        for number in range(2 * LATEST + 1):
            await ledger.commit([outcome(number)], {}, [Spent(*KEY, TODAY, 1)])
            [(journal,)] = rows(path, "SELECT count(*) FROM journal")
            [(calls,)] = rows(path, "SELECT coalesce(sum(calls), 0) FROM budget")
            found.append((journal, calls))
    lies = found
    assert lies[:2] == [(1, 0), (2, 0)]
    assert lies[LATEST - 2 : LATEST + 1] == [(LATEST - 1, 0), (0, LATEST), (1, LATEST)]
    assert lies[-1] == (1, 2 * LATEST)
    assert rows(path, "SELECT count(*) FROM journal") == [(0,)]
    assert rows(path, "SELECT calls FROM budget") == [(2 * LATEST + 1,)]


async def test_a_commit_of_checkpoints_alone_adds_nothing_to_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path) as ledger:
        await ledger.commit([], {"one": {"a": "1"}})
        assert rows(path, "SELECT count(*) FROM journal") == [(0,)]
        assert rows(path, "SELECT sink, key, value FROM checkpoint") == [("one", "a", "1")]


async def test_a_merge_that_fails_leaves_the_commit_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        for number in range(LATEST - 1):
            await ledger.commit([outcome(number)], {"one": {"a": str(number)}})
        with monkeypatch.context() as patch:
            patch.setattr("harvester.ledger.sqlite_tables._merge", broken)
            with pytest.raises(LedgerError, match="the disk is full"):
                await ledger.commit([outcome(LATEST)], {"one": {"a": "new"}})
        calendars = await ledger.calendars([ONE])
        calendar, checkpoint = calendars[KEY], await ledger.checkpoint("one")
    assert calendar.count(bytes([FINAL])) == LATEST - 1
    assert checkpoint == {"a": str(LATEST - 2)}


async def test_another_program_that_holds_the_ledger_is_not_called_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.ledger.sqlite.SWAP_SECONDS", 0.1)
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path):
        pass
    async with SqliteLedger(path, readonly=True) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match="another program has locked") as caught:
                await ledger.swap_state("", "{}")
    assert "disk" not in str(caught.value)


async def test_a_year_is_stored_as_one_letter_where_all_its_days_are_alike(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path) as ledger:
        await ledger.commit([outcome(12, days=366), outcome(378, days=1)], {})
    found = dict(rows(path, "SELECT year, days FROM calendar"))
    assert found[2024] == "f"
    assert found[2025] == "f" + "." * 364


# the file


async def test_while_it_is_open_no_other_process_can_write_and_each_can_read(
    tmp_path: Path,
) -> None:
    async with at(tmp_path)("one") as ledger:
        with pytest.raises(UsageError):
            await at(tmp_path)("one").__aenter__()
        await ledger.commit([outcome(0)], {})
        async with at(tmp_path, readonly=True)("one") as reader:
            assert KEY in await reader.calendars([ONE])
        with pytest.raises(UsageError, match="is already open"):
            await ledger.__aenter__()


async def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    async with at(tmp_path)("one") as ledger:
        await ledger.commit([outcome(0)], {})
    async with at(tmp_path, readonly=True)("one") as reader:
        with pytest.raises(LedgerError, match="cannot be written"):
            await reader.commit([outcome(1)], {})


def test_a_reader_of_a_ledger_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with at(tmp_path, readonly=True)("one"):
            pass

    with pytest.raises(UsageError, match="there is no ledger at "):
        asyncio.run(run())


def test_a_file_in_which_nothing_stands_yet_is_read_as_a_ledger_that_knows_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()

    async def run() -> list[str]:
        async with SqliteLedger(path, readonly=True) as ledger:
            return await ledger.accounts()

    assert asyncio.run(run()) == []
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE calendar SET days = 'fff'",
        "UPDATE calendar SET days = replace(days, 'f', 'z')",
        "UPDATE open_window SET first_day = 'soon'",
        "UPDATE open_window SET last_day = '2024-02-30'",
    ],
)
async def test_a_value_that_cannot_be_is_told_as_damage(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path) as ledger:
        await ledger.commit([outcome(0), outcome(5, "open")], {})
        await ledger.forget(KEY, [(day(90), day(90))])  # what lies in the journal is merged
        assert ledger._database is not None
        assert ledger._thread is not None
        await ledger._thread.call(ledger._database.execute, change)
        with pytest.raises(LedgerError, match="is damaged"):
            await ledger.calendars([ONE])


@pytest.mark.parametrize("readonly", [True, False])
def test_a_directory_is_no_ledger(tmp_path: Path, readonly: bool) -> None:
    async def run() -> None:
        async with SqliteLedger(tmp_path, readonly=readonly):
            pass

    with pytest.raises(UsageError, match="is a directory; name a file"):
        asyncio.run(run())


async def test_the_checkpoint_of_a_sink_can_be_read_without_a_loop(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with SqliteLedger(path) as ledger:
        await ledger.commit([], {"one": {"a": "1"}})
        await ledger.list_sinks({"two": ""})
    assert checkpoint_in(path, "one") == {"a": "1"}
    assert checkpoint_in(path, "two") == {}
    assert checkpoint_in(path, "three") is None
    assert named_sinks(path) == ["one", "two"]


async def test_a_ledger_of_the_first_released_version_has_no_kinds(tmp_path: Path) -> None:
    waits = outcome(0, "waiting")._replace(kind="quota")
    async with at(tmp_path)("l") as ledger:
        await ledger.commit([waits], {})
    file = tmp_path / "l" / "ledger.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(_AS_RELEASED)
    for readonly in (True, False, True):
        async with at(tmp_path, readonly=readonly)("l") as ledger:
            [calendar] = (await ledger.calendars([ONE])).values()
            assert {window.kind for window in calendar.windows.values()} == {""}
    async with at(tmp_path)("l") as ledger:
        await ledger.commit([waits], {})
        [calendar] = (await ledger.calendars([ONE])).values()
    assert {window.kind for window in calendar.windows.values()} == {"quota"}


async def test_the_first_released_version_has_the_places_of_sinks_outside_absolute(
    tmp_path: Path,
) -> None:
    names = [
        f"sqlite:{tmp_path}/a.db",
        "jsonl:.",
        "postgresql://host/db",
        f"jsonl:{tmp_path}/b?x=1",
    ]
    async with at(tmp_path)("l") as ledger:
        for name in names:
            await ledger.commit([], {name: {"key": name}})
            await ledger.list_sinks({name: ""})
    file = tmp_path / "l" / "ledger.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(_AS_RELEASED)
    now = ["jsonl:.", "jsonl:../b?x=1", "postgresql://host/db", "sqlite:../a.db"]
    for readonly in (True, False, True):
        async with at(tmp_path, readonly=readonly)("l") as ledger:
            assert [*await ledger.sinks()] == named_sinks(file) == now
            assert await ledger.checkpoint("sqlite:../a.db") == {"key": names[0]}
        assert checkpoint_in(file, "jsonl:../b?x=1") == {"key": names[3]}


_AS_RELEASED = """
ALTER TABLE open_window RENAME TO later;
CREATE TABLE open_window (account integer NOT NULL, interface integer NOT NULL,
  first_day text NOT NULL, last_day text NOT NULL, state text NOT NULL, records bigint NOT NULL,
  checksum bigint NOT NULL, due double precision NOT NULL, detail text NOT NULL, code bigint NULL,
  rid text NOT NULL, fetched_at text NOT NULL, tries integer NOT NULL, had text NOT NULL,
  PRIMARY KEY (account, interface, first_day)) WITHOUT ROWID;
INSERT INTO open_window SELECT account, interface, first_day, last_day, state, records, checksum,
  due, detail, code, rid, fetched_at, tries, had FROM later;
DROP TABLE later;
DROP TABLE asked;
DROP TABLE refresh;
CREATE TABLE asked (appid text NOT NULL, endpoint text NOT NULL, first_day text NOT NULL,
  last_day text NOT NULL, PRIMARY KEY (appid, endpoint)) WITHOUT ROWID;
CREATE TABLE refresh (appid text NOT NULL, endpoint text NOT NULL, first_day text NOT NULL,
  last_day text NOT NULL, PRIMARY KEY (appid, endpoint)) WITHOUT ROWID;
PRAGMA user_version = 10;
"""
