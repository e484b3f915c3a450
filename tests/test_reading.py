"""What was harvested comes back as a table, whatever it was written as."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any, get_args

import duckdb
import polars
import pyarrow as pa
import pytest

import harvester
from harvester.cli.commands import invoke
from harvester.config import plugins
from harvester.config.plugins import endpoint_groups
from harvester.errors import UsageError
from harvester.ledger import SqliteLedger
from harvester.model import Batch, Field
from harvester.reading import Group
from harvester.testing import FakeTransport, Simulator, VirtualTimeLoop, run_virtual
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
            opened = await sink.open(await ledger.checkpoint(name))
            await ledger.commit([], {name: opened})
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
    with pytest.raises(UsageError, match="there is no interface or group 'mine'"):
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
    (tmp_path / "models" / "sql").mkdir(parents=True)
    for where in (tmp_path / "models", f"jsonl:{tmp_path}/models"):
        with pytest.raises(UsageError, match="models contains no harvest"):
            harvester.read(where, "getarticlesummary")
    with pytest.raises(UsageError, match="there is no directory"):
        harvester.read(tmp_path / "none", "getarticlesummary")
    with pytest.raises(UsageError, match="there is no directory"):
        harvester.read(f"jsonl:{tmp_path}/none", "getarticlesummary")
    with pytest.raises(UsageError, match="contains no harvest that can be read back"):
        harvester.read(tmp_path, "getarticlesummary")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="is not an SQLite database; name the directory"):
        harvester.read(tmp_path / "notes.txt", "getarticlesummary")
    with pytest.raises(UsageError, match="is a file, not a directory; name it as sqlite:"):
        harvester.read(f"jsonl:{tmp_path}/notes.txt", "getarticlesummary")
    (tmp_path / ".jsonl.lock").touch()
    with pytest.raises(UsageError, match="did you mean getarticlesummary"):
        harvester.read(tmp_path, "getarticlesumary")
    with pytest.raises(UsageError, match="is after the end"):
        harvester.read(tmp_path, "getarticlesummary", start="2024-01-02", end="2024-01-01")
    with pytest.raises(UsageError, match="start: 'soon' is not a day"):
        harvester.read(tmp_path, "getarticlesummary", start="soon")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of the users interfaces, into a directory and into a database."""
    folder = tmp_path_factory.mktemp("places")
    for sink in (f"jsonl:{folder}/out", f"sqlite:{folder}/users.db"):
        report = harvester.run_sync(
            harvester.Account(A, secret="practice"), ["users", "getupstreammsg"], "2024-01-01",
            "2024-03-31", sink=sink, transport=FakeTransport(Simulator()), rate="1000/s",
        )  # fmt: skip
        assert report.state == "complete"
    return folder


@pytest.mark.parametrize(
    "where",
    [
        "sqlite:users.db", "sqlite:./users.db", "users.db", "./users.db", Path("users.db"),
        "sqlite:~/users.db", "~/users.db", Path("~/users.db"), "users.db.ledger.sqlite",
        "jsonl:out", "jsonl:out/", "out", "out/", "./out", Path("out"), "jsonl:~/out", "~/out/",
        "out/ledger.sqlite",
    ],
    ids=repr,
)  # fmt: skip
def test_a_place_is_read_as_it_was_typed_for_a_run(
    where: str | Path, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places)
    monkeypatch.setenv("HOME", str(places))
    assert harvester.read(where, "getusercumulate").read_all().num_rows == 91
    done = harvester.export(where, "csv:tables", "getusercumulate", replace=True)
    assert done.rows or done.kept


def test_a_harvest_is_written_and_inspected_below_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARVESTER_OUT", "~/unused")
    harvester.run_sync(
        harvester.Account(A, secret="practice"), "getusercumulate", "2024-01-01", "2024-01-31",
        sink="sqlite:~/users.db", export="csv:~/tables", ledger="~/ledger",
        transport=FakeTransport(Simulator()), rate="1000/s",
    )  # fmt: skip
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"users.db", "tables", "ledger"}
    ledger = ["--ledger", "sqlite:~/ledger"]
    for command in (["status", *ledger], ["verify", *ledger], ["export", "csv:~/tables", *ledger]):
        assert invoke(command) == 0, command


