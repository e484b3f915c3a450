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
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlparse

from harvester.base.secrets import read_reference
from harvester.errors import UsageError
from harvester.exports import store
from harvester.exports.drafts import Drafts
from harvester.texts import say

OPTIONS = ("endpoint", "region", "access_key", "secret_key")
LIMIT = 180.0
"""Seconds for a call, repetitions included."""
_LOOK = 0.1
_ONE_PUT = 8 << 20
"""Bytes of an object; from 10 MiB on the library would upload it in several parts."""
_VIRTUAL = (".aliyuncs.com", ".myqcloud.com")
"""Whose buckets are named in the host's name."""


class Bucket:
    """The objects below a prefix.

    place: ``s3://BUCKET/PREFIX``.  options: ``endpoint``, a URL, without it AWS; ``region``;
    ``access_key``, ``secret_key``: where they are, as ``env:NAME`` or ``file:PATH``, without them
    what the environment has for AWS.  stopped: is called often, and raises to end a call early.

    Raises `UsageError` for a place without a bucket, or with a key in it.
    """

    most: int | None = _ONE_PUT
    is_shared = True

    def __init__(self, place: str, options: Mapping[str, str], stopped: Callable[[], None]) -> None:
        self._root = place.removeprefix("s3://").strip("/")
        if "@" in self._root:
            raise UsageError(
                "export: parquet:s3://…@… has a key in it; set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or write ?access_key=env:NAME&secret_key=env:NAME"
            )
        if not self._root:
            raise UsageError(
                "export: parquet:s3:// names no bucket; write parquet:s3://BUCKET/PREFIX"
            )
        self._stopped = stopped
        endpoint = options.get("endpoint")
        host = urlparse(endpoint or "").hostname or ""
        keys = {
            name: read_reference(options[name], Path(), "key").value
            for name in ("access_key", "secret_key")
            if name in options
        }
        self._options = {
            **keys,
            "region": options.get("region"),
            "endpoint_override": endpoint,
            "force_virtual_addressing": host.endswith(_VIRTUAL),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._drafts: Drafts | None = None
        self._beside: TemporaryDirectory[str] | None = None

    def __repr__(self) -> str:
        return f"<Bucket s3://{self._root}>"

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
            self._beside = TemporaryDirectory()
            self._drafts = Drafts(Path(self._beside.name, "drafts"))

    @property
    def drafts(self) -> Drafts:
        assert self._drafts is not None, "not open"
        return self._drafts

    def read(self, name: str) -> bytes:
        """The content of an object; empty if there is none."""
        data: bytes | None = self._call("get", self._path(name))
        bucket = self._root.partition("/")[0]
        if data is None and not self._call("has_bucket", bucket):
            raise FileNotFoundError(errno.ENOENT, say("there is no bucket {}", bucket))
        return data or b""

    def save(self, name: str, data: bytes) -> None:
        """Replace an object."""
        self._call("put", self._path(name), data)

    def existing(self, names: Iterable[str]) -> list[str]:
        """Those of the objects that are there."""
        folders = {str(PurePosixPath(name).parent) for name in names}
        found = {path for folder in folders for path in self._call("listed", self._path(folder))}
        return [name for name in names if self._path(name) in found]

    def has(self, name: str, size: int, checksum: str, *, thorough: bool) -> bool:
        """Whether an object is as it was put; without ``thorough`` that is not asked."""
        data: bytes | None = self._call("get", self._path(name)) if thorough else None
        made = hashlib.blake2b(data or b"", digest_size=16).hexdigest()
        return not thorough or (data is not None and len(data) == size and made == checksum)

    def put(self, name: str) -> None:
        """Put a draft in its place."""
        self.save(name, self.drafts.path(name).read_bytes())

    def remove(self, name: str) -> None:
        """Remove an object; it may be gone."""
        self._call("remove", self._path(name))

    def close(self) -> None:
        """End the process, and remove the drafts."""
        self._drafts = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.cleanup()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _call(self, method: str, *arguments: Any) -> Any:
        """What a method of `harvester.exports.store.Store` returns in the process."""
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
