"""The Iceberg sink: what readers find, and what it keeps small by itself."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester import plugins
from harvester.endpoint import Field, JsonEndpoint
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Window
from harvester.testing.bench import ENDPOINTS, ONE

pytestmark = pytest.mark.thorough

STAMP = "2024-06-15T04:00:00Z"
FIRST = date(2024, 1, 1)


def batch(
    day: int, *records: Any, endpoint: Any = ENDPOINTS["checked"], days: int = 1, appid: str = ONE
) -> Batch:
    begin = FIRST + timedelta(days=day)
    window = Window(appid, endpoint.name, begin, begin + timedelta(days=days - 1))
    made = [one if isinstance(one, dict) else {"number": one} for one in records]
    return Batch(window, made, STAMP, endpoint=endpoint)


class Harvest:
    """A destination and what its ledger keeps."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.checkpoint: dict[str, str] = {}

    def run(self, *writes: Sequence[Batch]) -> Any:
        asyncio.run(self._run(writes))
        return self

    async def _run(self, writes: Sequence[Sequence[Batch]]) -> None:
        sink = self.sink()
        try:
            self.keep(await sink.open(dict(self.checkpoint)))
            for write in writes:
                self.keep((await sink.write(write, {})).checkpoint)
        finally:
            await sink.close()

    def sink(self) -> Any:
        return plugins.sink(f"iceberg:{self.home}")

    def scanned(self) -> list[Any]:
        """What a scan gives of what the ledger knows."""
        windows = self.sink().scan("checked", None, self.checkpoint)
        return [(window.tally, window.records()) for window in windows]

    def rebuilt(self) -> list[int]:
        """Make a new ledger from what stands there, and give the numbers that a scan finds."""

        async def rebuild() -> list[int]:
            sink = self.sink()
            self.checkpoint = dict(await sink.open(None))
            found = [r["number"] for each in sink.scan("checked") for r in each.records()]
            await sink.close()
            return sorted(found)

        return asyncio.run(rebuild())

    def keep(self, entries: Any) -> None:
        merged = {**self.checkpoint, **entries}
        self.checkpoint = {key: value for key, value in merged.items() if value}

    def numbers(self, name: str = "checked") -> list[int]:
        """What a reader of the catalog finds."""
        return sorted(row["number"] for row in self.rows(name))

    def rows(self, name: str = "checked") -> list[dict[str, Any]]:
        found = self.table(name).scan().to_arrow().to_pylist()
        assert isinstance(found, list)
        return found

    def table(self, name: str = "checked") -> Any:
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("any", uri=f"sqlite:///{self.home / 'catalog.sqlite'}")
        with sqlite3.connect(self.home / "catalog.sqlite") as database:
            rows = database.execute("SELECT DISTINCT catalog_name FROM iceberg_tables").fetchall()
        assert rows == [("harvester",)]
        catalog.name = "harvester"
        try:
            return catalog.load_table(("harvest", name))
        finally:
            catalog.close()

    def files(self, kind: str = "data/*.parquet") -> list[Path]:
        return sorted(self.home.glob(f"checked/{kind}"))

    def staged(self) -> list[Path]:
        return sorted(self.home.glob(".staging/*.jsonl.zst"))


@pytest.fixture
def harvest(tmp_path: Path) -> Harvest:
    return Harvest(tmp_path / "lake")


def test_what_a_run_has_stored_is_published_at_its_end(harvest: Harvest) -> None:
    harvest.run([batch(0, 1, 2), batch(1, 3)], [batch(1, 4), batch(40, 5)])
    assert harvest.numbers() == [1, 2, 4, 5]
    assert harvest.staged() == []
    assert len(harvest.table().snapshots()) == 1


def test_a_reader_without_the_catalog_finds_the_latest_state(harvest: Harvest) -> None:
    from pyiceberg.table import StaticTable

    harvest.run([batch(0, 1)]).run([batch(0, 2)])
    hint = (harvest.home / "checked/metadata/version-hint.text").read_text()
    place = harvest.home / f"checked/metadata/{hint}.metadata.json"
    assert StaticTable.from_metadata(str(place)).scan().to_arrow()["number"].to_pylist() == [2]


