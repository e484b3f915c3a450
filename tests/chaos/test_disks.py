"""A disk that is full, or turns read-only: status 4, one sentence, and nothing is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harvester.cli.commands import invoke
from tests.chaos.crash.sinks import FILES
from tests.chaos.harvests import Sudden, assert_the_truth, job
from tests.chaos.small_disks import Ext4, LongestFile, SmallDisk, Tmpfs, read_only_disk, small_disk
from tests.support import Wechat, sentences

pytestmark = pytest.mark.thorough

FULL = re.compile(r"the disk is full|disk I/O error")  # SQLite does not tell a limit by its name
READ_ONLY = re.compile(
    r"Read-only file system|Input/output error|disk I/O error|readonly|the disk is full"
)
ROOM = {Tmpfs: (4, 64, 92, 108, 160, 240), LongestFile: (0, 40, 56, 72, 120, 240)}
"""Kilobytes; between them lie the making of the ledger, that of the sink, and its growth."""


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_SECRET", "practice")


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of which one can say how much room it has."""
    with small_disk(request.param, tmp_path) as made:
        yield made


def full(
    disk: SmallDisk, job: list[str], kilobytes: int, capsys: pytest.CaptureFixture[str]
) -> bool:
    """Whether a run with so much room came to an end for want of it, as it should."""
    disk.leave(kilobytes)
    try:
        status = invoke(job)
    finally:
        disk.free()
    out, said = capsys.readouterr()
    assert "Traceback" not in said
    if status == 0:
        return False
    assert status == 4, said
    assert not out or json.loads(out.splitlines()[-1])["state"] == "failed"
    [sentence] = sentences(said)
    assert FULL.search(sentence)
    assert "is lost: " in sentence
    assert sentence.endswith("run the same command again")
    if "the disk is full" in sentence:
        cure = "fix the cause" if "the database " in sentence else "free some space"
        assert sentence.endswith(f"{cure} and run the same command again")
    return True


@pytest.mark.sampled
@pytest.mark.parametrize("sink", FILES)
def test_a_full_disk_ends_with_4_wherever_it_is_met_and_nothing_is_lost(
    wechat: Callable[..., Wechat], disk: SmallDisk, sink: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = wechat()
    met = 0
    for kilobytes in ROOM[type(disk)]:
        home = disk.place / str(kilobytes)
        todo = job(server, home, sink)
        if not full(disk, todo, kilobytes, capsys):
            break
        met += 1
        full(disk, todo, kilobytes // 2, capsys)  # another one, which may have enough
        if (home / "ledger.sqlite").exists():
            assert invoke(["status", "--out", str(home)]) == 0
            assert invoke(["verify", "--out", str(home)]) in (0, 2)  # nothing to verify, perhaps
        assert invoke(todo) == 0, capsys.readouterr().err
        assert_the_truth(server, home, sink)
        capsys.readouterr()
    assert met >= 3


def test_no_room_for_a_new_ledger_leaves_the_former_one_and_all_that_is_stored(
    wechat: Callable[..., Wechat], disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    server = wechat()
    home = disk.place / "harvest"
    assert invoke(job(server, home)) == 0
    before = (home / "ledger.sqlite").read_bytes()
    capsys.readouterr()
    statuses = set()
    for kilobytes in (0, 12, 40, 64, 4000):
        disk.leave(kilobytes)
        try:
            status = invoke(["rebuild", "--out", str(home)])
        finally:
            disk.free()
        statuses.add(status)
        if status:
            assert status == 4
            assert FULL.search(capsys.readouterr().err)
            assert (home / "ledger.sqlite").read_bytes() == before
    assert statuses == {0, 4}
    assert invoke(job(server, home)) == 0
    assert_the_truth(server, home)


# a disk that turns read-only


@pytest.mark.parametrize("sink", [each for each in FILES if each != "zstd"])
def test_a_disk_that_turns_read_only_in_the_midst_of_a_run_loses_nothing(
    tmp_path: Path, sink: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Sudden()
    with read_only_disk(tmp_path) as disk, Wechat(simulator) as server:
        home = disk.place / "harvest"
        simulator.happens = disk.turn_read_only
        assert invoke(job(server, home, sink, "100/s")) == 4
        said = capsys.readouterr().err
        [sentence] = sentences(said)
        assert READ_ONLY.search(sentence)
        assert sentence.endswith("run the same command again")
        assert "Traceback" not in said
        # Looking is allowed; nothing can be done.
        assert invoke(["status", "--out", str(home)]) == 0
        if isinstance(disk, Ext4):
            assert invoke(job(server, home, sink)) == 2
            assert "cannot be written (Read-only file system)" in capsys.readouterr().err
        disk.mend()
        capsys.readouterr()
        assert invoke(["verify", "--out", str(home)]) == 0
        assert ": 0 records" not in capsys.readouterr().out
        assert invoke(job(server, home, sink)) == 0
        assert_the_truth(server, home, sink)
