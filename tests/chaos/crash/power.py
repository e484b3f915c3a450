"""The disk after a power cut: what was synced is there, anything else may be there or not.

Rule: a file that was not synced since it was written is as it was then, or as it is now, or in
between; a directory is as it was when it was synced, or as it is now.

The process that is to lose its power has ``power.c`` preloaded, which keeps what was synced.  What
is not shown: a disk that lies about a sync, and blocks of one file that were written in another
order than that of the writes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.machine import not_here, program

SOURCE = Path(__file__).with_name("power.c")


def library(folder: Path) -> Path:
    """The library to be preloaded; where it cannot be made its tests are skipped, under CI fail."""
    if os.uname().sysname != "Linux":
        not_here("Linux")
    compiler = program("cc")
    made = folder / "power.so"
    options = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", made, SOURCE, "-ldl"], check=True)
    return made


class Disk(NamedTuple):
    """A directory of a process, and what is kept beside it of what was synced."""

    root: Path
    kept: Path

    def environment(self) -> dict[str, str]:
        """What the process must be told."""
        return {"POWER_ROOT": str(self.root), "POWER_DISK": str(self.kept)}

    def begin(self) -> None:
        """The machine is on: all that stands in the directory is on the disk."""
        shutil.rmtree(self.kept, ignore_errors=True)
        for name in ("inodes", "dirs", "keep"):
            (self.kept / name).mkdir(parents=True)
        for folder, _, files in os.walk(self.root):
            _write_entries(Path(folder), self.kept)
            for name in files:
                path = Path(folder) / name
                shutil.copyfile(path, self.kept / "inodes" / str(path.stat().st_ino))

    def cut(self, draw: Random | None) -> None:
        """The power is cut; draw: what becomes of what was not synced, None: it is lost."""
        after = self.root.with_name("after the cut")
        self._survive(self.root, after, draw)
        shutil.rmtree(self.root)
        after.rename(self.root)

    def _survive(self, folder: Path, to: Path, draw: Random | None) -> None:
        to.mkdir()
        synced = self.kept / "dirs" / str(folder.stat().st_ino) if folder.exists() else None
        now = _entries(folder) if folder.exists() else []
        then = _read_entries(synced) if synced is not None else []
        chosen = now if draw is not None and draw.random() < 0.5 else then
        for inode, kind, name in chosen:
            if kind == "d":
                self._survive(folder / name, to / name, draw)
            else:
                (to / name).write_bytes(self._content(inode, draw))
                (to / name).chmod(0o600)  # among them are tokens

    def _content(self, inode: int, draw: Random | None) -> bytes:
        kept = self.kept / "inodes" / str(inode)
        then = kept.read_bytes() if kept.exists() else b""
        if draw is None or draw.random() < 0.4:
            return then
        now = self._now(inode)
        if draw.random() < 0.5:
            return now
        if now[: len(then)] == then:  # it grew: a part of that
            return now[: draw.randint(len(then), len(now))]
        return then

    def _now(self, inode: int) -> bytes:
        kept = self.kept / "keep" / str(inode)
        if kept.exists():
            return kept.read_bytes()
        for folder, _, files in os.walk(self.root):
            for name in files:
                path = Path(folder) / name
                if path.stat().st_ino == inode:
                    return path.read_bytes()
        raise AssertionError(f"inode {inode} is nowhere")


Entry = tuple[int, str, str]


def _entries(folder: Path) -> list[Entry]:
    with os.scandir(folder) as found:
        return [(each.inode(), "d" if each.is_dir() else "f", each.name) for each in found]


def _write_entries(folder: Path, kept: Path) -> None:
    lines = [f"{inode} {kind} {name}\n" for inode, kind, name in _entries(folder)]
    (kept / "dirs" / str(folder.stat().st_ino)).write_text("".join(lines))


def _read_entries(path: Path) -> list[Entry]:
    """Nothing if the directory was never synced."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.split(" ", 2) for line in lines]
    return [(int(inode), kind, name) for inode, kind, name in found]
