"""The rate holds where connections take long to open."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

import harvester
from tests.scenarios.server import APPID, Server

OPENS_IN = 1.5


class SlowDoor:
    """Passes connections on to a server, each after a while: so long a TLS handshake takes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self, reader: Any, writer: Any) -> None:
        await asyncio.sleep(OPENS_IN)
        there = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))

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
    return max(sum(begin <= other < begin + 1.0 for other in times) for begin in times)


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
