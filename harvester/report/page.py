"""The page: one HTML file that needs no network, from an `Overview`.

Rule: pure.  What matters is plain HTML in both languages; the script adds search, order, and the
view of one account, whose days it finds compressed in the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from urllib.parse import quote

import harvester
from harvester.endpoint import Endpoint
from harvester.plan import china
from harvester.report import look, verdict
from harvester.report.causes import KINDS, Text
from harvester.report.data import (
    AccountView,
    Cause,
    Counts,
    InterfaceView,
    Overview,
    stored_in,
)
from harvester.report.figures import DAYS, MOST_ARTICLES, ROOM, SERIES, Article, Curve, Figures
from harvester.report.markup import Html, el, escape, harmless, join
from harvester.report.words import (
    INTERFACE_TITLES,
    LANGUAGES,
    NOTE,
    SOURCES,
    TEXTS,
    compact,
    month,
    number,
    plural,
    share,
    title_of,
)

FOLDED = 200
"""So many accounts of a cause are listed; all of them can be copied."""
WALL = 440, 230
"""Width and height that the squares of all accounts fill, in pixels."""
STACK = ("final", "provisional", "waiting", "failed", "missing")
HEIGHT = 24
"""Of a column of the coverage, in units."""


def page(
    seen: Overview,
    lang: str = "zh",
    *,
    figures: Figures | None = None,
    no_figures: str = "",
    endpoints: dict[str, Endpoint] | None = None,
) -> str:
    """The whole page; lang: ``zh`` or ``en``, in which it opens.

    figures: for the curves, if they are wanted; no_figures: why they could not be read.
    endpoints: those that are not built in, for their titles.
    """
    titles = {view.name: title_of(view.name, (endpoints or {}).get(view.name))
              for view in seen.interfaces}  # fmt: skip
    style, script = _style(), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    main = [_top(seen), _figures(seen)]
    if seen.accounts:
        main += [_mine(seen), *_itself(seen), _coverage(seen, titles)]
    if no_figures:
        main.append(el("p", word("no_curves"), " ", el("bdi", no_figures), class_="note", id="why"))
    if len(seen.accounts) > 1:
        main += [*_together(figures), _accounts(seen, figures)]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", TEXTS["title"][lang == "en"]),
        el("style", Html(style)),
    )
    body = el(
        "body",
        *_choices(lang),
        el(
            "div",
            _sprite(),
            _bar(seen),
            el("main", *main, id="all"),
            el("main", id="one", hidden=True),
            _foot(seen),
            class_="page",
        ),
        _packed("data", _data(seen, titles)),
        *([_packed("curves", _curves(seen, figures))] if figures else []),
        el("script", Html(script)),
    )
    return f"<!doctype html>\n{el('html', head, body, lang=_tag(lang))}\n"


# parts that all sections use


def _tag(lang: str) -> str:
    return "zh-CN" if lang == "zh" else lang


def both(text: Text) -> Html:
    """A text in both languages, of which one is shown."""
    if text[0] == text[1]:
        return escape(text[0])
    pair = [el("span", each, lang=lang) for each, lang in zip(text, LANGUAGES, strict=True)]
    return join(pair)


def word(key: str) -> Html:
    """A text of the table, in both languages."""
    return both(TEXTS[key])


def icon(state: str) -> Html:
    """The shape of a state, beside its name."""
    use = el("use", href=f"#s-{state}")
    return el("svg", use, class_="i", viewBox="0 0 10 10", aria_hidden="true")


def unseen(*children: str) -> Html:
    """For those who listen."""
    return el("span", *children, class_="vh")


def _asset(name: str) -> str:
    return files("harvester.report").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _style() -> str:
    light, dark = look.variables(0), look.variables(1)
    return (
        f".page{{{light}}}@media(prefers-color-scheme:dark){{.page{{{dark}}}}}"
        f"#light:checked~.page{{{light}color-scheme:light}}"
        f"#dark:checked~.page{{{dark}color-scheme:dark}}\n{_asset('page.css')}"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _sprite() -> Html:
    symbols = [
        el("symbol", Html(shape), id=f"s-{name}", viewBox="0 0 10 10")
        for name, shape in look.SYMBOLS.items()
    ]
    line = el("path", class_="hatch", d="M0 0h1.5v6h-1.5z")
    hatch = el("pattern", line, id="hatch", width=6, height=6, patternUnits="userSpaceOnUse",
               patternTransform="rotate(45)")  # fmt: skip
    return el("svg", *symbols, hatch, class_="vh", aria_hidden="true")


def _section(key: str, note: str | None, *children: str, id_: str, aside: str = "") -> Html:
    heading = el("h2", word(key), id=f"{id_}-h")
    beside = el("span", word(note), class_="note") if note else ""
    head = el("div", heading, beside, aside, class_="head")
    return el("section", head, *children, id=id_, aria_labelledby=f"{id_}-h")


# 0: the bar


def _choices(lang: str) -> Iterable[Html]:
    """Language and colours are chosen without the script; it remembers them."""
    for key in LANGUAGES:
        label = "中文" if key == "zh" else "English"
        yield el("input", type="radio", name="lang", id=key, class_="vh", checked=key == lang,
                 aria_label=label)  # fmt: skip
    for key in ("light", "dark"):
        yield el("input", type="radio", name="scheme", id=key, class_="vh",
                 aria_label=" / ".join(reversed(TEXTS[key])))  # fmt: skip


def _bar(seen: Overview) -> Html:
    made = f"{china(seen.made):%Y-%m-%d %H:%M} UTC+8"
    working = sum(worker.alive for worker in seen.workers)
    at_work = both(
        (f" · {working} 个进程正在采集", f" · {plural(working, 'process', 'processes')} at work")
    )
    languages = el("span", el("label", "中", for_="zh"), el("label", "EN", for_="en"), class_="seg")
    schemes = el("span", el("label", "☀", for_="light", title=TEXTS["light"][1]),
                 el("label", "☾", for_="dark", title=TEXTS["dark"][1]), class_="seg")  # fmt: skip
    return el(
        "header",
        el("b", word("title")),
        *[
            el("b", el("bdi", harmless(one.name) or one.appid))
            for one in seen.accounts[:1]
            if len(seen.accounts) == 1
        ],
        el("span", word("made"), " ", made, at_work if working else "", class_="note"),
        el("span", languages, schemes, class_="segs", aria_hidden="true"),
    )


# 1, 2: the verdict and the figures


def _top(seen: Overview) -> Html:
    kind = verdict.badge(seen)
    subject = el("span", both(verdict.subject(seen)), class_="note")
    first = el("p", el("span", word(kind), class_=f"badge {kind}"), " ", subject) if kind else ""
    lines = [
        el("li", icon(clause.state), el("span", both(clause.text)))
        for clause in verdict.clauses(seen)
    ]
    begin = "" if seen.accounts else _begin()
    said = el("div", first, el("h1", both(verdict.headline(seen))),
              el("ul", *lines, class_="clauses") if lines else "", begin)  # fmt: skip
    return el("section", said, _wall(seen) if len(seen.accounts) > 1 else "", class_="top")


def _begin() -> Html:
    """What to type if nothing is there yet."""
    commands = (
        (("先试一试，不用账号", "Try it without an account"), "harvester demo"),
        (
            ("采集一个账号", "Harvest an account"),
            "HARVESTER_SECRET=… harvester run users --appid wx… --start 2024-01-01 --end yesterday",
        ),
        (("再生成这一页", "Make this page again"), "harvester report"),
    )
    steps = [el("li", both(text), el("pre", command)) for text, command in commands]
    return el("ol", *steps, class_="begin")


def _wall(seen: Overview) -> Html:
    count = len(seen.accounts)
    cell = max(8, min(36, int((WALL[0] * WALL[1] / count) ** 0.5)))
    columns = max(WALL[0] // cell, -(-count * cell // (WALL[1] + 60)), 1)
    size = 100 * WALL[0] // columns / 100 if columns * cell > WALL[0] else cell
    squares: list[Html] = []
    for at, account in enumerate(seen.accounts):
        y, x = divmod(at, columns)
        use = el("use", href=f"#s-{look.STATES[account.state]}", x=x * 10, y=y * 10,
                 width=9.4, height=9.4)  # fmt: skip
        name = el("title", account.name or account.appid)
        squares.append(el("a", name, use, href=_link(account.appid), tabindex=-1))
    wide, high = min(columns, count), -(-count // columns)
    picture = el("svg", *squares, viewBox=f"0 0 {wide * 10} {high * 10}",
                 width=round(wide * size), height=round(high * size))  # fmt: skip
    states = dict.fromkeys(account.state for account in seen.accounts)
    legend = [
        el("span", icon(look.STATES[state]), word(state), " ",
           number(sum(one.state == state for one in seen.accounts)))
        for state in states
    ]  # fmt: skip
    explained = el("p", el("span", word("square")), *legend, class_="legend")
    return el("div", el("div", picture, aria_hidden="true"), explained, class_="wall")


def _id(appid: str) -> str:
    return quote(harmless(appid), safe="")


def _link(appid: str) -> str:
    return f"#{_id(appid)}"


def _figures(seen: Overview) -> Html:
    if not seen.accounts:
        return Html("")
    boxes = [
        el(
            "div",
            el("dt", both(figure.label)),
            el("dd", el("b", both(figure.value)), " ", el("span", both(figure.unit), class_="unit"),
               el("div", both(figure.note), class_="note")),
        )
        for figure in verdict.figures(seen)
    ]  # fmt: skip
    return el("dl", *boxes, class_="figures")


# 3, 4: the causes


def _mine(seen: Overview) -> Html:
    rows = [_cause(cause, seen) for cause in seen.causes if cause.mine]
    inside = el("div", *rows, class_="box") if rows else el("p", word("nothing_to_do"))
    return _section("for_you", "a_cause" if rows else None, inside, id_="todo")


def _itself(seen: Overview) -> list[Html]:
    rows = [_cause(cause, seen) for cause in seen.causes if not cause.mine]
    if not rows:
        return []
    return [_section("by_itself", "run_on", el("div", *rows, class_="box"), id_="itself")]


def _cause(cause: Cause, seen: Overview) -> Html:
    names = {account.appid: account.name or account.appid for account in seen.accounts}
    appids = list(cause.appids)
    count, days = len(appids), sum(cause.days.values())
    separator = both(("、", ", "))
    first = join([el("bdi", names.get(one, one)) for one in appids[: verdict.NAMED]], separator)
    more = both((" 等", " …")) if count > verdict.NAMED else Html("")
    reach = ""
    if days:
        reach = both((
            f" · 影响 {number(len(cause.days))} 个接口，{number(days)} 天",
            f" · {plural(len(cause.days), 'interface')}, {plural(days, 'day')}",
        ))  # fmt: skip
    kind = KINDS[cause.kind]
    copy = [el("button", word("copy_ids"), type="button", hidden=True, data_copy=" ".join(appids))]
    if cause.ip:
        copy.insert(
            0, el("button", word("copy_ip"), type="button", hidden=True, data_copy=cause.ip)
        )
    return el(
        "article",
        el("div", el("b", number(count)), both(("个账号", "account" if count == 1 else "accounts")),
           class_="count"),
        el(
            "div",
            el("h3", both(verdict.cause_title(cause, seen))),
            el("p", both(kind.advice)),
            el("details", el("summary", first, more, el("span", reach, class_="note")),
               *_folded(cause, names)),
            class_=f"what {'mine' if kind.mine else cause.kind}",
        ),
        el("div", *copy, class_="copy"),
    )  # fmt: skip


def _folded(cause: Cause, names: dict[str, str]) -> Iterable[Html]:
    """The words, and the accounts."""
    if cause.said:
        yield el("ul", *[
            el("li", el("bdi", said.text), el("code", f" rid {said.rid}") if said.rid else "")
            for said in cause.said.values()
        ], class_="said")  # fmt: skip
    listed = list(cause.appids)[:FOLDED]
    links = [
        el("li", el("a", el("bdi", names.get(appid, appid)), href=_link(appid)),
           "" if names.get(appid, appid) == appid else el("code", appid))
        for appid in listed
    ]  # fmt: skip
    if more := len(cause.appids) - len(listed):
        links.append(el("li", both((f"另有 {number(more)} 个", f"and {number(more)} more"))))
    yield el("ul", *links, class_="ids")


# 5: coverage


def _coverage(seen: Overview, titles: dict[str, Text]) -> Html:
    months = [number for view in seen.interfaces for number in view.months]
    if not months:
        return Html("")
    first, last = min(months), max(months)
    rows = [_interface(view, titles[view.name], first, last) for view in seen.interfaces]
    head = el("tr", *[el("th", word(key), scope="col") for key in
                      ("interface", "coverage", "history")])  # fmt: skip
    axis = el(
        "tr", el("td"), el("td", _axis(first, last)), el("td", class_="num"), aria_hidden="true"
    )
    body = el("tbody", *rows, axis)
    table = el("table", el("thead", head, class_="vh"), body, class_="coverage")
    shapes = [el("span", icon(state), word(_key(state))) for state in STACK]
    legend = el("span", *shapes, class_="legend right")
    numbers = el("details", el("summary", word("as_table")), _numbers(seen, titles))
    return _section("coverage", "column", table, numbers, id_="coverage", aside=legend)


def _interface(view: InterfaceView, title: Text, first: int, last: int) -> Html:
    columns = [view.months.get(at) for at in range(first, last + 1)]
    name = el("code", view.name) if view.name in INTERFACE_TITLES else ""
    kinds = [
        (f"{TEXTS[_key(state)][0]} {share(part, sum(view.counts))}",
         f"{TEXTS[_key(state)][1]} {share(part, sum(view.counts))}")
        for state, part in zip(STACK, _stack(view.counts), strict=True)
        if part
    ]  # fmt: skip
    told = "，".join(zh for zh, _ in kinds), ", ".join(en for _, en in kinds)
    return el(
        "tr",
        el("th", el("span", both(title)), " ", name, scope="row"),
        el("td", columns_of(columns, 10), unseen(both(told))),
        el("td", share(stored_in(view.counts), sum(view.counts)), class_="num"),
    )


def _key(state: str) -> str:
    return "is_waiting" if state == "waiting" else state


def _stack(counts: Counts) -> tuple[int, int, int, int, int]:
    final, provisional, empty, waiting, failed, missing = counts
    return final + empty, provisional, waiting, failed, missing


def columns_of(columns: Sequence[Counts | None], width: int) -> Html:
    """Stacked columns, one path a state; a part that is there is never too small to be seen."""
    paths: dict[str, str] = {}
    for at, counts in enumerate(columns):
        total = sum(counts) if counts else 0
        if not counts or not total:
            continue
        low = HEIGHT
        parts = _heights(_stack(counts), total)
        for state, high in zip(STACK, parts, strict=True):
            if high:
                low -= high
                paths[state] = (
                    paths.get(state, "") + f"M{at * width} {low}h{width - 1}v{high}h{1 - width}z"
                )
    drawn = [el("path", class_=state, d=path) for state, path in paths.items()]
    return el("svg", *drawn, class_="cols", viewBox=f"0 0 {len(columns) * width} {HEIGHT}",
              preserveAspectRatio="none", aria_hidden="true")  # fmt: skip


def _heights(parts: Sequence[int], total: int) -> list[int]:
    heights = [max(round(part * HEIGHT / total), 2) if part else 0 for part in parts]
    heights[heights.index(max(heights))] += HEIGHT - sum(heights)
    return heights


def _axis(first: int, last: int) -> Html:
    """Years below their Januaries; as few as there is room for."""
    total = last - first + 1
    january = [at for at in range(first, last + 1) if at % 12 == 0]
    step = max(1, -(-len(january) // 6))
    texts = [
        el("text", str(at // 12), x=f"{100 * (at - first) / total:.2f}%", y=12)
        for at in january[::step]
    ] or [el("text", month(first), x="0%", y=12)]
    return el("svg", *texts, class_="axis")


def _numbers(seen: Overview, titles: dict[str, Text]) -> Html:
    keys = ("final", "provisional", "empty", "is_waiting", "failed", "missing")
    head = el("tr", el("th", word("interface"), scope="col"),
              *[el("th", word(key), scope="col", class_="num") for key in keys])  # fmt: skip
    rows = [
        el("tr", el("th", both(titles[view.name]), scope="row"),
           *[el("td", number(part), class_="num") for part in view.counts])
        for view in seen.interfaces
    ]  # fmt: skip
    return el(
        "div", el("table", el("thead", head), el("tbody", *rows), class_="plain"), class_="wide"
    )


# 6: all accounts together


def _together(figures: Figures | None) -> list[Html]:
    """Readers and followers of all accounts, by week."""
    if figures is None:
        return []
    readers, gained, lost = (figures.weeks(name) for name in ("readers", "gained", "lost"))
    cards = []
    if any(value is not None for value in readers):
        total = _sum(readers[-4:])
        above = readers, "provisional"
        cards.append(_week_card("readers", compact(total), "added_up", figures.last, above))
    if any(value is not None for value in gained):
        net = _sum(gained[-4:]) - _sum(lost[-4:])
        text = compact(net)
        signed = (f"+{text[0]}", f"+{text[1]}") if net >= 0 else text
        above = gained, "final"
        cards.append(_week_card("gained", signed, "four_weeks", figures.last, above, lost))
    if not cards:
        return []
    return [_section("together", "by_week", el("div", *cards, class_="cards"), id_="together")]


def _sum(curve: Curve) -> int:
    return sum(value or 0 for value in curve)


def _week_card(
    key: str,
    total: Text,
    note: str,
    last: date,
    above: tuple[Curve, str],
    below: Curve | None = None,
) -> Html:
    """Bars of weeks; those below stand upside down; a week without figures is hatched."""
    curve, state = above
    top = max([value or 0 for value in curve]) or 1
    deep = max([value or 0 for value in below or [0]])
    full = 60 * top / (top + deep)
    up = down = hatched = ""
    for at, value in enumerate(curve):
        if value is None:
            hatched += f"M{at * 10} 0h10v60h-10z"
            continue
        high = full * value / top
        up += f"M{at * 10} {full - high:.1f}h8v{high:.1f}h-8z"
        if below is not None:
            down += f"M{at * 10} {full:.1f}h8v{full * (below[at] or 0) / top:.1f}h-8z"
    paths = [el("path", class_=state, d=up), el("path", class_="lost", d=down)]
    paths.append(el("path", d=hatched, fill="url(#hatch)"))
    picture = el("svg", *paths, class_="chart", viewBox=f"0 0 {len(curve) * 10} 60",
                 preserveAspectRatio="none", aria_hidden="true")  # fmt: skip
    heading = el(
        "h3", word(key), " ", el("b", both(total)), " ", el("span", word(note), class_="note")
    )
    first = last - timedelta(days=DAYS - 1)
    ends = el("div", el("span", str(first)), el("span", word("most"), f" {number(top)}"),
              el("span", str(last)), class_="ends")  # fmt: skip
    return el("div", heading, picture, ends, class_="card")


# 7: the accounts


def _accounts(seen: Overview, figures: Figures | None) -> Html:
    heads = [("account", "name"), ("newest", "trouble"), ("weeks", ""), ("history", "history")]
    heads += [("followers", "followers"), ("reads", "")] if figures else []
    head = el("tr", *[
        el("th", el("button", word(key), type="button", data_sort=order) if order else word(key),
           scope="col", class_="weeks" if key in ("weeks", "reads") else None)
        for key, order in heads
    ])  # fmt: skip
    rows = [_account(account, figures) for account in seen.accounts]
    keys = ("all", "todo", "late", "incomplete")
    filters = [
        el("button", word(f"only_{key}"), type="button", data_filter=key,
           aria_pressed="true" if key == "all" else "false")
        for key in keys
    ]  # fmt: skip
    field = el("input", type="search", id="search", placeholder="名称 Name · AppID")
    search = el("label", unseen(word("search")), field)
    tools = el("span", el("span", *filters, class_="seg", role="group"), search,
               class_="tools", hidden=True)  # fmt: skip
    count = el(
        "span", both((f"{number(len(rows))} 个", number(len(rows)))), class_="note", id="found"
    )
    heading = el("div", el("h2", word("accounts"), id="accounts-h"), count, tools, class_="head")
    table = el("table", el("thead", head), el("tbody", *rows, id="rows"), class_="accounts")
    none = el("p", word("none_found"), id="nobody", hidden=True)
    more = el("button", word("more"), type="button", id="more", hidden=True)
    without = el("noscript", el("p", word("needs_script"), class_="note"))
    return el("section", heading, without, table, none, more, id="accounts",
              aria_labelledby="accounts-h")  # fmt: skip


def newest(account: AccountView) -> tuple[Text, Text]:
    """What became of an account's newest day, and what about it."""
    if not account.expected:
        return TEXTS["old"], ("", "")
    if not account.late:
        if account.state == "todo":
            return ("已到齐，历史要处理", "Here; its past needs you"), ("", "")
        return ("已到齐", "Here"), ("", "")
    title = KINDS[account.kind].title
    why = (
        " ".join(title[0].format(ip="", interfaces="").split()).rstrip("："),
        " ".join(title[1].format(ip="", interfaces="").split()).rstrip(":"),
    )
    zh = f"{account.expected} 个接口中 {account.late} 个"
    en = f"{account.late} of {plural(account.expected, 'interface')}"
    if account.behind is None:
        return why, (f"{zh}，从未取到", f"{en}, never came")
    days = plural(account.behind, "day")
    return why, (f"{zh}，最多晚 {number(account.behind)} 天", f"{en}, up to {days} late")


