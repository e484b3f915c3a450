"""Ctrl-C and SIGTERM, once and twice; a full disk; a second process."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tests.support import A, Wechat, assert_exactly_the_truth, command, environment, harvest, stored

BEGIN, END = date(2023, 1, 1), date(2023, 6, 30)


def _job(wechat: Wechat, home: Path, rate: str = "50/s") -> list[str]:
    return [
        "run", "getarticlesummary", "--appid", A, "--start", str(BEGIN), "--end", str(END),
        "--base-url", wechat.url, "--rate", rate, "--out", str(home), "--json",
    ]  # fmt: skip


def _started(wechat: Wechat, job: list[str], after: int = 5) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command(*job),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while wechat.simulator.counts["data"] < after and process.poll() is None:
        time.sleep(0.005)
    return process


def _finish(wechat: Wechat, home: Path) -> None:
    result = harvest(*_job(wechat, home, "5000/s"))
    assert result.returncode == 0, result.stderr
    assert_exactly_the_truth(stored(home), wechat.simulator, (A,), BEGIN, END)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_is_in_flight(
    wechat: Callable[..., Wechat], tmp_path: Path, number: signal.Signals
) -> None:
    server = wechat(latency=0.3)
    process = _started(server, _job(server, tmp_path))
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "in flight are answered and stored" in err
    assert "run the same command again" in err
    report = json.loads(out.splitlines()[-1])
    assert report["state"] == "interrupted"
    # Nothing that was asked for was thrown away.
    assert report["windows"]["done"] == report["requests"] == server.simulator.counts["data"] > 0
    _finish(server, tmp_path)
    assert set(server.simulator.served.values()) == {1}


def test_the_second_signal_stops_at_once_and_still_nothing_is_lost(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=3.0)
    process = _started(server, _job(server, tmp_path))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 2.5
    report = json.loads(out.splitlines()[-1])
    assert report["state"] == "interrupted"
    assert report["requests"] == server.simulator.counts["data"]
    assert report["token_fetches"] == 1
    assert report["seconds"] > 0
    server.simulator.latency = 0.0
    _finish(server, tmp_path)


def test_a_full_disk_stops_the_run_with_4_and_nothing_is_lost(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    limit = 200_000

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = subprocess.run(
        command(*_job(server, tmp_path, "5000/s")),
        env={k: v for k, v in environment().items() if not k.startswith("COVERAGE")},  # it writes
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=small_disk,
        check=False,
    )
    assert result.returncode == 4, result.stderr
    assert "the disk is full" in result.stderr
    assert "make room and run the same command again" in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["state"] == "failed"
    assert harvest("verify", "--out", tmp_path).returncode == 0
    _finish(server, tmp_path)


def test_a_second_process_on_the_same_directory_gets_one_clear_sentence(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    process = _started(server, _job(server, tmp_path, "10/s"), after=1)
    try:
        result = harvest(*_job(server, tmp_path))
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert line == (
            f"harvester: the directory {tmp_path} is in use by another harvester; let it end, or"
            " choose another directory"
        )
        # Looking is allowed.
        assert harvest("status", "--out", tmp_path).returncode == 0
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
