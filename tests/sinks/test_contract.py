"""What every sink promises: one suite over all of them."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import psycopg
import pytest
from redis import Redis

import harvester
from harvester import plugins
from harvester.errors import UsageError
from harvester.sinks.base import Sink
from harvester.sinks.streams import Marker
from harvester.testing import SINK_CHECKS, MemorySink, check_sink
from harvester.testing.bench import ENDPOINTS
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Record = dict[str, Any]


class Place(NamedTuple):
    """A kind of sink, and where its targets are: how each is made, read and deleted."""

    make: Callable[[str], Sink]
    read: Callable[[str], Iterable[Record]]
    remove: Callable[[str], object] | None = None


def of_memory(_: Path, __: pytest.FixtureRequest) -> Place:
    kept: dict[str, MemorySink] = {}
    return Place(lambda name: kept.setdefault(name, MemorySink(name)), lambda n: kept[n].records)


def in_segments(compress: str, unpack: Callable[[bytes], bytes]) -> Callable[..., Place]:
    """JSON lines, plain or compressed, as any program that knows the compression reads them."""

    def of_jsonl(home: Path, _: pytest.FixtureRequest) -> Place:
        def read(name: str) -> Iterator[Record]:
            for path in sorted((home / name).glob("*/*.jsonl*")):
                yield from map(json.loads, unpack(path.read_bytes()).splitlines())

        return Place(
            lambda name: plugins.sink(f"jsonl:{home / name}{compress}"),
            read,
            lambda name: shutil.rmtree(home / name),
        )

    return of_jsonl


def of_parquet(home: Path, _: pytest.FixtureRequest) -> Place:
    """What stands in the files, and, until a run has come to its end, in the logs."""

    def read(name: str) -> Iterator[Record]:
        for endpoint in ENDPOINTS:
            for row in harvester.read(f"parquet:{home / name}", endpoint).read_all().to_pylist():
                extra = json.loads(row.pop("_extra") or "{}")
                yield {**{key: value for key, value in row.items() if value is not None}, **extra}

    return Place(
        lambda name: plugins.sink(f"parquet:{home / name}"),
        read,
        lambda name: shutil.rmtree(home / name),
    )


def as_record(row: Iterable[Any], kinds: dict[str, str]) -> Record:
    """A row of a table as the record it was: its columns, and ``_extra`` laid over them."""
    found = dict(zip(kinds, row, strict=True))
    for name, kind in kinds.items():
        if kind.lower() == "json" and isinstance(found[name], str):
            found[name] = json.loads(found[name])
        if kind.lower() == "boolean" and found[name] is not None:
            found[name] = bool(found[name])
    extra = found.pop("_extra") or {}
    return {**found, **extra}


TABLES = ("checked", "checked_too")


def of_sqlite(home: Path, _: pytest.FixtureRequest) -> Place:
    def read(name: str) -> Iterator[Record]:
        with closing(sqlite3.connect(home / f"{name}.db")) as database:
            for table in TABLES:
                info = database.execute(f"PRAGMA table_info({table})")
                kinds = {name: kind for _, name, kind, *_ in info}
                for row in database.execute(f"SELECT * FROM {table}"):
                    yield as_record(row, kinds)

    return Place(
        lambda name: plugins.sink(f"sqlite:{home / name}.db"),
        read,
        lambda name: (home / f"{name}.db").unlink(),
    )


def of_duckdb(home: Path, _: pytest.FixtureRequest) -> Place:
    def read(name: str) -> Iterator[Record]:
        with duckdb.connect(str(home / f"{name}.db")) as database:
            database.execute("SET TimeZone = 'UTC'")
            for table in TABLES:
                info = database.execute(f"PRAGMA table_info({table})").fetchall()
                kinds = {str(one[1]): str(one[2]) for one in info}
                chosen = ", ".join(
                    f'"{name}"::VARCHAR' if kind.startswith("TIMESTAMP") else f'"{name}"'
                    for name, kind in kinds.items()
                )
                for row in database.execute(f"SELECT {chosen} FROM {table}").fetchall():
                    yield as_record(row, kinds)

    return Place(
        lambda name: plugins.sink(f"duckdb:{home / name}.db"),
        read,
        lambda name: (home / f"{name}.db").unlink(),
    )


def of_postgresql(_: Path, request: pytest.FixtureRequest) -> Place:
    server: PostgresServer = request.getfixturevalue("postgres")
    made: dict[str, str] = {}

    def make(name: str) -> Sink:
        if name not in made:
            made[name] = server.new_database()
        return plugins.sink(server.url(made[name]))

    def read(name: str) -> Iterator[Record]:
        with psycopg.connect(server.url(made[name])) as connection:
            for table in TABLES:
                cursor = connection.execute(f"SELECT * FROM {table}".encode())
                names = [column.name for column in cursor.description or ()]
                for row in cursor:
                    yield as_record(row, dict.fromkeys(names, ""))

    def remove(name: str) -> None:
        for table in (*TABLES, "_harvester", "_harvester_windows"):
            server.execute(f"DROP TABLE {table}", made[name])

    return Place(make, read, remove)


def of_redis(_: Path, request: pytest.FixtureRequest) -> Place:
    server: RedisServer = request.getfixturevalue("redis")
    server.empty()

    def read(name: str) -> Iterator[Record]:
        with Redis.from_url(server.url, decode_responses=True) as client:
            left = Counter[str]()  # handed on by a run that died: it counts once it comes again
            for field, marker in client.hgetall(f"{name}:.left").items():
                left.update(f"{field.split()[0]} {place}" for place in Marker.parse(marker).ids)
            for table in TABLES:
                for place, fields in client.xrange(f"{name}:{table}"):
                    if f"{table} {place}" not in left:
                        yield json.loads(fields["record"])

    return Place(
        lambda name: plugins.sink(f"{server.url}?prefix={name}"), read, lambda _: server.empty()
    )


SINKS = {
    "memory": of_memory,
    "jsonl": in_segments("", lambda data: data),
    "gzip": in_segments("?compress=gzip", gzip.decompress),
    "zstd": in_segments("?compress=zstd", lambda data: zstd.decompress(data)),
    "parquet": of_parquet,
    "sqlite": of_sqlite,
    "duckdb": of_duckdb,
    "postgresql": of_postgresql,
    "redis": of_redis,
}
"""Each kind, and what gives its places; a new one is a row here."""


FAST = ("memory", "jsonl", "sqlite")
"""Those that are given ten thousand windows each time."""


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return SINKS[request.param](tmp_path, request)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(
            name, kind, marks=pytest.mark.thorough if name == "many" and kind not in FAST else ()
        )
        for name in SINK_CHECKS
        for kind in SINKS
    ],
    indirect=["place"],
)
def test_the_sink_keeps_its_promise(name: str, place: Place) -> None:
    asyncio.run(check_sink(place.make, place.read, remove=place.remove, only=name))


IN_DIRECTORIES = ("jsonl:{}", "parquet:{}")


@pytest.mark.parametrize("second", IN_DIRECTORIES)
@pytest.mark.parametrize("first", IN_DIRECTORIES)
def test_a_directory_is_one_sinks_alone(first: str, second: str, tmp_path: Path) -> None:
    async def main() -> None:
        for spec in (first, second):
            sink = plugins.sink(spec.format(tmp_path))
            try:
                await sink.open({})
            finally:
                await sink.close()

    if first == second:
        asyncio.run(main())
    else:
        with pytest.raises(UsageError, match=r"of another sink; choose another"):
            asyncio.run(main())
