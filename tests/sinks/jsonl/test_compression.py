"""How lines are packed: what comes back, how much of a file is whole, and what is damaged."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from harvester.errors import SinkError
from harvester.sinks.jsonl.compression import COMPRESSIONS, Plain, compression_of

LINES = [b'{"n":%d}\n' % number for number in range(1000)]


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_members_come_back_as_one_and_a_torn_one_is_not_counted(name: str, tmp_path: Path) -> None:
    made = COMPRESSIONS[name]()
    first, second = made.pack(LINES[:400]), made.pack(LINES[400:])
    path = tmp_path / "x"
    path.write_bytes(first + second)
    with path.open("r+b", buffering=0) as file:
        assert b"".join(made.pieces(file, len(first + second))) == b"".join(LINES)
        assert b"".join(made.pieces(file, len(first))) == b"".join(LINES[:400])
        assert made.whole(file) == len(first + second)
        file.truncate(len(first + second) - 3)
        whole = len(first) + second[:-3].rfind(b"\n") + 1 if not name else len(first)
        assert made.whole(file) == whole
        file.truncate(0)
        assert made.whole(file) == 0


@pytest.mark.parametrize("name", [name for name in COMPRESSIONS if name])
def test_a_damaged_member_and_one_that_ends_early_are_reported(name: str, tmp_path: Path) -> None:
    made = COMPRESSIONS[name]()
    text = [random.Random(1).randbytes(5000)]
    packed = made.pack(text)
    path = tmp_path / "x"
    for damaged in (packed[:-2], b"plain" + packed):
        path.write_bytes(damaged)
        with path.open("rb", buffering=0) as file, pytest.raises(SinkError, match="is damaged"):
            b"".join(made.pieces(file, os.path.getsize(path)))


def test_the_name_of_a_file_decides_how_it_is_read() -> None:
    assert type(compression_of("a/2024-01.jsonl")) is Plain
    for made in COMPRESSIONS.values():
        assert type(compression_of(f"a/2024-01.jsonl{made.suffix}")) is made
