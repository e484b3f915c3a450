"""``harvester maintain`` changes no record, and says what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.days import DaysOnly
from tests.scenarios.places import days_in, spec_of
from tests.support import A, harvest

SAYS = {"jsonl": "nothing to do", "iceberg": " files became "}


@pytest.mark.parametrize("kind", SAYS)
@pytest.mark.thorough
def test_maintenance_changes_no_record(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = spec_of(kind, tmp_path / "records", request)
    with DaysOnly() as server:
        for end in ("2025-01-10", "2025-02-10"):
            done = harvest(
                "run", "getusersummary", "--appid", A, "--start", "2025-01-01", "--end", end,
                "--base-url", server.url, "--out", tmp_path, "--sink", spec,
            )  # fmt: skip
            assert done.returncode == 0
    before = days_in(spec, "getusersummary")
    assert len(before) == 41
    for given in ([], ["--sink", spec]):
        done = harvest("maintain", "--out", tmp_path, *given)
        assert (done.returncode, done.stderr) == (0, "")
        assert SAYS[kind] in done.stdout
    assert days_in(spec, "getusersummary") == before
    assert harvest("verify", "--out", tmp_path).returncode == 0


def test_a_sink_that_the_ledger_does_not_know_is_not_maintained(tmp_path: Path) -> None:
    with DaysOnly() as server:
        harvest(
            "run", "getusersummary", "--appid", A, "--start", "2025-01-01", "--end", "2025-01-02",
            "--base-url", server.url, "--out", tmp_path,
        )  # fmt: skip
    done = harvest("maintain", "--out", tmp_path, "--sink", f"jsonl:{tmp_path}/other")
    assert done.returncode == 2
    assert "knows nothing of" in done.stderr
    assert not (tmp_path / "other").exists()


def test_without_a_ledger_nothing_is_maintained_and_nothing_made(tmp_path: Path) -> None:
    done = harvest("maintain", "--out", tmp_path)
    assert done.returncode == 2
    assert "there is no ledger" in done.stderr
    assert list(tmp_path.iterdir()) == []
