"""Several processes whose ledger is in PostgreSQL, and whose records go to MySQL."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import mysql_server, postgres_server
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.scenarios.test_several_machines import (
    ENDPOINT,
    JANUARY,
    accounts,  # noqa: F401  (a fixture)
    database,  # noqa: F401  (a fixture)
    ended,
    kill,
)
from tests.support import Wechat, command, environment, harvest

KNOWN = {"PGPASSWORD": postgres_server.PASSWORD, "MYSQL_PWD": mysql_server.PASSWORD}


@pytest.fixture
def sink(mysql: MySQLServer) -> str:
    """The URL of a new database, without its password."""
    return mysql.url(mysql.new_database()).replace(f":{mysql_server.PASSWORD}", "")


def arguments(database: str, sink: str, accounts: Path, server: Wechat) -> list[str]:  # noqa: F811
    return [
        "run", ENDPOINT, *JANUARY, "--accounts", str(accounts), "--base-url", server.url,
        "--rate", "200/s", "--ledger", database, "--sink", sink, "--lease", "2s", "--json",
        "--concurrency", "4",
    ]  # fmt: skip


def started(*given: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*given), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(**KNOWN),
    )  # fmt: skip


def assert_each_once(mysql: MySQLServer, database: str, sink: str) -> None:  # noqa: F811
    [(stored, different, of, on)] = mysql.execute(
        "SELECT count(*), count(DISTINCT _appid, ref_date, user_source), count(DISTINCT _appid),"
        f" count(DISTINCT _appid, ref_date) FROM {ENDPOINT}",
        sink.rpartition("/")[2],
    )
    assert stored == different
    assert (of, on) == (12, 12 * 31)
    verified = harvest("verify", "--ledger", database, **KNOWN)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "exactly what was fetched" in verified.stdout


def test_processes_that_are_killed_and_frozen_leave_every_record_once(
    wechat: Callable[..., Wechat],
    mysql: MySQLServer,
    database: str,  # noqa: F811
    sink: str,
    accounts: Path,  # noqa: F811
) -> None:
    server = wechat(latency=0.1)
    given = arguments(database, sink, accounts, server)
    killed, frozen = started(*given), started(*given)
    while server.simulator.counts["data"] < 30:
        time.sleep(0.05)
    frozen.send_signal(signal.SIGSTOP)
    kill(killed)
    status, report, err = ended(started(*given))
    assert status == 0, err
    windows = report["windows"]
    assert windows["planned"] == windows["skipped"] + windows["done"]
    frozen.send_signal(signal.SIGCONT)
    status, _, err = ended(frozen)
    assert status == 0, err
    assert_each_once(mysql, database, sink)
    again = harvest(*given, **KNOWN)
    assert json.loads(again.stdout)["requests"] == 0


def test_the_server_of_the_sink_may_be_restarted(
    wechat: Callable[..., Wechat],
    mysql: MySQLServer,
    database: str,  # noqa: F811
    sink: str,
    accounts: Path,  # noqa: F811
) -> None:
    server = wechat(latency=0.05)
    worker = started(*arguments(database, sink, accounts, server))
    for calls in (15, 40):
        while server.simulator.counts["data"] < calls:
            time.sleep(0.02)
        mysql.stop(signal.SIGKILL)
        time.sleep(0.3)
        mysql.start()
    status, report, err = ended(worker)
    assert status == 0, err
    assert report["state"] == "complete"
    assert_each_once(mysql, database, sink)


def test_no_password_is_stored_or_shown_and_the_sink_is_known_by_its_url(
    wechat: Callable[..., Wechat],
    mysql: MySQLServer,
    postgres: PostgresServer,
    database: str,  # noqa: F811
    sink: str,
    accounts: Path,  # noqa: F811
) -> None:
    whole = sink.replace("@", f":{mysql_server.PASSWORD}@")
    given = arguments(database, whole, accounts, wechat())
    done = harvest(*given, PGPASSWORD=postgres_server.PASSWORD)
    assert done.returncode == 0, done.stderr
    assert mysql_server.PASSWORD not in done.stdout + done.stderr
    name = database.rpartition("/")[2]
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'harvester'"
    stored = ""
    for (table,) in postgres.execute(tables, name):
        stored += str(postgres.execute(f"SELECT * FROM harvester.{table}", name))
    assert mysql_server.PASSWORD not in stored
    assert sink in stored
    for (table,) in mysql.execute("SHOW TABLES", sink.rpartition("/")[2]):
        rows = mysql.execute(f"SELECT * FROM {table}", sink.rpartition("/")[2])
        assert mysql_server.PASSWORD not in str(rows)
    assert_each_once(mysql, database, sink)


def test_sinks_that_several_can_write_are_named_where_another_is_refused(
    wechat: Callable[..., Wechat],
    database: str,  # noqa: F811
    accounts: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    given = arguments(database, f"jsonl:{tmp_path / 'lines'}", accounts, wechat())
    refused = harvest(*given, **KNOWN)
    assert refused.returncode == 2
    assert "the sink is postgresql://…, mysql://… or iceberg:…" in refused.stderr
