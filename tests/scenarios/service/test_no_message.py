"""No message by 08:15: the command of docs/on-call.md, and each row of its table."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.testing import Simulator
from tests.scenarios.command import started, until
from tests.scenarios.service.test_daily_service import (
    APPIDS,
    DAY,
    Clock,
    Start,
    configured,
    ended,
    got,
    start,
    status,
)
from tests.support import ROOT, Wechat
from tests.webhook import Webhook

__all__ = ["start"]  # a fixture
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(180)]
CURL = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[-1], timeout=2).read().decode())
except TimeoutError:
    sys.exit("curl: (28) Operation timed out")
except OSError as exc:
    sys.exit(f"curl: (7) Couldn't connect to server ({exc})")
"""
"""What a machine may lack, and needs not be tested."""


def asked(folder: Path, port: int) -> str:
    """What the page's command says."""
    page = (ROOT / "docs" / "on-call.md").read_text(encoding="utf-8")
    found = re.search(
        r"^## No message by 08:15$.*?^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    assert found
    (folder / "curl").write_text(f"#!{sys.executable}\n{CURL}")
    (folder / "curl").chmod(0o755)
    line = found[1].replace("127.0.0.1:8605", f"127.0.0.1:{port}")
    done = subprocess.run(
        ["bash", "-c", f"PATH={folder}:$PATH\n{line}"], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_command_shows_which_row_of_the_table_it_is(
    tmp_path: Path, hook: Webhook, start: Start
) -> None:
    clock = Clock(8, 60)
    simulator = Simulator(wall=clock, latency=0.05)
    command = "serve", "--config", tmp_path / "harvester.toml"
    with Wechat(simulator) as wechat:
        port = configured(tmp_path, wechat.url, hook)
        assert "Couldn't connect" in asked(tmp_path, port)
        hook.status = 503
        process = start(started(DAY, clock.hour, *command, factor=60))
        until(lambda: got(port, "/healthz"))
        if clock.hour < 8 + 4 / 60:
            said = asked(tmp_path, port)
            assert '"day": null' in said
            assert f'"next_run": "{DAY}T00:05' in said  # in UTC
        until(lambda: status(port)["service"].get("running"))
        assert '"running": true' in asked(tmp_path, port)
        until(lambda: status(port)["service"].get("trouble"))
        assert "file:hook did not take the message" in asked(tmp_path, port)
        hook.status = 200
        until(lambda: hook.titled("Yesterday is complete"))
        until(lambda: not status(port)["service"]["trouble"])
        said = asked(tmp_path, port)
        assert f'"day": "{DAY}"' in said
        assert '"trouble": null' in said
        process.send_signal(signal.SIGSTOP)
        assert "timed out" in asked(tmp_path, port)
        process.send_signal(signal.SIGCONT)
        ended(process)
    assert len(hook.titled("Yesterday is complete")) == 1
    assert len({appid for _, appid, *_ in simulator.served_of}) == len(APPIDS)
