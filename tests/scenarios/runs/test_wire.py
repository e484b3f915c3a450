"""What can happen on a wire, on real sockets: a bad answer costs an attempt and loses nothing."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import tracemalloc
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

import harvester
from harvester.config.settings import engine_options
from harvester.engine.run import Engine
from harvester.errors import AttemptError
from harvester.events import Event, Report, Retrying
from harvester.model import Request, Response, Window
from harvester.testing import MemorySink, Simulator
from harvester.transport import HttpTransport
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.response import PROXY_LOGIN
from tests.own_server import free_port
from tests.scenarios.command import asked
from tests.support import A, assert_exactly_the_truth, command, environment, scope, stored
from tests.wire_servers import HOST, Answer, Asked, Certificates, Wire, http, reset, simulated, wire

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


def answering(bad: Bad) -> Answer:
    """The same to every request."""
    return lambda writer, _: bad(writer)


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
    options = engine_options(rate="1000/s", concurrency=2, attempts=4)
    async with (
        transport_to(url, whose, timeout=2.0) as transport,
        Engine(asked, options, transport, [sink], None, on_event=on_event) as engine,
    ):
        return await engine.run(), sink.records


def noting(reasons: list[str]) -> Callable[[Event], None]:
    """An observer that notes why something is tried again."""
    return lambda event: reasons.append(event.reason) if isinstance(event, Retrying) else None


@pytest.mark.sampled
@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("name", BAD)
async def test_one_bad_answer_costs_one_attempt_and_loses_nothing(name: str, whose: str) -> None:
    bad, said = BAD[name]
    simulator = Simulator()
    reasons: list[str] = []
    async with wire(once(simulator, bad)) as server:
        report, records = await harvested(server.url, noting(reasons), whose)
    assert len(reasons) == 1
    assert said in reasons[0]
    assert (report.state, report.retries) == ("complete", 1)
    assert_exactly_the_truth(records, simulator, (A,), BEGIN, END)


# one answer, seen from the transport


async def answer_of(transport: HttpTransport) -> Response | str:
    """What a request gets: an answer, or what an error says."""
    try:
        return await transport.send(REQUEST)
    except AttemptError as exc:
        return str(exc)


async def sent(
    bad: Bad, timeout: float = 10.0, requests: int = 1, whose: str = "ours", pause: float = 0.05
) -> tuple[list[Response | str], Wire]:
    """What becomes of requests, one after another, to a server that answers each like that."""
    found = []
    async with (
        wire(answering(bad)) as server,
        transport_to(server.url, whose, timeout) as transport,
    ):
        for _ in range(requests):
            found.append(await answer_of(transport))
            await asyncio.sleep(pause)  # in which it is seen that a connection was closed
    return found, server


LONG = b" " * 300_000
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{ }\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
GOOD = Response(200, b"{}")
AFTER: dict[str, tuple[Bad, Response | str, bool]] = {
    "short": (kept(http(b"{}")), GOOD, True),
    "long": (kept(http(LONG)), Response(200, LONG), True),
    "packed": (
        kept(http(bomb(1, "gzip"), "Content-Encoding: gzip")),
        Response(200, bytes(MB)),
        True,
    ),
    "chunked": (kept(CHUNKED), Response(200, b"{ }"), True),
    "interim answers first": (kept(INTERIM + INTERIM + http(b"{}")), GOOD, True),
    "none": (kept(HEAD.replace(b"200 OK", b"204 None") + b"\r\n"), Response(204, b""), True),
    "099": (kept(http(b"{}", status="099 X")), Response(99, b"{}"), True),
    "redirect": (kept(http(b"", status="302 Found")), Response(302, b""), True),
    "reset after it": (raw(http(b"{}"), end=reset), GOOD, False),
    "closed after it": (raw(http(b"{}", "Connection: keep-alive")), GOOD, False),
    "two": (kept(http(b"{}") + http(b'{"another":1}')), GOOD, False),
    "half": (kept(HALF), "no answer within 0.5 s", False),
    "too long": (
        kept(http(b" " * (LIMIT + MB))),
        "the answer was longer than 4194304 bytes",
        False,
    ),
    "not HTTP": (kept(b"HTTP 200 OK\r\n\r\n"), "the answer was not HTTP", False),
}
"""What is sent, what is made of it, and whether the connection serves the next request."""


@pytest.mark.sampled
@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("name", AFTER)
async def test_a_connection_is_kept_after_a_good_answer_alone(name: str, whose: str) -> None:
    answer, read, again = AFTER[name]
    timeout = 0.5 if name == "half" else 60.0
    found, server = await sent(answer, timeout, requests=3, whose=whose, pause=0.15)
    assert found == [read] * 3
    assert server.connections == (1 if again else 3)


async def test_an_answer_to_nothing_is_not_taken_for_the_next_one() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"{}"))
        await asyncio.sleep(0.01)  # the connection lies with the others by then
        writer.write(http(b'{"another":1}'))

    found, server = await sent(late, requests=4, pause=0.5)
    unsent = "the connection was closed before an answer came"
    assert found == [Response(200, b"{}"), unsent] * 2
    assert len(server.asked) == server.connections == 2


async def test_the_request_is_the_one_that_a_session_would_send() -> None:
    heads = [(await sent(kept(http(b"{}")), whose=whose))[1] for whose in WHOSE]
    (ours,), (the_callers,) = [server.asked for server in heads]
    assert ours.head.replace(str(heads[0].port), "PORT") == the_callers.head.replace(
        str(heads[1].port), "PORT"
    )
    assert ours.body == the_callers.body


async def test_a_request_whose_kept_connection_is_closed_under_it_is_not_lost() -> None:
    simulator, sink = Simulator(), MemorySink()
    good = simulated(simulator)
    served: Counter[asyncio.StreamWriter] = Counter()

    async def answer(writer: asyncio.StreamWriter, asked: Asked) -> None:
        served[writer] += 1
        if served[writer] > 2:
            reset(writer)  # the third request on each connection comes to nothing
        else:
            await good(writer, asked)

    async with wire(answer) as server:
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=sink, base_url=server.url, rate="1000/s",
            concurrency=1,
        )  # fmt: skip
    assert report.state == "complete"
    assert report.retries >= 2
    assert server.connections >= 3
    assert_exactly_the_truth(sink.records, simulator, (A,), BEGIN, END)


ENDLESS = ["too long", "too long, chunked", "too long, of no told length", "headers without end"]
BOMBS = ["gzip", "deflate", "zstd"]


@pytest.mark.sampled
@pytest.mark.parametrize("whose", WHOSE)
@pytest.mark.parametrize("name", [*ENDLESS, *BOMBS])
async def test_an_answer_that_is_too_long_when_unpacked_is_not_held(name: str, whose: str) -> None:
    if name in BOMBS:
        packed = bomb(200, name)
        assert len(packed) < LIMIT
        bad, said = raw(http(packed, f"Content-Encoding: {name}")), f"longer than {LIMIT} bytes"
    else:
        bad, said = BAD[name]
    tracemalloc.start()
    try:
        (found,), _ = await sent(bad, whose=whose)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said in str(found)
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
async def test_a_wrong_coding_costs_an_attempt(coding: str, body: bytes, said: str) -> None:
    (found,), _ = await sent(raw(http(body, f"Content-Encoding: {coding}")))
    if isinstance(found, Response):
        found = INTERFACES["getarticlesummary"].verdict(found, WINDOW).message
    assert said in found


@pytest.mark.parametrize("whose", WHOSE)
async def test_a_flood_of_interim_answers_is_cut_off(whose: str) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    (found,), _ = await sent(flood, timeout=0.4, whose=whose)
    assert found == "no answer within 0.4 s"


async def test_a_redirect_to_another_host_is_not_followed() -> None:
    async with wire(answering(kept(http(b'{"list":[]}')))) as other:
        where = f"Location: {other.url.replace(HOST, 'localhost')}/datacube/x"
        moved = kept(http(b"", where, status="307 Temporary Redirect"))
        async with wire(once(Simulator(), moved)) as server:
            report = await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(),
                base_url=server.url, rate="1000/s", concurrency=1,
            )  # fmt: skip
    assert other.connections == 0
    assert len(server.asked) == 3  # the token, a day, and the one that was moved: then it stops
    assert report.state == "partial"
    assert "redirects are not followed" in report.failures[0].error


# names


class Flaky(AbstractResolver):
    """Finds no name at first, and then ours."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if self.asked <= self.failures:
            raise OSError(None, "Temporary failure in name resolution")
        found = {"hostname": host, "host": HOST, "port": port, "family": socket.AF_INET}
        return [ResolveResult(**found, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_a_name_that_is_not_found_for_a_while_loses_nothing() -> None:
    simulator, resolver, sink = Simulator(), Flaky(3), MemorySink()
    reasons: list[str] = []
    connector = aiohttp.TCPConnector(
        resolver=resolver, use_dns_cache=False, force_close=True, limit=2
    )
    async with (
        wire(simulated(simulator)) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=sink, session=session, rate="1000/s",
            base_url=server.url.replace(HOST, "wechat.test"), on_event=noting(reasons),
        )  # fmt: skip
    assert report.state == "complete"
    assert resolver.asked > 5
    assert_exactly_the_truth(sink.records, simulator, (A,), BEGIN, END)
    assert len(reasons) == 3
    assert all("the host name wechat.test was not found" in reason for reason in reasons)


# TLS


async def answered_over_tls(tls: Any, ca_file: Path | None) -> Response | str:
    async with (
        wire(answering(kept(http(b"{}"))), tls) as server,
        HttpTransport(server.url, ca_file=ca_file) as transport,
    ):
        found = await answer_of(transport)
    sent = len(server.asked) == 1
    assert sent == isinstance(found, Response), "a request was sent to whom we do not trust"
    return found


@pytest.mark.parametrize(
    ("kind", "known", "said"),
    [
        ("good", False, "unable to get local issuer certificate"),
        ("wrong_name", True, "certificate is not valid for '127.0.0.1'"),
        ("expired", True, "certificate has expired"),
        ("self_signed", True, "self-signed certificate"),
    ],
)
async def test_a_bad_certificate_is_refused_and_said_why(
    certificates: Certificates, kind: str, known: bool, said: str
) -> None:
    ca_file = certificates.ca_file if known else None
    found = await answered_over_tls(getattr(certificates, kind)(), ca_file)
    assert isinstance(found, str)
    assert found.startswith("the server's TLS certificate was refused (")
    assert said in found.replace("self signed", "self-signed")


async def commanded(url: str, folder: Path, *more: str) -> tuple[int | None, str]:
    """How the command ends, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *command(*asked(url, "getarticlesummary", BEGIN, END, *more)),
        cwd=folder, env=environment(), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    return process.returncode, err.decode()


async def test_the_library_and_the_command_take_an_own_authority(
    certificates: Certificates, tmp_path: Path
) -> None:
    simulator = Simulator()
    async with wire(simulated(simulator), certificates.good()) as server:
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=f"jsonl:{tmp_path / 'a'}",
            base_url=server.url, rate="1000/s", ca_file=certificates.ca_file,
        )  # fmt: skip
        (tmp_path / "harvester.toml").write_text(f"ca-file = '{certificates.ca_file}'\n")
        status, _ = await commanded(server.url, tmp_path, "--out", "b")
    assert (report.state, status) == ("complete", 0)
    for name in ("a", "b"):
        assert_exactly_the_truth(stored(tmp_path / name), simulator, (A,), BEGIN, END)


async def test_a_certificate_of_nobody_ends_the_command_with_4_and_says_why(
    certificates: Certificates, tmp_path: Path
) -> None:
    async with wire(simulated(Simulator()), certificates.good()) as server:
        status, err = await commanded(server.url, tmp_path, "--attempts", "2")
        assert server.asked == []
    assert status == 4
    assert "the server's TLS certificate was refused (unable to get local issuer" in err


async def test_ones_own_authority_and_session_do_not_mix(certificates: Certificates) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(harvester.UsageError, match="your session has its own TLS"):
            await harvester.run(
                ACCOUNT, "getarticlesummary", BEGIN, END, sink=MemorySink(), session=session,
                ca_file=certificates.ca_file,
            )  # fmt: skip


def test_a_file_that_looks_like_an_authority_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(harvester.UsageError, match="holds no certificate"):
        HttpTransport(ca_file=path)


# proxies


async def test_a_run_goes_through_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator()
    sink = MemorySink()
    async with wire(simulated(simulator)) as proxy:
        monkeypatch.setenv("http_proxy", f"{HOST}:{proxy.port}")  # as curl takes it too
        report = await harvester.run(
            ACCOUNT, "getarticlesummary", BEGIN, END, sink=sink, rate="1000/s",
            base_url="http://wechat.invalid",
        )  # fmt: skip
        assert report.state == "complete"
    assert_exactly_the_truth(sink.records, simulator, (A,), BEGIN, END)
    assert all(asked.target.startswith("http://wechat.invalid/") for asked in proxy.asked)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_is_named_and_its_password_is_not(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    refusal = answering(kept(http(b"", status="407 Proxy Authentication Required")))
    async with wire(refusal) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url.replace("//", "//user:hunter2@"))
        async with HttpTransport(f"{scheme}://wechat.invalid") as transport:
            found, shown = await answer_of(transport), repr(transport)
    refused = f"the proxy refused (HTTP 407): {PROXY_LOGIN}"
    assert found == (Response(407, b"") if scheme == "http" else refused)
    assert "hunter2" not in f"{found}{shown}"


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://user:hunter2@{HOST}:{port}")
    async with HttpTransport("http://wechat.invalid") as transport:
        said = await answer_of(transport)
    assert said == f"no connection to the proxy {HOST}:{port} (Connection refused)"
