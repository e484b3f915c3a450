"""A job that several processes share: its ledger is in PostgreSQL, its accounts are twelve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from tests import mysql_server
from tests.machine import program
from tests.own_server import free_port
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Done, begun, until
from tests.support import Wechat, days, harvest

ENDPOINT = "getusersummary"
ACCOUNTS = 12
JANUARY = ["--start", "2024-01-01", "--end", "2024-01-31"]
KNOWN = {"PGPASSWORD": PASSWORD, "MYSQL_PWD": mysql_server.PASSWORD}
RECORD = f"SELECT _appid, ref_date, user_source FROM {ENDPOINT}"


class Job:
    """January of twelve accounts; workers are started on it.  env: what they know."""

    def __init__(
        self, server: Wechat, postgres: PostgresServer, ledger: str, accounts: Path
    ) -> None:
        self.server = server
        self.postgres = postgres
        self.ledger = self.sink = ledger
        self.accounts = accounts
        self.env = KNOWN
        self._name = ledger.rpartition("/")[2]

    def arguments(self, *more: str) -> list[str]:
        return [
            "run", ENDPOINT, *JANUARY, "--accounts", str(self.accounts), "--base-url",
            self.server.url, "--rate", "200/s", "--ledger", self.ledger, "--sink", self.sink,
            "--lease", "2s", "--json", *more,
        ]  # fmt: skip

    def start(self, *more: str) -> subprocess.Popen[str]:
        """A worker with at most four requests in flight, unless told otherwise."""
        return begun(*self.arguments("--concurrency", "4", *more), **self.env)

    def run(self, *more: str) -> Done:
        return self.harvester(*self.arguments(*more))

    def harvester(self, *arguments: str | Path) -> Done:
        """Any command."""
        return harvest(*arguments, **self.env)

    @property
    def calls(self) -> int:
        """How many requests for data came."""
        return self.server.simulator.counts["data"]

    def called(self, calls: int, seconds: float = 60) -> None:
        """Wait for so many requests for data."""
        until(lambda: self.calls >= calls, seconds)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What stands in the database of the ledger."""
        return self.postgres.execute(sql, self._name)

    def contents(self) -> dict[str, str]:
        """All that stands in the tables of the ledger."""
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'harvester'"
        return {
            name: str(self.rows(f"SELECT * FROM harvester.{name}")) for (name,) in self.rows(tables)
        }

    def keep_ledger(self) -> None:
        """Keep the ledger as it is, as a server has it that others do not reach any more."""
        self.rows("CREATE SCHEMA kept")
        for name in self.contents():
            self.rows(f"CREATE TABLE kept.{name} AS TABLE harvester.{name}")

    def bring_back_ledger(self) -> None:
        """The ledger is again as it was kept."""
        names = [name for (name,) in self.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'kept'"
            " ORDER BY table_name = 'wanted'"  # it refers to the workers
        )]  # fmt: skip
        self.rows(f"TRUNCATE {', '.join(f'harvester.{name}' for name in names)}")
        for name in names:
            self.rows(
                f"INSERT INTO harvester.{name} OVERRIDING SYSTEM VALUE SELECT * FROM kept.{name}"
            )

    def assert_each_once(
        self, records: list[tuple[Any, ...]] | None = None, days: int = 31
    ) -> None:
        """Each day of each account is there, and no record twice."""
        found = self.rows(RECORD) if records is None else records
        assert len(found) == len({*found})
        assert len({appid for appid, *_ in found}) == ACCOUNTS
        assert len({(appid, day) for appid, day, _ in found}) == ACCOUNTS * days
        verified = self.harvester("verify", "--ledger", self.ledger)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "exactly what was fetched" in verified.stdout


APPIDS = [f"wx{number:016x}" for number in range(ACCOUNTS)]
FIELDS = ("_appid", "ref_date", "user_source", "new_user", "cancel_user")


def accounts_file(folder: Path) -> Path:
    """A file of twelve accounts whose secret is in WX_SECRET."""
    path = folder / "accounts.csv"
    path.write_text("appid,secret\n" + "".join(f"{each},env:WX_SECRET\n" for each in APPIDS))
    return path


def assert_truth(
    postgres: PostgresServer, database: str, wechat: Wechat, begin: date, end: date
) -> None:
    """Each record of each account is in the database, once."""
    columns = ", ".join(FIELDS).replace("ref_date", "ref_date::text")
    found = Counter(postgres.execute(f"SELECT {columns} FROM {ENDPOINT}", database))
    truth = Counter(
        (appid, *(row[name] for name in FIELDS[1:]))
        for appid in APPIDS
        for day in days(begin, end)
        for row in wechat.simulator.truth_of(ENDPOINT, appid, day, day)
    )
    assert found - truth == Counter(), "doubled or other records"
    assert truth - found == Counter(), "lost records"


def ended(process: subprocess.Popen[str], status: int = 0, state: str = "complete") -> Any:
    """The report of a worker that ended like that; its numbers of windows add up."""
    out, err = process.communicate(timeout=90)
    assert process.returncode == status, err
    report = json.loads(out.splitlines()[-1])
    assert report["state"] == state
    planned, *others = report["windows"].values()
    assert planned == sum(others) or state == "interrupted", report
    return report


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@contextmanager
def pooled(job: Job, folder: Path) -> Iterator[None]:
    """The job's ledger behind a PgBouncer that lends a connection for one transaction."""
    pooler = program("pgbouncer")
    port = free_port()
    folder.mkdir()
    (folder / "users").write_text(f'"harvester" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={job.postgres.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = plain\n"
        f"auth_file = {folder / 'users'}\npool_mode = transaction\nunix_socket_dir =\n"
        "default_pool_size = 3\nmax_client_conn = 100\nserver_reset_query_always = 0\n"
    )
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    for parent in folder.parents:
        if os.stat(parent).st_uid == os.geteuid() and str(parent) != "/":
            parent.chmod(parent.stat().st_mode | 0o055)
    who = ["--user", "postgres"] if os.geteuid() == 0 else []
    direct = f":{job.postgres.port}/"
    job.ledger, job.sink = (each.replace(direct, f":{port}/") for each in (job.ledger, job.sink))
    with subprocess.Popen([pooler, *who, "--quiet", folder / "pgbouncer.ini"]) as process:
        try:
            time.sleep(0.5)
            assert process.poll() is None, "pgbouncer does not start"
            yield
        finally:
            process.terminate()
