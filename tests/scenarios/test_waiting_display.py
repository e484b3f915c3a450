"""A run that waits shows that it is alive: on a terminal, and in a log."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from select import select

import pytest

from tests.support import A, Wechat, command, environment

pytestmark = pytest.mark.thorough


def job(server: Wechat, folder: Path) -> list[str]:
    return command(
        "run", "getinterfacesummaryhour", "--appid", A, "--start", "2024-01-01",
        "--end", "2024-01-31", "--base-url", server.url, "--rate", "1000/s", "--out", folder,
        "--wait",
    )  # fmt: skip


def shown(terminal: int, seconds: float, enough: Callable[[str], bool]) -> str:
    """What a terminal was sent, until it is enough or the time is up."""
    text, end = "", time.monotonic() + seconds
    while time.monotonic() < end and not enough(text):
        if select([terminal], [], [], 0.2)[0]:
            try:
                text += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the process has ended, and nobody else writes there
                break
    return text


def test_on_a_terminal_the_time_waited_goes_on(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(daily_quota=5)
    terminal, slave = pty.openpty()
    process = subprocess.Popen(
        job(server, tmp_path), stdout=subprocess.DEVNULL, stderr=slave,
        env=environment(TERM="xterm", COLUMNS="120"),
    )  # fmt: skip
    os.close(slave)

    def ticks(text: str) -> list[str]:
        return re.findall(r"getinterfacesummaryhour waits, ([\d.]+) s of", text)

    try:
        text = shown(terminal, 30.0, lambda text: len(set(ticks(text))) >= 5)
    finally:
        process.send_signal(signal.SIGINT)
        shown(terminal, 10.0, lambda _: process.poll() is not None)
        process.kill()
        process.wait()
        os.close(terminal)
    assert len(set(ticks(text))) >= 5, text
    assert process.returncode == 130
    assert text.count("pauses for") == 1


@pytest.mark.thorough
def test_in_a_log_lines_come_at_growing_intervals(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(daily_quota=5)
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(job(server, tmp_path / "out"), stderr=file, env=environment())
        try:
            end = time.monotonic() + 60
            while log.read_text().count("nothing new for") < 2 and time.monotonic() < end:
                time.sleep(0.2)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
    lines = [line for line in log.read_text().splitlines() if "nothing new for" in line]
    waited = [int(re.findall(r"nothing new for (\d+) s: wx", line)[0]) for line in lines]
    assert len(waited) == 2
    assert 10 <= waited[0] < 20 <= waited[1]
    assert all("45009" in line and "rid" not in line for line in lines)
