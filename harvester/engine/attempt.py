"""One attempt at one window: the stages in their order, written once.

Rule: starts no task, never sleeps; returns one `Decision`, which the worker carries out.

request → send → verdict → (else: when again) → encode.  The account's limiter has granted the
request and its token is available when this begins.  It reports two things back to them: the pause
when WeChat asks to slow down, and the refusal of a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from harvester.base.codec import MalformedError, own_fields
from harvester.base.dates import (
    ONE_DAY,
    WindowKind,
    china,
    last_legal_day,
    rfc3339,
)
from harvester.base.secrets import Secret
from harvester.engine.account_queue import AccountQueue
from harvester.engine.limiter import Limiter
from harvester.engine.network import Network, unreachable
from harvester.engine.policy import WINDOW, Decision, decide
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
    RECHECK_INTERVAL,
    Action,
    Batch,
    Endpoint,
    Request,
    Response,
    Tally,
    Token,
    Verdict,
    Window,
    all_days,
)
from harvester.transport import Transport
from harvester.wechat.endpoint import (
    LATE_DAYS,
    day_of,
    entry_late_until,
    final_at,
    has_each_day,
    has_last_entry,
    in_record,
    late_until,
)
from harvester.wechat.response import Quota, code_of, quota_in, read

DEFERRALS = 12
"""How often a window that is not ready is requested again within one run."""

EQUAL_REFUSALS = 5
"""Windows of one interface that are refused in a row for the same reason before the rest of the run
requests no more of them."""

PAGES = 1000
"""The most pages of one window: an answer that always announces another one must end, too."""

REFUSALS = 3
"""Tokens that one interface may refuse in a row while others accept them."""


PROVING = frozenset({Action.DONE, Action.NOT_READY, Action.SPLIT})
"""Verdicts that show that the account may request an interface, and that its quota is not used up;
"system busy" shows neither."""


def _unanswered(exc: AttemptError) -> Verdict:
    """The verdict on a request without a complete answer."""
    return Verdict(Action.RETRY, str(exc), answered=exc.answered)


def _quota_in(endpoint: Endpoint, response: Response) -> Quota | Verdict:
    """The quota from an answer of quota/get."""
    answer = read(response)
    if isinstance(answer, Verdict):
        return answer
    if code_of(answer) != 0:  # what it means is the same on any request
        day = endpoint.first_day
        return endpoint.verdict(response, Window("", endpoint.name, day, day))
    return quota_in(answer) or Verdict(Action.RETRY, "the answer held no quota")


def _stopped_by(exc: WindowError | EndpointError | AccountError) -> Action:
    """What an error affects."""
    if isinstance(exc, AccountError):
        return Action.STOP_ACCOUNT
    return Action.STOP_ENDPOINT if isinstance(exc, EndpointError) else Action.FAIL_WINDOW


def _token_refused(queue: InterfaceQueue, reason: str, dropped: bool) -> tuple[Action, str]:
    """A new token is fetched; an interface that refuses what others accept is stopped."""
    if queue.token_refused(dropped) < REFUSALS:
        return Action.RENEW_TOKEN, reason
    return Action.STOP_ENDPOINT, (
        f"{reason}; this interface refused {REFUSALS} tokens in a row that others accepted"
    )


def explain(verdict: Verdict) -> str:
    """A verdict as the sentence that a report shows, WeChat's request id at its end."""
    message = without_passwords(verdict.message) or verdict.action.value
    return f"{message} [rid: {verdict.rid}]" if verdict.rid else message


def _has(endpoint: Endpoint, records: Sequence[dict[str, Any]], day: date) -> bool:
    """Whether a window has figures of its last day; of a whole period they are one."""
    if endpoint.cut is not WindowKind.DAYS or not endpoint.day_field:
        return bool(records)
    field = endpoint.day_field
    return any(
        day_of(in_record(record, field) or day.isoformat()) == day for record in reversed(records)
    )


def _empty(endpoint: Endpoint, records: Sequence[dict[str, Any]], window: Window) -> int:
    """A bit for each day of a window that has no record, as far as the records name their days."""
    if not records:
        return all_days(window)
    if window.begin == window.end or endpoint.cut is not WindowKind.DAYS or not endpoint.day_field:
        return 0
    first = window.begin.toordinal()
    named = {day_of(in_record(record, endpoint.day_field)) for record in records}
    if None in named:
        return 0
    has = sum([1 << (day.toordinal() - first) for day in named if day is not None])
    return all_days(window) & ~has


def _verdict(
    queue: InterfaceQueue, response: Response, window: Window, hidden: Sequence[Secret]
) -> Verdict:
    """The verdict on an answer, without the secrets that it may echo."""
    verdict = queue.endpoint.verdict(response, window)
    echoed = [one for one in hidden if one.value.encode() in response.body]
    if verdict.action is Action.DONE and not echoed:
        return verdict
    clean = response
    for one in hidden:
        clean = clean._replace(body=one.cut_from_body(clean.body))
    return verdict if clean.body == response.body else queue.endpoint.verdict(clean, window)


