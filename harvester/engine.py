"""Everything plural: accounts, slots, the group commit, start and stop.

Rule: the only task group of the package; whatever is started here ends here.

Workers pull jobs from the board, take a window through the pipeline, and hand what became of it to
the writer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from types import TracebackType
from typing import Self

import anyio

from harvester import events, retry
from harvester.auth import TokenRefusedError
from harvester.board import Board
from harvester.coverage import Outcome
from harvester.endpoint import Endpoint
from harvester.errors import (
    AccountError,
    EndpointError,
    HarvestError,
    NetworkError,
    RunError,
    WindowError,
)
from harvester.events import Bookkeeper, Event, Observer, Report
from harvester.lane import Fate, Lane, Share, Track, Try
from harvester.ledger.base import Exhausted, Ledger, Spent
from harvester.model import Action, Batch, Verdict, Window
from harvester.network import PROBE_EVERY, Network, Silence
from harvester.outside import ForeignCancellationError, is_ours, outside
from harvester.pipeline import (
    DEFERRALS,
    NOT_READY_AGAIN,
    Again,
    Later,
    More,
    Pipeline,
    Result,
    TooLong,
    explain,
)
from harvester.plan import (
    QUOTA_MARGIN,
    Days,
    china,
    is_first_hour,
    next_quota_day,
    quota_day,
    runs,
    settles_at,
)
from harvester.planner import build_plan
from harvester.scope import Scope
from harvester.settings import Options, StopSignal
from harvester.sinks.base import Sink
from harvester.stored import calendars_in, reopen
from harvester.transport import Transport
from harvester.writer import GROUP, Writer

STALLED_AFTER = 10.0
STALLED_AT_MOST = 600.0
LOOKED_AFTER = 60.0
"""Seconds: nothing was done for so long when it is first said, how much longer it takes each time
until it is said again, and how often it is looked at meanwhile."""

EARLY_AGAIN = 300.0
"""Seconds until an interface that was refused for its quota in the first hour of the day is asked
again: WeChat's clock may be behind ours."""

PROBE_QUOTA = 3600.0
"""Seconds after which a quota that was spent is tried with one call by a later run: WeChat does not
say when it begins anew."""

