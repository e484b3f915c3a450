"""Where the scenarios harvest to: each kind of sink by its spec, and what a reader finds there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import harvester
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.sinks.feed import Consumer


def _served(kind: str, request: pytest.FixtureRequest) -> str:
    server: PostgresServer | MySQLServer = request.getfixturevalue(kind)
    return server.url(server.new_database())


def _of_redis(directory: Path, request: pytest.FixtureRequest) -> str:
    server: RedisServer = request.getfixturevalue("redis")
    return f"{server.url}?prefix={directory.parent.name}-{directory.name}"


SINKS: dict[str, Callable[[Path, pytest.FixtureRequest], str]] = {
    "jsonl": lambda directory, _: f"jsonl:{directory}",
    "gzip": lambda directory, _: f"jsonl:{directory}?compress=gzip",
    "sqlite": lambda directory, _: f"sqlite:{directory}.db",
    "postgresql": lambda _, request: _served("postgres", request),
    "mysql": lambda _, request: _served("mysql", request),
    "redis": _of_redis,
}


def spec_of(kind: str, directory: Path, request: pytest.FixtureRequest) -> str:
    """The spec of a new sink of this kind."""
    return SINKS[kind](directory, request)


def days_in(spec: str, endpoint: str | harvester.Endpoint) -> Counter[str]:
    """The days of all records that stand there, each with how many records it has.

    No ledger lies beside the sink, so nothing is left out.
    """
    if spec.startswith("redis:"):
        name = endpoint if isinstance(endpoint, str) else endpoint.name
        return Counter(str(record["ref_date"]) for record in followed(spec, name))
    rows = harvester.read(spec, endpoint).read_all().to_pylist()
    return Counter(str(row["ref_date"]) for row in rows)


def followed(spec: str, endpoint: str) -> list[dict[str, Any]]:
    """The records that a consumer of a stream ends with, by the code that the sink documents."""
    url, _, prefix = spec.partition("?prefix=")
    with Redis.from_url(url, decode_responses=True) as client:
        entries: Any = client.xrange(f"{prefix}:{endpoint}")
    consumer = Consumer()
    consumer.read([fields for _, fields in entries])
    return consumer.records
