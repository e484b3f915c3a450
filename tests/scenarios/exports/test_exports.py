"""Exports through the command line and the library: of a run, and of what is stored."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester import ExportError, UsageError, export, read, run
from harvester.model import Field, Response
from harvester.testing import FakeTransport, Simulator
from tests.builders import account, harvested
from tests.exports.support import tables
from tests.support import command, environment

START, END = "2026-01-20", "2026-02-10"
APPID = "wx00000000000000ab"


def lines(home: Path, **options: Any) -> harvester.Report:
    """A run into JSON lines."""
    return harvested(f"jsonl:{home}/out", APPID, days=(START, END), **options)


def called(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command("export", *arguments, "--out", home / "out"),
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_brings_its_exports_up_to_date(tmp_path: Path) -> None:
    report = lines(tmp_path, export=f"parquet:{tmp_path}/pq")
    assert report.state == "complete"
    [note] = [note for note in report.notes if "parquet" in note]
    assert "4 months of interface data written" in note
    stored = read(tmp_path / "out", "getusersummary").read_all().num_rows
    assert len(tables(f"parquet:{tmp_path}/pq")["getusersummary"]) == stored > 0
    again = lines(tmp_path, export=[f"parquet:{tmp_path}/pq", f"csv:{tmp_path}/csv"])
    assert "nothing has changed (4 months)" in " ".join(again.notes)
    assert len(tables(f"csv:{tmp_path}/csv")["getusersummary"]) == stored


@pytest.mark.thorough
@pytest.mark.parametrize("target", ["csv:csv", "parquet:pq", "duckdb:d.duckdb", "xlsx:x.xlsx"])
def test_a_first_export_of_what_was_never_stored_says_so(target: str, tmp_path: Path) -> None:
    lines(tmp_path)
    status, out, err = called(tmp_path, target, "--endpoint", "getupstreammsghour")
    assert (status, err) == (0, "")
    assert out == f"{target}: no stored record matches the options\n"


def test_an_export_that_fails_keeps_the_state_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_text("mine")
    with pytest.raises(ExportError, match="is not a workbook of harvester") as raised:
        lines(tmp_path, export=f"xlsx:{tmp_path}/x.xlsx")
    assert raised.value.report is not None
    assert raised.value.report.state == "complete"


def test_one_failed_export_does_not_keep_the_others_from_being_made(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_text("mine")
    with pytest.raises(ExportError):
        lines(tmp_path, export=[f"xlsx:{tmp_path}/x.xlsx", f"csv:{tmp_path}/csv"])
    assert tables(f"csv:{tmp_path}/csv")["getusersummary"]


@pytest.mark.parametrize("spec", ["parquet:", "jsonl:x", "csv:x?shape=round"])
def test_a_wrong_target_is_refused_before_anything_is_sent(tmp_path: Path, spec: str) -> None:
    with pytest.raises(UsageError):
        lines(tmp_path, export=spec)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_exports_nothing(tmp_path: Path) -> None:
    async def stopped() -> harvester.Report:
        stop = asyncio.Event()
        stop.set()
        return await run(
            account(APPID),
            "users",
            START,
            END,
            sink=f"jsonl:{tmp_path}/out",
            export=f"csv:{tmp_path}/csv",
            transport=FakeTransport(Simulator()),
            stop=stop,
        )

    assert asyncio.run(stopped()).state == "interrupted"
    assert not (tmp_path / "csv").exists()


@pytest.mark.thorough
def test_the_command_exports_and_compares(tmp_path: Path) -> None:
    lines(tmp_path)
    targets = ["duckdb:d.duckdb", "csv:c?header=zh"]
    status, said, _ = called(tmp_path, *targets)
    assert status == 0
    assert said.count("4 months of interface data written") == 2
    assert called(tmp_path, *targets, "--check")[0] == 0
    (tmp_path / "c" / "getusersummary.csv").unlink()
    status, said, _ = called(tmp_path, *targets, "--check")
    assert status == 1
    assert "csv:c differs from jsonl:" in said
    assert "duckdb:d.duckdb is equal to jsonl:" in said
    status, said, _ = called(tmp_path, "xlsx:x.xlsx", "--endpoint", "getusercumulate")
    assert status == 0
    assert {*tables(f"xlsx:{tmp_path}/x.xlsx")} == {"getusercumulate", "coverage"}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["foo:x"], 2, "'foo' is not a kind of export"),
        (["csv:x", "--endpoint", "getuser"], 2, "there is no interface 'getuser'"),
        (["csv:out"], 2, "holds the records of a run"),
        (["csv:x", "--from", "sqlite:other.db"], 2, "there is no file other.db"),
        (["xlsx:none/x.xlsx"], 2, "there is no directory "),
        (["csv:/proc/x"], 4, "could not be written"),
    ],
)
def test_a_command_that_cannot_export_says_why(
    tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    lines(tmp_path)
    found, _, text = called(tmp_path, *arguments)
    assert (found, said in text) == (status, True), text
    assert text.count("\n") == 1


@pytest.mark.thorough
def test_the_report_of_a_run_whose_export_failed_is_json_and_the_status_is_4(
    tmp_path: Path,
) -> None:
    lines(tmp_path)
    done = subprocess.run(
        command(
            *("run", "users", "--appid", APPID, "--start", START, "--end", END),
            *("--out", tmp_path / "out", "--export", "xlsx:none/x.xlsx", "--json"),
        ),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["state"]) == (4, "complete")
    assert "there is no directory " in report["notes"][-1]


def test_a_harvest_that_was_moved_is_still_the_same_one(tmp_path: Path) -> None:
    lines(tmp_path)
    export(tmp_path / "out", f"csv:{tmp_path}/csv")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert export(tmp_path / "moved", f"csv:{tmp_path}/csv").kept == 4


def test_another_harvest_is_not_exported_to_the_same_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lines(tmp_path / name)
    export(tmp_path / "one" / "out", f"csv:{tmp_path}/csv")
    with pytest.raises(UsageError, match="another harvest"):
        export(tmp_path / "two" / "out", f"csv:{tmp_path}/csv")
    assert export(tmp_path / "two" / "out", f"csv:{tmp_path}/csv", replace=True).written == 4


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("parquet:x", "polars.scan_parquet("),
        ("duckdb:x.duckdb", "duckdb.connect("),
        ("csv:x", "pandas.read_csv("),
    ],
)
def test_read_says_how_an_export_is_read(tmp_path: Path, spec: str, line: str) -> None:
    lines(tmp_path)
    kind, _, name = spec.partition(":")
    export(tmp_path / "out", f"{kind}:{tmp_path / name}")
    for where in (f"{kind}:{tmp_path / name}", tmp_path / name):
        with pytest.raises(UsageError) as raised:
            read(where, "getusersummary")
        assert line in str(raised.value)
        assert str(tmp_path / name) in str(raised.value)


@pytest.mark.thorough
def test_the_accounts_of_a_file_are_a_table(tmp_path: Path) -> None:
    lines(tmp_path)
    file = tmp_path / "accounts.csv"
    file.write_text(f"appid,name,group,enabled\n{APPID},南方,区域,true\nwx2,gone,,false\n")
    assert called(tmp_path, f"csv:{tmp_path}/c", "--accounts", str(file))[0] == 0
    assert tables(f"csv:{tmp_path}/c")["accounts"] == [
        {"_appid": APPID, "name": "南方", "group": "区域"},
        {"_appid": "wx2", "name": "gone", "group": ""},
    ]
    assert called(tmp_path, f"csv:{tmp_path}/c", "--check")[0] == 0
    assert called(tmp_path, f"csv:{tmp_path}/c", "--check", "--accounts", str(file))[0] == 0


def test_a_run_exports_its_own_interfaces_alone(tmp_path: Path) -> None:
    own = harvester.JsonEndpoint(
        "getown",
        "/datacube/getown",
        date(2026, 1, 1),
        fields=(Field("ref_date", "date"), Field("figure", "int")),
    )
    sink, target = f"sqlite:{tmp_path}/x.db", f"parquet:{tmp_path}/pq"
    answers = FakeTransport(Simulator())

    class Own(FakeTransport):
        async def send(self, request: Any, leave: Any = None) -> Response:
            if request.path != own.path:
                return await answers.send(request, leave)
            day = json.loads(request.body)["begin_date"]
            record = {"ref_date": day, "figure": 7}
            return Response(200, json.dumps({"list": [record]}).encode())

    def harvest(endpoint: Any, *targets: str) -> None:
        harvested(
            sink, APPID, endpoints=endpoint, days=(START, "2026-01-21"), export=[*targets],
            transport=Own(Simulator()),
        ).raise_for_state()  # fmt: skip

    harvest(own, target)
    harvest("getusersummary", target)
    assert [row["figure"] for row in tables(target)["getown"]] == [7, 7]
    assert tables(target)["getusersummary"]
    harvest("getusersummary", f"csv:{tmp_path}/csv")
    assert {*tables(f"csv:{tmp_path}/csv")} == {
        "coverage", "getusersummary", "followers_by_source",
    }  # fmt: skip
