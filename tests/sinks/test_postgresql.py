"""PostgreSQL: what is particular to it; against a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

import harvester
from harvester import durable, plugins
from harvester.datacube import INTERFACES
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Tally
from harvester.sinks.postgresql import PostgreSQL
from tests.postgres_server import PASSWORD, PostgresServer
from tests.sinks.support import Ledgerish, batch

KNOWN = replace(
    INTERFACES["getarticlesummary"],
    name="checked",
    fields=(
        Field("n", "int"), Field("Title", "str"), Field("share", "float"), Field("day", "date"),
        Field("open", "bool"), Field("detail", "object"), Field("parts", "list"),
    ),
)  # fmt: skip


class Target:
    """A database of a test's own, and the ledger of the one who writes there."""

    def __init__(self, server: PostgresServer, patience: float = 90.0) -> None:
        self.server = server
        self.database = server.new_database()
        self.url = server.url(self.database)
        self.patience = patience
        self.kept = Ledgerish(lambda: PostgreSQL(self.url, patience=self.patience), (KNOWN,))

    def numbers(self) -> list[int]:
        return [
            n for (n,) in self.server.execute("SELECT n FROM checked ORDER BY 1", self.database)
        ]


@pytest.fixture
def target(postgres: PostgresServer) -> Target:
    return Target(postgres)


@pytest.fixture
def watched() -> Iterator[list[Any]]:
    """Tell durable steps to a function that the test puts here."""
    watchers: list[Any] = []

    def watch(name: str, taken: bool) -> None:
        for watcher in watchers:
            watcher(name, taken)

    durable.watch(watch)
    yield watchers
    durable.watch(None)


def rec(n: int, **more: Any) -> dict[str, Any]:
    return {"n": n, **more}


def part(first: int, *records: dict[str, Any], **how: Any) -> Any:
    return batch(first, *records, endpoint="checked", **how)


# what stands there


def test_columns_have_the_types_of_the_catalogue_and_names_as_they_are(target: Target) -> None:
    async def go() -> None:
        sink = await target.kept.open()
        whole = rec(2**63 - 1, Title="题", share=0.1, day="20240131", open=True,
                    detail={"z": 1, "a": "x\0"}, parts=[3, 1], title="other")  # fmt: skip
        await target.kept.commit(sink, part(1, whole))
        await sink.close()

    asyncio.run(go())
    types = target.server.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = 'checked'", target.database,
    )  # fmt: skip
    assert dict(types) == {
        "n": "bigint", "Title": "text", "share": "double precision", "day": "date",
        "open": "boolean", "detail": "json", "parts": "json", "_appid": "text",
        "_endpoint": "text", "_begin_date": "date", "_end_date": "date",
        "_fetched_at": "timestamp with time zone", "_extra": "json",
    }  # fmt: skip
    (row,) = target.server.execute(
        'SELECT n, "Title", share, day::text, open, detail::text, parts::text, _extra::text'
        " FROM checked", target.database,
    )  # fmt: skip
    assert row == (
        2**63 - 1, "题", 0.1, "2024-01-31", True, '{"z":1,"a":"x\\u0000"}', "[3,1]",
        '{"title":"other"}',
    )  # fmt: skip


def test_a_text_with_nul_stands_in_extra_and_its_column_is_null(target: Target) -> None:
    async def go() -> None:
        sink = await target.kept.open()
        written = await sink.write(
            [part(1, rec(1, Title="a\0b", more="\0"), rec(2, Title="\\u0000"))]
        )
        target.kept.store(written.receipt)
        assert len(written.drift) == 1
        await sink.close()

    asyncio.run(go())
    found = target.server.execute(
        'SELECT "Title", _extra::text FROM checked ORDER BY n', target.database
    )
    assert found == [(None, '{"Title":"a\\u0000b","more":"\\u0000"}'), ("\\u0000", None)]
    assert [one.intact for one in target.kept.stored().values()] == [True]


