"""The command ``status``: totals first, then what needs attention by cause, then some of it by day.

Text is made only for what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from rich.table import Table
from rich.text import Text

from harvester.base import codec
from harvester.base.dates import (
    Days,
    WindowKind,
    days_in,
    period_of,
    rfc3339,
    runs,
    without,
)
from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.language import label
from harvester.cli.terminal import (
    china_time,
    escaped,
    many,
    padded,
    readable,
    show_table,
    show_text,
)
from harvester.config.accounts import ListedAccount
from harvester.config.place import Place
from harvester.ledger import shared
from harvester.ledger.base import WorkerState
from harvester.ledger.coverage import MISSING, NEVER, Calendar, OpenWindow
from harvester.ledger.reach import GONE, LATE, NOT_DUE, STATE_OF, UNASKED, Counts, Reach
from harvester.model import listed as listing
from harvester.model import span
from harvester.report.causes import Cause
from harvester.report.days import STATES, Reader, StatusFilter, Stream, cut_of
from harvester.report.overview import Overview, overview_of
from harvester.report.quotas import InterfaceQuota
from harvester.report.texts import share
from harvester.texts import joined, say

DETAILED, ASKED = 6, 50
"""The most streams that are shown by month and day, without a filter and with one."""
LINES, CAUSES = 20, 100


async def show_status(
    place: Place,
    wanted: StatusFilter,
    *,
    as_json: bool = False,
    check: bool = False,
    daily_quota: int | None = None,
) -> int:
    """Totals, what needs attention, and some of it by day; gives the exit status."""
    async with place.ledger() as ledger:
        reader = Reader(ledger, time.time(), place.own, wanted)
        overview = await overview_of(reader, daily_quota=daily_quota)
        await (_print_json if as_json else _print)(reader, overview, place.listed or ())
    return FAILED_WINDOWS if check and not overview.is_fine else COMPLETE


async def _print_json(reader: Reader, overview: Overview, listed: Sequence[ListedAccount]) -> None:
    names = {each.appid: {"name": each.name, "group": each.group} for each in listed}
    head = codec.encode(overview.to_dict())
    print(escaped(head.decode())[:-1] + ',"streams":[', end="")
    comma = ""
    async for stream, calendar in reader.streams():
        entry = {
            **stream.to_dict(),
            **names.get(stream.key[0], {"name": "", "group": ""}),
            "ranges": [*_ranges(stream, calendar)],
        }
        print(comma + escaped(codec.encode(entry).decode()), end="")
        comma = ","
    print("]}", flush=True)


def _ranges(stream: Stream, calendar: Calendar) -> Iterator[dict[str, Any]]:
    found = [(LATE, days) for days in stream.holes(calendar)]
    for letter in (MISSING, NEVER, GONE, UNASKED, NOT_DUE):
        found += [(letter, days) for days in stream.reach.runs(letter)]
    for letter, (first, last) in found:
        state = STATE_OF[letter].name
        yield {"state": state, "begin_date": str(first), "end_date": str(last)}
    for window, days in sorted(stream.windows(calendar)):
        for first, last in days:
            yield {
                "state": "provisional" if window.state == "open" else window.state,
                "begin_date": str(first),
                "end_date": str(last),
                "reason": window.detail,
                "until": rfc3339(window.due) if window.due else None,
            }


async def _print(reader: Reader, overview: Overview, listed: Sequence[ListedAccount]) -> None:
    if shared(reader.ledger) is not None:
        _show_workers(overview.workers)
    streams = overview.totals.streams
    alone = streams <= 1 and not overview.never
    if not alone and streams:
        _show_totals(overview)
        _show_quotas(overview)
    resting = sum(not each.enabled for each in listed)
    if resting and not reader.wanted.narrowed:
        show_text("{} left out: enabled is false", many(resting, "account"))
    if not alone:
        _show_causes(overview)
    await _show_streams(reader, overview)
    if alone and streams:
        _show_completion(overview)
        _show_quotas(overview)


async def _show_streams(reader: Reader, overview: Overview) -> None:
    """Few by month and day; of many, what was asked for, or the first that lack something."""
    wanted = reader.wanted
    streams = overview.totals.streams
    if not streams:
        found = wanted.narrowed or wanted.listed is not None
        text = (
            say("no account–interface pair matches") if found else say("nothing was harvested yet")
        )
        if not overview.never:
            show_text(text)
        return
    in_full = streams <= (ASKED if wanted.narrowed else DETAILED)
    if not in_full and not wanted.narrowed:
        _show_attention(overview)
        return
    async for stream, calendar in reader.streams():
        if in_full:
            _show_stream(stream, calendar, cut_of(reader.endpoint(stream.key[1])), wanted.states)
        else:
            show_text(_line_of(stream))


def _line_of(stream: Stream) -> str:
    return plain_row(
        "{} {}: {:,} of {} harvested{}, stale"
        if stream.overdue
        else "{} {}: {:,} of {} harvested{}",
        *stream.key,
        stream.counts.stored,
        many(stream.counts.asked, "day"),
        _counted(stream),
    )


def _show_workers(workers: Sequence[WorkerState]) -> None:
    if not workers:
        show_text("no worker is running")
    for each in workers[:LINES]:
        state = "" if each.alive else say("silent since {}, ", china_time(each.until))
        seconds = max(min(time.time(), each.until) - each.started, 1.0)
        show_text(
            "worker {}: {}since {}, {}, {} ({:,.1f} per second)",
            each.name,
            state,
            china_time(each.started),
            many(each.accounts, "account"),
            many(each.windows, "window"),
            each.windows / seconds,
        )
    if len(workers) > LINES:
        show_text("and {}", many(len(workers) - LINES, "more worker"))


def _show_totals(overview: Overview) -> None:
    totals, counts = overview.totals, overview.counts
    days = totals.days or (date.min, date.min)
    total = counts.asked
    show_text(
        "{}, {}, {} to {}",
        many(totals.accounts, "account"),
        many(len(totals.endpoints), "interface"),
        days[0],
        days[1],
    )
    show_text(
        "  harvested    {:,} of {} ({}): {}",
        counts.stored,
        many(total, "day"),
        share(counts.stored, total),
        _harvested(counts),
    )
    for name in ("failed", "missing", "late", "waiting"):
        if number := getattr(counts, name):
            show_text("  {}  {}", padded(label(name), 11), many(number, "day"))
    if counts.never:
        show_text(
            "  never delivered: {}; 30 days of requests returned no figures",
            many(counts.never, "day"),
        )
    if counts.gone:
        show_text("  can no longer be requested: {}", many(counts.gone, "day"))
    if counts.not_asked:
        show_text("  not asked for: {}", many(counts.not_asked, "day"))
    if counts.not_due:
        show_text("  not due: {}", many(counts.not_due, "day"))
    if totals.stale:
        show_text(
            "  stale        {:,} of {:,} account–interface pairs", totals.stale, totals.streams
        )
    known = (
        ""
        if not totals.uncounted
        else say(" (the records of {:,} account–interface pairs are not counted)", totals.uncounted)
    )
    show_text("  records      {:,}{}", totals.records, known)
    _show_completion(overview)


def _show_completion(overview: Overview) -> None:
    calls, days, blocked = overview.calls, overview.days_left, overview.blocked
    after = say("; {} after the causes are removed", many(blocked, "more call")) if blocked else ""
    if not calls:
        if blocked:
            later = many(blocked, "call")
            show_text("  complete     not known: first remove the causes, then {} to make", later)
        return
    if days is None:
        when = say("not known, because the daily quota is not known (give --daily-quota N)")
    elif not days:
        when = say("with the next run")
    else:
        when = say(
            "on {} (in {}), if there is a run each day", overview.finished, many(days, "day")
        )
        if overview.assumed:
            when += say(
                ", at {:,} calls per day for each interface of each account (assumed)",
                overview.assumed,
            )
    show_text("  complete     {}: {} to make{}", when, many(calls, "call"), after)


def _show_quotas(overview: Overview) -> None:
    shown = [each for each in overview.quotas if each.used or each.used_up or each.daily]
    if not shown:
        return
    show_text("calls today (in China):")
    for each in shown[:LINES]:
        left = _left(each)
        known = "{}: {:,} used, {}" if left else "{}: {:,} used"
        show_text(plain_row(known, each.endpoint, each.used, *([left] if left else [])))
    if len(shown) > LINES:
        show_text("  and {}; --json lists them", many(len(shown) - LINES, "more interface"))


def _left(quota: InterfaceQuota) -> str:
    used_up = ""
    if quota.used_up:
        whose = "" if quota.used_up == quota.accounts == 1 else say(" for {}", _share(quota))
        used_up = say("used up{} until {}", whose, china_time(quota.until))
    if quota.left is None:
        return used_up
    left = say("{:,} left", quota.left)
    if quota.daily and quota.accounts == 1:
        left += say(" ({:,} a day)", quota.daily)
    elif quota.daily:
        left += say(" ({:,} per day for each of {:,} accounts)", quota.daily, quota.accounts)
    return joined("; ", filter(None, (left, used_up)))


def _share(quota: InterfaceQuota) -> str:
    return say("{:,} of {}", quota.used_up, many(quota.accounts, "account"))


def _harvested(counts: Counts) -> str:
    never = say("; {:,} never delivered", counts.never) if counts.never else ""
    return say(
        "{:,} final, {:,} provisional; {:,} of them empty{}",
        counts.final + counts.empty,
        counts.provisional,
        counts.empty,
        never,
    )


def _show_causes(overview: Overview) -> None:
    causes = [*map(_cause, overview.reasons)]
    if overview.never:
        first = ", ".join(overview.never[:3])
        left = len(overview.never) - 3
        more = say(" and {}", many(left, "more account")) if left > 0 else ""
        causes.insert(0, say("never harvested: {}{}", first, more))
    if not causes:
        show_text("nothing needs attention")
        return
    show_text("needs attention:")
    for cause in causes[:CAUSES]:
        show_text(plain_row(cause))
    if len(causes) > CAUSES:
        show_text("  and {}; --json lists them", many(len(causes) - CAUSES, "other cause"))


def _cause(cause: Cause) -> str:
    accounts, interfaces = (
        listing(cause.appids, "account"),
        listing(sorted(cause.days), "interface"),
    )
    until = cause.earliest if cause.state == "waiting" else None
    text = say(
        "{}: {}, {}: {}, {}",
        _state(cause.state, until),
        accounts,
        interfaces,
        many(sum(cause.days.values()), "day"),
        span(cause.begin, cause.end),
    )
    return say("{}: {}", text, cause.reason) if cause.reason else text


def _state(word: str, until: float | None) -> str:
    return say(word) if until is None else say("waiting until {}", china_time(until))


def plain_row(template: str, *values: object) -> str:
    """A line of the second level."""
    return f"  {readable(template, *values)}"


def _show_attention(overview: Overview) -> None:
    if not overview.attention:
        show_text("to see one account or interface by month and day, use --appid or --endpoint")
        return
    show_text("the first account–interface pairs that need attention:")
    for each in overview.attention:
        show_text(_line_of(each))
    more = overview.to_attend - len(overview.attention)
    if more > 0:
        show_text("  and {:,} more", more)
    show_text(
        "to see some accounts, interfaces or states by day, use --appid, --endpoint or --state"
        " ({}, …)",
        ", ".join(STATES[:4]),
    )


def _counted(stream: Stream) -> str:
    counts = stream.counts
    return joined(
        "",
        [
            say(counted, number)
            for counted, number in (
                (", {:,} waiting", counts.waiting),
                (", {:,} failed", counts.failed),
                (", {:,} late", counts.late),
                (", {:,} missing", counts.missing),
            )
            if number
        ],
    )


def _show_stream(
    stream: Stream, calendar: Calendar, cut: WindowKind, states: Collection[str]
) -> None:
    days, (appid, name) = stream.days, stream.key
    records = (
        say("records not counted") if stream.records is None else many(stream.records, "record")
    )
    none = say(", {:,} not asked for", stream.counts.not_asked) if stream.counts.not_asked else ""
    gone = (
        say(", {:,} can no longer be requested", stream.counts.gone) if stream.counts.gone else ""
    )
    show_text(
        readable(
            "{} {}, {} to {}: {:,} of {} harvested ({}){}{}{}; {}",
            appid,
            name,
            days[0],
            days[1],
            stream.counts.stored,
            many(stream.counts.asked, "day"),
            _harvested(stream.counts),
            _counted(stream),
            gone,
            none,
            records,
        )
    )
    show_table(_months(days, stream.reach))
    if stream.overdue:
        show_text("  stale since {}; the next run updates it", china_time(stream.overdue))
    rows = sorted(_rows(stream, calendar, cut, states))
    for first, last, text in rows[:LINES]:
        number = many(days_in((first, last)), "day")
        show_text("  {} ({}) {}", span(first, last), number, readable(text))
    if len(rows) > LINES:
        show_text("  and {}; --json lists them", many(len(rows) - LINES, "more range"))


def _rows(
    stream: Stream, calendar: Calendar, cut: WindowKind, states: Collection[str]
) -> Iterator[tuple[date, date, str]]:
    if not states or "missing" in states:
        for first, last in stream.reach.runs(MISSING):
            yield first, last, say("missing")
        yield from _not_asked(stream, cut)
    if not states or "late" in states:
        yield from _late(stream, calendar)
    for window, found in stream.windows(calendar, ("waiting", "failed")):
        if states and window.state not in states:
            continue
        state = _state(window.state, window.due if window.state == "waiting" else None)
        for first, last in found:
            yield first, last, say("{}: {}", state, window.detail)
    if not states or "provisional" in states:
        opened = (each for each in calendar.windows.values() if each.state == "open")
        yield from _again(opened, "provisional")


def _not_asked(stream: Stream, cut: WindowKind) -> Iterator[tuple[date, date, str]]:
    gone = say(
        "can no longer be requested: this interface answers only for periods that end yesterday"
    )
    for first, last in stream.reach.runs(GONE):
        yield first, last, gone
    for first, last in stream.reach.runs(UNASKED):
        text = say("not asked for")
        if not without([(first, last)], stream.asked):  # a part of a week or month
            text = say("not asked for: the range contains no complete {}", label(cut.value))
        yield first, last, text
    for first, last in stream.reach.runs(NOT_DUE):
        yield first, last, say("not due: WeChat does not have the figures yet")


def _late(stream: Stream, calendar: Calendar) -> Iterator[tuple[date, date, str]]:
    late = [window for window in calendar.windows.values() if window.state == "late"]
    yield from _again(late, "late")
    for first, last in stream.holes(calendar):
        yield first, last, say("late: a day has no row yet, but each day must have one")
    for first, last in stream.reach.runs(NEVER):
        yield first, last, say("never delivered: 30 days of requests returned no figures")


def _again(again: Iterable[OpenWindow], what: str) -> Iterator[tuple[date, date, str]]:
    """Neighbouring windows that are requested again for the same reason, as one."""
    by_reason: dict[str, list[OpenWindow]] = {}
    for window in sorted(again):
        by_reason.setdefault(window.detail, []).append(window)
    for reason, windows in by_reason.items():
        for first, last, _ in runs(window.days for window in windows):
            due = max(window.due for window in windows if first <= window.begin <= last)
            when = say(" at {} or later", china_time(due)) if due else ""
            why = say("{}: {}; the next run{} requests it again", say(what), reason, when)
            yield first, last, why


def _months(days: Days, reach: Reach) -> Table:
    """A line a year, a sign a month."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
    table.add_column("")
    for month in range(1, 13):
        table.add_column(f"{month:02}")
    table.add_column("")
    for year in range(days[0].year, days[1].year + 1):
        signs = [_sign(period_of(date(year, month, 1), WindowKind.MONTH), days, reach)
                 for month in range(1, 13)]  # fmt: skip
        table.add_row(f"  {year}", *signs)
    table.caption = say("  ██ harvested  ▒▒ partly harvested  ·· not harvested  ×× with failures")
    table.caption_justify = "left"
    table.caption_style = ""
    return table


def _sign(month: Days, days: Days, reach: Reach) -> Text:
    if month[1] < days[0] or days[1] < month[0]:
        return Text("  ")
    counts = reach.within(month).counts
    if not counts.asked:
        return Text("  ")
    if counts.failed:
        return Text("××", style="red")
    if not counts.stored:
        return Text("··")
    return Text("▒▒", style="yellow") if counts.lacking else Text("██", style="green")
