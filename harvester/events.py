"""The events of a run, one frozen class each, and the observer that counts them for the Report.

Rule: no event holds a secret, a token or a record.

Stored windows are reported in groups, as they are committed: an event for each request would cost
as much as encoding its records.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from html import escape
from typing import Any, NamedTuple

from harvester.base.dates import ONE_DAY, days_in, rfc3339
from harvester.errors import IncompleteError
from harvester.model import Action, Window, listed, many, span, without_rid
from harvester.texts import changed, english, joined, say


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan is made.  planned: windows requested; skipped: those already done.

    notes: what of the range is left out or cut, a sentence each.
    """

    planned: int
    skipped: int
    accounts: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """These windows are durably stored: sink and ledger have committed them.

    empty: windows without a record; records: written; changed: windows that were stored before with
    other figures; provisional: windows whose figures can still change, so that the next run
    requests them again.
    foreign: windows with the number of rows of days that were not requested, which were left out.
    gaps: windows with the number of their days that are late: what they must have is not there
    three days after it was due, and is requested again; also windows that were stored before, and
    are not requested in this run.  never: the same of days whose last request was in vain.
    kept: records, and entries of their lists, that an earlier answer had and the latest one lacks:
    they stay.
    """

    windows: tuple[Window, ...]
    empty: int
    records: int
    changed: int = 0
    provisional: int = 0
    foreign: tuple[tuple[Window, int], ...] = ()
    gaps: tuple[tuple[Window, int], ...] = ()
    never: tuple[tuple[Window, int], ...] = ()
    kept: int = 0


def late(window: Window) -> Committed:
    """The event of a stored window that is late, and that was not requested in this run."""
    return Committed((), 0, 0, gaps=((window, days_in((window.begin, window.end))),))


@dataclass(frozen=True, slots=True)
class Split:
    """WeChat refused a window of several days: this account requests single days in this run.

    windows: how many more than were planned.
    """

    appid: str
    endpoint: str
    windows: int


class Answer(NamedTuple):
    """A data request that was sent.

    code: WeChat's errcode, 0 if it sent none; None if no answer came, or none that is JSON.
    seconds: until the answer, or until it was given up.
    """

    appid: str
    endpoint: str
    code: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Requested:
    """The data requests since the last such event, in groups.

    Emitted only if there is an observer.
    """

    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Retrying:
    """A window (or, if None, the token) of an account is tried again after some seconds.

    action: what kind of answer it follows: ``RETRY``, ``SLOW_DOWN``, ``RENEW_TOKEN``,
    ``NOT_READY``.
    """

    appid: str
    window: Window | None
    attempt: int
    delay: float
    reason: str
    action: Action = Action.RETRY


@dataclass(frozen=True, slots=True)
class Paused:
    """An account, or one interface of it, sends nothing for some seconds, and why.

    endpoint: the interface; empty if the whole account pauses.  action: ``QUOTA``, or
    ``SLOW_DOWN``: WeChat asked for fewer requests.
    """

    appid: str
    seconds: float
    reason: str
    endpoint: str = ""
    action: Action = Action.QUOTA


@dataclass(frozen=True, slots=True)
class Deferred:
    """Windows that must wait until a Unix time: quota reached, or figures not ready."""

    appid: str
    endpoint: str
    begin: date
    end: date
    windows: int
    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Windows ``begin`` to ``end`` that failed for good.

    error: the reason, with WeChat's request id at its end, if there is one: ``... [rid: ...]``.
    code, rid: WeChat's errcode and request id, None and empty if WeChat sent none.
    new: whether this interface of this account did not fail for the same errcode in the run before,
    on any day; None if no ledger is kept.
    kind: of the cause, as of `harvester check`; empty if a former version has stored it.
    """

    appid: str
    endpoint: str
    begin: date
    end: date
    windows: int
    error: str
    code: int | None = None
    rid: str = ""
    new: bool | None = None
    kind: str = ""


OF_ACCOUNTS = frozenset({"secret", "appid", "ip", "authorisation", "frozen", "token"})
"""The kinds of failures that stop an account."""


@dataclass(frozen=True, slots=True)
class AccountStopped:
    """An account is stopped in this run; an operator must act.

    code, rid, kind: as of `Failed`.
    """

    appid: str
    error: str
    code: int | None = None
    rid: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Stalled:
    """There was no progress for some seconds.

    reasons: the sink that the run waits for, if there is one, and what each account waits for (a
    few).
    """

    seconds: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """This worker holds these accounts of a shared ledger from now on."""

    appids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """This worker has lost these accounts, and why; it drops their remaining windows."""

    appids: tuple[str, ...]
    reason: str


class Level(StrEnum):
    """How serious a `Notice` is; a warning is also a note of the report."""

    INFO = "info"
    WARNING = "warning"


class Code(StrEnum):
    """What a `Notice` is about; docs/testing.md says when each is sent."""

    TOKEN_FETCHED = "TokenFetched"
    TOKEN_REFUSED = "TokenRefused"
    SLOWED = "Slowed"
    QUOTA = "Quota"
    QUOTA_UNKNOWN = "QuotaUnknown"
    DRIFTED = "Drifted"
    UNREACHABLE = "Unreachable"
    REACHABLE = "Reachable"
    STOPPING = "Stopping"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something rarer; text: the sentence that progress and log show.

    account, interface: empty if it is not about one.  calls: of `Code.QUOTA`, those that are left
    today, and those of a day.
    """

    level: Level
    code: Code
    account: str
    interface: str
    text: str
    calls: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a run, also of one that was cancelled."""

    report: Report


Event = (
    RunStarted
    | Committed
    | Split
    | Requested
    | Retrying
    | Paused
    | Deferred
    | Failed
    | AccountStopped
    | Stalled
    | Claimed
    | Lost
    | Notice
    | Ended
)

Observer = Callable[[Event], Awaitable[None] | None]
"""Called in the event loop.

