"""Parquet files: each committed record once, typed, a file a year, whatever happens on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from harvester import plugins
from harvester.endpoint import Field
from harvester.errors import SinkError, UsageError
from harvester.model import Batch
from harvester.sinks import arrow, parquet
from harvester.sinks.lines import JsonLines
from harvester.sinks.parquet import Parquet
from tests.sinks import small_ledger
from tests.sinks.small_ledger import (
    ENDPOINT,
    FIELDS,
    THING,
    SmallLedger,
    forget,
    interface,
    query,
    seen,
)

ROOT = Path(__file__).parents[2]


def batch(day: int, *records: int | dict[str, Any], **how: Any) -> Batch:
    return small_ledger.batch(day, *records, **{"endpoint": THING, **how})


def ledger_of(directory: Path) -> SmallLedger:
    return SmallLedger(lambda: Parquet(directory))


def files(directory: Path) -> list[str]:
    """The files that a reader is meant to see."""
    return sorted(
        path.relative_to(directory).as_posix()
        for path in directory.glob("*/*")
        if ".lines" not in path.parts
    )


def rows(directory: Path) -> list[dict[str, Any]]:
    """What a reader of the Parquet files sees."""
    return [
        row
        for path in sorted(directory.glob("*/*.parquet"))
        for row in pq.read_table(path, page_checksum_verification=True).to_pylist()
    ]


# what the files are


async def test_four_thousand_days_are_a_file_a_year(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.open()
    first = (date(2014, 12, 1) - date(2023, 12, 31)).days
    for begin in range(first, first + 4000, 50):
        await ledger.commit(*[batch(day, day) for day in range(begin, begin + 50)])
    assert files(tmp_path) == []
    await ledger.sink.close()
    assert files(tmp_path) == [f"{ENDPOINT}/{year}.parquet" for year in range(2014, 2026)]
    assert seen(tmp_path) == ledger.scanned() == list(range(first, first + 4000))


async def test_every_reader_takes_it_as_one_table_with_all_columns(tmp_path: Path) -> None:
    old = batch(-100, {"n": 1, "title": "old", "ref_date": "2023-09-22", "new": [1]})
    await ledger_of(tmp_path).run(old, batch(1, {"n": 2, "ref_date": "20240101"}, appid="wx2"))
    source = f"read_parquet('{tmp_path}/{ENDPOINT}/*.parquet')"
    assert {name: kind for name, kind, *_ in query(f"DESCRIBE SELECT * FROM {source}")} == {
        "n": "BIGINT", "title": "VARCHAR", "ref_date": "DATE", "_appid": "VARCHAR",
        "_endpoint": "VARCHAR", "_begin_date": "DATE", "_end_date": "DATE",
        "_fetched_at": "TIMESTAMP WITH TIME ZONE", "_extra": "VARCHAR",
    }  # fmt: skip
    assert query(f"SELECT n, title, ref_date, _appid FROM {source} ORDER BY n") == [
        (1, "old", date(2023, 9, 22), "wx1"),
        (2, None, date(2024, 1, 1), "wx2"),
    ]
    frame = polars.read_parquet(f"{tmp_path}/{ENDPOINT}").sort("n")
    assert frame["n"].to_list() == [1, 2]
    assert frame["_extra"].to_list() == ['{"new":[1]}', None]
    table = ds.dataset(tmp_path / ENDPOINT).to_table().sort_by("n")
    assert table["_fetched_at"].to_pylist() == [datetime(2024, 6, 15, 4, tzinfo=UTC)] * 2
    assert table.schema.field("_fetched_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("ref_date").type == pa.date32()


async def test_rows_are_sorted_by_account_and_day_in_the_year_of_the_first_day(
    tmp_path: Path,
) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(*[batch(day, day, appid="wx2") for day in (5, -3, 4)], batch(9, 9))
    await ledger.run(batch(-2, 100, days=5), batch(1, 1), batch(2, 20, 21))
    found = [(row["_appid"], row["n"]) for row in pq.read_table(
        tmp_path / ENDPOINT / "2024.parquet").to_pylist()]  # fmt: skip
    assert found == [("wx1", 1), ("wx1", 20), ("wx1", 21), ("wx1", 9), ("wx2", 4), ("wx2", 5)]
    found = [(row["_appid"], row["n"]) for row in pq.read_table(
        tmp_path / ENDPOINT / "2023.parquet").to_pylist()]  # fmt: skip
    assert found == [("wx2", -3)]


async def test_years_that_do_not_fit_into_memory_are_written_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_HELD", 1000)
    monkeypatch.setattr(parquet, "_ROWS", 7)
    monkeypatch.setattr(parquet, "_CONVERTED", 3)
    ledger = ledger_of(tmp_path)
    given = [
        batch(day, 100 * day + number, appid=f"wx{number}")
        for day in range(-10, 10)
        for number in range(9)
    ]
    await ledger.run(*given)
    assert seen(tmp_path) == ledger.numbers()
    for year in (2023, 2024):
        table = pq.read_table(tmp_path / ENDPOINT / f"{year}.parquet")
        assert table.equals(table.sort_by([("_appid", "ascending"),
                                           ("_begin_date", "ascending")]))  # fmt: skip
    assert pq.read_metadata(tmp_path / ENDPOINT / "2024.parquet").num_row_groups > 5


async def test_nested_fields_are_lists_of_structs(tmp_path: Path) -> None:
    details = [{"stat_date": "2024-01-01", "target_user": 5}, {"stat_date": "2024-01-02"}]
    made = plugins.endpoint("getarticletotal")
    ledger = ledger_of(tmp_path)
    written = await ledger.run(batch(1, {"msgid": "1_1", "details": details}, endpoint=made))
    assert list(written.drift) == []
    (path,) = tmp_path.glob("*/*.parquet")
    (record,) = pq.read_table(path).to_pylist()
    assert [each["stat_date"] for each in record["details"]] == [date(2024, 1, 1), date(2024, 1, 2)]
    assert [each["target_user"] for each in record["details"]] == [5, None]
    assert record["_extra"] is None
    assert query(f"SELECT sum(d.target_user) FROM (SELECT unnest(details) d FROM '{path}')") == [
        (5,)
    ]


async def test_drift_is_reported_once_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.open()
    drift = [
        *(await ledger.commit(batch(1, {"n": "a word", "later": {"a": 1}}), batch(2, 2))).drift,
        *(await ledger.commit(batch(3, {"n": "another", "ref_date": "soon"}))).drift,
    ]
    await ledger.sink.close()
    assert len({*drift}) == len(drift) == 3
    found = sorted(rows(tmp_path), key=lambda row: str(row["_begin_date"]))
    assert [row["n"] for row in found] == [None, 2, None]
    assert [row["_extra"] and json.loads(row["_extra"]) for row in found] == [
        {"n": "a word", "later": {"a": 1}},
        None,
        {"n": "another", "ref_date": "soon"},
    ]


async def test_an_object_whose_fields_are_not_known_stands_in_extra(tmp_path: Path) -> None:
    made = interface((Field("n", "int"), Field("o", "object"), Field("l", "list")))
    await ledger_of(tmp_path).run(batch(1, {"n": 1, "o": {"a": 1}, "l": [{}]}, endpoint=made))
    (row,) = rows(tmp_path)
    assert (row["n"], json.loads(row["_extra"])) == (1, {"o": {"a": 1}, "l": [{}]})


async def test_the_built_in_interfaces_all_have_columns_that_parquet_takes(tmp_path: Path) -> None:
    made = [plugins.endpoint(name) for name in plugins.endpoint_names()]
    given = [batch(1, {"x": each.name}, endpoint=each) for each in made]
    await ledger_of(tmp_path).run(*given)
    for each in made:
        (row,) = pq.read_table(tmp_path / each.name / "2024.parquet").to_pylist()
        assert json.loads(row["_extra"]) == {"x": each.name}


# which files are written, and when


async def test_only_the_years_that_changed_are_written_again(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(*[batch(day, day) for day in (-400, -5, 1, 2)], batch(1, 0, name="other",
                     endpoint=interface(name="other")))  # fmt: skip
    before = {path: path.stat().st_ino for path in tmp_path.glob("*/*.parquet")}
    await ledger.run()  # nothing to do
    assert {path: path.stat().st_ino for path in before} == before
    await ledger.run(batch(3, 3), batch(-5, -50, replaces=True))
    changed = {path.name for path in before if path.stat().st_ino != before[path]}
    assert changed == {"2023.parquet", "2024.parquet"}
    assert (tmp_path / "other" / "2024.parquet").stat().st_ino == before[
        tmp_path / "other" / "2024.parquet"
    ]
    assert seen(tmp_path) == ledger.numbers() == ledger.scanned() == [-400, -50, 0, 1, 2, 3]


async def test_a_year_without_records_has_no_file(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1), batch(2))
    assert files(tmp_path) == []
    await ledger.run(batch(1, 1), batch(-5, 2))
    await ledger.run(batch(-5, replaces=True))
    assert files(tmp_path) == [f"{ENDPOINT}/2024.parquet"]
    await ledger.run(batch(1, replaces=True))
    assert files(tmp_path) == []
    await ledger.run(batch(1, 3, replaces=True))
    assert seen(tmp_path) == [3]


async def test_what_a_killed_run_has_left_is_derived_by_the_next_that_does_nothing(
    tmp_path: Path,
) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.open()
    await ledger.commit(batch(1, {"n": 1, "title": "x"}), batch(-5, 5))
    forget(ledger.sink)
    await ledger.run()
    assert seen(tmp_path) == [1, 5]
    assert [row["title"] for row in rows(tmp_path)] == [None, "x"]  # its columns were kept


async def test_a_file_that_was_removed_is_written_again(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, 1), batch(-5, 5))
    (tmp_path / ENDPOINT / "2023.parquet").unlink()
    await ledger.run()
    assert seen(tmp_path) == [1, 5]


async def test_files_of_an_older_catalogue_get_its_new_columns(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    old = interface(FIELDS[:1])
    await ledger.run(batch(-9, {"n": 1, "title": "kept", "ref_date": "20231222"}, endpoint=old),
                     batch(1, 2, endpoint=old))  # fmt: skip
    await ledger.run(batch(2, {"n": 3, "title": "new"}))
    table = ds.dataset(tmp_path / ENDPOINT).to_table().sort_by("n")
    assert table["title"].to_pylist() == ["kept", None, "new"]
    assert table["ref_date"].to_pylist() == [date(2023, 12, 22), None, None]
    assert table["_extra"].to_pylist() == [None, None, None]
    await ledger.run(batch(3, 4, endpoint=old))
    table = ds.dataset(tmp_path / ENDPOINT).to_table().sort_by("n")
    assert json.loads(table["_extra"].to_pylist()[0])["title"] == "kept"


# directories, files and ledgers of somebody else


async def test_lines_that_are_gone_are_never_called_harvested(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, 1))
    shutil.rmtree(tmp_path / ".lines")
    with pytest.raises(SinkError, match="is gone, though the ledger says"):
        await ledger.open()
    await ledger.sink.close()
    assert seen(tmp_path) == [1]


async def test_a_directory_of_another_sink_is_refused_in_one_sentence(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "lines")
    await lines.open(None)
    await lines.close()
    with pytest.raises(UsageError, match=r"holds JSON lines of another sink; choose another dir"):
        await Parquet(tmp_path / "lines").open({})
    await ledger_of(tmp_path / "files").run(batch(1, 1))
    lines = JsonLines(tmp_path / "files")
    with pytest.raises(UsageError, match=r"holds Parquet files of another sink; choose another"):
        await lines.open({})
    await lines.close()
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / ".parquet.lock").write_text("{}")
    with pytest.raises(UsageError, match="of an earlier version, which are not continued; choose"):
        await Parquet(tmp_path / "first").open({})


async def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / ENDPOINT
    folder.mkdir()
    theirs = pa.table({"n": [77]})
    for name in ("theirs.parquet", "2019.parquet"):
        pq.write_table(theirs, folder / name)
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, 1))
    await ledger.run(batch(1, 2, replaces=True))
    assert seen(tmp_path) == [2, 77, 77]


async def test_a_file_of_somebody_else_in_our_place_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ENDPOINT
    folder.mkdir()
    ledger = ledger_of(tmp_path)
    theirs = folder / "2024.parquet"
    for write in (lambda: pq.write_table(pa.table({"n": [77]}), theirs),
                  lambda: theirs.write_text("x")):  # fmt: skip
        write()
        await ledger.open()
        await ledger.commit(batch(1, 1, replaces=True))
        before = theirs.read_bytes()
        with pytest.raises(SinkError, match="damaged, or this harvest did not write it; move it"):
            await ledger.sink.close()
        assert theirs.read_bytes() == before
        assert ledger.scanned() == [1]
    theirs.unlink()
    await ledger.run()  # the lock is free, and nothing is lost
    assert seen(tmp_path) == [1]


async def test_a_run_without_anything_new_notices_a_damaged_file(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, 1))
    file = tmp_path / ENDPOINT / "2024.parquet"
    file.write_text("x")
    with pytest.raises(SinkError, match="damaged, or this harvest did not write it; move it"):
        await ledger.run()
    file.unlink()
    await ledger.run()
    assert seen(tmp_path) == [1]


async def test_nothing_is_written_through_a_symbolic_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    ledger = ledger_of(tmp_path / "here")
    await ledger.run(batch(1, 1))
    (tmp_path / "here" / ENDPOINT / "2024.parquet.tmp").symlink_to(theirs)
    (tmp_path / "here" / ".lines" / f"{ENDPOINT}.json.tmp").symlink_to(theirs)
    await ledger.run(batch(2, 2))
    assert theirs.read_text() == "theirs"
    assert seen(tmp_path / "here") == [1, 2]


# packages, specs, full disks


GZIP = """
import asyncio, sys
from datetime import date
sys.modules["backports"] = sys.modules["compression"] = None
from harvester.model import Batch, Window
from harvester.sinks.parquet import Parquet

