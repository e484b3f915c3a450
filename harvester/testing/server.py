"""The simulator on a real socket.

Rule: as little HTTP as aiohttp and others speak to it, since it must not be what a benchmark
measures: one request at a time on a connection, bodies by Content-Length.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast
from urllib.parse import parse_qsl

from harvester.testing.simulator import Reply, Simulator

MAX_REQUEST = 64 * 1024


class SimulatorServer:
    """A running server; use its ``url`` as the option ``base_url``."""

    def __init__(
        self, simulator: Simulator, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.simulator = simulator
        self.host = host
        self.port = port
        self.tls = tls
        self.connections: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return f"http{'' if self.tls is None else 's'}://{self.host}:{self.port}"


@asynccontextmanager
async def serve(
    simulator: Simulator,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[SimulatorServer]:
    """Serve a simulator over HTTP until the block ends; port 0 chooses a free port.

    tls: the certificate and the key of the server, for HTTPS.
    """
    running = SimulatorServer(simulator, host, port, tls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(running), host, port, backlog=4096, ssl=tls
    )
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        await _accept_no_more(server)
        server.close()
        for _ in range(2):
            for transport in list(running.connections):
                transport.abort()
            await asyncio.sleep(0)
        await server.wait_closed()


async def _accept_no_more(server: asyncio.Server) -> None:
    """A connection that is being accepted takes some turns of the loop.

    A server that is closed at that moment leaves its socket open, with a warning, in Python 3.11.
    """
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # a loop without readiness events for sockets
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    for _ in range(4):
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, running: SimulatorServer) -> None:
        self._running = running
        self._simulator = running.simulator
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._running.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._running.connections.discard(self._transport)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            if len(self._buffer) > MAX_REQUEST:
                self._abort()
            return
        line, _, headers = head.partition(b"\r\n")
        length = _content_length(headers)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        try:
            method, target, _ = line.decode("ascii").split(" ")
        except ValueError:
            self._abort()
            return
        path, _, query = target.partition("?")
        reply = self._simulator.handle(method, path, dict(parse_qsl(query)), rest[:length])
        if reply.delay:
            self._busy = True
            asyncio.get_running_loop().call_later(reply.delay, self._answer, reply)
        else:
            self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        self._busy = False
        if self._transport is None:
            return
        if reply.fault == "reset":
            self._abort()
            return
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        body = reply.body
        if reply.fault == "cut":
            self._transport.write(head % (reply.status, len(body)) + body[: len(body) // 2])
            self._transport.close()
            return
        self._transport.write(head % (reply.status, len(body)) + body)
        if self._buffer:
            self._next()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _content_length(headers: bytes) -> int:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
