"""Servers that misbehave on real sockets, and the certificates for those that speak TLS.

A server asks an async function what to do with each request; `simulated` makes that function from
a simulated WeChat.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harvester.testing import Simulator

HOST = "127.0.0.1"
BEFORE, AFTER = datetime.timedelta(days=30), datetime.timedelta(days=1)


class Asked(NamedTuple):
    """One request as it came; number: counted from 0 over all connections."""

    number: int
    head: str
    body: bytes

    @property
    def target(self) -> str:
        return self.head.split(" ", 2)[1]


Answer = Callable[[asyncio.StreamWriter, Asked], Awaitable[None]]


class Wire:
    """A running server."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.scheme = "http"
        self.asked: list[Asked] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)\r\ncontent-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                asked = Asked(len(self.asked), head, body)
                self.asked.append(asked)
                await self.answer(writer, asked)
        writer.close()
        self._tasks.discard(task)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))


@asynccontextmanager
async def wire(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Serve until the block ends."""
    server = Wire(answer)
    running = await asyncio.start_server(server.connected, HOST, 0, ssl=tls)
    server.port = running.sockets[0].getsockname()[1]
    server.scheme = "https" if tls else "http"
    try:
        yield server
    finally:
        running.close()
        await server.end()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST and not with FIN."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with its length, after which the connection stays open."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def simulated(simulator: Simulator) -> Answer:
    """What a simulated WeChat answers, also when it is asked through a proxy."""

    async def answer(writer: asyncio.StreamWriter, asked: Asked) -> None:
        method, target, _ = asked.head.split(" ", 2)
        parts = urlsplit(target)
        reply = simulator.handle(method, parts.path, dict(parse_qsl(parts.query)), asked.body)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.fault == "reset":
            reset(writer)
            return
        writer.write(http(reply.body, status=f"{reply.status} X"))

    return answer


class Certificates:
    """An authority, its file, and servers' TLS with good and bad certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def good(self) -> ssl.SSLContext:
        return self._issued(HOST)

    def wrong_name(self) -> ssl.SSLContext:
        return self._issued("another.example")

    def expired(self) -> ssl.SSLContext:
        now = datetime.datetime.now(datetime.UTC)
        return self._issued(HOST, not_before=now - BEFORE, not_after=now - AFTER)

    def self_signed(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - AFTER)
            .not_valid_after(now + AFTER)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False
            )
            .sign(key, hashes.SHA256())
        )
        path = self._folder / "self-signed.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _issued(self, name: str, **validity: datetime.datetime) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name, **validity).configure_cert(context)
        return context
