"""The pages of the service, over real sockets: who may ask, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest

import harvester
from harvester.base.dates import last_settled_day
from harvester.config.service import Address
from harvester.errors import UsageError
from harvester.ledger import Outcome, SqliteLedger
from harvester.model import Window
from harvester.service import http, serve
from harvester.service.http import Pages
from harvester.service.mail import Message
from harvester.service.metrics import Metrics
from harvester.service.serve import Service, Setup
from harvester.service.state import State
from harvester.testing import FakeTransport, Simulator
from harvester.wechat.interfaces import INTERFACES
from tests.support import A, B

TOKEN = "t0ken-of-the-pages"
HOOK = "json://hook/t0ken-of-the-robot"
CONFIG = """
endpoint = ["users"]
start = "yesterday-9d"
end = "yesterday"
accounts = "accounts.toml"
[serve]
alerts = ["env:HOOK"]
lang = "en"
"""
ACCOUNTS = "".join(
    f'[[account]]\nappid = "{appid}"\nname = "Café {appid[-1]}"\nsecret = "env:SECRET"\n'
    for appid in (A, B)
)


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a configuration and what it harvests."""
    folder = tmp_path_factory.mktemp("harvested")
    (folder / "harvester.toml").write_text(CONFIG)
    (folder / "accounts.toml").write_text(ACCOUNTS)
    harvester.run_sync(
        [harvester.Account(appid, secret="practice") for appid in (A, B)],
        "users",
        "yesterday-9d",
        "yesterday",
        sink=f"jsonl:{folder / 'harvest'}",
        transport=FakeTransport(Simulator()),
        rate="1000/s",
    )
    return folder


