"""Passwords in URLs, and an AppSecret that WeChat repeats: no part of one is shown or kept."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import click
import pytest

import harvester
from harvester.cli import main
from harvester.cli.commands import cli
from harvester.config.accounts import ACCOUNT_KEYS, PLATFORM_KEYS
from harvester.config.settings import KEYWORDS, OPTIONS
from harvester.errors import without_passwords
from tests.mysql_server import MySQLServer
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer
from tests.scenarios.server import Server
from tests.support import A, harvest

RUN = ("run", "getusersummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-02")
SIGNS = ["/", "@", "#", "?", "%zz", "密碼", ":", "/@", "@/", "?x=", "#?/@", "%2", "&", "["]
PASSWORDS = [f"Zq7Xw{sign}Kv9Jy" for sign in (*SIGNS, " ")] + [
    "4711/Kv9Jy", "4711?Kv9Jy", "4711#Kv9Jy", "4711@Kv9Jy", "/Kv9Jy", "@Kv9Jy", "Kv9Jy@", "Kv9Jy/",
]  # fmt: skip
AT_THE_COMMAND = ["Zq7Xw/Kv9Jy", "Zq7Xw@Kv9Jy", "Zq7Xw%zzKv9Jy", "4711/Kv9Jy"]
PARTS = re.compile("Zq7|Xw|Kv9|Jy|4711|密|%zz", re.IGNORECASE)


def urls(
    redis: RedisServer, postgres: PostgresServer, mysql: MySQLServer
) -> dict[str, tuple[str, ...]]:
    """By place: the options of the command, with PASSWORD where the password is."""
    here = ("--base-url", "http://127.0.0.1:1", "--attempts", "1")
    own = f"user:PASSWORD@127.0.0.1:{postgres.port}/db"
    my = f"mysql://user:PASSWORD@127.0.0.1:{mysql.port}/db"
    store = f"user:PASSWORD@127.0.0.1:{redis.port}/0"
    return {
        "postgresql": (*here, "--sink", f"postgresql://{own}"),
        "postgresql and options": (*here, "--sink", f"postgresql://{own}?sslmode=prefer"),
        "mysql": (*here, "--sink", my),
        "mysql and options": (*here, "--sink", f"{my}?ssl_ca=/no/file"),
        "redis store": (*here, "--token-store", f"redis://{store}"),
        "store of an unknown kind": (*here, "--token-store", f"redi://{store}"),
        "sink of an unknown kind": (*here, "--sink", f"postgre://{own}"),
        "base URL": ("--base-url", "https://user:PASSWORD@api.weixin.qq.com"),
    }


PLACES = [
    "postgresql", "postgresql and options", "mysql", "mysql and options", "redis store",
    "store of an unknown kind", "sink of an unknown kind", "base URL",
]  # fmt: skip


@pytest.mark.sampled
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


@pytest.mark.thorough
@pytest.mark.parametrize("password", AT_THE_COMMAND)
def test_no_part_of_a_proxys_password_is_shown(tmp_path: Path, password: str) -> None:
    done = harvest(
        *RUN, "--base-url", "http://wechat.example", "--attempts", "1", cwd=tmp_path,
        http_proxy=f"http://user:{password}@127.0.0.1:1", no_proxy="",
    )  # fmt: skip
    assert done.returncode in (2, 4)
    assert "Traceback" not in done.stderr
    assert not PARTS.search(done.stdout + done.stderr), done.stderr


@pytest.mark.sampled
@pytest.mark.parametrize("password", ["p%2Fw", "p%40w", "p%23w", "p%3Fw", "%E5%AF%86", "p%20w"])
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_password_that_is_escaped_opens_the_database(
    kind: str, postgres: PostgresServer, mysql: MySQLServer, tmp_path: Path, password: str
) -> None:
    server = postgres if kind == "postgresql" else mysql
    database = server.new_database()
    user, plain = f"user_{database}", unquote(password)
    if kind == "postgresql":
        postgres.execute(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{plain}'")
    else:
        mysql.execute(f"CREATE USER {user} IDENTIFIED BY '{plain}'")
        mysql.execute(f"GRANT ALL ON {database}.* TO {user}")
    url = server.url(database, user=user, password=password)
    nowhere = ("--base-url", "http://127.0.0.1:1", "--attempts", "1")
    done = harvest(*RUN, *nowhere, "--sink", url, cwd=tmp_path)
    assert "no server answered in 1 attempt" in done.stderr, done.stderr
    if kind == "postgresql":
        postgres.execute(f"DROP OWNED BY {user}", database)


# A URL with a password that is given in a wrong place: every option and argument of every command,
# variable, key of a file, and value of the library.


MORE = ["redis://Zq7XwKv9Jy@h:6379/0", "postgresql://me:Zq7 Xw@h/db",
        "mysql://h/db?password=Zq7XwKv9Jy"]  # fmt: skip
WRONG = [
    "postgresql://me:Zq7Xw/Kv9@Jy@h/db",
    *[pytest.param(url, marks=pytest.mark.thorough) for url in MORE],
]
DAYS = ("--start", "2024-01-01", "--end", "2024-01-02", "--base-url", "http://127.0.0.1:1")
ENDED = {"simulate": ("--port", "x"), "run": RUN[1:], "plan": RUN[1:]}
"""What a command is given besides, so that it ends."""


def right(name: str | None, url: str) -> bool:
    """Whether it is the right place for a URL."""
    return url.partition(":")[0] in {
        "sink": ("postgresql", "mysql"), "ledger": ("postgresql",),
        "token_store": ("redis",),
    }.get(name or "", ())  # fmt: skip


def commands(group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command, with the names by which it is called."""
    for name, command in group.commands.items():
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, *names), each) for names, each in commands(command))


