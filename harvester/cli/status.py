"""The command ``status``: totals first, then what needs attention by cause, then some of it by day.

Rule: reads the ledger, changes nothing.  Text is made only for what is shown.
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
    ONE_DAY,
    Days,
    WindowKind,
    days_in,
    period_of,
    rfc3339,
    runs,
)
from harvester.cli.exit_status import COMPLETE, FAILED_WINDOWS
from harvester.cli.language import label, translated
from harvester.cli.terminal import (
    china_time,
    escaped,
    many,
    padded,
    readable,
    show_line,
    show_table,
)
from harvester.config.accounts import ListedAccount
from harvester.config.place import Place
from harvester.ledger.base import WorkerState, shared
from harvester.ledger.coverage import MISSING, NEVER, Calendar, OpenWindow
from harvester.ledger.reach import GONE, UNASKED, Counts, Reach
from harvester.model import listed as listing
from harvester.report.causes import Cause
from harvester.report.days import STATES, Reader, StatusFilter, Stream
from harvester.report.overview import Overview, overview_of
from harvester.report.quotas import InterfaceQuota
from harvester.report.texts import share

DETAILED, ASKED = 6, 50
"""The most streams that are shown by month and day, without a filter and with one."""
LINES, CAUSES = 20, 100
"""The most lines of a kind, and the most causes."""


async def show_status(
    place: Place,
    wanted: StatusFilter,
    *,
    as_json: bool = False,
    check: bool = False,
    daily_quota: int | None = None,
) -> int:
    """Totals, what needs attention, and some of it by day; gives the exit status.

    check: whether what is missing, failed or stale is a status of its own.  daily_quota: as of
    `overview`.
    """
    async with place.ledger() as ledger:
        reader = Reader(ledger, time.time(), place.own, wanted)
        overview = await overview_of(reader, daily_quota=daily_quota)
        await (_print_json if as_json else _print)(reader, overview, place.listed or ())
    return FAILED_WINDOWS if check and not overview.is_fine else COMPLETE


# JSON


async def _print_json(reader: Reader, overview: Overview, listed: Sequence[ListedAccount]) -> None:
    """One line: the totals, the causes, and each stream with its ranges."""
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
    """What is not there, and the windows that are provisional or late, wait or failed."""
    for state, found in (
        ("missing", stream.reach.runs(MISSING)),
        ("late", stream.holes(calendar)),
        ("never_delivered", stream.reach.runs(NEVER)),
        ("cannot_be_asked", stream.reach.runs(GONE)),
    ):
        for first, last in found:
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


# text


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
        show_line(f"{many(resting, 'account')} left out: enabled is false")
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
        text = "nothing that was asked for is like that" if found else "nothing was harvested yet"
        if not overview.never:
            show_line(text)
        return
    in_full = streams <= (ASKED if wanted.narrowed else DETAILED)
    if not in_full and not wanted.narrowed:
        _show_attention(overview)
        return
    async for stream, calendar in reader.streams():
        if in_full:
            _show_stream(stream, calendar, reader.cut_of(stream.key[1]), wanted.states)
        else:
            show_line(_line_of(stream))


def _line_of(stream: Stream) -> str:
    """One interface of one account in a line."""
    return plain_row(
        f"{stream.key[0]} {stream.key[1]}: {stream.counts.stored:,} of"
        f" {many(sum(stream.counts), 'day')} harvested{_counted(stream)}"
        f"{', stale' if stream.overdue else ''}"
    )


def _show_workers(workers: Sequence[WorkerState]) -> None:
    """Who is at work, since when, and how fast."""
    if not workers:
        show_line("no worker is running")
    for each in workers[:LINES]:
        state = "" if each.alive else f"silent since {china_time(each.until)}, "
        seconds = max(min(time.time(), each.until) - each.started, 1.0)
        show_line(
            f"worker {each.name}: {state}since {china_time(each.started)},"
            f" {many(each.accounts, 'account')}, {many(each.windows, 'window')}"
            f" ({each.windows / seconds:,.1f} a second)"
        )
    if len(workers) > LINES:
        show_line(f"and {many(len(workers) - LINES, 'more worker')}")


def _show_totals(overview: Overview) -> None:
    totals, counts = overview.totals, overview.counts
    days = totals.days or (date.min, date.min)
    total = sum(counts)
    show_line(
        f"{many(totals.accounts, 'account')}, {many(len(totals.endpoints), 'interface')},"
        f" {days[0]} to {days[1]}"
    )
    show_line(
        f"  harvested    {counts.stored:,} of {many(total, 'day')}"
        f" ({share(counts.stored, total)}): {_harvested(counts)}"
    )
    for name in ("failed", "missing", "late", "waiting"):
        if number := getattr(counts, name):
            show_line(f"  {padded(label(name), 11)}  {many(number, 'day')}")
    if counts.never:
        show_line(f"  never delivered: {many(counts.never, 'day')}, requested again in vain")
    if totals.gone:
        show_line(f"  cannot be asked for any more: {many(totals.gone, 'day')}")
    if totals.not_asked:
        show_line(f"  not asked for: {many(totals.not_asked, 'day')}")
    if totals.stale:
        show_line(f"  stale        {totals.stale:,} of {totals.streams:,} interfaces of accounts")
    known = "" if not totals.uncounted else f", and those of {totals.uncounted:,} not counted"
    show_line(f"  records      {totals.records:,}{known}")
    _show_completion(overview)


def _show_completion(overview: Overview) -> None:
    """How many calls are left, and the day on which they are made."""
    calls, days, blocked = overview.calls, overview.days_left, overview.blocked
    after = f"; {many(blocked, 'more call')} once the causes are removed" if blocked else ""
    if not calls:
        if blocked:
            left = many(blocked, "call")
            show_line(f"  complete     not known: {left} left, once the causes are removed")
        return
    if days is None:
        when = "not known, as the daily quota is not (--daily-quota N)"
    elif not days:
        when = "with the next run"
    else:
        when = f"on {overview.finished}, in {many(days, 'day')} with a run each day"
        if overview.assumed:
            when += (
                f", at {overview.assumed:,} calls a day for one interface of one account (assumed)"
            )
    show_line(f"  complete     {when}: {many(calls, 'call')} left{after}")


def _show_quotas(overview: Overview) -> None:
    """The calls of today and those that are left, a line for each interface that has any."""
    shown = [each for each in overview.quotas if each.used or each.used_up or each.daily]
    if not shown:
        return
    show_line("calls today (in China):")
    for each in shown[:LINES]:
        show_line(plain_row(f"{each.endpoint}: {each.used:,} used, {_left(each)}"))
    if len(shown) > LINES:
        show_line(f"  and {many(len(shown) - LINES, 'more interface')}; --json lists them")


def _left(quota: InterfaceQuota) -> str:
    """How many calls of an interface are left, as far as it is known."""
    used_up = ""
    if quota.used_up:
        whose = "" if quota.used_up == quota.accounts == 1 else f" for {_share(quota)}"
        used_up = f"used up{whose} until {china_time(quota.until)}"
    if quota.left is None:
        return "; ".join(filter(None, (used_up, "what is left is not known")))
    daily = f" ({quota.daily:,} a day" if quota.daily else ""
    if daily:
        daily += ")" if quota.accounts == 1 else f" for each of {quota.accounts:,} accounts)"
    return f"{quota.left:,} left{daily}" + (f"; {used_up}" if used_up else "")


def _share(quota: InterfaceQuota) -> str:
    return f"{quota.used_up:,} of {many(quota.accounts, 'account')}"


def _harvested(counts: Counts) -> str:
    never = f"; {counts.never:,} never delivered" if counts.never else ""
    return (
        f"{counts.final + counts.empty:,} final, {counts.provisional:,} provisional;"
        f" {counts.empty:,} of them empty{never}"
    )


def _show_causes(overview: Overview) -> None:
    causes = [*map(_cause, overview.reasons)]
    if overview.never:
        first = ", ".join(overview.never[:3])
        left = len(overview.never) - 3
        more = f" and {many(left, 'more account')}" if left > 0 else ""
        causes.insert(0, f"never harvested: {first}{more}")
    if not causes:
        show_line("nothing needs attention")
        return
    show_line("needs attention:")
    for cause in causes[:CAUSES]:
        show_line(plain_row(cause))
    if len(causes) > CAUSES:
        show_line(f"  and {many(len(causes) - CAUSES, 'other cause')}; --json lists them")


def _cause(cause: Cause) -> str:
    what = f"{listing(cause.appids, 'account')}, {listing(sorted(cause.days), 'interface')}"
    span = f"{cause.begin}" if cause.begin == cause.end else f"{cause.begin} to {cause.end}"
    until = f" until {china_time(cause.earliest)}" if cause.state == "waiting" else ""
    reason = f": {cause.reason}" if cause.reason else ""
    state, days = _state(cause.state, until), many(sum(cause.days.values()), "day")
    return f"{state}: {what}: {days}, {span}{reason}"


def _state(word: str, until: str) -> str:
    return translated(word + until) if until else label(word)


def plain_row(text: str) -> str:
    """A line of the second level."""
    return f"  {readable(text)}"


def _show_attention(overview: Overview) -> None:
    """The first of the streams that lack something, a line each."""
    if not overview.attention:
        show_line("--appid or --endpoint shows some of it by month and day")
        return
    show_line("the first of them:")
    for each in overview.attention:
        show_line(_line_of(each))
    more = overview.to_attend - len(overview.attention)
    if more > 0:
        show_line(f"  and {more:,} more")
    show_line(
        f"--appid, --endpoint or --state ({', '.join(STATES[:4])}, …) shows some of it by day"
    )


def _counted(stream: Stream) -> str:
    """How many days wait, failed, are missing."""
    return "".join(
        f", {getattr(stream.counts, word):,} {word}"
        for word in ("waiting", "failed", "late", "missing")
        if getattr(stream.counts, word)
    )


def _show_stream(
    stream: Stream, calendar: Calendar, cut: WindowKind, states: Collection[str]
) -> None:
    """One interface of one account by month, and its ranges; states: only ranges of these."""
    days, (appid, name) = stream.days, stream.key
    records = "records not counted" if stream.records is None else many(stream.records, "record")
    none = f", {stream.not_asked:,} not asked for" if stream.not_asked else ""
    gone = f", {stream.reach.gone:,} cannot be asked for any more" if stream.reach.gone else ""
    show_line(
        readable(
            f"{appid} {name}, {days[0]} to {days[1]}: {stream.counts.stored:,} of"
            f" {many(sum(stream.counts), 'day')} harvested ({_harvested(stream.counts)})"
            f"{_counted(stream)}{gone}{none}; {records}"
        )
    )
    show_table(_months(days, stream.reach))
    if stream.overdue:
        show_line(f"  stale since {china_time(stream.overdue)}; the next run brings it up to date")
    rows = sorted(_rows(stream, calendar, cut, states))
    for first, last, text in rows[:LINES]:
        span = f"{first}" if first == last else f"{first} to {last}"
        show_line(f"  {span} ({many(days_in((first, last)), 'day')}) {readable(text)}")
    if len(rows) > LINES:
        show_line(f"  and {many(len(rows) - LINES, 'more range')}; --json lists them")


def _rows(
    stream: Stream, calendar: Calendar, cut: WindowKind, states: Collection[str]
) -> Iterator[tuple[date, date, str]]:
    """What is not done, or not for good."""
    if not states or "missing" in states:
        for first, last in stream.reach.runs(MISSING):
            yield first, last, label("missing")
        yield from _not_asked(stream, cut)
    if not states or "late" in states:
        yield from _late(stream, calendar)
    for window, found in stream.windows(calendar, ("waiting", "failed")):
        if states and window.state not in states:
            continue
        until = f" until {china_time(window.due)}" if window.state == "waiting" else ""
        for first, last in found:
            yield first, last, f"{_state(window.state, until)}: {window.detail}"
    if not states or "provisional" in states:
        yield from _provisional(each for each in calendar.windows.values() if each.state == "open")


def _not_asked(stream: Stream, cut: WindowKind) -> Iterator[tuple[date, date, str]]:
    """The days that no window can have, or none any more, and why."""
    gone = (
        "cannot be asked for any more: this interface gives no other days than those that end"
        " yesterday"
    )
    for first, last in stream.reach.runs(GONE):
        yield first, last, gone
    partly = f"not asked for: no whole {label(cut.value)} lies in them"
    (begin, end), reach = stream.days, stream.reach
    if not reach.letters:
        yield begin, end, partly
        return
    if begin < reach.first:
        yield begin, reach.first - ONE_DAY, partly
    if reach.last < end:
        yield reach.last + ONE_DAY, end, partly
    for first, last in reach.runs(UNASKED):
        yield first, last, "not asked for"


def _late(stream: Stream, calendar: Calendar) -> Iterator[tuple[date, date, str]]:
    """The days that lack what they must have, and those to which it never came."""
    late = [window for window in calendar.windows.values() if window.state == "late"]
    yield from _again(late, "late")
    for first, last in stream.holes(calendar):
        yield first, last, "late: a day of it has no row yet, and every day has one"
    for first, last in stream.reach.runs(NEVER):
        yield first, last, "never delivered: its figures were requested again for 30 days"


def _provisional(again: Iterable[OpenWindow]) -> Iterator[tuple[date, date, str]]:
    """Neighbouring windows that are provisional for the same reason, as one."""
    return _again(again, "provisional")


def _again(again: Iterable[OpenWindow], what: str) -> Iterator[tuple[date, date, str]]:
    """Neighbouring windows that are requested again for the same reason, as one."""
    by_reason: dict[str, list[OpenWindow]] = {}
    for window in sorted(again):
        by_reason.setdefault(_without_day(window.detail), []).append(window)
    for reason, windows in by_reason.items():
        for first, last, _ in runs(window.days for window in windows):
            due = max(window.due for window in windows if first <= window.begin <= last)
            when = f" from {china_time(due)} on" if due else ""
            yield first, last, f"{what}: {reason}; the next run{when} asks again"


def _without_day(reason: str) -> str:
    """Why, without until when: that is another day for each window."""
    return reason.partition(" until ")[0]


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
    table.caption = "  ██ harvested  ▒▒ in part  ·· none of it  ×× with failures"
    table.caption_justify = "left"
    table.caption_style = ""
    return table


def _sign(month: Days, days: Days, reach: Reach) -> Text:
    """How much there is of the days that were asked for of a month."""
    if month[1] < days[0] or days[1] < month[0]:
        return Text("  ")
    counts = reach.within(month).counts
    if counts.failed:
        return Text("××", style="red")
    if not counts.stored:
        return Text("··")
    return Text("▒▒", style="yellow") if counts.lacking else Text("██", style="green")
