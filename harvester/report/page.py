"""The page: one HTML file that needs no network, from an `Overview`.

Rule: pure.  ``page.html`` is the template, ``page.css`` its style, ``page.js`` its script.  The
template escapes whatever is not its own; what matters is plain HTML in both languages.  The script
adds search, order, and the view of one account, whose days it finds compressed in the page.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from harvester.base.dates import china
from harvester.errors import UsageError, needs
from harvester.ledger.base import WorkerState
from harvester.ledger.reach import NOTHING, STATES, Counts, Reach, Together, last_of
from harvester.report import drawing
from harvester.report import summary as verdict
from harvester.report.causes import KINDS, Cause, Text
from harvester.report.charts import ROOM, SERIES, Figures
from harvester.report.drawing import STACK
from harvester.report.overview import ACCOUNT_STATES, AccountView, InterfaceView, Overview
from harvester.report.quotas import InterfaceQuota
from harvester.report.texts import (
    BY_YEAR_NOTE,
    INTERFACE_TITLES,
    NOTE,
    SOURCES,
    TEXTS,
    added_up,
    compact,
    month_ends,
    month_name,
    number,
    part_stored,
    plural,
    share,
    signed,
    title_of,
    used_up,
    with_title,
)
from harvester.report.yearly import Article, Month, sum_of

if TYPE_CHECKING:
    from jinja2 import Template

FOLDED = 200
"""So many accounts of a cause are listed; all of them can be copied."""
MONTHS = 24_000
"""Months of single accounts that the page holds: two years of 1,000."""
TITLE, LINK = 200, 500
"""Characters of an article's title, which is cut, and of a link, which is left out if longer."""
_STEERS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
    "\ud800-\udfff]"
)
"""Control characters, those that turn the direction of writing, and halves of characters."""


def page(
    seen: Overview,
    lang: str = "zh",
    *,
    figures: Figures | None = None,
    no_figures: str = "",
    version: str = "",
) -> str:
    """The whole page; lang: ``zh`` or ``en``, in which it opens.

    figures: for the curves, if they are wanted; no_figures: why they could not be read.
    version: of harvester.
    Raises `UsageError` if its library is missing.
    """
    titles = {view.name: title_of(view.name, view.endpoint) for view in seen.interfaces}
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    months = [number for view in seen.interfaces for number in view.months]
    text = template().render(
        seen=seen,
        lang=lang,
        policy=policy,
        version=version,
        style=style,
        script=script,
        made=f"{china(seen.made):%Y-%m-%d %H:%M} UTC+8",
        badge=verdict.badge(seen),
        subject=verdict.subject(seen),
        headline=verdict.headline(seen),
        clauses=verdict.clauses(seen),
        key_figures=verdict.figures(seen) if seen.accounts else [],
        wall=drawing.wall(seen.accounts),
        names={account.appid: account.name or account.appid for account in seen.accounts},
        mine=[cause for cause in seen.causes if cause.mine],
        others=[cause for cause in seen.causes if not cause.mine],
        months=range(min(months), max(months) + 1) if months else range(0),
        titles=titles,
        figures=figures,
        no_figures=no_figures,
        cards=drawing.week_cards(figures, seen.accounts) if figures else [],
        data=_packed(_data(seen, titles)),
        curves=_packed(_curves(seen, figures)) if figures else "",
    )
    return harmless(text) + "\n"


@cache
def template() -> Template:
    """The template; raises `UsageError` if its library is missing."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise UsageError(needs("the report page needs its library", "report")) from None
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.globals |= {
        "FOLDED": FOLDED,
        "NAMED": verdict.NAMED,
        "SHAPES": ACCOUNT_STATES,
        "STACK": STACK,
        "added_up": added_up,
        "DAY_STATES": STATES,
        "at_work": _at_work,
        "builtin": INTERFACE_TITLES,
        "cause_title": verdict.cause_title,
        "columns": drawing.columns,
        "compact": compact,
        "id_of": _id,
        "key_of": _key,
        "kinds": KINDS,
        "line": drawing.line,
        "month_ends": month_ends,
        "month_name": month_name,
        "months_in": _months_in,
        "months_of": _months,
        "newest": newest,
        "by_year_note": BY_YEAR_NOTE,
        "note": NOTE,
        "number": number,
        "reach": _reach,
        "share": share,
        "stack": drawing.stack,
        "shares": _shares,
        "partial_weeks": drawing.partial_weeks,
        "signed": signed,
        "begin_later": _later,
        "date": date,
        "stored_of": _stored_of,
        "sum_of": sum_of,
        "used_up": used_up,
        "with_title": with_title,
        "texts": TEXTS,
        "years": drawing.years,
    }
    environment.filters["linked"] = linked
    environment.tests["is_known"] = _is_known
    return environment.from_string(re.sub(r"\n\s*", "", _asset("page.html")))


def harmless(text: str) -> str:
    """Text without characters that steer how the text around them is shown."""
    return _STEERS.sub("\ufffd", text)


def _asset(name: str) -> str:
    return files("harvester.report").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# what the template asks for


def _id(appid: str) -> str:
    return quote(harmless(appid), safe="")


def _key(state: str) -> str:
    """The key of a day's state in `TEXTS`; a ledger can be waiting, too, and an account late."""
    return f"is_{state}" if state in ("waiting", "late") else state


