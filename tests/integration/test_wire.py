"""What can happen on a wire, on real sockets: a bad answer costs an attempt and loses nothing."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

import harvester
from harvester.datacube import INTERFACES
from harvester.engine import Engine
from harvester.errors import AttemptError
from harvester.events import Event, Report, Retrying
from harvester.model import Request, Response, Window
from harvester.settings import Options
from harvester.testing import MemorySink, Simulator
from harvester.transport import HttpTransport
from tests.support import A, assert_exactly_the_truth, command, environment, scope, stored
from tests.wire_servers import (
    HOST,
    Answer,
    Asked,
    Certificates,
    Wire,
    http,
    reset,
    simulated,
    wire,
)

pytestmark = pytest.mark.thorough

BEGIN, END = date(2024, 1, 1), date(2024, 1, 5)
ACCOUNT = harvester.Account(A, secret="practice")
REQUEST = Request("POST", "/x", (("access_token", "s3cret"),), b"{}")
WINDOW = Window(A, "getarticlesummary", BEGIN, BEGIN)
HEAD = b"HTTP/1.1 200 OK\r\n"
MB = 1024 * 1024
LIMIT = 4 * MB
SLACK = 6 * MB
"""What a transport may hold beside the body that it reads."""

Bad = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


# what is sent in place of an answer


def raw(*parts: bytes, end: Callable[[asyncio.StreamWriter], None] | None = None) -> Bad:
    """These bytes, and then an end: FIN, unless told otherwise."""

    async def send(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        await asyncio.sleep(0.02)  # what was written must not be lost with an RST
        (end or asyncio.StreamWriter.close)(writer)

    return send


def kept(answer: bytes) -> Bad:
    """A whole answer; the connection stays open."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return send


def drip(head: bytes) -> Bad:
    """A byte a second, for ever."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"a")
            await asyncio.sleep(1.0)

    return send


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    while not writer.is_closing():
        writer.write(b"X-More: %b\r\n" % (b"x" * 1000))
        await writer.drain()


def huge(head: bytes, chunked: bool = False) -> Bad:
    """200 MB."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + head + b"\r\n")
        block = b" " * MB
        for _ in range(200):
            writer.write(b"%x\r\n%b\r\n" % (MB, block) if chunked else block)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")
        writer.close()

    return send


def bomb(megabytes: int, encoding: str) -> bytes:
    """Zeros that deflate to a thousandth, or less."""
    if encoding == "zstd":
        module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        packed: bytes = importlib.import_module(module).compress(bytes(megabytes * MB))
        return packed
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    parts = [packer.compress(bytes(MB)) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])


