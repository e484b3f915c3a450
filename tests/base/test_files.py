from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.base import files as durable


@pytest.fixture
def steps() -> Iterator[list[tuple[str, bool]]]:
    seen: list[tuple[str, bool]] = []
    durable.watch(lambda name, done: seen.append((name, done)))
    yield seen
    durable.watch(None)


def test_a_step_is_told_before_and_after(steps: list[tuple[str, bool]]) -> None:
    with durable.step("commit something"):
        assert steps == [("commit something", False)]
    assert steps == [("commit something", False), ("commit something", True)]


def test_a_step_that_fails_is_not_told_as_taken(steps: list[tuple[str, bool]]) -> None:
    with pytest.raises(OSError, match="full"), durable.step("commit something"):
        raise OSError("full")
    assert steps == [("commit something", False)]


def test_nobody_needs_to_watch(tmp_path: Path) -> None:
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    durable.write(descriptor, b"12345", "file")
    durable.sync(descriptor, "file")
    durable.truncate(descriptor, 3, "file")
    os.close(descriptor)
    assert path.read_bytes() == b"123"


def test_a_rename_takes_the_place_of_what_is_there(
    tmp_path: Path, steps: list[tuple[str, bool]]
) -> None:
    for name in ("new", "old"):
        (tmp_path / name).write_text(name)
    durable.rename(tmp_path / "new", tmp_path / "old", "file")
    assert (tmp_path / "old").read_text() == "new"
    durable.remove(tmp_path / "old", "file")
    assert not list(tmp_path.iterdir())
    assert [name for name, done in steps if done] == ["rename file", "remove file"]


def test_a_write_goes_on_where_the_system_took_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = bytearray()

    def one_byte(_: int, data: memoryview) -> int:
        taken.extend(data[:1])
        return 1

    monkeypatch.setattr(os, "write", one_byte)
    durable.write(0, b"abc", "file")
    assert taken == b"abc"


def test_pieces_are_written_in_order_however_many_and_go_on_where_the_system_took_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [f"{number}\n".encode() for number in range(3000)]
    whole = b"".join(pieces)
    with (tmp_path / "whole").open("wb") as file:
        durable.write_pieces(file.fileno(), pieces, "file")
    assert (tmp_path / "whole").read_bytes() == whole
    monkeypatch.setattr(os, "writev", lambda descriptor, some: os.write(descriptor, some[0][:1]))
    with (tmp_path / "parts").open("wb") as file:
        durable.write_pieces(file.fileno(), pieces, "file")
    assert (tmp_path / "parts").read_bytes() == whole


def test_who_asks_for_room_is_told_by_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert durable.has_room(tmp_path)
    assert durable.has_room(tmp_path / "nowhere")
    found = os.statvfs_result((4096, 4096, 10, 5, 0, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert not durable.has_room(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_has_several_numbers(number: int) -> None:
    assert durable.is_full(OSError(number, "x"))
    assert not durable.is_full(OSError(errno.EROFS, "x"))


# macOS, by a fake of fcntl


class Fcntl:
    """The module as macOS has it; refuses: a file system that has no full sync."""

    F_FULLFSYNC = 51

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses
        self.calls: list[int] = []

    def fcntl(self, descriptor: int, command: int) -> int:
        assert os.fstat(descriptor)
        self.calls.append(command)
        if self.refuses:
            raise OSError(errno.ENOTSUP, "not supported")
        return 0


@pytest.mark.parametrize("refuses", [False, True])
def test_where_fsync_does_not_reach_the_disk_it_is_told_to(
    refuses: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, plain = Fcntl(refuses=refuses), list[int]()
    monkeypatch.setattr(durable, "fcntl", system)
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, plain.append)
    durable.replace_file(tmp_path / "a", b"12345", "file")  # the file and its directory
    with (tmp_path / "a").open("r+b") as file:
        durable.truncate(file.fileno(), 3, "file")
    assert system.calls == [Fcntl.F_FULLFSYNC] * 3
    assert len(plain) == (3 if refuses else 0)
