"""What a run shows while it runs: a bar on a terminal, plain lines elsewhere.

Rule: an observer; it knows of the run what the events tell.
"""

from __future__ import annotations

import math
import time
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harvester import events
from harvester.cli.screen import china_time, duration, err, many, plain
from harvester.events import Event
from harvester.model import without_rid

EVERY = 10.0
"""Seconds between two plain lines of progress."""

LOUD = 20
"""So many failures are told one by one."""


class Display(Protocol):
    """A context manager that observes."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def __call__(self, event: Event) -> None: ...


def display() -> Display:
    """What fits to where standard error goes."""
    return Bar() if err.is_terminal else Lines()


class _Counts:
    """What both show."""

    def __init__(self) -> None:
        self.planned = self.skipped = self.done = self.records = self.retries = self.failed = 0
        self.accounts = self.deferred = self.foreign = 0
        self.spans: set[tuple[str, int]] = set()
        self.began = time.monotonic()
        self.why = ""
        self._waiting: dict[str, tuple[float, float, str]] = {}

    def waits(self) -> str:
        """Who waits for what, and for how long already; those that wait longest first."""
        now = time.monotonic()
        left = {who: each for who, each in self._waiting.items() if each[1] > now}
        self._waiting = left
        if not left:
            return ""
        who, (since, until, reason) = max(left.items(), key=lambda item: item[1][1])
        more = f" (and {len(left) - 1:,} more)" if len(left) > 1 else ""
        return (
            f"{who} waits, {duration(now - since)} of {duration(until - since)}{more}:"
            f" {without_rid(reason)}"
        )

    def add(self, event: Event) -> None:
        match event:
            case events.RunStarted():
                self.planned = event.planned
                self.done = self.skipped = event.skipped
                self.accounts = event.accounts
            case events.Committed():
                self.done += len(event.windows)
                self.records += event.records
                self.why = ""
            case events.Retrying():
                self.retries += 1
                self.why = event.reason
            case events.Failed():
                self.failed += event.windows
            case events.Deferred():
                self.done += event.windows
            case events.Split():
                self.planned += event.windows
            case events.Paused():
                now = time.monotonic()
                self._waiting[_who(event)] = (now, now + event.seconds, event.reason)
            case events.Stalled():
                told = self.waits() or not event.reasons  # what waits is told anyway, and anew
                self.why = "" if told else event.reasons[0]
            case events.Unreachable() | events.Reachable():
                self.why = _nobody(event) if isinstance(event, events.Unreachable) else ""
            case _:
                pass

    def worth_a_line(self, event: Event) -> str | None:
        """What to tell now; what ends the run, or comes in heaps, is told at its end."""
        match event:
            case events.AccountStopped() if self.accounts == 1:
                return None
            case events.Failed() if self.failed > LOUD:
                return None
            case events.Deferred():
                self.deferred += 1
                return message(event) if self.deferred <= LOUD else None
            case events.Foreign():
                self.foreign += 1
                return message(event) if self.foreign <= LOUD else None
            case events.Split():
                news = (event.endpoint, event.days) not in self.spans
                self.spans.add((event.endpoint, event.days))
                return message(event) if news else None
            case events.TokenFetched() | events.QuotaTold() if self.accounts > LOUD:
                return None
            case events.Unreachable() if event.seconds:
                return None  # said when it began
            case _:
                return message(event)


def message(event: Event) -> str | None:
    """What is worth a line of its own."""
    match event:
        case events.RunStarted():
            left = event.planned - event.skipped
            done = f", {event.skipped:,} of {event.planned:,} are done" if event.skipped else ""
            text = f"{many(left, 'window')} to harvest of {many(event.accounts, 'account')}{done}"
            return "; ".join([text, *event.notes])
        case events.TokenRefused():
            return f"{event.appid}: the access token was refused: {event.reason}"
        case events.TokenFetched():
            return f"{event.appid}: access token, good for {duration(event.lifetime)}"
        case events.Paused():
            return f"{_who(event)} pauses for {duration(event.seconds)}: {event.reason}"
        case events.Deferred():
            return (
                f"{event.appid} {event.endpoint}: {many(event.windows, 'window')}"
                f" {_days(event)} must wait until {china_time(event.until)}: {event.reason}"
            )
        case events.Failed() if event.windows == 1:  # longer ones come with what stopped them
            return (
                f"{event.appid} {event.endpoint}: {many(event.windows, 'window')} {_days(event)}"
                f" failed: {event.error}"
            )
        case events.AccountStopped():
            return f"account stopped: {event.error}"
        case events.Stalled():
            return f"nothing new for {duration(event.seconds)}: {'; '.join(event.reasons)}"
        case _:
            return _rare(event)


def _rare(event: Event) -> str | None:
    match event:
        case events.Split():
            return (
                f"{event.endpoint}: WeChat refused the range; from now on"
                f" {many(event.days, 'day')} a call at the most"
            )
        case events.Slowed():
            return f"{event.appid}: from now on at {event.share:.0%} of its rate, recovering slowly"
        case events.QuotaTold():
            return (
                f"{event.appid} {event.endpoint}: {event.left:,} of {event.daily:,} calls are left"
                " today"
            )
        case events.Foreign():
            rows = many(event.rows, "row")
            return f"{event.window}: {rows} of days that were not asked for, left out"
        case events.Drifted():
            return event.sentence
        case events.Unreachable():
            return _nobody(event)
        case events.Reachable():
            return f"somebody answers again, after {duration(event.seconds)}"
        case events.Stopping():
            return (
                f"stopping once {many(event.in_flight, 'request')} in flight are answered and"
                " stored; once more to stop at once"
            )
        case _:
            return None


def _nobody(event: events.Unreachable) -> str:
    """That nobody answers, for how long, and how long that is waited for."""
    since = f" for {duration(event.seconds)}" if event.seconds else ""
    limit = f" for up to {duration(event.patience)}" if event.patience < math.inf else ""
    return f"nobody answers{since} ({event.reason}); trying every few seconds{limit}"


def _who(event: events.Paused) -> str:
    return f"{event.appid} {event.endpoint}" if event.endpoint else event.appid


def _days(event: events.Deferred | events.Failed) -> str:
    return f"{event.begin}" if event.begin == event.end else f"{event.begin} to {event.end}"


class Lines:
    """Log lines for a file or a pipe."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Tell what is worth a line, and where the run stands every few seconds."""
        counts = self._counts
        counts.add(event)
        text = counts.worth_a_line(event)
        if text is not None:
            self._line(text)
        now = time.monotonic()
        if now - self._told >= EVERY and not isinstance(event, events.Stalled):
            self._told = now
            per_second = (counts.done - counts.skipped) / max(now - counts.began, 1e-9)
            self._line(
                f"{counts.done:,} of {counts.planned:,} windows, {many(counts.records, 'record')},"
                f" {counts.retries:,} tried again, {counts.failed:,} failed, {per_second:.1f}/s"
                + (f"; last reason: {without_rid(counts.why)}" if counts.why else "")
                + (f"; {waits}" if (waits := counts.waits()) else "")
            )

    @staticmethod
    def _line(text: str) -> None:
        err.print(f"{datetime.now():%H:%M:%S} {plain(text)}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f}/s" if not task.finished else "")


class Bar:
    """A progress bar; what is worth a line appears above it."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("windows"),
            _Rate(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[why]}", style="yellow"),
            console=err,
            transient=True,
            refresh_per_second=8,
        )
        self._task = self._progress.add_task("", total=None, counts="", why="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Move the bar; tell what is worth a line."""
        counts = self._counts
        counts.add(event)
        text = counts.worth_a_line(event)
        if text is not None and not isinstance(event, events.Stalled):
            self._progress.console.print(plain(text))
        failed = f", {counts.failed:,} failed" if counts.failed else ""
        self._progress.update(
            self._task,
            total=counts.planned,
            completed=counts.done + counts.failed,
            counts=f"{counts.records:,} records, {counts.retries:,} retries{failed}",
            why=plain(counts.waits() or without_rid(counts.why))[:72],
        )