SET_BACK = (
    "this machine's clock was set back by a day or more since the last run: that run's calls count"
    " as today's, and what it took for final may not be; --refresh asks for it again"
)


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
        fill: bool = True,
        make_sink: Callable[[str], Sink | None] = lambda name: None,
        find_endpoint: Callable[[str], Endpoint | None] = lambda name: None,
    ) -> None:
        self._fill = fill
        self._make_sink = make_sink
        self._find_endpoint = find_endpoint
        self._scope = scope
        self._options = options
        self._transport = transport
        self._on_event = on_event
        self._stop = stop
        self._wall = wall
        patience = math.inf if options.wait else options.patience
        self._network = Network(patience, self._answered_again)
        self._pipeline = Pipeline(
            transport, attempts=options.attempts, encode=encode, wall=wall, network=self._network
        )
        self._writer = Writer(sinks, ledger, self._emit, self._spent, self._unused, group=group)
        self._books = Bookkeeper()
        self._stack = AsyncExitStack()
        self._lanes: list[Lane] = []
        self._share = Share()
        self._board = Board([], wall)
        self._unbooked: dict[
            Track, None
        ] = {}  # a commit does not look at all of ten thousand lanes
        self._working = 0
        self._fatal: RunError | None = None
        self._stopping = False
        self._started = self._progressed = 0.0

    def __repr__(self) -> str:
        return f"<Engine {len(self._lanes)} lanes, {self._board!r}, {self._writer.channel!r}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._writer.ledger is not None:
                await stack.enter_async_context(self._writer.ledger)
            for name, sink in self._writer.sinks:
                stack.push_async_callback(sink.close)
                await self._writer.open(sink, name)
            if self._fill:
                await self._writer.catch_up(self._make_sink, self._find)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._writer.book()  # what a cancelled run sent is spent all the same
        finally:
            await self._stack.__aexit__(kind, exc, trace)

    # before the first request

    def _find(self, name: str) -> Endpoint | None:
        """An interface by its name."""
        here = [endpoint for endpoint in self._scope.endpoints if endpoint.name == name]
        return here[0] if here else self._find_endpoint(name)

    async def _plan(self) -> None:
        """Make the lanes; nothing is sent yet."""
        ledger, scope, wall = self._writer.ledger, self._scope, self._wall()
        sinks = [sink for _, sink in self._writer.sinks]
        notes = scope.notes
        stored = None
        if ledger is None:
            stored = await calendars_in(sinks, scope)
        elif await ledger.rebook(self._today()):
            notes = (*notes, SET_BACK)
        if ledger is not None and self._options.refresh:
            await reopen(ledger, sinks, scope, wall)
        plan = await build_plan(
            scope, self._options, ledger, self._transport.send, wall, self._wall, stored
        )
        self._lanes = plan.lanes
        self._share = plan.share
        self._emit(events.RunStarted(plan.planned, plan.skipped, len(plan.lanes), notes))
        if ledger is not None:
            ranges = [
                (appid, endpoint.name, *days)
                for appid in scope.accounts
                for endpoint in scope.endpoints
                if (days := scope.range_of(endpoint)) is not None
            ]
            nothing_left = plan.planned == plan.skipped
            names = (
                await ledger.sinks() if nothing_left else [name for name, _ in self._writer.sinks]
            )
            await ledger.register(ranges, list(names))
        for track, attempt in plan.unsettled:
            await self._unsettled(track, attempt)
        for track, said in plan.exhausted:
            await self._exhausted_before(track, said)
        for lane in self._lanes:
            for track in lane.tracks:
                await self._check_budget(lane, track)

    async def _unsettled(self, track: Track, attempt: Try) -> None:
        """A window whose figures cannot be asked for yet."""
        wall = self._wall()
        until = settles_at(attempt.window.end, track.endpoint.settled_hour)
        if self._options.wait:
            track.again(attempt, _now() + until - wall)
        else:
            fate = Fate(until, "its figures are not settled yet")
            asked = track.as_planned(_days(attempt))
            await self._leave(track, asked, fate)

    async def _exhausted_before(self, track: Track, said: Exhausted) -> None:
        """The quota of an interface was spent before this run: one call an hour may try it."""
        wall = self._wall()
        track.exhausted = True
        if not track.has_work or not 0 <= wall - said.asked < PROBE_QUOTA:
            return
        reason = f"WeChat said at {china(said.asked):%H:%M} in China that its quota is used up"
        if self._options.wait:
            if track.park(said.until):
                self._emit_pause(track, said.until, reason)
        else:
            fate = Fate(said.until, reason)
            await self._leave(track, track.end(fate), fate)

    def _emit_pause(self, track: Track, until: float, reason: str) -> None:
        seconds = until - self._wall()
        self._emit(events.Paused(track.appid, seconds, reason, track.endpoint.name))

    # the run

    async def run(self) -> Report:
        """Harvest; gives the report of a run that ended by itself or was asked to stop.

        Raises `RunError`, with the report of what was done until then.
        """
        self._started = self._progressed = _now()
        try:
            async with _one_error(), anyio.create_task_group() as group:
                group.start_soon(_guarded, self._commit(group.cancel_scope))
                await self._plan()
                self._board = Board(self._lanes, self._wall, self._share)
                group.start_soon(_guarded, self._watch())
                if self._stop is not None:
                    group.start_soon(_guarded, self._await_stop(self._stop))
                self._working = self._options.concurrency
                for _ in range(self._working):
                    group.start_soon(_guarded, self._work())
        except asyncio.CancelledError:
            self._end("interrupted")
            raise
        except RunError as exc:
            exc.report = self._end("failed")
            raise
        finally:
            self._board.stop()  # its timer must not outlive the run
        if self._fatal is not None:
            self._fatal.report = self._end("failed")
            raise self._fatal
        unfinished = any(not lane.finished for lane in self._lanes)
        if self._stopping and unfinished:
            return self._end("interrupted")
        return self._end(self._books.state(len(self._lanes)))

    def _end(self, state: str) -> Report:
        report = self.report(state)
        self._emit(events.Ended(report))
        return report

    def report(self, state: str) -> Report:
        """The report as it stands."""
        report = self._books.report
        report.state = state
        report.requests = sum(self._calls)
        report.token_fetches = sum(lane.token.fetches for lane in self._lanes)
        report.seconds = _now() - self._started
        report.failures = self._books.failures()
        report.waits = self._books.waits()
        return report

    @property
    def _calls(self) -> Iterator[int]:
        return (track.calls for lane in self._lanes for track in lane.tracks)

    def _emit(self, event: Event) -> None:
        self._books(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except asyncio.CancelledError:
            if is_ours():
                raise
            raise RunError("on_event raised a cancellation that nobody had asked for") from None

    async def _work(self) -> None:
        """Pull jobs until there are none."""
        board, loop = self._board, asyncio.get_running_loop()
        while (job := await board.take()) is not None:
            began = loop.time()
            try:
                if job.track is not None:
                    self._unbooked[job.track] = None
                if job.attempt is not None and job.track is not None:
                    await self._try(job.lane, job.track, job.attempt)
                elif job.track is None:
                    await self._renew(job.lane)
                elif job.track.booking:
                    await self._book(job.track)
                else:
                    await self._ask_quota(job.lane, job.track)
            except AccountError as exc:
                await self._stop_account(job.lane, _fate(exc))
            except NetworkError as exc:
                self._fatal = exc
                board.stop()
            board.settled(job.lane, loop.time() - began)
        self._working -= 1
        if not self._working:
            self._writer.channel.close()

    async def _try(self, lane: Lane, track: Track, attempt: Try) -> None:
        """One attempt at one window, and what follows from it."""
        if track.split:
            self._tell_split(track)
        try:
            was_proven = track.proven
            outcome = await self._pipeline.run(lane, track, attempt)
            if not isinstance(outcome, Batch):
                await self._otherwise(lane, track, outcome)
            elif not self._handed_over(track, outcome):
                await self._harvested(lane, track, attempt, outcome)
            if track.exhausted and track.proven and not was_proven:
                await self._remember_quota(track, 0.0)
        except WindowError as exc:
            await self._leave(track, [_days(attempt)], _fate(exc))
        except EndpointError as exc:
            fate = _fate(exc)
            track.forbidden = exc.forbidden
            await self._leave(track, [_days(attempt)], fate)
            await self._leave(track, track.end(fate), fate)
            if all(each.forbidden for each in lane.tracks):
                await self._stop_account(lane, fate._replace(reason=f"{lane.appid}: {exc}"))
        except AccountError as exc:
            await self._leave(track, [_days(attempt)], _fate(exc))
            raise
        finally:
            track.in_flight -= 1
        if track.budget.limited:
            await self._check_budget(lane, track)

    async def _otherwise(self, lane: Lane, track: Track, outcome: Result) -> None:
        if isinstance(outcome, Again) and outcome.silent:
            await self._unanswered(track, outcome)
        elif isinstance(outcome, Again):
            await self._again(lane, track, outcome)
        elif isinstance(outcome, Later):
            await self._later(lane, track, outcome)
        elif isinstance(outcome, More | TooLong):
            await self._in_parts(track, outcome)

    def _handed_over(self, track: Track, batch: Batch) -> bool:
        """Hand over a window of which there is nothing to tell, if there is room: the usual one."""
        if track.foreign or batch.late or not self._writer.offer(batch):
            return False
        self._progressed = self._network.last_answer
        return True

    async def _harvested(self, lane: Lane, track: Track, attempt: Try, batch: Batch) -> None:
        self._progressed = self._network.last_answer
        if track.foreign:
            self._emit(events.Foreign(batch.window, track.foreign))
            track.foreign = 0
        await self._writer.harvested(batch)
        if batch.late:
            await self._late(lane, track, attempt, batch)

    async def _late(self, lane: Lane, track: Track, attempt: Try, batch: Batch) -> None:
        """WeChat says that the figures are late: they are stored, and asked for again."""
        again = Try(
            attempt.window, deferrals=attempt.deferrals + 1, replaces=True, former=batch.former
        )
        lane.why = batch.provisional
        if self._options.wait and track.fate is None and again.deferrals <= DEFERRALS:
            delay = NOT_READY_AGAIN
            self._emit(events.Retrying(lane.appid, again.window, again.deferrals, delay, lane.why))
            track.again(again, _now() + delay)
            return
        begin, end = _days(attempt)
        until = self._wall() + NOT_READY_AGAIN
        self._emit(
            events.Deferred(track.appid, track.endpoint.name, begin, end, 1, until, lane.why)
        )

    async def _in_parts(self, track: Track, outcome: More | TooLong) -> None:
        """The window takes more requests than one."""
        if track.fate is not None:
            await self._leave(track, [_days(outcome.attempt)], track.fate)
        elif isinstance(outcome, More):
            track.again(outcome.attempt, _now())
        else:
            longest = track.halve(outcome.attempt, _now())
            self._tell_split(track)
            if self._writer.ledger is not None:
                await self._writer.ledger.learn_span(track.endpoint.name, longest)

    def _tell_split(self, track: Track) -> None:
        longest = int(track.span.longest)
        self._emit(events.Split(track.appid, track.endpoint.name, longest, track.split))
        track.split = 0

    async def _unanswered(self, track: Track, again: Again) -> None:
        """Nobody answers: the window is sent again, and that is no further attempt."""
        if track.fate is not None:
            await self._leave(track, [_days(again.attempt)], track.fate)
            return
        attempt = again.attempt
        self._emit(
            events.Retrying(track.appid, attempt.window, attempt.failures, 0.0, again.reason)
        )
        track.again(attempt, _now())
        self._nobody_answers(again.reason)

    def _nobody_answers(self, reason: str) -> None:
        """Send one request every few seconds from now on, and say so."""
        lost_since = self._network.lost_since
        if lost_since is None:  # somebody has answered since
            return
        seconds = _now() - lost_since
        self._board.probe(PROBE_EVERY)
        self._emit(events.Unreachable(seconds, self._network.patience, reason))

    def _answered_again(self, seconds: float) -> None:
        """Somebody answers again."""
        self._board.resume()
        self._emit(events.Reachable(seconds))

    async def _book(self, track: Track) -> None:
        """Book calls of an interface's budget before they are sent."""
        budget, wall = track.budget, self._wall()
        try:
            lot, day = budget.lot(wall), budget.until
            if lot < 1:
                return
            await self._writer.reserve(
                Spent(track.appid, track.endpoint.name, quota_day(wall), lot)
            )
            budget.left(self._wall())
            if budget.until == day:  # else they were booked for a day that is over
                budget.booked = lot
        finally:
            track.booking = False

    async def _ask_quota(self, lane: Lane, track: Track) -> None:
        """Set an interface's budget to what WeChat tells; ask again if it does not.

        If it cannot be known, and calls are to be reserved for others, the interface is held back;
        without a reserve its end is learned from WeChat's refusal.
        """
        try:
            told = await self._pipeline.quota(lane, track)
        finally:
            track.asking = False
        if not isinstance(told, Verdict):
            daily, left = told
            reserve = self._options.reserve
            track.budget.told(daily - reserve, left - reserve, self._wall())
            track.untold = 0
            self._emit(events.QuotaTold(lane.appid, track.endpoint.name, daily, left))
            await self._check_budget(lane, track)
        elif self._network.lost_since is not None and not told.answered:
            track.unasked = True
            self._nobody_answers(told.message)
        else:
            await self._quota_untold(lane, track, told)

    async def _quota_untold(self, lane: Lane, track: Track, verdict: Verdict) -> None:
        """WeChat did not say what is left of the day."""
        track.untold += 1
        delay: float | None = None
        if verdict.action in (Action.RETRY, Action.RENEW_TOKEN, Action.SLOW_DOWN):
            delay = retry.delay(track.untold, self._options.attempts, answered=verdict.answered)
        reason = f"its quota could not be asked for: {explain(verdict)}"
        if delay is not None:
            if verdict.action is Action.SLOW_DOWN:
                delay, _ = self._pipeline.pause(lane)
            track.unasked = True
            track.park(self._wall() + delay)
            self._emit(events.Retrying(lane.appid, None, track.untold, delay, reason))
        elif not self._network.answered:
            raise self._pipeline.lost(verdict.message)
        elif self._options.reserve and self._options.daily_quota is None:
            reason = f"{reason}; the reserve of {self._options.reserve:,} calls is kept"
            fate = Fate(self._wall() + PROBE_QUOTA, reason)
            lane.why, track.untold = reason, 0
            if self._options.wait:
                track.unasked = True
                track.park(self._wall() + PROBE_QUOTA)
                self._emit_pause(track, self._wall() + PROBE_QUOTA, reason)
            else:
                await self._leave(track, track.end(fate), fate)

    async def _check_budget(self, lane: Lane, track: Track) -> None:
        """At the day's budget an interface waits for midnight in China."""
        wall = self._wall()
        if track.fate is not None or not track.has_work or not track.at_its_budget(wall):
            return
        reason = "the calls of this interface that today's quota allows are used up"
        lane.why = reason
        fate = Fate(next_quota_day(wall), reason)
        begins = next_quota_day(wall)
        if self._options.wait or begins - wall <= QUOTA_MARGIN:
            if track.park(begins):
                self._emit_pause(track, begins, reason)
        else:
            await self._leave(track, track.end(fate), fate)

    async def _again(self, lane: Lane, track: Track, again: Again) -> None:
        if track.fate is not None:  # the interface has come to its end in the meantime
            await self._leave(track, [_days(again.attempt)], track.fate)
            return
        lane.why = again.reason
        attempt = again.attempt
        if again.dropped:
            self._emit(events.TokenRefused(lane.appid, again.reason))
        if again.paused:
            self._emit(events.Paused(lane.appid, again.delay, again.reason))
            self._emit(events.Slowed(lane.appid, lane.limiter.speed))
        self._emit(
            events.Retrying(lane.appid, attempt.window, attempt.failures, again.delay, again.reason)
        )
        track.again(attempt, _now() + again.delay)

    async def _later(self, lane: Lane, track: Track, later: Later) -> None:
        lane.why = later.reason
        if later.whole_endpoint and track.fate is None:
            if await self._asked_again_soon(track, later):
                return
            await self._remember_quota(track, later.until)
        fate = track.fate or Fate(later.until, later.reason)
        if self._options.wait and track.fate is None and later.attempt.deferrals <= DEFERRALS:
            self._sleep(lane, track, later)
            return
        await self._leave(track, [_days(later.attempt)], fate)
        if later.whole_endpoint:
            await self._leave(track, track.end(fate), fate)

    async def _asked_again_soon(self, track: Track, later: Later) -> bool:
        """Whether a refusal for the quota is tried again with one call in some minutes.

        In the first hour after midnight it may have been meant for the day before.  What was in
        flight beside it waits with it.
        """
        wall = self._wall()
        if track.parked_until > wall:
            track.again(later.attempt, _now())
            return True
        if track.early or not is_first_hour(wall):
            return False
        track.early, track.proven = True, False
        if track.park(wall + EARLY_AGAIN):
            self._emit_pause(track, wall + EARLY_AGAIN, later.reason)
        track.again(later.attempt, _now())
        return True

    async def _remember_quota(self, track: Track, until: float) -> None:
        """Remember until when a quota is spent; 0: it is not."""
        track.exhausted = until > 0
        track.proven = not track.exhausted
        if self._writer.ledger is not None:
            said = Exhausted(track.appid, track.endpoint.name, until, self._wall())
            await self._writer.ledger.note_exhausted(said)

    def _sleep(self, lane: Lane, track: Track, later: Later) -> None:
        """Wait within this run: the whole interface, or one window."""
        attempt, delay = later.attempt, later.until - self._wall()
        if later.whole_endpoint:
            if track.park(later.until):
                self._emit_pause(track, later.until, later.reason)
            track.early = False
            track.again(attempt, _now())
            return
        self._emit(
            events.Retrying(lane.appid, attempt.window, attempt.deferrals, delay, later.reason)
        )
        track.again(attempt, _now() + delay)

    async def _leave(self, track: Track, rest: Iterable[Days], fate: Fate) -> None:
        """Give up windows of this run: they failed, or wait for a later one."""
        name = track.endpoint.name
        for begin, end, count in runs(rest):
            if fate.until is None:
                self._emit(
                    events.Failed(
                        track.appid, name, begin, end, count, fate.reason, fate.code, fate.rid
                    )
                )
                state, due = "failed", 0.0
            else:
                self._emit(
                    events.Deferred(track.appid, name, begin, end, count, fate.until, fate.reason)
                )
                state, due = "waiting", fate.until
            window = Window(track.appid, name, begin, end)
            told = Outcome(window, state, due=due, detail=fate.reason, code=fate.code, rid=fate.rid)
            await self._writer.put(told)

    # tokens and accounts

    async def _renew(self, lane: Lane) -> None:
        sent_at = _now()
        try:
            news = await lane.token.refresh()
        except TokenRefusedError as exc:
            if exc.verdict.answered:
                self._network.answer(_now())
            elif self._is_lost(lane, exc.verdict, sent_at):
                return
            await self._token_refused(lane, exc.verdict)
        else:
            self._network.answer(_now())
            lane.token_failures = 0
            if news:
                self._emit(events.TokenFetched(lane.appid, lane.token.lifetime))
        finally:
            lane.renewing = False

    def _is_lost(self, lane: Lane, verdict: Verdict, sent_at: float) -> bool:
        """Whether no token came because nobody answers; raises `NetworkError` after too long."""
        silence = self._network.silence(lane.appid, sent_at, _now(), connected=verdict.connected)
        if silence is Silence.LOST:
            raise self._pipeline.lost(verdict.message)
        if silence is Silence.WAIT:
            lane.token_at = _now()
            self._nobody_answers(verdict.message)
        return silence is Silence.WAIT

    async def _token_refused(self, lane: Lane, verdict: Verdict) -> None:
        reason = f"no access token: {explain(verdict)}"
        lane.why = reason
        match verdict.action:
            case Action.QUOTA:
                await self._no_token_today(lane, reason)
            case Action.RETRY | Action.SLOW_DOWN:
                lane.token_failures += 1
                delay = retry.delay(
                    lane.token_failures, self._options.attempts, answered=verdict.answered
                )
                if delay is None:
                    raise self._no_token(lane, verdict)
                if verdict.action is Action.SLOW_DOWN:
                    delay, _ = self._pipeline.pause(lane)
                lane.token_at = _now() + delay
                self._emit(events.Retrying(lane.appid, None, lane.token_failures, delay, reason))
            case Action.NOT_READY:  # where it comes from says itself when it is enough
                lane.token_failures += 1
                delay = min(60.0, 5.0 * lane.token_failures)
                lane.token_at = _now() + delay
                self._emit(events.Retrying(lane.appid, None, lane.token_failures, delay, reason))
            case _:
                raise AccountError(f"{lane.appid}: {reason}").told(verdict.code, verdict.rid)

    def _no_token(self, lane: Lane, verdict: Verdict) -> AccountError | NetworkError:
        if not verdict.answered and not self._network.answered:
            return self._pipeline.lost(verdict.message)
        return AccountError(
            f"{lane.appid}: no access token after {lane.token_failures} attempts:"
            f" {explain(verdict)}"
        ).told(verdict.code, verdict.rid)

    async def _no_token_today(self, lane: Lane, reason: str) -> None:
        fate = Fate(next_quota_day(self._wall()), reason)
        assert fate.until is not None
        for track in lane.tracks:
            if self._options.wait:
                track.park(fate.until)
            else:
                await self._leave(track, track.end(fate), fate)
        if self._options.wait:
            self._emit(events.Paused(lane.appid, fate.until - self._wall(), reason))

    async def _stop_account(self, lane: Lane, fate: Fate) -> None:
        if not lane.stopped:  # several answers in flight can say the same
            lane.stopped = True
            self._emit(events.AccountStopped(lane.appid, fate.reason, fate.code, fate.rid))
        for track in lane.tracks:
            await self._leave(track, track.end(fate), fate)

    # the writer and the watchers

    async def _commit(self, scope: anyio.CancelScope) -> None:
        """Commit until the workers have ended; then the watchers are not needed any more."""
        await self._writer.run()
        scope.cancel()

    def _spent(self) -> list[Spent]:
        """The calls since the last commit."""
        day, tracks = self._today(), self._unbooked
        spent = [
            Spent(track.appid, track.endpoint.name, day, track.unbooked)
            for track in tracks
            if track.unbooked
        ]
        for track in tracks:
            track.unbooked = 0
        tracks.clear()
        return spent

    def _unused(self) -> list[Spent]:
        """The calls that were booked and not sent, given back."""
        day, wall, found = self._today(), self._wall(), []
        for lane in self._lanes:
            for track in lane.tracks:
                budget = track.budget
                budget.left(wall)
                if 0 < budget.booked < math.inf:
                    calls = -int(budget.booked)
                    found.append(Spent(track.appid, track.endpoint.name, day, calls))
                    budget.booked = 0
        return found

    def _today(self) -> date:
        """The day in China whose quota is used."""
        return quota_day(self._wall())

    async def _await_stop(self, stop: StopSignal) -> None:
        await outside(stop.wait())
        self._stopping = True
        self._emit(events.Stopping(sum(lane.in_flight for lane in self._lanes)))
        self._board.stop()

    async def _watch(self) -> None:
        """Say what is waited for when nothing gets done, less and less often."""
        since, silent = self._progressed, STALLED_AFTER
        while True:
            if self._progressed != since:
                since, silent = self._progressed, STALLED_AFTER
            now, wall = _now(), self._wall()
            if (left := since + silent - now) > 0:
                await anyio.sleep(min(left, LOOKED_AFTER))
                continue
            silent = min(2 * silent, silent + STALLED_AT_MOST)
            waiting = [lane for lane in self._lanes if not lane.finished]
            reasons = [lane.reason(now, wall) for lane in waiting[:3]]
            if sink := self._writer.writing:
                reasons.insert(0, f"{sink} has not stored what it was given")
            self._emit(events.Stalled(now - since, tuple(reasons)))


async def _guarded(part: Coroutine[None, None, None]) -> None:
    """A part of the run; it ends silently only if the run is cancelled."""
    try:
        await outside(part)
    except ForeignCancellationError as exc:
        raise RunError(f"code that the run called failed: {exc}") from None


def _fate(exc: HarvestError) -> Fate:
    """What becomes of windows that failed for this."""
    return Fate(None, str(exc), exc.code, exc.rid)


def _days(attempt: Try) -> Days:
    return attempt.window.begin, attempt.window.end


def _now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """Unwrap what a task group raises: the first error of ours, else the first of all."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        ours = [exc for exc in leaves if isinstance(exc, HarvestError)]
        raise (ours or leaves)[0] from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