def _request(queue: InterfaceQueue, attempt: Attempt, token: Token) -> Request:
    if attempt.page is None:
        return queue.endpoint.request(attempt.window, token)
    return queue.endpoint.request(attempt.window, token, attempt.page.number)


class Pipeline:
    """Makes one attempt at one window.

    encode: whether the records are encoded here, so that a record that cannot be encoded causes a
    retry.
    pack: whether they are kept as lines afterwards.
    wall: the wall clock, as `time.time`.
    network: whether any server answers.
    answers: where each request is noted; None: nobody observes the run.
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
        answers: list[Answer] | None = None,
    ) -> None:
        self._transport = transport
        self.network = network or Network(transport.send)
        self._attempts = attempts
        self._encode = encode
        self._pack = pack
        self._wall = wall
        self._answers = answers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._second = 0
        self._stamp = ""
        self._young = date.min

    async def run(self, account: AccountQueue, queue: InterfaceQueue, attempt: Attempt) -> Decision:
        """One attempt; raises `NetworkError`."""
        # A window is taken only if there is a token.  The token is a `Secret`: errors raised here
        # leave the library, and tracebacks can show the local variables of frames.
        token, fetched = account.token.current, account.token.fetched
        assert token is not None, "no window is given out without a token"
        try:
            request = _request(queue, attempt, token)
            sent_at, size = self._time(), 0
            response = await self._transport.send(request, account.limiter.taken())
            answered_at = self._time()
            verdict = _verdict(queue, response, attempt.window, (token, *account.token.secrets))
            size = len(response.body)
            self._note(queue, verdict, answered_at - sent_at)
        except AttemptError as exc:
            answered_at, verdict = self._time(), _unanswered(exc)
            if exc.connected:
                self._note(queue, verdict, answered_at - sent_at)
            else:  # it has not left
                queue.unsent()
            if not exc.answered and not await self.network.counts(sent_at, verdict.message):
                return Decision(Action.RETRY, attempt)
        except (WindowError, EndpointError, AccountError) as exc:  # by a user's Endpoint
            return Decision(_stopped_by(exc), attempt, reason=str(exc))
        if verdict.answered:
            self.network.answer(answered_at)
            if not queue.proven and verdict.action in PROVING and verdict.then is None:
                queue.prove(sent_at)
        if verdict.action is Action.DONE:
            account.token.accept(token.value)
            queue.accepted(as_text=verdict.as_text)
            try:
                return self._done(queue, attempt, verdict, size)
            except MalformedError as exc:
                verdict = Verdict(Action.RETRY, str(exc))
        message, rid = verdict.message, verdict.rid
        for one in (token, *account.token.secrets):
            message, rid = one.cut_from(message), one.cut_from(rid)
        verdict = verdict._replace(message=message, rid=rid)
        return self._otherwise(account, queue, attempt, verdict, (token, fetched))

    def _note(self, queue: InterfaceQueue, verdict: Verdict, seconds: float) -> None:
        """Note a request for the observer of the run."""
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

    def _done(
        self, queue: InterfaceQueue, attempt: Attempt, verdict: Verdict, size: int
    ) -> Decision:
        """A window, or what is still missing of it."""
        if attempt.page is None and not verdict.more:
            return Decision(Action.DONE, attempt, self._batch(queue, attempt, verdict, size))
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
                reason = f"it has more than {PAGES} pages"
                return Decision(Action.FAIL_WINDOW, attempt, reason=reason)
            return Decision(Action.RETRY, attempt._replace(page=page, failures=0))
        whole = verdict._replace(
            records=list(page.records), foreign=page.out_of_range, delayed=page.late
        )
        return Decision(Action.DONE, attempt, self._batch(queue, attempt, whole, page.size))

    def _batch(
        self, queue: InterfaceQueue, attempt: Attempt, verdict: Verdict, size: int
    ) -> Harvested:
        window, records, endpoint = attempt.window, own_fields(verdict.records), queue.endpoint
        stamp = self._now()
        why, late, due = "", False, 0.0
        if window.end >= self._young or verdict.delayed or endpoint.late_days:
            why, late, due = self._provisional(endpoint, window, verdict)
        batch = Batch(
            window,
            records,
            stamp,
            endpoint=endpoint,
            version=int(self._wall() * 1000),
            replaces=attempt.replaces,
            late=late,
        )
        # A record that cannot be encoded is found here, and its window is tried again.
        tally = batch.tally if self._encode else Tally(len(records))
        if self._pack:
            batch.pack()
        if why:
            state = "late" if late else "open"
            outcome = Outcome(window, state, tally, 0, due, why, fetched_at=stamp)
        else:
            outcome = Outcome(window, "final", tally, _empty(endpoint, records, window))
        return Harvested(batch, outcome, attempt.former, verdict.foreign, size, queue.epoch)

    def _provisional(
        self, endpoint: Endpoint, window: Window, verdict: Verdict
    ) -> tuple[str, bool, float]:
        """Why the figures of a window can still change, empty if they are final.

        Also whether they are late, so that the window is not done; and the Unix time from which
        another run requests it again.
        """
        wall, records, end = self._wall(), verdict.records, window.end
        if verdict.delayed:
            return "WeChat reports that its figures are late", True, 0.0
        if wall < late_until(endpoint, end):
            if has_each_day(endpoint):
                if _empty(endpoint, records, window):
                    return "a day of it has no row yet, and every day has one", True, 0.0
            elif not _has(endpoint, records, end):
                return "its last day has no record yet, and may be late", False, 0.0
        if endpoint.late_days:
            until = final_at(endpoint, end)
            if wall < until:
                return (
                    f"its figures can change until {china(until).date()}",
                    False,
                    wall + RECHECK_INTERVAL,
                )
            if wall < entry_late_until(endpoint, end) and not has_last_entry(
                endpoint, records, end
            ):
                return "the entry of its last day is not there yet, and may be late", False, 0.0
        return "", False, 0.0

    def _time(self) -> float:
        """The loop's time; the loop is kept, as asking for it is a system call in Python 3.11."""
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop.time()

    def _now(self) -> str:
        second = int(self._wall())
        if second != self._second:
            self._second, self._stamp = second, rfc3339(second)
            self._young = last_legal_day(second) - LATE_DAYS * ONE_DAY
        return self._stamp

    def _otherwise(
        self,
        account: AccountQueue,
        queue: InterfaceQueue,
        attempt: Attempt,
        verdict: Verdict,
        sent: tuple[Secret, int],
    ) -> Decision:
        """What follows an answer without records."""
        failures, reason, first = attempt.failures + 1, explain(verdict), False
        action, delay = decide(
            WINDOW, verdict, failures=failures, attempts=self._attempts, wall=self._wall()
        )
        match action:
            case Action.RETRY:
                attempt = attempt._replace(failures=failures)
            case Action.SLOW_DOWN:
                attempt = attempt._replace(failures=failures)
                first = account.pause(delay, self._time())
            case Action.RENEW_TOKEN:
                try:
                    first = account.token.reject(sent[0].value, reason, sent[1])
                except AccountError as exc:
                    action, reason = Action.STOP_ACCOUNT, str(exc)
                else:
                    action, reason = _token_refused(queue, reason, first)
            case Action.NOT_READY:
                attempt = attempt._replace(deferrals=attempt.deferrals + 1)
            case Action.FAIL_WINDOW:
                action, reason = self._failed(queue, verdict, reason, failures)
            case Action.STOP_ACCOUNT:
                reason = f"{account.appid}: {reason}"
        return Decision(action, attempt, None, delay, reason, verdict.code, verdict.rid, first)

    def _failed(
        self, queue: InterfaceQueue, verdict: Verdict, reason: str, failures: int
    ) -> tuple[Action, str]:
        """A window fails; its interface is stopped after several refusals in a row."""
        if verdict.action is Action.RETRY and not self.network.answered:
            raise self.lost(verdict.message)
        if verdict.action in (Action.RETRY, Action.SLOW_DOWN):
            return Action.FAIL_WINDOW, f"{reason}, after {failures} attempts"
        what = verdict.message if verdict.code is None else verdict.code
        if queue.window_refused(what) < EQUAL_REFUSALS:
            return Action.FAIL_WINDOW, reason
        return Action.STOP_ENDPOINT, (
            f"{reason}; {EQUAL_REFUSALS} windows were refused in a row for this, so this run asks"
            " for no more of this interface"
        )

    def lost(self, why: str) -> NetworkError:
        """The error of a run in which no server has answered at all."""
        tried = f"no answer came to any of {self._attempts} attempts"
        return NetworkError(unreachable(tried, why))

    async def quota(self, account: AccountQueue, queue: InterfaceQueue) -> Quota | Verdict:
        """The quota of an interface, from WeChat; or the verdict on a failure."""
        token, fetched = account.token.current, account.token.fetched
        try:
            request = queue.endpoint.quota_request(token) if token is not None else None
        except EndpointError as exc:  # the code of a user's Endpoint failed
            return Verdict(Action.FAIL_WINDOW, str(exc))
        if token is None or request is None:
            return Verdict(Action.FAIL_WINDOW, "its quota cannot be asked for")
        try:
            response = await self._transport.send(request, account.limiter.taken())
        except AttemptError as exc:
            return _unanswered(exc)
        self.network.answer(self._time())
        for one in (token, *account.token.secrets):
            response = response._replace(body=one.cut_from_body(response.body))
        found = _quota_in(queue.endpoint, response)
        if isinstance(found, Verdict) and found.action is Action.RENEW_TOKEN:
            account.token.reject(token.value, explain(found), fetched)
        return found
