"""The figures of a week beside those of the week before, by account, by group and together.

Rule: pure; from rows of the joined tables and from the days' states.

Followers gained and lost, readers and sharers are sums over the days of the week: a person who
reads two articles, or on two days, counts twice.  The number of followers is that of the week's
last day.  A figure that nothing is stored of is None, never 0.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from harvester.base.dates import ONE_DAY, Days, WindowKind, period_of
from harvester.ledger.coverage import EMPTY, FINAL, NEVER
from harvester.report.overview import Overview
from harvester.texts import say

FIGURES = {
    "new": say("new"),
    "cancelled": say("cancelled"),
    "net": say("net"),
    "followers": say("followers"),
    "reads": say("readers"),
    "shares": say("sharers"),
}
ALL = say("all")
GROUP = "group {}"
TABLES: Mapping[str, tuple[str, ...]] = {
    "followers_by_source": ("getusersummary",),
    "getusercumulate": ("getusercumulate",),
    "article_days": ("getarticleread", "getarticleshare", "getarticlesummary"),
}
"""The tables that have them, each with the interfaces whose days must be final."""
_COLUMNS = {
    "followers_by_source": {"new_user": "new", "cancel_user": "cancelled"},
    "getusercumulate": {"cumulate_user": "followers"},
    "article_days": {"read_user": "reads", "share_user": "shares"},
}
BEST = 5
"""Articles of a week."""
_SETTLED = bytes([FINAL, EMPTY, NEVER])


def week_before(day: date) -> Days:
    """The last whole week, Monday to Sunday, that ends on a day or before it."""
    begin, end = period_of(day, WindowKind.WEEK)
    return (begin, end) if end <= day else _before((begin, end))


def _before(week: Days) -> Days:
    return week[0] - timedelta(7), week[1] - timedelta(7)


class BestArticle(NamedTuple):
    """An article, by its readers of a week."""

    appid: str
    msgid: str
    title: str
    reads: int


@dataclass
class Figures:
    """The figures of one week; provisional: days are not there, or can still change."""

    known: Counter[str] = field(default_factory=Counter)
    provisional: bool = False

    def of(self, name: str) -> int | None:
        if name == "net":
            return self.known["new"] - self.known["cancelled"] if "new" in self.known else None
        return self.known.get(name)

    def to_dict(self) -> dict[str, Any]:
        return {**{name: self.of(name) for name in FIGURES}, "provisional": self.provisional}


@dataclass
class WeekFigures:
    """The figures of a week, and those of the week before."""

    now: Figures = field(default_factory=Figures)
    before: Figures = field(default_factory=Figures)

    def add(self, other: WeekFigures) -> None:
        """Those of one more account.

        Followers are counted of accounts that have them for both weeks: the difference of two
        sums over different accounts is none.
        """
        both = "followers" in other.now.known and "followers" in other.before.known
        for mine, its in ((self.now, other.now), (self.before, other.before)):
            for name, value in its.known.items():
                if name != "followers" or both:
                    mine.known[name] += value
            mine.provisional |= its.provisional

    def to_dict(self) -> dict[str, Any]:
        return {**self.now.to_dict(), "before": self.before.to_dict()}


@dataclass
class Week:
    """A week; accounts: by appid; groups: by their name; articles: the most read ones."""

    days: Days
    accounts: dict[str, WeekFigures] = field(default_factory=dict)
    groups: dict[str, WeekFigures] = field(default_factory=dict)
    total: WeekFigures = field(default_factory=WeekFigures)
    articles: list[BestArticle] = field(default_factory=list)

    def conclude(self, seen: Overview, groups: Mapping[str, str]) -> None:
        """Add up the accounts, and mark what can change; groups: of accounts, by appid.

        An account that was forgotten since its figures were read is left out.  May be called again,
        with what is known then.
        """
        self.groups, self.total = {}, WeekFigures()
        there = {account.appid for account in seen.accounts}
        self.accounts = {appid: each for appid, each in self.accounts.items() if appid in there}
        self.articles = [each for each in self.articles if each.appid in there]
        for account in seen.accounts:
            mine = self.accounts.setdefault(account.appid, WeekFigures())
            mine.now.provisional = _is_provisional(account.rows, self.days)
            mine.before.provisional = _is_provisional(account.rows, _before(self.days))
            self.total.add(mine)
            if group := groups.get(account.appid, ""):
                self.groups.setdefault(group, WeekFigures()).add(mine)

    @property
    def is_provisional(self) -> bool:
        return self.total.now.provisional or self.total.before.provisional

    def to_dict(self, names: Mapping[str, str]) -> dict[str, Any]:
        return {
            "begin_date": str(self.days[0]),
            "end_date": str(self.days[1]),
            "total": self.total.to_dict(),
            "groups": [{"group": name, **each.to_dict()} for name, each in self.groups.items()],
            "accounts": [
                {"appid": appid, "name": names.get(appid, ""), **each.to_dict()}
                for appid, each in self.accounts.items()
            ],
            "articles": [each._asdict() for each in self.articles],
        }


def week_of(
    days: Days,
    rows: Mapping[str, Iterable[Mapping[str, Any]]],
    titles: Mapping[tuple[str, str], str],
    appids: Collection[str],
) -> Week:
    """The figures of a week of these accounts, which `Week.conclude` adds up.

    rows: of each of `TABLES`, from a week before it on.  titles: of articles, by appid and msgid.
    """
    made = Week(days, {appid: WeekFigures() for appid in appids})
    reads: defaultdict[tuple[str, str], int] = defaultdict(int)
    for table, some in rows.items():
        for row in some:
            if (known := made.accounts.get(row["_appid"])) is not None:
                _take(known, row, _COLUMNS[table], days)
                if table == "article_days" and days[0] <= row["ref_date"] <= days[1]:
                    reads[row["_appid"], row["msgid"]] += row["read_user"] or 0
    best = sorted(reads.items(), key=lambda each: (-each[1], each[0]))[:BEST]
    made.articles = [BestArticle(*key, titles.get(key) or key[1], count) for key, count in best]
    return made


def _take(
    known: WeekFigures, row: Mapping[str, Any], columns: Mapping[str, str], days: Days
) -> None:
    day, begin, end = row["ref_date"], *days
    if not begin - timedelta(7) <= day <= end:
        return
    figures = (known.now if day >= begin else known.before).known
    for column, name in columns.items():
        if (value := row[column]) is None:
            continue
        if name != "followers":
            figures[name] += value
        elif day in (end, begin - ONE_DAY):  # a level, not a sum
            figures[name] = value


def _is_provisional(rows: Iterable[Any], days: Days) -> bool:
    """Whether an interface whose figures are shown has days of the week, and not all are final."""
    shown = {name for names in TABLES.values() for name in names}
    found = [row.reach.within(days).letters for row in rows if row.endpoint in shown]
    return any(letters and sum(map(letters.count, _SETTLED)) != 7 for letters in found)
