"""What can be told without asking WeChat: plan, status, verify.

Rule: reads the ledger and the stored data, changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from harvester import plugins
from harvester.cli import COMPLETE, FAILED_WINDOWS, STOPPED
from harvester.cli.screen import china_time, duration, many, out, plain, say, tell
from harvester.codec import add_checksums, checksum
from harvester.committer import name_in
from harvester.coverage import DONE, FAILED, WAITING, Stretch
from harvester.endpoint import Endpoint, grid
from harvester.errors import SinkError, UsageError
from harvester.ledger import Key, Ledger, Young
from harvester.limiter import Rate
from harvester.model import Window
from harvester.plan import (
    LATENCY,
    Cut,
    Days,
    Estimate,
    Grid,
    Load,
    both,
    china,
    days_in,
    estimate,
    gaps,
    last_legal_day,
    last_settled_day,
    quota_days,
    runs,
)
from harvester.roster import Known, known, needed
from harvester.scope import Scope
from harvester.settings import Options
from harvester.sinks.base import Readable, Receipt, Sink, Verifiable
from harvester.sinks.segments import window_of

# plan


async def show_plan(
    scope: Scope, options: Options, sinks: Sequence[Sink], ledger: Path, now: float
) -> int:
    """Calls, days of quota and hours of what a run would do."""
    has = await _known(sinks, ledger, now) if ledger.exists() else Known()  # noqa: ASYNC240
    replaces = options.refresh or len(sinks) > 1
    calls, loads, total = [], set[tuple[str, Load]](), 0
    for appid in scope.accounts:
        row = []
        for endpoint in scope.endpoints:
            days = scope.range_of(endpoint)
            if days is not None:
                cut = grid(endpoint, last_legal_day(now))
                key = (appid, endpoint.name)
                need = needed(cut, days, key, has, replaces=replaces, refresh=options.refresh)
                row.append(need.calls)
                load = _load(endpoint, days, need.calls, has.spent.get(key, 0), now)
                loads.add((endpoint.name, load))
                total += need.planned - need.left + need.calls
        calls.append(row)
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


async def _known(sinks: Sequence[Sink], path: Path, now: float) -> Known:
    async with Ledger(path, readonly=True) as ledger:
        return await known(ledger, [name_in(sink, ledger) for sink in sinks], now)


# status


async def show_status(path: Path, own: Iterable[Endpoint] = ()) -> int:
    """Coverage by month, gaps, and what waits or failed; own: interfaces of the configuration."""
    cuts = {endpoint.name: endpoint.cut for endpoint in own}
    async with Ledger(path, readonly=True) as ledger:
        asked = await ledger.asked()
        sinks = await ledger.sinks()
        known = {sink: await ledger.stretches(sink) for sink in sinks}
        young = {sink: await ledger.provisional(sink) for sink in sinks}
    for sink in sinks:
        if len(sinks) > 1:
            tell(f"in {sink}:")
        for key in sorted(asked.keys() | known[sink].keys()):
            stretches, again = known[sink].get(key, []), young[sink].get(key, {})
            cut = cuts.get(key[1]) or _cut_of(key[1])
            _show_coverage(key, asked.get(key), stretches, again, cut)
    if not sinks:
        tell("nothing was harvested yet")
    return COMPLETE


def _show_coverage(
    key: Key,
    asked: Days | None,
    stretches: Sequence[Stretch],
    again: Mapping[Days, Young],
    cut: Cut,
) -> None:
    begin = min([stretch.begin for stretch in stretches] + ([asked[0]] if asked else []))
    end = max([stretch.end for stretch in stretches] + ([asked[1]] if asked else []))
    done = [stretch for stretch in stretches if stretch.state == DONE]
    days = sum(stretch.days for stretch in done)
    young = sum(map(days_in, again))
    empty = sum(stretch.empty_days for stretch in done)
    left = list(_not_done((begin, end), stretches, cut))
    tell(
        f"{key[0]} {key[1]}, {begin} to {end}: {days:,} of {many(days_in((begin, end)), 'day')}"
        f" harvested ({days - young:,} final, {young:,} provisional; {empty:,} of them empty)"
        f"{_counted(left)}; {many(sum(stretch.records for stretch in done), 'record')}"
    )
    out.print(_calendar((begin, end), stretches))
    for first, last, text in sorted([*left, *_young(again)]):
        span = f"{first}" if first == last else f"{first} to {last}"
        tell(f"  {span} ({many(days_in((first, last)), 'day')}) {plain(text)}")


def _cut_of(name: str) -> Cut:
    """How an interface is cut; of one that is not installed it is not known: as days."""
    known = name in plugins.endpoint_names()
    return plugins.endpoint(name).cut if known else Cut.DAYS


def _not_done(
    days: Days, stretches: Sequence[Stretch], cut: Cut
) -> Iterator[tuple[date, date, str]]:
    known = [(stretch.begin, stretch.end) for stretch in stretches]
    found = [(first, last, _missing((first, last), cut)) for first, last in gaps(*days, known)]
    for stretch in stretches:
        if stretch.state == WAITING:
            found.append((stretch.begin, stretch.end, _waiting(stretch.detail)))
        elif stretch.state == FAILED:
            found.append((stretch.begin, stretch.end, f"failed: {stretch.detail}"))
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


def _young(again: Mapping[Days, Young]) -> Iterator[tuple[date, date, str]]:
    """Neighbouring windows that are provisional for the same reason, as one."""
    by_reason: dict[str, list[Days]] = {}
    for days, (reason, _) in sorted(again.items()):
        by_reason.setdefault(_without_day(reason), []).append(days)
    for reason, windows in by_reason.items():
        for first, last, _ in runs(windows):
            due = max(again[days].due for days in windows if first <= days[0] <= last)
            when = f" from {china_time(due)} on" if due else ""
            yield first, last, f"provisional: {reason}; the next run{when} asks again"


def _without_day(reason: str) -> str:
    """Why, without until when: that is another day for each window."""
    return reason.partition(" until ")[0]


def _waiting(detail: str) -> str:
    """Until when, as China's clocks show it, and why."""
    until, _, reason = detail.partition(" ")
    return f"waiting until {china_time(datetime.fromisoformat(until).timestamp())}: {reason}"


