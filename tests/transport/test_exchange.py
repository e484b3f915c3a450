"""Requests below the session of aiohttp: connections are kept, left and closed."""

import asyncio
import subprocess
import sys
import warnings
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from harvester.errors import AttemptError
from harvester.model import Response
from harvester.transport import HttpTransport, exchange
from tests.transport.test_http import REQUEST, serving, sized
from tests.wire_servers import Certificates

KEEPS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def test_this_aiohttp_is_asked_below_its_session() -> None:
    async with aiohttp.ClientSession() as session:
        found = []
        for whose in (None, session):
            async with HttpTransport("http://127.0.0.1:1", whose) as transport:
                found.append(transport._exchange is not None)
    assert found == [True, False]


def test_what_goes_through_a_proxy_goes_through_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> bool:
        async with HttpTransport("http://wechat.example") as transport:
            return transport._exchange is not None

    assert asyncio.run(main())
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert not asyncio.run(main())


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def main() -> int:
        async with serving(KEEPS, hold=True) as server, HttpTransport(server.url) as transport:
            await transport.send(REQUEST)
            await transport.send(REQUEST)
            return len(server.connections)

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("size", [1, exchange.TLS_RECORD, 5 * exchange.TLS_RECORD + 1])
def test_over_tls_an_answer_of_any_length_is_read_record_by_record(
    size: int, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)

    async def main() -> list[Response]:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        async with (
            serving(answer, hold=True, tls=certificates.good()) as server,
            HttpTransport(server.url, ca_file=certificates.ca_file) as transport,
        ):
            assert transport._exchange is not None
            connection: Any = await transport._exchange.connect()
            assert connection.transport._ssl_protocol.max_size == exchange.TLS_RECORD
            connection.release()
            return [await transport.send(REQUEST) for _ in range(2)]

    assert asyncio.run(main()) == [Response(200, b"x" * size)] * 2


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> tuple[int, bool]:
        async with serving(KEEPS, hold=True) as server, HttpTransport(server.url) as transport:
            await transport.send(REQUEST)
            monkeypatch.setattr(exchange, "KEPT", -1.0)
            await transport.send(REQUEST)
            await asyncio.sleep(0.01)
            return len(server.connections), server.connections[0].is_closing()

    assert asyncio.run(main()) == (2, True)


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    async def main() -> int:
        async with serving(KEEPS, hold=True) as server, HttpTransport(server.url) as transport:
            await transport.send(REQUEST)
            server.connections[0].close()
            await asyncio.sleep(0.01)
            await transport.send(REQUEST)
            return len(server.connections)

    assert asyncio.run(main()) == 2


def test_a_connection_that_is_to_be_closed_is_closed_at_once() -> None:
    async def main() -> bool:
        async with (
            serving(sized(b"{}"), hold=True) as server,
            HttpTransport(server.url) as transport,
        ):
            await transport.send(REQUEST)
            await asyncio.sleep(0.01)
            return server.connections[0].is_closing()

    assert asyncio.run(main())


def test_no_connection_is_left_open() -> None:
    async def main() -> bool:
        async with serving(KEEPS, hold=True) as server:
            async with HttpTransport(server.url) as transport:
                await transport.send(REQUEST)
            await asyncio.sleep(0.01)
            return server.connections[0].is_closing()

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        assert asyncio.run(main())


STRANGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


@pytest.mark.parametrize("begun", range(1, len(STRANGE) + 1))
@pytest.mark.parametrize("waits", [False, True], ids=["in-one-piece", "later"])
def test_what_a_server_sends_or_begins_to_send_without_a_request_is_no_answer(
    begun: int, waits: bool
) -> None:
    """Neither alone, nor joined with what it sends after the next request."""
    connections = 0
    answered, sent = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        is_first = connections == 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(REQUEST.body or b"")
            writer.write(KEEPS + STRANGE[:begun] if is_first and not waits else KEEPS)
            await answered.wait()
            writer.write(STRANGE[:begun] if is_first and waits else b"")
            sent.set()
            await reader.readuntil(REQUEST.body or b"")
            writer.write(STRANGE[begun:] if is_first else KEEPS)
        writer.close()

    async def main() -> set[bytes]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with server, HttpTransport(url) as transport:
            answers = []
            for _ in range(3):
                with suppress(AttemptError):  # the connection is closed
                    answers.append(await transport.send(REQUEST))
                answered.set()
                await sent.wait()
                await asyncio.sleep(0.01)  # what was sent has come, however slow the machine is
        assert len(answers) >= 2
        return {answer.body for answer in answers}

    assert asyncio.run(main()) == {b"{}"}
    assert connections == 2


