"""What nobody else may see: secrets by reference, and the files that hold them.

Rule: a file that others can read is refused, never mended; nothing that was read is in a message.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from harvester import durable
from harvester.errors import UsageError
from harvester.model import Hidden

FILE, DIRECTORY = "600", "700"
"""The modes that are asked for."""


_ESCAPES = "in a user or a password / is written %2F, @ %40, # %23, ? %3F"

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+]*)://"
    r"(?:[^/?#@\s]*@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<name>[^?#@\s]*))?"
    r"(?:\?[^@#]*)?"
)


class Place(NamedTuple):
    """The parts of a URL that may be shown; port and name, which is its path, may be empty."""

    scheme: str
    host: str
    port: str
    name: str


def place_of(url: Hidden) -> Place | None:
    """What may be shown of a URL; None if it cannot be told for certain where a password ends."""
    found = _URL.fullmatch(url.value)
    try:
        if urlsplit(url.value).port == 0:
            return None
    except ValueError:
        return None
    return Place(*[part or "" for part in found.groups()]) if found else None


def advice(url: Hidden) -> str:
    """What else to say of a URL that cannot be read, if it may be for its user or password."""
    return f"; {_ESCAPES}" if "@" in url.value else ""


def check_private(status: os.stat_result, path: Path, what: str, mode: str = FILE) -> None:
    """Raise `UsageError` if group or others may read or write what has this status."""
    if status.st_mode & 0o077:
        raise UsageError(f"{what} is open to others; run: chmod {mode} {shlex.quote(str(path))}")


def read_private(path: Path, what: str) -> str:
    """The text of a private file, stripped; raises `UsageError`, also if it is empty.

    what: the file in a sentence, as "the secret file x".
    """
    text = ""
    try:
        with path.open(encoding="utf-8") as file:
            check_private(os.fstat(file.fileno()), path, what)
            text = file.read().strip()
    except OSError as exc:
        problem = f"cannot be read ({exc.strerror})"
    except UnicodeDecodeError:
        problem = "is not text"
    else:
        problem = "is empty"
    if not text:
        raise UsageError(f"{what} {problem}")
    return text


def read_reference(reference: str, folder: Path, noun: str = "secret") -> str:
    """What ``env:NAME`` or ``file:PATH`` refers to; raises `UsageError`.

    folder: what a relative path starts from; noun: what is referred to.
    """
    kind, _, name = reference.partition(":")
    if kind == "file" and name:
        path = folder / Path(name).expanduser()
        return read_private(path, f"the {noun} file {path}")
    if kind != "env" or not name:
        raise UsageError(f"a {noun} is a reference: env:NAME or file:PATH")
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(f"the environment variable {name} is not set")
    return value


def write_private(path: Path, content: bytes) -> None:
    """Put a file of mode 0600 in a path's place, durably and all at once; raises `OSError`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)  # of a process of that number which was killed here
    with durable.step("make private file"):
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            durable.write(descriptor, content, "private file")
            durable.sync(descriptor, "private file")
        finally:
            os.close(descriptor)
        durable.rename(beside, path, "private file")
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