def typed(url: str) -> Iterator[tuple[str, ...]]:
    """A command line for each place."""
    yield (url,)
    yield (f"--{url}",)
    for names, command in commands(cli):
        more = ENDED.get(names[0], ())
        yield (*names, f"--{url}")
        yield (*names, url, *more)
        for each in command.params:
            if isinstance(each, click.Option) and not each.is_flag and not right(each.name, url):
                yield (*names, *more, f"{each.opts[-1]}={url}")
    for kind in ("jsonl", "sqlite", "parquet", "-"):
        yield (*RUN, *DAYS, "--sink", f"{kind}:{url}")
    for option in ("--token-store", "--ledger"):
        yield (*RUN, *DAYS, option, f"fil:{url}")
        yield (*RUN, *DAYS, option, f"sqlite:{url}")
    yield (*RUN, "--json", "--out", url)


def written(url: str) -> Iterator[tuple[str, str]]:
    """The name and the content of a file of options or accounts, for each place in it."""
    for name in OPTIONS:
        if not right(name, url):
            yield "harvester.toml", f'{name} = "{url}"'
    yield "harvester.toml", f'"{url}" = 1'
    yield "harvester.toml", f"{url} = 1"
    mine = {"name": "mine", "path": "/x", "first_day": "2024-01-01"}
    for key in ("name", "path", "first_day", "cut", "dates", "group", "fields", "other"):
        table = "".join(f'{name} = "{text}"\n' for name, text in {**mine, key: url}.items())
        yield "harvester.toml", f"[[interface]]\n{table}"
    one = {"appid": A, "secret": "env:HARVESTER_SECRET"}
    for key in (*ACCOUNT_KEYS, "other"):
        account = {**one, key: url}
        table = "".join(f'{name} = "{text}"\n' for name, text in account.items())
        yield "accounts.toml", f"[[account]]\n{table}"
        yield "accounts.csv", "\n".join([",".join(account), ",".join(account.values())])
    for key in PLATFORM_KEYS:
        platform = {"appid": A, "secret": "env:HARVESTER_SECRET", "ticket": "file:x", key: url}
        table = "".join(f'{name} = "{text}"\n' for name, text in platform.items())
        yield "accounts.toml", f'[[platform]]\n{table}[[account]]\nappid = "{A}"\nplatform = "x"'
    yield "accounts.toml", f'csv = "{url}"'
    yield "accounts.toml", f'[[account]]\nappid = "{A}"\nsecret = "file:{url}"'


