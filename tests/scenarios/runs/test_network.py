"""A network that is lost for a while, that opens slowly, and answers that are large."""

from __future__ import annotations

import asyncio
import gzip
import signal
import socket
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
from tests.scenarios.command import Ended, asked, harvest_at, program, started, until
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
    assert "no server answers" in ended.err
    assert "a server answers again" in ended.err


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


@pytest.mark.parametrize("more", [(), ("--wait",)], ids=["", "under wait"])
def test_days_that_close_their_connection_fail_alone_while_the_server_answers_others(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    """In the second run there is nothing else that could be answered."""

    def answer(call: Call) -> object:
        if call.days[0] in ("2026-01-15", "2026-01-16"):
            raise ConnectionAbortedError
        return rows(call)

    with Server(answer) as server:
        for done, requests in ((57, 57 + 2 * 3), (0, 2 * 3)):
            ended = run(server, tmp_path, "--attempts", "3", *more)
            windows = ended.report["windows"]
            assert (ended.status, windows["failed"], windows["done"]) == (1, 2, done), ended.err
            assert ended.report["requests"] == requests
        assert 0 < server.probes <= 2 * 2 * 3


def test_an_interrupt_ends_the_wait_for_the_network(tmp_path: Path) -> None:
    with Server() as server:
        arguments = asked(server.url, "getupstreammsghour", "2026-01-01", "2026-02-28", "--wait")
        given = (*arguments, "--rate", "10/s", "--out", tmp_path)
        with started("2026-03-11", 12, *given, factor=FACTOR) as process:
            until(lambda: len(server.data) >= 20, 30)
            server.go()
            assert process.stderr is not None
            while "no server answers" not in process.stderr.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert time.monotonic() - began < 5


def token_from(kind: str, folder: Path) -> Any:
    """A source that gives a token without the base URL."""
    if kind == "callable":
        return lambda: "t0ken"
    (folder / "token").write_text("t0ken")
    (folder / "token").chmod(0o600)
    return {
        "command": "command:cat " + str(folder / "token"),
        "static": f"static:file:{folder / 'token'}",
        "cloudbase": f"cloudbase:file:{folder / 'token'}",
        "cloud": "cloud",
        "server": "",
    }[kind]


@pytest.mark.parametrize("kind", ["callable", "command", "static", "cloudbase", "cloud", "server"])
def test_a_mistyped_base_url_fails_at_once_wherever_the_token_comes_from(
    kind: str, tmp_path: Path
) -> None:
    token = {"access_token": "t0ken", "expires_in": 7200}
    with Server(lambda _: token) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        closed.close()
        source = token_from(kind, tmp_path) or f"{server.url}/token"
        began = time.monotonic()
        with pytest.raises(harvester.HarvestError, match=r"no server answered in 2 attempts"):
            harvester.run_sync(
                harvester.Account(A, token=source), "getupstreammsghour", "2026-01-01",
                "2026-01-03", sink="memory:", base_url=f"http://127.0.0.1:{port}", attempts=2,
                wait=True,
            )  # fmt: skip
        assert time.monotonic() - began < 10


# The rate holds where connections take long to open.


OPENS_IN = 1.5
JITTER = 0.2
"""Seconds by which the threads of this process may see two requests closer than they left.  Those
that left together as their connections opened would be closer by a second."""


class SlowDoor:
    """Passes connections on to a server, after a while, in groups: so does a busy TLS server."""

    def __init__(self, port: int, opens_in: float = OPENS_IN) -> None:
        self._to = port
        self._opens_in = opens_in
        self._stack = ExitStack()
        self._open = set[Any]()
        self.port = 0

    def __enter__(self) -> Self:
        portal = self._stack.enter_context(start_blocking_portal())
        running = portal.call(asyncio.start_server, self._serve, "127.0.0.1", 0)
        self._stack.callback(self.wait_closed)
        self._stack.callback(portal.call, running.close)
        self._portal = portal
        self.port = running.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def wait_closed(self) -> None:
        """The client closes all; wait until that has passed through, in both directions.

        A client whose loop ends before it has the answer to its last TLS message leaves a socket.
        """
        self._portal.call(self._closed)

    async def _closed(self) -> None:
        if self._open:
            await asyncio.wait(self._open, timeout=5)
        await asyncio.sleep(0.05)

    async def _serve(self, reader: Any, writer: Any) -> None:
        self._open.add(asyncio.current_task())
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self._opens_in - now % self._opens_in)
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
    times = [call.at for call in (*server.data, *server.tokens)]
    return max(sum(begin <= other < begin + 1.0 - JITTER for other in times) for begin in times)


SESSIONS: dict[str, tuple[dict[str, Any], bool, float]] = {
    "ours": ({}, False, OPENS_IN),
    "the caller's": ({}, False, OPENS_IN),
    "ours, closed each time": ({}, True, 0.3),
    "the caller's, closed each time": ({}, True, 0.3),
    "one that closes them": ({"force_close": True}, False, OPENS_IN),
    "one of two connections": ({"limit_per_host": 2}, False, 0.3),
    "one of two connections, closed each time": ({"limit_per_host": 2}, True, 0.1),
}
"""How a session connects; whether the server closes each connection; and how long one takes."""


@pytest.mark.sampled
@pytest.mark.parametrize("whose", SESSIONS)
def test_no_more_arrive_in_a_second_than_the_rate_says(whose: str, tmp_path: Path) -> None:
    certificates, (connects, closes, opens_in) = Certificates(tmp_path), SESSIONS[whose]

    def answer(call: Call) -> web.Response:
        response = web.json_response(rows(call))
        if closes:
            response.force_close()
        return response

    async def main(url: str) -> harvester.Report:
        async def run(**how: Any) -> harvester.Report:
            return await harvester.run(
                harvester.Account(A, secret="practice"), "getupstreammsghour", "2026-01-01",
                "2026-02-28", sink=harvester.MemorySink(), base_url=url, rate="10/s", **how,
            )  # fmt: skip

        if whose.startswith("ours"):
            report = await run(ca_file=certificates.ca_file)
        else:
            trusted = ssl.create_default_context(cafile=str(certificates.ca_file))
            connector = aiohttp.TCPConnector(ssl=trusted, **connects)
            async with aiohttp.ClientSession(connector=connector) as session:
                report = await run(session=session)
        await asyncio.to_thread(door.wait_closed)
        return report

    with (
        Server(answer, tls=certificates.good()) as server,
        SlowDoor(server.port, opens_in) as door,
    ):
        report = asyncio.run(main(f"https://127.0.0.1:{door.port}"))
    assert (report.state, report.windows.done) == ("complete", 59)
    assert most_in_a_second(server) <= 10


def test_tokens_leave_at_the_rate_of_their_account() -> None:
    """WeChat refuses each token a few times: so many are fetched among the calls."""
    refused = iter([{"errcode": 42001, "errmsg": "access_token expired"}, None] * 8)

    with Server(lambda call: next(refused, None) or rows(call)) as server:
        report = harvester.run_sync(
            harvester.Account(A, secret="practice"), "getupstreammsghour", "2026-01-01",
            "2026-01-31", sink="memory:", base_url=server.url, rate="10/s", concurrency=1,
        )  # fmt: skip
    assert (report.state, len(server.tokens)) == ("complete", 1 + 8)
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
