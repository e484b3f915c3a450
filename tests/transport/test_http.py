"""One request out, one response in, over real sockets on loopback."""

import asyncio
import gzip
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from harvester.errors import AttemptError, NetworkError
from harvester.model import Request, Response
from harvester.transport import HttpTransport

REQUEST = Request("POST", "/x", (("access_token", "s3cret"),), b'{"a":1}')
TLS_RECORD = b"\x16"


class Server:
    """Answers every request with the same bytes and closes; None: with nothing at all.

    hold: the connection stays open after the answer.  heads, bodies: what was asked.
    """

    def __init__(self, answer: bytes | None, *, hold: bool = False) -> None:
        self.answer = answer
        self.hold = hold or answer is None
        self.url = ""
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()
        self.connections: list[asyncio.BaseTransport] = []


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.append(transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if data[:1] != TLS_RECORD and (not blank or len(body) < int(length[1] if length else 0)):
            return
        self.server.heads.append(head.decode(errors="replace"))
        self.server.bodies.append(body)
        self.server.asked.set()
        self.received = b""
        self.transport.write(self.server.answer or b"")
        if not self.server.hold:
            self.transport.close()


@asynccontextmanager
async def serving(
    answer: bytes | None, *, hold: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(answer, hold=hold)
    loop = asyncio.get_running_loop()
    made = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, ssl=tls)
    async with made as running:
        scheme, port = "https" if tls else "http", running.sockets[0].getsockname()[1]
        server.url = f"{scheme}://127.0.0.1:{port}"
        try:
            yield server
        finally:
            for connection in server.connections:
                connection.close()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""])
    return head.encode() + body


def sized(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return http(body, f"Content-Length: {len(body)}", *headers, status=status)


def chunked(*chunks: bytes) -> bytes:
    parts = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b"")]
    return http(b"".join(parts), "Transfer-Encoding: chunked")


def zipped(body: bytes) -> bytes:
    return sized(gzip.compress(body, mtime=0), "Content-Encoding: gzip")


def answered(answer: bytes, max_body: int = 1000) -> Response:
    async def main() -> Response:
        async with (
            serving(answer) as server,
            HttpTransport(server.url, max_body=max_body) as transport,
        ):
            return await transport.send(REQUEST)

    return asyncio.run(main())


def failed(answer: bytes | None, *, max_body: int = 1000, timeout: float = 60.0) -> str:
    async def main() -> str:
        async with (
            serving(answer) as server,
            HttpTransport(server.url, max_body=max_body, timeout=timeout) as transport,
        ):
            with pytest.raises(AttemptError) as caught:
                await transport.send(REQUEST)
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None
            return str(caught.value)

    return asyncio.run(main())


# out


async def test_the_request_arrives_as_it_was_made() -> None:
    async with serving(sized(b"{}")) as server, HttpTransport(server.url) as transport:
        await transport.send(Request("POST", "/a/b", (("t", "x y&z"), ("u", "早")), b"{}"))
    server = server
    head = server.heads[0].split("\r\n")
    assert head[0] == "POST /a/b?t=x+y%26z&u=%E6%97%A9 HTTP/1.1"
    assert "Content-Type: application/json" in head
    assert "Accept: application/json" in head
    assert server.bodies == [b"{}"]


async def test_a_request_may_have_neither_query_nor_body() -> None:
    async with serving(sized(b"{}")) as server, HttpTransport(server.url + "/p") as transport:
        await transport.send(Request("GET", "/a"))
    assert (server).heads[0].startswith("GET /p/a HTTP/1.1\r\n")


async def test_cookies_are_not_sent_back() -> None:
    answer = sized(b"{}", "Set-Cookie: a=b")
    async with serving(answer) as server, HttpTransport(server.url) as transport:
        await transport.send(REQUEST)
        await transport.send(REQUEST)
    assert "Cookie" not in (server).heads[1]


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(sized(b"{}")) as server:
        monkeypatch.setenv("http_proxy", server.url)
        async with HttpTransport("http://wechat.invalid") as transport:
            await transport.send(REQUEST)
    assert (server).heads[0].startswith("POST http://wechat.invalid/x?access_token=")


