"""What a run shows while it runs: a bar on a terminal, plain lines elsewhere.

Rule: an observer; it knows only the events of the run.

Failed and waiting windows are summed up at the end of the run.  A long run also prints each reason
once when it occurs, since an operator may have to act before the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

from harvester import events
from harvester.base.dates import china
from harvester.cli.terminal import (
    china_time,
    duration,
    err,
    log,
    logs_json,
    many,
    readable,
    wrapped,
)
from harvester.events import (
    LATE,
    NEVER,
    Bookkeeper,
    Code,
    Event,
    Observer,
    reason_of,
    without_appid,
)
from harvester.model import span, without_rid
from harvester.texts import joined, say

EVERY = 10.0
"""Seconds between two plain lines of progress."""

LOUD = 20

TALL = 4

LONG = 30.0
"""Seconds after which a run is long: what failed or must wait is then shown while it runs, too."""

LONG_DELAY = 60.0
"""Seconds: what is tried again later than that is shown as waiting."""


@contextmanager
def display(*, quiet: bool = False) -> Iterator[Observer]:
    """An observer that fits to where standard error goes; quiet: it shows nothing."""
    if quiet:
        yield lambda event: None
    elif err.is_terminal and not logs_json():
        bar = Bar()
        with bar.progress:
            yield bar
    else:
        yield Lines()


class _Cause:
    """Why a run takes its time, as of now; asked for by the display's own thread, too."""

    def __init__(self) -> None:
        self._why = ""
        self._stalled = 0.0  # since when nothing was done, if that was reported
        self._waits: dict[str, tuple[float, float, str]] = {}

    def text(self) -> str:
        if waits := self.waits():
            return waits
        since = self._stalled
        return say("{}: {}", duration(time.monotonic() - since), self._why) if since else self._why

    def waits(self) -> str:
        now = time.monotonic()
        left = {who: each for who, each in self._waits.copy().items() if each[1] > now}
        if not left:
            return ""
        who, (since, until, reason) = max(left.items(), key=lambda item: item[1][1])
        more = say(" (and {:,} more)", len(left) - 1) if len(left) > 1 else ""
        return say(
            "{} waits, {} of {}{}: {}",
            who,
            duration(now - since),
            duration(until - since),
            more,
            reason,
        )

    def add(self, event: Event) -> None:
        match event:
            case events.Committed():
                self._why, self._stalled = "", 0.0
            case events.Retrying():
                self._why, self._stalled = without_rid(event.reason), 0.0
                if event.delay >= LONG_DELAY:
                    who = f"{event.appid} {event.window.endpoint}" if event.window else event.appid
                    self._wait(who, event.delay, event.reason)
            case events.Paused():
                self._wait(_who(event), event.seconds, event.reason)
            case events.Stalled() if event.reasons:
                self._stalled = time.monotonic() - event.seconds
                self._why = without_rid(event.reasons[0])
            case events.Notice(code=Code.UNREACHABLE):
                self._why, self._stalled = event.text, 0.0
            case events.Notice(code=Code.REACHABLE):
                self._why = ""

    def _wait(self, who: str, seconds: float, reason: str) -> None:
        now = time.monotonic()
        self._waits[who] = (now, now + seconds, without_rid(reason))


class _Counts:
    def __init__(self) -> None:
        self._book = Bookkeeper()
        self.report = self._book.report
        self.cause = _Cause()
        self.began = time.monotonic()
        self._moved = self.began

    @property
    def still(self) -> bool:
        return time.monotonic() - self._moved > (1.0 if self.cause.waits() else EVERY)

    def numbers(self) -> str:
        report, windows = self.report, self.report.windows
        parts = [many(report.records, "record"), say("{:,} tried again", report.retries)]
        parts += [say("{:,} failed", windows.failed)] if windows.failed else []
        parts += [say("{:,} waiting", windows.waiting)] if windows.waiting else []
        return joined(", ", parts)

    def add(self, event: Event) -> None:
        self.cause.add(event)
        self._book(event)
        if isinstance(event, events.Committed):
            self._moved = time.monotonic()


