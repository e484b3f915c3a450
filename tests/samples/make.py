"""How the samples were made, with the code of 98574d5; they are never made again.

It ran in a copy of the project at that state with this package added: ``python -m
tests.samples.make TARGET``.  It stays as a description, and is not run by anything.
"""

from __future__ import annotations

import asyncio
import io
import json
import lzma
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harvester
from harvester.ledger import SqliteLedger
from harvester.ledger.postgresql import PostgresLedger
from harvester.testing import Simulator
from harvester.testing.replies import Refused
from tests import mysql_server, postgres_server
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.samples.world import (
    ARTICLES,
    EMPTY,
    FAILED,
    HOUR,
    INTERFACES,
    JOBS,
    KILLED,
    LATE,
    MARKED,
    NEVER,
    NOW,
    RECENT,
    Job,
    arguments,
    checksum,
    stream_of,
    turn_clock,
)
from tests.scenarios.command import harvest_at, started
from tests.support import B, C, Wechat, at

HOLES = {
    ("getusercumulate", NEVER), ("getusercumulate", LATE), ("getusersummary", EMPTY),
    ("getusersummary", RECENT),
}  # fmt: skip
DATABASE = "sample"


class Faulty(Simulator):
    """A WeChat without some rows, with one window that fails, and with late article figures."""

    def __init__(self) -> None:
        super().__init__(
            daily_quota={HOUR: 5}, refuse_token={C: 40125}, wall=lambda: self.moment
        )  # fmt: skip
        self.moment = 0.0

    def _rows(self, interface: Any, appid: str, begin: date, end: date, last: date) -> Any:
        rows = super()._rows(interface, appid, begin, end, last)
        return [row for row in rows if (interface.name, row.get("ref_date")) not in HOLES]

    def _answer(self, interface: Any, appid: str, begin: date, *more: Any) -> bytes:
        if (interface.name, appid, str(begin)) == (HOUR, B, FAILED):
            raise Refused(40035)
        return super()._answer(interface, appid, begin, *more)


def run(job: Job, server: Wechat, *more: str | Path) -> None:
    simulator: Any = server.simulator
    simulator.moment = at(job.day, job.hour)
    simulator.delay_until_hour = 9.9 if ARTICLES in job.endpoints else None
    ended = harvest_at(job.day, job.hour, *arguments(job, server.url, "--concurrency", "1", *more))
    print(job.day, job.endpoints, ended.status, ended.out.splitlines()[-1][:300], flush=True)
    assert ended.status in (0, 1, 3, 4), ended.err
    assert "Traceback" not in ended.err, ended.err


def whole(*where: str | Path, before: Any = lambda *moment: None) -> None:
    """All runs, in the order of their moments."""
    with Wechat(Faulty()) as server:
        for job in JOBS:
            before(job.day, job.hour)
            run(job, server, *where)


async def mark(ledger: Any) -> None:
    appid, name, first, last = MARKED
    days = (date.fromisoformat(first), date.fromisoformat(last))
    async with ledger:
        await ledger.mark_refresh([(appid, name, *days)])