HTML = b"<!DOCTYPE html><html><body>login</body></html>"
HALF = HEAD + b'Content-Length: 100\r\n\r\n{"list":'
BAD: dict[str, tuple[Bad, str]] = {
    "reset before": (raw(end=reset), "the connection was closed before an answer came"),
    "closed before": (raw(), "the connection was closed before an answer came"),
    "reset in the head": (raw(HEAD[:9], end=reset), "the connection was closed before"),
    "closed in the head": (raw(HEAD + b"Content-"), "the connection was closed before"),
    "reset in the body": (raw(HALF, end=reset), "the answer was cut off"),
    "closed in the body": (raw(HALF), "the answer was cut off"),
    "a byte a second in the head": (drip(HEAD), "no answer within 2 s"),
    "a byte a second in the body": (drip(HALF), "no answer within 2 s"),
    "headers without end": (endless_headers, "the answer was not HTTP"),
    "too long": (huge(b"Content-Length: 209715200\r\n"), f"longer than {LIMIT} bytes"),
    "too long, chunked": (
        huge(b"Transfer-Encoding: chunked\r\n", chunked=True),
        f"longer than {LIMIT} bytes",
    ),
    "too long, of no told length": (huge(b""), f"longer than {LIMIT} bytes"),
    "HTML": (kept(http(HTML)), "the answer was HTML"),
    "too deep": (kept(http(b"[" * 100_000)), "the answer was not JSON, or cut off"),
    "too deep, whole": (
        kept(http(b'{"list":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
        "the answer was not JSON, or cut off",
    ),
    "empty": (kept(http(b"")), "the answer was empty"),
    "502 with a body": (kept(http(HTML, status="502 Bad Gateway")), "HTTP 502"),
    "503 without a body": (kept(http(b"", status="503 Busy")), "HTTP 503"),
    "500 that is cut off": (raw(HALF.replace(b"200 OK", b"500 X")), "the answer was cut off"),
}  # fmt: skip


def once(simulator: Simulator, bad: Bad) -> Answer:
    """A WeChat whose second data answer goes wrong in some way."""
    good = simulated(simulator)
    asked_for_data = 0

    async def answer(writer: asyncio.StreamWriter, asked: Asked) -> None:
        nonlocal asked_for_data
        asked_for_data += asked.target.startswith("/datacube/")
        if asked_for_data == 2:
            asked_for_data += 1
            await bad(writer)
        else:
            await good(writer, asked)

    return answer


WHOSE = ["ours", "the caller's"]
"""Sessions; each is asked in a way of its own."""


@asynccontextmanager
async def transport_to(url: str, whose: str, timeout: float) -> AsyncIterator[HttpTransport]:
    async with AsyncExitStack() as stack:
        session = (
            None if whose == "ours" else (await stack.enter_async_context(aiohttp.ClientSession()))
        )
        transport = HttpTransport(url, session, timeout=timeout, max_body=LIMIT)
        yield await stack.enter_async_context(transport)


async def harvested(
    url: str, on_event: Callable[[Event], None], whose: str = "ours"
) -> tuple[Report, list[Any]]:
    """All the days through engine and transport, which waits 2 s for an answer."""
    sink, asked = MemorySink(), scope(BEGIN, END)
    options = Options(rate=1000, concurrency=2, attempts=4)
    async with (
        transport_to(url, whose, timeout=2.0) as transport,
        Engine(asked, options, transport, [sink], None, on_event=on_event) as engine,
    ):
        return await engine.run(), sink.records


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("name", BAD)
async def test_one_bad_answer_costs_one_attempt_and_loses_nothing(name: str, whose: str) -> None:
    bad, said = BAD[name]
    simulator = Simulator()
    reasons = []

    def observe(event: Event) -> None:
        if isinstance(event, Retrying):
            reasons.append(event.reason)

    async with wire(once(simulator, bad)) as server:
        report, records = await harvested(server.url, observe, whose)
    assert len(reasons) == 1
    assert said in reasons[0]
    assert (report.state, report.retries) == ("complete", 1)
    assert_exactly_the_truth(records, simulator, (A,), BEGIN, END)


# one answer, seen from the transport


def sent(
    bad: Bad, timeout: float = 10.0, requests: int = 1, whose: str = "ours", pause: float = 0.05
) -> tuple[list[Response | str], Wire]:
    """What becomes of requests, one after another, to a server that answers each like that."""

    async def answer(writer: asyncio.StreamWriter, _: Asked) -> None:
        await bad(writer)

    async def main() -> tuple[list[Response | str], Wire]:
        found: list[Response | str] = []
        async with (
            wire(answer) as server,
            transport_to(server.url, whose, timeout) as transport,
        ):
            for _ in range(requests):
                try:
                    found.append(await transport.send(REQUEST))
                except AttemptError as exc:
                    found.append(str(exc))
                await asyncio.sleep(pause)  # in which it is seen that a connection was closed
        return found, server

    return asyncio.run(main())


@pytest.mark.parametrize("whose", WHOSE)
def test_a_reset_after_the_answer_takes_nothing_away(whose: str) -> None:
    found, server = sent(raw(http(b"{}"), end=reset), requests=3, whose=whose)
    assert found == [Response(200, b"{}")] * 3
    assert server.connections == 3


@pytest.mark.parametrize("whose", WHOSE)
def test_a_connection_closed_between_two_requests_is_not_used_again(whose: str) -> None:
    found, server = sent(raw(http(b"{}", "Connection: keep-alive")), requests=3, whose=whose)
    assert found == [Response(200, b"{}")] * 3
    assert server.connections == 3


LONG = b" " * 300_000
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{ }\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (http(b"{}"), Response(200, b"{}")),
        (http(LONG), Response(200, LONG)),
        (http(bomb(1, "gzip"), "Content-Encoding: gzip"), Response(200, bytes(MB))),
        (CHUNKED, Response(200, b"{ }")),
        (INTERIM + INTERIM + http(b"{}"), Response(200, b"{}")),
        (HEAD.replace(b"200 OK", b"204 None") + b"\r\n", Response(204, b"")),
        (http(b"{}", status="099 X"), Response(99, b"{}")),
        (http(b"", status="302 Found"), Response(302, b"")),
    ],
    ids=["short", "long", "packed", "chunked", "interim answers first", "none", "099", "redirect"],
)
def test_a_connection_is_kept_after_an_answer(answer: bytes, read: Response, whose: str) -> None:
    found, server = sent(kept(answer), requests=3, whose=whose)
    assert found == [read] * 3
    assert server.connections == 1


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize(
    ("bad", "said", "timeout"),
    [
        (kept(HALF), "no answer within 0.5 s", 0.5),
        (kept(http(b" " * (LIMIT + MB))), "the answer was longer than 4194304 bytes", 60.0),
        (kept(b"HTTP 200 OK\r\n\r\n"), "the answer was not HTTP", 60.0),
    ],
    ids=["half", "too long", "not HTTP"],
)
def test_a_connection_is_not_kept_after_a_bad_answer(
    bad: Bad, said: str, timeout: float, whose: str
) -> None:
    found, server = sent(bad, timeout, requests=3, whose=whose)
    assert found == [said] * 3
    assert server.connections == 3


