"""What is particular to tokens in files."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from harvester.base.lock import FileLock
from harvester.errors import AttemptError, UsageError
from harvester.model import Stored
from harvester.tokens.stores import FileStore, files

ONE = Stored("one-s3cret-value", time.time() + 7200.0, 7200.0)
TWO = Stored("two-s3cret-value", time.time() + 7200.0, 7200.0)


async def put(
    path: Path | str, key: str = "wx1", stored: Stored = ONE, former: Stored | None = None
) -> None:
    store = FileStore(path)
    assert await store.replace(key, former, stored)
    await store.close()


async def loaded(path: Path | str) -> Stored | None:
    store = FileStore(path)
    try:
        return await store.load("wx1")
    finally:
        await store.close()


async def test_one_file_holds_all_accounts_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    await put(path)
    await put(path, "wx2", TWO)
    assert {key: one["token"] for key, one in json.loads(path.read_text()).items()} == {
        "wx1": ONE.value,
        "wx2": TWO.value,
    }
    assert {entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == {0o600}


async def test_a_directory_is_made_for_its_owner_with_a_file_an_account(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "tokens"
    await put(f"{folder}/")
    await put(folder, "wx2", TWO)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.glob("*.json")) == ["wx1.json", "wx2.json"]
    assert {entry.stat().st_mode & 0o777 for entry in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o606])
async def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my tokens.json"
    await put(path)
    path.chmod(mode)
    with pytest.raises(UsageError) as caught:
        FileStore(path)
    said = f"the token store {path} is open to others; run: chmod 600 '{path}'"
    assert str(caught.value) == said


async def test_a_file_that_is_opened_to_others_later_is_refused_too(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "t")
    await store.replace("wx1", None, ONE)
    (tmp_path / "t").chmod(0o644)
    for verb in (store.load("wx1"), store.replace("wx1", ONE, TWO)):
        with pytest.raises(UsageError, match="chmod 600"):
            await verb
    await store.close()


def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o750)
    with pytest.raises(UsageError, match=rf"run: chmod 700 {tmp_path}/d$"):
        FileStore(tmp_path / "d")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"s3cret", b'{"wx1":{"token":"s3cret","ends"', b'{"wx1":{"token":5}}',
     b'{"wx1":{"token":"s3cret","ends":"x","lifetime":1}}', b"\xff\x00s3cret", b'{"wx1":"s3cret"}'],
)  # fmt: skip
def test_a_torn_or_foreign_file_is_one_sentence_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        FileStore(path)
    assert str(caught.value) == f"{path} is not a token store; name another file, or remove it"
    assert path.read_bytes() == content


async def test_a_torn_file_of_one_account_is_told_when_it_is_read(tmp_path: Path) -> None:
    await put(f"{tmp_path}/d/")
    (tmp_path / "d" / "wx1.json").write_bytes(b"{")
    with pytest.raises(UsageError, match=r"wx1\.json is not a token store"):
        await loaded(tmp_path / "d")


def test_where_there_is_no_directory_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^token store: there is no directory {tmp_path}/no$"):
        FileStore(tmp_path / "no" / "t")


async def test_a_write_that_was_killed_leaves_the_former_file(tmp_path: Path) -> None:
    await put(tmp_path / "t")
    left = tmp_path / f".t.{os.getpid()}.new"
    left.write_bytes(b"{half")
    assert await loaded(tmp_path / "t") == ONE
    await put(tmp_path / "t", stored=TWO, former=ONE)
    assert await loaded(tmp_path / "t") == TWO
    assert not left.exists()


async def test_a_write_waits_for_another_one_and_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path / "t")
    claim = FileLock(tmp_path / "t.lock", "")
    writing = asyncio.create_task(store.replace("wx1", None, ONE))
    await asyncio.sleep(0.1)
    assert not writing.done()
    claim.release()
    assert await writing
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    claim = FileLock(tmp_path / "t.lock", "")
    with pytest.raises(AttemptError, match=r"a suspended process has locked the token store"):
        await store.replace("wx1", ONE, TWO)
    claim.release()
    await store.close()


@pytest.mark.thorough
async def test_a_lease_that_its_holder_does_not_give_back_goes_to_one_of_those_who_wait(
    tmp_path: Path,
) -> None:
    stuck = FileStore(tmp_path / "t", lease=0.3)
    inside = most = taken = 0

    async def fetch() -> None:
        nonlocal inside, most, taken
        mine = FileStore(tmp_path / "t", lease=0.3)
        async with mine.lease("wx1"):
            inside, taken = inside + 1, taken + 1
            most = max(most, inside)
            await asyncio.sleep(0.05)
            inside -= 1
        await mine.close()

    async with stuck.lease("wx1"):
        async with asyncio.timeout(10):
            await asyncio.gather(*[fetch() for _ in range(5)])
    async with asyncio.timeout(5), stuck.lease("wx1"):
        pass
    await stuck.close()
    assert (taken, most) == (5, 1)


async def test_a_disk_that_fails_is_a_failed_attempt(tmp_path: Path) -> None:
    store = FileStore(f"{tmp_path}/d/")
    (tmp_path / "d" / "wx1.json").mkdir()
    with pytest.raises(AttemptError, match=r"^the token store .*/d cannot be used \(.+\)$"):
        await store.load("wx1")
    await store.close()
