"""What the page draws from stored records: figures by day, and sources of people.

Rule: reads a sink, changes nothing.  A day without a record has no figure, never 0.  What there is
by month and year is in `harvester.report.yearly`.  Readers are people: they do not add up over
days, sources or accounts; where they are added nevertheless, the page has a note.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any, NamedTuple

from harvester.report.yearly import YEARS, Yearly, day_in, number_of, read_articles
from harvester.sinks.base import Checkpoint, Sink, StoredWindow
from harvester.wechat.endpoint import in_record
from harvester.wechat.interfaces import INTERFACES

DAYS = 371
YEAR = 365
ROOM = 280_000
"""Figures that the page holds, of months and of days: 0.8 MB at the worst."""
ALL_SCENES = "全部"
"""Beside the sources of readers, all of them: WeChat's own word."""


class Series(NamedTuple):
    """A figure of each day: the interface that has it, and the field.

    adds_up: whether several rows of a day are parts of its figure; else the last one is it.
    """

    name: str
    endpoint: str
    field: str
    adds_up: bool = True


BY_DAY_ALONE = "getbizsummary"
"""The interface whose figures are not shown by month: readers do not add up over days."""
SERIES = (
    Series("readers", "getbizsummary", "detail.read_user"),
    Series("gained", "getusersummary", "new_user"),
    Series("lost", "getusersummary", "cancel_user"),
    Series("followers", "getusercumulate", "cumulate_user", adds_up=False),
)
Curve = list[int | None]


@dataclass
class Figures:
    """Figures by account.

    last, days: the last day, and how many days there are.  curves: by series, a place a day.
    sources: of the last `YEAR`, people by source, of ``readers`` and of ``gained``.
    """

    last: date
    days: int = DAYS
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    sources: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    yearly: Yearly = field(default_factory=Yearly)

    def of(self, appid: str, series: str) -> Curve:
        """A figure of an account; nothing but None if there is none."""
        return self.curves.get(appid, {}).get(series) or [None] * self.days

    def weeks_of(self, appid: str, series: str, weeks: int = DAYS // 7) -> Curve:
        """A figure of an account by week, oldest first; None for a week without any."""
        found: Curve = [None] * weeks
        for at, value in enumerate(reversed(self.of(appid, series)[-7 * weeks :])):
            if value is not None:
                found[-1 - at // 7] = (found[-1 - at // 7] or 0) + value
        return found

    def weeks(self, series: str) -> Curve:
        """The same of all accounts together."""
        columns = zip(*(self.weeks_of(appid, series) for appid in self.curves), strict=True)
        sums = [[value for value in column if value is not None] for column in columns]
        return [sum(known) if known else None for known in sums] or [None] * (DAYS // 7)

    def latest(self, appid: str, series: str) -> int | None:
        known = (value for value in reversed(self.of(appid, series)) if value is not None)
        return next(known, None)


def days_for(accounts: int, first: date, last: date) -> int:
    """How many days to read of a number of accounts: all if there is room, at least a year."""
    room = ROOM // (len(SERIES) * max(accounts, 1))
    return max(DAYS, min((last - first).days + 1, room))


def figures(
    sink: Sink,
    checkpoint: Checkpoint | None,
    last: date,
    endpoints: Collection[str],
    appids: Collection[str],
    days: int = DAYS,
) -> Figures:
    """The figures of that number of days up to a day, and those of all years, of these accounts.

    Raises `SinkError`, and `UsageError` if the sink cannot be opened here.
    """
    scan = sink.scan
    assert scan is not None, "the sink cannot be read back"
    made, wanted = Figures(last, days), frozenset(appids)
    for name in sorted({each.endpoint for each in SERIES} & {*endpoints}):
        windows = scan(name, None, checkpoint)
        _read_days(made, name, (one for one in windows if one.window.appid in wanted))
    found = partial(scan, checkpoint=checkpoint)
    read_articles(made.yearly, found, endpoints, [*wanted], last)
    return made


def _read_days(made: Figures, name: str, windows: Iterator[StoredWindow]) -> None:
    wanted = [each for each in SERIES if each.endpoint == name]
    day_field = INTERFACES[name].day_field
    first = made.last - timedelta(days=made.days - 1)
    oldest = first if name == BY_DAY_ALONE else min(first, date(made.last.year - YEARS + 1, 1, 1))
    for stored in windows:
        if stored.window.end < oldest or stored.window.begin > made.last:
            continue
        appid = stored.window.appid
        of_day: Counter[tuple[str, date]] = Counter()
        for record in stored.records():
            day = day_in(record.get(day_field))
            if day is None or not oldest <= day <= made.last:
                continue
            for series, _, where, adds_up in wanted:
                if (value := number_of(in_record(record, where))) is not None:
                    of_day[series, day] = of_day[series, day] + value if adds_up else value
            if (made.last - day).days < YEAR:
                sources = made.sources.setdefault(appid, defaultdict(Counter))
                for kind, source, people in _sources(name, record):
                    sources[kind][source] += people
        for (series, day), people in of_day.items():
            _add(made, appid, series, day, people)


def _add(made: Figures, appid: str, series: str, day: date, people: int) -> None:
    if series != "readers":
        made.yearly.add_people(appid, day, series, people)
    at = (day - made.last).days + made.days - 1
    if at >= 0:
        made.curves.setdefault(appid, {}).setdefault(series, [None] * made.days)[at] = people


def _sources(name: str, record: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The people of a record by source, and what they are counted as."""
    if name == "getusersummary":
        people, source = number_of(record.get("new_user")), record.get("user_source")
        if people is not None and source is not None:
            yield "gained", str(source), people
        return
    entries = in_record(record, "detail.read_user_source")
    for entry in entries if isinstance(entries, list) else ():
        people, scene = number_of(in_record(entry, "user_count")), in_record(entry, "scene_desc")
        if people is not None and isinstance(scene, str) and scene != ALL_SCENES:
            yield "readers", scene, people