async def test_what_is_staged_is_published_after_a_while_without_a_write(
    harvest: Harvest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.iceberg.sink.PUBLISH_SECONDS", 0.01)
    sink = harvest.sink()
    harvest.keep(await sink.open({}))
    harvest.keep((await sink.write([batch(0, 1)], {})).checkpoint)
    while harvest.staged():
        await asyncio.sleep(0.01)
    assert harvest.numbers() == [1]
    harvest.keep((await sink.write([batch(1, 2)], {})).checkpoint)
    assert [key for key in harvest.checkpoint if key.isdigit()] == ["2"]
    await sink.close()
    assert harvest.numbers() == [1, 2]


@pytest.mark.parametrize("limit", ["PUBLISH_BYTES", "PUBLISH_WINDOWS"])
def test_what_is_staged_is_published_once_there_is_enough_of_it(
    harvest: Harvest, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"harvester.sinks.iceberg.sink.{limit}", 1)
    harvest.run([batch(0, 1)], [batch(1, 2)], [batch(2, 3)])
    assert len(harvest.table().snapshots()) == 3
    assert harvest.numbers() == [1, 2, 3]


async def test_a_failure_to_publish_in_time_is_told_by_the_next_write(
    harvest: Harvest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.iceberg.sink.PUBLISH_SECONDS", 0.01)
    sink = harvest.sink()
    await sink.open({})
    await sink.write([batch(0, 1)], {})
    (harvest.home / "catalog.sqlite").unlink()
    with pytest.raises(SinkError, match="could not be written"):
        for day in range(1, 200):
            await sink.write([batch(day, 1)], {})
            await asyncio.sleep(0.05)
    with pytest.raises(SinkError):
        await sink.close()


def test_data_files_hold_a_month_each_sorted_by_account_and_day(harvest: Harvest) -> None:
    import pyarrow.parquet as pq

    other = "wx0000000000000002"
    days = [batch(day, day, appid=appid) for appid in (other, ONE) for day in (40, 3, 1)]
    harvest.run(days)
    assert [path.name[:7] for path in harvest.files()] == ["2024-01", "2024-02"]
    rows = pq.read_table(harvest.files()[0]).to_pylist()
    assert [(row["_appid"], row["number"]) for row in rows] == [
        (ONE, 1), (ONE, 3), (other, 1), (other, 3)
    ]  # fmt: skip


def test_small_files_stay_few_over_many_runs(harvest: Harvest) -> None:
    for day in range(25):
        harvest.run([batch(day, day)])
    current = harvest.table().scan().plan_files()
    assert len(list(current)) <= 8
    assert harvest.numbers() == list(range(25))


def test_files_and_snapshots_stay_few_over_many_runs(
    harvest: Harvest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvester.sinks.iceberg.table.KEPT", -1.0)
    counts = []
    for run in range(30):
        harvest.run([batch(0, run), batch(40, run)])
        counts.append(sum(1 for path in harvest.home.rglob("*") if path.is_file()))
    assert counts[-1] <= max(counts[:15])
    assert len(harvest.table().snapshots()) == 1
    assert harvest.numbers() == [29, 29]


def test_former_snapshots_are_kept_for_a_day(harvest: Harvest) -> None:
    harvest.run([batch(0, 1)]).run([batch(0, 2)]).run([batch(0, 3)])
    first = harvest.table().snapshots()[0]
    found = harvest.table().scan(snapshot_id=first.snapshot_id).to_arrow()
    assert found["number"].to_pylist() == [1]


def test_maintenance_joins_the_files_of_a_month_and_keeps_the_latest_snapshot(
    harvest: Harvest,
) -> None:
    for day in range(6):
        harvest.run([batch(day, day)])
    harvest.run([batch(0, 100)])

    async def maintain() -> str:
        sink = harvest.sink()
        await sink.open(dict(harvest.checkpoint))
        said = await sink.maintain()
        await sink.close()
        return str(said)

    assert asyncio.run(maintain()).endswith(" files")
    assert len(harvest.files()) == len(harvest.table().snapshots()) == 1
    assert harvest.numbers() == [1, 2, 3, 4, 5, 100]
    harvest.run([batch(1, 101)])
    assert harvest.numbers() == [2, 3, 4, 5, 100, 101]


def test_columns_say_what_the_catalogue_says(harvest: Harvest) -> None:
    harvest.run([batch(0, {"number": 1, "new": [1], "detail": {"a": 1, "b": "x"}})])
    schema = harvest.table().schema()
    assert schema.find_field("number").doc == "tells a record from all others"
    assert str(schema.find_field("parts").field_type).startswith("list<struct<")
    [row] = harvest.rows()
    assert json.loads(row["_extra"]) == {"new": [1]}
    assert row["detail"] == {"a": 1, "b": "x"}
    assert row["_appid"] == ONE


def test_a_field_that_is_added_is_a_new_column(harvest: Harvest) -> None:
    inner = Field("detail", "object", "", (Field("a", "int"),))
    old = JsonEndpoint("checked", "/x", FIRST, fields=(Field("number", "int"), inner))
    more = inner._replace(fields=(*inner.fields, Field("c", "str")))
    fields = (Field("number", "int"), more, Field("added", "str", "later"))
    new = JsonEndpoint("checked", "/x", FIRST, fields=fields)
    harvest.run([batch(0, {"number": 1, "detail": {"a": 1}}, endpoint=old)])
    record = {"number": 2, "added": "x", "detail": {"a": 2, "c": "y"}}
    harvest.run([batch(1, record, endpoint=new)])
    harvest.run([batch(1, record, endpoint=new), batch(2, 3, endpoint=new)])
    rows = sorted(harvest.rows(), key=lambda row: row["number"])
    assert [row["added"] for row in rows] == [None, "x", None]
    assert [row["detail"] for row in rows][:2] == [{"a": 1, "c": None}, {"a": 2, "c": "y"}]
    assert harvest.table().schema().find_field("added").doc == "later"


def test_a_field_of_another_type_than_its_column_is_refused(harvest: Harvest) -> None:
    harvest.run([batch(0, 1)])
    other = JsonEndpoint("checked", "/x", FIRST, fields=(Field("number", "str"),))
    with pytest.raises(SinkError, match="has a column of another type"):
        harvest.run([batch(1, {"number": "x"}, endpoint=other)])
    harvest.run([batch(1, 2)])
    assert harvest.numbers() == [1, 2]


def test_a_null_list_is_not_an_empty_one(harvest: Harvest) -> None:
    import pyarrow.parquet as pq

    harvest.run([batch(0, {"number": 1, "parts": []}, {"number": 2, "ids": []})])
    rows = pq.read_table(harvest.files()[0]).to_pylist()
    assert [(row["parts"], row["ids"]) for row in rows] == [([], None), (None, [])]


# what was put back or lost


def test_a_directory_that_was_put_back_to_an_older_state_is_noticed(
    harvest: Harvest, tmp_path: Path
) -> None:
    harvest.run([batch(0, 1)])
    shutil.copytree(harvest.home, tmp_path / "old")
    harvest.run([batch(1, 2)])
    shutil.rmtree(harvest.home)
    shutil.copytree(tmp_path / "old", harvest.home)
    with pytest.raises(SinkError, match=r"one of the two is older.*harvester rebuild"):
        harvest.run()
    with pytest.raises(SinkError, match="one of the two is older"):
        harvest.scanned()
    assert harvest.rebuilt() == [1]
    assert harvest.run([batch(1, 2)]).numbers() == [1, 2]


def test_a_catalog_that_was_put_back_to_an_older_state_is_noticed(
    harvest: Harvest, tmp_path: Path
) -> None:
    harvest.run([batch(0, 1)])
    shutil.copy(harvest.home / "catalog.sqlite", tmp_path / "old")
    harvest.run([batch(1, 2)])
    shutil.copy(tmp_path / "old", harvest.home / "catalog.sqlite")
    with pytest.raises(SinkError, match=r"one of the two is older.*harvester rebuild"):
        harvest.run()
    assert harvest.rebuilt() == [1, 2]
    assert harvest.run([batch(2, 3)]).numbers() == [1, 2, 3]


def test_a_lost_catalog_is_made_anew_by_rebuild(harvest: Harvest) -> None:
    harvest.run([batch(0, 1), batch(1, 2)])
    (harvest.home / "catalog.sqlite").unlink()
    with pytest.raises(SinkError, match=r"the catalog .* is gone; .*harvester rebuild"):
        harvest.run()
    with pytest.raises(SinkError, match="harvester rebuild"):
        list(harvest.sink().scan("checked"))
    known, harvest.checkpoint = harvest.checkpoint, {}
    with pytest.raises(UsageError, match=r"that this ledger does not know.*harvester rebuild"):
        harvest.run()
    harvest.checkpoint = known
    assert harvest.rebuilt() == [1, 2]
    assert harvest.run([batch(1, 3)]).numbers() == [1, 3]


def test_a_deleted_data_file_is_told_of_and_rebuild_goes_on_without_it(harvest: Harvest) -> None:
    harvest.run([batch(0, 1), batch(40, 2)])
    harvest.files()[0].unlink()
    with pytest.raises(SinkError, match=r"is gone.*harvester rebuild"):
        harvest.scanned()
    with pytest.raises(SinkError, match=r"is gone.*harvester rebuild"):
        harvest.run([batch(0, 3)])
    assert harvest.rebuilt() == [2, 3]
    assert harvest.run([batch(0, 4)]).numbers() == [2, 4]


def test_a_changed_byte_of_a_data_file_is_told_of_and_rebuild_goes_on_without_it(
    harvest: Harvest,
) -> None:
    harvest.run([batch(0, {"number": 1, "detail": {"b": "figure" * 40}}), batch(40, 2)])
    damaged, good = harvest.files()[0], harvest.files()[0].read_bytes()
    stored, noticed = harvest.scanned(), []
    for at in range(4, len(good), len(good) // 40):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        damaged.write_bytes(changed)
        try:
            assert harvest.scanned() == stored  # not every byte is used
        except SinkError:
            noticed.append(changed)
    assert len(noticed) > 10
    damaged.write_bytes(noticed[0])
    with pytest.raises(SinkError, match=r"cannot be read.*harvester rebuild"):
        harvest.scanned()
    with pytest.raises(SinkError, match=r"cannot be read.*harvester rebuild"):
        harvest.run([batch(0, 3)])
    damaged.unlink()
    assert harvest.rebuilt() == [2, 3]


def test_a_deleted_staged_object_is_told_of(harvest: Harvest) -> None:
    async def write() -> None:
        sink = harvest.sink()
        harvest.keep(await sink.open({}))
        harvest.keep((await sink.write([batch(0, 1)], {})).checkpoint)
        sink._writer._staged = []  # its process dies
        await sink.close()

    asyncio.run(write())
    [staged] = harvest.staged()
    held = staged.read_bytes()
    staged.unlink()
    with pytest.raises(SinkError, match=r"lacks records of checked.*harvester rebuild"):
        harvest.run()
    staged.write_bytes(held[:-9])
    with pytest.raises(SinkError, match="harvester rebuild"):
        harvest.run()
    staged.write_bytes(held)
    assert harvest.run().numbers() == [1]


def test_rows_that_another_program_deleted_are_told_of(harvest: Harvest) -> None:
    harvest.run([batch(0, 1), batch(40, 2)])
    harvest.table().delete("number = 2")  # copy on write: nothing is left of that file
    found = [r["number"] for each in harvest.sink().scan("checked") for r in each.records()]
    assert found == [1]


# how it behaves in a process


def test_it_leaves_no_thread(harvest: Harvest) -> None:
    before = threading.active_count()
    harvest.run([batch(0, 1)]).run([batch(0, 2)])
    assert list(harvest.sink().scan("checked"))
    assert threading.active_count() == before


def test_a_directory_of_another_sink_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".jsonl.lock").touch()
    with pytest.raises(UsageError, match="holds files of another sink"):
        Harvest(tmp_path).run()
