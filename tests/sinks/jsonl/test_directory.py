"""The directory of JSON lines: locked by one process, with a state and files that outlive it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harvester.errors import SinkError, UsageError
from harvester.sinks.jsonl.directory import (
    DRAFT,
    NAME,
    STATE,
    Directory,
    State,
    endpoint_of,
    is_journal,
    journal_of,
)
from tests.sinks.small_ledger import ENDPOINT, batch

LINES = batch(1, 1).lines()


def test_a_state_is_read_by_the_next_one_and_the_lock_is_given_back(tmp_path: Path) -> None:
    one = Directory(tmp_path / "made")
    one.lock()
    assert one.is_locked
    assert one.state() is None
    for state in (State("harvest", 7, 12_345), State("harvest", 7), State("", 0, 0)):
        one.store(state)
        assert Directory(one.path).state() == state
    with pytest.raises(UsageError):
        Directory(one.path).lock()
    one.unlock()
    assert not one.is_locked
    Directory(one.path).lock()
    assert sorted(path.name for path in one.path.iterdir()) == [".jsonl.lock", STATE]
    assert (one.path / ".jsonl.lock").read_bytes() == b""


@pytest.mark.parametrize(
    "note",
    [b"", b"\0" * 60, b'{"format":3,"own', b"[1]", b'"text"', b"{}",
     b'{"format":3,"owner":"a","number":"x","whole":null}'],
)  # fmt: skip
def test_a_damaged_state_names_the_command_that_makes_it_anew(note: bytes, tmp_path: Path) -> None:
    directory = Directory(tmp_path / "it is here")
    directory.path.mkdir()
    (directory.path / STATE).write_bytes(note)
    command = rf"harvester rebuild --out '{directory.path}' \(with --ledger"
    with pytest.raises(SinkError, match=rf"jsonl\.state is damaged; {command}"):
        directory.state()
    assert directory.state(lenient=True) is None


@pytest.mark.parametrize("lenient", [False, True])
def test_another_version_is_refused(lenient: bool, tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    for note, whose in (
        (
            b'{"format":2,"owner":"a"}',
            "continue; a harvester older than the first release wrote it;",
        ),
        (b'{"format":4}', "continue; a newer version of harvester wrote it: use that version"),
    ):
        (tmp_path / STATE).write_bytes(note)
        with pytest.raises(UsageError, match=f"of another version of harvester, .*{whose}"):
            directory.state(lenient=lenient)


def test_names_tell_the_interface_and_a_journal() -> None:
    for name in ("a/2024-03.jsonl.gz", "a/2024.jsonl", "a/2024.jsonl.zst"):
        assert NAME.fullmatch(name)
        assert endpoint_of(name) == "a"
        assert not is_journal(name)
    assert is_journal(journal_of("a"))
    assert endpoint_of(journal_of("a")) == "a"
    for name in ("a/../2024.jsonl", "a/2024-03-backup.jsonl", "2024.jsonl", "a/.2024.jsonl.tmp"):
        assert not NAME.fullmatch(name)


@pytest.mark.parametrize(
    ("content", "ours", "perhaps"),
    [
        (LINES, True, True),
        (b"\0" * 99 + LINES, True, True),
        (b'{"title":"' + b"x" * (1 << 21) + b'",' + LINES[1:], True, True),
        (batch(1, 1, name="other").lines(), False, False),
        (b'{"n":1,"_appid":"a","_begin_date":"never"}\n', False, True),
        (b'{"hello":"world"}\n', False, False),
        (b"", False, False),
    ],
    ids=["ours", "torn", "long", "of another interface", "no metadata", "theirs", "empty"],
)
def test_a_file_is_ours_by_its_content(
    content: bytes, ours: bool, perhaps: bool, tmp_path: Path
) -> None:
    directory = Directory(tmp_path)
    (tmp_path / ENDPOINT).mkdir()
    packed = gzip.compress(content)
    for name, text in (("2024.jsonl", content), ("2024.jsonl.gz", packed)):
        name = f"{ENDPOINT}/{name}"
        (tmp_path / name).write_bytes(text)
        assert directory.is_ours(name) is ours
        assert directory.is_ours(name, damaged=True) is perhaps
    (tmp_path / name).write_bytes(b"no gzip")
    assert not directory.is_ours(name)
    assert directory.is_ours(name, damaged=True)
    assert not directory.is_ours(f"{ENDPOINT}/2031.jsonl")


def test_what_comes_after_the_first_megabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ENDPOINT).mkdir()
    (tmp_path / ENDPOINT / "2024.jsonl").write_bytes(b'{"a":1}\n' * (1 << 18) + LINES)
    assert not Directory(tmp_path).is_ours(f"{ENDPOINT}/2024.jsonl", damaged=True)


def test_files_of_an_interface_are_found_by_their_names(tmp_path: Path) -> None:
    names = ["a/2024.jsonl", "a/2025-01.jsonl.gz", "b/2024.jsonl", ".a.replaced"]
    for name in (*names, "a/notes.jsonl", "2024.jsonl", ".b.replaced~", "c/d/2024.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / ".c.replaced").mkdir()
    (tmp_path / "a" / "2026.jsonl").mkdir()
    directory = Directory(tmp_path)
    assert directory.names() == [".a.replaced", *names[:3]]
    assert directory.names("a") == [".a.replaced", *names[:2]]
    assert directory.names("b") == ["b/2024.jsonl"]
    assert Directory(tmp_path / "nothing").names() == []


def test_a_draft_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    (tmp_path / DRAFT).write_bytes(b"left by a killed process")
    with directory.draft("a/2024.jsonl") as draft:
        draft.write(b"one\n")
        assert not (tmp_path / "a" / "2024.jsonl").exists()
    assert (tmp_path / "a" / "2024.jsonl").read_bytes() == b"one\n"
    with pytest.raises(SinkError), directory.draft("a/2024.jsonl") as draft:
        draft.write(b"two\n")
        raise SinkError("the disk is full")
    assert (tmp_path / "a" / "2024.jsonl").read_bytes() == b"one\n"
    assert not directory.drafts()


def test_lines_are_added_behind_what_counts(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    (tmp_path / "x").write_bytes(b"one\ntorn")
    assert directory.append("x", 4, [b"two\n", b"three\n"]) == 14
    assert (tmp_path / "x").read_bytes() == b"one\ntwo\nthree\n"
    directory.cut("x", 8)
    directory.cut("x", 100)
    assert (tmp_path / "x").read_bytes() == b"one\ntwo\n"
    directory.remove("x")
    directory.remove("x")
    assert not (tmp_path / "x").exists()


def test_the_command_can_be_typed(tmp_path: Path) -> None:
    assert Directory(tmp_path / "a b").command == f"harvester rebuild --out '{tmp_path}/a b'"
    state = Directory(tmp_path)
    state.store(State("a", 1, None))
    assert json.loads((tmp_path / STATE).read_bytes()) == {
        "format": 3, "owner": "a", "number": 1, "whole": None
    }  # fmt: skip