@pytest.fixture
def ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    """Run the command here to its end, which shows and keeps no part of a password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARVESTER_SECRET", "practice")
    monkeypatch.setenv("HARVESTER_ATTEMPTS", "1")
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # the command sets its own

    async def served(_: object) -> None:
        """Standard input is not that of a client here."""

    monkeypatch.setattr("harvester.cli.mcp.serve", served)

    def end(*arguments: str) -> None:
        with pytest.raises(SystemExit) as status:
            main(arguments)
        said = "".join(capfd.readouterr())
        assert status.value.code in (0, 1, 2, 4), (arguments, said)
        assert "Traceback" not in said
        assert not PARTS.search(said), (arguments, said)
        kept = " ".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
        assert not PARTS.search(kept), (arguments, kept)

    return end


@pytest.mark.thorough
@pytest.mark.parametrize("url", WRONG)
def test_a_url_typed_in_a_wrong_place_is_shown_without_its_password(
    url: str, ended: Callable[..., None]
) -> None:
    for arguments in typed(url):
        ended(*arguments)


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("url", WRONG)
def test_a_url_in_a_wrong_variable_is_shown_without_its_password(
    url: str, ended: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*OPTIONS, "config", "other"):
        if right(name, url):
            continue
        with monkeypatch.context() as environment:
            environment.setenv(f"HARVESTER_{name.upper()}", url)
            given = () if name in ("endpoint", "start", "end") else (*RUN[1:], *DAYS)
            ended("run", *given)


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize("url", WRONG)
def test_a_url_in_a_wrong_place_of_a_file_is_shown_without_its_password(
    url: str, ended: Callable[..., None], tmp_path: Path
) -> None:
    for name, content in written(url):
        (tmp_path / name).write_text(content)
        given = ("users", *DAYS, "--accounts", name) if "accounts" in name else (*RUN[1:], *DAYS)
        ended("run", *given)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("url", WRONG)
@pytest.mark.parametrize("place", ["accounts", "endpoints", "start", "end", "sink", *KEYWORDS])
def test_no_error_of_the_library_holds_the_password_of_a_url_in_a_wrong_place(
    url: str, place: str
) -> None:
    if right(place, url):
        return
    given: dict[str, Any] = {
        "accounts": harvester.Account(A, secret="practice"), "endpoints": "getusersummary",
        "start": "2024-01-01", "end": "2024-01-02", "base_url": "http://127.0.0.1:1",
        "attempts": 1, "sink": "memory:", place: url,
    }  # fmt: skip
    with pytest.raises(harvester.HarvestError) as caught:
        harvester.run_sync(**given)
    assert not PARTS.search(chain(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        "no answer came from http://127.0.0.1:8080/x; mail me@x",
        "expected memory, file:PATH, redis://HOST:PORT/DB; / is written %2F, @ %40",
        "jsonl:/home/me@there/out", "https://api.weixin.qq.com/x?begin=1", "C:/me@x", "a: /b@c",
    ],
)  # fmt: skip
def test_a_text_without_a_password_stays_as_it_is(text: str) -> None:
    assert without_passwords(text) == text


# An answer that echoes the AppSecret: it is shown, kept and told nowhere.


SECRET = "5e5a3e/+%0c0ffee0123456789abcdef"
SECRET_PARTS = ("5e5a3e", "0ffee0123456789", "abcdef")
FORMS = {
    "as it is": SECRET,
    "in a URL": quote(SECRET, safe=""),
    "in a URL, in small letters": quote(SECRET, safe="").replace("%2F", "%2f"),
    "in part escaped": SECRET.replace("/", "%2F"),
    "twice escaped": quote(quote(SECRET, safe=""), safe=""),
    "with a letter escaped": SECRET.replace("a", "%61", 1),
    "as JSON within a text": SECRET.replace("/", "\\/"),
    "as JSON with its letters escaped": "".join(f"\\u{ord(one):04x}" for one in SECRET),
}


def assert_cut(folder: Path, text: str, answer: dict[str, Any], token: Any = None) -> None:
    """All that a run says, tells and keeps has this text, and no part of the secret."""
    events: list[Any] = []
    with Server(lambda _: answer, token=token) as server:
        report = asyncio.run(
            harvester.run(
                harvester.Account(A, secret=SECRET), "getusersummary", "2024-01-01", "2024-01-03",
                sink=f"jsonl:{folder}", base_url=server.url, rate="1000/s", attempts=1,
                on_event=events.append,
            )
        )  # fmt: skip
    said = f"{report!r} {json.dumps(report.to_dict(), ensure_ascii=False)} {events!r}"
    for path in folder.rglob("*"):
        said += path.read_text(errors="replace") if path.is_file() else ""
    assert text in said
    assert not [part for part in SECRET_PARTS if part in said], said


@pytest.mark.parametrize("code", [61500, 40013, 48001, -1])
@pytest.mark.parametrize("form", FORMS)
def test_an_errmsg_of_data_that_echoes_the_secret(tmp_path: Path, form: str, code: int) -> None:
    errmsg = f"it was <{FORMS[form]}> rid: 6597ab12-34cd56ef-78ab90cd"
    assert_cut(tmp_path, "it was <…>", {"errcode": code, "errmsg": errmsg})


@pytest.mark.parametrize("form", FORMS)
def test_an_errmsg_of_a_token_request_that_echoes_the_secret(tmp_path: Path, form: str) -> None:
    refusal = {"errcode": 40125, "errmsg": f"it was <{FORMS[form]}>"}
    assert_cut(tmp_path, "it was <…>", {}, token=refusal)


def test_data_that_echoes_the_secret(tmp_path: Path) -> None:
    row = {"ref_date": "2024-01-01", "user_source": 0, "new_user": 1, "cancel_user": 0}
    assert_cut(tmp_path, "<…>", {"list": [{**row, "note": f"<{SECRET}>"}]})
