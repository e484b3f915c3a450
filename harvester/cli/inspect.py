"""What can be told without asking WeChat: plan, status, verify.

Rule: reads the ledger and the stored data, changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import date, timedelta

from rich.table import Table
from rich.text import Text

from harvester import plugins
from harvester.cli import COMPLETE, FAILED_WINDOWS, STOPPED
from harvester.cli.screen import china_time, duration, many, out, plain, say, tell
from harvester.coverage import (
    DONE,
    EMPTY,
    FAILED,
    MISSING,
    OPEN,
    STORED,
    Calendar,
    OpenWindow,
    days_of,
)
from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.ledger import Key, Ledger, PostgresLedger, SqliteLedger
from harvester.ledger.base import KnownSink, WorkerState, place_of, shared
from harvester.limiter import Rate
from harvester.plan import (
    LATENCY,
    Cut,
    Days,
    Estimate,
    Grid,
    Load,
    china,
    days_in,
    estimate,
    last_settled_day,
    quota_days,
    runs,
)
from harvester.planner import Known, demands, known
from harvester.scope import Scope
from harvester.settings import Options
from harvester.sinks.base import Sink, keep_with, name_in, scan_of, spec_of
from harvester.verify import Verified, verify

AT_ONCE = 200
"""Accounts whose calendars are in memory together."""

# plan


async def show_plan(scope: Scope, options: Options, ledger: Ledger | None, now: float) -> int:
    """Calls, days of quota and hours of what a run would do."""
    async with ledger or nullcontext():
        calls, loads, total = await _counts(scope, options, ledger, now)
    rate = Rate.parse(options.rate)
    most = min(options.account_concurrency or options.concurrency, options.concurrency)
    caps = [min(most, scope.caps.get(appid, most)) for appid in scope.accounts]
    takes = estimate(calls, rate.per_second, options.concurrency, caps)
    names = ", ".join(endpoint.name for endpoint in scope.endpoints)
    tell(f"{names}: {scope.begin} to {scope.end}, {many(len(scope.accounts), 'account')}")
    tell(f"calls   {takes.calls:,}" + (f" ({total - takes.calls:,} are done already)"
                                        if total > takes.calls else ""))  # fmt: skip
    tell(f"time    {_time(takes, rate, options)}")
    tell(f"quota   {_quota(loads, options, now)}")
    for note in scope.notes:
        tell(f"note    {note}")
    hours = {endpoint.settled_hour for endpoint in scope.endpoints}
    for hour in sorted(hours):
        if scope.end > last_settled_day(now, hour):
            tell(f"wait    {scope.end} is not settled before {hour:02}:00 in China")
    tell("nothing was sent")
    return COMPLETE


async def _counts(
    scope: Scope, options: Options, ledger: Ledger | None, now: float
) -> tuple[list[list[int]], set[tuple[str, Load]], int]:
    """The calls by account and interface, their load on the quotas, and the windows in all."""
    has: Known = await known(ledger, now)
    calls, loads, total = [], set[tuple[str, Load]](), 0
    async for listed in demands(scope, ledger, has.spans, now, anew=options.refresh):
        row = []
        for appid, endpoint, _, _, need in listed:
            row.append(need.left)
            spent = has.spent.get((appid, endpoint.name), 0)
            loads.add((endpoint.name, _load(endpoint, need.days, need.left, spent, now)))
            total += need.planned
        calls.append(row)
    return calls, loads, total


def _time(takes: Estimate, rate: Rate, options: Options) -> str:
    """How long it takes, and what decides that."""
    if takes.seconds <= takes.by_rate:
        return (
            f"{duration(takes.seconds)} at {rate} an account, all accounts at once"
            f" (assumed: {LATENCY} s an answer)"
        )
    flight = many(options.concurrency, "request")
    if options.account_concurrency:
        flight += f" in flight, {options.account_concurrency:,} an account"
    else:
        flight += " in flight"
    return (
        f"{duration(takes.seconds)} with {flight} (assumed: {LATENCY} s an answer); the rate of"
        f" {rate} an account alone would allow {duration(takes.by_rate)}"
    )


def _load(endpoint: Endpoint, days: Days, calls: int, spent: int, now: float) -> Load:
    moves_on = days[1] == last_settled_day(now, endpoint.settled_hour)
    period = {Cut.DAYS: endpoint.span, Cut.WEEK: 7, Cut.MONTH: 30}.get(endpoint.cut, 1)
    by_the_day = endpoint.cut in (Cut.DAYS, Cut.RECENT)
    return Load(calls, spent, days[1], moves_on and by_the_day, endpoint.late_days, period)


def _quota(loads: Collection[tuple[str, Load]], options: Options, now: float) -> str:
    """The calls as days of the daily quota, and when they are over."""
    daily, today = options.daily_budget, china(now).date()
    if daily is None:
        return "WeChat publishes no daily quota; --daily-quota N tells how many days it takes"
    needed = {(name, load): quota_days(load, daily, today) for name, load in loads}
    each = f"at {daily:,} calls a day for one interface of one account"
    never = sorted({name for (name, _), days in needed.items() if days is None})
    if never:
        return f"{', '.join(never)}: never through {each}; what can still change takes as many"
    most = max((days or 0 for days in needed.values()), default=0)
    finished = today + timedelta(days=max(most - 1, 0))
    return f"{many(most, 'day')} {each}; run each day, it is finished on {finished}"


# status


async def show_status(ledger: Ledger, own: Iterable[Endpoint] = ()) -> int:
    """Coverage by month, gaps, and what waits or failed; own: interfaces of the configuration."""
    cuts = {endpoint.name: endpoint.cut for endpoint in own}
    anything = False
    async with ledger:
        if (with_workers := shared(ledger)) is not None:
            _show_workers(await with_workers.workers())
        asked = await ledger.asked()
        for name, state in (await ledger.sinks()).items():
            if not state.whole:
                tell(plain(f"{name} lacks some of it; the next run into it fills it"))
        async for calendars in _by_account(ledger):
            for key in sorted(calendars):
                cut = cuts.get(key[1]) or _cut_of(key[1])
                _show_coverage(key, asked.get(key), calendars[key], cut)
                anything = True
    if not anything:
        tell("nothing was harvested yet")
    return COMPLETE


def _show_workers(workers: Sequence[WorkerState]) -> None:
    """Who is at work, since when, and how fast."""
    if not workers:
        tell("no worker is running")
    for each in workers:
        state = "" if each.alive else f"silent since {china_time(each.until)}, "
        seconds = max(min(time.time(), each.until) - each.started, 1.0)
        tell(
            f"worker {each.name}: {state}since {china_time(each.started)},"
            f" {many(each.accounts, 'account')}, {many(each.windows, 'window')}"
            f" ({each.windows / seconds:,.1f} a second)"
        )


async def _by_account(ledger: Ledger) -> AsyncIterator[dict[Key, Calendar]]:
    """What is known of each account, of some accounts at a time; also if it is only asked for."""
    asked: defaultdict[str, list[Key]] = defaultdict(list)
    for key in await ledger.asked():
        asked[key[0]].append(key)
    appids = await ledger.accounts()
    for begin in range(0, len(appids), AT_ONCE):
        some = appids[begin : begin + AT_ONCE]
        found = await ledger.calendars(some)
        for appid in some:
            for key in asked[appid]:
                found.setdefault(key, Calendar())
        yield found


def _show_coverage(key: Key, asked: Days | None, calendar: Calendar, cut: Cut) -> None:
    spans = [span for span in (asked, calendar.span()) if span is not None]
    if not spans:
        return
    begin, end = min(span[0] for span in spans), max(span[1] for span in spans)
    final, empty = calendar.count(DONE), calendar.count(bytes([EMPTY]))
    young = calendar.count(bytes([OPEN]))
    left = list(_not_done((begin, end), calendar, cut))
    tally = calendar.stored_tally()
    records = "records not counted" if tally is None else many(tally.records, "record")
    tell(
        f"{key[0]} {key[1]}, {begin} to {end}: {final + young:,} of"
        f" {many(days_in((begin, end)), 'day')} harvested ({final:,} final, {young:,} provisional;"
        f" {empty:,} of them empty){_counted(left)}; {records}"
    )
    out.print(_months((begin, end), calendar))
    again = [window for window in calendar.windows.values() if window.stored]
    for first, last, text in sorted([*left, *_provisional(again)]):
        span = f"{first}" if first == last else f"{first} to {last}"
        tell(f"  {span} ({many(days_in((first, last)), 'day')}) {plain(text)}")


def _cut_of(name: str) -> Cut:
    """How an interface is cut; of one that is not installed it is not known: as days."""
    known = name in plugins.endpoint_names()
    return plugins.endpoint(name).cut if known else Cut.DAYS


def _not_done(days: Days, calendar: Calendar, cut: Cut) -> Iterator[tuple[date, date, str]]:
    found = [
        (first, last, _missing((first, last), cut))
        for first, last in calendar.runs(*days, bytes([MISSING]))
    ]
    for window in calendar.windows.values():
        if window.state == "waiting":
            text = f"waiting until {china_time(window.due)}: {window.detail}"
            found.append((window.begin, window.end, text))
        elif window.state == "failed":
            found.append((window.begin, window.end, f"failed: {window.detail}"))
    yield from sorted(found)


def _counted(left: Iterable[tuple[date, date, str]]) -> str:
    """How many days wait, failed, are missing: what a line about them begins with."""
    days = Counter[str]()
    for first, last, text in left:
        days[text.replace(":", " ").split(" ")[0]] += days_in((first, last))
    return "".join(
        f", {days[word]:,} {word}" for word in ("waiting", "failed", "missing") if days[word]
    )


def _missing(days: Days, cut: Cut) -> str:
    """Missing; or why there is nothing to ask for."""
    if cut is Cut.RECENT:
        return "not asked for: this interface gives no other days than those that end yesterday"
    if cut is not Cut.DAYS and not Grid(cut, 1, days[0], days[1]).count(*days):
        return f"not asked for: no whole {cut.value} lies in them"
    return "missing"


def _provisional(again: Iterable[OpenWindow]) -> Iterator[tuple[date, date, str]]:
    """Neighbouring windows that are provisional for the same reason, as one."""
    by_reason: dict[str, list[OpenWindow]] = {}
    for window in sorted(again):
        by_reason.setdefault(_without_day(window.detail), []).append(window)
    for reason, windows in by_reason.items():
        for first, last, _ in runs(window.days for window in windows):
            due = max(window.due for window in windows if first <= window.begin <= last)
            when = f" from {china_time(due)} on" if due else ""
            yield first, last, f"provisional: {reason}; the next run{when} asks again"


def _without_day(reason: str) -> str:
    """Why, without until when: that is another day for each window."""
    return reason.partition(" until ")[0]


def _months(days: Days, calendar: Calendar) -> Table:
    """A line a year, a sign a month."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
    table.add_column("")
    for month in range(1, 13):
        table.add_column(f"{month:02}")
    table.add_column("")
    for year in range(days[0].year, days[1].year + 1):
        row = calendar.years.get(year) or bytes([MISSING]) * days_of(year)
        signs = [_sign(year, month, days, bytes(row)) for month in range(1, 13)]
        table.add_row(f"  {year}", *signs)
    table.caption = "  ██ harvested  ▒▒ in part  ·· none of it  ×× with failures"
    table.caption_justify = "left"
    table.caption_style = ""
    return table


