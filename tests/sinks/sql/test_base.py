"""The sinks in SQL databases: what each of them promises, and what is particular to one."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

import harvester
from harvester.base import files as durable
from harvester.base.fencing import latest_commit
from harvester.errors import SinkAwayError, SinkError, UsageError, page
from harvester.model import Batch, Field, Tally, Window
from harvester.sinks.base import Stamp, StoredWindow, Written
from harvester.sinks.sql.mysql import MySQL
from harvester.sinks.sql.postgresql import PostgreSQL
from harvester.sinks.sql.schema import ROW_BITS, Layout
from harvester.sinks.sql.sqlite import SQLite
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from tests import mysql_server
from tests.own_server import free_port
from tests.postgres_server import PASSWORD

STAMP = "2024-06-15T04:00:00Z"
FIELDS = (
    Field("n", "int"), Field("Title", "str"), Field("share", "float"), Field("day", "date"),
    Field("open", "bool"), Field("detail", "object"), Field("parts", "list"),
)  # fmt: skip
CHECKED = replace(INTERFACES["getarticlesummary"], name="checked", fields=FIELDS)
SINKS: dict[str, Any] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MySQL}
ON_SERVERS = {"postgresql": "postgres", "mysql": "mysql"}
"""By kind: the fixture of its server."""
PASSWORDS = {"PGPASSWORD": PASSWORD, "MYSQL_PWD": mysql_server.PASSWORD}
Records = list[dict[str, Any]]


def day(number: int) -> date:
    """A day of January 2024; days may run on."""
    return date(2023, 12, 31) + timedelta(days=number)


def batch(
    first: int,
    *records: dict[str, Any],
    days: int = 1,
    appid: str = "wx1",
    endpoint: JsonEndpoint | None = CHECKED,
    name: str = "",
    at: str = STAMP,
) -> Batch:
    """A batch of one window of January 2024."""
    called = name or (endpoint.name if endpoint is not None else "")
    window = Window(appid, called, day(first), day(first + days - 1))
    return Batch(window, list(records), at, endpoint=endpoint)


def part(first: int, *numbers: int, **how: Any) -> Batch:
    return batch(first, *[{"n": n, "Title": f"t{n}"} for n in numbers], **how)


class Target:
    """A database of a test's own, and the checkpoint of the ledger that writes there."""

    def __init__(self, kind: str, folder: Path, server: Any) -> None:
        self.kind = kind
        self.server = server
        self.path = folder / f"x.{kind}"
        self.patience = 60.0
        self.database = server.new_database() if server else ""
        self.checkpoint: dict[str, str] = {}
        self.schema = f"= '{self.database}'" if kind == "mysql" else "NOT LIKE 'pg%'"

    def make(self) -> Any:
        sink = SINKS[self.kind]
        if self.server is not None:
            return sink(self.server.url(self.database), patience=self.patience)
        return sink(self.path)

    async def open(self, checkpoint: dict[str, str] | None = None) -> Any:
        sink = self.make()
        known = self.checkpoint if checkpoint is None else checkpoint
        try:
            known.update(await sink.open(dict(known)))
        except BaseException:
            await sink.close()
            raise
        return sink

    async def write(self, sink: Any, *batches: Batch, **fence: int) -> Any:
        written = await sink.write(batches, fence)
        self.checkpoint.update(written.checkpoint)
        return written

    def harvest(self, *writes: Sequence[Batch], checkpoint: dict[str, str] | None = None) -> None:
        """Open the sink, write each of these, and close it."""

        async def go() -> None:
            sink = await self.open(checkpoint)
            try:
                for batches in writes:
                    await self.write(sink, *batches)
            finally:
                await sink.close()

        asyncio.run(go())

    def take_over(self) -> None:
        """Begin a new ledger with what stands there."""

        async def go() -> None:
            sink = self.make()
            self.checkpoint = {**await sink.open(None)}
            await sink.close()

        asyncio.run(go())

    def refused(self, kind: type[Exception], checkpoint: dict[str, str] | None = None) -> str:
        """What the sink says when it is opened."""
        with pytest.raises(kind) as caught:
            asyncio.run(self.open(checkpoint))
        return without_password(caught.value)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """A statement by another program."""
        if self.server is not None:
            rows: list[tuple[Any, ...]] = self.server.execute(sql, self.database)
            return rows
        with closing(sqlite3.connect(self.path)) as other, other:
            return other.execute(sql).fetchall()

    def cut(self) -> None:
        """Cut off the connections of this database's writers."""
        if self.kind == "mysql":
            writers = f"SELECT id FROM information_schema.processlist WHERE db = '{self.database}'"
            for (number,) in self.server.execute(writers):
                self.server.execute(f"KILL {number}")
            return
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{self.database}' AND application_name LIKE 'harvester%'"
        )

    def numbers(self) -> list[int]:
        return [n for (n,) in self.execute("SELECT n FROM checked ORDER BY n")]

    def scan(
        self, name: str = "checked", appids: Any = None
    ) -> dict[tuple[str, str], StoredWindow]:
        found = list(self.make().scan(name, appids))
        by_window = {(one.window.appid, str(one.window.begin)): one for one in found}
        assert len(by_window) == len(found)
        return by_window

    def tallies(self) -> dict[str, Tally]:
        return {begin: one.tally for (_, begin), one in self.scan().items()}


PACKAGE = Path(harvester.__file__).parent


