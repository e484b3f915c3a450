"""The sink in MySQL: what is particular to it; what all SQL sinks promise is in `test_base`."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest

import harvester.sinks.sql.mysql_server as mysql
from harvester.errors import SinkError, UsageError
from harvester.model import Field
from harvester.sinks.sql import mysql as room
from harvester.sinks.sql.mysql import MySQL
from harvester.wechat.interfaces import INTERFACES
from tests.mysql_server import PASSWORD, USER, MySQLServer
from tests.sinks.sql.test_base import (
    CHECKED,
    Target,
    batch,
    day,
    part,
    refused,
    unchecked,
    watched,  # noqa: F401  (a fixture)
)


async def test_a_connection_waits_longer_for_an_answer_than_for_its_greeting(
    target: Target,
) -> None:
    sink = await target.open()
    found: float = sink._driver._connection._read_timeout
    await sink.close()
    assert found == mysql._ANSWER > mysql._OURS["read_timeout"]


@pytest.fixture
def target(mysql: MySQLServer, tmp_path: Path) -> Target:
    return Target("mysql", tmp_path, mysql)


@pytest.fixture
def _settings(mysql: MySQLServer) -> Iterator[None]:
    """What a test changes for all connections is put back."""
    names = ("max_allowed_packet", "sql_mode", "time_zone", "tx_isolation")
    [former] = mysql.execute(f"SELECT {', '.join(f'@@GLOBAL.{name}' for name in names)}")
    yield
    for name, value in zip(names, former, strict=True):
        mysql.execute(f"SET GLOBAL {name} = {value if type(value) is int else repr(value)}")


def others(target: Target) -> Any:
    """A connection of somebody else."""
    return pymysql.connect(
        host="127.0.0.1", port=target.server.port, user=USER, password=PASSWORD,
        database=target.database, autocommit=False,
    )  # fmt: skip


def heard(sink: Any) -> list[Any]:
    """The numbers of the errors that the sink takes for a server that is away."""
    codes: list[Any] = []
    known = sink._driver.outage

    def outage(exc: Exception) -> Any:
        if kind := known(exc):
            codes.append(exc.args[0])
        return kind

    sink._driver.outage = outage
    return codes


# names and values


def test_accounts_that_differ_in_case_or_a_blank_at_the_end_are_different_ones(
    target: Target,
) -> None:
    accounts = ["wx1", "WX1", "wx1 ", "wxé", "wxe"]
    target.harvest([part(1, n, appid=appid) for n, appid in enumerate(accounts)])
    target.harvest([part(1, 9, appid="wx1")])

    async def go() -> set[str]:
        sink = await target.open()
        await target.write(sink, wx1=5)
        written = await target.write(sink, part(2, 8, appid="wx1 "), **{"wx1 ": 1, "wx1": 1})
        await sink.close()
        return {*written.refused}

    assert asyncio.run(go()) == {"wx1"}
    assert target.numbers() == [1, 2, 3, 4, 8, 9]
    assert {appid for appid, _ in target.scan(appids=["wx1 "])} == {"wx1 "}


def test_reserved_words_are_names_like_others(target: Target) -> None:
    words = ("select", "order", "key", "rank", "groups", "per%cent", "back`tick", "table", "desc")
    odd = unchecked([Field(word, "int") for word in words], name="order")
    record = {word: n for n, word in enumerate(words)}
    for n in (1, 2, 1):
        target.harvest([batch(n, record, endpoint=odd)])
    found = target.scan("order", ["wx1"])
    assert [stored.records() for stored in found.values()] == [[record], [record]]
    tallies = [batch(n, record, endpoint=odd).tally for n in (1, 2)]
    assert [stored.tally for stored in found.values()] == tallies


def test_nested_values_stay_as_they_came_and_the_functions_for_json_read_them(
    target: Target,
) -> None:
    deep: Any = 1
    for _ in range(60):  # MariaDB's JSON takes 31
        deep = [deep]
    record = {"n": 1, "detail": {"zz": 1, "a": 1.0, "n": 10**40}, "parts": deep, "new": -0.0}
    written = batch(1, record)
    target.harvest([written])
    [stored] = target.scan().values()
    assert stored.tally == written.tally
    assert json.dumps(stored.records()[0], sort_keys=True) == json.dumps(record, sort_keys=True)
    assert target.execute(
        "SELECT JSON_VALUE(detail, '$.zz'), JSON_VALUE(_extra, '$.new') FROM checked"
    ) == [("1", "-0.0")]


def test_numbers_keep_every_bit(target: Target) -> None:
    shares = [0.1, 1 / 3, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.12345679, 2.0**60, -1e22]
    records = [{"n": n, "share": share} for n, share in enumerate(shares)]
    written = batch(1, *records, {"n": -(2**63)}, {"n": 2**63 - 1})
    target.harvest([written])
    [stored] = target.scan().values()
    assert stored.tally == written.tally
    assert [record["share"] for record in stored.records() if "share" in record] == shares


@pytest.mark.usefixtures("_settings")
def test_days_and_moments_are_utc_whatever_the_server_says(target: Target) -> None:
    target.server.execute("SET GLOBAL time_zone = '+08:00'")
    target.harvest([part(1, 1)])
    assert target.execute(
        "SELECT CAST(_begin_date AS CHAR), CAST(_fetched_at AS CHAR) FROM checked"
    ) == [("2024-01-01", "2024-06-15 04:00:00")]


@pytest.mark.usefixtures("_settings")
@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT"])
def test_the_mode_of_the_server_changes_nothing(mode: str, target: Target) -> None:
    target.server.execute(f"SET GLOBAL sql_mode = '{mode}'")
    written = batch(1, {"n": 1, "Title": "\\' \\", "detail": {"\\": "'\"\\\\'"}})
    target.harvest([written])
    assert target.tallies() == {str(day(1)): written.tally}

    with pytest.raises(  # a mode that is not strict would cut it
        SinkError, match=r"could not be written: Data too long for column 'account'"
    ):
        target.harvest([part(1, 1, appid="x" * 191)])


def test_every_interface_can_be_a_table(target: Target) -> None:
    target.harvest([batch(1, {}, endpoint=each) for each in INTERFACES.values()])
    assert {*target.make().endpoints()} == {*INTERFACES}
    engines = target.execute(
        "SELECT DISTINCT engine, table_collation FROM information_schema.tables"
        f" WHERE table_schema = '{target.database}' AND table_type = 'BASE TABLE'"
    )
    assert engines == [("InnoDB", "utf8mb4_nopad_bin")]


# packets


@pytest.mark.usefixtures("_settings")
def test_a_write_is_split_by_what_the_server_takes_at_once(target: Target) -> None:
    target.server.execute("SET GLOBAL max_allowed_packet = 1048576")
    texts = ["题" * 300_000, "'" * 400_000, "x" * 1_000_000, *("題" * 50_000 for _ in range(40))]
    written = batch(1, *[{"n": n, "Title": text} for n, text in enumerate(texts)])
    target.harvest([written])
    assert target.tallies() == {str(day(1)): written.tally}


@pytest.mark.usefixtures("_settings")
def test_a_record_that_the_server_does_not_take_is_one_sentence(target: Target) -> None:
    target.server.execute("SET GLOBAL max_allowed_packet = 1048576")
    with pytest.raises(SinkError) as caught:
        target.harvest([part(1, 1), batch(2, {"n": 2, "Title": "题" * 350_000})])
    assert re.sub(r"1,050,\d{3}", "1,050,NNN", str(caught.value)) == (
        f"a record of checked takes 1,050,NNN bytes, but the database {target.database} on"
        f" 127.0.0.1:{target.server.port} accepts only 1,048,576 at once (max_allowed_packet);"
        " raise this limit, and run the same command again"
    )
    assert target.numbers() == []  # all or nothing
    target.server.execute("SET GLOBAL max_allowed_packet = 4194304")
    target.harvest([part(1, 1), batch(2, {"n": 2, "Title": "题" * 350_000})])
    assert target.numbers() == [1, 2]


# tables are made outside of transactions


@pytest.mark.sampled
@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("number", range(1, 8))
def test_a_process_that_dies_while_tables_are_made_leaves_what_the_next_one_goes_on_with(
    number: int,
    taken: bool,
    target: Target,
    watched: list[Any],  # noqa: F811
) -> None:
    steps: list[str] = []

    class Killed(BaseException):
        """The process is gone."""

    def kill(name: str, done: bool) -> None:
        if name == "make mysql table" and done is taken:
            steps.append(name)
            if len(steps) == number:
                raise Killed

    *fields, parts = CHECKED.fields
    parts = parts._replace(fields=(Field("n", "int"),))  # which has a view then
    more = replace(CHECKED, fields=(*fields, parts, Field("added", "int")))
    writes = [[part(1, 1)], [batch(2, {"n": 2, "added": 3}, endpoint=more)]]

    watched.append(kill)
    with pytest.raises(Killed):
        target.harvest(*writes)
    watched.clear()
    target.checkpoint.clear()
    if number > 4 + (not taken):  # a table of records was made, and the ledger knows its sink
        target.take_over()
    target.harvest(*writes)
    assert target.execute("SELECT n, added FROM checked ORDER BY n") == [(1, None), (2, 3)]
    assert target.tallies() == {str(day(n + 1)): each[0].tally for n, each in enumerate(writes)}
    indexed = target.execute("SHOW INDEX FROM checked")
    assert [row[4] for row in indexed] == ["_appid", "_begin_date", "_row"]
    assert target.execute("SELECT count(*) FROM checked_parts") == [(0,)]


async def test_two_processes_that_begin_at_the_same_time_make_the_tables_once(
    target: Target,
) -> None:
    sinks = [target.make() for _ in range(4)]
    await asyncio.gather(*[sink.open(None) for sink in sinks])
    await asyncio.gather(
        *[sink.write([part(n, n, appid=f"wx{n}")], {}) for n, sink in enumerate(sinks)]
    )
    for sink in sinks:
        await sink.close()
    assert target.numbers() == [0, 1, 2, 3]
    assert target.execute("SELECT count(*) FROM _harvester_state") == [(1,)]


def test_a_table_without_transactions_is_refused(target: Target) -> None:
    target.harvest([part(1, 1)])
    target.execute("ALTER TABLE checked ENGINE = MyISAM")
    assert target.refused(UsageError) == (
        f"the table checked of the database {target.database} on 127.0.0.1:{target.server.port}"
        " uses the engine MyISAM, which has no transactions; run: ALTER TABLE checked ENGINE=InnoDB"
    )
    target.execute("ALTER TABLE checked ENGINE = InnoDB")
    target.harvest([part(2, 2)])


def test_a_server_that_cannot_tell_every_name_from_others_is_refused(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_COLLATIONS", ("of_mariadb", "of_mysql"))
    assert "has no collation of_mariadb or of_mysql" in target.refused(UsageError)


# locks, and lost connections


def test_a_deadlock_repeats_the_write(target: Target, mysql: MySQLServer) -> None:
    target.harvest([part(1, 1)])
    target.execute("CREATE TABLE ballast (a INTEGER) ENGINE = InnoDB")

    async def go() -> list[Any]:
        sink = await target.open()
        codes = heard(sink)
        with closing(others(target)) as other, other.cursor() as cursor:
            rows = [(n,) for n in range(5000)]  # the one with less to undo is ended
            cursor.executemany("INSERT INTO ballast VALUES (%s)", rows)
            cursor.execute("SELECT * FROM _harvester_state FOR UPDATE")
            writing = asyncio.ensure_future(target.write(sink, part(1, 11), part(2, 2)))
            waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
            while not mysql.execute(waiting):
                # Read again within 0.1 s of the last read, the table shows what it showed then.
                await asyncio.sleep(0.2)
            sql = "SELECT * FROM _harvester_fence WHERE account = 'wx1' FOR UPDATE"
            await asyncio.to_thread(cursor.execute, sql)
            other.rollback()
            await writing
        await sink.close()
        return codes

    assert asyncio.run(go()) == [1213]
    assert target.numbers() == [2, 11]


def test_a_lock_that_is_not_given_is_waited_for_again(target: Target) -> None:
    target.harvest([part(1, 1)])

    async def go() -> list[Any]:
        sink = await target.open()
        codes = heard(sink)
        sink._driver.query("SET SESSION innodb_lock_wait_timeout = 1")
        with closing(others(target)) as other, other.cursor() as cursor:
            cursor.execute("SELECT * FROM _harvester_fence FOR UPDATE")
            writing = asyncio.ensure_future(target.write(sink, part(1, 11)))
            await asyncio.sleep(1.5)
            other.rollback()
            await writing
        await sink.close()
        return codes

    assert asyncio.run(go()) == [1205]
    assert target.numbers() == [11]


async def test_a_connection_that_the_server_ended_while_nothing_was_written_is_made_anew(
    target: Target,
) -> None:
    sink = await target.open()
    codes = heard(sink)
    await target.write(sink, part(1, 1), wx1=7)
    target.cut()
    written = await target.write(sink, part(2, 2), wx1=7)  # which nobody repeats
    assert not written.refused
    await sink.close()
    assert codes == []
    assert target.numbers() == [1, 2]


def test_a_writer_that_is_frozen_in_a_transaction_gives_its_locks_back(
    target: Target,
    watched: list[Any],  # noqa: F811
) -> None:
    target.harvest([part(1, 1)])
    ended: list[float] = []

    async def other() -> None:
        sink = await target.open({**target.checkpoint})
        await sink.write([part(1, 2)], {"wx1": 8})
        ended.append(time.monotonic())
        await sink.close()

    thread = threading.Thread(target=lambda: asyncio.run(other()))

    def freeze(name: str, taken: bool) -> None:
        if name == "commit mysql batches" and not taken and not thread.ident:
            thread.start()
            time.sleep(3)
            woken.append(time.monotonic())

    woken: list[float] = []

    async def go() -> Any:
        sink = await target.open()
        assert sink._driver.query("SELECT @@SESSION.wait_timeout") == [(20,)]
        sink._driver.query("SET SESSION wait_timeout = 1")
        watched.append(freeze)
        written = await target.write(sink, part(1, 3), wx1=1)
        await sink.close()
        return written.refused

    assert asyncio.run(go()) == {"wx1"}
    thread.join()
    assert ended < woken
    assert target.numbers() == [2]


def test_a_scan_that_is_left_early_ends_at_once_and_leaves_no_connection(target: Target) -> None:
    groups = [[batch(100 * g + n, {"n": n, "Title": "x" * 50_000}) for n in range(100)]
              for g in range(10)]  # fmt: skip
    target.harvest(*groups)  # 50 MB
    connections = (
        f"SELECT count(*) FROM information_schema.processlist WHERE db = '{target.database}'"
    )
    sink = target.make()
    before = _sent(target)
    windows = sink.scan("checked")
    next(windows)
    assert target.server.execute(connections) == [(1,)]
    windows.close()
    ends = time.monotonic() + 5
    while target.server.execute(connections) != [(0,)]:
        assert time.monotonic() < ends
    assert _sent(target) - before < 25_000_000
    assert len(list(sink.scan("checked"))) == 1000


def _sent(target: Target) -> int:
    """The bytes that the server has sent."""
    [(_, value)] = target.server.execute("SHOW GLOBAL STATUS LIKE 'Bytes_sent'")
    return int(value)


# what cannot be opened


def test_a_database_that_cannot_be_written_is_refused(target: Target, mysql: MySQLServer) -> None:
    target.harvest([part(1, 1)])
    user = f"reader{target.database}"
    mysql.execute(f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'")
    url = mysql.url(target.database, user=user)
    assert "cannot be used: Access denied for user" in refused(url)
    empty = mysql.new_database()
    mysql.execute(f"GRANT SELECT ON {empty}.* TO {user}")
    where = f"the database {empty} on 127.0.0.1:{mysql.port} could not be opened:"
    assert refused(mysql.url(empty, user=user)).startswith(f"{where} CREATE command denied to user")
    mysql.execute(f"GRANT INSERT ON {target.database}.* TO {user}")
    with pytest.raises(UsageError, match="could not be read: SELECT command denied to user"):
        list(MySQL(url).scan("checked"))
    mysql.execute(f"GRANT SELECT ON {target.database}.* TO {user}")
    assert "could not be opened: DELETE command denied to user" in refused(url)
    assert len(list(MySQL(url).scan("checked"))) == 1  # reading is allowed


async def test_without_the_privilege_for_views_records_are_stored_and_it_is_reported(
    target: Target, mysql: MySQLServer
) -> None:
    user, name = f"writer{target.database}", target.database
    mysql.execute(f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'")
    mysql.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON {name}.* TO {user}")
    target.make = lambda: MySQL(mysql.url(name, user=user))  # type: ignore[method-assign]
    fields = (Field("parts", "list", fields=(Field("n", "int"),)),)
    one = batch(1, {"parts": [{"n": 1}]}, endpoint=replace(CHECKED, fields=fields))
    drift = []
    for _ in range(2):
        sink = await target.open()
        drift += (await target.write(sink, one)).drift
        await sink.close()
        mysql.execute(f"GRANT CREATE VIEW, DROP ON {name}.* TO {user}")
    [said] = drift
    assert said.startswith(
        "checked: the views of its lists could not be created: CREATE VIEW command"
    )
    assert target.execute("SELECT _item, n FROM checked_parts") == [(0, 1)]
    assert len(target.scan()) == 1


def test_a_server_that_is_read_only_until_its_promotion_is_waited_for(
    target: Target, mysql: MySQLServer
) -> None:
    user = f"writer_{target.database}"
    mysql.execute(f"CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'")
    mysql.execute(f"GRANT ALL ON {target.database}.* TO '{user}'@'%'")  # not: READ ONLY ADMIN
    url = mysql.url(target.database, user=user)

    async def go() -> list[Any]:
        sink: Any = MySQL(url, patience=30)
        await sink.open({})
        codes = heard(sink)
        mysql.execute("SET GLOBAL read_only = 1")
        writing = asyncio.create_task(target.write(sink, part(1, 1)))
        while len(codes) < 2:  # it has tried twice
            assert not writing.done()
            await asyncio.sleep(0.01)
        with pytest.raises(SinkError, match=r"did not answer for 0\.1 s \(.*read-only"):
            await MySQL(url, patience=0.1).open({})
        mysql.execute("SET GLOBAL read_only = 0")
        await writing
        await sink.close()
        return codes

    try:
        assert {*asyncio.run(go())} == {1290}
    finally:
        mysql.execute("SET GLOBAL read_only = 0")
    assert target.numbers() == [1]
