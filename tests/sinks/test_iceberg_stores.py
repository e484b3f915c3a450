"""Iceberg in an S3-compatible store, behind a door as narrow as that of Aliyun OSS."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import harvester
from harvester import plugins
from harvester.errors import SinkError, UsageError
from harvester.sinks.base import Sink, keep_with
from harvester.testing import check_sink
from tests.object_store import KEYS, Store, object_store
from tests.scenarios.days import DaysOnly
from tests.sinks.test_iceberg import batch
from tests.support import A, harvest

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A store that runs."""
    with object_store() as made:
        yield made


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


async def write(spec: str) -> Sink:
    """A record into that place."""
    sink = plugins.sink(spec)
    await sink.open({})
    await sink.write([batch(0, 1)], {})
    await sink.close()
    return sink


@pytest.mark.parametrize(
    "name",
    [
        "write", "texts", "empty", "repeat", "shorter", "in_one_write", "crash_then_others",
        "without_ledger", "unknown_harvest", "new_ledger", "gone", "two_writers", "scan",
    ],
)  # fmt: skip
def test_the_sink_keeps_its_promise_in_a_bucket(store: Store, name: str, tmp_path: Path) -> None:
    def make(destination: str) -> Sink:
        sink = plugins.sink(store.spec(f"checks/{destination}/deep"))
        keep_with(sink, tmp_path / destination / "ledger.sqlite")
        return sink

    asyncio.run(check_sink(make, only=name))
    assert store.refused == []
    assert not [asked for asked in store.seen if "multipart" in asked]


async def test_the_environment_of_the_program_stays_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    before = dict(os.environ)
    await write(store.spec("environment/x"))
    assert dict(os.environ) == before
    assert store.refused == []


def test_a_harvest_into_a_bucket_is_verified_and_read_and_holds_no_key(
    store: Store, tmp_path: Path
) -> None:
    spec = store.spec("runs/harvest")
    with DaysOnly() as server:
        job = ["run", "getusersummary", "--appid", A, "--start", "2025-01-01", "--end",
               "2025-01-20", "--base-url", server.url, "--out", tmp_path,
               "--sink", spec]  # fmt: skip
        first = harvest(*job, "--json", **KEYS)
        asked_records = json.loads(first.stdout.splitlines()[-1])["records"]
        asked = server.requests
        assert harvest(*job, **KEYS).returncode == 0
        assert server.requests == asked
    assert harvest("verify", "--out", tmp_path, **KEYS).returncode == 0
    done = harvest("maintain", "--out", tmp_path, **KEYS)
    assert done.returncode == 0, done.stderr
    table = harvester.read(spec, "getusersummary").read_all()
    assert len({*table["ref_date"].to_pylist()}) == 20
    assert len(table) == asked_records
    with_ledger = harvester.read(spec, "getusersummary", ledger=tmp_path).read_all()
    assert len(with_ledger) == len(table)
    assert (tmp_path / "runs-harvest.catalog.sqlite").exists()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not any(key.encode() in path.read_bytes() for key in KEYS.values()), path
    assert store.refused == []


async def test_keys_are_taken_from_where_the_spec_says(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MY_ID", KEYS["AWS_ACCESS_KEY_ID"])
    secret = tmp_path / "secret"
    secret.write_text(KEYS["AWS_SECRET_ACCESS_KEY"])
    secret.chmod(0o600)
    spec = f"{store.spec('keys/x')}&access_key=env:MY_ID&secret_key=file:{secret}"
    sink = await write(spec)
    assert sink.identity == spec
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in repr(sink)
    assert len(list(plugins.sink(spec).scan("checked"))) == 1  # type: ignore[attr-defined]


def test_a_bucket_that_is_not_there_is_told_of(store: Store) -> None:
    spec = store.spec("there/x").replace("there", "nowhere")
    with pytest.raises(UsageError, match="there is no bucket nowhere"):
        asyncio.run(plugins.sink(spec).open({}))


async def test_another_ledger_that_began_to_write_is_noticed(store: Store, tmp_path: Path) -> None:
    first, second = (plugins.sink(store.spec("owners/x")) for _ in range(2))
    keep_with(first, tmp_path / "a" / "ledger.sqlite")
    await first.open({})
    await first.write([batch(0, 1)], {})
    await second.open(None)
    with pytest.raises(SinkError, match="belongs to another ledger now"):
        await first.write([batch(1, 2)], {})
    await second.close()