@pytest.fixture
def folder(harvested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET", "practice")
    monkeypatch.setenv("HOOK", HOOK)
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setattr(serve, "check_url", lambda reference, url: None)  # Apprise takes seconds
    return shutil.copytree(harvested, tmp_path / "harvested")


Answer = tuple[int, str, Any]


def asked(folder: Path, story: Callable[[Any], Any]) -> Any:
    """Serve the pages meanwhile."""

    async def main() -> Any:
        service = Service(lambda: Setup.load(folder / "harvester.toml"), log=print)
        async with (
            Pages(service, Metrics()).served(Address("127.0.0.1", 0)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):

            async def get(path: str, **headers: str) -> Answer:
                async with session.get(path, headers=headers) as answer:
                    return answer.status, await answer.text(), answer.headers

            get.port, get.service = port, service  # type: ignore[attr-defined]
            return await story(get)

    return asyncio.run(main())


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(port: int, sent: bytes, **how: Any) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **how)
    writer.write(sent)
    return reader, writer


async def ended(*connections: Streams) -> list[bytes]:
    """What each of them got until the server ended it."""
    found = []
    for reader, writer in connections:
        got = b""
        with suppress(ConnectionError):
            while part := await reader.read(1 << 16):
                got += part
        found.append(got)
        writer.close()
    return found


def test_a_run_that_an_error_ended_and_messages_that_do_not_arrive_are_named(folder: Path) -> None:
    async def story(get: Any) -> None:
        service = get.service
        service.stopped = "the disk is full"
        text = "env:HOOK did not take the message 'alert 1': it answered 500"
        service.sender.undelivered["env:HOOK"] = text
        service.sender.given_up = 2
        removed = Message("alert 1", "env:REMOVED", "t", "b")
        service._row.state = State(mail=(Message("alert 1", "env:HOOK", "t", "b"), removed))
        named = ["the last run ended with an error: the disk is full", text]
        assert (await get("/readyz"))[:2] == (200, "ready\n")  # of ledger and sinks
        document = json.loads((await get("/status.json"))[1])
        assert document["service"]["trouble"] == "; ".join(named)
        _, shown, _ = await get("/metrics")
        for line in (
            f'harvester_build_info{{version="{harvester.__version__}"}} 1.0',
            "harvester_service_last_run_failed 1.0",
            "harvester_service_undelivered_targets 1.0",
            "harvester_service_messages_given_up_total 2.0",
            "harvester_service_messages_waiting 1.0",
        ):
            assert line in shown.splitlines()
        [due] = re.findall(r"(?m)^harvester_service_next_run_timestamp_seconds (.*)$", shown)
        assert time.time() - 60 < float(due) < time.time() + 86_400
        service.stopped = ""
        service.sender.undelivered.clear()
        document = json.loads((await get("/status.json"))[1])
        assert document["service"]["trouble"] is None

    asked(folder, story)


HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def test_half_requests_take_a_hundred_connections_and_others_are_answered(folder: Path) -> None:
    async def story(get: Any) -> None:
        opened = [await connected(get.port, HALF) for _ in range(3 * http.CONNECTIONS)]
        begun = time.monotonic()
        for path in ("/healthz", "/readyz", "/status.json"):
            assert (await get(path))[0] == 200
        assert time.monotonic() - begun < http.HEAD / 2
        living = [each for each in opened if not each[0].at_eof()]
        assert len(living) <= http.CONNECTIONS
        assert not any(each[0].at_eof() for each in opened[-http.CONNECTIONS // 2 :])
        for _, writer in opened:
            writer.close()

    asked(folder, story)


OWES = HALF + b"Content-Length: 1000\r\n\r\n"


@pytest.mark.parametrize("path", [b"/healthz", b"/", b"/nothing"])
def test_who_owes_a_body_and_has_an_answer_takes_no_connection(folder: Path, path: bytes) -> None:
    with (folder / "harvester.toml").open("a") as file:
        file.write('token = "env:TOKEN"\n')
    request = OWES.replace(b"/healthz", path)

    async def story(get: Any) -> None:
        opened = [await connected(get.port, request) for _ in range(2 * http.CONNECTIONS)]
        assert (await get("/healthz"))[0] == (await get("/readyz"))[0] == 200
        begun = time.monotonic()
        assert all(each.startswith(b"HTTP/1.1 ") for each in await ended(*opened))
        assert time.monotonic() - begun < 5

    asked(folder, story)


@pytest.mark.thorough
def test_who_waits_for_a_ledger_that_does_not_answer_shuts_nobody_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pages, "_check", lambda self: asyncio.sleep(5, result=[]))
    request = HALF.replace(b"/healthz", b"/readyz") + b"\r\n"

    async def story(get: Any) -> None:
        opened = [await connected(get.port, request) for _ in range(http.CONNECTIONS + 10)]
        await asyncio.sleep(0.2)
        assert (await get("/healthz"))[0] == 200
        answers = await ended(*opened)
        assert [each[:12] for each in answers].count(b"HTTP/1.1 200") >= http.CONNECTIONS - 2
        assert answers[:10] == [b""] * 10

    asked(folder, story)


@pytest.mark.thorough
def test_a_head_that_comes_slowly_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "HEAD", 0.5)

    async def story(get: Any) -> None:
        begun = time.monotonic()
        silent, half = await connected(get.port, b""), await connected(get.port, HALF)
        dripping = await connected(get.port, HALF)

        async def drip() -> None:
            while True:
                dripping[1].write(b"X: y\r\n")
                await asyncio.sleep(0.05)

        task = asyncio.ensure_future(drip())
        assert await ended(silent, half, dripping) == [b""] * 3
        task.cancel()
        assert 0.4 < time.monotonic() - begun < 5

    asked(folder, story)


@pytest.mark.thorough
def test_an_answer_that_is_not_taken_ends_and_so_does_each_connection_after_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WHOLE", 1.0)
    shown = b"x" * 50_000_000
    monkeypatch.setattr(Pages, "_make_page", AsyncMock(return_value=shown))
    whole = HALF + b"Connection: keep-alive\r\n\r\n"

    async def story(get: Any) -> None:
        [first] = await ended(await connected(get.port, whole * 3))
        assert first.count(b"HTTP/1.1 200 OK") == 1
        assert first.endswith(b"ok\n")
        page = HALF.replace(b"/healthz", b"/") + b"\r\n"
        stuck = await connected(get.port, page, limit=1 << 10)
        await asyncio.sleep(2)
        [got] = await ended(stuck)
        assert 0 < len(got) < len(shown)

    asked(folder, story)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization Bearer " + TOKEN.encode() + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: " + TOKEN.encode() * 1000 + b"\r\n\r\n",
        b"GET /" + TOKEN.encode() * 1000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9\r\nX: " + TOKEN.encode() + b"\r\n\r\n",
        b"GET http://[" + TOKEN.encode() + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + TOKEN.encode() + b"\r\n\r\n",
        b"\x16\x03\x01" + TOKEN.encode() + b"\r\n\r\n",
    ],
)
def test_a_malformed_request_is_400_and_in_no_log(
    request_: bytes, folder: Path, caplog: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def story(get: Any) -> list[bytes]:
        return await ended(await connected(get.port, request_))

    [got] = asked(folder, story)
    assert got.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert not [each for each in caplog.records if each.name != "asyncio"]
    assert "".join(capfd.readouterr()) == ""


def test_a_page_that_cannot_be_made_is_503_and_the_log_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(116, "Stale file handle", "/a/disk")
    monkeypatch.setattr(Setup, "look", AsyncMock(side_effect=error))

    async def story(get: Any) -> None:
        status, text, _ = await get("/status.json")
        assert (status, text) == (503, "it cannot be shown now; the log says why\n")

    asked(folder, story)
    said = "/status.json cannot be shown: /a/disk cannot be used (Stale file handle)\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_pages_are_read_only(method: str, folder: Path) -> None:
    async def story(get: Any) -> list[bytes]:
        head = HALF.replace(b"GET", method.encode()) + b"\r\n"
        asks_head = HALF.replace(b"GET", b"HEAD") + b"\r\n"
        return await ended(*[await connected(get.port, each) for each in (head, asks_head)])

    got, with_head = asked(folder, story)
    assert got.split()[1] == b"405"
    assert with_head.startswith(b"HTTP/1.1 200 OK")
    assert with_head.endswith(b"\r\n\r\n")


@pytest.mark.thorough
def test_each_page(folder: Path) -> None:
    async def story(get: Any) -> None:
        assert (await get("/healthz"))[:2] == (200, "ok\n")
        assert (await get("/readyz"))[:2] == (200, "ready\n")
        status, text, headers = await get("/status.json")
        document = json.loads(text)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert (document["accounts"], document["service"]["accounts"]) == (2, 2)
        assert document["service"]["running"] is False
        made = datetime.fromisoformat(document["made"]).timestamp()
        assert time.time() - 60 < made <= time.time()
        status, text, headers = await get("/")
        assert status == 200
        assert text.startswith("<!doctype html>")
        assert "Café a" in text
        assert headers["Cache-Control"] == "no-store"
        status, text, headers = await get("/metrics")
        assert 'harvester_accounts{state="fresh"}' in text
        assert headers["Content-Type"].startswith("text/plain")
        assert (await get("/nothing"))[0] == 404

    asked(folder, story)


def test_no_page_and_no_repr_holds_a_secret(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(get: Any) -> list[str]:
        return [(await get(path))[1] for path in ("/", "/status.json", "/metrics", "/readyz")]

    texts = asked(folder, story)
    setup = Setup.load(folder / "harvester.toml")
    texts += [repr(setup), repr(setup.targets), repr(Service(lambda: setup, log=print))]
    texts += capsys.readouterr()
    for text in texts:
        assert "practice" not in text
        assert "t0ken" not in text


def test_a_request_under_another_name_is_refused_where_there_is_no_token(folder: Path) -> None:
    async def story(get: Any) -> None:
        for host, status in (("evil.example", 403), ("localhost", 200), ("127.0.0.1:80", 200)):
            assert (await get("/status.json", Host=host))[0] == status
            assert (await get("/healthz", Host=host))[0] == 200

    asked(folder, story)


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (_basic(TOKEN), 200),
        (_basic(f"{TOKEN}x"), 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer ", 401),
        ("Bearer ü", 401),
        ("Bearer \udcff", 401),
        ("Basic %%%", 401),
        ("Basic /w==", 401),
        (f"Digest {TOKEN}", 401),
        ("", 401),
    ],
)
def test_with_a_token(header: str, status: int, folder: Path) -> None:
    with (folder / "harvester.toml").open("a") as file:
        file.write('listen = "0.0.0.0:8605"\ntoken = "env:TOKEN"\n')

    async def story(get: Any) -> None:
        headers = {"Authorization": header, "Host": "harvester.example"}
        for path in ("/", "/status.json", "/metrics", "/nothing"):
            found = await get(path, **headers)
            assert found[0] == (404 if path == "/nothing" and status == 200 else status)
            assert TOKEN not in found[1]
        assert (await get("/healthz"))[0] == (await get("/readyz"))[0] == 200
        assert "Basic" in (await get("/"))[2]["WWW-Authenticate"]

    asked(folder, story)


def test_it_is_not_ready_without_its_ledger_or_its_sink(folder: Path) -> None:
    async def story(get: Any) -> None:
        status, text, _ = await get("/readyz")
        assert status == 503
        assert "ledger" in text
        assert (await get("/healthz"))[0] == 200
        status, text, _ = await get("/status.json")
        assert status == 503
        assert "ledger" in json.loads(text)["service"]["trouble"]
        status, text, _ = await get("/metrics")
        assert status == 200
        assert "harvester_service_last_run_failed 0" in text
        assert "harvester_accounts{" not in text

    (folder / "harvest" / "ledger.sqlite").unlink()
    asked(folder, story)


def test_who_may_not_see_the_pages_is_not_told_what_cannot_be_reached(folder: Path) -> None:
    (folder / "harvest" / "ledger.sqlite").unlink()
    with (folder / "harvester.toml").open("a") as file:
        file.write('token = "env:TOKEN"\n')

    async def story(get: Any) -> None:
        status, text, _ = await get("/readyz")
        said = (
            "the ledger or a sink cannot be reached; the reason is shown only to authorised"
            " clients\n"
        )
        assert (status, text) == (503, said)
        status, text, _ = await get("/readyz", Authorization=f"Bearer {TOKEN}")
        assert (status, str(folder) in text) == (503, True)

    asked(folder, story)


def test_what_the_service_does_is_as_it_is_now_and_the_rest_says_when_it_was_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "KEPT", 0.0)
    look, waits = Setup.look, asyncio.Event()

    async def looked(self: Setup, now: float) -> Any:
        seen = await look(self, now - 300)
        if waits.is_set():
            await asyncio.sleep(60)
        return seen

    async def story(get: Any) -> None:
        first = json.loads((await get("/status.json"))[1])
        waits.set()
        get.service.trouble = "the disk is full"
        second = json.loads((await get("/status.json"))[1])
        assert second.pop("service")["trouble"] == "the disk is full"
        assert first.pop("service")["trouble"] is None
        assert first == second
        assert datetime.fromisoformat(first["made"]).timestamp() < time.time() - 299

    monkeypatch.setattr(Pages, "_look", lambda self: looked(self._service.setup, time.time()))
    asked(folder, story)


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    async def main() -> None:
        pages = Pages(Service(lambda: Setup.load(folder / "harvester.toml"), log=print), Metrics())
        async with (
            pages.served(Address("127.0.0.1", 0)) as port,
            pages.served(Address("127.0.0.1", port)),
        ):
            pass

    with pytest.raises(UsageError, match=r"listen = '127\.0\.0\.1:\d+' cannot be used"):
        asyncio.run(main())


