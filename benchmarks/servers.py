"""Servers that are measured against: each in a process of its own, its files in a folder that goes.

`MissingError` is raised where the machine lacks one; what was not measured is then printed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class MissingError(Exception):
    """What is to be measured needs something that is not here."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def process(command: Sequence[str | Path], port: int, **how: Any) -> Iterator[None]:
    """A server that runs until the block ends."""
    with Path(os.devnull).open("wb") as nowhere:
        started = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, **how)
        try:
            ends = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if started.poll() is not None or time.monotonic() > ends:
                        raise RuntimeError(f"{command[0]} does not start") from None
                    time.sleep(0.05)
            yield
        finally:
            started.terminate()
            started.wait(20)


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL with its default settings and one database; yields its URL."""
    programs = _postgres_programs()
    with tempfile.TemporaryDirectory() as made:
        folder, port = Path(made), free_port()
        user = _as_somebody(folder)
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "benchmark", "-A", "trust",
             "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **user,
        )  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port),
                   "-c", "listen_addresses=127.0.0.1",
                   "-c", f"unix_socket_directories={folder}"]  # fmt: skip
        with process(command, port, cwd=folder, **user):
            yield f"postgresql://benchmark@127.0.0.1:{port}/postgres"


@contextmanager
def mysql() -> Iterator[str]:
    """A MariaDB as it comes, with a user who needs no password; gives its URL."""
    if shutil.which("mariadb-install-db") is None:
        raise MissingError("there is no MariaDB on this machine")
    server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    with tempfile.TemporaryDirectory() as made:
        folder, port = Path(made), free_port()
        user = _as_somebody(folder)
        files = [f"--datadir={folder / 'data'}", f"--tmpdir={folder}"]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *files,
             "--auth-root-authentication-method=normal"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **user,
        )  # fmt: skip
        first = folder / "first.sql"
        first.write_text("GRANT ALL ON *.* TO benchmark@'127.0.0.1' IDENTIFIED BY '';\n")
        first.chmod(0o644)
        command = [server, "--no-defaults", *files, "--bind-address=127.0.0.1", f"--port={port}",
                   "--skip-name-resolve", f"--socket={folder / 'socket'}",
                   f"--pid-file={folder / 'pid'}", f"--init-file={first}"]  # fmt: skip
        with process(command, port, cwd=folder, **user):
            yield f"mysql://benchmark@127.0.0.1:{port}/"


def _postgres_programs() -> Path:
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise MissingError("there is no PostgreSQL on this machine")


def _as_somebody(folder: Path) -> dict[str, Any]:
    """How to run a program as a user whom databases serve, which root is not."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
