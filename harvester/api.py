"""The verbs of the library: `run`, `run_sync` and `stream`.

Rule: resolves names to objects and chooses defaults; the engine does the work.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import time
from collections import deque
from collections.abc import AsyncIterator, Container, Iterable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, Unpack

import anyio

from harvester.base.dates import FIRST, YESTERDAY, check_range, last_legal_day, parse_day
from harvester.base.outside import guard_cancellation
from harvester.base.retry import check_count
from harvester.base.secrets import Secret
from harvester.base.threads import ended, wait_for
from harvester.config import plugins
from harvester.config.place import ledger_for
from harvester.config.settings import Keywords, converted, options_of
from harvester.engine.options import Options, StopSignal
from harvester.engine.run import Engine
from harvester.engine.scope import Scope
from harvester.errors import AttemptError, ExportError, RunError, UsageError
from harvester.events import Observer, Report, State
from harvester.ledger import (
    Ledger,
    PostgresLedger,
    SqliteLedger,
    open_ledger,
    shared,
)
from harvester.model import Account, Batch, Endpoint, Request, Response
from harvester.sinks.base import (
    Checkpoint,
    Fence,
    Sink,
    Written,
    name_in,
)
from harvester.texts import say
from harvester.tokens.official import provider_for
from harvester.tokens.stores import TokenStore, open_store
from harvester.transport import BASE_URL, HttpTransport, Transport
from harvester.transport.base import Leave
from harvester.wechat.endpoint import check_endpoint

if TYPE_CHECKING:
    from harvester.exports.base import Target
    from harvester.exports.coverage import Coverage

Accounts = Account | Iterable[Account]
Endpoints = str | Endpoint | Iterable[str | Endpoint]
Sinks = str | Secret | Sink | Sequence[str | Secret | Sink]
Path = str | os.PathLike[str]


async def run(
    accounts: Accounts,
    endpoints: Endpoints,
    start: date | str,
    end: date | str,
    *,
    sink: Sinks,
    **options: Unpack[Keywords],
) -> Report:
    """Harvest the days from ``start`` to ``end``, both included, into a sink.

    accounts: an `Account`, or several.
    endpoints: the name of an interface or a group (``"getusersummary"``, ``"users"``), an
    `Endpoint`, or several.
    start, end: a `datetime.date`, ``YYYY-MM-DD``, ``yesterday`` or ``yesterday-30d``.
    ``yesterday`` is the previous day in China; before 08:00 in China it is the day before that,
    because the figures of the previous day are not ready.  start can also be ``first``: for each
    interface, the first day that WeChat has.
    sink: a spec (``"jsonl:DIR"``), a `Sink`, or a list of these.
    options: see `Keywords`.

    The same call again resumes the run: windows that are stored and final are not requested again.
    The run can be cancelled at any await.  Raises `UsageError` before anything is sent, and
    `RunError` (with a ``report``) if the sink, the ledger or the network stopped the run.

    If windows failed or must wait, or if an account was stopped (a wrong secret, a missing
    permission), there is no exception, because other windows can have succeeded.  To find out, look
    at the ``state`` of the `Report`, or call its ``raise_for_state()``.
    """
    sink = _listed_sinks(sink)
    return await run_at(accounts, endpoints, start, end, sink, converted(options))


async def run_at(
    accounts: Accounts,
    endpoints: Endpoints,
    start: date | str,
    end: date | str,
    sinks: Sinks,
    options: Keywords,
    ledger: Ledger | None = None,
) -> Report:
    """As `run`, with options as `converted` returns them; ledger: replaces the one they name."""
    scope, resolved = resolve(accounts, endpoints, start, end, options)
    harvest = Harvest(scope, resolved, open_sinks(sinks), options, ledger)
    return await harvest.run(options.get("on_event"), options.get("stop"))


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "harvester needs an event loop of asyncio; with trio, call run_sync in a thread"
        ) from None


class Harvest:
    """A run with checked arguments, made also outside of an event loop; raises `UsageError`."""

    def __init__(
        self,
        scope: Scope,
        resolved: Options,
        sinks: Sequence[Sink],
        options: Keywords,
        ledger: Ledger | None = None,
    ) -> None:
        self._targets = open_targets(options, sinks, scope.endpoints)
        for target in self._targets:
            target.check()
        self._ledger, notes = _ledger(options, sinks, ledger)
        self._transport = _transport(options)
        self._scope = replace(scope, notes=(*scope.notes, *notes), store=_store(options))
        self._resolved, self._sinks = _within(self._transport, resolved), sinks
        self._given_store = options.get("token_store")

    @asynccontextmanager
    async def engine(
        self, on_event: Observer | None, stop: StopSignal | None, **how: Any
    ) -> AsyncIterator[Engine]:
        async with (
            _closed(self._scope.store, self._given_store),
            self._transport as transport,
            Engine(
                self._scope,
                self._resolved,
                transport,
                self._sinks,
                self._ledger,
                on_event=on_event,
                stop=stop,
                **how,
            ) as engine,
        ):
            yield engine

    async def run(self, on_event: Observer | None, stop: StopSignal | None) -> Report:
        _check_loop()
        scope, sinks, ledger, targets = self._scope, self._sinks, self._ledger, self._targets
        async with self.engine(on_event, stop) as engine:
            report = await engine.run()
            known = await _checkpoints(ledger, sinks) if targets else {}
            coverage = await _coverage(ledger, targets, scope)
        if targets and report.state != State.INTERRUPTED:
            await _export(report, targets, sinks, known, coverage, scope)
        return report


def run_sync(
    accounts: Accounts,
    endpoints: Endpoints,
    start: date | str,
    end: date | str,
    *,
    sink: Sinks,
    **options: Unpack[Keywords],
) -> Report:
    """Call `run` from code that is not asynchronous, and wait for its end.

    Arguments, result and exceptions are those of `run`, except that there is no option ``session``,
    because a session belongs to an event loop.  If an event loop is already running, for example in
    a notebook, the run gets its own thread, and ``on_event`` is called in that thread.  Ctrl-C
    cancels the run and raises KeyboardInterrupt when the run has ended.
    """
    if options.get("session") is not None:
        raise UsageError(
            "session: it belongs to an event loop, and run_sync creates another one; remove it"
        )
    sink = _listed_sinks(sink)
    options = converted(options)
    return wait_for(lambda: run_at(accounts, endpoints, start, end, sink, options))


@asynccontextmanager
async def stream(
    accounts: Accounts,
    endpoints: Endpoints,
    start: date | str,
    end: date | str,
    **options: Unpack[Keywords],
) -> AsyncIterator[Records]:
    """Stream the records of the days from ``start`` to ``end``, both included.

    The arguments are those of `run`, without a sink.  The result is an async context manager; it
    gives an async iterator of dicts.  Each dict has the fields of the interface and ``_appid``,
    ``_endpoint``, ``_begin_date``, ``_end_date`` and ``_fetched_at``.  If the reader is slow or
    stops, only a few windows are fetched ahead; if it waits for records, more are fetched at once.
    Leaving the block ends the requests.

    If the figures of a window are late, they will change: each of its records has ``_late`` (true).
    The stream gives such a window once.  With the option ``wait``, it gives the window at the end,
    and only if the figures have not arrived by then.

    Raises `UsageError` when the block is entered.  During iteration it raises `RunError` if the run
    had to stop, and at the end `IncompleteError` if windows failed or must wait.
    """
    _check_loop()
    options = converted(options)
    if options.pop("export", ()):
        raise UsageError("export: a stream stores nothing that could be exported")
    scope, resolved = resolve(accounts, endpoints, start, end, options)
    records = Records(holds_late=resolved.wait)
    has_ledger = options.setdefault("ledger", None) is not None
    harvest = Harvest(scope, resolved, [records._sink], options)
    on_event, stop = options.get("on_event"), options.get("stop")
    async with harvest.engine(on_event, stop, encode=has_ledger, group=1) as engine:
        task = asyncio.ensure_future(records._follow(engine))
        try:
            yield records
        finally:
            await ended(task)
            records._sink.end(None)  # for a reader that still iterates


def _store(options: Keywords) -> TokenStore | None:
    given = options.get("token_store")
    return open_store(given) if isinstance(given, str | Secret) else given


@asynccontextmanager
async def _closed(store: TokenStore | None, given: object) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if store is not None and store is not given:
            with anyio.CancelScope(shield=True):
                await store.close()


class Records:
    """An async iterator of records; ``report`` is set when the iterator has ended."""

    def __init__(self, *, holds_late: bool = False) -> None:
        self.report: Report | None = None
        self._sink = _Handover(holds_late)

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self._sink.next()

    async def _follow(self, engine: Engine) -> None:
        try:
            self.report = await engine.run()
            self.report.raise_for_state()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001  (the reader gets it, whatever it is)
            self.report = getattr(exc, "report", None) or engine.report(State.FAILED)
            self._sink.release()
            self._sink.end(exc)
        else:
            self._sink.end(None)


class _Handover(Sink):
    """Passes on records; holds_late: late windows at the end only, since they may come again."""

    identity = "stream"
    listed = False

    def __init__(self, holds_late: bool) -> None:
        self._holds_late = holds_late
        self._late: list[Batch] = []
        self._records: deque[dict[str, Any]] = deque()
        self._error: BaseException | None = None
        self._ended = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def open(self, checkpoint: Checkpoint | None) -> Checkpoint:
        return {}

    async def write(self, batches: Sequence[Batch], fence: Fence) -> Written:
        """Return when the reader asks for the next record: only then has it used these."""
        for batch in batches:
            if self._late:
                self._late = [each for each in self._late if not _replaces(batch, each)]
            if batch.late and self._holds_late:
                self._late.append(batch)
            else:
                self._records.extend(_documents(batch))
        if self._records:
            self._emptied.clear()
            self._filled.set()
            await self._emptied.wait()
        return Written()

    async def close(self) -> None:
        """Nothing to release."""

    def release(self) -> None:
        """Pass on the late windows: they do not come again in this run."""
        for batch in self._late:
            self._records.extend(_documents(batch))
        self._late = []

    def end(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended, self._error = True, error
            self._filled.set()

    async def next(self) -> dict[str, Any]:
        while not self._records:
            self._emptied.set()
            if self._ended:
                error, self._error = self._error, None
                raise error or StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        return self._records.popleft()


def _replaces(batch: Batch, late: Batch) -> bool:
    new, old = batch.window, late.window
    return new[:2] == old[:2] and new.begin <= old.end and old.begin <= new.end


def _documents(batch: Batch) -> list[dict[str, Any]]:
    found = batch.documents()
    return [{**each, "_late": True} for each in found] if batch.late else found


def resolve(
    accounts: Accounts,
    endpoints: Endpoints,
    start: date | str,
    end: date | str,
    options: Keywords,
) -> tuple[Scope, Options]:
    """Resolve and check names; options: as `converted` returns them.  Raises `UsageError`."""
    now = time.time()
    found, notes = _endpoints(endpoints)
    from_first = isinstance(start, str) and start == FIRST
    begin = min(each.first_day for each in found) if from_first else parse_day(start, now, "start")
    last = parse_day(end, now, "end")
    check_range(begin, last, now)
    providers, caps, names = _accounts(accounts)
    scope = Scope(
        providers, found, begin, last, notes, caps=caps, follows=end == YESTERDAY, names=names
    )
    return scope.checked(last_legal_day(now), from_first=from_first), options_of(options)


_EXPECTED = {
    "accounts": say("an Account, or an iterable of them"),
    "endpoints": say("the name of an interface or a group, an Endpoint, or an iterable of these"),
    "sink": say("a spec such as 'jsonl:DIR', an object derived from Sink, or a list of these"),
}


def _wrong(what: str, value: object) -> UsageError:
    """The error for a value of a wrong type; it does not show the value, which may be a secret."""
    kind = type if isinstance(value, type) else type(value)  # regardless of its metaclass
    return UsageError("{}: expected {}, not {}", what, _EXPECTED[what], kind.__name__)


def _listed(what: str, given: Any) -> list[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise _wrong(what, given)
    return list(given)


def _accounts(given: Accounts) -> tuple[dict[str, Any], dict[str, int], dict[str, str]]:
    """The accounts' token providers, and the limits and names of those that have one."""
    listed = [given] if isinstance(given, Account) else _listed("accounts", given)
    if not listed:
        raise UsageError("no account was given")
    providers, caps, names = {}, {}, {}
    for account in listed:
        if not isinstance(account, Account):
            raise _wrong("accounts", account)
        if account.appid in providers:
            raise UsageError("the account {} was given twice", account.appid)
        providers[account.appid] = provider_for(account)
        if account.concurrency is not None:
            what = say("account {}: concurrency", account.appid)
            caps[account.appid] = check_count(what, account.concurrency)
        if account.name:
            names[account.appid] = account.name
    return providers, caps, names


