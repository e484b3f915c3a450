"""Whatever sink records went to, they come back as one and the same table."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars
import pyarrow as pa
import pytest

import harvester
from harvester.config import plugins
from harvester.errors import SinkError, UsageError
from harvester.ledger import SqliteLedger
from harvester.model import Batch, Endpoint, Field
from harvester.sinks.base import name_in
from harvester.testing import MemorySink
from harvester.wechat.endpoint import JsonEndpoint
from tests import mysql_server
from tests.machine import library
from tests.mysql_server import MySQLServer
from tests.postgres_server import PASSWORD, PostgresServer
from tests.sinks.small_ledger import batch
from tests.sinks.sql.test_base import without_password

DEEP = (Field("day", "date"), Field("n", "int"))
MINE = JsonEndpoint(
    "mine",
    "/mine",
    date(2024, 1, 1),
    fields=(
        Field("ref_date", "date"), Field("n", "int"), Field("share", "float"),
        Field("title", "str"), Field("open", "bool"), Field("detail", "object", fields=DEEP),
        Field("parts", "list", fields=DEEP), Field("ids", "list", item="int"),
    ),
    day_field="ref_date",
)  # fmt: skip
OTHER = plugins.endpoint("getusersummary")
ODD: tuple[dict[str, Any], ...] = (
    {"n": 1, "ref_date": "2024-01-01", "share": 0.5, "title": "😀\0" + "长" * 300, "open": True,
     "detail": {"day": "2024-01-01", "n": 1}, "parts": [{"day": "2024-01-02", "n": 2}, {}],
     "ids": [1, 2]},
    {"n": 2, "new": {"deep": [1, {"x": None}]}, "ref_date": "20240102", "share": 3},
    {"n": "3", "share": "0.5", "open": 1, "detail": [], "parts": {}, "title": 7},
    {"n": 2**70, "share": -0.0, "ref_date": 20240103, "ids": 3},
    {"n": -(2**63), "detail": {"n": 1, "more": [None]}, "parts": [{"day": "x"}], "title": ""},
    {"n": 1.5, "number": 4, "records": 5, "ledgers": "a column of the sink's own tables"},
)  # fmt: skip


FENCE = {f"wx{number}": 1 for number in range(1, 10)}


class Place(NamedTuple):
    """Where the records go, and where a ledger lies."""

    spec: str
    home: Path

    def sink(self) -> Any:
        return plugins.sink(self.spec)


Make = Callable[[Path, pytest.FixtureRequest], str]


def on_server(fixture: str) -> Make:
    def spec(_: Path, request: pytest.FixtureRequest) -> str:
        server: PostgresServer | MySQLServer = request.getfixturevalue(fixture)
        return server.url(server.new_database())

    return spec


SPECS: dict[str, Make] = {
    "jsonl": lambda home, _: f"jsonl:{home}?compress=zstd",
    "sqlite": lambda home, _: f"sqlite:{home / 'records.db'}",
    "postgresql": on_server("postgres"),
    "mysql": on_server("mysql"),
}


@pytest.fixture(params=SPECS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)  # a ledger knows none
    monkeypatch.setenv("MYSQL_PWD", mysql_server.PASSWORD)
    return Place(SPECS[request.param](home, request), home)


async def _write(sink: Any, groups: Sequence[Sequence[Batch]], ledger: Path | None) -> None:
    """Each group, and its checkpoint in the ledger."""
    if ledger is None:
        await sink.open(None)
        for group in groups:
            await sink.write(group, FENCE)
        await sink.close()
        return
    name = name_in(sink, ledger)
    async with SqliteLedger(ledger) as kept:
        await kept.commit([], {name: await sink.open(await kept.checkpoint(name))})
        for group in groups:
            written = await sink.write(group, FENCE)
            await kept.commit([], {name: written.checkpoint})
    await sink.close()


def write(place: Place, *groups: Sequence[Batch], ledger: bool = True) -> None:
    asyncio.run(_write(place.sink(), groups, place.home / "ledger.sqlite" if ledger else None))


def mine(first: int, *records: dict[str, Any], **more: Any) -> Batch:
    return batch(first, *records, endpoint=MINE, **more)


def rows(stored: harvester.StoredRecords) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stored.read_all().to_pylist()
    return sorted(found, key=lambda row: (row["_appid"], row["_begin_date"], str(row)))


def reference(*batches: Batch, endpoint: Endpoint = MINE) -> harvester.StoredRecords:
    """The same records, of the sink in memory."""
    sink = MemorySink()
    asyncio.run(_write(sink, [batches], None))
    return harvester.read(sink, endpoint)


def test_the_table_is_the_same_whatever_it_is_read_from(place: Place) -> None:
    first = [mine(1, *ODD), mine(2, ODD[0]), batch(2, {"new_user": 1}, endpoint=OTHER)]
    second = [mine(1, *ODD[:3], appid="wx2"), mine(2, *ODD[1:], replaces=True), mine(9)]
    write(place, first, second)
    stored, truth = harvester.read(place.home, MINE), reference(first[0], *second)
    assert rows(stored) == rows(truth)
    assert stored.schema.equals(truth.schema)
    assert [str(kind) for kind in stored.schema.types] == [
        "date32[day]", "int64", "double", "string", "bool",
        "struct<day: date32[day], n: int64>",
        "list<element: struct<day: date32[day], n: int64>>", "list<element: int64>",
        "string", "string", "date32[day]", "date32[day]", "timestamp[us, tz=UTC]", "string",
    ]  # fmt: skip
    users = harvester.read(place.home, OTHER)
    assert rows(users) == rows(reference(first[2], endpoint=OTHER))
    assert users.schema.field("new_user").type == pa.int64()
    assert harvester.read(place.home, "getusercumulate").read_all().num_rows == 0


@pytest.mark.thorough
def test_whoever_speaks_arrow_takes_it_as_it_is_and_more_than_once(place: Place) -> None:
    write(place, [mine(day, ODD[0], {"n": day}) for day in range(1, 8)])
    stored = harvester.read(place.home, MINE)
    for _ in range(2):
        assert polars.DataFrame(stored).height == 14
        assert duckdb.sql("SELECT count(*), sum(n) FROM stored").fetchall() == [(14, 35)]
        assert duckdb.sql("SELECT count(*) FROM stored a JOIN stored b USING (_begin_date)"
                          ).fetchall() == [(28,)]  # fmt: skip
        assert pa.table(stored).schema == stored.schema
    one, other = iter(stored), iter(stored)
    assert next(one).num_rows + sum(len(part) for part in other) >= 14
    assert sum(len(part) for part in one) == 14 - 14  # all of it came in one batch


def test_pandas_takes_it_too(place: Place) -> None:
    pandas: Any = library("pandas")
    write(place, [mine(1, *ODD[:2])])
    stored = harvester.read(place.home, MINE)
    assert stored.to_pandas()["n"].tolist() == [1, 2]
    assert pandas.DataFrame.from_arrow(stored)["n"].tolist() == [1, 2]


def test_accounts_and_days_are_picked(place: Place) -> None:
    week = mine(10, *[{"n": day, "ref_date": f"2024-01-{day}"} for day in range(10, 17)], days=7)
    days = [mine(day, {"n": day, "ref_date": f"2024-01-0{day}"}, appid=appid)
            for appid in ("wx1", "wx2", "wx3") for day in range(1, 9)]  # fmt: skip
    write(place, [*days, week])

    def numbers(**what: Any) -> list[int]:
        return [row["n"] for row in rows(harvester.read(place.home, MINE, **what))]

    assert numbers(appids="wx2", start="2024-01-03", end=date(2024, 1, 5)) == [3, 4, 5]
    assert numbers(appids=["wx1", "wx3"], end="2024-01-01") == [1, 1]
    assert numbers(start="2024-01-08", end="2024-01-11") == [8, 10, 11, 8, 8]
    assert numbers(appids=[f"wx{n}" for n in range(3, 300)], start="2024-01-08") == [8]
    assert numbers(appids=[]) == numbers(appids="wx9") == numbers(start="2025-01-01") == []


async def die(place: Place, *batches: Batch) -> None:
    """Die between a write and the commit of its checkpoint."""
    sink = place.sink()
    path = place.home / "ledger.sqlite"
    name = name_in(sink, path)
    async with SqliteLedger(path) as ledger:
        await ledger.commit([], {name: await sink.open(await ledger.checkpoint(name))})
    await sink.write(batches, FENCE)
    os._exit(9)


DYING = """
import asyncio, sys
from pathlib import Path
from tests.sinks.test_reading import Place, die, mine