def test_what_takes_long_is_made_once_for_all_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        made = []

        async def make() -> int:
            made.append(1)
            await asyncio.sleep(0.05)
            return len(made)

        kept = http.Cached(make)
        assert await asyncio.gather(*[kept.get() for _ in range(20)]) == [1] * 20
        assert await kept.get() == 1
        monkeypatch.setattr(http, "KEPT", 0.0)
        begun = time.monotonic()
        assert await kept.get() == 1  # the former one, while the next is made
        assert time.monotonic() - begun < 0.05
        await asyncio.sleep(0.1)
        assert len(made) == 2
        monkeypatch.setattr(http, "OLDEST", 0.0)
        assert await kept.get() == 3

    asyncio.run(main())


@pytest.mark.thorough
def test_the_pages_of_1500_accounts_are_there_at_once_after_the_first_call(folder: Path) -> None:
    appids = [f"wx{number:016x}" for number in range(1500)]
    rows = "".join(f"{appid},Café {appid},env:SECRET\n" for appid in appids)
    (folder / "accounts.csv").write_text("appid,name,secret\n" + rows)
    config = (folder / "harvester.toml").read_text().replace("accounts.toml", "accounts.csv")
    (folder / "harvester.toml").write_text(config)
    asyncio.run(_filled(folder / "harvest" / "ledger.sqlite", appids))
    seconds: dict[str, list[float]] = {}

    async def story(get: Any) -> None:
        for _ in range(3):
            for path in ("/", "/status.json", "/metrics"):
                begun = time.monotonic()
                status, text, _ = await get(path)
                seconds.setdefault(path, []).append(time.monotonic() - begun)
                assert (status, len(text) > 1000) == (200, True)
            await asyncio.sleep(http.KEPT + 0.5)  # so that the next ones are made anew

    asked(folder, story)
    assert max(seconds["/"][1:] + seconds["/status.json"][1:]) < 1, seconds
    print(seconds)


async def _filled(path: Path, appids: list[str]) -> None:
    """Fill a ledger with three years of ten interfaces; every hundredth account is broken."""
    yesterday = last_settled_day(time.time())
    begin = yesterday - timedelta(days=1100)
    names = [*INTERFACES][:10]
    async with SqliteLedger(path) as ledger:
        for number, appid in enumerate(appids):
            outcomes = [Outcome(Window(appid, name, begin, yesterday), "final") for name in names]
            if number % 100 == 0:
                detail = "no access token: errcode 40125 (invalid appsecret): the secret is wrong"
                outcomes = [
                    Outcome(each.window, "failed", code=40125, detail=detail) for each in outcomes
                ]
            await ledger.commit(outcomes, {})
        await ledger.register([(a, name, begin, yesterday) for a in appids for name in names])
