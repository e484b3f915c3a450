"""A run of the command: signals, progress, report, exit status.

Rule: the first signal stops the run in order, the second at once; neither loses data.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from harvester import codec, events
from harvester.cli import COMPLETE, FAILED_WINDOWS, INTERRUPTED, MUST_WAIT, STOPPED
from harvester.cli.loop import Factory, run
from harvester.cli.progress import LOUD, display
from harvester.cli.screen import china_time, duration, escaped, many, plain, say
from harvester.errors import ReaderGoneError, RunError
from harvester.events import Event, Observer, Report, causes

STATUS = {
    "complete": COMPLETE,
    "partial": FAILED_WINDOWS,
    "waiting": MUST_WAIT,
    "failed": STOPPED,
    "interrupted": INTERRUPTED,
}

Harvest = Callable[[Observer, asyncio.Event], Coroutine[Any, Any, Report]]


def conduct(harvest: Harvest, factory: Factory | None = None) -> Report:
    """Run a harvest with signals and progress; whatever happens it gives a report.

    factory: what makes its event loop, if that is not asyncio's own.

    Raises `ReaderGoneError` if nobody reads what a run hands out on standard output.
    """
    return run(_conduct(harvest), factory)


async def _conduct(harvest: Harvest) -> Report:
    ended = Report(state="interrupted")
    stop = asyncio.Event()
    with display() as shown:

        def observe(event: Event) -> None:
            nonlocal ended
            if isinstance(event, events.Ended):
                ended = event.report
            shown(event)

        task = asyncio.ensure_future(harvest(observe, stop))
        _on_signals(stop, task)
        try:
            return await task
        except asyncio.CancelledError:
            return ended
        except ReaderGoneError:
            raise
        except RunError as exc:
            ended.state = "failed"
            problem = str(exc)
        finally:
            if stop.is_set():
                _heed_no_more()
    say(problem)
    return ended


def _on_signals(stop: asyncio.Event, task: asyncio.Future[Report]) -> None:
    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)


def _heed_no_more() -> None:
    """Let a key that is held down end nothing any more: what was done is told, and that is soon."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def conclude(report: Report, where: str, *, as_json: bool, aside: bool = False) -> int:
    """Tell what was done; gives the exit status.

    aside: standard output holds records, and so nothing else: what would stand there goes to
        standard error.
    """
    summary = summarize(report)
    text = ", ".join([*summary, f"stored in {where}"] if report.records and where else summary)
    print(plain(text), file=sys.stderr if as_json or aside else sys.stdout, flush=True)
    _tell_causes(report)
    if report.state in ("waiting", "partial") and report.until is not None:
        say(f"run the same command again from {china_time(report.until)}, or with --wait")
    if report.failures:
        rest = " and what waits" if report.windows.waiting else ""
        say(
            f"once that is mended, the same command tries what failed{rest} again, and nothing else"
        )
    if report.state == "interrupted":
        say("interrupted; run the same command again to go on")
    if as_json:
        show_json(report, aside=aside)
    return STATUS[report.state]


def _tell_causes(report: Report) -> None:
    """What failed and what must wait, a line for each reason."""
    failed = [f"{cause} failed: {cause.error}" for cause in causes(report.failures)]
    waiting = [
        f"{cause} must wait until {china_time(cause.until or 0.0)}: {cause.error}"
        for cause in causes(report.waits)
    ]
    for lines in (failed, waiting):
        for line in lines[:LOUD]:
            say(line)
        if len(lines) > LOUD:
            say(f"and {len(lines) - LOUD:,} more; harvester status lists them")


def show_json(report: Report, *, aside: bool) -> None:
    """The report as one line of JSON."""
    text = escaped(codec.encode(report.to_dict()).decode())
    print(text, file=sys.stderr if aside else sys.stdout, flush=True)


def conclude_unread(report: Report | None, *, as_json: bool) -> int:
    """Nobody reads any more what is handed out: nothing is said but what was asked for."""
    if as_json and report is not None:
        show_json(report, aside=True)
    return STOPPED


def summarize(report: Report) -> list[str]:
    """What a report says, in words."""
    windows = report.windows
    parts = [f"{report.state}: {many(windows.done, 'window')} harvested"]
    if windows.empty:
        parts.append(f"{windows.empty:,} of them empty")
    for number, word in (
        (report.changed, "changed"),
        (report.provisional, "still provisional"),
        (windows.skipped, "done before"),
        (windows.waiting, "waiting"),
        (windows.failed, "failed"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    parts.append(many(report.records, "record"))
    if report.foreign:
        parts.append(f"{many(report.foreign, 'row')} of days that were not asked for left out")
    retries = f" ({report.retries:,} retries)" if report.retries else ""
    parts.append(f"{many(report.requests, 'request')}{retries} in {duration(report.seconds)}")
    return parts
