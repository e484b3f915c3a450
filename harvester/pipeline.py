"""One attempt at one window: the stages in their order, written once.

Rule: starts no task, never sleeps; gives a batch, or when to come again, or raises an error whose
class says how far it reaches.

request → send → verdict → (else: when again) → encode.  The account's limiter has let the request
go and its token is at hand when this begins; two signals go back to them: the pause when WeChat
says to slow down, and the refusal of a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple

from harvester import retry
from harvester.answer import code_of, read
from harvester.auth import carried_by
from harvester.codec import MalformedError, own_fields
from harvester.endpoint import Endpoint, day_of, final_at, in_record
from harvester.errors import (
    AccountError,
    AttemptError,
    EndpointError,
    NetworkError,
    WindowError,
)
from harvester.lane import Lane, Page, Track, Try
from harvester.model import (
    ACCESS_TOKEN,
    HELD,
    Action,
    Batch,
    Request,
    Response,
    Verdict,
    Window,
    all_days,
)
from harvester.network import Network, Silence
from harvester.plan import (
    ONE_DAY,
    Cut,
    china,
    last_legal_day,
    next_minute,
    next_quota_day,
    rfc3339,
    settles_at,
)
from harvester.secrets import Secret
from harvester.transport import Transport

AFTER_THE_MINUTE = 0.5
"""Seconds that a pause lasts into the next minute, for a server whose clock is behind ours."""

NOT_READY_AGAIN = 1800.0
"""Seconds until figures that were not ready are asked for again.  WeChat names no time; they have
been seen to come as late as ten in the morning."""

DEFERRALS = 12
"""How often a window that is not ready is asked for again within one run."""

LATE_DAYS = 3
"""Days for which a last day without records may only be late.  WeChat says nothing of it: answers
without a row and without ``is_delay`` were reported at half past eight and at half past ten in the
morning, and nothing rules out later ones."""

EQUAL_REFUSALS = 5
"""Windows of one interface that are refused in a row for the same reason, before the rest is given
up for this run."""

PAGES = 1000
"""Pages of one window at the most: an answer that always promises another one must end, too."""

REFUSALS = 3
"""Tokens that one interface may refuse in a row while others accept them."""


class Again(NamedTuple):
    """The window is to be tried again after ``delay`` seconds; it holds no slot until then.

    paused: the whole account was told to slow down just now; dropped: its token was refused.
    silent: nobody answers, and it did not count as an attempt.
    """

    attempt: Try
    delay: float
    reason: str
    paused: bool = False
    dropped: bool = False
    silent: bool = False


class Later(NamedTuple):
    """The window (or all of its interface) must wait until a Unix time."""

    attempt: Try
    until: float
    reason: str
    whole_endpoint: bool


class More(NamedTuple):
    """The window takes another request: its next page, or its next days."""

    attempt: Try


class TooLong(NamedTuple):
    """The interface takes no window of so many days."""

    attempt: Try


Result = Batch | Again | Later | More | TooLong

PROVING = frozenset({Action.DONE, Action.RETRY, Action.SLOW_DOWN, Action.NOT_READY, Action.SPLIT})
"""Verdicts that show that an interface can be asked by this account."""


def _unanswered(exc: AttemptError) -> Verdict:
    """The verdict on a request that brought no whole answer."""
    return Verdict(Action.RETRY, str(exc), answered=exc.answered, connected=exc.connected)


def _quota_in(endpoint: Endpoint, response: Response) -> tuple[int, int] | Verdict:
    """Calls of a day and those left of it, from an answer of quota/get."""
    answer = read(response)
    if isinstance(answer, Verdict):
        return answer
    if code_of(answer) != 0:  # what it means is the same on any request
        day = endpoint.first_day
        return endpoint.verdict(response, Window("", endpoint.name, day, day))
    told = answer.get("quota")
    daily, left = (
        (told.get("daily_limit"), told.get("remain")) if isinstance(told, dict) else ("", "")
    )
    if type(daily) is int and type(left) is int:
        return daily, left
    return Verdict(Action.RETRY, "the answer held no quota")


def late_until(endpoint: Endpoint, end: date) -> float:
    """The Unix time until which a last day without records may only be late."""
    return settles_at(end + LATE_DAYS * ONE_DAY, endpoint.settled_hour)


def explain(verdict: Verdict) -> str:
    """A verdict as the sentence that a report shows, WeChat's request id at its end."""
    return f"{verdict.message} [rid: {verdict.rid}]" if verdict.rid else verdict.message


