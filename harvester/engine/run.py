"""One run: opens sinks and ledger, makes the plan, starts and ends the workers.

Rule: the only task group of the package; every task that is started here ends here.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
import time
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from harvester import events
from harvester.base.dates import last_legal_day, quota_day, rfc3339_exact
from harvester.base.outage import PATIENCE, Away, until_it_answers
from harvester.base.outside import guard_call, guard_cancellation, is_cancelled
from harvester.engine import planner
from harvester.engine.account_queue import AccountQueue, Share
from harvester.engine.attempt import Pipeline
from harvester.engine.claims import LedgerClock, Sharing
from harvester.engine.network import Network
from harvester.engine.options import Options, Round, StopSignal
from harvester.engine.planner import Plan, build_plan
from harvester.engine.policy import NOT_READY_AGAIN
from harvester.engine.refresh import calendars_in, reopen
from harvester.engine.scheduler import Scheduler
from harvester.engine.scope import Scope
from harvester.engine.worker import Worker
from harvester.engine.writer import GROUP, Writer
from harvester.errors import HarvestError, LedgerError, RunError, SinkError, UsageError
from harvester.events import (
    Answer,
    Bookkeeper,
    Code,
    Event,
    Level,
    Notice,
    Observer,
    Report,
    State,
)
from harvester.ledger import Ledger, PostgresLedger, shared
from harvester.ledger.base import OPENING, Key, Lease, Range, Spent, WorkerJob
from harvester.ledger.coverage import Calendar
from harvester.model import duration, many
from harvester.sinks.base import Sink
from harvester.texts import say
from harvester.transport import Transport

STALLED_AFTER = 10.0
STALLED_AT_MOST = 600.0
LOOKED_AFTER = 60.0
"""Seconds without progress until the first report, the most seconds between two reports, and the
most between two checks."""

RETRIES = 60.0
"""Seconds for which nothing but retries is under way, until each of them is the last attempt."""
LOOK = 5.0
"""Seconds between two looks at whether a round is over."""

MOST_PENDING = 1000
"""Events that wait for ``on_event``, a coroutine function; a commit waits while there are more."""
LAST_EVENTS = 1.0
"""Seconds for which a run that is cancelled waits until they are delivered."""

SET_BACK = say(
    "this machine's clock was set back by a day or more since the last run: the calls of that run"
    " count as today's, and windows that it stored as final might not be final; --refresh requests"
    " these windows again"
)


class Reporter:
    """Receives the events of a run: keeps its report, logs errors, and calls an observer."""

    def __init__(self, on_event: Observer | None) -> None:
        self.books = Bookkeeper()
        self.started = 0.0
        self._on_event = on_event
        self._pending: deque[Awaitable[None]] = deque()  # what a coroutine function returned
        self._added = asyncio.Event()
        self._turn = asyncio.Lock()

    def __call__(self, event: Event) -> None:
        """Receive an event; raises what the observer raises, and does not call it again then."""
        self.books(event)
        events.log_error(event)
        if self._on_event is None:
            return
        try:
            pending = guard_call(_observer_error, self._on_event, event, others=False)
        except BaseException:
            self._on_event = None
            raise
        if pending is not None and inspect.isawaitable(pending):
            self._pending.append(pending)
            self._added.set()

    async def deliver(self) -> None:
        while True:
            await self._added.wait()
            await self.delivered()

    async def delivered(self, at_least: int = 0) -> None:
        """Return when the observer has received all events, at once if fewer are pending."""
        if len(self._pending) < at_least:
            return
        async with self._turn:
            self._added.clear()
            while self._pending:
                pending = self._pending.popleft()
                try:
                    await guard_cancellation(_observer_error, _same, pending, others=False)
                except asyncio.CancelledError:
                    raise
                except BaseException:
                    self.close()
                    raise

    async def finish(self) -> None:
        cancelled = is_cancelled()
        try:
            with anyio.move_on_after(LAST_EVENTS if cancelled else math.inf, shield=cancelled):
                await self.delivered()
        finally:
            self.close()

    def close(self) -> None:
        self._on_event = None
        while self._pending:
            pending = self._pending.popleft()
            if inspect.iscoroutine(pending):
                pending.close()


def _observer_error(why: str) -> RunError:
    return RunError("on_event failed: {}", why)


class Engine:
    """One run.

    An async context manager that opens the sinks and the ledger; `run` does the work.  Raises
    `UsageError`, `SinkError` or `LedgerError` on entering, `RunError` from `run`.
    """

    def __init__(
        self,
        scope: Scope,
        options: Options,
        transport: Transport,
        sinks: Sequence[Sink],
        ledger: Ledger | None,
        *,
        on_event: Observer | None = None,
        stop: StopSignal | None = None,
        encode: bool = True,
        group: int = GROUP,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._scope = scope
        self._options = options
        self._transport = transport
        self._stop = stop
        self._stopping = self._over = False
        self._joined = 0.0  # a shared ledger, by its clock
        self._machine = wall
        self._clock = LedgerClock(wall)
        if shared(ledger) is not None:
            wall = self._clock
        self._wall = wall
        self._emit = Reporter(on_event)
        self._answers: list[Answer] | None = None if on_event is None else []
        self._plan = Plan([], Share())
        self._stack = AsyncExitStack()
        self._writer = Writer(sinks, ledger, self._emit, self._spent, group=group)
        self._paced = group == 1
        patience = math.inf if options.wait else options.patience
        self._pipeline = Pipeline(
            transport,
            attempts=options.attempts,
            encode=encode,
            pack=encode and all(sink.takes_lines for _, sink in self._writer.sinks),
            wall=wall,
            network=Network(transport.send, patience, self._unreachable, self._reachable),
            stored=self._writer.stored,
            answers=self._answers,
        )
        self._worker = Worker(options, self._pipeline, self._writer, self._emit, wall)

    def __repr__(self) -> str:
        return f"<Engine {len(self._plan.accounts)} accounts, {self._worker!r}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._writer.ledger is not None:
                await stack.enter_async_context(self._writer.ledger)
            if (ledger := shared(self._writer.ledger)) is None:
                await self._writer.open(stack)
            else:
                await self._join(ledger, stack)
            self._stack = stack.pop_all()
        return self

    async def _join(self, ledger: PostgresLedger, stack: AsyncExitStack) -> None:
        options = self._options
        marks = self._ranges() if options.refresh else []
        stack.push_async_callback(self._leave, ledger)
        await self._enter(ledger, stack, lambda: ledger.join(self._job()._replace(marks=marks)))
        self._joined, name = self._clock(), self._job().name
        fellows = [each for each in await ledger.workers() if each.alive and each.job == name]
        first = min([each.started for each in fellows], default=self._joined)
        self._worker.began = rfc3339_exact(first)
        self._writer.sharing = Sharing(
            ledger,
            options.lease,
            options.concurrency,
            self._emit,
            partial(self._join_anew, ledger),
            self._clock,
        )

    async def _leave(self, ledger: PostgresLedger) -> None:
        """Leave as a worker; if the ledger cannot be reached, the lease ends by itself."""
        if not self._is_cut_off():
            with suppress(LedgerError, Away):
                await ledger.leave()

    def _is_cut_off(self) -> bool:
        """Whether the shared ledger has just failed to answer: the end does not wait for it."""
        return self._writer.sharing is not None and self._writer.sharing.is_cut_off

    async def _join_anew(self, ledger: PostgresLedger) -> None:

        async def join() -> float:
            try:
                return await ledger.join(self._job())
            except UsageError as exc:  # the clock was right when the run began
                raise LedgerError(str(exc)) from None

        try:
            await self._enter(ledger, self._stack, join)
        except UsageError as exc:  # the sinks could be opened then
            raise SinkError(str(exc)) from None
        await self._want(ledger)

    async def _enter(
        self, ledger: PostgresLedger, stack: AsyncExitStack, join: Callable[[], Awaitable[float]]
    ) -> None:
        """Join and open the sinks while no other worker does; repeat it if that lock was lost."""

        async def enter() -> None:
            await ledger.leave()  # before the lock is taken: both use the same connection
            try:
                async with self._writer.reached(stack), ledger.alone(OPENING):
                    await self._writer.check()  # before anything is marked
                    self._clock.set(await join())
                    await self._writer.open(stack)
            except TimeoutError:
                if sink := self._writer.opening:
                    raise SinkError(
                        "{} did not answer for {:.0f} s while it was being opened; nothing that"
                        " was committed is lost: fix the cause and run the same command again",
                        sink,
                        OPENING,
                    ) from None
                raise Away(say("it has not answered for {:.0f} s", OPENING)) from None

        await until_it_answers(enter, say("the shared ledger"), PATIENCE, LedgerError)

    def _job(self) -> WorkerJob:
        options = self._options
        # who may wait goes on with what others leave; else who may send more calls a day
        rank = math.inf if options.wait else options.daily_quota or sys.maxsize
        return WorkerJob(
            self._scope.fingerprint, options.lease, self._machine(), rank, options.refresh
        )

    def _ranges(self) -> list[Range]:
        return [
            (appid, endpoint.name, *days)
            for appid in self._scope.accounts
            for endpoint in self._scope.endpoints
            if (days := self._scope.range_of(endpoint)) is not None
        ]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not self._is_cut_off():
                with suppress(LedgerError, Away):
                    await self._writer.book()  # calls of a cancelled run count, too
        finally:
            try:
                await self._stack.__aexit__(kind, exc, trace)
            except RunError as error:  # a sink that finishes its files when it is closed
                error.report = error.report or self.report(State.FAILED)
                raise

    async def run(self) -> Report:
        """Harvest; returns the report of a run that ended by itself or was asked to stop.

        Raises `RunError`, with the report of what was done until then.
        """
        try:
            return await self._run()
        finally:
            await self._emit.finish()

    async def _run(self) -> Report:
        self._emit.started = self._worker.progressed = _now()
        try:
            async with _one_error(), anyio.create_task_group() as group:
                group.start_soon(_guarded, self._commit(group.cancel_scope))
                group.start_soon(_guarded, self._emit.deliver())
                await self._prepare()
                group.start_soon(_guarded, self._watch())
                group.start_soon(_guarded, self._writer.book_regularly())
                if self._writer.sharing is not None:
                    group.start_soon(_guarded, self._writer.sharing.renew())
                    group.start_soon(_guarded, self._share(self._writer.sharing))
                if self._stop is not None:
                    group.start_soon(_guarded, self._await_stop(self._stop))
                group.start_soon(_guarded, self._end_round(self._stop))
                await self._work()
        except asyncio.CancelledError:
            self._end(State.INTERRUPTED)
            raise
        except RunError as exc:
            exc.report = self._end(State.FAILED)
            raise
        finally:
            self._worker.stop()  # the scheduler's timer must not outlive the run
        if self._worker.fatal is not None:
            self._worker.fatal.report = self._end(State.FAILED)
            raise self._worker.fatal
        unfinished = any(not account.finished for account in self._plan.accounts)
        waiting = 0
        if (ledger := shared(self._writer.ledger)) is not None:
            with suppress(Away):  # its lease has just expired; what is left is read below
                wanted = await ledger.unfinished()
                unfinished, waiting = unfinished or any(wanted), wanted.waiting
            left = await planner.remains(
                self._scope,
                ledger,
                self._wall(),
                self._joined,
                self._worker.began,
                marks=self._options.refresh,
                apart=self._writer.apart,
            )
            self._emit.books.recount(left.events, left.missing)
        elif self._writer.ledger is not None and self._writer.emptied:
            scope = self._scope.only(self._writer.emptied)
            for event in await planner.late_in(scope, self._writer.ledger, self._wall()):
                self._emit(event)
        return self._end(self._ended(unfinished, bool(waiting)))

    async def _work(self) -> None:

        def start() -> None:
            if not workers.cancel_scope.cancel_called:  # nobody would cancel a task of after that
                workers.start_soon(_guarded, self._worker.work())

        try:
            async with anyio.create_task_group() as workers:
                self._worker.scheduler.employ(self._options.concurrency, start)
        finally:
            self._worker.scheduler.employ(0)
            self._writer.channel.close()

    def _ended(self, unfinished: bool, waiting: bool) -> State:
        """How a run ended that no error stopped.

        unfinished: something is left; waiting: some of it by another worker, which waits.
        """
        if self._stopping and unfinished:
            return State.INTERRUPTED
        if self._over and unfinished:
            self._emit.books.leave(self._wall())
        elif waiting:
            self._emit.books.leave(self._wall() + NOT_READY_AGAIN)
        return self._emit.books.conclude(len(self._scope.accounts))

    def _end(self, state: State) -> Report:
        report = self.report(state)
        self._report_requests()
        self._emit(events.Ended(report))
        return report

    def report(self, state: State) -> Report:
        books, accounts = self._emit.books, self._plan.accounts
        report = books.report
        report.state = state
        report.requests = sum(queue.budget.sent for account in accounts for queue in account.queues)
        report.token_fetches = sum(account.token.fetches for account in accounts)
        report.seconds = _now() - self._emit.started
        report.failures = books.failures()
        report.waits = books.waits()
        return report

    async def _prepare(self) -> None:
        self._scope = self._scope.on(last_legal_day(self._wall()))
        if (ledger := shared(self._writer.ledger)) is not None:
            await self._prepare_shared(ledger)
            return
        await self._prepare_alone()

    async def _prepare_alone(self) -> None:
        ledger, notes = self._writer.ledger, self._scope.notes
        sinks = [sink for _, sink in self._writer.sinks]
        stored: dict[Key, Calendar] | None = None
        if ledger is None:
            stored = await calendars_in(sinks, self._scope.endpoints, self._scope.accounts)
        elif await ledger.fold_future_calls(quota_day(self._wall())):
            notes = (*notes, SET_BACK)
        wall = self._wall()
        if ledger is not None:
            if self._options.refresh:
                await ledger.mark_refresh(self._ranges())
            await reopen(ledger, sinks, self._scope.endpoints, self._scope.accounts, wall)
        plan = self._plan = await build_plan(
            self._scope, self._options, ledger, self._pipeline.send, wall, self._wall, stored
        )
        accounts = plan.accounts
        if ledger is not None:
            notes = (*notes, *await planner.gone(self._scope, ledger, wall))
        self._emit(events.RunStarted(plan.planned, plan.skipped, len(accounts), notes))
        if ledger is not None:
            await ledger.register(self._ranges())
        await self._worker.prepare(plan)
        self._worker.serve(Scheduler(accounts, self._wall, plan.share, paced=self._paced))

    async def _prepare_shared(self, ledger: PostgresLedger) -> None:
        """Count the requested windows; accounts are planned when they are claimed."""
        planned, skipped = await self._want(ledger)
        self._plan = Plan([], planner.share_of(self._options), planned, skipped)
        accounts = len(self._scope.accounts)
        gone = await planner.gone(self._scope, ledger, self._wall())
        notes = (*self._scope.notes, *gone)
        self._emit(events.RunStarted(planned, skipped, accounts, notes))
        await ledger.register(self._ranges())
        self._worker.serve(Scheduler([], self._wall, self._plan.share, more=True))

    async def _want(self, ledger: PostgresLedger) -> tuple[int, int]:
        """Register the accounts that have windows left; returns windows planned and skipped."""
        planned = skipped = 0
        appids = []
        apart = self._writer.apart
        async for appid, listed in planner.demands(self._scope, ledger, self._wall()):
            if appid in apart:
                if appid not in self._emit.books.report.stopped:  # it may have joined anew
                    self._emit(events.AccountStopped(appid, apart[appid], kind="refused"))
                planned += sum(demand.need.planned for demand in listed)
                continue
            for demand in listed:
                planned += demand.need.planned
                skipped += demand.need.planned - demand.need.left
            if any(demand.need.left for demand in listed):
                appids.append(appid)
        sharing = self._writer.sharing
        await ledger.want(appids, sharing.refused.keys() if sharing is not None else ())
        return planned, skipped

    async def _share(self, sharing: Sharing) -> None:
        await sharing.run(self._worker.scheduler, self._claimed, self._finish)

    async def _claimed(self, leases: Mapping[str, Lease]) -> Sequence[AccountQueue]:
        ledger, wall = self._writer.ledger, self._wall()
        scope = self._scope.only(leases).on(last_legal_day(wall))
        if ledger is not None:
            sinks = [sink for _, sink in self._writer.sinks]
            await reopen(ledger, sinks, scope.endpoints, scope.accounts, wall)
        plan = await build_plan(
            scope,
            self._options,
            ledger,
            self._pipeline.send,
            wall,
            self._wall,
            share=self._plan.share,
            leases=leases,
        )
        self._plan.accounts.extend(plan.accounts)
        await self._worker.prepare(plan)
        if (sharing := self._writer.sharing) is not None:
            for account in plan.accounts:
                if account.appid in sharing.refused:  # no other worker is left that could try it
                    await self._worker.stop_account(account, sharing.refused[account.appid])
        return plan.accounts

    async def _finish(self, accounts: Sequence[AccountQueue]) -> None:
        await self._writer.flush()
        await self._writer.book()

    def _unreachable(self, seconds: float, patience: float, reason: str) -> None:
        since = say(" for {}", duration(seconds)) if seconds else ""
        limit = say(" for up to {}", duration(patience)) if patience < math.inf else ""
        text = say("no server answers{} ({}); trying every few seconds{}", since, reason, limit)
        self._emit(Notice(Level.INFO, Code.UNREACHABLE, "", "", text))

    def _reachable(self, seconds: float) -> None:
        text = say("a server answers again, after {}", duration(seconds))
        self._emit(Notice(Level.INFO, Code.REACHABLE, "", "", text))

    async def _commit(self, scope: anyio.CancelScope) -> None:
        """Commit until the workers have ended; then the watchers are not needed any more."""
        await self._writer.run(self._committed)
        await self._emit.delivered()
        scope.cancel()

    async def _committed(self) -> None:
        if self._paced:
            self._worker.scheduler.read(waits=self._writer.channel.is_empty)
        self._report_requests()
        await self._emit.delivered(MOST_PENDING)

    def _report_requests(self) -> None:
        if self._answers:
            self._emit(events.Requested(tuple(self._answers)))
            self._answers.clear()

    def _spent(self) -> list[Spent]:
        return self._worker.spent()

    async def _await_stop(self, stop: StopSignal) -> None:
        await guard_cancellation(lambda why: RunError("stop failed: {}", why), stop.wait)
        self._stopping = True
        in_flight = sum(account.in_flight for account in self._plan.accounts)
        text = say(
            "stopping when {} in flight are answered and stored; interrupt again to stop at once",
            many(in_flight, "request"),
        )
        self._emit(Notice(Level.INFO, Code.STOPPING, "", "", text))
        self._worker.stop()

    async def _end_round(self, limits: StopSignal | None) -> None:
        """End the run; what was tried in vain for so long that nothing was stored waits longer."""
        if not isinstance(limits, Round):
            return
        stored, since = -1, (begun := self._emit.started)
        while (now := _now()) < begun + limits.seconds and now < since + limits.quiet:
            away = self._writer.writing or self._pipeline.network.lost_since is not None
            if stored != (stored := await self._stored()) or away:
                since = now
            left = [account for account in self._plan.accounts if not account.finished]
            retries = bool(left) and all(account.retries for account in left)
            self._pipeline.last = retries and now >= since + RETRIES
            await anyio.sleep(min(LOOK, begun + limits.seconds - now))
        self._over = True
        if now >= since + limits.quiet:
            await self._worker.leave_retries(self._plan.accounts, self._wall() + limits.again)
        self._worker.stop()

    async def _stored(self) -> int:
        if (ledger := shared(self._writer.ledger)) is not None:
            with suppress(LedgerError, Away):
                return sum([worker.windows for worker in await ledger.workers()])
        return self._emit.books.report.windows.done

    async def _watch(self) -> None:
        since, silent = self._worker.progressed, STALLED_AFTER
        while True:
            if self._worker.progressed != since:
                since, silent = self._worker.progressed, STALLED_AFTER
            self._report_requests()
            now, wall = _now(), self._wall()
            if (left := since + silent - now) > 0:
                await anyio.sleep(min(left, LOOKED_AFTER))
                continue
            silent = min(2 * silent, silent + STALLED_AT_MOST)
            waiting = [account for account in self._plan.accounts if not account.finished]
            reasons = [account.reason(now, wall) for account in waiting[:3]]
            if not waiting and self._writer.sharing is not None:
                reasons = [self._writer.sharing.reason]
            if sink := self._writer.writing:
                reasons.insert(0, say("{} has not finished a write yet", sink))
            self._emit(events.Stalled(now - since, tuple(reasons)))


async def _guarded(part: Coroutine[None, None, None]) -> None:
    """Run one task of the run; it ends without an error only if it is done or cancelled."""
    error = lambda why: RunError("the run called a function that failed: {}", why)  # noqa: E731
    await guard_cancellation(error, _same, part, others=False)


def _same(part: Awaitable[None]) -> Awaitable[None]:
    return part


def _now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """The error of a task group to raise: the first one of this package, else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        ours = [exc for exc in leaves if isinstance(exc, HarvestError)]
        first = (ours or leaves)[0]
        raise first from first.__cause__


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
