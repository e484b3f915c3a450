"""The same command, started any number of times on one PostgreSQL, shares the work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import Faults
from tests.own_server import free_port
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.fast import harvest_at
from tests.support import Wechat, command, environment, harvest

ENDPOINT = "getusersummary"
JANUARY = ["--start", "2024-01-01", "--end", "2024-01-31"]


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The URL of a new database, without its password."""
    return postgres.url(postgres.new_database()).replace(f":{PASSWORD}", "")


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    rows = [f"wx{each:016x},env:HARVESTER_SECRET" for each in range(12)]
    path.write_text("\n".join(["appid,secret", *rows, ""]))
    return path


def arguments(database: str, accounts: Path, server: Wechat, *more: str) -> list[str]:
    return [
        "run", ENDPOINT, *JANUARY, "--accounts", str(accounts), "--base-url", server.url,
        "--rate", "200/s", "--ledger", database, "--sink", database, "--lease", "2s", "--json",
        *more,
    ]  # fmt: skip


def started(*given: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PGPASSWORD=PASSWORD),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=90)
    return process.returncode, json.loads(out.splitlines()[-1]) if out else {}, err


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def rows(postgres: PostgresServer, database: str, sql: str) -> list[tuple[Any, ...]]:
    return postgres.execute(sql, database.rpartition("/")[2])


def holders(postgres: PostgresServer, database: str) -> int:
    """How many workers hold accounts; 0 before the first has made the ledger."""
    if rows(postgres, database, "SELECT to_regclass('harvester.account')") == [(None,)]:
        return 0
    [(number,)] = rows(postgres, database, "SELECT count(DISTINCT holder) FROM harvester.account")
    return int(number)


def wait_until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


def assert_each_once(
    postgres: PostgresServer, database: str, accounts: int = 12, days: int = 31
) -> None:
    [(stored, different, of, on)] = rows(
        postgres, database,
        "SELECT count(*), count(DISTINCT (_appid, ref_date, user_source)),"
        f" count(DISTINCT _appid), count(DISTINCT (_appid, ref_date)) FROM {ENDPOINT}",
    )  # fmt: skip
    assert stored == different
    assert (of, on) == (accounts, accounts * days)
    verified = harvest("verify", "--ledger", database, PGPASSWORD=PASSWORD)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "exactly what was fetched" in verified.stdout