def _has(endpoint: Endpoint, records: Sequence[dict[str, Any]], day: date) -> bool:
    """Whether a window has figures of its last day; of a whole period they are one."""
    if endpoint.cut is not Cut.DAYS or not endpoint.day_field:
        return bool(records)
    field = endpoint.day_field
    return any(
        day_of(in_record(record, field) or day.isoformat()) == day for record in reversed(records)
    )


def _empty(endpoint: Endpoint, records: Sequence[dict[str, Any]], window: Window) -> int:
    """A bit for each day of a window that has no record, where the records name their days."""
    if window.begin == window.end or endpoint.cut is not Cut.DAYS or not endpoint.day_field:
        return 0
    first = window.begin.toordinal()
    named = {day_of(in_record(record, endpoint.day_field)) for record in records}
    if None in named:
        return 0
    has = sum([1 << (day.toordinal() - first) for day in named if day is not None])
    return all_days(window) & ~has


def _verdict(track: Track, response: Response, window: Window, hidden: Sequence[Secret]) -> Verdict:
    """The verdict on an answer, less what it may echo: cut off before it is read, and split."""
    verdict = track.endpoint.verdict(response, window)
    echoed = [one for one in hidden if one.value.encode() in response.body]
    if verdict.action is Action.DONE and not echoed:
        return verdict
    clean = response
    for one in hidden:
        clean = one.cut_from_response(clean)
    return verdict if clean.body == response.body else track.endpoint.verdict(clean, window)


def _request(track: Track, attempt: Try, token: Secret) -> Request:
    if attempt.page is None:
        return track.endpoint.request(attempt.window, token.value)
    return track.endpoint.request(attempt.window, token.value, attempt.page.number)


