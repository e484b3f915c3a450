"""The command ``status``: totals first, then what needs attention by cause, then some of it by day.

Rule: reads the ledger, changes nothing.  Days are counted a year at a time; text is made only for
what is shown.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from harvester import codec, plugins
from harvester.cli import COMPLETE, FAILED_WINDOWS, STATES
from harvester.cli.screen import china_time, escaped, many, named, out, plain, tell
from harvester.config.accounts import ListedAccount
from harvester.coverage import (
    EMPTY,
    FAILED,
    FINAL,
    MISSING,
    OPEN,
    STORED,
    WAITING,
    Calendar,
    OpenWindow,
    days_of,
)
from harvester.endpoint import Endpoint
from harvester.errors import UsageError
from harvester.events import reason_of
from harvester.ledger import Key, Ledger
from harvester.ledger.base import WorkerState, shared
from harvester.model import listed
from harvester.plan import (
    ONE_DAY,
    Cut,
    Days,
    Grid,
    days_in,
    last_settled_day,
    nearest,
    rfc3339,
    runs,
    settles_at,
)

AT_ONCE = 100
"""Accounts whose calendars are in memory together."""
DETAILED, ASKED = 6, 50
"""Up to so many streams are shown by month and day, if no filter was given and if one was."""
LINES, CAUSES = 20, 100
"""So many lines of a kind, and so many causes, are shown."""
GRACE = 26 * 3600.0
"""Seconds after which what could have been asked for is stale: a daily run's, and some."""


class Wanted(NamedTuple):
    """What of the ledger is to be shown.

    appids, endpoints, states: only these, all if there are none.  listed: the accounts of a file,
    None if there is no file: then all that the ledger knows.
    """

    appids: Collection[str] = ()
    endpoints: Collection[str] = ()
    states: Collection[str] = ()
    listed: Collection[ListedAccount] | None = None

    @property
    def narrowed(self) -> bool:
        """Whether some of it was asked for."""
        return bool(self.appids or self.endpoints or self.states)


class Stream(NamedTuple):
    """One interface of one account, counted in days.

    missing: that can be asked for and were not harvested; not_asked: that no window can have.
    records: None if they are not known.  overdue: since when its figures could have been asked for
    again, a Unix time; 0 if they are not stale.
    """

    key: Key
    days: Days
    final: int
    empty: int
    provisional: int
    waiting: int
    failed: int
    missing: int
    not_asked: int
    records: int | None
    overdue: float

    @property
    def states(self) -> list[str]:
        """What can be said of it."""
        found = [name for name in ("failed", "missing", "waiting") if getattr(self, name)]
        found += ["stale"] if self.overdue else []
        return [*(found or ["complete"]), *(["provisional"] if self.provisional else [])]

    @property
    def needs_attention(self) -> bool:
        """Whether it lacks something."""
        return "complete" not in self.states

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, less the account's name."""
        return {
            "appid": self.key[0],
            "endpoint": self.key[1],
            "begin_date": str(self.days[0]),
            "end_date": str(self.days[1]),
            "states": self.states,
            **{name: getattr(self, name) for name in COUNTS},
            "records": self.records,
            "stale_since": rfc3339(self.overdue) if self.overdue else None,
        }


COUNTS = ("final", "empty", "provisional", "waiting", "failed", "missing", "not_asked")