def _calendar(days: Days, stretches: Sequence[Stretch]) -> Table:
    """A line a year, a sign a month."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
    table.add_column("")
    for month in range(1, 13):
        table.add_column(f"{month:02}")
    table.add_column("")
    done = [(stretch.begin, stretch.end) for stretch in stretches if stretch.state == DONE]
    bad = [(stretch.begin, stretch.end) for stretch in stretches if stretch.state == FAILED]
    for year in range(days[0].year, days[1].year + 1):
        signs = [_sign(year, month, days, done, bad) for month in range(1, 13)]
        table.add_row(f"  {year}", *signs)
    table.caption = "  ██ harvested  ▒▒ in part  ·· none of it  ×× with failures"
    table.caption_justify = "left"
    table.caption_style = ""
    return table


def _sign(year: int, month: int, days: Days, done: list[Days], bad: list[Days]) -> Text:
    first = date(year, month, 1)
    last = date.fromordinal(date(year + month // 12, month % 12 + 1, 1).toordinal() - 1)
    asked = both([(first, last)], [days])
    if not asked:
        return Text("  ")
    wanted = sum(map(days_in, asked))
    have = sum(map(days_in, both(asked, done)))
    if both(asked, bad):
        return Text("××", style="red")
    if have == wanted:
        return Text("██", style="green")
    return Text("▒▒", style="yellow") if have else Text("··")


# verify


class _Part(NamedTuple):
    """Records of one window.

    checksum: of their lines, or None where no lines are kept; intact: what the sink itself says.
    """

    window: Window
    records: int
    checksum: int | None = None
    intact: bool = True


class _Count:
    __slots__ = ("checksum", "intact", "records")

    def __init__(self) -> None:
        self.records = self.checksum = 0
        self.intact = True

    def add(self, part: _Part) -> None:
        self.records += part.records
        self.checksum = add_checksums(self.checksum, part.checksum or 0)
        self.intact = self.intact and part.intact

    def is_as(self, stretch: Stretch, *, with_lines: bool) -> bool:
        return self.intact and (not with_lines or self.checksum == stretch.checksum)


class Difference(NamedTuple):
    """Something that is not as the ledger says."""

    where: str
    what: str


async def show_verification(path: Path) -> int:
    """Compare what lies in each sink with what the ledger says."""
    async with Ledger(path, readonly=True) as ledger:
        names = await ledger.sinks()
        receipts = {name: await ledger.receipt(name) for name in names}
        known = {name: await ledger.stretches(name) for name in names}
    if not names:
        raise UsageError(f"the ledger {path} knows of no sink; nothing was harvested yet")
    found: list[Difference] = []
    unread: list[Difference] = []
    for name in names:
        where, records = spec_of(name, path), 0
        try:
            sink = _sink(name, path)
            if not isinstance(sink, Readable | Verifiable):
                tell(f"{name} cannot be read back; it was not verified")
                continue
            records, differences = _compare(_parts(sink, receipts[name]), known[name])
            found += differences
        except SinkError as exc:
            found.append(Difference(where, str(exc)))
        except UsageError as exc:
            unread.append(Difference(where, str(exc)))
            continue
        tell(f"{where}: {many(records, 'record')} read")
    for difference in found:
        tell(plain(f"{difference.where}: {difference.what}"))
    for one in unread:
        say(plain(f"{one.where} was not verified: {one.what}"))
    if found or len(unread) < len(names):
        tell("different from what was fetched" if found else "exactly what was fetched")
    if unread:
        return STOPPED
    return FAILED_WINDOWS if found else COMPLETE


def spec_of(name: str, ledger: Path) -> str:
    """A sink's spec from its name in the ledger."""
    scheme, _, rest = name.partition(":")
    return f"{scheme}:{ledger.parent}" if rest == "." else name