def test_verify_sees_what_was_changed_and_old_rows_stay_intact_as_the_catalogue_grows(
    target: Target,
) -> None:
    async def write(*numbers: int) -> None:
        sink = await target.kept.open()
        for n in numbers:
            one = rec(n, Title="x", share=n / 3, day="2024-01-01", new=n)
            await target.kept.commit(sink, part(n, one))
        await sink.close()

    asyncio.run(write(1, 2, 3))
    target.kept.endpoints = (replace(KNOWN, fields=(Field("new", "int"), *KNOWN.fields)),)
    asyncio.run(write(4))
    assert [one.intact for one in target.kept.stored().values()] == [True] * 4
    target.server.execute('UPDATE checked SET "Title" = NULL WHERE n = 2', target.database)
    found = {key[1]: one.intact for key, one in target.kept.stored().items()}
    assert found == {f"2024-01-0{n}": n != 2 for n in range(1, 5)}
    names = target.server.execute("SELECT new FROM checked ORDER BY n", target.database)
    assert names == [(None,), (None,), (None,), (4,)]


def test_names_that_are_too_long_for_postgresql_are_refused_or_stand_in_extra(
    target: Target,
) -> None:
    target.kept.endpoints = (replace(KNOWN, fields=(Field("n", "int"), Field("x" * 64, "int"))),)

    async def go() -> None:
        sink = await target.kept.open()
        await target.kept.commit(sink, part(1, {"n": 1, "x" * 64: 2}))
        await sink.close()
        target.kept.endpoints = (replace(KNOWN, name="y" * 64),)
        with pytest.raises(UsageError, match="whose names have 63 bytes at the most"):
            await target.kept.open()

    asyncio.run(go())
    found = target.server.execute("SELECT _extra->>repeat('x', 64) FROM checked", target.database)
    assert found == [("2",)]


# a server that goes away


@pytest.mark.thorough
def test_a_server_that_goes_and_comes_back_loses_and_doubles_nothing(target: Target) -> None:
    async def go() -> None:
        sink = await target.kept.open()
        await target.kept.commit(sink, part(1, rec(1)))
        for round_, how in enumerate((signal.SIGINT, signal.SIGQUIT)):
            await asyncio.to_thread(target.server.stop, how)
            task = asyncio.ensure_future(
                target.kept.commit(sink, part(2 + round_, rec(2 + round_)))
            )
            await asyncio.sleep(0.5)
            assert not task.done()
            await asyncio.to_thread(target.server.start)
            await task
        await sink.close()

    asyncio.run(go())
    assert target.numbers() == [1, 2, 3]
    assert len(target.kept.stored()) == 3


def test_a_connection_that_is_cut_before_its_commit_repeats_it(
    target: Target, watched: list[Any]
) -> None:
    cut: list[str] = []

    def cut_off(name: str, taken: bool) -> None:
        if name == "commit postgresql batches" and not taken and not cut:
            cut.append(name)
            target.server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{target.database}' AND application_name = 'harvester'"
            )

    async def go() -> None:
        sink = await target.kept.open()
        await target.kept.commit(sink, part(1, rec(1)))
        watched.append(cut_off)
        replaced = await target.kept.commit(sink, part(1, rec(11), replaces=True), part(2, rec(2)))
        assert replaced == {part(1).window: Tally(1, part(1, rec(1)).checksum)}
        await sink.close()

    asyncio.run(go())
    assert cut
    assert target.numbers() == [2, 11]


def test_a_commit_whose_answer_is_lost_is_found_and_not_repeated(
    target: Target, watched: list[Any]
) -> None:
    commits: list[str] = []

    def lose(name: str, taken: bool) -> None:
        if name == "commit postgresql batches" and taken:
            commits.append(name)
            if len(commits) == 2:
                raise psycopg.OperationalError("the connection was lost")

    async def go() -> None:
        sink = await target.kept.open()
        watched.append(lose)
        await target.kept.commit(sink, part(1, rec(1)))
        replaced = await target.kept.commit(sink, part(1, rec(11), replaces=True))
        assert replaced == {part(1).window: Tally(1, part(1, rec(1)).checksum)}
        await target.kept.commit(sink, part(2, rec(2)))
        await sink.close()

    asyncio.run(go())
    assert target.numbers() == [2, 11]
    assert len(commits) == 4  # the second one's second transaction found that it was there
    assert len(target.kept.stored()) == 2