A plain function must return at once.  What a coroutine function returns is awaited by one task of
the run, one event after the other; the run ends when it has received all of them, and slows down if
it falls behind.
"""

_log = logging.getLogger("harvester")


def log_error(event: Event) -> None:
    """Log what an operator must act on, at the level ERROR."""
    if isinstance(event, AccountStopped):
        _log.error("account stopped: %s", event.error)


@dataclass(slots=True)
class Failure:
    """Days of one interface of one account that failed permanently, and the reason.

    code, rid: WeChat's errcode and request id; None and an empty string if WeChat sent none.
    new: see `Failed`.
    """

    appid: str
    endpoint: str
    begin: date
    end: date
    error: str
    code: int | None = None
    rid: str = ""
    windows: int = 1
    new: bool | None = None

    def to_dict(self) -> dict[str, str | int | None]:
        """The entry in the JSON of the report."""
        return {
            "appid": self.appid,
            "endpoint": self.endpoint,
            "begin_date": self.begin.isoformat(),
            "end_date": self.end.isoformat(),
            "error": english(self.error),
            "code": self.code,
            "rid": self.rid,
            "windows": self.windows,
            "new": self.new,
        }


@dataclass(slots=True)
class Wait:
    """What an account, or one interface of it, waits for.

    seconds: that it waited in this run, in all; windows: that must wait for a later run, from the
    Unix time ``until`` on; begin, end: their days, None if there are none.
    endpoint: empty if the whole account waits.
    """

    appid: str
    reason: str
    seconds: float = 0.0
    endpoint: str = ""
    windows: int = 0
    until: float | None = None
    begin: date | None = None
    end: date | None = None

    def to_dict(self) -> dict[str, str | float | None]:
        return {
            "appid": self.appid,
            "endpoint": self.endpoint,
            "reason": english(self.reason),
            "seconds": round(self.seconds, 3),
            "windows": self.windows,
            "until": None if self.until is None else rfc3339(self.until),
            "begin_date": None if self.begin is None else self.begin.isoformat(),
            "end_date": None if self.end is None else self.end.isoformat(),
        }


@dataclass(slots=True)
class Cause:
    """Windows of any accounts and interfaces that failed, or must wait, for the same reason.

    error: the reason, with the request id of the first of them.  until: the earliest Unix time.
    new: as of `Failed`.
    """

    error: str
    begin: date
    end: date
    appids: dict[str, None] = field(default_factory=dict)
    endpoints: dict[str, None] = field(default_factory=dict)
    windows: int = 0
    until: float | None = None
    new: bool | None = None

    def __str__(self) -> str:
        one = len(self.appids) == len(self.endpoints) == 1
        return say(
            "{} {}: {} {}" if one else "{}, {}: {} {}",
            listed(self.appids, "account"),
            listed(self.endpoints, "interface"),
            many(self.windows, "window"),
            span(self.begin, self.end),
        )

    @property
    def failed(self) -> str:
        before = say(", also in the previous run") if self.new is False else ""
        return say("{} failed{}: {}", self, before, self.error)


def reason_of(appid: str, error: str) -> str:
    """An error without the parts that differ between accounts and answers."""
    return without_appid(appid, without_rid(error))


def without_appid(appid: str, error: str) -> str:
    """An error of a whole account, without the account."""
    return changed(error, lambda text: text.removeprefix(f"{appid}: "))


def causes(found: Sequence[Failure | Wait]) -> list[Cause]:
    """Failures, or windows that must wait for a later run, as one entry for each reason.

    Accounts of which other interfaces failed have another entry.  Failures that also occurred in
    the run before have separate entries, at the end.
    """
    gathered: dict[tuple[str, bool | None, frozenset[str]], Cause] = {}
    concerned: defaultdict[tuple[str, str, bool | None], set[str]] = defaultdict(set)
    for each in found:
        error, _, new = _reasons(each)
        concerned[each.appid, reason_of(each.appid, error), new].add(each.endpoint)
    for each in found:
        error, until, new = _reasons(each)
        if each.begin is None or each.end is None:
            continue
        reason = reason_of(each.appid, error)
        key = reason, new, frozenset(concerned[each.appid, reason, new])
        cause = gathered.get(key)
        if cause is None:
            error = without_appid(each.appid, error)
            cause = gathered[key] = Cause(error, each.begin, each.end, until=until, new=new)
        cause.appids[each.appid] = cause.endpoints[each.endpoint] = None
        cause.windows += each.windows
        cause.begin, cause.end = min(cause.begin, each.begin), max(cause.end, each.end)
        if until is not None:
            cause.until = until if cause.until is None else min(cause.until, until)
    return sorted(gathered.values(), key=lambda cause: cause.new is False)


def _reasons(each: Failure | Wait) -> tuple[str, float | None, bool | None]:
    if isinstance(each, Failure):
        return each.error, None, each.new
    return each.reason, each.until, None


@dataclass(slots=True)
class Windows:
    """Counts of windows: ``planned`` = ``skipped`` + ``done`` + ``waiting`` + ``failed``.

    ``empty`` counts those done windows that held no record.  An interrupted run leaves the rest
    of what was planned uncounted.
    """

    planned: int = 0
    skipped: int = 0
    done: int = 0
    empty: int = 0
    waiting: int = 0
    failed: int = 0

    @property
    def settled(self) -> int:
        return self.skipped + self.done + self.waiting + self.failed


class State(StrEnum):
    """How a run ended.

    ``complete``: everything requested is harvested.  ``waiting``: nothing is wrong, but something
    must wait until ``Report.until``.  ``partial``: some windows failed for good.  ``failed``: the
    run stopped, or every one of its accounts did.
    """

    COMPLETE = "complete"
    WAITING = "waiting"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(slots=True)
class Report:
    """The results of a run.

    requests: data requests that were sent.  retries: windows that were tried again.
    seconds: the duration of the run.
    until: the Unix time at which waiting windows can be requested, or None.
    changed: windows that were already stored, with other figures.  provisional: windows whose
        figures can still change, so they will be requested again.  late: days that must have
        figures, but have none three days after they were due.  kept: records and entries that were
        in an earlier answer, but not in the latest one.  foreign: dropped rows of days that were
        not requested.
    waits: what accounts wait for, the longest waits first.  stopped: accounts for which an operator
        must act, and the reasons.
    notes: the parts of the range that were left out or cut, and differences from the catalogue.
    exported: the notes about what the option ``export`` has written.
    """

    state: State = State.COMPLETE
    windows: Windows = field(default_factory=Windows)
    records: int = 0
    requests: int = 0
    retries: int = 0
    token_fetches: int = 0
    seconds: float = 0.0
    until: float | None = None
    failures: list[Failure] = field(default_factory=list)
    changed: int = 0
    provisional: int = 0
    late: int = 0
    kept: int = 0
    foreign: int = 0
    waits: list[Wait] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)

    def raise_for_state(self) -> None:
        """Raise `IncompleteError` with the first causes if not everything is harvested."""
        if self.state != State.COMPLETE:
            raise IncompleteError(_incomplete(self), self)

    def _repr_html_(self) -> str:
        windows = self.windows
        rows = [(f"{name} windows", f"{getattr(windows, name):,}") for name in Windows.__slots__]
        rows += [(name, f"{getattr(self, name):,}") for name in ("records", "requests", "retries")]
        rows.append(("seconds", f"{self.seconds:,.1f}"))
        if self.until is not None:
            rows.append(("goes on from", rfc3339(self.until)))
        table = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:right'>{escape(value)}</td></tr>"
            for name, value in rows
        )
        texts = [cause.failed for cause in causes(self.failures)]
        texts += [say("must wait: {}: {}", cause, cause.error) for cause in causes(self.waits)]
        texts += self.notes
        more = [say("and {:,} more", len(texts) - SHOWN)] if len(texts) > SHOWN else []
        items = "".join(f"<li>{escape(text)}</li>" for text in [*texts[:SHOWN], *more])
        return (
            f"<div><b>harvester: {escape(self.state)}</b><table>{table}</table>"
            + (f"<ul>{items}</ul>" if items else "")
            + "</div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """The report in the format of the command's option ``--json``."""
        return {
            "state": self.state,
            "windows": {name: getattr(self.windows, name) for name in Windows.__slots__},
            "records": self.records,
            "requests": self.requests,
            "retries": self.retries,
            "token_fetches": self.token_fetches,
            "seconds": round(self.seconds, 3),
            "until": None if self.until is None else rfc3339(self.until),
            "failures": [failure.to_dict() for failure in self.failures],
            "changed": self.changed,
            "provisional": self.provisional,
            "late": self.late,
            "kept": self.kept,
            "foreign": self.foreign,
            "waits": [wait.to_dict() for wait in self.waits],
            "stopped": {appid: english(error) for appid, error in self.stopped.items()},
            "notes": [*map(english, self.notes)],
        }