def without_password(error: BaseException) -> str:
    """What it says; no frame of ours and no message on the way holds the password."""
    exc: BaseException | None = error
    while exc is not None:
        trace = exc.__traceback__
        while trace is not None:
            if Path(trace.tb_frame.f_code.co_filename).is_relative_to(PACKAGE):
                for password in PASSWORDS.values():
                    assert password not in repr(trace.tb_frame.f_locals), trace.tb_frame
            trace = trace.tb_next
        assert not any(password in str(exc) for password in PASSWORDS.values())
        exc = exc.__context__
    assert "\n" not in str(error)
    return str(error)


def target_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> Target:
    server = request.getfixturevalue(ON_SERVERS[kind]) if kind in ON_SERVERS else None
    return Target(kind, folder, server)


@pytest.fixture(params=ON_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return target_of(request.param, tmp_path, request)


@pytest.fixture
def watched() -> Iterator[list[Any]]:
    """Report durable steps to the functions that the test puts here."""
    watchers: list[Any] = []

    def watch(name: str, taken: bool) -> None:
        for watcher in watchers:
            watcher(name, taken)

    durable.watch(watch)
    yield watchers
    durable.watch(None)


# what is stored

WHOLE = {"n": 2**63 - 1, "Title": "题 '\"\\", "share": 0.1, "day": "2024-01-31", "open": False,
         "detail": {"z": 1, "a": "x\0"}, "parts": [[3], [1]]}  # fmt: skip
ODD: Records = [
    WHOLE,
    {**WHOLE, "new": {"a": [1]}, "_extra": 1, "title": "other"},
    {"n": 2**63, "share": 2**53 + 1, "day": 5, "open": 1, "detail": [1], "parts": "x"},
    {"n": -(2**63), "share": -0.0, "Title": ""},
    {"Title": "nul \0 and more"},
    {"Title": "a],[b"},
    {"share": 1e300, "n": 10**40},
    {},
]


def test_columns_have_types_and_the_names_of_the_fields(target: Target) -> None:
    target.harvest([batch(1, WHOLE)])
    if target.kind == "sqlite":
        found = {name: kind for _, name, kind, *_ in target.execute("PRAGMA table_info(checked)")}
    else:
        found = dict(
            target.execute(
                "SELECT column_name, data_type FROM information_schema.columns"
                f" WHERE table_name = 'checked' AND table_schema {target.schema}"
            )
        )
    types = {
        "sqlite": "INTEGER TEXT REAL DATE BOOLEAN JSON DATETIME",
        "postgresql": "bigint text double_precision date boolean json timestamp_with_time_zone",
        "mysql": "bigint longtext double date tinyint longtext datetime",
    }[target.kind].split()
    whole, text, real, date_, truth, nested, moment = [each.replace("_", " ") for each in types]
    key = "varchar" if target.kind == "mysql" else text  # as long as an index takes
    assert found == {
        "n": whole, "Title": text, "share": real, "day": date_, "open": truth, "detail": nested,
        "parts": nested, "_appid": key, "_endpoint": text, "_begin_date": date_,
        "_end_date": date_, "_fetched_at": moment, "_extra": nested, "_row": whole,
        "_checksum": whole,
    }  # fmt: skip


def test_each_value_is_stored_and_given_back_and_no_row_counts_as_changed(target: Target) -> None:
    written = [batch(1, *ODD), batch(2, *reversed(ODD)), batch(3, *ODD, appid="wx2")]
    target.harvest(written)
    tallies = {each.window: each.tally for each in written}
    for stored in target.scan().values():
        assert stored.tally == tallies[stored.window]
        assert stored.fetched_at == STAMP
        found, truth = (
            sorted(repr(sorted(record.items())) for record in records)
            for records in (stored.records(), ODD)
        )
        assert found == truth
    assert len(target.scan()) == 3


async def test_what_a_column_cannot_hold_stands_in_extra_and_is_reported_once(
    target: Target,
) -> None:
    sink = await target.open()
    assert (await target.write(sink, batch(1, {"n": 1, "Title": 3, "new": 2}))).drift == [
        "checked: Title arrived as int, not as str; its value is in _extra",
        "checked: the field 'new' is not known; its value is in _extra",
    ]
    assert (await target.write(sink, batch(2, {"n": 1, "Title": 3, "new": 2}))).drift == []
    await sink.close()
    for title, extra in target.execute('SELECT "Title", _extra FROM checked'):
        assert title is None
        assert of_json(extra) == {"Title": 3, "new": 2}


def of_json(value: Any) -> Any:
    """What a database gives of a column of JSON."""
    return json.loads(value) if isinstance(value, str) else value


# what is replaced


@pytest.mark.thorough
def test_many_accounts_in_one_write(target: Target) -> None:
    accounts = [f"wx{n}" for n in range(1200)]
    for _ in range(2):
        target.harvest([part(1, 1, appid=appid) for appid in accounts])
    assert target.execute("SELECT count(*), count(DISTINCT _appid) FROM checked") == [(1200, 1200)]
    assert len(target.scan(appids=accounts[:700])) == 700


# the fence


async def test_a_writer_with_an_older_epoch_is_refused_and_the_others_are_stored(
    target: Target,
) -> None:
    old = await target.open()
    await target.write(old, part(1, 1), part(1, 2, appid="wx2"), wx1=1, wx2=1)
    new = await target.open()
    assert await new.write([], {"wx1": 2, "wx3": 5}) == Written({}, set(), [])
    written = await target.write(old, part(2, 3), part(2, 4, appid="wx2"), wx1=1, wx2=1)
    assert written.refused == {"wx1"}
    written = await target.write(old, part(2, 5), wx1=1)
    assert written == Written({}, {"wx1"}, [])
    written = await target.write(new, part(3, 6), part(1, 7, appid="wx3"), wx1=2, wx3=5)
    assert not written.refused
    for sink in (old, new):
        await sink.close()
    assert target.numbers() == [1, 2, 4, 6, 7]


async def test_two_fenced_writers_at_the_same_time_leave_the_later_epochs_records(
    server: Target,
) -> None:
    await (await server.open()).close()
    results: dict[int, set[str]] = {1: set(), 2: set()}

    async def write(epoch: int) -> None:
        sink = await server.open(dict(server.checkpoint))
        for n in range(1, 25):
            shift = n % 3
            done = await sink.write(
                [part(n - shift, epoch, days=4), part(n, epoch, appid="wx2")],
                {"wx1": epoch, "wx2": 3 - epoch},
            )
            results[epoch] |= set(done.refused)
        await sink.close()

    await asyncio.gather(write(1), write(2))
    assert server.execute("SELECT DISTINCT _appid, n FROM checked ORDER BY 1, 2")[-2:] == [
        ("wx1", 2),
        ("wx2", 1),
    ]
    assert results[1] <= {"wx1"}
    assert results[2] <= {"wx2"}
    overlaps = server.execute(  # no row is there twice
        "SELECT count(*) FROM checked a JOIN checked b ON a._appid = b._appid"
        " AND a._begin_date < b._begin_date"
        " AND a._begin_date <= b._end_date AND a._end_date >= b._begin_date"
    )
    assert overlaps == [(0,)]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
@pytest.mark.thorough
def test_a_writer_waits_for_another_one_of_the_same_account(
    isolation: str, server: Target, watched: list[Any]
) -> None:
    if server.kind == "postgresql":
        server.server.execute(
            f"ALTER DATABASE {server.database} SET default_transaction_isolation = '{isolation}'"
        )
    else:
        server.server.execute(f"SET GLOBAL TRANSACTION ISOLATION LEVEL {isolation}")
    other = threading.Thread(target=lambda: asyncio.run(write(part(3, 2, days=3))))
    waited: list[bool] = []

    def begin_the_other(name: str, taken: bool) -> None:
        if name == f"commit {server.kind} batches" and not taken and not waited:
            waited.append(False)
            other.start()
            other.join(1)
            waited.append(other.is_alive())

    async def write(batch: Batch) -> None:
        sink = await server.open(dict(server.checkpoint))
        await sink.write([batch], {"wx1": 1})
        await sink.close()

    server.harvest()
    asyncio.run(write(part(9, 0, days=3)))  # neither epoch nor longest window change any more
    watched.append(begin_the_other)
    asyncio.run(write(part(1, 1, days=3)))
    other.join()
    assert waited == [False, True]
    assert server.numbers() == [0, 2]


# what the ledger knows


def test_a_harvest_that_the_ledger_does_not_know_is_refused(target: Target) -> None:
    target.harvest([part(1, 1)])
    said = target.refused(UsageError, {})
    identity = target.make().identity
    assert said.endswith(
        " contains a harvest that is not in this ledger; use the ledger of that harvest"
        f" (--ledger); if it is lost, `harvester rebuild --out DIR --sink {identity}` makes"
        " a new one from the stored records"
    )
    assert target.numbers() == [1]
    target.harvest([part(2, 2)])


def test_a_new_ledger_takes_what_stands_there_as_it_is_and_notices_when_it_is_gone(
    target: Target,
) -> None:
    target.harvest([part(1, 1)], [part(2, 2)])
    target.take_over()
    assert target.numbers() == [1, 2]
    newer = {**target.checkpoint, "commit 3": "another"}
    assert "its last 1 commit is missing" in target.refused(SinkError, newer)
    target.harvest([part(3, 3)])
    assert target.numbers() == [1, 2, 3]
    target.execute("DELETE FROM checked")
    assert "the table checked of the database" in target.refused(SinkError)
    target.take_over()  # nothing stands there
    target.harvest([part(4, 4)])
    assert target.numbers() == [4]


def test_an_emptied_harvest_can_be_taken_over_and_its_first_ledger_stops(target: Target) -> None:
    target.harvest([part(1, 1)], [part(1)])
    target.harvest()  # an empty table is no missing table
    assert target.make().endpoints() == []
    other: dict[str, str] = {}
    target.harvest(checkpoint=other)
    assert "is not the sink that the ledger refers to" in target.refused(SinkError)
    target.harvest(checkpoint=other)


def test_an_older_copy_is_noticed(target: Target) -> None:
    target.harvest([part(1, 1)])
    older = dict(target.checkpoint)
    target.harvest([part(2, 2)], [part(3, 3)])
    newer, target.checkpoint = target.checkpoint, older
    target.harvest()  # a ledger that is behind goes on
    target.checkpoint = {**newer, f"commit {latest_commit(newer)[0] + 2}": "another"}
    assert "is older than the ledger: its last 2 commits are missing; restore the newer one" in (
        target.refused(SinkError)
    )


def failover(target: Target, commits: int = 1) -> None:
    """The database goes back to an older copy, that lacks the last commits."""
    numbers = target.numbers()[:-commits]
    marks = target.execute("SELECT marks FROM _harvester_state")[0][0].split()[commits:]
    target.execute(f"DELETE FROM checked WHERE n > {numbers[-1]}")
    target.execute(
        f"UPDATE _harvester_state SET commits = {len(marks)}, marks = '{' '.join(marks)}'"
    )


def test_a_copy_that_was_written_by_another_process_since_is_noticed(target: Target) -> None:
    target.harvest([part(1, 1)], [part(2, 2)])
    ours = dict(target.checkpoint)
    failover(target)
    target.checkpoint = {key: each for key, each in ours.items() if key != "commit 2"}
    target.harvest([part(3, 3)])  # another process, whose ledger does not have our commit yet
    theirs = dict(target.checkpoint)
    assert latest_commit(ours)[0] == latest_commit(theirs)[0] == 2
    said = target.refused(SinkError, ours)
    assert " differs from the ledger: its commit 2 is not the one" in said
    assert f"`harvester rebuild --sink {target.make().identity}`" in said
    target.harvest([part(4, 4)])
    assert "its commit 2 is not the one" in target.refused(SinkError, ours)
    assert "its last 1 commit is missing" in target.refused(
        SinkError, {**target.checkpoint, "commit 4": "x"}
    )
    target.harvest()


def test_a_copy_that_another_process_writes_in_the_middle_of_a_run_is_noticed(
    target: Target,
) -> None:
    async def go() -> None:
        sink, other = await target.open(), dict(target.checkpoint)
        await target.write(sink, part(1, 1))
        before = dict(target.checkpoint)
        await target.write(sink, part(2, 2))
        failover(target)
        another = target.make()
        await another.open(before or other)
        await another.write([part(3, 3)], {})
        await another.close()
        with pytest.raises(SinkError, match="its commit 2 is not the one that the ledger knows"):
            await sink.write([part(4, 4)], {})
        await sink.close()

    asyncio.run(go())
    assert target.numbers() == [1, 3]


def test_a_ledger_from_before_a_removal_is_refused(target: Target) -> None:
    target.harvest([part(1, 1)])
    before = dict(target.checkpoint)
    target.checkpoint.update(target.make().renewed(before))
    noted = dict(target.checkpoint)  # killed here: the ledger knows of it, the sink does not yet
    assert target.make().renewed(noted) == {}
    target.harvest()
    assert "is not the sink that the ledger refers to" in target.refused(SinkError, before)
    target.harvest(checkpoint=noted)  # killed after it
    target.checkpoint.update(target.make().renewed(target.checkpoint))
    target.harvest([part(2, 2)])
    assert "is not the sink that the ledger refers to" in target.refused(SinkError, noted)
    assert target.make().renewed({}) == {}


@pytest.mark.parametrize("how", ["DROP TABLE checked", "DELETE FROM checked"])
def test_a_table_that_is_gone_is_noticed_and_a_new_ledger_harvests_it_anew(
    how: str, target: Target
) -> None:
    target.harvest([part(1, 1)])
    target.execute(how)
    assert "the table checked of the database" in target.refused(SinkError)
    if how.startswith("DROP"):
        with pytest.raises(SinkError, match=r"the table checked of .* is gone; restore it"):
            target.scan()
    target.checkpoint = {}
    target.harvest([part(1, 2)])
    assert target.numbers() == [2]


@pytest.mark.sampled
@pytest.mark.parametrize("column", ["n", "retired"])
def test_a_column_that_is_gone_is_noticed_and_a_new_ledger_harvests_it_anew(
    column: str, target: Target
) -> None:
    """One of the two is in no catalogue any more."""
    former = replace(CHECKED, fields=(*FIELDS, Field("retired", "int")))
    target.harvest([part(1, 1, endpoint=former)], [part(2, 2)])
    # The oldest supported SQLite cannot drop a column.
    target.execute(f"ALTER TABLE checked RENAME COLUMN {column} TO gone")
    for _ in range(2):
        said = target.refused(SinkError)
        assert "the table checked of the database" in said
        assert "or lacks columns, but the ledger refers to its records; restore it, or `" in said
    target.take_over()
    target.harvest([part(1, 1), part(2, 2)])
    target.harvest([part(3, 3)])
    assert target.numbers() == [1, 2, 3]


@pytest.mark.thorough
def test_a_database_that_was_made_anew_is_not_called_harvested(target: Target) -> None:
    target.harvest([part(1, 1)])
    if target.server is None:
        target.path.unlink()
        for _ in range(2):
            said = target.refused(SinkError)
            assert "is gone; restore it, or `harvester verify` with the same --out or " in said
            with pytest.raises(SinkError, match="is gone; restore it"):
                target.scan()
    else:
        target.server.execute(f"DROP DATABASE {target.database}")
        gone = target.refused(UsageError)
        assert "does not exist" in gone or "Unknown database" in gone
        target.server.execute(f"CREATE DATABASE {target.database}")
    target.execute("CREATE TABLE somebodys (a integer)")
    assert "has none of the records that the ledger refers to" in target.refused(SinkError)
    with pytest.raises(SinkError, match="contains no harvest"):
        target.scan()
    target.harvest(checkpoint={})
    assert "is not the sink that the ledger refers to" in target.refused(SinkError)


@pytest.mark.parametrize(("version", "whose"), [
    (9, "a newer version of harvester wrote it: use that version"),
    (4, f"a harvester older than the first release wrote it; what to do: {page('upgrading')}"),
])  # fmt: skip
def test_tables_of_another_version_are_refused(version: int, whose: str, target: Target) -> None:
    target.harvest([part(1, 1)])
    target.execute(f"UPDATE _harvester_state SET version = {version}")
    said = f"(its tables have version {version}, this version supports 5); {whose}"
    assert target.refused(UsageError).endswith(said)
    with pytest.raises(UsageError, match=re.escape(said)):
        target.scan()


# damage


def test_a_scan_notices_what_was_changed_added_or_deleted(target: Target) -> None:
    written = {str(day(n)): part(n, n, 10 + n) for n in range(1, 8)}
    target.harvest([*written.values()])
    assert target.tallies() == {begin: each.tally for begin, each in written.items()}
    added = "INSERT INTO checked (_appid, _begin_date, _end_date, _row) VALUES ({}, 0)"
    for sql in (
        """UPDATE checked SET "Title" = 'x' WHERE n = 2""",
        "UPDATE checked SET share = 0.5 WHERE n = 3",
        "UPDATE checked SET _extra = '{\"a\":1}' WHERE n = 4",
        "DELETE FROM checked WHERE n = 5",
        "DELETE FROM checked WHERE _begin_date = '2024-01-06'",
        added.format("'wx1', '2024-02-01', '2024-02-01'"),
    ):
        target.execute(sql)
    found = target.tallies()
    expected = {begin: each.tally for begin, each in written.items()}
    assert found.keys() == expected.keys() - {str(day(6))} | {"2024-02-01"}
    assert [begin for begin in expected if found.get(begin) == expected[begin]] == [
        str(day(1)), str(day(7)),
    ]  # fmt: skip
    assert not found[str(day(2))].same_records(expected[str(day(2))])
    assert found[str(day(5))].records == 1


def test_rows_that_were_moved_to_another_window_or_account_are_noticed(target: Target) -> None:
    written = part(1, 1)
    target.harvest([written])
    target.execute("UPDATE checked SET _begin_date = '2024-01-02', _end_date = '2024-01-02'")
    assert target.tallies() != {str(day(2)): written.tally}
    target.execute("UPDATE checked SET _begin_date = '2024-01-01', _end_date = '2024-01-01'")
    assert target.tallies() == {str(day(1)): written.tally}
    target.execute("UPDATE checked SET _appid = 'wx2'")
    assert target.tallies() != {str(day(1)): written.tally}


def test_columns_that_are_added_later_leave_old_rows_as_they_were(target: Target) -> None:
    few = replace(CHECKED, fields=FIELDS[:1])
    more = replace(CHECKED, fields=(Field("added", "int"), *FIELDS))
    records = [{"n": 1, "Title": "a", "added": 2}]
    target.harvest([batch(1, *records, endpoint=few)], [batch(2, *records, endpoint=more)])
    target.harvest([batch(3, *records)], [batch(4, *records, endpoint=few)])
    for number, stored in enumerate(target.scan().values(), 1):
        assert stored.tally == batch(number, *records).tally
        assert stored.records() == records
    assert len(target.scan()) == 4
    found = target.execute('SELECT added, "Title" FROM checked ORDER BY _begin_date')
    assert found == [(None, None), (2, "a"), (None, "a"), (None, None)]
    target.execute("UPDATE checked SET added = 7 WHERE _begin_date = '2024-01-01'")
    assert target.tallies()["2024-01-01"] != batch(1, *records).tally


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO checked SELECT * FROM checked WHERE _row = 1",
        "INSERT INTO checked (n) VALUES (5)",
        "UPDATE checked SET _row = 0",
    ],
)
def test_the_database_refuses_a_row_that_is_there_and_one_without_a_window(
    sql: str, target: Target
) -> None:
    written = part(1, 1, 1)  # WeChat may send two equal records
    target.harvest([written])
    with pytest.raises((sqlite3.Error, psycopg.Error, pymysql.MySQLError)):
        target.execute(sql)
    assert target.tallies() == {"2024-01-01": written.tally}
    assert target.execute("SELECT _row, n FROM checked ORDER BY _row") == [(0, 1), (1, 1)]