def _endpoints(given: Endpoints) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """The interfaces, and a sentence for each that is retired or left out of a group."""
    one = isinstance(given, str) or hasattr(given, "first_day")
    listed: list[Any] = [given] if one else _listed("endpoints", given)
    for item in listed:
        if not isinstance(item, str) and not hasattr(item, "first_day"):
            raise _wrong("endpoints", item)
    found = {each.name: each for each in plugins.interfaces_of(listed)}
    if not found:
        raise UsageError("no interface was given")
    notes = _left_out([item for item in listed if isinstance(item, str)], found)
    for endpoint in found.values():
        check_endpoint(endpoint.name, endpoint.first_day, getattr(endpoint, "fields", ()))
        if endpoint.retired:
            instead = ", ".join(endpoint.successors)
            notes.append(
                say("WeChat has taken {} offline", endpoint.name)
                + (say("; its successors are {}", instead) if instead else "")
            )
    return tuple(found.values()), tuple(notes)


def _left_out(names: list[str], found: Container[str]) -> list[str]:
    notes = []
    for name in dict.fromkeys(names):
        retired = [each for each in plugins.retired_of(name) if each not in found]
        if retired:
            one = len(retired) == 1
            left_out = (
                "of {}, {} is retired and left out" if one else "of {}, {} are retired and left out"
            )
            notes.append(say(left_out, name, ", ".join(retired)))
    return notes


