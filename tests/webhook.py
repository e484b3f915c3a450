"""A webhook on loopback: it keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

TOKEN = "t0ken-of-the-robot"
"""The part of its path that is a secret."""


class Sent(NamedTuple):
    """A request; body: what its JSON was."""

    method: str
    path: str
    body: Any


class Webhook(ThreadingHTTPServer):
    """status: of its answers; got, refused: the requests that it took, and that it did not."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[Sent] = []
        self.refused: list[Sent] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"127.0.0.1:{self.server_port}/{TOKEN}"
        """Without a scheme: ``json://`` is that of a message, ``http://`` that of a ping."""

    def titled(self, word: str = "") -> list[str]:
        """The titles of messages that it took, with this word."""
        return [each.body["title"] for each in self.got if word in each.body["title"]]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Webhook)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = Sent(self.command, self.path, json.loads(body) if body else None)
        (server.got if server.status == 200 else server.refused).append(sent)
        self.send_response(server.status)
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that runs until the block ends."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