class Line(NamedTuple):
    """A line of the log; event: the class of what caused it, or the code of a notice."""

    text: str
    level: str
    event: str


class _News:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._accounts = self._foreign = 0
        self._outage = Code.REACHABLE
        self._reasons: set[object] = set()
        self._held: list[Line] = []

    def of(self, event: Event, *, silent: bool = False) -> list[Line]:
        if isinstance(event, events.RunStarted):
            self._accounts = event.accounts
        texts = [] if silent else self._lines(event)
        lines = [Line(text, *_level_and_name(event)) for text in texts]
        if isinstance(event, events.AccountStopped | events.Deferred | events.Failed):
            self._held += lines
            lines = []
        elif isinstance(event, events.Ended):
            self._held = []
        if self._held and time.monotonic() - self._began >= LONG:
            lines, self._held = [*self._held, *lines], []
        return lines

    def _lines(self, event: Event) -> list[str]:
        match event:
            case events.RunStarted(notes=notes):
                more = len(notes) - LOUD
                hidden = [say("and {}", many(more, "more note"))] if more > 0 else []
                return [message(event) or "", *notes[:LOUD], *hidden]
            case events.AccountStopped() if logs_json():
                shown = False  # it is logged as an error
            case events.Committed():
                return self._of_windows(event)
            case events.Notice(code=Code.UNREACHABLE | Code.REACHABLE):
                shown, self._outage = event.code != self._outage, event.code
            case events.Notice(code=Code.TOKEN_FETCHED | Code.QUOTA | Code.SLOWED):
                shown = self._accounts <= LOUD
            case _:
                reason = _reason(event)
                shown = reason is None or self._is_new(reason)
        text = message(event) if shown else None
        return [text] if text else []

    def _of_windows(self, event: events.Committed) -> list[str]:
        foreign = event.foreign[: LOUD - self._foreign]
        self._foreign += len(foreign)
        return [
            *(
                say("{}: ignored {} of days that were not requested", window, many(rows, "row"))
                for window, rows in foreign
            ),
            *(
                say("{}: {} {}", window, many(days, "day"), what)
                for found, what in ((event.gaps, LATE), (event.never, NEVER))
                for window, days in found
                if self._is_new((what, window.endpoint))
            ),
        ]

    def _is_new(self, reason: object) -> bool:
        if reason in self._reasons or len(self._reasons) >= LOUD:
            return False
        self._reasons.add(reason)
        return True


def _reason(event: Event) -> object:
    """What makes a line like one that was shown before; None if every one is shown."""
    match event:
        case events.AccountStopped() | events.Failed():
            return reason_of(event.appid, event.error)
        case events.Deferred():
            return reason_of(event.appid, event.reason)
        case events.Paused():
            return without_rid(event.reason), china(time.time()).date()
        case events.Split():
            return "split", event.endpoint
        case events.Notice(code=Code.QUOTA_UNKNOWN):
            return event.text
        case _:
            return None


def _level_and_name(event: Event) -> tuple[str, str]:
    if isinstance(event, events.Notice):
        return event.level, event.code
    bad = isinstance(event, events.Failed | events.AccountStopped | events.Stalled)
    return "warning" if bad else "info", type(event).__name__


def message(event: Event) -> str | None:
    """Show an event that deserves its own line."""
    match event:
        case events.RunStarted():
            left = event.planned - event.skipped
            done = (
                say(", {:,} of {:,} are done", event.skipped, event.planned)
                if event.skipped
                else ""
            )
            return say(
                "{} to harvest of {}{}", many(left, "window"), many(event.accounts, "account"), done
            )
        case events.Paused():
            return say("{} pauses for {}: {}", _who(event), duration(event.seconds), event.reason)
        case events.Deferred():
            return say(
                "{} {}: {} {} must wait until {}: {}",
                event.appid,
                event.endpoint,
                many(event.windows, "window"),
                span(event.begin, event.end),
                china_time(event.until),
                event.reason,
            )
        case events.Failed():
            return say(
                "{} {}: {} {} failed: {}",
                event.appid,
                event.endpoint,
                many(event.windows, "window"),
                span(event.begin, event.end),
                without_appid(event.appid, event.error),
            )
        case events.AccountStopped():
            return say("account stopped: {}", event.error)
        case events.Stalled():
            reasons = joined("; ", map(without_rid, event.reasons))
            return say("no progress for {}: {}", duration(event.seconds), reasons)
        case events.Split():
            return say(
                "{} {}: WeChat refused a window of several days; this run requests its days one by"
                " one",
                event.appid,
                event.endpoint,
            )
        case events.Notice():
            return event.text
        case _:
            return None