def test_a_row_with_a_bad_window_is_named(lite: Target) -> None:
    lite.harvest([part(1, 1)])
    lite.execute(
        "INSERT INTO checked (_appid, _begin_date, _end_date, _row) VALUES ('wx1', 'x', 'y', 0)"
    )
    with pytest.raises(SinkError, match="has a row, for 'x' to 'y', that no harvest wrote; remove"):
        lite.scan()


@pytest.mark.thorough
def test_a_scan_is_in_order_and_takes_accounts_and_days(target: Target) -> None:
    names = ["wx1", "Wx2", "wx10", "wx_a", "wx-b", "题"]  # whatever order the database prefers
    written = [
        part(first, *range(3, 0, -1), appid=appid, days=days)
        for appid in names
        for first, days in ((40, 30), (1, 1), (5, 7), (12, 1))
    ]
    target.harvest([*written])
    every = sorted(written, key=lambda each: each.window)
    sink = target.make()
    for days, begins in (
        (None, (1, 5, 12, 40)),
        ((1, 1), (1,)),
        ((2, 4), ()),
        ((11, 12), (5, 12)),
        ((13, 40), (40,)),
        ((69, 69), (40,)),
        ((70, 99), ()),
    ):
        wanted = [each for each in every if each.window.begin in map(day, begins)]
        dates = days and (day(days[0]), day(days[1]))
        found = [(*one[:2], one.records()) for one in sink.scan("checked", days=dates)]
        assert found == [(each.window, each.tally, each.records) for each in wanted]
        some = sink.scan("checked", ["题", "wx10", "none"], None, dates)
        assert [one.window for one in some] == [
            each.window for each in wanted if each.window.appid in ("题", "wx10")
        ]
    every_day = (date.min, date.max)
    assert len(list(sink.scan("checked", None, None, every_day))) == len(written)


