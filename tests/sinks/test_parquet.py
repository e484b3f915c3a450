"""Parquet files: each committed record once, typed, in few files, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import harvester
from harvester import plugins
from harvester.datacube import INTERFACES
from harvester.endpoint import Field, JsonEndpoint
from harvester.errors import SinkError, UsageError
from harvester.model import Batch, Tally
from harvester.sinks.jsonl import JsonLines
from harvester.sinks.parquet import Parquet
from harvester.testing import run_virtual
from tests.sinks.ledgerish import ENDPOINT, TITLES, Ledgerish, batch, names

FIELDS = (Field("n", "int"), Field("title", "str"), Field("ref_date", "date"))
THING = JsonEndpoint(ENDPOINT, "/x", date(2014, 12, 1), fields=FIELDS)


def sink_of(directory: Path, fields: Sequence[Field] = FIELDS, **how: Any) -> Callable[[], Parquet]:
    """Makes the sink as a run does: made, and told of the interface."""

    def make() -> Parquet:
        sink = Parquet(directory, **how)
        sink.describe([JsonEndpoint(ENDPOINT, "/x", date(2014, 12, 1), fields=tuple(fields))])
        return sink

    return make


def ledger_of(directory: Path, fields: Sequence[Field] = FIELDS, **how: Any) -> Ledgerish:
    return Ledgerish(sink_of(directory, fields, **how))


def seen(directory: Path) -> list[int]:
    """What a reader of the Parquet files sees."""
    files = sorted(directory.rglob("*.parquet"))
    return sorted(
        n for path in files for n in pq.read_table(path, partitioning=None)["n"].to_pylist()
    )


def standing(directory: Path, ledger: Ledgerish) -> list[tuple[int, int, bool]]:
    """What `verify` is told: day, records, and whether they are intact."""
    return sorted(
        ((stored.window.begin - date(2023, 12, 31)).days, stored.records, stored.intact)
        for stored in Parquet(directory).stored(ledger.receipt)
    )


def virtual(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """Run an async test on the virtual loop."""

    def run(tmp_path: Path) -> None:
        async def main(_: object) -> None:
            await test(tmp_path)

        run_virtual(main)

    run.__name__ = test.__name__
    return run


@virtual
async def test_four_thousand_days_are_a_file_a_year(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, log_bytes=100_000)
    sink = await ledger.open()
    first = (date(2014, 12, 1) - date(2023, 12, 31)).days
    for begin in range(first, first + 4000, 50):
        await ledger.commit(sink, *[batch(day, {"n": day}) for day in range(begin, begin + 50)])
    await ledger.end(sink)
    found = names(tmp_path)
    assert len(found) == 12
    assert all(name.startswith(f"{ENDPOINT}/window_year=20") for name in found)
    assert seen(tmp_path) == list(range(first, first + 4000))
    assert {year for year, in duckdb.sql(
        f"SELECT DISTINCT window_year FROM read_parquet('{tmp_path}/**/*.parquet',"
        " hive_partitioning = true)"
    ).fetchall()} == set(range(2014, 2026))  # fmt: skip


@virtual
async def test_every_reader_takes_it_as_one_table_with_all_columns(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    old = batch(-100, {"n": 1, "title": "old", "ref_date": "2023-09-22", "new": [1]})
    await ledger.run(old, batch(1, {"n": 2, "ref_date": "20240101"}, appid="wx2"))
    where = f"{tmp_path}/{ENDPOINT}/**/*.parquet"
    found = duckdb.sql(f"SELECT * FROM read_parquet('{where}') ORDER BY n")
    assert dict(zip(found.columns, map(str, found.types), strict=True)) == {
        "n": "BIGINT", "title": "VARCHAR", "ref_date": "DATE", "_appid": "VARCHAR",
        "_endpoint": "VARCHAR", "_begin_date": "DATE", "_end_date": "DATE",
        "_fetched_at": "TIMESTAMP WITH TIME ZONE", "_extra": "VARCHAR", "window_year": "BIGINT",
    }  # fmt: skip
    assert [row[:4] for row in found.fetchall()] == [
        (1, "old", date(2023, 9, 22), "wx1"),
        (2, None, date(2024, 1, 1), "wx2"),
    ]
    frame = polars.read_parquet(f"{tmp_path}/{ENDPOINT}", hive_partitioning=True).sort("n")
    assert frame["n"].to_list() == [1, 2]
    assert frame["_extra"].to_list() == ['{"new":[1]}', None]
    assert frame["window_year"].to_list() == [2023, 2024]
    table = ds.dataset(tmp_path / ENDPOINT, partitioning="hive").to_table().sort_by("n")
    assert table["_fetched_at"].to_pylist() == [datetime(2024, 6, 15, 4, tzinfo=UTC)] * 2
    assert table.schema.field("_fetched_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("ref_date").type == pa.date32()
    assert table["window_year"].to_pylist() == [2023, 2024]


@virtual
async def test_nested_fields_are_lists_of_structs(tmp_path: Path) -> None:
    sink = Parquet(tmp_path)
    sink.describe([INTERFACES["getarticletotal"]])
    details = [{"stat_date": "2024-01-01", "target_user": 5}, {"stat_date": "2024-01-02"}]
    ledger = Ledgerish(lambda: sink)
    await ledger.run(batch(1, {"msgid": "1_1", "details": details}, endpoint="getarticletotal"))
    (path,) = tmp_path.rglob("*.parquet")
    (record,) = pq.read_table(path, partitioning=None).to_pylist()
    assert [each["stat_date"] for each in record["details"]] == [date(2024, 1, 1), date(2024, 1, 2)]
    assert [each["target_user"] for each in record["details"]] == [5, None]
    assert record["_extra"] is None
    assert ledger.drift == []
    targets = duckdb.sql(f"SELECT sum(d.target_user) FROM (SELECT unnest(details) d FROM '{path}')")
    assert targets.fetchall() == [(5,)]


@virtual
async def test_a_commit_is_in_the_log_until_the_run_ends(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}, {"n": 3}))
    assert names(tmp_path) == [f".log/{ENDPOINT}/000001.jsonl"]
    assert standing(tmp_path, ledger) == [(1, 1, True), (2, 2, True)]
    await ledger.end(sink)
    assert names(tmp_path) == [f"{ENDPOINT}/window_year=2024/000001.parquet"]
    assert standing(tmp_path, ledger) == [(1, 1, True), (2, 2, True)]
    assert seen(tmp_path) == [1, 2, 3]


@virtual
async def test_runs_of_a_day_each_leave_one_file(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    for day in range(1, 31):
        await ledger.run(batch(day, {"n": day}))
    assert len(names(tmp_path)) == 1
    assert seen(tmp_path) == list(range(1, 31))
    before = names(tmp_path), dict(ledger.receipt)
    await ledger.run()  # nothing to do
    assert (names(tmp_path), ledger.receipt) == before


@virtual
async def test_a_full_file_is_followed_by_the_next(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, file_bytes=8_000, log_bytes=20_000)
    sink = await ledger.open()
    for day in range(1, 301):
        await ledger.commit(sink, batch(day, {"n": day, "title": os.urandom(60).hex()}))
    await ledger.end(sink)
    assert 2 <= len(names(tmp_path)) <= 12
    assert seen(tmp_path) == list(range(1, 301))
    assert len(standing(tmp_path, ledger)) == 300


@virtual
async def test_a_window_that_is_written_again_replaces_its_former_self(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    former = batch(3, {"n": 3}, {"n": 103})
    await ledger.run(*[batch(day, {"n": day}) for day in (1, 2, 4, 5)], former)
    sink = await ledger.open()
    replaced = await ledger.commit(
        sink, batch(3, {"n": 33}, replaces=True), batch(5, replaces=True), batch(9, {"n": 9})
    )
    assert replaced[former.window] == Tally(2, former.checksum)
    assert [tally.records for tally in replaced.values()] == [2, 1]
    again = await ledger.commit(sink, batch(3, {"n": 333}, replaces=True))
    assert list(again.values()) == [Tally(1, batch(3, {"n": 33}).checksum)]
    assert standing(tmp_path, ledger) == [(day, 1, True) for day in (1, 2, 3, 4, 9)]
    assert await ledger.commit(sink, batch(5, {"n": 5}, replaces=True)) == {}
    await ledger.end(sink)
    assert seen(tmp_path) == [1, 2, 4, 5, 9, 333]
    assert standing(tmp_path, ledger) == [(day, 1, True) for day in (1, 2, 3, 4, 5, 9)]
    assert len(names(tmp_path)) == 1


@virtual
async def test_only_the_account_that_was_asked_for_is_replaced(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, {"n": 1}), batch(1, {"n": 2}, appid="wx2"))
    await ledger.run(batch(1, {"n": 3}, appid="wx2", replaces=True))
    assert seen(tmp_path) == [1, 3]


@virtual
async def test_a_longer_window_replaces_the_shorter_ones_within_it_over_years(
    tmp_path: Path,
) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(*[batch(day, {"n": day}) for day in range(-5, 6)])
    sink = await ledger.open()
    await ledger.commit(sink, batch(6, {"n": 6}))
    replaced = await ledger.commit(sink, batch(-3, {"n": 100}, days=10, replaces=True))
    assert [tally.records for tally in replaced.values()] == [10]
    await ledger.end(sink)
    assert seen(tmp_path) == [-5, -4, 100]
    sink = await ledger.open()  # a window within it takes nothing away from it
    assert await ledger.commit(sink, batch(2, {"n": 2}, replaces=True)) == {}
    await ledger.commit(sink, batch(-4, {"n": -40}, replaces=True))
    await ledger.end(sink)
    assert seen(tmp_path) == [-40, -5, 2, 100]


@virtual
async def test_a_year_whose_windows_have_all_gone_leaves_no_file(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, {"n": 1}), batch(-5, {"n": 2}))
    await ledger.run(batch(-5, replaces=True))
    assert seen(tmp_path) == [1]
    assert names(tmp_path) == [f"{ENDPOINT}/window_year=2024/000001.parquet"]


@virtual
async def test_windows_of_one_commit_are_not_meant_for_one_another(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    await ledger.commit(
        sink, batch(2, {"n": 2}, replaces=True), batch(1, {"n": 1}, days=7, replaces=True)
    )
    await sink.close()  # and what the log says on the disk is the same
    sink = await ledger.open()
    await ledger.end(sink)
    assert seen(tmp_path) == [1, 2]


@virtual
async def test_what_was_not_committed_is_cut_off_by_the_next_start(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    await sink.write([batch(2, {"n": 2})])  # and the process dies
    await sink.close()
    await ledger.run(batch(2, {"n": 2}))
    assert seen(tmp_path) == [1, 2]


@virtual
async def test_a_crash_while_merging_neither_loses_nor_doubles(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, {"n": 1}), batch(2, {"n": 2}), batch(-9, {"n": -9}))
    sink = await ledger.open()
    await ledger.commit(sink, batch(2, {"n": 22}, replaces=True), batch(-8, {"n": -8}))
    written = await sink.finish()  # and the process dies before the receipt is stored
    await sink.close()
    assert seen(tmp_path) == [-9, 1, 2]
    assert standing(tmp_path, ledger) == [(day, 1, True) for day in (-9, -8, 1, 2)]
    sink = await ledger.open()
    assert not list(tmp_path.rglob("*.tmp"))
    written = await sink.finish()
    ledger.store(written.receipt)  # and dies after it was, before it settles
    await sink.close()
    assert standing(tmp_path, ledger) == [(day, 1, True) for day in (-9, -8, 1, 2)]
    sink = await ledger.open()
    assert seen(tmp_path) == [-9, -8, 1, 22]
    await ledger.end(sink)
    assert not [name for name in names(tmp_path) if not name.endswith(".parquet")]
    assert seen(tmp_path) == [-9, -8, 1, 22]


@virtual
async def test_a_log_of_a_run_that_died_is_merged_by_the_next(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}), batch(2, {"n": 2}))
    await ledger.commit(sink, batch(2, {"n": 22}, replaces=True), batch(1, replaces=True))
    await sink.close()
    await ledger.run()
    assert seen(tmp_path) == [22]


@virtual
async def test_without_a_ledger_windows_replace_themselves(tmp_path: Path) -> None:
    make = sink_of(tmp_path)
    for n in (1, 2):
        sink = make()
        await sink.open(None)
        await sink.write([batch(n, {"n": n}), batch(5, {"n": 50 + n})])
        if n == 2:
            await sink.finish()
        await sink.settle()
        await sink.close()
    sink = make()
    await sink.open(None)
    await sink.finish()
    await sink.settle()
    await sink.close()
    assert seen(tmp_path) == [1, 2, 52]


@virtual
async def test_a_new_ledger_over_old_data_doubles_nothing_in_later_runs_either(
    tmp_path: Path,
) -> None:
    old = ledger_of(tmp_path)
    await old.run(batch(1, {"n": 1}), batch(2, {"n": 2}))
    sink = await old.open()
    await old.commit(sink, batch(3, {"n": 3}))
    await sink.close()
    new = ledger_of(tmp_path)
    await new.run(batch(1, {"n": 11}))
    await new.run(batch(2, {"n": 22}), batch(3, {"n": 33}))
    assert seen(tmp_path) == [11, 22, 33]
    await old.run(batch(4, {"n": 4}))
    assert seen(tmp_path) == [4, 11, 22, 33]


@virtual
async def test_what_the_ledger_says_but_the_disk_has_not_is_never_called_harvested(
    tmp_path: Path,
) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(batch(1, {"n": 1}))
    (path,) = tmp_path.rglob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    sink = sink_of(tmp_path)()
    with pytest.raises(SinkError, match=r"is cut to \d+ of its \d+ bytes"):
        await sink.open(ledger.receipt)
    await sink.close()
    shutil.rmtree(tmp_path)
    with pytest.raises(SinkError, match="is gone, though the ledger says"):
        await sink.open(ledger.receipt)
    await sink.close()


@virtual
async def test_any_flipped_bit_is_found_by_verify(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(*[batch(day, {"n": day, "title": "t"}) for day in range(1, 20)])
    (path,) = tmp_path.rglob("*.parquet")
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(SinkError, match="is damaged"):
            standing(tmp_path, ledger)


@virtual
async def test_the_pages_carry_checksums_that_other_readers_verify(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    await ledger.run(*[batch(day, {"n": day}) for day in range(1, 20)])
    (path,) = tmp_path.rglob("*.parquet")
    damaged = bytearray(path.read_bytes())
    damaged[60] ^= 1  # within the first page
    path.write_bytes(damaged)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, partitioning=None, page_checksum_verification=True)


@virtual
async def test_drift_is_told_once_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": "a word", "later": {"a": 1}}), batch(2, {"n": 2}))
    await ledger.commit(sink, batch(3, {"n": "another", "ref_date": "soon"}))
    await ledger.end(sink)
    assert len(ledger.drift) == 3
    assert len({*ledger.drift}) == 3
    (path,) = tmp_path.rglob("*.parquet")
    rows = pq.read_table(path, partitioning=None).sort_by("_begin_date").to_pylist()
    assert [row["n"] for row in rows] == [None, 2, None]
    assert [row["_extra"] and json.loads(row["_extra"]) for row in rows] == [
        {"n": "a word", "later": {"a": 1}},
        None,
        {"n": "another", "ref_date": "soon"},
    ]


@virtual
async def test_titles_of_every_kind_and_numbers_beyond_64_bits_come_back(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    records = [{"n": n, "title": title} for n, title in enumerate(TITLES)]
    await ledger.run(batch(1, *records, {"n": 2**70, "title": "long"}))
    (path,) = tmp_path.rglob("*.parquet")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    assert [row["title"] for row in rows] == [*TITLES, "long"]
    assert json.loads(rows[-1]["_extra"]) == {"n": 2**70}


@virtual
async def test_files_of_an_older_catalogue_get_its_new_columns(tmp_path: Path) -> None:
    old = ledger_of(tmp_path, FIELDS[:1])
    await old.run(batch(-9, {"n": 1, "title": "kept", "ref_date": "20231222"}), batch(1, {"n": 2}))
    new = ledger_of(tmp_path)
    new.receipt = old.receipt
    await new.run(batch(2, {"n": 3, "title": "new"}))
    table = ds.dataset(tmp_path / ENDPOINT, partitioning="hive").to_table().sort_by("n")
    assert table["title"].to_pylist() == ["kept", None, "new"]
    assert table["ref_date"].to_pylist() == [date(2023, 12, 22), None, None]
    assert table["_extra"].to_pylist() == [None, None, None]
    fewer = ledger_of(tmp_path, FIELDS[:1])
    fewer.receipt = new.receipt
    await fewer.run()
    table = ds.dataset(tmp_path / ENDPOINT, partitioning="hive").to_table().sort_by("n")
    assert json.loads(table["_extra"].to_pylist()[0])["title"] == "kept"


@virtual
async def test_an_interface_without_known_fields_loses_nothing(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, ())
    await ledger.run(batch(1, {"n": 1, "x": {"y": []}}))
    (path,) = tmp_path.rglob("*.parquet")
    (row,) = pq.read_table(path, partitioning=None).to_pylist()
    assert json.loads(row["_extra"]) == {"n": 1, "x": {"y": []}}
    assert ledger.drift == []


@virtual
async def test_an_object_whose_fields_are_not_known_stands_in_extra(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, (Field("n", "int"), Field("o", "object"), Field("l", "list")))
    await ledger.run(batch(1, {"n": 1, "o": {"a": 1}, "l": [{}]}))
    (path,) = tmp_path.rglob("*.parquet")
    (row,) = pq.read_table(path, partitioning=None).to_pylist()
    assert (row["n"], json.loads(row["_extra"])) == (1, {"o": {"a": 1}, "l": [{}]})


@virtual
async def test_empty_windows_make_no_file(tmp_path: Path) -> None:
    await ledger_of(tmp_path).run(batch(1), batch(2))
    assert names(tmp_path) == []


@virtual
async def test_ten_thousand_windows_make_one_file_a_year(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    for group in range(100):
        await ledger.commit(sink, *[batch(100 * group + n, {"n": n}) for n in range(1, 101)])
    await ledger.end(sink)
    assert len(seen(tmp_path)) == 10_000
    assert len(names(tmp_path)) == 28


@virtual
async def test_a_second_writer_is_refused_and_closing_twice_is_closing_once(
    tmp_path: Path,
) -> None:
    sink = await ledger_of(tmp_path).open()
    other = Parquet(tmp_path)
    with pytest.raises(UsageError, match="in use by another harvester"):
        await other.open({})
    await other.close()
    await sink.close()
    await sink.close()


@virtual
async def test_a_directory_of_another_sink_is_refused_in_one_sentence(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "lines")
    await lines.open(None)
    await lines.close()
    with pytest.raises(UsageError, match=r"holds JSON lines of another sink; choose another dir"):
        await Parquet(tmp_path / "lines").open({})
    await ledger_of(tmp_path / "files").run(batch(1, {"n": 1}))
    with pytest.raises(UsageError, match=r"holds Parquet files of another sink; choose another"):
        await JsonLines(tmp_path / "files").open({})


@virtual
async def test_files_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / ENDPOINT / "window_year=2024"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"n": [77]}), folder / "theirs.parquet")
    (tmp_path / ".log" / "x").mkdir(parents=True)
    (tmp_path / ".log" / "x" / "000001.jsonl").write_text("torn")
    await ledger_of(tmp_path).run(batch(1, {"n": 1}))
    assert (tmp_path / ".log" / "x" / "000001.jsonl").read_text() == "torn"
    assert seen(tmp_path) == [1, 77]


@virtual
async def test_a_file_of_somebody_else_in_our_place_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ENDPOINT / "window_year=2024"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"n": [77]}), folder / "000001.parquet")
    ledger = ledger_of(tmp_path)
    sink = await ledger.open()
    await ledger.commit(sink, batch(1, {"n": 1}))
    with pytest.raises(SinkError, match="this harvest did not write it; move it away"):
        await sink.finish()
    await sink.close()
    assert seen(tmp_path) == [77]
    assert standing(tmp_path, ledger) == [(1, 1, True)]


def test_a_missing_package_is_told_with_the_line_to_type(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import harvester.plugins\n"
        f"try: harvester.plugins.sink('parquet:' + {str(tmp_path)!r})\n"
        "except harvester.UsageError as exc: print(exc)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'wechat-harvester[parquet]'" in told.stdout


@pytest.mark.parametrize("spec", ["", "?x=1", "x?compress=gzip"])
def test_a_spec_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="parquet"):
        plugins.sink(f"parquet:{spec}")


FULL = """
import asyncio, resource, signal, sys
from tests.sinks.test_parquet import Ledgerish, batch, sink_of
from harvester.errors import SinkError
from pathlib import Path

