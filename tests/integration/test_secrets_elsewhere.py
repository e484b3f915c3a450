"""Passwords of destinations, and what a third-party platform holds, are shown nowhere either.

As in `test_secrets`: each run is as talkative as it can be, and all that can be read of it is
searched.  What is searched for stands in this module's variables, since tests' frames are searched.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

import harvester
from harvester.sinks.mysql import MySQL
from harvester.sinks.postgresql import PostgreSQL
from harvester.sinks.redis import RedisStreams
from harvester.testing import Faults, Simulator
from tests import mysql_server, postgres_server, redis_server
from tests.integration import test_secrets
from tests.integration.test_secrets import (
    BEGIN,
    END,
    PIECE,
    Seen,
    commanded,
    debugged,
    files,
    shown,
)
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.support import A, harvest
from tests.wire_servers import HOST, simulated, wire

pytestmark = pytest.mark.thorough

PLATFORM = "wx00000000000000cc"
SECRET = "component-s3cret-0123456789-of-a-platform"
WRONG = "wr0ng-p4ssw0rd/with+odd%characters"
PASSWORDS = (postgres_server.PASSWORD, redis_server.PASSWORD, mysql_server.PASSWORD, WRONG)
SPEC = {"": ""}
"""The sink of the test that runs."""


def assert_no_password(**places: str | bytes) -> None:
    """Neither one of them nor a piece of it is in any of these places."""
    for password in PASSWORDS:
        forms = {password, quote(password, safe=""), quote_plus(password)}
        pieces = {password[at : at + PIECE] for at in range(0, len(password) - PIECE + 1, 4)}
        for place, content in places.items():
            text = content.decode(errors="replace") if isinstance(content, bytes) else content
            for each in forms | pieces:
                at = text.find(each)
                assert at < 0, f"{place}: …{text[max(0, at - 400) : at]}<HERE>"


async def _run(seen: Seen, url: str, **options: Any) -> None:
    try:
        seen.report = await harvester.run(
            harvester.Account(A, secret="practice"), "getarticlesummary", BEGIN, END,
            sink=SPEC["now"], base_url=url, on_event=seen, **{"rate": 1000, **options},
        )  # fmt: skip
    except BaseException as exc:  # noqa: BLE001  (it is the exception that is looked at)
        seen.error = exc


def harvested(seen: Seen, **options: Any) -> None:
    """A run into the sink of now, in debug mode."""

    async def main() -> None:
        async with wire(simulated(Simulator())) as server:
            await _run(seen, server.url, **options)

    debugged(main())


def nobody() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(autouse=True)
def _talkative(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    loggers = (
        "",
        "asyncio",
        "aiohttp.client",
        "harvester",
        "psycopg",
        "psycopg.pool",
        "pymysql",
        "redis",
    )
    for name in loggers:
        caplog.set_level(logging.DEBUG, logger=name or None)
    yield
    SPEC["now"] = ""


def with_wrong(url: str, right: str) -> str:
    return url.replace(right, quote(WRONG, safe=""))


def of_postgres(how: str, request: pytest.FixtureRequest) -> None:
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.new_database()
    SPEC["now"] = {
        "good": server.url(name),
        "wrong": with_wrong(server.url(name), postgres_server.PASSWORD),
        "away": server.url(name).replace(f":{server.port}/", f":{nobody()}/"),
        "nowhere": server.url("nowhere"),
        "odd": f"{server.url(name)}?nonsense=1",
        "no port": server.url(name).replace(f":{server.port}/", ":x/"),
    }[how]


def of_mysql(how: str, request: pytest.FixtureRequest) -> None:
    server: MySQLServer = request.getfixturevalue("mysql")
    name = server.new_database()
    SPEC["now"] = {
        "good": server.url(name),
        "wrong": with_wrong(server.url(name), mysql_server.PASSWORD),
        "away": server.url(name).replace(f":{server.port}/", f":{nobody()}/"),
        "nowhere": server.url("nowhere"),
        "odd": f"{server.url(name)}?nonsense=1",
        "no port": server.url(name).replace(f":{server.port}/", ":x/"),
    }[how]


def of_redis(how: str, request: pytest.FixtureRequest) -> None:
    server: RedisServer = request.getfixturevalue("redis")
    server.empty()
    SPEC["now"] = {
        "good": server.url,
        "wrong": with_wrong(server.url, redis_server.PASSWORD),
        "away": server.url.replace(f":{server.port}/", f":{nobody()}/"),
        "nowhere": server.url.replace("/0", "/999"),
        "odd": f"{server.url}?nonsense=1",
        "no port": server.url.replace(f":{server.port}/", ":x/"),
    }[how]


KINDS: dict[str, Callable[[str, pytest.FixtureRequest], None]] = {
    "postgres": of_postgres, "mysql": of_mysql, "redis": of_redis,
}  # fmt: skip


@pytest.mark.parametrize("how", ["good", "wrong", "away", "nowhere", "odd", "no port"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_destination_shows_no_password_however_it_goes(
    kind: str,
    how: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for sink in (RedisStreams, PostgreSQL, MySQL):
        monkeypatch.setitem(sink.__init__.__kwdefaults__, "patience", 0.3)  # type: ignore[misc]
    KINDS[kind](how, request)
    seen = Seen()
    harvested(seen, ledger=tmp_path / "ledger.sqlite")
    if how == "good":
        assert seen.report is not None, shown(seen.error)
        assert seen.report.state == "complete"
    else:
        assert isinstance(seen.error, harvester.HarvestError), shown(seen.error)
    assert_no_password(log=caplog.text, **seen.places(), **files(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_shows_no_password_of_its_configuration(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    KINDS[kind]("good", request)
    store: RedisServer = request.getfixturevalue("redis")
    (tmp_path / "harvester.toml").write_text(
        f"sink = ['{SPEC['now']}', 'jsonl:o']\ntoken-store = '{store.url}'\n"
    )
    simulator = Simulator(secret=test_secrets.SECRET)
    process = commanded(simulator, tmp_path)
    assert process.status == 0, process.err
    process.assert_hidden(simulator)
    written = files(tmp_path / "o")
    arguments = b" ".join(process.arguments)
    assert_no_password(out=process.out, err=process.err, arguments=arguments, **written)
    for what in ("status", "verify", "rebuild"):
        known = {"HARVESTER_REDIS_PASSWORD": redis_server.PASSWORD}
        known["PGPASSWORD"] = postgres_server.PASSWORD
        known["MYSQL_PWD"] = mysql_server.PASSWORD
        done = harvest(what, "--out", "o", cwd=tmp_path, **known)
        assert done.returncode == 0, done.stderr
        assert_no_password(out=done.stdout, err=done.stderr, **files(tmp_path / "o"))


# a third-party platform


def test_a_run_of_a_platforms_account_shows_nothing_of_either(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    simulator = Simulator(
        component=(PLATFORM, SECRET), faults=Faults(revoke_every=6, busy=0.1), token_lifetime=600.0
    )
    seen = Seen()
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, value in (("refresh", simulator.refresh_token(A)), ("ticket", simulator.ticket())):
        (kept / name).write_text(value)
        (kept / name).chmod(0o600)
    del name, value

    async def main() -> None:
        async with wire(simulated(simulator)) as server:
            platform = harvester.Platform(PLATFORM, SECRET, kept / "ticket")
            account = platform.account(A, kept / "refresh")
            try:
                seen.report = await harvester.run(
                    account, "getarticlesummary", BEGIN, END, sink=f"jsonl:{tmp_path / 'o'}",
                    base_url=server.url, on_event=seen, rate=1000,
                    token_store=f"file:{kept / 'tokens'}",
                )  # fmt: skip
            except BaseException as exc:  # noqa: BLE001
                seen.error = exc

    debugged(main())
    assert seen.report is not None, shown(seen.error)
    assert seen.report.state == "complete"
    hidden = [SECRET, simulator.ticket(), simulator.refresh_token(A), *simulator.tokens]
    assert len(hidden) > 5
    places = {"log": caplog.text, **seen.places(), **files(tmp_path / "o")}
    for place, content in places.items():
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        for each in hidden:
            assert each not in text, place
            assert quote_plus(each) not in text, place
    # Where the user put them, they are nobody else's to read.
    for path in kept.iterdir():
        assert not path.stat().st_mode & 0o077, path