def _sign(year: int, month: int, days: Days, row: bytes) -> Text:
    first = max(date(year, month, 1), days[0])
    after = date(year + month // 12, month % 12 + 1, 1)
    last = min(after - timedelta(days=1), days[1])
    if last < first:
        return Text("  ")
    start = date(year, 1, 1).toordinal()
    asked = row[first.toordinal() - start : last.toordinal() - start + 1]
    have = len(asked) - len(asked.translate(None, STORED))
    if FAILED in asked:
        return Text("××", style="red")
    if have == len(asked):
        return Text("██", style="green")
    return Text("▒▒", style="yellow") if have else Text("··")


# verify


async def show_verification(ledger: SqliteLedger | PostgresLedger, sinks: Sequence[Sink]) -> int:
    """Compare each sink with what the ledger says; sinks: as they are reached from here."""
    async with ledger:
        known = await ledger.sinks()
        if not known:
            raise UsageError(f"{ledger.where} knows of no sink; nothing was harvested yet")
        given = {name_in(sink, ledger.path): sink for sink in sinks}
        if strange := sorted(given.keys() - known.keys()):
            raise UsageError(f"{ledger.where} knows nothing of {strange[0]}")
        each_of = [
            await _verified(ledger, name, state, given.get(name)) for name, state in known.items()
        ]
    found = [each for each in each_of if each is not None]
    differences = [each for each in found if each.differences]
    unread = [each for each in found if each.unread]
    for each in differences:
        for difference in each.differences:
            tell(plain(f"{difference.where}: {difference.what}"))
    for each in unread:
        say(plain(f"{each.where} was not verified: {each.unread}"))
    if len(unread) < len(found):
        tell("different from what was fetched" if differences else "exactly what was fetched")
    if unread:
        return STOPPED
    return FAILED_WINDOWS if differences else COMPLETE


async def _verified(
    ledger: Ledger, name: str, state: KnownSink, sink: Sink | None
) -> Verified | None:
    """What was found in a sink, as far as that can be told at once; None if there is no way."""
    where = spec_of(name, ledger.path)
    if not state.whole:
        tell(plain(f"{where} lacks some of it; the next run into it fills it"))
    try:
        if sink is None and where.partition(":")[0] in plugins.sink_schemes():
            sink = plugins.sink(where)
    except UsageError as exc:
        return Verified(where, unread=str(exc))
    if sink is None or scan_of(sink) is None:
        tell(plain(f"{where} cannot be read back; it was not verified"))
        return None
    if not state.whole:
        return None
    keep_with(sink, place_of(ledger))
    found = await verify(ledger, name, sink, state)
    if not found.unread:
        read = (
            "it was not read to its end"
            if found.broken
            else f"{many(found.records, 'record')} read"
        )
        tell(plain(f"{where}: {read}"))
    if found.unknown:
        text = f"{many(found.unknown, 'window')} of which the ledger knows nothing yet"
        tell(f"  {text}; the next run replaces them")
    if found.counted:
        text = f"{many(found.counted, 'window')} came from another destination"
        tell(f"  {text}; the records of these were counted, not compared")
    return found
