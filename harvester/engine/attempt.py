"""One attempt at one window: its stages, in order.

Rule: starts no task, never sleeps; returns one `Decision`, which the worker carries out.

The account's limiter has granted the request and its token is available when this begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any

from harvester.base.codec import MalformedError, own_fields
from harvester.base.dates import ONE_DAY, last_legal_day, rfc3339
from harvester.base.outside import guard_call
from harvester.base.secrets import Secret
from harvester.engine.account_queue import AccountQueue
from harvester.engine.limiter import Limiter
from harvester.engine.network import Network, unreachable
from harvester.engine.parts import Part, empty_days, parts_of
from harvester.engine.policy import NOT_READY_AGAIN, WINDOW, Decision, Tried, decide, kind_of
from harvester.engine.window_queue import Attempt, Harvested, InterfaceQueue, Page
from harvester.errors import (
    AccountError,
    AttemptError,
    EndpointError,
    NetworkError,
    WindowError,
    without_passwords,
)
from harvester.events import Answer
from harvester.ledger.coverage import Outcome
from harvester.model import (
    Action,
    Batch,
    Endpoint,
    Request,
    Response,
    Tally,
    Token,
    Verdict,
    Window,
    many,
    with_rid,
)
from harvester.texts import changed, say
from harvester.transport import Transport
from harvester.wechat.endpoint import figures_of
from harvester.wechat.late import YOUNG_DAYS, Delivery, completed, delivery, lacks
from harvester.wechat.response import Quota, code_of, quota_in, read

DEFERRALS = 12
"""How often a window that is not ready is requested again within one run."""

EQUAL_REFUSALS = 5
"""Windows of one interface that are refused in a row for the same reason before the rest of the run
requests no more of them."""

PAGES = 1000
"""The most pages of one window: an answer that always announces another one must end, too."""

CANNOT_KEEP = say(
    "the answer lacks records that an earlier answer had, and no sink can be read back to keep them"
)

REFUSALS = 3
"""Tokens that one interface may refuse in a row while others accept them."""


PROVING = frozenset({Action.DONE, Action.NOT_READY, Action.SPLIT})
"""Verdicts that show that the account may request an interface, and that its quota is not used up;
"system busy" shows neither."""


def _unanswered(exc: AttemptError) -> Verdict:
    return Verdict(Action.RETRY, str(exc), answered=exc.answered)


def _quota_in(endpoint: Endpoint, response: Response) -> Quota | Verdict:
    answer = read(response)
    if isinstance(answer, Verdict):
        return answer
    if code_of(answer) != 0:  # what it means is the same on any request
        day = endpoint.first_day
        return _judged(endpoint, response, Window("", endpoint.name, day, day))
    return quota_in(answer) or Verdict(Action.RETRY, say("the answer held no quota"))


def _stopped_by(exc: WindowError | EndpointError | AccountError) -> Action:
    if isinstance(exc, AccountError):
        return Action.STOP_ACCOUNT
    return Action.STOP_ENDPOINT if isinstance(exc, EndpointError) else Action.FAIL_WINDOW


def _token_refused(queue: InterfaceQueue, reason: str, dropped: bool) -> tuple[Action, str]:
    if queue.token_refused(dropped) < REFUSALS:
        return Action.RENEW_TOKEN, reason
    return Action.STOP_ENDPOINT, (
        say(
            "{}; this interface refused {} tokens in a row, which other interfaces accepted",
            reason,
            REFUSALS,
        )
    )


def explain(verdict: Verdict) -> str:
    """A verdict as the sentence that a report shows, WeChat's request id at its end."""
    return with_rid(without_passwords(verdict.message) or verdict.action.value, verdict.rid)


def _lacks(endpoint: Endpoint, attempt: Attempt, records: Sequence[dict[str, Any]]) -> bool:
    """Whether an answer lacks something that an earlier answer had, or may have had."""
    stored = attempt.again
    if stored is None or not stored.tally.records:
        return False
    if delivery(endpoint) is Delivery.DAILY:
        return bool(empty_days(endpoint, records, attempt.window))
    return lacks(endpoint, stored.had, records)


def _verdict(
    queue: InterfaceQueue, response: Response, window: Window, hidden: Sequence[Secret]
) -> Verdict:
    """The verdict on an answer, without the secrets that it may echo."""
    verdict = _judged(queue.endpoint, response, window)
    echoed = [one for one in hidden if one.value.encode() in response.body]
    if verdict.action is Action.DONE and not echoed:
        return verdict
    clean = response
    for one in hidden:
        clean = clean._replace(body=one.cut_from_body(clean.body))
    return verdict if clean.body == response.body else _judged(queue.endpoint, clean, window)