@pytest.mark.thorough
def test_a_server_that_dies_for_good_stops_the_sink_in_one_sentence(target: Target) -> None:
    target.patience = 1.0

    async def go() -> None:
        sink = await target.kept.open()
        await target.kept.commit(sink, part(1, rec(1)))
        await asyncio.to_thread(target.server.stop)
        try:
            with pytest.raises(SinkError) as caught:
                await target.kept.commit(sink, part(2, rec(2)))
            await sink.close()
            with pytest.raises(SinkError, match=r"was away for 1 s \("):
                await target.kept.open()
        finally:
            await asyncio.to_thread(target.server.start)
        said = str(caught.value)
        assert said.startswith(f"the database {target.database} on 127.0.0.1:")
        assert "was away for 1 s (" in said
        assert said.endswith("run the same command again")
        assert PASSWORD not in said
        assert "\n" not in said
        sink = await target.kept.open()
        await target.kept.commit(sink, part(2, rec(2)))
        await sink.close()

    asyncio.run(go())
    assert target.numbers() == [1, 2]


def test_waiting_for_a_server_can_be_cancelled(target: Target) -> None:
    async def go() -> None:
        sink = await target.kept.open()
        await asyncio.to_thread(target.server.stop)
        task = asyncio.ensure_future(sink.write([part(1, rec(1))]))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        await sink.close()
        await asyncio.to_thread(target.server.start)

    asyncio.run(go())


