"""Where the Iceberg tables are: a local directory, or a bucket.

Rule: an object that was written is durable.

The library writes through a `FileIO`; the one for a local directory syncs each file and its folder
before a table refers to it.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlparse

from pyarrow import fs
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from harvester.base import files as durable
from harvester.base.secrets import read_reference

_VIRTUAL = (".aliyuncs.com", ".myqcloud.com")
"""Whose buckets are named in the host's name."""
_TIMEOUT = 60.0
_BUFFER = 1 << 18
_NO_TRAILERS = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
"""Trailing checksums in chunks, the default of AWS's library, are refused by other stores.

The library reads these variables as a file system is made, and has no other setting for this.
"""


class Found(NamedTuple):
    """An object of a listing; name: below the place; changed: Unix time."""

    name: str
    changed: float


class Files(Protocol):
    """A place for objects.

    root: its location as tables name it.  properties: what the library's `FileIO` is made with.
    catalog: the URL of the SQLite database that has the newest state of each table.
    """

    root: str
    properties: dict[str, str]
    catalog: str

    def check(self) -> None:
        """Raise `OSError` if the place cannot be reached."""
        ...

    def put(self, name: str, data: bytes) -> None: ...

    def get(self, name: str) -> bytes:
        """The content of an object, empty if there is none."""
        ...

    def find(self, folder: str) -> list[Found]:
        """All objects in a folder, those in folders within it too; none if there is no folder."""
        ...

    def folders(self) -> list[str]:
        """The folders right below the place."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object; it may be gone."""
        ...


class LocalFiles:
    """A local directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.catalog = f"sqlite:///{path.resolve() / 'catalog.sqlite'}"
        self.root = f"file://{path.resolve()}"
        self.properties = {"py-io-impl": f"{__name__}.{SyncedFileIO.__name__}"}

    def check(self) -> None: ...

    def put(self, name: str, data: bytes) -> None:
        durable.replace_file(self.path / name, data, "file of a table")

    def get(self, name: str) -> bytes:
        with suppress(FileNotFoundError):
            return (self.path / name).read_bytes()
        return b""

    def find(self, folder: str) -> list[Found]:
        return sorted(self._walk(self.path / folder))

    def _walk(self, folder: Path) -> Iterator[Found]:
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place) / name
                with suppress(FileNotFoundError):
                    yield Found(path.relative_to(self.path).as_posix(), path.stat().st_mtime)

    def folders(self) -> list[str]:
        if not self.path.is_dir():
            return []
        return sorted(each.name for each in self.path.iterdir() if each.is_dir())

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            durable.remove(self.path / name, "file of a table")


class SyncedFileIO(PyArrowFileIO):
    """The library's access to local files, each of which is synced as it is closed."""

    def new_output(self, location: str) -> Any:
        return _SyncedOutput(location, self)


class _SyncedOutput(OutputFile):
    def __init__(self, location: str, files: PyArrowFileIO) -> None:
        super().__init__(location)
        self._files = files
        self._path = Path(urlparse(location).path)

    def __len__(self) -> int:
        return self._path.stat().st_size

    def exists(self) -> bool:
        return self._path.exists()

    def to_input_file(self) -> InputFile:
        return self._files.new_input(self.location)

    def create(self, overwrite: bool = False) -> Any:
        durable.make_directory(self._path.parent, "folder of a table")
        return _Synced(self._path, overwrite=overwrite)


class _Synced(io.BufferedWriter):
    """A file that is there, whole and durable, once it is closed."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if not overwrite and path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        self._place = path
        self._draft = path.with_name(f".{path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_TRUNC
        super().__init__(io.FileIO(os.open(self._draft, flags, 0o666), "w"), _BUFFER)

    def close(self) -> None:
        if self.closed:
            return
        try:
            with durable.step("write table file"):
                self.flush()
            durable.sync(self.fileno(), "table file")
        finally:
            super().close()
        durable.rename(self._draft, self._place, "table file")


class Bucket(NamedTuple):
    """A place in an S3-compatible store.

    place: ``bucket/prefix``.  endpoint: its URL, empty for AWS.  access_key, secret_key: where they
    are, as ``env:NAME`` or ``file:PATH``; empty for what the environment has for AWS.
    """

    place: str
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""


class BucketFiles:
    """Objects below a prefix of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.root = f"s3://{bucket.place}"
        self.catalog = "sqlite:///:memory:"  # it can be made from the tables at any time
        self.properties = {
            "py-io-impl": f"{__name__}.{BucketFileIO.__name__}",
            "s3.endpoint": bucket.endpoint,
            "s3.region": bucket.region,
        }
        for name, reference in (
            ("s3.access-key-id", bucket.access_key),
            ("s3.secret-access-key", bucket.secret_key),
        ):
            if reference:
                self.properties[name] = read_reference(reference, Path(), "key").value
        self._place = bucket.place
        self._made: fs.S3FileSystem | None = None

    def __repr__(self) -> str:
        return f"<BucketFiles {self.root}>"

    @property
    def _system(self) -> fs.S3FileSystem:
        if self._made is None:
            self._made = _system_of(self.properties)
        return self._made

    def check(self) -> None:
        bucket = self._place.partition("/")[0]
        if self._system.get_file_info(bucket).type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, f"there is no bucket {bucket}")

    def put(self, name: str, data: bytes) -> None:
        with self._system.open_output_stream(self._path(name)) as out:
            out.write(data)

    def get(self, name: str) -> bytes:
        with suppress(FileNotFoundError), self._system.open_input_stream(self._path(name)) as file:
            return bytes(file.read())
        return b""

    def find(self, folder: str) -> list[Found]:
        selector = fs.FileSelector(self._path(folder), allow_not_found=True, recursive=True)
        begin = len(self._place) + 1
        return sorted(
            Found(each.path[begin:], each.mtime_ns / 1e9)
            for each in self._system.get_file_info(selector)
            if each.type == fs.FileType.File
        )

    def folders(self) -> list[str]:
        selector = fs.FileSelector(self._place, allow_not_found=True)
        found = self._system.get_file_info(selector)
        return sorted(each.base_name for each in found if each.type == fs.FileType.Directory)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._system.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._place}/{name}"


class BucketFileIO(PyArrowFileIO):
    """The library's access to a bucket, by the same requests as ours."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        system = _system_of({name: str(value) for name, value in self.properties.items()})

        def system_of(scheme: str, netloc: str | None = None) -> fs.FileSystem:
            return system

        self.fs_by_scheme = system_of


def _system_of(properties: Mapping[str, str]) -> fs.S3FileSystem:
    """The file system; small objects are put by one request, as every store takes it."""
    endpoint = properties.get("s3.endpoint") or None
    host = urlparse(endpoint or "").hostname or ""
    with _defaults(_NO_TRAILERS):
        return fs.S3FileSystem(
            access_key=properties.get("s3.access-key-id"),
            secret_key=properties.get("s3.secret-access-key"),
            region=properties.get("s3.region") or None,
            endpoint_override=endpoint,
            force_virtual_addressing=host.endswith(_VIRTUAL),
            allow_delayed_open=True,
            background_writes=False,
            request_timeout=_TIMEOUT,
            connect_timeout=_TIMEOUT,
        )


@contextmanager
def _defaults(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that are set within the block, unless the user has set them."""
    missing = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in missing})
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