async def test_a_scan_gives_one_window_at_a_time_between_two_writes(target: Target) -> None:
    sink = await target.open()
    await target.write(sink, part(1, 1), part(2, 2))
    windows = sink.scan("checked")
    assert next(windows).records() == [{"n": 1, "Title": "t1"}]
    await target.write(sink, part(2, 22))
    windows.close()
    assert [one.records()[0]["n"] for one in sink.scan("checked")] == [1, 22]
    assert list(sink.scan("never")) == []
    await sink.close()


# stamps, by which an export notices what has changed


@pytest.mark.thorough
def test_a_stamp_differs_after_each_write_that_changes_its_month(target: Target) -> None:
    def fetched(second: int, *batches: Batch) -> list[Batch]:
        stamp = f"2024-06-15T04:00:{second:02}Z"
        return [Batch(b.window, b.records, stamp, endpoint=b.endpoint) for b in batches]

    first = [part(1, 1, 2), part(31, 3, days=2), part(33, 4), part(1, 5, appid="wx2")]
    target.harvest(first)
    sink = target.make()
    before = sink.stamps("checked")
    assert {month: stamp._replace(sums=(0, 0)) for month, stamp in before.items()} == {
        "2024-01": Stamp(4, (0, 0), STAMP), "2024-02": Stamp(1, (0, 0), STAMP),
    }  # fmt: skip
    assert sink.stamps("never") == {}
    for written, changed in (
        ([part(1, 1, 2)], set()),  # the same again
        ([part(1, 1, 3)], {"2024-01"}),  # another figure
        ([part(1, 2, 1)], {"2024-01"}),  # another order
        ([part(1, 5), part(1, 1, 2, appid="wx2")], {"2024-01"}),  # between accounts
        ([part(1, 3), part(31, 1, 2, days=2)], {"2024-01"}),  # between windows
        ([part(33, 9)], {"2024-02"}),
        ([part(31, days=2)], {"2024-01"}),  # no records any more
        ([part(31, 3), part(32, 3)], {"2024-01", "2024-02"}),  # cut at the month
        ([part(32, 3, days=5)], {"2024-01", "2024-02"}),
        (fetched(1, part(33, 4)), {"2024-02"}),  # the same figures, fetched later
    ):
        target.harvest(written)
        now = target.make().stamps("checked")
        assert {month for month in before if now.get(month) != before[month]} == changed
        target.harvest([part(31, days=9)])
        target.harvest(first)
        assert target.make().stamps("checked") == before
    target.harvest(fetched(7, part(1, 1, 2)))
    assert target.make().stamps("checked")["2024-01"].latest == "2024-06-15T04:00:07Z"


