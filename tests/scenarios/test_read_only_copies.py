"""A copy of a harvest that cannot be written: status, verify, plan and read work there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import A, Wechat, command, environment, harvest

pytestmark = pytest.mark.thorough

DAYS = ("--start", "2024-01-01", "--end", "2024-01-31")
RUN = ("run", "getusersummary", "--appid", A, *DAYS)


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


@pytest.mark.parametrize("kind", ["jsonl:{}", "sqlite:{}/x.db", "duckdb:{}/x.db", "parquet:{}"])
def test_a_read_only_copy_can_be_looked_at_and_verified(
    wechat: Callable[..., Wechat], tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    args = (*RUN, "--out", out, "--sink", kind.format(out))
    done = harvest(*args, "--base-url", wechat().url, "--rate", "1000/s")
    assert done.returncode == 0, done.stderr
    with read_only(out):  # before anything has read it where it could write
        again = [harvest(*what, "--out", out) for what in (["status"], ["verify"])]
        plan = harvest("plan", "getusersummary", *DAYS, "--appid", A, "--out", out,
                       "--sink", kind.format(out))  # fmt: skip
    told = [harvest(*what, "--out", out) for what in (["status"], ["verify"])]
    for one, other in zip(told, again, strict=True):
        assert (other.returncode, other.stdout, other.stderr) == (0, one.stdout, "")
    assert again[1].stdout.splitlines()[-1] == "exactly what was fetched"
    assert (plan.returncode, plan.stderr) == (0, "")
    assert "are done already" in plan.stdout


@pytest.mark.parametrize("kind", ["jsonl:{}", "sqlite:{}/x.db", "duckdb:{}/x.db", "parquet:{}"])
def test_a_read_only_copy_can_be_read(
    wechat: Callable[..., Wechat], tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    args = (*RUN, "--out", out, "--sink", kind.format(out))
    assert harvest(*args, "--base-url", wechat().url, "--rate", "1000/s").returncode == 0
    program = (
        "import sys, harvester, pyarrow\n"
        "print(pyarrow.table(harvester.read(sys.argv[1], 'getusersummary')).num_rows)"
    )

    def rows() -> str:
        return subprocess.run(
            [sys.executable, "-c", program, kind.format(out)], capture_output=True, text=True,
            check=True,
        ).stdout  # fmt: skip

    with read_only(out):  # before anything has read it where it could write
        found = rows()
    assert int(found) > 0
    assert rows() == found


@pytest.fixture
def killed(wechat: Callable[..., Wechat], tmp_path: Path) -> Path:
    """A harvest that was killed, so that the log of its ledger holds what is not in the file."""
    out = tmp_path / "out"
    args = command(
        "run", "getusersummary", "--appid", A, "--start", "2020-01-01", "--end", "2024-12-31",
        "--base-url", wechat().url, "--rate", "20/s", "--out", str(out),
    )  # fmt: skip
    with subprocess.Popen(
        args, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        ends = time.monotonic() + 30
        while not list(out.glob("getusersummary/*.jsonl")):
            assert time.monotonic() < ends, "nothing is stored"
            time.sleep(0.02)
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
                f" ledger.sqlite, and {killed} cannot be written; copy all of it to a directory"
                " that can be written\n"
            )