@pytest.mark.parametrize("out", ["sqlite:users.db", "users.db", "jsonl:out/", "out"])
def test_commands_take_the_spec_of_a_sink_as_the_place_of_its_ledger(
    out: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places)
    for command in ("status", "verify", "report"):
        assert invoke([command, "--out", out]) == 0
    assert invoke(["export", f"csv:{command}", "--from", out, "--replace"]) == 0


def test_days_resample_and_numbers_sum_in_pandas_polars_and_duckdb(places: Path) -> None:
    users = harvester.read(places / "users.db", "getusersummary")
    frame = users.to_pandas()
    figures = ["new_user", "cancel_user"]
    by_month = frame.set_index("ref_date")[figures].resample("ME").sum()
    assert [str(day)[:10] for day in by_month.index] == ["2024-01-31", "2024-02-29", "2024-03-31"]
    assert {*map(str, by_month.dtypes)} == {"int64"}
    wanted = [*map(tuple, by_month.to_numpy().tolist())]
    summed = duckdb.sql(
        "SELECT sum(new_user), sum(cancel_user) FROM users"
        " GROUP BY date_trunc('month', ref_date) ORDER BY date_trunc('month', ref_date)"
    )
    assert summed.fetchall() == wanted
    counted = (
        polars.DataFrame(users)
        .group_by_dynamic("ref_date", every="1mo")
        .agg(polars.col(*figures).sum())
        .select(figures)
    )
    assert counted.rows() == wanted
    assert str(frame["_fetched_at"].dtype) == "datetime64[us, UTC]"


def test_nulls_make_no_floats_and_no_objects_of_whole_numbers(tmp_path: Path) -> None:
    fields = (Field("n", "int"), Field("yes", "bool"), Field("rate", "float"), Field("day", "date"))
    mine = JsonEndpoint("mine", "/mine", FIRST, fields=fields, day_field="")
    large = 2**53 + 1
    rows = [{"n": large, "yes": True, "rate": 0.5, "day": "2024-01-01"}, {}]
    written("jsonl:{}", tmp_path, batch(1, *rows, endpoint=mine))
    stored = harvester.read(tmp_path, mine)
    frame = stored.to_pandas()
    kinds = [str(frame[each.name].dtype) for each in fields]
    assert kinds == ["Int64", "boolean", "float64", "datetime64[ms]"]
    assert frame["n"].sum() == large
    assert frame.isna().sum()[["n", "yes", "rate", "day"]].tolist() == [1, 1, 1, 1]
    as_asked = stored.to_pandas(date_as_object=True, types_mapper=lambda _: None)
    assert [str(as_asked[name].dtype) for name in ("n", "day")] == ["float64", "object"]


def test_several_interfaces_are_a_mapping_of_tables(places: Path) -> None:
    tables = harvester.read(places / "out", "users")
    assert [*tables] == endpoint_groups()["users"]
    assert {name: len(frame) for name, frame in tables.to_pandas().items()} == {
        name: table.read_all().num_rows for name, table in tables.items()
    }
    listed = harvester.read(places / "out", ["getusersummary", "messages"])
    assert [*listed][:2] == ["getusersummary", "getupstreammsg"]
    assert listed["getupstreammsghour"].read_all().num_rows == 0
    assert [*harvester.read(places / "out", ["getusersummary"])] == ["getusersummary"]
    database = tables.to_duckdb()
    days = database.sql(
        "SELECT count(DISTINCT ref_date), count(*) FILTER (cumulate_user IS NULL)"
        " FROM getusersummary LEFT JOIN getusercumulate USING (_appid, ref_date)"
    )
    assert days.fetchall() == [(91, 0)]


def test_a_flat_shape_has_a_table_for_each_list_and_columns_for_objects(tmp_path: Path) -> None:
    item = Field("item", "object", fields=(Field("n", "int"), Field("day", "date")))
    parts = Field("parts", "list", item="object", fields=(Field("m", "int"),))
    mine = JsonEndpoint("mine", "/mine", FIRST, fields=(item, parts), day_field="item.day")
    rows = [
        {"item": {"n": n, "day": f"2024-01-0{n}"}, "parts": [{"m": n}, {"m": n * 10}]}
        for n in (1, 2)
    ]
    written("jsonl:{}", tmp_path, batch(1, *rows, endpoint=mine, days=2))
    tables = harvester.read(tmp_path, mine, shape="flat")
    assert [*tables] == ["mine", "mine_parts"]
    assert tables["mine"].read_all().select(["item_n", "_row"]).to_pylist() == [
        {"item_n": 1, "_row": 0}, {"item_n": 2, "_row": 1},
    ]  # fmt: skip
    some = harvester.read(tmp_path, mine, shape="flat", start="2024-01-02")["mine_parts"]
    assert some.read_all().select(["_row", "_item", "m"]).to_pylist() == [
        {"_row": 1, "_item": 0, "m": 2}, {"_row": 1, "_item": 1, "m": 20},
    ]  # fmt: skip
    with pytest.raises(UsageError, match="'round' is neither 'nested' nor 'flat'"):
        harvester.read(tmp_path, mine, shape="round")  # type: ignore[call-overload]


