"""One suite over all sinks: `check_sink`, and for a sink without a scan what a consumer holds."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis

from harvester import plugins
from harvester.codec import METADATA
from harvester.secrets import Secret
from harvester.sinks.base import Sink, keep_with
from harvester.testing import SINK_CHECKS, check_sink
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

Record = dict[str, Any]


class Kind(NamedTuple):
    """How the sinks of a kind are made, and read where they have no scan.

    without: checks of what it does not promise.
    """

    make: Callable[[str], Sink]
    read: Callable[[str], Iterable[Record]] | None = None
    fenced: bool = False
    without: frozenset[str] = frozenset()


def of_memory(home: Path, request: pytest.FixtureRequest) -> Kind:
    made: dict[str, Sink] = {}
    whoever_has_the_object_knows_what_it_holds = frozenset({"unknown_harvest"})
    return Kind(
        lambda name: made.setdefault(name, plugins.sink(f"memory:{name}")),
        without=whoever_has_the_object_knows_what_it_holds,
    )


def of_files(spec: str, *, fenced: bool = False) -> Callable[[Path, pytest.FixtureRequest], Kind]:
    def kind(home: Path, request: pytest.FixtureRequest) -> Kind:
        return Kind(lambda name: plugins.sink(spec.format(home / name)), fenced=fenced)

    return kind


def of_postgresql(home: Path, request: pytest.FixtureRequest) -> Kind:
    server: PostgresServer = request.getfixturevalue("postgres")
    made: dict[str, str] = defaultdict(server.new_database)
    return Kind(lambda name: plugins.sink(server.url(made[name])), fenced=True)


def of_mysql(home: Path, request: pytest.FixtureRequest) -> Kind:
    server: MySQLServer = request.getfixturevalue("mysql")
    made: dict[str, str] = defaultdict(server.new_database)
    return Kind(lambda name: plugins.sink(server.url(made[name])), fenced=True)


def of_shared_iceberg(home: Path, request: pytest.FixtureRequest) -> Kind:
    """As under a shared ledger: the catalog and the fence are in its database."""
    server: PostgresServer = request.getfixturevalue("postgres")
    made: dict[str, str] = defaultdict(server.new_database)

    def make(name: str) -> Sink:
        sink = plugins.sink(f"iceberg:{home / name}")
        keep_with(sink, Secret(server.url(made[name])))
        return sink

    return Kind(make, fenced=True)


def of_redis(home: Path, request: pytest.FixtureRequest) -> Kind:
    server: RedisServer = request.getfixturevalue("redis")
    server.empty()

    def read(name: str) -> list[Record]:
        consumer = Consumer()
        with Redis.from_url(server.url, decode_responses=True) as client:
            for key in client.keys(f"{name}:*"):
                for _, entry in client.xrange(key):
                    consumer.receive(
                        entry["id"],
                        int(entry["version"]),
                        int(entry["records"]),
                        json.loads(entry.get("record", "null")),
                    )
        return consumer.records()

    return Kind(lambda name: plugins.sink(f"{server.url}?prefix={name}"), read)


def of_stdout(home: Path, request: pytest.FixtureRequest) -> Kind:
    """Standard output is a pipe, and somebody reads it all the while."""
    from harvester.sinks.stdout import StandardOutput

    pipes: dict[str, Pipe] = {}

    def make(name: str) -> Sink:
        if name not in pipes:
            pipes[name] = Pipe()
            request.addfinalizer(pipes[name].close)
        return StandardOutput(pipes[name].end)

    def read(name: str) -> list[Record]:
        consumer = Consumer()
        lines = [json.loads(line) for line in pipes[name].received()]
        for line in lines:
            consumer.receive(line.pop("_id"), line.pop("_version"), None, line)
        return consumer.records()

    sends_nothing_of_an_empty_window = frozenset({"empty", "any_order", "crash"})
    return Kind(make, read, without=sends_nothing_of_an_empty_window)


class Pipe:
    """A pipe and a thread that reads it."""

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        self._received = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while data := os.read(self._begin, 1 << 16):
            self._received += data

    def received(self) -> list[bytes]:
        """The lines that have come; whoever writes has ended, and its end is told by a line."""
        os.write(self.end, b"\n")
        while not self._received.endswith(b"\n\n") and self._received != b"\n":
            pass
        del self._received[-1:]
        return bytes(self._received).splitlines()

    def close(self) -> None:
        os.close(self.end)
        self._reader.join()
        os.close(self._begin)


Name = tuple[str, str, str, str]
"""Account, interface, first day, last day."""


class Consumer:
    """Keeps the latest version of each window, as the documentation of the feeds says."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Name, int], dict[str, Record]] = defaultdict(dict)
        self._sizes: dict[tuple[Name, int], int | None] = {}

    def receive(self, entry: str, version: int, records: int | None, record: Record | None) -> None:
        """One entry; records: how many the window has, None if that is not said."""
        appid, endpoint, begin, end, number = entry.split("/")
        window = (appid, endpoint, begin, end), version
        self._sizes[window] = records
        if record is not None:
            assert self._parts[window].setdefault(number, record) == record
            assert tuple(record[name] for name in METADATA[:4]) == window[0]

    def records(self) -> list[Record]:
        """Those of the windows that no later one overlaps."""
        whole = [
            window
            for window, size in self._sizes.items()
            if size is None or len(self._parts[window]) == size
        ]
        latest = [
            (name, version)
            for name, version in whole
            if not any(later > version and _overlap(name, other) for other, later in whole)
        ]
        return [record for window in latest for record in self._parts[window].values()]


def _overlap(one: Name, other: Name) -> bool:
    return one[:2] == other[:2] and one[2] <= other[3] and other[2] <= one[3]


KINDS: Mapping[str, Callable[[Path, pytest.FixtureRequest], Kind]] = {
    "memory": of_memory,
    "jsonl": of_files("jsonl:{}"),
    "gzip": of_files("jsonl:{}?compress=gzip"),
    "zstd": of_files("jsonl:{}?compress=zstd"),
    "parquet": of_files("parquet:{}"),
    "iceberg": of_files("iceberg:{}"),
    "iceberg_shared": of_shared_iceberg,
    "sqlite": of_files("sqlite:{}.db", fenced=True),
    "duckdb": of_files("duckdb:{}.db", fenced=True),
    "postgresql": of_postgresql,
    "mysql": of_mysql,
    "redis": of_redis,
    "stdout": of_stdout,
}
"""A new kind of sink is a row here."""

SLOW = {"any_order", "many", "odd_values"}
FAST = {"memory", "jsonl", "sqlite"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(
            name, kind, marks=pytest.mark.thorough if name in SLOW and kind not in FAST else ()
        )
        for name in SINK_CHECKS
        for kind in KINDS
    ],
)
def test_the_sink_keeps_its_promise(
    name: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = KINDS[kind](tmp_path, request)
    if name not in made.without:
        asyncio.run(check_sink(made.make, made.read, fenced=made.fenced, only=name))
