"""No secret and no token is where somebody could read it, however a run ends.

Each run is made as talkative as it can be (everything logged, asyncio in debug mode, tracebacks
with the locals of their frames), and all that can be read of it is searched for the secret and for
every token that was handed out, whole or in part.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import pickle
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

import harvester
from harvester.base.codec import encode
from harvester.errors import AttemptError, SinkError
from harvester.model import Batch, Request, Response
from harvester.sinks.base import Checkpoint, Fence, Written
from harvester.testing import Faults, MemorySink, Simulator
from harvester.testing.simulator import Reply
from harvester.tokens.official import provider_for
from harvester.tokens.shared import SharedToken
from harvester.transport import HttpTransport
from tests.own_server import free_port
from tests.scenarios.command import asked as asked_for
from tests.support import A, command, environment
from tests.wire_servers import HOST, Asked, Wire, simulated, wire

pytestmark = pytest.mark.thorough

SECRET = "5e5a3e/+%0c0ffee0123456789abcdef"
# What is searched for is a module's variable and not a local: tests' frames are searched as well.
BEGIN, END = date(2024, 1, 1), date(2024, 1, 10)
PIECE = 16
"""So many characters in a row of a token give it away."""


class Echo(Simulator):
    """A WeChat that says in each refusal what it was sent."""

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        reply = super().handle(method, path, query, body)
        if b'"errcode"' not in reply.body:
            return reply
        sent = query.get("access_token") or query.get("secret") or json.loads(body)["secret"]
        answer = json.loads(reply.body)
        answer["errmsg"] = f"{sent} at ?x={quote_plus(sent)} rid: {sent} hint: [{sent}] {sent}"
        return reply._replace(body=encode(answer))


class Unusable(Simulator):
    """A WeChat whose tokens have no life."""

    def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        reply = super().handle(method, path, query, body)
        return reply._replace(body=reply.body.replace(b'"expires_in":', b'"expires_in":-'))


class Broken(harvester.Sink):
    """A sink that raises what it was given."""

    identity = "broken"

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        raise self._error

    async def close(self) -> None:
        pass


# searching


def needles(simulator: Simulator | None) -> Iterator[str]:
    """What must be nowhere: pieces of the secret and of each token, as they are or in a URL."""
    for value in (SECRET, *(simulator.tokens if simulator else ())):
        yield from {value, quote(value, safe=""), quote_plus(value)}
        for at in range(0, len(value) - PIECE + 1, 8):
            if value[at : at + PIECE].strip("0"):
                yield value[at : at + PIECE]


def assert_hidden(simulator: Simulator | None, **places: str | bytes) -> None:
    """None of it is in any of these places."""
    found = list(needles(simulator))
    assert len(found) > 3
    for place, content in places.items():
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        for needle in found:
            assert needle not in text, f"{place}: …{_around(text, needle)}…"


def _around(text: str, needle: str) -> str:
    at = text.index(needle)
    return text[max(0, at - 300) : at].replace(SECRET, "<the secret>") + "<HERE>"


def _pickled(value: object) -> bytes:
    """Pickled as Python does it: Dask, once imported, has errors pickled with their tracebacks."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.dispatch_table = {}
    pickler.dump(value)
    return buffer.getvalue()


def shown(exc: BaseException | None) -> str:
    """All that tools show of an exception and of those that it comes from."""
    parts: list[str] = []
    seen: set[int] = set()
    left = [exc]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        with_locals = traceback.TracebackException(
            type(each), each, each.__traceback__, capture_locals=True
        )
        parts += [str(each), repr(each), repr(vars(each)), *traceback.format_exception(each)]
        parts += with_locals.format()
        with suppress(TypeError, AttributeError, pickle.PicklingError):
            parts.append(repr(_pickled(each)))
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
    return "\n".join(parts)


@cache
def _is_ours(kind: type) -> bool:
    """Whether objects of a type are looked at: all of ours, a batch of data aside."""
    return str(kind.__module__).startswith("harvester") and not issubclass(kind, Batch)


