"""Passwords of destinations, and what a third-party platform holds, are shown nowhere either.

As in `test_secrets`: each run is as talkative as it can be, and all that can be read of it is
searched.  What is searched for stands in this module's variables, since tests' frames are searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

import harvester
from harvester.sinks.sql.mysql import MySQL
from harvester.sinks.sql.postgresql import PostgreSQL
from harvester.testing import Faults, Simulator
from tests import mysql_server, postgres_server, redis_server
from tests.mysql_server import MySQLServer
from tests.own_server import free_port
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.scenarios.command import succeeded
from tests.scenarios.secrets import test_secrets
from tests.scenarios.secrets.test_secrets import PIECE, Seen, commanded, files, shown
from tests.support import A

pytestmark = pytest.mark.thorough

PLATFORM = "wx00000000000000cc"
SECRET = "component-s3cret-0123456789-of-a-platform"
WRONG = "wr0ng-p4ssw0rd/with+odd%characters"
OWN = {
    "postgres": postgres_server.PASSWORD,
    "mysql": mysql_server.PASSWORD,
}
PASSWORDS = (*OWN.values(), redis_server.PASSWORD, WRONG)
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


@pytest.fixture
def seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Seen]:
    yield Seen(tmp_path, caplog)
    SPEC["now"] = ""


def chosen(kind: str, how: str, request: pytest.FixtureRequest) -> None:
    """A sink in a server, by a URL that is good or wrong in some way."""
    server: PostgresServer | MySQLServer = request.getfixturevalue(kind)
    good, nowhere = server.url(server.new_database()), server.url("nowhere")
    port = f":{server.port}/"
    SPEC["now"] = {
        "good": good,
        "wrong": good.replace(OWN[kind], quote(WRONG, safe="")),
        "away": good.replace(port, f":{free_port()}/"),
        "nowhere": nowhere,
        "odd": f"{good}?nonsense=1",
        "no port": good.replace(port, ":x/"),
    }[how]


@pytest.mark.parametrize("how", ["good", "wrong", "away", "nowhere", "odd", "no port"])
@pytest.mark.parametrize("kind", OWN)
def test_a_destination_shows_no_password_however_it_goes(
    kind: str, how: str, seen: Seen, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sink in (PostgreSQL, MySQL):
        monkeypatch.setitem(sink.__init__.__kwdefaults__, "patience", 0.3)  # type: ignore[misc]
    chosen(kind, how, request)
    simulator = Simulator(secret=test_secrets.SECRET)
    seen.run(simulator, lambda: SPEC["now"], ledger=seen.folder / "ledger.sqlite")
    if how == "good":
        assert seen.report is not None, shown(seen.error)
        assert seen.report.state == "complete"
    else:
        assert isinstance(seen.error, harvester.HarvestError), shown(seen.error)
    assert_no_password(**seen.places())


@pytest.mark.parametrize("kind", OWN)
def test_the_command_shows_no_password_of_its_configuration(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chosen(kind, "good", request)
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
        known |= {"PGPASSWORD": OWN["postgres"], "MYSQL_PWD": OWN["mysql"]}
        done = succeeded(what, "--out", "o", cwd=tmp_path, **known)
        assert_no_password(out=done.stdout, err=done.stderr, **files(tmp_path / "o"))


# a third-party platform


def test_a_run_of_a_platforms_account_shows_nothing_of_either(
    seen: Seen, tmp_path_factory: pytest.TempPathFactory
) -> None:
    simulator = Simulator(
        component=(PLATFORM, SECRET), faults=Faults(revoke_every=6, busy=0.1), token_lifetime=600.0
    )
    kept = tmp_path_factory.mktemp("kept")
    for name, value in (("refresh", simulator.refresh_token(A)), ("ticket", simulator.ticket())):
        (kept / name).write_text(value)
        (kept / name).chmod(0o600)
    del name, value

    def account() -> harvester.Account:
        platform = harvester.Platform(PLATFORM, SECRET, kept / "ticket")
        return platform.account(A, kept / "refresh")

    store = f"file:{kept / 'tokens'}"
    seen.run(simulator, f"jsonl:{seen.folder}", account=account, token_store=store, attempts=8)
    assert seen.report is not None, shown(seen.error)
    assert seen.report.state == "complete"
    hidden = [SECRET, simulator.ticket(), simulator.refresh_token(A), *simulator.tokens]
    assert len(hidden) > 5
    for place, content in seen.places().items():
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        for each in hidden:
            assert each not in text, place
            assert quote_plus(each) not in text, place
    # Where the user put them, they are nobody else's to read.
    for path in kept.iterdir():
        assert not path.stat().st_mode & 0o077, path