@pytest.mark.parametrize("whose", WHOSE)
def test_two_answers_to_one_request_are_not_taken_for_two(whose: str) -> None:
    found, server = sent(kept(http(b"{}") + http(b'{"another":1}')), requests=3, whose=whose)
    assert found == [Response(200, b"{}")] * 3
    assert server.connections == 3


def test_an_answer_to_nothing_is_not_taken_for_the_next_one() -> None:
    async def answer(writer: asyncio.StreamWriter, _: Asked) -> None:
        writer.write(http(b"{}"))
        await asyncio.sleep(0.01)  # the connection lies with the others by then
        writer.write(http(b'{"another":1}'))

    async def late(writer: asyncio.StreamWriter) -> None:
        await answer(writer, Asked(0, "", b""))

    found, server = sent(late, requests=4, pause=0.5)
    unsent = "the connection was closed before an answer came"
    assert found == [Response(200, b"{}"), unsent] * 2
    assert len(server.asked) == server.connections == 2


def test_the_request_is_the_one_that_a_session_would_send() -> None:
    heads = [sent(kept(http(b"{}")), whose=whose)[1] for whose in WHOSE]
    (ours,), (the_callers,) = [server.asked for server in heads]
    assert ours.head.replace(str(heads[0].port), "PORT") == the_callers.head.replace(
        str(heads[1].port), "PORT"
    )
    assert ours.body == the_callers.body


def test_a_request_whose_kept_connection_is_closed_under_it_is_not_lost() -> None:
    simulator = Simulator()
    good = simulated(simulator)
    served: dict[asyncio.StreamWriter, int] = {}

    async def answer(writer: asyncio.StreamWriter, asked: Asked) -> None:
        served[writer] = served.get(writer, 0) + 1
        if served[writer] > 2:
            reset(writer)  # the third request on each connection comes to nothing
        else:
            await good(writer, asked)

    async def main() -> tuple[Report, list[Any], Wire]:
        sink = MemorySink()
        async with wire(answer) as server:
            report = await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=sink, base_url=server.url,
                rate=1000, concurrency=1,
            )  # fmt: skip
        return report, sink.records, server

    report, records, server = asyncio.run(main())
    assert report.state == "complete"
    assert report.retries >= 2
    assert server.connections >= 3
    assert_exactly_the_truth(records, simulator, (A,), BEGIN, END)


def _most_memory(work: Callable[[], Any]) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        found = work()
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize(
    "name", ["too long", "too long, chunked", "too long, of no told length", "headers without end"]
)
def test_an_answer_that_is_too_long_is_not_held(name: str, whose: str) -> None:
    bad, said = BAD[name]
    (found, _), most = _most_memory(lambda: sent(bad, whose=whose))
    assert said in found[0]
    assert most < LIMIT + SLACK


@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_counted_unpacked_and_not_held(encoding: str, whose: str) -> None:
    packed = bomb(200, encoding)
    assert len(packed) < LIMIT
    answer = http(packed, f"Content-Encoding: {encoding}")
    (found, _), most = _most_memory(lambda: sent(raw(answer), whose=whose))
    assert found == [f"the answer was longer than {LIMIT} bytes"]
    assert most < LIMIT + SLACK


