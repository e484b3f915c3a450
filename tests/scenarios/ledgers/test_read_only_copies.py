"""A copy of a harvest that cannot be written: status, verify, plan and read work there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.command import Done, Start, asked, begun, program, succeeded, until
from tests.support import A, harvest

pytestmark = pytest.mark.thorough

JANUARY = ("2024-01-01", "2024-01-31")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A directory that cannot be written, by root neither, whom no permission bits hold off."""
    if os.geteuid():
        modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        try:
            yield
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    if subprocess.run(["mount", "--bind", folder, folder], check=False).returncode:
        pytest.skip("root, who may not mount here, has no directory that he cannot write")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


READ = """
import sys, harvester, pyarrow
print(pyarrow.table(harvester.read(sys.argv[1], "getusersummary")).num_rows)
"""


@pytest.mark.parametrize("kind", ["jsonl:{}", "sqlite:{}/x.db"])
def test_a_read_only_copy_can_be_read_and_verified(
    wechat: Start, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    sink = kind.format(out)
    place = ("--out", out, "--sink", sink)
    succeeded(*asked(wechat().url, "getusersummary", *JANUARY, *place))
    days = ("--start", JANUARY[0], "--end", JANUARY[1])

    def looked_at() -> list[Done]:
        return [
            program(READ, sink),
            harvest("plan", "getusersummary", *days, "--appid", A, *place),
            harvest("status", "--out", out),
            harvest("verify", "--out", out),
        ]

    with read_only(out):  # before anything has read it where it could write
        found = looked_at()
    for one, other in zip(looked_at(), found, strict=True):
        assert (other.returncode, other.stdout, other.stderr) == (0, one.stdout, "")
    rows, plan, _, verified = found
    assert int(rows.stdout) > 0
    assert "are done already" in plan.stdout
    assert verified.stdout.splitlines()[-1] == "exactly what was fetched"


@pytest.fixture
def killed(wechat: Start, tmp_path: Path) -> Path:
    """A harvest that was killed, so that the log of its ledger holds what is not in the file."""
    out = tmp_path / "out"
    days = ("2020-01-01", "2024-12-31", "--rate", "20/s", "--out", out)
    with begun(*asked(wechat().url, "getusersummary", *days)) as process:
        until(lambda: list(out.glob("getusersummary/*.jsonl")), 30)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert (out / "ledger.sqlite-wal").stat().st_size
    return out


def test_a_read_only_copy_of_a_harvest_that_was_killed_is_read_with_its_log(killed: Path) -> None:
    writable = killed.with_name("writable")
    shutil.copytree(killed, writable)
    with read_only(killed):
        done = harvest("status", "--out", killed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == harvest("status", "--out", writable).stdout


def test_a_log_that_cannot_be_read_there_is_said(killed: Path) -> None:
    (killed / "ledger.sqlite-shm").unlink()
    with read_only(killed):
        for what in ("status", "verify"):
            done = harvest(what, "--out", killed)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == (
                f"harvester: {killed}/ledger.sqlite-wal holds changes that are not yet in"
                f" ledger.sqlite, but {killed} cannot be written; copy the whole directory"
                " to one that can be written\n"
            )
