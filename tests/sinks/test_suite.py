"""One suite over all sinks: `check_sink`, and for a sink without a scan what a consumer holds."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harvester.config import plugins
from harvester.sinks.base import Sink
from harvester.sinks.stdout import StandardOutput
from harvester.testing import SINK_CHECKS, check_sink
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.sinks.feed import latest
from tests.sinks.small_ledger import documents

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


Make = Callable[[Path, pytest.FixtureRequest], Kind]


def of_files(spec: str) -> Make:
    """What a reader finds in the files is looked at, too."""
    return lambda home, _: Kind(
        lambda name: plugins.sink(spec.format(home / name)), lambda name: documents(home / name)
    )


def of_database(spec: str) -> Make:
    return lambda home, _: Kind(lambda name: plugins.sink(spec.format(home / name)), fenced=True)


def of_server(fixture: str) -> Make:
    def kind(home: Path, request: pytest.FixtureRequest) -> Kind:
        server: PostgresServer | MySQLServer = request.getfixturevalue(fixture)
        made: dict[str, str] = defaultdict(server.new_database)
        return Kind(lambda name: plugins.sink(server.url(made[name])), fenced=True)

    return kind


def of_stdout(home: Path, request: pytest.FixtureRequest) -> Kind:
    """Standard output goes into a file; `test_stdout` has pipes."""

    def make(name: str) -> Sink:
        end = os.open(home / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        request.addfinalizer(partial(os.close, end))
        return StandardOutput(end)

    def read(name: str) -> list[Record]:
        lines = (home / name).read_bytes().splitlines()
        found = [record for records in latest(lines).values() for record in records]
        return [{**record, **record.pop("_extra", {})} for record in found]  # its own fields

    sends_nothing_of_an_empty_window = frozenset(
        {"empty", "removed", "any_order", "crash", "crash_at_finish"}
    )
    return Kind(make, read, without=sends_nothing_of_an_empty_window)


KINDS: Mapping[str, Make] = {
    "memory": of_memory,
    "jsonl": of_files("jsonl:{}"),
    "gzip": of_files("jsonl:{}?compress=gzip"),
    "zstd": of_files("jsonl:{}?compress=zstd"),
    "sqlite": of_database("sqlite:{}.db"),
    "postgresql": of_server("postgres"),
    "mysql": of_server("mysql"),
    "stdout": of_stdout,
}
"""A new kind of sink is a row here."""

SLOW = {"any_order", "many", "odd_values"}
FAST = {"memory", "jsonl", "sqlite"}


@pytest.mark.thorough
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