def test_figures_that_are_swapped_between_two_records_change_a_stamp(lite: Target) -> None:
    layout = Layout("checked", CHECKED, lite.make()._driver.dialect)

    own = [
        [row[-1] & ROW_BITS for row in layout.rows([part(n, figure) for figure in range(400)])]
        for n in (1, 2)
    ]
    pairs = [(one, other) for one in range(100, 400) for other in range(one)]
    same = [
        (one, other)
        for one, other in pairs
        if own[0][one] + own[1][other] == own[0][other] + own[1][one]
    ]
    assert same  # a sum of CRC-32 does not notice them
    for one, other in same[:20]:
        found = []
        for pair in ((one, other), (other, one)):
            lite.harvest([part(1, pair[0]), part(2, pair[1])])
            found.append(lite.make().stamps("checked")["2024-01"])
        assert found[0].sums[0] == found[1].sums[0]
        assert found[0].sums[1] != found[1].sums[1]


# other people's tables


def test_a_table_with_other_columns_is_refused_and_they_are_named(target: Target) -> None:
    target.execute("CREATE TABLE checked (n VARCHAR(9), own VARCHAR(9))")
    with pytest.raises(SinkError) as caught:
        target.harvest([part(1, 1)])
    said = str(caught.value)
    assert said.startswith("the table checked of the database ")
    assert said.endswith(
        " does not have the columns of a harvest (_appid is missing, _endpoint is missing,"
        " _begin_date is missing, …); rename the table, or choose another database"
    )
    assert target.execute("SELECT count(*) FROM checked") == [(0,)]


