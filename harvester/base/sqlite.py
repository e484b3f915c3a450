"""Checks of the SQLite library and of files of databases, before a driver opens them.

Rule: imports no SQLite driver; each module calls this before it connects.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from harvester.errors import UsageError

OLDEST = (3, 26)


def make_durable(connection: Any) -> None:
    """Let each commit of a connection be on the disk when it returns (`files.sync`)."""
    for pragma in ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON"):
        connection.execute(f"PRAGMA {pragma}")


def check_version(found: tuple[int, ...]) -> None:
    """Raise `UsageError` if the SQLite library is too old."""
    if found < OLDEST:
        least, loaded = (".".join(map(str, version)) for version in (OLDEST, found))
        raise UsageError("SQLite {} or newer is needed, and Python has loaded {}", least, loaded)


def check_place(path: Path, where: str) -> None:
    """Raise `UsageError` if the directory of a file that is to be made does not exist."""
    if not path.parent.is_dir():
        raise UsageError(
            "{} cannot be created: there is no directory {}; create the directory, or correct the"
            " path",
            where,
            path.parent,
        )


def make(path: Path) -> None:
    """Make an empty file if there is none; SQLite makes one without the group's right to write."""
    if not path.exists():
        with suppress(OSError):  # SQLite reports the reason
            path.touch()


def uri(path: Path, mode: str) -> str:
    """The URI of a file with the mode of opening: ``ro``, ``rw``, ``rwc``."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def in_place(path: Path) -> bool:
    """Whether its directory can be written, as SQLite must even to read a file with a log."""
    return os.access(path.parent, os.W_OK)


def as_it_lies(path: Path) -> str:
    """The URI of a file that no process changes; raises `UsageError` if its log holds changes."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise UsageError(
            "{} holds changes that are not yet in {}, but {} cannot be written; copy the whole"
            " directory to one that can be written",
            log,
            path.name,
            path.parent,
        )
    return f"{uri(path, 'ro')}&immutable=1"