@dataclass(slots=True)
class Group:
    """Days that need attention for one reason, of any accounts and interfaces."""

    state: str
    reason: str
    accounts: int = 0
    appids: dict[str, None] = field(default_factory=dict)  # the first of them
    endpoints: dict[str, None] = field(default_factory=dict)
    days: int = 0
    begin: date = date.max
    end: date = date.min
    until: float = 0.0
    last: str = ""

    def add(self, key: Key, number: int, days: Days, until: float = 0.0) -> None:
        """Days of one interface of one account; accounts come one after the other."""
        if key[0] != self.last:
            self.last, self.accounts = key[0], self.accounts + 1
            if self.accounts <= LINES:
                self.appids[key[0]] = None
        self.endpoints[key[1]] = None
        self.days += number
        self.begin, self.end = min(self.begin, days[0]), max(self.end, days[1])
        if until:
            self.until = min(self.until, until) if self.until else until

    def __str__(self) -> str:
        first = [*self.appids][:3]
        accounts = ", ".join(first)
        if self.accounts > len(first):
            accounts += f" and {many(self.accounts - len(first), 'more account')}"
        what = f"{accounts}, {listed(self.endpoints, 'interface')}"
        span = f"{self.begin}" if self.begin == self.end else f"{self.begin} to {self.end}"
        until = f" until {china_time(self.until)}" if self.state == "waiting" else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.state}{until}: {what}: {many(self.days, 'day')}, {span}{reason}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; of many accounts the first."""
        return {
            "state": self.state,
            "reason": self.reason,
            "accounts": self.accounts,
            "appids": [*self.appids],
            "endpoints": [*self.endpoints],
            "days": self.days,
            "begin_date": str(self.begin),
            "end_date": str(self.end),
            "until": rfc3339(self.until) if self.until else None,
        }


class Overview:
    """The sums of what was asked for."""

    def __init__(self) -> None:
        self.streams = self.accounts = self.to_attend = self.uncounted = 0
        self.endpoints: dict[str, None] = {}
        self.days: Days | None = None
        self.counts = dict.fromkeys(COUNTS, 0)
        self.records = 0
        self.stale = 0
        self.groups: dict[tuple[str, str], Group] = {}
        self.attention: list[Stream] = []  # the first of them
        self.never: list[str] = []
        self._last = ""

    def add(self, stream: Stream, calendar: Calendar) -> None:
        """One interface of one account; accounts come one after the other."""
        self.streams += 1
        self.accounts += stream.key[0] != self._last
        self._last = stream.key[0]
        self.endpoints[stream.key[1]] = None
        begin, end = self.days or stream.days
        self.days = min(begin, stream.days[0]), max(end, stream.days[1])
        for name in COUNTS:
            self.counts[name] += getattr(stream, name)
        self.records += stream.records or 0
        self.uncounted += stream.records is None
        self.stale += bool(stream.overdue)
        if stream.needs_attention:
            self.to_attend += 1
            if len(self.attention) < LINES:
                self.attention.append(stream)
            self._add_causes(stream, calendar)

    def _add_causes(self, stream: Stream, calendar: Calendar) -> None:
        appid, _ = stream.key
        for window in calendar.windows.values():
            if window.state in ("failed", "waiting"):
                group = self._group(window.state, reason_of(appid, window.detail))
                group.add(stream.key, days_in(window.days), window.days, window.due)
        if stream.missing:
            found = calendar.bounds(*stream.days, MISSING) or stream.days
            self._group("missing", "").add(stream.key, stream.missing, found)
        if stream.overdue:
            reason = "due for more than a day, and no run has asked for it"
            self._group("stale", reason).add(stream.key, days_in(stream.days), stream.days)

    def _group(self, state: str, reason: str) -> Group:
        return self.groups.setdefault((state, reason), Group(state, reason))

    @property
    def causes(self) -> list[Group]:
        """What needs attention, the gravest first, and of these the most days first."""
        return sorted(self.groups.values(), key=lambda each: (STATES.index(each.state), -each.days))

    @property
    def is_fine(self) -> bool:
        """Whether nothing is missing, failed or stale."""
        found = self.counts["failed"] or self.counts["missing"] or self.stale or self.never
        return not found

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        begin, end = (str(day) for day in self.days) if self.days else (None, None)
        return {
            "state": "fine" if self.is_fine else "incomplete",
            "accounts": self.accounts,
            "endpoints": sorted(self.endpoints),
            "begin_date": begin,
            "end_date": end,
            **self.counts,
            "stale": self.stale,
            "records": None if self.uncounted else self.records,
            "never_harvested": self.never,
        }


async def show_status(
    ledger: Ledger,
    own: Iterable[Endpoint] = (),
    wanted: Wanted = Wanted(),  # noqa: B008  (it is immutable)
    *,
    as_json: bool = False,
    check: bool = False,
) -> int:
    """Totals, what needs attention, and some of it by day; gives the exit status.

    own: interfaces of the configuration.  check: whether what is missing, failed or stale is a
    status of its own.
    """
    async with ledger:
        reader = Reader(ledger, own, wanted)
        await reader.prepare()
        overview = Overview()
        async for stream, calendar in reader.streams():
            overview.add(stream, calendar)
        overview.never = reader.never_harvested()
        await (_print_json if as_json else _print)(reader, overview)
    return FAILED_WINDOWS if check and not overview.is_fine else COMPLETE


class Reader:
    """The streams of a ledger that are to be shown, in order, some accounts in memory at a time."""

    def __init__(self, ledger: Ledger, own: Iterable[Endpoint], wanted: Wanted) -> None:
        self.ledger, self.wanted = ledger, wanted
        self._own = {endpoint.name: endpoint for endpoint in own}
        self._known: dict[str, Endpoint | None] = {}
        self._asked: dict[Key, Days] = {}
        self._of_account: defaultdict[str, list[Key]] = defaultdict(list)
        self._called: dict[date, dict[Key, int]] = {}
        self._appids: list[str] = []
        self._now = time.time()

    async def prepare(self) -> None:
        """Read what is asked for; raises `UsageError` for an account that nobody knows."""
        self._asked = await self.ledger.asked()
        for key in self._asked:
            self._of_account[key[0]].append(key)
        known = await self.ledger.accounts()
        wanted = self.wanted
        names = {*known, *[each.appid for each in wanted.listed or ()]}
        for appid in wanted.appids:
            if appid not in names:
                raise UsageError(f"the ledger knows no account {appid}{nearest(appid, known)}")
        chosen = {*wanted.appids} or self.enabled(*known)
        self._appids = [appid for appid in known if appid in chosen]

    def enabled(self, *appids: str) -> set[str]:
        """Those that a file of accounts names and does not disable; all, if there is no file."""
        if self.wanted.listed is None:
            return {*appids}
        return {each.appid for each in self.wanted.listed if each.enabled}

    def never_harvested(self) -> list[str]:
        """The accounts of the file of which the ledger knows nothing."""
        listed = self.wanted.listed or ()
        known = {*self._appids}
        return [
            each.appid
            for each in listed
            if each.enabled
            and each.appid not in known
            and (not self.wanted.appids or each.appid in self.wanted.appids)
        ]

    async def streams(self) -> AsyncIterator[tuple[Stream, Calendar]]:
        """What is to be shown; also what was only asked for."""
        for begin in range(0, len(self._appids), AT_ONCE):
            some = self._appids[begin : begin + AT_ONCE]
            found = await self.ledger.calendars(some)
            for appid in some:
                for key in self._of_account[appid]:
                    found.setdefault(key, Calendar())
            for key in sorted(found):
                if self.wanted.endpoints and key[1] not in self.wanted.endpoints:
                    continue
                stream = await self._stream(key, found[key])
                if stream is None:
                    continue
                states = self.wanted.states
                if not states or not {*states}.isdisjoint(stream.states):
                    yield stream, found[key]

    async def _stream(self, key: Key, calendar: Calendar) -> Stream | None:
        asked = self._asked.get(key)
        spans = [span for span in (asked, calendar.span()) if span is not None]
        if not spans:
            return None
        days = min(span[0] for span in spans), max(span[1] for span in spans)
        counts = calendar.letters()
        missing = days_in(days) - sum(counts.values())
        not_asked = self._not_asked(key[1], days, calendar) if missing else 0
        return Stream(
            key,
            days,
            counts[FINAL] + counts[EMPTY],
            counts[EMPTY],
            counts[OPEN],
            counts[WAITING],
            counts[FAILED],
            missing - not_asked,
            not_asked,
            _records(calendar),
            await self._overdue(key, asked, calendar),
        )

    def _not_asked(self, name: str, days: Days, calendar: Calendar) -> int:
        """Missing days that no window can have."""
        cut = self.cut_of(name)
        if cut is Cut.DAYS:
            return 0
        missing = calendar.runs(*days, bytes([MISSING]))
        return sum(days_in(each) for each in missing if not can_be_asked(each, cut))

    def cut_of(self, name: str) -> Cut:
        """How an interface is cut; of one that is not installed it is not known: as days."""
        endpoint = self._endpoint(name)
        return endpoint.cut if endpoint else Cut.DAYS

    def _endpoint(self, name: str) -> Endpoint | None:
        if name not in self._known:
            self._known[name] = self._own.get(name) or plugins.known_endpoint(name)
        return self._known[name]

    async def _overdue(self, key: Key, asked: Days | None, calendar: Calendar) -> float:
        """Since when its figures could have been asked for again; 0 if they are not stale.

        They are if something that was due to be asked for again was not, or if the range once
        ended at the last day there was, and has not moved on.
        """
        before = self._now - GRACE
        due = [each.due for each in calendar.windows.values() if 0 < each.due < before]
        if due:
            return min(due)
        endpoint = self._endpoint(key[1])
        if asked is None or endpoint is None or endpoint.retired:
            return 0.0
        last, hour = asked[1], endpoint.settled_hour
        if last_settled_day(before, hour) <= last:
            return 0.0
        for day in (last + ONE_DAY, last + 2 * ONE_DAY):
            if day not in self._called:
                self._called[day] = await self.ledger.spent(day)
            if key in self._called[day]:
                return settles_at(last + ONE_DAY, hour)
        return 0.0


def _records(calendar: Calendar) -> int | None:
    """The records of all that is stored; None if they are not known."""
    final = 0
    for tally in calendar.sums.values():
        if tally is None:
            return None
        final += tally.records
    return final + sum([each.tally.records for each in calendar.windows.values() if each.stored])


def can_be_asked(days: Days, cut: Cut) -> bool:
    """Whether a window lies in missing days."""
    if cut is Cut.RECENT:
        return False
    return cut is Cut.DAYS or bool(Grid(cut, 1, days[0], days[1]).count(*days))


# JSON


async def _print_json(reader: Reader, overview: Overview) -> None:
    """One line: the totals, the causes, and each stream with its ranges."""
    wanted = reader.wanted.listed or ()
    names = {each.appid: {"name": each.name, "group": each.group} for each in wanted}
    head = codec.encode({**overview.to_dict(), "causes": [g.to_dict() for g in overview.causes]})
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
    """What is missing, and the windows that are provisional, wait or failed."""
    for first, last in calendar.runs(*stream.days, bytes([MISSING])):
        yield {"state": "missing", "begin_date": str(first), "end_date": str(last)}
    for window in sorted(calendar.windows.values()):
        yield {
            "state": "provisional" if window.stored else window.state,
            "begin_date": str(window.begin),
            "end_date": str(window.end),
            "reason": window.detail,
            "until": rfc3339(window.due) if window.due else None,
        }


# text


async def _print(reader: Reader, overview: Overview) -> None:
    ledger, wanted = reader.ledger, reader.wanted
    if (with_workers := shared(ledger)) is not None:
        _show_workers(await with_workers.workers())
    alone = overview.streams <= 1 and not overview.never
    if not alone and overview.streams:
        _show_totals(overview)
    for name, state in (await ledger.sinks()).items():
        if not state.whole:
            tell(plain(f"{name} lacks some of it; the next run into it fills it"))
    resting = sum(not each.enabled for each in wanted.listed or ())
    if resting and not wanted.narrowed:
        tell(f"{many(resting, 'account')} left out: enabled is false")
    if not alone:
        _show_causes(overview)
    await _show_streams(reader, overview)


async def _show_streams(reader: Reader, overview: Overview) -> None:
    """Few by month and day; of many, what was asked for, or the first that lack something."""
    wanted = reader.wanted
    if not overview.streams:
        found = wanted.narrowed or wanted.listed is not None
        text = "nothing that was asked for is like that" if found else "nothing was harvested yet"
        if not overview.never:
            tell(text)
        return
    in_full = overview.streams <= (ASKED if wanted.narrowed else DETAILED)
    if not in_full and not wanted.narrowed:
        _show_attention(overview)
        return
    async for stream, calendar in reader.streams():
        if in_full:
            _show_stream(stream, calendar, reader.cut_of(stream.key[1]), wanted.states)
        else:
            tell(_line_of(stream))


def _line_of(stream: Stream) -> str:
    """One interface of one account in a line."""
    return plain_row(
        f"{stream.key[0]} {stream.key[1]}: {stream.final + stream.provisional:,} of"
        f" {many(days_in(stream.days), 'day')} harvested{_counted(stream)}"
        f"{', stale' if stream.overdue else ''}"
    )


def _show_workers(workers: Sequence[WorkerState]) -> None:
    """Who is at work, since when, and how fast."""
    if not workers:
        tell("no worker is running")
    for each in workers[:LINES]:
        state = "" if each.alive else f"silent since {china_time(each.until)}, "
        seconds = max(min(time.time(), each.until) - each.started, 1.0)
        tell(
            f"worker {each.name}: {state}since {china_time(each.started)},"
            f" {many(each.accounts, 'account')}, {many(each.windows, 'window')}"
            f" ({each.windows / seconds:,.1f} a second)"
        )
    if len(workers) > LINES:
        tell(f"and {many(len(workers) - LINES, 'more worker')}")


def _show_totals(overview: Overview) -> None:
    counts, days = overview.counts, overview.days or (date.min, date.min)
    total = sum(counts[name] for name in COUNTS if name != "empty")
    done = counts["final"] + counts["provisional"]
    tell(
        f"{many(overview.accounts, 'account')}, {many(len(overview.endpoints), 'interface')},"
        f" {days[0]} to {days[1]}"
    )
    tell(
        f"  harvested    {done:,} of {many(total, 'day')} ({_percent(done, total)}):"
        f" {counts['final']:,} final, {counts['provisional']:,} provisional;"
        f" {counts['empty']:,} of them empty"
    )
    for name in ("failed", "missing", "waiting"):
        if counts[name]:
            tell(f"  {name:<11}  {many(counts[name], 'day')}")
    if overview.stale:
        tell(f"  stale        {overview.stale:,} of {overview.streams:,} interfaces of accounts")
    known = "" if not overview.uncounted else f", and those of {overview.uncounted:,} not counted"
    tell(f"  records      {overview.records:,}{known}")


def _percent(done: int, total: int) -> str:
    """A share, never rounded up to all of it."""
    return f"{done * 1000 // total / 10:.1f}%" if total else "100%"


def _show_causes(overview: Overview) -> None:
    causes = [*map(str, overview.causes)]
    if overview.never:
        first = ", ".join(overview.never[:3])
        left = len(overview.never) - 3
        more = f" and {many(left, 'more account')}" if left > 0 else ""
        causes.insert(0, f"never harvested: {first}{more}")
    if not causes:
        tell("nothing needs attention")
        return
    tell("needs attention:")
    for cause in causes[:CAUSES]:
        tell(plain_row(cause))
    if len(causes) > CAUSES:
        tell(f"  and {many(len(causes) - CAUSES, 'other cause')}; --json lists them")


def plain_row(text: str) -> str:
    """A line of the second level."""
    return f"  {plain(named(text))}"


def _show_attention(overview: Overview) -> None:
    """The first of the streams that lack something, a line each."""
    if not overview.attention:
        tell("--appid or --endpoint shows some of it by month and day")
        return
    tell("the first of them:")
    for each in overview.attention:
        tell(_line_of(each))
    more = overview.to_attend - len(overview.attention)
    if more > 0:
        tell(f"  and {more:,} more")
    tell(f"--appid, --endpoint or --state ({', '.join(STATES[:4])}, …) shows some of it by day")


def _counted(stream: Stream) -> str:
    """How many days wait, failed, are missing."""
    return "".join(
        f", {getattr(stream, word):,} {word}"
        for word in ("waiting", "failed", "missing")
        if getattr(stream, word)
    )


def _show_stream(stream: Stream, calendar: Calendar, cut: Cut, states: Collection[str]) -> None:
    """One interface of one account by month, and its ranges; states: only ranges of these."""
    days, (appid, name) = stream.days, stream.key
    records = "records not counted" if stream.records is None else many(stream.records, "record")
    none = f", {stream.not_asked:,} not asked for" if stream.not_asked else ""
    tell(
        plain(
            named(
                f"{appid} {name}, {days[0]} to {days[1]}: {stream.final + stream.provisional:,} of"
                f" {many(days_in(days), 'day')} harvested ({stream.final:,} final,"
                f" {stream.provisional:,} provisional; {stream.empty:,} of them"
                f" empty){_counted(stream)}{none}; {records}"
            )
        )
    )
    out.print(_months(days, calendar))
    if stream.overdue:
        tell(f"  stale since {china_time(stream.overdue)}; the next run brings it up to date")
    rows = sorted(_rows(stream, calendar, cut, states))
    for first, last, text in rows[:LINES]:
        span = f"{first}" if first == last else f"{first} to {last}"
        tell(f"  {span} ({many(days_in((first, last)), 'day')}) {plain(text)}")
    if len(rows) > LINES:
        tell(f"  and {many(len(rows) - LINES, 'more range')}; --json lists them")


def _rows(
    stream: Stream, calendar: Calendar, cut: Cut, states: Collection[str]
) -> Iterator[tuple[date, date, str]]:
    """What is not done, or not for good."""
    if not states or "missing" in states:
        for first, last in calendar.runs(*stream.days, bytes([MISSING])):
            yield first, last, _missing((first, last), cut)
    for window in calendar.windows.values():
        if window.stored or (states and window.state not in states):
            continue
        until = f" until {china_time(window.due)}" if window.state == "waiting" else ""
        yield window.begin, window.end, f"{window.state}{until}: {window.detail}"
    if not states or "provisional" in states:
        yield from _provisional(each for each in calendar.windows.values() if each.stored)


def _missing(days: Days, cut: Cut) -> str:
    """Missing; or why there is nothing to ask for."""
    if cut is Cut.RECENT:
        return "not asked for: this interface gives no other days than those that end yesterday"
    if not can_be_asked(days, cut):
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