def _listed_sinks(given: Sinks) -> list[Secret | Sink]:
    """Sinks and specs, with specs as secrets: a URL may hold a password."""
    listed = [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
    return [Secret(item) if isinstance(item, str) else item for item in listed]


def open_sinks(given: Sinks) -> list[Sink]:
    """Sinks from specs and sinks; raises `UsageError`."""
    given = _listed_sinks(given)
    if not given:
        raise UsageError("no sink was given")
    for item in given:
        if not isinstance(item, Secret):
            _check_sink(item)
    sinks = [plugins.sink(item) if isinstance(item, Secret) else item for item in given]
    if len({sink.identity for sink in sinks}) < len(sinks):
        raise UsageError("the same sink was given twice")
    return sinks


def _check_sink(item: object) -> None:
    if not isinstance(item, Sink):
        raise _wrong("sink", item)
    if not hasattr(item, "identity"):
        raise UsageError("sink: {} has no attribute identity", type(item).__name__)
    if not isinstance(item.path, pathlib.Path | None):
        raise UsageError("sink: the path of {} is not a pathlib.Path", type(item).__name__)


def _ledger(
    options: Keywords, sinks: Sequence[Sink], given: Ledger | None
) -> tuple[Ledger | None, tuple[str, ...]]:
    """The ledger of a run, and a note if there is none although ``ledger=None`` was not given."""
    if given is not None or "ledger" in options:
        named = options.get("ledger")
        ledger = given or (None if named is None else open_ledger(named))
        _check_fenced(ledger, sinks)
        return ledger, ()
    for sink in sinks:
        if (path := ledger_for(sink)) is not None:
            return open_ledger(path) if sink.is_file else SqliteLedger(path), ()
    urls = [sink.ledger_url for sink in sinks if sink.ledger_url is not None]
    if urls and all(sink.fenced for sink in sinks):
        return PostgresLedger(urls[0]), ()
    names = ", ".join(sink.identity for sink in sinks)
    note = say("no ledger was kept for {}: the same run requests everything again", names)
    return None, (say('{}; with ledger="sqlite:FILE" it resumes', note),)


def open_targets(
    options: Keywords, sinks: Sequence[Sink], endpoints: Sequence[Endpoint]
) -> list[Target]:
    """The targets of the option ``export``; raises `UsageError`, also if no sink can be read."""
    given = options.get("export", ())
    listed = [given] if isinstance(given, Secret) else given
    if not listed:
        return []
    from harvester.exports.targets import open_target

    if not any(sink.scan for sink in sinks):
        raise UsageError("export: none of the sinks can be read back, so nothing can be exported")
    targets = [open_target(spec) for spec in listed]
    from harvester.exports.equal import check_tables  # the target has said which library it needs

    for target in targets:
        check_tables(target, [each.name for each in endpoints], plugins.finder(endpoints))
    return targets


async def _checkpoints(ledger: Ledger | None, sinks: Sequence[Sink]) -> dict[str, Checkpoint]:
    if ledger is None:
        return {}
    return {
        sink.identity: await ledger.checkpoint(name_in(sink, ledger.path))
        for sink in sinks
        if sink.scan
    }


async def _coverage(
    ledger: Ledger | None, targets: Sequence[Target], scope: Scope
) -> Coverage | None:
    if ledger is None or not targets:
        return None
    from harvester.exports.coverage import coverage_in, shows_coverage

    if not any(map(shows_coverage, targets)):
        return None

    return await coverage_in(ledger, plugins.finder(scope.endpoints))


async def _export(
    report: Report,
    targets: Sequence[Target],
    sinks: Sequence[Sink],
    known: Mapping[str, Checkpoint],
    coverage: Coverage | None,
    scope: Scope,
) -> None:
    """Bring targets up to date; raises `ExportError` with the report."""
    from harvester.exports.run import described, export_all
    from harvester.exports.source import Source

    sink = next(sink for sink in sinks if sink.scan)
    source = Source(sink, lambda: known.get(sink.identity), coverage, names=scope.names)
    try:
        names = [endpoint.name for endpoint in scope.endpoints]
        find = plugins.finder(scope.endpoints)
        done = await export_all(source, targets, names, find)
    except UsageError as exc:  # the run is over, and nothing in it was wrong
        failure = ExportError(str(exc))
        failure.report = report
        raise failure from None
    except RunError as exc:
        exc.report = exc.report or report
        raise
    report.exported = [*map(described, targets, done)]
    report.notes += report.exported


def _check_fenced(ledger: Ledger | None, sinks: Sequence[Sink]) -> None:
    others = [sink.identity for sink in sinks if not sink.fenced]
    if shared(ledger) is not None and others:
        raise UsageError(
            "{} cannot be written by several processes; with a shared ledger the sink is"
            " postgresql://… or mysql://…",
            others[0],
        )


def _within(transport: object, options: Options) -> Options:
    """Limit the requests in flight to the connections of the caller's session."""
    if not isinstance(transport, HttpTransport):
        return options
    return replace(options, concurrency=int(min(options.concurrency, transport.slots)))


def _transport(options: Keywords) -> AbstractAsyncContextManager[Transport]:
    given = options.get("transport")
    if given is None:
        return HttpTransport(
            options.get("base_url", BASE_URL),
            options.get("session"),
            ca_file=options.get("ca_file"),
        )
    for name in ("base_url", "session", "ca_file"):
        if options.get(name) is not None:
            raise UsageError("transport: it replaces the network; remove {}", name)
    return nullcontext(_Given(given))


class _Given(Transport):
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request, leave: Leave | None = None) -> Response:
        send = self._transport.send
        return await guard_cancellation(
            lambda why: AttemptError("the transport failed: {}", why),
            send,
            request,
            leave,
            secret=True,
            returns=Response,
        )
