"""Tokens from elsewhere: a command, a server, a file, the hosting in a cloud."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from harvester.errors import UsageError
from harvester.model import Account, Action, Request, Response, Send, Token, Verdict
from harvester.tokens.external import CloudbaseToken, CommandToken, HttpToken, NoToken, StaticToken
from harvester.tokens.official import provider_for
from harvester.tokens.platform import Platform
from harvester.tokens.shared import TokenRefusedError, shared_token
from harvester.tokens.stores import MemoryStore
from harvester.transport import HttpTransport
from tests.builders import answering, given, no_sending, refusal_of
from tests.support import virtual


def refused(spec: str, folder: Path | None = None, send: Send = no_sending) -> Verdict:
    with pytest.raises(TokenRefusedError) as caught:
        given(spec, folder, send)
    assert caught.value.__context__ is None
    return caught.value.verdict


def python(script: str) -> str:
    return f'command:{sys.executable} -c "{script}"'


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("t0ken", ("t0ken", 7200.0)),
        ('{"access_token": "t"}', ("t", 7200.0)),
        ('{"access_token": "t0ken", "expires_in": 60}', ("t0ken", 60.0)),
    ],
    ids=["text", "JSON", "with a lifetime"],
)
def test_a_command_prints_a_token(
    printed: str, expected: tuple[str, float], tmp_path: Path
) -> None:
    (tmp_path / "t").write_text(printed)
    token = given(f"command:cat {tmp_path}/t")
    assert (token.value, token.lifetime) == expected


def test_no_shell_reads_a_command() -> None:
    assert given("command:echo $HOME|t").value == "$HOME|t"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command:false", "the token command ended with status 1"),
        ("command:true", "the token command gave no usable access token"),
        ("command:echo two words", "the token command gave no usable access token"),
        ("command:/no/such/program", "cannot be run (No such file or directory)"),
        (python("print('x' * 70000)"), "the token command printed more than 65536 bytes"),
        (python("import sys; sys.exit('s3cret')"), "the token command ended with status 1"),
    ],
)
def test_a_command_that_gives_none_is_a_failed_attempt(
    spec: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    verdict = refused(spec)
    assert verdict.action is Action.RETRY
    assert verdict.message.endswith(said)
    assert capfd.readouterr() == ("", "")


async def test_a_command_that_does_not_end_is_killed() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(TokenRefusedError, match=r"^the token command took longer than 0\.2 s$"):
            await CommandToken(["sleep", "60"], timeout=0.2).fetch(no_sending)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command:", "the command is missing"),
        ("command:'x", "quotation mark"),
        ("static:", "a token must be a reference: env:NAME or file:PATH"),
        ("static:env:HARVESTER_NOT_SET", "HARVESTER_NOT_SET is not set"),
        ("static:file:no", "cannot be read"),
        ("cloudbase:x", "write cloudbase, or cloudbase:file:PATH"),
        ("golden", "'golden' is not one of stable, classic, cloud"),
        ("29_a-token-by-itself-s3cret", "what was given is not one of"),
    ],
)
def test_a_source_that_cannot_be_is_one_sentence(spec: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        provider_for(Account("wx1", token=spec), tmp_path)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("body", [b" t0ken\n", b'{"access_token":"t0ken","expires_in":7200}'])
def test_a_token_server_is_asked_for_nothing_but_its_url(body: bytes) -> None:
    sent: list[Request] = []
    token = given("https://tokens/wx1?key=s3cret", send=answering(Response(200, body), sent))
    assert (token.value, token.lifetime) == ("t0ken", 7200.0)
    assert sent == [Request("GET", "https://tokens/wx1?key=s3cret")]
    assert "s3cret" not in repr(sent)


@pytest.mark.parametrize(
    ("status", "body", "action", "said"),
    [
        (503, b"s3cret", Action.RETRY, "the token server answered HTTP 503"),
        (403, b"s3cret", Action.STOP_ACCOUNT, "the token server answered HTTP 403"),
        (200, b"<html> s3cret", Action.RETRY, "the token server gave no usable access token"),
        (200, b'{"access_token":5}', Action.RETRY, "the token server gave no usable access token"),
        (200, b'{"access_token":"t","expires_in":-1}', Action.RETRY, "no usable access token"),
        (200, b"", Action.RETRY, "the token server gave no usable access token"),
    ],
)
def test_a_token_server_that_gives_none(
    status: int, body: bytes, action: Action, said: str
) -> None:
    verdict = refused("http://tokens/", send=answering(Response(status, body)))
    assert verdict.action is action
    assert verdict.message.endswith(said)


async def test_a_token_server_gets_its_header_and_nothing_of_ours() -> None:
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nt0ken")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with HttpTransport("http://127.0.0.1:1") as transport:
            url = f"http://127.0.0.1:{port}/token?for=wx1"
            token = await HttpToken(url, "Bearer b").fetch(transport.send)
    assert token.value == "t0ken"
    (head,) = heads
    assert head.startswith("GET /token?for=wx1 HTTP/1.1\r\n")
    assert "Authorization: Bearer b\r\n" in head


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://127.0.0.1:9", "HTTP_PROXY names a proxy with the scheme socks5, which is not"),
        ("http://127.0.0.1:port", "the URL of the proxy in the environment is not valid"),
    ],
)
async def test_a_proxy_before_a_token_server_that_cannot_be_used_is_named_at_once(
    proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    async with HttpTransport("https://127.0.0.1:1") as transport:
        with pytest.raises(TokenRefusedError) as refused:
            await HttpToken("http://tokens.example/t?s3cret").fetch(transport.send)
    assert refused.value.verdict.action is Action.STOP_ACCOUNT
    assert refused.value.verdict.message.startswith(f"the token server: {said}")


def test_a_static_token_is_read_from_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("t0ken\n")
    (tmp_path / "t").chmod(0o600)
    assert given("static:file:t", tmp_path).value == "t0ken"
    (tmp_path / "t").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        given("static:file:t", tmp_path)


@virtual()
async def test_a_static_token_that_is_refused_stops_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STATIC", "s3cret-token")
    token = shared_token("wx1", StaticToken("env:STATIC"), no_sending, MemoryStore())
    token.reject(await token.get(), "40001")
    why = "WeChat refused the static token; give a new one"
    assert (await refusal_of(token))[:2] == (Action.STOP_ACCOUNT, why)
    monkeypatch.setenv("STATIC", "an0ther-token")
    assert await token.get() == "an0ther-token"


def test_the_token_of_cloud_hosting_lives_half_an_hour_from_its_writing(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("cl0ud\n")
    written = path.stat().st_mtime

    def at(seconds: float) -> Token:
        return asyncio.run(CloudbaseToken(path, lambda: written + seconds).fetch(no_sending))

    token = at(600.0)
    assert (token.value, token.lifetime, token.parameter) == (
        "cl0ud", 1200.0, "cloudbase_access_token",
    )  # fmt: skip
    with pytest.raises(TokenRefusedError, match="older than half an hour"):
        at(1801.0)
    path.unlink()
    with pytest.raises(TokenRefusedError, match="cannot be read"):
        at(0.0)


@pytest.mark.parametrize(
    "provider",
    [NoToken(), CloudbaseToken("s3cret"), CommandToken(["/bin/x", "s3cret"]),
     HttpToken("s3cret", "s3cret"),
     Platform("wx1", "s3cret", "s3cret"), Platform("wx1", "s", "t").account("wx2", Path("s3cret"))],
)  # fmt: skip
def test_no_repr_of_a_source_shows_what_it_is_given(provider: object) -> None:
    assert "s3cret" not in repr(provider)
