"""Iceberg in an S3-compatible store, behind a proxy as strict as Aliyun OSS."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import StaticTable

from harvester.errors import ExportError
from harvester.exports.base import Exported
from harvester.exports.iceberg import Iceberg
from harvester.exports.targets import open_target
from harvester.sinks.memory import MemorySink
from tests.exports.support import ARTICLES, FIRST, USERS, do, equal, few, harvest, tables, users
from tests.object_store import KEYS, REGION, Store, object_store

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


def in_bucket(spec: str, *names: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of the state that the hint of each table names."""
    target = open_target(spec)
    assert isinstance(target, Iceberg)
    files, found = target._files, {}
    for name in names:
        hint = files.get(f"{name}/metadata/version-hint.text").decode()
        properties = {key: value for key, value in files.properties.items() if value}
        place = f"{files.root}/{name}/metadata/{hint}.metadata.json"
        rows = StaticTable.from_metadata(place, properties).scan().to_arrow().to_pylist()
        found[name] = sorted(rows, key=lambda r: (r["_begin_date"], r["_appid"], r.get("_row", 0)))
    return found


async def at_the_same_time(sinks: list[MemorySink], spec: str) -> None:
    """Export each, whatever becomes of it."""
    each = [asyncio.to_thread(do, sink, spec) for sink in sinks]
    await asyncio.gather(*each, return_exceptions=True)


@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_a_bucket_is_made_equal_to_the_sink_by_plain_requests(
    store: Store, tmp_path: Path, shape: str
) -> None:
    spec, sink = store.spec(f"plain-{shape}/deep/er") + f"&shape={shape}", few()
    assert do(sink, spec).written == 4
    assert equal(sink, spec)
    assert do(sink, spec) == Exported(kept=4)
    harvest(users(FIRST, 0, 99), users(date(2026, 5, 1)), sink=sink)
    assert not equal(sink, spec)
    assert do(sink, spec).written == 2
    do(sink, local := f"iceberg:{tmp_path}/local?shape={shape}")
    wanted = tables(local)
    assert in_bucket(spec, *wanted) == wanted
    assert store.refused == []
    assert not [asked for asked in store.seen if "multipart" in asked]


def test_months_that_are_gone_are_removed_from_a_bucket(store: Store) -> None:
    spec = store.spec("gone/x")
    do(few(), spec)
    assert do(harvest(users(date(2026, 2, 1))), spec, replace=True).written == 1
    found = in_bucket(spec, USERS, ARTICLES)
    assert {str(row["_begin_date"]) for row in found[USERS]} == {"2026-02-01"}
    assert found[ARTICLES] == []


def test_a_hint_that_a_killed_export_left_behind_is_mended(store: Store) -> None:
    spec, sink = store.spec("hint/x"), few()
    do(sink, spec)
    target = open_target(spec)
    assert isinstance(target, Iceberg)
    name = f"{USERS}/metadata/version-hint.text"
    right = target._files.get(name)
    target._files.put(name, b"older")
    assert do(sink, spec) == Exported(kept=4)
    assert target._files.get(name) == right


def test_the_environment_of_the_program_stays_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    before = dict(os.environ)
    do(few(), store.spec("environment/x"))
    assert dict(os.environ) == before
    assert store.refused == []


def test_keys_are_taken_from_where_the_spec_says(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MY_ID", KEYS["AWS_ACCESS_KEY_ID"])
    secret = tmp_path / "secret"
    secret.write_text(KEYS["AWS_SECRET_ACCESS_KEY"])
    secret.chmod(0o600)
    spec = f"{store.spec('keys/x')}&access_key=env:MY_ID&secret_key=file:{secret}"
    assert do(few(), spec).written == 4
    assert equal(few(), spec)
    target = open_target(spec)
    assert not [key for key in KEYS.values() if key in f"{target!r} {target.identity}"]


@pytest.mark.parametrize(
    ("bucket", "why"),
    [("nowhere", "there is no bucket nowhere"), ("ABC_", "could not be read or written")],
)
def test_a_bucket_that_is_not_there_is_reported(bucket: str, why: str, store: Store) -> None:
    spec = f"iceberg:s3://{bucket}/x?endpoint={store.endpoint}&region={REGION}"
    with pytest.raises(ExportError, match=why):
        do(few(), spec)


def test_a_store_that_does_not_answer_is_reported(store: Store) -> None:
    spec = re.sub(r"endpoint=[^&]+", "endpoint=http://127.0.0.1:9", store.spec("closed/x"))
    with pytest.raises(ExportError, match="could not be read or written"):
        do(few(), spec)


def test_two_exports_at_the_same_time_do_not_mix(store: Store) -> None:
    spec, sinks = store.spec("two/x"), [few(), harvest(users(FIRST, 0, 55), sink=few())]
    do(sinks[0], spec)

    for number, sink in enumerate(sinks):
        harvest(users(FIRST, 1, 70 + number), sink=sink)
    asyncio.run(at_the_same_time(sinks, spec))
    do(sinks[1], spec)
    assert equal(sinks[1], spec)
    rows = in_bucket(spec, USERS)[USERS]
    key = [(row["_appid"], row["_begin_date"], row["_row"]) for row in rows]
    assert len(key) == len({*key}) == 16
    assert 71 in [row["new_user"] for row in rows]