class Pipeline:
    """Takes one window through one attempt.

    encode: whether the records are wanted as lines.
    wall: the wall clock, as `time.time`.
    network: whether anybody answers.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        attempts: int,
        encode: bool,
        wall: Callable[[], float],
        network: Network | None = None,
    ) -> None:
        self._transport = transport
        self.network = network or Network()
        self._attempts = attempts
        self._encode = encode
        self._wall = wall
        self._loop: asyncio.AbstractEventLoop | None = None
        self._second = 0
        self._stamp = ""
        self._young = date.min

    async def run(self, lane: Lane, track: Track, attempt: Try) -> Result:
        """One attempt.

        Raises `WindowError`, `EndpointError`, `AccountError` or `NetworkError`.
        """
        # The lane gave the window out this instant, and none without a token; hidden, since what is
        # raised here leaves the library, and tracebacks can be shown with the locals of frames.
        token, fetched = lane.token.current, lane.token.fetched
        assert token is not None, "a lane gives out no window without a token"
        try:
            request = _request(track, attempt, token)
            if lane.token.parameter != ACCESS_TOKEN:
                request = carried_by(request, lane.token.parameter)
            sent_at, size = self._time(), 0
            response = await self._transport.send(request, lane.limiter.taken())
        except AttemptError as exc:
            verdict = _unanswered(exc)
            if again := self._silence(attempt, verdict, sent_at):
                return again
        else:
            verdict = _verdict(track, response, attempt.window, (token, *lane.token.secrets))
            size = len(response.body)
        self._heard(track, verdict)
        if verdict.action is Action.DONE:
            lane.token.accept(token.value)
            track.accepted()
            try:
                return self._done(track, attempt, verdict, size)
            except MalformedError as exc:
                verdict = Verdict(Action.RETRY, str(exc))
        message, rid = verdict.message, verdict.rid
        for one in (token, *lane.token.secrets):
            message, rid = one.cut_from(message), one.cut_from(rid)
        verdict = verdict._replace(message=message, rid=rid)
        try:
            return self._otherwise(lane, track, attempt, verdict, (token, fetched))
        except (WindowError, EndpointError, AccountError) as exc:
            raise exc.told(verdict.code, verdict.rid) from None

    def _heard(self, track: Track, verdict: Verdict) -> None:
        """What an answer says besides its records."""
        if verdict.answered:
            self.network.answer(self._time())
            track.proven = track.proven or verdict.action in PROVING

    def _silence(self, attempt: Try, verdict: Verdict, sent_at: float) -> Again | None:
        """What follows if nobody answers; None if this request alone was not answered.

        Raises `NetworkError` once that has lasted for too long.
        """
        if verdict.answered:
            return None
        asker = attempt.window
        match self.network.silence(asker, sent_at, self._time(), connected=verdict.connected):
            case Silence.WAIT:
                return Again(attempt, 0.0, verdict.message, silent=True)
            case Silence.LOST:
                raise self.lost(verdict.message)
            case _:
                return None

    def _done(self, track: Track, attempt: Try, verdict: Verdict, size: int) -> Batch | More:
        """The batch of a window, or what is still missing of it."""
        if attempt.page is None and not verdict.more:
            return self._batch(track, attempt, verdict, size)
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
                raise WindowError(f"it has more than {PAGES} pages")
            return More(attempt._replace(page=page, failures=0))
        whole = verdict._replace(
            records=list(page.records), foreign=page.out_of_range, delayed=page.late
        )
        return self._batch(track, attempt, whole, page.size)

    def _batch(self, track: Track, attempt: Try, verdict: Verdict, size: int) -> Batch:
        window, records = attempt.window, own_fields(verdict.records)
        track.foreign += verdict.foreign
        stamp = self._now()
        batch = Batch(
            window,
            records,
            stamp,
            endpoint=track.endpoint,
            version=int(self._wall() * 1000),
            replaces=attempt.replaces,
            former=attempt.former,
            empty=_empty(track.endpoint, records, window) if records else None,
            size=size,
        )
        if self._encode:
            batch.checksums  # noqa: B018  (what cannot be written is found here, and tried again)
        if window.end >= self._young or verdict.delayed or track.endpoint.late_days:
            why, batch.late, batch.due = self._provisional(track.endpoint, window, verdict)
            batch.provisional = why
        return batch

    def _provisional(
        self, endpoint: Endpoint, window: Window, verdict: Verdict
    ) -> tuple[str, bool, float]:
        """Why the figures of a window can still change, empty if they are final.

        And whether they are late, so that the window is not done; and the Unix time from which
        another run asks again.
        """
        wall = self._wall()
        if verdict.delayed:
            return "WeChat says that its figures are late", True, 0.0
        if wall < late_until(endpoint, window.end) and not _has(
            endpoint, verdict.records, window.end
        ):
            if getattr(endpoint, "daily", False):  # an Endpoint of somebody's own may lack it
                return "its last day has no row yet, and every day has one", True, 0.0
            return "its last day has no record yet, and may be late", False, 0.0
        if endpoint.late_days:
            until = final_at(endpoint, window.end)
            if wall < until:
                return f"its figures grow until {china(until).date()}", False, wall + HELD
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
        self, lane: Lane, track: Track, attempt: Try, verdict: Verdict, sent: tuple[Secret, int]
    ) -> Result:
        match verdict.action:
            case Action.RETRY:
                return self._retry(attempt, verdict)
            case Action.SLOW_DOWN:
                return self._slow_down(lane, attempt, verdict)
            case Action.RENEW_TOKEN:
                dropped = lane.token.reject(sent[0].value, explain(verdict), sent[1])
                return self._renew(track, attempt, verdict, dropped)
            case Action.QUOTA:
                until = next_quota_day(self._wall())
                return Later(attempt, until, explain(verdict), whole_endpoint=True)
            case Action.NOT_READY:
                later = attempt._replace(deferrals=attempt.deferrals + 1)
                until = self._wall() + NOT_READY_AGAIN
                return Later(later, until, explain(verdict), whole_endpoint=False)
            case Action.SPLIT:
                return TooLong(attempt)
            case Action.STOP_ENDPOINT | Action.NO_PERMISSION:
                error = EndpointError(explain(verdict))
                error.forbidden = verdict.action is Action.NO_PERMISSION
                raise error
            case Action.STOP_ACCOUNT:
                raise AccountError(f"{lane.appid}: {explain(verdict)}")
            case _:
                raise self._refusal(track, verdict)

    @staticmethod
    def _refusal(track: Track, verdict: Verdict) -> WindowError | EndpointError:
        """The window is refused; and the interface, if it refuses one window after the other."""
        reason = verdict.message if verdict.code is None else verdict.code
        if track.refused(reason) < EQUAL_REFUSALS:
            return WindowError(explain(verdict))
        return EndpointError(
            f"{explain(verdict)}; {EQUAL_REFUSALS} windows were refused in a row for this, so this"
            " run asks for no more of this interface"
        )

    @staticmethod
    def _renew(track: Track, attempt: Try, verdict: Verdict, dropped: bool) -> Again:
        """Try again with a new token; an interface that refuses what others accept is stopped."""
        track.refusals += dropped
        if track.refusals >= REFUSALS:
            raise EndpointError(
                f"{explain(verdict)}; this interface refused {REFUSALS} tokens in a row that others"
                " accepted"
            )
        return Again(attempt, 0.0, explain(verdict), dropped=dropped)

    def _retry(self, attempt: Try, verdict: Verdict) -> Again:
        attempt = attempt._replace(failures=attempt.failures + 1)
        delay = retry.delay(attempt.failures, self._attempts, answered=verdict.answered)
        if delay is not None:
            return Again(attempt, delay, explain(verdict))
        if not self.network.answered:
            raise self.lost(verdict.message)
        raise WindowError(f"{explain(verdict)}, after {attempt.failures} attempts")

    def lost(self, why: str) -> NetworkError:
        """The error of a run in which nobody answers."""
        lost_since = self.network.lost_since
        tried = (
            f"no answer came to any of {self._attempts} attempts"
            if lost_since is None
            else f"nobody answered for {self._time() - lost_since:.0f} s"
        )
        return NetworkError(
            f"{tried}: {why}; check the network, the proxy and the base URL; nothing that was"
            " committed is lost: run the same command again"
        )

    def _slow_down(self, lane: Lane, attempt: Try, verdict: Verdict) -> Again:
        attempt = attempt._replace(failures=attempt.failures + 1)
        if attempt.failures >= self._attempts:
            raise WindowError(f"{explain(verdict)}, after {attempt.failures} attempts")
        seconds, first = self.pause(lane)
        return Again(attempt, seconds, explain(verdict), paused=first)

    def pause(self, lane: Lane) -> tuple[float, bool]:
        """Hold the account to the next minute; the seconds, and whether it was not held before."""
        wall = self._wall()
        seconds = next_minute(wall) - wall + AFTER_THE_MINUTE
        first = lane.limiter.pause(seconds)
        if first:  # the others that were in flight with it tell nothing new
            lane.limiter.slow_down(self._time() + seconds)
        return seconds, first

    async def quota(self, lane: Lane, track: Track) -> tuple[int, int] | Verdict:
        """Calls of a day and those left of it, as WeChat tells; or the verdict if it does not.

        The shape, from WeChat's page of it: ``{"quota": {"daily_limit", "used", "remain"}}``.
        """
        token, fetched = lane.token.current, lane.token.fetched
        request = track.endpoint.quota_request(token.value) if token is not None else None
        if token is None or request is None:
            return Verdict(Action.FAIL_WINDOW, "its quota cannot be asked for")
        if lane.token.parameter != ACCESS_TOKEN:
            request = carried_by(request, lane.token.parameter)
        sent_at = self._time()
        try:
            response = await self._transport.send(request, lane.limiter.taken())
        except AttemptError as exc:
            verdict = _unanswered(exc)
            if not exc.answered:
                silence = self.network.silence(
                    lane.appid, sent_at, self._time(), connected=exc.connected
                )
                if silence is Silence.LOST:
                    raise self.lost(verdict.message) from None
            return verdict
        self.network.answer(self._time())
        for one in (token, *lane.token.secrets):
            response = one.cut_from_response(response)
        found = _quota_in(track.endpoint, response)
        if isinstance(found, Verdict) and found.action is Action.RENEW_TOKEN:
            lane.token.reject(token.value, explain(found), fetched)
        return found
