"""`harvester simulate` as a process: what a user practises with."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harvester.cli import simulate
from tests.support import command, environment, harvest, stored

pytestmark = pytest.mark.thorough


@contextmanager
def simulating() -> Iterator[tuple[str, list[str]]]:
    """The URL and the lines that follow it; the process must end well when it is asked to."""
    with subprocess.Popen(
        command("simulate", "--port", "0"), stdout=subprocess.PIPE, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        try:
            yield lines[0], lines[1:]
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(10)
    assert status == 0


def test_the_command_that_is_suggested_works(tmp_path: Path) -> None:
    with simulating() as (_, lines):
        assert "getarticlesummary" not in lines[1]
        words = shlex.split(lines[1])
        start = words.index("run")
        result = harvest(*words[start:], "--rate", "100/s", cwd=tmp_path)
    assert (words[0], result.returncode) == ("HARVESTER_SECRET=practice", 0), result.stderr
    for endpoint in ("getusersummary", "getusercumulate"):
        days = {row["ref_date"] for row in stored(tmp_path / "practice", endpoint)}
        assert len(days) == 91


def test_under_uvx_the_next_steps_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvx puts its environment on the path of the program that it runs, and of no other."""
    monkeypatch.setattr(sys, "prefix", "/home/me/.cache/uv/archive-v0/yNMUJDBps6TViOcG")
    assert simulate._command() == "uvx 'wechat-harvester[report]'"