def _at_work(workers: Sequence[WorkerState]) -> Text:
    working = sum(worker.alive for worker in workers)
    if not working:
        return "", ""
    return f" · {working} 个进程正在采集", f" · {plural(working, 'process', 'processes')} at work"


def _reach(cause: Cause) -> Text:
    interfaces, days = len(cause.days), sum(cause.days.values())
    return (
        f" · 影响 {number(interfaces)} 个接口，{number(days)} 天",
        f" · {plural(interfaces, 'interface')}, {plural(days, 'day')}",
    )


def _months(view: InterfaceView, months: range) -> list[Counts | None]:
    return [view.months.get(at) for at in months]


def _months_in(year: int) -> range:
    return range(12 * year, 12 * year + 12)


def _shares(counts: Counts) -> Text:
    """The share of each state, in words."""
    shares = [
        (TEXTS[_key(state)], share(part, counts.asked))
        for state, part in zip(STACK, drawing.stack(counts), strict=True)
        if part
    ]
    zh, en = (separator.join([f"{text[at]} {percent}" for text, percent in shares])
              for at, separator in enumerate(("，", ", ")))  # fmt: skip
    return zh, en


def _is_known(quota: InterfaceQuota) -> bool:
    """Whether there is something to show of an interface's quota."""
    return bool(quota.used or quota.used_up or quota.daily)


def _stored_of(seen: Overview, months: Collection[int]) -> Text:
    """Which share of the days of months is stored of followers gained and lost; if all: nothing."""
    view = next((one for one in seen.interfaces if one.name == "getusersummary"), None)
    if view is None:
        return "", ""
    accounts = sum(row.endpoint == view.name for one in seen.accounts for row in one.rows)
    stored = sum(view.months.get(month, NOTHING).stored for month in months)
    days = accounts * sum(map(_days_in, months))
    return part_stored(share(stored, days)) if stored < days else ("", "")


def _later(seen: Overview, series: str, first: date) -> Text:
    """How many accounts begin after the first day of a sum, and the last ones; if none: nothing."""
    known, names = Together(), {account.appid: account.name for account in seen.accounts}
    for account in seen.accounts:
        for row in account.rows:
            if row.endpoint == drawing.ENDPOINTS[series] and row.reach.begins is not None:
                known.note(account.appid, row.reach.begins)
    later = known.later(first)
    if not later:
        return "", ""
    named = [f"{names[appid] or appid} {day}" for appid, day in last_of(later, verdict.NAMED)]
    number_of = number(len(later))
    zh, en = "、".join(named), ", ".join(named)
    if len(later) > len(named):
        zh, en = f"{zh} 等", f"{en} and others"
    begin = "account begins" if len(later) == 1 else "accounts begin"
    return (
        f"{number_of} 个账号开始得更晚，此前的合计不含它们：{zh}",
        f"{number_of} {begin} later, sums before lack them: {en}",
    )


def newest(account: AccountView) -> tuple[Text, Text]:
    """What became of an account's newest day, and what about it."""
    if not account.expected:
        return TEXTS["old"], ("", "")
    if not account.late:
        if account.state == "todo":
            return ("已到齐，历史要处理", "Here; its past needs you"), ("", "")
        return ("已到齐", "Here"), ("", "")
    said = KINDS[account.kind].said()
    why = said[0].rstrip("："), said[1].rstrip(":")
    zh = f"共 {account.expected} 个接口，其中 {account.late} 个"
    en = f"{account.late} of {plural(account.expected, 'interface')}"
    if account.behind is None:
        return why, (f"{zh}从未取到数据", f"{en} never had data")
    days = plural(account.behind, "day")
    return why, (f"{zh}晚到，最多晚 {number(account.behind)} 天", f"{en}, up to {days} late")


# what the script shows of one account