async def main():
    sink = Parquet(sys.argv[1])
    await sink.open(None)
    day = Window("wx1", "e", date(2024, 1, 1), date(2024, 1, 1))
    await sink.write([Batch(day, [{"n": 1}], "2024-06-15T04:00:00Z")], {})
    await sink.close()

asyncio.run(main())
"""


def test_without_zstd_the_lines_are_gzip(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", GZIP, tmp_path], check=True, cwd=ROOT)
    assert [path.name for path in tmp_path.glob(".lines/e/*")] == ["000001.jsonl.gz"]
    assert files(tmp_path) == ["e/2024.parquet"]


FULL = """
import asyncio, resource, signal, sys
from tests.sinks.test_parquet import batch, ledger_of
from harvester.errors import SinkError
from pathlib import Path

async def main():
    ledger = ledger_of(Path(sys.argv[1]))
    await ledger.open()
    many = [batch(day, {"n": day, "title": str(hash(str(day))) * 4}) for day in range(1, 60)]
    await ledger.commit(*many)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    full = 300 if sys.argv[2] == "write" else 3000
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    try:
        await (ledger.sink.close() if sys.argv[2] == "close" else ledger.commit(batch(99, 99)))
    except SinkError as exc:
        print(exc)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ledger.sink.close()
    await ledger.run(batch(100, 100))

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["write", "close"])
def test_a_full_disk_is_reported_and_nothing_is_lost(tmp_path: Path, when: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, tmp_path, when],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "the disk is full; nothing that was committed is lost" in ran.stdout
    assert seen(tmp_path) == [*range(1, 60), 100]


# arrow


def test_a_batch_of_records_streams_through_a_reader() -> None:
    table = arrow.table_of("e", FIELDS)
    schema = arrow.schema_of(table)
    documents = [
        document
        for each in (batch(1, {"n": 1, "title": "a"}), batch(2, {"n": 2.5, "more": 1}))
        for document in each.documents()
    ]
    made = (arrow.batch_of(table, schema, [document]) for document in documents)
    found = arrow.reader(schema, made).read_all()
    assert found.schema == schema
    assert found["n"].to_pylist() == [1, None]
    assert found["_begin_date"].to_pylist() == [date(2024, 1, 1), date(2024, 1, 2)]
    assert found["_extra"].to_pylist() == [None, '{"n":2.5,"more":1}']
    together = arrow.batch_of(table, schema, documents)
    assert together.to_pylist() == found.to_pylist()
    assert arrow.only(together, [False, True]).num_rows == 1
    assert arrow.batch_of(table, schema, []).num_rows == 0
