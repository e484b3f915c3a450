"""What was harvested comes back as a table, whatever it was written as."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import harvester
from harvester.config import plugins
from harvester.errors import UsageError
from harvester.ledger import SqliteLedger
from harvester.model import Batch, Field
from harvester.testing import Simulator, VirtualTimeLoop, run_virtual
from harvester.wechat.endpoint import JsonEndpoint
from tests.sinks.small_ledger import batch
from tests.support import JANUARY, A, B, days, engine_run, noon, scope

SPECS = ["jsonl:{}", "jsonl:{}?compress=gzip", "jsonl:{}?compress=zstd"]
each_sink = pytest.mark.parametrize("spec", SPECS)
FIRST = plugins.endpoint("getarticlesummary").first_day


def harvested(spec: str, directory: Path, begin: date, end: date) -> Simulator:
    """A simulated harvest of two accounts."""
    made: list[Simulator] = []

    async def main(loop: VirtualTimeLoop) -> None:
        made.append(Simulator(seed=1, wall=loop.wall))
        sink = plugins.sink(spec.format(directory))
        asked = scope(begin, end, (A, B))
        report = await engine_run(loop, made[0], asked, sink, directory / "ledger.sqlite")
        assert report.state == "complete", report

    run_virtual(main, noon("2024-06-15"))
    return made[0]


def written(spec: str, directory: Path, *batches: Batch) -> None:
    """Batches in a sink without a ledger."""

    async def main(_: object) -> None:
        sink: Any = plugins.sink(spec.format(directory))
        await sink.open(None)
        await sink.write(batches, {"wx1": 1})
        await sink.close()

    run_virtual(main)


@each_sink
def test_all_that_was_harvested_is_there_once_with_its_types(spec: str, tmp_path: Path) -> None:
    simulator = harvested(spec, tmp_path, *JANUARY)
    table = harvester.read(tmp_path, "getarticlesummary").read_all()
    truth = [
        (appid, day, record["msgid"], record["int_page_read_user"])
        for appid in (A, B)
        for day in days(*JANUARY)
        for record in simulator.truth(appid, day)
    ]
    columns = ("_appid", "_begin_date", "msgid", "int_page_read_user")
    found = zip(*[table[name].to_pylist() for name in columns], strict=True)
    assert sorted(found) == sorted(truth)
    assert table.schema.field("ref_date").type == pa.date32()
    assert table.schema.field("int_page_read_user").type == pa.int64()
    assert table.schema.field("_fetched_at").type == pa.timestamp("us", tz="UTC")
    assert table["_extra"].null_count == len(table)
    both = harvester.read(
        spec.format(tmp_path), "getarticlesummary", appids=[A, harvester.Account(B)]
    )
    assert len(both.read_all()) == len(table) > 50
    empty = harvester.read(tmp_path, "getusersummary").read_all()
    assert (empty.num_rows, empty.schema.field("new_user").type) == (0, pa.int64())


@each_sink
def test_within_a_longer_window_the_records_own_day_decides(spec: str, tmp_path: Path) -> None:
    week = batch(
        1, *[{"ref_date": f"2024-01-0{day}", "new_user": day} for day in range(1, 8)],
        {"new_user": 99}, name="getusersummary", days=7,
    )  # fmt: skip
    written(spec, tmp_path, week, batch(8, {"new_user": 8}, name="getusersummary"))
    some = harvester.read(tmp_path, "getusersummary", start="2024-01-03", end="2024-01-04")
    assert sorted(some.read_all()["new_user"].to_pylist()) == [3, 4, 99]  # it names no day
    from_first = harvester.read(tmp_path, "getusersummary", start="first", end="2024-01-02")
    assert sorted(from_first.read_all()["new_user"].to_pylist()) == [1, 2, 99]


@each_sink
def test_what_a_stopped_run_has_committed_is_there_and_what_it_left_behind_is_not(
    spec: str, tmp_path: Path
) -> None:
    harvested(spec, tmp_path, *JANUARY)
    before = harvester.read(tmp_path, "getarticlesummary").read_all().num_rows
    name = f"{spec.partition(':')[0]}:."

    async def main(_: object) -> None:
        sink: Any = plugins.sink(spec.format(tmp_path))
        async with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            await sink.open(await ledger.checkpoint(name))
            committed = await sink.write([batch(99, {"msgid": "1"})], {"wx1": 1})
            await ledger.commit([], {name: committed.checkpoint})
            await sink.write([batch(100, {"msgid": "2"}), batch(101, {"msgid": "3"})], {"wx1": 1})
            await sink.close()

    run_virtual(main)
    stored = harvester.read(tmp_path, "getarticlesummary").read_all()
    assert stored.num_rows == before + 1
    assert "1" in stored["msgid"].to_pylist()
    (tmp_path / "ledger.sqlite").unlink()
    assert harvester.read(tmp_path, "getarticlesummary").read_all().num_rows == before + 3


@each_sink
def test_unknown_fields_stand_in_extra_and_an_interface_of_ones_own_is_read_by_its_fields(
    spec: str, tmp_path: Path
) -> None:
    mine = JsonEndpoint("mine", "/mine", FIRST, fields=(Field("n", "int"),), day_field="")
    one = batch(1, {"n": 1, "x": [1]}, endpoint=mine)
    written(spec, tmp_path, one, batch(2, {"n": "two"}, endpoint=mine))
    rows = harvester.read(tmp_path, mine).read_all().sort_by("_begin_date").to_pylist()
    assert [(row["n"], row["_extra"]) for row in rows] == [(1, '{"x":[1]}'), (None, '{"n":"two"}')]
    with pytest.raises(UsageError, match="there is no interface 'mine'"):
        harvester.read(tmp_path, "mine")


@each_sink
def test_days_are_told_apart_by_a_field_within_an_object_too(spec: str, tmp_path: Path) -> None:
    deep = (Field("day", "date"), Field("n", "int"))
    fields = (Field("unit", "str"), Field("item", "object", fields=deep))
    mine = JsonEndpoint("mine", "/mine", FIRST, span=90, fields=fields, day_field="item.day")
    rows = [{"unit": "a", "item": {"day": f"2024-01-0{n}", "n": n}} for n in (1, 2, 3)]
    odd: list[dict[str, Any]] = [{"unit": "b"}, {"unit": "c", "item": [1]}]
    window = batch(1, *rows, *odd, endpoint=mine, days=3)
    written(spec, tmp_path, window)
    found = harvester.read(tmp_path, mine, start="2024-01-02", end="2024-01-02").read_all()
    assert found["unit"].to_pylist() == ["a", "b", "c"]
    assert found["item"].to_pylist()[0]["n"] == 2
    assert harvester.read(tmp_path, mine).read_all().num_rows == 5


def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no directory"):
        harvester.read(tmp_path / "none", "getarticlesummary")
    with pytest.raises(UsageError, match="there is no directory"):
        harvester.read(f"jsonl:{tmp_path}/none", "getarticlesummary")
    with pytest.raises(UsageError, match="holds nothing that was harvested and can be read back"):
        harvester.read(tmp_path, "getarticlesummary")
    (tmp_path / ".jsonl.lock").touch()
    with pytest.raises(UsageError, match="did you mean getarticlesummary"):
        harvester.read(tmp_path, "getarticlesumary")
    with pytest.raises(UsageError, match="is after the end"):
        harvester.read(tmp_path, "getarticlesummary", start="2024-01-02", end="2024-01-01")
    with pytest.raises(UsageError, match="start: 'soon' is not a day"):
        harvester.read(tmp_path, "getarticlesummary", start="soon")


def test_a_sink_that_keeps_nothing_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="- cannot be read back"):
        harvester.read("-", "getusersummary")
    with pytest.raises(UsageError, match="a new memory: is empty; pass the sink"):
        harvester.read("memory:", "getusersummary")


def test_a_missing_package_is_told_with_the_line_to_type(tmp_path: Path) -> None:
    (tmp_path / ".jsonl.lock").touch()
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import harvester\n"
        f"try: harvester.read({str(tmp_path)!r}, 'getarticlesummary')\n"
        "except harvester.UsageError as exc: print(exc)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'wechat-harvester[export]'" in told.stdout


def test_it_can_be_read_within_a_running_loop(tmp_path: Path) -> None:
    harvested("jsonl:{}", tmp_path, *JANUARY)

    async def main() -> int:
        return int(harvester.read(tmp_path, "getarticlesummary").read_all().num_rows)

    assert asyncio.run(main()) > 0