def packed(folder: Path, target: Path) -> None:
    """The folder as an archive that holds nothing of this machine."""
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.name.endswith(".lock") and not path.stat().st_size and path.name[0] != ".":
                continue
            info = archive.gettarinfo(path, str(path.relative_to(folder)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = at(*NOW)
            archive.addfile(info, io.BytesIO(path.read_bytes()) if path.is_file() else None)


def killed(*where: str | Path, before: Any = lambda *moment: None) -> None:
    """A run of one account that was killed when the ledger had not merged its commits."""
    with Wechat(Faulty()) as server:
        simulator: Any = server.simulator
        before(KILLED.day, KILLED.hour)
        run(KILLED._replace(start="2026-02-02"), server, *where)
        served = sum(simulator.served_of.values())
        more = (*where, "--rate", "4/s", "--order", "oldest")
        before(KILLED.day, 9.1)
        with started(KILLED.day, 9.1, *arguments(KILLED, server.url, *more)) as process:
            while sum(simulator.served_of.values()) < served + 6:
                time.sleep(0.01)
            time.sleep(0.1)
            process.kill()
            process.communicate()


def exports(folder: Path) -> None:
    for target in (
        "parquet:{}/parquet", "parquet:{}/parquet-flat?shape=flat", "csv:{}/csv",
        "duckdb:{}/figures.duckdb", "xlsx:{}/figures.xlsx",
    ):  # fmt: skip
        given = target.format(folder)
        ended = harvest_at(*NOW, "export", given, "--out", folder)
        assert ended.status == 0, ended.err


def postgres_dump(server: PostgresServer, database: str) -> str:
    """All statements, without settings of one version, and without comments."""
    done = subprocess.run(
        ["pg_dump", "--inserts", "--rows-per-insert=200", "--no-owner", "--no-privileges",
         server.url(database)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    text = re.sub(r"^(SET |SELECT pg_catalog.set_config|\\|--|CREATE SCHEMA public).*\n", "",
                  done.stdout, flags=re.MULTILINE)  # fmt: skip
    return (
        re.sub(r"\n{2,}", "\n", text)
        .lstrip()
        .replace(f"127.0.0.1:{server.port}/{database}", "{place}")
    )


def compressed(text: str) -> bytes:
    return lzma.compress(text.encode(), preset=9)


def mysql_dump(server: MySQLServer) -> str:
    """The statements that made the tables, and one INSERT for each 200 rows; one a line."""
    log = server.execute(
        "SELECT argument FROM mysql.general_log WHERE argument REGEXP '^(CREATE|ALTER|DROP) '"
        " ORDER BY event_time"
    )
    lines = []
    for (statement,) in log:
        text = statement.decode() if isinstance(statement, bytes) else statement
        if " DATABASE " in text[:20] or " USER " in text[:30]:
            continue
        lines.append(text.replace("utf8mb4_nopad_bin", "{collation}"))
    tables = server.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'sample'"
        " AND table_type = 'BASE TABLE' ORDER BY table_name"
    )
    for (name,) in tables:
        done = subprocess.run(
            ["mariadb-dump", "-h127.0.0.1", f"-P{server.port}", f"-u{mysql_server.USER}",
             f"-p{mysql_server.PASSWORD}", "--no-create-info", "--skip-comments", "--compact",
             "--complete-insert", "--skip-triggers", "--net-buffer-length=65536",
             "--order-by-primary", "--default-character-set=utf8mb4", DATABASE, name],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        joined = re.sub(r",\n\(", ",(", done.stdout)
        joined = re.sub(r" VALUES\n", " VALUES ", joined)
        lines += [line.rstrip(";") for line in joined.splitlines() if line.startswith("INSERT")]
    assert all("\n" not in line for line in lines)
    return "\n".join(lines).replace(f"127.0.0.1:{server.port}/{DATABASE}", "{place}") + "\n"


def noted(where: str) -> dict[str, Any]:
    found = {name: list(harvester.rows(where, name)) for name in INTERFACES}
    return {
        name: {"records": len(rows), "checksum": checksum(rows)} for name, rows in found.items()
    }


def status_of(*where: str | Path) -> Any:
    """What is known of each interface of each account: days by state, and what is not final."""
    ended = harvest_at(*NOW, "status", "--json", *where)
    return [stream_of(each) for each in json.loads(ended.out.splitlines()[-1])["streams"]]


def main(target: Path) -> None:
    known = {}
    states = {}
    with TemporaryDirectory(prefix="s") as place:
        home = Path(place)
        for name, sink in (
            ("lines", "jsonl:{}"), ("gzip", "jsonl:{}?compress=gzip"),
            ("zstd", "jsonl:{}?compress=zstd"), ("sqlite", "sqlite:{}/records.db"),
        ):  # fmt: skip
            folder = home / name
            folder.mkdir()
            spec = sink.format(folder)
            whole("--out", folder, "--sink", spec)
            asyncio.run(mark(SqliteLedger(folder / "ledger.sqlite")))
            if name == "sqlite":
                exports(folder)
            packed(folder, target / f"{name}.tar.xz")
            known[name] = noted(spec)
            states[name] = status_of("--out", folder)
        folder = home / "killed"
        killed("--out", folder)
        with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as file:
            assert file.execute("SELECT count(*) FROM journal").fetchone()[0] > 1
        packed(folder, target / "killed.tar.xz")
        known["killed"] = noted(f"jsonl:{folder}")
        states["killed"] = status_of("--out", folder)
        os.environ["PGPASSWORD"] = postgres_server.PASSWORD
        os.environ["MYSQL_PWD"] = mysql_server.PASSWORD
        with postgres_server.postgres_server() as postgres:
            postgres.execute(f"CREATE DATABASE {DATABASE}")
            url = postgres.url(DATABASE).replace(f":{postgres_server.PASSWORD}", "")
            turn = partial(turn_clock, postgres, DATABASE)
            whole("--ledger", url, "--sink", url, before=turn)
            turn(*NOW)
            asyncio.run(mark(PostgresLedger(url)))
            (target / "postgresql.sql.xz").write_bytes(
                compressed(postgres_dump(postgres, DATABASE))
            )
            known["postgresql"] = noted(url)
            states["postgresql"] = status_of("--ledger", url)
            postgres.execute("CREATE DATABASE killed")
            url = url.replace(f"/{DATABASE}", "/killed")
            killed("--ledger", url, "--sink", url, before=partial(turn_clock, postgres, "killed"))
            assert postgres.execute("SELECT count(*) FROM harvester.journal", "killed") != [(0,)]
            (target / "postgresql-killed.sql.xz").write_bytes(
                compressed(postgres_dump(postgres, "killed"))
            )
            known["postgresql-killed"] = noted(url)
            turn_clock(postgres, "killed", *NOW)
            states["postgresql-killed"] = status_of("--ledger", url)
        with mysql_server.mysql_server() as mysql:
            mysql.execute(f"CREATE DATABASE {DATABASE}")
            mysql.execute("SET GLOBAL log_output = 'TABLE'")
            mysql.execute("SET GLOBAL general_log = 1")
            url = mysql.url(DATABASE).replace(f":{mysql_server.PASSWORD}", "")
            folder = home / "mysql"
            whole("--out", folder, "--sink", url)
            asyncio.run(mark(SqliteLedger(folder / "ledger.sqlite")))
            (target / "mysql.sql.xz").write_bytes(compressed(mysql_dump(mysql)))
            packed(folder, target / "mysql.tar.xz")
            known["mysql"] = noted(url)
            states["mysql"] = status_of("--out", folder)
    for found in (known, states):
        for name in found:
            assert found[name] == found["killed" if "killed" in name else "lines"], name
    noted_ = {name: {**known[name], "status": states[name]} for name in ("lines", "killed")}
    (target / "known.json").write_text(json.dumps(noted_, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