def _sink(name: str, ledger: Path) -> Sink | None:
    """The sink of a name, if a spec names it: a sink of somebody's own cannot be made from that.

    Raises `UsageError` if it cannot be made here.
    """
    spec = spec_of(name, ledger)
    return plugins.sink(spec) if spec.partition(":")[0] in plugins.sink_schemes() else None


def _parts(sink: Readable | Verifiable, receipt: Receipt) -> Iterator[_Part]:
    """What stands in a sink, in parts of one window each."""
    if isinstance(sink, Readable):
        for line in sink.read_lines(receipt):
            yield _Part(window_of(line), 1, checksum([line]))
    else:
        for window, records, intact in sink.stored(receipt):
            yield _Part(window, records, intact=intact)


def _compare(
    parts: Iterable[_Part], known: dict[Key, list[Stretch]]
) -> tuple[int, list[Difference]]:
    counts = {key: [_Count() for _ in stretches] for key, stretches in known.items()}
    begins = {key: [stretch.begin for stretch in each] for key, each in known.items()}
    foreign: dict[str, int] = {}
    records = 0
    with_lines = False
    for part in parts:
        window, number = part.window, part.records
        records += number
        with_lines = with_lines or part.checksum is not None
        key = (window.appid, window.endpoint)
        place = bisect_right(begins.get(key, []), window.begin) - 1
        stretch = known[key][place] if place >= 0 else None
        if stretch is None or window.end > stretch.end or stretch.state != DONE:
            foreign[str(window)] = foreign.get(str(window), 0) + number
            continue
        count = counts[key][place]
        count.add(part)
    found = [
        Difference(where, f"{many(number, 'record')} of which the ledger knows nothing")
        for where, number in foreign.items()
    ]
    for key, stretches in known.items():
        for stretch, count in zip(stretches, counts[key], strict=True):
            found += _differences(key, stretch, count, with_lines=with_lines)
    return records, found


def _differences(
    key: Key, stretch: Stretch, count: _Count, *, with_lines: bool
) -> Iterator[Difference]:
    where = f"{key[0]} {key[1]} {stretch.begin} to {stretch.end}"
    if count.records != stretch.records:
        yield Difference(
            where, f"{many(count.records, 'record')} are stored, {stretch.records:,} were fetched"
        )
    elif not count.is_as(stretch, with_lines=with_lines):
        yield Difference(where, "as many records as were fetched, but not the same ones")
