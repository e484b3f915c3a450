"""The paths of the page's pictures, from numbers.

Rule: pure; no markup.  One path per state, not one element per day: 1,000 accounts fit in the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from harvester.ledger.coverage import OPEN
from harvester.ledger.reach import STATES, UNASKED, Counts
from harvester.report.charts import DAYS, SERIES, Curve, Figures
from harvester.report.overview import AccountView
from harvester.report.texts import compact, month
from harvester.texts import say

STACK = ("final", "provisional", "waiting", "failed", "missing")
"""The states of a column, from below; empty days count as final."""
HEIGHT = 24
"""Of a column, in units; its width is 10."""
WALL = 440, 230
"""Width and height that the squares of all accounts fill, in pixels."""
ENDPOINTS = {series.name: series.endpoint for series in SERIES}
_NOT_HELD = bytes([state.letter for state in STATES if not state.held])


def stack(counts: Counts) -> tuple[int, int, int, int, int]:
    """Days by the states of `STACK`; late days wait, never delivered ones are missing."""
    final, provisional, empty, waiting, failed, missing, late, never, *_ = counts
    return final + empty, provisional, waiting + late, failed, missing + never


def columns(counted: Sequence[Counts | None]) -> dict[str, str]:
    """Stacked columns, one path per state; a part that is not 0 is always visible."""
    paths: dict[str, str] = {}
    for at, counts in enumerate(counted):
        total = counts.asked if counts else 0
        if not counts or not total:
            continue
        low = HEIGHT
        for state, high in zip(STACK, _heights(stack(counts), total), strict=True):
            if high:
                low -= high
                paths[state] = paths.get(state, "") + f"M{at * 10} {low}h9v{high}h-9z"
    return paths


def _heights(parts: Sequence[int], total: int) -> list[int]:
    heights = [max(round(part * HEIGHT / total), 2) if part else 0 for part in parts]
    heights[heights.index(max(heights))] += HEIGHT - sum(heights)
    return heights


def years(months: range) -> list[tuple[str, str]]:
    """Years below their Januaries, as a percentage and a text; as few as there is room for."""
    januaries = [at for at in months if at % 12 == 0]
    step = max(1, -(-len(januaries) // 6))
    return [
        (f"{100 * (at - months.start) / len(months):.2f}", str(at // 12))
        for at in januaries[::step]
    ] or [("0", month(months.start))]


class Wall(NamedTuple):
    """The squares of all accounts: how many there are in a row, and how large the picture is.

    wide, high: in squares; width, height: in pixels; states: accounts by state.
    """

    per_row: int
    wide: int
    high: int
    width: int
    height: int
    states: Mapping[str, int]


def wall(accounts: Sequence[AccountView]) -> Wall:
    """The largest squares for which there is room."""
    count = max(len(accounts), 1)
    cell = max(8, min(36, int((WALL[0] * WALL[1] / count) ** 0.5)))
    per_row = max(WALL[0] // cell, -(-count * cell // (WALL[1] + 60)), 1)
    size = 100 * WALL[0] // per_row / 100 if per_row * cell > WALL[0] else cell
    wide, high = min(per_row, count), -(-count // per_row)
    states = Counter(account.state for account in accounts)
    return Wall(per_row, wide, high, round(wide * size), round(high * size), states)


class WeekCard(NamedTuple):
    """Bars of weeks: their paths, and what is written around them; texts by their key."""

    key: str
    note: str
    total: str
    state: str
    weeks: int
    up: str
    down: str
    hatched: str
    most: int
    first: date
    last: date


def week_cards(figures: Figures, accounts: Sequence[AccountView]) -> list[WeekCard]:
    """Readers and followers of all accounts, by week."""
    readers, gained, lost = (figures.weeks(name) for name in ("readers", "gained", "lost"))
    cards = []
    if any(value is not None for value in readers):
        total = compact(_sum(readers[-4:]))
        part = _partial(figures, accounts, "readers")
        cards.append(
            _week_card("readers", "added_up", total, "readers", readers, figures.last, part)
        )
    if any(value is not None for value in gained):
        net = _sum(gained[-4:]) - _sum(lost[-4:])
        total = say("+{}", compact(net)) if net >= 0 else compact(net)
        part = _partial(figures, accounts, "gained")
        cards.append(
            _week_card("gained", "four_weeks", total, "final", gained, figures.last, part, lost)
        )
    return cards


def _partial(figures: Figures, accounts: Sequence[AccountView], series: str) -> list[bool]:
    each = [partial_weeks(figures, account, series) for account in accounts]
    return [any(week) for week in zip(*each, strict=True)]


def partial_weeks(
    figures: Figures, account: AccountView, series: str, weeks: int = DAYS // 7
) -> list[bool]:
    """The weeks, oldest first, of which an account has not all days, or in which it begins.

    An account of which nothing at all is stored has none: it may not use the interface.
    """
    wanted = [row.reach for row in account.rows if row.endpoint == ENDPOINTS[series]]
    if not wanted or wanted[0].newest is None:
        return [False] * weeks
    first = figures.last - timedelta(7 * weeks - 1)
    reach = wanted[0].within((first, figures.last))
    letters = bytes([UNASKED]) * (reach.first - first).days + reach.letters
    curve = figures.of(account.appid, series)[-7 * weeks :]
    return [
        _is_partial(letters[place : place + 7], curve[place : place + 7])
        for place in range(0, 7 * weeks, 7)
    ]


def _is_partial(letters: bytes, curve: Curve) -> bool:
    """Whether a week lacks days; an open day may be stored without a record so far."""
    if not letters.strip(bytes([UNASKED])):
        return False  # the account had not begun, or had ended
    if len(letters.translate(None, _NOT_HELD)) < 7:
        return True
    return any(letters[at] == OPEN and value is None for at, value in enumerate(curve))


def _sum(curve: Curve) -> int:
    return sum(value or 0 for value in curve)


def _week_card(
    key: str, note: str, total: str, state: str, above: Curve, last: date,
    part: Sequence[bool], below: Curve | None = None,
) -> WeekCard:  # fmt: skip
    """From the first week with figures on; a week without any is hatched, and a partial one."""
    begin = next(at for at, value in enumerate(above) if value is not None)
    above, below, part = above[begin:], below[begin:] if below else below, part[begin:]
    top = max([value or 0 for value in above]) or 1
    deep = max([value or 0 for value in below or [0]])
    full = 60 * top / (top + deep)
    up = down = hatched = ""
    for at, value in enumerate(above):
        if value is None or part[at]:
            hatched += f"M{at * 10} 0h10v60h-10z"
        if value is None:
            continue
        high = full * value / top
        up += f"M{at * 10} {full - high:.1f}h8v{high:.1f}h-8z"
        if below is not None:
            down += f"M{at * 10} {full:.1f}h8v{full * (below[at] or 0) / top:.1f}h-8z"
    first = last - timedelta(days=7 * len(above) - 1)
    return WeekCard(key, note, total, state, len(above), up, down, hatched, top, first, last)


def line(weeks: Curve, part: Sequence[bool]) -> tuple[str, str]:
    """A line of weeks, broken where there are no figures and at partial weeks; and bands at these.

    A bend to a partial week would be none of the figures.
    """
    whole = [None if is_part else value for value, is_part in zip(weeks, part, strict=True)]
    top = max([value or 0 for value in whole]) or 1
    path, pen = "", "M"
    for at, value in enumerate(whole):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{at * 4} {19 - round(18 * value / top)}"
        pen = "L"
    return path, "".join(f"M{at * 4 - 2} 0h4v20h-4z" for at, each in enumerate(part) if each)