def test_a_host_that_needs_no_proxy_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert answered(sized(b"{}")).status == 200


# in


@pytest.mark.parametrize(
    "answer",
    [
        sized(b'{"list":[]}'),
        chunked(b'{"list"', b":[]}"),
        http(b'{"list":[]}'),
        zipped(b'{"list":[]}'),
        sized(b'{"list":[]}', "Content-Type: text/plain; charset=gbk"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b'{"list":[]}'),
    ],
)
def test_the_body_is_read_to_its_end_however_it_is_sent(answer: bytes) -> None:
    assert answered(answer) == Response(200, b'{"list":[]}')


@pytest.mark.parametrize("status", ["204 No Content", "404 Not Found", "502 Bad Gateway"])
def test_any_status_is_a_response(status: str) -> None:
    assert answered(sized(b"", status=status)) == Response(int(status[:3]), b"")


def test_a_redirect_is_not_followed() -> None:
    answer = sized(b"", "Location: http://127.0.0.1:1/", status="302 Found")
    assert answered(answer) == Response(302, b"")


@pytest.mark.parametrize("answer", [sized(b"x" * 50), chunked(b"x" * 50), zipped(b"x" * 50)])
def test_an_answer_of_the_greatest_length_is_read(answer: bytes) -> None:
    assert answered(answer, max_body=50).body == b"x" * 50


@pytest.mark.parametrize(
    "answer", [sized(b"x" * 51), chunked(b"x" * 50, b"x"), zipped(b"0" * 5_000_000)]
)
def test_an_answer_that_is_too_long_is_refused(answer: bytes) -> None:
    assert failed(answer, max_body=50) == "the answer was longer than 50 bytes"


# failures


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "the connection was closed before an answer came"),
        (http(b"{", "Content-Length: 20"), "the answer was cut off"),
        (http(b"20\r\n{", "Transfer-Encoding: chunked"), "the answer was cut off"),
        (sized(b"no gzip at all", "Content-Encoding: gzip"), "the answer was cut off"),
        (b"SSH-2.0-OpenSSH_9.0\r\n\r\n", "the answer was not HTTP"),
        (http(b"zz\r\n{}", "Transfer-Encoding: chunked"), "the answer was not HTTP"),
        (http(b"{}", "Content-Length: -2"), "the answer was not HTTP"),
    ],
)
def test_an_answer_that_breaks_off_is_a_failed_attempt(answer: bytes, said: str) -> None:
    assert failed(answer) == said


def test_no_answer_in_time_is_a_failed_attempt() -> None:
    assert failed(None, timeout=0.05) == "no answer within 0.05 s"


def test_half_an_answer_in_time_is_a_failed_attempt() -> None:
    async def main() -> str:
        half = http(b"{", "Content-Length: 2")
        async with (
            serving(half, hold=True) as server,
            HttpTransport(server.url, timeout=0.05) as transport,
        ):
            with pytest.raises(AttemptError) as caught:
                await transport.send(REQUEST)
            return str(caught.value)

    assert asyncio.run(main()) == "no answer within 0.05 s"


async def test_after_a_timeout_the_task_goes_on() -> None:
    async with serving(None) as server, HttpTransport(server.url, timeout=0.02) as transport:
        for _ in range(3):
            with pytest.raises(AttemptError):
                await transport.send(REQUEST)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert (-1 if task is None else task.cancelling()) == 0


async def test_each_request_has_a_time_of_its_own() -> None:
    async with serving(None) as silent, HttpTransport(silent.url, timeout=0.05) as transport:
        found = await asyncio.gather(
            *[transport.send(REQUEST) for _ in range(5)], return_exceptions=True
        )
    assert ([str(each) for each in found]) == ["no answer within 0.05 s"] * 5


async def test_a_cancellation_from_outside_is_not_taken_for_a_timeout() -> None:
    async with serving(None) as server, HttpTransport(server.url) as transport:
        sending = asyncio.create_task(transport.send(REQUEST))
        await server.asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_a_refused_connection_names_host_and_port_and_nothing_secret() -> None:
    async with serving(b"") as server:
        url = server.url
    async with HttpTransport(url) as transport:
        with pytest.raises(AttemptError) as caught:
            await transport.send(REQUEST)
    assert (
        str(caught.value).replace(url.removeprefix("http://"), "HOST")
    ) == "no connection to HOST (Connection refused)"


