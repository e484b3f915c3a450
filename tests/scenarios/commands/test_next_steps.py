"""What the command says names what to type next."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harvester.config.accounts import read_accounts
from tests.postgres_server import PASSWORD
from tests.scenarios.command import Start, asked, succeeded
from tests.scenarios.server import Call, Server, rows
from tests.support import A, B, Wechat, harvest

DAYS = ("--start", "2024-01-01", "--end", "2024-01-31")
RUN = ("run", "users", "--appid", A, *DAYS)
OLD = ("run", "users", "--appid", A, "--start", "2010-01-01", "--end", "2010-02-01")


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RUN, "--secret", "x"), " A secret is read from the environment variable HARVESTER_"),
        (("status",), ("there is no ledger at harvest/ledger.sqlite; harvest first (harvester"
         " run), or say where the harvest is (--out DIR, or --ledger)")),
        (OLD, ("no data before 2014-12-01; with --start first, each interface begins at its first"
         " day")),
        ((*RUN, "--sink", "xlsx:x.xlsx"), "xlsx: is an export, not a sink: --export xlsx:…"),
        ((*RUN, "--rate", "0/s"), "--rate '0/s': expected a number above 0 with its unit"),
        ((*RUN, "--base-url", "ftp://x"), "invalid --base-url 'ftp://x': expected an http or"),
        (("run", "articles,messages", "--appid", A, *DAYS), ("separate names by spaces: articles"
         " messages")),
        ((*RUN, "--uvloop"), ("pip install 'wechat-harvester[uvloop]', or pipx inject"
         " wechat-harvester 'wechat-harvester[uvloop]'")),
        ((*RUN, "--base-url", "http://no.such.example", "--attempts", "1"),
         ("the host name no.such.example was not found (if you are behind a proxy, set"
          " HTTPS_PROXY)")),
    ],
)  # fmt: skip
def test_a_refusal_names_what_to_type(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvloop'] = None\n")
    done = harvest(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode in (2, 4)
    assert said in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"rate = 5/s", "write a text in quotes, as in rate = '10/s'"),
        ("rate = “5/s”".encode(), "write straight quotes, as in 'text'"),
        (b'out = "C:\\Users\\me"', r"with backslashes in single quotes, as in 'C:\data'"),
        ("rate = '5/s'".encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_toml_says_how_it_is_written(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "harvester.toml").write_bytes(content)
    done = harvest("plan", "users", *DAYS, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(f"{said}\n")


def test_a_socks_proxy_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    done = harvest(*RUN, cwd=tmp_path, HARVESTER_SECRET="x", HTTPS_PROXY="socks5://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "harvester: HTTPS_PROXY names a proxy with the scheme socks5, which is not"
        " supported; give an HTTP proxy: http://HOST:PORT\n"
    )


def test_the_mark_that_editors_write_first_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "harvester.toml").write_bytes("rate = '5/s'".encode("utf-8-sig"))
    assert "at 5/s per account" in succeeded("plan", "users", *DAYS, cwd=tmp_path).stdout


def test_a_port_in_use_has_an_alternative(wechat: Start, tmp_path: Path) -> None:
    port = wechat().url.rpartition(":")[2]
    done = harvest("simulate", "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    said = f"port {port} of 127.0.0.1 cannot be used (Address already in use); --port 0 chooses a"
    assert said in done.stderr


def test_a_variable_that_nothing_reads_is_named_with_the_nearest(tmp_path: Path) -> None:
    env = {"HARVESTER_DAILY_QUTA": "3", "HARVESTER_RATE": "3/h", "HARVESTER_REDIS_PASSWORD": "x"}
    done = harvest("plan", "users", *DAYS, cwd=tmp_path, **env)
    assert done.returncode == 0
    assert done.stderr == (
        "harvester: the environment variable HARVESTER_DAILY_QUTA sets no option (did you mean"
        " HARVESTER_DAILY_QUOTA?)\n"
    )


def test_a_ledger_that_is_not_there_yet_is_planned_as_an_empty_one(
    database: str, tmp_path: Path
) -> None:
    plan = ("plan", "users", *DAYS)
    said = succeeded(*plan, cwd=tmp_path).stdout
    for ledger in (database, "new.sqlite", f"sqlite:{tmp_path}/new.sqlite"):
        given = (*plan, "--ledger", ledger)
        assert succeeded(*given, cwd=tmp_path, PGPASSWORD=PASSWORD).stdout == said
    assert not [*tmp_path.iterdir()]
    done = harvest("status", "--ledger", database, cwd=tmp_path, PGPASSWORD=PASSWORD)
    assert done.returncode == 2
    assert "holds no ledger; harvest first, with this --ledger" in done.stderr


@pytest.mark.thorough
def test_verify_says_why_it_was_not_read_to_its_end(tmp_path: Path) -> None:
    with Server() as server:
        succeeded(*asked(server.url, "getusersummary", *DAYS[1::2]), cwd=tmp_path)
    [segment] = (tmp_path / "harvest" / "getusersummary").glob("*.jsonl")
    content = bytearray(segment.read_bytes())
    content[content.index(b"_appid")] ^= 1
    segment.write_bytes(content)
    done = harvest("verify", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "it was not read to its end: " in line]
    assert "is not a record of harvester" in line
    assert done.stdout.count("is not a record of harvester") == 1


def test_a_retired_interface_is_not_a_thing_to_correct(wechat: Start, tmp_path: Path) -> None:
    server = wechat(retired=True)
    done = harvest(*asked(server.url, "getuserread", *DAYS[1::2], "--out", tmp_path))
    assert done.returncode == 1
    assert "remove getuserread: a retired interface is never enabled again" in done.stderr
    assert "corrected" not in done.stderr


@pytest.mark.thorough
def test_a_wrong_appid_is_no_reason_to_reset_the_secret(tmp_path: Path) -> None:
    with Server(token={"errcode": 40013, "errmsg": "invalid appid"}) as server:
        done = harvest(*asked(server.url, "getusersummary", *DAYS[1::2], "--out", tmp_path))
    assert done.returncode == 4
    succeeded("report", "--out", tmp_path, "--html", tmp_path / "page.html", "--lang", "en")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The AppID is wrong" in page
    assert "AppSecret is wrong" not in page
    assert "reset" not in done.stderr


@pytest.mark.thorough
def test_a_cause_names_only_what_failed_of_each_account(tmp_path: Path) -> None:
    """Each account may not use another interface; no line says so of both."""

    def answer(call: Call) -> object:
        mine = "aa" if call.path.endswith("getusersummary") else "bb"
        if call.query["access_token"].endswith(mine):
            return {"errcode": 48001, "errmsg": "api unauthorized"}
        return rows(call)

    accounts = tmp_path / "accounts.toml"
    accounts.write_text("".join(
        f'[[account]]\nappid = "{appid}"\ntoken = "static:env:T_{appid[-2:]}"\n' for appid in (A, B)
    ))  # fmt: skip
    assert len(read_accounts(accounts, secrets=False)) == 2
    with Server(answer) as server:
        arguments = asked(server.url, "users", *DAYS[1::2], "--out", tmp_path)
        del arguments[2:4]
        done = harvest(*arguments, "--accounts", accounts, T_aa="token-aa", T_bb="token-bb")
    lines = re.findall(r"harvester: (\S+) (\S+): \d+ windows .* failed: errcode 48001", done.stderr)
    assert sorted(lines) == [(A, "getusersummary"), (B, "getusercumulate")]


@pytest.mark.thorough
def test_names_are_in_no_path_and_no_command(wechat: Start, tmp_path: Path) -> None:
    platform = "wx00000000000000ff"
    server: Wechat = wechat(component=(platform, "practice"))
    (tmp_path / "ticket").write_text(server.simulator.ticket())
    (tmp_path / "refresh").mkdir()
    path = tmp_path / "refresh" / A
    path.write_text(server.simulator.refresh_token(A))
    path.chmod(0o644)
    (tmp_path / "ticket").chmod(0o600)
    (tmp_path / "accounts.toml").write_text(
        f'[[platform]]\nname = "p"\nappid = "{platform}"\nsecret = "env:HARVESTER_SECRET"\n'
        'ticket = "file:ticket"\n'
        f'[[account]]\nappid = "{A}"\nname = "客户0032"\nplatform = "p"\n'
        f'refresh_token = "file:refresh/{A}"\n'
    )
    arguments = asked(server.url, "getusersummary", *DAYS[1::2])
    del arguments[2:4]
    done = harvest(*arguments, "--accounts", "accounts.toml", cwd=tmp_path)
    assert f"run: chmod 600 refresh/{A}" in done.stderr
    assert f"refresh/{A} (" not in done.stderr
    assert f"harvester: {A} (客户0032) getusersummary: " in done.stderr


@pytest.mark.thorough
def test_sinks_outside_of_the_ledgers_folder_are_named(wechat: Start, tmp_path: Path) -> None:
    given = ("users", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-05")
    within, beside = f"jsonl:{tmp_path}/out", f"sqlite:{tmp_path}/rows.db"
    job = (*given, "--out", tmp_path / "out", "--rate", "1000/s")
    sinks = ("--sink", within, "--sink", beside)
    assert harvest("run", *job, *sinks, "--base-url", wechat().url).returncode == 0
    note = f"{beside} is outside of {tmp_path}/out: a copy of that folder does not contain it"
    for command in (("verify", "--out", tmp_path / "out"), ("plan", *job)):
        said = harvest(*command)
        assert said.returncode == 0, said.stderr
        assert note in " ".join(said.stdout.split())
        assert said.stdout.count("is outside of") == 1
        assert json.loads(harvest(*command, "--json").stdout)["notes"] == [note]