SHOWN = 20

CAUSES = 3


def _incomplete(report: Report) -> str:
    windows = report.windows
    parts = [say("{} failed", many(windows.failed, "window"))] if windows.failed else []
    if windows.waiting and report.until is not None:
        parts.append(
            say("{} must wait until {}", many(windows.waiting, "window"), rfc3339(report.until))
        )
    if report.state == State.INTERRUPTED:
        left = max(windows.planned - windows.settled, 0)
        parts.append(say("the run was interrupted, {} left", many(left, "window")))
    if not parts:
        parts.append(say("the run stopped"))
    found = [*causes(report.failures), *causes(report.waits)]
    text = say("the harvest is incomplete: {}", joined(", ", parts))
    if found:
        first = [say("{}: {}", cause, cause.error) for cause in found[:CAUSES]]
        text += say("; the first: {}", joined("; ", first))
    if len(found) > CAUSES:
        text += say("; and {}", many(len(found) - CAUSES, "other cause"))
    return text


@dataclass(slots=True)
class _Gaps:
    """The days of an interface that lack what they must have; first: a window; what: they are."""

    first: Window
    what: str
    appids: set[str] = field(default_factory=set)
    days: int = 0

    def __str__(self) -> str:
        who = many(len(self.appids), "account")
        days = say("{}: {} of {}", self.first.endpoint, many(self.days, "day"), who)
        return say("{} {} (the first: {})", days, self.what, self.first)