def _request(queue: InterfaceQueue, attempt: Attempt, token: Token) -> Request:
    endpoint, page = queue.endpoint, () if attempt.page is None else (attempt.page.number,)
    return guard_call(
        _error_of(endpoint), endpoint.request, attempt.window, token, *page,
        secret=True, returns=Request,
    )  # fmt: skip


def _quota_request(endpoint: Endpoint, token: Token) -> Request | None:
    error, ask = _error_of(endpoint), endpoint.quota_request
    return guard_call(error, ask, token, secret=True, returns=Request | None)


def _judged(endpoint: Endpoint, response: Response, window: Window) -> Verdict:
    """The verdict of an interface, whose code may be a user's, as in `_request`."""
    error, judge = _error_of(endpoint), endpoint.verdict
    return guard_call(error, judge, response, window, secret=True, returns=Verdict)


def _error_of(endpoint: Endpoint) -> Callable[[str], EndpointError]:
    return lambda why: EndpointError("the code of {} failed: {}", endpoint.name, why)


Stored = Callable[[Window], Awaitable[Sequence[dict[str, Any]] | None]]


async def _nothing_stored(window: Window) -> None:
    """Of a run whose sinks cannot be read back."""


class Pipeline:
    """Makes one attempt at one window.

    encode: whether the records are encoded here, so that a record that cannot be encoded causes a
    retry.
    pack: whether they are kept as lines afterwards.
    stored: the records of a window in the sinks; None if none of them can be read back.
    answers: where each request is noted; None: the run has no observer.
    last: whether each attempt is the last one from now on.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        attempts: int,
        encode: bool,
        pack: bool = False,
        wall: Callable[[], float],
        network: Network | None = None,
        stored: Stored | None = None,
        answers: list[Answer] | None = None,
    ) -> None:
        self._stored = stored or _nothing_stored
        self._transport = transport
        self.network = network or Network(transport.send)
        self._attempts, self.last = attempts, False
        self._encode = encode
        self._pack = pack
        self._wall = wall
        self._answers = answers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._second = 0
        self._stamp = ""
        self._figures: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {}
        self._young = date.min

    @property
    def attempts(self) -> int:
        return 1 if self.last else self._attempts

    async def run(self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt) -> Decision:
        """One attempt; raises `NetworkError`."""
        # A window is taken only if there is a token.  The token is a `Secret`: errors raised here
        # leave the library, and tracebacks can show the local variables of frames.
        token, fetched = account.token.current, account.token.fetched
        assert token is not None, "no window is given out without a token"
        try:
            sent_at, size = self._time(), 0
            request = _request(queue, attempt, token)
            response = await self._transport.send(request, account.limiter.taken())
            answered_at = self._time()
            verdict = _verdict(queue, response, attempt.window, (token, *account.token.secrets))
            size = len(response.body)
            self._note(queue, verdict, answered_at - sent_at)
        except AttemptError as exc:
            answered_at, verdict = self._time(), _unanswered(exc)
            if exc.connected:
                self._note(queue, verdict, answered_at - sent_at)
            else:  # it was not sent
                queue.unsent()
            if not exc.answered and not await self.network.counts(sent_at, verdict.message):
                return Decision(Action.RETRY, attempt)
        except (WindowError, EndpointError, AccountError) as exc:  # by a user's Endpoint
            return Decision(_stopped_by(exc), attempt, reason=str(exc), kind="refused")
        if verdict.answered:
            self.network.answer(answered_at)
            if not queue.proven and verdict.action in PROVING and verdict.then is None:
                queue.prove(sent_at)
                account.answered()
        if verdict.action is Action.DONE:
            account.token.accept(token.value)
            queue.accepted(as_text=verdict.as_text)
            verdict = self._with_figures(queue.endpoint, verdict)
            try:
                new = attempt.again is None or verdict.more
                arguments = queue, attempt, verdict, size
                return self._done(*arguments) if new else await self._done_again(*arguments)
            except MalformedError as exc:
                verdict = Verdict(Action.RETRY, str(exc))
        message, rid = verdict.message, verdict.rid
        for one in (token, *account.token.secrets):
            message, rid = changed(message, one.cut_from), one.cut_from(rid)
        verdict = verdict._replace(message=message, rid=rid)
        return self._otherwise(account, queue, attempt, verdict, (token, fetched))

    def _with_figures(self, endpoint: Endpoint, verdict: Verdict) -> Verdict:
        """The same without records that have no figures: they say nothing of their day."""
        with_figures = self._figures.get(endpoint.name)
        if with_figures is None:
            with_figures = self._figures[endpoint.name] = figures_of(endpoint)
        kept = with_figures(verdict.records)
        return verdict if len(kept) == len(verdict.records) else verdict._replace(records=kept)

    def _note(self, queue: InterfaceQueue, verdict: Verdict, seconds: float) -> None:
        if self._answers is not None:
            code = 0 if verdict.action is Action.DONE else verdict.code
            self._answers.append(Answer(queue.appid, queue.endpoint.name, code, seconds))

    async def send(self, limiter: Limiter, request: Request) -> Response:
        """Send a request of a token source; one below the base URL leaves at the account's rate."""
        if request.path[:1] != "/":  # another server's
            return await self._transport.send(request)
        await limiter.acquire()
        try:
            response = await self._transport.send(request, limiter.taken())
        except AttemptError as exc:
            if exc.answered:
                self.network.answer(self._time())
            raise
        self.network.answer(self._time())
        return response

    async def _done_again(
        self, queue: InterfaceQueue, attempt: Attempt, verdict: Verdict, size: int
    ) -> Decision:
        """A stored window; what an earlier answer had and this one lacks is kept."""
        page, endpoint = attempt.page, queue.endpoint
        records = [*(page.records if page else ()), *verdict.records]
        if not _lacks(endpoint, attempt, records):
            return self._done(queue, attempt, verdict, size)
        stored = await self._stored(attempt.window)
        if stored is None:
            later = Decision(Action.NOT_READY, attempt, None, NOT_READY_AGAIN, CANNOT_KEEP)
            return later._replace(kind="late")
        both, kept = completed(endpoint, records, stored)
        page = page._replace(records=()) if page else None
        whole = verdict._replace(records=both)
        return self._done(queue, attempt._replace(page=page), whole, size, kept)

    def _done(
        self, queue: InterfaceQueue, attempt: Attempt, verdict: Verdict, size: int, kept: int = 0
    ) -> Decision:
        if attempt.page is None and not verdict.more:
            window = self._harvested(queue, attempt, verdict, size, kept)
            return Decision(Action.DONE, attempt, window)
        page = attempt.page or Page(1)
        page = page._replace(
            number=page.number + 1,
            records=(*page.records, *verdict.records),
            out_of_range=page.out_of_range + verdict.foreign,
            late=page.late or verdict.delayed,
            size=page.size + size,
        )
        if verdict.more:
            if page.number > PAGES:
                reason = say("it has more than {} pages", PAGES)
                return Decision(Action.FAIL_WINDOW, attempt, reason=reason, kind="refused")
            return Decision(Action.RETRY, attempt._replace(page=page, failures=0))
        whole = verdict._replace(
            records=list(page.records), foreign=page.out_of_range, delayed=page.late
        )
        window = self._harvested(queue, attempt, whole, page.size, kept)
        return Decision(Action.DONE, attempt, window)

    def _harvested(
        self, queue: InterfaceQueue, attempt: Attempt, verdict: Verdict, size: int, kept: int
    ) -> Harvested:
        window, records, endpoint = attempt.window, own_fields(verdict.records), queue.endpoint
        stamp = self._now()
        if self._is_settled(endpoint, window, verdict):
            empty = empty_days(endpoint, records, window)
            parts = [Part((window.begin, window.end), records, empty=empty)]
        else:
            parts = parts_of(
                endpoint,
                window,
                records,
                self._wall(),
                delayed=verdict.delayed,
                again=attempt.again,
                expected=attempt.expected,
                silent=queue.silent,
            )
        made = [self._part(queue, attempt, part, stamp) for part in parts]
        more = tuple([Harvested(*part, epoch=queue.epoch) for part in made[1:]])
        return Harvested(*made[0], attempt.former, verdict.foreign, size, queue.epoch, more, kept)

    def _is_settled(self, endpoint: Endpoint, window: Window, verdict: Verdict) -> bool:
        """Whether any answer is final: the usual case of a backfill."""
        return (
            window.end < self._young
            and not verdict.delayed
            and not endpoint.late_days
            and delivery(endpoint) is Delivery.UNCERTAIN
        )

    def _part(
        self, queue: InterfaceQueue, attempt: Attempt, part: Part, stamp: str
    ) -> tuple[Batch, Outcome]:
        window = attempt.window
        if part.days != attempt.days:
            window = Window(window.appid, window.endpoint, *part.days)
        batch = Batch(
            window,
            part.records,
            stamp,
            endpoint=queue.endpoint,
            version=int(self._wall() * 1000),
            replaces=attempt.replaces,
            late=part.waits,
        )
        # A record that cannot be encoded is found here, and its window is tried again.
        tally = batch.tally if self._encode else Tally(len(part.records))
        if self._pack:
            batch.pack()
        fetched_at = "" if part.state == "final" else stamp
        outcome = Outcome(
            batch.window, part.state, tally, part.empty, part.due, part.why,
            fetched_at=fetched_at, tries=part.tries, had=part.had,
        )  # fmt: skip
        return batch, outcome

    def _time(self) -> float:
        """The loop's time; the loop is kept, as asking for it is a system call in Python 3.11."""
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop.time()

    def _now(self) -> str:
        second = int(self._wall())
        if second != self._second:
            self._second, self._stamp = second, rfc3339(second)
            self._young = last_legal_day(second) - YOUNG_DAYS * ONE_DAY
        return self._stamp

    def _otherwise(
        self,
        account: AccountQueue,
        queue: InterfaceQueue,
        attempt: Attempt,
        verdict: Verdict,
        sent: tuple[Secret, int],
    ) -> Decision:
        failures, reason, first = attempt.failures + 1, explain(verdict), False
        attempts = 1 if verdict.code in account.refused else self.attempts
        action, delay = decide(WINDOW, verdict, Tried(failures, attempts, self._wall()))
        kind = kind_of(action, verdict)
        match action:
            case Action.RETRY:
                attempt = attempt._replace(failures=failures)
                if verdict.then is Action.STOP_ACCOUNT:  # other windows would get the same answer
                    account.pause(delay, self._time())
            case Action.SLOW_DOWN:
                attempt = attempt._replace(failures=failures)
                first = account.pause(delay, self._time())
            case Action.RENEW_TOKEN:
                try:
                    first = account.token.reject(sent[0].value, reason, sent[1])
                except AccountError as exc:
                    action, reason, kind = Action.STOP_ACCOUNT, str(exc), "token"
                else:
                    action, reason = _token_refused(queue, reason, first)
                    kind = "refused"  # if it is stopped: the token is good elsewhere
            case Action.NOT_READY:
                attempt = attempt._replace(deferrals=attempt.deferrals + 1)
            case Action.FAIL_WINDOW:
                action, reason = self._failed(queue, verdict, reason, failures)
            case Action.STOP_ACCOUNT:
                reason = say("{}: {}", account.appid, reason)
        code, rid = verdict.code, verdict.rid
        return Decision(action, attempt, None, delay, reason, code, rid, first, kind)

    def _failed(
        self, queue: InterfaceQueue, verdict: Verdict, reason: str, failures: int
    ) -> tuple[Action, str]:
        if verdict.action is Action.RETRY and not self.network.answered:
            raise self.lost(verdict.message)
        if verdict.action in (Action.RETRY, Action.SLOW_DOWN):
            return Action.FAIL_WINDOW, say("{}, after {} attempts", reason, failures)
        what = verdict.message if verdict.code is None else verdict.code
        if queue.window_refused(what) < EQUAL_REFUSALS:
            return Action.FAIL_WINDOW, reason
        return Action.STOP_ENDPOINT, say(
            "{}; {} windows in a row were refused for this reason, so this run sends no more"
            " requests for this interface",
            reason,
            EQUAL_REFUSALS,
        )

    def lost(self, why: str) -> NetworkError:
        """The error of a run in which no server has answered at all."""
        tried = say("no server answered in {}", many(self._attempts, "attempt"))
        return NetworkError(unreachable(tried, why))

    async def quota(self, account: AccountQueue, queue: InterfaceQueue) -> Quota | Verdict:
        token, fetched = account.token.current, account.token.fetched
        try:
            request = None if token is None else _quota_request(queue.endpoint, token)
        except EndpointError as exc:  # the code of a user's Endpoint failed
            return Verdict(Action.FAIL_WINDOW, str(exc))
        if token is None or request is None:
            return Verdict(Action.FAIL_WINDOW, say("its quota cannot be requested"))
        try:
            response = await self._transport.send(request, account.limiter.taken())
        except AttemptError as exc:
            return _unanswered(exc)
        self.network.answer(self._time())
        for one in (token, *account.token.secrets):
            response = response._replace(body=one.cut_from_body(response.body))
        try:
            found = _quota_in(queue.endpoint, response)
        except (WindowError, EndpointError) as exc:  # by a user's Endpoint
            return Verdict(Action.FAIL_WINDOW, str(exc))
        if isinstance(found, Verdict) and found.action is Action.RENEW_TOKEN:
            account.token.reject(token.value, explain(found), fetched)
        return found