@pytest.mark.parametrize(
    ("coding", "body", "said"),
    [
        ("gzip", b"not gzip at all", "the answer was cut off"),
        ("deflate", b"\xff" * 99, "the answer was cut off"),
        ("zstd", b"junk", "the answer was cut off"),
        ("br", b"\x1b" * 99, "the answer was not HTTP"),  # its library is not asked for
        ("gzip, gzip", bomb(8, "gzip"), "not JSON"),  # only the outer one would be taken off
        ("gzip", bomb(1, "gzip")[:-30], "not JSON"),
        ("x-nobody", b"\x00\x01", "not JSON"),
    ],
)
def test_a_coding_that_is_wrong_or_unknown_costs_an_attempt(
    coding: str, body: bytes, said: str
) -> None:
    (found,), _ = sent(raw(http(body, f"Content-Encoding: {coding}")))
    if isinstance(found, Response):
        found = INTERFACES["getarticlesummary"].verdict(found, WINDOW).message
    assert said in found


@pytest.mark.parametrize("whose", WHOSE)
def test_a_flood_of_interim_answers_is_cut_off(whose: str) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    (found,), _ = sent(flood, timeout=0.4, whose=whose)
    assert found == "no answer within 0.4 s"


async def test_a_redirect_to_another_host_is_not_followed() -> None:
    async def elsewhere(writer: asyncio.StreamWriter, _: Asked) -> None:
        writer.write(http(b'{"list":[]}'))

    async with wire(elsewhere) as other:
        where = f"Location: {other.url.replace(HOST, 'localhost')}/datacube/x"

        async def moved(writer: asyncio.StreamWriter) -> None:
            writer.write(http(b"", where, status="307 Temporary Redirect"))

        async with wire(once(Simulator(), moved)) as server:
            report = await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(),
                base_url=server.url, rate=1000, concurrency=1,
            )  # fmt: skip
        report, connections, asked = report, other.connections, len(server.asked)
    assert connections == 0
    assert asked == 3  # the token, a day, and the one that was moved: then it stops
    assert report.state == "partial"
    assert "redirects are not followed" in report.failures[0].error


# names


