"""An S3 of the tests' own: moto's server in a process, and a door to it that can be shut."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS",
    "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-tests",
    "AWS_REGION": "us-east-1",
}


class S3Server:
    """A server on a free port; ``shut`` and ``reopen`` the way there, its data stays."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def make_bucket(self, name: str) -> None:
        self._ask(f"/{name}", "PUT")

    def remove_bucket(self, name: str) -> None:
        self._ask(f"/{name}", "DELETE")

    def empty(self) -> None:
        self._ask("/moto-api/reset", "POST")

    def _ask(self, path: str, method: str) -> None:
        request = urllib.request.Request(self.url + path, method=method, data=b"")
        urllib.request.urlopen(request, timeout=10).close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """One that runs until the block ends."""
    server = S3Server(_free_port())
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server.port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            ends = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", server.port), 1).close()
                    break
                assert process.poll() is None, "moto's server ended"
                assert time.monotonic() < ends, "moto's server does not start"
                time.sleep(0.05)
            yield server
        finally:
            process.kill()
            process.wait(20)


class Door:
    """A port that leads to another one, while it is open."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.hold = False
        """What comes is kept where it is."""

    def open(self) -> None:
        self._stop.clear()
        listening = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, args=(listening,))
        self._thread.start()

    def shut(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join(10)
            self._thread = None

    def _serve(self, listening: socket.socket) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as selector, listening:
            selector.register(listening, selectors.EVENT_READ)
            while not self._stop.is_set():
                if self.hold:
                    time.sleep(0.02)
                    continue
                for key, _ in selector.select(0.02):
                    one = key.fileobj
                    assert isinstance(one, socket.socket)
                    if one is listening:
                        near, far = (
                            one.accept()[0],
                            socket.create_connection(("127.0.0.1", self._to)),
                        )
                        pairs.update({near: far, far: near})
                        selector.register(near, selectors.EVENT_READ)
                        selector.register(far, selectors.EVENT_READ)
                    elif one in pairs:
                        self._pass(one, pairs, selector)
            for one in pairs:
                one.close()

    def _pass(
        self,
        one: socket.socket,
        pairs: dict[socket.socket, socket.socket],
        selector: selectors.BaseSelector,
    ) -> None:
        try:
            data = one.recv(65536)
            if data:
                pairs[one].sendall(data)
                return
        except OSError:
            pass
        other = pairs.pop(one)
        pairs.pop(other)
        for each in (one, other):
            selector.unregister(each)
            each.close()


@contextmanager
def door(server: S3Server) -> Iterator[Door]:
    """A door that is open; shut for good when the block ends."""
    made = Door(server.port)
    made.open()
    try:
        yield made
    finally:
        made.shut()