again, new = mine(2, {"n": 22}, replaces=True), mine(3, {"n": 3})
asyncio.run(die(Place(sys.argv[1], Path(sys.argv[2])), again, new))
"""


@pytest.mark.sampled
@pytest.mark.thorough
def test_what_lies_in_files_beyond_the_checkpoint_is_left_out_and_in_a_database_it_stands(
    place: Place,
) -> None:
    write(place, [mine(1, {"n": 1}), mine(2, {"n": 2})])
    died = subprocess.run([sys.executable, "-c", DYING, place.spec, place.home], check=False)
    assert died.returncode == 9
    found = [row["n"] for row in rows(harvester.read(place.home, MINE))]
    is_database = place.spec.startswith(("sqlite", "postgresql", "mysql"))
    assert found == ([1, 22, 3] if is_database else [1, 2])
    write(place, [mine(2, {"n": 23}, replaces=True), mine(3, {"n": 33})])
    assert [row["n"] for row in rows(harvester.read(place.home, MINE))] == [1, 23, 33]


@pytest.mark.thorough
def test_without_a_ledger_all_that_stands_there_is_read(place: Place) -> None:
    write(place, [mine(1, {"n": 1})], ledger=False)
    write(place, [mine(2, {"n": 2})], ledger=False)
    assert [row["n"] for row in rows(harvester.read(place.spec, MINE))] == [1, 2]


def test_a_target_that_is_gone_is_said(place: Place, request: pytest.FixtureRequest) -> None:
    write(place, [mine(1, {"n": 1})])
    if place.spec.startswith("postgresql"):
        import psycopg

        with psycopg.connect(place.spec) as connection:
            connection.execute("DROP TABLE mine CASCADE")  # its views, too
    elif place.spec.startswith("mysql"):
        request.getfixturevalue("mysql").execute("DROP TABLE mine", place.spec.rpartition("/")[2])
    else:
        for path in place.home.rglob("*"):
            if path.is_file() and not path.name.startswith("ledger") and path.suffix != ".lock":
                path.unlink()
    with pytest.raises((SinkError, UsageError), match=r"gone|there is no file"):
        harvester.read(place.home, MINE).read_all()


def test_a_directory_with_several_sinks_wants_to_be_told_which(tmp_path: Path) -> None:
    one, other = (Place(f"sqlite:{tmp_path}/{name}.db", tmp_path) for name in "ab")
    write(one, [mine(1, {"n": 1})])
    assert harvester.read(tmp_path, MINE).read_all()["n"].to_pylist() == [1]
    write(other, [mine(1, {"n": 2})])
    with pytest.raises(UsageError, match=r"are in several places .*a.db, sqlite:.*ledger="):
        harvester.read(tmp_path, MINE)
    assert harvester.read(other.spec, MINE, ledger=tmp_path).read_all()["n"].to_pylist() == [2]
    with pytest.raises(UsageError, match=r"does not list sqlite:.*/c.db; it lists sqlite:.*a.db"):
        (tmp_path / "c.db").touch()
        harvester.read(f"sqlite:{tmp_path}/c.db", MINE, ledger=tmp_path / "ledger.sqlite")
    spec = f"sqlite:{tmp_path}/ledger.sqlite"
    assert harvester.read(other.spec, MINE, ledger=spec).read_all()["n"].to_pylist() == [2]
    with pytest.raises(UsageError, match="there is no ledger"):
        harvester.read(one.spec, MINE, ledger=tmp_path / "nowhere")
    write(Place(f"jsonl:{tmp_path}", tmp_path), [mine(1, {"n": 3})])
    assert harvester.read(tmp_path, MINE).read_all()["n"].to_pylist() == [3]  # it lies there


@pytest.mark.parametrize("given", [SqliteLedger("l"), 3, b"l"])
def test_a_ledger_is_named_by_its_place(given: Any, tmp_path: Path) -> None:
    place = Place(f"sqlite:{tmp_path}/a.db", tmp_path)
    write(place, [mine(1, {"n": 1})])
    refused = pytest.raises(UsageError, match=r"^ledger=.*: expected a path, sqlite:FILE, postg")
    with refused:
        harvester.read(place.spec, MINE, ledger=given)
    with refused:
        harvester.rows(place.spec, MINE, ledger=given)
    with refused:
        harvester.export(place.spec, f"csv:{tmp_path}/t", MINE, ledger=given)


def test_a_feed_beside_a_database_is_not_asked_for_what_was_harvested(tmp_path: Path) -> None:
    async def know(sink: str) -> None:
        async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            await ledger.commit([], {sink: {"mine": "1-1"}})

    asyncio.run(know("-"))
    with pytest.raises(UsageError, match="contains no harvest that can be read back"):
        harvester.read(tmp_path, MINE)
    write(Place(f"sqlite:{tmp_path}/a.db", tmp_path), [mine(1, {"n": 1})])
    assert harvester.read(tmp_path, MINE).read_all()["n"].to_pylist() == [1]


def test_a_database_that_nobody_harvested_into_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        harvester.read(f"sqlite:{tmp_path}/x.db", MINE)
    (tmp_path / "x.db").write_bytes(b"something else, and long enough to be looked at" * 100)
    with pytest.raises(SinkError, match="another kind"):
        harvester.read(f"sqlite:{tmp_path}/x.db", MINE).read_all()
    (tmp_path / "x.db").unlink()
    (tmp_path / "x.db").touch()
    with pytest.raises(SinkError, match="contains no harvest"):
        harvester.read(f"sqlite:{tmp_path}/x.db", MINE).read_all()


def test_a_password_that_is_refused_stands_in_no_message(postgres: PostgresServer) -> None:
    url = postgres.url(postgres.new_database(), user="nobody")
    with pytest.raises(UsageError, match="password authentication failed") as caught:
        harvester.read(url, MINE).read_all()
    without_password(caught.value)
