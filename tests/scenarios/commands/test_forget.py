"""`harvester forget`: a mistyped account, every kind of sink, exports, several machines."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

import harvester
from tests.builders import harvested
from tests.exports.support import tables
from tests.scenarios.command import Done, Start, asked, begun, succeeded, until
from tests.scenarios.conftest import Jobs
from tests.scenarios.places import SINKS
from tests.scenarios.shared import ENDPOINT, KNOWN, Job
from tests.support import A, B, harvest

pytestmark = pytest.mark.thorough

START, END = "2024-01-20", "2024-02-10"


def in_sink(spec: str) -> Counter[str]:
    """How many records there are of each account."""
    found = Counter[str]()
    for name in ("getusersummary", "getusercumulate"):
        found.update(harvester.read(spec, name).read_all()["_appid"].to_pylist())
    return found


@pytest.mark.parametrize("kind", [*SINKS])
def test_an_account_goes_from_a_sink_of_any_kind(kind: str, spec: str, tmp_path: Path) -> None:
    ledger = tmp_path / "there.sqlite"
    harvested(spec, A, B, ledger=ledger).raise_for_state()
    before = in_sink(spec)
    done = harvest("forget", "--ledger", ledger, "--appid", A, "--yes", **KNOWN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(
        "a run that requests the same again harvests it again"
    )
    assert in_sink(spec) == {B: before[B]}
    succeeded("verify", "--ledger", ledger, **KNOWN)
    succeeded("status", "--ledger", ledger, "--check")
    harvested(spec, A, B, ledger=ledger).raise_for_state()
    assert in_sink(spec) == before


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_ledger_from_before_it_is_refused(kind: str, spec: str, tmp_path: Path) -> None:
    ledger, before = tmp_path / "there.sqlite", tmp_path / "before.sqlite"
    harvested(spec, A, B, ledger=ledger).raise_for_state()
    shutil.copy(ledger, before)
    succeeded("forget", "--ledger", ledger, "--appid", A, "--yes", **KNOWN)
    succeeded("verify", "--ledger", ledger, **KNOWN)
    shutil.copy(before, ledger)
    with pytest.raises(harvester.HarvestError, match="is not the sink that the ledger refers to"):
        harvested(spec, A, B, ledger=ledger).raise_for_state()


def test_the_exports_drop_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    harvested(f"jsonl:{out}", A, B).raise_for_state()
    targets = [f"parquet:{tmp_path}/pq", f"csv:{tmp_path}/csv"]
    succeeded("export", *targets, "--out", out)
    succeeded("forget", "--out", out, "--appid", A, "--yes")
    assert harvest("export", *targets, "--out", out, "--check").returncode == 1
    succeeded("export", *targets, "--out", out)
    assert {row["_appid"] for row in tables(targets[0])["getusersummary"]} == {B}
    with (tmp_path / "csv" / "getusercumulate.csv").open(encoding="utf-8-sig") as file:
        assert {row["_appid"] for row in csv.DictReader(file)} == {B}
    succeeded("forget", "--out", out, "--appid", B, "--yes")
    succeeded("export", *targets, "--out", out)
    assert not tables(targets[0]).get("getusersummary")


def test_a_mistyped_account_makes_no_check_red_for_ever(wechat: Start, tmp_path: Path) -> None:
    url, out = wechat(secret="practice").url, tmp_path / "out"
    succeeded(*asked(url, ENDPOINT, START, END, "--out", out))
    wrong = [each.replace(A, "mistyped") for each in asked(url, ENDPOINT, START, END)]
    assert harvest(*wrong, "--out", out).returncode == 4
    assert harvest("status", "--out", out, "--check").returncode == 1
    shown = harvest("forget", "--out", out, "--appid", "mistyped")
    assert (shown.returncode, len(shown.stdout.splitlines())) == (2, 2)
    assert "--yes removes" in shown.stderr
    succeeded("forget", "--out", out, "--appid", "mistyped", "--yes")
    succeeded("status", "--out", out, "--check")
    again = harvest("forget", "--out", out, "--appid", "mistyped", "--yes")
    assert "the ledger knows no account mistyped" in again.stderr


def test_while_a_run_uses_the_ledger_it_is_refused(wechat: Start, tmp_path: Path) -> None:
    server = wechat()
    year = asked(server.url, ENDPOINT, "2024-01-01", "2024-12-31", "--out", tmp_path)
    with begun(*year, "--rate", "1/s") as run:
        until(lambda: server.simulator.counts["data"])
        done = harvest("forget", "--out", tmp_path, "--appid", A, "--yes")
        run.terminate()
    assert (done.returncode, done.stdout) == (2, "")
    assert "in use" in done.stderr


def forgotten(job: Job, *more: str) -> Done:
    return job.harvester("forget", "--ledger", job.ledger, "--appid", f"wx{3:016x}", *more)


def test_with_several_machines(job: Jobs) -> None:
    one = job(latency=2)
    worker = one.start()
    one.called(3)
    refused = forgotten(one, "--yes")
    assert refused.returncode == 2
    assert "workers of this ledger are running" in refused.stderr
    worker.kill()
    worker.communicate()
    until(lambda: forgotten(one, "--yes").returncode == 0, 20)  # once its lease has expired
    one.server.simulator.latency = 0.0
    assert one.run().returncode == 0
    rows = one.rows(f"SELECT _appid FROM {ENDPOINT}")
    done = forgotten(one, "--yes")
    assert done.returncode == 0, done.stderr
    left = one.rows(f"SELECT _appid FROM {ENDPOINT}")
    account = f"wx{3:016x}"  # what a worker that was frozen still writes is refused
    fence = one.rows(f"SELECT epoch FROM _harvester_fence WHERE account = '{account}'")
    epoch = one.rows(f"SELECT epoch FROM harvester.account WHERE name = '{account}'")
    highest = one.rows("SELECT max(epoch) FROM harvester.account")
    assert fence == epoch == highest
    assert {*rows} - {*left} == {(f"wx{3:016x}",)}
    assert one.harvester("status", "--ledger", one.ledger, "--check").returncode == 0
    assert one.harvester("verify", "--ledger", one.ledger).returncode == 0
    assert one.run().returncode == 0  # under a higher epoch than the one that the sinks know
    one.assert_each_once()
    assert Counter(one.rows(f"SELECT _appid FROM {ENDPOINT}")) == Counter(rows)


def test_a_directory_without_a_ledger_has_nothing_to_forget(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    for more in ((), ("--yes",)):
        done = harvest("forget", "--out", tmp_path, "--appid", A, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert "there is no ledger at" in done.stderr
        assert not tmp_path.exists()
