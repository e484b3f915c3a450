"""What the page draws from stored records: figures by day, sources of people, most read articles.

Rule: reads a sink, changes nothing.  A day without a record has no figure, never 0.

Readers are people: they do not add up over days, sources or accounts.  Where they are added all the
same, the page has a note.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from harvester.sinks.base import Checkpoint, Sink, StoredWindow
from harvester.wechat.endpoint import day_of, in_record
from harvester.wechat.interfaces import INTERFACES

DAYS = 371
"""Fifty-three weeks."""
YEAR = 365
ROOM = 350_000
"""Figures that the page holds: about a megabyte at the worst."""
ARTICLES = 10
MOST_ARTICLES = 3_000
"""So many articles of an account, and of all."""
ALL_SCENES = "全部"
"""Beside the sources of readers, all of them: WeChat's own word."""


class Series(NamedTuple):
    """A figure of each day: the interface that has it, and the field."""

    name: str
    endpoint: str
    field: str


SERIES = (
    Series("readers", "getbizsummary", "detail.read_user"),
    Series("gained", "getusersummary", "new_user"),
    Series("lost", "getusersummary", "cancel_user"),
    Series("followers", "getusercumulate", "cumulate_user"),
)
TOTALS = "getarticletotaldetail"
"""The interface that has the readers of an article up to a day: ``detail_list``, an entry a day."""

Curve = list[int | None]


class Article(NamedTuple):
    """An article, the day on which it was published, and its readers up to the latest day known."""

    readers: int
    day: str
    title: str
    url: str


@dataclass
class Figures:
    """Figures by account.

    last, days: the last day, and how many days there are.  curves: by series, a place a day.
    sources: of the last `YEAR`, people by source, of ``readers`` and of ``gained``.  articles: the
    most read ones of all that is stored.
    """

    last: date
    days: int = DAYS
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    sources: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    articles: dict[str, list[Article]] = field(default_factory=dict)

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
        """The last figure that there is."""
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
    days: int = DAYS,
) -> Figures:
    """The figures of that number of days up to a day, of those of these interfaces that have some.

    checkpoint: what the ledger has stored for the sink.  Raises `SinkError`, and `UsageError` if
    the sink cannot be opened here.
    """
    scan = sink.scan
    assert scan is not None, "the sink cannot be read back"
    made = Figures(last, days)
    for name in sorted({each.endpoint for each in SERIES} & {*endpoints}):
        _read_days(made, name, scan(name, None, checkpoint))
    if TOTALS in endpoints:
        _read_articles(made, scan(TOTALS, None, checkpoint))
    return made


def _read_days(made: Figures, name: str, windows: Iterator[StoredWindow]) -> None:
    """Take in an interface that has a figure a day."""
    wanted = [each for each in SERIES if each.endpoint == name]
    day_field = INTERFACES[name].day_field
    first = made.last - timedelta(days=made.days - 1)
    for stored in windows:
        appid = stored.window.appid
        if stored.window.end < first or stored.window.begin > made.last:
            continue
        curves = made.curves.setdefault(appid, {})
        sources = made.sources.setdefault(appid, defaultdict(Counter))
        for record in stored.records():
            day = day_of(in_record(record, day_field))
            if day is None or not first <= day <= made.last:
                continue
            for each in wanted:
                value = in_record(record, each.field)
                if isinstance(value, int):
                    curve = curves.setdefault(each.name, [None] * made.days)
                    at = (day - first).days
                    curve[at] = (curve[at] or 0) + value
            if (made.last - day).days < YEAR:
                for kind, source, people in _sources(name, record):
                    sources[kind][source] += people


def _sources(name: str, record: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The people of a record by source, and what they are counted as."""
    if name == "getusersummary":
        people, source = record.get("new_user"), record.get("user_source")
        if isinstance(people, int) and source is not None:
            yield "gained", str(source), people
        return
    entries = in_record(record, "detail.read_user_source")
    for entry in entries if isinstance(entries, list) else ():
        people, scene = in_record(entry, "user_count"), in_record(entry, "scene_desc")
        if isinstance(people, int) and isinstance(scene, str) and scene != ALL_SCENES:
            yield "readers", scene, people


def _read_articles(made: Figures, windows: Iterator[StoredWindow]) -> None:
    """Take in the most read articles of each account."""
    found: defaultdict[str, list[Article]] = defaultdict(list)
    for stored in windows:
        articles = found[stored.window.appid]
        articles += filter(None, map(_article, stored.records()))
        if len(articles) > 100 * ARTICLES:
            articles[:] = heapq.nlargest(ARTICLES, articles)
    made.articles = {appid: heapq.nlargest(ARTICLES, articles) for appid, articles in found.items()}


def _article(record: dict[str, Any]) -> Article | None:
    """An article with the figures of its latest day; None without any."""
    entries = record.get("detail_list")
    known = [
        (day, readers)
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(readers := in_record(entry, "read_user"), int)
        and isinstance(day := in_record(entry, "stat_date"), str)
    ]
    if not known:
        return None
    texts = [str(record.get(name) or "") for name in ("ref_date", "title", "content_url")]
    return Article(max(known)[1], *texts)