def _who(event: events.Paused) -> str:
    return f"{event.appid} {event.endpoint}" if event.endpoint else event.appid


class Lines:
    """Log lines for a file or a pipe."""

    def __init__(self) -> None:
        self._counts, self._news = _Counts(), _News()
        self._shown_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        counts = self._counts
        counts.add(event)
        for line in self._news.of(event):
            log(line.text, level=line.level, event=line.event)
        now = time.monotonic()
        if now - self._shown_at >= EVERY and not isinstance(event, events.Stalled | events.Ended):
            self._shown_at = now
            report, windows = counts.report, counts.report.windows
            per_second = windows.done / max(now - counts.began, 1e-9)
            waiting = say(", {:,} waiting", windows.waiting) if windows.waiting else ""
            log(
                say(
                    "{:,} of {:,} windows, {}, {:,} tried again, {:,} failed{}, {:,.1f}/s",
                    windows.settled,
                    windows.planned,
                    many(report.records, "record"),
                    report.retries,
                    windows.failed,
                    waiting,
                    per_second,
                )
                + (say("; {}", why) if (why := counts.cause.text()) else ""),
                event="Progress",
            )


class _Rate(ProgressColumn):
    """Windows a second; nothing while nothing gets done, since the last rate has passed."""

    def __init__(self, counts: _Counts) -> None:
        super().__init__()
        self._counts = counts

    def render(self, task: Task) -> Text:
        shown = not task.finished and not self._counts.still
        return Text(f"{task.speed or 0:,.0f}/s" if shown else "")


class _TimeLeft(TimeRemainingColumn):
    """The remaining time at that rate; empty while something waits, which takes longer."""

    def __init__(self, counts: _Counts) -> None:
        super().__init__(compact=True)
        self._counts = counts

    def render(self, task: Task) -> Text:
        unknown = self._counts.still or self._counts.cause.waits()
        return Text("") if unknown else super().render(task)


class _Done(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{int(task.total):,}"
        return Text(readable("{:,}/{} windows", int(task.completed), total))


class _Progress(Progress):
    """A bar, and lines that are made each time they are shown: events may not come for hours."""

    def __init__(self, counts: _Counts) -> None:
        self._counts = counts
        super().__init__(
            BarColumn(24, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            _Done(),
            _Rate(counts),
            _TimeLeft(counts),
            console=err,
            transient=True,
            refresh_per_second=8,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield within(readable(self._counts.numbers()), err.width)
        if why := readable(self._counts.cause.text()):
            yield within(why, err.width, "yellow")


def within(text: str, width: int, style: str = "") -> Text:
    """A text on as many lines as it needs, up to `TALL`, broken between words only."""
    return Text("\n".join(wrapped(text, width, TALL)), style, overflow="ellipsis")


class Bar:
    """A progress bar; what is worth a line appears above it."""

    def __init__(self) -> None:
        self._counts, self._news = _Counts(), _News()
        self.progress = _Progress(self._counts)
        self._task = self.progress.add_task("", total=None)

    def __call__(self, event: Event) -> None:
        counts = self._counts
        counts.add(event)
        for line in self._news.of(event, silent=isinstance(event, events.Stalled)):
            self.progress.console.print(within(readable(line.text), err.width))
        windows = counts.report.windows
        self.progress.update(self._task, total=windows.planned, completed=windows.settled)
