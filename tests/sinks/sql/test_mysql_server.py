"""Connections to a server of MySQL: silent ones, slow ones, and whom a certificate names."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import harvester.sinks.sql.mysql_server as mysql
from harvester.errors import SinkError
from harvester.sinks.sql.mysql import MySQL
from tests.mysql_server import MySQLServer
from tests.sinks.sql.test_base import refused


@pytest.mark.thorough
def test_a_server_that_takes_a_connection_and_says_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(mysql._OURS, "read_timeout", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://u@127.0.0.1:{silent.getsockname()[1]}/x"
        began = time.monotonic()
        with pytest.raises(SinkError, match=r"did not answer for 0.5 s \(Lost connection"):
            asyncio.run(MySQL(url, patience=0.5).open({}))
    assert time.monotonic() - began < 10


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that becomes the server's."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.mark.thorough
def test_a_server_is_checked_against_the_authority_that_the_url_names(
    home: Path, tmp_path: Path
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    server = MySQLServer(home)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(home / "key.pem")
    issued.cert_chain_pems[0].write_to_path(home / "cert.pem")
    for name, made in (("right", authority), ("wrong", other)):
        made.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    for name in ("key.pem", "cert.pem"):
        (home / name).chmod(0o644)
    server.start(f"--ssl-cert={home / 'cert.pem'}", f"--ssl-key={home / 'key.pem'}")
    try:
        url = server.url(server.new_database())
        assert "certificate verify failed" in refused(f"{url}?ssl_ca={tmp_path / 'wrong.pem'}")

        async def go() -> Any:
            sink: Any = MySQL(f"{url}?ssl_ca={tmp_path / 'right.pem'}")
            await sink.open({})
            cipher = sink._driver.query("SHOW STATUS LIKE 'Ssl_cipher'")
            await sink.close()
            return cipher

        [(_, cipher)] = asyncio.run(go())
        assert cipher
    finally:
        server.stop()
