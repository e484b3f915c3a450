"""Passwords in URLs, as people type them: no part of one is shown, wherever it ends."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

import harvester
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.support import A, harvest

RUN = ("run", "getusersummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-02")
PASSWORDS = [
    f"Zq7Xw{sign}Kv9Jy"
    for sign in (
        "/",
        "@",
        "#",
        "?",
        "%zz",
        "密碼",
        " ",
        ":",
        "/@",
        "@/",
        "?x=",
        "#?/@",
        "%2",
        "&",
        "[",
    )
] + ["4711/Kv9Jy", "4711?Kv9Jy", "4711#Kv9Jy", "4711@Kv9Jy", "/Kv9Jy", "@Kv9Jy", "Kv9Jy@", "Kv9Jy/"]
AT_THE_COMMAND = ["Zq7Xw/Kv9Jy", "Zq7Xw@Kv9Jy", "Zq7Xw%zzKv9Jy", "4711/Kv9Jy"]
PARTS = re.compile("Zq7|Xw|Kv9|Jy|4711|密|%zz", re.IGNORECASE)


def urls(
    redis: RedisServer, postgres: PostgresServer, mysql: MySQLServer
) -> dict[str, tuple[str, ...]]:
    """By place: the options of the command, with PASSWORD where the password is."""
    own = f"user:PASSWORD@127.0.0.1:{postgres.port}/db"
    stream = f"user:PASSWORD@127.0.0.1:{redis.port}/0"
    here = ("--base-url", "http://127.0.0.1:1", "--attempts", "1")
    return {
        "postgresql": (*here, "--sink", f"postgresql://{own}"),
        "postgresql and options": (*here, "--sink", f"postgresql://{own}?sslmode=prefer"),
        "mysql": (*here, "--sink", f"mysql://user:PASSWORD@127.0.0.1:{mysql.port}/db"),
        "mysql and options": (
            *here,
            "--sink",
            f"mysql://user:PASSWORD@127.0.0.1:{mysql.port}/db?ssl_ca=/no/file",
        ),
        "redis sink": (*here, "--sink", f"redis://{stream}"),
        "redis store": (*here, "--token-store", f"redis://{stream}"),
        "store of an unknown kind": (*here, "--token-store", f"redi://{stream}"),
        "sink of an unknown kind": (*here, "--sink", f"postgre://{own}"),
        "base URL": ("--base-url", "https://user:PASSWORD@api.weixin.qq.com"),
    }


PLACES = [
    "postgresql", "postgresql and options", "mysql", "mysql and options", "redis sink",
    "redis store", "store of an unknown kind", "sink of an unknown kind", "base URL",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_the_command_shows_no_part_of_a_password(
    redis: RedisServer, postgres: PostgresServer, mysql: MySQLServer, tmp_path: Path, place: str
) -> None:
    for password in AT_THE_COMMAND:
        options = [one.replace("PASSWORD", password) for one in urls(redis, postgres, mysql)[place]]
        done = harvest(*RUN, *options, cwd=tmp_path)
        assert done.returncode in (2, 4), (password, done.stderr)
        assert "Traceback" not in done.stderr
        assert not PARTS.search(done.stdout + done.stderr), (password, done.stdout, done.stderr)


def chain(exc: BaseException | None) -> str:
    """What an error and its causes say."""
    return "" if exc is None else f"{exc!r} {exc} {chain(exc.__cause__ or exc.__context__)}"


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("place", PLACES)
def test_no_error_of_the_library_holds_a_part_of_a_password(
    redis: RedisServer, postgres: PostgresServer, mysql: MySQLServer, place: str, password: str
) -> None:
    names = {"--sink": "sink", "--token-store": "token_store", "--base-url": "base_url"}
    given = urls(redis, postgres, mysql)[place]
    options = {
        names[name]: value.replace("PASSWORD", password)
        for name, value in zip(given[::2], given[1::2], strict=True)
        if name in names
    }
    account = harvester.Account(A, secret="practice")
    options = {"base_url": "http://127.0.0.1:1", "sink": "memory:", **options}
    try:
        report = asyncio.run(
            harvester.run(
                account, "getusersummary", "2024-01-01", "2024-01-02", attempts=1,
                **options,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    except harvester.HarvestError as exc:
        said = chain(exc)
    else:
        assert report.state == "failed"
        said = str(report.to_dict())
    assert not PARTS.search(said), said


@pytest.mark.parametrize("password", AT_THE_COMMAND)
def test_no_part_of_a_proxys_password_is_shown(tmp_path: Path, password: str) -> None:
    done = harvest(
        *RUN, "--base-url", "http://wechat.example", "--attempts", "1", cwd=tmp_path,
        http_proxy=f"http://user:{password}@127.0.0.1:1", no_proxy="",
    )  # fmt: skip
    assert done.returncode in (2, 4)
    assert "Traceback" not in done.stderr
    assert not PARTS.search(done.stdout + done.stderr), done.stderr


@pytest.mark.parametrize("password", ["p%2Fw", "p%40w", "p%23w", "p%3Fw", "%E5%AF%86", "p%20w"])
def test_a_password_that_is_escaped_opens_the_database(
    postgres: PostgresServer, tmp_path: Path, password: str
) -> None:
    user = f"user{len(postgres.execute('SELECT 1 FROM pg_roles'))}"
    database = postgres.new_database()
    quoted = unquote(password).replace("'", "''")
    postgres.execute(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{quoted}'")
    url = postgres.url(database, user=user, password=password)
    done = harvest(
        *RUN, "--base-url", "http://127.0.0.1:1", "--attempts", "1", "--sink", url, cwd=tmp_path
    )
    assert "no answer came" in done.stderr, done.stderr
    postgres.execute(f"DROP OWNED BY {user}", database)


@pytest.mark.parametrize("password", ["p%2Fw", "p%40w", "p%23w", "p%3Fw", "%E5%AF%86", "p%20w"])
def test_a_password_that_is_escaped_opens_the_database_of_mysql(
    mysql: MySQLServer, tmp_path: Path, password: str
) -> None:
    database = mysql.new_database()
    mysql.execute(f"CREATE USER user{database} IDENTIFIED BY '{unquote(password)}'")
    mysql.execute(f"GRANT ALL ON {database}.* TO user{database}")
    url = mysql.url(database, user=f"user{database}", password=password)
    done = harvest(
        *RUN, "--base-url", "http://127.0.0.1:1", "--attempts", "1", "--sink", url, cwd=tmp_path
    )
    assert "no answer came" in done.stderr, done.stderr
