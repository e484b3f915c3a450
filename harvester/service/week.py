"""The figures of a week, read from a sink, and the message about them.

Rule: reads; when the message is sent is decided by `harvester.service.serve`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from harvester.base.dates import Days
from harvester.reading import table_in
from harvester.report.week import ALL, FIGURES, GROUP, TABLES, Figures, Week, WeekFigures, week_of
from harvester.service.alerts import NOWHERE, Notification, Where, notification
from harvester.texts import joined, say

if TYPE_CHECKING:
    from harvester.exports.source import Source

TITLES_OF = timedelta(60)
"""How long before the end of a week an article of that week was published, for its title."""


def read_week(source: Source, days: Days, appids: Collection[str]) -> Week:
    """The figures of a week of these accounts; `Week.conclude` is to follow.

    Raises `UsageError` without the extra ``export``, and `SinkError`.
    """

    def rows(name: str, first: timedelta) -> Iterator[Mapping[str, Any]]:
        for batch in table_in(source.sink, source.checkpoint, name, (days[0] - first, days[1])):
            yield from batch.to_pylist()

    figures = {name: rows(name, timedelta(7)) for name in TABLES}
    titles = {(row["_appid"], row["msgid"]): row["title"] for row in rows("articles", TITLES_OF)}
    return week_of(days, figures, titles, appids)


def message(
    week: Week, names: Mapping[str, str], lang: str, where: Where = NOWHERE
) -> Notification:
    """The message about a week that is concluded; names: of accounts, by appid."""
    begin, end = week.days
    title = say("The week {} to {}", begin, end)
    lines = [say("In brackets: the week before"), _line(say(ALL), week.total)]
    if week.is_provisional:
        lines.append(say("*: some days are missing, or can still change"))
    for name, each in week.groups.items():
        lines.append(_line(say(GROUP, name), each))
    for number, article in enumerate(week.articles, 1):
        account = _account(article.appid, names)
        lines.append(f"{number}. {article.title}, {account}: {article.reads:,}")
    if len(week.accounts) > 1:
        for appid, each in week.accounts.items():
            lines.append(_line(_account(appid, names), each))
    return notification(title, lines, lang, where, "info")


def _account(appid: str, names: Mapping[str, str]) -> str:
    return f"{names[appid]} ({appid})" if appid in names else appid


def _line(name: str, figures: WeekFigures) -> str:
    known = [
        say("{} {} ({})", say(title), _number(figures.now, key), _number(figures.before, key))
        for key, title in FIGURES.items()
        if figures.now.of(key) is not None or figures.before.of(key) is not None
    ]
    return say("{}: {}", name, joined(", ", known) if known else say("no figures"))


def _number(figures: Figures, key: str) -> str:
    value = figures.of(key)
    return "–" if value is None else f"{value:,}{'*' if figures.provisional else ''}"
