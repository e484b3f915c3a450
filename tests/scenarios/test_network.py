"""A network that is lost for a while, that opens slowly, and answers that are large."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal

import harvester
from tests.scenarios.command import Ended, asked, harvest_at, program, until
from tests.scenarios.server import Call, Server, rows
from tests.support import A
from tests.wire_servers import Certificates

pytestmark = pytest.mark.thorough

FACTOR = 20
FOREVER = float("inf")


def run(server: Server, out: Path, *more: str, lost: float = 0.0, hour: float = 12) -> Ended:
    """A run; lost: for so many seconds the server is gone after 20 calls."""

    def watch() -> None:
        until(lambda: len(server.data) >= 20, 30)
        server.go()
        if lost != FOREVER:
            time.sleep(lost / FACTOR)
            server.come()

    watching = threading.Thread(target=watch)
    if lost:
        watching.start()
    arguments = asked(server.url, "getupstreammsghour", "2026-01-01", "2026-02-28", *more)
    given = (*arguments, "--rate", "10/s", "--out", out, "--json")
    ended = harvest_at("2026-03-11", hour, *given, factor=FACTOR)
    if lost:
        watching.join()
    return ended


@pytest.mark.parametrize("concurrency", ["1", "64"])
def test_half_a_minute_without_network_ends_no_run(tmp_path: Path, concurrency: str) -> None:
    more = ("--concurrency", concurrency, "--attempts", "2")
    with Server() as server:
        ended = run(server, tmp_path, *more, lost=30.0)
    assert ended.status == 0, ended.err
    assert ended.report["windows"]["done"] == 59
    assert "nobody answers" in ended.err
    assert "somebody answers again" in ended.err


def test_a_lost_network_is_waited_for_as_long_as_the_patience(tmp_path: Path) -> None:
    with Server() as server:
        ended = run(server, tmp_path, "--patience", "40s", lost=FOREVER)
        assert ended.status == 4
        assert "no server answered for 4" in ended.err
        assert 40 < ended.report["seconds"] < 60
        server.come()
        ended = run(server, tmp_path, hour=13)
    assert (ended.status, ended.report["windows"]["skipped"] >= 19) == (0, True), ended.err


def test_under_wait_a_lost_network_is_waited_for_without_end(tmp_path: Path) -> None:
    with Server() as server:
        ended = run(server, tmp_path, "--wait", "--patience", "10s", lost=60.0)
    assert ended.status == 0, ended.err


def test_a_base_url_at_which_nobody_listens_fails_at_once(tmp_path: Path) -> None:
    with Server() as server:
        server.go()
        ended = run(server, tmp_path, "--attempts", "3")
    assert ended.status == 4
    assert "(Connection refused)" in ended.err
    assert "check the network, the proxy and the base URL" in ended.err
    assert ended.report["seconds"] < 10


def test_one_day_that_closes_its_connection_fails_alone(tmp_path: Path) -> None:
    def answer(call: Call) -> object:
        if call.days == ["2026-01-15"]:
            raise ConnectionAbortedError
        return rows(call)

    with Server(answer) as server:
        ended = run(server, tmp_path, "--attempts", "3")
    assert (ended.status, ended.report["windows"]["failed"]) == (1, 1), ended.err


# The rate holds where connections take long to open.


OPENS_IN = 1.5
JITTER = 0.2
"""Seconds by which the threads of this process may see two requests closer than they left.  Those
that left together as their connections opened would be closer by a second."""


class SlowDoor:
    """Passes connections on to a server, each after a while: so long a TLS handshake takes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._stack = ExitStack()
        self.port = 0

    def __enter__(self) -> Self:
        portal = self._stack.enter_context(start_blocking_portal())
        running = portal.call(asyncio.start_server, self._serve, "127.0.0.1", 0)
        self._stack.callback(portal.call, running.close)
        self.port = running.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    async def _serve(self, reader: Any, writer: Any) -> None:
        await asyncio.sleep(OPENS_IN)
        there = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))
        finally:
            there[1].close()
            writer.close()

    @staticmethod
    async def _pass(reader: Any, writer: Any) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


def most_in_a_second(server: Server) -> int:
    times = [call.at for call in server.data]
    return max(sum(begin <= other < begin + 1.0 - JITTER for other in times) for begin in times)


@pytest.mark.parametrize("whose", ["ours", "the caller's"])
def test_no_more_arrive_in_a_second_than_the_rate_says(whose: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)

    async def main(url: str) -> harvester.Report:
        async def run(**how: Any) -> harvester.Report:
            return await harvester.run(
                harvester.Account(A, secret="practice"), "getupstreammsghour", "2026-01-01",
                "2026-02-28", sink=harvester.MemorySink(), base_url=url, rate="10/s", **how,
            )  # fmt: skip

        if whose == "ours":
            return await run(ca_file=certificates.ca_file)
        trusted = ssl.create_default_context(cafile=str(certificates.ca_file))
        connector = aiohttp.TCPConnector(ssl=trusted)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await run(session=session)

    with Server(tls=certificates.good()) as server, SlowDoor(server.port) as door:
        report = asyncio.run(main(f"https://127.0.0.1:{door.port}"))
    assert (report.state, report.windows.done) == ("complete", 59)
    assert most_in_a_second(server) <= 10


# The memory of one answer is bounded, whatever it holds.


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
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with Server(lambda _: web.Response(body=packed, headers=headers)) as server:
        run = asked(server.url, "getupstreammsghour", "2026-02-01", "2026-02-01")
        ended = program(_PEAK, *run, "--attempts", "2", "--out", tmp_path)
    peak = int(ended.stderr.splitlines()[-1]) * 1024
    assert peak < 100 * MIB + 256 * MIB, ended.stderr
    assert server.data
