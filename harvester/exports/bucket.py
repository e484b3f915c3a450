"""A bucket of an S3-compatible store as the place of an export's files: ``s3://BUCKET/PREFIX``.

Rule: an object is replaced by one put, so there is no upload of several parts that could be left
unfinished.  A call ends after `LIMIT` seconds, and at once if the export is interrupted: a process
of its own makes it, which is killed then.

A bucket has no lock, and objects are replaced one after the other.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO
from urllib.parse import urlparse

from harvester.base.secrets import check_reference, read_reference
from harvester.errors import UsageError
from harvester.exports import store
from harvester.texts import say

_KEYS = ("access_key", "secret_key")
OPTIONS = ("endpoint", "region", *_KEYS)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
LIMIT = 180.0
"""Seconds for a call, repetitions included."""
_LOOK = 0.1
_ONE_PUT = 8 << 20
"""Bytes of an object; from 10 MiB on the library would upload it in several parts."""
_VIRTUAL = (".aliyuncs.com", ".myqcloud.com")
"""Whose buckets are named in the host's name."""


class Bucket:
    """The objects below a prefix.

    place: ``s3://BUCKET/PREFIX``.  options: ``endpoint``, a URL, without it that of the
    environment, or AWS; ``region``; ``access_key``, ``secret_key``: where they are, as ``env:NAME``
    or ``file:PATH``, without them what the environment has for AWS.  stopped: is called often, and
    raises to end a call early.

    Raises `UsageError` for what can be known without the environment and the files of keys.
    """

    most: int | None = _ONE_PUT
    is_shared = True

    def __init__(self, place: str, options: Mapping[str, str], stopped: Callable[[], None]) -> None:
        self._root = place.removeprefix("s3://").removesuffix("/")
        if "@" in self._root:
            raise UsageError(
                "export: parquet:s3://…@… contains a key; set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or write ?access_key=env:NAME&secret_key=env:NAME"
            )
        if not self._root:
            raise UsageError(
                "export: parquet:s3:// names no bucket; write parquet:s3://BUCKET/PREFIX"
            )
        if {"", ".", ".."} & {*self._root.split("/")}:
            raise UsageError(
                "export: parquet:{} contains an empty part, . or ..; write"
                " parquet:s3://BUCKET/PREFIX",
                place,
            )
        keys = [options[name] for name in _KEYS if name in options]
        for key in keys:
            check_reference(key, "key")
        if len(keys) == 1:
            raise UsageError("export: access_key and secret_key must be given together")
        if "endpoint" in options:
            _host_of(options["endpoint"], "?endpoint")
        self._stopped = stopped
        self._given = options
        self._process: subprocess.Popen[bytes] | None = None
        self._drafts: IO[bytes] | None = None
        self._extents: dict[str, tuple[int, int]] = {}

    def check(self) -> None:
        """Raise `UsageError` if a key, or the endpoint of the environment, cannot be used here."""
        _ = self._options

    @property
    def _options(self) -> dict[str, Any]:
        where = next((name for name in _ENDPOINTS if os.environ.get(name)), "")
        endpoint = self._given.get("endpoint") or os.environ.get(where)
        host = _host_of(endpoint, where) if endpoint else ""
        keys = [(name, self._given[name]) for name in _KEYS if name in self._given]
        return {
            **{name: read_reference(each, Path(), "key").value for name, each in keys},
            "region": self._given.get("region"),
            "endpoint_override": endpoint,
            "force_virtual_addressing": host.endswith(_VIRTUAL),
        }

    def open(self, *, create: bool) -> None:
        """Start the process; nothing is asked for yet."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", store.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # an interrupt of the terminal is for the export
        )
        self._call("", self._options)
        if create:
            self._drafts = TemporaryFile()  # noqa: SIM115  (without a name: a kill leaves nothing)

    def new_draft(self, name: str) -> BinaryIO:
        return _Draft(partial(self._keep, name))

    def draft(self, name: str) -> BytesIO:
        assert self._drafts is not None, "not open"
        begin, size = self._extents[name]
        self._drafts.seek(begin)
        return BytesIO(self._drafts.read(size))

    def _keep(self, name: str, data: bytes) -> None:
        assert self._drafts is not None, "not open"
        self._extents[name] = self._drafts.seek(0, os.SEEK_END), len(data)
        self._drafts.write(data)

    def read(self, name: str) -> bytes:
        data: bytes | None = self._call("get", self._path(name))
        bucket = self._root.partition("/")[0]
        if data is None and not self._call("has_bucket", bucket):
            raise FileNotFoundError(errno.ENOENT, say("there is no bucket {}", bucket))
        return data or b""

    def save(self, name: str, data: bytes) -> None:
        self._call("put", self._path(name), data)

    def existing(self, names: Iterable[str]) -> list[str]:
        folders = {str(PurePosixPath(name).parent) for name in names}
        found = {path for folder in folders for path in self._call("listed", self._path(folder))}
        return [name for name in names if self._path(name) in found]

    def has(self, name: str, size: int, checksum: str, *, thorough: bool) -> bool:
        """Whether an object is as it was put; without ``thorough`` that is not asked."""
        data: bytes | None = self._call("get", self._path(name)) if thorough else None
        made = hashlib.blake2b(data or b"", digest_size=16).hexdigest()
        return not thorough or (data is not None and len(data) == size and made == checksum)

    def put(self, name: str) -> None:
        self.save(name, self.draft(name).read())

    def remove(self, name: str) -> None:
        self._call("remove", self._path(name))

    def close(self) -> None:
        drafts, self._drafts = self._drafts, None
        if drafts is not None:
            drafts.close()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _call(self, method: str, *arguments: Any) -> Any:
        process = self._process
        assert process is not None, "not open"
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((method, arguments if method else arguments[0]), process.stdin)
            process.stdin.flush()
            ends = time.monotonic() + LIMIT
            while not select.select([process.stdout], [], [], _LOOK)[0]:
                self._stopped()
                if time.monotonic() > ends:
                    raise TimeoutError(
                        errno.ETIMEDOUT, say("it has not answered for {:g} s", LIMIT)
                    )
            value, error = pickle.load(process.stdout)
        except (BrokenPipeError, EOFError):
            raise OSError(errno.EIO, say("the process that sends the requests has ended")) from None
        if error:
            raise OSError(errno.EIO, error)
        return value


def _host_of(endpoint: str, where: str) -> str:
    try:
        url = urlparse(endpoint)
        if url.scheme in ("http", "https") and url.hostname and url.port != 0:
            return url.hostname
    except ValueError:  # of its port
        pass
    raise UsageError("export: {}: {} is not a URL; write it as https://HOST", where, endpoint)


class _Draft(BytesIO):
    """A draft in memory, since an object is small; keep: is called with it as it is closed."""

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        super().__init__()
        self._keep = keep

    def close(self) -> None:
        if not self.closed:
            self._keep(self.getvalue())
        super().close()
