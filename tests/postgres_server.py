"""A PostgreSQL of the tests' own: a real server on a free port, its files in a directory that goes.

It is started from the machine's own binaries, by another user if the tests run as root, whom
PostgreSQL does not serve; ``DATABASE_OF_TESTS=postgresql:PORT`` is one that runs already.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.machine import not_here
from tests.own_server import as_another_user, database_name, free_port, given_port

USER, PASSWORD = "harvester", "p4ssw0rd-of-the-tests"


def programs() -> Path:
    """Where initdb and postgres are; without them tests are skipped, and fail under CI."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places += [Path("/usr/local/pgsql/bin"), Path("/usr/local/bin")]
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    return not_here("PostgreSQL server")


class PostgresServer:
    """A server that can be stopped, killed, frozen, and started again."""

    ENDS = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        if port is None:
            self._bin = programs()
            self._user = as_another_user(folder, "postgres")
            self._initialize()

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _initialize(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        subprocess.run(
            [self._bin / "initdb", "-D", self._folder / "data", "-U", USER, "-A", "scram-sha-256",
             "--pwfile", secret, "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._user,
        )  # fmt: skip

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "max_connections": 30,
            "unix_socket_directories": self._folder, "shared_buffers": "32MB",
            "fsync": "off",  # no power is cut
        }  # fmt: skip
        given = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", *given],
                stdout=subprocess.DEVNULL, stderr=log, cwd=self._folder, **self._user,
            )  # fmt: skip
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        ends = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.Error:
                assert time.monotonic() < ends, "the PostgreSQL of the tests does not start"
                time.sleep(0.05)
            else:
                return

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, how: str = "") -> str:
        """The name of a database that nobody has used."""
        name = database_name()
        self.execute(f"CREATE DATABASE {name} {how}")
        return name

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: fast (SIGINT), or as a power cut would (SIGQUIT)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """One that runs until the block ends."""
    port = given_port("postgresql")
    if port is None:
        programs()
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer(Path(folder), port)
        if port is None:
            server.start()
        else:
            server.wait()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
