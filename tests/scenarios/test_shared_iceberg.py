"""Several processes whose ledger is behind a pooler, and whose records are Iceberg."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harvester
from harvester import SinkError
from tests.object_store import KEYS, Store, object_store
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.test_several_machines import (
    ENDPOINT,
    JANUARY,
    accounts,  # noqa: F401  (a fixture)
    database,  # noqa: F401  (a fixture)
    ended,
    kill,
    pooler,
)
from tests.support import Wechat, command, environment, harvest

KNOWN = {"PGPASSWORD": PASSWORD, **KEYS}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A store that runs."""
    with object_store() as made:
        yield made


@pytest.fixture(params=["directory", "bucket"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, store: Store) -> str:
    if request.param == "directory":
        return f"iceberg:{tmp_path / 'lake'}"
    return store.spec("shared/lake")


def started(*given: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*given), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(**KNOWN),
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_processes_behind_a_pooler_one_of_which_is_killed_leave_every_record_once(
    wechat: Callable[..., Wechat],
    postgres: PostgresServer,
    database: str,  # noqa: F811
    accounts: Path,  # noqa: F811
    sink: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in KNOWN.items():
        monkeypatch.setenv(name, value)
    server = wechat(latency=0.1)
    folder = tmp_path / "pooler"
    folder.mkdir()
    with pooler(postgres, folder) as port:
        through = database.replace(f":{postgres.port}/", f":{port}/")
        given = [
            "run", ENDPOINT, *JANUARY, "--accounts", str(accounts), "--base-url", server.url,
            "--rate", "200/s", "--ledger", through, "--sink", sink, "--lease", "2s", "--json",
            "--concurrency", "4",
        ]  # fmt: skip
        killed, *others = [started(*given) for _ in range(4)]
        while server.simulator.counts["data"] < 30:
            time.sleep(0.05)
        kill(killed)
        for status, report, err in [ended(each) for each in others]:
            assert status == 0, err
            assert report["state"] == "complete"
        verified = harvest("verify", "--ledger", through, **KNOWN)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "exactly what was fetched" in verified.stdout
        rows = harvester.read(sink, ENDPOINT, ledger=through).read_all().to_pylist()
        if sink.startswith("iceberg:s3:"):
            with_none = harvester.read(sink, ENDPOINT).read_all()
            assert len(with_none) == len(rows)
        else:
            with pytest.raises(SinkError, match="if the ledger is in a database, name it"):
                harvester.read(sink, ENDPOINT).read_all()
    assert len({(row["_appid"], row["ref_date"]) for row in rows}) == 12 * 31
    assert len({(row["_appid"], row["ref_date"], row["user_source"]) for row in rows}) == len(rows)
    assert store.refused == []