def test_tables_and_columns_of_others_are_left_alone(target: Target) -> None:
    target.execute("CREATE TABLE own (a INTEGER)")
    target.harvest([part(1, 1)])
    target.execute("ALTER TABLE checked ADD COLUMN mine VARCHAR(9)")
    target.execute("UPDATE checked SET mine = 'note'")
    target.harvest([part(2, 2)])
    assert target.execute("SELECT mine FROM checked ORDER BY n") == [("note",), (None,)]
    assert target.tallies() == {str(day(n)): part(n, n).tally for n in (1, 2)}
    assert target.execute("SELECT count(*) FROM own") == [(0,)]


def unchecked(fields: Sequence[Field], **others: Any) -> JsonEndpoint:
    """An interface with any fields, also with names that it refuses."""
    endpoint = replace(CHECKED, **others)
    object.__setattr__(endpoint, "fields", tuple(fields))  # it is frozen
    return endpoint


EVIL = [
    "'); DROP TABLE checked; --",
    'x"; DROP TABLE checked; --',
    "x'x\"x`x]x[x%s%(a)s:a?1 $1 {} \\ \\' ; --",
    "../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\u202e\x1b[2J\x07",
    "%s",
]


def test_text_and_names_of_fields_are_stored_as_they_came_and_do_nothing(target: Target) -> None:
    endpoint = unchecked([Field(name, "str", "somebody's") for name in EVIL])
    for number in range(2):  # the second one finds the table, and replaces what stands there
        records = [
            {**dict.fromkeys(EVIL, text), "unknown " + EVIL[0]: EVIL[number]} for text in EVIL
        ]
        target.harvest([batch(1, *records, endpoint=endpoint)])
    [stored] = target.make().scan("checked", ["wx1"], None, (day(1), day(1)))
    assert stored.records() == records
    rows = target.execute("SELECT * FROM checked")
    assert sorted(row[: len(EVIL)] for row in rows) == sorted((text,) * len(EVIL) for text in EVIL)


