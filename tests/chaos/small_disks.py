"""Disks that are small, or that become read-only during a run.

Rule: a separate file system where mounting is allowed, else the closest substitute; the machine's
own disks are never filled.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KB = 1024


class Tmpfs:
    """A small file system in memory, of which a file takes all but what is left free."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / "filler"

    def leave(self, kilobytes: int) -> None:
        """Have so much room from now on."""
        self.free()
        found = os.statvfs(self.place)
        left = found.f_bavail * found.f_frsize - kilobytes * KB
        self._filler.write_bytes(bytes(max(left, 0)))

    def free(self) -> None:
        """Make room."""
        self._filler.unlink(missing_ok=True)


class LongestFile:
    """No file may grow beyond a limit (RLIMIT_FSIZE): what a quota does, as far as one user can."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def leave(self, kilobytes: int) -> None:
        """Have so much room in a file from now on."""
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * KB, most))

    def free(self) -> None:
        """Make room."""
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def turn_read_only(self) -> None:
        """From now on no file may be written to."""
        self.leave(0)

    mend = free


SmallDisk = Tmpfs | LongestFile


def _mounted(*arguments: str | Path) -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(kind: str, folder: Path) -> Iterator[SmallDisk]:
    """A disk of that kind: ``tmpfs`` (where it may be mounted) or ``limit``."""
    place = folder / "disk"
    place.mkdir()
    if kind == "tmpfs" and _mounted("-t", "tmpfs", "-o", "size=32m", "tmpfs", place):
        try:
            yield Tmpfs(place)
        finally:
            subprocess.run(["umount", place], check=True)
        return
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    disk = LongestFile(place)
    try:
        yield disk
    finally:
        disk.free()
        signal.signal(signal.SIGXFSZ, former)


class Ext4:
    """A file system in a file, that turns read-only when it is told of an error."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "place"
        self.place.mkdir()
        self._image = folder / "image"

    def mounted(self) -> bool:
        """Mount it; gives whether that may be done here."""
        if not self._image.exists():
            self._image.write_bytes(bytes(16 * KB * KB))
            if subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=False).returncode:
                return False
        return _mounted("-o", "loop,errors=remount-ro", self._image, self.place)

    def turn_read_only(self) -> None:
        """What the kernel does when it finds that a disk is damaged."""
        found = subprocess.run(
            ["findmnt", "-no", "SOURCE", self.place], capture_output=True, text=True, check=True
        )
        name = Path(found.stdout.strip()).name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test")

    def mend(self) -> None:
        """Unmount it, see to its errors, and mount it again."""
        self.unmount()
        subprocess.run(["e2fsck", "-fy", self._image], capture_output=True, check=False)
        assert self.mounted()

    def unmount(self) -> None:
        subprocess.run(["umount", self.place], check=True)


@contextmanager
def read_only_disk(folder: Path) -> Iterator[Ext4 | LongestFile]:
    """A disk that can be made to turn read-only while files on it are open."""
    disk = Ext4(folder)
    if os.geteuid() == 0 and shutil.which("mkfs.ext4") and disk.mounted():
        try:
            yield disk
        finally:
            disk.unmount()
        return
    with small_disk("limit", folder) as without:
        assert isinstance(without, LongestFile)
        yield without
