"""A MariaDB of the tests' own: a real server on a free port, its files in a directory that goes.

It is started from the machine's own binaries, as another user if the tests run as root;
``DATABASE_OF_TESTS=mysql:PORT`` is one that runs already, whose root has the tests' password.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql

from tests.machine import not_here
from tests.own_server import as_another_user, database_name, free_port, given_port

USER, PASSWORD = "harvester", "p4ssw0rd-of-the-mysql-tests"
FIRST = (
    f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
    f"GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION",
)


def program(name: str) -> Path:
    """Where one of MariaDB's programs is; without it tests are skipped, and fail under CI."""
    on_path = shutil.which(name)
    places = [Path(on_path)] if on_path else []
    places += [Path(folder) / name for folder in ("/usr/sbin", "/usr/bin", "/usr/local/bin")]
    for place in places:
        if place.exists():
            return place
    return not_here("MariaDB server")


class MySQLServer:
    """A server that can be stopped, killed, frozen, and started again."""

    ENDS = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        if port is None:
            self._user = as_another_user(folder, "mysql")
            self._initialize()

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _initialize(self) -> None:
        subprocess.run(
            [program("mariadb-install-db"), "--no-defaults", f"--datadir={self._folder / 'data'}",
             f"--tmpdir={self._folder}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder,
            **self._user,
        )  # fmt: skip
        first = self._folder / "first.sql"
        first.write_text("".join(f"{each};\n" for each in FIRST))
        first.chmod(0o644)

    def start(self, *options: str) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("mariadbd"), "--no-defaults", f"--datadir={self._folder / 'data'}",
                 "--bind-address=127.0.0.1", f"--port={self.port}",
                 f"--tmpdir={self._folder}",  # a server that starts empties the common one
                 # no power is cut
                 "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync",
                 "--sync-frm=off", "--innodb-file-per-table=0",
                 f"--socket={self._folder / 'socket'}", f"--pid-file={self._folder / 'pid'}",
                 f"--init-file={self._folder / 'first.sql'}", "--innodb-buffer-pool-size=32M",
                 "--skip-name-resolve", *options],
                stdout=subprocess.DEVNULL, stderr=log, cwd=self._folder, **self._user,
            )  # fmt: skip
        self.wait("SELECT 1")

    def wait(self, *first: str, user: str = USER) -> None:
        """Until it answers and has carried out those statements."""
        ends = time.monotonic() + 60
        while True:
            try:
                for each in first:
                    self.execute(each, user=user)
            except pymysql.MySQLError:
                assert time.monotonic() < ends, "the MariaDB of the tests does not start"
                time.sleep(0.05)
            else:
                return

    def execute(
        self, sql: str, database: str | None = None, user: str = USER
    ) -> list[tuple[Any, ...]]:
        with (
            closing(
                pymysql.connect(
                    host="127.0.0.1", port=self.port, user=user, password=PASSWORD,
                    database=database, autocommit=True, connect_timeout=5, charset="utf8mb4",
                    init_command="SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
                )
            ) as connection,
            connection.cursor() as cursor,
        ):  # fmt: skip
            cursor.execute(sql)
            return list(cursor.fetchall())

    def new_database(self, how: str = "") -> str:
        """The name of a database that nobody has used."""
        name = database_name()
        self.execute(f"CREATE DATABASE {name} {how}")
        return name

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: in order (SIGTERM), or as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


@contextmanager
def mysql_server() -> Iterator[MySQLServer]:
    """One that runs until the block ends."""
    port = given_port("mysql")
    if port is None:
        program("mariadbd")
    with tempfile.TemporaryDirectory() as folder:
        server = MySQLServer(Path(folder), port)
        if port is None:
            server.start()
        else:
            server.wait(*FIRST, user="root")
        try:
            yield server
        finally:
            server.stop(signal.SIGKILL)
