"""The samples of the released formats are read as they were when they were made."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import duckdb
import openpyxl
import pyarrow.parquet
import pytest

import harvester
from tests.samples.places import KILLED, WHOLE, Sample
from tests.samples.world import FOLDER, INTERFACES, NOW, checksum, stream_of

KNOWN = json.loads((FOLDER / "known.json").read_text())


def of(*names: str, quick: Collection[str] = ("lines", "sqlite", "killed")) -> pytest.MarkDecorator:
    """A test of samples; of those that are not quick it is thorough."""
    return pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=() if name in quick else pytest.mark.thorough) for name in names],
    )


every = of(*WHOLE, *KILLED)


def known_of(name: str) -> dict[str, dict[str, str | int]]:
    found: dict[str, dict[str, str | int]] = KNOWN["killed" if name in KILLED else "lines"]
    return found


@pytest.mark.thorough
@every
def test_status_says_what_was_known_of_each_interface_of_each_account(
    name: str, sample: Sample
) -> None:
    told = sample.harvest(*NOW, "status", "--json")
    assert told.status == 0, told.err
    streams = [stream_of(each) for each in json.loads(told.out.splitlines()[-1])["streams"]]
    assert streams == known_of(name)["status"]
    shown = sample.harvest(*NOW, "status")
    assert (shown.status, "days" in shown.out) == (0, True), shown.err


@pytest.mark.sampled
@every
def test_each_record_is_read_once_as_it_was_stored(name: str, sample: Sample) -> None:
    for endpoint in INTERFACES:
        found = sample.records(endpoint)
        noted = {"records": len(found), "checksum": checksum(found)}
        assert noted == known_of(name)[endpoint], endpoint
    users = "getusersummary"
    february = harvester.read(sample.sink, users, start="2026-02-01", end="2026-02-28").read_all()
    rows = [row for row in sample.records(users) if row["ref_date"].startswith("2026-02")]
    assert february.num_rows == len(rows) > 0


@pytest.mark.thorough
@every
def test_what_is_stored_is_exactly_what_was_fetched(name: str, sample: Sample) -> None:
    verified = sample.harvest(*NOW, "verify")
    assert verified.status == 0, verified.out + verified.err
    assert "exactly what was fetched" in verified.out


@pytest.mark.sampled
@pytest.mark.thorough
@of(*WHOLE, *KILLED, quick=["lines"])
def test_a_fresh_export_has_each_record(name: str, sample: Sample, tmp_path: Path) -> None:
    target = f"parquet:{tmp_path / 'tables'}"
    exported = sample.harvest(*NOW, "export", target)
    assert exported.status == 0, exported.err
    for endpoint in INTERFACES:
        files = [*(tmp_path / "tables" / endpoint).glob("*.parquet")]
        rows = sum(pyarrow.parquet.read_metadata(each).num_rows for each in files)
        assert rows == known_of(name)[endpoint]["records"], endpoint
    assert sample.harvest(*NOW, "export", "--check", target).status == 0


# Exports that 98574d5 made of the sample `sqlite`.

EXPORTS = (
    "parquet:{}/parquet", "parquet:{}/parquet-flat?shape=flat", "csv:{}/csv",
    "duckdb:{}/figures.duckdb", "xlsx:{}/figures.xlsx",
)  # fmt: skip


@of("sqlite", quick=[])
def test_an_export_is_recognised_and_is_then_what_a_new_one_is(
    name: str, sample: Sample, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    former, new = (
        [target.format(place) for target in EXPORTS] for place in (sample.folder, tmp_path / "new")
    )
    if duckdb.__version__ < "2":  # it cannot read the sample's file
        newer = sample.harvest(*NOW, "export", "--check", former[3])
        assert (newer.status, "written with a newer DuckDB" in newer.err) == (2, True)
        del former[3], new[3]
    assert sample.harvest(*NOW, "export", "--check", *former).status in (0, 1)
    for targets in (former, new):
        done = sample.harvest(*NOW, "export", *targets)
        assert done.status == 0, done.err
        assert sample.harvest(*NOW, "export", "--check", *targets).status == 0
    for before, after in zip(former, new, strict=True):
        assert contents(before) == contents(after) != {}, before


def contents(target: str) -> dict[str, object]:
    """The tables of a target, each with its rows in their order."""
    kind, _, place = target.partition("?")[0].partition(":")
    if kind == "csv":
        return {each.name: each.read_text() for each in Path(place).glob("*.csv")}
    if kind == "parquet":
        return {
            str(each.relative_to(place)): pyarrow.parquet.read_table(each).to_pylist()
            for each in Path(place).rglob("*.parquet")
        }
    if kind == "xlsx":
        book = openpyxl.load_workbook(place)
        return {each.title: [*each.iter_rows(values_only=True)] for each in book.worksheets[1:]}
    with duckdb.connect(place, read_only=True) as file:
        names = [row[0] for row in file.execute("SHOW TABLES").fetchall()]
        return {
            each: file.execute(f'FROM "{each}"').fetchall()
            for each in names
            if not each.startswith("_")
        }