async def test_plain_http_where_tls_is_expected_is_a_failed_attempt() -> None:
    async with serving(sized(b"{}")) as server:
        async with HttpTransport(server.url.replace("http:", "https:")) as transport:
            with pytest.raises(AttemptError) as caught:
                await transport.send(REQUEST)
        said = str(caught.value)
    assert "s3cret" not in said
    assert said.startswith(("the server's TLS", "no connection", "the connection was closed"))


# sessions


async def test_a_session_of_the_callers_is_used_and_never_closed() -> None:
    async with (
        serving(sized(b"{}")) as server,
        aiohttp.ClientSession(headers={"X-Mine": "yes"}) as session,
    ):
        async with HttpTransport(server.url, session) as transport:
            await transport.send(REQUEST)
        head, closed = server.heads[0], session.closed
    assert "X-Mine: yes" in head
    assert not closed


def test_a_session_of_the_callers_may_raise_for_a_status() -> None:
    async def main() -> Response:
        async with (
            serving(sized(b"", status="502 Bad Gateway")) as server,
            aiohttp.ClientSession(raise_for_status=True) as session,
            HttpTransport(server.url, session) as transport,
        ):
            return await transport.send(REQUEST)

    assert asyncio.run(main()) == Response(502, b"")


def test_answers_are_counted_and_shown_without_the_query() -> None:
    async def main() -> str:
        async with serving(sized(b"{}")) as server, HttpTransport(server.url) as transport:
            await transport.send(REQUEST)
            return repr(transport).replace(server.url, "URL")

    assert asyncio.run(main()) == "<HttpTransport to URL, session ours, 1 answers>"


async def test_a_transport_that_was_not_entered_sends_nothing() -> None:
    with pytest.raises(AssertionError, match="not entered"):
        await HttpTransport("http://127.0.0.1:1").send(REQUEST)


@pytest.mark.parametrize("whose", ["ours", "the caller's"])
async def test_a_path_cannot_hold_another_header(whose: str) -> None:
    async with (
        serving(sized(b"{}")) as server,
        aiohttp.ClientSession() as session,
        HttpTransport(server.url, None if whose == "ours" else session) as transport,
    ):
        await transport.send(Request("POST", "/x\r\nX-Another:1", (), b"{}"))
        first, *headers = server.heads[0].split("\r\n")
    assert first == "POST /xX-Another:1 HTTP/1.1"
    assert not any(line.startswith("X-Another") for line in headers)


@pytest.mark.parametrize("whose", ["ours", "the caller's"])
@pytest.mark.parametrize("path", ["/x\0", "/x?a=\x1b", "/\x7f"])
def test_a_path_with_control_characters_is_not_sent(path: str, whose: str) -> None:
    async def main() -> tuple[str, list[str]]:
        async with (
            serving(sized(b"{}")) as server,
            aiohttp.ClientSession() as session,
            HttpTransport(server.url, None if whose == "ours" else session) as transport,
        ):
            with pytest.raises(AttemptError) as caught:
                await transport.send(Request("POST", path, (), b"{}"))
            return str(caught.value), server.heads

    assert asyncio.run(main()) == ("the request failed (ValueError)", [])


@pytest.mark.parametrize(
    ("whose", "error", "said"),
    [
        ("ours", AttemptError, "the session was closed"),
        ("the caller's", NetworkError,
         "the session was closed during the run; close it after the run"),
    ],
)  # fmt: skip
def test_a_session_that_was_closed_is_told_and_nothing_is_connected(
    whose: str, error: type[Exception], said: str
) -> None:
    async def main() -> tuple[str, int]:
        async with serving(sized(b"{}")) as server, aiohttp.ClientSession() as session:
            transport = HttpTransport(server.url, None if whose == "ours" else session)
            async with transport:
                await transport.send(REQUEST)
            await session.close()
            with pytest.raises(error) as caught:
                await transport.send(REQUEST)
            return str(caught.value), len(server.connections)

    assert asyncio.run(main()) == (said, 1)
