"""What the servers that the tests start have in common."""

from __future__ import annotations

import os
import pwd
import socket
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_NUMBERS = count(1)


def database_name() -> str:
    """A name that no other test uses: a server that was given has databases of others."""
    return f"d{os.getpid()}{next(_NUMBERS):04}"


def given_port(kind: str) -> int | None:
    """The port on loopback of a database that runs already: ``DATABASE_OF_TESTS=mysql:3306``."""
    given, _, port = os.environ.get("DATABASE_OF_TESTS", "").partition(":")
    return int(port) if given == kind else None


def as_another_user(folder: Path, preferred: str) -> dict[str, Any]:
    """How to run a program that refuses root; the folder is given to the user that it runs as."""
    if os.geteuid() != 0:
        return {}
    for name in (preferred, "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.fail(f"there is no user {preferred} or nobody, and the server does not run as root")


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
