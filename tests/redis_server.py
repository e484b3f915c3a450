"""A Redis of the tests' own: a real server on a free port, its files in a directory that goes."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.machine import program

PASSWORD = "p4ssw0rd-of-the-tests"


class RedisServer:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, append: str = "no") -> None:
        options = {
            "--port": str(self.port), "--bind": "127.0.0.1", "--dir": str(self._folder),
            "--save": "", "--appendonly": append, "--requirepass": PASSWORD,
        }  # fmt: skip
        arguments = [text for pair in options.items() for text in pair]
        server = program("redis-server")
        self._process = subprocess.Popen(
            [server, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < ends, "the Redis of the tests does not start"
                time.sleep(0.02)
            else:
                return

    def empty(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """One that runs until the block ends."""
    program("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
