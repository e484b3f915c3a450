"""A server that only a ledger names gets no password of the environment that it can read."""

from __future__ import annotations

import socket
import sqlite3
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import harvester
from harvester.base.outage import Away
from harvester.base.postgresql import server_of
from harvester.base.secrets import UNNAMED, Secret
from harvester.sinks.sql.mysql_server import server_of as mysql_server_of
from harvester.testing import FakeTransport, Simulator
from tests import mysql_server
from tests.mysql_server import MySQLServer
from tests.postgres_server import PASSWORD, PostgresServer
from tests.scenarios.command import Start, asked, succeeded
from tests.support import A, harvest

CLEAR, HASHED = 3, 5
HIDDEN = "Zq7XwKv9Jy"


class Asking:
    """A server that speaks PostgreSQL as far as to ask for a password in a form that it can use."""

    def __init__(self, form: int) -> None:
        self._form = form
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections, self.got = 0, b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                self.connections += 1
                with line, suppress(OSError):
                    line.settimeout(5)
                    while struct.unpack(">II", line.recv(8))[1] in (80877103, 80877104):
                        line.sendall(b"N")  # no TLS
                    line.recv(9999)
                    salt = b"salt" if self._form == HASHED else b""
                    line.sendall(b"R" + struct.pack(">II", 8 + len(salt), self._form) + salt)
                    self.got += line.recv(9999)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def asking() -> Iterator[Callable[[int], Asking]]:
    made: list[Asking] = []

    def make(form: int) -> Asking:
        made.append(Asking(form))
        return made[-1]

    yield make
    for each in made:
        each.close()


def a_ledger(folder: Path, name: str) -> Path:
    """A harvest whose ledger was made to name a server in place of its sink."""
    harvester.run_sync(
        harvester.Account(A, secret="practice"), "getusersummary", "2024-01-01", "2024-01-02",
        sink=f"sqlite:{folder}/db", ledger=folder / "ledger.sqlite",
        transport=FakeTransport(Simulator()),
    ).raise_for_state()  # fmt: skip
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as database, database:
        for column, table in (("name", "sink"), ("sink", "checkpoint")):
            database.execute(f"UPDATE {table} SET {column} = ?", [name])
    (folder / "db").unlink()
    return folder