class Flaky(AbstractResolver):
    """Finds no name at first, and then ours."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise OSError(None, "Temporary failure in name resolution")
        return [
            ResolveResult(
                hostname=host, host=HOST, port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


def test_a_name_that_is_not_found_for_a_while_loses_nothing() -> None:
    simulator = Simulator()
    reasons: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, Retrying):
            reasons.append(event.reason)

    async def main() -> list[Any]:
        resolver, sink = Flaky(3), MemorySink()
        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, limit=2
        )
        async with (
            wire(simulated(simulator)) as server,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            report = await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=sink, session=session, rate=1000,
                base_url=server.url.replace(HOST, "wechat.test"), on_event=observe,
            )  # fmt: skip
            assert report.state == "complete"
            assert resolver.asked > 5
        return sink.records

    assert_exactly_the_truth(asyncio.run(main()), simulator, (A,), BEGIN, END)
    assert len(reasons) == 3
    assert all("the host name wechat.test was not found" in reason for reason in reasons)


# TLS


def answered_over_tls(tls: Any, ca_file: Path | None) -> Response | str:
    async def answer(writer: asyncio.StreamWriter, _: Asked) -> None:
        writer.write(http(b"{}"))

    async def main() -> tuple[Response | str, int]:
        async with (
            wire(answer, tls) as server,
            HttpTransport(server.url, ca_file=ca_file) as transport,
        ):
            try:
                return await transport.send(REQUEST), len(server.asked)
            except AttemptError as exc:
                return str(exc), len(server.asked)

    found, asked = asyncio.run(main())
    assert asked == isinstance(found, Response), "a request was sent to whom we do not trust"
    return found


def test_an_own_authority_is_trusted_once_it_is_given(certificates: Certificates) -> None:
    found = answered_over_tls(certificates.good(), certificates.ca_file)
    assert found == Response(200, b"{}")
    assert "unable to get local issuer certificate" in answered_over_tls(certificates.good(), None)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong_name", "certificate is not valid for '127.0.0.1'"),
        ("expired", "certificate has expired"),
        ("self_signed", "self-signed certificate"),
    ],
)
def test_a_bad_certificate_is_refused_and_said_why(
    certificates: Certificates, kind: str, said: str
) -> None:
    found = answered_over_tls(getattr(certificates, kind)(), certificates.ca_file)
    assert isinstance(found, str)
    assert found.startswith("the server's TLS certificate was refused (")
    assert said in found.replace("self signed", "self-signed")


async def test_the_library_and_the_command_take_an_own_authority(
    certificates: Certificates, tmp_path: Path
) -> None:
    simulator = Simulator()
    async with wire(simulated(simulator), certificates.good()) as server:
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=f"jsonl:{tmp_path / 'a'}",
            base_url=server.url, rate=1000, ca_file=certificates.ca_file,
        )  # fmt: skip
        (tmp_path / "harvester.toml").write_text(f"ca-file = '{certificates.ca_file}'\n")
        process = await asyncio.create_subprocess_exec(
            *command(
                "run", "getarticlesummary", "--appid", A, "--start", str(BEGIN), "--end",
                str(END), "--base-url", server.url, "--rate", "1000/s", "--out", "b",
            ),
            cwd=tmp_path, env=environment(),
        )  # fmt: skip
        report, status = report, await process.wait()
    assert (report.state, status) == ("complete", 0)
    for name in ("a", "b"):
        assert_exactly_the_truth(stored(tmp_path / name), simulator, (A,), BEGIN, END)


async def test_a_certificate_of_nobody_ends_the_command_with_4_and_says_why(
    certificates: Certificates, tmp_path: Path
) -> None:
    async with wire(simulated(Simulator()), certificates.good()) as server:
        process = await asyncio.create_subprocess_exec(
            *command(
                "run", "getarticlesummary", "--appid", A, "--start", str(BEGIN), "--end",
                str(END), "--base-url", server.url, "--attempts", "2",
            ),
            cwd=tmp_path, env=environment(), stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await process.communicate()
        assert server.asked == []
        status, err = process.returncode, err.decode()
    assert status == 4
    assert "the server's TLS certificate was refused (unable to get local issuer" in err


async def test_an_authority_and_a_session_of_ones_own_do_not_go_together(
    certificates: Certificates,
) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(harvester.UsageError, match="your own session has its own TLS"):
            await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), session=session,
                ca_file=certificates.ca_file,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "holds no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate"),
    ],
)
def test_a_file_that_holds_no_authority_is_a_usage_error(
    tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(harvester.UsageError) as caught:
        HttpTransport(ca_file=tmp_path / "ca.pem")
    assert said in str(caught.value)


# proxies


async def test_a_run_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulator = Simulator()
    sink = MemorySink()
    async with wire(simulated(simulator)) as proxy:
        monkeypatch.setenv("http_proxy", f"{HOST}:{proxy.port}")  # as curl takes it too
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=sink, rate=1000,
            base_url="http://wechat.invalid",
        )  # fmt: skip
        assert report.state == "complete"
    records, proxy = sink.records, proxy
    assert_exactly_the_truth(records, simulator, (A,), BEGIN, END)
    assert all(asked.target.startswith("http://wechat.invalid/") for asked in proxy.asked)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named_and_its_password_is_not(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async def refuse(writer: asyncio.StreamWriter, _: Asked) -> None:
        writer.write(http(b"", status="407 Proxy Authentication Required"))

    async def main() -> tuple[Response | str, str]:
        async with wire(refuse) as proxy:
            url = proxy.url.replace("//", "//user:hunter2@")
            monkeypatch.setenv(f"{scheme}_proxy", url)
            async with HttpTransport(f"{scheme}://wechat.invalid") as transport:
                try:
                    return await transport.send(REQUEST), repr(transport)
                except AttemptError as exc:
                    return str(exc), repr(transport)

    found, shown = asyncio.run(main())
    assert found == (Response(407, b"") if scheme == "http" else "the proxy refused (HTTP 407)")
    assert "hunter2" not in f"{found}{shown}"


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://user:hunter2@{HOST}:{port}")
    async with HttpTransport("http://wechat.invalid") as transport:
        with pytest.raises(AttemptError) as caught:
            await transport.send(REQUEST)
    assert (
        str(caught.value).replace(str(port), "PORT")
    ) == f"no connection to the proxy {HOST}:PORT (Connection refused)"
