"""The workers: each does one job after the other, and acts on the result.

Rule: starts no task; the engine starts the workers and ends them.

A job is a window, a token, or a quota request.  `harvester.policy` decides what follows from an
answer; this module does it: retry, defer to a later run, or fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import anyio

from harvester import events
from harvester.account import AccountQueue, Job
from harvester.auth import TokenRefusedError
from harvester.coverage import Outcome
from harvester.errors import (
    AccountError,
    EndpointError,
    HarvestError,
    NetworkError,
    RunError,
    WindowError,
)
from harvester.ledger.base import Exhausted, Spent
from harvester.model import Action, Verdict, Window, without_rid
from harvester.network import Network
from harvester.options import Options
from harvester.pipeline import (
    DEFERRALS,
    Defer,
    NextPage,
    Pipeline,
    Retry,
    TooLong,
    explain,
)
from harvester.plan import (
    QUOTA_MARGIN,
    Days,
    china,
    next_quota_day,
    quota_day,
    runs,
    settles_at,
)
from harvester.planner import Plan
from harvester.policy import NOT_READY_AGAIN, Asked, Step, decide
from harvester.queues import (
    LOST,
    QUOTA_AGAIN,
    Attempt,
    Harvested,
    InterfaceQueue,
    StopReason,
)
from harvester.scheduler import Scheduler
from harvester.writer import Writer

RENEWED = 1.0
"""Seconds after which a worker whose lease has ended checks again."""


class Worker:
    """The state that the workers of a run share; each of them runs `work`.

    emit: receives events.  wall: the wall clock, as `time.time`.
    fatal: the error that ended the run, if any; progressed: the loop's time at which the last
    window was harvested.
    """

    def __init__(
        self,
        options: Options,
        pipeline: Pipeline,
        writer: Writer,
        emit: events.Observer,
        wall: Callable[[], float],
    ) -> None:
        self._options = options
        self._pipeline = pipeline
        self._network: Network = pipeline.network
        self._writer = writer
        self._emit = emit
        self._wall = wall
        self.scheduler = Scheduler([], wall)
        self._unbooked: dict[InterfaceQueue, None] = {}  # so that a commit checks few queues
        self.fatal: RunError | None = None
        self.progressed = 0.0

    def __repr__(self) -> str:
        return f"<Worker {self.scheduler!r}, {self._writer.channel!r}>"

    async def prepare(self, plan: Plan) -> None:
        """Report windows that cannot be requested yet; nothing is sent."""
        for queue, attempt in plan.unsettled:
            await self._unsettled(queue, attempt)
        for queue, said in plan.exhausted:
            await self._exhausted_before(queue, said)
        for account in plan.accounts:
            for queue in account.queues:
                await self._check_budget(account, queue)

    def serve(self, scheduler: Scheduler) -> None:
        """Take jobs from this scheduler from now on."""
        self.scheduler = scheduler

    def stop(self) -> None:
        """Take no more jobs."""
        self.scheduler.stop()
        self._network.stop()

    async def work(self) -> None:
        """Do jobs until there are none."""
        scheduler, loop = self.scheduler, asyncio.get_running_loop()
        sharing = self._writer.sharing
        while (job := await scheduler.take()) is not None:
            if sharing is not None and not sharing.may_send():
                self._put_back(job)
                scheduler.settled(job.account, 0.0)
                with anyio.move_on_after(RENEWED):
                    await sharing.renewal()
                continue
            began = loop.time()
            account, queue, attempt = job
            try:
                if queue is not None and attempt is not None:  # the usual case, on a short path
                    self._unbooked[queue] = None
                    self._writer.sent.set()
                    await self._try(account, queue, attempt)
                else:
                    await self._do(job)
            except AccountError as exc:
                reason = _stop_reason(exc)
                if not (sharing and exc.local and sharing.give_back(job.account, reason)):
                    await self.stop_account(job.account, reason)
            except NetworkError as exc:
                self.fatal = exc
                self.stop()
            scheduler.settled(job.account, loop.time() - began)

    def _put_back(self, job: Job) -> None:
        """The lease has ended, so another worker may have the account: send nothing."""
        account, queue, attempt = job
        if queue is None:
            account.renewal.running = False
        elif attempt is not None:
            queue.put_back(attempt, _now())
        else:
            queue.quota.asking, queue.quota.unasked = False, True

    async def _do(self, job: Job) -> None:
        """A job that is not a window."""
        account, queue, _ = job
        if queue is None:
            await self._renew(account)
            return
        await self._ask_quota(account, queue)

    # before the first request

    async def _unsettled(self, queue: InterfaceQueue, attempt: Attempt) -> None:
        """A window whose figures cannot be requested yet."""
        wall = self._wall()
        until = settles_at(attempt.window.end, queue.endpoint.settled_hour)
        if self._options.wait:
            queue.again(attempt, _now() + until - wall)
        else:
            reason = StopReason(until, "its figures are not settled yet")
            await self._leave(queue, [attempt.days], reason)

    async def _exhausted_before(self, queue: InterfaceQueue, said: Exhausted) -> None:
        """The quota of an interface was used up before this run."""
        queue.refused(_now())
        if not queue.windows or not 0 <= self._wall() - said.asked < QUOTA_AGAIN:
            return
        reason = f"WeChat said at {china(said.asked):%H:%M} in China that its quota is used up"
        if self._options.wait:
            self._pause(queue, said.asked + QUOTA_AGAIN, reason)
        else:
            await self._stop_queue(queue, StopReason(said.until, reason))

    def _pause(self, queue: InterfaceQueue, until: float, reason: str) -> None:
        """Pause an interface until a Unix time."""
        if queue.park(until):
            seconds = until - self._wall()
            self._emit(events.Paused(queue.appid, seconds, reason, queue.endpoint.name))

    async def _stop_queue(self, queue: InterfaceQueue, reason: StopReason) -> None:
        """Request no more windows of an interface in this run."""
        await self._leave(queue, queue.stop(reason), reason)

    # windows

    async def _try(self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt) -> None:
        """Make one attempt at one window, and act on the result."""
        if queue.windows.split:
            self._report_split(queue)
        try:
            result = await self._pipeline.run(account, queue, attempt)
            if not isinstance(result, Harvested):
                await self._otherwise(account, queue, result)
            elif not self._handed_over(result):
                await self._harvested(account, queue, attempt, result)
        except WindowError as exc:
            account.why = str(exc)
            await self._leave(queue, [attempt.days], _stop_reason(exc))
        except EndpointError as exc:
            await self._stop_interface(account, queue, attempt, exc)
        except AccountError as exc:
            await self._leave(queue, [attempt.days], _stop_reason(exc))
            raise
        finally:
            queue.settled()
        if queue.quota.trying:
            await self._tried(account, queue)
        if queue.budget.limited:
            await self._check_budget(account, queue)

    async def _stop_interface(
        self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt, exc: EndpointError
    ) -> None:
        """Stop an interface; and the account, if it may use none of its interfaces."""
        reason = _stop_reason(exc)
        queue.forbidden = exc.forbidden
        await self._leave(queue, [attempt.days], reason)
        await self._stop_queue(queue, reason)
        if all(each.forbidden for each in account.queues):
            whole = reason._replace(reason=f"{account.appid}: {exc}")
            await self.stop_account(account, whole)

    async def _otherwise(
        self,
        account: AccountQueue,
        queue: InterfaceQueue,
        result: Retry | Defer | NextPage | TooLong,
    ) -> None:
        if queue.stopped is not None:  # in the meantime
            await self._leave(queue, [result.attempt.days], queue.stopped)
            return
        match result:
            case Retry():
                self._again(account, queue, result)
            case NextPage():
                queue.again(result.attempt, _now())
            case TooLong():
                self._in_days(queue, result.attempt)
            case Defer(whole_endpoint=True):
                await self._quota_refused(account, queue, result)
            case Defer():
                await self._later(account, queue, result)

    def _handed_over(self, harvested: Harvested) -> bool:
        """Pass a window without events to the writer, if the channel has space: the usual case."""
        if harvested.out_of_range or harvested.batch.late or not self._writer.offer(harvested):
            return False
        self.progressed = self._network.last_answer
        return True

    async def _harvested(
        self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt, harvested: Harvested
    ) -> None:
        self.progressed = self._network.last_answer
        if harvested.out_of_range:
            self._emit(events.Foreign(attempt.window, harvested.out_of_range))
        await self._writer.harvested(harvested)
        if harvested.batch.late:
            await self._late(account, queue, attempt, harvested)

    async def _late(
        self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt, harvested: Harvested
    ) -> None:
        """WeChat says that the figures are late: store them, and request them again."""
        again = Attempt(
            attempt.window,
            deferrals=attempt.deferrals + 1,
            replaces=True,
            former=harvested.former,
        )
        account.why = harvested.outcome.detail
        if self._options.wait and queue.stopped is None and again.deferrals <= DEFERRALS:
            self._try_again(queue, again, NOT_READY_AGAIN, account.why, again.deferrals)
            return
        begin, end = attempt.days
        until = self._wall() + NOT_READY_AGAIN
        self._emit(
            events.Deferred(queue.appid, queue.endpoint.name, begin, end, 1, until, account.why)
        )

    def _try_again(
        self, queue: InterfaceQueue, attempt: Attempt, delay: float, reason: str, number: int
    ) -> None:
        self._emit(events.Retrying(queue.appid, attempt.window, number, delay, reason))
        queue.again(attempt, _now() + delay)

    def _in_days(self, queue: InterfaceQueue, attempt: Attempt) -> None:
        """The interface takes no window of so many days from this account now."""
        queue.windows.single_days(attempt, _now())
        self._report_split(queue)

    def _report_split(self, queue: InterfaceQueue) -> None:
        if split := queue.windows.take_split():
            self._emit(events.Split(queue.appid, queue.endpoint.name, 1, split))

    def _again(self, account: AccountQueue, queue: InterfaceQueue, retry: Retry) -> None:
        account.why = retry.reason
        if retry.dropped:
            self._emit(events.TokenRefused(account.appid, retry.reason))
        if retry.paused:
            self._emit(events.Paused(account.appid, retry.delay, retry.reason))
            self._emit(events.Slowed(account.appid, account.limiter.speed))
        self._try_again(queue, retry.attempt, retry.delay, retry.reason, retry.attempt.failures)

    async def _later(self, account: AccountQueue, queue: InterfaceQueue, later: Defer) -> None:
        """A window whose figures are not ready."""
        account.why = later.reason
        attempt = later.attempt
        if self._options.wait and attempt.deferrals <= DEFERRALS:
            delay = later.until - self._wall()
            self._try_again(queue, attempt, delay, later.reason, attempt.deferrals)
        else:
            await self._leave(queue, [attempt.days], StopReason(later.until, later.reason))

    # a used-up quota: one call an hour, until one is answered

    async def _quota_refused(
        self, account: AccountQueue, queue: InterfaceQueue, later: Defer
    ) -> None:
        account.why = later.reason
        news = queue.refused(_now())
        queue.again(later.attempt, _now())
        await self._note_quota(queue, later.until)
        if not self._options.wait:
            await self._stop_queue(queue, StopReason(later.until, later.reason))
        elif news:
            self._pause(queue, self._wall() + QUOTA_AGAIN, later.reason)

    async def _tried(self, account: AccountQueue, queue: InterfaceQueue) -> None:
        """The one call of this hour was not refused: it was answered, or that is unknown."""
        if queue.proven:
            queue.answered_again()
            await self._note_quota(queue, 0.0)
            return
        queue.quota.trying = False
        if queue.stopped is not None:
            return
        wall = self._wall()
        await self._note_quota(queue, next_quota_day(wall))
        why = f"its quota was used up, and it is unknown whether it is: {account.why}"
        if self._options.wait:
            self._pause(queue, wall + QUOTA_AGAIN, why)
        else:
            await self._stop_queue(queue, StopReason(wall + QUOTA_AGAIN, why))

    async def _note_quota(self, queue: InterfaceQueue, until: float) -> None:
        """Remember until when a quota is probably used up; 0: it is not."""
        if self._writer.ledger is not None:
            said = Exhausted(queue.appid, queue.endpoint.name, until, self._wall())
            await self._writer.ledger.note_exhausted(said)

    async def _leave(self, queue: InterfaceQueue, rest: Iterable[Days], reason: StopReason) -> None:
        """End windows for this run: they failed, or wait for a later one."""
        if queue.stopped is LOST:
            return
        name = queue.endpoint.name
        until, why, code, rid = reason
        for begin, end, count in runs(rest):
            if until is None:
                self._emit(events.Failed(queue.appid, name, begin, end, count, why, code, rid))
            else:
                self._emit(events.Deferred(queue.appid, name, begin, end, count, until, why))
            state = "failed" if until is None else "waiting"
            window = Window(queue.appid, name, begin, end)
            await self._writer.put(
                Outcome(window, state, due=until or 0.0, detail=why, code=code, rid=rid),
                queue.epoch,
            )

    # quotas

    async def _ask_quota(self, account: AccountQueue, queue: InterfaceQueue) -> None:
        """Set an interface's budget to WeChat's number; if that stays unknown, say so."""
        quota = queue.quota
        try:
            told = await self._pipeline.quota(account, queue)
        finally:
            quota.asking = False
        if not isinstance(told, Verdict):
            daily, left, calls, seconds = told
            queue.budget.told(daily, left, self._wall())
            self._emit(
                events.QuotaTold(account.appid, queue.endpoint.name, daily, left, calls, seconds)
            )
            await self._check_budget(account, queue)
        elif told.action is Action.RENEW_TOKEN:
            quota.unasked = True
        else:
            text = f"WeChat did not say how many calls of {queue.endpoint.name} are left"
            self._emit(events.Noticed(f"{text}: {without_rid(explain(told))}"))

    async def _check_budget(self, account: AccountQueue, queue: InterfaceQueue) -> None:
        """The day's budget is used up: the interface waits for midnight in China."""
        wall = self._wall()
        if queue.stopped is not None or not queue.windows or not queue.budget.is_used_up(wall):
            return
        begins = next_quota_day(wall)
        account.why = "the calls of this interface that today's quota allows are used up"
        if self._options.wait or begins - wall <= QUOTA_MARGIN:
            self._pause(queue, begins, account.why)
        else:
            await self._stop_queue(queue, StopReason(begins, account.why))

    def spent(self) -> list[Spent]:
        """The calls since the last commit."""
        day, queues = quota_day(self._wall()), self._unbooked
        spent = [
            Spent(queue.appid, queue.endpoint.name, day, calls)
            for queue in queues
            if (calls := queue.budget.take_unbooked())
        ]
        self._unbooked = {queue: None for queue in queues if queue.in_flight}
        return spent

    # tokens and accounts

    async def _renew(self, account: AccountQueue) -> None:
        sent_at = _now()
        try:
            news = await account.token.refresh()
        except TokenRefusedError as exc:
            verdict = exc.verdict
            if verdict.answered or await self._network.counts(sent_at, verdict.message):
                await self._token_refused(account, verdict)
        else:
            account.renewal.succeeded()
            if news:
                self._emit(events.TokenFetched(account.appid, account.token.lifetime))
        finally:
            account.renewal.running = False

    async def _token_refused(self, account: AccountQueue, verdict: Verdict) -> None:
        wall, attempts = self._wall(), self._options.attempts
        reason = account.why = f"no access token: {explain(verdict)}"
        failures = account.renewal.failed()
        step, _, delay = decide(
            Asked.TOKEN, verdict, failures=failures, attempts=attempts, wall=wall
        )
        if step is Step.FAIL:
            raise self._no_token(account, verdict)
        if step is Step.NEXT_DAY:
            account.renewal.succeeded()
            await self._no_token_today(account, StopReason(wall + delay, reason))
            return
        if step is Step.PAUSE:
            self._pipeline.pause(account, delay)
        account.renewal.at = _now() + delay
        self._emit(events.Retrying(account.appid, None, failures, delay, reason))

    def _no_token(self, account: AccountQueue, verdict: Verdict) -> AccountError | NetworkError:
        if not verdict.answered and not self._network.answered:
            return self._pipeline.lost(verdict.message)
        tried = verdict.action in (Action.RETRY, Action.SLOW_DOWN)
        after = f" after {account.renewal.failures} attempts" if tried else ""
        error = AccountError(f"{account.appid}: no access token{after}: {explain(verdict)}")
        error.local = True
        return error.told(verdict.code, verdict.rid)

    async def _no_token_today(self, account: AccountQueue, reason: StopReason) -> None:
        assert reason.until is not None
        for queue in account.queues:
            if self._options.wait:
                queue.park(reason.until)
            else:
                await self._stop_queue(queue, reason)
        if self._options.wait:
            seconds = reason.until - self._wall()
            self._emit(events.Paused(account.appid, seconds, reason.reason))

    async def stop_account(self, account: AccountQueue, reason: StopReason) -> None:
        """Request nothing more of an account: somebody must act first."""
        if not account.stopped:  # several answers in flight can have the same error
            account.stopped = True
            self._emit(events.AccountStopped(account.appid, reason.reason, reason.code, reason.rid))
        for queue in account.queues:
            await self._stop_queue(queue, reason)


def _stop_reason(exc: HarvestError) -> StopReason:
    """Why windows failed."""
    return StopReason(None, str(exc), exc.code, exc.rid)


def _now() -> float:
    return asyncio.get_running_loop().time()