def reprs() -> str:
    """The repr of everything of ours that lives; a batch of data aside."""
    found = [each for each in gc.get_objects() if _is_ours(type(each))]
    assert found
    return "\n".join(map(repr, found))


LOGGERS = (
    "", "asyncio", "aiohttp.client", "aiohttp.internal", "harvester", "psycopg", "psycopg.pool",
    "pymysql", "redis",
)  # fmt: skip


class Seen:
    """What could be seen of a run in this process, with everything logged."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self.events: list[str] = []
        self.asked: list[Asked] = []
        self.error: BaseException | None = None
        self.report: harvester.Report | None = None
        self.log = caplog
        for name in LOGGERS:
            caplog.set_level(logging.DEBUG, logger=name or None)

    def __call__(self, event: harvester.events.Event) -> None:
        self.events += [repr(event), reprs()]

    async def watch(
        self, url: str, sink: Any, *, account: Any = None, token: str = "stable", **options: Any
    ) -> None:
        """A run; whatever comes of it is kept.  sink and account may be made by functions."""
        made = account() if account else harvester.Account(A, secret=SECRET, token=token)
        try:
            self.report = await harvester.run(
                made, "getarticlesummary", BEGIN, END, base_url=url,
                sink=sink() if isinstance(sink, FunctionType) else sink,
                **{"rate": "1000/s", "attempts": 2, "on_event": self, **options},
            )  # fmt: skip
        except BaseException as exc:  # noqa: BLE001  (it is the exception that is looked at)
            self.error = exc

    def run(self, simulator: Simulator, sink: Any, **options: Any) -> None:
        """A run in debug mode against a simulated WeChat."""

        async def main() -> None:
            async with wire(simulated(simulator)) as server:
                await self.watch(server.url, sink, **options)
            self.asked = server.asked

        debugged(main())

    def places(self) -> dict[str, str | bytes]:
        places: dict[str, str | bytes] = {
            "log": self.log.text,
            "events": "\n".join(self.events),
            "error": shown(self.error),
            **files(self.folder),
        }
        report = self.report or getattr(self.error, "report", None)
        if report is not None:
            places["report"] = f"{report!r} {report.to_dict()}"
            places["pickle"] = pickle.dumps(report)
        return places

    def assert_hidden(self, simulator: Simulator | None) -> None:
        assert_hidden(simulator, **self.places())


def files(folder: Path) -> dict[str, bytes]:
    """All that was written, the ledger's write-ahead log included."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_only_where_it_belongs(simulator: Simulator, asked: Sequence[Asked]) -> None:
    """On the wire: the token in a data request's query; the secret in a token request.

    The probe of a network that may be lost has neither.
    """
    for each in asked:
        line, _, headers = each.head.partition("\r\n")
        assert_hidden(simulator, headers=headers)
        if line == "GET / HTTP/1.1":
            assert each.body == b""
        elif "/datacube/" in line:
            assert_hidden(simulator, body=each.body, path=line.partition("?")[0])
            assert SECRET not in line
            assert line.count("?") == line.count("access_token=") == 1
        else:
            assert ("secret=" in line) != (SECRET.encode() in each.body)


@pytest.fixture
def seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Seen:
    return Seen(tmp_path, caplog)


def debugged(main: Any) -> Any:
    """Run a coroutine in debug mode, each callback of the loop logged."""

    async def with_all_callbacks() -> Any:
        asyncio.get_running_loop().slow_callback_duration = 0.0
        return await main

    return asyncio.run(with_all_callbacks(), debug=True)


# the library


RUNS: dict[str, tuple[type[Simulator], dict[str, Any], str]] = {
    "good": (Simulator, {}, "complete"),
    "refused now and then": (Simulator, {"faults": Faults(revoke_every=4)}, "complete"),
    "refused always": (Echo, {"faults": Faults(revoke_every=1)}, "failed"),
    "busy": (Echo, {"faults": Faults(busy=1.0)}, "partial"),
    "quota": (Echo, {"daily_quota": 2}, "waiting"),
    "retired": (Echo, {"retired": True}, "partial"),
    "wrong secret": (Echo, {"secret": "another"}, "failed"),
    "unusable tokens": (Unusable, {}, "failed"),
    "cut": (Simulator, {"faults": Faults(cut=0.5, reset=0.4)}, ""),
}