LATE = say("late: the figures are due, and will be requested again")
NEVER = say("never delivered: 30 days of requests returned no figures")


class Bookkeeper:
    """The observer that builds the Report."""

    def __init__(self) -> None:
        self.report = Report()
        self._failures: dict[tuple[str, str, str, str, date], Failure] = {}
        self._waits: dict[tuple[str, str, str], Wait] = {}
        self._gaps: dict[tuple[str, str], _Gaps] = {}

    def __call__(self, event: Event) -> None:
        report, windows = self.report, self.report.windows
        match event:
            case Committed():
                self._add(event)
            case Retrying():
                report.retries += event.window is not None
            case Deferred():
                self._defer(event)
            case Failed():
                windows.failed += event.windows
                self._note(event)
            case Split():
                windows.planned += event.windows
            case RunStarted():
                windows.planned, windows.skipped = event.planned, event.skipped
                report.notes += event.notes
            case AccountStopped():
                report.stopped[event.appid] = event.error
            case Paused():
                self._wait(event.appid, event.endpoint, event.reason).seconds += event.seconds
            case Notice(level=Level.WARNING) if event.text not in report.notes:  # of many accounts
                report.notes.append(event.text)

    def _add(self, event: Committed) -> None:
        report, windows = self.report, self.report.windows
        windows.done += len(event.windows)
        windows.empty += event.empty
        report.records += event.records
        report.changed += event.changed
        report.provisional += event.provisional
        report.foreign += sum(rows for _, rows in event.foreign)
        report.kept += event.kept
        for window, days in event.gaps:
            self._note_gap(window, days, LATE)
        for window, days in event.never:
            self._note_gap(window, days, NEVER)

    def _defer(self, event: Deferred) -> None:
        self.report.windows.waiting += event.windows
        until = self.report.until
        self.report.until = event.until if until is None else min(until, event.until)
        wait = self._wait(event.appid, event.endpoint, event.reason)
        wait.windows += event.windows
        wait.until = event.until if wait.until is None else min(wait.until, event.until)
        wait.begin = event.begin if wait.begin is None else min(wait.begin, event.begin)
        wait.end = event.end if wait.end is None else max(wait.end, event.end)

    def _note_gap(self, window: Window, days: int, what: str) -> None:
        notes = self.report.notes
        gaps = self._gaps.setdefault((window.endpoint, what), _Gaps(window, what))
        self.report.late += days if what == LATE else 0
        former = str(gaps)
        gaps.appids.add(window.appid)
        gaps.days += days
        if former in notes:
            notes[notes.index(former)] = str(gaps)
        else:
            notes.append(str(gaps))

    def _wait(self, appid: str, endpoint: str, reason: str) -> Wait:
        reason = without_rid(reason)
        key = (appid, endpoint, reason)
        found = self._waits.get(key)
        if found is None:
            found = self._waits[key] = Wait(appid, reason, endpoint=endpoint)
        return found

    def waits(self) -> list[Wait]:
        return sorted(self._waits.values(), key=lambda wait: (-wait.seconds, wait.until or 0.0))

    def _note(self, event: Failed) -> None:
        """Adjacent days with the same error are one entry, with the first one's rid."""
        key = (event.appid, event.endpoint, without_rid(event.error))
        begin, end, error, rid = event.begin, event.end, event.error, event.rid
        windows = event.windows
        before = self._failures.pop((*key, "to", begin - ONE_DAY), None)
        if before is not None:
            begin, error, rid = before.begin, max(before.error, error, key=len), before.rid
            windows += before.windows
        after = self._failures.pop((*key, "from", end + ONE_DAY), None)
        if after is not None:
            end = after.end
            windows += after.windows
        for each in (before, after):
            if each is not None:
                self._failures.pop((*key, "from", each.begin), None)
                self._failures.pop((*key, "to", each.end), None)
        failure = Failure(
            event.appid, event.endpoint, begin, end, error, event.code, rid, windows, event.new
        )
        self._failures[*key, "from", begin] = self._failures[*key, "to", end] = failure

    def failures(self) -> list[Failure]:
        found = [failure for key, failure in self._failures.items() if key[3] == "from"]
        return sorted(found, key=lambda each: (each.appid, each.endpoint, each.begin))

    def recount(self, events: Iterable[Failed | Deferred | Committed], missing: int) -> None:
        """Replace what failed, what waits and what is late; other workers have done the rest.

        missing: windows that no worker has harvested, although nothing failed.
        """
        report, windows = self.report, self.report.windows
        windows.failed = windows.waiting = 0
        report.until = None
        self._failures.clear()
        late = {str(gaps) for gaps in self._gaps.values() if gaps.what == LATE}
        report.notes = [note for note in report.notes if note not in late]
        self._gaps = {key: gaps for key, gaps in self._gaps.items() if gaps.what != LATE}
        report.late = 0
        self._waits = {key: wait for key, wait in self._waits.items() if wait.until is None}
        for event in events:
            self(event)
            if isinstance(event, Failed) and event.kind in OF_ACCOUNTS:
                report.stopped.setdefault(event.appid, event.error)  # maybe by another worker
        left = windows.waiting + windows.failed + missing
        windows.planned = max(windows.planned, left)
        windows.done = min(windows.done, windows.planned - left)
        windows.skipped = windows.planned - windows.done - left

    def leave(self, until: float) -> None:
        """What is left waits until a Unix time."""
        report, windows = self.report, self.report.windows
        windows.waiting += max(windows.planned - windows.settled, 0)
        report.until = until if report.until is None else min(report.until, until)

    def conclude(self, accounts: int) -> State:
        """The state of a run that ended by itself; a note says what no failure does."""
        state, windows = self.state(accounts), self.report.windows
        if state is State.FAILED and not self.report.stopped:
            left = windows.planned - windows.settled
            self.report.notes.append(
                say("{:,} windows were not harvested: run the same command again", left)
            )
        return state

    def state(self, accounts: int) -> State:
        if accounts and len(self.report.stopped) == accounts:
            return State.FAILED
        windows = self.report.windows
        if windows.failed:
            return State.PARTIAL
        if windows.waiting:
            return State.WAITING
        is_whole = windows.planned == windows.skipped + windows.done
        return State.COMPLETE if is_whole else State.FAILED