def test_interfaces_whose_names_differ_only_in_case_are_refused(lite: Target) -> None:
    one, two = (replace(CHECKED, name=name) for name in ("own", "OWN"))
    with pytest.raises(SinkError, match="cannot distinguish the tables own and OWN"):
        lite.harvest([part(1, 1, endpoint=one)], [part(1, 1, endpoint=two)])


def test_a_field_whose_name_is_too_long_stands_in_extra_and_such_an_interface_is_refused(
    server: Target,
) -> None:
    longest = {"postgresql": 63, "mysql": 64}[server.kind]
    name = "x" * (longest + 1)
    long = replace(CHECKED, fields=(Field("n", "int"), Field(name, "int")))
    server.harvest([batch(1, {"n": 1, name: 2}, endpoint=long)])
    [(extra,)] = server.execute("SELECT _extra FROM checked")
    assert of_json(extra) == {name: 2}
    server.harvest([part(1, 1, endpoint=replace(CHECKED, name="y" * longest))])
    with pytest.raises(SinkError, match=f"which allows at most {longest} bytes"):
        server.harvest([part(1, 1, endpoint=replace(CHECKED, name="y" * (longest + 1)))])


# a server that goes away


@pytest.mark.thorough
async def test_a_server_that_goes_and_comes_back_loses_and_doubles_nothing(server: Target) -> None:
    database = server.server
    sink = await server.open()
    await server.write(sink, part(1, 1))
    for number, how in enumerate(database.ENDS, 2):
        await asyncio.to_thread(database.stop, how)
        task = asyncio.ensure_future(server.write(sink, part(number, number)))
        await asyncio.sleep(0.5)
        assert not task.done()
        await asyncio.to_thread(database.start)
        await task
    await sink.close()
    assert server.numbers() == [1, 2, 3]


def test_a_connection_that_is_cut_before_its_commit_repeats_the_write(
    server: Target, watched: list[Any]
) -> None:
    cut: list[str] = []

    def cut_off(name: str, taken: bool) -> None:
        if name == f"commit {server.kind} batches" and not taken and not cut:
            cut.append(name)
            server.cut()

    async def go() -> None:
        sink = await server.open()
        await server.write(sink, part(1, 1))
        watched.append(cut_off)
        await server.write(sink, part(1, 11), part(2, 2))
        await sink.close()

    asyncio.run(go())
    assert cut
    assert server.numbers() == [2, 11]
    server.harvest()  # the checkpoint is that of the repeated write


async def test_a_commit_whose_answer_is_lost_is_repeated_and_replaces_itself(
    server: Target, watched: list[Any]
) -> None:
    commits: list[str] = []

    def lose(name: str, taken: bool) -> None:
        if name == f"commit {server.kind} batches" and taken:
            commits.append(name)
            if len(commits) == 2 and server.kind == "mysql":
                raise pymysql.OperationalError(2013, "Lost connection to MySQL server")
            if len(commits) == 2:
                raise psycopg.OperationalError("the connection was lost")

    sink = await server.open()
    watched.append(lose)
    await server.write(sink, part(1, 1))
    await server.write(sink, part(1, 11), part(2, 2))
    await server.write(sink, part(3, 3))
    await sink.close()
    assert server.numbers() == [2, 3, 11]
    assert len(commits) == 4
    assert latest_commit(server.checkpoint)[0] == 4


@pytest.mark.thorough
def test_a_server_that_stays_away_stops_the_sink_in_one_sentence(server: Target) -> None:
    database, server.patience = server.server, 1.0

    async def go() -> None:
        sink = await server.open()
        await server.write(sink, part(1, 1))
        await asyncio.to_thread(database.stop)
        try:
            with pytest.raises(SinkError) as caught:
                await server.write(sink, part(2, 2))
            await sink.close()
            with pytest.raises(SinkError, match=r"did not answer for 1 s \("):
                await server.open()
            with pytest.raises(SinkAwayError, match="could not be read"):
                server.scan()
        finally:
            await asyncio.to_thread(database.start)
        said = without_password(caught.value)
        assert said.startswith(f"the database {server.database} on 127.0.0.1:")
        assert "did not answer for 1 s (" in said
        assert said.endswith("run the same command again")

    asyncio.run(go())
    server.harvest([part(2, 2)])
    assert server.numbers() == [1, 2]


@pytest.mark.thorough
async def test_waiting_for_a_server_can_be_cancelled(server: Target) -> None:
    database = server.server
    sink = await server.open()
    await asyncio.to_thread(database.stop)
    try:
        task = asyncio.ensure_future(sink.write([part(1, 1)], {}))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        await sink.close()
    finally:
        await asyncio.to_thread(database.start)