def test_writers_at_the_same_time_are_all_right(target: Target) -> None:
    async def write(first: int) -> None:
        kept = Ledgerish(target.kept.make, (KNOWN,))
        sink = await kept.open()
        for n in range(20):
            same = part(0, rec(0), replaces=True)
            await kept.commit(sink, part(first + n, rec(first + n)), same)
        await sink.close()

    threads = [threading.Thread(target=asyncio.run, args=(write(n),)) for n in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mine = [first + n for first in (100, 200, 300) for n in range(20)]
    assert target.numbers() == [0, *mine]


# what cannot be


def refused(url: str) -> str:
    """Why it is not opened."""

    async def go() -> None:
        sink: Any = plugins.sink(url)
        sink.describe((KNOWN,))
        try:
            await sink.open({})
        finally:
            await sink.close()

    with pytest.raises(UsageError) as caught:
        asyncio.run(go())
    return without_password(caught.value)


def without_password(error: BaseException) -> str:
    """What it says; no frame of ours and no message on the way holds the password."""
    exc: BaseException | None = error
    while exc is not None:
        trace = exc.__traceback__
        while trace is not None:
            if f"{os.sep}harvester{os.sep}" in trace.tb_frame.f_code.co_filename:
                assert PASSWORD not in repr(trace.tb_frame.f_locals), trace.tb_frame
            trace = trace.tb_next
        assert PASSWORD not in str(exc)
        exc = exc.__context__
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_run_into_what_cannot_be_opened_shows_no_password(
    scheme: str, postgres: PostgresServer
) -> None:
    url = postgres.url("nowhere").replace("postgresql", scheme)
    account = harvester.Account("wx0000000000000001", secret="practice")
    with pytest.raises(UsageError) as caught:
        asyncio.run(harvester.run(account, "getusersummary", "2024-01-01", "2024-01-02", sink=url))
    said = without_password(caught.value)
    assert said.startswith(
        "the database nowhere" if scheme == "postgresql" else "no sink for 'postgres://…': "
    )


def test_what_is_wrong_with_the_target_is_said_before_anything_is_sent(
    postgres: PostgresServer,
) -> None:
    name = postgres.new_database()
    where = f"on 127.0.0.1:{postgres.port} cannot be used:"
    assert refused(postgres.url("nowhere")) == (
        f'the database nowhere {where} database "nowhere" does not exist'
    )
    assert refused(postgres.url(name, password="wrong")) == (
        f'the database {name} {where} password authentication failed for user "harvester"'
    )
    assert refused(postgres.url(name, user="nobody")) == (
        f'the database {name} {where} password authentication failed for user "nobody"'
    )
    assert refused(f"postgresql://harvester@127.0.0.1:{postgres.port}/{name}") == (
        f"the database {name} {where} no password was given; it may stand in PGPASSWORD or"
        " ~/.pgpass"
    )
    assert "cannot be used:" in refused(f"postgresql://u:{PASSWORD}@no-such-host.invalid/{name}")


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (f"//u:{PASSWORD}@h/db?colour=blue", "it has no option 'colour'"),
        (f"//u:{PASSWORD}@[h/db", "write it as postgresql://[USER@]HOST[:PORT]/DATABASE"),
        (f"//u:{PASSWORD}@h/", "names no database"),
        (f"u:{PASSWORD}@h/db", "write PostgreSQL as postgresql://"),
        ("", "write PostgreSQL as postgresql://"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(rest: str, said: str) -> None:
    assert said in refused(f"postgresql:{rest}")


def test_a_target_that_cannot_be_written_is_refused(postgres: PostgresServer) -> None:
    name = postgres.new_database()
    where = f"the database {name} on 127.0.0.1:{postgres.port} could not be opened:"
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert refused(postgres.url(name)) == (
        f"{where} cannot execute CREATE TABLE in a read-only transaction"
    )
    postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    postgres.execute(f"CREATE ROLE reader{name} LOGIN PASSWORD '{PASSWORD}'")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    reader = postgres.url(name, user=f"reader{name}")
    assert refused(reader) == f"{where} permission denied for schema public"
    target = Target(postgres)
    asyncio.run(_open_and_close(target))
    postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader{name}",
                     target.database)  # fmt: skip
    reader = postgres.url(target.database, user=f"reader{name}")
    assert "permission denied for table" in refused(reader)


async def _open_and_close(target: Target) -> None:
    sink = await target.kept.open()
    await sink.close()


def test_a_database_that_cannot_hold_every_title_is_refused(postgres: PostgresServer) -> None:
    name = postgres.new_database("ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert "has the encoding SQL_ASCII, which cannot hold every title" in refused(
        postgres.url(name)
    )


def test_a_table_with_other_columns_is_refused(postgres: PostgresServer) -> None:
    name = postgres.new_database()
    postgres.execute('CREATE TABLE checked (n integer, "title" text)', name)
    assert refused(postgres.url(name)) == (
        f"the table checked of the database {name} on 127.0.0.1:{postgres.port} has other columns"
        " than a harvest (n is integer, not bigint, _appid is missing, _endpoint is missing, …);"
        " rename it, or choose another database"
    )


def test_a_database_that_was_made_anew_is_not_called_harvested(target: Target) -> None:
    async def go() -> None:
        sink = await target.kept.open()
        await target.kept.commit(sink, part(1, rec(1)))
        await sink.close()
        target.server.execute(f"DROP DATABASE {target.database}")
        with pytest.raises(UsageError, match="does not exist"):
            await target.kept.open()
        target.server.execute(f"CREATE DATABASE {target.database}")
        with pytest.raises(SinkError, match="holds nothing of what the ledger says was stored"):
            await target.kept.open()
        with pytest.raises(SinkError, match="holds nothing of what the ledger says was stored"):
            target.kept.stored()

    asyncio.run(go())


# its name


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
    ],
)  # fmt: skip
def test_its_name_in_the_ledger_is_its_url_without_the_password(url: str, identity: str) -> None:
    sink = PostgreSQL(url)
    assert sink.identity == identity
    assert "s3cr3t" not in repr(sink)
    assert PostgreSQL(identity).identity == identity


def test_verify_takes_the_password_from_the_environment(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        sink = await target.kept.open()
        await target.kept.commit(sink, part(1, rec(1)))
        await sink.close()

    asyncio.run(go())
    identity = target.kept.make().identity
    target.kept.make = lambda: PostgreSQL(identity)
    with pytest.raises(UsageError, match="no password was given; it may stand in PGPASSWORD"):
        target.kept.stored()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert len(target.kept.stored()) == 1


def test_a_port_where_nobody_listens_is_waited_for_and_then_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def go() -> None:
        sink = PostgreSQL(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/db", patience=0.3)
        with pytest.raises(SinkError, match=r"was away for 0 s \(.*refused"):
            await sink.open({})
        await sink.close()

    asyncio.run(go())


def test_a_missing_library_is_said_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'wechat-harvester\[postgres\]'$"):
        PostgreSQL("postgresql://h/db")