def test_the_groups_that_types_know_are_those_of_the_catalogue() -> None:
    assert {*get_args(Group)} == {*plugins.endpoint_groups()}


def test_a_sink_that_keeps_nothing_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="- cannot be read back"):
        harvester.read("-", "getusersummary")
    with pytest.raises(UsageError, match="a new memory: is empty; pass the sink"):
        harvester.read("memory:", "getusersummary")


@pytest.mark.thorough
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


WITHOUT_PYARROW = """
import json, sys
sys.modules["pyarrow"] = None
import harvester

def shown(*arguments, **options):
    print(json.dumps([*harvester.rows(*arguments, **options)]))

where = sys.argv[1]
shown(where, ["getusersummary", "getusercumulate"], start="2024-01-02", end="2024-01-03")
shown(where, "users", appids=["wx0123456789abcdef"])
try:
    harvester.rows(where, "article_days")
except harvester.UsageError as exc:
    print(exc)
"""


@pytest.mark.thorough
def test_rows_are_dicts_in_order_without_pyarrow(tmp_path: Path) -> None:
    simulator, sink = harvester.testing.Simulator(), f"sqlite:{tmp_path / 'users.db'}"
    accounts = [harvester.Account(each, secret="practice") for each in (B, A)]
    report = harvester.run_sync(
        accounts, "users", "2024-01-01", "2024-01-05", sink=sink, transport=FakeTransport(simulator)
    )
    assert report.state == "complete"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW, sink], capture_output=True, text=True, check=True
    )
    some, one_account, sentence = done.stdout.splitlines()
    rows = json.loads(some)
    truth = [
        {**record, "_appid": appid, "_endpoint": name}
        for name in ("getusersummary", "getusercumulate")
        for appid in sorted((A, B))
        for record in simulator.truth_of(name, appid, date(2024, 1, 2), date(2024, 1, 3))
    ]
    request = {"_begin_date", "_end_date", "_fetched_at"}
    assert all(request <= row.keys() for row in rows)
    assert [{k: v for k, v in row.items() if k not in request} for row in rows] == truth
    assert len(truth) > 20
    assert json.loads(one_account) == []
    assert sentence.endswith("pipx inject wechat-harvester 'wechat-harvester[export]'")
    assert "pip install 'wechat-harvester[export]'" in sentence


@pytest.mark.thorough
def test_rows_of_a_table_that_joins_interfaces_are_those_of_read(tmp_path: Path) -> None:
    harvested("jsonl:{}", tmp_path, *JANUARY)
    rows = [*harvester.rows(tmp_path, "article_days", start="2024-01-01")]
    table = harvester.read(tmp_path, "article_days", start="2024-01-01").read_all()
    assert [row["read_user"] for row in rows] == table["read_user"].to_pylist()
    assert {row["_endpoint"] for row in rows} == {"article_days"}
    assert min(row["ref_date"] for row in rows) == "2024-01-01"
    both = harvester.rows(tmp_path, ["getarticlesummary", "article_days"], start="2024-01-01")
    assert [row["_endpoint"] for row in both] == ["getarticlesummary"] * len(rows) + [
        "article_days"
    ] * len(rows)


def test_wrong_arguments_of_rows_are_refused_at_the_call(tmp_path: Path) -> None:
    harvested("jsonl:{}", tmp_path, *JANUARY)
    with pytest.raises(UsageError, match="there is no interface"):
        harvester.rows(tmp_path, "getusers")
    with pytest.raises(UsageError, match="the start"):
        harvester.rows(tmp_path, "users", start="2024-02-01", end="2024-01-01")
    with pytest.raises(UsageError, match="cannot be read back"):
        harvester.rows(harvester.config.plugins.sink("-"), "users")
