"""A network that is lost for a while, and one that was never there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.scenarios.fast import harvest_at
from tests.scenarios.server import APPID, Call, Server, rows

pytestmark = pytest.mark.thorough

DAY = "2026-03-11"
FACTOR = 20


def asked(server: Server, out: Path, *more: str) -> list[str | Path]:
    return [
        "run", "getupstreammsghour", "--appid", APPID, "--start", "2026-01-01", "--end",
        "2026-02-28", "--base-url", server.url, "--rate", "10/s", "--out", out, "--json", *more,
    ]  # fmt: skip


def lost_after(server: Server, calls: int, seconds: float | None) -> threading.Thread:
    """A server that goes away after so many calls, and comes back."""

    def watch() -> None:
        ends = time.monotonic() + 30
        while len(server.data) < calls and time.monotonic() < ends:
            time.sleep(0.002)
        server.go()
        if seconds is not None:
            time.sleep(seconds / FACTOR)
            server.come()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("concurrency", ["1", "64"])
def test_half_a_minute_without_network_ends_no_run(tmp_path: Path, concurrency: str) -> None:
    with Server() as server:
        watching = lost_after(server, 20, 30.0)
        ended = harvest_at(
            DAY, 12, *asked(server, tmp_path, "--concurrency", concurrency, "--attempts", "2"),
            factor=FACTOR,
        )  # fmt: skip
        watching.join()
    assert ended.status == 0, ended.err
    assert ended.report["windows"]["done"] == 59
    assert "nobody answers" in ended.err
    assert "somebody answers again" in ended.err


def test_a_lost_network_is_waited_for_as_long_as_the_patience(tmp_path: Path) -> None:
    with Server() as server:
        watching = lost_after(server, 20, None)
        ended = harvest_at(DAY, 12, *asked(server, tmp_path, "--patience", "40s"), factor=FACTOR)
        watching.join()
        assert ended.status == 4
        assert "no server answered for 4" in ended.err
        assert 40 < ended.report["seconds"] < 60
        server.come()
        ended = harvest_at(DAY, 13, *asked(server, tmp_path), factor=FACTOR)
    assert (ended.status, ended.report["windows"]["skipped"] >= 19) == (0, True), ended.err


def test_under_wait_a_lost_network_is_waited_for_without_end(tmp_path: Path) -> None:
    with Server() as server:
        watching = lost_after(server, 20, 60.0)
        ended = harvest_at(
            DAY, 12, *asked(server, tmp_path, "--wait", "--patience", "10s"), factor=FACTOR
        )
        watching.join()
    assert ended.status == 0, ended.err


def test_a_base_url_at_which_nobody_listens_fails_at_once(tmp_path: Path) -> None:
    with Server() as server:
        server.go()
        ended = harvest_at(DAY, 12, *asked(server, tmp_path, "--attempts", "3"), factor=FACTOR)
    assert ended.status == 4
    assert "check the network, the proxy and the base URL" in ended.err
    assert ended.report["seconds"] < 10


def test_one_day_that_closes_its_connection_fails_alone(tmp_path: Path) -> None:
    def answer(call: Call) -> object:
        if call.days == ["2026-01-15"]:
            raise ConnectionAbortedError
        return rows(call)

    with Server(answer) as server:
        ended = harvest_at(DAY, 12, *asked(server, tmp_path, "--attempts", "3"), factor=FACTOR)
    assert (ended.status, ended.report["windows"]["failed"]) == (1, 1), ended.err
