"""Exports of each kind of sink, beside a run and afterwards, by the library and the command."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import Reply, Simulator
from tests.builders import harvested
from tests.exports.support import USERS, tables
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.support import command, environment

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
LATER = ("2026-01-20", "2026-02-10")
APPIDS = [f"wx{number:016x}" for number in range(8)]


class Changing(Simulator):
    """A simulated WeChat whose figures are others with every answer."""

    answers = 0

    def handle(self, *request: Any) -> Reply:
        type(self).answers += 1
        return super().handle(*request)

    def _thinned(self, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**row, "new_user": self.answers} if "new_user" in row else row
            for row in super()._thinned(name, rows)
        ]


@pytest.fixture(params=["jsonl", "sqlite", "postgresql", *[
    pytest.param(kind, marks=pytest.mark.nightly) for kind in ("jsonl?compress=gzip", "mysql")
]])  # fmt: skip
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A sink of each kind."""
    kind, _, option = request.param.partition("?")
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url(server.new_database())
    if kind == "mysql":
        other: MySQLServer = request.getfixturevalue("mysql")
        return other.url(other.new_database())
    mark = "?" if option else ""
    return f"{kind}:{tmp_path}/out{'.db' * (kind == 'sqlite')}{mark}{option}"


def _run(spec: str, ledger: Path) -> harvester.Report:
    return harvested(spec, *APPIDS, days=LATER, ledger=ledger, refresh=True, simulator=Changing())


def _sorted(target: str) -> dict[str, list[dict[str, Any]]]:
    return {name: sorted(rows, key=str) for name, rows in tables(target).items()}


def _called(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("export", *arguments),
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.sampled
def test_exports_beside_a_run_are_whole_and_the_last_one_is_equal(
    tmp_path: Path, spec: str
) -> None:
    ledger, (first, second) = tmp_path / "ledger.sqlite", [f"{kind}:{tmp_path}/{kind}" for kind in
                                                          ("parquet", "duckdb")]  # fmt: skip
    assert _run(spec, ledger).state == "complete"
    enough = threading.Event()
    failed: list[BaseException] = []

    def again() -> None:
        try:
            while not enough.is_set():
                _run(spec, ledger)
        except BaseException as exc:
            failed.append(exc)
            raise

    thread = threading.Thread(target=again)
    thread.start()
    where = ("--from", spec, "--ledger", ledger)
    try:
        for number in range(6):
            harvester.export(spec, first, ledger=ledger)
            done = _called(tmp_path, second, *where) if number % 3 == 0 else None
            assert done is None or done.returncode == 0, done.stderr
    finally:
        enough.set()
        thread.join()
    assert not failed
    for target in (first, second):
        done = _called(tmp_path, target, *where)
        assert done.returncode == 0, done.stderr
        assert _called(tmp_path, target, *where, "--check").returncode == 0
        kind, _, place = target.partition(":")
        anew = f"{kind}:{place}.anew"
        harvester.export(spec, anew, ledger=ledger)
        found = _sorted(target)
        assert found == _sorted(anew)
        assert len(found[USERS]) == harvester.read(spec, USERS, ledger=ledger).read_all().num_rows
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"practice" not in path.read_bytes(), path


def test_a_shared_ledger_is_exported_from_any_machine(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    urls = [postgres.url(postgres.new_database()) for _ in range(2)]
    for url in urls:
        harvested(url, *APPIDS, days=LATER, ledger=url)
    target = f"csv:{tmp_path}/csv"
    written = harvester.export(urls[0], target, ledger=urls[0]).written
    done = subprocess.run(
        command("export", target, "--check", "--ledger", urls[0], "--from", urls[0]),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "is equal to postgresql://" in done.stdout) == (0, True), done.stderr
    assert harvester.export(urls[0], target, ledger=urls[0]).kept == written > 0
    with pytest.raises(harvester.UsageError, match="another harvest"):
        harvester.export(urls[1], target, ledger=urls[1])
    assert {*tables(target)} >= {USERS}
