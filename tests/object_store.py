"""An S3 of one's own, and before it a door that is as narrow as those of some stores.

The door answers 501 to conditional requests, and 400 to bodies in AWS's chunks, as Aliyun OSS and
others are reported to do.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.own_server import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "practice"}
REGION = "cn-hangzhou"


class Store(NamedTuple):
    """A store that runs; seen: how often the door was asked what; refused: what it refused.

    asked: the method and the path of each request.  held: as long as it has a part of a path,
    objects of such paths are put only later.
    """

    endpoint: str
    behind: str
    seen: Counter[str]
    refused: list[str]
    asked: list[str]
    held: set[str]

    def spec(self, prefix: str) -> str:
        """The spec of a target; each first part of a prefix is a bucket, made here."""
        bucket = prefix.partition("/")[0]
        asked = urllib.request.Request(f"{self.behind}/{bucket}", method="PUT")
        urllib.request.urlopen(asked).close()
        return f"parquet:s3://{prefix}?endpoint={self.endpoint}&region={REGION}"


@contextmanager
def object_store() -> Iterator[Store]:
    """One that runs until the block ends."""
    port = free_port()
    arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(arguments, stdout=quiet, stderr=quiet) as process:
        try:
            behind = f"http://127.0.0.1:{port}"
            _wait_for(behind)
            held: set[str] = set()
            with _door(port, held) as (address, seen, refused, asked):
                yield Store(address, behind, seen, refused, asked, held)
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("moto's server does not answer")


@contextmanager
def _door(port: int, held: set[str]) -> Iterator[tuple[str, Counter[str], list[str], list[str]]]:
    seen: Counter[str] = Counter()
    refused: list[str] = []
    asked: list[str] = []

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            asked.append(f"{self.command} {self.path}")
            query = self.path.partition("?")[2]
            kind = "multipart" if "uploads" in query or "uploadId" in query else "plain"
            seen[f"{self.command} {kind}"] += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            while self.command == "PUT" and any(part in self.path for part in held):
                time.sleep(0.05)
            if any(name.lower().startswith(("if-match", "if-none")) for name in self.headers):
                self._refuse(501, "NotImplemented")
            elif "aws-chunked" in self.headers.get("Content-Encoding", ""):
                self._refuse(400, "InvalidArgument")
            else:
                inner = http.client.HTTPConnection("127.0.0.1", port)
                inner.request(self.command, self.path, body, dict(self.headers))
                answer = inner.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") or str(len(data))
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(data)
                inner.close()

        def _refuse(self, status: int, code: str) -> None:
            refused.append(f"{self.command} {status}")
            data = f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen, refused, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