def _packed(content: object) -> str:
    """JSON, deflated, base64: it cannot be anything else to a browser."""
    text = harmless(json.dumps(content, ensure_ascii=False, separators=(",", ":")))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _curves(seen: Overview, figures: Figures) -> object:
    """The figures of each account: its months, and the longest tail of days for which is room."""
    count = max(len(seen.accounts), 1)
    since = 12 * (figures.last.year + 1 - max(MONTHS // (12 * count), 1))
    known = figures.yearly.months
    months = [_months_from(known.get(account.appid, {}), since) for account in seen.accounts]
    room = ROOM - sum(len(column) for _, columns in months for column in columns[:3])
    days = min(figures.days, max(room, 0) // (len(SERIES) * count))
    names: dict[str, int] = {}
    curves, sources, articles = [], [], []
    for account in seen.accounts:
        each = [figures.of(account.appid, series.name)[figures.days - days :] for series in SERIES]
        curves.append([
            curve if any(value is not None for value in curve) else None for curve in each
        ])  # fmt: skip
        people = figures.sources.get(account.appid, {})
        sources.append([
            [(names.setdefault(name, len(names)), number)
             for name, number in people[kind].most_common() if number]
            if kind in people else []
            for kind in ("readers", "gained")
        ])  # fmt: skip
        articles.append(_articles(figures, account.appid))
    cut = any(month < since for each in known.values() for month in each)
    return {
        "last": figures.last.isoformat(),
        "names": [series.name for series in SERIES],
        "curves": curves,
        "sources": sources,
        "sources_named": [SOURCES.get(name, (name, name)) for name in names],
        "articles": articles,
        "months": months,
        "since": since // 12 if cut else 0,
    }


def _months_from(known: Mapping[int, Month], since: int) -> tuple[int, list[list[int | None]]]:
    """The first month of an account, and what is known of each from there on.

    Followers gained, lost, and at the end, and on which day that was, 0 if on the last one.
    """
    first = max(since, min(known, default=since))
    row = [known.get(at, Month()) for at in range(first, max(known, default=-1) + 1)]
    gained, lost, followers = (
        [getattr(each, name) for each in row] for name in ("gained", "lost", "followers")
    )
    days: list[int | None] = [
        0 if each.day == _days_in(at) else each.day for at, each in enumerate(row, first)
    ]
    return first, [gained, lost, followers, days]


def _days_in(month: int) -> int:
    return calendar.monthrange(month // 12, month % 12 + 1)[1]


def _articles(figures: Figures, appid: str) -> object:
    """How many articles an account has a year, and the most read ones."""
    yearly = figures.yearly
    return (
        sorted(yearly.counted.get(appid, {}).items(), reverse=True),
        [
            (one.readers, one.day.isoformat(), one.title, one.url, one.reads,
             one.until.isoformat(), one.added, int(one.published))
            for one in map(linked, yearly.articles.get(appid, ()))
        ],
    )  # fmt: skip


ARTICLES_AT = "https://mp.weixin.qq.com/"
"""Where articles lie; no other link is in the page."""


def linked(article: Article) -> Article:
    """The article with a link, or without one, and with a title that is not too long."""
    url, title = article.url, article.title
    if url.startswith("http://"):
        url = f"https{url[4:]}"
    if len(title) > TITLE:
        title = f"{title[:TITLE]}…"
    good = url.startswith(ARTICLES_AT) and len(url) <= LINK
    return article._replace(url=url if good else "", title=title)


def _runs(reach: Reach) -> list[tuple[str, int]]:
    """The runs of days of the same state: its letter, and how many they are."""
    return [(chr(letter), end - begin) for letter, begin, end in reach.spans]


def _data(seen: Overview, titles: dict[str, Text]) -> object:
    """The days of all accounts, and why some are not there."""
    names = list(titles)
    places = {name: at for at, name in enumerate(names)}
    sentences: dict[str, int] = {}
    shapes: dict[Reach, int] = {}
    accounts = [
        (
            account.appid,
            account.name,
            [
                (places[row.endpoint], row.reach.first.isoformat(),
                 shapes.setdefault(row.reach, len(shapes)))
                for row in account.rows
            ],
            [
                (reason.kind, reason.ip or reason.since, [places[name] for name in reason.days],
                 sum(reason.days.values()), sentences.setdefault(reason.reason, len(sentences)),
                 reason.messages.get(reason.reason, ""))
                for reason in account.reasons
            ],
            newest(account),
            ACCOUNT_STATES[account.state],
        )
        for account in seen.accounts
    ]  # fmt: skip
    return {
        "texts": {**TEXTS, "waiting": TEXTS["is_waiting"], "by_year_note": BY_YEAR_NOTE},
        "kinds": {name: kind.title for name, kind in KINDS.items()},
        "interfaces": [(name, titles[name]) for name in names],
        "shapes": [_runs(shape) for shape in shapes],
        "sentences": list(sentences),
        "accounts": accounts,
    }
