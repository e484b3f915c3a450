"""The same command, started any number of times with a ledger in PostgreSQL, shares the work."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import Faults
from tests import mysql_server, postgres_server
from tests.mysql_server import MySQLServer
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Start, harvest_at, succeeded, until
from tests.scenarios.conftest import Jobs
from tests.scenarios.shared import (
    ACCOUNTS,
    APPIDS,
    ENDPOINT,
    JANUARY,
    RECORD,
    Job,
    ended,
    kill,
    pooled,
)


def test_processes_share_the_accounts(job: Jobs) -> None:
    one = job(latency=2)  # until all three are at work, whatever else the machine does
    made = "SELECT to_regclass('harvester.account')"
    holders = "SELECT count(DISTINCT holder) FROM harvester.account"
    processes = [one.start() for _ in range(3)]
    until(lambda: one.rows(made) != [(None,)] and one.rows(holders) == [(3,)])
    one.server.simulator.latency = 0.02
    windows = [ended(process)["windows"] for process in processes]
    assert {each["planned"] for each in windows} == {sum(each["done"] for each in windows)}
    assert all(each["done"] > 0 for each in windows), windows
    one.assert_each_once()
    assert max(Counter(one.server.simulator.served_of.values())) == 1  # nothing was asked for twice
    assert json.loads(one.run().stdout)["requests"] == 0


def test_the_accounts_of_a_killed_process_are_taken_over(job: Jobs) -> None:
    one = job(latency=0.3)
    killed = one.start()
    one.called(8)
    other = one.start("--concurrency", "60")
    held = {*one.rows("SELECT name FROM harvester.account WHERE holder IS NOT NULL")}
    kill(killed)
    sql = (
        "SELECT account.name FROM harvester.account JOIN harvester.worker ON holder = worker.id"
        " WHERE until >= clock_timestamp()"
    )
    taken: set[object] = set()

    def all_taken() -> bool:
        taken.update(one.rows(sql))
        return held <= taken

    until(all_taken, 2 + 5)
    ended(other)
    one.assert_each_once()


def test_different_jobs_share_what_overlaps(job: Jobs) -> None:
    one = job(latency=0.02)
    for process in (one.start(), one.start("--start", "2024-01-15", "--end", "2024-02-14")):
        ended(process)
    one.assert_each_once(days=45)


def test_a_daily_quota_holds_for_all_processes_and_a_kill(job: Jobs) -> None:
    one = job(latency=0.02)
    processes = [one.start("--daily-quota", "3") for _ in range(3)]
    one.called(10)
    kill(processes[0])  # the calls of its last second may not be recorded: all that it has sent
    before = calls_of(one)
    for process in processes[1:]:
        assert ended(process, 3, "waiting")["until"] is not None
    calls = calls_of(one)
    assert {appid for appid, number in calls.items() if number > 3 + before[appid]} == set()
    assert sum(number > 3 for number in calls.values()) < len(calls) / 2


def calls_of(one: Any) -> Counter[str]:
    """The calls of each account that the server has answered."""
    return Counter(appid for _, appid, *_ in one.server.simulator.served_of.elements())


def test_what_failed_for_others_is_in_every_report(job: Jobs) -> None:
    refused = f"wx{3:016x}"
    one = job(latency=0.02, refuse={(refused, ENDPOINT): 48001})
    for process in [one.start() for _ in range(2)]:
        failures = ended(process, 1, "partial")["failures"]
        assert {each["appid"] for each in failures} == {refused}


def test_status_shows_who_is_at_work(job: Jobs) -> None:
    one = job(latency=0.3)
    worker = one.start()
    one.called(12)
    one.server.simulator.latency = 30.0  # it is at work until it is killed
    seen = one.harvester("status", "--ledger", one.ledger).stdout.splitlines()[0]
    assert f":{worker.pid}: since 2" in seen
    assert " accounts, " in seen
    (as_json,) = json.loads(one.harvester("status", "--json", "--ledger", one.ledger).stdout)[
        "workers"
    ]
    assert as_json["name"].endswith(f":{worker.pid}")
    assert as_json["alive"]
    kill(worker)
    time.sleep(2.2)
    seen = one.harvester("status", "--ledger", one.ledger).stdout.splitlines()[0]
    assert f":{worker.pid}: silent since " in seen
    plan = ("plan", ENDPOINT, *JANUARY, "--accounts", one.accounts, "--ledger", one.ledger)
    planned = one.harvester(*plan)
    assert "are done already" in planned.stdout, planned.stderr


def test_a_sink_that_several_cannot_write_is_refused(job: Jobs, tmp_path: Path) -> None:
    one = job()
    for one.sink in (f"jsonl:{tmp_path / 'lines'}", f"sqlite:{tmp_path / 'file.db'}", "-"):
        result = one.run()
        assert result.returncode == 2
        assert "cannot be written by several processes" in result.stderr
        assert "the sink is postgresql://… or mysql://…" in result.stderr
    assert one.calls == 0


def test_a_ledger_of_another_version_is_refused(job: Jobs) -> None:
    one = job()
    assert one.run().returncode == 0
    known = ["--ledger", one.ledger]
    remedies = (
        (99, "a newer version of harvester wrote it: use that version"),
        (3, "a harvester older than the first release wrote it; what to do: https://"),
    )
    for version, remedy in remedies:
        one.rows(f"UPDATE harvester.version SET number = {version}")
        for each in (one.arguments(), ["status", *known], ["verify", *known]):
            result = one.harvester(*each)
            assert result.returncode == 2, result.stderr
            assert (
                f"its ledger has version {version}, but this harvester supports version "
                in result.stderr
            )
            assert f"; {remedy}" in result.stderr
            assert "rebuild" not in result.stderr


def test_a_machine_with_a_wrong_clock_is_refused(
    job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    result = harvest_at("2024-03-10", 12, *one.arguments())
    assert result.status == 2
    assert "this machine's clock is" in result.err
    assert "behind the ledger's; correct the clock" in result.err
    assert one.calls == 0


def test_no_password_is_stored_or_shown(job: Jobs) -> None:
    one = job(faults=Faults(busy=0.2))
    one.ledger = one.sink = one.ledger.replace("@", f":{PASSWORD}@")
    result = succeeded(*one.arguments())
    assert PASSWORD not in result.stdout + result.stderr
    stored = one.contents()
    assert stored
    for content in stored.values():
        assert PASSWORD not in content
        assert "practice" not in content


def test_a_shared_ledger_is_made_from_an_existing_harvest(job: Jobs, tmp_path: Path) -> None:
    one = job()
    alone = one.arguments("--out", str(tmp_path / "out"))
    place = alone.index("--ledger")
    result = one.harvester(*alone[:place], *alone[place + 2 :])
    assert result.returncode == 0, result.stderr
    rebuild = ("rebuild", "--ledger", one.ledger, "--sink", one.sink)
    made = one.harvester(*rebuild)
    assert made.returncode == 0, made.stderr
    calls = one.calls
    windows = ended(one.start())["windows"]
    assert windows["skipped"] >= windows["planned"] - 2
    assert one.calls <= calls + 2
    one.assert_each_once()
    again = one.harvester(*rebuild)
    assert again.returncode == 0, again.stderr
    assert "the former ledger is now the schema harvester_2" in again.stdout
    one.assert_each_once()


async def test_the_library_keeps_a_ledger_beside_its_sink(
    wechat: Start, postgres: PostgresServer
) -> None:
    server, url = wechat(), postgres.url(postgres.new_database())
    first, second = [
        await harvester.run(
            harvester.Account(f"wx{1:016x}", secret="practice"), ENDPOINT, "2024-01-01",
            "2024-01-10", sink=url, base_url=server.url, rate="1000/s",
        )
        for _ in range(2)
    ]  # fmt: skip
    assert first.state == second.state == "complete"
    assert not first.notes
    assert (first.windows.done > 0, second.requests) == (True, 0)


def test_another_schema_is_another_ledger(job: Jobs) -> None:
    one = job()
    one.ledger += "?schema=brand_two"
    assert one.run().returncode == 0
    assert one.rows("SELECT count(*) FROM brand_two.account") == [(ACCOUNTS,)]
    wrong = one.harvester("status", "--ledger", f"{one.sink}?schema=Brand-2")
    assert wrong.returncode == 2
    assert "the name of a schema consists of lowercase letters" in wrong.stderr


def test_the_database_may_be_restarted(job: Jobs) -> None:
    one = job(latency=0.05)
    worker = one.start()
    for calls in (15, 40):
        one.called(calls)
        one.postgres.stop(signal.SIGQUIT)
        time.sleep(0.3)
        one.postgres.start()
    ended(worker)
    one.assert_each_once()


def test_a_ledger_that_comes_back_without_its_last_commits_is_noticed(job: Jobs) -> None:
    one = job()
    ended(one.start())
    one.keep_ledger()
    ended(one.start("--refresh", "--only", APPIDS[3]))
    one.bring_back_ledger()
    report = ended(one.start(), 1, "partial")
    assert [*report["stopped"]] == [APPIDS[3]]
    assert report["windows"]["failed"] == 5  # of seven days each
    assert report["requests"] == 0
    (failure,) = report["failures"]
    assert "a failover or a restored copy has lost commits" in failure["error"]
    made = one.harvester("rebuild", "--ledger", one.ledger, "--sink", one.sink)
    assert made.returncode == 0, made.stderr
    assert ended(one.start())["requests"] == 5  # what differs from the former ledger, once more
    one.assert_each_once()


def test_a_number_that_fences_is_never_given_twice(job: Jobs) -> None:
    one = job()
    ended(one.start("--only", APPIDS[0]))
    one.keep_ledger()
    numbers = "SELECT max(epoch) FROM harvester.account"
    ended(one.start("--refresh"))
    given = one.rows(numbers)
    one.bring_back_ledger()
    one.rows("TRUNCATE _harvester_mark")  # as if the sink did not know either
    ended(one.start("--refresh"))
    assert one.rows(numbers) > given
    one.assert_each_once()


def test_an_interrupt_frees_the_accounts_at_once(job: Jobs) -> None:
    one = job(latency=0.2)
    worker = one.start()
    one.called(12)
    worker.send_signal(signal.SIGINT)
    ended(worker, 130, "interrupted")
    assert not one.rows("SELECT name FROM harvester.account WHERE holder IS NOT NULL")
    ended(one.start("--concurrency", "64"))
    one.assert_each_once()


def test_a_pooler_may_stand_before_the_database(job: Jobs, tmp_path: Path) -> None:
    one = job(latency=0.02)
    with pooled(one, tmp_path / "pooler"):
        for process in [one.start() for _ in range(3)]:
            ended(process)
        one.assert_each_once(one.rows(RECORD))


def test_behind_a_pooler_a_process_that_is_killed_leaves_every_record_once(
    job: Jobs, tmp_path: Path
) -> None:
    one = job(latency=0.1)
    with pooled(one, tmp_path / "pooler"):
        killed, *others = [one.start() for _ in range(4)]
        one.called(30)
        kill(killed)
        for each in others:
            ended(each)
        one.assert_each_once()


# Several processes whose ledger is in PostgreSQL, and whose records go to MySQL.


@pytest.fixture
def sink(mysql: MySQLServer) -> str:
    """The URL of a new database, without its password."""
    return mysql.url(mysql.new_database()).replace(f":{mysql_server.PASSWORD}", "")


def assert_each_once_in_mysql(job: Job, mysql: MySQLServer, sink: str) -> None:
    job.assert_each_once(mysql.execute(RECORD, sink.rpartition("/")[2]))


def test_killed_and_frozen_processes_double_nothing(
    job: Jobs, mysql: MySQLServer, sink: str
) -> None:
    one = job(sink, latency=0.1)
    killed, frozen = one.start(), one.start()
    one.called(30)
    frozen.send_signal(signal.SIGSTOP)
    kill(killed)
    ended(one.start())
    frozen.send_signal(signal.SIGCONT)
    ended(frozen)
    assert_each_once_in_mysql(one, mysql, sink)
    assert json.loads(one.run().stdout)["requests"] == 0


def test_the_server_of_the_sink_may_be_restarted(job: Jobs, mysql: MySQLServer, sink: str) -> None:
    one = job(sink, latency=0.05)
    worker = one.start()
    for calls in (15, 40):
        one.called(calls)
        mysql.stop(signal.SIGKILL)
        time.sleep(0.3)
        mysql.start()
    ended(worker)
    assert_each_once_in_mysql(one, mysql, sink)


def test_no_password_is_stored_or_shown_and_the_sink_is_known_by_its_url(
    job: Jobs, mysql: MySQLServer, sink: str
) -> None:
    one = job(sink.replace("@", f":{mysql_server.PASSWORD}@"))
    done = succeeded(*one.arguments(), PGPASSWORD=postgres_server.PASSWORD)
    assert mysql_server.PASSWORD not in done.stdout + done.stderr
    stored = str(one.contents())
    assert mysql_server.PASSWORD not in stored
    assert sink in stored
    for (table,) in mysql.execute("SHOW TABLES", sink.rpartition("/")[2]):
        rows = mysql.execute(f"SELECT * FROM {table}", sink.rpartition("/")[2])
        assert mysql_server.PASSWORD not in str(rows)
    assert_each_once_in_mysql(one, mysql, sink)
