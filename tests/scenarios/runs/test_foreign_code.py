"""Every call of code that is not ours: what it raises is an error of what was called.

Such code may raise a `CancelledError` of its own, since a task that it awaits was cancelled: that
is an error, and never the end of a run as cancelled or complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import harvester
from harvester.testing import FakeTransport, Faults, Simulator, serve
from harvester.wechat.interfaces import INTERFACES
from tests.support import A

DAYS = ("2026-02-01", "2026-02-13")
NAME = "getupstreammsghour"
RAISED = [asyncio.CancelledError(), ValueError("its own")]


def raising(exc: BaseException) -> Callable[..., Any]:
    """A coroutine function that raises."""

    async def call(*_: object) -> Any:
        raise exc

    return call


def raising_at_once(exc: BaseException) -> Callable[..., Any]:
    """A plain function that raises."""

    def call(*_: object) -> Any:
        raise exc

    return call


def with_method(kind: type, name: str, exc: BaseException) -> Any:
    """A class of the user's, derived from one of ours, of which one method raises."""
    plain = name in ("scan", "request", "verdict")
    return type("Own", (kind,), {name: (raising_at_once if plain else raising)(exc)})


async def harvested(**options: Any) -> harvester.Report:
    """A run of thirteen days, which must end in time; without a socket unless it has a session."""
    account = options.pop("account", harvester.Account(A, secret="practice"))
    endpoint = options.pop("endpoint", NAME)
    if "session" not in options:
        options = {"transport": FakeTransport(Simulator()), **options}
    options = {"attempts": 2, "rate": "500/s", "sink": "memory:", **options}
    async with asyncio.timeout(30):
        return await harvester.run(account, endpoint, *DAYS, **options)


def run(**options: Any) -> harvester.Report:
    return asyncio.run(harvested(**options))


# the run ends with an error


def of_sink(name: str) -> Any:
    class Sink(harvester.MemorySink):
        def endpoints(self, checkpoint: object = None) -> list[str]:
            return [NAME]

    return lambda exc, _: {"sink": with_method(Sink, name, exc)(), "ledger": None}


def of_endpoints(exc: BaseException, _: Path) -> Any:
    class Sink(harvester.MemorySink):
        def endpoints(self, checkpoint: object = None) -> list[str]:
            raise exc

    return {"sink": Sink(), "ledger": None}


def of_iteration(exc: BaseException, _: Path) -> Any:
    class Sink(harvester.MemorySink):
        def endpoints(self, checkpoint: object = None) -> list[str]:
            return [NAME]

        def scan(self, *_: object) -> Any:
            raise exc
            yield

    return {"sink": Sink(), "ledger": None}


class Stop:
    """A stop signal that fails."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    async def wait(self) -> object:
        raise self._exc


class Transport:
    """A transport that fails."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    async def send(self, request: object, leave: object = None) -> Any:
        raise self._exc


ENDS: dict[str, tuple[Any, type[harvester.RunError]]] = {
    **{f"sink {name}": (of_sink(name), harvester.SinkError)
       for name in ("open", "write", "close", "scan")},
    "sink endpoints": (of_endpoints, harvester.SinkError),
    "sink iteration": (of_iteration, harvester.SinkError),
    "stop": (lambda exc, _: {"stop": Stop(exc)}, harvester.RunError),
    "transport": (lambda exc, _: {"transport": Transport(exc)}, harvester.NetworkError),
}  # fmt: skip


@pytest.mark.parametrize("exc", RAISED, ids=["cancelled", "error"])
@pytest.mark.parametrize("what", ENDS)
def test_what_foreign_code_raises_ends_the_run_with_an_error(
    what: str, exc: BaseException, tmp_path: Path
) -> None:
    made, error = ENDS[what]
    busy = FakeTransport(Simulator(faults=Faults(busy=1.0)))
    how = {"transport": busy} if what == "stop" else {}
    with pytest.raises(error) as caught:
        run(**how, **made(exc, tmp_path))
    assert "cancelled by its own code" in str(caught.value) or "ValueError" in str(caught.value)
    report = caught.value.report
    assert report is None or report.state == "failed"
    assert what == "sink open" or report is not None
    if what != "transport":  # its error may hold a token
        assert caught.value.__cause__ is exc


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_cancellation_that_an_observer_raises_ends_the_run_with_an_error(kind: str) -> None:
    make = raising_at_once if kind == "plain" else raising
    with pytest.raises(harvester.RunError, match="on_event failed: it was cancelled") as caught:
        run(on_event=make(asyncio.CancelledError()))
    assert caught.value.report is not None
    assert caught.value.report.state == "failed"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_any_other_exception_of_an_observer_ends_the_run_as_it_is(kind: str) -> None:
    make, mine = raising_at_once if kind == "plain" else raising, KeyError("mine")
    with pytest.raises(KeyError) as caught:
        run(on_event=make(mine))
    assert caught.value is mine


# the account stops


class Provider:
    """A user's provider of tokens."""

    def __init__(self, fetch: Any) -> None:
        self.fetch = fetch


def of_store(name: str) -> Any:
    return lambda exc: {"token_store": with_method(harvester.MemoryStore, name, exc)()}


def of_lease(where: str) -> Any:
    def made(exc: BaseException) -> Any:
        class Store(harvester.MemoryStore):
            @asynccontextmanager
            async def lease(self, key: str) -> AsyncIterator[None]:
                if where == "enter":
                    raise exc
                yield
                raise exc

        return {"token_store": Store()}

    return made


