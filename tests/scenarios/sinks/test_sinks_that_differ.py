"""Sinks that came apart: a run or the command `rebuild` brings them together again."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.base.dates import ONE_DAY, last_settled_day
from harvester.cli.commands import invoke
from harvester.model import Batch
from harvester.sinks.base import Fence, Written
from harvester.testing import MemorySink, Simulator
from tests.builders import harvested
from tests.scenarios.places import spec_of
from tests.scenarios.shared import KNOWN
from tests.support import A, B

GROWING = "getarticletotaldetail"


class Killed(MemorySink):
    """Its process is killed before a write of it, if it is told so."""

    dies = False

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        if self.dies:
            raise harvester.SinkError("killed")
        return await super().write(batches, fence)


def versions(sink: MemorySink) -> dict[Any, int]:
    return {window: batch.version for window, batch in sink._batches.items()}


@pytest.mark.thorough
def test_a_refresh_that_was_killed_between_two_sinks_goes_on_with_the_next_run(
    tmp_path: Path,
) -> None:
    """Also with the windows that can still change, which a run asks for every six hours."""
    first, second = MemorySink("memory:first"), Killed("memory:second")
    simulator = Simulator()
    end = last_settled_day(time.time()) - ONE_DAY  # an empty last day is asked for by each run

    def run(**options: Any) -> harvester.Report:
        return harvested(
            [first, second], endpoints=[GROWING, "getusersummary"], days=("yesterday-40d", end),
            ledger=tmp_path / "ledger.sqlite", simulator=simulator, **options,
        )  # fmt: skip

    assert run().state in ("complete", "waiting")
    assert run().requests == 0
    second.dies = True
    with pytest.raises(harvester.SinkError, match="killed"):
        run(refresh=True)
    assert versions(first) != versions(second)
    second.dies = False
    assert run().requests > 0
    assert versions(first) == versions(second)


# rebuild

NAMES = ("getusersummary", "getarticletotaldetail", "getupstreammsgdist")
DAYS = ("2023-11-25", "2024-02-05")


class Otherwise(Simulator):
    """Its rows have their fields in another order than the catalogue, and some that it lacks."""

    def _rows(self, *args: Any) -> list[dict[str, Any]]:
        return [
            {"_new": {"b": None, "a": 1.0}, **dict(reversed(row.items())), "none": None}
            for row in super()._rows(*args)
        ]


def into(folder: Path, *specs: str) -> harvester.Report:
    """A run of the library with the ledger of `harvester`'s default place."""
    ledger = folder / "harvest" / "ledger.sqlite"
    return harvested(
        [*specs], A, B, endpoints=NAMES, days=DAYS, ledger=ledger, simulator=Otherwise()
    )


def without_password(spec: str) -> str:
    for password in KNOWN.values():
        spec = spec.replace(f":{password}@", "@")
    return spec


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in KNOWN.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "harvest").mkdir()
    return tmp_path


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("kind", [
    "sqlite", *[pytest.param(kind, marks=pytest.mark.thorough) for kind in ("postgresql", "mysql")]
])  # fmt: skip
@pytest.mark.parametrize("lines_first", [True, False])
def test_a_sink_that_was_added_has_the_same_records(
    kind: str, folder: Path, request: pytest.FixtureRequest, lines_first: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Whatever form a database gives them: nothing is asked for again but what may be late."""
    database = without_password(spec_of(kind, folder / "rows", request))
    lines = "jsonl:harvest"
    sinks = [lines, database] if lines_first else [database, lines]
    into(folder, sinks[0]).raise_for_state()
    named = ["--sink", database] if kind == "mysql" else []  # else it gets no password
    assert invoke(["sink", "add", sinks[1], *(named if sinks[0] == database else [])]) == 0
    for ledger in (True, False):
        if not ledger:
            (folder / "harvest" / "ledger.sqlite").unlink()
        capsys.readouterr()
        assert invoke(["rebuild", "--sink", sinks[0], "--sink", sinks[1]]) == 0
        said = capsys.readouterr().out
        assert "not the same in every sink" not in said
        assert "differ" not in said
        report = into(folder, *sinks)
        assert report.state == "complete"
        assert report.requests <= 12
        assert invoke(["verify", *named]) == 0


@pytest.mark.thorough
def test_a_line_that_was_deleted_comes_back_after_rebuild(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into(folder, "jsonl:harvest").raise_for_state()
    whole = lines_of(folder)
    path = folder / "harvest" / NAMES[0] / "2024-01.jsonl"
    if not path.exists():
        [path] = (folder / "harvest" / NAMES[0]).glob("2024*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:40] + lines[41:]))
    with pytest.raises(harvester.SinkError, match="harvester rebuild --out"):
        into(folder, "jsonl:harvest")
    assert invoke(["rebuild"]) == 0
    assert "in years that differ from the former ledger" in capsys.readouterr().out
    report = into(folder, "jsonl:harvest")
    assert report.state == "complete"
    assert 0 < report.requests < 100
    assert lines_of(folder) == whole
    assert invoke(["verify"]) == 0


def lines_of(folder: Path) -> Counter[str]:
    """All records, without when they were fetched."""
    return Counter(
        json.dumps({**json.loads(line), "_fetched_at": ""})
        for path in (folder / "harvest").rglob("*.jsonl")
        for line in path.read_bytes().splitlines()
    )
