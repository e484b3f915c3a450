"""A run of the command: signals, progress, report, exit status.

Rule: the first signal stops the run in order, the second at once, and so does one before the first
request; none loses data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date, datetime
from typing import Any, NamedTuple, cast

from harvester import events
from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS, INTERRUPTED, MUST_WAIT, STOPPED
from harvester.cli.loop import Factory, run
from harvester.cli.progress import LOUD, display
from harvester.cli.signals import heed
from harvester.cli.terminal import (
    china_time,
    duration,
    err,
    fitted,
    log,
    logs_json,
    many,
    notify,
    out,
    readable,
    show_json,
)
from harvester.errors import ExportError, ReaderGoneError, RunError
from harvester.events import Event, Observer, Report, State, causes
from harvester.model import listed
from harvester.texts import joined, say

STATUS = {
    State.COMPLETE: COMPLETE,
    State.PARTIAL: FAILED_WINDOWS,
    State.WAITING: MUST_WAIT,
    State.FAILED: STOPPED,
    State.INTERRUPTED: INTERRUPTED,
}

RETIRED = 47009

Harvest = Callable[[Observer, asyncio.Event], Coroutine[Any, Any, Report]]


class Ending(NamedTuple):
    """How a run ended.

    problem: what stopped it, or failed after it.  unread: the reader of standard output has gone.
    """

    report: Report
    problem: str = ""
    unread: bool = False


def conduct(harvest: Harvest, factory: Factory | None = None, *, quiet: bool = False) -> Ending:
    """Run a harvest with signals and progress; always returns a report; raises `UsageError`."""
    return run(_conduct(harvest, quiet=quiet), factory)


async def _conduct(harvest: Harvest, *, quiet: bool) -> Ending:
    ended = Report(state=State.INTERRUPTED)
    stop, begun = asyncio.Event(), asyncio.Event()
    with display(quiet=quiet) as shown:

        def observe(event: Event) -> None:
            nonlocal ended
            if isinstance(event, events.RunStarted):
                begun.set()
            if isinstance(event, events.Ended):
                ended = event.report
            shown(event)

        def in_order() -> bool:
            stop.set()
            return begun.is_set()  # until then nothing is under way

        task = asyncio.ensure_future(harvest(observe, stop))
        heed_no_more = heed(task, in_order)
        try:
            return Ending(await task)
        except asyncio.CancelledError:
            return Ending(ended)
        except ReaderGoneError as exc:
            return Ending(cast("Report", exc.report or ended), str(exc), unread=True)
        except ExportError as exc:  # the run itself had ended
            ended, problem = cast("Report", exc.report), str(exc)
        except RunError as exc:
            ended.state, problem = State.FAILED, str(exc)
        finally:
            heed_no_more()
    ended.notes.append(problem)
    return Ending(ended, problem)


class OutputOptions(NamedTuple):
    """How a result is printed; aside: all but the records on standard error."""

    as_json: bool = False
    aside: bool = False
    quiet: bool = False


def conclude(
    ending: Ending,
    where: str,
    manner: OutputOptions,
    days: tuple[date, date],
    allowed: int | None,
) -> int:
    """Show what was done; gives the exit status.

    allowed: the number of accounts that may fail; None: status 1 if any window failed.
    """
    report, problem = ending.report, ending.problem
    if ending.unread:  # nothing but the request itself: the reader of the output is gone
        if manner.as_json:
            show_json(report.to_dict(), aside=True)
        return STOPPED
    if problem and report.state == State.FAILED:
        notify(problem, level="error")
    if not manner.quiet:
        _show_summary(report, where, manner, days)
    _show_causes(report)
    _show_next(report)
    status = STATUS[report.state]
    if allowed is not None and report.failures and not problem:
        status = _allowing(report, allowed, status, quiet=manner.quiet)
    if manner.as_json:
        show_json(report.to_dict(), aside=manner.aside)
    if problem and report.state != State.FAILED:
        notify(problem, level="error")
    return STOPPED if problem else status


def _show_next(report: Report) -> None:
    if report.state in (State.WAITING, State.PARTIAL) and report.until is not None:
        notify(
            "run the same command again at {} or later, or now with --wait",
            china_time(report.until),
        )
    retired = sorted({each.endpoint for each in report.failures if each.code == RETIRED})
    if retired:
        notify(
            "remove {}: a retired interface is never enabled again; harvester endpoints NAME lists"
            " its successors",
            ", ".join(retired),
        )
    if any(each.code != RETIRED for each in report.failures):
        notify(
            "once that is corrected, run the same command again: it requests what is missing, and"
            " what can still change"
        )
    if report.state == State.INTERRUPTED:
        notify("interrupted; run the same command again to resume")


def _allowing(report: Report, allowed: int, status: int, *, quiet: bool) -> int:
    if report.state == State.INTERRUPTED:
        return status
    failed = {each.appid for each in report.failures}
    new = sorted({each.appid for each in report.failures if each.new})
    said = say("{} failed; --allow-failed allows {:,}", many(len(failed), "account"), allowed)
    if new:
        said += say("; these did not fail in the previous run: {}", listed(new, "account"))
    if len(failed) > allowed:
        notify(said)
        return status
    if not quiet:
        notify(said, level="info")
    return MUST_WAIT if report.windows.waiting else COMPLETE


def _show_summary(
    report: Report, where: str, manner: OutputOptions, days: tuple[date, date]
) -> None:
    parts = summarize(report)
    if report.records and where:
        parts.append(say("stored in {}", where))
    text = joined(", ", parts)
    text += say("; {} to {}, ended {:%Y-%m-%d %H:%M:%S}", days[0], days[1], datetime.now())
    if logs_json():
        is_fine = report.state in ("complete", "waiting")
        log(text, level="info" if is_fine else "warning", event="Summary")
    else:
        console = err if manner.as_json or manner.aside else out
        print(fitted(readable(text), console), file=console.file, flush=True)


def _show_causes(report: Report) -> None:
    failed = [cause.failed for cause in causes(report.failures)]
    waiting = [
        say("{} must wait until {}: {}", cause, china_time(cause.until or 0.0), cause.error)
        for cause in causes(report.waits)
    ]
    for lines in (failed, waiting):
        for line in lines[:LOUD]:
            notify(line)
        if len(lines) > LOUD:
            notify("and {:,} more; harvester status lists them", len(lines) - LOUD)


def summarize(report: Report) -> list[str]:
    """A report in words."""
    windows = report.windows
    parts = [say("{}: {} harvested", say(report.state), many(windows.done, "window"))]
    if windows.empty:
        parts.append(say("{:,} of them empty", windows.empty))
    for number, counted in (
        (report.changed, "{:,} changed"),
        (report.provisional, "{:,} still provisional"),
        (windows.skipped, "{:,} done before"),
        (windows.waiting, "{:,} waiting"),
        (windows.failed, "{:,} failed"),
    ):
        if number:
            parts.append(say(counted, number))
    parts.append(many(report.records, "record"))
    if report.foreign:
        parts.append(say("ignored {} of days that were not requested", many(report.foreign, "row")))
    retries = say(" ({:,} retries)", report.retries) if report.retries else ""
    parts.append(
        say("{}{} in {}", many(report.requests, "request"), retries, duration(report.seconds))
    )
    return parts
