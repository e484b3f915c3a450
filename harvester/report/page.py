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
from collections.abc import Collection, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from harvester.base.chinese import Titled, series, shown
from harvester.base.dates import china
from harvester.errors import UsageError, needs
from harvester.ledger.reach import NOTHING, STATES, Counts, Reach, Together, last_of
from harvester.model import many
from harvester.report import drawing
from harvester.report import summary as verdict
from harvester.report.causes import KINDS, Cause, Text
from harvester.report.charts import ROOM, SERIES, Figures
from harvester.report.drawing import STACK
from harvester.report.overview import ACCOUNT_STATES, AccountView, InterfaceView, Overview
from harvester.report.texts import (
    BY_YEAR_NOTE,
    INTERFACE_TITLES,
    NOTE,
    SOURCES,
    TEXTS,
    compact,
    month_ends,
    month_name,
    number,
    share,
    signed,
    title_of,
    used_up,
    with_title,
)
from harvester.report.yearly import Article, Month, sum_of
from harvester.texts import say

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

    no_figures: why the figures could not be read.
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
        quotas=[one for one in seen.quotas if one.used or one.used_up or one.daily],
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
        raise UsageError(needs("the report page needs a library", "report")) from None
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.globals |= {
        "FOLDED": FOLDED,
        "NAMED": verdict.NAMED,
        "SHAPES": ACCOUNT_STATES,
        "STACK": STACK,
        "DAY_STATES": STATES,
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
        "in_both": in_both,
        "many": many,
        "say": say,
        "texts": TEXTS,
        "years": drawing.years,
    }
    environment.filters["linked"] = linked
    return environment.from_string(re.sub(r"\n\s*", "", _asset("page.html")))


def harmless(text: str) -> str:
    """Text without characters that steer how the text around them is shown."""
    return _STEERS.sub("\ufffd", text)


def _asset(name: str) -> str:
    return files("harvester.report").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def in_both(text: str | Text) -> Text:
    """A text in Chinese and in English."""
    return text if isinstance(text, tuple) else (shown(text, "zh"), shown(text, "en"))


def _id(appid: str) -> str:
    return quote(harmless(appid), safe="")


def _key(state: str) -> str:
    """The key of a day's state in `TEXTS`; a ledger can be waiting, too, and an account late."""
    return f"is_{state}" if state in ("waiting", "late") else state


def _reach(cause: Cause) -> str:
    days = many(sum(cause.days.values()), "day")
    return say(" · {}: {}", many(len(cause.days), "interface"), days)


def _months(view: InterfaceView, months: range) -> list[Counts | None]:
    return [view.months.get(at) for at in months]


def _shares(counts: Counts) -> str:
    return series(
        say("{} {}", Titled(*TEXTS[_key(state)]), share(part, counts.asked))
        for state, part in zip(STACK, drawing.stack(counts), strict=True)
        if part
    )


def _stored_of(seen: Overview, months: Collection[int]) -> str:
    """Which share of the days of months is stored of followers gained and lost; if all: nothing."""
    view = next((one for one in seen.interfaces if one.name == "getusersummary"), None)
    if view is None:
        return ""
    accounts = sum(row.endpoint == view.name for one in seen.accounts for row in one.rows)
    stored = sum(view.months.get(month, NOTHING).stored for month in months)
    days = accounts * sum(map(_days_in, months))
    return say("{} of days stored", share(stored, days)) if stored < days else ""


def _later(seen: Overview, figure: str, first: date) -> str:
    """How many accounts begin after the first day of a sum, and the last ones; if none: nothing."""
    known, names = Together(), {account.appid: account.name for account in seen.accounts}
    for account in seen.accounts:
        for row in account.rows:
            if row.endpoint == drawing.ENDPOINTS[figure] and row.reach.begins is not None:
                known.note(account.appid, row.reach.begins)
    later = known.later(first)
    if not later:
        return ""
    last = last_of(later, verdict.NAMED)
    named = series(f"{names[appid] or appid} {day}" for appid, day in last)
    if len(later) > len(last):
        named = say("{} and others", named)
    begin = (
        "{} begins later, and earlier sums do not include it: {}"
        if len(later) == 1
        else "{} begin later, and earlier sums do not include them: {}"
    )
    return say(begin, many(len(later), "account"), named)


def newest(account: AccountView) -> tuple[str, str]:
    """What became of an account's newest day, and what about it."""
    if not account.expected:
        return Titled(*TEXTS["old"]), ""
    if not account.late:
        return say("Arrived; older days need action" if account.state == "todo" else "Arrived"), ""
    why = KINDS[account.kind].said()
    some = say("{:,} of {}", account.late, many(account.expected, "interface"))
    if account.behind is None:
        return why, say("{} never had data", some)
    return why, say("{}, up to {} late", some, many(account.behind, "day"))


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


def _data(seen: Overview, titles: dict[str, str]) -> object:
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
            [in_both(text) for text in newest(account)],
            ACCOUNT_STATES[account.state],
        )
        for account in seen.accounts
    ]  # fmt: skip
    return {
        "texts": {**TEXTS, "waiting": TEXTS["is_waiting"], "by_year_note": BY_YEAR_NOTE},
        "kinds": {name: kind.title for name, kind in KINDS.items()},
        "interfaces": [(name, in_both(titles[name])) for name in names],
        "shapes": [
            [(chr(letter), end - begin) for letter, begin, end in shape.spans] for shape in shapes
        ],
        "sentences": list(sentences),
        "accounts": accounts,
    }
