"""The most read articles of each year, and the followers of each month, from stored records.

Rule: reads what a scan of a sink gives, changes nothing.  Running totals are never added up: of an
article the latest one counts, of followers the last one of a month.

WeChat gives the readers of an article in two ways.  ``getarticletotaldetail`` and
``getarticletotal`` have running totals from the day of publishing on; ``getarticleread`` and
``getarticlesummary`` have the readers of a day.  Only where no running total is stored are the days
added up: a person who reads on two days then counts twice, and the page notes it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from harvester.sinks.base import StoredWindow
from harvester.wechat.endpoint import day_of, in_record

YEARS = 15
"""The newest years that the page has."""
MOST = 20
"""Articles of a year, of an account and of all together."""
MOST_ARTICLES = 2_000
"""Articles of single accounts, of all accounts: of many accounts fewer than `MOST` of each."""
AT_ONCE = 500
"""Accounts of which a scan is made: JSON lines are read once for this number of accounts, and the
positions of their windows are in memory.  Of articles, those of one account are."""


class _Figures(NamedTuple):
    """Where an interface has the readers of an article, and how often they read; "" if nowhere.

    entries: the list of running totals; empty: the figures are those of the record's day.
    """

    entries: str
    readers: str
    reads: str


_PAGE = "int_page_read_user", "int_page_read_count"
ARTICLES = {
    "getarticletotaldetail": _Figures("detail_list", "read_user", ""),
    "getarticletotal": _Figures("details", *_PAGE),
    "getarticleread": _Figures("", "detail.read_user", ""),
    "getarticlesummary": _Figures("", *_PAGE),
}
"""The interfaces with figures of articles; of two that know the same, the first one counts."""


class Article(NamedTuple):
    """An article and its readers.

    day: on which it was published, or, if no list of articles names it, first read (not
    ``published``).  title: its msgid if no interface has named one.  reads: how often it was read,
    None if its interface does not say.  until: the last day that is counted.  added: the days whose
    readers were added up, 0 for a running total.  named: whether an interface has named it.
    """

    readers: int
    day: date
    title: str
    url: str
    reads: int | None
    until: date
    added: int = 0
    published: bool = True
    appid: str = ""
    named: bool = True


@dataclass(slots=True)
class Month:
    """The followers of a month; None where nothing is stored.

    followers: on the last day of the month that has a figure, ``day`` of the month.
    """

    gained: int | None = None
    lost: int | None = None
    followers: int | None = None
    day: int = 0


class Together(NamedTuple):
    """A month, or a year, of all accounts together; month: since the year 0.

    accounts: those whose followers are known in the month; days: the first and the last day of the
    month on which they are.
    """

    month: int
    gained: int | None
    lost: int | None
    followers: int | None
    accounts: int
    days: tuple[int, int]

    @property
    def net(self) -> int | None:
        return None if self.gained is None else self.gained - (self.lost or 0)


@dataclass
class Yearly:
    """What the page shows by year.

    top: the `MOST` most read articles of all accounts that were published in a year.  articles:
    those of an account, newest year first, as many as there is room for.  counted: articles with
    a figure, by account and year; named: how many of them have a title.  months: by account, and
    number of the month since the year 0.
    """

    top: dict[int, list[Article]] = field(default_factory=dict)
    articles: dict[str, list[Article]] = field(default_factory=dict)
    counted: dict[str, Counter[int]] = field(default_factory=dict)
    months: dict[str, dict[int, Month]] = field(default_factory=dict)
    named: int = 0

    @property
    def with_figures(self) -> int:
        return sum(counted.total() for counted in self.counted.values())

    @property
    def years(self) -> list[int]:
        months = {month // 12 for known in self.months.values() for month in known}
        return sorted({*self.top, *months}, reverse=True)[:YEARS]

    def count(self, year: int) -> int:
        """The articles of all accounts that were published in a year and have a figure."""
        return sum(counted[year] for counted in self.counted.values())

    def months_of(self, year: int) -> list[Together]:
        """The months of a year of all accounts together, newest first; those without any not."""
        found = [
            (at, [known[at] for known in self.months.values() if at in known])
            for at in range(12 * year + 11, 12 * year - 1, -1)
        ]
        return [_together(at, months) for at, months in found if months]

    def add_people(self, appid: str, day: date, series: str, people: int) -> None:
        """Add a figure of a day: ``gained``, ``lost`` (added up) or ``followers``."""
        months = self.months.setdefault(appid, {})
        month = months.setdefault(day.year * 12 + day.month - 1, Month())
        if series == "gained":
            month.gained = (month.gained or 0) + people
        elif series == "lost":
            month.lost = (month.lost or 0) + people
        elif series == "followers" and day.day >= month.day:
            month.followers, month.day = people, day.day


def _together(at: int, found: Sequence[Month]) -> Together:
    last = [each for each in found if each.followers is not None]
    days = [each.day for each in last] or [0]
    gained, lost, followers = (
        sum_of(getattr(each, name) for each in found) for name in ("gained", "lost", "followers")
    )
    return Together(at, gained, lost, followers, len(last), (min(days), max(days)))


def sum_of(values: Iterable[int | None]) -> int | None:
    """The sum of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def read_articles(
    made: Yearly, scan: Callable[..., Iterator[StoredWindow]], names: Iterable[str],
    appids: Sequence[str], last: date,
) -> None:  # fmt: skip
    """Add the stored articles; scan: gives the windows of an interface and accounts, by account."""
    room = max(MOST_ARTICLES // max(len(appids), 1), 1)
    wanted = [name for name in ARTICLES if name in {*names}]
    ordered = sorted(appids)
    for begin in range(0, len(ordered), AT_ONCE):
        scans = [scan(name, ordered[begin : begin + AT_ONCE]) for name in wanted]
        for appid, windows in groupby(heapq.merge(*scans, key=_account), _account):
            articles = _Articles()
            for stored in windows:
                articles.add(stored)
            _keep(made, appid, articles, room, last.year - YEARS)


def _account(stored: StoredWindow) -> str:
    return stored.window.appid


def _keep(made: Yearly, appid: str, articles: _Articles, room: int, before: int) -> None:
    by_year: defaultdict[int, list[Article]] = defaultdict(list)
    for article in articles.found(appid):
        if article.day.year > before:
            by_year[article.day.year].append(article)
    kept = made.articles.setdefault(appid, [])
    for year in sorted(by_year, reverse=True):
        most = heapq.nlargest(MOST, by_year[year], key=_rank)
        kept += most[: room - len(kept)]
        made.top[year] = heapq.nlargest(MOST, [*made.top.get(year, ()), *most], key=_rank)
        made.counted.setdefault(appid, Counter())[year] = len(by_year[year])
        made.named += sum(article.named for article in by_year[year])


def _rank(article: Article) -> tuple[int, date, str]:
    return article.readers, article.day, article.title


class _OfDay(NamedTuple):
    readers: int
    reads: int | None


@dataclass(slots=True)
class _Sum:
    readers: int
    reads: int | None
    first: date
    last: date
    days: int = 1

    def add(self, figures: _OfDay, day: date) -> None:
        self.readers += figures.readers
        known = self.reads is not None and figures.reads is not None
        self.reads = (self.reads or 0) + (figures.reads or 0) if known else None
        self.first, self.last, self.days = min(self.first, day), max(self.last, day), self.days + 1


@dataclass(slots=True)
class _Known:
    """What is known of an article.

    total: the last day of the latest running total, the readers, and how often they read.
    """

    title: str = ""
    url: str = ""
    published: date | None = None
    total: tuple[date, int, int | None] | None = None
    sums: dict[str, _Sum] = field(default_factory=dict)

    def article(self, appid: str, msgid: str) -> Article | None:
        if self.total is not None:
            until, readers, reads = self.total
            first, added = until, 0
        elif self.sums:
            best = max(self.sums.values(), key=lambda one: one.days)
            readers, reads, first, until, added = (
                best.readers, best.reads, best.first, best.last, best.days)  # fmt: skip
        else:
            return None
        day, listed = self.published or first, self.published is not None
        title, named = self.title or msgid, bool(self.title)
        return Article(readers, day, title, self.url, reads, until, added, listed, appid, named)


class _Articles:
    def __init__(self) -> None:
        self._known: defaultdict[str, _Known] = defaultdict(_Known)

    def found(self, appid: str) -> Iterator[Article]:
        for key, known in self._known.items():
            if (article := known.article(appid, key)) is not None:
                yield article

    def add(self, stored: StoredWindow) -> None:
        name = stored.window.endpoint
        where = ARTICLES[name]
        of_days: dict[tuple[str, date], _OfDay] = {}
        for record in stored.records():
            day = day_in(record.get("ref_date")) or stored.window.begin
            key, known = self._article(record)
            if where.entries:
                known.published = known.published or day
                _note_total(known, where, record.get(where.entries))
            elif (readers := number_of(in_record(record, where.readers))) is not None:
                former = of_days.get((key, day))
                if former is None or former.readers < readers:
                    of_days[key, day] = _OfDay(readers, number_of(record.get(where.reads)))
        for (key, day), figures in of_days.items():
            sums = self._known[key].sums
            if name in sums:
                sums[name].add(figures, day)
            else:
                sums[name] = _Sum(*figures, day, day)

    def _article(self, record: dict[str, Any]) -> tuple[str, _Known]:
        title, url = record.get("title"), record.get("content_url") or record.get("url")
        key = str(record.get("msgid") or f"{title} {url}")
        known = self._known[key]
        if not known.title and isinstance(title, str):
            known.title = title.strip()
        if not known.url and isinstance(url, str):
            known.url = url.strip()
        return key, known


def _note_total(known: _Known, where: _Figures, entries: object) -> None:
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        day = day_in(entry.get("stat_date"))
        if day is None or (known.total is not None and day <= known.total[0]):
            continue
        readers = number_of(entry.get(where.readers))
        if readers is not None:
            known.total = day, readers, number_of(entry.get(where.reads))


_day_in_text = lru_cache(1 << 14)(day_of)


def day_in(value: object) -> date | None:
    """The same as `day_of`, faster: records name the same days again and again."""
    return _day_in_text(value) if isinstance(value, str) else day_of(value)


def number_of(value: object) -> int | None:
    """A count, which WeChat sends as a number, sometimes as a text; None if it is neither."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return None