def _account(account: AccountView, figures: Figures | None) -> Html:
    have, whole = stored_in(account.counts), sum(account.counts)
    state, note = newest(account)
    name = harmless(account.name)
    followers = figures.latest(account.appid, "followers") if figures else None
    track = el("rect", class_="track", width=100, height=6)
    filled = el("rect", class_="final", width=100 * have // whole if whole else 0, height=6)
    shape = {"viewBox": "0 0 100 6", "preserveAspectRatio": "none", "aria_hidden": "true"}
    bar = el("svg", track, filled, class_="bar", **shape)
    return el(
        "tr",
        el("th", el("a", el("bdi", name or account.appid), href=_link(account.appid)),
           el("code", account.appid) if name else "", scope="row"),
        el("td", icon(look.STATES[account.state]),
           el("span", both(state), el("small", both(note)) if note[0] else "")),
        el("td", columns_of(account.weeks, 10), class_="weeks"),
        el("td", bar, share(have, whole), class_="num"),
        el("td", both(compact(followers)), class_="num") if figures else "",
        el("td", _spark(figures.weeks_of(account.appid, "readers", 26)), class_="weeks")
        if figures
        else "",
        data_followers=str(followers or 0) if figures else None,
        id=_id(account.appid) if account.appid.startswith("wx") else None,
        data_state=account.state,
        data_late=str(account.late),
        data_share=f"{have / whole:.4f}" if whole else "0",
    )  # fmt: skip


def _spark(weeks: Curve) -> Html:
    """A line of weeks, which is broken where there are no figures."""
    top = max([value or 0 for value in weeks]) or 1
    line, pen = "", "M"
    for at, value in enumerate(weeks):
        if value is None:
            pen = "M"
            continue
        line += f"{pen}{at * 4} {19 - round(18 * value / top)}"
        pen = "L"
    return el("svg", el("path", class_="line", d=line), class_="spark", viewBox="0 0 100 20",
              preserveAspectRatio="none", aria_hidden="true")  # fmt: skip


def _foot(seen: Overview) -> Html:
    where = el("bdi", seen.where) if seen.where else ""
    made = f" · {china(seen.made):%Y-%m-%d %H:%M} UTC+8 · harvester {harvester.__version__}"
    return el("footer", el("p", both(NOTE)), el("p", where, made))


# 8: what the script shows of one account


def _packed(id_: str, content: object) -> Html:
    """JSON, deflated, base64: it cannot be anything else to a browser."""
    text = harmless(json.dumps(content, ensure_ascii=False, separators=(",", ":")))
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return el("script", Html(packed), type="application/octet-stream", id=id_)


def _curves(seen: Overview, figures: Figures) -> object:
    """The figures of each account: the longest tail of days for which there is room."""
    count = max(len(seen.accounts), 1)
    days = min(figures.days, ROOM // (len(SERIES) * count))
    most = max(MOST_ARTICLES // count, 1)
    names: dict[str, int] = {}
    curves, sources, articles = [], [], []
    for account in seen.accounts:
        each = [figures.of(account.appid, series.name)[-days:] for series in SERIES]
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
        articles.append([_linked(one) for one in figures.articles.get(account.appid, [])[:most]])
    return {
        "last": figures.last.isoformat(),
        "names": [series.name for series in SERIES],
        "curves": curves,
        "sources": sources,
        "sources_named": [SOURCES.get(name, (name, name)) for name in names],
        "articles": articles,
    }


ARTICLES_AT = "https://mp.weixin.qq.com/"
"""Where articles lie; no other link is in the page."""


def _linked(article: Article) -> Article:
    """The article with a link, or without one."""
    url = article.url
    if url.startswith("http://"):
        url = f"https{url[4:]}"
    return article._replace(url=url if url.startswith(ARTICLES_AT) else "")


def _data(seen: Overview, titles: dict[str, Text]) -> object:
    """The days of all accounts, and why some are not there."""
    names = list(titles)
    places = {name: at for at, name in enumerate(names)}
    sentences: dict[str, int] = {}
    accounts = [
        (
            account.appid,
            account.name,
            [(places[row.endpoint], row.first.isoformat(), row.shape) for row in account.rows],
            [
                (reason.kind, reason.ip, [places[name] for name in reason.interfaces], reason.days,
                 sentences.setdefault(reason.said.text, len(sentences)),
                 reason.said.rid)
                for reason in account.reasons
            ],
            newest(account),
            look.STATES[account.state],
        )
        for account in seen.accounts
    ]  # fmt: skip
    return {
        "texts": {**TEXTS, "waiting": TEXTS["is_waiting"]},
        "kinds": {name: kind.title for name, kind in KINDS.items()},
        "interfaces": [(name, titles[name]) for name in names],
        "shapes": seen.shapes,
        "sentences": list(sentences),
        "accounts": accounts,
    }
