"""A copy of a sample that a test may read and continue, wherever its store is."""

from __future__ import annotations

import lzma
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

import harvester
from tests import mysql_server, postgres_server
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.samples.world import FOLDER, Job, arguments, turn_clock
from tests.scenarios.command import Ended, harvest_at
from tests.support import Wechat

SINKS = {
    "lines": "jsonl:{}",
    "gzip": "jsonl:{}?compress=gzip",
    "zstd": "jsonl:{}?compress=zstd",
    "sqlite": "sqlite:{}/records.db",
    "killed": "jsonl:{}",
}
WHOLE = ("lines", "gzip", "zstd", "sqlite", "postgresql", "mysql")
KILLED = ("killed", "postgresql-killed")
COLLATIONS = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin")


@dataclass
class Sample:
    """A copy.  where: how commands name its ledger; sink: its spec; turn: sets its clock."""

    name: str
    folder: Path
    where: tuple[str, str]
    sink: str
    turn: Callable[[str, float], object] = lambda day, hour: None

    def harvest(self, day: str, hour: float, *given: str | Path) -> Ended:
        """A command with the ledger, at an hour in China on a day."""
        self.turn(day, hour)
        return harvest_at(day, hour, *given, *self.where)

    def run(self, job: Job, server: Wechat, *more: str | Path) -> Ended:
        """A run at its moment."""
        given = arguments(job, server.url, "--sink", self.sink, *more)
        return self.harvest(job.day, job.hour, *given)

    def records(self, endpoint: str) -> list[dict[str, Any]]:
        """What a reader of the sink sees."""
        return list(harvester.rows(self.sink, endpoint))


def unpacked(name: str, folder: Path) -> Path:
    """The files of a sample, in a folder of their own."""
    place = folder / name
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place


def dump(name: str) -> str:
    """The statements of a database, one text."""
    return lzma.decompress((FOLDER / f"{name}.sql.xz").read_bytes()).decode()


def copied(name: str, folder: Path, request: pytest.FixtureRequest) -> Sample:
    """A copy of a sample; of a database on the server of the tests."""
    if name.startswith("postgresql"):
        return _in_postgresql(name, folder, request.getfixturevalue("postgres"))
    if name == "mysql":
        return _in_mysql(folder, request.getfixturevalue("mysql"))
    place = unpacked(name, folder)
    return Sample(name, place, ("--out", str(place)), SINKS[name].format(place))


def _in_postgresql(name: str, folder: Path, server: PostgresServer) -> Sample:
    database = server.new_database()
    server.execute(dump(name).replace("{place}", f"127.0.0.1:{server.port}/{database}"), database)
    url = server.url(database).replace(f":{postgres_server.PASSWORD}", "")
    place = folder / name
    place.mkdir()
    return Sample(
        name, place, ("--ledger", url), url,
        lambda day, hour: turn_clock(server, database, day, hour),
    )  # fmt: skip


def _in_mysql(folder: Path, server: MySQLServer) -> Sample:
    """The ledger beside it names the server and the database where it was made."""
    database = server.new_database()
    known = {row[0] for row in server.execute("SHOW COLLATION")}
    collation = next(each for each in COLLATIONS if each in known)
    with (
        closing(
            pymysql.connect(
                host="127.0.0.1", port=server.port, user=mysql_server.USER,
                password=mysql_server.PASSWORD, database=database, charset="utf8mb4",
            )
        ) as connection,
        connection.cursor() as cursor,
    ):  # fmt: skip
        for statement in dump("mysql").splitlines():
            cursor.execute(statement.replace("{collation}", collation))
        connection.commit()
    url = server.url(database).replace(f":{mysql_server.PASSWORD}", "")
    place = unpacked("mysql", folder)
    with closing(sqlite3.connect(place / "ledger.sqlite")) as ledger, ledger:
        ((former,),) = ledger.execute("SELECT name FROM sink")
        ledger.execute("UPDATE sink SET name = ?", (url,))
        ledger.execute("UPDATE checkpoint SET sink = ? WHERE sink = ?", (url, former))
    return Sample("mysql", place, ("--out", str(place)), url)