COMMANDS = (
    ("report",), ("verify",), ("export", "csv:tables"), ("rebuild",), ("report", "--week"),
    ("forget", "--appid", A, "--yes"), ("sink", "add", "jsonl:copy"),
)  # fmt: skip


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("form", [CLEAR, pytest.param(HASHED, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each[0])
def test_no_command_shows_it_the_password(
    command: tuple[str, ...], form: int, asking: Callable[[int], Asking], tmp_path: Path
) -> None:
    server = asking(form)
    # what a ledger may name besides: options that would allow it again, and another address
    for more in ("", "?require_auth=password", "?hostaddr=127.0.0.1"):
        folder = a_ledger(tmp_path, f"postgresql://u@127.0.0.1:{server.port}/db{more}")
        before = server.connections
        done = harvest(*command, "--out", folder, cwd=tmp_path, PGPASSWORD=HIDDEN)
        assert server.connections > before
        assert server.got == b""
        assert "Traceback" not in done.stderr
        assert HIDDEN not in done.stdout + done.stderr
        if command != ("rebuild",):
            assert UNNAMED in done.stdout + done.stderr
        (folder / "ledger.sqlite").unlink(missing_ok=True)


@pytest.mark.thorough
def test_what_was_named_gets_it(asking: Callable[[int], Asking], tmp_path: Path) -> None:
    server = asking(CLEAR)
    url = f"postgresql://u@127.0.0.1:{server.port}/db"
    folder = a_ledger(tmp_path, url)
    for command in (("verify", "--sink", url), ("sink", "add", "jsonl:copy", "--sink", url)):
        server.got = b""
        harvest(*command, "--out", folder, cwd=tmp_path, PGPASSWORD=HIDDEN)
        assert HIDDEN.encode() in server.got


def test_the_library_reads_from_no_such_server(
    asking: Callable[[int], Asking], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = asking(CLEAR)
    monkeypatch.setenv("PGPASSWORD", HIDDEN)
    folder = a_ledger(tmp_path, f"postgresql://u@127.0.0.1:{server.port}/db")
    for where in (folder, folder / "ledger.sqlite"):
        with pytest.raises(harvester.HarvestError, match="only the ledger names this server"):
            list(harvester.rows(where, "getusersummary"))
    assert server.got == b""


def test_hosts_are_named_one_by_one_and_libpq_before_16_needs_a_bound_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def given(url: str, *hosts: str) -> dict[str, str]:
        made = server_of(Secret(url), "sink")
        made.unnamed(hosts)
        return {name: made.given[name] for name in ("require_auth", "channel_binding")
                if name in made.given}  # fmt: skip

    safe = {"require_auth": "scram-sha-256,gss,sspi,none"}
    assert given("postgresql://a/db", "a") == {}
    assert given("postgresql://a,b/db", "a", "b") == {}
    assert given("postgresql://a,b/db", "a") == safe
    assert given("postgresql://a/db?hostaddr=10.0.0.1", "a") == safe
    assert given("postgresql:///db?host=/tmp", "") == safe
    assert given("postgresql:///db") == safe
    monkeypatch.setattr(psycopg.pq, "version", lambda: 150_004)
    assert given("postgresql://a/db") == {"channel_binding": "require"}


@pytest.mark.parametrize("version", [150_004, 160_000])
def test_either_way_the_server_gets_nothing(
    version: int, asking: Callable[[int], Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = asking(CLEAR)
    monkeypatch.setenv("PGPASSWORD", HIDDEN)
    monkeypatch.setattr(psycopg.pq, "version", lambda: version)
    made = server_of(Secret(f"postgresql://u@127.0.0.1:{server.port}/db"), "sink")
    made.unnamed(())
    with pytest.raises(harvester.UsageError, match="only the ledger names this server"):
        made.connect()
    assert server.got == b""


@pytest.mark.thorough
def test_a_sink_elsewhere_still_works_by_scram(
    wechat: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.url(postgres.new_database())
    given = asked(wechat().url, "getusersummary", "2024-01-01", "2024-01-05", "--sink", url)
    succeeded(*given, cwd=tmp_path)
    for command in (("verify",), ("report",), ("export", "csv:tables"), ("sink", "add", "jsonl:x")):
        succeeded(*command, cwd=tmp_path, PGPASSWORD=PASSWORD)


class AskingMySQL(threading.Thread):
    """A server that speaks MySQL as far as to ask for a password with one plug-in of its.

    switched: it begins with another plug-in.  tls: over TLS, with a certificate of nobody.
    """

    def __init__(self, plugin: str, *, switched: bool, tls: bool) -> None:
        super().__init__(daemon=True)
        self._plugin, self._switched = plugin.encode(), switched
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("localhost").configure_cert(self._tls)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.got = b""
        self.start()

    def run(self) -> None:
        with self._socket:
            line, _ = self._socket.accept()
        line.settimeout(5)
        with suppress(OSError), line:
            self._greet(line)
            if self._tls:
                line.recv(36)
                with self._tls.wrap_socket(line, server_side=True) as line:
                    self._ask(line, 3)
            else:
                self._ask(line, 2)

    def _greet(self, line: socket.socket) -> None:
        first = b"mysql_native_password" if self._switched else self._plugin
        can = 0x000FA200 | (0x800 if self._tls else 0)  # protocol 4.1, plug-ins, ends of results
        self._send(line, 0, b"\x0a8.0.30\0" + struct.pack("<I", 7) + b"saltsalt\0"
                   + struct.pack("<HBHHB", can & 0xFFFF, 45, 2, can >> 16, 21) + bytes(10)
                   + b"saltsaltsalt\0" + first + b"\0")  # fmt: skip

    def _ask(self, line: socket.socket, number: int) -> None:
        self.got += line.recv(9999)
        questions = [b"\xfe" + self._plugin + b"\0" + b"saltsaltsaltsaltsalt\0"] * self._switched
        if self._plugin == b"dialog":
            questions = [b"\xfedialog\0\x02Password: "]
        if self._plugin == b"caching_sha2_password":
            questions.append(b"\1\4")  # "not in my cache: send it"
        for question in [*questions, b"\1" + PUBLIC_KEY]:
            self._send(line, number, question)
            self.got += line.recv(9999)
            number += 2

    def _send(self, line: socket.socket, number: int, payload: bytes) -> None:
        line.sendall(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_KEY = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("plugin", "switched"),
    [
        ("mysql_clear_password", True), ("dialog", True), ("sha256_password", False),
        ("sha256_password", True), ("caching_sha2_password", False),
        ("caching_sha2_password", True),
    ],
)  # fmt: skip
def test_mysql_is_shown_none_by_any_plugin(
    plugin: str, switched: bool, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYSQL_PWD", HIDDEN)

    def got_by(*, named: bool) -> bytes:
        server = AskingMySQL(plugin, switched=switched, tls=tls)
        made = mysql_server_of(Secret(f"mysql://u@127.0.0.1:{server.port}/db"), "sink")
        made.unnamed(["127.0.0.1"] if named else [])
        with pytest.raises((harvester.UsageError, Away)) as failed:
            made.connect()
        assert named or UNNAMED in str(failed.value)
        assert HIDDEN not in repr(made)
        server.join(5)
        return server.got

    assert HIDDEN.encode() not in got_by(named=False)
    shown = got_by(named=True)  # what it would have got
    if tls or plugin in {"mysql_clear_password", "dialog"}:
        assert HIDDEN.encode() in shown
    else:
        text = KEY.decrypt(shown[-256:], OAEP)
        assert (
            bytes(a ^ b for a, b in zip(text, b"salt" * 9, strict=False)) == HIDDEN.encode() + b"\0"
        )


OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


@pytest.mark.thorough
def test_mysql_elsewhere_still_works_by_a_signature(
    wechat: Start, mysql: MySQLServer, tmp_path: Path
) -> None:
    url = mysql.url(mysql.new_database()).replace(f":{mysql_server.PASSWORD}@", "@")
    env = {"MYSQL_PWD": mysql_server.PASSWORD}
    given = asked(wechat().url, "getusersummary", "2024-01-01", "2024-01-05", "--sink", url)
    succeeded(*given, cwd=tmp_path, **env)
    for command in (("verify",), ("report",), ("export", "csv:tables"), ("sink", "add", "jsonl:x")):
        succeeded(*command, cwd=tmp_path, **env)