async def test_the_requests_of_one_turn_of_the_loop_are_written_together_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By one flush, which writes once to each connection."""
    turn = 0
    began: list[int] = []
    flushed: list[int] = []
    flush = exchange.Exchange._flush
    written: list[tuple[int, int, bytes]] = []
    write = asyncio.selector_events._SelectorSocketTransport.write  # type: ignore[attr-defined]

    def flushing(self: exchange.Exchange) -> None:
        flushed.append(turn)
        flush(self)

    def noted(self: asyncio.Transport, data: bytes) -> None:
        if data.startswith(b"POST "):  # else it is the server's answer
            written.append((turn, id(self), bytes(data)))
        write(self, data)

    def count() -> None:
        nonlocal turn
        turn += 1
        counting[:] = [asyncio.get_running_loop().call_soon(count)]

    async def asked(transport: HttpTransport) -> Response:
        began.append(turn)
        return await transport.send(REQUEST)

    counting: list[asyncio.Handle] = []
    async with serving(KEEPS, hold=True) as server, HttpTransport(server.url) as transport:
        await asyncio.gather(*[transport.send(REQUEST) for _ in range(5)])  # opens connections
        monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "write", noted)
        monkeypatch.setattr(exchange.Exchange, "_flush", flushing)
        count()
        answers = await asyncio.gather(*[asked(transport) for _ in range(5)])
        counting[0].cancel()
    (turn_of_all,) = {*began}
    assert flushed == [turn_of_all + 1]
    assert [moment for moment, _, _ in written] == flushed * 5
    assert len({connection for _, connection, _ in written}) == 5
    assert all(data.endswith(REQUEST.body or b"") for _, _, data in written)
    assert [answer.body for answer in answers] == [b"{}"] * 5


async def _waiting(*_: object) -> None:
    await asyncio.get_running_loop().create_future()


def _set_parser(protocol: ResponseHandler, parser: object) -> None:
    protocol.__dict__["parser"] = parser


def _parser_that_notices_nothing(protocol: ResponseHandler) -> object:
    parser = protocol.__dict__["parser"]
    return parser and SimpleNamespace(feed_data=parser.feed_data, feed_eof=lambda: None)


def _refusing(*_: object, **__: object) -> None:
    raise TypeError


@pytest.mark.parametrize(
    ("owner", "name", "other"),
    [
        (aiohttp, "ClientRequest", _refusing),
        (aiohttp.ClientRequest, "connection_key", None),
        (aiohttp.BaseConnector, "connect", lambda self, request: None),
        (ResponseHandler, "set_response_params", lambda self, *, timer: None),
        (ResponseHandler, "data_received", lambda self, data: None),
        (ResponseHandler, "read", _waiting),
        (ResponseHandler, "should_close", True),
        (ResponseHandler, "_parser", property(_parser_that_notices_nothing, _set_parser)),
        (aiohttp.StreamReader, "is_eof", lambda self: False),
        (aiohttp.StreamReader, "read_nowait", lambda self: b""),
    ],
)
def test_with_another_aiohttp_the_session_is_asked(
    owner: object, name: str, other: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> Response:
        async with serving(sized(b"{}")) as server, AsyncExitStack() as stack:
            with monkeypatch.context() as changed:
                changed.setattr(owner, name, other)
                transport = await stack.enter_async_context(HttpTransport(server.url))
            assert transport._exchange is None
            return await transport.send(REQUEST)

    assert asyncio.run(main()) == Response(200, b"{}")


@pytest.mark.thorough
def test_what_is_tried_is_tried_without_assertions_too() -> None:
    tried = (
        "import asyncio, harvester.transport as t\n"
        "from aiohttp.client_proto import ResponseHandler\n"
        "ResponseHandler.should_close = True\n"
        "async def main():\n"
        "    async with t.HttpTransport('http://127.0.0.1:1') as transport:\n"
        "        print(transport._exchange)\n"
        "asyncio.run(main())\n"
    )
    run = subprocess.run(
        [sys.executable, "-O", "-c", tried], capture_output=True, text=True, check=True
    )
    assert run.stdout == "None\n"
