"""The note of an export's files: only these are replaced or removed, and damages are found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.exports.base import Exported
from harvester.exports.folder import Folder
from harvester.exports.noted import NOTE
from tests.exports.support import (
    FIRST,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)

FOLDERS = ("parquet:{}/pq", "csv:{}/csv")
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "one byte in the middle": lambda data: (
        data[: len(data) // 2] + b"~" + data[len(data) // 2 + 1 :]
    ),
    "the last byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "the end cut off": lambda data: data[:-9],
    "bytes more": lambda data: data + b"more",
    "emptied": lambda _: b"",
    "zeros": lambda data: bytes(len(data)),
    "removed": lambda _: None,
}


def file_of_users(tmp_path: Path, target: str) -> Path:
    if target.startswith("csv"):
        return tmp_path / "csv" / f"{USERS}.csv"
    return tmp_path / "pq" / USERS / "2026-01.parquet"


@pytest.mark.thorough
@pytest.mark.parametrize("target", FOLDERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_differs_and_is_written_anew(
    tmp_path: Path, target: str, damage: str
) -> None:
    spec, sink = target.format(tmp_path), few()
    do(sink, spec)
    right, path = tables(spec), file_of_users(tmp_path, target)
    damaged = DAMAGES[damage](path.read_bytes())
    path.unlink() if damaged is None else path.write_bytes(damaged)
    assert not equal(sink, spec)
    assert do(sink, spec).written == (1 if target.startswith("parquet") else 2)
    assert tables(spec) == right
    assert equal(sink, spec)
    assert do(sink, spec) == Exported(kept=4)


@pytest.mark.parametrize("target", FOLDERS)
def test_a_damaged_file_of_what_the_sink_no_longer_has_is_removed(
    tmp_path: Path, target: str
) -> None:
    spec, path = target.format(tmp_path), file_of_users(tmp_path, target)
    do(few(), spec)
    path.write_bytes(b"damaged")
    left = harvest(articles(FIRST))
    assert not equal(left, spec)
    do(left, spec)
    assert not path.exists()
    assert equal(left, spec)


@pytest.mark.parametrize("target", FOLDERS)
def test_files_of_others_stay_whatever_they_are_called(tmp_path: Path, target: str) -> None:
    spec, sink, home = target.format(tmp_path), few(), file_of_users(tmp_path, target).parents[0]
    do(sink, spec)
    folder = Path(spec.partition(":")[2])
    mine = [
        folder / "getuserread" / "2026-01.parquet",
        folder / USERS / "2025-01.parquet",
        folder / "getuserread.csv",
        folder / ".mine.part",
        folder / f".{USERS}.part",
        folder / ".mine.csv.new",
        home / ".2026-01.parquet.new",
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"written by another program at this moment")
    harvest(users(FIRST, 0, 99), sink=sink)
    do(sink, spec)
    do(harvest(articles(FIRST)), spec, replace=True)
    assert {path.read_bytes() for path in mine} == {b"written by another program at this moment"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".harvester.new")]


@pytest.mark.parametrize("target", FOLDERS)
@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"harvest": "", "files": {"a": 1}}'])
def test_a_target_without_its_note_is_refused_and_not_overwritten(
    tmp_path: Path, target: str, note: bytes
) -> None:
    spec, path = target.format(tmp_path), file_of_users(tmp_path, target)
    do(few(), spec)
    before = path.read_bytes()
    (Path(spec.partition(":")[2]) / ".harvester.json").write_bytes(note)
    assert not equal(few(), spec)
    with pytest.raises(
        UsageError,
        match=r"is not an export of harvester|is damaged, so it is not known which files belong",
    ):
        do(few(), spec)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../mine/2026-01.parquet", "/tmp/x.csv", "../mine.csv", "mine"])
def test_a_note_removes_nothing_outside_of_its_directory(tmp_path: Path, name: str) -> None:
    for target in FOLDERS:
        spec = target.format(tmp_path)
        folder = Path(spec.partition(":")[2])
        folder.mkdir()
        mine = folder / name
        mine.parent.mkdir(exist_ok=True, parents=True)
        mine = tmp_path / "mine.csv" if name.startswith("/") else mine
        mine.write_text("mine")
        months = {"2026-01": ["a", 0, 4]}
        note = json.dumps({"harvest": "", "files": {name: [4, "", months]}})
        (folder / ".harvester.json").write_text(note)
        do(few(), spec)
        assert mine.read_text() == "mine"


def test_parquet_and_csv_share_a_directory(tmp_path: Path) -> None:
    specs, sink = [f"parquet:{tmp_path}/x", f"csv:{tmp_path}/x"], few()
    for spec in specs:
        do(sink, spec)
    harvest(users(FIRST, 0, 99), sink=sink)
    for spec in specs:
        assert do(sink, spec) == Exported(written=1, kept=3, rows=8)
    for spec in specs:
        assert equal(sink, spec)
        assert do(sink, spec) == Exported(kept=4)


def test_a_note_that_is_read_while_it_is_replaced_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store may give the first part of an object that another export replaces."""
    spec, sink, read, cut = f"parquet:{tmp_path}/p", few(), Folder.read, [20, 30]

    def partly(self: Folder, name: str) -> bytes:
        data = read(self, name)
        return data[: cut.pop()] if name == NOTE and cut else data

    do(sink, spec)
    monkeypatch.setattr(Folder, "read", partly)
    assert do(sink, spec).written == 0
    assert cut == []
