"""The memory of one answer is bounded, whatever it holds."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.scenarios.server import APPID, Server
from tests.support import environment

pytestmark = pytest.mark.thorough

MIB = 1024 * 1024
_PEAK = """
import re, sys
from harvester.cli import main
sys.argv = ["harvester", *sys.argv[1:]]
try:
    main()
finally:
    with open("/proc/self/status") as status:  # what getrusage tells holds the parent's, too
        print(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1], file=sys.stderr)
"""

BODIES = {
    "empty objects": b'{"list":[' + b"{}," * (10 * MIB) + b"{}]}",
    "empty lists": b'{"list":[{"a":[' + b"[]," * (10 * MIB) + b"[]]}]}",
    "numbers": b'{"list":[{"a":[' + b"0," * (15 * MIB) + b"0]}]}",
    "below eight megabytes": b'{"list":[' + b"{}," * (2 * MIB) + b"{}]}",
    "one text": b'{"list":[{"a":"' + b"x" * (7 * MIB) + "😀".encode() + b'"}]}',
}


@pytest.mark.parametrize("what", BODIES)
def test_no_answer_takes_more_memory_than_is_stated(what: str, tmp_path: Path) -> None:
    packed = gzip.compress(BODIES[what], 6)

    def answer(call: object) -> web.Response:
        return web.Response(
            body=packed,
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )

    with Server(answer) as server:
        ended = subprocess.run(
            [sys.executable, "-c", _PEAK, "run", "getupstreammsghour", "--appid", APPID,
             "--start", "2026-02-01", "--end", "2026-02-01", "--base-url", server.url,
             "--attempts", "2", "--out", str(tmp_path)],
            capture_output=True, text=True, env=environment(), timeout=100, check=False,
        )  # fmt: skip
    peak = int(ended.stderr.splitlines()[-1]) * 1024
    assert peak < 100 * MIB + 256 * MIB, ended.stderr
    assert server.data
