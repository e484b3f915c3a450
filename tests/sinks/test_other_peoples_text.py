"""Titles and names of fields are other people's text: no statement and no path comes of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pymysql
import pytest

from harvester import plugins
from harvester.datacube import INTERFACES
from harvester.endpoint import Endpoint, Field
from harvester.model import Batch
from tests import mysql_server
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.sinks.feed import batch, window

EVIL = [
    "'); DROP TABLE checked; --",
    'x"; DROP TABLE checked; --',
    "x'x\"x`x]x[x%s%(a)s:a?1 $1 {} \\ \\' ; --",
    "../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\u202e\x1b[2J\x07\u0000",
    "%s",
]
NAMES = [name for name in EVIL if "\u0000" not in name]
"""PostgreSQL and DuckDB have no names with NUL; the catalogue is not WeChat's to write."""


def of_sqlite(folder: Path, _: pytest.FixtureRequest) -> tuple[str, Callable[[], Any]]:
    def read() -> Any:
        with closing(sqlite3.connect(folder / "db")) as database:
            cursor = database.execute("SELECT * FROM checked")
            return [column[0] for column in cursor.description], cursor.fetchall()

    return f"sqlite:{folder / 'db'}", read


def of_duckdb(folder: Path, _: pytest.FixtureRequest) -> tuple[str, Callable[[], Any]]:
    def read() -> Any:
        with duckdb.connect(str(folder / "db")) as database:
            cursor = database.execute("SELECT * FROM checked")
            return [column[0] for column in cursor.description or ()], cursor.fetchall()

    return f"duckdb:{folder / 'db'}", read


def of_postgresql(_: Path, request: pytest.FixtureRequest) -> tuple[str, Callable[[], Any]]:
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.url(server.new_database())

    def read() -> Any:
        with psycopg.connect(url) as connection:
            cursor = connection.execute("SELECT * FROM checked")
            return [column.name for column in cursor.description or ()], cursor.fetchall()

    return url, read


def of_mysql(_: Path, request: pytest.FixtureRequest) -> tuple[str, Callable[[], Any]]:
    server: MySQLServer = request.getfixturevalue("mysql")
    name = server.new_database()

    def read() -> Any:
        with (
            closing(
                pymysql.connect(
                    host="127.0.0.1",
                    port=server.port,
                    user=mysql_server.USER,
                    password=mysql_server.PASSWORD,
                    database=name,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT * FROM checked")
            return [column[0] for column in cursor.description or ()], cursor.fetchall()

    return server.url(name), read


async def written(spec: str, endpoint: Endpoint | None, given: Batch) -> None:
    """Open the sink, write into it, close it."""
    sink = plugins.sink(spec)
    given.endpoint = endpoint
    await sink.open(None)
    await sink.write([given], {given.window.appid: 1})
    await sink.close()


@pytest.mark.parametrize("make", [of_sqlite, of_duckdb, of_postgresql, of_mysql])
def test_text_and_names_of_fields_are_stored_as_they_came_and_do_nothing(
    make: Callable[[Path, pytest.FixtureRequest], tuple[str, Callable[[], Any]]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    spec, read = make(tmp_path, request)
    fields = tuple(Field(name, "str", "somebody's") for name in NAMES)
    endpoint = replace(INTERFACES["getarticlesummary"], name="checked", fields=fields)
    records = [dict.fromkeys(NAMES, text) for text in NAMES]
    place = window(1, appid="wx1", endpoint="checked")
    for number in range(2):  # the second one finds the table, and replaces what stands there
        unknown = [{**record, "unknown " + EVIL[0]: EVIL[number]} for record in records]
        asyncio.run(written(spec, endpoint, batch(place, *unknown, replaces=bool(number))))
    columns, rows = read()
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert sorted(row[NAMES[0]] for row in found) == sorted(NAMES)
    for row in found:
        assert {row[name] for name in NAMES} == {row[NAMES[0]]}
        assert EVIL[1].replace('"', '\\"') in str(row["_extra"]) or EVIL[1] in str(row["_extra"])


@pytest.mark.parametrize("spec", ["jsonl:{}", "parquet:{}"])
def test_nothing_that_a_record_says_names_a_file(tmp_path: Path, spec: str) -> None:
    evil = {"_endpoint": "../../out", "_appid": "../out", "title": "../out", "../out": "../out"}
    given = batch(1, evil, {"ref_date": "../../../out"})
    asyncio.run(written(spec.format(tmp_path / "here"), None, given))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert not [path for path in tmp_path.rglob("*") if "out" in path.name]
