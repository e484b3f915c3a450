"""What can be observed of a run, one frozen class an event, and the tally that becomes the Report.

Rule: no event holds a secret, a token or a record.

Done windows are told by the group in which they became safe, not one by one: an event a request
would cost as much as encoding its records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from harvester.model import Window, without_rid
from harvester.plan import ONE_DAY, rfc3339


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan is made.  planned: windows asked for; skipped: those already done."""

    planned: int
    skipped: int
    accounts: int


@dataclass(frozen=True, slots=True)
class TokenFetched:
    """An account has a new access token, good for so many seconds."""

    appid: str
    lifetime: float


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """WeChat refused an account's current token; a new one is fetched."""

    appid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """These windows are safe: the sink and the ledger have them."""

    windows: tuple[Window, ...]
    empty: int
    records: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """A window (or, if None, the token) of an account is tried again after so many seconds."""

    appid: str
    window: Window | None
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Paused:
    """An account sends nothing for so many seconds: WeChat told it to slow down."""

    appid: str
    seconds: float
    reason: str


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
    """Windows ``begin`` to ``end`` that failed for good."""

    appid: str
    endpoint: str
    begin: date
    end: date
    windows: int
    error: str  # WeChat's request id, if there is one, stands at its end: "... [rid: ...]"


@dataclass(frozen=True, slots=True)
class AccountStopped:
    """An account gives nothing more in this run; somebody must act."""

    appid: str
    error: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """Nothing was done for so many seconds; reasons: what each account waits for (a few)."""

    seconds: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopping:
    """The run was asked to stop and finishes so many requests in flight."""

    in_flight: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a run, also of one that was cancelled."""

    report: Report


Event = (
    RunStarted
    | TokenFetched
    | TokenRefused
    | Committed
    | Retrying
    | Paused
    | Deferred
    | Failed
    | AccountStopped
    | Stalled
    | Stopping
    | Ended
)

Observer = Callable[[Event], None]
"""Called in the event loop, between two steps: it must return at once."""


@dataclass(slots=True)
class Failure:
    """Days of one interface of one account that failed for good, and why."""

    appid: str
    endpoint: str
    begin: date
    end: date
    error: str

    def to_dict(self) -> dict[str, str]:
        """As the report's JSON has it."""
        return {
            "appid": self.appid,
            "endpoint": self.endpoint,
            "begin_date": self.begin.isoformat(),
            "end_date": self.end.isoformat(),
            "error": self.error,
        }


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


@dataclass(slots=True)
class Report:
    """What a run did.

    state: ``complete`` (all is harvested), ``waiting`` (nothing is wrong, but something must wait
        until ``until``), ``partial`` (some windows failed for good), ``failed`` (the run stopped,
        or every one of its accounts did) or ``interrupted``.
    records: written; requests: data requests sent; retries: windows tried again;
    token_fetches: access tokens asked for; seconds: the run took.
    until: Unix time, or None.
    """

    state: str = "complete"
    windows: Windows = field(default_factory=Windows)
    records: int = 0
    requests: int = 0
    retries: int = 0
    token_fetches: int = 0
    seconds: float = 0.0
    until: float | None = None
    failures: list[Failure] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As the command line's ``--json`` prints it."""
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
        }


class Bookkeeper:
    """The observer that keeps the Report."""

    def __init__(self) -> None:
        self.report = Report()
        self.stopped_accounts = 0
        self._failures: dict[tuple[str, str, str, str, date], Failure] = {}

    def __call__(self, event: Event) -> None:
        windows = self.report.windows
        match event:
            case Committed():
                windows.done += len(event.windows)
                windows.empty += event.empty
                self.report.records += event.records
            case Retrying():
                self.report.retries += event.window is not None
            case Deferred():
                windows.waiting += event.windows
                until = self.report.until
                self.report.until = event.until if until is None else min(until, event.until)
            case Failed():
                windows.failed += event.windows
                self._note(event)
            case AccountStopped():
                self.stopped_accounts += 1
            case RunStarted():
                windows.planned, windows.skipped = event.planned, event.skipped
            case _:
                pass

    def _note(self, event: Failed) -> None:
        """Days that follow one another and failed alike are one entry, with the first one's rid."""
        key = (event.appid, event.endpoint, without_rid(event.error))
        begin, end, error = event.begin, event.end, event.error
        before = self._failures.pop((*key, "to", begin - ONE_DAY), None)
        if before is not None:
            begin, error = before.begin, before.error
        after = self._failures.pop((*key, "from", end + ONE_DAY), None)
        if after is not None:
            end = after.end
        for joined in (before, after):
            if joined is not None:
                self._failures.pop((*key, "from", joined.begin), None)
                self._failures.pop((*key, "to", joined.end), None)
        failure = Failure(event.appid, event.endpoint, begin, end, error)
        self._failures[*key, "from", begin] = self._failures[*key, "to", end] = failure

    def failures(self) -> list[Failure]:
        """All failures, by account, interface and day."""
        found = [failure for key, failure in self._failures.items() if key[3] == "from"]
        return sorted(found, key=lambda each: (each.appid, each.endpoint, each.begin))

    def state(self, accounts: int) -> str:
        """How a run that ended by itself ended."""
        if accounts and self.stopped_accounts == accounts:
            return "failed"
        if self.report.windows.failed:
            return "partial"
        return "waiting" if self.report.windows.waiting else "complete"