@pytest.mark.parametrize("kind", ON_SERVERS)
async def test_a_port_where_nobody_listens_is_waited_for_and_then_named(kind: str) -> None:
    sink = SINKS[kind](f"{kind}://u:{PASSWORD}@127.0.0.1:{free_port()}/db", patience=0.3)
    with pytest.raises(SinkError, match=r"did not answer for 0\.3 s \(.*refused"):
        await sink.open({})
    await sink.close()


# what servers refuse


def refused(url: str) -> str:
    """Why a URL is not opened."""

    async def go() -> None:
        kind, _, rest = url.partition(":")
        sink: Any = SINKS[kind].from_spec(rest)
        try:
            await sink.open({})
        finally:
            await sink.close()

    with pytest.raises(UsageError) as caught:
        asyncio.run(go())
    return without_password(caught.value)


@pytest.mark.thorough
def test_what_is_wrong_with_the_database_is_told_before_anything_is_sent(
    server: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MYSQL_PWD", raising=False)
    nowhere, wrong, none = {
        "postgresql": (
            'database "nowhere" does not exist',
            'password authentication failed for user "harvester"',
            "no password was given; set it in PGPASSWORD or ~/.pgpass",
        ),
        "mysql": (
            "Unknown database 'nowhere'",
            "Access denied for user 'harvester'@'127.0.0.1' (using password: YES)",
            "no password was given; set it in MYSQL_PWD",
        ),
    }[server.kind]
    name, address, url = server.database, f"127.0.0.1:{server.server.port}", server.server.url
    where = f"on {address} cannot be used:"
    assert refused(url("nowhere")) == f"the database nowhere {where} {nowhere}"
    assert refused(url(name, password="wrong")) == f"the database {name} {where} {wrong}"
    assert refused(f"{server.kind}://harvester@{address}/{name}") == (
        f"the database {name} {where} {none}"
    )
    for each in (f"{server.kind}://u:{PASSWORD}@no-such-host.invalid/{name}",
                 *[f"{url(name)}?ssl_ca=/no/such/file"] * (server.kind == "mysql")):  # fmt: skip
        assert "cannot be used:" in refused(each)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://u:{PASSWORD}@h/db?colour=blue", "it has no option 'colour'"),
        (f"postgresql://u:{PASSWORD}@[h/db", "write it as postgresql://[USER@]HOST[:PORT]/DATABASE"),
        (f"postgresql://u:{PASSWORD}@h/", "names no database"),
        (f"postgresql:u:{PASSWORD}@h/db", "write PostgreSQL as postgresql://"),
        ("postgresql:", "write PostgreSQL as postgresql://"),
        (f"mysql://u:{PASSWORD}@h/db?colour=blue", ("has no option 'colour'; its only"
         " option is ssl_ca")),
        (f"mysql://u:{PASSWORD}@[h/db",
         "write it as mysql://[USER@]HOST[:PORT]/DATABASE; in a user name or"),
        (f"mysql://u:{PASSWORD}@h/", "names no database"),
        (f"mysql://u:{PASSWORD}@h/a/b", "names no database"),
        (f"mysql:u:{PASSWORD}@h/db", "cannot be read; write it as mysql://"),
        ("mysql://h:99999/db", "cannot be read; write it as mysql://"),
        ("mysql:", "cannot be read; write it as mysql://"),
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_its_password(url: str, said: str) -> None:
    assert said in refused(url)


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("postgresql://u:s3cr3t@h:5433/db", "postgresql://u@h:5433/db"),
        ("postgresql://u@h:5433/db", "postgresql://u@h:5433/db"),
        ("postgresql://h/db?user=u&password=s3cr3t", "postgresql://u@h/db"),
        ("postgresql:///db?host=/run/pg", "postgresql://%2Frun%2Fpg/db"),
        ("postgresql://a:1,b:2/db?target_session_attrs=any",
         "postgresql://a:1,b:2/db?target_session_attrs=any"),
        ("postgresql://[::1]:5/d%20b?sslmode=require", "postgresql://[::1]:5/d%20b?sslmode=require"),
        ("postgresql://u:s3cr3t@h/db?schema=%E9%A2%98&sslmode=require",
         "postgresql://u@h/db?sslmode=require&schema=%E9%A2%98"),
        ("postgresql://h/db?schema=a", "postgresql://h/db?schema=a"),
        ("mysql://u:s3cr3t@h:3307/db", "mysql://u@h:3307/db"),
        ("mysql://u@h:3307/db", "mysql://u@h:3307/db"),
        ("mysql://h/db", "mysql://h/db"),
        ("mysql://u%40x:s3cr3t@[::1]/d%20b?ssl_ca=/a/b.pem",
         "mysql://u%40x@[::1]/d%20b?ssl_ca=/a/b.pem"),
    ],
)  # fmt: skip
def test_its_name_in_the_ledger_is_its_url_without_the_password(url: str, identity: str) -> None:
    make = SINKS[url.partition(":")[0]]
    sink = make(url)
    assert sink.identity == identity
    assert "s3cr3t" not in repr(sink)
    assert make(identity).identity == identity


def test_a_scan_takes_the_password_from_the_environment(
    server: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.harvest([part(1, 1)])
    variable = {"postgresql": "PGPASSWORD", "mysql": "MYSQL_PWD"}[server.kind]
    without = SINKS[server.kind](server.make().identity)
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match=f"no password was given; set it in {variable}"):
        list(without.scan("checked"))
    monkeypatch.setenv(variable, PASSWORDS[variable])
    assert len(list(SINKS[server.kind](without.identity).scan("checked"))) == 1
