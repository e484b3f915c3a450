"""The examples, as a user would run them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.testing import SINK_CHECKS, check_sink
from tests.support import A, Wechat, as_multiset, bare, days, stored

pytestmark = pytest.mark.thorough

EXAMPLES = Path(__file__).parents[2] / "examples"


def _environment(wechat: Wechat, **more: str) -> dict[str, str]:
    mine = {"WX_APPID": A, "HARVESTER_SECRET": "practice", "WX_BASE_URL": wechat.url}
    return {**os.environ, **mine, "WX_RATE": "2000/s", **more}


def truth(wechat: Wechat, endpoint: str, begin: date, end: date) -> list[dict[str, Any]]:
    """What the account has, day by day."""
    return [
        row for day in days(begin, end) for row in wechat.simulator.truth_of(endpoint, A, day, day)
    ]


def multiset(rows: list[dict[str, Any]]) -> Counter[str]:
    return as_multiset((A, "", bare(row)) for row in rows)


def test_the_stream_prints_every_day_and_channel(wechat: Callable[..., Wechat]) -> None:
    server = wechat()
    result = subprocess.run(
        [sys.executable, EXAMPLES / "stream.py"],
        env=_environment(server, PYTHONIOENCODING="utf-8"),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    there = [
        f"{row['ref_date']} {row['user_source']} {row['new_user']} {row['cancel_user']}"
        for row in truth(server, "getusersummary", date(2024, 1, 1), date(2024, 12, 31))
    ]
    assert sorted(result.stdout.splitlines()) == sorted(there)


def test_an_error_of_the_stream_is_one_sentence(wechat: Callable[..., Wechat]) -> None:
    server = wechat(secret="another")
    result = subprocess.run(
        [sys.executable, EXAMPLES / "stream.py"],
        env=_environment(server),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "the secret is wrong" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def own_records(path: Path) -> list[dict[str, Any]]:
    """What stands in the table of the example's sink."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT lines FROM windows").fetchall()
    return [json.loads(line) for (lines,) in found for line in lines.splitlines()]


def test_the_own_sink_keeps_the_records_and_resumes(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat()
    for said in ("complete 13 windows", "complete 0 windows"):
        result = subprocess.run(
            [sys.executable, EXAMPLES / "own_sink.py", tmp_path / "windows.db"],
            env=_environment(server),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert result.stdout.startswith(said)
    first_quarter = truth(server, "getusersummary", date(2024, 1, 1), date(2024, 3, 31))
    assert multiset(own_records(tmp_path / "windows.db")) == multiset(first_quarter)


@pytest.mark.parametrize("name", SINK_CHECKS)
def test_the_own_sink_keeps_every_promise(name: str, tmp_path: Path) -> None:
    made = importlib.util.spec_from_file_location("own_sink", EXAMPLES / "own_sink.py")
    assert made is not None
    assert made.loader is not None
    own_sink = importlib.util.module_from_spec(made)
    made.loader.exec_module(own_sink)
    asyncio.run(
        check_sink(
            lambda name: own_sink.Windows(tmp_path / name),
            lambda name: own_records(tmp_path / name),
            only=name,
        )
    )


def _ask(url: str, method: str = "GET") -> dict[str, object]:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        found = json.loads(answer.read())
    assert isinstance(found, dict)
    return found


CANCELLING = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
import web_application
async def finish(self):
    self._task.cancel()
    await asyncio.wait([self._task])
web_application.Harvest.finish = finish
web_application.web.run_app(
    web_application.application(), host="127.0.0.1", port=int(os.environ["PORT"])
)
"""
"""The same application, for one who does not wait for what is in flight."""


class Application:
    """The web application, started anew for each life of it."""

    def __init__(self, wechat: Wechat, folder: Path, *arguments: str | Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/harvest"
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", *arguments],
            env=_environment(wechat, PORT=str(port), WX_OUT=str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, begin: str, end: str) -> None:
        """Wait until it serves, and have it harvest."""
        while self.process.poll() is None:
            try:
                assert _ask(self.url) == {"state": "idle"}
                break
            except urllib.error.URLError:
                time.sleep(0.05)
        assert _ask(f"{self.url}?start={begin}&end={end}", "POST") == {"started": True}

    def terminate(self) -> None:
        """SIGTERM; it ends in order and leaves nothing behind."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, err
        for trouble in ("Traceback", "never", "nclosed", "destroyed"):
            assert trouble not in err, err


def test_the_web_application_harvests_and_shuts_down_cleanly(
    wechat: Callable[..., Wechat], tmp_path: Path
) -> None:
    server = wechat(latency=0.2)
    application = Application(server, tmp_path, EXAMPLES / "web_application.py")
    try:
        application.start("2025-11-01", "2026-10-31")
        while server.simulator.counts["data"] < 6:
            time.sleep(0.02)
        assert _ask(application.url)["state"] == "running"
    finally:
        application.terminate()
    # What was asked for before the end is stored: nothing was thrown away.
    done = sorted(day for _, _, day, _ in server.simulator.served_of)
    assert len(done) == server.simulator.counts["data"] < 365
    assert done[::-1] == [date(2026, 10, 31) - timedelta(days=n) for n in range(len(done))]
    rows = stored(tmp_path, "getarticleread")
    assert multiset(rows) == multiset(truth(server, "getarticleread", done[0], done[-1]))


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
@pytest.mark.thorough
def test_a_web_application_goes_on_where_sigterm_ended_it(
    wechat: Callable[..., Wechat], tmp_path: Path, how: str
) -> None:
    server = wechat(latency=0.1)
    script: list[str | Path] = [EXAMPLES / "web_application.py"]
    if how == "cancelled":
        script = ["-c", CANCELLING, EXAMPLES]
    for life in range(3):
        application = Application(server, tmp_path, *script)
        before = server.simulator.counts["data"]
        try:
            application.start("2026-01-01", "2026-01-12")
            while server.simulator.counts["data"] < before + 3 and life < 2:
                time.sleep(0.02)
            if life == 2:
                while _ask(application.url)["state"] == "running":
                    time.sleep(0.05)
                assert _ask(application.url)["state"] == "complete"
        finally:
            application.terminate()
    there = truth(server, "getarticleread", date(2026, 1, 1), date(2026, 1, 12))
    assert multiset(stored(tmp_path, "getarticleread")) == multiset(there)
    if how == "stopped":
        assert set(server.simulator.served_of.values()) == {1}
