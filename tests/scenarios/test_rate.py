"""The rate holds where connections take long to open."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

import harvester
from tests.scenarios.loops import LoopThread
from tests.scenarios.server import APPID, Server

pytestmark = pytest.mark.thorough

OPENS_IN = 1.5
JITTER = 0.2
"""Seconds by which the threads of this process may see two requests closer than they left.  Those
that left together as their connections opened would be closer by a second."""


class SlowDoor:
    """Passes connections on to a server, each after a while: so long a TLS handshake takes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._loop = LoopThread()
        self.port = 0

    def __enter__(self) -> Self:
        self._loop.__enter__()
        self._server = self._loop.call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call(self._close())
        self._loop.__exit__()

    async def _close(self) -> None:
        self._server.close()

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
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()


def most_in_a_second(server: Server) -> int:
    times = [call.at for call in server.data]
    return max(sum(begin <= other < begin + 1.0 - JITTER for other in times) for begin in times)


@pytest.mark.parametrize("whose", ["ours", "the caller's"])
def test_no_more_arrive_in_a_second_than_the_rate_says(whose: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def main(url: str) -> harvester.Report:
        async def run(**how: Any) -> harvester.Report:
            return await harvester.run(
                harvester.Account(APPID, secret="practice"), "getupstreammsghour", "2026-01-01",
                "2026-02-28", sink=harvester.MemorySink(), base_url=url, rate="10/s", **how,
            )  # fmt: skip

        if whose == "ours":
            return await run(ca_file=tmp_path / "ca.pem")
        import aiohttp

        trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        connector = aiohttp.TCPConnector(ssl=trusted)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await run(session=session)

    with Server(tls=context) as server, SlowDoor(server.port) as door:
        report = asyncio.run(main(f"https://127.0.0.1:{door.port}"))
    assert (report.state, report.windows.done) == ("complete", 59)
    assert most_in_a_second(server) <= 10