async def main():
    ledger = Ledgerish(sink_of(Path(sys.argv[1])))
    sink = await ledger.open()
    many = [batch(day, {"n": day, "title": str(hash(day)) * 40}) for day in range(1, 60)]
    await ledger.commit(sink, *many)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    try:
        await (sink.finish() if sys.argv[2] == "finish" else sink.write([batch(99, {"n": 99})]))
    except SinkError as exc:
        print(exc)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await sink.close()
    await ledger.run(batch(100, {"n": 100}))

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["write", "finish"])
def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, when: str) -> None:
    assert resource.RLIM_INFINITY
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, tmp_path, when],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "the disk is full; nothing that was committed is lost" in ran.stdout
    assert seen(tmp_path) == [*range(1, 60), 100]


def test_a_cancellation_in_the_midst_of_a_write_waits_for_the_disk(tmp_path: Path) -> None:
    import asyncio

    async def main() -> None:
        ledger = ledger_of(tmp_path)
        sink = await ledger.open()
        many: list[Batch] = [batch(day, {"n": day}) for day in range(1, 2000)]
        task = asyncio.ensure_future(sink.write(many))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sink.close()
        await ledger.run(batch(1, {"n": 1}))
        assert seen(tmp_path) == [1]

    asyncio.run(main())


def test_the_built_in_interfaces_all_have_columns_that_parquet_takes(tmp_path: Path) -> None:
    async def main(_: object) -> None:
        for name in plugins.endpoint_names():
            sink = Parquet(tmp_path / name)
            sink.describe([plugins.endpoint(name)])
            await Ledgerish(lambda sink=sink: sink).run(
                batch(1, {"x": timedelta.__name__}, endpoint=name)
            )
            (path,) = (tmp_path / name).rglob("*.parquet")
            assert pq.read_table(path, partitioning=None)["_extra"].to_pylist() == [
                '{"x":"timedelta"}'
            ]

    run_virtual(main)


@pytest.mark.parametrize("odd", [{"ref_date": [1]}, {"ref_date": {"a": 1}}, {"n": True},
                                 {"n": 2**63}, {"title": ["x"]}], ids=repr)  # fmt: skip
def test_one_value_of_another_type_does_not_stop_a_run(odd: dict[str, Any], tmp_path: Path) -> None:
    record = {"ref_date": "2024-01-01", "n": 1, "title": "x", **odd}  # it is looked at first
    ledger = ledger_of(tmp_path)
    asyncio.run(ledger.run(batch(1, record)))
    ((name, value),) = odd.items()
    row = harvester.read(f"parquet:{tmp_path}", THING).read_all().to_pylist()[0]
    assert (row[name], json.loads(row["_extra"])) == (None, {name: value})
    assert len(ledger.drift) == 1