def of_token(make: Callable[[BaseException], Any]) -> Any:
    return lambda exc: {"account": harvester.Account(A, token=make(exc))}


STOPS = {
    "callable": of_token(raising_at_once),
    "coroutine function": of_token(raising),
    "provider": of_token(lambda exc: Provider(raising(exc))),
    "store load": of_store("load"),
    "store lease": of_lease("enter"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("exc", RAISED, ids=["cancelled", "error"])
@pytest.mark.parametrize("what", STOPS)
def test_an_account_whose_token_source_raises_is_stopped(what: str, exc: BaseException) -> None:
    report = run(**STOPS[what](exc))
    assert (report.state, report.windows.failed) == ("failed", 13)
    said = report.stopped[A]
    assert "after 2 attempts" in said
    assert "cancelled by its own code" in said or said.endswith("failed: ValueError")
    assert "its own" not in said.replace("its own code", "")  # it could be a token


@pytest.mark.thorough
@pytest.mark.parametrize("exc", RAISED, ids=["cancelled", "error"])
@pytest.mark.parametrize("fails", [of_store("replace"), of_lease("exit")], ids=["replace", "lease"])
def test_a_store_that_fails_once_there_is_a_token_does_no_harm(fails: Any, exc: Any) -> None:
    assert run(**fails(exc)).state == "complete"


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("given", [None, 5, "", b"token", {"access_token": "x"}])
@pytest.mark.parametrize("kind", ["callable", "provider"])
def test_what_is_no_token_stops_the_account_at_once(kind: str, given: object, wait: bool) -> None:
    calls = 0

    async def source(*_: object) -> Any:
        nonlocal calls
        calls += 1
        return given

    token: Any = source
    if kind == "provider":
        token = Provider(source)
    report = run(account=harvester.Account(A, token=token), wait=wait, attempts=8)
    assert (report.state, calls) == ("failed", 1)
    assert f"returned {type(given).__name__}, not a token" in report.stopped[A]


@pytest.mark.thorough
async def test_a_stream_whose_store_fails_does_not_end_normally() -> None:
    with pytest.raises(harvester.IncompleteError, match="token store failed"):
        async with asyncio.timeout(30), harvester.stream(
            harvester.Account(A, secret="practice"), NAME, *DAYS, rate="500/s", attempts=2,
            transport=FakeTransport(Simulator()), **of_store("load")(asyncio.CancelledError()),
        ) as records:  # fmt: skip
            assert not [record async for record in records]


# windows fail


@pytest.mark.parametrize("exc", RAISED, ids=["cancelled", "error"])
@pytest.mark.parametrize("name", ["request", "verdict"])
def test_an_interface_whose_code_raises_is_stopped(name: str, exc: BaseException) -> None:
    first = INTERFACES[NAME].first_day
    kind = with_method(harvester.JsonEndpoint, name, exc)
    report = run(endpoint=[kind("own", "/own", first), NAME])
    assert (report.state, report.windows.failed, report.windows.done) == ("partial", 13, 13)
    assert {each.endpoint for each in report.failures} == {"own"}
    assert report.failures[0].error.startswith("the code of own failed: ")


@pytest.mark.parametrize(
    "exc", [asyncio.CancelledError(), KeyError("x")], ids=["cancelled", "error"]
)
async def test_a_session_whose_code_raises_is_no_network(exc: BaseException) -> None:
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(raising(exc))
    async with serve(Simulator()) as server, aiohttp.ClientSession(trace_configs=[trace]) as own:
        with pytest.raises(harvester.NetworkError, match="session"):
            await harvested(base_url=server.url, session=own)


# wrong results


def test_what_a_method_returns_is_checked() -> None:
    class Sink(harvester.MemorySink):
        async def write(self, *_: object) -> Any:
            return None

    with pytest.raises(harvester.SinkError, match="its write returned NoneType"):
        run(sink=Sink())

    class Silent:
        async def send(self, request: object, leave: object = None) -> Any:
            return None

    with pytest.raises(harvester.NetworkError, match="its send returned NoneType"):
        run(transport=Silent())

    class Plain(harvester.MemorySink):
        def close(self) -> Any:  # type: ignore[override]
            return None

    with pytest.raises(harvester.SinkError, match="await"):
        run(sink=Plain())


def test_a_sink_whose_scan_fails_cannot_be_read() -> None:
    sink = of_iteration(ValueError("its own"), Path())["sink"]
    with pytest.raises(harvester.SinkError, match="failed: ValueError: its own"):
        harvester.read(sink, NAME).read_all()


# a cancellation of the caller


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["token", "sink", "observer", "stop", "transport"])
async def test_a_cancellation_of_the_run_passes_through(what: str) -> None:
    reached = asyncio.Event()

    async def hang(*_: object) -> Any:
        reached.set()
        await asyncio.sleep(60)

    class Sink(harvester.MemorySink):
        async def write(self, *_: object) -> Any:
            await hang()

    class Own(FakeTransport):
        async def send(self, *_: object) -> Any:
            await hang()

    class Signal:
        wait = hang

    options: dict[str, Any] = {
        "token": {"account": harvester.Account(A, token=hang)},
        "sink": {"sink": Sink()},
        "observer": {"on_event": hang},
        "stop": {"stop": Signal(), "on_event": None},
        "transport": {"transport": Own(Simulator())},
    }[what]
    options = {"transport": FakeTransport(Simulator(latency=0.2)), **options}
    if what == "stop":
        options["rate"] = "1/s"
    task = asyncio.ensure_future(harvested(**options))
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