def test_processes_share_the_accounts(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(latency=2)  # until all three are at work, whatever else the machine does
    processes = [started(*arguments(database, accounts, server, "--concurrency", "4"))
                 for _ in range(3)]  # fmt: skip
    wait_until(lambda: holders(postgres, database) == 3)
    server.simulator.latency = 0.02
    found = [ended(process) for process in processes]
    assert [status for status, _, _ in found] == [0, 0, 0], found
    planned = {report["windows"]["planned"] for _, report, _ in found}
    done = [report["windows"]["done"] for _, report, _ in found]
    assert planned == {sum(done)}
    assert all(each > 0 for each in done), done
    for _, report, _ in found:
        windows = report["windows"]
        assert windows["planned"] == windows["skipped"] + windows["done"]
        assert report["state"] == "complete"
    assert_each_once(postgres, database)
    assert max(Counter(server.simulator.served_of.values())) == 1  # nothing was asked for twice
    again = harvest(*arguments(database, accounts, server), PGPASSWORD=PASSWORD)
    assert json.loads(again.stdout)["requests"] == 0


def test_the_accounts_of_a_killed_process_are_taken_over(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(latency=0.3)
    killed = started(*arguments(database, accounts, server, "--concurrency", "4"))
    while server.simulator.counts["data"] < 8:
        time.sleep(0.05)
    other = started(*arguments(database, accounts, server, "--concurrency", "60"))
    sql = "SELECT name FROM harvester.account WHERE holder IS NOT NULL"
    held = {name for (name,) in rows(postgres, database, sql)}
    kill(killed)
    ends = time.monotonic() + 2 + 5
    sql = (
        "SELECT account.name FROM harvester.account JOIN harvester.worker ON holder = worker.id"
        " WHERE until >= clock_timestamp()"
    )
    taken: set[str] = set()
    while not held <= taken:
        assert time.monotonic() < ends, held - taken
        taken |= {name for (name,) in rows(postgres, database, sql)}
        time.sleep(0.05)
    status, report, err = ended(other)
    assert status == 0, err
    assert report["windows"]["planned"] == report["windows"]["skipped"] + report["windows"]["done"]
    assert_each_once(postgres, database)


def test_a_frozen_process_that_wakes_up_changes_nothing(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(latency=0.1)
    frozen = started(*arguments(database, accounts, server, "--concurrency", "4"))
    while server.simulator.counts["data"] < 20:
        time.sleep(0.05)
    frozen.send_signal(signal.SIGSTOP)
    status, _, err = ended(started(*arguments(database, accounts, server)))
    assert status == 0, err
    stored = rows(postgres, database, f"SELECT * FROM {ENDPOINT} ORDER BY 1, 2, 3, 4, 5, 6, 7, 8")
    frozen.send_signal(signal.SIGCONT)
    status, report, err = ended(frozen)
    assert status == 0, err
    assert report["state"] == "complete"
    assert rows(
        postgres, database, f"SELECT * FROM {ENDPOINT} ORDER BY 1, 2, 3, 4, 5, 6, 7, 8"
    ) == stored  # fmt: skip
    assert_each_once(postgres, database)


def test_different_jobs_share_what_overlaps(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(latency=0.02)
    first = started(*arguments(database, accounts, server, "--concurrency", "4"))
    later = arguments(database, accounts, server, "--concurrency", "4")
    later[later.index("2024-01-01")] = "2024-01-15"
    later[later.index("2024-01-31")] = "2024-02-14"
    second = started(*later)
    for process in (first, second):
        status, report, err = ended(process)
        assert status == 0, err
        assert report["state"] == "complete"
    assert_each_once(postgres, database, days=45)


def test_a_daily_quota_holds_for_all_processes_and_a_kill(
    wechat: Callable[..., Wechat], database: str, accounts: Path
) -> None:
    server = wechat(latency=0.02)
    day = arguments(database, accounts, server, "--daily-quota", "3", "--concurrency", "4")
    processes = [started(*day) for _ in range(3)]
    while server.simulator.counts["data"] < 10:
        time.sleep(0.02)
    kill(processes[0])
    found = [ended(process) for process in processes[1:]]
    for status, report, err in found:
        assert status == 3, err
        assert report["state"] == "waiting"
        windows = report["windows"]
        counted = windows["skipped"] + windows["done"] + windows["waiting"]
        assert windows["planned"] == counted
        assert report["until"] is not None
    calls = Counter(appid for _, appid, *_ in server.simulator.served_of.elements())
    assert max(calls.values()) <= 3


def test_what_failed_for_others_is_in_every_report(
    wechat: Callable[..., Wechat], database: str, accounts: Path
) -> None:
    refused = f"wx{3:016x}"
    server = wechat(latency=0.02, refuse={(refused, ENDPOINT): 48001})
    processes = [started(*arguments(database, accounts, server, "--concurrency", "4"))
                 for _ in range(2)]  # fmt: skip
    for status, report, err in [ended(process) for process in processes]:
        assert status == 1, err
        assert report["state"] == "partial"
        assert {each["appid"] for each in report["failures"]} == {refused}
        windows = report["windows"]
        counted = windows["skipped"] + windows["done"] + windows["failed"]
        assert windows["planned"] == counted


def test_status_shows_who_is_at_work(
    wechat: Callable[..., Wechat], database: str, accounts: Path
) -> None:
    server = wechat(latency=0.3)
    worker = started(*arguments(database, accounts, server, "--concurrency", "4"))
    while server.simulator.counts["data"] < 12:
        time.sleep(0.05)
    seen = harvest("status", "--ledger", database, PGPASSWORD=PASSWORD).stdout.splitlines()[0]
    assert f":{worker.pid}: since 2" in seen
    assert " accounts, " in seen
    kill(worker)
    time.sleep(2.2)
    seen = harvest("status", "--ledger", database, PGPASSWORD=PASSWORD).stdout.splitlines()[0]
    assert f":{worker.pid}: silent since " in seen
    planned = harvest(
        "plan", ENDPOINT, *JANUARY, "--accounts", accounts, "--ledger", database,
        PGPASSWORD=PASSWORD,
    )  # fmt: skip
    assert "are done already" in planned.stdout, planned.stderr


def test_a_sink_that_several_cannot_write_is_refused(
    wechat: Callable[..., Wechat], database: str, accounts: Path, tmp_path: Path
) -> None:
    server = wechat()
    for sink in (f"jsonl:{tmp_path / 'lines'}", f"sqlite:{tmp_path / 'file.db'}", "-"):
        given = arguments(database, accounts, server)
        given[given.index("--sink") + 1] = sink
        result = harvest(*given, PGPASSWORD=PASSWORD)
        assert result.returncode == 2
        assert "cannot be written by several processes" in result.stderr
        assert "postgresql://" in result.stderr
    assert server.simulator.counts["data"] == 0


def test_a_ledger_of_another_version_is_refused(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat()
    given = arguments(database, accounts, server, "--concurrency", "4")
    assert harvest(*given, PGPASSWORD=PASSWORD).returncode == 0
    rows(postgres, database, "UPDATE harvester.version SET number = 99")
    for each in (given, ["status", "--ledger", database], ["verify", "--ledger", database]):
        result = harvest(*each, PGPASSWORD=PASSWORD)
        assert result.returncode == 2, result.stderr
        assert "its ledger has version 99, this harvester knows 1" in result.stderr


def test_a_machine_with_a_wrong_clock_is_refused(
    wechat: Callable[..., Wechat], database: str, accounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = wechat()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    result = harvest_at("2024-03-10", 12, *arguments(database, accounts, server))
    assert result.status == 2
    assert "this machine's clock is" in result.err
    assert "behind the ledger's; set it" in result.err
    assert server.simulator.counts["data"] == 0


def test_no_password_is_stored_or_shown(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(faults=Faults(busy=0.2))
    whole = database.replace("@", f":{PASSWORD}@")
    given = [whole if each == database else each for each in
             arguments(database, accounts, server)]  # fmt: skip
    result = harvest(*given)
    assert result.returncode == 0, result.stderr
    assert PASSWORD not in result.stdout + result.stderr
    for (table,) in rows(
        postgres, database, "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'harvester'",
    ):  # fmt: skip
        assert PASSWORD not in str(rows(postgres, database, f"SELECT * FROM harvester.{table}"))
        assert "practice" not in str(rows(postgres, database, f"SELECT * FROM harvester.{table}"))


def test_a_shared_ledger_is_made_from_an_existing_harvest(
    wechat: Callable[..., Wechat],
    postgres: PostgresServer,
    database: str,
    accounts: Path,
    tmp_path: Path,
) -> None:
    server = wechat()
    alone = arguments(database, accounts, server)
    del alone[alone.index("--ledger") : alone.index("--ledger") + 2]
    result = harvest(*alone, "--out", tmp_path / "out", PGPASSWORD=PASSWORD)
    assert result.returncode == 0, result.stderr
    made = harvest("rebuild", "--ledger", database, "--sink", database, PGPASSWORD=PASSWORD)
    assert made.returncode == 0, made.stderr
    calls = server.simulator.counts["data"]
    status, report, err = ended(started(*arguments(database, accounts, server)))
    assert status == 0, err
    assert report["windows"]["skipped"] >= report["windows"]["planned"] - 2
    assert server.simulator.counts["data"] <= calls + 2
    assert_each_once(postgres, database)
    again = harvest("rebuild", "--ledger", database, "--sink", database, PGPASSWORD=PASSWORD)
    assert again.returncode == 0, again.stderr
    assert "the former ledger is now the schema harvester_2" in again.stdout
    assert_each_once(postgres, database)


def test_the_library_keeps_a_ledger_in_the_database_of_its_sink(
    wechat: Callable[..., Wechat], postgres: PostgresServer
) -> None:
    server = wechat()
    url = postgres.url(postgres.new_database())
    account = harvester.Account(f"wx{1:016x}", secret="practice")

    def run() -> harvester.Report:
        return asyncio.run(
            harvester.run(
                account, ENDPOINT, "2024-01-01", "2024-01-10", sink=url, base_url=server.url,
                rate=1000,
            )
        )  # fmt: skip

    first, second = run(), run()
    assert first.state == second.state == "complete"
    assert not first.notes
    assert (first.windows.done > 0, second.requests) == (True, 0)


def test_another_schema_is_another_ledger(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat()
    given = arguments(f"{database}?schema=brand_two", accounts, server)
    given[given.index("--sink") + 1] = database
    assert harvest(*given, PGPASSWORD=PASSWORD).returncode == 0
    assert rows(postgres, database, "SELECT count(*) FROM brand_two.account") == [(12,)]
    wrong = harvest("status", "--ledger", f"{database}?schema=Brand-2", PGPASSWORD=PASSWORD)
    assert wrong.returncode == 2
    assert "a schema is named by small letters" in wrong.stderr


def test_the_database_may_be_restarted(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(latency=0.05)
    worker = started(*arguments(database, accounts, server, "--concurrency", "4"))
    for calls in (15, 40):
        while server.simulator.counts["data"] < calls:
            time.sleep(0.02)
        postgres.stop(signal.SIGQUIT)
        time.sleep(0.3)
        postgres.start()
    status, report, err = ended(worker)
    assert status == 0, err
    assert report["state"] == "complete"
    assert_each_once(postgres, database)


def test_an_interrupt_frees_the_accounts_at_once(
    wechat: Callable[..., Wechat], postgres: PostgresServer, database: str, accounts: Path
) -> None:
    server = wechat(latency=0.2)
    worker = started(*arguments(database, accounts, server, "--concurrency", "4"))
    while server.simulator.counts["data"] < 12:
        time.sleep(0.05)
    worker.send_signal(signal.SIGINT)
    status, report, err = ended(worker)
    assert (status, report["state"]) == (130, "interrupted"), err
    assert rows(
        postgres, database, "SELECT count(*) FROM harvester.account WHERE holder IS NOT NULL"
    ) == [(0,)]  # fmt: skip
    status, _, err = ended(started(*arguments(database, accounts, server)))
    assert status == 0, err
    assert_each_once(postgres, database)


@contextmanager
def pooler(postgres: PostgresServer, folder: Path) -> Iterator[int]:
    """A PgBouncer that lends a connection for one transaction."""
    import shutil

    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        assert "CI" not in os.environ, "there is no pgbouncer"
        pytest.skip("there is no pgbouncer")
    port = free_port()
    (folder / "users").write_text(f'"harvester" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = plain\n"
        f"auth_file = {folder / 'users'}\npool_mode = transaction\nunix_socket_dir =\n"
        "default_pool_size = 3\nmax_client_conn = 100\nserver_reset_query_always = 0\n"
    )
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    for parent in folder.parents:
        if os.stat(parent).st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055) if str(parent) != "/" else None
    who = ["--user", "postgres"] if os.geteuid() == 0 else []
    with subprocess.Popen([program, *who, "--quiet", folder / "pgbouncer.ini"]) as process:
        try:
            time.sleep(0.5)
            assert process.poll() is None, "pgbouncer does not start"
            yield port
        finally:
            process.terminate()


def test_a_pooler_may_stand_before_the_database(
    wechat: Callable[..., Wechat],
    postgres: PostgresServer,
    database: str,
    accounts: Path,
    tmp_path: Path,
) -> None:
    server = wechat(latency=0.02)
    folder = tmp_path / "pooler"
    folder.mkdir()
    with pooler(postgres, folder) as port:
        through = database.replace(f":{postgres.port}/", f":{port}/")
        processes = [started(*arguments(through, accounts, server, "--concurrency", "4"))
                     for _ in range(3)]  # fmt: skip
        for status, report, err in [ended(process) for process in processes]:
            assert status == 0, err
            assert report["state"] == "complete"
    [(stored, different)] = rows(
        postgres, database,
        f"SELECT count(*), count(DISTINCT (_appid, ref_date, user_source)) FROM {ENDPOINT}",
    )  # fmt: skip
    assert stored == different > 0