CLASSIC = "good", "refused now and then", "wrong secret", "cut"
"""Those that are tried with the other token interface, too."""


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("token", "name"),
    [*[("stable", name) for name in RUNS], *[("classic", name) for name in CLASSIC]],
)
def test_a_run_shows_nothing_however_it_goes(name: str, token: str, seen: Seen) -> None:
    kind, how, state = RUNS[name]
    simulator = kind(**{"secret": SECRET, **how})
    seen.run(simulator, f"jsonl:{seen.folder}", token=token)
    report = seen.report or getattr(seen.error, "report", None)
    assert report is not None, shown(seen.error)
    assert state in ("", report.state)
    assert seen.asked
    assert "harvester" in seen.log.text
    assert_only_where_it_belongs(simulator, seen.asked)
    seen.assert_hidden(simulator)


@pytest.mark.parametrize("error", [SinkError("the disk is full"), ValueError("nobody's")])
def test_a_sink_that_raises_shows_nothing(error: Exception, seen: Seen) -> None:
    simulator = Simulator(secret=SECRET)
    seen.run(simulator, Broken(error), ledger=seen.folder / "l")
    assert isinstance(seen.error, SinkError)
    assert error in (seen.error, seen.error.__cause__)
    seen.assert_hidden(simulator)


@pytest.mark.parametrize(
    ("on", "how"),
    [
        ("TokenFetched", {}),
        ("TokenRefused", {"faults": Faults(revoke_every=2)}),
        ("Retrying", {"faults": Faults(busy=1.0)}),
        ("Failed", {"faults": Faults(busy=1.0)}),
        ("Committed", {}),
        ("AccountStopped", {"secret": "another"}),
    ],
)
def test_an_observer_that_raises_shows_nothing(on: str, how: dict[str, Any], seen: Seen) -> None:
    simulator = Echo(**{"secret": SECRET, **how})

    def observe(event: harvester.events.Event) -> None:
        if on in (type(event).__name__, getattr(event, "code", "")):
            raise ZeroDivisionError

    seen.run(simulator, MemorySink(), on_event=observe)
    assert isinstance(seen.error, ZeroDivisionError)
    seen.assert_hidden(simulator)


def nowhere() -> str:
    """A URL where nobody listens."""
    return f"http://{HOST}:{free_port()}"


