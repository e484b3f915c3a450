"""No library that a sink uses disturbs the end of the interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.places import SINKS, spec_of
from tests.support import A, Wechat

pytestmark = pytest.mark.thorough

REPEATS = 3
PROGRAM = """
import asyncio, atexit, sys
import harvester
atexit.register(print, "the handlers of atexit have run")
account = harvester.Account({appid!r}, secret="practice")
report = asyncio.run(
    harvester.run(account, "getusersummary", "2025-01-01", "2025-01-20", sink={spec!r},
                  base_url={url!r}, rate=1000, ledger=None)
)
print(report.state)
"""


@pytest.mark.parametrize("kind", SINKS)
def test_a_script_that_harvests_ends_with_status_0(
    kind: str,
    wechat: Callable[..., Wechat],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    server = wechat()
    program = PROGRAM.format(
        appid=A, spec=spec_of(kind, tmp_path / "there", request), url=server.url
    )
    for _ in range(REPEATS):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            "complete\nthe handlers of atexit have run\n",
            "",
        )
