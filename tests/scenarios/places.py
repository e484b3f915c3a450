"""Where the scenarios harvest to: each kind of sink by its spec, and what a reader finds there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import harvester
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer


def _served(kind: str, request: pytest.FixtureRequest) -> str:
    server: PostgresServer | MySQLServer = request.getfixturevalue(kind)
    return server.url(server.new_database())


SINKS: dict[str, Callable[[Path, pytest.FixtureRequest], str]] = {
    "jsonl": lambda directory, _: f"jsonl:{directory}",
    "gzip": lambda directory, _: f"jsonl:{directory}?compress=gzip",
    "sqlite": lambda directory, _: f"sqlite:{directory}.db",
    "postgresql": lambda _, request: _served("postgres", request),
    "mysql": lambda _, request: _served("mysql", request),
}


def spec_of(kind: str, directory: Path, request: pytest.FixtureRequest) -> str:
    """The spec of a new sink of this kind."""
    return SINKS[kind](directory, request)


def days_in(spec: str, endpoint: str | harvester.Endpoint) -> Counter[str]:
    """The days of all records that stand there, each with how many records it has.

    No ledger lies beside the sink, so nothing is left out.
    """
    rows = harvester.read(spec, endpoint).read_all().to_pylist()
    return Counter(str(row["ref_date"]) for row in rows)
