"""The workers: each does one item after the other, and acts on the result.

Rule: starts no task; the engine starts the workers and ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import anyio

from harvester import events
from harvester.base.dates import (
    QUOTA_MARGIN,
    Days,
    china,
    next_quota_day,
    quota_day,
    rfc3339_exact,
    runs,
    settles_at,
)
from harvester.engine.account_queue import AccountQueue
from harvester.engine.attempt import DEFERRALS, Pipeline, explain
from harvester.engine.network import Network
from harvester.engine.options import Options
from harvester.engine.planner import Plan
from harvester.engine.policy import NOT_READY_AGAIN, TOKEN, Decision, Tried, decide, kind_of
from harvester.engine.scheduler import Scheduler
from harvester.engine.window_queue import (
    LOST,
    QUOTA_AGAIN,
    Attempt,
    InterfaceQueue,
    StopReason,
)
from harvester.engine.writer import Writer
from harvester.errors import AccountError, NetworkError, RunError
from harvester.events import Code, Level
from harvester.ledger.base import Exhausted, Spent
from harvester.ledger.coverage import OpenWindow, Outcome, stored_as
from harvester.model import Action, Verdict, Window, duration, without_rid
from harvester.texts import say
from harvester.tokens.shared import TokenRefusedError, TokenVoidedError
from harvester.wechat.codes import BLOCKED
from harvester.wechat.late import waits_until

RENEWED = 1.0
"""Seconds after which a worker whose lease has expired checks again."""


_AS_TEXT = say("numbers that a float cannot represent (NaN, Infinity, 1e400) are kept as text")


class Worker:
    """The state that the workers of a run share; each of them runs `work`.

    fatal: the error that ended the run, if any; progressed: the loop's time at which the last
    window was harvested.
    began: when the first of the workers of this job began that share the ledger now
    (`Outcome.fetched_at`); empty without others: what the ledger had is of former runs then.
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
        self.began = ""

    def __repr__(self) -> str:
        return f"<Worker {self.scheduler!r}, {self._writer.channel!r}>"

    async def prepare(self, plan: Plan) -> None:
        """Report windows that cannot be requested yet; nothing is sent."""
        for queue, attempt in plan.unsettled:
            await self._unsettled(queue, attempt)
        for queue, window in plan.held:
            self._held(queue, window)
        for queue, quota in plan.exhausted:
            await self._exhausted_before(queue, quota)
        for account in plan.accounts:
            for queue in account.queues:
                await self._check_budget(account, queue)

    def serve(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    def stop(self) -> None:
        self.scheduler.stop()
        self._network.stop()

    async def work(self) -> None:
        scheduler, loop = self.scheduler, asyncio.get_running_loop()
        sharing = self._writer.sharing
        while (item := await scheduler.take()) is not None:
            if sharing is not None and not sharing.may_send():
                item.account.put_back(item, loop.time())  # another worker may have the account
                scheduler.settled(item.account, 0.0)
                with anyio.move_on_after(RENEWED):
                    await sharing.renewal()
                continue
            began = loop.time()
            account, queue, attempt = item
            try:
                if queue is None:
                    await self._renew(account)
                elif attempt is None:
                    await self._ask_quota(account, queue)
                else:
                    self._unbooked[queue] = None
                    self._writer.sent.set()
                    await self._try(account, queue, attempt)
            except NetworkError as exc:
                self.fatal = exc
                self.stop()
            scheduler.settled(item.account, loop.time() - began)

    async def _unsettled(self, queue: InterfaceQueue, attempt: Attempt) -> None:
        wall = self._wall()
        until = settles_at(attempt.window.end, queue.endpoint.settled_hour)
        if self._options.wait:
            queue.again(attempt, _now() + until - wall)
        else:
            reason = StopReason(until, say("its figures are not ready yet"), kind="late")
            await self._leave(queue, [attempt.days], reason)

    async def _exhausted_before(self, queue: InterfaceQueue, quota: Exhausted) -> None:
        queue.refused(_now())
        if not queue.windows or not 0 <= self._wall() - quota.asked < QUOTA_AGAIN:
            return
        reason = say(
            "WeChat reported at {:%H:%M} (China time) that the quota is used up", china(quota.asked)
        )
        if self._options.wait:
            self._pause(queue, quota.asked + QUOTA_AGAIN, reason)
        else:
            await self._stop_queue(queue, StopReason(quota.until, reason, kind="quota"))

    def _held(self, queue: InterfaceQueue, window: OpenWindow) -> None:
        """A stored window that lacks something, and is requested again later."""
        if not queue.silent and self._wall() < waits_until(queue.endpoint, window.end):
            self._defer(queue, window, window.days)
        else:
            self._emit(events.late(Window(queue.appid, queue.endpoint.name, *window.days)))

    def _pause(self, queue: InterfaceQueue, until: float, reason: str) -> None:
        """Pause an interface until a Unix time."""
        if queue.park(until):
            seconds = until - self._wall()
            self._emit(events.Paused(queue.appid, seconds, reason, queue.endpoint.name))

    async def _stop_queue(self, queue: InterfaceQueue, reason: StopReason) -> None:
        await self._leave(queue, queue.stop(reason), reason)

    def _notice(
        self,
        code: Code,
        account: AccountQueue,
        text: str,
        queue: InterfaceQueue | None = None,
        calls: tuple[int, int] | None = None,
    ) -> None:
        name = queue.endpoint.name if queue is not None else ""
        who = f"{account.appid} {name}" if name else account.appid
        self._emit(
            events.Notice(Level.INFO, code, account.appid, name, say("{}: {}", who, text), calls)
        )

    async def _try(self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt) -> None:
        if queue.windows.split:
            self._report_split(queue)
        decision = await self._pipeline.run(account, queue, attempt)
        if not self._handed_over(decision):
            await self._carry_out(account, queue, decision)
        if queue.as_text:
            self._writer.report_drift([say("{}: {}", queue.endpoint.name, _AS_TEXT)])
        queue.settled()
        if queue.trying:
            await self._tried(account, queue)
        if queue.budget.limited:
            await self._check_budget(account, queue)

    async def _carry_out(
        self, account: AccountQueue, queue: InterfaceQueue, decision: Decision
    ) -> None:
        attempt = decision.attempt
        failed = _reason(decision, None)
        match decision.action:
            case Action.DONE:
                await self._harvested(account, queue, decision)
            case Action.FAIL_WINDOW:
                account.why = decision.reason
                await self._leave(queue, [attempt.days], failed)
            case Action.NO_PERMISSION | Action.STOP_ENDPOINT:
                await self._leave(queue, [attempt.days], failed)
                forbidden = decision.action is Action.NO_PERMISSION
                await self._stop_interface(account, queue, failed, forbidden=forbidden)
            case Action.STOP_ACCOUNT:
                await self._leave(queue, [attempt.days], failed)
                await self.stop_account(account, failed)
            case _ if queue.stopped is not None:  # in the meantime
                await self._leave(queue, [attempt.days], queue.stopped)
            case Action.RETRY | Action.SLOW_DOWN | Action.RENEW_TOKEN:
                self._again(account, queue, decision)
            case Action.SPLIT:
                queue.windows.single_days(attempt, _now())
                self._report_split(queue)
            case Action.QUOTA:
                await self._quota_refused(account, queue, decision)
            case Action.NOT_READY:
                await self._not_ready(account, queue, decision)

    async def leave_retries(self, accounts: Iterable[AccountQueue], until: float) -> None:
        """Let the accounts that are tried again in vain wait until a Unix time."""
        for account in accounts:
            for queue in account.queues if account.why else ():
                if queue.stopped is None:
                    await self._stop_queue(queue, StopReason(until, account.why, kind="retry"))

    async def _stop_interface(
        self, account: AccountQueue, queue: InterfaceQueue, reason: StopReason, *, forbidden: bool
    ) -> None:
        """Stop an interface; and the account, if it may use none of its interfaces."""
        await self._leave(queue, queue.stop(reason, forbidden=forbidden), reason)
        if all(each.forbidden for each in account.queues):
            whole = reason._replace(reason=say("{}: {}", account.appid, reason.reason))
            await self.stop_account(account, whole)

    def _handed_over(self, decision: Decision) -> bool:
        """Pass a window to the writer, if the channel has space: the usual case."""
        harvested = decision.harvested
        if harvested is None or harvested.waits or not self._writer.offer(harvested):
            return False
        self.progressed = self._network.last_answer
        return True

    async def _harvested(
        self, account: AccountQueue, queue: InterfaceQueue, decision: Decision
    ) -> None:
        harvested, attempt = decision.harvested, decision.attempt
        assert harvested is not None, "an attempt that is done has its window"
        self.progressed = self._network.last_answer
        await self._writer.harvested(harvested)
        late = [part for part in harvested.parts if part.batch.late]
        if not late:
            return
        # The figures are late: what there is of them is stored, and requested again.
        account.why = late[0].outcome.detail
        deferrals = attempt.deferrals + 1
        if self._options.wait and queue.stopped is None and deferrals <= DEFERRALS:
            if others := len(late) - 1:
                self._emit(events.Split(queue.appid, queue.endpoint.name, others))
            for part in late:
                again = Attempt(
                    part.batch.window,
                    deferrals=deferrals,
                    replaces=True,
                    again=stored_as(part.outcome),
                    fresh=harvested.former is None,
                    expected=attempt.expected,
                )
                self._try_again(
                    queue, again, NOT_READY_AGAIN, account.why, deferrals, Action.NOT_READY
                )
            return
        self._defer(queue, late[0].outcome, attempt.days)

    def _defer(self, queue: InterfaceQueue, late: Outcome | OpenWindow, days: Days) -> None:
        """A window that is stored and lacks something waits for a later run."""
        until = late.due or self._wall() + NOT_READY_AGAIN
        name = queue.endpoint.name
        self._emit(events.Deferred(queue.appid, name, *days, 1, until, late.detail))

    def _try_again(
        self,
        queue: InterfaceQueue,
        attempt: Attempt,
        delay: float,
        reason: str,
        number: int,
        action: Action,
    ) -> None:
        self._emit(events.Retrying(queue.appid, attempt.window, number, delay, reason, action))
        queue.again(attempt, _now() + delay)

    def _report_split(self, queue: InterfaceQueue) -> None:
        if split := queue.windows.take_split():
            self._emit(events.Split(queue.appid, queue.endpoint.name, split))

    def _again(self, account: AccountQueue, queue: InterfaceQueue, decision: Decision) -> None:
        attempt, delay, reason = decision.attempt, decision.delay, decision.reason
        if not reason:
            queue.again(attempt, _now())
            return
        account.why = reason
        if decision.first and decision.action is Action.RENEW_TOKEN:
            self._notice(
                Code.TOKEN_REFUSED, account, say("the access token was refused: {}", reason)
            )
        elif decision.first:
            self._emit(events.Paused(account.appid, delay, reason, action=decision.action))
            speed = say("{:.0%} of the configured rate", account.limiter.speed)
            self._notice(
                Code.SLOWED, account, say("the rate is now {}, and recovers slowly", speed)
            )
        self._try_again(queue, attempt, delay, reason, attempt.failures, decision.action)

    async def _not_ready(
        self, account: AccountQueue, queue: InterfaceQueue, decision: Decision
    ) -> None:
        attempt, delay, reason = decision.attempt, decision.delay, decision.reason
        account.why = reason
        if self._options.wait and attempt.deferrals <= DEFERRALS:
            self._try_again(queue, attempt, delay, reason, attempt.deferrals, decision.action)
        else:
            later = _reason(decision, self._wall() + delay)
            await self._leave(queue, [attempt.days], later)

    # a used-up quota: one call per hour, until one is answered

    async def _quota_refused(
        self, account: AccountQueue, queue: InterfaceQueue, decision: Decision
    ) -> None:
        account.why, until = decision.reason, self._wall() + decision.delay
        news = queue.refused(_now(), blocked=decision.code == BLOCKED)
        queue.again(decision.attempt, _now())
        await self._note_quota(queue, until)
        if not self._options.wait:
            await self._stop_queue(queue, _reason(decision, until))
        elif news:
            self._pause(queue, self._wall() + QUOTA_AGAIN, decision.reason)

    async def _tried(self, account: AccountQueue, queue: InterfaceQueue) -> None:
        """The one call of this hour was not refused: it was answered, or that is unknown."""
        if queue.tried():
            await self._note_quota(queue, 0.0)
            return
        if queue.stopped is not None:
            return
        wall = self._wall()
        await self._note_quota(queue, next_quota_day(wall))
        why = say("its quota was used up, and might still be used up: {}", account.why)
        if queue.blocked:
            why = say("it was blocked, and might still be blocked: {}", account.why)
        if self._options.wait:
            self._pause(queue, wall + QUOTA_AGAIN, why)
        else:
            kind = "blocked" if queue.blocked else "quota"
            await self._stop_queue(queue, StopReason(wall + QUOTA_AGAIN, why, kind=kind))

    async def _note_quota(self, queue: InterfaceQueue, until: float) -> None:
        """Remember until when a quota is probably used up; 0: it is not."""
        if self._writer.ledger is not None and not (until and queue.blocked):
            quota = Exhausted(queue.appid, queue.endpoint.name, until, self._wall())
            await self._writer.ledger.note_exhausted(quota)

    async def _leave(self, queue: InterfaceQueue, rest: Iterable[Days], reason: StopReason) -> None:
        """End windows for this run: they failed, or wait for a later one."""
        if queue.stopped is LOST:
            return
        name = queue.endpoint.name
        until, why, code, rid, kind = reason
        queue.leaves = queue.leaves or until is not None
        since = queue.failing.get(code)
        new = None if self._writer.ledger is None else since is None or since >= self.began > ""
        fails = rfc3339_exact(self._wall()) if since is None else since
        for begin, end, count in runs(rest):
            if until is None:
                failed = why, code, rid, new, kind
                self._emit(events.Failed(queue.appid, name, begin, end, count, *failed))
            else:
                self._emit(events.Deferred(queue.appid, name, begin, end, count, until, why))
            state = "failed" if until is None else "waiting"
            window = Window(queue.appid, name, begin, end)
            await self._writer.put(
                Outcome(
                    window,
                    state,
                    due=until or 0.0,
                    detail=why,
                    code=code,
                    rid=rid,
                    fetched_at=fails if until is None else "",
                    kind=kind,
                ),
                queue.epoch,
            )

    async def _ask_quota(self, account: AccountQueue, queue: InterfaceQueue) -> None:
        """Set an interface's budget to WeChat's number; if that stays unknown, report it."""
        try:
            found = await self._pipeline.quota(account, queue)
        except AccountError as exc:
            kind = "token" if isinstance(exc, TokenVoidedError) else "refused"
            await self.stop_account(account, StopReason(None, str(exc), kind=kind))
            return
        if not isinstance(found, Verdict):
            queue.asked(found, self._wall())
            rate = say("; WeChat allows {:,} calls in {} s", found.calls, found.seconds)
            left = say("{:,} of {:,} calls are left today", found.left, found.daily)
            said = left + (rate if found.calls else "")
            self._notice(Code.QUOTA, account, said, queue, (found.left, found.daily))
            await self._check_budget(account, queue)
        elif found.action is Action.RENEW_TOKEN:
            queue.unask()
        else:
            queue.asked(None, self._wall())
            name, why = queue.endpoint.name, without_rid(explain(found))
            text = say("WeChat did not report how many calls of {} are left: {}", name, why)
            self._emit(events.Notice(Level.WARNING, Code.QUOTA_UNKNOWN, account.appid, name, text))

    async def _check_budget(self, account: AccountQueue, queue: InterfaceQueue) -> None:
        """The day's budget is used up: the interface waits for midnight in China."""
        wall = self._wall()
        if queue.stopped is not None or not queue.windows or not queue.budget.is_used_up(wall):
            return
        begins = next_quota_day(wall)
        account.why = say("this interface has used up the calls that today's quota allows")
        if self._options.wait or begins - wall <= QUOTA_MARGIN:
            self._pause(queue, begins, account.why)
        else:
            await self._stop_queue(queue, StopReason(begins, account.why, kind="quota"))

    def spent(self) -> list[Spent]:
        day, queues = quota_day(self._wall()), self._unbooked
        spent = [
            Spent(queue.appid, queue.endpoint.name, day, calls)
            for queue in queues
            if (calls := queue.budget.take_unbooked())
        ]
        self._unbooked = {queue: None for queue in queues if queue.in_flight}
        return spent

    async def _renew(self, account: AccountQueue) -> None:
        sent_at = _now()
        try:
            news = await account.token.refresh()
        except TokenRefusedError as exc:
            verdict = exc.verdict
            if verdict.answered or await self._network.counts(sent_at, verdict.message):
                await self._token_refused(account, verdict)
        else:
            account.token_fetched()
            if news:
                lifetime = duration(account.token.lifetime)
                self._notice(
                    Code.TOKEN_FETCHED,
                    account,
                    say("got an access token that is valid for {}", lifetime),
                )
        finally:
            account.renewed()

    async def _token_refused(self, account: AccountQueue, verdict: Verdict) -> None:
        wall = self._wall()
        attempts = 1 if verdict.code in account.refused else self._pipeline.attempts
        reason = account.why = say("no access token: {}", explain(verdict))
        failures = account.token_failed()
        action, delay = decide(TOKEN, verdict, Tried(failures, attempts, wall))
        match action:
            case Action.STOP_ACCOUNT:
                await self._no_token(account, verdict, failures)
            case Action.QUOTA:
                account.token_fetched()
                await self._no_token_today(account, StopReason(wall + delay, reason, kind="quota"))
            case _:
                if action is Action.SLOW_DOWN:
                    account.pause(delay, _now())
                account.renewed(_now() + delay)
                self._emit(events.Retrying(account.appid, None, failures, delay, reason, action))

    async def _no_token(self, account: AccountQueue, verdict: Verdict, failures: int) -> None:
        """Stop an account; or leave it to others, since the reason may be this machine's own."""
        if not verdict.answered and not self._network.answered:
            raise self._pipeline.lost(verdict.message)
        tried = verdict.action in (Action.RETRY, Action.SLOW_DOWN)
        after = say(" after {} attempts", failures) if tried else ""
        why = say("no access token{}: {}", after, explain(verdict))
        why = say("{}: {}", account.appid, why)
        kind = kind_of(Action.STOP_ACCOUNT, verdict, "token")
        reason = StopReason(None, why, verdict.code, verdict.rid, kind)
        sharing = self._writer.sharing
        if sharing is None or not sharing.give_back(account, reason):
            await self.stop_account(account, reason)

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
        """Request nothing more of an account: a person must act first."""
        if not account.stopped:  # several answers in flight can have the same error
            account.stopped = True
            _, why, code, rid, kind = reason
            self._emit(events.AccountStopped(account.appid, why, code, rid, kind))
        for queue in account.queues:
            await self._stop_queue(queue, reason)


def _reason(decision: Decision, until: float | None) -> StopReason:
    return StopReason(until, decision.reason, decision.code, decision.rid, decision.kind)


def _now() -> float:
    return asyncio.get_running_loop().time()
