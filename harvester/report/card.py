"""The card: one picture of 1200 by 630, from an `Overview`, as SVG.

Rule: pure; colours stand in the attributes, so that every viewer shows them.
"""

from __future__ import annotations

from harvester.plan import china
from harvester.report import look, verdict
from harvester.report.data import Overview, stored_in
from harvester.report.markup import Html, el
from harvester.report.page import STACK, columns_of
from harvester.report.words import TEXTS, share, title_of

WIDTH, HEIGHT, MARGIN = 1200, 630, 56
TOP = 268
"""Where coverage and squares begin."""
COLUMN = 278
ROWS = 9
"""So many interfaces have room."""
FONT = "Inter,system-ui,'PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif"


def card(seen: Overview, lang: str = "zh") -> str:
    """The first screen as a picture; lang: ``zh`` or ``en``."""
    at = int(lang == "en")
    made = f"{china(seen.made):%Y-%m-%d %H:%M} UTC+8"
    headline = verdict.headline(seen)[at]
    parts = [
        el("title", f"{TEXTS['title'][at]}: {headline}"),
        el("style", Html(_style())),
        el("rect", width=WIDTH, height=HEIGHT, fill=look.COLOURS["bg"][0]),
        _text(MARGIN, 66, 18, f"{verdict.subject(seen)[at]} · {made}", "muted"),
        _text(MARGIN, 122, _size(headline), headline, weight=700),
    ]
    if seen.accounts:
        parts += [*_figures(seen, at), *_coverage(seen, at), *_wall(seen, at)]
    picture = el(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        font_family=FONT,
    )
    return f"{picture}\n"


def _style() -> str:
    colours = look.COLOURS
    fills = "".join(f".{name}{{fill:{colours[name][0]}}}" for name in STACK if name != "missing")
    missing, dot = colours["missing"][0], colours["on"][0]
    return f"{fills}.missing{{fill:none;stroke:{missing}}}.dot{{fill:{dot}}}"


def _width(text: str) -> float:
    """About how many ems a text is wide."""
    return sum(1.0 if ord(char) > 0x2E7F else 0.53 for char in text)


def _size(headline: str) -> int:
    """As large as the line allows."""
    return max(20, min(44, int((WIDTH - 2 * MARGIN) / (1.08 * _width(headline)))))


def _cut(text: str, ems: float) -> str:
    while _width(text) > ems:
        text = text[:-2] + "…"
    return text


def _text(
    x: float, y: float, size: float, text: str, colour: str = "text", **more: str | int
) -> Html:
    weight, anchor = more.get("weight", 400), more.get("anchor")
    return el("text", text, x=x, y=y, font_size=size, fill=look.COLOURS[colour][0],
              font_weight=weight, text_anchor=anchor)  # fmt: skip


def _figures(seen: Overview, at: int) -> list[Html]:
    parts: list[Html] = []
    for place, figure in enumerate(verdict.figures(seen)):
        x, muted = MARGIN + COLUMN * place, look.COLOURS["muted"][0]
        room = (COLUMN - 21 - 43 * _width(figure.value[at])) / 17  # it is bold, and so wider
        unit = el(
            "tspan", _cut(figure.unit[at], room), dx=9, font_size=17, font_weight=400, fill=muted
        )
        value = el("tspan", figure.value[at], font_size=38, font_weight=700)
        both = el("text", value, unit, x=x, y=222, fill=look.COLOURS["text"][0])
        parts += [_text(x, 182, 18, figure.label[at], "muted"), both]
    return parts


def _coverage(seen: Overview, at: int) -> list[Html]:
    months = [month for view in seen.interfaces for month in view.months]
    shown = seen.interfaces[:ROWS]
    pitch = max(34, min(50, 300 // len(shown)))
    parts: list[Html] = []
    for place, view in enumerate(shown):
        y = TOP + pitch * place
        columns = [view.months.get(one) for one in range(min(months), max(months) + 1)]
        drawn, middle = columns_of(columns, 10), y + pitch / 2 + 2
        parts += [
            _text(MARGIN, middle, 17, _cut(title_of(view.name)[at], 12)),
            el("svg", drawn, x=264, y=y, width=346, height=pitch - 8),
            _text(622, middle, 17, share(stored_in(view.counts), sum(view.counts))),
        ]
    return parts


def _wall(seen: Overview, at: int) -> list[Html]:
    count = len(seen.accounts)
    cell = max(6.0, min(64.0, (420 * 300 / count) ** 0.5))
    columns = int(420 // cell)
    while -(-count // columns) * cell > 305:
        columns += 1
        cell = 420 / columns
    squares = [
        el("svg", Html(look.SYMBOLS[look.STATES[account.state]]), viewBox="0 0 10 10",
           x=round(714 + place % columns * cell, 2), y=round(TOP + place // columns * cell, 2),
           width=round(cell * 0.94, 2), height=round(cell * 0.94, 2))
        for place, account in enumerate(seen.accounts)
    ]  # fmt: skip
    states = list(dict.fromkeys(account.state for account in seen.accounts))
    legend = " · ".join(
        f"{TEXTS[state][at]} {sum(one.state == state for one in seen.accounts):,}"
        for state in states
    )
    below = TOP + -(-count // columns) * cell + 28
    return [*squares, _text(714, round(below), 17, legend, "muted")]
