"""Iceberg under a shared ledger: what several workers stage, one publishes."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harvester import plugins
from harvester.errors import SinkError, UsageError
from harvester.secrets import Secret
from harvester.sinks.base import keep_with
from tests.postgres_server import PASSWORD, PostgresServer
from tests.sinks.test_iceberg import batch

pytestmark = pytest.mark.thorough
ONE, OTHER = "wx0000000000000001", "wx0000000000000002"


class Farm:
    """A destination and its database, and what the ledger keeps."""

    def __init__(self, home: Path, server: PostgresServer) -> None:
        self.home = home
        self.url = Secret(server.url(server.new_database()))
        self.checkpoint: dict[str, str] = {}

    def sink(self) -> Any:
        sink = plugins.sink(f"iceberg:{self.home}")
        keep_with(sink, self.url)
        return sink

    async def worker(self) -> Any:
        sink = self.sink()
        self.checkpoint |= await sink.open(dict(self.checkpoint))
        return sink

    def registry(self) -> Any:
        from harvester.sinks.iceberg.registry import Registry

        return Registry(self.url, f"file://{self.home.resolve()}")

    def staged(self) -> list[Path]:
        return sorted(self.home.glob(".staging/*.jsonl.zst"))

    def numbers(self) -> list[int]:
        """What is published."""
        import pyarrow.parquet as pq

        from harvester.sinks.iceberg.registry import shared_catalog

        catalog = shared_catalog({"uri": self.registry().catalog_url.value})
        try:
            table = catalog.load_table(("harvest", "checked"))
            paths = [task.file.file_path for task in table.scan().plan_files()]
        finally:
            catalog.close()
        files = [pq.ParquetFile(path.removeprefix("file://")).read() for path in paths]
        return sorted(number for file in files for number in file["number"].to_pylist())


@pytest.fixture
def farm(tmp_path: Path, postgres: PostgresServer) -> Farm:
    return Farm(tmp_path / "lake", postgres)


async def test_what_all_workers_have_staged_is_published_in_the_order_of_their_commits(
    farm: Farm,
) -> None:
    first, second = await farm.worker(), await farm.worker()
    for sink, number, epoch in ((first, 1, 2), (second, 2, 3), (second, 3, 3), (second, 4, 3)):
        day = 0 if number < 4 else 1
        await sink.write([batch(day, number), batch(5, number, appid=OTHER)],
                         {ONE: epoch, OTHER: epoch})  # fmt: skip
    late = await first.write([batch(0, 99), batch(1, 99)], {ONE: 2})
    assert set(late.refused) == {ONE}
    assert len(farm.staged()) == 4
    await second.close()  # it publishes for both
    assert farm.numbers() == [3, 4, 4]
    assert farm.staged() == []
    await first.close()
    assert farm.numbers() == [3, 4, 4]


async def test_of_an_object_only_the_accounts_count_that_were_not_lost(farm: Farm) -> None:
    old, new = await farm.worker(), await farm.worker()
    await new.write([], {ONE: 5})
    written = await old.write([batch(0, 1), batch(0, 2, appid=OTHER)], {ONE: 4, OTHER: 4})
    assert set(written.refused) == {ONE}
    found = [record["number"] for each in farm.sink().scan("checked")
             for record in each.records()]  # fmt: skip
    assert found == [2]
    await new.close()
    await old.close()
    assert farm.numbers() == [2]


async def test_while_one_worker_publishes_others_do_not(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.iceberg.sink.PUBLISH_WINDOWS", 1)
    sink = await farm.worker()
    await sink.write([batch(0, 1)], {ONE: 2})
    other = farm.registry()
    with closing(other), other.publishing(wait=False) as mine:
        assert mine
        await sink.write([batch(1, 2)], {ONE: 2})
        assert farm.numbers() == []
    await sink.write([batch(2, 3)], {ONE: 2})
    assert farm.numbers() == [1, 2]
    await sink.close()
    assert farm.numbers() == [1, 2, 3]


async def test_who_waits_to_publish_keeps_no_transaction_open(
    farm: Farm, postgres: PostgresServer
) -> None:
    """Behind a pooler a transaction keeps a connection, and the one that publishes needs more."""
    sink = await farm.worker()
    await sink.write([batch(0, 1)], {ONE: 2})
    other = farm.registry()
    with closing(other), other.publishing(wait=False) as mine:
        assert mine
        closed = asyncio.ensure_future(sink.close())
        found = []
        for _ in range(20):
            await asyncio.sleep(0.05)
            found += postgres.execute(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
        assert not closed.done()
        assert found == []
    await closed
    assert farm.numbers() == [1]


async def test_an_object_of_a_worker_that_died_before_it_counted_is_never_published_and_removed(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = await farm.worker()
    await sink.write([batch(0, 1)], {ONE: 2})
    [staged] = farm.staged()
    left = staged.with_name("left.jsonl.zst")
    left.write_bytes(staged.read_bytes())
    await sink.close()
    assert farm.staged() == [left]  # somebody may be writing it
    monkeypatch.setattr("harvester.sinks.iceberg.table.KEPT", -1.0)
    await (await farm.worker()).close()
    assert farm.staged() == []
    assert farm.numbers() == [1]


async def test_what_dead_workers_have_left_is_published_by_the_next(farm: Farm) -> None:
    dead = await farm.worker()
    await dead.write([batch(0, 1)], {ONE: 2})
    alive = await farm.worker()
    assert farm.numbers() == [1]
    await alive.close()
    await dead.close()  # else its connections stay open


async def test_a_failure_to_publish_in_time_is_told_by_the_next_write(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.iceberg.sink.PUBLISH_SECONDS", 0.01)
    sink = await farm.worker()
    await sink.write([batch(0, 1)], {ONE: 2})
    for path in farm.staged():
        path.rename(path.with_suffix(".away"))
    with pytest.raises(SinkError, match=r"lacks staged objects.*harvester rebuild"):
        for day in range(1, 200):
            await sink.write([batch(day, 1)], {ONE: 2})
            await asyncio.sleep(0.05)
    for path in farm.home.glob(".staging/*.away"):
        path.rename(path.with_suffix(".zst"))
    await sink.close()
    assert 1 in farm.numbers()


async def test_a_database_keeps_one_destination(farm: Farm, tmp_path: Path) -> None:
    await (await farm.worker()).close()
    farm.home = tmp_path / "other"
    other = farm.sink()
    with pytest.raises(UsageError, match="keeps that of one Iceberg destination"):
        await other.open({})
    await other.close()


async def test_the_password_stands_nowhere(farm: Farm) -> None:
    sink = await farm.worker()
    await sink.write([batch(0, 1)], {ONE: 2})
    assert PASSWORD not in f"{sink!r}{sink.identity}{farm.registry()!r}{farm.checkpoint}"
    await sink.close()
    for path in farm.home.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes()
