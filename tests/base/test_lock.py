"""One process a directory, and a claim that dies with its process."""

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.base.lock import FileLock
from harvester.errors import UsageError

HOLD = """
import sys
from pathlib import Path
from harvester.base.lock import FileLock
claim = FileLock(Path(sys.argv[1]), "it")
print("held", flush=True)
sys.stdin.read()
import os
os._exit(1)
"""


def test_a_claim_makes_its_file(tmp_path: Path) -> None:
    claim = FileLock(tmp_path / "x.lock", "it")
    claim.release()
    assert (tmp_path / "x.lock").exists()


def test_what_is_claimed_cannot_be_claimed_again(tmp_path: Path) -> None:
    claim = FileLock(tmp_path / "x.lock", "it")
    with pytest.raises(
        UsageError,
        match=r"^the directory d is in use by another harvester; wait until it"
        r" has ended, or choose another",
    ):
        FileLock(tmp_path / "x.lock", "the directory d")
    claim.release()


def test_what_was_released_can_be_claimed_again(tmp_path: Path) -> None:
    FileLock(tmp_path / "x.lock", "it").release()
    FileLock(tmp_path / "x.lock", "it").release()


def test_a_refused_claim_does_not_end_the_first_one(tmp_path: Path) -> None:
    claim = FileLock(tmp_path / "x.lock", "it")
    for _ in range(2):
        with pytest.raises(UsageError):
            FileLock(tmp_path / "x.lock", "it")
    claim.release()


def test_two_files_can_be_claimed_side_by_side(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "1.lock", "it"), FileLock(tmp_path / "2.lock", "it")
    one.release()
    other.release()


def test_a_file_that_was_left_behind_claims_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("left by somebody")
    FileLock(tmp_path / "x.lock", "it").release()


def test_a_directory_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "nowhere" / "x.lock", "it")


def test_a_claim_holds_against_other_processes_and_dies_with_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(UsageError):
            FileLock(path, "it")
        child.communicate()
    assert child.returncode == 1
    FileLock(path, "it").release()


def test_a_note_is_what_was_written_last(tmp_path: Path) -> None:
    for text in (b"", b"a long note", b"short"):
        claim = FileLock(tmp_path / "lock", "it")
        claim.note(text)
        claim.release()
        assert (tmp_path / "lock").read_bytes() == text
