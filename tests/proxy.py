"""A proxy before a server of the tests: it can become silent, or freeze in the middle of a send."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards connections to a port of this machine.

    silent: what is sent is accepted, and nothing is forwarded in either direction.
    """

    def __init__(self, target: int) -> None:
        self.silent = False
        self._target = target
        self._left: int | None = None
        self._sent = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def through(self, url: str) -> str:
        """The URL of the same server, through this proxy."""
        return url.replace(f":{urlsplit(url).port}/", f":{self.port}/")

    def freeze_after(self, size: int) -> None:
        """Forward so many more bytes of clients, and then none."""
        with self._lock:
            self._left = size

    @property
    def sent(self) -> int:
        """The bytes that clients have sent."""
        return self._sent

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.silent:
                    continue
                some = self._allowed(data) if up else data
                to.sendall(some)
                if len(some) < len(data):  # frozen: the connection stays open
                    self._ended.wait()
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def _allowed(self, data: bytes) -> bytes:
        with self._lock:
            self._sent += len(data)
            if self._left is None:
                return data
            some, self._left = data[: self._left], max(self._left - len(data), 0)
        return some
