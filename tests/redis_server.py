"""A Redis of the tests' own: a real server on a free port, its files in a directory that goes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

PASSWORD = "p4ssw0rd-of-the-tests"


def program() -> str:
    """The server; where there is none its tests are skipped, and fail where all is to be tested."""
    found = shutil.which("redis-server")
    if found is None:
        why = "there is no redis-server on this machine"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


class RedisServer:
    """A server that can be stopped and started again.

    cluster: it is a node of a cluster.
    """

    def __init__(self, folder: Path, *, cluster: bool = False) -> None:
        self.port = 65_535
        while self.port > 55_535:  # a node takes the port 10,000 above, too
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        self._cluster = cluster
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, append: str = "no") -> None:
        options = {
            "--port": str(self.port), "--bind": "127.0.0.1", "--dir": str(self._folder),
            "--save": "", "--appendonly": append, "--requirepass": PASSWORD,
        }  # fmt: skip
        if self._cluster:
            options |= {
                "--cluster-enabled": "yes", "--cluster-node-timeout": "2000",
                "--masterauth": PASSWORD, "--appendfsync": "always",
            }  # fmt: skip
        arguments = [text for pair in options.items() for text in pair]
        self._process = subprocess.Popen(
            [program(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
    program()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


SLOTS = 16_384


@contextmanager
def redis_cluster(size: int = 3) -> Iterator[list[RedisServer]]:
    """The nodes of a cluster that runs until the block ends; each has a part of the slots."""
    program()
    with tempfile.TemporaryDirectory() as folder:
        nodes: list[RedisServer] = []
        try:
            for number in range(size):
                place = Path(folder, str(number))
                place.mkdir()
                nodes.append(RedisServer(place, cluster=True))
                nodes[-1].start("yes")
            _join(nodes)
            yield nodes
        finally:
            for node in nodes:
                node.stop()


def _join(nodes: list[RedisServer]) -> None:
    for number, node in enumerate(nodes):
        with redis.Redis.from_url(node.url) as client:
            part = range(SLOTS * number // len(nodes), SLOTS * (number + 1) // len(nodes))
            client.execute_command("CLUSTER", "ADDSLOTS", *part)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
    for node in nodes:
        wait_for_cluster(node)


def wait_for_cluster(node: RedisServer) -> None:
    """Wait until a node knows all slots."""
    ends = time.monotonic() + 30
    with redis.Redis.from_url(node.url, decode_responses=True) as client:
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            assert time.monotonic() < ends, "the Redis cluster of the tests does not come up"
            time.sleep(0.05)
