"""File operations that must be durable, each with a name.

Rule: a write that must outlive the process is made here, or is wrapped in a `step`.

A name is what is done and to what: ``fsync segment``, ``rename token``, ``commit ledger``.  Tests
observe the steps, and kill the process before and after each.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from harvester.errors import POSIX

try:
    import fcntl
except ImportError:
    raise ImportError(POSIX) from None

Watcher = Callable[[str, bool], None]
"""Called with the name of a step before it (False) and after it (True)."""

_PIECES = 1024
"""The most pieces of one call: the limit of Linux and macOS."""
_watcher: Watcher | None = None


def watch(watcher: Watcher | None) -> None:
    """Set the observer of the steps of this process; None for no observer."""
    global _watcher
    _watcher = watcher


class step:  # noqa: N801  (reads as the noun it is)
    """One durable step, as a context manager; a step that failed is not reported as done."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _watcher is not None:
            _watcher(self._name, False)

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if _watcher is not None and kind is None:
            _watcher(self._name, True)


def write(descriptor: int, data: bytes, what: str) -> None:
    """Write all of it, in as many calls as the system needs."""
    with step(f"write {what}"):
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]


def write_pieces(descriptor: int, pieces: Sequence[bytes], what: str) -> int:
    """Write all pieces without joining them, which would copy them; give their length in bytes."""
    written = 0
    with step(f"write {what}"):
        for begin in range(0, len(pieces), _PIECES):
            some = pieces[begin : begin + _PIECES]
            size = sum(map(len, some))
            left = size - os.writev(descriptor, some)
            if left:  # a signal, or the disk is almost full
                view = memoryview(b"".join(some))[-left:]
                while view:
                    view = view[os.write(descriptor, view) :]
            written += size
    return written


def _flush(descriptor: int, otherwise: Callable[[int], None]) -> None:
    """Write a file to the disk itself; macOS's fsync leaves it in the cache of the disk."""
    if full := getattr(fcntl, "F_FULLFSYNC", 0):
        with suppress(OSError):  # a file system without it
            fcntl.fcntl(descriptor, full)
            return
    otherwise(descriptor)


def _sync_data(descriptor: int) -> None:
    _flush(descriptor, getattr(os, "fdatasync", os.fsync))


def sync(descriptor: int, what: str) -> None:
    """Make a file's data and length durable."""
    with step(f"fsync {what}"):
        _sync_data(descriptor)


def truncate(descriptor: int, size: int, what: str) -> None:
    """Cut a file to a length, durably."""
    with step(f"truncate {what}"):
        os.ftruncate(descriptor, size)
        _flush(descriptor, os.fsync)


def rename(path: Path, place: Path, what: str) -> None:
    """Replace a file by another, durably."""
    with step(f"rename {what}"):
        os.replace(path, place)
        sync_directory(place.parent)


def replace_file(
    path: Path, content: bytes, what: str, mode: int = 0o666, *, masked: bool = True
) -> None:
    """Replace a file, or make it, atomically; mode: if masked, without what the process masks."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)  # left by a killed process with the same number
    with step(f"make {what}"):
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            if not masked:
                os.fchmod(descriptor, mode)
            write(descriptor, content, what)
            sync(descriptor, what)
        finally:
            os.close(descriptor)
        rename(beside, path, what)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove(path: Path, what: str) -> None:
    """Remove a file."""
    with step(f"remove {what}"):
        path.unlink()


def make_directory(path: Path, what: str, mode: int = 0o777) -> None:
    """Create a directory of a mode, and its parents, durably; does nothing if it exists."""
    if path.is_dir():
        return
    with step(f"make {what}"):
        missing = [each for each in (path, *path.absolute().parents) if not each.exists()]
        path.mkdir(mode, parents=True, exist_ok=True)
        for each in missing:
            with suppress(PermissionError):  # another user's directory: writable, not readable
                sync_directory(each.absolute().parent)


def is_full(exc: OSError) -> bool:
    """Whether an error means that the disk, a quota or a size limit is full."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def has_room(path: Path) -> bool:
    """Whether the disk of a path has space, for errors without a number; True if unknown."""
    try:
        return os.statvfs(path).f_bavail > 0
    except OSError:
        return True


def sync_directory(path: Path) -> None:
    """Make new and renamed files of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _flush(descriptor, os.fsync)
    finally:
        os.close(descriptor)