@pytest.mark.parametrize("token", ["stable", "classic"])
@pytest.mark.parametrize("through", ["network", "proxy"])
def test_a_network_that_fails_shows_nothing(
    through: str, token: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = nowhere()
    if through == "proxy":
        monkeypatch.setenv("http_proxy", url)
        url = "http://wechat.invalid"
    debugged(seen.watch(url, MemorySink(), token=token))
    assert isinstance(seen.error, harvester.NetworkError)
    seen.assert_hidden(None)


def test_requests_that_are_always_reset_show_no_token(seen: Seen) -> None:
    simulator = Simulator(secret=SECRET, faults=Faults(reset=1.0))
    seen.run(simulator, MemorySink(), patience=0.5)
    assert simulator.tokens
    assert seen.report is not None
    assert seen.report.failures
    seen.assert_hidden(simulator)


@pytest.mark.parametrize("path", ["/cgi-bin/", "/datacube/"])
@pytest.mark.parametrize("token", ["stable", "classic"])
def test_a_run_that_is_cancelled_in_flight_shows_nothing(path: str, token: str, seen: Seen) -> None:
    simulator = Simulator(secret=SECRET)

    async def main() -> None:
        reached = asyncio.Event()
        answer = simulated(simulator)

        async def hold(writer: asyncio.StreamWriter, asked: Asked) -> None:
            if asked.target.startswith(path):
                reached.set()
                await asyncio.sleep(60)
            await answer(writer, asked)

        async with wire(hold) as server:
            running = seen.watch(server.url, f"jsonl:{seen.folder}", token=token)
            run = asyncio.ensure_future(running)
            await asyncio.wait_for(reached.wait(), 10)
            run.cancel()
            await run

    debugged(main())
    assert isinstance(seen.error, asyncio.CancelledError)
    seen.assert_hidden(simulator)


def test_a_stream_shows_nothing(seen: Seen) -> None:
    simulator = Echo(secret=SECRET, daily_quota=4)

    async def main() -> None:
        account = harvester.Account(A, secret=SECRET)
        async with wire(simulated(simulator)) as server:
            try:
                async with harvester.stream(
                    account, "getarticlesummary", BEGIN, END, base_url=server.url, rate="1000/s",
                    on_event=seen,
                ) as records:  # fmt: skip
                    assert_hidden(simulator, records=repr([each async for each in records]))
            except harvester.IncompleteError as exc:
                seen.error = exc

    debugged(main())
    assert isinstance(seen.error, harvester.IncompleteError)
    seen.assert_hidden(simulator)


# the parts, used by themselves


async def raised(awaitable: Awaitable[object]) -> BaseException:
    """What it raises."""
    try:
        await awaitable
    except BaseException as exc:  # noqa: BLE001  (it is looked at)
        return exc
    raise AssertionError


@pytest.mark.parametrize("ends", ["failed", "cancelled"])
def test_a_request_that_ends_badly_leaves_no_frame_with_its_token(ends: str) -> None:
    async def main() -> BaseException:
        reached = asyncio.Event()

        async def hold(writer: asyncio.StreamWriter, _: Asked) -> None:
            reached.set()
            if ends == "cancelled":
                await asyncio.sleep(60)
            writer.close()

        async with wire(hold) as server, HttpTransport(server.url) as transport:
            request = Request("POST", "/x", (("access_token", SECRET),), SECRET.encode())
            sending = asyncio.ensure_future(transport.send(request))
            await asyncio.wait_for(reached.wait(), 10)
            if ends == "cancelled":
                sending.cancel()
            return await raised(sending)

    exc = debugged(main())
    assert isinstance(exc, asyncio.CancelledError if ends == "cancelled" else AttemptError)
    assert "send" in shown(exc)
    assert_hidden(None, error=shown(exc))


@pytest.mark.parametrize("token", ["stable", "classic"])
@pytest.mark.parametrize(
    "body",
    [
        encode({"errcode": 40125, "errmsg": f"secret {SECRET} is wrong"}),
        encode({"errcode": "x", "errmsg": SECRET}),
        encode({"access_token": SECRET, "expires_in": 0}),
        encode({"access_token": [SECRET], "expires_in": 7200}),
        SECRET.encode(),
    ],
)
async def test_a_refused_token_leaves_no_frame_with_it(token: str, body: bytes) -> None:
    async def send(_: Request) -> Response:
        return Response(200, body)

    shared = SharedToken(A, provider_for(harvester.Account(A, SECRET, token)), send)
    exc = await raised(shared.get())
    assert isinstance(exc, harvester.HarvestError)
    frames = shown(exc).replace(repr(body), "")  # the fake's own
    assert_hidden(None, error=frames)


async def test_a_callable_that_gives_what_is_no_token_leaves_no_frame_with_it() -> None:
    provider = provider_for(harvester.Account(A, token=lambda: [SECRET]))
    exc = await raised(SharedToken(A, provider, lambda _: None).get())
    assert isinstance(exc, AttemptError)
    assert "returned list, not a token" in str(exc)
    assert_hidden(None, error=shown(exc))


def test_the_search_finds_what_is_shown() -> None:
    def leak(value: str) -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011  (any will do)
        leak(SECRET)
    with pytest.raises(AssertionError, match="error: "):
        assert_hidden(None, error=shown(caught.value))
    with pytest.raises(AssertionError, match="error: "):
        assert_hidden(None, error=shown(ExceptionGroup("", [caught.value])))


# the command


TALK = """
import logging
logging.basicConfig(level=logging.DEBUG)
"""


class Process:
    """The command, everything logged; what it says, and how its arguments look while it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "talk").mkdir()
        (folder / "talk" / "sitecustomize.py").write_text(TALK)
        self.arguments: set[bytes] = set()
        self.status: int | None = None
        self.out = self.err = b""
        self.running: asyncio.subprocess.Process | None = None

    def look(self) -> None:
        """Read the arguments as everybody on the machine can."""
        if self.running is not None:
            with suppress(OSError):
                path = Path(f"/proc/{self.running.pid}/cmdline")
                self.arguments.add(path.read_bytes())

    async def run(self, url: str, **env: str) -> None:
        more = ("--attempts", "2", "--out", "o", "--json")
        path = f"{self._folder / 'talk'}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
        known = {"HARVESTER_SECRET": SECRET, "PYTHONASYNCIODEBUG": "1", "PYTHONPATH": path}
        self.running = await asyncio.create_subprocess_exec(
            *command(*asked_for(url, "getarticlesummary", BEGIN, END, *more)),
            cwd=self._folder, env=environment(**known, **env),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.out, self.err = await self.running.communicate()
        self.status = self.running.returncode

    def assert_hidden(self, simulator: Simulator | None) -> None:
        assert b"DEBUG:asyncio" in self.err
        assert json.loads(self.out.splitlines()[-1])["state"]
        written = files(self._folder / "o")
        assert_hidden(
            simulator, out=self.out, err=self.err, arguments=b" ".join(self.arguments), **written
        )


def commanded(
    simulator: Simulator, folder: Path, hook: Callable[[Process, Asked], None] | None = None
) -> Process:
    """Run the command against a simulator; the hook is called at each request."""
    process = Process(folder)
    answer = simulated(simulator)

    async def looked_at(writer: asyncio.StreamWriter, asked: Asked) -> None:
        process.look()
        if hook is not None:
            hook(process, asked)
        await answer(writer, asked)

    async def main() -> Wire:
        async with wire(looked_at) as server:
            await process.run(server.url)
        return server

    server = asyncio.run(main())
    assert len(process.arguments) == Path("/proc/self/cmdline").exists()
    assert_only_where_it_belongs(simulator, server.asked)
    return process


@pytest.mark.parametrize(
    ("name", "status"),
    [("refused now and then", 0), ("refused always", 4), ("busy", 1), ("wrong secret", 4)],
)
def test_the_command_shows_nothing_however_it_goes(name: str, status: int, tmp_path: Path) -> None:
    kind, how, _ = RUNS[name]
    simulator = kind(**{"secret": SECRET, **how})
    process = commanded(simulator, tmp_path)
    assert process.status == status, process.err
    process.assert_hidden(simulator)


@pytest.mark.parametrize("through", ["network", "proxy"])
def test_the_command_shows_nothing_when_the_network_fails(through: str, tmp_path: Path) -> None:
    process = Process(tmp_path)
    away = nowhere()
    proxied = {"http_proxy": away} if through == "proxy" else {}
    asyncio.run(process.run("http://wechat.invalid" if proxied else away, **proxied))
    assert process.status == 4
    assert b"check the network" in process.err
    process.assert_hidden(None)


def test_the_command_shows_nothing_when_it_is_interrupted_in_flight(tmp_path: Path) -> None:
    simulator = Simulator(secret=SECRET, faults=Faults(slow=1.0, slow_seconds=5.0))
    interrupted = 0

    def interrupt(process: Process, asked: Asked) -> None:
        nonlocal interrupted
        if "/datacube/" in asked.target and interrupted < 2:
            interrupted += 1
            process.running.send_signal(signal.SIGINT)

    process = commanded(simulator, tmp_path, interrupt)
    assert process.status == 130
    process.assert_hidden(simulator)


def test_the_command_shows_nothing_when_the_sink_fails(tmp_path: Path) -> None:
    simulator = Simulator(secret=SECRET)

    def stand_in_the_way(_: Process, asked: Asked) -> None:
        if "/datacube/" in asked.target:
            with suppress(OSError):
                (tmp_path / "o" / "getarticlesummary").write_text("no folder")

    process = commanded(simulator, tmp_path, stand_in_the_way)
    assert process.status == 4
    process.assert_hidden(simulator)
